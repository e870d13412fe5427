#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a worker publishes in `attestations`, and which document its receipts name: with a real Redis, and the engine in a
program (publication_driver.c) whose documents are made up and come when a test wants them.

CWC_BUILD names the directory of the build."""
import hashlib
import os
import random
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import Case, letter  # noqa: E402
from stack import rq, wait_until  # noqa: E402

NEWER, TROUBLE = signal.SIGUSR1, signal.SIGUSR2
CUTS = 30 if os.environ.get('CWC_LONG') else 10  # each costs the wait before a new connection
FIELDS = ['worker', 'version', 'environment', 'receipt_key_id', 'receipt_key', 'keys', 'statement', 'document',
          'document_sha256', 'pcr0', 'bundle']


class PublicationCase(Case):
    def begin(self, publication='', **options):
        stack = self.start(worker=False, key_source='boot', **options)
        stack.program = os.path.join(stacks.BUILD, 'tools', 'publication_driver')
        stack.values['device'] = 'none'
        self.worker = stack.start_worker(ready=False, env={'PUBLICATION': publication})
        self.addCleanup(self.account)
        if not publication:
            self.worker.wait_event('ready')
            stack.learn_keys()
        return stack

    def entries(self):
        return [(e[0], rq.pairs(e[1])) for e in self.stack.redis('XRANGE', self.stack.key('attestations'), '-', '+')]

    def wait_entries(self, n):
        wait_until(lambda: len(self.entries()) >= n, 20, '%d entries' % n)
        self.assertEqual(len(self.entries()), n)

    def send(self, sid):
        """(number of the publication that the receipt names)"""
        before = self.stack.redis('XLEN', self.stack.key('results'))
        self.stack.submit(letter(sid))
        self.wait_results(before + 1)
        return self.named(self.stack.stream('results')[-1])

    def named(self, result):
        document = account.open_receipt(self.stack, result)['document'].hex()
        return next(int(e['bundle']) for _, e in self.entries() if e['document_sha256'] == document)

    def account(self):
        """No receipt of this Redis came before the document that it names."""
        def moment(entry_id):
            return int(entry_id.split('-')[0])
        entries = self.entries()
        for entry_id, flat in self.stack.redis('XRANGE', self.stack.key('results'), '-', '+'):
            document = account.open_receipt(self.stack, rq.pairs(flat))['document'].hex()
            first = [moment(i) for i, e in entries if e['document_sha256'] == document]
            self.assertTrue(first and first[0] <= moment(entry_id), (entry_id, document, entries))


class Publication(PublicationCase):
    def test_nothing_is_taken_before_it(self):
        stack = self.begin(publication='none')
        self.worker.wait_event('queue_up')
        self.worker.kill(TROUBLE)
        self.worker.wait_event('not_ready')
        self.worker.kill(TROUBLE)
        self.assertEqual(stack.redis('EXISTS', stack.key('workers')), 0)
        self.worker.kill(NEWER)
        self.worker.wait_event('ready')
        self.wait_entries(1)
        stack.learn_keys()
        self.assertEqual(self.send('first'), 1)

    def test_what_stands_there(self):
        stack = self.begin()
        flat = stack.redis('XRANGE', stack.key('attestations'), '-', '+')[0][1]
        self.assertEqual(flat[::2], FIELDS)
        e = rq.pairs(flat)
        document, statement = account.as_bytes(e['document']), account.as_bytes(e['statement'])
        self.assertEqual(document, bytes(i & 255 for i in range(5000)))
        self.assertEqual(statement, b'\xa0\r\n$5\r\n\0\xff1')
        self.assertEqual(e['document_sha256'], hashlib.sha256(document).hexdigest())
        self.assertEqual((e['pcr0'], e['bundle'], e['environment'], e['version']), ('b' * 96, '1', 'sandbox', '0'))
        self.assertEqual([line.split()[0] for line in e['keys'].split('\n')], ['witness', 'letter'])
        self.assertEqual(self.send('one'), 1)

    def test_receipts_switch_to_a_newer_one(self):
        self.begin()
        self.assertEqual(self.send('one'), 1)
        for n in range(2, 6):
            self.worker.kill(NEWER)
            self.wait_entries(n)
            self.assertEqual(self.send('letter-%d' % n), n)
        self.assertEqual(len(self.worker.events('ready')), 1)

    def test_out_of_memory(self):
        stack = self.begin()
        stack.redis('CONFIG', 'SET', 'maxmemory', 1)
        self.worker.kill(NEWER)
        self.wait_entries(2)
        stack.redis('CONFIG', 'SET', 'maxmemory', 0)
        self.assertEqual(self.send('two'), 2)

    def test_trouble(self):
        stack = self.begin()
        self.worker.kill(TROUBLE)
        self.worker.wait_event('not_ready')
        self.assertEqual(self.worker.events('not_ready')[-1]['reason'], 'clock_signed')
        stack.submit(letter('waits'))
        self.worker.kill(NEWER)
        self.wait_entries(2)  # a member all the while
        self.assertEqual(stack.redis('XLEN', stack.key('in')), 1)
        self.worker.kill(TROUBLE)
        self.wait_results(1)
        self.assertEqual(self.named(stack.stream('results')[0]), 2)


class Lost(PublicationCase):
    """Lost connections, and servers that have forgotten."""

    def test_a_server_that_was_emptied(self):
        stack = self.begin()
        self.worker.kill(NEWER)
        self.wait_entries(2)
        stack.redis('FLUSHALL')
        self.worker.wait_event('queue_fenced')
        self.worker.wait_event('ready', n=1)
        self.wait_entries(1)
        self.assertEqual(self.send('after'), 2)

    def test_another_server(self):
        stack = self.begin()
        self.assertEqual(self.send('one'), 1)
        self.worker.kill(NEWER)
        self.wait_entries(2)
        stack.kill_redis()
        self.worker.wait_event('queue_down')
        self.worker.kill(NEWER)
        stack.start_redis()  # nothing was saved
        self.wait_entries(1)
        self.assertEqual(self.entries()[0][1]['bundle'], '3')
        self.assertEqual(self.send('two'), 3)

    def test_a_letter_on_its_way_to_a_server_that_has_forgotten(self):
        """An older file, a lagging replica: what became of the letter is not said before the document stands there."""
        stack = self.begin()
        stack.sim.fault(action='delay', when='answer', ms=1500, count=1)
        stack.submit(letter('slow'))
        self.wait_in_flight(1)
        stack.redis('SAVE')
        self.worker.kill(NEWER)
        self.wait_entries(2)
        stack.kill_redis()
        self.worker.wait_event('queue_down')
        self.worker.wait_event('letter_sent')
        stack.start_redis()
        self.wait_results(1)
        self.assertEqual([e['bundle'] for _, e in self.entries()], ['1', '2'])
        self.assertEqual(self.named(stack.stream('results')[0]), 2)
        self.assertEqual(stack.job('slow', 'HNE03')['attempt'], '1')

    def test_a_connection_that_is_cut_again_and_again(self):
        """Whatever is lost of what: in the end the newest stands there, and account() finds no receipt before its own."""
        stack, dice = self.begin(), random.Random(7)
        for n in range(CUTS):
            stack.submit(letter('cut-%d' % n))
            self.worker.kill(NEWER)
            if dice.random() < 0.7:
                stack.redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
            if dice.random() < 0.3:
                self.worker.kill(NEWER)
            self.wait_results(n + 1)
        self.worker.kill(NEWER)
        newest = wait_until(lambda: self.settled(), 20, 'the newest publication')
        self.assertGreaterEqual(self.send('last'), newest)

    def settled(self):
        """The newest number, when nothing newer came within some looks."""
        numbers = [int(e['bundle']) for _, e in self.entries()]
        again = [int(e['bundle']) for _, e in self.entries()]
        return numbers[-1] if numbers == again and numbers[-1] > CUTS * 2 // 3 else None


if __name__ == '__main__':
    unittest.main()
