#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl attest measure and diff: enclave images against hashlib, and measurements against each other."""
import base64
import json
import os
import random
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import (CMDLINE, KERNEL, METADATA, RAMDISK, RELEASE_PCRS, SIGNATURE, ImageCase, image,  # noqa: E402
                         manifest, pcr, sample, some_pcr, vector)
from cwcctl_case import BUILD, CONFIG, CTL, NO, OK, USAGE  # noqa: E402

import cbor2  # noqa: E402


class Measure(ImageCase):
    def test_against_hashlib(self):
        for version, flags, ramdisks, is_signed in ((4, 0, 2, False), (4, 1, 2, True), (4, 0, 0, False), (4, 1, 1, False),
                                                    (3, 0, 2, True), (3, 1, 5, False), (2, 0, 2, False), (4, 0, 28, True)):
            raw, pcrs = sample(random.randbytes, ramdisks, version, flags, self.signer if is_signed else None)
            j = self.measured(raw)
            self.assertEqual(j['pcrs'], {str(i): v for i, v in pcrs.items()})
            self.assertEqual((j['version'], j['architecture'], j['ramdisks'], j['signed'], j['bytes']),
                             (version, 'aarch64' if flags else 'x86_64', ramdisks, is_signed, len(raw)))
            self.assertEqual((j['default_memory'], j['default_cpus']), (1 << 30, 2))
            out = self.ctl('attest', 'measure', self.path('image.eif')).out
            for value in pcrs.values():
                self.assertIn(value, out)
            self.assertEqual('PCR2 is that of nothing' in out, ramdisks < 2)

    def test_what_is_not_measured(self):
        raw, pcrs = sample(random.randbytes, 2)
        parts = [(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}'), (RAMDISK, b'r')]
        same = [image(parts), image(parts, memory=5, cpus=77),
                image(parts[:2] + [(METADATA, b'{"a":1}')] + parts[3:]), image(parts[:2] + [parts[3], parts[2]])]
        self.assertEqual(len({json.dumps(self.measured(x)['pcrs']) for x in same}), 1)
        self.assertNotEqual(self.measured(raw)['pcrs'], self.measured(same[0])['pcrs'])
        self.assertEqual(pcrs[0], self.measured(raw)['pcrs']['0'])

    def test_large(self):
        disk = random.randbytes(1 << 20) * 40
        raw = image([(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}'), (RAMDISK, disk), (RAMDISK, disk)])
        j = self.measured(raw)
        self.assertEqual((j['pcrs']['0'], j['pcrs']['2']), (pcr(b'kc', disk, disk), pcr(disk)))
        # Read in pieces: it needs less memory than a part of it.
        limited = 'ulimit -v 60000; exec "$0" attest measure "$1"'
        r = subprocess.run(['/bin/sh', '-c', limited, CTL, self.path('image.eif')], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_release(self):
        """What it prints, `attest verify` takes."""
        raw, pcrs = sample(random.randbytes, 2, signer=self.signer)
        r = self.ctl('attest', 'measure', self.write('image.eif', raw), '--release', '1.4.0')
        self.assertEqual(r.out, manifest(**{'1.4.0': pcrs}))
        self.refused('policy', self.doc.path, '--at', self.doc.at(), '--manifest', self.write('m.txt', r.out))
        j = self.ctl('attest', 'measure', self.path('image.eif'), '--release', '1.4.0', '--json').json
        self.assertEqual(j['release'], '1.4.0')
        for name in ('', 'a b', 'x' * 64, 'a/b', 'a\nb'):
            self.ctl('attest', 'measure', self.path('image.eif'), '--release', name, code=USAGE)

    def test_refused(self):
        good, _ = sample(random.randbytes, 2, signer=self.signer)
        parts = [(KERNEL, b'k'), (CMDLINE, b'c'), (METADATA, b'{}')]
        self.no_image(b'', 'header:')
        self.no_image(b'#!/bin/sh\n' * 100, 'magic:')
        self.no_image(good[:547], 'header:')
        self.no_image(good[:-1], 'sizes:')
        self.no_image(good + b'x', 'sizes:')
        self.no_image(good[:-30] + bytes([good[-30] ^ 1]) + good[-29:], 'CRC-32:')
        self.no_image(image(parts, version=5), 'version:')
        self.no_image(image(parts, version=1), 'version:')
        self.no_image(image(parts[:2]), 'metadata:')
        self.no_image(image(parts + [(CMDLINE, b'c')]), 'cmdline:')
        self.no_image(image(parts + [(KERNEL, b'c')]), 'kernel:')
        self.no_image(image([parts[1], parts[0], parts[2]]), 'kernel:')
        self.no_image(image(parts + [(SIGNATURE, b'\x80')]), 'signature:')
        self.no_image(image(parts + [(SIGNATURE, cbor2.dumps([{'signing_certificate': b'x', 'signature': b'y'}]))]),
                      'signature:')
        for path, code in ((self.path('none'), CONFIG), (self.dir, NO), ('/dev/null', NO)):
            r = self.ctl('attest', 'measure', path, code=code)
            self.assertEqual((r.out, r.err.count('\n')), ('', 1))


class Diff(ImageCase):
    def diff(self, *args, code=OK, **kw):
        j = self.ctl('attest', 'diff', *args, '--json', code=code, **kw).json
        self.assertEqual(j['same'], code == OK)
        out = self.ctl('attest', 'diff', *args, code=code, **kw).out
        differ = [row['pcr'] for row in j['pcrs'] if row['verdict'] == 'differs']
        self.assertEqual([int(x) for x in re.findall(r'(?m)^PCR(\d+) +differs ', out)], differ)
        for row in j['pcrs']:
            self.assertTrue(row['means'])
            self.assertEqual(row['verdict'] == 'differs', None not in (row['a'], row['b']) and row['a'] != row['b'])
            if row['verdict'] == 'differs':
                self.assertIn('A ' + row['a'], out)
                self.assertIn('B ' + row['b'], out)
        return j, differ

    def test_documents(self):
        a, b, debug = vector('25-'), vector('11-'), vector('13-')
        self.assertEqual(self.diff(a.path, a.path)[1], [])
        wanted = [i for i in range(16) if a.pcrs[i] != b.pcrs[i]]
        j, differ = self.diff(a.path, b.path, code=NO)
        self.assertEqual(differ, wanted)
        self.assertEqual((j['a']['kind'], j['a']['proved'], j['b']['module_id']),
                         ('document', False, b.payload['module_id']))
        self.assertEqual(self.diff('-', a.path, stdin=base64.b64encode(a.raw).decode())[1], [])
        self.assertIn('(debug mode)', self.ctl('attest', 'diff', a.path, debug.path, code=NO).out)
        self.assertFalse(j['a']['debug'])
        self.assertIn('NOT PROVED', self.ctl('attest', 'diff', a.path, debug.path, code=NO).out)
        j, _ = self.diff(vector('22b').path, a.path, code=NO)
        self.assertEqual([row['pcr'] for row in j['pcrs'] if row['verdict'] == 'only in A'], [16])

    def test_debug(self):
        """What is the same in two documents of debug mode are zeros: no answer of `yes` comes of them."""
        debug, other = vector('13-'), vector('05-')
        for args, blamed in (((debug.path, debug.path), 2), ((debug.path, other.path), 2), ((debug.path, self.doc.path), 1),
                             ((self.doc.path, debug.path), 1), ((debug.path, self.zeros(debug)), 1)):
            r = self.ctl('attest', 'diff', *args, code=NO)
            self.assertEqual(len(re.findall(r'(?m)^cwcctl: \S+: DEBUG MODE: ', r.err)), blamed, r.err)
            self.assertEqual(r.err.count('\n'), blamed)
            self.assertEqual(r.out.count(', DEBUG MODE\n'), blamed)
            j = self.ctl('attest', 'diff', *args, '--json', code=NO).json
            self.assertEqual(sum(j[side].get('debug', False) for side in 'ab'), blamed)
        self.assertTrue(self.ctl('attest', 'diff', debug.path, debug.path, '--json', code=NO).json['same'])

    def zeros(self, debug):
        """A manifest cannot have them; what else it has of the document is the same."""
        return self.write('rest.txt', manifest(rest={0: some_pcr('x'), 3: debug.pcrs[3]}))

    def test_manifests_and_images(self):
        raw, pcrs = sample(random.randbytes, 3, signer=self.signer)
        eif = self.write('image.eif', raw)
        release = self.write('r.txt', self.ctl('attest', 'measure', eif, '--release', 'new').out)
        j, differ = self.diff(eif, release)
        self.assertEqual((differ, j['b']['release'], j['a']['kind'], j['b']['kind']), ([], 'new', 'image', 'manifest'))
        near = {**pcrs, 2: some_pcr('x')}
        both = self.write('both.txt', '# two\n' + manifest(far={0: some_pcr('y'), 1: some_pcr('y')}, near=near))
        j, differ = self.diff(both, eif, code=NO)
        self.assertEqual((differ, j['a']['release']), ([2], 'near'))
        # A document of this image, and the image without its signature.
        pinned = self.write('pinned.txt', manifest(doc={i: self.doc.pcrs[i] for i in RELEASE_PCRS}))
        self.assertEqual(self.diff(self.doc.path, pinned)[1], [])
        self.assertEqual(self.diff(self.doc.path, eif, code=NO)[1], [0, 1, 2, 8])
        plain, _ = sample(random.randbytes, 3)
        self.assertEqual(self.diff(self.doc.path, self.write('plain.eif', plain), code=NO)[1], [0, 1, 2])

    def test_refused(self):
        good = self.write('good.txt', manifest(a={0: some_pcr('a')}))
        self.ctl('attest', 'diff', '-', '-', code=USAGE)
        self.ctl('attest', 'diff', good, code=USAGE)
        for path in (self.path('none'), self.dir):
            for args in ((good, path), (path, good)):
                r = self.ctl('attest', 'diff', *args, code=CONFIG)
                self.assertEqual((r.out, r.err.count('\n')), ('', 1))
        self.ctl('attest', 'diff', good, self.write('bad.txt', 'release a\npcr0 0\n'), code=CONFIG)
        self.ctl('attest', 'diff', good, self.write('bad.eif', b'.eif' + bytes(600)), code=NO)
        for raw, code in ((b'', 'envelope_size'), (self.doc.raw[:-1], 'envelope_syntax')):
            r = self.ctl('attest', 'diff', good, self.write('bad.cbor', raw), code=NO)
            self.assertIn(': refused: %s: ' % code, r.err)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
