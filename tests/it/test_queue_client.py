# SPDX-License-Identifier: Apache-2.0
"""The queue client against real Redis servers: commands, credentials, the start-up check, the scripts."""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from queue_harness import Case, LOST, OK, free_port, now_us  # noqa: E402


class Plain(Case):
    def test_unix(self):
        r = self.redis()
        d = self.up(r.address)
        self.assertWorks(d)
        self.assertEqual(d.state(), {'event': 'state', 'up': True, 'outstanding': 0})

    def test_tcp(self):
        port = free_port()
        self.redis('--port', str(port))
        for host in '127.0.0.1', 'localhost':
            self.assertWorks(self.up('tcp:%s:%d' % (host, port)))

    def test_types(self):
        d = self.up(self.redis().address)
        self.assertEqual(d.command('INCR', '{q}:x')['reply'], 1)
        self.assertEqual(d.command('GET', '{q}:none')['reply'], None)
        self.assertEqual(d.command('SET', '{q}:y', 'a\0b\r\nü')['reply'], 'OK')
        self.assertEqual(d.command('GET', '{q}:y')['reply'], 'a\0b\r\nü')
        self.assertEqual(d.command('MGET', '{q}:x', '{q}:none')['reply'], ['1', None])
        bad = d.command('NOSUCH')
        self.assertEqual(bad['e'], 'queue_script')
        self.assertIn('unknown command', bad['reply']['error'])

    def test_order_and_pipelining(self):
        r = self.redis()
        d = self.up(r.address)
        keys = [d.send('command', 'INCR', '{q}:n') for _ in range(300)]
        self.assertEqual([d.wait(k)['reply'] for k in keys], list(range(1, 301)))
        storm = d.call('storm', 5000, 'INCR', '{q}:n')
        self.assertEqual((storm['ok'], storm['lost'], storm['other']), (5000, 0, 0))
        self.assertEqual(r('GET', '{q}:n'), b'5300')

    def test_writes_are_collected(self):
        """1000 commands of one turn of the loop go out in a few writes, not in 1000."""
        d = self.up(self.redis().address)

        def writes():
            with open('/proc/%d/io' % d.process.pid) as f:
                return int(dict(line.split(': ') for line in f)['syscw'])
        before = writes()
        self.assertEqual(d.call('storm', 1000, 'INCR', '{q}:n')['ok'], 1000)
        self.assertLess(writes() - before, 20)

    def test_large_values(self):
        d = self.up(self.redis().address)
        text = 'x' * 3000000
        self.assertEqual(d.command('SET', '{q}:big', text)['reply'], 'OK')
        self.assertEqual(d.command('GET', '{q}:big')['reply'], text)

    def test_close_from_an_answer(self):
        d = self.up(self.redis().address)
        d.order('close_in_answer')
        for _ in range(10):
            d.send('command', 'PING')
        d.step()
        code, errors = d.close()
        self.assertEqual((code, errors), (0, ''))
        self.assertEqual(len([x for x in d.seen if '"id"' in x]), 1)

    def test_close_with_outstanding(self):
        r = self.redis()
        d = self.up(r.address)
        r.process.send_signal(signal.SIGSTOP)
        d.send('script', 'depth', str(now_us()))
        d.send('command', 'PING')
        d.wait_outstanding(2)
        self.assertEqual(d.close(), (0, ''))
        self.assertFalse([x for x in d.seen if '"id"' in x])


class Wait(Case):
    def test_without_replicas(self):
        """WAIT may take longer than any other answer, and what is behind it has its own time from then on."""
        d = self.up(self.redis().address, timeout_ms=300)
        self.assertEqual(d.call('wait', 0, 5000)['n'], 0)
        wait, ping = d.send('wait', 1, 1000), d.send('command', 'PING')
        self.assertEqual(d.wait(wait), {'id': wait, 'e': OK, 'n': 0})
        self.assertEqual(d.wait(ping)['reply'], 'PONG')
        self.assertTrue(d.state()['up'])

    def test_no_answer(self):
        """But not for ever."""
        r = self.redis()
        d = self.up(r.address, timeout_ms=300)
        r.process.send_signal(signal.SIGSTOP)
        wait = d.send('wait', 1, 200)
        self.assertEqual(d.wait(wait)['e'], LOST)
        self.assertDown(d, 'timeout')
        r.process.send_signal(signal.SIGCONT)
        d.event('up')

    def test_forbidden(self):
        r = self.redis()
        r('ACL', 'SETUSER', 'worker', 'on', '>x', '~{q}:*', '+@all', '-wait')
        d = self.up(r.address, user='worker', password='x')
        self.assertEqual(d.call('wait', 1, 100)['e'], 'queue_denied')
        self.assertWorks(d)


