-- SPDX-License-Identifier: Apache-2.0
-- FSCK, after fsck_jobs.lua and fsck_subs.lua: looks whether items of one kind are as PROTOCOL.md says, and mends what is off. For people,
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
-- machines, about: worker; is in `workers`                                             machine-left about-left
-- dead     entry id     the record's dead_id names it; a record is there                           dead-left dead-orphan
-- results  sid:office rev ms: the record's rev is not behind it (by more than a failed SETTLE)     rev-behind
-- rate     what         a time, at most 31 days ahead, with a life                                 rate
-- holds    what         `until_us who reason`; a worker's at most an hour ahead                    hold
-- breaker  what         as lib.lua reads it; closed, open or half; at most 38 hours ahead          breaker
-- inerr    entry id     is in `in`                                                                 inerr-left
-- stuck    entry id     what it copies is not in `in` any more                                     stuck-left
-- Any item at which the look itself fails (a wrong type inside): check-failed (left).

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

local function of_worker(who) -- machines, about
	if call('HGET', PREFIX .. kind, who) and not call('ZSCORE', PREFIX .. 'workers', who) then
		return kind == 'about' and remove('about-left', 'HDEL', kind, who) or remove('machine-left', 'HDEL', kind, who)
	end
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
	workers = worker, machines = of_worker, about = of_worker, dead = dead, results = result, stuck = stuck, inerr = inerr, rate = rate,
	holds = hold, breaker = breaker, later = entry('later', {later = true}, FAR),
	close = entry('close', {close = true}, math.huge), exp = entry('exp', OPEN, FAR),
	unknown = entry('unknown', {unknown = true}, math.huge)
})
