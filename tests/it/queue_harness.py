# SPDX-License-Identifier: Apache-2.0
"""Real Redis servers and the driver of the queue client, for the tests test_queue_*.py.

CWC_BUILD names the directory of the build; QUEUE_DRIVER another program than its tools/queue_driver.
"""
import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BUILD = os.environ.get('CWC_BUILD', 'build/release')
DRIVER = os.environ.get('QUEUE_DRIVER', os.path.join(BUILD, 'tools/queue_driver'))
PATIENCE = 20  # seconds until a missing event fails the test
OK, LOST = 'ok', 'queue_lost'


class Control:
    """A plain connection for the test itself."""

    def __init__(self, path, password=None):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.file = self.sock.makefile('rb')
        try:
            self.sock.connect(path)
            if password:
                self('AUTH', password)
            self('PING')
        except (OSError, RuntimeError):
            self.close()
            raise

    def __call__(self, *args):
        out = b'*%d\r\n' % len(args)
        for a in args:
            a = a if isinstance(a, bytes) else str(a).encode()
            out += b'$%d\r\n%s\r\n' % (len(a), a)
        self.sock.sendall(out)
        return self.read()

    def read(self):
        head = self.file.readline()
        kind, rest = head[:1], head[1:-2]
        if kind == b'+':
            return rest.decode()
        if kind == b':':
            return int(rest)
        if kind == b'$':
            return None if rest == b'-1' else self.file.read(int(rest) + 2)[:-2]
        if kind == b'*':
            return [self.read() for _ in range(int(rest))]
        raise RuntimeError(head.decode() or 'closed')

    def close(self):
        self.file.close()
        self.sock.close()


class Redis:
    def __init__(self, *args, directory=None, password=None, wait=True):
        self.own = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix='queue-client-')
        self.path = os.path.join(self.directory, 'redis.sock')
        self.address = 'unix:' + self.path
        self.args = args
        self.password = password
        self.control = None
        self.start(wait)

    def start(self, wait=True):
        self.process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.path, '--save', '', '--dir', self.directory,
             '--loglevel', 'warning', *self.args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while wait:
            try:
                self.control = Control(self.path, self.password)
                return
            except (OSError, RuntimeError):
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.01)

    def __call__(self, *args):
        return self.control(*args)

    def kill(self):
        if self.control:
            self.control.close()
            self.control = None
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        if self.own:
            shutil.rmtree(self.directory, ignore_errors=True)


class Driver:
    def __init__(self, address, **options):
        options = {'address': address, 'name': 'q', **options}
        self.process = subprocess.Popen([DRIVER, json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.seen = []
        self.answers = {}
        self.events = []
        self.n = 0
        self.end = None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def step(self):
        line = self.lines.get(timeout=PATIENCE)
        if line is None:
            raise AssertionError('the driver ended: ' + self.process.stderr.read())
        self.seen.append(line)
        message = json.loads(line)
        if 'id' in message:
            self.answers[message['id']] = message
        else:
            self.events.append(message)

    def send(self, what, *args):
        self.n += 1
        key = 'r%d' % self.n
        self.process.stdin.write(json.dumps([what, key, *args]) + '\n')
        try:
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, as some orders make it do; its exit status tells
        return key

    def order(self, *args):
        self.process.stdin.write(json.dumps(args) + '\n')
        self.process.stdin.flush()

    def wait(self, key):
        while key not in self.answers:
            self.step()
        return self.answers.pop(key)

    def call(self, what, *args):
        return self.wait(self.send(what, *args))

    def command(self, *args):
        return self.call('command', *args)

    def event(self, name):
        """Drops events until one of this name."""
        dropped, end = [], time.monotonic() + PATIENCE
        while True:
            while self.events:
                dropped.append(self.events.pop(0))
                if dropped[-1]['event'] == name:
                    return dropped[-1]
            if time.monotonic() > end:
                raise AssertionError('no %s, but %s' % (name, dropped[-3:]))
            self.step()

    def state(self):
        self.order('state')
        return self.event('state')

    def wait_outstanding(self, n):
        end = time.monotonic() + PATIENCE
        while self.state()['outstanding'] != n:
            if time.monotonic() > end:
                raise AssertionError('never %d outstanding' % n)

    def close(self):
        """The driver's exit code and errors; everything that it ever printed stays in self.seen."""
        if self.end:
            return self.end
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        code = self.process.wait(timeout=PATIENCE)
        self.reader.join()
        while not self.lines.empty():
            line = self.lines.get()
            if line:
                self.seen.append(line)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        self.end = code, errors
        return self.end


def free_port():
    """Low enough that a cluster node finds room for its bus, 10000 above."""
    while True:
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            if s.getsockname()[1] < 55000:
                return s.getsockname()[1]


def now_us():
    return time.time_ns() // 1000


class Case(unittest.TestCase):
    def redis(self, *args, **options):
        r = Redis(*args, **options)
        self.addCleanup(r.stop)
        return r

    def driver(self, address, **options):
        d = Driver(address, **options)
        self.addCleanup(self.finish, d)
        return d

    def finish(self, d):
        code, errors = d.close()
        self.assertEqual((code, errors), (0, ''))

    def up(self, address, **options):
        d = self.driver(address, **options)
        d.event('up')
        return d

    def assertDown(self, d, *why):
        e = d.event('down')
        self.assertIn(e['why'], why, e)
        return e

    def assertWorks(self, d):
        self.assertEqual(d.command('PING'), {'id': 'r%d' % d.n, 'e': OK, 'reply': 'PONG'})
