#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl reconcile: the producer's list beside the queue, wherever a letter may be."""
import base64
import collections
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CTL, NO, OK, SECOND, USAGE, QueueCase, letter, lines, rq  # noqa: E402
from stack import Stack, letters  # noqa: E402

H, S = 'HNE03', 'SNE02'


def digest(job):
    return hashlib.sha1(job.encode()).hexdigest()


class ReconcileCase(QueueCase):
    def reconcile(self, text, *args, code=OK):
        """[(fate, sid, office, where, other bytes)], counts that are not 0"""
        r = self.ctl('reconcile', '--ids', '-', '--json', *args, stdin=text, code=code)
        *rows, last = r.lines
        counts = {k: n for k, n in last['summary'].items() if n and k != 'lines'}
        self.assertEqual(collections.Counter(x['fate'] for x in rows), {k: n for k, n in counts.items() if k != 'bad_lines'})
        return [(x['fate'], x['sid'], x['office'], x['where'], x['other_bytes']) for x in rows], counts

    def fate(self, text, *args, code=OK):
        (row,), _ = self.reconcile(text, *args, code=code)
        return row

    def waiting(self, sid, offices=H, job=None, **hints):
        self.add(sid, offices, job or 'bytes of ' + sid, **hints)
        self.intake()

    def add(self, sid, offices=H, job='bytes', **hints):
        self.r('XADD', '{q}:in', '*', 'sid', sid, 'offices', offices, 'job', job,
               *[x for item in hints.items() for x in item])


class Places(ReconcileCase):
    def test_every_place(self):
        self.waiting('later', nbf=self.now() + 3600 * SECOND)
        for state in ('accepted', 'rejected', 'expired', 'cancelled', 'dropped', 'dead', 'unknown'):
            self.ended(state, state, 'attempts_exhausted' if state == 'dead' else state)
        self.add('taken')
        self.take()
        self.add('begun', S)
        self.begin(self.take('senate')['begun'])
        self.waiting('wait')
        self.waiting('close')
        self.call('admin', 'cancel', 't', 'close:HNE03')
        self.add('door')
        self.r('XADD', '{q}:stuck', '*', 'error', 'e', 'entry', '1-1', 'sid', 'stuck', 'offices', H, 'job', 'x')
        want = {'later': ('pending', 'later'), 'close': ('pending', 'close'), 'begun': ('pending', 'begun'),
                'wait': ('pending', 'wait'), 'door': ('pending', 'in'), 'accepted': ('delivered', 'accepted'),
                'dead': ('dead', 'dead attempts_exhausted'), 'unknown': ('unknown', 'unknown'), 'stuck': ('stuck', 'stuck'),
                'nowhere': ('missing', None), 'taken': ('pending', 'taken'),
                **{s: ('ended', s) for s in ('rejected', 'expired', 'cancelled', 'dropped')}}
        for form in ('%s\n', '%s HNE03\n', '{"sid": "%s"}\n', '{"sid": "%s", "offices": ["HNE03"], "more": 1}\n'):
            text = ''.join((form % sid).replace('HNE03', S if sid == 'begun' else H) for sid in want)
            rows, counts = self.reconcile(text, code=NO)
            self.assertEqual({sid: (fate, where) for fate, sid, _, where, _ in rows}, want)
            self.assertEqual(counts, {'pending': 6, 'delivered': 1, 'ended': 4, 'dead': 1, 'unknown': 1, 'stuck': 1,
                                      'missing': 1})

    def test_exit_status(self):
        self.ended('good', 'accepted', 'accepted')
        self.ended('no', 'rejected', 'rejected')
        self.waiting('wait')
        self.ended('dead', 'dead', 'x')
        self.reconcile('good\nno\nwait\n', code=OK)
        self.reconcile('', code=OK)
        for sid in ('dead', 'nowhere'):
            self.reconcile('good\n%s\n' % sid, code=NO)

    def test_replayed(self):
        """In line again: how it ended before is over."""
        self.ended('a', 'dead', 'attempts_exhausted')
        self.assertEqual(self.fate('a\n', code=NO)[3], 'dead attempts_exhausted')
        self.call('admin', 'replay', 't', 'a', H)
        self.assertEqual(self.fate('a\n')[3], 'wait')

    def test_human_output(self):
        self.ended('good', 'accepted', 'accepted')
        self.waiting('wait', 'HNE03,SNE02')
        r = self.ctl('reconcile', '--ids', '-', stdin='good\nwait\nnowhere HNE01\n', code=NO)
        self.assertEqual([x.split() for x in r.out.splitlines()][:3],
                         [['pending', 'wait', H, 'wait'], ['pending', 'wait', S, 'wait'],
                          ['missing', 'nowhere', 'HNE01', '-']])
        self.assertRegex(r.out, r'\n +1  delivered ')
        self.assertRegex(r.out, r'\n +3  lines of the list\n$')

    def test_offices(self):
        self.waiting('a', 'HNE03,SNE02')
        rows, _ = self.reconcile('a HNE03,HNE01\n', code=NO)
        self.assertEqual([(x[0], x[2]) for x in rows], [('pending', H), ('missing', 'HNE01')])
        rows, _ = self.reconcile('a HNE03 SNE02\n')
        self.assertEqual([(x[0], x[2]) for x in rows], [('pending', H), ('pending', S)])
        self.waiting('a', 'SNE01,HNE01', 'more')
        rows, _ = self.reconcile('a\n')
        self.assertEqual({x[2] for x in rows}, {H, S, 'SNE01', 'HNE01'})

    def test_at_the_door_for_one_office(self):
        self.add('a', 'HNE03,SNE02')
        rows, _ = self.reconcile('a HNE03,SNE02\n')
        self.assertEqual([(x[0], x[3]) for x in rows], [('pending', 'in')] * 2)
        rows, _ = self.reconcile('a HNE01\n', code=NO)
        self.assertEqual(rows[0][0], 'missing')

    def test_the_record_has_expired(self):
        """The result is still there; when that is gone too, nobody knows any more."""
        self.ended('a', 'accepted', 'accepted')
        self.ended('b', 'rejected', 'letter_invalid')
        for sid in 'ab':
            self.r('DEL', '{q}:job:%s:HNE03' % sid, '{q}:sub:' + sid)
        rows, _ = self.reconcile('a\nb HNE03\n')
        self.assertEqual([(x[0], x[3]) for x in rows],
                         [('delivered', 'results: accepted accepted'), ('ended', 'results: rejected letter_invalid')])
        self.r('DEL', '{q}:results')
        self.assertEqual(self.reconcile('a\nb\n', code=NO)[1], {'missing': 2})

    def test_the_last_result_counts(self):
        for state, late in (('unknown', ''), ('late', 'accepted'), ('accepted', '')):
            self.r('XADD', '{q}:results', '*', 'sid', 'a', 'office', H, 'rev', 1, 'state', state, 'outcome', 'x',
                   *(['late', late] if late else []))
        self.assertEqual(self.fate('a HNE03\n')[0], 'delivered')
        self.r('XADD', '{q}:results', '*', 'sid', 'b', 'office', H, 'rev', 1, 'state', 'late', 'outcome', 'x', 'late', 'accepted')
        self.assertEqual(self.fate('b HNE03\n', code=NO)[0], 'missing')


