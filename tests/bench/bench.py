#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the worker costs and what it keeps to, each figure beside its bar.

usage: bench.py [--quick] [--only SECTION,...] [--letters N] [--pairs N] [--against BUILD]

cost        CPU per letter, beside the ceiling of the same machine
rates       eight workers and one rate limit: never above it, and nearly all of it used
fairness    one dead office and one limited office among 500; a Senate that never answers
flood       100,000 letters to one office, then one to another
recovery    kill -9 of a worker with letters in flight
roundtrips  commands to Redis per letter, with and without replicas
attest      verifying attestation documents and receipts, beside their signatures

Everything lies in temporary directories and on loopback, and is gone at the end. Ends with 1 when a bar is missed; a
part whose bar on time is missed is measured again, three times in all.
"""
import argparse
import importlib
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import rig  # noqa: E402
from report import Report  # noqa: E402
from rig import BenchError, Broken  # noqa: E402

SECTIONS = ('cost', 'rates', 'fairness', 'flood', 'recovery', 'roundtrips', 'attest')
TRIES = 3
QUIET_WAIT_S, QUIET_PERCENT = 20, 25


def parse():
    p = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    p.add_argument('--quick', action='store_true', help='a short form of each section, together less than 90 s')
    p.add_argument('--only', default=','.join(SECTIONS), help='sections, with commas between')
    p.add_argument('--letters', type=int, default=int(os.environ.get('LETTERS') or 20000),
                   help='of a run of `cost`; default 20000')
    p.add_argument('--pairs', type=int, default=3, help='runs of each side of `cost`; default 3')
    p.add_argument('--against', type=os.path.abspath, help='a build directory whose worker `cost` runs beside ours')
    o = p.parse_args()
    o.only = o.only.split(',')
    for name in o.only:
        if name not in SECTIONS:
            p.error('no section %s; there are %s' % (name, ', '.join(SECTIONS)))
    o.pairs = max(1, o.pairs)
    return o


def missing():
    for program in ('redis-server', 'redis-cli', 'nginx', 'openssl'):
        if shutil.which(program) is None:
            return '%s is not installed; `ops/install-deps test` installs it' % program
    if not os.path.exists(rig.ECHO_MODULE):
        return '%s is missing; the Debian package is libnginx-mod-http-echo' % rig.ECHO_MODULE
    return None


class Usage:
    """CPU time of the whole machine, and of this program with all that it started and saw end."""

    def __init__(self):
        self.time, self.machine, own = time.monotonic(), rig.machine_busy_us() / 1e6, os.times()
        self.own = own.user + own.system + own.children_user + own.children_system

    def others(self, before):
        """The share of the machine that others used, in per cent."""
        foreign = (self.machine - before.machine) - (self.own - before.own)
        return 100 * max(0.0, foreign) / (self.time - before.time) / os.cpu_count()


def wait_for_quiet():
    """What was missed is measured again when others leave the machine alone, or after a while all the same."""
    end = time.monotonic() + QUIET_WAIT_S
    while time.monotonic() < end:
        before = Usage()
        time.sleep(1)
        if Usage().others(before) < QUIET_PERCENT:
            return


def run_part(part, options):
    """The bars of the last try."""
    for attempt in range(1, TRIES + 1):
        report, before = Report(), Usage()
        try:
            part(report, options)
        except (BenchError, TimeoutError) as e:
            report.bar('it comes to an end: %s' % e, False, timed=True)
        except (Broken, RuntimeError, OSError) as e:
            report.bar('it comes to an end: %s' % e, False)
        after = Usage()
        print('  %.0f s; others used %.0f %% of the machine' % (after.time - before.time, after.others(before)),
              flush=True)
        if not report.may_repeat() or attempt == TRIES:
            return report.bars
        print('  missed, perhaps by noise: again (%d of %d)' % (attempt + 1, TRIES), flush=True)
        wait_for_quiet()


def run_section(name, options):
    module = importlib.import_module(name)
    print('\n=== %s: %s' % (name, module.__doc__.split('\n', maxsplit=1)[0]), flush=True)
    return [bar for part in module.PARTS for bar in run_part(part, options)]


def main():
    options = parse()
    why = missing()
    if why:
        print('bench: ' + why, file=sys.stderr)
        return 77
    missed = []
    for name in options.only:
        missed += ['%s: %s' % (name, what) for what, good, _ in run_section(name, options) if not good]
    print('\n%s' % ('every bar is passed' if not missed else 'MISSED:\n  ' + '\n  '.join(missed)))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
