#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Letters through the whole worker: real redis-server, real TLS, simulated chambers. Each kind of good letter is
delivered, each kind of bad one ends as it must, and all accounts agree."""
import copy
import hashlib
import os
import sys
import time
import unittest
from xml.sax.saxutils import escape

from lxml import etree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from cwcxml import render_elements  # noqa: E402
from stack import letters  # noqa: E402

SAMPLES = 60


def with_sid(name, sid, profile='letter', code=letters.HOUSE, **sealed):
    submission = letters.base(name, profile, code)
    submission['sid'] = sid
    submission['sealed'].update(sealed)
    return submission


def laid_out(element, depth=0):
    """As the worker does: indented, quotes escaped."""
    tag, pad = element.tag, '  ' * depth
    if len(element):
        return '%s<%s>\n%s%s</%s>\n' % (pad, tag, ''.join(laid_out(e, depth + 1) for e in element), pad, tag)
    return '%s<%s>%s</%s>\n' % (pad, tag, escape(element.text or '', {'"': '&quot;', "'": '&apos;'}), tag)


def expected_xml(submission, code, delivery_id, date):
    """The document that must be POSTed, by the tests' own renderer."""
    xml = render_elements({**letters.elements(submission), **letters.AGENT, 'MemberOffice': code,
                           'DeliveryId': delivery_id, 'DeliveryDate': date})
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + laid_out(etree.fromstring(xml))).encode()


class Case(unittest.TestCase):
    """A stack of its own for each test."""

    def start(self, worker=True, **options):
        stack = stacks.Stack(**options)
        self.addCleanup(stack.close)
        stack.start()
        if worker:
            stack.start_worker()
        return stack


