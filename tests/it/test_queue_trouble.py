# SPDX-License-Identifier: Apache-2.0
"""The queue client when Redis fails: nothing stays unanswered, and it comes back by itself."""
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from queue_harness import Case, LOST, OK, free_port, now_us  # noqa: E402

LUA = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../queue/lua')


class Trouble(Case):
    def test_no_server_yet(self):
        directory = tempfile.mkdtemp(prefix='queue-client-')
        self.addCleanup(shutil.rmtree, directory, True)
        d = self.driver('unix:' + os.path.join(directory, 'redis.sock'))
        self.assertDown(d, 'connect')
        self.assertEqual(d.command('PING')['e'], LOST)
        last, fast = time.monotonic(), 0
        for ceiling in 0.2, 0.4, 0.8, 1.6:  # full jitter: at least 50 ms, at most a ceiling that doubles
            self.assertDown(d, 'connect')
            gap, last = time.monotonic() - last, time.monotonic()
            self.assertLess(gap, ceiling + 1)
            fast += gap < 0.04
        self.assertLessEqual(fast, 1)  # the first one may have been waiting to be read
        self.redis(directory=directory)
        d.event('up')
        self.assertWorks(d)

    def test_kill_with_outstanding(self):
        r = self.redis()
        d = self.up(r.address, timeout_ms=60000)
        for _ in range(2):
            r.process.send_signal(signal.SIGSTOP)
            storm = d.send('storm', 500, 'INCR', '{q}:n')
            scripts = [d.send('script', 'depth', str(now_us())) for _ in range(20)]
            d.wait_outstanding(520)
            r.kill()
            self.assertEqual(d.wait(storm)['lost'], 500)
            self.assertEqual({d.wait(k)['e'] for k in scripts}, {LOST})
            self.assertDown(d, 'closed')
            self.assertEqual(d.command('PING')['e'], LOST)
            begin = time.monotonic()
            r.start()
            d.event('up')
            self.assertLess(time.monotonic() - begin, 6)
            self.assertWorks(d)
            self.assertEqual(d.call('script', 'depth', str(now_us()))['e'], OK)

    def test_kill_in_a_script(self):
        r = self.redis('--busy-reply-threshold', '50')
        d = self.up(r.address)
        loop = d.send('command', 'EVAL', 'while true do end', '0')
        while True:
            try:
                r('PING')
            except RuntimeError as e:
                self.assertIn('BUSY', str(e))
                break
        key = d.send('command', 'PING')
        d.wait_outstanding(2)
        r.kill()
        self.assertEqual([d.wait(loop)['e'], d.wait(key)['e']], [LOST, LOST])
        r.start()
        d.event('up')
        self.assertWorks(d)

    def test_client_kill(self):
        r = self.redis()
        d = self.up(r.address)
        for _ in range(3):
            r('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
            self.assertDown(d, 'closed')
            d.event('up')
            self.assertWorks(d)

    def test_pause_beyond_the_time_out(self):
        r = self.redis()
        d = self.up(r.address, timeout_ms=200)
        r('CLIENT', 'PAUSE', 1500, 'ALL')
        keys = [d.send('command', 'PING') for _ in range(3)]
        self.assertEqual([d.wait(k)['e'] for k in keys], [LOST] * 3)
        self.assertDown(d, 'timeout')
        self.assertDown(d, 'timeout')  # nor does the new connection get an answer
        d.event('up')
        self.assertWorks(d)

    def test_driver_stood_still(self):
        """Answers that came in time are not lost when it was us who slept beyond the time-out."""
        r = self.redis()
        d = self.up(r.address, timeout_ms=300)
        r.process.send_signal(signal.SIGSTOP)
        key = d.send('command', 'PING')
        d.wait_outstanding(1)
        d.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        r.process.send_signal(signal.SIGCONT)
        while time.monotonic() < stopped + 0.5:
            r('PING')
        d.process.send_signal(signal.SIGCONT)
        self.assertEqual(d.wait(key)['e'], OK)

    def test_readonly(self):
        r = self.redis()
        other = self.redis()
        d = self.up(r.address)
        r('REPLICAOF', '127.0.0.1', str(free_port()))
        self.assertEqual(d.command('INCR', '{q}:n')['e'], 'queue_busy')
        self.assertDown(d, 'queue_busy')
        e = self.assertDown(d, 'queue_busy')  # a replica is refused on connecting
        self.assertIn('replica', e['detail'])
        r('REPLICAOF', 'NO', 'ONE')
        d.event('up')
        self.assertEqual(d.command('INCR', '{q}:n')['e'], OK)
        self.assertWorks(self.up(other.address))

    def test_readonly_in_a_script(self):
        r = self.redis()
        d = self.up(r.address)
        r('REPLICAOF', '127.0.0.1', str(free_port()))
        self.assertEqual(d.call('beat', 'join', 'w/1', 10000000, now_us())['e'], 'queue_busy')
        self.assertDown(d, 'queue_busy')

    def test_cluster_without_slots(self):
        r = self.redis('--cluster-enabled', 'yes', '--port', str(free_port()))
        d = self.up(r.address)
        self.assertEqual(d.command('INCR', '{q}:n')['e'], 'queue_busy')
        self.assertDown(d, 'queue_busy')
        d.event('up')

    def test_loading(self):
        r = self.redis('--rdbcompression', 'no', '--enable-debug-command', 'yes')
        r('DEBUG', 'POPULATE', 3000, 'key', 100)
        r('SAVE')
        d = self.up(r.address)
        r.kill()
        r.args = ('--key-load-delay', '700', '--loading-process-events-interval-bytes', '1024')
        r.start(wait=False)
        self.assertDown(d, 'closed')
        e = self.assertDown(d, 'connect', 'queue_busy')
        while e['why'] != 'queue_busy':
            e = self.assertDown(d, 'connect', 'queue_busy')
        self.assertIn('loading', e['detail'])
        d.event('up')
        self.assertWorks(d)

    def test_out_of_memory(self):
        r = self.redis()
        d = self.up(r.address)
        r('CONFIG', 'SET', 'maxmemory', 1)
        self.assertEqual(d.command('SET', '{q}:x', '1')['e'], 'queue_full')
        self.assertEqual(d.call('enqueue', 's', 'HCA12', 'job', 1, 0, 0)['e'], 'queue_full')
        self.assertEqual(d.call('beat', 'join', 'w/1', 10000000, now_us())['e'], OK)
        r('CONFIG', 'SET', 'maxmemory', 0)
        self.assertEqual(d.command('SET', '{q}:x', '1')['e'], OK)

    def test_script_flush(self):
        r = self.redis()
        d = self.up(r.address)
        for _ in range(3):
            r('SCRIPT', 'FLUSH', 'SYNC')
            keys = [d.send('script', 'depth', str(now_us())) for _ in range(20)]
            beat = d.send('beat', 'join', 'w/1', 10000000, now_us())
            self.assertEqual({d.wait(k)['e'] for k in keys}, {OK})
            self.assertEqual(d.wait(beat)['status'], 0)
        self.assertFalse([e for e in d.events if e['event'] == 'down'])

    def test_too_many_clients(self):
        r = self.redis()
        r('CONFIG', 'SET', 'maxclients', 1)
        d = self.driver(r.address)
        self.assertDown(d, 'queue_busy', 'closed')
        r('CONFIG', 'SET', 'maxclients', 100)
        d.event('up')

    def test_reply_above_the_cap(self):
        r = self.redis()
        d = self.up(r.address, reply_max=200000)
        d.command('SET', '{q}:big', 'x' * 300000)
        keys = [d.send('command', 'GET', '{q}:big'), d.send('command', 'PING')]
        self.assertEqual([d.wait(k)['e'] for k in keys], [LOST, LOST])
        self.assertDown(d, 'protocol')
        d.event('up')
        d.command('SET', '{q}:big', 'x' * 199000)
        self.assertEqual(len(d.command('GET', '{q}:big')['reply']), 199000)

    def test_write_above_the_cap(self):
        r = self.redis()
        d = self.up(r.address, write_max=600000, timeout_ms=60000)
        self.assertEqual(d.command('SET', '{q}:x', 'x' * 700000)['e'], 'limit')
        r.process.send_signal(signal.SIGSTOP)
        storm = d.send('storm', 1000, 'SET', '{q}:x', 'x' * 10000)
        d.state()
        r.process.send_signal(signal.SIGCONT)
        storm = d.wait(storm)
        self.assertGreater(storm['ok'], 20)
        self.assertGreater(storm['other'], 500)
        self.assertEqual(storm['lost'], 0)
        self.assertWorks(d)

    def test_write_buffer_for_no_script(self):
        self.assertDown(self.driver(self.redis().address, write_max=20000), 'limit')

    def test_asked_to_reconnect(self):
        r = self.redis()
        d = self.up(r.address)
        r.process.send_signal(signal.SIGSTOP)
        key = d.send('command', 'PING')
        d.wait_outstanding(1)
        d.order('reconnect')
        self.assertEqual(d.wait(key)['e'], LOST)
        self.assertDown(d, 'queue_busy')
        r.process.send_signal(signal.SIGCONT)
        d.event('up')


class Impostor(Case):
    """Servers that are no Redis."""

    def serve(self, *answers, close=False):
        """Answers each connection with the next text after it sent something; None: nothing."""
        directory = tempfile.mkdtemp(prefix='queue-client-')
        path = os.path.join(directory, 's')
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(16)
        kept = []

        def run():
            for text in answers:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                kept.append(peer)
                if text is not None:
                    peer.recv(65536)
                    peer.sendall(text)
                if close:
                    peer.close()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def stop():
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()
            for peer in kept:
                peer.close()
            shutil.rmtree(directory)
        self.addCleanup(stop)
        return 'unix:' + path

    def test_silent(self):
        address = self.serve(None, None)
        self.assertDown(self.driver(address, timeout_ms=100), 'timeout')
        self.assertDown(self.driver(address, timeout_ms=100, tls=True, no_verify=True), 'timeout')

    def test_garbage(self):
        address = self.serve(b'HTTP/1.1 400 Bad Request\r\n\r\n', b'*99999999\r\n', b'$3\r\nabcdef', b'%1\r\n+a\r\n+b\r\n')
        d = self.driver(address)
        for _ in range(4):
            self.assertDown(d, 'protocol')

    def setting_up(self, sha, info=b'maxmemory_policy:noeviction\r\n', config=b'*0\r\n'):
        """What a server answers until the client is up."""
        info = b'redis_version:7.0.0\r\n' + info
        scripts = len([x for x in os.listdir(LUA) if x.endswith('.lua') and x not in ('lib.lua', 'fsck_subs.lua')])
        return b'$%d\r\n%s\r\n' % (len(info), info) + config + (b'$%d\r\n%s\r\n' % (len(sha), sha)) * scripts

    def test_policy_by_config_alone(self):
        good, bad = (b'*2\r\n$16\r\nmaxmemory-policy\r\n$%d\r\n%s\r\n' % (len(x), x)
                     for x in (b'noeviction', b'volatile-ttl'))
        sha = b'a' * 40
        d = self.driver(self.serve(self.setting_up(sha, b'', bad), self.setting_up(sha, b'', b'*0\r\n'),
                                   self.setting_up(sha, b'', good)))
        self.assertDown(d, 'queue_policy')
        self.assertDown(d, 'queue_policy')  # nobody says
        d.event('up')

    def test_more_answers_than_questions(self):
        ready = self.setting_up(b'a' * 40)
        d = self.driver(self.serve(ready + b'+more\r\n', ready + b'-ERR max number of clients reached\r\n'))
        for why in 'protocol', 'queue_busy':
            d.event('up')
            self.assertDown(d, why)

    def test_no_sha(self):
        self.assertDown(self.driver(self.serve(self.setting_up(b'a' * 39))), 'protocol')

    def test_closes_in_the_handshake(self):
        address = self.serve(b'', close=True)
        e = self.assertDown(self.driver(address, tls=True, no_verify=True), 'tls')
        self.assertIn('handshake', e['detail'])

    def test_does_not_accept(self):
        """A backlog that is full: the connection hangs, and is given up."""
        with socket.socket() as server:
            server.bind(('127.0.0.1', 0))
            server.listen(0)
            others = [socket.socket() for _ in range(4)]
            for s in others:
                s.setblocking(False)
                s.connect_ex(server.getsockname())
            address = 'tcp:127.0.0.1:%d' % server.getsockname()[1]
            self.assertDown(self.driver(address, timeout_ms=100), 'timeout')
            self.assertEqual(self.driver(address, timeout_ms=60000).close(), (0, ''))  # closes while it dials
            for s in others:
                s.close()

    def test_old_version(self):
        info = b'redis_version:6.0.16\r\nmaxmemory_policy:noeviction\r\n'
        e = self.assertDown(self.driver(self.serve(b'$%d\r\n%s\r\n' % (len(info), info))), 'config')
        self.assertIn('6.2', e['detail'])

    def test_unasked_error(self):
        self.assertDown(self.driver(self.serve(b'-DENIED Redis is running in protected mode\r\n')), 'queue_denied')

    def test_no_tls_there(self):
        address = self.serve(b'-ERR no\r\n')
        self.assertDown(self.driver(address, tls=True, no_verify=True), 'tls')


if __name__ == '__main__':
    unittest.main()
