#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured come out the same, byte by byte, whoever builds them where: beside what this tree has
built, a second build from nothing in a directory of another name and length, under another user's surroundings."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import ROOT  # noqa: E402

PROGRAMS = os.environ.get('REPRODUCE', 'cwc-worker cwc-init').split()
FOLDERS = ('worker', 'attest', 'queue', 'cwc', 'config', 'ops')


def digest(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def make(at, env=None, **more):
    targets = ['build/release/' + p for p in PROGRAMS]
    subprocess.run(['make', '-s', *targets], cwd=at, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=280,
                   env=env, **more)
    return {p: digest(os.path.join(at, 'build', 'release', p)) for p in PROGRAMS}


class Reproducible(unittest.TestCase):
    def test_two_directories(self):
        top = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, top)
        other = os.path.join(top, 'a-much-longer-name-of-a-directory', 'and-one-below')
        os.makedirs(other)
        # In another order, and with the times of now.
        for name in sorted(FOLDERS, reverse=True):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(other, name), copy_function=shutil.copyfile,
                            ignore=shutil.ignore_patterns('*.pyc', '__pycache__'))
            for folder, _, files in os.walk(os.path.join(ROOT, name)):
                for f in files:
                    at = os.path.join(folder, f)
                    shutil.copymode(at, os.path.join(other, os.path.relpath(at, ROOT)))
        shutil.copy(os.path.join(ROOT, 'Makefile'), other)
        env = {'PATH': '/usr/bin:/bin', 'HOME': top, 'TZ': 'Pacific/Kiritimati', 'LC_ALL': 'C.UTF-8', 'USER': 'somebody'}
        second = make(other, env, umask=0o077)
        first = make(ROOT)
        self.assertEqual(second, first)
        for p in PROGRAMS:
            with open(os.path.join(other, 'build', 'release', p), 'rb') as f:
                self.assertNotIn(other.encode(), f.read())


if __name__ == '__main__':
    unittest.main()
