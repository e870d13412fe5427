#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl receipts verify: receipts of simulated boots, which a development build takes, against all that can be wrong with
one; and a release build, which takes none of them."""
import base64
import copy
import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import manifest, some_pcr  # noqa: E402
from cwcctl_case import BUILD, CONFIG, CTL, NO, OK, ROOT, SECOND, USAGE, Case, QueueCase, lines, without  # noqa: E402

import cbor2  # noqa: E402

MAKER = os.path.join(BUILD, 'tools', 'receipts_sim')
DEVELOPMENT = os.environ.get('CWCCTL_DEV', os.path.join(ROOT, 'build', 'dev', 'cwcctl'))
MEMORY = 16000000
LOUD = r'(?m)^cwcctl: CHAIN ONLY: [^\n]+ NOT ASKED'
SIMULATED = r'(?m)^cwcctl: SIMULATED: '


def made(*args):
    """(entries as `keys --json` has them, results as `results --json` has them)"""
    out = subprocess.run([MAKER, *map(str, args)], stdout=subprocess.PIPE, check=True, timeout=120).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return [r for r in rows if 'document' in r], [r for r in rows if 'receipt_bytes' in r]


def pcrs(entry):
    document = cbor2.loads(cbor2.loads(base64.b64decode(entry['document']))[2])
    return {i: document['pcrs'][i].hex() for i in range(3)}


def flipped(text, at=-1):
    raw = bytearray(base64.b64decode(text))
    raw[at] ^= 1
    return base64.b64encode(raw).decode()


@unittest.skipUnless(os.path.exists(MAKER) and os.path.exists(DEVELOPMENT), 'there is no development build')
class ReceiptsCase(Case):
    def files(self, entries, results):
        return (self.write('results.jsonl', lines(*results)), '--documents',
                self.write('boots.json', json.dumps(entries, indent=2)))

    def run_program(self, program, *args, code, stdin=None):
        r = subprocess.run([program, 'receipts', 'verify', *args], input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        self.assertEqual(r.returncode, code, (r.stdout[-2000:], r.stderr[-2000:]))
        return r

    def dev(self, *args, code=OK, **kw):
        return self.run_program(DEVELOPMENT, *args, code=code, **kw)

    def verdict(self, *args, program=DEVELOPMENT, code=OK, stdin=None):
        """{reason: (count, first line)}, after a look at all that is printed in both forms."""
        args = (*args, '--quiet')
        r = self.run_program(program, *args, '--json', code=code, stdin=stdin)
        *bad, last = [json.loads(line) for line in r.stdout.splitlines()]
        summary = last['summary']
        table = {row['reason']: (row['count'], row['first_line']) for row in summary['reasons']}
        self.assertEqual(sum(n for n, _ in table.values()), summary['receipts'])
        self.assertEqual(summary['bad'], len(bad))
        self.assertEqual(summary['good'], table['good'][0])
        for reason, (count, first) in table.items():
            rows = [row for row in bad if row['reason'] == reason]
            if reason in ('good', 'none'):
                self.assertEqual((rows, first), ([], None))
            else:
                self.assertEqual((len(rows), rows[0]['line']), (count, first))
        self.assertEqual([row['line'] for row in bad], sorted(row['line'] for row in bad))
        people = self.run_program(program, *args, code=code, stdin=stdin)
        printed = {m[2]: (int(m[1]), None if m[3] == '-' else int(m[3]))
                   for m in re.finditer(r'(?m)^(\d+) +(\w+) +(-|\d+)  +\S', people.stdout)}
        self.assertEqual(printed, table)
        self.assertIn('%d of %d not good' % (summary['bad'], summary['receipts']), people.stdout)
        self.assertEqual(people.stderr, r.stderr)
        return table, bad, summary, r.stderr


class Many(ReceiptsCase):
    def test_ten_thousand(self):
        """Twenty boots with two documents each; what is wrong with some is found, each under its own name, and the rest
        are good."""
        entries, results = made(20, 2, 10000, '--debug', 3, '--other', 5)
        genuine = copy.deepcopy(entries)
        releases = self.write('releases.txt', manifest(old={0: some_pcr('old')}, new=pcrs(entries[0])))
        entries = [e for e in entries if e['boot'] != 7]
        for e in entries:
            if e['boot'] in (9, 10):  # the one's for the other's
                e['statement'] = next(x for x in genuine if x['boot'] == 19 - e['boot'])['statement']
        results[4242]['receipt_bytes'] = flipped(results[4242]['receipt_bytes'])  # in the signature
        results[4321]['receipt_bytes'] = flipped(results[4321]['receipt_bytes'], 60)  # in what is signed
        of_boot = [{i for i, r in enumerate(results) if r['boot'] == b} for b in range(20)]
        altered = {4242, 4321}
        self.assertFalse(altered & (of_boot[3] | of_boot[5] | of_boot[7] | of_boot[9] | of_boot[10]))
        table, bad, summary, err = self.verdict(*self.files(entries, results), '--manifest', releases, code=NO)
        self.assertEqual(table, {
            'good': (10000 - 5 * 500 - 2, None), 'document_debug': (500, 4), 'document_policy': (500, 6),
            'unknown_boot': (500, 8), 'statement': (1000, 10), 'signature': (2, 4243)})
        self.assertEqual({(row['line'] - 1, row['reason']) for row in bad},
                         {*((i, 'document_debug') for i in of_boot[3]), *((i, 'document_policy') for i in of_boot[5]),
                          *((i, 'unknown_boot') for i in of_boot[7]),
                          *((i, 'statement') for i in of_boot[9] | of_boot[10]), *((i, 'signature') for i in altered)})
        for row in bad:
            self.assertEqual(row['sid'], results[row['line'] - 1]['sid'])
            self.assertEqual(row['kid'], next(e for e in genuine if e['boot'] == (row['line'] - 1) % 20)['receipt_key_id'])
        self.assertEqual((summary['boots'], summary['documents'], summary['simulated'], summary['chain_only']),
                         (15, 38, True, False))
        self.assertEqual(len(re.findall(SIMULATED, err)), 1)
        self.assertNotRegex(err, LOUD)
        # Without measurements another image is as good as ours, and that is said; debug mode is never good.
        table, _, summary, err = self.verdict(*self.files(entries, results), code=NO)
        self.assertEqual((table['good'][0], summary['chain_only']), (10000 - 4 * 500 - 2, True))
        self.assertNotIn('document_policy', table)
        self.assertIn('document_debug', table)
        self.assertRegex(err, LOUD)
        # A release program takes none: for the root, and for nothing behind it.
        table, _, summary, err = self.verdict(*self.files(genuine, results), '--manifest', releases, program=CTL, code=NO)
        self.assertEqual(table, {'good': (0, None), 'document_chain_anchor': (9998, 1), 'signature': (2, 4243)})
        self.assertEqual((summary['boots'], summary['simulated']), (0, False))
        self.assertEqual(err, '')

    def test_memory(self):
        """What is large in a file is not large in memory: neither lines nor entries pile up."""
        entries, results = made(2, 1, 200)
        with tempfile.TemporaryFile('w+') as big:
            text = lines(*results)
            for _ in range(100):
                big.write(text)
            size = big.tell()
            more = [{**e, 'boot': i, 'padding': 'x' * 50000} for i in range(200) for e in entries]
            boots = self.write('many.json', json.dumps(more))
            big.seek(0)
            with tempfile.TemporaryFile() as out:
                r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', '-', '--documents', boots, '--quiet'], stdin=big,
                                   stdout=out, stderr=subprocess.PIPE, check=False, timeout=120, preexec_fn=self.narrow)
                out.seek(0)
                self.assertIn(b' 0 of 20000 not good; 2 boots, 2 documents', out.read())
        self.assertEqual(r.returncode, OK, r.stderr)
        self.assertGreater(size + os.path.getsize(boots), 2 * MEMORY)

    @staticmethod
    def narrow():
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    def test_progress(self):
        """A line a second on standard error, while lines come."""
        entries, results = made(1, 1, 1)
        path, _, boots = self.files(entries, results)
        process = subprocess.Popen([DEVELOPMENT, 'receipts', 'verify', '-', '--documents', boots], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        end, written = time.monotonic() + 30, 0
        said = ''
        while not re.search(r'(?m)^cwcctl: \d+, 0 not good, \d+/s$', said):
            if select.select([process.stderr], [], [], 0.02)[0]:
                said += process.stderr.readline()
            self.assertLess(time.monotonic(), end)
            process.stdin.write(lines(*results))
            process.stdin.flush()
            written += 1
        out, err = process.communicate(timeout=30)
        self.assertIn('0 of %d not good' % written, out)
        self.assertEqual(process.returncode, OK)

class Each(ReceiptsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.entries, rows = made(3, 3, 12, '--special', '--garbage', 0)
        cls.results = [r for r in rows if 'special' not in r and r['boot'] > 0]
        cls.garbled = [r for r in rows if r['boot'] == 0]
        cls.special = [r for r in rows if 'special' in r]
        cls.allowed = ('--pcr', ','.join('%d=%s' % row for row in pcrs(cls.entries[0]).items()))

    def reason(self, *results, entries=None, good=0, none=0):
        """What is wrong with the one of the results that is not good; None when all are."""
        table, bad, _, _ = self.verdict(*self.files(entries or self.entries, results), *self.allowed,
                                        code=NO if len(results) > good + none else OK)
        self.assertEqual((table['good'][0], table.get('none', (0,))[0]), (good, none))
        self.assertEqual(len(bad), len(results) - good - none)
        return bad[0]['reason'] if bad else None

    def test_good(self):
        self.assertEqual(len(self.results), 8)
        self.assertIsNone(self.reason(*self.results, good=8))
        table, _, summary, err = self.verdict(*self.files(self.entries, self.results), *self.allowed)
        self.assertEqual(table, {'good': (8, None)})
        self.assertEqual((summary['boots'], summary['documents']), (2, 9))
        self.assertNotRegex(err, LOUD)

    def test_signed_all_the_same(self):
        """What the worker has signed itself, and is wrong."""
        fine = {'good', 'late_settlement', 'older_document', 'dead'}
        self.assertEqual({r['special'] for r in self.special} - fine,
                         {'no_document', 'unknown_document', 'key', 'environment', 'queue', 'early', 'future'})
        for r in self.special:
            with self.subTest(r['special']):
                if r['special'] in fine:
                    self.assertIsNone(self.reason(r, good=1))
                elif r['special'] == 'key':  # the other boot's statement must be readable to say so
                    self.assertEqual(self.reason(r), 'statement_syntax')
                else:
                    self.assertEqual(self.reason(r), r['special'])
        for r in self.garbled:
            self.assertEqual(self.reason(r), 'statement_syntax')
        entries, rows = made(2, 1, 0, '--special')
        for r in rows:
            if r['special'] == 'key':
                self.assertEqual(self.reason(r, entries=entries), 'key')

    def test_time(self):
        """A receipt that waited for Redis names a document from after its end: another one of the boot must show that it
        was there by then."""
        late, = [r for r in self.special if r['special'] == 'late_settlement']
        newest = [e for e in self.entries if e['boot'] == 2][-1:]
        self.assertEqual(self.reason(late, entries=newest), 'early')
        of_boot = [e for e in self.entries if e['boot'] == 2]
        self.assertIsNone(self.reason(late, entries=of_boot, good=1))
        # A document that is not proved shows nothing.
        broken = [{**of_boot[0], 'statement': None}, {**of_boot[1], 'document': flipped(of_boot[1]['document'])}, of_boot[2]]
        self.assertEqual(self.reason(late, entries=broken), 'early')
        # Made in the year 2020, and good still; and one from the future.
        entries, rows = made(1, 1, 1, '--now', 1601000000000)
        self.assertIsNone(self.reason(rows[0], entries=entries, good=1))
        entries, rows = made(1, 1, 1, '--now', 2461449600000)  # of 2048, which the root lives to see
        self.assertEqual(self.reason(rows[0], entries=entries), 'document_future')
        table, *_ = self.verdict(*self.files(entries, rows), code=NO)  # also when no more is asked
        self.assertIn('document_future', table)

    def test_entry(self):
        """The result beside the receipt: its fields are nobody's word."""
        sent = next(r for r in self.results if r['attempt'] > 0)
        unsent = next(r for r in self.results if r['attempt'] == 0)
        for field, value in (('sid', 'x'), ('sid', None), ('office', 'HNE01'), ('outcome', 'rejected_by_chamber'), ('attempt', 9),
                             ('state', 'rejected'), ('state', None), ('state', ''), ('class', 'rejected'), ('class', None),
                             ('attempt', None), ('attempt', '1'), ('delivery_id', 'f' * 32), ('delivery_id', ''),
                             ('http_status', 201), ('http_status', None), ('generation', 7)):
            with self.subTest(field, value=value):
                self.assertEqual(self.reason({**sent, field: value}), 'entry_' + field)
                if value is None:
                    self.assertEqual(self.reason(without(sent, field)), 'entry_' + field)
        for field, value in (('state', 'accepted'), ('state', 'open'), ('class', 'accepted'), ('class', 'transient')):
            self.assertEqual(self.reason({**unsent, field: value}), 'entry_' + field)
        # Where the two may differ: the worker that ended it did not send it, or did not look at it.
        for fine in ({'generation': 3}, {'http_status': 503, 'delivery_id': 'f' * 32}, {'generation': None}):
            self.assertIsNone(self.reason({**unsent, **fine}, good=1))
        self.assertIsNone(self.reason({**sent, 'generation': None}, good=1))
        self.assertEqual(self.reason(without(sent, 'generation')), 'entry_generation')

    def test_asked(self):
        """A genuine receipt of another environment or queue is no proof of what was asked."""
        args = (*self.files(self.entries, self.results), *self.allowed)
        for asked in (('--queue', 'q'), ('--environment', 'sandbox'), ('--environment', 'sandbox', '--queue', 'q')):
            self.assertEqual(self.verdict(*args, *asked)[0], {'good': (8, None)})
        for asked, reason in ((('--queue', 'letters'), 'asked_queue'), (('--environment', 'production'), 'asked_environment'),
                              (('--environment', 'production', '--queue', 'r'), 'asked_environment')):
            self.assertEqual(self.verdict(*args, *asked, code=NO)[0], {'good': (0, None), reason: (8, 1)})
        self.dev(*args, '--environment', 'test', code=USAGE)

    def test_late(self):
        sent = next(r for r in self.results if r['attempt'] > 0)
        late = {**sent, 'state': 'late', 'late': 'accepted', 'attempt': 7, 'generation': 9}
        follows = {**late, 'state': 'accepted', 'rev': 4}
        self.assertIsNone(self.reason(late, good=1))
        self.assertIsNone(self.reason(late, follows, good=2))
        self.assertEqual(self.reason(follows), 'entry_attempt')
        self.assertEqual(self.reason(late, {**follows, 'outcome': 'expired'}, good=1), 'entry_outcome')
        # Only what a late answer can say, of the signer's own POST; else it switches nothing off.
        for wrong in ({'late': 'rejected'}, {'late': 'not_taken'}, {'late': ''}, {'late': None}):
            self.assertEqual(self.reason({**late, **wrong}), 'entry_state')
        self.assertEqual(self.reason(without(late, 'late')), 'entry_state')
        self.assertEqual(self.reason({**late, 'class': 'unknown'}), 'entry_class')
        for said in ('accepted', 'rejected', 'not_taken', 'expired'):
            unsent = next(r for r in self.results if r['attempt'] == 0)
            self.assertEqual(self.reason({**unsent, 'state': 'late', 'late': said, 'attempt': 7}), 'entry_state')
        _, bad, *_ = self.verdict(*self.files(self.entries, [{**late, 'late': 'rejected'}, follows]), *self.allowed, code=NO)
        self.assertEqual([row['reason'] for row in bad], ['entry_state', 'entry_attempt'])
        self.assertEqual(self.reason(late, {**follows, 'state': 'rejected'}, good=1), 'entry_state')
        # One that was the last of the budget says that the letter was not taken, and no result follows.
        dead, = [r for r in self.special if r['special'] == 'dead']
        self.assertIsNone(self.reason(dead, good=1))
        given_up = {**dead, 'state': 'late', 'late': 'not_taken', 'attempt': 7}
        self.assertIsNone(self.reason(given_up, good=1))
        self.assertEqual(self.reason({**given_up, 'late': 'accepted'}), 'entry_state')
        self.assertEqual(self.reason(given_up, {**dead, 'attempt': 7}, good=1), 'entry_attempt')
        other = next(r for r in self.results if r['attempt'] > 0 and r is not sent)
        self.assertEqual(self.reason(late, {**other, 'attempt': 8}, good=1), 'entry_attempt')
        # Without a receipt.
        empty = {**late, 'receipt_bytes': None, 'receipt': None}
        self.assertEqual(self.reason(empty), 'missing')
        # Nobody signed it, and whoever writes to Redis can have it there for all that there was: alone it proves nothing.
        table, bad, summary, err = self.verdict(*self.files(self.entries, 2 * [{**empty, 'late': 'not_taken'}]), *self.allowed,
                                                code=NO)
        self.assertEqual((table, bad, summary['bad']), ({'good': (0, None), 'none': (2, None)}, [], 0))
        self.assertIn('there is no receipt in it', err)
        self.assertEqual(self.reason({**empty, 'state': 'accepted', 'late': 'not_taken'}), 'missing')
        self.assertIsNone(self.reason({**empty, 'late': 'not_taken'}, sent, good=1, none=1))

    def test_documents_and_statements(self):
        r = next(r for r in self.results if r['boot'] == 1)
        of_boot = [e for e in self.entries if e['boot'] == 1]

        def but(**changes):
            return [{**e, **changes} for e in of_boot]
        self.assertEqual(self.reason(r, entries=but(statement=None)), 'no_statement')
        self.assertEqual(self.reason(r, entries=[without(e, 'statement') for e in of_boot]), 'no_statement')
        self.assertEqual(self.reason(r, entries=[*but(document=None), *self.entries[-3:]]), 'unknown_document')
        self.assertEqual(self.reason(r, entries=self.entries[-3:]), 'unknown_boot')
        self.assertEqual(self.reason(r, entries=but(statement=flipped(of_boot[0]['statement']))), 'statement')
        self.assertEqual(self.reason(r, entries=but(statement=self.entries[-1]['statement'])), 'statement')
        for e in self.entries[-3:]:  # another's document is another one
            self.assertEqual(self.reason(r, entries=but(document=e['document'])), 'unknown_document')
        # A changed document is an unknown one: receipts name it by its hash.
        self.assertEqual(self.reason(r, entries=[{**e, 'document': flipped(e['document'])} for e in of_boot]),
                         'unknown_document')
        # What helps to find the key is not what proves it: the statement has it, too.
        self.assertIsNone(self.reason(r, entries=but(receipt_key=None), good=1))
        self.assertIsNone(self.reason(r, entries=but(receipt_key='0' * 64), good=1))
        self.assertIsNone(self.reason(r, entries=[without(e, 'receipt_key', 'receipt_key_id') for e in of_boot], good=1))
        # Beside the right ones, wrong ones do no harm, in any order.
        wrong = but(statement=self.entries[-1]['statement']) + but(receipt_key=None, statement=None)
        self.assertIsNone(self.reason(r, entries=wrong + of_boot, good=1))
        self.assertIsNone(self.reason(r, entries=of_boot + wrong + of_boot, good=1))

    def test_lines(self):
        r = self.results[0]
        raw = r['receipt_bytes']
        malformed = ['{', '{}', '[]', 'null', '{"receipt_bytes":1}', '{"receipt_bytes":""}', '{"receipt_bytes":"!"}', 'x', raw[:-4],
                     raw + 'AAAA', raw[:-1], '{"receipt_bytes":"%s"' % raw, '{"a":1,"a":1,"receipt_bytes":"%s"}' % raw,
                     base64.b64encode(bytes(2000)).decode(), 'A' * (1 << 20) + 'AAAA', '\x00', '0oRYGaI=']
        text = '\n'.join([raw, '', *malformed, '  ' + raw + ' \r', json.dumps(r)]) + '\n'
        args = ('--documents', self.write('boots.json', json.dumps(self.entries)))
        table, bad, _, _ = self.verdict(self.write('lines.txt', text), *args, *self.allowed, code=NO)
        self.assertEqual(table, {'good': (3, None), 'malformed': (len(malformed), 3)})
        self.assertEqual({row['sid'] for row in bad}, {None})
        # The first line is a line as all others are.
        table, *_ = self.verdict(self.write('lines.txt', '{"x":\n' + raw + '\n'), *args, *self.allowed, code=NO)
        self.assertEqual(table, {'good': (1, None), 'malformed': (1, 1)})

    def test_standard_input(self):
        text, boots = lines(*self.results), json.dumps(self.entries)
        wanted = {'good': (8, None)}
        path, document = self.write('results.jsonl', text), self.write('boots.json', boots)
        self.assertEqual(self.verdict('-', '--documents', document, stdin=text)[0], wanted)
        self.assertEqual(self.verdict(path, '--documents', '-', stdin=boots)[0], wanted)
        releases = manifest(r=pcrs(self.entries[0]))
        self.assertEqual(self.verdict(path, '--documents', document, '--manifest', '-', stdin=releases)[0], wanted)
        for form in (lines(*self.entries), ''.join(json.dumps(e, indent=1) for e in self.entries), json.dumps(self.entries),
                     '\n[' + ' ,\n'.join(json.dumps(e) for e in self.entries) + '\n ]\n'):
            self.assertEqual(self.verdict(path, '--documents', self.write('boots.json', form))[0], wanted)
        for args in (('-', '--documents', '-'), ('-', '--documents', document, '--manifest', '-'),
                     (path, '--documents', '-', '--manifest', '-')):
            self.assertIn('only one', self.dev(*args, code=USAGE).stderr)


