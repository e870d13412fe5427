#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each example of cwcctl(1) does what its line says: it is run by a shell, as it stands on the page."""
import json
import os
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import CMDLINE, KERNEL, METADATA, RAMDISK, image, manifest, vector  # noqa: E402
from cwcctl_case import BUILD, CTL, NO, OK, PERSON, PUBLIC, letter, lines, wait_until  # noqa: E402
from people_case import DAY, HOUR, Case as PeopleCase  # noqa: E402

NO_IS_AN_ANSWER = ('results --verify', 'dead list --chamber house', 'dead replay --chamber senate', 'fsck --mend',
                   'reconcile', 'attest diff')


class Examples(PeopleCase):
    def setUp(self):
        super().setUp()
        self.write('letter.json', json.dumps(letter('one'), indent=1))
        self.write('letters.jsonl', lines(letter('two'), letter('three', ['SNE02'])))
        self.write('render.json', json.dumps({**PUBLIC, **PERSON}))
        self.write('chosen.txt', 'old HNE03\n')
        self.write('confirmed.txt', 'u HNE03\n')
        self.write('outbox.txt', 'done\nnever HNE01\n')
        sealed = self.ctl('seal', self.path('letters.jsonl'), *self.sealing, '--ring', self.ring).out
        self.write('sealed.jsonl', sealed)
        document = vector('25-')
        self.write('document.cbor', document.raw)
        self.write('releases.txt', manifest(**{'1.3.9': {0: document.pcrs[0]}}))
        self.write('worker.eif', image([(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}'), (RAMDISK, b'r')]))
        self.write('cwcctl', '#!/bin/sh\nexec %s "$@" %s\n' % (os.path.abspath(CTL), ' '.join(self.redis)), 0o755)
        self.die('ancient', ago=40 * DAY)
        self.several()
        self.doubt('u')
        self.accepted('done')
        self.add('7f3c')
        self.intake()

    def examples(self):
        page = self.ctl('help', '--man').out.replace('\\-', '-').replace('\\e', '\\')
        part = page.split('.SH EXAMPLES\n')[1].split('.SH ')[0]
        found = re.findall(r'\.nf\n(.*)\n\.fi', part)
        self.assertGreater(len(found), 20)
        return found

    def run_one(self, line):
        env = {**os.environ, 'PATH': self.dir + ':' + os.environ['PATH']}
        if 'render' in line:
            line = line.replace('letter.json', 'render.json')
        process = subprocess.Popen(['/bin/sh', '-c', 'exec ' + line], cwd=self.dir, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        if '--follow' in line:
            wait_until(lambda: 'cmd=xread' in self.r('CLIENT', 'LIST'), what='reader')
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def test_all(self):
        for line in self.examples():
            with self.subTest(line):
                self.assertTrue(line.startswith('cwcctl '), line)
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
