#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis may be anybody's: what it says can delay a letter, but it cannot stop the worker, choose where a letter goes or
what is in it, have one sent twice, or have a receipt signed for what never left. Each test lets a liar (liar.py) answer
a call wrongly; then the truth is told again, and the letter must arrive."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import liar as liars  # noqa: E402
import stack as stacks  # noqa: E402
from liar import Error, Status  # noqa: E402
from life_case import LEASE_S, TOTAL, letter  # noqa: E402
from stack import letters, rq, wait_until  # noqa: E402

JOBS = {'attempts': 3, 'backoff_base': '50ms', 'backoff_cap': '200ms'}
LEAST, MOST = b'-9223372036854775808', b'9223372036854775807'
WRAPPED = b'4294967496'  # 200, cut to 32 bits
HOUSE, SENATE = letters.HOUSE, letters.SENATE
# What a job given back needs at most: a lease until it is seen, and the way to the chamber.
BACK_S = LEASE_S + 3

# Members of a job in the answer to TAKE, and of the ARGV of SETTLE.
SID, OFFICE, TOKEN, WHY, GENERATION, ATTEMPT, CRASHES, UNKNOWNS, DELIVERY_ID = 0, 1, 2, 3, 6, 7, 8, 9, 10
DATE, BEGUN, FIRST, REV, STATUS, BYTES = 11, 12, 13, 14, 16, 17
VERB, OUTCOME, DETAIL, HTTP_STATUS, RECEIPT, RECEIPT_ALT = 4, 6, 9, 10, 14, 15


def in_take(sid, change):
    """A lie about one job of an answer to TAKE: change(job) gives the entries in its place."""
    def lie(_argv, reply):
        jobs = reply[2:] if isinstance(reply, list) else []
        mine = [j for j in jobs if isinstance(j, list) and j[SID] == sid.encode()]
        if not mine:
            return None
        return [x for j in reply for x in (change(j) if j is mine[0] else [j])]
    return lie


def about(sid, reply):
    """A lie about one job in the place of an answer to BEGIN or SETTLE. reply: what is said, or a function of the
    truth."""
    def lie(argv, *truth):
        if argv[1] != sid.encode():
            return None
        return reply(*truth) if callable(reply) else reply
    return lie


def with_member(index, value):
    def change(entry):
        return entry[:index] + [value] + entry[index + 1:]
    return change


def forge(members):
    def change(job):
        return [[members.get(i, x) for i, x in enumerate(job)]]
    return change


class Case(unittest.TestCase):
    """One worker for all tests of a class: it must survive them all."""

    @classmethod
    def setUpClass(cls):
        cls.stack = stacks.Stack(lease='%ds' % LEASE_S, chamber=TOTAL, jobs=JOBS)
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        cls.liar = liars.Liar(cls.stack.redis_path, cls.stack.path('liar.sock'))
        cls.addClassCleanup(cls.liar.close)
        cls.stack.dialled = cls.liar.path
        cls.worker = cls.stack.start_worker()
        cls.worker.wait_event('offices_loaded', n=2)

    def tearDown(self):
        self.liar.honest()
        self.stack.sim.clear_faults()
        self.assertIsNone(self.worker.process.poll(), self.worker.tail())
        self.worker.events()  # a line that is not an event is a report of a fault

    def result(self, sid, timeout=BACK_S):
        """The job's end, told in the queue."""
        def check():
            return [r for r in self.stack.results() if r['sid'] == sid and r['state'] != 'late']
        found = wait_until(check, timeout, 'result of ' + sid)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def posts(self, sid, code=HOUSE):
        return self.stack.sim.records(delivery_id=account.delivery_id(sid, code))

    def delivered(self, sid, code=HOUSE, outcome='accepted', attempt='1', timeout=BACK_S):
        """The letter went out once, to its own chamber, and the result says so."""
        result = self.result(sid, timeout)
        self.assertEqual((result['outcome'], result['attempt']), (outcome, attempt), result)
        self.assertEqual([(r['chamber'], r['accepted']) for r in self.posts(sid, code)],
                         [('house' if code == HOUSE else 'senate', True)])
        return result

    def check_all(self):
        self.stack.wait_idle(20)
        account.check(self, self.stack)

    def receipts(self, argv):
        return [account.open_receipt(self.stack, {'receipt': argv[i]}) for i in (RECEIPT, RECEIPT_ALT) if argv[i]]

    def all_delivered(self, lies, timeout=BACK_S):
        """lies: {sid: lie or None}. One letter for each, all at once; every lie is told, every letter arrives."""
        self.stack.submit(*(letter(sid) for sid in lies))
        for lie in lies.values():
            lie.wait()
        end = time.monotonic() + timeout
        for sid in lies:
            with self.subTest(sid):
                self.delivered(sid, timeout=max(0, end - time.monotonic()))
        self.check_all()


