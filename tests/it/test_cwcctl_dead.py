#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl and dead letters: filters, looking, and acts on many."""
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, SECOND, UNAVAILABLE, USAGE, rq, wait_until  # noqa: E402
from people_case import ASAN, COUNT, DAY, MEMORY_KB, SCALE, Case, peak_kb  # noqa: E402


class Filters(Case):
    def test_each(self):
        self.several()
        self.assertEqual(self.listed(), ['old', 'crash', 'senate', 'new', 'other'])
        for filters, sids in ((('--office', 'HNE03'), ['old', 'new']),
                              (('--office', 'HNE01,SNE02'), ['crash', 'senate', 'other']),
                              (('--chamber', 'senate'), ['senate']),
                              (('--chamber', 'house'), ['old', 'crash', 'new', 'other']),
                              (('--outcome', 'crashes,age_exhausted'), ['crash', 'senate']),
                              (('--class', 'strange'), ['other']),
                              (('--sid', 'new,old'), ['old', 'new']),
                              (('--older', '1d'), ['old', 'crash']),
                              (('--newer', '1d'), ['senate', 'new', 'other']),
                              (('--older', '1h', '--newer', '3d'), ['crash', 'senate']),
                              (('--newer', '3d', '--chamber', 'house', '--outcome', 'attempts_exhausted'), ['new', 'other']),
                              (('--count', '2'), ['new', 'other']),
                              (('--count', '1', '--office', 'HNE01'), ['other']),
                              (('--count', '3', '--older', '1h'), ['old', 'crash', 'senate'])):
            self.assertEqual(self.listed(*filters), sids, filters)
        noon = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - DAY))
        self.assertEqual(self.listed('--older', noon), ['old', 'crash'])

    def test_nothing_matches(self):
        self.assertEqual(self.ctl('dead', 'list').out, 'no dead letters\n')
        self.several()
        for command in (('dead', 'list'), ('dead', 'stats'), ('dead', 'replay', '--yes'), ('dead', 'drop', '--dry-run')):
            r = self.ctl(*command, '--office', 'HNE02', code=NO)
            self.assertEqual(r.out, 'no dead letter matches\n')
        self.assertEqual(self.listed('--office', 'HNE02', code=NO), [])
        r = self.ctl('dead', 'export', '--sid', 'absent', code=NO)
        self.assertEqual((r.out, r.err), ('', 'no dead letter matches\n'))
        self.assertEqual(self.ctl('dead', 'export', '--sid', 'absent', '--quiet', code=NO).err, '')
        self.assertEqual(self.ctl('unknown', 'list', '--office', 'HNE02', code=NO).out,
                         'no letter of unknown fate matches\n')

    def test_bad_ones(self):
        for bad in (('--office', 'HXX99'), ('--office', ''), ('--office', 'HNE03,'), ('--chamber', 'mars'),
                    ('--older', 'x'), ('--newer', '1 day'), ('--sid', 'a b'), ('--count', '0'), ('--class', '')):
            if bad == ('--office', 'HNE03,'):  # a comma at the end is no further office
                self.ctl('dead', 'list', *bad, code=NO)
            else:
                self.ctl('dead', 'list', *bad, code=USAGE)
        self.ctl('dead', 'replay', 'sid', 'HNE03', '--chamber', 'house', code=USAGE)
        self.ctl('dead', 'replay', '--all', '--rate', '0', code=USAGE)
        self.ctl('dead', 'replay', '--all', '--rate', '5/year', code=USAGE)
        self.ctl('dead', 'replay', '--all', '--from', 'x', code=USAGE)
        self.ctl('dead', 'replay', '--count', '3', code=USAGE)  # is no filter
        self.ctl('dead', 'replay', '--yes', '--ids', self.path('absent'), code=NO)

    def test_ids(self):
        self.several()
        path = self.write('ids', '# chosen\n\nnew HNE03\n  crash\tHNE01 \n')
        self.assertEqual(self.listed('--ids', path), ['new', 'crash'])
        self.assertEqual(self.listed('--ids', path, '--chamber', 'house', '--older', '1h'), ['crash'])
        exported = self.ctl('dead', 'export', '--chamber', 'senate').out
        r = self.ctl('dead', 'list', '--ids', '-', '--json', stdin=exported)
        self.assertEqual([x['sid'] for x in r.json], ['senate'])
        r = self.ctl('dead', 'replay', '--yes', '--ids', '-', '--json', code=NO,
                     stdin='new HNE03\nnew\nabsent HNE03\nnew HNE03 x\n')
        self.assertEqual([x['answer'] for x in r.lines[:-1]], ['done', 'no such job'])
        self.assertEqual([self.summary(r)[k] for k in ('replayed', 'bad_lines', 'failed')], [1, 2, 0])
        self.assertIn('standard input:2: not SID OFFICE', r.err)
        self.assertEqual(self.state('new'), 'wait')
        # again: what was done before is no failure
        r = self.ctl('dead', 'replay', '--yes', '--ids', '-', stdin='new HNE03\ncrash HNE01\n')
        self.assertRegex(r.out, r'^1 replayed, 1 skipped \(1 not dead any more\), 0 failed ')

    def test_leftovers(self):
        """Entries that the record does not name are neither listed nor acted on, but counted."""
        self.several()
        self.r('XADD', '{q}:dead', '*', 'sid', 'new', 'office', 'HNE03', 'outcome', 'crashes')
        self.r('XADD', '{q}:dead', '*', 'sid', 'gone', 'office', 'HNE03', 'outcome', 'crashes')
        self.r('XADD', '{q}:dead', '*', 'nonsense', 'x')
        self.assertEqual(self.listed('--outcome', 'crashes'), ['crash'])
        self.assertEqual(self.ctl('dead', 'stats', '--json').json['leftovers'], 3)
        r = self.ctl('dead', 'replay', '--yes', '--all', '--json')
        self.assertEqual((self.summary(r)['replayed'], self.summary(r)['skipped']['leftovers']), (5, 3))


