/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: when it looks for what is missing, what it says, when it is complete; its end at every stage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keeper_fixture.h"
#include "worker/base/text.h"

/* --- other sources ---------------------------------------------------------------------------- */

static void test_boot(void **state)
{
	(void)state;
	w.config.key_source = CONFIG_KEYS_BOOT;
	assert_err(keyring_first(w.ring, NOW_S), ERR_OK);
	open_keeper();
	assert_int_equal(logged("key_loaded"), 3);
	missing_is(NULL);
	pass(0);
	assert_int_equal(w.complete, 1);
	pass(10 * REFRESH);
	assert_int_equal(w.complete, 1);
	assert_int_equal(w.changed, 0);
	assert_int_equal(w.fetches, 0);
}

static void test_free_before_told(void **state)
{
	(void)state;
	w.config.key_source = CONFIG_KEYS_BOOT;
	assert_err(keyring_first(w.ring, NOW_S), ERR_OK);
	open_keeper();
	close_keeper();
	assert_int_equal(w.complete, 0);
	keeper_free(NULL);
}

static void test_new_fails(void **state)
{
	(void)state;
	const char *key;
	assert_err(try_keeper(NULL, &key), ERR_CONFIG);
	assert_string_equal(key, "keys.source");
	w.config.kms_key[0] = 'b';
	assert_err(try_keeper(&the_attestor, &key), ERR_CONFIG);
	assert_string_equal(key, "keys.kms_key");
	assert_int_equal(w.n_timers, 0);
	w.k = NULL;
}

/* --- keys and time ---------------------------------------------------------------------------- */

static void test_keys_change(void **state)
{
	(void)state;
	const struct keyring_times old = { NOW_S, NOW_S, NOW_S + 600, NOW_S + 700 };
	const struct keyring_times young = { NOW_S, NOW_S + 600, 0, 0 };
	w.config.key_source = CONFIG_KEYS_BOOT;
	assert_err(keyring_make(w.ring, KEYRING_LETTER, &old), ERR_OK);
	assert_err(keyring_make(w.ring, KEYRING_LETTER, &young), ERR_OK);
	open_keeper();
	pass(599999);
	assert_int_equal(w.changed, 0);
	pass(1);
	assert_int_equal(w.changed, 1); /* once for both */
	assert_int_equal(w.changed_to, 0);
	assert_int_equal(logged("key_changed"), 2);
	pass(100000);
	assert_int_equal(w.changed, 2);
	assert_int_equal(keyring_count(w.ring), 1);
	assert_int_equal(logged("key_changed"), 3);
	pass(DAY_S * 1000);
	assert_int_equal(w.changed, 2);
}

/* The clock is stepped: no timer says so. */
static void test_clock_steps(void **state)
{
	(void)state;
	const struct keyring_times t = { NOW_S, NOW_S, NOW_S + 30 * DAY_S, NOW_S + 31 * DAY_S };
	w.config.key_source = CONFIG_KEYS_BOOT;
	assert_err(keyring_make(w.ring, KEYRING_LETTER, &t), ERR_OK);
	open_keeper();
	pass(0);
	int64_t was = w.now_ms;
	w.now_ms += 32 * DAY_S * 1000;
	for (size_t i = 0; i < w.n_timers; i++)
		if (w.timer_at[i] >= 0)
			w.timer_at[i] += w.now_ms - was;
	pass(KEEPER_LOOK_MS);
	assert_int_equal(w.changed, 1);
	assert_int_equal(keyring_count(w.ring), 0);
}

static void retires(struct keyring *r)
{
	const struct keyring_times t = { NOW_S, NOW_S, NOW_S + 30 * DAY_S, NOW_S + 31 * DAY_S };
	assert_err(keyring_make(r, KEYRING_LETTER, &t), ERR_OK);
}

