-- SPDX-License-Identifier: Apache-2.0
-- ADOPT: after a lost reply or a script error the worker names the tokens that it knows; its other jobs go back.
-- ARGV worker now_us token... -> [OK, n] | [FENCED]

local worker, mine = ARGV[1], tonumber(ARGV[2])
if not call('ZSCORE', PREFIX .. 'workers', worker) then
	return {'FENCED'}
end
first_write()
local now, known = clock(), {}
for i = 3, #ARGV do
	known[ARGV[i]] = true
end

-- A taken job that its worker does not know was not sent. A begun one was known to it once, and its SETTLE is
-- forgotten: of unknown fate, as at REAP.
local function decide(j, _, token)
	if j.state ~= 'begun' then
		return 'wait', now, reason(j, j.why), {}
	end
	return 'close', now, reason(j, j.why == '' and 'unknown' or j.why, 1), {'rev', j.rev + 1, 'u:' .. token, j.begun_us,
		'last', 'no_answer', 'status', 0, 'history', history(j, mine, 0, 'no_answer')}
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
