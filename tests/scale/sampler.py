# SPDX-License-Identifier: Apache-2.0
"""Looks at the queue and at the workers a few times a second, and notes both."""
import csv
import math
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'queue'))
import rq  # noqa: E402

EVERY_S, ANSWER_S = 0.25, 0.5
# As `cwcctl scale` has them: the share of slots that is planned for; few POSTs say nothing of how long one takes.
USE, POSTS_FEW, POST_S, POST_LEAST_S = 0.7, 20, 1.0, 0.02
CHAMBERS = ('house', 'senate')
COLUMNS = ('t', 'phase', 'waiting', 'scalable', 'held', 'in_flight', 'later', 'oldest_s', 'desired', 'serving', 'processes', 'ceiling', 'by_depth',
           'ended')


class Formula:
    """The number of workers by queue depth and rates, reckoned here once more: what the one of `cwcctl scale` is compared with."""

    def __init__(self, least, most, drain_s, slots, rates):
        self.least, self.most, self.drain_s, self.slots, self.rates = least, most, drain_s, slots, rates

    def workers(self, flows, d):
        need = 0
        for chamber, flow in flows.items():
            post_s = d[chamber + '_post_p95_us'] / 1e6 if d[chamber + '_posts'] >= POSTS_FEW else POST_S
            need += flow * max(post_s, POST_LEAST_S) / (self.slots * USE)
        return max(self.least, min(self.most, math.ceil(need - 1e-9)))

    def both(self, d):
        """(the most that the limits let be of use, what depth alone would ask for)"""
        limited, alone = {}, {}
        for chamber in CHAMBERS:
            arrival = d[chamber + '_arrived'] * 1e6 / d['window_us']
            free = d[chamber + '_waiting'] - sum(d['%s_held_%s' % (chamber, c)] for c in ('pause', 'maintenance', 'receiver', 'breaker'))
            alone[chamber] = max(free / self.drain_s, arrival)
            rate = self.rates[chamber]
            limited[chamber] = alone[chamber] if rate is None else min(alone[chamber], rate)
        return self.workers(limited, d), self.workers(alone, d)


def workers_of(events):
    """Those that serve and those that run."""
    serving, running = set(), set()
    for e in events:
        if e['event'] == 'start':
            serving.add(e['pid'])
            running.add(e['pid'])
        elif e['event'] == 'drain':
            serving.discard(e['pid'])
        elif e['event'] == 'exit':
            serving.discard(e['pid'])
            running.discard(e['pid'])
    return serving, running


class Sampler:
    def __init__(self, stack, supervised, formula, began):
        self.stack, self.supervised, self.formula, self.began = stack, supervised, formula, began
        self.phase, self.samples, self.error = '', [], None
        self.client, self.text, self.stopping = None, rq.source('depth'), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def read(self):
        """DEPTH, or None when Redis does not answer soon."""
        try:
            if self.client is None:
                self.client = rq.Client(self.stack.redis_path)
                self.client.sock.settimeout(ANSWER_S)
            flat = self.client('EVAL', self.text, 1, self.stack.key('meta'), int(time.time() * 1e6), int(self.formula.drain_s * 1e6))
            return {k: float(v) for k, v in zip(flat[::2], flat[1::2])}
        except (OSError, rq.RedisError):
            if self.client is not None:
                self.client.close()
            self.client = None
            return None

    def sample(self):
        d, events = self.read(), list(self.supervised.events)
        serving, running = workers_of(events)
        desired = [e['workers'] for e in events if e['event'] == 'desired']
        s = dict.fromkeys(COLUMNS)
        s.update(t=time.time() - self.began, phase=self.phase, desired=desired[-1] if desired else None, serving=len(serving), processes=len(running))
        if d is not None:
            def total(*names):
                return sum(d['%s_%s' % (chamber, n)] for chamber in CHAMBERS for n in names)
            s['ceiling'], s['by_depth'] = self.formula.both(d)
            s.update(waiting=total('waiting') + d['in'], scalable=total('scalable'), in_flight=total('taken', 'begun'), later=total('later'),
                     held=total('held', 'held_rate'), ended=d['results'],
                     oldest_s=max(d['in_oldest_us'], *(d[c + '_oldest_us'] for c in CHAMBERS)) / 1e6)
        return s

    def run(self):
        while not self.stopping.wait(EVERY_S):
            try:
                self.samples.append(self.sample())
            except Exception as e:  # pylint: disable=broad-except
                self.error = e
                return

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.client is not None:
            self.client.close()
        if self.error is not None:
            raise self.error

    def of(self, phase):
        return [s for s in self.samples if s['phase'] == phase]

    def write(self, path):
        with open(path, 'w', encoding='utf-8', newline='') as f:
            out = csv.writer(f, lineterminator='\n')
            out.writerow(COLUMNS)
            for s in self.samples:
                out.writerow('' if s[c] is None else '%.2f' % s[c] if isinstance(s[c], float) and s[c] % 1 else '%d' % s[c]
                             if isinstance(s[c], float) else s[c] for c in COLUMNS)
