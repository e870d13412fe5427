#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make run`: it says what is simulated, proves its receipts, ends with 0, and does not where one is not good."""
import contextlib
import importlib.util
import io
import os
import re
import sys
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import stack as stacks  # noqa: E402

SPEC = importlib.util.spec_from_file_location('demo', os.path.join(HERE, '..', 'demo', 'run.py'))
demo = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(demo)


class Terminal(io.StringIO):
    """What print() says, and, in its place, what programs write to standard output."""

    def __init__(self):
        super().__init__()
        self.run = demo.subprocess.run

    def program(self, *words, **options):
        if 'stdout' in options:
            return self.run(*words, **options)
        p = self.run(*words, stdout=demo.subprocess.PIPE, **options)
        self.write(p.stdout.decode())
        return p


@unittest.skipUnless(os.path.exists(stacks.DEV_PROGRAM), 'there is no development build')
class Demo(unittest.TestCase):
    def show(self, *words):
        """(status, what a stranger sees)"""
        said = Terminal()
        with unittest.mock.patch.object(sys, 'argv', ['run.py', *words]), contextlib.redirect_stdout(said), \
                unittest.mock.patch.object(demo.subprocess, 'run', said.program):
            return demo.main(), said.getvalue()

    def test_all_is_proved(self):
        status, said = self.show('--letters', '6')
        self.assertEqual(status, 0, said)
        n = int(re.search(r'(\d+) results, ', said.split('settled')[-1]).group(1))
        self.assertRegex(said, r'(?m)^%d +good +- +proved' % n)
        self.assertIn('SIMULATED: 0 of %d not good; 1 boot, ' % n, said)
        self.assertIn('The documents are SIMULATED', said)
        self.assertTrue(said.rstrip().endswith('all as expected'), said)

    def spoil(self, name, change):
        """The status, and what is said, when a file for the proof was altered."""
        export = demo.export

        def altered(stack):
            export(stack)
            with open(stack.path(name), encoding='utf-8') as f:
                text = f.read()
            with open(stack.path(name), 'w', encoding='utf-8') as f:
                f.write(change(text))
        with unittest.mock.patch.object(demo, 'export', altered):
            return self.show('--letters', '2')

    def test_what_is_not_proved_is_said(self):
        for name, change in (('results.jsonl', lambda t: t.replace('letter_invalid', 'accepted')),
                             ('releases.txt', lambda t: re.sub('(pcr0 )..', r'\g<1>ff', t))):
            with self.subTest(name):
                status, said = self.spoil(name, change)
                self.assertEqual(status, 1, said)
                self.assertIn('WRONG: receipts that are not good', said)
                self.assertIn('NOT AS EXPECTED', said)


if __name__ == '__main__':
    unittest.main()
