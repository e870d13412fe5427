#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per reply and rule of PROTOCOL.md: BEAT, membership, and what TAKE asks of it."""
import unittest

import rq
from case import HOUSE2, SECOND, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class Beat(ProtocolCase):
    def test_join_beat_leave(self):
        self.assertEqual(self.join('a/1'), ['OK', str(START), 0, 0, 0, 0, 0])
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'beat', self.now, 1), ['OK', str(START), 0, 0, 0, 0, 0])
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(START + SECOND))
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'leave', self.now, 1)[0], 'OK')
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'beat', self.now, 1), ['FENCED'])
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'leave', self.now, 1), ['FENCED'])

    def test_lease_is_bounded(self):
        self.call('beat', 'a/1', 10**15, 'join', self.now, 1)
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(START + 300 * SECOND))

    def test_name_takeover(self):
        self.call('beat', 'a/1', 10 * SECOND, 'join', self.now, 1)
        self.assertEqual(self.join('a/2'), ['TAKEN', 'a/1'])
        self.assertEqual(self.join('a/1')[0], 'OK')
        self.tick(301 * SECOND)
        self.assertEqual(self.join('a/2')[0], 'OK')

    def test_leave_busy(self):
        self.one()
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'leave', self.now, 1), ['BUSY'])

    def test_version(self):
        self.assertEqual(self.r('HGET', '{q}:meta', 'version'), '1')
        self.r('HSET', '{q}:meta', 'version', 2)
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'join', self.now, 1), ['VERSION', '2'])
        lease = self.r('ZSCORE', '{q}:workers', 'w/1')
        self.tick(SECOND)
        self.assertEqual(self.call('beat', 'w/1', 300 * SECOND, 'beat', self.now, 1), ['VERSION', '2'])
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'w/1'), lease)
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'join', self.now, 2)[0], 'OK')
        self.assertEqual(self.r('HGET', '{q}:meta', 'version'), '2')

    def test_join_publishes(self):
        """Also when out of memory, and never for one who may not join."""
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'join', self.now, 1, '', 'keys', 'k', 'worker', 'a/1')[0], 'OK')
        self.assertEqual(self.call('beat', 'a/2', SECOND, 'join', self.now, 1, '', 'keys', 'other')[0], 'TAKEN')
        self.assertEqual(self.join('a/1')[0], 'OK')
        self.assertEqual(rq.stream(self.r, 'attestations'), [{'keys': 'k', 'worker': 'a/1'}])

    def test_beat_publishes(self):
        """A member, and nobody else; also when out of memory; any bytes."""
        raw = bytes(range(256)) * 20
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'beat', self.now, 1, '', 'keys', 'k', 'document', raw)[0], 'OK')
        self.assertEqual(self.call('beat', 'x/1', SECOND, 'beat', self.now, 1, '', 'keys', 'k'), ['FENCED'])
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'leave', self.now, 1, '', 'keys', 'k')[0], 'OK')
        self.assertEqual(rq.stream(self.r, 'attestations'), [{'keys': 'k', 'document': raw}])

    def test_newer_version_publishes_nothing(self):
        self.r('HSET', '{q}:meta', 'version', 2)
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'beat', self.now, 1, '', 'keys', 'k'), ['VERSION', '2'])
        self.assertEqual(rq.stream(self.r, 'attestations'), [])

    def test_counts(self):
        self.r('XADD', '{q}:dead', '*', 'a', 'b')
        self.r('ZADD', '{q}:unknown', 1, 'a', 2, 'b')
        for _ in range(3):
            self.r('XADD', '{q}:stuck', '*', 'a', 'b')
        self.r('SET', '{q}:results', 'a key of another type costs nobody its lease')
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'beat', self.now, 1)[2:], [1, 2, 3, 0, 0])
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'leave', self.now, 1)[2:], [1, 2, 3, 0, 0])


