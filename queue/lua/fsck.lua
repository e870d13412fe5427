-- SPDX-License-Identifier: Apache-2.0
-- FSCK, after fsck_jobs.lua: looks whether items of one kind are as PROTOCOL.md says, and mends what is off. For people,
-- never for workers.
-- ARGV verb kind name version item... -> [OK, item, code, done, item, code, done...] | [VERSION, n] | [BADVERB]
-- verb: check (writes nothing) | mend (`done` says what was done; "left: ..." where that is for people to do)
--       note: kind (who) and name (a text) become an entry of `audit`
-- kind: the places below; name: the office, chamber or worker of the place, or ''. version: what the caller knows.
--
-- One call is one atomic look at its items and at all that belongs to them. Every move goes by the rule of lib.lua, may
-- be repeated, and sends nothing by itself: what cannot be placed goes to the close lane, where a worker ends it, as
-- `unknown` when it may have been sent. Without a receipt ends only what is on record as over (PROTOCOL.md, section 15).
--
-- kind     item         what must be so                                                            code when it is not
-- key      key          its name is one of section 3                                               key-unknown (left)
--                       it has the type of section 3; mended by a move to aside:<name>             key-type
-- meta     -            version is a number once workers have joined; num is a number              meta-version meta-num
-- job      sid:office   all fields that scripts count with are there and well formed               job-field
--                       the state is one of section 5                                              job-state
--                       num is not below any place in line that was given out                      meta-num
--                       its submission lists it                                                    sub-unlisted
--                       an open job was not accepted before                                        accepted-open
--                       what is over has no late acceptance but `accepted`                         late-hidden
--                       token and worker: of what is in flight, and of nothing else                token-left job-flight
--                                                                                                  flight-nobody
--                       previous: a closed state, of what is open                                  previous
--                       why: of all that is in `close`, of nothing that waits                      why
--                       candidates: of what is open, at most 3, their bytes are there              candidates
--                       bytes: of all that is open, dead or unknown (but what ends unlooked at)    bytes-missing
--                       in flight: in `held` of its worker, and in `fly` of its office             flight-held flight-fly
--                       wait, later, close, unknown: in the place of that name                     place-missing
--                       what waits, or is in flight to be sent: in `exp`                           exp-missing
--                       dead, or dead and challenged: dead_id names its entry in `dead`            dead-entry
-- lost     sid          what the status of the submission names has a record (looked at before the jobs,
--                       and job before sub: their mending needs it so)                             record-missing
-- sub      sid          has a job at least                                                         sub-empty
--                       offices, open, rollup and s:<office> are what the records say              sub-summary
--                       no life set while it is open, dead or unknown                              sub-expires
--                       else: all its records live until expiry + 1 day, and end together          sub-life
--                       no job bytes then                                                          bytes-left
-- line     sid          of wait:<name>: the record is in state wait and has this place in line     line-left line-order
--                       the line has a turn                                                        line-turn
-- turn     office       of turn:<name>: has a line, and is looked at within 30 s                   turn-left turn-far
-- later, close, exp, unknown: sid:office; the record's state confirms it                           <kind>-left
--                       `later`, `exp`: at most 31 days ahead                                      later-far exp-far
-- held     member       of held:<name>: the record names this token and worker                     held-left
--                       its worker is in `workers`, or nobody would take it back                   worker-missing
-- fly      token        of fly:<name>: some worker holds it                                        fly-left
-- workers  worker       its lease is at most 300 s ahead (and 60 s of clock)                       lease-far (left)
-- machines worker       is in `workers`                                                            machine-left
-- dead     entry id     the record's dead_id names it; a record is there                           dead-left dead-orphan
-- results  sid:office rev ms: the record's rev is not behind it (by more than a failed SETTLE)     rev-behind
-- rate     what         a time, at most 31 days ahead, with a life                                 rate
-- holds    what         `until_us who reason`; a worker's at most an hour ahead                    hold
-- breaker  what         as lib.lua reads it; closed, open or half; at most 38 hours ahead          breaker
-- inerr    entry id     is in `in`                                                                 inerr-left
-- stuck    entry id     what it copies is not in `in` any more                                     stuck-left
-- Any item at which the look itself fails (a wrong type inside): check-failed (left).

local HOUR, FAR = 3600 * SECOND, now + LIFE + DAY + SECOND
local LEASE_FAR, BREAKER_FAR = 360 * SECOND, 38 * 3600 * SECOND

