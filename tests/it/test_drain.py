#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An order to drain, given with cwcctl to real workers: as SIGTERM, from where no signal can be sent."""
import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from life_case import LEASE_S, TOTAL, Case, letter  # noqa: E402
from stack import BUILD, letters, wait_until  # noqa: E402

CTL = os.environ.get('CWCCTL', os.path.join(BUILD, 'cwcctl'))


class Drain(Case):
    def ctl(self, *args):
        return subprocess.run([CTL, *args, '--redis', 'unix:' + self.stack.redis_path, '--queue', self.stack.queue],
                              capture_output=True, text=True, timeout=60, check=False)

    def begin(self, *args):
        process = subprocess.Popen([CTL, *args, '--redis', 'unix:' + self.stack.redis_path, '--queue', self.stack.queue],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def workers(self):
        return {w['worker'].split('/')[0]: w for w in json.loads(self.ctl('workers', '--json').stdout)}

    def test_in_the_middle_of_letters(self):
        """What is in flight is finished, nothing is lost or doubled, the others go on, and the process ends with 0."""
        stack = self.start(chamber={**TOTAL, 'concurrency': 8})
        some = [letter('slow-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(60)]
        stack.sim.fault(action='delay', ms=700)
        stack.submit(*some)
        self.wait_in_flight(16)
        other = stack.start_worker('w2')
        r = self.ctl('workers', 'drain', 'w1', '--wait', '60s', '--reason', 'new image', '--who', 'alice')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.worker.process.wait(20), 0)
        draining, = self.worker.events('draining')
        self.assertEqual(draining['reason'], 'asked')
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 0)
        self.assertEqual(self.worker.events('queue_fenced'), [])
        self.assertEqual(set(self.workers()), {'w2'})
        stack.sim.clear_faults()
        self.wait_results(60)
        self.assertEqual(self.states(account.check(self, stack, some)), {'accepted': 60})
        self.assertEqual(stack.sim.count(), 60)
        self.assertEqual(other.events('queue_recovered'), [])
        self.assertEqual(other.stop(), 0)

    def test_what_people_see(self):
        stack = self.start(chamber={**TOTAL, 'concurrency': 8})
        wait_until(lambda: self.workers()['w1']['version'], what='a worker that says what it is')
        row = self.workers()['w1']
        self.assertEqual((row['state'], row['environment'], row['house']['slots'], row['alive']),
                         ('serving', 'sandbox', 8, True))
        self.assertRegex(row['last_beat'], r'^20')
        stack.sim.fault(action='stall', count=2)
        stack.submit(letter('stalled'))
        self.wait_in_flight(1)
        process = self.begin('workers', 'drain', 'w1', '--wait', '60s')
        wait_until(lambda: self.workers()['w1']['state'] == 'draining', what='a worker that says that it drains')
        self.assertEqual(self.workers()['w1']['holds'], 1)
        self.assertIn('draining', self.ctl('top', '--count', '1').stdout)
        stack.sim.clear_faults()
        self.worker.process.wait(60)
        self.assertEqual((process.wait(20), stack.redis('EXISTS', stack.key('about'))), (0, 0))

    def test_a_pause_stands_in_the_log(self):
        stack = self.start(status=True)
        self.worker.wait_event('ready')
        # Each chamber for itself; a worker looks each ten to fifteen seconds.
        def pause(what):
            return 'pause', what, '--for', '1h', '--reason', 'r'
        for acts, said in (((pause('house'), pause('SNE02')), (('house', 'held', 0), ('senate', 'open', 1))),
                           ((('resume', 'house'),), (('house', 'open', 0),))):
            for args in acts:
                self.assertEqual(self.ctl(*args).returncode, 0)
            for one in said:
                wait_until(lambda one=one: one in [(e['chamber'], e['state'], e['count']) for e in self.worker.events('pauses')],
                           40, what='the log of a pause')
        self.assertEqual(stack.redis('HLEN', stack.key('holds')), 1)

    def test_a_restart_is_free(self):
        stack = self.start()
        self.assertEqual(self.ctl('workers', 'drain', 'w1', '--wait', '60s').returncode, 0)
        self.assertEqual(self.worker.process.wait(20), 0)
        again = stack.start_worker('w1')
        again.wait_event('ready')
        self.assertEqual(stack.redis('EXISTS', stack.key('drain')), 0)
        stack.submit(letter('after'))
        self.wait_results(1)
        self.assertEqual(again.stop(), 0)

    def test_one_that_lost_its_lease(self):
        """It hears of the order when it comes back under another nonce."""
        stack = self.start()
        other = stack.start_worker('w2')
        other.wait_event('ready')
        self.worker.kill(signal.SIGSTOP)
        self.assertEqual(self.ctl('workers', 'drain', 'w1').returncode, 0)
        wait_until(lambda: 'w1' not in self.workers(), 3 * LEASE_S + 10, what='w1 reaped')
        self.assertEqual(self.ctl('workers', 'drain', 'w1', '--wait', '10s').returncode, 0)
        self.worker.kill(signal.SIGCONT)
        self.assertEqual(self.worker.process.wait(20), 0)
        self.assertEqual(len(self.worker.events('queue_fenced')), 1)
        self.assertEqual(other.stop(), 0)

    def test_taken_back_in_time(self):
        """An order that was taken back before the worker heard of it is none."""
        stack = self.start()
        self.worker.kill(signal.SIGSTOP)
        self.assertEqual(self.ctl('workers', 'drain', 'w1').returncode, 0)
        self.assertEqual(self.ctl('workers', 'undrain', 'w1').returncode, 0)
        self.worker.kill(signal.SIGCONT)
        stack.submit(letter('after'))
        self.wait_results(1)
        self.assertEqual((self.worker.process.poll(), self.worker.events('draining')), (None, []))

    def ordered(self, **fault):
        """A worker that was told to drain, with a POST on the wire."""
        stack = self.start(chamber={})
        stack.sim.fault(count=1, **fault)
        stack.submit(letter('slow'))
        self.wait_in_flight(1)
        self.ctl('workers', 'drain', 'w1')
        self.worker.wait_event('draining')
        return stack

    def test_a_signal_comes_too(self):
        """The order was met; the SIGTERM that follows, as when the machine goes, asks for the same and cuts no POST off."""
        stack = self.ordered(action='delay', ms=6000)
        self.worker.kill(signal.SIGTERM)
        self.assertEqual(self.worker.process.wait(30), 0)
        self.assertEqual((stack.sim.count(), len(self.worker.events('draining'))), (1, 1))
        self.wait_results(1)
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 0)

    def test_two_signals_come_too(self):
        """The second one ends it at once."""
        self.ordered(action='stall')
        self.worker.kill(signal.SIGTERM)
        self.worker.kill(signal.SIGINT)
        self.assertEqual(self.worker.process.wait(10), 1)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
