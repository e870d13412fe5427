/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scripts of PROTOCOL.md answer, decoded. Pure; private to queue/ and its tests.
 *
 * Each takes any reply but an error reply. Redis is not trusted: a reply of another shape is
 * ERR_QUEUE_SCRIPT, numbers that do not fit become 0. All views point into the reply.
 */
#ifndef QUEUE_QUEUE_REPLY_H
#define QUEUE_QUEUE_REPLY_H

#include "queue/queue.h"

ERR_MUST_CHECK enum err queue_reply_beat(const struct resp_reply *r, struct queue_beat_answer *ret_answer);
/* A job that TAKE could not hand out, or that is not readable here, sets `adopt`. */
ERR_MUST_CHECK enum err queue_reply_take(const struct resp_reply *r, struct queue_take_answer *ret_answer);
ERR_MUST_CHECK enum err queue_reply_begin(const struct resp_reply *r, struct queue_begin_answer *ret_answer);
/* Breakers that cannot be read are left out: the rest was done. */
ERR_MUST_CHECK enum err queue_reply_settle(const struct resp_reply *r, struct queue_settle_answer *ret_answer);
/* What WAIT answers. */
ERR_MUST_CHECK enum err queue_reply_wait(const struct resp_reply *r, int64_t *ret_n);
/* REAP, ADOPT and ADMIN hold: [OK, n], [FENCED], [SKEW] (n = -1). */
ERR_MUST_CHECK enum err queue_reply_count(const struct resp_reply *r, bool *ret_fenced, int64_t *ret_n);

/* What the start-up check wants to know of INFO. */
struct queue_info {
	unsigned major, minor; /* of redis_version; 0 when it is missing */
	bool replica, loading;
	struct span policy; /* maxmemory_policy, or "" */
	struct span server; /* run_id: of this start of this server, or "" */
};
void queue_reply_info(struct span info, struct queue_info *ret_info);
/* The value in a reply to CONFIG GET of one parameter; "" for any other reply, errors included. */
struct span queue_reply_config(const struct resp_reply *r);

/* The words of the scripts' arguments. */
const char *queue_beat_word(enum queue_beat_verb verb);
const char *queue_verb_word(enum queue_verb verb);

#endif
