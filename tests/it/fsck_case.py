# SPDX-License-Identifier: Apache-2.0
"""What the tests of cwcctl fsck share: letters in every state, a worker that ends them, and the ways to run it."""
import collections
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CTL, NO, OK, SECOND, QueueCase, rq  # noqa: E402

H, S = 'HNE03', 'SNE02'
OPEN = {'wait', 'later', 'close', 'taken', 'begun'}
DAY = 86400 * SECOND
CLOSING = {'unknown': ('unknown', 'outcome_unknown'), 'crashes': ('dead', 'crashes'), 'dropped': ('dropped', 'dropped'),
           'late': ('accepted', 'accepted_earlier'), 'cancelled': ('cancelled', 'cancelled')}


class FsckCase(QueueCase):
    """The test is the worker w1/1, which accepts all that it sends."""

    def setUp(self):
        super().setUp()
        self.posts = collections.Counter()

    # --- states

    def job(self, sid, office=H):
        return rq.pairs(self.r('HGETALL', '{q}:job:%s:%s' % (sid, office)))

    def waiting(self, sid='a', offices=H, **hints):
        flat = [x for item in hints.items() for x in item]
        self.r('XADD', '{q}:in', '*', 'sid', sid, 'offices', offices, 'job', 'bytes of ' + sid, *flat)
        self.intake()

    def later(self, sid='a'):
        self.waiting(sid, nbf=self.now() + 3600 * SECOND)

    def in_flight(self, sid='a', office=H, begun=True):
        self.waiting(sid, office)
        taken = self.take('house' if office[0] == 'H' else 'senate')[sid]
        if begun:
            self.begin(taken)
            self.posts[sid, office] += 1
        return taken

    def closing(self, sid='a'):
        self.waiting(sid)
        self.assertEqual(self.call('admin', 'cancel', 'test', sid + ':' + H), ['OK', 'close'])

    def over(self, state, sid='a', office=H):
        outcome = {'accepted': 'accepted', 'dead': 'attempts_exhausted', 'unknown': 'outcome_unknown'}
        taken = self.in_flight(sid, office)
        self.settle(taken, state, outcome.get(state, state), cls=state)

    def retried(self, sid='a', office=H, unknown=False):
        self.end_with(self.in_flight(sid, office), 'unknown' if unknown else 'retry', due=self.now() + 3600 * SECOND)

    def challenged(self, state='dead', sid='a'):
        self.over(state, sid)
        self.r('XADD', '{q}:in', '*', 'sid', sid, 'offices', H, 'job', 'other bytes')
        self.intake()

    def all_states(self):
        """A submission in each state, and one in several."""
        self.retried('retried')
        self.retried('marked', S, unknown=True)
        self.challenged('dead', 'challenged')
        self.challenged('rejected', 'challenged2')
        for state in ('accepted', 'rejected', 'dead', 'expired', 'cancelled', 'dropped', 'unknown'):
            self.over(state, 'over-' + state)
        self.over('accepted', 'several', H)
        self.r('XADD', '{q}:in', '*', 'sid', 'several', 'offices', 'HNE03,SNE02,SNE01', 'job', 'bytes of several')
        self.closing()
        self.later('later')
        self.in_flight('taken', begun=False)
        self.in_flight('begun')
        self.in_flight('sbegun', S)
        self.waiting('waiting', 'HNE03,SNE01')
        self.r('XADD', '{q}:in', '*', 'sid', 'waiting', 'offices', 'HNE03', 'job', 'candidate')
        self.intake()
        self.call('admin', 'hold', 'test', 'HNE03', self.now() + 3600 * SECOND, 'why not')
        self.r('XADD', '{q}:in', '*', 'sid', 'bad', 'offices', 'nowhere', 'job', 'x')
        self.intake()

    # --- the worker

    def end_with(self, taken, verb, state='', outcome='', due=0):
        sid, office, token = taken[:3]
        return self.call('settle', 'w1/1', sid, office, token, verb, state, outcome, state or 'ended', 0, '', 200, due,
                         self.now(), self.now(), 'receipt', 'alt', -1, 0, 0)

    def work(self, taken):
        sid, office, token, why = taken[:4]
        if not taken[17] and (why in ('', 'expired') or taken[5]):
            return self.end_with(taken, 'refused')
        if why == 'expired':
            return self.end_with(taken, 'live', due=self.now() + DAY)
        if why:
            return self.end_with(taken, 'end', *CLOSING[why])
        reply = self.call('begin', 'w1/1', sid, office, token, 'd' * 32, '20260302', int(taken[6]) + 1,
                          self.now() + DAY, self.now())
        if reply[0] != 'GO':
            state = {'CANCELLED': 'cancelled'}.get(reply[0])
            return self.end_with(taken, *('end', state, state) if state else ('release',))
        self.posts[sid, office] += 1
        return self.end_with(taken, 'end', 'accepted', 'accepted')

    def drain(self, posts=1):
        """All that can end ends; no letter is sent more than `posts` times, no result is written twice."""
        for what in ('house', 'senate', H, S):
            self.call('admin', 'resume', 'test', what)
        for _ in range(60):
            self.call('beat', 'w1/1', 60 * SECOND, 'beat', self.now(), 1)
            self.call('reap', 'w1/1', self.now(), 0, 3, 0, 1, 100)
            for jid in self.r('ZRANGE', '{q}:later', 0, -1):
                self.r('ZADD', '{q}:later', 'XX', 1, jid)
            taken = [t for c in ('house', 'senate') for t in self.take_all(c)]
            for t in taken:
                self.work(t)
            if not taken and not self.open_jobs():
                break
        self.assertEqual(self.open_jobs(), [])
        self.assertLessEqual(max(self.posts.values(), default=0), posts, self.posts)
        told = collections.Counter((e['sid'], e['office'], e['rev']) for e in rq.stream(self.r, 'results'))
        self.assertEqual(set(told.values()) - {1}, set(), told)
        self.clean()

    def take_all(self, chamber):
        self.take_id += 1
        return self.call('take', chamber, 'w1/1', 'w1/1.%d' % self.take_id, 64, self.now(), 1, SECOND, 0, 1, 100, 1)[2:]

    def open_jobs(self):
        return [k for k in self.r('KEYS', '{q}:job:*') if self.r('HGET', k, 'state') in OPEN]

    # --- fsck

    def fsck(self, *args, code=None):
        rows = self.ctl('fsck', '--json', *args, code=code).lines if code is not None else self.run_any(*args)
        self.assertEqual(len(rows) - 1, rows[-1]['summary']['findings'])
        return rows[:-1]

    def run_any(self, *args):
        p = subprocess.run([CTL, 'fsck', '--json', *args, *self.redis], capture_output=True, timeout=60, check=False)
        self.assertIn(p.returncode, (OK, NO), p.stderr)
        rows = [json.loads(line) for line in p.stdout.decode().splitlines()]
        self.assertEqual(p.returncode, OK if len(rows) == 1 else NO)
        return rows

    def clean(self):
        self.assertEqual(self.fsck(), [])

    def broken(self, code, *also, then=(), left=False, drain=True, posts=1):
        """It is found and changes nothing, is mended, and is found no more; the rest of the queue goes on. `also`: what
        the same damage breaks besides; `then`: what is only seen when the first is mended."""
        before = self.dump()
        found = self.fsck(code=NO)
        self.assertEqual(self.dump(), before, 'a check wrote')
        self.assertEqual({f['code'] for f in found}, {code, *also}, found)
        mended = self.fsck('--mend', code=NO)
        codes = {f['code'] for f in mended}
        self.assertIn(code, codes)
        self.assertLessEqual(codes, {code, *also, *then}, mended)
        self.assertEqual({f['done'][:5] == 'left:' for f in mended if f['code'] == code}, {left}, mended)
        again = self.fsck()
        self.assertEqual([f['code'] for f in again], [code] if left else [], again)
        if drain and not left:
            self.drain(posts)
        return mended

    def dump(self):
        keys = [k for k in self.r('KEYS', '{q}:*')]
        return {k: self.r('DUMP', k) for k in keys if ':rate:' not in k}


class StackCase(unittest.TestCase):
    def fsck(self, stack, *args):
        """The lines of the findings."""
        p = subprocess.run([CTL, 'fsck', *args, '--quiet', '--redis', 'unix:' + stack.redis_path], capture_output=True,
                           text=True, timeout=120, check=False)
        self.assertIn(p.returncode, (OK, NO), p.stderr)
        return p.stdout.splitlines()[:-1]

    def accounted(self, stack, good):
        """Every letter ended as accepted or unknown, none was accepted twice."""
        wanted = {(s['sid'], office) for s in good for office in s['offices']}
        ended = {(r['sid'], r['office']) for r in stack.results() if r['state'] in ('accepted', 'unknown')}
        self.assertEqual(ended, wanted)
        sent = collections.Counter(r['delivery_id'] for r in stack.sim.records(accepted=True))
        self.assertEqual({k: n for k, n in sent.items() if n > 1}, {})
