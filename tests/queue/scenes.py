# SPDX-License-Identifier: Apache-2.0
"""The scenes of exhaust.py: each is a function of (scene, k) that brings the queue into a known state and makes the call
under test, whose command k fails."""
from invariants import Bad, check_state
from rq import META, RedisError
from sim import CRASHES, LIMITS, OPEN, SECOND, TAKEN, TIMEOUT, Options, Sim, Worker

HOUSE, SENATE = 'HCA12', 'SCA01'
LEASE = 60 * SECOND
COUNT = 9999


class Scene:
    """One worker, steered by hand; call() is the call under test."""

    def __init__(self, r, sha, seed):
        self.sim = Sim(r, sha, seed, Options())
        self.sim.trouble = True
        self.sim.house_resend, self.sim.senate_resend = 0, 1
        self.w = self.sim.workers[0]
        self.commands, self.life = 0, 600 * SECOND
        self.w.machine = 'm'
        self.step('beat', self.w.name, LEASE, 'join', self.sim.t, 1, self.w.machine)
        self.w.joined = True

    def step(self, name, *args):
        return self.sim.run(name, *args, fault=False)

    def add(self, sid, offices, generation=0, genuine=True):
        j = self.sim.job(sid, offices, generation, genuine)
        j.update(exp=self.sim.t + self.life, nbf=0, pri=1)
        f = j['bytes'].split('|')
        j['bytes'] = '|'.join(f[:4] + [str(j['exp']), '0'] + f[6:])
        self.sim.xadd(j)
        return j

    def take(self, chamber='house', n=4):
        self.w.seq += 1
        reply = self.step('take', chamber, self.w.name, '%s.%d' % (self.w.name, self.w.seq), n, self.sim.t, *LIMITS, 1)
        got = [dict(zip(TAKEN, e)) for e in reply[2:]]
        for i in got:
            i.update(id=i['sid'] + ':' + i['office'], t=self.sim.t, cell_t=self.sim.t, phase='taken')
            self.w.items.append(i)
        return got

    def begin_args(self, i):
        f = i['bytes'].split('|')
        return (self.w.name, i['sid'], i['office'], i['token'], 'D-' + i['id'], 'date', f[3], f[4], self.sim.t)

    def begin(self, i, answer=None):
        reply = self.step('begin', *self.begin_args(i))
        assert reply[0] == 'GO', reply
        i.update(phase='go', generation=0, attempt=int(reply[3]), unknowns=int(reply[4]), go=self.sim.t)
        if answer:
            self.on_wire(i, answer)

    def on_wire(self, i, answer):
        i.update(phase='wire', answer=answer, answer_t=self.sim.t)
        if answer == 'accepted':
            self.sim.true_accepted[i['id']] += 1
            self.sim.accepted_ids.add(i['id'])

    def settle_args(self, i, verb, state='', outcome='', due=0, site=0):
        return (self.w.name, i['sid'], i['office'], i['token'], verb, state, outcome, 'class', 0, '', 200, due, self.sim.t,
                i.get('go', 0), 'receipt', 'alt', -1, site, OPEN)

    def settle(self, i, *what):
        self.w.items.remove(i)
        return self.step('settle', *self.settle_args(i, *what))

    def call(self, k, name, *args):
        """Under test: fails at command k (-k: and all that follow). Returns the reply, or None when it failed."""
        sim, reply = self.sim, None
        try:
            reply = sim.r('EVALSHA', sim.sha[name], 1, META, *args, k)
        except RedisError as e:
            if 'injected' not in str(e):
                raise Bad(str(e)) from e
        sim.log.append((name, args, reply or 'FAULT %d' % k))
        if k == COUNT:
            self.commands = int(sim.r('GET', '{q}:commands'))
        check_state(sim)
        sim.breakers.check()
        return reply

    def lose(self, reply, i=None):
        """What a worker does when a call of its own failed."""
        if reply is None:
            self.w.adopt = True
            if i in self.w.items and i['phase'] == 'taken':
                self.w.items.remove(i)


def enqueue(offices, before=None):
    def scene(s, k):
        if before:
            before(s)
        s.add('e', offices)
        s.call(k, 'enqueue', 10)
    return scene


def open_forged(s):
    s.add('e', [HOUSE, SENATE], genuine=False)
    s.step('enqueue', 10)


