#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ops/amazon-roots: the five authorities of Amazon and no other, or nothing."""
import os
import shutil
import stat
import subprocess
import tempfile
import unittest

from cryptography import x509

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, 'ops', 'amazon-roots')
DEBIAN = '/usr/share/ca-certificates/mozilla'
NAMES = ['Amazon Root CA %d' % i for i in range(1, 5)] + ['Starfield Services Root Certificate Authority - G2']
COMMON_NAME = x509.oid.NameOID.COMMON_NAME


class AmazonRoots(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='cwc-roots-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.out = os.path.join(self.dir, 'roots.pem')

    def run_program(self, *args):
        p = subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                           check=False)
        return p.returncode, p.stdout, p.stderr

    def written(self):
        with open(self.out, 'rb') as f:
            pem = f.read()
        end = b'-----END CERTIFICATE-----\n'
        self.assertTrue(pem.rstrip(b'\n').endswith(end.strip()))
        return [x509.load_pem_x509_certificate(part + end) for part in pem.split(end)[:-1]]

    def copies(self):
        """A directory of certificates that may be changed."""
        directory = os.path.join(self.dir, 'mozilla')
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
        for name in NAMES:
            shutil.copy(os.path.join(DEBIAN, name.replace(' ', '_') + '.crt'), directory)
        return directory

    def test_these_and_no_other(self):
        self.assertEqual(self.run_program(self.out), (0, '', ''))
        certificates = self.written()
        self.assertEqual([c.subject.get_attributes_for_oid(COMMON_NAME)[0].value for c in certificates], NAMES)
        self.assertTrue(all(c.subject == c.issuer for c in certificates))
        self.assertEqual(stat.S_IMODE(os.stat(self.out).st_mode), 0o644)
        self.assertEqual(os.listdir(self.dir), ['roots.pem'])

    def test_all_or_nothing(self):
        for name in NAMES:
            file = name.replace(' ', '_') + '.crt'
            for broken in (None, b'', b'no certificate\n'):
                directory = self.copies()
                os.unlink(os.path.join(directory, file))
                if broken is not None:
                    with open(os.path.join(directory, file), 'wb') as f:
                        f.write(broken)
                with self.subTest(file=file, broken=broken):
                    status, out, err = self.run_program(self.out, directory)
                    self.assertEqual((status, out), (1, ''))
                    self.assertIn(file, err)
                    self.assertEqual(os.listdir(self.dir), ['mozilla'])
        # What was there stays.
        self.assertEqual(self.run_program(self.out)[0], 0)
        self.assertEqual(self.run_program(self.out, directory)[0], 1)
        self.assertEqual(len(self.written()), 5)

    def test_without_a_last_line_end(self):
        directory = self.copies()
        for name in os.listdir(directory):
            with open(os.path.join(directory, name), 'rb+') as f:
                text = f.read().rstrip(b'\n')
                f.truncate(len(text))
        self.assertEqual(self.run_program(self.out, directory)[0], 0)
        self.assertEqual(len(self.written()), 5)

    def test_usage(self):
        self.assertEqual(self.run_program(self.out, DEBIAN, 'more')[0], 64)
        self.assertNotEqual(self.run_program(os.path.join(self.dir, 'none', 'x'))[0], 0)


if __name__ == '__main__':
    unittest.main()
