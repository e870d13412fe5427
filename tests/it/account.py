# SPDX-License-Identifier: Apache-2.0
"""What must hold after every test: the results, their receipts, the records of the queue and what the chambers saw
tell one story.

    account.check(test, stack, submissions)       everything below
"""
import datetime
import hashlib
import time
import zoneinfo

import formats

# queue/PROTOCOL.md: fields of an entry of `results`
RESULT_FIELDS = {'sid', 'office', 'rev', 'state', 'outcome', 'class', 'retryable', 'detail', 'http_status',
                 'delivery_id', 'attempt', 'generation', 'begun_us', 'ended_us', 'receipt'}
DEAD_FIELDS = {'sid', 'office', 'rev', 'outcome', 'class', 'detail', 'http_status', 'delivery_id', 'attempt', 'crashes',
               'deliveries', 'generation', 'first_us', 'ended_us', 'history'}
# outcome: state, class, whether a new submission of the same letter can succeed
OUTCOMES = {
    'accepted': ('accepted', 'accepted', 0), 'accepted_earlier': ('accepted', 'accepted', 0),
    'accepted_on_record': ('accepted', 'accepted', 0),
    'rejected_by_chamber': ('rejected', 'rejected', 0), 'letter_invalid': ('rejected', 'rejected', 0),
    'letter_unreadable': ('rejected', 'rejected', 0), 'envelope_refused': ('rejected', 'rejected', 0),
    'key_unknown': ('rejected', 'rejected', 1), 'office_unavailable': ('rejected', 'rejected', 0),
    'attempts_exhausted': ('dead', 'ended', 1), 'age_exhausted': ('dead', 'ended', 1), 'crashes': ('dead', 'ended', 1),
    'expired': ('expired', 'ended', 1), 'cancelled': ('cancelled', 'ended', 1), 'dropped': ('dropped', 'ended', 1),
    'outcome_unknown': ('unknown', 'unknown', 0), 'id_conflict': ('unknown', 'unknown', 0),
}
EASTERN = zoneinfo.ZoneInfo('America/New_York')


def delivery_id(sid, office, environment='sandbox'):
    """PROTOCOL.md: 16 bytes of BLAKE2b-256 keyed with a name, over the parts, each with its length in front."""
    parts = b''.join(bytes([len(p)]) + p for p in (x.encode() for x in (environment, sid, office)))
    return hashlib.blake2b(parts, digest_size=32, key=b'cwc-delivery-id-v1').digest()[:16].hex()


def eastern_date(unix_s):
    return datetime.datetime.fromtimestamp(unix_s, EASTERN).strftime('%Y%m%d')


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def receipt_keys(stack):
    keys = {}
    for a in stack.stream('attestations'):
        public = bytes.fromhex(a['receipt_key'])
        assert a['receipt_key_id'] == formats.receipt_kid(public), a
        keys[a['receipt_key_id']] = public
    return keys


def open_receipt(stack, result):
    """The members of a result's receipt, checked with the key that its worker published."""
    receipt = as_bytes(result['receipt'])
    for kid, public in receipt_keys(stack).items():
        if kid.encode() in receipt:
            return formats.verify_receipt(receipt, public)
    raise formats.FormatError('signed by a key that nobody published')


