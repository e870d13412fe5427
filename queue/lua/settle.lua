-- SPDX-License-Identifier: Apache-2.0
-- SETTLE: what became of one job that the worker holds, or held.
-- ARGV worker sid office token verb state outcome class retryable detail http_status due_us now_us begun_us receipt
--   receipt_alt generation (verified by the worker, or -1) site (1 the receiver answers, -1 it does not, 0) breaker_open_us
-- verb: end retry unknown throttled not_sent release defer live refused conflict
-- -> [OK|LATE|DUP|STALE|NOTBEGUN|BEGUN|BADVERB, state, rev, what, open|closed, until_us, ...]: breakers that it moved

local worker, sid, office, token, verb = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local due, mine = tonumber(ARGV[12]) or 0, tonumber(ARGV[13])
local answer = {
	state = ARGV[6], outcome = ARGV[7]:sub(1, 64), class = ARGV[8]:sub(1, 64), retryable = ARGV[9] == '1' and 1 or 0,
	detail = ARGV[10]:sub(1, 512), status = digits(ARGV[11]) or 0, begun_us = digits(ARGV[14]) or 0,
	receipt = ARGV[15] or ''
}
local receipt_alt = ARGV[16] or ''
local generation = tonumber(ARGV[17] or -1)
local site, open_us = tonumber(ARGV[18] or 0), clamp(tonumber(ARGV[19] or 0), 0, 3600 * SECOND)
local id = sid .. ':' .. office
local now = clock()
due = math.min(due, now + LIFE + DAY) -- a clock that is wrong must not bury a job
local j -- the record

-- Breakers -----------------------------------------------------------------------------------------

local RUN_MAX, SHARE_OF, WINDOW, OFFICES_MIN, OPEN_MAX = 5, 20, 60 * SECOND, 3, 30
local CLEAN = 'closed 0 0'
local moved = {} -- by this call, for the reply
local unspent = false -- nothing was sent under this token: its rate cells come back
local was_open, posted_us -- for the flow: the job was open; how long its POST took
local counts = false -- the job was begun under this token, and what became of it says something of the receiver

-- The list with this office, up to as many as anybody asks for; and whether they are enough. One dead office must not
-- stop its chamber.
local function offices_add(list, what)
	if list == '-' then
		list = office
	elseif not list:find(office, 1, true) and #list < OFFICES_MIN * #office then
		list = list .. ',' .. office
	end
	local _, n = list:gsub('%w+', '')
	return list, n >= (what == office and 1 or OFFICES_MIN)
end

local function breaker_open(what, b)
	local long = open_us * math.min(2 ^ b.opens, OPEN_MAX)
	local fresh = breaker_read('open ' .. num(b.opens + 1) .. ' ' .. num(now + long * (1 + now % SECOND / SECOND / 4)))
	breaker_write(what, fresh)
	return 'open', fresh.till
end

local function breaker_close(what)
	call('HDEL', PREFIX .. 'breaker', what)
	return 'closed', 0
end

local function breaker_fault(what, b)
	local run_enough, window_enough
	if b.n == 0 or b.since > now or now - b.since >= WINDOW then
		b.since, b.n, b.faults, b.in_window = now, 0, 0, '-'
	end
	b.run, b.n, b.faults = b.run + 1, b.n + 1, b.faults + 1
	b.in_run, run_enough = offices_add(b.in_run, what)
	b.in_window, window_enough = offices_add(b.in_window, what)
	if b.run >= RUN_MAX and run_enough or b.n >= SHARE_OF and 2 * b.faults >= b.n and window_enough then
		return breaker_open(what, b)
	end
	breaker_write(what, b)
end

-- Good answers count while a window is open; after it there is nothing to remember.
local function breaker_good(what, b)
	if b.n == 0 or b.since > now or now - b.since >= WINDOW then
		breaker_close(what)
		return
	end
	b.run, b.in_run, b.n = 0, '-', b.n + 1
	breaker_write(what, b)
end

