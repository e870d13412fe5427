# SPDX-License-Identifier: Apache-2.0
"""The HTTPS client against a misbehaving server.

CWC_BUILD names the directory of the build; HTTP_DRIVER another program than its tools/http_driver."""
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nasty  # noqa: E402
import nasty_pki  # noqa: E402

DRIVER = os.environ.get('HTTP_DRIVER', os.environ.get('CWC_BUILD', 'build/release') + '/tools/http_driver')
SIZES = 300, 9000, 120000
A, N, U = 'answered', 'not_sent', 'unknown'
MALFORMED, LARGE = 'answer_malformed', 'answer_too_large'

# Behaviour of a request: (fates, reasons, status, expected members, options of the driver)
REQUESTS = {
    'ok': (A, A, 200, {'body_len': 2}, ''),
    'created': (A, A, 201, {}, ''),
    'close_header': (A, A, 200, {'body_len': 2}, ''),
    'until_eof': (A, A, 200, {'body_len': 2}, ''),
    'chunked': (A, A, 200, {'body_len': 2}, ''),
    'continue': (A, A, 200, {}, ''),
    'interim': (A, A, 200, {'retry_after': -1}, ''),
    'trickle_header': (A, A, 200, {}, ''),
    'ok_fin': (A, A, 200, {}, ''),
    'ok_rst': (A, A, 200, {}, ''),
    'ok_notify': (A, A, 200, {}, ''),
    'two_answers': (A, A, 200, {}, ''),
    'head_close': ((U, N), ('reset',), 0, {}, ''),
    'part_close': (U, 'reset', 0, {}, ''),
    'part_rst': (U, 'reset', 0, {}, ''),
    'all_fin': (U, 'reset', 0, {}, ''),
    'all_rst': (U, 'reset', 0, {}, ''),
    'all_notify': (U, 'reset', 0, {}, ''),
    'partial_status': (U, ('reset', MALFORMED), 0, {}, ''),
    'status_close': (U, ('reset', MALFORMED), 0, {}, ''),
    'header_close': (U, ('reset', MALFORMED), 0, {}, ''),
    'interim_close': (U, ('reset', MALFORMED), 0, {}, ''),
    'truncated': (A, 'reset', 200, {'body_len': 0}, ''),
    'chunked_cut': (A, 'reset', 400, {'body_len': 0}, ''),
    'not_http': (U, MALFORMED, 0, {}, ''),
    'bad_version': (U, MALFORMED, 0, {}, ''),
    'bad_status': (U, MALFORMED, 0, {}, ''),
    'short_status': (U, MALFORMED, 0, {}, ''),
    'high_status': (U, MALFORMED, 0, {}, ''),
    'flood': (U, LARGE, 0, {}, ''),
    'huge_line': (U, LARGE, 0, {}, ''),
    'huge_headers': (U, LARGE, 0, {}, ''),
    'too_large': (A, LARGE, 400, {'body_len': 0}, ''),
    'largest': (A, A, 400, {'body_len': 4096}, ''),
    'stall': (U, 'first_byte_timeout', 0, {}, 'first=150'),
    'stall_interim': (U, 'first_byte_timeout', 0, {}, 'first=150'),
    'slow_header': (U, 'total_timeout', 0, {}, 'total=250'),
    'slow_body': (A, 'total_timeout', 200, {'body_len': 0}, 'total=250'),
    '301': (A, A, 301, {}, ''),
    '307': (A, A, 307, {}, ''),
    '308_here': (A, A, 308, {}, ''),
    '401': (A, A, 401, {}, ''),
    '407': (A, A, 407, {}, ''),
    '408_close': (A, A, 408, {}, ''),
    '417': (A, A, 417, {}, ''),
    '503_early': (A, A, 503, {'retry_after': 9}, ''),
    '429_seconds': (A, A, 429, {'retry_after': 17}, ''),
    '429_date': (A, A, 429, {'retry_after': range(90, 102)}, ''),
    '429_past': (A, A, 429, {'retry_after': 0}, ''),
    '429_far': (A, A, 429, {'retry_after': 7 * 86400}, ''),
    '429_odd': (A, A, 429, {'retry_after': -1}, ''),
}

# Behaviour of a connection before a request: (reasons, options)
CONNECTIONS = {
    'close': ('tls', ''),
    'reset': (('tls', 'connect'), ''),  # a reset right after the accept may be seen as either
    'hello_close': ('tls', ''),
    'hello_reset': ('tls', ''),
    'garbage': ('tls', ''),
    'plain': ('tls', ''),
    'wrong-host': ('tls', ''),
    'unknown-ca': ('tls', ''),
    'expired': ('tls', ''),
    'stall_tls': ('connect_timeout', 'connect=150'),
}


class Driver:
    def __init__(self, env=None):
        self.p = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env=dict(os.environ, **(env or {})))
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))

    def tell(self, command):
        self.p.stdin.write(command + '\n')
        self.p.stdin.flush()

    def next(self, timeout=20):
        return self.lines.get(timeout=timeout)

    def event(self, command):
        self.tell(command)
        return self.next()

    def end(self):
        self.p.stdin.close()
        code = self.p.wait(20)
        self.p.stdout.close()
        return code


