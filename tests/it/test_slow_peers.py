#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What stands still or is slow beside the queue: the path to a chamber, the reader of the log. And what is left in the
memory when connections end."""
import fcntl
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import liar as liars  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import letter  # noqa: E402
from stack import letters  # noqa: E402
from test_secrets import readable_memory  # noqa: E402

JOBS = {'attempts': 3, 'backoff_base': '50ms', 'backoff_cap': '200ms'}
F_SETPIPE_SZ = 1031
HOUSE, SENATE = letters.HOUSE, letters.SENATE


class Around(unittest.TestCase):
    def test_slow_connect(self):
        """A connection that opens only after the leave to send is over uses no attempt."""
        stack = stacks.Stack(lease='3s', jobs={**JOBS, 'attempts': 1}, measured_house={'offices_url': ''})
        self.addCleanup(stack.close)
        stack.start()
        slow = liars.SlowPath(stack.sim.house, 2.3)
        self.addCleanup(slow.close)
        stack.values['house'] = {'address': slow.address}
        worker = stack.start_worker()
        stack.submit(letter('slow'))
        worker.wait_event('letter_later')
        self.assertEqual(stack.job('slow', HOUSE)['attempt'], '0')
        slow.lifted.set()
        result = stack.wait_results(1)[0]
        self.assertEqual((result['outcome'], result['attempt'], stack.sim.count()), ('accepted', '1', 1))
        self.assertGreaterEqual(slow.opened, 2)
        stack.wait_idle()
        account.check(self, stack)

    def test_unread_log(self):
        """The log's reader stands still: letters go on; when it reads again, it is told how much it missed."""
        stack = stacks.Stack(lease='3s')
        self.addCleanup(stack.close)
        stack.start()
        args = stack.write_config('w1')
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        process = subprocess.Popen([stack.program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=writer)
        os.close(writer)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        stack.learn_keys()
        some = list(letters.sample(40, seed=3))
        jobs = sum(len(s['offices']) for s in some)
        stack.submit(*some)
        stack.wait_results(jobs, timeout=20)
        os.set_blocking(reader, False)
        self.assertLessEqual(len(os.read(reader, 1 << 16)), 4096)
        os.set_blocking(reader, True)
        stack.submit(letter('later'))
        stack.wait_results(jobs + 1, timeout=20)
        process.terminate()
        with open(os.dup(reader), encoding='utf-8') as f:
            lines = [json.loads(line) for line in f]
        self.assertGreater(max(line.get('dropped', 0) for line in lines), 40)
        self.assertEqual(process.wait(10), 0)
        stack.wait_idle()
        account.check(self, stack, [*some, letter('later')])

    def test_api_key_in_memory(self):
        """After the letters, and after their connections, the heap has no copy of the key that went with them."""
        with stacks.Stack() as stack:
            worker = stack.start_worker()
            with open('/proc/%d/maps' % worker.pid, encoding='utf-8') as f:
                if 'libasan' in f.read():
                    self.skipTest('the sanitizer keeps what was freed')
            with open(stack.sim.key_file, 'rb') as f:
                key = f.read().strip()
            worker.wait_event('offices_loaded', n=2)
            locked = {where for where, data in readable_memory(worker.pid) if key in data}
            stack.submit(*(letter('key-%d' % n, (HOUSE, SENATE)[n % 2]) for n in range(8)))
            stack.wait_results(8)
            stack.sim.close_idle()
            stack.wait_idle()
            found = {where for where, data in readable_memory(worker.pid) if key in data}
            self.assertEqual({where for where in found if 'heap' in where}, set())
            self.assertLessEqual(found, locked)


if __name__ == '__main__':
    unittest.main(verbosity=2)
