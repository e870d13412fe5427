#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a failover to a replica that lags makes Redis forget, at the worst moments of a worker's life: no letter is sent
twice but where queue/PROTOCOL.md, section 13, says so, and whatever was sent is reported or stands in a log.

A failover more than a minute after the SETTLE that it forgot takes virtual time: tests/scenario/failover-late*.scn.
"""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import durable  # noqa: E402
from life_case import letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

HOUSE, SENATE = letters.HOUSE, letters.SENATE
FOREVER = str(2**51)  # until people end it
PATIENT = {'total_timeout': '60s', 'first_byte_timeout': '60s', 'connect_timeout': '5s', 'concurrency': 8}
# Of this run alone: who comes back under its name on its machine need not wait for the lease of the one before.
QUEUE = 'forgotten-%d' % os.getpid()
JOBS = {'backoff_base': '50ms', 'backoff_cap': '200ms'}  # a busy machine may be too late with a letter


class Case(durable.Case):
    def begin(self, **options):
        """A master and its replica, and a worker that dials whichever is the master."""
        return self.start(durable.Pair, **{'chamber': PATIENT, 'jobs': JOBS, 'host_queue': {'timeout': '1s'},
                                           'queue': QUEUE, **options})

    # --- what the replica gets ---------------------------------------------------------------

    def freeze(self, state, *jobs):
        """The replica gets no more than that these jobs are in this state."""
        replica = self.stack.connect_replica()
        for sid, office in jobs:
            key = self.stack.key('job:%s:%s' % (sid, office))
            wait_until(lambda key=key: replica('HGET', key, 'state') == state, 20, 'replica with %s: %s' % (sid, state))
        replica.close()
        self.stack.link.freeze()

    def freeze_at(self, call, state, *jobs):
        """When the first call of the worker's about one of these jobs comes."""
        sids, done = {sid.encode() for sid, _ in jobs}, []

        def listen(argv):
            if argv[1] in sids and not done:
                done.append(argv[1])
                self.freeze(state, *jobs)
        self.stack.gate.instead(call, listen)

    def in_line(self, *submissions):
        """The replica knows that they wait, and nothing more. They are sent when both chambers are resumed."""
        self.hold()
        self.stack.submit(*submissions)
        self.freeze('wait', *map(durable.key_of, submissions))

    def hold(self):
        for chamber in ('house', 'senate'):
            self.stack.admin('hold', chamber, FOREVER, 'test')

    def resume(self):
        for chamber in ('house', 'senate'):
            self.stack.admin('resume', chamber)

    # --- who is the master -------------------------------------------------------------------

    def redis_goes(self):
        self.stack.redis.close()
        self.stack.redis_server.kill()
        self.stack.redis_server.wait()

    def ask_replica(self):
        """The test does, and no worker yet."""
        self.stack.replica('REPLICAOF', 'NO', 'ONE')
        self.stack.redis = self.stack.connect_replica()

    def restart_worker(self):
        self.worker = self.stack.start_worker(self.worker.name)
        return self.worker

    def wait_up(self, worker, ups):
        worker.wait_event('queue_up', n=ups)
        n = len(self.stack.gate.asked('take'))
        wait_until(lambda: len(self.stack.gate.asked('take')) > n + 2, what='TAKE')

    def fail_over(self):
        ups = len(self.worker.events('queue_up'))
        self.stack.fail_over()
        self.wait_up(self.worker, ups + 1)

    def stands_still(self, process):
        process.send_signal(signal.SIGSTOP)
        self.addCleanup(process.send_signal, signal.SIGCONT)

    # --- what became of a letter -------------------------------------------------------------

    def outcome(self, sid, n=1):
        """The outcome and detail of its only result, or of the last of n."""
        found = wait_until(lambda: (lambda r: len(r) >= n and r)([r for r in self.stack.results() if r['sid'] == sid]),
                           what='result of ' + sid)
        self.assertEqual(len(found), n, found)
        return found[-1]['outcome'], found[-1]['detail']

    def arrived(self, sid, office=HOUSE):
        """How often it came to its chamber."""
        return self.stack.sim.count(delivery_id=account.delivery_id(sid, office))

    def check_all(self, *submissions):
        self.stack.wait_idle()
        return account.check(self, self.stack, submissions)


