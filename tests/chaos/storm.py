# SPDX-License-Identifier: Apache-2.0
"""One round of chaos: carries out a plan (plan.py) on real processes, lets everything settle, and does the accounts
(ledger.py). Its events are in trouble.py and people.py."""
import heapq
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'it'))

import forgotten  # noqa: E402
import ledger  # noqa: E402
import plan as plans  # noqa: E402
import servers  # noqa: E402
from people import People  # noqa: E402
from stack import rq  # noqa: E402
from trouble import ChamberTrouble, RedisTrouble  # noqa: E402

POLL_S = 0.03
SETTLE_S = 90
EXITS = (0, 1)  # of a worker that was told to stop; 1: it had to leave jobs to others. By the signal: not at work yet


class Away(Exception):
    """Redis cannot be asked now."""


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


class Round(RedisTrouble, ChamberTrouble, People):
    REPLY_S = 60

    def __init__(self, seed, keep=None):
        self.plan, self.keep = plans.Plan(seed), keep
        self.stack = servers.Stack(redis=(*plans.REDIS[self.plan.redis][0], '--enable-debug-command', 'yes'),
                                   paired=self.plan.paired, quick=self.plan.redis == 'everysec', **self.plan.settings)
        self.slots = [Slot(n) for n in range(1, self.plan.slots + 1)]
        self.heap, self.seq = [], 0
        self.log, self.violations = [], []
        self.entries, self.cache, self.acts = [], {}, {}
        self.outbox = []
        self.paused_until = self.cut_until = self.replica_until = 0
        self.frozen = False  # Redis is stopped, until thaw() gets its turn
        self.redis_up, self.failing = True, False  # failing: Redis is about to forget something
        self.forgotten = forgotten.Forgotten()
        self.rules, self.outages = [], []
        self.kills, self.leaving, self.twins, self.looks = 0, [], [], []
        self.watched, self.recoveries, self.takeovers = {}, [], []
        self.dead = []  # (time, name, where its recoveries are noted) of killed workers whose jobs are not known yet
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
            self.stack.redis.sock.settimeout(self.REPLY_S)
            for slot in self.slots:
                for n in range(len(self.plan.events) + 4):
                    self.stack.write_config(slot.name_of(n))
            for slot in self.slots:
                self.start_worker(slot)
            self.storm()
            self.settle()
            if self.plan.operator:
                self.decide(self.plan.operator_seed, 0.8)
                self.settle()
            if self.plan.replay and self.replay_all():
                self.settle()
            self.stop_all()
            self.account()
        except (RuntimeError, OSError, rq.RedisError, ValueError, subprocess.SubprocessError) as e:
            self.violations.append('%s: %s' % (type(e).__name__, e))
        finally:
            try:
                if self.violations:
                    self.report()
            finally:
                for p in self.looks:
                    p.kill()
                    p.communicate()
                self.signal_sim(signal.SIGCONT)
                self.stack.close()
        return not self.violations

    def storm(self):
        p = self.plan
        self.do_rules(p.rules)
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

    def pause_left(self):
        """Seconds for which Redis will say nothing."""
        return max(self.paused_until - time.monotonic(), 0.02 if self.frozen else 0)

    def ask(self, *args):
        if not self.redis_up or self.pause_left() > 0:
            raise Away
        try:
            return self.stack.redis(*args)
        except rq.RedisError as e:
            if str(e).startswith(('LOADING', 'OOM')):
                raise Away from None
            raise

    def poll(self):
        """What happens all the time: the outbox, recoveries, a look at the processes."""
        for slot in self.slots + self.twins:
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
            if entry.acked is None:
                self.entries.append(entry)
            entry.acked = self.now()
            self.outbox.pop(0)

    def watch(self):
        """From the death of a worker until each job that it held is taken back."""
        while self.dead:
            died, name, where = self.dead[0]
            for held in self.ask('KEYS', self.stack.key('held:%s/*' % name)):
                worker = held.split(':held:', 1)[1]
                for member in self.ask('SMEMBERS', held):
                    self.watched.setdefault((member.split(' ')[0], worker), (died, where))
            self.dead.pop(0)
        for (job, worker), (died, where) in list(self.watched.items()):
            if self.ask('HGET', self.stack.key('job:' + job), 'worker') != worker:
                del self.watched[job, worker]
                where.append(self.now() - died)

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
        self.forgotten.trouble(slot.name, self.now())
        slot.worker.kill()
        slot.worker.process.wait()
        slot.worker = None
        self.kills += 1
        alone = not any(twin.alive() and twin.name == slot.name for twin in self.twins)
        at_once = alone and down == 0 and not rename
        self.dead.append((self.now(), slot.name, self.takeovers if at_once else self.recoveries))
        self.at(self.now() + down, self.restart, slot, rename)
        return True

    def do_drain(self, slot, down, rename):
        slot = self.pick(slot)
        if slot is None or slot.stopped:
            return False
        self.forgotten.trouble(slot.name, self.now())
        slot.worker.kill(signal.SIGTERM)
        self.leaving.append(slot.worker)
        self.at(self.now() + down, self.restart, slot, rename)
        return True

    def do_stop(self, slot, **how):
        slot = self.pick(slot)
        if slot is None or slot.stopped:
            return False
        self.forgotten.trouble(slot.name, self.now())
        slot.worker.kill(signal.SIGSTOP)
        slot.stopped = True
        self.at(self.now() + how['for'], self.go_on, slot, slot.worker)
        return True

    def go_on(self, slot, worker):
        if worker.process.poll() is None:
            worker.kill(signal.SIGCONT)
            self.forgotten.trouble(worker.name, self.now())
            self.note('go on %s', worker.name)
        if slot.worker is worker:
            slot.stopped = False

    def do_twin(self, slot, kill, **how):
        """A second process of a name that lives: it waits, or takes over should the first end."""
        first = self.pick(slot)
        if first is None:
            return False
        twin = Slot(first.number)
        twin.renamed = first.renamed
        self.twins.append(twin)
        self.forgotten.trouble(twin.name, float('inf'))
        self.start_worker(twin)
        self.at(self.now() + how['for'], self.end_twin, twin, kill)
        return True

    def end_twin(self, twin, kill):
        if twin.worker is None or twin.worker.process.poll() is not None:
            return
        self.note('the end of the other %s', twin.name)
        if not kill:
            self.leaving.append(twin.worker)
            twin.worker.kill(signal.SIGTERM)
            return
        twin.worker.kill()
        twin.worker.process.wait()
        twin.worker = None
        self.kills += 1

    # --- redis -------------------------------------------------------------------------------

    def try_ask(self, *args):
        try:
            self.ask(*args)
        except Away:
            return False
        return True

    # --- peace -------------------------------------------------------------------------------

    def settle(self):
        """All faults are over; everything must come to its end by itself."""
        self.note('peace')
        self.rules = []
        self.set_rules()
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
        for what in self.ask('HKEYS', stack.key('holds')):
            stack.admin('resume', what)
        breakers = rq.pairs(self.ask('HGETALL', stack.key('breaker')))
        for what in breakers:
            if int(breakers[what].split(' ')[2]) > far - 5000000:
                stack.admin('resume', what)

    def stop_all(self):
        for _ in range(3):
            for w in self.stack.workers:
                if w.process.poll() is None:
                    w.kill(signal.SIGTERM)
                    if w not in self.leaving:
                        self.leaving.append(w)
            for w in self.stack.workers:
                status = w.process.wait(20)
                if w in self.leaving and status not in EXITS and (status != -signal.SIGTERM or w.events('queue_up')):
                    self.violations.append('%s was told to stop and ended with status %s' % (w.name, status))
            if not self.stack.busy():
                return
            self.note('something came back with the last ones: %s', self.stack.busy())
            self.restart(self.slots[0], True)
            self.settle()

    # --- the end -----------------------------------------------------------------------------

    def account(self):
        self.looks.append(self.fsck())
        self.end_looks()
        self.ledger = ledger.Ledger(self.stack, self.entries, self.acts, self.forgotten, self.plan.redis == 'replicas')
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
        for node in self.stack.nodes:
            if os.path.exists(node.log):
                with open(node.log, encoding='utf-8', errors='replace') as f:
                    out += ['--- the end of %s' % os.path.basename(node.log)] + f.read().splitlines()[-8:]
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
