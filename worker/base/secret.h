/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and files for secrets.
 *
 * Guarded memory (libsodium: locked, excluded from core dumps, with guard pages) costs 45 us a
 * call and is taken at boot only: for keys, for the arena into which envelopes are opened, for API
 * keys. What must be allocated while a letter is handled (JSON nodes) goes through an allocator
 * that wipes on free.
 */
#ifndef WORKER_BASE_SECRET_H
#define WORKER_BASE_SECRET_H

#include "worker/base/buf.h"

/* Initialises libsodium, forbids core dumps and tracing (prctl PR_SET_DUMPABLE 0, RLIMIT_CORE 0), and gives jansson an
 * allocator that wipes on free. Call first in main(). ERR_CRYPTO when the random generator cannot be had. */
ERR_MUST_CHECK enum err secret_init(void);

/* Guarded memory of n bytes, zeroed; aborts when it cannot be had. */
void *secret_alloc(size_t n);
/* Wipes and frees; NULL is allowed. */
void secret_free(void *p);

/* The arena for plaintext: guarded memory of a fixed size. `buf` with cap == max == size that
 * never grows; use buf_reset() after every letter, secret_arena_free() at the end. */
void secret_arena(struct buf *ret_buf, size_t size);
void secret_arena_free(struct buf *b);

/* Reads a secret from a file of at most max bytes into guarded memory, with trailing newlines cut,
 * and a NUL behind it. ERR_NOT_FOUND, ERR_IO, ERR_LIMIT; ERR_CONFIG when the file is empty or
 * readable by others (mode & 077, files not owned by root or us), is not a regular file or holds
 * a NUL. An access list that gives rights to nobody but us is fine: service managers hand out
 * credentials so. Links are followed; what counts is the file behind them. The caller frees with
 * secret_free(). */
ERR_MUST_CHECK enum err secret_file(const char *path, size_t max, char **ret_secret);

/* The SHA-256 of a secret in lower-case hex: by it a configuration knows a secret that it does not have. */
#define SECRET_HASH_SIZE 65
void secret_hash(struct span secret, char ret_hex[SECRET_HASH_SIZE]);
/* Compares in constant time. With an empty `hex` any secret will do. */
bool secret_has_hash(struct span secret, const char *hex);

#endif
