#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a worker: start, readiness, drain, death; and of what it stands on: Redis, its lease, its clock. Whatever
happens, no letter is lost, and none is sent twice but under an outcome that says so."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from stack import letters, wait_until  # noqa: E402

LEASE_S = 3
TOTAL = {'total_timeout': '3s', 'first_byte_timeout': '2s', 'connect_timeout': '3s'}
MANY = 500
EX_USAGE, EX_CONFIG = 64, 78


def letter(sid, code=letters.HOUSE):
    submission = letters.base('life', 'letter', code)
    submission['sid'] = sid
    return submission


class Case(unittest.TestCase):
    def start(self, worker=True, **options):
        self.stack = stacks.Stack(**{'lease': '%ds' % LEASE_S, 'chamber': TOTAL, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if worker:
            self.worker = self.stack.start_worker()
        return self.stack

    def wait_results(self, n, timeout=60):
        wait_until(lambda: self.stack.redis('XLEN', self.stack.key('results')) >= n, timeout, '%d results' % n)

    def wait_in_flight(self, n, chamber=None):
        """Until so many letters lie at the simulated chambers without an answer."""
        def check():
            stats = self.stack.sim.stats()['stats']
            return sum(s['in_flight'] for c, s in stats.items() if chamber in (None, c)) >= n
        wait_until(check, 20, '%d letters in flight' % n)

    def held(self):
        return sum(self.stack.redis('SCARD', k) for k in self.stack.keys('held:*'))

    def states(self, last):
        found = {}
        for r in last.values():
            found[r['state']] = found.get(r['state'], 0) + 1
        return found

    def many(self, n, seed):
        """(submissions, entries, number of jobs)"""
        submissions = list(letters.sample(n, seed=seed))
        return submissions, [self.stack.entry(s) for s in submissions], sum(len(s['offices']) for s in submissions)


class Start(Case):
    """What keeps a worker from starting is said in one line, and the exit status tells a supervisor not to try again."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stacks.Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()

    def run_worker(self, *args):
        return subprocess.run([stacks.PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, text=True)

    def refused(self, pattern, *args):
        p = self.run_worker(*args)
        self.assertEqual(p.returncode, EX_CONFIG, p.stderr)
        text = [line for line in p.stderr.splitlines() if not line.startswith('{')]
        self.assertEqual(len(text), 1, p.stderr)
        self.assertRegex(text[0], pattern)
        self.assertEqual(p.stdout, '')

    def edited(self, which, old, new):
        """Arguments for a worker whose measured (0) or host (1) configuration differs in one place. old: a regular
        expression for a whole line."""
        args = self.stack.write_config('w1')
        path = args[1 + 2 * which]
        with open(path, encoding='utf-8') as f:
            text, n = re.subn('(?m)^%s$' % old, lambda _: new, f.read(), count=1)
        self.assertEqual(n, 1, old)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return args

    def file(self, name, text, mode=0o600):
        path = self.stack.path(name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def test_usage(self):
        good = self.stack.write_config('w1')
        for args in ([], ['--config'], ['--no-such-option'], good + ['operand'], good + ['--log-format', 'xml'],
                     good[2:], ['--config=' + good[1], '--host-config']):
            with self.subTest(args):
                p = self.run_worker(*args)
                self.assertEqual((p.returncode, p.stdout), (EX_USAGE, ''))
                self.assertIn('usage: cwc-worker', p.stderr)

    def test_asked(self):
        good = self.stack.write_config('w1')
        for args, pattern in ((['--version'], r'^cwc-worker \d+\.\d+\.\d+$'), (['--help'], '^usage: cwc-worker '),
                              (good + ['--check-config'], 'is good$'), (good + ['--print-config'], r'(?m)^\[house\]$')):
            p = self.run_worker(*args)
            self.assertEqual((p.returncode, p.stderr), (0, ''))
            self.assertRegex(p.stdout.strip(), pattern)

    def test_configuration(self):
        good = self.stack.write_config('w1')
        none = self.stack.path('no-such.conf')
        self.refused('no-such.conf', '--config', none)
        self.refused('no-such.conf', *good[:2], '--host-config', none)
        cases = ((1, 'name = w1', 'name = w 1', 'name'), (1, r'\[http\]', '[htpt]', 'htpt'),
                 (1, 'concurrency = 32', 'concurrency = 257', 'concurrency'),
                 (1, 'concurrency = 32', 'concurency = 32', 'concurency'),
                 (1, 'address = tcp.*', 'address = tcp:nowhere', 'address'),
                 (1, r'\[jobs\]', '[jobs]\nsigner = app-9 ' + self.stack.app.public.hex(), 'signer'),
                 (1, r'\[senate\]', '[senate]\nurl = https://soapbox.senate.gov/api/testing-messages/', 'url'),
                 (0, 'environment = .*', 'environment = staging', 'environment'),
                 (0, 'signer = .*', '', 'signer'), (0, 'source = .*', 'source = kms', 'source'),
                 (0, 'agent_ack_email = .*', 'agent_ack_email = nobody', 'agent_ack_email'),
                 (0, 'offices_url = https://uat.*', 'offices_url = https://mail.example.org/v2/offices', 'offices_url'),
                 (0, 'url = https://uat.*', 'url = http://uat-cwc.house.gov/v2/message', 'url'))
        for which, old, new, pattern in cases:
            with self.subTest(new):
                self.refused(pattern, *self.edited(which, old, new))
                self.refused(pattern, *self.edited(which, old, new), '--check-config')

    def test_secrets(self):
        key = self.stack.sim.key
        cases = (('missing', None, 'does not exist'), (self.file('open', key, 0o644), None, '0600'),
                 (self.file('group', key, 0o640), None, '0600'), (self.file('empty', '\n'), None, 'empty'),
                 (self.file('huge', 'k' * 600), None, 'too large'), (self.stack.dir, None, 'readable by others|0600'))
        for path, _, pattern in cases:
            path = path if path.startswith('/') else self.stack.path(path)
            with self.subTest(path):
                self.refused('house.api_key_file: .*(%s)' % pattern,
                             *self.edited(1, 'api_key_file = .*', 'api_key_file = ' + path))
        self.refused('queue.password_file: .*does not exist',
                     *self.edited(1, 'name = q', 'name = q\npassword_file = ' + self.stack.path('none')))

    def test_authorities(self):
        for path in (self.stack.path('none.pem'), self.file('bad.pem', 'not a certificate\n')):
            with self.subTest(path):
                self.refused('^cwc-worker: house: the CA file',
                             *self.edited(0, 'ca_file = .*', 'ca_file = ' + path))

    def test_key_ring(self):
        good = ['%s %s' % (profile, secret.hex()) for profile, secret in self.stack.ring_secret.items()]
        cases = (('none', None, 0o600, ''), ('open', '\n'.join(good), 0o644, '0600|others'),
                 ('empty', '', 0o600, ''), ('profile', 'post ' + '11' * 32, 0o600, 'line 1'),
                 ('hex', good[0] + '\nletter ' + 'zz' * 32, 0o600, 'line 2'),
                 ('short', 'letter 1122', 0o600, 'line 1'), ('twice', good[0] + '\n' + good[0], 0o600, 'line 2'))
        for name, text, mode, pattern in cases:
            with self.subTest(name):
                path = self.stack.path('ring-' + name)
                if text is not None:
                    self.file('ring-' + name, text + '\n', mode)
                self.refused('keys.file: .*(%s)' % pattern, *self.edited(1, 'file = .*', 'file = ' + path))

    def test_bridge_directory(self):
        os.mkdir(self.stack.path('shared'), 0o700)
        os.chmod(self.stack.path('shared'), 0o755)
        os.symlink(self.stack.dir, self.stack.path('link'))
        for path in (self.stack.path('shared'), self.file('a-file', ''), self.stack.path('none/bridge'),
                     self.stack.path('link')):
            with self.subTest(path):
                self.refused('bridge', *self.edited(1, 'bridge_dir = .*', 'bridge_dir = ' + path))


class Notify:
    """A socket such as a service manager's."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace('@', '\0', 1) if address.startswith('@') else address)
        self.socket.settimeout(20)

    def next(self):
        return self.socket.recv(4096).decode().splitlines()


class Readiness(Case):
    def test_notified(self):
        stack = self.start(worker=False)
        for address in (stack.path('notify'), '@cwc-notify-%d' % os.getpid()):
            with self.subTest(address):
                notify = Notify(address)
                self.addCleanup(notify.socket.close)
                worker = stack.start_worker(env={'NOTIFY_SOCKET': address})
                self.assertIn('READY=1', notify.next())
                stack.kill_redis()
                self.assertEqual(notify.next(), ['STATUS=not ready'])
                stack.start_redis()
                self.assertIn('READY=1', notify.next())
                worker.kill(signal.SIGTERM)
                self.assertEqual(notify.next(), ['STOPPING=1'])
                self.assertEqual(worker.process.wait(20), 0)

    def test_redis_comes_later(self):
        stack = self.start(worker=False)
        stack.kill_redis()
        worker = stack.start_worker(ready=False)
        worker.wait_event('queue_down')
        self.assertEqual(worker.events('ready'), [])
        stack.start_redis()
        worker.wait_event('ready')
        stack.submit(letter('at-last'))
        self.wait_results(1)
        account.check(self, stack)
        self.assertEqual(worker.stop(), 0)

    def test_stops_at_once_without_redis(self):
        """Nothing is in flight, so there is nothing to wait for."""
        stack = self.start(worker=False)
        stack.kill_redis()
        worker = stack.start_worker(ready=False)
        worker.wait_event('queue_down')
        start = time.monotonic()
        self.assertEqual(worker.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)

    def test_refuses_a_redis_that_forgets(self):
        stack = self.start(worker=False, redis=['--maxmemory-policy', 'allkeys-lru'])
        worker = stack.start_worker(ready=False)
        self.assertEqual(worker.wait_event('queue_down')['code'], 'queue_policy')
        stack.submit(letter('patient'))
        stack.redis('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        worker.wait_event('ready')
        self.wait_results(1)

    def test_wrong_password(self):
        stack = self.start(worker=False, password='right')
        stack.password = 'wrong'
        worker = stack.start_worker(ready=False)
        stack.password = 'right'
        self.assertEqual(worker.wait_event('queue_down')['code'], 'queue_denied')
        self.assertEqual(worker.events('ready'), [])
        stack.start_worker('w2')

    def test_name_taken(self):
        stack = self.start()
        second = stack.start_worker(ready=False)
        third = stack.start_worker(ready=False)
        for w in (second, third):
            error = w.wait_event('queue_error')
            self.assertEqual((error['command'], error['code']), ('join', 'exists'))
            self.assertEqual(w.events('ready'), [])
        start = time.monotonic()
        self.assertEqual(third.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(self.worker.stop(), 0)
        second.wait_event('ready')
        stack.submit(letter('taken-over'))
        self.wait_results(1)
        account.check(self, stack)

    def test_out_of_memory(self):
        """Redis is full: not ready and no intake, but what is inside goes out; then it goes on."""
        stack = self.start(worker=False)
        inside, more = [letter('inside-%d' % n) for n in range(30)], [letter('more-%d' % n) for n in range(30)]
        stack.submit(*inside)
        self.assertEqual(stack.script('enqueue', 100)[:2], ['OK', 30])
        stack.submit(*more)
        stack.redis('CONFIG', 'SET', 'maxmemory', '1mb')
        worker = stack.start_worker(ready=False)
        self.assertEqual(worker.wait_event('not_ready')['reason'], 'queue_full')
        self.wait_results(30)
        stack.wait_status('inside-29', letters.HOUSE, 'accepted')
        self.assertEqual(stack.redis('XLEN', stack.key('in')), 30)
        with self.assertRaisesRegex(stacks.rq.RedisError, 'OOM'):
            stack.redis('XADD', stack.key('in'), '*', 'sid', 'too-much')
        stack.redis('CONFIG', 'SET', 'maxmemory', '0')
        worker.wait_event('ready')
        wait_until(lambda: stack.stream('attestations'), what='published keys')
        stack.submit(letter('after'))
        self.wait_results(61)
        last = account.check(self, stack, inside + more + [letter('after')])
        self.assertEqual(self.states(last), {'accepted': 61})
        self.assertEqual(stack.sim.count(), 61)


class Drain(Case):
    def test_finishes_what_is_in_flight(self):
        stack = self.start(chamber={**TOTAL, 'concurrency': 8})
        some = [letter('slow-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(40)]
        stack.sim.fault(action='delay', ms=700)
        stack.submit(*some)
        self.wait_in_flight(16)
        before = stack.redis('XLEN', stack.key('results'))
        self.assertEqual(self.worker.stop(), 0)
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 0)
        self.assertEqual((self.held(), stack.redis('ZCARD', stack.key('workers'))), (0, 0))
        # Exactly those that were in flight were finished, and no other was begun.
        done = len(stack.results())
        self.assertTrue(before + 16 <= done < 40, done)
        self.assertEqual(stack.sim.count(), done)
        self.assertEqual({r['outcome'] for r in stack.results()}, {'accepted'})
        stack.sim.clear_faults()
        stack.start_worker('w2')
        self.wait_results(40)
        self.assertEqual(self.states(account.check(self, stack, some)), {'accepted': 40})
        self.assertEqual(stack.sim.count(), 40)

    def test_limit(self):
        """What is not answered in time is cut off and reported for what it is: unknown, or not sent."""
        stack = self.start(chamber={}, worker=False)
        self.worker = stack.start_worker(drain_timeout='500ms')
        stack.sim.fault(action='stall', count=4)
        posted = [letter('posted-%d' % n, code) for n in range(2) for code in (letters.HOUSE, letters.SENATE)]
        for n, s in enumerate(posted):
            s['sid'] += 'ab'[n % 2]
        stack.submit(*posted)
        self.wait_in_flight(4)
        stack.sim.close_idle()
        stack.sim.fault(action='tls_stall', count=2)
        unsent = [letter('unsent-h'), letter('unsent-s', letters.SENATE)]
        stack.submit(*unsent)
        for s in unsent:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
        start = time.monotonic()
        self.assertEqual(self.worker.stop(), 0)
        self.assertTrue(0.4 < time.monotonic() - start < 4)
        self.assertEqual((self.held(), stack.redis('ZCARD', stack.key('workers'))), (0, 0))
        for s in posted:
            state = stack.status(s['sid'], s['offices'][0])
            self.assertEqual(state[:2], ('unknown', 'outcome_unknown') if s['offices'][0][0] == 'H' else
                             ('later', 'no_answer'))
        for s in unsent:
            job = stack.job(s['sid'], s['offices'][0])
            self.assertEqual((job['state'], job['attempt']), ('wait', '0'))
        stack.sim.clear_faults()
        # The total time-out of the first POST must pass before the Senate is asked again: as if it had.
        for member in stack.redis('ZRANGE', stack.key('later'), 0, -1):
            stack.redis('ZADD', stack.key('later'), 'XX', 1, member)
        stack.start_worker('w2')
        self.wait_results(6)
        last = account.check(self, stack, posted + unsent)
        self.assertEqual(self.states(last), {'unknown': 2, 'accepted': 4})

    def test_limit_without_redis(self):
        """The reports cannot be delivered: that is said by the exit status, and the queue recovers by itself."""
        stack = self.start(worker=False, redis=['--appendonly', 'yes', '--appendfsync', 'always'])
        self.worker = stack.start_worker(drain_timeout='500ms')
        stack.sim.fault(action='stall', count=2)
        some = [letter('lost-h'), letter('lost-s', letters.SENATE)]
        stack.submit(*some)
        self.wait_in_flight(2)
        stack.kill_redis()
        self.assertEqual(self.worker.stop(), 1)
        self.assertEqual(self.worker.events('stopped')[-1]['in_flight'], 2)
        stack.start_redis()
        stack.start_worker('w2')
        self.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some],
                         ['outcome_unknown', 'accepted_earlier'])

    def test_second_signal(self):
        stack = self.start()
        stack.sim.fault(action='stall', count=2)
        some = [letter('cut-h'), letter('cut-s', letters.SENATE)]
        stack.submit(*some)
        self.wait_in_flight(2)
        self.worker.kill(signal.SIGTERM)
        self.worker.wait_event('draining')
        start = time.monotonic()
        self.worker.kill(signal.SIGINT)
        self.assertEqual(self.worker.process.wait(10), 1)
        self.assertLess(time.monotonic() - start, 1.5)
        self.assertEqual(self.held(), 2)
        stack.start_worker('w2')
        self.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some],
                         ['outcome_unknown', 'accepted_earlier'])


class Death(Case):
    def check_all(self, submissions, jobs, doubtful):
        """All accounted for; at most `doubtful` letters of unknown fate, and only the House's."""
        last = account.check(self, self.stack, submissions)
        self.assertEqual(len(last), jobs)
        states = self.states(last)
        self.assertEqual(set(states) - {'accepted', 'unknown'}, set())
        self.assertLessEqual(states.get('unknown', 0), doubtful)
        self.assertEqual({r['office'][0] for r in last.values() if r['state'] == 'unknown'} - {'H'}, set())
        # Nothing doubled: no id was accepted twice anywhere.
        self.assertEqual(sum(s['duplicates'] for s in self.stack.sim.stats()['stats'].values()), 0)
        return last

    def test_kill_and_restart(self):
        """kill -9 in the middle, again under the same name, then under another."""
        stack = self.start(worker=False)
        submissions, entries, jobs = self.many(MANY, seed=11)
        stack.sim.fault(action='delay', ms=30)
        worker = stack.start_worker()
        stack.enqueue(entries)
        for n, name in ((jobs // 5, 'w1'), (jobs // 2, 'w2')):
            self.wait_results(n)
            worker.kill()
            worker.process.wait()
            at_once = time.monotonic()
            worker = stack.start_worker(name)
            if name == 'w1':  # the name is taken until the lease of the dead one is over
                self.assertLess(time.monotonic() - at_once, LEASE_S + 3)
        stack.wait_idle()
        self.check_all(submissions, jobs, doubtful=2 * 32)
        self.assertGreater(len(worker.events('queue_recovered')), 0)
        self.assertEqual(worker.stop(), 0)

    def test_two_share_the_load(self):
        stack = self.start(worker=False, chamber={**TOTAL, 'concurrency': 8})
        submissions, entries, jobs = self.many(200, seed=12)
        stack.sim.fault(action='delay', ms=20)
        workers = [stack.start_worker('w1'), stack.start_worker('w2')]
        stack.enqueue(entries)
        stack.wait_idle()
        last = self.check_all(submissions, jobs, doubtful=0)
        self.assertEqual(self.states(last), {'accepted': jobs})
        ended = [len(w.events('letter_ended')) for w in workers]
        self.assertEqual(sum(ended), jobs)
        self.assertGreater(min(ended), jobs // 10)
        self.assertEqual(stack.sim.count(), jobs)
        self.assertEqual([w.stop() for w in workers], [0, 0])

    def test_stopped_longer_than_the_lease(self):
        """SIGSTOP between GO and the body, while the TLS handshakes wait; others take over; SIGCONT. The grant of two
        seconds is over, so no body starts, and what the worker says of its old tokens changes nothing."""
        stack = self.start(chamber={})
        self.worker.wait_event('offices_loaded', n=2)
        stack.sim.close_idle()
        sim = stack.sim.process
        sim.send_signal(signal.SIGSTOP)
        self.addCleanup(sim.send_signal, signal.SIGCONT)
        some = [letter('stopped-%02d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(20)]
        stack.submit(*some)
        for s in some:
            stack.wait_status(s['sid'], s['offices'][0], 'begun')
        self.worker.kill(signal.SIGSTOP)
        sim.send_signal(signal.SIGCONT)
        second = stack.start_worker('w2')
        second.wait_event('queue_recovered')
        for s in some[::2]:
            stack.wait_status(s['sid'], letters.HOUSE, 'unknown', 'outcome_unknown')
        self.assertEqual(stack.sim.count(), 0)
        self.worker.kill(signal.SIGCONT)
        self.worker.wait_event('queue_fenced')
        wait_until(lambda: len([e for e in self.worker.events('letter_sent') if e['fate'] == 'too_late']) == 20,
                   what='refused bodies')
        self.worker.wait_event('ready', n=2)  # under a new nonce
        self.assertEqual(stack.sim.count(), 0)
        # They wait for the total time-out, since nobody but the worker knows; as if it had passed.
        for member in stack.redis('ZRANGE', stack.key('later'), 0, -1):
            stack.redis('ZADD', stack.key('later'), 'XX', 1, member)
        for s in some[1::2]:
            stack.wait_status(s['sid'], letters.SENATE, 'accepted')
        stack.wait_idle()
        last = account.check(self, stack, some)
        self.assertEqual(self.states(last), {'unknown': 10, 'accepted': 10})
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (0, 10))

    def test_stopped_in_the_middle_of_work(self):
        """SIGSTOP at no particular moment; a POST that was on the wire is answered meanwhile, and counts late."""
        stack = self.start(worker=False)
        submissions, entries, jobs = self.many(150, seed=13)
        stack.sim.fault(action='delay', ms=50)
        worker = stack.start_worker()
        stack.enqueue(entries)
        self.wait_results(jobs // 3)
        worker.kill(signal.SIGSTOP)
        second = stack.start_worker('w2')
        second.wait_event('queue_recovered')
        stack.wait_idle()
        count = stack.sim.count()
        worker.kill(signal.SIGCONT)
        worker.wait_event('ready', n=2)
        stack.wait_idle()
        # Whatever the stopped one had given to its sockets was read long ago: nothing may follow.
        self.assertEqual(stack.sim.count(), count)
        self.check_all(submissions, jobs, doubtful=64)
        late = [r for r in stack.stream('results') if r['state'] == 'late']
        self.assertTrue({r['late'] for r in late} <= {'accepted', 'not_taken'}, late)

    def test_fenced_by_a_person(self):
        """Somebody removed the worker from the queue: it stops sending, and comes back under a new nonce."""
        stack = self.start()
        submissions, entries, jobs = self.many(60, seed=14)
        stack.enqueue(entries)
        self.wait_results(jobs // 4)
        member = stack.redis('ZRANGE', stack.key('workers'), 0, 0)[0]
        stack.redis('ZADD', stack.key('workers'), 1, member)
        stack.start_worker('w2')
        stack.wait_idle()
        self.check_all(submissions, jobs, doubtful=64)
        self.assertEqual(self.worker.stop(), 0)


class RedisTrouble(Case):
    def test_killed_and_restarted(self):
        """With an append-only file that is synced at each command: what was answered is on the disk."""
        stack = self.start(redis=['--appendonly', 'yes', '--appendfsync', 'always'])
        submissions, entries, jobs = self.many(200, seed=15)
        stack.sim.fault(action='delay', ms=40)
        stack.enqueue(entries)
        for n in (jobs // 6, jobs // 3, jobs // 2):
            self.wait_results(n)
            stack.kill_redis()
            stack.start_redis()
        stack.wait_idle()
        last = account.check(self, stack, submissions)
        self.assertEqual(self.states(last), {'accepted': jobs})
        self.assertEqual((stack.sim.count(), len(stack.stream('dead'))), (jobs, 0))
        self.assertEqual(len(self.worker.events('queue_up')), 4)
        self.assertEqual(self.worker.stop(), 0)

    def test_connections_and_scripts(self):
        """CLIENT KILL and SCRIPT FLUSH, again and again: neither costs a letter or an attempt."""
        stack = self.start()
        submissions, entries, jobs = self.many(200, seed=16)
        stack.sim.fault(action='delay', ms=20)
        stack.enqueue(entries)
        for n in range(1, 9):
            self.wait_results(n * jobs // 10)
            if n % 2:
                stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
            else:
                stack.redis('SCRIPT', 'FLUSH')
        stack.wait_idle()
        last = account.check(self, stack, submissions)
        self.assertEqual(self.states(last), {'accepted': jobs})
        self.assertEqual({r['attempt'] for r in last.values()}, {'1'})
        self.assertEqual(stack.sim.count(), jobs)
        self.assertEqual(self.worker.stop(), 0)


if __name__ == '__main__':
    unittest.main()
