#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chambers that cannot be reached, refuse our access or ask for patience: no letter pays for it."""
import os
import socket
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from outcome_case import CHAMBERS, JOBS, LIMITS, Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402


class Connections(Case):
    """Faults that hit whoever connects: one batch after the other. Kept connections are closed first."""

    def test_before_anything_left(self):
        stack = self.start()
        cases = [('refuse', {'action': 'tls_refuse'}, 'tls'), ('rst', {'action': 'tls_refuse', 'reset': True}, 'tls'),
                 ('garbage', {'action': 'tls_garbage'}, 'tls'), ('stall', {'action': 'tls_stall'}, 'connect_timeout')]
        sent = []
        for name, rule, _why in cases:
            with self.subTest(name):
                stack.sim.close_idle()
                for chamber in CHAMBERS:
                    stack.sim.fault(**rule, chamber=chamber, count=1)
                some = self.both(name)
                sent += some
                stack.submit(*some)
                stack.wait_results(len(sent))
                last = account.last_results(stack)
                for s in some:
                    result = last[s['sid'], s['offices'][0]]
                    self.assertEqual((result['outcome'], result['attempt']), ('accepted', '2'))
                    self.assertIn(',0,not_sent,', stack.job(s['sid'], s['offices'][0])['history'])
                stack.sim.clear_faults()
        self.assertEqual(stack.sim.count(), len(sent))
        whys = {e['sid'][:-2]: e['fate'] for e in self.worker.events('letter_sent') if e['http_status'] == 0}
        self.assertEqual({k: v for k, v in whys.items() if k != 'rst'},
                         {name: why for name, _, why in cases if name != 'rst'})
        account.check(self, stack, sent)

    def test_wrong_certificates(self):
        """Nothing is sent to a peer that cannot prove its name; when it can, the letters go."""
        stack = self.start(jobs={**JOBS, 'attempts': 100})
        sent = []
        for cert in ('expired', 'wrong-host', 'other-ca'):
            stack.sim.close_idle()
            stack.sim.tls(cert)
            some = self.both(cert)
            sent += some
            stack.submit(*some)
            for s in some:
                wait_until(lambda s=s: stack.job(s['sid'], s['offices'][0]).get('history', '').count('not_sent') >= 2,
                           what='refused handshakes')
            self.assertEqual(stack.sim.count(), len(sent) - len(some))
            stack.sim.tls()
            stack.wait_results(len(sent))
        self.assertEqual({r['outcome'] for r in account.check(self, stack, sent).values()}, {'accepted'})
        self.assertEqual(stack.sim.count(), len(sent))
        self.assertEqual({e['fate'] for e in self.worker.events('letter_sent')}, {'tls', 'answered'})

    def test_reset_within_the_request(self):
        """The body was on its way: nobody knows. House: the end. Senate: again."""
        stack = self.start()
        sent = []
        for action in ('reset_before_read', 'reset_after_headers'):
            stack.sim.close_idle()
            for chamber in CHAMBERS:
                stack.sim.fault(action=action, chamber=chamber, count=1)
            some = self.both(action)
            sent += some
            stack.submit(*some)
            stack.wait_results(len(sent))
            last = account.last_results(stack)
            house, senate = (last[s['sid'], s['offices'][0]] for s in some)
            self.assertEqual((house['outcome'], house['attempt'], house['detail']), ('outcome_unknown', '1', 'reset'))
            self.assertEqual((senate['outcome'], senate['attempt']), ('accepted', '2'))
        account.check(self, stack, sent)
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (2, 4))

    def test_stalled_reading(self):
        """The chamber takes no byte of the body: the answer is late, the fate unknown."""
        stack = self.start()
        stack.sim.fault(action='stall', when='read', chamber='house', count=1)
        some = [letter('stalled', letters.HOUSE)]
        stack.submit(*some)
        stack.wait_results(1)
        result = account.check(self, stack, some)['stalled', letters.HOUSE]
        self.assertEqual((result['outcome'], result['detail']), ('outcome_unknown', 'first_byte_timeout'))


