/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis protocol (RESP2) as a codec: bytes to replies, arguments to bytes. Pure; hiredis's
 * formatter and reader with the bounds that they lack: a reply of more than `max` buffered bytes, an array of
 * more than RESP_ARRAY_MAX elements or nested deeper than 7 is ERR_PROTOCOL. Buffers are wiped.
 */
#ifndef QUEUE_RESP_H
#define QUEUE_RESP_H

#include "worker/base/buf.h"

#define RESP_ARRAY_MAX 65536

enum resp_type { RESP_STATUS, RESP_ERROR, RESP_INTEGER, RESP_BULK, RESP_NIL, RESP_ARRAY };

struct resp_reply {
	enum resp_type type;
	struct span text;  /* STATUS, ERROR, BULK */
	int64_t integer;   /* INTEGER */
	size_t n;          /* ARRAY */
	struct resp_reply **at;
};

struct resp;

struct resp *resp_new(size_t max);
void resp_free(struct resp *r);
ERR_MUST_CHECK enum err resp_feed(struct resp *r, struct span bytes);
/* The next complete reply, or NULL when more bytes are needed. Valid until resp_release(). */
ERR_MUST_CHECK enum err resp_next(struct resp *r, const struct resp_reply **ret_reply);
void resp_release(struct resp *r, const struct resp_reply *reply);

/* Appends a command. */
void resp_command(struct buf *out, const struct span *arg, size_t n);

/* Conveniences on replies: text of a BULK or STATUS (empty span for anything else), number of an
 * INTEGER or of decimal text (0 for anything else). */
struct span resp_text(const struct resp_reply *r);
int64_t resp_number(const struct resp_reply *r);
/* Element i of an array, or a static NIL reply. */
const struct resp_reply *resp_at(const struct resp_reply *r, size_t i);

/* What an error reply means for a client, by its first word (queue/PROTOCOL.md, "Redis trouble"):
 * READONLY, UNBLOCKED, MASTERDOWN, NOREPLICAS, MOVED, ASK, CLUSTERDOWN, LOADING, BUSY, TRYAGAIN ->
 * QUEUE_BUSY; OOM, MISCONF -> QUEUE_FULL; NOAUTH, WRONGPASS, NOPERM -> QUEUE_DENIED; anything else ->
 * QUEUE_SCRIPT. *ret_reconnect: close the connection and resolve again (READONLY, UNBLOCKED, MASTERDOWN, MOVED, ASK,
 * CLUSTERDOWN, NOAUTH, WRONGPASS). */
enum err resp_error(struct span text, bool *ret_reconnect);

#endif
