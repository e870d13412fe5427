/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server: what the parent, the app server and auditors may ask a running worker over HTTP/1.1.
 *
 *	GET /health               200, or 503 while draining: the process lives
 *	GET /ready                200, or 503 with the reason
 *	GET /attestation?nonce=   a fresh document with this nonce: application/cbor, or JSON with base64 when Accept
 *	                          asks for application/json. Without a nonce: the published one
 *	GET /keys                 the ring's public part and the receipt key, with the document that proves them
 *	GET /metrics              Prometheus text format 0.0.4
 *	POST /keys/request, /keys/rotate, /keys/signers   a new sealed bundle; changes nothing here (keeper.h)
 *
 * A nonce has 8 to 64 bytes, in base64url or in hex: an even number of hex digits from 16 on is hex. HEAD is answered
 * like GET, without the body. Another method is 405, another path 404. The body of a POST has at most STATUS_BODY_MAX
 * bytes, that of any other request none: 413.
 *
 * libmicrohttpd in the worker's loop, on any address form (vsock:4294967295:5000 in an enclave). A slow or hostile
 * client costs no letter anything:
 * - no handler waits; an answer is made in memory before any of it is sent. What takes longer (a document of the NSM, a
 *   call to KMS) suspends its connection, with a ticket for who answers;
 * - at most 32 connections, 8 KiB of memory for the requests of each. A connection is closed 5 s after it was made,
 *   whatever it has said until then; after 1 s when all 32 are taken, so that others get their turn. An answer on a
 *   connection that ends soon says so (Connection: close);
 * - at most 24 connections wait for a ticket, which does not count for their age as long as the client is there. One
 *   that nobody answers for 30 s is answered 503 {"reason":"timeout"}, and one too many 503 {"reason":"busy"}. Of a
 *   client that has left the place is free at once, of one that only sends no more after the usual age;
 * - 5 documents of /attestation a second, since each may cost a signature of the NSM, and one POST: 429 beyond that;
 * - all of it together gets a fifth of the loop's time: under a flood of requests the letters go on and the flood
 *   waits.
 */
#ifndef WORKER_STATUS_H
#define WORKER_STATUS_H

#include <uv.h>

#include "worker/base/addr.h"
#include "worker/base/buf.h"

#define STATUS_NONCE_MIN 8
#define STATUS_NONCE_MAX 64

struct status;

/* An answer. It comes as 200 application/json with an empty body, which is appended to; what does not fit 1 MiB becomes
 * a 500. The type is a static text. */
struct status_answer {
	int code; /* HTTP */
	const char *type;
	struct buf body;
};

/* A request that is answered later: the connection waits, no thread does. */
struct status_ticket;
/* Answers and ends the ticket; `a` is read and stays the caller's. When the client is gone meanwhile, or the server,
 * nothing happens. May be called from within the source's function. Every ticket must be answered once. */
void status_reply(struct status_ticket *t, const struct status_answer *a);
/* The same with a JSON text. */
void status_reply_json(struct status_ticket *t, int code, const char *json);

/* What may be asked of the worker to do: POST /keys/request, /keys/rotate, /keys/signers. */
enum status_act { STATUS_KEYS_REQUEST, STATUS_KEYS_ROTATE, STATUS_KEYS_SIGNERS };
#define STATUS_BODY_MAX 8192

/* What the server asks; called on the loop, must not wait. NULL: 503 {"reason":"no_attestation"} for attestation and
 * keys, 404 for act. */
struct status_source {
	void (*health)(void *arg, struct status_answer *a);
	void (*ready)(void *arg, struct status_answer *a);
	/* nonce: empty for the published document. json: base64 inside of JSON is asked for. */
	void (*attestation)(void *arg, struct span nonce, bool json, struct status_ticket *t);
	void (*keys)(void *arg, struct status_answer *a);
	void (*metrics)(void *arg, struct status_answer *a);
	/* body: what was POSTed, valid during the call. */
	void (*act)(void *arg, enum status_act act, struct span body, struct status_ticket *t);
	void *arg;
};

/* Listens at once; `source` is copied. ERR_CONFIG with *ret_rule (static): the address cannot be listened on. */
ERR_MUST_CHECK enum err status_new(uv_loop_t *loop, const struct addr *listen, const struct status_source *source,
				   struct status **ret_status, const char **ret_rule);
/* Closes the listener and all connections at once, not from within a callback of the source. The memory goes when the
 * loop has run once more. NULL is allowed. */
void status_free(struct status *s);

#endif
