# SPDX-License-Identifier: Apache-2.0
"""A program under a pseudo terminal: what it shows, and what a person types."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time


class Terminal:
    def __init__(self, command, columns=80, rows=24):
        self.master, slave = pty.openpty()
        self.columns = columns
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # so that ^C is a signal
        self.slave, self.shown = slave, ''

    def read(self, timeout=0.05):
        while select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # nobody has the other side any more
                break
            if not data:
                break
            self.shown += data.decode('utf-8', 'replace').replace('\r\n', '\n')
            timeout = 0.01

    def wait(self, text, seconds=20):
        """Until this is shown, behind what was waited for before; returns all up to its end."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end:
                raise TimeoutError('no %r in %r' % (text, self.shown[-3000:]))
            self.read()
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def end(self, seconds=20):
        """Its exit status, and all that was left to be shown."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError('it goes on: %r' % self.shown[-2000:])
            self.read()
        self.read()
        return self.process.returncode, self.shown

    def same_modes(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
