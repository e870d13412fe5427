/* SPDX-License-Identifier: Apache-2.0 */
/* The key ring as CBOR, with its secrets and without; copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keyring_fixture.h"

static void assert_same_key(const struct keyring_key *a, const struct keyring_key *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->profile, b->profile);
	assert_memory_equal(a->public_key, b->public_key, 32);
	assert_int_equal(a->n_contexts, b->n_contexts);
	for (size_t i = 0; i < a->n_contexts; i++)
		assert_string_equal(a->context[i], b->context[i]);
	assert_int_equal(a->times.created_s, b->times.created_s);
	assert_int_equal(a->times.activate_s, b->times.activate_s);
	assert_int_equal(a->times.retire_s, b->times.retire_s);
	assert_int_equal(a->times.destroy_s, b->times.destroy_s);
}

static void assert_same_ring(const struct keyring *a, const struct keyring *b)
{
	assert_int_equal(keyring_count(a), keyring_count(b));
	for (size_t i = 0; i < keyring_count(a); i++)
		assert_same_key(keyring_at(a, i), keyring_at(b, i));
}

/* --- with secrets ------------------------------------------------------------------------------ */

static void test_round_trip(void **state)
{
	struct keyring *r = sample_ring(), *back = keyring_new();
	struct buf b = written(r), again;

	(void)state;
	assert_err(keyring_default_contexts(back, defaults, 1), ERR_OK);
	assert_err(keyring_read(back, span_buf(&b)), ERR_OK);
	assert_same_ring(r, back);
	for (size_t i = 0; i < 4; i++)
		assert_secret(back, i, (uint8_t)(0x11 + i));
	assert_tail_wiped(back);
	again = written(back);
	assert_true(span_eq(span_buf(&b), span_buf(&again)));
	buf_clear(&b);
	buf_clear(&again);
	keyring_free(r);
	keyring_free(back);
}

/* The default list is of whoever reads; what a key names goes with it. */
static void test_contexts_of_the_reader(void **state)
{
	static const char *const other[] = { "another-context-by-default" };
	struct keyring *r = sample_ring(), *back = keyring_new();
	struct buf b = written(r);

	(void)state;
	assert_null(span_find(span_buf(&b), span_lit(CONTEXT_1)));
	assert_non_null(span_find(span_buf(&b), span_lit(CONTEXT_2)));
	assert_err(keyring_default_contexts(back, other, 1), ERR_OK);
	assert_err(keyring_read(back, span_buf(&b)), ERR_OK);
	assert_int_equal(keyring_at(back, 0)->n_contexts, 1);
	assert_string_equal(keyring_at(back, 0)->context[0], other[0]);
	assert_int_equal(keyring_at(back, 1)->n_contexts, 2);
	assert_string_equal(keyring_at(back, 1)->context[0], own[0]);
	assert_string_equal(keyring_at(back, 1)->context[1], own[1]);
	assert_int_equal(keyring_at(back, 2)->n_contexts, 0);
	buf_clear(&b);
	keyring_free(r);
	keyring_free(back);
}

static void test_empty(void **state)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct keyring *r = keyring_new();
	struct buf b = written(r), pub = written_public(r);
	size_t n = 99;

	(void)state;
	assert_int_equal(b.n, 1);
	assert_int_equal(b.p[0], 0x80);
	assert_true(span_eq(span_buf(&b), span_buf(&pub)));
	assert_err(keyring_read(r, span_buf(&b)), ERR_OK);
	assert_int_equal(keyring_count(r), 0);
	assert_err(keyring_read_public(span_buf(&b), key, &n), ERR_OK);
	assert_int_equal(n, 0);
	buf_clear(&b);
	buf_clear(&pub);
	keyring_free(r);
}

/* The largest ring that there can be is within its ceiling, in both forms. */
static void test_largest(void **state)
{
	const struct keyring_times t = { KEYRING_TIME_MAX, KEYRING_TIME_MAX, KEYRING_TIME_MAX, KEYRING_TIME_MAX };
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct keyring *r = keyring_new(), *back = keyring_new();
	const char *list[KEYRING_CONTEXTS_MAX];
	char context[KEYRING_CONTEXT_MAX + 1];
	struct buf b, pub;
	size_t n;

	(void)state;
	memset(context, 'c', sizeof(context));
	context[KEYRING_CONTEXT_MAX] = '\0';
	for (size_t i = 0; i < KEYRING_CONTEXTS_MAX; i++)
		list[i] = context;
	for (uint8_t i = 1; i <= KEYRING_KEYS_MAX; i++) {
		uint8_t secret[32];

		memset(secret, i, sizeof(secret));
		assert_err(keyring_add(r, KEYRING_WITNESS, secret, list, KEYRING_CONTEXTS_MAX, &t), ERR_OK);
	}
	b = written(r);
	pub = written_public(r);
	assert_err(keyring_read(back, span_buf(&b)), ERR_OK);
	assert_same_ring(r, back);
	assert_err(keyring_read_public(span_buf(&pub), key, &n), ERR_OK);
	assert_int_equal(n, KEYRING_KEYS_MAX);
	assert_same_key(&key[15], keyring_at(r, 15));
	buf_clear(&b);
	buf_clear(&pub);
	keyring_free(r);
	keyring_free(back);
}

