# SPDX-License-Identifier: Apache-2.0
"""The accounts of a round: every letter to every office, from what was enqueued, the records, the results and what the
chambers recorded.

    ledger.Ledger(stack, entries, acts, forgotten, replicas).check() -> [text of a violation]

entries: what Redis acknowledged at the door. acts: what a person did afterwards, by (sid, office). forgotten: what
Redis acknowledged and did not know afterwards (forgotten.py). replicas: whether workers waited for the one that was
promoted.

There is one named class in which a letter may be taken twice: the House, which does not know a DeliveryId again; no
person asked for it; and Redis forgot the BEGIN of a POST whose worker did not live to say it again.
"""
import hashlib
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ('it', 'queue'):
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), folder))

import account  # noqa: E402
import forgotten as forgetting  # noqa: E402
import rq  # noqa: E402

FINAL = {'accepted', 'rejected', 'dead', 'expired', 'cancelled', 'dropped', 'unknown'}
# What the House may have answered so that it surely did not take the letter, and may be asked again.
NOT_TAKEN = set(range(300, 408)) | set(range(409, 500))
TEST = unittest.TestCase()


class Entry:
    """One XADD."""

    def __init__(self, submission, kind, fields, generation):
        self.submission, self.kind, self.generation = submission, kind, generation
        self.sid, self.offices = fields['sid'], fields['offices'].split(',')
        self.digest = hashlib.sha1(fields['job']).hexdigest()
        self.fields, self.acked = fields, None
        expect = submission['expect'].get('stream')
        self.genuine = kind != 'forged' and expect != 'refused'


def last_of(results):
    """The newest that is not the note of a late answer."""
    real = [r for r in results if r['state'] != 'late']
    return max(real, key=lambda r: int(r['rev'])) if real else None


