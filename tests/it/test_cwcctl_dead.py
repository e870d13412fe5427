#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl and what people must decide: dead letters, unknown fates, holds and breakers, trimming of results."""
import json
import os
import pathlib
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, SECOND, UNAVAILABLE, USAGE, QueueCase, rq, wait_until  # noqa: E402

MINUTE, HOUR, DAY = 60, 3600, 86400
# Slower, and its memory says nothing.
ASAN = os.path.exists(CTL) and b'libasan' in pathlib.Path(CTL).read_bytes()
SCALE = 10000 if ASAN else 100000
MEMORY_KB = 48 * 1024

# Dead letters as SETTLE leaves them: entry, record, submission. ARGV: prefix, first, last, end in us, bytes.
DEAD = '''
local P, digest = ARGV[1], redis.sha1hex(ARGV[5])
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
	local sid, office = 's' .. i, i % 4 == 0 and 'SNE02' or 'HNE0' .. i % 4
	local history = ''
	for k = 1, 8 do history = history .. k .. ',1767225600000,1767225601000,503,no_answer;' end
	local id = redis.call('XADD', P .. 'dead', '*', 'sid', sid, 'office', office, 'rev', 3, 'outcome', 'attempts_exhausted',
		'class', 'ended', 'detail', 'http-503', 'http_status', 503, 'delivery_id', 'd', 'attempt', 8, 'crashes', 0,
		'deliveries', 8, 'generation', 0, 'first_us', ARGV[4], 'ended_us', ARGV[4], 'history', history)
	redis.call('HSET', P .. 'job:' .. sid .. ':' .. office, 'state', 'dead', 'rev', 3, 'attempt', 8, 'crashes', 0,
		'deliveries', 8, 'score', i, 'digest', digest, 'candidates', '', 'why', '', 'generation', 0, 'dead_id', id,
		'token', '', 'last_token', 't', 'worker', '', 'previous', '', 'delivery_id', 'd', 'date', '20260302',
		'outcome', 'attempts_exhausted', 'class', 'ended', 'last', 'no_answer', 'status', 503, 'first_us', ARGV[4],
		'ended_us', ARGV[4], 'expires_us', '4000000000000000', 'history', history)
	redis.call('HSET', P .. 'sub:' .. sid, 'offices', office, 'open', 0, 'rollup', 'failed', 's:' .. office,
		'dead attempts_exhausted 3', 'first_us', ARGV[4], 'expires_us', '4000000000000000', 'j:' .. digest, ARGV[5])
end
'''
# How many jobs are in this state with this rev. ARGV: prefix, state, rev, number.
COUNT = '''
local n = 0
for i = 1, tonumber(ARGV[4]) do
	local office = i % 4 == 0 and 'SNE02' or 'HNE0' .. i % 4
	local j = redis.call('HMGET', ARGV[1] .. 'job:s' .. i .. ':' .. office, 'state', 'rev')
	if j[1] == ARGV[2] and j[2] == ARGV[3] then n = n + 1 end
end
return n
'''


def peak_kb(pid):
    try:
        with open('/proc/%d/status' % pid, encoding='ascii') as f:
            return int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1))
    except (OSError, AttributeError):  # it has ended
        return 0