class Look(Case):
    def test_stats(self):
        self.several()
        s = self.ctl('dead', 'stats', '--json').json
        self.assertEqual(s['letters'], 5)
        self.assertEqual(s['outcome'], {'attempts_exhausted': 3, 'crashes': 1, 'age_exhausted': 1})
        self.assertEqual(s['class'], {'ended': 4, 'strange': 1})
        self.assertEqual(s['chamber'], {'house': 4, 'senate': 1})
        self.assertEqual(s['office'], {'HNE03': 2, 'HNE01': 2, 'SNE02': 1})
        self.assertEqual(s['http_status'], {'503': 3, '0': 1, '500': 1})
        self.assertEqual({a['name']: a['letters'] for a in s['age'] if a['letters']},
                         {'under 1 h': 2, 'under 6 h': 1, 'under 3 d': 1, 'under 30 d': 1})
        self.assertLess(s['oldest'], s['newest'])
        text = self.ctl('dead', 'stats', '--chamber', 'house').out
        self.assertTrue(text.startswith('4 dead letters, ended from '))
        self.assertRegex(text, r'\nOUTCOME +LETTERS\nattempts_exhausted +3\ncrashes +1\n')
        self.assertNotIn('SNE02', text)

    def test_export(self):
        self.several()
        r = self.ctl('dead', 'export')
        rows = r.lines
        self.assertEqual([x['sid'] for x in rows], ['old', 'crash', 'senate', 'new', 'other'])
        row = rows[3]
        self.assertEqual([(a['attempt'], a['http_status'], a['outcome']) for a in row['history']],
                         [(1, 503, 'attempts_exhausted')])
        for name in ('id', 'office', 'rev', 'outcome', 'class', 'detail', 'http_status', 'delivery_id', 'date', 'attempt',
                     'crashes', 'deliveries', 'generation', 'first', 'begun', 'ended', 'expires', 'state', 'digest'):
            self.assertIn(name, row)
        self.assertNotIn('bytes', r.out.replace('"bytes"', ''))  # the job's bytes are `bytes` here
        self.assertIn('5 exported; what comes after these: --from %s\n' % rows[-1]['id'], r.err)
        rest = self.ctl('dead', 'export', '--from', rows[1]['id'], '--count', '2').lines
        self.assertEqual([x['sid'] for x in rest], ['senate', 'new'])

    def test_show(self):
        self.add('s')
        for attempt in range(2):
            taken = self.take()['s']
            self.begin(taken)
            verb = ('retry', '', 'no_answer', '') if attempt == 0 else ('end', 'dead', 'attempts_exhausted', 'ended')
            now = self.now()
            self.call('settle', 'w1/1', *taken[:3], *verb, 0, 'timeout', 503, now, now, now, b'', b'', -1, 0, 0)
        text = self.ctl('dead', 'show', 's', 'HNE03').out
        self.assertRegex(text, r'attempts +2\n')
        self.assertIn('2 of 2', text)
        self.assertRegex(text, r'\nATTEMPT +BEGUN +ENDED +HTTP +OUTCOME +WORKER\n1 +\S+Z +\S+Z +503 +no_answer +w1/1\n2 +\S+Z +\S+Z +503 ')
        self.assertNotIn('has expired', text)
        self.r('HSET', '{q}:job:s:HNE03', 'expires_us', self.now() - SECOND)
        self.assertIn('It has expired: a replay ends it as expired.', self.ctl('dead', 'show', 's', 'HNE03').out)

    def test_many_pages(self):
        self.scale(350)
        rows = self.ctl('dead', 'list', '--json').json
        self.assertEqual([r['sid'] for r in rows], ['s%d' % i for i in range(1, 351)])
        self.assertEqual(len(rows[0]['history']), 8)
        self.assertEqual(len(self.ctl('dead', 'list').out.splitlines()), 351)
        self.assertEqual([r['sid'] for r in self.ctl('dead', 'list', '--count', '150', '--chamber', 'house', '--json').json],
                         ['s%d' % i for i in range(1, 351) if i % 4][-150:])


