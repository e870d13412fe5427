#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The boundary "the body may have left", stage by stage of one POST. Before it a letter is tried again and no doubt is
on record; behind it the House's letter ends as outcome_unknown after one POST, for a person, and the Senate's is sent
again under its DeliveryId. Each stage for both chambers; what the chambers got is counted there."""
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from outcome_case import JOBS, Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

BEFORE, BEHIND = 'before', 'behind'
# Stage, where it is, the fault, what the log says of the POST, and whether the chamber took the letter all the same.
STAGES = (
    ('tls-refused', BEFORE, {'action': 'tls_refuse'}, 'tls', False),
    ('tls-garbage', BEFORE, {'action': 'tls_garbage'}, 'tls', False),
    ('tls-stalled', BEFORE, {'action': 'tls_stall'}, 'connect_timeout', False),
    # From here on the first bytes of the body were handed to the connection, together with the headers.
    ('nothing-read', BEHIND, {'action': 'reset_before_read'}, 'reset', False),
    ('headers-read', BEHIND, {'action': 'reset_after_headers'}, 'reset', False),
    ('part-of-body', BEHIND, {'action': 'reset_mid_body'}, 'reset', False),
    ('all-of-body', BEHIND, {'action': 'reset_after_body', 'record': False}, 'reset', False),
    ('all-of-body-taken', BEHIND, {'action': 'reset_after_body'}, 'reset', True),
    ('no-answer', BEHIND, {'action': 'stall'}, 'first_byte_timeout', True),
    ('part-of-status-line', BEHIND, {'action': 'partial_status'}, None, True),
    ('part-of-headers', BEHIND, {'action': 'trickle', 'bytes': 20, 'ms': 900}, 'total_timeout', True),
)


class Boundary(Case):
    def closed_port(self):
        """An address on which nobody listens, and nobody will."""
        s = socket.socket()
        self.addCleanup(s.close)
        s.bind(('127.0.0.1', 0))
        return 'tcp:127.0.0.1:%d' % s.getsockname()[1]

    def check_before(self, sid, office):
        """The first attempt surely sent nothing: no mark, no POST at the chamber, and a second attempt."""
        result = account.last_results(self.stack)[sid, office]
        self.assertEqual((result['outcome'], result['attempt']), ('accepted', '2'))
        self.assertIn(',0,not_sent,', self.stack.job(sid, office)['history'])
        self.assertEqual(len(self.stack.sim.records(delivery_id=account.delivery_id(sid, office))), 1)

    def check_behind(self, sid, office, taken):
        result = account.last_results(self.stack)[sid, office]
        records = self.stack.sim.records(delivery_id=account.delivery_id(sid, office))
        job = self.stack.job(sid, office)
        self.assertIn(',no_answer,w' if office[0] == 'S' else ',outcome_unknown,w', job['history'])
        self.assertTrue([field for field in job if field.startswith('u:')])
        if office[0] == 'H':
            self.assertEqual((result['outcome'], result['attempt']), ('outcome_unknown', '1'))
            self.assertEqual(sum(r['accepted'] for r in records), int(taken))
            self.assertLessEqual(len(records), 1)
        else:
            self.assertEqual((result['outcome'], result['attempt']),
                             ('accepted_earlier' if taken else 'accepted', '2'))
            self.assertEqual(sum(r['accepted'] for r in records), 1)

    def test_stages(self):
        self.start()
        sent = []
        for stage, where, fault, fate, taken in STAGES:
            with self.subTest(stage):
                some = self.both(stage)
                sent += some
                self.stack.sim.close_idle()
                for chamber in ('house', 'senate'):
                    self.stack.sim.fault(**fault, chamber=chamber, count=1)
                self.stack.submit(*some)
                self.stack.wait_results(len(sent))
                self.stack.sim.clear_faults()
                for s in some:
                    office = s['offices'][0]
                    if where == BEFORE:
                        self.check_before(s['sid'], office)
                    else:
                        self.check_behind(s['sid'], office, taken)
                    first = [e['fate'] for e in self.worker.events('letter_sent')
                             if (e['sid'], e['office']) == (s['sid'], office)][0]
                    self.assertIn(first, (fate,) if fate else ('reset', 'answer', 'protocol', 'http'))
        account.check(self, self.stack, sent)

    def unreachable(self, name, address):
        """Neither name nor port answers: attempts are used, nothing is ever in doubt."""
        self.start(worker=False, jobs={**JOBS, 'attempts': 3}, house={'address': address},
                   senate={'address': address}, measured_house={'offices_url': ''}, measured_senate={'offices_url': ''})
        self.worker = self.stack.start_worker()
        some = self.both(name)
        self.stack.submit(*some)
        self.stack.wait_results(2, timeout=90)
        last = account.check(self, self.stack, some)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('attempts_exhausted', '3')})
        self.assertEqual((self.stack.sim.count(), self.stack.redis('ZCARD', self.stack.key('unknown'))), (0, 0))
        for s in some:
            self.assertEqual([f for f in self.stack.job(s['sid'], s['offices'][0]) if f.startswith('u:')], [])
        return {e['fate'] for e in self.worker.events('letter_sent')}

    def test_connect(self):
        self.assertEqual(self.unreachable('refused', self.closed_port()), {'connect'})

    def test_resolve(self):
        fates = self.unreachable('nowhere', 'tcp:no-such-host.invalid:443')
        self.assertTrue(fates <= {'connect', 'connect_timeout', 'resolve'}, fates)  # by how the machine asks for names

    def test_a_person_can_ask(self):
        """What is needed to ask the House about one letter stands in the list of unknown fates."""
        self.start()
        self.stack.sim.fault(action='reset_after_body', chamber='house', count=1)
        self.stack.submit(letter('asked', letters.HOUSE))
        wait_until(lambda: self.stack.redis('ZCARD', self.stack.key('unknown')) == 1, what='an unknown fate')
        job = self.stack.job('asked', letters.HOUSE)
        marks = [int(v) for f, v in job.items() if f.startswith('u:')]
        record = self.stack.sim.records(office=letters.HOUSE)[0]
        self.assertEqual((job['delivery_id'], len(marks)), (record['delivery_id'], 1))
        self.assertEqual(job['date'], account.eastern_date(marks[0] / 1e6))
        self.assertEqual(job['begun_us'], str(marks[0]))


if __name__ == '__main__':
    unittest.main()
