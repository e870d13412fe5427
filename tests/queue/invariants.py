# SPDX-License-Identifier: Apache-2.0
"""What must be true of the keys between any two script calls, also after calls that failed in the middle."""
import collections

from rq import META, pairs

FINAL = {'accepted', 'rejected', 'dead', 'expired', 'cancelled', 'dropped', 'unknown'}
OPEN = {'wait', 'later', 'close', 'taken', 'begun'}
RESULT_FIELDS = {'sid', 'office', 'rev', 'state', 'outcome', 'class', 'retryable', 'detail', 'http_status', 'delivery_id',
                 'attempt', 'generation', 'begun_us', 'ended_us', 'receipt'}
DEAD_FIELDS = {'sid', 'office', 'rev', 'outcome', 'class', 'detail', 'http_status', 'delivery_id', 'attempt', 'crashes',
               'deliveries', 'generation', 'first_us', 'ended_us', 'history'}


class Bad(Exception):
    pass


def need(true, *what):
    if not true:
        raise Bad(': '.join(str(w) for w in what))


class Snapshot:
    """All keys, read once."""

    def __init__(self, sim):
        r, members = sim.r, [jid.split(':') for jid in sim.need]
        self.offices = sorted({office for _, office in members})
        sids = sorted({sid for sid, _ in members})
        whole = [('ZRANGE', '{q}:' + k, 0, -1) for k in ('workers', 'turn:house', 'turn:senate', 'later', 'close', 'exp', 'unknown')]
        whole += [('XRANGE', '{q}:' + k, '-', '+') for k in ('in', 'stuck', 'refused', 'results', 'dead')]
        (workers, house, senate, later, close, exp, unknown), (inn, stuck, refused, results, dead) = split(r.many(*whole), 7)
        self.workers = set(workers)
        self.turn = set(house) | set(senate)
        self.later, self.close, self.exp, self.unknown = set(later), set(close), set(exp), set(unknown)
        self.inn = {pairs(e[1]).get('job') for e in inn + stuck}
        self.refused = {(e['sid'], e['digest']) for e in (pairs(x[1]) for x in refused)}
        self.held = by(self.workers, set, r.many(*[('SMEMBERS', '{q}:held:' + w) for w in self.workers]))
        wait, fly = split(r.many(*[('ZRANGE', '{q}:wait:' + o, 0, -1) for o in self.offices],
                                 *[('SMEMBERS', '{q}:fly:' + o) for o in self.offices]), len(self.offices))
        self.wait, self.fly = by(self.offices, set, wait), by(self.offices, set, fly)
        self.results = collections.defaultdict(set)
        for _, flat in results:
            e = pairs(flat)
            need(RESULT_FIELDS <= set(e), 'result fields', e)
            need(e['state'] in FINAL or e['state'] == 'late' and e.get('late'), 'result state', e)
            self.results[e['sid'] + ':' + e['office']].add((e['state'], int(e['rev'])))
        self.dead = {}
        for entry, flat in dead:
            e = pairs(flat)
            need(DEAD_FIELDS == set(e), 'dead fields', e)
            self.dead[entry] = e['sid'] + ':' + e['office']
        keys = ['{q}:job:' + jid for jid in sim.need] + ['{q}:sub:' + sid for sid in sids]
        records, lives = split(r.many(*[('HGETALL', k) for k in keys], *[('PEXPIRETIME', k) for k in keys]), len(keys))
        jobs, subs = split(records, len(sim.need))
        self.jobs, self.subs, self.lives = by(sim.need, pairs, jobs), by(sids, pairs, subs), dict(zip(keys, lives))


def split(some, n):
    return some[:n], some[n:]


def by(names, kind, replies):
    return {name: kind(reply) for name, reply in zip(names, replies)}


def check_bytes(sim, s, jid, j):
    """No genuine job is lost: it is at the door, on record, or reported."""
    sid = jid.split(':')[0]
    for n, (digest, g) in enumerate(sim.need[jid].items()):
        if g['bytes'] in s.inn:
            continue
        need(j, 'lost', jid, g['bytes'])
        named = digest in (j['digest'], j.get('previous_digest')) or digest in j['candidates'].split(',')
        need(named or n > 0 or (sid, digest) in s.refused or s.results[jid], 'genuine bytes lost', jid, j)
        if j['state'] in OPEN and digest == j['digest']:
            need('j:' + digest in s.subs[sid], 'bytes gone', jid, j)


