# SPDX-License-Identifier: Apache-2.0
"""Every trouble that Redis can be in (queue/PROTOCOL.md, section 10): how it begins and how it ends.

A trouble has start(bench) and end(bench); between the two Redis cannot be used, after the second it can.
"""
import os
import signal
import threading

from liar import Error
from stack import rq, wait_until

HOLD_S = 0.8  # how long a trouble lasts, at the least


class Trouble:
    """reasons: what not_ready says meanwhile, one of them; none: the worker need not notice. passing: what it may say
    besides, on the way there or back. server: the reply is Redis's own; else the gate gives it."""
    server, reasons, passing, args = True, (), (), ()

    def start(self, bench):
        raise NotImplementedError

    def end(self, bench):
        raise NotImplementedError


class Config(Trouble):
    """A setting that can be changed while it runs."""

    def __init__(self, reasons, bad, good, kill=False):
        self.reasons, self.bad, self.good, self.kill = reasons, bad, good, kill

    def start(self, bench):
        for command in self.bad:
            bench.redis(*command)
        if self.kill:
            bench.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    def end(self, bench):
        for command in self.good:
            bench.redis(*command)


def setting(name, bad, good, reasons, **options):
    return Config(reasons, [('CONFIG', 'SET', name, bad)], [('CONFIG', 'SET', name, good)], **options)


NOBODY = ('REPLICAOF', '127.0.0.1', '1')
MASTER = ('REPLICAOF', 'NO', 'ONE')


class Flushed(Trouble):
    """SCRIPT FLUSH again and again."""

    def start(self, bench):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(bench.client(),))
        self.thread.start()

    def run(self, client):
        while not self.over.wait(0.02):
            client('SCRIPT', 'FLUSH')
        client.close()

    def end(self, bench):
        self.over.set()
        self.thread.join()


class Busy(Trouble):
    """Somebody's script that does not end."""
    reasons = ('queue_busy',)
    args = ('--busy-reply-threshold', '50')

    def start(self, bench):
        self.other = bench.client()
        self.other.send('EVAL', 'while true do end', 0)

        def busy():
            try:
                bench.redis('PING')
                return False
            except rq.RedisError as e:
                return str(e).startswith('BUSY')
        wait_until(busy, what='BUSY')

    def end(self, bench):
        bench.redis('SCRIPT', 'KILL')
        self.other.read()
        self.other.close()


class Loading(Trouble):
    """Redis reads its data anew and keeps the connections."""
    reasons = ('queue_busy',)
    args = ('--loading-process-events-interval-bytes', '1024', '--rdbcompression', 'no')

    def start(self, bench):
        if not bench.redis('EXISTS', 'filling:0'):
            bench.redis('DEBUG', 'POPULATE', 3000, 'filling', 100)
        bench.redis('CONFIG', 'SET', 'key-load-delay', int(HOLD_S / 3000 * 1e6))
        self.other = bench.client()
        self.other.send('DEBUG', 'RELOAD')

        def loading():
            try:
                bench.redis('PING')
                return False
            except rq.RedisError as e:
                return str(e).startswith('LOADING')
        wait_until(loading, what='LOADING', pause=0.001)

    def end(self, bench):
        self.other.read()
        self.other.close()


class WrongType(Trouble):
    """Keys that every script reads hold something else."""
    reasons = ('queue_script',)
    KEYS = ('workers', 'holds', 'results')

    def start(self, bench):
        for name in self.KEYS:
            key = bench.stack.key(name)
            bench.redis('EVAL', 'if redis.call("EXISTS", KEYS[1]) == 1 then redis.call("RENAME", KEYS[1], KEYS[2]) end '
                        'redis.call("SET", KEYS[1], "x")', 2, key, key + '-aside')

    def end(self, bench):
        for name in self.KEYS:
            key = bench.stack.key(name)
            bench.redis('EVAL', 'redis.call("DEL", KEYS[1]) if redis.call("EXISTS", KEYS[2]) == 1 then '
                        'redis.call("RENAME", KEYS[2], KEYS[1]) end', 2, key, key + '-aside')


class Misconf(Trouble):
    """A snapshot that cannot be written: where its file must go stands a directory."""
    reasons = ('queue_full',)
    args = ('--dbfilename', 'snapshot', '--stop-writes-on-bgsave-error', 'yes')

    def saved(self, bench, status):
        bench.redis('BGSAVE')
        wait_until(lambda: 'rdb_bgsave_in_progress:0' in bench.redis('INFO', 'persistence'), what='end of BGSAVE')
        assert 'rdb_last_bgsave_status:' + status in bench.redis('INFO', 'persistence')

    def start(self, bench):
        bench.redis('CONFIG', 'SET', 'save', '3600 1000000')
        try:
            os.remove(bench.stack.path('snapshot'))
        except FileNotFoundError:
            pass
        os.mkdir(bench.stack.path('snapshot'))
        self.saved(bench, 'err')

    def end(self, bench):
        os.rmdir(bench.stack.path('snapshot'))
        self.saved(bench, 'ok')
        bench.redis('CONFIG', 'SET', 'save', '')


