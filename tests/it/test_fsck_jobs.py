#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl fsck: what must be so of a job's record. Each is broken once and found, mended, and found no more; then the
letter ends, and is not sent twice."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import NO, SECOND, rq  # noqa: E402
from fsck_case import H, S, FsckCase  # noqa: E402


class Jobs(FsckCase):
    def test_job_field(self):
        for state in (self.waiting, self.later, self.closing):
            for field in ('why', 'candidates', 'previous', 'generation', 'token', 'worker', 'attempt', 'crashes',
                          'deliveries', 'first_us', 'expires_us', 'digest', 'rev', 'score'):
                self.setUp()
                state()
                self.r('HDEL', '{q}:job:a:HNE03', field)
                also = {'rev': ['sub-summary'], 'score': ['line-order'] if state == self.waiting else []}.get(field, [])
                with self.subTest(state=state.__name__, field=field):
                    self.broken('job-field', *also, then=['why'])

    def test_job_field_malformed(self):
        for field, value in (('attempt', '-1'), ('rev', 'x'), ('rev', '0'), ('expires_us', '1e9'), ('digest', 'abc'),
                             ('crashes', ''), ('generation', 'x'), ('begun_us', '')):
            self.setUp()
            taken = self.in_flight()
            self.r('HSET', '{q}:job:a:HNE03', field, value)
            with self.subTest(field=field, value=value):
                self.broken('job-field', *['sub-summary'] if field == 'rev' else [], drain=False)
                self.assertEqual(self.end_with(taken, 'end', 'accepted', 'accepted')[:2], ['OK', 'accepted'])
                self.drain()

    def test_rev_never_goes_back(self):
        self.over('dead')
        rev = int(self.job('a')['rev'])
        self.r('HDEL', '{q}:job:a:HNE03', 'rev')
        self.fsck('--mend')
        self.assertGreater(int(self.job('a')['rev']), rev)
        self.r('HDEL', '{q}:job:a:HNE03', 'rev')
        self.r('HDEL', '{q}:sub:a', 's:HNE03')
        self.fsck('--mend')
        self.assertGreater(int(self.job('a')['rev']), rev)
        self.clean()

    def test_job_state(self):
        self.waiting()
        self.r('HSET', '{q}:job:a:HNE03', 'state', 'gone')
        self.broken('job-state', 'line-left', 'exp-left')
        self.assertEqual(self.job('a')['state'], 'accepted')

    def test_job_without_state(self):
        self.retried()
        self.r('HDEL', '{q}:job:a:HNE03', 'state')
        self.broken('job-state', 'later-left', 'exp-left')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('unknown', 1))

    def test_accepted_open(self):
        for state, also in (('wait', ()), ('later', ()), ('close', ())):
            self.setUp()
            self.over('accepted')
            self.r('HSET', '{q}:job:a:HNE03', 'state', state)
            self.broken('accepted-open', 'sub-summary', 'sub-expires', *also)
            self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))

    def test_accepted_in_line(self):
        """Put back by hand, whole: in line, and even taken."""
        for taken in (False, True):
            self.setUp()
            self.over('accepted')
            self.r('HSET', '{q}:job:a:HNE03', 'state', 'wait')
            for key in ('job:a:HNE03', 'sub:a'):
                self.r('PERSIST', '{q}:' + key)
            self.r('ZADD', '{q}:wait:HNE03', self.job('a')['score'], 'a')
            self.r('ZADD', '{q}:turn:house', 1, 'HNE03')
            self.r('ZADD', '{q}:exp', self.job('a')['expires_us'], 'a:HNE03')
            self.r('HSET', '{q}:sub:a', 'j:' + self.job('a')['digest'], 'bytes')
            item = self.take()['a'] if taken else None
            self.fsck('--mend', code=NO)
            if taken:
                self.assertEqual(self.work(item)[1], 'close')
            self.drain()
            self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))

    def test_late_hidden(self):
        for state in ('rejected', 'dead', 'unknown', 'expired'):
            self.setUp()
            self.over(state)
            self.r('HSET', '{q}:job:a:HNE03', 'late', 'a.b.c')
            self.broken('late-hidden')
            self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))
            self.assertEqual(self.r('XLEN', '{q}:dead') + self.r('ZCARD', '{q}:unknown'), 0)

    def test_token_left(self):
        for state in (self.waiting, self.later, self.closing, lambda: self.over('dead')):
            self.setUp()
            state()
            self.r('HSET', '{q}:job:a:HNE03', 'token', 'w1/1.9.9', 'worker', 'w1/1')
            self.broken('token-left', drain=False)
            self.assertEqual(self.end_with(['a', H, 'w1/1.9.9'], 'end', 'accepted', 'x')[0], 'STALE')
            self.drain()

    def test_job_flight(self):
        for begun in (False, True):
            for state in ('wait', 'later', 'close'):
                self.setUp()
                taken = self.in_flight(begun=begun)
                self.r('HSET', '{q}:job:a:HNE03', 'state', state)
                self.broken('job-flight', drain=False)
                self.assertEqual(self.job('a')['state'], 'begun' if begun else 'taken')
                self.assertEqual(self.take(), {}, 'it is with a worker')
                self.finish(taken)

    def test_job_flight_whose_worker_died(self):
        self.in_flight()
        self.r('HSET', '{q}:job:a:HNE03', 'state', 'wait')
        self.r('ZADD', '{q}:workers', 1, 'w1/1')
        self.call('beat', 'w2/1', 60 * SECOND, 'join', self.now(), 1)
        self.broken('job-flight', drain=False)
        self.call('reap', 'w2/1', self.now(), 0, 3, 0, 1, 100)
        self.assertEqual((self.job('a')['state'], self.job('a')['why']), ('close', 'unknown'))
        self.clean()

    def test_flight_nobody_worker(self):
        """Its token says whose it is."""
        for taken in self.flights():
            self.r('HSET', '{q}:job:a:HNE03', 'worker', '')
            self.broken('flight-nobody', 'held-left', drain=False)
            self.finish(taken)

    def test_flight_nobody_token(self):
        for begun, office, ends in ((False, H, 'accepted'), (True, H, 'unknown')):
            self.setUp()
            taken = self.in_flight(office=office, begun=begun)
            self.r('HSET', '{q}:job:a:%s' % office, 'token', '')
            self.broken('flight-nobody', 'held-left', drain=False)
            self.assertEqual(self.end_with(taken, 'end', 'accepted', 'accepted')[0], 'STALE')
            self.call('adopt', 'w1/1', self.now(), 0, 0, 0, taken[2])  # must not call it unsent
            self.drain()
            self.assertEqual((self.job('a', office)['state'], self.posts['a', office]), (ends, 1))
            self.assertEqual(self.r('ZRANGE', '{q}:workers', 0, -1), ['w1/1'])

    def test_previous(self):
        self.waiting()
        self.r('HSET', '{q}:job:a:HNE03', 'previous', 'accepted', 'previous_attempt', 0, 'previous_digest', 'x')
        self.broken('previous', 'sub-summary')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('unknown', 0))
        self.setUp()
        self.over('dead')
        self.r('HSET', '{q}:job:a:HNE03', 'previous', 'rejected', 'previous_attempt', 0, 'previous_digest', 'x')
        self.broken('previous', 'sub-summary')
        self.setUp()
        item = self.in_flight(begun=False)
        self.r('HSET', '{q}:job:a:HNE03', 'previous', 'unknown', 'previous_attempt', 0, 'previous_digest', 'x')
        self.broken('previous', 'sub-summary', drain=False)
        self.work(item)
        self.drain()
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('unknown', 0))

    def test_why(self):
        self.closing()
        self.r('HSET', '{q}:job:a:HNE03', 'why', '')
        self.broken('why')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('cancelled', 0))
        self.setUp()
        self.closing()
        self.r('HSET', '{q}:job:a:HNE03', 'why', 'bored', 'cancelled', '')
        self.broken('why')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))
        for why, ends in (('cancelled', 'cancelled'), ('bored', 'accepted')):
            for state in (self.waiting, self.later):
                self.setUp()
                state()
                self.r('HSET', '{q}:job:a:HNE03', 'why', why)
                self.broken('why')
                self.assertEqual(self.job('a')['state'], ends)

    def test_why_with_a_mark(self):
        self.retried(office=S, unknown=True)
        self.r('HSET', '{q}:job:a:SNE02', 'state', 'close')
        self.r('ZADD', '{q}:close', 1, 'a:SNE02')
        self.r('ZREM', '{q}:later', 'a:SNE02')
        self.broken('why', drain=False)
        self.drain()
        self.assertEqual((self.job('a', S)['state'], self.posts['a', S]), ('unknown', 1))

    def test_candidates(self):
        self.waiting()
        self.r('XADD', '{q}:in', '*', 'sid', 'a', 'offices', H, 'job', 'other bytes')
        self.intake()
        other = self.job('a')['candidates']
        self.r('HDEL', '{q}:sub:a', 'j:' + other)
        self.broken('candidates')
        self.assertEqual([(e['why'], e['digest']) for e in rq.stream(self.r, 'refused')], [('lost', other)])
        self.setUp()
        self.over('dead')
        self.r('HSET', '{q}:job:a:HNE03', 'candidates', other)
        self.broken('candidates')
        self.assertEqual([(e['why'], e['digest']) for e in rq.stream(self.r, 'refused')], [('closed', other)])

    def lose_bytes(self, sid='a'):
        self.r('HDEL', '{q}:sub:' + sid, 'j:' + self.job(sid)['digest'])

    def test_bytes_missing(self):
        for state in (self.waiting, self.later):
            self.setUp()
            state()
            digest = self.job('a')['digest']
            self.lose_bytes()
            self.broken('bytes-missing')
            self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('dropped', 0))
            self.waiting()  # the producer sends the same bytes again
            self.assertEqual(self.job('a')['digest'], digest)
            self.drain()
            self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))

    def test_bytes_missing_with_a_candidate(self):
        self.waiting()
        self.r('XADD', '{q}:in', '*', 'sid', 'a', 'offices', H, 'job', 'other bytes')
        self.intake()
        self.lose_bytes()
        self.broken('bytes-missing')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))
        self.assertEqual([e['why'] for e in rq.stream(self.r, 'refused')], ['lost'])

    def test_bytes_missing_after_a_lost_answer(self):
        self.retried(unknown=True)
        self.lose_bytes()
        self.broken('bytes-missing')
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('unknown', 1))

    def test_bytes_missing_of_a_challenge(self):
        self.challenged('dead')
        self.lose_bytes()
        self.broken('bytes-missing')
        self.assertEqual((self.job('a')['state'], self.r('XLEN', '{q}:dead')), ('dead', 1))

    def test_bytes_missing_for_people(self):
        for state in ('dead', 'unknown'):
            self.setUp()
            self.over(state)
            self.lose_bytes()
            self.broken('bytes-missing')
            self.assertEqual(self.job('a')['state'], state)
            verb = ('drop', 'a', H) if state == 'dead' else ('resolve', 'a', H, 'drop')
            self.call('admin', verb[0], 'test', *verb[1:])
            self.drain()
            self.assertEqual(self.job('a')['state'], 'dropped')

    def test_bytes_missing_in_flight(self):
        item = self.in_flight(begun=False)
        self.lose_bytes()
        self.broken('bytes-missing', left=True)
        self.work(item)
        self.drain()
        self.assertEqual((self.job('a')['state'], self.posts['a', H]), ('accepted', 1))

    def flights(self):
        for begun in (False, True):
            self.setUp()
            yield self.in_flight(begun=begun)

    def finish(self, item):
        if self.job('a')['state'] == 'begun':
            self.assertEqual(self.end_with(item, 'end', 'accepted', 'accepted')[0], 'OK')
        else:
            self.work(item)
        self.drain()
        self.assertEqual(self.posts['a', H], 1)

    def test_flight_held(self):
        for item in self.flights():
            self.r('SREM', '{q}:held:w1/1', 'a:HNE03 ' + item[2])
            self.broken('flight-held', 'fly-left', drain=False)
            self.call('adopt', 'w1/1', self.now(), 0, 0, 0, item[2])
            self.finish(item)

    def test_flight_fly(self):
        for item in self.flights():
            self.r('SREM', '{q}:fly:HNE03', item[2])
            self.broken('flight-fly', drain=False)
            self.finish(item)
            self.assertEqual(self.r('SCARD', '{q}:fly:HNE03'), 0)

    def test_place_missing(self):
        for state, key, member, also in ((self.waiting, 'wait:HNE03', 'a', ['turn-left']),
                                         (self.later, 'later', 'a:HNE03', []), (self.closing, 'close', 'a:HNE03', []),
                                         (lambda: self.over('unknown'), 'unknown', 'a:HNE03', [])):
            self.setUp()
            state()
            self.assertEqual(self.r('ZREM', '{q}:' + key, member), 1)
            with self.subTest(key=key):
                self.broken('place-missing', *also)

    def test_place_missing_after_a_lost_answer(self):
        """What may be on the wire is not due sooner than its POST can last."""
        self.retried(office=S, unknown=True)
        self.r('ZREM', '{q}:later', 'a:SNE02')
        self.broken('place-missing', drain=False)
        due = int(self.r('ZSCORE', '{q}:later', 'a:SNE02'))
        self.assertGreaterEqual(due, int(self.job('a', S)['begun_us']) + 300 * SECOND)

    def test_exp_missing(self):
        for state in (self.waiting, self.later):
            self.setUp()
            state()
            self.r('ZREM', '{q}:exp', 'a:HNE03')
            self.broken('exp-missing')
        for item in self.flights():
            self.r('ZREM', '{q}:exp', 'a:HNE03')
            self.broken('exp-missing', drain=False)
            self.finish(item)

    def test_dead_entry(self):
        for challenged in (False, True):
            self.setUp()
            (self.challenged if challenged else self.over)('dead')
            entry, = rq.stream(self.r, 'dead')
            self.r('DEL', '{q}:dead')
            self.broken('dead-entry', drain=False)
            self.assertEqual(rq.stream(self.r, 'dead'), [entry])
            self.call('admin', 'replay', 'test', 'a', H)
            self.drain(2)
            self.assertEqual((self.job('a')['state'], self.r('XLEN', '{q}:dead')), ('accepted', 0))
        self.setUp()
        self.over('dead')
        self.r('HSET', '{q}:job:a:HNE03', 'dead_id', '1-1')
        self.broken('dead-entry', 'dead-left')


if __name__ == '__main__':
    unittest.main()
