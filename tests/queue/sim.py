# SPDX-License-Identifier: Apache-2.0
"""A simulated world around the scripts: producers, workers, operators and a Congress that knows the truth.

Time is virtual: `t` is the workers' clock, the server's clock is t + skew. Every choice comes from the seed.
"""
import collections
import hashlib
import random

from breakers import Breakers, chamber_of
from invariants import Bad, check_rates, check_state
from rq import META, RedisError

OFFICES = ['HCA12', 'HCA13', 'HTX09', 'SCA01', 'STX02']
SECOND = 1_000_000
START = 4_000_000_000 * SECOND  # in the future, so that EXPIREAT never acts during a run
LIMITS = (100_000, 210_000, 1_000_000, 1_010_000, 2)  # chamber period and slack, office period and slack, office cap
LEASE, TIMEOUT, OPEN = 8 * SECOND, 20 * SECOND, 3 * SECOND
ATTEMPTS, CRASHES = 5, 2
TAKEN = ('sid', 'office', 'token', 'why', 'digest', 'previous', 'generation', 'attempt', 'crashes', 'unknowns', 'delivery_id',
         'date', 'begun_us', 'first_us', 'rev', 'last', 'status', 'bytes')
CLOSING = {'unknown': ('unknown', 'outcome_unknown'), 'crashes': ('dead', 'crashes'), 'dropped': ('dropped', 'dropped'),
           'late': ('accepted', 'accepted_earlier'), 'cancelled': ('cancelled', 'cancelled'), 'expired': ('expired', 'expired')}
BUGS = ('NOTBEGUN', 'BEGUN', 'BADVERB')


class Options:
    steps, faults, lost, forgotten, clock, sick = 600, 0.0, 0.0, 0.0, False, False


class Worker:
    def __init__(self, name, machine=''):
        self.machine = machine  # '': its join takes over from nobody
        self.name, self.joined, self.items, self.settles, self.seq, self.stall, self.adopt = name, False, [], [], 0, 0, False