-- A finding that is mended by taking the member out of the key.
local function remove(code, command, k, member)
	return off(code, 'removed', function()
		call(command, PREFIX .. k, member)
	end)
end

-- Keys -----------------------------------------------------------------------------------------------

local TYPES = {
	['in'] = 'stream', stuck = 'stream', refused = 'stream', results = 'stream', dead = 'stream', audit = 'stream',
	attestations = 'stream', inerr = 'hash', holds = 'hash', breaker = 'hash', lists = 'hash', meta = 'hash',
	machines = 'hash', later = 'zset', close = 'zset', exp = 'zset', unknown = 'zset', workers = 'zset',
	['turn:house'] = 'zset', ['turn:senate'] = 'zset'
}

local function what_valid(what)
	return what == 'house' or what == 'senate' or office_valid(what)
end

local function sid_valid(sid)
	return sid and #sid <= 64 and sid:find('^[%w_-]+$') ~= nil
end

local function id_valid(id)
	local sid, office = split(id)
	return sid_valid(sid) and office_valid(office)
end

-- The type that a key of this name must have; nil: there is none of this name.
local function key_type(key)
	local head, tail = key:match('^(%l+):(.+)$')
	if TYPES[key] then
		return TYPES[key]
	elseif head == 'wait' or head == 'fly' then
		return office_valid(tail) and (head == 'wait' and 'zset' or 'set') or nil
	elseif head == 'rate' then
		return what_valid(tail) and 'string' or nil
	elseif head == 'job' or head == 'sub' then
		return (head == 'job' and id_valid or sid_valid)(tail) and 'hash' or nil
	end
	return head == 'held' and 'set' or nil
end

local function key(x)
	local is, want = call('TYPE', PREFIX .. x).ok, key_type(x)
	if is == 'none' or x:find('^aside:') then
		return
	elseif not want then
		return off('key-unknown', 'nothing of the queue has this name')
	elseif is ~= want then
		return off('key-type', '', function()
			local aside = 'aside:' .. x .. ':' .. num(now)
			call('RENAME', PREFIX .. x, PREFIX .. aside)
			return 'moved to ' .. aside
		end)
	end
end

local function meta()
	local known, n = unpack(call('HMGET', META, 'version', 'num'))
	if not digits(known or '') and (known or call('ZCARD', PREFIX .. 'workers') > 0) then
		off('meta-version', 'set to ' .. num(version), function()
			call('HSET', META, 'version', num(version))
		end)
	end
	if n and not digits(n) then
		off('meta-num', 'set to 0: the places in line say how far it was', function()
			call('HSET', META, 'num', 0)
		end)
	end
end

-- Submissions ----------------------------------------------------------------------------------------

-- The record of a job is gone, its status is not. Nothing is sent again that may have been sent: only a job that never
-- had a visible change goes back to its line, and a worker looks at its bytes as at any other.
local function record_missing(id, text)
	local sid = split(id)
	local state, outcome, rev = text:match('^(%l+) (%S+) (%d+)$')
	local expires, first = unpack(call('HMGET', sub_key(sid), 'expires_us', 'first_us'))
	local known = {
		expires_us = digits(expires or '') and expires, first_us = digits(first or '') and first,
		rev = num((digits(rev) or math.floor(now / SECOND)) + 1), last = outcome ~= '-' and outcome or nil
	}
	local bytes = only_bytes(sid)
	if FINAL[state] then
		known.outcome, known.class, known.ended_us = known.last or state, state, num(now)
		known.digest = bytes
		return rebuild(id, state, '', known)
	elseif state and rev == '1' and bytes ~= NO_BYTES then
		known.rev, known.digest = '1', bytes
		return rebuild(id, 'wait', '', known)
	end
	return rebuild(id, 'close', 'unknown', known)
end

