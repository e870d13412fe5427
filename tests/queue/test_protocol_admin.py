#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per transition, reply and error of PROTOCOL.md: REAP, ADOPT, ADMIN, DEPTH, the life of records."""
import os
import re
import unittest

import rq
from case import DAY, HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class ReapAdopt(ProtocolCase):
    def test_taken_goes_back_to_its_place(self):
        self.add('s')
        self.add('t')
        self.take(n=1)
        self.tick(301 * SECOND)
        self.join('w/2')
        self.assertEqual(self.reap(), ['OK', 1])
        self.assertEqual([(i['sid'], i['crashes'], i['rev']) for i in self.take(worker='w/2')], [('s', '1', '1'), ('t', '0', '1')])
        self.assertEqual(self.r('ZRANGE', '{q}:workers', 0, -1), ['w/2'])

    def test_begun_house(self):
        i = self.lost(HOUSE)
        j = self.job()
        self.assertEqual((j['state'], j['why'], j['u:' + i['token']], j['last'], j['rev']), ('close', 'unknown', str(START), 'no_answer', '3'))
        self.assertTrue(j['history'].endswith(',0,no_answer,w/1;'))
        i = self.take(worker='w/2')[0]
        self.assertEqual(self.settle(i, 'end', 'unknown', 'outcome_unknown', worker='w/2')[:2], ['OK', 'unknown'])

    def test_begun_senate(self):
        self.lost(SENATE, after=400 * SECOND)
        self.assertEqual(self.job(office=SENATE)['state'], 'later')
        self.assertEqual(self.r('ZSCORE', '{q}:later', 's:' + SENATE), str(START + 400 * SECOND))

    def test_policy_flags(self):
        self.lost(HOUSE, house=1)
        self.assertEqual(self.job()['state'], 'later')
        self.r('FLUSHALL')
        self.setUp()
        self.lost(SENATE, senate=0)
        self.assertEqual((self.job(office=SENATE)['state'], self.job(office=SENATE)['why']), ('close', 'unknown'))

    def test_crashes(self):
        self.lost(begun=False, crashes=0)
        i = self.take(worker='w/2')[0]
        self.assertEqual((i['why'], i['crashes']), ('crashes', '1'))

    def test_crashes_of_a_begun_job_are_unknown(self):
        self.lost(SENATE, crashes=0)
        self.assertEqual(self.job(office=SENATE)['why'], 'unknown')

    def test_fenced_skew_chunk(self):
        self.assertEqual(self.reap('x/1'), ['FENCED'])
        for k in range(3):
            self.add('s%d' % k)
        self.take()
        self.tick(301 * SECOND)
        self.join('w/2')
        self.assertEqual(self.reap(chunk=2), ['OK', 2])
        self.assertEqual(self.reap(chunk=2), ['OK', 1])
        self.r('SET', '{q}:faketime', self.now + 6 * SECOND)
        self.assertEqual(self.reap(), ['SKEW'])

    def test_the_living_are_left_alone(self):
        self.one()
        self.join('v/1')
        self.assertEqual(self.reap('v/1'), ['OK', 0])
        self.assertEqual(self.job()['state'], 'taken')

    def test_reap_goes_on_after_poison(self):
        self.one('bad')
        self.one('good')
        self.r('DEL', '{q}:job:bad:' + HOUSE)
        self.r('SET', '{q}:job:bad:' + HOUSE, 'x')
        self.r('SADD', '{q}:held:w/1', 'nonsense')
        self.tick(301 * SECOND)
        self.join('w/2')
        self.assertEqual(self.reap(), ['OK', 2])
        self.assertEqual(self.job('good')['state'], 'wait')
        self.assertEqual(self.r('SCARD', '{q}:held:w/1'), 1)

    def test_adopt(self):
        a, b, c = self.begun('a'), self.one('b'), self.one('c')
        self.assertEqual(self.adopt(c['token']), ['OK', 2])
        j = self.job('a')
        # Its worker knew it once, or there were no BEGIN: what came of it is forgotten, and nobody may call it unsent.
        self.assertEqual((j['state'], j['why'], j['attempt'], j['rev'], j['last']),
                         ('close', 'unknown', '1', '3', 'no_answer'))
        self.assertEqual((self.job('b')['state'], self.job('b')['rev'], self.job('c')['state']), ('wait', '1', 'taken'))
        self.assertEqual([k for k in j if k[:2] == 'u:'], ['u:' + a['token']])
        self.assertEqual(self.adopt(worker='x/1'), ['FENCED'])
        self.assertTrue(a and b)

    def test_adopt_policy(self):
        """As REAP, in both chambers."""
        for office, kw, ends in ((SENATE, {}, 'later'), (SENATE, {'senate': 0}, 'close'), (HOUSE, {}, 'close'),
                                 (HOUSE, {'house': 1, 'senate': 0}, 'later')):
            self.r('FLUSHALL')
            self.setUp()
            i = self.begun(office=office)
            self.tick(SECOND)
            self.assertEqual(self.adopt(**kw), ['OK', 1])
            j = self.job(office=office)
            self.assertEqual((j['state'], j['why'], j['u:' + i['token']], j['crashes'], j['attempt']),
                             (ends, 'unknown' if ends == 'close' else '', str(START), '0', '1'), (office, kw))
            self.assertTrue(j['history'].endswith(',0,no_answer,w/1;'))
            if ends == 'later':  # the POST may be under way: not before it is over
                self.assertEqual(self.r('ZSCORE', '{q}:later', 's:' + office), str(START + 60 * SECOND))

    def test_adopt_is_no_crash(self):
        for n in range(1, 6):
            self.begin(self.one(office=SENATE))
            self.adopt(after=0)
            self.assertEqual([self.job(office=SENATE)[k] for k in ('state', 'crashes', 'attempt')], ['later', '0', str(n)])

    def test_adopt_of_what_is_to_be_cancelled(self):
        self.begun(office=SENATE)
        self.admin('cancel', 's:' + SENATE)
        self.adopt()
        self.assertEqual([self.job(office=SENATE)[k] for k in ('state', 'why')], ['close', 'unknown'])

    def test_adopt_after_a_forgotten_settle(self):
        """The Senate is asked again, and its 409 says that the letter was accepted. A second chance comes to no harm."""
        self.begun(office=SENATE)
        self.adopt()
        self.assertEqual(self.take('senate'), [])
        self.tick(60 * SECOND)
        i = self.take('senate')[0]
        self.assertEqual((i['why'], i['unknowns'], i['last'], i['delivery_id']), ('', '1', 'no_answer', 'DID'))
        self.begin(i)
        self.assertEqual(self.settle(i, 'conflict')[:2], ['OK', 'accepted'])
        self.assertEqual(self.results()[-1]['outcome'], 'accepted_earlier')

    def test_no_clock_buries_what_is_sent_again(self):
        """BEGIN of a POST that has left is recorded under any clock."""
        for way in (self.adopt, lambda: self.tick(301 * SECOND) or self.join('w/2') and self.reap()):
            self.r('FLUSHALL')
            self.setUp()
            self.begin(self.one(office=SENATE), now=START + 1000 * DAY, sent=1)
            way()
            self.assertEqual(int(self.r('ZSCORE', '{q}:later', 's:' + SENATE)), self.now + 31 * DAY)

    def test_adopt_reports_poison(self):
        self.one('bad')
        self.one('good')
        self.r('DEL', '{q}:job:bad:' + HOUSE)
        self.r('SET', '{q}:job:bad:' + HOUSE, 'x')
        with self.assertRaisesRegex(rq.RedisError, 'WRONGTYPE'):
            self.adopt()
        self.assertEqual(self.job('good')['state'], 'wait')


