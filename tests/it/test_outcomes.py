#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a letter for each answer of a chamber, and for each way in which there is none: the outcome, the
attempts, and how often the letter went out. Counted at the simulated chambers."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from outcome_case import ATTEMPTS, CHAMBERS, JOBS, LIMITS, TOTAL_S, Case, letter  # noqa: E402
from stack import letters, wait_until  # noqa: E402


class Row:
    """One letter to an office of its own. faults: rules for that office. Then the expected outcome, the number of POSTs
    at the chamber, of acceptances there, the attempts used and the last HTTP status; detail if there is one."""

    def __init__(self, name, faults, outcome, posts, taken, attempt, status, detail=''):
        self.name, self.faults, self.outcome, self.posts, self.taken = name, faults, outcome, posts, taken
        self.attempt, self.status, self.detail = attempt, status, detail


def fault(action, **members):
    return {'action': action, **members}


def rejected(status):
    return Row('rejected-%d' % status, [fault('status', status=status)], 'rejected_by_chamber', 1, 0, 1, status)


def house_rows():
    yield Row('good', [], 'accepted', 1, 1, 1, 200)
    yield Row('accepted-202', [fault('accept_then_500', status=202)], 'accepted', 1, 1, 1, 202)
    for status in (400, 402, 405, 406, 409, 410, 413, 415, 418, 422, 451):
        yield rejected(status)
    yield Row('large-refusal', [fault('status', status=400, size=200000)], 'rejected_by_chamber', 1, 0, 1, 400)
    yield Row('echo', [fault('status', status=400, echo=True)], 'rejected_by_chamber', 1, 0, 1, 400)
    for status in (408, 500, 501, 502, 503, 504, 599):
        yield Row('status-%d' % status, [fault('status', status=status)], 'outcome_unknown', 1, 0, 1, status)
    yield Row('taken-then-500', [fault('accept_then_500')], 'outcome_unknown', 1, 1, 1, 500)
    yield Row('taken-then-503', [fault('accept_then_500', status=503)], 'outcome_unknown', 1, 1, 1, 503)
    yield Row('reset-mid-body', [fault('reset_mid_body')], 'outcome_unknown', 1, 0, 1, 0, 'reset')
    yield Row('reset-after-body', [fault('reset_after_body')], 'outcome_unknown', 1, 1, 1, 0, 'reset')
    yield Row('close-after-body', [fault('close_after_body')], 'outcome_unknown', 1, 1, 1, 0, 'reset')
    yield Row('partial-status', [fault('partial_status')], 'outcome_unknown', 1, 1, 1, 0)
    yield Row('stall', [fault('stall')], 'outcome_unknown', 1, 1, 1, 0, 'first_byte_timeout')
    yield Row('endless-header', [fault('trickle', bytes=20, ms=900)], 'outcome_unknown', 1, 1, 1, 0, 'total_timeout')
    yield from good_rows(200)


def good_rows(status):
    """Trouble that does not touch a definite answer."""
    yield Row('truncated-answer', [fault('truncate_answer')], 'accepted', 1, 1, 1, status)
    yield Row('trickled-answer', [fault('trickle', bytes=16, ms=5)], 'accepted', 1, 1, 1, status)
    yield Row('late-answer', [fault('delay', ms=400)], 'accepted', 1, 1, 1, status)
    yield Row('dropped-connection', [fault('drop_connection_after_answer')], 'accepted', 1, 1, 1, status)
    # Throttled more often than there are attempts: none is used.
    yield Row('throttled', [fault('status', status=429, count=ATTEMPTS + 2)], 'accepted', ATTEMPTS + 3, 1, 1, status)