class Machine(ProtocolCase):
    """A worker of the same name and machine is gone: its lease ends with the join."""

    def setUp(self):
        super().setUp()
        self.assertEqual(self.join('a/1', machine='m1')[0], 'OK')

    def test_takeover(self):
        self.add()
        i = self.take(worker='a/1')[0]
        self.assertEqual(self.join('a/2', machine='m1')[0], 'OK')
        self.assertEqual(self.reap('a/2'), ['OK', 1])
        self.assertEqual(self.r('ZRANGE', '{q}:workers', 0, -1), ['a/2', 'w/1'])
        self.assertEqual(self.take(worker='a/2')[0]['sid'], i['sid'])

    def test_not_without_the_same_machine(self):
        for machine in ('', 'm2'):
            self.assertEqual(self.join('a/2', machine=machine), ['TAKEN', 'a/1'])
        self.assertEqual(self.join('b/1'), self.join('b/1'))
        self.assertEqual(self.join('b/2', machine='m1'), ['TAKEN', 'b/1'])
        self.assertEqual(self.join('b/2', machine=''), ['TAKEN', 'b/1'])
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(self.now + 300 * SECOND))

    def test_another_name_stays(self):
        self.assertEqual(self.join('b/1', machine='m1')[0], 'OK')
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(self.now + 300 * SECOND))

    def test_one_elsewhere_stands_in_the_way(self):
        """Then nobody's lease ends."""
        self.r('ZADD', '{q}:workers', self.now + 5, 'a/0')
        self.assertEqual(self.join('a/2', machine='m1'), ['TAKEN', 'a/0'])
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(self.now + 300 * SECOND))

    def test_nor_does_that_of_one_that_comes_first(self):
        """Nobody's lease ends before all of the name are known to be gone."""
        self.r('ZADD', '{q}:workers', self.now + 900 * SECOND, 'a/9')
        self.assertEqual(self.join('a/2', machine='m1'), ['TAKEN', 'a/9'])
        self.assertEqual(self.r('ZSCORE', '{q}:workers', 'a/1'), str(self.now + 300 * SECOND))

    def test_what_was_still_under_way_does_nothing(self):
        """A beat and a TAKE of the one that is gone arrive late."""
        self.add()
        self.join('a/2', machine='m1')
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'beat', self.now, 1), ['FENCED'])
        self.assertEqual(self.call('beat', 'a/1', SECOND, 'leave', self.now, 1), ['FENCED'])
        self.assertEqual(self.take_raw(worker='a/1')[2:], [])
        self.assertEqual(self.reap('a/2'), ['OK', 0])
        self.assertEqual(self.take_raw(worker='a/1'), ['FENCED'])

    def test_names_do_not_leak(self):
        self.call('beat', 'a/1', SECOND, 'leave', self.now, 1)
        self.assertEqual(self.r('EXISTS', '{q}:machines'), 0)
        self.join('a/1', machine='m1')
        self.join('a/2', machine='m1')
        self.reap('a/2')
        self.assertEqual(self.r('HGETALL', '{q}:machines'), ['a/2', 'm1'])
        self.tick(301 * SECOND)
        self.join('w/2')
        self.reap('w/2')
        self.assertEqual(self.r('EXISTS', '{q}:machines'), 0)
        self.join('w/3', machine='')
        self.assertEqual(self.r('EXISTS', '{q}:machines'), 0)


class OwnLease(ProtocolCase):
    """TAKE gives nothing to a worker whose own lease is over."""

    def test_take_past_its_lease(self):
        self.add('close', HOUSE2)
        self.add('later', HOUSE2, nbf=self.now + 200 * SECOND)
        self.add('s')
        self.intake()
        self.admin('cancel', 'close:' + HOUSE2)
        self.tick(300 * SECOND)
        self.add('door', HOUSE2)
        self.assertEqual(self.take_raw(), [str(30 * SECOND), 0])
        self.assertEqual((self.job('later', HOUSE2)['state'], self.job('door', HOUSE2)['state']), ('wait', 'wait'))
        self.call('beat', 'w/1', SECOND, 'beat', self.now, 1)
        self.assertEqual({i['sid'] for i in self.take()}, {'close', 'later', 's', 'door'})

    def test_until_its_last_moment(self):
        self.add('a')
        self.add('b')
        self.tick(300 * SECOND - 1)
        self.assertEqual(len(self.take(n=1)), 1)
        self.tick(1)
        self.assertEqual(self.take(n=1), [])

    def test_the_clock_is_the_callers(self):
        """Leases are in the workers' clocks."""
        self.add()
        self.call('beat', 'w/1', 2 * SECOND, 'beat', self.now, 1)
        self.assertEqual(self.take(now=self.now + 2 * SECOND), [])
        self.assertEqual(len(self.take(now=self.now + 2 * SECOND - 1)), 1)


if __name__ == '__main__':
    unittest.main()
