/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of the keys: has the ring unsealed, keeps it up to date, and makes sealed bundles when it is asked.
 *
 * With keys.source = sealed it reads the store (store.h) at the start and then every keys.refresh, with a jittered,
 * capped backoff while something is missing. A bundle that is new is taken when its form, queue, environment and KMS
 * key are ours, its version is above the one that is loaded (never back within a boot; not below keys.version_min), its
 * maker was an enclave with our measurements, and KMS unwraps its data key. Then the ring is replaced at once: a letter
 * in flight was opened already. Another bundle of the version that is loaded is refused and logged. What the store says
 * cannot take a ring away: nothing but a newer bundle replaces it. KMS is needed for a new bundle only.
 *
 * What is missing is said: "store" (also until it was read once), "no_bundle", "no_secrets", "kms", and letters wait in
 * the queue meanwhile.
 *
 * A request (POST /keys/request: the first ring of a release; /keys/rotate; /keys/signers) changes nothing here: it
 * answers with a new sealed bundle, and the worker, like all others, takes it when it comes back through the store. So
 * whoever may ask can waste calls to KMS, one at a time, and nothing else. A first ring has the lowest version that
 * this release takes; it is not made while a bundle of ours lies in the store that KMS does not open at the moment. A
 * grant may come with each of them; without one, that of the bundle in use is carried over. A grant is followed only by
 * one whose serial is not lower.
 *
 * It also lets keys expire, with every source, and tells of each change.
 */
#ifndef WORKER_KEEPER_H
#define WORKER_KEEPER_H

#include "attest/grant.h"
#include "attest/sealed.h"
#include "queue/job.h"
#include "worker/attestor.h"
#include "worker/status.h"

struct keeper;

struct keeper_options {
	const struct config *config; /* all pointers must stay until keeper_free() */
	struct attestor *attestor;   /* NULL: no device; then the source is not `sealed` */
	struct keyring *ring;        /* filled before, or, with source sealed, empty */
	/* The ring was replaced, a key changed its state, or the signers did. `bundle`: the version, or 0. */
	void (*changed)(void *arg, uint64_t bundle);
	/* All that is needed is there for the first time: a ring and the secrets of this configuration. Also with the
	 * other sources, once. Never from within keeper_new(). */
	void (*complete)(void *arg);
	void *arg;
};

/* ERR_CONFIG with *ret_key and *ret_rule. */
ERR_MUST_CHECK enum err keeper_new(uv_loop_t *loop, const struct keeper_options *o, struct keeper **ret_keeper,
				   const char **ret_key, const char **ret_rule);
/* Open requests are answered with 503. NULL is allowed. */
void keeper_free(struct keeper *k);

/* Why it is not complete (static); NULL: it is. */
const char *keeper_missing(const struct keeper *k);
/* From the store; in guarded memory, until keeper_free(); NULL: not there. Secrets are taken once and stay for the
 * boot: who changes one starts the worker anew. */
const char *keeper_secret(const struct keeper *k, enum sealed_name n);
/* The signers that the bundle's grant names; in the keeper's memory. */
const struct job_signer *keeper_granted(const struct keeper *k, size_t *ret_n);
/* That grant itself; empty: none. */
struct span keeper_grant(const struct keeper *k);
uint64_t keeper_bundle(const struct keeper *k);
/* Whether the wall clock is known to be wrong, or not known to be right: to be told every second or so where there is a
 * device. Meanwhile, and when it was stepped by more than worker.skew_max since it was told, no key expires, no bundle
 * is judged by its times, and nothing that is asked for is made. */
void keeper_set_clock_trouble(struct keeper *k, bool trouble);

/* For the status server. Answers: 200 application/cbor with the bundle; 400 {"reason":"grant"}; 409 {"reason":"source"|
 * "no_bundle"|"has_bundle"|"pending"|"full"|"no_authority"}; 429 {"reason":"busy"}; 503 {"reason":"kms","why":NAME},
 * where NAME is one of kms_client.h, {"reason":"store"} (it could not be read, and may have a bundle),
 * {"reason":"clock"} or
 * {"reason":"draining"} from keeper_free(). */
void keeper_act(struct keeper *k, enum status_act act, struct span body, struct status_ticket *t);
/* Appends to the JSON object of /keys: "source", "missing" (text or null), "grant": null or { "serial", "signers": [{
 * "kid", "not_before", "not_after" }], "sha256" (hex), "bytes" (base64) }, of which the statement has the hash. It
 * begins with a member and not with a brace. */
void keeper_keys(const struct keeper *k, struct buf *out);

#endif
