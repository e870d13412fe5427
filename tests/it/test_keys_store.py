#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The store is the parent's, and may be away, broken or malicious: a running worker loses nothing by it and never goes
back; one that starts takes what is genuine and its own, or waits and says why."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from attest_case import ZERO, some_pcr  # noqa: E402
from ring_case import ARN, NO, RingCase, letters, wait_until  # noqa: E402

import formats  # noqa: E402
import formats_sealed  # noqa: E402

SIMULATOR = os.path.join(stacks.BUILD, 'tools', 'nsm_sim')
LARGE = 131073  # STORE_MAX and one


def document(pcrs, user_data, **fields):
    """A genuine one of the simulator, such as an enclave with these measurements would get."""
    args = [x for i, v in pcrs.items() for x in ('--pcr', '%d=%s' % (i, v))]
    for name, value in {'user-data': user_data.hex(), **fields}.items():
        args += ['--' + name] + ([value] if value else [])
    return subprocess.run([SIMULATOR, *args], stdout=subprocess.PIPE, check=True, timeout=30).stdout


class StoreCase(RingCase):
    def begin(self, **options):
        stack = self.start(**options)
        self.store = stack.release.store
        self.worker = stack.start_worker(ready=False)
        stack.first_keys(self.worker)
        self.worker.wait_event('ready')
        stack.ring = stack.newest_keys()
        self.sent, self.source = [], letters.sample(1000, seed=3)
        return stack

    def letters_go(self):
        some = [next(self.source) for _ in range(3)]
        self.sent += some
        self.stack.submit(*some)
        for x in some:
            for office in x['offices']:
                self.stack.wait_status(x['sid'], office, 'accepted')

    def is_ready_with(self, worker, version):
        self.assertEqual(self.stack.ready(worker)[0], 200)
        self.assertEqual(self.stack.keys_of(worker)['bundle'], version)

    def refusals(self, worker):
        return [(e['reason'], e['bundle']) for e in worker.events('bundle_refused')]

    def account(self):
        self.stack.wait_idle()
        last = account.check(self, self.stack, self.sent)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})

    @staticmethod
    def bytes_of(*files):
        found = b''
        for name in files:
            with open(name, 'rb') as f:
                found += f.read()
        return found


class Running(StoreCase):
    def test_away_and_broken(self):
        stack = self.begin()
        good = self.store.read()
        broken = [b'\xff' * 50, good[:-1], good[:100], b'\0', good + good, b'x' * LARGE, b'']
        self.store.place.away()
        self.worker.wait_event('store_failed')
        self.letters_go()
        self.store.place.back()
        for data in broken:
            self.store.write(data)
            self.store.wait_fetched()
            self.is_ready_with(self.worker, 1)
        self.letters_go()
        self.assertEqual(self.refusals(self.worker), [])
        self.starts_without(good, broken)
        # It has not forgotten to look.
        stack.put(bundle=stack.asked(self.worker, 'rotate'))
        for w in (self.worker, self.second):
            stack.wait_bundle(w, 2)
        stack.ring = stack.newest_keys()
        self.letters_go()
        self.account()

    def starts_without(self, good, broken):
        """The same, seen by one that starts: it says what is missing, and is ready as soon as the store is good."""
        stack = self.stack
        self.store.place.away()
        second = self.second = stack.start_worker('w2', ready=False)
        stack.wait_missing(second, 'store')
        self.store.place.back()
        stack.wait_missing(second, 'no_bundle')  # the last that was written is an empty one
        for data in broken[:-1]:
            self.store.write(data)
            stack.wait_missing(second, 'store')
        self.store.write(b'')
        stack.wait_missing(second, 'no_bundle')
        self.assertEqual(second.events('queue_up') + second.events('bundle_loaded'), [])
        self.store.write(good)
        second.wait_event('ready')

    def test_never_back(self):
        """Older bundles, another of the same version, grants and keys of a fork: what is in use stays."""
        stack = self.begin()
        first = self.store.read()
        one = stack.asked(self.worker, 'rotate')
        other = stack.asked(self.worker, 'rotate')
        self.assertNotEqual(self.bytes_of(one), self.bytes_of(other))
        stack.put(bundle=one)
        stack.wait_bundle(self.worker, 2)
        kids = [k['id'] for k in stack.keys_of(self.worker)['keys']]
        # People are stopped by cwcctl already.
        for file, text in ((other, 'another bundle of the same version'), (stack.operator('1.request.bundle'), 'never go back')):
            self.assertIn(text, stack.run('keys', 'store', file, *stack.release.sealed, '--output', self.store.file,
                                          code=NO).err)
        for data, reason in ((self.bytes_of(other), ('version_other', 2)), (first, ('version_old', 1))):
            self.store.write(data)
            wait_until(lambda: reason in self.refusals(self.worker), 20, 'refusal')
            self.store.wait_fetched()
        self.is_ready_with(self.worker, 2)
        self.assertEqual([k['id'] for k in stack.keys_of(self.worker)['keys']], kids)
        self.assertEqual(len(self.refusals(self.worker)), 2)  # each is said once
        # A boot that has nothing yet takes the older one, unless the measured configuration says otherwise.
        second = stack.start_worker('w2', ready=False)
        stack.wait_bundle(second, 1)
        self.assertEqual(second.stop(), 0)
        stack.measured_keys['version_min'] = '2'
        third = stack.start_worker('w3', ready=False)
        wait_until(lambda: self.refusals(third) == [('version_min', 1)], 20, 'refusal')
        stack.wait_missing(third, 'no_bundle')
        self.store.write(self.bytes_of(one, *stack.release.sealed))
        third.wait_event('ready')
        self.is_ready_with(third, 2)
        stack.ring = stack.newest_keys()
        self.letters_go()
        self.account()


