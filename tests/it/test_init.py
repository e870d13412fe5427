#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an enclave starts (ops/image/init.c), as an ordinary process: unix sockets stand for vsock, a script or the real
worker for the worker."""
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stack as stacks  # noqa: E402
from stack import BUILD, letters, wait_until  # noqa: E402

INIT = os.path.join(BUILD, 'cwc-init')
USER = 10001
CAP_SYS_ADMIN = 1 << 21


# With PATIENT true a line waits for room in the pipe.
WRITER = '''import os
import select
PATIENT = %r
for i in range(%d):
    while True:
        if PATIENT:
            select.select([], [2], [])
        try:
            os.write(2, b'%%d-%%s\\n' %% (i, b'x' * %d))
        except BlockingIOError:
            if PATIENT:
                continue
        break
'''


class Peer:
    """A stream socket of the parent: takes lines, or gives a file to whoever connects."""

    def __init__(self, path):
        self.path = path
        self.listener = self.conn = None
        self.text = b''

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.listener.settimeout(10)

    def accept(self):
        self.conn, _ = self.listener.accept()
        self.conn.settimeout(10)

    def close(self):
        for s in (self.conn, self.listener):
            if s is not None:
                s.close()
        self.conn = self.listener = None
        if os.path.exists(self.path):
            os.unlink(self.path)

    def lines(self, until, timeout=15):
        """The lines of this stream so far, when `until` is true of them."""
        end = time.monotonic() + timeout
        with selectors.DefaultSelector() as sel:
            sel.register(self.conn, selectors.EVENT_READ)
            while not until(self.text.decode().splitlines()):
                if not sel.select(max(0, end - time.monotonic())):
                    raise AssertionError('only %r' % self.text)
                more = self.conn.recv(65536)
                if not more:
                    raise AssertionError('the stream ended after %r' % self.text)
                self.text += more
        return self.text.decode().splitlines()

    def rest(self):
        while True:
            more = self.conn.recv(65536)
            if not more:
                return self.text.decode().splitlines()
            self.text += more


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)
        self.log, self.host = Peer(self.path('log')), Peer(self.path('host'))
        self.addCleanup(self.log.close)
        self.addCleanup(self.host.close)

    def path(self, name):
        return os.path.join(self.dir, name)

    def script(self, text, interpreter='/bin/sh'):
        path = self.path('worker')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('#!%s\n%s' % (interpreter, text))
        os.chmod(path, 0o755)
        return path

    def start(self, *args, log=True, **more):
        head = ['--log', 'unix:' + self.log.path] if log else []
        p = subprocess.Popen([INIT, *head, '--run', self.path('run'), *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

        def stop():
            if p.poll() is None:
                p.kill()
            p.communicate()

        self.addCleanup(stop)
        return p

    def status(self, p):
        return p.wait(timeout=30)

    @staticmethod
    def events(lines):
        return [json.loads(line)['event'] for line in lines if line.startswith('{')]


class Life(Case):
    def test_carries_lines_and_ends_as_the_worker_does(self):
        self.log.listen()
        p = self.start('--', self.script('echo "{\\"event\\":\\"one\\"}" >&2; echo two; exit 3\n'))
        self.log.accept()
        lines = self.log.rest()
        self.assertEqual(self.status(p), 3)
        self.assertEqual([lines[1], lines[2]], ['{"event":"one"}', 'two'])
        self.assertEqual(self.events(lines), ['init_started', 'one', 'worker_ended'])
        self.assertEqual(json.loads(lines[-1])['code'], 'status:3')
        # Nothing on its own streams: those of an enclave lead to a console that nobody can see.
        self.assertEqual(p.communicate(), (b'', b''))

    def test_a_signal(self):
        self.log.listen()
        p = self.start('--', self.script('kill -KILL $$\n'))
        self.log.accept()
        self.assertEqual(json.loads(self.log.rest()[-1])['code'], 'signal:9')
        self.assertEqual(self.status(p), 128 + 9)

    def test_passes_a_signal_on(self):
        self.log.listen()
        p = self.start('--', self.script('trap "echo draining; exit 0" TERM; echo up; while :; do sleep 0.05; done\n'))
        self.log.accept()
        self.log.lines(lambda t: 'up' in t)
        p.send_signal(signal.SIGTERM)
        self.assertIn('draining', self.log.rest())
        self.assertEqual(self.status(p), 0)

    def test_no_program(self):
        self.log.listen()
        p = self.start('--', self.path('nothing'))
        self.log.accept()
        self.assertEqual(self.events(self.log.rest()), ['init_started', 'worker_ended'])
        self.assertEqual(self.status(p), 71)

    def test_usage(self):
        for args in ([], ['--'], ['--log', 'tcp:127.0.0.1:1', '--', '/bin/true'], ['--', 'true'],
                     ['--user', '0', '--', '/bin/true'], ['--user', 'x', '--', '/bin/true'], ['--run', 'x', '--', '/bin/true'],
                     ['--', *['/bin/true'] * 30]):
            self.assertEqual(self.status(self.start(*args, log=False)), 64, args)

    def test_without_a_log(self):
        self.assertEqual(self.status(self.start('--', self.script('seq 1 100000; exit 5\n'), log=False)), 5)


class Log(Case):
    """The parent's relay may be late, restart, or stay away."""

    def test_a_late_relay(self):
        p = self.start('--', self.script('echo early; read x <%s; echo late\n' % self.fifo()))
        wait_until(lambda: os.path.exists(self.path('run')))
        self.log.listen()
        self.log.accept()
        self.log.lines(lambda t: 'early' in t)
        self.go()
        self.assertEqual(self.log.rest()[1:3], ['early', 'late'])
        self.assertEqual(self.status(p), 0)

    def writer(self, n, fill, then='', patient=False):
        """A worker that writes n numbered lines as the real one does: each with one call, lost when the pipe is full."""
        return self.script(WRITER % (patient, n, fill) + then, '/usr/bin/python3')

    def fifo(self):
        os.mkfifo(self.path('fifo'))
        return self.path('fifo')

    def go(self):
        with open(self.path('fifo'), 'w', encoding='utf-8') as f:
            f.write('\n')

    def test_a_relay_that_restarts(self):
        self.log.listen()
        p = self.start('--', self.script('echo before; read x <%s; echo after\n' % self.fifo()))
        self.log.accept()
        self.log.lines(lambda t: 'before' in t)
        self.log.close()
        self.go()
        self.log.listen()
        self.log.text = b''
        self.log.accept()
        lines = self.log.rest()
        self.assertEqual(lines[0], 'after')
        self.assertEqual(self.status(p), 0)

    def test_a_line_is_never_cut(self):
        """The stream breaks in the middle of a long line: all of the line comes again."""
        self.log.listen()
        self.log.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        p = self.start('--', self.writer(60, 3000, 'open(%r).read()\n' % self.fifo()))
        self.log.accept()
        first = self.log.conn.recv(3500)
        self.log.close()
        self.log.listen()
        self.log.accept()
        self.go()
        lines = self.log.rest()
        self.assertEqual(self.status(p), 0)
        self.assertTrue(first)
        numbers = [int(m.group(1)) for m in (re.fullmatch(r'(\d+)-(x+)', l) for l in lines) if m and len(m.group(2)) == 3000]
        whole = [l for l in lines if not l.startswith('{')]
        self.assertEqual(len(numbers), len(whole), [(l[:9], len(l)) for l in whole])
        self.assertEqual(numbers, list(range(numbers[0], 60)))

    def test_nobody_waits_and_what_is_lost_is_counted(self):
        done = self.path('done')
        p = self.start('--', self.writer(3000, 500, "open(%r, 'w').close()\nopen(%r).read()\n" % (done, self.fifo()), True))
        wait_until(lambda: os.path.exists(done))
        self.log.listen()
        self.log.accept()
        self.log.lines(lambda t: any('log_dropped' in line for line in t))
        self.go()
        lines = self.log.rest()
        self.assertEqual(self.status(p), 0)
        dropped = sum(json.loads(line)['count'] for line in lines if 'log_dropped' in line)
        kept = [line for line in lines if re.fullmatch(r'\d+-x{500}', line)]
        self.assertGreater(len(kept), 400)
        self.assertGreater(dropped, 100)
        self.assertEqual(dropped + len(kept), 3001)  # the first to go is init_started

    def test_a_relay_that_does_not_read(self):
        """The end of the worker is the end of the enclave all the same."""
        self.log.listen()
        p = self.start('--', self.writer(2000, 900))
        self.log.accept()
        self.assertEqual(self.status(p), 0)


