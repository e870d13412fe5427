#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How cwcctl reaches Redis: addresses, time-outs, passwords, TLS, versions, and what it says when it cannot."""
import os
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import (BUILD, CONFIG, CTL, NO, UNAVAILABLE, USAGE, Case, letter, lines, rq)  # noqa: E402


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Connection(Case):
    def server(self, *args):
        server = rq.Server(*args)
        self.addCleanup(server.stop)
        return server

    def test_unreachable(self):
        address = 'unix:' + self.path('nobody')
        for args in (('depth',), ('results',), ('status', 's'), ('dead', 'list'), ('cancel', 's'), ('keys',), ('workers',),
                     ('offices',), ('hold', 'house', '--for', '1h', '--reason', 'x'), ('resume', 'house'),
                     ('enqueue', self.ring, *self.sealing, '--ring', self.ring)):
            r = self.ctl(*args, '--redis', address, code=NO if args[0] == 'enqueue' else UNAVAILABLE)
            if args[0] != 'enqueue':
                self.assertRegex(r.err, '^cwcctl: unix:.*nobody: connect: .*\n$')
        r = self.ctl('enqueue', '-', *self.sealing, '--ring', self.ring, '--redis', address, stdin=lines(letter('a')),
                     code=UNAVAILABLE)

    def test_silent_peer(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()
            started = time.monotonic()
            self.ctl('depth', '--redis', 'tcp:127.0.0.1:%d' % s.getsockname()[1], '--timeout', '300ms', code=UNAVAILABLE)
            self.assertLess(time.monotonic() - started, 5)

    def test_password(self):
        server = self.server()
        server.r('ACL', 'SETUSER', 'ops', 'on', '>hush-hush', '~*', '+@all')
        server.r('ACL', 'SETUSER', 'poor', 'on', '>hush-hush', '~*', '+@all', '-xrange', '-xrevrange', '-zrange')
        server.r('CONFIG', 'SET', 'requirepass', 'default-hush')
        redis = ('--redis', 'unix:' + server.path)
        good = self.write('good.pw', 'hush-hush\n', 0o600)
        self.ctl('depth', *redis, '--user', 'ops', '--password-file', good)
        self.ctl('depth', *redis, '--password-file', self.write('default.pw', 'default-hush', 0o600))
        for args in ((), ('--password-file', good), ('--user', 'none', '--password-file', good)):
            r = self.ctl('depth', *redis, *args, code=UNAVAILABLE)
            self.assertIn('queue_denied', r.err)
            self.assertNotIn('hush', r.err)
        r = self.ctl('dead', 'list', *redis, '--user', 'poor', '--password-file', good, code=UNAVAILABLE)
        self.assertIn('queue_denied', r.err)
        self.ctl('depth', *redis, '--password-file', self.write('open.pw', 'x', 0o644), code=CONFIG)
        self.ctl('depth', *redis, '--password-file', self.path('absent'), code=CONFIG)

    def test_newer_queue(self):
        server = self.server()
        server.r('HSET', rq.META, 'version', 2)
        self.assertIn('version 2', self.ctl('depth', '--redis', 'unix:' + server.path, code=CONFIG).err)

    def test_other_queue(self):
        server = self.server()
        server.r('XADD', '{r}:in', '*', 'sid', 's')
        redis = ('--redis', 'unix:' + server.path, '--json')
        self.assertEqual([self.ctl('depth', *redis, '--queue', q).json['in'] for q in 'qr'], [0, 1])

    def test_tls(self):
        def openssl(*args):
            subprocess.run(['openssl', *args], cwd=self.dir, check=True, stderr=subprocess.DEVNULL)
        key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2')
        for name in ('redis.test', 'other.test'):
            openssl('req', '-x509', *key, '-keyout', name + '.key', '-out', name + '.pem', '-subj', '/CN=' + name, '-addext',
                    'subjectAltName=DNS:' + name)
        with_tls = self.server('--tls-port', '0')
        port = free_port()
        with_tls.r('CONFIG', 'SET', 'tls-cert-file', self.path('redis.test.pem'), 'tls-key-file', self.path('redis.test.key'),
                   'tls-auth-clients', 'no', 'tls-port', port)
        options = ('--redis', 'tcp:127.0.0.1:%d' % port, '--tls')
        self.ctl('depth', *options, '--ca', self.path('redis.test.pem'), '--tls-host', 'redis.test')
        for ca, host in (('redis.test', 'other.test'), ('other.test', 'redis.test')):
            r = self.ctl('depth', *options, '--ca', self.path(ca + '.pem'), '--tls-host', host, code=UNAVAILABLE)
            self.assertIn('tls', r.err)
        self.ctl('depth', *options, '--ca', self.path('absent'), code=CONFIG)
        self.ctl('depth', *options, '--ca', self.path('redis.test.pem'), '--cert', self.path('redis.test.pem'), code=USAGE)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
