#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker's place in the queue: joining, losing it, what it publishes with it, and what it says of itself."""
import os
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import liar as liars  # noqa: E402
from life_case import Case as LifeCase, letter  # noqa: E402
from liar import Error  # noqa: E402
from stack import letters, wait_until  # noqa: E402

HOUSE, SENATE = letters.HOUSE, letters.SENATE
LOOKS_S = 0.2  # a worker looks at itself each 50 ms
NO_FIELDS = 6  # arguments of a `join` that publishes nothing


class Case(LifeCase):
    def start_told(self, **options):
        """With a liar between the worker and Redis, which only listens at first."""
        self.start(worker=False, chamber={}, **options)  # its usual time-outs: a busy machine is no part of this
        self.liar = liars.Liar(self.stack.redis_path, self.stack.path('liar.sock'))
        self.addCleanup(self.liar.close)
        self.stack.dialled = self.liar.path
        self.worker = self.stack.start_worker()

    def joins(self):
        return [argv for argv in self.liar.asked('beat') if argv[2] in (b'join', b'rejoin')]

    def said(self):
        """What the worker said of its readiness: 'ready', or the reason why not."""
        return [e.get('reason', 'ready') for e in self.worker.events() if e['event'] in ('ready', 'not_ready')]

    def looked(self, n=4):
        before = len(self.liar.asked('take'))
        wait_until(lambda: len(self.liar.asked('take')) >= before + n, what='TAKEs')

    def delivered(self, sid, code=HOUSE):
        self.stack.submit(letter(sid, code))
        self.stack.wait_status(sid, code, 'accepted')


class Fenced(Case):
    def test_told_twice(self):
        """Both TAKEs under way say FENCED, the second when the worker is joining anew: that was said of a lease that is
        history."""
        self.start_told()
        both, told, rounds = threading.Event(), [], [0]

        def fenced(argv):
            if both.is_set():
                return None
            if not told or argv[0] in told:
                told[:] = [argv[0]]
                rounds[0] += 1
                return [b'FENCED']
            self.worker.wait_event('queue_fenced', n=rounds[0])
            try:
                wait_until(self.asks_the_time, 1, 'join')
            except TimeoutError:  # they were not under way together: this one is of the next membership
                told.clear()
                return None
            both.set()
            return [b'FENCED']
        self.liar.instead('take', fenced, times=None)
        self.assertTrue(both.wait(20))
        self.looked()
        self.delivered('after')
        self.assertEqual(len(self.worker.events('queue_fenced')), rounds[0])
        self.assertEqual(len(self.joins()), 1 + rounds[0])
        self.assertEqual(len({argv[0] for argv in self.joins()}), 1 + rounds[0])
        self.assertEqual(self.worker.stop(), 0)

    def asks_the_time(self):
        """The worker's next words lie unread in the liar's socket."""
        try:
            return b'TIME' in self.liar.sockets[-2].recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


class Published(Case):
    def entries(self):
        return self.stack.stream('attestations')

    def restart(self):
        """A Redis that knows nothing."""
        ups = len(self.worker.events('queue_up'))
        self.stack.kill_redis()
        self.stack.start_redis()
        self.worker.wait_event('queue_up', n=ups + 1)

    def reconnect(self):
        n = len(self.joins())
        self.stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        wait_until(lambda: len(self.joins()) > n, what='join')
        self.looked()
        return self.joins()[-1]

    def test_once_to_each_server(self):
        self.start_told()
        first, = self.entries()
        self.assertEqual(len(self.reconnect()), NO_FIELDS)
        self.assertEqual(self.entries(), [first])
        # Another start of Redis, which forgot: everybody who seals or checks needs them there.
        self.restart()
        wait_until(self.entries, what='keys')
        self.assertEqual(self.entries(), [first])
        self.delivered('sealed')
        account.check(self, self.stack)
        self.assertEqual(len(self.reconnect()), NO_FIELDS)
        self.assertEqual(self.entries(), [first])
        self.assertEqual(self.worker.stop(), 0)

    def test_until_they_arrived(self):
        """A join that failed has published nothing: the next one does."""
        self.start_told()
        first, = self.entries()
        for n, failure in enumerate((Error(b'BUSY x'), [b'TAKEN', b'w1/other'])):
            lie = self.liar.instead('beat', lambda argv, failure=failure: failure if argv[2] in (b'join', b'rejoin') else None)
            self.restart()
            lie.wait()
            wait_until(self.entries, what='keys')
            self.assertEqual(self.entries(), [first])
            self.delivered('sealed-%d' % n)
        self.assertEqual(self.worker.stop(), 0)


