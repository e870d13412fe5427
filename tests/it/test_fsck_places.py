#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl fsck: what must be so of submissions, lines, places, workers and streams. Each is broken once and found, mended,
and found no more; then every letter ends, and none is sent twice."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import SECOND, rq, wait_until  # noqa: E402
from fsck_case import DAY, H, S, FsckCase  # noqa: E402


class Submissions(FsckCase):
    def test_sub_unlisted(self):
        self.waiting('a', 'HNE03,SNE02')
        self.r('HSET', '{q}:sub:a', 'offices', S)
        self.broken('sub-unlisted', 'sub-summary')
        self.assertEqual(self.r('HGET', '{q}:sub:a', 'rollup'), 'delivered')

    def test_sub_gone(self):
        self.waiting('a', 'HNE03,SNE02')
        self.r('DEL', '{q}:sub:a')
        self.broken('sub-unlisted', then=['bytes-missing'])
        self.assertEqual((self.job('a')['state'], self.job('a', S)['state']), ('dropped', 'dropped'))

    def test_record_missing(self):
        self.waiting()
        self.r('DEL', '{q}:job:a:HNE03')
        self.broken('record-missing', 'line-left', 'exp-left')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))
        for state in ('accepted', 'rejected', 'expired'):
            self.setUp()
            self.over(state)
            self.r('DEL', '{q}:job:a:HNE03')
            self.broken('record-missing')
            self.waiting()  # the same bytes again: they are not sent again
            self.drain(2)
            self.assertEqual(self.posts['a', H], 1 if state == 'accepted' else 2)

    def test_record_missing_for_people(self):
        self.over('unknown')
        self.r('DEL', '{q}:job:a:HNE03')
        self.broken('record-missing', 'unknown-left')
        self.assertEqual(self.job('a')['state'], 'unknown')
        self.setUp()
        self.over('dead')
        self.r('DEL', '{q}:job:a:HNE03')
        self.broken('record-missing', 'dead-orphan', then=['dead-left'])
        self.assertEqual((self.job('a')['state'], self.r('XLEN', '{q}:dead')), ('dead', 1))

    def test_record_missing_that_was_begun(self):
        self.in_flight()
        self.r('DEL', '{q}:job:a:HNE03')
        self.broken('record-missing', 'held-left', 'exp-left')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('unknown', 1))

    def test_two_records_missing(self):
        self.waiting('a', 'HNE03,SNE02,SNE01')
        self.r('DEL', '{q}:job:a:HNE03', '{q}:job:a:SNE02')
        self.broken('record-missing', 'line-left', 'exp-left')
        self.assertEqual(self.posts, {('a', H): 1, ('a', S): 1, ('a', 'SNE01'): 1})

    def test_sub_empty(self):
        self.r('HSET', '{q}:sub:a', 'first_us', 1, 'j:' + 40 * 'a', 'x')
        self.broken('sub-empty')
        self.r('HSET', '{q}:sub:a', 'first_us', 1, 'offices', H, 'j:' + 40 * 'a', 'x')
        self.broken('sub-empty')
        self.assertEqual(self.r('EXISTS', '{q}:sub:a'), 0)

    def test_sub_summary(self):
        for state in (self.waiting, lambda: self.over('dead'), lambda: self.over('accepted'), self.in_flight):
            for change in (('HSET', 'open', 7), ('HDEL', 'open'), ('HSET', 'rollup', 'x'), ('HSET', 's:HNE03', 'x y 9'),
                           ('HDEL', 's:HNE03'), ('HSET', 'offices', 'HNE03,junk'), ('HSET', 's:junk', 'wait - 1')):
                self.setUp()
                state()
                before = {k: v for k, v in rq.pairs(self.r('HGETALL', '{q}:sub:a')).items() if k != 's:HNE03'}
                self.r(change[0], '{q}:sub:a', *change[1:])
                with self.subTest(change=change):
                    self.broken('sub-summary', drain=False)
                    after = rq.pairs(self.r('HGETALL', '{q}:sub:a'))
                    self.assertEqual({k: v for k, v in after.items() if k in before and k != 'expires_us'},
                                     {k: v for k, v in before.items() if k != 'expires_us'})

    def test_sub_expires(self):
        for state in (self.waiting, self.in_flight, lambda: self.over('dead'), lambda: self.over('unknown')):
            for key in ('sub:a', 'job:a:HNE03'):
                self.setUp()
                state()
                self.r('EXPIRE', '{q}:' + key, 1000)
                self.broken('sub-expires', drain=False)
                self.assertEqual(self.r('TTL', '{q}:' + key), -1)

    def test_sub_life(self):
        for command in (('PERSIST', 'sub:a'), ('PERSIST', 'job:a:HNE03'), ('EXPIRE', 'sub:a', 1000),
                        ('EXPIRE', 'job:a:HNE03', 1000)):
            self.setUp()
            self.over('accepted')
            self.r(command[0], '{q}:' + command[1], *command[2:])
            self.broken('sub-life')
            least = int(self.job('a')['expires_us']) / SECOND - time.time() + 86400 - 2
            self.assertGreaterEqual(self.r('TTL', '{q}:sub:a'), least)

    def test_bytes_left(self):
        self.over('accepted')
        self.r('HSET', '{q}:sub:a', 'j:' + 40 * 'a', 'x')
        self.broken('bytes-left')


