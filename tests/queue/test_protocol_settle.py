#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per transition, reply and error of PROTOCOL.md: SETTLE."""
import unittest

import rq
from case import DAY, HOUSE, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class Settle(ProtocolCase):
    def test_result_fields(self):
        i = self.begun(generation=3)
        self.tick(2 * SECOND)
        self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted', cls='accepted', status=200, detail='d', begun=START + 1),
                         ['OK', 'accepted', '3'])
        self.assertEqual(self.results(), [{
            'sid': 's', 'office': HOUSE, 'rev': '3', 'state': 'accepted', 'outcome': 'accepted', 'class': 'accepted',
            'retryable': '0', 'detail': 'd', 'http_status': '200', 'delivery_id': 'DID', 'attempt': '1', 'generation': '3',
            'begun_us': str(START + 1), 'ended_us': str(START + 2 * SECOND), 'receipt': 'R'}])

    def test_result_before_any_attempt(self):
        self.ended('rejected', 'letter_invalid', begun=False)
        e = self.results()[0]
        self.assertEqual((e['delivery_id'], e['attempt'], e['generation'], e['begun_us'], e['rev']), ('', '0', '-1', '0', '2'))

    def test_detail_is_bounded(self):
        self.settle(self.one(), 'end', 'rejected', 'letter_invalid', detail='x' * 5000)
        self.assertEqual(len(self.results()[0]['detail']), 512)

    def test_dead_entry(self):
        i = self.begun()
        self.tick(SECOND)
        self.settle(i, 'end', 'dead', 'attempts_exhausted', cls='ended', status=503, retryable=1)
        e = rq.stream(self.r, 'dead')[0]
        ms = START // 1000
        self.assertEqual(e, {'sid': 's', 'office': HOUSE, 'rev': '3', 'outcome': 'attempts_exhausted', 'class': 'ended', 'detail': '',
                             'http_status': '503', 'delivery_id': 'DID', 'attempt': '1', 'crashes': '0', 'deliveries': '1',
                             'generation': '0', 'first_us': str(START), 'ended_us': str(START + SECOND),
                             'history': '1,%d,%d,503,attempts_exhausted,w/1;' % (ms, ms + 1000)})
        self.assertEqual(self.r('XRANGE', '{q}:dead', '-', '+')[0][0], self.job()['dead_id'])

    def test_every_final_state(self):
        for state in ('accepted', 'rejected', 'dead', 'expired', 'cancelled', 'dropped', 'unknown'):
            i = self.begun(state)
            self.assertEqual(self.settle(i, 'end', state, 'o-' + state), ['OK', state, '3'])
            self.assertEqual(self.sub(state)['s:' + HOUSE], '%s o-%s 3' % (state, state))
        self.assertEqual(self.r('ZRANGE', '{q}:unknown', 0, -1), ['unknown:' + HOUSE])
        self.assertEqual(self.r('EXISTS', '{q}:exp', '{q}:held:w/1', '{q}:fly:' + HOUSE), 0)

    def test_rollup(self):
        for a, b, want in (('accepted', 'accepted', 'delivered'), ('accepted', 'rejected', 'partial'), ('dead', 'rejected', 'failed')):
            sid = a + b
            self.add(sid, HOUSE + ',' + SENATE)
            for chamber, state in (('house', a), ('senate', b)):
                i = self.take(chamber)[0]
                self.begin(i)
                self.settle(i, 'end', state, state)
                self.assertEqual(self.sub(sid)['rollup'], 'pending' if chamber == 'house' else want)
            self.assertEqual(self.sub(sid)['open'], '0')

    def test_retry(self):
        i = self.begun()
        self.assertEqual(self.settle(i, 'retry', outcome='not_sent', status=0, due=START + SECOND), ['OK', 'later', '3'])
        j = self.job()
        self.assertEqual((j['state'], j['attempt'], j['last'], j['token'], j['last_token']), ('later', '1', 'not_sent', '', i['token']))
        self.assertEqual(self.sub()['s:' + HOUSE], 'later not_sent 3')
        self.assertEqual(self.take_raw()[0], str(SECOND))

    def test_retry_keeps_the_place_in_line(self):
        i = self.begun('first')
        self.add('second')
        self.settle(i, 'retry', due=START + SECOND)
        self.tick(SECOND)
        self.assertEqual([x['sid'] for x in self.take()], ['first', 'second'])

    def test_unknown(self):
        i = self.begun(office=SENATE)
        self.assertEqual(self.settle(i, 'unknown', outcome='no_answer', due=START + SECOND), ['OK', 'later', '3'])
        self.assertEqual(self.job(office=SENATE)['u:' + i['token']], str(START))
        self.tick(SECOND)
        i = self.take('senate')[0]
        self.assertEqual(i['unknowns'], '1')
        self.assertEqual(self.begin(i)[4], '1')

    def test_throttled(self):
        self.assertEqual(self.settle(self.begun(), 'throttled', outcome='throttled', status=429, due=START + SECOND)[1], 'later')
        self.assertEqual(self.job()['attempt'], '0')

    def test_not_sent_and_release(self):
        self.assertEqual(self.settle(self.begun(), 'not_sent', outcome='not_sent'), ['OK', 'wait', '3'])
        self.assertEqual(self.job()['attempt'], '0')
        self.assertEqual(self.settle(self.take()[0], 'release'), ['OK', 'wait', '3'])

    def test_defer(self):
        self.assertEqual(self.settle(self.one(), 'defer', outcome='key_unknown', due=START + SECOND), ['OK', 'later', '1'])
        self.assertEqual(self.take_raw()[0], str(SECOND))
        self.tick(SECOND)
        self.assertEqual(self.take()[0]['last'], 'key_unknown')

    def test_what_nobody_may_know_is_looked_at_at_a_pace(self):
        """Fifty a second of all that workers did not know, however many wait; each under its own number."""
        ids = ['%04d' % k for k in range(60)]
        for sid in ids:
            self.add(sid)
        self.intake()
        for i in self.take(n=64):
            self.assertEqual(self.settle(i, 'defer', outcome='not_sent', detail='job_signer', due=START + SECOND // 2)[:2],
                             ['OK', 'later'])
        due = {sid: int(self.r('ZSCORE', '{q}:later', sid + ':' + HOUSE)) - START for sid in ids}
        self.assertEqual([due[sid] for sid in ids], [max(SECOND // 2, k * SECOND // 50) for k in range(60)])
        self.tick(SECOND // 2)
        self.add('new')
        taken = [x['sid'] for x in self.take(n=64)]
        self.assertEqual((taken, len(taken)), (ids[:26] + ['new'], 27))

    def test_a_flood_that_nobody_knows_keeps_no_letter_back(self):
        """More than can be looked at before the first of them are due again, in the same line."""
        for k in range(800):
            self.add('f%03d' % k)
        while self.intake()[2] > 0:
            pass
        self.add('letter')
        for _ in range(1600):
            self.tick(5000)
            i = self.take(n=1)[0]
            if i['sid'] == 'letter':
                return
            self.settle(i, 'defer', outcome='not_sent', detail='envelope_key', due=self.now + 2 * SECOND)
        self.fail('the letter has not had its turn')

    def test_that_pace_is_not_for_what_is_early(self):
        for sid in ('a', 'b'):
            self.assertEqual(self.settle(self.one(sid), 'defer', outcome='not_sent', due=START + 1)[:2], ['OK', 'later'])
            self.assertEqual(self.r('ZSCORE', '{q}:later', sid + ':' + HOUSE), str(START + 1))

    def test_that_pace_after_a_clock_that_stepped_back(self):
        self.r('SET', '{q}:rate:look', START + 9 * DAY)
        self.settle(self.one(), 'defer', outcome='not_sent', detail='job_signer', due=START + SECOND)
        self.assertEqual(self.r('ZSCORE', '{q}:later', 's:' + HOUSE), str(START + 6 * 3600 * SECOND))
        self.assertEqual(self.r('GET', '{q}:rate:look'), str(START + 6 * 3600 * SECOND + SECOND // 50))

    def test_live(self):
        self.add(exp=START + SECOND)
        self.intake()
        self.tick(SECOND)
        i = self.take()[0]
        self.assertEqual(i['why'], 'expired')
        self.assertEqual(self.settle(i, 'live', due=START + DAY), ['OK', 'wait', '1'])
        self.assertEqual(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE), str(START + DAY))
        self.assertEqual(self.take()[0]['why'], '')

    def test_what_has_not_expired_after_all_and_is_to_be_cancelled(self):
        """`live`, `defer` and the next bytes keep the wish."""
        for sid, verb in (('a', 'live'), ('b', 'defer'), ('c', 'refused')):
            self.add(sid, exp=START + SECOND)
            self.add(sid, job='other', exp=START + SECOND)
        self.intake()
        self.tick(SECOND)
        for i, verb in zip(self.take(), ('live', 'defer', 'refused')):
            self.assertEqual((i['why'], self.admin('cancel', i['sid'] + ':' + HOUSE)), ('expired', ['OK', 'taken']))
            self.assertEqual(self.settle(i, verb, due=self.now + DAY)[:2], ['OK', 'close'])
            self.assertEqual(self.take()[0]['why'], 'cancelled')

    def test_defer_leaves_an_expiry(self):
        self.add(exp=START + SECOND)
        self.intake()
        self.tick(SECOND)
        i = self.take()[0]
        self.settle(i, 'defer', due=self.now + 9 * SECOND)
        self.assertEqual((i['why'], self.r('ZSCORE', '{q}:exp', 's:' + HOUSE)), ('expired', str(self.now + 10 * SECOND)))

    def test_live_does_not_shorten_the_records_life(self):
        """An earlier generation was given more."""
        i = self.begun()  # until ten days from now
        self.settle(i, 'retry', due=START)
        self.r('ZADD', '{q}:exp', START, 's:' + HOUSE)  # as if a clock had stepped
        i = self.take()[0]
        self.assertEqual((i['why'], self.settle(i, 'live', due=START + DAY)[:2]), ('expired', ['OK', 'wait']))
        self.assertEqual(self.job()['expires_us'], str(START + 10 * DAY))

    def test_live_after_cancel_closes(self):
        self.add(exp=START + SECOND)
        self.intake()
        self.admin('cancel', 's:' + HOUSE)
        i = self.take()[0]
        self.assertEqual(self.settle(i, 'live', due=START + DAY), ['OK', 'close', '2'])

    def test_conflict(self):
        self.assertEqual(self.settle(self.begun('a', SENATE), 'conflict'), ['OK', 'unknown', '3'])
        i = self.begun('b', SENATE)
        self.settle(i, 'unknown', due=START)
        i = self.take('senate')[0]
        self.begin(i)
        self.assertEqual(self.settle(i, 'conflict'), ['OK', 'accepted', '5'])
        self.assertEqual([(e['sid'], e['state'], e['outcome'], e['class'], e['receipt']) for e in self.results()],
                         [('a', 'unknown', 'id_conflict', 'unknown', 'A'), ('b', 'accepted', 'accepted_earlier', 'accepted', 'R')])

    def test_bugs(self):
        i = self.one()
        for verb in ('retry', 'unknown', 'throttled', 'conflict'):
            self.assertEqual(self.settle(i, verb), ['NOTBEGUN', 'taken', '1'])
        self.assertEqual(self.settle(i, 'end', 'accepted'), ['NOTBEGUN', 'taken', '1'])
        for verb, state in (('nonsense', ''), ('end', 'wait'), ('end', '')):
            self.assertEqual(self.settle(i, verb, state), ['BADVERB', 'taken', '1'])
        self.begin(i)
        for verb in ('defer', 'live', 'refused'):
            self.assertEqual(self.settle(i, verb), ['BEGUN', 'begun', '2'])

    def test_settle_stale_and_duplicate(self):
        i = self.begun()
        self.assertEqual(self.settle(dict(i, token='x'), 'end', 'rejected'), ['STALE', 'begun', '2'])
        self.assertEqual(self.settle(i, 'end', 'rejected', worker='w/2'), ['STALE', 'begun', '2'])
        self.assertEqual(self.settle(i, 'end', 'accepted'), ['OK', 'accepted', '3'])
        self.assertEqual(self.settle(i, 'end', 'accepted'), ['DUP', 'accepted', '3'])
        self.assertEqual(self.settle(dict(i, sid='none'), 'end', 'accepted'), ['STALE', '', '0'])
        self.assertEqual(len(self.results()), 1)

    def test_refund_only_while_newest(self):
        for k in range(3):
            self.add('s%d' % k)
        one = dict(period=SECOND, burst=1, n=1)
        a = self.take(**one)[0]
        self.settle(a, 'release')
        a = self.take(**one)
        self.assertEqual(len(a), 1)  # the cell was given back
        self.tick(1_500_000)
        b = self.take(**one)[0]
        self.assertEqual(self.take(**one), [])
        self.settle(a[0], 'release')  # an older charge: nothing comes back
        self.tick(999_000)
        self.assertEqual(self.take(**one), [])
        self.tick(1000)
        self.assertEqual(len(self.take(**one)), 1)
        self.assertTrue(b)

    def test_office_cell_comes_back(self):
        a = self.one()
        self.settle(a, 'release')
        a = self.take(office_period=SECOND)[0]
        self.assertEqual(self.r('EXISTS', '{q}:rate:' + HOUSE), 1)
        self.settle(a, 'release')
        self.assertEqual(len(self.take(office_period=SECOND)), 1)

    def test_what_ends_unsent_gives_its_cell_back(self):
        limits = {'period': SECOND, 'burst': 1, 'office_period': SECOND, 'n': 1}
        for sid in 'abc':
            self.add(sid)
        for state in ('rejected', 'expired'):
            i = self.take(**limits)[0]
            self.assertEqual(self.take(**limits), [])
            self.settle(i, 'end', state, state)
        i = self.take(**limits)[0]
        self.begin(i)
        self.settle(i, 'end', 'rejected', 'x')
        self.add('d')
        self.assertEqual(self.take(**limits), [])

    def test_a_settle_that_fails_gives_nothing_back_twice(self):
        """Each command of it fails once, others take what is free, and it is said again."""
        limits = {'period': SECOND, 'burst': 3, 'n': 1}
        for k in range(1, 30):
            self.r('FLUSHALL')
            self.setUp()
            for sid in 'abcdef':
                self.add(sid)
            self.take(**limits)
            self.tick(1000)
            i = self.take(**limits)[0]
            args = ['w/1', 'b', HOUSE, i['token'], 'release', '', '', '', 0, '', 0, 0, self.now, 0, '', '', -1, 0, 0]
            try:
                self.r('EVALSHA', self.sha['settle'], 1, rq.META, *args, k)
            except rq.RedisError:
                got = []
                for again in (True, False, False, False):
                    self.tick(1000)
                    got += self.take(**limits)
                    if again:
                        self.call('settle', *args)
                self.assertIn(len(got), (1, 2), k)  # of three cells the first is spent
            else:
                return
        self.fail('no end of commands')

    def test_history_keeps_sixteen(self):
        self.add()
        for k in range(18):
            i = self.take()[0]
            self.begin(i)
            self.settle(i, 'retry', outcome='o%d' % k, status=500 + k, due=self.now)
        lines = self.job()['history'].split(';')
        self.assertEqual((len(lines), lines[0].split(',')[:5:4], lines[15].split(',')[3:]), (17, ['3', 'o2'], ['517', 'o17', 'w/1']))


class Refused(ProtocolCase):
    def test_never_closes(self):
        self.add('s', HOUSE + ',' + SENATE, 'forged')
        i = self.take()[0]
        self.settle(i, 'refused', detail='JOB_SIGNATURE')
        self.assertEqual(self.job(), {})
        self.assertEqual((self.sub()['offices'], self.sub()['open']), (SENATE, '1'))
        self.assertNotIn('s:' + HOUSE, self.sub())
        e = rq.stream(self.r, 'refused')[0]
        self.assertEqual((e['why'], e['sid'], e['office'], e['detail'], e['digest']),
                         ('verify', 's', HOUSE, 'JOB_SIGNATURE', i['digest']))
        self.settle(self.take('senate')[0], 'refused')
        self.assertEqual(self.keys(), ['in', 'refused'])
        self.assertEqual(len(self.take()) + len(self.results()), 0)
        self.add('s', HOUSE, 'genuine')
        self.assertEqual(self.take()[0]['bytes'], 'genuine')

    def test_restores_the_challenged_state(self):
        self.ended('dead', 'attempts_exhausted')
        before = self.job()
        i = self.one(job='forged')
        self.assertEqual((i['previous'], i['attempt']), ('dead', '0'))
        self.assertEqual(self.sub()['s:' + HOUSE], 'dead attempts_exhausted 3')
        self.settle(i, 'refused')
        after = self.job()
        for name in ('state', 'digest', 'attempt', 'rev', 'outcome', 'dead_id'):
            self.assertEqual(after[name], before[name], name)
        self.assertEqual([k for k in self.sub() if k[:2] == 'j:'], ['j:' + before['digest']])
        self.assertEqual(self.admin('replay', 's', HOUSE)[0], 'OK')
        self.assertEqual(self.take()[0]['bytes'], 'job')

    def test_expired_by_a_forged_hint(self):
        self.add(job='forged', exp=START + SECOND)
        self.add(job='genuine')
        self.intake()
        self.tick(SECOND)
        i = self.take()[0]
        self.assertEqual((i['why'], i['bytes']), ('expired', 'forged'))
        self.settle(i, 'refused')
        i = self.take()[0]
        self.assertEqual((i['why'], i['bytes']), ('', 'genuine'))
        self.settle(i, 'release')
        self.assertIsNotNone(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE))

    def test_a_job_that_was_sent_keeps_its_record(self):
        self.settle(self.begun(office=SENATE), 'unknown', due=START)
        i = self.take('senate')[0]
        self.assertEqual(self.settle(i, 'refused'), ['OK', 'close', '3'])
        i = self.take()[0]
        self.assertEqual(i['why'], 'unknown')
        self.assertEqual(self.settle(i, 'refused'), ['BADVERB', 'taken', '3'])
        self.assertEqual(self.settle(i, 'end', 'unknown', 'outcome_unknown')[1], 'unknown')

    def test_nothing_is_left_by_one_that_failed(self):
        """Its worker dies: REAP finds what it left, also of a challenge that was over by then."""
        for k in range(1, 40):
            self.r('FLUSHALL')
            self.setUp()
            self.ended('rejected', 'x')
            i = self.one(job='forged')
            args = ['w/1', 's', HOUSE, i['token'], 'refused', '', '', '', 0, '', 0, 0, self.now, 0, '', '', -1, 0, 0]
            try:
                self.r('EVALSHA', self.sha['settle'], 1, rq.META, *args, k)
            except rq.RedisError:
                self.tick(301 * SECOND)
                self.join('w/2')
                self.reap()
            else:
                return
            if self.job()['state'] == 'rejected':
                self.assertEqual(self.sub()['rollup'], 'failed', k)
                self.assertEqual([x for x in self.sub() if x[:2] == 'j:'], [], k)
                self.assertGreater(self.r('TTL', '{q}:job:s:' + HOUSE), 0, k)
        self.fail('no end of commands')

    def test_cancel_flag_survives(self):
        i = self.one(job='forged')
        self.add(job='genuine')
        self.intake()
        self.admin('cancel', 's:' + HOUSE)
        self.assertEqual(self.settle(i, 'refused'), ['OK', 'close', '2'])
        self.assertEqual(self.take()[0]['why'], 'cancelled')


if __name__ == '__main__':
    unittest.main()
