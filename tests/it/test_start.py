#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How a worker starts, or says why it does not; and when it is ready."""
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

EX_USAGE, EX_CONFIG = 64, 78


class Start(Case):
    """What keeps a worker from starting is said in one line; the exit status tells a supervisor not to try again."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stacks.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()

    def run_worker(self, *args):
        return subprocess.run([self.stack.program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, text=True)

    def refused(self, pattern, *args):
        p = self.run_worker(*args)
        self.assertEqual(p.returncode, EX_CONFIG, p.stderr)
        text = [line for line in p.stderr.splitlines() if not line.startswith('{')]
        self.assertEqual(len(text), 1, p.stderr)
        self.assertRegex(text[0], pattern)
        self.assertEqual(p.stdout, '')

    def edited(self, which, old, new):
        """Arguments for a worker whose measured (0) or host (1) configuration, or the one (None) that has such a line,
        differs in one place. old: a regular expression for a whole line."""
        args = self.stack.write_config('w1')
        for path in args[1::2] if which is None else [args[1 + 2 * which]]:
            with open(path, encoding='utf-8') as f:
                text, n = re.subn('(?m)^%s$' % old, lambda _: new, f.read(), count=1)
            if n == 1:
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(text)
                return args
        self.fail('no line ' + old)

    def file(self, name, text, mode=0o600):
        path = self.stack.path(name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def test_usage(self):
        good = self.stack.write_config('w1')
        for args in ([], ['--config'], ['--no-such-option'], good + ['operand'], good + ['--log-format', 'xml'],
                     good[2:], ['--config=' + good[1], '--host-config']):
            with self.subTest(args):
                p = self.run_worker(*args)
                self.assertEqual((p.returncode, p.stdout), (EX_USAGE, ''))
                self.assertIn('usage: cwc-worker', p.stderr)

    def test_asked(self):
        good = self.stack.write_config('w1')
        for args, pattern in ((['--version'], r'^cwc-worker \d+\.\d+\.\d+$'), (['--help'], '^usage: cwc-worker '),
                              (good + ['--check-config'], 'is good$'), (good + ['--print-config'], r'(?m)^\[house\]$')):
            p = self.run_worker(*args)
            self.assertEqual((p.returncode, p.stderr), (0, ''))
            self.assertRegex(p.stdout.strip(), pattern)

    def test_configuration(self):
        good = self.stack.write_config('w1')
        none = self.stack.path('no-such.conf')
        self.refused('no-such.conf', '--config', none)
        self.refused('no-such.conf', *good[:2], '--host-config', none)
        cases = ((1, 'name = w1', 'name = w 1', 'name'), (1, r'\[http\]', '[htpt]', 'htpt'),
                 (1, 'concurrency = 32', 'concurrency = 257', 'concurrency'),
                 (1, 'concurrency = 32', 'concurency = 32', 'concurency'),
                 (1, 'address = tcp.*', 'address = tcp:nowhere', 'address'),
                 (1, r'\[jobs\]', '[jobs]\nsigner = app-9 ' + self.stack.app.public.hex(), 'signer'),
                 (1, r'\[senate\]', '[senate]\nurl = https://soapbox.senate.gov/api/testing-messages/', 'url'),
                 (0, 'environment = .*', 'environment = staging', 'environment'),
                 (0, 'signer = .*', '', 'signer'), (0, 'source = .*', 'source = kms', 'source'),
                 (0, 'agent_ack_email = .*', 'agent_ack_email = nobody', 'agent_ack_email'),
                 (0, 'offices_url = https://uat.*', 'offices_url = https://mail.example.org/v2/offices', 'offices_url'),
                 (0, 'url = https://uat.*', 'url = http://uat-cwc.house.gov/v2/message', 'url'))
        for which, old, new, pattern in cases:
            with self.subTest(new):
                self.refused(pattern, *self.edited(which, old, new))
                self.refused(pattern, *self.edited(which, old, new), '--check-config')

    def test_secrets(self):
        key = self.stack.sim.key
        cases = (('missing', None, 'does not exist'), (self.file('open', key, 0o644), None, '0600'),
                 (self.file('group', key, 0o640), None, '0600'), (self.file('empty', '\n'), None, 'empty'),
                 (self.file('huge', 'k' * 600), None, 'too large'), (self.stack.dir, None, 'readable by others|0600'))
        for path, _, pattern in cases:
            path = path if path.startswith('/') else self.stack.path(path)
            with self.subTest(path):
                self.refused('house.api_key_file: .*(%s)' % pattern,
                             *self.edited(None, 'api_key_file = .*', 'api_key_file = ' + path))
        self.refused('queue.password_file: .*does not exist',
                     *self.edited(0, r'\[queue\]', '[queue]\npassword_file = ' + self.stack.path('none')))

    def test_hash_of_an_api_key(self):
        """A key of another account is none of ours, whoever put the file there."""
        key = self.stack.sim.key
        for text, good in ((key, True), (key + ' ', False), (key[:-1], False)):
            config = self.edited(0, r'\[house\]', '[house]\napi_key_sha256 = '
                                 + hashlib.sha256(text.encode()).hexdigest().upper())
            with self.subTest(text):
                if good:
                    self.refused('^cwc-worker: keys.file: .*does not exist', *self.without_ring(config))
                else:
                    self.refused('^cwc-worker: house.api_key_sha256: is not the hash', *config)

    def without_ring(self, config):
        """It is asked for after the secrets: so far they were good."""
        with open(config[1], encoding='utf-8') as f:
            text = f.read()
        with open(config[1], 'w', encoding='utf-8') as f:
            f.write(re.sub('(?m)^file = .*', 'file = ' + self.stack.path('none'), text))
        return config

    def test_authorities(self):
        for path in (self.stack.path('none.pem'), self.file('bad.pem', 'not a certificate\n')):
            with self.subTest(path):
                self.refused('^cwc-worker: house: the CA file',
                             *self.edited(None, 'ca_file = .*', 'ca_file = ' + path))

    def test_key_ring(self):
        good = ['%s %s' % (profile, secret.hex()) for profile, secret in self.stack.ring_secret.items()]
        cases = (('none', None, 0o600, ''), ('open', '\n'.join(good), 0o644, '0600|others'),
                 ('empty', '', 0o600, ''), ('profile', 'post ' + '11' * 32, 0o600, 'line 1'),
                 ('hex', good[0] + '\nletter ' + 'zz' * 32, 0o600, 'line 2'),
                 ('short', 'letter 1122', 0o600, 'line 1'), ('twice', good[0] + '\n' + good[0], 0o600, 'line 2'))
        for name, text, mode, pattern in cases:
            with self.subTest(name):
                path = self.stack.path('ring-' + name)
                if text is not None:
                    self.file('ring-' + name, text + '\n', mode)
                self.refused('keys.file: .*(%s)' % pattern, *self.edited(None, 'file = .*', 'file = ' + path))

    def test_bridge_directory(self):
        os.mkdir(self.stack.path('shared'), 0o700)
        os.chmod(self.stack.path('shared'), 0o755)
        os.symlink(self.stack.dir, self.stack.path('link'))
        for path in (self.stack.path('shared'), self.file('a-file', ''), self.stack.path('none/bridge'),
                     self.stack.path('link')):
            with self.subTest(path):
                self.refused('bridge', *self.edited(None, 'bridge_dir = .*', 'bridge_dir = ' + path))


class Notify:
    """A socket such as a service manager's."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace('@', '\0', 1) if address.startswith('@') else address)
        self.socket.settimeout(20)

    def next(self):
        return self.socket.recv(4096).decode().splitlines()


