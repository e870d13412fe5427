# SPDX-License-Identifier: Apache-2.0
"""Figures, and the bars that they must pass."""
import statistics


class Report:
    """What one section found. A bar on time may be missed by a machine that is busy with something else, so the
    section is then measured again; any other bar is missed for good."""

    def __init__(self):
        self.bars = []

    def say(self, text=''):
        print(text, flush=True)

    def row(self, name, values, unit='', digits=0):
        values = sorted(values) if isinstance(values, (list, tuple)) else [values]
        spread = ' (%.*f to %.*f)' % (digits, values[0], digits, values[-1]) if len(values) > 1 else ''
        self.say('  %-58s %10.*f%s %s' % (name, digits, statistics.median(values), spread, unit))

    def bar(self, what, good, timed=False):
        self.bars.append((what, bool(good), timed))
        self.say('  %-6s %s' % ('ok' if good else 'MISSED', what))

    def good(self):
        return all(good for _, good, _ in self.bars)

    def may_repeat(self):
        return not self.good() and all(timed for _, good, timed in self.bars if not good)


def worst_second(times, length=1.0):
    """The most events in any window [t, t + length)."""
    times, most, first = sorted(times), 0, 0
    for last, t in enumerate(times):
        while times[first] <= t - length:
            first += 1
        most = max(most, last - first + 1)
    return most
