# SPDX-License-Identifier: Apache-2.0
"""A small RESP client, a private redis-server and the script loader for the tests of this folder; and how to wait.

The server listens on a unix socket in a temporary directory only. With inject=True every command of a script goes
through a wrapper: the last ARGV is the number of the command that fails (0: none; -k: command k and all that follow;
9999: none, and the key {q}:commands counts them), and TIME is read from the key {q}:faketime.
"""
import os
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LUA = os.path.join(HERE, '..', '..', 'queue', 'lua')
META = '{q}:meta'
SCRIPTS = {
    'enqueue': ('lib', 'enqueue'),
    'take': ('lib', 'enqueue', 'take'),
    'begin': ('lib', 'begin'),
    'settle': ('lib', 'settle'),
    'beat': ('lib', 'beat'),
    'reap': ('lib', 'reap'),
    'adopt': ('lib', 'adopt'),
    'admin': ('lib', 'admin'),
    'import': ('lib', 'import'),
    'depth': ('lib', 'depth'),
    'fsck': ('lib', 'fsck_jobs', 'fsck_subs', 'fsck'),
    'reconcile': ('lib', 'reconcile'),
    'scale': ('lib', 'scale'),
}

INJECT = '''local INJECT_N, INJECT_AT = 0, tonumber(ARGV[#ARGV]) ARGV[#ARGV] = nil
local function call(...)
	local name = ...
	if name == 'TIME' then
		local t = redis.call('GET', '{q}:faketime')
		return {t:sub(1, -7), t:sub(-6)}
	end
	INJECT_N = INJECT_N + 1
	if INJECT_AT == 9999 then redis.call('SET', '{q}:commands', INJECT_N) end
	if INJECT_N == INJECT_AT or INJECT_AT < 0 and INJECT_N >= -INJECT_AT then error('injected') end
	if name == 'SET' then local _, key, value = ... return redis.call('SET', key, value) end
	return redis.call(...)
end
'''


def wait_until(check, timeout=30, what='condition', pause=0.01):
    """The first true value of check(). Polls: what it asks (a process, Redis) has no event to wait for."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError('no %s within %g s' % (what, timeout))
        time.sleep(pause)


class RedisError(Exception):
    pass


def packed(args):
    out = [b'*%d\r\n' % len(args)]
    for x in args:
        x = x if isinstance(x, bytes) else str(x).encode()
        out.append(b'$%d\r\n%s\r\n' % (len(x), x))
    return b''.join(out)


class Client:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        self.file = self.sock.makefile('rb', 1 << 16)

    def send(self, *args):
        self.sock.sendall(packed(args))

    def many(self, *commands):
        """The replies to commands that are sent in one piece."""
        self.sock.sendall(b''.join(map(packed, commands)))
        replies = [self.read() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def read(self):
        return self.reply(self.file.readline())

    def reply(self, line):
        if not line.endswith(b'\r\n'):
            raise ConnectionError('closed')
        kind, rest = line[:1], line[1:-2]
        if kind == b'+':
            return rest.decode()
        if kind == b'-':
            return RedisError(rest.decode())
        if kind == b':':
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        return self.bulk(n) if kind == b'$' else self.array(n)

    def bulk(self, n):
        data = self.file.read(n + 2)[:-2]
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    def array(self, n):
        """Most members are strings: they are read here."""
        found, line, bulk = [], self.file.readline, self.bulk
        for _ in range(n):
            head = line()
            if head[:1] == b'$' and head[1:2] != b'-' and head[-2:] == b'\r\n':
                found.append(bulk(int(head[1:-2])))
            else:
                found.append(self.reply(head))
        return found

    def __call__(self, *args):
        self.send(*args)
        reply = self.read()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def close(self):
        self.file.close()
        self.sock.close()


class Server:
    def __init__(self, *args):
        self.dir = tempfile.mkdtemp(prefix='rq')
        self.path = os.path.join(self.dir, 's')
        self.proc = subprocess.Popen(['redis-server', '--port', '0', '--unixsocket', self.path, '--save', '', '--dir', self.dir,
                                      *args], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.r = Client(self.path)
                self.r('PING')
                return
            except (OSError, RedisError):
                if time.monotonic() > deadline or self.proc.poll() is not None:
                    self.stop()
                    raise SystemExit('redis-server did not start')
                time.sleep(.01)

    def stop(self):
        if hasattr(self, 'r'):
            self.r.close()
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def source(name, inject=False, patch=()):
    """The text of a script. patch: (old, new) pairs; each must occur in some script (load() checks that)."""
    text = ''
    for part in SCRIPTS[name]:
        with open(os.path.join(LUA, part + '.lua'), encoding='utf-8') as f:
            text += f.read()
    for old, new in patch:
        text = text.replace(old, new)
    if inject:
        assert text.count('local call = redis.call\n') == 1
        text = text.replace('local call = redis.call\n', INJECT)
    return text


def load(r, inject=False, patch=()):
    for old, _ in patch:
        assert any(old in source(name) for name in SCRIPTS), 'the patch does not apply: ' + old
    return {name: r('SCRIPT', 'LOAD', source(name, inject, patch)) for name in SCRIPTS}


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def stream(r, key):
    return [pairs(e[1]) for e in r('XRANGE', '{q}:' + key, '-', '+')]
