#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl depth in its four forms, the exporter, and scale, beside a real Redis."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CONFIG, OK, ROOT, SECOND, UNAVAILABLE, USAGE, QueueCase, rq, wait_until  # noqa: E402

LINE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{([^}]*)\})? (-?[0-9.]+)$')
SERIES = {'up', 'redis_time_seconds', 'depth', 'oldest_age_seconds', 'arrival_rate', 'drain_rate', 'scalable_backlog', 'workers',
          'workers_idle', 'breaker_open', 'offices_held', 'offices', 'dead', 'unknown', 'stuck', 'refused', 'results', 'in',
          'in_oldest_age_seconds'}
MEASURED = os.path.join(ROOT, 'config', 'example', 'measured.conf')
HOST = os.path.join(ROOT, 'config', 'example', 'host.conf')


def parse(text):
    """{(name, labels): value}. Strict: HELP, then TYPE, then all lines of a series, none twice."""
    found, helped, typed, current = {}, set(), set(), None
    assert text.endswith('\n')
    for line in text.splitlines():
        if line.startswith('# HELP '):
            name = line.split()[2]
            assert name not in helped and line.split(' ', 3)[3], line
            helped.add(name)
            current = name
        elif line.startswith('# TYPE '):
            assert line.split()[2:] == [current, 'gauge'] and current not in typed, line
            typed.add(current)
        else:
            name, labels, value = LINE.match(line).groups()
            assert name == current and name in typed, line
            key = name, labels or ''
            assert key not in found, line
            found[key] = float(value)
    return found


def promtool(text):
    """What the tool of Prometheus itself says of it."""
    r = subprocess.run(['promtool', 'check', 'metrics'], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=60, check=False)
    assert (r.returncode, r.stdout) == (0, b''), r.stdout.decode()


class DepthCase(QueueCase):
    def some(self):
        """Letters in several states."""
        self.dead('d')
        for k in range(5):
            self.add('s%d' % k, 'HNE03,SNE01')
        self.take(n=2)
        self.add('held', 'HNE02')
        self.intake()
        self.call('admin', 'hold', 'ops@host', 'HNE02', self.now() + 3600 * SECOND, 'asked')
        self.r('HSET', '{q}:breaker', 'senate', 'open 1 %d' % (self.now() + 3600 * SECOND))
        self.add('door', 'HNE01')


