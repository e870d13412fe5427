#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The local supervisor with real workers, a real queue and simulated chambers."""
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import Stack, letters, wait_until  # noqa: E402
from supervised import Supervised  # noqa: E402


class Supervise(unittest.TestCase):
    def stack(self, **options):
        stack = Stack(chamber={'concurrency': 4, 'office_concurrency': 4}, **options)
        self.addCleanup(stack.close)
        return stack.start()

    def supervised(self, *arguments):
        s = Supervised(*arguments)
        self.addCleanup(s.end)
        return s

    def most(self, s):
        most = n = 0
        for e in s.events:
            n += (e['event'] == 'start') - (e['event'] == 'exit')
            most = max(most, n)
        return most

    def test_out_and_in(self):
        """A burst brings more, its end fewer, one at a time; every letter arrives once."""
        stack = self.stack(rate='10/s', burst=1)
        s = self.supervised(stack, '--slots 4 --latency 5s --target-drain 20s --max 3 --stable 2s --cooldown 1s')
        s.wait(1)
        n = stack.submit(*({**letters.base('burst-%d' % k), 'offices': ['HNE03', 'HNE01']} for k in range(60)))
        self.assertEqual(n, 60)
        s.wait(3)
        results = stack.wait_results(120)
        self.assertEqual({r['state'] for r in results}, {'accepted'})
        self.assertEqual(len({(r['sid'], r['office']) for r in results}), 120)
        s.wait(1)
        self.assertEqual(self.most(s), 3)
        self.assertEqual(s.stop(), 0)
        exits = [e for e in s.events if e['event'] == 'exit']
        self.assertEqual({e['status'] for e in exits}, {0}, exits)  # drained, all of them
        self.assertEqual(stack.redis('ZCARD', stack.key('workers')), 0)

    def test_what_fell_is_started_anew(self):
        stack = self.stack()
        s = self.supervised(stack, '--min 2 --max 2')
        s.wait(2)
        pid = s.pids()['worker-1']
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: s.pids().get('worker-1', pid) != pid, what='another one')
        s.wait(2)

    def test_the_number_stays_while_nobody_says_one(self):
        """Redis is gone, and cwcctl, too: no worker is ended for that."""
        stack = self.stack()
        s = self.supervised(stack, '--min 2 --max 2')
        s.wait(2)
        wait_until(lambda: stack.redis('ZCARD', stack.key('workers')) == 2, what='members')
        before = s.pids()
        stack.kill_redis()
        out = subprocess.run(['pgrep', '-P', str(s.process.pid), '-x', 'cwcctl'], stdout=subprocess.PIPE, check=True).stdout
        os.kill(int(out), signal.SIGKILL)
        wait_until(lambda: any(e['event'] == 'scale_ended' for e in s.events), what='the end of cwcctl')
        end = time.monotonic() + 4
        wait_until(lambda: time.monotonic() > end or s.pids() != before, what='nothing')
        self.assertEqual(s.pids(), before)
        stack.start_redis()
        wait_until(lambda: stack.redis('HGET', stack.key('scale'), 'desired') == '2', 30, what='the number')
        self.assertEqual(s.pids(), before)

    def test_one_that_cannot_start(self):
        """It is tried again, ever more rarely, and not in a loop."""
        stack = self.stack()
        s = self.supervised(stack, '--min 1 --max 1', [shutil.which('false')])
        wait_until(lambda: sum(e['event'] == 'exit' for e in s.events) >= 3, what='three tries')
        times = [e['time'] for e in s.events if e['event'] == 'start']
        self.assertGreater(times[2] - times[1], 1.5)
        self.assertEqual(s.stop(), 0)


if __name__ == '__main__':
    unittest.main()
