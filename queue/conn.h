/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to Redis that comes back by itself: dial, TLS, AUTH, then pipelined commands over
 * a stream; after a loss it reconnects with full jitter between 50 ms and 4 s.
 *
 * Commands are answered in order. A loss answers all that are outstanding with ERR_QUEUE_LOST: for
 * each, whether Redis carried it out is not known. Commands sent while the connection is down are
 * answered with ERR_QUEUE_LOST at once (in the next turn of the loop). An answer that takes longer than the
 * time-out ends the connection. Credentials are sent once per connection and never logged.
 *
 * The delay doubles with each attempt and starts small again after a connection that lasted 5 s,
 * so that one that is refused right after it came up does not spin.
 */
#ifndef QUEUE_CONN_H
#define QUEUE_CONN_H

#include <uv.h>

#include "queue/resp.h"
#include "worker/base/stream.h"

#define CONN_OUTSTANDING_MAX 65536

struct conn_options {
	struct addr address;
	const struct stream_tls *tls; /* NULL: none. Copied, its files are read once; strings must stay */
	const char *user,
		*password;   /* password NULL: no AUTH; user NULL: the default user. Must stay until conn_close() */
	unsigned timeout_ms; /* of connect and handshake together, and of each answer */
	size_t write_max, reply_max; /* ceilings of buffered bytes */
};

/* `e` is ERR_OK (also for an error reply: see reply->type) or ERR_QUEUE_LOST with reply NULL. The
 * reply is valid during the call. Never called from within conn_send(). */
typedef void (*conn_cb)(void *arg, enum err e, const struct resp_reply *reply);

struct conn_ops {
	void (*up)(void *arg);
	/* why: ERR_RESOLVE, ERR_CONNECT, ERR_TLS, ERR_TIMEOUT, ERR_CLOSED, ERR_IO, ERR_PROTOCOL,
	 * ERR_QUEUE_DENIED (AUTH refused or missing), ERR_QUEUE_BUSY (a READONLY or MOVED made us
	 * reconnect), or what conn_drop() was given. Called once per loss and once per failed attempt, when
	 * all outstanding commands were answered. */
	void (*down)(void *arg, enum err why, const char *detail);
};

struct conn;

/* ERR_CONFIG when a TLS file or name cannot be used. */
ERR_MUST_CHECK enum err conn_open(uv_loop_t *loop, const struct conn_options *o, const struct conn_ops *ops, void *arg,
				  struct conn **ret_conn, const char **ret_detail);
/* ERR_LIMIT when the write buffer is full or too many are outstanding: nothing was sent, no callback. */
ERR_MUST_CHECK enum err conn_send(struct conn *c, const struct span *argv, size_t n, conn_cb cb, void *arg);
/* The same with a command that resp_command() made, and whose answer may take so much longer than the time-out. The
 * connection stands still meanwhile: the time of those behind it counts from its answer. */
ERR_MUST_CHECK enum err conn_send_raw(struct conn *c, struct span command, unsigned longer_ms, conn_cb cb, void *arg);
/* Sends nothing: calls back with `e` and no reply in the next turn of the loop. */
void conn_answer(struct conn *c, enum err e, conn_cb cb, void *arg);
bool conn_is_up(const struct conn *c);
/* Drops the connection and dials again, for a reason that down() gets. `detail` is copied. */
void conn_drop(struct conn *c, enum err why, const char *detail);
/* Ends without callbacks, also from within one. NULL is allowed. */
void conn_close(struct conn *c);

#endif