class HostConfig(Case):
    def serve(self, *answers):
        for text in answers:
            conn, _ = self.host.listener.accept()
            conn.sendall(text)
            conn.close()

    def run_with(self, *answers):
        self.host.listen()
        self.log.listen()
        p = self.start('--host-config', 'unix:' + self.host.path, '--', self.script('echo "$@"; cat "$2"\n'))
        self.serve(*answers)
        self.log.accept()
        return p, self.log.rest()

    def test_given_to_the_worker(self):
        p, lines = self.run_with(b'[worker]\nname = i-1\n')
        self.assertEqual(lines[1:4], ['--host-config %s/host.conf' % self.path('run'), '[worker]', 'name = i-1'])
        self.assertEqual(self.status(p), 0)

    def test_asked_again(self):
        """For nothing, and for what is cut off in the middle of a line or too long."""
        p, lines = self.run_with(b'', b'[worker]\nname = i-', b'[worker]\nname = i-2\n')
        self.assertEqual(lines[3], 'name = i-2')
        self.assertEqual(self.status(p), 0)

    def test_too_long(self):
        self.host.listen()
        self.log.listen()
        p = self.start('--host-config', 'unix:' + self.host.path, '--', self.script('wc -c <"$2"\n'))
        conn, _ = self.host.listener.accept()
        conn.sendall(b'#' * 70000 + b'\n')
        conn.close()
        self.serve(b'# fits\n')
        self.log.accept()
        self.assertEqual(self.log.rest()[1], '7')
        self.assertEqual(self.status(p), 0)


