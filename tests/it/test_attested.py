#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers with a (simulated) security module: what proves their keys and their receipts stands in Redis before it is
needed, and is enough. What happens on the way to Redis, with documents that come at any time, is in test_publication.py;
receipts across rotations of the ring in test_keys_rotate.py; what `receipts verify` refuses in test_receipts.py."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import formats  # noqa: E402
import stack as stacks  # noqa: E402
from attest_case import manifest, pcr  # noqa: E402
from life_case import TOTAL, Case, letter  # noqa: E402
from stack import appserver, letters, rq, wait_until  # noqa: E402
from status_client import ask  # noqa: E402

CTL = os.path.join(stacks.DEV_BUILD, 'cwcctl')
EX_CONFIG = 78


def measurements(image):
    """As the simulated device measures an image of this name."""
    return {i: pcr(b'%s %s' % (part, image.encode())) for i, part in enumerate((b'image', b'kernel', b'application'))}


class Auditor:
    """Knows the measurements of the releases, and otherwise only what stands in Redis."""

    def __init__(self, test, stack, *images):
        self.stack, self.dir = stack, tempfile.mkdtemp(prefix='cwc-')
        test.addCleanup(shutil.rmtree, self.dir)
        self.manifest = self.write('releases.txt', manifest(**{name: measurements(name) for name in images}).encode())

    def write(self, name, data):
        with open(os.path.join(self.dir, name), 'wb') as f:
            f.write(data)
        return os.path.join(self.dir, name)

    def ctl(self, *args):
        return subprocess.run([CTL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=False)

    def read(self, *args):
        r = self.ctl(*args, '--redis', 'unix:' + self.stack.redis_path, '--queue', self.stack.queue, '--json')
        assert r.returncode == 0, r
        return r.stdout

    def prove(self):
        """(exit status, summary) of all receipts that stand in `results`."""
        results, boots = self.read('results', '--count', '100000'), self.read('keys', '--count', '100000')
        r = self.ctl('receipts', 'verify', self.write('results.jsonl', results), '--documents',
                     self.write('boots.json', boots), '--manifest', self.manifest, '--json', '--quiet')
        return r.returncode, json.loads(r.stdout.splitlines()[-1])['summary']

    def statement_of(self, entry):
        """The statement of an entry of `attestations`, when one of the releases vouches for it; else None."""
        if 'document' not in entry or 'statement' not in entry:
            return None
        document, statement = account.as_bytes(entry['document']), account.as_bytes(entry['statement'])
        r = self.ctl('attest', 'verify', self.write('document.cbor', document), '--manifest', self.manifest, '--json')
        if r.returncode != 0 or json.loads(r.stdout)['user_data'] != hashlib.sha256(b'cwc-statement-v1' + statement).hexdigest():
            return None
        said = formats.read_statement(statement)
        return said if (said['environment'], said['queue']) == ('sandbox', self.stack.queue) else None

    def keys_to_seal_to(self):
        """The newest entry that is proved: its active keys."""
        for entry in reversed(self.stack.stream('attestations')):
            said = self.statement_of(entry)
            if said is not None:
                newest = {}
                for k in said['keys']:
                    if k['profile'] != 'secret' and k['activate'] >= newest.get(k['profile'], k)['activate']:
                        newest[k['profile']] = k
                return {p: appserver.RingKey(p, k['public_key'], k.get('contexts', ())) for p, k in newest.items()}
        return {}


class AttestedCase(Case):
    def begin(self, *images, **options):
        stack = self.start(worker=False, **{'device': 'simulated', 'status': True, **options})
        self.auditor = Auditor(self, stack, *(images or ('one',)))
        return stack

    def worker_of(self, name='w1', image='one', ready=True, **env):
        return self.stack.start_worker(name, ready, {'CWC_SIM_IMAGE': image, **env})

    def by_worker(self, name):
        return [e for e in self.stack.stream('attestations') if e['worker'].split('/')[0] == name]

    def prove(self, receipts, boots):
        """All receipts, by what stands in Redis; and none came before the document that it names."""
        code, summary = self.auditor.prove()
        self.assertEqual((code, summary['receipts'], summary['good'], summary['bad'], summary['boots']),
                         (0, receipts, receipts, 0, boots), summary)
        self.assertFalse(summary['chain_only'])
        first = {}
        for entry_id, flat in self.stack.redis('XRANGE', self.stack.key('attestations'), '-', '+'):
            first.setdefault(rq.pairs(flat)['document_sha256'], tuple(map(int, entry_id.split('-'))))
        for entry_id, flat in self.stack.redis('XRANGE', self.stack.key('results'), '-', '+'):
            named = account.open_receipt(self.stack, rq.pairs(flat))['document'].hex()
            self.assertLessEqual(first[named][0], int(entry_id.split('-')[0]))


class Published(AttestedCase):
    def test_two_workers(self):
        stack = self.begin(chamber={**TOTAL, 'concurrency': 1})  # so that both have some
        workers = [self.worker_of(name) for name in ('w1', 'w2')]
        submissions, entries, jobs = self.many(40, 5)
        stack.enqueue(entries)
        self.wait_results(jobs)
        stack.wait_idle()
        account.check(self, stack, submissions)
        self.prove(jobs, 2)
        named = {account.open_receipt(stack, r)['document'].hex() for r in stack.results()}
        self.assertEqual(named, {e['document_sha256'] for e in stack.stream('attestations')})
        for w in workers:
            entry, = self.by_worker(w.name)
            self.assertEqual(self.auditor.statement_of(entry)['receipt_key'].hex(), entry['receipt_key'])
            self.assertEqual(entry['pcr0'], measurements('one')[0])

    def test_another_release_is_another(self):
        """Receipts of an image that the auditor does not know prove nothing."""
        stack = self.begin()
        self.worker_of(image='two')
        stack.submit(letter('elsewhere'))
        self.wait_results(1)
        code, summary = self.auditor.prove()
        self.assertEqual((code, summary['good'], summary['bad']), (1, 0, 1))
        self.assertEqual(self.auditor.keys_to_seal_to(), {})

    def test_servers_that_forget(self):
        """A new server, then an emptied one: each has the entry before the next receipt."""
        stack = self.begin()
        worker = self.worker_of()
        stack.submit(letter('before'))
        self.wait_results(1)
        stack.wait_idle()
        self.prove(1, 1)
        stack.kill_redis()
        worker.wait_event('queue_down')
        stack.start_redis()
        stack.submit(letter('another-server'))
        self.wait_results(1)
        stack.wait_idle()
        self.prove(1, 1)
        stack.redis('FLUSHALL')
        stack.submit(letter('emptied'))
        self.wait_results(1)
        stack.wait_idle()
        self.prove(1, 1)
        documents = {e['document_sha256'] for e in stack.stream('attestations')}
        self.assertEqual(len(documents), 1)
        self.assertEqual(stack.sim.count(), 3)

    def test_killed_before_its_receipt(self):
        """What the first boot sent, the second has to answer for: with a document of its own."""
        stack = self.begin()
        worker = self.worker_of()
        stack.sim.fault(action='stall', count=2)
        some = [letter('house'), letter('senate', letters.SENATE)]
        stack.submit(*some)
        self.wait_in_flight(2)
        worker.kill()
        worker.process.wait()
        self.assertEqual(stack.redis('XLEN', stack.key('results')), 0)
        self.worker_of()
        self.wait_results(2)
        stack.wait_idle()
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some], ['outcome_unknown', 'accepted_earlier'])
        first, second = self.by_worker('w1')
        self.assertNotEqual(first['receipt_key'], second['receipt_key'])
        self.assertEqual({account.open_receipt(stack, r)['document'].hex() for r in stack.results()}, {second['document_sha256']})
        self.prove(2, 2)


