-- SPDX-License-Identifier: Apache-2.0
-- The values of redis.lua: keys, strings, hashes and sets. Made by: chunk(store); fills store.command, and what
-- redis_order.lua needs too.

local store = ...
local command, clock, random = store.command, store.clock, store.random

-- Values -----------------------------------------------------------------------------------------

local function fail(text)
	error({err = text}, 0)
end

-- What Redis can do and this store cannot. A pcall() in a script does not help: the first refusal ends the test.
local function missing(what)
	store.refusal = store.refusal or 'tests/scenario/redis.lua has no ' .. what
	error(store.refusal, 0)
end

local now_us = clock

local function text_of(number)
	if number == math.floor(number) and math.abs(number) < 1e17 then
		return string.format('%.0f', number)
	end
	return number == 1 / 0 and 'inf' or number == -1 / 0 and '-inf' or string.format('%.17g', number)
end

local function integer(text)
	local n = text:find('^%-?%d+$') and tonumber(text)
	return n or fail('ERR value is not an integer or out of range')
end

local function float(text)
	local n = text:find('^[%+%-]?%d*%.?%d*[eE]?[%+%-]?%d*$') and tonumber(text)
	if text == '+inf' or text == 'inf' then
		n = 1 / 0
	elseif text == '-inf' then
		n = -1 / 0
	end
	return n or fail('ERR value is not a valid float')
end

local function drop(key)
	store.db[key] = nil
end

-- The value at a key, or nil. `kind`: what it must be.
local function find(key, kind)
	local o = store.db[key]
	if o and o.at and o.at * 1000 <= now_us() then
		drop(key)
		return nil
	end
	if o and kind and o.kind ~= kind then
		fail('WRONGTYPE Operation against a key holding the wrong kind of value')
	end
	return o
end

local function make(key, kind)
	local o = find(key, kind)
	if not o then
		o = {kind = kind, n = 0, v = {}}
		store.db[key] = o
	end
	return o
end

-- A collection goes with its last element; a stream stays.
local function shrink(key, o)
	if o.n == 0 then
		drop(key)
	end
end

local function slice(from, to, n)
	from = from < 0 and math.max(0, n + from) or from
	to = to < 0 and n + to or math.min(to, n - 1)
	return from + 1, to + 1
end

-- Keys -------------------------------------------------------------------------------------------

function command.PING()
	return {ok = 'PONG'}
end

function command.TIME()
	local t = now_us()
	return {text_of(math.floor(t / 1000000)), text_of(t % 1000000)}
end

function command.EXISTS(...)
	local n = 0
	for _, key in ipairs({...}) do
		n = n + (find(key) and 1 or 0)
	end
	return n
end

function command.DEL(...)
	local n = 0
	for _, key in ipairs({...}) do
		n = n + (find(key) and 1 or 0)
		drop(key)
	end
	return n
end

function command.TYPE(key)
	local o = find(key)
	return {ok = o and o.kind or 'none'}
end

local function expire_at(key, ms)
	local o = find(key)
	if not o then
		return 0
	elseif ms * 1000 <= now_us() then
		drop(key)
	else
		o.at = ms
	end
	return 1
end

function command.EXPIREAT(key, seconds)
	return expire_at(key, integer(seconds) * 1000)
end

function command.PEXPIREAT(key, ms)
	return expire_at(key, integer(ms))
end

function command.PERSIST(key)
	local o = find(key)
	if not o or not o.at then
		return 0
	end
	o.at = nil
	return 1
end

function command.PTTL(key)
	local o = find(key)
	return not o and -2 or o.at and math.floor(o.at - now_us() / 1000) or -1
end

function command.TTL(key)
	local ms = command.PTTL(key)
	return ms < 0 and ms or math.floor((ms + 500) / 1000)
end

function command.PEXPIRETIME(key)
	local o = find(key)
	return not o and -2 or o.at or -1
end

