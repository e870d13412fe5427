# SPDX-License-Identifier: Apache-2.0
"""What one receiver's trouble costs the others.

offices: letters to 500 offices flow. Then there are letters to two offices more, of which one never answers and one has
used up its limit of 36 an hour, the lowest that can be configured.
chambers: letters to both chambers flow. Then the Senate takes letters and never answers.

The rates before and after are compared within one run, several times. Letters in flight are what runs out here: each
takes its receiver a fixed time, and the machine is mostly idle. So the rate depends on slots alone, and hardly on what
else the machine does. Offices differ a little in that time, or all letters would go in waves for a while.
"""
import statistics
import threading
import time

import rig as rigs
from rig import wait_until

LOSS_MAX = 0.05
# What a silent Senate did to one queue for both chambers, worked by BullMQ 6.7 with 20 letters in flight, POST/s.
ONE_QUEUE = (96.4, 2.0)

WORKERS, SLOTS, PAUSE_S = 4, 32, 0.4
OFFICES, RATE = 500, WORKERS * SLOTS / PAUSE_S
CHAMBER_SLOTS, CHAMBER_PAUSE_S = 20, 0.2
# Shorter than the default of 45 s, so that a run sees all: the first letters time out, one alone is tried, the breaker.
SILENCE = {'first_byte_timeout': '2s', 'total_timeout': '10s'}
HOUR_US, LIMIT_PER_HOUR, BURST = 3600000000, 36, 1000
SETTLE_S = 2
RUNS, BEFORE_S, AFTER_S = 3, 8, 8
QUICK_RUNS, QUICK_BEFORE_S, QUICK_AFTER_S = 1, 4, 4


def office_list():
    """502 codes, more than the House has: the last two are the dead one and the limited one."""
    codes = list(rigs.offices.house_offices())
    codes += ['HCA%02d' % n for n in range(60, 100)] + ['HTX%02d' % n for n in range(60, 100)]
    return codes[:OFFICES + 2]


def pauses(codes, mean):
    """Half of the mean to one and a half of it, each of 11 values as often."""
    return {code: mean * (0.5 + i % 11 / 10) for i, code in enumerate(codes)}


def answered(rig, begin, end, want):
    """Answers a second in this window of the receiver's clock."""
    return sum(1 for a in rig.arrivals() if begin <= a[1] < end and a[2] < 300 and want(a[3])) / (end - begin)


def before_and_after(rig, options, workers, host, want, trouble):
    """Rates before and after `trouble()`."""
    seconds = (QUICK_BEFORE_S, QUICK_AFTER_S) if options.quick else (BEFORE_S, AFTER_S)
    rig.start_workers(workers, host)
    wait_until(lambda: len(rig.arrivals()) > workers * 10, 20, 'first letters')
    begin = time.time() + SETTLE_S
    threading.Event().wait(SETTLE_S + seconds[0])  # the run: there is nothing to wait for but time
    trouble()
    middle = time.time()
    threading.Event().wait(seconds[1])
    rig.kill_workers()
    return (answered(rig, begin, middle, want), answered(rig, middle, middle + seconds[1], want))


def compare(report, whose, what, found):
    kept = [100 * after / before for before, after in found]
    report.row('letters to %s before' % whose, [before for before, _ in found], '/s', 1)
    report.row('letters to %s beside %s' % (whose, what), [after for _, after in found], '/s', 1)
    least = 100 * (1 - LOSS_MAX)
    middle = statistics.median(kept)
    report.bar('beside %s, %s keeps %.1f %% (%.1f to %.1f), at least %.0f %%' % (
        what, whose, middle, min(kept), max(kept), least), middle >= least, timed=True)


# --- one office --------------------------------------------------------------------------------------

