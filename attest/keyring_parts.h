/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a key ring. Private to attest/keyring*.c and their tests.
 */
#ifndef ATTEST_KEYRING_PARTS_H
#define ATTEST_KEYRING_PARTS_H

#include "attest/keyring.h"

#define KEYRING_SECRET_SIZE 32

struct keyring {
	struct keyring_key key[KEYRING_KEYS_MAX];
	bool own_contexts[KEYRING_KEYS_MAX]; /* not the default list */
	size_t n;
	/* By the index of the key; guarded, out of reach but between keyring_unlock() and keyring_lock(). What lies
	 * behind the last key is zero. */
	uint8_t (*secret)[KEYRING_SECRET_SIZE];
	char fallback[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1]; /* contexts of keys that name none */
	size_t n_fallback;
};

void keyring_unlock(const struct keyring *r);
void keyring_lock(const struct keyring *r);
/* Wipes the keys from index n on and takes them out. */
void keyring_cut(struct keyring *r, size_t n);
/* 16 to 64 visible ASCII characters, so that a context can be written in a file and in a configuration. */
bool keyring_context_valid(struct span s);
/* In order, and before the year 10000. */
bool keyring_times_valid(const struct keyring_times *t);
/* What keyring_write_public() makes of these keys. */
void keyring_write_keys(const struct keyring_key *k, size_t n, struct buf *out);

#endif