class Case(unittest.TestCase):
    family = 'tcp'
    bridged = False

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.pki = nasty_pki.Pki(cls.folder)
        cls.server = nasty.Server(cls.pki, cls.family, cls.folder)
        cls.dir = os.path.join(cls.folder, 'bridge')

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.driver = Driver()

    def tearDown(self):
        self.assertEqual(self.driver.end(), 0, 'how the driver ended')

    def url(self, path='/v2/message'):
        return 'https://cwc.test' + path if self.bridged else 'https://localhost:%d%s' % (self.server.port, path)

    def open(self, options='', url=None, address=None, ca=None):
        address = address or (self.server.address if self.bridged else None)
        return self.driver.event('open url=%s ca=%s dir=%s%s %s' % (
            url or self.url(), ca or self.pki.path('ca.pem'), self.dir,
            ' address=' + address if address else '', options))

    def opened(self, *args, **kwargs):
        answer = self.open(*args, **kwargs)
        self.assertEqual(answer, {'event': 'open', 'err': 'ok', 'rule': ''})

    def post(self, letter, size=300, more=''):
        a = self.driver.event('post id=%s size=%d %s' % (letter, size, more))
        self.assertEqual(a['id'], letter + '-0')
        return a

    def freed(self):
        a = self.driver.event('free')
        self.assertEqual(a['event'], 'freed')
        return a['fds']

    def turn(self):
        """Some turns of the driver's loop."""
        self.assertEqual(self.driver.event('get id=turn url=https://elsewhere.test/')['why'], 'refused')

    def is_sound(self, a, letter):
        """What must hold whatever happened."""
        whole = self.server.whole_letters(letter + '-0')
        self.assertLessEqual(whole, 1, 'the letter arrived twice')
        if a['fate'] == N:
            self.assertEqual((whole, a['body_left']), (0, False))
        if a['fate'] == U:
            self.assertTrue(a['body_left'])
        if a['fate'] == A and 200 <= a['status'] < 300:
            self.assertEqual((whole, a['body_left']), (1, True))
        if a['fate'] != A:
            self.assertEqual((a['status'], a['body_len'], a['retry_after']), (0, 0, -1))


def one_of(value):
    return value if isinstance(value, tuple) else (value,)


