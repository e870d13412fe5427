#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The formats, two implementations against each other and against the committed vectors.
CWC_BUILD is the directory of what was built; FORMATS_VECTORS names the program itself."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import formats  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / os.environ.get('CWC_BUILD', 'build/release')
PROGRAM = os.environ.get('FORMATS_VECTORS', str(BUILD / 'tools/formats_vectors'))
FILE = ROOT / 'tests/vectors/formats.json'
SPECIFICATION = ROOT / 'queue/FORMATS.md'

FIELDS = {
    'Subject': 'Keep the night train',
    'CampaignId': 'night-train-2027',
    'LibraryOfCongressTopics': ['Transportation and Public Works'],
}
LETTER = {
    'Prefix': 'Ms.',
    'FirstName': 'Zoë',
    'LastName': 'Example',
    'Address1': '1 Example St',
    'City': 'Springfield',
    'StateAbbreviation': 'IL',
    'Zip': '62701',
    'Phone': '217-555-0100',
    'Email': 'zoe@example.invalid',
    'ConstituentMessage': 'Please keep the night train.\nIt is how we visit our family.',
    'Bills': [{'BillCongress': '119', 'BillTypeAbbreviation': 'hr', 'BillNumber': '1234'}],
}
OFFICES = ['HIL13', 'SIL02']
DAY = 86400
RECEIPT = {'environment': 'sandbox', 'queue': 'q', 'sid': 'letter_0001', 'office': 'HIL13', 'generation': 0}


