#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One Redis and its disk: killed, without power, an older file, a full disk, full memory. The rows of
queue/PROTOCOL.md, section 13, that a single server can show."""
import os
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from durable import HOUSE, Case, Power, SmallDisk, key_of, mixed, unshare  # noqa: E402
from stack import rq, wait_until  # noqa: E402

ALWAYS = ('--appendonly', 'yes', '--appendfsync', 'always')
EVERYSEC = ('--appendonly', 'yes', '--appendfsync', 'everysec')


class Killed(Case):
    """kill -9 of Redis: what it acknowledged it has written, whether or not the disk has it."""

    def run_policy(self, policy):
        stack = self.start(redis=['--appendonly', 'yes', '--appendfsync', policy])
        self.slow_chambers(80)
        some = mixed('killed', 120)
        stack.submit(*some)
        for n in (20, 60):
            self.wait_results(n)
            self.wait_in_flight(4)
            stack.kill_redis()
            stack.start_redis()
        stack.wait_idle()
        last = self.check_once(some)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertEqual(self.worker.stop(), 0)

    def test_always(self):
        self.run_policy('always')

    def test_everysec(self):
        self.run_policy('everysec')

    def test_no(self):
        self.run_policy('no')


class WithoutPower(Case):
    """kill -9, and the append-only file is cut to what was synced."""

    def test_always(self):
        stack = self.start(Power, redis=ALWAYS)
        self.slow_chambers(200)
        some = mixed('power', 60)
        stack.submit(*some)
        for n in (10, 30):
            self.wait_results(n)
            self.wait_in_flight(2)
            stack.lose_power()
            stack.start_redis()
        stack.wait_idle()
        self.check_once(some)

    def second_unsynced(self, stack):
        """Returns right after a sync: nothing is synced for about a second from now on."""
        stack.redis('SET', 'tick', '1')
        before = os.stat(stack.preloaded['SYNCED_LOG']).st_size
        log = stack.preloaded['SYNCED_LOG']
        wait_until(lambda: os.stat(log).st_size > before and stack.unsynced() == 0, what='sync', pause=0.001)

    def lost_second(self, stack):
        """Letters that were known before are sent in the second that is lost; one more comes and is lost."""
        some, late = mixed('known', 20), mixed('late', 1)
        stack.redis('HSET', stack.key('holds'), 'house', '9' * 16 + ' test wait', 'senate', '9' * 16 + ' test wait')
        stack.submit(*some)
        wait_until(lambda: len(self.known(some)) == 20 and not stack.stream('in'), what='intake')
        self.second_unsynced(stack)
        stack.redis('DEL', stack.key('holds'))
        self.wait_results(10)
        stack.submit(*late)
        self.assertGreater(stack.lose_power(), 0)
        return some, late

    def test_everysec_the_worker_lives(self):
        """It remembers what it saw accepted: nothing is sent twice. What a producer wrote in that second is lost."""
        stack = self.start(Power, redis=EVERYSEC)
        self.slow_chambers()
        some, late = self.lost_second(stack)
        stack.start_redis()
        self.assertEqual(self.known(late), [])
        stack.admin('resume', 'house')
        stack.admin('resume', 'senate')
        stack.wait_idle()
        last = self.check_once(some)
        # Their TAKEs lay in that second: they were taken once more, and recognized.
        self.assertIn(('accepted_earlier', 'seen_this_boot'), {(r['outcome'], r['detail']) for r in last.values()})
        stack.submit(*late)  # out of the producer's outbox
        stack.wait_results(21)
        stack.wait_idle()
        self.check_once(some + late)

    def test_everysec_all_lose_power(self):
        """The named class: what began in the second that is lost is sent again; the House cannot know."""
        stack = self.start(Power, redis=EVERYSEC)
        self.slow_chambers()
        some, late = self.lost_second(stack)
        self.worker.kill()
        self.worker.process.wait()
        sent = {sid for sid, n in self.sent(some).items() if n}
        stack.start_redis()
        self.assertEqual(self.known(late), [])
        stack.start_worker('w2')
        stack.admin('resume', 'house')
        stack.admin('resume', 'senate')
        stack.wait_idle()
        again = {sid for sid, n in self.sent(some).items() if n > 1}
        self.assertTrue(again and again <= sent, (again, sent))
        outcomes = self.outcomes()
        self.assertEqual(set(outcomes), {key_of(s) for s in some})
        for sid, office in outcomes:
            outcome = outcomes[sid, office][0]
            if sid not in again:
                self.assertEqual(outcome, 'accepted')
            elif office == HOUSE:
                self.assertEqual(outcome, 'accepted')  # twice: nobody there knows the id
            else:
                self.assertEqual(outcome, 'id_conflict')  # refused as a copy: a person is asked
        self.assertLessEqual(set(self.sent(some).values()), {1, 2})


class OlderFile(Case):
    """Snapshots alone, or a backup: Redis comes back as it was some time ago."""

    def before_and_after(self, files):
        """Letters that end behind the snapshot's back: sent, cancelled, sent shortly before they expire; and letters
        that come after it."""
        stack = self.stack
        ended, cancelled, expired, fresh = (mixed(tag, n) for tag, n in (('ended', 10), ('cancelled', 2),
                                                                         ('expired', 2), ('fresh', 4)))
        self.expires = time.time() + 5
        for s in expired:
            s['spoil'] = {**s['spoil'], 'expires_in_s': 5}
        known = ended + cancelled + expired
        stack.redis('HSET', stack.key('holds'), 'house', '9' * 16 + ' test wait', 'senate', '9' * 16 + ' test wait')
        stack.submit(*known)
        wait_until(lambda: len(self.known(known)) == 14 and not stack.stream('in'), what='intake')
        stack.redis('SAVE')
        shutil.copy(stack.path('dump.rdb'), files)
        for s in cancelled:
            self.assertEqual(stack.admin('cancel', s['sid'])[0], 'OK')
        stack.redis('DEL', stack.key('holds'))
        stack.submit(*fresh)
        self.wait_results(18)
        stack.wait_idle()
        account.check(self, stack, known + fresh)
        return ended, cancelled, expired, fresh

    def bring_back(self, stack, files):
        stack.kill_redis()
        shutil.copy(files, stack.path('dump.rdb'))
        stack.start_redis()
        stack.redis('DEL', stack.key('holds'))

    def test_the_worker_lives(self):
        """It remembers what it saw accepted in this boot, and tells it again: nothing is sent twice."""
        stack = self.start(redis=['--dbfilename', 'dump.rdb'])
        files = stack.path('backup')
        ended, cancelled, expired, fresh = self.before_and_after(files)
        self.bring_back(stack, files)
        stack.wait_idle()
        outcomes = self.outcomes()
        self.assertEqual(set(self.sent(ended + expired + fresh).values()), {1})
        self.assertEqual({outcomes[key_of(s)][0] for s in ended}, {'accepted_earlier'})
        self.assertEqual(self.known(fresh), [])  # lost with their results: the producer has them in its outbox
        self.assertEqual(set(self.sent(cancelled).values()), {1})  # the cancelling is lost, and they were never sent
        self.assertEqual({outcomes[key_of(s)][0] for s in cancelled}, {'accepted'})

    def test_another_worker(self):
        """What ended since is sent again by whoever did not see it, unless it has expired: restoring an old backup is a
        decision to send again. The Senate refuses the copies."""
        stack = self.start(redis=['--dbfilename', 'dump.rdb'])
        files = stack.path('backup')
        ended, cancelled, expired, fresh = self.before_and_after(files)
        self.assertEqual(self.worker.stop(), 0)
        wait_until(lambda: time.time() > self.expires, 10, 'expiry')
        self.bring_back(stack, files)
        stack.start_worker('w2')
        stack.wait_idle()
        outcomes = self.outcomes()
        self.assertEqual(set(self.sent(ended).values()), {2})
        self.assertEqual(set(self.sent(cancelled).values()), {1})
        self.assertEqual(set(self.sent(fresh).values()), {1})
        self.assertEqual({outcomes[key_of(s)][0] for s in ended}, {'accepted', 'id_conflict'})
        self.assertEqual({outcomes[key_of(s)][0] for s in expired}, {'expired'})


class FullDisk(Case):
    """A disk of two megabytes, full."""

    def setUp(self):
        if unshare() is None:
            self.skipTest('no mounts of one\'s own')

    def refused(self, word):
        """Until a producer is told so."""
        def check():
            try:
                self.add(mixed('refused', 1)[0])
            except rq.RedisError as e:
                return str(e).startswith(word)
            return False
        wait_until(check, what='refusal')

    def sending(self, *redis):
        """Letters in line and on the wire."""
        stack = self.start(SmallDisk, redis=redis)
        self.slow_chambers(300)
        some = mixed('disk', 40)
        stack.submit(*some)
        self.wait_results(4)
        self.wait_in_flight(4)
        return stack, some

    def test_append_only_everysec(self):
        """MISCONF: no writes. What is on the wire is reported when there is room again."""
        stack, some = self.sending(*EVERYSEC)
        stack.fill()
        self.refused('MISCONF')
        self.assertIn(self.worker.wait_event('not_ready')['reason'], ('queue', 'queue_full', 'queue_busy'))
        wait_until(lambda: not self.stack.sim.stats()['stats']['house']['in_flight'], what='answers')
        stack.free()
        self.worker.wait_event('ready', n=2)
        stack.wait_idle()
        account.check(self, stack)
        self.assertEqual(set(self.sent(some).values()), {1})

    def test_append_only_always(self):
        """Redis gives up rather than acknowledge what is not on the disk: a lost connection until somebody makes room
        and starts it."""
        stack, some = self.sending(*ALWAYS)
        stack.fill()
        stack.redis_server.wait(20)
        stack.redis.close()
        self.worker.wait_event('not_ready')
        wait_until(lambda: not self.stack.sim.stats()['stats']['house']['in_flight'], what='answers')
        stack.free()
        stack.start_redis()
        stack.wait_idle()
        self.check_once(some)

    def test_snapshots(self):
        """MISCONF once a snapshot could not be written, until one can: Redis tries each five seconds."""
        stack, some = self.sending('--save', '1 1', '--stop-writes-on-bgsave-error', 'yes')
        stack.fill()
        self.refused('MISCONF')
        self.worker.wait_event('not_ready')
        stack.free()
        self.worker.wait_event('ready', n=2)
        stack.wait_idle()
        account.check(self, stack)
        self.assertEqual(set(self.sent(some).values()), {1})


class FullMemory(Case):
    def test_maxmemory(self):
        """Producers are told OOM and wait; what is in the queue drains; nothing is lost of what was acknowledged."""
        stack = self.start(chamber={})
        some = mixed('memory', 300)
        stack.submit(some[0])
        stack.wait_results(1)
        for chamber in 'house', 'senate':
            stack.admin('hold', chamber, int((time.time() + 60) * 1e6), 'fill')
        # A letter that is over takes three quarters of the room of one that waits.
        info = dict(line.split(':', 1) for line in stack.redis('INFO', 'memory').splitlines() if ':' in line)
        stack.redis('CONFIG', 'SET', 'maxmemory', int(info['used_memory']) + 640000)
        refused = 0
        for s in some[1:]:
            while True:
                try:
                    self.add(s)
                    break
                except rq.RedisError as e:
                    self.assertTrue(str(e).startswith('OOM'), e)
                refused += 1
                if refused == 1:
                    self.assertEqual(self.worker.wait_event('not_ready')['reason'], 'queue_full')
                    stack.admin('resume', 'house')
                    stack.admin('resume', 'senate')
                stack.redis('WAIT', 1, 20)  # some time
        self.assertGreater(refused, 0)
        stack.wait_results(300)
        stack.wait_idle()
        self.check_once(some)
        self.assertEqual({e['reason'] for e in self.worker.events('not_ready')}, {'queue_full'})


if __name__ == '__main__':
    unittest.main()