def check_place(s, jid, j, strict):
    sid, office = jid.split(':')
    state = j['state']
    at = {p for p, here in (('wait', sid in s.wait[office]), ('later', jid in s.later), ('close', jid in s.close),
                            ('unknown', jid in s.unknown)) if here}
    members = [m for w in s.workers for m in s.held[w] if m.split(' ')[0] == jid]
    if state in ('taken', 'begun'):
        need(j['worker'] in s.workers and jid + ' ' + j['token'] in s.held[j['worker']], 'in flight but not held', jid, j)
        need(j['token'] in s.fly[office], 'in flight but not in fly', jid)
    elif state in OPEN or state == 'unknown':
        need(state in at, 'not in its place', jid, state, at)
    if state in ('wait', 'later'):
        need(jid in s.exp, 'waits without expiry', jid, j)
    if strict:
        need(not at - {state}, 'also in another place', jid, state, at)
        need(state not in FINAL or jid not in s.exp, 'over, but in exp', jid, j)
        need(len(members) <= 1 or state not in ('taken', 'begun'), 'held twice', jid, members)


def check_final(sim, s, jid, j):
    """Terminal states are reported, and none says more than is true."""
    state = j['state']
    if state not in FINAL:
        return
    told = [rev for word, rev in s.results[jid] if word == state and rev <= int(j['rev'])]
    newer = [word for word, rev in s.results[jid] if told and max(told) < rev <= int(j['rev'])]
    need(told and set(newer) <= {'late'}, 'no result', jid, j, s.results[jid])
    need(state != 'dead' or s.dead.get(j['dead_id']) == jid, 'dead without entry', jid, s.dead)
    if state == 'accepted':
        need(sim.true_accepted[jid] or jid in sim.op_accepted, 'made-up success', jid)
    if state in ('cancelled', 'expired') or state == 'dead' and j['outcome'] == 'crashes':
        need(not sim.true_accepted[jid], 'sent, but ends as ' + state, jid, j)
    need(not j.get('late') or state == 'accepted', 'late acceptance hidden', jid, j)


def check_sub(s, sid, strict):
    """The summary and the life of the records."""
    mine = {jid: j for jid, j in s.jobs.items() if jid.startswith(sid + ':') and j}
    sub = s.subs[sid]
    if not mine:
        return
    is_open = any(j['state'] not in FINAL for j in mine.values())
    people = any(j['state'] in ('dead', 'unknown') for j in mine.values())
    ttl = [s.lives[k] for k in ['{q}:sub:' + sid] + ['{q}:job:' + jid for jid in mine]]
    need(not (is_open or people) or set(ttl) == {-1}, 'a record that is needed expires', sid, ttl)
    if not strict:
        return
    for jid, j in mine.items():
        state, outcome, rev = sub['s:' + jid.split(':')[1]].split(' ')
        need(rev == j['rev'], 'status rev', jid, sub, j)
        need(not j['previous'] or (state, outcome) == (j['previous'], j['outcome']), 'challenged status', jid, sub, j)
        need(j['state'] not in FINAL or (state, outcome) == (j['state'], j['outcome']), 'status', jid, sub, j)
    states = [j['state'] for j in mine.values()]
    accepted = states.count('accepted')
    word = ('pending' if is_open else 'delivered' if accepted == len(states) else 'partial' if accepted else 'failed')
    need(sub['rollup'] == word, 'rollup', sid, {k: v for k, v in sub.items() if k[:2] != 'j:'}, states)
    if not is_open and not people:
        least = (max(int(j['expires_us']) for j in mine.values()) + 86400_000_000) // 1000
        need(len(set(ttl)) == 1 and ttl[0] >= least, 'life', sid, ttl, least)
        need(not any(k[:2] == 'j:' for k in sub), 'bytes of a closed submission', sid)


