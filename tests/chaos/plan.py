# SPDX-License-Identifier: Apache-2.0
"""What a round of chaos will do, from its seed alone: settings, letters, fault rules, events and their times.

Nothing here starts or touches a process. Two calls with one seed give the same plan; what the processes make of it
differs by their timing, which no seed can fix.
"""
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'sim'))

import letters  # noqa: E402
import offices  # noqa: E402

LEASE_S = 3
TOTAL_S = 2

# Durability of Redis: arguments, and how it may be restarted so that what it acknowledged is kept.
# Then those that forget: what may come of it stands in queue/PROTOCOL.md, section 13.
EVERYSEC = ('--appendonly', 'yes', '--appendfsync', 'everysec')
REDIS = {
    'always': (('--appendonly', 'yes', '--appendfsync', 'always'), ('kill', 'kill', 'reload')),
    'everysec': (EVERYSEC, ('kill', 'kill', 'shutdown', 'reload')),  # on a disk whose syncs take no time
    'memory': (('--appendonly', 'no'), ('shutdown', 'reload')),
    'power': (EVERYSEC, ('power',)),  # what is not on the disk is gone
    'lag': (('--appendonly', 'no'), ('failover',)),  # to a replica that lags
    'replicas': (('--appendonly', 'no'), ('failover',)),  # the same, with queue.replicas = 1
}
PAIRED = ('lag', 'replicas')

# Faults of the chambers. A `status` never takes the letter; the others take it, unless `record` is false. No rule
# claims an acceptance that was none: against a chamber that lies there is no defence.
RULES = (
    {'action': 'tls_refuse'}, {'action': 'tls_refuse', 'reset': True}, {'action': 'tls_garbage'},
    {'action': 'tls_stall'}, {'action': 'reset_before_read'}, {'action': 'reset_after_headers'},
    {'action': 'reset_mid_body'},
    {'action': 'reset_after_body'}, {'action': 'reset_after_body', 'record': False}, {'action': 'close_after_body'},
    {'action': 'close_after_body', 'record': False}, {'action': 'truncate_answer'}, {'action': 'partial_status'},
    {'action': 'accept_then_500'}, {'action': 'accept_then_500', 'status': 503}, {'action': 'stall'},
    {'action': 'stall', 'record': False}, {'action': 'stall', 'when': 'read'},
    {'action': 'drop_connection_after_answer'}, {'action': 'trickle', 'bytes': 40, 'ms': 60},
    {'action': 'delay', 'ms': 80}, {'action': 'delay', 'ms': 700},
    {'action': 'delay', 'ms': 2500}, {'action': 'delay', 'ms': 400, 'when': 'read'},
    {'action': 'status', 'status': 429}, {'action': 'status', 'status': 429, 'retry_after': 1},
    {'action': 'status', 'status': 500}, {'action': 'status', 'status': 502}, {'action': 'status', 'status': 503},
    {'action': 'status', 'status': 503, 'retry_after': 1}, {'action': 'status', 'status': 504},
    {'action': 'status', 'status': 408}, {'action': 'status', 'status': 400}, {'action': 'status', 'status': 422},
    {'action': 'status', 'status': 413, 'echo': True},
)
# These would end (nearly) all letters alike when they were frequent.
RARE = {400: 0.04, 413: 0.06, 422: 0.06}
ON_CONNECT = ('tls_refuse', 'tls_garbage', 'tls_stall')

# An office, or a chamber, that is down. What comes before the letter is read cannot be for one office.
OUTAGES = ({'action': 'status', 'status': 503}, {'action': 'status', 'status': 500},
           {'action': 'status', 'status': 429}, {'action': 'stall', 'record': False},
           {'action': 'reset_after_body', 'record': False}, {'action': 'accept_then_500'}, {'action': 'stall'})
CHAMBER_OUTAGES = ({'action': 'tls_refuse'}, {'action': 'tls_stall'}, {'action': 'reset_before_read'})

# event: weight
EVENTS = {'kill': 7, 'stop': 3, 'drain': 3, 'client_kill': 3, 'script_flush': 2, 'redis': 3, 'pause': 2, 'full': 2,
          'hold': 2, 'cut': 2, 'rules': 2, 'maintenance': 1, 'certificate': 1, 'close_idle': 1, 'outage': 3, 'twin': 2,
          'decide': 2, 'fsck': 1}
# Where there is a replica.
PAIR_EVENTS = {'redis': 5, 'lag': 3, 'replica_stop': 2}
# A second helping for half of the rounds: what loses replies.
QUEUE_EVENTS = {'pause': 3, 'client_kill': 3, 'redis': 2, 'script_flush': 1, 'kill': 2, 'full': 1}


