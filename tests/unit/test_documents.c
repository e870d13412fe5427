/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of a boot, and when a document over one is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/documents_fixture.h"

static void test_statement(void **state)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct statement s;
	size_t n;

	(void)state;
	assert_int_equal(keyring_first(ring, now_s()), ERR_OK);
	start(&device);
	wait_asks(1);
	assert_int_equal(asks[0].n_nonce, 0);
	assert_int_equal(publications, 0);
	device_says(0, ERR_OK, "document one");
	assert_int_equal(publications, 1);
	assert_string_equal(document, "document one");
	assert_bound(0);
	assert_int_equal(strlen(pcr0), 96);
	assert_memory_equal(pcr0, "abcd0000", 8);
	assert_int_equal(statement_read(span_of(statement, n_statement), &s), ERR_OK);
	assert_true(span_eq_str(s.environment, "sandbox") && span_eq_str(s.queue, "q"));
	assert_true(span_eq_str(s.release, "1.2.3") && s.bundle == 0);
	assert_true(span_eq_str(s.receipt_key_id, receipt_key_id(receipt_key)));
	assert_memory_equal(s.receipt_key, receipt_key_public(receipt_key), 32);
	assert_int_equal(keyring_read_public(s.keys, key, &n), ERR_OK);
	assert_int_equal(n, 3);
}

/* Of the ring, those that a letter may be sealed to now. */
static void test_lines(void **state)
{
	char expected[512], hex[65];
	const struct keyring_key *letter, *witness;

	(void)state;
	make(KEYRING_LETTER, 2000, 0);
	make(KEYRING_WITNESS, 2000, now_s() + 1000); /* active still */
	make(KEYRING_LETTER, now_s() + 1000, 0);     /* pending */
	make(KEYRING_WITNESS, 2000, now_s() - 10);   /* opens only */
	make(KEYRING_SECRET, 2000, 0);
	letter = keyring_at(ring, 0);
	witness = keyring_at(ring, 1);
	start(NULL);
	wait_publications(1);
	text_hex(span_of(letter->public_key, 32), hex);
	assert_true(snprintf(expected, sizeof(expected), "letter %s %s\nwitness %s ", letter->id, hex, witness->id) >
		    0);
	assert_memory_equal(keys, expected, strlen(expected));
	text_hex(span_of(witness->public_key, 32), hex);
	assert_true(snprintf(expected, sizeof(expected), "%s a-context-of-the-witness", hex) > 0);
	assert_string_equal(strstr(keys, hex), expected);
}

static void assert_lines(int64_t ahead_ms, int64_t bound_ms, const char *first)
{
	const size_t n = n_asks;

	device.ahead_ms = ahead_ms;
	device.bound_ms = bound_ms;
	changed(n);
	wait_asks(n + 1);
	device_says(n, ERR_OK, "document");
	assert_memory_equal(keys, first, strlen(first) + (first[0] == '\0'));
}

/* A document that is renewed while the clock is off names the keys of the signed time: who seals to one that is pending
 * is ahead of the workers, and without any nobody can seal. */
static void test_lines_of_a_wrong_clock(void **state)
{
	struct buf out;

	(void)state;
	make(KEYRING_LETTER, 2000, now_s() + 1000);
	make(KEYRING_WITNESS, now_s() + 1000, 0);
	start(&device);
	wait_asks(1);
	assert_lines(0, 2, "letter");
	assert_lines(-2000000, 2, "witness"); /* the clock is behind */
	assert_lines(2000000, 2, "letter");
	assert_lines(-3000, 0, "letter"); /* it is not */
	assert_lines(-1001000, 1000000, "letter");
	assert_lines(-1500000, 2, "witness");
	buf_init(&out, 65536);
	documents_keys(documents, &out);
	assert_non_null(strstr(buf_cstr(&out), "\"decrypt-only\""));
	assert_null(strstr(buf_cstr(&out), "\"pending\""));
	buf_clear(&out);
	device.ahead_ms = device.bound_ms = 0;
}

static void test_without_a_device(void **state)
{
	(void)state;
	start(NULL);
	wait_publications(1);
	assert_string_equal(document, "");
	assert_string_equal(pcr0, "");
	assert_string_equal(keys, "");
	assert_true(n_statement > 0);
	make(KEYRING_LETTER, 2000, 0);
	changed(7);
	assert_int_equal(publications, 1);
	wait_publications(2);
	assert_int_equal(bundle, 7);
	assert_memory_equal(keys, "letter wek-", 11);
	documents_attestation(documents, span_lit("a nonce"), true, &ticket);
	assert_int_equal(ticket.code, 503);
	assert_string_equal(ticket.body, "{\"reason\":\"no_attestation\"}");
}

