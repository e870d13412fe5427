/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes: the sealed part of a job. FORMATS.md is the specification.
 *
 * witness: the JSON object that the app's browsers send today,
 *	{ "ciphertext": base64, "nonce": base64, "ephemeralPublicKey": "0x" hex, "teeKeyId": text }
 *	key = BLAKE2b-256(key: context string, X25519(ephemeral, ring key)); XChaCha20-Poly1305, no AAD.
 *
 * letter: COSE_Encrypt0, 16([ << {1: -65793, 4: kid, -65800: version, -65801: sid,
 *	-65802: [offices], -65803: expires} >>, {-4: ephemeral public key}, ciphertext ])
 *	PRK = HKDF-Extract-SHA256(salt: "", IKM: X25519(ephemeral, ring key));
 *	key(32) | nonce(24) = HKDF-Expand(PRK, "cwc-letter-v1" | ephemeral public | ring public, 56);
 *	XChaCha20-Poly1305 with AAD = Enc_structure ["Encrypt0", protected, "cwc-letter-v1"].
 *
 * The Diffie-Hellman step is the caller's (the key ring keeps its secrets): envelope_parse() says
 * which key and which point, envelope_open_...() takes the shared secret.
 */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H

#include "queue/job.h"

#define ENVELOPE_MAX       90112
#define ENVELOPE_PLAIN_MAX 65536
#define ENVELOPE_ALG       (-65793)
#define LETTER_CONTEXT     "cwc-letter-v1"

struct envelope {
	enum job_profile profile;
	char kid[COSE_KID_MAX + 1];
	uint8_t point[32];            /* ephemeral public key */
	uint8_t nonce[24];            /* witness */
	struct span protected_header; /* letter: encoded */
	struct span ciphertext;       /* witness: base64 text; letter: bytes */
	struct span sid;              /* letter: what the protected header binds */
	struct span office[JOB_OFFICES_MAX];
	size_t n_offices;
	uint64_t expires_s;
};

/* ENVELOPE_TOO_LARGE, ENVELOPE_SYNTAX, ENVELOPE_ALGORITHM. Views point into `bytes`. */
ERR_MUST_CHECK enum err envelope_parse(enum job_profile profile, struct span bytes, struct envelope *ret_env);

/* ENVELOPE_BINDING unless the letter envelope was sealed for this job (sid, offices, expiry).
 * Always ERR_OK for witness: that profile binds through its plaintext. */
ERR_MUST_CHECK enum err envelope_bound(const struct envelope *e, const struct job *j);

/* Opens into `plain` (reset first; an arena of at least ENVELOPE_PLAIN_MAX + ENVELOPE_MAX bytes, since the
 * base64 text is decoded in it too). Tries the contexts in their order. ENVELOPE_OPEN says nothing about
 * where it failed, and `plain` is wiped. `e` must come from envelope_parse() for this profile. */
ERR_MUST_CHECK enum err envelope_open_witness(const struct envelope *e, const uint8_t shared[32],
					      const char (*context)[65], size_t n_contexts, struct buf *plain);
/* public_key: the ring key's. */
ERR_MUST_CHECK enum err envelope_open_letter(const struct envelope *e, const uint8_t shared[32],
					     const uint8_t public_key[32], struct buf *plain);

/* Sealing, for cwcctl and tests; appends to `out`. A NULL ephemeral secret (and nonce) means random: anything else is
 * for test vectors, since a secret must not be used twice. ERR_LIMIT: no plaintext, or more than ENVELOPE_PLAIN_MAX, or
 * `out` is full. ERR_RANGE: a key id, context or job that the format does not allow. ERR_ENVELOPE_POINT: public_key is
 * of low order. */
ERR_MUST_CHECK enum err envelope_seal_witness(struct span plain, const uint8_t public_key[32], const char *kid,
					      const char *context, const uint8_t *eph_secret, const uint8_t *nonce,
					      struct buf *out);
ERR_MUST_CHECK enum err envelope_seal_letter(struct span plain, const uint8_t public_key[32], const char *kid,
					     const struct job *bind, const uint8_t *eph_secret, struct buf *out);

#endif
