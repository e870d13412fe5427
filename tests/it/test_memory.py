#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the worker's memory holds, read whole and from outside: no letter that is over, whatever became of it, no key of
an envelope, and the lasting secrets in guarded memory alone. Pages that the process itself cannot read are read too,
so that this is stronger than what a bug in the process could find.

Guarded memory is what libsodium made: locked and kept out of core dumps. The kernel says so of a mapping by the flag dd.
"""
import os
import signal
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import formats  # noqa: E402
import gate as gates  # noqa: E402
import stack as stacks  # noqa: E402
import test_secrets  # noqa: E402
from stack import letters, wait_until  # noqa: E402

PAGE = os.sysconf('SC_PAGESIZE')
# clamping (RFC 7748) changes the first and the last byte of a private key
WHOLE = slice(1, -1)


class Mapping:
    def __init__(self, row, flags):
        self.low, self.high = (int(x, 16) for x in row[0].split('-'))
        self.rights, self.name = row[1], row[5].strip() if len(row) > 5 else 'anonymous'
        self.guarded = 'dd' in flags

    def __repr__(self):
        return '%s %s %x%s' % (self.name, self.rights, self.low, ' guarded' if self.guarded else '')


def mappings(pid):
    found, row = [], None
    with open('/proc/%d/smaps' % pid, encoding='utf-8') as f:
        for line in f:
            if line.startswith('VmFlags:'):
                found.append(Mapping(row, line.split()[1:]))
            elif line[0] in '0123456789abcdef':
                row = line.split(None, 5)
    return found


def present(pagemap, m):
    """The runs of pages of a mapping that exist, in memory or swapped out."""
    pagemap.seek(m.low // PAGE * 8)
    raw = pagemap.read((m.high - m.low) // PAGE * 8)
    start = None
    for i, (entry,) in enumerate([*struct.iter_unpack('<Q', raw), (0,)]):
        if entry >> 62 and start is None:
            start = m.low + i * PAGE
        elif not entry >> 62 and start is not None:
            yield start, m.low + i * PAGE
            start = None


def memory(pid):
    """(mapping, bytes) of all pages that the process has, whatever their rights."""
    with open('/proc/%d/mem' % pid, 'rb', 0) as mem, open('/proc/%d/pagemap' % pid, 'rb', 0) as pagemap:
        for m in mappings(pid):
            if m.name in ('[vvar]', '[vsyscall]', '[vvar_vclock]'):
                continue
            for low, high in present(pagemap, m):
                data = b''
                mem.seek(low)
                while len(data) < high - low:
                    data += mem.read(high - low - len(data))
                yield m, data


def need_access(pid):
    try:
        with open('/proc/%d/mem' % pid, 'rb', 0), open('/proc/%d/pagemap' % pid, 'rb', 0) as f:
            f.seek(mappings(pid)[0].low // PAGE * 8)
            f.read(8)
    except OSError as e:
        raise unittest.SkipTest('the memory of a process cannot be read here (root may): %s' % e)
    with open('/proc/%d/maps' % pid, encoding='utf-8') as f:
        if 'libasan' in f.read():
            raise unittest.SkipTest('the sanitizer keeps what was freed')


def places(pid, wanted):
    """{ what: [mapping, ...] } of each place where one of { bytes: what } lies."""
    found = {}
    for m, data in memory(pid):
        for value, what in wanted.items():
            found.setdefault(what, []).extend([m] * data.count(value))
    return found


class Keys:
    """Notes every secret with which the app server seals."""

    def __init__(self):
        self.of = {}
        self.real = {name: getattr(formats, name) for name in ('x25519', 'letter_key', 'witness_key')}

    def __enter__(self):
        formats.x25519 = self.noting('x25519', 'shared secret')
        formats.letter_key = self.noting('letter_key', 'letter key')
        formats.witness_key = self.noting('witness_key', 'witness key')
        return self

    def __exit__(self, *_error):
        for name, function in self.real.items():
            setattr(formats, name, function)

    def noting(self, name, what):
        def noted(*args):
            made = self.real[name](*args)
            key = made[0] if isinstance(made, tuple) else made
            self.of[key] = what
            return made
        return noted


class AfterAll(unittest.TestCase):
    """The batch of test_secrets.py, which takes every way that a letter can take, is over; the worker goes on."""

    @classmethod
    def setUpClass(cls):
        cls.batch = batch = test_secrets.Batch
        with Keys() as keys:
            try:
                batch.setUpClass()
            finally:
                cls.addClassCleanup(batch.doClassCleanups)
        cls.keys, cls.pid, cls.stack = keys.of, batch.worker.pid, batch.stack
        need_access(cls.pid)

    def test_no_letter(self):
        seen, known = 0, self.batch.personal
        for m, data in memory(self.pid):
            seen += len(data)
            self.assertEqual(known.hits(data), [], m)
        self.assertGreater(seen, 1 << 20)

    def test_no_key_of_an_envelope(self):
        self.assertGreater(len(self.keys), 50)
        self.assertEqual(places(self.pid, self.keys), {what: [] for what in self.keys.values()})

    def only_guarded(self, what, wanted, rights):
        found = places(self.pid, {value: what for value in wanted})[what]
        self.assertTrue(found, '%s: not found at all' % what)
        self.assertEqual([m for m in found if not m.guarded or m.rights != rights], [], what)
        return found

    def test_ring_keys(self):
        """One copy each, out of reach of the process itself."""
        for profile, secret in self.stack.ring_secret.items():
            self.assertEqual(len(self.only_guarded('ring key ' + profile, [secret[WHOLE]], '---p')), 1)
            text = secret.hex().encode()
            self.assertEqual(places(self.pid, {text: 'hex', text.upper(): 'hex'}), {'hex': []})

    def test_api_key(self):
        self.only_guarded('API key', [self.stack.sim.key.encode()], 'rw-p')

    def test_password(self):
        self.only_guarded('password of Redis', [self.batch.password.encode()], 'rw-p')


class OneLetter(unittest.TestCase):
    """One letter that is stopped somewhere; what is there while it is, and right after."""

    def start(self, **options):
        self.stack = stacks.Stack(**{'lease': '3s', 'chamber': {'total_timeout': '20s', 'first_byte_timeout': '20s'},
                                     **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.worker = self.stack.start_worker()
        need_access(self.worker.pid)
        self.markers = test_secrets.Markers()

    def send(self, profile='letter', sid='one', code=letters.HOUSE, **fault):
        if fault:
            self.stack.sim.fault(office=code, **fault)
        self.stack.submit(getattr(self.markers, profile)(sid, code))

    def found(self):
        """{ marker: [mapping, ...] } of those that are there."""
        wanted = {value.encode(): value for value in self.markers.of}
        return {what: found for what, found in places(self.worker.pid, wanted).items() if found}

    def stalled(self, profile, **options):
        self.start(**options)
        self.send(profile, action='stall')
        wait_until(lambda: self.stack.sim.stats()['stats']['house']['in_flight'] == 1, what='a letter in flight')

    def test_in_flight(self):
        """Also proves that the search finds what is there. Each field is there twice, in our buffer and libcurl's."""
        for profile in ('letter', 'witness'):
            with self.subTest(profile):
                self.stalled(profile)
                found = self.found()
                self.assertTrue(any('Address1' in self.markers.of[value] for value in found), found)
                for value, where in found.items():
                    self.assertLessEqual(len(where), 2, (self.markers.of[value], where))
                    self.assertEqual({m.name for m in where} - {'[heap]', 'anonymous'}, set())
                self.stack.close()

    def test_timed_out(self):
        self.stalled('letter', chamber={'total_timeout': '2s', 'first_byte_timeout': '1s', 'connect_timeout': '1s'})
        self.worker.wait_event('letter_ended')
        self.assertEqual(self.found(), {})

    def test_cut_off_by_a_drain(self):
        """Redis stands still, so that the worker cannot end before it was looked at."""
        self.stalled('witness', worker={'drain_timeout': '1s'})
        self.stack.redis_server.send_signal(signal.SIGSTOP)
        try:
            self.worker.kill(signal.SIGTERM)
            sent = self.worker.wait_event('letter_sent')
            found, alive = self.found(), self.worker.process.poll()
        finally:
            self.stack.redis_server.send_signal(signal.SIGCONT)
        self.assertEqual(sent['fate'], 'cancelled')
        self.assertIsNone(alive)
        self.assertEqual(found, {})

    def test_connection_dies(self):
        self.start()
        self.send(action='reset_mid_body', count=1)
        self.worker.wait_event('letter_sent')
        self.assertEqual(self.found(), {})

    def test_never_begun(self):
        """The letter is rendered and asks to begin when Redis dies: it is forgotten, another worker may have it."""
        stack = self.stack = stacks.Stack(lease='3s')
        self.addCleanup(stack.close)
        stack.start()
        gate = gates.Gate(stack.redis_path, stack.path('gate.sock'))
        self.addCleanup(gate.close)
        stack.dialled = gate.path
        self.worker = stack.start_worker()
        need_access(self.worker.pid)
        self.markers = test_secrets.Markers()
        seen = []
        gate.at('begin', lambda: (seen.append(self.found()), stack.kill_redis()))
        self.send()
        self.worker.wait_event('queue_down')
        wait_until(lambda: not self.found(), what='a letter that is forgotten')
        self.assertTrue(any('Address1' in self.markers.of[value] for value in seen[0]), seen)


if __name__ == '__main__':
    unittest.main()
