# SPDX-License-Identifier: Apache-2.0
"""One round of chaos: carries out a plan (plan.py) on real processes, lets everything settle, and does the accounts
(ledger.py)."""
import heapq
import json
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'it'))

import ledger  # noqa: E402
import plan as plans  # noqa: E402
import stack as stacks  # noqa: E402
from stack import rq  # noqa: E402

POLL_S = 0.03
SETTLE_S = 90
REPLY_S = 60
EXITS = (0, 1)  # of a worker that was told to stop; 1: it had to leave jobs to others


class Away(Exception):
    """Redis cannot be asked now."""


class Stack(stacks.Stack):
    """Every configuration is written once: a worker that starts must not find one that is being written."""

    def __init__(self, **options):
        super().__init__(**options)
        self.written = {}

    def write_config(self, name, worker=None):
        if name not in self.written:
            self.written[name] = super().write_config(name, worker)
        return self.written[name]


class Slot:
    """One place of the fleet: a name, and the process that has it now."""

    def __init__(self, number):
        self.number, self.worker = number, None
        self.renamed = 0
        self.stopped = False  # by SIGSTOP

    def name_of(self, renamed):
        return 'w%dx%d' % (self.number, renamed) if renamed else 'w%d' % self.number

    @property
    def name(self):
        return self.name_of(self.renamed)

    def alive(self):
        return self.worker is not None and self.worker.process.poll() is None


