#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The status port against clients that are slow, many, malformed or hostile: they get nothing, and letters go on."""
import base64
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402
from status_case import StatusCase  # noqa: E402
from status_client import ask, connect, read_answer, request  # noqa: E402

DRIVER = os.path.join(stacks.BUILD, 'tools', 'status_driver')
CONNECTIONS = 32
PATHS = ('/health', '/ready', '/attestation', '/keys', '/metrics')


class Driver(unittest.TestCase):
    """The server alone, under the sanitizers where they are built, with documents that the test can tell."""
    what = 'none'
    times = ()    # other ones than the server's own: for a ticket, of a connection (ms)

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.address = 'unix:%s/status' % self.dir
        self.start()

    def start(self):
        self.process = subprocess.Popen([DRIVER, self.address, self.what, *map(str, self.times)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        self.assertEqual(self.process.stdout.readline(), 'listening\n')

    def end(self):
        """In the middle of whatever is open. Also says whether memory was lost, if it was built so."""
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        try:
            self.assertEqual(self.process.wait(20), 0)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def cpu_s(self):
        with open('/proc/%d/stat' % self.process.pid, encoding='ascii') as f:
            fields = f.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def sockets(self):
        found = 0
        for fd in os.listdir('/proc/%d/fd' % self.process.pid):
            with contextlib.suppress(OSError):
                found += os.readlink('/proc/%d/fd/%s' % (self.process.pid, fd)).startswith('socket:')
        return found

    def many(self, n, say=b''):
        found = []
        for _ in range(n):
            s = connect(self.address, timeout=20)
            self.addCleanup(s.close)
            if say:
                s.sendall(say)
            found.append(s)
        return found


class Rules(Driver):
    def test_paths_and_headers(self):
        for path, status in (('/health', 200), ('/ready', 503), ('/metrics', 200), ('/', 404), ('/health/', 404),
                             ('/healthx', 404), ('/HEALTH', 404), ('//health', 404), ('/ready?x=1&y', 503),
                             ('/..%2fhealth', 404), ('*', 404), ('/%00', 404), ('/' + 'x' * 3000, 404)):
            with self.subTest(path=path):
                a = ask(self.address, path)
                self.assertEqual(a.status, status)
                self.assertEqual((a.headers['cache-control'], a.headers['x-content-type-options']),
                                 ('no-store', 'nosniff'))
                self.assertNotIn('set-cookie', a.headers)

    def test_methods(self):
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PATCH', 'get', 'X'):
            a = ask(self.address, '/ready', method=method)
            self.assertEqual((a.status, a.headers.get('allow')), (405, 'GET, HEAD'), method)
        a, b = ask(self.address, '/metrics', method='HEAD'), ask(self.address, '/metrics')
        self.assertEqual((a.status, a.body, a.headers['content-length']), (200, '', b.headers['content-length']))
        self.assertEqual(len(b.body), 1 << 20)

    def test_old_clients(self):
        with connect(self.address) as s, s.makefile('rb') as f:
            s.sendall(b'GET /ready HTTP/1.0\r\n\r\n')
            self.assertEqual(read_answer(f).status, 503)
            self.assertEqual(f.read(), b'')

    def test_one_connection_many_requests(self):
        with connect(self.address) as s, s.makefile('rb') as f:
            for _ in range(3):
                s.sendall(request('/ready'))
                self.assertEqual(read_answer(f).status, 503)
            s.sendall(request('/health') * 50)    # pipelined
            for _ in range(50):
                self.assertEqual(read_answer(f).status, 200)

    def test_bodies_are_refused(self):
        for head, body, status in ((request('/ready', headers={'Content-Length': 5}), b'12345', 413),
                                   (request('/ready', headers={'Transfer-Encoding': 'chunked'}), b'0\r\n\r\n', 413),
                                   (request('/ready', 'POST', headers={'Content-Length': 1 << 40}), b'x', 405),
                                   (request('/ready', headers={'Content-Length': 9, 'Expect': '100-continue'}), b'',
                                    413)):
            with connect(self.address) as s, s.makefile('rb') as f:
                s.sendall(head + body)
                self.assertEqual(read_answer(f).status, status)
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(f.read(), b'')    # no further request is read from it

    def test_garbage(self):
        for bytes_ in (b'\x16\x03\x01\x02\x00\x01\x00', b'\0' * 100, b'\r\n' * 100, b'GET\r\n\r\n', b'GET / HTTP/9.9\r\n\r\n',
                       b'GET / HTTP/1.1\r\nHost x\r\n\r\n', b'\xff' * 5000, os.urandom(4000), b'GET ' + b'/x' * 6000,
                       request('/ready', headers={'X': 'y' * 9000}), request('/ready', headers=dict.fromkeys(
                           map(str, range(2000)), 'z')), b'GET /ready HTTP/1.1\r\nHost: a\r\nHost: b\r\n'):
            with connect(self.address) as s, s.makefile('rb') as f:
                with contextlib.suppress(ConnectionError):
                    s.sendall(bytes_)
                    s.shutdown(socket.SHUT_WR)
                    first = f.readline()
                    self.assertTrue(first == b'' or re.match(rb'HTTP/1\.[01] [45]\d\d ', first), first)
            self.assertEqual(ask(self.address, '/health').status, 200)

    def test_half_closed(self):
        with connect(self.address) as s, s.makefile('rb') as f:
            s.sendall(request('/health'))
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                a = read_answer(f)
                self.assertTrue(a is None or a.status == 200)
        self.assertEqual(ask(self.address, '/health').status, 200)

    def test_no_document(self):
        for path in ('/attestation', '/keys'):
            self.assertEqual(ask(self.address, path).status, 503)
        self.assertEqual(ask(self.address, '/attestation?nonce=x').status, 400)


class Limits(Driver):
    def test_a_connection_lives_five_seconds(self):
        """Also one that says a byte from time to time, and one that does not read."""
        start = time.monotonic()
        silent, dripping, deaf = self.many(3)
        deaf.sendall(request('/metrics') * 3)
        dripping.settimeout(0.3)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - start < 12:
                try:
                    dripping.sendall(b'G' if time.monotonic() - start < 0.1 else b'E')
                    if dripping.recv(1) == b'':
                        break
                except socket.timeout:
                    continue
        self.assertTrue(4 < time.monotonic() - start < 8, time.monotonic() - start)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(silent.recv(1), b'')
        wait_until(lambda: self.sockets() <= 2, 5, 'all connections closed')    # the listener, and perhaps a pipe
        got = 0
        with contextlib.suppress(ConnectionError):
            while (n := len(deaf.recv(1 << 16))) > 0:
                got += n
        self.assertLess(got, 3 << 20)

    def test_the_next_get_their_turn_when_all_are_taken(self):
        self.many(CONNECTIONS + 18, b'GET /slow')
        wait_until(lambda: self.sockets() >= CONNECTIONS, 5, 'all connections taken')
        self.assertLessEqual(self.sockets(), CONNECTIONS + 2)
        start = time.monotonic()
        self.assertEqual(ask(self.address, '/health', timeout=20).status, 200)
        self.assertLess(time.monotonic() - start, 3.5)

    def test_a_flood_gets_a_part_of_the_time(self):
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                with contextlib.suppress(OSError), connect(self.address, timeout=1) as s:
                    while not stop.is_set():
                        s.sendall(request('/health') * 50)
                        s.recv(1 << 16)
        some = [threading.Thread(target=flood) for _ in range(4)]
        ask(self.address, '/health')
        cpu, start = self.cpu_s(), time.monotonic()
        for t in some:
            t.start()
        wait_until(lambda: self.cpu_s() - cpu >= 0.3, 20, 'work')
        share = (self.cpu_s() - cpu) / (time.monotonic() - start)
        answered = ask(self.address, '/ready', timeout=10).status
        stop.set()
        for t in some:
            t.join()
        self.assertEqual(answered, 503)
        self.assertLess(share, 0.33)

    def test_connections_that_come_and_go(self):
        before = self.sockets()
        for n in range(300):
            s = connect(self.address)
            if n % 3:
                s.sendall(request('/health')[:10 * (n % 5)])
            s.close()
        wait_until(lambda: self.sockets() <= before + 1, 10, 'all connections closed')


class Documents(Driver):
    what = 'small'

    def test_nonces(self):
        raw = bytes(range(250, 256)) + bytes(10)
        for text, status, said in ((raw.hex(), 200, raw.hex()),
                                   (base64.urlsafe_b64encode(raw).decode().rstrip('='), 200, raw.hex()),
                                   ('short', 400, None), ('', 400, None), ('%00' * 20, 400, None)):
            a = ask(self.address, '/attestation?nonce=' + text)
            self.assertEqual(a.status, status, text)
            if said:
                self.assertEqual((a.body, a.headers['content-type']), (said, 'application/cbor'))
            else:
                self.assertEqual(a.json(), {'error': 'nonce'})
        for query in ('nonce=%s&nonce=%s' % (raw.hex(), raw.hex()), 'n=%s' % raw.hex(), 'nonce', 'nonce=%s&x=1' % raw.hex()):
            self.assertEqual(ask(self.address, '/attestation?' + query).status, 400, query)

    def test_forms(self):
        a = ask(self.address, '/attestation', Accept='text/html, Application/JSON;q=0.9')
        self.assertEqual((a.status, a.body, a.headers['content-type']), (200, '', 'application/json'))
        self.assertEqual(ask(self.address, '/attestation', Accept='*/*').headers['content-type'], 'application/cbor')
        self.assertEqual(ask(self.address, '/keys').json(), {'keys': []})

    def test_not_more_than_five_a_second(self):
        start = time.monotonic()
        answers, others = [], []
        for _ in range(60):
            answers.append(ask(self.address, '/attestation'))
            others.append(ask(self.address, '/keys').status)
        took = time.monotonic() - start
        good = sum(a.status == 200 for a in answers)
        self.assertTrue(5 <= good <= 5 + took * 5 + 1, (good, took))
        self.assertEqual({a.status for a in answers}, {200, 429})
        refused = next(a for a in answers if a.status == 429)
        self.assertEqual((refused.headers['retry-after'], refused.json()), ('1', {'reason': 'too_many_documents'}))
        self.assertEqual(set(others), {200})    # what costs no signature is not counted
        wait_until(lambda: ask(self.address, '/attestation').status == 200, 2, 'the next document')


class TooLarge(Driver):
    what = 'large'

    def test_says_so(self):
        a = ask(self.address, '/attestation')
        self.assertEqual((a.status, a.json()), (500, {'error': 'too_large'}))


class Hostile(StatusCase):
    """Clients of every kind while letters are delivered."""

    def slow(self, stop):
        """One of those who say a byte now and then, and come again."""
        while not stop.is_set():
            with contextlib.suppress(OSError), connect(self.address, timeout=0.2) as s:
                for byte in request('/metrics', headers={'X-Slow': 'x' * 500}):
                    s.sendall(bytes([byte]))
                    if stop.wait(0.2):
                        break

    def nasty(self, stop):
        """One after the other: garbage, too much, many at once, half closed, gone before the answer, deaf."""
        n = 0
        while not stop.is_set():
            n += 1
            with contextlib.suppress(OSError), connect(self.address, timeout=0.5) as s:
                if n % 6 == 0:
                    s.sendall(os.urandom(20000))
                elif n % 6 == 1:
                    s.sendall(request('/ready', headers={'X': 'y' * 100000}))
                elif n % 6 == 2:
                    s.sendall(request('/metrics') * 40)
                    s.recv(1000)
                elif n % 6 == 3:
                    s.sendall(request('/health'))
                    s.shutdown(socket.SHUT_WR)
                    s.recv(1000)
                elif n % 6 == 4:
                    s.sendall(request('/metrics'))
                else:
                    s.sendall(request('/metrics') * 20)
                    stop.wait(0.4)

    def run_against(self, slow, nasty, check):
        """Delivers 200 letters and more beside them; what check() saw meanwhile."""
        stack = self.start(chamber={}, lease='10s')
        stop = threading.Event()
        clients = [threading.Thread(target=self.slow, args=(stop,)) for _ in range(slow)]
        clients += [threading.Thread(target=self.nasty, args=(stop,)) for _ in range(nasty)]
        for t in clients:
            t.start()
        seen, delivered = [], 0
        some = []
        try:
            stack.sim.fault(action='delay', ms=100)
            while len(some) < 200 or len(seen) < 4:
                batch = [letter('letter-%d-%d' % (len(some), n), (letters.HOUSE, letters.SENATE)[n % 2])
                         for n in range(50)]
                stack.submit(*batch)
                some += batch
                seen.append(check())
                delivered += 50
                self.wait_results(delivered)
        finally:
            stop.set()
            for t in clients:
                t.join()
        stack.wait_idle()
        self.assertEqual(self.states(account.check(self, stack, some)), {'accepted': len(some)})
        self.assertEqual(stack.sim.count(), len(some))
        s = self.scrape()
        self.assertEqual(s('cwc_letters_total', outcome='accepted'), len(some))
        self.assertEqual((s('cwc_fenced_total'), s('cwc_redis_disconnects_total')), (0, 0))
        self.assertLess(s('cwc_loop_lag_max_seconds'), 1)
        self.assertEqual(self.worker.stop(), 0)
        return seen

    def timed(self, path='/ready', timeout=20):
        start = time.monotonic()
        self.assertEqual(ask(self.address, path, timeout=timeout).status, 200)
        return time.monotonic() - start

    def test_with_a_slot_free(self):
        seen = self.run_against(16, 8, self.timed)
        self.assertLess(max(seen), 2)

    def test_with_more_than_there_is_room_for(self):
        """Who comes then waits for a turn, the letters for nothing."""
        seen = self.run_against(50, 6, lambda: self.timed(timeout=30))
        self.assertLess(max(seen), 15)


if __name__ == '__main__':
    unittest.main()
