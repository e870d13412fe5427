#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Redis that is there, but not for us: the rows of queue/PROTOCOL.md, section 13, that lose nothing, under load; and
moving the queue's slot to another node, which is safe in one order only."""
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stack as stacks  # noqa: E402
from cluster import Cluster  # noqa: E402
from durable import PATIENTLY, Case, mixed  # noqa: E402
from stack import rq, wait_until  # noqa: E402


class Clustered(stacks.Stack):
    def __init__(self, **options):
        super().__init__(**options)
        self.cluster = Cluster(self)

    def start(self):
        super().start()
        self.cluster.start()
        return self

    def close(self):
        self.cluster.close()
        super().close()


class Away(Case):
    def sending(self, kind=stacks.Stack, **options):
        stack = self.start(kind, **options)
        self.slow_chambers(80)
        some = mixed('letter', 60)
        stack.submit(*some)
        self.wait_results(8)
        return stack, some

    def is_ready(self):
        return [e['event'] for e in self.worker.events() if e['event'] in ('ready', 'not_ready')][-1] == 'ready'

    def goes_on(self, some):
        """Everything once, each with its first attempt, as if nothing had been."""
        self.stack.wait_idle()
        last = self.check_once(some)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual(self.worker.stop(), 0)

    def test_readonly(self):
        """A replica of nobody for a while, and a master again: an aborted failover."""
        stack, some = self.start(chamber=PATIENTLY), mixed('letter', 60)
        for n in 1, 2:
            with self.silent_chambers(some[30 * n - 30:30 * n]):
                stack.redis('REPLICAOF', '127.0.0.1', '1')
                wait_until(lambda: self.worker.process.poll() is None and not self.is_ready(), what='not_ready')
            stack.redis('REPLICAOF', 'NO', 'ONE')
            self.worker.wait_event('ready', n=n + 1)
            stack.wait_results(30 * n)
        self.assertIn('queue_busy', {e['reason'] for e in self.worker.events('not_ready')})
        self.goes_on(some)

    def test_loading(self):
        """A restart that takes its time: the port is open, the data is not there yet."""
        redis = ['--appendonly', 'yes', '--appendfsync', 'always', '--rdbcompression', 'no', '--enable-debug-command', 'yes']
        stack = self.start(chamber=PATIENTLY, redis=redis)
        some = mixed('letter', 60)
        stack.submit(*some[:30])
        self.wait_results(8)
        stack.redis('DEBUG', 'POPULATE', 1000, 'filling', 1000)
        stack.redis('BGREWRITEAOF')
        wait_until(lambda: 'aof_rewrite_in_progress:0' in stack.redis('INFO', 'persistence'), what='rewritten file')
        with self.silent_chambers(some[30:]):
            stack.kill_redis()
        stack.redis_args += ['--key-load-delay', '15000', '--loading-process-events-interval-bytes', '1024']
        starting = threading.Thread(target=stack.start_redis)
        starting.start()
        wait_until(lambda: 'queue_busy' in {e['reason'] for e in self.worker.events('not_ready')}, what='LOADING')
        client = rq.Client(stack.redis_path)
        client('CONFIG', 'SET', 'key-load-delay', 0)
        client.close()
        starting.join()
        self.worker.wait_event('ready', n=2)
        self.goes_on(some)

    def test_script_flush(self):
        stack, some = self.sending()
        for _ in range(20):
            stack.redis('SCRIPT', 'FLUSH', 'SYNC')
            before = len(stack.results())
            wait_until(lambda before=before: len(stack.results()) > before or not stack.busy(), what='a result')
        self.assertEqual(self.worker.events('queue_down'), [])
        self.goes_on(some)

    def test_moved(self):
        """The slot and all its keys go to another node. The worker dials its own address only: it waits, says so, and goes
        on when the slot is back."""
        stack, some = self.start(Clustered, chamber=PATIENTLY), mixed('letter', 60)
        with self.silent_chambers(some):
            stack.cluster.start_moved()
            self.assertIn(self.worker.wait_event('not_ready')['reason'], ('queue_busy', 'queue_script'))
        at_other = stack.cluster.other('XLEN', stack.key('results'))
        sent = sum(self.posts().values())
        with self.assertRaisesRegex(rq.RedisError, 'MOVED'):
            self.add(some[0])
        stack.cluster.end_moved()
        self.worker.wait_event('ready', n=2)
        self.assertGreaterEqual(stack.redis('XLEN', stack.key('results')), at_other)
        self.assertLess(sent, len(some))
        self.goes_on(some)

    def carry(self, first):
        """Live resharding: a few keys at a time, in this order."""
        cluster, redis = self.stack.cluster, self.stack.redis
        cluster.other('CLUSTER', 'SETSLOT', cluster.slot, 'IMPORTING', cluster.id)
        redis('CLUSTER', 'SETSLOT', cluster.slot, 'MIGRATING', cluster.other_id)
        keys = redis('CLUSTER', 'GETKEYSINSLOT', cluster.slot, 10000)
        keys.sort(key=lambda k: not first(k))
        while keys:
            some, keys = keys[:10], keys[10:]
            redis('MIGRATE', '127.0.0.1', cluster.other_port, '', 0, 5000, 'KEYS', *some)
            self.between(bool(keys))
            if not keys:
                keys = redis('CLUSTER', 'GETKEYSINSLOT', cluster.slot, 10000)
        cluster.set_slot('NODE', cluster.other_id)

    def between(self, _more):
        """Time for the worker to call a script or two."""
        wait_until(lambda: self.stack.redis('PING') == 'PONG')

    def test_reshard_meta_first(self):
        """`meta` is the key that the scripts name: without it here they are all sent to the other node."""
        stack, some = self.sending(Clustered)
        self.carry(lambda key: key.endswith(':meta'))
        wait_until(lambda: not stack.sim.stats()['stats']['house']['in_flight'], what='answers')
        stack.cluster.end_moved()
        self.goes_on(some)

    def test_reshard_meta_last(self):
        """Scripts run on half of the keys: Redis fails each at the first key that is not here, which is a failure as any
        other in a script."""
        stack, some = self.sending(Clustered)
        self.carry(lambda key: not key.endswith(':meta'))
        wait_until(lambda: not stack.sim.stats()['stats']['house']['in_flight'], what='answers')
        stack.cluster.end_moved()
        self.goes_on(some)


if __name__ == '__main__':
    unittest.main()
