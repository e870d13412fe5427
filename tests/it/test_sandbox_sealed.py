#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The two filters of a worker whose keys come sealed: the first stands before anything is read from outside, the second
when the keys are there. In both phases the worker makes calls that it does not need (traced.py), and dies of them.
CWC_LONG=1: in the second phase of each of them, not of a choice."""
import os
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_sandbox  # noqa: E402
import traced  # noqa: E402
from ring_case import RingCase, letters, wait_until  # noqa: E402

LONG = bool(os.environ.get('CWC_LONG'))
AT_FDCWD = -100
O_WRONLY, O_RDWR, O_CREAT = 1, 2, 0o100
AF_NETLINK, AF_PACKET, AF_VSOCK = 16, 17, 40
SET_DUMPABLE, TRACEME = 4, 0
UNIX = struct.pack('H', socket.AF_UNIX)


def refused(path):
    """Calls that kill in both phases. `path`: a file that must stay as it is."""
    return {
        'a program': ('execve', b'/bin/true\0', 0, 0),
        'a program at a descriptor': ('execveat', AT_FDCWD, b'/bin/true\0', 0, 0, 0),
        'another process': ('fork',),
        'a file to write': ('openat', AT_FDCWD, path, O_WRONLY),
        'a file to read and write': ('open', path, O_RDWR),
        'a new file': ('openat', AT_FDCWD, path[:-1] + b'.new\0', O_WRONLY | O_CREAT, 0o600),
        'another name': ('rename', path, path[:-1] + b'.old\0'),
        'a datagram socket': ('socket', socket.AF_INET, socket.SOCK_DGRAM, 0),
        'a raw socket': ('socket', socket.AF_INET, socket.SOCK_RAW, 1),
        'a netlink socket': ('socket', AF_NETLINK, socket.SOCK_RAW, 0),
        'a packet socket': ('socket', AF_PACKET, socket.SOCK_RAW, 0),
        'a vsock socket': ('socket', AF_VSOCK, socket.SOCK_STREAM, 0),
        'a socket of unix packets': ('socket', socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
        'to be traced': ('ptrace', TRACEME),
        'memory of another': ('process_vm_readv', 1, 0, 0, 0, 0),
        'to be dumped': ('prctl', SET_DUMPABLE, 1),
        'a mode that others may read': ('chmod', path, 0o644),
    }


def served():
    """Calls that the first filter allows to make the engine, and the second does not."""
    return {
        'an address': ('bind', -1, UNIX, 2),
        'to listen': ('listen', -1, 1),
        'a directory': ('mkdir', b'/nonexistent/x\0', 0o700),
        'a mode': ('chmod', b'/nonexistent/x\0', 0o600),
        'a pair': ('socketpair', socket.AF_UNIX, socket.SOCK_STREAM, 0, 0),
        'a filter': ('seccomp', 1, 0, 0),
    }


class Phases(RingCase):
    def setUp(self):
        traced.need_tracing()
        if test_sandbox.instrumented():
            self.skipTest('a build with the sanitizers is not confined')

    def filters(self, worker):
        """How many filters each thread is under. None has a capability, nor has that of the device, which is first."""
        found = set()
        for task in os.listdir('/proc/%d/task' % worker.pid):
            s = test_sandbox.status(worker.pid, task)
            self.assertEqual((s['Seccomp'], s['NoNewPrivs']), ('2', '1'))
            self.assertEqual(test_sandbox.capabilities(s), {0}, task)
            found.add(s['Seccomp_filters'])
        return found

    def killed(self, start, calls, wanted):
        """Each call by a worker of its own."""
        for n, (name, call) in enumerate(calls.items()):
            with self.subTest(name):
                worker = start('k%d' % n)
                self.assertEqual(self.filters(worker), wanted)
                self.assertEqual(traced.call(worker.pid, 'getpid'), worker.pid)  # it can be made to call
                self.assertEqual(traced.call(worker.pid, *call), 'SIGSYS')
        self.assertEqual(self.untouched(), (b'as it is', ['untouched']))

    def untouched(self):
        with open(self.stack.operator('untouched'), 'rb') as f:
            return f.read(), [name for name in os.listdir(self.stack.path('operator')) if 'untouched' in name]

    def path(self):
        return self.stack.write('untouched', 'as it is', 0o666).encode() + b'\0'


    def test_before_the_keys(self):
        """The store is empty: the worker waits for its keys, with its status port and the store to read from."""
        stack = self.start()
        self.killed(lambda name: stack.start_worker(name, ready=False), refused(self.path()), {'1'})
        # Of what the engine will need it gets an error of the kernel's own, by arguments that are of no use.
        worker = stack.start_worker(ready=False)
        for name, call in served().items():
            with self.subTest(name):
                self.assertLess(traced.call(worker.pid, *call), 0)
        stack.first_keys(worker)
        worker.wait_event('ready')

    def test_with_the_keys(self):
        """While KMS is asked for them still the first, then the second filter on top of it."""
        stack = self.start()
        maker = stack.start_worker('maker', ready=False)
        stack.first_keys(maker)
        maker.wait_event('ready')
        self.while_kms_is_asked()
        few = ('a program', 'another process', 'a file to write', 'a new file', 'a raw socket', 'a netlink socket')
        calls = {**{k: v for k, v in refused(self.path()).items() if LONG or k in few}, **served()}
        self.killed(stack.start_worker, calls, {'2'})
        # The one that was not touched has served all the while.
        self.assertEqual(self.filters(maker), {'2'})
        stack.ring = stack.newest_keys()
        stack.submit(letters.base('after'))
        stack.wait_results(1)

    def while_kms_is_asked(self):
        """In each of its threads, the one that waits for KMS among them."""
        n, tasks = 0, [None]
        while n < len(tasks):
            worker = self.asking('t%d' % n)
            self.assertEqual(self.filters(worker), {'1'})
            tasks = sorted(map(int, os.listdir('/proc/%d/task' % worker.pid)))
            self.assertEqual(tasks[0], worker.pid)
            self.assertEqual(traced.call(tasks[n], 'getpid'), worker.pid)
            self.assertEqual(traced.call(tasks[n], *refused(b'/nonexistent\0')['a program']), 'SIGSYS')
            n += 1
        self.assertGreater(n, 4)  # the loop's, the pool's, the attestor's

    def asking(self, name):
        """One that waits for the answer of KMS."""
        stack = self.stack
        stack.kms.fault(action='stall', count=1)
        before = len(stack.kms.records())
        worker = stack.start_worker(name, ready=False)
        wait_until(lambda: len(stack.kms.records()) > before, what='a call to KMS')
        self.assertEqual(stack.kms.records()[-1]['fault'], 'stall')
        return worker


if __name__ == '__main__':
    unittest.main()
