#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How jobs end or are taken back: cancelled at each stage until the POST leaves, crashes of workers counted apart from
attempts, one office of three tried again, a takeover at the default lease."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from outcome_case import CHAMBERS, JOBS, LIMITS, Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

HOUSE, SENATE = letters.HOUSE, letters.SENATE
SECOND = 1000000


def now_us():
    return int(time.time() * SECOND)


class Cancel(Case):
    def cancel(self, sid, office):
        return self.stack.admin('cancel', '%s:%s' % (sid, office))

    def ended(self, sid, office, state, outcome):
        self.stack.wait_status(sid, office, state, outcome)

    def test_in_line(self):
        """Held, so that it waits; and before any worker has seen it."""
        stack = self.start()
        stack.admin('hold', HOUSE, now_us() + 600 * SECOND, 'a test')
        stack.submit(letter('in-line', HOUSE))
        stack.wait_status('in-line', HOUSE, 'wait')
        self.assertEqual(self.cancel('in-line', HOUSE), ['OK', 'close'])
        self.ended('in-line', HOUSE, 'cancelled', 'cancelled')
        result = account.check(self, stack, [letter('in-line', HOUSE)])['in-line', HOUSE]
        self.assertEqual((result['attempt'], result['begun_us'], stack.sim.count()), ('0', '0', 0))
        self.assertEqual(self.cancel('in-line', HOUSE), ['TOOLATE', 'cancelled'])

    def test_between_attempts(self):
        """The Senate did not answer: nobody can promise that the letter was not sent, so it is not called cancelled."""
        stack = self.start(jobs={**JOBS, 'backoff_base': '1h', 'backoff_cap': '1h'})
        stack.sim.fault(action='status', status=503, chamber='senate', count=1)
        stack.sim.fault(action='status', status=429, chamber='house', count=1)
        stack.submit(letter('doubt', SENATE), letter('none', HOUSE))
        stack.wait_status('doubt', SENATE, 'later', 'no_answer')
        stack.wait_status('none', HOUSE, 'later', 'throttled')
        self.assertEqual((self.cancel('doubt', SENATE), self.cancel('none', HOUSE)), (['OK', 'close'],) * 2)
        self.ended('doubt', SENATE, 'unknown', 'outcome_unknown')
        self.ended('none', HOUSE, 'cancelled', 'cancelled')
        account.check(self, stack, [letter('doubt', SENATE), letter('none', HOUSE)])
        self.assertEqual(stack.sim.count(), 2)

    def test_on_the_wire(self):
        """What this POST ends as stands; what would come back to the line is cancelled instead."""
        stack = self.start(jobs={**JOBS, 'backoff_base': '1h', 'backoff_cap': '1h'})
        offices = CHAMBERS['senate'][:3]
        for office, fault in zip(offices, ({'action': 'delay', 'ms': 900}, {'action': 'status', 'status': 429, 'delay_ms': 900},
                                           {'action': 'status', 'status': 503, 'delay_ms': 900})):
            stack.sim.fault(**fault, office=office, count=1)
        some = [letter('wire-%d' % n, office) for n, office in enumerate(offices)]
        stack.submit(*some)
        for s in some:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
            self.assertEqual(self.cancel(s['sid'], s['offices'][0]), ['INFLIGHT', 'begun'])
        stack.wait_results(3)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some],
                         ['accepted', 'cancelled', 'outcome_unknown'])
        self.assertEqual(stack.sim.count(), 3)


class Generations(Case):
    def test_only_the_failed_office_again(self):
        """Three offices, one refuses. A new signed generation for that one leaves the outcomes of the others alone."""
        stack = self.start()
        offices = [CHAMBERS['house'][0], CHAMBERS['senate'][0], CHAMBERS['senate'][1]]
        submission = {**letter('again', offices[0]), 'offices': offices}
        stack.sim.fault(action='status', status=422, office=offices[1], count=1)
        stack.enqueue([stack.entry(submission, generation=1)])
        stack.wait_results(3)
        self.assertEqual(stack.sub('again')['rollup'], 'partial')
        self.assertEqual(stack.status('again', offices[1])[:2], ('rejected', 'rejected_by_chamber'))
        before = {office: stack.status('again', office) for office in (offices[0], offices[2])}
        stack.enqueue([stack.entry({**submission, 'offices': [offices[1]]}, generation=2)])
        stack.wait_status('again', offices[1], 'accepted')
        stack.wait_idle()
        self.assertEqual(stack.sub('again')['rollup'], 'delivered')
        self.assertEqual({office: stack.status('again', office) for office in (offices[0], offices[2])}, before)
        self.assertEqual([stack.sim.count(office=office) for office in offices], [1, 2, 1])
        last = account.last_results(stack)
        self.assertEqual({o: last['again', o]['generation'] for o in offices},
                         {offices[0]: '1', offices[1]: '2', offices[2]: '1'})


