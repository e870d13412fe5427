/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring: X25519 keys by key id. A key belongs to one envelope profile for its whole life.
 *
 * Key id: "wek-" and the first 16 hex digits of the public key (the form that the app's browsers
 * send today). Private keys lie in guarded memory and never leave this module: the caller hands in
 * the other side's public point and gets the shared secret.
 *
 * Sources: made at boot (development, or one enclave alone), or a file (development). File format,
 * one key a line, '#' comments: `PROFILE HEX64-PRIVATE-KEY [CONTEXT]...` with PROFILE `witness` or
 * `letter`; contexts only for witness, in the order in which they are tried; none means the
 * configured default list. The file must not be readable by others.
 */
#ifndef ATTEST_KEYRING_H
#define ATTEST_KEYRING_H

#include "worker/base/buf.h"

enum keyring_profile { KEYRING_WITNESS, KEYRING_LETTER };

#define KEYRING_ID_MAX       64
#define KEYRING_KEYS_MAX     16
#define KEYRING_CONTEXTS_MAX 4
#define KEYRING_CONTEXT_MAX  64 /* libsodium: a BLAKE2b key has 16 to 64 bytes */

struct keyring;

/* What everybody may know about a key. */
struct keyring_key {
	char id[KEYRING_ID_MAX + 1];
	enum keyring_profile profile;
	uint8_t public_key[32];
	char context[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1]; /* witness */
	size_t n_contexts;
};

struct keyring *keyring_new(void);
void keyring_free(struct keyring *r);
/* The contexts of witness keys that name none. ERR_RANGE: a length outside 16 to 64, or too many. */
ERR_MUST_CHECK enum err keyring_default_contexts(struct keyring *r, const char *const *context, size_t n);
/* Adds a key with a fresh secret from the kernel's random generator. ERR_LIMIT when the ring is full. */
ERR_MUST_CHECK enum err keyring_make(struct keyring *r, enum keyring_profile profile);
/* Adds a key from its 32-byte secret; the caller wipes its copy. ERR_LIMIT, ERR_EXISTS. */
ERR_MUST_CHECK enum err keyring_add(struct keyring *r, enum keyring_profile profile, const uint8_t secret[32],
				    const char *const *context, size_t n_contexts);
/* Reads a file. On an error *ret_line is the line (0: the file itself) and *ret_rule a static text. */
ERR_MUST_CHECK enum err keyring_load(struct keyring *r, const char *path, unsigned *ret_line, const char **ret_rule);

size_t keyring_count(const struct keyring *r);
const struct keyring_key *keyring_at(const struct keyring *r, size_t i);
/* NULL when the id is not in the ring. */
const struct keyring_key *keyring_find(const struct keyring *r, struct span id);
/* X25519 with the key's secret. ERR_ENVELOPE_POINT for a low-order point. The caller wipes. */
ERR_MUST_CHECK enum err keyring_dh(const struct keyring *r, const struct keyring_key *k, const uint8_t point[32],
				   uint8_t ret_shared[32]);
/* "wek-..." of a public key. */
void keyring_id(const uint8_t public_key[32], char ret_id[KEYRING_ID_MAX + 1]);

#endif
