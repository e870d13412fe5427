#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A master, a replica that may lag, and who is promoted: the rows of queue/PROTOCOL.md, section 13, on failover, with
and without queue.replicas."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from durable import HOUSE, SENATE, SLOWLY, Case, Pair, key_of, mixed  # noqa: E402
from stack import wait_until  # noqa: E402


def replicas(n):
    return {'measured_queue': {'replicas': n}} if n else {}


class Failover(Case):
    def begin(self, n_letters=100, **options):
        """Letters that the replica knows; some are over, some on the wire."""
        stack = self.start(Pair, worker=False, **options)
        self.slow_chambers(150)
        self.worker = stack.start_worker()
        some = mixed('known', n_letters)
        stack.submit(*some)
        self.wait_results(8)
        return stack, some

    def lag(self, more):
        """From now on the replica gets nothing, and `more` letters are sent. Returns a time in the simulator's clock:
        of what was sent until then the replica knows that it began."""
        wait_until(lambda: not self.stack.stream('in'), what='intake')
        known = self.last_post()
        self.stack.replicate()
        self.stack.link.freeze()
        before = self.last_post()
        wait_until(lambda: sum(self.posts(before + 1e-6).values()) >= more, what='letters sent meanwhile')
        return known

    def house_only(self, submissions):
        return [s for s in submissions if s['offices'][0] == HOUSE]

    # --- without a lag -----------------------------------------------------------------------

    def test_replica_is_up_to_date(self):
        """READONLY on the old connections, then the new master: nothing is lost, nothing is sent twice."""
        stack, some = self.begin()
        stack.redis('CLIENT', 'PAUSE', 10000, 'WRITE')  # an orderly switch: nothing is acknowledged meanwhile
        wait_until(lambda: stack.redis('INFO', 'replication').count('state=online'), what='replica')
        offset = stack.redis('INFO', 'replication').split('master_repl_offset:')[1].split()[0]
        wait_until(lambda: 'slave_repl_offset:' + offset in stack.replica('INFO', 'replication'), what='replica')
        stack.redis('REPLICAOF', '127.0.0.1', stack.replica_port)
        stack.redis('CLIENT', 'UNPAUSE')
        stack.promote()
        stack.wait_idle()
        self.check_once(some)

    def test_sentinel(self):
        """Sentinel promotes the replica of a master that was killed; the address follows it."""
        stack, some = self.begin()
        stack.start_sentinel()
        stack.redis_server.kill()
        stack.redis_server.wait()
        wait_until(lambda: stack.sentinel_master() == stack.replica_port, 20, 'failover')
        stack.follow()
        self.worker.wait_event('ready', n=2)
        known = {s['sid'] for s in self.known(some)}
        self.assertEqual(known, {s['sid'] for s in some})
        stack.wait_idle()
        self.assertEqual(set(self.sent(some).values()), {1})
        self.assertEqual(set(self.outcomes()), {key_of(s) for s in some})

    # --- with a lag, queue.replicas = 0 ------------------------------------------------------

    def test_lag_the_worker_lives(self):
        """What it saw accepted in this boot it does not send again; letters that came in the lag are lost until the
        producer sends them again."""
        stack, some = self.begin()
        self.lag(8)
        late = mixed('late', 4)
        stack.submit(*late)
        self.wait_late(late)
        stack.fail_over()
        self.worker.wait_event('ready', n=2)
        self.assertEqual(self.known(late), [])
        stack.wait_idle()
        self.assertEqual(set(self.outcomes()), {key_of(s) for s in some})
        self.assertEqual(set(self.sent(some).values()), {1})
        stack.submit(*late)
        wait_until(lambda: len(self.outcomes()) == len(some + late), what='late letters')
        stack.wait_idle()
        self.assertEqual(set(self.sent(some + late).values()), {1})
        self.assertEqual({r['state'] for r in account.last_results(stack).values()}, {'accepted'})

    def wait_late(self, late):
        wait_until(lambda: len(self.known(late)) == len(late), what='late letters at the door')

    def test_lag_the_worker_dies_too(self):
        """The named class: what began in the lag is sent again by another worker. The House cannot know; the Senate
        refuses the copy, and a person is asked."""
        stack, some = self.begin()
        since = self.lag(8)
        self.lose_worker()
        in_lag = {sid for sid, n in self.sent(some, self.posts(since + 1e-6)).items() if n}
        stack.fail_over()
        stack.start_worker('w2')
        stack.wait_idle()
        again = {sid for sid, n in self.sent(some).items() if n > 1}
        self.assertTrue(again, 'nothing was lost: the test is none')
        # At the House only what began in the lag. The Senate is asked again also when the BEGIN was kept.
        self.assertLessEqual(again & {s['sid'] for s in self.house_only(some)}, in_lag)
        outcomes = self.outcomes()
        self.assertEqual(set(outcomes), {key_of(s) for s in some})
        copies = {outcomes[key][0] for key in outcomes if key[0] in again and key[1] == SENATE}
        self.assertLessEqual(copies, {'id_conflict', 'accepted_earlier'})

    def test_two_masters(self):
        """The old master lives on with a worker, the replica is promoted and has another: both send what they know."""
        stack, some = self.begin(n_letters=60, chamber={**SLOWLY, 'concurrency': 2})
        self.lag(2)
        stack.promote()
        second = stack.start_worker('w2')
        second.wait_event('letter_ended', n=8)
        again = {sid for sid, n in self.sent(self.house_only(some)).items() if n > 1}
        self.assertTrue(again)