-- All at once: a cursor is always 0 here.
function command.SCAN(cursor, ...)
	local pattern, option, i = nil, {...}, 1
	if cursor ~= '0' then
		missing('cursor of SCAN')
	end
	while option[i] do
		local word = option[i]:upper()
		if word == 'MATCH' then
			pattern = option[i + 1]
		elseif word ~= 'COUNT' then
			missing('SCAN ' .. option[i])
		end
		i = i + 2
	end
	local keys, prefix = {}, pattern and pattern:match('^([^%*%?%[]*)%*$')
	if pattern and not prefix then
		missing('pattern ' .. pattern)
	end
	for key in pairs(store.db) do
		if find(key) and (not prefix or key:sub(1, #prefix) == prefix) then
			keys[#keys + 1] = key
		end
	end
	table.sort(keys)
	return {'0', keys}
end

-- Strings ----------------------------------------------------------------------------------------

function command.GET(key)
	local o = find(key, 'string')
	return o and o.v or false
end

function command.SET(key, value, option, ms, more)
	local at
	if option and option:upper() == 'PX' and ms and not more then
		at = integer(ms)
		if at <= 0 then
			fail("ERR invalid expire time in 'set' command")
		end
		at = math.floor(now_us() / 1000) + at
	elseif option then
		missing('SET ' .. option)
	end
	store.db[key] = {kind = 'string', n = 1, v = value, at = at}
	return {ok = 'OK'}
end

function command.SETRANGE(key, offset, value)
	local o = find(key, 'string')
	if offset ~= '0' or value ~= '' then
		missing('SETRANGE that writes')
	end
	return o and #o.v or 0
end

-- Hashes -----------------------------------------------------------------------------------------

local function put(map, o, field, value)
	local fresh = map[field] == nil
	map[field] = value
	o.n = o.n + (fresh and 1 or 0)
	return fresh and 1 or 0
end

local function take(map, o, field)
	local there = map[field] ~= nil
	map[field] = nil
	o.n = o.n - (there and 1 or 0)
	return there and 1 or 0
end

function command.HSET(key, ...)
	local n, pair = 0, {...}
	if #pair % 2 ~= 0 then
		fail("ERR wrong number of arguments for 'hset' command")
	end
	local o = make(key, 'hash')
	for i = 1, #pair, 2 do
		n = n + put(o.v, o, pair[i], pair[i + 1])
	end
	return n
end

function command.HSETNX(key, field, value)
	local o = make(key, 'hash')
	return o.v[field] == nil and put(o.v, o, field, value) or 0
end

function command.HGET(key, field)
	local o = find(key, 'hash')
	return o and o.v[field] or false
end

function command.HMGET(key, ...)
	local o, reply = find(key, 'hash'), {}
	for i, field in ipairs({...}) do
		reply[i] = o and o.v[field] or false
	end
	return reply
end

function command.HGETALL(key)
	local o, reply = find(key, 'hash'), {}
	for field, value in pairs(o and o.v or {}) do
		reply[#reply + 1] = field
		reply[#reply + 1] = value
	end
	return reply
end

function command.HKEYS(key)
	local o, reply = find(key, 'hash'), {}
	for field in pairs(o and o.v or {}) do
		reply[#reply + 1] = field
	end
	return reply
end

function command.HLEN(key)
	local o = find(key, 'hash')
	return o and o.n or 0
end

function command.HEXISTS(key, field)
	local o = find(key, 'hash')
	return o and o.v[field] and 1 or 0
end

function command.HDEL(key, ...)
	local o, n = find(key, 'hash'), 0
	for _, field in ipairs(o and {...} or {}) do
		n = n + take(o.v, o, field)
	end
	if o then
		shrink(key, o)
	end
	return n
end

function command.HINCRBY(key, field, by)
	by = integer(by)
	local o = find(key, 'hash')
	local old = o and o.v[field] or '0'
	if not old:find('^%-?%d+$') then
		fail('ERR hash value is not an integer')
	end
	local new = tonumber(old) + by
	o = make(key, 'hash')
	put(o.v, o, field, text_of(new))
	return new
end

-- Sets -------------------------------------------------------------------------------------------

function command.SADD(key, ...)
	local o, n = make(key, 'set'), 0
	for _, member in ipairs({...}) do
		n = n + put(o.v, o, member, true)
	end
	return n
end

function command.SREM(key, ...)
	local o, n = find(key, 'set'), 0
	for _, member in ipairs(o and {...} or {}) do
		n = n + take(o.v, o, member)
	end
	if o then
		shrink(key, o)
	end
	return n
end

function command.SCARD(key)
	local o = find(key, 'set')
	return o and o.n or 0
end

function command.SISMEMBER(key, member)
	local o = find(key, 'set')
	return o and o.v[member] and 1 or 0
end

function command.SMEMBERS(key)
	local o, reply = find(key, 'set'), {}
	for member in pairs(o and o.v or {}) do
		reply[#reply + 1] = member
	end
	return reply
end

-- Distinct members, any: a count below 0 (which may repeat some) is not here.
function command.SRANDMEMBER(key, count)
	local all = command.SMEMBERS(key)
	local n = math.min(integer(count), #all)
	if n < 0 then
		missing('SRANDMEMBER with a count below 0')
	end
	for i = 1, n do
		local k = i + random(#all - i + 1)
		all[i], all[k] = all[k], all[i]
	end
	return {unpack(all, 1, n)}
end

store.fail, store.missing, store.text_of, store.integer, store.float = fail, missing, text_of, integer, float
store.find, store.make, store.shrink, store.slice, store.take, store.now_us = find, make, shrink, slice, take, now_us
