#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Before many letters are acted on: they are counted, and whoever sits there is asked; and what stands in `audit` of it."""
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, NO, OK, USAGE, rq  # noqa: E402
from people_case import Case  # noqa: E402
from terminal import Terminal  # noqa: E402


class Confirm(Case):
    def setUp(self):
        super().setUp()
        self.several()

    def at_terminal(self, *command):
        t = Terminal([CTL, *command, *self.redis])
        self.addCleanup(t.close)
        return t

    def dead(self):
        return self.r('XLEN', '{q}:dead')

    def test_asked(self):
        for answer, code, left in (('n\n', NO, 5), ('\n', NO, 5), ('yes please\n', NO, 5), ('y\n', OK, 2)):
            t = self.at_terminal('dead', 'replay', '--office', 'HNE03,SNE02')
            t.wait('3 letters would be replayed. Go on? [y/N] ')
            t.type(answer)
            got, shown = t.end()
            self.assertEqual((got, self.dead()), (code, left), shown)
            self.assertIn('nothing was done' if code == NO else '3 replayed', shown)
        self.assertEqual(self.ctl('dead', 'list', '--json').json[0]['sid'], 'crash')

    def test_interrupted(self):
        t = self.at_terminal('dead', 'drop', '--all')
        t.wait('[y/N] ')
        t.type('\x03')
        self.assertEqual(t.end()[0], NO)
        self.assertEqual((self.dead(), self.r('XLEN', '{q}:audit')), (5, 0))

    def test_not_asked(self):
        """With --yes, when letters are named, and when nothing matches."""
        t = self.at_terminal('dead', 'replay', 'new', 'HNE03')
        self.assertEqual(t.end()[0], OK)
        t = self.at_terminal('dead', 'drop', '--office', 'HNE02')
        code, shown = t.end()
        self.assertEqual((code, 'Go on?' in shown), (NO, False))
        t = self.at_terminal('dead', 'drop', '--all', '--yes')
        code, shown = t.end()
        self.assertEqual((code, 'Go on?' in shown, self.dead()), (OK, False, 0))

    def test_without_a_terminal(self):
        for command in (('dead', 'replay', '--all'), ('dead', 'drop', '--chamber', 'house'),
                        ('unknown', 'resolve', 'drop', '--all')):
            self.assertIn('give --yes or --count-check N', self.ctl(*command, code=USAGE).err)
        self.assertIn('can be read only once', self.ctl('dead', 'drop', '--ids', '-', '--count-check', '1', stdin='new HNE03\n',
                                                        code=USAGE).err)
        self.assertEqual((self.dead(), self.r('XLEN', '{q}:audit')), (5, 0))

    def test_count_check(self):
        r = self.ctl('dead', 'drop', '--chamber', 'house', '--count-check', '5', code=NO)
        self.assertIn('4 match, not 5: nothing was done', r.err)
        self.assertEqual(self.dead(), 5)
        self.assertIn('4 dropped', self.ctl('dead', 'drop', '--chamber', 'house', '--count-check', '4').out)
        path = self.write('ids', 'senate SNE02\nabsent HNE03\n')
        self.assertIn('1 match, not 2', self.ctl('dead', 'drop', '--ids', path, '--count-check', '2', code=NO).err)
        self.assertIn('1 dropped', self.ctl('dead', 'drop', '--ids', path, '--count-check', '1', code=NO).out)

    def test_what_dies_meanwhile_is_not_met(self):
        t = self.at_terminal('dead', 'drop', '--all')
        t.wait('5 letters would be dropped. Go on? [y/N] ')
        self.die('late')
        t.type('y\n')
        code, shown = t.end()
        self.assertEqual((code, [r['sid'] for r in self.ctl('dead', 'list', '--json').json]), (OK, ['late']), shown)

    def test_http(self):
        self.assertEqual(self.listed('--http', '500'), ['senate'])
        self.assertEqual(self.listed('--http', '500,0'), ['crash', 'senate'])
        self.ctl('dead', 'list', '--http', 'x', code=USAGE)
        self.doubt('u')
        self.assertEqual(self.listed('--http', '0', command=('unknown', 'list')), ['u'])

    # --- the audit trail

    def audit(self):
        return rq.stream(self.r, 'audit')

    def test_who(self):
        """On whose behalf: before what nobody can choose."""
        host = socket.gethostname()[:20]
        for command in (('dead', 'replay', 'new', 'HNE03'), ('dead', 'drop', '--sid', 'old', '--yes'), ('resume', 'house'),
                        ('pause', 'HNE03', '--for', '1h', '--reason', 'r'), ('cancel', 'new'), ('workers', 'drain', 'w1'),
                        ('results', 'trim', '--older', '1h'), ('fsck', '--mend')):
            self.ctl(*command, '--who', 'al ice/1')
        self.assertGreater(len(self.audit()), 6)
        for entry in self.audit():
            self.assertRegex(entry['who'], r'^al_ice_1:[^:@]+@%s' % host[:10])
        self.assertTrue(all(len(a['who']) < 64 for a in self.audit()))

    def test_note(self):
        """Which letters were meant and what came of it, behind the acts."""
        self.ctl('dead', 'replay', '--chamber', 'house', '--newer', '3d', '--yes')
        *acts, note = self.audit()
        self.assertEqual([a['verb'] for a in acts], ['replay'] * 3)
        self.assertEqual((note['verb'], note['a'], note['b']), ('note', 'dead replay', '3 done, 0 passed over, 0 failed'))
        self.assertEqual(note['c'], ' --chamber house --newer 3d')
        self.ctl('dead', 'drop', '--all', '--dry-run')
        self.ctl('dead', 'replay', 'old', 'HNE03')
        self.assertEqual(len([a for a in self.audit() if a['verb'] == 'note']), 1)
        self.assertIn('dead replay 3 done, 0 passed over, 0 failed  --chamber house --newer 3d', self.ctl('audit', 'list').out)

    def test_summary(self):
        self.ctl('dead', 'replay', '--all', '--yes')
        self.ctl('pause', 'house', '--for', '1h', '--reason', 'r', '--who', 'bob')
        rows = {(r['who'].split(':')[0].split('@')[0] == 'bob', r['verb']): r['times'] for r in
                self.ctl('audit', 'summary', '--json').json}
        self.assertEqual(rows, {(False, 'replay'): 5, (False, 'note'): 1, (True, 'hold'): 1})
        self.assertRegex(self.ctl('audit', 'summary').out, r'replay +5 +20')
        self.assertEqual(len(self.ctl('audit', 'summary', '--count', '1', '--json').json), 1)
        self.r('DEL', '{q}:audit')
        self.assertEqual(self.ctl('audit', 'summary').out, 'nothing was done\n')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
