# SPDX-License-Identifier: Apache-2.0
"""A flood of letters to one office, then one letter to another.

The letters are sealed and signed like any other, 7 KB each on average, and all lie at the door `in` when the workers
come. The office takes them at its own pace, so nearly all of them wait in its line. How fast the door empties is the
intake; the single letter came last, and must not wait in that line.
"""
import time

import rig as rigs
import rq
from rig import wait_until

WORKERS = 4
FLOOD, QUICK = 100000, 20000
INTAKE_MIN = 10000  # letters/s
DELAY_MAX_S = 1.0
PAUSE_S = 0.05


def flood(rig, office, other):
    """All of it is at the door; then workers come, and it is timed until the door is empty."""
    n = rig.select('flood.resp', lambda code: code == office)
    rig.select('one.resp', lambda code: code == other)
    rig.load('flood.resp', n)
    rig.enqueue('one.resp')
    rig.redis('CONFIG', 'RESETSTAT')
    for i in range(WORKERS):
        rig.start_worker('w%d' % i)

    def first():
        for w in rig.workers:
            w.check()
        return rig.length('in') <= n
    wait_until(first, 30, 'first intake', 0.001)
    before = Moment(rig)
    left = rig.length('in')
    wait_until(lambda: rig.length('in') == 0, 300, 'intake', 0.001)
    after = Moment(rig)
    return {'n': left, 'seconds': after.time - before.time, 'waited': after.waited - before.waited,
            'redis': after.redis - before.redis, 'takes': rig.calls().get('setrange', 0)}


class Moment:
    def __init__(self, rig):
        self.time, self.redis = time.monotonic(), rig.redis_us() / 1e6
        self.waited = rigs.waited_s(rig.redis_server.pid)


def delay(rig, other):
    """Of the single letter: from its intake, by the server's clock, to its POST, by its worker's."""
    def ended():
        return [r for r in rig.stream('results') if r['office'] == other]
    result = wait_until(ended, 30, 'result of the single letter')[0]
    job = rq.pairs(rig.redis('HGETALL', '{q}:job:%s:%s' % (result['sid'], other)))
    return (int(result['begun_us']) - int(job['first_us'])) / 1e6, result['outcome']


def measure(report, options):
    count = QUICK if options.quick else FLOOD
    with rigs.Rig(pause=PAUSE_S, first=True) as rig:
        office, other = rig.lists['house'][:2]
        rig.seal(count + 1, [office] * count + [other])
        rig.configure()
        f = flood(rig, office, other)
        waited, outcome = delay(rig, other)
    report.say('%d letters to one office, then one to another; %d workers, %.2f s a letter' % (
        count, WORKERS, PAUSE_S))
    intake = f['n'] / (f['seconds'] - f['waited'])
    report.row('intake', f['n'] / f['seconds'], 'letters/s')
    report.row('of this time Redis had to wait for a CPU', 100 * f['waited'] / f['seconds'], '%')
    report.row('letters of one TAKE', f['n'] / f['takes'], '', 1)
    report.row('Redis CPU', 1e6 * f['redis'] / f['n'], 'us/letter', 1)
    report.row('the single letter, from its intake to its POST', 1000 * waited, 'ms', 1)
    report.bar('intake of %.0f letters/s while Redis has a CPU, at least %d' % (intake, INTAKE_MIN),
               intake >= INTAKE_MIN, timed=True)
    report.bar('the single letter is accepted', outcome == 'accepted')
    report.bar('and waited %.0f ms, less than %.0f' % (1000 * waited, 1000 * DELAY_MAX_S), waited < DELAY_MAX_S,
               timed=True)


PARTS = (measure,)