class Refused(ReceiptsCase):
    """What is no receipt's fault."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.entries, cls.results = made(1, 1, 3)

    def fails(self, code, rule, *args):
        r = self.dev(*args, code=code)
        self.assertRegex(r.stderr, r'(?m)^cwcctl: .*' + rule)
        return r

    def test_usage(self):
        path, _, boots = self.files(self.entries, self.results)
        self.fails(USAGE, '--documents is needed', path)
        self.fails(USAGE, 'either --manifest or --pcr', path, '--documents', boots, '--manifest', boots, '--pcr', '0=00')
        self.fails(USAGE, '--pcr: ', path, '--documents', boots, '--pcr', '1=' + some_pcr('x'))
        self.fails(USAGE, '', path, boots, '--documents', boots)
        self.fails(USAGE, '', '--documents', boots)

    def test_files(self):
        path, _, boots = self.files(self.entries, self.results)
        for bad in (self.path('none'), self.dir):
            self.fails(CONFIG, 'No such file|Is a directory', bad, '--documents', boots)
            self.fails(CONFIG, 'No such file|Is a directory', path, '--documents', bad)
            self.fails(CONFIG, 'No such file|Is a directory', path, '--documents', boots, '--manifest', bad)
        self.fails(CONFIG, ':1: must be `release', path, '--documents', boots, '--manifest', path)
        whole = json.dumps(self.entries)
        entry = whole[1:-1]
        for text, rule in (('', 'no entry has'), ('[]', 'no entry has'), ('[{}]', 'no entry has'), ('[{}', 'does not end'),
                           ('[', 'entry 1: must be a JSON'), ('[1]', 'entry 1: must be'), (whole[:-1], 'does not end'),
                           (whole + 'x', 'behind the list'), (whole + whole, 'behind the list'), ('[%s,]' % entry, 'entry 2: must'),
                           ('[%s %s]' % (entry, entry), 'does not end'), ('[,%s]' % entry, 'entry 1: must be'), (entry + ']', 'entry 2'),
                           (whole[:200], 'entry 1: must'), ('{"a":1,"a":1}', 'entry 1: must'), (entry + ',' + entry, 'entry 2'),
                           ('[{"x":"%s' % ('x' * (1 << 20)), 'larger than 1 MiB, and without'), ('{"x":"\\"}%s' % ('x' * (1 << 20)), 'without'),
                           ('["%s"]' % ('x' * (1 << 20)), 'entry 1: must'), ('\x00', 'entry 1'), ('[[]]', 'entry 1')):
            r = self.fails(CONFIG, 'boots.json: .*' + rule, path, '--documents', self.write('boots.json', text))
            self.assertEqual((r.stdout, r.stderr.count('\n')), ('', 1 + len(re.findall(SIMULATED, r.stderr))), text[:60])

    def test_nothing(self):
        boots = self.files(self.entries, self.results)[2]
        for text in ('', '\n\n  \n'):
            self.fails(NO, 'there is no receipt in it', self.write('results.jsonl', text), '--documents', boots)

    def test_hostile_entries(self):
        """Whoever can write to the stream can put there what is no entry; the others are as good as before."""
        good = self.entries[0]
        hostile = [{**good, 'document': 'no base64'}, {**good, 'document': 7}, {**good, 'statement': ['x']}, {'receipt_key': '00'},
                   {**good, 'receipt_key': 3}, {**good, 'document': base64.b64encode(bytes(20000)).decode()},
                   {**good, 'statement': base64.b64encode(bytes(20000)).decode()}, {'keys': None}]
        table, _, summary, err = self.verdict(*self.files([*hostile, good], self.results))
        self.assertEqual((table, summary['boots'], summary['documents']), ({'good': (3, None)}, 1, 1))
        self.assertRegex(err, r'(?m)^cwcctl: \S+boots\.json: 7 of 9 entries were passed over; the first is entry 1: ')
        # One that is too large: all of it is passed over, and nothing of it is read.
        large = [{'x': '}"]\\' * (1 << 18), 'y': [[{'z': 1}], {}]}, {'x': [good] * 400}]
        table, _, summary, err = self.verdict(*self.files([*large, good, large[0]], self.results))
        self.assertEqual((table, summary['boots'], summary['documents']), ({'good': (3, None)}, 1, 1))
        self.assertRegex(err, r'(?m)^cwcctl: \S+boots\.json: 3 of 4 entries were passed over; the first is entry 1: larger than 1 MiB$')
        # One that is a document, but none of the hypervisor's.
        junk = {**good, 'document': base64.b64encode(b'\x84' * 100).decode(), 'receipt_key': 'ff' * 32}
        table, _, summary, _ = self.verdict(*self.files([junk, good], self.results))
        self.assertEqual((table, summary['boots'], summary['documents']), ({'good': (3, None)}, 1, 2))

    def test_many_keys_of_one_id(self):
        """Anybody can publish keys that begin as a boot's does. They cost the receipts next to nothing."""
        entries, results = made(1, 1, 200)
        prefix = bytes.fromhex(entries[0]['receipt_key'])[:8]
        more = [{'receipt_key': (prefix + (i * 0x9e3779b97f4a7c15 & (1 << 192) - 1).to_bytes(24, 'big')).hex()} for i in range(20000)]
        args = (*self.files(more + entries, results), '--quiet')
        r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', *args], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False, timeout=15)  # without care: two minutes
        self.assertIn(b' 0 of 200 not good', r.stdout)
        forged = [{**r, 'receipt_bytes': flipped(r['receipt_bytes'])} for r in results]
        r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', *self.files(more + entries, forged), '--quiet'],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=15)
        self.assertRegex(r.stdout, rb'(?m)^200 +signature ')

    def test_output_that_cannot_be_written(self):
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', *self.files(self.entries, self.results)], stdout=full,
                               stderr=subprocess.PIPE, check=False)
        self.assertEqual(r.returncode, 70)


