#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `make scale` checks of a run, on made-up runs: good ones pass, and each thing that must not be is refused."""
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'scale'))
import checks  # noqa: E402
import plot  # noqa: E402
import sampler  # noqa: E402

PHASES = [('burst', 0, 60), ('end', 60, 100)]
JOBS = {('a', 'HNE03'), ('a', 'SNE01'), ('b', 'HNE03')}


def result(sid, office, state='accepted'):
    return {'delivery_id': '%s.%s' % (sid, office), 'office': office, 'state': state, 'outcome': state}


def record(sid, office, accepted=True):
    return {'delivery_id': '%s.%s' % (sid, office), 'office': office, 'accepted': accepted}


def event(name, pid, time=0, **fields):
    return {'time': time, 'event': name, 'pid': pid, 'name': 'worker-%d' % pid, **fields}


class Case(unittest.TestCase):
    def good(self, wrong):
        self.assertEqual(wrong, [])

    def bad(self, wrong, *parts):
        self.assertEqual(len(wrong), len(parts), wrong)
        for text, part in zip(wrong, parts):
            self.assertIn(part, text)


class Accounting(Case):
    def check(self, results=None, records=None, expected=None):
        return checks.accounting(JOBS if expected is None else expected, {j: result(*j) for j in JOBS} if results is None else results,
                                 [record(*j) for j in sorted(JOBS)] if records is None else records)

    def test_one_to_one(self):
        self.good(self.check())
        # A POST that the chamber refused is no letter that it has.
        self.good(self.check(records=[record(*j) for j in sorted(JOBS)] + [record('a', 'SNE01', False)]))

    def test_lost(self):
        self.bad(self.check(results={j: result(*j) for j in JOBS if j[0] == 'a'}), 'b to HNE03: lost', 'DeliveryId b.HNE03 to HNE03: the chamber has it, and')
        self.bad(self.check({}, [], {('b', 'HNE03')}), 'lost')

    def test_twice(self):
        self.bad(self.check(records=[record(*j) for j in sorted(JOBS)] + [record('b', 'HNE03')]), 'b to HNE03: the chamber has it 2 times')

    def test_said_but_never_taken(self):
        self.bad(self.check(records=[record(*j) for j in JOBS if j[0] == 'a']), 'accepted, says the result')

    def test_not_accepted(self):
        results = {**{j: result(*j) for j in JOBS}, ('b', 'HNE03'): result('b', 'HNE03', 'dead')}
        self.bad(self.check(results, [record(*j) for j in JOBS if j[0] == 'a']), 'dead')

    def test_a_stranger(self):
        self.bad(self.check(expected={j for j in JOBS if j[0] == 'a'}), 'nobody sent', 'no result says so')


class Oscillation(Case):
    def check(self, *desired):
        return checks.oscillation(list(desired), PHASES, 3)

    def test_up_and_down(self):
        self.good(self.check((1, 1), (5, 4), (7, 6), (20, 5), (23, 4), (26, 3), (29, 2), (70, 1), (80, 4)))

    def test_no_change(self):
        self.good(self.check())
        self.good(self.check((1, 1)))

    def test_up_down_up_in_a_phase(self):
        self.bad(self.check((1, 1), (5, 4), (20, 3), (40, 4)), 'burst: the wanted number turns 2 times')

    def test_up_soon_after_a_step_down(self):
        self.bad(self.check((1, 4), (56, 3), (58, 5)), 'up by 2 only 2.0 s after a step down')
        self.good(self.check((1, 4), (59, 3), (61, 5)))  # another burst

    def test_down_too_fast(self):
        self.bad(self.check((1, 4), (20, 2)), 'down by 2 at once')
        self.bad(self.check((1, 1), (20, 4), (22, 3)), 'a step down only 2.0 s after')

    def test_peak_and_stay(self):
        self.good(checks.peak([(0, 1), (5, 6), (20, 1)], 3, 10, 6))
        self.bad(checks.peak([(0, 1), (5, 6), (20, 1)], 3, 4, 6), 'at most 1 workers')
        self.good(checks.stays([(0, 4), (5, 2), (30, 3)], 6, 29, 2))
        self.bad(checks.stays([(0, 4), (5, 2), (30, 3)], 6, 31, 2), '3 after 24.0 s')
        self.bad(checks.stays([(0, 4), (5, 2)], 4, 31, 2), '4 after 0.0 s')