class Case(QueueCase):
    def die(self, sid, office='HNE03', outcome='attempts_exhausted', cls='ended', ago=0, status=503):
        """A letter that was sent once and died `ago` seconds ago, by the worker's clock."""
        self.end_as('dead', sid, office, outcome, cls, ago, status)

    def doubt(self, sid, office='HNE03', outcome='outcome_unknown', ago=0, delivery_id='d' * 32):
        self.end_as('unknown', sid, office, outcome, 'unknown', ago, 0, delivery_id)

    def end_as(self, state, sid, office, outcome, cls, ago, status, delivery_id='d' * 32):
        self.add(sid, office)
        taken = self.take('house' if office[0] == 'H' else 'senate')[sid]
        self.begin(taken, delivery_id)
        reply = self.call('settle', 'w1/1', *taken[:3], 'end', state, outcome, cls, 0, 'a detail', status, 0, self.now(),
                          self.now(), b'', b'', -1, 0, 0)
        self.assertEqual(reply[0], 'OK')
        if ago:
            ended = self.now() - ago * SECOND
            self.r('HSET', '{q}:job:%s:%s' % (sid, office), 'ended_us', ended)
            if state == 'dead':
                self.redate(sid, office, ended)

    def redate(self, sid, office, ended):
        """The same entry with another time; the stream stays in order since it is the newest."""
        (_, flat), = self.r('XREVRANGE', '{q}:dead', '+', '-', 'COUNT', 1)
        fields = {**rq.pairs(flat), 'ended_us': ended}
        old = self.r('HGET', '{q}:job:%s:%s' % (sid, office), 'dead_id')
        new = self.r('XADD', '{q}:dead', '*', *[x for item in fields.items() for x in item])
        self.r('HSET', '{q}:job:%s:%s' % (sid, office), 'dead_id', new)
        self.r('XDEL', '{q}:dead', old)

    def several(self):
        self.die('old', ago=10 * DAY)
        self.die('crash', 'HNE01', 'crashes', ago=2 * DAY, status=0)
        self.die('senate', 'SNE02', 'age_exhausted', ago=2 * HOUR, status=500)
        self.die('new', ago=10)
        self.die('other', 'HNE01', cls='strange', ago=5)

    def listed(self, *filters, code=OK, command=('dead', 'list')):
        return [r['sid'] for r in self.ctl(*command, *filters, '--json', code=code).json]

    def summary(self, result):
        return result.lines[-1]['summary']

    def scale(self, n, ended=1767225600000000):
        for first in range(1, n + 1, 5000):
            self.r('EVAL', DEAD, 0, '{q}:', first, min(first + 4999, n), ended, 'the sealed bytes')


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
        for command in (('dead', 'list'), ('dead', 'stats'), ('dead', 'replay'), ('dead', 'drop', '--dry-run')):
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
        self.ctl('dead', 'replay', '--ids', self.path('absent'), code=NO)

    def test_ids(self):
        self.several()
        path = self.write('ids', '# chosen\n\nnew HNE03\n  crash\tHNE01 \n')
        self.assertEqual(self.listed('--ids', path), ['new', 'crash'])
        self.assertEqual(self.listed('--ids', path, '--chamber', 'house', '--older', '1h'), ['crash'])
        exported = self.ctl('dead', 'export', '--chamber', 'senate').out
        r = self.ctl('dead', 'list', '--ids', '-', '--json', stdin=exported)
        self.assertEqual([x['sid'] for x in r.json], ['senate'])
        r = self.ctl('dead', 'replay', '--ids', '-', '--json', stdin='new HNE03\nnew\nabsent HNE03\nnew HNE03 x\n', code=NO)
        self.assertEqual([x['answer'] for x in r.lines[:-1]], ['done', 'no such job'])
        self.assertEqual([self.summary(r)[k] for k in ('replayed', 'bad_lines', 'failed')], [1, 2, 0])
        self.assertIn('standard input:2: not SID OFFICE', r.err)
        self.assertEqual(self.state('new'), 'wait')
        # again: what was done before is no failure
        r = self.ctl('dead', 'replay', '--ids', '-', stdin='new HNE03\ncrash HNE01\n')
        self.assertRegex(r.out, r'^1 replayed, 1 skipped \(1 not dead any more\), 0 failed ')

    def test_leftovers(self):
        """Entries that the record does not name are neither listed nor acted on, but counted."""
        self.several()
        self.r('XADD', '{q}:dead', '*', 'sid', 'new', 'office', 'HNE03', 'outcome', 'crashes')
        self.r('XADD', '{q}:dead', '*', 'sid', 'gone', 'office', 'HNE03', 'outcome', 'crashes')
        self.r('XADD', '{q}:dead', '*', 'nonsense', 'x')
        self.assertEqual(self.listed('--outcome', 'crashes'), ['crash'])
        self.assertEqual(self.ctl('dead', 'stats', '--json').json['leftovers'], 3)
        r = self.ctl('dead', 'replay', '--all', '--json')
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
        self.assertRegex(text, r'\nATTEMPT +BEGUN +ENDED +HTTP +OUTCOME\n1 +\S+Z +\S+Z +503 +no_answer\n2 +\S+Z +\S+Z +503 ')
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
        r = self.ctl('dead', 'replay', '--chamber', 'house', '--newer', '3d', '--count', '2')
        self.assertRegex(r.out, r'^2 replayed, 0 skipped, 0 failed \(')
        self.assertEqual([self.state(*x) for x in (('old',), ('crash', 'HNE01'), ('new',), ('other', 'HNE01'))],
                         ['dead', 'wait', 'wait', 'dead'])
        audit = rq.stream(self.r, 'audit')
        self.assertEqual([(a['verb'], a['a'], a['b']) for a in audit], [('replay', 'crash', 'HNE01'), ('replay', 'new', 'HNE03')])
        self.assertRegex(audit[0]['who'], '^.+@.+$')
        self.ctl('dead', 'drop', '--older', '5d')
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
        self.ctl('dead', 'replay', '--all')
        self.assertEqual((self.state('u'), self.state('d')), ('unknown', 'wait'))
        self.assertIn('not dead', self.ctl('dead', 'replay', 'u', 'HNE03', code=NO).out)
        self.assertEqual(self.state('u'), 'unknown')

    def test_one_fails(self):
        """The others go on; a later run meets it again."""
        self.several()
        self.r('RENAME', '{q}:sub:crash', '{q}:aside')
        self.r('SET', '{q}:sub:crash', 'x')
        r = self.ctl('dead', 'replay', '--all', '--json', code=NO)
        s = self.summary(r)
        self.assertEqual((s['replayed'], s['failed']), (4, 1))
        self.assertIn('crash HNE01: ', r.err)
        self.r('RENAME', '{q}:aside', '{q}:sub:crash')
        self.assertEqual(self.summary(self.ctl('dead', 'replay', '--all', '--json'))['replayed'], 1)

    def test_redis_refuses(self):
        self.several()
        self.r('ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', '+@all', '-evalsha')
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'reader')
        r = self.ctl('dead', 'replay', '--all', '--user', 'reader', '--password-file', self.write('pw', 'pw', 0o600),
                     code=UNAVAILABLE)
        self.assertIn('5 failed', r.out)
        self.assertEqual(self.r('XLEN', '{q}:dead'), 5)

    def test_rate(self):
        self.scale(30)
        start = time.monotonic()
        s = self.summary(self.ctl('dead', 'replay', '--all', '--rate', '20/s', '--json'))
        self.assertEqual(s['replayed'], 30)
        self.assertGreater(time.monotonic() - start, 1.3)  # 30 at 20/s; the last of them need not be waited for

    def test_progress_lines(self):
        """Without a terminal a line a second, and none with --quiet."""
        self.scale(30)
        r = self.ctl('dead', 'replay', '--chamber', 'house', '--rate', '8/s')
        self.assertRegex(r.err, r'^cwcctl: \d+ of 30, \d+ replayed, \d+/s')
        self.assertLess(r.err.count('\n'), 8)
        self.assertEqual(self.ctl('dead', 'replay', '--all', '--rate', '4/s', '--quiet').err, '')

    def test_progress_bar(self):
        self.scale(20)
        terminal, stderr = pty.openpty()
        with os.fdopen(terminal, 'rb', 0) as seen:
            process = subprocess.Popen([CTL, 'dead', 'drop', '--all', '--rate', '10/s', *self.redis], stderr=stderr,
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
        process = self.start('dead', 'replay', '--older', '1d', '--count', '30', '--rate', '20/s')
        wait_until(lambda: self.r('XLEN', '{q}:dead') < 36, what='progress')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, NO, err)
        done = int(out.split()[0])
        self.assertEqual(self.r('XLEN', '{q}:dead'), 41 - done)
        command = err.splitlines()[-1].strip()
        self.assertRegex(command, r'^cwcctl dead replay --redis \S+ --count %d --older 20\S+Z --rate 20/s --from \d+-\d+$'
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
        process = self.start('dead', 'replay', '--all', '--quiet')
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
        self.ctl('dead', 'replay', '--all', '--count', '250')
        self.ctl('dead', 'drop', '--chamber', 'senate')
        self.ctl('fsck')
        self.assertEqual(self.listed(), ['s%d' % i for i in range(251, 601) if i % 4])

    def test_dies_again_meanwhile(self):
        """A run ends at what was there when it began."""
        self.scale(30)
        process = self.start('dead', 'replay', '--all', '--rate', '20/s', '--json')
        process.stdout.readline()
        self.die('late')
        out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, json.loads(out.splitlines()[-1])['summary']['replayed']), (OK, 30), err)
        self.assertEqual(self.state('late'), 'dead')

    def test_scale(self):
        """100,000 dead letters, interrupted in the middle and resumed: each replayed once, in bounded memory."""
        self.scale(SCALE)
        process = self.start('dead', 'replay', '--all', '--json')
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