class Expected(unittest.TestCase):
    """All samples and all bad submissions in one batch."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stacks.Stack(jobs={'key_wait': '1s'})
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        cls.worker = cls.stack.start_worker()
        cls.samples = list(letters.sample(SAMPLES, seed=7))
        cls.bad = letters.bad()
        cls.everything = cls.samples + list(cls.bad.values())
        cls.begun_s = time.time()
        cls.stack.submit(*cls.everything)
        cls.stack.wait_results(len(cls.pairs('results')))
        cls.stack.wait_idle()
        cls.last = account.last_results(cls.stack)

    @classmethod
    def pairs(cls, stream):
        return [(s, code) for s in cls.everything for code in s['offices']
                if letters.expected(s, code)['stream'] == stream]

    def test_samples_cover_what_there_is(self):
        self.assertEqual({s['profile'] for s in self.samples}, {'letter', 'witness'})
        self.assertEqual({len(s['offices']) for s in self.samples}, {1, 2, 3})
        self.assertEqual({code[0] for s in self.samples for code in s['offices']}, {'H', 'S'})

    def test_outcomes(self):
        for submission, code in self.pairs('results'):
            expect = letters.expected(submission, code)
            with self.subTest(submission['name'], office=code):
                result = self.last[submission['sid'], code]
                self.assertEqual(result['outcome'], expect['outcome'])
                if expect['detail']:
                    self.assertTrue(result['detail'].startswith(expect['detail']), result['detail'])
                else:
                    self.assertEqual(result['detail'], '')

    def test_refused(self):
        refused = {}
        for entry in self.stack.stream('refused'):
            refused.setdefault((entry['sid'], entry['office']), []).append(entry)
        expected = {}
        for submission, code in self.pairs('refused'):
            entry = {'sid': submission['sid'], 'offices': submission['offices'], **submission['spoil'].get('entry', {})}
            code = code if code in entry['offices'] else entry['offices'][0]
            expected[entry['sid'], code] = letters.expected(submission, code)
        self.assertEqual(set(refused), set(expected))
        for key, entries in refused.items():
            with self.subTest(key):
                self.assertEqual(len(entries), 1)
                self.assertEqual(set(entries[0]), {'why', 'sid', 'office', 'digest', 'detail'})
                self.assertEqual((entries[0]['why'], entries[0]['detail']), ('verify', expected[key]['detail']))
                self.assertNotIn(key, self.last)
                self.assertEqual(self.stack.keys('job:%s:*' % key[0]) + self.stack.keys('sub:' + key[0]), [])

    def test_all_accounts_agree(self):
        expected = {(s['sid'], code) for s, code in self.pairs('results')}
        self.assertEqual(set(account.check(self, self.stack)), expected)
        self.assertEqual(len(self.stack.stream('results')), len(expected))

    def test_one_post_for_each_accepted_letter(self):
        """Also the contents: the tests' own renderer makes the same bytes."""
        posts = {(r['delivery_id'], r['office']): r for r in self.stack.sim.records()}
        accepted = [(s, code) for s, code in self.pairs('results')
                    if letters.expected(s, code)['outcome'] == 'accepted']
        self.assertEqual(len(self.stack.sim.records()), len(accepted))
        for submission, code in accepted:
            with self.subTest(submission['name'], office=code):
                record = posts[account.delivery_id(submission['sid'], code), code]
                self.assertTrue(record['accepted'] and record['complete'] and record['key_ok'])
                self.assertEqual(record['content_type'], 'application/xml')
                self.assertEqual(record['agent'], letters.AGENT['DeliveryAgent'])
                date = self.stack.job(submission['sid'], code)['date']
                xml = expected_xml(submission, code, record['delivery_id'], date)
                self.assertEqual(record['bytes'], len(xml), xml.decode())
                self.assertEqual(record['sha256'], hashlib.sha256(xml).hexdigest(), xml.decode())
                chamber = 'house' if code[0] == 'H' else 'senate'
                self.assertEqual((record['chamber'], record['sni']), (chamber, {
                    'house': 'uat-cwc.house.gov', 'senate': 'soapbox.senate.gov'}[chamber]))

    def test_dates(self):
        dates = {account.eastern_date(self.begun_s), account.eastern_date(time.time())}
        for result in self.last.values():
            if result['delivery_id']:
                self.assertIn(self.stack.job(result['sid'], result['office'])['date'], dates)

    def test_published(self):
        """What an app server needs to seal to this worker and to check its receipts."""
        entries = self.stack.stream('attestations')
        self.assertEqual(len(entries), 1)
        # Without a security module there is a statement, and no document that would prove it.
        self.assertEqual(set(entries[0]), {'worker', 'version', 'environment', 'receipt_key_id', 'receipt_key', 'keys',
                                           'statement'})
        self.assertEqual(entries[0]['environment'], 'sandbox')
        ring = stacks.appserver.published_keys(entries[0]['keys'])
        self.assertEqual({p: k.public for p, k in ring.items()}, {p: k.public for p, k in self.stack.ring.items()})
        self.assertIn(stacks.formats.WITNESS_CONTEXT, ring['witness'].contexts)
        lists = stacks.rq.pairs(self.stack.redis('HGETALL', self.stack.key('lists')))
        self.assertEqual({c: len(v.split(' ')[1].split(',')) for c, v in lists.items()}, {'house': 441, 'senate': 53})


class KeysAtBoot(Case):
    def test_sealed_to_the_published_keys(self):
        stack = self.start(key_source='boot', contexts=['a-context-of-this-test-v1', 'another-context-v2'])
        stack.learn_keys()
        self.assertEqual(stack.ring['witness'].contexts, ['a-context-of-this-test-v1', 'another-context-v2'])
        some = list(letters.sample(12, seed=3))
        stack.submit(*some)
        second = with_sid('context', 'second-context', 'witness')
        second['spoil'] = {'context': 'another-context-v2'}
        stack.submit(second)
        stack.wait_results(sum(len(s['offices']) for s in some) + 1)
        last = account.check(self, stack, some + [second])
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})


class Duplicates(Case):
    def test_do_nothing(self):
        """The same bytes again, before and after; and other bytes for what is accepted."""
        stack = self.start()
        submission = next(s for s in letters.sample(200, seed=2) if len(s['offices']) == 3)
        entry = stack.entry(submission)
        stack.enqueue([entry] * 5)
        stack.wait_results(3)
        stack.enqueue([entry, entry])
        stack.submit(submission)  # sealed anew
        stacks.wait_until(lambda: len(stack.stream('refused')) == 3, what='refusal')
        account.check(self, stack, [submission])
        self.assertEqual((stack.sim.count(), len(stack.stream('results'))), (3, 3))
        self.assertEqual(sorted((e['why'], e['office']) for e in stack.stream('refused')),
                         sorted(('closed', code) for code in submission['offices']))