/* While the clock is wrong, and from the moment of its step, no key changes. */
static void test_clock_trouble(void **state)
{
	(void)state;
	w.config.skew_max_ms = 3000;
	retires(w.ring);
	w.config.key_source = CONFIG_KEYS_BOOT;
	open_keeper();
	pass(0);
	keeper_set_clock_trouble(w.k, false);
	forget_log();
	w.step_ms = 40 * DAY_S * 1000;
	pass(2 * KEEPER_LOOK_MS); /* before anybody says so */
	keeper_set_clock_trouble(w.k, true);
	for (int i = 0; i < 5; i++) {
		pass(KEEPER_LOOK_MS);
		keeper_set_clock_trouble(w.k, true);
	}
	assert_int_equal(keyring_count(w.ring), 1);
	assert_int_equal(w.changed, 0);
	assert_int_equal(w.n_events, 0);
	/* It is mended: nothing was lost. */
	w.step_ms = 2999;
	keeper_set_clock_trouble(w.k, false);
	pass(2 * KEEPER_LOOK_MS);
	assert_int_equal(keyring_count(w.ring), 1);
	assert_int_equal(w.changed, 0);
	/* A step that is within what clocks may differ is none. */
	w.step_ms += 3000;
	pass(31 * DAY_S * 1000);
	assert_int_equal(keyring_count(w.ring), 0);
	assert_int_equal(logged("key_changed"), 2);
}

/* What was due meanwhile happens when it is over, at once. */
static void test_clock_trouble_ends(void **state)
{
	(void)state;
	retires(w.ring);
	w.config.key_source = CONFIG_KEYS_BOOT;
	open_keeper();
	pass(0);
	keeper_set_clock_trouble(w.k, true);
	pass(32 * DAY_S * 1000);
	assert_int_equal(keyring_count(w.ring), 1);
	keeper_set_clock_trouble(w.k, false);
	assert_int_equal(keyring_count(w.ring), 0);
	assert_int_equal(w.changed, 1);
	keeper_set_clock_trouble(w.k, false);
	assert_int_equal(w.changed, 1);
}

/* --- the way to complete ---------------------------------------------------------------------- */

static void test_unseal(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	open_keeper();
	missing_is("store"); /* nobody knows yet what it has */
	pass(0);
	assert_int_equal(w.fetches, 1);
	missing_is("store");
	store_has(NULL);
	missing_is("no_bundle");
	assert_int_equal(logged("keys_missing no_bundle"), 1);

	add_bundle(&RECIPE(3), &b);
	next_read();
	store_has(&b);
	assert_int_equal(w.kms_operation, KMS_DECRYPT);
	assert_string_equal((const char *)w.kms_blob.p == NULL ? "" : "wrapped", "wrapped");
	assert_true(span_eq_str(span_buf(&w.kms_blob), "wrapped"));
	assert_non_null(strstr(w.kms_context, "=sandbox;"));
	assert_non_null(strstr(w.kms_context, "=q;"));
	assert_non_null(strstr(w.kms_context, "=3;"));
	missing_is("no_bundle");
	assert_int_equal(w.changed, 0);
	kms_answers();
	assert_int_equal(w.changed, 1);
	assert_int_equal(w.changed_to, 3);
	assert_int_equal(keeper_bundle(w.k), 3);
	assert_int_equal(keyring_count(w.ring), 3);
	assert_int_equal(logged("bundle_loaded 3 3"), 1);
	assert_int_equal(logged("key_loaded"), 3);
	missing_is("no_secrets");
	assert_int_equal(logged("keys_missing no_secrets"), 1);

	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "house key");
	assert_true(next_read() <= KEEPER_BACKOFF_MS); /* something was taken: it does not wait for long */
	store_has(&b);
	assert_false(w.kms_busy);        /* the bundle is known */
	assert_int_equal(w.complete, 0); /* in a turn of its own */
	missing_is(NULL);
	pass(0);
	assert_int_equal(w.complete, 1);
	assert_string_equal(keeper_secret(w.k, SEALED_HOUSE_API_KEY), "house key");
	assert_null(keeper_secret(w.k, SEALED_SENATE_API_KEY));
	assert_int_equal(logged("secret_loaded house.api_key"), 1);
	assert_int_equal(logged("bundle_refused"), 0);
	assert_nothing_left();

	forget_log();
	for (int i = 0; i < 5; i++) {
		assert_int_equal(next_read(), REFRESH);
		store_has(&b);
	}
	assert_int_equal(w.n_events, 0);
	assert_int_equal(w.changed, 1);
	assert_int_equal(w.complete, 1);
	assert_int_equal(w.kms_calls, 1);
	buf_clear(&b);
}