class Readiness(Case):
    def test_one_chamber_fails(self):
        """That the Senate's letters are found does not mean that the House's are."""
        self.start_told()
        lie = self.liar.instead('take', lambda argv: Error(b'BUSY x') if argv[0] == b'house' else None, times=4)
        lie.wait()
        self.delivered('after')
        wait_until(lambda: self.said()[-1] == 'ready', what='readiness')
        self.assertEqual(self.said(), ['ready', 'queue_busy', 'ready'])
        self.assertEqual(self.worker.stop(), 0)

    def test_join_without_adopt(self):
        """A worker that is let in, and then cannot say what it holds, is not ready in between."""
        self.start_told()

        def fail(_argv):
            time.sleep(LOOKS_S)  # what must not come within that is a word of the worker's
            return Error(b'NOREPLICAS x')
        lie = self.liar.instead('adopt', fail, times=3)
        self.stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        lie.wait()
        self.delivered('after')
        wait_until(lambda: self.said()[-1] == 'ready', what='readiness')
        self.assertGreaterEqual(len(self.joins()), 4)
        said = self.said()
        self.assertEqual(said[-2:], ['queue_busy', 'ready'])
        self.assertEqual((said.count('queue_busy'), said.count('ready')), (1, 2), said)
        self.assertEqual(self.worker.stop(), 0)

    def test_newer_queue(self):
        self.start_told()
        version = self.stack.redis('HGET', self.stack.key('meta'), 'version')
        self.stack.redis('HSET', self.stack.key('meta'), 'version', int(version) + 1)
        n = len(self.joins())
        wait_until(lambda: len(self.joins()) >= n + 2, what='two joins')
        self.assertEqual(self.said(), ['ready', 'queue_version'])
        self.stack.redis('HSET', self.stack.key('meta'), 'version', version)
        self.delivered('after')
        wait_until(lambda: self.said()[-1] == 'ready', what='readiness')
        self.assertEqual(self.said(), ['ready', 'queue_version', 'ready'])
        self.assertEqual(self.worker.stop(), 0)

    def test_clock(self):
        """TAKE finds that the clocks disagree: the log says by how much; and answers to TIME that make no sense keep a
        worker from joining, no longer than they last."""
        self.start_told()
        self.liar.after('TIME', lambda _argv, reply: [b'%d' % (int(reply[0]) - 3600), reply[1]])
        self.liar.instead('take', lambda _argv: [b'SKEW']).wait()
        event = self.worker.wait_event('not_ready')
        self.assertEqual(event['reason'], 'clock_skew')
        self.assertAlmostEqual(event['skew_ms'], 3600 * 1000, delta=2000)
        self.worker.wait_event('ready', n=2)
        lies = [self.liar.instead('TIME', lambda _argv, told=told: told)
                for told in ([], 7, [b'1'], [b'x', b'y'], [b'-1', b'0'], [b'9' * 30, b'0'], [b'1', b'1000000'],
                             Error(b'ERR x'), [b'%d' % 2 ** 43, b'999999'])]
        n = len(self.joins())
        self.stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        for lie in lies:
            lie.wait()
        self.assertEqual(len(self.joins()), n)
        self.worker.wait_event('ready', n=3)
        self.delivered('after')
        self.assertEqual(self.worker.stop(), 0)


if __name__ == '__main__':
    unittest.main(verbosity=2)