def senate_rows():
    yield Row('good', [], 'accepted', 1, 1, 1, 201)
    yield Row('accepted-200', [fault('accept_then_500', status=200)], 'accepted', 1, 1, 1, 200)
    for status in (400, 402, 410, 415, 422):
        yield rejected(status)
    yield Row('conflict-at-first', [fault('status', status=409)], 'id_conflict', 1, 0, 1, 409)
    for status in (408, 500, 502, 503, 504):
        yield Row('status-%d' % status, [fault('status', status=status, count=1)], 'accepted', 2, 1, 2, 201)
    yield Row('taken-then-500', [fault('accept_then_500', count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('taken-then-400', [fault('accept_then_500', count=1), fault('status', status=400, count=1)],
              'outcome_unknown', 2, 1, 2, 400)
    yield Row('reset-mid-body', [fault('reset_mid_body', count=1)], 'accepted', 2, 1, 2, 201)
    yield Row('reset-after-body', [fault('reset_after_body', count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('lost-after-body', [fault('reset_after_body', count=1, record=False)], 'accepted', 2, 1, 2, 201)
    yield Row('close-after-body', [fault('close_after_body', count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('partial-status', [fault('partial_status', count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('stall', [fault('stall', count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('endless-header', [fault('trickle', bytes=20, ms=900, count=1)], 'accepted_earlier', 2, 1, 2, 409)
    yield Row('always-500', [fault('status', status=500)], 'outcome_unknown', ATTEMPTS, 0, ATTEMPTS, 500)
    yield from good_rows(201)


class Answers(unittest.TestCase):
    """All rows at once, each at an office of its own."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stacks.Stack(chamber=LIMITS, jobs=JOBS)
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        cls.worker = cls.stack.start_worker()
        cls.rows, cls.submissions = {}, []
        for chamber, rows in (('house', house_rows()), ('senate', senate_rows())):
            for row, code in zip(rows, CHAMBERS[chamber]):
                for rule in row.faults:
                    cls.stack.sim.fault(**rule, office=code, chamber=chamber)
                cls.rows['%s-%s' % (chamber, row.name), code] = row
        cls.submissions = [letter(sid, code) for sid, code in cls.rows]
        cls.stack.submit(*cls.submissions)
        cls.stack.wait_results(len(cls.rows))
        cls.last = account.last_results(cls.stack)

    def test_outcomes(self):
        for key, row in self.rows.items():
            with self.subTest(key[0]):
                result = self.last[key]
                self.assertEqual((result['outcome'], int(result['attempt']), int(result['http_status'])),
                                 (row.outcome, row.attempt, row.status))
                if row.detail:
                    self.assertEqual(result['detail'], row.detail)

    def test_posts(self):
        for key, row in self.rows.items():
            with self.subTest(key[0]):
                records = self.stack.sim.records(office=key[1])
                self.assertEqual((len(records), sum(r['accepted'] for r in records)), (row.posts, row.taken))
                self.assertEqual({r['delivery_id'] for r in records}, {account.delivery_id(*key)})

    def test_resent_no_sooner_than_the_total_time_out(self):
        """A POST of unknown fate could still be under way until then."""
        for key, row in self.rows.items():
            if key[1][0] == 'S' and row.attempt > 1:
                times = [r['t'] for r in self.stack.sim.records(office=key[1])]
                for earlier, later in zip(times, times[1:]):
                    # The record is written when the body has come; the POST began just before.
                    self.assertGreater(later - earlier, TOTAL_S - 0.5, key[0])

    def test_history(self):
        for key, row in self.rows.items():
            with self.subTest(key[0]):
                history = self.stack.job(*key)['history'].rstrip(';').split(';')
                self.assertEqual(len(history), row.posts)
                entries = [h.split(',') for h in history]
                self.assertTrue(all(int(e[1]) <= int(e[2]) for e in entries))
                self.assertEqual(int(entries[-1][3]), row.status)
                self.assertEqual(entries[-1][4], row.outcome)

    def test_all_accounts_agree(self):
        account.check(self, self.stack, self.submissions)
        unknown = {key for key, row in self.rows.items() if row.outcome in ('outcome_unknown', 'id_conflict')}
        indexed = {tuple(i.rsplit(':', 1)) for i in self.stack.redis('ZRANGE', self.stack.key('unknown'), 0, -1)}
        self.assertEqual(indexed, unknown)
        self.assertEqual((self.stack.stream('dead'), self.stack.keys('holds')), ([], []))


class Exhausted(Case):
    def test_attempts(self):
        stack = self.start()
        stack.sim.close_idle()
        stack.sim.fault(action='tls_refuse')
        some = self.both('spent')
        stack.submit(*some)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual({(r['outcome'], r['state'], r['attempt'], r['retryable']) for r in last.values()},
                         {('attempts_exhausted', 'dead', str(ATTEMPTS), '1')})
        dead = stack.stream('dead')
        self.assertEqual({(d['sid'], d['office']) for d in dead}, set(last))
        for d in dead:
            self.assertEqual(set(d), account.DEAD_FIELDS)
            result = last[d['sid'], d['office']]
            for field in ('rev', 'outcome', 'class', 'detail', 'http_status', 'delivery_id', 'attempt', 'generation',
                          'ended_us'):
                self.assertEqual(d[field], result[field], field)
            history = [h.split(',') for h in d['history'].rstrip(';').split(';')]
            self.assertEqual([(h[0], h[4]) for h in history],
                             [('1', 'not_sent'), ('2', 'not_sent'), ('3', 'attempts_exhausted')])
            self.assertEqual(int(d['deliveries']), ATTEMPTS)
        self.assertEqual(stack.sim.count(), 0)

        # A person replays them: the same DeliveryId, a new budget.
        stack.sim.clear_faults()
        for s in some:
            self.assertEqual(stack.admin('replay', s['sid'], s['offices'][0])[0], 'OK')
        stack.wait_results(4)
        last = account.check(self, stack, some)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual(stack.stream('dead'), [])

    def test_age(self):
        stack = self.start(jobs={**JOBS, 'attempts': 100, 'age_max': '1s'})
        stack.sim.close_idle()
        stack.sim.fault(action='tls_refuse')
        some = self.both('old')
        stack.submit(*some)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual({(r['outcome'], r['state']) for r in last.values()}, {('age_exhausted', 'dead')})
        for r in last.values():
            self.assertGreater(int(r['ended_us']) - int(stack.job(r['sid'], r['office'])['first_us']), 1000000)
            self.assertGreater(int(r['attempt']), 3)


class Unknown(Case):
    def test_never_again_at_the_house(self):
        stack = self.start()
        stack.sim.fault(action='accept_then_500', chamber='house', count=1)
        submission = letter('asked', letters.HOUSE)
        entry = stack.entry(submission)
        stack.enqueue([entry])
        stack.wait_status('asked', letters.HOUSE, 'unknown', 'outcome_unknown')
        # Neither the same bytes, nor others, nor a newer generation.
        stack.enqueue([entry, stack.entry(submission), stack.entry(submission, generation=9)])
        wait_until(lambda: len(stack.stream('refused')) == 2, what='refusals')
        stack.wait_idle()
        self.assertEqual({e['why'] for e in stack.stream('refused')}, {'closed'})
        self.assertEqual((stack.sim.count(), len(stack.stream('results'))), (1, 1))
        account.check(self, stack, [submission])

        # A person asked the House, and says so.
        self.assertEqual(stack.admin('resolve', 'asked', letters.HOUSE, 'accepted')[0], 'OK')
        stack.wait_status('asked', letters.HOUSE, 'accepted')
        account.check(self, stack, [submission])
        self.assertEqual((stack.sim.count(), stack.redis('ZCARD', stack.key('unknown'))), (1, 0))

    def test_a_person_resends(self):
        stack = self.start()
        stack.sim.fault(action='status', status=500, chamber='house', count=1)
        submission = letter('resent', letters.HOUSE)
        stack.submit(submission)
        stack.wait_status('resent', letters.HOUSE, 'unknown')
        self.assertEqual(stack.admin('resolve', 'resent', letters.HOUSE, 'resend')[0], 'OK')
        stack.wait_status('resent', letters.HOUSE, 'accepted')
        account.check(self, stack, [submission])
        self.assertEqual(len({r['delivery_id'] for r in stack.sim.records()}), 1)
        self.assertEqual(stack.sim.count(), 2)

    def test_house_by_policy(self):
        stack = self.start(measured_house={'unknown_policy': 'resend'}, measured_senate={'unknown_policy': 'hold'})
        stack.sim.fault(action='status', status=500, count=1, office=letters.HOUSE)
        stack.sim.fault(action='status', status=500, count=1, office=letters.SENATE)
        some = self.both('policy')
        stack.submit(*some)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some], ['accepted', 'outcome_unknown'])

    def test_seen_in_this_boot(self):
        """Redis loses what it knew (a rollback to before the letter): the worker does not POST an accepted id again."""
        stack = self.start()
        submission = letter('rolled-back', letters.HOUSE)
        entry = stack.entry(submission)
        stack.enqueue([entry])
        stack.wait_status('rolled-back', letters.HOUSE, 'accepted')
        stack.redis('DEL', *(stack.key(k) for k in ('sub:rolled-back', 'job:rolled-back:HNE03', 'results')))
        stack.enqueue([entry])
        stack.wait_results(1)
        result = account.check(self, stack, [submission])['rolled-back', letters.HOUSE]
        self.assertEqual((result['outcome'], result['detail']), ('accepted_earlier', 'seen_this_boot'))
        self.assertEqual(stack.sim.count(), 1)


if __name__ == '__main__':
    unittest.main()
