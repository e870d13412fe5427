# SPDX-License-Identifier: Apache-2.0
"""Fault rules: which connections and requests of the simulator go wrong, and how.

A rule is a JSON object. Which requests it is for:

    chamber      "house" | "senate"; both when absent
    on           "message" (default) | "validate" | "offices" | "any"
    office, delivery_id, campaign   exact values of the letter's elements
    after: n     pass over the first n that match
    every: n     then only each nth
    probability: p, seed: s         then only with this chance; the seed is chosen and told if absent
    count: n     at most n times, then the rule is spent

What happens (`action`), by the moment at which it is decided:

    connect    tls_refuse (reset: true for RST)  tls_garbage  tls_stall
    first byte reset_before_read
    headers    reset_after_headers | delay (when: "read") | stall (when: "read")
    mid body   reset_mid_body (at: bytes; default half the Content-Length)
    body       status (status, body | size | echo, retry_after, content_type)  delay (when: "answer")
               stall  reset_after_body  close_after_body  truncate_answer (bytes)  partial_status
               trickle (bytes, ms)  accept_then_500 (status)  drop_connection_after_answer

A rule of a body action may carry `delay_ms` (wait before the answer) and `record`. With
`record: false` an acceptable letter is thrown away; by default it is taken as usual, except by
`status`, which never takes it. Rules are tried in their order at each moment, and a request meets at
most one rule. Rules decided before the letter is read cannot ask for values of the letter.
"""

import random

CONNECT, FIRST, HEADERS, MIDDLE, BODY = "connect", "first", "headers", "middle", "body"

# action -> moment, its own members
ACTIONS = {
    "tls_refuse": (CONNECT, {"reset"}),
    "tls_garbage": (CONNECT, set()),
    "tls_stall": (CONNECT, set()),
    "reset_before_read": (FIRST, set()),
    "reset_after_headers": (HEADERS, set()),
    "reset_mid_body": (MIDDLE, {"at"}),
    "status": (BODY, {"status", "body", "size", "echo", "retry_after", "content_type"}),
    "delay": (BODY, {"ms", "when"}),
    "stall": (BODY, {"when"}),
    "reset_after_body": (BODY, set()),
    "close_after_body": (BODY, set()),
    "truncate_answer": (BODY, {"bytes"}),
    "partial_status": (BODY, set()),
    "trickle": (BODY, {"bytes", "ms"}),
    "accept_then_500": (BODY, {"status"}),
    "drop_connection_after_answer": (BODY, set()),
}
LETTER_MATCHERS = ("office", "delivery_id", "campaign")
COMMON = {"action", "chamber", "on", "after", "every", "probability", "seed", "count"}
ON = ("message", "validate", "offices", "any")

NUMBERS = {"after": (0, None), "every": (1, None), "count": (1, None), "seed": (0, None), "ms": (0, 600000),
           "delay_ms": (0, 600000), "at": (0, None), "status": (100, 599), "size": (0, 64 << 20),
           "bytes": (0, None), "retry_after": (0, None)}
FLAGS = ("record", "reset", "echo")


class BadRule(ValueError):
    """The rule cannot be used; the text says why."""


def check_values(spec):
    for key, (low, high) in NUMBERS.items():
        if key not in spec or (key == "retry_after" and isinstance(spec[key], str)):
            continue
        value = spec[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            raise BadRule("%s must be a whole number from %d%s" % (key, low, "" if high is None else " to %d" % high))
    for key in FLAGS:
        if key in spec and not isinstance(spec[key], bool):
            raise BadRule("%s must be true or false" % key)
    chance = spec.get("probability", 1)
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
        raise BadRule("probability must be from 0 to 1")
    if spec.get("chamber", "house") not in ("house", "senate"):
        raise BadRule("chamber must be house or senate")
    if spec.get("on", "message") not in ON:
        raise BadRule("on must be one of " + ", ".join(ON))
    if spec.get("when", "answer") not in ("read", "answer"):
        raise BadRule("when must be read or answer")


def moment_of(spec):
    """Checks the members of a rule against its action and returns its moment."""
    if not isinstance(spec, dict) or spec.get("action") not in ACTIONS:
        raise BadRule("action must be one of " + ", ".join(sorted(ACTIONS)))
    check_values(spec)
    moment, own = ACTIONS[spec["action"]]
    if spec.get("when") == "read":
        moment = HEADERS
    allowed = COMMON | own
    if moment in (BODY, MIDDLE):
        allowed = allowed | set(LETTER_MATCHERS)
    if moment == BODY:
        allowed = allowed | {"record", "delay_ms"}
    for key in spec:
        if key not in allowed:
            raise BadRule("%s cannot be used with %s at the moment '%s'" % (key, spec["action"], moment))
    if spec["action"] == "status" and "status" not in spec:
        raise BadRule("status needs a status")
    if spec["action"] == "delay" and "ms" not in spec:
        raise BadRule("delay needs ms")
    return moment


class Rule:
    """One rule with its counters."""

    def __init__(self, number, spec):
        self.moment = moment_of(spec)
        self.number = number
        self.spec = dict(spec)
        self.action = spec["action"]
        self.matched = 0
        self.applied = 0
        self.chance = None
        if "probability" in spec:
            self.spec.setdefault("seed", random.SystemRandom().randrange(1 << 32))
            self.chance = random.Random(self.spec["seed"])

    def get(self, key, default=None):
        return self.spec.get(key, default)

    def is_for(self, chamber, what, letter):
        spec = self.spec
        if spec.get("chamber", chamber) != chamber:
            return False
        if what is not None and spec.get("on", "message") not in (what, "any"):
            return False
        return all(key not in spec or (letter is not None and letter.get(key) == spec[key]) for key in LETTER_MATCHERS)

    def applies(self):
        """Counts a match and says whether it is one of those that the rule picks."""
        if "count" in self.spec and self.applied >= self.spec["count"]:
            return False
        self.matched += 1
        after = self.matched - self.spec.get("after", 0)
        if after <= 0 or after % self.spec.get("every", 1) != 0:
            return False
        if self.chance is not None and self.chance.random() >= self.spec["probability"]:
            return False
        self.applied += 1
        return True

    def describe(self):
        return {"id": self.number, "rule": self.spec, "moment": self.moment, "matched": self.matched,
                "applied": self.applied}


class Faults:
    """All rules, by moment, in the order in which they were given."""

    def __init__(self):
        self.rules = []
        self.numbers = 0
        self.by_moment = {}

    def add(self, spec):
        rule = Rule(self.numbers + 1, spec)
        self.numbers += 1
        self.rules.append(rule)
        self.by_moment.setdefault(rule.moment, []).append(rule)
        return rule

    def remove(self, number=None):
        """Removes one rule by number, or all; returns how many."""
        gone = [rule for rule in self.rules if number is None or rule.number == number]
        self.rules = [rule for rule in self.rules if rule not in gone]
        self.by_moment = {}
        for rule in self.rules:
            self.by_moment.setdefault(rule.moment, []).append(rule)
        return len(gone)

    def has(self, moment):
        return moment in self.by_moment

    def pick(self, moment, chamber, what=None, letter=None):
        """The rule that this connection or request meets, or None. `what` None means not known yet."""
        for rule in self.by_moment.get(moment, ()):
            if rule.is_for(chamber, what, letter) and rule.applies():
                return rule
        return None
