#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Redis with a replica: letters to a chamber that does not know a DeliveryId again leave only when the replica has
their BEGIN; and when a replica that lags takes over, what it has not seen of the last minute is told again, so that
nothing is sent twice."""
import os
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import liar as liars  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import LEASE_S, TOTAL, letter  # noqa: E402
from liar import Error  # noqa: E402
from queue_harness import free_port  # noqa: E402
from stack import letters, rq, wait_until  # noqa: E402

HOUSE, SENATE = letters.HOUSE, letters.SENATE
JOBS = {'attempts': 3, 'backoff_base': '50ms', 'backoff_cap': '200ms'}


class Replica:
    def __init__(self, stack, port, name='replica'):
        self.path = stack.path(name + '.sock')
        self.process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.path, '--dir', stack.dir, '--dbfilename', name + '.rdb',
             '--save', '', '--repl-diskless-load', 'on-empty-db', '--replicaof', '127.0.0.1 %d' % port, '--logfile',
             stack.path(name + '.log')], stdin=subprocess.DEVNULL)
        self.client = wait_until(self.connect, 20, 'replica')

    def connect(self):
        try:
            return rq.Client(self.path)
        except OSError:
            return None

    def __call__(self, *args):
        return self.client(*args)

    def linked(self):
        return 'master_link_status:up' in self('INFO', 'replication')

    def stop(self):
        self.client.close()
        self.process.kill()
        self.process.wait()


class Case(unittest.TestCase):
    def start(self, replicas=1, replica=True, listen=True, timeout='1s', **options):
        """A master, its replica, and between the master and the worker a liar, which only counts and listens unless
        it is told more."""
        self.port = free_port()
        queue = {'replicas': replicas, 'replica_timeout': '100ms', 'timeout': timeout}
        self.stack = stacks.Stack(**{'lease': '%ds' % LEASE_S, 'chamber': TOTAL, 'jobs': JOBS, 'host_queue': queue,
                                     'redis': ['--port', str(self.port), '--bind', '127.0.0.1',
                                               '--repl-diskless-sync-delay', '0'], **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if replica:
            self.add_replica()
        self.liar = liars.Liar(self.stack.redis_path, self.stack.path('liar.sock'))
        self.addCleanup(self.liar.close)
        if listen:
            self.stack.dialled = self.liar.path
        self.worker = self.stack.start_worker(ready=replica or not replicas)
        return self.stack

    def add_replica(self):
        self.replica = Replica(self.stack, self.port)
        self.addCleanup(self.replica.stop)
        wait_until(self.replica.linked, 20, 'replication')

    def waits(self):
        """WAITs that the master has carried out."""
        found = re.search(r'cmdstat_wait:calls=(\d+)', self.stack.redis('INFO', 'commandstats'))
        return int(found[1]) if found else 0

    def wait_reason(self, reason):
        def check():
            events = [e for e in self.worker.events() if e['event'] in ('ready', 'not_ready')]
            return bool(events) and events[-1].get('reason', '') == reason
        wait_until(check, 20, 'readiness %r' % reason)

    def posts(self, sid, code=HOUSE):
        return self.stack.sim.records(delivery_id=account.delivery_id(sid, code))

    def result(self, sid, timeout=20):
        found = wait_until(lambda: [r for r in self.stack.results() if r['sid'] == sid], timeout, 'result of ' + sid)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def assertDelivered(self, sid, code=HOUSE, timeout=20, attempt='1'):
        result = self.result(sid, timeout)
        self.assertEqual((result['outcome'], result['attempt'], result['detail']), ('accepted', attempt, ''))
        self.assertEqual([r['accepted'] for r in self.posts(sid, code)], [True])


class Wait(Case):
    def test_one_for_many(self):
        """All letters of a batch share a WAIT; the Senate's need none."""
        self.start(lease='60s', listen=False)
        self.wait_reason('')
        before = wait_until(self.waits, what='first WAIT')
        self.stack.submit(*(letter('s%d' % n, SENATE) for n in range(8)))
        self.stack.wait_results(8)
        self.assertEqual(self.waits(), before)
        self.stack.admin('hold', HOUSE, str(2**51), 'test')
        self.stack.submit(*(letter('h%d' % n) for n in range(64)))
        wait_until(lambda: self.stack.redis('ZCARD', self.stack.key('wait:' + HOUSE)) == 64, what='64 letters in line')
        self.stack.admin('resume', HOUSE)
        self.stack.wait_results(72)
        asked = self.waits() - before
        # 32 slots, and a TAKE when at least a quarter of them is free; an answer in two pieces costs one more
        self.assertGreaterEqual(asked, 2)
        self.assertLessEqual(asked, 10)
        for n in range(64):
            self.assertDelivered('h%d' % n)
        self.stack.wait_idle()
        account.check(self, self.stack)

    def test_replica_stands_still(self):
        """No letter leaves for the House without its replica, nor is one lost; the Senate's go on; and all go when the
        replica is back."""
        self.start()
        self.wait_reason('')
        self.replica.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.replica.process.send_signal, signal.SIGCONT)
        self.stack.submit(*(letter('h%d' % n) for n in range(8)))
        self.wait_reason('replicas')
        asked = self.waits()
        self.stack.submit(*(letter('s%d' % n, SENATE) for n in range(8)))
        for n in range(8):
            self.assertDelivered('s%d' % n, SENATE)
        wait_until(lambda: self.waits() >= asked + 2, what='further WAITs')
        begun = len(self.liar.asked('begin', 'h0'))
        self.assertLessEqual(begun, 1)
        for n in range(8):
            self.assertEqual(self.posts('h%d' % n), [])
            job = self.stack.job('h%d' % n, HOUSE)
            self.assertEqual((job['state'], job['attempt']), ('wait', '0'), job)
        self.replica.process.send_signal(signal.SIGCONT)
        for n in range(8):
            self.assertDelivered('h%d' % n)
        self.wait_reason('')
        self.assertEqual([e['reason'] for e in self.worker.events('queue_replicas')], ['short', 'enough'])
        self.stack.wait_idle()
        account.check(self, self.stack)

    def test_replica_is_gone(self):
        """From the start. What needs no POST is done all the same: a cancelled job ends, and submissions are taken
        in."""
        self.start(replica=False)
        self.wait_reason('replicas')
        self.stack.submit(letter('h0'), letter('h1'), letter('s0', SENATE))
        self.assertDelivered('s0', SENATE)
        wait_until(lambda: self.stack.status('h1', HOUSE), what='intake')
        self.stack.admin('cancel', 'h0:' + HOUSE)
        self.assertEqual(self.result('h0')['outcome'], 'cancelled')
        self.assertEqual(self.stack.sim.count(chamber='house'), 0)
        self.add_replica()
        self.assertDelivered('h1')
        self.wait_reason('')
        self.replica.stop()
        self.stack.submit(letter('h2'), letter('s2', SENATE))
        self.wait_reason('replicas')
        self.assertDelivered('s2', SENATE)
        self.assertEqual(self.posts('h2'), [])

    def test_drain(self):
        """A worker that stops while the replica is away leaves nothing behind."""
        self.start()
        self.replica.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.replica.process.send_signal, signal.SIGCONT)
        self.stack.submit(letter('h0'))
        self.wait_reason('replicas')
        self.assertEqual(self.worker.stop(), 0)
        self.assertEqual((self.stack.keys('held:*'), self.stack.redis('ZCARD', self.stack.key('workers'))), ([], 0))
        job = self.stack.job('h0', HOUSE)
        self.assertEqual((job['state'], job['attempt'], self.posts('h0')), ('wait', '0', []))

    def test_wrong_answers(self):
        """A WAIT that fails, in whatever way, sends nothing; the letter goes when one succeeds."""
        self.start()
        for n, told in enumerate((0, -1, 2**62, b'1', [1], Error(b'NOPERM no'), Error(b'ERR x'),
                                  Error(b'UNBLOCKED force unblock from blocking operation'))):
            sid = 'w%d' % n
            self.wait_reason('')
            seen = []

            def lie(argv, told=told, sid=sid, seen=seen):
                # The WAIT for this letter, not one that only asks; and nothing may be sent before its successor.
                if not self.liar.asked('begin', sid):
                    return None
                seen.append(len(self.posts(sid)))
                return told
            lie = self.liar.instead('WAIT', lie)
            self.stack.submit(letter(sid))
            lie.wait()
            self.assertDelivered(sid)
            self.assertEqual(seen, [0])
            self.assertGreaterEqual(len(self.liar.asked('begin', sid)), 2)
        self.stack.wait_idle()
        account.check(self, self.stack)


