#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl beside a real Redis; the worker is played by the test, script by script."""
import base64
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import (BUILD, CTL, KID, NO, OK, PERSON, PUBLIC, SECOND, UNAVAILABLE, USAGE, WITNESS,  # noqa: E402
                         QueueCase, formats, letter, lines, rq, wait_until, without)


class Enqueue(QueueCase):
    def enqueue(self, text, *args, **kw):
        return self.ctl('enqueue', '-', *self.sealing, *args, stdin=text, **kw)

    def entries(self):
        return rq.stream(self.r, 'in')

    def test_one(self):
        r = self.enqueue(json.dumps(letter('one', ['HNE03', 'SNE02'], priority=0), indent=1))
        self.assertEqual((r.out, r.err.startswith('1 letter added')), ('', True))
        e, = self.entries()
        self.assertEqual((e['sid'], e['offices'], e['pri']), ('one', 'HNE03,SNE02', '0'))
        claims, plain, _ = self.open_job(e['job'])
        self.assertEqual(plain, {**PUBLIC, **PERSON})
        self.assertEqual(int(e['exp']), claims['expires'] * SECOND)
        self.intake()
        self.assertEqual(self.state('one', 'SNE02'), 'wait')

    def test_generated_sid_is_printed(self):
        r = self.enqueue(lines(letter(offices=['SNE02']), letter('named')))
        first, second = self.entries()
        self.assertEqual(r.out, first['sid'] + ' SNE02\n')
        self.assertEqual(second['sid'], 'named')

    def test_2000_lines(self):
        path = self.write('bulk.jsonl', lines(*(letter('bulk-%d' % i, ['HNE03', 'SNE01', 'SNE02'][i % 3:][:1 + i % 2])
                                                for i in range(1999)),
                                              letter('bulk-w', profile='witness', letter=WITNESS, fields=PUBLIC)))
        r = self.ctl('enqueue', path, *self.sealing, '--json')
        self.assertEqual([x['line'] for x in r.lines], list(range(1, 2001)))
        entries = self.entries()
        self.assertEqual([x['sid'] for x in r.lines], [e['sid'] for e in entries])
        self.assertEqual(len({x['id'] for x in r.lines}), 2000)
        self.assertEqual(entries[1998]['sid'], 'bulk-1998')
        for i in (0, 7, 1998):
            claims, _, bound = self.open_job(entries[i]['job'])
            self.assertEqual((claims['sid'], ','.join(claims['offices'])), (entries[i]['sid'], entries[i]['offices']))
            self.assertEqual(bound['sid'], claims['sid'])
        self.assertEqual(self.open_job(entries[1999]['job'], 'witness')[1], WITNESS)

    def test_seal_and_enqueue(self):
        sealed = self.ctl('seal', '-', *self.sealing, stdin=lines(letter('a', priority=0), letter('b')))
        r = self.ctl('enqueue', '-', stdin=sealed.out)  # no key is needed for what is sealed
        self.assertTrue(r.err.startswith('2 letters added'))
        self.assertEqual([(e['sid'], e['pri']) for e in self.entries()], [('a', '0'), ('b', '1')])
        self.assertEqual([e['job'] for e in self.entries()],
                         [base64.b64decode(x['job']) for x in sealed.lines])

    def test_sealed_lines_that_do_not_fit(self):
        line, = self.ctl('seal', '-', *self.sealing, stdin=lines(letter('a'))).lines
        other, = self.ctl('seal', '-', *self.sealing, '--queue', 'r', '--ring', self.ring, stdin=lines(letter('a'))).lines
        envelope = formats.seal_letter(b'\xa0', formats.x25519_public(self.ring_secret['letter']), 'a', ['HNE03'], 1000)
        old = formats.sign_job(envelope, KID, os.urandom(32), sid='a', offices=['HNE03'], expires=1000, profile='letter')
        for reason, bad in (('sid: is not', {**line, 'sid': 'b'}), ('offices: are not', {**line, 'offices': ['HNE01']}),
                            ('another queue', other), ('has expired', {'job': base64.b64encode(old).decode()})):
            r = self.ctl('enqueue', '-', stdin=lines(bad), code=NO)
            self.assertIn(reason, r.err)
        self.assertEqual(self.entries(), [])

    def test_bad_lines(self):
        bad = letter('bad', letter=without(PERSON, 'Zip'))
        text = lines(letter('a'), bad, letter('b'))
        r = self.enqueue(text, '--keep-going', '--json', code=NO)
        rows = sorted(r.lines, key=lambda x: x['line'])
        self.assertEqual([x.get('sid') for x in rows], ['a', None, 'b'])
        self.assertIn('Zip', rows[1]['error'])
        self.assertIn('standard input:2: house: Zip: is required', r.err)
        self.r('DEL', '{q}:in')
        self.enqueue(text, code=NO)  # stops at the bad line
        self.assertEqual([e['sid'] for e in self.entries()], ['a'])
        self.r('DEL', '{q}:in')
        self.ctl('enqueue', self.write('bad.jsonl', text), *self.sealing, code=NO)  # adds nothing
        self.assertEqual(self.entries(), [])

    def test_needs(self):
        self.ctl('enqueue', '-', stdin=lines(letter('a')), code=USAGE)
        self.ctl('enqueue', '-', '--signer', self.signer, stdin=lines(letter('a')), code=USAGE)
        self.enqueue('', code=NO)
        self.enqueue(lines(letter('a')), '--environment', 'production', code=NO)
        self.r('DEL', '{q}:attestations')
        self.assertIn('--ring', self.enqueue(lines(letter('a')), code=NO).err)
        self.assertEqual(self.entries(), [])

    def test_progress(self):
        """Only for a person: on a terminal, and not into the output."""
        path = self.write('bulk.jsonl', lines(*(letter(offices=['SNE02']) for i in range(300))))
        terminal, stderr = pty.openpty()
        with os.fdopen(terminal, 'rb', 0) as seen:
            r = subprocess.run([CTL, 'enqueue', path, *self.sealing, *self.redis], stdout=subprocess.PIPE, stderr=stderr,
                               timeout=60, check=True)
            os.close(stderr)
            text = b''
            while not text.endswith(b's)\r\n'):
                text += seen.read(4096)
        self.assertRegex(text, rb'\r\[#* *\] \d+ letters, \d+/s')
        self.assertIn(b'\x1b[K300 letters added', text)
        self.assertEqual([line.split() for line in r.stdout.decode().splitlines()],
                         [[e['sid'], 'SNE02'] for e in self.entries()])
        self.assertNotIn('/s', self.ctl('enqueue', path, *self.sealing).err)

    def test_slow_input(self):
        """What came is added before more is waited for, and a connection that is lost meanwhile does not matter."""
        process = self.start('enqueue', '-', *self.sealing, '--json', stdin=subprocess.PIPE)
        for n in range(1, 4):
            process.stdin.write(lines(letter('slow-%d' % n)))
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())['sid'], 'slow-%d' % n)
            self.assertEqual(self.r('XLEN', '{q}:in'), n)
            self.r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        process.communicate()
        self.assertEqual(process.returncode, OK)

    def test_lost_connections(self):
        """Redis drops its clients again and again: every letter is added, and if twice, with the same bytes."""
        path = self.write('bulk.jsonl', lines(*(letter('l-%d' % i) for i in range(1500))))
        process = self.start('enqueue', path, *self.sealing, '--json')
        for n in (100, 400, 700):
            wait_until(lambda n=n: self.r('XLEN', '{q}:in') >= n or process.poll() is not None, what='entries')
            self.r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        out, err = process.communicate()
        self.assertEqual(process.returncode, OK, err)
        self.assertEqual(len({json.loads(line)['sid'] for line in out.splitlines()}), 1500)
        jobs = {}
        for e in self.entries():
            self.assertEqual(jobs.setdefault(e['sid'], e['job']), e['job'])
        self.assertEqual(len(jobs), 1500)

    def test_redis_full(self):
        used = int(self.r('INFO', 'memory').split('used_memory:')[1].split()[0])
        self.r('CONFIG', 'SET', 'maxmemory', used // 2)
        self.addCleanup(self.r, 'CONFIG', 'SET', 'maxmemory', 0)
        r = self.enqueue(lines(letter('a')), code=UNAVAILABLE)
        self.assertIn('sid a: queue_full', r.err)


class Look(QueueCase):
    def test_status(self):
        self.add('s', 'HNE03,SNE02')
        taken = self.take()['s']
        self.begin(taken)
        self.settle(taken, 'accepted', 'accepted', status=200, cls='accepted')
        r = self.ctl('status', 's', '--json').json
        self.assertEqual((r['sid'], r['rollup'], [j['office'] for j in r['jobs']]), ('s', 'pending', ['HNE03', 'SNE02']))
        self.assertEqual((r['jobs'][0]['state'], r['jobs'][0]['http_status'], r['jobs'][0]['delivery_id']),
                         ('accepted', 200, 'd' * 32))
        self.assertEqual((r['jobs'][1]['state'], r['jobs'][1]['http_status']), ('wait', None))
        text = self.ctl('status', 's').out
        self.assertRegex(text, r'state +pending\n')
        self.assertRegex(text, r'HNE03 +accepted +accepted +accepted +200 +1 +d{32}')
        one = self.ctl('status', 's', '--office', 'HNE03', '--json').json
        self.assertEqual([(a['attempt'], a['http_status'], a['outcome']) for a in one['history']], [(1, 200, 'accepted')])
        self.assertRegex(self.ctl('status', 's', '--office', 'HNE03').out, r'DeliveryDate +20260302\n')
        self.ctl('status', 's', '--office', 'HNE01', code=NO)
        self.assertNotIn('`in`', self.ctl('status', 'other', code=NO).err)
        self.add('next')
        self.assertIn('1 entries of `in`', self.ctl('status', 'other', code=NO).err)

    def test_depth(self):
        self.dead('d')
        self.add('s', 'HNE03,SNE02')
        self.take()
        self.add('t')
        d = self.ctl('depth', '--json').json
        self.assertEqual((d['in'], d['dead'], d['house_taken'], d['senate_waiting'], d['workers']), (1, 1, 1, 1, 1))
        self.assertGreater(d['senate_oldest_s'], 0)
        text = self.ctl('depth').out
        self.assertRegex(text, r'waiting +0 +1\n')
        self.assertRegex(text, r'dead +1\n')

    def test_depth_watch(self):
        process = self.start('depth', '--watch', '1', '--json')
        first, second = json.loads(process.stdout.readline()), json.loads(process.stdout.readline())
        self.assertLess(first['time'], second['time'])
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), OK)

    def test_offices(self):
        lists = '%d HNE01,HNE02,HNE03' % (time.time() * 1000 - 60000)
        self.r('HSET', '{q}:lists', 'house', lists)
        self.add('s', 'HNE03,SNE02')
        self.add('t')
        self.intake()
        self.take(n=1)
        self.ctl('hold', 'HNE01', '--for', '1h', '--reason', 'moving\x1b[2J house')
        r = self.ctl('offices', '--json').json
        self.assertEqual([(o['office'], o['listed'], o['waiting'], o['in_flight']) for o in r['offices']],
                         [('HNE01', True, 0, 0), ('HNE02', True, 0, 0), ('HNE03', True, 1, 1), ('SNE02', False, 1, 0)])
        self.assertEqual(r['offices'][0]['hold']['reason'], 'moving\x1b[2J house')
        self.assertEqual(r['offices'][1]['hold'], None)
        self.assertEqual([(c['chamber'], c['listed'], c['fetched'] is None) for c in r['chambers']],
                         [('house', 3, False), ('senate', 0, True)])
        text = self.ctl('offices', 'house').out
        self.assertIn('house: 3 offices take part, by a list that is 1min 0s old', text)
        self.assertNotIn('SNE02', text)
        self.assertRegex(text, r'HNE01 +yes +0 +0 +- +until .* by \S+@\S+: moving\?\[2J house\n')
        self.assertEqual(len(self.ctl('offices', 'senate', '--json').json['offices']), 1)

    def test_hold_and_resume(self):
        self.ctl('hold', 'senate', '--until', '2099-01-01T00:00:00Z', '--reason', 'maintenance')
        self.assertRegex(self.r('HGET', '{q}:holds', 'senate'), r'^4070908800000000 \S+@\S+ maintenance$')
        self.assertEqual(self.ctl('hold', 'HNE03', '--for', '5min', '--reason', 'x', '--json').json['held'], 'HNE03')
        self.assertIn('; held until 2099', self.ctl('offices').out)
        self.assertEqual(self.ctl('resume', 'senate').out, 'senate goes on\n')
        self.assertEqual(self.ctl('resume', 'senate').out, 'senate was not held\n')
        self.assertEqual(self.ctl('resume', 'HNE03', '--json').json, {'resumed': 'HNE03', 'was_held': True,
                                                                                'was_broken': False})
        acts = self.ctl('audit', 'list', '--json').json
        self.assertEqual([(a['verb'], a['a']) for a in acts], [('hold', 'senate'), ('hold', 'HNE03'), ('resume', 'senate'),
                                                               ('resume', 'senate'), ('resume', 'HNE03')])
        self.assertIn('senate until 2099-01-01T00:00:00Z: maintenance', self.ctl('audit', 'list').out)
        self.assertEqual(len(self.ctl('audit', 'list', '--count', '2', '--json').json), 2)

    def test_keys_and_workers(self):
        self.publish(os.urandom(32), worker='w2/2')
        r = self.ctl('keys', '--json').json
        self.assertEqual([e['worker'] for e in r], ['w1/1', 'w2/2'])
        self.assertEqual([(k['profile'], k['contexts']) for k in r[0]['keys']],
                         [('witness', [formats.WITNESS_CONTEXT]), ('letter', [])])
        self.assertEqual(len(self.ctl('keys').out.splitlines()), 7)
        self.assertEqual(len(self.ctl('keys', '--count', '1').out.splitlines()), 4)
        path = self.write('published.ring', self.ctl('keys', '--lines').out)
        self.ctl('seal', '-', *self.sealing, '--ring', path, stdin=lines(letter('a')))
        self.add('s')
        self.take()
        self.r('ZADD', '{q}:workers', self.now() - 90 * SECOND, 'w0/0')
        rows = {w['worker']: w for w in self.ctl('workers', '--json').json}
        self.assertEqual((rows['w1/1']['alive'], rows['w1/1']['holds'], rows['w0/0']['alive']), (True, 1, False))
        self.assertRegex(self.ctl('workers').out, r'w0/0 +dead +0 +- +ended 1min 3\ds ago +')
        self.r('DEL', '{q}:attestations')
        self.assertIn('no worker', self.ctl('keys').out)
        self.ctl('keys', '--lines', code=NO)

    def test_all_keys_that_were_ever_published(self):
        """They are kept as long as receipts: more than fits into memory."""
        for i in range(2000):
            self.publish(worker='w1/%d' % i, document=b'd' * 15000)

        def narrow():
            resource.setrlimit(resource.RLIMIT_DATA, (24000000, 24000000))
        r = subprocess.run([CTL, 'keys', '--json', '--count', '100000', *self.redis], stdout=subprocess.PIPE, check=False,
                           timeout=60, preexec_fn=narrow)
        self.assertEqual(r.returncode, 0)
        self.assertEqual([e['worker'] for e in json.loads(r.stdout)], ['w1/1'] + ['w1/%d' % i for i in range(2000)])

    def test_refused_and_stuck(self):
        self.add('bad sid')
        self.r('XADD', '{q}:stuck', '*', 'error', 'ERR \x1b]0;x', 'entry', '1-1', 'sid', 's', 'offices', 'HNE03', 'job', b'\xff')
        self.intake()
        r, = self.ctl('refused', 'list', '--json').json
        self.assertEqual((r['why'], r['sid'], r['bytes']), ('malformed', 'bad sid', 5))
        self.assertIn('malformed', self.ctl('refused', 'list').out)
        r, = self.ctl('stuck', 'list', '--json').json
        self.assertEqual((r['sid'], r['error'], 'job' in r), ('s', 'ERR \x1b]0;x', False))
        self.assertIn('ERR ?]0;x', self.ctl('stuck', 'list').out)


