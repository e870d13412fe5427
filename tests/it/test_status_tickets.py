#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers of the status port that come later, and what is POSTed to it: nobody waits for others, nothing is lost of a
place, and no client can make the server hold more than it has room for."""
import contextlib
import os
import re
import select
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import wait_until  # noqa: E402
from status_client import ask, connect, listening_port, read_answer, request  # noqa: E402
from test_status_limits import CONNECTIONS, Driver  # noqa: E402

WAITING = 24
BODY = 8192
# How long a ticket may wait, and a connection lives: CWC_LONG=1 takes the server's own half minute and five seconds.
WAIT_S, AGE_S = (30, 5) if os.environ.get('CWC_LONG') else (2, 2)


class Later(Driver):
    what = 'later'
    times = (30000, 1000 * AGE_S)

    def say(self, data, address=None):
        """A connection that has said this."""
        s = connect(address or self.address, timeout=40)
        self.addCleanup(s.close)
        s.sendall(data)
        return s

    def ticket(self):
        return int(re.match(r'ticket (\d+)\n$', self.process.stdout.readline()).group(1))

    def give(self, *tickets):
        self.process.stdin.write(''.join('%d\n' % t for t in tickets))
        self.process.stdin.flush()

    def wait(self, n, address=None):
        """A connection that waits for the document of nonce n, and its ticket."""
        while True:
            s = self.say(request('/attestation?nonce=%032x' % n), address)
            came, _, _ = select.select((s, self.process.stdout), (), (), 20)
            if self.process.stdout in came:
                return s, self.ticket()
            self.assertEqual(s.recv(12, socket.MSG_PEEK), b'HTTP/1.1 429')
            s.close()

    def answer(self, s):
        with s.makefile('rb') as f:
            return read_answer(f)

    def closed(self, s, timeout):
        """That it was closed without an answer."""
        s.settimeout(timeout)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(s.recv(1), b'')


class Tickets(Later):
    def test_each_gets_its_own(self):
        """In whatever order the answers come; what is behind on the connection is served then."""
        some = [self.wait(n) for n in range(4)]
        self.assertEqual(ask(self.address, '/health').status, 200)
        for n, (s, _) in enumerate(some):
            s.sendall(request('/ready'))
        for n, (s, ticket) in reversed(list(enumerate(some))):
            self.give(ticket)
            with s.makefile('rb') as f:
                a = read_answer(f)
                self.assertEqual((a.status, a.body, a.headers['content-type']), (200, '%032x' % n, 'application/cbor'))
                self.assertNotIn('connection', a.headers)
                self.assertEqual(read_answer(f).status, 503)    # that of /ready

    def test_at_once(self):
        """From within the source's function."""
        for _ in range(3):
            self.assertEqual(ask(self.address, '/attestation').body, '')

    def test_the_wait_is_no_part_of_the_age(self):
        s, ticket = self.wait(7)
        start = time.monotonic()
        wait_until(lambda: time.monotonic() - start > AGE_S + 1, 10, 'longer than a connection lives')
        self.assertEqual(ask(self.address, '/health').status, 200)
        self.give(ticket)
        with s.makefile('rb') as f:
            self.assertEqual(read_answer(f).body, '%032x' % 7)
            s.sendall(request('/ready'))
            self.assertEqual(read_answer(f).status, 503)
        self.closed(s, 8)

    def test_who_has_left_is_forgotten(self):
        before = self.sockets()
        some = [self.wait(n) for n in range(4)]
        self.assertEqual(self.sockets(), before + 4)
        for s, _ in some:
            s.close()
        start = time.monotonic()
        wait_until(lambda: self.sockets() == before, 5, 'the places are free')
        self.assertLess(time.monotonic() - start, 2)
        self.give(*(t for _, t in some[:2]))    # the others at the end
        self.assertEqual(ask(self.address, '/health').status, 200)

    def test_who_sends_no_more_may_wait_for_a_while(self):
        before = self.sockets()
        (s, ticket), (never, _) = self.wait(1), self.wait(2)
        start = time.monotonic()
        for one in (s, never):
            one.shutdown(socket.SHUT_WR)
        wait_until(lambda: time.monotonic() - start > 1, 5, 'some looks at the connections')
        self.give(ticket)
        self.assertEqual(self.answer(s).body, '%032x' % 1)
        self.closed(never, 10)
        self.assertTrue(AGE_S - 1.5 < time.monotonic() - start < AGE_S + 2, time.monotonic() - start)
        s.close()
        wait_until(lambda: self.sockets() == before, 5, 'the places are free')

    def test_an_answer_at_the_end_of_a_connection_says_so(self):
        s = self.say(request('/ready'))
        with s.makefile('rb') as f:
            start = time.monotonic()
            self.assertNotIn('connection', read_answer(f).headers)
            wait_until(lambda: time.monotonic() - start > AGE_S - 0.8, 6, 'the last second of the connection')
            s.sendall(request('/ready'))
            self.assertEqual(read_answer(f).headers['connection'].lower(), 'close')
            self.assertEqual(f.read(), b'')
        self.assertLess(time.monotonic() - start, AGE_S - 0.1)

    def test_the_server_ends_first(self):
        """With some that wait, one that has left, and one that was answered in the same moment."""
        some = [self.wait(n) for n in range(4)]
        some[0][0].close()
        self.give(some[1][1])
        self.end()
        self.closed(some[2][0], 5)