/* Bundle and secrets in one read. */
static void test_at_once(void **state)
{
	(void)state;
	struct keyring *ring = keyring_new();
	struct recipe r = RECIPE(1);
	struct buf b;
	buf_init(&b, STORE_MAX);
	assert_err(keyring_first(ring, NOW_S), ERR_OK);
	r.ring = ring;
	memcpy(w.config.queue_user, "worker", sizeof "worker");
	w.config.chamber[CONFIG_SENATE].enabled = true;
	add_secret_for(&b, ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "house key");
	add_secret_for(&b, ring, SEALED_QUEUE_PASSWORD, "sandbox", "q", "password");
	add_bundle(&r, &b);
	add_secret_for(&b, ring, SEALED_SENATE_API_KEY, "sandbox", "q", "senate key");
	add_secret_for(&b, ring, SEALED_SENATE_API_KEY, "sandbox", "q", "another");
	open_keeper();
	pass(0);
	store_has(&b);
	kms_answers();
	pass(0);
	assert_int_equal(w.complete, 1);
	assert_string_equal(keeper_secret(w.k, SEALED_SENATE_API_KEY), "senate key");
	assert_string_equal(keeper_secret(w.k, SEALED_QUEUE_PASSWORD), "password");
	keyring_free(ring);
	buf_clear(&b);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void test_wait(void **state)
{
	(void)state;
	unsigned longest = 0;
	for (unsigned failures = 1; failures < 40; failures++) {
		unsigned low = keeper_wait_ms(failures, REFRESH, true, 0);
		unsigned high = keeper_wait_ms(failures, REFRESH, true, low);
		unsigned want = failures < 7 ? (unsigned)KEEPER_BACKOFF_MS << (failures - 1) : KEEPER_BACKOFF_CAP_MS;
		for (uint32_t random = 0; random < 50000; random += 977) {
			unsigned wait = keeper_wait_ms(failures, REFRESH, true, random);
			assert_in_range(wait, want - want / 2, want);
			longest = wait > longest ? wait : longest;
		}
		assert_true(high >= low);
	}
	assert_true(longest > KEEPER_BACKOFF_CAP_MS - 1000);
	/* The store is read no later than it would be anyway; KMS is spared. */
	assert_in_range(keeper_wait_ms(30, 100, false, 12345), 50, 100);
	assert_in_range(keeper_wait_ms(30, 100, true, 12345), 15000, 30000);
	assert_in_range(keeper_wait_ms(1, 100, true, 12345), 50, 100);
	assert_in_range(keeper_wait_ms(30, 3600 * 1000, false, 12345), 15000, 30000);
}

static void test_store_fails(void **state)
{
	(void)state;
	int64_t waited = 0;
	open_keeper();
	pass(0);
	for (int i = 0; i < 12; i++) {
		store_fails(ERR_CONNECT);
		missing_is("store");
		waited = next_read();
		assert_true(waited <= KEEPER_BACKOFF_CAP_MS);
	}
	assert_true(waited >= KEEPER_BACKOFF_CAP_MS / 2);
	assert_int_equal(logged("store_failed connect"), 1);
	assert_int_equal(logged("keys_missing"), 1);
	store_fails(ERR_TIMEOUT);
	assert_int_equal(logged("store_failed timeout"), 1);
	next_read();
	struct buf b;
	buf_init(&b, 16);
	buf_add_str(&b, "\xff");
	store_has(&b);
	assert_int_equal(logged("store_failed syntax"), 1);
	missing_is("store");
	next_read();
	store_has(NULL);
	missing_is("no_bundle");
	next_read();
	store_fails(ERR_CONNECT);
	assert_int_equal(logged("store_failed connect"), 2); /* it was there in between */
	buf_clear(&b);
}

static void test_kms_fails(void **state)
{
	(void)state;
	int64_t waited = 0;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_bundle(&RECIPE(1), &b);
	open_keeper();
	pass(0);
	for (int i = 0; i < 10; i++) {
		store_has(&b);
		kms_fails("kms_throttled", true);
		missing_is("kms");
		waited = next_read();
	}
	assert_true(waited >= KEEPER_BACKOFF_CAP_MS / 2 && waited <= KEEPER_BACKOFF_CAP_MS);
	assert_int_equal(logged("kms_failed kms_throttled 400 1"), 10);
	assert_int_equal(keyring_count(w.ring), 0);
	store_has(NULL); /* the bundle is gone again */
	missing_is("no_bundle");
	next_read();
	store_has(&b);
	kms_answers();
	missing_is("no_secrets");
	assert_int_equal(logged("bundle_refused"), 0);
	buf_clear(&b);
}

/* KMS is needed for what is new only: a ring that is there stays. */
static void test_kms_fails_later(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	w.config.chamber[CONFIG_HOUSE].enabled = false;
	open_keeper();
	load(&RECIPE(1));
	pass(0);
	assert_int_equal(w.complete, 1);
	add_bundle(&RECIPE(2), &b);
	next_read();
	store_has(&b);
	kms_fails("kms_denied", false);
	missing_is(NULL);
	assert_int_equal(keeper_bundle(w.k), 1);
	assert_true(next_read() <= KEEPER_BACKOFF_MS);
	store_has(&b);
	kms_answers();
	assert_int_equal(keeper_bundle(w.k), 2);
	assert_int_equal(next_read(), REFRESH);
	buf_clear(&b);
}

/* --- /keys ------------------------------------------------------------------------------------ */

/* With a grant, its hash and its bytes end it. */
static void keys_are(const char *text, struct span grant)
{
	struct buf out, want;
	uint8_t hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof hash + 1];
	buf_init(&out, 16384);
	buf_init(&want, 16384);
	keeper_keys(w.k, &out);
	buf_add_str(&want, text);
	if (grant.n > 0) {
		crypto_hash_sha256(hash, grant.p, grant.n);
		text_hex(span_of(hash, sizeof hash), hex);
		buf_add_str(&want, hex);
		buf_add_str(&want, "\",\"bytes\":\"");
		text_base64(grant, &want);
		buf_add_str(&want, "\"}");
	}
	assert_string_equal(buf_cstr(&out), buf_cstr(&want));
	buf_clear(&out);
	buf_clear(&want);
}

