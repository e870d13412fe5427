# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a worker with letters in flight: when they move again, and what became of them.

The chambers take the letters and do not answer; then the worker is killed, at a random moment between two of its
heartbeats. Measured from the kill: when the first of its letters leaves its hands, when the first is ended with a
receipt (the House's, as unknown: whether they arrived cannot be known, so a person must ask), and when the first is
sent again (the Senate's, which refuses a second copy; not before the first POST must be over, by its total_timeout).
The same again with a worker that comes back under the same name on the same machine.
"""
import concurrent.futures
import random
import threading
import time

import rig as rigs
from rig import BenchError, wait_until

import letters
from stack import Stack

IN_FLIGHT = 20
KILLS, QUICK = 8, 3  # at the same time, each in a system of its own
LEASE = '10s'  # the default
TOTAL_TIMEOUT = '5s'
OTHER_MAX_S, SAME_MAX_S = 15.0, 2.0
# The same test with BullMQ 6.7 at its defaults: seconds until the first letter ran again, and letters doubled.
BULLMQ_S, BULLMQ_DOUBLED = 56.8, 20


def submissions(n):
    """Half for either chamber, each to an office of its own."""
    lists = rigs.offices.default_lists()
    codes = lists['house'][:n // 2] + lists['senate'][:n - n // 2]
    return [letters.base('kill-%d' % i, code=code) for i, code in enumerate(codes)]


class Kill:
    """One kill. The queue's name is its own too: by it and by its own name a worker proves that it is alone."""

    def __init__(self, number, same_name):
        self.queue, self.same_name = 'kill-%d' % number, same_name

    def held(self, name):
        return sum(self.stack.redis('SCARD', key) for key in self.stack.keys('held:%s/*' % name))

    def fly(self, sent):
        """Fills the hands of `victim`; returns when all its letters are at the chambers."""
        stack = self.stack
        stack.sim.fault(action='stall')
        victim = stack.start_worker('victim')
        stack.submit(*sent)
        wait_until(lambda: len(stack.sim.records(what='message')) >= len(sent), 20, 'letters in flight')
        if not self.same_name:
            stack.start_worker('other')
        # Between two beats, and long enough before the POSTs would time out by themselves.
        threading.Event().wait(random.uniform(0, 2.5))
        if self.held('victim') != len(sent):
            raise BenchError('the letters did not stay in flight')
        return victim

    def run(self):
        limits = dict.fromkeys(('total_timeout', 'first_byte_timeout', 'connect_timeout'), TOTAL_TIMEOUT)
        with Stack(lease=LEASE, chamber=limits, queue=self.queue) as self.stack:
            sent = submissions(IN_FLIGHT)
            victim = self.fly(sent)
            victim.kill()
            victim.process.wait()
            self.stack.sim.clear_faults()
            killed, killed_wall = time.monotonic(), time.time()
            if self.same_name:
                self.stack.start_worker('victim', ready=False)
            found = self.watch(killed, len(sent))
            found.update(self.account(killed_wall))
            return found

    def watch(self, killed, n):
        """Seconds from the kill until things are seen."""
        seen = {}

        def look():
            now = time.monotonic() - killed
            results = int(self.stack.redis('XLEN', self.stack.key('results')))
            if 'moved' not in seen and (results > 0 or self.victims_jobs() < n):
                seen['moved'] = now
            if 'ended' not in seen and results > 0:
                seen['ended'] = now
            return results >= n
        wait_until(look, 90, 'end of all letters')
        return seen

    def victims_jobs(self):
        """How many of the letters are still begun under the dead worker's tokens."""
        states = [self.stack.redis('HGET', key, 'state') for key in self.jobs()]
        return states.count('begun')

    def jobs(self):
        if not hasattr(self, 'job_keys'):
            self.job_keys = self.stack.keys('job:*')
        return self.job_keys

    def account(self, killed_wall):
        records = self.stack.sim.records(what='message')
        again = [r['t'] - killed_wall for r in records if r['t'] > killed_wall]
        house = [r['delivery_id'] for r in records if r['chamber'] == 'house']
        outcomes = [r['state'] for r in self.stack.results()]
        return {'sent_again': min(again) if again else None, 'unknown': outcomes.count('unknown'),
                'accepted': outcomes.count('accepted'),
                'doubled': len(house) - len(set(house)) + sum(r['duplicate'] for r in records)}


def kills(n, same_name):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda i: Kill(i, same_name).run(), range(n)))


def tell(report, found, limit, what):
    moved = [f['moved'] for f in found]
    report.row('first letter moves again', moved, 's', 2)
    report.row('first letter ended with a receipt', [f['ended'] for f in found], 's', 2)
    report.row('first letter sent again', [f['sent_again'] for f in found if f['sent_again'] is not None], 's', 2)
    report.row('of %d letters: of unknown fate, for people' % IN_FLIGHT, [f['unknown'] for f in found])
    report.row('of %d letters: accepted' % IN_FLIGHT, [f['accepted'] for f in found])
    report.bar('%s: moves again within %.1f s, at most %.0f' % (what, max(moved), limit), max(moved) <= limit,
               timed=True)
    report.bar('%s: %d letters doubled' % (what, sum(f['doubled'] for f in found)),
               sum(f['doubled'] for f in found) == 0)


def another(report, options):
    n = QUICK if options.quick else KILLS
    report.say('another worker takes over; lease %s; %d kills, %d letters in flight' % (LEASE, n, IN_FLIGHT))
    tell(report, kills(n, False), OTHER_MAX_S, 'another worker')
    report.say('  BullMQ at its defaults, the same test: %.1f s, %d of %d doubled' % (BULLMQ_S, BULLMQ_DOUBLED,
                                                                                     IN_FLIGHT))


def same(report, options):
    n = QUICK if options.quick else KILLS
    report.say('it comes back under the same name on the same machine; %d kills' % n)
    tell(report, kills(n, True), SAME_MAX_S, 'the same name')


PARTS = (another, same)