class Crashes(Case):
    def take_and_die(self, name):
        """A worker that takes what there is and is never heard of again; its lease is over at once."""
        who = '%s/0001' % name
        self.stack.script('beat', who, 10 * SECOND, 'join', now_us(), 1, 'a machine')
        reply = self.stack.script('take', 'senate', who, who + '.1', 8, now_us(), 1, 10 ** 6, 0, 0, 8, 1)
        self.stack.redis('ZADD', self.stack.key('workers'), 1, who)
        reaper = 'reaper/0001'
        self.stack.script('beat', reaper, 10 * SECOND, 'join', now_us(), 1, '')
        self.stack.script('reap', reaper, now_us(), 4 * SECOND, 3, 0, 1, 100)
        self.stack.script('beat', reaper, 10 * SECOND, 'leave', now_us(), 1, '')
        return [job[0] for job in reply[2:]]

    def test_a_letter_that_kills_workers(self):
        """Buried after a few crashes under its own reason, although no attempt was used; a replay starts anew."""
        stack = self.start(worker=False, jobs={**JOBS, 'crashes': 3})
        stack.submit(letter('poison', SENATE))
        for n in range(4):
            self.assertEqual(self.take_and_die('victim-%d' % n), ['poison'])
        self.assertEqual(stack.job('poison', SENATE)['why'], 'crashes')
        worker = stack.start_worker()
        stack.wait_status('poison', SENATE, 'dead', 'crashes')
        dead = stack.stream('dead')[0]
        self.assertEqual({k: dead[k] for k in ('outcome', 'class', 'attempt', 'crashes', 'deliveries')},
                         {'outcome': 'crashes', 'class': 'ended', 'attempt': '0', 'crashes': '4', 'deliveries': '5'})
        account.check(self, stack, [letter('poison', SENATE)])
        self.assertEqual(stack.sim.count(), 0)
        # Of its victims nothing is left: the one worker is the one that lives.
        self.assertEqual([w.split('/')[0] for w in stack.redis('ZRANGE', stack.key('workers'), 0, -1)], ['w1'])
        self.assertNotIn('a machine', stack.redis('HVALS', stack.key('machines')))
        stack.admin('replay', 'poison', SENATE)
        stack.wait_status('poison', SENATE, 'accepted', 'accepted')
        self.assertEqual(stack.stream('dead'), [])
        self.assertEqual(worker.stop(), 0)


class Takeover(Case):
    def test_within_fifteen_seconds(self):
        """With the lease as it is by default: a worker is killed, and another moves all that it held."""
        stack = self.start(lease='10s', jobs={**JOBS, 'backoff_base': '50ms'},
                           chamber={**LIMITS, 'total_timeout': '60s', 'first_byte_timeout': '60s', 'concurrency': 16})
        rule = stack.sim.fault(action='stall')
        some = [letter('moved-%02d' % n, (HOUSE, CHAMBERS['senate'][n])[n % 2]) for n in range(16)]
        stack.submit(*some)
        for s in some:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
        second = stack.start_worker('w2')
        self.worker.kill()
        killed = time.monotonic()
        stack.sim.clear_faults(rule)
        second.wait_event('queue_recovered')
        wait_until(lambda: not [s for s in some if stack.job(s['sid'], s['offices'][0])['state'] == 'begun'],
                   what='all of its letters to be taken back')
        took = time.monotonic() - killed
        self.assertGreater(took, 5)  # not before its lease was over
        self.assertLess(took, 15)
        for s in some[::2]:
            stack.wait_status(s['sid'], HOUSE, 'unknown', 'outcome_unknown')
        self.assertEqual({stack.job(s['sid'], s['offices'][0])['state'] for s in some[1::2]}, {'later'})


if __name__ == '__main__':
    unittest.main()
