# SPDX-License-Identifier: Apache-2.0
"""A second node beside a stack's Redis, so that the slot of the queue can go there and come back. The worker dials the
first one only.

The stack's Redis must run with OPTIONS. Keys are really moved, by MIGRATE, all in one command.
"""
import os
import shutil
import socket
import subprocess
import tempfile

from stack import rq, wait_until


def free_port():
    """Free, and with the port of the cluster bus (10000 above) free too."""
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(('127.0.0.1', 0))
            port = a.getsockname()[1]
            if port > 55000:
                continue
            try:
                b.bind(('127.0.0.1', port + 10000))
                return port
            except OSError:
                continue


def options(port):
    return ['--cluster-enabled', 'yes', '--port', str(port), '--bind', '127.0.0.1', '--cluster-node-timeout', '5000',
            '--cluster-require-full-coverage', 'no', '--cluster-allow-replica-migration', 'no']


class Cluster:
    def __init__(self, stack):
        self.stack, self.port, self.other_port = stack, free_port(), free_port()
        stack.redis_args += options(self.port)
        self.dir = tempfile.mkdtemp(prefix='cwc-node-')
        self.process = self.other = None

    def start(self):
        path = os.path.join(self.dir, 'redis.sock')
        self.process = subprocess.Popen(
            ['redis-server', *options(self.other_port), '--unixsocket', path, '--dir', self.dir, '--save', '',
             '--logfile', self.dir + '/redis.log'], stdin=subprocess.DEVNULL)

        def connect():
            try:
                return rq.Client(path)
            except OSError:
                return None
        self.other = wait_until(connect, what='second node')
        self.stack.redis('CLUSTER', 'ADDSLOTSRANGE', 0, 16383)
        self.stack.redis('CLUSTER', 'MEET', '127.0.0.1', self.other_port)
        self.slot = self.stack.redis('CLUSTER', 'KEYSLOT', self.stack.key('meta'))
        self.id, self.other_id = self.stack.redis('CLUSTER', 'MYID'), self.other('CLUSTER', 'MYID')
        # Both must know who has the slots.
        wait_until(lambda: self.id in self.owner(self.other), what='gossip')
        wait_until(lambda: self.other_id in self.stack.redis('CLUSTER', 'NODES'), what='gossip')
        for client in (self.stack.redis, self.other):
            wait_until(lambda client=client: 'cluster_state:ok' in client('CLUSTER', 'INFO'), what='cluster')

    def owner(self, client):
        """The lines of nodes that have slots."""
        return '\n'.join(line for line in client('CLUSTER', 'NODES').splitlines() if len(line.split(' ')) > 8)

    def close(self):
        if self.other is not None:
            self.other.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def set_slot(self, *words):
        """On the new owner first, as redis-cli does."""
        for client in (self.other, self.stack.redis):
            client('CLUSTER', 'SETSLOT', self.slot, *words)

    @staticmethod
    def carry(slot, source, port):
        keys = source('CLUSTER', 'GETKEYSINSLOT', slot, 100000)
        if keys:
            source('MIGRATE', '127.0.0.1', port, '', 0, 10000, 'KEYS', *keys)

    def start_ask(self):
        """Half way: the keys are at the other node, the slot is still ours."""
        self.other('CLUSTER', 'SETSLOT', self.slot, 'IMPORTING', self.id)
        self.stack.redis('CLUSTER', 'SETSLOT', self.slot, 'MIGRATING', self.other_id)
        self.carry(self.slot, self.stack.redis, self.other_port)

    def end_ask(self):
        """The move is finished, and then undone: at no time does a node own the slot without the keys."""
        self.set_slot('NODE', self.other_id)
        self.end_moved()

    def start_moved(self):
        self.start_ask()
        self.set_slot('NODE', self.other_id)

    def end_moved(self):
        self.stack.redis('CLUSTER', 'SETSLOT', self.slot, 'IMPORTING', self.other_id)
        self.other('CLUSTER', 'SETSLOT', self.slot, 'MIGRATING', self.id)
        self.carry(self.slot, self.other, self.port)
        for client in (self.stack.redis, self.other):
            client('CLUSTER', 'SETSLOT', self.slot, 'NODE', self.id)

    def start_down(self):
        self.stack.redis('CLUSTER', 'DELSLOTS', self.slot)

    def end_down(self):
        self.stack.redis('CLUSTER', 'ADDSLOTS', self.slot)
