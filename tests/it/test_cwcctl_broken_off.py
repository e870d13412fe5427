#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl broken off: by an interrupt, by whoever reads its output, by a connection that is lost at the worst moment.
What was done is said, going on is possible, and nothing is done twice."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, UNAVAILABLE, letter, lines, rq, wait_until  # noqa: E402
from liar import Error  # noqa: E402
from people_case import ASAN, COUNT, SCALE, peak_kb  # noqa: E402
from test_cwcctl_hostile import Case  # noqa: E402

INTERNAL = 70


def lose(*_):
    """As a change of a liar: the reply is lost with the connection."""
    raise ConnectionError


class Broken(Case):
    def stop(self, process, code=NO):
        """Interrupts, and waits; (out, err)."""
        wait_until(lambda: process.poll() is not None or self.catches(process), what='ear for an interrupt')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, code, (out[-500:], err))
        return out, err

    @staticmethod
    def catches(process):
        """It is ready for an interrupt."""
        with open('/proc/%d/status' % process.pid, encoding='ascii') as f:
            caught = int(re.search(r'SigCgt:\s+([0-9a-f]+)', f.read()).group(1), 16)
        return caught >> (signal.SIGINT - 1) & 1

    @staticmethod
    def slept(process):
        """How often it waited for something to happen."""
        with open('/proc/%d/status' % process.pid, encoding='ascii') as f:
            return int(re.search(r'\nvoluntary_ctxt_switches:\s+(\d+)', f.read()).group(1))

    @staticmethod
    def losing(liar, name, first=lambda: None):
        """The next reply to it is lost with the connection, after first()."""
        def change(argv, reply):
            lie.change = lambda *_: None  # one that raises is not counted as told
            first()
            lose()
        lie = liar.after(name, change)

    def acts(self):
        """Those of `audit`: one entry for each time that it was asked."""
        return [(e['verb'], e['a']) for e in rq.stream(self.r, 'audit')]


