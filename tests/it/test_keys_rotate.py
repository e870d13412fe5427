#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rotation under load: two workers, and an app server that always seals to what is published."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from ring_case import NO, Producer, RingCase  # noqa: E402

import cbor2  # noqa: E402
import formats  # noqa: E402

DELAY_S, OVERLAP_S, KEY_WAIT_S = 5, 4, 2


class Rotation(RingCase):
    def begin(self):
        stack = self.start(jobs={'key_wait': '%ds' % KEY_WAIT_S},
                           measured_keys={'delay': '%ds' % DELAY_S, 'overlap': '%ds' % OVERLAP_S})
        workers = [stack.start_worker('w1', ready=False)]
        stack.first_keys(workers[0])
        workers.append(stack.start_worker('w2'))
        workers[0].wait_event('ready')
        return stack, workers

    def test_under_load(self):
        stack, workers = self.begin()
        p = Producer(stack)
        p.until(lambda: len(p.sent) >= 12, 'first letters')
        old = dict(stack.ring)
        old_kids = sorted(k.kid for k in old.values())
        stack.put(bundle=stack.asked(workers[0], 'rotate'))
        p.until(lambda: all(len(w.events('bundle_loaded')) == 2 for w in workers), 'rotated ring')
        for w in workers:
            k = stack.keys_of(w)
            self.assertEqual((k['bundle'], len(k['keys'])), (2, 5))
        new = [x for x in k['keys'] if x['id'] not in old_kids and x['profile'] != 'secret']
        new_kids = sorted(x['id'] for x in new)
        if time.time() < new[0]['activate'] - 1:
            self.assertIn('a key is pending still', self.refused(workers[1], 'rotate'))
        # Letters that a browser seals now and sends later.
        late, gone = p.some(6), p.some(3)
        late_entries = [stack.app.entry(x, old) for x in late]
        p.until(lambda: tuple(new_kids) in p.kids, 'active new keys')
        self.assertEqual(list(p.kids), [tuple(old_kids), tuple(new_kids)])
        self.assertGreaterEqual(p.kids[tuple(new_kids)], new[0]['activate'])
        p.until(lambda: all(self.changed(w, kid, 'decrypt-only') for w in workers for kid in old_kids), 'retired keys')
        p.enqueue(late, late_entries)
        p.until(lambda: all(self.changed(w, kid, 'destroyed') for w in workers for kid in old_kids), 'destroyed keys')
        self.assertEqual([len(stack.keys_of(w)['keys']) for w in workers], [3, 3])
        p.enqueue(gone, [stack.app.entry(x, old) for x in gone])
        p.until(lambda: all(stack.status(x['sid'], o) for x in gone for o in x['offices']), 'taken letters')
        stack.wait_results(p.jobs)
        stack.wait_idle()
        self.account(p, gone)
        self.look_at_log(workers, old_kids, new_kids)
        self.look_at_published(workers, old_kids, new_kids)
        summary = self.prove()
        self.assertEqual(summary['bad'], 0)
        self.assertGreaterEqual(summary['good'], p.jobs)

    def refused(self, worker, act, *args):
        self.assertIsNone(self.stack.asked(worker, act, *args, code=NO))
        return self.stack.said

    @staticmethod
    def changed(worker, kid, state):
        return any((e['key_id'], e['state']) == (kid, state) for e in worker.events('key_changed'))

    def account(self, p, gone):
        """Every letter exactly once, and none of them refused but those to keys that are no more."""
        last = account.check(self, self.stack, p.sent)
        unknown = {key for key, r in last.items() if r['outcome'] == 'key_unknown'}
        self.assertEqual(unknown, {(x['sid'], office) for x in gone for office in x['offices']})
        self.assertEqual({r['state'] for key, r in last.items() if key not in unknown}, {'accepted'})
        waited = [(int(r['ended_us']) - int(self.stack.job(*key)['first_us'])) / 1e6 for key, r in last.items()
                  if key in unknown]
        self.assertGreaterEqual(min(waited), KEY_WAIT_S)
        self.assertEqual(self.stack.stream('refused'), [])

    def look_at_log(self, workers, old_kids, new_kids):
        for w in workers:
            changes = [(e['key_id'], e['state']) for e in w.events('key_changed')]
            self.assertEqual(sorted(changes), sorted(
                [(kid, state) for kid in old_kids for state in ('decrypt-only', 'destroyed')] +
                [(kid, 'active') for kid in new_kids]))
            self.assertEqual({state for _, state in changes[-2:]}, {'destroyed'})
            self.assertEqual(w.events('bundle_refused') + w.events('kms_failed') + w.events('store_failed'), [])
            self.assertEqual([e['bundle'] for e in w.events('bundle_loaded')], [1, 2])

    def look_at_published(self, workers, old_kids, new_kids):
        """What each worker said, one after the other, and its document proves it."""
        for w in workers:
            said = []
            for e in self.stack.published(w):
                document, statement = (account.as_bytes(e[name]) for name in ('document', 'statement'))
                self.assertEqual(cbor2.loads(cbor2.loads(document)[2])['user_data'], formats.statement_hash(statement))
                keys = {k['id'] for k in formats.read_statement(statement)['keys'] if k['profile'] != 'secret'}
                active = sorted(line.split(' ')[1] for line in e['keys'].split('\n'))
                one = (e['bundle'], active, sorted(keys))
                if one not in said:
                    said.append(one)
            both = sorted(old_kids + new_kids)
            self.assertEqual(said, [('1', old_kids, old_kids), ('2', old_kids, both), ('2', new_kids, both),
                                    ('2', new_kids, new_kids)])


if __name__ == '__main__':
    unittest.main()