class Full(Later):
    times = ()

    def test_all_that_may_wait(self):
        """24, whatever else is asked; the other places are for who asks how the worker is."""
        some = [self.wait(n) for n in range(WAITING)]
        a = ask(self.address, '/attestation?nonce=%032x' % 99)
        self.assertEqual((a.status, a.json()), (503, {'reason': 'busy'}))
        self.assertEqual(ask(self.address, '/keys/rotate', method='POST').json(), {'reason': 'busy'})
        idle = self.many(CONNECTIONS - WAITING)
        start = time.monotonic()
        a = ask(self.address, '/health', timeout=20)    # the idle ones go for it
        self.assertEqual(a.status, 200)
        self.assertLess(time.monotonic() - start, 3.5)
        for s in idle:
            s.close()
        self.give(*(t for _, t in some))
        for n, (s, _) in enumerate(some):
            self.assertEqual(self.answer(s).body, '%032x' % n)
        s, ticket = self.wait(100)
        self.give(ticket)
        self.assertEqual(self.answer(s).status, 200)


class Late(Later):
    times = (1000 * WAIT_S, 1000 * AGE_S)

    def test_nobody_answers(self):
        """The server does, after its time. Whoever has the ticket may answer it then, to nobody."""
        start = time.monotonic()
        s, ticket = self.wait(1)
        act = self.say(request('/keys/rotate', 'POST'))
        second = self.ticket()
        for one in (s, act):
            a = self.answer(one)
            self.assertEqual((a.status, a.json()), (503, {'reason': 'timeout'}))
        self.assertTrue(WAIT_S - 1 < time.monotonic() - start < WAIT_S + 6, time.monotonic() - start)
        self.give(ticket, second)
        s.sendall(request('/health'))
        self.assertEqual(self.answer(s).status, 200)


class Tcp(Later):
    def setUp(self):
        super().setUp()
        self.end()
        self.address = 'tcp:127.0.0.1:0'
        self.start()
        self.address = 'tcp:127.0.0.1:%d' % listening_port(self.process.pid)

    def test_who_has_left_is_forgotten(self):
        """A reset at once; an end that may be that of sending alone, after the age of a connection."""
        before = self.sockets()
        (reset, _), (gone, ticket), (stays, last) = (self.wait(n) for n in range(3))
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        start = time.monotonic()
        reset.close()
        gone.close()
        wait_until(lambda: self.sockets() == before + 2, 3, 'the place of the first')
        self.assertLess(time.monotonic() - start, 2)
        wait_until(lambda: self.sockets() == before + 1, 8, 'the place of the second')
        self.assertGreater(time.monotonic() - start, AGE_S - 1.5)
        self.give(ticket, last)
        self.assertEqual(self.answer(stays).body, '%032x' % 2)


