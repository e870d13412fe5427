-- SPDX-License-Identifier: Apache-2.0
-- ADMIN: what people and the app server do. Each act is written to `audit` first.
-- ARGV verb who a b c
--   cancel sid[:office] [rev]     hold WHAT until_us reason     resume WHAT     WHAT: house, senate or an office
--   replay sid office [entry]     drop sid office [entry]       resolve sid office resend|drop|accepted [rev]
--   drain NAME[/NONCE] reason     undrain NAME            note act counts selection
--   entry: of `dead`, rev: of the record; the act is for this death or doubt only, so that one repeated after a lost
--   reply never meets the next
-- -> [OK, ...] | [NONE] | [STATE, state] | [TOOLATE, state] | [REV, rev] | [INFLIGHT, state] | [BADVERB] | [BADARG]

local verb, who, a, b, c = ARGV[1], ARGV[2] or '', ARGV[3] or '', ARGV[4] or '', ARGV[5] or ''
local want_rev = ARGV[6] or ''
local AUDIT_MAX = 1000000 -- a bulk act of 100,000 letters must not push out what was done before
local now = clock()

-- Cancel -------------------------------------------------------------------------------------------

-- The flag that the holder of the job meets at BEGIN or SETTLE.
local function cancel_flag(id, j)
	local rev = j.rev + 1
	call('HSET', job_key(id), 'why', reason(j, 'cancelled'), 'cancelled', 1, 'rev', rev)
	local sid, office = split(id)
	status_show(sid, office, j.state, j.last, rev, j.previous, j.outcome)
end

local function cancel_one(id, rev_meant)
	local j = job_read(id)
	if not j then
		return {'NONE'}
	elseif rev_meant ~= '' and rev_meant ~= j.rev then
		return {'REV', j.rev}
	elseif FINAL[j.state] then
		return {'TOOLATE', j.state}
	elseif j.state == 'begun' then
		if j.why == '' then
			cancel_flag(id, j)
		end
		return {'INFLIGHT', j.state} -- counts only if this POST is not accepted
	elseif j.why ~= '' then
		call('HSET', job_key(id), 'cancelled', 1)
		return {'OK', j.state}
	elseif j.state == 'taken' then
		cancel_flag(id, j)
		return {'OK', 'taken'}
	end
	local rev = j.rev + 1
	call('ZADD', PREFIX .. 'close', num(now), id)
	call('HSET', job_key(id), 'state', 'close', 'why', reason(j, 'cancelled'), 'cancelled', 1, 'rev', rev)
	place_leave(id, j.state, j)
	local sid, office = split(id)
	status_show(sid, office, 'close', j.last, rev, j.previous, j.outcome)
	return {'OK', 'close'}
end

