/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed secrets: made, built of parts, and opened. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_SECRET_FIXTURE_H
#define TESTS_UNIT_SECRET_FIXTURE_H

#include "tests/unit/sealed_fixture.h"

#include <openssl/err.h>

#include "attest/sealed.h"

#define PASSWORD "correct horse~battery staple"
#define SECRET   span_lit(PASSWORD)

UNUSED static const struct keyring_key *secret_key(const struct keyring *r)
{
	return ring_key(r, KEYRING_SECRET);
}

UNUSED static void secret_make(const struct keyring *r, enum sealed_name name, struct span secret, struct buf *ret_b)
{
	buf_init(ret_b, SEALED_MAX);
	assert_err(sealed_make(name, SANDBOX, QUEUE, secret_key(r), secret, ret_b), ERR_OK);
}

UNUSED static enum err secret_open(struct span in, const struct keyring *r, struct buf *plain)
{
	struct sealed s;

	buf_add_byte(plain, 'x'); /* what stood there is gone in any case */
	TRY(sealed_parse(in, &s));
	return sealed_open(&s, r, plain);
}

/* The error, and nothing left of the plaintext. */
UNUSED static void secret_gives(struct span in, const struct keyring *r, enum err expected)
{
	struct buf plain;
	struct sealed s;

	secret_arena(&plain, SEALED_PLAIN_MAX + 1);
	assert_err(secret_open(in, r, &plain), expected);
	if (expected != ERR_OK && sealed_parse(in, &s) == ERR_OK) {
		assert_int_equal(plain.n, 0);
		assert_true(sodium_is_zero(plain.p, plain.cap));
	}
	assert_int_equal(ERR_peek_error(), 0);
	secret_arena_free(&plain);
}

UNUSED static void secret_build(const struct sealed *s, struct buf *ret_b)
{
	buf_init(ret_b, 2 * SEALED_MAX);
	cbor_add_array(ret_b, 4);
	cbor_add_str(ret_b, "cwc-secret-v1");
	cbor_add_bytes(ret_b, s->header);
	cbor_add_bytes(ret_b, s->ephemeral);
	cbor_add_bytes(ret_b, s->sealed);
}

#endif