class Places(FsckCase):
    def test_line_left(self):
        self.waiting()
        self.later('l')
        for sid in ('ghost', 'l'):
            self.r('ZADD', '{q}:wait:HNE03', 1, sid)
            self.broken('line-left', drain=False)
        self.drain()
        self.r('ZADD', '{q}:wait:HNE03', 1, 'ghost')
        self.broken('line-left', 'line-turn')
        self.assertEqual(self.r('EXISTS', '{q}:wait:HNE03', '{q}:turn:house'), 0)

    def test_line_order(self):
        self.waiting()
        self.waiting('b')
        self.r('ZADD', '{q}:wait:HNE03', 1, 'b')
        self.broken('line-order', drain=False)
        self.assertEqual(self.r('ZRANGE', '{q}:wait:HNE03', 0, -1), ['a', 'b'])
        self.drain()

    def test_line_turn(self):
        self.waiting('a', 'HNE03,SNE02')
        self.r('ZREM', '{q}:turn:senate', S)
        self.broken('line-turn')
        self.assertEqual(self.posts['a', S], 1)

    def test_turn_left(self):
        self.waiting()
        self.r('ZADD', '{q}:turn:house', 1, 'HTX09')
        self.broken('turn-left', drain=False)
        self.r('ZADD', '{q}:turn:senate', 1, H)
        self.broken('turn-left', drain=False)
        self.drain()

    def test_turn_far(self):
        self.waiting()
        self.r('ZADD', '{q}:turn:house', self.now() + 3600 * SECOND, H)
        self.broken('turn-far')

    def test_left_in_a_place(self):
        self.over('accepted', 'over')
        self.waiting()
        for place in ('later', 'close', 'exp', 'unknown'):
            for member in ('ghost:HNE03', 'over:HNE03', 'no id'):
                self.r('ZADD', '{q}:' + place, self.now(), member)
                self.broken(place + '-left', drain=False)
                self.assertIsNone(self.r('ZSCORE', '{q}:' + place, member))
        self.drain()

    def test_far(self):
        self.later()
        for place in ('later', 'exp'):
            self.r('ZADD', '{q}:' + place, self.now() + 40 * DAY, 'a:HNE03')
            self.broken(place + '-far', drain=False)
        self.drain()

    def test_held_left(self):
        item = self.in_flight()
        for member in ('ghost:HNE03 w1/1.5.1', 'a:HNE03 w1/1.5.1', 'no member'):
            self.r('SADD', '{q}:held:w1/1', member)
            self.broken('held-left', drain=False)
        self.assertEqual(self.r('SMEMBERS', '{q}:held:w1/1'), ['a:HNE03 ' + item[2]])
        self.end_with(item, 'end', 'accepted', 'accepted')
        self.drain()

    def test_held_left_with_the_token_of_another(self):
        """As after a TAKE that failed between `held` and the record, and went on."""
        for office in (H, 'HNE01'):
            self.setUp()
            item = self.in_flight()
            self.r('SADD', '{q}:held:w1/1', 'b:%s %s' % (office, item[2]))
            self.r('SADD', '{q}:fly:' + office, item[2])
            self.broken('held-left', drain=False)
            self.assertEqual(self.r('SMEMBERS', '{q}:fly:HNE03'), [item[2]])
            self.assertEqual(self.r('SCARD', '{q}:fly:HNE01'), 0)
            self.end_with(item, 'end', 'accepted', 'accepted')
            self.drain()

    def test_worker_missing(self):
        item = self.in_flight()
        self.r('ZREM', '{q}:workers', 'w1/1')
        self.broken('worker-missing', drain=False)
        self.call('beat', 'w2/1', 60 * SECOND, 'join', self.now(), 1)
        self.assertEqual(self.call('beat', 'w1/1', 60 * SECOND, 'beat', self.now(), 1), ['FENCED'])
        self.assertEqual(self.call('reap', 'w2/1', self.now(), 0, 3, 0, 1, 100), ['OK', 1])
        self.assertEqual(self.end_with(item, 'end', 'accepted', 'accepted')[0], 'LATE')
        self.clean()
        self.assertEqual(self.job('a')['state'], 'accepted')

    def test_fly_left(self):
        item = self.in_flight()
        for token in ('w1/1.5.1', 'w9/9.1.1', 'no token'):
            self.r('SADD', '{q}:fly:HNE03', token)
            self.broken('fly-left', drain=False)
        self.assertEqual(self.r('SMEMBERS', '{q}:fly:HNE03'), [item[2]])
        self.end_with(item, 'end', 'accepted', 'accepted')
        self.drain()

    def test_lease_far(self):
        self.waiting()
        self.r('ZADD', '{q}:workers', self.now() + 3600 * SECOND, 'w1/1')
        self.broken('lease-far', left=True)
        self.drain()

    def test_machine_left(self):
        self.r('HSET', '{q}:machines', 'w9/9', 'm')
        self.broken('machine-left')

    def test_about_left(self):
        self.r('HSET', '{q}:about', 'w9/9', 'version=1')
        self.broken('about-left')

    def test_dead_left(self):
        self.over('dead')
        entry = self.r('XRANGE', '{q}:dead', '-', '+')[0][1]
        self.r('XADD', '{q}:dead', '*', *entry)
        self.broken('dead-left', drain=False)
        self.r('XADD', '{q}:dead', '*', 'sid', 'a')
        self.broken('dead-left')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 1)

    def test_dead_orphan(self):
        self.over('dead')
        self.r('DEL', '{q}:job:a:HNE03', '{q}:sub:a')
        self.broken('dead-orphan', drain=False)
        self.assertEqual(self.call('admin', 'drop', 'test', 'a', H)[:2], ['OK', 'close'])
        self.drain()
        self.assertEqual((self.job('a')['state'], rq.stream(self.r, 'results')[-1]['delivery_id']), ('dropped', 'd' * 32))

    def test_rev_behind(self):
        self.over('dead')
        self.r('HSET', '{q}:job:a:HNE03', 'rev', 1)
        self.broken('rev-behind', 'sub-summary', drain=False)
        self.assertEqual(self.job('a')['rev'], '3')
        self.call('admin', 'drop', 'test', 'a', H)
        self.drain()

    def test_result_of_a_settle_that_failed(self):
        """It is one ahead, and is written again."""
        item = self.in_flight()
        self.r('XADD', '{q}:results', '*', 'sid', 'a', 'office', H, 'rev', int(self.job('a')['rev']) + 1, 'state', 'accepted')
        self.clean()
        self.r('XADD', '{q}:results', '*', 'sid', 'a', 'office', H, 'rev', int(self.job('a')['rev']) + 2, 'state', 'accepted')
        self.broken('rev-behind', drain=False)
        self.end_with(item, 'end', 'accepted', 'accepted')

    def test_results_of_an_earlier_life(self):
        """The record has expired, and the same sid came again."""
        self.over('accepted')
        self.r('DEL', '{q}:job:a:HNE03', '{q}:sub:a')
        start = self.now()
        wait_until(lambda: self.now() >= start + 2000, what='a result that is older than the record by a millisecond')
        self.waiting()
        self.clean()


if __name__ == '__main__':
    unittest.main()
