/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification of attestation documents: the chain to the one anchor, the signature, time, measurements, bindings.
 *
 * Order: envelope, payload, chain (all certificates valid at the document's own signed time), signature, time (the
 * signed time against the caller's clock), debug (always, whatever the policy says), policy, binding. The first rule
 * that is broken gives the code; nothing of the document may be used unless the code is ATTEST_OK.
 *
 * The chain is walked in the order given, without a search and without a certificate store: cabundle[0] must be the
 * anchor, byte for byte, and every certificate of the bundle must be the issuer of the one behind it.
 *
 * Nearly all the work is ECDSA over P-384: one verification for each certificate but the root, and one for the
 * document. Who verifies many documents keeps a struct attest_cache, which saves those of certificates that it has
 * seen.
 */
#ifndef ATTEST_VERIFY_H
#define ATTEST_VERIFY_H

#include "attest/document.h"

/* A root certificate, DER. The release program has one: attest_anchor_aws (AWS Nitro Enclaves Root-G1). */
struct attest_anchor {
	const char *name;
	const uint8_t *der;
	size_t size;
};
extern const struct attest_anchor attest_anchor_aws;

#define ATTEST_MEASUREMENTS_MAX 16

/* One allowed set of measurements: all those named must match together. PCR0 must be among them, or PCR0 to PCR2. */
struct attest_measurement {
	char name[64]; /* of the release, for people; may be empty */
	uint32_t pcrs; /* bit i: pcr[i] is given */
	uint8_t pcr[ATTEST_PCRS][ATTEST_PCR_SIZE];
};

/*
 * Signatures of certificates that were found right before, in the caller's memory. Zeroed is empty; for one thread.
 *
 * An entry is SHA-256(issuer's public key | certificate): it says that this key signed these bytes, which stays true
 * whatever the time, the anchor and the policy are. All else is asked each time: the anchor, the form of every
 * certificate, names, validity at the document's time, extensions, path lengths. Only signatures that were verified on
 * a chain from the anchor get in; when it is full, the oldest goes.
 */
#define ATTEST_CACHE_LINKS 64
struct attest_cache {
	uint8_t link[ATTEST_CACHE_LINKS][32];
	size_t used, next;
};

#define ATTEST_NONCE_MIN 16 /* bytes of a nonce that stands for freshness */

struct attest_policy {
	const struct attest_measurement *allowed; /* none: everything is refused */
	size_t n_allowed;                         /* at most ATTEST_MEASUREMENTS_MAX */
	int64_t now_ms;
	int64_t max_age_ms; /* of the signed time; 0: no bound (needs a nonce of ATTEST_NONCE_MIN bytes, or chain_only)
			     */
	int64_t max_future_ms; /* how far ahead the signed time may be; always asked, but for chain_only */
	/* Each: NULL: anything; a span whose p is NULL: must not be there (null, or no such member); else equal, in
	 * constant time. An empty span with a p is an empty string, which is not the same as none. */
	const struct span *nonce, *user_data, *public_key;
	bool chain_only;            /* stop after ATTEST_SIGNATURE and ATTEST_DEBUG: no time, no policy, no binding */
	struct attest_cache *cache; /* or NULL */
};

enum attest_verdict { ATTEST_NOT_ASKED, ATTEST_PASSED, ATTEST_FAILED };

/* What was asked, for people: by stage. A stage that the policy leaves out stays ATTEST_NOT_ASKED. */
struct attest_report {
	enum attest_code code;
	enum attest_verdict stage[ATTEST_STAGES];
	int certificate;                          /* of the chain stage: the one to blame, 0 is the root; -1: none */
	const struct attest_anchor *anchor;       /* the one that was asked for */
	const struct attest_measurement *release; /* the one that matched, or NULL */
};

/* ATTEST_OK, or the code; *ret_doc is zero then, *ret_report is always written. Anchors: attest_anchor_aws, and in a
 * development build attest_anchor_sim. */
enum attest_code attest_verify(struct span in, const struct attest_anchor *anchor, const struct attest_policy *policy,
			       struct attest_document *ret_doc, struct attest_report *ret_report);

/* The stable name ("chain_expired"), its stage (ATTEST_STAGES for ATTEST_OK), the text for people. Never NULL. */
const char *attest_code_name(enum attest_code c);
enum attest_stage attest_code_stage(enum attest_code c);
const char *attest_code_text(enum attest_code c);
const char *attest_stage_name(enum attest_stage s);

#endif
