# SPDX-License-Identifier: Apache-2.0
"""The base of the protocol tests: one server, the virtual clock, and the scripts as methods."""
import unittest

import rq

SECOND = 1_000_000
DAY = 86400 * SECOND
START = 4_000_000_000 * SECOND
HOUSE, HOUSE2, SENATE = 'HCA12', 'HTX09', 'SCA01'
TAKEN = ('sid', 'office', 'token', 'why', 'digest', 'previous', 'generation', 'attempt', 'crashes', 'unknowns', 'delivery_id',
         'date', 'begun_us', 'first_us', 'rev', 'last', 'status', 'bytes')


PATCH = []  # mutants.py breaks the scripts with it


def start_server():
    ProtocolCase.server = rq.Server()
    ProtocolCase.sha = rq.load(ProtocolCase.server.r, inject=True, patch=PATCH)


def stop_server():
    ProtocolCase.server.stop()


class ProtocolCase(unittest.TestCase):
    server = sha = None

    def setUp(self):
        self.r = self.server.r
        self.r('CONFIG', 'SET', 'maxmemory', 0)
        self.r('FLUSHALL')
        self.now, self.seq = START, 0
        self.tick(0)
        self.join('w/1')

    def tick(self, us):
        self.now += us
        self.r('SET', '{q}:faketime', self.now)

    def call(self, name, *args):
        return self.r('EVALSHA', self.sha[name], 1, rq.META, *args, 0)

    # --- scripts

    def join(self, worker, lease=3600 * SECOND, machine=''):
        return self.call('beat', worker, min(lease, 300 * SECOND), 'join', self.now, 1, machine)

    def beat(self, worker='w/1', verb='beat', machine=''):
        return self.call('beat', worker, 60 * SECOND, verb, self.now, 1, machine)

    def add(self, sid='s', offices=HOUSE, job='job', **hints):
        flat = [x for kv in hints.items() for x in kv]
        return self.r('XADD', '{q}:in', '*', 'sid', sid, 'offices', offices, 'job', job, *flat)

    def intake(self, n=100):
        return self.call('enqueue', n)

    def take_raw(self, chamber='house', n=16, worker='w/1', period=1, burst=10**6, slack=None, office_period=0,
                 office_slack=0, cap=100, open=1, now=None):
        self.seq += 1
        slack = (burst - 1) * period if slack is None else slack
        return self.call('take', chamber, worker, '%s.%d' % (worker, self.seq), n, self.now if now is None else now, period,
                         slack, office_period, office_slack, cap, open)

    def take(self, chamber='house', **options):
        reply = self.take_raw(chamber, **options)
        return [dict(zip(TAKEN, e)) for e in reply[2:] if e[0] != 'ERR']

    def begin(self, i, generation=0, worker='w/1', now=None, expires=None, delivery_id='DID', date='20260101', sent=0):
        return self.call('begin', worker, i['sid'], i['office'], i['token'], delivery_id, date, generation,
                         expires or self.now + 10 * DAY, self.now if now is None else now, sent)

    def settle(self, i, verb, state='', outcome='', worker='w/1', due=0, cls='class', status=0, detail='', receipt='R', alt='A',
               retryable=0, begun=0, generation=-1, site=0, open_us=30 * SECOND):
        return self.call('settle', worker, i['sid'], i['office'], i['token'], verb, state, outcome, cls, retryable, detail, status,
                         due, self.now, begun, receipt, alt, generation, site, open_us)

    def reap(self, worker='w/2', house=0, senate=1, crashes=3, after=60 * SECOND, chunk=100):
        return self.call('reap', worker, self.now, after, crashes, house, senate, chunk)

    def adopt(self, *tokens, worker='w/1', house=0, senate=1, after=60 * SECOND):
        return self.call('adopt', worker, self.now, after, house, senate, *tokens)

    def admin(self, verb, *args):
        return self.call('admin', verb, 'op', *args)

    # --- looking

    def job(self, sid='s', office=HOUSE):
        return rq.pairs(self.r('HGETALL', '{q}:job:%s:%s' % (sid, office)))

    def sub(self, sid='s'):
        return rq.pairs(self.r('HGETALL', '{q}:sub:' + sid))

    def results(self):
        return rq.stream(self.r, 'results')

    def depth(self):
        return {k: int(v) for k, v in rq.pairs(self.call('depth', self.now)).items()}

    def keys(self):
        """All keys but those of the clock, the rates, the flow, the workers and meta."""
        aside = ('faketime', 'meta', 'workers', 'flow', 'limits')
        return sorted(k[4:] for k in self.r('KEYS', '{q}:*') if k[4:] not in aside and ':rate:' not in k)

    # --- short ways into a state

    def one(self, sid='s', office=HOUSE, **kw):
        """A taken job."""
        self.add(sid, office, **kw)
        return self.take('house' if office[0] == 'H' else 'senate')[0]

    def begun(self, sid='s', office=HOUSE, generation=0, **kw):
        i = self.one(sid, office, **kw)
        self.assertEqual(self.begin(i, generation)[0], 'GO')
        return i

    def ended(self, state, outcome, sid='s', office=HOUSE, begun=True, **kw):
        i = self.begun(sid, office, **kw) if begun else self.one(sid, office, **kw)
        self.assertEqual(self.settle(i, 'end', state, outcome)[0], 'OK')
        return i

    def lost(self, office=HOUSE, begun=True, **reap):
        """A job whose worker died; w/2 reaps it."""
        i = self.begun(office=office) if begun else self.one(office=office)
        self.tick(301 * SECOND)
        self.join('w/2')
        self.assertEqual(self.reap(**reap), ['OK', 1])
        return i
