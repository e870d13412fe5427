/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/secret_fixture.h"

static void test_names(void **state)
{
	enum sealed_name n = SEALED_NAME_COUNT;

	(void)state;
	for (unsigned i = 0; i < SEALED_NAME_COUNT; i++) {
		assert_err(sealed_name_find(span_str(sealed_name_text((enum sealed_name)i)), &n), ERR_OK);
		assert_int_equal(n, i);
	}
	assert_string_equal(sealed_name_text(SEALED_QUEUE_PASSWORD), "queue.password");
	assert_err(sealed_name_find(span_lit("queue.passwor"), &n), ERR_NOT_FOUND);
	assert_err(sealed_name_find(span_lit(""), &n), ERR_NOT_FOUND);
	assert_string_equal(sealed_name_text(SEALED_NAME_COUNT), "unknown");
}

static void test_round_trip(void **state)
{
	struct keyring *r = ring_fixed();

	(void)state;
	for (unsigned i = 0; i < SEALED_NAME_COUNT; i++) {
		struct buf b, plain;
		struct sealed s;

		secret_make(r, (enum sealed_name)i, SECRET, &b);
		assert_err(sealed_parse(span_buf(&b), &s), ERR_OK);
		assert_int_equal(s.name, i);
		assert_true(span_eq(s.environment, SANDBOX) && span_eq(s.queue, QUEUE));
		assert_true(span_eq_str(s.kid, secret_key(r)->id));
		secret_arena(&plain, SEALED_PLAIN_MAX + 1);
		assert_err(sealed_open(&s, r, &plain), ERR_OK);
		assert_true(span_eq(span_buf(&plain), SECRET));
		assert_string_equal((const char *)plain.p, PASSWORD); /* the NUL */
		assert_null(span_find(span_buf(&b), SECRET));
		secret_arena_free(&plain);
		buf_clear(&b);
	}
	keyring_free(r);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = { 1, 2, SEALED_PLAIN_MAX - 1, SEALED_PLAIN_MAX };
	struct keyring *r = ring_fixed();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf b, plain, small;

		secret_make(r, SEALED_QUEUE_PASSWORD, repeated('~', sizes[i]), &b);
		secret_arena(&plain, SEALED_PLAIN_MAX + 1);
		assert_err(secret_open(span_buf(&b), r, &plain), ERR_OK);
		assert_int_equal(plain.n, sizes[i]);
		assert_int_equal(plain.p[plain.n], '\0');
		secret_arena_free(&plain);
		buf_init(&small, sizes[i]); /* without room for the NUL */
		assert_err(secret_open(span_buf(&b), r, &small), ERR_LIMIT);
		assert_int_equal(small.n, 0);
		buf_clear(&small);
		buf_clear(&b);
	}
	keyring_free(r);
}

static bool accepted(struct span in, const void *arg)
{
	const struct keyring *r = arg;
	uint8_t memory[SEALED_PLAIN_MAX + 1];
	struct buf plain = { .p = memory, .cap = sizeof(memory), .max = sizeof(memory) };

	return secret_open(in, r, &plain) == ERR_OK;
}

static void test_every_byte_counts(void **state)
{
	struct keyring *r = ring_fixed();
	struct buf b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &b);
	only_as_it_is(span_buf(&b), true, accepted, r);
	buf_clear(&b);
	keyring_free(r);
}

/* Nothing of it repeats: the same secret for the same key looks like another one. */
static void test_fresh(void **state)
{
	struct keyring *r = ring_fixed();
	struct sealed x, y;
	struct buf a, b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &a);
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &b);
	assert_err(sealed_parse(span_buf(&a), &x), ERR_OK);
	assert_err(sealed_parse(span_buf(&b), &y), ERR_OK);
	assert_false(span_eq(x.ephemeral, y.ephemeral));
	assert_false(span_eq(x.sealed, y.sealed));
	buf_clear(&a);
	buf_clear(&b);
	keyring_free(r);
}

/* --- parts of genuine ones, put together anew ------------------------------------------------- */

static void built_gives(const struct sealed *s, const struct keyring *r, enum err expected)
{
	struct buf b;

	secret_build(s, &b);
	secret_gives(span_buf(&b), r, expected);
	buf_clear(&b);
}

