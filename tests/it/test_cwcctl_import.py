#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Dead letters and those of unknown fate, exported from a queue that is then lost, and brought back into a new one."""
import base64
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, USAGE, rq, wait_until  # noqa: E402
from people_case import Case  # noqa: E402


class Import(Case):
    def lose_redis(self):
        self.r('FLUSHALL')
        self.sha = rq.load(self.r)
        self.call('beat', 'w1/1', 60 * 10**6, 'join', self.now(), 1, '')

    def exported(self, *options, command=('dead', 'export')):
        return self.write('out.jsonl', self.ctl(*command, *options).out)

    def record(self, sid, office='HNE03'):
        return rq.pairs(self.r('HGETALL', '{q}:job:%s:%s' % (sid, office)))

    def test_a_lost_redis(self):
        """All that people can see of a letter is as it was, to the millisecond; it can be sent again, with its bytes."""
        self.several()
        before = {sid: self.ctl('dead', 'show', sid, office, '--json').json for sid, office in self.offices()}
        path = self.exported('--jobs')
        self.lose_redis()
        r = self.ctl('dead', 'import', path, '--count-check', '5')
        self.assertEqual((r.out, r.err), ('5 imported, 0 known to the queue, 0 failed, 0 bad lines\n', ''))
        for sid, office in self.offices():
            after = self.ctl('dead', 'show', sid, office, '--json').json
            same = set(before[sid]) - {'dead_id', 'last_token'}
            self.assertEqual({k: after.get(k) or None for k in same}, {k: before[sid][k] or None for k in same})
        self.ctl('fsck')  # finds nothing
        self.ctl('dead', 'replay', '--all', '--yes')
        taken = {**self.take('house'), **self.take('senate')}
        self.assertEqual({sid: x[17] for sid, x in taken.items()}, {sid: 'bytes' for sid, _ in self.offices()})
        self.assertEqual({x[10] for x in taken.values()}, {'d' * 32})

    @staticmethod
    def offices():
        return (('old', 'HNE03'), ('crash', 'HNE01'), ('senate', 'SNE02'), ('new', 'HNE03'), ('other', 'HNE01'))

    def test_twice(self):
        """The same file again does nothing, whatever has become of the letters; nor do letters that were never lost."""
        self.several()
        path = self.exported('--jobs')
        self.assertIn('0 imported, 5 known', self.ctl('dead', 'import', path, '--yes').out)
        self.lose_redis()
        self.ctl('dead', 'import', path, '--yes')
        self.ctl('dead', 'replay', 'new', 'HNE03')
        entries = self.r('XLEN', '{q}:dead')
        *rows, last = self.ctl('dead', 'import', path, '--yes', '--json').lines
        self.assertEqual({r['sid']: r['state'] for r in rows},
                         {'old': 'dead', 'crash': 'dead', 'senate': 'dead', 'new': 'wait', 'other': 'dead'})
        self.assertEqual((last['summary']['imported'], last['summary']['known']), (0, 5))
        self.assertEqual(self.r('XLEN', '{q}:dead'), entries)
        self.assertEqual([a['verb'] for a in rq.stream(self.r, 'audit')], ['import'] * 5 + ['replay'])

    def test_unknown(self):
        """The producer sends all of its outbox again: what is back is not sent a second time."""
        self.doubt('u')
        before = self.ctl('unknown', 'list', '--json').json[0]
        path = self.exported('--export', '--jobs', command=('unknown', 'list'))
        self.ctl('dead', 'import', path, '--yes', code=NO)
        self.lose_redis()
        self.assertIn('1 imported', self.ctl('unknown', 'import', path, '--yes').out)
        after = self.ctl('unknown', 'list', '--json').json[0]
        self.assertEqual([p['begun'] for p in after['unknown_posts']], [p['begun'] for p in before['unknown_posts']])
        self.assertEqual((after['delivery_id'], after['rev'], after['ended']),
                         (before['delivery_id'], before['rev'], before['ended']))
        self.add('u')
        self.assertEqual((self.take(), self.state('u')), ({}, 'unknown'))
        self.ctl('unknown', 'resolve', 'u', 'HNE03', 'resend')
        self.assertEqual(self.take()['u'][17], 'bytes')

    def test_without_jobs(self):
        self.die('a')
        path = self.exported()
        self.assertNotIn('"job"', self.ctl('dead', 'export').out)
        self.lose_redis()
        r = self.ctl('dead', 'import', path, '--yes')
        self.assertIn('1 lines are without the sealed job', r.err)
        self.ctl('dead', 'show', 'a', 'HNE03')
        self.ctl('dead', 'drop', 'a', 'HNE03')
        self.assertEqual(self.record('a')['why'], 'dropped')

    def test_the_export_has_the_bytes(self):
        self.die('a')
        row, = self.ctl('dead', 'export', '--jobs').lines
        self.assertEqual(base64.b64decode(row['job']), b'bytes')
        row, = self.ctl('dead', 'export', '--jobs', '--ids', self.write('ids', 'a HNE03\n')).lines
        self.assertEqual(base64.b64decode(row['job']), b'bytes')

    def test_bad_lines(self):
        self.die('a')
        good = self.ctl('dead', 'export', '--jobs').out
        self.lose_redis()
        other = json.dumps({**json.loads(good), 'job': base64.b64encode(b'other').decode()}) + '\n'
        path = self.write('bad.jsonl', good + 'x\n{}\n')
        r = self.ctl('dead', 'import', path, '--yes', code=NO)
        self.assertRegex(r.err, r'bad.jsonl:2: not a JSON.*\n.*bad.jsonl:3: it has no sid\n.*2 bad lines: nothing was done')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)
        r = self.ctl('dead', 'import', path, '--yes', '--keep-going', code=NO)
        self.assertEqual(r.out, '1 imported, 0 known to the queue, 0 failed, 2 bad lines\n')
        self.lose_redis()
        r = self.ctl('dead', 'import', self.write('other.jsonl', other), '--yes', code=NO)
        self.assertIn('a HNE03: BADARG job', r.err)
        self.assertEqual((r.out, self.r('XLEN', '{q}:dead')), ('0 imported, 0 known to the queue, 1 failed, 0 bad lines\n', 0))

    def test_count_and_ask(self):
        self.several()
        path = self.exported('--jobs')
        self.lose_redis()
        self.assertIn('give --yes or --count-check', self.ctl('dead', 'import', path, code=USAGE).err)
        self.assertIn('5 lines, not 4: nothing was done', self.ctl('dead', 'import', path, '--count-check', '4', code=NO).err)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        self.assertIn('can be read only once', self.ctl('dead', 'import', '-', code=USAGE, stdin=text).err)
        r = self.ctl('dead', 'import', path, '--dry-run')
        self.assertIn('5 would be imported', r.out)
        self.assertEqual((self.r('XLEN', '{q}:dead'), self.r('XLEN', '{q}:audit')), (0, 0))
        self.assertIn('5 imported', self.ctl('dead', 'import', '-', '--yes', stdin=text).out)
        self.assertRegex(self.ctl('dead', 'import', path, '--dry-run').out, r'old +HNE03 +known \(dead\)\n')

    def test_many_and_an_interrupt(self):
        """kill -9 in the middle, an interrupt, and to the end: each once."""
        n = 4000
        self.scale(n)
        path = self.exported('--jobs')
        self.lose_redis()
        for k, how in enumerate((signal.SIGKILL, signal.SIGINT)):
            process = self.start('dead', 'import', path, '--yes')
            wait_until(lambda k=k: self.r('XLEN', '{q}:dead') > 500 * (k + 1) or process.poll() is not None, what='imports', pause=.001)
            process.send_signal(how)
            process.communicate(timeout=30)
        self.ctl('dead', 'import', path, '--yes')
        self.assertEqual((self.r('XLEN', '{q}:dead'), len(self.ctl('dead', 'list', '--json').json)), (n, n))
        acts = [(a['a'], a['b']) for a in rq.stream(self.r, 'audit') if a['verb'] == 'import']
        self.assertEqual((len(acts), len(set(acts))), (n, n))


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
