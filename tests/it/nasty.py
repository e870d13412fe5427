# SPDX-License-Identifier: Apache-2.0
"""A TLS server on loopback or a unix socket that misbehaves on demand, and counts the letters that arrive whole.

`conn_script` holds one behaviour for each connection, `script` one for each request; both are used up from the
front, and what comes after them is served well.
"""
import email.utils
import os
import re
import socket
import ssl
import struct
import threading
import time

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
EMPTY = b'HTTP/1.1 %s\r\nContent-Length: 0\r\n%s\r\n'


class Request:
    def __init__(self, number, line, headers, first):
        self.number = number  # on its connection, from 1
        self.line = line
        self.headers = headers
        self.body = first
        self.length = int(headers.get('content-length', '0'))
        self.whole = False
        self.id = None


class Closed(Exception):
    pass


class Server:
    """family: 'tcp', 'unix' (a path in folder) or 'abstract'."""

    def __init__(self, pki, family='tcp', folder=None):
        self.pki = pki
        self.contexts = {name: self.context(name) for name in ('good', 'wrong-host', 'unknown-ca', 'expired')}
        self.script, self.conn_script = [], []
        self.requests, self.sni = [], []
        self.connections = self.resumed = 0
        self.location = 'https://localhost:1/'
        self.step = threading.Event()      # a behaviour came to a point that a test waits for
        self.release = threading.Event()   # ends those that wait
        self.lock = threading.Lock()
        self.changed = threading.Condition()
        self.threads = []
        self.listen(family, folder)
        threading.Thread(target=self.accept, daemon=True).start()

    def listen(self, family, folder):
        if family == 'tcp':
            self.listener = socket.create_server(('127.0.0.1', 0), backlog=512)
            self.port = self.listener.getsockname()[1]
            self.address = 'tcp:127.0.0.1:%d' % self.port
            return
        self.port = None
        self.listener = socket.socket(socket.AF_UNIX)
        name = os.path.join(folder, 'server.sock') if family == 'unix' else '\0nasty-%d-%d' % (os.getpid(), id(self))
        self.listener.bind(name)
        self.listener.listen(512)
        self.address = 'unix:' + name.replace('\0', '@')

    def context(self, name):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(self.pki.path(name + '.pem'), self.pki.path(name + '.key'))
        c.sni_callback = lambda sock, server_name, context: self.sni.append(server_name)
        return c

    def reset(self, script=(), conn_script=()):
        self.join()
        self.script, self.conn_script = list(script), list(conn_script)
        self.requests, self.sni, self.connections, self.resumed = [], [], 0, 0
        self.step.clear()
        self.release.clear()

    def join(self):
        """Waits until all connections have ended."""
        self.release.set()
        while self.threads:
            with self.lock:
                t = self.threads.pop()
            t.join(20)
            assert not t.is_alive(), 'a connection does not end'

    def close(self):
        self.listener.close()
        self.join()

    def wait_for(self, what, timeout=10):
        with self.changed:
            return self.changed.wait_for(what, timeout)

    def tell(self):
        with self.changed:
            self.changed.notify_all()

    def whole_letters(self, letter):
        return sum(1 for r in self.requests if r.id == letter and r.whole)

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                act = self.conn_script.pop(0) if self.conn_script else 'good'
                t = threading.Thread(target=self.serve, args=(s, act), daemon=True)
                t.start()
                self.threads.append(t)

    # --- connections

    def serve(self, s, act):
        self.tell()
        try:
            if s.family == socket.AF_INET:
                # else an answer may wait behind the session tickets, and be lost in a reset
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.before_tls(s, act):
                return
            s = self.contexts[act].wrap_socket(s, server_side=True, suppress_ragged_eofs=False)
            self.resumed += s.session_reused
            number = 0
            while True:
                number += 1
                r = self.read_head(s, number)
                with self.lock:
                    self.requests.append(r)
                    act = self.script.pop(0) if self.script else 'ok'
                getattr(self, 'do_' + act)(s, r)
        except (Closed, OSError, ValueError):
            pass
        finally:
            try:
                s.close()
            except OSError:
                pass

    def before_tls(self, s, act):
        """True when the connection ended."""
        if act == 'close':
            pass
        elif act == 'reset':
            self.linger(s)
        elif act == 'hello_close':
            s.recv(64)
        elif act == 'hello_reset':
            s.recv(64)
            self.linger(s)
        elif act == 'garbage':
            s.recv(4096)
            s.sendall(b'\x00\x01garbage' * 20)
        elif act == 'plain':
            s.recv(4096)
            s.sendall(OK)
        elif act == 'stall_tls':
            self.release.wait(20)
        else:
            return False
        return True

    def read_head(self, s, number):
        data = b''
        while b'\r\n\r\n' not in data:
            chunk = s.recv(65536)
            if not chunk:
                raise Closed
            data += chunk
        head, _, first = data.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(':')
            headers[name.lower()] = value.strip()
        return Request(number, lines[0], headers, first)

    def read_body(self, s, r, most=None):
        want = r.length if most is None else min(most, r.length)
        while len(r.body) < want:
            chunk = s.recv(65536)
            if not chunk:
                raise Closed
            r.body += chunk
        m = re.match(rb'<id>(.*?)</id>', r.body)
        r.id = m.group(1).decode() if m else None
        r.whole = len(r.body) == r.length
        self.tell()

    def drain(self, s):
        while s.recv(65536):
            pass

    @staticmethod
    def linger(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))

    def fin(self, s):
        s.close()
        raise Closed

    def rst(self, s):
        self.linger(s)
        s.close()
        raise Closed

    def notify(self, s):
        """close_notify, while the connection stays open."""
        s.settimeout(0.05)
        try:
            s.unwrap()
        except (ssl.SSLError, OSError):
            pass
        self.step.set()
        self.release.wait(20)
        raise Closed

    def answer(self, s, r, data):
        self.read_body(s, r)
        s.sendall(data)

    # --- requests: answered well

    def do_ok(self, s, r):
        self.answer(s, r, OK)

    def do_created(self, s, r):
        self.answer(s, r, b'HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n')

    def do_close_header(self, s, r):
        self.answer(s, r, OK.replace(b'OK\r\n', b'OK\r\nConnection: close\r\n'))
        self.fin(s)

    def do_until_eof(self, s, r):
        self.answer(s, r, b'HTTP/1.0 200 OK\r\n\r\nok')
        try:
            s.unwrap()
        except OSError:
            pass
        self.fin(s)

    def do_chunked(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')

    def do_continue(self, s, r):
        s.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        self.answer(s, r, OK)

    def do_interim(self, s, r):
        self.answer(s, r, b'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early\r\nRetry-After: 5\r\n\r\n' + OK)

    def do_trickle_header(self, s, r):
        self.read_body(s, r)
        for i in range(len(OK)):
            s.sendall(OK[i:i + 1])
            self.release.wait(0.002)  # apart

    # --- answered, then the connection dies

    def do_ok_fin(self, s, r):
        self.answer(s, r, OK)
        s.close()
        self.step.set()
        raise Closed

    def do_ok_rst(self, s, r):
        self.answer(s, r, OK)
        self.step.set()
        self.release.wait(0.1)  # let the answer be read before the reset
        self.rst(s)

    def do_ok_notify(self, s, r):
        self.answer(s, r, OK)
        self.notify(s)

    def do_ok_then_408(self, s, r):
        self.answer(s, r, OK)
        s.sendall(EMPTY % (b'408 Idle', b'Connection: close\r\n'))
        s.close()
        self.step.set()
        raise Closed

    def do_two_answers(self, s, r):
        self.answer(s, r, OK + EMPTY % (b'202 Stale', b''))
        self.step.set()

    def do_two_answers_apart(self, s, r):
        self.answer(s, r, OK)
        self.release.wait(0.05)  # apart
        s.sendall(EMPTY % (b'202 Stale', b''))
        self.step.set()

    # --- dies within the request

    def do_head_close(self, s, r):
        self.fin(s)

    def do_part_close(self, s, r):
        self.read_body(s, r, 200)
        self.fin(s)

    def do_part_rst(self, s, r):
        self.read_body(s, r, 200)
        self.rst(s)

    def do_all_fin(self, s, r):
        self.read_body(s, r)
        self.fin(s)

    def do_all_rst(self, s, r):
        self.read_body(s, r)
        self.rst(s)

    def do_all_notify(self, s, r):
        self.read_body(s, r)
        self.notify(s)

    # --- dies within the answer

    def do_partial_status(self, s, r):
        self.answer(s, r, b'HTTP/1.1 20')
        self.fin(s)

    def do_status_close(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\n')
        self.fin(s)

    def do_header_close(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n')
        self.fin(s)

    def do_interim_close(self, s, r):
        self.answer(s, r, b'HTTP/1.1 103 Early\r\n\r\n')
        self.fin(s)

    def do_truncated(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok')
        self.fin(s)

    def do_chunked_cut(self, s, r):
        self.answer(s, r, b'HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nok')
        self.rst(s)

    # --- answers that are no answers

    def do_not_http(self, s, r):
        self.answer(s, r, b'SSH-2.0-OpenSSH\r\n\r\n')
        self.fin(s)

    def do_bad_version(self, s, r):
        self.answer(s, r, b'HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n')

    def do_bad_status(self, s, r):
        self.answer(s, r, b'HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n')

    def do_short_status(self, s, r):
        self.answer(s, r, b'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n')

    def do_high_status(self, s, r):
        self.answer(s, r, b'HTTP/1.1 777 OK\r\nContent-Length: 0\r\n\r\n')

    # --- too much

    def do_flood(self, s, r):
        self.read_body(s, r)
        for _ in range(5000):
            s.sendall(b'HTTP/1.1 103 Early\r\nLink: </style.css>\r\n\r\n' * 10)
        self.fin(s)

    def do_huge_line(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\nX: ' + b'x' * 300000 + b'\r\nContent-Length: 0\r\n\r\n')

    def do_huge_headers(self, s, r):
        filler = b'X-Filler: xxxxxxxxxxxxxxxx\r\n' * 5000
        self.answer(s, r, b'HTTP/1.1 200 OK\r\n' + filler + b'Content-Length: 0\r\n\r\n')

    def do_too_large(self, s, r):
        self.answer(s, r, b'HTTP/1.1 400 Bad\r\nContent-Length: 4097\r\n\r\n' + b'x' * 4097)

    def do_largest(self, s, r):
        self.answer(s, r, b'HTTP/1.1 400 Bad\r\nContent-Length: 4096\r\n\r\n' + b'x' * 4096)

    def do_early_success(self, s, r):
        s.sendall(OK)
        self.release.wait(20)
        raise Closed

    # --- too slow

    def do_stall(self, s, r):
        self.read_body(s, r)
        self.step.set()
        self.release.wait(20)
        raise Closed

    def do_stall_interim(self, s, r):
        self.answer(s, r, b'HTTP/1.1 103 Early\r\n\r\n')
        self.release.wait(20)
        raise Closed

    def do_stall_body(self, s, r):
        self.step.set()
        self.release.wait(20)
        self.read_body(s, r)

    def do_slow_header(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\n')
        while not self.release.wait(0.02):
            s.sendall(b'X: y\r\n')
        raise Closed

    def do_slow_body(self, s, r):
        self.answer(s, r, b'HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n')
        while not self.release.wait(0.02):
            s.sendall(b'x')
        raise Closed

    # --- definite answers that a client might act upon

    def do_301(self, s, r):
        self.answer(s, r, EMPTY % (b'301 Moved', b'Location: ' + self.location.encode() + b'\r\n'))

    def do_307(self, s, r):
        self.answer(s, r, EMPTY % (b'307 Moved', b'Location: ' + self.location.encode() + b'\r\n'))

    def do_308_here(self, s, r):
        self.answer(s, r, EMPTY % (b'308 Moved', b'Location: /again\r\n'))

    def do_401(self, s, r):
        self.answer(s, r, EMPTY % (b'401 No', b'WWW-Authenticate: Basic realm="x"\r\n'))

    def do_407(self, s, r):
        self.answer(s, r, EMPTY % (b'407 No', b'Proxy-Authenticate: Basic realm="x"\r\n'))

    def do_408_close(self, s, r):
        self.answer(s, r, EMPTY % (b'408 Slow', b'Connection: close\r\n'))
        self.fin(s)

    def do_417(self, s, r):
        self.answer(s, r, EMPTY % (b'417 No', b''))

    def do_503_early(self, s, r):
        s.sendall(EMPTY % (b'503 Busy', b'Connection: close\r\nRetry-After: 9\r\n'))
        self.drain(s)
        raise Closed

    def retry_after(self, s, r, value):
        self.answer(s, r, EMPTY % (b'429 Slow down', b'retry-after:  ' + value.encode() + b' \r\n'))

    def do_429_seconds(self, s, r):
        self.retry_after(s, r, '17')

    def do_429_date(self, s, r):
        self.retry_after(s, r, email.utils.formatdate(time.time() + 100, usegmt=True))

    def do_429_past(self, s, r):
        self.retry_after(s, r, 'Wed, 21 Oct 2015 07:28:00 GMT')

    def do_429_far(self, s, r):
        self.retry_after(s, r, '99999999999999999999999')

    def do_429_odd(self, s, r):
        self.retry_after(s, r, '-5')
