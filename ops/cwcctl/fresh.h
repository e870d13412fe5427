/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statement of a worker (attest/statement.h), with the document that proves it.
 *
 * From a running worker: a document with a fresh nonce, so that it was made just now. From a file, what /keys answered
 * earlier: the published document, which nobody asked a nonce of, so that only --max-age bounds how old it is. Either
 * must have the statement's hash as user_data. Nothing else of an answer is proved.
 */
#ifndef OPS_CWCCTL_FRESH_H
#define OPS_CWCCTL_FRESH_H

#include <jansson.h>

#include "attest/statement.h"
#include "ops/cwcctl/manifest.h"
#include "ops/cwcctl/port.h"

struct fresh {
	const char *from; /* for messages: the address or the file */
	bool file;
	struct buf bytes; /* of the statement */
	struct statement s;
	struct keyring_key key[KEYRING_KEYS_MAX];
	size_t n_keys;

	/* The document. Without one all of it is empty, and nothing of the statement is proved. */
	bool attested;
	bool simulated;                      /* by the simulator of a development build */
	bool measured;                       /* --manifest was asked for its measurements */
	char release[MANIFEST_NAME_MAX + 1]; /* the one that matched; "" unless measured */
	char module_id[ATTEST_MODULE_SIZE + 1];
	int64_t time_ms;
	uint8_t pcr0[ATTEST_PCR_SIZE];
};

/* All return 0, or the exit status after a report; fresh_clear() is allowed after either.
 *
 * --unattested allows for a worker without a security module; a document that does not verify is refused always. */

/* --status: asks /attestation, and /keys where there is no document. */
int fresh_from_worker(struct ctl *c, const struct port *p, struct fresh *ret_f);
/* --keys. */
int fresh_from_file(struct ctl *c, const char *file, struct fresh *ret_f);
void fresh_clear(struct fresh *f);

/* GET /keys as an object; 0, or the exit status after a report. */
int fresh_keys(const struct port *p, json_t **ret_keys);

/* A document of any age, whose signed time is not ahead of the clock, made over `hash` alone: that is its user_data,
 * and it has no nonce and no public key. The measurements must be in the manifest; without one, they are its own. */
enum attest_code fresh_verify_ageless(struct span document, struct span hash, const struct manifest *m,
				      struct fresh *ret_f);

#endif
