-- SPDX-License-Identifier: Apache-2.0
-- The values of redis.lua that have an order: sorted sets and streams. Made by: chunk(store), after redis_data.lua.

local store = ...
local command, fail, missing, text_of, integer, float = store.command, store.fail, store.missing, store.text_of,
	store.integer, store.float
local find, make, shrink, slice, take, now_us = store.find, store.make, store.shrink, store.slice, store.take, store.now_us

-- Sorted sets: v is member -> score, order the members by (score, member) -----------------------------

local function before(a_score, a, b_score, b)
	return a_score < b_score or a_score == b_score and a < b
end

-- The first place whose element does not come early: early(score, member) is true up to some place.
local function first_not(o, early)
	local low, high = 1, #o.order + 1
	while low < high do
		local middle = math.floor((low + high) / 2)
		local member = o.order[middle]
		if early(o.v[member], member) then
			low = middle + 1
		else
			high = middle
		end
	end
	return low
end

local function place(o, score, member)
	return first_not(o, function(a_score, a)
		return before(a_score, a, score, member)
	end)
end

local function unplace(o, member)
	table.remove(o.order, place(o, o.v[member], member))
end

local function score_set(o, member, score)
	if o.v[member] then
		unplace(o, member)
	else
		o.n = o.n + 1
	end
	o.v[member] = nil
	table.insert(o.order, place(o, score, member), member)
	o.v[member] = score
end

local function may_set(flag, old, score)
	if old then
		return not flag.NX and not (flag.LT and score >= old) and not (flag.GT and score <= old)
	end
	return not flag.XX
end