class Killed(Trouble):
    """kill -9; it comes back with what its append-only file has."""
    reasons = ('closed', 'connect', 'queue_busy')

    def start(self, bench):
        bench.stack.kill_redis()

    def end(self, bench):
        bench.stack.start_redis()


class Cut(Trouble):
    """All connections, over and over."""
    reasons = ('closed', 'io')

    def start(self, bench):
        self.over = threading.Event()
        bench.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.thread = threading.Thread(target=self.run, args=(bench.client(),))
        self.thread.start()

    def run(self, client):
        while not self.over.wait(0.1):
            client('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        client.close()

    def end(self, bench):
        self.over.set()
        self.thread.join()
        bench.stack.redis.close()
        bench.stack.redis = bench.client()


class Silent(Trouble):
    """Redis takes what is sent and answers nothing."""
    reasons = ('timeout',)

    def start(self, bench):
        bench.stack.redis_server.send_signal(signal.SIGSTOP)

    def end(self, bench):
        bench.stack.redis_server.send_signal(signal.SIGCONT)


class Said(Trouble):
    """A reply that a server of ours cannot be brought to give: the gate gives it."""
    server = False

    def __init__(self, text, reasons):
        self.text, self.reasons = text, reasons

    def start(self, bench):
        bench.gate.answer = lambda name, _command: Error(self.text) if name in rq.SCRIPTS else None

    def end(self, bench):
        bench.gate.answer = None


class Unblocked(Trouble):
    """While WAIT blocks, its master becomes a replica."""
    reasons = ('queue_busy',)

    def start(self, bench):
        bench.replica.send_signal(signal.SIGSTOP)
        self.thread = threading.Thread(target=self.run, args=(bench.client(),))
        self.thread.start()

    def run(self, client):
        wait_until(lambda: 'blocked_clients:1' in client('INFO', 'clients'), what='WAIT that blocks', pause=0.001)
        client(*NOBODY)
        client.close()

    def end(self, bench):
        self.thread.join()
        bench.redis(*MASTER)
        bench.replica.send_signal(signal.SIGCONT)


class Slot(Trouble):
    """The slot of the queue is nowhere, is moving, or is at another node."""

    def __init__(self, word, reasons=('queue_busy',), passing=()):
        self.word, self.reasons, self.passing = word, reasons, passing

    def start(self, bench):
        getattr(bench.cluster, 'start_' + self.word)()

    def end(self, bench):
        getattr(bench.cluster, 'end_' + self.word)()


DOWN = ('queue_busy',)
PLAIN = {
    'READONLY': Config(DOWN, [NOBODY], [MASTER]),
    'MASTERDOWN': Config(DOWN, [('CONFIG', 'SET', 'replica-serve-stale-data', 'no'), NOBODY],
                         [MASTER, ('CONFIG', 'SET', 'replica-serve-stale-data', 'yes')]),
    'NOREPLICAS': setting('min-replicas-to-write', 3, 0, DOWN),
    'OOM': setting('maxmemory', 1, 0, ('queue_full',)),
    'NOPERM': Config(('queue_denied',), [('ACL', 'SETUSER', 'default', '-evalsha')],
                     [('ACL', 'SETUSER', 'default', '+evalsha')]),
    'NOAUTH': setting('requirepass', 'new', '', ('queue_denied', 'closed', 'io'), kill=True),
}
LONG = {
    'BUSY': Busy(), 'LOADING': Loading(), 'NOSCRIPT': Flushed(), 'script error': WrongType(), 'MISCONF': Misconf(),
    'TRYAGAIN': Said(b'TRYAGAIN Multiple keys request during rehashing of slot', ('queue_busy',)),
    'UNBLOCKED': Said(b'UNBLOCKED force unblock from blocking operation, instance state changed '
                      b'(master -> replica?)', DOWN),
}
BROKEN = {
    'killed': Killed(), 'connection lost': Cut(), 'time-out': Silent(),
    'WRONGPASS': setting('requirepass', 'new', 'old', ('queue_denied', 'closed', 'io'), kill=True),
}
# A slot that moves is half moved first: who calls just then meets what ASK meets.
CLUSTER = {'CLUSTERDOWN': Slot('down'), 'MOVED': Slot('moved', passing=('queue_script',)),
           'ASK': Slot('ask', ('queue_busy', 'queue_script'))}
APPEND = ('--appendonly', 'yes', '--appendfsync', 'always')
