# SPDX-License-Identifier: Apache-2.0
"""What the tests of ops/host share: a root in a temporary directory, installed by ops/host/install, and stubs of the
commands that only an instance of AWS has. A stub writes its arguments down; nothing else is on the PATH but plain
tools, so that no test can reach anything real."""
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import ROOT, wait_until  # noqa: E402

HOST = os.path.join(ROOT, 'ops', 'host')
TOOLS = ('sh awk sed cat grep head tail tr wc basename dirname sleep kill mkdir mv cp rm chmod cmp uname env timeout jq '
         'printf sort date touch mktemp cut sha256sum find ls').split()
REGION, REDIS = 'us-west-2', 'cache.internal:6380'


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.bin, self.root, self.calls_path = self.path('bin'), self.path('root'), self.path('calls')
        os.mkdir(self.bin)
        for tool in TOOLS:
            os.symlink(shutil.which(tool, path='/usr/bin:/bin'), os.path.join(self.bin, tool))
        self.env = {'PATH': self.bin, 'LC_ALL': 'C', 'CWC_ROOT': self.root}

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, path, text, mode=0o644):
        path = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb' if isinstance(text, bytes) else 'w') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def stub(self, name, body=''):
        """A command of this name: it writes down its arguments, then does `body`."""
        text = '#!/bin/sh\n{ printf %%s %s; printf " %%s" "$@"; echo; } >>%s\n%s\n' % (name, self.calls_path, body)
        path = os.path.join(self.bin, name)
        if os.path.lexists(path):
            os.unlink(path)
        self.write(path, text, 0o755)

    def calls(self, prefix=''):
        if not os.path.exists(self.calls_path):
            return []
        with open(self.calls_path, encoding='utf-8') as f:
            return [line for line in f.read().splitlines() if line.startswith(prefix)]

    def install(self, *args):
        return subprocess.run([os.path.join(HOST, 'install'), '--root', self.root, '--region', REGION, '--redis', REDIS, *args],
                              capture_output=True, text=True, timeout=60, env=self.env)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding='utf-8') as f:
            return f.read()

    def edit(self, path, old, new):
        text = self.read(path)
        self.assertIn(old, text)
        self.write(os.path.join(self.root, path), text.replace(old, new))

    def start(self, *args, **env):
        p = subprocess.Popen(args, env={**self.env, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)

        def stop():
            try:
                os.killpg(p.pid, 9)
            except ProcessLookupError:
                pass
            p.communicate()

        self.addCleanup(stop)
        return p

    def wait_for(self, what, timeout=20):
        try:
            wait_until(what, timeout)
        except TimeoutError:
            self.fail(self.calls())


def executable(path):
    return bool(os.stat(path).st_mode & stat.S_IXUSR)