class Numbers(Case):
    def sample(self, **values):
        return {'desired': 3, 'serving': 3, 'processes': 3, 'ceiling': 3, 'by_depth': 8, **values}

    def test_bounds(self):
        self.good(checks.bounds([self.sample(desired=None), self.sample()], 1, 3))
        self.bad(checks.bounds([self.sample(), self.sample(processes=4)], 1, 3), 'processes: 4')
        self.bad(checks.bounds([self.sample(desired=0)], 1, 3), 'desired: 0')

    def test_ceiling(self):
        self.good(checks.ceiling([self.sample(), self.sample(ceiling=None, by_depth=None)], 8))
        self.bad(checks.ceiling([self.sample(desired=4)], 8), 'desired: 4, where the limit lets 3')
        self.bad(checks.ceiling([self.sample(serving=5)], 8), 'serving: 5')
        self.bad(checks.ceiling([self.sample()], 3), 'not below the maximum')
        self.bad(checks.ceiling([self.sample(by_depth=3)], 8), 'by its depth alone')
        self.bad(checks.ceiling([self.sample(ceiling=None)], 8), 'no reading')

    def test_rest(self):
        self.good(checks.rest(2, 2, 2, [], 2))
        self.bad(checks.rest(3, 3, 3, ['{q}:wait:HNE03'], 2), '3 workers are wanted', '3 workers serve', 'not empty')
        self.bad(checks.most(11, 10), '11.0 s')
        self.good(checks.most(9, 10))

    def depth(self, **values):
        d = {'window_us': 300e6}
        for chamber in ('house', 'senate'):
            d.update({chamber + name: 0 for name in ('_arrived', '_waiting', '_held_pause', '_held_maintenance', '_held_receiver', '_held_breaker')})
            d.update({chamber + '_posts': 100, chamber + '_post_p95_us': 0.4e6})
        return {**d, **values}

    def test_formula(self):
        """tests/unit/test_scale.c has the same formula as cwcctl reckons it."""
        f = sampler.Formula(1, 20, 10, 2, {'house': 7, 'senate': None})
        self.assertEqual(f.both(self.depth()), (1, 1))
        # 7 letters a second x 0.4 s / (2 x 0.7) = 2; by depth alone 35 x 0.4 / 1.4 = 10
        self.assertEqual(f.both(self.depth(house_waiting=350)), (2, 10))
        self.assertEqual(f.both(self.depth(senate_waiting=350)), (10, 10))
        self.assertEqual(f.both(self.depth(house_waiting=350, senate_waiting=35)), (3, 11))
        self.assertEqual(f.both(self.depth(senate_waiting=350, senate_held_pause=350)), (1, 1))
        self.assertEqual(f.both(self.depth(senate_arrived=2100)), (2, 2))
        self.assertEqual(f.both(self.depth(house_waiting=350, house_posts=19)), (5, 20))


class Workers(Case):
    EVENTS = [event('start', 1), event('start', 2), event('start', 3), event('drain', 3, 5), event('exit', 3, 6, status=0), event('exit', 2, 7, status=-9)]

    def test_drained(self):
        self.good(checks.drained(self.EVENTS, {2}, [('a', 'SNE01')], [('a', 'SNE01'), ('b', 'SNE01')]))
        self.assertEqual(sampler.workers_of(self.EVENTS), ({1}, {1}))
        self.assertEqual(sampler.workers_of(self.EVENTS[:4]), ({1, 2}, {1, 2, 3}))

    def test_not_drained(self):
        self.bad(checks.drained(self.EVENTS, set(), [], []), 'worker-2 (2) ended by itself, with -9')
        self.bad(checks.drained([event('killed', 1)], set(), [], []), 'killed by the supervisor')
        self.bad(checks.drained([event('drain', 1), event('exit', 1, status=1)], set(), [], []), 'drained, and ended with 1')
        self.bad(checks.drained([], {2}, [('a', 'SNE01')], [('b', 'SNE01')]), 'a to SNE01 was taken back')

    def test_unmoved(self):
        def wanted(time, n):
            return {'time': time, 'event': 'desired', 'workers': n}
        events = [wanted(1, 2), wanted(3, 4), event('start', 3, 3), event('exit', 3, 9, status=0), {'time': 4, 'event': 'scale_ended', 'status': 1}]
        self.good(checks.unmoved(events, 2, 3.5, 9))
        self.good(checks.unmoved(events, 4, 4, 9))
        self.bad(checks.unmoved(events, 2, 2.5, 9), 'desired after 1.0 s without data: 4', 'start after 1.0 s')
        self.bad(checks.unmoved(events, 4, 5, 10), 'exit after 5.0 s')
        self.bad(checks.unmoved([wanted(1, 4), wanted(3, 2), event('drain', 3, 3)], 2, 4, 9), 'desired after 1.0 s without data: 2', 'drain after')

    def test_patient(self):
        self.good(checks.patient([(0, 4), (10, 6), (20, 5)], [9.5, 15], 4))
        self.bad(checks.patient([(0, 4), (10, 6), (17, 5)], [9.5, 15], 4), '1 fewer only 2.0 s after')


class Drawing(unittest.TestCase):
    def test_it_is_svg(self):
        """With gaps, and nothing outside of it."""
        path = os.path.join(tempfile.mkdtemp(), 'x.svg')
        points = [(0, 0), (5, 7), (6, None), (7, None), (8, 40), (10, 0)]
        p = plot.Drawing('a <title> & more', 'subtitle', 10)
        p.phases([('one', 0, 5), ('two|lines', 5, 10)], 2)
        p.panel('Depth', 'letters', [('waiting', '#123456', True, False, points), ('other', '#654321', None, True, points)], [(6, 7)], [(2, 'mark')])
        p.panel('Nothing', '', [('none', '#123456', True, True, [(0, None)])])
        p.write(path, ['a note'])
        svg = xml.etree.ElementTree.parse(path).getroot()
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
        name = '{http://www.w3.org/2000/svg}'
        texts = [''.join(t.itertext()) for t in svg.iter(name + 'text')]
        for wanted in ('a <title> & more', '1 one', 'lines', 'Depth (letters)', 'waiting', 'mark', 'time (s)', 'a note', '40'):
            self.assertIn(wanted, texts)
        self.assertEqual(len([p for p in svg.iter(name + 'path') if 'dasharray' in ''.join(p.attrib)]), 2)  # one on each side of the gap
        for element in svg.iter():
            for which, most in (('x', 'width'), ('x1', 'width'), ('x2', 'width'), ('y', 'height'), ('y1', 'height'), ('y2', 'height')):
                if which in element.attrib:
                    self.assertTrue(0 <= float(element.get(which)) <= float(svg.get(most)), element.attrib)

    def test_axes(self):
        self.assertEqual([plot.nice(n) for n in (0, 1, 4, 8, 10, 130, 600)], [1, 1, 1, 2, 2.5, 50, 200])


if __name__ == '__main__':
    unittest.main()
