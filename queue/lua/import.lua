-- SPDX-License-Identifier: Apache-2.0
-- IMPORT: a letter that is dead or of unknown fate, from an export, into a queue that has forgotten it: a Redis that was
-- lost, or began anew. For people (cwcctl dead import, unknown import), never for workers.
-- ARGV who sid office state(dead|unknown) job [field value]...
-- job: its sealed bytes, or '' when nobody has kept them; fields: those of the record (PROTOCOL.md, section 4) that are
-- listed below, and `mark`, as often as there are POSTs of unknown fate: their begun_us.
-- -> [OK, rev] | [KNOWN, state]: the queue knows this letter, and knows better | [BADARG, what]
--
-- Whoever has a record is left alone, so that the same export may be imported again. Nothing is sent, no result is
-- written: the consumer had it when the letter ended.

local who, sid, office, state, job = ARGV[1], ARGV[2] or '', ARGV[3] or '', ARGV[4], ARGV[5] or ''
local id, now = sid .. ':' .. office, clock()
local JOB_MAX, OFFICES_MAX, MARKS_MAX, AUDIT_MAX = 98304, 64, 64, 1000000
local NUMBERS = {
	rev = 1e9, attempt = 1e6, crashes = 1e6, deliveries = 1e6, status = 999, retryable = 1, generation = 2 ^ 53,
	first_us = now, opened_us = now, begun_us = now + SKEW, ended_us = now + SKEW, expires_us = now + LIFE + DAY
}
local TEXTS = {
	outcome = 64, class = 64, last = 64, detail = 512, delivery_id = 64, date = 16, history = 4096, digest = 40
}

-- Fields and marks; or nil and what is wrong. An empty text is no field: of one that never began the DeliveryId is absent, and
-- BEGIN would take an empty one for that which was fixed.
local function fields_read()
	local f, marked = {}, {}
	for i = 6, #ARGV, 2 do
		local name, value = ARGV[i], ARGV[i + 1] or ''
		local most = name == 'mark' and now + SKEW or NUMBERS[name]
		if most and not digits(value) or not most and (not TEXTS[name] or #value > TEXTS[name]) then
			return nil, name
		elseif name == 'mark' then
			marked[#marked + 1] = num(math.min(digits(value), most))
		elseif value ~= '' then
			f[name] = most and num(math.min(digits(value), most)) or value
		end
	end
	return #marked <= MARKS_MAX and f or nil, #marked <= MARKS_MAX and marked or 'mark'
end

-- The digest under which the submission has the bytes, now or already; that of no bytes when nobody has them.
local function digest_of(f)
	if job ~= '' then
		return redis.sha1hex(job)
	end
	local here = f.digest and call('HEXISTS', sub_key(sid), 'j:' .. f.digest) == 1
	return here and f.digest or redis.sha1hex('')
end

-- The offices of the submission with this one; nil: there are too many.
local function offices_with()
	local all, n = call('HGET', sub_key(sid), 'offices') or '', 1
	for other in all:gmatch('[^,]+') do
		if other == office then
			return all
		end
		n = n + 1
	end
	return n <= OFFICES_MAX and (all == '' and office or all .. ',' .. office) or nil
end

local function dead_add(f)
	return call('XADD', PREFIX .. 'dead', '*', 'sid', sid, 'office', office, 'rev', f.rev, 'outcome', f.outcome or '',
		'class', f.class or '', 'detail', f.detail or '', 'http_status', f.status or 0, 'delivery_id', f.delivery_id or '',
		'attempt', f.attempt or 0, 'crashes', f.crashes or 0, 'deliveries', f.deliveries or 0, 'generation',
		f.generation ~= '' and f.generation or '-1', 'first_us', f.first_us, 'ended_us', f.ended_us, 'history', f.history or '')
end

-- Bytes and offices, the index of people's work, the record in one HSET, the summary.
local function import(f, marked, offices)
	local digest, dead_id = digest_of(f), ''
	sub_keep(sid, offices)
	call('HSET', sub_key(sid), 'offices', offices)
	if job ~= '' then
		call('HSET', sub_key(sid), 'j:' .. digest, job)
	end
	call('HSETNX', sub_key(sid), 'first_us', f.first_us)
	if state == 'dead' then
		dead_id = dead_add(f)
	else
		call('ZADD', PREFIX .. 'unknown', f.ended_us, id)
	end
	local flat = {}
	for n, begun_us in ipairs(marked) do
		flat[#flat + 1] = 'u:import.' .. n
		flat[#flat + 1] = begun_us
	end
	for name, value in pairs(f) do
		if name ~= 'digest' then
			flat[#flat + 1] = name
			flat[#flat + 1] = value
		end
	end
	call('HSET', job_key(id), 'state', state, 'digest', digest, 'dead_id', dead_id, 'score',
		num(2 * CLASS + call('HINCRBY', META, 'num', 1)), 'candidates', '', 'why', '', 'token', '', 'last_token', '',
		'worker', '', 'previous', '', unpack(flat))
	rollup(sid, now)
	return {'OK', f.rev}
end

-- What scripts count with must be there.
local function complete(f)
	f.rev = digits(f.rev or '') and f.rev ~= '0' and f.rev or '1'
	for _, name in ipairs({'attempt', 'crashes', 'deliveries', 'status', 'retryable'}) do
		f[name] = f[name] or '0'
	end
	f.generation = f.generation or ''
	f.ended_us = f.ended_us or num(now)
	f.first_us = f.first_us or f.ended_us
	f.expires_us = f.expires_us or num(now + LIFE)
	return f
end

if not (#sid <= 64 and sid:find('^[%w_-]+$')) then
	return {'BADARG', 'sid'}
elseif not office_valid(office) then
	return {'BADARG', 'office'}
elseif state ~= 'dead' and state ~= 'unknown' then
	return {'BADARG', 'state'}
end
local f, marked = fields_read()
if not f then
	return {'BADARG', marked}
elseif #job > JOB_MAX or job ~= '' and (f.digest or '') ~= '' and f.digest ~= redis.sha1hex(job) then
	return {'BADARG', 'job'}
end
local j = job_read(id)
if j then
	first_write()
	rollup(sid, now) -- what an import that failed at its end has left
	return {'KNOWN', j.state}
end
-- The record is lost, and the submission still shows what became of it: FSCK writes it in that state.
local shown = call('HGET', sub_key(sid), 's:' .. office)
if shown then
	return {'KNOWN', shown:match('^%S*')}
end
local offices = offices_with()
if not offices then
	return {'BADARG', 'offices'}
end
first_write()
call('XADD', PREFIX .. 'audit', 'MAXLEN', '~', AUDIT_MAX, '*', 'verb', 'import', 'who', who, 'a', sid, 'b', office, 'c', state)
return import(complete(f), marked, offices)