class Digests(ReconcileCase):
    def refuse(self, sid):
        taken = self.take()[sid]
        self.call('settle', 'w1/1', *taken[:3], 'refused', '', 'job_signature', '', 0, '', 0, 0, self.now(), 0, '', '', -1)

    def test_refused(self):
        self.waiting('a')
        self.refuse('a')
        self.assertEqual(self.fate('a\n', code=NO)[:4], ('refused', 'a', None, 'refused: verify'))
        self.assertEqual(self.fate('a HNE03\n', code=NO)[:3], ('refused', 'a', H))
        by = json.dumps({'sid': 'a', 'offices': [H], 'digest': digest('bytes of a')}) + '\n'
        self.assertEqual(self.fate(by, code=NO)[0], 'refused')
        other = json.dumps({'sid': 'a', 'offices': H, 'digest': digest('other')}) + '\n'
        self.assertEqual(self.fate(other, code=NO)[0], 'missing')  # what was refused was not this

    def test_malformed(self):
        self.add('a', 'mars')
        self.intake()
        self.assertEqual(self.fate('a HNE03\n', code=NO)[3], 'refused: malformed')

    def test_refused_and_sent_again(self):
        self.waiting('a', job='forged')
        self.refuse('a')
        self.waiting('a', job='genuine')
        self.assertEqual(self.fate('a\n')[0], 'pending')
        job = base64.b64encode(b'genuine').decode()
        self.assertEqual(self.fate(json.dumps({'sid': 'a', 'job': job}) + '\n'), ('pending', 'a', H, 'wait', False))
        self.assertEqual(self.fate(json.dumps({'sid': 'a', 'digest': digest('forged').upper()}) + '\n', code=NO)[0], 'refused')

    def test_other_bytes(self):
        """Three forged entries wait, the genuine one was refused; then one that nobody has seen."""
        for job in ('f0', 'f1', 'f2', 'f3', 'genuine'):
            self.waiting('a', job=job)
        for job, fate, other in (('f0', 'pending', False), ('f3', 'pending', False), ('genuine', 'refused', False),
                                 ('unseen', 'pending', True)):
            row = self.fate(json.dumps({'sid': 'a', 'digest': digest(job)}) + '\n', code=NO if fate == 'refused' else OK)
            self.assertEqual((row[0], row[4]), (fate, other), job)
        self.add('a', job='unseen')
        self.assertEqual(self.fate(json.dumps({'sid': 'a', 'digest': digest('unseen')}) + '\n')[3:], ('in', False))

    def test_lines_of_seal(self):
        sealed = self.ctl('seal', '-', *self.sealing, stdin=lines(letter('a', [H, S]), letter('b'))).out
        first, second = sealed.splitlines(keepends=True)
        self.ctl('enqueue', '-', stdin=first)
        self.intake()
        rows, _ = self.reconcile(sealed, code=NO)
        self.assertEqual([(x[0], x[1], x[2], x[4]) for x in rows],
                         [('pending', 'a', H, False), ('pending', 'a', S, False), ('missing', 'b', H, False)])
        self.ctl('enqueue', '-', stdin=second)
        self.reconcile(sealed, code=OK)


