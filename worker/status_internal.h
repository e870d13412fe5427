/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the status server share. status.c: listener, connections, time. status_answers.c: from a request to
 * its answer, at once or by a ticket. status_nonce.c: the argument of /attestation.
 *
 * A request that is answered later suspends its connection: libmicrohttpd watches it no more, keeps it, and calls the
 * handler once more when it is resumed. Connection and ticket know each other until one of them ends.
 */
#ifndef WORKER_STATUS_INTERNAL_H
#define WORKER_STATUS_INTERNAL_H

#include <microhttpd.h>

#include "worker/status.h"

#define STATUS_CONNECTIONS_MAX 32
/* Of the connections those that may wait for a ticket at once: the others are for who asks how the worker is. */
#define STATUS_WAITING_MAX 24
/* A ticket that nobody answers is answered by the server. */
#define STATUS_WAIT_US INT64_C(30000000)
/* The age of a connection, without the time that it waited for tickets. */
#define STATUS_AGE_US      INT64_C(5000000)
#define STATUS_AGE_FULL_US INT64_C(1000000)

/* A connection that is open, and the request that it is at. */
struct status_client {
	struct status_answers *s;
	struct MHD_Connection *connection;
	int fd; /* -1: none */
	int64_t since_us;
	bool ended; /* was shut down: its end comes with the next turn */

	struct buf body;               /* what was POSTed */
	struct status_ticket *ticket;  /* the answer to come */
	bool suspended;                /* waits for it */
	int64_t waits_us;              /* since then */
	struct MHD_Response *response; /* the answer, before it is queued */
	unsigned code;
};

struct status_answers {
	struct status_source source;
	int64_t document_due_us; /* of the next document, if they came evenly */
	int64_t act_due_us;
	struct status_client client[STATUS_CONNECTIONS_MAX];
	unsigned clients, waiting;
	int64_t wait_us, age_us; /* STATUS_WAIT_US, STATUS_AGE_US */
};

/* For tests that need not be patient: other times than those. */
void status_set_times(struct status *s, int64_t wait_us, int64_t age_us);

/* For MHD_start_daemon(); arg is a struct status_answers. */
enum MHD_Result status_answers_handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				      const char *version, const char *upload, size_t *upload_size, void **state);
/* The request is over, one way or the other: the client has none. */
void status_answers_over(struct status_client *k);
/* A client that waits: answers in the place of who has the ticket. */
void status_answers_late(struct status_client *k);
/* Lets the handler be called again, which ends a client that has `ended`. */
void status_answers_resume(struct status_client *k);

/* 8 to 64 bytes from base64url (with or without padding) or hex; appended. ERR_SYNTAX, ERR_RANGE, ERR_LIMIT. */
ERR_MUST_CHECK enum err status_nonce(struct span text, struct buf *out);

#endif
