-- SPDX-License-Identifier: Apache-2.0
-- BEAT: one heartbeat per worker. The worker is "name/nonce", its nonce new at each boot.
-- ARGV worker lease_us verb(join|beat|leave) now_us version [field value]...
-- -> [OK, redis_us] | [FENCED] | [TAKEN, who] | [BUSY] | [VERSION, n]
--
-- Leases are in the callers' clocks: a step of the server's clock must neither prolong nor end one.

local worker, lease, verb, now, version = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local WORKERS, LEASE_MAX = PREFIX .. 'workers', 300 * SECOND

local function name_of(who)
	return who:match('^[^/]+')
end

-- Another worker of this name that is alive. One past its deadline does not count: else a fleet that restarts as a
-- whole would lock itself out.
local function name_taken()
	for _, who in ipairs(call('ZRANGEBYSCORE', WORKERS, num(now), '+inf')) do
		if who ~= worker and name_of(who) == name_of(worker) then
			return who
		end
	end
end

local function leave()
	if call('EXISTS', PREFIX .. 'held:' .. worker) == 1 then
		return {'BUSY'}
	end
	call('ZREM', WORKERS, worker)
	return {'OK', num(clock())}
end

first_write()
if verb == 'join' then
	local who = name_taken()
	if who then
		return {'TAKEN', who}
	end
	call('HSETNX', META, 'version', num(version))
elseif not call('ZSCORE', WORKERS, worker) then
	return {'FENCED'}
end
if verb == 'leave' then
	return leave()
end
local theirs = tonumber(call('HGET', META, 'version') or version)
if theirs > version then
	return {'VERSION', num(theirs)}
end
if verb == 'join' and #ARGV > 5 then
	-- Before the membership, and here because a plain XADD is refused when out of memory: nobody could check the
	-- receipts of a worker that took jobs and died before its key was published.
	call('XADD', PREFIX .. 'attestations', '*', unpack(ARGV, 6))
end
call('ZADD', WORKERS, num(now + clamp(lease, SECOND, LEASE_MAX)), worker)
return {'OK', num(clock())}