static void test_swapped(void **state)
{
	struct keyring *r = ring_fixed();
	struct sealed x, y, mixed;
	struct buf a, b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &a);
	secret_make(r, SEALED_SENATE_API_KEY, SECRET, &b);
	assert_err(sealed_parse(span_buf(&a), &x), ERR_OK);
	assert_err(sealed_parse(span_buf(&b), &y), ERR_OK);
	built_gives(&x, r, ERR_OK);
	mixed = x;
	mixed.header = y.header; /* the key of one chamber as that of the other */
	built_gives(&mixed, r, ERR_ENVELOPE_OPEN);
	mixed = x;
	mixed.ephemeral = y.ephemeral;
	built_gives(&mixed, r, ERR_ENVELOPE_OPEN);
	mixed = x;
	mixed.sealed = y.sealed;
	built_gives(&mixed, r, ERR_ENVELOPE_OPEN);
	mixed = y;
	mixed.header = x.header;
	built_gives(&mixed, r, ERR_ENVELOPE_OPEN);
	buf_clear(&a);
	buf_clear(&b);
	keyring_free(r);
}

/* X25519 ignores the highest bit of a point, so that this is the same shared secret. */
static void test_other_encoding_of_the_point(void **state)
{
	struct keyring *r = ring_fixed();
	uint8_t point[32], x[32], y[32];
	struct sealed s;
	struct buf b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &b);
	assert_err(sealed_parse(span_buf(&b), &s), ERR_OK);
	memcpy(point, s.ephemeral.p, sizeof(point));
	point[31] ^= 0x80;
	assert_err(keyring_dh(r, secret_key(r), s.ephemeral.p, x), ERR_OK);
	assert_err(keyring_dh(r, secret_key(r), point, y), ERR_OK);
	assert_memory_equal(x, y, sizeof(x));
	s.ephemeral = span_of(point, sizeof(point));
	built_gives(&s, r, ERR_ENVELOPE_OPEN);
	buf_clear(&b);
	keyring_free(r);
}

static const char *const low_order[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void test_low_order(void **state)
{
	struct keyring *r = ring_fixed();
	struct sealed s;
	struct buf b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &b);
	assert_err(sealed_parse(span_buf(&b), &s), ERR_OK);
	for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++) {
		struct keyring_key to = *secret_key(r);
		uint8_t point[32];
		struct buf out;

		assert_err(text_unhex(span_str(low_order[i]), point, sizeof(point)), ERR_OK);
		s.ephemeral = span_of(point, sizeof(point));
		built_gives(&s, r, ERR_ENVELOPE_POINT);
		memcpy(to.public_key, point, sizeof(point));
		buf_init(&out, SEALED_MAX);
		assert_err(sealed_make(SEALED_HOUSE_API_KEY, SANDBOX, QUEUE, &to, SECRET, &out), ERR_RANGE);
		assert_int_equal(out.n, 0);
		buf_clear(&out);
	}
	buf_clear(&b);
	keyring_free(r);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void test_other_keys(void **state)
{
	struct keyring *r = ring_fixed(), *empty = keyring_new(), *other = keyring_new(), *wrong = keyring_new();
	struct buf b;

	(void)state;
	secret_make(r, SEALED_HOUSE_API_KEY, SECRET, &b);
	secret_gives(span_buf(&b), r, ERR_OK);
	secret_gives(span_buf(&b), empty, ERR_ENVELOPE_KEY);
	ring_add(other, KEYRING_SECRET, 0x77);
	secret_gives(span_buf(&b), other, ERR_ENVELOPE_KEY);
	/* the very key, but of another profile */
	ring_add(wrong, KEYRING_LETTER, RING_SECRET + KEYRING_SECRET);
	secret_gives(span_buf(&b), wrong, ERR_ENVELOPE_PROFILE);
	buf_clear(&b);
	keyring_free(r);
	keyring_free(empty);
	keyring_free(other);
	keyring_free(wrong);
}

/* Says the id of one key and is sealed to another. */
static void test_foreign_id(void **state)
{
	struct keyring *r = ring_fixed();
	struct keyring_key to = *secret_key(r);
	struct buf b;

	(void)state;
	ring_add(r, KEYRING_SECRET, 0x77);
	memcpy(to.public_key, keyring_at(r, keyring_count(r) - 1)->public_key, sizeof(to.public_key));
	buf_init(&b, SEALED_MAX);
	assert_err(sealed_make(SEALED_HOUSE_API_KEY, SANDBOX, QUEUE, &to, SECRET, &b), ERR_OK);
	secret_gives(span_buf(&b), r, ERR_ENVELOPE_OPEN);
	buf_clear(&b);
	keyring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_other_encoding_of_the_point),
		cmocka_unit_test(test_low_order),
		cmocka_unit_test(test_other_keys),
		cmocka_unit_test(test_foreign_id),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