class Lag(Case):
    """A failover to a replica that was cut off at some moment."""

    def start(self, **options):
        # What the test does between two of the worker's commands must not cost the worker its connection or its lease.
        super().start(replicas=0, timeout='12s', lease='15s', **options)
        self.cuts = []

    def cut(self, sid, state):
        """The replica sees no more than this of the job."""
        key = self.stack.key('job:%s:%s' % (sid, HOUSE))
        wait_until(lambda: self.replica('HGET', key, 'state') == state, 10, 'replica with ' + state)
        self.replica('REPLICAOF', 'NO', 'ONE')

    def fail_over(self):
        """The replica is what the worker meets from now on, and what the test asks."""
        ups = len(self.worker.events('queue_up'))
        self.liar.upstream = self.replica.path
        self.stack.kill_redis()
        self.stack.redis = rq.Client(self.replica.path)
        self.worker.wait_event('queue_up', timeout=40, n=ups + 1)

    def adopted(self):
        """Until the worker is at work with the new one."""
        n = len(self.liar.asked('take'))
        wait_until(lambda: len(self.liar.asked('take')) > n + 2, what='TAKE')

    def cut_at(self, call, sid, state):
        def listen(argv):
            if argv[1] == sid.encode() and not self.cuts:
                self.cuts.append(sid)
                self.cut(sid, state)
        self.liar.instead(call, listen)

    def lose_settle(self, sid, call, state, outcome):
        """One letter is sent and settled; the replica was cut off right before that call."""
        self.cut_at(call, sid, state)
        self.stack.submit(letter(sid))
        self.assertEqual(self.result(sid)['outcome'], outcome)
        self.fail_over()
        self.assertEqual(self.result(sid)['outcome'], outcome)
        self.adopted()
        self.stack.wait_idle()
        self.assertEqual(len(self.posts(sid)), 1)
        self.assertEqual(self.stack.job(sid, HOUSE)['attempt'], '1')
        self.assertEqual(self.worker.events('letter_orphaned'), [])
        account.check(self, self.stack)

    def test_lost_settle(self):
        """The record says that the letter is on the wire, in the name of a worker that knows better."""
        self.start()
        self.lose_settle('lost', 'settle', 'begun', 'accepted')

    def test_lost_rejection(self):
        """Nor is a letter sent again that the chamber refused, of which no worker keeps the id."""
        self.start()
        self.stack.sim.fault(action='status', status=400, count=1)
        self.lose_settle('refused', 'settle', 'begun', 'rejected_by_chamber')

    def test_lost_begin(self):
        """The record says that the letter was not sent."""
        self.start()
        self.stack.sim.fault(action='status', status=400, count=1)
        self.lose_settle('unbegun', 'begin', 'taken', 'rejected_by_chamber')

    def test_lost_take(self):
        """The record knows nothing of the worker: the answer is only in its log, and the worker does not send again what
        it saw accepted."""
        self.start()
        self.stack.admin('hold', HOUSE, str(2**51), 'test')
        self.stack.submit(letter('orphan'))
        self.stack.wait_status('orphan', HOUSE, 'wait')
        self.cut('orphan', 'wait')
        self.stack.admin('resume', HOUSE)
        self.assertDelivered('orphan')
        self.fail_over()
        orphan = self.worker.wait_event('letter_orphaned')
        self.assertEqual((orphan['sid'], orphan['outcome'], orphan['http_status']), ('orphan', 'accepted', 200))
        self.stack.admin('resume', HOUSE)
        result = self.result('orphan')
        self.assertEqual((result['outcome'], result['detail']), ('accepted_earlier', 'seen_this_boot'))
        self.assertEqual(len(self.posts('orphan')), 1)

    def test_others_went_on(self):
        """Said again, an outcome under a token that is history: what was accepted was sent twice then, whatever the
        record says now. A refusal may have been followed by a new generation."""
        self.start()
        self.stack.sim.fault(action='status', status=400, count=1)
        for sid, outcome in (('refused', 'rejected_by_chamber'), ('twice', 'accepted')):
            self.stack.submit(letter(sid))
            self.assertEqual(self.result(sid)['outcome'], outcome)
        lie = self.liar.instead('settle', lambda _argv: [b'STALE', b'accepted', 99], times=2)
        self.stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        lie.wait()
        orphan = self.worker.wait_event('letter_orphaned')
        self.adopted()
        self.assertEqual(self.worker.events('letter_orphaned'), [orphan])
        self.assertEqual((orphan['sid'], orphan['outcome'], orphan['delivery_id']),
                         ('twice', 'accepted', account.delivery_id('twice', HOUSE)))

    def test_many(self):
        """More than is said at a time: each letter has one result, and none is sent twice."""
        self.start()
        self.stack.sim.fault(action='status', status=400, every=3)
        sids = ['m%d' % n for n in range(200)]
        self.stack.submit(*(letter(sid) for sid in sids))
        self.stack.wait_results(200)
        self.stack.wait_idle()
        self.stack.redis('SET', self.stack.key('mark'), '1', 'PX', 60000)
        self.assertEqual(self.stack.redis('WAIT', 1, 20000), 1)
        self.replica('REPLICAOF', 'NO', 'ONE')
        # What a lagging replica would have: each record as it was when its letter was on the wire.
        worker = self.stack.redis('ZRANGE', self.stack.key('workers'), 0, -1)[0]
        for sid in sids:
            argv = self.liar.asked('settle', sid)[0]
            token, job_id = argv[3].decode(), '%s:%s' % (sid, HOUSE)
            self.replica('PERSIST', self.stack.key('job:' + job_id))
            self.replica('HSET', self.stack.key('job:' + job_id), 'state', 'begun', 'token', token, 'last_token', '',
                         'worker', worker, 'rev', '1', 'outcome', '', 'history', '')
            self.replica('SADD', self.stack.key('held:' + worker), job_id + ' ' + token)
            self.replica('SADD', self.stack.key('fly:' + HOUSE), token)
        self.replica('DEL', self.stack.key('results'))
        self.fail_over()
        self.stack.wait_results(200)
        self.adopted()
        self.stack.wait_idle()
        self.assertEqual(len(self.stack.results()), 200)
        self.assertEqual(self.stack.sim.count(), 200)
        wait_until(lambda: sum(e['count'] for e in self.worker.events('queue_recovered')) == 200, what='recovered jobs')
        self.assertEqual(self.worker.events('letter_orphaned'), [])

    def test_nothing_was_lost(self):
        """A connection that only broke: all is said again, nothing is done again, nothing is reported."""
        self.start()
        self.stack.sim.fault(action='status', status=500, count=1)  # retried: two settlements of one job
        self.stack.submit(*(letter('p%d' % n) for n in range(5)))
        self.stack.wait_results(5)
        self.stack.wait_idle()
        before, asked = self.stack.stream('results'), len(self.liar.asked('settle'))
        self.stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.worker.wait_event('queue_up', n=2)
        self.adopted()
        self.assertGreaterEqual(len(self.liar.asked('settle')), asked + 5)
        self.assertEqual(self.stack.stream('results'), before)
        self.assertEqual(self.worker.events('letter_orphaned') + self.worker.events('queue_recovered'), [])
        self.stack.wait_idle()
        account.check(self, self.stack)


if __name__ == '__main__':
    unittest.main(verbosity=2)
