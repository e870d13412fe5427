#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per reply and rule of PROTOCOL.md: IMPORT, which brings dead letters back."""
import hashlib
import unittest

import rq
from case import DAY, HOUSE, SECOND, SENATE, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server
COUNT = 9999


class Import(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.fields = {'rev': 5, 'attempt': 8, 'crashes': 1, 'deliveries': 9, 'status': 503, 'outcome': 'attempts_exhausted',
                       'class': 'ended', 'last': 'no_answer', 'detail': 'd', 'delivery_id': 'DID', 'date': '20260101',
                       'generation': 2, 'history': '8,1,2,503,no_answer;', 'first_us': self.now - DAY,
                       'begun_us': self.now - SECOND, 'ended_us': self.now - SECOND, 'expires_us': self.now + DAY}

    def bring(self, sid='s', office=HOUSE, state='dead', job='job', k=0, marks=(), **fields):
        flat = [x for item in {**self.fields, **fields}.items() if item[1] is not None for x in item]
        flat += [x for mark in marks for x in ('mark', mark)]
        return self.r('EVALSHA', self.sha['import'], 1, rq.META, 'op', sid, office, state, job, *flat, k)

    def dead(self):
        return [rq.pairs(e[1]) for e in self.r('XRANGE', '{q}:dead', '-', '+')]

    def findings(self):
        """What FSCK says of all that there is."""
        keys = [k[4:] for k in self.r('KEYS', '{q}:*') if k not in ('{q}:faketime', '{q}:commands')]
        found = self.call('fsck', 'check', 'key', '', 1, *keys)[2::3]
        for key in keys:
            head, _, tail = key.partition(':')
            if head in ('job', 'sub'):
                found += self.call('fsck', 'check', head, '', 1, tail)[2::3]
        for entry, _ in self.r('XRANGE', '{q}:dead', '-', '+'):
            found += self.call('fsck', 'check', 'dead', '', 1, entry)[2::3]
        for job in self.r('ZRANGE', '{q}:unknown', 0, -1):
            found += self.call('fsck', 'check', 'unknown', '', 1, job)[2::3]
        return found

    def test_dead(self):
        self.assertEqual(self.bring(), ['OK', '5'])
        j, (entry,) = self.job(), self.dead()
        self.assertEqual({k: j[k] for k in self.fields}, {k: str(v) for k, v in self.fields.items()})
        self.assertEqual((j['state'], j['digest']), ('dead', hashlib.sha1(b'job').hexdigest()))
        self.assertEqual((entry['sid'], entry['office'], entry['http_status'], entry['rev']), ('s', HOUSE, '503', '5'))
        self.assertEqual(self.sub()['s:' + HOUSE], 'dead attempts_exhausted 5')
        self.assertEqual((self.sub()['rollup'], self.r('TTL', '{q}:sub:s'), self.findings()), ('failed', -1, []))
        self.assertEqual((self.results(), self.depth()['dead']), ([], 1))

    def test_replay(self):
        """It is a dead letter as any other: behind fresh ones, with its DeliveryId and its bytes."""
        self.bring()
        self.assertEqual(self.admin('replay', 's', HOUSE), ['OK', 'wait', '6'])
        self.add('fresh')
        self.assertEqual([i['sid'] for i in self.take(n=2)], ['fresh', 's'])
        i = self.job()
        self.assertEqual((i['delivery_id'], i['attempt'], i['state']), ('DID', '0', 'taken'))
        self.assertEqual(self.dead(), [])

    def test_the_bytes_come_along(self):
        self.bring(job='sealed')
        self.admin('replay', 's', HOUSE)
        i = self.take()[0]
        self.assertEqual((i['bytes'], i['generation'], i['delivery_id'], i['rev']), ('sealed', '2', 'DID', '6'))

    def test_twice(self):
        """The queue's word goes before that of an export, whatever the state is."""
        self.bring()
        self.assertEqual(self.bring(rev=9, outcome='other'), ['KNOWN', 'dead'])
        self.assertEqual((len(self.dead()), self.job()['rev']), (1, '5'))
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.bring(), ['KNOWN', 'wait'])
        self.assertEqual(self.dead(), [])
        self.assertEqual([a['verb'] for a in rq.stream(self.r, 'audit')], ['import', 'replay'])

    def test_one_that_never_began(self):
        """An export says so by an empty DeliveryId: its first BEGIN fixes one."""
        self.bring(delivery_id='', date='', history='', detail='')
        self.assertEqual([k for k in self.job() if k in ('delivery_id', 'date', 'history')], [])
        self.assertEqual(self.findings(), [])
        self.admin('replay', 's', HOUSE)
        self.assertEqual(self.begin(self.take()[0], generation=2)[:3], ['GO', 'DID', '20260101'])

    def test_a_record_that_is_lost_alone(self):
        """The submission still shows that it was accepted: an export of before does not make it dead again."""
        self.ended('accepted', 'accepted')
        self.r('DEL', '{q}:job:s:' + HOUSE)
        self.assertEqual(self.bring(), ['KNOWN', 'accepted'])
        self.assertEqual((self.sub()['s:' + HOUSE], self.sub()['rollup'], self.dead()), ('accepted accepted 3', 'delivered', []))
        self.assertEqual(self.call('fsck', 'mend', 'sub', '', 1, 's')[0], 'OK')
        self.assertEqual(self.bring()[0], 'KNOWN')

    def test_of_unknown_fate(self):
        marks = (self.now - 3 * SECOND, self.now - 2 * SECOND)
        self.assertEqual(self.bring(state='unknown', marks=marks, outcome='outcome_unknown'), ['OK', '5'])
        j = self.job()
        self.assertEqual((j['state'], j['u:import.1'], j['u:import.2']), ('unknown', str(marks[0]), str(marks[1])))
        self.assertEqual((self.r('ZRANGE', '{q}:unknown', 0, -1), self.dead(), self.findings()), (['s:' + HOUSE], [], []))
        # The producer sends all of its outbox again: no second letter.
        self.add(job='job')
        self.add(job='other')
        self.assertEqual((self.take(), self.job()['state']), ([], 'unknown'))
        self.assertEqual([e['why'] for e in rq.stream(self.r, 'refused')], ['closed'])
        self.assertEqual(self.admin('resolve', 's', HOUSE, 'resend'), ['OK', 'wait', '6'])
        self.assertEqual(self.take()[0]['unknowns'], '2')

    def test_without_bytes(self):
        """A dead letter that can be shown and dropped; the same bytes, sent again, are new ones."""
        self.bring(job='', digest='0' * 40)
        self.assertEqual(self.job()['digest'], hashlib.sha1(b'').hexdigest())
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.admin('drop', 's', HOUSE)[0], 'OK')

    def test_bytes_that_are_still_there(self):
        self.add('s', SENATE)
        self.take('senate')
        self.bring(job='', digest=hashlib.sha1(b'job').hexdigest())
        self.assertEqual(self.job()['digest'], hashlib.sha1(b'job').hexdigest())
        self.assertEqual(self.sub()['offices'], SENATE + ',' + HOUSE)
        self.assertEqual(self.findings(), [])

    def test_bounds(self):
        self.bring(ended_us=self.now + DAY, first_us=self.now + DAY, expires_us=self.now + 99 * DAY, rev=10**12, status=5000)
        j = self.job()
        self.assertEqual((j['ended_us'], j['first_us']), (str(self.now + 5 * SECOND), str(self.now)))
        self.assertEqual((j['expires_us'], j['rev'], j['status']), (str(self.now + 31 * DAY), '1000000000', '999'))

    def test_little_is_known(self):
        self.fields = {}
        self.assertEqual(self.bring(), ['OK', '1'])
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.admin('replay', 's', HOUSE)[0], 'OK')
        self.assertEqual(self.take()[0]['generation'], '-1')

    def test_bad(self):
        for why, change in (('sid', {'sid': 'a b'}), ('sid', {'sid': ''}), ('office', {'office': 'zz'}),
                            ('state', {'state': 'accepted'}), ('rev', {'rev': '-1'}), ('outcome', {'outcome': 'x' * 65}),
                            ('token', {'token': 'x'}), ('state', {'state': 'begun'}), ('mark', {'marks': ('x',)}),
                            ('mark', {'marks': (1,) * 65}), ('job', {'digest': '0' * 40}), ('job', {'job': 'x' * 98305})):
            self.assertEqual(self.bring(**change), ['BADARG', why], change)
        self.assertEqual([k for k in self.keys() if k not in ('commands',)], [])

    def test_offices_of_one_submission(self):
        for n in range(64):
            self.assertEqual(self.bring(office='HCA%02d' % n)[0], 'OK')
        self.assertEqual(self.bring(office='HTX01'), ['BADARG', 'offices'])
        self.assertEqual(self.bring(office='HCA63'), ['KNOWN', 'dead'])

    def test_each_command_fails(self):
        """Once alone, once with all that follow; then it is said again."""
        for state in ('dead', 'unknown'):
            self.r('FLUSHALL')
            self.tick(0)
            self.bring(state=state, k=COUNT)
            n = int(self.r('GET', '{q}:commands'))
            for k in [s * k for k in range(1, n + 1) for s in (1, -1)]:
                self.r('FLUSHALL')
                self.tick(0)
                with self.assertRaisesRegex(rq.RedisError, 'injected'):
                    self.bring(state=state, k=k)
                self.assertLessEqual(set(self.findings()), {'dead-orphan', 'dead-left', 'unknown-left', 'sub-unlisted', 'sub-empty',
                                                            'sub-summary', 'record-missing'}, k)
                self.bring(state=state)
                self.assertLessEqual(set(self.findings()), {'dead-left'}, k)  # the entry of the one that failed
                self.assertEqual(self.job()['state'], state)
                entries = [e for e, _ in self.r('XRANGE', '{q}:dead', '-', '+')]
                self.assertTrue(state == 'unknown' or self.job()['dead_id'] in entries, k)

    def test_out_of_memory(self):
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        self.assertEqual(self.bring(), ['OK', '5'])


if __name__ == '__main__':
    unittest.main()
