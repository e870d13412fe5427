#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A data key from the simulated KMS into the program and back: libcurl's signature, TLS, the sealed answer, and all
that may go wrong on the way.

CWC_BUILD names the directory of the build; KMS_DRIVER another program than its tools/kms_driver. Attestation documents
are believed here (tests/sim/attest_unverified.py), unless KMS_NSM is a program that makes them (tools/nsm_sim) and
KMS_VERIFIER a command that verifies the file {} (cwcctl attest verify --chain-only --json {}, of a development build)."""
import http.client
import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'sim'))
import attest_unverified  # noqa: E402
import kms_ctl  # noqa: E402

BUILD = os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release'))
DRIVER = os.environ.get('KMS_DRIVER', os.path.join(BUILD, 'tools', 'kms_driver'))
NSM = os.environ.get('KMS_NSM')
VERIFIER = os.environ.get('KMS_VERIFIER', kms_ctl.UNVERIFIED)
IMAGE, OTHER, ZEROS = bytes(range(48)), bytes(range(1, 49)), bytes(48)
OK = {'curl': 0, 'status': 200, 'fault': 'ok'}
NO_KEY = '00' * 32
TIMEOUT_S = 30
PURPOSE = 'ring key'
# libcurl: 6 cannot resolve, 7 cannot connect, 18 partial, 23 too large, 28 timeout, 35 and 60 TLS, 52 empty
CURL_PARTIAL, CURL_TOO_LARGE, CURL_CERTIFICATE = 18, 23, 60

FAULTS = {
    'access_denied': (400, 'kms_denied'),
    'throttle': (400, 'kms_throttled'),
    'internal': (500, 'kms_unavailable'),
    'unavailable': (503, 'kms_unavailable'),
    'error_200': (200, 'kms_syntax'),
    'no_recipient': (200, 'kms_no_recipient'),
    'plaintext': (200, 'kms_plaintext'),
    'other_key': (200, 'kms_other_key'),
    'bad_base64': (200, 'kms_syntax'),
    'duplicate': (200, 'kms_syntax'),
    'wrong_length': (200, 'kms_length'),
    'other_recipient': (200, 'kms_cms'),
    'oversized_sealed': (200, 'kms_syntax'),
}


def document(public_key, pcr0, forged):
    """What the security module would hand out."""
    if NSM is None:
        return attest_unverified.make({0: pcr0}, public_key, attest_unverified.REFUSED if forged else None)
    done = subprocess.run([NSM, '--public-key', public_key.hex(), '--pcr', '0=' + pcr0.hex()], check=True,
                          stdout=subprocess.PIPE, timeout=TIMEOUT_S)
    return done.stdout[:-1] + bytes((done.stdout[-1] ^ forged,))


class Kms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = kms_ctl.KmsSim(kms_ctl.policy(IMAGE.hex(), context_purpose=[PURPOSE, 'other']),
                                 verifier=VERIFIER)
        cls.addClassCleanup(cls.sim.close)

    def setUp(self):
        self.sim.reset()

    def imds(self, method, path, headers):
        host, _, port = self.sim.ready['imds'].partition(':')[2].rpartition(':')
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def credentials(self):
        token = self.imds('PUT', '/latest/api/token', {'X-aws-ec2-metadata-token-ttl-seconds': '60'})[1].decode()
        headers = {'X-aws-ec2-metadata-token': token}
        role = self.imds('GET', '/latest/meta-data/iam/security-credentials/', headers)[1].decode()
        return self.imds('GET', '/latest/meta-data/iam/security-credentials/' + role, headers)[1]

    def call(self, operation='generate', blob='', pcr0=IMAGE, purpose=PURPOSE, arn=None, host=None, credentials=None,
             forged=False):
        """The driver's report, or its complaint."""
        ready = self.sim.ready
        process = subprocess.Popen([DRIVER, operation, host or ready['host'], ready['kms'].partition(':')[2],
                                    ready['ca'], arn or ready['keys'][0], purpose, blob], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        public_key = bytes.fromhex(process.stdout.readline().decode())
        entered = document(public_key, pcr0, forged).hex().encode() + b'\n' + (credentials or self.credentials())
        out, complaint = process.communicate(entered, TIMEOUT_S)
        return json.loads(out) if process.returncode == 0 else complaint.decode()

    def refused(self, report, status, fault):
        self.assertEqual({name: report[name] for name in OK}, {'curl': 0, 'status': status, 'fault': fault})
        self.assertEqual((report['key'], report['blob']), (NO_KEY, ''))

    def test_round_trip_in_every_shape(self):
        seen = set()
        for shape in ('A', 'A16', 'A7', 'B'):
            self.sim.cmd('shape', shape=shape)
            made = self.call()
            self.assertEqual({name: made[name] for name in OK}, OK, made)
            opened = self.call('decrypt', made['blob'])
            self.assertEqual({name: opened[name] for name in OK}, OK, opened)
            self.assertEqual(opened['key'], made['key'])
            self.assertEqual(opened['blob'], '')
            seen.add(made['key'])
        self.assertEqual(len(seen), 4)
        self.assertEqual(self.sim.stats()['types'], {'ok': 8})
        self.assertEqual({record['context']['purpose'] for record in self.sim.records()}, {PURPOSE})

    def test_faults(self):
        for action, (status, fault) in FAULTS.items():
            with self.subTest(action):
                self.sim.fault(action=action, count=1)
                self.refused(self.call(), status, fault)
        self.assertEqual(self.call()['fault'], 'ok')

    def test_faults_of_the_wire(self):
        self.sim.fault(action='cut', bytes=100, count=1)
        self.assertEqual(self.call()['curl'], CURL_PARTIAL)
        self.sim.fault(action='oversized', count=1)
        report = self.call()
        self.assertEqual((report['curl'], report['key']), (CURL_TOO_LARGE, NO_KEY))
        self.sim.fault(action='slow', ms=200, count=1)
        self.assertEqual(self.call()['fault'], 'ok')

    def test_other_images(self):
        self.refused(self.call(pcr0=OTHER), 400, 'kms_denied')
        # A verifier refuses debug mode by itself; without one the policy does.
        self.refused(self.call(pcr0=ZEROS), 400, 'kms_denied' if NSM is None else 'kms_refused')
        self.refused(self.call(forged=True), 400, 'kms_refused')

    def test_contexts(self):
        """A wrapped key does not open for another purpose, nor under a context that the policy does not name."""
        blob = self.call()['blob']
        self.refused(self.call('decrypt', blob, purpose='other'), 400, 'kms_refused')
        self.refused(self.call('decrypt', blob, purpose='third'), 400, 'kms_denied')
        self.refused(self.call('decrypt', blob[:-2] + '%02x' % (int(blob[-2:], 16) ^ 1)), 400, 'kms_refused')
        types = [record['type'] for record in self.sim.records()]
        self.assertEqual(types, ['ok', 'InvalidCiphertextException', 'AccessDeniedException',
                                 'InvalidCiphertextException'])

    def test_other_keys_and_regions(self):
        arn = self.sim.ready['keys'][0]
        self.refused(self.call(arn=arn[:-1] + ('0' if arn[-1] != '0' else '1')), 400, 'kms_refused')
        self.refused(self.call(arn=arn.replace('us-east-1', 'us-east-2')), 400, 'kms_credentials')
        self.assertIn('request: range', self.call(arn=arn.replace('us-east-1', 'us-east-1.evil')))
        self.assertIn('request: range', self.call(arn=arn.rpartition(':')[0] + ':alias/ring'))

    def test_credentials(self):
        for fault in ('expired', 'failed', 'crlf', 'oversized'):
            self.sim.cmd('imds', fault=fault)
            self.assertIn('credentials: range', self.call(), fault)
        for fault in ('nul', 'not_json'):
            self.sim.cmd('imds', fault=fault)
            self.assertIn('credentials: syntax', self.call(), fault)
        self.assertEqual(self.sim.stats()['requests'], 0)
        self.sim.cmd('imds', fault=None)
        old = self.credentials()
        self.sim.cmd('rotate')
        self.assertEqual(self.call(credentials=old)['fault'], 'ok')
        self.assertEqual(self.call()['fault'], 'ok')
        known = json.loads(old)
        self.refused(self.call(credentials=json.dumps(dict(known, SecretAccessKey='x')).encode()), 400,
                     'kms_credentials')
        self.refused(self.call(credentials=json.dumps(dict(known, Token=known['Token'][:-4] + 'AAAA')).encode()), 400,
                     'kms_credentials')
        self.refused(self.call(credentials=json.dumps(dict(known, AccessKeyId='A' * 20)).encode()), 400,
                     'kms_credentials')

    def test_credentials_that_run_out(self):
        self.sim.cmd('rotate', lifetime_s=-1)
        over = json.loads(self.credentials())
        self.addCleanup(self.sim.cmd, 'rotate')
        report = self.call(credentials=json.dumps(dict(over, Expiration='2099-01-01T00:00:00Z')).encode())
        self.refused(report, 400, 'kms_credentials')
        self.assertEqual(self.sim.records()[0]['type'], 'ExpiredTokenException')

    def test_certificates(self):
        for cert in ('kms-expired', 'kms-wrong-host', 'kms-other-ca'):
            self.sim.cmd('tls', cert=cert)
            report = self.call()
            self.assertEqual((report['curl'], report['key']), (CURL_CERTIFICATE, NO_KEY), cert)
        self.sim.cmd('tls', cert='kms')
        self.assertEqual(self.call(host='kms.us-east-2.amazonaws.com')['curl'], CURL_CERTIFICATE)
        self.assertEqual(self.sim.stats()['requests'], 0)
        self.assertEqual(self.call()['fault'], 'ok')


if __name__ == '__main__':
    unittest.main()
