#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl with everything there is: Redis, workers, simulated chambers. What it seals is sent, what it holds is not."""
import base64
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import BUILD, CTL, KID, NO, PUBLIC, WITNESS, Case, letter, lines  # noqa: E402
from stack import Stack, wait_until  # noqa: E402

DER_HEAD = bytes.fromhex('302e020100300506032b657004220420')


class EndToEnd(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack = Stack(jobs={'attempts': 1, 'backoff_base': '1ms'})
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        cls.stack.start_worker()
        cls.redis = ('--redis', 'unix:' + cls.stack.redis_path)
        pem = base64.b64encode(DER_HEAD + cls.stack.app.seed).decode()
        path = cls.write('stack.pem', '-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n' % pem, 0o600)
        cls.sealing = ['--signer', path, '--kid', KID]

    def state(self, sid, office):
        return self.stack.job(sid, office).get('state')

    def wait_state(self, sid, office, state):
        wait_until(lambda: self.state(sid, office) == state, what='%s %s %s' % (sid, office, state))

    def test_letters_are_sent(self):
        newest = self.stack.redis('XREVRANGE', self.stack.key('results'), '+', '-', 'COUNT', 1)
        self.ctl('enqueue', '-', *self.sealing, stdin=lines(
            letter('both', ['HNE03', 'SNE02']), letter('witness', profile='witness', letter=WITNESS,
                                                       fields={**PUBLIC, 'Prefix': 'Ms.'})))
        rows = self.ctl('results', '--follow', '--count', '3', '--verify', '--json', '--from',
                        newest[0][0] if newest else '0').lines
        self.assertEqual(sorted((r['sid'], r['office'], r['outcome'], r['verified']) for r in rows),
                         [('both', 'HNE03', 'accepted', 'ok'), ('both', 'SNE02', 'accepted', 'ok'),
                          ('witness', 'HNE03', 'accepted', 'ok')])
        for sid in ('both', 'witness'):
            self.assertEqual(self.ctl('status', sid, '--json').json['rollup'], 'delivered')
        sent = self.stack.sim.records(accepted=True)
        for row in rows:
            self.assertEqual(sum(r['delivery_id'] == row['delivery_id'] for r in sent), 1)

    def test_hold_and_resume(self):
        self.ctl('hold', 'HNE02', '--for', '1h', '--reason', 'a test')
        self.ctl('enqueue', '-', *self.sealing, stdin=lines(letter('held', ['HNE01', 'HNE02'])))
        self.wait_state('held', 'HNE01', 'accepted')
        self.assertEqual(self.state('held', 'HNE02'), 'wait')
        row, = [r for r in self.ctl('offices', 'house', '--json').json['offices'] if r['office'] == 'HNE02']
        self.assertEqual((row['listed'], row['waiting'], row['hold']['reason']), (True, 1, 'a test'))
        self.ctl('resume', 'HNE02')
        self.wait_state('held', 'HNE02', 'accepted')

    def test_cancelled_while_held(self):
        self.ctl('hold', 'SNE02', '--for', '1h', '--reason', 'a test')
        self.ctl('enqueue', '-', *self.sealing, stdin=lines(letter('away', ['SNE02'])))
        self.wait_state('away', 'SNE02', 'wait')
        self.ctl('cancel', 'away')
        self.wait_state('away', 'SNE02', 'cancelled')
        self.ctl('resume', 'SNE02')
        self.assertEqual(self.ctl('cancel', 'away', 'SNE02', code=NO).out.count('too late'), 1)

    def test_dead_letter_is_replayed(self):
        self.stack.sim.close_idle()
        self.stack.sim.fault(action='tls_refuse', chamber='house')
        self.addCleanup(self.stack.sim.clear_faults)
        self.ctl('enqueue', '-', *self.sealing, stdin=lines(letter('dies')))
        self.wait_state('dies', 'HNE03', 'dead')
        self.assertEqual([r['sid'] for r in self.ctl('dead', 'list', '--json').json], ['dies'])
        self.assertEqual(self.ctl('dead', 'show', 'dies', 'HNE03', '--json').json['attempt'], 1)
        self.stack.sim.clear_faults()
        self.ctl('dead', 'replay', '--yes', '--all')
        self.wait_state('dies', 'HNE03', 'accepted')
        self.assertEqual(self.ctl('dead', 'list', '--json').json, [])
        row = self.ctl('status', 'dies', '--office', 'HNE03', '--json').json
        self.assertEqual([a['outcome'] for a in row['history']][-1], 'accepted')

    def test_unknown_fate_is_resolved(self):
        """The House took it and answered 500: the list has what the House knows it by."""
        self.stack.sim.fault(action='accept_then_500', chamber='house', count=1)
        self.addCleanup(self.stack.sim.clear_faults)
        self.ctl('enqueue', '-', *self.sealing, stdin=lines(letter('doubt', ['HNE01'])))
        self.wait_state('doubt', 'HNE01', 'unknown')
        row, = self.ctl('unknown', 'list', '--json').json
        sent, = [r for r in self.stack.sim.records(accepted=True) if r['delivery_id'] == row['delivery_id']]
        self.assertEqual((row['sid'], row['http_status'], len(row['unknown_posts']), len(row['posts_begun'])),
                         ('doubt', 500, 1, 1))
        self.assertIn(row['unknown_posts'][0]['worker'], [w['worker'] for w in self.ctl('workers', '--json').json])
        self.ctl('dead', 'replay', '--yes', '--all')
        self.assertEqual(self.state('doubt', 'HNE01'), 'unknown')
        self.ctl('unknown', 'resolve', 'accepted', '--yes', '--ids', '-', stdin='doubt HNE01\n')
        self.wait_state('doubt', 'HNE01', 'accepted')
        self.assertEqual(self.ctl('unknown', 'list', '--json').json, [])

    def test_what_workers_show(self):
        keys = self.ctl('keys', '--json').json
        self.assertEqual({k['kid'] for k in keys[-1]['keys']}, {k.kid for k in self.stack.ring.values()})
        workers = self.ctl('workers', '--json').json
        self.assertEqual([w['alive'] for w in workers], [True])
        self.assertEqual(self.ctl('depth', '--json').json['workers'], 1)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
