# SPDX-License-Identifier: Apache-2.0
"""What the tests of durability share: a loss of power, a replica that lags, a Sentinel, a small disk, and what became
of the letters.

queue/PROTOCOL.md, section 13, is the table that these tests stand behind.
"""
import contextlib
import os
import signal
import socket
import subprocess
import threading

import account
import gate as gates
import liar as liars
import stack as stacks
from cluster import free_port
from life_case import LEASE_S, TOTAL, Case as LifeCase, letter
from stack import letters, rq, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
HOUSE, SENATE = letters.HOUSE, letters.SENATE
# Few at a time: there must be work left when something breaks.
SLOWLY = {**TOTAL, 'concurrency': 4}
# And none is given up, however long a chamber is silent.
PATIENTLY = {**SLOWLY, **{name + '_timeout': '60s' for name in ('total', 'first_byte', 'connect')}}


def mixed(tag, n, codes=(HOUSE, SENATE)):
    return [letter('%s-%03d' % (tag, i), codes[i % len(codes)]) for i in range(n)]


def key_of(submission):
    return submission['sid'], submission['offices'][0]


class Case(LifeCase):
    def start(self, kind=stacks.Stack, worker=True, **options):
        self.stack = kind(**{'lease': '%ds' % LEASE_S, 'chamber': SLOWLY, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if worker:
            self.worker = self.stack.start_worker()
        return self.stack

    def add(self, submission):
        """One XADD whose refusal is raised."""
        fields = [x for item in self.stack.entry(submission).items() for x in item]
        return self.stack.redis('XADD', self.stack.key('in'), '*', *fields)

    def slow_chambers(self, ms=40):
        self.stack.sim.fault(action='delay', ms=ms)

    def posts(self, since=0.0):
        """{(delivery id, office): how often it came there complete}"""
        found = {}
        for r in self.stack.sim.records():
            if r['complete'] and r['t'] >= since:
                key = (r['delivery_id'], r['office'])
                found[key] = found.get(key, 0) + 1
        return found

    def sent(self, submissions, posts=None):
        """{sid: how often its letter came to the chamber}"""
        posts = self.posts() if posts is None else posts
        return {s['sid']: posts.get((account.delivery_id(*key_of(s)), s['offices'][0]), 0) for s in submissions}

    @contextlib.contextmanager
    def silent_chambers(self, submissions):
        """With these letters, if not with earlier ones, the chambers have read four that they do not answer: whatever is
        done meanwhile meets POSTs under way. They are answered at the end."""
        def sent():
            return len(self.worker.events('letter_sent'))
        sim = self.stack.sim
        slow = sim.fault(action='delay', ms=3000)
        read = sim.count()
        self.stack.submit(*submissions)
        wait_until(lambda: sim.count() >= read + 4, what='letters on the wire')
        sim.process.send_signal(signal.SIGSTOP)
        try:
            before = sent()
            yield
        finally:
            sim.process.send_signal(signal.SIGCONT)
            sim.clear_faults(slow)
        wait_until(lambda: sent() >= before + 4, what='answers')

    def lose_worker(self):
        """kill -9 of the worker; the chambers have read what was on its way to them."""
        self.worker.kill()
        self.worker.process.wait()
        def gone():
            return not any(s['open'] for s in self.stack.sim.stats()['stats'].values())
        wait_until(gone, what='end of its connections')

    def last_post(self):
        """The time, in the simulator's clock, of the newest letter."""
        return max((r['t'] for r in self.stack.sim.records()), default=0.0)

    def known(self, submissions):
        """Those that Redis still knows: at the door, or by a record."""
        door = {e['sid'] for e in self.stack.stream('in')}
        return [s for s in submissions if s['sid'] in door or self.stack.job(*key_of(s))]

    def outcomes(self):
        return {key: (r['outcome'], r['detail']) for key, r in account.last_results(self.stack).items()}

    def check_once(self, submissions):
        """Nothing lost, nothing sent twice, one outcome each, and it is `accepted`."""
        last = account.check(self, self.stack, submissions)
        self.assertEqual(self.states(last), {'accepted': len(submissions)})
        self.assertEqual(set(self.sent(submissions).values()), {1})
        return last


# --- a loss of power ----------------------------------------------------------------------------


def preload(directory):
    """Builds synced.c; returns the environment that makes redis-server tell what it has synced, to a quick disk."""
    library = os.path.join(directory, 'synced.so')
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-D_GNU_SOURCE', '-O1', '-o', library,
                    os.path.join(HERE, 'preload', 'synced.c')], check=True)
    return {'LD_PRELOAD': library, 'SYNCED_LOG': os.path.join(directory, 'synced'),
            'SYNCED_HOLD': os.path.join(directory, 'synced.hold')}


