#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that was killed and comes back under its name does not wait for the lease of the one before it; where it is
not certain that the one before is gone, it does."""
import contextlib
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from life_case import Case, LEASE_S, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

LONG_S = 40  # a lease that no test waits for
LIMITS = {'total_timeout': '30s', 'first_byte_timeout': '30s', 'connect_timeout': '3s'}


class Alone(Case):
    def start(self, **options):
        # Of this run alone: another one on this machine may have the usual names.
        # A busy machine may be too late with a letter: it tries again soon.
        return super().start(queue='alone-%d' % os.getpid(), jobs={'backoff_base': '50ms', 'backoff_cap': '200ms'},
                             **options)

    @contextlib.contextmanager
    def of_queue(self, name):
        """Workers are started in another queue of the same Redis, and asked about."""
        own, self.stack.queue = self.stack.queue, name
        try:
            yield
        finally:
            self.stack.queue = own

    def machines(self):
        flat = self.stack.redis('HGETALL', self.stack.key('machines'))
        return dict(zip(flat[::2], flat[1::2]))

    def workers(self):
        return self.stack.redis('ZRANGE', self.stack.key('workers'), 0, -1)

    def refused(self, worker, n=2):
        """It asked so many times and was not let in."""
        error = worker.wait_event('queue_error', n=n)
        self.assertEqual((error['command'], error['code']), ('join', 'exists'))
        self.assertEqual(worker.events('ready'), [])

    def test_killed_and_started_again(self):
        stack = self.start(lease='%ds' % LONG_S, chamber={**LIMITS, 'concurrency': 8})
        rule = stack.sim.fault(action='stall', chamber='house')
        begun = [letter('begun-%d' % n) for n in range(8)]
        self.submit_together(*begun)
        self.wait_in_flight(8)
        more = [letter('more-%02d' % n) for n in range(20)]
        stack.submit(*more)
        first = self.workers()
        self.assertEqual((len(first), set(self.machines())), (1, set(first)))
        self.worker.kill()
        self.worker.process.wait()
        stack.sim.clear_faults(rule)
        start = time.monotonic()
        worker = stack.start_worker()
        # Nobody knows of the letters that were under way; the others leave.
        for s in begun:
            stack.wait_status(s['sid'], letters.HOUSE, 'unknown', 'outcome_unknown')
        for s in more:
            stack.wait_status(s['sid'], letters.HOUSE, 'accepted')
        self.assertLess(time.monotonic() - start, LONG_S / 4)
        self.assertEqual(worker.events('queue_error'), [])
        self.assertEqual(worker.events('queue_recovered')[0]['count'], 8)
        # The name of the dead one is gone with it.
        second = self.workers()
        self.assertEqual((len(second), set(self.machines())), (1, set(second)))
        self.assertNotEqual(first, second)
        stack.wait_idle()
        account.check(self, stack, begun + more)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual((self.workers(), self.machines()), ([], {}))

    def test_killed_between_take_and_begin(self):
        """What it had taken and not begun is back in line at once, and no attempt is lost."""
        stack = self.start(lease='%ds' % LONG_S, worker=False)
        some = [letter('taken-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(20)]
        worker = stack.start_worker()
        stack.sim.process.send_signal(signal.SIGSTOP)  # the handshakes wait: no body leaves
        self.addCleanup(stack.sim.process.send_signal, signal.SIGCONT)
        stack.submit(*some)
        wait_until(lambda: self.held() > 0, what='jobs that were taken')
        worker.kill()
        worker.process.wait()
        stack.sim.process.send_signal(signal.SIGCONT)
        start = time.monotonic()
        worker = stack.start_worker()
        wait_until(lambda: not [k for k in stack.keys('held:*') if k != stack.key('held:' + self.workers()[0])],
                   what='jobs of the dead one')
        self.assertLess(time.monotonic() - start, LONG_S / 4)
        self.assertEqual(worker.events('queue_error'), [])

    def test_a_stopped_one_is_not_gone(self):
        stack = self.start(lease='%ds' % LONG_S, chamber={**LIMITS, 'concurrency': 8})
        rule = stack.sim.fault(action='delay', ms=3000)
        some = [letter('once-%d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(8)]
        self.submit_together(*some)
        self.wait_in_flight(8)
        self.worker.kill(signal.SIGSTOP)
        stack.sim.clear_faults(rule)
        second = stack.start_worker(ready=False)
        self.refused(second, 4)  # each second
        self.assertEqual(self.held(), 8)
        self.worker.kill(signal.SIGCONT)
        for s in some:
            stack.wait_status(s['sid'], s['offices'][0], 'accepted')
        self.refused(second, len(second.events('queue_error')) + 1)
        self.assertEqual(self.worker.events('queue_fenced'), [])
        self.assertEqual(self.worker.stop(), 0)
        second.wait_event('ready')
        # It could not have the name when it began, and proves nothing now.
        self.assertEqual(self.machines(), {})
        stack.wait_idle()
        account.check(self, stack, some)
        self.assertEqual(sum(s['duplicates'] for s in stack.sim.stats()['stats'].values()), 0)
        self.assertEqual(stack.sim.count(), len(some))

    def test_another_machine(self):
        """Of the same name on another machine nothing is known but its lease; nor of one that told no machine."""
        stack = self.start()
        worker = self.worker
        for machine in ('00112233445566778899aabbccddeeff', None):
            with self.subTest(machine):
                who, = self.workers()
                if machine:
                    stack.redis('HSET', stack.key('machines'), who, machine)
                else:
                    stack.redis('HDEL', stack.key('machines'), who)
                worker.kill()
                worker.process.wait()
                lease_us = int(stack.redis('ZSCORE', stack.key('workers'), who))
                worker = stack.start_worker(ready=False)
                self.refused(worker, 1)
                worker.wait_event('ready')
                self.assertGreaterEqual(time.time() * 10 ** 6, lease_us)
                self.assertLess(time.time() * 10 ** 6, lease_us + (LEASE_S + 10) * 10 ** 6)
                wait_until(lambda: len(self.workers()) == 1, what='end of the dead one')
                self.assertEqual(set(self.machines()), set(self.workers()))

    def test_other_queue_other_name(self):
        """The proof is of one name in one queue: others on the machine are not gone."""
        stack = self.start(lease='%ds' % LONG_S)
        here, first = set(self.machines().values()), self.workers()
        self.assertEqual(len(here), 1)
        for name, queue in (('w2', stack.queue), ('w1', stack.queue + '-other')):
            with self.subTest(name=name, queue=queue), self.of_queue(queue):
                second = stack.start_worker(name)
                self.assertEqual(set(self.machines().values()), here)
                second.kill()
                second.process.wait()
                second = stack.start_worker(name)
                self.assertEqual(second.events('queue_error'), [])
                self.assertEqual(set(self.machines()), set(self.workers()))
                self.assertEqual(second.stop(), 0)
        self.assertEqual((self.workers(), set(self.machines())), (first, set(first)))
        self.assertEqual(self.worker.events('queue_fenced'), [])
        self.assertEqual(self.worker.stop(), 0)
        self.assertEqual(self.machines(), {})


if __name__ == '__main__':
    unittest.main()