-- What the records say of the submission, as rollup() would.
local function sub_view(sid, offices)
	local v = {offices = {}, open = 0, accepted = 0, kept = 0, expires = 0, keys = {sub_key(sid)}, status = {}}
	for _, office in ipairs(offices) do
		local id = sid .. ':' .. office
		local state, previous, outcome, last, rev, expires = unpack(call('HMGET', job_key(id), 'state', 'previous',
			'outcome', 'last', 'rev', 'expires_us'))
		if state then
			v.offices[#v.offices + 1] = office
			v.keys[#v.keys + 1] = job_key(id)
			v.open = v.open + (OPEN[state] and 1 or 0)
			v.accepted = v.accepted + (state == 'accepted' and 1 or 0)
			v.kept = v.kept + ((state == 'dead' or state == 'unknown') and 1 or 0)
			v.expires = math.max(v.expires, digits(expires or '') or 0)
			local final = FINAL[state] or (previous or '') ~= ''
			v.status[office] = final and status_text(state, previous, outcome, last, rev) or rev
		end
		v.strange = v.strange or state and not OPEN[state] and not FINAL[state]
			or not state and call('EXISTS', job_key(id)) == 1
	end
	return v
end

-- Of an open job the status shows the last visible change: its rev is the record's.
local function sub_tells(sid, v, fields)
	local open, word, listed = unpack(call('HMGET', sub_key(sid), 'open', 'rollup', 'offices'))
	local good = open == num(v.open) and word == sub_word(#v.offices, v.open, v.accepted)
		and listed == table.concat(v.offices, ',')
	for field in pairs(fields) do
		good = good and (field:sub(1, 2) ~= 's:' or v.status[field:sub(3)] ~= nil)
	end
	for office, want in pairs(v.status) do
		local text = call('HGET', sub_key(sid), 's:' .. office) or ''
		good = good and (text == want or text:match(' (%d+)$') == want)
	end
	return good
end

local function sub_life(sid, v, fields)
	local least, low, high = v.expires + DAY - 2 * SECOND, math.huge, 0
	for _, k in ipairs(v.keys) do
		local ttl = call('PTTL', k)
		local at = ttl < 0 and math.huge or now + ttl * 1000
		low, high = math.min(low, at), math.max(high, at)
	end
	if v.open + v.kept > 0 then
		return low < math.huge and off('sub-expires', 'kept', function()
			for _, k in ipairs(v.keys) do
				call('PERSIST', k)
			end
		end)
	end
	for field in pairs(fields) do
		if field:sub(1, 2) == 'j:' then
			return off('bytes-left', 'removed', function()
				rollup(sid, now)
			end)
		end
	end
	local good = low >= least and high < math.huge and high - low <= 2 * SECOND
	return not good and off('sub-life', 'its life set', function()
		rollup(sid, now)
	end)
end

local function missing(sid, act)
	local offices, fields = sub_offices(sid)
	local any = false
	for _, office in ipairs(offices) do
		if fields['s:' .. office] and call('EXISTS', job_key(sid .. ':' .. office)) == 0 then
			any = true
			act(sid .. ':' .. office, call('HGET', sub_key(sid), 's:' .. office))
		end
	end
	return any, offices, fields
end

-- All of a submission before its summary, which forgets them.
local function lost(sid)
	if call('TYPE', sub_key(sid)).ok ~= 'hash' then
		return
	end
	local any, offices = missing(sid, function(id, text)
		off('record-missing', '', function()
			return record_missing(id, text)
		end)
	end)
	if any and mend then
		call('HSET', sub_key(sid), 'offices', table.concat(offices, ','))
		rollup(sid, now)
	end
end

local function sub(sid)
	if call('TYPE', sub_key(sid)).ok ~= 'hash' then
		return
	end
	local any, offices, fields = missing(sid, function() end)
	if any then
		return -- `lost` tells
	end
	local v = sub_view(sid, offices)
	if v.strange then
		return -- job-state tells
	elseif #v.offices == 0 then
		return off('sub-empty', 'removed', function()
			call('DEL', sub_key(sid))
		end)
	elseif not sub_tells(sid, v, fields) then
		off('sub-summary', 'derived from the records', function()
			for field in pairs(fields) do
				if field:sub(1, 2) == 's:' and not v.status[field:sub(3)] then
					call('HDEL', sub_key(sid), field)
				end
			end
			rollup(sid, now)
			fields = select(2, sub_offices(sid))
		end)
	end
	sub_life(sid, v, fields)
end

-- Places ---------------------------------------------------------------------------------------------

local function line(sid)
	local place = wait_key(name)
	local score = call('ZSCORE', place, sid)
	local state, want = unpack(call('HMGET', job_key(sid .. ':' .. name), 'state', 'score'))
	if score and state ~= 'wait' then
		off('line-left', 'removed', function()
			call('ZREM', place, sid)
			turn_wake(name, now)
		end)
	elseif score and tonumber(want) ~= tonumber(score) then
		off('line-order', 'put in its place', function()
			call('ZADD', place, want, sid)
		end)
	end
	if call('EXISTS', place) == 1 and not call('ZSCORE', turn_key(name), name) then
		off('line-turn', 'has a turn', function()
			call('ZADD', turn_key(name), num(now), name)
		end)
	end
end

local function turn(office)
	local set = PREFIX .. 'turn:' .. name
	local at = tonumber(call('ZSCORE', set, office) or nil)
	if at and (chamber_of(office) ~= name or call('EXISTS', wait_key(office)) == 0) then
		remove('turn-left', 'ZREM', 'turn:' .. name, office)
	elseif at and at > now + LOOK + SECOND then
		off('turn-far', 'now', function()
			call('ZADD', set, num(now), office)
		end)
	end
end

-- An entry of `set`, confirmed by a record in one of these states; beyond `far` only after a clock that stepped.
local function entry(set, states, far)
	return function(id)
		local at = tonumber(call('ZSCORE', PREFIX .. set, id) or nil)
		local j = at and split(id) and read(id)
		if at and not (j and states[j.state]) then
			remove(set .. '-left', 'ZREM', set, id)
		elseif at and at > far then
			local due = set == 'exp' and now + LIFE + DAY or due_of(j)
			off(set .. '-far', 'brought near', function()
				call('ZADD', PREFIX .. set, num(due), id)
			end)
		end
	end
end

-- Two members of a worker may have one token: a TAKE that failed between `held` and the record gives it again. So the
-- token leaves `fly` only when no other job of this office has it.
local function held_leave(member, token, office)
	call('SREM', PREFIX .. 'held:' .. name, member)
	for _, other in ipairs(call('SMEMBERS', PREFIX .. 'held:' .. name)) do
		if other:match(':([^: ]+ %S+)$') == office .. ' ' .. token then
			return
		end
	end
	call('SREM', PREFIX .. 'fly:' .. office, token)
	turn_wake(office, now)
end

local function held(member)
	local id, token = member:match('^(%S+:%S+) (%S+)$')
	if call('SISMEMBER', PREFIX .. 'held:' .. name, member) == 0 then
		return
	elseif not id then
		return remove('held-left', 'SREM', 'held:' .. name, member)
	end
	local theirs, worker = unpack(call('HMGET', job_key(id), 'token', 'worker'))
	if theirs ~= token or worker ~= name then
		return off('held-left', 'removed', function()
			held_leave(member, token, select(2, split(id)))
		end)
	end
	return not call('ZSCORE', PREFIX .. 'workers', name) and off('worker-missing', 'its lease is over', function()
		call('ZADD', PREFIX .. 'workers', 'NX', 1, name)
	end)
end

local holders = {} -- worker -> tokens that it holds

local function fly(token)
	local worker = token:match('^(.+)%.%d+%.%d+$') or ''
	if not holders[worker] then
		holders[worker] = {}
		for _, member in ipairs(call('SMEMBERS', PREFIX .. 'held:' .. worker)) do
			holders[worker][member:match(' (%S+)$') or ''] = true
		end
	end
	local here = call('SISMEMBER', PREFIX .. 'fly:' .. name, token) == 1
	return here and not holders[worker][token] and off('fly-left', 'removed', function()
		call('SREM', PREFIX .. 'fly:' .. name, token)
		turn_wake(name, now)
	end)
end

local function worker(who)
	local till = tonumber(call('ZSCORE', PREFIX .. 'workers', who) or nil)
	return till and till > now + LEASE_FAR and off('lease-far', 'look at the clocks')
end

local function machine(who)
	local here = call('HGET', PREFIX .. 'machines', who) and not call('ZSCORE', PREFIX .. 'workers', who)
	return here and remove('machine-left', 'HDEL', 'machines', who)
end

-- Streams --------------------------------------------------------------------------------------------

local function entry_read(stream, id)
	local found, f = call('XRANGE', PREFIX .. stream, id, id)[1], {}
	for i = 1, found and #found[2] or 0, 2 do
		f[found[2][i]] = f[found[2][i]] or found[2][i + 1]
	end
	return found and f or nil
end

-- Of a letter whose record is gone the entry is all that is left: people can drop it then as any other.
local function dead(id)
	local f = entry_read('dead', id)
	local of = f and (f.sid or '') .. ':' .. (f.office or '')
	local j = of and id_valid(of) and read(of)
	if j and j.dead_id ~= id or f and not id_valid(of) then
		return remove('dead-left', 'XDEL', 'dead', id)
	end
	return f and not j and off('dead-orphan', '', function()
		local known = {dead_id = id, last = f.outcome, status = f.http_status}
		for _, field in ipairs({'rev', 'attempt', 'crashes', 'deliveries', 'first_us', 'ended_us'}) do
			known[field] = digits(f[field]) and f[field] or nil
		end
		for _, field in ipairs({'outcome', 'class', 'detail', 'history'}) do
			known[field] = f[field]
		end
		known.generation = digits(f.generation) and f.generation or ''
		known.delivery_id = f.delivery_id ~= '' and f.delivery_id or nil
		local done = rebuild(of, 'dead', '', known)
		sub_list(of)
		return done
	end)
end

-- A consumer ignores what has a lower rev than what it has on file. One ahead is what a SETTLE that failed leaves; an
-- entry older than the record is of an earlier life of its sid.
local function result(x)
	local id, rev, ms = x:match('^(%S+) (%d+) (%d+)$')
	local theirs, first = unpack(id and split(id) and call('HMGET', job_key(id), 'rev', 'first_us') or {})
	local known, since = digits(theirs or ''), digits(first or '')
	return known and since and digits(rev) > known + 1 and (ms + 1) * 1000 > since and off('rev-behind', 'raised', function()
		call('HSET', job_key(id), 'rev', rev)
		rollup(split(id), now)
	end)
end

local function stuck(id)
	local f = entry_read('stuck', id)
	local of = f and (f.entry or ''):find('^%d+%-%d+$') and f.entry
	return of and #call('XRANGE', PREFIX .. 'in', of, of) > 0 and remove('stuck-left', 'XDEL', 'stuck', id)
end

local function inerr(id)
	local here = call('HEXISTS', PREFIX .. 'inerr', id) == 1
	local good = id:find('^%d+%-%d+$') and #call('XRANGE', PREFIX .. 'in', id, id) > 0
	return here and not good and remove('inerr-left', 'HDEL', 'inerr', id)
end

-- Limits ---------------------------------------------------------------------------------------------

-- Far ahead is as good as full: the next TAKE brings it into its bounds.
local function rate(what)
	local k = PREFIX .. 'rate:' .. what
	local text = call('GET', k)
	local at = digits(text or '')
	if text and not (at and at < FAR and call('PTTL', k) >= 0) then
		off('rate', 'full, with a life', function()
			at = at and at < FAR and at or now + HOUR
			call('SET', k, num(at), 'PX', num(math.max(1, math.ceil((at - now) / 1000) + 1)))
		end)
	end
end

local function hold(what)
	local text = call('HGET', PREFIX .. 'holds', what)
	local till, who = (text or ''):match('^(%d+) (%S*)')
	if text and not (what_valid(what) and digits(till)) then
		remove('hold', 'HDEL', 'holds', what)
	elseif text and who:find('/', 1, true) and digits(till) > now + HOUR + SECOND then
		off('hold', 'an hour at most', function()
			call('HSET', PREFIX .. 'holds', what, num(now + HOUR) .. text:match('^%d+(.*)$'))
		end)
	end
end

local function breaker(what)
	local text = call('HGET', PREFIX .. 'breaker', what)
	local b = text and breaker_read(text)
	if text and not (what_valid(what) and b and (b.state == 'closed' or breaker_stops(b))) then
		remove('breaker', 'HDEL', 'breaker', what)
	elseif b and b.till > now + BREAKER_FAR then
		off('breaker', 'tries now', function()
			b.till = now
			breaker_write(what, b)
		end)
	end
end

if verb == 'note' then
	first_write()
	call('XADD', PREFIX .. 'audit', 'MAXLEN', '~', 1000000, '*', 'verb', 'fsck', 'who', kind, 'a', name, 'b', '', 'c', '')
	return reply
end
return look({
	key = key, meta = meta, job = job_check, lost = lost, sub = sub, line = line, turn = turn, held = held, fly = fly,
	workers = worker, machines = machine, dead = dead, results = result, stuck = stuck, inerr = inerr, rate = rate,
	holds = hold, breaker = breaker, later = entry('later', {later = true}, FAR),
	close = entry('close', {close = true}, math.huge), exp = entry('exp', OPEN, FAR),
	unknown = entry('unknown', {unknown = true}, math.huge)
})
