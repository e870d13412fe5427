/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measured rate ceiling of a chamber, enforced by this process alone (GCRA). Redis enforces the
 * shared limit; this one holds even if Redis lies. A job may be POSTed up to two seconds after its
 * cell was charged, so the local burst is the configured one plus two seconds' worth.
 */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	int64_t period_us, tolerance_us; /* emission interval; how far ahead of time a cell may come */
	int64_t due_us;                  /* theoretical arrival time of the next cell */
};

void pace_init(struct pace *p, double rate, unsigned burst);
/* Takes a cell. False when that would break the ceiling; nothing is taken then. */
bool pace_take(struct pace *p, int64_t now_us);

#endif
