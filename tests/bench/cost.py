# SPDX-License-Identifier: Apache-2.0
"""What a letter costs: the worker end to end, beside the ceiling of the same machine in the same run.

A: one worker takes sealed letters (half of them witnesses) from a private Redis and POSTs them over TLS 1.3 to nginx,
   256 in flight. From the queue's door to the signed result: nothing is left out.
B: a plain load generator POSTs the same documents to the same nginx over as many connections, and does nothing else.
C: the queue's scripts, called by a plain pipelined client: what Redis alone could carry.

A and B alternate. With --against BUILD the worker of another build runs between (A, A', B), and its scripts beside
ours.
"""
import os
import statistics
import time

import rig as rigs
from rig import BUILD, Broken, wait_until

IN_FLIGHT = 256
POSTS_MIN = 20000  # of the generator, which would be done with less in a moment
STEPS = {'XADD': 'XADD', 'TAKE': 'TAKE 32, with its intake', 'BEGIN': 'BEGIN', 'SETTLE': 'SETTLE'}
HOST = {c: {'concurrency': IN_FLIGHT // 2, 'office_concurrency': 256} for c in ('house', 'senate')}


class Sample:
    """What was used until a moment."""

    def __init__(self, rig, pid):
        self.time, self.done = time.monotonic(), rig.length('results')
        self.worker = rigs.cpu_us(pid)
        self.redis, self.nginx, self.machine = rig.redis_us(), rig.nginx_us(), rigs.machine_busy_us()

    def since(self, before):
        n = self.done - before.done
        wall = (self.time - before.time) * 1e6
        used = {name: getattr(self, name) - getattr(before, name) for name in ('worker', 'redis', 'nginx', 'machine')}
        foreign = used['machine'] - used['worker'] - used['redis'] - used['nginx']
        return {'rate': n / wall * 1e6, 'worker': used['worker'] / n, 'redis': used['redis'] / n,
                'nginx': used['nginx'] / n, 'foreign': 100 * max(0.0, foreign / wall)}


def run_worker(rig, warm, build=BUILD):
    """A: counted from the `warm`th result (handshakes are over then) to the last."""
    rig.load()
    rig.configure(build=build)
    worker = rig.start_worker('bench', HOST, build)

    def reached(n):
        worker.check()
        return rig.length('results') >= n
    wait_until(lambda: reached(warm), 120, 'first results', 0.005)
    before = Sample(rig, worker.pid)
    wait_until(lambda: reached(rig.n_letters), 600, 'results', 0.005)
    result = Sample(rig, worker.pid).since(before)
    result['rss'] = rigs.peak_kib(worker.pid) / 1024
    check_results(rig)
    check_lists(worker)
    rig.stop_workers()
    os.unlink(worker.log_path)
    return result


def check_results(rig):
    found = rig.stream('results')
    good = {(r['sid'], r['office']) for r in found if r['outcome'] == 'accepted'}
    if len(good) != rig.n_letters or len(found) != rig.n_letters:
        raise Broken('%d results, %d accepted, of %d letters' % (len(found), len(good), rig.n_letters))


def check_lists(worker):
    """The worker asked for the office lists, as it does in earnest."""
    events = [e for e in worker.events() if e.startswith('offices_')]
    if 'offices_failed' in events or events.count('offices_loaded') < 2:
        raise Broken('an office list could not be had: %s' % events)


def run_ceiling(rig, warm):
    """B"""
    count = max(POSTS_MIN, rig.n_letters - warm)
    before = rig.nginx_us()
    words = rig.tool('bench_post', count, warm, IN_FLIGHT, '127.0.0.1:%d' % rig.port, rig.path('cert.pem'),
                     rig.path('letters.xml'), *rigs.URLS.values()).split()
    return {'rate': int(words[0]) / float(words[1]), 'worker': float(words[2]) / int(words[0]),
            'nginx': (rig.nginx_us() - before) / (count + warm)}


def run_scripts(rig, build=BUILD):
    """C: { step: {calls/s, server us per call, server us per letter} }"""
    steps = {}
    text = rig.tool('bench_scripts', rig.redis_path, rig.n_letters, rig.path('letters.resp'), build=build)
    for line in text.splitlines():
        name, calls, jobs, seconds, us = line.split()
        steps[name] = {'rate': int(calls) / float(seconds), 'call': float(us) / int(calls),
                       'letter': float(us) / int(jobs)}
    return steps


# --- the table -------------------------------------------------------------------------------------

def column(samples, key):
    return [s[key] for s in samples]


def tell_worker(report, samples):
    report.row('worker CPU', column(samples, 'worker'), 'us/letter', 1)
    report.row('Redis CPU', column(samples, 'redis'), 'us/letter', 1)
    report.row('nginx CPU', column(samples, 'nginx'), 'us/letter', 1)
    report.row('letters', column(samples, 'rate'), '/s')
    report.row('peak memory (VmHWM) of the worker', column(samples, 'rss'), 'MiB', 1)
    report.row('CPU that others used meanwhile', column(samples, 'foreign'), '% of one CPU')


def tell_scripts(report, samples):
    for step in samples[0]:
        one = [s[step] for s in samples]
        report.row('%s: calls' % STEPS[step], column(one, 'rate'), '/s')
        report.row('%s: Redis CPU' % STEPS[step], column(one, 'call'), 'us/call', 1)
    letter = letter_us(samples)
    report.row('all four: Redis CPU', letter, 'us/letter', 1)
    report.say('  at most %.0f letters/s from one Redis' % (1e6 / statistics.median(letter)))


def letter_us(samples):
    return [sum(step['letter'] for step in s.values()) for s in samples]


def tell_against(report, a, old_a, c, old_c):
    report.say("A/A', C/C'  the same, with the other build beside it")
    for key, name in (('worker', 'worker CPU per letter'), ('redis', 'Redis CPU per letter')):
        report.row(name + ' of the other build', column(old_a, key), 'us', 1)
        report.row(name + ': ours / the other', [x[key] / y[key] for x, y in zip(a, old_a)], '', 2)
    for step in c[0]:
        report.row('%s alone: ours / the other' % step,
                   [x[step]['letter'] / y[step]['letter'] for x, y in zip(c, old_c)], '', 2)
    report.row('all four scripts alone: ours / the other',
               [x / y for x, y in zip(letter_us(c), letter_us(old_c))], '', 2)


def tell(report, rig, warm, a, b, c):
    report.say('%d letters a run (%d of them counted), %d in flight; A and B %d times each, alternating, C %d times; '
               'median (least to most)' % (rig.n_letters, rig.n_letters - warm, IN_FLIGHT, len(a), len(c)))
    report.say('This machine: %d CPUs, shared by worker, Redis, nginx and whatever else runs: CPU per letter is what '
               'counts, rates are noisy.' % os.cpu_count())
    report.say('A  the worker, from the door of the queue to the signed result')
    tell_worker(report, a)
    report.say('B  the ceiling: the same documents, the same nginx, %d connections' % IN_FLIGHT)
    report.row('load generator CPU', column(b, 'worker'), 'us/post', 1)
    report.row('nginx CPU', column(b, 'nginx'), 'us/post', 1)
    report.row('posts', column(b, 'rate'), '/s')
    report.say('C  the scripts alone, one pipelined caller, jobs of the same size')
    tell_scripts(report, c)
    report.say('A/B')
    report.row('CPU of the worker / CPU of the generator', [x['worker'] / y['worker'] for x, y in zip(a, b)], '', 2)
    report.row('letters/s / posts/s', [x['rate'] / y['rate'] for x, y in zip(a, b)], '', 2)


def measure(report, options):
    letters = 3000 if options.quick else max(2000, options.letters)
    pairs = 2 if options.quick else options.pairs
    warm = max(2 * IN_FLIGHT, letters // 10)
    a, old_a, b, c, old_c = [], [], [], [], []
    with rigs.Rig() as rig:
        rig.seal(letters, rigs.mixed_offices())
        for _ in range(pairs):
            a.append(run_worker(rig, warm))
            if options.against:
                old_a.append(run_worker(rig, warm, options.against))
            b.append(run_ceiling(rig, warm))
        for _ in range(pairs):
            c.append(run_scripts(rig))
            if options.against:
                old_c.append(run_scripts(rig, options.against))
        tell(report, rig, warm, a, b, c)
    if options.against:
        tell_against(report, a, old_a, c, old_c)
    report.bar('every letter was accepted once', True)  # run_worker() does not come back otherwise


PARTS = (measure,)
