-- SPDX-License-Identifier: Apache-2.0
-- BEGIN: the intent to POST, recorded last before it. The same token may ask again.
-- ARGV worker sid office token delivery_id date generation expires_us now_us [sent]
-- sent 1: the POST has left under this token, and Redis lost its BEGIN: nothing may keep it from the record
-- -> [GO, delivery_id, date, attempt, unknowns, begun_us] | [STALE, state] | [CANCELLED] | [CLOSE, why] | [HELD, us]
--    | [OLDGEN] | [SKEW]

local worker, sid, office, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local delivery_id, date, generation = ARGV[5], ARGV[6], tonumber(ARGV[7])
local expires, mine, sent = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local id = sid .. ':' .. office

local now = clock()
if math.abs(now - mine) > SKEW and not sent then
	return {'SKEW'}
end
local j = job_read(id)
if not j or j.token ~= token or j.worker ~= worker then
	return {'STALE', j and j.state or ''}
end
if j.state == 'begun' then
	return {'GO', j.delivery_id, j.date, j.attempt, num(marks(j)), j.begun_us}
end
if not sent and (j.why == 'cancelled' or j.why == '' and j.cancelled == '1') then
	return {'CANCELLED'}
elseif not sent and j.why ~= '' then
	return {'CLOSE', j.why}
end

-- How long the job must wait: for holds, and for breakers whose probe it is not.
local function held()
	local till = 0
	for _, hold in ipairs(call('HMGET', PREFIX .. 'holds', office, chamber_of(office))) do
		till = math.max(till, hold and digits(hold:match('^%d+')) or 0)
	end
	for _, text in ipairs(call('HMGET', PREFIX .. 'breaker', office, chamber_of(office))) do
		local b = breaker_read(text or '')
		if breaker_stops(b) and b.token ~= token then
			till = math.max(till, b.till, now + SECOND)
		end
	end
	return till - now
end

local wait = sent and 0 or held()
if wait > 0 then
	return {'HELD', num(wait)}
end

-- A closed job opens again only by a newer generation, and only when it was surely not accepted. The Senate knows a
-- DeliveryId again; the House does not, so an earlier POST of unknown fate stands in the way there.
local function generation_fits()
	local known = tonumber(j.generation ~= '' and j.generation or -1)
	if j.previous == '' then
		return generation >= known
	end
	return generation > known and (marks(j) == 0 or chamber_of(office) == 'senate')
end

if not generation_fits() then
	return {'OLDGEN'}
end

-- The signed expiry replaces the hint, and never shortens what an earlier generation was given.
expires = math.min(expires, now + LIFE + DAY)
local keep = j.generation ~= '' and math.max(expires, tonumber(j.expires_us)) or expires
local attempt, rev = j.attempt + 1, j.rev + 1
delivery_id, date = j.delivery_id or delivery_id, j.date or date
first_write()
call('ZADD', PREFIX .. 'exp', num(expires), id)
call('HSET', job_key(id), 'state', 'begun', 'attempt', attempt, 'rev', rev, 'generation', num(generation),
	'previous', '', 'previous_digest', '', 'delivery_id', delivery_id, 'date', date, 'begun_us', num(mine),
	'expires_us', num(keep))
status_show(sid, office, 'begun', j.last, rev)
return {'GO', delivery_id, date, num(attempt), num(marks(j)), num(mine)}
