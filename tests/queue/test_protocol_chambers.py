#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One deterministic test per rule of PROTOCOL.md, section 8: the breakers of chambers."""
import unittest

from case import HOUSE, HOUSE2, SECOND, SENATE, start_server, stop_server
from test_protocol_breakers import FIRST, HOUSE3, BreakerCase

setUpModule, tearDownModule = start_server, stop_server


class Chamber(BreakerCase):
    def test_one_dead_office_does_not_stop_it(self):
        for k in range(40):
            self.tick(40 * FIRST * (k > 4))
            self.call('beat', 'w/1', 300 * SECOND, 'beat', self.now, 1)
            self.attempt(-1)
        self.assertEqual(self.breaker()[0], 'open')
        self.assertEqual(self.breaker('house')[0], 'closed')
        self.assertEqual(self.attempt(1, HOUSE2), [])

    def test_nor_do_two(self):
        for office in (HOUSE, HOUSE2):
            self.opened(office)
        self.assertEqual(self.breaker('house')[0], 'closed')

    def test_three_offices_by_run(self):
        self.opened_chamber()
        self.assertEqual(self.breaker(HOUSE)[0], 'closed')
        self.letter(HOUSE2)
        self.letter(SENATE)
        self.assertEqual(self.take_raw(), [str(FIRST), 0])
        self.assertEqual([i['office'] for i in self.take('senate')], [SENATE])

    def test_the_run_of_offices_begins_anew(self):
        """The third office must have failed in the same run."""
        self.attempts([-1, 1], HOUSE3)
        self.attempts([-1] * 6, HOUSE, HOUSE2)
        self.assertEqual(self.attempt(-1, HOUSE3)[:2], ['house', 'open'])

    def test_three_offices_by_share(self):
        self.attempts([-1, 1] * 10, HOUSE, HOUSE, HOUSE2, HOUSE2, HOUSE3, HOUSE3)
        self.assertEqual(self.attempt(-1, HOUSE)[:2], ['house', 'open'])

    def test_two_offices_by_share(self):
        self.attempts([-1, 1] * 10, HOUSE, HOUSE, HOUSE2, HOUSE2)
        self.assertEqual(self.attempt(-1, HOUSE3)[:2], ['house', 'open'])
        self.r('FLUSHALL')
        self.setUp()
        for k in range(40):
            self.attempt((-1, 1)[k % 2], (HOUSE, HOUSE, HOUSE2, HOUSE2)[k % 4])
        self.assertEqual(self.breaker('house')[0], 'closed')

    def test_its_probe(self):
        """One letter of any office; its own breaker closes or opens with it."""
        self.opened_chamber()
        for office in (HOUSE, HOUSE2, HOUSE3):
            self.letter(office)
        self.tick(FIRST)
        i = self.probe()
        self.assertEqual(self.take(), [])
        self.begin(i)
        self.assertEqual(self.answer(i, 1), ['house', 'closed', '0'])
        self.assertEqual(len(self.take()), 2)

    def test_probe_of_both(self):
        self.opened_chamber()
        self.r('HSET', '{q}:breaker', HOUSE, 'open 3 ' + str(self.now + FIRST))
        self.letter()
        self.tick(FIRST)
        i = self.probe()
        self.assertEqual([self.breaker(what)[0] for what in ('house', HOUSE)], ['half', 'half'])
        self.begin(i)
        self.assertEqual(self.answer(i, 1), ['house', 'closed', '0', HOUSE, 'closed', '0'])
        self.assertEqual(self.r('HKEYS', '{q}:breaker'), [HOUSE2, HOUSE3])

    def test_an_open_office_is_not_its_probe(self):
        self.opened_chamber()
        self.r('HSET', '{q}:breaker', HOUSE, 'open 3 ' + str(self.now + 2 * FIRST))
        self.letter(HOUSE)
        self.letter(HOUSE2)
        self.tick(FIRST)
        self.assertEqual(self.probe()['office'], HOUSE2)

    def test_a_dead_office_does_not_keep_it_shut(self):
        """A fault of the probe of both reopens the office's, and the chamber's next probe is another letter."""
        self.opened_chamber()
        self.r('HSET', '{q}:breaker', HOUSE, 'open 3 ' + str(self.now + FIRST))
        self.letter(HOUSE)
        self.tick(FIRST)
        i = self.probe()
        self.begin(i)
        self.assertEqual(self.answer(i, -1), [HOUSE, 'open', str(self.now + 8 * FIRST)])
        self.assertEqual(self.breaker('house')[0], 'half')
        self.letter(HOUSE)
        self.assertEqual(self.take(), [])  # as often as its own breaker lets it, not more
        self.letter(HOUSE2)
        i = self.probe()
        self.begin(i)
        self.assertEqual(self.take(), [])
        self.assertEqual(self.answer(i, -1), ['house', 'open', str(self.now + 2 * FIRST)])

    def test_three_dead_offices_do(self):
        self.opened_chamber()
        moved = []
        self.tick(FIRST)
        for office in (HOUSE, HOUSE2, HOUSE3):
            self.r('HSET', '{q}:breaker', office, 'open 3 %d' % self.now)
            self.letter(office)
            i = self.probe()
            self.begin(i)
            moved.append(self.answer(i, -1)[0::3])
        self.assertEqual(moved, [[HOUSE], [HOUSE2], ['house', HOUSE3]])

    def test_the_next_probe_is_of_another_office(self):
        self.opened_chamber()
        for office in (HOUSE, HOUSE, HOUSE2):
            self.letter(office)
        self.tick(FIRST)
        i = self.probe()
        self.begin(i)
        self.tick(SECOND)
        self.answer(i, -1)
        self.tick(2 * FIRST)
        self.assertNotEqual(self.probe()['office'], i['office'])

    def test_the_close_lane_goes_on(self):
        self.opened_chamber()
        sid = self.letter()
        self.intake()
        self.admin('cancel', sid + ':' + HOUSE)
        self.assertEqual(self.probe()['why'], 'cancelled')


if __name__ == '__main__':
    unittest.main()
