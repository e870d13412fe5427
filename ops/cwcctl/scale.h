/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many workers there should be. Pure: readings and times in, numbers out.
 *
 * Depth alone is the wrong signal: when a chamber's limit is the bottleneck, more workers send nothing more. So each
 * chamber d asks for the letters a second that are worth sending, and these for the slots that they keep busy:
 *
 *	flow_d   = min( max( scalable_d / T, arrival_d ), rate_d )
 *	need     = sum over d of  flow_d x L_d / ( C_d x 0.7 )
 *	desired  = need rounded up, at least 1 while anything is open, between min and max
 *
 * flow_d is 0 while the chamber is held or its breaker is open. scalable: DEPTH's backlog, without what a hold, a
 * breaker or a limit keeps. T: in what time it is to be gone. arrival: letters that come, a second; without it the
 * backlog would have to grow to T x arrival before a busy fleet stayed as large as it must be. L: what 95 of 100
 * POSTs take at most. C: letters that a worker sends to the chamber at a time.
 *
 * What keeps it from swinging:
 * - more workers at once, fewer one at a time;
 * - fewer only when for `stable_us` without a break fewer would have done, and by `band` less than one worker at that;
 *   never below the most that were needed in that time;
 * - a step down at least `cooldown_us` after the last change, and only when nothing is in flight for the one that goes:
 *   what is in flight fits into the slots of those that stay, and the last surplus has left;
 * - without a reading nothing changes: an error is no reason to have fewer workers. Nor does what was low before a gap
 *   count through it: of the time between two readings at most half of `stable_us` does.
 *
 * A server clock that steps back ends no wait early: what lies in the future has only just begun.
 */
#ifndef OPS_CWCCTL_SCALE_H
#define OPS_CWCCTL_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/base/err.h"

#define SCALE_CHAMBERS    2
#define SCALE_WORKERS_MAX 1000 /* workers; above, an answer could only come from an error */

struct scale_options {
	unsigned min, max; /* min <= max <= SCALE_WORKERS_MAX */
	int64_t drain_us;  /* T */
	int64_t stable_us, cooldown_us;
};

struct scale_chamber {
	bool blocked;      /* held as a whole, or its breaker is not closed */
	bool limited;      /* a limit keeps letters back: for the word alone */
	double scalable;   /* letters */
	double arrival;    /* letters a second that came, of those that may go */
	double rate;       /* letters a second, all workers together; 0: no limit is known */
	double latency_s;  /* L */
	unsigned slots;    /* C, at least 1 */
	int64_t in_flight; /* letters with workers */
};

struct scale_reading {
	int64_t at_us; /* the server's time of it */
	struct scale_chamber chamber[SCALE_CHAMBERS];
	int64_t open;     /* letters that are not over, at the door too */
	unsigned running; /* workers that live */
};

/* What one reckoning leaves to the next. All zero: nothing is known. */
struct scale_state {
	bool known;
	unsigned desired;
	int64_t changed_us; /* since when it is as it is */
	int64_t low_us;     /* since when fewer would do; 0: they would not */
	unsigned low_peak;  /* and how many those were at most */
	int64_t seen_us;    /* the last reading; 0: none */
};

/* X(ENUM, word, text) */
#define SCALE_WHYS(X)                                                                        \
	X(STEADY, "steady", "as many as are needed")                                         \
	X(BACKLOG, "backlog", "more are needed")                                             \
	X(RATE_CAPPED, "rate_capped", "a limit of Congress is the bottleneck: no more help") \
	X(MAX, "max", "more are needed than there may be")                                   \
	X(MIN, "min", "fewer are needed than there must be")                                 \
	X(STABILISING, "stabilising", "fewer would do, but not for long enough")             \
	X(COOLING, "cooling", "fewer would do; the last change is too recent")               \
	X(NOT_DRAINED, "not_drained", "fewer would do; what is in flight needs all of them") \
	X(SCALE_IN, "scale_in", "one fewer")                                                 \
	X(NO_DATA, "no_data", "the queue cannot be read: as before")

enum scale_why {
#define SCALE_WHY_ENUM(e, word, text) SCALE_##e,
	SCALE_WHYS(SCALE_WHY_ENUM)
#undef SCALE_WHY_ENUM
		SCALE_N_WHYS
};
const char *scale_why_word(enum scale_why why);
const char *scale_why_text(enum scale_why why);

struct scale_answer {
	unsigned desired;
	double need; /* workers, with fractions; 0 without a reading */
	enum scale_why why;
};

/* The formula alone. *ret_capped: a limit keeps more from being worth sending. */
double scale_need(const struct scale_options *o, const struct scale_reading *r, bool *ret_capped);

/* One reckoning. `r` is NULL when there is no reading: the answer is that of before, or ERR_NOT_FOUND when nothing is
 * known. The first one begins from the workers that run. */
ERR_MUST_CHECK enum err scale_step(const struct scale_options *o, const struct scale_reading *r, struct scale_state *s,
				   struct scale_answer *ret_answer);

#endif
