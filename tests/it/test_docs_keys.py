#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The runbook's chapter on keys, command by command, in its order: from an image without keys to proved receipts, with a
worker of a development build, the simulated KMS behind the policy that the chapter writes, and a store that is read
through what stands for socat."""
import json
import os
import re
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stack as stacks  # noqa: E402
import test_docs  # noqa: E402
from attest_case import CMDLINE, KERNEL, METADATA, RAMDISK, image, manifest, pcr  # noqa: E402
from stack import ROOT, letters, wait_until  # noqa: E402

import kms_ctl  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: E402

CHAPTER = test_docs.KEYS_CHAPTER
PROGRAMS = [os.path.join(stacks.DEV_BUILD, name) for name in ('cwc-worker', 'cwcctl')]
VERIFIER = PROGRAMS[1] + ' attest verify --chain-only --json {}'
IMAGE = 'release 1.4.0'
PCRS = {i: pcr(('%s %s' % (part, IMAGE)).encode()) for i, part in enumerate(('image', 'kernel', 'application'))}

# The first word listens, the second is read anew for each that connects.
SOCAT = '''#!/usr/bin/python3
import os, socket, sys
assert sys.argv[1:] == ['VSOCK-LISTEN:7001,fork', 'OPEN:store,rdonly'], sys.argv
open('store', 'rb').close()
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['STORE'])
listener.listen()
os.dup2(os.open(os.devnull, os.O_RDWR), 1)
os.dup2(1, 2)
with open('socat.pid', 'w') as f:
    f.write(str(os.getpid()))
while True:
    peer, _ = listener.accept()
    with peer, open('store', 'rb') as f:
        try:
            peer.sendall(f.read())
        except OSError:
            pass
'''
AWS = '''#!/usr/bin/python3
import json, os, sys
with open('aws.log', 'a') as f:
    f.write(json.dumps(sys.argv[1:]) + '\\n')
'''


class SealedStack(stacks.Stack):
    """Workers whose keys and secrets come from a store."""

    def __init__(self, kms, authority, **options):
        super().__init__(key_source='sealed', device='simulated', status=True, **options)
        self.kms, self.authority, self.store = kms.ready, authority, self.path('store.sock')

    def change(self, name, *changes):
        with open(self.path(name), encoding='utf-8') as f:
            text = f.read()
        for pattern, by in changes:
            text, n = re.subn(pattern, by, text, flags=re.M)
            assert n > 0 or by == '', pattern
        with self.replaced(name) as f:
            f.write(text)

    def write_config(self, name, worker=None):
        arguments = super().write_config(name, worker)
        k = self.kms
        self.change('measured.conf', ('^api_key_file = .*\n', ''),
                    ('^signer = ', 'authority = authority-1 %s\n\\g<0>' % self.authority.hex()),
                    ('^source = sealed$', '\\g<0>\nkms_key = %s\nkms_ca_file = %s' % (k['keys'][0], k['ca'])))
        self.change(name + '.conf', ('^api_key_file = .*\n', ''),
                    (r'\Z', '\n[keys]\nkms_address = %s\ncredentials_address = %s\nstore_address = unix:%s\n'
                     'refresh = 500ms\n' % (k['kms'], k['imds'], self.store)))
        return arguments


def pem(path):
    """A new signing key in a file; its public half."""
    key = ed25519.Ed25519PrivateKey.generate()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'wb') as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@unittest.skipUnless(all(map(os.path.exists, PROGRAMS)), 'there is no development build')
class Chapter(unittest.TestCase):
    def setUp(self):
        self.kms = kms_ctl.KmsSim(kms_ctl.policy('ff' * 48), verifier=VERIFIER)
        self.addCleanup(self.kms.close)
        self.dir = os.path.join(self.kms.dir, 'here')
        os.mkdir(self.dir)
        for name in os.listdir(ROOT):
            os.symlink(os.path.join(ROOT, name), os.path.join(self.dir, name))
        self.stack = SealedStack(self.kms, pem(self.path('authority.pem')))
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.addCleanup(self.end_store)
        self.files()
        self.worker = None
        self.asked = 0

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data, mode=0o600):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), 'wb') as f:
            f.write(data.encode() if isinstance(data, str) else data)

    def files(self):
        with open(self.stack.sim.key_file, encoding='ascii') as f:
            key = f.read()
        for chamber in ('house', 'senate'):
            self.write(chamber + '.key', key)
        self.write('worker.eif', image([(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}'), (RAMDISK, b'r')]))
        self.write('signers.txt', 'app-2027 %s 2026-01-01T00:00:00Z 2099-01-01T00:00:00Z\n' % (
            pem(self.path('app.pem')).hex()))
        os.mkdir(self.path('bin'))
        self.write('bin/socat', SOCAT, stat.S_IRWXU)
        self.write('bin/aws', AWS, stat.S_IRWXU)
        self.write('bin/cwcctl', '#!/bin/sh\nexec %s "$@" --redis unix:%s\n' % (PROGRAMS[1], self.stack.redis_path),
                   stat.S_IRWXU)

    def end_store(self):
        if os.path.exists(self.path('socat.pid')):
            with open(self.path('socat.pid'), encoding='ascii') as f:
                os.kill(int(f.read()), 15)

    # --- what the world does while somebody follows the chapter

    def after_measure(self):
        """The image that was measured is none that runs here."""
        with open(self.path('1.4.0.txt'), encoding='ascii') as f:
            self.assertRegex(f.read(), r'^release 1\.4\.0\n(pcr\d [0-9a-f]{96}\n)+$')
        self.write('1.4.0.txt', manifest(**{'1.4.0': PCRS}))

    def after_aws(self):
        with open(self.path('aws.log'), encoding='ascii') as f:
            words = [json.loads(line) for line in f][-1]
        options = dict(zip(words[2::2], words[3::2]))
        if words[1] == 'put-key-policy':
            self.assertEqual(options['--key-id'], self.kms.ready['keys'][0])
            with open(self.path(options['--policy'][len('file://'):]), encoding='ascii') as f:
                policy = f.read()
            self.assertNotIn('@', policy)
            self.kms.cmd('policy', policy=json.loads(policy))
        self.asked += 1

    def after_socat(self):
        wait_until(lambda: os.path.exists(self.path('socat.pid')), what='the store')
        self.worker = self.stack.start_worker(ready=False, env={'CWC_SIM_IMAGE': IMAGE})
        self.assertEqual(self.worker.wait_event('keys_missing')['reason'], 'no_bundle')

    def after_store(self, command):
        n = {'first': 1, 'next': 2, 'signers': 3}[re.search(r'(\w+)\.bundle', command).group(1)]
        self.assertEqual(self.worker.wait_event('bundle_loaded', n=n)['bundle'], n)
        if 'house.sealed' in command and n == 1:
            self.worker.wait_event('ready')
            self.stack.learn_keys()
            good = list(letters.sample(4))
            self.stack.submit(*good)
            self.stack.wait_results(sum(len(s['offices']) for s in good))
            self.write('outbox.txt', ''.join('%s %s\n' % (s['sid'], ','.join(s['offices'])) for s in good))

    def after(self, command):
        if 'attest measure' in command:
            self.after_measure()
        elif command.startswith('aws '):
            self.after_aws()
        elif command.startswith('socat '):
            self.after_socat()
        elif command.startswith('cwcctl keys store '):
            self.after_store(command)

    def run_command(self, command):
        key = self.kms.ready['keys'][0]
        env = {**os.environ, 'PATH': self.path('bin') + ':' + os.environ['PATH'], 'STORE': self.stack.store,
               'STATUS': self.stack.status_address('w1'), 'KMS_KEY': key, 'OLD_KMS_KEY': key}
        p = subprocess.run(['sh', '-c', command], cwd=self.dir, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=60, check=False)
        log = self.worker.tail() if self.worker else ''
        self.assertEqual(p.returncode, 0, '%s\n%s%s\n%s' % (command, p.stdout, p.stderr, log))
        self.after(command)
        return p.stdout

    def test_all(self):
        said = {}
        for command in test_docs.console_commands('ops/RUNBOOK.md', CHAPTER):
            said[command] = self.run_command(command)
        self.assertGreater(len(said), 20)
        self.assertEqual(self.asked, 3)
        [proof] = [out for command, out in said.items() if 'receipts verify' in command]
        self.assertIn('SIMULATED: 0 of %d not good' % len(self.stack.results()), proof)
        grants = [out for command, out in said.items() if 'show-grant' in command]
        self.assertIn('app-2027', grants[0])
        # What KMS was asked: each bundle's data key, and to open it; nothing was denied.
        self.assertEqual(self.kms.stats()['types'], {'ok': 6})
        self.check_signers()

    def check_signers(self):
        """The granted one may sign now; /keys says so."""
        self.assertEqual(self.worker.events('bundle_refused') + self.worker.events('secret_refused'), [])
        out = self.run_command('cwcctl keys status --json --status $STATUS --manifest releases.txt')
        view = json.loads(out)
        self.assertEqual([s['kid'] for s in view['grant']['signers']], ['app-2027'])
        self.assertEqual(view['warnings'], [])
        states = sorted((k['profile'], k['state']) for k in view['keys'])
        self.assertEqual(states, [('letter', 'active'), ('letter', 'pending'), ('secret', 'active'),
                                  ('witness', 'active'), ('witness', 'pending')])


if __name__ == '__main__':
    unittest.main()