class FromRedisAlone(AttestedCase):
    """An app server that has the manifest and Redis, and seals by its own means."""

    def test_keys(self):
        stack = self.begin(key_source='boot')
        self.worker_of()
        self.assertEqual(set(self.auditor.keys_to_seal_to()), {'witness', 'letter'})
        self.hostile()
        stack.ring = self.auditor.keys_to_seal_to()
        some = [letter('sealed'), {**letters.base('sealed', 'witness'), 'sid': 'witness'}]
        stack.submit(*some)
        self.wait_results(2)
        stack.wait_idle()
        self.assertEqual(self.states(account.last_results(stack)), {'accepted': 2})
        self.assertEqual(stack.sim.count(), 2)

    def hostile(self):
        """Behind the genuine entry: what anybody can write who can write to Redis. He would read all letters."""
        stack, genuine = self.stack, self.stack.stream('attestations')[-1]
        said = formats.read_statement(account.as_bytes(genuine['statement']))
        mine = formats.x25519_public(formats.x25519_secret())
        keys = [{**k, 'id': formats.ring_kid(mine), 'public_key': mine} for k in said['keys'] if k['profile'] == 'letter']
        statement = formats.encode({**said, 'keys': keys})
        lines = 'letter %s %s' % (formats.ring_kid(mine), mine.hex())
        document = account.as_bytes(genuine['document'])
        broken = document[:-1] + bytes([document[-1] ^ 1])
        for changes in ({'keys': lines}, {'keys': lines, 'statement': statement}, {'statement': statement, 'document': broken},
                        {'document': broken}, {'document': b''}, {'keys': lines, 'document': None, 'statement': None}):
            entry = {k: v for k, v in {**genuine, **changes}.items() if v is not None}
            stack.redis('XADD', stack.key('attestations'), '*', *(x for item in entry.items() for x in item))
        # A genuine enclave of another image, which may say what it likes.
        self.worker_of('evil', 'evil').kill()
        self.assertIsNone(self.auditor.statement_of(self.by_worker('evil')[-1]))
        ring = self.auditor.keys_to_seal_to()
        self.assertEqual({k.public for k in ring.values()}, {k['public_key'] for k in said['keys']})
        self.assertNotIn(mine, [k.public for k in ring.values()])


