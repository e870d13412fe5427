-- SPDX-License-Identifier: Apache-2.0
-- DEPTH: ARGV now_us [horizon_us] -> name, value, name, value, ...   Writes nothing. All of it is of one moment.
--
-- Summed from the places; only the rates are counters, and nothing hangs on those. The work is bounded: what is above the
-- ceilings below is counted in proportion to what was looked at. All times are in the server's clock; the caller's is not
-- looked at.

local LINES = 1024 -- of each chamber: offices with a line
local SAMPLE = 4096 -- of `later`, `close` and `unknown`, the earliest; and of what is in flight
local ENDS = 256 -- of `later`, the first and the last to be due: how old the oldest is. Of `dead`, the first
local DOOR = 8 -- of `in`, the first: which chambers they are for
local WORKERS = 512
local OFFICE = 5 -- characters of its code, at the end of a job's id
local RATE_MINUTES = 5 -- and the one under way
local CHAMBERS = {'house', 'senate'}
local CAUSES = {'pause', 'maintenance', 'receiver', 'breaker', 'rate'}

local now = clock()
local horizon = clamp(digits(ARGV[2] or '') or 300 * SECOND, SECOND, DAY)
local reply, count = {}, {house = {}, senate = {}}

local function add(name, value)
	reply[#reply + 1] = name
	reply[#reply + 1] = num(value)
end

local function more(chamber, what, n)
	local c = count[chamber]
	c[what] = (c[what] or 0) + n
end

local function most(chamber, what, n)
	local c = count[chamber]
	c[what] = math.max(c[what] or 0, n)
end

-- What holds ----------------------------------------------------------------------------------------

-- By chamber and office: who stops it. A person's hold goes before a worker's, which is for the chamber's maintenance or
-- because the receiver asked for it or refuses us.
local function holds_read(cause)
	local flat = call('HGETALL', PREFIX .. 'holds')
	for i = 1, #flat, 2 do
		local till, who, why = flat[i + 1]:match('^(%d+) ?(%S*) ?(.*)$')
		if (digits(till or '') or 0) > now then
			cause[flat[i]] = not who:find('/', 1, true) and 'pause' or why == 'maintenance' and why or 'receiver'
		end
	end
end

-- Breakers that are not closed hold like a hold.
local function breakers_read(cause)
	local flat = call('HGETALL', PREFIX .. 'breaker')
	for i = 1, #flat, 2 do
		local what = flat[i]
		if breaker_stops(breaker_read(flat[i + 1])) then
			cause[what] = cause[what] or 'breaker'
			if count[what] then
				count[what].down = 1
			else
				more(chamber_of(what), 'breakers', 1)
			end
		end
	end
end

local cause = {}
holds_read(cause)
breakers_read(cause)
for what, why in pairs(cause) do
	if count[what] then
		count[what].blocked = 1
	else
		more(chamber_of(what), 'offices_' .. why, 1)
	end
end

-- Rates ---------------------------------------------------------------------------------------------

-- As the last TAKE of the chamber named them: period, slack, those of an office, office cap; 0: no limit.
local function limits_of(chamber)
	local v, text = {}, call('HGET', PREFIX .. 'limits', chamber) or ''
	for word in text:gmatch('%S+') do
		v[#v + 1] = digits(word) or 0
	end
	return {period = v[1] or 0, slack = v[2] or 0, office_period = v[3] or 0, office_slack = v[4] or 0, cap = v[5] or 0}
end

-- Cells that the bucket gives until the horizon: TAT + (n - 1) x period - slack <= now + horizon.
local function cells(what, period, slack)
	if period <= 0 then
		return math.huge
	end
	local at = math.max(digits(call('GET', PREFIX .. 'rate:' .. what) or '') or 0, now) - now
	return math.max(0, math.floor((horizon + slack - at) / period) + 1)
end

-- The flow: arrivals, ends and POSTs of the last minutes, and how long 95 of 100 POSTs took at most.
local function flow_read()
	local minute, flat = math.floor(now / MINUTE), call('HGETALL', PREFIX .. 'flow')
	for i = 1, #flat, 2 do
		local at, letter, kind = flat[i]:match('^(%d+)([HS])(%l%d*)$')
		at = tonumber(at or 0)
		if at <= minute and at >= minute - RATE_MINUTES then
			more(chamber_of(letter), kind, digits(flat[i + 1]) or 0)
		end
	end
	add('window_us', now - (minute - RATE_MINUTES) * MINUTE)
end

-- Within its class it is looked for in proportion.
local function post_p95(c)
	local n, seen = 0, 0
	for k = 0, POST_SLOWEST do
		n = n + (c['p' .. k] or 0)
	end
	c.posts = n
	for k = 0, POST_SLOWEST do
		local here = c['p' .. k] or 0
		if here > 0 and seen + here >= .95 * n then
			local high = POST_FIRST_MS * 1000 * 2 ^ k
			local low = k == 0 and 0 or high / 2
			return low + (high - low) * (.95 * n - seen) / here
		end
		seen = seen + here
	end
	return 0
end

-- Places --------------------------------------------------------------------------------------------

local function first_us(id)
	return digits(call('HGET', job_key(id), 'first_us') or '')
end

-- How many letters to this office may go until the horizon, were there workers without end: by its rate, and by its cap
-- while POSTs take as long as they do.
local function office_may(office, limit)
	local may, took = cells(office, limit.office_period, limit.office_slack), count[chamber_of(office)].post_p95_us
	return limit.cap > 0 and took > 0 and math.min(may, math.ceil(limit.cap * horizon / took)) or may
end

-- Each class is in the order of arrival, so the oldest is the first of one of them: high priority must not hide what has
-- waited behind it for long.
local function line_oldest(chamber, office, n, free)
	local from = 0
	for _ = 1, math.min(n, 3) do
		local head = call('ZRANGEBYSCORE', wait_key(office), num(from), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
		local first = head[1] and first_us(head[1] .. ':' .. office)
		if first then
			most(chamber, 'oldest_us', now - first)
			most(chamber, 'oldest_free_us', free and now - first or 0)
		end
		if not head[1] then
			return
		end
		from = (math.floor(head[2] / CLASS) + 1) * CLASS
	end
end

local function line(chamber, office, limit, may)
	local n = call('ZCARD', wait_key(office))
	local why, goes = cause[chamber] or cause[office], 0
	more(chamber, 'waiting', n)
	if why then
		more(chamber, 'held', n)
		more(chamber, 'held_' .. why, n)
	else
		goes = math.min(n, office_may(office, limit))
		more(chamber, 'offices_rate', goes < n and 1 or 0)
	end
	line_oldest(chamber, office, n, not why)
	return may + goes
end

local function lines(chamber)
	local total, limit, may = call('ZCARD', PREFIX .. 'turn:' .. chamber), limits_of(chamber), 0
	local c = count[chamber]
	for _, office in ipairs(call('ZRANGE', PREFIX .. 'turn:' .. chamber, 0, LINES - 1)) do
		may = line(chamber, office, limit, may)
	end
	if total > LINES then
		may = may * total / LINES
		for _, name in ipairs({'waiting', 'held', 'held_pause', 'held_maintenance', 'held_receiver', 'held_breaker'}) do
			c[name] = (c[name] or 0) * total / LINES
		end
	end
	c.offices = total
	local free = (c.waiting or 0) - (c.held or 0)
	local door = c.blocked and 0 or c.door or 0
	local most_cells = cells(chamber, limit.period, limit.slack)
	c.scalable = math.floor(math.min(may + door, most_cells))
	c.held_rate = math.max(0, math.floor(free) - math.floor(math.min(may, most_cells)))
	c.period_us = limit.period
end

local function in_flight()
	local workers, alive, idle, looked, held = call('ZRANGE', PREFIX .. 'workers', 0, WORKERS - 1, 'WITHSCORES'), 0, 0, 0, 0
	for i = 1, #workers, 2 do
		local key = PREFIX .. 'held:' .. workers[i]
		local n = call('SCARD', key)
		held = held + n
		if tonumber(workers[i + 1]) > now then
			alive, idle = alive + 1, idle + (n == 0 and 1 or 0)
		end
		for _, member in ipairs(n > 0 and looked < SAMPLE and call('SMEMBERS', key) or {}) do
			local id = member:match('^%S+')
			local state = call('HGET', job_key(id), 'state')
			looked = looked + 1
			if state == 'taken' or state == 'begun' then
				more(chamber_of(id:sub(-OFFICE)), state, 1)
			end
		end
	end
	for _, chamber in ipairs(looked < held and CHAMBERS or {}) do
		for _, state in ipairs({'taken', 'begun'}) do
			count[chamber][state] = (count[chamber][state] or 0) * held / looked
		end
	end
	add('workers', call('ZCARD', PREFIX .. 'workers'))
	add('alive', alive)
	add('idle', idle)
end

local function by_chamber(set)
	local n = call('ZCARD', PREFIX .. set)
	local ids = call('ZRANGE', PREFIX .. set, 0, SAMPLE - 1)
	local house = 0
	for _, id in ipairs(ids) do
		house = house + (chamber_of(id:sub(-OFFICE)) == 'house' and 1 or 0)
	end
	if #ids > 0 then
		more('house', set, house * n / #ids)
		more('senate', set, (#ids - house) * n / #ids)
	end
	add(set, n)
end

-- The longest delays are those of old letters, at the end; of those with a short one the oldest may be at the beginning.
local function later_oldest()
	local n = call('ZCARD', PREFIX .. 'later')
	local function look(from, to)
		for _, id in ipairs(call('ZRANGE', PREFIX .. 'later', from, to)) do
			local first = first_us(id)
			if first then
				most(chamber_of(id:sub(-OFFICE)), 'later_oldest_us', now - first)
			end
		end
	end
	look(0, ENDS - 1)
	if n > ENDS then
		look(math.max(ENDS, n - ENDS), n - 1)
	end
end

-- Entries of a stream by the chambers of their offices, in proportion to those looked at.
local function entries(stream, some, name)
	local n, looked = call('XLEN', PREFIX .. stream), call('XRANGE', PREFIX .. stream, '-', '+', 'COUNT', some)
	for _, entry in ipairs(looked) do
		for i = 1, math.min(#entry[2], 128), 2 do
			if entry[2][i] == 'offices' or entry[2][i] == 'office' then
				for letter in (',' .. entry[2][i + 1]:sub(1, 64)):gmatch(',([HS])') do
					more(chamber_of(letter), name, n / #looked)
				end
			end
		end
	end
	return looked
end

add('redis_us', now)
for _, stream in ipairs({'in', 'stuck', 'refused', 'dead', 'results'}) do
	add(stream, call('XLEN', PREFIX .. stream))
end
local head = entries('in', DOOR, 'door')[1]
entries('dead', ENDS, 'dead')
in_flight()
by_chamber('later')
by_chamber('close')
by_chamber('unknown')
later_oldest()
add('in_oldest_us', head and math.max(0, now - head[1]:match('^%d+') * 1000) or 0)
flow_read()
for _, chamber in ipairs(CHAMBERS) do
	local c = count[chamber]
	c.post_p95_us = post_p95(c)
	c.arrived, c.drained = c.i, c.o
	lines(chamber)
	for _, name in ipairs({'waiting', 'taken', 'begun', 'later', 'held', 'close', 'offices', 'oldest_us', 'oldest_free_us',
		'breakers', 'down', 'dead', 'unknown', 'door', 'blocked', 'later_oldest_us', 'scalable', 'arrived', 'drained', 'posts',
		'post_p95_us', 'period_us'}) do
		add(chamber .. '_' .. name, c[name] or 0)
	end
	for _, why in ipairs(CAUSES) do
		add(chamber .. '_held_' .. why, c['held_' .. why] or 0)
		add(chamber .. '_offices_' .. why, c['offices_' .. why] or 0)
	end
end
return reply
