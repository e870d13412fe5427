#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Randomised model checker of the queue scripts. Every run prints its seed when it fails.

  check.py                                        about 20 s
  check.py --runs 30 --faults .1 --lost .08       a command fails in 10 % of the script calls, 8 % of the replies get lost
  check.py --runs 30 --forgotten .4               40 % of the SETTLEs after a POST are forgotten by a failover (5 % by default)
  check.py --runs 20 --clock --lost .03           the server's clock steps by 4 s and by 1 h, both ways
  check.py --runs 10 --sick --steps 1500          receivers are often away: breakers
"""
import argparse
import collections
import sys
import time

from invariants import Bad
from rq import Server, load
from sim import Options, Sim


def run(r, sha, seed, options, trace=''):
    """Returns the statistics, or raises Bad."""
    sim = Sim(r, sha, seed, options)
    try:
        sim.go()
    except Bad:
        if trace:
            for line in sim.log:
                if trace in str(line) or line[0] == 'LOST':
                    print('   ', str(line)[:300])
        raise
    return sim.stat


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--runs', type=int, default=6)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--steps', type=int, default=600)
    p.add_argument('--faults', type=float, default=0)
    p.add_argument('--lost', type=float, default=0)
    p.add_argument('--forgotten', type=float, default=.05)
    p.add_argument('--clock', action='store_true')
    p.add_argument('--sick', action='store_true')
    p.add_argument('--trace', default='', help='print the calls that mention this text when a run fails, and stop')
    a = p.parse_args()
    options = Options()
    options.steps, options.faults, options.lost, options.clock = a.steps, a.faults, a.lost, a.clock
    options.forgotten, options.sick = a.forgotten, a.sick
    total, failed, start, server = collections.Counter(), 0, time.time(), Server()
    try:
        sha = load(server.r, inject=True)
        for seed in range(a.seed, a.seed + a.runs):
            try:
                total += run(server.r, sha, seed, options, a.trace)
            except Bad as e:
                failed += 1
                print('seed %d: %s' % (seed, str(e)[:1000]), flush=True)
                if a.trace:
                    break
    finally:
        server.stop()
    print('check: seeds %d..%d, %.0f s, failed %d' % (a.seed, a.seed + a.runs - 1, time.time() - start, failed))
    print('  ' + ', '.join('%s %d' % kv for kv in sorted(total.items())))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
