/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the key ring share: keys from fixed secrets, and a look at the guarded memory. Include after
 * cmocka.h.
 */
#ifndef TESTS_UNIT_KEYRING_FIXTURE_H
#define TESTS_UNIT_KEYRING_FIXTURE_H

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attest/keyring_parts.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define NOW       1800000000
#define DAY       86400
#define CONTEXT_1 "voter-protocol-witness-encryption-v1"
#define CONTEXT_2 "commons-witness-encryption-v1"
#define UNUSED    __attribute__((unused))

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

static const struct keyring_times since_ever = { 0 };

/* The key whose secret is 32 times `v`. */
UNUSED static enum err try_key(struct keyring *r, enum keyring_profile profile, uint8_t v,
			       const struct keyring_times *t)
{
	uint8_t secret[32];

	memset(secret, v, sizeof(secret));
	return keyring_add(r, profile, secret, NULL, 0, t);
}

UNUSED static void add_key(struct keyring *r, enum keyring_profile profile, uint8_t v, const struct keyring_times *t)
{
	assert_err(try_key(r, profile, v, t), ERR_OK);
}

UNUSED static struct keyring_times times(int64_t created, int64_t activate, int64_t retire, int64_t destroy)
{
	return (struct keyring_times){ created, activate, retire, destroy };
}

/* The kernel reads for us, and says so when it must not: nothing may lie open between two calls. */
UNUSED static void assert_out_of_reach(const struct keyring *r)
{
	int end[2];

	assert_int_equal(pipe(end), 0);
	assert_int_equal(write(end[1], r->secret, 1), -1);
	assert_int_equal(errno, EFAULT);
	close(end[0]);
	close(end[1]);
}

/* Slot i holds the secret of 32 times `v`; with 0 it is wiped. */
UNUSED static void assert_secret(const struct keyring *r, size_t i, uint8_t v)
{
	uint8_t expected[32];

	memset(expected, v, sizeof(expected));
	keyring_unlock(r);
	assert_memory_equal(r->secret[i], expected, 32);
	keyring_lock(r);
}

/* No secret lies behind the last key. */
UNUSED static void assert_tail_wiped(const struct keyring *r)
{
	assert_out_of_reach(r); /* before the look itself closes it */
	for (size_t i = r->n; i < KEYRING_KEYS_MAX; i++)
		assert_secret(r, i, 0);
}

UNUSED static const char *const defaults[] = { CONTEXT_1 };
UNUSED static const char *const own[] = { CONTEXT_2, "communique-witness-encryption" };

UNUSED static struct buf written(const struct keyring *r)
{
	struct buf b;

	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write(r, &b);
	assert_err(buf_ok(&b), ERR_OK);
	assert_out_of_reach(r);
	return b;
}

UNUSED static struct buf written_public(const struct keyring *r)
{
	struct buf b;

	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write_public(r, &b);
	assert_err(buf_ok(&b), ERR_OK);
	return b;
}

/* A key of each kind: default contexts and own ones, every set of times. */
UNUSED static struct keyring *sample_ring(void)
{
	const struct keyring_times old = times(NOW - DAY, NOW, NOW + DAY, NOW + 2 * DAY);
	const struct keyring_times next = times(NOW, NOW + DAY, 0, 0), half = times(0, 0, NOW, 0);
	struct keyring *r = keyring_new();
	uint8_t secret[32];

	memset(secret, 0x12, sizeof(secret));
	assert_err(keyring_default_contexts(r, defaults, 1), ERR_OK);
	add_key(r, KEYRING_WITNESS, 0x11, &old);
	assert_err(keyring_add(r, KEYRING_WITNESS, secret, own, 2, &next), ERR_OK);
	add_key(r, KEYRING_LETTER, 0x13, &half);
	add_key(r, KEYRING_SECRET, 0x14, &since_ever);
	return r;
}

#endif
