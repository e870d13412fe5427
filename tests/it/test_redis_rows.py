#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every trouble that Redis can be in, in every state of a worker: it resumes within five seconds of Redis being back,
says meanwhile that it is not ready, and why, and every letter is sent once."""
import concurrent.futures
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import redis_rows as rows  # noqa: E402
import redis_troubles as troubles  # noqa: E402


class Rows(unittest.TestCase):
    def test_table(self):
        lanes = [rows.Bench(troubles.PLAIN), rows.Bench(troubles.LONG), rows.Bench(troubles.CLUSTER, cluster=True),
                 rows.Bench(troubles.BROKEN, password='old', redis=troubles.APPEND)]
        for lane in lanes:
            self.addCleanup(lane.close)
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            cells = [c for found in pool.map(rows.Bench.run, lanes) for c in found]
        print(rows.table(cells, rows.STATES), flush=True)
        for cell in cells:
            with self.subTest(row=cell.row, state=cell.state):
                self.assertEqual(cell.wrong, [])
        groups = troubles.PLAIN, troubles.LONG, troubles.CLUSTER, troubles.BROKEN
        expected = {(row, state) for group in groups for row in group for state in rows.STATES}
        self.assertEqual({(c.row, c.state) for c in cells}, expected)
        for lane in lanes:
            self.assertEqual(lane.worker.stop(), 0)


if __name__ == '__main__':
    unittest.main()
