#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl keys status, request, rotate, signers: against a worker that the test plays, honest and hostile."""
import base64
import json
import os
import socket
import stat
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import ZERO  # noqa: E402
from cwcctl_case import CONFIG, CTL, NO, OK, UNAVAILABLE, USAGE  # noqa: E402
from keys_case import (ARN, DAY, DEVELOPMENT, PCRS, SIMULATOR, KeysCase, Tcp, as_json, bundle, document, key,  # noqa: E402
                       statement_hash)

import formats  # noqa: E402

BUILT = os.path.exists(SIMULATOR) and os.path.exists(DEVELOPMENT)
MEBIBYTE = 1 << 20


def rfc3339(s):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(s))


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Status(KeysCase):
    def show(self, *args, **kw):
        return self.dev('keys', 'status', *self.status, *args, **kw)

    def test_proved(self):
        r = self.show('--manifest', self.releases, '--json')
        j = r.json
        self.assertEqual(r.err.count('\n'), 1)
        self.assertIn('SIMULATED', r.err)
        self.assertEqual((j['proof']['attested'], j['proof']['measured'], j['proof']['release'], j['proof']['simulated']),
                         (True, True, '1.4.0', True))
        self.assertEqual(j['proof']['pcr0'], PCRS[0])
        self.assertEqual((j['environment'], j['queue'], j['version'], j['bundle']), ('sandbox', 'q', '1.4.0', 3))
        self.assertEqual(j['receipt_key'], formats.ed25519_public(bytes(32)).hex())
        self.assertEqual([k['id'] for k in j['keys']], [k['id'] for k in self.keys])
        self.assertEqual([k['public_key'] for k in j['keys']], [k['public_key'].hex() for k in self.keys])
        self.assertEqual([k['state'] for k in j['keys']], ['active'] * 3)
        self.assertEqual(j['keys'][0]['activate'], rfc3339(self.keys[0]['activate']))
        self.assertEqual((j['keys'][0]['retire'], j['next_change'], j['warnings']), (None, None, []))
        out = self.show('--manifest', self.releases).out
        for text in [k['id'] for k in self.keys] + ['witness', 'letter', 'secret', '1.4.0', PCRS[0]]:
            self.assertIn(text, out)

    def test_each_nonce_is_fresh(self):
        seen = []
        self.worker.answers['/attestation'] = lambda request, query, body: (
            seen.append(bytes.fromhex(query['nonce'])), self.attestation(request, query, body))[1]
        self.show()
        self.show()
        self.assertEqual([len(n) for n in seen], [32, 32])
        self.assertNotEqual(*seen)

    def test_without_a_manifest_it_is_said(self):
        r = self.show()
        self.assertRegex(r.err, 'CHAIN ONLY: [^\n]*NOT ASKED')
        self.assertNotIn('PROVED by a document', r.out)
        self.assertFalse(self.show('--json').json['proof']['measured'])

    def test_another_queue(self):
        self.show('--queue', 'q')
        self.refuses(NO, 'is of the queue q\n', 'keys', 'status', *self.status, '--queue', 'letters')

    def test_what_is_not_proved_is_refused(self):
        now = int(time.time() * 1000)
        for fields, code in (({'user_data': bytes(32)}, 'user_data'), ({'user_data': b''}, 'user_data'),
                             ({'nonce': bytes(32)}, 'nonce'), ({'time': now - 400000}, 'stale'),
                             ({'time': now + 400000}, 'future')):
            with self.subTest(fields):
                self.fields = fields
                self.refuses(NO, 'document is refused: %s' % code, 'keys', 'status', *self.status)
                self.refuses(NO, 'refused', 'keys', 'status', *self.status, '--manifest', self.releases)
        self.fields = {}
        self.refuses(NO, 'refused: policy', 'keys', 'status', *self.status, '--manifest', self.other)
        self.pcrs = {0: ZERO, 1: ZERO, 2: ZERO}
        self.refuses(NO, 'refused: debug', 'keys', 'status', *self.status)

    def test_a_release_program_refuses_the_simulator(self):
        r = self.ctl('keys', 'status', *self.status, code=NO)
        self.assertIn('refused: chain_anchor', r.err)
        self.assertEqual(r.out, '')

    def test_statement_of_another_ring(self):
        """The document is good; the statement beside it is not the one that it is about."""
        def lie(request, query, body):
            answer = json.loads(self.attestation(request, query, body)[2])
            self.keys[2] = key('secret')
            return as_json({**answer, 'statement': base64.b64encode(self.statement()).decode()})
        self.worker.answers['/attestation'] = lie
        self.refuses(NO, 'refused: user_data', 'keys', 'status', *self.status)

    def test_a_statement_that_is_none(self):
        for broken in (b'', b'\xa0', b'no', bytes(9000)):
            def answer(_request, query, _body, s=broken):
                d = document(user_data=statement_hash(s), nonce=bytes.fromhex(query['nonce']))
                return as_json({'statement': base64.b64encode(s).decode(), 'document': base64.b64encode(d).decode()})
            self.worker.answers['/attestation'] = answer
            self.refuses(NO if broken else UNAVAILABLE, 'statement', 'keys', 'status', *self.status)

    def test_hostile_answers(self):
        good = base64.b64encode(b'x').decode()
        elsewhere = self.serve(Tcp, ('127.0.0.1', 0))
        location = ('Location', 'http://127.0.0.1:%d/attestation' % elsewhere.server_address[1])
        for name, answer in (('large', (200, 'application/json', b'[' + b' ' * MEBIBYTE + b']')),
                             ('no json', (200, 'application/json', b'{"statement":')),
                             ('other type', (200, 'text/html', b'{}')), ('array', as_json([])),
                             ('empty', (200, 'application/json', b'')), ('deep', (200, 'application/json', b'[' * 9999)),
                             ('no members', as_json({})), ('no document', as_json({'statement': good})),
                             ('null', as_json({'statement': good, 'document': None})),
                             ('number', as_json({'statement': 1, 'document': 2})),
                             ('base64', as_json({'statement': '*', 'document': good})),
                             ('twice', (200, 'application/json', b'{"statement":"eA==","statement":"eA=="}')),
                             ('redirect', (302, 'application/json', b'{}', location)),
                             ('server', (500, 'application/json', b'{"reason":"\\u001b[2J"}')),
                             ('early', as_json({'statement': None, 'document': None})), ('none', (404, 'text/plain', b'no'))):
            with self.subTest(name):
                self.worker.answers['/attestation'] = answer
                r = self.refuses(UNAVAILABLE, r'\Acwcctl: unix:[^\n]+\n\Z', 'keys', 'status', *self.status)
                self.assertNotIn('\x1b', r.err)
        self.assertEqual(elsewhere.asked, [])
        for status, reason in ((429, 'too_many_documents'), (503, 'timeout'), (503, 'device'), (503, 'busy')):
            self.worker.answers['/attestation'] = as_json({'reason': reason, 'why': 'x'}, status)
            self.refuses(UNAVAILABLE, ': try again\n', 'keys', 'status', *self.status)

    def test_slow_answers(self):
        """One that never comes, and one that comes byte by byte: the time-out is for all of it."""
        def never(request, _query, _body):
            request.rfile.read(1)

        def drip(request, _query, _body):
            request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n')
            request.connection.settimeout(0.02)
            try:
                while True:
                    request.wfile.write(b' ')
                    try:
                        if request.connection.recv(1) == b'':
                            break
                    except socket.timeout:
                        pass
            except OSError:
                pass
        for answer in (never, drip):
            self.worker.answers['/attestation'] = answer
            begun = time.monotonic()
            self.refuses(UNAVAILABLE, 'Timeout', 'keys', 'status', *self.status, '--timeout', '300ms')
            self.assertLess(time.monotonic() - begun, 5)

    def test_endless_headers(self):
        """In front of the body, and behind it: neither takes the time or the memory that there is."""
        for chunks in (b'', b'Transfer-Encoding: chunked\r\n\r\n0\r\n'):
            def flood(request, _query, _body, chunks=chunks):
                request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n' + chunks)
                sent = 0
                while sent < 8 * MEBIBYTE:
                    sent += request.wfile.write(b'X-%06d: %s\r\n' % (sent, b'x' * 1000))
            self.worker.answers['/attestation'] = flood
            self.refuses(UNAVAILABLE, 'more than 65536 bytes of headers', 'keys', 'status', *self.status)

    def test_no_http(self):
        self.worker.answers['/attestation'] = lambda request, *_: request.wfile.write(b'{"statement":"eA=="}\n') and None
        self.refuses(UNAVAILABLE, 'unix:', 'keys', 'status', *self.status)

    def test_addresses(self):
        tcp = self.serve(Tcp, ('127.0.0.1', 0))
        tcp.answers = self.worker.answers
        port = tcp.server_address[1]
        for address in ('tcp:127.0.0.1:%d' % port, 'tcp:localhost:%d' % port):
            self.dev('keys', 'status', '--status', address, '--manifest', self.releases)
        self.refuses(UNAVAILABLE, 'unix:/', 'keys', 'status', '--status', 'unix:' + self.path('nobody'))
        self.refuses(USAGE, r'socat \S+ VSOCK-CONNECT:16:5000', 'keys', 'status', '--status', 'vsock:16:5000')
        for address in ('tcp:127.0.0.1:0', 'http://127.0.0.1', 'tcp:a b:1', '', 'unix:relative'):
            self.refuses(USAGE, '--status: ', 'keys', 'status', '--status', address)
        self.refuses(USAGE, '--status is needed', 'keys', 'status')
        self.refuses(USAGE, '--timeout must', 'keys', 'status', *self.status, '--timeout', '0s')
        self.refuses(CONFIG, 'releases', 'keys', 'status', *self.status, '--manifest', self.path('releases'))
        self.refuses(USAGE, 'usage: ', 'keys', 'status', *self.status, 'more')

    def test_unattested(self):
        self.no_device()
        r = self.show(code=NO)
        self.assertRegex(r.err, '(?m)^cwcctl: [^\n]*UNATTESTED: ')
        self.assertTrue(r.out.startswith('UNATTESTED: '))
        self.assertIn(self.keys[1]['id'], r.out)
        r = self.show('--unattested', '--json')
        self.assertIn('UNATTESTED', r.err)
        self.assertFalse(r.json['proof']['attested'])
        self.refuses(NO, 'UNATTESTED', 'keys', 'status', *self.status, '--manifest', self.releases)
        self.refuses(USAGE, 'either', 'keys', 'status', *self.status, '--manifest', self.releases, '--unattested')
        # A document that does not verify stays refused.
        self.worker.answers['/attestation'] = self.attestation
        self.fields = {'nonce': bytes(32)}
        self.refuses(NO, 'refused: nonce', 'keys', 'status', *self.status, '--unattested')

    def test_states_and_warnings(self):
        now = int(time.time())
        self.keys = [key('letter', activate=now - 9 * DAY, retire=now - DAY, destroy=now + 3 * DAY),
                     key('letter', activate=now - DAY), key('letter', activate=now + 2 * DAY),
                     key('witness', activate=now - DAY, retire=now + 5 * DAY, destroy=now + 9 * DAY), key('secret')]
        self.extra['missing'] = 'no_secrets'
        self.granted(('app-1', now - DAY, now + 29 * DAY), ('app-2', now - DAY, now + 31 * DAY), ('app-3', now - DAY, now - 5))
        r = self.show('--json')
        j = r.json
        self.assertEqual([k['state'] for k in j['keys']], ['decrypt-only', 'active', 'pending', 'active', 'active'])
        self.assertEqual(j['next_change'], rfc3339(now + 2 * DAY))
        self.assertEqual((j['unproved']['missing'], j['grant']['serial']), ('no_secrets', 4))
        self.assertEqual([s['not_after'] for s in j['grant']['signers']],
                         [rfc3339(now + 29 * DAY), rfc3339(now + 31 * DAY), rfc3339(now - 5)])
        warnings = ' | '.join(j['warnings'])
        self.assertEqual(len(j['warnings']), 4, warnings)
        self.assertIn('key %s (witness) retires at %s and has no successor' % (self.keys[3]['id'], rfc3339(now + 5 * DAY)),
                      warnings)
        for text in ('no_secrets', 'signer app-1 ends', 'signer app-3'):
            self.assertIn(text, warnings)
        r = self.show()
        self.assertNotIn('\x1b', r.out + r.err)
        self.assertEqual(r.err.count('warning: '), 4)
        self.keys[4] = key('secret', activate=now + DAY)
        self.assertIn('no active key of the profile secret', self.show().err)
        # One that takes its place in time.
        self.keys = [key('witness', activate=now - DAY, retire=now + 5 * DAY, destroy=now + 9 * DAY),
                     key('witness', activate=now + 5 * DAY), key('letter'), key('secret')]
        self.extra.update(missing=None, grant=None)
        self.members['grant'] = None
        self.assertEqual(self.show('--json').json['warnings'], [])

    def test_no_key_yet(self):
        """The first bundle is asked of an enclave that proves what it is."""
        self.keys, self.members = [], {}
        self.extra['missing'] = 'no_bundle'
        j = self.show('--manifest', self.releases, '--json').json
        self.assertEqual((j['keys'], j['unproved']['missing']), ([], 'no_bundle'))
        self.assertTrue(any('no_bundle' in w for w in j['warnings']))

    def test_hostile_word_of_the_worker(self):
        for extra in ({'missing': 7, 'source': {}}, {'missing': [], 'source': 'x' * 9999}, {'missing': '\x1b[2J'}):
            self.extra = extra
            r = self.show()
            self.assertNotIn('\x1b', r.out + r.err)
            self.show('--json')


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Bundles(KeysCase):
    def setUp(self):
        super().setUp()
        self.out = self.path('bundle-%d' % id(self))
        self.made = None
        for act in ('request', 'rotate', 'signers'):
            self.worker.answers['/keys/' + act] = self.act
        self.args = (*self.status, '--output', self.out)

    def act(self, *_):
        self.made = bundle(7)
        return (200, 'application/cbor', self.made)

    def left(self):
        return [n for n in os.listdir(self.dir) if n.startswith(os.path.basename(self.out))]

    def test_request_and_rotate(self):
        for act in ('request', 'rotate'):
            with self.subTest(act):
                r = self.dev('keys', act, *self.args, '--manifest', self.releases, '--json')
                with open(self.out, 'rb') as f:
                    self.assertEqual(f.read(), self.made)
                self.assertEqual(stat.S_IMODE(os.stat(self.out).st_mode), 0o644)
                j = r.json
                self.assertEqual((j['version'], j['queue'], j['environment'], j['kms_key'], j['pcr0'], j['release']),
                                 (7, 'q', 'sandbox', ARN, PCRS[0], '1.4.0'))
                method, path, headers, body = self.worker.asked[-1]
                self.assertEqual((method, path, body), ('POST', '/keys/' + act, b''))
                self.assertEqual(headers.get('Content-Length', '0'), '0')
                self.assertEqual(self.left(), [os.path.basename(self.out)])
                os.unlink(self.out)
                r = self.dev('keys', act, *self.args)
                self.assertIn('CHAIN ONLY', r.err)
                self.assertIn(PCRS[0], r.out)
                os.unlink(self.out)

    def test_one_a_second(self):
        """Turned away because somebody asked a moment ago: it is asked again, and again with all that it was asked with."""
        later = as_json({'reason': 'too_many_acts'}, 429)
        turns = [later, later]
        self.worker.answers['/keys/rotate'] = lambda *request: turns.pop() if turns else self.act(*request)
        self.dev('keys', 'rotate', *self.args, '--manifest', self.releases)
        self.assertEqual([a[:2] for a in self.worker.asked], [('POST', '/keys/rotate')] * 3)
        self.assertEqual(self.left(), [os.path.basename(self.out)])

    def test_grant_is_sent(self):
        grant = formats.encode(formats.sign1(b'cwc-signers-v1', b'authority-1', formats.encode({'v': 1}), bytes(32)))
        path = self.write('a.grant', grant)
        for act in ('request', 'rotate', 'signers'):
            self.dev('keys', act, *self.args, '--grant', path)
            self.assertEqual(self.worker.asked[-1][3], grant)
            self.assertEqual(self.worker.asked[-1][2]['Content-Type'], 'application/cbor')
            os.unlink(self.out)
        asked = len(self.worker.asked)
        self.refuses(USAGE, '--grant is needed', 'keys', 'signers', *self.args)
        for bad in (b'', b'no grant', grant + b'\0', bytes(4097)):
            self.refuses(CONFIG, 'no grant of signers', 'keys', 'signers', *self.args, '--grant', self.write('b', bad))
        self.refuses(CONFIG, 'none: No such file', 'keys', 'signers', *self.args, '--grant', self.path('none'))
        self.assertEqual(len(self.worker.asked), asked)

    def test_never_over_a_file(self):
        for make in (lambda: self.write(os.path.basename(self.out), 'mine'), lambda: os.symlink('nowhere', self.out),
                     lambda: os.mkdir(self.out)):
            make()
            self.refuses(NO, 'is there already', 'keys', 'request', *self.args)
            (os.rmdir if os.path.isdir(self.out) else os.unlink)(self.out)
        self.assertEqual(self.worker.asked, [])

        def meanwhile(*_):
            self.write(os.path.basename(self.out), 'mine')
            return self.act()
        self.worker.answers['/keys/request'] = meanwhile
        self.refuses(NO, 'is there already', 'keys', 'request', *self.args)
        with open(self.out, encoding='ascii') as f:
            self.assertEqual(f.read(), 'mine')
        self.assertEqual(self.left(), [os.path.basename(self.out)])
        self.refuses(NO, 'No such file', 'keys', 'request', *self.status, '--output', self.path('no/folder/b'))
        self.refuses(USAGE, '--output is needed', 'keys', 'request', *self.status)

    def test_bundles_that_are_refused(self):
        good = bundle(7)
        for name, raw, pattern in (
                ('bytes', b'bytes', 'no sealed bundle'), ('empty', b'', 'no sealed bundle'),
                ('behind', good + b'\0', 'no sealed bundle'), ('cut off', good[:-1], 'no sealed bundle'),
                ('hash', bundle(7, hashed=bytes(32)), 'refused: [^\n]*user_data'),
                ('no document', bundle(7, maker=b'x' * 100), 'refused: [^\n]*envelope'),
                ('old', bundle(7, time=int(time.time() * 1000) - 400000), 'made [0-9]+ s ago'),
                ('future', bundle(7, time=int(time.time() * 1000) + 400000), 'refused: [^\n]*future'),
                ('nonce', bundle(7, nonce=bytes(32)), 'refused: [^\n]*nonce'),
                ('debug', bundle(7, pcrs={0: ZERO, 1: ZERO, 2: ZERO}), 'refused: [^\n]*debug'),
                ('another', good.replace(b'sandbox', b'Sandbox'), 'no sealed bundle'),
                ('changed', good[:200] + bytes([good[200] ^ 1]) + good[201:], 'refused: [^\n]*user_data')):
            with self.subTest(name):
                self.worker.answers['/keys/request'] = (200, 'application/cbor', raw)
                self.refuses(NO, pattern, 'keys', 'request', *self.args)
                self.assertEqual(self.left(), [])
        self.worker.answers['/keys/request'] = self.act
        self.refuses(NO, 'refused: [^\n]*policy', 'keys', 'request', *self.args, '--manifest', self.other)
        self.refuses(NO, 'refused: it is of the queue q\n', 'keys', 'request', *self.args, '--queue', 'letters')
        for name, answer in (('large', (200, 'application/cbor', bytes(65537))), ('json', as_json({})),
                             ('redirect', (307, 'application/cbor', good, ('Location', '/keys/rotate')))):
            with self.subTest(name):
                self.worker.answers['/keys/request'] = answer
                self.refuses(UNAVAILABLE, 'unix:', 'keys', 'request', *self.args)
        self.assertEqual([a[1] for a in self.worker.asked if a[1] == '/keys/rotate'], [])
        self.assertEqual(self.left(), [])

    def test_a_release_program_refuses_the_simulator(self):
        r = self.ctl('keys', 'request', *self.args, code=NO)
        self.assertIn('chain_anchor', r.err)
        self.assertEqual(self.left(), [])

    def test_answers_of_the_worker(self):
        for status, answer, code, pattern in (
                (400, {'reason': 'grant'}, NO, 'the grant is refused: '), (409, {'reason': 'source'}, NO, r'keys\.source'),
                (409, {'reason': 'no_bundle'}, NO, 'cwcctl keys request'),
                (409, {'reason': 'has_bundle'}, NO, 'cwcctl keys rotate'), (409, {'reason': 'pending'}, NO, 'pending'),
                (409, {'reason': 'full'}, NO, 'full'), (409, {'reason': 'no_authority'}, NO, 'no authority'),
                (429, {'reason': 'busy'}, UNAVAILABLE, 'try again'), (429, {'reason': 'too_many_acts'}, UNAVAILABLE, 'too often'),
                (503, {'reason': 'draining'}, UNAVAILABLE, 'about to end'),
                (503, {'reason': 'store'}, UNAVAILABLE, 'cannot read its store'),
                (503, {'reason': 'clock'}, UNAVAILABLE, "clock is not the security module's"),
                (503, {'reason': 'kms', 'why': 'denied'}, UNAVAILABLE, 'KMS has not done it: denied'),
                (503, {'reason': 'kms', 'why': '\x1b[2J'}, UNAVAILABLE, 'KMS has not done it: no reason'),
                (404, {'reason': 'path'}, NO, 'takes no requests'), (503, {'reason': 'what'}, UNAVAILABLE, 'status 503'),
                (200, {'reason': 'grant'}, UNAVAILABLE, 'no answer of a worker')):
            with self.subTest(status=status, answer=answer):
                self.worker.answers['/keys/rotate'] = as_json(answer, status)
                self.refuses(code, pattern, 'keys', 'rotate', *self.args)
                self.assertEqual(self.left(), [])


class Table(KeysCase):
    def setUp(self):
        pass

    def test_words(self):
        self.assertIn('usage: cwcctl keys status', self.ctl('help', 'keys', 'status').out)
        self.assertIn('usage: cwcctl keys ', self.ctl('help', 'keys').out)
        self.assertIn('seal, show', self.ctl('secrets', code=USAGE).err)
        self.assertIn('show, grant, show-grant', self.ctl('signer', code=USAGE).err)
        self.ctl('help', '--man', code=OK)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
