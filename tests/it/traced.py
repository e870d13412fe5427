# SPDX-License-Identifier: Apache-2.0
"""A system call made by another process, as an attacker would who can run code in it: the verdict is its kernel's and its
filters', not a reading of them. x86-64 only."""
import ctypes
import os
import platform
import signal
import unittest

GETREGS, SETREGS, ATTACH, DETACH, SINGLESTEP = 12, 13, 16, 17, 9
WALL = 0x40000000
SYSCALL = b'\x0f\x05'
NUMBERS = {'open': 2, 'socket': 41, 'connect': 42, 'bind': 49, 'listen': 50, 'socketpair': 53, 'clone': 56, 'fork': 57,
           'execve': 59, 'kill': 62, 'chmod': 90, 'mkdir': 83, 'rename': 82, 'ptrace': 101, 'prctl': 157, 'openat': 257,
           'getppid': 110, 'getpid': 39, 'seccomp': 317, 'execveat': 322, 'creat': 85, 'truncate': 76,
           'process_vm_readv': 310}
REGISTERS = ('r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi',
             'orig_rax', 'rip', 'cs', 'eflags', 'rsp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs')


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


def need_tracing():
    if platform.machine() != 'x86_64':
        raise unittest.SkipTest('calls are made for x86-64')


def ptrace(request, pid, data=None):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), 'ptrace %d' % request)


def instruction(pid):
    """Where the process has one that makes a call."""
    with open('/proc/%d/maps' % pid, encoding='utf-8') as f:
        rows = [line.split() for line in f]
    with open('/proc/%d/mem' % pid, 'rb', 0) as mem:
        for row in rows:
            if row[1] == 'r-xp' and 'libc.so' in row[-1]:
                low, high = (int(x, 16) for x in row[0].split('-'))
                mem.seek(low)
                at = mem.read(high - low).find(SYSCALL)
                if at >= 0:
                    return low + at
    raise AssertionError('there is no libc')


def attach(pid):
    try:
        ptrace(ATTACH, pid)
    except PermissionError as e:
        raise unittest.SkipTest('a process cannot be traced here (root may)') from e
    os.waitpid(pid, WALL)


def call(pid, name, *args, text=None):
    """What the kernel answers when the process's main thread makes this call; the name of the signal, when it is killed.
    A `bytes` among args stands for its address on the stack of the process. The process goes on as it was."""
    attach(pid)
    saved = Registers()
    ptrace(GETREGS, pid, ctypes.byref(saved))
    now = Registers.from_buffer_copy(saved)
    now.rip, now.orig_rax, now.rax = instruction(pid), ctypes.c_ulonglong(-1).value, NUMBERS[name]
    below, values = saved.rsp - 4096, []
    with open('/proc/%d/mem' % pid, 'r+b', 0) as mem:
        for value in args:
            if isinstance(value, bytes):
                mem.seek(below)
                mem.write(value)
                values.append(below)
                below -= 512
            else:
                values.append(value)
    for register, value in zip(('rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'), values + [0] * 6):
        setattr(now, register, ctypes.c_ulonglong(value).value)
    ptrace(SETREGS, pid, ctypes.byref(now))
    ptrace(SINGLESTEP, pid)
    _, status = os.waitpid(pid, WALL)
    while os.WIFSTOPPED(status) and os.WSTOPSIG(status) != signal.SIGTRAP:
        ptrace(SINGLESTEP, pid)  # another signal came first, and is dropped
        _, status = os.waitpid(pid, WALL)
    if not os.WIFSTOPPED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    ptrace(GETREGS, pid, ctypes.byref(now))
    ptrace(SETREGS, pid, ctypes.byref(saved))
    ptrace(DETACH, pid)
    return ctypes.c_longlong(now.rax).value