class Acts(QueueCase):
    def test_cancel(self):
        self.add('s', 'HNE03,SNE02')
        self.intake()
        taken = self.take()['s']
        r = self.ctl('cancel', 's', 'SNE02', '--json').json
        self.assertEqual([(x['office'], x['cancelled']) for x in r], [('SNE02', True)])
        self.assertEqual(self.state('s', 'SNE02'), 'close')
        self.begin(taken)
        r = self.ctl('cancel', 's', code=NO)
        self.assertRegex(r.out, r'HNE03 +is being sent')
        self.settle(taken, 'accepted', 'accepted', status=200)
        self.assertRegex(self.ctl('cancel', 's', 'HNE03', code=NO).out, 'too late')
        self.ctl('cancel', 's', 'HNE01', code=NO)
        self.ctl('cancel', 'other', code=NO)

    def test_dead(self):
        self.assertEqual(self.ctl('dead', 'list').out, 'no dead letters\n')
        self.assertEqual(self.ctl('dead', 'list', '--json').json, [])
        self.dead('a', 'b', 'c')
        self.add('alive')
        self.intake()
        rows = self.ctl('dead', 'list', '--json').json
        self.assertEqual([(r['sid'], r['outcome'], r['http_status'], r['attempt']) for r in rows],
                         [(sid, 'attempts_exhausted', 503, 1) for sid in 'abc'])
        self.assertRegex(self.ctl('dead', 'list', '--count', '1').out,
                         r'\n\S+ +c +HNE03 +attempts_exhausted +503 +1 +0 +no answer\n')
        self.assertEqual(self.ctl('dead', 'show', 'a', 'HNE03', '--json').json['state'], 'dead')
        self.assertRegex(self.ctl('dead', 'show', 'a', 'HNE03').out, r'1 +\S+ +\S+ +503 +attempts_exhausted +w1/1\n')
        self.assertIn('not dead but wait', self.ctl('dead', 'show', 'alive', 'HNE03', code=NO).err)
        self.ctl('dead', 'show', 'other', 'HNE03', code=NO)

    def test_replay(self):
        self.dead('a', 'b', 'c')
        self.ctl('dead', 'replay', 'a', 'HNE03', '--dry-run')
        self.assertEqual(self.state('a'), 'dead')
        self.assertIn('done', self.ctl('dead', 'replay', 'a', 'HNE03').out)
        self.assertEqual(self.state('a'), 'wait')
        r = self.ctl('dead', 'replay', 'a', 'HNE03', 'HNE01', '--json', code=NO).json
        self.assertEqual([(x['office'], x['done'], x['answer']) for x in r],
                         [('HNE03', False, 'not dead'), ('HNE01', False, 'no such job')])
        self.ctl('dead', 'replay', 'a', 'HNE03', '--dry-run', code=NO)
        *r, last = self.ctl('dead', 'replay', '--yes', '--all', '--json').lines
        self.assertEqual([(x['sid'], x['done']) for x in r], [('b', True), ('c', True)])
        self.assertEqual((last['summary']['replayed'], last['summary']['failed']), (2, 0))
        self.assertEqual(self.r('XLEN', '{q}:dead'), 0)
        self.assertEqual(self.ctl('dead', 'replay', '--yes', '--all').out, 'no dead letters\n')

    def test_drop(self):
        self.dead('a', 'b')
        self.ctl('dead', 'drop', '--all', '--dry-run')
        self.assertEqual(self.r('XLEN', '{q}:dead'), 2)
        self.ctl('dead', 'drop', 'a', 'HNE03')
        self.assertEqual((self.state('a'), self.r('HGET', '{q}:job:a:HNE03', 'why'), self.state('b')),
                         ('close', 'dropped', 'dead'))
        self.ctl('dead', 'drop', '--yes', '--all')
        self.assertEqual(self.state('b'), 'close')

    def test_unknown(self):
        for sid in 'abc':
            self.ended(sid, 'unknown', 'outcome_unknown', cls='unknown')
        rows = self.ctl('unknown', 'list', '--json').json
        self.assertEqual([(r['sid'], r['office'], r['delivery_id']) for r in rows], [(s, 'HNE03', 'd' * 32) for s in 'abc'])
        self.assertRegex(self.ctl('unknown', 'list').out, r'a +HNE03 +outcome_unknown')
        for sid, how, state in (('a', 'resend', 'wait'), ('b', 'drop', 'close'), ('c', 'accepted', 'close')):
            self.ctl('unknown', 'resolve', sid, 'HNE03', how)
            self.assertEqual(self.state(sid), state)
        self.assertIn('not unknown but wait', self.ctl('unknown', 'resolve', 'a', 'HNE03', 'drop', code=NO).err)
        self.ctl('unknown', 'resolve', 'other', 'HNE03', 'drop', code=NO)
        self.assertEqual(self.ctl('unknown', 'list').out, 'no letter is of unknown fate\n')