class Unknown(Case):
    def test_list(self):
        self.doubt('a', delivery_id='a' * 32)
        self.doubt('b', 'SNE02', 'id_conflict', ago=2 * DAY)
        row = self.ctl('unknown', 'list', '--json', '--chamber', 'house').json[0]
        self.assertEqual((row['sid'], row['office'], row['delivery_id'], row['date'], row['attempt'], row['outcome']),
                         ('a', 'HNE03', 'a' * 32, '20260302', 1, 'outcome_unknown'))
        post, = row['unknown_posts']
        self.assertEqual((post['worker'], [post['begun']]), ('w1/1', row['posts_begun']))
        self.assertEqual(post['begun'], row['begun'])
        self.assertRegex(self.ctl('unknown', 'list').out, r'a +HNE03 +outcome_unknown +- +1 +a{32} +20260302 +20\S+Z\n')
        self.assertEqual(self.listed('--older', '1d', command=('unknown', 'list')), ['b'])
        self.assertEqual(self.listed('--count', '1', command=('unknown', 'list')), ['b'])
        rows = self.ctl('unknown', 'list', '--export').lines
        self.assertEqual([(r['sid'], r['history'][0]['outcome']) for r in rows], [('a', 'outcome_unknown'), ('b', 'id_conflict')])
        self.assertNotIn('bytes', str(rows))

    def test_resolve_many(self):
        for sid, office in (('a', 'HNE03'), ('b', 'HNE01'), ('c', 'SNE02'), ('d', 'SNE01')):
            self.doubt(sid, office)
        self.ctl('unknown', 'resolve', 'accepted', code=USAGE)
        self.ctl('unknown', 'resolve', 'perhaps', '--all', code=USAGE)
        self.ctl('unknown', 'resolve', 'a', 'HNE03', code=USAGE)
        r = self.ctl('unknown', 'resolve', 'accepted', '--office', 'HNE03', '--dry-run')
        self.assertEqual((self.state('a'), self.r('XLEN', '{q}:audit')), ('unknown', 0))
        self.assertIn('1 would be said to be accepted', r.out)
        r = self.ctl('unknown', 'resolve', 'accepted', '--office', 'HNE03')
        self.assertEqual(r.out.split(',')[0], '1 said to be accepted')
        self.assertEqual((self.state('a'), self.r('HGET', '{q}:job:a:HNE03', 'why')), ('close', 'late'))
        for args in (('--all',), ('--sid', 'b'), ('--office', 'HNE01,SNE02')):
            self.assertIn('--may-send-twice', self.ctl('unknown', 'resolve', 'resend', *args, code=USAGE).err)
        self.assertEqual(self.state('b', 'HNE01'), 'unknown')
        self.ctl('unknown', 'resolve', 'resend', '--all', '--dry-run')
        self.ctl('unknown', 'resolve', 'resend', '--chamber', 'senate', '--count', '1')
        self.assertEqual((self.state('c', 'SNE02'), self.state('d', 'SNE01')), ('wait', 'unknown'))
        self.ctl('unknown', 'resolve', 'resend', '--may-send-twice', '--ids', self.write('ids', 'b HNE01\n'))
        self.assertEqual(self.state('b', 'HNE01'), 'wait')
        self.ctl('unknown', 'resolve', 'drop', '--all')
        self.assertEqual(self.r('HGET', '{q}:job:d:SNE01', 'why'), 'dropped')
        self.assertEqual(self.ctl('unknown', 'resolve', 'drop', '--all').out, 'no letter is of unknown fate\n')
        self.assertEqual([(a['verb'], a['a'], a['c']) for a in rq.stream(self.r, 'audit')],
                         [('resolve', 'a', 'accepted'), ('resolve', 'c', 'resend'), ('resolve', 'b', 'resend'),
                          ('resolve', 'd', 'drop')])
        self.assertIn('may arrive twice', self.one_resent())

    def one_resent(self):
        self.doubt('one')
        return self.ctl('unknown', 'resolve', 'one', 'HNE03', 'resend').out

    def test_many_at_one_time(self):
        """Equal scores: all are met once."""
        self.scale(700)
        self.r('EVAL', '''for i = 1, 700 do
            local office = i % 4 == 0 and 'SNE02' or 'HNE0' .. i % 4
            redis.call('HSET', '{q}:job:s' .. i .. ':' .. office, 'state', 'unknown', 'dead_id', '')
            redis.call('ZADD', '{q}:unknown', i < 50 and i or 777, 's' .. i .. ':' .. office)
        end redis.call('DEL', '{q}:dead')''', 0)
        sids = {'s%d' % i for i in range(1, 701)}
        rows = self.listed(command=('unknown', 'list'))
        self.assertEqual((len(rows), set(rows)), (700, sids))
        rows = self.listed('--count', '650', command=('unknown', 'list'))
        self.assertEqual(len(set(rows)), 650)
        r = self.ctl('unknown', 'resolve', 'drop', '--all')
        self.assertTrue(r.out.startswith('700 dropped, 0 skipped, 0 failed'), r.out)


