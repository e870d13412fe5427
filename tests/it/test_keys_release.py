#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two releases side by side on one queue, each with its own KMS key and ring; then the old one drains, its KMS key is
deleted, and nobody starts it any more."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from attest_case import manifest  # noqa: E402
from ring_case import NO, UNAVAILABLE, RingCase, appserver, letters, wait_until  # noqa: E402

KEY_WAIT_S = 32  # a letter is looked at sixteen times and more: it meets a worker of its release
SHORT_WAIT_S = 3
LETTERS = 8


class Releases(RingCase):
    def begin(self):
        self.source, self.sent = letters.sample(1000, seed=5), []
        stack = self.start(images=('old', 'new'), jobs={'key_wait': '%ds' % KEY_WAIT_S})
        self.workers = [stack.start_worker('w%d' % i, ready=False, release=r) for i, r in enumerate(stack.releases)]
        for w in self.workers:
            stack.first_keys(w)
            w.wait_event('ready')
        self.rings = [appserver.published_keys(stack.published(w)[-1]['keys']) for w in self.workers]
        return stack

    def send(self, n, ring):
        """So many letters, sealed to the ring of a release."""
        some = [next(self.source) for _ in range(n)]
        self.sent += some
        self.stack.enqueue([self.stack.app.entry(x, self.rings[ring]) for x in some])
        return some

    def wait_ended(self, submissions, timeout=60):
        jobs = [(x['sid'], office) for x in submissions for office in x['offices']]

        def ended():
            states = [self.stack.status(*job) for job in jobs]
            return states if all(s and s[0] in ('accepted', 'rejected') for s in states) else None
        return {s[1] for s in wait_until(ended, timeout, 'end of %d letters' % len(jobs), pause=0.05)}

    def test_side_by_side(self):
        self.begin()
        kids = [{k.kid for k in ring.values()} for ring in self.rings]
        self.assertFalse(kids[0] & kids[1])
        self.assertNotEqual(*(w.events('attested')[0]['pcr0'] for w in self.workers))
        mixed = [self.send(1, i % 2) for i in range(LETTERS)]
        self.assertEqual(self.wait_ended(sum(mixed, [])), {'accepted'})
        # It comes from the ring: a worker never opens what is the other's.
        self.who_ended(mixed)
        self.foreign_store()
        self.old_key_deleted()
        self.old_drains()
        self.old_starts_no_more()
        self.letters_to_the_old_ring()
        self.account()

    def who_ended(self, mixed):
        """By the receipts: each letter was carried by a worker of the release that it was sealed to."""
        s = self.stack
        keys = [s.keys_of(w)['receipt_key']['id'].encode() for w in self.workers]
        for r in s.results():
            ring = next(i % 2 for i, one in enumerate(mixed) if one[0]['sid'] == r['sid'])
            receipt = account.as_bytes(r['receipt'])
            self.assertEqual([key in receipt for key in keys], [ring == 0, ring == 1])

    def foreign_store(self):
        """The stores swapped by somebody: each refuses the other's bundle, and goes on with its own."""
        old, new = (r.store for r in self.stack.releases)
        data = old.read(), new.read()
        old.write(data[1])
        new.write(data[0])
        for w in self.workers:
            self.assertEqual(w.wait_event('bundle_refused')['reason'], 'kms_key')
        old.write(data[0])
        new.write(data[1])
        # People are stopped by what they have at hand: the old release's bundle, of the same version, for the new store.
        self.stack.run('keys', 'store', self.stack.releases[0].bundle, *self.stack.releases[1].sealed, '--output', new.file,
                       code=NO)

    def old_key_deleted(self):
        """Who runs needs KMS for a new bundle only."""
        s, old = self.stack, self.stack.releases[0]
        s.kms.cmd('state', state='pending_deletion', key=old.arn)
        self.assertEqual(self.wait_ended(self.send(3, 0)), {'accepted'})
        s.asked(self.workers[0], 'rotate', code=UNAVAILABLE)
        self.assertIn('KMS has not done it: kms_refused', s.said)
        s.put(s.releases[1], s.asked(self.workers[1], 'rotate'))
        s.wait_bundle(self.workers[1], 2)

    def old_drains(self):
        some = self.send(3, 0)
        self.assertEqual(self.wait_ended(some), {'accepted'})
        self.assertEqual(self.workers[0].stop(), 0)
        self.stack.kms.cmd('state', state='deleted', key=self.stack.releases[0].arn)

    def old_starts_no_more(self):
        s = self.stack
        again = s.start_worker('w2', ready=False, release=s.releases[0])
        s.wait_missing(again, 'kms')
        wait_until(lambda: len(again.events('kms_failed')) >= 2, 20, 'another try')
        self.assertEqual({(e['reason'], e['http_status']) for e in again.events('kms_failed')}, {('kms_refused', 400)})
        self.assertEqual({r['type'] for r in s.kms.records()[-2:]}, {'NotFoundException'})
        self.assertEqual(again.events('ready') + again.events('queue_up') + again.events('secret_loaded'), [])
        self.assertEqual(again.stop(), 0)

    def letters_to_the_old_ring(self):
        """They wait for a worker that has it, and end as something that the citizen can send again."""
        s = self.stack
        self.assertEqual(self.workers[1].stop(), 0)
        s.values['jobs'] = {'key_wait': '%ds' % SHORT_WAIT_S}
        self.workers[1] = s.start_worker('w3', release=s.releases[1])
        self.late = self.send(4, 0)
        fresh = self.send(4, 1)
        self.assertEqual(self.wait_ended(fresh), {'accepted'})
        self.assertEqual(self.wait_ended(self.late), {'key_unknown'})
        for x in self.late:
            for office in x['offices']:
                job = s.job(x['sid'], office)
                self.assertEqual(job['retryable'], '1')
                self.assertGreaterEqual((int(job['ended_us']) - int(job['first_us'])) / 1e6, SHORT_WAIT_S)

    def account(self):
        s = self.stack
        s.wait_idle()
        last = account.check(self, s, self.sent)
        late = {x['sid'] for x in self.late}
        self.assertEqual({r['outcome'] for (sid, _), r in last.items() if sid not in late}, {'accepted'})
        self.assertEqual(s.stream('refused'), [])
        self.assertEqual(self.prove()['bad'], 0)
        # An auditor who knows of the new release alone does not believe the old one's.
        new = s.releases[1]
        summary = self.prove(NO, s.write('new.txt', manifest(new=new.pcrs)))
        reasons = {row['reason']: row['count'] for row in summary['reasons'] if row['count'] > 0}
        self.assertEqual(set(reasons), {'good', 'document_policy'})
        kid = next(e['receipt_key_id'] for e in s.stream('attestations') if e['pcr0'] != new.pcrs[0]).encode()
        self.assertEqual(reasons['document_policy'], sum(kid in account.as_bytes(r['receipt']) for r in s.results()))


if __name__ == '__main__':
    unittest.main()
