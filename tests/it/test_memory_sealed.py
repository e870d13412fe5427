#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The memory of workers with a (simulated) security module, read as test_memory.py does: letters that are over, keys that
were made in the enclave, keys and secrets that came sealed, and what unsealed them.

What the fleet alone knows, the data keys of its bundles and with them the ring, is asked of the simulated KMS: a test can
look for nothing that it does not know."""
import base64
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import formats_sealed  # noqa: E402
import stack as stacks  # noqa: E402
import test_secrets  # noqa: E402
from ring_case import BUILT, PASSWORD, RingStack  # noqa: E402
from stack import letters, wait_until  # noqa: E402
from test_memory import WHOLE, Keys, need_access, places  # noqa: E402


class Case(unittest.TestCase):
    def batch(self, stack, prefix):
        """Letters of both profiles that are taken, refused and cannot be read: (markers, envelope keys)."""
        markers, some = test_secrets.Markers(), []
        offices = iter(letters.offices.house_offices())
        with Keys() as keys:
            for profile in (markers.letter, markers.witness):
                for end in ('taken', 'refused', 'unread', 'unopened'):
                    s = profile('%s-%s-%s' % (prefix, profile.__name__, end), next(offices))
                    if end == 'refused':
                        stack.sim.fault(action='status', status=422, echo=True, office=s['offices'][0])
                    elif end == 'unread':
                        s['spoil'] = {'plaintext': '{"' + markers.word(end) * 3}
                    elif end == 'unopened':
                        s['spoil'] = {'ciphertext': 'flip'}
                    stack.submit(s)
                    some.append(s)
        wait_until(lambda: {(s['sid'], s['offices'][0]) for s in some} <= set(account.last_results(stack)), 30, 'results')
        stack.wait_idle()
        stack.sim.clear_faults()
        return markers, keys.of

    def nothing_of(self, pid, markers, keys):
        """As they were written: how else they might look is test_memory.py's, and nothing else here."""
        wanted = {**{value.encode(): what for value, what in markers.of.items()}, **keys}
        self.assertGreater(len(markers.of), 60)
        self.assertGreater(len(keys), 15)
        self.assertEqual(places(pid, wanted), {what: [] for what in wanted.values()})

    def only_guarded(self, pid, what, value, rights):
        """Where it lies; also not as text, where it is bytes."""
        text = value.hex().encode()
        found = places(pid, {value: what, text: 'hex', text.upper(): 'hex', base64.b64encode(value).rstrip(b'='): 'base64'})
        self.assertTrue(found[what], '%s: not found at all' % what)
        self.assertEqual([m for m in found[what] if not m.guarded or m.rights != rights], [], what)
        self.assertEqual((found['hex'], found['base64']), ([], []), what)
        return found[what]


@unittest.skipUnless(BUILT, 'there is no development build')
class AtBoot(Case):
    def test_a_batch(self):
        stack = stacks.Stack(key_source='boot', device='simulated', status=True, password=PASSWORD)
        self.addCleanup(stack.close)
        stack.start()
        worker = stack.start_worker()
        need_access(worker.pid)
        self.nothing_of(worker.pid, *self.batch(stack, 'boot'))
        self.only_guarded(worker.pid, 'API key', stack.sim.key.encode(), 'rw-p')
        self.only_guarded(worker.pid, 'password of Redis', PASSWORD.encode(), 'rw-p')


@unittest.skipUnless(BUILT, 'there is no development build')
class Sealed(Case):
    """One worker makes a ring, then a rotation of it, and unseals both; another one unseals what it finds."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stack = RingStack(password=PASSWORD, host_queue={'user': 'default'}, measured_keys={'overlap': '1h'})
        cls.addClassCleanup(stack.close)
        stack.start()
        maker = stack.start_worker('maker', ready=False)
        need_access(maker.pid)
        stack.first_keys(maker)
        maker.wait_event('ready')
        first = stack.release.bundle
        stack.put(bundle=stack.asked(maker, 'rotate'))
        stack.wait_bundle(maker, 2)
        reader = stack.start_worker('reader')
        wait_until(lambda: stack.published(reader), what='published keys')
        stack.ring = stack.newest_keys()
        cls.workers = (maker, reader)
        cls.data_keys, cls.rings = zip(*(cls.unsealed(path) for path in (first, stack.release.bundle)))

    @classmethod
    def unsealed(cls, path):
        """(data key, keys of the ring) of a bundle."""
        with open(path, 'rb') as f:
            bundle = f.read()
        header = formats_sealed.read_bundle(bundle)[0]
        answer = cls.stack.kms.cmd('unwrap', key=cls.stack.release.arn, blob=base64.b64encode(header['wrapped']).decode(),
                                   context=formats_sealed.bundle_context(header))
        key = bytes.fromhex(answer['plaintext'])
        return key, formats_sealed.open_bundle(bundle, key)[0]

    def each(self):
        for worker in self.workers:
            with self.subTest(worker.name):
                yield worker.pid

    def test_letters(self):
        markers, keys = self.batch(self.stack, 'sealed')
        for pid in self.each():
            self.nothing_of(pid, markers, keys)

    def test_ring(self):
        """One copy of each key, out of reach of the process itself: of those that were made here and of those that came."""
        self.assertEqual([len(ring) for ring in self.rings], [3, 5])
        self.assertEqual(len({k['secret'] for ring in self.rings for k in ring}), 5)
        for pid in self.each():
            for k in self.rings[1]:
                found = self.only_guarded(pid, 'ring key ' + k['profile'], k['secret'][WHOLE], '---p')
                self.assertEqual(len(found), 1)

    def test_data_keys(self):
        """Gone once they have done their work, at who made the bundle and who opened it."""
        for pid in self.each():
            wanted = {form: 'data key' for key in self.data_keys
                      for form in (key, key.hex().encode(), base64.b64encode(key).rstrip(b'='))}
            self.assertEqual(places(pid, wanted), {'data key': []})

    def test_what_came_sealed(self):
        for pid in self.each():
            for chamber, key in self.stack.api_key.items():
                self.only_guarded(pid, 'API key of the ' + chamber, key.encode(), 'rw-p')
            self.only_guarded(pid, 'password of Redis', PASSWORD.encode(), 'rw-p')

    def test_credentials(self):
        """Those for KMS are kept for the next call; the parent knows them anyway."""
        given = json.loads(self.stack.kms.cmd('credentials')['json'])
        for pid in self.each():
            for name in ('SecretAccessKey', 'Token'):
                found = places(pid, {given[name].encode(): name})[name]
                self.assertEqual([m for m in found if not m.guarded], [], name)


if __name__ == '__main__':
    unittest.main()
