-- SPDX-License-Identifier: Apache-2.0
-- A Redis in memory for the scenarios: the commands that the scripts of queue/lua and the worker use, and no other. It
-- is strict: an unknown command, a wrong number of arguments or an option that is not here ends the test. Replies, the
-- order of writes and what expires when are compared with a redis-server by test_store.py.
--
-- Scripts run as Redis runs them (5.1, the same library): KEYS and ARGV, redis.call() and redis.pcall(), no globals,
-- arguments as strings, replies converted both ways, errors that do not roll back.
--
-- Made by: chunk(dir, sha1hex, clock, random). Returns a table of functions; clock() is the time of this Redis in us.
-- The values are in redis_data.lua and redis_order.lua of the same directory.

local dir, sha1hex, clock, random = ...

local store = {db = {}, command = {}, clock = clock, random = random} -- refusal: what it could not do
assert(loadfile(dir .. '/redis_data.lua'))(store)
assert(loadfile(dir .. '/redis_order.lua'))(store)
local command, fail, missing, text_of, integer, find = store.command, store.fail, store.missing, store.text_of,
	store.integer, store.find
local scripts = {}
local full = false -- out of memory
local read_only = false -- too few replicas, or demoted: what an error of each write says
local dirty = false -- the script that runs has written
local servers = 1 -- which start of which server this is

-- The server -------------------------------------------------------------------------------------

function command.INFO()
	local memory = full and 1048576 or 65536
	return '# Server\r\nredis_version:7.0.15\r\nrun_id:' .. servers .. '\r\n# Persistence\r\nloading:0\r\n# Memory\r\nused_memory:' .. memory ..
		'\r\nmaxmemory:1048576\r\nmaxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\n'
end

command['CONFIG'] = function(verb, what, value)
	if verb:upper() == 'SET' and what == 'maxmemory' then
		full = value ~= '0'
		return {ok = 'OK'}
	elseif verb:upper() ~= 'GET' or what ~= 'maxmemory-policy' then
		missing('CONFIG ' .. verb .. ' ' .. what)
	end
	return {what, 'noeviction'}
end

function command.CLIENT(verb)
	if verb:upper() ~= 'SETNAME' then
		missing('CLIENT ' .. verb)
	end
	return {ok = 'OK'}
end

function command.FLUSHALL()
	store.db = {}
	return {ok = 'OK'}
end

-- Scripts ----------------------------------------------------------------------------------------

local execute

-- Redis hands a script the text of an error, not the table.
local function guarded(...)
	local reply = {pcall(...)}
	if not reply[1] and type(reply[2]) == 'table' and reply[2].err then
		return false, reply[2].err
	end
	return unpack(reply, 1, table.maxn(reply))
end

local library = {
	assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = guarded, rawequal = rawequal,
	rawget = rawget, rawset = rawset, select = select, setmetatable = setmetatable, getmetatable = getmetatable,
	tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, math = math,
	string = string, table = table
}
setmetatable(library, {
	__index = function(_, name)
		error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
	end,
	__newindex = function(_, name)
		error("Script attempted to create global variable '" .. tostring(name) .. "'", 2)
	end
})

local function arguments(...)
	local argument = {...}
	for i = 1, select('#', ...) do
		local value = argument[i]
		if type(value) == 'number' then
			argument[i] = text_of(value)
		elseif type(value) ~= 'string' then
			fail('ERR Lua redis lib command arguments must be strings or integers')
		end
	end
	return argument
end

local redis = {sha1hex = sha1hex}

function redis.call(...)
	return execute(arguments(...), true)
end

function redis.pcall(...)
	local _, reply = pcall(redis.call, ...)
	return reply
end

function redis.error_reply(text)
	return {err = text}
end

function redis.status_reply(text)
	return {ok = text}
end

rawset(library, 'redis', redis)

command['SCRIPT'] = function(verb, text)
	if verb:upper() == 'FLUSH' then
		scripts = {}
		return {ok = 'OK'}
	elseif verb:upper() ~= 'LOAD' then
		missing('SCRIPT ' .. verb)
	end
	local sha = sha1hex(text)
	if not scripts[sha] then
		local f, problem = loadstring(text, '@user_script')
		if not f then
			fail('ERR Error compiling script (new function): ' .. problem)
		end
		scripts[sha] = setfenv(f, library)
	end
	return sha
end

local function script_error(sha, problem)
	local text = type(problem) == 'table' and problem.err or 'ERR ' .. tostring(problem)
	return {err = text .. ' script: ' .. sha .. ', on @user_script.'}
end