class Auth(Case):
    SECRET = 'k9-not-to-be-seen'

    def finish(self, d):
        super().finish(d)
        self.assertNotIn(self.SECRET, ''.join(d.seen))

    def test_password(self):
        r = self.redis('--requirepass', self.SECRET, password=self.SECRET)
        self.assertWorks(self.up(r.address, password=self.SECRET))

    def test_wrong_password(self):
        r = self.redis('--requirepass', 'other', password='other')
        d = self.driver(r.address, password=self.SECRET)
        for _ in range(2):
            self.assertDown(d, 'queue_denied')
        r('CONFIG', 'SET', 'requirepass', self.SECRET)
        d.event('up')
        self.assertWorks(d)

    def test_no_password(self):
        r = self.redis('--requirepass', self.SECRET, password=self.SECRET)
        self.assertDown(self.driver(r.address), 'queue_denied')

    def test_password_that_nobody_wants(self):
        self.assertDown(self.driver(self.redis().address, password=self.SECRET), 'queue_denied')

    def test_acl(self):
        r = self.redis()
        r('ACL', 'SETUSER', 'worker', 'on', '>' + self.SECRET, '~{q}:*', '+@all', '-config', '-@dangerous', '+info')
        d = self.up(r.address, user='worker', password=self.SECRET)
        self.assertWorks(d)
        self.assertEqual(d.command('GET', 'elsewhere')['e'], 'queue_denied')
        self.assertEqual(d.call('beat', 'join', 'w/1', 10000000, now_us())['status'], 0)
        self.assertDown(self.driver(r.address, user='worker', password='wrong'), 'queue_denied')

    def test_acl_without_info(self):
        r = self.redis()
        r('ACL', 'SETUSER', 'worker', 'on', '>' + self.SECRET, '~{q}:*', '+@all', '-info')
        e = self.assertDown(self.driver(r.address, user='worker', password=self.SECRET), 'queue_denied')
        self.assertIn('INFO', e['detail'])

    def test_acl_without_script(self):
        r = self.redis()
        r('ACL', 'SETUSER', 'worker', 'on', '>' + self.SECRET, '~{q}:*', '+@all', '-script')
        e = self.assertDown(self.driver(r.address, user='worker', password=self.SECRET), 'queue_denied')
        self.assertIn('SCRIPT', e['detail'])

    def test_revoked(self):
        r = self.redis()
        r('ACL', 'SETUSER', 'worker', 'on', '>' + self.SECRET, '~{q}:*', '+@all')
        d = self.up(r.address, user='worker', password=self.SECRET)
        r('ACL', 'SETUSER', 'worker', 'off')
        r('CLIENT', 'KILL', 'USER', 'worker')
        self.assertDown(d, 'closed')
        self.assertDown(d, 'queue_denied')
        r('ACL', 'SETUSER', 'worker', 'on')
        d.event('up')