class Results(QueueCase):
    def verdicts(self, code):
        rows = self.ctl('results', '--verify', '--json', code=code).lines
        text = self.ctl('results', '--verify', code=code).out
        for row in rows:
            self.assertRegex(text, r'\b%s +HNE03 .* %s' % (row['sid'], row['verified']))
        return {row['sid']: row['verified'] for row in rows}

    def test_receipts(self):
        self.accepted('good')
        row, = self.ctl('results', '--json').lines
        self.assertEqual((row['sid'], row['state'], row['http_status'], row['retryable']), ('good', 'accepted', 200, False))
        self.assertEqual((row['receipt']['outcome'], row['receipt']['kid']),
                         ('accepted', formats.receipt_kid(formats.ed25519_public(self.receipt_seed))))
        formats.verify_receipt(base64.b64decode(row['receipt_bytes']), formats.ed25519_public(self.receipt_seed))
        self.assertEqual(self.verdicts(OK), {'good': 'ok'})

    def test_bad_receipts(self):
        forger = os.urandom(32)
        # A forger's key under the genuine id does not help.
        self.publish(forger, receipt_key_id=formats.receipt_kid(formats.ed25519_public(self.receipt_seed)), worker='w9/9')
        self.accepted('good')
        self.accepted('stranger', os.urandom(32))
        self.accepted('outcome', outcome='rejected_by_chamber')
        self.accepted('office', office='HNE01')
        self.accepted('queue', queue='r')
        self.accepted('attempt', attempt=2)
        self.ended('missing', 'accepted', 'accepted', status=200)
        self.ended('malformed', 'accepted', 'accepted', status=200, receipt=b'\xd2\x84')
        receipt = self.receipt('signature')
        self.ended('signature', 'accepted', 'accepted', status=200, receipt=receipt[:-1] + bytes([receipt[-1] ^ 1]))
        self.assertEqual(self.verdicts(NO), {
            'good': 'ok', 'stranger': 'unknown key', 'outcome': 'mismatch', 'office': 'mismatch', 'queue': 'mismatch',
            'attempt': 'mismatch', 'missing': 'missing', 'malformed': 'malformed', 'signature': 'bad signature'})

    def test_from_and_count(self):
        for n in range(5):
            self.accepted('r%d' % n)
        rows = self.ctl('results', '--json', '--count', '2').lines
        self.assertEqual([r['sid'] for r in rows], ['r0', 'r1'])
        rows = self.ctl('results', '--json', '--from', rows[1]['id']).lines
        self.assertEqual([r['sid'] for r in rows], ['r2', 'r3', 'r4'])
        self.assertEqual(self.ctl('results', '--json', '--from', '$').out, '')
        self.assertEqual(len(self.ctl('results').out.splitlines()), 6)
        for bad in ('x', '1-', '1-x', '-', '1-2-3', ''):
            self.ctl('results', '--from', bad, code=USAGE)

    def follow(self, *args):
        process = self.start('results', '--follow', '--json', *args)
        return process, lambda: json.loads(process.stdout.readline())

    def test_follow(self):
        self.accepted('before')
        process, row = self.follow('--verify', '--timeout', '300ms')
        self.assertEqual(row()['sid'], 'before')
        self.publish(os.urandom(32))  # another boot
        self.receipt_seed = os.urandom(32)
        self.publish()
        self.accepted('after')
        self.assertEqual((row()['verified']), 'ok')
        self.r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        self.accepted('again')
        self.assertEqual(row()['sid'], 'again')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, out), (OK, ''))
        self.assertIn('trying again', err)

    def test_follow_new_ones(self):
        self.accepted('before')
        process, row = self.follow('--from', '$', '--count', '1')
        wait_until(lambda: 'cmd=xread' in self.r('CLIENT', 'LIST'), what='reader')
        self.accepted('after')
        self.assertEqual(row()['sid'], 'after')
        self.assertEqual(process.wait(10), OK)

    def test_reader_goes_away(self):
        self.accepted('a')
        process, row = self.follow()
        row()
        process.stdout.close()
        self.accepted('b')
        self.assertEqual(process.wait(10), -signal.SIGPIPE)
        process.stdout = open(os.devnull, encoding='ascii')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
