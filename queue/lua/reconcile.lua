-- SPDX-License-Identifier: Apache-2.0
-- RECONCILE: what the queue knows of submissions, for who has a list of them. Writes nothing.
-- ARGV records sid[:office,office]... -> for each: [office, state, outcome, rev, digests, ...]; of the offices that the
--   submission has, and of those named. digests: those that the record names, with commas between.
-- ARGV page in|stuck|refused|results after count -> [last id, sid, offices, digest, word, ...]: entries behind `after`
--   ('-': from the first; '' as last id: no more). word: state and outcome of a result, `why` of a refusal, else ''.

local verb, stream, after, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function office_row(row, id, office)
	local fields = call('HMGET', job_key(id), 'state', 'outcome', 'rev', 'digest', 'candidates', 'previous_digest',
		'previous')
	local state, outcome, rev, digest, candidates, previous_digest, previous = unpack(fields)
	if not state then
		return
	end
	local all = {digest or ''}
	for _, more in ipairs({candidates or '', previous_digest or ''}) do
		all[#all + 1] = more ~= '' and more or nil
	end
	local final = FINAL[state] or (previous or '') ~= ''
	for _, x in ipairs({office, state, final and outcome or '', rev or '0', table.concat(all, ',')}) do
		row[#row + 1] = x
	end
end

local function records()
	local reply = {}
	for i = 2, #ARGV do
		local sid, named = ARGV[i]:match('^([^:]+):?(.*)$')
		local row, seen = {}, {}
		for office in ((call('HGET', sub_key(sid), 'offices') or '') .. ',' .. named):gmatch('[^,]+') do
			if not seen[office] then
				seen[office] = true
				office_row(row, sid .. ':' .. office, office)
			end
		end
		reply[#reply + 1] = row
	end
	return reply
end

local function page()
	local reply = {''}
	for _, entry in ipairs(call('XRANGE', PREFIX .. stream, after == '-' and '-' or '(' .. after, '+', 'COUNT', count)) do
		local f = {}
		for i = 1, #entry[2], 2 do
			f[entry[2][i]] = f[entry[2][i]] or entry[2][i + 1]
		end
		local word = stream == 'results' and (f.state or '') .. ' ' .. (f.outcome or '') or stream == 'refused' and f.why or ''
		reply[1] = entry[1]
		for _, x in ipairs({f.sid or '', f.offices or f.office or '', f.job and redis.sha1hex(f.job) or f.digest or '', word}) do
			reply[#reply + 1] = x:sub(1, 128)
		end
	end
	return reply
end

local PAGES = {['in'] = true, stuck = true, refused = true, results = true}
if verb == 'records' then
	return records()
end
return verb == 'page' and PAGES[stream] and page() or redis.error_reply('RECONCILE bad verb')