class Interrupts(Broken):
    def test_at_the_very_end(self):
        """All was done: then it was not stopped, and there is nothing to go on with."""
        self.scale(20)
        self.addCleanup(self.r, 'CLIENT', 'UNPAUSE')
        self.r('CLIENT', 'PAUSE', 60000, 'WRITE')
        process = self.start('dead', 'replay', '--yes', '--all', '--count', '20')
        wait_until(lambda: re.search(r'flags=b.*cmd=evalsha', self.r('CLIENT', 'LIST')), what='an act that waits')
        before = self.slept(process)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: self.slept(process) > before, what='the interrupt')
        self.r('CLIENT', 'UNPAUSE')
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (OK, ''))
        self.assertTrue(out.startswith('20 replayed'), out)

    def test_in_the_last_page(self):
        """What failed and what was not reached are both left, and the printed command has both."""
        self.scale(40)
        self.r('RENAME', '{q}:sub:s2', '{q}:aside')
        self.r('SET', '{q}:sub:s2', 'x')
        process = self.start('dead', 'replay', '--yes', '--all', '--count', '35', '--rate', '20/s')
        wait_until(lambda: self.r('XLEN', '{q}:dead') < 35, what='progress')
        out, err = self.stop(process)
        done = int(out.split()[0])
        self.assertLess(done, 34)
        command = shlex.split(err.splitlines()[-1])
        self.assertEqual(command[command.index('--count') + 1], str(35 - done))
        self.r('RENAME', '{q}:aside', '{q}:sub:s2')
        r = subprocess.run([CTL, *command[1:]], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((r.returncode, r.stdout.split()[0], self.r('XLEN', '{q}:dead')), (OK, str(35 - done), 5), r)
        process = self.start('dead', 'replay', '--yes', '--all', '--rate', '1/s')  # all in one page
        wait_until(lambda: self.r('XLEN', '{q}:dead') < 5, what='progress')
        self.assertIn('To go on', self.stop(process)[1])

    def test_a_command_that_is_too_long(self):
        """A part of it would mean other letters."""
        self.scale(30)
        sids = ','.join(['s%d' % i for i in range(1, 31)] + ['x' * 60 + str(1000 + i) for i in range(1200)])
        process = self.start('dead', 'drop', '--yes', '--sid', sids, '--rate', '10/s')
        wait_until(lambda: self.r('XLEN', '{q}:dead') < 30, what='progress')
        out, err = self.stop(process)
        self.assertIn('give the same command again', err)
        self.assertNotIn('xxxx', err)
        self.assertEqual(self.r('XLEN', '{q}:dead'), 30 - int(out.split()[0]))

    def test_while_a_list_is_typed(self):
        """Ctrl-C ends what reads from a terminal or a pipe."""
        for command in (('reconcile', '--ids', '-'), ('dead', 'replay', '--yes', '--ids', '-'), ('enqueue', '-', *self.sealing)):
            process = self.start(*command, stdin=subprocess.PIPE)
            self.stop(process)

    def test_letters_on_the_way(self):
        """The sids that it made up are printed: nobody else knows them."""
        process = self.start('enqueue', '-', *self.sealing, stdin=subprocess.PIPE)
        process.stdin.write(lines(letter(), letter()))
        process.stdin.flush()
        wait_until(lambda: self.r('XLEN', '{q}:in') == 2, what='letters')
        out, err = self.stop(process)
        self.assertEqual([x.split()[0] for x in out.splitlines()], [e['sid'] for e in rq.stream(self.r, 'in')])
        self.assertIn('what comes after line 2 was not added', err)

    def test_results(self):
        """A part is not taken for the whole."""
        for n in range(3):
            self.accepted('r%d' % n)
        liar, args = self.liar()
        started = threading.Event()

        def interrupt(argv, reply):
            started.wait(20)
            process.send_signal(signal.SIGINT)
        liar.after('XREAD', interrupt)
        process = subprocess.Popen([CTL, 'results', '--json', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        started.set()
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, NO, err)
        self.assertRegex(err, r'stopped before the end; what comes after these: --from \d+-?\d*\n')

    def test_fsck(self):
        """What it mended until then is said, and on record."""
        self.many_off(3000)
        process = self.start('fsck', '--mend')
        wait_until(lambda: self.r('ZCARD', '{q}:exp') > 0, what='mends')
        out, _ = self.stop(process)
        mended = self.r('ZCARD', '{q}:exp')
        self.assertLess(mended, 3000)
        self.assertRegex(out.splitlines()[-1], r'stopped before the end; \d+ found, \d+ mended')
        first, last = [e['a'] for e in rq.stream(self.r, 'audit') if e['verb'] == 'fsck']
        said = int(re.search(r'exp-missing (\d+)', last).group(1))
        self.assertEqual(first, 'mends')
        self.assertLessEqual(mended - said, 64)  # at most the call that was under way
        summary = json.loads(self.ctl('fsck', '--json', code=NO).out.splitlines()[-1])['summary']
        self.assertEqual((summary['stopped'], summary['findings']), (False, 3000 - mended))

    def many_off(self, n):
        for i in range(n):
            self.r.send('XADD', '{q}:in', '*', 'sid', 's%d' % i, 'offices', 'HNE03', 'job', 'x')
        for _ in range(n):
            self.r.read()
        while self.r('XLEN', '{q}:in'):
            self.intake()
        self.r('DEL', '{q}:exp')


class Outputs(Broken):
    def test_the_reader_goes(self):
        """It stops, and says how far it came."""
        self.scale(400)
        process = self.start('dead', 'replay', '--yes', '--all', '--json', '--rate', '100/s')
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(20), -signal.SIGPIPE)
        left = self.r('XLEN', '{q}:dead')
        self.assertGreater(left, 200)
        err = process.stderr.read()
        process.stdout = open(os.devnull, encoding='ascii')
        self.assertIn('the output cannot be written: %d replayed' % (400 - left), err)
        command = shlex.split(err.splitlines()[-1])
        r = subprocess.run([CTL, *command[1:], '--quiet'], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((r.returncode, self.r('XLEN', '{q}:dead')), (OK, 0), r.stderr)

    def test_a_full_disk(self):
        self.scale(1000)
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([CTL, 'dead', 'drop', '--yes', '--all', '--json', *self.redis], stdout=full,
                               stderr=subprocess.PIPE, timeout=30, check=False)
        self.assertEqual(r.returncode, INTERNAL, r.stderr)
        self.assertEqual(self.r('XLEN', '{q}:dead'), 900)
        self.assertIn(b'To go on', r.stderr)

    def test_closed_from_the_start(self):
        """A socket must not get the number of the output that is closed."""
        self.scale(3)

        def run(closed, *args):
            return subprocess.run([CTL, *args, *self.redis], preexec_fn=lambda: [os.close(n) for n in closed],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                                  check=False)
        for closed, args, code in (((1,), ('dead', 'list'), INTERNAL), ((0, 1, 2), ('dead', 'list'), INTERNAL),
                                   ((0, 2), ('dead', 'list'), OK), ((0,), ('dead', 'list', '--ids', '-'), NO),
                                   ((0, 1), ('audit', 'list'), INTERNAL)):
            r = run(closed, *args)
            self.assertEqual(r.returncode, code, (closed, args, r))
        self.assertIn(b'standard input: Bad file descriptor', run((0,), 'dead', 'list', '--ids', '-').stderr)

    def test_memory_of_lists(self):
        """A long stream is printed page by page, its newest entries too."""
        self.r('EVAL', '''for i = 1, 70000 do
            redis.call('XADD', '{q}:audit', i .. '-0', 'verb', 'replay', 'who', 'a@b', 'a', 's' .. i, 'b', 'HNE03')
        end''', 0)

        for args, n in (((), 70000), (('--count', '69000'), 69000)):
            process = self.start('audit', 'list', *args)
            kb = rows = 0
            for _ in process.stdout:
                rows += 1
                kb = max(kb, peak_kb(process.pid)) if rows % 1000 == 0 else kb
            self.assertEqual((process.wait(20), rows), (OK, n + 1))
            self.assertTrue(ASAN or 0 < kb < 16384, kb)
        rows = self.ctl('audit', 'list', '--json', '--count', '300').json
        self.assertEqual([x['id'] for x in rows], ['%d-0' % i for i in range(69701, 70001)])


class Losses(Broken):
    def test_a_doubt_is_resolved_once(self):
        """The reply to `resend` is lost, the letter is sent and in doubt anew: one decision sends it once."""
        self.doubt('a')
        liar, args = self.liar()

        def sent_again():
            taken = self.take()['a']
            self.begin(taken)
            self.settle(taken, 'unknown', 'outcome_unknown', cls='unknown')
        self.losing(liar, 'admin', sent_again)
        r = self.past(args, 'unknown', 'resolve', 'resend', '--yes', '--all', '--may-send-twice')
        self.assertIn('1 skipped (1 not unknown any more)', r.stdout)
        self.assertIn('1 asked again', r.stdout)
        self.assertEqual((self.acts(), self.state('a')), ([('resolve', 'a')] * 2, 'unknown'))

    def test_a_death_is_replayed_once(self):
        self.die('a')
        liar, args = self.liar()

        def died_again():
            taken = self.take()['a']
            self.begin(taken)
            self.settle(taken, 'dead', 'attempts_exhausted')
        self.losing(liar, 'admin', died_again)
        r = self.past(args, 'dead', 'replay', '--yes', '--all')
        self.assertIn('1 skipped (1 not dead any more)', r.stdout)
        self.assertEqual((self.acts(), self.state('a')), ([('replay', 'a')] * 2, 'dead'))

    def test_reads_are_repeated(self):
        """Also when Redis is only busy."""
        self.several()
        self.doubt('u')
        self.r('XADD', '{q}:audit', '*', 'verb', 'x')
        reads = (('XRANGE', ('dead', 'list')), ('HMGET', ('dead', 'stats')), ('ZRANGE', ('unknown', 'list')),
                 ('XRANGE', ('audit', 'list')), ('SCAN', ('fsck',)),
                 ('SCAN', ('reconcile', '--ids', os.devnull, '--all')))
        for number, (name, command) in enumerate(reads):
            whole = self.ctl(*command, '--json').out
            for trouble in ('', 'LOADING x', 'READONLY x'):
                liar, args = self.liar('liar-%d-%s' % (number, trouble[:1]))
                if trouble:
                    liar.after(name, lambda *_, text=trouble: Error(text.encode()))
                else:
                    self.losing(liar, name)
                r = self.past(args, *command, '--json')
                self.assertEqual(len(r.stdout.splitlines()), len(whole.splitlines()), (command, trouble))

    def test_trim(self):
        """What had been deleted is said."""
        self.r('EVAL', "for i = 1, 25000 do redis.call('XADD', '{q}:results', i .. '-0', 'sid', 's' .. i) end", 0)
        liar, args = self.liar()
        asked = []

        def second_is_lost(argv, reply):
            asked.append(reply)
            if len(asked) == 2:
                lose()
        liar.after('XTRIM', second_is_lost, times=None)
        r = self.past(args, 'results', 'trim', '--before', '24000-0', '--json', code=UNAVAILABLE)
        told = json.loads(r.stdout)
        self.assertEqual((told['deleted'], told['stopped']), (asked[0], True))
        self.r('EVAL', "for i = 25001, 50000 do redis.call('XADD', '{q}:results', i .. '-0', 'sid', 's' .. i) end", 0)
        asked.clear()
        r = self.past(args, 'results', 'trim', '--before', '49000-0', code=UNAVAILABLE)
        self.assertTrue(r.stdout.startswith('stopped before the end: at least %d results deleted' % asked[0]), r.stdout)
        self.ctl('results', 'trim', '--before', '49000-0')
        self.assertEqual(self.r('XLEN', '{q}:results'), 1001)

    def test_redis_is_full(self):
        """Enqueueing ends, instead of asking for each letter that is left."""
        path = self.write('bulk.jsonl', lines(*(letter('s-%d' % i) for i in range(1500))))
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        self.addCleanup(self.r, 'CONFIG', 'SET', 'maxmemory', 0)
        r = self.ctl('enqueue', path, *self.sealing, '--ring', self.ring, code=UNAVAILABLE)
        self.assertLess(r.err.count('queue_full'), 300)
        self.assertRegex(r.err, r'stopped: what comes after line \d+ was not added\n')

    def test_killed_and_stopped(self):
        """Many: kill -9, then an interrupt, then to the end: each letter is replayed once."""
        n = SCALE
        self.scale(n)
        for k, how in enumerate((signal.SIGKILL, signal.SIGINT)):
            process = self.start('dead', 'replay', '--yes', '--all', '--quiet')
            wait_until(lambda k=k: self.r('XLEN', '{q}:dead') < n - n // 4 * (k + 1), 60, what='replays')
            process.send_signal(how)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, -how if how == signal.SIGKILL else NO)
            self.assertGreater(self.r('XLEN', '{q}:dead'), 0)
        self.ctl('dead', 'replay', '--yes', '--all', '--quiet')
        self.assertEqual(self.r('EVAL', COUNT, 0, '{q}:', 'wait', 4, n), n)
        acts = self.acts()
        acts = [a for a in acts if a[0] != 'note']
        self.assertEqual((len(acts), len(set(acts))), (n, n))


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
