-- SPDX-License-Identifier: Apache-2.0
-- ADOPT: after a lost reply or a script error the worker names the tokens that it knows; its other jobs go back.
-- ARGV worker now_us resend_after_us house_resend senate_resend token... -> [OK, n] | [FENCED]

local worker, mine, policy = ARGV[1], tonumber(ARGV[2]), fate_policy(ARGV[3], ARGV[4], ARGV[5])
if not call('ZSCORE', PREFIX .. 'workers', worker) then
	return {'FENCED'}
end
first_write()
local now, known = clock(), {}
for i = 6, #ARGV do
	known[ARGV[i]] = true
end

-- A begun job was known to its worker once: its SETTLE is forgotten. No crash: the worker lives.
local function decide(j, office, token)
	return forsaken(j, office, token, j.why, policy, mine, now)
end

local n, failed = 0, nil
for _, member in ipairs(call('SMEMBERS', PREFIX .. 'held:' .. worker)) do
	if not known[member:match(' (%S+)$') or ''] then
		local ok, err = pcall(recall, worker, member, now, decide)
		if ok then
			n = n + 1
		else
			failed = tostring(type(err) == 'table' and err.err or err):sub(1, 200)
		end
	end
end
if failed then
	return redis.error_reply('ADOPT ' .. failed) -- the worker must come back
end
return {'OK', n}
