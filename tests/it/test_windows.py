#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Maintenance windows as the worker computes them, against the time zone database: minute by minute over years, and
second by second around the edges. CWC_LONG=1: three years and the changes of the clock of thirty, else of one and of seven."""

import calendar
import datetime
import os
import random
import subprocess
import sys
import unittest
import zoneinfo

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cwc_tools  # noqa: E402

ZONE = zoneinfo.ZoneInfo('America/New_York')
HOUSE, SENATE = 'daily 00:00-06:00', 'sun 00:00-06:00, wed 05:00-07:00'
DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
MINUTE, DAY = 60, 86400
SEARCH = 8 * DAY  # how far ahead the worker looks for an end
LONG = bool(os.environ.get('CWC_LONG'))
YEARS = range(2007, 2038) if LONG else range(2007, 2038, 5)  # today's rules of daylight saving time hold since 2007


def utc(year, month, day):
    return calendar.timegm((year, month, day, 0, 0, 0))


def changes(year):
    """The two days of a year on which the clocks change, as the UTC midnight before: Sundays in March and November."""
    sundays = [[week[6] for week in calendar.monthcalendar(year, month) if week[6]] for month in (3, 11)]
    return utc(year, 3, sundays[0][1]), utc(year, 11, sundays[1][0])


class Reference:
    """Written for clearness: what the clock on a wall in Washington shows decides."""

    def __init__(self, text):
        self.windows = []
        for part in text.split(','):
            if part.strip() == 'none':
                continue
            day, times = part.split()
            a, b = ((int(x[:2]) * 60 + int(x[3:])) for x in times.split('-'))
            self.windows.append((DAYS if day == 'daily' else [day], a, b))
        self.minutes, self.ends = {}, {}

    def inside(self, t):
        t -= t % MINUTE
        if t not in self.minutes:
            there = datetime.datetime.fromtimestamp(t, ZONE)
            shown, day = there.hour * 60 + there.minute, DAYS[there.weekday()]
            self.minutes[t] = any(day in d and a <= shown < b for d, a, b in self.windows)
        return self.minutes[t]

    def end(self, t):
        """None outside. Not for windows that never end."""
        t -= t % MINUTE
        walked = []
        while self.inside(t) and t not in self.ends:
            walked.append(t)
            t += MINUTE
        end = self.ends.get(t, t)
        for w in walked:
            self.ends[w] = end
        return end if walked or t in self.ends else None

    def lines(self, begin, end, step):
        found, last = [], 0
        for t in range(begin, end, step):
            now = self.end(t)
            if now != last:
                found.append('%d %s' % (t, '-' if now is None else now))
            last = now
        return found


class Windows(cwc_tools.ToolCase):
    tool = 'windows'

    def compare(self, text, begin, end, step=MINUTE, reference=None):
        out = subprocess.run([self.program, text, str(begin), str(end), str(step)], capture_output=True, text=True,
                             check=True, timeout=300).stdout.splitlines()
        self.assertEqual(out, (reference or Reference(text)).lines(begin, end, step), text)
        return out

    def test_every_minute_of_a_year(self):
        years = 3 if LONG else 1
        for text, n in ((HOUSE, years * 365 * 2 - 1), (SENATE, years * 52 * 4 + 1)):
            out = self.compare(text, utc(2025, 1, 1), utc(2025 + years, 1, 1))
            # Not the same nothing on both sides.
            self.assertAlmostEqual(len(out), n, delta=6)

    def test_every_minute_around_the_changes_of_the_clock(self):
        for text in (HOUSE, SENATE, 'sun 01:00-02:00', 'sun 02:00-03:00', 'sun 01:59-03:01', 'sat 23:59-24:00'):
            reference = Reference(text)
            for year in YEARS:
                for day in changes(year):
                    self.assertEqual(len({datetime.datetime.fromtimestamp(day + d * DAY, ZONE).utcoffset()
                                          for d in (0, 1.5)}), 2, 'no change of the clock in %d' % year)
                    self.compare(text, day - DAY, day + 2 * DAY, reference=reference)

    def test_every_second_around_the_edges(self):
        for text in (HOUSE, SENATE):
            reference = Reference(text)
            for year in YEARS:
                # A week in each half of the year, the weeks of the changes, and over the new year.
                for week in (utc(year, 1, 15), utc(year, 7, 15), *changes(year), utc(year, 12, 30)):
                    inside = reference.inside(week - 3 * DAY)
                    for t in range(week - 3 * DAY, week + 4 * DAY, MINUTE):
                        if reference.inside(t) != inside:
                            inside = not inside
                            self.compare_seconds(text, t, reference)

    def compare_seconds(self, text, edge, reference):
        if edge % 7 == 0 or datetime.datetime.fromtimestamp(edge, ZONE).weekday() == 6:  # every edge of a Sunday
            self.compare(text, edge - 61, edge + 62, 1, reference)

    def test_any_windows(self):
        rng = random.Random(20261123)
        for _ in range(60 if LONG else 30):
            parts = []
            for _ in range(rng.randint(1, 8)):
                a = rng.choice((0, 1, 60, 119, 120, 121, 1380, 1439, rng.randrange(1440)))
                b = rng.choice((1440, a + 1, min(1440, a + 60), rng.randint(a + 1, 1440)))
                parts.append('%s %02d:%02d-%02d:%02d' % (rng.choice(DAYS + ['daily']), a // 60, a % 60, b // 60, b % 60))
            text = rng.choice((',', ', ', ' , ')).join(parts)
            day = rng.choice((*changes(rng.choice(YEARS)), rng.randrange(utc(2007, 1, 1), utc(2038, 1, 1), MINUTE)))
            reference = Reference(text)
            if all(reference.inside(day + t) for t in range(0, 7 * DAY, MINUTE)):
                continue
            with self.subTest(text=text, day=day):
                self.compare(text, day - 4 * DAY, day + 4 * DAY, reference=reference)

    def test_the_whole_week_ends_nowhere(self):
        begin = utc(2026, 3, 8)
        out = subprocess.check_output([self.program, 'daily 00:00-24:00', str(begin), str(begin + 180), '60'], text=True)
        self.assertEqual(out.splitlines(), ['%d %d' % (begin + d, begin + d + SEARCH) for d in (0, 60, 120)])

    def test_none(self):
        self.assertEqual(self.compare('none', utc(2026, 1, 1), utc(2026, 2, 1)), ['%d -' % utc(2026, 1, 1)])

    def test_malformed(self):
        for text in ('', 'daily', 'none, daily 00:00-06:00', 'sun-mon 00:00-06:00', 'sun 22:00-02:00',
                     ', '.join(['sun 00:00-01:00'] * 9)):
            p = subprocess.run([self.program, text, '0', '60', '60'], capture_output=True, text=True, check=False)
            self.assertEqual((p.returncode, p.stdout), (1, ''))


if __name__ == '__main__':
    unittest.main()
