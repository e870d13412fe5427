# SPDX-License-Identifier: Apache-2.0
"""The bench on which a worker meets every trouble of Redis (redis_troubles.py) in every state that it can be in.
test_redis_rows.py and test_redis_wait.py are the tables."""
import json
import threading
import time
import unittest

import account
import gate as gates
import stack as stacks
from cluster import Cluster, free_port
from durable import master_options, start_replica
from life_case import letter
from redis_troubles import HOLD_S
from stack import letters, rq, wait_until

RESUME_S = 5.0     # how soon after a trouble the letters must flow
TRIES = 3          # of a cell that was late, or met another trouble besides: a busy machine does that
LIMITS = {'total_timeout': '6s', 'first_byte_timeout': '5s', 'connect_timeout': '3s'}
TIMEOUT = '1s'     # of a reply; what answers nothing lasts until that was noticed
PATIENCE_S = 20    # until a server that does not answer the test fails it
STATES = ('idle', 'take', 'begin', 'post', 'settle')


class Cell:
    """What one trouble in one state came to."""

    def __init__(self, row, state, server, tries):
        self.row, self.state, self.server, self.tries = row, state, server, tries
        self.ms, self.reasons, self.wrong = None, (), []
        self.late = []  # wrong, too, if it is always so


class Bench:
    """One Redis, one worker, a gate between them; used for many cells, one after the other."""

    def __init__(self, troubles, states=STATES, cluster=False, replica=False, **options):
        self.troubles, self.states, self.cells, self.sids = troubles, states, [], []
        if replica:
            options['measured_queue'] = {'replicas': 1}
        args = [a for t in troubles.values() for a in t.args]
        self.stack = stacks.Stack(lease='3s', chamber=LIMITS, redis=['--enable-debug-command', 'yes', *args,
                                                                     *options.pop('redis', ())],
                                  host_queue={'timeout': TIMEOUT, **options.pop('host_queue', {})}, **options)
        self.cluster = Cluster(self.stack) if cluster else None
        self.log, self.read_to = [], 0
        self.gate = self.replica = None
        self.port = free_port() if replica else None

    def start(self):
        if self.port:
            self.stack.redis_args += master_options(self.port)
        self.stack.start()
        if self.port:
            self.start_replica()
        if self.cluster:
            self.cluster.start()
        self.gate = gates.Gate(self.stack.redis_path, self.stack.path('gate.sock'))
        self.stack.dialled = self.gate.path
        self.worker = self.stack.start_worker()
        self.worker.wait_event('offices_loaded', n=2)
        return self

    def start_replica(self):
        secret = ('--masterauth', self.stack.password) if self.stack.password else ()
        self.replica, _ = start_replica(self.stack, self.port, free_port(), *secret)
        wait_until(self.replicated, 20, 'replica')

    def replicated(self):
        return not self.port or self.redis('WAIT', 1, 50) == 1

    def close(self):
        if self.gate:
            self.gate.close()
        if self.replica:
            self.replica.kill()
            self.replica.wait()
        if self.cluster:
            self.cluster.close()
        self.stack.close()

    def redis(self, *command):
        self.stack.redis.sock.settimeout(PATIENCE_S)
        return self.stack.redis(*command)

    def client(self):
        client = self.stack.connect_redis()
        client.sock.settimeout(PATIENCE_S)
        return client

    # --- one cell ----------------------------------------------------------------------------

    def events(self):
        """The worker's log, read on from where it ended: it is asked for all the time."""
        with open(self.worker.log_path, encoding='utf-8') as f:
            f.seek(self.read_to)
            whole, _, _ = f.read().rpartition('\n')
        if whole:
            self.read_to += len(whole.encode()) + 1
            self.log += [json.loads(line) for line in whole.split('\n')]
        return self.log

    def ready(self):
        said = [e['event'] for e in self.events() if e['event'] in ('ready', 'not_ready')]
        return said[-1:] == ['ready']

    def state_idle(self, _sid, trouble):
        trouble.start(self)

    def state_take(self, sid, trouble):
        """The letter comes with the TAKE that meets the trouble."""
        entry = self.stack.entry(letter(sid))

        def act():
            self.stack.enqueue([entry])
            trouble.start(self)
        self.at('take', act)

    def state_begin(self, sid, trouble):
        self.submit(sid, 'begin', trouble)

    def state_post(self, sid, trouble):
        """The chamber answers while the trouble lasts."""
        self.stack.sim.fault(action='delay', ms=int(HOLD_S * 500), count=1)
        self.stack.submit(letter(sid))
        wait_until(lambda: self.stack.sim.stats()['stats']['house']['in_flight'], what='POST', pause=0.005)
        trouble.start(self)

    def state_settle(self, sid, trouble):
        self.submit(sid, 'settle', trouble)

    def state_wait(self, sid, trouble):
        """The worker asks WAIT at other times, too: it must be about the letter."""
        def begun():
            client = self.client()
            state = client('HGET', self.stack.key('job:%s:%s' % (sid, letters.HOUSE)), 'state')
            client.close()
            return state == 'begun'
        self.submit(sid, 'WAIT', trouble, begun)

    def at(self, name, act):
        if not self.gate.at(name, act).wait(10):
            raise TimeoutError('no ' + name)

    def submit(self, sid, name, trouble, when=lambda: True):
        """The trouble meets the call `name` for this letter; not before the test itself is done with Redis."""
        submitted = threading.Event()

        def act():
            submitted.wait(PATIENCE_S)
            trouble.start(self)
        done = self.gate.at(name, act, when)
        self.stack.submit(letter(sid))
        submitted.set()
        if not done.wait(10):
            raise TimeoutError('the worker did not come so far')

    def run_cell(self, row, state):
        """A letter that was sent twice has one try."""
        self.cells.append(None)
        for n in range(TRIES):
            cell = self.cells[-1] = Cell(row, state, self.troubles[row].server, n + 1)
            self.try_cell(cell, ('%s-%s-%d' % (row, state, n)).replace(' ', '-').lower())
            if cell.wrong or not cell.late:
                break
        cell.wrong += cell.late

    def try_cell(self, cell, name):
        trouble, state = self.troubles[cell.row], cell.state
        wait_until(self.replicated, 10, 'replica before the trouble')
        wait_until(self.ready, 10, 'ready before the trouble')
        sids = [name] if state != 'idle' else []
        before = len(self.events())
        begin = time.monotonic()
        getattr(self, 'state_' + state)(name, trouble)

        def felt():
            """It lasts until it was noticed, and long enough to meet every call."""
            over = time.monotonic() - begin
            return over > HOLD_S and (over > 4 * HOLD_S or not trouble.reasons or not self.ready())
        wait_until(felt, what='the trouble')
        cell.reasons = tuple(dict.fromkeys(e['reason'] for e in self.events()[before:] if e['event'] == 'not_ready'))
        trouble.end(self)
        end = time.monotonic()
        probe = name + '-after'
        self.stack.submit(letter(probe))
        sids.append(probe)
        self.sids += sids
        wait_until(lambda: all((self.stack.status(s, letters.HOUSE) or ('',))[0] == 'accepted' for s in sids), 40,
                   'letters after %s in %s: %s' % (cell.row, state, sids), pause=0.01)
        cell.ms = (time.monotonic() - end) * 1000
        if not self.worker_is_ready_soon():
            cell.late.append('not ready again')
        self.judge(cell, trouble, sids)

    def worker_is_ready_soon(self):
        try:
            return wait_until(self.ready, 3, 'ready')
        except TimeoutError:
            return False

    def judge(self, cell, trouble, sids):
        if cell.ms > RESUME_S * 1000:
            cell.late.append('resumed after %.0f ms' % cell.ms)
        if trouble.reasons and not set(cell.reasons) & set(trouble.reasons):
            cell.late.append('not said to be not ready for %s' % ' or '.join(trouble.reasons))
        # `queue`: it is back and joins. While the answer to WAIT is an error, nobody knows how many replicas there are.
        allowed = {*trouble.reasons, *trouble.passing, 'queue', *(('replicas',) if cell.state == 'wait' else ())}
        for reason in cell.reasons:
            if reason not in allowed:
                cell.late.append('not ready for "%s"' % reason)
        for sid in sids:
            posts = self.stack.sim.count(delivery_id=account.delivery_id(sid, letters.HOUSE))
            if posts != 1:
                cell.wrong.append('%s was sent %d times' % (sid, posts))

    def run(self):
        """All cells; returns them. What stops a lane is the fault of its last cell."""
        try:
            self.start()
            for row in self.troubles:
                for state in self.states:
                    self.run_cell(row, state)
            self.stack.wait_idle()
            account.check(unittest.TestCase(), self.stack, [letter(sid) for sid in self.sids])
        except (TimeoutError, RuntimeError, OSError, rq.RedisError, AssertionError) as e:
            if not self.cells:
                self.cells.append(Cell('start', 'start', True, 1))
            self.cells[-1].wrong.append('%s: %s; the worker said: %s' % (type(e).__name__, e, self.last_words()))
        return self.cells

    def last_words(self):
        return self.stack.workers[-1].tail()[-1500:] if self.stack.workers else 'nothing'


def table(cells, states):
    """Text: rows x states -> ms until the letters flowed again (~: at the second try), and what not_ready said
    meanwhile."""
    rows = dict.fromkeys(c.row for c in cells)
    found = {(c.row, c.state): c for c in cells}
    out = ['%-16s %s   not ready for' % ('ms to resume', ' '.join('%7s' % s for s in states))]
    for row in rows:
        mine = [found.get((row, s)) for s in states]
        texts = ['%.0f%s' % (c.ms, '!' if c.wrong else '~' * (c.tries - 1)) if c and c.ms is not None else '-' for c in mine]
        shown = ' '.join('%7s' % t for t in texts)
        reasons = sorted({r for c in mine if c for r in c.reasons})
        by = '' if all(c.server for c in mine if c) else '   (reply by the gate)'
        out.append('%-16s %s   %s%s' % (row, shown, ', '.join(reasons) or 'no time', by))
    return '\n'.join(out)
