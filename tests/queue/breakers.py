# SPDX-License-Identifier: Apache-2.0
"""What the random driver knows of breakers: a second implementation of their rules, and what no answer may break."""
from invariants import Bad, need

SECOND = 1_000_000
WORDS = ('state', 'opens', 'until', 'run', 'since', 'n', 'faults', 'id', 'token', 'in_run', 'in_window')


def chamber_of(office):
    return 'house' if office[0] == 'H' else 'senate'


def read(r, what):
    text = r('HGET', '{q}:breaker', what)
    return dict(zip(WORDS, text.split(' '))) if text else {'state': 'none', 'run': '0', 'token': '-'}


class Closed:
    """The answers that one breaker remembers: all since its first fault, cut in minutes."""

    def __init__(self, enough):
        self.enough, self.run, self.minute = enough, [], []

    def answer(self, t, fault, office):
        """True: it opens."""
        if self.minute and t - self.minute[0][0] >= 60 * SECOND:
            self.minute = []
        if not fault:
            self.run = []
            if self.minute:
                self.minute.append((t, fault, office))
            return False
        self.run.append(office)
        self.minute.append((t, fault, office))
        faults = [m[2] for m in self.minute if m[1]]
        return (len(self.run) >= 5 and len(set(self.run)) >= self.enough
                or len(self.minute) >= 20 and len(faults) * 2 >= len(self.minute) and len(set(faults)) >= self.enough)


class Breakers:
    def __init__(self, sim, open_us):
        self.sim, self.open_us, self.closed, self.opens, self.probes = sim, open_us, {}, {}, {}

    def resumed(self, what):
        for known in (self.closed, self.opens, self.probes):
            known.pop(what, None)

    def began(self, i):
        """After GO: no open breaker lets a job pass that is not its probe, and there is one probe."""
        for what in (chamber_of(i['office']), i['office']):
            b = read(self.sim.r, what)
            if b['state'] not in ('open', 'half'):
                continue
            need(b['state'] == 'half' and b['token'] == i['token'], 'began through an open breaker', what, i['id'], b)
            jid, token = self.probes.get(what, ('', ''))
            need(not jid or self.sim.r('HGET', '{q}:job:' + jid, 'token') != token, 'two probes', what, jid, i['id'])
            self.probes[what] = (i['id'], i['token'])
            self.sim.stat['probes'] += 1

    def taken(self, i):
        """A receiver that failed last gets one letter at a time."""
        if not i['why'] and int(read(self.sim.r, i['office'])['run']) > 0:
            mine = [jid for jid in self.sim.need if jid.endswith(':' + i['office'])]
            jobs = [self.sim.r('HMGET', '{q}:job:' + jid, 'state', 'why') for jid in mine]
            need(jobs.count(['taken', '']) + jobs.count(['begun', '']) == 1, 'more than one for an office that fails', i['id'])

    def before(self, i, site):
        """Which breakers a SETTLE will ask, with what they are."""
        state, token = self.sim.r('HMGET', '{q}:job:' + i['id'], 'state', 'token')
        if not site or state != 'begun' or token != i['token']:
            return []
        return [(what, read(self.sim.r, what)) for what in (chamber_of(i['office']), i['office'])]

    def after(self, i, site, asked, moved):
        """What the SETTLE has moved is what the rules say."""
        moved = {moved[k]: moved[k + 1:k + 3] for k in range(0, len(moved), 3)}
        for what, b in asked:
            word, until = moved.pop(what, ('', '0'))
            self.sim.stat['breaker ' + word] += word != ''
            need(not word or (word == 'open') == (site < 0), 'moved the wrong way', what, word, site)
            if self.sim.trouble:
                continue
            want = self.answer(what, b, site, i, asked[1][1])
            need(word == want, 'breaker', what, 'is', word, 'should', want, b, site)
            if word == 'open':
                self.opened(what, int(until))
        need(not moved, 'moved another breaker', moved)

    def answer(self, what, b, site, i, own):
        if b['state'] in ('open', 'half'):
            if b['token'] != i['token']:
                return ''
            if site < 0 and what != i['office'] and own['state'] in ('open', 'half') \
                    and len(set(b['in_run'].split(',')) - {'-'} | {i['office']}) < 3:
                self.sim.stat['probes of a dead office'] += 1
                return ''
            if site > 0:
                self.resumed(what)
                return 'closed'
            return 'open'
        known = self.closed.setdefault(what, Closed(1 if what == i['office'] else 3))
        return 'open' if known.answer(self.sim.t, site < 0, i['office']) else ''

    def opened(self, what, until):
        self.closed.pop(what, None)
        n = self.opens[what] = self.opens.get(what, 0) + 1
        least = self.open_us * min(2 ** (n - 1), 30)
        need(least <= until - self.sim.t <= least * 1.25, 'open time', what, n, until - self.sim.t)

    def check(self):
        """Between any two calls."""
        r = self.sim.r
        for what in r('HKEYS', '{q}:breaker'):
            b = read(r, what)
            need(len(b) == len(WORDS) and '' not in b.values(), 'words of a breaker', what, b)
            k = {w: int(b[w]) for w in ('opens', 'until', 'run', 'n', 'faults')}
            if b['state'] == 'closed':
                need(k['opens'] == k['until'] == 0 < k['n'] >= k['faults'] > 0, 'closed breaker', what, b)
            else:
                need(b['state'] in ('open', 'half') and k['opens'] > 0 and k['run'] == k['n'] == 0, 'open breaker', what, b)
                need((b['state'] == 'half') == (b['token'] != '-') == (b['id'] != '-'), 'probe', what, b)
            if not self.sim.trouble and k['run'] >= 5:
                need(what in ('house', 'senate') and b['in_run'].count(',') < 2, 'should be open', what, b)
        gone = set(r('HKEYS', '{q}:machines')) - set(r('ZRANGE', '{q}:workers', 0, -1))
        if gone:
            raise Bad('machines of nobody: %s' % gone)