def dead_job(s, office=HOUSE):
    s.add('e', [HOUSE, SENATE])
    i = s.take('house' if office[0] == 'H' else 'senate')[0]
    s.begin(i)
    s.settle(i, 'end', 'dead', 'attempts_exhausted')


def over(s):
    """A submission that is all over: its records have a life."""
    s.add('e', [HOUSE])
    s.settle(s.take()[0], 'end', 'rejected', 'letter_invalid')


def challenge(s, k):
    over(s)
    s.add('e', [HOUSE], 1)
    s.call(k, 'enqueue', 10)


def take(chamber, before):
    def scene(s, k):
        before(s)
        s.w.seq += 1
        reply = s.call(k, 'take', chamber, s.w.name, '%s.%d' % (s.w.name, s.w.seq), 4, s.sim.t, *LIMITS, 1)
        for e in (reply or [0, 0])[2:]:
            if e[0] != 'ERR':
                i = dict(zip(TAKEN, e))
                i.update(id=i['sid'] + ':' + i['office'], t=s.sim.t, cell_t=s.sim.t, phase='taken')
                s.w.items.append(i)
        s.w.adopt = True
    return scene


def waiting(s):
    s.add('e', [HOUSE, SENATE])
    s.add('f', [HOUSE])
    s.step('enqueue', 10)


def at_the_door(s):
    s.add('e', [HOUSE, SENATE])


def two_offices(s):
    s.add('e', [HOUSE, 'HTX09'])
    s.step('enqueue', 10)


def cancelled(s):
    waiting(s)
    s.step('admin', 'cancel', 'op', 'e:' + HOUSE)


def retried(s):
    s.add('e', [HOUSE])
    i = s.take()[0]
    s.begin(i)
    s.settle(i, 'retry', '', 'not_sent', s.sim.t + SECOND)
    s.sim.tick(2 * SECOND)


def expired(s):
    waiting(s)
    s.sim.tick(601 * SECOND)
    s.step('beat', s.w.name, 60 * SECOND, 'beat', s.sim.t, 1)


def begin(before=None):
    def scene(s, k):
        (before or at_the_door)(s)
        i = s.take()[0]
        reply = s.call(k, 'begin', *s.begin_args(i))
        if reply is None:
            s.lose(reply, i)
        elif reply[0] == 'GO':
            i.update(phase='go', generation=0, attempt=int(reply[3]), unknowns=int(reply[4]), go=s.sim.t)
    return scene


def reopened(s):
    over(s)
    s.add('e', [HOUSE], 1)


def settle(verb, state='', outcome='', begun=True, answer=None, before=None, office=HOUSE, due=SECOND, site=0,
           moved=()):
    def scene(s, k):
        (before or at_the_door)(s)
        i = s.take('house' if office[0] == 'H' else 'senate')[0]
        if begun:
            s.begin(i, answer)
        s.w.items.remove(i)
        what, i['site'] = (verb, state, outcome, s.sim.t + due), site
        reply = s.call(k, 'settle', *s.settle_args(i, *what, site))
        if reply is None:
            s.w.settles.append((i, what))
        elif tuple(reply[3:5]) != moved:
            raise Bad('moved %s' % reply[3:])
    return scene


def late(answer_verb, answer_state, before_late=None, office=HOUSE):
    """The answer of a POST whose worker was reaped meanwhile."""
    def scene(s, k):
        at_the_door(s)
        i = s.take('house' if office[0] == 'H' else 'senate')[0]
        s.begin(i, 'accepted' if answer_state == 'accepted' else 'none')
        s.w.items.remove(i)
        old, s.w = s.w, s.sim.workers[1]
        s.sim.tick(61 * SECOND)
        s.step('beat', s.w.name, 60 * SECOND, 'join', s.sim.t, 1)
        s.w.joined = True
        s.step('reap', s.w.name, s.sim.t, TIMEOUT, CRASHES, 0, 1, 100)
        old.joined, old.items = False, []
        if before_late:
            before_late(s)
        z = Worker(old.name)
        s.sim.zombies.append(z)
        old.__dict__.update(s.sim.worker_new('w0').__dict__)
        what = (answer_verb, answer_state, 'x', 0)
        args = (z.name,) + s.settle_args(i, *what)[1:]
        if s.call(k, 'settle', *args) is None:
            z.settles.append((i, what))
    return scene