class Bulk(Case):
    def test_filters(self):
        self.several()
        r = self.ctl('dead', 'replay', '--chamber', 'house', '--newer', '3d', '--dry-run')
        self.assertEqual([line.split()[0] for line in r.out.splitlines()], ['crash', 'new', 'other', '3'])
        self.assertIn('3 would be replayed, 0 skipped, 0 failed', r.out)
        self.assertEqual((self.r('XLEN', '{q}:dead'), self.r('XLEN', '{q}:audit')), (5, 0))
        r = self.ctl('dead', 'replay', '--yes', '--chamber', 'house', '--newer', '3d', '--count', '2')
        self.assertRegex(r.out, r'^2 replayed, 0 skipped, 0 failed \(')
        self.assertEqual([self.state(*x) for x in (('old',), ('crash', 'HNE01'), ('new',), ('other', 'HNE01'))],
                         ['dead', 'wait', 'wait', 'dead'])
        audit = rq.stream(self.r, 'audit')
        self.assertEqual([(a['verb'], a['a'], a['b']) for a in audit], [
            ('replay', 'crash', 'HNE01'), ('replay', 'new', 'HNE03'), ('note', 'dead replay', '2 done, 0 passed over, 0 failed')])
        self.assertRegex(audit[0]['who'], '^.+@.+$')
        self.ctl('dead', 'drop', '--yes', '--older', '5d')
        self.assertEqual((self.state('old'), self.r('HGET', '{q}:job:old:HNE03', 'why')), ('close', 'dropped'))

    def test_needs_a_selection(self):
        self.several()
        for verb in ('replay', 'drop'):
            self.assertIn('--all', self.ctl('dead', verb, code=USAGE).err)
            self.ctl('dead', verb, '--dry-run')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 5)

    def test_unknown_fates_are_left_alone(self):
        self.doubt('u')
        self.die('d')
        self.ctl('dead', 'replay', '--yes', '--all')
        self.assertEqual((self.state('u'), self.state('d')), ('unknown', 'wait'))
        self.assertIn('not dead', self.ctl('dead', 'replay', 'u', 'HNE03', code=NO).out)
        self.assertEqual(self.state('u'), 'unknown')

    def test_one_fails(self):
        """The others go on; a later run meets it again."""
        self.several()
        self.r('RENAME', '{q}:sub:crash', '{q}:aside')
        self.r('SET', '{q}:sub:crash', 'x')
        r = self.ctl('dead', 'replay', '--yes', '--all', '--json', code=NO)
        s = self.summary(r)
        self.assertEqual((s['replayed'], s['failed']), (4, 1))
        self.assertIn('crash HNE01: ', r.err)
        self.r('RENAME', '{q}:aside', '{q}:sub:crash')
        self.assertEqual(self.summary(self.ctl('dead', 'replay', '--yes', '--all', '--json'))['replayed'], 1)

    def test_redis_refuses(self):
        self.several()
        self.r('ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', '+@all', '-evalsha')
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'reader')
        r = self.ctl('dead', 'replay', '--yes', '--all', '--user', 'reader', '--password-file', self.write('pw', 'pw', 0o600),
                     code=UNAVAILABLE)
        self.assertIn('5 failed', r.out)
        self.assertEqual(self.r('XLEN', '{q}:dead'), 5)

    def test_rate(self):
        self.scale(30)
        start = time.monotonic()
        s = self.summary(self.ctl('dead', 'replay', '--yes', '--all', '--rate', '20/s', '--json'))
        self.assertEqual(s['replayed'], 30)
        self.assertGreater(time.monotonic() - start, 1.3)  # 30 at 20/s; the last of them need not be waited for

    def test_progress_lines(self):
        """Without a terminal a line a second, and none with --quiet."""
        self.scale(30)
        r = self.ctl('dead', 'replay', '--yes', '--chamber', 'house', '--rate', '8/s')
        self.assertRegex(r.err, r'^cwcctl: \d+ of 30, \d+ replayed, \d+/s')
        self.assertLess(r.err.count('\n'), 8)
        self.assertEqual(self.ctl('dead', 'replay', '--yes', '--all', '--rate', '4/s', '--quiet').err, '')

    def test_progress_bar(self):
        self.scale(20)
        terminal, stderr = pty.openpty()
        with os.fdopen(terminal, 'rb', 0) as seen:
            process = subprocess.Popen([CTL, 'dead', 'drop', '--yes', '--all', '--rate', '10/s', *self.redis], stderr=stderr,
                                       stdout=subprocess.PIPE)
            os.close(stderr)
            text = b''
            try:
                while True:
                    text += seen.read(4096)
            except OSError:  # the other side is closed
                pass
            out, _ = process.communicate(timeout=20)
        self.assertRegex(text, rb'\r\[#+ *\] \d+ of 20, \d+ dropped, \d+/s')
        self.assertTrue(text.endswith(b'\r\x1b[K'))
        self.assertTrue(out.startswith(b'20 dropped'))

    def test_stop_and_go_on(self):
        """With a filter that has a count and an age: the printed command means the same letters."""
        self.scale(40)
        self.die('fresh')
        process = self.start('dead', 'replay', '--yes', '--older', '1d', '--count', '30', '--rate', '20/s')
        wait_until(lambda: self.r('XLEN', '{q}:dead') < 36, what='progress')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, NO, err)
        done = int(out.split()[0])
        self.assertEqual(self.r('XLEN', '{q}:dead'), 41 - done)
        command = err.splitlines()[-1].strip()
        self.assertRegex(command, r'^cwcctl dead replay --redis \S+ --count %d --older 20\S+Z --rate 20/s --yes --from \d+-\d+$'
                         % (30 - done))
        r = self.again(command)
        self.assertTrue(r.out.startswith('%d replayed' % (30 - done)), r.out)
        self.assertEqual((self.r('XLEN', '{q}:dead'), self.state('fresh')), (11, 'dead'))

    def again(self, command):
        """Runs a command that cwcctl printed; it names the server, too."""
        words = shlex.split(command)
        self.assertEqual(words[0], 'cwcctl')
        r = subprocess.run([CTL, *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                           stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(r.returncode, OK, r.stderr)
        r.out = r.stdout
        return r

    def test_lost_connections(self):
        """Connections are lost while acts are under way: each letter is replayed once."""
        self.scale(2000)
        process = self.start('dead', 'replay', '--yes', '--all', '--quiet')
        for left in (1700, 1200, 600):
            wait_until(lambda left=left: self.r('XLEN', '{q}:dead') <= left or process.poll() is not None, what='replays')
            self.r('CLIENT', 'PAUSE', 60000, 'WRITE')  # reads go on: it comes to its next acts and waits
            wait_until(lambda: re.search(r'flags=b.*cmd=evalsha', self.r('CLIENT', 'LIST')), what='an act that waits')
            self.r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
            self.r('CLIENT', 'UNPAUSE')
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, OK, err)
        done, gone, again = map(int, re.match(r'(\d+) replayed, (\d+) skipped.* (\d+) asked again', out).groups())
        self.assertEqual((done + gone, again >= 3), (2000, True), out)
        self.assertEqual(self.r('EVAL', COUNT, 0, '{q}:', 'wait', 4, 2000), 2000)

    def test_queue_is_sound(self):
        """Half way through, and after drops: each letter in one place, as its record says."""
        self.scale(600)
        self.r('HSET', '{q}:meta', 'num', 600)
        self.ctl('fsck')
        self.ctl('dead', 'replay', '--yes', '--all', '--count', '250')
        self.ctl('dead', 'drop', '--yes', '--chamber', 'senate')
        self.ctl('fsck')
        self.assertEqual(self.listed(), ['s%d' % i for i in range(251, 601) if i % 4])

    def test_dies_again_meanwhile(self):
        """A run ends at what was there when it began."""
        self.scale(30)
        process = self.start('dead', 'replay', '--yes', '--all', '--rate', '20/s', '--json')
        process.stdout.readline()
        self.die('late')
        out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, json.loads(out.splitlines()[-1])['summary']['replayed']), (OK, 30), err)
        self.assertEqual(self.state('late'), 'dead')

    def test_scale(self):
        """Many dead letters, interrupted in the middle and resumed: each replayed once, in bounded memory."""
        self.scale(SCALE)
        process = self.start('dead', 'replay', '--yes', '--all', '--json')
        rows = 0
        while rows < SCALE // 2:
            process.stdout.readline()
            rows += 1
        process.send_signal(signal.SIGINT)
        peak = peak_kb(process.pid)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, NO, err)
        first = json.loads(out.splitlines()[-1])['summary']
        self.assertEqual(first['replayed'], rows + len(out.splitlines()) - 1)
        self.assertTrue(first['stopped'])
        self.assertEqual(self.r('XLEN', '{q}:dead'), SCALE - first['replayed'])
        self.assertLess(first['replayed'], SCALE)
        command = err.splitlines()[-1].strip()
        process = subprocess.Popen([CTL, *shlex.split(command)[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(self.end, process)
        for line in process.stdout:
            last = line
            rows += 1
            if rows % 1000 == 0:
                peak = max(peak, peak_kb(process.pid))
        self.assertEqual(process.wait(20), OK)
        second = json.loads(last)['summary']
        self.assertEqual(first['replayed'] + second['replayed'], SCALE)
        self.assertEqual([s[k] for s in (first, second) for k in ('failed', 'asked_again')], [0, 0, 0, 0])
        self.assertEqual(self.r('EVAL', COUNT, 0, '{q}:', 'wait', 4, SCALE), SCALE)
        self.assertEqual(sum(self.r('ZCARD', '{q}:wait:' + o) for o in ('HNE01', 'HNE02', 'HNE03', 'SNE02')), SCALE)
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)
        self.assertTrue(ASAN or 0 < peak < MEMORY_KB, peak)
        rate = SCALE / (first['seconds'] + second['seconds'])
        print('%d letters replayed at %.0f/s, at most %d KB' % (SCALE, rate, peak), file=sys.stderr)
        self.assertGreater(rate, 100 if ASAN else 500)  # also on a machine that does other things


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
