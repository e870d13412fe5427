# SPDX-License-Identifier: Apache-2.0
"""US Eastern time as the worker computes it, against the time zone database."""

import calendar
import datetime
import os
import subprocess
import sys
import unittest
import zoneinfo

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cwc_tools  # noqa: E402

ZONE = zoneinfo.ZoneInfo("America/New_York")
# zoneinfo.ZoneInfo knows rules for ever; today's rules hold since 2007.
YEARS = range(2007, 2038)


def change_days(year):
    """The days of the year, in UTC, on which the offset is not the same at both ends."""
    day = datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc)
    while day.year == year:
        after = day + datetime.timedelta(days=1)
        if day.astimezone(ZONE).utcoffset() != after.astimezone(ZONE).utcoffset():
            yield day
        day = after


def expected(unix_s):
    there = datetime.datetime.fromtimestamp(unix_s, ZONE)
    return "%d %d %s" % (unix_s, there.utcoffset().total_seconds(), there.strftime("%Y%m%d"))


class Eastern(cwc_tools.ToolCase):
    tool = "eastern"

    def compare(self, times):
        lines = "".join("%d\n" % t for t in times)
        out = subprocess.run([self.program], input=lines, capture_output=True, text=True, check=True).stdout
        self.assertEqual(out.splitlines(), [expected(t) for t in times])

    def test_every_hour_around_the_changes(self):
        for year in YEARS:
            days = list(change_days(year))
            self.assertEqual(len(days), 2)
            for day in days:
                begin = calendar.timegm(day.timetuple()) - 86400
                hours = range(begin, begin + 3 * 86400, 3600)
                self.compare([t + d for t in hours for d in (-1, 0, 1, 1800)])

    def test_every_midnight(self):
        begin = calendar.timegm((2007, 1, 1, 0, 0, 0))
        end = calendar.timegm((2038, 1, 1, 0, 0, 0))
        self.compare([t + d for t in range(begin, end, 86400) for d in (4 * 3600 - 1, 4 * 3600, 5 * 3600 - 1, 5 * 3600)])

    def test_arguments(self):
        out = subprocess.check_output([self.program, "1710054000", "0"], text=True)
        self.assertEqual(out, "1710054000 -14400 20240310\n0 -18000 19691231\n")


if __name__ == "__main__":
    unittest.main()