class Drain(Case):
    """SIGTERM while Redis is away, and the one that comes back has forgotten."""

    def stop_without_redis(self, worker):
        """Returns when it has begun to stop, with the number of letters under way."""
        self.redis_goes()
        worker.wait_event('queue_down')
        worker.kill(signal.SIGTERM)
        return worker.wait_event('draining')['in_flight']

    def test_settled(self):
        """The worker does not go before it has said again what was settled; what it never began stays for the next."""
        stack = self.begin()
        sent, line = letter('sent'), letter('line', SENATE)
        stack.admin('hold', 'senate', FOREVER, 'test')
        self.freeze_at('begin', 'taken', ('sent', HOUSE))
        stack.submit(line, sent)
        self.assertEqual(self.outcome('sent'), ('accepted', ''))
        self.assertEqual(self.stop_without_redis(self.worker), 0)
        stack.promote()
        self.assertEqual(self.worker.process.wait(30), 0)
        self.assertEqual(self.worker.wait_event('queue_recovered')['command'], 'settle')
        self.assertEqual((self.outcome('sent'), self.held()), (('accepted', ''), 0))
        self.assertEqual(stack.redis('ZCARD', stack.key('workers')), 0)
        stack.admin('resume', 'senate')
        self.restart_worker()
        self.assertEqual(self.outcome('line'), ('accepted', ''))
        self.check_all(sent, line)
        self.assertEqual((self.arrived('sent'), self.arrived('line', SENATE)), (1, 1))

    def test_on_the_wire(self):
        """Nor before the POST under way is reported, though people hold both chambers of the new master, as section 13
        tells them."""
        stack = self.begin()
        some = [letter('wire-h'), letter('wire-s', SENATE)]
        jobs = list(map(durable.key_of, some))
        stack.sim.fault(action='delay', ms=1000, count=2)
        self.freeze_at('begin', 'taken', *jobs)
        self.hold()
        stack.submit(*some)
        for job in jobs:
            stack.wait_status(*job, 'wait')
        self.resume()
        self.wait_in_flight(2)
        self.stands_still(stack.sim.process)  # no answer until the worker is stopping
        self.assertEqual(self.stop_without_redis(self.worker), 2)
        self.ask_replica()
        self.assertEqual({stack.job(*job)['state'] for job in jobs}, {'taken'})
        self.hold()
        stack.sim.process.send_signal(signal.SIGCONT)
        self.worker.wait_event('letter_sent', n=2)
        stack.follow()
        self.assertEqual(self.worker.process.wait(30), 0)
        self.assertEqual({self.outcome(sid) for sid, _ in jobs}, {('accepted', '')})
        self.resume()
        self.restart_worker()
        self.check_all(*some)
        self.assertEqual([self.arrived(*job) for job in jobs], [1, 1])

    def test_redis_does_not_come_back(self):
        """Its patience ends: that is said by the exit status, and the next worker finds BEGIN on record."""
        stack = self.begin(worker=False)
        self.worker = stack.start_worker(drain_timeout='0ms')
        self.freeze_at('settle', 'begun', ('left', HOUSE))
        stack.submit(letter('left'))
        self.assertEqual(self.outcome('left'), ('accepted', ''))
        self.stop_without_redis(self.worker)
        self.assertEqual(self.worker.process.wait(30), 1)
        self.assertEqual(self.worker.wait_event('stopped')['in_flight'], 1)
        stack.promote()
        self.restart_worker()
        self.assertEqual(self.outcome('left'), ('outcome_unknown', ''))
        self.check_all(letter('left'))
        self.assertEqual(self.arrived('left'), 1)


class Killed(Case):
    """kill -9 while a POST is under way whose BEGIN the failover forgot."""

    def on_the_wire(self):
        """One letter to each chamber; to the replica they are taken and no more."""
        stack = self.begin()
        self.some = [letter('wire-h'), letter('wire-s', SENATE)]
        self.jobs = list(map(durable.key_of, self.some))
        stack.sim.fault(action='stall', count=2)
        self.hold()
        stack.submit(*self.some)
        for job in self.jobs:
            stack.wait_status(*job, 'wait')
        self.freeze_at('begin', 'taken', *self.jobs)
        self.resume()
        self.wait_in_flight(2)
        return stack

    def dies(self):
        self.worker.kill()
        self.worker.process.wait()

    def test_after_it_was_back(self):
        """It said with its return what it had begun: of unknown fate for the next worker. The House is not asked
        again, and the Senate knows the letter."""
        stack = self.on_the_wire()
        self.fail_over()
        self.assertEqual({stack.job(*job)['state'] for job in self.jobs}, {'begun'})
        self.dies()
        self.restart_worker()
        self.assertEqual(self.outcome('wire-h'), ('outcome_unknown', ''))
        wait_until(lambda: stack.job('wire-s', SENATE)['state'] == 'later', what='mark')
        stack.redis('ZADD', stack.key('later'), 'XX', 1, 'wire-s:' + SENATE)  # as if the first POST's time were over
        self.assertEqual(self.outcome('wire-s')[0], 'accepted_earlier')
        self.check_all(*self.some)
        self.assertEqual([self.arrived(*job) for job in self.jobs], [1, 2])

    def test_before_it_was_back(self):
        """The named class: nobody is left who knows. The House takes it twice; the Senate refuses the copy, a person
        is asked."""
        stack = self.on_the_wire()
        self.redis_goes()
        self.dies()
        stack.promote()
        self.assertEqual({stack.job(*job)['state'] for job in self.jobs}, {'taken'})
        self.restart_worker()
        self.assertEqual(self.outcome('wire-h'), ('accepted', ''))
        self.assertEqual(self.outcome('wire-s')[0], 'id_conflict')
        stack.wait_idle()
        self.assertEqual([self.arrived(*job) for job in self.jobs], [2, 2])
        self.assertEqual(len(stack.sim.records(accepted=True, office=SENATE)), 1)


