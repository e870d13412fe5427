#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl and what it must not believe: bytes that anybody wrote into Redis, a Redis that answers anything, arguments
that would mean too much. What it prints reads as it is, on a terminal and in a script."""
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, ROOT, SECOND, USAGE, rq, wait_until  # noqa: E402
from liar import Liar  # noqa: E402
from people_case import DAY, HOUR, Case as PeopleCase  # noqa: E402

CLEAR, CSI, TURN = '\x1b[2J', '\u009b2J', '\u202e'
CLONE_NEWUTS = 0x04000000


class Case(PeopleCase):
    def fake_dead(self, sid, office):
        """Dead by its record, as far as that goes."""
        dead_id = self.r('XADD', '{q}:dead', '*', 'sid', sid, 'office', office, 'outcome', 'x', 'ended_us', 1)
        self.r('HSET', ('{q}:job:%s:' % sid).encode() + office, 'state', 'dead', 'dead_id', dead_id, 'rev', 1)

    def told(self, *args, code=OK, stdin=None):
        """Both streams as bytes, without a control character but the ends of lines."""
        r = subprocess.run([CTL, *args, *self.redis], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                           capture_output=True, timeout=60, check=False)
        self.assertEqual(r.returncode, code, (args, r))
        for text in (r.stdout.decode(), r.stderr.decode()):
            self.assertEqual(re.findall('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]', text), [], (args, text))
        return r.stdout

    def liar(self, name='liar'):
        liar = Liar(self.server.path, self.path(name))
        self.addCleanup(os.unlink, liar.path)
        self.addCleanup(liar.close)
        return liar, ('--redis', 'unix:' + liar.path)

    def past(self, liar_args, *args, code=OK, stdin=None):
        """The same through a liar."""
        r = subprocess.run([CTL, *args, *liar_args], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60, check=False)
        if code is not None:
            self.assertEqual(r.returncode, code, (args, r.stdout[-500:], r.stderr[-500:]))
        return r


class Bytes(Case):
    def test_offices_that_are_none(self):
        """They are leftovers, and no terminal sees them."""
        self.die('good')
        for office in (b'\x1b[2JH', b'\xff\xfe\xff\xfe\xff', b'HXX99', b'\x9b2J\n\n'):
            self.fake_dead('bad', office)
        for verb in ('replay', 'drop'):
            out = self.told('dead', verb, '--all', '--dry-run')
            self.assertIn(b'1 would be', out)
            self.assertIn(b'4 leftovers', out)
            rows = [json.loads(x) for x in self.told('dead', verb, '--all', '--dry-run', '--json').splitlines()]
            self.assertEqual([x.get('sid') for x in rows], ['good', None])
        for command in (('dead', 'list'), ('dead', 'stats'), ('dead', 'export'), ('dead', 'list', '--json')):
            self.assertNotIn(b'bad', self.told(*command))
        for office in (b'\x1b[2JH', b'\xff\xfe\xff\xfe\xff'):
            self.r('ZADD', '{q}:unknown', 5, b'u:' + office)
            self.r('HSET', b'{q}:job:u:' + office, 'state', 'unknown', 'rev', 1)
        self.assertIn(b'no letter', self.told('unknown', 'list'))
        row, = self.told('unknown', 'resolve', 'drop', '--all', '--dry-run', '--json').splitlines()
        self.assertEqual(json.loads(row)['summary']['skipped']['leftovers'], 2)
        self.assertEqual(self.r('XLEN', '{q}:audit'), 0)

    def test_texts(self):
        """JSON is ASCII and says the same; for people what would turn or clear the screen is replaced."""
        for text in (CLEAR, CSI, TURN, 'Zoë', '\u200bx', '\u2066x', '\ufeff', '\x7f'):
            self.r('HSET', '{q}:holds', 'house', '%d op@host %s' % (self.now() + HOUR * SECOND, text))
            out = self.told('holds', '--json') if text != '\x7f' else self.ctl('holds', '--json').out.encode()
            self.assertTrue(out.isascii())
            self.assertEqual(json.loads(out)[0]['reason'], text)
            shown = self.told('holds').decode().splitlines()[1]
            self.assertEqual(shown.endswith('Zoë'), text == 'Zoë')
            self.assertEqual('?' in shown, text != 'Zoë', (text, shown))
            self.told('offices')
            self.assertTrue(self.ctl('offices', '--json').out.isascii())

    def test_numbers_are_plain(self):
        """No exponent, whatever is measured."""
        for command in (('dead', 'replay', '--yes', '--all'), ('unknown', 'resolve', 'drop', '--yes', '--all'), ('depth',)):
            out = self.ctl(*command, '--json').out
            self.assertNotRegex(out, r'\d[eE][+-]?\d', command)
            self.assertRegex(out, r'"(seconds|in_oldest_s)": ?\d+\.\d{1,3}\b')
        self.add('a')
        wait_until(lambda: self.ctl('depth', '--json').json['in_oldest_s'] > 0, what='an age')

    def test_published_keys(self):
        """--lines prints what was checked, and nothing else of the entry."""
        self.publish(keys='# %s\n%s\n\n#' % (CLEAR, self.ring_lines), worker='w2/2')
        self.assertEqual(self.told('keys', '--lines').decode(), self.ring_lines + '\n')
        self.publish(keys=self.ring_line('witness') + ' context-that-' + CLEAR + '-clears', worker='w3/3')
        self.told('keys', '--lines', code=NO)
        self.told('keys')
        self.ctl('keys', '--lines', '--json', code=USAGE)

    def test_unlisted(self):
        self.r('HSET', '{q}:sub:a', 'offices', b'\xff\xff\xff\xff\xff', 'open', 0)
        self.r('HSET', b'{q}:job:a:\xff\xff\xff\xff\xff', 'state', CLEAR, 'rev', 1, 'outcome', 'o', 'digest', 'd')
        out = self.told('reconcile', '--ids', '-', '--all', '--json', stdin=b'\n')
        rows = [json.loads(x) for x in out.splitlines()]
        self.assertEqual([x.get('fate') for x in rows], ['unlisted', None])
        self.told('reconcile', '--ids', '-', '--all', stdin=b'\n')

    def test_ids(self):
        """A file that is none of ours says so, and not a hundred thousand times."""
        r = self.ctl('dead', 'replay', '--yes', '--ids', '-', stdin='a MARS1\n' * 200, code=NO)
        self.assertEqual(r.err.count('\n'), 21, r.err)
        self.assertIn('200 bad lines', r.out)


class Lies(Case):
    def test_names_of_depth(self):
        """Longer than any name is."""
        liar, args = self.liar()
        liar.after('depth', lambda argv, reply: [b'x' * 61 + b'_us', 5, b'y' * 200 + b'_us', 5, b'z' * 99, 1, *reply])
        self.assertEqual(json.loads(self.past(args, 'depth', '--json').stdout)['workers'], 1)

    def test_a_depth_that_is_none(self):
        """It is no empty queue: nobody has fewer workers for it, and no series says 0."""
        def without(reply, *names):
            return [x for k in range(0, len(reply), 2) if reply[k] not in names for x in reply[k:k + 2]]

        def but(reply, name, value):
            return without(reply, name) + [name, value]
        lies = (lambda r: [], lambda r: 5, lambda r: b'OK', lambda r: r[:-1], lambda r: without(r, b'alive'),
                lambda r: without(r, b'redis_us'), lambda r: without(r, b'senate_waiting'), lambda r: but(r, b'alive', -1),
                lambda r: but(r, b'alive', 2**62), lambda r: but(r, b'house_waiting', b'x'), lambda r: but(r, b'in', [1]),
                lambda r: but(r, b'house_begun', b'-1'), lambda r: but(r, b'house_oldest_us', None))
        for n, lie in enumerate(lies):
            liar, args = self.liar('depth-%d' % n)
            liar.after('depth', lambda argv, reply, lie=lie: lie(reply), times=None)
            all_forms = (('depth', '--json'), ('depth', '--emf'), ('depth', '--prometheus'), ('scale', '--emf'), ('top', '--count', '1'), ('limits',))
            for command in (('depth',), ('scale', '--publish'), *(all_forms if n == 4 else ())):
                r = self.past(args, *command, code=69 if command[0] == 'scale' else 70)
                self.assertEqual((r.stdout, r.stderr.splitlines()[0]), ('', 'cwcctl: what the queue says of its depth is none'), (n, command))
        self.assertEqual(self.r('EXISTS', '{q}:scale'), 0)
        exporter = subprocess.Popen([CTL, 'exporter', '--listen', 'unix:' + self.path('e'), *args], stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(self.end, exporter)
        exporter.stdout.readline()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path('e'))
            s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
            body = s.makefile('rb').read().partition(b'\r\n\r\n')[2]
        self.assertEqual([x for x in body.splitlines() if not x.startswith(b'#')], [b'cwcq_up 0'])

    def test_numbers(self):
        """Numbers that nobody can reckon with, in all that people look at; under the sanitizers where they are built."""
        checked = os.path.join(ROOT, 'build', 'asan', 'cwcctl')
        program = checked if os.path.exists(checked) else CTL
        self.add('a', 'HNE03')
        self.intake()
        minute = self.now() // (60 * SECOND) - 1
        for v in ('9223372036854775807', '-9223372036854775808', '9000000000000000000', '9' * 30, '-1', 'x', '', '1e300', CLEAR):
            self.r('HSET', '{q}:limits', 'house', ' '.join([v] * 5))
            self.r('HSET', '{q}:flow', *[x for kind in 'iop' for x in ('%dH%s' % (minute, kind + '0' * (kind == 'p')), v)], '%dHp1' % minute, v)
            for key in ('rate:house', 'rate:HNE03'):
                self.r('SET', '{q}:' + key, v)
            self.r('HSET', '{q}:about', 'w1/1', 'lease_ms=%s started_ms=%s bundle=%s house=%s' % (v, v, v, '/'.join([v] * 6)))
            self.r('HSET', '{q}:drain', 'w1', ' '.join([v] * 3))
            self.r('HSET', '{q}:job:a:HNE03', 'first_us', v)
            self.r('HSET', '{q}:holds', 'HNE03', v + ' eve x')
            self.r('HSET', '{q}:breaker', 'HNE03', ' '.join(('open', v, v, v)))
            self.r('HSET', '{q}:scale', *[x for name in ('desired', 'at', 'low_us', 'changed_us', 'low_peak') for x in (name, v)])
            self.r('DEL', '{q}:audit')
            self.r('XADD', '{q}:audit', v + '-1' if v in ('9223372036854775807', '9000000000000000000') else '*', 'verb', v, 'who', v)
            for command in (('limits',), ('workers',), ('top', '--count', '1'), ('shape',), ('depth',), ('scale',), ('audit', 'list')):
                r = subprocess.run([program, *command, *self.redis], capture_output=True, timeout=60, check=False)
                self.assertEqual((r.returncode, r.stderr, b'\x1b' in r.stdout), (OK, b'', False), (v, command, r))

    def test_keys_that_do_not_match(self):
        """SCAN answers with keys that were not asked for."""
        self.add('a')
        self.intake()
        for lie in (b'{q}:x', b'', b'j', b'{q}:sub:', b'{q}:' + b'x' * 300):
            liar, args = self.liar('liar-%d' % len(lie))
            liar.after('SCAN', lambda argv, reply, lie=lie: [b'0', [lie]], times=None)
            r = self.past(args, 'fsck', code=None)
            self.assertIn(r.returncode, (OK, NO), r)
            self.assertTrue(r.stdout.splitlines()[-1].startswith('1 keys, 0 jobs of '), r.stdout)
            self.past(args, 'reconcile', '--ids', '-', '--all', stdin='\n')

    def test_a_hold_that_was_refused(self):
        """Nobody is told that it stands."""
        liar, args = self.liar()
        liar.instead('admin', lambda argv: [b'BADARG'], times=None)
        for command in (('hold', 'house', '--for', '1h', '--reason', 'x'), ('resume', 'house')):
            r = self.past(args, *command, code=70)
            self.assertEqual((r.stdout, 'BADARG' in r.stderr), ('', True))


class Arguments(Case):
    def test_ages(self):
        """The first second of 1970 is no `any time`, and what lies ahead is a slip of the pen."""
        self.several()
        self.accepted('r')
        for moment in ('1970-01-01T00:00:00Z', '1969-12-31T00:00:00Z', '2099-01-01T00:00:00Z',
                       '1970-01-01T02:00:00+02:00'):
            for command in (('dead', 'list', '--older'), ('dead', 'drop', '--yes', '--older'), ('unknown', 'list', '--newer'),
                            ('results', 'trim', '--older')):
                self.assertIn(command[-1] + ' must be', self.ctl(*command, moment, code=USAGE).err)
        self.assertEqual((self.r('XLEN', '{q}:dead'), self.r('XLEN', '{q}:results')), (5, 6))
        self.assertEqual(self.listed('--older', '0s'), ['old', 'crash', 'senate', 'new', 'other'])

    def test_ids_of_entries(self):
        self.several()
        for command in (('dead', 'export', '--from'), ('dead', 'replay', '--yes', '--all', '--from'), ('results', '--from'),
                        ('results', 'trim', '--before')):
            for bad in ('99999999999999999999-0', '5-99999999999999999999', '5-', '-5', 'x', '5-5-5', ''):
                r = self.ctl(*command, bad, code=USAGE)
                self.assertIn(command[-1] + ' must be the id of an entry', r.err)
        self.assertEqual(len(self.ctl('dead', 'export', '--from', '0').lines), 5)

    def test_counts(self):
        self.assertIn('from 1 to 1000000000', self.ctl('results', '--count', '1000000001', code=USAGE).err)
        for command in (('dead', 'list'), ('unknown', 'list')):
            self.assertIn('at most 10000', self.ctl(*command, '--count', '10001', code=USAGE).err)
        self.assertEqual(self.ctl('unknown', 'list', '--export', '--count', '10001').out, '')

    def test_holds(self):
        """What the queue cannot keep is not promised."""
        for bad in (('--for', '0s'), ('--until', '2300-01-01T00:00:00Z')):
            self.assertIn(bad[0] + ' must be', self.ctl('hold', 'house', *bad, '--reason', 'x', code=USAGE).err)
        self.assertEqual(self.r('EXISTS', '{q}:holds', '{q}:audit'), 0)
        self.ctl('hold', 'house', '--until', '2286-11-20T00:00:00Z', '--reason', 'x')
        self.assertIn('held until 2286', self.ctl('offices').out)

    def test_names_in_json(self):
        for sid, how, key in (('a', 'accepted', 'accepted'), ('b', 'drop', 'dropped'), ('c', 'resend', 'resent')):
            self.doubt(sid, 'SNE02')
            r = self.ctl('unknown', 'resolve', how, '--yes', '--chamber', 'senate', '--json')
            self.assertEqual(self.summary(r)[key], 1)
        self.die('d')
        self.r('RENAME', '{q}:sub:d', '{q}:aside')
        self.r('SET', '{q}:sub:d', 'x')
        row, _ = self.ctl('dead', 'replay', '--yes', '--all', '--json', code=NO).lines
        self.assertEqual((row['answer'], row['error']), ('failed', 'queue_script'))


class Who(Case):
    def as_one(self, prepare, *args):
        """A child of ours that is somebody else; skipped where the kernel does not let us."""
        read, write = os.pipe()

        def child():
            if not prepare():
                os.write(write, b'x')
        r = subprocess.run([CTL, *args, *self.redis], preexec_fn=child, capture_output=True, timeout=20, check=False)
        os.close(write)
        with os.fdopen(read, 'rb') as f:
            if f.read():
                self.skipTest('needs rights')
        self.assertEqual(r.returncode, OK, r.stderr)
        return rq.stream(self.r, 'audit')[-1]['who']

    def test_name_of_the_host(self):
        """A name with a slash is a worker's: its hold would last an hour at most."""
        libc = ctypes.CDLL(None)

        def other_host():
            return libc.unshare(CLONE_NEWUTS) == 0 and libc.sethostname(b'a/b c\x1b[', 7) == 0
        who = self.as_one(other_host, 'hold', 'house', '--for', '5h', '--reason', 'x')
        self.assertRegex(who, r'@a_b_c__$')
        until = int(self.r('HGET', '{q}:holds', 'house').split()[0])
        self.assertGreater(until, self.now() + 4 * HOUR * SECOND)

    def test_who_logged_in(self):
        """Not only who one became."""
        def logged_in():
            try:
                with open('/proc/self/loginuid', 'w', encoding='ascii') as f:
                    f.write('65534')
            except OSError:
                return False
            return os.geteuid() != 65534
        who = self.as_one(logged_in, 'resume', 'house')
        self.assertRegex(who, r'^nobody\(\w+\)@')

    def test_fsck_keeps_the_trail(self):
        """Its own note does not push out what people did."""
        self.r('EVAL', "for i = 1, 150000 do redis.call('XADD', '{q}:audit', '*', 'verb', 'x') end", 0)
        self.add('a')
        self.intake()
        self.r('ZREM', '{q}:exp', 'a:HNE03')
        self.ctl('fsck', '--mend', code=NO)
        self.assertEqual(self.r('XLEN', '{q}:audit'), 150002)

    def test_mends_are_announced(self):
        """`audit` says so before the first one, as of every other act."""
        for sid in 'ab':
            self.add(sid)
        self.intake()
        self.r('DEL', '{q}:exp')
        liar, args = self.liar()
        seen = []
        for name in rq.SCRIPTS:  # whichever name the liar has for FSCK
            liar.instead(name, lambda argv: seen.append((argv[0], self.r('XLEN', '{q}:audit'))), times=None)
        self.past(args, 'fsck', '--mend', code=NO)
        mends = [n for verb, n in seen if verb == b'mend']
        self.assertGreater(len(mends), 1)
        self.assertGreater(min(mends), 0)


