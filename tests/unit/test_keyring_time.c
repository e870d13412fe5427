/* SPDX-License-Identifier: Apache-2.0 */
/* The life of keys: states, what changes next, what ends, rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keyring_fixture.h"

static enum keyring_state state_at(struct keyring_times t, int64_t now_s)
{
	const struct keyring_key k = { .times = t };

	return keyring_state(&k, now_s);
}

static void test_states(void **state)
{
	const struct keyring_times t = times(100, 200, 300, 400);

	(void)state;
	assert_int_equal(state_at(t, 0), KEYRING_PENDING);
	assert_int_equal(state_at(t, 199), KEYRING_PENDING);
	assert_int_equal(state_at(t, 200), KEYRING_ACTIVE);
	assert_int_equal(state_at(t, 299), KEYRING_ACTIVE);
	assert_int_equal(state_at(t, 300), KEYRING_DECRYPT_ONLY);
	assert_int_equal(state_at(t, 399), KEYRING_DECRYPT_ONLY);
	assert_int_equal(state_at(t, 400), KEYRING_DESTROYED);
	assert_int_equal(state_at(t, KEYRING_TIME_MAX), KEYRING_DESTROYED);
	/* What is not decided does not come. */
	assert_int_equal(state_at(since_ever, 0), KEYRING_ACTIVE);
	assert_int_equal(state_at(times(100, 200, 0, 0), KEYRING_TIME_MAX), KEYRING_ACTIVE);
	assert_int_equal(state_at(times(100, 200, 300, 0), KEYRING_TIME_MAX), KEYRING_DECRYPT_ONLY);
	/* A key that was never used. */
	assert_int_equal(state_at(times(100, 200, 200, 200), 199), KEYRING_PENDING);
	assert_int_equal(state_at(times(100, 200, 200, 200), 200), KEYRING_DESTROYED);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(keyring_state_name(KEYRING_PENDING), "pending");
	assert_string_equal(keyring_state_name(KEYRING_ACTIVE), "active");
	assert_string_equal(keyring_state_name(KEYRING_DECRYPT_ONLY), "decrypt-only");
	assert_string_equal(keyring_state_name(KEYRING_DESTROYED), "destroyed");
	assert_string_equal(keyring_profile_name(KEYRING_WITNESS), "witness");
	assert_string_equal(keyring_profile_name(KEYRING_LETTER), "letter");
	assert_string_equal(keyring_profile_name(KEYRING_SECRET), "secret");
}

static void test_order_of_times(void **state)
{
	static const struct {
		struct keyring_times t;
		enum err e;
	} rows[] = {
		{ { 0, 0, 0, 0 }, ERR_OK },
		{ { 5, 5, 5, 5 }, ERR_OK },
		{ { 5, 6, 7, 8 }, ERR_OK },
		{ { 0, 6, 0, 0 }, ERR_OK },
		{ { 5, 6, 7, 0 }, ERR_OK },
		{ { KEYRING_TIME_MAX, KEYRING_TIME_MAX, KEYRING_TIME_MAX, KEYRING_TIME_MAX }, ERR_OK },
		{ { -1, 0, 0, 0 }, ERR_RANGE },
		{ { 5, 4, 0, 0 }, ERR_RANGE },
		{ { 5, 0, 0, 0 }, ERR_RANGE },
		{ { 5, 6, 5, 8 }, ERR_RANGE },
		{ { 5, 6, -7, 0 }, ERR_RANGE },
		{ { 5, 6, 7, 6 }, ERR_RANGE },
		{ { 5, 6, 7, -8 }, ERR_RANGE },
		{ { 5, 6, 0, 8 }, ERR_RANGE },
		{ { 5, KEYRING_TIME_MAX + 1, 0, 0 }, ERR_RANGE },
		{ { 5, 6, KEYRING_TIME_MAX + 1, 0 }, ERR_RANGE },
		{ { 5, 6, 7, KEYRING_TIME_MAX + 1 }, ERR_RANGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct keyring *r = keyring_new();

		assert_err(try_key(r, KEYRING_LETTER, 1, &rows[i].t), rows[i].e);
		assert_err(keyring_make(r, KEYRING_LETTER, &rows[i].t), rows[i].e);
		assert_int_equal(keyring_count(r), rows[i].e == ERR_OK ? 2 : 0);
		assert_tail_wiped(r);
		keyring_free(r);
	}
}

static void test_next_change(void **state)
{
	const struct keyring_times a = times(100, 200, 300, 400), b = times(0, 0, 250, 350), c = times(0, 330, 0, 0);
	static const int64_t at[] = { 200, 250, 300, 330, 350, 400 };
	struct keyring *r = keyring_new();
	int64_t now = 0;

	(void)state;
	assert_int_equal(keyring_next_change(r, 0), 0);
	add_key(r, KEYRING_WITNESS, 1, &since_ever);
	assert_int_equal(keyring_next_change(r, 0), 0);
	add_key(r, KEYRING_WITNESS, 2, &a);
	add_key(r, KEYRING_LETTER, 3, &b);
	add_key(r, KEYRING_SECRET, 4, &c);
	assert_int_equal(keyring_next_change(r, 199), 200);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		now = keyring_next_change(r, now);
		assert_int_equal(now, at[i]);
	}
	assert_int_equal(keyring_next_change(r, now), 0);
	keyring_free(r);
}

