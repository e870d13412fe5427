-- SPDX-License-Identifier: Apache-2.0
-- Goes in front of every script. PROTOCOL.md is the contract.
--
-- One key is declared, {NAME}:meta; every other key shares its hash tag, so that all lie in one slot.
--
-- The rule of every move:  1. add to the new place   2. flip the record in ONE HSET   3. leave the old place.
-- Lua does not roll back. With this order a failure between any two commands loses nothing: the record job:<id> is
-- the only truth, every list is an index, and whoever meets an entry that the record does not confirm drops it.

local call = redis.call
local META = KEYS[1]
local PREFIX = META:sub(1, -5)
local SECOND, DAY = 1e6, 86400e6
local LOOK = 30 * SECOND -- an office that may not send is looked at again after this: heals a lost wake-up
local SKEW = 5 * SECOND
local LIFE = 30 * DAY -- the longest life of a job
local CLASS = 2 ^ 44 -- score in a line = class * CLASS + arrival number: fresh high 0, fresh normal 1, replayed 2
local HISTORY = 16
local OPEN = {wait = true, later = true, close = true, taken = true, begun = true}
local FINAL = {
	accepted = true, rejected = true, dead = true, expired = true, cancelled = true, dropped = true, unknown = true
}

-- Numbers and time -------------------------------------------------------------------------------

-- Plain decimal digits: tostring() would round a time to 14 digits.
local function num(x)
	return string.format('%.0f', x)
end

-- An unsigned decimal number, or nil. tonumber() alone would take 'inf', 'nan' and '0x10'.
local function digits(text)
	return text and #text <= 16 and text:find('^%d+$') and tonumber(text) or nil
end

local function clamp(x, low, high)
	return math.max(low, math.min(high, x))
end

local function clock()
	local t = call('TIME')
	return t[1] * SECOND + t[2]
end

-- Redis refuses a script for lack of memory only at its first write. HDEL is allowed then, so that what follows may
-- write and a full queue can drain. `key`: a hash to do it with, for who may not write META.
local function first_write(key)
	call('HDEL', key or META, '-')
end

-- Names ------------------------------------------------------------------------------------------

local function job_key(id)
	return PREFIX .. 'job:' .. id
end

local function sub_key(sid)
	return PREFIX .. 'sub:' .. sid
end

local function wait_key(office)
	return PREFIX .. 'wait:' .. office
end

local function chamber_of(office)
	return office:sub(1, 1) == 'H' and 'house' or 'senate'
end

local function turn_key(office)
	return PREFIX .. 'turn:' .. chamber_of(office)
end

local function office_valid(text)
	return text:find('^H%u%u%d%d$') ~= nil or text:find('^S%u%u0[123]$') ~= nil
end

local function split(id) -- sid, office
	return id:match('^(.+):([^:]+)$')
end

-- Records ----------------------------------------------------------------------------------------

local function job_read(id)
	local flat, j = call('HGETALL', job_key(id)), {}
	for i = 1, #flat, 2 do
		j[flat[i]] = flat[i + 1]
	end
	return j.state and j or nil
end

-- POSTs of unknown fate, without that of `except`.
local function marks(j, except)
	local n = 0
	for field in pairs(j) do
		if field:sub(1, 2) == 'u:' and field ~= 'u:' .. (except or '') then
			n = n + 1
		end
	end
	return n
end

-- Why a job must be ended: while a POST is of unknown fate, nothing may claim that the letter was not sent. Once all such
-- doubts are gone, one that is to be cancelled is.
local function reason(j, why, more_marks)
	if j.late then
		return 'late'
	end
	local doubt = marks(j) + (more_marks or 0) > 0
	if why == 'unknown' and j.cancelled == '1' and not doubt then
		return 'cancelled'
	end
	local claims = why == 'cancelled' or why == 'expired' or why == 'crashes'
	return claims and doubt and 'unknown' or why
end

