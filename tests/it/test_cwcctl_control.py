#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl and who runs the queue: pauses, limits, shapes, workers, and the live view under a pseudo terminal."""
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, SECOND, UNAVAILABLE, USAGE, rq, wait_until  # noqa: E402
from people_case import DAY, HOUR, MINUTE, Case  # noqa: E402
from terminal import Terminal  # noqa: E402

ABOUT = ('version=0.9.0 environment=sandbox state=%s started_ms=1767225600000 lease_ms=60000 bundle=3 pcr0=' + 'ab' * 48 +
         ' house=%s/5/1/32/0/4 senate=10/10/2/32/1/4')


class Pause(Case):
    def depth(self):
        return self.ctl('depth', '--json').json

    def test_pause_and_resume(self):
        self.add('a')
        self.intake()
        r = self.ctl('pause', 'house', '--for', '2h', '--reason', 'duplicates', '--json').json
        self.assertEqual((r['held'], r['reason']), ('house', 'duplicates'))
        self.assertEqual(self.take(), {})
        d = self.depth()
        self.assertEqual((d['house_held'], d['house_held_pause'], d['house_blocked']), (1, 1, 1))
        self.assertIn('house', self.ctl('holds').out)
        self.assertIn('duplicates', self.ctl('offices').out)
        self.assertIn('duplicates', self.ctl('top', '--count', '1').out)
        self.assertIn('held until', self.ctl('limits').out)
        self.assertEqual(self.ctl('resume', 'house').out, 'house goes on\n')
        self.assertEqual(set(self.take()), {'a'})

    def test_all(self):
        rows = self.ctl('pause', 'all', '--for', '1h', '--reason', 'r', '--json').json
        self.assertEqual([r['held'] for r in rows], ['house', 'senate'])
        self.assertEqual(sorted(self.r('HKEYS', '{q}:holds')), ['house', 'senate'])
        self.ctl('pause', 'HNE03', 'SNE02', '--for', '1h', '--reason', 'r')
        self.assertEqual(self.ctl('resume', 'all').out, 'house goes on\nsenate goes on\n')
        self.assertEqual(sorted(self.r('HKEYS', '{q}:holds')), ['HNE03', 'SNE02'])
        self.assertEqual(self.ctl('resume', 'HNE03', 'SNE02', 'HNE01').out,
                         'HNE03 goes on\nSNE02 goes on\nHNE01 was not held\n')

    def test_bad(self):
        for args in (('all', 'house'), ('mars',), ('HNE03', 'mars')):
            self.ctl('pause', *args, '--for', '1h', '--reason', 'r', code=USAGE)
            self.ctl('resume', *args, code=USAGE)
        self.ctl('pause', 'house', '--reason', 'r', code=USAGE)
        self.ctl('pause', 'house', '--for', '1h', code=USAGE)
        self.assertEqual(self.r('EXISTS', '{q}:holds'), 0)

    def test_a_reason_that_is_no_text(self):
        """What was done is said, whatever bytes the shell handed over."""
        self.assertEqual(self.ctl('pause', 'house', '--for', '1h', '--reason', b'\xff', '--json').json['held'], 'house')

    def test_hold_is_the_same(self):
        self.ctl('hold', 'senate', '--for', '1h', '--reason', 'r')
        self.assertEqual([a['verb'] for a in rq.stream(self.r, 'audit')], ['hold'])