class Foreign(StoreCase):
    def bundle(self, pcrs=None, hashed=None, fields=None, **header):
        """A bundle by somebody who has KMS wrap nothing for it: what a reader asks of it before KMS."""
        release = self.stack.release
        raw = formats_sealed.bundle_header(**{'environment': 'sandbox', 'queue': 'q', 'kms_key': release.arn, 'version': 9,
                                              'wrapped': b'w' * 184, **header})
        unmade, digest = formats_sealed.seal_bundle(raw, b'{}', bytes(32), bytes(24))
        return unmade + formats.encode(document(pcrs or release.pcrs, hashed or digest, **(fields or {})))

    def test_bundles(self):
        stack = self.begin()
        pcrs = stack.release.pcrs
        one_else = {**pcrs, 2: some_pcr('other')}
        foreign = [
            ('environment', self.bundle(environment='production')), ('queue', self.bundle(queue='other')),
            ('kms_key', self.bundle(kms_key=ARN % 77)), ('maker', self.bundle(one_else)),
            ('maker', self.bundle({**pcrs, 0: some_pcr('other')})), ('maker', self.bundle({i: ZERO for i in range(3)})),
            ('maker', self.bundle(hashed=bytes(32))), ('maker', self.bundle(fields={'nonce': '00' * 16})),
            ('form', self.bundle(version=0)),
        ]
        asked = len(stack.kms.records())
        second = stack.start_worker('w2')
        for worker in (self.worker, second):
            self.assertEqual(self.refusals(worker), [])
        third_of = []
        for n, (reason, data) in enumerate(foreign, 1):
            self.store.write(data + self.bytes_of(*stack.release.sealed))
            for worker in (self.worker, second):
                wait_until(lambda: len(self.refusals(worker)) >= n, 20, 'refusal %d, %s' % (n, reason))
                self.assertEqual(self.refusals(worker)[-1][0], reason, n)
            third_of.append(reason)
        for worker in (self.worker, second):
            self.is_ready_with(worker, 1)
        self.assertEqual(len(stack.kms.records()), asked + 1)  # of the second's start; never for these
        # The measurement is ours, and so the maker; KMS did not wrap it. Nobody makes that, and nothing comes of it.
        self.store.write(self.bundle() + self.bytes_of(*stack.release.sealed))
        for worker in (self.worker, second):
            worker.wait_event('kms_failed')
            self.is_ready_with(worker, 1)
        self.letters_go()
        self.account()

    def secret(self, name='house.api_key', environment='sandbox', queue='q', public=None):
        return formats_sealed.seal_secret(b'a wrong key of somebody', public or self.public, name, environment, queue)

    def renamed(self, item, name):
        """The item of another name, with this one's in its header."""
        domain, header, point, sealed = formats.decode(item)
        header = formats.encode({**formats.decode(header), 'name': name})
        return formats.encode([domain, header, point, sealed])

    def test_secrets(self):
        """Of another environment or queue, to another key, with names that were swapped, or that nobody knows: none is
        taken, and none of it shows to a worker that runs."""
        stack = self.begin()
        keys = formats.read_statement(account.as_bytes(stack.published(self.worker)[-1]['statement']))['keys']
        self.public = next(k['public_key'] for k in keys if k['profile'] == 'secret')
        letter_key = next(k['public_key'] for k in keys if k['profile'] == 'letter')
        house, senate = (self.bytes_of(file) for file in stack.release.sealed)
        bundle = self.bytes_of(stack.release.bundle)
        bad = [('environment', self.secret(environment='production')), ('queue', self.secret(queue='other')),
               ('open', self.secret(public=formats.x25519_public(formats.x25519_secret()))),
               ('open', self.secret(public=letter_key)), ('open', self.renamed(senate, 'house.api_key')),
               ('open', self.renamed(house, 'senate.api_key')), ('name', self.renamed(house, 'other.api_key'))]
        self.store.write(bundle + b''.join(item for _, item in bad))
        second = stack.start_worker('w2', ready=False)
        stack.wait_missing(second, 'no_secrets')
        wait_until(lambda: len(second.events('secret_refused')) == len(bad), 20, 'refused secrets')
        self.store.wait_fetched()
        self.assertEqual([e['reason'] for e in second.events('secret_refused')], [reason for reason, _ in bad])
        self.assertEqual(second.events('secret_loaded') + second.events('queue_up'), [])
        self.letters_go()
        self.assertEqual(self.worker.events('secret_refused'), [])
        # Beside a bad one a good one is taken.
        self.store.write(bundle + bad[0][1] + senate + house)
        second.wait_event('ready')
        self.assertEqual(self.worker.stop(), 0)
        self.letters_go()
        self.assertEqual(stack.sim.count(key_ok=False), 0)
        self.account()


if __name__ == '__main__':
    unittest.main()
