-- SPDX-License-Identifier: Apache-2.0
-- ENQUEUE: takes entries out of `in`. Part of TAKE, and a script of its own:
-- ARGV max -> [OK, taken in, left in `in`] | [FULL, 0, left in `in`]
--
-- An entry leaves `in` by the XDEL that comes after all else. Hints (pri, exp, nbf) are unsigned: they only order work.

local JOB_MAX = 98304
local CANDIDATES_MAX = 3
local OFFICES_MAX = 64 -- of one sid, over all its entries
local FIELDS_MAX = 64
local REFUSED_MAX = 10000
local INTAKE_TRIES = 3

-- A no-op that Redis refuses as a first write when it is out of memory: so we know, and leave `in` alone.
local function out_of_memory()
	local reply = redis.pcall('SETRANGE', PREFIX .. 'probe', 0, '')
	local err = type(reply) == 'table' and reply.err
	if err and not err:find('OOM', 1, true) then
		error(err)
	end
	return err and true or false
end

local function refuse(why, x, office)
	call('XADD', PREFIX .. 'refused', 'MAXLEN', '~', REFUSED_MAX, '*', 'why', why, 'sid', x.sid:sub(1, 64),
		'office', office, 'digest', x.digest, 'bytes', #x.job)
end

local function listed(list, item)
	return (',' .. (list or '') .. ','):find(',' .. item .. ',', 1, true) ~= nil
end

-- The offices of an entry, or nil when they are not 1 to 3 distinct office codes.
local function entry_offices(text)
	local offices, seen = {}, {}
	for office in (text .. ','):gmatch('([^,]*),') do
		if #offices == 3 or seen[office] or not office_valid(office) then
			return nil
		end
		seen[office] = true
		offices[#offices + 1] = office
	end
	return offices
end

-- The entry as a table; `offices` is nil when it is malformed.
local function entry_read(flat, now)
	local f = {}
	for i = 1, math.min(#flat, FIELDS_MAX), 2 do
		f[flat[i]] = flat[i + 1]
	end
	local x = {sid = f.sid or '', job = f.job or ''}
	x.digest = redis.sha1hex(x.job)
	x.class = f.pri == '0' and 0 or 1
	x.expires = clamp(digits(f.exp) or now + LIFE, now, now + LIFE)
	x.not_before = math.min(digits(f.nbf) or 0, x.expires)
	local good = #flat <= FIELDS_MAX and #x.sid <= 64 and x.sid:find('^[%w_-]+$') and #x.job >= 1 and #x.job <= JOB_MAX
	x.offices = good and entry_offices(f.offices or '') or nil
	return x
end

-- What the entry means for the job that the record describes.
local function office_verdict(x, j)
	if not j then
		return 'fresh'
	elseif j.digest == x.digest or listed(j.candidates, x.digest)
		or j.previous ~= '' and j.previous_digest == x.digest then
		return 'known' -- the same bytes again: a true duplicate
	elseif j.state == 'accepted' or j.state == 'unknown' then
		return 'closed' -- neither is a definite non-acceptance, so no generation can reopen it
	elseif not OPEN[j.state] then
		return 'challenge'
	end
	local _, commas = j.candidates:gsub('[^,]+', '')
	return commas < CANDIDATES_MAX and 'candidate' or 'candidates'
end

-- Other bytes for an open job. They wait until the current ones are refused.
local function candidate_add(id, j, x, now)
	if j.generation == '' then
		call('ZADD', PREFIX .. 'exp', 'LT', num(x.expires), id)
	end
	call('HSET', job_key(id), 'candidates', j.candidates == '' and x.digest or j.candidates .. ',' .. x.digest)
	-- An unsigned not-before must not make others wait: the first that wants to go brings all to the line. Of a challenge
	-- no worker has begun anything, whatever the record says of the outcome that it challenges.
	local unseen = j.previous ~= '' or j.generation == '' and j.attempt == '0' and (j.last or '') == ''
	if j.state == 'later' and unseen and x.not_before <= now then
		place_add(id, 'wait', j.score, 0, now)
		call('HSET', job_key(id), 'state', 'wait')
		place_leave(id, 'later', j)
	end
end

-- A new job, or a challenge to a closed one, which keeps its outcome until BEGIN has seen the newer generation.
local function job_add(id, j, x, now)
	local score = num(x.class * CLASS + call('HINCRBY', META, 'num', 1))
	local where = x.not_before > now and 'later' or 'wait'
	place_add(id, where, score, x.not_before, now)
	call('ZADD', PREFIX .. 'exp', num(x.expires), id)
	if j then
		call('HSET', job_key(id), 'state', where, 'score', score, 'digest', x.digest, 'candidates', '', 'why', '',
			'attempt', 0, 'crashes', 0, 'cancelled', '', 'opened_us', num(now), 'previous', j.state, 'previous_digest', j.digest, 'previous_attempt', j.attempt,
			'previous_crashes', j.crashes)
	else
		call('HSET', job_key(id), 'state', where, 'score', score, 'digest', x.digest, 'candidates', '', 'why', '',
			'attempt', 0, 'crashes', 0, 'deliveries', 0, 'rev', 1, 'generation', '', 'token', '', 'last_token', '', 'worker', '',
			'previous', '', 'first_us', num(now), 'expires_us', num(x.expires))
	end
end

-- The bytes go in before any record names them.
local function sub_add(x, now)
	local key, all, n = sub_key(x.sid), call('HGET', sub_key(x.sid), 'offices') or '', 0
	for office in all:gmatch('[^,]+') do
		n = n + 1
	end
	for _, office in ipairs(x.offices) do
		if not listed(all, office) then
			all = all == '' and office or all .. ',' .. office
			n = n + 1
		end
	end
	if n > OFFICES_MAX then
		return false
	end
	sub_keep(x.sid, all)
	call('HSET', key, 'j:' .. x.digest, x.job, 'offices', all)
	call('HSETNX', key, 'first_us', num(now))
	return true
end

-- came: how many jobs begin, by the first letter of their office.
local function entry_apply(x, came, now)
	local jobs, verdicts, wanted = {}, {}, false
	for _, office in ipairs(x.offices) do
		local j = job_read(x.sid .. ':' .. office)
		local verdict = office_verdict(x, j)
		jobs[office], verdicts[office] = j, verdict
		wanted = wanted or verdict == 'fresh' or verdict == 'challenge' or verdict == 'candidate'
			or verdict == 'known' and OPEN[j.state]
	end
	local room = not wanted or sub_add(x, now)
	for _, office in ipairs(x.offices) do
		local id, verdict = x.sid .. ':' .. office, room and verdicts[office] or 'offices'
		if verdict == 'fresh' or verdict == 'challenge' then
			job_add(id, jobs[office], x, now)
			came[office:sub(1, 1)] = (came[office:sub(1, 1)] or 0) + 1
		elseif verdict == 'candidate' then
			candidate_add(id, jobs[office], x, now)
		elseif verdict ~= 'known' then
			refuse(verdict, x, office)
		end
	end
	rollup(x.sid, now)
end

local function entry_take(entry, came, now)
	local x = entry_read(entry[2], now)
	if x.offices then
		entry_apply(x, came, now)
	else
		refuse('malformed', x, '')
	end
	call('XDEL', PREFIX .. 'in', entry[1])
end

local function error_text(err)
	return tostring(type(err) == 'table' and err.err or err):sub(1, 200)
end

-- An entry that breaks the script must not stop the line: after three tries it stands aside, whole.
local function entry_failed(entry, err, now)
	if call('HINCRBY', PREFIX .. 'inerr', entry[1], 1) < INTAKE_TRIES then
		return
	end
	call('XADD', PREFIX .. 'stuck', '*', 'error', error_text(err), 'entry', entry[1],
		unpack(entry[2], 1, math.min(#entry[2], FIELDS_MAX)))
	call('XDEL', PREFIX .. 'in', entry[1])
	call('HDEL', PREFIX .. 'inerr', entry[1])
	pcall(function()
		rollup(entry_read(entry[2], now).sid, now)
	end)
end

local function intake(max, now)
	local n, tried, came = 0, call('EXISTS', PREFIX .. 'inerr') == 1, {}
	for _, entry in ipairs(call('XRANGE', PREFIX .. 'in', '-', '+', 'COUNT', max)) do
		local ok, err = pcall(entry_take, entry, came, now)
		if not ok then
			entry_failed(entry, err, now)
		else
			n = n + 1
			if tried then
				call('HDEL', PREFIX .. 'inerr', entry[1])
			end
		end
	end
	for chamber, jobs in pairs(came) do
		flow_add(now, chamber, 'i', jobs)
	end
	return n
end

-- TAKE has more arguments and goes on from here.
if #ARGV == 1 then
	if out_of_memory() then
		return {'FULL', 0, call('XLEN', PREFIX .. 'in')}
	end
	first_write()
	local n = intake(clamp(tonumber(ARGV[1]), 1, 1000), clock())
	return {'OK', n, call('XLEN', PREFIX .. 'in')}
end
