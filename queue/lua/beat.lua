-- SPDX-License-Identifier: Apache-2.0
-- BEAT: one heartbeat per worker. The worker is "name/nonce", its nonce new at each boot.
-- ARGV worker lease_us verb(join|rejoin|beat|leave) now_us version [machine [field value]...]
-- join: of a process that was no member yet. rejoin: of one that was, under this nonce or another.
-- Fields, of a join or of a beat, become an entry of `attestations`.
-- -> [OK, redis_us, dead, unknown, stuck, results, drain] | [FENCED] | [TAKEN, who] | [BUSY] | [VERSION, n]
-- drain 1: somebody wants the worker to finish what it has and to end (ADMIN drain).
--
-- Leases are in the callers' clocks: a step of the server's clock must neither prolong nor end one.

local worker, lease, verb, now, version = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local machine = (ARGV[6] or ''):sub(1, 64) -- where it runs; '' when it cannot prove to be the only one of its name there
local WORKERS, MACHINES, LEASE_MAX = PREFIX .. 'workers', PREFIX .. 'machines', 300 * SECOND
local DRAIN, ABOUT = PREFIX .. 'drain', PREFIX .. 'about'
local joins = verb == 'join' or verb == 'rejoin'
local ENDED = 1 -- end of a lease that no beat renews

local function name_of(who)
	return who:match('^[^/]+')
end

-- Another worker of this name that is alive. One past its deadline does not count: else a fleet that restarts as a
-- whole would lock itself out. Nor does one of our machine: there we are the only one, so it is gone and its lease ends.
local function name_taken()
	local gone = {}
	for _, who in ipairs(call('ZRANGEBYSCORE', WORKERS, num(now), '+inf')) do
		if who ~= worker and name_of(who) == name_of(worker) then
			if machine == '' or call('HGET', MACHINES, who) ~= machine then
				return who
			end
			gone[#gone + 1] = who
		end
	end
	for _, who in ipairs(gone) do
		call('ZADD', WORKERS, ENDED, who)
	end
end

-- A place that cannot be counted must cost no worker its lease.
local function count(command, key)
	local ok, n = pcall(call, command, PREFIX .. key)
	return ok and n or 0
end

-- The order is for the name: it finds a process that has lost its lease and comes back under another nonce.
local function to_drain()
	local ok, order = pcall(call, 'HGET', DRAIN, name_of(worker))
	return ok and order and 1 or 0
end

local function answer()
	return {'OK', num(clock()), count('XLEN', 'dead'), count('ZCARD', 'unknown'), count('XLEN', 'stuck'),
		count('XLEN', 'results'), to_drain()}
end

-- `workers` last: what fails before is repeated, and no machine stays behind without its worker.
local function leave()
	if call('EXISTS', PREFIX .. 'held:' .. worker) == 1 then
		return {'BUSY'}
	end
	call('HDEL', MACHINES, worker)
	call('HDEL', ABOUT, worker)
	call('ZREM', WORKERS, worker)
	return answer()
end

first_write()
if joins then
	local who = name_taken()
	if who then
		return {'TAKEN', who}
	end
	call('HSETNX', META, 'version', num(version))
elseif tonumber(call('ZSCORE', WORKERS, worker) or ENDED) == ENDED then
	return {'FENCED'}
end
if verb == 'leave' then
	return leave()
end
local theirs = tonumber(call('HGET', META, 'version') or version)
if theirs > version then
	return {'VERSION', num(theirs)}
end
if #ARGV > 6 then
	-- Before the membership, and here because a plain XADD is refused when out of memory: nobody could check the
	-- receipts of a worker that took jobs and died before its key was published.
	call('XADD', PREFIX .. 'attestations', '*', unpack(ARGV, 7))
end
-- An order meant the process before: it goes first, or this one would meet it as a member. A member that says `join` again has
-- lost the reply; an order that stands by then means it.
if verb == 'join' and not call('ZSCORE', WORKERS, worker) then
	call('HDEL', DRAIN, name_of(worker))
end
call('ZADD', WORKERS, num(now + clamp(lease, SECOND, LEASE_MAX)), worker)
if joins and machine ~= '' then
	call('HSET', MACHINES, worker, machine) -- after the membership: REAP and `leave` find it by that
end
return answer()
