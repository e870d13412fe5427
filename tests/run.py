#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs side by side and reports each in one line.

usage: run.py [--jobs N] [--timeout SECONDS] NAME=COMMAND...

Of those that fail or take too long the output is shown at the end. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import os
import shlex
import signal
import subprocess
import sys
import time


def run(name, command, timeout):
    start = time.monotonic()
    p = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=timeout)
        status = p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, _ = p.communicate()
        status = f'killed after {timeout} s'
    return name, status, out.decode(errors='replace'), time.monotonic() - start


def main():
    a = argparse.ArgumentParser()
    # Most of them wait for something most of the time.
    a.add_argument('--jobs', type=int, default=(os.cpu_count() or 1) + 1)
    a.add_argument('--timeout', type=float, default=300)
    a.add_argument('test', nargs='+')
    o = a.parse_args()
    tests = [t.split('=', 1) for t in o.test]
    failed = []
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        for f in concurrent.futures.as_completed([pool.submit(run, n, c, o.timeout) for n, c in tests]):
            name, status, out, seconds = f.result()
            if status == 0:
                print(f'  ok    {name} ({seconds:.1f} s)', flush=True)
            else:
                failed.append((name, status, out))
                print(f'  FAIL  {name} ({seconds:.1f} s): status {status}', flush=True)
    for name, status, out in failed:
        print(f'\n--- {name}: status {status}\n{out}')
    for name, _, _ in failed:
        print(f'  FAIL  {name}')
    print(f'{len(tests) - len(failed)} passed, {len(failed)} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
