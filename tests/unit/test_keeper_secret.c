/* SPDX-License-Identifier: Apache-2.0 */
/* Which secrets the keeper takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keeper_fixture.h"

/* --- secrets ---------------------------------------------------------------------------------- */

static void secret_refused(const struct buf *b, const char *log)
{
	char line[EVENT_SIZE];
	snprintf(line, sizeof line, "secret_refused %s", log);
	forget_log();
	for (int i = 0; i < 2; i++) {
		next_read();
		store_has(b);
	}
	if (logged(line) != 1 || logged("secret_") != 1)
		fail_msg("%s: %s", line, w.event[0]);
	missing_is("no_secrets");
	assert_null(keeper_secret(w.k, SEALED_HOUSE_API_KEY));
}

static void test_secrets_refused(void **state)
{
	(void)state;
	struct keyring *other = keyring_new();
	struct buf b;
	buf_init(&b, STORE_MAX);
	assert_err(keyring_first(other, NOW_S), ERR_OK);
	open_keeper();
	load(&RECIPE(1));

	cbor_add_array(&b, 4);
	cbor_add_str(&b, "cwc-secret-v1");
	for (int i = 0; i < 3; i++)
		cbor_add_bytes(&b, span_lit("x"));
	secret_refused(&b, "unknown form syntax");
	buf_reset(&b);
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "production", "q", "key");
	secret_refused(&b, "house.api_key environment none");
	buf_reset(&b);
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "other", "key");
	secret_refused(&b, "house.api_key queue none");
	buf_reset(&b);
	add_secret_for(&b, other, SEALED_HOUSE_API_KEY, "sandbox", "q", "key");
	secret_refused(&b, "house.api_key open envelope_key");
	buf_reset(&b);
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "key");
	b.p[b.n - 1] ^= 1;
	secret_refused(&b, "house.api_key open envelope_open");
	assert_nothing_left();

	/* One that is good is taken beside one that is not. */
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "key");
	next_read();
	store_has(&b);
	missing_is(NULL);
	keyring_free(other);
	buf_clear(&b);
}

/* Anybody can seal a key: the one that is measured is taken, wherever in the store it lies. */
static void test_secrets_of_another_account(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	secret_hash(span_lit("key"), w.config.chamber[CONFIG_HOUSE].api_key_sha256);
	open_keeper();
	load(&RECIPE(1));
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "key of another");
	secret_refused(&b, "house.api_key hash none");
	assert_nothing_left();
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "key");
	next_read();
	store_has(&b);
	missing_is(NULL);
	assert_string_equal(keeper_secret(w.k, SEALED_HOUSE_API_KEY), "key");
	buf_clear(&b);
}

/* Each chamber has its own hash, and the password of Redis none. */
static void test_secrets_hash_of_each(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	memcpy(w.config.queue_user, "worker", sizeof "worker");
	w.config.chamber[CONFIG_SENATE].enabled = true;
	secret_hash(span_lit("house"), w.config.chamber[CONFIG_HOUSE].api_key_sha256);
	secret_hash(span_lit("senate"), w.config.chamber[CONFIG_SENATE].api_key_sha256);
	open_keeper();
	load(&RECIPE(1));
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "house");
	add_secret_for(&b, w.ring, SEALED_SENATE_API_KEY, "sandbox", "q", "house");
	add_secret_for(&b, w.ring, SEALED_QUEUE_PASSWORD, "sandbox", "q", "password");
	next_read();
	store_has(&b);
	assert_int_equal(logged("secret_refused senate.api_key hash none"), 1);
	assert_string_equal(keeper_secret(w.k, SEALED_HOUSE_API_KEY), "house");
	assert_string_equal(keeper_secret(w.k, SEALED_QUEUE_PASSWORD), "password");
	missing_is("no_secrets");
	buf_clear(&b);
}

static void test_secrets_not_needed(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	open_keeper();
	load(&RECIPE(1));
	add_secret_for(&b, w.ring, SEALED_SENATE_API_KEY, "sandbox", "q", "senate");
	add_secret_for(&b, w.ring, SEALED_QUEUE_PASSWORD, "sandbox", "q", "password");
	forget_log();
	next_read();
	store_has(&b);
	assert_int_equal(logged("secret_"), 0);
	assert_null(keeper_secret(w.k, SEALED_SENATE_API_KEY));
	assert_null(keeper_secret(w.k, SEALED_QUEUE_PASSWORD));
	missing_is("no_secrets");
	buf_clear(&b);
}

/* What was taken stays, whatever the store says later. */
static void test_secrets_once(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	open_keeper();
	load(&RECIPE(1));
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "first");
	next_read();
	store_has(&b);
	buf_reset(&b);
	add_secret_for(&b, w.ring, SEALED_HOUSE_API_KEY, "sandbox", "q", "second");
	next_read();
	store_has(&b);
	next_read();
	store_has(NULL);
	assert_string_equal(keeper_secret(w.k, SEALED_HOUSE_API_KEY), "first");
	load(&RECIPE(2));
	assert_string_equal(keeper_secret(w.k, SEALED_HOUSE_API_KEY), "first");
	missing_is(NULL);
	assert_int_equal(w.complete, 1);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		keeper_test(test_secrets_refused),      keeper_test(test_secrets_of_another_account),
		keeper_test(test_secrets_hash_of_each), keeper_test(test_secrets_not_needed),
		keeper_test(test_secrets_once),
	};
	return cmocka_run_group_tests(tests, open_sims, close_sims);
}