class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.v = json.loads(FILE.read_text())
        cls.now = cls.v['now']
        cls.keys = {name: value if name.endswith('kid') else bytes.fromhex(value)
                    for name, value in cls.v['keys'].items()}

    def hex(self, *path):
        value = self.v
        for name in path:
            value = value[name]
        return bytes.fromhex(value)

    def flips(self, data, check):
        """check() must refuse the data with any byte changed."""
        for i in range(len(data)):
            spoiled = bytearray(data)
            spoiled[i] ^= 1
            with self.assertRaises(formats.FormatError):
                check(bytes(spoiled))

    # --- the worker's side

    def test_program_prints_the_committed_vectors(self):
        out = subprocess.run([PROGRAM], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        self.assertEqual(out.decode(), FILE.read_text())

    # --- the other side: the same bytes

    def test_public_keys(self):
        k = self.keys
        self.assertEqual(formats.ed25519_public(k['app_seed']), k['app_public'])
        self.assertEqual(formats.x25519_public(k['ring_secret']), k['ring_public'])
        self.assertEqual(formats.ring_kid(k['ring_public']), k['ring_kid'])
        self.assertEqual(formats.receipt_kid(self.hex('receipt', 'public_key')), self.v['receipt']['kid'])

    def test_letter(self):
        k = self.keys
        self.assertEqual(formats.encode(FIELDS), self.hex('letter', 'fields'))
        plaintext = formats.letter_plaintext(LETTER)
        self.assertEqual(plaintext, self.hex('letter', 'plaintext'))
        expires = self.now + 86400
        envelope = formats.seal_letter(plaintext, k['ring_public'], 'letter_0001', OFFICES, expires,
                                       ephemeral=k['ephemeral_secret'])
        self.assertEqual(envelope, self.hex('letter', 'envelope'))
        job = formats.sign_job(envelope, k['app_kid'], k['app_seed'], sid='letter_0001', offices=OFFICES,
                               expires=expires, not_before=self.now, profile='letter', fields=FIELDS)
        self.assertEqual(job, self.hex('letter', 'job'))

    def test_witness(self):
        k, w = self.keys, self.v['witness']
        envelope = formats.seal_witness(w['plaintext'].encode(), k['ring_public'], context=w['context'],
                                        ephemeral=k['ephemeral_secret'], nonce=k['nonce'])
        self.assertEqual(envelope.decode(), w['envelope'])
        job = formats.sign_job(envelope, k['app_kid'], k['app_seed'], sid='witness_0001', offices=OFFICES,
                               expires=self.now + 86400, generation=1, priority=1, profile='witness', fields=FIELDS,
                               witness={'nullifier': '0x04', 'actionDomain': '0x05'})
        self.assertEqual(job, self.hex('witness', 'job'))

    def test_receipts(self):
        seed = b'\x44' * 32
        self.assertEqual(formats.ed25519_public(seed), self.hex('receipt', 'public_key'))
        sent = dict(RECEIPT, outcome='accepted', delivery_id='00112233445566778899aabbccddeeff', attempt=2,
                    http_status=200, begun_ms=self.now * 1000 + 123, ended_ms=self.now * 1000 + 456,
                    document=b'\x55' * 32)
        self.assertEqual(formats.sign_receipt(sent, seed), self.hex('receipt', 'sent'))
        never = dict(RECEIPT, outcome='expired', attempt=0)
        self.assertEqual(formats.sign_receipt(never, seed), self.hex('receipt', 'never_sent'))

    def ring(self):
        """The ring of the statement: as a rotation at `now` leaves it."""
        now, since = self.now, self.now - 30 * DAY
        old = {'created': since, 'activate': since, 'retire': now + 3600, 'destroy': now + 3600 + 31 * DAY}
        new = {'created': now, 'activate': now + 3600}
        return [
            {'profile': 'witness', 'secret': b'\x11' * 32, 'contexts': ['commons-witness-encryption-v1'], **old},
            {'profile': 'letter', 'secret': b'\x12' * 32, **old},
            {'profile': 'secret', 'secret': b'\x13' * 32, 'created': since, 'activate': since},
            {'profile': 'witness', 'secret': b'\x14' * 32, **new},
            {'profile': 'letter', 'secret': b'\x15' * 32, **new},
        ]

    @staticmethod
    def grant():
        """The example of section 11."""
        return bytes.fromhex(json.loads((ROOT / 'tests/vectors/sealed.json').read_text())['grant']['bytes'])

    def test_statement(self):
        ring = self.ring()
        self.assertEqual(formats.encode(ring), self.hex('statement', 'ring'))
        keys = formats.public_keys(ring, [formats.WITNESS_CONTEXT])
        self.assertEqual(formats.encode(keys), self.hex('statement', 'keys'))
        statement = formats.write_statement(keys, self.hex('receipt', 'public_key'), environment='sandbox', queue='q',
                                            release='1.0.0', bundle=2, grant=self.grant())
        self.assertEqual(statement, self.hex('statement', 'bytes'))
        self.assertEqual(formats.statement_hash(statement), self.hex('statement', 'hash'))

    # --- the other side: opening and verifying

    def test_letter_opens(self):
        plaintext, header = formats.open_letter(self.hex('letter', 'envelope'), self.keys['ring_secret'])
        self.assertEqual(formats.decode(plaintext), LETTER)
        self.assertEqual(header, {'kid': self.keys['ring_kid'], 'sid': 'letter_0001', 'offices': OFFICES,
                                  'expires': self.now + 86400})
        self.flips(self.hex('letter', 'envelope'), lambda e: formats.open_letter(e, self.keys['ring_secret']))

    def test_witness_opens(self):
        w = self.v['witness']
        self.assertEqual(formats.open_witness(w['envelope'], self.keys['ring_secret']).decode(), w['plaintext'])
        with self.assertRaises(formats.FormatError):
            formats.open_witness(w['envelope'], self.keys['ring_secret'], ['commons-witness-encryption-v1'])

    def test_published_witness_vectors(self):
        all_ = json.loads((ROOT / 'tests/vectors/witness-vectors.json').read_text())
        secret = bytes.fromhex(all_['recipient_secret_hex'])
        for v in all_['vectors']:
            envelope = json.dumps({'ciphertext': v['ciphertext_b64'], 'nonce': all_['nonce_b64'],
                                   'ephemeralPublicKey': all_['ephemeralPublicKey'], 'teeKeyId': all_['keyId']})
            self.assertEqual(formats.open_witness(envelope, secret, [v['context']]).decode(), all_['plaintext_utf8'])

    def test_jobs_verify(self):
        keys = {self.keys['app_kid']: self.keys['app_public']}
        for profile in 'letter', 'witness':
            job = self.hex(profile, 'job')
            payload, envelope = formats.verify_job(job, keys)
            self.assertEqual(payload['profile'], profile)
            self.assertEqual(payload['fields'], FIELDS)
            self.assertEqual(payload['offices'], OFFICES)
            expected = self.v[profile]['envelope']
            self.assertEqual(envelope, bytes.fromhex(expected) if profile == 'letter' else expected.encode())
        self.flips(self.hex('letter', 'job'), lambda j: formats.verify_job(j, keys))
        with self.assertRaises(formats.FormatError):
            formats.verify_job(self.hex('letter', 'job'), {'other': self.keys['app_public']})

    def test_receipts_verify(self):
        public = self.hex('receipt', 'public_key')
        sent = formats.verify_receipt(self.hex('receipt', 'sent'), public)
        self.assertEqual((sent['outcome'], sent['attempt'], sent['document']), ('accepted', 2, b'\x55' * 32))
        never = formats.verify_receipt(self.hex('receipt', 'never_sent'), public)
        self.assertEqual(set(never) & formats.RECEIPT_OPTIONAL, set())
        self.flips(self.hex('receipt', 'sent'), lambda r: formats.verify_receipt(r, public))
        with self.assertRaises(formats.FormatError):
            formats.verify_receipt(self.hex('receipt', 'sent'), self.keys['app_public'])

    def test_statement_reads(self):
        s = formats.read_statement(self.hex('statement', 'bytes'))
        self.assertEqual((s['environment'], s['queue'], s['release'], s['bundle']), ('sandbox', 'q', '1.0.0', 2))
        self.assertEqual(s['grant'], hashlib.sha256(self.grant()).digest())
        self.assertEqual(s['receipt_key_id'], self.v['receipt']['kid'])
        less = {name: value for name, value in s.items() if name not in ('bundle', 'grant')}
        self.assertEqual(formats.read_statement(formats.encode(less)), less)
        self.assertEqual(s['keys'][0]['id'], self.keys['ring_kid'])
        self.assertEqual([k.get('contexts') for k in s['keys'] if k['profile'] != 'witness'], [None] * 3)
        self.assertEqual(formats.read_ring(self.hex('statement', 'ring')), self.ring())
        active = self.now + 3600
        for at, expected in ((self.now, 'active active active pending pending'),
                             (active - 1, 'active active active pending pending'),
                             (active, 'decrypt-only decrypt-only active active active'),
                             (active + 31 * DAY, 'destroyed destroyed active active active')):
            self.assertEqual([formats.key_state(k, at) for k in s['keys']], expected.split())

    def test_statement_refuses(self):
        good = formats.decode(self.hex('statement', 'bytes'))
        first = good['keys'][0]
        for change in ({'v': 2}, {'grant': b''}, {'grant': bytes(31)}, {'grant': 'x' * 32}, {'grant': None}, {'queue': ''}, {'bundle': 0}, {'receipt_key_id': 'rcp-0000000000000000'}, {'more': 1},
                       {'keys': [first, first]}, {'keys': [dict(first, retire=first['activate'] - 1)]},
                       {'keys': [dict(first, id='wek-0000000000000000')]}, {'keys': [dict(first, profile='letter')]},
                       {'keys': [dict(first, contexts=[])]}, {'keys': [dict(first, secret=bytes(32))]}):
            self.assertRaises(formats.FormatError, formats.read_statement, formats.encode({**good, **change}))
        self.assertRaises(formats.FormatError, formats.read_ring, self.hex('statement', 'keys'))

    def test_purposes_do_not_mix(self):
        """The same key, kid and payload under another context: no job, no receipt."""
        seed = self.keys['app_seed']
        kid = formats.receipt_kid(self.keys['app_public'])
        payload = formats.encode(dict(RECEIPT, v=1, outcome='accepted', attempt=1))
        for context, good in ((formats.RECEIPT_CONTEXT, True), (formats.JOB_CONTEXT, False)):
            receipt = formats.encode(formats.sign1(context, kid.encode(), payload, seed))
            if good:
                formats.verify_receipt(receipt, self.keys['app_public'])
            else:
                self.assertRaises(formats.FormatError, formats.verify_receipt, receipt, self.keys['app_public'])

    # --- the primitive that is written out, and the page

    def test_hchacha20(self):
        """draft-irtf-cfrg-xchacha-03 section 2.2.1"""
        key = bytes(range(32))
        nonce = bytes.fromhex('000000090000004a0000000031415927')
        self.assertEqual(formats.hchacha20(key, nonce).hex(),
                         '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc')

    def intermediate(self):
        """The values on the way, which the page shows too."""
        k = self.keys
        shared = formats.x25519(k['ring_secret'], formats.x25519_public(k['ephemeral_secret']))
        protected = formats.letter_protected(k['ring_kid'], 'letter_0001', OFFICES, self.now + 86400)
        key, nonce = formats.letter_key(shared, formats.x25519_public(k['ephemeral_secret']), k['ring_public'])
        return {
            'shared': shared.hex(),
            'letter.protected': protected.hex(),
            'letter.aad': formats.letter_aad(protected).hex(),
            'letter.key': key.hex(),
            'letter.nonce': nonce.hex(),
            'witness.key': formats.witness_key(shared, self.v['witness']['context']).hex(),
        }

    def test_examples_of_the_specification(self):
        examples = re.findall(r'^```hex ([a-z_.]+)\n(.*?)^```$', SPECIFICATION.read_text(), re.M | re.S)
        known = self.intermediate()
        self.assertGreaterEqual(len(examples), 10)
        for name, text in examples:
            if name.split('.')[0] in ('secret', 'grant', 'bundle'):
                continue  # test_formats_sealed.py
            expected = known.get(name)
            if expected is None:
                expected = self.v
                for part in name.split('.'):
                    expected = expected[part]
            self.assertEqual(''.join(text.split()), ''.join(expected.split()), name)

    def test_codes_of_the_specification(self):
        """Every code of a job, an envelope and a letter stands in the page."""
        names = set(re.findall(r'"((?:job|envelope|witness|letter)_[a-z_]+)"', (ROOT / 'worker/base/err.h').read_text()))
        self.assertGreater(len(names), 30)
        page = SPECIFICATION.read_text()
        self.assertEqual([n for n in sorted(names) if f'`{n}`' not in page], [])


if __name__ == '__main__':
    unittest.main()
