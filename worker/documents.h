/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of this boot: the statement of what the worker is and which keys it has (statement.h), and the
 * attestation documents over it.
 *
 * A new statement is made when the ring or the grant changes, and a new document with it; besides, a document is
 * renewed after attest.renew, so that the published one is never old. What is ready goes to `published`: the engine
 * puts it into the stream `attestations`, and names it in the receipts once it stands there. A device that fails is
 * asked again, sooner at first and then every half minute; meanwhile the one of before stays. Without a device there
 * are keys to publish, and no document.
 */
#ifndef WORKER_DOCUMENTS_H
#define WORKER_DOCUMENTS_H

#include "attest/receipt.h"
#include "worker/attestor.h"
#include "worker/engine.h"
#include "worker/status.h"

struct documents;

struct documents_options {
	const struct config *config; /* all pointers must stay until documents_free() */
	struct attestor *attestor;   /* NULL: no device */
	const struct keyring *ring;
	const struct receipt_key *receipt_key;
	const char *version;
	/* Valid during the call. Only from the loop, never from within a function of this header. */
	void (*published)(void *arg, const struct engine_publication *p);
	void *arg;
};

/* The first statement is made, and its document asked for, with the next turn of the loop. */
struct documents *documents_new(uv_loop_t *loop, const struct documents_options *o);
/* Questions that wait are answered with 503; not from within `published`; before attestor_free(). The memory goes when
 * the loop has run once more. NULL is allowed. */
void documents_free(struct documents *d);
/* The ring is another one now, or a key of it has changed its state, or others may sign. `bundle`: its version, or 0;
 * `grant`: the one in use, of which the statement has the hash; empty: none. An empty ring has a statement, too: the
 * first bundle is asked of an enclave that proves what it is. */
void documents_changed(struct documents *d, uint64_t bundle, struct span grant);
/* The current one, as it was given to `published`; NULL: none yet of this bundle. An engine that is made when the first
 * bundle has come would begin with the document of an empty ring. */
const struct engine_publication *documents_current(const struct documents *d);

/* For the status server. A nonce costs a document of its own, over the current statement; without one it is the current
 * document. JSON: {"document","statement"} in base64 and {"sha256"} in hex. 503 {"reason":"no_attestation"}: there is
 * none yet, or no device; {"reason":"device","why":NAME}: the device did not give one, NAME is that of the error. */
void documents_attestation(struct documents *d, struct span nonce, bool json, struct status_ticket *t);
/* Appends to the JSON object of /keys: "statement" and "document" (base64; null before the first, document null without
 * a device), "sha256" (hex; null likewise) of the document, "keys": [{ "id", "profile", "public_key" (hex), "state",
 * "created", "activate", "retire", "destroy" (unix s; null: not decided), "contexts" }], "receipt_key": { "id",
 * "public_key" (hex) }, "bundle", "release", "environment", "queue". It begins with a member and not with a brace. */
void documents_keys(const struct documents *d, struct buf *out);

#endif