def check_tokens(s):
    """A token is used once, also when the TAKE that gave it failed on the way."""
    given = collections.defaultdict(set)
    for members in s.held.values():
        for m in members:
            given[m.split(' ')[1]].add(m.split(' ')[0])
    need(all(len(jobs) == 1 for jobs in given.values()), 'a token of two jobs', dict(given))


def check_indexes(sim, s, strict):
    for office in s.offices:
        need(not s.wait[office] or office in s.turn, 'waits but has no turn', office)
        need(not strict or s.wait[office] or office not in s.turn, 'has a turn but none waits', office)
    if not strict:
        return
    dead = sum(1 for j in s.jobs.values() if j and 'dead' in (j['state'], j['previous']) or j and j.get('dead_id'))
    need(len(s.dead) == dead, 'dead entries', s.dead, dead)
    flying = collections.Counter(jid.split(':')[1] for jid, j in s.jobs.items()
                                 if j and j['state'] in ('taken', 'begun') and not j['why'])
    need(all(n <= 2 for n in flying.values()), 'office cap', flying)
    depth = pairs(sim.r('EVALSHA', sim.sha['depth'], 1, META, sim.t, 10**6, 0))  # a second ahead, so that limits count
    states = collections.Counter(('house_' if jid.split(':')[1][0] == 'H' else 'senate_') + j['state']
                                 for jid, j in s.jobs.items() if j)
    waiting = sum(len(w) for w in s.wait.values())
    need(int(depth['house_waiting']) + int(depth['senate_waiting']) == waiting, 'depth waiting', depth)
    need(int(depth['later']) == len(s.later) and int(depth['unknown']) == len(s.unknown), 'depth', depth)
    for c in ('house', 'senate'):
        for name in ('taken', 'begun', 'later', 'close', 'dead', 'unknown'):
            want, got = states[c + '_' + name], int(depth[c + '_' + name])
            need(got == want, 'depth ' + c + name, depth, states)
        # Each letter in line in one cause only, and what is in none is what may go.
        d = {k: int(depth['%s_%s' % (c, k)]) for k in ('waiting', 'held', 'held_rate', 'scalable', 'door')}
        causes = sum(int(depth['%s_held_%s' % (c, k)]) for k in ('pause', 'maintenance', 'receiver', 'breaker'))
        free = d['waiting'] - d['held'] - d['held_rate']
        need(causes == d['held'] and 0 <= free <= d['scalable'] <= free + d['door'], 'depth causes', depth)


def check_end(s):
    for jid, j in s.jobs.items():
        need(j['state'] in FINAL, 'did not end', jid, j)
    for office in s.offices:
        need(not (s.fly[office] or s.wait[office] or office in s.turn), 'left over', office)
    need(not (s.later or s.close or any(s.held.values())), 'left over', s.later, s.close, s.held)
    need(not s.inn, 'in or stuck is not empty')


def check_state(sim, end=False):
    s, strict = Snapshot(sim), not sim.trouble
    for jid, j in s.jobs.items():
        check_bytes(sim, s, jid, j)
        if j:
            check_place(s, jid, j, strict)
            check_final(sim, s, jid, j)
    for sid in s.subs:
        check_sub(s, sid, strict or end)
    check_tokens(s)
    check_indexes(sim, s, strict and not end)
    if end:
        check_end(s)


def check_window(times, period, slack, what):
    """No window of any length holds more than 1 + (length + slack) / period."""
    times = sorted(times)
    for a, first in enumerate(times):
        for b in range(a + 1, len(times)):
            if times[b] - first > 20 * period:
                break
            need((b - a) * period <= times[b] - first + slack, 'rate ' + what, b - a + 1, times[b] - first)


def check_rates(posts, offices, limits):
    chamber_period, chamber_slack, office_period, office_slack, _ = limits
    for o in offices:
        mine = [p for p in posts if p[2] == o]
        check_window([p[0] for p in mine], office_period, office_slack, 'cells ' + o)
        check_window([p[1] for p in mine], office_period, office_slack + 4_000_000, 'wire ' + o)
    for c in 'HS':
        check_window([p[0] for p in posts if p[2][0] == c], chamber_period, chamber_slack, 'cells ' + c)
