#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl delivery: every POST of a DeliveryId, from the id alone; and what is not known any more is said."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from cwcctl_case import BUILD, CTL, NO, OK, SECOND, USAGE  # noqa: E402
from people_case import Case  # noqa: E402

OFFICE = 'HNE03'


class Delivery(Case):
    def setUp(self):
        super().setUp()
        self.id = account.delivery_id('s1', OFFICE)
        for i in range(50):  # others, one of them of the same submission
            self.accepted('other%d' % i, delivery_id='%032x' % i)

    def attempt(self, verb, outcome, status=0, state='', receipt=b'', sid='s1', due=0, began=True):
        taken = self.take('house')[sid]
        if began:
            self.begin(taken, self.id)
        begun = int(self.r('HGET', '{q}:job:%s:%s' % (sid, OFFICE), 'begun_us'))
        reply = self.call('settle', 'w1/1', *taken[:3], verb, state, outcome, 'ended', 0, '', status, due, self.now(), begun,
                          receipt, b'', 0, 0, 0)
        self.assertEqual(reply[0], 'OK')
        return begun

    def told(self, *args, delivery_id=None, code=OK):
        return self.ctl('delivery', delivery_id or self.id, *args, '--json', code=code).json

    def letter_told(self, *args, **kw):
        found = self.told(*args, **kw)
        self.assertEqual(len(found['letters']), 1, found)
        return found['letters'][0], found

    def twice(self):
        """Retried, of unknown fate, sent again by a person, and accepted."""
        self.add('s1', OFFICE)
        begun = [self.attempt('retry', 'no_answer', 0)]
        begun.append(self.attempt('end', 'outcome_unknown', 504, 'unknown'))
        self.ctl('unknown', 'resolve', 's1', OFFICE, 'resend', '--who', 'alice')
        self.ctl('cancel', 'other1', code=NO)
        begun.append(self.attempt('end', 'accepted', 200, 'accepted', self.receipt('s1', delivery_id=self.id)))
        return begun

    def test_every_post(self):
        begun = self.twice()
        one, found = self.letter_told()
        self.assertEqual((one['sid'], one['office'], one['chamber'], one['record']['state']), ('s1', OFFICE, 'house', 'accepted'))
        self.assertEqual([(p['attempt'], p['outcome'], p['http_status'], p['worker'], p['known_by']) for p in one['posts']],
                         [(1, 'no_answer', None, 'w1/1', 'record'), (2, 'outcome_unknown', 504, 'w1/1', 'record'),
                          (1, 'accepted', 200, 'w1/1', 'record')])
        for post, us in zip(one['posts'], begun):
            self.assertIn('.%03dZ' % (us // 1000 % 1000), post['begun'])
            self.assertGreaterEqual(post['ended'], post['begun'])
        self.assertEqual([(r['state'], r['signed_by']) for r in one['results']], [('unknown', None), ('accepted', 'w1/1')])
        self.assertEqual([(a['verb'], a['what']) for a in one['acts']], [('resolve', 's1 HNE03 resend')])
        self.assertRegex(one['acts'][0]['who'], '^alice:')
        self.assertEqual([(b['worker'], b['version']) for b in found['boots']], [('w1/1', '0')])
        self.assertEqual((found['records_looked_at'], found['results_looked_at'], one['not_known']), (51, 52, []))

    def test_for_people(self):
        self.twice()
        out = self.ctl('delivery', self.id).out
        for text in ('POSTs that began: 3', 'outcome_unknown', 'What people did:', 'resolve', 'w1/1', self.id,
                     'Results in the stream:', 'The audit trail begins at'):
            self.assertIn(text, out)
        self.assertNotIn('bytes', out + self.ctl('delivery', self.id, '--json').out)

    def test_as_the_house_writes_it(self):
        self.twice()
        text = self.id.upper()
        text = '-'.join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        self.assertEqual(self.told(delivery_id=text), self.told())
        for bad in ('', 'd' * 31, 'd' * 33, 'g' * 32, '-' * 32):
            self.ctl('delivery', bad, code=USAGE)

    def test_on_the_wire(self):
        self.add('s1', OFFICE)
        self.attempt('retry', 'no_answer', 503)
        self.begin(self.take('house')['s1'], self.id)
        one, _ = self.letter_told()
        self.assertEqual([(p['http_status'], p['outcome'], p['worker'], p['ended'] is None, p['known_by']) for p in one['posts']],
                         [(503, 'no_answer', 'w1/1', False, 'record'), (None, None, 'w1/1', True, 'on the wire')])

    def test_marks(self):
        """A POST that is of unknown fate still, of a worker that died: the record says whose it was."""
        self.add('s1', OFFICE)
        self.begin(self.take('house')['s1'], self.id)
        self.r('ZADD', '{q}:workers', 1, 'w1/1')
        self.call('beat', 'w2/2', 60 * SECOND, 'join', self.now(), 1, '')
        self.call('reap', 'w2/2', self.now(), 60 * SECOND, 3, 0, 1, 100)
        one, _ = self.letter_told()
        self.assertEqual([(p['outcome'], p['worker'], p['open'], p['known_by']) for p in one['posts']],
                         [('no_answer', 'w1/1', True, 'record')])
        self.assertIn('yes', self.ctl('delivery', self.id).out)

    def test_more_than_a_record_keeps(self):
        self.add('s1', OFFICE)
        for _ in range(18):
            self.attempt('retry', 'no_answer', 503)
        one, _ = self.letter_told()
        self.assertEqual([p['attempt'] for p in one['posts']], list(range(3, 19)))
        self.assertIn('before the last 16', one['not_known'][0])

    def test_what_is_over(self):
        """The record, then the result: what is left is told, and that the rest is not."""
        begun = self.twice()
        self.r('DEL', '{q}:job:s1:' + OFFICE, '{q}:sub:s1')
        one, _ = self.letter_told()
        self.assertIsNone(one['record'])
        self.assertEqual([(p['outcome'], p['known_by'], p['worker']) for p in one['posts']],
                         [('outcome_unknown', 'result', None), ('accepted', 'result', 'w1/1')])
        self.assertIn('.%03dZ' % (begun[2] // 1000 % 1000), one['posts'][1]['begun'])
        self.assertIn('its record', one['not_known'][0])
        self.assertIn('Not known here any more:\n- its record', self.ctl('delivery', self.id).out)
        self.r('DEL', '{q}:results')
        self.assertEqual(self.told(code=NO)['letters'], [])
        r = self.ctl('delivery', self.id, code=NO)
        self.assertIn("sed -n '/%s/p'" % self.id, r.err)

    def test_from_the_outbox(self):
        """What the queue has forgotten altogether: the producer's list has it."""
        self.twice()
        self.r('DEL', '{q}:job:s1:' + OFFICE, '{q}:sub:s1', '{q}:results')
        outbox = self.write('outbox.txt', '# sent\ns0 HNE01,SNE01\ns1 SNE01,HNE03\n{"sid": "s2", "offices": ["HNE03"]}\n')
        one, _ = self.letter_told('--ids', outbox)
        self.assertEqual((one['sid'], one['office'], one['listed_for'], one['posts']), ('s1', OFFICE, 'sandbox', []))
        self.assertEqual([a['verb'] for a in one['acts']], ['resolve'])
        self.assertEqual(len(one['not_known']), 2)
        self.assertIn('POSTs that began: 0', self.ctl('delivery', self.id, '--ids', outbox).out)
        r = self.ctl('delivery', 'e' * 32, '--ids', outbox, code=NO)
        self.assertIn('no submission of the list', r.err)
        self.write('bad.txt', 'junk\n')
        self.assertIn('1 lines', self.ctl('delivery', self.id, '--ids', self.path('bad.txt'), code=NO).err)
        self.ctl('delivery', self.id, '--ids', self.path('none.txt'), code=NO)

    def test_others_are_left_alone(self):
        """An id in a record of another form, a key that only looks like a record, names that no letter has."""
        self.twice()
        self.r('HSET', '{q}:job:nonsense', 'delivery_id', self.id)
        self.r('HSET', '{q}:job:a b:HNE03', 'delivery_id', self.id)
        self.r('XADD', '{q}:results', '*', 'sid', '../x', 'office', 'HNE03', 'delivery_id', self.id)
        self.assertEqual([x['sid'] for x in self.told()['letters']], ['s1'])

    def test_many(self):
        self.scale(20000)
        self.twice()
        found = self.told()
        self.assertEqual(([x['sid'] for x in found['letters']], found['records_looked_at']), (['s1'], 20051))


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
