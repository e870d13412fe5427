# SPDX-License-Identifier: Apache-2.0
"""The queue client over TLS: whom it trusts, whom it does not."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from queue_harness import Case, Driver, Redis, free_port  # noqa: E402


class Tls(Case):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix='queue-client-tls-')
        cls.ca = cls.make_ca('ca')
        cls.other_ca = cls.make_ca('other')
        cls.server = cls.make_cert('server', 'ca', 'DNS:redis.test,IP:127.0.0.1')
        cls.client = cls.make_cert('client', 'ca', 'DNS:worker.test')
        cls.stranger = cls.make_cert('stranger', 'other', 'DNS:worker.test')
        cls.port = free_port()
        cls.shared = Redis('--tls-port', str(cls.port), '--tls-cert-file', cls.server[0], '--tls-key-file', cls.server[1],
                           '--tls-ca-cert-file', cls.ca, '--tls-auth-clients', 'yes')
        cls.address = 'tcp:127.0.0.1:%d' % cls.port

    @classmethod
    def tearDownClass(cls):
        cls.shared.stop()
        shutil.rmtree(cls.directory)

    @classmethod
    def openssl(cls, *args):
        subprocess.run(['openssl', *args], cwd=cls.directory, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    @classmethod
    def make_ca(cls, name):
        cls.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout',
                    name + '.key', '-out', name + '.pem', '-days', '2', '-subj', '/CN=' + name)
        return os.path.join(cls.directory, name + '.pem')

    @classmethod
    def make_cert(cls, name, ca, san):
        with open(os.path.join(cls.directory, name + '.ext'), 'w') as f:
            f.write('subjectAltName=' + san + '\n')
        cls.openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', name + '.key',
                    '-out', name + '.csr', '-subj', '/CN=' + name)
        cls.openssl('x509', '-req', '-in', name + '.csr', '-CA', ca + '.pem', '-CAkey', ca + '.key', '-CAcreateserial',
                    '-days', '2', '-extfile', name + '.ext', '-out', name + '.pem')
        return os.path.join(cls.directory, name + '.pem'), os.path.join(cls.directory, name + '.key')

    def options(self, **more):
        return {'tls': True, 'host': 'redis.test', 'ca': self.ca, 'cert': self.client[0], 'key': self.client[1], **more}

    def test_works(self):
        d = self.up(self.address, **self.options())
        self.assertWorks(d)
        text = 'y' * 2000000
        self.assertEqual(d.command('SET', '{q}:big', text)['reply'], 'OK')
        self.assertEqual(d.command('GET', '{q}:big')['reply'], text)
        self.assertEqual(d.call('storm', 5000, 'INCR', '{q}:tls')['ok'], 5000)

    def test_address_as_name(self):
        self.assertWorks(self.up(self.address, **self.options(host='127.0.0.1')))
        self.assertDown(self.driver(self.address, **self.options(host='127.0.0.2')), 'tls')

    def test_wrong_name(self):
        e = self.assertDown(self.driver(self.address, **self.options(host='other.test')), 'tls')
        self.assertIn('ostname', e['detail'])

    def test_wrong_ca(self):
        self.assertDown(self.driver(self.address, **self.options(ca=self.other_ca)), 'tls')

    def test_not_verified(self):
        self.assertWorks(self.up(self.address, **self.options(ca=None, host=None, no_verify=True)))

    def test_no_client_certificate(self):
        self.assertDown(self.driver(self.address, **self.options(cert=None, key=None)), 'tls')

    def test_strange_client_certificate(self):
        options = self.options(cert=self.stranger[0], key=self.stranger[1])
        self.assertDown(self.driver(self.address, **options), 'tls')

    def test_comes_back(self):
        d = self.up(self.address, **self.options())
        self.shared('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.assertDown(d, 'closed')
        d.event('up')
        self.assertWorks(d)

    def test_files_are_read_once(self):
        """A sandboxed worker cannot open files when it reconnects."""
        copy = os.path.join(self.directory, 'copy.pem')
        shutil.copy(self.ca, copy)
        d = self.up(self.address, **self.options(ca=copy))
        os.unlink(copy)
        self.shared('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.assertDown(d, 'closed')
        d.event('up')
        self.assertWorks(d)

    def refused(self, **more):
        d = Driver(self.address, **self.options(**more))
        e = d.event('refused')
        code, errors = d.close()
        self.assertEqual((code, errors), (1, ''))
        self.assertEqual(e['why'], 'config')
        return e['detail']

    def test_bad_files(self):
        self.assertIn('CA file', self.refused(ca='/nonexistent'))
        self.assertIn('CA file', self.refused(ca=None))
        self.assertIn('name', self.refused(host=None))
        self.assertIn('certificate', self.refused(cert='/nonexistent'))
        self.assertIn('key', self.refused(key=self.stranger[1]))
        self.assertIn('key', self.refused(key=None))
        locked = os.path.join(self.directory, 'locked.key')
        self.openssl('pkey', '-in', self.client[1], '-aes256', '-passout', 'pass:x', '-out', locked)
        self.assertIn('key', self.refused(key=locked))  # and asks nobody for the pass phrase


if __name__ == '__main__':
    unittest.main()
