#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per transition, reply and error of PROTOCOL.md: ENQUEUE, TAKE, BEGIN."""
import hashlib
import os
import unittest

import rq
from case import DAY, HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class Intake(ProtocolCase):
    def test_fresh(self):
        self.add('s', HOUSE + ',' + SENATE, 'bytes', exp=START + DAY, pri=0)
        self.assertEqual(self.intake(), ['OK', 1, 0])
        digest = hashlib.sha1(b'bytes').hexdigest()
        self.assertEqual(self.sub(), {'j:' + digest: 'bytes', 'offices': HOUSE + ',' + SENATE, 'first_us': str(START), 'open': '2',
                                      'rollup': 'pending', 'expires_us': str(START + DAY), 's:' + HOUSE: 'wait - 1',
                                      's:' + SENATE: 'wait - 1'})
        j = self.job()
        self.assertEqual((j['state'], j['rev'], j['attempt'], j['crashes'], j['generation'], j['digest'], j['first_us']),
                         ('wait', '1', '0', '0', '', digest, str(START)))
        self.assertEqual(self.keys(), ['exp', 'in', 'job:s:' + HOUSE, 'job:s:' + SENATE, 'sub:s', 'turn:house', 'turn:senate',
                                       'wait:' + HOUSE, 'wait:' + SENATE])

    def test_duplicate_does_nothing(self):
        self.add()
        self.intake()
        before = (self.job(), self.r('ZRANGE', '{q}:wait:' + HOUSE, 0, -1, 'WITHSCORES'))
        self.add()
        self.assertEqual(self.intake(), ['OK', 1, 0])
        self.assertEqual((self.job(), self.r('ZRANGE', '{q}:wait:' + HOUSE, 0, -1, 'WITHSCORES')), before)
        self.assertEqual(self.r('XLEN', '{q}:refused'), 0)

    def test_duplicate_after_the_end(self):
        self.ended('accepted', 'accepted')
        self.add()
        self.intake()
        self.assertEqual(self.job()['state'], 'accepted')
        self.assertFalse([k for k in self.sub() if k[:2] == 'j:'])
        self.assertEqual(self.take(), [])

    def test_candidates(self):
        for k in range(5):
            self.add(job='job%d' % k)
        self.intake()
        self.assertEqual(len(self.job()['candidates'].split(',')), 3)
        self.assertEqual([e['why'] for e in rq.stream(self.r, 'refused')], ['candidates'])
        for k in range(3):
            i = self.take()[0]
            self.assertEqual(i['bytes'], 'job%d' % k)
            self.assertEqual(self.settle(i, 'refused', outcome='x'), ['OK', 'wait', '1'])
        i = self.take()[0]
        self.assertEqual(i['bytes'], 'job3')
        self.assertEqual(self.settle(i, 'refused'), ['OK', 'refused', '1'])
        self.assertEqual(self.keys(), ['in', 'refused'])

    def test_candidates_of_a_job_that_ends(self):
        """They are refused, and the same bytes may come again as a challenge."""
        i = self.begun()
        self.add(job='newer')
        self.intake()
        self.settle(i, 'end', 'rejected', 'rejected_by_chamber')
        self.assertEqual(self.job()['candidates'], '')
        self.assertEqual([(e['sid'], e['why'], e['office'], e['digest']) for e in rq.stream(self.r, 'refused')],
                         [('s', 'closed', HOUSE, hashlib.sha1(b'newer').hexdigest())])
        self.add(job='newer')
        i = self.take()[0]
        self.assertEqual((i['bytes'], i['previous']), ('newer', 'rejected'))
        self.assertEqual(self.begin(i, 1)[0], 'GO')

    def test_closed_is_refused(self):
        self.ended('accepted', 'accepted', 'a')
        self.ended('unknown', 'outcome_unknown', 'u')
        for sid in 'au':
            self.add(sid, job='other')
        self.intake()
        self.assertEqual([(e['sid'], e['why'], e['office'], e['bytes']) for e in rq.stream(self.r, 'refused')],
                         [('a', 'closed', HOUSE, '5'), ('u', 'closed', HOUSE, '5')])

    def test_malformed(self):
        bad = [('a:b', HOUSE, 'j'), ('', HOUSE, 'j'), ('x' * 65, HOUSE, 'j'), ('s', '', 'j'), ('s', HOUSE + ',', 'j'), ('s', ',', 'j'),
               ('s', HOUSE + ',' + HOUSE, 'j'), ('s', 'HCA1', 'j'), ('s', 'hca12', 'j'), ('s', 'SCA04', 'j'), ('s', 'SCA00', 'j'),
               ('s', 'HCA12,HCA13,HCA14,HCA15', 'j'), ('s', HOUSE, ''), ('s', HOUSE, 'x' * 98305), ('s', HOUSE + ' ', 'j')]
        for b in bad:
            self.add(*b)
        self.r('XADD', '{q}:in', '*', 'nothing', 'x')
        self.r('XADD', '{q}:in', '*', *['f'] * 20000)
        self.assertEqual(self.intake(), ['OK', len(bad) + 2, 0])
        self.assertEqual({e['why'] for e in rq.stream(self.r, 'refused')}, {'malformed'})
        self.assertEqual(self.r('XLEN', '{q}:refused'), len(bad) + 2)
        self.assertEqual(self.keys(), ['in', 'refused'])

    def test_largest_job(self):
        i = self.one(job='x' * 98304)
        self.assertEqual(len(i['bytes']), 98304)

    def test_hints_are_clamped(self):
        cases = {'none': ({}, 30 * DAY), 'far': ({'exp': START + 99 * DAY}, 30 * DAY), 'past': ({'exp': 5}, 0),
                 'inf': ({'exp': 'inf'}, 30 * DAY), 'hex': ({'exp': '0x10'}, 30 * DAY), 'neg': ({'exp': '-1'}, 30 * DAY),
                 'ok': ({'exp': START + DAY}, DAY), 'nbf': ({'exp': START + DAY, 'nbf': START + 9 * DAY}, DAY)}
        for sid, (hints, _) in cases.items():
            self.add(sid, **hints)
        self.intake()
        for sid, (_, want) in cases.items():
            self.assertEqual(self.r('ZSCORE', '{q}:exp', sid + ':' + HOUSE), str(START + want), sid)
        self.assertEqual(self.r('ZSCORE', '{q}:later', 'nbf:' + HOUSE), str(START + DAY))

    def test_not_before(self):
        self.add(nbf=START + 10 * SECOND)
        reply = self.take_raw()
        self.assertEqual(reply, [str(10 * SECOND), 0])
        self.assertEqual(self.job()['state'], 'later')
        self.tick(10 * SECOND)
        self.assertEqual(len(self.take()), 1)

    def test_priority_order(self):
        for sid, pri in (('n1', 1), ('h1', 0), ('n2', 7), ('h2', 0)):
            self.add(sid, pri=pri)
        self.assertEqual([i['sid'] for i in self.take()], ['h1', 'h2', 'n1', 'n2'])

    def test_wrongtype_goes_to_stuck(self):
        self.r('SET', '{q}:wait:' + HOUSE, 'x')
        self.add('bad', HOUSE, extra='1')
        self.add('good', HOUSE2)
        self.assertEqual(self.intake(), ['OK', 1, 1])
        self.assertEqual(self.intake(), ['OK', 0, 1])
        self.assertEqual(self.intake(), ['OK', 0, 0])
        e = rq.stream(self.r, 'stuck')[0]
        self.assertIn('WRONGTYPE', e['error'])
        self.assertEqual((e['sid'], e['offices'], e['job'], e['extra']), ('bad', HOUSE, 'job', '1'))
        self.assertEqual(self.r('EXISTS', '{q}:inerr', '{q}:sub:bad'), 0)
        self.assertEqual([i['sid'] for i in self.take()], ['good'])

    def test_a_cured_entry_leaves_no_count(self):
        self.r('SET', '{q}:wait:' + HOUSE, 'x')
        self.add()
        self.intake()
        self.r('DEL', '{q}:wait:' + HOUSE)
        self.intake()
        self.assertEqual(self.r('EXISTS', '{q}:inerr'), 0)
        self.assertEqual(len(self.take()), 1)

    def test_offices_of_a_submission_are_bounded(self):
        for k in range(66):
            self.add('s', 'HCA%02d' % k, 'job%d' % k)
        self.intake()
        self.assertEqual(len(self.sub()['offices'].split(',')), 64)
        self.assertEqual([e['why'] for e in rq.stream(self.r, 'refused')], ['offices', 'offices'])

    def test_out_of_memory_drains(self):
        for k in range(40):
            self.add('s%d' % k, job='x' * 3000 + str(k))
        self.intake()
        self.add('late')
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        with self.assertRaisesRegex(rq.RedisError, 'OOM'):
            self.add('never')
        self.assertEqual(self.intake(), ['FULL', 0, 1])
        reply = self.take_raw(n=40)
        self.assertEqual((reply[1], len(reply)), (1, 42))
        for e in reply[2:]:
            i = dict(zip(('sid', 'office', 'token'), e))
            self.assertEqual(self.begin(i)[0], 'GO')
            self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted')[0], 'OK')
        self.assertEqual(self.call('beat', 'w/1', SECOND, 'beat', self.now, 1)[0], 'OK')
        self.assertEqual(self.admin('hold', 'house', self.now + SECOND, 'r')[0], 'OK')
        self.assertEqual(self.adopt(), ['OK', 0])
        self.assertEqual(self.reap('w/1'), ['OK', 0])
        self.assertEqual(self.r('XLEN', '{q}:in'), 1)
        self.r('CONFIG', 'SET', 'maxmemory', 0)
        self.assertEqual(self.intake(), ['OK', 1, 0])