class Trim(Case):
    def setUp(self):
        super().setUp()
        for n in range(10):
            self.accepted('r%d' % n)
        self.ids = [e[0] for e in self.r('XRANGE', '{q}:results', '-', '+')]

    def group(self, name='app', read=0, acknowledged=()):
        self.r('XGROUP', 'CREATE', '{q}:results', name, '0')
        if read:
            self.r('XREADGROUP', 'GROUP', name, 'me', 'COUNT', read, 'STREAMS', '{q}:results', '>')
        for n in acknowledged:
            self.r('XACK', '{q}:results', name, self.ids[n])

    def readable(self, name='app'):
        """What the group can still read, pending and new, complete."""
        found = []
        for start in ('0', '>'):
            reply = self.r('XREADGROUP', 'GROUP', name, 'me', 'STREAMS', '{q}:results', start)
            for _, flat in reply[0][1] if reply else ():
                entry = rq.pairs(flat)
                self.assertEqual((entry['state'], len(entry['receipt']) > 0), ('accepted', True))
                found.append(entry['sid'])
        return found

    def left(self):
        return [e['sid'] for e in rq.stream(self.r, 'results')]

    def test_what_was_read(self):
        self.group(read=6, acknowledged=(0, 1, 2, 4, 5))
        r = self.ctl('results', 'trim', '--dry-run')
        self.assertTrue(r.out.startswith('3 results would be deleted'), r.out)
        self.assertEqual((len(self.left()), self.r('XLEN', '{q}:audit')), (10, 0))
        r = self.ctl('results', 'trim', '--json').json
        self.assertEqual((r['deleted'], r['groups'][0]['pending'], r['groups'][0]['unread']), (3, 1, 0))
        self.assertEqual(self.left(), ['r%d' % n for n in range(3, 10)])
        self.assertEqual(self.readable(), ['r3'] + ['r%d' % n for n in range(6, 10)])
        audit, = rq.stream(self.r, 'audit')
        self.assertEqual((audit['verb'], audit['a'], audit['b']), ('trim', 'results', self.ids[3]))

    def test_slowest_group_decides(self):
        self.group('fast', 10, range(10))
        self.group('slow', 2, (0, 1))
        self.ctl('results', 'trim')
        self.assertEqual(self.left()[0], 'r2')
        self.assertEqual(self.readable('slow'), ['r%d' % n for n in range(2, 10)])
        self.group('none')
        r = self.ctl('results', 'trim')
        self.assertTrue(r.out.startswith('0 results deleted'), r.out)

    def test_limits(self):
        self.group(read=6, acknowledged=range(6))
        self.ctl('results', 'trim', '--before', self.ids[2])
        self.assertEqual(self.left()[0], 'r2')
        self.assertTrue(self.ctl('results', 'trim', '--older', '1h').out.startswith('0 results deleted'))
        r = self.ctl('results', 'trim', '--before', self.ids[8], '--dry-run').out
        self.assertTrue(r.startswith('4 results would be deleted'), r)
        self.assertIn('2 are older than asked for', r)
        r = self.ctl('results', 'trim', '--before', self.ids[8], '--json').json
        self.assertEqual((r['deleted'], r['kept_unread']), (4, 2))
        self.assertEqual(self.left(), ['r6', 'r7', 'r8', 'r9'])

    def test_unread(self):
        self.group(read=6, acknowledged=range(6))
        self.group('other', read=8, acknowledged=range(8))
        self.ctl('results', 'trim', '--unread', code=USAGE)
        r = self.ctl('results', 'trim', '--before', self.ids[9], '--unread').out
        self.assertTrue(r.startswith('9 results deleted'), r)
        self.assertRegex(r, r'group app: .*; 3 that it has not done with went\n')
        self.assertRegex(r, r'group other: .*; 1 that it has not done with went\n')
        self.assertEqual(self.left(), ['r9'])
        self.assertEqual(rq.stream(self.r, 'audit')[0]['c'], 'unread')

    def test_no_group(self):
        self.assertIn('--before or --older', self.ctl('results', 'trim', code=NO).err)
        self.assertEqual(len(self.left()), 10)
        r = self.ctl('results', 'trim', '--before', self.ids[4]).out
        self.assertIn('nobody can tell which were read', r)
        self.assertEqual(self.left()[0], 'r4')
        for bad in (('--before', 'x'), ('--older', 'x'), ('--before', '1-0', '--older', '1d')):
            self.ctl('results', 'trim', *bad, code=USAGE)
        self.r('DEL', '{q}:results')
        self.ctl('results', 'trim', code=NO)

    def test_many(self):
        """In steps; exactly what is before the limit."""
        self.r('DEL', '{q}:results')
        self.r('EVAL', "for i = 1, 25000 do redis.call('XADD', '{q}:results', i .. '-0', 'sid', 's' .. i) end", 0)
        self.group()
        self.r('EVAL', "redis.call('XGROUP', 'SETID', '{q}:results', 'app', '24321-0')", 0)
        self.assertEqual(self.ctl('results', 'trim', '--json').json['deleted'], 24321)
        self.assertEqual(self.r('XRANGE', '{q}:results', '-', '+', 'COUNT', 1)[0][0], '24322-0')


