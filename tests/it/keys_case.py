# SPDX-License-Identifier: Apache-2.0
"""What the tests of cwcctl's keys and secrets share: a status port that the test plays, with statements, bundles and
documents of the simulator; FORMATS.md is what they are written by."""
import base64
import hashlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import manifest, some_pcr  # noqa: E402
from cwcctl_case import BUILD, OK, ROOT, Case, Result  # noqa: E402

import formats  # noqa: E402
import formats_sealed  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: E402

SIMULATOR = os.path.join(BUILD, 'tools', 'nsm_sim')
DEVELOPMENT = os.environ.get('CWCCTL_DEV', os.path.join(ROOT, 'build', 'dev', 'cwcctl'))
CONTEXT = formats.WITNESS_CONTEXT
DAY = 86400
AUTHORITY = b'\x99' * 32    # the seed of its key
PCRS = {i: some_pcr('worker%d' % i) for i in range(3)}
ARN = 'arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012'


def document(pcrs=None, **fields):
    """Of the simulator, with user_data, nonce, time (ms)..."""
    args = [x for i, v in (pcrs or PCRS).items() for x in ('--pcr', '%d=%s' % (i, v))]
    for name, value in fields.items():
        args += ['--' + name.replace('_', '-'), value.hex() if isinstance(value, bytes) else str(value)]
    return subprocess.run([SIMULATOR, *args], stdout=subprocess.PIPE, check=True, timeout=30).stdout


def key(profile, secret=None, activate=0, retire=0, destroy=0, created=None):
    public = formats.x25519_public(secret or formats.x25519_secret())
    k = {'id': formats.ring_kid(public), 'profile': profile, 'public_key': public, 'activate': activate,
         'created': activate if created is None else created}
    if retire:
        k['retire'] = retire
    if destroy:
        k['destroy'] = destroy
    if profile == 'witness':
        k['contexts'] = [CONTEXT]
    return k


def statement(keys, seed=bytes(32), **members):
    """A member that is None is left out."""
    public = formats.ed25519_public(seed)
    s = {'v': 1, 'keys': keys, 'queue': 'q', 'bundle': 3, 'release': '1.4.0', 'environment': 'sandbox',
         'receipt_key': public, 'receipt_key_id': formats.receipt_kid(public), **members}
    return formats.encode({name: value for name, value in s.items() if value is not None})


def statement_hash(s):
    return hashlib.sha256(b'cwc-statement-v1' + s).digest()


def bundle(version=1, maker=None, hashed=None, pcrs=None, environment='sandbox', queue='q', **fields):
    """A bundle whose content nobody can open, by a maker that is the simulator."""
    header = formats.encode({'v': 1, 'queue': queue, 'kms_key': ARN, 'version': version, 'wrapped': b'w' * 100,
                             'environment': environment})
    parts = [formats.encode('cwc-bundle-v1'), formats.encode(header), formats.encode(os.urandom(24)),
             formats.encode(os.urandom(200))]
    unmade = b'\x85' + b''.join(parts)
    if maker is None:
        maker = document(pcrs, user_data=hashed or hashlib.sha256(b'cwc-bundle-v1' + unmade).digest(), **fields)
    return unmade + formats.encode(maker)


def open_secret(item, secret):
    """(header, plaintext)"""
    name, header, ephemeral, sealed = formats.decode(item)
    if name != 'cwc-secret-v1':
        raise ValueError(name)
    info = name.encode() + ephemeral + formats.x25519_public(secret) + header
    okm = HKDF(algorithm=hashes.SHA256(), length=56, salt=None, info=info).derive(formats.x25519(secret, ephemeral))
    return formats.decode(header), formats.xchacha_decrypt(okm[:32], okm[32:], sealed, name.encode() + header)


class Port(http.server.BaseHTTPRequestHandler):
    """Answers with what the server's `answers` has for the path: (status, type, body), or a function of the request."""
    def log_message(self, *args):
        pass

    def address_string(self):
        return 'peer'

    def do(self):
        path, _, query = self.path.partition('?')
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.asked.append((self.command, path, dict(self.headers), body))
        answer = self.server.answers.get(path, (404, 'application/json', b'{"reason":"path"}'))
        if callable(answer):
            answer = answer(self, dict(urllib.parse.parse_qsl(query)), body)
        if answer is None:
            return
        self.send_response(answer[0])
        self.send_header('Content-Type', answer[1])
        for name, value in answer[3:]:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(answer[2])))
        self.end_headers()
        self.wfile.write(answer[2])

    do_GET = do_POST = do