class Take(ProtocolCase):
    def test_fields(self):
        i = self.one(job='bytes')
        self.assertEqual(i, {'sid': 's', 'office': HOUSE, 'token': 'w/1.1.1', 'why': '', 'digest': hashlib.sha1(b'bytes').hexdigest(),
                             'previous': '', 'generation': '-1', 'attempt': '0', 'crashes': '0', 'unknowns': '0', 'delivery_id': '',
                             'date': '', 'begun_us': '0', 'first_us': str(START), 'rev': '1', 'last': '', 'status': '0',
                             'bytes': 'bytes'})
        j = self.job()
        self.assertEqual((j['state'], j['token'], j['worker'], j['deliveries']), ('taken', 'w/1.1.1', 'w/1', '1'))
        self.assertEqual(self.r('SMEMBERS', '{q}:held:w/1'), ['s:%s w/1.1.1' % HOUSE])
        self.assertEqual(self.r('SMEMBERS', '{q}:fly:' + HOUSE), ['w/1.1.1'])

    def test_fields_of_a_later_attempt(self):
        self.settle(self.begun(), 'retry', outcome='not_sent', status=503, due=START)
        i = self.take()[0]
        self.assertEqual([i[k] for k in ('generation', 'attempt', 'delivery_id', 'date', 'begun_us', 'last', 'status', 'rev')],
                         ['0', '1', 'DID', '20260101', str(START), 'not_sent', '503', '3'])
        self.assertEqual(self.job()['deliveries'], '2')

    def test_fenced_and_skew(self):
        self.assertEqual(self.take_raw(worker='x/1'), ['FENCED'])
        self.r('SET', '{q}:faketime', self.now + 5_000_001)
        self.assertEqual(self.take_raw(), ['SKEW'])
        self.r('SET', '{q}:faketime', self.now + 5_000_000)
        self.assertEqual(self.take_raw()[1], 0)

    def test_chambers_are_apart(self):
        self.add('s', HOUSE + ',' + SENATE)
        self.assertEqual([i['office'] for i in self.take('senate')], [SENATE])
        self.assertEqual([i['office'] for i in self.take('house')], [HOUSE])

    def test_round_robin(self):
        for k in range(3):
            self.add('a%d' % k, HOUSE)
        for k in range(3):
            self.add('b%d' % k, HOUSE2)
        self.assertEqual([i['office'] for i in self.take(n=4)], [HOUSE, HOUSE2, HOUSE, HOUSE2])

    def test_empty_wait(self):
        self.assertEqual(self.take_raw(), [str(30 * SECOND), 0])

    def test_wait_while_the_door_is_full(self):
        for k in range(40):
            self.add('s%d' % k, nbf=START + DAY)
        self.assertEqual(self.take_raw(), ['0', 0])
        self.assertEqual(self.take_raw(), [str(30 * SECOND), 0])

    def test_office_cap_and_wake(self):
        for k in range(3):
            self.add('s%d' % k)
        got = self.take(cap=2)
        self.assertEqual(len(got), 2)
        self.assertEqual(self.take_raw(cap=2), [str(30 * SECOND), 0])
        self.settle(got[0], 'end', 'rejected', 'letter_invalid')
        self.assertEqual(len(self.take(cap=2)), 1)

    def test_a_wake_does_not_cost_the_turn(self):
        got = self.one('a')
        self.add('b', HOUSE)
        self.intake()
        self.tick(SECOND)
        self.add('c', HOUSE2)
        self.intake()
        self.tick(SECOND)
        self.settle(got, 'end', 'rejected', 'x')
        self.assertEqual([i['sid'] for i in self.take(n=1)], ['b'])

    def test_a_turn_in_the_far_future_is_healed(self):
        self.add()
        self.intake()
        self.r('ZADD', '{q}:turn:house', self.now + 3600 * SECOND, HOUSE)
        self.assertEqual(len(self.take()), 1)

    def test_a_wrong_clock_does_not_bury_a_job(self):
        self.add()
        i = self.take()[0]
        self.begin(i)
        self.settle(i, 'retry', outcome='not_sent', due=self.now + 3650 * DAY)
        self.assertLessEqual(float(self.r('ZSCORE', '{q}:later', 's:' + HOUSE)), self.now + 31 * DAY)

    def test_an_unsigned_not_before_does_not_hold_up_others(self):
        self.add(job='forged', nbf=self.now + 29 * DAY)
        self.intake()
        self.assertEqual(self.r('HGET', '{q}:job:s:' + HOUSE, 'state'), 'later')
        self.add(job='genuine')
        i = self.take()[0]
        self.assertEqual(i['bytes'], 'forged')
        self.settle(i, 'refused', detail='job_signature')
        self.assertEqual(self.take()[0]['bytes'], 'genuine')

    def test_nor_that_of_a_challenge(self):
        """The outcome that it challenges says nothing of whether anybody has looked at it."""
        self.ended('rejected', 'rejected_by_chamber', generation=1)
        self.add(job='forged', nbf=self.now + 29 * DAY)
        self.intake()
        self.assertEqual(self.job()['state'], 'later')
        self.add(job='genuine')
        i = self.take()[0]
        self.assertEqual((i['bytes'], i['previous']), ('forged', 'rejected'))
        self.settle(i, 'refused', detail='job_signature')
        self.assertEqual(self.begin(self.take()[0], 2)[0], 'GO')

    def test_what_a_worker_put_off_stays_put_off(self):
        """Other bytes do not bring it forward."""
        self.settle(self.begun(), 'retry', outcome='not_sent', due=START + DAY)
        self.add(job='other')
        self.assertEqual(self.take(), [])

    def test_the_close_lane_and_letters_share(self):
        for k in range(100):
            self.add('c%02d' % k)
        self.intake()
        for k in range(100):
            self.admin('cancel', 'c%02d:%s' % (k, HOUSE))
        for k in range(8):
            self.add('s%d' % k, HOUSE2)
        got = [i['why'] for i in self.take(n=8)]
        self.assertEqual((got.count('cancelled'), got.count('')), (4, 4))
        one = []
        for _ in range(14):
            self.tick(1000)
            one.append(self.take(n=1)[0]['why'])
        self.assertEqual((one.count(''), one.count('cancelled')), (4, 10), one)
        self.assertNotEqual(one[-4:], [''] * 4)
        self.assertEqual(len(self.take(n=60)), 60)  # what letters leave is the lane's
        self.assertEqual(len(self.take(n=60, open=0)), 96 - 60 - one.count('cancelled'))

    def test_a_generation_counts_without_a_begin(self):
        self.add()
        i = self.take()[0]
        self.settle(i, 'end', 'rejected', 'letter_invalid', generation=0)
        self.add(job='the same generation signed again')
        i = self.take()[0]
        self.assertEqual((i['previous'], i['generation']), ('rejected', '0'))
        self.assertEqual(self.begin(i, generation=0), ['OLDGEN'])

    def test_a_cancelled_letter_stays_cancelled_when_its_doubt_is_resolved(self):
        self.add(offices=SENATE)
        i = self.take('senate')[0]
        self.begin(i)
        self.join('v/1')
        self.r('ZADD', '{q}:workers', 1, 'w/1')
        self.reap(worker='v/1')
        self.assertEqual(self.admin('cancel', 's:' + SENATE)[0], 'OK')
        self.settle(i, 'not_sent')
        i = self.take('senate', worker='v/1')[0]
        self.assertEqual(i['why'], 'cancelled')

    def test_deferred_although_the_hint_says_expired(self):
        self.add(exp=self.now + SECOND)
        self.intake()
        self.tick(2 * SECOND)
        i = self.take()[0]
        self.assertEqual(i['why'], 'expired')
        self.assertEqual(self.settle(i, 'defer', due=self.now + 15 * SECOND)[:2], ['OK', 'later'])
        self.assertEqual(self.take(), [])
        self.tick(15 * SECOND)
        self.assertEqual(self.take()[0]['why'], '')

    def test_expiry_goes_to_the_close_lane(self):
        self.add(exp=START + 10 * SECOND)
        self.intake()
        self.admin('hold', 'house', START + DAY, 'x')
        self.tick(10 * SECOND)
        i = self.take('senate', period=10**9, burst=0)[0]  # no cell, no hold, any chamber
        self.assertEqual((i['sid'], i['why']), ('s', 'expired'))
        self.assertEqual(self.settle(i, 'end', 'expired', 'expired'), ['OK', 'expired', '2'])

    def test_unconfirmed_entries_are_dropped(self):
        self.r('ZADD', '{q}:turn:house', 1, HOUSE)
        self.r('ZADD', '{q}:wait:' + HOUSE, 1, 'ghost')
        for key in ('later', 'close', 'exp'):
            self.r('ZADD', '{q}:' + key, 1, 'ghost:' + HOUSE)
        self.assertEqual(self.take(), [])
        self.assertEqual(self.keys(), [])

    def test_poison_is_parked(self):
        self.r('SET', '{q}:wait:' + HOUSE, 'x')
        self.r('ZADD', '{q}:turn:house', 1, HOUSE)
        self.r('SET', '{q}:job:p:' + HOUSE, 'x')
        for key in ('later', 'close', 'exp'):
            self.r('ZADD', '{q}:' + key, 1, 'p:' + HOUSE)
        self.add('good', HOUSE2)
        reply = self.take_raw()
        self.assertEqual([e[0] for e in reply[2:]], ['ERR', 'ERR', 'ERR', 'ERR', 'good'])
        self.assertIn('WRONGTYPE', reply[2][1])
        self.assertEqual(self.take_raw()[1:], [0])
        self.tick(30 * SECOND)
        self.assertEqual(len(self.take_raw()), 6)

    def test_a_token_is_used_once(self):
        """Also that of a job which failed when `held` and `fly` had its token already."""
        self.add('bad')
        self.intake()
        self.r('HSET', '{q}:job:bad:' + HOUSE, 'deliveries', 'x')
        self.add('good', HOUSE2)
        reply = self.take_raw()
        self.assertEqual([e[0] for e in reply[2:]], ['ERR', 'good'])
        self.assertEqual(self.adopt(reply[3][2]), ['OK', 1])
        self.assertEqual(self.r('SMEMBERS', '{q}:held:w/1'), ['good:%s %s' % (HOUSE2, reply[3][2])])
        self.assertEqual([self.r('SMEMBERS', '{q}:fly:' + o) for o in (HOUSE, HOUSE2)], [[], [reply[3][2]]])