-- The record's history with one more attempt, and by whom; the oldest goes.
local function history(j, ended_us, status, outcome)
	local begun_ms, ended_ms = num(math.floor((j.begun_us or 0) / 1000)), num(math.floor(ended_us / 1000))
	local worker = (j.worker or ''):sub(1, 128):gsub('[,;]', '_')
	local line = table.concat({j.attempt, begun_ms, ended_ms, status, outcome, worker}, ',') .. ';'
	local all = (j.history or '') .. line
	local _, n = all:gsub(';', '')
	return n > HISTORY and all:match('^[^;]*;(.*)$') or all
end

local function hold_until(what)
	local hold = call('HGET', PREFIX .. 'holds', what)
	return hold and digits(hold:match('^%d+')) or 0
end

-- Breakers: the hash `breaker`, by chamber and office. No field: closed, and nothing to remember ----------------------

-- STATE OPENS UNTIL_US, then: faults in a row, start of the window, answers and faults in it, job and token of the
-- probe, offices of the faults in a row and of those in the window ("-": none).
local function breaker_read(text)
	local state, opens, till, rest = (text or ''):match('^(%l+) (%d+) (%d+) ?(.*)$')
	if not state then
		return nil
	end
	local w = {}
	for word in rest:gmatch('%S+') do
		w[#w + 1] = word
	end
	local function number(k)
		return digits(w[k] or '') or 0
	end
	return {state = state, opens = digits(opens) or 0, till = digits(till) or 0, run = number(1), since = number(2),
		n = number(3), faults = number(4), id = w[5] or '-', token = w[6] or '-', in_run = w[7] or '-',
		in_window = w[8] or '-'}
end

local function breaker_write(what, b)
	call('HSET', PREFIX .. 'breaker', what, table.concat({b.state, num(b.opens), num(b.till), num(b.run), num(b.since),
		num(b.n), num(b.faults), b.id, b.token, b.in_run, b.in_window}, ' '))
end

-- Open or half-open: only the probe may pass.
local function breaker_stops(b)
	return b and (b.state == 'open' or b.state == 'half')
end

-- Places -----------------------------------------------------------------------------------------

-- Into the office's line; the turn first, so that no line is ever without a turn.
local function line_join(office, sid, score, at)
	call('ZADD', turn_key(office), 'NX', num(at), office)
	call('ZADD', wait_key(office), score, sid)
end

-- Looks at the office again at `at`, not sooner.
local function turn_set(office, at)
	if call('EXISTS', wait_key(office)) == 1 then
		call('ZADD', turn_key(office), num(at), office)
	else
		call('ZREM', turn_key(office), office)
	end
end

-- Looks at the office at `at` at the latest; an earlier turn, earned by waiting, stays.
local function turn_wake(office, at)
	if call('EXISTS', wait_key(office)) == 1 then
		call('ZADD', turn_key(office), 'LT', num(at), office)
	else
		call('ZREM', turn_key(office), office)
	end
end

-- Step 1 of a move to wait, later or close.
local function place_add(id, where, score, due, now)
	local sid, office = split(id)
	if where == 'wait' then
		line_join(office, sid, score, now)
	else
		call('ZADD', PREFIX .. where, num(due), id)
	end
end

-- Step 3 of a move from a place that is not in flight.
local function place_leave(id, state, j)
	local sid, office = split(id)
	if state == 'wait' then
		call('ZREM', wait_key(office), sid)
		if call('EXISTS', wait_key(office)) == 0 then
			call('ZREM', turn_key(office), office)
		end
	elseif state == 'later' or state == 'close' or state == 'unknown' then
		call('ZREM', PREFIX .. state, id)
	elseif state == 'dead' and j.dead_id then
		call('XDEL', PREFIX .. 'dead', j.dead_id)
	end
end

-- Step 3 of a move from flight. `held` last: whoever repeats a move that failed finds it there.
local function flight_leave(worker, id, token, now)
	local _, office = split(id)
	call('SREM', PREFIX .. 'fly:' .. office, token)
	turn_wake(office, now)
	call('SREM', PREFIX .. 'held:' .. worker, id .. ' ' .. token)
end

-- What this worker does not know, another may. All such bytes are looked at again LOOKS times a second together, however
-- many wait: they come back under their old numbers, and a flood of them would stand before every letter for as long as
-- they wait. Further ahead than PACE_MOST only after a clock stepped back.
local LOOKS, PACE_MOST = 50, 6 * 3600 * SECOND
local function look_paced(at, now)
	local key = PREFIX .. 'rate:look'
	local next_look = clamp(digits(call('GET', key) or '') or 0, now, now + PACE_MOST)
	local after = next_look + SECOND / LOOKS
	call('SET', key, num(after), 'PX', num(math.ceil((after - now) / 1000) + 1))
	return math.max(at, next_look)
end

-- The submission: everything in sub:<sid> but the job bytes is derived from its job records -------------------------

-- What a reader sees of one job. A new generation that has not begun does not hide the outcome that it challenges.
local function status_text(state, previous, outcome, last, rev)
	if previous and previous ~= '' then
		state = previous
	end
	local word = FINAL[state] and outcome or last
	return state .. ' ' .. (word and word ~= '' and word or '-') .. ' ' .. rev
end

local function status_show(sid, office, state, last, rev, previous, outcome)
	call('HSET', sub_key(sid), 's:' .. office, status_text(state, previous, outcome, last, rev))
end

-- A submission that is about to be open again must not expire. more: offices that it may not list.
local function sub_keep(sid, more)
	call('PERSIST', sub_key(sid))
	for office in ((call('HGET', sub_key(sid), 'offices') or '') .. ',' .. (more or '')):gmatch('[^,]+') do
		call('PERSIST', job_key(sid .. ':' .. office))
	end
end

-- Digests that any job of the submission still names.
local function digests_used(sid)
	local used = {}
	for other in (call('HGET', sub_key(sid), 'offices') or ''):gmatch('[^,]+') do
		local fields = call('HMGET', job_key(sid .. ':' .. other), 'digest', 'previous_digest', 'candidates')
		local digest, previous, more = unpack(fields)
		used[digest or ''], used[previous or ''] = true, true
		for candidate in (more or ''):gmatch('[^,]+') do
			used[candidate] = true
		end
	end
	return used
end

-- Job bytes that no record names any more. `used`: digests as keys.
local function sub_forget_bytes(sid, used)
	for _, field in ipairs(call('HKEYS', sub_key(sid))) do
		if field:sub(1, 2) == 'j:' and not used[field:sub(3)] then
			call('HDEL', sub_key(sid), field)
		end
	end
end

-- All is over and nobody needs to act: the records live a day longer than the letter could, or than its end. Not from
-- now: a tail that is repeated later must not give a longer life to some of them, and then fail.
local function sub_retire(sid, offices, expires_us, ended_us, now)
	local till = math.max(expires_us, math.min(ended_us, now + DAY)) + DAY
	local at = num(math.ceil((till > now and till or now + DAY) / SECOND)) -- a challenge may be refused long after the end
	sub_forget_bytes(sid, {})
	for _, office in ipairs(offices) do
		call('EXPIREAT', job_key(sid .. ':' .. office), at)
	end
	call('EXPIREAT', sub_key(sid), at)
end

local function sub_word(n, open, accepted)
	if open > 0 then
		return 'pending'
	end
	return accepted == n and 'delivered' or accepted == 0 and 'failed' or 'partial'
end

-- The tail of every visible change of place; may be repeated at any time.
local function rollup(sid, now)
	local key = sub_key(sid)
	local listed = call('HGET', key, 'offices')
	if not listed then
		return
	end
	local offices, view, open, accepted, kept, expires, ended = {}, {}, 0, 0, 0, 0, 0
	for office in listed:gmatch('[^,]+') do
		local fields = call('HMGET', job_key(sid .. ':' .. office), 'state', 'previous', 'outcome', 'last', 'rev',
			'expires_us', 'ended_us')
		local state, previous, outcome, last, rev, expires_us, ended_us = unpack(fields)
		if state then
			offices[#offices + 1] = office
			view[#view + 1] = 's:' .. office
			view[#view + 1] = status_text(state, previous, outcome, last, rev)
			open = open + (OPEN[state] and 1 or 0)
			accepted = accepted + (state == 'accepted' and 1 or 0)
			kept = kept + ((state == 'dead' or state == 'unknown') and 1 or 0)
			expires = math.max(expires, digits(expires_us or '') or 0)
			ended = math.max(ended, digits(ended_us or '') or 0)
		else
			call('HDEL', key, 's:' .. office)
		end
	end
	if #offices == 0 then
		call('DEL', key)
		return
	end
	call('HSET', key, 'offices', table.concat(offices, ','), 'open', open, 'rollup', sub_word(#offices, open, accepted),
		'expires_us', num(expires), unpack(view))
	if open + kept == 0 then
		sub_retire(sid, offices, expires, ended, now)
	end
end

-- Flow: what came, what ended and how long POSTs took, by chamber and minute, for DEPTH -------------------------------

local MINUTE = 60 * SECOND
local FLOW_KEEP = 10 -- minutes
local POST_FIRST_MS, POST_SLOWEST = 100, 10 -- class k of a POST: at most 100 ms x 2^k, the last without an end

-- Counted after all that is true has been written, and under pcall: a count that fails costs no letter anything. Fields
-- of old minutes go when a new one begins, and those of minutes that are still to come, after a clock that stepped back.
local function flow_add(now, office, kind, n)
	pcall(function()
		local minute = math.floor(now / MINUTE)
		local field = num(minute) .. office:sub(1, 1) .. kind
		if call('HINCRBY', PREFIX .. 'flow', field, n) > n then
			return
		end
		for _, old in ipairs(call('HKEYS', PREFIX .. 'flow')) do
			local at = tonumber(old:match('^%d+') or 0)
			if at < minute - FLOW_KEEP or at > minute then
				call('HDEL', PREFIX .. 'flow', old)
			end
		end
	end)
end

-- ended: a job that was open is over. us: how long its POST took, or nil.
local function flow_end(now, office, ended, us)
	local class, most = 0, POST_FIRST_MS * 1000
	while us and us > most and class < POST_SLOWEST do
		class, most = class + 1, most * 2
	end
	if us then
		flow_add(now, office, 'p' .. class, 1)
	end
	if ended then
		flow_add(now, office, 'o', 1)
	end
end

-- What is done with a POST of unknown fate, by chamber: its job is sent again under the same DeliveryId, not before
-- `after` past its BEGIN, or ended as unknown, for a person.
local function fate_policy(after, house, senate)
	return {after = tonumber(after), house = house == '1', senate = senate == '1'}
end

-- Where a job goes for which nobody answers (REAP, ADOPT): place, due, why and further fields of the record. A taken
-- one was surely not sent. A begun one is of unknown fate: its POST may have left. why: what is to become of it so far.
local function forsaken(j, office, token, why, policy, mine, now)
	if j.state ~= 'begun' then
		return 'wait', now, reason(j, why), {}
	end
	local due = now
	if policy[chamber_of(office)] then
		due = clamp(j.begun_us + policy.after, now, now + LIFE + DAY)
	elseif why == '' then
		why = 'unknown'
	end
	return 'later', due, reason(j, why, 1), {'rev', j.rev + 1, 'u:' .. token, j.begun_us, 'last', 'no_answer',
		'status', 0, 'history', history(j, mine, 0, 'no_answer')}
end

-- Takes one job out of flight without an answer of its holder. decide(j, office, token) says where it goes, as
-- forsaken() does.
local function recall(worker, member, now, decide)
	local id, token = member:match('^(%S+:%S+) (%S+)$')
	if not id then
		call('SREM', PREFIX .. 'held:' .. worker, member)
		return
	end
	local j = job_read(id)
	local sid, office = split(id)
	if j and j.token == token and j.worker == worker then
		local where, due, why, fields = decide(j, office, token)
		if why ~= '' then
			where, due = 'close', now
		end
		place_add(id, where, j.score, due, now)
		call('HSET', job_key(id), 'state', where, 'token', '', 'worker', '', 'why', why, 'cell_chamber', '',
			'cell_office', '', unpack(fields))
	end
	-- Also for a job that moved on before: the tail of that move may have failed.
	rollup(sid, now)
	flight_leave(worker, id, token, now)
end