-- A whole submission: [OK, office, word, office, word, ...].
local function cancel_all(sid)
	local offices, reply = call('HGET', sub_key(sid), 'offices'), {'OK'}
	if not offices then
		return {'NONE'}
	end
	for office in offices:gmatch('[^,]+') do
		local one = cancel_one(sid .. ':' .. office, '')
		reply[#reply + 1] = office
		reply[#reply + 1] = one[1] == 'OK' and one[2] or one[1]
	end
	return reply
end

local function cancel()
	if a:find(':', 1, true) then
		return cancel_one(a, b)
	end
	return b == '' and cancel_all(a) or {'BADARG'}
end

-- Holds --------------------------------------------------------------------------------------------

local function what_valid()
	return a == 'house' or a == 'senate' or office_valid(a)
end

local function hold()
	if not what_valid() or not digits(b) then
		return {'BADARG'}
	end
	-- A worker's hold (its name has a nonce) does not last: its clock may be wrong. Nor does it ever shorten one that
	-- stands, in particular not a person's.
	if who:find('/', 1, true) then
		b = num(math.min(digits(b), now + 3600 * SECOND))
		if hold_until(a) >= digits(b) then
			return {'OK', 0}
		end
	end
	local text = b .. ' ' .. who:gsub('%s', '_'):sub(1, 64) .. ' ' .. c:sub(1, 200)
	local n = call('HSET', PREFIX .. 'holds', a, text)
	if office_valid(a) then -- its turn may be at the end of a longer one. A chamber's hold moves no turns
		turn_wake(a, now)
	end
	return {'OK', n}
end

-- Ends the hold and closes the breaker. Wakes the office also when there was neither: a resume that failed half way can
-- be repeated.
local function resume()
	if not what_valid() then
		return {'BADARG'}
	end
	local n = math.max(call('HDEL', PREFIX .. 'holds', a), call('HDEL', PREFIX .. 'breaker', a))
	if office_valid(a) then
		turn_wake(a, now)
	end
	return {'OK', n}
end

-- Workers ------------------------------------------------------------------------------------------

local function name_valid()
	return #a <= 64 and a:find('^[^/%s]+$') ~= nil or #a <= 100 and a:find('^[^/%s]+/[^/%s]+$') ~= nil
end

-- Orders that nobody will meet any more: a day old, and of no worker on record.
local function orders_forget(members)
	local flat = call('HGETALL', PREFIX .. 'drain')
	for i = 1, #flat, 2 do
		local at = digits(flat[i + 1]:match('^%d+'))
		if not members[flat[i]] and not (at and now - at < DAY) then
			call('HDEL', PREFIX .. 'drain', flat[i])
		end
	end
end

-- The worker learns of it with its next beat. One that is gone already is no error while its order is on record, so
-- that a script may ask again.
local function drain()
	if not name_valid() then
		return {'BADARG'}
	end
	local name, members, reply, newest = a:match('^[^/]+'), {}, {'OK'}, nil
	for _, worker in ipairs(call('ZRANGE', PREFIX .. 'workers', 0, -1)) do -- by the ends of their leases
		local of = worker:match('^[^/]+')
		members[of or ''] = true
		newest = of == name and worker or newest
		if worker == a or a == name and of == name then
			reply[#reply + 1] = worker
		end
	end
	if a ~= name and newest ~= a then
		return {'NONE'} -- another process has the name: the order would meet that one
	end
	if #reply == 1 then
		return a == name and call('HGET', PREFIX .. 'drain', name) and reply or {'NONE'}
	end
	orders_forget(members)
	local text = num(now) .. ' ' .. who:gsub('%s', '_'):sub(1, 64) .. ' ' .. b:sub(1, 200)
	call('HSET', PREFIX .. 'drain', name, text)
	return reply
end

local function undrain()
	return name_valid() and {'OK', call('HDEL', PREFIX .. 'drain', a:match('^[^/]+'))} or {'BADARG'}
end

-- Dead and unknown jobs ----------------------------------------------------------------------------

-- Back into the line, behind all fresh letters, with a new budget.
local function reopen(id, j)
	local sid, office = split(id)
	local score, rev = num(2 * CLASS + call('HINCRBY', META, 'num', 1)), j.rev + 1
	sub_keep(sid)
	line_join(office, sid, score, now)
	call('ZADD', PREFIX .. 'exp', num(clamp(tonumber(j.expires_us), now, now + LIFE + DAY)), id)
	call('HSET', job_key(id), 'state', 'wait', 'score', score, 'attempt', 0, 'crashes', 0, 'why', '', 'rev', rev,
		'dead_id', '', 'cancelled', '', 'opened_us', num(now))
	place_leave(id, j.state, j)
	rollup(sid, now)
	flow_add(now, office, 'i', 1)
	return {'OK', 'wait', num(rev)}
end

-- Into the close lane: a worker ends it with a receipt.
local function close(id, j, why, ...)
	local sid, rev = split(id), j.rev + 1
	sub_keep(sid)
	call('ZADD', PREFIX .. 'close', num(now), id)
	call('HSET', job_key(id), 'state', 'close', 'why', why, 'rev', rev, 'dead_id', '', ...)
	place_leave(id, j.state, j)
	rollup(sid, now)
	return {'OK', 'close', num(rev)}
end

local function with_job(state, act)
	local id = a .. ':' .. b
	local j = job_read(id)
	if not j then
		return {'NONE'}
	elseif j.state ~= state then
		return {'STATE', j.state}
	end
	return act(id, j)
end

local function with_dead(act)
	return with_job('dead', function(id, j)
		return (c == '' or c == j.dead_id) and act(id, j) or {'STATE', j.state}
	end)
end

local RESOLVE = {
	resend = reopen,
	drop = function(id, j)
		return close(id, j, 'dropped')
	end,
	accepted = function(id, j)
		return close(id, j, 'late', 'late', 'by:' .. who:sub(1, 64))
	end
}

local VERBS = {
	cancel = cancel,
	hold = hold,
	resume = resume,
	drain = drain,
	undrain = undrain,
	note = function() -- what a bulk act came to; `audit` is all
		return {'OK'}
	end,
	replay = function()
		return with_dead(reopen)
	end,
	drop = function()
		return with_dead(RESOLVE.drop)
	end,
	resolve = function()
		return RESOLVE[c] and with_job('unknown', function(id, j)
			return (want_rev == '' or want_rev == j.rev) and RESOLVE[c](id, j) or {'STATE', j.state}
		end) or {'BADARG'}
	end
}

if not VERBS[verb] then
	return {'BADVERB'}
end
first_write((verb == 'drain' or verb == 'undrain') and PREFIX .. 'drain' or nil) -- the host's user may write that
call('XADD', PREFIX .. 'audit', 'MAXLEN', '~', AUDIT_MAX, '*', 'verb', verb, 'who', who, 'a', a, 'b', b, 'c', c)
return VERBS[verb]()
