#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each example of cwcctl(1) does what its line says: it is run by a shell, as it stands on the page."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import CMDLINE, KERNEL, METADATA, RAMDISK, image, manifest, vector  # noqa: E402
from cwcctl_case import BUILD, CTL, NO, OK, PERSON, PUBLIC, letter, lines, wait_until  # noqa: E402
from keys_case import DEVELOPMENT, PCRS, SIMULATOR, KeysCase, bundle  # noqa: E402
from people_case import DAY, HOUR, Case as PeopleCase  # noqa: E402

NO_IS_AN_ANSWER = ('results --verify', 'dead list --chamber house', 'dead replay --chamber senate', 'fsck --mend', 'workers drain',
                   'reconcile', 'attest diff', 'receipts verify', 'delivery')
STATUS = '/run/cwc-status.sock'


class Examples(PeopleCase, KeysCase):
    def setUp(self):
        PeopleCase.setUp(self)
        KeysCase.setUp(self)
        self.write('letter.json', json.dumps(letter('one'), indent=1))
        self.write('letters.jsonl', lines(letter('two'), letter('three', ['SNE02'])))
        self.write('render.json', json.dumps({**PUBLIC, **PERSON}))
        self.write('chosen.txt', 'old HNE03\n')
        self.write('dead.jsonl', '')
        self.write('confirmed.txt', 'u HNE03\n')
        self.write('outbox.txt', 'done\nnever HNE01\n')
        sealed = self.ctl('seal', self.path('letters.jsonl'), *self.sealing, '--ring', self.ring).out
        self.write('sealed.jsonl', sealed)
        document = vector('25-')
        self.write('document.cbor', document.raw)
        self.write('releases.txt', manifest(**{'1.3.9': {0: document.pcrs[0]}, '1.4.0': PCRS}))
        self.write('worker.eif', image([(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}'), (RAMDISK, b'r')]))
        self.write('cwcctl', '#!/bin/sh\nexec %s "$@" %s\n' % (os.path.abspath(CTL), ' '.join(self.redis)), 0o755)
        self.keys_files()
        self.die('ancient', ago=40 * DAY)
        self.several()
        self.doubt('u')
        self.accepted('done')
        self.publish(document=document.raw, statement=b'of another boot')
        self.write('results.jsonl', self.ctl('results', '--json').out)
        self.add('7f3c')
        self.intake()

    def keys_files(self):
        """A worker with a status port, and what the examples of keys and secrets read."""
        for act in ('request', 'rotate', 'signers'):
            self.worker.answers['/keys/' + act] = lambda *_: (200, 'application/cbor', bundle(7))
        self.dev_path = self.path('dev')
        os.mkdir(self.dev_path)
        self.addCleanup(shutil.rmtree, self.dev_path)
        self.write('dev/cwcctl', '#!/bin/sh\nexec %s "$@"\n' % os.path.abspath(DEVELOPMENT), 0o755)
        self.write('house.key', 'sample', 0o600)
        self.pem('authority.pem')
        self.write('signers.txt', 'app-2026 %s 2026-01-01T00:00:00Z 2099-01-01T00:00:00Z\n' % self.public.hex())
        for name in ('signers.grant', 'house.sealed', 'senate.sealed', 'store'):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.ctl('signer', 'grant', self.path('signers.txt'), '--signer', self.path('authority.pem'), '--kid', 'authority-1',
                 '--serial', '3', '--output', self.path('signers.grant'))
        for name in ('house', 'senate') if self.simulated else ():
            self.dev('secrets', 'seal', name + '.api_key', self.path('house.key'), *self.status, '--manifest',
                     self.path('releases.txt'), '--output', self.path(name + '.sealed'))
        self.write('next.bundle', bundle(6) if self.simulated else b'')

    simulated = os.path.exists(SIMULATOR) and os.path.exists(DEVELOPMENT)

    def examples(self):
        page = self.ctl('help', '--man').out.replace('\\-', '-').replace('\\e', '\\')
        part = page.split('.SH EXAMPLES\n')[1].split('.SH ')[0]
        found = re.findall(r'\.nf\n(.*)\n\.fi', part)
        self.assertGreater(len(found), 20)
        return found

    def run_one(self, line):
        path = self.dir
        if STATUS in line:
            path, line = self.dev_path, line.replace(STATUS, self.worker.server_address)
        line = line.replace('/run/cwc-exporter.sock', self.path('exporter.sock'))
        output = re.search(r'--output (\S+)', line)
        if output and 'keys store' not in line and os.path.exists(self.path(output.group(1))):
            os.unlink(self.path(output.group(1)))
        env = {**os.environ, 'PATH': path + ':' + os.environ['PATH']}
        if 'render' in line:
            line = line.replace('letter.json', 'render.json')
        process = subprocess.Popen(['/bin/sh', '-c', 'exec ' + line], cwd=self.dir, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        if '--follow' in line:
            wait_until(lambda: 'cmd=xread' in self.r('CLIENT', 'LIST'), what='reader')
            process.send_signal(signal.SIGINT)
        elif 'exporter' in line:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def test_all(self):
        for line in self.examples():
            with self.subTest(line):
                self.assertTrue(line.startswith('cwcctl '), line)
                if not self.simulated and (STATUS in line or 'keys store' in line or 'secrets' in line):
                    continue
                code, _, err = self.run_one(line)
                allowed = (OK, NO) if any(x in line for x in NO_IS_AN_ANSWER) else (OK,)
                self.assertIn(code, allowed, err)

    def test_what_they_did(self):
        """Some of them, looked at from the other side."""
        for line in self.examples():
            if 'replay --ids' in line or 'resolve accepted' in line or 'hold senate' in line:
                self.assertEqual(self.run_one(line)[0], OK, line)
        self.assertEqual((self.state('old'), self.state('u')), ('wait', 'close'))
        until = int(self.r('HGET', '{q}:holds', 'senate').split()[0])
        self.assertLess(abs(until - self.now() - 2 * HOUR * 1000000), 60 * 1000000)
        self.assertLess(until, self.now() + DAY * 1000000)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
