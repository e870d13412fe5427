#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a worker: drain, stop, death; and of what it stands on: Redis, its lease, its clock. Whatever happens, no
letter is lost, and none is sent twice but under an outcome that says so."""
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from life_case import LEASE_S, TOTAL, Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

MANY = 500


class Drain(Case):
    def test_finishes_what_is_in_flight(self):
        stack = self.start(chamber={**TOTAL, 'concurrency': 8})
        some = [letter('slow-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(40)]
        stack.sim.fault(action='delay', ms=700)
        stack.submit(*some)
        self.wait_in_flight(16)
        before = stack.redis('XLEN', stack.key('results'))
        self.assertEqual(self.worker.stop(), 0)
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 0)
        self.assertEqual((self.held(), stack.redis('ZCARD', stack.key('workers'))), (0, 0))
        # Exactly those that were in flight were finished, and no other was begun.
        done = len(stack.results())
        self.assertTrue(before + 16 <= done < 40, done)
        self.assertEqual(stack.sim.count(), done)
        self.assertEqual({r['outcome'] for r in stack.results()}, {'accepted'})
        stack.sim.clear_faults()
        stack.start_worker('w2')
        self.wait_results(40)
        self.assertEqual(self.states(account.check(self, stack, some)), {'accepted': 40})
        self.assertEqual(stack.sim.count(), 40)

    def test_limit(self):
        """What is not answered in time is cut off and reported for what it is: unknown, or not sent."""
        stack = self.start(chamber={}, worker=False)
        self.worker = stack.start_worker(drain_timeout='500ms')
        stack.sim.fault(action='stall', count=4)
        posted = [letter('posted-%d' % n, code) for n in range(2) for code in (letters.HOUSE, letters.SENATE)]
        for n, s in enumerate(posted):
            s['sid'] += 'ab'[n % 2]
        stack.submit(*posted)
        self.wait_in_flight(4)
        stack.sim.close_idle()
        stack.sim.fault(action='tls_stall', count=2)
        unsent = [letter('unsent-h'), letter('unsent-s', letters.SENATE)]
        stack.submit(*unsent)
        for s in unsent:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
        start = time.monotonic()
        self.assertEqual(self.worker.stop(), 0)
        self.assertTrue(0.4 < time.monotonic() - start < 4)
        self.assertEqual((self.held(), stack.redis('ZCARD', stack.key('workers'))), (0, 0))
        for s in posted:
            state = stack.status(s['sid'], s['offices'][0])
            self.assertEqual(state[:2], ('unknown', 'outcome_unknown') if s['offices'][0][0] == 'H' else
                             ('later', 'no_answer'))
        for s in unsent:
            job = stack.job(s['sid'], s['offices'][0])
            self.assertEqual((job['state'], job['attempt']), ('wait', '0'))
        stack.sim.clear_faults()
        # The total time-out of the first POST must pass before the Senate is asked again: as if it had.
        for member in stack.redis('ZRANGE', stack.key('later'), 0, -1):
            stack.redis('ZADD', stack.key('later'), 'XX', 1, member)
        stack.start_worker('w2')
        self.wait_results(6)
        last = account.check(self, stack, posted + unsent)
        self.assertEqual(self.states(last), {'unknown': 2, 'accepted': 4})

    def test_limit_without_redis(self):
        """The reports cannot be delivered: that is said by the exit status, and the queue recovers by itself."""
        stack = self.start(worker=False, redis=['--appendonly', 'yes', '--appendfsync', 'always'])
        self.worker = stack.start_worker(drain_timeout='500ms')
        stack.sim.fault(action='stall', count=2)
        some = [letter('lost-h'), letter('lost-s', letters.SENATE)]
        stack.submit(*some)
        self.wait_in_flight(2)
        stack.kill_redis()
        self.assertEqual(self.worker.stop(), 1)
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 2)
        stack.start_redis()
        stack.start_worker('w2')
        self.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some],
                         ['outcome_unknown', 'accepted_earlier'])

    def test_second_signal(self):
        stack = self.start()
        stack.sim.fault(action='stall', count=2)
        some = [letter('cut-h'), letter('cut-s', letters.SENATE)]
        stack.submit(*some)
        self.wait_in_flight(2)
        self.worker.kill(signal.SIGTERM)
        self.worker.wait_event('draining')
        start = time.monotonic()
        self.worker.kill(signal.SIGINT)
        self.assertEqual(self.worker.process.wait(10), 1)
        self.assertLess(time.monotonic() - start, 1.5)
        self.assertEqual(self.held(), 2)
        stack.start_worker('w2')
        self.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some],
                         ['outcome_unknown', 'accepted_earlier'])


class Death(Case):
    def check_all(self, submissions, jobs, doubtful):
        """All accounted for; at most `doubtful` letters of unknown fate, and only the House's."""
        last = account.check(self, self.stack, submissions)
        self.assertEqual(len(last), jobs)
        states = self.states(last)
        self.assertEqual(set(states) - {'accepted', 'unknown'}, set())
        self.assertLessEqual(states.get('unknown', 0), doubtful)
        self.assertEqual({r['office'][0] for r in last.values() if r['state'] == 'unknown'} - {'H'}, set())
        # Nothing doubled: no id was accepted twice anywhere.
        self.assertEqual(sum(s['duplicates'] for s in self.stack.sim.stats()['stats'].values()), 0)
        return last

    def test_kill_and_restart(self):
        """kill -9 in the middle, again under the same name, then under another."""
        stack = self.start(worker=False)
        submissions, entries, jobs = self.many(MANY, seed=11)
        stack.sim.fault(action='delay', ms=30)
        worker = stack.start_worker()
        stack.enqueue(entries)
        for n, name in ((jobs // 5, 'w1'), (jobs // 2, 'w2')):
            self.wait_results(n)
            worker.kill()
            worker.process.wait()
            at_once = time.monotonic()
            worker = stack.start_worker(name)
            if name == 'w1':  # the name is taken until the lease of the dead one is over
                self.assertLess(time.monotonic() - at_once, LEASE_S + 3)
        stack.wait_idle()
        self.check_all(submissions, jobs, doubtful=2 * 32)
        self.assertGreater(len(worker.events('queue_recovered')), 0)
        self.assertEqual(worker.stop(), 0)

    def test_two_share_the_load(self):
        stack = self.start(worker=False, chamber={**TOTAL, 'concurrency': 8})
        submissions, entries, jobs = self.many(200, seed=12)
        stack.sim.fault(action='delay', ms=20)
        workers = [stack.start_worker('w1'), stack.start_worker('w2')]
        stack.enqueue(entries)
        stack.wait_idle()
        last = self.check_all(submissions, jobs, doubtful=0)
        self.assertEqual(self.states(last), {'accepted': jobs})
        ended = [len(w.events('letter_ended')) for w in workers]
        self.assertEqual(sum(ended), jobs)
        self.assertGreater(min(ended), jobs // 10)
        self.assertEqual(stack.sim.count(), jobs)
        self.assertEqual([w.stop() for w in workers], [0, 0])

    def test_stopped_longer_than_the_lease(self):
        """SIGSTOP between GO and the body, while the TLS handshakes wait; others take over; SIGCONT. The grant of two
        seconds is over, so no body starts, and what the worker says of its old tokens changes nothing."""
        stack = self.start(chamber={'connect_timeout': '30s'})
        self.worker.wait_event('offices_loaded', n=2)
        stack.sim.close_idle()
        sim = stack.sim.process
        sim.send_signal(signal.SIGSTOP)
        self.addCleanup(sim.send_signal, signal.SIGCONT)
        some = [letter('stopped-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(20)]
        stack.submit(*some)
        for s in some:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
        self.worker.kill(signal.SIGSTOP)
        sim.send_signal(signal.SIGCONT)
        second = stack.start_worker('w2')
        second.wait_event('queue_recovered')
        for s in some[::2]:
            stack.wait_status(s['sid'], letters.HOUSE, 'unknown', 'outcome_unknown')
        self.assertEqual(stack.sim.count(), 0)
        self.worker.kill(signal.SIGCONT)
        self.worker.wait_event('queue_fenced')
        # Each POST of unknown fate has a mark until its worker says, however late, that nothing was sent.
        wait_until(lambda: not [field for s in some for field in stack.job(s['sid'], s['offices'][0])
                                if field.startswith('u:')], what='20 late reports')
        late = [r for r in stack.stream('results') if r['state'] == 'late']
        self.assertEqual((len(late), {r['late'] for r in late}), (20, {'not_taken'}))
        fates = {e['fate'] for e in self.worker.events('letter_sent')}
        self.assertEqual(fates - {'too_late', 'connect_timeout', 'tls'}, set())
        self.worker.wait_event('ready', n=2)  # under a new nonce
        self.assertEqual(stack.sim.count(), 0)
        # They wait for the total time-out, since nobody but the worker knows; as if it had passed.
        for member in stack.redis('ZRANGE', stack.key('later'), 0, -1):
            stack.redis('ZADD', stack.key('later'), 'XX', 1, member)
        for s in some[1::2]:
            stack.wait_status(s['sid'], letters.SENATE, 'accepted')
        stack.wait_idle()
        last = account.check(self, stack, some)
        self.assertEqual(self.states(last), {'unknown': 10, 'accepted': 10})
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (0, 10))

    def test_stopped_in_the_middle_of_work(self):
        """SIGSTOP at no particular moment; a POST that was on the wire is answered meanwhile, and counts late."""
        stack = self.start(worker=False)
        submissions, entries, jobs = self.many(150, seed=13)
        stack.sim.fault(action='delay', ms=50)
        worker = stack.start_worker()
        stack.enqueue(entries)
        self.wait_results(jobs // 3)
        worker.kill(signal.SIGSTOP)
        second = stack.start_worker('w2')
        second.wait_event('queue_recovered')
        stack.wait_idle()
        count = stack.sim.count(complete=True)
        worker.kill(signal.SIGCONT)
        worker.wait_event('ready', n=2)
        stack.wait_idle()
        # Whatever the stopped one had given to its sockets was read long ago: nothing may follow.
        self.assertEqual(stack.sim.count(complete=True), count)
        self.check_all(submissions, jobs, doubtful=64)
        late = [r for r in stack.stream('results') if r['state'] == 'late']
        self.assertTrue({r['late'] for r in late} <= {'accepted', 'not_taken'}, late)

    def test_fenced_by_a_person(self):
        """Somebody removed the worker from the queue: it stops sending, and comes back under a new nonce."""
        stack = self.start()
        submissions, entries, jobs = self.many(60, seed=14)
        stack.enqueue(entries)
        self.wait_results(jobs // 4)
        member = stack.redis('ZRANGE', stack.key('workers'), 0, 0)[0]
        stack.redis('ZADD', stack.key('workers'), 1, member)
        stack.start_worker('w2')
        stack.wait_idle()
        self.check_all(submissions, jobs, doubtful=64)
        self.assertEqual(self.worker.stop(), 0)


class RedisTrouble(Case):
    def test_killed_and_restarted(self):
        """With an append-only file that is synced at each command: what was answered is on the disk."""
        stack = self.start(redis=['--appendonly', 'yes', '--appendfsync', 'always'])
        submissions, entries, jobs = self.many(200, seed=15)
        stack.sim.fault(action='delay', ms=400)  # so that POSTs outlast the reconnection
        stack.enqueue(entries)
        for n in (jobs // 6, jobs // 3, jobs // 2):
            self.wait_results(n)
            self.wait_in_flight(10)
            stack.kill_redis()
            stack.start_redis()
        stack.wait_idle()
        last = account.check(self, stack, submissions)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual((stack.sim.count(), len(stack.stream('dead'))), (jobs, 0))
        self.assertEqual(len(self.worker.events('queue_up')), 4)
        self.assertEqual(self.worker.stop(), 0)

    def test_connections_and_scripts(self):
        """CLIENT KILL and SCRIPT FLUSH, again and again: neither costs a letter or an attempt."""
        stack = self.start()
        submissions, entries, jobs = self.many(200, seed=16)
        stack.sim.fault(action='delay', ms=300)
        stack.enqueue(entries)
        for n in range(1, 9):
            self.wait_results(n * jobs // 10)
            self.wait_in_flight(1)
            if n % 2:
                stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
            else:
                stack.redis('SCRIPT', 'FLUSH')
        stack.wait_idle()
        last = account.check(self, stack, submissions)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual(stack.sim.count(), jobs)
        self.assertEqual(self.worker.stop(), 0)


if __name__ == '__main__':
    unittest.main()