class Take(Case):
    def test_late(self):
        """A letter that never left is not `accepted`; what a record says is signed as no more than that."""
        claim = {WHY: b'late', ATTEMPT: b'1', DELIVERY_ID: b'f' * 32, BEGUN: b'1700000000000000', STATUS: b'200'}
        self.liar.after('take', in_take('late', forge(claim)))
        forged = self.liar.after('take', in_take('replaced', forge({**claim, SID: b'never-existed', BYTES: b'x'})))
        self.stack.submit(letter('late'), letter('replaced'))
        forged.wait()
        for sid in ('late', 'replaced'):
            self.delivered(sid)
        for sid in ('late', 'never-existed'):
            argv = wait_until(lambda sid=sid: self.liar.asked('settle', sid), what='SETTLE of ' + sid)[0]
            self.assertEqual((argv[OUTCOME], argv[HTTP_STATUS]), (b'accepted_on_record', b'0'))
            for members in self.receipts(argv):
                self.assertEqual(members['outcome'], 'accepted_on_record')
                self.assertFalse({'http_status', 'begun_ms'} & set(members), members)
        self.assertEqual(self.posts('never-existed'), [])
        self.check_all()

    def test_cancelled(self):
        """A forged end is no lie about a POST: it is possible, and its status is a status."""
        self.liar.after('take', in_take('end', forge({WHY: b'cancelled', STATUS: WRAPPED})))
        self.stack.submit(letter('end'))
        result = self.result('end')
        self.assertEqual((result['outcome'], result['http_status']), ('cancelled', '0'))
        self.assertNotIn('http_status', account.open_receipt(self.stack, result))
        self.assertEqual(self.posts('end'), [])
        self.check_all()

    def test_other_chamber(self):
        """A job in the answer for the other chamber is given back; it goes nowhere but to its own."""
        for sid, code in (('astray-h', HOUSE), ('astray-s', SENATE)):
            kept, own = [], b'house' if code == HOUSE else b'senate'

            def move(argv, reply, sid=sid, kept=kept, own=own):
                if not isinstance(reply, list) or len(reply) < 2:
                    return None
                if argv[0] != own:
                    return reply + [kept.pop()] if kept else None
                kept += [j for j in reply[2:] if j[SID] == sid.encode()]
                return [x for x in reply if x not in kept] if kept else None
            lie = self.liar.after('take', move, times=6)
            self.stack.submit(letter(sid, code))
            lie.wait()
            self.delivered(sid, code)
        self.check_all()

    def test_twice(self):
        """One job in one answer twice, and more often than there is room for jobs: one POST."""
        for sid, copies in (('twice', 2), ('often', 128)):
            self.stack.sim.fault(action='delay', ms=400, count=1)
            lie = self.liar.after('take', in_take(sid, lambda j, copies=copies: [j] * copies))
            self.stack.submit(letter(sid))
            lie.wait()
            result = self.result(sid)
            # The copies took the token with them: the queue learns it from the next try, which does not POST.
            self.assertIn((result['state'], result['outcome']),
                          {('accepted', 'accepted'), ('accepted', 'accepted_earlier')})
            self.assertEqual(len(self.posts(sid)), 1)
        self.check_all()

    def test_unreadable_jobs(self):
        """What does not fit is left alone, and given back."""
        forms = {
            'sid-long': forge({SID: b's' * 70}), 'sid-other': forge({SID: b's' * 64}), 'sid-none': forge({SID: b''}),
            'office-long': forge({OFFICE: b'HNE033'}), 'office-zero': forge({OFFICE: b'\0\0\0\0\0'}),
            'office-other': forge({OFFICE: b'XNE03'}), 'office-wrong': forge({OFFICE: SENATE.encode()}),
            'token-long': forge({TOKEN: b't' * 161}), 'token-other': forge({TOKEN: b't' * 160}),
            'fields-17': lambda j: [j[:17]], 'fields-19': lambda j: [j + [b'']], 'number': lambda j: [7],
            'nothing': lambda j: [None], 'error': lambda j: [[b'ERR', b'x']], 'deep': lambda j: [[[[j]]]],
            'cut': lambda j: [],
        }
        self.all_delivered({'form-' + n: self.liar.after('take', in_take('form-' + n, f)) for n, f in forms.items()},
                           timeout=2 * BACK_S)

    def test_unreadable_answers(self):
        """The jobs of such an answer are known to nobody: ADOPT finds them."""
        for n, reply in enumerate(([], [b'x'] * 300, 5, b'', Status(b'OK'), Error(b'ERR x'), [LEAST, MOST],
                                   [MOST, LEAST], [b'SKEW'], [[b'FENCED']])):
            sid = 'answer-%d' % n
            with self.subTest(reply=reply):
                lie = self.liar.after('take', lambda _argv, truth, reply=reply, sid=sid:
                                      reply if in_take(sid, lambda j: [j])(None, truth) else None)
                self.stack.submit(letter(sid))
                lie.wait()
                self.delivered(sid)
        self.check_all()

    def test_unknown_jobs(self):
        """Jobs under the worker's name that it never heard of (a TAKE carried out after its connection was given up)
        are back in line after about a lease, while it goes on."""
        lie = self.liar.after('take', in_take('unheard', lambda j: []))
        self.stack.submit(letter('unheard'))
        lie.wait()
        self.stack.submit(letter('meanwhile'))
        self.delivered('meanwhile')
        start = time.monotonic()
        self.delivered('unheard')
        self.assertLess(time.monotonic() - start, BACK_S)
        self.check_all()

    def test_date(self):
        """A date that no BEGIN can have fixed is today's."""
        dates = (b'20990101', b'19700101', b'99999999', b'20260231', b'2026-1-1', b'00000000', b'x' * 8, b'2' * 300)
        lies = {}
        for n, date in enumerate(dates):
            lies['date-%d' % n] = self.liar.after('take', in_take('date-%d' % n, forge({DATE: date})))
        days = {account.eastern_date(time.time())}
        self.all_delivered(lies)
        days.add(account.eastern_date(time.time()))
        for sid in lies:
            self.assertIn(self.liar.asked('begin', sid)[0][5].decode(), days)

    def test_numbers(self):
        """Numbers beyond any meaning are none."""
        lies = {}
        for member in (GENERATION, ATTEMPT, CRASHES, UNKNOWNS, BEGUN, FIRST, REV, STATUS):
            for n, value in enumerate((LEAST, MOST, WRAPPED)):
                sid = 'number-%d-%d' % (member, n)
                lies[sid] = self.liar.after('take', in_take(sid, forge({member: value})))
        self.all_delivered(lies)