class Depth(DepthCase):
    def test_json(self):
        before = time.time()
        self.some()
        d = self.ctl('depth', '--json').json
        want = {'house_waiting': 4, 'house_taken': 2, 'house_held_pause': 1, 'house_held': 1, 'house_scalable': 4, 'house_door': 1,
                'senate_waiting': 5, 'senate_held_breaker': 5, 'senate_scalable': 0, 'senate_blocked': 1, 'senate_down': 1,
                'house_dead': 1, 'house_offices_pause': 1, 'house_arrived': 7, 'house_drained': 1, 'house_open': 7, 'alive': 1, 'idle': 0}
        self.assertEqual({k: d[k] for k in want}, want)
        self.assertTrue(before - 1 <= d['redis_s'] <= time.time() + 1)
        self.assertAlmostEqual(d['house_arrival_rate'], 7 / d['window_s'], delta=.002)
        self.assertAlmostEqual(d['house_eta_s'], 7 * d['window_s'], delta=1)
        self.assertIsNone(d['senate_eta_s'])

    def test_table(self):
        self.some()
        text = self.ctl('depth').out
        for row in (r'waiting +4 +5', r'  held by people +1 +0', r'  held by breakers +0 +5', r'more workers help +4 +0',
                    r'chamber broken +0 +1', r'empty in +\S.* -', r'workers alive +1'):
            self.assertRegex(text, '(?m)^%s$' % row)

    def test_prometheus(self):
        self.some()
        text = self.ctl('depth', '--prometheus').out
        promtool(text)
        found = parse(text)
        self.assertLessEqual({'cwcq_' + s for s in SERIES}, {name for name, _ in found})
        for name, labels, value in (('up', '', 1), ('depth', 'chamber="house",state="waiting"', 4), ('in', '', 1), ('dead', '', 1),
                                    ('depth', 'chamber="senate",state="held_breaker"', 5), ('breaker_open', 'chamber="senate"', 1),
                                    ('scalable_backlog', 'chamber="house"', 4), ('offices_held', 'chamber="house",cause="pause"', 1),
                                    ('workers', '', 1)):
            self.assertEqual(found['cwcq_' + name, labels], value, (name, labels))
        self.assertIn(('cwcq_eta_seconds', 'chamber="house"'), found)
        self.assertNotIn(('cwcq_eta_seconds', 'chamber="senate"'), found)  # nothing ends: no time, and no 0
        self.assertNotIn(('cwcq_desired_workers', ''), found)

    def test_emf(self):
        self.some()
        house, senate, queue = self.ctl('depth', '--emf').lines
        for line, dimensions in ((house, {'queue': 'q', 'chamber': 'house'}), (senate, {'queue': 'q', 'chamber': 'senate'}),
                                 (queue, {'queue': 'q'})):
            aws = line.pop('_aws')
            self.assertAlmostEqual(aws['Timestamp'] / 1000, time.time(), delta=5)
            directive, = aws['CloudWatchMetrics']
            self.assertEqual((directive['Namespace'], directive['Dimensions']), ('CWC', [list(dimensions)]))
            names = [m['Name'] for m in directive['Metrics']]
            self.assertEqual(set(line), {*names, *dimensions})
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual({m['Unit'] for m in directive['Metrics']}, {'Count', 'Seconds', 'Count/Second'})
            self.assertTrue(all(isinstance(line[n], (int, float)) for n in names))
            self.assertEqual({k: line[k] for k in dimensions}, dimensions)
        self.assertEqual((house['Waiting'], house['ScalableBacklog'], house['HeldPause'], senate['HeldBreaker']), (4, 4, 1, 5))
        self.assertIn('TimeToEmpty', house)
        self.assertNotIn('TimeToEmpty', senate)
        self.assertEqual((queue['In'], queue['Dead'], queue['Workers']), (1, 1, 1))
        self.assertIn('"Namespace":"Mine"', self.ctl('depth', '--emf', '--namespace', 'Mine').out)

    def test_watch(self):
        for form in ('--emf', '--prometheus'):
            process = self.start('depth', '--watch', '1', form)
            first = [process.stdout.readline() for _ in range(3)]
            self.assertTrue(all(first))
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(10), OK)

    def test_nobody_reads(self):
        """A watch whose output cannot be written ends, also where one round is more than a buffer."""
        for command in (('depth', '--prometheus'), ('depth',), ('scale', '--emf')):
            process = self.start(*command, '--watch', '1')
            process.stdout.readline()
            process.stdout.close()
            self.assertIn(process.wait(20), (-signal.SIGPIPE, 70))
            with open('/dev/full', 'wb') as full:
                process = self.start(*command, '--watch', '1', stdout=full)
                self.assertEqual(process.wait(20), 70)
                self.assertIn('the output cannot be written', process.stderr.read())

    def test_wrong_usage(self):
        for args in (('--emf', '--json'), ('--prometheus', '--emf'), ('--namespace', 'x')):
            self.ctl('depth', *args, code=USAGE)