def ended_unknown(s):
    s.settle(s.take()[0], 'end', 'unknown', 'outcome_unknown')


def in_hands(s):
    s.take()


def in_hands_cancelled(s):
    s.step('admin', 'cancel', 'op', 'e:' + HOUSE)
    s.take()


def second_post(s):
    s.sim.tick(TIMEOUT)
    s.begin(s.take('senate')[0], 'retry')


def reap(begun, office=HOUSE, flag=False):
    def scene(s, k):
        at_the_door(s)
        i = s.take('house' if office[0] == 'H' else 'senate')[0]
        if begun:
            s.begin(i)
        if flag:
            s.step('admin', 'cancel', 'op', i['id'])
        old, s.w = s.w, s.sim.workers[1]
        s.sim.tick(61 * SECOND)
        s.step('beat', s.w.name, 60 * SECOND, 'join', s.sim.t, 1)
        s.w.joined = True
        old.__dict__.update(s.sim.worker_new('w0').__dict__)
        s.call(k, 'reap', s.w.name, s.sim.t, TIMEOUT, CRASHES, 0, 1, 100)
    return scene


def adopt(begun, office=HOUSE, flag=False, crowd=False):
    def scene(s, k):
        at_the_door(s)
        i = s.take('house' if office[0] == 'H' else 'senate')[0]
        if begun:
            s.begin(i, 'accepted')  # its SETTLE is forgotten
        if flag:
            s.step('admin', 'cancel', 'op', i['id'])
        s.w.items.remove(i)
        if crowd:  # beside one that the worker knows, and one that was never begun
            s.add('f', [HOUSE])
            s.sim.tick(SECOND)
            known = s.take()[0]
            s.w.items.remove(s.take('senate')[0])
        tokens = [known['token']] if crowd else []
        if s.call(k, 'adopt', s.w.name, s.sim.t, TIMEOUT, 0, 1, *tokens) is None:
            s.w.adopt = True
    return scene


def admin(before, *args):
    def scene(s, k):
        before(s)
        if s.call(k, 'admin', args[0], 'op', *args[1:]) is None and args[0] not in ('hold',):
            s.step('admin', args[0], 'op', *args[1:])  # people repeat what failed
        if args[-1] == 'resend':
            s.sim.resends['e:' + HOUSE] += 1
        if args[-1] == 'accepted':
            s.sim.op_accepted.add('e:' + HOUSE)
    return scene


def taken(s):
    at_the_door(s)
    s.take()


def begun_job(s):
    at_the_door(s)
    s.begin(s.take()[0])


def unknown_job(s):
    at_the_door(s)
    i = s.take()[0]
    s.begin(i)
    s.settle(i, 'end', 'unknown', 'outcome_unknown')


def held_office(s):
    waiting(s)
    s.step('admin', 'hold', 'op', HOUSE, s.sim.t + 10**6 * SECOND, 'r')
    s.take()


def faults(n, *offices):
    """That many site faults in a row, on these offices in turn."""
    def before(s):
        s.life = 10**6 * SECOND  # no expiry ends what a breaker keeps
        for j in range(n):
            office = offices[j % len(offices)]
            s.add('f%d' % j, [office])
            while True:
                s.step('beat', s.w.name, LEASE, 'beat', s.sim.t, 1)
                got = s.take(n=1)
                if got:
                    break
                s.sim.tick(SECOND)
            s.begin(got[0])
            s.w.items.remove(got[0])
            s.step('settle', *s.settle_args(got[0], 'end', 'dead', 'attempts_exhausted', 0, -1))
        s.sim.tick(SECOND)
        at_the_door(s)
    return before


def half_open(*offices):
    """The next TAKE gives the probe."""
    def before(s):
        faults(5, *offices)(s)
        s.sim.tick(2 * OPEN)
    return before


def held_by_breaker(s, k):
    """The job was taken before its breaker opened."""
    at_the_door(s)
    i = s.take()[0]
    s.sim.r('HSET', '{q}:breaker', HOUSE, 'open 1 %d 0 0 0 0 - - - -' % (s.sim.t + OPEN))
    reply = s.call(k, 'begin', *s.begin_args(i))
    if reply is None:
        s.lose(reply, i)
    elif reply[0] != 'HELD':
        raise Bad('not held: %s' % reply)


