-- SPDX-License-Identifier: Apache-2.0
-- REAP: takes back what dead workers held.
-- ARGV worker now_us resend_after_us crashes_max house_resend senate_resend chunk -> [OK, n] | [FENCED] | [SKEW]

local worker, mine, resend_after, crashes_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local RESEND = {house = ARGV[5] == '1', senate = ARGV[6] == '1'}
local chunk = clamp(tonumber(ARGV[7]), 1, 1000)

local now = clock()
if math.abs(now - mine) > SKEW then
	return {'SKEW'}
end
if not call('ZSCORE', PREFIX .. 'workers', worker) then
	return {'FENCED'}
end
first_write()

-- A begun job is of unknown fate: its POST may have left. A taken one was surely not sent.
local function decide(j, office, token)
	local crashes = j.crashes + 1
	local fields, why, where, due = {'crashes', crashes}, j.why, 'wait', now
	if crashes > crashes_max and why == '' then
		why = 'crashes'
	end
	if j.state ~= 'begun' then
		return where, due, reason(j, why), fields
	end
	fields = {'crashes', crashes, 'rev', j.rev + 1, 'u:' .. token, j.begun_us, 'last', 'no_answer', 'status', 0,
		'history', history(j, mine, 0, 'no_answer')}
	if RESEND[chamber_of(office)] then
		where, due = 'later', math.max(now, j.begun_us + resend_after)
	elseif why == '' then
		why = 'unknown'
	end
	return where, due, reason(j, why, 1), fields
end

local n = 0
for _, dead in ipairs(call('ZRANGEBYSCORE', PREFIX .. 'workers', '-inf', num(mine))) do
	if dead ~= worker and n < chunk then
		for _, member in ipairs(call('SRANDMEMBER', PREFIX .. 'held:' .. dead, chunk - n)) do
			-- A record that breaks the script stays held; the others go on.
			if pcall(recall, dead, member, now, decide) then
				n = n + 1
			end
		end
		if call('EXISTS', PREFIX .. 'held:' .. dead) == 0 then
			call('HDEL', PREFIX .. 'machines', dead)
			call('ZREM', PREFIX .. 'workers', dead) -- last: until then the next REAP comes back here
		end
	end
end
return {'OK', n}