function command.ZADD(key, ...)
	local argument, flag, i, n = {...}, {}, 1, 0
	while argument[i] and (argument[i]:upper()):find('^[NX]X$') or argument[i] and (argument[i]:upper()):find('^[LG]T$') do
		flag[argument[i]:upper()] = true
		i = i + 1
	end
	if (#argument - i + 1) % 2 ~= 0 or not argument[i] then
		fail('ERR syntax error')
	end
	for k = i, #argument, 2 do
		float(argument[k])
	end
	if not find(key, 'zset') and flag.XX then
		return 0
	end
	local o = make(key, 'zset')
	o.order = o.order or {}
	for k = i, #argument, 2 do
		local score, member = float(argument[k]), argument[k + 1]
		local old = o.v[member]
		if may_set(flag, old, score) then
			n = n + (old and 0 or 1)
			score_set(o, member, score)
		end
	end
	return n
end

function command.ZREM(key, ...)
	local o, n = find(key, 'zset'), 0
	for _, member in ipairs(o and {...} or {}) do
		if o.v[member] then
			unplace(o, member)
			n = n + take(o.v, o, member)
		end
	end
	if o then
		shrink(key, o)
	end
	return n
end

function command.ZSCORE(key, member)
	local o = find(key, 'zset')
	return o and o.v[member] and text_of(o.v[member]) or false
end

function command.ZCARD(key)
	local o = find(key, 'zset')
	return o and o.n or 0
end

local function members(o, from, to, with_scores)
	local reply = {}
	for i = from, to do
		reply[#reply + 1] = o.order[i]
		if with_scores then
			reply[#reply + 1] = text_of(o.v[o.order[i]])
		end
	end
	return reply
end

function command.ZRANGE(key, from, to, option)
	from, to = integer(from), integer(to)
	local o = find(key, 'zset')
	if option and option:upper() ~= 'WITHSCORES' then
		missing('ZRANGE ' .. option)
	elseif not o then
		return {}
	end
	local first, last = slice(from, to, o.n)
	return members(o, first, last, option)
end

local function bound(text)
	if text:sub(1, 1) == '(' then
		return float(text:sub(2)), true
	end
	return float(text), false
end

-- First and last place of the scores between two bounds; 1 and 0 when there is none.
local function between(key, min, max)
	local low, low_out = bound(min)
	local high, high_out = bound(max)
	local o = find(key, 'zset')
	if not o then
		return 1, 0
	end
	local first = first_not(o, function(score)
		return score < low or low_out and score == low
	end)
	local behind = first_not(o, function(score)
		return score < high or not high_out and score == high
	end)
	return first, behind - 1
end

function command.ZCOUNT(key, min, max)
	local first, last = between(key, min, max)
	return math.max(0, last - first + 1)
end

function command.ZRANGEBYSCORE(key, min, max, ...)
	local option, i, with_scores, skip, most = {...}, 1, false, 0, 1 / 0
	while option[i] do
		local word = option[i]:upper()
		if word == 'WITHSCORES' then
			with_scores, i = true, i + 1
		elseif word == 'LIMIT' then
			skip, most, i = integer(option[i + 1]), integer(option[i + 2]), i + 3
			most = most < 0 and 1 / 0 or most
		else
			missing('ZRANGEBYSCORE ' .. option[i])
		end
	end
	local first, last = between(key, min, max)
	return members(find(key), first + skip, math.min(last, first + skip + most - 1), with_scores)
end

-- Streams ----------------------------------------------------------------------------------------

local function id_before(a, b)
	return a.ms < b.ms or a.ms == b.ms and a.seq < b.seq
end

local function id_of(text, seq)
	if text == '-' then
		return {ms = 0, seq = 0}
	elseif text == '+' then
		return {ms = 1 / 0, seq = 0}
	end
	local ms, rest = text:match('^(%d+)%-?(%d*)$')
	if not ms then
		fail('ERR Invalid stream ID specified as stream command argument')
	end
	return {ms = tonumber(ms), seq = rest == '' and seq or tonumber(rest)}
end

local function id_next(o)
	local ms = math.floor(now_us() / 1000)
	if o.ms and ms <= o.ms then
		o.seq = o.seq + 1
	else
		o.ms, o.seq = ms, 0
	end
	return string.format('%.0f-%.0f', o.ms, o.seq)
end

function command.XADD(key, ...)
	local argument, i, most = {...}, 1, nil
	if argument[1]:upper() == 'MAXLEN' then
		if argument[2] ~= '~' then
			missing('MAXLEN without ~')
		end
		most, i = integer(argument[3]), 4
	end
	if argument[i] ~= '*' then
		missing('XADD with an id')
	elseif (#argument - i) % 2 ~= 0 or #argument == i then
		fail("ERR wrong number of arguments for 'xadd' command")
	end
	local o = make(key, 'stream')
	local id = id_next(o)
	table.insert(o.v, {id = id, ms = o.ms, seq = o.seq, flat = {unpack(argument, i + 1)}})
	-- Redis drops whole blocks of about 100 entries.
	while most and #o.v > most + 100 do
		for _ = 1, 100 do
			table.remove(o.v, 1)
		end
	end
	o.n, o.added = #o.v, (o.added or 0) + 1
	return id
end

function command.XDEL(key, ...)
	local o, n = find(key, 'stream'), 0
	for _, id in ipairs(o and {...} or {}) do
		for i, entry in ipairs(o.v) do
			if entry.id == id then
				table.remove(o.v, i)
				n = n + 1
				break
			end
		end
	end
	if o then
		o.n = #o.v
	end
	return n
end

function command.XLEN(key)
	local o = find(key, 'stream')
	return o and #o.v or 0
end

local function entries(key, from, to, count, backwards)
	local o, reply = find(key, 'stream'), {}
	local open_from = from:sub(1, 1) == '('
	local low, high = id_of(open_from and from:sub(2) or from, 0), id_of(to, 1 / 0)
	local first, last, step = 1, o and #o.v or 0, 1
	if backwards then
		first, last, step = last, first, -1
	end
	for i = first, last, step do
		local e = o.v[i]
		local below = id_before(e, low) or open_from and not id_before(low, e)
		if #reply < count and not below and not id_before(high, e) then
			reply[#reply + 1] = {e.id, e.flat}
		end
	end
	return reply
end

local function stream_count(option, n)
	if option and option:upper() ~= 'COUNT' then
		missing('XRANGE ' .. option)
	end
	return n and integer(n) or 1 / 0
end

function command.XRANGE(key, from, to, option, n)
	return entries(key, from, to, stream_count(option, n), false)
end

function command.XREVRANGE(key, to, from, option, n)
	return entries(key, from, to, stream_count(option, n), true)
end
