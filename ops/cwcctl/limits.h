/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What limits each chamber now: the rates as the last TAKE named them, the state of their buckets (PROTOCOL.md, 8.1),
 * what was used of them within the last whole minute, and what stands in the way.
 */
#ifndef OPS_CWCCTL_LIMITS_H
#define OPS_CWCCTL_LIMITS_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

/* An array of an object for each chamber: chamber, known (a worker has taken since the queue began), rate and
 * office_rate (letters a second; null: none), burst, office_slots, cells (that the bucket gives now), next (when it
 * gives the next one, or null: now), used and allowed (letters of the last whole minute), by (who limits: "hold",
 * "breaker", "rate", "offices", "workers"; "" when nothing waits), hold, breaker (holds.h), lowest and ceiling (letters
 * a second, of the workers that say so) and slowest (the worker with the lowest rate, when the host has lowered it; or
 * null). `reading`: depth.h. `workers`: workers.h. NULL after a report, or an interrupt. */
json_t *limits_read(struct ctl *c, const json_t *reading, const json_t *workers);

/* The bucket by what TAKE named; pure. */
struct limits_bucket {
	int64_t period_us, slack_us, at_us; /* at_us: TAT; 0: not charged lately */
};
double limits_rate(const struct limits_bucket *b);   /* letters a second; 0: no limit */
int64_t limits_burst(const struct limits_bucket *b); /* 0: no limit */
/* Cells that it gives at now_us, up to the burst; and when it gives the next one, 0: at once. */
int64_t limits_cells(const struct limits_bucket *b, int64_t now_us, int64_t *ret_next_us);

#endif