class Holds(Case):
    def hold(self, chamber):
        text = self.stack.redis('HGET', self.stack.key('holds'), chamber)
        if text is None:
            return None
        until, who, reason = text.split(' ', 2)
        return int(until) / 1e6 - time.time(), who, reason

    def due_now(self):
        """As if the time of everything that waits in `later` had come."""
        for member in self.stack.redis('ZRANGE', self.stack.key('later'), 0, -1):
            self.stack.redis('ZADD', self.stack.key('later'), 'XX', 1, member)

    def break_access(self, how):
        sim = self.stack.sim
        if how == 'agent':
            sim.set_agent('Somebody Else LLC')
        elif how == 'key':
            sim.set_keys(['0' * 32])
        else:
            sim.fault(action='status', status=how, count=2)
        return {'agent': 400, 'key': 401}.get(how, how)

    def mend_access(self):
        sim = self.stack.sim
        sim.clear_faults()
        sim.set_agent(letters.AGENT['DeliveryAgent'])
        sim.set_keys([sim.key])

    def test_misconfigured(self):
        """Our access is wrong, not the letter: the chamber is held, no attempt is used, and resume goes on."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        sent, posts = [], 0
        for number, how in enumerate(('agent', 'key', 401, 403, 404, 301, 302, 307, 308)):
            with self.subTest(how):
                status = self.break_access(how)
                first = self.both('first-%d' % number)
                stack.submit(*first)
                wait_until(lambda: self.hold('house') and self.hold('senate'), what='holds')
                stack.wait_status(first[0]['sid'], letters.HOUSE, 'later', 'misconfigured')
                stack.wait_status(first[1]['sid'], letters.SENATE, 'later', 'misconfigured')
                posts += 2
                self.assertEqual(stack.sim.count(), posts)
                second = self.both('second-%d' % number)
                stack.submit(*second)
                for s in second:
                    stack.wait_status(s['sid'], s['offices'][0], 'wait')
                for chamber in CHAMBERS:
                    left_s, who, reason = self.hold(chamber)
                    self.assertTrue(290 < left_s <= 300, left_s)
                    self.assertEqual((who[:3], reason), ('w1/', 'misconfigured'))
                for s in first:
                    job = stack.job(s['sid'], s['offices'][0])
                    self.assertEqual((job['attempt'], job['status']), ('0', str(status)))
                self.mend_access()
                self.assertEqual(stack.sim.count(), posts)
                for chamber in CHAMBERS:
                    self.assertEqual(stack.admin('resume', chamber)[0], 'OK')
                self.due_now()
                sent += first + second
                posts += 4
                stack.wait_results(len(sent))
                self.assertEqual(stack.sim.count(), posts)
        last = account.check(self, stack, sent)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual(len(self.worker.events('chamber_held')), 2 * 9)
        self.assertTrue(all(e['level'] == 'error' for e in self.worker.events('chamber_held')))

    def test_one_400_after_the_other(self):
        """16 of 20 answers 400: it is our XML or our access that is wrong. No more letters are ended by it."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        stack.sim.fault(action='status', status=400, chamber='house')
        some = [letter('suspect-%02d' % n, letters.HOUSE) for n in range(20)]
        stack.submit(*some)
        wait_until(lambda: self.hold('house'), what='hold')
        # The hold keeps the one that was put back, so that it goes as soon as the hold is lifted.
        wait_until(lambda: stack.redis('ZCARD', stack.key('wait:HNE03')) == 5, what='the letter that was put back')
        stack.wait_results(15)
        self.assertEqual(stack.sim.count(), 16)
        self.assertEqual(stack.redis('ZCARD', stack.key('later')), 0)
        self.mend_access()
        stack.admin('resume', 'house')
        stack.wait_results(20)
        outcomes = [r['outcome'] for r in account.check(self, stack, some).values()]
        self.assertEqual((outcomes.count('rejected_by_chamber'), outcomes.count('accepted')), (15, 5))

    def test_retry_after(self):
        """429 with Retry-After holds the chamber for that long and uses no attempt; the other one goes on."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        stack.sim.fault(action='status', status=429, retry_after=2, count=1, chamber='house')
        first = letter('told-to-wait', letters.HOUSE)
        stack.submit(first)
        wait_until(lambda: self.hold('house'), what='hold')
        asked = stack.sim.records()[0]['t']
        others = [letter('other-%d' % n, 'HNE01') for n in range(3)] + [letter('senate', letters.SENATE)]
        stack.submit(*others)
        stack.wait_status('senate', letters.SENATE, 'accepted')
        stack.wait_results(5)
        house = stack.sim.records(chamber='house')
        self.assertEqual(len(house), 5)
        self.assertGreater(house[1]['t'] - asked, 1.9)
        self.assertLess(house[-1]['t'] - asked, 12)
        last = account.check(self, stack, [first] + others)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual([e['reason'] for e in self.worker.events('chamber_held')], ['throttled'])

    def test_a_person_s_hold_is_not_shortened(self):
        """The hold comes while a POST is on the wire that will be answered 429 with a short Retry-After."""
        stack = self.start()
        stack.sim.fault(action='status', status=429, retry_after=1, count=1, chamber='house', delay_ms=500)
        stack.submit(letter('on-the-wire', letters.HOUSE))
        stack.sim.wait_count(1)
        until = int((time.time() + 3600) * 1e6)
        self.assertEqual(stack.admin('hold', 'house', until, 'a person knows better')[0], 'OK')
        stack.wait_status('on-the-wire', letters.HOUSE, 'later', 'throttled')
        stack.submit(letter('behind', letters.HOUSE))
        stack.wait_status('behind', letters.HOUSE, 'wait')
        self.assertGreater(self.hold('house')[0], 3500)
        stack.admin('resume', 'house')
        stack.wait_results(2)

    def test_maintenance_after_the_body(self):
        """503 with Retry-After, but the body had left: at the House a person must ask; nothing is sent again."""
        stack = self.start()
        stack.sim.maintenance(True, retry_after=1)
        some = self.both('maintained')
        stack.submit(*some)
        stack.wait_status('maintained-h', letters.HOUSE, 'unknown', 'outcome_unknown')
        stack.sim.maintenance(False)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some], ['outcome_unknown', 'accepted'])
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (1, 2))


class EarlyAnswer(threading.Thread):
    """A House that answers its first connection before it is asked: the answer lies in the same bytes as the end of the
    TLS 1.2 handshake, so that the client has read it before it could hand out a body. Then a good one."""

    EARLY = b'HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

    def __init__(self, pki):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki + '/server.pem', pki + '/server.key')
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = 'tcp:127.0.0.1:%d' % self.listener.getsockname()[1]
        self.early = bytearray()    # what came on the first connection
        self.bodies = []            # what came on the others

    def run(self):
        first = True
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            raw.settimeout(20)
            try:
                self.serve(raw, first)
            except OSError:
                pass
            raw.close()
            first = False

    def serve(self, raw, first):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)

        def more():
            data = raw.recv(65536)
            if not data:
                raise OSError('closed')
            incoming.write(data)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                more()
        if first:
            tls.write(self.EARLY)
        raw.sendall(outgoing.read())
        data = self.early if first else bytearray()
        while True:
            try:
                chunk = tls.read(65536)
            except ssl.SSLWantReadError:
                more()
                continue
            if not chunk:
                return
            data += chunk
            if not first and self.whole(data):
                self.bodies.append(bytes(data.partition(b'\r\n\r\n')[2]))
                del data[:]
                tls.write(self.GOOD)
                raw.sendall(outgoing.read())

    @staticmethod
    def whole(data):
        head, end, body = data.partition(b'\r\n\r\n')
        length = [int(line.split(b':')[1]) for line in head.split(b'\r\n')
                  if line.lower().startswith(b'content-length')]
        return bool(end) and bool(length) and len(body) >= length[0]


class BeforeTheBody(Case):
    def test_503_before_the_body_left(self):
        """Throttled: no attempt is used, the letter surely was not sent, and goes out later."""
        stack = self.start(worker=False, measured_house={'offices_url': ''})
        server = EarlyAnswer(stack.sim.dir + '/pki')
        self.addCleanup(server.listener.close)
        server.start()
        stack.sim.ready['house'] = server.address
        self.worker = stack.start_worker()
        stack.submit(letter('early', letters.HOUSE))
        stack.wait_status('early', letters.HOUSE, 'later', 'throttled')
        job = stack.job('early', letters.HOUSE)
        self.assertEqual((job['attempt'], job['status'], server.bodies), ('0', '503', []))
        self.assertNotIn(b'<CWC>', bytes(server.early))
        stack.wait_results(1)
        result = account.last_results(stack)['early', letters.HOUSE]
        self.assertEqual((result['outcome'], result['attempt']), ('accepted', '1'))
        self.assertEqual(len(server.bodies), 1)


if __name__ == '__main__':
    unittest.main()