class Lists(ReconcileCase):
    def test_bad_lines(self):
        self.waiting('a')
        bad = ['a b:c', 'b c d e f', '{"sid": "a"', '{"offices": ["HNE03"]}', '{"sid": "a", "offices": ["mars"]}',
               '{"sid": "a", "digest": "12"}', '{"sid": "a", "offices": 7}', 'x' * 65, 'a HNE01,HNE02,HNE03,SNE01',
               '{"sid": "a", "job": "!"}', '[]']
        r = self.ctl('reconcile', '--ids', '-', '--json', stdin='a\n' + '\n'.join(bad) + '\na\n', code=NO)
        self.assertEqual(r.lines[-1]['summary']['bad_lines'], len(bad))
        self.assertEqual(r.lines[-1]['summary']['pending'], 2)
        self.assertEqual(len(r.err.splitlines()), len(bad))
        for n, line in enumerate(r.err.splitlines()):
            self.assertTrue(line.startswith('cwcctl: standard input:%d: ' % (n + 2)), line)

    def test_usage(self):
        self.ctl('reconcile', code=USAGE)
        self.ctl('reconcile', 'x', code=USAGE)
        self.assertIn('No such file', self.ctl('reconcile', '--ids', self.path('nothing'), code=NO).err)

    def test_file_with_crlf_and_blanks(self):
        self.waiting('a')
        path = self.write('list.txt', 'a HNE03\r\n\r\n  a\r\n')
        r = self.ctl('reconcile', '--ids', path)
        self.assertIn('2  pending', r.out)

    def test_unlisted(self):
        for sid in ('a', 'b'):
            self.ended(sid, 'accepted', 'accepted')
        self.waiting('c', 'HNE03,SNE02')
        self.assertEqual(self.reconcile('a\n')[1], {'delivered': 1})
        rows, counts = self.reconcile('a\na\nnowhere\n', '--all', code=NO)
        self.assertEqual(sorted(x[:4] for x in rows if x[0] == 'unlisted'),
                         [('unlisted', 'b', H, 'accepted'), ('unlisted', 'c', H, 'wait'), ('unlisted', 'c', S, 'wait')])
        self.assertEqual(counts, {'delivered': 2, 'missing': 1, 'unlisted': 3})
        self.assertEqual(self.reconcile('', '--all')[1], {'unlisted': 4})

    def test_another_queue(self):
        self.waiting('a')
        self.assertEqual(self.fate('a\n', '--queue', 'r', code=NO)[0], 'missing')

    def test_taken_in_meanwhile(self):
        """Not in the records when they were asked, not in `in` when that was read: asked again, it is there."""
        self.add('moves')
        seen = []

        def at_the_first_page(data):
            if b'$4\r\npage\r\n' in data and not seen:  # not where the script is loaded
                seen.append(self.intake())
        address = self.proxy(at_the_first_page)
        r = self.ctl('reconcile', '--ids', '-', '--json', '--redis', address, stdin='moves\nnowhere\n', code=NO, redis=())
        self.assertEqual(len(seen), 1)
        self.assertEqual([(x['fate'], x['sid'], x.get('where')) for x in r.lines[:-1]],
                         [('pending', 'moves', 'wait'), ('missing', 'nowhere', None)])

    def ctl(self, *args, redis=None, **kw):
        kept = self.redis
        self.redis = kept if redis is None else redis
        try:
            return super().ctl(*args, **kw)
        finally:
            self.redis = kept

    def proxy(self, look):
        """One connection to the server; look(data) runs before what the client sends goes on."""
        path = self.path('proxy')
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        self.addCleanup(os.unlink, path)
        self.addCleanup(listener.close)

        def run():
            client, server = listener.accept()[0], socket.socket(socket.AF_UNIX)
            with client, server:
                server.connect(self.server.path)
                other = {client: server, server: client}
                while True:
                    for s in select.select([client, server], [], [])[0]:
                        data = s.recv(1 << 16)
                        if not data:
                            return
                        if s is client:
                            look(data)
                        other[s].sendall(data)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return 'unix:' + path