class Exporter(DepthCase):
    def serve(self, *args, redis=None):
        process = subprocess.Popen([*self.exporter(), '--listen', 'tcp:127.0.0.1:0', *args, *(redis or self.redis)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(self.end, process)
        self.port = int(re.match(r'listening on port (\d+)\n', process.stdout.readline()).group(1))
        return process

    @staticmethod
    def exporter():
        from cwcctl_case import CTL
        return [CTL, 'exporter']

    def ask(self, path='/metrics', method='GET', body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=20)
        try:
            c.request(method, path, body)
            r = c.getresponse()
            return r.status, r.headers, r.read().decode()
        finally:
            c.close()

    def scrape(self):
        status, headers, text = self.ask()
        self.assertEqual((status, headers['Content-Type']), (200, 'text/plain; version=0.0.4; charset=utf-8'))
        promtool(text)
        return parse(text)

    def test_serves(self):
        self.some()
        process = self.serve()
        found = self.scrape()
        self.assertEqual(found['cwcq_depth', 'chamber="house",state="waiting"'], 4)
        self.assertEqual(set(found), set(parse(self.ctl('depth', '--prometheus').out)))
        self.ctl('scale', '--publish')
        got = wait_until(lambda: self.scrape().get(('cwcq_desired_workers', '')), what='the number of workers')
        self.assertEqual(got, 1)
        self.assertEqual(self.ask('/')[0], 404)
        self.assertEqual(self.ask(method='POST', body='x' * 100)[0], 405)
        self.assertEqual(self.ask(method='HEAD')[::2], (200, ''))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), OK)

    def test_a_number_that_nobody_keeps_fresh(self):
        self.r('HSET', '{q}:scale', 'desired', 7, 'at', self.now() - 400 * SECOND)
        self.serve()
        self.assertNotIn(('cwcq_desired_workers', ''), self.scrape())
        self.r('HSET', '{q}:scale', 'desired', 7, 'at', self.now() - 100 * SECOND)
        found = wait_until(lambda: (lambda f: ('cwcq_desired_workers', '') in f and f)(self.scrape()), what='the number')
        self.assertEqual(found['cwcq_desired_workers', ''], 7)
        self.assertAlmostEqual(found['cwcq_desired_age_seconds', ''], 100, delta=10)
        self.r('HSET', '{q}:scale', 'desired', 'junk', 'at', self.now())
        wait_until(lambda: ('cwcq_desired_workers', '') not in self.scrape(), what='no number')

    def test_redis_away(self):
        """From the start, and after it was there; never a depth that is not."""
        directory = rq.tempfile.mkdtemp(prefix='away-')
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, 's')
        process = self.serve(redis=('--redis', 'unix:' + path))
        self.assertEqual(self.scrape(), {('cwcq_up', ''): 0})
        server = subprocess.Popen(['redis-server', '--port', '0', '--unixsocket', path, '--save', '', '--dir', directory],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        found = wait_until(lambda: (lambda f: f['cwcq_up', ''] == 1 and f)(self.scrape()), what='Redis')
        self.assertEqual(found['cwcq_in', ''], 0)
        server.send_signal(signal.SIGSTOP)  # it hangs
        wait_until(lambda: self.scrape() == {('cwcq_up', ''): 0}, what='cwcq_up 0')
        server.send_signal(signal.SIGCONT)
        wait_until(lambda: self.scrape()['cwcq_up', ''] == 1, what='Redis again')
        server.kill()
        server.wait()
        wait_until(lambda: self.scrape() == {('cwcq_up', ''): 0}, what='cwcq_up 0')
        self.assertIsNone(process.poll())

    def test_many_ask(self):
        """At most one reading a second, whoever asks."""
        self.serve()
        self.scrape()
        before = time.monotonic()
        stats = lambda: int(re.search(r'cmdstat_evalsha:calls=(\d+)', self.r('INFO', 'commandstats')).group(1))  # noqa: E731
        calls = stats()
        for _ in range(50):
            self.scrape()
        self.assertLessEqual(stats() - calls, time.monotonic() - before + 1)

    def test_a_client_that_says_nothing(self):
        self.serve()
        with socket.create_connection(('127.0.0.1', self.port)):
            self.assertEqual(self.scrape()['cwcq_up', ''], 1)

    def test_unix(self):
        path = self.path('exporter.sock')
        process = self.start('exporter', '--listen', 'unix:' + path)
        self.assertEqual(process.stdout.readline(), 'listening on unix:%s\n' % path)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
            self.assertIn(b'cwcq_up 1\n', s.makefile('rb').read())
        self.ctl('exporter', '--listen', 'unix:' + path, code=UNAVAILABLE)  # in use

    def test_wrong_usage(self):
        for address in ('vsock:3:9000', 'x', 'tcp:127.0.0.1'):
            self.ctl('exporter', '--listen', address, code=USAGE)
        self.ctl('exporter', '--listen', 'tcp:name.invalid:1', code=UNAVAILABLE)


class Scale(DepthCase):
    def scale(self, *args, **kw):
        return self.ctl('scale', '--json', *args, **kw).json

    def lot(self, n=2000):
        for k in range(n):
            self.add('n%d' % k, 'HNE%02d' % (1 + k % 3))
        while self.r('XLEN', '{q}:in'):
            self.intake()

    def published(self):
        return rq.pairs(self.r('HGETALL', '{q}:scale'))

    def test_formula(self):
        """2000 letters in 100 s are 20 a second; of 10 s each that is 200 at a time, and a worker has 0.7 x 20."""
        self.lot()
        options = ('--slots', '20', '--latency', '10s', '--target-drain', '100s', '--max', '50')
        s = self.scale(*options)
        self.assertEqual((s['desired'], s['running'], s['why'], s['published']), (15, 1, 'backlog', False))
        self.assertAlmostEqual(s['need'], 200 / 14, delta=.01)
        self.assertEqual(self.published(), {})

    def test_bounds(self):
        self.lot()
        self.assertEqual(self.scale('--slots', '1', '--latency', '10s', '--max', '5')['desired'], 5)
        self.assertEqual(self.scale('--min', '3')['desired'], 3)

    def test_congress_is_the_bottleneck(self):
        self.lot()
        self.call('take', 'house', 'w1/1', 'w1/1.9', 0, self.now(), SECOND, 0, 0, 0, 4, 1)  # one letter a second
        s = self.scale('--slots', '20', '--latency', '10s', '--target-drain', '100s', '--max', '50')
        self.assertEqual((s['desired'], s['why']), (1, 'rate_capped'))
        self.r('DEL', '{q}:limits')
        s = self.scale(MEASURED, HOST, '--slots', '20', '--latency', '10s', '--target-drain', '100s', '--max', '50')
        self.assertEqual(s['desired'], 4)  # 5/s: that of the files
        self.ctl('scale', self.path('absent'), code=CONFIG)

    def test_held(self):
        self.lot()
        self.call('admin', 'hold', 'ops@host', 'house', self.now() + 3600 * SECOND, 'asked')
        s = self.scale('--slots', '1', '--latency', '10s')
        self.assertEqual((s['desired'], s['need']), (1, 0))

    def test_state_goes_through_redis(self):
        """Each call is a program of its own, and goes on from what was published."""
        self.lot()
        options = ('--slots', '20', '--latency', '10s', '--target-drain', '100s', '--max', '50')
        self.assertEqual(self.scale(*options, '--publish')['published'], True)
        p = self.published()
        self.assertEqual((p['desired'], p['why'], p['running']), ('15', 'backlog', '1'))
        self.r('FLUSHALL')
        self.r('HSET', '{q}:scale', *[x for item in p.items() for x in item])
        quick = (*options, '--stable', '1s', '--cooldown', '0s')
        self.assertEqual([self.scale(*quick, '--publish')[k] for k in ('desired', 'why')], [15, 'stabilising'])
        s = wait_until(lambda: (lambda x: x['why'] == 'scale_in' and x)(self.scale(*quick, '--publish')), what='a step down')
        self.assertEqual((s['desired'], self.published()['desired']), (14, '14'))
        self.assertEqual(self.scale(*options, '--publish')['desired'], 14)  # five minutes: not yet

    def test_a_leader_that_died(self):
        """What is published goes on from the last word of another one."""
        self.call('scale', 'lead', 'dead', 1000)
        self.call('scale', 'publish', 'dead', '0', 'desired', 6, 'why', 'backlog', 'changed_us', self.now())
        s = self.scale('--publish')
        self.assertEqual((s['desired'], s['published'], s['other'], s['why']), (6, False, 'dead', 'backlog'))
        wait_until(lambda: self.scale('--publish')['published'], what='the end of the lock')
        self.assertEqual((self.published()['desired'], self.r('EXISTS', '{q}:scaler')), ('6', 0))

    def test_watch_and_another(self):
        self.lot(10)
        first = self.start('scale', '--watch', '1', '--json')
        self.assertTrue(json.loads(first.stdout.readline())['published'])
        second = self.start('scale', '--watch', '1', '--json', '--min', '9')
        line = json.loads(second.stdout.readline())
        self.assertEqual((line['published'], line['desired'], line['other']), (False, 1, self.published()['who']))
        first.send_signal(signal.SIGTERM)
        self.assertEqual(first.wait(10), OK)
        while not line['published']:  # it resigned, and the other one takes over
            line = json.loads(second.stdout.readline())
        self.assertEqual((line['desired'], self.published()['desired']), (9, '9'))

    def test_missing_data_holds(self):
        """Redis goes away under it: the answer stays, and nothing is printed for CloudWatch."""
        server = rq.Server()
        self.addCleanup(server.stop)
        server.r('HSET', '{q}:scale', 'desired', 7, 'at', self.now(), 'changed_us', self.now(), 'who', 'x', 'why', 'backlog')
        process = subprocess.Popen([*Exporter.exporter()[:1], 'scale', '--watch', '1', '--json', '--redis', 'unix:' + server.path,
                                    '--timeout', '300ms'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        self.assertEqual(json.loads(process.stdout.readline())['desired'], 7)
        server.proc.send_signal(signal.SIGSTOP)
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
        server.proc.send_signal(signal.SIGCONT)
        self.assertEqual({x['desired'] for x in lines}, {7})
        self.assertEqual([(x['why'], x['time'], x['running']) for x in lines[-2:]], [('no_data', None, None)] * 2)
        while lines[-1]['why'] == 'no_data':
            lines.append(json.loads(process.stdout.readline()))
        self.assertEqual(lines[-1]['desired'], 7)

    def test_nothing_is_known(self):
        for args in ((), ('--emf',), ('--publish',)):
            r = subprocess.run([*Exporter.exporter()[:1], 'scale', *args, '--redis', 'unix:' + self.path('nowhere')], timeout=60,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual((r.returncode, r.stdout), (UNAVAILABLE, b''))

    def test_emf(self):
        self.lot()
        line, = self.ctl('scale', '--emf', '--slots', '20', '--latency', '10s', '--target-drain', '100s', '--max', '50').lines
        directive, = line['_aws']['CloudWatchMetrics']
        self.assertEqual(directive['Dimensions'], [['queue']])
        self.assertEqual([m['Name'] for m in directive['Metrics']], ['DesiredWorkers', 'RunningWorkers', 'DesiredPerRunning'])
        self.assertEqual((line['DesiredWorkers'], line['RunningWorkers'], line['DesiredPerRunning']), (15, 1, 15))

    def test_junk_in_what_was_published(self):
        for field in ('desired', 'at', 'changed_us', 'low_us', 'low_peak', 'who', 'why'):
            for junk in ('', 'x', '-1', '9' * 30, '\x1b[31m', 'y' * 5000):
                self.r('DEL', '{q}:scale')
                self.r('HSET', '{q}:scale', 'desired', 2, 'at', self.now(), field, junk)
                self.assertIn(self.scale()['desired'], (1, 2))

    def test_wrong_usage(self):
        for args in (('--min', '5', '--max', '4'), ('--max', '0'), ('--min', 'x'), ('--max', '1001'), ('--target-drain', '0s'),
                     ('--latency', '5'), ('--slots', '0'), ('--emf', '--json'), ('--watch', '9999'), ('--stable', '2d')):
            self.ctl('scale', *args, code=USAGE)


if __name__ == '__main__':
    unittest.main()
