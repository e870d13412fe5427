# SPDX-License-Identifier: Apache-2.0
"""A Redis that lies: it stands between a worker and a real one and passes everything on, but for the lies it was told
to tell. Also a path to a chamber that is slow to open.

    liar = Liar(stack.redis_path, stack.path('liar.sock'))
    stack.dialled = liar.path                      # what workers dial; the test asks the real one
    lie = liar.after('take', change, times=1)      # change(argv, reply): another reply, or None: the true one
    liar.instead('begin', lambda argv: Error('BUSY'))   # Redis is not asked
    lie.wait()                                     # until it was told so often

A script goes by its name and its ARGV, any other command by its first word and the words behind it.
"""
import hashlib
import socket
import threading

from stack import rq


class Error(bytes):
    """An error reply; its text without the dash."""


class Status(bytes):
    """A simple string."""


def read(f):
    """One reply or command."""
    line = f.readline()
    if not line.endswith(b'\r\n'):
        raise ConnectionError('closed')
    kind, rest = line[:1], line[1:-2]
    if kind in b'+-':
        return (Status if kind == b'+' else Error)(rest)
    if kind == b':':
        return int(rest)
    if (n := int(rest)) < 0:
        return None
    return f.read(n + 2)[:-2] if kind == b'$' else [read(f) for _ in range(n)]


def write(x):
    if x is None:
        return b'$-1\r\n'
    if isinstance(x, list):
        return b'*%d\r\n' % len(x) + b''.join(map(write, x))
    if isinstance(x, int):
        return b':%d\r\n' % x
    if isinstance(x, (Status, Error)):
        return (b'+' if isinstance(x, Status) else b'-') + bytes(x) + b'\r\n'
    return b'$%d\r\n%s\r\n' % (len(x), x)


def clients(listener):
    """The connections of those who dial, until the listener is closed."""
    while True:
        try:
            client = listener.accept()[0]
        except OSError:
            return
        yield client


def close_all(sockets):
    """Whoever waits for one of them is woken."""
    for s in sockets:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()


def name_of(script):
    """By the comment that each script begins with; TAKE holds ENQUEUE too."""
    return next((n for n in sorted(rq.SCRIPTS, reverse=True) if b'\n-- %s' % n.upper().encode() in script), 'other')


class Lie:
    """times: how often it is told; None: always. change() returns None when it does not fit: that does not count."""

    def __init__(self, name, change, times, ask):
        self.name, self.change, self.times, self.ask = name, change, times, ask
        self.told, self.changed = 0, threading.Condition()

    def tell(self, *args):
        with self.changed:
            if self.times is not None and self.told >= self.times:
                return None
            reply = self.change(*args)
            if reply is not None:
                self.told += 1
                self.changed.notify_all()
            return reply

    def wait(self, timeout=20):
        with self.changed:
            if not self.changed.wait_for(lambda: self.told >= self.times, timeout):
                raise TimeoutError('%s: lied %d of %d times' % (self.name, self.told, self.times))


def dial(where):
    """A path of a unix socket, or a port on loopback."""
    if isinstance(where, int):
        s = socket.create_connection(('127.0.0.1', where), timeout=5)
        s.settimeout(None)
        return s
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(where)
    except OSError:
        s.close()
        raise
    return s


class Liar:
    """upstream: what dial() takes, or a function that says where the next connection leads."""

    def __init__(self, upstream, path):
        self.upstream, self.path = upstream, path
        self.scripts, self.lies, self.calls, self.sockets = {}, [], [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def after(self, name, change, times=1):
        """change(argv, reply): Redis is asked, and misquoted."""
        return self.add(Lie(name, change, times, True))

    def instead(self, name, change, times=1):
        """change(argv): Redis is not asked. Returning None, it only sees that the call comes."""
        return self.add(Lie(name, change, times, False))

    def add(self, lie):
        self.lies.append(lie)
        return lie

    def honest(self):
        """From now on, and with no memory of what was asked."""
        self.lies, self.calls = [], []

    def asked(self, name, sid=None):
        """The ARGVs of the calls of one script, in their order; sid: only those about it (begin, settle)."""
        return [argv for n, argv in self.calls if n == name and sid in (None, argv[1].decode())]

    def close(self):
        close_all([self.listener] + self.sockets)

    def accept(self):
        for client in clients(self.listener):
            try:
                server = dial(self.upstream() if callable(self.upstream) else self.upstream)
            except OSError:
                client.close()  # nobody is there: as refused as it can be
                continue
            self.sockets += [client, server]
            threading.Thread(target=self.serve, args=(client, server), daemon=True).start()

    def serve(self, client, server):
        try:
            with client.makefile('rb', 1 << 16) as asks, server.makefile('rb', 1 << 16) as answers:
                while True:
                    command = read(asks)
                    client.sendall(write(self.reply(command, server, answers)))
        except (OSError, ValueError):
            pass
        finally:
            client.close()
            server.close()

    def reply(self, command, server, answers):
        name, argv = command[0].decode(), command[1:]
        if name == 'SCRIPT' and argv[0] == b'LOAD':
            self.scripts[hashlib.sha1(argv[1]).hexdigest().encode()] = name_of(argv[1])
        elif name == 'EVALSHA':
            name, argv = self.scripts[command[1]], command[4:]
        self.calls.append((name, argv))
        lies = [lie for lie in self.lies if lie.name == name]
        for lie in [x for x in lies if not x.ask]:
            told = lie.tell(argv)
            if told is not None:
                return told
        server.sendall(write(command))
        reply = read(answers)
        for lie in [x for x in lies if x.ask]:
            told = lie.tell(argv, reply)
            reply = reply if told is None else told
        return reply


class SlowPath:
    """A TCP address that leads to another once `delay_s` has passed. lifted.set(): from now on at once."""

    def __init__(self, address, delay_s):
        host, port = address[len('tcp:'):].rsplit(':', 1)
        self.target, self.delay_s, self.opened = (host, int(port)), delay_s, 0
        self.lifted, self.listener = threading.Event(), socket.create_server(('127.0.0.1', 0))
        self.address = 'tcp:127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        for client in clients(self.listener):
            self.opened += 1
            threading.Thread(target=self.lead, args=(client,), daemon=True).start()

    def lead(self, client):
        self.lifted.wait(self.delay_s)
        server = socket.create_connection(self.target)
        threading.Thread(target=self.pump, args=(client, server), daemon=True).start()
        self.pump(server, client)

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(1 << 16):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            a.close()

    def close(self):
        self.lifted.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