class Ledger:
    def __init__(self, stack, entries, acts, forgotten, replicas):
        self.stack, self.entries, self.acts = stack, entries, acts
        self.forgotten, self.replicas = forgotten, replicas
        self.found = []
        # Of letters whose BEGIN was forgotten: said again by its worker; taken twice; ended as not taken, but taken.
        self.kept, self.doubled, self.belied = set(), set(), set()
        self.twice = set()  # taken twice, unless a person asked for it
        self.jobs, self.results, self.posts, self.refused = {}, {}, {}, {}
        self.unread = 0

    def wrong(self, key, text):
        self.found.append('%s: %s' % (':'.join(key) if isinstance(key, tuple) else key, text))

    def holds(self, key, what, check, *args):
        """A check of account.py, as one line of ours."""
        try:
            check(TEST, self.stack, *args)
        except (AssertionError, LookupError, ValueError) as e:
            self.wrong(key, '%s: %s' % (what, ' '.join(str(e).split())[:600]))

    def read(self):
        stack = self.stack
        for key in stack.keys('job:*'):
            sid, office = key.split(':job:', 1)[1].rsplit(':', 1)
            self.jobs[sid, office] = stack.job(sid, office)
        for r in stack.stream('results'):
            self.results.setdefault((r['sid'], r['office']), []).append(r)
        for r in stack.sim.records():
            self.posts.setdefault((r['delivery_id'], r['office']), []).append(r)
        for r in stack.stream('refused'):
            self.refused.setdefault((r['sid'], r['office']), {}).setdefault(r['digest'], []).append(r['why'])

    def check(self):
        self.read()
        entries = {}
        for e in self.entries:
            for office in e.offices:
                entries.setdefault((e.sid, office), []).append(e)
        for key, all_of_it in sorted(entries.items()):
            self.check_job(key, all_of_it)
        for key in sorted(set(self.jobs) - set(entries)):
            self.wrong(key, 'a record of nothing that was enqueued')
        for key in sorted(set(self.results) - set(entries)):
            self.wrong(key, 'a result of nothing that was enqueued')
        known = {account.delivery_id(*key) for key in entries}
        for delivery_id, office in sorted(self.posts, key=str):
            if delivery_id is not None and delivery_id not in known:
                self.wrong('chamber', 'an id of nothing that was enqueued: %s %s' % (delivery_id, office))
        self.check_submissions(entries)
        self.check_places()
        return self.found

    # --- one letter to one office ------------------------------------------------------------

    def check_job(self, key, entries):
        genuine = [e for e in entries if e.genuine]
        taken = self.taken(key)
        if not genuine:
            if key in self.jobs or key in self.results or taken:
                self.wrong(key, 'was not genuine, but has a record, a result or was taken')
        elif key not in self.jobs:
            self.wrong(key, 'has no record')
        elif self.jobs[key].get('state') not in FINAL:
            self.wrong(key, 'is not over: %s' % self.jobs[key].get('state'))
        else:
            self.check_results(key)
            self.check_chamber(key, taken)
            self.check_expected(key, genuine)
        for e in entries:
            self.check_refused(key, e)

    def check_results(self, key):
        job, results = self.jobs[key], self.results.get(key, [])
        last = last_of(results)
        if last is None:
            self.wrong(key, 'is %s, but has no result' % job['state'])
            return
        by_rev = {}
        for r in results:
            same = by_rev.setdefault(r['rev'], r)
            if (same['state'], same['outcome']) != (r['state'], r['outcome']):
                self.wrong(key, 'two results of rev %s: %s and %s' % (r['rev'], same['outcome'], r['outcome']))
        for r in by_rev.values():
            self.holds(key, 'result of rev %s' % r['rev'], self.check_result, r, results)
        highest = max(by_rev, key=int)
        self.holds(key, 'record', account.check_record, last, highest)

    def check_result(self, test, stack, result, results):
        account.check_result(test, stack, self.signed_as(result, results))

    def signed_as(self, result, results):
        """The result in the words of its receipt, where the two may differ."""
        if result['state'] == 'late':
            return result
        signed, result = account.open_receipt(self.stack, result), dict(result)
        if any(r['state'] == 'late' and int(r['rev']) == int(result['rev']) - 1 for r in results):
            # Signed with the number of its own POST; the entry counts those that began meanwhile, or since a person
            # gave the job a new budget.
            if int(result['attempt']) > signed['attempt'] or {'replay', 'resend'} & set(
                    self.acts.get((result['sid'], result['office']), ())):
                result['attempt'] = str(signed['attempt'])
        if 'begun_ms' not in signed and signed['generation'] == 0:
            result['generation'] = '-1'  # not verified by the worker that only ended it
        if result['begun_us'] == '0' and self.jobs[result['sid'], result['office']].get('history'):
            result['delivery_id'] = ''  # fixed by an attempt that does not count, or by one of an earlier budget
        return result

    def taken(self, key):
        return [r for r in self.posts.get((account.delivery_id(*key), key[1]), ()) if r['accepted']]

    def check_chamber(self, key, taken):
        job, acts = self.jobs[key], self.acts.get(key, ())
        state, again = job['state'], self.may_go_again(key)
        if len(taken) > 1 and 'resend' not in acts:
            self.twice.add(key)
            if again and key[1][0] == 'H':
                self.doubled.add(key)
            else:
                self.wrong(key, 'was taken %d times' % len(taken))
        if state == 'accepted' and not taken and 'accepted' not in acts:
            self.wrong(key, 'is accepted, but was never taken')
        if state not in ('accepted', 'unknown') and taken and 'drop' not in acts:
            if again:
                self.belied.add(key)
            else:
                self.wrong(key, 'is %s (%s), but was taken' % (state, job['outcome']))
        if key[1][0] == 'H' and 'resend' not in acts and not again:
            self.check_house(key)

    def may_go_again(self, key):
        """Redis forgot that this letter was sent, and nobody could tell it."""
        reaped = self.jobs[key]['crashes'] != '0' or bool({'replay', 'resend'} & set(self.acts.get(key, ())))
        fate = self.forgotten.fate(key, reaped)
        if self.replicas and key[1][0] == 'H':
            return False  # none leaves before the replica knows
        if fate == forgetting.KEPT:
            self.kept.add(key)
        return fate == forgetting.LOST

    def check_house(self, key):
        """The House does not know an id again: behind a letter of unknown fate no other may follow."""
        posts = [r for r in self.posts.get((account.delivery_id(*key), key[1]), ()) if r['complete']]
        for n, r in enumerate(posts[:-1]):
            if r['status'] not in NOT_TAKEN:
                self.wrong(key, 'was sent again after an answer of %s (fault %s): %d of %d' %
                           (r['status'], r['fault'], n + 1, len(posts)))

    def check_expected(self, key, genuine):
        """A letter that cannot be sent ends as it must; a good one not for a reason that lies in the letter."""
        job, submission = self.jobs[key], genuine[0].submission
        outcome, office = job['outcome'], key[1]
        allowed = {'accepted', 'accepted_earlier', 'accepted_on_record', 'rejected_by_chamber', 'attempts_exhausted',
                   'crashes', 'expired', 'cancelled', 'outcome_unknown'}
        expect = submission['expect']
        expect = expect.get('offices', {}).get(office, expect)
        if expect['outcome'] not in ('accepted', 'office_unavailable'):
            allowed = {expect['outcome'], 'crashes'}
        elif expect['outcome'] == 'office_unavailable':  # without a list (its fetch failed) it is sent
            allowed.add('office_unavailable')
        if 'drop' in self.acts.get(key, ()):
            allowed.add('dropped')
        if key[1][0] == 'S' and self.may_go_again(key):
            allowed.add('id_conflict')
        if outcome not in allowed:
            self.wrong(key, 'ended as %s (%s)' % (outcome, job.get('detail')))
        cancelled, expires = 'cancel' in self.acts.get(key, ()), 'expires_in_s' in submission['spoil']
        if outcome == 'cancelled' and not cancelled or outcome == 'expired' and not expires:
            self.wrong(key, 'is %s, which nobody asked for' % outcome)

    def check_refused(self, key, e):
        """Bytes that are not the job's own were refused, or were never looked at behind others."""
        job, why = self.jobs.get(key), self.refused.get(key, {}).get(e.digest)
        if job is not None and job['digest'] == e.digest:
            if not e.genuine and job['state'] != 'cancelled':  # whoever cancels does not ask for the bytes
                self.wrong(key, 'stands on bytes that are not genuine')
            return
        if why is not None:
            return
        if job is not None and e.digest in job['candidates'].split(','):
            self.unread += 1
            if e.genuine and job['state'] not in ('accepted', 'unknown') and self.newest(key) is e:
                self.wrong(key, 'generation %d lies unread behind %s' % (e.generation, job['state']))
            return
        if e.generation == 0 and job is not None and len(self.results.get(key, ())) > 1:
            return  # it ended and was replaced by newer ones
        self.wrong(key, '%s bytes of generation %d are nowhere' % (e.kind, e.generation))

    def newest(self, key):
        mine = [e for e in self.entries if e.genuine and e.sid == key[0] and key[1] in e.offices]
        return max(mine, key=lambda e: e.generation)

    # --- the rest ----------------------------------------------------------------------------

    def check_submissions(self, entries):
        for sid in sorted({sid for sid, _ in entries}):
            offices = [office for s, office in self.jobs if s == sid]
            if not offices:
                if self.stack.sub(sid):
                    self.wrong(sid, 'was refused as a whole, but is known')
                continue
            last = [last_of(self.results.get((sid, office), [])) for office in offices]
            if None not in last:
                self.holds(sid, 'submission', account.check_submission, sid, last)

    def check_places(self):
        """Every index is empty, or says what the records say."""
        stack = self.stack
        for name in stack.busy() + stack.keys('turn:*') + [stack.key('exp'), stack.key('inerr'), stack.key('stuck')]:
            if stack.redis('EXISTS', name):
                self.wrong('queue', '%s is not empty' % name)
        ids = {':'.join(key) for key, job in self.jobs.items() if job['state'] == 'unknown'}
        listed = set(stack.redis('ZRANGE', stack.key('unknown'), 0, -1))
        if ids != listed:
            self.wrong('queue', 'unknown: %s' % sorted(ids ^ listed))
        dead = {job['dead_id'] for job in self.jobs.values() if job['state'] == 'dead'}
        entries = {e[0]: rq.pairs(e[1]) for e in stack.redis('XRANGE', stack.key('dead'), '-', '+')}
        if not dead <= set(entries):
            self.wrong('queue', 'dead letters without their entry: %s' % sorted(dead - set(entries)))

    def count(self, field):
        totals = {}
        for job in self.jobs.values():
            totals[job.get(field)] = totals.get(job.get(field), 0) + 1
        return totals

    def story(self, key):
        """All that is known of one job, for the report of a violation."""
        posts = self.posts.get((account.delivery_id(*key), key[1]), ())
        return {'record': self.jobs.get(key), 'refused': self.refused.get(key), 'acts': self.acts.get(key),
                'results': [{k: v for k, v in r.items() if k != 'receipt'} for r in self.results.get(key, ())],
                'chamber': [{k: r[k] for k in ('t', 'conn', 'complete', 'accepted', 'status', 'fault')} for r in posts],
                'entries': [(e.kind, e.generation, e.digest, e.genuine) for e in self.entries
                            if e.sid == key[0] and key[1] in e.offices]}
