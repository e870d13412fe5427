-- SPDX-License-Identifier: Apache-2.0
-- TAKE, after enqueue.lua: intake, timers, the close lane, then one turn per office.
-- ARGV chamber worker take_id n now_us chamber_period chamber_slack office_period office_slack office_cap open(0|1)
-- -> [wait_us, full, job...] | [FENCED] | [SKEW]; a job may be [ERR, text]: the worker runs ADOPT.

local chamber, worker, take_id = ARGV[1], ARGV[2], ARGV[3]
local wanted = clamp(tonumber(ARGV[4]), 0, 64)
local LIMIT = {
	chamber = {key = PREFIX .. 'rate:' .. chamber, period = tonumber(ARGV[6]), slack = tonumber(ARGV[7])},
	office = {period = tonumber(ARGV[8]), slack = tonumber(ARGV[9])},
	cap = tonumber(ARGV[10])
}
local open = ARGV[11] ~= '0' -- closed: letters wait, and what needs no POST goes on
local INTAKE, TIMERS, EXPIRIES, HEALS, STEPS = 32, 32, 16, 8, 64
local TURN = PREFIX .. 'turn:' .. chamber

local lease = call('ZSCORE', PREFIX .. 'workers', worker)
if not lease then
	return {'FENCED'}
elseif tonumber(lease) <= tonumber(ARGV[5]) then
	wanted = 0 -- what it took now could be taken back at once, while it sends
end
local now = clock()
if math.abs(now - tonumber(ARGV[5])) > SKEW then
	return {'SKEW'}
end

local full = out_of_memory()
local reply, taken = {}, 0

