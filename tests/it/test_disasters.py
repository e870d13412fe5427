#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The runbook's disasters, each played: a real Redis and real workers meet just that disaster, somebody follows the section
of ops/RUNBOOK.md command by command in its order, and what the section promises is counted at the chambers."""
import datetime
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import test_docs  # noqa: E402
import test_docs_keys  # noqa: E402
from attest_case import manifest, pcr  # noqa: E402
from stack import Stack, letters, wait_until  # noqa: E402

BOOK = 'ops/RUNBOOK.md'


def unix(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


class Played(test_docs.Commands):
    """A system that is up, and the programs by their names."""
    options = {}
    HEADING = None

    def setUp(self):
        self.stack = Stack(**{'redis': ('--dbfilename', 'dump.rdb'), **self.options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.worker = self.stack.start_worker()
        self.dir, self.made, self.env, self.said = self.stack.path('here'), 0, {}, []
        os.mkdir(self.dir)
        self.make_shims()

    def play(self, before=None, after=None, status=None):
        """Every command of the section, in its order. before, after: what the world does meanwhile, by the number of the
        command; status: exit statuses other than 0, likewise."""
        commands = list(test_docs.commands_of(test_docs.section(BOOK, self.HEADING)))
        env = {**os.environ, 'PATH': self.stack.path('bin') + ':' + os.environ['PATH'], **self.env}
        for n, command in enumerate(commands):
            self.world(before, n, command)
            p = subprocess.run(['sh', '-c', command], cwd=self.dir, env={**env, **self.env}, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=60, check=False)
            self.said.append((command, p.stdout))
            wanted = [code for words, code in (status or {}).items() if words in command] or [0]
            self.assertEqual(p.returncode, wanted[0], '%s\n%s%s' % (command, p.stdout, p.stderr))
            self.world(after, n, command)
        for acts in (before, after):
            self.assertEqual(set(acts or {}) - {'done'}, set(), 'not met in the section')

    @staticmethod
    def world(acts, _n, command):
        for words in [w for w in acts or {} if w != 'done' and w in command]:
            acts.pop(words)()

    def out(self, words, n=0):
        return [out for command, out in self.said if words in command][n]

    def mixed(self, tag, n):
        return [letters.base('%s-%d' % (tag, i), code=('HNE03', 'SNE02')[i % 2]) for i in range(n)]

    def accept(self, tag, n):
        some = self.mixed(tag, n)
        before = len(self.stack.results())
        self.stack.submit(*some)
        self.stack.wait_results(before + n)
        return some

    def posts(self, some):
        return {(s['sid'], s['offices'][0]): self.stack.sim.count(
            delivery_id=account.delivery_id(s['sid'], s['offices'][0])) for s in some}

    def states(self, some):
        return sorted({self.stack.job(s['sid'], s['offices'][0]).get('state', '') for s in some})

    def outbox(self, some):
        self.write('outbox.txt', ''.join('%s %s\n' % (s['sid'], ','.join(s['offices'])) for s in some))

    def named(self, letter):
        return {'sid': letter[0], 'offices': [letter[1]]}


class RedisIsLost(Played):
    HEADING = 'Redis is lost'
    options = {'jobs': {'attempts': 1, 'backoff_base': '1ms'}}

    def exports(self):
        for command in ('cwcctl dead export --jobs >dead.jsonl', 'cwcctl unknown list --export --jobs >unknown.jsonl'):
            subprocess.run(['sh', '-c', command], cwd=self.dir, check=True, stderr=subprocess.DEVNULL, timeout=20,
                           env={**os.environ, 'PATH': self.stack.path('bin') + ':' + os.environ['PATH']})

    def test_played(self):
        s = self.stack
        done = self.accept('done', 6)
        dead, unknown = self.ends_as('dead', action='tls_refuse'), self.ends_as('unknown', action='accept_then_500')
        self.exports()  # the timer that runs each hour
        s.admin('hold', 'HNE01', int((time.time() + 3600) * 1e6), 'asked')
        waits = [letters.base('waits-%d' % i, code='HNE01') for i in range(4)]
        s.submit(*waits)
        wait_until(lambda: self.states(waits) == ['wait'], what='letters in line')
        everything = done + [self.named(dead), self.named(unknown)] + waits
        self.outbox(everything)
        s.kill_redis()
        again = done + waits + [letters.base('dead-1'), letters.base('unknown-2')]
        self.play(before={'cwcctl hold house': s.start_redis, 'cwcctl workers': lambda: self.worker.wait_event('ready', n=2),
                          'cwcctl fsck': lambda: (s.submit(*again), wait_until(lambda: not s.stream('in'), what='intake'))},
                  status={'cwcctl reconcile': 1})  # two that need people
        s.wait_idle()
        # What was accepted is recognized, what was in line is sent, and what needs people still needs them.
        self.assertEqual(set(self.posts(done).values()) | set(self.posts(waits).values()), {1})
        self.assertEqual(self.posts([self.named(dead), self.named(unknown)]), {dead: 0, unknown: 1})
        self.assertEqual(self.states(done + waits), ['accepted'])
        self.assertEqual([self.states([self.named(x)]) for x in (dead, unknown)], [['dead'], ['unknown']])
        self.assertEqual({s.job(x['sid'], x['offices'][0])['outcome'] for x in done}, {'accepted_earlier'})
        with open(os.path.join(self.dir, 'over.jsonl'), encoding='utf-8') as f:
            over = {json.loads(line)['sid'] for line in f}
        self.assertEqual(over, {x['sid'] for x in done} | {dead[0], unknown[0]})
        self.assertRegex(self.out('cwcctl reconcile'), r'\bdead\b(.|\n)*\bunknown\b|\bunknown\b(.|\n)*\bdead\b')


class RedisIsRestored(Played):
    HEADING = 'Redis is restored from an old backup'

    def restore(self):
        """The old file, where no worker dials it."""
        self.stack.kill_redis()
        shutil.copy(self.stack.path('backup'), self.stack.path('dump.rdb'))
        self.stack.redis_path = self.stack.path('aside.sock')
        self.stack.start_redis()
        self.make_ctl()

    def make_ctl(self):
        path = self.write(self.stack.path('bin/cwcctl'), '#!/bin/sh\nexec %s "$@" --redis unix:%s\n' % (test_docs.CTL, self.stack.redis_path))
        os.chmod(path, stat.S_IRWXU)

    def let_it_be_dialled(self):
        os.rename(self.stack.redis_path, self.stack.dialled)
        self.stack.redis_path = self.stack.dialled
        self.make_ctl()
        self.worker.wait_event('ready', n=2)

    def test_played(self):
        s = self.stack
        old = self.accept('old', 4)
        s.admin('hold', 'house', int((time.time() + 3600) * 1e6), 'asked')
        s.admin('hold', 'senate', int((time.time() + 3600) * 1e6), 'asked')
        since, cancelled = self.mixed('since', 6), self.mixed('cancelled', 1)
        s.submit(*since, *cancelled)
        wait_until(lambda: self.states(since + cancelled) == ['wait'], what='letters in line')
        s.redis('SAVE')
        shutil.copy(s.path('dump.rdb'), s.path('backup'))
        # What the backup does not know: these were sent, one was cancelled, others came.
        s.admin('cancel', cancelled[0]['sid'])
        s.admin('resume', 'house')
        s.admin('resume', 'senate')
        fresh = self.accept('fresh', 4)
        wait_until(lambda: self.states(since) == ['accepted'], what='accepted')
        s.wait_idle()
        everything = old + since + cancelled + fresh
        self.outbox(everything)
        cancel = ['cwcctl', 'cancel', cancelled[0]['sid'], cancelled[0]['offices'][0], '--redis', 'unix:' + s.dialled]

        def told_again():
            s.submit(*fresh)
            wait_until(lambda: not s.stream('in'), what='intake')
            self.assertEqual(subprocess.run([test_docs.CTL, *cancel[1:]], check=False, stdout=subprocess.DEVNULL, timeout=20).returncode, 0)
        self.restore()
        self.play(after={'cwcctl fsck --mend': self.let_it_be_dialled},
                  before={'cwcctl reconcile': told_again}, status={'cwcctl fsck --mend': 0})
        s.wait_idle()
        self.assertEqual(set(self.posts(old + since + fresh).values()), {1})
        self.assertEqual(set(self.posts(cancelled).values()), {0})
        self.assertEqual(self.states(old + since + fresh), ['accepted'])
        self.assertEqual(self.states(cancelled), ['cancelled'])
        self.assertEqual({s.job(x['sid'], x['offices'][0])['outcome'] for x in since + fresh}, {'accepted_earlier'})


class CongressIsDown(Played):
    """A day in seconds; tests/scenario/day-*.scn have the day itself."""
    HEADING = 'Congress is down for a day'
    options = {'jobs': {'attempts': 100, 'age_max': '1s', 'backoff_base': '50ms', 'backoff_cap': '100ms'}, 'rate': '20/s', 'burst': 1,
               'measured_house': {'breaker_open': '100ms'}}

    def test_played(self):
        s = self.stack
        self.stack.sim.close_idle()
        s.sim.fault(chamber='house', action='tls_refuse')
        early = [letters.base('early-%d' % i, code='HNE0%d' % (i % 3 + 1)) for i in range(6)]
        s.submit(*early)
        wait_until(lambda: s.redis('XLEN', s.key('dead')) >= 3, what='dead letters')
        self.worker.wait_event('breaker_open')
        later = [letters.base('later-%d' % i, code='HNE0%d' % (i % 3 + 1)) for i in range(60)]
        senate = [letters.base('senate-%d' % i, code='SNE02') for i in range(3)]
        began = {}

        def paused():
            s.submit(*later, *senate)
            wait_until(lambda: self.states(senate) == ['accepted'], what='the other chamber')
            wait_until(lambda: self.depth()['house_taken'] == self.depth()['house_begun'] == 0 and self.depth()['house_waiting'] >= 60, what='a line')
            began.update({k: s.job(*k)['attempt'] for k in self.posts(later)})

        def is_back():
            self.assertEqual({k: s.job(*k)['attempt'] for k in self.posts(later)}, began)  # none was used up
            s.sim.clear_faults()

        def empty():
            s.wait_idle()
            wait_until(lambda: self.states(later) == ['accepted'], what='the line to be empty')
        self.outbox(early + later + senate)
        self.play(after={'cwcctl pause house': paused},
                  before={'cwcctl resume house': is_back, 'cwcctl dead stats': empty,
                          'cwcctl reconcile': lambda: (s.wait_idle(), wait_until(lambda: self.states(early) == ['accepted'], what='replayed'))},
                  status={'attempts_exhausted': 1, 'unknown list': 1})  # there are none
        self.assertEqual(set(self.posts(early + later + senate).values()), {1})
        self.assertEqual((s.redis('XLEN', s.key('dead')), s.redis('ZCARD', s.key('unknown'))), (0, 0))
        self.assertIn('ticket 4711', self.out('cwcctl limits') + ''.join(a['c'] for a in s.stream('audit')))
        self.assertRegex(self.out('cwcctl scale'), r'desired +1\n')
        self.assertIn('breaker_open', self.out('journalctl'))

    def depth(self):
        return json.loads(subprocess.run([test_docs.CTL, 'depth', '--json', '--redis', 'unix:' + self.stack.redis_path], check=True,
                                         capture_output=True, text=True, timeout=20).stdout)


class TwiceInTheHouse(Played):
    HEADING = 'The House says that a letter came twice'

    def test_played(self):
        """Of unknown fate, which the House had taken all the same; a person had it sent again."""
        s = self.stack
        some = self.accept('others', 4)
        sid, office = self.ends_as('unknown', action='accept_then_500')
        subprocess.run([test_docs.CTL, 'unknown', 'resolve', sid, office, 'resend', '--redis', 'unix:' + s.redis_path],
                       check=True, stdout=subprocess.DEVNULL, timeout=20)
        s.wait_status(sid, office, 'accepted')
        s.wait_idle()
        record = s.job(sid, office)
        self.env = {'DELIVERY_ID': record['delivery_id'], 'OFFICE': office}
        self.outbox(some + [self.named((sid, office))])
        self.play()
        with open(os.path.join(self.dir, 'complaint.json'), encoding='utf-8') as f:
            found, at = json.JSONDecoder().raw_decode(f.read())
            f.seek(0)
            lines = [json.loads(line) for line in f.read()[at:].split('\n') if line]
        one, = found['letters']
        seen = s.sim.records(delivery_id=record['delivery_id'])
        self.assertEqual((one['sid'], one['office'], len(one['posts']), len(seen)), (sid, office, 2, 2))
        for post, at_chamber in zip(one['posts'], seen):
            self.assertTrue(unix(post['begun']) - 1 <= at_chamber['t'] <= unix(post['ended']) + 1, (post, at_chamber))
            self.assertRegex(post['worker'], '^w1/')
        self.assertEqual([a['verb'] for a in one['acts']], ['resolve'])
        # A line of the worker's log for each POST, found by the DeliveryId alone.
        self.assertEqual([(x['event'], x['outcome']) for x in lines if x['event'] == 'letter_ended'],
                         [('letter_ended', 'outcome_unknown'), ('letter_ended', 'accepted')])
        self.assertEqual({x['sid'] for x in lines}, {sid})


class DeniedByKms(test_docs_keys.Chapter):
    """The image of 1.4.1 is built from other sources than its key's policy admits. One key stands for the two."""
    HEADING = 'A new image is denied by KMS'
    BAD = 'release 1.4.1'

    def measured(self, image):
        return {i: pcr(('%s %s' % (part, image)).encode()) for i, part in enumerate(('image', 'kernel', 'application'))}

    def old_release(self):
        """Up and carrying letters, by the chapter on keys."""
        for command in test_docs.console_commands(BOOK, test_docs_keys.CHAPTER):
            self.run_command(command)
            if 'house.sealed senate.sealed' in command:
                return

    def told(self, command, code):
        p = subprocess.run(['sh', '-c', command], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=60, check=False)
        self.assertEqual(p.returncode, code, '%s\n%s%s\n%s' % (command, p.stdout, p.stderr, self.bad.tail()))
        return p.stdout + p.stderr

    def go_back(self):
        """The old one had been stopped, too early: letters wait. It is started as it was, and they go."""
        self.assertEqual(len(self.stack.stream('in')), len(self.waits))
        self.worker = self.stack.start_worker('w1', env={'CWC_SIM_IMAGE': test_docs_keys.IMAGE})
        self.stack.wait_idle()
        self.assertEqual({self.stack.job(s['sid'], s['offices'][0])['state'] for s in self.waits}, {'accepted'})
        self.assertEqual((self.bad.events('ready'), {e['reason'] for e in self.bad.events('keys_missing')}), ([], {'no_bundle'}))
        os.rename(self.path('store'), self.path('store.1.4.0'))
        self.write('store', '')

    def test_played(self):
        self.old_release()
        self.bad = self.stack.start_worker('w2', ready=False, env={'CWC_SIM_IMAGE': self.BAD})
        self.assertEqual(self.bad.wait_event('bundle_refused')['reason'], 'maker')
        self.write('built.txt', manifest(**{'1.4.1': self.measured(self.BAD)}))
        self.assertEqual(self.worker.stop(), 0)
        self.waits = list(letters.sample(4))
        for i, s in enumerate(self.waits):
            s['sid'] += '-waits%d' % i
        self.waits = [{**s, 'offices': s['offices'][:1]} for s in self.waits]
        self.stack.submit(*self.waits)
        self.write('bin/journalctl', '#!/bin/sh\nexec cat %s\n' % self.bad.log_path, stat.S_IRWXU)
        key = self.kms.ready['keys'][0]
        self.env = {**os.environ, 'PATH': self.path('bin') + ':' + os.environ['PATH'], 'BAD_KMS_KEY': key, 'KMS_KEY': key,
                    'STATUS': self.stack.status_address('w2')}
        said = []
        for command in test_docs.commands_of(test_docs.section(BOOK, self.HEADING)):
            denied = 'never.bundle' in command
            code = 69 if denied else 1 if 'keys status' in command or 'attest diff' in command else 0
            if command == 'cwcctl workers':
                self.go_back()
            said.append(self.told(command, code))
            if command.startswith('aws '):
                self.after_aws()
            if denied:
                self.assertIn('kms_denied', said[-1])
            if 'keys status' in command:
                self.assertIn('the measurements are not allowed', said[-1])
        self.assertIn('bundle_refused', said[0])
        self.assertFalse(os.path.exists(self.path('never.bundle')))
        self.assertEqual(self.bad.wait_event('bundle_loaded')['bundle'], 1)
        self.assertEqual(self.worker.events('bundle_refused')[-1:], self.worker.events('bundle_refused')[:1])
        self.assertGreaterEqual(self.kms.stats()['types']['AccessDeniedException'], 1)


DISASTERS = (RedisIsLost, RedisIsRestored, CongressIsDown, TwiceInTheHouse, DeniedByKms)


class Runbook(unittest.TestCase):
    def test_each_is_played(self):
        self.assertEqual({c.HEADING for c in DISASTERS}, set(test_docs.DISASTERS))


def load_tests(loader, _tests, _pattern):
    """Not those of the classes that they are made from."""
    return unittest.TestSuite([loader.loadTestsFromTestCase(Runbook), *[c('test_played') for c in DISASTERS]])


if __name__ == '__main__':
    unittest.main()
