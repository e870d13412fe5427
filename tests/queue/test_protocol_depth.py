#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per rule of PROTOCOL.md: depth, the flow that it reads, and the number of workers."""
import unittest

import rq
from case import DAY, HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server
MINUTE = 60 * SECOND


class DepthCase(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.tick(-START % MINUTE)  # a minute begins

    def of(self, chamber, *names):
        d = self.depth()
        return [d['%s_%s' % (chamber, name)] for name in names]

    def lot(self, n, office=HOUSE, sid='s', **hints):
        for k in range(n):
            self.add('%s%d' % (sid, k), office, **hints)
        self.intake()

    def flow(self):
        return {k: int(v) for k, v in rq.pairs(self.r('HGETALL', '{q}:flow')).items()}

    def limits(self, **options):
        """A TAKE that gets nothing, and says its limits."""
        self.take('house', n=0, **options)


class Flow(DepthCase):
    def test_what_came_and_what_ended(self):
        self.lot(3)
        self.add('t', SENATE)
        self.settle(self.take(n=1)[0], 'end', 'rejected', 'x')
        i, j = self.take(n=2)
        self.begin(i)
        self.begin(j)
        self.tick(3 * SECOND)
        self.settle(i, 'end', 'accepted', 'accepted')
        self.settle(j, 'retry', '', 'x', due=self.now + DAY)
        self.assertEqual(self.of('house', 'arrived', 'drained', 'posts', 'later'), [3, 2, 2, 1])
        self.assertEqual(self.of('senate', 'arrived', 'drained', 'posts'), [1, 0, 0])
        self.assertEqual(self.depth()['window_us'], 5 * MINUTE + 3 * SECOND)

    def test_what_comes_twice_is_counted_once(self):
        self.add()
        self.add()
        i = self.take()[0]
        self.assertEqual(self.settle(i, 'end', 'rejected', 'x')[0], 'OK')
        self.assertEqual(self.settle(i, 'end', 'rejected', 'x')[0], 'DUP')
        self.assertEqual(self.of('house', 'arrived', 'drained'), [1, 1])

    def test_what_was_not_sent_was_no_post(self):
        for verb in ('not_sent', 'release'):
            self.settle(self.begun('s' + verb), verb)
        self.assertEqual(self.of('house', 'posts', 'drained'), [0, 0])

    def test_a_replay_comes_again(self):
        self.ended('dead', 'x')
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.of('house', 'arrived', 'drained', 'waiting'), [2, 1, 1])

    def test_refused_bytes_have_ended(self):
        self.settle(self.one(), 'refused')
        self.assertEqual(self.of('house', 'arrived', 'drained', 'waiting'), [1, 1, 0])

    def test_a_late_answer_ends_what_was_open_once(self):
        i = self.lost()
        self.settle(i, 'end', 'accepted', 'accepted')
        self.assertEqual((self.job()['state'], *self.of('house', 'arrived', 'drained')), ('accepted', 1, 1))

    def test_what_people_end(self):
        i = self.ended('unknown', 'x')
        self.settle(i, 'end', 'rejected', 'x')  # late: it was over
        self.assertEqual((self.job()['state'], *self.of('house', 'drained')), ('rejected', 1))
        self.ended('dead', 'x', 't')
        self.admin('drop', 't', HOUSE)
        self.settle(self.take()[0], 'end', 'dropped', 'dropped')
        self.assertEqual(self.of('house', 'drained'), [3])

    def test_p95(self):
        for k in range(20):
            i = self.begun('s%d' % k)
            self.tick(30_000 if k < 18 else 1_000_000)
            self.settle(i, 'end', 'accepted', 'accepted')
        p95, = self.of('house', 'post_p95_us')
        self.assertTrue(800_000 <= p95 <= 1_600_000, p95)

    def test_a_very_slow_post(self):
        i = self.begun()
        self.tick(290 * SECOND)
        self.settle(i, 'end', 'accepted', 'accepted')
        self.assertGreaterEqual(*self.of('house', 'post_p95_us'), 51_200_000)

    def test_old_minutes_go(self):
        for _ in range(40):
            self.lot(1, sid='s%d-' % self.now)
            self.settle(self.begun('t%d' % self.now), 'end', 'rejected', 'x')
            self.assertLessEqual(len(self.flow()), 11 * 3)
            self.tick(MINUTE)
            self.join('w/1')
        self.assertEqual(self.depth()['house_arrived'], 10)
        self.tick(10 * MINUTE)
        self.assertEqual(self.of('house', 'arrived', 'drained', 'posts'), [0, 0, 0])

    def test_a_clock_that_steps_back(self):
        self.lot(2)
        self.tick(-3600 * SECOND)
        self.assertEqual(self.depth()['house_arrived'], 0)  # those are still to come
        self.lot(3, sid='t')
        self.assertEqual((self.depth()['house_arrived'], len(self.flow())), (3, 1))

    def test_a_flow_that_cannot_be_written_costs_nothing(self):
        self.r('SET', '{q}:flow', 'junk')
        self.r('SET', '{q}:limits', 'junk')
        self.ended('accepted', 'accepted')
        self.assertEqual(self.job()['state'], 'accepted')
        self.assertEqual(len(self.results()), 1)

    def test_junk_in_the_flow(self):
        self.r('HSET', '{q}:flow', 'x', 'y', '66666667Si', 'junk', '66666667Qi', 4, '66666667Hzz9', 5, '', '')
        self.assertEqual(self.of('house', 'arrived', 'posts'), [0, 0])
        self.lot(1)
        self.assertEqual(self.depth()['house_arrived'], 1)