class Matrix:
    """Every behaviour on a fresh and on a reused connection, with letters of three sizes."""

    def check(self, a, expected):
        fates, reasons, status, members, _ = expected
        self.assertIn(a['fate'], one_of(fates), a)
        self.assertIn(a['why'], one_of(reasons), a)
        self.assertEqual(a['status'], status, a)
        for name, value in members.items():
            self.assertIn(a[name], value if isinstance(value, range) else (value,), a)

    def request(self, act, expected, reused, size):
        self.server.reset((['ok'] if reused else []) + [act])
        self.opened(expected[4])
        if reused:
            self.assertEqual(self.post('warm')['status'], 200)
        a = self.post('letter', size)
        self.freed()
        self.server.join()
        self.is_sound(a, 'letter')
        self.check(a, expected)
        self.assertEqual(a['reused'], reused, a)
        # libcurl may connect once more when a reused connection died, but it may not ask there
        self.assertIn(self.server.connections, (1, 2) if reused else (1,))
        self.assertEqual(len(self.server.requests), 2 if reused else 1)

    def test_requests(self):
        for act, expected in REQUESTS.items():
            for reused in False, True:
                for size in SIZES:
                    with self.subTest(act=act, reused=reused, size=size):
                        self.request(act, expected, reused, size)

    def test_connections(self):
        for act, (why, options) in CONNECTIONS.items():
            for size in SIZES:
                with self.subTest(act=act, size=size):
                    self.server.reset(conn_script=[act])
                    self.opened(options)
                    a = self.post('letter', size)
                    self.freed()
                    self.server.join()
                    self.is_sound(a, 'letter')
                    self.assertEqual((a['fate'], a['reused']), (N, False), a)
                    self.assertIn(a['why'], one_of(why), a)
                    self.assertEqual((self.server.connections, len(self.server.requests)), (1, 0))

    def test_dead_idle_connection(self):
        """A connection that died, or that holds an answer to nobody, is not used; a fresh one is."""
        for act in 'ok_fin', 'ok_rst', 'ok_notify', 'ok_then_408', 'two_answers', 'two_answers_apart':
            for size in SIZES:
                with self.subTest(act=act, size=size):
                    self.server.reset([act])
                    self.opened()
                    self.assertEqual(self.post('first')['status'], 200)
                    self.assertTrue(self.server.step.wait(10))
                    if act == 'ok_rst':
                        self.server.join()
                    for _ in range(3):
                        self.turn()
                    a = self.post('letter', size)
                    self.freed()
                    self.server.join()
                    self.is_sound(a, 'letter')
                    self.assertEqual((a['fate'], a['status'], a['reused']), (A, 200, False), a)
                    self.assertEqual(self.server.connections, 2)

    def test_many(self):
        self.server.reset()
        self.opened('in_flight=64')
        self.driver.tell('post id=many count=500 concurrency=64 size=3000')
        answers = [self.driver.next(60) for _ in range(500)]
        self.assertEqual({(a['fate'], a['status']) for a in answers}, {(A, 200)})
        self.assertEqual(sorted(a['id'] for a in answers), sorted('many-%d' % i for i in range(500)))
        self.freed()
        self.server.join()
        self.assertTrue(all(self.server.whole_letters('many-%d' % i) == 1 for i in range(0, 500, 50)))
        self.assertEqual(sum(r.whole for r in self.server.requests), 500)
        self.assertLessEqual(self.server.connections, 80)
        self.assertGreaterEqual(sum(a['reused'] for a in answers), 400)

    def test_cancel(self):
        """Under way: unknown. Not yet connected: not sent. One that is begun in a callback goes on."""
        self.server.reset(['stall'] * 5)
        self.opened()
        self.driver.tell('post id=stalled count=5 concurrency=5 size=9000')
        self.assertTrue(self.server.wait_for(lambda: sum(r.whole for r in self.server.requests) == 5))
        self.driver.tell('cancel')
        answers = [self.driver.next() for _ in range(5)]
        self.assertEqual({(a['fate'], a['why'], a['body_left']) for a in answers}, {(U, 'cancelled', True)})
        self.server.reset(conn_script=['stall_tls'])
        self.driver.tell('post id=early count=2 size=300')
        self.assertTrue(self.server.wait_for(lambda: self.server.connections == 1))
        self.driver.tell('cancel')
        a, b = self.driver.next(), self.driver.next()
        self.assertEqual((a['id'], a['fate'], a['why'], a['body_left']), ('early-0', N, 'cancelled', False))
        self.assertEqual((b['id'], b['fate'], b['status']), ('early-1', A, 200))
        self.freed()
        self.server.join()
        self.assertEqual(self.server.whole_letters('early-0'), 0)

    def test_free_under_load(self):
        self.server.reset()
        self.opened()
        self.post('warm')
        before = self.freed()
        for act in 'ok', 'stall', 'slow_body', 'stall_body':
            self.server.reset([act] * 20)
            self.opened()
            self.driver.tell('post id=load count=500 concurrency=20 size=120000')
            if act != 'ok':
                self.assertTrue(self.server.step.wait(10) if act != 'slow_body' else True)
            self.driver.tell('free')
            while 'event' not in (a := self.driver.next()):
                pass
            self.assertEqual(a, {'event': 'freed', 'fds': before})
        if self.bridged:
            self.assertEqual(os.listdir(self.dir), [])

    def test_no_letter_stays_in_memory(self):
        self.server.reset()
        self.opened()
        self.driver.tell('post id=secret count=40 concurrency=4 size=9000')
        for _ in range(40):
            self.assertEqual(self.driver.next()['status'], 200)
        self.assertEqual(self.driver.event('scan'), {'event': 'scanned', 'ok': True, 'found': 0})
        self.server.script = ['stall']
        self.driver.tell('post id=held size=9000')
        self.assertTrue(self.server.step.wait(10))
        self.assertGreater(self.driver.event('scan')['found'], 0)
        self.driver.tell('cancel')
        self.assertEqual(self.driver.next()['why'], 'cancelled')
        self.assertEqual(self.driver.event('scan')['found'], 0)
        self.freed()


class Late:
    """Unix sockets hold little, so that most of a letter still waits in the bridge."""

    def test_late_letter_is_not_sent(self):
        """A letter that was given up while the server did not read is not delivered afterwards."""
        self.server.reset(['stall_body'])
        self.opened('total=400')
        before = len(os.listdir('/proc/%d/fd' % self.driver.p.pid))
        a = self.post('letter', 2000000)
        self.assertEqual((a['fate'], a['why']), (U, 'total_timeout'))
        for _ in range(1000):
            if len(os.listdir('/proc/%d/fd' % self.driver.p.pid)) == before:
                break
            self.server.release.wait(0.01)
        else:
            self.fail('the pair does not end with its connection')
        self.server.join()
        self.assertEqual(self.server.whole_letters('letter-0'), 0)
        self.freed()
    def test_success_before_the_letter(self):
        """A success that comes while the letter still waits is not a success of this letter."""
        self.server.reset(['early_success'])
        self.opened()
        a = self.post('letter', 2000000)
        self.freed()
        self.is_sound(a, 'letter')
        self.assertEqual((a['fate'], a['why']), (U, MALFORMED))


class TestDirect(Matrix, Case):
    pass


class TestBridgeTcp(Matrix, Case):
    bridged = True


class TestBridgeUnix(Matrix, Late, Case):
    bridged, family = True, 'unix'


class TestBridgeAbstract(Matrix, Late, Case):
    bridged, family = True, 'abstract'


if __name__ == '__main__':
    unittest.main()
