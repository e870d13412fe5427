/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations, times and ids of entries as people write them. Pure.
 */
#ifndef OPS_CWCCTL_UNITS_H
#define OPS_CWCCTL_UNITS_H

#include "worker/base/buf.h"

/* A whole number and ms, s, min, h or d, as in the configuration: "90s". At most 365 days.
 * ERR_SYNTAX, ERR_RANGE. */
ERR_MUST_CHECK enum err units_duration(const char *text, uint64_t *ret_ms);
/* RFC 3339, or seconds since 1970 in digits; after 1970 and before 10000. ERR_SYNTAX. */
ERR_MUST_CHECK enum err units_time(const char *text, int64_t *ret_unix_s);
/* A duration, that long before now_s, or a time in RFC 3339 that is after 1970 and not after now_s: an age filter that
 * is off by a year must not select all there is. ERR_SYNTAX, ERR_RANGE. */
ERR_MUST_CHECK enum err units_moment(const char *text, int64_t now_s, int64_t *ret_unix_s);
/* How often: "20" or "20/s" a second, "20/min", "20/h"; at least 1 and at most 1000000. As the time between two, in us.
 */
ERR_MUST_CHECK enum err units_rate(const char *text, int64_t *ret_period_us);

/* The id of an entry of a stream, "milliseconds-number"; without "-number" it is the first of its millisecond. */
struct entry_id {
	uint64_t ms, n;
};
ERR_MUST_CHECK enum err units_entry_id(struct span text, struct entry_id *ret_id);
#define ENTRY_ID_SIZE 44
void units_entry_id_text(struct entry_id id, char ret_out[ENTRY_ID_SIZE]);

#endif
