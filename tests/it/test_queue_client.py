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

    def test_reap(self):
        d = self.d
        d.call('beat', 'join', 'w/1', 1000000, now_us() - 60 * 10**6)
        d.call('enqueue', 'sid-1', 'HCA12', 'the job', 1, now_us() + 3600 * 10**6, 0)
        self.assertEqual(len(self.take()['jobs']), 1)
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

    def test_plain_scripts(self):
        depth = self.d.call('script', 'depth', str(now_us()))['reply']
        self.assertIn('in', depth[::2])
        self.assertEqual(self.d.call('script', 'nosuch')['e'], 'not_found')
        self.assertEqual(self.d.call('script', 'begin')['e'], 'queue_script')


if __name__ == '__main__':
    unittest.main()
