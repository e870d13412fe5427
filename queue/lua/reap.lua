-- SPDX-License-Identifier: Apache-2.0
-- REAP: takes back what dead workers held.
-- ARGV worker now_us resend_after_us crashes_max house_resend senate_resend chunk -> [OK, n] | [FENCED] | [SKEW]

local worker, mine, crashes_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local policy = fate_policy(ARGV[3], ARGV[5], ARGV[6])
local chunk = clamp(tonumber(ARGV[7]), 1, 1000)

local now = clock()
if math.abs(now - mine) > SKEW then
	return {'SKEW'}
end
if not call('ZSCORE', PREFIX .. 'workers', worker) then
	return {'FENCED'}
end
first_write()

local function decide(j, office, token)
	local crashes, why = j.crashes + 1, j.why
	if crashes > crashes_max and why == '' then
		why = 'crashes'
	end
	local where, due, because, fields = forsaken(j, office, token, why, policy, mine, now)
	table.insert(fields, 'crashes')
	table.insert(fields, crashes)
	return where, due, because, fields
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
			call('HDEL', PREFIX .. 'about', dead)
			call('ZREM', PREFIX .. 'workers', dead) -- last: until then the next REAP comes back here
		end
	end
end
return {'OK', n}