function command.EVALSHA(sha, keys, ...)
	local argument, key = {...}, {}
	local f = scripts[sha] or fail('NOSCRIPT No matching script. Please use EVAL.')
	for _ = 1, integer(keys) do
		key[#key + 1] = table.remove(argument, 1)
	end
	rawset(library, 'KEYS', key)
	rawset(library, 'ARGV', argument)
	dirty = false
	local ok, reply = pcall(f)
	if not ok then
		return script_error(sha, reply)
	end
	return reply
end

-- Running commands -------------------------------------------------------------------------------

-- name = {least arguments, most arguments, writes, refused when out of memory}
local ANY = 1 / 0
local rules = {
	PING = {0, 0}, TIME = {0, 0}, EXISTS = {1, ANY}, DEL = {1, ANY, true}, TYPE = {1, 1}, EXPIREAT = {2, 2, true},
	PEXPIREAT = {2, 2, true}, PERSIST = {1, 1, true}, PTTL = {1, 1}, TTL = {1, 1}, PEXPIRETIME = {1, 1},
	SCAN = {1, 7}, GET = {1, 1}, SET = {2, 5, true, true}, SETRANGE = {3, 3, true, true}, HSET = {3, ANY, true, true},
	HSETNX = {3, 3, true, true}, HGET = {2, 2}, HMGET = {2, ANY}, HGETALL = {1, 1}, HKEYS = {1, 1}, HLEN = {1, 1},
	HEXISTS = {2, 2}, HDEL = {2, ANY, true}, HINCRBY = {3, 3, true, true}, SADD = {2, ANY, true, true},
	SREM = {2, ANY, true}, SCARD = {1, 1}, SISMEMBER = {2, 2}, SMEMBERS = {1, 1}, SRANDMEMBER = {2, 2},
	ZADD = {3, ANY, true, true}, ZREM = {2, ANY, true}, ZSCORE = {2, 2}, ZCARD = {1, 1}, ZCOUNT = {3, 3},
	ZRANGE = {3, 4}, ZRANGEBYSCORE = {3, 7}, XADD = {4, ANY, true, true}, XDEL = {2, ANY, true}, XLEN = {1, 1},
	XRANGE = {3, 5}, XREVRANGE = {3, 5}, INFO = {0, 1}, CONFIG = {2, 3}, CLIENT = {2, 2}, FLUSHALL = {0, 0, true},
	SCRIPT = {1, 2}, EVALSHA = {2, ANY}
}
local OUTSIDE = {CONFIG = true, CLIENT = true, FLUSHALL = true, SCRIPT = true, EVALSHA = true}

local function check(name, n, inside)
	local rule = rules[name]
	if not rule then
		missing('command ' .. name)
	elseif inside and OUTSIDE[name] then
		fail('ERR This Redis command is not allowed from script')
	elseif n < rule[1] or n > rule[2] then
		missing('command ' .. name .. ' with ' .. n .. ' arguments')
	elseif rule[3] and read_only then
		fail(read_only)
	elseif rule[4] and full and not (inside and dirty) then
		fail("OOM command not allowed when used memory > 'maxmemory'.")
	end
	if rule[3] then
		dirty = inside
	end
end

function execute(argument, inside)
	local name = argument[1]:upper()
	check(name, #argument - 1, inside)
	return command[name](unpack(argument, 2))
end

local function encode(reply, out)
	local kind = type(reply)
	if kind == 'string' then
		out[#out + 1] = '$' .. #reply .. '\r\n' .. reply .. '\r\n'
	elseif kind == 'number' then
		out[#out + 1] = string.format(':%.0f\r\n', reply < 0 and math.ceil(reply) or math.floor(reply))
	elseif kind == 'boolean' or kind == 'nil' then
		out[#out + 1] = reply and ':1\r\n' or '$-1\r\n'
	elseif reply.err then
		out[#out + 1] = '-' .. reply.err:gsub('[\r\n]', ' ') .. '\r\n'
	elseif reply.ok then
		out[#out + 1] = '+' .. reply.ok .. '\r\n'
	else
		local n = 0
		while reply[n + 1] ~= nil do
			n = n + 1
		end
		out[#out + 1] = '*' .. n .. '\r\n'
		for i = 1, n do
			encode(reply[i], out)
		end
	end
	return out
end

-- The door ---------------------------------------------------------------------------------------

local door = {}

-- One command of a client; the reply as RESP. A refusal of this store is an error of the test.
function door.run(argument)
	local ok, reply = pcall(execute, argument, false)
	if store.refusal or not ok and type(reply) ~= 'table' then
		error(store.refusal or reply, 0)
	end
	return table.concat(encode(reply, {}))
end

-- The same for the test itself: values as they are, and neither a full memory nor missing replicas stand in the way.
function door.ask(...)
	local was_full, was_read_only = full, read_only
	full, read_only = false, false
	local ok, reply = pcall(execute, {...}, false)
	full, read_only = was_full, was_read_only
	if not ok then
		error(type(reply) == 'table' and reply.err or reply, 0)
	end
	return reply
end

-- The n-th entry of a stream, its fields flat; nil behind the last.
function door.nth(key, n)
	local o = find(key, 'stream')
	local e = o and o.v[n]
	return e and e.flat
end

local function copy(value)
	if type(value) ~= 'table' then
		return value
	end
	local new = {}
	for k, v in pairs(value) do
		new[k] = copy(v)
	end
	return new
end

function door.snapshot()
	return copy(store.db)
end

function door.restore(snapshot) -- by another server
	store.db = copy(snapshot)
	servers = servers + 1
end

function door.full(on)
	full = on
end

function door.read_only(text)
	read_only = text
end

return door
