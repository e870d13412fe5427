#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a letter for each answer of a chamber, and for each way in which there is none: the outcome, the
attempts, and how often the letter went out. Counted at the simulated chambers."""
import os
import socket
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from stack import letters, wait_until  # noqa: E402

TOTAL_S = 3
LIMITS = {'total_timeout': '%ds' % TOTAL_S, 'first_byte_timeout': '1s', 'connect_timeout': '2s'}
JOBS = {'attempts': 3, 'backoff_base': '50ms', 'backoff_cap': '200ms'}
ATTEMPTS = 3
CHAMBERS = {'house': letters.offices.house_offices(), 'senate': letters.offices.senate_active()}


def letter(sid, code):
    submission = letters.base('outcome', 'letter', code)
    submission['sid'] = sid
    return submission


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


class Case(unittest.TestCase):
    def start(self, worker=True, **options):
        self.stack = stacks.Stack(**{'chamber': LIMITS, 'jobs': JOBS, **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        if worker:
            self.worker = self.stack.start_worker()
            self.worker.wait_event('offices_loaded', n=2)
        return self.stack

    def both(self, tag):
        return [letter(tag + '-h', letters.HOUSE), letter(tag + '-s', letters.SENATE)]


class Connections(Case):
    """Faults that hit whoever connects: one batch after the other. Kept connections are closed first."""

    def test_before_anything_left(self):
        stack = self.start()
        cases = [('refuse', {'action': 'tls_refuse'}, 'tls'), ('rst', {'action': 'tls_refuse', 'reset': True}, 'tls'),
                 ('garbage', {'action': 'tls_garbage'}, 'tls'), ('stall', {'action': 'tls_stall'}, 'connect_timeout')]
        sent = []
        for name, rule, _why in cases:
            with self.subTest(name):
                stack.sim.close_idle()
                for chamber in CHAMBERS:
                    stack.sim.fault(**rule, chamber=chamber, count=1)
                some = self.both(name)
                sent += some
                stack.submit(*some)
                stack.wait_results(len(sent))
                last = account.last_results(stack)
                for s in some:
                    result = last[s['sid'], s['offices'][0]]
                    self.assertEqual((result['outcome'], result['attempt']), ('accepted', '2'))
                    self.assertIn(',0,not_sent;', stack.job(s['sid'], s['offices'][0])['history'])
                stack.sim.clear_faults()
        self.assertEqual(stack.sim.count(), len(sent))
        whys = {e['sid'][:-2]: e['fate'] for e in self.worker.events('letter_sent') if e['http_status'] == 0}
        self.assertEqual({k: v for k, v in whys.items() if k != 'rst'},
                         {name: why for name, _, why in cases if name != 'rst'})
        account.check(self, stack, sent)

    def test_wrong_certificates(self):
        """Nothing is sent to a peer that cannot prove its name; when it can, the letters go."""
        stack = self.start(jobs={**JOBS, 'attempts': 100})
        sent = []
        for cert in ('expired', 'wrong-host', 'other-ca'):
            stack.sim.close_idle()
            stack.sim.tls(cert)
            some = self.both(cert)
            sent += some
            stack.submit(*some)
            for s in some:
                wait_until(lambda s=s: stack.job(s['sid'], s['offices'][0]).get('history', '').count('not_sent') >= 2,
                           what='refused handshakes')
            self.assertEqual(stack.sim.count(), len(sent) - len(some))
            stack.sim.tls()
            stack.wait_results(len(sent))
        self.assertEqual({r['outcome'] for r in account.check(self, stack, sent).values()}, {'accepted'})
        self.assertEqual(stack.sim.count(), len(sent))
        self.assertEqual({e['fate'] for e in self.worker.events('letter_sent')}, {'tls', 'answered'})

    def test_reset_within_the_request(self):
        """The body was on its way: nobody knows. House: the end. Senate: again."""
        stack = self.start()
        sent = []
        for action in ('reset_before_read', 'reset_after_headers'):
            stack.sim.close_idle()
            for chamber in CHAMBERS:
                stack.sim.fault(action=action, chamber=chamber, count=1)
            some = self.both(action)
            sent += some
            stack.submit(*some)
            stack.wait_results(len(sent))
            last = account.last_results(stack)
            house, senate = (last[s['sid'], s['offices'][0]] for s in some)
            self.assertEqual((house['outcome'], house['attempt'], house['detail']), ('outcome_unknown', '1', 'reset'))
            self.assertEqual((senate['outcome'], senate['attempt']), ('accepted', '2'))
        account.check(self, stack, sent)
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (2, 4))

    def test_stalled_reading(self):
        """The chamber takes no byte of the body: the answer is late, the fate unknown."""
        stack = self.start()
        stack.sim.fault(action='stall', when='read', chamber='house', count=1)
        some = [letter('stalled', letters.HOUSE)]
        stack.submit(*some)
        stack.wait_results(1)
        result = account.check(self, stack, some)['stalled', letters.HOUSE]
        self.assertEqual((result['outcome'], result['detail']), ('outcome_unknown', 'first_byte_timeout'))


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


class Holds(Case):
    def hold(self, chamber):
        text = self.stack.redis('HGET', self.stack.key('holds'), chamber)
        if text is None:
            return None
        until, who, reason = text.split(' ', 2)
        return int(until) / 1e6 - time.time(), who, reason

    def due_now(self):
        """As if the time of everything that waits in `later` had come."""
        for member in self.stack.redis('ZRANGE', self.stack.key('later'), 0, -1):
            self.stack.redis('ZADD', self.stack.key('later'), 'XX', 1, member)

    def break_access(self, how):
        sim = self.stack.sim
        if how == 'agent':
            sim.set_agent('Somebody Else LLC')
        elif how == 'key':
            sim.set_keys(['0' * 32])
        else:
            sim.fault(action='status', status=how, count=2)
        return {'agent': 400, 'key': 401}.get(how, how)

    def mend_access(self):
        sim = self.stack.sim
        sim.clear_faults()
        sim.set_agent(letters.AGENT['DeliveryAgent'])
        sim.set_keys([sim.key])

    def test_misconfigured(self):
        """Our access is wrong, not the letter: the chamber is held, no attempt is used, and resume goes on."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        sent, posts = [], 0
        for number, how in enumerate(('agent', 'key', 401, 403, 404, 301, 302, 307, 308)):
            with self.subTest(how):
                status = self.break_access(how)
                first = self.both('first-%d' % number)
                stack.submit(*first)
                wait_until(lambda: self.hold('house') and self.hold('senate'), what='holds')
                stack.wait_status(first[0]['sid'], letters.HOUSE, 'later', 'misconfigured')
                stack.wait_status(first[1]['sid'], letters.SENATE, 'later', 'misconfigured')
                posts += 2
                self.assertEqual(stack.sim.count(), posts)
                second = self.both('second-%d' % number)
                stack.submit(*second)
                for s in second:
                    stack.wait_status(s['sid'], s['offices'][0], 'wait')
                for chamber in CHAMBERS:
                    left_s, who, reason = self.hold(chamber)
                    self.assertTrue(290 < left_s <= 300, left_s)
                    self.assertEqual((who[:3], reason), ('w1/', 'misconfigured'))
                for s in first:
                    job = stack.job(s['sid'], s['offices'][0])
                    self.assertEqual((job['attempt'], job['status']), ('0', str(status)))
                self.mend_access()
                self.assertEqual(stack.sim.count(), posts)
                for chamber in CHAMBERS:
                    self.assertEqual(stack.admin('resume', chamber)[0], 'OK')
                self.due_now()
                sent += first + second
                posts += 4
                stack.wait_results(len(sent))
                self.assertEqual(stack.sim.count(), posts)
        last = account.check(self, stack, sent)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual(len(self.worker.events('chamber_held')), 2 * 9)
        self.assertTrue(all(e['level'] == 'error' for e in self.worker.events('chamber_held')))

    def test_one_400_after_the_other(self):
        """16 of 20 answers 400: it is our XML or our access that is wrong. No more letters are ended by it."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        stack.sim.fault(action='status', status=400, chamber='house')
        some = [letter('suspect-%02d' % n, letters.HOUSE) for n in range(20)]
        stack.submit(*some)
        wait_until(lambda: self.hold('house'), what='hold')
        wait_until(lambda: stack.redis('ZCARD', stack.key('later')) == 1, what='the letter that was put back')
        stack.wait_results(15)
        self.assertEqual(stack.sim.count(), 16)
        self.assertEqual(stack.redis('ZCARD', stack.key('wait:HNE03')), 4)
        self.mend_access()
        stack.admin('resume', 'house')
        self.due_now()
        stack.wait_results(20)
        outcomes = [r['outcome'] for r in account.check(self, stack, some).values()]
        self.assertEqual((outcomes.count('rejected_by_chamber'), outcomes.count('accepted')), (15, 5))

    def test_retry_after(self):
        """429 with Retry-After holds the chamber for that long and uses no attempt; the other one goes on."""
        stack = self.start(chamber={**LIMITS, 'concurrency': 1})
        stack.sim.fault(action='status', status=429, retry_after=2, count=1, chamber='house')
        first = letter('told-to-wait', letters.HOUSE)
        stack.submit(first)
        wait_until(lambda: self.hold('house'), what='hold')
        asked = stack.sim.records()[0]['t']
        others = [letter('other-%d' % n, 'HNE01') for n in range(3)] + [letter('senate', letters.SENATE)]
        stack.submit(*others)
        stack.wait_status('senate', letters.SENATE, 'accepted')
        stack.wait_results(5)
        house = stack.sim.records(chamber='house')
        self.assertEqual(len(house), 5)
        self.assertGreater(house[1]['t'] - asked, 1.9)
        self.assertLess(house[-1]['t'] - asked, 12)
        last = account.check(self, stack, [first] + others)
        self.assertEqual({(r['outcome'], r['attempt']) for r in last.values()}, {('accepted', '1')})
        self.assertEqual([e['reason'] for e in self.worker.events('chamber_held')], ['throttled'])

    def test_a_person_s_hold_is_not_shortened(self):
        """The hold comes while a POST is on the wire that will be answered 429 with a short Retry-After."""
        stack = self.start()
        stack.sim.fault(action='status', status=429, retry_after=1, count=1, chamber='house', delay_ms=500)
        stack.submit(letter('on-the-wire', letters.HOUSE))
        stack.sim.wait_count(1)
        until = int((time.time() + 3600) * 1e6)
        self.assertEqual(stack.admin('hold', 'house', until, 'a person knows better')[0], 'OK')
        stack.wait_status('on-the-wire', letters.HOUSE, 'later', 'throttled')
        stack.submit(letter('behind', letters.HOUSE))
        stack.wait_status('behind', letters.HOUSE, 'wait')
        self.assertGreater(self.hold('house')[0], 3500)
        stack.admin('resume', 'house')
        stack.wait_results(2)

    def test_maintenance_after_the_body(self):
        """503 with Retry-After, but the body had left: at the House a person must ask; nothing is sent again."""
        stack = self.start()
        stack.sim.maintenance(True, retry_after=1)
        some = self.both('maintained')
        stack.submit(*some)
        stack.wait_status('maintained-h', letters.HOUSE, 'unknown', 'outcome_unknown')
        stack.sim.maintenance(False)
        stack.wait_results(2)
        last = account.check(self, stack, some)
        self.assertEqual([last[s['sid'], s['offices'][0]]['outcome'] for s in some], ['outcome_unknown', 'accepted'])
        self.assertEqual((stack.sim.count(chamber='house'), stack.sim.count(chamber='senate')), (1, 2))


class EarlyAnswer(threading.Thread):
    """A House that answers its first connection before it is asked: the answer lies in the same bytes as the end of the
    TLS 1.2 handshake, so that the client has read it before it could hand out a body. Then a good one."""

    EARLY = b'HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

    def __init__(self, pki):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki + '/server.pem', pki + '/server.key')
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = 'tcp:127.0.0.1:%d' % self.listener.getsockname()[1]
        self.early = bytearray()    # what came on the first connection
        self.bodies = []            # what came on the others

    def run(self):
        first = True
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            raw.settimeout(20)
            try:
                self.serve(raw, first)
            except OSError:
                pass
            raw.close()
            first = False

    def serve(self, raw, first):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)

        def more():
            data = raw.recv(65536)
            if not data:
                raise OSError('closed')
            incoming.write(data)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                more()
        if first:
            tls.write(self.EARLY)
        raw.sendall(outgoing.read())
        data = self.early if first else bytearray()
        while True:
            try:
                chunk = tls.read(65536)
            except ssl.SSLWantReadError:
                more()
                continue
            if not chunk:
                return
            data += chunk
            if not first and self.whole(data):
                self.bodies.append(bytes(data.partition(b'\r\n\r\n')[2]))
                del data[:]
                tls.write(self.GOOD)
                raw.sendall(outgoing.read())

    @staticmethod
    def whole(data):
        head, end, body = data.partition(b'\r\n\r\n')
        length = [int(line.split(b':')[1]) for line in head.split(b'\r\n') if line.lower().startswith(b'content-length')]
        return bool(end) and bool(length) and len(body) >= length[0]


class BeforeTheBody(Case):
    def test_503_before_the_body_left(self):
        """Throttled: no attempt is used, the letter surely was not sent, and goes out later."""
        stack = self.start(worker=False, measured_house={'offices_url': ''})
        server = EarlyAnswer(stack.sim.dir + '/pki')
        self.addCleanup(server.listener.close)
        server.start()
        stack.sim.ready['house'] = server.address
        self.worker = stack.start_worker()
        stack.submit(letter('early', letters.HOUSE))
        stack.wait_status('early', letters.HOUSE, 'later', 'throttled')
        job = stack.job('early', letters.HOUSE)
        self.assertEqual((job['attempt'], job['status'], server.bodies), ('0', '503', []))
        self.assertNotIn(b'<CWC>', bytes(server.early))
        stack.wait_results(1)
        result = account.last_results(stack)['early', letters.HOUSE]
        self.assertEqual((result['outcome'], result['attempt']), ('accepted', '1'))
        self.assertEqual(len(server.bodies), 1)


if __name__ == '__main__':
    unittest.main()