class DryRuns(Case):
    def everything(self):
        keys = sorted(k for k in self.r('KEYS', '*') if not k.startswith('{q}:rate:'))  # those end by themselves
        return {k: (self.r('TYPE', k), self.r('PEXPIRETIME', k), self.whole(k)) for k in keys}

    def whole(self, key):
        return {'stream': lambda: self.r('XRANGE', key, '-', '+') + [self.r('XINFO', 'STREAM', key)],
                'hash': lambda: self.r('HGETALL', key), 'set': lambda: sorted(self.r('SMEMBERS', key)),
                'zset': lambda: self.r('ZRANGE', key, 0, -1, 'WITHSCORES'),
                'string': lambda: self.r('GET', key)}[self.r('TYPE', key)]()

    def test_nothing_changes(self):
        self.several()
        self.doubt('u')
        self.doubt('v', 'SNE02', ago=2 * DAY)
        self.accepted('done')
        self.r('XGROUP', 'CREATE', '{q}:results', 'app', '$')
        self.add('off')
        self.intake()
        self.r('ZREM', '{q}:exp', 'off:HNE03')
        before = self.everything()
        for command in (('dead', 'replay', '--yes', '--all'), ('dead', 'drop', '--all'), ('dead', 'replay', 'old', 'HNE03'),
                        ('dead', 'drop', '--yes', '--older', '1d'), ('unknown', 'resolve', 'accepted', '--all'),
                        ('unknown', 'resolve', 'resend', '--yes', '--all'), ('unknown', 'resolve', 'drop', '--older', '1d'),
                        ('results', 'trim'), ('results', 'trim', '--older', '0s', '--unread')):
            for json_too in ((), ('--json',)):
                self.ctl(*command, '--dry-run', *json_too)
                self.assertEqual(self.everything(), before, command)
        self.ctl('fsck', '--mend', '--dry-run', code=NO)
        for look in (('dead', 'stats'), ('dead', 'export'), ('unknown', 'list'),
                     ('reconcile', '--ids', os.devnull, '--all'), ('holds',), ('offices',), ('depth',), ('audit', 'list'), ('results', '--verify')):
            self.ctl(*look, code=NO if look[0] == 'results' else OK)
        self.assertEqual(self.everything(), before)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
