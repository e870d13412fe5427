/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call on its way, private to queue/: queue.c sends and repeats it, queue_calls.c makes the
 * arguments and decodes the answer.
 *
 * A call lives from queue_call_command() or queue_call_script() until its answer was delivered, or
 * until queue_close(). It keeps the formatted command, to send it again after NOSCRIPT.
 */
#ifndef QUEUE_QUEUE_CALL_H
#define QUEUE_QUEUE_CALL_H

#include <sys/queue.h>

#include "queue/queue.h"
#include "queue/scripts.h"

#define QUEUE_SHA_SIZE 40

/* A script on the server. */
struct queue_slot {
	struct queue *q;
	const struct queue_script *script;
	char sha[QUEUE_SHA_SIZE];
	bool loading; /* a SCRIPT LOAD is on its way */
};

struct queue_call {
	LIST_ENTRY(queue_call) link;
	struct queue *q;
	struct queue_slot *slot; /* NULL: a plain command */
	unsigned repeats;
	unsigned longer_ms; /* what its answer may take beyond the connection's time-out */
	struct buf command;
	/* Set before queue_call_start(). Calls cb; r is NULL without a reply, and may be an error
	 * reply when e is not ERR_OK. */
	void (*deliver)(const struct queue_call *c, enum err e, const struct resp_reply *r);
	union {
		queue_beat_cb beat;
		queue_take_cb take;
		queue_begin_cb begin;
		queue_settle_cb settle;
		queue_count_cb count;
		queue_wait_cb wait;
		queue_reply_cb reply;
	} cb;
	void *arg;
};

/* NULL when there is no script of this name. */
struct queue_slot *queue_call_find(struct queue *q, const char *script);
/* Arguments are copied. */
struct queue_call *queue_call_command(struct queue *q, struct queue_slot *s, const struct span *argv, size_t n);
struct queue_call *queue_call_script(struct queue *q, struct queue_slot *s, const struct span *argv, size_t n);
/* Sends it; whatever happens, it is delivered once, later. */
void queue_call_start(struct queue_call *c);

#endif
