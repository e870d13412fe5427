# SPDX-License-Identifier: Apache-2.0
"""What the HTTPS client asks, whom it asks, and what it refuses. CWC_BUILD and HTTP_DRIVER as in test_http.py."""
import os
import socket
import ssl
import stat
import sys
import tempfile
import unittest
import urllib.parse
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nasty  # noqa: E402
import test_http  # noqa: E402

KEY = 'a+b&c=%/?#\u00fc~-._Z9'


class Trap:
    """A listener that nobody may connect to."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]

    def touched(self):
        self.listener.settimeout(0)
        try:
            self.listener.accept()[0].close()
            return True
        except BlockingIOError:
            return False
        finally:
            self.listener.close()


class TestRequest(test_http.Case):
    def head(self):
        self.assertEqual(len(self.server.requests), 1)
        return self.server.requests[0]

    def test_head_of_a_post(self):
        self.server.reset()
        self.opened('key=' + KEY)
        self.assertEqual(self.post('letter', 9000)['status'], 200)
        self.freed()
        r = self.head()
        method, target, version = r.line.split(' ')
        self.assertEqual((method, version), ('POST', 'HTTP/1.1'))
        path, _, query = target.partition('?')
        self.assertEqual(path, '/v2/message')
        self.assertEqual(query, 'apikey=' + urllib.parse.quote(KEY, safe='~'))
        self.assertEqual(r.headers['host'], 'localhost:%d' % self.server.port)
        self.assertEqual(r.headers['content-type'], 'application/xml')
        self.assertEqual(r.headers['content-length'], '9000')
        for name in 'expect', 'cookie', 'authorization', 'accept-encoding', 'transfer-encoding', 'upgrade':
            self.assertNotIn(name, r.headers)

    def test_no_key(self):
        self.server.reset()
        self.opened()
        self.post('letter')
        self.freed()
        self.assertEqual(self.head().line, 'POST /v2/message HTTP/1.1')

    def test_get(self):
        for query, expected in ('', '?apikey=k%26'), ('?a=b', '?a=b&apikey=k%26'):
            self.server.reset()
            self.opened('key=k&')
            a = self.driver.event('get id=g url=' + self.url('/offices' + query))
            self.freed()
            self.assertEqual((a['fate'], a['status'], a['body_len'], a['body_left']), ('answered', 200, 2, False))
            self.assertEqual(self.head().line, 'GET /offices%s HTTP/1.1' % expected)

    def test_get_goes_to_the_target_only(self):
        trap = Trap()
        self.server.reset()
        self.opened('key=k')
        for url in ('https://localhost:%d/' % trap.port, 'https://127.0.0.1:%d/' % self.server.port,
                    'http://localhost:%d/' % self.server.port, 'https://localhost/', 'https://u:p@localhost:%d/' %
                    self.server.port, '/offices', 'file:///etc/passwd'):
            a = self.driver.event('get id=g url=' + url)
            self.assertEqual((a['fate'], a['why']), ('not_sent', 'refused'), url)
        self.freed()
        self.assertFalse(trap.touched())
        self.assertEqual(self.server.connections, 0)

    def test_slow_get(self):
        self.server.reset(['stall'])
        self.opened('first=100')
        a = self.driver.event('get id=g url=' + self.url('/offices'))
        self.assertEqual((a['fate'], a['why'], a['body_left']), ('unknown', 'first_byte_timeout', False))
        self.freed()

    def test_deadline(self):
        """Past the deadline nothing is handed out; the request does not even begin."""
        self.server.reset()
        self.opened()
        a = self.post('letter', 300, 'deadline=0')
        self.assertEqual((a['fate'], a['why'], a['body_left']), ('not_sent', 'too_late', False))
        self.freed()
        self.server.join()
        self.assertEqual(self.server.requests, [])

    def test_too_many_and_too_large(self):
        self.server.reset(['stall', 'stall'])
        self.opened('in_flight=2')
        self.driver.tell('post id=many count=3 concurrency=3')
        a = self.driver.next()
        self.assertEqual((a['id'], a['fate'], a['why']), ('many-2', 'not_sent', 'refused'))
        self.driver.tell('cancel')
        self.assertEqual({self.driver.next()['why'], self.driver.next()['why']}, {'cancelled'})
        self.server.reset()
        a = self.post('large', 2097153)
        self.assertEqual((a['fate'], a['why']), ('not_sent', 'refused'))
        a = self.post('largest', 2097152)
        self.assertEqual((a['fate'], a['status']), ('answered', 200))
        self.freed()
        self.server.join()
        self.assertEqual(self.server.whole_letters('largest-0'), 1)
        self.assertNotIn('expect', self.head().headers)  # libcurl adds it to large bodies

    def test_connection_age(self):
        """0 forbids reuse (age itself is counted by libcurl, in seconds); every handshake is a full one."""
        self.server.reset()
        self.opened('age=0')
        for i in range(3):
            self.assertFalse(self.post('letter%d' % i)['reused'])
        self.freed()
        self.server.join()
        self.assertEqual((self.server.connections, self.server.resumed), (3, 0))


class TestWhom(test_http.Case):
    def test_server_name(self):
        for url, address, name in ((self.url(), None, 'localhost'),
                                   ('https://cwc.test/', self.server.address, 'cwc.test')):
            self.server.reset()
            self.opened(url=url, address=address)
            self.assertEqual(self.post('letter')['status'], 200)
            self.freed()
            self.assertEqual(self.server.sni, [name])

    def test_name_is_checked_whatever_is_dialled(self):
        self.server.reset()
        self.opened(url='https://else.test/', address=self.server.address)
        a = self.post('letter')
        self.freed()
        self.server.join()
        self.assertEqual((a['fate'], a['why']), ('not_sent', 'tls'))
        self.assertEqual(self.server.requests, [])

    def test_old_tls(self):
        """Even where the system's OpenSSL allows it."""
        lax = os.path.join(self.folder, 'lax.cnf')
        with open(lax, 'w') as f:
            f.write('openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nMinProtocol=TLSv1\n'
                    'CipherString=DEFAULT:@SECLEVEL=0\n')
        self.assertEqual(self.driver.end(), 0)
        self.driver = test_http.Driver({'OPENSSL_CONF': lax})
        warnings.simplefilter('ignore', DeprecationWarning)  # of the old versions
        c = self.server.contexts['good']
        minimum = c.minimum_version
        try:
            c.set_ciphers('DEFAULT:@SECLEVEL=0')
            c.minimum_version = ssl.TLSVersion.TLSv1
            for version, fate in (ssl.TLSVersion.TLSv1_1, 'not_sent'), (ssl.TLSVersion.TLSv1_2, 'answered'):
                c.maximum_version = version
                self.server.reset()
                self.opened()
                self.assertEqual(self.post('letter')['fate'], fate)
                self.freed()
        finally:
            c.minimum_version, c.maximum_version = minimum, ssl.TLSVersion.MAXIMUM_SUPPORTED

    def test_redirects_are_not_followed(self):
        for act in '301', '307':
            trap = Trap()
            self.server.location = 'https://localhost:%d/' % trap.port
            self.server.reset([act])
            self.opened('key=k')
            self.assertEqual(self.post('letter')['status'], int(act))
            self.freed()
            self.assertFalse(trap.touched())

    def test_environment(self):
        """No proxy, no file of session keys, no other authorities."""
        trap = Trap()
        proxy = 'http://127.0.0.1:%d' % trap.port
        log = os.path.join(self.folder, 'keys.log')
        env = {name: proxy for name in ('https_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'all_proxy')}
        other = self.pki.path('other-ca.pem')
        env.update(SSLKEYLOGFILE=log, SSL_CERT_FILE=other, CURL_CA_BUNDLE=other, NO_PROXY='', no_proxy='')
        self.assertEqual(self.driver.end(), 0)
        self.driver = test_http.Driver(env)
        self.server.reset(conn_script=['good', 'unknown-ca'])
        self.opened('age=0')
        self.assertEqual(self.post('letter')['status'], 200)
        self.assertEqual(self.post('letter')['why'], 'tls')
        self.freed()
        self.assertFalse(trap.touched())
        self.assertFalse(os.path.exists(log))

    def test_nobody_there(self):
        trap = Trap()
        trap.listener.close()
        self.server.reset()
        for url, address, why in (('https://localhost:%d/' % trap.port, None, 'connect'),
                                  ('https://cwc.test/', 'tcp:127.0.0.1:%d' % trap.port, 'connect'),
                                  ('https://cwc.test/', 'unix:%s/nothing.sock' % self.folder, 'connect'),
                                  ('https://cwc.test/', 'unix:@nobody-%d' % os.getpid(), 'connect')):
            with self.subTest(url=url, address=address):
                self.opened(url=url, address=address)
                for _ in range(2):
                    a = self.post('letter')
                    self.assertEqual((a['fate'], a['why'], a['body_left']), ('not_sent', why, False))
                self.freed()

    def test_dial_recovers(self):
        """An earlier failure to dial is not reported for a later failure of TLS."""
        folder = tempfile.mkdtemp(dir=self.folder)
        self.opened(url='https://cwc.test/', address='unix:%s/server.sock' % folder)
        self.assertEqual(self.post('letter')['why'], 'connect')
        server = nasty.Server(self.pki, 'unix', folder)
        server.conn_script = ['good', 'wrong-host']
        self.assertEqual(self.post('letter')['status'], 200)
        server.script = ['close_header']
        self.assertEqual(self.post('letter')['status'], 200)
        self.assertEqual(self.post('letter')['why'], 'tls')
        self.freed()
        server.close()


class TestSetUp(test_http.Case):
    def refused(self, rule, **kwargs):
        a = self.open(**kwargs)
        self.assertEqual(a['err'], 'config')
        self.assertIn(rule, a['rule'])
        self.freed()

    def test_bridge_directory(self):
        os.umask(0)
        self.addCleanup(os.umask, 0o022)
        self.dir = os.path.join(self.folder, 'fresh')
        self.opened(url='https://cwc.test/', address=self.server.address)
        st = os.stat(self.dir)
        self.assertEqual(stat.S_IMODE(st.st_mode), 0o700)
        names = os.listdir(self.dir)
        self.assertEqual(len(names), 1)
        self.assertTrue(stat.S_ISSOCK(os.stat(os.path.join(self.dir, names[0])).st_mode))
        self.freed()
        self.assertEqual(os.listdir(self.dir), [])

    def test_bad_bridge_directory(self):
        address = self.server.address
        opened_to_others = os.path.join(self.folder, 'open')
        os.mkdir(opened_to_others)
        os.chmod(opened_to_others, 0o750)
        link = os.path.join(self.folder, 'link')
        os.symlink(tempfile.mkdtemp(dir=self.folder), link)
        for self.dir, rule in ((opened_to_others, 'mode 0700'), (link, 'not a directory'),
                               ('/dev/null', 'not a directory'), (self.folder + '/a/b', 'cannot be made')):
            with self.subTest(dir=self.dir):
                self.refused(rule, address=address)
        self.dir = os.path.join(self.folder, 'x' * 100)
        self.refused('107 bytes', address=address)

    def test_bad_url(self):
        rule = 'an absolute https URL'
        for url in ('http://localhost/', 'https://', 'localhost/x', 'https://u@localhost/', 'https://localhost/#f',
                    'ftp://x/'):
            with self.subTest(url=url):
                self.refused(rule, url=url)
        self.refused('no query', url='https://localhost/?a=b')
        self.refused('no query', url='https://localhost/?')

    def test_bad_ca(self):
        empty = os.path.join(self.folder, 'empty.pem')
        open(empty, 'w').close()
        for ca in empty, '/nonexistent', self.folder:
            self.refused('CA file', ca=ca)


if __name__ == '__main__':
    unittest.main()
