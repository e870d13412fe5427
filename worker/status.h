/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server: what the parent, the app server and auditors may ask a running worker over HTTP/1.1.
 *
 *	GET /health              200, or 503 while draining: the process lives
 *	GET /ready               200, or 503 with the reason
 *	GET /attestation?nonce=  a fresh document with this nonce: application/cbor, or JSON with base64 when Accept
 *asks for application/json. Without a nonce: the published one GET /keys                the ring's public part and the
 *receipt key, with the document that proves them GET /metrics             Prometheus text format 0.0.4
 *
 * A nonce has 8 to 64 bytes, in base64url or in hex: an even number of hex digits from 16 on is hex. HEAD is answered
 * like GET, without the body. Every other method is 405, every other path 404; a request with a body is refused.
 *
 * libmicrohttpd in the worker's loop, on any address form (vsock:4294967295:5000 in an enclave). A slow or hostile
 * client costs no letter anything:
 * - no handler waits; an answer is made in memory before any of it is sent;
 * - at most 32 connections, 8 KiB of memory for the requests of each. A connection is closed 5 s after it was made,
 *   whatever it has said until then; after 1 s when all 32 are taken, so that others get their turn;
 * - 5 documents a second, since each costs a signature of the NSM: 429 beyond that;
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

/* What the server asks; called on the loop, must not wait. With attestation or keys NULL there is no document: 503. */
struct status_source {
	void (*health)(void *arg, struct status_answer *a);
	void (*ready)(void *arg, struct status_answer *a);
	/* nonce: empty for the published document. json: base64 inside of JSON is asked for. */
	void (*attestation)(void *arg, struct span nonce, bool json, struct status_answer *a);
	void (*keys)(void *arg, struct status_answer *a);
	void (*metrics)(void *arg, struct status_answer *a);
	void *arg;
};

/* Listens at once; `source` is copied. ERR_CONFIG with *ret_rule (static): the address cannot be listened on. */
ERR_MUST_CHECK enum err status_new(uv_loop_t *loop, const struct addr *listen, const struct status_source *source,
				   struct status **ret_status, const char **ret_rule);
/* Closes the listener and all connections at once, not from within a callback of the source. The memory goes when the
 * loop has run once more. NULL is allowed. */
void status_free(struct status *s);

#endif
