#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Costs of the scripts: medians of EVALSHA round trips over a unix socket, beside PING as the yardstick of the machine."""
import random
import sys
import time

from rq import META, Server, load

DAY = 86400 * 10**6


def now_us():
    return int(time.time() * 1e6)


class Bench:
    def __init__(self, r):
        self.r, self.sha, self.seq, self.sid = r, load(r), 0, 0
        self.body = ''.join(random.choice('abcdefghij0123456789') for _ in range(3000))
        self.ev('beat', 'w/1', 300 * 10**6, 'join', now_us(), 1)

    def ev(self, name, *args):
        return self.r('EVALSHA', self.sha[name], 1, META, *args)

    def fill(self, n, office=lambda k: 'HCA12'):
        for start in range(0, n, 500):
            batch = range(start, min(n, start + 500))
            for k in batch:
                self.sid += 1
                self.r.send('XADD', '{q}:in', '*', 'sid', 's%d' % self.sid, 'offices', office(k), 'job', self.body + str(self.sid),
                            'exp', now_us() + DAY)
            for _ in batch:
                self.r.read()

    def intake(self):
        while self.ev('enqueue', 200)[2]:
            pass

    def take(self, n, cap=10**6, period=1, burst=10**6):
        self.seq += 1
        return self.ev('take', 'house', 'w/1', 'w/1.%d' % self.seq, n, now_us(), period, (burst - 1) * period, 0, 0, cap, 1)

    def begin(self, x):
        return self.ev('begin', 'w/1', x[0], x[1], x[2], 'D' * 32, '20260101', 0, now_us() + DAY, now_us())

    def settle(self, x, verb, state=''):
        return self.ev('settle', 'w/1', x[0], x[1], x[2], verb, state, 'outcome', 'class', 0, '', 200, now_us() + DAY, now_us(),
                       now_us(), 'r' * 300, '', -1, 1, 30 * 10**6)

    def memory(self):
        info = dict(line.split(':', 1) for line in self.r('INFO', 'memory').split('\r\n') if ':' in line)
        return int(info['used_memory'])


def measure(name, n, work):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    print('%-44s %7.0f us   p99 %7.0f us' % (name, times[n // 2], times[n * 99 // 100]), flush=True)


def letters(b):
    b.fill(4000)
    empty = b.memory()
    measure('ENQUEUE 1 (3 KB, one office)', 500, lambda: b.ev('enqueue', 1))
    measure('ENQUEUE 32', 30, lambda: b.ev('enqueue', 32))
    b.intake()
    print('%-44s %7.0f B' % ('memory per waiting letter beside its place in `in`', (b.memory() - empty) / 4000))
    got = []
    measure('TAKE 1', 500, lambda: got.extend(b.take(1)[2:]))
    measure('TAKE 16', 150, lambda: got.extend(b.take(16)[2:]))
    waiting = list(got)
    begun = []

    def begin():
        begun.append(waiting.pop())
        b.begin(begun[-1])

    measure('BEGIN', 2000, begin)
    for verb, state in (('end', 'accepted'), ('retry', ''), ('end', 'dead'), ('not_sent', '')):
        measure('SETTLE %s %s' % (verb, state), 400, lambda v=verb, s=state: b.settle(begun.pop(), v, s))
    measure('BEAT', 500, lambda: b.ev('beat', 'w/1', 300 * 10**6, 'beat', now_us(), 1))
    measure('CANCEL of a waiting letter', 300, lambda: b.ev('admin', 'cancel', 'op', 's%d:HCA12' % random.randint(3500, 4000)))
    measure('TAKE without a cell', 300, lambda: b.take(1, period=10**9, burst=0))


def offices(b):
    b.r('FLUSHALL')
    b.ev('beat', 'w/1', 300 * 10**6, 'join', now_us(), 1)
    b.fill(5450, lambda k: 'H%s%02d' % (('AA', 'AB', 'AC', 'AD', 'AE', 'AF')[k % 545 // 100], k % 545 % 100))
    b.intake()
    measure('545 offices: TAKE 16', 100, lambda: b.take(16))
    measure('545 offices: DEPTH', 100, lambda: b.ev('depth', now_us()))
    b.r('ZADD', '{q}:workers', 1, 'w/1')
    b.ev('beat', 'v/1', 300 * 10**6, 'join', now_us(), 1)
    measure('REAP of 100 jobs', 10, lambda: b.ev('reap', 'v/1', now_us(), 10**6, 3, 0, 1, 100))


def main():
    server = Server()
    try:
        b = Bench(server.r)
        measure('PING', 2000, lambda: server.r('PING'))
        letters(b)
        offices(b)
    finally:
        server.stop()
    return 0


if __name__ == '__main__':
    sys.exit(main())