-- One broken record must not stop its chamber: the entry is parked and looked at again later.
local function guarded(work, park)
	local ok, err = pcall(work)
	if not ok then
		park()
		reply[#reply + 1] = {'ERR', error_text(err)}
	end
end

-- Timers: later -> wait, exp -> close --------------------------------------------------------------

local function later_due(id)
	local j = job_read(id)
	if j and j.state == 'later' then
		place_add(id, 'wait', j.score, 0, now)
		call('HSET', job_key(id), 'state', 'wait')
	end
	call('ZREM', PREFIX .. 'later', id)
end

-- Only the worker knows the signed expiry: an expired job goes to the close lane, and may come back as `live`.
local function exp_due(id)
	local j = job_read(id)
	if j and (j.state == 'taken' or j.state == 'begun') then
		call('ZADD', PREFIX .. 'exp', num(now + SKEW), id)
		return
	end
	if j and (j.state == 'wait' or j.state == 'later') then
		call('ZADD', PREFIX .. 'close', num(now), id)
		call('HSET', job_key(id), 'state', 'close', 'why', reason(j, 'expired'))
		place_leave(id, j.state)
	end
	call('ZREM', PREFIX .. 'exp', id)
end

local function timers(set, max, due)
	for _, id in ipairs(call('ZRANGEBYSCORE', PREFIX .. set, '-inf', num(now), 'LIMIT', 0, max)) do
		guarded(function()
			due(id)
		end, function()
			call('ZADD', PREFIX .. set, num(now + LOOK), id)
		end)
	end
end

-- Only a clock that stepped back leaves a turn further away than LOOK.
local function turns_heal()
	for _, office in ipairs(call('ZRANGEBYSCORE', TURN, num(now + LOOK + SECOND), '+inf', 'LIMIT', 0, HEALS)) do
		call('ZADD', TURN, num(now), office)
	end
end

-- Giving a job to the worker -----------------------------------------------------------------------

local function job_entry(id, j, token)
	local sid, office = split(id)
	local bytes = call('HGET', sub_key(sid), 'j:' .. j.digest) or ''
	return {sid, office, token, j.why, j.digest, j.previous, j.generation ~= '' and j.generation or '-1',
		j.attempt, j.crashes, num(marks(j)), j.delivery_id or '', j.date or '', j.begun_us or '0',
		j.opened_us or j.first_us or '0', j.rev, j.last or '', j.status or '0', bytes}
end

-- charge(token): writes the rate cells and returns how they can be given back, as fields of the record.
local function give(id, j, charge)
	taken = taken + 1 -- before all writes: what fails below may have left its token in `held` or `fly`
	local token = take_id .. '.' .. taken
	local _, office = split(id)
	local entry = job_entry(id, j, token)
	call('SADD', PREFIX .. 'held:' .. worker, id .. ' ' .. token)
	call('SADD', PREFIX .. 'fly:' .. office, token)
	local cell_chamber, cell_office = charge(token)
	call('HSET', job_key(id), 'state', 'taken', 'token', token, 'worker', worker, 'deliveries', (j.deliveries or 0) + 1,
		'cell_chamber', cell_chamber, 'cell_office', cell_office)
	reply[#reply + 1] = entry
end

-- Jobs to be ended with a receipt take no cell and know neither holds nor caps. At most this many; returns whether there
-- may be more.
local function close_lane(most)
	local lane = most > 0 and call('ZRANGE', PREFIX .. 'close', 0, most - 1, 'WITHSCORES') or {}
	for i = 1, #lane, 2 do
		local id, at = lane[i], tonumber(lane[i + 1])
		if at <= now or at > now + LOOK then -- else parked; further away than LOOK only after a clock stepped back
			guarded(function()
				local j = job_read(id)
				if j and j.state == 'close' then
					give(id, j, function()
						return '', ''
					end)
				end
				call('ZREM', PREFIX .. 'close', id)
			end, function()
				call('ZADD', PREFIX .. 'close', num(now + LOOK), id)
			end)
		end
	end
	return #lane == 2 * most
end

-- Rate cells: GCRA ---------------------------------------------------------------------------------

local function cell_write(key, at)
	call('SET', key, num(at), 'PX', num(math.ceil((at - now) / 1000) + 1))
end

-- The bucket's theoretical arrival time. One beyond now + slack + period can only come from a clock that stepped back;
-- it is written back in its bounds, or the bucket would stay shut until the clock has caught up.
local function cell_read(key, limit)
	local at, most = digits(call('GET', key) or '') or 0, now + limit.slack + limit.period
	if at > most and limit.period > 0 then
		cell_write(key, most)
	end
	return clamp(at, now, most)
end

-- When the bucket has its next cell.
local function cell_ready(at, limit)
	return at - limit.slack
end

local function cell_charge(key, at, limit)
	if limit.period <= 0 then
		return ''
	end
	cell_write(key, at + limit.period)
	return num(at + limit.period) .. ' ' .. num(at)
end

-- Breakers -----------------------------------------------------------------------------------------

local any_breaker = call('EXISTS', PREFIX .. 'breaker') == 1

local function breaker_of(what)
	return any_breaker and breaker_read(call('HGET', PREFIX .. 'breaker', what) or '') or nil
end

-- Until when nothing may go, and whether what goes then is the probe. A probe stands while its job has its token: that
-- of a worker that died or let it go is replaced.
local function breaker_gate(b)
	if not breaker_stops(b) then
		return 0, false
	elseif b.state == 'open' and b.till > now then
		return b.till, false
	elseif b.state == 'half' and call('HGET', job_key(b.id), 'token') == b.token then
		return now + LOOK, false -- its SETTLE wakes us
	end
	return 0, true
end

local function breaker_probe(what, b, id, token)
	b.state, b.id, b.token = 'half', id, token
	breaker_write(what, b)
end

-- One turn -----------------------------------------------------------------------------------------

local chamber_breaker = breaker_of(chamber)
local chamber_gate, chamber_probe = breaker_gate(chamber_breaker)

-- Pops the office's first job; returns when the office may be looked at again. `probed`: its breaker, when this is to be
-- the probe.
local function office_pop(office, chamber_at, office_at, probed)
	local sid = call('ZRANGE', wait_key(office), 0, 0)[1]
	if not sid then
		return now
	end
	local id, again = sid .. ':' .. office, now
	local j = job_read(id)
	if j and j.state == 'wait' then
		give(id, j, function(token)
			if chamber_probe then
				breaker_probe(chamber, chamber_breaker, id, token)
			end
			if probed then
				breaker_probe(office, probed, id, token)
			end
			return cell_charge(LIMIT.chamber.key, chamber_at, LIMIT.chamber),
				cell_charge(PREFIX .. 'rate:' .. office, office_at, LIMIT.office)
		end)
		if chamber_probe then
			chamber_gate, chamber_probe = now + LOOK, false
		end
		again = math.max(now + taken, cell_ready(office_at + LIMIT.office.period, LIMIT.office))
	end
	call('ZREM', wait_key(office), sid)
	return again
end

local function office_turn(office, chamber_at)
	local hold, again = hold_until(office), 0
	local b = breaker_of(office)
	local gate, probe = breaker_gate(b)
	-- A receiver that failed last must not eat the slots: its next letter alone.
	local cap = b and b.run > 0 and math.min(LIMIT.cap, 1) or LIMIT.cap
	local office_at = cell_read(PREFIX .. 'rate:' .. office, LIMIT.office)
	if math.max(hold, gate) > now then
		again = math.max(hold, gate)
	elseif call('SCARD', PREFIX .. 'fly:' .. office) >= cap then
		again = now + LOOK -- SETTLE, REAP and resume wake it sooner
	elseif cell_ready(office_at, LIMIT.office) > now then
		again = cell_ready(office_at, LIMIT.office)
	else
		again = office_pop(office, chamber_at, office_at, probe and b)
	end
	turn_set(office, math.min(again, now + LOOK))
end

-- Nothing is reserved in the future: a limited office has a later turn. Returns how long nothing can be ready.
local function turns()
	for step = 1, STEPS + wanted do
		if taken >= wanted then
			return 0
		elseif chamber_gate > now then
			return chamber_gate - now
		end
		local chamber_at = cell_read(LIMIT.chamber.key, LIMIT.chamber)
		local ready = cell_ready(chamber_at, LIMIT.chamber)
		if ready > now then
			return ready - now
		end
		local head = call('ZRANGE', TURN, 0, 0, 'WITHSCORES')
		if not head[1] then
			return LOOK
		elseif tonumber(head[2]) > now + taken then
			return tonumber(head[2]) - now
		end
		guarded(function()
			office_turn(head[1], chamber_at)
		end, function()
			call('ZADD', TURN, num(now + LOOK), head[1])
		end)
	end
	return 0
end

local function wait_time(wait)
	local later = call('ZRANGE', PREFIX .. 'later', 0, 0, 'WITHSCORES')
	if later[2] then
		wait = math.min(wait, tonumber(later[2]) - now)
	end
	if #reply > 0 or not full and call('XLEN', PREFIX .. 'in') > 0 then
		wait = 0
	end
	return clamp(wait, 0, LOOK)
end

-- By which limits letters go, for DEPTH: those that the last TAKE named.
local function limits_say()
	pcall(function()
		local text = table.concat({ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]}, ' ')
		if call('HGET', PREFIX .. 'limits', chamber) ~= text then
			call('HSET', PREFIX .. 'limits', chamber, text)
		end
	end)
end

first_write()
if not full then
	intake(INTAKE, now)
end
timers('later', TIMERS, later_due)
timers('exp', EXPIRIES, exp_due)
turns_heal()
-- Letters and the close lane share what is wanted, so that neither waits for all of the other; what one of them leaves is
-- the other's. The odd one is anybody's: by the name of this TAKE, since a clock may go in steps.
local more = close_lane(math.floor((wanted + tonumber(redis.sha1hex(take_id):sub(1, 1), 16) % 2) / 2))
local wait = LOOK
if open and wanted > 0 then
	local hold = hold_until(chamber)
	wait = hold > now and hold - now or turns()
end
if more then
	close_lane(wanted - taken)
end
limits_say()
return {num(wait_time(wait)), full and 1 or 0, unpack(reply)}