class Power(stacks.Stack):
    """A stack whose Redis can lose its power: kill -9, and of the append-only file only what was synced remains."""

    def start_redis(self):
        if not hasattr(self, 'preloaded'):
            self.preloaded = preload(self.dir)
        kept = dict(os.environ)
        os.environ.update(self.preloaded)
        try:
            super().start_redis()
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def synced(self):
        """{inode: size}"""
        with open(self.preloaded['SYNCED_LOG'], encoding='ascii') as f:
            return {int(a): int(b) for a, b in (line.split() for line in f.read().split('\n')[:-1])}

    def append_file(self):
        folder = self.path('appendonlydir')
        return next(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith('.incr.aof'))

    def unsynced(self):
        info = os.stat(self.append_file())
        return info.st_size - self.synced().get(info.st_ino, 0)

    def wait_written(self):
        """All that was acknowledged so far is in the file: nothing was put off."""
        wait_until(lambda: 'aof_buffer_length:0' in self.redis('INFO', 'persistence'), what='writes to the file')

    def hold_syncs(self):
        """All that was acknowledged so far is on the disk; nothing from now on, until power is lost."""
        self.wait_written()
        info = os.stat(self.append_file())
        wait_until(lambda: self.synced().get(info.st_ino, 0) >= info.st_size, what='sync')
        with open(self.preloaded['SYNCED_HOLD'], 'xb'):
            pass

    def lose_power(self):
        """Returns how many bytes were written, but not on the disk."""
        self.kill_redis()
        lost = self.unsynced()
        os.truncate(self.append_file(), os.stat(self.append_file()).st_size - lost)
        if os.path.exists(self.preloaded['SYNCED_HOLD']):
            os.remove(self.preloaded['SYNCED_HOLD'])
        return lost


# --- replicas -----------------------------------------------------------------------------------


class Link:
    """The way of everybody to one Redis. freeze(): from then on nothing of the replication passes, either way; what was
    under way is lost with it. All else goes on."""

    def __init__(self, port):
        self.target, self.frozen, self.sockets = port, threading.Event(), []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def freeze(self):
        self.frozen.set()

    def thaw(self):
        """The replica must ask anew: what was withheld never comes."""
        self.frozen.clear()

    def accept(self):
        for client in liars.clients(self.listener):
            try:
                server = liars.dial(self.target)
            except OSError:
                client.close()
                continue
            self.sockets += [client, server]
            path = {'replication': False, 'cut': False}
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b, a is client, path), daemon=True).start()

    def pump(self, a, b, asks, path):
        try:
            while data := a.recv(1 << 16):
                if asks and b'PSYNC' in data:
                    path['replication'] = True
                if path['replication'] and self.frozen.is_set():
                    path['cut'] = True  # a stream with a hole in it is of no use any more
                if path['cut']:
                    if not self.frozen.is_set():
                        break
                    continue
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        liars.close_all([self.listener] + self.sockets)


def master_options(port):
    return ['--port', str(port), '--bind', '127.0.0.1', '--repl-diskless-sync-delay', '0',
            '--repl-ping-replica-period', '1']


def start_replica(stack, port, own_port, *args):
    """(process, path of its socket): a replica of the server at `port`."""
    path = stack.path('replica.sock')
    os.mkdir(stack.path('replica'))
    process = subprocess.Popen(
        ['redis-server', *master_options(own_port), '--unixsocket', path, '--dir', stack.path('replica'), '--save', '',
         '--maxmemory-policy', 'noeviction', '--logfile', stack.path('replica.log'), '--replicaof', '127.0.0.1',
         str(port), *args], stdin=subprocess.DEVNULL)
    return process, path