class DeviceCase(AttestedCase):
    def untouched(self, worker, reason):
        """Two beats long, or while there is none: nothing is taken."""
        stack = self.stack
        wait_until(lambda: self.answer(worker, '/ready') == (503, reason), 20, reason)
        worker.wait_event('queue_up' if reason != 'no_document' else 'document_failed')
        if reason != 'no_document':
            members = {stack.redis('ZSCORE', stack.key('workers'), w) for w in stack.redis('ZRANGE', stack.key('workers'), 0, -1)}
            wait_until(lambda: not members & {stack.redis('ZSCORE', stack.key('workers'), w)
                                              for w in stack.redis('ZRANGE', stack.key('workers'), 0, -1)}, 20, 'a beat')
        self.assertEqual((stack.redis('XLEN', stack.key('in')), stack.sim.count()), (1, 0))
        for name in ('job:*', 'sub:*', 'results', 'held:*'):
            self.assertEqual(stack.keys(name), [])

    def answer(self, worker, path):
        a = ask(self.stack.status_address(worker.name), path)
        return a.status, a.json().get('reason') if a.body else None


class Device(DeviceCase):
    """A security module that gives no documents: from the start, for a while, and later."""

    def test_from_the_start(self):
        stack = self.begin()
        stack.submit(letter('waits'))
        worker = self.worker_of(ready=False, CWC_SIM_FAIL='0')
        self.assertEqual(worker.process.wait(20), EX_CONFIG)
        self.assertIn('attest.device', worker.tail())
        self.assertEqual(stack.keys(), [stack.key('in')])

    def test_no_document(self):
        """It says who it is, and then no more."""
        stack = self.begin()
        stack.submit(letter('waits'))
        worker = self.worker_of(ready=False, CWC_SIM_FAIL='1')
        worker.wait_event('document_failed', n=3)
        self.untouched(worker, 'no_document')
        self.assertEqual((stack.keys('workers'), stack.keys('attestations')), ([], []))
        failed = worker.events('document_failed')
        self.assertEqual([(e['code'], e['attempt'], e['wait_ms']) for e in failed[:3]],
                         [('io', 1, 500), ('io', 2, 1000), ('io', 3, 2000)])
        self.assertEqual(self.answer(worker, '/attestation'), (503, 'no_attestation'))
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(stack.redis('XLEN', stack.key('in')), 1)

    def test_a_document_after_all(self):
        stack = self.begin()
        stack.submit(letter('waits'))
        worker = self.worker_of(CWC_SIM_FAIL='1+2')
        self.assertEqual(len(worker.events('document_failed')), 2)
        self.wait_results(1)
        stack.wait_idle()
        account.check(self, stack, [letter('waits')])
        self.prove(1, 1)

    def test_later(self):
        """Whoever asks for a document of his own gets none; letters go on under the old one."""
        stack = self.begin()
        worker = self.worker_of(CWC_SIM_FAIL='2')
        a = ask(stack.status_address('w1'), '/attestation?nonce=' + '5a' * 32)
        self.assertEqual((a.status, a.json()), (503, {'reason': 'device', 'why': 'io'}))
        a = ask(stack.status_address('w1'), '/attestation', Accept='application/json')
        self.assertEqual((a.status, a.json()['sha256']), (200, self.by_worker('w1')[0]['document_sha256']))
        some = [letter('later-%d' % n) for n in range(5)]
        stack.submit(*some)
        self.wait_results(5)
        stack.wait_idle()
        account.check(self, stack, some)
        self.assertEqual(self.answer(worker, '/ready')[0], 200)
        self.prove(5, 1)


class Clock(DeviceCase):
    """The wall clock against the time that the device signs; skew_max is 500 ms here."""

    def test_off(self):
        for ahead_ms in ('5000', '-5000'):
            with self.subTest(ahead_ms):
                stack = self.begin()
                stack.submit(letter('waits'))
                worker = self.worker_of(ready=False, CWC_SIM_CLOCK_MS=ahead_ms)
                event = worker.wait_event('clock_signed')
                self.assertEqual(event['reason'], 'clock_signed')
                self.assertLess(abs(event['skew_ms'] + int(ahead_ms)), 400)
                self.untouched(worker, 'clock_signed')
                self.assertEqual(worker.events('ready'), [])
                self.assertEqual(worker.stop(), 0)
                self.assertEqual(stack.redis('XLEN', stack.key('in')), 1)
                stack.close()

    def test_within(self):
        stack = self.begin()
        for name, ahead_ms in (('w1', '300'), ('w2', '-300')):
            worker = self.worker_of(name, CWC_SIM_CLOCK_MS=ahead_ms)
            self.assertEqual(worker.events('clock_signed'), [])
            stack.submit(letter(name))
        self.wait_results(2)
        stack.wait_idle()
        account.check(self, stack, [letter('w1'), letter('w2')])
        self.prove(2, 2)


if __name__ == '__main__':
    unittest.main()
