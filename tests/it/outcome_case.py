# SPDX-License-Identifier: Apache-2.0
"""What the tests of outcomes share: short time-outs, few attempts, one letter to one office."""
import unittest

import stack as stacks
from stack import letters

TOTAL_S = 3
LIMITS = {'total_timeout': '%ds' % TOTAL_S, 'first_byte_timeout': '1s', 'connect_timeout': '2s'}
JOBS = {'attempts': 3, 'backoff_base': '50ms', 'backoff_cap': '200ms'}
ATTEMPTS = 3
CHAMBERS = {'house': letters.offices.house_offices(), 'senate': letters.offices.senate_active()}


def letter(sid, code):
    submission = letters.base('outcome', 'letter', code)
    submission['sid'] = sid
    return submission


class Case(unittest.TestCase):
    def start(self, worker=True, **options):
        self.stack = stacks.Stack(**{'chamber': LIMITS, 'jobs': JOBS, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if worker:
            self.worker = self.stack.start_worker()
            self.worker.wait_event('offices_loaded', n=2)
        return self.stack

    def both(self, tag):
        return [letter(tag + '-h', letters.HOUSE), letter(tag + '-s', letters.SENATE)]