class Unknown(Case):
    def test_the_queue_forgot_the_doubt(self):
        """The body left, and the connection broke. To the new master the letter waits as if never looked at;
        its worker knows better, until a person decides to send it again."""
        stack = self.begin()
        doubt = letter('doubt')
        stack.sim.fault(action='reset_after_body', chamber='house', count=1)
        self.in_line(doubt)
        self.resume()
        self.assertEqual(self.outcome('doubt'), ('outcome_unknown', 'reset'))
        stack.fail_over()
        orphan = self.worker.wait_event('letter_orphaned')
        self.assertEqual((orphan['sid'], orphan['outcome']), ('doubt', 'outcome_unknown'))
        self.assertEqual((stack.job('doubt', HOUSE)['state'], stack.results()), ('wait', []))
        self.resume()
        self.assertEqual(self.outcome('doubt'), ('outcome_unknown', ''))
        self.check_all(doubt)
        self.assertEqual((self.arrived('doubt'), stack.job('doubt', HOUSE)['state']), (1, 'unknown'))
        stack.admin('resolve', 'doubt', HOUSE, 'resend')
        self.assertEqual(self.outcome('doubt', 2), ('accepted', ''))
        self.assertEqual(self.arrived('doubt'), 2)


class Orphans(Case):
    """The failover forgets even TAKE, and another worker sends the letter again: that is lost to the queue, but not to
    the logs, and the record says what is true of it."""

    def test_answer_under_another_token(self):
        stack = self.begin(worker=False, house={'concurrency': 1})  # the first one's only place is in use
        self.worker, second = stack.start_worker(), stack.start_worker('w2')
        for worker in (self.worker, second):
            worker.wait_event('offices_loaded', n=2)
        self.stands_still(second.process)
        stack.sim.fault(action='delay', ms=1000, count=1)
        self.in_line(letter('twice'))
        self.resume()
        self.wait_in_flight(1)
        self.stands_still(stack.sim.process)
        self.fail_over()
        self.resume()
        second.kill(signal.SIGCONT)
        wait_until(lambda: stack.job('twice', HOUSE)['state'] == 'begun', what='the other worker')
        stack.sim.process.send_signal(signal.SIGCONT)
        self.check_twice(second)

    def test_settled_before(self):
        """The first worker stands still meanwhile, and says again what was settled when all is over."""
        stack = self.begin()
        self.in_line(letter('twice'))
        self.resume()
        self.assertEqual(self.outcome('twice'), ('accepted', ''))
        self.stands_still(self.worker.process)
        stack.fail_over()
        self.resume()
        second = stack.start_worker('w2')
        self.assertEqual(self.outcome('twice'), ('accepted', ''))
        self.worker.kill(signal.SIGCONT)
        self.check_twice(second)

    def check_twice(self, second):
        orphan = self.worker.wait_event('letter_orphaned')
        self.assertEqual((orphan['sid'], orphan['office'], orphan['outcome'], orphan['http_status']),
                         ('twice', HOUSE, 'accepted', 200))
        self.assertEqual(orphan['delivery_id'], account.delivery_id('twice', HOUSE))
        self.assertEqual((self.outcome('twice'), self.arrived('twice')), (('accepted', ''), 2))
        self.stack.wait_idle()
        job = self.stack.job('twice', HOUSE)
        self.assertEqual((job['state'], job['outcome'], job['attempt']), ('accepted', 'accepted', '1'))
        self.assertTrue(job['last_token'].startswith('w2/'), job['last_token'])
        self.assertEqual([second.events('letter_orphaned'), len(self.worker.events('letter_orphaned'))], [[], 1])


class Keys(Case):
    """What browsers seal to and receipts are checked with."""

    def published(self):
        return [a['receipt_key_id'] for a in self.stack.stream('attestations')]

    def check_sealed(self, sid):
        """A browser that knows no more than what Redis publishes."""
        self.stack.ring = {}
        self.stack.learn_keys()
        self.stack.submit(letter(sid))
        self.assertEqual(self.outcome(sid), ('accepted', ''))
        self.check_all(letter(sid))

    def test_failover(self):
        """The replica was cut off before the worker came. A connection that breaks is no reason to publish again."""
        stack = self.begin(worker=False, key_source='boot')
        stack.link.freeze()
        self.worker = stack.start_worker()
        first = self.published()
        self.assertEqual(len(first), 1)
        stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.wait_up(self.worker, 2)
        self.assertEqual(self.published(), first)
        self.fail_over()
        self.assertEqual(self.published(), first)
        self.check_sealed('sealed')

    def test_restart(self):
        """Redis comes back with nothing at all."""
        self.start(key_source='boot')
        first = self.published()
        self.stack.kill_redis()
        self.stack.start_redis()
        self.worker.wait_event('ready', n=2)
        self.assertEqual(self.published(), first)
        self.check_sealed('sealed')


if __name__ == '__main__':
    unittest.main()