/* A secret that is refused does not stay behind. */
static void test_twice(void **state)
{
	struct keyring *r = keyring_new();

	(void)state;
	add_key(r, KEYRING_WITNESS, 1, &since_ever);
	assert_err(try_key(r, KEYRING_SECRET, 1, &since_ever), ERR_EXISTS);
	assert_int_equal(keyring_count(r), 1);
	assert_tail_wiped(r);
	keyring_free(r);
}

/* --- the end ---------------------------------------------------------------------------------- */

struct told {
	char id[KEYRING_KEYS_MAX][KEYRING_ID_MAX + 1];
	size_t n;
	const struct keyring *ring;
};

static void note_gone(void *arg, const struct keyring_key *k)
{
	struct told *told = arg;

	/* It is told before the key is gone. */
	assert_ptr_equal(keyring_find(told->ring, span_str(k->id)), k);
	assert_out_of_reach(told->ring);
	memcpy(told->id[told->n++], k->id, sizeof(k->id));
}

static void assert_works(const struct keyring *r, size_t i, uint8_t v)
{
	uint8_t secret[32], point[32] = { 9 }, expected[32], shared[32];

	memset(secret, v, sizeof(secret));
	assert_int_equal(crypto_scalarmult(expected, secret, point), 0);
	assert_err(keyring_dh(r, keyring_at(r, i), point, shared), ERR_OK);
	assert_memory_equal(shared, expected, 32);
}

static void test_expire(void **state)
{
	const struct keyring_times ends = times(NOW, NOW, NOW + 1, NOW + 10);
	struct keyring *r = keyring_new();
	struct told told = { .ring = r };
	char first[KEYRING_ID_MAX + 1], third[KEYRING_ID_MAX + 1];
	uint8_t secret[32];

	(void)state;
	memset(secret, 4, sizeof(secret));
	assert_err(keyring_default_contexts(r, defaults, 1), ERR_OK);
	add_key(r, KEYRING_WITNESS, 1, &ends);
	add_key(r, KEYRING_LETTER, 2, &since_ever);
	add_key(r, KEYRING_LETTER, 3, &ends);
	assert_err(keyring_add(r, KEYRING_WITNESS, secret, own, 1, &since_ever), ERR_OK);
	memcpy(first, keyring_at(r, 0)->id, sizeof(first));
	memcpy(third, keyring_at(r, 2)->id, sizeof(third));
	assert_int_equal(keyring_expire(r, NOW + 9, note_gone, &told), 0);
	assert_int_equal(told.n, 0);
	assert_int_equal(keyring_count(r), 4);
	assert_int_equal(keyring_expire(r, NOW + 10, note_gone, &told), 2);
	assert_int_equal(told.n, 2);
	assert_string_equal(told.id[0], first);
	assert_string_equal(told.id[1], third);
	assert_int_equal(keyring_count(r), 2);
	assert_null(keyring_find(r, span_str(first)));
	assert_works(r, 0, 2);
	assert_works(r, 1, 4);
	assert_tail_wiped(r);
	/* Each key keeps what is its own. */
	assert_err(keyring_default_contexts(r, NULL, 0), ERR_OK);
	assert_int_equal(keyring_at(r, 1)->n_contexts, 1);
	assert_string_equal(keyring_at(r, 1)->context[0], CONTEXT_2);
	keyring_free(r);
}