class Order(Case):
    def test_high_priority_first(self):
        """One letter at a time to one office: the line's order is the order on the wire."""
        stack = self.start(worker=False, chamber={'concurrency': 1, 'office_concurrency': 1})
        normal = [with_sid('normal', 'normal-%d' % i) for i in range(4)]
        high = [with_sid('high', 'high-%d' % i) for i in range(4)]
        stack.enqueue([stack.entry(s, priority=1) for s in normal] + [stack.entry(s, priority=0) for s in high])
        stack.start_worker()
        stack.wait_results(8)
        ids = {account.delivery_id(s['sid'], letters.HOUSE): s['sid'] for s in normal + high}
        self.assertEqual([ids[r['delivery_id']] for r in stack.sim.records()], [s['sid'] for s in high + normal])
        account.check(self, stack, normal + high)

    def test_not_before(self):
        """With the hint in the entry, and with nothing but the signed time."""
        stack = self.start()
        start = int(time.time()) + 2
        hinted, plain = with_sid('hinted', 'hinted'), with_sid('plain', 'plain', 'witness', letters.SENATE)
        entries = [stack.entry(hinted, not_before=start), stack.entry(plain, not_before=start)]
        del entries[1]['nbf']
        stack.enqueue(entries)
        stack.wait_status('hinted', letters.HOUSE, 'later')
        stacks.wait_until(lambda: stack.job('plain', letters.SENATE).get('state') == 'later', what='deferred job')
        self.assertLess(time.time(), start)
        self.assertEqual(stack.sim.count(), 0)
        stack.wait_results(2)
        last = account.check(self, stack, [hinted, plain])
        for r in last.values():
            self.assertEqual((r['outcome'], r['attempt']), ('accepted', '1'))
            self.assertGreaterEqual(int(r['begun_us']), start * 1000000)
            self.assertLess(int(r['begun_us']), (start + 5) * 1000000)


class Generation(Case):
    def test_a_newer_generation_reopens_a_rejection(self):
        stack = self.start()
        submission = with_sid('reopened', 'reopened')
        stack.sim.fault(action='status', status=422, count=1, office=letters.HOUSE)
        stack.enqueue([stack.entry(submission, generation=4)])
        stack.wait_status('reopened', letters.HOUSE, 'rejected', 'rejected_by_chamber')
        first = stack.job('reopened', letters.HOUSE)

        # The same generation, and an older one, in other bytes: refused, and the outcome stands.
        for number, generation in enumerate((4, 3), 1):
            stack.enqueue([stack.entry(submission, generation=generation)])
            stacks.wait_until(lambda n=number: len(stack.stream('refused')) == n, what='refusal')
            stack.wait_idle()
            self.assertEqual(stack.stream('refused')[-1]['detail'], 'job_generation')
            job = stack.job('reopened', letters.HOUSE)
            self.assertEqual((job['state'], job['outcome'], job['rev'], job['digest']),
                             ('rejected', 'rejected_by_chamber', first['rev'], first['digest']))
        self.assertEqual(stack.sim.count(), 1)
        account.check(self, stack, [submission])

        stack.enqueue([stack.entry(submission, generation=5)])
        stack.wait_status('reopened', letters.HOUSE, 'accepted')
        last = account.check(self, stack, [submission])['reopened', letters.HOUSE]
        self.assertEqual((last['generation'], last['outcome']), ('5', 'accepted'))
        self.assertGreater(int(last['rev']), int(first['rev']))
        self.assertEqual({r['delivery_id'] for r in stack.sim.records()}, {first['delivery_id']})
        self.assertEqual([r['accepted'] for r in stack.sim.records()], [False, True])

        # Nothing reopens an acceptance.
        stack.enqueue([stack.entry(submission, generation=6)])
        stack.wait_idle()
        self.assertEqual((stack.stream('refused')[-1]['why'], stack.sim.count()), ('closed', 2))

    def test_a_forged_job_does_not_stand_in_the_way(self):
        """Bytes that fail verification come first; the genuine ones wait behind them and win."""
        stack = self.start(worker=False)
        genuine = with_sid('genuine', 'contested')
        forged = copy.deepcopy(genuine)
        forged['spoil'] = {'signer': 'forger'}
        stack.submit(forged, genuine)
        stack.start_worker()
        stack.wait_results(1)
        last = account.check(self, stack, [genuine])
        self.assertEqual(last['contested', letters.HOUSE]['outcome'], 'accepted')
        self.assertEqual([e['detail'] for e in stack.stream('refused')], ['job_signature'])


