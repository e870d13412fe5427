#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker with sealed keys, under its filters of system calls, from nothing to letters: the first bundle is asked of
it, comes back through the store, secrets are sealed to its ring, letters go out; then a rotation, a fleet, an end before
it has begun. Device, KMS and metadata service are the simulators."""
import contextlib
import http.client
import json
import os
import shlex
import socket
import sys
import threading
import unittest

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import formats  # noqa: E402
import stack as stacks  # noqa: E402
from stack import letters, wait_until  # noqa: E402
from status_client import connect  # noqa: E402
import kms_ctl  # noqa: E402

CWCCTL = os.path.join(stacks.DEV_BUILD, 'cwcctl')
VERIFIER = shlex.quote(CWCCTL) + ' attest verify --chain-only --json {}'


class Store:
    """Gives `items` to whoever connects, and ends."""

    def __init__(self, path):
        self.items, self.reads = {}, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                try:
                    client.sendall(b''.join(self.items.values()))
                except OSError:
                    pass
            self.reads += 1

    def close(self):
        if self.socket.fileno() >= 0:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


def seal(name, text, key, queue='q', environment='sandbox'):
    """A sealed secret (FORMATS.md 11) to a ring key as /keys shows it."""
    public, secret = bytes.fromhex(key['public_key']), formats.x25519_secret()
    ephemeral = formats.x25519_public(secret)
    header = formats.encode({'v': 1, 'kid': key['id'], 'name': name, 'queue': queue, 'environment': environment})
    domain = b'cwc-secret-v1'
    okm = HKDF(hashes.SHA256(), 56, None, domain + ephemeral + public + header).derive(formats.x25519(secret, public))
    sealed = formats.xchacha_encrypt(okm[:32], okm[32:], text.encode(), domain + header)
    return formats.encode(['cwc-secret-v1', header, ephemeral, sealed])


class Answer:
    def __init__(self, response):
        self.status, self.type, self.body = response.status, response.headers['Content-Type'], response.read()

    def json(self):
        return json.loads(self.body)


def ask(address, path, method='GET'):
    connection = http.client.HTTPConnection('worker')
    connection.sock = connect(address, 40)
    with contextlib.closing(connection):
        connection.request(method, path)
        return Answer(connection.getresponse())


def post(address, path):
    """One a second is taken."""
    def taken():
        a = ask(address, path, 'POST')
        return a if a.status != 429 else None
    return wait_until(taken, 20, 'an answer to %s' % path)


class Sealed(stacks.Stack):
    def __init__(self, **options):
        super().__init__(key_source='sealed', device='simulated', status=True, **options)
        self.kms = kms_ctl.KmsSim(kms_ctl.policy('11' * 48), verifier=VERIFIER)
        self.store = Store(self.path('store'))

    def close(self):
        super().close()
        self.store.close()
        self.kms.close()

    def write_config(self, name, worker=None):
        arguments = super().write_config(name, worker)
        ready = self.kms.ready
        measured = 'kms_key = %s\nkms_ca_file = %s\ndelay = 0s\n' % (ready['keys'][0], ready['ca'])
        host = ('[keys]\nstore_address = unix:%s\nkms_address = %s\ncredentials_address = %s\nrefresh = 100ms\n'
                % (self.path('store'), ready['kms'], ready['imds']))
        for path, old, new in ((self.path('measured.conf'), 'source = sealed\n', 'source = sealed\n' + measured),
                               (self.path(name + '.conf'), '[http]\n', host + '[http]\n')):
            with open(path, encoding='utf-8') as f:
                text = f.read()
            with self.replaced(os.path.basename(path)) as f:
                f.write(''.join(line for line in text.replace(old, new, 1).splitlines(True)
                                if not line.startswith('api_key_file')))
        return arguments

    def ask(self, path, name='w1'):
        return ask(self.status_address(name), path)

    def post(self, path, name='w1'):
        return post(self.status_address(name), path)

    def reason(self, name='w1'):
        try:
            return self.ask('/ready', name=name).json().get('reason')
        except OSError:
            return None  # it does not listen yet

    def allow(self):
        """The policy names the image that the worker says it is."""
        document = cbor2.loads(wait_until(lambda: self.documented(), 20, 'a document'))
        pcr0 = cbor2.loads(document[2])['pcrs'][0]
        self.kms.cmd('policy', policy=kms_ctl.policy(pcr0.hex(), context_queue='q'))

    def documented(self):
        a = self.ask('/attestation')
        return a.body if a.status == 200 else None

    def secret_key(self):
        return [k for k in self.ask('/keys').json()['keys'] if k['profile'] == 'secret'][0]

    def unseal(self):
        """From nothing to a worker that is ready."""
        w = self.start_worker(ready=False)
        wait_until(lambda: self.reason() == 'no_bundle', 20, 'no bundle')
        self.allow()
        a = self.post('/keys/request')
        assert a.status == 200, a.body
        self.store.items['bundle'] = a.body
        w.wait_event('bundle_loaded')
        wait_until(lambda: self.reason() == 'no_secrets', 20, 'no secrets')
        for chamber in ('house', 'senate'):
            self.store.items[chamber] = seal(chamber + '.api_key', self.api_key(), self.secret_key())
        w.wait_event('ready')
        self.learn_keys()
        return w

    def api_key(self):
        with open(self.sim.key_file, encoding='utf-8') as f:
            return f.read().strip()


class Unseal(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(CWCCTL):
            self.skipTest('the development build is not there')
        self.stack = Sealed()
        self.addCleanup(self.stack.close)
        self.stack.start()

    def confined(self, worker):
        filters = set()
        for task in os.listdir('/proc/%d/task' % worker.pid):
            with open('/proc/%d/task/%s/status' % (worker.pid, task), encoding='ascii') as f:
                s = dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)
            filters.add((s['Seccomp'], s.get('Seccomp_filters', '').strip()))
        return filters

    def deliver(self, n, seed):
        some = list(letters.sample(n, seed=seed))
        before = len(account.last_results(self.stack))
        self.stack.submit(*some)
        jobs = sum(len(s['offices']) for s in some)
        wait_until(lambda: len(account.last_results(self.stack)) == before + jobs, 60, '%d results' % jobs)

    def test_whole_life(self):
        s = self.stack
        w = s.start_worker(ready=False)
        w.wait_event('keys_missing')
        self.assertEqual(self.confined(w), {('2', '1')})
        self.assertEqual((s.ask('/health').status, s.ask('/ready').json()),
                         (200, {'ready': False, 'reason': 'no_bundle'}))
        self.assertIn(b'cwc_not_ready{reason="no_bundle"} 1\n', s.ask('/metrics').body)
        keys = s.ask('/keys').json()
        self.assertEqual((keys['source'], keys['missing'], keys['keys'], keys['bundle']),
                         ('sealed', 'no_bundle', [], 0))
        # KMS knows another image only.
        a = s.post('/keys/request')
        self.assertEqual((a.status, a.json()), (503, {'reason': 'kms', 'why': 'kms_denied'}))
        s.allow()
        bundle = s.post('/keys/request')
        self.assertEqual((bundle.status, bundle.type), (200, 'application/cbor'))
        s.store.items['bundle'] = bundle.body
        w.wait_event('bundle_loaded')
        self.assertEqual(s.reason(), 'no_secrets')
        self.assertEqual(s.redis('EXISTS', s.key('workers')), 0)
        for chamber in ('house', 'senate'):
            s.store.items[chamber] = seal(chamber + '.api_key', s.api_key(), s.secret_key())
        w.wait_event('ready')
        self.assertEqual(self.confined(w), {('2', '2')})
        s.learn_keys()
        self.deliver(10, 1)

        # Another rotation than the one before; and the old bundle again.
        rotated = s.post('/keys/rotate')
        self.assertEqual(rotated.status, 200)
        s.store.items['bundle'] = rotated.body
        w.wait_event('bundle_loaded', n=2)
        s.store.items['bundle'] = bundle.body
        refused = w.wait_event('bundle_refused')
        keys = s.ask('/keys').json()
        self.assertEqual((keys['bundle'], len(keys['keys'])), (2, 5))
        wait_until(lambda: len(s.stream('attestations')) >= 2, 20, 'the new keys')
        s.learn_keys()
        self.deliver(10, 2)
        # The store goes, and KMS: a ring that is there stays.
        s.store.close()
        w.wait_event('store_failed')
        self.deliver(5, 3)
        self.assertEqual(s.ask('/ready').json(), {'ready': True})
        self.assertEqual(w.events('unconfined'), [])
        self.assertEqual(w.stop(), 0)
        self.assertTrue(refused)

    def test_fleet(self):
        """A second worker takes bundle and secrets from the store, and needs nobody."""
        s = self.stack
        s.unseal()
        second = s.start_worker(name='w2')
        self.assertEqual([e['reason'] for e in second.events('bundle_refused')], [])
        self.assertEqual(s.ask('/keys', name='w2').json()['keys'], s.ask('/keys').json()['keys'])
        self.deliver(10, 4)

    def test_ends_unsealed(self):
        """SIGTERM at any time of it ends with 0."""
        w = self.stack.start_worker(ready=False)
        w.wait_event('keys_missing')
        self.assertEqual(w.stop(), 0)
        self.assertEqual(len(w.events('stopped')), 1)
        self.stack.kms.cmd('imds', fault='stall')
        w = self.stack.start_worker(ready=False)
        w.wait_event('keys_missing')
        address = self.stack.status_address('w1')
        with connect(address, 30) as s:
            s.sendall(b'POST /keys/request HTTP/1.1\r\nHost: worker\r\nContent-Length: 0\r\n\r\n')
            wait_until(lambda: ask(address, '/keys/request', 'POST').json()['reason'] == 'busy', 20, 'a call to KMS')
            self.assertEqual(w.stop(), 0)

    def test_engine_cannot_be_made(self):
        """What is wrong is found when the secrets are there: it ends with EX_CONFIG, not by the filter."""
        s = self.stack
        os.mkdir(s.path('w1.bridge'), 0o755)
        os.chmod(s.path('w1.bridge'), 0o755)
        w = s.start_worker(ready=False)
        self.assertEqual(w.process.wait(30), 78)


if __name__ == '__main__':
    unittest.main()
