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
from durable import PATIENTLY, SENATE, Case, Power, SmallDisk, key_of, mixed, unshare  # noqa: E402
from stack import rq, wait_until  # noqa: E402

ALWAYS = ('--appendonly', 'yes', '--appendfsync', 'always')
EVERYSEC = ('--appendonly', 'yes', '--appendfsync', 'everysec')
WAITS = 'HNE01'  # an office that a person holds


def hold(stack, *what):
    for one in what:
        stack.admin('hold', one, int((time.time() + 3600) * 1e6), 'a test')


def resume(stack, *what):
    for one in what:
        stack.admin('resume', one)


class Killed(Case):
    """kill -9 of Redis: what it acknowledged it has written, whether or not the disk has it. If no sync is slow."""

    def run_policy(self, policy):
        stack = self.start(Power, redis=['--appendonly', 'yes', '--appendfsync', policy], chamber=PATIENTLY)
        some = mixed('killed', 120)
        for n in (0, 60):
            stack.submit(*some[n:n + 40])
            self.wait_results(n + 10)
            with self.silent_chambers(some[n + 40:n + 60]):
                stack.wait_written()
                stack.kill_redis()
            stack.start_redis()
            stack.wait_results(n + 60)
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
        stack = self.start(Power, redis=ALWAYS, chamber=PATIENTLY)
        some = mixed('power', 60)
        for n in (0, 30):
            stack.submit(*some[n:n + 20])
            self.wait_results(n + 5)
            with self.silent_chambers(some[n + 20:n + 30]):
                stack.lose_power()
            stack.start_redis()
            stack.wait_results(n + 30)
        stack.wait_idle()
        self.check_once(some)

    def lost_stretch(self, stack):
        """Letters that were known before are sent in the stretch that is lost. One more comes in it and is sent, and
        one that waits. (With `everysec` such a stretch is a second; here it lasts until all of that has happened.)"""
        some, sent, waits = mixed('known', 20), mixed('sent', 1), mixed('waits', 1, [WAITS])
        hold(stack, 'house', 'senate', WAITS)
        stack.submit(*some)
        wait_until(lambda: len(self.known(some)) == 20 and not stack.stream('in'), what='intake')
        stack.hold_syncs()
        resume(stack, 'house', 'senate')
        self.wait_results(10)
        stack.submit(*sent, *waits)
        wait_until(lambda: stack.job(*key_of(sent[0])).get('state') == 'accepted', what='the new letter')
        stack.wait_status(waits[0]['sid'], WAITS, 'wait')
        self.assertGreater(stack.lose_power(), 0)
        return some, sent, waits

    def test_everysec_the_worker_lives(self):
        """It remembers what it saw accepted: nothing is sent twice. What a producer wrote in that stretch is lost."""
        stack = self.start(Power, redis=EVERYSEC)
        self.slow_chambers()
        some, sent, waits = self.lost_stretch(stack)
        stack.start_redis()
        self.assertEqual((len(self.known(some)), self.known(sent + waits)), (20, []))
        resume(stack, 'house', 'senate', WAITS)
        stack.wait_idle()
        self.assertEqual(self.states(account.last_results(stack)), {'accepted': 20})
        stack.submit(*sent, *waits)  # out of the producer's outbox
        stack.wait_results(22)
        stack.wait_idle()
        last = self.check_once(some + sent + waits)
        # What was sent in that stretch was taken once more, and recognized: ten at least, and the new one.
        outcomes = {s: (r['outcome'], r['detail']) for (s, _), r in last.items()}
        again = ('accepted_earlier', 'seen_this_boot')
        self.assertGreaterEqual(sum(outcomes[s['sid']] == again for s in some), 10)
        self.assertEqual((outcomes['sent-000'], outcomes['waits-000']), (again, ('accepted', '')))

    def test_everysec_all_lose_power(self):
        """The named class: what began in the stretch that is lost is sent again; the House cannot know."""
        stack = self.start(Power, redis=EVERYSEC)
        self.slow_chambers()
        some, sent, waits = self.lost_stretch(stack)
        self.lose_worker()
        first = {sid for sid, n in self.sent(some).items() if n}
        self.assertGreaterEqual(len(first), 10)
        stack.start_redis()
        self.assertEqual((len(self.known(some)), self.known(sent + waits)), (20, []))
        stack.start_worker('w2')
        resume(stack, 'house', 'senate')
        stack.wait_idle()
        posts = self.sent(some)
        self.assertEqual(posts, {s['sid']: 2 if s['sid'] in first else 1 for s in some})
        outcomes = self.outcomes()
        self.assertEqual(set(outcomes), {key_of(s) for s in some})
        for sid, office in outcomes:
            # The House takes it twice: nobody there knows the id. The Senate refuses the copy: a person is asked.
            copy = sid in first and office == SENATE
            self.assertEqual(outcomes[sid, office][0], 'id_conflict' if copy else 'accepted')