class Begin(Case):
    def test_errors(self):
        """Not carried out, or carried out and not told: the job is back in line within a lease, the attempt unused."""
        kinds = (Error(b'BUSY Redis is busy running a script.'), Error(b'OOM command not allowed'), Error(b'ERR x'),
                 Error(b'NOREPLICAS Not enough good replicas to write.'), [b'WHAT'], [b'GO'], [], 7)
        lies = {}
        for n, kind in enumerate(kinds):
            lies['unbegun-%d' % n] = self.liar.instead('begin', about('unbegun-%d' % n, kind))
            lies['untold-%d' % n] = self.liar.after('begin', about('untold-%d' % n, kind))
        start = time.monotonic()
        self.all_delivered(lies)
        self.assertLess(time.monotonic() - start, BACK_S)

    def test_new_master(self):
        """The connection is given up: the rest is as above."""
        for kind in (b'READONLY You can\'t write against a read only replica.', b'LOADING', b'MASTERDOWN'):
            sid = 'moved-' + kind[:4].decode()
            lie = self.liar.instead('begin', about(sid, Error(kind)))
            self.stack.submit(letter(sid))
            lie.wait()
            self.delivered(sid)
        self.check_all()

    def test_another_letter(self):
        """Leave to send another id or date than was asked for is no leave."""
        for sid, index, value in (('id', 1, b'f' * 32), ('date', 2, b'20200101')):
            lie = self.liar.after('begin', about(sid, with_member(index, value)))
            self.stack.submit(letter(sid))
            lie.wait()
            self.delivered(sid, attempt='2')
            self.assertEqual(self.liar.asked('settle', sid)[0][DETAIL], b'record_changed')
        self.check_all()

    def test_numbers(self):
        lies = {}
        for member in (3, 4):
            for n, value in enumerate((LEAST, MOST, WRAPPED)):
                sid = 'go-%d-%d' % (member, n)
                lies[sid] = self.liar.after('begin', about(sid, with_member(member, value)))
        self.all_delivered(lies)

    def test_begun(self):
        """When a POST began is added to: it must not overflow. The Senate is asked again, and knows the letter."""
        for n, value in enumerate((LEAST, MOST)):
            sid = 'begun-%d' % n
            self.stack.sim.fault(action='reset_after_body', count=1)
            lie = self.liar.after('begin', about(sid, with_member(5, value)))
            self.stack.submit(letter(sid, SENATE))
            lie.wait()
            result = self.result(sid)
            self.assertEqual((result['outcome'], result['attempt']), ('accepted_earlier', '2'))
            self.assertEqual([r['status'] for r in self.posts(sid, SENATE)][1:], [409])
        self.check_all()


