/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grant: which app servers may sign jobs, said by the authority whose key is measured into the image. It goes into
 * the sealed bundle, so that signers change without a new image, and the operator cannot name one. FORMATS.md is the
 * specification. Pure.
 *
 *	grant = COSE_Sign1 (EdDSA, external_aad "cwc-signers-v1") of
 *	        { v, queue, serial, signers: [* { key, kid, not_after, not_before }], environment }
 */
#ifndef ATTEST_GRANT_H
#define ATTEST_GRANT_H

#include "worker/base/cose.h"

#define GRANT_MAX         4096
#define GRANT_SIGNERS_MAX 8
#define GRANT_SERIAL_MAX  ((UINT64_C(1) << 53) - 1) /* what a double holds */

struct grant_signer {
	char kid[COSE_KID_MAX + 1];
	uint8_t public_key[COSE_ED25519_PUBLIC];
	int64_t not_before_s, not_after_s; /* it signs from not_before on, up to and without not_after; neither is 0 */
};

struct grant {
	struct span environment, queue, authority; /* authority: its key id; views into the bytes */
	uint64_t serial; /* 1 to GRANT_SERIAL_MAX; grows; a later grant takes the place of all of the earlier one */
	struct grant_signer signer[GRANT_SIGNERS_MAX];
	size_t n_signers; /* 1 to GRANT_SIGNERS_MAX, different key ids */
};

/* Parses and verifies, the signature before what it covers. ERR_SYNTAX, ERR_LIMIT, ERR_RANGE (times out of order, a key
 * id twice, a serial); ERR_CRYPTO: the signature, or another authority's key id. Environment and queue are the caller's
 * to compare. */
ERR_MUST_CHECK enum err grant_verify(struct span in, struct span authority_kid,
				     const uint8_t authority[COSE_ED25519_PUBLIC], struct grant *ret_g);
/* What it says, whoever wrote it: for people. ERR_SYNTAX, ERR_LIMIT, ERR_RANGE. */
ERR_MUST_CHECK enum err grant_parse(struct span in, struct grant *ret_g);
/* Signs. ERR_RANGE: what grant_verify() would refuse; ERR_LIMIT: `out` is too small. On an error nothing is
 * appended. */
ERR_MUST_CHECK enum err grant_sign(const struct grant *g, const uint8_t secret[COSE_ED25519_SECRET], struct buf *out);

#endif