@unittest.skipUnless(os.geteuid() == 0, 'needs root')
class Rights(Case):
    def test_the_worker_has_one(self):
        self.log.listen()
        script = 'cat /proc/self/status; ulimit -c; ls -ld %s/run/cwc-worker; touch %s/x || echo denied\n'
        p = self.start('--user', str(USER), '--', self.script(script % (self.dir, self.dir)))
        self.log.accept()
        text = '\n'.join(self.log.rest())
        self.assertEqual(self.status(p), 0, text)
        field = dict(re.findall(r'^(\w+):[ \t]*(.*)$', text, re.M))
        self.assertEqual(field['Uid'].split(), [str(USER)] * 4)
        self.assertEqual(field['Gid'].split(), [str(USER)] * 4)
        self.assertRegex(text, r'(?m)^Groups:\s*$')
        for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            self.assertEqual(int(field[name], 16), CAP_SYS_ADMIN, name)
        self.assertEqual(field['NoNewPrivs'], '1')
        self.assertIn('\n0\n', text)
        self.assertRegex(text, r'drwx------ \d+ %d %d ' % (USER, USER))
        self.assertIn('denied', text)


class Real(Case):
    """The real worker, with its own host configuration: it is ready, drains, and its log comes out."""

    def no_rights(self, init, unconfined):
        """The one capability is for the entropy of the start; a worker that serves has none, in no thread of it."""
        child = subprocess.run(['pgrep', '-P', str(init)], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
        for thread in os.listdir('/proc/%s/task' % child):
            with open('/proc/%s/task/%s/status' % (child, thread), encoding='utf-8') as f:
                found = dict(re.findall(r'^(Cap(?:Inh|Prm|Eff|Amb)):[ \t]*(.*)$', f.read(), re.M))
            if not unconfined:
                self.assertEqual({int(v, 16) for v in found.values()}, {0}, found)

    def test_the_worker(self):
        with stacks.Stack() as stack:
            args = stack.write_config('w1')
            with open(args[3], encoding='utf-8') as f:
                host = f.read()
            self.host.listen()
            self.log.listen()
            p = self.start('--host-config', 'unix:' + self.host.path, '--', stack.program, *args[:2])
            conn, _ = self.host.listener.accept()
            conn.sendall(host.encode() + b'\n')
            conn.close()
            self.log.accept()
            self.log.lines(lambda t: 'ready' in self.events(t))
            self.no_rights(p.pid, 'unconfined' in self.events(self.log.text.decode().splitlines()))
            stack.submit(letters.base('hello'))
            stack.wait_results(1)
            p.send_signal(signal.SIGTERM)
            events = self.events(self.log.rest())
            self.assertEqual(self.status(p), 0)
            self.assertIn('letter_ended', events)
            self.assertLess(events.index('draining'), events.index('stopped'))
            self.assertEqual(events[-1], 'worker_ended')


if __name__ == '__main__':
    unittest.main()
