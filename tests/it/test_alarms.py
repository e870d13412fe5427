#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Alarms: a line in the log when people must look, and no more lines than that."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from life_case import Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402
from status_client import Scrape  # noqa: E402


class Alarms(Case):
    def alarms(self, reason):
        return [e['count'] for e in self.worker.events('queue_alarm') if e['reason'] == reason]

    def beats(self, n):
        """Until the worker has told its lease to the queue so many times more."""
        def lease():
            return self.stack.redis('ZRANGE', self.stack.key('workers'), 0, 0, 'WITHSCORES')[1]
        for _ in range(n):
            before = lease()
            wait_until(lambda: lease() != before, what='beat')

    def test_results_that_nobody_collects(self):
        stack = self.start(alarms={'results': 4, 'dead': 0})
        stack.submit(*[letter('first-%d' % n) for n in range(3)])
        self.wait_results(3)
        self.beats(2)
        self.assertEqual(self.alarms('results'), [])
        stack.submit(letter('fourth'))
        alarm = self.worker.wait_event('queue_alarm')
        self.assertEqual((alarm['reason'], alarm['count'], alarm['queue']), ('results', 4, stack.queue))
        self.assertEqual(alarm['level'], 'error')
        self.beats(2)
        self.assertEqual(self.alarms('results'), [4])
        stack.submit(*[letter('more-%d' % n) for n in range(4)])
        self.wait_results(8)
        self.worker.wait_event('queue_alarm', n=2)
        self.assertEqual(self.alarms('results'), [4, 8])
        # Collected; then again.
        stack.redis('DEL', stack.key('results'))
        self.beats(2)
        stack.submit(*[letter('anew-%d' % n) for n in range(4)])
        self.worker.wait_event('queue_alarm', n=3)
        self.assertEqual(self.alarms('results'), [4, 8, 4])

    def test_an_entry_that_nobody_can_take_in(self):
        """Its submission's record is none. It stands aside after three tries; the next one is sent."""
        stack = self.start()
        stack.redis('SET', stack.key('sub:broken'), 'x')
        stack.submit(letter('broken'), letter('good'))
        stack.wait_status('good', letters.HOUSE, 'accepted')
        alarm = self.worker.wait_event('queue_alarm')
        self.assertEqual((alarm['reason'], alarm['count']), ('stuck', 1))
        self.assertEqual([e['sid'] for e in stack.stream('stuck')], ['broken'])

    def test_memory(self):
        """Asked for when the worker becomes a member (and each minute after that: tests/scenario/alarms-memory.scn)."""
        self.start(alarms={'memory': 1}, status=True, redis=['--maxmemory', '64mb'])
        alarm = self.worker.wait_event('queue_alarm')
        self.assertEqual(alarm['reason'], 'memory')
        self.assertEqual(Scrape(self.stack.status_address('w1'))('cwc_redis_memory_percent'), alarm['count'])
        self.assertIn(alarm['count'], range(1, 50))
        # Without a limit there is no part of it that is used.
        self.worker.stop()
        self.stack.redis('CONFIG', 'SET', 'maxmemory', '0')
        self.worker = self.stack.start_worker('w2')
        self.beats(2)
        self.assertEqual(self.alarms('memory'), [])


if __name__ == '__main__':
    unittest.main()
