#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Gives a fuzz target, built by gcc with driver.c, its corpus and then changed copies of it: the same ones each time.

usage: replay.py PROGRAM NAME [COUNT]

NAME is that of the target (fuzz_cbor); its inputs are the files of corpus/cbor. A target without inputs is an error:
changes of nothing would prove nothing. After a failure the input at fault is kept in build/fuzz/.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, '..', '..', 'build', 'fuzz')
SEED = 20260302
COUNT = 20000
TIMEOUT_S = 240


def corpus(name):
    folder = os.path.join(HERE, 'corpus', name.removeprefix('fuzz_'))
    if not os.path.isdir(folder):
        return []
    return sorted(os.path.join(folder, f) for f in os.listdir(folder))


def drive(program, count, files, env=None):
    return subprocess.run([program, str(SEED), str(count), *files], timeout=TIMEOUT_S, check=False, env=env).returncode


def keep_input(program, name, count, files):
    """The same run again, which writes each input down before it tries it: the last one is at fault."""
    os.makedirs(KEPT, exist_ok=True)
    path = os.path.normpath(os.path.join(KEPT, name + '.crash'))
    if drive(program, count, files, {**os.environ, 'FUZZ_LAST': path}) != 0:
        print('replay: the input is in', path, file=sys.stderr)


def main(argv):
    if len(argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 64
    program, name = argv[1:3]
    count = int(argv[3]) if len(argv) == 4 else COUNT
    files = corpus(name)
    if not files:
        print('replay: %s has no corpus' % name, file=sys.stderr)
        return 1
    status = drive(program, count, files)
    if status != 0:
        keep_input(program, name, count, files)
    return 0 if status == 0 else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv))
