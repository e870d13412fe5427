#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A data key from the simulated KMS into the program and back, through the worker's own client: credentials, document,
libcurl's signature, TLS, the sealed answer, and all that KMS may answer. What others may do on the way is in
test_kms_hostile.py."""
import json
import os
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kms_case import IMAGE, OTHER, PURPOSE, TIMEOUT_S, VERIFIES, ZEROS, Case, instrumented  # noqa: E402

FAULTS = {
    'access_denied': (400, 'kms_denied', False),
    'throttle': (400, 'kms_throttled', True),
    'internal': (500, 'kms_unavailable', True),
    'unavailable': (503, 'kms_unavailable', True),
    'error_200': (200, 'kms_syntax', False),
    'no_recipient': (200, 'kms_no_recipient', False),
    'plaintext': (200, 'kms_plaintext', False),
    'other_key': (200, 'kms_other_key', False),
    'bad_base64': (200, 'kms_syntax', False),
    'duplicate': (200, 'kms_syntax', False),
    'wrong_length': (200, 'kms_length', False),
    'other_recipient': (200, 'kms_cms', False),
    'oversized_sealed': (200, 'kms_syntax', False),
    'oversized': (200, 'too_large', False),
    'cut': (200, 'connect', True),
}
FETCH = 3  # requests to the metadata service for credentials: a token, the role's name, its credentials


class Calls(Case):
    def good(self, report):
        self.ended(report, 'ok', 200, False)
        return report

    def test_round_trip_in_every_shape(self):
        seen, driver = set(), self.driver()
        for shape in ('A', 'A16', 'A7', 'B'):
            self.sim.cmd('shape', shape=shape)
            made = self.good(driver.call())
            opened = self.good(driver.call('decrypt', made['blob']))
            self.assertEqual((opened['key'], opened['blob']), (made['key'], ''))
            seen.add(made['key'])
        self.assertEqual(len(seen), 4)
        stats = self.sim.stats()
        self.assertEqual((stats['types'], stats['imds_requests']), ({'ok': 8}, FETCH))
        self.assertEqual({record['context']['purpose'] for record in self.sim.records()}, {PURPOSE})

    def test_the_filter_binds_all_threads(self):
        if instrumented():
            self.skipTest('a build with the sanitizers is not confined')
        driver = self.driver()
        self.good(driver.call())
        filters = driver.filters()
        self.assertGreater(len(filters), 1)
        self.assertEqual(set(filters), {'2'})

    def test_faults(self):
        driver = self.driver()
        for op in ('generate', 'decrypt'):
            blob = self.good(driver.call())['blob'] if op == 'decrypt' else ''
            for action, (status, why, retry) in FAULTS.items():
                with self.subTest(action, op=op):
                    self.sim.fault(action=action, count=1)
                    self.ended(driver.call(op, blob), why, status, retry)
            self.good(driver.call(op, blob))
        # Nothing was retried.
        self.assertEqual(self.sim.stats()['requests'], 2 * len(FAULTS) + 3)

    def test_other_images(self):
        self.ended(self.driver(pcr0=OTHER.hex()).call(), 'kms_denied', 400, False)
        # A verifier refuses debug mode by itself; without one the policy does.
        self.ended(self.driver(pcr0=ZEROS.hex()).call(), 'kms_refused' if VERIFIES else 'kms_denied', 400, False)
        if VERIFIES:
            self.ended(self.driver(nsm='forged').call(), 'kms_refused', 400, False)
        self.assertNotIn('ok', self.sim.stats()['types'])

    def test_contexts(self):
        """A wrapped key does not open for another purpose, nor under a context that the policy does not name."""
        driver = self.driver()
        blob = self.good(driver.call())['blob']
        self.ended(driver.call('decrypt', blob, purpose='other'), 'kms_refused', 400)
        self.ended(driver.call('decrypt', blob, purpose='third'), 'kms_denied', 400)
        self.ended(driver.call('decrypt', blob[:-2] + '%02x' % (int(blob[-2:], 16) ^ 1)), 'kms_refused', 400)
        types = [record['type'] for record in self.sim.records()]
        self.assertEqual(types, ['ok', 'InvalidCiphertextException', 'AccessDeniedException',
                                 'InvalidCiphertextException'])

    def test_what_is_refused_before_anything_is_asked(self):
        driver = self.driver()
        eight = {'n%d' % i: 'v' for i in range(8)}
        for more in ({'context': {}}, {'context': {'purpose': ''}}, {'context': {'': 'x'}},
                     {'context': {'purpose': 'x\r\ny'}}, {'context': {'purpose': 'x' * 257}},
                     {'context': dict(eight, ninth='v')}, {'op': 'decrypt'}, {'op': 'generate', 'blob': '00'},
                     {'op': 'decrypt', 'blob': '00' * 6145}):
            self.assertEqual(driver.call(**more).get('refused'), 'range', more)
        stats = self.sim.stats()
        self.assertEqual((stats['requests'], stats['imds_requests']), (0, 0))
        self.ended(driver.call(context=eight), 'kms_denied', 400)
        self.good(driver.call())

    def test_other_keys_and_regions(self):
        arn = self.sim.ready['keys'][0]
        other = arn[:-1] + ('0' if arn[-1] != '0' else '1')
        self.ended(self.driver(arn=other).call(), 'kms_refused', 400)
        # The host is that of the key's region, and so the certificate's name must be.
        self.ended(self.driver(arn=arn.replace('us-east-1', 'us-east-2')).call(), 'tls', 0)
        self.assertEqual(self.sim.stats()['requests'], 1)

    def test_what_cannot_be_used(self):
        driver = self.driver(arn='')
        arn, ca = self.sim.ready['keys'][0], self.sim.ready['ca']
        empty, words, broken = (os.path.join(driver.dir, name) for name in ('empty', 'words', 'broken'))
        with open(ca, encoding='ascii') as f:
            pem = f.read()
        for path, text in ((empty, ''), (words, 'no certificate\n'), (broken, pem + pem[:200] + '-----END X-----\n')):
            with open(path, 'w', encoding='ascii') as f:
                f.write(text)
        wide = os.path.join(driver.dir, 'wide')
        os.mkdir(wide)
        os.chmod(wide, 0o755)
        good = {'arn': arn, 'ca': ca, 'kms': self.sim.ready['kms'], 'imds': self.sim.ready['imds']}
        for change, word in (({'arn': arn.replace('us-east-1', 'us-east-1.evil')}, 'ARN'),
                             ({'arn': arn.rpartition(':')[0] + ':alias/ring'}, 'ARN'),
                             ({'arn': arn.replace('us-east-1', 'us-east-1/')}, 'ARN'), ({'arn': ''}, 'ARN'),
                             ({'ca': empty}, 'CA file'), ({'ca': words}, 'CA file'), ({'ca': broken}, 'CA file'),
                             ({'ca': os.path.join(driver.dir, 'none')}, 'CA file'), ({'ca': driver.dir}, 'CA file'),
                             ({'ca': ''}, 'CA file'), ({'ca': '/dev/zero'}, 'CA file'), ({'dir': ''}, 'directory'),
                             ({'dir': wide}, 'directory'), ({'dir': os.path.join(empty, 'x')}, 'directory')):
            opened = driver.open(**dict(good, **change))
            self.assertEqual(opened['err'], 'config', change)
            self.assertIn(word, opened['rule'], change)
        self.assertEqual(driver.open(**good)['err'], 'ok')
        self.good(driver.call())

    def test_the_ca_file_is_read_once(self):
        path = self.sim.ready['ca'] + '.copy'
        shutil.copy(self.sim.ready['ca'], path)
        driver = self.driver(ca=path)
        os.unlink(path)
        self.good(driver.call())

    def test_certificates(self):
        driver = self.driver()
        for cert in ('kms-expired', 'kms-wrong-host', 'kms-other-ca'):
            self.sim.cmd('tls', cert=cert)
            self.ended(driver.call(), 'tls', 0, True)
        self.sim.cmd('tls', cert='kms')
        self.assertEqual(self.sim.stats()['requests'], 0)
        self.good(driver.call())

    def test_the_callback_may_do_anything(self):
        """The key of the call that is over stays until the callback returns (the driver asks)."""
        driver = self.driver()
        driver.begin(then='call')
        made, opened = driver.line(), driver.line()
        self.assertEqual((opened['id'], opened['why'], opened['key']), ('then', 'ok', made['key']))
        self.good(driver.call(then='free'))


class Credentials(Case):
    def test_what_the_metadata_service_may_do(self):
        driver = self.driver()
        for fault in ('expired', 'failed', 'crlf', 'oversized', 'nul', 'not_json'):
            self.sim.cmd('imds', fault=fault)
            self.ended(driver.call(), 'imds_syntax', 0, True)
        self.sim.cmd('imds', fault='no_role')
        self.ended(driver.call(), 'imds', 0, True)
        self.assertEqual(self.sim.stats()['requests'], 0)
        self.sim.cmd('imds', fault=None)
        self.ended(driver.call(), 'ok', 200)

    def test_they_are_kept(self):
        driver = self.driver()
        for _ in range(3):
            self.ended(driver.call(), 'ok', 200)
            self.assertEqual(self.sim.stats()['imds_requests'], FETCH)
        # Others may be current by now; those that are kept work until they run out.
        self.sim.cmd('rotate')
        self.ended(driver.call(), 'ok', 200)
        self.assertEqual(len({record['access_key'] for record in self.sim.records()}), 1)

    def test_they_are_fetched_again_before_they_run_out(self):
        for lifetime_s, fetched in ((290, 2), (3600, 1)):
            self.sim.reset()
            self.sim.cmd('rotate', lifetime_s=lifetime_s)
            driver = self.driver()
            for _ in range(2):
                self.ended(driver.call(), 'ok', 200)
            self.assertEqual(self.sim.stats()['imds_requests'], fetched * FETCH, lifetime_s)
        self.sim.cmd('rotate')

    def test_they_run_out_early(self):
        """KMS does not take those that were kept: once more, with fresh ones."""
        driver = self.driver()
        self.ended(driver.call(), 'ok', 200)
        fresh = self.sim.cmd('expire')['access_key']
        self.ended(driver.call(), 'ok', 200)
        self.assertEqual([record['type'] for record in self.sim.records()], ['ok', 'ExpiredTokenException', 'ok'])
        self.assertEqual(self.sim.records()[-1]['access_key'], fresh)
        self.assertEqual(self.sim.stats()['imds_requests'], 2 * FETCH)
        self.ended(driver.call(), 'ok', 200)
        self.assertEqual(self.sim.stats()['imds_requests'], 2 * FETCH)

    def test_fresh_ones_do_not_help(self):
        """The service goes on to hand out what KMS does not take: one more attempt, and none with fresh ones."""
        answers = {'Code': 'Success', 'AccessKeyId': 'A' * 20, 'SecretAccessKey': 'x', 'Token': 'y',
                   'Expiration': '2099-01-01T00:00:00Z'}
        driver = self.driver(imds=self.peer(self.imds(lambda: answers)).address)
        self.ended(driver.call(), 'kms_credentials', 400, True)
        self.ended(driver.call(), 'kms_credentials', 400, True)
        self.assertEqual(self.sim.stats()['requests'], 2)

        known = self.current()
        driver = self.driver(imds=self.peer(self.imds(lambda: dict(known, Expiration='2099-01-01T00:00:00Z'))).address)
        self.ended(driver.call(), 'ok', 200)
        self.sim.cmd('expire')
        self.ended(driver.call(), 'kms_credentials', 400, True)
        types = [record['type'] for record in self.sim.records()]
        self.assertEqual(types[2:], ['ok', 'ExpiredTokenException', 'ExpiredTokenException'])

    def test_wrong_ones(self):
        known = self.current()
        for change in ({'SecretAccessKey': 'x'}, {'Token': known['Token'][:-4] + 'AAAA'}, {'AccessKeyId': 'A' * 20}):
            answer = dict(known, **change)
            driver = self.driver(imds=self.peer(self.imds(lambda answer=answer: answer)).address)
            self.ended(driver.call(), 'kms_credentials', 400, True)
        self.assertEqual(self.sim.stats()['requests'], 3)

    def test_none_of_it_stays_in_memory(self):
        if instrumented():
            self.skipTest('the sanitizers keep what is freed')
        known = self.current()
        driver = self.driver(confine=False)
        made = driver.call()
        self.ended(made, 'ok', 200)
        self.assertEqual(driver.found(), 0)
        self.ended(driver.call('decrypt', made['blob']), 'ok', 200)
        self.assertEqual(driver.found(), 0)
        secrets = [known[name].encode() for name in ('SecretAccessKey', 'Token')]
        # Once: in the guarded memory. What the bridge had of them goes with the connection to the metadata service.
        until = time.monotonic() + TIMEOUT_S
        while [driver.found(secret) for secret in secrets] != [1, 1]:
            self.assertLess(time.monotonic(), until, 'they stay in memory')
        driver.ask('free')
        self.assertEqual([driver.found(secret) for secret in secrets], [0, 0])

    def imds(self, credentials):
        """Answers as the metadata service does, but with these credentials."""
        def serve(connection, head, _body):
            target = head.split(b' ')[1]
            body = b'token' if target.endswith(b'/token') else b'role' if target.endswith(b'/') else \
                json.dumps(credentials()).encode()
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body))
        return serve

    def current(self):
        """What the simulator hands out."""
        return json.loads(self.sim.cmd('credentials')['json'])


if __name__ == '__main__':
    unittest.main()