class Policy(Case):
    def test_eviction_is_refused(self):
        r = self.redis('--maxmemory-policy', 'allkeys-lru')
        d = self.driver(r.address)
        for _ in range(2):
            self.assertDown(d, 'queue_policy')
        self.assertFalse(d.state()['up'])
        self.assertEqual(d.command('PING')['e'], LOST)
        r('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        d.event('up')
        self.assertWorks(d)

    def test_eviction_is_allowed(self):
        r = self.redis('--maxmemory-policy', 'allkeys-lru')
        self.assertWorks(self.up(r.address, allow_eviction=True))

    def test_by_info_alone(self):
        r = self.redis('--maxmemory-policy', 'volatile-lru')
        r('ACL', 'SETUSER', 'worker', 'on', '>x', '~*', '+@all', '-config')
        d = self.driver(r.address, user='worker', password='x')
        self.assertDown(d, 'queue_policy')
        r('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        d.event('up')


class Scripts(Case):
    """Arguments and answers of the typed calls, against the scripts themselves."""

    def setUp(self):
        self.r = self.redis()
        self.d = self.up(self.r.address)

    def take(self, n=8, chamber='house', number=1):
        return self.d.call('take', chamber, 'w/1', number, n, now_us())

    def test_one_letter(self):
        d = self.d
        self.assertEqual(self.take()['status'], 1)  # fenced: not joined
        beat = d.call('beat', 'join', 'w/1', 10000000, now_us())
        self.assertEqual(beat['status'], 0)
        self.assertLess(abs(beat['redis_us'] - now_us()), 5000000)
        expires = now_us() + 3600 * 10**6
        self.assertEqual(d.call('enqueue', 'sid-1', 'HCA12,SCA01', 'the job', 1, expires, 0)['e'], OK)
        t = self.take()
        self.assertEqual((t['status'], t['full'], t['adopt'], len(t['jobs'])), (0, False, False, 1))
        job = t['jobs'][0]
        self.assertEqual((job['sid'], job['office'], job['bytes'], job['why']), ('sid-1', 'HCA12', 'the job', ''))
        self.assertEqual((job['generation'], job['attempt'], job['unknowns'], job['begun_us']), (-1, 0, 0, 0))
        self.assertTrue(job['token'].startswith('w/1.1'))
        self.assertEqual(d.call('beat', 'leave', 'w/1', 10000000, now_us())['status'], 3)  # busy
        b = d.call('begin', 'w/1', 'sid-1', 'HCA12', job['token'], 'DID', '20260302', 7, expires, now_us())
        self.assertEqual((b['status'], b['delivery_id'], b['date'], b['attempt']), (0, 'DID', '20260302', 1))
        self.assertEqual(d.call('begin', 'w/1', 'sid-1', 'HCA12', 'w/1.99.1', 'DID', '20260302', 7, expires,
                                now_us())['status'], 1)  # stale
        args = ('w/1', 'sid-1', 'HCA12', job['token'], 'end', 'accepted', 'accepted', 'accepted', now_us(), 'receipt')
        s = d.call('settle', *args)
        self.assertEqual((s['status'], s['state']), (0, 'accepted'))
        self.assertEqual(d.call('settle', *args)['status'], 2)  # again
        result = self.r('XRANGE', '{q}:results', '-', '+')[0][1]
        result = dict(zip(result[::2], result[1::2]))
        self.assertEqual((result[b'sid'], result[b'office'], result[b'state'], result[b'receipt'], result[b'generation']),
                         (b'sid-1', b'HCA12', b'accepted', b'receipt', b'7'))
        # The other office, given back by ADOPT, which does not know its token.
        t = self.take(chamber='senate', number=2)
        self.assertEqual([x['office'] for x in t['jobs']], ['SCA01'])
        self.assertEqual(d.call('adopt', 'w/1', now_us(), t['jobs'][0]['token'])['n'], 0)
        self.assertEqual(d.call('adopt', 'w/1', now_us()), {'id': 'r%d' % d.n, 'e': OK, 'fenced': False, 'n': 1})
        self.assertEqual(d.call('beat', 'leave', 'w/1', 10000000, now_us())['status'], 0)
        self.assertTrue(d.call('adopt', 'w/1', now_us())['fenced'])

    def test_beat(self):
        d = self.d
        self.assertEqual(d.call('beat', 'beat', 'w/1', 10000000, now_us())['status'], 1)  # fenced
        self.assertEqual(d.call('beat', 'join', 'w/1', 10000000, now_us())['status'], 0)
        self.assertEqual(d.call('beat', 'join', 'w/2', 10000000, now_us())['status'], 2)  # taken
        self.r('HSET', '{q}:meta', 'version', 999)
        self.assertEqual(d.call('beat', 'beat', 'w/1', 10000000, now_us())['status'], 4)  # version

    def test_beat_counts(self):
        d = self.d
        d.call('beat', 'join', 'w/1', 10000000, now_us())
        for n, key in enumerate(('dead', 'stuck', 'results'), 1):
            for _ in range(n):
                self.r('XADD', '{q}:' + key, '*', 'x', 'y')
        self.r('ZADD', '{q}:unknown', 1, 'a:HCA12', 2, 'b:HCA12')
        beat = d.call('beat', 'beat', 'w/1', 10000000, now_us())
        self.assertEqual([beat[x] for x in ('dead', 'unknown', 'stuck', 'results')], [1, 2, 2, 3])

    def test_same_machine(self):
        """A worker of the same name on the same machine is gone: its lease ends at once."""
        d = self.d
        self.assertEqual(d.call('beat', 'join', 'w/1', 10000000, now_us(), 'm1')['status'], 0)
        for machine in ('', 'm2'):
            self.assertEqual(d.call('beat', 'join', 'w/2', 10000000, now_us(), machine)['status'], 2)  # taken
        self.assertEqual(d.call('beat', 'join', 'w/2', 10000000, now_us(), 'm1')['status'], 0)
        self.assertEqual(d.call('beat', 'beat', 'w/1', 10000000, now_us())['status'], 1)  # fenced

    def test_reap(self):
        d = self.d
        d.call('beat', 'join', 'w/1', 10000000, now_us())
        d.call('enqueue', 'sid-1', 'HCA12', 'the job', 1, now_us() + 3600 * 10**6, 0)
        self.assertEqual(len(self.take()['jobs']), 1)
        self.r('ZADD', '{q}:workers', now_us() - 1, 'w/1')  # its lease is over
        d.call('beat', 'join', 'v/1', 10000000, now_us())
        self.assertEqual(d.call('reap', 'v/1', now_us())['n'], 1)
        self.assertEqual(d.call('reap', 'v/1', now_us() + 60 * 10**6)['n'], -1)  # skew
        self.assertTrue(d.call('reap', 'w/1', now_us())['fenced'])

    def test_hold(self):
        d = self.d
        until = now_us() + 60 * 10**6
        self.assertEqual(d.call('hold', 'HCA12', until, 'ops', 'maintenance')['e'], OK)
        self.assertIn(str(until).encode(), self.r('HGET', '{q}:holds', 'HCA12'))
        self.assertEqual(d.call('hold', 'nowhere', until, 'ops', 'x')['e'], 'queue_script')
        d.call('beat', 'join', 'w/1', 10000000, now_us())
        d.call('enqueue', 'sid-1', 'HCA12', 'the job', 0, 0, 0)
        t = self.take()
        self.assertEqual(t['jobs'], [])
        self.assertGreater(t['wait_us'], 10**6)

    def test_closed(self):
        """A TAKE for a closed chamber takes in, and takes no letter."""
        d = self.d
        d.call('beat', 'join', 'w/1', 10000000, now_us())
        d.call('enqueue', 'sid-1', 'HCA12', 'the job', 1, now_us() + 3600 * 10**6, 0)
        self.assertEqual(d.call('take', 'house', 'w/1', 1, 8, now_us(), 1)['jobs'], [])
        self.assertEqual((self.r('XLEN', '{q}:in'), self.r('ZCARD', '{q}:wait:HCA12')), (0, 1))
        self.assertEqual(len(self.take(number=2)['jobs']), 1)

    def test_breakers(self):
        """Five faults in a row open an office's breaker; the answer to SETTLE says so, and when its probe closes it."""
        d = self.d
        d.call('beat', 'join', 'w/1', 10000000, now_us())
        for n in range(6):
            d.call('enqueue', 'sid-%d' % n, 'HCA12', 'the job', 1, now_us() + 3600 * 10**6, 0)

        def attempt(n, *settle):
            job = self.take(n=1, number=n)['jobs'][0]
            args = ('w/1', job['sid'], 'HCA12', job['token'])
            self.assertEqual(d.call('begin', *args, 'DID', '20260302', 7, now_us() + 3600 * 10**6, now_us())['status'], 0)
            return d.call('settle', *args, *settle)['breakers']
        moved = [attempt(n, 'retry', '', 'not_sent', 'transient', now_us(), '', -1, 50000) for n in range(5)]
        self.assertEqual(moved[:4], [[], [], [], []])
        (what, is_open, until), = moved[4]
        self.assertEqual((what, is_open), ('HCA12', True))
        self.assertLess(abs(until - now_us()), 10**6)
        end = now_us() + 5 * 10**6
        while now_us() < end:
            t = self.take(n=1, number=now_us())
            if t['jobs']:
                break
        args = ('w/1', t['jobs'][0]['sid'], 'HCA12', t['jobs'][0]['token'])
        d.call('begin', *args, 'DID', '20260302', 7, now_us() + 3600 * 10**6, now_us())
        s = d.call('settle', *args, 'end', 'accepted', 'accepted', 'accepted', now_us(), 'receipt', 1, 50000)
        self.assertEqual([b[:2] for b in s['breakers']], [['HCA12', False]])

    def test_plain_scripts(self):
        depth = self.d.call('script', 'depth', str(now_us()))['reply']
        self.assertIn('in', depth[::2])
        self.assertEqual(self.d.call('script', 'nosuch')['e'], 'not_found')
        self.assertEqual(self.d.call('script', 'begin')['e'], 'queue_script')


if __name__ == '__main__':
    unittest.main()
