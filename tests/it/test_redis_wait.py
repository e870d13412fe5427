#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every trouble that Redis can be in while a letter waits for its replica (queue.replicas): the column of
test_redis_rows.py that needs a replica. What a cluster says of a slot it never says to WAIT, which names no key."""
import concurrent.futures
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import redis_rows as rows  # noqa: E402
import redis_troubles as troubles  # noqa: E402

STATES = ('wait',)


class Wait(unittest.TestCase):
    def test_table(self):
        plain = {**troubles.PLAIN, 'UNBLOCKED': troubles.Unblocked()}
        long = {row: trouble for row, trouble in troubles.LONG.items() if row != 'UNBLOCKED'}
        lanes = [rows.Bench(plain, STATES, replica=True), rows.Bench(long, STATES, replica=True),
                 rows.Bench(troubles.BROKEN, STATES, replica=True, password='old', redis=troubles.APPEND)]
        groups = (plain, long, troubles.BROKEN)
        for lane in lanes:
            self.addCleanup(lane.close)
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            cells = [c for found in pool.map(rows.Bench.run, lanes) for c in found]
        print(rows.table(cells, STATES), flush=True)
        for cell in cells:
            with self.subTest(row=cell.row, state=cell.state):
                self.assertEqual(cell.wrong, [])
        self.assertEqual([c.row for c in cells], [row for group in groups for row in group])
        for lane in lanes:
            self.assertEqual(lane.worker.stop(), 0)


if __name__ == '__main__':
    unittest.main()