class Rights(Case):
    """The operations user of PROTOCOL.md, section 11, and what trimming needs besides."""
    OPERATIONS = ('+xread +xrevrange +scan +ttl +xinfo|groups +xpending +xtrim '
                  '+evalsha +script|load +ping +info +config|get +client|setname +hgetall +hget +hmget +hset +hsetnx +hdel '
                  '+hincrby +hkeys +zadd +zrem +zrange +zrangebyscore +zscore +zcard +sadd +srem +scard +smembers '
                  '+srandmember +xadd +xdel +xlen +xrange +get +set +setrange +del +exists +persist +expireat +time').split()

    def test_all_commands(self):
        self.r('ACL', 'SETUSER', 'ops', 'on', '>pw', '~{q}:*', *self.OPERATIONS)
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'ops')
        user = ('--user', 'ops', '--password-file', self.write('pw', 'pw', 0o600))
        self.several()
        for sid in 'abc':
            self.doubt(sid)
        self.accepted('done')
        self.r('XGROUP', 'CREATE', '{q}:results', 'app', '$')
        for command in (('dead', 'list'), ('dead', 'list', '--count', '2'), ('dead', 'stats'), ('dead', 'export'),
                        ('dead', 'show', 'new', 'HNE03'), ('dead', 'replay', '--sid', 'new'), ('dead', 'drop', '--all'),
                        ('unknown', 'list'), ('unknown', 'list', '--count', '1'), ('unknown', 'list', '--export'),
                        ('unknown', 'resolve', 'drop', '--sid', 'a'), ('unknown', 'resolve', 'b', 'HNE03', 'accepted'),
                        ('unknown', 'resolve', 'resend', '--all', '--may-send-twice'), ('results', 'trim', '--dry-run'),
                        ('results', 'trim'), ('holds',), ('offices',), ('resume', 'house'), ('depth',)):
            self.ctl(*command, *user)