class Acts(Driver):
    what = 'small'
    times = (30000, 1000 * AGE_S)

    def act(self, data):
        """The answer, when it is not that there are too many; and what comes behind it."""
        while True:
            with connect(self.address) as s, s.makefile('rb') as f:
                s.sendall(data)
                a = read_answer(f)
                if a is None or a.status != 429:
                    return a
                self.assertEqual((a.json(), a.headers['retry-after']), ({'reason': 'too_many_acts'}, '1'))

    def post(self, path, body=b'', **headers):
        if 'Transfer_Encoding' not in headers:
            headers.setdefault('Content_Length', len(body))
        return self.act(request(path, 'POST', headers={k.replace('_', '-'): v for k, v in headers.items()}) + body)

    def test_what_is_said_arrives(self):
        whole = b'0123456789abcdef' * (BODY // 16)
        chunks = b''.join(b'%x\r\n%s\r\n' % (n, whole[:n]) for n in (1, 100, 4000, BODY - 4101)) + b'0\r\n\r\n'
        together = whole[:1] + whole[:100] + whole[:4000] + whole[:BODY - 4101]
        for n, (path, body, headers, said) in enumerate((
                ('/keys/request', b'', {}, b'0 '), ('/keys/rotate', b'x', {}, b'1 x'),
                ('/keys/signers', whole, {}, b'2 ' + whole),
                ('/keys/signers', chunks, {'Transfer_Encoding': 'chunked'}, b'2 ' + together),
                ('/keys/signers', b'0\r\n\r\n', {'Transfer_Encoding': 'chunked'}, b'2 '))):
            a = self.post(path, body, **headers)
            self.assertEqual((a.status, a.body.encode()), (200, said), n)
        self.assertEqual(self.act(b'POST /keys/request HTTP/1.1\r\nHost: x\r\n\r\n').body, '0 ')    # no length at all

    def test_too_long(self):
        more = b'x' * (BODY + 1)
        chunks = b'%x\r\n%s\r\n0\r\n\r\n' % (len(more), more)
        for body, headers in ((b'', {'Content_Length': BODY + 1}), (b'', {'Content_Length': 1 << 62}),
                              (b'', {'Content_Length': BODY + 1, 'Expect': '100-continue'}),
                              (more, {}), (chunks, {'Transfer_Encoding': 'chunked'})):
            a = self.post('/keys/signers', body, **headers)
            self.assertEqual((a.status, a.json()), (413, {'error': 'body'}), headers)
        self.assertEqual(self.post('/keys/signers', b'fine').body, '2 fine')

    def test_expectation(self):
        with connect(self.address) as s, s.makefile('rb') as f:
            s.sendall(request('/keys/signers', 'POST', headers={'Content-Length': 4, 'Expect': '100-continue'}))
            self.assertEqual(f.readline(), b'HTTP/1.1 100 Continue\r\n')
            self.assertEqual(f.readline(), b'\r\n')
            s.sendall(b'here' + request('/health'))
            self.assertEqual(read_answer(f).body, '2 here')
            self.assertEqual(read_answer(f).status, 200)

    def test_slow(self):
        """What is not there when the connection is as old as they get does not come any more."""
        start = time.monotonic()
        with connect(self.address) as s:
            s.sendall(request('/keys/signers', 'POST', headers={'Content-Length': 100}))
            s.settimeout(0.3)
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - start < 12:
                    try:
                        s.sendall(b'x')
                        if s.recv(1) == b'':
                            break
                    except socket.timeout:
                        continue
        self.assertTrue(AGE_S - 1 < time.monotonic() - start < AGE_S + 3, time.monotonic() - start)
        self.assertEqual(self.post('/keys/signers', b'fine').body, '2 fine')

    def test_one_a_second(self):
        start = time.monotonic()
        answers = [ask(self.address, '/keys/' + ('rotate', 'request', 'signers')[n % 3], method='POST').status
                   for n in range(40)]
        took = time.monotonic() - start
        self.assertEqual(set(answers), {200, 429})
        self.assertLessEqual(answers.count(200), 1 + took)
        self.assertEqual(ask(self.address, '/attestation').status, 200)    # another limit

    def test_methods(self):
        for path, method, allow in (('/keys/rotate', 'GET', 'POST'), ('/keys/request', 'HEAD', 'POST'),
                                    ('/keys/signers', 'PUT', 'POST'), ('/keys', 'POST', 'GET, HEAD'),
                                    ('/attestation', 'POST', 'GET, HEAD'), ('/keys/rotate', 'post', 'POST')):
            a = ask(self.address, path, method=method)
            self.assertEqual((a.status, a.headers['allow']), (405, allow), path)
        for path in ('/keys/', '/keys/destroy', '/keys/request/', '/'):
            self.assertEqual(ask(self.address, path, method='POST').status, 404, path)

    def test_damaged(self):
        for bad in (b'5\r\nabc', b'zz\r\n', b'-1\r\n\r\n', b'ffffffffffffffffff\r\n'):
            with connect(self.address) as s, s.makefile('rb') as f:
                s.sendall(request('/keys/signers', 'POST', headers={'Transfer-Encoding': 'chunked'}) + bad)
                s.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    a = read_answer(f)
                    self.assertTrue(a is None or a.status >= 400)
        self.assertEqual(self.post('/keys/signers', b'fine').body, '2 fine')


class NoActs(Driver):
    def test_there_are_none(self):
        for path in ('request', 'rotate', 'signers'):
            a = ask(self.address, '/keys/' + path, method='POST')
            self.assertEqual((a.status, a.json()), (404, {'error': 'not_found'}))


if __name__ == '__main__':
    unittest.main()
