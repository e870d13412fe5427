#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chaos: workers, Redis and chambers fail at random while letters go through; then every letter to every office must be
accounted for.

    chaos.py [--rounds N] [--seed S] [--minutes M] [--jobs J] [--keep]
    chaos.py --seeds FILE

A round has 2 to 4 real workers (of the build that CWC_BUILD names), a private Redis, perhaps with a replica, both
simulated chambers with random faults, 30 to 150 submissions, and a random schedule of kills, stops, restarts, cuts,
failovers and people's acts. Then all faults end, everything settles, and the accounts are done (ledger.py). A round is
planned from its seed alone; --seed S runs S, S + 1, and so on. Without it the seeds of seeds.txt go first. With --keep
a round that fails leaves its directory under /tmp/cwc-chaos. Rounds wait most of the time: --jobs runs some beside each
other.

Exit status: 0 all passed, 1 a violation, 64 wrong arguments.
"""
import argparse
import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import storm  # noqa: E402

KEPT = '/tmp/cwc-chaos'
SEEDS = os.path.join(HERE, 'seeds.txt')


def median(values):
    return sorted(values)[len(values) // 2] if values else 0


def sizes(r):
    """What a round counted, as a dictionary of numbers, lists, and numbers by state."""
    found = {'posts': r.posts, 'kills': r.kills, 'recoveries': r.recoveries, 'takeovers': r.takeovers,
             'forgetful': len(r.forgotten.times), 'keys': r.forgotten.published()}
    book = r.ledger
    if book is not None:
        found.update(states=book.count('state'), letters=len(book.jobs), unread=book.unread, twice=len(book.twice),
                     doubled=len(book.doubled), belied=len(book.belied), kept=len(book.kept))
    return found


class Totals:
    def __init__(self):
        self.passed = self.failed = 0
        self.numbers, self.states = {}, {}
        self.recoveries, self.takeovers = [], []

    def add(self, good, found):
        self.passed += good
        self.failed += not good
        for name, value in found.items():
            if name == 'states':
                for state, n in value.items():
                    self.states[state] = self.states.get(state, 0) + n
            elif isinstance(value, list):
                getattr(self, name).extend(value)
            else:
                self.numbers[name] = self.numbers.get(name, 0) + value

    def show(self):
        def n(name):
            return self.numbers.get(name, 0)
        print('letters %d (%s), posts %d, kills %d, unknowns %d' % (
            n('letters'), ', '.join('%s %d' % item for item in sorted(self.states.items())), n('posts'), n('kills'),
            self.states.get('unknown', 0)))
        print('doubled %d, all but %d in the named class (Redis forgot %d times; a BEGIN forgotten, and said again: %d '
              'letters; taken, but ended otherwise: %d; keys of workers: %d)' % (
                  n('twice'), n('twice') - n('doubled'), n('forgetful'), n('kept'), n('belied'), n('keys')))
        for name, values in (('that are restarted at once', self.takeovers), ('that are not', self.recoveries)):
            print('jobs of killed workers %s were taken back after: s p50 %.1f max %.1f of %d' % (
                name, median(values), max(values, default=0), len(values)))
        print('%d passed, %d failed' % (self.passed, self.failed), flush=True)


def one(seed, keep):
    """(passed, what it counted, a line of it)"""
    began = time.monotonic()
    r = storm.Round(seed, keep)
    good = r.run()
    found = sizes(r)
    line = 'seed %-12d %-8s %d workers, %3d letters, %3d posts, %d kills, %2d unknown, %d doubled, %4.1f s  %s' % (
        seed, r.plan.redis, r.plan.slots, found.get('letters', 0), r.posts, r.kills,
        found.get('states', {}).get('unknown', 0), found.get('doubled', 0), time.monotonic() - began,
        'ok' if good else 'FAILED')
    return good, found, line


def work(seeds, results, keep):
    """A process of several."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for seed in iter(seeds.get, None):
        results.put(one(seed, keep))
    results.put(None)


def beside(options, seeds, keep):
    """The results of rounds that run beside each other."""
    waiting, results = multiprocessing.Queue(maxsize=1), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(waiting, results, keep)) for _ in range(options.jobs)]
    for w in workers:
        w.start()
    try:
        feeder = threading.Thread(target=lambda: [waiting.put(s) for s in itertools.chain(seeds, [None] * options.jobs)],
                                  daemon=True)
        feeder.start()
        ended = 0
        while ended < options.jobs:
            result = results.get()
            ended += result is None
            if result is not None:
                yield result
    finally:
        for w in workers:
            w.terminate()
            w.join()


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
    parser.add_argument('--jobs', type=int, default=1, help='rounds at a time')
    parser.add_argument('--keep', action='store_true', help='keep the directory of a round that fails')
    return parser.parse_args(argv)


def seeds_of(options):
    if options.seeds:
        yield from read_seeds(options.seeds)
        return
    most, first = options.rounds or (10 if options.minutes is None else sys.maxsize), options.seed
    if first is None:
        yield from read_seeds(SEEDS)
        first = random.SystemRandom().randrange(1 << 31)
    yield from range(first, first + most)


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        options = parse(argv)
    except SystemExit as e:
        return 64 if e.code else 0
    end = time.monotonic() + 60 * options.minutes if options.minutes is not None else float('inf')
    keep = KEPT if options.keep else None
    if keep:
        os.makedirs(keep, mode=0o700, exist_ok=True)
    totals = Totals()
    seeds = itertools.takewhile(lambda _: time.monotonic() < end, seeds_of(options))
    rounds = beside(options, seeds, keep) if options.jobs > 1 else (one(seed, keep) for seed in seeds)
    try:
        for number, (good, found, line) in enumerate(rounds, 1):
            totals.add(good, found)
            print('%3d  %s' % (number, line), flush=True)
    finally:
        totals.show()
    return 1 if totals.failed or not totals.passed else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
