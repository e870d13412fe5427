#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per rule of PROTOCOL.md: rates, holds, a closed chamber."""
import random
import unittest

from case import DAY, HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class Rates(ProtocolCase):
    def test_gcra_window(self):
        for k in range(60):
            self.add('s%d' % k)
        self.intake()
        times = []
        while len(times) < 60:
            reply = self.take_raw(period=200_000, burst=3)
            times += [self.now] * (len(reply) - 2)
            self.tick(max(1000, int(reply[0])) if len(reply) == 2 else 50_000)
        for a in range(60):
            for b in range(a + 3, 60):
                self.assertLessEqual(b - a + 1, 3 + (times[b] - times[a]) / 200_000 + 1e-9)
        self.assertLess(times[-1] - times[0], 57 * 200_000 + SECOND)

    def test_office_rate(self):
        for k in range(3):
            self.add('a%d' % k, HOUSE)
        self.add('b', HOUSE2)
        self.assertEqual({i['sid'] for i in self.take(office_period=SECOND)}, {'a0', 'b'})
        self.assertEqual(self.take_raw(office_period=SECOND)[0], str(SECOND))
        self.tick(SECOND)
        self.assertEqual([i['sid'] for i in self.take(office_period=SECOND)], ['a1'])

    def test_rate_clamp_after_a_clock_step(self):
        self.r('SET', '{q}:rate:house', self.now + 3600 * SECOND)
        self.r('SET', '{q}:rate:' + HOUSE, 'junk')
        self.add()
        self.assertEqual(self.take_raw(period=SECOND, burst=2)[0], str(SECOND))
        self.tick(2 * SECOND)
        self.assertEqual(len(self.take(period=SECOND, burst=2)), 1)

    def grants(self, n, step, **limits):
        """Times of n grants, with a TAKE at each step(time when a cell is ready)."""
        for k in range(n):
            self.add('s%d' % k)
        self.intake()
        self.intake()
        times = []
        while len(times) < n:
            reply = self.take_raw(**limits)
            times += [self.now] * (len(reply) - 2)
            self.tick(max(1, step(0 if len(reply) > 2 else int(reply[0]))))
        return times

    def test_never_more_than_the_rate_in_any_second(self):
        """The worker's limits: period 1.01 / rate and 10 ms of slack, asked for as often as possible and after pauses."""
        rnd = random.Random(7)
        for rate in (1, 3, 10):
            self.r('FLUSHALL')
            self.setUp()
            pauses = iter([1_700_000, 3_000_000, 990_000])
            times = self.grants(6 * rate, lambda wait: next(pauses, 0) if rnd.random() < .02 else 1 + wait // 2,
                                period=-(-1_010_000 // rate), slack=10_000)
            for first, last in zip(times, times[rate:]):
                self.assertGreaterEqual(last - first, SECOND)

    def test_lateness_within_the_slack_loses_nothing(self):
        rnd = random.Random(8)
        times = self.grants(50, lambda wait: wait + rnd.randint(0, 10_000), period=101_000, slack=10_000)
        for k, at in enumerate(times):
            self.assertLessEqual(at - times[0], k * 101_000 + 10_000)

    def test_lateness_beyond_the_slack_is_lost(self):
        times = self.grants(10, lambda wait: wait + 30_000, period=100_000, slack=10_000)
        self.assertEqual(times[-1] - times[0], 9 * 120_000)

    def test_chamber_and_office_together_or_not_at_all(self):
        self.add('a')
        self.add('b')
        self.assertEqual(len(self.take(period=SECOND, slack=SECOND, office_period=SECOND)), 1)
        before = self.r('GET', '{q}:rate:house')
        self.assertEqual(self.take(period=SECOND, slack=SECOND, office_period=SECOND), [])
        self.assertEqual(self.r('GET', '{q}:rate:house'), before)


class Closed(ProtocolCase):
    """TAKE with open = 0: intake, timers and the close lane only."""

    def test_nothing_to_send(self):
        self.add('s')
        self.add('later', nbf=self.now + SECOND)
        self.add('close', HOUSE2)
        self.intake()
        self.admin('cancel', 'close:' + HOUSE2)
        self.add('door')
        self.tick(SECOND)
        reply = self.take_raw(open=0)
        self.assertEqual([e[0] for e in reply[2:]], ['close'])
        self.assertEqual(self.take_raw(open=0), [str(30 * SECOND), 0])
        self.assertEqual({self.job(sid)['state'] for sid in ('s', 'later', 'door')}, {'wait'})
        self.assertEqual(self.r('EXISTS', '{q}:rate:house'), 0)
        self.assertEqual([i['sid'] for i in self.take()], ['s', 'later', 'door'])

    def test_the_other_chamber_goes_on(self):
        self.add('s', HOUSE + ',' + SENATE)
        self.assertEqual(self.take('house', open=0), [])
        self.assertEqual(len(self.take('senate')), 1)


class Holds(ProtocolCase):
    def test_a_workers_hold_never_shortens_one(self):
        self.admin('hold', 'house', self.now + 60 * SECOND, 'paused')
        self.assertEqual(self.call('admin', 'hold', 'w/1', 'house', self.now + 9 * SECOND, 'throttled'), ['OK', 0])
        self.assertIn('paused', self.r('HGET', '{q}:holds', 'house'))
        self.call('admin', 'hold', 'w/1', 'house', self.now + 90 * SECOND, 'throttled')
        self.assertIn('throttled', self.r('HGET', '{q}:holds', 'house'))
        self.admin('hold', 'house', self.now + SECOND, 'a person may')
        self.assertIn('a person may', self.r('HGET', '{q}:holds', 'house'))

    def test_nor_by_asking_for_more_than_it_may(self):
        """It is compared as what it becomes."""
        self.admin('hold', 'house', self.now + DAY // 2, 'paused')
        self.assertEqual(self.call('admin', 'hold', 'w/1', 'house', self.now + DAY, 'access'), ['OK', 0])
        self.assertIn('paused', self.r('HGET', '{q}:holds', 'house'))

    def test_a_hold_that_is_shortened_wakes(self):
        for what in (HOUSE, 'house'):
            self.add(what)
            self.admin('hold', what, self.now + DAY, 'x')
            self.assertEqual(self.take(), [])
            self.admin('hold', what, self.now + SECOND, 'shorter')
            self.take()
            self.tick(SECOND)
            self.assertEqual([i['sid'] for i in self.take()], [what])

    def test_a_workers_hold_is_short(self):
        self.call('admin', 'hold', 'w/1', 'house', self.now + 40 * DAY, 'throttled')
        until = int(self.r('HGET', '{q}:holds', 'house').split(' ')[0])
        self.assertEqual(until, self.now + 3600 * SECOND)

    def test_holds(self):
        self.add('a', HOUSE)
        self.add('b', HOUSE2)
        self.assertEqual(self.admin('hold', HOUSE, START + 9 * SECOND, 'why not'), ['OK', 1])
        self.assertEqual([i['sid'] for i in self.take()], ['b'])
        self.assertEqual(self.take_raw()[0], str(9 * SECOND))
        self.admin('hold', 'house', START + 60 * SECOND, 'x')
        self.tick(10 * SECOND)
        self.assertEqual(self.take_raw()[0], str(30 * SECOND))
        self.tick(50 * SECOND)
        self.assertEqual([i['sid'] for i in self.take()], ['a'])

    def test_resume_wakes(self):
        self.add()
        self.admin('hold', HOUSE, START + DAY, 'x')
        self.assertEqual(self.take(), [])
        self.assertEqual(self.admin('resume', HOUSE), ['OK', 1])
        self.assertEqual(len(self.take()), 1)
        self.assertEqual(self.admin('resume', HOUSE), ['OK', 0])


if __name__ == '__main__':
    unittest.main()