class Round:
    def __init__(self, seed, keep=None):
        self.plan, self.keep = plans.Plan(seed), keep
        self.stack = Stack(redis=(*plans.REDIS[self.plan.redis][0], '--enable-debug-command', 'yes'),
                                  **self.plan.settings)
        self.slots = [Slot(n) for n in range(1, self.plan.slots + 1)]
        self.heap, self.seq = [], 0
        self.log, self.violations = [], []
        self.entries, self.cache, self.acts = [], {}, {}
        self.outbox = []
        self.paused_until, self.cut_until, self.redis_up = 0, 0, True
        self.kills, self.leaving = 0, []
        self.watched, self.recoveries = {}, []
        self.dead = []  # (time, name/) of killed workers whose jobs are not known yet
        self.posts = 0
        self.ledger = None

    # --- time --------------------------------------------------------------------------------

    def now(self):
        return time.monotonic() - self.began

    def note(self, text, *args):
        self.log.append('%7.3f  %s' % (self.now(), text % args))

    def at(self, when, act, *args):
        self.seq += 1
        heapq.heappush(self.heap, (when, self.seq, act, args))

    def run(self):
        """Carries the plan out; the violations are in self.violations."""
        try:
            self.stack.start()
            self.began = time.monotonic()
            self.stack.redis.sock.settimeout(REPLY_S)
            for slot in self.slots:
                for n in range(len(self.plan.events) + 4):
                    self.stack.write_config(slot.name_of(n))
            for slot in self.slots:
                self.start_worker(slot)
            self.storm()
            self.settle()
            if self.plan.operator:
                self.operate()
            self.stop_all()
            self.account()
        except (TimeoutError, RuntimeError, OSError, rq.RedisError, ValueError) as e:
            self.violations.append('%s: %s' % (type(e).__name__, e))
        finally:
            try:
                if self.violations:
                    self.report()
            finally:
                self.signal_sim(signal.SIGCONT)
                self.stack.close()
        return not self.violations

    def storm(self):
        p = self.plan
        self.add_rules(p.rules)
        for when, sid, kind, members in p.sends:
            self.at(when, self.send, sid, kind, members)
        for when, sid, office in p.cancels:
            self.at(when, self.cancel, sid, office)
        for when, name, args in p.events:
            self.at(when, self.event, name, args)
        while self.heap:
            when = self.heap[0][0]
            if when > self.now():
                time.sleep(max(0, min(POLL_S, when - self.now())))
                self.poll()
                continue
            _, _, act, args = heapq.heappop(self.heap)
            act(*args)

    def event(self, name, args):
        done = getattr(self, 'do_' + name)(**args)
        self.note('%s %s%s', name, ' '.join('%s=%s' % item for item in args.items()), '' if done else ' (passed over)')

    # --- redis -------------------------------------------------------------------------------

    def ask(self, *args):
        if not self.redis_up or time.monotonic() < self.paused_until:
            raise Away
        try:
            return self.stack.redis(*args)
        except rq.RedisError as e:
            if str(e).startswith(('LOADING', 'OOM')):
                raise Away from None
            raise

    def poll(self):
        """What happens all the time: the outbox, recoveries, a look at the processes."""
        for slot in self.slots:
            if slot.worker is not None and slot.worker not in self.leaving and slot.worker.process.poll() is not None:
                self.violations.append('%s ended by itself with status %s' %
                                       (slot.worker.name, slot.worker.process.returncode))
                slot.worker = None
        try:
            self.flush()
            self.watch()
        except Away:
            pass

    def flush(self):
        while self.outbox:
            entry = self.outbox[0]
            self.ask('XADD', self.stack.key('in'), '*', *[x for item in entry.fields.items() for x in item])
            self.entries.append(entry)
            self.outbox.pop(0)

    def watch(self):
        """From the death of a worker to the next TAKE of each job that it held."""
        while self.dead:
            died, name = self.dead[0]
            for held in self.ask('KEYS', self.stack.key('held:%s/*' % name)):
                for member in self.ask('SMEMBERS', held):
                    job = member.split(' ')[0]
                    self.watched.setdefault(job, (died, self.ask('HGET', self.stack.key('job:' + job), 'deliveries')))
            self.dead.pop(0)
        for job, (died, before) in list(self.watched.items()):
            deliveries = self.ask('HGET', self.stack.key('job:' + job), 'deliveries')
            if deliveries is None or before is None or int(deliveries) > int(before):
                del self.watched[job]
                self.recoveries.append(self.now() - died)

    # --- the app server ----------------------------------------------------------------------

    def send(self, sid, kind, members):
        s = self.plan.submissions[sid]
        generation = members.get('generation', 0)
        if kind == 'repeat' and (sid, 0) not in self.cache:
            return
        fields = self.cache.get((sid, generation)) if kind == 'repeat' else None
        if fields is None:
            members = dict(members)
            if 'not_before' in members:
                members['not_before'] += int(time.time() - self.now())
            if kind == 'forged':
                s = {**s, 'spoil': {'signature': 'flip'}}
            fields = self.stack.entry(s, **members)
            if kind != 'forged':
                self.cache[sid, generation] = fields
        self.outbox.append(ledger.Entry(self.plan.submissions[sid], kind, fields, generation))
        self.poll()

    def cancel(self, sid, office):
        what = sid + ':' + office if office else sid
        for one in [office] if office else self.plan.submissions[sid]['offices']:
            self.acts.setdefault((sid, one), []).append('cancel')
        try:
            self.ask('PING')
            self.note('cancel %s: %s', what, self.stack.admin('cancel', what))
        except Away:
            self.note('cancel %s (passed over)', what)

    # --- workers -----------------------------------------------------------------------------

    def start_worker(self, slot):
        slot.worker = self.stack.start_worker(slot.name, ready=False)
        slot.stopped = False

    def restart(self, slot, rename):
        if slot.alive() and slot.worker not in self.leaving:
            return
        if rename:
            slot.renamed += 1
        self.start_worker(slot)
        self.note('start %s', slot.name)

    def pick(self, number):
        slot = self.slots[number]
        return slot if slot.alive() and slot.worker not in self.leaving else None

    def do_kill(self, slot, down, rename):
        slot = self.pick(slot)
        if slot is None:
            return False
        slot.worker.kill()
        slot.worker.process.wait()
        slot.worker = None
        self.kills += 1
        self.dead.append((self.now(), slot.name))
        self.at(self.now() + down, self.restart, slot, rename)
        return True

    def do_drain(self, slot, down, rename):
        slot = self.pick(slot)
        if slot is None or slot.stopped:
            return False
        slot.worker.kill(signal.SIGTERM)
        self.leaving.append(slot.worker)
        self.at(self.now() + down, self.restart, slot, rename)
        return True

    def do_stop(self, slot, **how):
        slot = self.pick(slot)
        if slot is None or slot.stopped:
            return False
        slot.worker.kill(signal.SIGSTOP)
        slot.stopped = True
        self.at(self.now() + how['for'], self.go_on, slot, slot.worker)
        return True

    def go_on(self, slot, worker):
        if worker.process.poll() is None:
            worker.kill(signal.SIGCONT)
            self.note('go on %s', worker.name)
        if slot.worker is worker:
            slot.stopped = False

    # --- redis in trouble --------------------------------------------------------------------

    def do_client_kill(self):
        for n in range(1, self.plan.burst):
            self.at(self.now() + n * 0.02, self.cut_clients)
        return self.cut_clients()

    def cut_clients(self):
        return self.try_ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    def do_script_flush(self):
        return self.try_ask('SCRIPT', 'FLUSH')

    def try_ask(self, *args):
        try:
            self.ask(*args)
        except Away:
            return False
        return True

    def do_redis(self, how, down):
        if not self.redis_up:
            return False
        if how == 'reload':
            return self.try_ask('DEBUG', 'RELOAD')
        if how == 'shutdown':
            if time.monotonic() < self.paused_until:
                return False
            self.stack.redis.send('SHUTDOWN', *(['SAVE'] if self.plan.redis == 'memory' else []))
            self.stack.redis_server.wait()
            self.stack.redis.close()
        else:
            self.stack.kill_redis()
        self.redis_up, self.paused_until = False, 0
        self.at(self.now() + down, self.redis_back)
        return True

    def redis_back(self):
        self.stack.start_redis()
        self.stack.redis.sock.settimeout(REPLY_S)
        self.redis_up = True
        self.note('redis is back')

    def do_pause(self, what, **how):
        if self.plan.freeze and self.try_ask('PING'):
            self.stack.redis_server.send_signal(signal.SIGSTOP)
            self.at(self.now() + how['for'], self.stack.redis_server.send_signal, signal.SIGCONT)
        elif not self.try_ask('CLIENT', 'PAUSE', int(how['for'] * 1000), what):
            return False
        self.paused_until = time.monotonic() + how['for'] + 0.02
        return True

    def do_full(self, **how):
        if not self.try_ask('CONFIG', 'SET', 'maxmemory', '1mb'):
            return False
        self.at(self.now() + how['for'], self.not_full)
        return True

    def not_full(self):
        if not self.try_ask('CONFIG', 'SET', 'maxmemory', '0'):
            self.at(self.now() + 0.1, self.not_full)

    def do_hold(self, what, **how):
        if not self.try_ask('PING'):
            return False
        self.stack.admin('hold', what, int((time.time() + 600) * 1e6), 'chaos')
        self.at(self.now() + how['for'], self.resume, what)
        return True

    def resume(self, what):
        if self.try_ask('PING'):
            self.stack.admin('resume', what)
            self.note('resume %s', what)
        else:
            self.at(self.now() + 0.1, self.resume, what)

    # --- chambers in trouble -----------------------------------------------------------------

    def signal_sim(self, number):
        if self.stack.sim is not None and self.stack.sim.process is not None:
            self.stack.sim.process.send_signal(number)

    def sim_hears(self):
        return time.monotonic() >= self.cut_until

    def do_cut(self, **how):
        if not self.sim_hears():
            return False
        self.signal_sim(signal.SIGSTOP)
        self.cut_until = time.monotonic() + how['for'] + 0.05
        self.at(self.now() + how['for'], self.signal_sim, signal.SIGCONT)
        return True

    def add_rules(self, rules):
        for rule in rules:
            self.stack.sim.fault(**rule)

    def do_rules(self, rules):
        if not self.sim_hears():
            return False
        self.stack.sim.clear_faults()
        self.add_rules(rules)
        return True

    def do_maintenance(self, chamber, retry_after, **how):
        return self.for_a_while(how['for'], lambda on: self.stack.sim.maintenance(on, chamber, retry_after))

    def do_certificate(self, cert, **how):
        return self.for_a_while(how['for'], lambda on: self.stack.sim.tls(cert if on else 'server'))

    def do_close_idle(self):
        if not self.sim_hears():
            return False
        self.stack.sim.close_idle()
        return True

    def for_a_while(self, seconds, switch):
        if not self.sim_hears():
            return False
        switch(True)
        self.at(self.now() + seconds, self.switch_off, switch)
        return True

    def switch_off(self, switch):
        if self.sim_hears():
            switch(False)
        else:
            self.at(self.now() + 0.1, self.switch_off, switch)

    # --- peace -------------------------------------------------------------------------------

    def settle(self):
        """All faults are over; everything must come to its end by itself."""
        self.note('peace')
        self.stack.sim.clear_faults()
        end = time.monotonic() + SETTLE_S
        if not any(slot.alive() and slot.worker not in self.leaving for slot in self.slots):
            self.restart(self.slots[0], True)
        quiet = 0
        while quiet < 3:
            if time.monotonic() > end:
                raise TimeoutError('not settled in %d s: %s' % (SETTLE_S, self.stack.busy()))
            time.sleep(POLL_S)
            self.poll()
            try:
                self.ask('PING')
                self.hurry()
                quiet = 0 if self.outbox or self.stack.busy() else quiet + 1
            except Away:
                quiet = 0

    def hurry(self):
        """As if the waits that are meant for people (a wrong key, a wrong agent) were over."""
        far = int((time.time() + 10) * 1e6)
        stack = self.stack
        for member in stack.redis('ZRANGEBYSCORE', stack.key('later'), far, '+inf'):
            stack.redis('ZADD', stack.key('later'), 'XX', 1, member)
        for what in stack.redis('HKEYS', stack.key('holds')):
            if self.ask('HGET', stack.key('holds'), what).split(' ')[1] != 'test' or not self.heap:
                stack.admin('resume', what)

    def operate(self):
        """A person decides about the doubtful and the dead."""
        rng = random.Random(self.plan.operator_seed)
        for key in self.stack.keys('job:*'):
            sid, office = key.split(':job:', 1)[1].rsplit(':', 1)
            state = self.ask('HGET', key, 'state')
            if state not in ('unknown', 'dead') or rng.random() < 0.2:
                continue
            if state == 'unknown':
                act = rng.choice(('resend', 'accepted', 'drop'))
                reply = self.stack.admin('resolve', sid, office, act)
            else:
                act = rng.choice(('replay', 'drop'))
                reply = self.stack.admin(act, sid, office)
            self.acts.setdefault((sid, office), []).append(act)
            self.note('a person: %s %s:%s: %s', act, sid, office, reply)
        self.settle()

    def stop_all(self):
        for _ in range(3):
            for w in self.stack.workers:
                if w.process.poll() is None:
                    w.kill(signal.SIGTERM)
                    if w not in self.leaving:
                        self.leaving.append(w)
            for w in self.stack.workers:
                status = w.process.wait(20)
                if w in self.leaving and status not in EXITS:
                    self.violations.append('%s was told to stop and ended with status %s' % (w.name, status))
            if not self.stack.busy():
                return
            self.note('something came back with the last ones: %s', self.stack.busy())
            self.restart(self.slots[0], True)
            self.settle()

    # --- the end -----------------------------------------------------------------------------

    def account(self):
        self.ledger = ledger.Ledger(self.stack, self.entries, self.acts)
        self.violations += self.ledger.check()
        self.posts = sum(s['posts'] for s in self.stack.sim.stats()['stats'].values())
        for w in self.stack.workers:
            with open(w.log_path, encoding='utf-8', errors='replace') as f:
                strange = [line for line in f if not line.startswith('{') and line.endswith('\n')]
            if strange:
                self.violations.append('%s wrote: %s' % (w.log_path, strange[0].strip()[:300]))

    def report(self):
        out = ['seed %d: %d violations' % (self.plan.seed, len(self.violations))]
        out += ['  ' + v for v in self.violations[:20]]
        p = self.plan
        out += ['redis: %s; workers: %d; %s' % (p.redis, p.slots, p.settings), 'fault rules:']
        out += ['  ' + json.dumps(rule) for rule in p.rules] + ['events:'] + ['  ' + line for line in self.log]
        if self.ledger is not None:
            keys = {tuple(v.split(': ')[0].split(':')) for v in self.violations}
            for key in sorted(k for k in keys if len(k) == 2)[:5]:
                out += ['story of %s:%s' % key, json.dumps(self.ledger.story(key), indent=1)]
                out += self.lines_about(*key)
        for w in self.stack.workers:
            out += ['--- the end of %s' % os.path.basename(w.log_path)] + w.tail().splitlines()[-12:]
        with open(self.stack.path('redis.log'), encoding='utf-8', errors='replace') as f:
            out += ['--- the end of redis.log'] + f.read().splitlines()[-8:]
        with open(self.stack.sim.log_file, encoding='utf-8') as f:
            out += ['--- the end of the chambers\' log'] + f.read().splitlines()[-5:]
        print('\n'.join(out), flush=True)
        if self.keep:
            self.keep_all('\n'.join(out))

    def lines_about(self, sid, office):
        """What the workers logged of this job."""
        found = []
        for w in self.stack.workers:
            with open(w.log_path, encoding='utf-8', errors='replace') as f:
                found += ['%s: %s' % (os.path.basename(w.log_path), line.strip()) for line in f
                          if sid in line and office in line]
        return found

    def keep_all(self, text):
        target = os.path.join(self.keep, 'seed-%d' % self.plan.seed)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.stack.dir, target, ignore=lambda d, names: [
            n for n in names if not os.path.isfile(os.path.join(d, n)) and not os.path.isdir(os.path.join(d, n))])
        shutil.copy(self.stack.sim.log_file, target)
        with open(os.path.join(target, 'report'), 'w', encoding='utf-8') as f:
            f.write(text + '\n')
        if self.ledger is not None:
            with open(os.path.join(target, 'stories.json'), 'w', encoding='utf-8') as f:
                json.dump({':'.join(key): self.ledger.story(key) for key in self.ledger.jobs}, f, indent=1)
        print('kept in %s' % target, flush=True)
