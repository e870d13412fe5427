#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl and what else people must decide: unknown fates, holds and breakers, trimming of results."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, SECOND, USAGE, rq  # noqa: E402
from people_case import DAY, Case  # noqa: E402


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
        r = self.ctl('unknown', 'resolve', 'accepted', '--yes', '--office', 'HNE03')
        self.assertEqual(r.out.split(',')[0], '1 said to be accepted')
        self.assertEqual((self.state('a'), self.r('HGET', '{q}:job:a:HNE03', 'why')), ('close', 'late'))
        for args in (('--all',), ('--sid', 'b'), ('--office', 'HNE01,SNE02')):
            self.assertIn('--may-send-twice', self.ctl('unknown', 'resolve', 'resend', *args, code=USAGE).err)
        self.assertEqual(self.state('b', 'HNE01'), 'unknown')
        self.ctl('unknown', 'resolve', 'resend', '--all', '--dry-run')
        self.ctl('unknown', 'resolve', 'resend', '--yes', '--chamber', 'senate', '--count', '1')
        self.assertEqual((self.state('c', 'SNE02'), self.state('d', 'SNE01')), ('wait', 'unknown'))
        self.ctl('unknown', 'resolve', 'resend', '--yes', '--may-send-twice', '--ids', self.write('ids', 'b HNE01\n'))
        self.assertEqual(self.state('b', 'HNE01'), 'wait')
        self.ctl('unknown', 'resolve', 'drop', '--yes', '--all')
        self.assertEqual(self.r('HGET', '{q}:job:d:SNE01', 'why'), 'dropped')
        self.assertEqual(self.ctl('unknown', 'resolve', 'drop', '--yes', '--all').out, 'no letter is of unknown fate\n')
        self.assertEqual([(a['verb'], a['a'], a['c']) for a in rq.stream(self.r, 'audit') if a['verb'] != 'note'],
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
        r = self.ctl('unknown', 'resolve', 'drop', '--yes', '--all')
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
                        ('dead', 'show', 'new', 'HNE03'), ('dead', 'replay', '--yes', '--sid', 'new'), ('dead', 'drop', '--yes', '--all'),
                        ('unknown', 'list'), ('unknown', 'list', '--count', '1'), ('unknown', 'list', '--export'),
                        ('unknown', 'resolve', 'drop', '--yes', '--sid', 'a'), ('unknown', 'resolve', 'b', 'HNE03', 'accepted'),
                        ('unknown', 'resolve', 'resend', '--yes', '--all', '--may-send-twice'), ('results', 'trim', '--dry-run'),
                        ('results', 'trim'), ('holds',), ('offices',), ('resume', 'house'), ('depth',), ('shape',),
                        ('dead', 'matrix'), ('limits',), ('top', '--count', '1'), ('workers',), ('workers', 'drain', 'w1'),
                        ('workers', 'undrain', 'w1'), ('audit', 'summary'), ('pause', 'all', '--for', '1h', '--reason', 'r'),
                        ('dead', 'export', '--jobs')):
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