class Plan:
    def __init__(self, seed):
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.duration = rng.uniform(2, 6)
        self.redis = rng.choice(sorted(REDIS))
        self.slots = rng.randint(2, 4)
        self.settings = self.make_settings()
        self.rules = self.make_rules()
        self.submissions, self.sends, self.cancels = {}, [], []
        self.make_letters()
        self.paired = self.redis in PAIRED
        self.forgets = self.paired or self.redis == 'power'
        self.events = [self.make_event(EVENTS) for _ in range(rng.randint(4, 14))]
        # Whether a person decides about the doubtful ones, and replays the dead, when all is quiet.
        self.operator, self.replay = rng.random() < 0.35, rng.random() < 0.5
        self.operator_seed = rng.getrandbits(32)
        # Short: a slow Redis then loses replies of commands that it carries out later.
        self.settings['host_queue']['timeout'] = rng.choice(('200ms', '500ms', '2s'))
        self.burst = rng.randint(1, 15)  # CLIENT KILLs in a row
        self.freeze = rng.random() < 0.5  # a pause is a SIGSTOP of the server
        self.events += [self.make_event(QUEUE_EVENTS) for _ in range(rng.choice((0, 0, 3, 6, 12)))]
        if self.paired:
            self.events += [self.make_event(PAIR_EVENTS) for _ in range(rng.randint(1, 4))]
        elif self.redis == 'power':
            self.events.append(self.make_event({'redis': 1}))
        self.events.sort(key=lambda e: e[0])

    def make_settings(self):
        rng = self.rng
        rate, burst = rng.choice((('100000/s', 1000), ('100000/s', 1000), ('150/s', 10), ('60/s', 3)))
        replicas = {'replicas': 1} if self.redis == 'replicas' else {}
        return {
            'measured_queue': replicas, 'host_queue': {'replica_timeout': rng.choice(('50ms', '200ms'))},
            # As a chamber that does not know a DeliveryId again, which it does.
            'senate': {'unknown_policy': 'hold'} if rng.random() < 0.15 else {},
            'lease': '%ds' % LEASE_S, 'rate': rate, 'burst': burst,
            'chamber': {'total_timeout': '%ds' % TOTAL_S, 'first_byte_timeout': rng.choice(('1s', '1500ms')),
                        'connect_timeout': '1s', 'concurrency': rng.choice((2, 8, 32, 128)),
                        'office_concurrency': rng.choice((1, 2, 8, 32)),
                        'breaker_open': rng.choice(('0ms', '100ms', '200ms', '500ms', '1s', '2s'))},
            'jobs': {'attempts': rng.choice((2, 5, 12)), 'crashes': rng.choice((1, 3, 20)), 'backoff_base': '100ms',
                     'backoff_cap': '1s', 'key_wait': '1s'},
            'worker': {'drain_timeout': rng.choice(('300ms', '1s', '3s'))},
        }

    def make_rules(self):
        rng, rules = self.rng, []
        for spec in rng.sample(RULES, rng.choice((0, 1, 3, 6, 10))):
            most = RARE.get(spec.get('status'), 0.3)
            rule = {**spec, 'probability': round(rng.uniform(0.02, most), 3), 'seed': rng.getrandbits(31)}
            if rng.random() < 0.5:
                rule['chamber'] = rng.choice(('house', 'senate'))
            if spec['action'] not in ON_CONNECT and spec['action'] != 'status' and rng.random() < 0.2:
                rule['on'] = 'any'
            rules.append(rule)
        if rng.random() < 0.7:
            # Chambers that take their time: most of what happens then happens to a letter on the wire.
            rules.append({'action': 'delay', 'ms': rng.choice((20, 60, 200, 500))})
        return rules

    # --- letters -----------------------------------------------------------------------------

    def make_letters(self):
        rng = self.rng
        n, late = rng.randint(30, 150), self.duration * 0.7
        few = rng.random() < 0.4
        pool = rng.sample(offices.house_offices(), rng.randint(1, 4)) + rng.sample(offices.senate_active(),
                                                                                    rng.randint(1, 4))
        for s in letters.sample(n, seed=self.seed):
            if few:
                s['offices'] = rng.sample(pool, rng.randint(1, min(3, len(pool))))
            if rng.random() < 0.05:
                s['spoil'] = {'expires_in_s': rng.randint(2, 4)}
            self.add_letter(s, 0 if rng.random() < 0.4 else rng.uniform(0, late))
        bad = letters.bad()
        for name in rng.sample(sorted(bad), rng.randint(0, 6)):
            self.submissions[bad[name]['sid']] = bad[name]
            self.sends.append((rng.uniform(0, late), bad[name]['sid'], 'genuine', {}))
        self.sends.sort(key=lambda x: x[0])
        self.cancels.sort()

    def add_letter(self, s, at):
        rng, sid = self.rng, s['sid']
        self.submissions[sid] = s
        members = {}
        if rng.random() < 0.2:
            members['priority'] = 0
        if rng.random() < 0.05:
            members['not_before'] = rng.randint(1, 2)  # from the round's begin
        self.sends.append((at, sid, 'genuine', members))
        if rng.random() < 0.1:
            self.sends.append((rng.uniform(at, self.duration), sid, 'repeat', {}))
        if rng.random() < 0.08:
            self.sends.append((rng.uniform(at, self.duration), sid, 'newer', {'generation': 1}))
        if rng.random() < 0.05:
            self.sends.append((max(0, at + rng.choice((-0.001, 0.5))), sid, 'forged', {}))
        if rng.random() < 0.08:
            self.cancels.append((rng.uniform(at, self.duration), sid, rng.choice(('', rng.choice(s['offices'])))))

    # --- events ------------------------------------------------------------------------------

    def make_event(self, events):
        """(time, name, arguments)"""
        rng = self.rng
        name = rng.choices(list(events), list(events.values()))[0]
        make = getattr(self, 'event_' + name, dict)
        # A Redis that forgets does so while letters come.
        end = self.duration * (0.7 if self.forgets and name == 'redis' else 1)
        return round(rng.uniform(0.15, end), 3), name, make()

    def some_time(self, low, high):
        return round(self.rng.uniform(low, high), 3)

    def event_kill(self):
        at_once = self.rng.random() < 0.4
        return {'slot': self.rng.randrange(self.slots), 'down': 0 if at_once else self.some_time(0, 1),
                'rename': self.rng.random() < 0.4}

    event_drain = event_kill

    def event_stop(self):
        beyond = self.rng.random() < 0.6
        return {'slot': self.rng.randrange(self.slots),
                'for': self.some_time(LEASE_S + 0.3, LEASE_S + 1.5) if beyond else self.some_time(0.2, LEASE_S - 0.2)}

    def event_redis(self):
        rng = self.rng
        event = {'how': rng.choice(REDIS[self.redis][1]), 'down': self.some_time(0, 1.5)}
        if self.forgets:
            event['lag'] = rng.choice((0, self.some_time(0, 0.3), self.some_time(0, 1.5)))
            event['split'] = self.some_time(0.2, 1.5) if self.redis == 'replicas' and rng.random() < 0.4 else 0
            event['back'] = self.some_time(0, 0.7)
            event['crash'] = [(slot, self.some_time(0, 1), rng.random() < 0.5)
                              for slot in range(self.slots) if rng.random() < 0.4]
        return event

    def event_lag(self):
        return {'for': self.some_time(0.1, 1.5)}

    event_replica_stop = event_lag

    def event_twin(self):
        return {'slot': self.rng.randrange(self.slots), 'for': self.some_time(0.3, 5), 'kill': self.rng.random() < 0.5}

    def event_decide(self):
        return {'seed': self.rng.getrandbits(32), 'most': self.rng.choice((1, 5, 20))}

    def event_fsck(self):
        return {'mend': self.rng.random() < 0.3}

    def event_outage(self):
        rng = self.rng
        one = self.submissions[rng.choice(sorted(self.submissions))]['offices'][0]
        rule = {**rng.choice(OUTAGES), 'office': one}
        if rng.random() < 0.4:
            rule = {**rng.choice(OUTAGES + CHAMBER_OUTAGES), 'chamber': rng.choice(('house', 'senate'))}
        return {'rule': rule, 'for': self.some_time(0.5, 4)}

    def event_pause(self):
        return {'for': self.some_time(0.1, 2.8), 'what': self.rng.choice(('ALL', 'WRITE'))}

    def event_full(self):
        return {'for': self.some_time(0.2, 1.5)}

    def event_hold(self):
        one = self.rng.choice(sorted(self.submissions))
        what = self.rng.choice(('house', 'senate', self.submissions[one]['offices'][0]))
        return {'what': what, 'for': self.some_time(0.2, 2)}

    def event_cut(self):
        return {'for': self.some_time(0.2, 3)}

    def event_rules(self):
        return {'rules': self.make_rules()}

    def event_maintenance(self):
        chamber = self.rng.choice((None, 'house', 'senate'))
        return {'chamber': chamber, 'retry_after': self.rng.choice((None, 1)), 'for': self.some_time(0.2, 1)}

    def event_certificate(self):
        return {'cert': self.rng.choice(('expired', 'wrong-host', 'other-ca')), 'for': self.some_time(0.2, 1)}