class Limits(Case):
    def limits(self):
        return {r['chamber']: r for r in self.ctl('limits', '--json').json}

    def take_at(self, rate, n=4, burst=1, office_rate=0):
        """As a worker of this rate does."""
        self.take_id += 1
        period = -(-1010000 // rate)
        office = -(-1010000 // office_rate) if office_rate else 0
        self.call('take', 'house', 'w1/1', 'w1/1.%d' % self.take_id, n, self.now(), period, (burst - 1) * period + 10000,
                  office, 10000 if office else 0, 4, 1)

    def test_unknown_before_the_first_take(self):
        r = self.limits()['house']
        self.assertEqual((r['known'], r['rate'], r['cells'], r['by']), (False, None, 0, ''))
        self.assertRegex(self.ctl('limits').out, r'house +- +- +0 +- +- +- +nothing: no letter waits')

    def test_bucket(self):
        self.take_at(5, burst=3, office_rate=1)
        r = self.limits()['house']
        self.assertEqual((r['rate'], r['burst'], r['office_rate'], r['office_slots'], r['cells'], r['allowed']),
                         (5.0, 3, 1.0, 4, 3, 300))
        for n in range(4):
            self.add('s%d' % n, 'HNE0%d' % (n % 3 + 1))
        self.r('SET', '{q}:rate:house', self.now() + 3600 * SECOND)
        r = self.limits()['house']
        self.assertEqual(r['cells'], 0)
        self.assertRegex(r['next'], r'^20')

    def test_who_limits(self):
        for n in range(3000):
            self.add('s%d' % n)
        for _ in range(3):
            self.intake()
        self.take_at(5, n=0)
        self.r('SET', '{q}:rate:house', self.now() + 3600 * SECOND)
        self.assertEqual(self.limits()['house']['by'], 'offices')  # no cell within the horizon: nothing may go
        self.r('DEL', '{q}:rate:house')
        self.take_at(5, n=1)
        self.assertEqual(self.limits()['house']['by'], 'rate')
        self.assertIn('the measured ceiling', self.ctl('limits').out)
        self.r('HSET', '{q}:about', 'w1/1', ABOUT % ('serving', '2.5'))
        r = self.limits()['house']
        self.assertEqual((r['lowest'], r['ceiling'], r['slowest']), (2.5, 5.0, 'w1/1'))
        self.assertIn("the host's rate of w1/1: 2.5/s of 5/s", self.ctl('limits').out)
        self.ctl('pause', 'HNE03', '--for', '1h', '--reason', 'r')
        self.assertEqual(self.limits()['house']['by'], 'offices')
        self.ctl('pause', 'house', '--for', '1h', '--reason', 'why not')
        self.assertEqual(self.limits()['house']['by'], 'hold')
        self.assertIn('why not', self.ctl('limits').out)
        self.ctl('resume', 'house')
        self.ctl('resume', 'HNE03')
        self.take_at(100000, n=0)
        self.assertEqual(self.limits()['house']['by'], 'workers')
        self.r('HSET', '{q}:breaker', 'house', 'open 1 %d 5 0 0 0 - - - -' % (self.now() + 3600 * SECOND))
        self.assertEqual(self.limits()['house']['by'], 'breaker')

    def test_the_last_minute(self):
        minute = self.now() // (60 * SECOND)
        self.take_at(5, n=0)
        self.r('HSET', '{q}:flow', '%dHp0' % (minute - 1), 7, '%dHp3' % (minute - 1), 2, '%dSp0' % (minute - 1), 40,
               '%dHo' % (minute - 1), 99, '%dHp0' % (minute - 2), 500)
        self.assertIn(self.limits()['house']['used'], (9, 0))  # 0: a minute has passed since
        self.assertRegex(self.ctl('limits').out, r'house .* (9|0) of 300 ')


class Shape(Case):
    def shape(self, *args):
        return {place: {r['office']: {k: v for k, v in r.items() if v and k not in ('office',)} for r in rows}
                for place, rows in self.ctl(*(args or ('shape',)), '--json').json.items()}

    def wait(self, sid, office, ago):
        self.add(sid, office)
        self.intake()
        self.r('HSET', '{q}:job:%s:%s' % (sid, office), 'first_us', self.now() - ago * SECOND)

    def test_matrix(self):
        self.several()
        for n, (office, ago) in enumerate((('HNE03', 0), ('HNE03', 6 * MINUTE), ('HNE03', 30 * DAY), ('SNE02', 50 * MINUTE))):
            self.wait('w%d' % n, office, ago)
        self.r('XADD', '{q}:in', '*', 'sid', 'l', 'offices', 'HNE01', 'job', 'x', 'nbf', self.now() + 3600 * SECOND)
        self.intake()
        s = self.shape()
        self.assertEqual(s['waiting'], {
            'TOTAL': {'total': 4, '5min': 1, '10min': 1, '80min': 1, '2560min+': 1} | {}, 'HNE03': {'total': 3, '5min': 1, '10min': 1, '2560min+': 1},
            'SNE02': {'total': 1, '80min': 1}})
        self.assertEqual(s['delayed'], {'TOTAL': {'total': 1, '5min': 1}, 'HNE01': {'total': 1, '5min': 1}})
        self.assertEqual(s['dead'], {
            'TOTAL': {'total': 5, '1h': 2, '4h': 1, '64h': 1, '256h': 1}, 'HNE01': {'total': 2, '1h': 1, '64h': 1},
            'HNE03': {'total': 2, '1h': 1, '256h': 1}, 'SNE02': {'total': 1, '4h': 1}})
        self.assertEqual(set(self.shape('shape', 'delayed')), {'delayed'})

    def test_text(self):
        self.several()
        out = self.ctl('dead', 'matrix').out
        self.assertRegex(out, r'^dead +T +1h +2h +4h .* 512h +512h\+\nTOTAL +5 +2 +0 +1 ')
        self.assertTrue(all(len(line) <= 80 for line in out.splitlines()), out)
        self.assertRegex(self.ctl('dead', 'matrix', '--chamber', 'senate').out, r'\nTOTAL +1 .*\nSNE02 +1 ')
        self.assertEqual(self.ctl('shape', 'unknown').out, 'unknown: nothing\n')
        self.assertEqual(self.ctl('shape', 'waiting').out, 'waiting: nothing\n')
        self.ctl('shape', 'mars', code=USAGE)

    def test_many(self):
        self.scale(1500)
        self.assertEqual(self.shape('dead', 'matrix')['dead']['TOTAL']['total'], 1500)
        for n in range(700):
            self.add('w%d' % n)
        self.intake()
        self.assertEqual(self.shape('shape', 'waiting')['waiting']['TOTAL']['total'], 700)

    def test_every_code(self):
        """None is left out, though there are many more codes than offices."""
        states = ('AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI '
                  'SC SD TN TX UT VT VA WA WV WI WY DC').split()
        codes = ['H%s%02d' % (state, n) for state in states for n in range(100)]
        for at in range(0, len(codes), 1000):
            self.r('EVAL', "for _, o in ipairs(ARGV) do redis.call('ZADD', '{q}:turn:house', 1, o) redis.call('ZADD', '{q}:wait:' .. o, 1, 's') end",
                   0, *codes[at:at + 1000])
        self.assertEqual(self.shape('shape', 'waiting')['waiting']['TOTAL']['total'], len(codes))


class Workers(Case):
    def row(self, worker='w1/1'):
        return {w['worker']: w for w in self.ctl('workers', '--json').json}.get(worker)

    def test_what_it_says_of_itself(self):
        self.assertEqual((self.row()['version'], self.row()['last_beat'], self.row()['state']), (None, None, 'serving'))
        self.r('HSET', '{q}:about', 'w1/1', ABOUT % ('serving', '2.5'))
        row = self.row()
        self.assertEqual((row['version'], row['bundle'], row['pcr0'], row['environment'], row['started']),
                         ('0.9.0', 3, 'ab' * 48, 'sandbox', '2026-01-01T00:00:00.000Z'))
        self.assertEqual(row['house'], {'rate': 2.5, 'ceiling': 5.0, 'burst': 1.0, 'slots': 32.0, 'office_rate': 0.0,
                                        'office_slots': 4.0})
        self.assertRegex(self.ctl('workers').out, r'w1/1 +serving +0 +\S+ ago +for \S+ +0.9.0 +3 +(ab){6}\n')

    def test_nonsense(self):
        self.r('HSET', '{q}:about', 'w1/1', 'version house=x/-1/1e99//// bundle=x  =  state=\x1b[2J lease_ms=-5')
        row = self.row()
        self.assertEqual((row['version'], row['bundle'], row['house']['rate'], row['state']), ('', None, None, 'serving'))

    def test_drain_and_undrain(self):
        self.assertIn('is to finish what it has', self.ctl('workers', 'drain', 'w1', '--reason', 'new image').out)
        row = self.row()
        self.assertEqual((row['state'], row['drain']['reason']), ('to drain', 'new image'))
        self.assertEqual(self.call('beat', 'w1/1', 60 * SECOND, 'beat', self.now(), 1)[6], 1)
        self.r('HSET', '{q}:about', 'w1/1', ABOUT % ('draining', '5'))
        self.assertEqual(self.row()['state'], 'draining')
        self.assertIn('is taken back', self.ctl('workers', 'undrain', 'w1').out)
        self.assertEqual(self.ctl('workers', 'undrain', 'w1').out, 'w1 had no order to drain\n')
        self.assertEqual(self.call('beat', 'w1/1', 60 * SECOND, 'beat', self.now(), 1)[6], 0)
        self.assertEqual(self.ctl('workers', 'drain', 'w1/1', '--json').json, {'worker': 'w1/1', 'told': ['w1/1']})

    def test_no_such_worker(self):
        for name in ('w2', 'w1/2'):
            self.assertIn('no such worker', self.ctl('workers', 'drain', name, '--wait', '1s', code=NO).err)
        for name in ('', '/', 'a/b/c', 'a b', 'w/', 'n' * 101):
            self.ctl('workers', 'drain', name, code=USAGE)
        self.ctl('workers', 'drain', 'w1', '--wait', 'x', code=USAGE)
        self.ctl('workers', 'drain', 'w1', '--reason', 'x' * 201, code=USAGE)
        self.assertEqual(self.r('EXISTS', '{q}:drain'), 0)

    def test_wait(self):
        """Until it has left; asked again, it has left already."""
        process = self.start('workers', 'drain', 'w1', '--wait', '30s')
        wait_until(lambda: self.r('EXISTS', '{q}:drain'), what='order')
        self.assertIsNone(process.poll())
        self.call('beat', 'w1/1', SECOND, 'leave', self.now(), 1)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (OK, ''))
        self.assertRegex(out, r'^w1 is gone, after ')
        self.assertEqual(self.ctl('workers', 'drain', 'w1', '--wait', '30s', '--json').json['gone'], True)
        self.assertEqual(self.ctl('workers', 'drain', 'w1').out, 'w1 has gone already\n')

    def test_wait_in_vain(self):
        self.add('a')
        self.take()
        r = self.ctl('workers', 'drain', 'w1', '--wait', '300ms', code=NO)
        self.assertRegex(r.err, r'w1 is still there after \S+, with 1 letters in its hands; the order stands')
        r = self.ctl('workers', 'drain', 'w1', '--wait', '1ms', '--json', code=NO).json
        self.assertEqual((r['gone'], r['holds']), (False, 1))

    def test_wait_for_one_that_died(self):
        """Its lease is over, and nobody is there to reap it."""
        self.r('ZADD', '{q}:workers', self.now() - 6 * SECOND, 'w1/1')
        self.ctl('workers', 'drain', 'w1', '--wait', '10s')

    def test_wait_through_a_restart(self):
        """The connection is lost meanwhile."""
        process = self.start('workers', 'drain', 'w1', '--wait', '60s')
        wait_until(lambda: self.r('EXISTS', '{q}:drain'), what='order')
        wait_until(lambda: 'cmd=scard' in self.r('CLIENT', 'LIST'), what='a look')
        self.r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.call('beat', 'w1/1', SECOND, 'leave', self.now(), 1)
        self.assertEqual((process.communicate(timeout=20)[1], process.returncode), ('', OK))

    def test_wait_interrupted(self):
        process = self.start('workers', 'drain', 'w1', '--wait', '60s')
        wait_until(lambda: 'cmd=scard' in self.r('CLIENT', 'LIST'), what='a look')
        process.send_signal(signal.SIGINT)
        self.assertIn('stopped; the order stands', process.communicate(timeout=20)[1])
        self.assertEqual(process.returncode, NO)


class Top(Case):
    def terminal(self, *options, columns=80, rows=24):
        t = Terminal([CTL, 'top', *options, *self.redis], columns, rows)
        self.addCleanup(t.close)
        return t

    def test_terminal(self):
        """Frames follow, the size is followed, q ends it, and the terminal is as it was."""
        self.several()
        self.ctl('pause', 'HNE03', '--for', '1h', '--reason', 'look')
        t = self.terminal('--watch', '1')
        self.assertEqual(t.wait('queue q'), '\x1b[?1049h\x1b[?25l\x1b[H\x1b[1mqueue q')
        frame = t.wait('\x1b[J')
        self.assertIn('dead 5', frame)
        self.assertRegex(frame, r'HNE03 +0 +0 +- +held until')
        self.assertIn('hold HNE03', frame)
        self.assertFalse(t.same_modes())
        self.ctl('dead', 'drop', '--all', '--yes')
        self.assertIn('dead 0', t.wait('dead 0', 20))
        t.resize(30, 8)
        wait_until(lambda: self.fits(t.wait('\x1b[J'), 30), what='a narrow frame')
        t.type('q')
        code, shown = t.end()
        self.assertEqual((code, shown[-len('\x1b[?25h\x1b[?1049l'):]), (OK, '\x1b[?25h\x1b[?1049l'))
        self.assertTrue(t.same_modes())

    @staticmethod
    def fits(frame, columns):
        lines = re.sub('\x1b\\[[?0-9]*[a-zA-Z]', '', frame).split('\n')
        return len(lines) <= 8 and max(len(line) for line in lines) <= columns

    def test_interrupt(self):
        t = self.terminal()
        t.wait('\x1b[J')
        t.type('\x03')
        self.assertEqual(t.end()[0], OK)
        self.assertTrue(t.same_modes())

    def test_signals(self):
        """Whatever ends it, the terminal is as it was."""
        for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGABRT, signal.SIGSEGV):
            t = self.terminal()
            t.wait('\x1b[J')
            t.process.send_signal(number)
            code, shown = t.end()
            self.assertEqual((code, t.same_modes(), shown[-len('\x1b[?25h\x1b[?1049l'):]), (-number, True, '\x1b[?25h\x1b[?1049l'))

    def test_stopped(self):
        """^Z gives the terminal back to the shell; afterwards it goes on, at once and twice."""
        t = self.terminal('--watch', '60')
        t.wait('\x1b[J')
        for _ in range(2):
            t.type('\x1a')
            t.wait('\x1b[?25h\x1b[?1049l')
            _, status = os.waitpid(t.process.pid, os.WUNTRACED)
            self.assertTrue(os.WIFSTOPPED(status) and t.same_modes())
            t.process.send_signal(signal.SIGCONT)
            t.wait('\x1b[?1049h\x1b[?25l')
            t.wait('\x1b[J')
            self.assertFalse(t.same_modes())
        t.type('q')
        self.assertEqual((t.end()[0], t.same_modes()), (OK, True))

    def test_frames(self):
        t = self.terminal('--count', '2', '--watch', '1', columns=200, rows=50)
        code, shown = t.end()
        self.assertEqual((code, shown.count('queue q')), (OK, 2))

    def test_without_a_terminal(self):
        self.several()
        out = self.ctl('top', '--count', '2', '--watch', '1').out
        self.assertEqual((out.count('queue q'), '\x1b' in out), (2, False))
        self.assertTrue(all(len(line) <= 120 for line in out.splitlines()))
        rows = self.ctl('top', '--count', '2', '--watch', '1', '--json').lines
        self.assertEqual([r['dead'] for r in rows], [5, 5])
        self.ctl('top', '--count', '0', code=USAGE)
        self.ctl('top', '--watch', '99999', code=USAGE)

    def test_everything_at_once(self):
        """Lines of many offices, workers, breakers, and what whoever writes to Redis may have left there."""
        for n in range(60):
            self.add('s%d' % n, 'HCA%02d' % (n + 1))
            self.r('ZADD', '{q}:workers', self.now() + 60 * SECOND, 'w%d/1' % n)
        self.intake()
        self.r('HSET', '{q}:breaker', 'HCA07', 'open 3 %d 5 0 0 0 - - - -' % (self.now() + HOUR * SECOND), 'x\x1b[2J', 'open 1 1')
        self.r('HSET', '{q}:holds', 'HCA08', '%d eve \x1b[2Jgone' % (self.now() + HOUR * SECOND))
        self.r('HSET', '{q}:about', 'w1/1', 'version=\x1b[2J')
        self.r('XADD', '{q}:audit', '*', 'verb', '\x1b[2J', 'who', 'x' * 500, 'a', b'\xff\xfe' * 100)
        out = self.ctl('top', '--count', '1').out
        self.assertNotIn('\x1b', out)
        lines = out.splitlines()
        offices = lines[[line[:6] for line in lines].index('OFFICE') + 1:]
        self.assertEqual([line[:5] for line in offices[:2]], ['HCA07', 'HCA08'])
        self.assertIn('breaker: until', offices[0])
        self.assertIn('and 20 more', out)
        self.assertEqual(offices[2].split()[1], '1')

    def test_redis_away(self):
        """The last frame stays and says so; it goes on by itself."""
        server = rq.Server()
        self.addCleanup(server.stop)
        t = Terminal([CTL, 'top', '--watch', '1', '--redis', 'unix:' + server.path])
        self.addCleanup(t.close)
        t.wait('NO WORKER')
        server.proc.send_signal(signal.SIGSTOP)
        self.addCleanup(server.proc.send_signal, signal.SIGCONT)
        t.wait('NOT OF NOW: Redis does not answer', 30)
        server.proc.send_signal(signal.SIGCONT)
        t.wait('CHAMBER', 30)
        wait_until(lambda: 'NOT OF NOW' not in t.wait('\x1b[J', 30), what='a frame of now')
        t.type('q')
        self.assertEqual(t.end()[0], OK)

    def test_no_redis_at_all(self):
        self.ctl('top', '--count', '1', '--timeout', '100ms', '--redis', 'unix:' + self.path('absent'), code=UNAVAILABLE)

    def ctl(self, *args, **kw):
        if '--redis' in args:
            before, type(self).redis = type(self).redis, ()
            try:
                return super().ctl(*args, **kw)
            finally:
                type(self).redis = before
        return super().ctl(*args, **kw)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