class Pair(stacks.Stack):
    """A master and a replica, and an address that leads to whichever is the master: what a name in the DNS or a proxy
    does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.port, self.replica_port = free_port(), free_port()
        self.redis_args += master_options(self.port)
        self.replica_process = self.gate = self.link = self.replica = self.sentinel = None

    def start(self):
        super().start()
        self.link = Link(self.port)
        self.replica_process, self.replica_path = start_replica(self, self.link.port, self.replica_port)
        self.replica = wait_until(self.connect_replica, 20, 'replica')
        wait_until(lambda: 'master_link_status:up' in self.replica('INFO', 'replication'), 20, 'replication')
        self.master = self.port
        self.gate = gates.Gate(lambda: self.master, self.path('gate.sock'))
        self.dialled = self.gate.path
        return self

    def connect_replica(self):
        try:
            return rq.Client(self.replica_path)
        except OSError:
            return None

    def replicate(self):
        """Until the replica has all that was written so far."""
        self.redis('PING')
        wait_until(lambda: self.redis('WAIT', 1, 100) == 1, what='replica that is up to date')

    def promote(self):
        """The replica is the master now; the test asks it, too."""
        self.replica('REPLICAOF', 'NO', 'ONE')
        self.follow()

    def follow(self):
        self.redis.close()
        self.redis, self.redis_path, self.master = self.connect_replica(), self.replica_path, self.replica_port

    def fail_over(self):
        self.redis_server.kill()
        self.redis_server.wait()
        self.promote()

    # --- Sentinel ----------------------------------------------------------------------------

    def start_sentinel(self):
        """One Sentinel that watches the master through the link, and an address that asks it who is the master."""
        self.sentinel_port = free_port()
        os.mkdir(self.path('sentinel'))
        with open(self.path('sentinel.conf'), 'w', encoding='ascii') as f:
            f.write('port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\nsentinel monitor q 127.0.0.1 %d 1\n'
                    'sentinel down-after-milliseconds q 500\nsentinel failover-timeout q 3000\n' %
                    (self.sentinel_port, self.path('sentinel'), self.path('sentinel.log'), self.link.port))
        self.sentinel = subprocess.Popen(['redis-sentinel', self.path('sentinel.conf')], stdin=subprocess.DEVNULL)
        wait_until(self.sentinel_master, 20, 'Sentinel')
        # It asks the master for its replicas each ten seconds, but at once at first.
        wait_until(lambda: self.ask_sentinel('SENTINEL', 'replicas', 'q'), 20, 'replica known to Sentinel')
        self.gate.upstream = self.sentinel_master

    def ask_sentinel(self, *command):
        try:
            s = socket.create_connection(('127.0.0.1', self.sentinel_port), timeout=2)
        except OSError:
            return None
        client = object.__new__(rq.Client)
        client.sock, client.file = s, s.makefile('rb')
        try:
            return client(*command)
        except (OSError, rq.RedisError):
            return None
        finally:
            client.close()

    def sentinel_master(self):
        found = self.ask_sentinel('SENTINEL', 'get-master-addr-by-name', 'q')
        return int(found[1]) if found else None

    def close(self):
        for process in (self.replica_process, self.sentinel):
            if process is not None:
                process.kill()
                process.wait()
        for other in (self.gate, self.link):
            if other is not None:
                other.close()
        if self.replica is not None:
            self.replica.close()
        super().close()


# --- a small disk -------------------------------------------------------------------------------


def unshare():
    """The commands that make and enter mounts of one's own, or None."""
    for make, enter in ((['unshare', '-m'], ['nsenter', '-m']),
                        (['unshare', '-Urm'], ['nsenter', '-U', '-m', '--preserve-credentials'])):
        if subprocess.run([*make, 'true'], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return make, enter
    return None


class SmallDisk(stacks.Stack):
    """A stack whose Redis keeps its files on a disk of 2 MB, which fill() fills and free() frees."""
    holder = None

    def make_disk(self):
        make, self.enter = unshare()
        os.mkdir(self.path('disk'))
        self.holder = subprocess.Popen(
            [*make, 'sh', '-c', 'mount -t tmpfs -o size=2m none "$1" && echo done && exec sleep infinity', 'sh',
             self.path('disk')], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b'done\n'
        self.outside = '/proc/%d/root%s' % (self.holder.pid, self.path('disk'))

    def start_redis(self):
        """Also after it gave up, on the same disk."""
        if self.holder is None:
            self.make_disk()
        self.redis_server = subprocess.Popen(
            [*self.enter, '-t', str(self.holder.pid), 'redis-server', '--port', '0', '--unixsocket', self.redis_path,
             '--dir', self.path('disk'), '--save', '', '--maxmemory-policy', 'noeviction', '--logfile',
             self.path('redis.log'), *self.redis_args], stdin=subprocess.DEVNULL)
        self.redis = wait_until(self.connect_redis, 20, 'redis-server')

    def fill(self):
        with open(self.outside + '/filling', 'wb', buffering=0) as f:
            for size in (1 << 16, 1 << 12, 1 << 8, 1):
                try:
                    while True:
                        f.write(b'x' * size)
                except OSError:
                    continue

    def free(self):
        os.remove(self.outside + '/filling')

    def close(self):
        super().close()
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()
            self.holder.stdout.close()
