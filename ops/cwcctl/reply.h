/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of Redis that outlive their callback, and what is in them as JSON.
 *
 * Records and entries of streams are flat arrays name, value, name, value... Their JSON has the same
 * names, but for times, which lose "_us" and become RFC 3339, and for what is not there yet (status
 * 0, generation -1), which becomes null. `statement` and `document` (of `attestations`) become base64.
 */
#ifndef OPS_CWCCTL_REPLY_H
#define OPS_CWCCTL_REPLY_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

/* A deep copy; reply_free() in session.h. */
struct resp_reply *reply_copy(const struct resp_reply *r);

/* An entry [id, [name, value, ...]] of a stream, or with id "" a flat array. Bytes that are not text
 * (job, receipt) are left out. */
json_t *reply_record(const struct resp_reply *flat);
json_t *reply_entry(const struct resp_reply *entry);
/* "attempt,begun_ms,ended_ms,status,outcome,worker;..." as an array of objects. */
json_t *reply_history(struct span text);

/* A stream page by page, oldest first, up to what was the newest entry at the start: `audit` may have a million. */
#define REPLY_ID_SIZE 64
struct reply_pages {
	struct ctl *c;
	const char *suffix;
	char start[REPLY_ID_SIZE + 1], end[REPLY_ID_SIZE];
	bool over;
};
/* The newest entries, so many; 0: all. False after a report. */
bool reply_pages_begin(struct ctl *c, const char *suffix, uint64_t newest, struct reply_pages *p);
/* An array of JSON objects with their `id`, perhaps empty; NULL after a report. Until p->over. */
json_t *reply_page(struct reply_pages *p);
/* The newest `max` entries, oldest first, in one array; NULL after a report. */
json_t *reply_stream_tail(struct ctl *c, const char *suffix, uint64_t max);

#endif