-- own_down: the office's own breaker is not closed. That one or two such offices fail again says nothing new of their
-- chamber, whose next probe is then another letter.
local function breaker_count(what, text, own_down)
	if not text and (site > 0 or open_us == 0) then
		return -- closed, and nothing to remember
	end
	local b = breaker_read(text or CLEAN) or breaker_read(CLEAN)
	if open_us == 0 then -- switched off: what an earlier configuration left goes
		local word, till = breaker_close(what)
		return breaker_stops(b) and word, till
	elseif breaker_stops(b) then
		local enough = true
		if b.token == token and site < 0 and what ~= office and own_down then
			b.in_run, enough = offices_add(b.in_run, what)
			breaker_write(what, b)
		end
		if b.token == token and enough then -- only the probe counts
			return (site > 0 and breaker_close or breaker_open)(what, b)
		end
	elseif site < 0 then
		return breaker_fault(what, b)
	else
		breaker_good(what, b)
	end
end

-- After the flip: a repeated SETTLE counts nothing twice, and a probe that is not counted is replaced.
local function breakers()
	local whats = {chamber_of(office), office}
	local texts = call('HMGET', PREFIX .. 'breaker', whats[1], whats[2])
	local own_down = breaker_stops(breaker_read(texts[2] or ''))
	for i, text in ipairs(texts) do
		local word, till = breaker_count(whats[i], text, own_down)
		if word then
			moved[#moved + 1] = whats[i]
			moved[#moved + 1] = word
			moved[#moved + 1] = num(till)
		end
	end
end

-- Answers ------------------------------------------------------------------------------------------

-- Exact or nothing: a cell goes back only while it is its bucket's newest charge.
local function refund()
	for key, cell in pairs({['rate:' .. chamber_of(office)] = j.cell_chamber, ['rate:' .. office] = j.cell_office}) do
		local after, before = (cell or ''):match('^(%d+) (%d+)$')
		if after and call('GET', PREFIX .. key) == after then
			call('SET', PREFIX .. key, before, 'PX', num(math.max(1, math.ceil((before - now) / 1000) + 1)))
		end
	end
end

-- All that follows the flip. A cell, too, comes back only then: a SETTLE that fails here and is repeated loses it, and
-- never gives back what somebody else was charged meanwhile.
local function done(word, state, rev)
	if verb == 'refused' or not j then -- no record: a `refused` that failed after it had removed it
		sub_forget_bytes(sid, digests_used(sid))
		rollup(sid, now)
	end
	if counts then
		breakers()
	end
	if unspent then
		refund()
	end
	flight_leave(worker, id, token, now)
	flow_end(now, office, was_open and not OPEN[state], posted_us)
	return {word, state, num(rev), unpack(moved)}
end

local function begun_us(a)
	return num(a.begun_us > 0 and a.begun_us or tonumber(j.attempt) > 0 and j.begun_us or 0)
end

-- At least once: a SETTLE that fails after this writes it again under the same rev.
local function result_add(state, rev, a, ...)
	call('XADD', PREFIX .. 'results', '*', 'sid', sid, 'office', office, 'rev', num(rev), 'state', state,
		'outcome', a.outcome, 'class', a.class, 'retryable', a.retryable, 'detail', a.detail, 'http_status', a.status,
		'delivery_id', j.delivery_id or '', 'attempt', j.attempt, 'generation', j.generation ~= '' and j.generation or '-1',
		'begun_us', begun_us(a), 'ended_us', num(mine), 'receipt', a.receipt, ...)
end

local function dead_add(rev, a, all)
	return call('XADD', PREFIX .. 'dead', '*', 'sid', sid, 'office', office, 'rev', num(rev), 'outcome', a.outcome,
		'class', a.class, 'detail', a.detail, 'http_status', a.status, 'delivery_id', j.delivery_id or '',
		'attempt', j.attempt, 'crashes', j.crashes, 'deliveries', j.deliveries,
		'generation', j.generation ~= '' and j.generation or '-1', 'first_us', j.first_us, 'ended_us', num(mine),
		'history', all)
end

-- Other bytes that still wait when the job ends: their producer learns that they were not looked at, and may send them
-- again. Left on the record, a repeat of them would count as known and be dropped without a word.
local function candidates_refuse()
	for digest in (j.candidates or ''):gmatch('[^,]+') do
		call('XADD', PREFIX .. 'refused', 'MAXLEN', '~', 10000, '*', 'why', 'closed', 'sid', sid, 'office', office,
			'digest', digest)
	end
end

-- After the flip: their bytes, unless another office of the letter has them. What fails here goes with the submission.
local function candidates_forget()
	local used = (j.candidates or '') ~= '' and digests_used(sid) or {}
	for digest in (j.candidates or ''):gmatch('[^,]+') do
		if not used[digest] then
			call('HDEL', sub_key(sid), 'j:' .. digest)
		end
	end
end

-- A job that ends without a BEGIN was verified all the same: its generation counts, so that the same bytes cannot open
-- it again.
local function generation_known()
	local known = tonumber(j.generation ~= '' and j.generation or -1)
	return generation > known and num(generation) or j.generation
end

-- The end of a job: result, index of people's work, flip, tail. `...`: further fields of the record.
local function finish(state, a, ...)
	local rev, all = j.rev + 1, j.history or ''
	j.generation = generation_known()
	if j.state == 'begun' then
		all = history(j, mine, a.status, a.outcome)
	end
	result_add(state, rev, a)
	local dead_id = ''
	if state == 'dead' then
		dead_id = dead_add(rev, a, all)
	elseif state == 'unknown' then
		call('ZADD', PREFIX .. 'unknown', num(now), id)
	end
	candidates_refuse()
	call('HSET', job_key(id), 'state', state, 'token', '', 'last_token', token, 'worker', '', 'rev', rev, 'why', '',
		'candidates', '', 'previous', '', 'previous_digest', '', 'cell_chamber', '', 'cell_office', '', 'outcome', a.outcome,
		'class', a.class, 'retryable', a.retryable, 'detail', a.detail, 'last', a.outcome, 'status', a.status,
		'ended_us', num(mine), 'history', all, 'dead_id', dead_id, 'generation', j.generation, 'cancelled', '', ...)
	if j.dead_id and j.dead_id ~= '' then
		call('XDEL', PREFIX .. 'dead', j.dead_id) -- the entry of the outcome that a new generation replaced
	end
	call('ZREM', PREFIX .. 'exp', id)
	candidates_forget()
	rollup(sid, now)
	return rev
end

-- Late answers: the token is not current, but its POST is still of unknown fate ---------------------

-- What a late SETTLE says of its POST: accepted, rejected, not_taken, or nil when nothing is learned.
local function late_word(others)
	local dead = verb == 'end' and answer.state == 'dead' -- given up after an answer that says so
	if verb == 'end' and (answer.state == 'accepted' or answer.state == 'rejected') then
		return answer.state
	elseif verb == 'conflict' and others > 0 then
		return 'accepted'
	elseif dead or verb == 'retry' or verb == 'throttled' or verb == 'not_sent' then
		return 'not_taken'
	end
end

-- A late acceptance always wins. While another POST is on the wire it is kept, for that POST's SETTLE to find.
local function late_accepted()
	if j.state == 'begun' then
		call('HSET', job_key(id), 'late', token)
	elseif j.state ~= 'accepted' then
		local state = j.state
		j.rev = finish('accepted', answer, 'late', token)
		place_leave(id, state, j)
		j.state = 'accepted'
	end
end

-- A late rejection decides only when no other POST is of unknown fate or on the wire.
local function late_rejected(others)
	local waits = j.state == 'wait' or j.state == 'later' or j.state == 'close' or j.state == 'taken'
	if others == 0 and not j.late and j.previous == '' and (waits or j.state == 'unknown') then
		local state = j.state
		j.rev = finish('rejected', answer)
		place_leave(id, state, j)
		j.state = 'rejected'
	end
end

-- Nothing was sent after all: a job that was about to be ended as unknown goes back to its line, or, when it is to be
-- cancelled, to the close lane for that. Also out of the hands of a worker that is about to end it: its token is over.
local function late_not_taken(others)
	local closing = j.why == 'unknown' and (j.state == 'close' or j.state == 'taken')
	if others > 0 or j.late or not closing then
		return
	end
	local where, why = 'wait', ''
	if j.cancelled == '1' then -- the doubt is gone, the wish to cancel is not
		where, why = 'close', 'cancelled'
	else
		call('ZADD', PREFIX .. 'exp', 'NX', j.expires_us, id) -- gone if it had expired when its end was decided
	end
	place_add(id, where, j.score, now, now)
	call('HSET', job_key(id), 'state', where, 'token', '', 'worker', '', 'why', why, 'attempt', math.max(0, j.attempt - 1),
		'cell_chamber', '', 'cell_office', '')
	if j.state == 'taken' then
		flight_leave(j.worker, id, j.token, now)
	elseif where ~= 'close' then
		place_leave(id, 'close', j)
	end
	j.state = where
end

local function late(word, others)
	was_open = OPEN[j.state]
	if verb == 'conflict' then
		answer.outcome, answer.class, answer.retryable = 'accepted_earlier', 'accepted', 0
	end
	j.rev = j.rev + 1
	result_add('late', j.rev, answer, 'late', word)
	call('HSET', job_key(id), 'rev', j.rev)
	if word == 'accepted' then
		late_accepted()
	elseif word == 'rejected' then
		late_rejected(others)
	else
		late_not_taken(others)
	end
	call('HSET', job_key(id), 'heard', token)
	call('HDEL', job_key(id), 'u:' .. token) -- last: a repeat says it all again
	rollup(sid, now)
	return done('LATE', j.state, j.rev)
end

local function not_current()
	local others = marks(j, token)
	local word = j['u:' .. token] and late_word(others)
	if word then
		return late(word, others)
	end
	rollup(sid, now)
	-- `late`: an acceptance, while another POST was on the wire; `heard`: a late answer, whatever came of it
	local said = j.last_token == token or j.late == token or j.heard == token
	return done(said and 'DUP' or 'STALE', j.state, j.rev)
end

-- Ways back: the job stays open --------------------------------------------------------------------

-- Adds, flips, leaves. A reason to end the job turns every way back into the way out.
local function back(where, at, why, rev, ...)
	if why ~= '' then
		where, at = 'close', now
	end
	place_add(id, where, j.score, at, now)
	call('HSET', job_key(id), 'state', where, 'token', '', 'last_token', token, 'worker', '', 'why', why, 'rev', rev,
		'cell_chamber', '', 'cell_office', '', ...)
	if rev ~= j.rev then
		status_show(sid, office, where, answer.outcome, rev)
	end
	return done('OK', where, rev)
end

-- After an attempt. spent: 1 when it counts. `...`: further fields.
local function attempted(where, at, spent, more_marks, ...)
	if answer.outcome == '' then
		answer.outcome = verb == 'release' and 'not_sent' or verb
	end
	return back(where, at, reason(j, j.why, more_marks), j.rev + 1, 'attempt', j.attempt - 1 + spent,
		'last', answer.outcome, 'status', answer.status, 'history', history(j, mine, answer.status, answer.outcome), ...)
end

local function unknown()
	return attempted('later', due, 1, 1, 'u:' .. token, j.begun_us)
end

local function not_sent()
	unspent = true
	if j.state == 'begun' then
		return attempted('wait', 0, 0, 0)
	end
	return back('wait', 0, reason(j, j.why), j.rev)
end

-- What is left of `why` when the job has not expired.
local function unexpired()
	return j.why ~= 'expired' and j.why or j.cancelled == '1' and 'cancelled' or ''
end

local function defer()
	if answer.detail ~= '' then -- its name
		due = look_paced(due, now)
	end
	if j.why == 'expired' and not j.late then
		-- Not verified yet: the hint that it has expired is looked at again when the wait is over.
		call('ZADD', PREFIX .. 'exp', num(clamp(due, now, now + LIFE) + SECOND), id)
		j.why = unexpired()
	end
	if answer.outcome == '' then
		return back('later', due, reason(j, j.why), j.rev)
	end
	return back('later', due, reason(j, j.why), j.rev, 'last', answer.outcome, 'status', answer.status)
end

-- The signed expiry is later than the hint was.
local function live()
	local keep = j.generation ~= '' and math.max(due, tonumber(j.expires_us)) or due
	call('ZADD', PREFIX .. 'exp', num(clamp(due, now + SECOND, now + LIFE + DAY)), id)
	return back('wait', 0, reason(j, unexpired()), j.rev, 'expires_us', num(keep))
end

-- The job bytes failed verification. They never close (sid, office) ---------------------------------

-- The next bytes in line, under the same place in line.
local function refused_next(candidate, rest)
	call('ZADD', PREFIX .. 'exp', 'NX', num(now + LIFE), id)
	return back('wait', 0, reason(j, unexpired()), j.rev, 'digest', candidate, 'candidates', rest)
end

-- The challenge is over; the outcome that it challenged was never touched.
local function refused_restore()
	call('HSET', job_key(id), 'state', j.previous, 'previous', '', 'digest', j.previous_digest, 'previous_digest', '',
		'attempt', j.previous_attempt, 'crashes', j.previous_crashes or 0, 'token', '', 'last_token', token, 'worker', '',
		'why', '', 'cancelled', '', 'cell_chamber', '', 'cell_office', '')
	call('ZREM', PREFIX .. 'exp', id)
	return done('OK', j.previous, j.rev)
end

local function refused_place()
	local candidate, rest = j.candidates:match('^([^,]+),?(.*)$')
	if candidate then
		return refused_next(candidate, rest)
	elseif j.previous ~= '' then
		return refused_restore()
	elseif j.delivery_id then
		-- It was verified once and may have been sent: the record must stay, so the job ends in the open.
		return back('close', now, reason(j, marks(j) > 0 and 'unknown' or 'dropped'), j.rev)
	end
	call('DEL', job_key(id))
	call('ZREM', PREFIX .. 'exp', id)
	return done('OK', 'refused', j.rev)
end

local function refused()
	if j.delivery_id and j.previous == '' and j.why ~= '' and j.why ~= 'expired' and j.candidates == '' then
		return {'BADVERB', j.state, j.rev} -- it is to be ended, whatever its bytes are
	end
	call('XADD', PREFIX .. 'refused', 'MAXLEN', '~', 10000, '*', 'why', 'verify', 'sid', sid, 'office', office,
		'digest', j.digest, 'detail', answer.detail ~= '' and answer.detail or answer.outcome)
	return refused_place()
end

-- Verbs --------------------------------------------------------------------------------------------

-- The Senate's 409: an earlier POST of this id was taken, or the id is in use by something else.
local function conflict()
	if marks(j) > 0 or j.late then
		answer.outcome, answer.class, answer.retryable = 'accepted_earlier', 'accepted', 0
		return done('OK', 'accepted', finish('accepted', answer))
	end
	answer.outcome, answer.class, answer.retryable, answer.receipt = 'id_conflict', 'unknown', 0, receipt_alt
	return done('OK', 'unknown', finish('unknown', answer))
end

local function finished()
	local state = answer.state
	if not FINAL[state] then
		return {'BADVERB', j.state, j.rev}
	elseif state == 'accepted' and j.state ~= 'begun' and not j.late then
		return {'NOTBEGUN', j.state, j.rev}
	elseif j.late and j.state ~= 'begun' and state ~= 'accepted' then
		return {'BADVERB', j.state, j.rev}
	elseif state == 'unknown' and j.state == 'begun' then
		return done('OK', state, finish(state, answer, 'u:' .. token, j.begun_us))
	end
	return done('OK', state, finish(state, answer))
end

-- A late acceptance came while this POST was on the wire. Whatever this one says, the letter was accepted: the close
-- lane ends the job with a receipt that says so.
local function late_wins()
	if verb == 'unknown' or verb == 'end' and answer.state == 'unknown' then
		return attempted('close', now, 1, 0, 'u:' .. token, j.begun_us)
	end
	return attempted('close', now, (verb == 'not_sent' or verb == 'release') and 0 or 1, 0)
end

local AFTER_BEGIN = {
	retry = function()
		return attempted('later', due, 1, 0)
	end,
	throttled = function()
		return attempted('later', due, 0, 0)
	end,
	unknown = unknown,
	conflict = conflict
}
local BEFORE_BEGIN = {defer = defer, live = live, refused = refused}
local ALWAYS = {['end'] = finished, not_sent = not_sent, release = not_sent}

local function current()
	local begun = j.state == 'begun'
	local sent = begun and verb ~= 'not_sent' and verb ~= 'release'
	counts = begun and site ~= 0
	was_open, posted_us = true, sent and math.max(0, mine - j.begun_us) or nil
	unspent = not begun
	if not (AFTER_BEGIN[verb] or BEFORE_BEGIN[verb] or ALWAYS[verb]) then
		return {'BADVERB', j.state, j.rev}
	elseif AFTER_BEGIN[verb] and not begun then
		return {'NOTBEGUN', j.state, j.rev}
	elseif BEFORE_BEGIN[verb] and begun then
		return {'BEGUN', j.state, j.rev}
	elseif begun and j.late and verb ~= 'conflict' and not (verb == 'end' and answer.state == 'accepted') then
		return late_wins()
	end
	return (AFTER_BEGIN[verb] or BEFORE_BEGIN[verb] or ALWAYS[verb])()
end

first_write()
j = job_read(id)
if not j then
	return done('STALE', '', 0)
elseif j.token ~= token then
	return not_current()
elseif j.worker ~= worker then
	return {'STALE', j.state, j.rev}
end
return current()