def use_up(rig, office):
    """The limited office begins with nothing left of its burst; all others with all of it."""
    seconds, _ = rig.redis('TIME')
    # Further away than any bucket can be: it is brought back to the fullest.
    full = int(seconds) * 1000000 + 2 * BURST * HOUR_US // LIMIT_PER_HOUR
    rig.redis('SET', '{q}:rate:' + office, full, 'PX', 2 * BURST * HOUR_US // LIMIT_PER_HOUR // 1000)


def posts(rig, office):
    """POSTs to an office, by the records: what was never answered is in no log of the receiver."""
    return sum(int(rig.redis('HGET', key, 'attempt')) for key in rig.redis('KEYS', '{q}:job:*:' + office))


def one_office(options, codes):
    others, dead, limited = codes[:-2], codes[-2], codes[-1]
    lists = {**rigs.offices.default_lists(), 'house': codes}
    slow = {**pauses(others, PAUSE_S), dead: rigs.NEVER_S}
    with rigs.Rig(pause=PAUSE_S, pauses=slow, log=True, lists=lists, first=True) as rig:
        # The dead and the limited office have a long line each.
        mixture = others + [dead, limited] * 10
        rounds = int(RATE * (SETTLE_S + BEFORE_S + AFTER_S + 3)) // OFFICES + 1
        rig.seal(rounds * len(mixture), mixture)
        rig.configure({'house': SILENCE})
        n = rig.select('others.resp', lambda office: office not in (dead, limited))
        rig.select('two.resp', lambda office: office in (dead, limited))
        rig.load('others.resp', n)

        def trouble():
            use_up(rig, limited)
            rig.enqueue('two.resp')
        host = {'house': {'concurrency': SLOTS, 'office_rate': '%d/h' % LIMIT_PER_HOUR, 'office_burst': BURST}}
        rates = before_and_after(rig, options, WORKERS, host, set(others).__contains__, trouble)
        return rates, posts(rig, dead), posts(rig, limited)


def measure_offices(report, options):
    found = [one_office(options, office_list()) for _ in range(QUICK_RUNS if options.quick else RUNS)]
    report.say('%d offices, %d workers with %d slots, %.1f s a letter: at most %.0f/s; %d runs' % (
        OFFICES, WORKERS, SLOTS, PAUSE_S, RATE, len(found)))
    compare(report, 'the rest', 'a dead and a limited office', [rates for rates, _, _ in found])
    report.row('POSTs to the dead office', [dead for _, dead, _ in found], 'a run')
    report.row('POSTs to the limited office', [limited for _, _, limited in found], 'a run')


# --- one chamber -------------------------------------------------------------------------------------

def one_chamber(options):
    codes = rigs.mixed_offices()
    with rigs.Rig(pause=CHAMBER_PAUSE_S, pauses=pauses(codes, CHAMBER_PAUSE_S), log=True, first=True) as rig:
        rig.seal(int(2 * CHAMBER_SLOTS / CHAMBER_PAUSE_S * (SETTLE_S + BEFORE_S + AFTER_S + 3)), codes)
        rig.configure({'house': SILENCE, 'senate': SILENCE})
        rig.load()
        slots = {'concurrency': CHAMBER_SLOTS, 'office_concurrency': CHAMBER_SLOTS}
        return before_and_after(rig, options, 1, {'house': slots, 'senate': slots},
                                set(rig.lists['house']).__contains__, lambda: rig.fall_silent('senate'))


def measure_chambers(report, options):
    found = [one_chamber(options) for _ in range(QUICK_RUNS if options.quick else RUNS)]
    report.say('one worker, %d slots for each chamber, %.1f s a letter: at most %.0f/s to the House; %d runs' % (
        CHAMBER_SLOTS, CHAMBER_PAUSE_S, CHAMBER_SLOTS / CHAMBER_PAUSE_S, len(found)))
    compare(report, 'the House', 'a Senate that never answers', found)
    report.say('  One queue for both chambers, worked by BullMQ, 20 in flight: %.1f -> %.1f/s' % ONE_QUEUE)


PARTS = (measure_offices, measure_chambers)
