/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of Redis that outlive their callback, and what is in them as JSON.
 *
 * Records and entries of streams are flat arrays name, value, name, value... Their JSON has the same
 * names, but for times, which lose "_us" and become RFC 3339, and for what is not there yet (status
 * 0, generation -1), which becomes null.
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
/* "attempt,begun_ms,ended_ms,status,outcome;..." as an array of objects. */
json_t *reply_history(struct span text);

/* All entries of a stream after `from` ("" from the start), at most `max`, as an array of JSON
 * objects with their `id`; NULL after a report. */
json_t *reply_stream(struct ctl *c, const char *suffix, const char *from, uint64_t max);
/* The newest `max` entries, oldest first. */
json_t *reply_stream_tail(struct ctl *c, const char *suffix, uint64_t max);

#endif
