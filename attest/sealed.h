/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret of the operator's, sealed to the ring's `secret` key: API keys of the chambers, the password of Redis.
 * FORMATS.md is the specification. Pure.
 *
 *	sealed secret = [ "cwc-secret-v1", header: bstr .cbor, ephemeral: bstr .size 32, sealed: bstr ]
 *	header = { v, kid, name, queue, environment }
 *
 * X25519 with an ephemeral key; HKDF-SHA256 over the shared secret, with header and both public keys in its info;
 * XChaCha20-Poly1305 under a nonce from the same derivation, additional data "cwc-secret-v1" | header.
 *
 * Anyone can seal one, so a secret is no proof of who gave it; what the name says is bound, so that no secret can be
 * handed to another peer than it was meant for.
 */
#ifndef ATTEST_SEALED_H
#define ATTEST_SEALED_H

#include "attest/keyring.h"

#define SEALED_MAX       4096
#define SEALED_PLAIN_MAX 2048

/* X(ENUM, name) */
#define SEALED_NAMES(X)                     \
	X(HOUSE_API_KEY, "house.api_key")   \
	X(SENATE_API_KEY, "senate.api_key") \
	X(QUEUE_PASSWORD, "queue.password")

enum sealed_name {
#define SEALED_NAME_ENUM(e, name) SEALED_##e,
	SEALED_NAMES(SEALED_NAME_ENUM)
#undef SEALED_NAME_ENUM
		SEALED_NAME_COUNT
};
const char *sealed_name_text(enum sealed_name n);
/* ERR_NOT_FOUND. */
ERR_MUST_CHECK enum err sealed_name_find(struct span text, enum sealed_name *ret_n);

/* Views into the bytes that were parsed. */
struct sealed {
	enum sealed_name name;
	struct span environment, queue, kid, header, ephemeral, sealed;
};

/* Form only. ERR_SYNTAX, ERR_LIMIT; ERR_NOT_FOUND: a name that is not known. */
ERR_MUST_CHECK enum err sealed_parse(struct span in, struct sealed *ret_s);
/* Opens into `plain` (guarded; it has room for SEALED_PLAIN_MAX + 1; a NUL is put behind the secret, not counted in
 * plain->n). ERR_ENVELOPE_KEY: not a key of the ring; ERR_ENVELOPE_PROFILE: not a `secret` key; ERR_ENVELOPE_POINT,
 * ERR_ENVELOPE_OPEN; ERR_SYNTAX: a byte outside of printable ASCII; ERR_LIMIT: `plain` is too small. On an error
 * `plain` is empty. Environment and queue are the caller's to compare. */
ERR_MUST_CHECK enum err sealed_open(const struct sealed *s, const struct keyring *r, struct buf *plain);
/* Seals `secret` to a public key of profile `secret`. ERR_RANGE: empty, too long, or not printable ASCII; another
 * profile, or what sealed_parse() would refuse; ERR_LIMIT. On an error nothing is appended. */
ERR_MUST_CHECK enum err sealed_make(enum sealed_name name, struct span environment, struct span queue,
				    const struct keyring_key *to, struct span secret, struct buf *out);

#endif