class Readiness(Case):
    def test_notified(self):
        stack = self.start(worker=False)
        for address in (stack.path('notify'), '@cwc-notify-%d' % os.getpid()):
            with self.subTest(address):
                notify = Notify(address)
                self.addCleanup(notify.socket.close)
                worker = stack.start_worker(env={'NOTIFY_SOCKET': address})
                self.assertIn('READY=1', notify.next())
                stack.kill_redis()
                self.assertEqual(notify.next(), ['STATUS=not ready'])
                stack.start_redis()
                self.assertIn('READY=1', notify.next())
                worker.kill(signal.SIGTERM)
                self.assertEqual(notify.next(), ['STOPPING=1'])
                self.assertEqual(worker.process.wait(20), 0)

    def test_redis_comes_later(self):
        stack = self.start(worker=False)
        stack.kill_redis()
        worker = stack.start_worker(ready=False)
        worker.wait_event('queue_down')
        self.assertEqual(worker.events('ready'), [])
        stack.start_redis()
        worker.wait_event('ready')
        stack.submit(letter('at-last'))
        self.wait_results(1)
        account.check(self, stack)
        self.assertEqual(worker.stop(), 0)

    def test_stops_at_once_without_redis(self):
        """Nothing is in flight, so there is nothing to wait for."""
        stack = self.start(worker=False)
        stack.kill_redis()
        worker = stack.start_worker(ready=False)
        worker.wait_event('queue_down')
        start = time.monotonic()
        self.assertEqual(worker.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)

    def test_refuses_a_redis_that_forgets(self):
        stack = self.start(worker=False, redis=['--maxmemory-policy', 'allkeys-lru'])
        worker = stack.start_worker(ready=False)
        self.assertEqual(worker.wait_event('queue_down')['code'], 'queue_policy')
        stack.submit(letter('patient'))
        stack.redis('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        worker.wait_event('ready')
        self.wait_results(1)

    def test_wrong_password(self):
        stack = self.start(worker=False, password='right')
        stack.password = 'wrong'
        worker = stack.start_worker(ready=False)
        stack.password = 'right'
        self.assertEqual(worker.wait_event('queue_down')['code'], 'queue_denied')
        self.assertEqual(worker.events('ready'), [])
        stack.start_worker('w2')

    def test_name_taken(self):
        stack = self.start()
        second = stack.start_worker(ready=False)
        third = stack.start_worker(ready=False)
        for w in (second, third):
            error = w.wait_event('queue_error')
            self.assertEqual((error['command'], error['code']), ('join', 'exists'))
            self.assertEqual(w.events('ready'), [])
        start = time.monotonic()
        self.assertEqual(third.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(self.worker.stop(), 0)
        second.wait_event('ready')
        stack.submit(letter('taken-over'))
        self.wait_results(1)
        account.check(self, stack)

    def test_out_of_memory(self):
        """Redis is full: not ready and no intake, but what is inside goes out; then it goes on."""
        stack = self.start(worker=False)
        inside, more = [letter('inside-%d' % n) for n in range(30)], [letter('more-%d' % n) for n in range(30)]
        stack.submit(*inside)
        self.assertEqual(stack.script('enqueue', 100)[:2], ['OK', 30])
        stack.submit(*more)
        stack.redis('CONFIG', 'SET', 'maxmemory', '1mb')
        worker = stack.start_worker(ready=False)
        self.assertEqual(worker.wait_event('not_ready')['reason'], 'queue_full')
        self.wait_results(30)
        stack.wait_status('inside-29', letters.HOUSE, 'accepted')
        self.assertEqual(stack.redis('XLEN', stack.key('in')), 30)
        with self.assertRaisesRegex(stacks.rq.RedisError, 'OOM'):
            stack.redis('XADD', stack.key('in'), '*', 'sid', 'too-much')
        stack.redis('CONFIG', 'SET', 'maxmemory', '0')
        worker.wait_event('ready')
        wait_until(lambda: stack.stream('attestations'), what='published keys')
        stack.submit(letter('after'))
        self.wait_results(61)
        last = account.check(self, stack, inside + more + [letter('after')])
        self.assertEqual(self.states(last), {'accepted': 61})
        self.assertEqual(stack.sim.count(), 61)


if __name__ == '__main__':
    unittest.main()
