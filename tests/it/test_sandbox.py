#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker serves under its filter of system calls: through all that may happen to it. What the filter forbids is in
test_sandbox.c; that nothing more is needed, in every other test here, whose workers all live under it."""
import os
import shutil
import signal
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
import test_queue_tls  # noqa: E402
from stack import letters, wait_until  # noqa: E402

UNIT = os.path.join(stacks.ROOT, 'ops', 'systemd', 'cwc-worker.service')


def status(pid, task=None):
    path = '/proc/%d/task/%s/status' % (pid, task) if task else '/proc/%d/status' % pid
    with open(path, encoding='ascii') as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


def capabilities(s):
    return {int(s[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')}


def edit(stack, name, change):
    """Each configuration that is written from here on."""
    write = stack.write_config

    def write_config(*args):
        arguments = write(*args)
        with open(stack.path(name), 'r+', encoding='utf-8') as f:
            text = change(f.read())
            f.seek(0)
            f.truncate()
            f.write(text)
        return arguments
    stack.write_config = write_config


def instrumented():
    with open(stacks.PROGRAM, 'rb') as f:
        return b'libasan' in f.read(1 << 16)


class Case(unittest.TestCase):
    def setUp(self):
        if instrumented():
            self.skipTest('a build with the sanitizers is not confined')

    def start(self, worker=None, **options):
        self.stack = stacks.Stack(**{'lease': '3s', 'key_source': 'boot', **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.worker = self.stack.start_worker(**(worker or {}))
        return self.stack

    def confined(self):
        """Every thread, which has no capability either; the worker lives."""
        tasks = os.listdir('/proc/%d/task' % self.worker.pid)
        for task in tasks:
            s = status(self.worker.pid, task)
            self.assertEqual((s['Seccomp'], s['NoNewPrivs']), ('2', '1'), task)
            self.assertEqual(capabilities(s), {0}, task)
        return len(tasks)

    def deliver(self, n, seed):
        some = list(letters.sample(n, seed=seed))
        self.stack.submit(*some)
        jobs = sum(len(s['offices']) for s in some)
        before = getattr(self, 'jobs', 0)
        wait_until(lambda: len(account.last_results(self.stack)) == before + jobs, 60, '%d results' % jobs)
        self.jobs = before + jobs


class Serving(Case):
    def test_a_whole_life(self):
        """Letters, office lists, a Redis that restarts, one that is gone for a while, a drain."""
        self.start(redis=('--appendonly', 'yes', '--appendfsync', 'always'))
        self.assertEqual(self.confined(), 1)  # no name to look up: no thread
        self.worker.wait_event('offices_loaded', n=2)
        self.deliver(20, 1)
        self.stack.kill_redis()
        self.worker.wait_event('queue_down')
        self.stack.start_redis()
        self.worker.wait_event('queue_up', n=2)
        self.deliver(20, 2)
        self.stack.sim.close_idle()
        self.deliver(5, 3)
        self.assertEqual(self.confined(), 1)
        self.assertEqual(self.worker.events('unconfined'), [])
        self.assertEqual(self.worker.stop(), 0)
        self.assertEqual(os.listdir(self.stack.path('w1.bridge')), [])

    def test_names(self):
        """A chamber behind a name: the threads that look it up are there before the filter, and are bound too."""
        def named(address):
            return {'address': 'tcp:localhost:' + address.rsplit(':', 1)[1]}
        stack = self.stack = stacks.Stack(lease='3s', key_source='boot')
        self.addCleanup(stack.close)
        stack.start()
        stack.values['house'] = named(stack.sim.house)
        stack.values['senate'] = named(stack.sim.senate)
        self.worker = stack.start_worker()
        threads = self.confined()
        self.assertGreater(threads, 1)
        self.deliver(10, 4)
        self.assertEqual(self.confined(), threads)
        self.assertEqual(self.worker.stop(), 0)

    def test_libcurl_looks_up(self):
        """Without an address: libcurl finds out in threads of its own that these hosts do not exist here."""
        stack = self.stack = stacks.Stack(lease='3s', key_source='boot', jobs={'attempts': 1})
        self.addCleanup(stack.close)
        stack.start()
        stack.values['house'] = stack.values['senate'] = {'address': ''}
        # A name that cannot exist anywhere (RFC 6761), so that nothing leaves this machine.
        for chamber in ('house', 'senate'):
            stack.values['measured_' + chamber] = {'url': 'https://chamber.invalid/v2/message',
                                                   'offices_url': 'https://chamber.invalid/v2/offices'}
        edit(stack, 'measured.conf', lambda text: text + '[http]\nallowed_host = chamber.invalid\n')
        self.worker = stack.start_worker()
        self.worker.wait_event('offices_failed', n=2)
        self.confined()
        self.assertEqual({e['reason'] for e in self.worker.events('offices_failed')}, {'resolve'})
        self.assertEqual(self.worker.stop(), 0)

    def test_redis_over_tls(self):
        """With a client certificate: its files are read again for each new connection."""
        pki = test_queue_tls.Tls
        pki.directory = tempfile.mkdtemp(prefix='cwc-')
        self.addCleanup(shutil.rmtree, pki.directory)
        ca, port = pki.make_ca('ca'), test_queue_tls.free_port()
        server, client = (pki.make_cert(name, 'ca', 'DNS:redis.test') for name in ('server', 'client'))
        os.chmod(client[1], 0o600)
        stack = self.stack = stacks.Stack(
            lease='3s', key_source='boot',
            redis=('--tls-port', str(port), '--tls-cert-file', server[0], '--tls-key-file', server[1],
                   '--tls-ca-cert-file', ca),
            measured_queue={'tls': 'true', 'tls_host': 'redis.test', 'ca_file': ca, 'cert_file': client[0],
                            'key_file': client[1]})
        self.addCleanup(stack.close)
        stack.start()
        edit(stack, 'w1.conf', lambda text: text.replace('unix:' + stack.redis_path, 'tcp:127.0.0.1:%d' % port))
        self.worker = stack.start_worker()
        self.deliver(5, 5)
        for connection in stack.redis('CLIENT', 'LIST').splitlines():
            if 'cmd=evalsha' in connection or 'laddr=127.0.0.1' in connection:
                stack.redis('CLIENT', 'KILL', 'ADDR', dict(x.split('=', 1) for x in connection.split())['addr'])
        self.worker.wait_event('queue_up', n=2)
        self.deliver(5, 6)
        self.confined()
        self.assertEqual(self.worker.stop(), 0)


class Ends(Case):
    def test_second_signal(self):
        self.start(chamber={'total_timeout': '20s', 'first_byte_timeout': '20s'})
        self.stack.sim.fault(action='stall', office=letters.HOUSE)
        self.stack.submit(letters.base('second', 'letter', letters.HOUSE))
        wait_until(lambda: self.stack.sim.stats()['stats']['house']['in_flight'] == 1, what='a letter in flight')
        self.worker.kill(signal.SIGTERM)
        self.worker.wait_event('draining')
        self.worker.kill(signal.SIGTERM)
        self.assertEqual(self.worker.process.wait(20), 1)

    def test_off(self):
        """For a debugger: said aloud."""
        stack = self.stack = stacks.Stack(lease='3s', key_source='boot')
        self.addCleanup(stack.close)
        stack.start()
        edit(stack, 'measured.conf', lambda text: text.replace('[worker]\n', '[worker]\nsandbox = off\n', 1))
        self.worker = stack.start_worker()
        self.assertEqual(self.worker.wait_event('unconfined')['reason'], 'configured')
        self.assertEqual(status(self.worker.pid)['Seccomp'], '0')


class Unit(unittest.TestCase):
    def test_the_service_manager_lets_it(self):
        """No group of systemd's call filters has seccomp(), without which the worker does not start."""
        with open(UNIT, encoding='utf-8') as f:
            lines = [line.split('=', 1)[1].split() for line in f if line.startswith('SystemCallFilter=')]
        allowed = [word for words in lines if not words[0].startswith('~') for word in words]
        denied = [word for words in lines if words[0].startswith('~') for word in words]
        self.assertIn('seccomp', allowed)
        self.assertNotIn('seccomp', denied)


if __name__ == '__main__':
    unittest.main()