def takeover(s, k):
    at_the_door(s)
    s.take()
    old = s.w
    s.w = Worker('w0/99', old.machine)
    s.sim.workers[0] = s.w
    args = (s.w.name, LEASE, 'join', s.sim.t, 1, s.w.machine, 'keys', 'k')
    if s.call(k, 'beat', *args) is None:
        s.step('beat', *args)
    s.w.joined = True
    s.call(0, 'reap', s.w.name, s.sim.t, TIMEOUT, CRASHES, 0, 1, 100)
    if s.sim.r('ZSCORE', '{q}:workers', old.name) or s.sim.r('HEXISTS', '{q}:machines', old.name):
        raise Bad('not taken over')


def beat(verb):
    published = ('machine', 'keys', 'k') if verb in ('join', 'rejoin') else ()

    def scene(s, k):
        s.sim.r('HSET', '{q}:about', s.w.name, 'version=1')
        if s.call(k, 'beat', s.w.name, 60 * SECOND, verb, s.sim.t, 1, *published) is None:
            s.step('beat', s.w.name, 60 * SECOND, verb, s.sim.t, 1, *published)
        if verb == 'leave':
            if s.sim.r('EXISTS', '{q}:about'):
                raise Bad('a worker that has left is talked about')
            s.w.__dict__.update(s.sim.worker_new('w0').__dict__)
    return scene


def drain(first):
    """An order, and the worker that meets it: a new process is free of it, the old one under another nonce is not."""
    def scene(s, k):
        name = s.w.name.split('/')[0]
        if s.call(k if first else 0, 'admin', 'drain', 'op', name, 'r') is None:
            s.step('admin', 'drain', 'op', name, 'r')
        if s.step('beat', s.w.name, LEASE, 'beat', s.sim.t, 1)[-1] != 1:
            raise Bad('not told to drain')
        for verb, told in (('rejoin', 1), ('join', 0)):
            s.step('beat', s.w.name, LEASE, 'leave', s.sim.t, 1)
            s.w.__dict__.update(s.sim.worker_new(name).__dict__)
            args = (s.w.name, LEASE, verb, s.sim.t, 1, 'm')
            s.call(0 if first else k, 'beat', *args) or s.step('beat', *args)
            reply = s.step('beat', s.w.name, LEASE, 'beat', s.sim.t, 1)  # a join whose look failed says it with the next beat
            if reply[-1] != told:
                raise Bad('%s is told %s' % (verb, reply))
            s.w.joined = True
    return scene


def twice_forged(s):
    s.add('e', [HOUSE], genuine=False)
    s.add('e', [HOUSE])


def forged_only(s):
    s.add('e', [HOUSE], genuine=False)


def passed_over(s):
    """Others wait behind the bytes that end: one of them is the other office's too."""
    s.add('e', [HOUSE])
    s.add('e', [HOUSE, SENATE], 1)
    s.add('e', [HOUSE], 2, genuine=False)


def dead_challenged(s):
    dead_job(s)
    s.add('e', [HOUSE], 1, genuine=False)