class Settle(Case):
    def test_answers(self):
        """Whatever SETTLE is said to have answered, after it was carried out: one result, one POST."""
        kinds = ([b'BADVERB', b'wait', 1], [b'BEGUN', b'begun', 1], [b'NOTBEGUN', b'taken', 1], [b'STALE', b'', MOST],
                 [b'OK', b'accepted', LEAST], [b'WHAT'], [], 7, None, Error(b'BUSY x'), Error(b'OOM x'),
                 [b'OK', b'accepted', 3, b'house', b'open', MOST, HOUSE.encode(), b'closed', LEAST],
                 [b'OK', b'accepted', 3, b'x' * 300, b'open', 1, b'', b'', b'', 7, [], None],
                 [b'OK', b'accepted', 3, *[b'senate', b'open', 1] * 500])
        lies = {}
        for n, kind in enumerate(kinds):
            sid = 'settle-%d' % n
            lies[sid] = self.liar.after('settle', about(sid, kind if kind is not None else Status(b'OK')))
        self.all_delivered(lies)

    def test_not_carried_out(self):
        """The same answers without the deed: the outcome is told again until it is on record."""
        lies = {}
        for n, kind in enumerate(([b'BADVERB', b'wait', 1], [b'NOTBEGUN', b'taken', 1], [b'WHAT'], Error(b'BUSY x'))):
            lies['untold-%d' % n] = self.liar.instead('settle', about('untold-%d' % n, kind), times=2)
        self.all_delivered(lies)

    def test_unsent(self):
        """A job that was to be ended without a POST."""
        invalid = letter('invalid')
        invalid['sealed'].pop('Zip')
        lie = self.liar.instead('settle', about('invalid', [b'BADVERB', b'taken', 1]))
        self.stack.submit(invalid)
        lie.wait()
        self.assertEqual(self.result('invalid')['outcome'], 'letter_invalid')
        self.assertEqual(self.posts('invalid'), [])
        self.check_all()

    def lose_begin(self, sid, *changes):
        """A failover to a replica that has the TAKE, but not the BEGIN; and what somebody did to the record since."""
        key, kept = self.stack.key('job:%s:%s' % (sid, HOUSE)), []

        def remember(_argv):
            if not kept:
                with_client(self.stack, lambda r: kept.append(r('HGETALL', key)))

        def fail_over(_argv):
            if kept and kept[0]:
                with_client(self.stack, lambda r: (r('DEL', key), r('HSET', key, *kept[0]), [r(*c) for c in changes]))
                kept[0] = None
        self.liar.instead('begin', remember)
        self.liar.instead('settle', fail_over)
        self.stack.submit(letter(sid))
        result = self.delivered(sid)
        self.assertEqual(result['http_status'], '200')
        self.assertEqual(account.open_receipt(self.stack, result)['http_status'], 200)
        self.assertGreaterEqual(len(self.liar.asked('settle', sid)), 2)

    def test_lost_begin(self):
        """The answer of the POST that left all the same becomes the result, and nothing is sent again."""
        self.lose_begin('forgotten')
        self.check_all()

    def test_lost_begin_and_cancelled(self):
        """Nothing that would have stopped the letter before its POST stops the report of it."""
        self.lose_begin('cancelled', ('HSET', self.stack.key('job:cancelled:' + HOUSE), 'cancelled', '1'))
        until = '%d test x' % (time.time() * 10**6 + 600 * 10**6)
        self.lose_begin('held', ('HSET', self.stack.key('holds'), HOUSE, until))
        self.stack.redis('DEL', self.stack.key('holds'))
        self.check_all()

    def test_lasting_error(self):
        """SETTLE fails each time. A letter that was sent is reported until it is on record; a job that was not is let
        go, and another TAKE brings it again."""
        invalid = letter('invalid-lasting')
        invalid['sealed'].pop('Zip')
        lies = [self.liar.instead('settle', about(sid, Error(b'ERR user_script:1: x')), times=5)
                for sid in ('invalid-lasting', 'sent-lasting')]
        self.stack.submit(invalid, letter('sent-lasting'))
        for lie in lies:
            lie.wait()
        self.delivered('sent-lasting', timeout=2 * BACK_S)
        self.assertEqual(self.result('invalid-lasting')['outcome'], 'letter_invalid')
        tokens = {sid: [argv[3] for argv in self.liar.asked('settle', sid)] for sid in ('invalid-lasting', 'sent-lasting')}
        self.assertEqual(len(set(tokens['invalid-lasting'])), 2)
        self.assertEqual(len(set(tokens['sent-lasting'])), 1)
        errors = [e['sid'] for e in self.worker.events('queue_error') if e.get('command') == 'settle']
        self.assertGreaterEqual(min(errors.count('invalid-lasting'), errors.count('sent-lasting')), 5)
        self.check_all()