class Replicated(Failover):
    """queue.replicas = 1: a letter that is not known again leaves only when its BEGIN is at the replica."""
    test_replica_is_up_to_date = test_sentinel = test_lag_the_worker_lives = None

    def test_lag_the_worker_dies_too(self):
        stack, some = self.begin(**replicas(1))
        house = self.house_only(some)
        wait_until(lambda: not stack.stream('in'), what='intake')
        stack.replicate()
        stack.link.freeze()
        before = self.last_post()
        self.assertEqual(self.worker.wait_event('not_ready')['reason'], 'replicas')
        # The Senate knows a letter again: it is served meanwhile.
        wait_until(lambda: sum(n for (_, office), n in self.posts(before + 1e-6).items() if office == SENATE) >= 4,
                   what='letters to the Senate')
        count = sum(self.sent(house).values())
        wait_until(lambda: self.worker.events('queue_replicas'), what='queue_replicas')
        self.assertEqual(sum(self.sent(house).values()), count)
        self.lose_worker()
        stack.fail_over()
        # The new master has no replica: letters to the House wait until somebody says what is enough now.
        stack.values['measured_queue'] = {}
        stack.start_worker('w2')
        stack.wait_idle()
        self.assertEqual(set(self.sent(house).values()), {1})
        outcomes = self.outcomes()
        self.assertEqual(set(outcomes), {key_of(s) for s in some})
        self.assertLessEqual({outcomes[key_of(s)][0] for s in house}, {'accepted', 'outcome_unknown'})

    def test_two_masters(self):
        stack, some = self.begin(n_letters=60, chamber={**SLOWLY, 'concurrency': 2}, **replicas(1))
        house = self.house_only(some)
        wait_until(lambda: not stack.stream('in'), what='intake')
        stack.replicate()
        stack.link.freeze()
        self.worker.wait_event('queue_replicas')
        stack.promote()
        stack.values['measured_queue'] = {}
        stack.start_worker('w2')
        stack.wait_idle()
        self.assertEqual(set(self.sent(house).values()), {1})
        self.worker.kill()

    def test_replica_comes_back(self):
        """Letters wait while the replica is away, and go on when it has caught up; none uses an attempt."""
        stack, some = self.begin(**replicas(1))
        stack.link.freeze()
        self.assertEqual(self.worker.wait_event('not_ready')['reason'], 'replicas')
        stack.link.thaw()
        self.worker.wait_event('ready', n=2)
        stack.wait_idle()
        last = self.check_once(some)
        self.assertEqual({r['attempt'] for r in last.values()}, {'1'})


if __name__ == '__main__':
    unittest.main()
