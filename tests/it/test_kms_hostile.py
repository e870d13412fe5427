#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The KMS client among others that mean no good: the parent's metadata service, whoever stands between the enclave and
KMS, and time: calls that are given up, calls that hang."""
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kms_case import EXCHANGE_S, PURPOSE, Case, http, instrumented, read_request  # noqa: E402

ANSWER_MAX = 32768
HEADERS_MAX = 65536
MARKER = b'TheKeyThatMustNotStayInMemory' * 3


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


class Hostile(Case):
    def tls(self, cert='kms'):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        base = os.path.join(os.path.dirname(self.sim.ready['ca']), cert)
        context.load_cert_chain(base + '.pem', base + '.key')
        return context

    def kms(self, serve, **options):
        """A client whose KMS is one of ours."""
        peer = self.peer(serve, tls=self.tls(), **options)
        return peer, self.driver(kms=peer.address)

    def answering(self, text):
        """The report of a call that KMS answers with these bytes, and the end of the connection."""
        _, driver = self.kms(lambda connection, _head, _body: connection.sendall(text))
        return driver.call()


class Metadata(Hostile):
    def serving(self, token=http(200, b'token=='), role=http(200, b'role'), credentials=None):
        """Answers for each of the three requests: bytes, or a function of the connection."""
        if credentials is None:
            credentials = http(200, self.sim.cmd('credentials')['json'].encode())

        def serve(connection, head, _body):
            target = head.split(b' ')[1]
            answer = token if target.endswith(b'/token') else role if target.endswith(b'/') else credentials
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
        return self.peer(serve)

    def meets(self, why, **answers):
        peer = self.serving(**answers)
        with self.subTest(why, **{name: str(value)[:60] for name, value in answers.items()}):
            self.ended(self.driver(imds=peer.address).call(), why, 0, True)
        return peer

    def tearDown(self):
        self.assertEqual(self.sim.stats()['requests'], self.calls)

    calls = 0  # to KMS

    def test_what_it_is_asked(self):
        peer = self.serving()
        self.ended(self.driver(imds=peer.address).call(), 'ok', 200)
        heads = [peer.wait().decode().split('\r\n') for _ in range(3)]
        self.assertEqual([head[0] for head in heads],
                         ['PUT /latest/api/token HTTP/1.1',
                          'GET /latest/meta-data/iam/security-credentials/ HTTP/1.1',
                          'GET /latest/meta-data/iam/security-credentials/role HTTP/1.1'])
        self.assertEqual({head[1] for head in heads}, {'Host: 169.254.169.254'})
        self.assertIn('X-aws-ec2-metadata-token-ttl-seconds: 60', heads[0])
        for head in heads[1:]:
            self.assertIn('X-aws-ec2-metadata-token: token==', head)
        for head in heads:
            self.assertFalse([line for line in head if line.lower().startswith(('authorization', 'x-amz'))])
        self.calls = 1

    def test_tokens_and_roles(self):
        for bad in (b'', b'a\r\nX-Evil: 1', b'a\n', b'a b', b'a\0b', b'\xff', b'a:b', b'"'):
            self.meets('imds_syntax', token=http(200, bad))
            self.meets('imds_syntax', role=http(200, bad))
        self.meets('imds_syntax', token=http(200, b'a' * 1025))
        self.meets('imds_syntax', token=http(200, b'a' * 65536))
        for bad in (b'one\ntwo', b'../x', b'a?b', b'a#b', b'a%2f', b'a' * 65, b'a' * 65536):
            self.meets('imds_syntax', role=http(200, bad))

    def test_credentials(self):
        known = self.sim.cmd('credentials')['json']
        for bad in (known + '{}', known.replace('"Token"', '"Token": "a", "Token"'), '[]', '', known[:-2],
                    known.replace('"Code"', '"Fill": "%s", "Code"' % ('x' * 8192)), json.dumps([known])):
            self.meets('imds_syntax', credentials=http(200, bad.encode()))

    def test_statuses(self):
        for status in (204, 301, 401, 403, 404, 429, 500, 503):
            self.meets('imds', token=http(status, b'token=='))
        self.meets('imds', role=http(404, b'role'))
        self.meets('imds', credentials=http(500, self.sim.cmd('credentials')['json'].encode()))

    def test_a_redirect_is_not_followed(self):
        other = self.peer(lambda connection, _head, _body: connection.sendall(http(200, b'token==')))
        location = b'Location: http://%s/latest/api/token\r\n' % other.address[4:].encode()
        self.meets('imds', token=http(302, b'', location))
        self.meets('imds', role=http(307, b'', location))
        self.assertEqual(other.connections, 0)

    def test_what_is_no_answer(self):
        def flood(connection, line):
            for _ in range(2 * HEADERS_MAX // len(line) + 65536 // len(line)):
                connection.sendall(line)
            connection.recv(1)  # the client went away
        for answer, why in ((lambda c: None, 'imds'), (reset, 'imds'), (b'SSH-2.0-OpenSSH_9.2\r\n', 'imds_syntax'),
                            (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ntoken', 'imds'),
                            (lambda c: flood(c, b'HTTP/1.1 100 Continue\r\n\r\n'), 'imds_syntax'),
                            (lambda c: flood(c, b'HTTP/1.1 200 OK\r\nX: ' + b'y' * 1000 + b'\r\n'), 'imds_syntax'),
                            (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + b'400\r\n%s\r\n' % (b'a' * 1024) +
                             b'1\r\na\r\n0\r\n\r\n', 'imds_syntax')):
            self.meets(why, token=answer)

    def test_nobody_listens(self):
        with socket.create_server(('127.0.0.1', 0)) as s:
            port = s.getsockname()[1]
        self.ended(self.driver(imds='tcp:127.0.0.1:%d' % port).call(), 'imds', 0, True)
        self.ended(self.driver(imds='unix:/nonexistent/x').call(), 'imds', 0, True)


class OnTheWay(Hostile):
    def test_the_size_of_an_answer(self):
        for size, why in ((ANSWER_MAX, 'kms_syntax'), (ANSWER_MAX + 1, 'too_large'), (8 << 20, 'too_large')):
            self.ended(self.answering(http(200, b' ' * size)), why, 200, False)
        self.ended(self.answering(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
                                  b'1000\r\n%s\r\n' % (b' ' * 4096) * 9), 'too_large', 200, False)
        line = b'X: ' + b'y' * 1000 + b'\r\n'
        self.ended(self.answering(b'HTTP/1.1 200 OK\r\n' + line * (HEADERS_MAX // len(line) + 1) + b'\r\n'),
                   'too_large', 200, False)
        self.ended(self.answering(b'HTTP/1.1 100 Continue\r\n\r\n' * (HEADERS_MAX // 25 + 1) + http(200, b'{}')),
                   'too_large', 100, False)

    def test_a_redirect_is_not_followed(self):
        other = self.peer(lambda connection, _head, _body: connection.sendall(http(200, b'{}')))
        for status in (301, 302, 303, 307, 308):
            location = b'Location: http://%s/\r\n' % other.address[4:].encode()
            self.ended(self.answering(http(status, b'{}', location)), 'kms_refused', status, False)
        self.assertEqual(other.connections, 0)

    def test_what_is_no_answer(self):
        for text, why in ((b'', 'connect'), (b'220 mail\r\n', 'kms_syntax'), (b'HTTP/1.1 200', 'connect')):
            report = self.answering(text)
            self.ended(report, why, report['status'])

    def test_a_reset(self):
        peer = self.peer(lambda connection, _head, _body: reset(connection), tls=self.tls())
        self.ended(self.driver(kms=peer.address).call(), 'connect', 0, True)
        # During the handshake, and before it.
        for serve in (lambda connection: (connection.recv(1), reset(connection)), reset, lambda connection: None):
            peer = self.peer(serve, raw=True)
            report = self.driver(kms=peer.address).call()
            self.assertIn(report['why'], ('tls', 'connect'))
            self.ended(report, report['why'], 0, True)

    def test_nobody_listens(self):
        with socket.create_server(('127.0.0.1', 0)) as s:
            port = s.getsockname()[1]
        driver = self.driver(kms='tcp:127.0.0.1:%d' % port)
        self.ended(driver.call(), 'connect', 0, True)
        self.ended(self.driver(kms='unix:/nonexistent/x').call(), 'connect', 0, True)
        # Looked up for long enough that libcurl speaks first: what it sees is a handshake that breaks off. The name
        # cannot exist anywhere (RFC 6761).
        self.ended(self.driver(kms='tcp:kms.invalid:443').call(), 'connect', 0, True)
        # And then somebody does.
        with socket.create_server(('127.0.0.1', port)) as listener:
            driver.begin()
            connection, _ = listener.accept()
            with self.tls().wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)
            self.ended(driver.line(), 'connect', 0, True)

    def test_no_tls(self):
        def http_instead(connection):
            connection.recv(1)
            connection.sendall(http(400))
        peer = self.peer(http_instead, raw=True)
        self.ended(self.driver(kms=peer.address).call(), 'tls', 0, True)

    def test_old_tls(self):
        context = self.tls()
        context.set_ciphers('ALL:@SECLEVEL=0')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        peer = self.peer(lambda *_request: None, tls=context)
        self.ended(self.driver(kms=peer.address).call(), 'tls', 0, True)
        self.assertTrue(peer.seen.empty())

    def test_each_call_has_a_connection_of_its_own(self):
        def serve(connection, _head, _body):
            head = b'first'
            while head:
                connection.sendall(http(200, b'{}', b'Connection: keep-alive\r\n'))
                head, _ = read_request(connection)
        peer, driver = self.kms(serve)
        for n in range(1, 4):
            self.ended(driver.call(), 'kms_syntax', 200, False)
            self.assertEqual(peer.connections, n)
        self.assertFalse(peer.tls.session_stats()['hits'])

    def test_the_environment_names_a_proxy(self):
        proxy = self.peer(lambda *_request: None, raw=True)
        address = 'http://' + proxy.address[4:]
        keys = os.path.join(os.path.dirname(self.sim.ready['ca']), 'session-keys')
        names = ('http_proxy', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY')
        driver = self.driver(env=dict({name: address for name in names}, NO_PROXY='', no_proxy='', SSLKEYLOGFILE=keys))
        self.ended(driver.call(), 'ok', 200)
        self.assertEqual(proxy.connections, 0)
        self.assertFalse(os.path.exists(keys))

    def test_what_is_sent(self):
        got = []

        def serve(connection, head, body):
            got.append(body)
            connection.sendall(http(200, b'{}'))
        peer, driver = self.kms(serve)
        self.ended(driver.call(), 'kms_syntax', 200)
        lines = peer.wait().decode().split('\r\n')
        headers = dict(line.split(': ', 1) for line in lines[1:])
        self.assertEqual(lines[0], 'POST / HTTP/1.1')
        self.assertEqual(set(headers), {'Host', 'Authorization', 'X-Amz-Date', 'User-Agent', 'Accept', 'Content-Type',
                                        'X-Amz-Target', 'X-Amz-Security-Token', 'Content-Length'})
        self.assertEqual(headers['Host'], 'kms.us-east-1.amazonaws.com')
        self.assertIn('SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target,',
                      headers['Authorization'])
        request = json.loads(got[0])
        self.assertEqual(set(request), {'KeyId', 'KeySpec', 'EncryptionContext', 'Recipient'})
        self.assertEqual(request['EncryptionContext'], {'purpose': PURPOSE})

    def test_a_plaintext_does_not_stay_in_memory(self):
        if instrumented():
            self.skipTest('the sanitizers keep what is freed')
        answer = json.dumps({'KeyId': self.sim.ready['keys'][0], 'Plaintext': MARKER.decode()}).encode()
        peer = self.peer(lambda connection, _head, _body: connection.sendall(http(200, answer)), tls=self.tls())
        driver = self.driver(kms=peer.address, confine=False)
        self.ended(driver.call(), 'kms_plaintext', 200, False)
        self.assertEqual(driver.found(MARKER), 0)


class Device(Hostile):
    def test_its_failures(self):
        self.ended(self.driver(nsm='io').call(), 'nsm', 0, True)
        self.ended(self.driver(nsm='limit').call(), 'nsm', 0, False)
        self.assertEqual(self.sim.stats()['requests'], 0)


class Time(Hostile):
    def test_two_calls_at_once(self):
        gate = self.gate()
        driver = self.driver(gate=gate)
        driver.begin()
        with open(gate, 'wb') as device:  # the thread is there
            self.assertEqual(driver.call(), {'id': '2', 'refused': 'exists'})
            device.write(b'x')
        self.ended(driver.line(), 'ok', 200)
        driver.begin()
        with open(gate, 'wb') as device:
            device.write(b'x')
        self.ended(driver.line(), 'ok', 200)

    def gate(self):
        path = os.path.join(os.path.dirname(self.sim.ready['ca']), 'gate-%s' % self.id().rpartition('.')[2])
        os.mkfifo(path)
        self.addCleanup(os.unlink, path)
        return path

    def gone(self, driver, within_s=EXCHANGE_S / 2):
        """The process ends, with all memory freed, long before a time-out."""
        begun = time.monotonic()
        driver.process.stdin.close()
        self.assertEqual(driver.process.wait(60), 0)
        self.assertLess(time.monotonic() - begun, within_s)
        self.assertIsNone(driver.lines.get(timeout=1))  # no callback

    def test_free_while_the_device_is_asked(self):
        gate = self.gate()
        driver = self.driver(gate=gate)
        driver.begin()
        with open(gate, 'wb') as device:
            self.assertEqual(driver.ask('free'), {'event': 'freed'})
            device.write(b'x')
        self.gone(driver)
        self.assertEqual(self.sim.stats()['requests'], 0)

    def test_free_before_a_thread_has_begun(self):
        """One thread, that hangs in the call of a client that is gone: the next call waits for it."""
        gate = self.gate()
        driver = self.driver(gate=gate, confine=False, env={'UV_THREADPOOL_SIZE': '1'})
        driver.begin()
        with open(gate, 'wb') as device:
            driver.ask('free')
            ready = self.sim.ready
            self.assertEqual(driver.open(arn=ready['keys'][0], ca=ready['ca'], kms=ready['kms'],
                                         imds=ready['imds'])['err'], 'ok')
            driver.begin()
            driver.ask('free')
            device.write(b'x')
        self.gone(driver)
        self.assertEqual(self.sim.stats()['requests'], 0)

    def test_free_while_a_peer_is_silent(self):
        for kind in ('imds', 'kms', 'handshake'):
            with self.subTest(kind):
                peer = self.peer(None, tls=self.tls() if kind == 'kms' else None, raw=kind == 'handshake')
                peer.serve = peer.hang
                driver = self.driver(**{'imds' if kind == 'imds' else 'kms': peer.address})
                driver.begin()
                peer.wait()
                driver.ask('free')
                self.gone(driver)

    def test_free_without_a_word(self):
        """The end of the program, in the middle of a call."""
        peer = self.peer(None)
        peer.serve = peer.hang
        driver = self.driver(imds=peer.address)
        driver.begin()
        peer.wait()
        self.gone(driver)

    def test_time_outs(self):
        """All at the same time, for each takes its ten seconds: silence, and endless answers byte by byte."""
        reports = {}

        def measure(name, driver):
            begun = time.monotonic()
            report = driver.call()
            reports[name] = (report, time.monotonic() - begun)

        threads = []
        for name, who, raw, drip in (('imds silent', 'imds', False, None), ('kms silent', 'kms', False, None),
                                     ('handshake', 'kms', True, None),
                                     ('imds drips', 'imds', False, b'HTTP/1.1 200 OK\r\n\r\n'),
                                     ('imds header', 'imds', False, b'HTTP/1.1 200 OK\r\nX: '),
                                     ('kms drips', 'kms', False, b'HTTP/1.1 200 OK\r\n\r\n')):
            peer = self.peer(None, tls=self.tls() if who == 'kms' and not raw else None, raw=raw)
            peer.serve = peer.hang if drip is None else \
                lambda connection, _head, _body, peer=peer, drip=drip: peer.drip(connection, drip)
            driver = self.driver(**{who: peer.address})
            threads.append(threading.Thread(target=measure, args=(name, driver)))
            threads[-1].start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(len(reports), 6)
        for name, (report, took_s) in reports.items():
            with self.subTest(name):
                self.ended(report, 'imds' if name.startswith('imds') else 'timeout', 200 if name == 'kms drips' else 0,
                           True)
                self.assertGreater(took_s, EXCHANGE_S - 0.5)
                self.assertLess(took_s, 2 * EXCHANGE_S)


if __name__ == '__main__':
    unittest.main()