def with_client(stack, use):
    client = rq.Client(stack.redis_path)
    use(client)
    client.close()


class Beat(Case):
    def test_clock(self):
        """A clock beyond any meaning is a wrong clock: no letter until it is right again."""
        for n, value in enumerate((LEAST, MOST)):
            ready = len(self.worker.events('ready'))
            lie = self.liar.after('beat', lambda argv, _reply, value=value:
                                  [b'OK', value] if argv[2] == b'beat' else None)
            lie.wait()
            self.assertEqual(self.worker.wait_event('not_ready', n=n + 1)['reason'], 'clock_skew')
            self.worker.wait_event('ready', n=ready + 1)
        self.stack.submit(letter('after'))
        self.delivered('after')
        self.check_all()

    def test_lengths(self):
        """What BEAT says of the places that people empty is for people alone."""
        for n, lengths in enumerate(([MOST] * 4, [LEAST] * 4, [b'x', [], None, b''], [], [1] * 4 + [b'x'] + [1] * 45)):
            lie = self.liar.after('beat', lambda argv, reply, lengths=lengths:
                                  [b'OK', reply[1], *lengths] if argv[2] == b'beat' else None)
            lie.wait()
            self.stack.submit(letter('lengths-%d' % n))
            self.delivered('lengths-%d' % n)
        self.check_all()

    def test_counts(self):
        for name in ('reap', 'adopt'):
            for reply in ([b'OK', MOST], [b'OK', LEAST], [b'WHAT'], 7, [], Error(b'ERR x')):
                self.liar.after(name, lambda _argv, _reply, reply=reply: reply)
        for lie in self.liar.lies:
            self.stack.submit(letter('count-%d' % self.liar.lies.index(lie)))
        for n in range(len(self.liar.lies)):
            self.delivered('count-%d' % n)
        self.check_all()


class Leaving(unittest.TestCase):
    def test_unknown_jobs(self):
        """A worker that stops gives back what it is said to hold and does not know."""
        with stacks.Stack(lease='60s', chamber=TOTAL) as stack:
            liar = liars.Liar(stack.redis_path, stack.path('liar.sock'))
            self.addCleanup(liar.close)
            stack.dialled = liar.path
            worker = stack.start_worker()
            lie = liar.after('take', in_take('unheard', lambda j: []))
            stack.submit(letter('unheard'))
            lie.wait()
            self.assertEqual(worker.stop(), 0)
            self.assertEqual((stack.keys('held:*'), stack.redis('ZCARD', stack.key('workers'))), ([], 0))
            self.assertEqual(stack.job('unheard', HOUSE)['state'], 'wait')


if __name__ == '__main__':
    unittest.main(verbosity=2)
