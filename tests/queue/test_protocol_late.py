#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per transition, reply and error of PROTOCOL.md: SETTLE of what was given up."""
import hashlib
import unittest

import rq
from case import HOUSE, HOUSE2, SECOND, SENATE, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


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

    def test_late_acceptance_is_said_again(self):
        old = self.begun(office=SENATE)
        self.adopt(after=0)
        self.begin(self.take('senate')[0])
        self.assertEqual(self.settle(old, 'end', 'accepted', 'accepted')[:2], ['LATE', 'begun'])
        self.assertEqual(self.settle(old, 'end', 'accepted', 'accepted')[:2], ['DUP', 'begun'])
        self.assertEqual(len(self.results()), 1)

    def test_what_decides_nothing_is_said_again(self):
        """Its reply was lost: the worker must not hear that nobody knows of its POST."""
        for verb, state, word in (('end', 'rejected', 'rejected'), ('retry', '', 'not_taken'), ('not_sent', '', 'not_taken')):
            self.r('FLUSHALL')
            self.setUp()
            old = self.begun(office=SENATE)
            self.adopt(after=0)
            new = self.take('senate')[0]
            self.begin(new)
            self.assertEqual(self.settle(old, verb, state, 'x', due=START)[:2], ['LATE', 'begun'])
            self.assertEqual(self.settle(old, verb, state, 'x', due=START)[:2], ['DUP', 'begun'])
            self.settle(new, 'retry', due=START)
            self.assertEqual(self.settle(old, verb, state, 'x', due=START)[:2], ['DUP', 'later'])
            self.assertEqual([(e['state'], e['late']) for e in self.results()], [('late', word)])

    def test_late_acceptance_that_fails_is_not_lost(self):
        """Each command fails once, and its worker says it again: reported as accepted, it ends as accepted."""
        for k in range(1, 60):
            self.r('FLUSHALL')
            self.setUp()
            i = self.ended('unknown', 'outcome_unknown')
            args = ['w/1', 's', HOUSE, i['token'], 'end', 'accepted', 'accepted', 'c', 0, '', 200, 0, self.now, 0, 'R', 'A', -1, 0, 0]
            try:
                self.r('EVALSHA', self.sha['settle'], 1, rq.META, *args, k)
            except rq.RedisError:
                self.call('settle', *args)
            else:
                return
            self.assertEqual(self.job()['state'], 'accepted', k)
            self.assertIn('accepted', [e['state'] for e in self.results()], k)
        self.fail('no end of commands')

    def test_late_acceptance_survives_reap_and_adopt(self):
        for way in ('reap', 'adopt'):
            self.r('FLUSHALL')
            self.setUp()
            old = self.begun(office=SENATE)
            self.settle(old, 'unknown', due=START)
            self.begin(self.take('senate')[0])
            self.settle(old, 'end', 'accepted', 'accepted')
            if way == 'adopt':
                self.adopt()
            else:
                self.tick(301 * SECOND)
                self.join('w/2')
                self.reap()
            self.assertEqual(self.job(office=SENATE)['why'], 'late')

    def test_bytes_of_those_that_were_passed_over(self):
        """They go with the end of the job, but for what another office of the letter needs."""
        def kept():
            return sorted(k[2:] for k in self.sub() if k[:2] == 'j:')
        names = {k: hashlib.sha1(k.encode()).hexdigest() for k in ('first', 'both', 'second')}
        i = self.begun(job='first')
        self.add(offices=HOUSE + ',' + HOUSE2, job='both')
        self.add(job='second')
        self.intake()
        self.assertEqual(kept(), sorted(names.values()))
        self.settle(i, 'end', 'dead', 'attempts_exhausted')
        self.assertEqual(kept(), sorted([names['first'], names['both']]))
        self.assertEqual(self.take()[0]['bytes'], 'both')
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.take()[0]['bytes'], 'first')

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

    def test_late_not_taken_leaves_an_expiry(self):
        old = self.lost()
        self.r('ZREM', '{q}:exp', 's:' + HOUSE)  # as if it had expired when its end was decided
        self.settle(old, 'not_sent')
        self.assertEqual(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE), self.job()['expires_us'])

    def test_late_not_taken_while_a_worker_ends_it(self):
        """It is taken out of the worker's hands, back to its line or to be cancelled."""
        for cancel, state, why in ((False, 'wait', ''), (True, 'close', 'cancelled')):
            self.r('FLUSHALL')
            self.setUp()
            old = self.lost()
            if cancel:
                self.admin('cancel', 's:' + HOUSE)
            i = self.take(worker='w/2')[0]
            self.assertEqual(i['why'], 'unknown')
            self.assertEqual(self.settle(old, 'not_sent')[:2], ['LATE', state])
            self.assertIsNotNone(self.r('ZSCORE', '{q}:exp', 's:' + HOUSE))
            self.assertEqual(self.r('EXISTS', '{q}:held:w/2', '{q}:fly:' + HOUSE), 0)
            self.assertEqual(self.settle(i, 'end', 'unknown', 'outcome_unknown', worker='w/2')[:2], ['STALE', state])
            i = self.take(worker='w/2')[0]
            self.assertEqual((i['why'], i['unknowns']), (why, '0'))

    def test_cancelled_when_the_last_doubt_is_gone(self):
        """A second POST was on the wire when somebody cancelled: neither was taken."""
        one = self.begun(office=SENATE)
        self.settle(one, 'unknown', due=START)
        two = self.take('senate')[0]
        self.begin(two)
        self.assertEqual(self.admin('cancel', 's:' + SENATE), ['INFLIGHT', 'begun'])
        self.settle(one, 'retry')
        self.assertEqual(self.settle(two, 'retry', due=START)[:2], ['OK', 'close'])
        self.assertEqual(self.take('senate')[0]['why'], 'cancelled')

    def test_the_post_that_ends_as_unknown_is_a_doubt(self):
        """Cancelled while on the wire, and no answer came."""
        i = self.begun(office=SENATE)
        self.admin('cancel', 's:' + SENATE)
        self.assertEqual(self.settle(i, 'unknown', due=START + SECOND)[:2], ['OK', 'close'])
        self.assertEqual(self.take('senate')[0]['why'], 'unknown')

    def test_late_rejection_does_not_decide_a_challenge(self):
        i = self.begun(office=SENATE)
        self.settle(i, 'unknown', due=START)
        new = self.take('senate')[0]
        self.begin(new)
        self.settle(new, 'end', 'rejected', 'x')
        self.add(offices=SENATE, job='next')
        self.intake()
        self.assertEqual(self.settle(i, 'end', 'rejected', 'rejected_by_chamber')[:2], ['LATE', 'wait'])
        self.assertEqual(self.take('senate')[0]['previous'], 'rejected')

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
