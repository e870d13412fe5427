#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl keys status: signers are those of the grant that the worker's document vouches for, and nobody else's."""
import base64
import hashlib
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CTL, NO, OK, USAGE  # noqa: E402
from keys_case import AUTHORITY, DAY, DEVELOPMENT, SIMULATOR, KeysCase  # noqa: E402

import formats  # noqa: E402

BUILT = os.path.exists(SIMULATOR) and os.path.exists(DEVELOPMENT)


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Granted(KeysCase):
    def setUp(self):
        super().setUp()
        now = int(time.time())
        self.signer = ('app-2027', now - DAY, now + 90 * DAY)
        self.other = ('app-evil', now - DAY, now + 90 * DAY)
        self.args = ('keys', 'status', *self.status, '--manifest', self.releases)

    def hides(self, why, *args):
        """The keys are shown, and no signer, in either form."""
        for form in ((), ('--json',)):
            r = self.dev(*self.args, *args, *form, code=NO)
            self.assertRegex(r.err, 'the signers are not shown: [^\n]*' + why)
            self.assertIn(self.keys[0]['id'], r.out)
            for kid in (self.signer[0], self.other[0], 'no signer'):
                self.assertNotIn(kid, r.out + r.err)
        self.assertNotIn('grant', r.json)
        return r

    def test_proved(self):
        self.granted(self.signer)
        r = self.dev(*self.args, '--json')
        grant = r.json['grant']
        self.assertEqual((grant['serial'], grant['authority'], grant['verified']), (4, 'authority-1', None))
        self.assertEqual(grant['sha256'], self.members['grant'].hex())
        self.assertEqual([(s['kid'], s['public_key']) for s in grant['signers']],
                         [('app-2027', formats.ed25519_public(AUTHORITY).hex())])
        self.assertNotIn('signers', r.json['unproved'])
        out = self.dev(*self.args).out
        self.assertLess(out.index('app-2027'), out.index("The worker's word"))
        # What /keys says of them beside the grant counts for nothing.
        self.extra['grant'].update(signers=[{'kid': 'app-evil'}], serial=9, sha256='00' * 32)
        self.assertEqual(self.dev(*self.args, '--json').json['grant'], grant)

    def test_nobody(self):
        for grant in ({'grant': None}, {}):
            self.extra = {'source': 'boot', 'missing': None, **grant}
            self.assertIsNone(self.dev(*self.args, '--json').json['grant'])
            self.assertIn('no signer is granted', self.dev(*self.args).out)
        self.dev(*self.args, '--authority-key', '99' * 32)

    def test_another_grant(self):
        """Of a parent that stands between, or of a bundle that the statement is not about."""
        self.granted(self.signer)
        self.granted(self.other, serial=5, stated=False)
        self.hides('another grant')
        self.extra['bundle'] = 3
        self.assertNotIn('try again', self.hides('another grant').err)
        self.extra['bundle'] = 4
        self.hides('another grant[^\n]*just taken another bundle: try again in some seconds')
        del self.members['grant']
        self.hides('names a grant, and its statement has none')

    def test_none_where_there_should_be_one(self):
        self.granted(self.signer)
        good = self.extra['grant']
        for bad in (None, [], 7, {}, {**good, 'bytes': None}, {**good, 'bytes': ''}, {**good, 'bytes': '*'}, {**good, 'bytes': 7},
                    {**good, 'bytes': base64.b64encode(bytes(4097)).decode()}):
            self.extra['grant'] = bad
            self.hides('does not give the grant')
        flipped = bytearray(base64.b64decode(good['bytes']))
        flipped[-1] ^= 1
        self.extra['grant'] = {**good, 'bytes': base64.b64encode(flipped).decode()}
        self.hides('another grant')

    def test_no_grant_at_all(self):
        """An enclave would not state it; what it is, nobody can say."""
        self.members['grant'] = hashlib.sha256(b'no grant').digest()
        self.extra['grant'] = {'bytes': base64.b64encode(b'no grant').decode()}
        self.hides('cannot be read')

    def test_authority(self):
        self.granted(self.signer)
        key = formats.ed25519_public(AUTHORITY).hex()
        self.assertIs(self.dev(*self.args, '--json', '--authority-key', key).json['grant']['verified'], True)
        self.assertIn('app-2027', self.dev(*self.args, '--authority-key', key.upper()).out)
        self.hides('has not signed', '--authority-key', formats.ed25519_public(bytes(32)).hex())
        for bad in ('', 'x' * 64, key[:-1], key + '0'):
            self.refuses(USAGE, '--authority-key must be 64 hex digits', *self.args, '--authority-key', bad)

    def test_unattested(self):
        """The two must agree there, too."""
        self.no_device()
        self.granted(self.signer)
        args = ('keys', 'status', *self.status, '--unattested')
        self.assertIn('app-2027', self.dev(*args, code=OK).out)
        self.granted(self.other, stated=False)
        self.assertNotIn('app-evil', self.dev(*args, code=NO).out)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