class Holds(Case):
    def breaker(self, what, state, opens, seconds):
        self.r('HSET', '{q}:breaker', what, '%s %d %d 5 0 0' % (state, opens, self.now() + seconds * SECOND))

    def test_list(self):
        self.assertEqual(self.ctl('holds').out, 'nothing is held, no breaker is open\n')
        self.assertEqual(self.ctl('holds', '--json').json, [])
        self.ctl('hold', 'HNE03', '--for', '1h', '--reason', 'moving house')
        self.r('HSET', '{q}:holds', 'senate', '%d w1/1 maintenance' % (self.now() + SECOND * 60))
        self.r('HSET', '{q}:holds', 'HNE02', '1 w1/1 over')
        self.breaker('HNE01', 'open', 3, 60)
        self.breaker('house', 'half', 1, -5)
        self.breaker('SNE02', 'closed', 0, 0)
        rows = self.ctl('holds', '--json').json
        self.assertEqual([(r['what'], r['kind'], r['who']) for r in rows if r['kind'] == 'breaker'],
                         [('HNE01', 'breaker', 'workers'), ('house', 'breaker', 'workers')])
        self.assertEqual([(r['what'], r['reason']) for r in rows if r['kind'] == 'hold'],
                         [('HNE03', 'moving house'), ('senate', 'maintenance')])
        self.assertEqual((rows[0]['state'], rows[0]['opens']), ('open', 3))
        self.assertRegex(self.ctl('holds').out, r'HNE01 +breaker +20\S+Z +workers +it does not answer; opened 3 times in a row\n')

    def test_offices(self):
        self.breaker('HNE01', 'open', 1, 60)
        self.breaker('HNE02', 'half', 1, -5)
        self.breaker('senate', 'open', 2, 60)
        r = self.ctl('offices', '--json').json
        self.assertEqual([(o['office'], o['breaker']['state']) for o in r['offices']], [('HNE01', 'open'), ('HNE02', 'half')])
        self.assertEqual([(c['breaker'] or {}).get('opens') for c in r['chambers']], [None, 2])
        text = self.ctl('offices').out
        self.assertRegex(text, r'HNE01 +no +0 +0 +until 20\S+Z +-\nHNE02 +no +0 +0 +one letter is tried +-\n')
        self.assertIn('senate: no list was fetched yet; its breaker is open: until 20', text)

    def test_resume(self):
        self.breaker('HNE01', 'open', 1, 60)
        self.ctl('hold', 'HNE01', '--for', '1h', '--reason', 'x')
        self.assertEqual(self.ctl('resume', 'HNE01', '--json').json,
                         {'resumed': 'HNE01', 'was_held': True, 'was_broken': True})
        self.assertEqual((self.r('HLEN', '{q}:breaker'), self.r('HLEN', '{q}:holds')), (0, 0))
        self.breaker('house', 'half', 1, 60)
        self.assertIn('its breaker has ended', self.ctl('resume', 'house').out)
        self.assertEqual(self.r('HLEN', '{q}:breaker'), 0)
        self.assertEqual(self.ctl('resume', 'house').out, 'house was not held\n')

    def test_depth(self):
        self.assertRegex(self.ctl('depth').out, r'chamber broken +0 +0\n')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
