#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl fsck: keys, limits and cells; queues that nobody broke; its output, its size. test_fsck_jobs.py and
test_fsck_places.py break the other invariants, test_fsck_live.py runs it beside scripts that fail and workers."""
import collections
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CONFIG, CTL, NO, OK, ROOT, SECOND, rq, wait_until  # noqa: E402
from fsck_case import DAY, H, FsckCase  # noqa: E402


class Clean(FsckCase):
    def test_empty(self):
        self.r('FLUSHALL')
        r = self.ctl('fsck')
        self.assertEqual(r.out, '0 keys, 0 jobs of 0 submissions: all is well\n')

    def test_every_state(self):
        self.all_states()
        self.clean()
        before = self.dump()
        self.assertEqual(self.fsck('--mend', code=OK), [])
        self.assertEqual(self.dump(), before)
        self.assertFalse([e for e in rq.stream(self.r, 'audit') if e['verb'] == 'fsck'])

    def test_breakers_and_machines(self):
        self.call('beat', 'w2/1', 60 * SECOND, 'join', self.now(), 1, 'machine')
        for state in ('open 3 %d' % (self.now() + 60 * SECOND), 'half 1 5 0 0 0 0 a:HNE03 t - -',
                      'closed 0 0 2 %d 2 2 - - HNE03 HNE03' % self.now()):
            self.r('HSET', '{q}:breaker', 'HNE03', state)
            self.clean()

    def test_all_ends_then_nothing_is_off(self):
        self.all_states()
        for jid in ('taken', 'begun'):
            self.r('SREM', '{q}:held:w1/1', 'x')
        self.r('ZADD', '{q}:workers', 1, 'w1/1')  # its jobs are taken back
        self.call('beat', 'w2/1', 60 * SECOND, 'join', self.now(), 1)
        self.call('reap', 'w2/1', self.now(), 0, 3, 0, 1, 100)
        self.clean()

    def test_human_output(self):
        self.waiting()
        self.r('ZREM', '{q}:exp', 'a:HNE03')
        r = self.ctl('fsck', code=NO)
        line, last = r.out.splitlines()
        self.assertRegex(line, r'^exp-missing +job:a:HNE03: it waits without an expiry; mending adds it to exp$')
        self.assertRegex(last, r'^\d+ keys, 1 jobs of 1 submissions: 1 found$')
        self.assertEqual(self.ctl('fsck', '--mend', '--dry-run', code=NO).out, r.out)
        r = self.ctl('fsck', '--mend', code=NO)
        self.assertIn('; added to exp\n', r.out)
        self.assertTrue(r.out.endswith(': 1 found, 1 mended, 0 left to people\n'))
        self.assertTrue(self.ctl('fsck').out.endswith(': all is well\n'))

    def test_audit(self):
        self.waiting()
        self.r('ZREM', '{q}:exp', 'a:HNE03')
        self.fsck('--mend', code=NO)
        acts = [e for e in rq.stream(self.r, 'audit') if e['verb'] == 'fsck']
        self.assertEqual([e['a'] for e in acts], ['mends', 'mended: exp-missing 1'])
        self.assertRegex(acts[0]['who'], '.@.')

    def test_newer_queue(self):
        self.waiting()
        self.r('ZREM', '{q}:exp', 'a:HNE03')
        self.r('HSET', '{q}:meta', 'version', 2)
        self.assertEqual([f['code'] for f in self.fsck(code=NO)], ['exp-missing'])
        self.assertIn('protocol version 2', self.ctl('fsck', code=NO).err)
        before = self.dump()
        self.assertIn('protocol version 2', self.ctl('fsck', '--mend', code=CONFIG).err)
        sha = rq.load(self.r)['fsck']
        self.assertEqual(self.r('EVALSHA', sha, 1, rq.META, 'mend', 'job', '', 1, 'a:HNE03'), ['VERSION', '2'])
        self.assertEqual(self.dump(), before)

    def test_codes(self):
        """The script, the program and PROTOCOL.md know the same ones."""
        def text(*path):
            with open(os.path.join(ROOT, *path), encoding='utf-8') as f:
                return f.read()
        scripts = ''.join(text('queue', 'lua', part + '.lua') for part in ('fsck', 'fsck_jobs', 'fsck_subs'))
        codes = set(re.findall(r"\b(?:off|remove)\('([a-z-]+)'", scripts))
        codes |= {place + '-left' for place in ('later', 'close', 'exp', 'unknown')} | {'later-far', 'exp-far'}
        program = set(re.findall(r'^\t\{ "([a-z-]+)", "', text('ops', 'cwcctl', 'fsck_report.c'), re.M))
        section = text('queue', 'PROTOCOL.md').split('## 15. Checking a queue')[1]
        rows = '\n'.join(line.rsplit('| ', 1)[1] for line in section.splitlines() if line.startswith('| '))
        self.assertEqual(program, codes)
        self.assertEqual(set(re.findall('`([a-z-]+)`', rows)), codes - {'check-failed'})

    def test_rights(self):
        """The operations user of PROTOCOL.md, section 11, may do all of it."""
        with open(os.path.join(ROOT, 'queue', 'PROTOCOL.md'), encoding='utf-8') as f:
            rows = {line.split('|')[1].strip(): re.findall(r'\+[a-z|\\]+', line) for line in f
                    if re.match(r'\| (worker|operations) \|', line)}
        rights = [x.replace('\\', '') for role in ('worker', 'operations') for x in rows[role]]
        self.assertGreater(len(rights), 40)
        self.r('ACL', 'SETUSER', 'ops', 'on', '>pw', '~{q}:*', *rights)
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'ops')
        user = ('--user', 'ops', '--password-file', self.write('pw', 'pw', 0o600))
        self.all_states()
        self.r('DEL', '{q}:wait:HNE03', '{q}:turn:senate', '{q}:exp', '{q}:unknown', '{q}:dead', '{q}:sub:later',
               '{q}:job:over-accepted:HNE03', '{q}:close')
        self.r('SET', '{q}:close', 'x')
        for key, member in (('fly:HNE03', 'x.1.1'), ('held:w1/1', 'x'), ('later', 'x')):
            self.r('ZADD' if key == 'later' else 'SADD', '{q}:' + key, *([1] if key == 'later' else []), member)
        for key in ('holds', 'breaker', 'machines', 'about', 'inerr'):
            self.r('HSET', '{q}:' + key, 'x', 'x')
        self.r('SET', '{q}:rate:house', 'x')
        mended = self.fsck('--mend', *user, code=NO)
        self.assertGreater(len({f['code'] for f in mended}), 15)
        self.assertNotIn('check-failed', {f['code'] for f in mended})
        self.assertEqual(self.fsck(*user, code=OK), [])
        self.ctl('reconcile', '--ids', '-', '--all', *user, stdin='over-dead\nnowhere\n', code=NO)

    def test_other_keys_of_the_server(self):
        self.r('SET', '{r}:later', 'x')
        self.r('SET', 'later', 'x')
        self.clean()


class Keys(FsckCase):
    def test_key_unknown(self):
        self.waiting()
        for key in ('junk', 'wait:mars', 'rate:mars', 'job:a', 'job:a:mars', 'sub:a b', 'fly:', 'turn:mars'):
            self.r('SET', '{q}:' + key, 'x')
            self.broken('key-unknown', left=True)
            self.assertEqual(self.r('GET', '{q}:' + key), 'x')
            self.r('DEL', '{q}:' + key)
        self.drain()

    def test_key_type(self):
        for key in ('later', 'close', 'fly:HNE03', 'held:w9/9', 'holds', 'dead', 'rate:house', 'job:x:HNE03', 'sub:x',
                    'turn:senate', 'breaker'):
            self.r('DEL', '{q}:' + key)
            self.r(*(('HSET', '{q}:' + key, 'a', 'b') if key == 'rate:house' else ('SET', '{q}:' + key, 'x')))
            self.broken('key-type', drain=False)
            self.assertEqual(len(self.r('KEYS', '{q}:aside:%s:*' % key)), 1)
        self.drain()

    def test_a_place_of_a_wrong_type(self):
        """All that was in it finds its place again."""
        self.waiting('w')
        self.later('l')
        for place in ('later', 'wait:HNE03', 'exp'):
            self.r('DEL', '{q}:' + place)
            self.r('SET', '{q}:' + place, 'x')
        codes = {f['code'] for f in self.fsck(code=NO)}
        self.assertEqual(codes, {'key-type', 'check-failed', 'turn-left'} & codes | {'key-type', 'check-failed'})
        self.assertLessEqual({'key-type', 'place-missing'}, {f['code'] for f in self.fsck('--mend', code=NO)})
        self.clean()
        self.drain()
        self.assertEqual(self.posts, {('w', H): 1, ('l', H): 1})

    def test_check_failed(self):
        self.in_flight(begun=False)
        self.r('DEL', '{q}:held:w1/1')
        self.r('SET', '{q}:held:w1/1', 'x')
        self.assertEqual({f['code'] for f in self.fsck(code=NO)}, {'key-type', 'check-failed'})
        mended = self.fsck('--mend', code=NO)
        self.assertEqual({f['code'] for f in mended}, {'key-type', 'flight-held'})
        self.clean()

    def test_meta(self):
        self.waiting()
        self.r('HDEL', '{q}:meta', 'version')
        self.broken('meta-version', drain=False)
        self.assertEqual(self.r('HGET', '{q}:meta', 'version'), '1')
        self.r('HSET', '{q}:meta', 'num', 'x')
        self.broken('meta-num', drain=False)
        self.r('HSET', '{q}:meta', 'num', 0)
        self.broken('meta-num', drain=False)
        self.waiting('b')
        self.assertGreater(int(self.job('b')['score']), int(self.job('a')['score']))
        self.drain()


class Limits(FsckCase):
    def test_rate(self):
        for what in ('house', 'HNE03'):
            for value in ('x', str(self.now() + 40 * DAY), str(self.now() + SECOND)):
                self.r('SET', '{q}:rate:' + what, value)
                self.broken('rate', drain=False)
                self.assertGreater(self.r('PTTL', '{q}:rate:' + what), 0)
        self.waiting()
        self.drain()  # TAKE brings it into its bounds

    def test_hold(self):
        for field, value in (('mars', '%d me why' % (self.now() + DAY)), ('house', 'x'), ('HNE03', '')):
            self.r('HSET', '{q}:holds', field, value)
            self.broken('hold', drain=False)
            self.assertEqual(self.r('EXISTS', '{q}:holds'), 0)
        self.r('HSET', '{q}:holds', 'house', '%d w1/1 maintenance' % (self.now() + DAY))
        self.broken('hold', drain=False)
        self.assertLess(int(self.r('HGET', '{q}:holds', 'house').split(' ')[0]), self.now() + 3601 * SECOND)
        self.r('HSET', '{q}:holds', 'house', '%d me@here a person may' % (self.now() + 100 * DAY))
        self.clean()

    def test_breaker(self):
        for field, value in (('mars', 'closed 0 0'), ('house', 'x'), ('HNE03', 'ajar 0 0'),
                             ('house', 'open 1 %d' % (self.now() + 40 * 3600 * SECOND))):
            self.r('HSET', '{q}:breaker', field, value)
            self.broken('breaker', drain=False)
        self.waiting()
        self.drain()

    def test_inerr_left(self):
        self.r('HSET', '{q}:inerr', '1-1', 1)
        self.broken('inerr-left')

    def test_stuck_left(self):
        entry = self.r('XADD', '{q}:in', '*', 'sid', 'a', 'offices', H, 'job', 'x')
        self.r('XADD', '{q}:stuck', '*', 'error', 'e', 'entry', entry, 'sid', 'a', 'offices', H, 'job', 'x')
        self.broken('stuck-left')
        self.assertEqual((self.job('a')['state'], self.r('XLEN', '{q}:stuck')), ('accepted', 0))
        self.r('XADD', '{q}:stuck', '*', 'error', 'e', 'entry', '1-1', 'sid', 'b', 'offices', H, 'job', 'x')
        self.clean()  # for people, but as it should be


FILL = '''
local call, now, prefix = redis.call, redis.call('TIME')[1] * 1e6, KEYS[1]:sub(1, -5)
for i = ARGV[1] + 0, ARGV[2] + 0 do
	call('XADD', prefix .. 'in', '*', 'sid', 's' .. i, 'offices', ({'HNE03', 'SNE02,HNE01', 'HNE02'})[i % 3 + 1], 'job', 'job ' .. i)
end
'''


class Size(FsckCase):
    # Of one call: half of them, and all in the mean without the time that Redis waited for a processor. About 0.5 ms.
    MS_MEDIAN, MS_CPU = 3.0, 1.5

    def fill(self, first, last):
        for i in range(first, last, 1000):
            self.r('EVAL', FILL, 1, rq.META, i, min(i + 999, last - 1))
            while self.r('XLEN', '{q}:in'):
                self.intake()

    def run_measured(self, *args):
        self.r('CONFIG', 'RESETSTAT')
        pid = os.fork()
        if pid == 0:
            with open(os.devnull, 'w', encoding='ascii') as null:
                os.dup2(null.fileno(), 1)
            os.execv(CTL, [CTL, 'fsck', *args, *self.redis])
        _, status, usage = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024

    def info(self, section):
        return dict(line.split(':', 1) for line in self.r('INFO', section).splitlines() if ':' in line)

    def median_ms(self, command):
        text = self.info('latencystats')['latency_percentiles_usec_' + command]
        return float(dict(x.split('=') for x in text.split(','))['p50']) / 1000

    def calls(self, command):
        return int(dict(x.split('=') for x in self.info('commandstats')['cmdstat_' + command].split(','))['calls'])

    def cpu_s(self):
        info = self.info('cpu')
        return float(info['used_cpu_user_main_thread']) + float(info['used_cpu_sys_main_thread'])

    def test_does_not_block_and_does_not_grow(self):
        self.fill(0, 3000)
        code, small = self.run_measured()
        self.assertEqual(code, OK)
        self.fill(3000, 18000)
        for args in ((), ('--mend',)):
            before = self.cpu_s()
            code, big = self.run_measured(*args, '--quiet')
            self.assertEqual(code, OK)
            for command in ('evalsha', 'scan', 'zscan'):
                self.assertLess(self.median_ms(command), self.MS_MEDIAN, command)
            self.assertLess((self.cpu_s() - before) * 1000 / self.calls('evalsha'), self.MS_CPU)
            self.assertLess(big, small + 4, 'MiB of memory, for six times the keys')

    def test_much_is_mended(self):
        self.fill(0, 2000)
        self.r('DEL', '{q}:wait:HNE03', '{q}:turn:senate', '{q}:exp')
        found = collections.Counter(f['code'] for f in self.fsck('--mend', code=NO))
        self.assertEqual(found['exp-missing'], 2000 + 667)
        self.clean()

    def test_interrupt(self):
        self.fill(0, 9000)
        p = self.start('fsck')
        wait_until(lambda: 'cmd=evalsha' in self.r('CLIENT', 'LIST') or p.poll() is not None, what='its first call')
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
        self.assertTrue(p.returncode == NO and 'interrupted' in err or p.returncode == OK, (p.returncode, err))


if __name__ == '__main__':
    unittest.main()
