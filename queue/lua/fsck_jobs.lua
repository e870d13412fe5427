-- SPDX-License-Identifier: Apache-2.0
-- FSCK of jobs: the first half of FSCK (fsck.lua, where all is explained), and a script of its own for kind `job`.

local verb, kind, name, version = ARGV[1], ARGV[2] or '', ARGV[3] or '', tonumber(ARGV[4] or 0)
local mend = verb == 'mend'
local now = clock()
local RESEND = 600 * SECOND -- longer than any POST may take
local NO_BYTES = redis.sha1hex('') -- digest of a job whose bytes are known to be gone
local NOBODY = 'fsck/0' -- a worker that is dead from the start: REAP takes back what it holds
local WHYS = {cancelled = true, expired = true, unknown = true, crashes = true, dropped = true, late = true}
local CHALLENGED = {rejected = true, dead = true, expired = true, cancelled = true, dropped = true}
local reply, item = {'OK'}, ''

-- A finding. `work` mends it and may return a better text; without one it is for people.
local function off(code, text, work)
	local done = ''
	if mend then
		done = work and (work() or text) or 'left: ' .. text
	end
	for _, x in ipairs({item, code, done}) do
		reply[#reply + 1] = x
	end
	return true
end

-- Moves ----------------------------------------------------------------------------------------------

local function read(id)
	local flat, j = call('HGETALL', job_key(id)), {}
	for i = 1, #flat, 2 do
		j[flat[i]] = flat[i + 1]
	end
	return #flat > 0 and j or nil
end

local function exp_add(id, expires)
	call('ZADD', PREFIX .. 'exp', 'NX', num(clamp(digits(expires or '') or now + LIFE, 0, now + LIFE + DAY)), id)
end

-- An earlier POST may be on the wire for as long as the longest time-out.
local function due_of(j)
	return clamp((digits(j.begun_us or '') or 0) + RESEND, now, now + LIFE)
end

-- Into wait or close: keep, add, flip, leave, tell. `...`: further fields.
local function move(id, j, where, why, ...)
	local sid = split(id)
	sub_keep(sid)
	place_add(id, where, j.score, now, now)
	if where == 'wait' then
		exp_add(id, j.expires_us)
	end
	call('HSET', job_key(id), 'state', where, 'token', '', 'worker', '', 'why', why, 'rev', j.rev + 1,
		'cell_chamber', '', 'cell_office', '', ...)
	if j.state ~= where then
		place_leave(id, j.state, j)
	end
	rollup(sid, now)
	return 'to ' .. where .. (why ~= '' and ' (' .. why .. ')' or '')
end

-- To be ended. Only what may have left without an answer is of unknown fate.
local function to_close(id, j, why, ...)
	return move(id, j, 'close', j.late and 'late' or marks(j) > 0 and 'unknown' or why, ...)
end

-- The only job bytes of a submission, or none.
local function only_bytes(sid)
	local found
	for _, field in ipairs(call('HKEYS', sub_key(sid))) do
		if field:sub(1, 2) == 'j:' then
			if found then
				return NO_BYTES
			end
			found = field:sub(3)
		end
	end
	return found or NO_BYTES
end

local function has_bytes(sid, digest)
	return call('HEXISTS', sub_key(sid), 'j:' .. digest) == 1
end

local function arrival()
	return num(CLASS + call('HINCRBY', META, 'num', 1))
end

-- An entry in `dead` from the record.
local function dead_write(id, j)
	local sid, office = split(id)
	return call('XADD', PREFIX .. 'dead', '*', 'sid', sid, 'office', office, 'rev', j.rev, 'outcome', j.outcome or '',
		'class', j.class or '', 'detail', j.detail or '', 'http_status', j.status or '0', 'delivery_id',
		j.delivery_id or '', 'attempt', j.previous ~= '' and j.previous_attempt or j.attempt, 'crashes', j.crashes,
		'deliveries', j.deliveries, 'generation', j.generation ~= '' and j.generation or '-1', 'first_us', j.first_us,
		'ended_us', j.ended_us or '0', 'history', j.history or '')
end

-- A record that is gone, from what is still known of it: index first, record last.
local function rebuild(id, state, why, known)
	local sid, office = split(id)
	local j = {
		state = state, why = why, score = arrival(), rev = '1', attempt = '0', crashes = '0', deliveries = '0',
		first_us = num(now), expires_us = num(now + LIFE), generation = '', token = '', last_token = '', worker = '',
		previous = '', candidates = '', digest = NO_BYTES
	}
	for field, value in pairs(known) do
		j[field] = value
	end
	if state == 'wait' or state == 'close' then
		place_add(id, state, j.score, now, now)
	elseif state == 'unknown' then
		call('ZADD', PREFIX .. 'unknown', num(now), id)
	elseif state == 'dead' and not j.dead_id then
		j.dead_id = dead_write(id, j)
	end
	if state == 'wait' then
		exp_add(id, j.expires_us)
	end
	local flat = {}
	for field, value in pairs(j) do
		flat[#flat + 1] = field
		flat[#flat + 1] = value
	end
	call('HSET', job_key(id), unpack(flat))
	return 'written anew as ' .. state .. (why ~= '' and ' (' .. why .. ')' or '')
end

-- Submissions: who belongs to them -------------------------------------------------------------------

-- Offices by the list and by the status, in this order, each once; the fields as a table.
local function sub_offices(sid)
	local all, seen, fields = {}, {}, {}
	local function add(office)
		if office_valid(office) and not seen[office] then
			seen[office] = true
			all[#all + 1] = office
		end
	end
	for office in (call('HGET', sub_key(sid), 'offices') or ''):gmatch('[^,]+') do
		add(office)
	end
	for _, field in ipairs(call('HKEYS', sub_key(sid))) do
		fields[field] = true
		if field:sub(1, 2) == 's:' then
			add(field:sub(3))
		end
	end
	return all, fields
end

local function sub_list(id)
	local sid, office = split(id)
	local all, here = sub_offices(sid), false
	for _, other in ipairs(all) do
		here = here or other == office
	end
	all[#all + 1] = not here and office or nil
	call('HSET', sub_key(sid), 'offices', table.concat(all, ','))
	call('HSETNX', sub_key(sid), 'first_us', num(now))
	rollup(sid, now)
end

-- Jobs -----------------------------------------------------------------------------------------------

local job = {} -- checks in this order: (id, j, sid, office); true: look again

function job.field(id, j, sid, office)
	local set, names = {}, {}
	local function need(field, good, value)
		if not good then
			set[#set + 1], set[#set + 2] = field, type(value) == 'function' and value() or value
			names[#names + 1] = field
		end
	end
	for _, field in ipairs({'why', 'candidates', 'previous', 'generation', 'token', 'last_token', 'worker'}) do
		need(field, j[field], '')
	end
	for _, field in ipairs({'attempt', 'crashes', 'deliveries'}) do
		need(field, digits(j[field]), '0')
	end
	need('generation', (j.generation or ''):find('^%d*$'), '')
	need('first_us', digits(j.first_us), num(now))
	need('begun_us', j.state ~= 'begun' or digits(j.begun_us), num(now))
	need('expires_us', digits(j.expires_us), function()
		local hint = call('HGET', sub_key(sid), 'expires_us') or ''
		return digits(hint) and hint or num(now + LIFE)
	end)
	need('digest', (j.digest or ''):find('^%x+$') and #j.digest == 40, function()
		return only_bytes(sid)
	end)
	need('rev', (digits(j.rev) or 0) > 0, function() -- above all that a consumer can have seen
		local shown = (call('HGET', sub_key(sid), 's:' .. office) or ''):match(' (%d+)$')
		return num((digits(shown) or math.floor(now / SECOND)) + 1)
	end)
	need('score', digits(j.score), function()
		return mend and arrival() or '0'
	end)
	if (j.previous or '') ~= '' then
		need('previous_attempt', digits(j.previous_attempt), '0')
		need('previous_digest', j.previous_digest, NO_BYTES)
	end
	return #set > 0 and off('job-field', 'set anew: ' .. table.concat(names, ', '), function()
		call('HSET', job_key(id), unpack(set))
		rollup(sid, now)
	end)
end

function job.num(_, j)
	local n = digits(j.score) % CLASS
	return n > (digits(call('HGET', META, 'num') or '') or 0) and off('meta-num', 'raised to ' .. num(n), function()
		call('HSET', META, 'num', num(n))
	end)
end

function job.listed(id, _, sid, office)
	local list = ',' .. (call('HGET', sub_key(sid), 'offices') or '') .. ','
	return not list:find(',' .. office .. ',', 1, true) and off('sub-unlisted', 'listed', function()
		sub_list(id)
	end)
end

-- What was begun at any time goes to people; what surely never was goes back to its line.
function job.state(id, j)
	return not OPEN[j.state] and not FINAL[j.state] and off('job-state', '', function()
		if j.delivery_id or j.begun_us or marks(j) > 0 then
			return to_close(id, j, 'unknown')
		end
		return move(id, j, 'wait', '')
	end)
end

-- `accepted` never opens again: an open job that was accepted has lost its state.
function job.accepted(id, j, sid)
	local flight = j.state == 'taken' or j.state == 'begun'
	if not OPEN[j.state] or j.class ~= 'accepted' or j.late then
		return
	end
	return off('accepted-open', 'accepted again', function()
		if flight then -- its worker meets this at BEGIN or SETTLE
			call('HSET', job_key(id), 'late', 'by:fsck', 'why', j.state == 'taken' and 'late' or j.why)
			return 'ends as accepted'
		end
		call('HSET', job_key(id), 'state', 'accepted', 'token', '', 'worker', '', 'why', '', 'previous', '',
			'candidates', '', 'rev', j.rev + 1)
		place_leave(id, j.state, j)
		call('ZREM', PREFIX .. 'exp', id)
		rollup(sid, now)
	end)
end

function job.late(id, j)
	return FINAL[j.state] and j.state ~= 'accepted' and (j.late or '') ~= '' and off('late-hidden', '', function()
		return move(id, j, 'close', 'late', 'dead_id', '', 'previous', '')
	end)
end

-- A token outside of flight would let its holder settle the job. When `held` says that somebody does hold it, the state
-- is what is wrong: back to flight, as begun when any POST ever began.
function job.token(id, j, sid, office)
	if j.state == 'taken' or j.state == 'begun' or j.token == '' and j.worker == '' then
		return
	end
	local held = j.token ~= '' and call('SISMEMBER', PREFIX .. 'held:' .. j.worker, id .. ' ' .. j.token) == 1
	if FINAL[j.state] or not held then
		return off('token-left', 'cleared', function()
			call('HSET', job_key(id), 'token', '', 'worker', '')
		end)
	end
	return off('job-flight', '', function()
		local state = j.delivery_id and j.begun_us and 'begun' or 'taken'
		call('SADD', PREFIX .. 'fly:' .. office, j.token)
		call('HSET', job_key(id), 'state', state)
		place_leave(id, j.state, j)
		rollup(sid, now)
		return 'with its worker, ' .. state
	end)
end

-- In flight, but nobody knows with whom: the worker that the token names; without a token one that is dead, so that
-- REAP decides. (ADOPT of a live one would call it unsent.)
function job.nobody(id, j, _, office)
	if j.state ~= 'taken' and j.state ~= 'begun' or j.token ~= '' and j.worker ~= '' then
		return
	end
	return off('flight-nobody', '', function()
		local worker = j.token:match('^(.+)%.%d+%.%d+$') or NOBODY
		local token = j.token ~= '' and j.token or worker .. '.0.' .. num(now + #reply)
		call('ZADD', PREFIX .. 'workers', 'NX', 1, worker)
		call('SADD', PREFIX .. 'held:' .. worker, id .. ' ' .. token)
		call('SADD', PREFIX .. 'fly:' .. office, token)
		call('HSET', job_key(id), 'token', token, 'worker', worker)
		return 'given to ' .. worker
	end)
end

function job.previous(id, j)
	if j.previous == '' or OPEN[j.state] and CHALLENGED[j.previous] then
		return
	end
	return off('previous', 'cleared', function()
		if j.state == 'taken' then
			call('HSET', job_key(id), 'previous', '', 'previous_digest', '', 'why', j.late and 'late' or 'unknown')
			return 'to be ended (unknown)'
		elseif j.state == 'begun' or FINAL[j.state] then
			call('HSET', job_key(id), 'previous', '', 'previous_digest', '')
		else
			return to_close(id, j, 'unknown', 'previous', '', 'previous_digest', '')
		end
	end)
end

-- Without a `why` a worker would send what is in the close lane, without a cell and under a hold.
function job.why(id, j)
	if j.state == 'close' and not WHYS[j.why] then
		return off('why', '', function()
			if j.late or marks(j) > 0 or j.cancelled == '1' then
				return to_close(id, j, 'cancelled')
			end
			return move(id, j, 'wait', '')
		end)
	elseif (j.state == 'wait' or j.state == 'later') and j.why ~= '' then
		return off('why', 'cleared', function()
			if WHYS[j.why] then
				return move(id, j, 'close', reason(j, j.why))
			end
			call('HSET', job_key(id), 'why', '')
		end)
	end
end

function job.candidates(id, j, sid, office)
	local kept, gone = {}, {}
	for digest in j.candidates:gmatch('[^,]+') do
		local good = OPEN[j.state] and #kept < 3 and has_bytes(sid, digest)
		local list = good and kept or gone
		list[#list + 1] = digest
	end
	local text = table.concat(kept, ',')
	return text ~= j.candidates and off('candidates', num(#gone) .. ' refused', function()
		for _, digest in ipairs(gone) do
			call('XADD', PREFIX .. 'refused', 'MAXLEN', '~', 10000, '*', 'why', OPEN[j.state] and 'lost' or 'closed',
				'sid', sid, 'office', office, 'digest', digest:sub(1, 40))
		end
		call('HSET', job_key(id), 'candidates', text)
	end)
end

-- The next bytes get their turn as when a worker refuses those before them. Without any, a worker ends the job; what is
-- dead or unknown waits for people as before. The digest of nothing lets the producer send the bytes again.
function job.bytes(id, j, sid, office)
	local flight = j.state == 'taken' or j.state == 'begun'
	local waits = j.state == 'wait' or j.state == 'later' or j.state == 'close' and j.why == 'expired'
	local people = (j.state == 'dead' or j.state == 'unknown') and j.digest ~= NO_BYTES
	if not (waits or people or flight and (j.why == '' or j.why == 'expired')) or has_bytes(sid, j.digest) then
		return
	elseif flight then
		off('bytes-missing', 'its worker has them')
		return
	end
	return off('bytes-missing', 'noted: it cannot be sent again', function()
		local next, rest = j.candidates:match('^([^,]+),?(.*)$')
		if people then
			call('HSET', job_key(id), 'digest', NO_BYTES)
			return
		elseif not next then
			return to_close(id, j, 'dropped', 'digest', j.previous == '' and NO_BYTES or j.digest)
		end
		call('XADD', PREFIX .. 'refused', 'MAXLEN', '~', 10000, '*', 'why', 'lost', 'sid', sid, 'office', office,
			'digest', j.digest)
		call('HSET', job_key(id), 'digest', next, 'candidates', rest)
		return 'the next candidate has its turn'
	end)
end

function job.flight(id, j, _, office)
	if j.state ~= 'taken' and j.state ~= 'begun' then
		return
	end
	local held = PREFIX .. 'held:' .. j.worker
	if call('SISMEMBER', held, id .. ' ' .. j.token) == 0 then
		off('flight-held', 'added to held:' .. j.worker, function()
			call('ZADD', PREFIX .. 'workers', 'NX', 1, j.worker)
			call('SADD', held, id .. ' ' .. j.token)
		end)
	end
	if call('SISMEMBER', PREFIX .. 'fly:' .. office, j.token) == 0 then
		off('flight-fly', 'added to fly:' .. office, function()
			call('SADD', PREFIX .. 'fly:' .. office, j.token)
		end)
	end
end

function job.place(id, j, sid, office)
	local place = j.state == 'wait' and wait_key(office) or PREFIX .. j.state
	local has = j.state == 'wait' or j.state == 'later' or j.state == 'close' or j.state == 'unknown'
	if has and not call('ZSCORE', place, j.state == 'wait' and sid or id) then
		off('place-missing', 'added to ' .. place:sub(#PREFIX + 1), function()
			if j.state == 'unknown' then
				call('ZADD', place, 'NX', digits(j.ended_us) and j.ended_us or num(now), id)
			else
				place_add(id, j.state, j.score, j.state == 'later' and due_of(j) or now, now)
			end
		end)
	end
	local sends = (j.state == 'taken' or j.state == 'begun') and j.why == ''
	if (j.state == 'wait' or j.state == 'later' or sends) and not call('ZSCORE', PREFIX .. 'exp', id) then
		off('exp-missing', 'added to exp', function()
			exp_add(id, j.expires_us)
		end)
	end
end

function job.dead(id, j)
	if j.state ~= 'dead' and j.previous ~= 'dead' then
		return
	end
	local entry = (j.dead_id or ''):find('^%d+%-%d+$') and call('XRANGE', PREFIX .. 'dead', j.dead_id, j.dead_id)[1]
	return not entry and off('dead-entry', 'written anew', function()
		call('HSET', job_key(id), 'dead_id', dead_write(id, j))
	end)
end

local JOB = {job.field, job.num, job.listed, job.state, job.accepted, job.late, job.token, job.nobody, job.previous,
	job.why, job.candidates, job.bytes, job.flight, job.place, job.dead}

-- After what was mended the job is another: from the start. A check stops there.
local function job_look(id)
	local sid, office = split(id)
	local j = read(id)
	for _, check in ipairs(j and JOB or {}) do
		if check(id, j, sid, office) then
			return mend
		end
	end
end

local function job_check(id)
	local round = 1
	while split(id) and call('TYPE', job_key(id)).ok == 'hash' and job_look(id) and round < 16 do
		round = round + 1
	end
end

-- Running --------------------------------------------------------------------------------------------

-- An item at which the look fails does not stop the others.
local function look(checks)
	local check = checks[kind]
	local theirs = digits(call('HGET', META, 'version') or '') or 0
	if not check or verb ~= 'check' and not mend then
		return {'BADVERB'}
	elseif mend and theirs > version then
		return {'VERSION', num(theirs)}
	elseif mend then
		first_write()
	end
	for i = 5, #ARGV do
		item = ARGV[i]
		local ok, err = pcall(check, item)
		if not ok then
			off('check-failed', tostring(type(err) == 'table' and err.err or err):sub(1, 200))
		end
	end
	return reply
end

if kind == 'job' then
	return look({job = job_check})
end