class OfficeLists(Case):
    def policy(self, policy, **host):
        offices = {'offices_policy': policy}
        return {'measured_house': offices, 'measured_senate': offices, 'house': host, 'senate': host}

    def both(self, tag):
        return [with_sid(tag, tag + '-h', 'letter', letters.HOUSE),
                with_sid(tag, tag + '-s', 'witness', letters.SENATE)]

    def test_without_a_list_send_sends(self):
        stack = self.start(worker=False, **self.policy('send'))
        stack.sim.fault(action='status', status=500, on='offices', chamber='house')
        stack.sim.fault(action='reset_after_headers', on='offices', chamber='senate')
        worker = stack.start_worker()
        some = self.both('sent')
        stack.submit(*some)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        failed = {e['chamber']: e for e in worker.events('offices_failed')}
        self.assertEqual((failed['house']['reason'], failed['house']['http_status']), ('status', 500))
        self.assertEqual(failed['senate']['reason'], 'reset')

    def test_without_a_list_hold_waits(self):
        """An empty list and a malformed one are no lists. The next try comes after five seconds."""
        stack = self.start(worker=False, **self.policy('hold'))
        stack.sim.fault(action='status', status=200, body='[]', content_type='application/json', on='offices',
                        chamber='house', count=1)
        stack.sim.fault(action='status', status=200, body='[{"office_code": "SNE02"', on='offices', chamber='senate',
                        count=1)
        worker = stack.start_worker()
        some = self.both('held')
        stack.submit(*some)
        worker.wait_event('offices_failed', n=2)
        self.assertEqual({(e['chamber'], e['reason']) for e in worker.events('offices_failed')},
                         {('house', 'empty'), ('senate', 'malformed')})
        self.assertEqual((stack.sim.count(), stack.stream('results')), (0, []))
        worker.wait_event('offices_loaded', n=2)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        loaded = min(e['time'] for e in worker.events('offices_loaded'))
        self.assertGreaterEqual(min(e['time'] for e in worker.events('letter_sent')), loaded)

    def test_refreshed_with_age(self):
        stack = self.start(**self.policy('send', offices_max_age='1s'))
        worker = stack.workers[0]
        first = self.both('first')
        stack.submit(*first)
        stack.wait_results(2)
        house = [c for c in letters.offices.house_offices() if c != letters.HOUSE]
        senate = [c for c in letters.offices.senate_active() if c != letters.SENATE]
        stack.sim.set_offices('house', house)
        stack.sim.set_offices('senate', senate)
        for chamber, n in (('house', len(house)), ('senate', len(senate))):
            stacks.wait_until(lambda c=chamber, n=n: any(e['chamber'] == c and e['count'] == n for e in
                                                         worker.events('offices_loaded')), what='new list')
        second = self.both('second')
        stack.submit(*second)
        stack.wait_results(4)
        last = account.check(self, stack, first + second)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in first + second],
                         ['accepted', 'accepted', 'office_unavailable', 'office_unavailable'])
        self.assertEqual(stack.sim.count(), 2)

    def test_too_old_a_list_says_nothing(self):
        """Fetching fails from now on: after its age the list is gone, and the policy holds."""
        stack = self.start(**self.policy('hold', offices_max_age='1s'))
        worker = stack.workers[0]
        worker.wait_event('offices_loaded', n=2)
        stack.sim.fault(action='status', status=503, on='offices')
        stacks.wait_until(lambda: {e['chamber'] for e in worker.events('offices_failed') if e['reason'] == 'too_old'}
                          == {'house', 'senate'}, what='lists too old')
        some = self.both('waits')
        stack.submit(*some)
        before = stack.redis('XLEN', stack.key('results'))
        stack.sim.clear_faults()
        loaded = len(worker.events('offices_loaded'))
        self.assertEqual((stack.sim.count(), before), (0, 0))
        worker.wait_event('offices_loaded', n=loaded + 2)
        stack.wait_results(2)
        self.assertEqual({r['outcome'] for r in account.check(self, stack, some).values()}, {'accepted'})


if __name__ == '__main__':
    unittest.main()
