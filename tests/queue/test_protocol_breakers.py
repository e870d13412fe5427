#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per rule of PROTOCOL.md, section 8: breakers."""
import unittest

import rq
from case import DAY, HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server
HOUSE3 = 'HNY10'
FIRST = 30 * SECOND  # how long a breaker stays open at first; the tests begin at a full second, so without jitter


class BreakerCase(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.n = 0

    def letter(self, office=HOUSE):
        self.n += 1
        self.add('s%03d' % self.n, office)
        return 's%03d' % self.n

    def begin_one(self, office=HOUSE, worker='w/1'):
        """A letter of this office, begun."""
        sid = self.letter(office)
        got = self.take('house' if office[0] == 'H' else 'senate', worker=worker)
        self.assertEqual([i['sid'] for i in got], [sid])
        self.assertEqual(self.begin(got[0], worker=worker)[0], 'GO')
        return got[0]

    def answer(self, i, site, worker='w/1', **kw):
        """SETTLE with what the attempt says of the receiver. Returns the breakers that it moved."""
        reply = self.settle(i, 'end', 'rejected', 'x', site=site, worker=worker, **kw)
        self.assertEqual(reply[0], 'OK')
        return reply[3:]

    def attempt(self, site, office=HOUSE, **kw):
        return self.answer(self.begin_one(office), site, **kw)

    def attempts(self, sites, *offices):
        """Each on the next office; none may move a breaker."""
        offices = offices or (HOUSE,)
        for k, site in enumerate(sites):
            self.assertEqual(self.attempt(site, offices[k % len(offices)]), [], k)

    def opened(self, office=HOUSE):
        """The office's breaker is open."""
        self.attempts([-1] * 4, office)
        moved = self.attempt(-1, office)
        self.assertEqual(moved, [office, 'open', str(self.now + FIRST)])

    def opened_chamber(self):
        self.attempts([-1] * 4, HOUSE, HOUSE2)
        self.assertEqual(self.attempt(-1, HOUSE3), ['house', 'open', str(self.now + FIRST)])

    def breaker(self, what=HOUSE):
        return (self.r('HGET', '{q}:breaker', what) or 'none').split(' ')

    def probe(self, chamber='house', worker='w/1', **kw):
        """The one letter that TAKE gives."""
        got = self.take(chamber, worker=worker, **kw)
        self.assertEqual(len(got), 1)
        return got[0]


class Opening(BreakerCase):
    def test_nothing_is_kept_of_good_answers(self):
        self.attempts([1] * 3 + [0] * 3)
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_without_an_open_time_those_that_stand_go(self):
        """Breakers were switched off: any counted answer ends them."""
        self.opened()
        self.letter()
        self.tick(FIRST)
        i = self.probe()
        self.begin(i)
        self.assertEqual(self.answer(i, -1, open_us=0), [HOUSE, 'closed', '0'])
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_none_without_an_open_time(self):
        for _ in range(9):
            self.assertEqual(self.attempt(-1, open_us=0), [])
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_by_run(self):
        self.opened()
        self.assertEqual(self.breaker()[:3], ['open', '1', str(START + FIRST)])
        self.letter(HOUSE)
        self.letter(HOUSE2)
        self.assertEqual([i['office'] for i in self.take()], [HOUSE2])

    def test_a_good_answer_ends_the_run(self):
        self.attempts([-1] * 4 + [1] + [-1] * 4)
        self.assertEqual(self.attempt(-1)[1], 'open')

    def test_a_run_knows_no_time(self):
        for _ in range(4):
            self.attempts([-1])
            self.tick(200 * SECOND)
            self.call('beat', 'w/1', 300 * SECOND, 'beat', self.now, 1)
        self.assertEqual(self.attempt(-1)[1], 'open')

    def test_by_share(self):
        """The 20th answer is a good one, the 21st makes it 11 faults of 21."""
        self.attempts([-1, 1] * 10)
        self.assertEqual(self.attempt(-1)[:2], [HOUSE, 'open'])

    def test_not_below_half(self):
        self.attempts([-1, 1, 1] * 25)

    def test_not_over_more_than_a_minute(self):
        for _ in range(30):
            self.attempts([-1])
            self.tick(4 * SECOND)
            self.attempts([1])
            self.tick(4 * SECOND)

    def test_the_next_fault_begins_a_new_minute(self):
        self.attempts([-1, 1] * 9 + [1])
        self.tick(60 * SECOND)
        self.attempts([-1])
        self.assertEqual(self.breaker()[5:7], ['1', '1'])

    def test_a_clock_that_stepped_back_begins_a_new_minute(self):
        """Or nothing would be forgotten until it has caught up."""
        for site, counted in ((-1, ['1', '1']), (1, [])):
            self.r('HSET', '{q}:breaker', HOUSE, 'closed 0 0 1 %d 19 10 - - %s %s' % (self.now + SECOND, HOUSE, HOUSE))
            self.attempts([site])
            self.assertEqual(self.breaker()[5:7], counted)

    def test_after_the_minute_a_good_answer_leaves_nothing(self):
        self.attempts([-1, 1])
        self.assertEqual(self.breaker()[0], 'closed')
        self.tick(60 * SECOND)
        self.attempts([1])
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_letter_faults_never_count(self):
        self.attempts([0] * 30)
        self.attempts([-1] * 4 + [0] * 30)
        self.assertEqual(self.attempt(-1)[1], 'open')

    def test_counts_only_what_was_begun_under_its_token(self):
        for _ in range(9):
            self.letter()
            i = self.take()[0]
            self.settle(i, 'release', site=-1)
            i = self.take()[0]
            self.settle(dict(i, token='x'), 'end', 'rejected', site=-1)
            self.settle(i, 'end', 'rejected', site=-1)
            self.settle(i, 'end', 'rejected', site=-1)
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_a_repeat_counts_once(self):
        i = self.begin_one()
        self.answer(i, -1)
        for _ in range(9):
            self.assertEqual(self.settle(i, 'end', 'rejected', 'x', site=-1), ['DUP', 'rejected', '3'])
        self.assertEqual(self.breaker()[3], '1')

    def test_a_settle_that_fails_counts_at_most_once(self):
        """Each command of it fails once; the worker says it again."""
        for k in range(1, 30):
            self.r('DEL', '{q}:breaker')
            i = self.begin_one()
            args = ['w/1', i['sid'], i['office'], i['token'], 'end', 'rejected', 'x', 'c', 0, '', 0, 0, self.now, 0, 'R', 'A', -1, -1, FIRST]
            try:
                self.r('EVALSHA', self.sha['settle'], 1, rq.META, *args, k)
            except rq.RedisError:
                self.assertIn(self.call('settle', *args)[0], ('OK', 'DUP'))
            else:
                return
            self.assertIn(self.breaker()[3:4], ([], ['1']), k)
            self.assertIn(self.breaker('house')[3:4], ([], ['1']), k)
        self.fail('no end of commands')

    def test_a_late_answer_does_not_count(self):
        i = self.begin_one(SENATE)
        self.settle(i, 'unknown', due=self.now + DAY)
        self.assertEqual(self.settle(i, 'retry', site=-1)[0], 'LATE')
        self.assertEqual(self.r('EXISTS', '{q}:breaker'), 0)

    def test_any_verb_counts(self):
        for verb in ('retry', 'unknown', 'throttled', 'not_sent', 'conflict'):
            i = self.begin_one(SENATE)
            reply = self.settle(i, verb, site=-1, due=self.now + DAY)
            if verb == 'not_sent':
                self.settle(self.take('senate')[0], 'end', 'rejected')
        self.assertEqual(reply[3:5], [SENATE, 'open'])

    def test_jitter_is_at_most_a_quarter(self):
        self.tick(999_999)
        self.attempts([-1] * 4)
        until = int(self.attempt(-1)[2])
        self.assertGreater(until, self.now + FIRST * 1.249)
        self.assertLess(until, self.now + FIRST * 1.25)

    def test_what_nobody_can_read_is_closed(self):
        self.r('HSET', '{q}:breaker', HOUSE, 'junk', 'house', '')
        self.attempts([-1] * 4)
        self.assertEqual(self.attempt(-1)[1], 'open')


class HalfOpen(BreakerCase):
    def setUp(self):
        super().setUp()
        self.join('v/1')
        self.opened()
        self.sids = [self.letter() for _ in range(4)]

    def half(self, worker='w/1'):
        self.tick(int(self.breaker()[2]) - self.now)
        return self.probe(worker=worker)

    def test_nothing_before_its_time(self):
        self.tick(FIRST - 1)
        self.assertEqual(self.take_raw(), ['1', 0])
        self.assertEqual(self.breaker()[0], 'open')

    def test_exactly_one_probe_in_the_fleet(self):
        i = self.half()
        self.assertEqual((i['sid'], self.breaker()[0], self.breaker()[7:9]), (self.sids[0], 'half', [i['sid'] + ':' + HOUSE, i['token']]))
        for _ in range(3):
            self.assertEqual(self.take(worker='v/1') + self.take(), [])
            self.tick(SECOND)
        self.begin(i)
        self.assertEqual(self.take(worker='v/1') + self.take(), [])

    def test_good(self):
        i = self.half()
        self.assertEqual(self.begin(i)[0], 'GO')
        self.assertEqual(self.answer(i, 1), [HOUSE, 'closed', '0'])
        self.assertEqual(self.breaker(), ['none'])
        self.assertEqual([i['sid'] for i in self.take(worker='v/1')], self.sids[1:])

    def test_bad(self):
        i = self.half()
        self.begin(i)
        self.assertEqual(self.answer(i, -1), [HOUSE, 'open', str(self.now + 2 * FIRST)])
        self.assertEqual(self.breaker()[:3], ['open', '2', str(self.now + 2 * FIRST)])
        self.assertEqual(self.take_raw(), [str(30 * SECOND), 0])
        self.assertEqual(self.half('v/1')['sid'], self.sids[1])

    def test_open_time_grows_and_is_capped(self):
        times = []
        for _ in range(7):
            self.tick(int(self.breaker()[2]) - self.now)
            for w in ('w/1', 'v/1'):
                self.call('beat', w, 300 * SECOND, 'beat', self.now, 1)
            i = self.probe()
            self.begin(i)
            times.append(int(self.settle(i, 'not_sent', site=-1)[5]) - self.now)
        self.assertEqual([t // FIRST for t in times], [2, 4, 8, 16, 30, 30, 30])

    def test_the_probes_worker_dies(self):
        i = self.half()
        self.begin(i)
        self.tick(299 * SECOND)
        self.call('beat', 'v/1', 300 * SECOND, 'beat', self.now, 1)
        self.assertEqual(self.take(worker='v/1'), [])
        self.tick(SECOND)
        self.assertEqual(self.reap('v/1'), ['OK', 1])
        self.assertEqual([i['sid'] for i in self.take(worker='v/1') if not i['why']], [self.sids[1]])
        self.assertEqual(self.settle(i, 'end', 'accepted', 'x', site=1)[0], 'LATE')
        self.assertEqual(self.breaker()[0], 'half')

    def test_a_probe_that_says_nothing_is_replaced(self):
        ways = {'release': lambda i: self.settle(i, 'release'), 'defer': lambda i: self.settle(i, 'defer', due=self.now + DAY),
                'adopt': lambda i: self.adopt(), 'not_sent': lambda i: self.begin(i) and self.settle(i, 'not_sent'),
                'silent': lambda i: self.begin(i) and self.answer(i, 0)}
        self.tick(FIRST)
        for way, act in ways.items():
            i = self.probe()
            self.assertEqual(self.take(worker='v/1'), [], way)
            act(i)
            self.assertEqual(self.breaker()[0], 'half', way)
        self.probe(worker='v/1')

    def test_only_the_probe_begins(self):
        self.admin('resume', HOUSE)
        early = self.take(n=1)[0]
        self.r('HSET', '{q}:breaker', HOUSE, 'open 1 ' + str(self.now + FIRST))
        self.assertEqual(self.begin(early), ['HELD', str(FIRST)])
        i = self.half('v/1')
        self.assertEqual(self.begin(early), ['HELD', str(SECOND)])
        self.assertEqual(self.begin(i, worker='v/1')[0], 'GO')
        self.settle(early, 'release')
        self.answer(i, 1, worker='v/1')
        self.assertEqual([i['sid'] for i in self.take()], self.sids[:1] + self.sids[2:])

    def test_begin_is_held_by_the_chambers_too(self):
        self.admin('resume', HOUSE)
        i = self.take(n=1)[0]
        self.r('HSET', '{q}:breaker', 'house', 'open 1 ' + str(self.now + FIRST))
        self.assertEqual(self.begin(i), ['HELD', str(FIRST)])
        self.r('HDEL', '{q}:breaker', 'house')
        self.assertEqual(self.begin(i)[0], 'GO')

    def test_while_open_only_the_probe_counts(self):
        self.admin('resume', HOUSE)
        first, second, third = self.take(n=3)
        for i in (first, second, third):
            self.begin(i)
        self.r('HSET', '{q}:breaker', HOUSE, 'open 1 ' + str(self.now + FIRST))
        self.assertEqual(self.answer(first, 1) + self.answer(second, -1), [])
        self.assertEqual(self.breaker()[:2], ['open', '1'])
        self.half('v/1')
        self.assertEqual(self.answer(third, -1), [])
        self.assertEqual(self.breaker()[0], 'half')

    def test_the_line_keeps_its_order(self):
        self.tick(FIRST - SECOND)
        self.assertEqual(self.take(), [])
        self.assertEqual(self.r('ZRANGE', '{q}:wait:' + HOUSE, 0, -1), self.sids)
        self.admin('resume', HOUSE)
        self.assertEqual([i['sid'] for i in self.take()], self.sids)

    def test_resume_closes(self):
        self.assertEqual(self.take(), [])
        self.assertEqual(self.admin('resume', HOUSE), ['OK', 1])
        self.assertEqual(self.breaker(), ['none'])
        self.assertEqual(len(self.take()), 4)
        self.assertEqual(self.admin('resume', HOUSE), ['OK', 0])

    def test_resume_closes_the_chambers(self):
        self.r('HSET', '{q}:breaker', 'house', 'open 1 ' + str(self.now + FIRST))
        self.assertEqual(self.admin('resume', HOUSE), ['OK', 1])
        self.assertEqual(self.take(), [])
        self.assertEqual(self.admin('resume', 'house'), ['OK', 1])
        self.assertEqual(len(self.take()), 4)

    def test_a_hold_stands_beside_it(self):
        self.admin('hold', HOUSE, self.now + 2 * FIRST, 'x')
        self.tick(FIRST)
        self.assertEqual(self.take(), [])
        self.tick(FIRST)
        self.probe()

    def test_a_failed_probe_is_no_probe(self):
        """TAKE fails after it has named the probe: the job has no such token."""
        self.tick(FIRST)
        self.r('HSET', '{q}:breaker', HOUSE, 'half 1 0 0 0 0 0 %s:%s v/1.9.1 - -' % (self.sids[0], HOUSE))
        self.assertEqual(self.probe()['sid'], self.sids[0])

    def test_depth(self):
        self.letter(HOUSE2)
        self.letter(SENATE)
        self.intake()
        d = self.depth()
        self.assertEqual([d[k] for k in ('house_held', 'house_breakers', 'house_down', 'senate_breakers')], [4, 1, 0, 0])
        self.tick(FIRST)
        self.assertEqual(len(self.take()), 2)
        self.r('HSET', '{q}:breaker', 'senate', 'open 1 ' + str(self.now + FIRST), HOUSE2, 'closed 0 0 3')
        d = self.depth()
        self.assertEqual([d[k] for k in ('house_held', 'house_breakers', 'house_down')], [3, 1, 0])
        self.assertEqual([d[k] for k in ('senate_held', 'senate_breakers', 'senate_down')], [1, 0, 1])


class Cap(BreakerCase):
    def test_one_at_a_time_while_it_fails(self):
        for _ in range(4):
            self.letter()
        got = self.take(n=2)
        self.begin(got[0])
        self.answer(got[0], -1)
        self.assertEqual(self.take(), [])  # the other is still in flight
        self.begin(got[1])
        self.answer(got[1], 0)
        third = self.probe()
        self.begin(third)
        self.assertEqual(self.answer(third, 1), [])
        self.assertEqual(len(self.take()), 1)
        self.letter()
        self.assertEqual(len(self.take()), 1)

    def test_others_are_free(self):
        self.attempts([-1])
        for office in (HOUSE, HOUSE, HOUSE2, HOUSE2):
            self.letter(office)
        self.assertEqual(sorted(i['office'] for i in self.take()), [HOUSE, HOUSE2, HOUSE2])

    def test_a_cap_of_none_stays(self):
        self.attempts([-1])
        self.letter()
        self.assertEqual(self.take(cap=0), [])


if __name__ == '__main__':
    unittest.main()
