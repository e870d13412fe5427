# SPDX-License-Identifier: Apache-2.0
"""Commands to Redis for each letter: BEGIN, SETTLE and a share of a TAKE; with replicas a share of a WAIT too.

Counted by Redis itself (INFO commandstats), over letters that flow while more are waiting; heartbeats and the like are
counted in. The reads of the server are shown beside: what a worker sends together is one of them.
And what a worker that has nothing to do asks of Redis.
"""
import threading
import time

import rig as rigs
from rig import wait_until

PAUSE_S = 0.02
LETTERS, QUICK = 12000, 2000
SLOTS = {c: {'concurrency': 32, 'office_concurrency': 32} for c in ('house', 'senate')}
SHARE_MAX = 0.25  # of a TAKE, of a WAIT: at least four letters a batch
IDLE_S = 1.5


class Counters:
    def __init__(self, rig):
        self.time, self.calls, self.results = time.monotonic(), rig.calls(), rig.length('results')
        self.reads = int(rig.redis_info('stats')['total_reads_processed'])

    def per_letter(self, before):
        n = self.results - before.results
        found = {name: (self.calls.get(name, 0) - before.calls.get(name, 0)) / n for name in ('evalsha', 'wait')}
        # A TAKE alone asks whether memory is full, by one SETRANGE.
        found['take'] = (self.calls.get('setrange', 0) - before.calls.get('setrange', 0)) / n
        found['reads'] = (self.reads - before.reads) / n
        found['rate'] = n / (self.time - before.time)
        return found


def run(rig, worker):
    """Counted while there is more to do: from the first tenth of the letters to the ninth."""
    def reached(n):
        worker.check()
        return rig.length('results') >= n
    wait_until(lambda: reached(rig.n_letters // 10), 60, 'first results')
    before = Counters(rig)
    wait_until(lambda: reached(rig.n_letters * 9 // 10), 300, 'results')
    return Counters(rig).per_letter(before)


def idle(rig):
    """Calls a second of a worker that has nothing to do."""
    before = rig.calls().get('evalsha', 0)
    threading.Event().wait(IDLE_S)
    return (rig.calls().get('evalsha', 0) - before) / IDLE_S


def flow(report, count, replicas):
    with rigs.Rig(pause=PAUSE_S, replica=replicas > 0) as rig:
        rig.seal(count, rig.lists['house'])
        rig.configure({'queue': {'replicas': replicas}} if replicas else {})
        rig.load()
        worker = rig.start_worker('w', SLOTS)
        found = run(rig, worker)
        wait_until(lambda: rig.length('results') >= rig.n_letters, 60, 'results')
        asks = idle(rig)
    report.say('%d letters, one worker with 32 slots, %d replicas' % (count, replicas))
    report.row('scripts called (EVALSHA)', found['evalsha'], 'per letter', 2)
    report.row('of them TAKE', found['take'], 'per letter', 2)
    if replicas:
        report.row('WAIT', found['wait'], 'per letter', 2)
    report.row('reads of the server', found['reads'], 'per letter', 2)
    report.row('letters', found['rate'], '/s')
    report.row('scripts called when there is nothing to do', asks, '/s', 1)
    report.bar('two scripts and %.2f of a batch for each letter, at most %.2f' % (
        found['evalsha'] - 2, SHARE_MAX), found['evalsha'] <= 2 + SHARE_MAX, timed=True)
    if replicas:
        report.bar('and %.2f of a WAIT, at most %.2f' % (found['wait'], SHARE_MAX), found['wait'] <= SHARE_MAX,
                   timed=True)


def plain(report, options):
    flow(report, QUICK if options.quick else LETTERS, 0)


def replicated(report, options):
    flow(report, QUICK if options.quick else LETTERS, 1)


PARTS = (plain, replicated)