/* Too small a buf says so, and holds no part of a secret that nobody counts. */
static void test_no_room(void **state)
{
	struct keyring *r = sample_ring();
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	keyring_write(r, &b);
	assert_err(buf_ok(&b), ERR_LIMIT);
	assert_out_of_reach(r);
	buf_clear(&b);
	keyring_free(r);
}

/* --- without secrets --------------------------------------------------------------------------- */

static void test_public(void **state)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct keyring *r = sample_ring();
	struct buf b = written_public(r);
	size_t n;

	(void)state;
	for (uint8_t v = 0x11; v <= 0x14; v++) {
		uint8_t secret[32];

		memset(secret, v, sizeof(secret));
		assert_null(span_find(span_buf(&b), span_of(secret, 4)));
	}
	assert_err(keyring_read_public(span_buf(&b), key, &n), ERR_OK);
	assert_int_equal(n, 4);
	/* Contexts are those that are tried, the default list included. */
	for (size_t i = 0; i < n; i++)
		assert_same_key(&key[i], keyring_at(r, i));
	assert_string_equal(key[0].context[0], CONTEXT_1);
	buf_clear(&b);
	keyring_free(r);
}

/* --- copies ------------------------------------------------------------------------------------ */

static void test_copy(void **state)
{
	struct keyring *r = sample_ring(), *copy;
	struct buf before = written(r), b;

	(void)state;
	copy = keyring_copy(r);
	assert_out_of_reach(copy);
	assert_out_of_reach(r);
	assert_same_ring(r, copy);
	for (size_t i = 0; i < 4; i++)
		assert_secret(copy, i, (uint8_t)(0x11 + i));
	assert_tail_wiped(copy);
	/* They share nothing: what is done to one, the other does not see. */
	assert_int_equal(keyring_expire(copy, NOW + 2 * DAY, NULL, NULL), 1);
	assert_err(keyring_default_contexts(copy, NULL, 0), ERR_OK);
	b = written(r);
	assert_true(span_eq(span_buf(&before), span_buf(&b)));
	keyring_free(copy);
	assert_secret(r, 0, 0x11);
	buf_clear(&before);
	buf_clear(&b);
	keyring_free(r);
}

static void test_replace(void **state)
{
	static const char *const other[] = { "another-context-by-default" };
	struct keyring *r = keyring_new(), *from = sample_ring();
	struct buf before = written(from), b;

	(void)state;
	assert_err(keyring_default_contexts(r, other, 1), ERR_OK);
	for (uint8_t v = 1; v <= 8; v++)
		add_key(r, KEYRING_WITNESS, v, &since_ever);
	keyring_replace(r, from);
	assert_int_equal(keyring_count(from), 0);
	assert_tail_wiped(from);
	assert_int_equal(keyring_count(r), 4);
	assert_tail_wiped(r);
	for (size_t i = 0; i < 4; i++)
		assert_secret(r, i, (uint8_t)(0x11 + i));
	b = written(r);
	assert_true(span_eq(span_buf(&before), span_buf(&b)));
	assert_int_equal(keyring_at(r, 0)->n_contexts, 1);
	assert_string_equal(keyring_at(r, 0)->context[0], other[0]);
	assert_int_equal(keyring_at(r, 1)->n_contexts, 2);
	assert_string_equal(keyring_at(r, 1)->context[0], own[0]);
	keyring_free(from);
	assert_secret(r, 0, 0x11);
	/* By nothing: then nothing is left. */
	from = keyring_new();
	keyring_replace(r, from);
	assert_int_equal(keyring_count(r), 0);
	assert_tail_wiped(r);
	assert_tail_wiped(from);
	keyring_free(from);
	keyring_free(r);
	buf_clear(&before);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_contexts_of_the_reader),
		cmocka_unit_test(test_empty),      cmocka_unit_test(test_largest),
		cmocka_unit_test(test_no_room),    cmocka_unit_test(test_public),
		cmocka_unit_test(test_copy),       cmocka_unit_test(test_replace),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
