#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The status server of a worker: what it says is true, nothing personal is among it, and no client disturbs a letter."""
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stack as stacks  # noqa: E402
import test_docs  # noqa: E402
from life_case import letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402
from status_case import StatusCase  # noqa: E402
from status_client import ask, connect, listening_port, parse  # noqa: E402
from test_secrets import Markers  # noqa: E402

PATHS = ('/health', '/ready', '/attestation', '/keys', '/metrics')

# Labels and their values; whatever else appears in a scrape has no business there.
CHAMBERS = {'house', 'senate'}
CLOSED = {
    'chamber': CHAMBERS, 'class': {'accepted', 'rejected', 'throttled', 'transient', 'configuration', 'unknown', 'ended'},
    'fate': {'answered', 'not_sent', 'unknown'}, 'code': {'1xx', '2xx', '3xx', '4xx', '5xx'},
    'limiter': {'worker', 'queue'}, 'scope': CHAMBERS | {'office'}, 'to': {'open', 'closed'},
    'profile': {'witness', 'letter', 'secret'}, 'environment': {'sandbox'},
}


class Says(StatusCase):
    def test_metrics_from_the_first_moment(self):
        self.start()
        s = self.scrape()
        for name, kind in (('tee_decryptions_total', 'counter'), ('tee_decryption_errors_total', 'counter'),
                           ('tee_cwc_forwards_total', 'counter'), ('tee_decryption_duration_seconds', 'histogram'),
                           ('tee_queue_depth', 'gauge')):
            self.assertEqual(s.families[name].kind, kind)
        limits = {float(dict(labels)['le']) for n, labels in s.families['tee_decryption_duration_seconds'].samples
                  if n.endswith('_bucket')}
        self.assertEqual((min(limits), sorted(limits)[-2]), (0.001, 1.0))
        self.assertEqual((s('cwc_letters_total'), s('cwc_posts_total'), s('cwc_ready'), s('cwc_not_ready')),
                         (0, 0, 1, 0))
        version = subprocess.run([stacks.PROGRAM, '--version'], capture_output=True, text=True, timeout=20, check=True)
        self.assertEqual(s('cwc_build_info', version=version.stdout.split()[1], environment='sandbox'), 1)
        self.assertEqual((s('cwc_keys', profile='letter'), s('cwc_keys', profile='witness')), (1, 1))
        self.assertGreater(s('cwc_office_list_entries', chamber='house'), 400)
        self.assertLess(abs(time.time() - s('process_start_time_seconds')), 60)
        self.assertGreater(s('process_resident_memory_bytes'), 1 << 20)

    def test_reasons_are_those_that_there_are(self):
        self.start()
        self.assertEqual(self.scrape().values('reason')['cwc_not_ready'], test_docs.readiness_reasons() | {'other'})
        self.assertEqual(self.scrape().values('outcome')['cwc_letters_total'],
                         {o for o in test_docs.outcomes() if o not in
                          ('throttled', 'not_sent', 'no_answer', 'misconfigured')})

    def test_times_of_keys_and_signers(self):
        """With a ring made at boot; and the last end of two signers, of which one may for ever, or neither."""
        end = 'signer = app-2 %s 2026-01-01T00:00:00Z %s'
        for ends, want in ((['2126-01-01T00:00:00Z'], 0), (['2126-01-01T00:00:00Z', '2125-01-01T00:00:00Z'], 4922899200)):
            with self.subTest(ends):
                stack = self.start(worker=False, key_source='boot', measured_signer=len(ends) == 1)
                config = stack.write_config('w1')
                path = stack.path('measured.conf')
                with open(path, encoding='utf-8') as f:
                    text = f.read()
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(text.replace('[jobs]\n', '[jobs]\n' + ''.join(
                        (end % (bytes([i + 1]).hex() * 32, at)).replace('app-2', 'app-%d' % i) + '\n' for i, at in enumerate(ends)), 1))
                self.worker = stacks.Worker(stack, 'w1', config, stack.path('w1.log'))
                stack.workers.append(self.worker)
                self.worker.wait_event('ready')
                s = self.scrape()
                self.assertEqual(s('cwc_signers_end_seconds'), want)
                self.assertLess(abs(time.time() - s('cwc_key_active_since_seconds')), 60)
                self.assertEqual(s('cwc_key_next_change_seconds'), 0)

    def test_counts_what_happened(self):
        stack = self.start(chamber={})
        _, entries, jobs = self.many(60, seed=7)
        stack.enqueue(entries)
        stack.wait_results(jobs)
        stack.wait_idle()
        s = self.wait_scrape(lambda s: s('cwc_letters_total') == jobs, 'all letters counted')
        results = stack.results()
        for r in results:
            self.assertEqual(r['outcome'], 'accepted')
        for c in CHAMBERS:
            n = sum(r['office'][0] == c[0].upper() for r in results)
            for name, labels in (('cwc_letters_total', {'outcome': 'accepted'}), ('cwc_taken_total', {}),
                                 ('cwc_posts_total', {'fate': 'answered'}), ('cwc_answers_total', {'code': '2xx'}),
                                 ('cwc_take_to_post_seconds_count', {}), ('cwc_post_seconds_count', {}),
                                 ('cwc_settle_seconds_count', {}), ('cwc_letter_age_seconds_count', {})):
                self.assertEqual(s(name, chamber=c, **labels), n, (name, c))
        self.assertEqual(s('tee_decryptions_total'), jobs)
        self.assertEqual(s('tee_cwc_forwards_total'), jobs)
        self.assertEqual(s('tee_decryption_duration_seconds_count'), jobs)
        self.assertEqual(s('cwc_redis_calls_total', call='settle'), jobs)
        self.assertEqual(s('cwc_redis_errors_total'), 0)
        self.assertEqual(s('cwc_in_flight'), 0)
        self.assertGreater(s('cwc_post_seconds_sum'), 0)

    def test_counts_failures(self):
        stack = self.start(jobs={'attempts': 2, 'backoff_base': '1ms'})
        kinds = letters.bad()
        bad = [kinds[k] for k in ('missing-zip', 'damaged-ciphertext', 'wrong-version')]
        stack.submit(*bad)
        s = self.wait_scrape(lambda s: s('cwc_letters_total') + s('cwc_refused_total') == 3, 'bad letters')
        self.assertEqual(s('cwc_letters_total', outcome='letter_invalid'), 1)
        self.assertEqual(s('cwc_letters_total', outcome='envelope_refused'), 1)
        self.assertEqual((s('cwc_refused_total'), s('tee_decryption_errors_total'), s('tee_decryptions_total')),
                         (1, 1, 1))
        stack.sim.fault(action='status', status=429, count=1)
        stack.submit(letter('throttled'))
        self.wait_scrape(lambda s: s('cwc_retries_total', **{'class': 'throttled'}) == 1, 'a throttled letter')
        stack.sim.clear_faults()
        s = self.wait_scrape(lambda s: s('cwc_letters_total', outcome='accepted') == 1, 'its delivery')
        self.assertEqual(s('cwc_answers_total', chamber='house', code='4xx'), 1)
        stack.sim.close_idle()
        stack.sim.fault(action='tls_refuse')
        stack.submit(letter('refused', letters.SENATE))
        s = self.wait_scrape(lambda s: s('cwc_letters_total', outcome='attempts_exhausted') == 1, 'a dead letter')
        self.assertEqual(s('cwc_posts_total', chamber='senate', fate='not_sent'), 2)
        self.assertEqual(s('cwc_retries_total', chamber='senate', **{'class': 'transient'}), 1)
        self.wait_scrape(lambda s: s('cwc_queue_entries', place='dead') == 1, 'the place of dead letters')

    def test_looks_at_the_queue(self):
        stack = self.start(jobs={'backoff_base': '1h'})
        self.worker.stop()
        until = str(int(time.time() + 600) * 10 ** 6)
        for office in (letters.HOUSE, letters.SENATE):
            self.assertEqual(stack.admin('hold', office, until, 'test')[0], 'OK')
        stack.submit(*(letter('waits-%d' % n, (letters.HOUSE, letters.SENATE)[n % 2]) for n in range(9)))
        stack.start_worker()
        s = self.wait_scrape(lambda s: s('cwc_queue_letters', place='held') == 9, 'the depth of the queue')
        self.assertEqual(s('cwc_queue_letters', chamber='house', place='waiting'), 5)
        self.assertEqual((s('tee_queue_depth'), s('cwc_queue_workers')), (9, 1))
        self.assertGreater(s('cwc_queue_oldest_seconds', chamber='senate'), 0)
        self.assertEqual(ask(self.address, '/health').json()['queue_depth'], 9)

    def test_health(self):
        self.start()
        before = time.time()
        a = ask(self.address, '/health')
        h = a.json()
        self.assertEqual((a.status, a.headers['content-type']), (200, 'application/json'))
        self.assertEqual((h['status'], h['healthy'], h['enclaveId'], h['in_flight']), ('healthy', True, 'w1', 0))
        self.assertLessEqual({'uptime', 'memory_usage', 'cpu_usage', 'queue_depth', 'timestamp'}, set(h))
        self.assertTrue(0 < h['uptime'] < 60 and 0 <= h['cpu_usage'] < 2 and h['memory_usage'] > 1 << 20, h)
        self.assertRegex(h['timestamp'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        self.assertLess(abs(before - time.mktime(time.strptime(h['timestamp'][:19] + 'UTC', '%Y-%m-%dT%H:%M:%S%Z'))
                            + time.timezone), 10)

    def test_ready(self):
        stack = self.start()
        self.assertEqual((ask(self.address, '/ready').status, ask(self.address, '/ready').json()),
                         (200, {'ready': True}))
        stack.kill_redis()
        a = wait_until(lambda: (lambda a: a if a.status == 503 else None)(ask(self.address, '/ready')), 20, 'not ready')
        reason = a.json()['reason']
        self.assertIn(reason, test_docs.readiness_reasons())
        s = self.wait_scrape(lambda s: s('cwc_not_ready') == 1, 'not ready')
        self.assertEqual((s('cwc_ready'), s('cwc_redis_up'), s('cwc_member')), (0, 0, 0))
        self.assertEqual(ask(self.address, '/health').status, 200)    # it lives
        stack.start_redis()
        wait_until(lambda: ask(self.address, '/ready').status == 200, 20, 'ready again')
        self.assertGreaterEqual(self.scrape()('cwc_redis_disconnects_total'), 1)

    def test_while_draining(self):
        stack = self.start()
        stack.sim.fault(action='delay', ms=1500, count=1)
        stack.submit(letter('slow'))
        self.wait_in_flight(1)
        self.worker.process.terminate()
        self.worker.wait_event('draining')
        a, h = ask(self.address, '/ready'), ask(self.address, '/health')
        self.assertEqual((a.status, a.json()['reason']), (503, 'draining'))
        self.assertEqual((h.status, h.json()['status'], h.json()['healthy']), (503, 'draining', False))
        self.assertEqual(self.scrape()('cwc_not_ready', reason='draining'), 1)
        self.assertEqual(self.worker.process.wait(20), 0)
        with self.assertRaises(OSError):
            connect(self.address)

    def test_without_a_security_module(self):
        """There is no document; the keys are there all the same, with nothing that proves them."""
        stack = self.start()
        for path in ('/attestation', '/attestation?nonce=00112233445566778899'):
            a = ask(self.address, path)
            self.assertEqual((a.status, a.json()), (503, {'reason': 'no_attestation'}))
        k = ask(self.address, '/keys')
        self.assertEqual((k.status, k.headers['content-type']), (200, 'application/json'))
        k = k.json()
        self.assertEqual((k['document'], k['sha256'], k['missing'], k['grant'], k['source']), (None, None, None, None, 'file'))
        [entry] = stack.stream('attestations')
        self.assertEqual(k['receipt_key'], {'id': entry['receipt_key_id'], 'public_key': entry['receipt_key']})
        self.assertEqual(sorted((x['profile'], x['public_key'], x['state']) for x in k['keys']),
                         sorted((p, x.public.hex(), 'active') for p, x in stack.ring.items()))

    @unittest.skipUnless(os.path.exists(stacks.DEV_PROGRAM), 'there is no development build')
    def test_with_a_security_module(self):
        """What is published is what the port says, and both are what the receipts name."""
        stack = self.start(device='simulated')
        k = ask(self.address, '/keys').json()
        [entry] = stack.stream('attestations')
        self.assertEqual((k['sha256'], k['bundle']), (entry['document_sha256'], 0))
        document = ask(self.address, '/attestation', accept='application/json').json()
        self.assertEqual({name: document[name] for name in ('document', 'statement', 'sha256')},
                         {name: k[name] for name in ('document', 'statement', 'sha256')})

    def test_promtool(self):
        self.start()
        p = subprocess.run(['promtool', 'check', 'metrics'], input=self.scrape().text, capture_output=True, text=True,
                           timeout=60, check=False)
        self.assertEqual((p.returncode, p.stderr), (0, ''))


class Personal(StatusCase):
    def test_nothing_personal_is_said(self):
        """No value of a letter, no sid, no office, no id: after acceptances, refusals and failures of marked letters."""
        stack = self.start(jobs={'attempts': 1, 'backoff_base': '1ms'})
        marks = Markers()
        some = [marks.letter('Sid%s' % marks.word('sid')[2:], letters.HOUSE),
                marks.letter('Sid%s' % marks.word('sid')[2:], letters.SENATE),
                marks.witness('Sid%s' % marks.word('sid')[2:], letters.HOUSE)]
        stack.submit(*some)
        stack.wait_results(len(some))
        stack.sim.close_idle()
        stack.sim.fault(action='tls_refuse')
        failing = marks.letter('Sid%s' % marks.word('sid')[2:], letters.SENATE)
        invalid = marks.letter('Sid%s' % marks.word('sid')[2:], letters.HOUSE)
        del invalid['sealed']['Zip']
        stack.submit(failing, invalid)
        stack.wait_results(len(some) + 2)
        self.wait_scrape(lambda s: s('cwc_letters_total') == 5, 'all letters counted')
        said = self.scrape().text
        for path in PATHS + ('/nowhere?' + failing['sid'],):
            said += ask(self.address, path).body
        values = set(marks.of) | {s['sid'] for s in some + [failing, invalid]} | {letters.HOUSE, letters.SENATE}
        values |= {stack.job(s['sid'], s['offices'][0]).get('delivery_id', 'no such id') for s in some + [failing]}
        self.assertGreater(len(values), 60)
        for v in values:
            self.assertFalse(v.lower() in said.lower(), marks.of.get(v, v))
        self.assertNotRegex(said, r'\b[HS][A-Z]{2}\d\d\b')

    def test_labels_are_closed(self):
        stack = self.start()
        stack.submit(*letters.sample(5))
        stack.wait_idle()
        s = self.scrape()
        closed = {**CLOSED, 'outcome': set(test_docs.outcomes())}
        seen = {name for f in s.families.values() for _, labels in f.samples for name, _ in labels}
        self.assertEqual(seen - set(closed), {'le', 'call', 'place', 'reason', 'version'})
        for label in closed:
            for family, values in s.values(label).items():
                self.assertLessEqual(values, closed[label], (family, label))
        for label in ('call', 'place', 'reason'):
            for values in s.values(label).values():
                for v in values:
                    self.assertRegex(v, '^[a-z_]{2,14}$')


class Addresses(StatusCase):
    def served(self, given):
        """The address to connect to, when the worker listens on this one."""
        super().start(status=given)
        port = listening_port(self.worker.pid)
        return re.sub(':0$', ':%s' % port, given)

    def test_tcp(self):
        self.address = self.served('tcp:127.0.0.1:0')
        self.assertEqual(ask(self.address, '/ready').status, 200)
        self.assertEqual(self.scrape()('cwc_ready'), 1)

    def test_tcp_v6(self):
        try:
            socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        except OSError as e:
            self.skipTest(str(e))
        self.assertEqual(ask(self.served('tcp:[::1]:0'), '/ready').status, 200)

    def test_unix(self):
        self.start()
        self.assertEqual(os.stat(self.address[5:]).st_mode & 0o777, 0o600)
        self.assertEqual(ask(self.address, '/ready').status, 200)

    def test_unix_after_a_kill(self):
        stack = self.start()
        self.worker.process.kill()
        self.worker.process.wait()
        stack.start_worker()
        self.assertEqual(ask(self.address, '/ready').status, 200)

    def test_abstract(self):
        self.assertEqual(ask(self.served('unix:@cwc-status-%d' % os.getpid()), '/ready').status, 200)

    def test_vsock(self):
        """That it listens; answers too, where the kernel lets a machine reach itself (CID 1)."""
        try:
            with socket.socket(socket.AF_VSOCK) as s:
                s.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
                port = s.getsockname()[1]
        except OSError as e:
            self.skipTest('no vsock: %s' % e)
        self.served('vsock:4294967295:%d' % port)
        with socket.socket(socket.AF_VSOCK) as s, self.assertRaises(OSError):
            s.bind((socket.VMADDR_CID_ANY, port))
        try:
            connect('vsock:1:%d' % port, timeout=1).close()
        except OSError:
            return
        self.assertEqual(ask('vsock:1:%d' % port, '/ready').status, 200)

    def test_refused(self):
        """One line, and exit status 78."""
        with socket.create_server(('127.0.0.1', 0)) as taken, tempfile.TemporaryDirectory() as d:
            for given, rule in (('tcp:127.0.0.1:%d' % taken.getsockname()[1], 'is in use'),
                                ('tcp:localhost:0', 'needs an IP address'), ('tcp:203.0.113.1:1', 'cannot be listened on'),
                                ('unix:%s/no/such' % d, 'cannot be listened on'), ('unix:' + d, 'is in use')):
                with self.subTest(given):
                    stack = stacks.Stack(status=given)
                    self.addCleanup(stack.close)
                    stack.start()
                    p = subprocess.run([stack.program, *stack.write_config('w1')], capture_output=True, text=True,
                                       timeout=20, check=False)
                    self.assertEqual(p.returncode, 78, p.stderr)
                    text = [line for line in p.stderr.splitlines() if not line.startswith('{')]
                    self.assertEqual(text, ['cwc-worker: status.address: ' + rule])


class Reader(unittest.TestCase):
    """The strict reader refuses what it should: else the tests above would prove nothing."""

    def test_refuses(self):
        good = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c"} 1\n'
        self.assertEqual(parse(good)['a_total'].samples, {('a_total', (('b', 'c'),)): 1})
        for bad in (good[:-1], good + '\n', good + 'a_total{b="c"} 2\n', good.replace('{b="c"}', '{b="c}'),
                    good.replace('{b="c"}', '{b="c",}'), good.replace('{b="c"}', '{b="c",b="d"}'),
                    good.replace('counter', 'gauge'), good.replace(' 1\n', ' -1\n'), good.replace(' 1\n', ' x\n'),
                    good + good, good + 'other 1\n', good.replace('# TYPE a_total', '# TYPE b_total'),
                    'a_total 1\n', good.replace('a_total{', 'a{')):
            with self.assertRaises(AssertionError, msg=bad):
                parse(bad)
        h = ('# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\nh_sum 4\nh_count 3\n')
        parse(h)
        for bad in (h.replace('"} 2', '"} 4'), h.replace('h_count 3', 'h_count 2'), h.replace('h_bucket{le="+Inf"} 3\n', ''),
                    h.replace('"1"', '"+Inf"', 1), h.replace('h_count 3\n', '')):
            with self.assertRaises((AssertionError, KeyError), msg=bad):
                parse(bad)


if __name__ == '__main__':
    unittest.main()