FILL = '''
for i = ARGV[1] + 0, ARGV[2] + 0 do
	local key = KEYS[1]:sub(1, -5)
	redis.call('HSET', key .. 'sub:s' .. i, 'offices', 'HNE03', 'open', 0, 'rollup', 'delivered')
	redis.call('HSET', key .. 'job:s' .. i .. ':HNE03', 'state', 'accepted', 'outcome', 'accepted', 'rev', 3)
end
'''


class Many(ReconcileCase):
    IDS = 100000

    def fill(self, n):
        for i in range(0, n, 2000):
            self.r('EVAL', FILL, 1, rq.META, i, i + 1999)

    def measure(self, n):
        path = self.write('many.txt', ''.join('s%d HNE03\n' % i for i in range(n)))
        read, write = os.pipe()
        pid, start = os.fork(), time.monotonic()
        if pid == 0:
            os.dup2(write, 1)
            os.execv(CTL, [CTL, 'reconcile', '--quiet', '--ids', path, *self.redis])
        os.close(write)
        with os.fdopen(read) as f:
            out = f.read()
        _, status, usage = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), out, usage.ru_maxrss / 1024, time.monotonic() - start

    def test_100000_ids(self):
        """In seconds, and in the memory of 20000."""
        self.fill(self.IDS)
        code, out, small, _ = self.measure(20000)
        self.assertEqual(code, OK, out)
        code, out, big, seconds = self.measure(self.IDS)
        self.assertEqual((code, out.split()[:2]), (OK, [str(self.IDS), 'delivered']))
        self.assertLess(seconds, 20, '2 s on an idle machine')
        self.assertLess(big, small + 4)

    def test_many_are_missing(self):
        self.fill(2000)
        for i in range(3000):
            self.r.send('XADD', '{q}:in', '*', 'sid', 's%d' % (i + 2000), 'offices', H, 'job', 'x%d' % i)
        for _ in range(3000):
            self.r.read()
        path = self.write('list.txt', ''.join('s%d HNE03\n' % i for i in range(40000)))
        r = self.ctl('reconcile', '--ids', path, '--json', code=NO)
        self.assertEqual({k: n for k, n in r.lines[-1]['summary'].items() if n},
                         {'lines': 40000, 'delivered': 2000, 'pending': 3000, 'missing': 35000})


class WithWorkers(unittest.TestCase):
    def test_what_was_sent_arrived(self):
        with Stack() as stack:
            stack.start_worker()
            good = list(letters.sample(40))
            stack.submit(*good)
            text = ''.join('%s %s\n' % (s['sid'], ','.join(s['offices'])) for s in good)

            def reconcile(text):
                p = subprocess.run([CTL, 'reconcile', '--ids', '-', '--json', '--redis', 'unix:' + stack.redis_path],
                                   input=text, capture_output=True, text=True, timeout=60, check=False)
                return p.returncode, json.loads(p.stdout.splitlines()[-1])['summary']
            while stack.busy():
                code, counts = reconcile(text)  # nothing is missing at any moment
                self.assertEqual((code, counts['missing']), (OK, 0), counts)
            jobs = sum(len(s['offices']) for s in good)
            code, counts = reconcile(text)
            self.assertEqual((code, counts['delivered']), (OK, jobs))
            code, counts = reconcile(text + 'lost HNE03\n')
            self.assertEqual((code, counts['missing']), (NO, 1))


if __name__ == '__main__':
    unittest.main()
