-- SPDX-License-Identifier: Apache-2.0
-- What a scenario asks of the keys. Made by: chunk(door, offset of the wall clock); times are us. Functions take and
-- return text; what begins with expect_ returns nil when it is as wanted, else what it is instead.

local door = ...
local ask = door.ask
local PREFIX = '{q}:'
local FINAL = {
	accepted = true, rejected = true, dead = true, expired = true, cancelled = true, dropped = true, unknown = true
}
local CHAMBERS = {'house', 'senate'}
local check = {}

local function key(name)
	return PREFIX .. name
end

local function hash(name)
	local flat, map = ask('HGETALL', key(name)), {}
	for i = 1, #flat, 2 do
		map[flat[i]] = flat[i + 1]
	end
	return map
end

local function fields(flat)
	local map = {}
	for i = 1, #flat, 2 do
		map[flat[i]] = flat[i + 1]
	end
	return map
end

local function chamber_of(office)
	return office:sub(1, 1) == 'H' and 'house' or 'senate'
end

local function split(id)
	return id:match('^(.+):([^:]+)$')
end

local function keys(prefix)
	local all = ask('SCAN', '0', 'MATCH', key(prefix) .. '*')[2]
	for i, name in ipairs(all) do
		all[i] = name:sub(#PREFIX + 1)
	end
	return all
end

local function each(set, prefix) -- members of all sorted sets or sets with this prefix, as "key member"
	local found = {}
	for _, name in ipairs(keys(prefix)) do
		local all = set and ask('SMEMBERS', key(name)) or ask('ZRANGE', key(name), '0', '-1')
		for _, member in ipairs(all) do
			found[#found + 1] = {name:sub(#prefix + 1), member}
		end
	end
	return found
end

-- Time -------------------------------------------------------------------------------------------

-- Until when the thing may not send: a hold, or an open breaker.
local function shut_until(what)
	local hold = ask('HGET', key('holds'), what)
	local breaker = ask('HGET', key('breaker'), what)
	local till = hold and tonumber(hold:match('^%d+')) or 0
	if breaker and breaker:find('^open ') then
		till = math.max(till, tonumber(breaker:match('^%a+ %d+ (%d+)')) or 0)
	end
	return till
end

local function first_score(name)
	return tonumber(ask('ZRANGE', key(name), '0', '0', 'WITHSCORES')[2]) or 1 / 0
end

local function turn_next(chamber, now)
	local turns = ask('ZRANGE', key('turn:' .. chamber), '0', '-1', 'WITHSCORES')
	local shut, first = shut_until(chamber), 1 / 0
	if #turns == 0 then
		return first
	elseif shut > now then
		return shut
	end
	for i = 1, #turns, 2 do
		local closed = shut_until(turns[i])
		first = math.min(first, closed > now and closed or tonumber(turns[i + 1]))
	end
	return first
end

-- When something can happen that no event of the world tells of: jobs that fall due, leases of the dead that end (and of
-- the living whose clocks are wrong). `names`: workers that live, one a line.
function check.next_us(now_text, names)
	local now, live = tonumber(now_text), {}
	local first = ask('XLEN', key('in')) > 0 and now or 1 / 0
	for name in names:gmatch('[^\n]+') do
		live[name] = true
		if not ask('ZSCORE', key('workers'), name) then
			first = now -- it has not learnt yet that it is fenced
		end
	end
	for _, place in ipairs({'close', 'later', 'exp'}) do
		first = math.min(first, first_score(place))
	end
	for _, chamber in ipairs(CHAMBERS) do
		first = math.min(first, turn_next(chamber, now))
	end
	local members = ask('ZRANGE', key('workers'), '0', '-1', 'WITHSCORES')
	for i = 1, #members, 2 do
		local ends = tonumber(members[i + 1])
		if not live[members[i]] or ends <= now then
			first = math.min(first, ends)
		end
	end
	return string.format('%.0f', math.max(now, math.min(first, 2 ^ 53)))
end

-- The living have renewed their leases during a jump of the time.
function check.lease_shift(by, names)
	for name in names:gmatch('[^\n]+') do
		local score = ask('ZSCORE', key('workers'), name)
		if score then
			ask('ZADD', key('workers'), 'XX', string.format('%.0f', tonumber(score) + tonumber(by)), name)
		end
	end
end

-- What must always be true ---------------------------------------------------------------------------

local problem

local function need(true_, ...)
	if not true_ and not problem then
		problem = table.concat({...}, ' ')
	end
end

local function in_set(name, member)
	return ask('ZSCORE', key(name), member)
end

local function check_open(id, j)
	local sid, office = split(id)
	local state = j.state
	if state == 'wait' then
		need(in_set('wait:' .. office, sid), id, 'waits, but is in no line')
		need(in_set('turn:' .. chamber_of(office), office), office, 'has a line and no turn')
	elseif state == 'later' or state == 'close' then
		need(in_set(state, id), id, 'is not in', state)
	elseif state == 'taken' or state == 'begun' then
		need(in_set('workers', j.worker), id, 'is held by nobody', j.worker)
		need(ask('SISMEMBER', key('held:' .. j.worker), id .. ' ' .. j.token) == 1, id, 'is not held')
		need(ask('SISMEMBER', key('fly:' .. office), j.token) == 1, id, 'is not in flight')
	else
		need(false, id, 'has the state', state)
	end
	if state == 'wait' or state == 'later' then
		need(in_set('exp', id), id, 'waits without an expiry')
	end
	need(ask('HGET', key('sub:' .. sid), 'j:' .. j.digest), id, 'has lost its bytes')
end

local function check_job(id)
	local j = hash('job:' .. id)
	if not FINAL[j.state] then
		check_open(id, j)
		return
	end
	need(not in_set('exp', id), id, 'is over and would expire')
	need(j.state ~= 'unknown' or in_set('unknown', id), id, 'is unknown, and nobody is told')
	if j.state == 'dead' then
		need(#ask('XRANGE', key('dead'), j.dead_id, j.dead_id) == 1, id, 'is dead without an entry')
	end
end

-- Every entry of a place is confirmed by the record.
local function check_place(id, place)
	local state = ask('HGET', key('job:' .. id), 'state')
	need(state == place, id, 'is in', place, 'but', tostring(state))
end

local function check_places()
	for _, e in ipairs(each(false, 'wait:')) do
		check_place(e[2] .. ':' .. e[1], 'wait')
	end
	for _, place in ipairs({'later', 'close', 'unknown'}) do
		for _, e in ipairs(each(false, place)) do
			check_place(e[2], place)
		end
	end
	local held = {}
	for _, e in ipairs(each(true, 'held:')) do
		local id, token = e[2]:match('^(%S+) (%S+)$')
		held[token] = true
		need(ask('HGET', key('job:' .. id), 'token') == token, id, 'is held under an old token')
	end
	for _, e in ipairs(each(true, 'fly:')) do
		need(held[e[2]], e[2], 'flies and is not held')
	end
	for _, e in ipairs(each(false, 'turn:')) do
		need(ask('EXISTS', key('wait:' .. e[2])) == 1, e[2], 'has a turn and no line')
	end
end

local function check_sub(name)
	local sub, open, accepted, n = hash(name), 0, 0, 0
	local sid = name:sub(5)
	for office in (sub.offices or ''):gmatch('[^,]+') do
		local j = hash('job:' .. sid .. ':' .. office)
		if j.state then
			n = n + 1
			open = open + (FINAL[j.state] and 0 or 1)
			accepted = accepted + (j.state == 'accepted' and 1 or 0)
			local shown = sub['s:' .. office] or ''
			need(shown:match('%S+$') == j.rev, sid, office, 'shows', shown, 'at rev', j.rev)
			need(not FINAL[j.state] or shown:match('^%S+') == j.state, sid, office, 'shows', shown, 'but is', j.state)
		end
	end
	local word = open > 0 and 'pending' or accepted == n and 'delivered' or accepted == 0 and 'failed' or 'partial'
	need(n == 0 or sub.rollup == word, sid, 'is', tostring(sub.rollup), 'and should be', word)
end

-- Nil, or what is wrong.
function check.store()
	problem = nil
	for _, name in ipairs(keys('job:')) do
		check_job(name:sub(5))
	end
	check_places()
	for _, name in ipairs(keys('sub:')) do
		check_sub(name)
	end
	return problem
end

function check.state(sid, office)
	return ask('HGET', key('job:' .. sid .. ':' .. office), 'state') or nil
end

-- Whether anybody was told of a job that has no record: by a result, or among what was refused.
function check.told(sid, office)
	for _, stream in ipairs({'results', 'refused'}) do
		for _, e in ipairs(ask('XRANGE', key(stream), '-', '+')) do
			local f = fields(e[2])
			if f.sid == sid and f.office == office then
				return stream
			end
		end
	end
end

function check.results()
	return tostring(ask('XLEN', key('results')))
end

-- Results: each as it comes. seen: how many were looked at. -> sid, office, state, outcome, receipt, what is wrong or ''
function check.result(seen)
	local flat = door.nth(key('results'), tonumber(seen) + 1)
	if not flat then
		return nil
	end
	local e = fields(flat)
	local j, wrong = hash('job:' .. e.sid .. ':' .. e.office), nil
	if not j.state then
		wrong = 'without a record'
	elseif e.state ~= 'late' and tonumber(j.rev) < tonumber(e.rev) then
		wrong = 'ahead of its record: rev ' .. e.rev .. ', the record has ' .. j.rev
	elseif e.state ~= 'late' and j.rev == e.rev and j.state ~= e.state then
		wrong = e.state .. ' while the record is ' .. j.state
	end
	return e.sid, e.office, e.state, e.outcome, e.receipt, wrong and e.sid .. ' ' .. e.office .. ': ' .. wrong or ''
end

-- Which entry of `attestations` has the document with this hash, published by the worker with this receipt key; or what
-- is wrong.
function check.published(sha256, receipt_key)
	for n = 1, 1e6 do
		local flat = door.nth(key('attestations'), n)
		if not flat then
			return 'is not in `attestations`'
		end
		local e = fields(flat)
		if e.document_sha256 == sha256 then
			local whole = e.document and e.statement and #e.document > 256 and e.receipt_key == receipt_key
			return whole and tostring(n) or 'stands there without its bytes, or under another key'
		end
	end
end

-- Expectations -----------------------------------------------------------------------------------

local UNIT = {us = 1, ms = 1e3, s = 1e6, m = 60e6, h = 3600e6, d = 86400e6}

local function duration(text)
	local sum, sign = 0, text:sub(1, 1) == '-' and -1 or 1
	for n, unit in text:gmatch('([%d%.]+)(%a+)') do
		sum = sum + tonumber(n) * (UNIT[unit] or error('no unit ' .. unit, 0))
	end
	return sign * sum
end

local function amount(text, now)
	if text:find('^[%+%-][%d%.]+%a') then
		return now + duration(text)
	elseif text:find('^[%d%.]+%a') then
		return duration(text)
	end
	return tonumber(text)
end

-- `want`: a word, - (nothing), !word, or a range a..b of numbers, durations or times from now (+1h, -5m).
local function matches(have, want, now)
	have = have and have ~= '' and have or '-'
	if want:sub(1, 1) == '!' then
		return not matches(have, want:sub(2), now)
	end
	local low, high = want:match('^(.-)%.%.(.+)$')
	local a, b = low and amount(low, now), low and amount(high, now)
	if a and b and tonumber(have) then
		return tonumber(have) >= a and tonumber(have) <= b
	end
	return have == want
end

-- Pairs of a field and what it must be.
local function compare(map, now, ...)
	local wanted = {...}
	if #wanted % 2 ~= 0 then
		error('a field without a value', 0)
	end
	for i = 1, #wanted, 2 do
		local have = map[wanted[i]]
		if not matches(have, wanted[i + 1], now) then
			local shown = have and have ~= '' and have or '-'
			local from_now = tonumber(shown) and tonumber(shown) > 1e15 and
				string.format(' (now %+.3f s)', (tonumber(shown) - now) / 1e6) or ''
			return wanted[i] .. ' is ' .. shown .. from_now
		end
	end
end

function check.expect_job(now, sid, office, ...)
	local id = sid .. ':' .. office
	local j = hash('job:' .. id)
	if not j.state then
		local field, value = ...
		return not (field == 'state' and value == 'gone') and 'there is no record' or nil
	end
	j.due = ask('ZSCORE', key('later'), id)
	j.expiry = ask('ZSCORE', key('exp'), id)
	j.marks = 0
	for field in pairs(j) do
		j.marks = j.marks + (field:find('^u:') and 1 or 0)
	end
	j.marks = tostring(j.marks)
	return compare(j, tonumber(now), ...)
end

function check.expect_sub(now, sid, ...)
	return compare(hash('sub:' .. sid), tonumber(now), ...)
end

local function entries_of(stream, sid, office)
	local found = {}
	for _, e in ipairs(ask('XRANGE', key(stream), '-', '+')) do
		local f = fields(e[2])
		if f.sid == sid and f.office == office then
			found[#found + 1] = f
		end
	end
	return found
end

-- The newest entry of a stream about the job.
function check.expect_entry(now, stream, sid, office, ...)
	local found = entries_of(stream, sid, office)
	if #found == 0 then
		return 'there is none'
	end
	return compare(found[#found], tonumber(now), ...)
end

function check.expect_count(now, stream, sid, office, n)
	local found = #entries_of(stream, sid, office)
	return not matches(tostring(found), n, tonumber(now)) and 'there are ' .. found or nil
end

-- A hold or a breaker: what its words are.
function check.expect_hold(now, what, ...)
	local till, who, reason = (ask('HGET', key('holds'), what) or ''):match('^(%d+) (%S+) ?(.*)$')
	local active = till and tonumber(till) > tonumber(now)
	return compare({state = active and 'held' or 'free', till = till, who = who, reason = reason}, tonumber(now), ...)
end

function check.expect_breaker(now, what, ...)
	local text = ask('HGET', key('breaker'), what) or 'none'
	local state, opens, till = text:match('^(%a+) ?(%d*) ?(%d*)')
	return compare({state = state, opens = opens, till = till}, tonumber(now), ...)
end

local LENGTH = {stream = 'XLEN', hash = 'HLEN', set = 'SCARD', zset = 'ZCARD'}

function check.expect_length(now, name, n)
	local kind = ask('TYPE', key(name)).ok
	local length = kind == 'none' and 0 or ask(LENGTH[kind], key(name))
	return not matches(tostring(length), n, tonumber(now)) and 'there are ' .. length or nil
end

return check
