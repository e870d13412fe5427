/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statement of a boot: what the attestation document's user_data is the hash of. It names the ring's public keys,
 * the receipt key, the grant of signers and what this worker was started as, so that one document vouches for all of
 * them. FORMATS.md is the specification. Pure.
 */
#ifndef ATTEST_STATEMENT_H
#define ATTEST_STATEMENT_H

#include "attest/keyring.h"

#define STATEMENT_MAX        (KEYRING_WRITTEN_MAX + 1024)
#define STATEMENT_HASH_SIZE  32
#define STATEMENT_GRANT_SIZE 32

struct statement {
	struct span environment, queue, release; /* release: the program's version */
	uint64_t bundle;                         /* version of the sealed bundle; 0: the ring is not from one */
	uint8_t receipt_key[32];                 /* Ed25519 */
	struct span receipt_key_id;
	struct span keys;  /* encoded: keyring_read_public() */
	struct span grant; /* SHA-256 of the grant in use (grant.h), STATEMENT_GRANT_SIZE bytes; empty: none */
};

/* Appends it; s->keys is what keyring_write_public() made. ERR_LIMIT. */
ERR_MUST_CHECK enum err statement_write(const struct statement *s, struct buf *out);
/* Strict, keys included; views point into `in`. ERR_SYNTAX, ERR_LIMIT; ERR_RANGE: a key or an id that is not what it
 * says. */
ERR_MUST_CHECK enum err statement_read(struct span in, struct statement *ret_s);
/* SHA-256("cwc-statement-v1" | statement): the user_data of its documents. */
void statement_hash(struct span statement, uint8_t ret_hash[STATEMENT_HASH_SIZE]);

#endif