/* A change takes the place of what is under way; several at once are one. */
static void test_changes(void **state)
{
	(void)state;
	start(&device);
	wait_asks(1);
	make(KEYRING_LETTER, 2000, 0);
	changed(1);
	assert_null(asks[0].cb); /* about a ring that is gone */
	changed(2);
	changed(3);
	wait_asks(2);
	device_says(1, ERR_OK, "two");
	assert_int_equal(publications, 1);
	assert_int_equal(bundle, 3);
	assert_bound(1);
	assert_memory_not_equal(asks[0].user_data, asks[1].user_data, 32);
	changed(4);
	wait_asks(3);
	assert_string_equal(document, "two");
	assert_null(documents_current(documents)); /* of this bundle */
	device_says(2, ERR_OK, "three");
	assert_int_equal(documents_current(documents)->bundle, 4);
	assert_int_equal(bundle, 4);
	assert_int_equal(publications, 2);
}

static void assert_grant(const char *grant)
{
	uint8_t hash[32];
	struct statement s;

	assert_int_equal(statement_read(span_of(statement, n_statement), &s), ERR_OK);
	crypto_hash_sha256(hash, (const uint8_t *)grant, strlen(grant));
	assert_true(span_eq(s.grant, span_of(hash, grant[0] != '\0' ? sizeof(hash) : 0)));
}

/* Others may sign, with the same keys: that is another statement, and a document for it. */
static void test_grants(void **state)
{
	static const char *const grant[] = { "", "a grant", "another grant", "" };

	(void)state;
	start(&device);
	for (size_t i = 0; i < 4; i++) {
		if (i > 0)
			granted(7, span_str(grant[i]));
		wait_asks(i + 1);
		device_says(i, ERR_OK, "document");
		assert_int_equal(publications, i + 1);
		assert_grant(grant[i]);
		assert_bound(i);
		if (i > 0)
			assert_memory_not_equal(asks[i].user_data, asks[i - 1].user_data, 32);
	}
}

static void test_renewal(void **state)
{
	(void)state;
	config.renew_s = 0; /* at once: no configuration says so */
	start(&device);
	for (size_t i = 0; i < 3; i++) {
		wait_asks(i + 1);
		device_says(i, ERR_OK, "again");
		assert_memory_equal(asks[i].user_data, asks[0].user_data, 32);
	}
	assert_int_equal(publications, 3);
	config.renew_s = 300;
	wait_asks(4);
	device_says(3, ERR_OK, "and again");
	for (unsigned i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(n_asks, 4);
	assert_true(uv_backend_timeout(&loop) > 290000);
}

static void test_failures(void **state)
{
	int64_t start_us;

	(void)state;
	start(&device);
	wait_asks(1);
	start_us = clock_boot_us();
	device_says(0, ERR_IO, "");
	wait_asks(2);
	assert_in_range(clock_boot_us() - start_us, 450000, 3000000);
	assert_int_equal(publications, 0);
	/* Later each time, but not later than that; and a change is not made to wait. */
	for (size_t i = 1; i < 12; i++) {
		device_says(i, ERR_TIMEOUT, "");
		int ms = uv_backend_timeout(&loop), wanted = 500 << i;

		assert_in_range(ms, (wanted < 30000 ? wanted : 30000) - 450, wanted < 30000 ? wanted : 30000);
		changed(i);
		wait_asks(i + 2);
	}
	device_says(12, ERR_OK, "at last");
	assert_int_equal(publications, 1);
	changed(99);
	wait_asks(14);
	device_says(13, ERR_LIMIT, "");
	assert_in_range(uv_backend_timeout(&loop), 50, 500); /* from the start */
	assert_string_equal((const char *)document, "at last");
	documents_attestation(documents, span_lit(""), false, &ticket);
	assert_int_equal(ticket.code, 200); /* it stays */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_statement),        TEST(test_lines),    TEST(test_lines_of_a_wrong_clock),
		TEST(test_without_a_device), TEST(test_changes),  TEST(test_grants),
		TEST(test_renewal),          TEST(test_failures),
	};
	prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
