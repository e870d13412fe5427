#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per reply and rule of PROTOCOL.md: orders to drain a worker, and notes of what people did."""
import unittest

import rq
from case import DAY, SECOND, START, ProtocolCase, start_server, stop_server

setUpModule, tearDownModule = start_server, stop_server


class Drain(ProtocolCase):
    def told(self, worker='w/1', verb='beat', machine=''):
        reply = self.beat(worker, verb, machine)
        self.assertEqual(reply[0], 'OK')
        return reply[6]

    def orders(self):
        return rq.pairs(self.r('HGETALL', '{q}:drain'))

    def test_order(self):
        self.join('v/1')
        self.assertEqual((self.told(), self.orders()), (0, {}))
        self.assertEqual(self.admin('drain', 'w', 'new image'), ['OK', 'w/1'])
        self.assertEqual(self.orders(), {'w': '%d op new image' % START})
        self.assertEqual((self.told(), self.told('v/1')), (1, 0))
        self.assertEqual(self.told(verb='leave'), 1)
        self.assertEqual([(a['verb'], a['who'], a['a'], a['b']) for a in rq.stream(self.r, 'audit')],
                         [('drain', 'op', 'w', 'new image')])

    def test_one_boot(self):
        self.assertEqual(self.admin('drain', 'w/2', ''), ['NONE'])
        self.assertEqual((self.told(), self.orders()), (0, {}))
        self.assertEqual(self.admin('drain', 'w/1', ''), ['OK', 'w/1'])
        self.assertEqual(self.told(), 1)

    def test_a_new_process_is_free(self):
        self.admin('drain', 'w', '')
        self.told(verb='leave')
        self.assertEqual(self.told('w/2', 'join'), 0)
        self.assertEqual((self.told('w/2'), self.orders()), (0, {}))

    def test_the_same_process_is_not(self):
        """It had lost its lease: the order finds it under its new nonce, and also when it was given meanwhile."""
        self.admin('drain', 'w', '')
        self.told(verb='leave')
        self.assertEqual(self.told('w/2', 'rejoin'), 1)
        self.assertEqual(self.told('w/2'), 1)

    def test_one_that_may_not_join_is_none(self):
        self.admin('drain', 'w', '')
        self.assertEqual(self.beat('w/2', 'join')[0], 'TAKEN')
        self.assertEqual(self.told(), 1)
        self.r('HSET', '{q}:meta', 'version', 2)
        self.assertEqual(self.beat('w/1', 'join')[0], 'VERSION')
        self.assertIn('w', self.orders())

    def test_a_join_that_is_said_again(self):
        """Its reply was lost, and the order came in between: it means the one that joined."""
        self.join('v/1')
        self.admin('drain', 'v', '')
        self.assertEqual((self.told('v/1', 'join'), self.told('v/1')), (1, 1))

    def test_another_process_has_the_name(self):
        """Who names a boot that is over, though nobody has reaped it, does not mean the one that came after it."""
        self.tick(301 * SECOND)
        self.assertEqual(self.told('w/2', 'join'), 0)
        self.assertEqual(self.admin('drain', 'w/1', ''), ['NONE'])
        self.assertEqual((self.told('w/2'), self.orders()), (0, {}))
        self.assertEqual(self.admin('drain', 'w/2', ''), ['OK', 'w/2'])
        self.assertEqual(self.told('w/2'), 1)

    def test_a_takeover_is_a_new_process(self):
        self.join('m/1', machine='m')
        self.admin('drain', 'm', '')
        self.assertEqual(self.told('m/2', 'join', 'm'), 0)

    def test_again(self):
        """A script may ask again after the worker is gone; of one that never was, that is said."""
        self.assertEqual(self.admin('drain', 'x', ''), ['NONE'])
        self.admin('drain', 'w', '')
        self.told(verb='leave')
        self.assertEqual(self.admin('drain', 'w', ''), ['OK'])
        self.assertEqual(self.admin('drain', 'w/1', ''), ['NONE'])

    def test_undrain(self):
        self.assertEqual(self.admin('undrain', 'w'), ['OK', 0])
        self.admin('drain', 'w/1', '')
        self.assertEqual(self.admin('undrain', 'w/1'), ['OK', 1])
        self.assertEqual((self.told(), self.orders()), (0, {}))

    def test_bad_names(self):
        for name in ('', '/', 'w/', '/1', 'w/1/2', 'a b', 'n' * 65, 'n' * 60 + '/' + 'm' * 60):
            for verb in ('drain', 'undrain'):
                self.assertEqual(self.admin(verb, name, ''), ['BADARG'], (verb, name))

    def test_old_orders_go(self):
        """Names of machines come and go; an order is kept for a day, and as long as its worker is on record."""
        self.join('v/1')
        self.admin('drain', 'w', '')
        self.admin('drain', 'v', '')
        self.r('HSET', '{q}:drain', 'broken', 'x')
        self.call('beat', 'w/1', SECOND, 'leave', self.now, 1)
        self.tick(DAY - SECOND)
        self.join('u/1')
        self.admin('drain', 'u', '')
        self.assertEqual(sorted(self.orders()), ['u', 'v', 'w'])
        self.tick(SECOND)
        self.admin('drain', 'u', '')
        self.assertEqual(sorted(self.orders()), ['u', 'v'])

    def test_a_key_of_another_type_costs_nobody_its_lease(self):
        self.r('SET', '{q}:drain', 'x')
        self.assertEqual(self.told(), 0)

    def test_out_of_memory(self):
        self.r('CONFIG', 'SET', 'maxmemory', 1)
        self.assertEqual(self.admin('drain', 'w', 'full'), ['OK', 'w/1'])
        self.assertEqual(self.told(), 1)

    def test_what_a_worker_says_of_itself_goes_with_it(self):
        for worker in ('w/1', 'v/1', 'u/1'):
            self.join(worker)
            self.r('HSET', '{q}:about', worker, 'version=1')
        self.call('beat', 'v/1', SECOND, 'leave', self.now, 1)
        self.assertEqual(self.r('HKEYS', '{q}:about'), ['w/1', 'u/1'])
        self.tick(200 * SECOND)
        self.call('beat', 'u/1', 300 * SECOND, 'beat', self.now, 1)
        self.tick(101 * SECOND)
        self.reap('u/1')
        self.assertEqual(self.r('HKEYS', '{q}:about'), ['u/1'])


class Note(ProtocolCase):
    def test_note(self):
        self.assertEqual(self.admin('note', 'dead replay', '3 replayed', '--all'), ['OK'])
        entry, = rq.stream(self.r, 'audit')
        self.assertEqual(entry, {'verb': 'note', 'who': 'op', 'a': 'dead replay', 'b': '3 replayed', 'c': '--all'})


if __name__ == '__main__':
    unittest.main()
