/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis protocol (RESP2) as a codec: bytes to replies, arguments to bytes. Pure; hiredis's
 * formatter and reader with the bounds that they lack. ERR_PROTOCOL, after which the codec takes
 * nothing more, is the answer to
 *
 *	- a reply of more than `max` bytes on the wire, complete or not;
 *	- an array of more than RESP_ARRAY_MAX elements, or more than RESP_DEPTH_MAX arrays inside one
 *	  another. Arrays grow with what arrives, so that an announced length allocates nothing;
 *	- a bulk without its CRLF, and whatever else hiredis refuses (RESP3 among it: never send HELLO).
 *
 * What was received is wiped: the input whenever all of it has become replies, a reply in
 * resp_release(), the rest in resp_free(). (Input that hiredis refuses it frees by itself.) The
 * memory of a reply is at most 25 times its bytes on the wire.
 */
#ifndef QUEUE_RESP_H
#define QUEUE_RESP_H

#include "worker/base/buf.h"

#define RESP_ARRAY_MAX 65536
#define RESP_DEPTH_MAX 8
/* What may be fed beyond `max` before resp_next() is called: one read from a socket. */
#define RESP_FEED_MAX 65536

enum resp_type { RESP_STATUS, RESP_ERROR, RESP_INTEGER, RESP_BULK, RESP_NIL, RESP_ARRAY };

struct resp_reply {
	enum resp_type type;
	struct span text; /* STATUS, ERROR, BULK */
	int64_t integer;  /* INTEGER */
	size_t n;         /* ARRAY */
	struct resp_reply **at;
};

struct resp;

struct resp *resp_new(size_t max);
/* NULL is allowed. Replies that were not released stay valid. */
void resp_free(struct resp *r);
/* ERR_PROTOCOL as above, and when more than max + RESP_FEED_MAX bytes wait for resp_next(). */
ERR_MUST_CHECK enum err resp_feed(struct resp *r, struct span bytes);
/* The next complete reply, or NULL when more bytes are needed. Valid until resp_release(). */
ERR_MUST_CHECK enum err resp_next(struct resp *r, const struct resp_reply **ret_reply);
/* Wipes and frees a reply of resp_next(). NULL is allowed. */
void resp_release(struct resp *r, const struct resp_reply *reply);

/* Appends a command of n >= 1 arguments. Sets out->overflow when it does not fit. */
void resp_command(struct buf *out, const struct span *arg, size_t n);

/* Conveniences on replies: text of a BULK or STATUS (empty span for anything else), number of an
 * INTEGER or of decimal text (0 for anything else). */
struct span resp_text(const struct resp_reply *r);
int64_t resp_number(const struct resp_reply *r);
/* Element i of an array, or a static NIL reply. */
const struct resp_reply *resp_at(const struct resp_reply *r, size_t i);

/* What an error reply means for a client, by its first word (queue/PROTOCOL.md, "Redis trouble"):
 * READONLY, UNBLOCKED, MASTERDOWN, NOREPLICAS, MOVED, ASK, CLUSTERDOWN, LOADING, BUSY, TRYAGAIN ->
 * QUEUE_BUSY; OOM, MISCONF -> QUEUE_FULL; NOAUTH, WRONGPASS, NOPERM, DENIED -> QUEUE_DENIED; anything
 * else -> QUEUE_SCRIPT. *ret_reconnect: close the connection and resolve again (READONLY, UNBLOCKED,
 * MASTERDOWN, MOVED, ASK, CLUSTERDOWN, NOAUTH, WRONGPASS). Redis 6.2 wraps the error of a command
 * inside a script ("ERR Error running script (...): ...: -OOM ..."): the inner word counts then.
 * "ERR max number of clients reached" is QUEUE_BUSY, and Redis closes. */
enum err resp_error(struct span text, bool *ret_reconnect);

#endif
