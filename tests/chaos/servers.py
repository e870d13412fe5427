# SPDX-License-Identifier: Apache-2.0
"""The Redis servers of a round, and the stack around them.

Workers dial a symbolic link that leads to whichever server is the master, as a name in the DNS does. A server can be
cut off from all its clients at one moment; what it knew then can be compared with what its successor knows, so that
the ledger knows exactly what was forgotten (forgotten.py).
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'it'))

import durable  # noqa: E402
import stack as stacks  # noqa: E402
from stack import rq, wait_until  # noqa: E402

MEMORY = '/dev/shm'  # where a sync takes no time


class Node:
    """One redis-server with a directory of its own. Of a pair: with a port, and a link that its replicas go through."""

    def __init__(self, stack, number, args, paired, quick):
        self.path, self.log = stack.path('redis%d.sock' % number), stack.path('redis%d.log' % number)
        quick = quick and os.access(MEMORY, os.W_OK)
        self.dir = tempfile.mkdtemp(prefix='cwc-redis', dir=MEMORY if quick else stack.dir)
        self.args, self.process, self.client, self.link = list(args), None, None, None
        if paired:
            self.port = durable.free_port()
            self.args += durable.master_options(self.port)
            self.link = durable.Link(self.port)

    def start(self, master=None):
        """With what its directory holds; as a replica of another node with nothing."""
        if master is not None:
            shutil.rmtree(self.dir)
            os.mkdir(self.dir, 0o700)
        replicaof = ['--replicaof', '127.0.0.1', str(master.link.port)] if master is not None else []
        self.process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.path, '--unixsocketperm', '700', '--dir', self.dir,
             '--save', '', '--maxmemory-policy', 'noeviction', '--logfile', self.log, *self.args, *replicaof],
            stdin=subprocess.DEVNULL)
        self.client = wait_until(self.connect, 20, 'redis-server')

    def connect(self):
        try:
            client = rq.Client(self.path)
        except OSError:
            return None
        try:
            client('PING')
            return client
        except (OSError, rq.RedisError):
            client.close()
            return None

    def linked(self):
        """A replica that has all but what is under way."""
        info = self.client('INFO', 'replication')
        return 'master_link_status:up' in info and 'role:slave' in info

    def kill(self):
        if self.client is not None:
            self.client.close()
        if self.process is not None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
            self.process.wait()

    def append_file(self):
        folder = os.path.join(self.dir, 'appendonlydir')
        return next(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith('.incr.aof'))

    def close(self):
        self.kill()
        if self.link is not None:
            self.link.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Stack(stacks.Stack):
    """Every configuration is written once: a worker that starts must not find one that is being written. The queue's
    name is this process's own, so that rounds beside each other do not claim each other's worker names."""

    def __init__(self, paired=False, quick=False, **options):
        super().__init__(queue='chaos%d' % os.getpid(), **options)
        self.written = {}
        self.dialled = self.path('dial')
        self.nodes = [Node(self, n, self.redis_args, paired, quick) for n in range(2 if paired else 1)]
        self.master, self.replica = self.nodes[0], self.nodes[1] if paired else None

    def start(self):
        super().start()
        if self.replica is not None:
            self.join_replica()
            wait_until(self.replica.linked, 20, 'replica')
        return self

    def write_config(self, name, worker=None):
        if name not in self.written:
            self.written[name] = super().write_config(name, worker)
        return self.written[name]

    # --- who is the master -------------------------------------------------------------------

    def start_redis(self):
        """Also after it ended, with the same directory. Workers find it at once."""
        self.master.start()
        self.use(self.master)
        self.lead()

    def use(self, node):
        self.master, self.redis_server, self.redis, self.redis_path = node, node.process, node.client, node.path

    def lead(self):
        """Workers that dial come to the present master."""
        os.symlink(self.master.path, self.dialled + '.new')
        os.replace(self.dialled + '.new', self.dialled)

    def lead_nowhere(self):
        if os.path.lexists(self.dialled):
            os.unlink(self.dialled)

    def sever(self, node):
        """No client of this server gets or says anything from now on, but we."""
        for _ in range(2):  # one that was just dialling is only known to the second
            node.client('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    def join_replica(self):
        self.replica.start(self.master)

    def promote(self):
        """The replica is the master; nobody is led to it yet. The old one may live on."""
        old, new = self.master, self.replica
        new.client('REPLICAOF', 'NO', 'ONE')
        self.use(new)
        self.replica = old

    def keep_written(self, size):
        """A loss of power: of the append-only file only this much was on the disk."""
        self.master.kill()
        os.truncate(self.master.append_file(), size)

    def snapshot(self, node):
        """All that a server knows of jobs, and the keys that workers published."""
        ask, jobs = node.client, {}
        names = ask('KEYS', self.key('job:*'))
        for name in names:
            ask.send('HGETALL', name)
        for name in names:
            sid, office = name.split(':job:', 1)[1].rsplit(':', 1)
            jobs[sid, office] = rq.pairs(ask.read())
        entries = ask('XRANGE', self.key('attestations'), '-', '+')
        return {'jobs': jobs, 'published': {e[0] for e in entries}}

    def close(self):
        super().close()
        for node in self.nodes:
            node.close()
