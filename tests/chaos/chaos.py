#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chaos: workers, Redis and chambers fail at random while letters go through; then every letter to every office must be
accounted for.

    chaos.py [--rounds N] [--seed S] [--minutes M] [--keep]
    chaos.py --seeds FILE

A round has 2 to 4 real workers (of the build that CWC_BUILD names), a private Redis, both simulated chambers with
random faults, 30 to 150 submissions, and a random schedule of kills, stops, restarts, cuts and people's acts. Then all
faults end, everything settles, and the accounts are done (ledger.py). A round is planned from its seed alone; --seed S
runs S, S + 1, and so on. With --keep a round that fails leaves its directory under /tmp/cwc-chaos.

Exit status: 0 all passed, 1 a violation, 64 wrong arguments.
"""
import argparse
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import storm  # noqa: E402

KEPT = '/tmp/cwc-chaos'


def median(values):
    return sorted(values)[len(values) // 2] if values else 0


class Totals:
    def __init__(self):
        self.passed = self.failed = self.letters = self.posts = self.kills = self.unknowns = self.unread = 0
        self.states, self.recoveries = {}, []

    def add(self, r, good):
        self.passed += good
        self.failed += not good
        self.posts += r.posts
        self.kills += r.kills
        self.recoveries += r.recoveries
        if r.ledger is None:
            return
        for state, n in r.ledger.count('state').items():
            self.states[state] = self.states.get(state, 0) + n
        self.letters += len(r.ledger.jobs)
        self.unread += r.ledger.unread

    def show(self):
        print('letters %d (%s), posts %d, kills %d, unknowns %d, recovery s p50 %.1f max %.1f of %d' % (
            self.letters, ', '.join('%s %d' % item for item in sorted(self.states.items())), self.posts, self.kills,
            self.states.get('unknown', 0), median(self.recoveries), max(self.recoveries, default=0),
            len(self.recoveries)))
        print('%d passed, %d failed' % (self.passed, self.failed), flush=True)


def one(number, seed, keep, totals):
    began = time.monotonic()
    r = storm.Round(seed, keep)
    good = r.run()
    totals.add(r, good)
    states = r.ledger.count('state') if r.ledger is not None else {}
    print('%3d  seed %-12d %-8s %d workers, %3d letters, %3d posts, %d kills, %2d unknown, %4.1f s  %s' % (
        number, seed, r.plan.redis, r.plan.slots, sum(states.values()), r.posts, r.kills, states.get('unknown', 0),
        time.monotonic() - began, 'ok' if good else 'FAILED'), flush=True)


def read_seeds(path):
    with open(path, encoding='utf-8') as f:
        words = [line.partition('#')[0].split() for line in f]
    return [int(w[0]) for w in words if w]


def parse(argv):
    parser = argparse.ArgumentParser(prog='chaos.py', description='Random failures; then the accounts of every letter.')
    parser.add_argument('--rounds', type=int, help='how many (default 10, or as many as --minutes allow)')
    parser.add_argument('--seed', type=int, help='seed of the first round; each further one counts up')
    parser.add_argument('--minutes', type=float, help='begin no round after this time')
    parser.add_argument('--seeds', metavar='FILE', help='run the seeds of this file, one a line, # for remarks')
    parser.add_argument('--keep', action='store_true', help='keep the directory of a round that fails')
    return parser.parse_args(argv)


def seeds_of(options):
    if options.seeds:
        yield from read_seeds(options.seeds)
        return
    most = options.rounds or (10 if options.minutes is None else sys.maxsize)
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    yield from range(first, first + most)


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        options = parse(argv)
    except SystemExit as e:
        return 64 if e.code else 0
    end = time.monotonic() + 60 * options.minutes if options.minutes is not None else float('inf')
    if options.keep:
        os.makedirs(KEPT, mode=0o700, exist_ok=True)
    totals = Totals()
    for number, seed in enumerate(seeds_of(options), 1):
        if time.monotonic() >= end:
            break
        one(number, seed, KEPT if options.keep else None, totals)
    totals.show()
    return 1 if totals.failed or not totals.passed else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
