#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Maintenance windows: while the House may be away none of its letters leaves, and nothing else changes."""
import datetime
import os
import subprocess
import sys
import time
import unittest
import zoneinfo

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from life_case import Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402

ZONE = zoneinfo.ZoneInfo('America/New_York')
EX_CONFIG = 78
MINUTE = 60
HOUR_US = 3600 * 10 ** 6


def window(begin_s, end_s):
    """Windows that cover the time between two minutes, both since 1970: one, or two with midnight between them."""
    a, b = (datetime.datetime.fromtimestamp(s, ZONE) for s in (begin_s, end_s))
    times = [a.strftime('%a %H:%M-').lower() + '24:00', b.strftime('%a 00:00-%H:%M').lower()]
    if a.date() == b.date():
        times = [a.strftime('%a %H:%M-').lower() + b.strftime('%H:%M')]
    return ', '.join(t for t in times if not t.endswith('00:00-00:00'))


def this_minute():
    return int(time.time()) // MINUTE * MINUTE


class Maintenance(Case):
    def hold(self):
        """[until_us, who, reason] of the hold of the House, or None."""
        text = self.stack.redis('HGET', self.stack.key('holds'), 'house')
        return text.split(' ', 2) if text else None

    def sent_to_the_house(self):
        return [r['delivery_id'] for r in self.stack.sim.records(chamber='house')]

    def test_only_the_letters_of_the_house_wait(self):
        end = this_minute() + 45 * MINUTE
        stack = self.start(worker=False, measured_house={'maintenance': window(this_minute() - 2 * MINUTE, end)},
                           house={'concurrency': 1, 'office_concurrency': 1})
        # Their order is that of the queue, not that of their names.
        waiting = [letter('waiting-%02d' % (n * 7 % 20)) for n in range(20)]
        cancelled = letter('no-longer-wanted')
        senate = [letter('senate-%02d' % n, letters.SENATE) for n in range(10)]
        stack.submit(*waiting, cancelled)
        worker = stack.start_worker()
        self.assertEqual(worker.wait_event('maintenance')['chamber'], 'house')
        self.assertAlmostEqual(worker.events('maintenance')[0]['wait_ms'], (end - time.time()) * 1000, delta=20000)
        until, who, reason = wait_until(self.hold, what='hold')
        self.assertEqual((int(until), reason), (end * 10 ** 6, 'maintenance'))
        self.assertTrue(who.startswith('w1/'), who)
        stack.submit(*senate)
        wait_until(lambda: stack.redis('XLEN', stack.key('in')) == 0, what='intake')
        stack.admin('cancel', cancelled['sid'])
        self.wait_results(11)
        stack.wait_status(cancelled['sid'], letters.HOUSE, 'cancelled', 'cancelled')
        for s in senate:
            stack.wait_status(s['sid'], letters.SENATE, 'accepted')
        self.check_waiting(waiting)
        self.assertEqual(worker.stop(), 0)
        self.check_waiting(waiting)
        self.assertEqual(worker.events('maintenance_over'), [])
        self.assertEqual([e for e in worker.events('letter_sent') if e['office'] == letters.HOUSE], [])
        self.go_on(waiting)
        account.check(self, stack, waiting + senate + [cancelled, letter('after', letters.SENATE)])

    def check_waiting(self, waiting):
        self.assertEqual(self.sent_to_the_house(), [])
        for s in waiting:
            job = self.stack.job(s['sid'], letters.HOUSE)
            self.assertEqual((job['state'], job['attempt']), ('wait', '0'))

    def go_on(self, waiting):
        """A worker that knows of no window sends them when the hold is lifted, and not before."""
        stack = self.stack
        stack.values['measured_house'] = {'maintenance': 'none'}
        worker = stack.start_worker('w2')
        self.assertEqual(stack.submit(letter('after', letters.SENATE)), 1)
        stack.wait_status('after', letters.SENATE, 'accepted')
        self.check_waiting(waiting)
        self.assertEqual(stack.admin('resume', 'house')[0], 'OK')
        for s in waiting:
            stack.wait_status(s['sid'], letters.HOUSE, 'accepted')
            self.assertEqual(stack.job(s['sid'], letters.HOUSE).get('attempt', '1'), '1')
        self.assertEqual(self.sent_to_the_house(), [account.delivery_id(s['sid'], letters.HOUSE) for s in waiting])
        self.assertEqual((worker.events('maintenance'), worker.stop()), ([], 0))

    def test_without_a_window_they_leave(self):
        stack = self.start(worker=False)
        for n, text in enumerate(('none', window(this_minute() + 30 * MINUTE, this_minute() + 40 * MINUTE),
                                  window(this_minute() - 40 * MINUTE, this_minute() - 1 * MINUTE))):
            with self.subTest(text):
                stack.values['measured_house'] = {'maintenance': text}
                worker = stack.start_worker()
                stack.submit(letter('now-%d' % n))
                stack.wait_status('now-%d' % n, letters.HOUSE, 'accepted')
                self.assertIsNone(self.hold())
                self.assertEqual((worker.events('maintenance'), worker.stop()), ([], 0))

    def test_they_leave_at_its_end(self):
        """Also those of a worker that knows of no window: the hold is for all, and ends with it."""
        end = (int(time.time()) + 10) // MINUTE * MINUTE + MINUTE
        stack = self.start(measured_house={'maintenance': window(end - 10 * MINUTE, end)})
        self.assertEqual(int(wait_until(self.hold, what='hold')[0]), end * 10 ** 6)
        stack.values['measured_house'] = {'maintenance': 'none'}
        second = stack.start_worker('w2')
        some = [letter('patient-%02d' % n) for n in range(10)]
        stack.submit(*some)
        wait_until(lambda: stack.redis('XLEN', stack.key('in')) == 0, what='intake')
        over = self.worker.wait_event('maintenance_over', timeout=80)
        self.assertEqual(over['chamber'], 'house')
        for s in some:
            stack.wait_status(s['sid'], letters.HOUSE, 'accepted')
        begun = [int(r['begun_us']) for r in stack.results()]
        self.assertEqual(len(begun), len(some))
        self.assertGreaterEqual(min(begun), end * 10 ** 6)
        self.assertEqual([self.worker.stop(), second.stop()], [0, 0])
        account.check(self, stack, some)

    def test_windows_of_the_whole_week(self):
        """The hold lasts an hour at most: who has left sends nothing, and holds nobody back for ever."""
        stack = self.start(measured_house={'maintenance': 'daily 00:00-24:00'})
        until = int(wait_until(self.hold, what='hold')[0])
        self.assertAlmostEqual(until, time.time() * 10 ** 6 + HOUR_US, delta=20 * 10 ** 6)
        # A person's hold stays, whatever the window says.
        late = until + 5 * HOUR_US
        self.assertEqual(stack.admin('hold', 'house', late, 'a person knows better')[0], 'OK')
        stack.start_worker('w2').wait_event('maintenance')
        stack.submit(letter('both', letters.SENATE), letter('waits'))
        stack.wait_status('both', letters.SENATE, 'accepted')
        self.assertEqual(self.hold()[::2], [str(late), 'a person knows better'])
        self.assertEqual(self.sent_to_the_house(), [])

    def test_what_is_wrong_is_said(self):
        ctl = os.path.join(stacks.BUILD, 'cwcctl')
        stack = self.start(worker=False, key_source='boot')
        for chamber, text in (('house', 'nightly'), ('senate', 'wed 07:00-05:00'), ('house', 'daily 00:00-06:00,'),
                              ('senate', 'every night')):
            with self.subTest(text):
                stack.values['measured_' + chamber] = {'maintenance': text}
                args = stack.write_config('w1')
                stack.values['measured_' + chamber] = {}
                for command in ([stack.program, *args], [stack.program, *args, '--check-config'],
                                [ctl, 'config', 'check', args[1], args[3]]):
                    p = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
                    self.assertEqual(p.returncode, EX_CONFIG, p.stderr)
                    self.assertRegex(p.stderr, r'^\S*measured.conf:\d+: %s.maintenance: must be none, or at most 8 times '
                                               r'of the week, .*DAY HH:MM-HH:MM' % chamber)
                    self.assertNotIn(text, p.stderr)


if __name__ == '__main__':
    unittest.main()