SCENES = {
    'enqueue fresh': enqueue([HOUSE, SENATE, 'STX02']), 'enqueue candidate': enqueue([HOUSE, SENATE], open_forged),
    'enqueue challenge': challenge, 'enqueue challenge dead': enqueue([HOUSE], dead_job),
    'take': take('house', at_the_door), 'take two': take('house', two_offices), 'take lines': take('house', waiting), 'take close': take('house', cancelled),
    'take later': take('house', retried), 'take expired': take('house', expired), 'take dead challenge': take('house', dead_challenged),
    'begin': begin(), 'begin reopened': begin(reopened),
    'settle accepted': settle('end', 'accepted', 'accepted', answer='accepted'),
    'settle rejected': settle('end', 'rejected', 'letter_invalid', begun=False),
    'settle dead': settle('end', 'dead', 'attempts_exhausted'), 'settle expired': settle('end', 'expired', 'expired', begun=False),
    'settle unknown end': settle('end', 'unknown', 'outcome_unknown', answer='none'),
    'settle challenged': settle('end', 'rejected', 'letter_invalid', begun=False, before=reopened),
    'settle retry': settle('retry', '', 'not_sent'), 'settle throttled': settle('throttled', '', 'throttled'),
    'settle unknown': settle('unknown', '', 'no_answer', answer='none', office=SENATE),
    'settle not_sent': settle('not_sent', '', 'not_sent'), 'settle release': settle('release', begun=False),
    'settle defer': settle('defer', '', 'key_unknown', begun=False),
    'settle live': settle('live', begun=False, due=600 * SECOND),
    'settle refused': settle('refused', begun=False, before=forged_only),
    'settle refused candidate': settle('refused', begun=False, before=twice_forged),
    'settle refused dead': settle('refused', begun=False, before=dead_challenged),
    'settle conflict': settle('conflict', answer='foreign', office=SENATE),
    'late accepted close': late('end', 'accepted'), 'late accepted unknown': late('end', 'accepted', ended_unknown),
    'late accepted later': late('end', 'accepted', office=SENATE),
    'late accepted begun': late('end', 'accepted', second_post, SENATE),
    'late rejected close': late('end', 'rejected'), 'late rejected unknown': late('end', 'rejected', ended_unknown),
    'late not_sent': late('not_sent', ''), 'late not_sent in hands': late('not_sent', '', in_hands),
    'late not_sent cancelled': late('not_sent', '', in_hands_cancelled),
    'reap taken': reap(False), 'reap begun house': reap(True), 'reap begun senate': reap(True, SENATE),
    'reap cancelled': reap(True, HOUSE, True),
    'adopt taken': adopt(False), 'adopt begun': adopt(True), 'adopt begun senate': adopt(True, SENATE),
    'adopt cancelled': adopt(True, SENATE, True), 'adopt some': adopt(True, crowd=True),
    'settle passes over': settle('end', 'accepted', 'accepted', answer='accepted', before=passed_over),
    'cancel wait': admin(waiting, 'cancel', 'e:' + HOUSE), 'cancel all': admin(waiting, 'cancel', 'e'),
    'cancel taken': admin(taken, 'cancel', 'e:' + HOUSE), 'cancel begun': admin(begun_job, 'cancel', 'e:' + HOUSE),
    'hold': admin(waiting, 'hold', HOUSE, 5 * 10**15, 'r'), 'resume': admin(held_office, 'resume', HOUSE),
    'replay': admin(dead_job, 'replay', 'e', HOUSE), 'drop': admin(dead_job, 'drop', 'e', HOUSE),
    'resolve resend': admin(unknown_job, 'resolve', 'e', HOUSE, 'resend'),
    'resolve drop': admin(unknown_job, 'resolve', 'e', HOUSE, 'drop'),
    'resolve accepted': admin(unknown_job, 'resolve', 'e', HOUSE, 'accepted'),
    'site fault first': settle('retry', '', 'not_sent', site=-1),
    'site fault': settle('end', 'dead', 'attempts_exhausted', before=faults(2, HOUSE), site=-1),
    'site good': settle('end', 'rejected', 'x', before=faults(2, HOUSE), site=1),
    'site opens': settle('retry', '', 'not_sent', before=faults(4, HOUSE), site=-1, moved=(HOUSE, 'open')),
    'site opens chamber': settle('retry', '', 'not_sent', before=faults(4, 'HCA13', 'HTX09'), site=-1, moved=('house', 'open')),
    'probe': take('house', half_open(HOUSE)), 'probe of both': take('house', half_open(HOUSE, 'HCA13', 'HTX09')),
    'probe begins': begin(half_open(HOUSE)),
    'probe good': settle('end', 'accepted', 'accepted', answer='accepted', before=half_open(HOUSE), site=1,
                         moved=(HOUSE, 'closed')),
    'probe bad': settle('retry', '', 'not_sent', before=half_open(HOUSE), site=-1, moved=(HOUSE, 'open')),
    'probe of both good': settle('end', 'rejected', 'x', before=half_open(HOUSE, 'HCA13', 'HTX09'), site=1,
                                 moved=('house', 'closed')),
    'probe silent': settle('retry', '', 'x', before=half_open(HOUSE)),
    'probe released': settle('release', begun=False, before=half_open(HOUSE)),
    'resume breaker': admin(faults(5, HOUSE), 'resume', HOUSE),
    'resume chamber breaker': admin(faults(5, HOUSE, 'HCA13', 'HTX09'), 'resume', 'house'),
    'begin held by a breaker': held_by_breaker, 'take over': takeover,
    'beat join': beat('join'), 'beat rejoin': beat('rejoin'), 'beat': beat('beat'), 'beat leave': beat('leave'),
    'drain': drain(True), 'drain and join': drain(False),
}