def expected_receipt(stack, result):
    members = {'v': 1, 'sid': result['sid'], 'office': result['office'], 'queue': stack.queue,
               'environment': stack.app.environment, 'attempt': int(result['attempt']), 'outcome': result['outcome'],
               'generation': max(0, int(result['generation'])), 'ended_ms': int(result['ended_us']) // 1000}
    if result['delivery_id'] and int(result['attempt']) > 0:
        members['delivery_id'] = result['delivery_id']
    if int(result['begun_us']) > 0:
        members['begun_ms'] = int(result['begun_us']) // 1000
    if int(result['http_status']) > 0:
        members['http_status'] = int(result['http_status'])
    return members


def check_result(test, stack, result):
    """One entry of `results`: complete, of known values, and with a genuine receipt that says the same."""
    fields = RESULT_FIELDS | ({'late'} if result['state'] == 'late' else set())
    test.assertEqual(set(result), fields)
    if result['state'] == 'late':
        # A late "not taken" decides nothing and needs no proof.
        if result['late'] != 'not_taken':
            test.assertEqual(open_receipt(stack, result)['outcome'], result['outcome'])
        return
    members = open_receipt(stack, result)
    test.assertEqual((result['state'], result['class'], int(result['retryable'])), OUTCOMES[result['outcome']])
    # The id is fixed at the first BEGIN, also when no attempt counts (throttled).
    known = delivery_id(result['sid'], result['office'], stack.app.environment)
    test.assertIn(result['delivery_id'], (known,) if int(result['begun_us']) > 0 else (known, ''))
    expected = expected_receipt(stack, result)
    if stack.values['device'] != 'none':
        published = {a.get('document_sha256') for a in stack.stream('attestations')}
        test.assertIn(members.pop('document').hex(), published)
    if result['generation'] == '-1':  # never begun: the record does not know the generation, the receipt does
        expected['generation'] = members['generation']
    for name in ('begun_ms', 'http_status'):
        if name not in members:  # the worker that ended it did not POST it: the record's word is not signed
            expected.pop(name, None)
    if result['outcome'] in ('accepted', 'rejected_by_chamber'):  # by an answer that this worker had itself
        test.assertTrue({'begun_ms', 'http_status'} <= set(members), members)
    test.assertEqual(members, expected)
    now = time.time()
    test.assertTrue(now - 600 < int(result['ended_us']) / 1e6 <= now, result['ended_us'])
    test.assertLessEqual(int(result['begun_us']), int(result['ended_us']))


def check_record(test, stack, result, rev):
    """The job's record and what the app server reads say what the job's last result says. rev: also of late answers."""
    sid, office = result['sid'], result['office']
    job = stack.job(sid, office)
    test.assertEqual(stack.status(sid, office), (result['state'], result['outcome'], job['rev']))
    test.assertEqual(job['rev'], rev)
    for field in ('state', 'outcome', 'class', 'retryable', 'detail', 'attempt', 'ended_us'):
        test.assertEqual(job[field], result[field], field)
    test.assertEqual(job['status'], result['http_status'])
    test.assertEqual(job.get('delivery_id', ''), result['delivery_id'])
    for field in ('token', 'worker', 'why', 'previous', 'candidates'):
        test.assertEqual(job[field], '', field)
    if result['delivery_id']:
        begun_s = int(job['begun_us']) / 1e6
        test.assertIn(job['date'], {eastern_date(begun_s), eastern_date(int(job['first_us']) / 1e6)})
        test.assertEqual(job['generation'], result['generation'])


def check_submission(test, stack, sid, results):
    """sub:<sid> is the roll-up of its jobs; it keeps the job bytes and lives on while a person must act."""
    sub = stack.sub(sid)
    states = [r['state'] for r in results]
    test.assertEqual(sorted(sub['offices'].split(',')), sorted(r['office'] for r in results))
    test.assertEqual(sub['open'], '0')
    accepted = states.count('accepted')
    word = 'delivered' if accepted == len(states) else 'partial' if accepted else 'failed'
    test.assertEqual(sub['rollup'], word)
    kept = any(s in ('dead', 'unknown') for s in states)
    bytes_kept = any(field.startswith('j:') for field in sub)
    test.assertEqual(bytes_kept, kept, sub.keys())
    for key in ['sub:' + sid] + ['job:%s:%s' % (sid, r['office']) for r in results]:
        ttl = stack.redis('TTL', stack.key(key))
        test.assertTrue(ttl == -1 if kept else 86000 < ttl <= 86400 * 31, (key, ttl))


def check_chambers(test, stack, results):
    """What the chambers took and what was reported as accepted match one to one; nothing was taken twice but under an
    outcome that says that nobody knows."""
    taken = {}
    for r in stack.sim.records(accepted=True):
        taken.setdefault((r['delivery_id'], r['office']), []).append(r)
    by_id = {(r['delivery_id'], r['office']): r for r in results if r['delivery_id']}
    for key, records in taken.items():
        test.assertIn(key, by_id, 'taken, but never reported')
        result = by_id[key]
        test.assertIn(result['state'], ('accepted', 'unknown'), result)
        if result['state'] == 'accepted' and result['attempt'] == '1':
            test.assertEqual(len(records), 1, result)
        if key[1].startswith('S'):
            test.assertEqual(len(records), 1, 'the Senate deduplicates')
        test.assertTrue(all(r['complete'] and r['key_ok'] for r in records))
    for key, result in by_id.items():
        if result['state'] == 'accepted':
            test.assertIn(key, taken, 'reported, but never taken')
    test.assertEqual(sum(s['duplicates'] for s in stack.sim.stats()['stats'].values()),
                     sum(len(records) - 1 for records in taken.values()))


def last_results(stack):
    """The newest result of each job, without records of late answers."""
    last = {}
    for r in stack.results():
        key = (r['sid'], r['office'])
        if r['state'] != 'late' and int(r['rev']) >= int(last.get(key, r)['rev']):
            last[key] = r
    return last


def check(test, stack, submissions=None):
    """Everything is over: returns {(sid, office): result}. submissions: those that must have got a result, and all."""
    last, by_sid, revs = last_results(stack), {}, {}
    for r in stack.results():
        check_result(test, stack, r)
        revs.setdefault((r['sid'], r['office']), []).append(r['rev'])
    for key, result in last.items():
        check_record(test, stack, result, max(revs[key], key=int))
        by_sid.setdefault(result['sid'], []).append(result)
    for sid, results in by_sid.items():
        check_submission(test, stack, sid, results)
    check_chambers(test, stack, last.values())
    if submissions is not None:
        test.assertEqual(set(last), {(s['sid'], office) for s in submissions for office in s['offices']})
    test.assertEqual(stack.busy(), [])
    return last
