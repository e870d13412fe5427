#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Only what a known signer signed, for this queue, environment, submission and office and in its time, reaches Congress;
and nothing that is forged keeps out the genuine letter that stands before it, between or behind it.

Each kind of bad job alone, without a genuine one beside it, is in test_letters.py (`bad_jobs` of letters.py); who signs
and when, in test_signers.py; sandbox and production, in test_switches.py."""
import copy
import hashlib
import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import cbor2  # noqa: E402
import formats  # noqa: E402
import stack as stacks  # noqa: E402
from stack import letters, wait_until  # noqa: E402

HOUSE, SENATE, OTHER = letters.HOUSE, letters.SENATE, 'HNE01'
TTL_S = 3600
HEAD = {'job_syntax', 'job_algorithm'}
CODES = {'protected': HEAD | {'job_signer'}, 'signature': {'job_signature'}, 'envelope': {'job_envelope_hash'},
         'payload': {'job_syntax', 'job_version', 'job_field_missing', 'job_field_unknown', 'job_field_type', 'job_signature'}}


def letter(sid, *offices, profile='letter'):
    submission = letters.base('authentic', profile)
    submission.update(sid=sid, offices=list(offices or (HOUSE,)))
    return submission


def digest(job):
    return hashlib.sha1(job).hexdigest()


def regions(job):
    """(name, first byte, end) of all parts of a job; names as in CODES, or another one for what says where they are."""
    tag, envelope = cbor2.loads(job)
    protected, _, payload, signature = tag.value
    found, at = [('list', 0, 1), ('tag', 1, 2), ('sign1', 2, 3)], 3
    for name, data in (('protected', protected), ('unprotected', None), ('payload', payload), ('signature', signature),
                       ('envelope', envelope)):
        head = 1 if data is None else len(formats.encode(data)) - len(data)
        found.append((name + ' head', at, at + head))
        at += head
        if data is not None:
            found.append((name, at, at + len(data)))
            at += len(data)
    assert at == len(job)
    return found


def positions(job, rng, profile):
    """Which bytes to alter: all of them, or in a witness's, which is long, all of what is short, and of the rest its ends,
    the heads of its members and some more."""
    chosen = {}
    for name, low, high in regions(job):
        part = range(low, high)
        if len(part) < 24 or profile == 'letter':
            some = set(part)
        else:
            some = {low, high - 1, *rng.sample(part, 24)}
        if name == 'payload':
            at = low + 1
            for key, value in cbor2.loads(job[low:high]).items():
                some |= {at, at + len(formats.encode(key))}  # the heads of its name and of its value
                at += len(formats.encode(key)) + len(formats.encode(value))
        chosen.update({i: name for i in some})
    return sorted(chosen.items())


class Case(unittest.TestCase):
    def start(self, workers=0, **options):
        self.stack = stacks.Stack(**{'jobs': {'key_wait': '0s'}, 'device': 'simulated', **options})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.wanted = {}  # digest of what must be refused: (why, codes)
        for n in range(workers):
            self.stack.start_worker('w%d' % n)
        return self.stack

    def bad(self, entry, why, *codes):
        self.wanted[digest(entry['job'])] = (why, set(codes))
        return entry

    def check(self, submissions):
        """What was refused, and that each letter arrived once: at the chambers, and in a receipt."""
        stack = self.stack
        jobs = sum(len(s['offices']) for s in submissions)
        wait_until(lambda: len(account.last_results(stack)) >= jobs and
                   len({e['digest'] for e in stack.stream('refused')}) >= len(self.wanted), 30, 'end of all')
        stack.wait_idle()
        seen = {}
        for e in stack.stream('refused'):
            self.assertIn(e['digest'], self.wanted, e)
            self.assertNotIn((e['digest'], e['office']), seen, 'refused once for each office')
            seen[e['digest'], e['office']] = e
            why, codes = self.wanted[e['digest']]
            self.assertIn(e['why'], why.split('|'), e)
            if e['why'] == 'verify':
                self.assertIn(e['detail'], codes, e)
        self.assertEqual({d for d, _ in seen}, set(self.wanted))
        last = account.check(self, stack, submissions)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertEqual(len(stack.stream('results')), jobs)
        ids = [(r['delivery_id'], r['office']) for r in stack.sim.records()]
        self.assertEqual(len(ids), jobs)
        self.assertEqual(set(ids), {(account.delivery_id(sid, office, stack.app.environment), office) for sid, office in last})
        return last


class AlteredByte(Case):
    """One byte of a genuine job is another one. Three of these to a submission, and the genuine one first, in the middle
    or last: as its third candidate, of which there may be no more."""

    def test_letter(self):
        self.altered('letter')

    def test_witness(self):
        self.altered('witness')

    def altered(self, profile):
        stack, rng = self.start(), random.Random(profile)
        expires = int(time.time()) + TTL_S
        model = stack.entry(letter('a-0000', profile=profile))['job']
        plan = positions(model, rng, profile)
        submissions, seen = [], set()
        for n, first in enumerate(range(0, len(plan), 3)):
            s = letter('a-%04d' % n, profile=profile)
            job = stack.app.job(s, stack.ring, expires, {})
            entry = {'sid': s['sid'], 'offices': HOUSE, 'job': job}
            self.assertEqual(regions(job), regions(model))
            entries = []
            for at, name in plan[first:first + 3]:
                wrong = job[:at] + bytes([job[at] ^ rng.randrange(1, 256)]) + job[at + 1:]
                behind = n % 3 == 0 or (n % 3 == 1 and entries and at == plan[first:first + 3][-1][0])
                entries.append(self.bad({**entry, 'job': wrong}, 'closed' if behind else 'verify', *CODES.get(name, HEAD)))
                seen.add(name)
            entries.insert((0, len(entries) - 1 if len(entries) > 1 else len(entries), len(entries))[n % 3], entry)
            stack.enqueue(entries)
            submissions.append(s)
        self.assertEqual(seen, {name for name, *_ in regions(model)})
        self.assertGreater(len(plan), 100)
        while stack.redis('XLEN', stack.key('in')) > 0:  # all before the workers, so that each has its place
            self.assertEqual(stack.script('enqueue', 1000)[0], 'OK')
        self.assertEqual(stack.stream('refused'), [])
        for name in ('w1', 'w2'):
            stack.start_worker(name)
        self.check(submissions)
        for s in submissions:
            self.assertEqual(stack.status(s['sid'], HOUSE), ('accepted', 'accepted', '3'))  # as without the others


def signed(stack, submission, kid=None, seed=None, context=formats.JOB_CONTEXT, change=None, **claims):
    """An entry whose job has some `claims` before it is signed; `change` works on what was signed."""
    expires = int(time.time()) + TTL_S
    genuine = stack.app.job(submission, stack.ring, expires, {})
    tag, envelope = cbor2.loads(genuine)
    payload = {**cbor2.loads(tag.value[2]), **claims}
    parts = list(formats.sign1(context, (kid or stack.app.kid).encode(), formats.encode(payload), seed or stack.app.seed).value)
    if change:
        parts, envelope = change(parts, envelope)
    return {'sid': submission['sid'], 'offices': ','.join(submission['offices']),
            'job': formats.encode([cbor2.CBORTag(18, parts), envelope])}


def after_signing(**claims):
    def change(parts, envelope):
        payload = cbor2.loads(parts[2])
        return [parts[0], parts[1], formats.encode({**payload, **claims}), parts[3]], envelope
    return change


def without(claim):
    def change(parts, envelope):
        payload = cbor2.loads(parts[2])
        del payload[claim]
        return [parts[0], parts[1], formats.encode(payload), parts[3]], envelope
    return change


def another_envelope(stack, submission, hashed):
    """Sealed by somebody else, to say something else, under this signature."""
    other = copy.deepcopy(submission)
    other['sealed']['Subject'] = 'Something else altogether'
    replaced = stack.app.seal(other, stack.ring, int(time.time()) + TTL_S)
    claims = {'envelope_sha256': hashlib.sha256(replaced).digest()} if hashed else {}
    return lambda parts, _: (after_signing(**claims)(parts, None)[0], replaced)


def kinds():
    """name: (makes an entry for a submission, code)"""
    def plain(code, **options):
        return lambda stack, s: signed(stack, s, **options), code

    def fresh(code, **options):
        return lambda stack, s: signed(stack, s, seed=os.urandom(32), **options), code

    def fields(stack, s):
        return signed(stack, s, change=after_signing(fields={'ConstituentMessage': 'Not what was written.'}))

    def header(protected=None, unprotected=None):
        def change(parts, envelope):
            return [parts[0] if protected is None else formats.encode(protected), unprotected or {}, *parts[2:]], envelope
        return change
    far = int(time.time()) + 40 * 86400
    table = {
        'unknown-signer': fresh('job_signer', kid='stranger'),
        'known-signer-other-key': fresh('job_signature'),
        'known-key-other-name': plain('job_signer', kid='app-2025'),
        'for-a-receipt': plain('job_signature', context=formats.RECEIPT_CONTEXT),
        'for-no-context': plain('job_signature', context=b''),
        'no-signature': plain('job_signature', change=lambda p, e: ([*p[:3], bytes(64)], e)),
        'short-signature': plain('job_syntax', change=lambda p, e: ([*p[:3], p[3][:63]], e)),
        'other-algorithm': plain('job_algorithm', change=header({1: -7, 4: b'app-2026'})),
        'second-header': plain('job_algorithm', change=header(None, {4: b'app-2026'})),
        'fields-changed': (fields, 'job_signature'),
        'expiry-changed': plain('job_signature', change=after_signing(expires=int(time.time()) + 2 * TTL_S)),
        'generation-changed': plain('job_signature', change=after_signing(generation=7)),
        'priority-changed': plain('job_signature', change=after_signing(priority=1)),
        'not-before-added': plain('job_signature', change=after_signing(not_before=1)),
        'offices-changed': plain('job_signature', change=after_signing(offices=[HOUSE, OTHER])),
        'sid-changed': (lambda stack, s: signed(stack, {**s, 'sid': 'x'}, change=after_signing(sid=s['sid'])) |
                        {'sid': s['sid']}, 'job_signature'),
        'version-2': plain('job_version', v=2),
        'more-members': plain('job_field_unknown', urgent=True),
        'no-expiry': plain('job_field_missing', change=without('expires')),
        'other-envelope': (lambda stack, s: signed(stack, s, change=another_envelope(stack, s, False)), 'job_envelope_hash'),
        'other-envelope-hashed': (lambda stack, s: signed(stack, s, change=another_envelope(stack, s, True)), 'job_signature'),
        'for-another-queue': plain('job_queue', queue='q2'),
        'for-another-environment': plain('job_environment', environment='production'),
        'for-another-office': plain('job_office', offices=[OTHER]),
        'for-another-sid': (lambda stack, s: signed(stack, {**s, 'sid': s['sid'] + '-x'}) | {'sid': s['sid']}, 'job_sid'),
        'too-long-a-life': plain('job_expiry', expires=far),
    }
    return table


class Forged(Case):
    """Each kind of forgery: before, between and behind genuine bytes, while two workers work; then everything again."""

    def test_kinds(self):
        stack = self.start(workers=2)
        submissions, everything = [], []
        for name, (make, code) in kinds().items():
            for place in range(3):
                s = letter('%s-%d' % (name, place), HOUSE if place else SENATE)
                if name == 'for-another-office':
                    s['offices'] = [HOUSE]  # what was signed instead is of the same chamber
                entries = [self.bad(make(stack, s), 'verify|closed|candidates', code) for _ in range(2)]
                entries.insert(place, stack.entry(s))
                everything += entries
                stack.enqueue(entries)
                submissions.append(s)
        self.check(submissions)
        self.replayed(submissions, everything)

    def replayed(self, submissions, everything):
        """All bytes a second time, in any order: nothing new but refusals."""
        stack, before = self.stack, self.stack.sim.count()
        revs = {s['sid']: stack.status(s['sid'], s['offices'][0]) for s in submissions}
        refused = len(stack.stream('refused'))
        random.Random(1).shuffle(everything)
        stack.enqueue(everything)
        wait_until(lambda: len(stack.stream('refused')) == refused + len(self.wanted), 20, 'all refusals')
        stack.wait_idle()
        self.assertEqual({e['why'] for e in stack.stream('refused')[refused:]}, {'closed'})
        self.assertEqual(stack.sim.count(), before)
        self.assertEqual({s['sid']: stack.status(s['sid'], s['offices'][0]) for s in submissions}, revs)
        self.assertEqual(len(stack.stream('results')), len(submissions))

    def test_more_than_there_is_room_for(self):
        """Four that nobody looked at yet fill the places: the genuine one is refused, sent again, and arrives."""
        stack = self.start()
        s = letter('crowded')
        forged = [self.bad(signed(stack, s, seed=os.urandom(32)), 'verify', 'job_signature') for _ in range(4)]
        entry = stack.entry(s)
        stack.enqueue([*forged, entry])
        self.assertEqual(stack.script('enqueue', 5), ['OK', 5, 0])
        self.assertEqual([(e['why'], e['digest']) for e in stack.stream('refused')], [('candidates', digest(entry['job']))])
        stack.start_worker()
        wait_until(lambda: len(stack.stream('refused')) == 5, what='refusals')
        self.assertEqual((stack.sim.count(), stack.keys('job:*'), stack.keys('sub:*')), (0, [], []))
        stack.redis('DEL', stack.key('refused'))
        forged = [self.bad(signed(stack, s, seed=os.urandom(32)), 'verify|closed', 'job_signature')]
        self.wanted = {digest(forged[0]['job']): ('verify|closed', {'job_signature'})}
        stack.enqueue([*forged, entry])
        self.check([s])

    def test_offices_beside_the_signed_ones(self):
        """The entry names one more than was signed, and one fewer: what was signed goes, nothing else."""
        stack = self.start(workers=1)
        more, fewer = letter('more', HOUSE, SENATE), letter('fewer', HOUSE, SENATE)
        entry = {**stack.entry(more), 'offices': ','.join([OTHER, HOUSE, SENATE])}
        self.bad(entry, 'verify', 'job_office')
        stack.enqueue([entry, {**stack.entry(fewer), 'offices': SENATE}])
        fewer['offices'] = [SENATE]
        wait_until(lambda: len(account.last_results(stack)) == 3, what='results')
        self.check([more, fewer])
        self.assertEqual([e['office'] for e in stack.stream('refused')], [OTHER])
        self.assertEqual(stack.job('more', OTHER), {})

    def test_two_genuine_ones(self):
        """Two letters under one sid, both signed: the first is the letter, in whatever order the workers see them."""
        stack = self.start(workers=2)
        submissions = [letter('double-%d' % n) for n in range(20)]
        for s in submissions:
            other = copy.deepcopy(s)
            other['sealed']['Subject'] = 'A second letter with the same number'
            stack.enqueue([stack.entry(s), self.bad(stack.entry(other), 'closed')])
        self.check(submissions)


class Replayed(Case):
    def test_under_another_sid(self):
        """The bytes of letters that were accepted, and of letters that nobody has seen yet, under other names."""
        stack = self.start(workers=2)
        submissions = [letter('known-%d' % n) for n in range(10)]
        entries = [stack.entry(s) for s in submissions]
        stack.enqueue(entries[:5])
        stack.wait_results(5)
        stack.enqueue([{**self.bad(e, 'verify', 'job_sid'), 'sid': 'other-%d' % n} for n, e in enumerate(entries)])
        wait_until(lambda: len(stack.stream('refused')) == 10, what='refusals')
        self.assertEqual(stack.sim.count(), 5)
        self.assertEqual(stack.keys('*other-*'), [])
        # The genuine ones are not harmed by it.
        stack.enqueue(entries[5:])
        self.check(submissions)

    def test_an_older_generation(self):
        """Once more the same bytes as before a newer one: never opened again, whatever became of that."""
        stack = self.start(workers=2)
        stack.sim.fault(action='status', status=422, count=2, office=HOUSE)
        s = letter('older')
        oldest, older, newest = (stack.entry(s, generation=n) for n in (0, 1, 2))
        stack.enqueue([oldest])
        stack.wait_status('older', HOUSE, 'rejected')
        stack.enqueue([oldest])  # nothing
        stack.enqueue([older])
        wait_until(lambda: stack.sim.count() == 2 and stack.status('older', HOUSE)[0] == 'rejected', what='second refusal')
        rev = stack.status('older', HOUSE)
        self.refuse(oldest, 'verify', 'job_generation')
        self.assertEqual(stack.status('older', HOUSE), rev)
        stack.enqueue([newest])
        stack.wait_status('older', HOUSE, 'accepted')
        for n, again in enumerate((oldest, older), 2):
            self.refuse(again, 'closed', '', n)
        self.assertEqual(account.check(self, stack, [s])['older', HOUSE]['generation'], '2')
        self.assertEqual((stack.sim.count(), stack.sim.count(accepted=True)), (3, 1))

    def refuse(self, entry, why, detail, n=1):
        self.stack.enqueue([entry])
        wait_until(lambda: len(self.stack.stream('refused')) == n, what='refusal')
        self.stack.wait_idle()
        last = self.stack.stream('refused')[-1]
        self.assertEqual((last['why'], last.get('detail', ''), last['digest']), (why, detail, digest(entry['job'])))

    def test_expired(self):
        """Somebody kept old bytes: they end as expired, with a receipt, and unsent. A genuine letter of the same
        generation is then refused, one of the next goes."""
        stack = self.start(workers=1)
        s = letter('kept')
        old = stack.entry(s, now=time.time() - 2 * TTL_S)
        for entry in (old, {**old, 'exp': int(time.time() + TTL_S) * 1000000}):  # the hint changes nothing
            stack.enqueue([entry])
            stack.wait_status('kept', HOUSE, 'expired')
            stack.wait_idle()
        result = account.check(self, stack, [s])['kept', HOUSE]
        self.assertEqual((result['outcome'], result['delivery_id'], stack.sim.count()), ('expired', '', 0))
        self.refuse(stack.entry(s), 'verify', 'job_generation')
        stack.enqueue([stack.entry(s, generation=1)])
        stack.wait_status('kept', HOUSE, 'accepted')
        account.check(self, stack, [s])
        self.assertEqual(stack.sim.count(), 1)
        self.refuse(old, 'closed', '', 2)


if __name__ == '__main__':
    unittest.main()
