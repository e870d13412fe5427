/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alarms on numbers that people should look at. Pure: one line when a number is reached, one more each time that it
 * doubles, none while it moves to and fro.
 */
#ifndef WORKER_WATCH_H
#define WORKER_WATCH_H

#include "worker/base/buf.h"

struct watch_alarm {
	unsigned limit; /* 0: never */
	int64_t next;   /* due at this number: the limit times a power of two */
};

void watch_alarm_init(struct watch_alarm *a, unsigned limit);
/* Takes a new count; true when it is to be told. What was told is armed again below half of it. */
bool watch_alarm_due(struct watch_alarm *a, int64_t count);

/* From the section "memory" of INFO: used_memory in per cent of maxmemory, rounded down; 0 without a limit, or when
 * the text is something else. */
int64_t watch_memory_percent(struct span info);

#endif
