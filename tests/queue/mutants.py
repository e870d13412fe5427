#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the scripts on purpose, one variant at a time, and asserts that the checker notices each.

Each mutant names who must catch it: 'check' (random runs, with its options), 'exhaust' (every fault in some scenes) or
'protocol' (tests of test_protocol*.py).
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

FREE = "	flight_leave(worker, id, token, now)\n	return {word, state, num(rev)}"
FAULTS = {'faults': .1, 'lost': .05}
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
         "	call('XDEL', PREFIX .. 'in', entry[1])\n	if x.offices then")], 'check', FAULTS),
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
         ""), ("	taken = taken + 1\n	reply", "	call('SADD', PREFIX .. 'held:' .. worker, id .. ' ' .. token)\n"
               "	call('SADD', PREFIX .. 'fly:' .. office, token)\n	taken = taken + 1\n	reply")], 'check', FAULTS),
    'reap drops the worker first': ([
        ("	if dead ~= worker and n < chunk then\n", "	if dead ~= worker and n < chunk then\n"
         "		call('ZREM', PREFIX .. 'workers', dead)\n")], 'check', FAULTS),
    'reap resends a begun House letter': ([
        ("	elseif why == '' then\n		why = 'unknown'\n	end\n	return where, due, reason(j, why, 1), fields",
         "	end\n	return where, due, why, fields")], 'check', {}),
    'settle frees first': ([
        ("elseif j.token ~= token then\n	return not_current()", "elseif j.token == token and j.worker == worker then\n"
         "	flight_leave(worker, id, token, now)\nelseif j.token ~= token then\n	return not_current()"),
        (FREE, "	return {word, state, num(rev)}")], 'check', FAULTS),
    'settle flips before the result': ([
        ("	result_add(state, rev, a)\n	local dead_id", "	local dead_id"),
        ("	call('ZREM', PREFIX .. 'exp', id)\n	rollup(sid, now)\n	return rev",
         "	result_add(state, rev, a)\n	call('ZREM', PREFIX .. 'exp', id)\n	rollup(sid, now)\n	return rev")], 'exhaust', ['settle rejected']),
    'a stale token settles': ([
        ("elseif j.token ~= token then\n	return not_current()\n", "")], 'protocol', ['test_settle_stale_and_duplicate']),
    'late answers are dropped': ([
        ("	local word = j['u:' .. token] and late_word(others)", "	local word = nil")], 'protocol', LATE),
    'a late acceptance is hidden by the next answer': ([
        ("	elseif begun and j.late and verb ~= 'conflict'", "	elseif false and verb ~= 'conflict'"),
        ("	if j.late then\n		return 'late'\n	end\n", "")], 'protocol', ['test_late_acceptance_during_another_post']),
    'cancel hides an unknown fate': ([
        ("	return claims and marks(j) + (more_marks or 0) > 0 and 'unknown' or why", "	return why")], 'protocol',
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
    'begin ignores holds': ([("if hold > now then\n	return {'HELD'", "if false then\n	return {'HELD'")], 'protocol',
                            ['test_begin_held']),
    'a reopened record keeps its life': ([("	sub_keep(x.sid)\n	call('HSET', key", "	call('HSET', key")], 'check', {}),
    'nothing ever expires': ([
        ("	if open + kept == 0 then\n		sub_retire", "	if false then\n		sub_retire")], 'check', {}),
    'dead records expire': ([("	if open + kept == 0 then\n", "	if open == 0 then\n")], 'check', {}),
    'no first write': ([
        ("	call('HDEL', META, '-')\n", "")], 'protocol', ['test_out_of_memory_drains']),
    'the chamber cell is not charged': ([
        ("			return cell_charge(LIMIT.chamber.key, chamber_at, LIMIT.chamber),", "			return '',")], 'protocol', ['test_gcra_window']),
    'the cap is off by one': ([("fly:' .. office) >= LIMIT.cap", "fly:' .. office) > LIMIT.cap")], 'check', {}),
    'the unknown mark is lost': ([
        ("		return done('OK', state, finish(state, answer, 'u:' .. token, j.begun_us))",
         "		return done('OK', state, finish(state, answer))")], 'protocol', LATE),
    'adopt marks as unknown': ([
        ("		fields = {'attempt', j.attempt - 1, 'rev'", "		fields = {'rev'")], 'protocol', ['test_adopt']),
}


def by_check(patch, options):
    server = rq.Server()
    o = Options()
    for name, value in options.items():
        setattr(o, name, value)
    try:
        sha = rq.load(server.r, inject=True, patch=patch)
        for seed in range(300, 325):
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
            for k in range(1, 1 + exhaust.run_one(server.r, sha, name, exhaust.COUNT)):
                try:
                    exhaust.run_one(server.r, sha, name, k)
                except Bad as e:
                    return '%s, command %d: %s' % (name, k, str(e)[:50])
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
    for name, (patch, who, what) in MUTANTS.items():
        caught = {'check': by_check, 'exhaust': by_exhaust, 'protocol': by_protocol}[who](patch, what)
        missed += caught is None
        print('%-50s %s' % (name, 'NOT CAUGHT' if caught is None else caught), flush=True)
    print('mutants: %d, not caught %d, %.0f s' % (len(MUTANTS), missed, time.time() - start))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
