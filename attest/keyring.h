/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring: X25519 keys by key id. A key belongs to one profile for its whole life: `witness` and `letter` open
 * envelopes, `secret` opens the operator's secrets (sealed.h).
 *
 * Key id: "wek-" and the first 16 hex digits of the public key (the form that the app's browsers send today). Private
 * keys lie in guarded memory and leave this module only by keyring_write(), into a buffer that is sealed at once: the
 * caller hands in the other side's public point and gets the shared secret.
 *
 * Times of a key, in unix seconds. It is pending until `activate`, so that every worker has it before the first letter
 * is sealed to it; active until `retire`; then it only opens, because letters that were sealed before are still on
 * their way; from `destroy` on it is gone, and its secret is wiped. retire and destroy are 0 (never) until a newer key
 * of the profile takes its place. A key opens in every state but the last: the sender's clock is not ours.
 *
 * Sources: made at boot (development, or one enclave alone), a sealed bundle (bundle.h), or, in a development build, a
 * file. File format, one key a line, '#' comments: `PROFILE HEX64-PRIVATE-KEY [CONTEXT]...` with PROFILE `witness` or
 * `letter`; contexts only for witness, in the order in which they are tried; none means the configured default list.
 * The file must not be readable by others.
 */
#ifndef ATTEST_KEYRING_H
#define ATTEST_KEYRING_H

#include "worker/base/buf.h"

enum keyring_profile { KEYRING_WITNESS, KEYRING_LETTER, KEYRING_SECRET };
#define KEYRING_PROFILES 3
enum keyring_state { KEYRING_PENDING, KEYRING_ACTIVE, KEYRING_DECRYPT_ONLY, KEYRING_DESTROYED };

#define KEYRING_ID_MAX       64
#define KEYRING_KEYS_MAX     16
#define KEYRING_CONTEXTS_MAX 4
#define KEYRING_CONTEXT_MAX  64   /* libsodium: a BLAKE2b key has 16 to 64 bytes */
#define KEYRING_WRITTEN_MAX  8192 /* of keyring_write() and keyring_write_public() */

struct keyring;

/* In this order, each at most KEYRING_TIME_MAX; destroy needs a retire. */
#define KEYRING_TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
struct keyring_times {
	int64_t created_s, activate_s; /* 0: since ever */
	int64_t retire_s, destroy_s;   /* 0: not decided */
};

/* What everybody may know about a key. */
struct keyring_key {
	char id[KEYRING_ID_MAX + 1];
	enum keyring_profile profile;
	uint8_t public_key[32];
	char context[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1]; /* witness */
	size_t n_contexts;
	struct keyring_times times;
};

struct keyring *keyring_new(void);
void keyring_free(struct keyring *r);
/* The contexts of witness keys that name none. ERR_RANGE: a length outside 16 to 64, or too many. */
ERR_MUST_CHECK enum err keyring_default_contexts(struct keyring *r, const char *const *context, size_t n);
/* Adds a key with a fresh secret from the kernel's random generator. ERR_LIMIT when the ring is full; ERR_RANGE: times
 * out of order. */
ERR_MUST_CHECK enum err keyring_make(struct keyring *r, enum keyring_profile profile, const struct keyring_times *t);
/* Adds a key from its 32-byte secret; the caller wipes its copy. ERR_LIMIT, ERR_EXISTS, ERR_RANGE. */
ERR_MUST_CHECK enum err keyring_add(struct keyring *r, enum keyring_profile profile, const uint8_t secret[32],
				    const char *const *context, size_t n_contexts, const struct keyring_times *t);
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

/* --- time ------------------------------------------------------------------------------------- */

enum keyring_state keyring_state(const struct keyring_key *k, int64_t now_s);
const char *keyring_state_name(enum keyring_state s);     /* "pending" "active" "decrypt-only" "destroyed" */
const char *keyring_profile_name(enum keyring_profile p); /* "witness" "letter" "secret" */
/* The next time at which some key changes its state; 0: none does. */
int64_t keyring_next_change(const struct keyring *r, int64_t now_s);
/* Wipes the keys whose time to be destroyed has come and takes them out; `gone` is told of each before, or NULL. Views
 * of keyring_at() and keyring_find() are void afterwards. */
size_t keyring_expire(struct keyring *r, int64_t now_s, void (*gone)(void *arg, const struct keyring_key *k),
		      void *arg);

/* --- rotation --------------------------------------------------------------------------------- */

struct keyring_plan {
	int64_t delay_s;   /* from created to active: all workers have the bundle by then */
	int64_t overlap_s; /* from retire to destroy: what browsers cache, how long letters live, retries */
};
/* The first keys of a ring: one of each profile, active at once. ERR_EXISTS: the ring is not empty. */
ERR_MUST_CHECK enum err keyring_first(struct keyring *r, int64_t now_s);
/* A new key for witness and one for letter; those of their profiles that have no time to retire yet retire when it
 * becomes active. ERR_EXISTS: a key of theirs is pending still; ERR_LIMIT: the ring is full; ERR_RANGE: a plan with
 * times that no key can have. On an error nothing changes. The `secret` key stays: what is sealed to it would have to
 * be sealed anew. */
ERR_MUST_CHECK enum err keyring_rotate(struct keyring *r, int64_t now_s, const struct keyring_plan *p);

/* --- as CBOR ----------------------------------------------------------------------------------- */

/* Appends the ring with its secrets, deterministic CBOR (FORMATS.md): for sealing. `out` is wiped by its owner. */
void keyring_write(const struct keyring *r, struct buf *out);
/* Reads what keyring_write() wrote into the empty ring `r`. ERR_SYNTAX, ERR_LIMIT, ERR_EXISTS, ERR_RANGE; the ring is
 * then empty. */
ERR_MUST_CHECK enum err keyring_read(struct keyring *r, struct span in);
/* The same keys without secrets, times included, in the order of the ring. */
void keyring_write_public(const struct keyring *r, struct buf *out);
/* Into an array of KEYRING_KEYS_MAX. ERR_SYNTAX, ERR_LIMIT, ERR_RANGE (an id that is not the key's, times out of order,
 * contexts that are none, a key twice). */
ERR_MUST_CHECK enum err keyring_read_public(struct span in, struct keyring_key *ret_key, size_t *ret_n);
/* A copy, secrets included. */
struct keyring *keyring_copy(const struct keyring *r);
/* `r` gets the keys of `from`, which is left empty; its default contexts stay and are applied. Views are void. */
void keyring_replace(struct keyring *r, struct keyring *from);

#endif
