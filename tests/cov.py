#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Line coverage of the pure modules by their unit tests.

usage: cov.py BUILD_DIR TEST...

BUILD_DIR holds a build with --coverage (make VARIANT=cov); each TEST is a program of BUILD_DIR/unit. Prints one table;
ends with 1 when a test fails, or when fewer than 95 % of the lines of a group were executed, and then lists the others.
"""
import glob
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WANTED = 95.0

# Everything that takes bytes and time and returns values. What opens sockets is tested in tests/it.
GROUPS = {
    'cwc': ['cwc/*.c'],
    'formats': ['queue/job.c', 'queue/envelope*.c', 'queue/witness.c', 'queue/hkdf.c'],
    'config': ['config/*.c'],
    'pipeline': ['worker/%s.c' % f for f in ('pipeline', 'decide', 'prepare', 'pace', 'seen', 'recent', 'watch', 'metrics',
                                             'store', 'status_nonce')],
    'codec': ['queue/resp.c', 'queue/queue_reply.c'],
    'base': ['worker/base/%s.c' % f for f in ('buf', 'text', 'cbor', 'cose', 'addr', 'log')],
    'attest': ['attest/*.c'],
}
NOT_MEASURED = {'config/gen.c', 'attest/anchor.c'}  # a tool; no code


def sources(patterns):
    found = sorted(f for p in patterns for f in glob.glob(p, root_dir=ROOT))
    for p in patterns:
        assert glob.glob(p, root_dir=ROOT), 'no file is called ' + p
    return [f for f in found if f not in NOT_MEASURED]


def forget_counts(build):
    for folder, _, names in os.walk(build):
        for name in names:
            if name.endswith('.gcda'):
                os.remove(os.path.join(folder, name))


def run_tests(build, tests):
    """The names of those that fail."""
    failed = []
    for name in tests:
        p = subprocess.run([os.path.join(build, 'unit', name)], cwd=ROOT, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300)
        if p.returncode != 0:
            failed.append(name)
            sys.stdout.write(p.stdout.decode(errors='replace'))
    return failed


def count_lines(build, source):
    """{ line: how often it was executed } of the lines with code."""
    notes = os.path.join(build, source[:-2] + '.gcno')
    p = subprocess.run(['gcov', '--json-format', '--stdout', notes], cwd=ROOT, check=False, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL)
    if p.returncode != 0:
        sys.exit('cov: gcov cannot read %s; is a test older than the objects? Remove %s and build again' % (
            notes, build))
    counts = {}
    for text in p.stdout.splitlines():
        for f in json.loads(text)['files']:
            if f['file'] == source:
                for line in f['lines']:
                    n = line['line_number']
                    counts[n] = max(counts.get(n, 0), line['count'])
    assert counts, notes + ' says nothing about ' + source
    return counts


def ranges(lines):
    """[3, 4, 5, 9] as "3-5 9"."""
    parts = []
    for n in sorted(lines):
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ' '.join('%d' % a if a == b else '%d-%d' % (a, b) for a, b in parts)


def row(name, covered, total, mark=''):
    print('  %-34s %6d %6d %7.1f %%%s' % (name, covered, total, 100.0 * covered / total, mark))


def report(build):
    """Prints the table; the groups that have too little, with their lines."""
    poor = {}
    print('  %-34s %6s %6s' % ('', 'run', 'lines'))
    for group, patterns in GROUPS.items():
        files = {f: count_lines(build, f) for f in sources(patterns)}
        missed = {f: [n for n, count in c.items() if count == 0] for f, c in files.items()}
        total = sum(len(c) for c in files.values())
        covered = total - sum(len(m) for m in missed.values())
        for f, c in files.items():
            row('  ' + f, len(c) - len(missed[f]), len(c))
        enough = 100.0 * covered >= WANTED * total
        row(group, covered, total, '' if enough else '   <-- %g %% wanted' % WANTED)
        if not enough:
            poor[group] = {f: m for f, m in missed.items() if m}
    return poor


def main(argv):
    if len(argv) < 3:
        print(__doc__, file=sys.stderr)
        return 64
    build = os.path.abspath(argv[1])
    forget_counts(build)
    failed = run_tests(build, argv[2:])
    poor = report(build)
    for group, files in poor.items():
        print('\nnot run in %s:' % group)
        for f, lines in files.items():
            print('  %s: %s' % (f, ranges(lines)))
    for name in failed:
        print('FAILED: ' + name)
    return 1 if failed or poor else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
