# SPDX-License-Identifier: Apache-2.0
"""Eight workers share the limit of a chamber: never above it, and nearly all of it used.

The limit is checked at its root: a grant is the moment at which a TAKE looked at the server's clock and handed a job
out. MONITOR tells it with the server's own clock, which no delay of a worker blurs; at these rates it costs nothing.
What is used of the limit is counted once all workers are ready. A grant that nobody fetches within 10 ms is lost in
part: on a machine that lets processes wait longer than that for a CPU, Redis and the workers are given priority, if we
may. Also shown: when the workers began (their clock, at BEGIN), and when the receiver had the first byte.
"""
import functools
import re
import threading
import time

import rig as rigs
import rq
from report import worst_second

WORKERS = 8
LIMITS = (5, 50, 200)
SECONDS = {5: (20, 6), 50: (10, 4), 200: (10, 4)}  # long, quick
# Of MONITOR's clock, which reads the time some microseconds after TAKE did.
RESOLUTION_S = 0.0001
USED = 0.98
# House offices: enough that none has its cap of letters in flight.
OFFICES = 400
HANDED_OUT = re.compile(rb'^\+(\d+\.\d+) \[\d+ lua\] "HSET" "\{q\}:job:[^"]*" .*"state" "taken"', re.I)
TIME = re.compile(rb'^\+(\d+\.\d+) \[\d+ lua\] "TIME"', re.I)


class Monitor:
    """Writes what Redis does to a file until it is stopped."""

    def __init__(self, rig):
        self.path = rig.path('monitor.log')
        self.client = rq.Client(rig.redis_path)
        self.client('MONITOR')
        self.thread = threading.Thread(target=self.copy, daemon=True)
        self.thread.start()

    def copy(self):
        with open(self.path, 'wb') as out:
            try:
                while data := self.client.file.read1(1 << 18):
                    out.write(data)
            except (OSError, ValueError):
                pass

    def stop(self):
        self.client.sock.shutdown(2)
        self.thread.join()
        self.client.close()

    def grants(self):
        """The moments of the grants of letters that are to be sent."""
        found, clock = [], 0.0
        with open(self.path, 'rb') as f:
            for line in f:
                if at := TIME.match(line):
                    clock = float(at.group(1))
                elif HANDED_OUT.match(line):
                    found.append(clock)
        return found


def intake(rig):
    """All that lies at the door, so that there is always work and nothing else in TAKE."""
    sha = rig.redis('SCRIPT', 'LOAD', rq.source('enqueue'))
    while rig.redis('EVALSHA', sha, 1, rq.META, 1000)[2] > 0:
        pass


def run(rig, limit, seconds):
    rig.load()
    intake(rig)
    rig.configure({'house': {'rate_ceiling': '%d/s' % limit, 'burst': 1}})
    rig.redis('CONFIG', 'RESETSTAT')
    monitor = Monitor(rig)
    rig.start_workers(WORKERS)
    steady = time.time()
    threading.Event().wait(seconds)  # the run: there is nothing to wait for but time
    monitor.stop()
    takes = rig.calls().get('setrange', 0)
    rig.stop_workers()
    return {'grants': monitor.grants(), 'steady': steady, 'results': rig.stream('results'), 'takes': takes,
            'back': given_back(rig)}


def given_back(rig):
    """Jobs that were handed out and came back unsent: TAKEs beyond the POSTs that counted."""
    n = 0
    for r in rig.stream('results'):
        job = rq.pairs(rig.redis('HGETALL', '{q}:job:%s:%s' % (r['sid'], r['office'])))
        n += int(job['deliveries']) - int(job['attempt'])
    return n


def tell(report, limit, found, arrivals):
    grants = found['grants']
    begun = [int(r['begun_us']) / 1e6 for r in found['results'] if int(r['begun_us']) > 0]
    steady = [t for t in grants if t >= found['steady']]
    used = (len(steady) - 1) / (steady[-1] - steady[0]) / limit
    worst = worst_second(grants, 1 - RESOLUTION_S)
    report.say('%d/s, %d workers, %d letters in %.1f s' % (limit, WORKERS, len(grants), grants[-1] - grants[0]))
    report.row('worst sliding second: grants, clock of the server', worst)
    report.row('worst sliding second: BEGIN, clocks of the workers', worst_second(begun))
    report.row('worst sliding second: first bytes at the receiver', worst_second(arrivals))
    report.row('TAKEs per grant', found['takes'] / len(grants), digits=1)
    report.row('handed out and given back unsent', found['back'])
    report.bar('never more than %d grants in any sliding second' % limit, worst <= limit)
    report.bar('%.1f %% of the limit used, at least %.0f %%' % (100 * used, 100 * USED), used >= USED, timed=True)


def measure(report, options, limit):
    seconds = SECONDS[limit][1 if options.quick else 0]
    with rigs.Rig(log=True, first=True) as rig:
        rig.seal(limit * (seconds + 6), rig.lists['house'][:OFFICES])
        found = run(rig, limit, seconds)
        tell(report, limit, found, [a[0] for a in rig.arrivals() if a[3] != '-'])


PARTS = tuple(functools.partial(measure, limit=limit) for limit in LIMITS)