static void test_expire_all(void **state)
{
	const struct keyring_times ends = times(0, 0, 1, 1);
	struct keyring *r = keyring_new();

	(void)state;
	assert_int_equal(keyring_expire(r, NOW, NULL, NULL), 0);
	for (uint8_t i = 1; i <= KEYRING_KEYS_MAX; i++)
		add_key(r, KEYRING_LETTER, i, &ends);
	assert_int_equal(keyring_expire(r, NOW, NULL, NULL), KEYRING_KEYS_MAX);
	assert_int_equal(keyring_count(r), 0);
	assert_tail_wiped(r);
	add_key(r, KEYRING_LETTER, 1, &since_ever);
	assert_works(r, 0, 1);
	keyring_free(r);
}

/* --- rotation --------------------------------------------------------------------------------- */

static const struct keyring_plan plan = { .delay_s = 3600, .overlap_s = DAY };

static void assert_times(const struct keyring *r, size_t i, enum keyring_profile profile, struct keyring_times t)
{
	const struct keyring_key *k = keyring_at(r, i);

	assert_int_equal(k->profile, profile);
	assert_int_equal(k->times.created_s, t.created_s);
	assert_int_equal(k->times.activate_s, t.activate_s);
	assert_int_equal(k->times.retire_s, t.retire_s);
	assert_int_equal(k->times.destroy_s, t.destroy_s);
}

static void test_first(void **state)
{
	struct keyring *r = keyring_new();

	(void)state;
	assert_err(keyring_first(r, -1), ERR_RANGE);
	assert_err(keyring_first(r, KEYRING_TIME_MAX + 1), ERR_RANGE);
	assert_int_equal(keyring_count(r), 0);
	assert_err(keyring_first(r, NOW), ERR_OK);
	assert_int_equal(keyring_count(r), 3);
	for (unsigned i = 0; i < KEYRING_PROFILES; i++)
		assert_times(r, i, (enum keyring_profile)i, times(NOW, NOW, 0, 0));
	assert_err(keyring_first(r, NOW), ERR_EXISTS);
	assert_int_equal(keyring_count(r), 3);
	assert_out_of_reach(r);
	keyring_free(r);
}

static void test_rotate(void **state)
{
	const int64_t later = NOW + 7 * DAY, active = later + 3600, gone = active + DAY;
	struct keyring *r = keyring_new();

	(void)state;
	assert_err(keyring_first(r, NOW), ERR_OK);
	assert_err(keyring_rotate(r, later, &plan), ERR_OK);
	assert_int_equal(keyring_count(r), 5);
	assert_times(r, 0, KEYRING_WITNESS, times(NOW, NOW, active, gone));
	assert_times(r, 1, KEYRING_LETTER, times(NOW, NOW, active, gone));
	assert_times(r, 2, KEYRING_SECRET, times(NOW, NOW, 0, 0));
	assert_times(r, 3, KEYRING_WITNESS, times(later, active, 0, 0));
	assert_times(r, 4, KEYRING_LETTER, times(later, active, 0, 0));
	/* There is an active key of each profile all the time. */
	assert_int_equal(keyring_state(keyring_at(r, 0), active - 1), KEYRING_ACTIVE);
	assert_int_equal(keyring_state(keyring_at(r, 3), active), KEYRING_ACTIVE);
	assert_int_equal(keyring_state(keyring_at(r, 0), active), KEYRING_DECRYPT_ONLY);
	assert_out_of_reach(r);
	/* The second time the first keys keep their times. */
	assert_err(keyring_rotate(r, active, &plan), ERR_OK);
	assert_times(r, 0, KEYRING_WITNESS, times(NOW, NOW, active, gone));
	assert_times(r, 1, KEYRING_LETTER, times(NOW, NOW, active, gone));
	assert_times(r, 2, KEYRING_SECRET, times(NOW, NOW, 0, 0));
	assert_times(r, 3, KEYRING_WITNESS, times(later, active, active + 3600, active + 3600 + DAY));
	assert_times(r, 6, KEYRING_LETTER, times(active, active + 3600, 0, 0));
	keyring_free(r);
}

static void expect_no_rotation(struct keyring *r, int64_t now_s, const struct keyring_plan *p, enum err e)
{
	struct buf before = written(r), after;

	assert_err(keyring_rotate(r, now_s, p), e);
	after = written(r);
	assert_true(span_eq(span_buf(&before), span_buf(&after)));
	assert_tail_wiped(r);
	buf_clear(&before);
	buf_clear(&after);
}

