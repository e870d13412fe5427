# SPDX-License-Identifier: Apache-2.0
"""What must be true of a run. Pure: each takes what was recorded and returns its complaints, none when all is well.

events    what ops/supervise said: dicts with `time`, `event` and more
desired   [(time, number)], the number of workers that is wanted from that time on
phases    [(name, begin, end)]
"""
import collections
import itertools

OSCILLATION = '''no oscillation means: within a phase the wanted number turns at most once (up and then down, or down and then up), and no
step up follows a step down within the cool-down; a step down is of one worker, and at least the cool-down after the change before'''
# A change is noticed up to one reading late, or two of them in one: cwcctl reads every second, the supervisor looks ten times.
NOTICED_S = 0.6


def desired_of(events):
    return [(e['time'], e['workers']) for e in events if e['event'] == 'desired']


def steps(desired):
    """(time, time since the change before, by how many) of each change."""
    for (before, a), (time, b) in itertools.pairwise(desired):
        yield time, time - before, b - a


def turns(desired, begin, end):
    signs = [1 if by > 0 else -1 for time, _, by in steps(desired) if begin <= time < end and by]
    return sum(a != b for a, b in itertools.pairwise(signs))


def oscillation(desired, phases, cooldown_s):
    wrong = ['%s: the wanted number turns %d times' % (name, n)
             for name, begin, end in phases for n in [turns(desired, begin, end)] if n > 1]
    down = None
    for time, since, by in steps(desired):
        # A new phase brings a load of its own.
        begin = max((begin for _, begin, _ in phases if begin <= time), default=time)
        if by > 0 and down is not None and begin <= down and time - down < cooldown_s - NOTICED_S:
            wrong.append('up by %d only %.1f s after a step down' % (by, time - down))
        if by < -1:
            wrong.append('down by %d at once' % -by)
        if by < 0 and since < cooldown_s - NOTICED_S:
            wrong.append('a step down only %.1f s after the change before' % since)
        down = time if by < 0 else down
    return wrong


def accounting(expected, results, records):
    """expected: {(sid, office)}. results: the last one of each letter, {(sid, office): result}. records: what the chambers
    have of POSTs. One to one: every letter was accepted, says its result, and its chamber has it once."""
    took = collections.Counter((r['delivery_id'], r['office']) for r in records if r['accepted'])
    said, wrong = {}, []
    for job in sorted(expected):
        r = results.get(job)
        if r is None:
            wrong.append('%s to %s: lost, it has no result' % job)
        elif r['state'] != 'accepted':
            wrong.append('%s to %s: %s (%s)' % (*job, r['outcome'], r['state']))
        else:
            said[r['delivery_id'], r['office']] = job
            if not took[r['delivery_id'], r['office']]:
                wrong.append('%s to %s: accepted, says the result, but the chamber does not have it' % job)
    wrong += ['%s to %s: a result of a letter that nobody sent' % job for job in sorted(set(results) - set(expected))]
    for key, n in sorted(took.items()):
        name = '%s to %s' % said[key] if key in said else 'DeliveryId %s to %s' % key
        if n > 1:
            wrong.append('%s: the chamber has it %d times' % (name, n))
        if key not in said:
            wrong.append('%s: the chamber has it, and no result says so' % name)
    return wrong


def bounds(samples, least, most):
    """Between them always, workers that drain counted, once the first ones run."""
    wrong = []
    for name in ('desired', 'serving', 'processes'):
        values = [s[name] for s in samples if s[name] is not None]
        if values and max(values) > most:
            wrong.append('%s: %d, where at most %d may be' % (name, max(values), most))
    low = min((s['desired'] for s in samples if s['desired'] is not None), default=least)
    return wrong + (['desired: %d, where at least %d must be' % (low, least)] if low < least else [])


def ceiling(samples, most):
    """A phase in which a chamber's limit is the bottleneck: no more workers than the formula gives with it, although
    without it there would be more."""
    known = [s for s in samples if s['ceiling'] is not None]
    if not known:
        return ['no reading']
    top, by_depth = max(s['ceiling'] for s in known), max(s['by_depth'] for s in known)
    wrong = ['%s: %d, where the limit lets %d be of use' % (name, n, top)
             for name in ('desired', 'serving') for n in [max(s[name] for s in samples)] if n > top]
    if top >= most:
        wrong.append('it says nothing: the ceiling of %d is not below the maximum of %d' % (top, most))
    if by_depth <= top:
        wrong.append('it says nothing: by its depth alone there would be %d workers' % by_depth)
    return wrong


def drained(events, killed, recalled, held):
    """killed: process ids that the run itself killed; recalled: letters that were taken back from the dead, held: those that the
    killed ones held. All others end by draining, with 0, and leave nothing to be taken back."""
    draining, wrong = set(), []
    for e in events:
        if e['event'] == 'drain':
            draining.add(e['pid'])
        elif e['event'] == 'killed':
            wrong.append('%s (%d) was killed by the supervisor' % (e['name'], e['pid']))
        elif e['event'] == 'exit' and e['pid'] not in killed:
            if e['pid'] not in draining:
                wrong.append('%s (%d) ended by itself, with %s' % (e['name'], e['pid'], e['status']))
            elif e['status'] != 0:
                wrong.append('%s (%d) drained, and ended with %s' % (e['name'], e['pid'], e['status']))
    return wrong + ['%s to %s was taken back from a worker that was not killed' % job for job in sorted(set(recalled) - set(held))]


def unmoved(events, cut, begin, end):
    """The data is cut off; what was read before may still bring workers until `begin`, but none leaves, and from then on nothing
    about workers happens at all: neither the wanted number nor a worker changes."""
    wrong, wanted = [], None
    for e in events:
        fewer = e['event'] in ('drain', 'exit', 'killed')
        if e['event'] == 'desired':
            fewer = wanted is not None and e['workers'] < wanted
            wanted = e['workers']
        if cut <= e['time'] < end and (fewer or e['time'] >= begin and e['event'] in ('desired', 'start')):
            wrong.append('%s after %.1f s without data%s' % (e['event'], e['time'] - cut, ': %d' % e['workers'] if 'workers' in e else ''))
    return wrong


def patient(desired, ends, wait_s):
    """After a time without data fewer are wanted no sooner than when somebody has looked for a while again."""
    return ['%d fewer only %.1f s after the data came back' % (-by, time - end) for end in ends for time, _, by in steps(desired)
            if by < 0 and end <= time < end + wait_s - NOTICED_S]


def stays(desired, begin, end, number):
    """The wanted number is that one in all of that time."""
    return ['%d after %.1f s, where it was to stay %d' % (n, max(0, t - begin), number)
            for (t, n), (until, _) in itertools.pairwise([*desired, (end, None)]) if until > begin and t < end and n != number]


def peak(desired, begin, end, most):
    """It goes up to that many, no fewer."""
    top = max((n for (t, n), (until, _) in itertools.pairwise([*desired, (end, None)]) if until > begin and t < end), default=0)
    return [] if top >= most else ['at most %d workers were wanted, not %d' % (top, most)]


def rest(desired, serving, processes, busy, least):
    wrong = [] if desired == least else ['%s workers are wanted at the end, not %d' % (desired, least)]
    if (serving, processes) != (least, least):
        wrong.append('%d workers serve at the end and %d run, where %d should' % (serving, processes, least))
    return wrong + ['the queue is not empty: %s' % name for name in busy]


def most(value, limit):
    return [] if value <= limit else ['%.1f s, where %g s are allowed' % (value, limit)]
