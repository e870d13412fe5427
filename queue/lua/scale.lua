-- SPDX-License-Identifier: Apache-2.0
-- SCALE: how many workers there should be, as one of those who reckon says for all. No worker looks at it.
-- ARGV verb who ...
--   lead ttl_ms             who speaks for all: [1, who] when it is the caller, for ttl_ms, else [0, who]
--   publish at name value...   of the speaker, behind what was published at `at` ('0': nothing): [OK, at] | [LOST, who]
--                           | [CHANGED, at]
--   resign                  [1] when it was the caller
-- What was published is the hash `scale`; its `at` is the server's time, and each another one.

local verb, who = ARGV[1], ARGV[2]
local SCALE, SCALER = PREFIX .. 'scale', PREFIX .. 'scaler'
local speaker = call('GET', SCALER)

local function lead()
	if speaker and speaker ~= who then
		return {0, speaker}
	end
	call('SET', SCALER, who, 'PX', num(clamp(tonumber(ARGV[3]), 1000, 3600000)))
	return {1, who}
end

local function publish()
	local at = call('HGET', SCALE, 'at') or '0'
	if speaker ~= who then
		return {'LOST', speaker or ''}
	elseif at ~= ARGV[3] then
		return {'CHANGED', at}
	end
	-- It grows, unless the clock stepped back by more than clocks may differ: one that stays ahead would look fresh for as long.
	local now, last = clock(), digits(at) or 0
	local fresh = num((last < now or last > now + SKEW) and now or last + 1)
	call('HSET', SCALE, 'who', who, 'at', fresh, unpack(ARGV, 4))
	return {'OK', fresh}
end

local function resign()
	if speaker ~= who then
		return {0}
	end
	return {call('DEL', SCALER)}
end

local VERBS = {lead = lead, publish = publish, resign = resign}
call('HDEL', SCALE, '-') -- a write that is allowed when memory is full, to a key that the host's user may write
return VERBS[verb] and VERBS[verb]() or redis.error_reply('SCALE bad verb')
