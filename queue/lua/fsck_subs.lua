-- SPDX-License-Identifier: Apache-2.0
-- FSCK of keys and of submissions: the part of FSCK between fsck_jobs.lua and fsck.lua, where all is explained.

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
	machines = 'hash', about = 'hash', drain = 'hash', flow = 'hash', limits = 'hash', scale = 'hash', scaler = 'string', later = 'zset', close = 'zset', exp = 'zset', unknown = 'zset', workers = 'zset',
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
		return (what_valid(tail) or tail == 'look') and 'string' or nil
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