class Held(DepthCase):
    def test_by_cause(self):
        now = self.now
        for k, office in enumerate(('HCA01', 'HCA02', 'HCA03', 'HCA04', 'HCA05')):
            self.lot(k + 1, office, office)
        self.admin('hold', 'HCA01', now + DAY, 'asked')
        self.call('admin', 'hold', 'w/1', 'HCA02', now + 60 * SECOND, 'access')
        self.call('admin', 'hold', 'w/1', 'HCA05', now + 60 * SECOND, 'maintenance')
        self.r('HSET', '{q}:breaker', 'HCA03', 'open 1 %d' % (now + SECOND))
        self.assertEqual(self.of('house', 'waiting', 'held', 'held_pause', 'held_receiver', 'held_breaker', 'held_maintenance', 'held_rate'),
                         [15, 11, 1, 2, 3, 5, 0])
        self.assertEqual(self.of('house', 'scalable', 'offices_pause', 'offices_receiver', 'offices_breaker', 'offices_maintenance'),
                         [4, 1, 1, 1, 1])
        self.tick(2 * 60 * SECOND)  # the workers' holds are over; an open breaker waits for its probe
        self.assertEqual(self.of('house', 'held', 'scalable'), [4, 11])

    def test_oldest_that_nothing_holds(self):
        """What people, a chamber's maintenance or trouble with the receiver keep back is no sign that workers are missing."""
        for office in ('HCA01', 'HCA02', 'HCA03'):
            self.lot(1, office, office)
            self.tick(SECOND)
        self.assertEqual(self.of('house', 'oldest_us', 'oldest_free_us'), [3 * SECOND, 3 * SECOND])
        self.admin('hold', 'HCA01', self.now + DAY, 'asked')
        self.r('HSET', '{q}:breaker', 'HCA02', 'open 1 %d' % (self.now + SECOND))
        self.assertEqual(self.of('house', 'oldest_us', 'oldest_free_us'), [3 * SECOND, SECOND])
        self.call('admin', 'hold', 'w/1', 'house', self.now + 60 * SECOND, 'maintenance')
        self.assertEqual(self.of('house', 'oldest_us', 'oldest_free_us'), [3 * SECOND, 0])

    def test_a_chamber(self):
        self.lot(4)
        self.lot(2, SENATE, 't')
        self.add('door', HOUSE)
        self.call('admin', 'hold', 'w/1', 'house', self.now + 60 * SECOND, 'maintenance')
        self.assertEqual(self.of('house', 'blocked', 'held_maintenance', 'scalable', 'door'), [1, 4, 0, 1])
        self.assertEqual(self.of('senate', 'blocked', 'held', 'scalable'), [0, 0, 2])
        self.r('HSET', '{q}:breaker', 'senate', 'open 1 ' + str(self.now + SECOND))
        self.assertEqual(self.of('senate', 'blocked', 'held_breaker', 'scalable', 'down'), [1, 2, 0, 1])

    def test_rate_of_a_chamber(self):
        """5 a second: 1500 and one in five minutes, whoever sends them."""
        self.lot(2000)
        while self.r('XLEN', '{q}:in'):
            self.intake(1000)
        self.limits(period=SECOND // 5, burst=1)
        self.assertEqual(self.of('house', 'waiting', 'scalable', 'held_rate'), [2000, 1501, 499])
        d = {k: int(v) for k, v in rq.pairs(self.call('depth', self.now, 10 * SECOND)).items()}
        self.assertEqual((d['house_scalable'], d['house_held_rate']), (51, 1949))
        self.take(n=64, period=60 * SECOND, burst=4, slack=180 * SECOND)
        self.assertEqual(self.depth()['house_scalable'], 5)  # the burst is gone: one each minute

    def test_rate_of_an_office(self):
        self.lot(5, HOUSE)
        self.lot(1, HOUSE2, 't')
        self.limits(office_period=100 * SECOND)
        self.assertEqual(self.of('house', 'scalable', 'held_rate', 'offices_rate'), [5, 1, 1])  # at 0, 100, 200, 300 s
        self.r('SET', '{q}:rate:' + HOUSE, self.now + DAY)
        self.assertEqual(self.of('house', 'scalable', 'held_rate'), [1, 5])

    def test_office_cap(self):
        """One letter at a time, and each takes a minute at least: some five in five minutes."""
        self.lot(40)
        i = self.take(n=1, cap=1)[0]
        self.begin(i)
        self.tick(60 * SECOND)
        self.settle(i, 'end', 'accepted', 'accepted')
        took, may = self.of('house', 'post_p95_us', 'scalable')
        self.assertEqual(may, -(-300 * SECOND // took))
        self.assertLess(may, 7)

    def test_no_limits_are_known(self):
        self.lot(7)
        self.assertEqual(self.of('house', 'scalable', 'held_rate', 'period_us'), [7, 0, 0])


class Places(DepthCase):
    def test_oldest_behind_high_priority(self):
        """A line that is fed with high priority hides nobody: fresh letters behind it, nor replayed ones behind those."""
        self.ended('dead', 'x', 'replayed')
        self.tick(SECOND)
        self.add('normal', pri=1)
        self.intake()
        self.tick(SECOND)
        self.add('high', pri=0)
        self.intake()
        self.tick(SECOND)
        self.assertEqual(self.of('house', 'waiting', 'oldest_us'), [2, 2 * SECOND])
        self.admin('replay', 'replayed', HOUSE)
        self.assertEqual(self.of('house', 'waiting', 'oldest_us'), [3, 3 * SECOND])

    def test_oldest_delayed(self):
        self.add('old', SENATE, nbf=START + 9 * DAY)
        self.intake()
        self.tick(5 * SECOND)
        self.add('new', SENATE, nbf=START + 2 * DAY)
        self.intake()
        self.tick(SECOND)
        self.assertEqual(self.of('senate', 'later', 'later_oldest_us', 'oldest_us'), [2, 6 * SECOND, 0])
        self.assertEqual(self.of('house', 'later', 'later_oldest_us'), [0, 0])

    def test_dead_and_unknown(self):
        self.ended('dead', 'x', 'a')
        self.ended('dead', 'x', 'b', SENATE)
        self.ended('unknown', 'x', 'c', SENATE)
        self.assertEqual(self.of('house', 'dead', 'unknown'), [1, 0])
        self.assertEqual(self.of('senate', 'dead', 'unknown'), [1, 1])

    def test_the_door(self):
        self.add('a', 'HCA12,HTX09,SCA01')
        self.add('b', 'SCA01')
        self.r('XADD', '{q}:in', '*', 'offices', 'junk', 'x', 'y')
        self.assertEqual(self.of('house', 'door', 'scalable'), [2, 2])
        self.assertEqual(self.of('senate', 'door', 'scalable'), [2, 2])

    def test_workers(self):
        self.join('v/2')
        self.join('u/3', lease=60 * SECOND)
        self.one()
        d = self.depth()
        self.assertEqual([d[k] for k in ('workers', 'alive', 'idle')], [3, 3, 2])
        self.tick(120 * SECOND)
        d = self.depth()
        self.assertEqual([d[k] for k in ('workers', 'alive', 'idle')], [3, 2, 1])

    def test_above_the_ceilings(self):
        """In proportion to what was looked at."""
        sha = rq.load(self.r, inject=True, patch=[('local LINES = 1024', 'local LINES = 5'), ('local SAMPLE = 4096', 'local SAMPLE = 4'),
                                                  ('local ENDS = 256', 'local ENDS = 2')])
        for k in range(10):
            self.lot(3, 'HAA%02d' % k, 'a%d-' % k)
        self.lot(12, SENATE, 'later', nbf=START + DAY)
        self.lot(8, SENATE, 'b')
        self.take('senate', n=8)
        for k in range(8):
            self.ended('dead', 'x', 'd%d' % k, 'SNY01')
        flat = self.r('EVALSHA', sha['depth'], 1, rq.META, self.now, 0)
        d = {k: int(v) for k, v in rq.pairs(flat).items()}
        self.assertEqual([d['house_' + k] for k in ('waiting', 'scalable', 'offices')], [30, 30, 10])
        self.assertEqual([d['senate_' + k] for k in ('later', 'taken', 'dead')], [12, 8, 8])

    def test_the_moment_is_the_servers(self):
        self.assertEqual(rq.pairs(self.call('depth', 5))['redis_us'], str(self.now))


class Scale(ProtocolCase):
    def test_one_speaks(self):
        self.assertEqual(self.call('scale', 'lead', 'a', 15000), [1, 'a'])
        self.assertEqual(self.call('scale', 'lead', 'b', 15000), [0, 'a'])
        self.assertEqual(self.call('scale', 'lead', 'a', 15000), [1, 'a'])
        self.assertEqual(self.call('scale', 'resign', 'b'), [0])
        self.assertEqual(self.call('scale', 'resign', 'a'), [1])
        self.assertEqual(self.call('scale', 'lead', 'b', 15000), [1, 'b'])

    def test_publish(self):
        self.assertEqual(self.call('scale', 'publish', 'a', '0', 'desired', 3), ['LOST', ''])
        self.call('scale', 'lead', 'a', 15000)
        self.assertEqual(self.call('scale', 'publish', 'a', '0', 'desired', 3), ['OK', str(self.now)])
        self.assertEqual(self.call('scale', 'publish', 'a', '0', 'desired', 9), ['CHANGED', str(self.now)])
        self.tick(-SECOND)
        self.assertEqual(self.call('scale', 'publish', 'a', self.now + SECOND, 'desired', 4, 'why', 'x')[1], str(self.now + SECOND + 1))
        self.assertEqual(rq.pairs(self.r('HGETALL', '{q}:scale')),
                         {'who': 'a', 'at': str(self.now + SECOND + 1), 'desired': '4', 'why': 'x'})
        self.r('DEL', '{q}:scaler')
        self.call('scale', 'lead', 'b', 15000)
        self.assertEqual(self.call('scale', 'publish', 'a', self.now + SECOND + 1, 'desired', 5), ['LOST', 'b'])

    def test_a_clock_that_steps_back_far(self):
        """What is published is of now, or nobody could tell that it has become old."""
        self.call('scale', 'lead', 'a', 15000)
        at = self.call('scale', 'publish', 'a', '0', 'desired', 3)[1]
        self.tick(-3600 * SECOND)
        self.assertEqual(self.call('scale', 'publish', 'a', at, 'desired', 4), ['OK', str(self.now)])
        self.assertEqual(self.call('scale', 'publish', 'a', at, 'desired', 5)[0], 'CHANGED')

    def test_the_speaker_of_old_is_forgotten(self):
        self.server.r('EVALSHA', rq.load(self.r)['scale'], 1, rq.META, 'lead', 'a', 1000)
        rq.wait_until(lambda: not self.r('EXISTS', '{q}:scaler'), what='the end of the lock')
        self.assertEqual(self.call('scale', 'lead', 'b', 15000), [1, 'b'])


if __name__ == '__main__':
    unittest.main()