class Sim:
    def __init__(self, r, sha, seed, options):
        self.r, self.sha, self.opt, self.rnd, self.seed = r, sha, options, random.Random(seed), seed
        r('FLUSHALL')
        self.t, self.skew = START, 0
        self.tick(0)
        self.calm = self.trouble = False
        self.house_resend, self.senate_resend = int(seed % 4 == 0), int(seed % 5 != 0)
        self.sent, self.need, self.n_sid = [], {}, 0
        self.posts, self.accepted_ids = [], set()
        self.true_accepted, self.resends, self.op_accepted = collections.Counter(), collections.Counter(), set()
        self.nonce, self.zombies, self.log, self.stat = 0, [], [], collections.Counter()
        self.breakers, self.sick = Breakers(self, OPEN), {}  # sick: when a receiver will answer again
        self.workers = [self.worker_new('w%d' % i) for i in range(3)]

    def tick(self, us):
        self.t += us
        self.r('SET', '{q}:faketime', self.t + self.skew)

    def worker_new(self, name):
        self.nonce += 1
        return Worker('%s/%d' % (name, self.nonce), self.rnd.choice(('', 'machine of ' + name)))

    # --- scripts, with faults and lost replies: None means that the caller saw neither

    def fault(self, name):
        if self.calm or self.rnd.random() >= self.opt.faults:
            return 0
        self.trouble = True
        most = {'take': 50, 'reap': 20, 'settle': 16, 'adopt': 16, 'admin': 12}.get(name, 8)
        return self.rnd.randint(1, most) * self.rnd.choice((1, -1))

    def run(self, name, *args, fault=True):
        k = self.fault(name) if fault else 0
        try:
            reply = self.r('EVALSHA', self.sha[name], 1, META, *args, k)
        except RedisError as e:
            if 'injected' not in str(e):
                raise Bad('script error %s %s: %s' % (name, args, e)) from e
            self.stat['failed calls'] += 1
            self.log.append((name, args, 'FAULT %d' % k))
            return None
        self.log.append((name, args, reply))
        if fault and not self.calm and self.rnd.random() < self.opt.lost:
            self.stat['lost replies'] += 1
            self.trouble = True
            self.log.append(('LOST',))
            return None
        return reply

    # --- producers

    def job(self, sid, offices, generation, genuine=True):
        exp = self.t + self.rnd.choice((40, 600, 86400)) * SECOND
        nbf = self.t + self.rnd.choice((0, 0, 0, 0, 4, 20)) * SECOND
        text = '|'.join(('G' if genuine else 'F', sid, ','.join(offices), str(generation), str(exp), str(nbf),
                         '%x' % self.rnd.getrandbits(40)))
        return {'sid': sid, 'offices': offices, 'generation': generation, 'exp': exp, 'nbf': nbf, 'bytes': text,
                'genuine': genuine, 'pri': self.rnd.choice((1, 1, 1, 0))}

    def xadd(self, j):
        hints = ['pri', j['pri']]
        if self.rnd.random() < .9:
            hints += ['exp', j['exp'] if self.rnd.random() < .9 else self.t + 2 * SECOND]  # a hint may be wrong
        if j['nbf'] > self.t and self.rnd.random() < .8:
            hints += ['nbf', j['nbf']]
        self.r('XADD', '{q}:in', '*', 'sid', j['sid'], 'offices', ','.join(j['offices']), 'job', j['bytes'], *hints)
        if j['genuine']:
            for office in j['offices']:
                digest = hashlib.sha1(j['bytes'].encode()).hexdigest()
                self.need.setdefault(j['sid'] + ':' + office, {})[digest] = j
        self.log.append(('xadd', j['bytes']))

    def produce(self):
        x, rnd = self.rnd.random(), self.rnd
        if x < .6 or not self.sent:
            self.n_sid += 1
            j = self.job('s%d' % self.n_sid, rnd.sample(OFFICES, rnd.randint(1, 3)), 0)
            if rnd.random() < .2:  # the forged one comes first
                self.xadd(self.job(j['sid'], j['offices'], rnd.choice((0, 7)), False))
            self.sent.append(j)
            self.xadd(j)
        elif x < .75:
            self.xadd(rnd.choice(self.sent))
        elif x < .85:
            old = rnd.choice(self.sent)
            self.xadd(self.job(old['sid'], old['offices'], old['generation'] + rnd.randint(0, 2), False))
        elif x < .88:
            self.r('XADD', '{q}:in', '*', rnd.choice(('sid', 'x')), 'b:d', 'offices',
                   rnd.choice(('HCA12,HCA12', '', 'zz', 'HCA12,HCA13,SCA01,STX02')), 'job', 'x')
        else:
            old = rnd.choice(self.sent)
            j = self.job(old['sid'], old['offices'], old['generation'] + 1)
            self.sent.append(j)
            self.xadd(j)

    # --- workers

    def worker_step(self, w):
        if w.stall > self.t:
            return
        x = self.rnd.random()
        if not w.joined:
            w.joined = self.run('beat', w.name, LEASE, 'join', self.t, 1, w.machine, fault=False)[0] == 'OK'
        elif w.adopt:
            self.worker_adopt(w)
        elif x < .25:
            self.fenced(w, self.run('beat', w.name, LEASE, 'beat', self.t, 1, fault=False))
        elif x < .45 and len(w.items) < 6:
            self.worker_take(w)
        elif x < .52:
            self.fenced(w, self.run('reap', w.name, self.t, TIMEOUT, CRASHES, self.house_resend, self.senate_resend, 100))
        elif w.settles and x < .7:
            self.settle_again(w)
        elif w.items:
            self.item_step(w, self.rnd.choice(w.items))

    def fenced(self, w, reply):
        """Told that its lease is gone: it stops POSTing; answers of POSTs under way are still reported."""
        if not reply or reply[0] != 'FENCED':
            return False
        z = Worker(w.name)
        z.items = [i for i in w.items if i['phase'] == 'wire']
        self.zombies.append(z)
        fresh = self.worker_new(w.name.split('/')[0])
        w.__dict__.update(fresh.__dict__)
        return True

    def worker_adopt(self, w):
        known = [i['token'] for i in w.items] + [s[0]['token'] for s in w.settles]
        reply = self.run('adopt', w.name, self.t, TIMEOUT, self.house_resend, self.senate_resend, *known)
        if reply is not None and not self.fenced(w, reply):
            w.adopt = False

    def worker_take(self, w):
        w.seq += 1
        is_open = int(self.calm or self.rnd.random() < .95)
        reply = self.run('take', self.rnd.choice(('house', 'senate')), w.name, '%s.%d' % (w.name, w.seq), self.rnd.randint(1, 4),
                         self.t, *LIMITS, is_open)
        if reply is None:
            w.adopt = True
        elif not self.fenced(w, reply) and reply[0] != 'SKEW':
            for entry in reply[2:]:
                if entry[0] == 'ERR':
                    w.adopt = self.trouble = True
                    self.stat['caught in TAKE'] += 1
                else:
                    self.taken(w, dict(zip(TAKEN, entry)), is_open)

    def taken(self, w, i, is_open):
        if int(self.r('ZSCORE', '{q}:workers', w.name)) <= self.t or not i['why'] and not is_open:
            raise Bad('taken past its lease, or while closed: %s %s' % (w.name, i))
        i.update(id=i['sid'] + ':' + i['office'], t=self.t, cell_t=self.t + self.skew, phase='taken')
        w.items.append(i)
        if i['why'] or self.trouble:
            return
        self.breakers.taken(i)
        head = self.r('ZRANGE', '{q}:wait:' + i['office'], 0, 0, 'WITHSCORES')
        if head and float(head[1]) < float(self.r('HGET', '{q}:job:' + i['id'], 'score')):
            raise Bad('order: %s before %s' % (i['id'], head))

    def settle(self, w, i, verb, state='', outcome='', due=0):
        was = self.r('HMGET', '{q}:job:' + i['id'], 'state', 'token')
        site = i.get('site', 0)
        asked = self.breakers.before(i, site)
        cls = {'accepted': 'accepted', 'unknown': 'unknown', 'rejected': 'rejected'}.get(state, 'ended')
        reply = self.run('settle', w.name, i['sid'], i['office'], i['token'], verb, state, outcome, cls, 0, '', 200, due, self.t,
                         i.get('go', 0), 'receipt', 'receipt_alt', -1, site, OPEN)
        if reply is None:
            return False
        self.stat['settle ' + reply[0]] += 1
        if was[1] != i['token'] and reply[0] not in ('LATE', 'DUP', 'STALE'):
            raise Bad('stale token settled: %s %s' % (i['id'], reply))
        self.breakers.after(i, site, asked, reply[3:])
        if reply[0] in BUGS and not (verb == 'release' and self.trouble):
            raise Bad('%s for %s %s' % (reply, verb, state))
        return True

    def out(self, w, i, *what):
        w.items.remove(i)
        after_post = i['phase'] == 'wire' and w in self.workers and not self.calm
        if after_post and self.opt.forgotten and self.rnd.random() < self.opt.forgotten:
            # Acknowledged, and then forgotten by a failover. The worker does not say it again: it was a while ago.
            w.adopt = True
            self.stat['forgotten settles'] += 1
            self.log.append(('FORGOTTEN', i['id'], i['token'], what))
        elif not self.settle(w, i, *what):
            w.settles.append((i, what))

    def settle_again(self, w):
        i, what = w.settles.pop(0)
        if not self.settle(w, i, *what):
            w.settles.append((i, what))

    def item_step(self, w, i):
        {'taken': self.item_taken, 'go': self.item_go, 'wire': self.item_wire}[i['phase']](w, i)

    def item_verdict(self, i):
        """What a worker finds in the job before BEGIN: the arguments of SETTLE, or None to go on."""
        f, why = i['bytes'].split('|'), i['why']
        good = len(f) == 7 and f[0] == 'G' and f[1] == i['sid'] and i['office'] in f[2].split(',')
        if why == 'expired' and not good:
            return ('refused',)
        if why == 'expired' and self.t < int(f[4]):
            return ('live', '', '', int(f[4]))
        if why:
            return ('end',) + CLOSING[why]
        if not good or i['previous'] and int(f[3]) <= int(i['generation']):
            return ('refused',)
        if self.t >= int(f[4]):
            return ('end', 'expired', 'expired') if i['unknowns'] == '0' else ('end', 'unknown', 'outcome_unknown')
        if self.t < int(f[5]):
            return ('defer', '', '', int(f[5]))
        if self.t - i['t'] > 2 * SECOND:
            return ('release',)  # the cell is too old
        x = self.rnd.random()
        if x < .05:
            return ('end', 'rejected', 'letter_invalid')
        if x < .08:
            return ('defer', '', 'key_unknown', self.t + 5 * SECOND)
        return ('release',) if x < .15 else None

    def item_taken(self, w, i):
        verdict = self.item_verdict(i)
        if verdict:
            self.out(w, i, *verdict)
            return
        f = i['bytes'].split('|')
        reply = self.run('begin', w.name, i['sid'], i['office'], i['token'], 'D-' + i['id'], 'date', f[3], f[4], self.t)
        if reply is None:  # never saw GO: nothing is sent, ADOPT gives it back
            w.adopt = True
            w.items.remove(i)
        elif reply[0] == 'GO':
            i.update(phase='go', generation=int(f[3]), attempt=int(reply[3]), unknowns=int(reply[4]), go=self.t)
            self.breakers.began(i)
        elif reply[0] == 'CANCELLED':
            self.out(w, i, 'end', 'cancelled', 'cancelled')
        elif reply[0] == 'OLDGEN':
            self.out(w, i, 'refused')
        elif reply[0] in ('HELD', 'SKEW', 'CLOSE', 'STALE'):
            self.out(w, i, 'release')
        else:
            raise Bad(reply)

    def item_go(self, w, i):
        if self.t - i['go'] > 2 * SECOND or self.rnd.random() < .1:
            i['site'] = self.rnd.choice((0, 0, 0, -1))  # -1: no connection
            self.out(w, i, 'not_sent', '', 'not_sent')
        else:
            i['phase'] = 'wire'
            self.post(i)

    def post(self, i):
        """The letter reaches Congress, or the network. i['answer'] is what the worker will see."""
        jid, office = i['id'], i['office']
        state = self.r('HGET', '{q}:job:' + jid, 'state')
        self.posts.append((i['cell_t'], self.t, office))
        self.stat['posts'] += 1
        if CLOSING_STATES & {state} and not self.resends[jid]:
            raise Bad('POST after %s: %s' % (state, jid))
        x = self.rnd.random()
        if not self.calm and max(self.sick.get(what, 0) for what in (office, chamber_of(office))) > self.t:
            i['answer'] = 'retry' if x < .7 else 'none'
        elif office[0] == 'S' and jid in self.accepted_ids:
            i['answer'] = 'conflict' if x < .7 else 'none'
        else:
            i['answer'] = ('accepted' if x < .5 else 'rejected' if x < .6 else 'throttled' if x < .68 else 'retry' if x < .78
                           else 'foreign' if x < .8 and office[0] == 'S' and not i['unknowns'] else 'none')
            if i['answer'] == 'accepted' or i['answer'] == 'none' and self.rnd.random() < .5:
                self.true_accepted[jid] += 1
                self.accepted_ids.add(jid)
        i['site'] = -1 if i['answer'] in ('retry', 'none') else 1
        i['answer_t'] = self.t + self.rnd.choice((100_000, 3 * SECOND, 15 * SECOND))
        policy = office[0] == 'H' and self.house_resend
        if self.true_accepted[jid] > 1 + self.resends[jid] and not policy:
            raise Bad('accepted twice: %s' % jid)

    def item_wire(self, w, i):
        if self.t < i['answer_t'] and self.rnd.random() < .8:
            return
        answer, last = i['answer'], i['attempt'] >= ATTEMPTS
        if answer in ('accepted', 'rejected'):
            self.out(w, i, 'end', answer, 'accepted' if answer == 'accepted' else 'rejected_by_chamber')
        elif answer in ('conflict', 'foreign'):
            self.out(w, i, 'conflict')
        elif answer == 'none':
            resend = self.house_resend if i['office'][0] == 'H' else self.senate_resend
            if resend and not last:
                self.out(w, i, 'unknown', '', 'no_answer', self.t + TIMEOUT)
            else:
                self.out(w, i, 'end', 'unknown', 'outcome_unknown')
        elif answer == 'retry' and last:
            self.out(w, i, 'end', 'dead', 'attempts_exhausted')
        else:
            self.out(w, i, answer, '', answer, self.t + self.rnd.randint(1, 30) * SECOND)

    # --- operators and the app server

    def operator(self):
        rnd, x = self.rnd, self.rnd.random()
        if x < .15:
            self.run('admin', 'hold', 'op', rnd.choice(OFFICES + ['house']), self.t + rnd.choice((5, 60, 10**6)) * SECOND, 'r')
        elif x < .4:
            what = rnd.choice(OFFICES + ['house', 'house'])
            self.breakers.resumed(what)
            self.run('admin', 'resume', 'op', what)
        elif self.sent:
            j = rnd.choice(self.sent)
            self.act(j['sid'], rnd.choice(j['offices']), x)

    def act(self, sid, office, x):
        jid = sid + ':' + office
        state, rev = self.r('HMGET', '{q}:job:' + jid, 'state', 'rev')
        if x < .5:
            self.run('admin', 'cancel', 'op', jid, rev or '')
        elif x < .56:
            self.run('admin', 'cancel', 'op', sid)
        elif x < .7:
            self.run('admin', 'replay', 'op', sid, office)
        elif x < .75:
            self.run('admin', 'drop', 'op', sid, office)
        elif x < .85:
            self.run('admin', 'resolve', 'op', sid, office, 'resend')
            self.resends[jid] += state == 'unknown'
        elif x < .93:
            self.run('admin', 'resolve', 'op', sid, office, 'drop')
        elif state == 'unknown':
            self.op_accepted.add(jid)
            self.run('admin', 'resolve', 'op', sid, office, 'accepted')

    # --- one step

    def step(self):
        rnd, x = self.rnd, self.rnd.random()
        self.tick(rnd.choice((1000, 50_000)) if self.calm else rnd.choice((0, 1000, 20_000, 300_000, SECOND)))
        if self.opt.clock and not self.calm and rnd.random() < .03:
            self.skew = rnd.choice((0, 0, 4, -4, 3600, -3600)) * SECOND
            self.trouble = True
        if self.calm or x < .8:
            self.worker_step(rnd.choice(self.workers))
            if self.zombies and rnd.random() < .3:
                self.zombie_step(rnd.choice(self.zombies))
        elif x < .88:
            self.produce()
        elif x < .94:
            self.operator()
        elif x < .96:
            rnd.choice(self.workers).stall = self.t + rnd.choice((3, 12, 30)) * SECOND
            self.stat['stalls'] += 1
        elif x < .975:
            k = rnd.randrange(len(self.workers))
            self.workers[k] = self.worker_new(self.workers[k].name.split('/')[0])
            self.stat['crashes'] += 1
        elif x < .99:
            self.tick(rnd.choice((5, 25)) * SECOND)
        if rnd.random() < (.03 if self.opt.sick else .003):
            self.sick[rnd.choice(OFFICES + ['house', 'senate'])] = self.t + rnd.choice((5, 60, 200)) * SECOND

    def zombie_step(self, z):
        if z.items:
            self.item_step(z, self.rnd.choice(z.items))
        elif z.settles:
            self.settle_again(z)
        else:
            self.zombies.remove(z)

    def busy(self):
        return any(w.items or w.settles or w.adopt for w in self.workers + self.zombies)

    def drain(self):
        self.calm, self.skew = True, 0
        self.tick(0)
        self.r('DEL', '{q}:holds')  # breakers must find their way back themselves
        for n in range(1, 20001):
            self.step()
            self.tick(5 * SECOND if n % 40 == 0 else 0)
            if n % 200 == 0 and not self.busy():
                try:
                    check_state(self, end=True)
                    return
                except Bad:
                    if n > 19000:
                        raise
        check_state(self, end=True)

    def go(self):
        for n in range(self.opt.steps):
            self.step()
            if n % 5 == 0 or self.log and 'FAULT' in str(self.log[-1][-1]):
                check_state(self)
                self.breakers.check()
        self.drain()
        if not self.opt.clock:
            check_rates(self.posts, OFFICES, LIMITS)


CLOSING_STATES = {'accepted', 'rejected', 'dead', 'expired', 'cancelled', 'dropped', 'unknown'}
