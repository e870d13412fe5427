#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every command of `cwcctl help` that asks a queue, under each user of ops/redis: the one who needs it may, the others are
told by Redis that they may not."""
import http.client
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_acl  # noqa: E402
from cwcctl_case import CTL, SECOND, letter, lines, wait_until  # noqa: E402
from people_case import Case  # noqa: E402

# Those that ask no queue, or a worker's status port.
OTHERS = {'seal', 'receipts verify', 'render', 'attest verify', 'attest show', 'attest measure', 'attest diff', 'keys status',
          'keys request', 'keys rotate', 'keys signers', 'keys store', 'secrets seal', 'secrets show', 'signer show',
          'signer grant', 'signer show-grant', 'config check', 'config print', 'config example', 'outcomes', 'errors', 'model',
          'version', 'help'}
# How each of the others is called. `{}`: the directory of the test.
COMMANDS = {
    'enqueue': 'enqueue {}/sealed.jsonl', 'status': 'status done', 'cancel': 'cancel waits', 'results trim': 'results trim --older 1h',
    'results': 'results', 'fsck': 'fsck', 'reconcile': 'reconcile --ids {}/outbox.txt', 'dead list': 'dead list',
    'dead show': 'dead show d1 HNE03', 'dead stats': 'dead stats', 'dead matrix': 'dead matrix', 'dead export': 'dead export --jobs',
    'dead import': 'dead import {}/dead.jsonl --yes', 'dead replay': 'dead replay d1 HNE03', 'dead drop': 'dead drop d2 HNE03',
    'unknown list': 'unknown list', 'unknown resolve': 'unknown resolve u1 HNE03 accepted',
    'unknown import': 'unknown import {}/unknown.jsonl --yes', 'refused list': 'refused list', 'stuck list': 'stuck list',
    'audit list': 'audit list', 'audit summary': 'audit summary', 'shape': 'shape', 'offices': 'offices',
    'pause': 'pause all --for 1h --reason r', 'hold': 'hold HNE03 --for 1h --reason r', 'holds': 'holds', 'resume': 'resume all',
    'workers': 'workers', 'workers drain': 'workers drain w1', 'workers undrain': 'workers undrain w1', 'limits': 'limits',
    'top': 'top --count 1', 'depth': 'depth', 'exporter': 'exporter --listen tcp:127.0.0.1:0', 'scale': 'scale --publish',
    'keys': 'keys', 'delivery': 'delivery ' + 32 * 'd',
}
REFUSED = r'NOPERM|no permission|not allowed|can.t (access|run)|queue_denied|a queue script failed'
# Who may run which, but for the operator, who may run all. A worker's user is not here: it may read
# and write every key of its queue. The app server's two use queue/js or commands of their own, and not cwcctl.
MAY = {
    'cwc-producer': set(),
    'cwc-app': set(),
    'cwc-host': {'depth', 'scale', 'exporter', 'workers', 'workers drain', 'workers undrain', 'limits', 'holds',
                 'dead show', 'unknown list'},  # records, which hold nothing of a letter
}


class Commands(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        test_acl.load(cls.server.r)
        cls.password = cls.write('password', test_acl.PASSWORD + '\n', 0o600)
        cls.plain = cls.redis

    def setUp(self):
        type(self).redis = self.plain
        super().setUp()
        self.die('d1')
        self.die('d2')
        self.doubt('u1')
        self.accepted('done')
        self.add('waits')
        self.intake()
        self.call('beat', 'w1/1', 60 * SECOND, 'join', self.now(), 1, '')
        self.write('letters.jsonl', lines(letter('new')))
        self.write('sealed.jsonl', self.ctl('seal', self.path('letters.jsonl'), *self.sealing, '--ring', self.ring).out)
        self.write('dead.jsonl', self.ctl('dead', 'export', '--jobs').out.replace('"d1"', '"d3"').replace('"d2"', '"d4"'))
        self.write('unknown.jsonl', self.ctl('unknown', 'list', '--export', '--jobs').out.replace('"u1"', '"u2"'))
        self.write('outbox.txt', 'done HNE03\n')

    def served(self, args):
        """The exporter starts in any case, and says whether it gets its answers."""
        process = self.start(*args)
        port = int(re.match(r'listening on port (\d+)\n', process.stdout.readline()).group(1))

        def up():
            c = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
            c.request('GET', '/metrics')
            found = re.search(r'^cwcq_up (\d)', c.getresponse().read().decode(), re.M)
            c.close()
            return found
        try:
            return wait_until(up, what='an answer').group(1) == '1'
        finally:
            self.end(process)

    def may(self, user, name):
        """Whether this user may run it; what refuses must be Redis."""
        type(self).redis = (*self.plain, '--user', user, '--password-file', self.password)
        args = COMMANDS[name].replace('{}', self.dir).split()
        if name == 'exporter':
            return self.served(args)
        r = subprocess.run([CTL, *args, *self.redis], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=30, check=False, text=True)
        refused = re.search(REFUSED, r.stderr) is not None
        self.assertTrue(r.returncode in (0, 1) or refused, (user, args, r.returncode, r.stderr))
        self.assertTrue(r.returncode != 0 or not refused, (user, args, r.stderr))
        return not refused

    def test_every_command_is_here(self):
        text = subprocess.run([CTL, 'help'], stdout=subprocess.PIPE, check=True, text=True).stdout
        names = set(re.findall(r'^  ([a-z]+(?: [a-z-]+)?)  +[A-Z]', text.split('Options of every')[0], re.M))
        self.assertEqual(names, OTHERS | set(COMMANDS))

    def test_operator(self):
        self.r('ACL', 'LOG', 'RESET')
        for name in COMMANDS:
            with self.subTest(name):
                self.setUp()
                self.assertTrue(self.may('cwc-operator', name))
        # None of it only looked as if it had been done.
        self.assertEqual([e['username'] for e in map(test_acl.rq.pairs, self.r('ACL', 'LOG'))], [])

    def others(self, user):
        self.assertEqual({name for name in COMMANDS if self.may(user, name)}, MAY[user])

    def test_producer(self):
        self.others('cwc-producer')

    def test_app_server(self):
        self.others('cwc-app')

    def test_host(self):
        self.others('cwc-host')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
