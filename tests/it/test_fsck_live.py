#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl fsck beside what goes on: after scripts that failed in the middle it finds only what may be left over, and mends
it; while workers send letters it finds nothing, and when indexes are damaged all the time all letters arrive once.

CWC_LONG=1: of the scripts each fifth command, and more letters."""
import collections
import json
import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CTL, SECOND, rq, wait_until  # noqa: E402
from fsck_case import StackCase  # noqa: E402
import exhaust  # noqa: E402
from invariants import Bad, check_state  # noqa: E402
from stack import Stack, letters  # noqa: E402

LONG = bool(os.environ.get('CWC_LONG'))

# --- after scripts that failed in the middle --------------------------------------------------------------------------

# What section 7 of PROTOCOL.md says can be left over.
LEFT_OVER = {'line-left', 'later-left', 'close-left', 'exp-left', 'unknown-left', 'held-left', 'fly-left', 'dead-left',
             'turn-left', 'sub-summary', 'sub-life', 'sub-empty', 'bytes-left', 'inerr-left', 'stuck-left', 'record-missing'}


def walk(r, sha, verb):
    """What cwcctl does, for scripts that go by the virtual clock."""
    found = []

    def ask(kind, items, name=''):
        items = list(items)
        for i in range(0, len(items), 32):
            reply = r('EVALSHA', sha, 1, rq.META, verb, kind, name, 1, *items[i:i + 32], 0)
            assert reply[0] == 'OK', reply
            found.extend(zip(reply[1::3], reply[2::3], reply[3::3]))

    def keys(pattern):
        return sorted(k[4:] for k in r('KEYS', '{q}:' + pattern) if k not in ('{q}:faketime', '{q}:commands'))

    ask('meta', ['meta'])
    ask('key', keys('*'))
    ask('lost', (k[4:] for k in keys('sub:*')))
    ask('job', (k[4:] for k in keys('job:*')))
    ask('sub', (k[4:] for k in keys('sub:*')))
    for head, kind, command in (('wait', 'line', 'ZRANGE'), ('held', 'held', 'SMEMBERS'), ('fly', 'fly', 'SMEMBERS')):
        for k in keys(head + ':*'):
            ask(kind, r(command, '{q}:' + k, *((0, -1) if command == 'ZRANGE' else ())), k.split(':', 1)[1])
    for kind in ('later', 'close', 'exp', 'unknown', 'workers'):
        ask(kind, r('ZRANGE', '{q}:' + kind, 0, -1))
    for chamber in ('house', 'senate'):
        ask('turn', r('ZRANGE', '{q}:turn:' + chamber, 0, -1), chamber)
    for kind in ('machines', 'holds', 'breaker', 'inerr'):
        ask(kind, r('HKEYS', '{q}:' + kind))
    for kind in ('dead', 'stuck'):
        ask(kind, (e[0] for e in r('XRANGE', '{q}:' + kind, '-', '+')))
    ask('results', ('%s:%s %s %s' % (e['sid'], e['office'], e['rev'], i.split('-')[0]) for i, e in
                    ((x[0], rq.pairs(x[1])) for x in r('XRANGE', '{q}:results', '-', '+'))))
    return found


class AfterFaults(unittest.TestCase):
    """As exhaust.py, some commands of each scene and each third or every one of two: what a failed call leaves is of the
    known kinds, fsck mends it at once, and then everything ends as it must."""
    EACH, OF_TWO = (5, 1) if LONG else (15, 3)

    @classmethod
    def setUpClass(cls):
        cls.server = rq.Server()
        cls.addClassCleanup(cls.server.stop)
        cls.sha = rq.load(cls.server.r, inject=True)

    def run_one(self, name, k):
        s = exhaust.Scene(self.server.r, self.sha, 8)
        call = s.call

        def call_and_fsck(k, *args):
            reply = call(k, *args)
            found = walk(s.sim.r, self.sha['fsck'], 'check')
            if k != exhaust.COUNT:
                self.assertLessEqual({f[1] for f in found}, LEFT_OVER, found)
                mended = walk(s.sim.r, self.sha['fsck'], 'mend')
                self.assertLessEqual({f[1] for f in mended}, LEFT_OVER, mended)
                self.assertEqual([f for f in mended if f[2][:5] == 'left:'], [])
                found = walk(s.sim.r, self.sha['fsck'], 'check')
                check_state(s.sim)
                self.seen |= {f[1] for f in mended}
            self.assertEqual(found, [])
            return reply
        s.call = call_and_fsck
        exhaust.SCENES[name](s, k)
        s.sim.drain()
        self.assertEqual(walk(s.sim.r, self.sha['fsck'], 'check'), [])
        return s.commands

    def test_sample(self):
        self.seen = set()
        for at, name in enumerate(exhaust.SCENES):
            n = self.run_one(name, exhaust.COUNT)
            each = self.OF_TWO if name in ('take lines', 'settle dead') else self.EACH
            for k in [k for k in range(1, n + 1) if (k + at) % each == 0 or k == n]:
                for sign in (1, -1):
                    with self.subTest(scene=name, command=sign * k):
                        try:
                            self.run_one(name, sign * k)
                        except Bad as e:
                            self.fail(e)
        self.assertGreater(len(self.seen), 6, self.seen)


# --- with real workers ------------------------------------------------------------------------------------------------


class UnderLoad(StackCase):
    LETTERS, AT_ONCE = (2000, 100) if LONG else (600, 30)
    ROUNDS, EACH = (100 if LONG else 40), 3

    def test_under_load(self):
        """Nobody breaks anything, so nothing is found, while workers send, die and join."""
        with Stack(jobs={'attempts': 3, 'backoff_base': '10ms'}) as stack:
            workers = [stack.start_worker('w1'), stack.start_worker('w2')]
            good = list(letters.sample(self.LETTERS))
            jobs = sum(len(s['offices']) for s in good)
            runs = 0
            for i in range(0, len(good), self.AT_ONCE):
                stack.submit(*good[i:i + self.AT_ONCE])
                self.assertEqual(self.fsck(stack, '--mend'), [])
                runs += 1
                if i == len(good) // 2:
                    workers.pop(0).kill()
                    workers.append(stack.start_worker('w3'))
            while len(stack.results()) < jobs:
                self.assertEqual(self.fsck(stack, '--mend'), [])
                runs += 1
            stack.wait_idle()
            self.assertEqual(self.fsck(stack), [])
            self.accounted(stack, good)
            self.assertGreaterEqual(runs, 20)

    def test_indexes_are_damaged_under_load(self):
        """Indexes are lost and invented all the time; fsck --mend in a loop; all letters arrive once."""
        rnd = random.Random(5)
        with Stack(rate='30/s', burst=1) as stack:
            stack.start_worker('w1')
            stack.start_worker('w2')
            # Letters come as fast as it is damaged: however fast the machine is, there is something to damage.
            good = list(letters.sample(self.ROUNDS * self.EACH))
            found = collections.Counter()
            for n in range(0, len(good), self.EACH):
                stack.submit(*good[n:n + self.EACH])
                self.damage(stack, rnd, good[:n + self.EACH])
                found.update(line.split()[0] for line in self.fsck(stack, '--mend'))
            end = time.monotonic() + 200
            while stack.redis('XLEN', stack.key('in')) or any(':wait' in k or ':held' in k for k in stack.busy()):
                found.update(line.split()[0] for line in self.fsck(stack, '--mend'))
                self.assertLess(time.monotonic(), end, stack.busy())
            self.fsck(stack, '--mend')
            stack.wait_idle()
            self.assertEqual(self.fsck(stack), [])
            self.accounted(stack, good)
            self.assertGreaterEqual(len(found), 6, found)

    def damage(self, stack, rnd, good):
        r, key = stack.redis, stack.key
        s = rnd.choice(good)
        sid, office = s['sid'], s['offices'][0]
        lines, flights = stack.keys('wait:*'), stack.keys('fly:*') + stack.keys('held:*')
        for place in [key(k) for k in ('exp', 'later', 'turn:house', 'turn:senate', 'close')] + rnd.sample(lines, len(lines) // 8):
            member = r('ZRANDMEMBER', place)
            if member and rnd.random() < .5:
                r('ZREM', place, member)
        for place in rnd.sample(flights, len(flights) // 8):
            member = r('SRANDMEMBER', place)
            if member:
                r('SREM', place, member)
        r('ZADD', key(rnd.choice(['later', 'close', 'exp', 'unknown'])), 1, sid + ':' + office)
        r('ZADD', key('wait:' + office), 1, sid)
        r('SADD', key('fly:' + office), 'w1/x.1.1')
        r('SADD', key('held:w1/x'), '%s:%s w1/x.1.1' % (sid, office))
        if r('EXISTS', key('sub:' + sid)):
            r('HSET', key('sub:' + sid), 'rollup', 'lost', 'open', 9)


class RealWorkers(StackCase):
    """What the close lane is given to, a worker ends with a receipt."""

    def test_ends(self):
        with Stack() as stack:
            stack.start_worker()
            stack.admin('hold', 'house', int(time.time() + 600) * SECOND, 'test')
            good = list(letters.sample(9, chambers=('house',)))
            stack.submit(*good)
            r, key, ids = stack.redis, stack.key, [(s['sid'], s['offices'][0]) for s in good]
            wait_until(lambda: all(stack.job(*i) for i in ids), what='intake')
            job = [key('job:%s:%s' % i) for i in ids]
            wants = ['dropped', 'unknown', 'unknown', 'accepted', 'accepted', 'accepted', 'unknown', 'cancelled', 'accepted']
            r('HDEL', key('sub:' + ids[0][0]), 'j:' + r('HGET', job[0], 'digest'))
            r('HSET', job[1], 'state', 'nothing', 'begun_us', 1)
            r('HSET', job[2], 'previous', 'accepted', 'previous_attempt', 0, 'previous_digest', 'x')
            r('DEL', job[3])
            r('HSET', job[4], 'state', 'nothing')
            r('ZREM', key('wait:' + ids[5][1]), ids[5][0])
            r('HSET', job[6], 'state', 'begun', 'begun_us', 1)
            r('HSET', job[7], 'why', 'cancelled')
            r('HDEL', job[8], 'score', 'attempt', 'why', 'candidates')
            self.assertTrue(self.fsck(stack, '--mend'))
            self.assertEqual(self.fsck(stack), [])
            stack.admin('resume', 'house')
            stack.wait_idle()
            self.assertEqual([stack.job(*i)['state'] for i in ids], wants)
            out = subprocess.run([CTL, 'results', '--verify', '--json', '--redis', 'unix:' + stack.redis_path],
                                 capture_output=True, text=True, timeout=60, check=True).stdout
            rows = [json.loads(line) for line in out.splitlines()]
            told = collections.Counter((x['sid'], x['office'], x['state'], x['verified']) for x in rows)
            self.assertEqual(told, {(*i, want, 'ok'): 1 for i, want in zip(ids, wants)})
            posts = collections.Counter(x['delivery_id'] for x in stack.sim.records())
            self.assertEqual(set(posts.values()), {1})
            self.assertEqual(self.fsck(stack), [])


if __name__ == '__main__':
    unittest.main()
