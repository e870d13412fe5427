# SPDX-License-Identifier: Apache-2.0
"""What the tests of a worker's life share: a short lease, short time-outs, and how to wait for letters on their way."""
import unittest

import stack as stacks
from stack import letters, wait_until

LEASE_S = 3
TOTAL = {'total_timeout': '3s', 'first_byte_timeout': '2s', 'connect_timeout': '3s'}


def letter(sid, code=letters.HOUSE):
    submission = letters.base('life', 'letter', code)
    submission['sid'] = sid
    return submission


class Case(unittest.TestCase):
    def start(self, worker=True, **options):
        self.stack = stacks.Stack(**{'lease': '%ds' % LEASE_S, 'chamber': TOTAL, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if worker:
            self.worker = self.stack.start_worker()
        return self.stack

    def wait_results(self, n, timeout=60):
        wait_until(lambda: self.stack.redis('XLEN', self.stack.key('results')) >= n, timeout, '%d results' % n)

    def wait_in_flight(self, n, chamber=None):
        """Until so many letters lie at the simulated chambers without an answer."""
        def check():
            stats = self.stack.sim.stats()['stats']
            return sum(s['in_flight'] for c, s in stats.items() if chamber in (None, c)) >= n
        wait_until(check, 20, '%d letters in flight' % n)

    def submit_together(self, *submissions):
        """Of both chambers one TAKE each has all of them: a worker does not ask for the last quarter of its slots alone."""
        for chamber in 'house', 'senate':
            self.stack.admin('hold', chamber, str(4102444800000000), 'test')
        self.stack.submit(*submissions)
        wait_until(lambda: all(self.stack.job(s['sid'], o).get('state') == 'wait' for s in submissions for o in s['offices']),
                   20, 'letters in line')
        for chamber in 'house', 'senate':
            self.stack.admin('resume', chamber)

    def held(self):
        return sum(self.stack.redis('SCARD', k) for k in self.stack.keys('held:*'))

    def states(self, last):
        found = {}
        for r in last.values():
            found[r['state']] = found.get(r['state'], 0) + 1
        return found

    def many(self, n, seed):
        """(submissions, entries, number of jobs)"""
        submissions = list(letters.sample(n, seed=seed))
        return submissions, [self.stack.entry(s) for s in submissions], sum(len(s['offices']) for s in submissions)