class Begin(ProtocolCase):
    def test_go(self):
        i = self.one()
        self.assertEqual(self.begin(i), ['GO', 'DID', '20260101', '1', '0', str(START)])
        self.assertEqual(self.begin(i, delivery_id='OTHER'), ['GO', 'DID', '20260101', '1', '0', str(START)])
        j = self.job()
        self.assertEqual((j['state'], j['rev'], j['generation'], j['expires_us']), ('begun', '2', '0', str(START + 10 * DAY)))
        self.assertEqual(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE), str(START + 10 * DAY))
        self.assertEqual(self.sub()['s:' + HOUSE], 'begun - 2')

    def test_delivery_id_and_date_stay(self):
        self.settle(self.begun(), 'retry', due=START)
        self.assertEqual(self.begin(self.take()[0], delivery_id='OTHER', date='later')[:4], ['GO', 'DID', '20260101', '2'])

    def test_stale(self):
        i = self.one()
        self.assertEqual(self.begin(dict(i, token='x')), ['STALE', 'taken'])
        self.assertEqual(self.begin(i, worker='w/2'), ['STALE', 'taken'])
        self.assertEqual(self.begin(dict(i, sid='none')), ['STALE', ''])
        self.settle(i, 'release')
        self.assertEqual(self.begin(i), ['STALE', 'wait'])

    def test_cancelled(self):
        i = self.one()
        self.assertEqual(self.admin('cancel', 's:' + HOUSE), ['OK', 'taken'])
        self.assertEqual(self.begin(i), ['CANCELLED'])

    def test_close_reply(self):
        self.lost()
        i = self.take(worker='w/2')[0]
        self.assertEqual(i['why'], 'unknown')
        self.assertEqual(self.begin(i, worker='w/2'), ['CLOSE', 'unknown'])

    def test_begin_of_a_post_that_has_left(self):
        """Redis has lost its BEGIN: no hold, breaker, clock or wish to cancel keeps it from the record."""
        i = self.one()
        self.admin('hold', HOUSE, START + DAY, 'x')
        self.r('HSET', '{q}:breaker', 'house', 'open 1 %d' % (START + DAY))
        self.admin('cancel', 's:' + HOUSE)
        self.assertEqual(self.begin(i), ['CANCELLED'])
        self.assertEqual(self.begin(dict(i, token='x'), sent=1), ['STALE', 'taken'])
        self.assertEqual(self.begin(i, sent=1, now=self.now + 9 * SECOND)[0], 'GO')
        self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted')[:2], ['OK', 'accepted'])

    def test_a_post_that_has_left_is_recorded_although_it_was_to_be_cancelled(self):
        for sid, why in (('a', 'cancelled'), ('b', '')):
            i = self.one(sid)
            self.r('HSET', '{q}:job:%s:%s' % (sid, HOUSE), 'cancelled', 1, 'why', why)
            self.assertEqual(self.begin(i), ['CANCELLED'])
            self.assertEqual(self.begin(i, sent=1)[0], 'GO')
        self.add('other', HOUSE2, exp=START + SECOND)
        self.intake()
        self.tick(SECOND)
        i = self.take()[0]  # on the close lane, as expired: as if its TAKE had been before
        self.assertEqual((i['why'], self.begin(i, sent=1)[0]), ('expired', 'GO'))

    def test_begin_held(self):
        i = self.one()
        self.admin('hold', HOUSE, START + 9 * SECOND, 'x')
        self.assertEqual(self.begin(i), ['HELD', str(9 * SECOND)])
        self.admin('hold', 'house', START + 10 * SECOND, 'x')
        self.assertEqual(self.begin(i), ['HELD', str(10 * SECOND)])
        self.tick(10 * SECOND)
        self.assertEqual(self.begin(i)[0], 'GO')

    def test_skew(self):
        i = self.one()
        self.assertEqual(self.begin(i, now=self.now - 5_000_001), ['SKEW'])
        self.assertEqual(self.begin(i, now=self.now - 5_000_000)[0], 'GO')

    def test_begin_generation(self):
        self.ended('rejected', 'rejected_by_chamber', generation=4)
        self.add(job='old')
        i = self.take()[0]
        self.assertEqual((i['previous'], i['generation']), ('rejected', '4'))
        self.assertEqual(self.begin(i, 4), ['OLDGEN'])
        self.assertEqual(self.settle(i, 'refused'), ['OK', 'rejected', '3'])
        self.add(job='new')
        i = self.take()[0]
        self.assertEqual(self.begin(i, 5), ['GO', 'DID', '20260101', '1', '0', str(START)])
        self.assertEqual(self.job()['previous'], '')

    def test_generation_of_an_open_job(self):
        self.settle(self.begun(generation=2), 'retry', due=START)
        i = self.take()[0]
        self.assertEqual(self.begin(i, 1), ['OLDGEN'])
        self.assertEqual(self.begin(i, 2)[0], 'GO')

    def test_a_dropped_unknown_does_not_reopen_at_the_house(self):
        for sid, office, want in (('h', HOUSE, 'OLDGEN'), ('s', SENATE, 'GO')):
            self.ended('unknown', 'outcome_unknown', sid, office)
            self.admin('resolve', sid, office, 'drop')
            self.settle(self.take()[0], 'end', 'dropped', 'dropped')
            i = self.one(sid, office, job='next')
            self.assertEqual(self.begin(i, 1)[0], want)

    def test_expiry_never_shrinks_below_an_earlier_generation(self):
        i = self.one()
        self.begin(i, 0, expires=START + 20 * DAY)
        self.settle(i, 'end', 'rejected', 'x')
        i = self.one(job='next')
        self.begin(i, 1, expires=START + DAY)
        self.assertEqual(self.job()['expires_us'], str(START + 20 * DAY))
        self.assertEqual(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE), str(START + DAY))


def load_tests(loader, tests, pattern):
    """Run as a program, or by name, this file stands for all test_protocol*.py."""
    if pattern is None:
        return loader.discover(os.path.dirname(os.path.abspath(__file__)), 'test_protocol*.py')
    return tests


if __name__ == '__main__':
    unittest.main()
