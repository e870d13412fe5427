#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds every fuzz target with clang and libFuzzer and runs each for a while. One table; a crash fails it.

usage: run.py [--seconds N] [--seed N] [--build DIR] [TARGET...]

Needs the Debian packages clang and libclang-rt-14-dev (status 77 without them). The corpus in the tree is not
changed: each target works on a copy. Inputs that crashed are kept in DIR, by default build/fuzz.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SANITIZERS = 'address,undefined'
FLAGS = '-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all'
INPUT_MAX = 131072
RSS_LIMIT_MB = 2048
SKIPPED = 77


def make(*words):
    return subprocess.run(['make', '-s', *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def can_link():
    """Whether clang is there with the runtime of libFuzzer; says what is missing."""
    if shutil.which('clang') is None:
        print('fuzz: clang is not installed; the Debian packages are clang and libclang-rt-14-dev', file=sys.stderr)
        return False
    program = 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return p == 0 && n == 1; }'
    with tempfile.TemporaryDirectory() as folder:
        p = subprocess.run(['clang', '-fsanitize=fuzzer,' + SANITIZERS, '-x', 'c', '-', '-o', folder + '/a'],
                           input=program, text=True, capture_output=True, check=False)
    if p.returncode != 0:
        print('fuzz: clang cannot link with libFuzzer; the Debian package is libclang-rt-14-dev', file=sys.stderr)
    return p.returncode == 0


def build_target(name, folder, libs):
    """Through the makefile's own rules, so that sources and flags are those of the library."""
    compiled = '%s -fsanitize=fuzzer-no-link,%s' % (FLAGS, SANITIZERS)
    target = '%s/tests/fuzz/%s.o' % (folder, name)
    make('CC=clang', 'B=' + folder, 'WARN=', 'CFLAGS_release=' + compiled, folder + '/libcwc.a', target)
    program = os.path.join(folder, name)
    subprocess.run(['clang', '-fsanitize=fuzzer,' + SANITIZERS, target, folder + '/libcwc.a', '-o', program,
                    *libs.split()], cwd=ROOT, check=True)
    return program


def seeds(name, folder):
    """A copy of the corpus that libFuzzer may add to."""
    source = os.path.join(HERE, 'corpus', name.removeprefix('fuzz_'))
    target = os.path.join(folder, name)
    shutil.copytree(source, target)
    return target


def stat(text, name):
    found = re.findall(r'^stat::%s:\s*(\d+)' % name, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def run_target(program, name, corpus, o, folder):
    """(runs, runs/s, coverage, crashes, output)"""
    prefix = os.path.join(folder, name + '-')
    before = set(os.listdir(folder))
    p = subprocess.run([program, '-max_total_time=%d' % o.seconds, '-seed=%d' % o.seed, '-max_len=%d' % INPUT_MAX, '-print_final_stats=1',
                        '-rss_limit_mb=%d' % RSS_LIMIT_MB, '-timeout=10', '-artifact_prefix=' + prefix, corpus],
                       capture_output=True, check=False, timeout=o.seconds + 120)
    text = p.stderr.decode(errors='replace')
    crashes = sorted(set(os.listdir(folder)) - before)
    if p.returncode != 0 and not crashes:
        crashes = ['status %d' % p.returncode]
    covered = re.findall(r' cov: (\d+)', text)
    return (stat(text, 'number_of_executed_units'), stat(text, 'average_exec_per_sec'),
            int(covered[-1]) if covered else 0, crashes, text)


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--seconds', type=int, default=60, help='for each target')
    a.add_argument('--seed', type=int, default=0, help='of the mutations; 0: another one each time')
    a.add_argument('--build', default=os.path.join(ROOT, 'build', 'fuzz'), metavar='DIR')
    a.add_argument('target', nargs='*', help='default: all')
    o = a.parse_args()
    if not can_link():
        return SKIPPED
    folder = os.path.abspath(o.build)
    os.makedirs(folder, exist_ok=True)
    names = o.target or sorted(make('print-FUZZ').split())
    libs = make('print-PKG_LIBS')
    programs = {name: build_target(name, folder, libs) for name in names}
    print('%-14s %12s %10s %8s %8s' % ('target', 'runs', 'runs/s', 'edges', 'crashes'))
    failed = []
    with tempfile.TemporaryDirectory(prefix='fuzz-') as work:
        for name, program in programs.items():
            runs, rate, edges, crashes, text = run_target(program, name, seeds(name, work), o, folder)
            print('%-14s %12d %10d %8d %8d' % (name, runs, rate, edges, len(crashes)), flush=True)
            if crashes:
                failed.append((name, crashes, text))
    for name, crashes, text in failed:
        print('\n%s: %s, kept in %s\n%s' % (name, ', '.join(crashes), folder, text[-4000:]))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