class Admin(ProtocolCase):
    def test_audit(self):
        self.admin('cancel', 's:' + HOUSE, '3')
        self.assertEqual(rq.stream(self.r, 'audit'), [{'verb': 'cancel', 'who': 'op', 'a': 's:' + HOUSE, 'b': '3', 'c': ''}])

    def test_bad_requests(self):
        self.assertEqual(self.admin('nonsense'), ['BADVERB'])
        self.assertEqual(self.r('EXISTS', '{q}:audit'), 0)
        for args in (('hold', 'x', '1'), ('hold', 'house', 'soon'), ('hold', 'house'), ('resume', 'x'), ('cancel', 's', '3'),
                     ('resolve', 's', HOUSE, 'maybe')):
            self.assertEqual(self.admin(*args), ['BADARG'], args)
        for args in (('cancel', 's:' + HOUSE), ('cancel', 's'), ('replay', 's', HOUSE), ('drop', 's', HOUSE),
                     ('resolve', 's', HOUSE, 'drop')):
            self.assertEqual(self.admin(*args), ['NONE'], args)
        self.one()
        for args in (('replay', 's', HOUSE), ('drop', 's', HOUSE), ('resolve', 's', HOUSE, 'resend')):
            self.assertEqual(self.admin(*args), ['STATE', 'taken'], args)

    def test_cancel_waiting(self):
        self.add('a')
        self.add('b', nbf=START + DAY)
        self.intake()
        for sid in 'ab':
            self.assertEqual(self.admin('cancel', sid + ':' + HOUSE, '1'), ['OK', 'close'])
            self.assertEqual(self.admin('cancel', sid + ':' + HOUSE), ['OK', 'close'])
            self.assertEqual(self.sub(sid)['s:' + HOUSE], 'close - 2')
        got = self.take('senate')
        self.assertEqual([i['why'] for i in got], ['cancelled', 'cancelled'])
        self.assertEqual(self.settle(got[0], 'end', 'cancelled', 'cancelled'), ['OK', 'cancelled', '3'])
        self.assertEqual(self.admin('cancel', got[0]['sid'] + ':' + HOUSE), ['TOOLATE', 'cancelled'])

    def test_cancel_rev(self):
        self.one()
        self.assertEqual(self.admin('cancel', 's:' + HOUSE, '7'), ['REV', '1'])
        self.assertEqual(self.admin('cancel', 's:' + HOUSE, '1'), ['OK', 'taken'])

    def test_cancel_begun(self):
        i = self.begun('a')
        self.assertEqual(self.admin('cancel', 'a:' + HOUSE), ['INFLIGHT', 'begun'])
        self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted')[1], 'accepted')
        i = self.begun('b')
        self.admin('cancel', 'b:' + HOUSE)
        self.assertEqual(self.settle(i, 'retry', due=START + SECOND)[1], 'close')
        self.assertEqual(self.take()[0]['why'], 'cancelled')

    def test_cancel_of_a_challenge_does_not_hide_what_it_challenges(self):
        self.ended('rejected', 'rejected_by_chamber')
        self.add(job='next')
        self.intake()
        self.admin('cancel', 's:' + HOUSE)
        self.assertEqual(self.sub()['s:' + HOUSE], 'rejected rejected_by_chamber 4')

    def test_cancel_never_hides_an_unknown_fate(self):
        i = self.begun(office=SENATE)
        self.settle(i, 'unknown', due=START + SECOND)
        self.assertEqual(self.admin('cancel', 's:' + SENATE), ['OK', 'close'])
        self.assertEqual(self.take()[0]['why'], 'unknown')

    def test_cancel_submission(self):
        self.add('s', ','.join((HOUSE, HOUSE2, SENATE)))
        i = self.take(n=1)[0]
        self.begin(i)
        self.settle(self.take('senate')[0], 'end', 'rejected', 'x')
        self.assertEqual(self.admin('cancel', 's'), ['OK', HOUSE, 'INFLIGHT', HOUSE2, 'close', SENATE, 'TOOLATE'])

    def test_cancel_a_challenge(self):
        self.ended('rejected', 'x')
        self.add(job='next')
        self.intake()
        self.assertEqual(self.admin('cancel', 's:' + HOUSE), ['OK', 'close'])
        self.assertEqual(self.settle(self.take()[0], 'end', 'cancelled', 'cancelled'), ['OK', 'cancelled', '5'])

    def test_replay(self):
        self.ended('dead', 'attempts_exhausted')
        self.add('fresh')
        self.assertEqual(self.admin('replay', 's', HOUSE), ['OK', 'wait', '4'])
        self.assertEqual((self.r('XLEN', '{q}:dead'), self.sub()['rollup']), (0, 'pending'))
        got = self.take()
        self.assertEqual([(i['sid'], i['attempt'], i['delivery_id']) for i in got], [('fresh', '0', ''), ('s', '0', 'DID')])
        self.assertEqual(self.begin(got[1])[:4], ['GO', 'DID', '20260101', '1'])

    def test_replay_after_expiry_ends_expired(self):
        self.ended('dead', 'attempts_exhausted')
        self.tick(11 * DAY)
        self.join('w/1')
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.take()[0]['why'], 'expired')

    def test_one_death_only(self):
        """An act that names an entry of `dead` is for that death: repeated later, it does not meet the next one."""
        self.ended('dead', 'attempts_exhausted')
        entry = self.r('XRANGE', '{q}:dead', '-', '+')[0][0]
        self.assertEqual(self.admin('replay', 's', HOUSE, '1-1'), ['STATE', 'dead'])
        self.assertEqual(self.admin('drop', 's', HOUSE, '1-1'), ['STATE', 'dead'])
        self.assertEqual(self.admin('replay', 's', HOUSE, entry), ['OK', 'wait', '4'])
        i = self.take()[0]
        self.begin(i)
        self.settle(i, 'end', 'dead', 'attempts_exhausted')
        self.assertEqual(self.admin('replay', 's', HOUSE, entry), ['STATE', 'dead'])
        self.assertEqual(self.r('XLEN', '{q}:dead'), 1)

    def test_one_doubt_only(self):
        """An act that names the revision of a doubt: repeated later, it does not meet the next one."""
        for how, end in (('resend', None), ('drop', 'dropped'), ('accepted', 'accepted')):
            self.ended('unknown', 'outcome_unknown', how)
            rev = self.job(how)['rev']
            self.assertEqual(self.admin('resolve', how, HOUSE, how, '7'), ['STATE', 'unknown'])
            self.assertEqual(self.admin('resolve', how, HOUSE, how, rev)[0], 'OK')
            i = self.take()[0]
            if how == 'resend':
                self.begin(i)
                self.settle(i, 'end', 'unknown', 'outcome_unknown')
            else:
                self.settle(i, 'end', end, end)
            self.assertEqual(self.admin('resolve', how, HOUSE, how, rev), ['STATE', end or 'unknown'])
        self.assertEqual(self.admin('resolve', 'resend', HOUSE, 'drop', '')[:2], ['OK', 'close'])

    def test_a_challenge_forgets_that_its_letter_was_cancelled(self):
        self.ended('cancelled', 'cancelled', begun=False)
        self.r('HSET', '{q}:job:s:' + HOUSE, 'cancelled', 1)
        i = self.one(job='next')
        self.assertEqual((i['why'], self.begin(i)[0]), ('', 'GO'))

    def test_a_refused_challenge_leaves_no_wish_to_cancel(self):
        self.ended('dead', 'attempts_exhausted')
        i = self.one(job='forged')
        self.admin('cancel', 's:' + HOUSE)
        self.assertEqual(self.settle(i, 'refused')[:2], ['OK', 'dead'])
        self.assertEqual((self.job()['cancelled'], self.job()['why']), ('', ''))

    def test_replay_counts_its_age_anew(self):
        self.ended('dead', 'age_exhausted')
        self.tick(200 * SECOND)
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.take()[0]['first_us'], str(START + 200 * SECOND))

    def test_drop(self):
        self.ended('dead', 'attempts_exhausted')
        self.assertEqual(self.admin('drop', 's', HOUSE), ['OK', 'close', '4'])
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)
        i = self.take()[0]
        self.assertEqual(i['why'], 'dropped')
        self.assertEqual(self.settle(i, 'end', 'dropped', 'dropped'), ['OK', 'dropped', '5'])
        self.assertGreater(self.r('TTL', '{q}:job:s:' + HOUSE), 0)

    def test_resolve(self):
        for what, why in (('resend', ''), ('drop', 'dropped'), ('accepted', 'late')):
            self.ended('unknown', 'outcome_unknown', what)
            self.assertEqual(self.admin('resolve', what, HOUSE, what)[:2], ['OK', 'wait' if why == '' else 'close'])
            i = self.take()[0]
            self.assertEqual((i['sid'], i['why'], i['unknowns']), (what, why, '1'))
            if why:
                state = 'accepted' if why == 'late' else 'dropped'
                self.assertEqual(self.settle(i, 'end', state, state)[:2], ['OK', state])
        self.assertEqual(self.job('accepted')['late'], 'by:op')
        self.assertEqual(self.r('EXISTS', '{q}:unknown'), 0)

    def test_new_generation_after_replayed_dead(self):
        self.ended('dead', 'attempts_exhausted')
        i = self.begun(generation=1, job='next')
        self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted')[1], 'accepted')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)