static void test_keys(void **state)
{
	(void)state;
	struct buf g;
	struct recipe r = RECIPE(1);
	buf_init(&g, GRANT_MAX);
	set_authority();
	open_keeper();
	keys_are("\"source\":\"sealed\",\"missing\":\"store\",\"grant\":null", span_lit(""));
	next_read();
	store_has(NULL);
	keys_are("\"source\":\"sealed\",\"missing\":\"no_bundle\",\"grant\":null", span_lit(""));
	assert_int_equal(keeper_grant(w.k).n, 0);
	make_grant(&g, "sandbox", "q", 4);
	r.signers = span_buf(&g);
	load(&r);
	keys_are("\"source\":\"sealed\",\"missing\":\"no_secrets\",\"grant\":{\"serial\":4,\"signers\":[{\"kid\":\"app-"
		 "4\","
		 "\"not_before\":1800000000,\"not_after\":1802592000}],\"sha256\":\"",
		 span_buf(&g));
	assert_true(span_eq(keeper_grant(w.k), span_buf(&g)));
	buf_clear(&g);
	close_keeper();
	w.config.key_source = CONFIG_KEYS_BOOT;
	open_keeper();
	keys_are("\"source\":\"boot\",\"missing\":null,\"grant\":null", span_lit(""));
}

/* --- the end, at every stage ------------------------------------------------------------------ */

static void test_every_end(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_bundle(&RECIPE(1), &b);
	open_keeper();
	close_keeper(); /* before the first read */
	open_keeper();
	pass(0);
	close_keeper(); /* while the store is read */
	open_keeper();
	pass(0);
	store_has(&b);
	close_keeper(); /* while KMS is asked */
	assert_int_equal(keyring_count(w.ring), 0);
	open_keeper();
	pass(0);
	store_has(&b);
	kms_answers();
	close_keeper();                             /* between two reads */
	assert_int_equal(keyring_count(w.ring), 3); /* the ring is its owner's */
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		keeper_test(test_boot),
		keeper_test(test_free_before_told),
		keeper_test(test_new_fails),
		keeper_test(test_keys_change),
		keeper_test(test_clock_steps),
		keeper_test(test_clock_trouble),
		keeper_test(test_clock_trouble_ends),
		keeper_test(test_unseal),
		keeper_test(test_at_once),
		keeper_test(test_wait),
		keeper_test(test_store_fails),
		keeper_test(test_kms_fails),
		keeper_test(test_kms_fails_later),
		keeper_test(test_keys),
		keeper_test(test_every_end),
	};
	return cmocka_run_group_tests(tests, open_sims, close_sims);
}
