/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of bundle, sealed secret and grant share: fixed keys, memory of exact size, and every way to change
 * bytes a little. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_SEALED_FIXTURE_H
#define TESTS_UNIT_SEALED_FIXTURE_H

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attest/grant.h"
#include "attest/keyring.h"
#include "worker/base/cbor.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define UNUSED  __attribute__((unused))
#define ROOM    131072
#define SANDBOX span_lit("sandbox")
#define QUEUE   span_lit("q")

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

/* Fixed secrets, one for each profile, whose byte is this and the profile. */
#define RING_SECRET 0x10

UNUSED static void ring_add(struct keyring *r, enum keyring_profile profile, uint8_t byte)
{
	const struct keyring_times t = { .created_s = 1800000000, .activate_s = 1800000600 };
	uint8_t secret[32];

	memset(secret, byte, sizeof(secret));
	assert_err(keyring_add(r, profile, secret, NULL, 0, &t), ERR_OK);
}

/* The caller frees. */
UNUSED static struct keyring *ring_fixed(void)
{
	struct keyring *r = keyring_new();

	for (unsigned p = 0; p < KEYRING_PROFILES; p++)
		ring_add(r, (enum keyring_profile)p, (uint8_t)(RING_SECRET + p));
	return r;
}

UNUSED static const struct keyring_key *ring_key(const struct keyring *r, enum keyring_profile profile)
{
	for (size_t i = 0; i < keyring_count(r); i++)
		if (keyring_at(r, i)->profile == profile)
			return keyring_at(r, i);
	fail();
	return NULL;
}

struct authority {
	uint8_t public_key[COSE_ED25519_PUBLIC], secret[COSE_ED25519_SECRET];
};

UNUSED static struct authority authority_fixed(uint8_t byte)
{
	struct authority a;
	uint8_t seed[32];

	memset(seed, byte, sizeof(seed));
	assert_int_equal(crypto_sign_seed_keypair(a.public_key, a.secret, seed), 0);
	return a;
}

#define AUTHORITY_KID  "authority-1"
#define AUTHORITY_SEED 0x99

UNUSED static struct grant grant_sample(void)
{
	struct grant g = { .environment = SANDBOX,
			   .queue = QUEUE,
			   .authority = span_lit(AUTHORITY_KID),
			   .serial = 7,
			   .n_signers = 2,
			   .signer = {
				   { .kid = "app-2", .not_before_s = 1800000000, .not_after_s = 1900000000 },
				   { .kid = "app-1", .not_before_s = 1, .not_after_s = 2 },
			   } };

	memset(g.signer[0].public_key, 0xa1, sizeof(g.signer[0].public_key));
	memset(g.signer[1].public_key, 0xa2, sizeof(g.signer[1].public_key));
	return g;
}

/* A copy in memory of exactly this size; the caller frees. */
UNUSED static uint8_t *copy_exact(struct span s)
{
	uint8_t *p = xmalloc(s.n);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

typedef bool accepts(struct span in, const void *arg);

/* Nothing but the input itself is accepted: not with one byte changed (each bit of it when `thorough`, else one), not
 * cut off anywhere, not with a byte behind it. */
UNUSED static void only_as_it_is(struct span in, bool thorough, accepts *f, const void *arg)
{
	uint8_t *p = xmalloc(in.n + 1);

	memcpy(p, in.p, in.n);
	p[in.n] = 0;
	assert_true(f(span_of(p, in.n), arg));
	assert_false(f(span_of(p, in.n + 1), arg));
	for (size_t i = 0; i < in.n; i++) {
		for (unsigned bit = thorough ? 0 : i % 8; bit < 8; bit += thorough ? 1 : 8) {
			p[i] ^= (uint8_t)(1u << bit);
			if (f(span_of(p, in.n), arg))
				fail_msg("byte %zu, bit %u", i, bit);
			p[i] ^= (uint8_t)(1u << bit);
		}
	}
	assert_true(f(span_of(p, in.n), arg));
	free(p);
	for (size_t n = 0; n < in.n; n++) {
		p = copy_exact(span_of(in.p, n));
		if (f(span_of(p, n), arg))
			fail_msg("cut off after %zu bytes", n);
		free(p);
	}
}

/* Appends bytes that are given in hex. */
UNUSED static void add_hex(struct buf *out, const char *hex)
{
	size_t n = strlen(hex) / 2;
	uint8_t *room = buf_room(out, n);

	assert_non_null(room);
	assert_err(text_unhex(span_str(hex), room, n), ERR_OK);
	buf_grew(out, n);
}

/* n times this character; one at a time. */
UNUSED static struct span repeated(char c, size_t n)
{
	static char memory[ROOM];

	assert_true(n <= sizeof(memory));
	memset(memory, c, n);
	return span_of(memory, n);
}

#endif
