#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Offices and chambers that fail: the breaker opens for all workers, one letter of the whole fleet probes, the others
keep their place in line, and nobody else waits. Real workers, real scripts, simulated chambers."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from outcome_case import CHAMBERS, LIMITS, Case, letter  # noqa: E402
from stack import rq, wait_until  # noqa: E402

DEAD, ALIVE = CHAMBERS['senate'][0], CHAMBERS['senate'][1]
OPEN_S = 2
MANY = {'attempts': 100, 'backoff_base': '50ms', 'backoff_cap': '200ms'}
# The Senate sends again by itself; so its letters can fail often without an end.
QUICK = {**LIMITS, 'total_timeout': '1s', 'connect_timeout': '1s', 'office_concurrency': 4}


class Breakers(Case):
    def start(self, worker=True, open_s=OPEN_S, **options):
        measured = {'breaker_open': '%ds' % open_s}
        return super().start(worker, **{'chamber': QUICK, 'jobs': MANY, 'measured_senate': measured,
                                        'measured_house': measured, **options})

    def breaker(self, what):
        """(state, opens, seconds until the probe) or None."""
        text = self.stack.redis('HGET', self.stack.key('breaker'), what)
        if text is None:
            return None
        state, opens, until = text.split(' ')[:3]
        return state, int(opens), int(until) / 1e6 - time.time()

    def wait_breaker(self, what, *states):
        wait_until(lambda: (self.breaker(what) or ('closed',))[0] in states, what='breaker of %s %s' % (what, states))

    def at_rest(self):
        """(POSTs so far, how often it opened) while it is open and no worker has a letter, else None: when it opens,
        some are under way."""
        before = self.breaker(DEAD)
        posts = self.stack.sim.count(office=DEAD)
        quiet = not self.stack.keys('held:*')
        return (posts, before[1]) if quiet and before[0] == 'open' and self.breaker(DEAD)[:2] == before[:2] else None

    def depth(self):
        return rq.pairs(self.stack.script('depth', int(time.time() * 1e6)))

    def test_one_dead_office(self):
        """Not sent any more while it is open, in order when it is over; the office beside it notices nothing."""
        stack = self.start()
        stack.sim.fault(action='status', status=503, chamber='senate', office=DEAD)
        dead = [letter('dead-%02d' % n, DEAD) for n in range(12)]
        stack.submit(*dead)
        self.wait_breaker(DEAD, 'open')
        opened = self.worker.wait_event('breaker_open')
        self.assertEqual((opened['office'], self.worker.events('breaker_open')[0]['wait_ms'] >= OPEN_S * 900),
                         (DEAD, True))
        posts = stack.sim.count(office=DEAD)
        alive = [letter('alive-%02d' % n, ALIVE) for n in range(20)]
        before = time.monotonic()
        stack.submit(*alive)
        stack.wait_results(20)
        self.assertLess(time.monotonic() - before, OPEN_S)
        if self.breaker(DEAD)[2] > 0:  # else the machine is too slow for this to say anything
            self.assertEqual(stack.sim.count(office=DEAD), posts)
        depth = self.depth()
        self.assertEqual((int(depth['senate_breakers']), int(depth['senate_down'])), (1, 0))
        stack.sim.clear_faults()
        self.worker.wait_event('breaker_closed')
        stack.wait_results(32)
        last = account.check(self, stack, dead + alive)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertIsNone(self.breaker(DEAD))

    def test_one_probe_for_the_fleet_and_growing(self):
        stack = self.start(open_s=1)
        workers = [self.worker] + [stack.start_worker('w%d' % n) for n in (2, 3)]
        stack.sim.fault(action='status', status=503, chamber='senate', office=DEAD)
        some = [letter('probe-%02d' % n, DEAD) for n in range(8)]
        stack.submit(*some)
        self.wait_breaker(DEAD, 'open')
        posts, opens = wait_until(self.at_rest, what='stragglers')
        wait_until(lambda: self.breaker(DEAD)[:2] == ('open', opens + 2), what='two probes', timeout=60)
        until = time.time() + self.breaker(DEAD)[2]
        # One POST for each time that it opened again, of three workers with eight letters.
        self.assertEqual(stack.sim.count(office=DEAD), posts + 2)
        # One second at first; now four or more, and before the last probe two or more.
        times = [r['t'] for r in stack.sim.records(office=DEAD)]
        self.assertGreater(times[-1] - times[-2], 1.5)
        self.assertGreater(until - times[-1], 3)
        stack.sim.clear_faults()
        stack.admin('resume', DEAD)  # a person does not wait
        self.assertIsNone(self.breaker(DEAD))
        stack.wait_results(8)
        account.check(self, stack, some)
        self.assertEqual({w.stop() for w in workers}, {0})

    def test_a_whole_chamber(self):
        """Three offices fail and nobody answers: the chamber is down; the other chamber is not."""
        stack = self.start()
        stack.sim.fault(action='status', status=503, chamber='senate')
        some = [letter('down-%02d' % n, CHAMBERS['senate'][n % 6]) for n in range(12)]
        stack.submit(*some)
        self.wait_breaker('senate', 'open')
        self.assertEqual(int(self.depth()['senate_down']), 1)
        house = [letter('house-%02d' % n, CHAMBERS['house'][n]) for n in range(5)]
        stack.submit(*house)
        stack.wait_results(5)
        self.assertIsNone(self.breaker('house'))
        stack.sim.clear_faults()
        stack.wait_results(17)
        last = account.check(self, stack, some + house)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertIsNone(self.breaker('senate'))
        self.assertIn('senate', {e.get('chamber') for e in self.worker.events('breaker_closed')})

    def test_bad_letters_are_no_fault_of_the_office(self):
        stack = self.start()
        stack.sim.fault(action='status', status=422, chamber='senate', office=DEAD)
        some = [letter('bad-%02d' % n, DEAD) for n in range(30)]
        stack.submit(*some)
        stack.wait_results(30)
        last = account.check(self, stack, some)
        self.assertEqual({r['outcome'] for r in last.values()}, {'rejected_by_chamber'})
        self.assertEqual((self.breaker(DEAD), self.breaker('senate'), self.worker.events('breaker_open')),
                         (None, None, []))

    def test_order_is_kept(self):
        """A hold by a person and a breaker: what waited goes in the order in which it came."""
        stack = self.start(chamber={**QUICK, 'office_concurrency': 1, 'concurrency': 1})
        stack.admin('hold', ALIVE, int((time.time() + 600) * 1e6), 'a test')
        some = [letter('order-%02d' % n, ALIVE) for n in range(10)]
        stack.submit(*some)
        wait_until(lambda: int(self.depth()['senate_held']) == 10, what='ten held letters')
        self.assertEqual(stack.sim.count(office=ALIVE), 0)
        stack.admin('resume', ALIVE)
        stack.wait_results(10)
        came = [r['delivery_id'] for r in sorted(stack.sim.records(office=ALIVE), key=lambda r: r['t'])]
        self.assertEqual(came, [account.delivery_id(s['sid'], ALIVE) for s in some])
        self.assertEqual([a['verb'] for a in stack.stream('audit')], ['hold', 'resume'])


if __name__ == '__main__':
    unittest.main()