class Life(ProtocolCase):
    def ttl(self, sid='s', office=HOUSE):
        return [self.r('PEXPIRETIME', '{q}:' + k) for k in ('sub:' + sid, 'job:%s:%s' % (sid, office))]

    def test_expires_a_day_after_the_letter(self):
        i = self.begun()
        self.assertEqual(self.ttl(), [-1, -1])
        self.settle(i, 'end', 'accepted', 'accepted')
        self.assertEqual(self.ttl(), [(START + 11 * DAY) // 1000] * 2)
        self.assertEqual(sorted(self.sub()), ['expires_us', 'first_us', 'offices', 'open', 'rollup', 's:' + HOUSE])

    def test_only_when_all_is_over(self):
        self.add('s', HOUSE + ',' + SENATE)
        self.settle(self.take()[0], 'end', 'rejected', 'x')
        self.assertEqual(self.ttl(), [-1, -1])
        i = self.take('senate')[0]
        self.tick(40 * DAY)
        self.settle(i, 'end', 'expired', 'expired')
        self.assertEqual(self.ttl() + self.ttl(office=SENATE), [(START + 41 * DAY) // 1000] * 4)

    def test_dead_and_unknown_stay(self):
        for state in ('dead', 'unknown'):
            self.ended(state, state, state)
            self.assertEqual(self.ttl(state), [-1, -1])
            self.assertTrue([k for k in self.sub(state) if k[:2] == 'j:'])

    def test_reopened_is_kept(self):
        self.ended('rejected', 'x')
        self.assertGreater(self.ttl()[0], 0)
        i = self.one(job='next')
        self.assertEqual(self.ttl(), [-1, -1])
        self.settle(i, 'refused')
        self.assertGreater(min(self.ttl()), 0)

    def test_a_repeat_does_not_change_it(self):
        """A SETTLE that is said again much later, and fails in its tail."""
        for k in range(1, 30):
            self.r('FLUSHALL')
            self.setUp()
            i = self.begun()
            self.tick(20 * DAY)  # past its expiry
            self.settle(i, 'end', 'rejected', 'x')
            want = [(START + 21 * DAY) // 1000] * 2
            self.assertEqual(self.ttl(), want)
            self.tick(7 * SECOND)
            args = ['w/1', 's', HOUSE, i['token'], 'end', 'rejected', 'x', 'c', 0, '', 0, 0, self.now, 0, 'R', 'A', -1, 0, 0]
            try:
                self.assertEqual(self.r('EVALSHA', self.sha['settle'], 1, rq.META, *args, k)[0], 'DUP')
            except rq.RedisError:
                self.assertEqual(self.ttl(), want, k)
            else:
                return
        self.fail('no end of commands')

    def test_a_challenge_that_is_refused_after_all_has_expired(self):
        self.ended('rejected', 'x')
        i = self.one(job='next')
        self.tick(30 * DAY)
        self.settle(i, 'refused')
        self.assertEqual(self.ttl(), [(START + 31 * DAY) // 1000] * 2)

    def test_a_record_without_its_summary_is_kept_too(self):
        self.ended('rejected', 'x')
        self.r('DEL', '{q}:sub:s')
        self.add(job='next')
        self.intake()
        self.assertEqual((self.job()['state'], self.ttl()), ('wait', [-1, -1]))

    def test_nothing_is_left(self):
        self.ended('accepted', 'accepted')
        self.assertEqual(self.keys(), ['in', 'job:s:' + HOUSE, 'results', 'sub:s'])


class Depth(ProtocolCase):
    def test_depth(self):
        self.add('a', ','.join((HOUSE, HOUSE2, SENATE)), exp=START + DAY)
        self.add('b', HOUSE, exp=START + DAY)
        self.add('c', SENATE, nbf=START + DAY)
        self.intake()
        self.admin('hold', HOUSE2, START + DAY, 'x')
        self.begin(self.take(n=1)[0])
        self.one('d', 'HNY01')
        self.ended('unknown', 'x', 'e', 'SNY01')
        self.admin('cancel', 'a:' + SENATE)
        self.add('f')
        self.tick(7 * SECOND)
        d = self.depth()
        want = {'in': 1, 'stuck': 0, 'refused': 0, 'dead': 0, 'results': 1, 'unknown': 1, 'workers': 1, 'later': 1, 'house_begun': 1,
                'house_held': 1, 'senate_later': 1, 'house_later': 0, 'senate_waiting': 0}
        self.assertEqual({k: d[k] for k in want}, want)
        self.assertEqual(d['house_waiting'] + d['house_taken'] + d['house_begun'], 4)
        self.assertEqual(d['senate_close'] + d['senate_taken'], 1)
        self.assertEqual(d['house_oldest_us'], 7 * SECOND)

    def test_empty(self):
        d = self.depth()
        self.assertEqual({k: v for k, v in d.items() if v},
                         {'workers': 1, 'alive': 1, 'idle': 1, 'redis_us': self.now, 'window_us': d['window_us']})


class Rights(ProtocolCase):
    """The command lists of PROTOCOL.md, section 11, suffice and are what they say."""

    def user(self, role):
        with open(os.path.join(rq.HERE, '..', '..', 'queue', 'PROTOCOL.md'), encoding='utf-8') as f:
            row = [line for line in f if line.startswith('| %s | `+' % role)][0]
        allowed = re.findall(r'\+[a-z|]+', row.replace('\\|', '|'))
        self.r('ACL', 'SETUSER', 'user', 'reset', 'on', 'nopass', '~{q}:*', *allowed)
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'user')
        client = rq.Client(self.server.path)
        self.addCleanup(client.close)
        client('AUTH', 'user', 'x')
        self.addCleanup(setattr, self, 'r', self.r)
        self.r = client

    def test_worker(self):
        self.tick = lambda us: setattr(self, 'now', self.now + us)
        for k in range(6):
            self.add('s%d' % k, HOUSE + ',' + SENATE)
        self.user('worker')
        self.intake()
        self.begin(self.take('senate', n=1, office_period=SECOND)[0])
        got = self.take(n=4)
        for i, (verb, state) in zip(got, (('end', 'dead'), ('end', 'unknown'), ('retry', ''), ('end', 'accepted'))):
            self.begin(i)
            self.assertEqual(self.settle(i, verb, state)[0], 'OK')
        self.settle(self.take(n=1)[0], 'refused')
        self.take(n=1)
        self.assertEqual(self.adopt(), ['OK', 2])
        for args in (('replay', got[0]['sid'], HOUSE), ('resolve', got[1]['sid'], HOUSE, 'drop'), ('cancel', 's5'),
                     ('hold', HOUSE, '5', 'x'), ('resume', HOUSE)):
            self.assertEqual(self.admin(*args)[0], 'OK', args)
        self.assertEqual(self.reap('w/1'), ['OK', 0])
        self.depth()

    def test_worker_breakers_and_machines(self):
        self.tick = lambda us: setattr(self, 'now', self.now + us)
        self.user('worker')
        self.join('a/1', machine='m')
        for word in ([], [], [], [], [HOUSE, 'open'], [HOUSE, 'closed']):
            if word[1:] == ['closed']:
                self.r('HSET', '{q}:breaker', HOUSE, 'open 1 1')
            i = self.begun('s%d' % self.seq)
            self.assertEqual(self.settle(i, 'end', 'rejected', site=1 if 'closed' in word else -1)[3:5], word)
        self.join('a/2', machine='m')
        self.assertEqual(self.call('beat', 'a/2', SECOND, 'leave', self.now, 1)[0], 'OK')
        self.r('WAIT', 0, 1)

    def test_autoscaler(self):
        self.one()
        self.user('autoscaler')
        self.assertEqual(self.depth()['house_taken'], 1)
        self.assertEqual(self.call('scale', 'lead', 'me', 15000), [1, 'me'])
        self.assertEqual(self.call('scale', 'publish', 'me', '0', 'desired', 2)[0], 'OK')
        self.assertEqual(self.call('scale', 'resign', 'me'), [1])
        with self.assertRaisesRegex(rq.RedisError, "NOPERM|can't run this command"):
            self.intake()

    def test_app_server(self):
        self.add('s', HOUSE + ',' + SENATE)
        self.settle(self.take()[0], 'end', 'rejected', 'x')
        self.user('app server')
        # The tests' clock is a key, so GET is needed here and only here.
        self.server.r('ACL', 'SETUSER', 'user', '+get')
        self.assertEqual(self.admin('cancel', 's'), ['OK', HOUSE, 'TOOLATE', SENATE, 'close'])
        self.assertEqual(self.r('HGETALL', '{q}:sub:s')[0][:2], 'j:')
        self.r('XADD', '{q}:in', '*', 'sid', 't', 'offices', HOUSE, 'job', 'j')
        self.r('XGROUP', 'CREATE', '{q}:results', 'app', '0')
        (_, entries), = self.r('XREADGROUP', 'GROUP', 'app', 'me', 'STREAMS', '{q}:results', '>')
        self.assertEqual(self.r('XACK', '{q}:results', 'app', entries[0][0]), 1)
        self.assertEqual(self.r('XDEL', '{q}:results', entries[0][0]), 1)


if __name__ == '__main__':
    unittest.main()
