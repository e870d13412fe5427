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
                             'history': '1,%d,%d,503,attempts_exhausted;' % (ms, ms + 1000)})
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

    def test_live(self):
        self.add(exp=START + SECOND)
        self.intake()
        self.tick(SECOND)
        i = self.take()[0]
        self.assertEqual(i['why'], 'expired')
        self.assertEqual(self.settle(i, 'live', due=START + DAY), ['OK', 'wait', '1'])
        self.assertEqual(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE), str(START + DAY))
        self.assertEqual(self.take()[0]['why'], '')

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

    def test_history_keeps_sixteen(self):
        self.add()
        for k in range(18):
            i = self.take()[0]
            self.begin(i)
            self.settle(i, 'retry', outcome='o%d' % k, status=500 + k, due=self.now)
        lines = self.job()['history'].split(';')
        self.assertEqual((len(lines), lines[0].split(',')[::4], lines[15].split(',')[3:]), (17, ['3', 'o2'], ['517', 'o17']))


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

    def test_cancel_flag_survives(self):
        i = self.one(job='forged')
        self.add(job='genuine')
        self.intake()
        self.admin('cancel', 's:' + HOUSE)
        self.assertEqual(self.settle(i, 'refused'), ['OK', 'close', '2'])
        self.assertEqual(self.take()[0]['why'], 'cancelled')


class Late(ProtocolCase):
    def test_late_acceptance_always_wins(self):
        for sid, state in (('a', 'unknown'), ('b', 'unknown')):
            i = self.ended(state, 'outcome_unknown', sid)
            if sid == 'b':
                self.admin('resolve', sid, HOUSE, 'resend')
            self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted'), ['LATE', 'accepted', '5' if sid == 'a' else '6'])
            self.assertEqual(self.job(sid)['state'], 'accepted')
            self.assertNotIn('u:' + i['token'], self.job(sid))
        self.assertEqual([(e['sid'], e['state'], e.get('late'), e['rev']) for e in self.results()],
                         [('a', 'unknown', None, '3'), ('a', 'late', 'accepted', '4'), ('a', 'accepted', None, '5'),
                          ('b', 'unknown', None, '3'), ('b', 'late', 'accepted', '5'), ('b', 'accepted', None, '6')])
        self.assertEqual(self.take(), [])
        self.assertEqual(self.r('EXISTS', '{q}:unknown'), 0)

    def test_late_acceptance_of_a_dead_job(self):
        old = self.begun(office=SENATE)
        self.settle(old, 'unknown', due=START)
        i = self.take('senate')[0]
        self.begin(i)
        self.settle(i, 'end', 'dead', 'attempts_exhausted')
        self.assertEqual(self.settle(old, 'end', 'accepted', 'accepted')[:2], ['LATE', 'accepted'])
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)

    def test_late_acceptance_during_another_post(self):
        for verb, state in (('end', 'rejected'), ('retry', ''), ('unknown', ''), ('not_sent', ''), ('end', 'unknown')):
            self.r('FLUSHALL')
            self.setUp()
            old = self.begun(office=SENATE)
            self.settle(old, 'unknown', due=START)
            new = self.take('senate')[0]
            self.begin(new)
            self.assertEqual(self.settle(old, 'end', 'accepted', 'accepted')[:2], ['LATE', 'begun'])
            self.assertEqual(self.settle(new, verb, state, due=START)[1], 'close', verb)
            i = self.take()[0]
            self.assertEqual(i['why'], 'late')
            self.assertEqual(self.settle(i, 'end', 'dead')[0], 'BADVERB')
            self.assertEqual(self.settle(i, 'end', 'accepted', 'accepted_earlier')[:2], ['OK', 'accepted'])

    def test_late_acceptance_then_conflict(self):
        old = self.begun(office=SENATE)
        self.settle(old, 'unknown', due=START)
        new = self.take('senate')[0]
        self.begin(new)
        self.settle(old, 'end', 'accepted', 'accepted')
        self.assertEqual(self.settle(new, 'conflict')[:2], ['OK', 'accepted'])

    def test_late_acceptance_survives_reap_and_adopt(self):
        for way in ('reap', 'adopt'):
            self.r('FLUSHALL')
            self.setUp()
            old = self.begun(office=SENATE)
            self.settle(old, 'unknown', due=START)
            self.begin(self.take('senate')[0])
            self.settle(old, 'end', 'accepted', 'accepted')
            if way == 'adopt':
                self.call('adopt', 'w/1', self.now)
            else:
                self.tick(301 * SECOND)
                self.join('w/2')
                self.reap()
            self.assertEqual(self.job(office=SENATE)['why'], 'late')

    def test_late_rejection(self):
        i = self.ended('unknown', 'outcome_unknown')
        self.assertEqual(self.settle(i, 'end', 'rejected', 'rejected_by_chamber'), ['LATE', 'rejected', '5'])
        self.assertEqual(self.job()['state'], 'rejected')

    def test_late_rejection_of_a_waiting_job(self):
        old = self.lost()
        self.assertEqual(self.job()['why'], 'unknown')
        self.assertEqual(self.settle(old, 'end', 'rejected', 'rejected_by_chamber')[:2], ['LATE', 'rejected'])
        self.assertEqual(self.take(worker='w/2'), [])

    def test_late_rejection_with_another_unknown(self):
        one = self.begun(office=SENATE)
        self.settle(one, 'unknown', due=START)
        two = self.take('senate')[0]
        self.begin(two)
        self.settle(two, 'end', 'unknown', 'outcome_unknown')
        self.assertEqual(self.settle(one, 'end', 'rejected', 'x')[:2], ['LATE', 'unknown'])
        self.assertEqual(self.settle(two, 'end', 'rejected', 'x')[:2], ['LATE', 'rejected'])

    def test_late_not_sent(self):
        old = self.lost()
        self.assertEqual(self.settle(old, 'not_sent', outcome='not_sent')[:2], ['LATE', 'wait'])
        self.assertEqual([(e['state'], e['late']) for e in self.results()], [('late', 'not_taken')])
        i = self.take(worker='w/2')[0]
        self.assertEqual((i['why'], i['unknowns'], i['attempt']), ('', '0', '0'))

    def test_late_dead(self):
        """The last attempt failed for certain: not taken."""
        old = self.lost()
        self.assertEqual(self.settle(old, 'end', 'dead', 'attempts_exhausted')[:2], ['LATE', 'wait'])
        self.assertEqual([(e['state'], e['late'], e['outcome']) for e in self.results()], [('late', 'not_taken', 'attempts_exhausted')])
        self.assertEqual(self.take(worker='w/2')[0]['unknowns'], '0')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)

    def test_late_conflict(self):
        one = self.begun(office=SENATE)
        self.settle(one, 'unknown', due=START)
        two = self.take('senate')[0]
        self.begin(two)
        self.tick(301 * SECOND)
        self.join('w/2')
        self.reap()
        self.assertEqual(self.settle(two, 'conflict')[:2], ['LATE', 'accepted'])
        self.assertEqual(self.results()[-1]['outcome'], 'accepted_earlier')

    def test_nothing_learned(self):
        one = self.ended('unknown', 'outcome_unknown')
        for verb, state in (('conflict', ''), ('unknown', ''), ('end', 'unknown')):
            self.assertEqual(self.settle(one, verb, state)[0], 'DUP')
        self.assertEqual(len(self.results()), 1)


if __name__ == '__main__':
    unittest.main()
