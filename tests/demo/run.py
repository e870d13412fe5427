#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The main job before your eyes: a private Redis, simulated chambers, one worker, a mixed batch of sample letters, and
the proof of what came of them.

usage: run.py [--letters N] [--seed S] [--hold]

Ends with 0 when every letter had the outcome that was expected of it, the chambers' own records agree with the results
one to one, and every receipt is proved. Leaves nothing running and nothing behind. Needs a development build: it has
what plays the hypervisor.
"""
import argparse
import collections
import hashlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'it'))
from stack import DEV_BUILD, Stack, letters  # noqa: E402

CTL = os.path.join(DEV_BUILD, 'cwcctl')
IMAGE = 'demonstration'  # what the simulated hypervisor measures; tests/sim/attestor_sim.c
TABLE_MAX = 120
CHUNK = 100

# Trouble on the way, each at an office of its own so that it is plain what comes of it.
TROUBLES = [
    ('HAK00', 'letter', {'action': 'status', 'status': 429, 'retry_after': 1, 'count': 1}, 'accepted',
     '429 once, then taken'),
    ('HWY00', 'letter', {'action': 'status', 'status': 503, 'count': 1}, 'outcome_unknown',
     '503 after the letter was read: the House does not say whether it was taken'),
    ('HVT00', 'letter', {'action': 'reset_after_body', 'record': True, 'count': 1}, 'outcome_unknown',
     'connection lost after the letter left'),
    ('SWY01', 'letter', {'action': 'accept_then_500', 'count': 1}, 'accepted_earlier',
     'taken, answered 500; sent again under the same id: 409'),
    ('SVT03', 'letter', {'action': 'reset_after_body', 'record': False, 'count': 1}, 'accepted',
     'lost before it was taken; sent again under the same id'),
    ('HDE00', 'letter', {'action': 'status', 'status': 400, 'count': 1}, 'rejected_by_chamber', 'the chamber says 400'),
]


def submissions(total, seed):
    """Bad ones first: each named one once where there is room, else a spread of them; then the troubles; then good ones."""
    bad = list(letters.bad().values())
    room = max(0, min(len(bad), total // 2))
    chosen = [bad[i * len(bad) // room] for i in range(room)] if room else []
    trouble = []
    for office, profile, rule, outcome, why in TROUBLES[:max(0, total - room)]:
        s = letters.base('trouble-' + office, profile, office)
        s['expect'] = letters.ends(outcome)
        s['why'] = why
        trouble.append((s, {**rule, 'office': office, 'chamber': 'house' if office[0] == 'H' else 'senate'}))
    taken = {t[0]['offices'][0] for t in trouble}
    good = []
    for s in letters.sample(10 * total + 100, seed):
        if len(good) == total - len(chosen) - len(trouble):
            break
        if not taken & set(s['offices']):
            good.append(s)
    return good, chosen, trouble


def rows(stack, batch):
    """(name, office, profile, expected, found, detail, ok) for every letter to every office."""
    results = {}
    for r in stack.results():
        if r['state'] != 'late':
            results[r['sid'], r['office']] = r
    refused = {r['sid']: r for r in stack.stream('refused')}
    for s in batch:
        entry = {'sid': s['sid'], 'offices': s['offices'], **s['spoil'].get('entry', {})}
        for office in entry['offices']:
            expect = letters.expected(s, office)
            r = results.get((entry['sid'], office))
            if expect['stream'] == 'refused':
                f = refused.get(entry['sid'])
                found, detail = ('refused', f.get('detail', f['why'])) if f and not r else (r['outcome'], '') if r else ('-', '')
                ok = found == 'refused' and detail.startswith(expect['detail'])
                yield s['name'], office, s['profile'], 'refused', found, detail, ok, None
            else:
                found, detail = (r['outcome'], r['detail']) if r else ('-', '')
                ok = found == expect['outcome'] and detail.startswith(expect['detail'])
                yield s['name'], office, s['profile'], expect['outcome'], found, detail, ok, r


def expected_counts(batch):
    results = refused = 0
    for s in batch:
        for office in s['spoil'].get('entry', {}).get('offices', s['offices']):
            if letters.expected(s, office)['stream'] == 'refused':
                refused += 1
            else:
                results += 1
    return results, refused


class Progress:
    """One line that is rewritten on a terminal, or one line a second elsewhere."""

    def __init__(self, stack, want):
        self.stack, self.want, self.start, self.shown = stack, want, time.monotonic(), 0.0
        self.tty = sys.stdout.isatty()

    def show(self, enqueued, last=False):
        results = int(self.stack.redis('XLEN', self.stack.key('results')))
        refused = int(self.stack.redis('XLEN', self.stack.key('refused')))
        elapsed = time.monotonic() - self.start
        if self.tty or last or elapsed - self.shown >= 1:
            self.shown = elapsed
            line = '  %5.1f s   %d enqueued, %d of %d settled (%d results, %d refused)' % (
                elapsed, enqueued, results + refused, self.want, results, refused)
            print('\r' + line if self.tty else line, end='' if self.tty and not last else '\n', flush=True)
        return results, refused, elapsed


def deliver(stack, worker, batch, want_results, want_refused, limit_s):
    """Enqueues the batch and waits for its results. Returns the seconds that it took."""
    progress = Progress(stack, want_results + want_refused)
    for i in range(0, len(batch), CHUNK):
        stack.submit(*batch[i:i + CHUNK])
        progress.show(min(len(batch), i + CHUNK))
    while True:
        results, refused, elapsed = progress.show(len(batch))
        if results >= want_results and refused >= want_refused:
            progress.show(len(batch), last=True)
            return elapsed
        if elapsed > limit_s or worker.process.poll() is not None:
            print('\nnot finished after %.0f s; the end of the log of the worker:\n%s' % (elapsed, worker.tail()))
            return elapsed
        time.sleep(0.1)


def check_records(stack, table):
    """What the chambers took, against what the results claim. Returns the complaints."""
    took = collections.Counter(r['delivery_id'] for r in stack.sim.records() if r.get('accepted'))
    claimed = collections.Counter()
    unknown = set()
    for name, office, _profile, _expect, found, _detail, _ok, r in table:
        if found.startswith('accepted'):
            claimed[r['delivery_id']] += 1
        elif found == 'outcome_unknown':
            unknown.add(r['delivery_id'])
    wrong = ['%s: accepted says the result, the chamber has it %d times' % (i, took[i]) for i in claimed if took[i] != 1]
    wrong += ['%s: the chamber took it, no result says so' % i for i in took if i not in claimed and i not in unknown]
    wrong += ['%s: taken %d times' % (i, n) for i, n in took.items() if n > 1]
    return wrong, len(claimed), len(took)


def print_table(table):
    shown = table if len(table) <= TABLE_MAX else [t for t in table if not t[6] or t[4] != 'accepted']
    print('\n  %-28s %-6s %-8s %-20s %s' % ('letter', 'office', 'profile', 'outcome', 'detail'))
    for name, office, profile, expect, found, detail, ok, r in shown:
        status = '' if not r or r['http_status'] == '0' else r['http_status']
        note = '' if ok else '   <-- expected ' + expect
        print('  %-28s %-6s %-8s %-20s %s%s' % (name, office, profile, found, ' '.join(filter(None, (status, detail))), note))
    if len(shown) < len(table):
        print('  ... and %d letters that were accepted, as expected' % (len(table) - len(shown)))


def releases():
    """The manifest of the only release: what `cwcctl attest measure` writes of an image."""
    lines = ['release ' + IMAGE]
    for i, part in enumerate(('image', 'kernel', 'application')):
        content = hashlib.sha384(('%s %s' % (part, IMAGE)).encode()).digest()
        lines.append('pcr%d %s' % (i, hashlib.sha384(bytes(48) + content).hexdigest()))
    return '\n'.join(lines) + '\n'


def export(stack):
    """What a proof needs, in files: results, the boots that signed them, and which images are good."""
    for name, words in (('results.jsonl', ['results', '--json']), ('boots.json', ['keys', '--json', '--count', '100000'])):
        with open(stack.path(name), 'wb') as out:
            subprocess.run([CTL, *words, '--redis', 'unix:' + stack.redis_path], stdout=out, timeout=60, check=True)
    with open(stack.path('releases.txt'), 'w', encoding='ascii') as out:
        out.write(releases())


def prove(stack):
    """Shows the proof of all receipts, from files alone. Returns the complaints."""
    words = ['receipts', 'verify', 'results.jsonl', '--documents', 'boots.json', '--manifest', 'releases.txt',
             '--environment', 'sandbox', '--queue', stack.queue]
    print('\nEvery result has a receipt that the worker signed, by a key that an attestation document names. Offline:\n')
    print('$ cwcctl ' + ' '.join(words), flush=True)
    status = subprocess.run([CTL, *words, '--quiet'], cwd=stack.dir, stderr=subprocess.DEVNULL, timeout=300,
                            check=False).returncode
    print('The documents are SIMULATED: a program of this machine plays the hypervisor, and its root is none that a\n'
          'release program takes. In an enclave the same command proves the same of the real one.')
    return [] if status == 0 else ['receipts that are not good: cwcctl receipts verify ends with %d' % status]


def look_further(stack, table, hold):
    redis = ['--redis', 'unix:' + stack.redis_path]
    sid = next((t[7]['sid'] for t in table if t[7]), None)
    commands = [['depth'], ['status', sid]] if sid else [['depth']]
    for words in commands:
        print('\n$ cwcctl %s' % ' '.join(words))
        sys.stdout.flush()
        subprocess.run([CTL, *words, *redis], timeout=20, check=False)
    print('\nLook further with: cwcctl status SID | results --verify | dead list | offices | keys | outcomes; see cwcctl(1).')
    if hold:
        print('Everything is still up. In another terminal:\n  %s depth %s' % (CTL, ' '.join(redis)))
        input('Press Enter to end. ')
    else:
        print('`make run HOLD=1` keeps everything up so that you can try them.')


def play(stack, o):
    good, bad, trouble = submissions(o.letters, o.seed)
    for _, rule in trouble:
        stack.sim.fault(**rule)
    worker = stack.start_worker(env={'CWC_SIM_IMAGE': IMAGE})
    stack.learn_keys()
    batch = good + bad + [s for s, _ in trouble]
    want_results, want_refused = expected_counts(batch)
    print('The worker is ready: it made its keys at boot and published the public halves, with a document that says which\n'
          'program holds the others; the browsers seal to those.')
    print('Enqueueing %d submissions, letters to %d offices: %d good, %d bad, %d that meet trouble on the way.' % (
        len(batch), want_results + want_refused, len(good), len(bad), len(trouble)))
    elapsed = deliver(stack, worker, batch, want_results, want_refused, 60 + o.letters / 20)
    table = list(rows(stack, batch))
    print_table(table)
    for s, _ in trouble:
        print('  %s: %s' % (s['name'], s['why']))
    wrong, claimed, took = check_records(stack, table)
    export(stack)
    wrong += prove(stack)
    look_further(stack, table, o.hold)
    status = worker.stop()
    if status != 0:
        wrong.append('the worker ended with status %s' % status)
    print()
    for w in wrong:
        print('WRONG: ' + w)
    counts = collections.Counter(t[4] for t in table)
    off = sum(not t[6] for t in table)
    words = ', '.join('%d %s' % (n, k) for k, n in counts.most_common())
    verdict = 'all as expected' if not off and not wrong else '%d NOT AS EXPECTED' % (off + len(wrong))
    print('%d letters in %.1f s to simulated chambers: %s; %d claimed accepted, %d taken by the chambers; %s' % (
        len(table), elapsed, words, claimed, took, verdict))
    return 0 if not off and not wrong else 1


def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--letters', type=int, default=60)
    a.add_argument('--seed', type=int, default=1)
    a.add_argument('--hold', action='store_true', help='keep everything up at the end until Enter is pressed')
    o = a.parse_args()
    if not os.path.exists(CTL):
        print('run: %s is missing; `make run` builds it' % CTL, file=sys.stderr)
        return 69
    for program in ('redis-server', 'openssl'):
        if shutil.which(program) is None:
            print('run: %s is not installed; ops/install-deps installs it' % program, file=sys.stderr)
            return 69
    print('Congress is SIMULATED here, and so is the enclave: the House, the Senate and the hypervisor are programs on this\n'
          'machine. Nothing leaves it.')
    with Stack(key_source='boot', device='simulated', jobs={'key_wait': '1s', 'backoff_base': '200ms', 'backoff_cap': '2s'},
               senate={'total_timeout': '2s', 'first_byte_timeout': '2s', 'connect_timeout': '2s'},
               worker={'log_level': 'info'}) as stack:
        return play(stack, o)


if __name__ == '__main__':
    sys.exit(main())
