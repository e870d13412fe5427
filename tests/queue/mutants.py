#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the scripts on purpose, one variant at a time, and asserts that the checker notices each.

Each mutant names who must catch it: 'check' (random runs, with its options), 'exhaust' (every fault in some scenes) or
'protocol' (tests of test_protocol*.py).

  mutants.py [BEGINNING]     only those whose name begins so
"""
import io
import os
import sys
import time
import unittest

import case
import check
import exhaust
import rq
from invariants import Bad
from sim import Options

FLOW = "	flow_end(now, office, was_open and not OPEN[state], posted_us)\n	return {word, state, num(rev), unpack(moved)}"
FREE = "	flight_leave(worker, id, token, now)\n" + FLOW
ADOPT = "	return forsaken(j, office, token, j.why, policy, mine, now)\n"
FAULTS = {'faults': .1, 'lost': .05}
FORGOTTEN = {'forgotten': .4}
SICK = {'sick': True, 'steps': 1200}
SEEDS = range(300, 325)
LATE = ['test_late_acceptance_always_wins']

# name: (patches, who, options, scenes or tests)
MUTANTS = {
    'intake writes the record before its place': ([
        ("	place_add(id, where, score, x.not_before, now)\n	call('ZADD', PREFIX .. 'exp', num(x.expires), id)\n	if j then",
         "	if not j then\n		call('HSET', job_key(id), 'state', where, 'score', score, 'digest', x.digest, 'candidates', '',"
         " 'why', '', 'attempt', 0, 'crashes', 0, 'deliveries', 0, 'rev', 1, 'generation', '', 'token', '', 'last_token', '',"
         " 'worker', '', 'previous', '', 'first_us', num(now), 'expires_us', num(x.expires))\n	end\n"
         "	place_add(id, where, score, x.not_before, now)\n	call('ZADD', PREFIX .. 'exp', num(x.expires), id)\n	if j then")],
        'check', FAULTS),
    'intake deletes the entry first': ([
        ("	local x = entry_read(entry[2], now)\n	if x.offices then", "	local x = entry_read(entry[2], now)\n"
         "	call('XDEL', PREFIX .. 'in', entry[1])\n	if x.offices then")], 'check', {**FAULTS, 'seed': 304}),
    'other bytes for a known job do nothing': ([
        ("	elseif j.digest == x.digest or listed(", "	elseif true or listed(")], 'check', {}),
    'a duplicate becomes a candidate': ([
        ("	elseif j.digest == x.digest or listed(", "	elseif listed(")], 'protocol', ['test_duplicate_does_nothing']),
    'take leaves the line before it flips': ([
        ("	local j = job_read(id)\n	if j and j.state == 'wait' then\n		give(",
         "	local j = job_read(id)\n	call('ZREM', wait_key(office), sid)\n	if j and j.state == 'wait' then\n		give(")],
        'check', FAULTS),
    'take flips before held': ([
        ("	call('SADD', PREFIX .. 'held:' .. worker, id .. ' ' .. token)\n	call('SADD', PREFIX .. 'fly:' .. office, token)\n",
         ""), ("	reply[#reply + 1] = entry\n", "	call('SADD', PREFIX .. 'held:' .. worker, id .. ' ' .. token)\n"
               "	call('SADD', PREFIX .. 'fly:' .. office, token)\n	reply[#reply + 1] = entry\n")], 'check', {**FAULTS, 'seed': 307}),
    'a token is used twice': ([
        ("	taken = taken + 1 -- before all writes: what fails below may have left its token in `held` or `fly`\n"
         "	local token = take_id .. '.' .. taken\n", "	local token = take_id .. '.' .. (taken + 1)\n"),
        ("	reply[#reply + 1] = entry\n", "	taken = taken + 1\n	reply[#reply + 1] = entry\n")], 'exhaust', ['take two']),
    'reap drops the worker first': ([
        ("	if dead ~= worker and n < chunk then\n", "	if dead ~= worker and n < chunk then\n"
         "		call('ZREM', PREFIX .. 'workers', dead)\n")], 'check', FAULTS),
    'reap resends a begun House letter': ([
        ("	elseif why == '' then\n		why = 'unknown'\n	end\n	return 'later'", "	end\n	return 'later'")], 'protocol', ['test_begun_house']),
    'settle frees first': ([
        ("elseif j.token ~= token then\n	return not_current()", "elseif j.token == token and j.worker == worker then\n"
         "	flight_leave(worker, id, token, now)\nelseif j.token ~= token then\n	return not_current()"),
        (FREE, FLOW)], 'check', FAULTS),
    'settle flips before the result': ([
        ("	result_add(state, rev, a)\n	local dead_id", "	local dead_id"),
        ("	candidates_forget()\n	rollup(sid, now)\n	return rev",
         "	result_add(state, rev, a)\n	candidates_forget()\n	rollup(sid, now)\n	return rev")], 'exhaust', ['settle rejected']),
    'bytes of those that were passed over stay': ([("	candidates_forget()\n	rollup", "	rollup")], 'protocol',
                                                  ['test_bytes_of_those_that_were_passed_over']),
    'bytes that another office needs go': ([
        ("		if not used[digest] then\n			call('HDEL'", "		if true then\n			call('HDEL'")], 'exhaust', ['settle passes over']),
    'a stale token settles': ([
        ("elseif j.token ~= token then\n	return not_current()\n", "")], 'protocol', ['test_settle_stale_and_duplicate']),
    'late answers are dropped': ([
        ("	local word = j['u:' .. token] and late_word(others)", "	local word = nil")], 'protocol', LATE),
    'a late acceptance is hidden by the next answer': ([
        ("	elseif begun and j.late and verb ~= 'conflict'", "	elseif false and verb ~= 'conflict'"),
        ("	if j.late then\n		return 'late'\n	end\n", "")], 'protocol', ['test_late_acceptance_during_another_post']),
    'cancel hides an unknown fate': ([
        ("	return claims and doubt and 'unknown' or why", "	return why")], 'protocol',
        ['test_cancel_never_hides_an_unknown_fate']),
    'refund without compare-and-set': ([
        ("if after and call('GET', PREFIX .. key) == after then", "if after then")], 'protocol',
        ['test_refund_only_while_newest']),
    'refund by subtraction': ([
        ("if after and call('GET', PREFIX .. key) == after then", "if after then\n"
         "			before = num(tonumber(call('GET', PREFIX .. key)) - (after - before))")], 'protocol',
        ['test_refund_only_while_newest']),
    'begin ignores the generation': ([
        ("if not generation_fits() then", "if false then")], 'protocol', ['test_begin_generation']),
    'begin ignores holds': ([("if wait > 0 then\n	return {'HELD'", "if false then\n	return {'HELD'")], 'protocol',
                            ['test_begin_held']),
    'a reopened record keeps its life': ([("	sub_keep(x.sid, all)\n	call('HSET', key", "	call('HSET', key")], 'check', {}),
    'nothing ever expires': ([
        ("	if open + kept == 0 then\n		sub_retire", "	if false then\n		sub_retire")], 'check', {}),
    'dead records expire': ([("	if open + kept == 0 then\n", "	if open == 0 then\n")], 'check', {}),
    'no first write': ([
        ("	call('HDEL', key or META, '-')\n", "")], 'protocol', ['test_out_of_memory_drains']),
    'the chamber cell is not charged': ([
        ("			return cell_charge(LIMIT.chamber.key, chamber_at, LIMIT.chamber),", "			return '',")], 'protocol', ['test_gcra_window']),
    'the cap is off by one': ([("fly:' .. office) >= cap then", "fly:' .. office) > cap then")], 'check', {}),
    'the unknown mark is lost': ([
        ("		return done('OK', state, finish(state, answer, 'u:' .. token, j.begun_us))",
         "		return done('OK', state, finish(state, answer))")], 'protocol', LATE),
    'a breaker opens a fault too late': ([("RUN_MAX, SHARE_OF, WINDOW, OFFICES_MIN, OPEN_MAX = 5,",
                                           "RUN_MAX, SHARE_OF, WINDOW, OFFICES_MIN, OPEN_MAX = 6,")], 'check', SICK),
    'the share of faults is not looked at': ([(" or b.n >= SHARE_OF and", " or false and")], 'protocol', ['test_by_share']),
    'the share knows no minute': ([
        ("	if b.n == 0 or b.since > now or now - b.since >= WINDOW then\n		b.since,", "	if b.n == 0 then\n		b.since,")],
        'protocol', ['test_the_next_fault_begins_a_new_minute']),
    'one dead office stops its chamber': ([("(what == office and 1 or OFFICES_MIN)", "1")], 'protocol',
                                          ['test_one_dead_office_does_not_stop_it']),
    'offices of an earlier run count': ([("b.run, b.in_run, b.n = 0, '-', b.n + 1", "b.run, b.n = 0, b.n + 1")], 'protocol',
                                        ['test_the_run_of_offices_begins_anew']),
    'a good answer does not end the run': ([("b.run, b.in_run, b.n = 0, '-', b.n + 1", "b.n = b.n + 1")], 'check', SICK),
    'a good answer is not counted': ([("b.run, b.in_run, b.n = 0, '-', b.n + 1", "b.run, b.in_run = 0, '-'")], 'protocol',
                                     ['test_not_below_half']),
    'what says nothing is a fault': ([
        ("counts = begun and site ~= 0", "counts = begun\n	site = site == 0 and -1 or site")],
        'protocol', ['test_letter_faults_never_count']),
    'what says nothing is good': ([
        ("counts = begun and site ~= 0", "counts = begun\n	site = site == 0 and 1 or site")],
        'protocol', ['test_letter_faults_never_count']),
    'a job that was not begun counts': ([("counts = begun and site", "counts = site")], 'protocol',
                                        ['test_counts_only_what_was_begun_under_its_token']),
    'a repeated settle counts again': ([
        ("	counts = begun and site ~= 0\n", "	if begun and site ~= 0 then\n		breakers()\n	end\n")],
        'protocol', ['test_a_settle_that_fails_counts_at_most_once']),
    'any answer moves an open breaker': ([("if b.token == token and enough then -- only", "if enough then -- only")], 'protocol',
                                         ['test_while_open_only_the_probe_counts']),
    'each worker has a probe': ([
        ("b.state == 'half' and call('HGET', job_key(b.id), 'token') == b.token", "false")], 'protocol',
        ['test_exactly_one_probe_in_the_fleet']),
    'a probe is never replaced': ([
        ("b.state == 'half' and call('HGET', job_key(b.id), 'token') == b.token", "b.state == 'half'")], 'exhaust', ['probe silent']),
    'the chamber gives more than its probe': ([("			chamber_gate, chamber_probe = now + LOOK, false\n", "")], 'protocol',
                                              ['test_its_probe']),
    'a breaker opens for the same time each time': ([("open_us * math.min(2 ^ b.opens, OPEN_MAX)", "open_us")], 'protocol',
                                                    ['test_open_time_grows_and_is_capped']),
    'the time of a breaker has no end': ([("math.min(2 ^ b.opens, OPEN_MAX)", "2 ^ b.opens")], 'protocol',
                                         ['test_open_time_grows_and_is_capped']),
    'begin ignores breakers': ([("if breaker_stops(b) and b.token ~= token then", "if false then")], 'protocol',
                               ['test_only_the_probe_begins']),
    'a hold keeps a POST that has left from the record': ([("local wait = sent and 0 or held()", "local wait = held()")], 'protocol',
                                                          ['test_begin_of_a_post_that_has_left']),
    'begin holds the probe': ([("if breaker_stops(b) and b.token ~= token then", "if breaker_stops(b) then")], 'protocol', ['test_good']),
    'resume leaves the breaker': ([(", call('HDEL', PREFIX .. 'breaker', a))", ", 0)")], 'protocol', ['test_resume_closes']),
    'an office that fails keeps its cap': ([("b and b.run > 0 and math.min(LIMIT.cap, 1) or LIMIT.cap", "LIMIT.cap")], 'check', SICK),
    'the slack is twice as large': ([("	return at - limit.slack", "	return at - 2 * limit.slack")], 'check', {'seed': 320}),
    'a late take loses its cell': ([("	return clamp(at, now, most)", "	return clamp(at, now + limit.slack, most)")], 'protocol',
                                   ['test_lateness_within_the_slack_loses_nothing']),
    'the slack is not used': ([("	return at - limit.slack", "	return at")], 'protocol', ['test_lateness_within_the_slack_loses_nothing']),
    'take ignores its own lease': ([("elseif tonumber(lease) <= tonumber(ARGV[5]) then", "elseif false then")], 'check', {}),
    'take ignores that it is closed': ([("if open and wanted > 0 then", "if wanted > 0 then")], 'check', {}),
    'any worker of the name is taken over': ([("if machine == '' or call('HGET', MACHINES, who) ~= machine then", "if false then")],
                                             'protocol', ['test_not_without_the_same_machine']),
    'no machine is a machine': ([("if machine == '' or call('HGET', MACHINES, who) ~= machine then",
                                  "if (call('HGET', MACHINES, who) or '') ~= machine then")], 'protocol', ['test_not_without_the_same_machine']),
    'nobody is taken over': ([("if machine == '' or call('HGET'", "if true or call('HGET'")], 'protocol', ['test_takeover']),
    'leave forgets the machine': ([("	call('HDEL', MACHINES, worker)\n", "")], 'protocol', ['test_names_do_not_leak']),
    'reap forgets the machine': ([("			call('HDEL', PREFIX .. 'machines', dead)\n", "")], 'check', {}),
    'a lease that was ended is renewed': ([("or ENDED) == ENDED then", "or 0) == 0 then")], 'protocol',
                                          ['test_what_was_still_under_way_does_nothing']),
    'a late dead teaches nothing': ([("	elseif dead or verb == 'retry'", "	elseif verb == 'retry'")], 'protocol', ['test_late_dead']),
    'adopt forgets that it was begun': ([(ADOPT, "	return 'wait', now, reason(j, j.why), {}\n")], 'protocol', ['test_adopt']),
    'adopt forgets that it was begun, at random': ([(ADOPT, "	return 'wait', now, reason(j, j.why), {}\n")], 'check', {**FORGOTTEN, 'seed': 306}),
    'adopt has no policy': ([("fate_policy(ARGV[3], ARGV[4], ARGV[5])", "fate_policy(0, '0', '0')")], 'protocol', ['test_adopt_policy']),
    'adopt counts a crash': ([
        (ADOPT, "	local a, b, c, d = forsaken(j, office, token, j.why, policy, mine, now)\n	table.insert(d, 'crashes')\n"
         "	table.insert(d, j.crashes + 1)\n	return a, b, c, d\n")], 'protocol', ['test_adopt_is_no_crash']),
    'the policy is that of the other chamber': ([
        ("	if policy[chamber_of(office)] then", "	if policy[chamber_of(office) == 'house' and 'senate' or 'house'] then")],
        'protocol', ['test_adopt_policy']),
    'what nobody answers for leaves no mark': ([("'u:' .. token, j.begun_us, 'last', 'no_answer',", "'last', 'no_answer',")], 'check', FORGOTTEN),
    'what may be under way is sent again at once': ([("clamp(j.begun_us + policy.after, now, now", "clamp(now, now, now")],
                                                    'protocol', ['test_adopt_policy']),
    'a wrong clock buries what is sent again': ([("clamp(j.begun_us + policy.after, now, now + LIFE + DAY)",
                                                  "math.max(j.begun_us + policy.after, now)")], 'protocol',
                                                ['test_no_clock_buries_what_is_sent_again']),
    'no answer without a breaker counts': ([("	if not text and (site > 0 or open_us == 0) then", "	if not text then")], 'check', SICK),
    'a late answer forgets its mark first': ([
        ("	j.rev = j.rev + 1\n	result_add('late'", "	call('HDEL', job_key(id), 'u:' .. token)\n	j.rev = j.rev + 1\n	result_add('late'")],
        'protocol', ['test_late_acceptance_that_fails_is_not_lost']),
    'the POST that ends as unknown is no doubt': ([
        ("attempted('later', due, 1, 1, 'u:'", "attempted('later', due, 1, 0, 'u:'")], 'protocol',
        ['test_the_post_that_ends_as_unknown_is_a_doubt']),
    'a late rejection decides a challenge': ([
        ("others == 0 and not j.late and j.previous == '' and (waits", "others == 0 and not j.late and (waits")], 'protocol',
        ['test_late_rejection_does_not_decide_a_challenge']),
    'a lease ends before it is known whether it may': ([
        ("			gone[#gone + 1] = who\n", "			call('ZADD', WORKERS, ENDED, who)\n")], 'protocol',
        ['test_nor_does_that_of_one_that_comes_first']),
    'a newer version renews the lease': ([
        ("local theirs = tonumber(", "if verb == 'beat' then\n	call('ZADD', WORKERS, num(now + lease), worker)\nend\nlocal theirs = tonumber(")],
        'protocol', ['test_version']),
    'a repeated intake counts again': ([
        ("came[office:sub(1, 1)] = (came[office:sub(1, 1)] or 0) + 1\n", "\n"),
        ("	local room = not wanted or sub_add(x, now)\n", "	local room = not wanted or sub_add(x, now)\n	came[x.offices[1]:sub(1, 1)] = 1\n")],
        'protocol', ['test_what_comes_twice_is_counted_once', 'test_what_came_and_what_ended']),
    'the flow may break a script': ([
        ("	pcall(function()\n		local minute", "	local _ = (function(f) f() end)(function()\n		local minute")], 'protocol',
        ['test_a_flow_that_cannot_be_written_costs_nothing']),
    'old minutes stay': ([("if at < minute - FLOW_KEEP or at > minute then", "if at > minute then")], 'protocol', ['test_old_minutes_go']),
    'minutes to come stay': ([("or at > minute then", "then")], 'protocol', ['test_a_clock_that_steps_back']),
    'held letters are for more workers': ([("	if why then\n		more(chamber, 'held', n)", "	goes = n\n	if why then\n		more(chamber, 'held', n)")],
                                          'protocol', ['test_by_cause']),
    'held letters wait for workers': ([("free and now - first or 0", "now - first")], 'protocol', ['test_oldest_that_nothing_holds']),
    'the rate is not looked at': ([("	if period <= 0 then", "	if true then")], 'protocol', ['test_rate_of_a_chamber', 'test_rate_of_an_office']),
    'two publish': ([("elseif at ~= ARGV[3] then", "elseif false then")], 'protocol', ['test_publish']),
    'anybody publishes': ([("	if speaker ~= who then\n		return {'LOST'", "	if false then\n		return {'LOST'")], 'protocol', ['test_publish']),
    'only a join publishes': ([("if #ARGV > 6 then", "if verb == 'join' and #ARGV > 6 then")], 'protocol', ['test_beat_publishes']),
    'who is no member publishes': ([
        ("elseif tonumber(call('ZSCORE', WORKERS, worker)", "elseif #ARGV < 7 and tonumber(call('ZSCORE', WORKERS, worker)")], 'protocol',
        ['test_beat_publishes']),
    'a POST that has left is refused as cancelled': ([
        ("if not sent and (j.why == 'cancelled' or j.why", "if (j.why == 'cancelled' and not sent or j.why")], 'protocol',
        ['test_a_post_that_has_left_is_recorded_although_it_was_to_be_cancelled']),
    'a POST that has left is refused by its why': ([
        ("elseif not sent and j.why ~= ''", "elseif j.why ~= ''")], 'protocol',
        ['test_a_post_that_has_left_is_recorded_although_it_was_to_be_cancelled']),
    'a challenge is cancelled by an old wish': ([
        ("'crashes', 0, 'cancelled', '', 'opened_us', num(now), 'previous'", "'crashes', 0, 'opened_us', num(now), 'previous'")],
        'protocol', ['test_a_challenge_forgets_that_its_letter_was_cancelled']),
    'late not taken leaves no expiry': ([
        ("		call('ZADD', PREFIX .. 'exp', 'NX', j.expires_us, id) -- gone", "		local _ = 0 -- gone")], 'protocol',
        ['test_late_not_taken_leaves_an_expiry']),
    'late not taken leaves it in the hands of a worker': ([
        ("j.why == 'unknown' and (j.state == 'close' or j.state == 'taken')", "j.why == 'unknown' and j.state == 'close'")], 'protocol',
        ['test_late_not_taken_while_a_worker_ends_it']),
    'a deferred one that expired leaves no expiry': ([
        ("		call('ZADD', PREFIX .. 'exp', num(clamp(due, now, now + LIFE) + SECOND), id)\n", "")], 'protocol',
        ['test_defer_leaves_an_expiry']),
    'what nobody may know has no pace': ([("	if answer.detail ~= '' then -- its name", "	if false then -- its name")], 'protocol',
                                         ['test_a_flood_that_nobody_knows_keeps_no_letter_back']),
    'what is early has that pace, too': ([("	if answer.detail ~= '' then -- its name", "	if true then -- its name")], 'protocol',
                                         ['test_that_pace_is_not_for_what_is_early']),
    'that pace has no end': ([("digits(call('GET', key) or '') or 0, now, now + PACE_MOST)", "digits(call('GET', key) or '') or 0, now, now + DAY)")],
                             'protocol', ['test_that_pace_after_a_clock_that_stepped_back']),
    'what decides nothing is said again and unknown': ([("	call('HSET', job_key(id), 'heard', token)\n", "")], 'protocol',
                                                       ['test_what_decides_nothing_is_said_again']),
    'live shortens the life of the record': ([
        ("	local keep = j.generation ~= '' and math.max(due, tonumber(j.expires_us)) or due", "	local keep = due")], 'protocol',
        ['test_live_does_not_shorten_the_records_life']),
    'a replay keeps its age': ([("		'dead_id', '', 'cancelled', '', 'opened_us', num(now))", "		'dead_id', '', 'cancelled', '')")],
                               'protocol', ['test_replay_counts_its_age_anew']),
    'a minute that begins in the future': ([
        ("	if b.n == 0 or b.since > now or now - b.since >= WINDOW then", "	if b.n == 0 or now - b.since >= WINDOW then")],
        'protocol', ['test_a_clock_that_stepped_back_begins_a_new_minute']),
    'resolve meets any doubt': ([("(want_rev == '' or want_rev == j.rev) and", "true and")], 'protocol', ['test_one_doubt_only']),
    'a worker asks for more and shortens': ([
        ("		if hold_until(a) >= digits(b) then", "		if hold_until(a) >= digits(ARGV[4]) then")], 'protocol',
        ['test_nor_by_asking_for_more_than_it_may']),
    'a shorter hold does not wake': ([("	if office_valid(a) then -- its turn may", "	if false then -- its turn may")], 'protocol',
                                     ['test_a_hold_that_is_shortened_wakes']),
    'a challenge waits for an unsigned time': ([("	local unseen = j.previous ~= '' or ", "	local unseen = ")], 'protocol',
                                               ['test_nor_that_of_a_challenge']),
    'other bytes bring forward what was put off': ([("	if j.state == 'later' and unseen and", "	if j.state == 'later' and")],
                                                  'protocol', ['test_what_a_worker_put_off_stays_put_off']),
    'a dead office keeps its chamber shut': ([("b.token == token and site < 0 and what ~= office and own_down", "false")], 'protocol',
                                             ['test_a_dead_office_does_not_keep_it_shut']),
    'dead offices are never enough': ([("b.in_run, enough = offices_add(b.in_run, what)\n			breaker", "enough = false\n			breaker")],
                                      'protocol', ['test_three_dead_offices_do']),
    'any probe of its chamber is forgiven': ([("b.token == token and site < 0 and what ~= office and own_down", "b.token == token and site < 0 and what ~= office")],
                                             'check', SICK),
    'a breaker outlives its switch': ([("	if open_us == 0 then -- switched", "	if open_us < 0 then -- switched")], 'protocol',
                                      ['test_without_an_open_time_those_that_stand_go']),
    'a refused one leaves flight first': ([
        ("	if verb == 'refused' or not j then -- no", "	if verb == 'refused' then\n		flight_leave(worker, id, token, now)\n	end\n"
         "	if verb == 'refused' or not j then -- no")], 'protocol', ['test_nothing_is_left_by_one_that_failed']),
    'what ends unsent keeps its cell': ([("	unspent = not begun\n", "	unspent = not begun and verb ~= 'end'\n")], 'protocol',
                                        ['test_what_ends_unsent_gives_its_cell_back']),
    'a cell comes back before the flip': ([
        ("	if unspent then\n		refund()\n	end\n	flight_leave", "	flight_leave"),
        ("	unspent = not begun\n", "	if not begun then\n		refund()\n	end\n")], 'protocol',
        ['test_a_settle_that_fails_gives_nothing_back_twice']),
    'live, defer and other bytes forget that it was cancelled': ([
        ("	return j.why ~= 'expired' and j.why or j.cancelled == '1' and 'cancelled' or ''", "	return j.why ~= 'expired' and j.why or ''")],
        'protocol', ['test_what_has_not_expired_after_all_and_is_to_be_cancelled']),
    'a doubt that is gone stays one': ([("	if why == 'unknown' and j.cancelled == '1' and not doubt then", "	if false then")],
                                      'protocol', ['test_cancelled_when_the_last_doubt_is_gone']),
    'the close lane has all': ([("close_lane(math.floor((wanted + tonumber(redis.sha1hex(take_id):sub(1, 1), 16) % 2) / 2))",
                                 "close_lane(wanted)")], 'protocol', ['test_the_close_lane_and_letters_share']),
    'the close lane has what letters leave': ([
        ("close_lane(math.floor((wanted + tonumber(redis.sha1hex(take_id):sub(1, 1), 16) % 2) / 2))", "close_lane(0)")], 'protocol',
        ['test_the_close_lane_and_letters_share']),
    'the close lane has never more than its half': ([("	close_lane(wanted - taken)\n", "")], 'protocol',
                                                    ['test_the_close_lane_and_letters_share']),
    'a life that counts from the repeat': ([("math.max(expires_us, math.min(ended_us, now + DAY)) + DAY", "math.max(expires_us, now) + DAY")],
                                           'protocol', ['test_a_repeat_does_not_change_it']),
    'a life that is over when it begins': ([("(till > now and till or now + DAY)", "till")], 'protocol',
                                           ['test_a_challenge_that_is_refused_after_all_has_expired']),
    'a record without its summary expires': ([("	sub_keep(x.sid, all)\n", "	sub_keep(x.sid)\n")], 'protocol',
                                             ['test_a_record_without_its_summary_is_kept_too']),
    'an acceptance that is said again is unknown': ([("j.last_token == token or j.late == token or j.heard == token", "j.last_token == token")],
                                                    'protocol', ['test_late_acceptance_is_said_again']),
    'a refused challenge leaves a wish to cancel': ([("		'why', '', 'cancelled', '', 'cell_chamber'", "		'why', '', 'cell_chamber'")],
                                                   'protocol', ['test_a_refused_challenge_leaves_no_wish_to_cancel']),
    'an order finds the process that comes after': ([("	call('HDEL', DRAIN, name_of(worker))\n", "	local _ = 0\n")],
                                                    'protocol', ['test_a_new_process_is_free']),
    'a process that comes again is free': ([("if verb == 'join' and not call('ZSCORE'", "if joins and not call('ZSCORE'")],
                                           'protocol', ['test_the_same_process_is_not']),
    'who may not join ends an order': ([("if joins then\n	local who", "if joins then\n	call('HDEL', DRAIN, name_of(worker))\n	local who")],
                                       'protocol', ['test_one_that_may_not_join_is_none']),
    'an order that cannot be read costs a lease': ([
        ("	local ok, order = pcall(call, 'HGET', DRAIN, name_of(worker))", "	local ok, order = true, call('HGET', DRAIN, name_of(worker))")],
        'protocol', ['test_a_key_of_another_type_costs_nobody_its_lease']),
    'any boot of the name is meant': ([("		if worker == a or a == name and of == name then", "		if of == name then"),
                                       ("	if a ~= name and newest ~= a then", "	if false then")], 'protocol', ['test_one_boot']),
    'who follows a boot is meant': ([("	if a ~= name and newest ~= a then", "	if false then")], 'protocol',
                                    ['test_another_process_has_the_name']),
    'a join that is said again ends an order': ([("if verb == 'join' and not call('ZSCORE', WORKERS, worker) then", "if verb == 'join' then")],
                                                'protocol', ['test_a_join_that_is_said_again']),
    'orders are kept for ever': ([("	orders_forget(members)\n", "")], 'protocol', ['test_old_orders_go']),
    'orders of those that are there are forgotten': ([("		if not members[flat[i]] and not (at", "		if not (at")], 'protocol',
                                                     ['test_old_orders_go']),
    'leave is still talked about': ([("	call('HDEL', ABOUT, worker)\n", "")], 'exhaust', ['beat leave']),
    'who was reaped is still talked about': ([("			call('HDEL', PREFIX .. 'about', dead)\n", "")], 'protocol',
                                             ['test_what_a_worker_says_of_itself_goes_with_it']),
    'an import knows better': ([("if j then\n	first_write()\n	rollup(sid, now) -- what", "if false then\n	first_write()\n	rollup(sid, now) -- what"),
                                ("if shown then\n", "if false then\n")], 'protocol', ['test_twice']),
    'an import passes over what the submission shows': ([("if shown then\n", "if false then\n")], 'protocol',
                                                        ['test_a_record_that_is_lost_alone']),
    'an import fixes an empty DeliveryId': ([("		elseif value ~= '' then\n", "		else\n")], 'protocol', ['test_one_that_never_began']),
    'the oldest is the head of the line': ([("	for _ = 1, math.min(n, 3) do\n", "	for _ = 1, 1 do\n")], 'protocol',
                                           ['test_oldest_behind_high_priority']),
    'depth counts a letter in two causes': ([("	more(chamber, 'held_' .. why, n)\n", "	more(chamber, 'held_' .. why, n + 1)\n")], 'check', {}),
    'depth forgets what a limit keeps': ([("	c.held_rate = math.max(0, math.floor(free)", "	c.held_rate = math.max(0, 0 * math.floor(free)")],
                                         'check', {}),
    'what is published stays ahead': ([("(last < now or last > now + SKEW) and now", "last < now and now")], 'protocol',
                                      ['test_a_clock_that_steps_back_far']),
    'an import that failed leaves the summary': ([("	first_write()\n	rollup(sid, now) -- what an", "	local _ = 0 -- what an")], 'protocol',
                                                 ['test_each_command_fails']),
    'an import forgets the bytes': ([("		call('HSET', sub_key(sid), 'j:' .. digest, job)\n", "")], 'protocol',
                                    ['test_the_bytes_come_along']),
    'an import forgets what is in doubt': ([("		flat[#flat + 1] = 'u:import.' .. n\n		flat[#flat + 1] = begun_us\n", "")], 'protocol',
                                           ['test_of_unknown_fate']),
}


def by_check(patch, options):
    server = rq.Server()
    o = Options()
    for name, value in options.items():
        setattr(o, name, value)
    try:
        sha = rq.load(server.r, inject=True, patch=patch)
        # With the one that found it last time: others find it, too, or did before the scripts were changed.
        for seed in dict.fromkeys((options.get('seed', SEEDS[0]), *SEEDS)):
            try:
                check.run(server.r, sha, seed, o)
            except Bad as e:
                return 'seed %d: %s' % (seed, str(e)[:60])
    finally:
        server.stop()
    return None


def by_exhaust(patch, scenes):
    server = rq.Server()
    try:
        sha = rq.load(server.r, inject=True, patch=patch)
        for name in scenes:
            k, n = exhaust.COUNT, 0  # first without a failure, which counts the commands
            while k == exhaust.COUNT or k <= n:
                try:
                    n = max(n, exhaust.run_one(server.r, sha, name, k))
                except Bad as e:
                    return '%s, command %d: %s' % (name, k, str(e)[:50])
                k = k % exhaust.COUNT + 1
    finally:
        server.stop()
    return None


def cases(suite):
    for t in suite:
        yield from cases(t) if isinstance(t, unittest.TestSuite) else [t]


def by_protocol(patch, tests):
    case.PATCH[:] = patch
    try:
        every = unittest.defaultTestLoader.discover(os.path.dirname(os.path.abspath(__file__)), 'test_protocol*.py')
        suite = unittest.TestSuite(t for t in cases(every) if t.id().split('.')[-1] in tests)
        assert suite.countTestCases() == len(tests), tests
        result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    finally:
        case.PATCH.clear()
    return None if result.wasSuccessful() else (result.failures + result.errors)[0][0].id().split('.')[-1]


def main():
    missed, start = 0, time.time()
    texts = [rq.source(name) for name in rq.SCRIPTS]
    for name, (patch, _, _) in MUTANTS.items():
        for old, _ in patch:
            assert any(old in text for text in texts), '%s: the patch does not apply: %s' % (name, old)
    for name, (patch, who, what) in MUTANTS.items():
        if len(sys.argv) > 1 and not name.startswith(sys.argv[1]):
            continue
        caught = {'check': by_check, 'exhaust': by_exhaust, 'protocol': by_protocol}[who](patch, what)
        missed += caught is None
        print('%-50s %s' % (name, 'NOT CAUGHT' if caught is None else caught), flush=True)
    print('mutants: %d, not caught %d, %.0f s' % (len(MUTANTS), missed, time.time() - start))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
