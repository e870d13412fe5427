#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may sign jobs, and when: signers of the measured configuration with a time from which and until which, and the app
server's key that is replaced while letters come in. What is forged or altered is in test_authenticity.py."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from stack import appserver, letters, wait_until  # noqa: E402

DAY = 86400


def stamp(seconds):
    return '-' if seconds is None else time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))


def letter(sid, code=letters.HOUSE):
    submission = letters.base('signed', 'letter', code)
    submission['sid'] = sid
    return submission


class Case(unittest.TestCase):
    def start(self, key_wait, **options):
        self.stack = stacks.Stack(**{'device': 'simulated', 'jobs': {'key_wait': key_wait}, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        return self.stack

    def signer(self, kid):
        return appserver.AppServer(kid, self.stack.queue)

    def configure(self, first, *more):
        """The signers of workers that start from now on: (app server, from, until)."""
        self.stack.app = first
        more = ['%s %s %s %s' % (app.kid, app.public.hex(), stamp(low), stamp(high)) for app, low, high in more]
        self.stack.values['measured_jobs'] = {'signer': '\nsigner = '.join(more)} if more else {}

    def send(self, app, *sids):
        """Letters whose job this app server signs."""
        submissions = [letter(sid) for sid in sids]
        self.stack.enqueue(app.entry(s, self.stack.ring) for s in submissions)
        return submissions

    def wait_refused(self, *sids):
        def refused():
            return {e['sid']: (e['why'], e['detail']) for e in self.stack.stream('refused')}
        wait_until(lambda: set(sids) <= set(refused()), 20, 'refusals of %s' % (sids,))
        self.assertEqual({sid: refused()[sid] for sid in sids}, {sid: ('verify', 'job_signer') for sid in sids})
        for sid in sids:
            self.assertEqual(self.stack.keys('*:' + sid + '*'), [])

    def check(self, *submissions):
        self.stack.wait_results(len(submissions))
        self.stack.wait_idle()
        last = account.check(self, self.stack, submissions)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertEqual(self.stack.sim.count(), len(submissions))
        return last


class Times(Case):
    def test_overlapping(self):
        """Two at the same time, and both are taken; so is one without an end, and one whose end is far away."""
        stack, now = self.start('0s'), time.time()
        a, b, c, d = (self.signer('app-' + x) for x in 'abcd')
        self.configure(a, (b, now - DAY, now + DAY), (c, None, now + DAY), (d, now - DAY, None))
        stack.start_worker()
        self.check(*(s for app in (a, b, c, d) for s in self.send(app, *('%s-%d' % (app.kid, n) for n in range(5)))))

    def test_ended_and_not_begun(self):
        """Each is refused after jobs.key_wait, since another worker might know better, and no sooner."""
        stack, now = self.start('2s'), time.time()
        good, ended, early = (self.signer(x) for x in ('good', 'ended', 'early'))
        self.configure(good, (ended, now - 2 * DAY, now - 1), (early, now + DAY, None))
        stack.start_worker()
        sent = time.monotonic()
        self.send(ended, 'after-its-end')
        self.send(early, 'before-its-time')
        some = self.send(good, 'good')
        for sid in ('after-its-end', 'before-its-time'):
            wait_until(lambda sid=sid: stack.job(sid, letters.HOUSE).get('state') == 'later', what='deferred job')
        # A genuine one behind it has its turn; it waits as long.
        some += self.send(good, 'after-its-end')
        self.wait_refused('before-its-time')
        self.assertGreater(time.monotonic() - sent, 1.9)
        self.check(*some)
        self.assertEqual([(e['sid'], e['detail']) for e in stack.stream('refused') if e['sid'] == 'after-its-end'],
                         [('after-its-end', 'job_signer')])

    def test_begins_and_ends_while_a_worker_runs(self):
        """One begins while its letter waits, which then goes; the other signs until its last second and not in it."""
        stack = self.start('4s')
        good, begins, ends = (self.signer(x) for x in ('good', 'begins', 'ends'))
        now = int(time.time())
        begin, end = now + 4, now + 4
        self.configure(good, (begins, begin, None), (ends, None, end))
        stack.start_worker()
        some = self.send(ends, 'in-time')
        stack.wait_results(1)
        self.assertLess(time.time(), end, 'too slow to say anything')
        some += self.send(begins, 'waits')
        wait_until(lambda: stack.job('waits', letters.HOUSE).get('state') == 'later', what='deferred job')
        self.assertEqual(stack.sim.count(), 1)
        wait_until(lambda: time.time() >= end, 10, 'end of a signer')
        self.send(ends, 'too-late')
        stack.wait_status('waits', letters.HOUSE, 'accepted')
        self.assertGreaterEqual(int(account.last_results(stack)['waits', letters.HOUSE]['begun_us']), begin * 1000000)
        self.wait_refused('too-late')
        self.check(*some)

    def test_what_is_no_signer_does_not_start(self):
        """Two of one name; a time that ends before it begins. The rest of the grammar: test_config.c."""
        stack, now = self.start('0s'), time.time()
        for more in ((self.signer('app-a'), None, None), (self.signer('app-b'), now, now - 1)):
            self.configure(self.signer('app-a'), more)
            worker = stack.start_worker(ready=False)
            self.assertEqual(worker.process.wait(20), 78)
            self.assertIn('jobs.signer', worker.tail())


class Rotation(Case):
    """The app server's key is replaced: first come workers that know both, then the new one signs, then workers that know
    the new one alone. Letters come in all the time, and none is lost or refused."""

    def setUp(self):
        self.submissions = []

    def pour(self, app, name, n=40):
        some = self.send(app, *('%s-%d' % (name, i) for i in range(n)))
        self.submissions += some
        return some

    def test_rotation(self):
        stack = self.start('30s')
        old, new = self.signer('app-2026'), self.signer('app-2027')
        self.configure(old)
        first = stack.start_worker('w1')
        self.pour(old, 'old')
        # Beside the worker that knows only the old key one that knows both.
        now = time.time()
        self.configure(old, (new, now - 1, None))
        second = stack.start_worker('w2')
        self.pour(old, 'both-old')
        # Too early: the first worker does not know the new one, and leaves its letters to others.
        self.pour(new, 'both-new')
        self.assertEqual(first.stop(), 0)
        self.pour(new, 'new')
        self.pour(old, 'last-old', 5)
        stack.wait_idle()  # what is left of the old one is at its end
        # The old one goes.
        self.configure(new)
        third = stack.start_worker('w3')
        self.assertEqual(second.stop(), 0)
        self.pour(new, 'only-new')
        self.check(*self.submissions)
        self.assertEqual(stack.stream('refused'), [])
        self.assertEqual({r['attempt'] for r in stack.results()}, {'1'})
        self.send(old, 'gone')
        wait_until(lambda: stack.job('gone', letters.HOUSE).get('state') == 'later', what='deferred job')
        self.assertEqual(stack.sim.count(), len(self.submissions))
        self.assertEqual(third.stop(), 0)


if __name__ == '__main__':
    unittest.main()
