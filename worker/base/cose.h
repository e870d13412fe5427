/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COSE_Sign1 (RFC 9052 section 4.2) with Ed25519, in the one form that this project uses:
 *
 *	18([ << {1: -8, 4: kid} >>, {}, payload, signature ])
 *
 * The tag is required, the protected header holds exactly the algorithm (EdDSA, -8) and the key
 * id (1 to 64 bytes), the unprotected header is empty, the payload is attached. What the message
 * is for is bound by `context`, the external_aad of the Sig_structure (section 4.4), so that a
 * signature over a job can never be taken for one over a receipt.
 */
#ifndef WORKER_BASE_COSE_H
#define WORKER_BASE_COSE_H

#include "worker/base/cbor.h"

#define COSE_ED25519_PUBLIC 32
#define COSE_ED25519_SECRET 64 /* libsodium's form: seed and public key */
#define COSE_KID_MAX        64

struct cose_sign1 {
	struct span protected_header; /* encoded, as signed */
	struct span kid;
	struct span payload;
	struct span signature; /* 64 bytes */
};

/* Splits a message; checks its form, not its signature. All views point into `in`.
 * ERR_SYNTAX: not the structure. ERR_RANGE: other headers than those above. */
ERR_MUST_CHECK enum err cose_sign1_parse(struct span in, struct cose_sign1 *ret_msg);
/* ERR_CRYPTO when the signature is not by this key over this context. */
ERR_MUST_CHECK enum err cose_sign1_verify(const struct cose_sign1 *msg, struct span context,
					  const uint8_t key[COSE_ED25519_PUBLIC]);
/* Appends a signed message to out; check buf_ok(). */
void cose_sign1_sign(struct span context, struct span kid, struct span payload,
		     const uint8_t secret[COSE_ED25519_SECRET], struct buf *out);

#endif
