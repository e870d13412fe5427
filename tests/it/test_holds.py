#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A hold that Redis refuses: the worker that met the trouble keeps the chamber's by itself, at once; an office's keeps
nobody else. More, in virtual time: tests/scenario/hold-*.scn."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import liar as liars  # noqa: E402
from life_case import Case, letter  # noqa: E402
from liar import Error  # noqa: E402
from stack import letters, wait_until  # noqa: E402

HOUSE, SENATE, OTHER = letters.HOUSE, letters.SENATE, 'HTX09'
RETRY_AFTER_S = 60  # longer than any test


class Refused(Case):
    def setUp(self):
        self.start(worker=False, chamber={})  # its usual time-outs
        self.liar = liars.Liar(self.stack.redis_path, self.stack.path('liar.sock'))
        self.addCleanup(self.liar.close)
        self.stack.dialled = self.liar.path
        self.worker = self.stack.start_worker()
        self.refused = self.liar.instead('admin', lambda argv: Error(b'BUSY x') if argv[0] == b'hold' else None)

    def throttle(self):
        self.stack.sim.fault(action='status', status=429, retry_after=RETRY_AFTER_S, count=1, delay_ms=500,
                             chamber='house')

    def check_error(self, sid, code=HOUSE):
        error = self.worker.wait_event('queue_error')
        self.assertEqual((error['command'], error['code'], error['sid'], error['office']),
                         ('hold', 'queue_busy', sid, code))

    def looked(self, n=3):
        """The worker has looked for letters so often since."""
        before = len(self.liar.asked('take'))
        wait_until(lambda: len(self.liar.asked('take')) >= before + 2 * n, what='TAKEs')

    def test_letter_that_may_just_go(self):
        """GO comes when the chamber is closed already: what was taken before that is not sent into it."""
        self.throttle()
        self.stack.submit(letter('first'))
        self.wait_in_flight(1)

        def late(_argv, reply):
            if not any(isinstance(x, list) and x[0] == b'second' for x in reply):
                return None
            self.worker.wait_event('chamber_held')  # HOLD is on its way, in front of this letter's BEGIN
            return reply
        late = self.liar.after('take', late)
        self.stack.submit(letter('second'))
        late.wait()
        self.refused.wait()
        self.check_error('first')
        back = self.worker.wait_event('letter_given_back')
        self.assertEqual((back['sid'], back['outcome']), ('second', 'not_sent'))
        self.assertEqual(len(self.liar.asked('begin', 'second')), 1)
        self.stack.submit(letter('third'), letter('senate', SENATE))
        self.stack.wait_status('senate', SENATE, 'accepted')
        self.looked()
        for sid in ('first', 'second', 'third'):
            job = self.stack.job(sid, HOUSE)
            self.assertEqual((sid, job['state'], job['attempt']), (sid, 'wait', '0'))
        self.assertEqual(self.stack.sim.count(chamber='house'), 1)
        self.assertEqual(self.stack.redis('HLEN', self.stack.key('holds')), 0)
        self.assertEqual(self.worker.stop(), 0)

    def test_office(self):
        """The office's letter waits by itself, not at once; the chamber is open."""
        self.stack.submit(letter('other-1', OTHER))
        self.stack.wait_status('other-1', OTHER, 'accepted')
        self.stack.sim.fault(action='status', status=403, count=1, office=HOUSE)
        self.stack.submit(letter('first'))
        self.refused.wait()
        self.check_error('first')
        self.assertEqual(self.worker.wait_event('office_held')['office'], HOUSE)
        self.stack.wait_status('first', HOUSE, 'later')
        self.stack.submit(letter('other-2', OTHER))
        self.stack.wait_status('other-2', OTHER, 'accepted')
        self.looked()
        job = self.stack.job('first', HOUSE)
        self.assertEqual((job['state'], job['attempt']), ('later', '0'))
        due_s = int(self.stack.redis('ZSCORE', self.stack.key('later'), 'first:' + HOUSE)) / 10 ** 6
        self.assertAlmostEqual(due_s - self.now_s(), 300, delta=20)
        self.assertEqual(self.worker.events('chamber_held'), [])
        self.assertEqual(self.worker.stop(), 0)

    def now_s(self):
        seconds, _ = self.stack.redis('TIME')
        return int(seconds)


if __name__ == '__main__':
    unittest.main(verbosity=2)
