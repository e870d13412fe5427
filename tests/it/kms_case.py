# SPDX-License-Identifier: Apache-2.0
"""What the tests of the KMS client share: the driver, and a server that answers as a test tells it to.

CWC_BUILD names the directory of the build; KMS_DRIVER another program than its tools/kms_client_driver. Attestation
documents are verified by a development build's cwcctl (KMS_VERIFIER: another command, {} is the file); without one they
are believed (tests/sim/attest_unverified.py). The driver runs under the worker's filter of system calls, and must live."""
import json
import os
import queue
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'sim'))
import kms_ctl  # noqa: E402

BUILD = os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release'))
DRIVER = os.environ.get('KMS_DRIVER', os.path.join(BUILD, 'tools', 'kms_client_driver'))
CWCCTL = os.environ.get('CWCCTL_DEV', os.path.join(ROOT, 'build', 'dev', 'cwcctl'))
VERIFIER = os.environ.get('KMS_VERIFIER', shlex.quote(CWCCTL) + ' attest verify --chain-only --json {}'
                          if os.path.exists(CWCCTL) else kms_ctl.UNVERIFIED)
VERIFIES = VERIFIER != kms_ctl.UNVERIFIED
IMAGE, OTHER, ZEROS = bytes(range(48)), bytes(range(1, 49)), bytes(48)
PURPOSE = 'ring key'
TIMEOUT_S = 60
EXCHANGE_S = 10  # KMS_CLIENT_TIMEOUT_MS
MASK = 0x5a


def instrumented():
    with open(DRIVER, 'rb') as program:
        data = program.read(1 << 16)
        return b'libasan' in data or b'libtsan' in data


class Driver:
    """A process with one client. `options` are members of its command "open"."""

    def __init__(self, confine=True, env=None, **options):
        self.dir = tempfile.mkdtemp(prefix='kms-')
        self.complaints = tempfile.TemporaryFile()
        self.process = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.complaints, env=dict(os.environ, **env or {}))
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.number = 0
        self.opened = self.open(**options)
        self.confined = confine and self.opened['err'] == 'ok' and not instrumented()
        if self.confined:
            assert self.ask('confine')['err'] == 'ok'

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def line(self):
        found = self.lines.get(timeout=TIMEOUT_S)
        assert found is not None, 'the driver ended: %s' % self.process.wait(TIMEOUT_S)
        return found

    def say(self, what, **members):
        self.process.stdin.write(json.dumps(dict(members, do=what)).encode() + b'\n')
        self.process.stdin.flush()

    def ask(self, what, **members):
        self.say(what, **members)
        return self.line()

    def open(self, **options):
        return self.ask('open', **{'dir': os.path.join(self.dir, 'bridge'), 'pcr0': IMAGE.hex(), **options})

    def begin(self, op='generate', blob='', purpose=PURPOSE, **more):
        self.number += 1
        self.say('call', id='%d' % self.number, op=op, blob=blob, **{'context': {'purpose': purpose}, **more})

    def call(self, op='generate', blob='', **more):
        self.begin(op, blob, **more)
        return self.line()

    def found(self, text=None):
        """How often the text, or the last data key, stands in the driver's memory. Not under the filter."""
        masked = bytes(b ^ MASK for b in text).hex() if text is not None else ''
        answer = self.ask('scan', hex=masked)
        assert answer['ok'], answer
        return answer['found']

    def filters(self):
        """Of each thread."""
        tasks = '/proc/%d/task' % self.process.pid
        found = []
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, 'status'), encoding='ascii') as status:
                found += [line.split()[1] for line in status if line.startswith('Seccomp:')]
        return found

    def close(self):
        """The status; what the driver wrote to standard error is the log, and says nothing but failed dials."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            status = self.process.wait(TIMEOUT_S)
        finally:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.complaints.seek(0)
        said = self.complaints.read().decode()
        self.complaints.close()
        shutil.rmtree(self.dir)
        assert all('"event":"bridge_dial"' in line for line in said.splitlines()), said
        return status


def http(status, body=b'', headers=b''):
    return b'HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s' % (status, len(body), headers, body)


def read_request(connection):
    """Head and body; nothing when the other side went away."""
    got = b''
    while b'\r\n\r\n' not in got:
        piece = connection.recv(65536)
        if not piece:
            return b'', b''
        got += piece
    head, _, body = got.partition(b'\r\n\r\n')
    length = 0
    for line in head.split(b'\r\n'):
        name, _, value = line.partition(b':')
        if name.lower() == b'content-length':
            length = int(value)
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            return b'', b''
        body += piece
    return head, body


class Peer:
    """A server on loopback. `serve(connection, head, body)` is called for each request, one in a connection; with
    `raw`, serve(connection) for each connection, before any byte, and before TLS. `seen` gets the head of each
    request."""

    def __init__(self, serve, tls=None, raw=False):
        self.serve, self.tls, self.raw = serve, tls, raw
        self.seen = queue.Queue()
        self.release = threading.Event()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = 'tcp:127.0.0.1:%d' % self.listener.getsockname()[1]
        self.connections = 0
        self.threads = []
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(TIMEOUT_S)
            thread = threading.Thread(target=self.handle, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def handle(self, connection):
        try:
            if self.raw:
                self.seen.put(b'')
                self.serve(connection)
                return
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            head, body = read_request(connection)
            if head:
                self.seen.put(head)
                self.serve(connection, head, body)
        except OSError:
            pass  # the client gave up
        finally:
            connection.close()

    def wait(self):
        """The head of the next request."""
        return self.seen.get(timeout=TIMEOUT_S)

    def hang(self, *_request):
        """Until the test is over."""
        self.release.wait(TIMEOUT_S)

    def drip(self, connection, text):
        """Endless, byte after byte, as fast as it is slow."""
        try:
            for byte in text:
                connection.sendall(bytes((byte,)))
                if self.release.wait(0.05):
                    return
            while not self.release.wait(0.05):
                connection.sendall(b'a')
        except OSError:
            pass

    def close(self):
        self.release.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join(TIMEOUT_S)
        for thread in self.threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), 'a connection does not end'


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = kms_ctl.KmsSim(kms_ctl.policy(IMAGE.hex(), context_purpose=[PURPOSE, 'other']), verifier=VERIFIER)
        cls.addClassCleanup(cls.sim.close)

    def setUp(self):
        self.sim.reset()

    def driver(self, **options):
        ready = self.sim.ready
        d = Driver(**{'arn': ready['keys'][0], 'ca': ready['ca'], 'kms': ready['kms'], 'imds': ready['imds'],
                      **options})
        self.addCleanup(self.end, d)
        return d

    def end(self, driver):
        self.assertEqual(driver.close(), 0)

    def peer(self, serve, **options):
        p = Peer(serve, **options)
        self.addCleanup(p.close)
        return p

    def ended(self, report, why, status=0, retry=None):
        self.assertEqual((report['why'], report['status'], report['ok']), (why, status, why == 'ok'))
        if retry is not None:
            self.assertIs(report['retry'], retry, report)
        if why != 'ok':
            self.assertEqual((report['key'], report['blob']), ('', ''))
