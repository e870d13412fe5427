#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs side by side and reports each in one line, with its time and that of the processors.

usage: run.py [--jobs N] [--timeout SECONDS] [--first FILE] NAME=COMMAND...

--first: a file with the names of those that take longest, to be started first; all of them must be there.
Of those that fail or take too long the output is shown at the end. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time


def run(name, command, timeout):
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                             start_new_session=True)
        late = threading.Timer(timeout, os.killpg, (p.pid, signal.SIGKILL))
        late.start()
        _, status, usage = os.wait4(p.pid, 0)
        killed = not late.is_alive()
        late.cancel()
        p.returncode = status = f'killed after {timeout:g} s' if killed else os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors='replace')
    return name, status, text, time.monotonic() - start, usage.ru_utime + usage.ru_stime


def in_order(tests, path):
    """Those that take longest first: else the last one to start is waited for alone."""
    with open(path, encoding='utf-8') as f:
        first = [line.strip() for line in f if line.strip() and not line.startswith('#')]
    names = [name for name, _ in tests]
    if missing := set(first) - set(names):
        sys.exit(f'{path}: there is no {", ".join(sorted(missing))}')
    return sorted(tests, key=lambda t: first.index(t[0]) if t[0] in first else len(first))


def main():
    a = argparse.ArgumentParser()
    # Most of them wait for something most of the time.
    a.add_argument('--jobs', type=int, default=(os.cpu_count() or 1) + 2)
    a.add_argument('--timeout', type=float, default=300)
    a.add_argument('--first')
    a.add_argument('test', nargs='+')
    o = a.parse_args()
    tests = [t.split('=', 1) for t in o.test]
    if o.first:
        tests = in_order(tests, o.first)
    failed, began, sums = [], time.monotonic(), [0, 0]
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        for f in concurrent.futures.as_completed([pool.submit(run, n, c, o.timeout) for n, c in tests]):
            name, status, out, seconds, cpu = f.result()
            sums = [sums[0] + seconds, sums[1] + cpu]
            if status == 0:
                print(f'  ok    {name} ({seconds:.1f} s, {cpu:.1f} s CPU)', flush=True)
            else:
                failed.append((name, status, out))
                print(f'  FAIL  {name} ({seconds:.1f} s, {cpu:.1f} s CPU): status {status}', flush=True)
    for name, status, out in failed:
        print(f'\n--- {name}: status {status}\n{out}')
    for name, _, _ in failed:
        print(f'  FAIL  {name}')
    print(f'{time.monotonic() - began:.0f} s, {o.jobs} at a time: {sums[0]:.0f} s of tests, {sums[1]:.0f} s of CPU')
    print(f'{len(tests) - len(failed)} passed, {len(failed)} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