static void test_rotate_pending(void **state)
{
	const struct keyring_times pending = times(NOW, NOW + 1, 0, 0);
	struct keyring *r = keyring_new();

	(void)state;
	assert_err(keyring_first(r, NOW), ERR_OK);
	assert_err(keyring_rotate(r, NOW, &plan), ERR_OK);
	expect_no_rotation(r, NOW + 3599, &plan, ERR_EXISTS);
	assert_err(keyring_rotate(r, NOW + 3600, &plan), ERR_OK);
	keyring_free(r);
	/* One of the two is enough; one of `secret` is not meant. */
	for (unsigned p = 0; p < KEYRING_PROFILES; p++) {
		r = keyring_new();
		add_key(r, (enum keyring_profile)p, 1, &pending);
		if (p == KEYRING_SECRET)
			assert_err(keyring_rotate(r, NOW, &plan), ERR_OK);
		else
			expect_no_rotation(r, NOW, &plan, ERR_EXISTS);
		keyring_free(r);
	}
}

static void test_rotate_full(void **state)
{
	struct keyring *r = keyring_new();

	(void)state;
	for (uint8_t i = 1; i < KEYRING_KEYS_MAX; i++)
		add_key(r, i % 2 ? KEYRING_LETTER : KEYRING_WITNESS, i, &since_ever);
	expect_no_rotation(r, NOW, &plan, ERR_LIMIT);
	add_key(r, KEYRING_SECRET, 0x77, &since_ever);
	expect_no_rotation(r, NOW, &plan, ERR_LIMIT);
	keyring_free(r);
}

static void test_rotate_plans(void **state)
{
	const struct keyring_plan none = { 0 }, wide = { KEYRING_TIME_MAX - NOW - 1, 1 };
	static const struct keyring_plan bad[] = {
		{ -1, 10 },
		{ 10, -1 },
		{ 0, -NOW }, /* would be a destroy that is not decided */
		{ INT64_MAX, 0 },
		{ 0, INT64_MAX },
		{ KEYRING_TIME_MAX - NOW, 1 },
		{ KEYRING_TIME_MAX - NOW + 1, 0 },
	};
	struct keyring *r = keyring_new();

	(void)state;
	assert_err(keyring_first(r, NOW), ERR_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_no_rotation(r, NOW, &bad[i], ERR_RANGE);
	expect_no_rotation(r, 0, &none, ERR_RANGE);
	expect_no_rotation(r, -1, &plan, ERR_RANGE);
	expect_no_rotation(r, INT64_MAX, &plan, ERR_RANGE);
	assert_err(keyring_rotate(r, NOW, &none), ERR_OK);
	assert_times(r, 0, KEYRING_WITNESS, times(NOW, NOW, NOW, NOW));
	assert_err(keyring_rotate(r, NOW, &wide), ERR_OK);
	assert_times(r, 3, KEYRING_WITNESS, times(NOW, NOW, KEYRING_TIME_MAX - 1, KEYRING_TIME_MAX));
	keyring_free(r);
}

/* --- a generator that repeats itself ----------------------------------------------------------- */

static void same_bytes(void *const p, const size_t n)
{
	memset(p, 0x44, n);
}

static uint32_t same_number(void)
{
	return 0x44444444;
}

static const char *same_name(void)
{
	return "same";
}

/* The second key is the first one again: then the first must not stay. */
static void test_half_a_rotation(void **state)
{
	static struct randombytes_implementation same = { .implementation_name = same_name,
							  .random = same_number,
							  .buf = same_bytes };
	struct keyring *r = keyring_new();

	(void)state;
	add_key(r, KEYRING_WITNESS, 1, &since_ever);
	assert_int_equal(randombytes_set_implementation(&same), 0);
	expect_no_rotation(r, NOW, &plan, ERR_EXISTS);
	assert_int_equal(randombytes_set_implementation(&randombytes_sysrandom_implementation), 0);
	assert_err(keyring_rotate(r, NOW, &plan), ERR_OK);
	keyring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),          cmocka_unit_test(test_names),
		cmocka_unit_test(test_order_of_times),  cmocka_unit_test(test_next_change),
		cmocka_unit_test(test_twice),           cmocka_unit_test(test_expire),
		cmocka_unit_test(test_expire_all),      cmocka_unit_test(test_first),
		cmocka_unit_test(test_rotate),          cmocka_unit_test(test_rotate_pending),
		cmocka_unit_test(test_rotate_full),     cmocka_unit_test(test_rotate_plans),
		cmocka_unit_test(test_half_a_rotation),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
