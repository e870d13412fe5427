#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first ring of a release, from an empty store to receipts that an auditor proves; and nothing secret lies anywhere."""
import base64
import hashlib
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from attest_case import manifest, some_pcr  # noqa: E402
from ring_case import NO, PASSWORD, RingCase, letters, wait_until  # noqa: E402

import cbor2  # noqa: E402
import formats  # noqa: E402

LETTERS = 12


def forms(text):
    """As a secret might stand somewhere."""
    raw = text.encode()
    return raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw).rstrip(b'=')


class First(RingCase):
    def begin(self, **options):
        stack = self.start(**options)
        worker = stack.start_worker(ready=False)
        return stack, worker

    def seal_and_submit(self, n=LETTERS, seed=1):
        """Letters to the keys that a worker that is not ready yet publishes on its status port."""
        submissions = list(letters.sample(n, seed=seed))
        self.stack.submit(*submissions)
        return submissions

    def untouched(self):
        """Everything that was enqueued still stands where it was put, and nobody has asked Redis for more."""
        s = self.stack
        self.assertEqual(s.keys(), [s.key('in')])
        self.assertEqual(s.sim.count(), 0)

    def whole_way(self, **options):
        """(stack, worker, submissions) after all letters have arrived."""
        stack, worker = self.begin(**options)
        stack.wait_missing(worker, 'no_bundle')
        self.assertEqual(stack.keys_of(worker)['keys'], [])
        stack.put(bundle=stack.asked(worker, 'request'))
        stack.wait_stated(worker, 1)
        stack.learn_from(worker)
        submissions = self.seal_and_submit()
        self.untouched()
        # One secret of several is not enough.
        worker.release.sealed = [stack.seal(worker, 'house.api_key', stack.api_key['house'])]
        stack.put()
        worker.wait_event('secret_loaded')
        stack.release.store.wait_fetched()
        self.assertEqual(stack.ready(worker), (503, 'no_secrets'))
        self.untouched()
        stack.seal_all(worker)
        worker.wait_event('ready')
        self.assertEqual(stack.ready(worker)[0], 200)
        stack.wait_results(sum(len(x['offices']) for x in submissions))
        stack.wait_idle()
        return stack, worker, submissions

    def test_from_an_empty_store(self):
        stack, worker, submissions = self.whole_way()
        last = account.check(self, stack, submissions)
        self.assertEqual({r['state'] for r in last.values()}, {'accepted'})
        for chamber in ('house', 'senate'):
            self.assertTrue(stack.sim.count(chamber=chamber, key_ok=True))
        self.assertEqual(stack.sim.count(key_ok=False), 0)
        self.assertEqual([e['reason'] for e in worker.events('keys_missing')], ['no_bundle', 'no_secrets'])
        self.assertEqual(sorted(e['key'] for e in worker.events('secret_loaded')), ['house.api_key', 'senate.api_key'])
        self.look_at_status(worker)
        self.look_at_published(worker)
        self.prove_receipts(len(last))
        self.again(worker)

    def look_at_status(self, worker):
        s = self.stack
        j = s.run('keys', 'status', '--status', worker.status, '--manifest', s.manifest, '--json').json
        self.assertEqual((j['proof']['attested'], j['proof']['measured'], j['proof']['release'], j['bundle']),
                         (True, True, 'one', 1))
        self.assertEqual(sorted((k['profile'], k['state']) for k in j['keys']),
                         [(p, 'active') for p in ('letter', 'secret', 'witness')])
        self.assertEqual(j['warnings'], [])
        other = s.write('other.txt', manifest(one={0: some_pcr('other')}))
        self.assertIn('refused: policy', s.run('keys', 'status', '--status', worker.status, '--manifest', other,
                                               code=NO).err)

    def look_at_published(self, worker):
        entry, = self.stack.published(worker)
        document, statement = (account.as_bytes(entry[name]) for name in ('document', 'statement'))
        self.assertEqual(entry['document_sha256'], hashlib.sha256(document).hexdigest())
        self.assertEqual((entry['pcr0'], entry['bundle']), (worker.release.pcrs[0], '1'))
        payload = cbor2.loads(cbor2.loads(document)[2])
        self.assertEqual(payload['user_data'], formats.statement_hash(statement))
        self.assertEqual([payload['pcrs'][i].hex() for i in range(3)], [worker.release.pcrs[i] for i in range(3)])
        said = formats.read_statement(statement)
        self.assertEqual((said['environment'], said['queue'], said['bundle'], said['receipt_key'].hex()),
                         ('sandbox', 'q', 1, entry['receipt_key']))
        lines = ['%s %s %s' % (k['profile'], k['id'], k['public_key'].hex()) for k in said['keys']
                 if k['profile'] != 'secret']
        self.assertEqual([' '.join(line.split(' ')[:3]) for line in entry['keys'].split('\n')], lines)

    def prove_receipts(self, n):
        s = self.stack
        summary = self.prove()
        self.assertEqual((summary['receipts'], summary['good'], summary['chain_only']), (n, n, False))
        other = s.write('other.txt', manifest(one={**s.release.pcrs, 2: some_pcr('other')}))
        summary = self.prove(NO, other)
        self.assertEqual((summary['good'], summary['bad']), (0, n))
        reasons = {row['reason'] for row in summary['reasons'] if row['count'] > 0}
        self.assertEqual(reasons, {'document_policy'})

    def again(self, worker):
        """The ring outlives the worker, and a second first ring is refused."""
        s = self.stack
        s.asked(worker, 'request', code=NO)
        self.assertIn('it has a bundle already', s.said)
        self.assertEqual(worker.stop(), 0)
        second = s.start_worker('w2')
        self.assertEqual([k['id'] for k in s.keys_of(second)['keys']], [k['id'] for k in self.ring_of(worker)])
        before = self.prove()['receipts']
        more = self.seal_and_submit(4, seed=2)
        s.wait_results(sum(len(x['offices']) for x in more) + before)
        s.wait_idle()
        self.assertEqual({r['state'] for r in account.last_results(s).values()}, {'accepted'})

    def ring_of(self, worker):
        return formats.read_statement(account.as_bytes(self.stack.published(worker)[-1]['statement']))['keys']

    def test_nothing_secret_lies_anywhere(self):
        """API keys, the password and what people wrote: not in logs, not in Redis, not in the store, not in /proc."""
        stack, worker, submissions = self.whole_way(password=PASSWORD, host_queue={'user': 'default'},
                                                    redis=('--rdbcompression', 'no'))
        account.check(self, stack, submissions)
        self.assertEqual(len(worker.events('secret_loaded')), 3)
        wait_until(lambda: stack.redis('SAVE') == 'OK', what='snapshot')
        searched = self.everything(worker)
        # What is looked for would be found: names that must be there are.
        self.assertIn(submissions[0]['sid'].encode(), searched['dump.rdb'])
        self.assertIn(b'house.api_key', searched['w1.0.log'])
        self.assertTrue({'store0', 'w1.conf', 'measured.conf', 'cmdline', 'environ'} <= set(searched))
        wanted = [PASSWORD, *stack.api_key.values(), *(x['sealed'][name] for x in submissions for name in
                                                       ('Email', 'Address1') if x['profile'] == 'letter')]
        for text in wanted:
            for form in forms(text):
                self.assertEqual([name for name, data in searched.items() if form in data], [], text)
        for profile in ('witness', 'letter'):
            self.assertIn(stack.ring[profile].public.hex().encode(), searched['dump.rdb'])

    def everything(self, worker):
        """All that the system wrote, and what the kernel tells of the worker."""
        found = {}
        for name in sorted(os.listdir(self.stack.dir)):
            if os.path.isfile(self.stack.path(name)):
                with open(self.stack.path(name), 'rb') as f:
                    found[name] = f.read()
        for name in ('cmdline', 'environ'):
            with open('/proc/%d/%s' % (worker.pid, name), 'rb') as f:
                found[name] = f.read()
        return found


if __name__ == '__main__':
    unittest.main()