class Server:
    daemon_threads = True

    def handle_error(self, *_):
        """Who asked has gone."""


class Unix(Server, socketserver.ThreadingUnixStreamServer):
    pass


class Tcp(Server, socketserver.ThreadingTCPServer):
    pass


def as_json(value, status=200):
    return (status, 'application/json', json.dumps(value).encode())


class KeysCase(Case):
    """A worker of a development build; each test changes what it says."""
    def setUp(self):
        self.seal_secret = formats.x25519_secret()
        now = int(time.time())
        self.keys = [key('witness', activate=now - DAY), key('letter', activate=now - DAY),
                     key('secret', self.seal_secret, activate=now - DAY)]
        self.members = {}
        self.fields = {}  # of the document
        self.pcrs = PCRS
        self.extra = {'source': 'sealed', 'missing': None, 'grant': None}
        self.releases = self.write('releases.txt', manifest(**{'1.3.9': {0: some_pcr('old')}, '1.4.0': PCRS}))
        self.other = self.write('other.txt', manifest(**{'1.3.9': {0: some_pcr('old')}}))
        self.worker = self.serve(Unix, self.path('status-%d.sock' % id(self)))
        self.status = ('--status', 'unix:' + self.worker.server_address)
        self.worker.answers.update({'/attestation': self.attestation, '/keys': self.keys_answer})

    def granted(self, *signers, serial=4, stated=True, **changed):
        """signers: (kid, not_before, not_after). The grant that the worker gives, and that its statement has."""
        grant = formats_sealed.sign_grant([{'kid': kid, 'key': formats.ed25519_public(AUTHORITY), 'not_before': after,
                                            'not_after': before} for kid, after, before in signers],
                                          serial, 'sandbox', 'q', 'authority-1', AUTHORITY)
        self.extra['grant'] = {'serial': serial, 'signers': [{'kid': k, 'not_before': a, 'not_after': b} for k, a, b in signers],
                               'sha256': hashlib.sha256(grant).hexdigest(), 'bytes': base64.b64encode(grant).decode(),
                               **changed}
        if stated:
            self.members['grant'] = hashlib.sha256(grant).digest()

    def serve(self, kind, address):
        server = kind(address, Port)
        server.answers, server.asked = {}, []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def stop():
            server.shutdown()
            thread.join()
            server.server_close()
        self.addCleanup(stop)
        return server

    # --- what the worker says

    def statement(self):
        return statement(self.keys, **self.members)

    def attestation(self, _request, query, _body):
        s = self.statement()
        d = document(self.pcrs, **{'user_data': statement_hash(s), 'nonce': bytes.fromhex(query['nonce']), **self.fields})
        return as_json({'statement': base64.b64encode(s).decode(), 'document': base64.b64encode(d).decode()})

    def keys_json(self, with_document=True):
        s = self.statement()
        d = document(self.pcrs, **{'user_data': statement_hash(s), **self.fields}) if with_document else None
        return {'statement': base64.b64encode(s).decode(), 'document': base64.b64encode(d).decode() if d else None,
                'keys': [], **self.extra}

    def keys_answer(self, *_):
        return as_json(self.keys_json())

    def no_device(self):
        self.worker.answers['/attestation'] = as_json({'reason': 'no_attestation'}, 503)
        self.worker.answers['/keys'] = lambda *_: as_json(self.keys_json(False))

    # --- asking

    def dev(self, *args, code=OK, stdin=None):
        r = subprocess.run([DEVELOPMENT, *args], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                           env={**os.environ, 'http_proxy': 'http://127.0.0.1:1', 'ALL_PROXY': 'http://127.0.0.1:1'})
        result = Result(r.returncode, r.stdout.decode(), r.stderr.decode())
        self.assertEqual(result.code, code, (args, result.out[-2000:], result.err[-2000:]))
        return result

    def refuses(self, code, pattern, *args, **kw):
        """Nothing on standard output, and why on standard error."""
        r = self.dev(*args, code=code, **kw)
        self.assertEqual(r.out, '')
        self.assertRegex(r.err, pattern)
        return r
