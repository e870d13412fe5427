#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bursts of sealed letters through ops/supervise: does the number of workers follow the load, and is every letter sent once?

usage: load.py [--quick] [--out DIR]

A private Redis, worker processes of the development build, simulated chambers that take their time to answer; the House has a
rate limit. `cwcctl scale --watch` decides, with the Redis user and the configuration of the fleet, and its times shortened so that
minutes show what else takes an hour. Writes scale.svg, scale.csv and scale.txt to DIR (build/scale). Ends with 1 when
something that is to be so was not.
"""
import argparse
import os
import re
import secrets
import signal
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests', 'it')]

import account  # noqa: E402
import checks  # noqa: E402
import plot  # noqa: E402
from sampler import Formula, Sampler, workers_of  # noqa: E402
from stack import DEV_BUILD, Stack, letters, wait_until  # noqa: E402
from supervised import Supervised  # noqa: E402

# The development build's, since its configuration may name a key file.
CTL = os.path.join(DEV_BUILD, 'cwcctl')
SLOTS = 2
SCALER = 'cwc-host'


class Size:
    """What differs between the forms. Letters by phase; seconds."""

    def __init__(self, quick):
        self.quick = quick
        self.least, self.most = (1, 6) if quick else (2, 8)
        self.drain_s, self.stable_s, self.cooldown_s = (5, 2, 1) if quick else (10, 8, 3)
        self.lease_s, self.post_ms, self.house_rate = (4, 250, 8) if quick else (10, 250, 12)
        self.alone, self.trickle, self.burst, self.capped = (24, 2, 130, 80) if quick else (60, 10, 600, 300)
        self.paused, self.killed, self.unread, self.stalled = (30, 40, 40, 30) if quick else (150, 250, 200, 150)
        self.pause_s, self.unread_s, self.stall_s = (3, 5, 2.5) if quick else (12, 15, 6)

    def scale(self):
        return '--min %d --max %d --target-drain %ds --stable %ds --cooldown %ds' % (self.least, self.most, self.drain_s, self.stable_s, self.cooldown_s)


class Load:
    def __init__(self, size, out):
        self.size, self.out = size, out
        self.submissions, self.phases, self.verdicts, self.notes = {}, [], [], {}
        self.missing, self.marks, self.recalled, self.held, self.dead = [], [], [], [], set()
        self.numbers, self.sealed = 0, []
        self.coming = [(size.burst, 'senate'), (size.capped, 'house'), (size.paused, 'senate'), (size.killed, 'senate'), (size.unread, 'senate'),
                       (size.stalled, 'senate')]

    # --- letters and people ----------------------------------------------------------------------

    def seal(self, n, *chambers):
        """n good letters, each to one office of one of the chambers in turn."""
        made, names = [], []
        for chamber in chambers:
            made.append(s for s in letters.sample(20 * n, seed=self.numbers + 1, chambers=(chamber,)))
        for k in range(n):
            s = next(made[k % len(made)])
            self.numbers += 1
            s['sid'] = 'load-%d-%s' % (self.numbers, s['sid'])
            s['offices'] = s['offices'][:1]
            names.append(s)
        self.submissions.update((s['sid'], s) for s in names)
        return [self.stack.entry(s) for s in names]

    def admin(self, *words):
        subprocess.run([CTL, *words, '--redis', 'unix:' + self.stack.redis_path], check=True, timeout=20, stdout=subprocess.DEVNULL)

    def login(self, on):
        """The user with which cwcctl scale reads: those who are connected as it, too."""
        self.stack.redis('ACL', 'SETUSER', SCALER, 'on' if on else 'off')
        if not on:
            self.stack.redis('CLIENT', 'KILL', 'USER', SCALER)

    def make_user(self):
        password = secrets.token_urlsafe(24)
        path = self.stack.write_secret('scaler.password', password)
        rules = subprocess.run([os.path.join(ROOT, 'ops', 'redis', 'make-acl'), '%s=%s' % (SCALER, path)], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.splitlines()[-1].split(' ', 2)[2]
        self.stack.redis('ACL', 'SETUSER', SCALER, 'reset', *re.findall(r'\([^)]*\)|\S+', rules))  # a selector is one word
        return '--user %s --password-file %s' % (SCALER, path)

    # --- looking -----------------------------------------------------------------------------------

    def desired(self):
        known = checks.desired_of(list(self.supervised.events))
        return known[-1][1] if known else None

    def n_results(self):
        return int(self.stack.redis('XLEN', self.stack.key('results')))

    def empty(self):
        return not self.stack.busy()

    def at_rest(self):
        serving, running = workers_of(list(self.supervised.events))
        return self.desired() == self.size.least == len(serving) == len(running) and self.empty()

    def wait(self, check, timeout, what):
        def good():
            if self.supervised.process.poll() is not None:
                raise RuntimeError('the supervisor ended with %s' % self.supervised.process.returncode)
            return check()
        wait_until(good, timeout, what, pause=0.05)

    def rest(self):
        """The letters of the next phase are sealed meanwhile."""
        if self.coming:
            self.sealed.append(self.seal(*self.coming.pop(0)))
        self.wait(self.at_rest, 120, 'rest at %d workers' % self.size.least)

    def verdict(self, what, wrong):
        self.verdicts.append((what, list(wrong)))

    def phase(self, name, play):
        """One phase; its name goes with all samples that are taken meanwhile."""
        begin = time.time()
        if self.sampler is not None:
            self.sampler.phase = name
        print('  %3.0f s  %s' % (begin - self.began, name), flush=True)
        try:
            return play()
        finally:
            self.phases.append((name, begin, time.time()))

    def burst(self, entries):
        """Hands them in and waits until all are over: the seconds that it took."""
        begin = time.monotonic()
        want = self.n_results() + self.stack.enqueue(entries)
        self.wait(lambda: self.n_results() >= want and self.empty(), 150, 'the end of the burst')
        return time.monotonic() - begin

    # --- phases ------------------------------------------------------------------------------------

    def alone(self):
        """What one worker does a second: the measure for what more of them win."""
        self.supervised = Supervised(self.stack, '%s --min 1 --max 1 %s' % (self.login_words, self.config), ctl=CTL)
        try:
            self.supervised.wait(1)
            self.wait(lambda: self.stack.redis('ZCARD', self.stack.key('workers')) == 1, 30, 'a worker')
            house, senate = self.seal(self.size.alone, 'house'), self.seal(self.size.alone, 'senate')
            self.stack.enqueue(house)
            self.notes['alone_per_s'] = len(senate) / self.burst(senate)
        finally:
            status = self.supervised.stop()
            self.supervised.end()
        self.verdict('one worker alone ends with 0 when told to', [] if status == 0 else ['the supervisor ended with %s' % status])

    def quiet(self):
        self.wait(self.at_rest, 60, 'rest')
        for entry in self.seal(self.size.trickle, 'senate', 'house'):
            self.stack.enqueue([entry])
            time.sleep(1)
        self.rest()

    def latency_bound(self):
        n = self.size.burst
        seconds = self.burst(self.sealed.pop())
        self.notes.update(burst=n, burst_s=seconds, burst_alone_s=n / self.notes['alone_per_s'])
        self.rest()

    def rate_capped(self):
        n = self.size.capped
        seconds = self.burst(self.sealed.pop())
        self.notes.update(capped=n, capped_s=seconds)
        self.rest()

    def paused(self):
        self.admin('pause', 'senate', '--for', '10min', '--reason', 'load test')
        self.stack.enqueue(self.sealed.pop())
        until = time.monotonic() + self.size.pause_s
        self.wait(lambda: time.monotonic() > until, self.size.pause_s + 10, 'the end of the pause')

    def resumed(self):
        self.admin('resume', 'senate')
        self.wait(self.empty, 120, 'the end of what was paused')
        self.rest()

    def stop_busy_one(self):
        """Stops a worker, so that what it holds stays as it is; lets it go on when that is nothing."""
        name, pid = max(self.supervised.pids().items())
        os.kill(pid, signal.SIGSTOP)
        keys = self.stack.keys('held:%s/*' % name)
        if not keys:
            os.kill(pid, signal.SIGCONT)
            return False
        self.victim = name, pid, keys[0]
        self.held = [tuple(m.split(' ')[0].rsplit(':', 1)) for m in self.stack.redis('SMEMBERS', keys[0])]
        return True

    def kill_one(self):
        """SIGKILL to a worker that holds letters. Only to the Senate: what the House may have got ends as unknown, for a person."""
        some = self.n_results() + self.size.killed // 3
        self.stack.enqueue(self.sealed.pop())
        self.wait(lambda: self.n_results() >= some and len(self.supervised.pids()) > self.size.least, 60, 'more workers')
        self.wait(self.stop_busy_one, 30, 'a worker with letters')
        name, pid, held = self.victim
        self.dead.add(pid)
        self.marks.append((time.time(), 'SIGKILL'))
        os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        self.wait(lambda: name in self.supervised.pids() and self.supervised.pids()[name] != pid, 30, 'another worker')
        self.notes['replaced_s'] = time.monotonic() - begin
        self.wait(lambda: not self.stack.redis('EXISTS', held), 60, 'its letters back')
        self.notes['reclaimed_s'] = time.monotonic() - begin
        self.wait(self.empty, 120, 'the end of the burst')
        self.rest()

    def unread(self):
        """Nobody can count the queue while its burst is served to the end, and for a while after."""
        some = self.n_results() + self.size.killed // 3
        self.stack.enqueue(self.sealed.pop())
        self.wait(lambda: self.n_results() >= some and len(self.supervised.pids()) > self.size.least, 60, 'more workers')
        cut = time.time()
        self.login(False)
        wait_until(lambda: self.desired() == len(self.supervised.pids()), 30, 'the workers that are wanted')
        gap = time.time() + 1
        until = time.monotonic() + self.size.unread_s
        self.wait(lambda: time.monotonic() > until, self.size.unread_s + 10, 'the end of the gap')
        self.gaps.append((cut, gap, time.time()))
        self.login(True)
        self.wait(self.empty, 120, 'the end of the burst')
        self.rest()

    def stalled(self):
        """Redis itself stands still, for less than a lease: then it goes on, and so does everybody."""
        some = self.n_results() + self.size.killed // 3
        self.stack.enqueue(self.sealed.pop())
        self.wait(lambda: self.n_results() >= some and len(self.supervised.pids()) > self.size.least, 60, 'more workers')
        cut = time.time()
        self.stack.redis_server.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self.desired() == len(self.supervised.pids()), 30, 'the workers that are wanted')
            gap = time.time() + 0.5
            while time.time() < cut + self.size.stall_s:
                time.sleep(0.05)
            self.gaps.append((cut, gap, time.time()))
        finally:
            self.stack.redis_server.send_signal(signal.SIGCONT)
        self.wait(self.empty, 120, 'the end of the burst')
        self.rest()

    def end(self):
        self.rest()
        time.sleep(2 if self.size.quick else 8)

    # --- the whole -----------------------------------------------------------------------------------

    def play(self, stack):
        size, self.stack, self.sampler, self.gaps = self.size, stack, None, []
        stack.sim.fault(action='delay', ms=size.post_ms)
        stack.write_config('template')
        self.config = '%s %s' % (stack.path('measured.conf'), stack.path('template.conf'))
        self.login_words = self.make_user()
        self.began = time.time()
        print('one worker alone ...', flush=True)
        self.alone()
        self.supervised = Supervised(stack, '%s %s %s' % (self.login_words, size.scale(), self.config), ctl=CTL)
        self.began = time.time()
        formula = Formula(size.least, size.most, size.drain_s, SLOTS, {'house': size.house_rate, 'senate': None})
        self.sampler = Sampler(stack, self.supervised, formula, self.began)
        try:
            for name, play in (('quiet', self.quiet), ('burst', self.latency_bound), ("Congress's|limit", self.rate_capped),
                               ('paused', self.paused), ('resumed', self.resumed), ('a worker|killed', self.kill_one),
                               ('not|readable', self.unread), ('Redis|stands still', self.stalled), ('end', self.end)):
                self.phase(name, play)
            self.judge_rest()
        except TimeoutError:
            print('the supervisor, last:\n%s' % '\n'.join(map(str, self.supervised.events[-12:])), file=sys.stderr)
            raise
        finally:
            status = self.supervised.stop()
            self.sampler.stop()
            self.supervised.end()
        self.verdict('all workers drain in the end', [] if status == 0 else ['the supervisor ended with %s' % status])
        self.judge()

    # --- judging -------------------------------------------------------------------------------------

    def judge_rest(self):
        serving, running = workers_of(list(self.supervised.events))
        self.verdict('at the end: down to the minimum, nothing left', checks.rest(self.desired(), len(serving), len(running), self.stack.busy(),
                                                                                 self.size.least))

    def span(self, name):
        return next((begin, end) for n, begin, end in self.phases if n == name)

    def judge(self):
        size, events = self.size, list(self.supervised.events)
        desired, samples = checks.desired_of(events), self.sampler.samples
        results = account.last_results(self.stack)
        expected = {(s['sid'], office) for s in self.submissions.values() for office in s['offices']}
        self.verdict('no letter lost, none sent twice: %d letters, results and records of the chambers one to one' % len(expected),
                     checks.accounting(expected, results, self.stack.sim.records()))
        self.verdict('each result, receipt and record is good', self.account())
        self.verdict('no oscillation', checks.oscillation(desired, self.phases, size.cooldown_s))
        self.verdict('never more than %d workers, never fewer wanted than %d' % (size.most, size.least), checks.bounds(samples, size.least, size.most))
        self.verdict('more workers where they help: the burst had %d' % size.most, checks.peak(desired, *self.span('burst'), size.most))
        capped = self.sampler.of("Congress's|limit")
        self.notes['ceiling'] = max((s['ceiling'] for s in capped if s['ceiling'] is not None), default=0)
        self.notes['by_depth'] = max((s['by_depth'] for s in capped if s['by_depth'] is not None), default=0)
        self.verdict("no more than the ceiling where Congress's limit is the bottleneck", checks.ceiling(capped, size.most))
        self.verdict('what is paused brings no worker', checks.stays(desired, *self.span('paused'), size.least))
        recalled = [(sid, office) for sid, office in sorted(expected) if self.stack.job(sid, office)['crashes'] != '0']
        self.verdict('fewer only by draining: ended with 0, no kill, nothing left to be taken back', checks.drained(events, self.dead, recalled, self.held))
        self.verdict('what the killed worker held (%d) went on within the lease of %d s and 3 s' % (len(self.held), size.lease_s),
                     checks.most(self.notes['reclaimed_s'], size.lease_s + 3))
        self.verdict('the killed worker was replaced', checks.most(self.notes['replaced_s'], 5))
        self.verdict('without data the number and the workers stay', [w for gap in self.gaps for w in checks.unmoved(events, *gap)])
        self.verdict('and fewer are wanted only when it was looked at for a while again', checks.patient(desired, [end for *_, end in self.gaps],
                                                                                                      size.stable_s / 2))
        self.notes.update(workers=sum(e['event'] == 'start' for e in events), drains=sum(e['event'] == 'drain' for e in events), letters=len(expected))

    def account(self):
        try:
            account.check(unittest.TestCase(), self.stack, list(self.submissions.values()))
        except AssertionError as e:
            return [str(e).split('\n', maxsplit=1)[0]]
        return []

    # --- telling -------------------------------------------------------------------------------------

    def table(self):
        """A line for each phase."""
        events, rows = list(self.supervised.events), []
        desired = checks.desired_of(events)
        for k, (name, begin, end) in enumerate(self.phases):
            samples = self.sampler.of(name)

            def top(column):
                return max((s[column] for s in samples if s[column] is not None), default=0)
            rows.append(('%d %s' % (k + 1, name.replace('|', ' ')), '%.0f' % (begin - self.began), '%.0f' % (end - begin), '%d' % top('waiting'),
                         '%d' % top('scalable'), '%.0f' % top('oldest_s'), '%d' % top('desired'), '%d' % top('serving'),
                         '%d' % sum(by > 0 for t, _, by in checks.steps(desired) if begin <= t < end),
                         '%d' % sum(by < 0 for t, _, by in checks.steps(desired) if begin <= t < end),
                         '%d' % checks.turns(desired, begin, end)))
        return [('phase', 'from s', 's', 'waiting', 'scalable', 'oldest s', 'wanted', 'serving', 'steps up', 'down', 'turns'), *rows]

    def report(self):
        n, size = self.notes, self.size
        table = self.table()
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines = ['  '.join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths))) for row in table]
        lines += ['waiting, scalable, oldest, wanted and serving: the most in the phase', '',
                  'options: %s; %d letters at a time and chamber, %d ms a POST, House %d/s, lease %d s' % (size.scale(), SLOTS, size.post_ms,
                                                                                                       size.house_rate, size.lease_s),
                  'burst: %d letters, empty after %.1f s; one worker, at its %.1f letters/s in this run, would need %.0f s: %.1f times as long' % (
                      n['burst'], n['burst_s'], n['alone_per_s'], n['burst_alone_s'], n['burst_alone_s'] / n['burst_s']),
                  "Congress's limit: %d letters, empty after %.1f s: %.1f/s of %d/s, with at most %d workers; depth alone asks for %d" % (
                      n['capped'], n['capped_s'], n['capped'] / n['capped_s'], size.house_rate, n['ceiling'], n['by_depth']),
                  'killed: replaced after %.1f s; the %d letters that it held went on after %.1f s' % (n['replaced_s'], len(self.held), n['reclaimed_s']),
                  '%d letters, %d workers started, %d drained, %d killed' % (n['letters'], n['workers'], n['drains'], len(self.dead)), '',
                  checks.OSCILLATION, '']
        for what, wrong in self.verdicts:
            lines.append('%-7s %s' % ('ok' if not wrong else 'FAILED', what))
            lines += ['        ' + w for w in wrong[:20]] + (['        and %d more' % (len(wrong) - 20)] if len(wrong) > 20 else [])
        return '\n'.join(lines) + '\n'

    def draw(self, path):
        samples = self.sampler.samples
        spans = [(name, begin - self.began, end - self.began) for name, begin, end in self.phases]
        gaps = [(cut - self.began, end - self.began) for cut, _, end in self.gaps]
        marks = [(t - self.began, word) for t, word in self.marks]

        def column(name, only=None):
            return [(s['t'], s[name] if only is None or s['phase'] == only else None) for s in samples]
        ended, rate = column('ended'), []
        for (t0, a), (t1, b) in zip(ended, ended[4:]):
            rate.append((t1, None if a is None or b is None else (b - a) / (t1 - t0)))
        p = plot.Drawing('Bursts of letters through ops/supervise', '%d letters; %s' % (self.notes['letters'], self.size.scale()), samples[-1]['t'])
        p.phases(spans, 4)
        p.panel('Depth', 'letters', [('waiting', '#5b7fa6', True, False, column('waiting')),
                                     ('scalable backlog: more workers help', '#b3541e', False, False, column('scalable'))], gaps)
        p.panel('Workers', '', [('serving', '#4f9a6b', True, True, column('serving')), ('wanted', '#1f2d3d', False, True, column('desired')),
                                ("what depth alone would ask for", '#b3261e', None, True, column('by_depth', "Congress's|limit"))], gaps, marks)
        p.panel('Oldest waiting letter', 's', [('age', '#7a5ea8', True, False, column('oldest_s'))], gaps)
        p.panel('Letters that ended', '1/s, over one second', [('all chambers', '#3d8a8a', True, False, rate)], gaps)
        p.write(path, ['Yellow: the queue cannot be read, or Redis stands still; the number is held. `make scale` draws this.'])

    def write(self):
        os.makedirs(self.out, exist_ok=True)
        self.sampler.write(os.path.join(self.out, 'scale.csv'))
        self.draw(os.path.join(self.out, 'scale.svg'))
        text = self.report()
        with open(os.path.join(self.out, 'scale.txt'), 'w', encoding='utf-8') as f:
            f.write(text)
        print('\n' + text, end='', flush=True)
        print('%s/scale.svg, scale.csv, scale.txt' % os.path.relpath(self.out))


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    a.add_argument('--quick', action='store_true')
    a.add_argument('--out', default=os.path.join(ROOT, 'build', 'scale'))
    o = a.parse_args()
    for program in ('redis-server', 'openssl'):
        if shutil.which(program) is None:
            print('scale: %s is not installed; `ops/install-deps test` installs it' % program, file=sys.stderr)
            return 77
    size, begin = Size(o.quick), time.monotonic()
    load = Load(size, os.path.abspath(o.out))
    with Stack(lease='%ds' % size.lease_s, burst=1, chamber={'concurrency': SLOTS, 'office_concurrency': SLOTS}, worker={'log_level': 'info'},
               measured_house={'rate_ceiling': '%d/s' % size.house_rate}, measured_senate={'rate_ceiling': '1000/s', 'burst': 1000},
               senate={'total_timeout': '5s', 'first_byte_timeout': '5s', 'connect_timeout': '5s'}) as stack:
        load.play(stack)
        load.write()
    print('%.0f s in all' % (time.monotonic() - begin))
    return 1 if any(wrong for _, wrong in load.verdicts) else 0


if __name__ == '__main__':
    sys.exit(main())
