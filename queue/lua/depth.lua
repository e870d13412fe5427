-- SPDX-License-Identifier: Apache-2.0
-- DEPTH: ARGV now_us -> name, value, name, value, ...   Summed from the places; there is no counter that could drift.

local now = tonumber(ARGV[1])
local SAMPLE = 4096 -- up to this many members of `later` and `close` are counted by chamber; in proportion above
local CHAMBERS = {'house', 'senate'}
local reply, count = {}, {house = {}, senate = {}}

local function add(name, value)
	reply[#reply + 1] = name
	reply[#reply + 1] = num(value)
end

local function more(office, what, n)
	local c = count[chamber_of(office)]
	c[what] = (c[what] or 0) + n
end

local function holds_read()
	local flat, active = call('HGETALL', PREFIX .. 'holds'), {}
	for i = 1, #flat, 2 do
		active[flat[i]] = (digits(flat[i + 1]:match('^%d+')) or 0) > now
	end
	return active
end

-- Breakers that are not closed hold like a hold.
local function breakers_read(active)
	local flat = call('HGETALL', PREFIX .. 'breaker')
	for i = 1, #flat, 2 do
		local what = flat[i]
		if breaker_stops(breaker_read(flat[i + 1])) then
			active[what] = true
			if count[what] then
				count[what].down = 1
			else
				more(what, 'breakers', 1)
			end
		end
	end
end

local function lines(chamber, active)
	local offices = call('ZRANGE', PREFIX .. 'turn:' .. chamber, 0, -1)
	for _, office in ipairs(offices) do
		local n, sid = call('ZCARD', wait_key(office)), call('ZRANGE', wait_key(office), 0, 0)[1]
		more(office, 'waiting', n)
		if active[chamber] or active[office] then
			more(office, 'held', n)
		end
		local first = sid and digits(call('HGET', job_key(sid .. ':' .. office), 'first_us') or '')
		if first then
			count[chamber].oldest_us = math.max(count[chamber].oldest_us or 0, now - first)
		end
	end
	count[chamber].offices = #offices
end

local function in_flight()
	local workers = call('ZRANGE', PREFIX .. 'workers', 0, -1)
	for _, worker in ipairs(workers) do
		for _, member in ipairs(call('SMEMBERS', PREFIX .. 'held:' .. worker)) do
			local id = member:match('^%S+')
			local state = call('HGET', job_key(id), 'state')
			if state == 'taken' or state == 'begun' then
				more(select(2, split(id)), state, 1)
			end
		end
	end
	return #workers
end

local function by_chamber(set)
	local n = call('ZCARD', PREFIX .. set)
	local ids = call('ZRANGE', PREFIX .. set, 0, SAMPLE - 1)
	for _, id in ipairs(ids) do
		more(select(2, split(id)), set, n / #ids)
	end
	add(set, n)
end

local active = holds_read()
breakers_read(active)
for _, stream in ipairs({'in', 'stuck', 'refused', 'dead', 'results'}) do
	add(stream, call('XLEN', PREFIX .. stream))
end
add('unknown', call('ZCARD', PREFIX .. 'unknown'))
add('workers', in_flight())
by_chamber('later')
by_chamber('close')
local head = call('XRANGE', PREFIX .. 'in', '-', '+', 'COUNT', 1)[1]
add('in_oldest_us', head and math.max(0, now - head[1]:match('^%d+') * 1000) or 0)
for _, chamber in ipairs(CHAMBERS) do
	lines(chamber, active)
	for _, name in ipairs({'waiting', 'taken', 'begun', 'later', 'held', 'close', 'offices', 'oldest_us',
		'breakers', 'down'}) do
		add(chamber .. '_' .. name, count[chamber][name] or 0)
	end
end
return reply