class OlderFile(Case):
    """Snapshots alone, or a backup: Redis comes back as it was some time ago."""

    def before_and_after(self, files, expiry_s):
        """Letters that end behind the snapshot's back: sent, cancelled, sent before they expire, which is soon; and
        letters that come after it."""
        stack = self.stack
        ended, cancelled, expired, fresh = (mixed(tag, n) for tag, n in (('ended', 10), ('cancelled', 2),
                                                                         ('expired', 2), ('fresh', 4)))
        self.expires = time.time() + expiry_s
        for s in expired:
            s['spoil'] = {**s['spoil'], 'expires_in_s': expiry_s}
        known = ended + cancelled + expired
        hold(stack, 'house', 'senate')
        stack.submit(*known)
        wait_until(lambda: len(self.known(known)) == 14 and not stack.stream('in'), what='intake')
        stack.redis('SAVE')
        shutil.copy(stack.path('dump.rdb'), files)
        for s in cancelled:
            self.assertEqual(stack.admin('cancel', s['sid'])[0], 'OK')
        resume(stack, 'house', 'senate')
        stack.submit(*fresh)
        self.wait_results(18)
        stack.wait_idle()
        account.check(self, stack, known + fresh)
        return ended, cancelled, expired, fresh

    def bring_back(self, stack, files):
        stack.kill_redis()
        shutil.copy(files, stack.path('dump.rdb'))
        stack.start_redis()
        resume(stack, 'house', 'senate')

    def test_the_worker_lives(self):
        """It remembers what it saw accepted in this boot, and tells it again: nothing is sent twice."""
        stack = self.start(redis=['--dbfilename', 'dump.rdb'])
        files = stack.path('backup')
        ended, cancelled, expired, fresh = self.before_and_after(files, 600)
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
        ended, cancelled, expired, fresh = self.before_and_after(files, 10)
        self.assertEqual(self.worker.stop(), 0)
        wait_until(lambda: time.time() > self.expires, 20, 'expiry')
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
        """Letters in line and on the wire when the disk is full."""
        stack = self.start(SmallDisk, redis=redis, chamber=PATIENTLY)
        some = mixed('disk', 40)
        stack.submit(*some[:20])
        self.wait_results(4)
        with self.silent_chambers(some[20:]):
            stack.fill()
        return stack, some

    def test_append_only_everysec(self):
        """MISCONF: no writes. What is on the wire is reported when there is room again."""
        stack, some = self.sending(*EVERYSEC)
        self.refused('MISCONF')
        self.assertIn(self.worker.wait_event('not_ready')['reason'], ('queue', 'queue_full', 'queue_busy'))
        stack.free()
        self.worker.wait_event('ready', n=2)
        stack.wait_idle()
        account.check(self, stack)
        self.assertEqual(set(self.sent(some).values()), {1})

    def test_append_only_always(self):
        """Redis gives up rather than acknowledge what is not on the disk: a lost connection until somebody makes room
        and starts it."""
        stack, some = self.sending(*ALWAYS)
        stack.redis_server.wait(20)
        stack.redis.close()
        self.worker.wait_event('not_ready')
        stack.free()
        stack.start_redis()
        stack.wait_idle()
        self.check_once(some)

    def test_snapshots(self):
        """MISCONF once a snapshot could not be written, until one can: Redis tries each five seconds."""
        stack, some = self.sending('--save', '1 1', '--stop-writes-on-bgsave-error', 'yes')
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
        some = mixed('memory', 1000)
        hold(stack, 'house', 'senate')
        stack.submit(*some[:950])
        wait_until(lambda: not stack.stream('in'), what='intake')
        # A letter that is over takes three quarters of the room of one that waits: 2.4 kB. What connections and scripts
        # need besides comes and goes by tens of kB.
        info = dict(line.split(':', 1) for line in stack.redis('INFO', 'memory').splitlines() if ':' in line)
        stack.redis('CONFIG', 'SET', 'maxmemory', int(info['used_memory']) - 100000)
        refused = 0
        for s in some[950:]:
            while True:
                try:
                    self.add(s)
                    break
                except rq.RedisError as e:
                    self.assertTrue(str(e).startswith('OOM'), e)
                refused += 1
                if refused == 1:
                    self.assertEqual(self.worker.wait_event('not_ready')['reason'], 'queue_full')
                    resume(stack, 'house', 'senate')
                stack.redis('WAIT', 1, 20)  # some time
        self.assertGreater(refused, 0)
        stack.wait_results(1000)
        stack.wait_idle()
        self.check_once(some)
        self.assertEqual({e['reason'] for e in self.worker.events('not_ready')}, {'queue_full'})


if __name__ == '__main__':
    unittest.main()
