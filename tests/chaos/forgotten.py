# SPDX-License-Identifier: Apache-2.0
"""What Redis acknowledged and did not know afterwards: by a failover to a replica that lags, or a loss of power.

Each time the servers before and after are compared, so the ledger knows of every job whether its BEGIN was forgotten.
What may come of that is said in queue/PROTOCOL.md, section 13.
"""

KEPT, LOST = 'kept', 'lost'


class Time:
    """One time that Redis forgot: what was known before and after, and since when it is not."""

    def __init__(self, old, new, since):
        self.old, self.new, self.since = old, new, since

    def begin_token(self, key):
        """The token of the last BEGIN that is forgotten, or None."""
        old, new = self.old['jobs'].get(key, {}), self.new['jobs'].get(key, {})
        if not old.get('begun_us') or old['begun_us'] == new.get('begun_us'):
            return None
        return old['token'] if old['state'] == 'begun' else old.get('last_token', '')

    def take_known(self, key, token):
        new = self.new['jobs'].get(key, {})
        return new.get('state') in ('taken', 'begun') and new.get('token') == token


class Forgotten:
    def __init__(self):
        self.times = []
        self.troubled = {}  # name of a worker: when it was last killed, stopped or told to leave

    def note(self, old, new, since):
        self.times.append(Time(old, new, since))

    def trouble(self, name, now):
        self.troubled[name] = now

    def published(self):
        """How many workers' keys were forgotten."""
        return sum(len(t.old['published'] - t.new['published']) for t in self.times)

    def fate(self, key, reaped):
        """None: every BEGIN of this job is known. KEPT: one was forgotten, but its TAKE is known, its worker lives and
        nobody took the job from it, so that it said BEGIN again. LOST: the job may look as if it had never been sent.
        reaped: whether the job was ever taken back."""
        fate = None
        for t in self.times:
            token = t.begin_token(key)
            if token is None:
                continue
            name = token.split('/')[0]
            if reaped or not t.take_known(key, token) or self.troubled.get(name, -1) >= t.since:
                return LOST
            fate = KEPT
        return fate
