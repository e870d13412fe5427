#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails command k of one script call, for every call of a list of scenes and every k that exists, once alone and once
with all that follow; then lets the world run on and checks the invariants.

A scene (scenes.py) brings the queue into a known state and names the call under test. After the failing call the check
runs at once; then workers and operators of sim.py go on in calm until everything has ended, and the final check runs.

  exhaust.py            every k          exhaust.py --short    every sixth k and each scene's first and last (about 20 s)
"""
import argparse
import sys
import time

from invariants import Bad
from rq import Server, load
from scenes import COUNT, SCENES, Scene


def run_one(r, sha, name, k, seed=8):
    s = Scene(r, sha, seed)
    SCENES[name](s, k)
    s.sim.drain()
    return s.commands


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--short', action='store_true')
    p.add_argument('--scene', default='', help='only scenes whose name begins so')
    a = p.parse_args()
    server, runs, bad, start = Server(), 0, [], time.time()
    try:
        sha = load(server.r, inject=True)
        for at, name in enumerate(SCENES):
            if not name.startswith(a.scene):
                continue
            n = run_one(server.r, sha, name, COUNT)
            for k in range(1, n + 1):
                if a.short and (k + at) % 6 and k not in (1, n):
                    continue
                for sign in (1, -1):
                    runs += 1
                    try:
                        run_one(server.r, sha, name, sign * k)
                    except Bad as e:
                        bad.append((name, sign * k, str(e)[:400]))
            print('%-26s commands %3d, failed so far %d, %.0f s' % (name, n, len(bad), time.time() - start), flush=True)
    finally:
        server.stop()
    for b in bad[:20]:
        print(*b)
    print('exhaust: scenes %d, runs %d, failed %d, %.0f s' % (len(SCENES), runs, len(bad), time.time() - start))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