@unittest.skipUnless(os.path.exists(MAKER) and os.path.exists(DEVELOPMENT), 'there is no development build')
class Whole(QueueCase):
    """From what stands in Redis, by the two commands that print it."""
    def test_from_redis(self):
        entries, results = made(2, 2, 60)
        for e in entries:
            fields = {**{k: e[k] for k in ('version', 'environment', 'receipt_key_id', 'receipt_key', 'document_sha256')},
                      'worker': 'w%d/1' % e['boot'], 'keys': self.ring_lines, 'bundle': '7',
                      'statement': base64.b64decode(e['statement']), 'document': base64.b64decode(e['document'])}
            self.r('XADD', '{q}:attestations', '*', *[x for item in fields.items() for x in item])
        sent = [r for r in results if r['attempt'] == 1]
        self.assertGreater(len(sent), 9)
        for r in sent:
            self.add(r['sid'])
            taken = self.take()[r['sid']]
            reply = self.call('begin', 'w1/1', *taken[:3], r['delivery_id'], '20260302', r['generation'],
                              self.now() + 3600 * SECOND, self.now())
            self.assertEqual(reply[0], 'GO')
            self.settle(taken, 'accepted', 'accepted', status=200, cls='accepted', receipt=base64.b64decode(r['receipt_bytes']))
        keys = self.ctl('keys', '--json')
        published = keys.json
        self.assertEqual(len(published), 5)  # and this test's own worker, which has no document
        for said, e in zip(published[1:], entries):
            for member in ('statement', 'document', 'document_sha256', 'receipt_key'):
                self.assertEqual(said[member], e[member])
            self.assertEqual((said['bundle'], len(said['keys'])), (7, 2))
        self.assertNotIn('statement', published[0])
        self.assertNotIn(entries[0]['document'], self.ctl('keys').out)
        path = self.write('results.jsonl', self.ctl('results', '--json').out)
        boots = self.write('boots.json', keys.out)
        r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', path, '--documents', boots, '--json'], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, OK, (r.stdout, r.stderr))
        summary = json.loads(r.stdout)['summary']
        self.assertEqual((summary['good'], summary['receipts'], summary['boots']), (len(sent), len(sent), 2))
        # An entry of the stream cannot change what a receipt says.
        changed = self.ctl('results', '--json').lines
        changed[3]['outcome'] = 'accepted_earlier'
        r = subprocess.run([DEVELOPMENT, 'receipts', 'verify', self.write('changed.jsonl', lines(*changed)), '--documents', boots],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, NO)
        self.assertRegex(r.stdout, r'(?m)^1 +entry_outcome +4 ')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
