#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bundles, sealed secrets and grants: two implementations against each other and against the committed vectors.
CWC_BUILD is the directory of what was built; SEALED_VECTORS names the program itself."""
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import formats  # noqa: E402
import formats_sealed as sealed  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / os.environ.get('CWC_BUILD', 'build/release')
PROGRAM = os.environ.get('SEALED_VECTORS', str(BUILD / 'tools/sealed_vectors'))
FILE = ROOT / 'tests/vectors/sealed.json'
SPECIFICATION = ROOT / 'queue/FORMATS.md'

NOW = 1800000000
EPHEMERAL = b'\x44' * 32
NONCE = b'\x44' * 24
AUTHORITY_SEED = b'\x99' * 32
DATA_KEY = b'\x88' * 32
RING = [{'profile': profile, 'secret': bytes([0x11 + i]) * 32, 'created': NOW, 'activate': NOW}
        for i, profile in enumerate(('witness', 'letter', 'secret'))]
SECRET = RING[2]['secret']
SIGNERS = [{'kid': 'app-2026', 'key': formats.ed25519_public(b'\x33' * 32), 'not_before': NOW,
            'not_after': NOW + 365 * 86400}]
KMS_KEY = 'arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef'


class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.v = json.loads(FILE.read_text())
        cls.public = formats.x25519_public(SECRET)
        cls.kid = formats.ring_kid(cls.public)
        cls.authority = formats.ed25519_public(AUTHORITY_SEED)

    def hex(self, *path):
        value = self.v
        for name in path:
            value = value[name]
        return bytes.fromhex(value)

    def refuses(self, check, *args):
        self.assertRaises(formats.FormatError, check, *args)

    def flips(self, data, check):
        """check() must refuse the data with any byte changed, and cut off anywhere."""
        for i in range(len(data)):
            self.refuses(check, data[:i] + bytes([data[i] ^ 1]) + data[i + 1:])
            self.refuses(check, data[:i])
        self.refuses(check, data + b'\0')
        check(data)

    # --- the same bytes

    def test_program_prints_the_committed_vectors(self):
        out = subprocess.run([PROGRAM], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        self.assertEqual(out.decode(), FILE.read_text())

    def test_secret(self):
        v = self.v['secret']
        self.assertEqual(sealed.secret_header(self.kid, v['name'], 'sandbox', 'q'), self.hex('secret', 'header'))
        made = sealed.seal_secret(v['text'].encode(), self.public, v['name'], 'sandbox', 'q', ephemeral=EPHEMERAL)
        self.assertEqual(made, self.hex('secret', 'bytes'))

    def test_grant(self):
        self.assertEqual(self.authority, self.hex('grant', 'public_key'))
        grant = sealed.sign_grant(SIGNERS, 3, 'sandbox', 'q', self.v['grant']['authority'], AUTHORITY_SEED)
        self.assertEqual(grant, self.hex('grant', 'bytes'))

    def test_bundle(self):
        header = sealed.bundle_header('sandbox', 'q', KMS_KEY, 2, b'\x66' * 16)
        self.assertEqual(header, self.hex('bundle', 'header'))
        plaintext = sealed.bundle_plaintext(RING, self.hex('grant', 'bytes'))
        self.assertEqual(plaintext, self.hex('bundle', 'plaintext'))
        unmade, user_data = sealed.seal_bundle(header, plaintext, DATA_KEY, NONCE)
        self.assertEqual(unmade, self.hex('bundle', 'unmade'))
        self.assertEqual(user_data, self.hex('bundle', 'hash'))

    # --- opening and verifying

    def test_secret_opens(self):
        ring = {self.kid: SECRET}
        text, header = sealed.open_secret(self.hex('secret', 'bytes'), ring)
        self.assertEqual((text.decode(), header['name']), (self.v['secret']['text'], self.v['secret']['name']))
        self.flips(self.hex('secret', 'bytes'), lambda s: sealed.open_secret(s, ring))
        self.refuses(sealed.open_secret, self.hex('secret', 'bytes'), {})
        self.refuses(sealed.open_secret, self.hex('secret', 'bytes'), {self.kid: RING[1]['secret']})

    def test_secret_of_low_order(self):
        parts = formats.decode(self.hex('secret', 'bytes'))
        for point in bytes(32), b'\1' + bytes(31):
            self.refuses(sealed.open_secret, formats.encode([*parts[:2], point, parts[3]]), {self.kid: SECRET})

    def test_grant_verifies(self):
        kid = self.v['grant']['authority']
        grant = sealed.verify_grant(self.hex('grant', 'bytes'), kid, self.authority)
        self.assertEqual((grant['serial'], grant['signers']), (3, SIGNERS))
        self.flips(self.hex('grant', 'bytes'), lambda g: sealed.verify_grant(g, kid, self.authority))
        self.refuses(sealed.verify_grant, self.hex('grant', 'bytes'), 'authority-2', self.authority)
        self.refuses(sealed.verify_grant, self.hex('grant', 'bytes'), kid, formats.ed25519_public(SECRET))

    def test_grant_is_no_job(self):
        """The same authority and the same payload, signed for something else."""
        payload = formats.verify1(formats.decode(self.hex('grant', 'bytes')), sealed.GRANT_CONTEXT,
                                  {b'authority-1': self.authority})[1]
        other = formats.encode(formats.sign1(formats.JOB_CONTEXT, b'authority-1', payload, AUTHORITY_SEED))
        self.refuses(sealed.verify_grant, other, 'authority-1', self.authority)

    def test_grant_rules(self):
        one = SIGNERS[0]
        for signers in ([], [one] * 2, [one] * 9, [dict(one, kid='')], [dict(one, kid='a b')], [dict(one, key=b'k')],
                        [dict(one, not_after=NOW)], [dict(one, not_before=0)], [dict(one, more=1)]):
            self.refuses(sealed.sign_grant, signers, 3, 'sandbox', 'q', 'authority-1', AUTHORITY_SEED)
        for serial in 0, -1, 2 ** 53, True:
            self.refuses(sealed.sign_grant, SIGNERS, serial, 'sandbox', 'q', 'authority-1', AUTHORITY_SEED)

    def finished(self, document=b'a document'):
        return self.hex('bundle', 'unmade') + formats.encode(document)

    def test_bundle_opens(self):
        header, _, user_data = sealed.read_bundle(self.finished())
        self.assertEqual(user_data, self.hex('bundle', 'hash'))
        self.assertEqual(sealed.bundle_context(header), {'purpose': 'cwc-bundle-v1', 'environment': 'sandbox',
                                                         'queue': 'q', 'version': '2'})
        self.assertEqual(sealed.open_bundle(self.finished(), DATA_KEY), (RING, self.hex('grant', 'bytes')))
        self.refuses(sealed.open_bundle, self.finished(), SECRET)
        self.refuses(sealed.open_bundle, self.finished(b''), DATA_KEY)
        self.refuses(sealed.open_bundle, self.hex('bundle', 'unmade'), DATA_KEY)

    def test_bundle_hash_covers_all_but_the_maker(self):
        user_data = self.hex('bundle', 'hash')

        def check(unmade):
            whole = unmade + formats.encode(b'a document')
            sealed.expect(sealed.read_bundle(whole)[2] == user_data, 'another hash')
            sealed.open_bundle(whole, DATA_KEY)
        self.flips(self.hex('bundle', 'unmade'), check)
        self.assertEqual(sealed.read_bundle(self.finished(b'another'))[2], user_data)

    # --- the page

    def intermediate(self):
        """The values on the way, which the page shows too."""
        point = formats.x25519_public(EPHEMERAL)
        shared = formats.x25519(SECRET, point)
        key, nonce = sealed.secret_key(shared, point, self.public, self.hex('secret', 'header'))
        return {'secret.shared': shared.hex(), 'secret.key': key.hex(), 'secret.nonce': nonce.hex()}

    def test_examples_of_the_specification(self):
        examples = re.findall(r'^```hex ((?:secret|grant|bundle)\.[a-z_]+)\n(.*?)^```$', SPECIFICATION.read_text(),
                              re.M | re.S)
        known = self.intermediate()
        self.assertEqual(len(examples), 9)
        for name, text in examples:
            part, member = name.split('.')
            self.assertEqual(''.join(text.split()), known.get(name) or self.v[part][member], name)


if __name__ == '__main__':
    unittest.main()
