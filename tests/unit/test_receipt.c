/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/formats_fixture.h"

#include "attest/receipt.h"
#include "worker/base/secret.h"

static const uint8_t document[32] = { 1, 2, 3 };

static struct receipt sample(void)
{
	return (struct receipt){
		.environment = span_lit("production"),
		.queue = span_lit("q"),
		.sid = span_lit("sub_0001-A"),
		.office = span_lit("HCA12"),
		.generation = 3,
		.delivery_id = span_lit("0123456789abcdef0123456789abcdef"),
		.attempt = 2,
		.outcome = span_lit("accepted"),
		.http_status = 200,
		.begun_ms = 1800000000123,
		.ended_ms = 1800000000456,
		.document = span_of(document, sizeof(document)),
	};
}

static void assert_same(const struct receipt *a, const struct receipt *b)
{
	assert_true(span_eq(a->environment, b->environment));
	assert_true(span_eq(a->queue, b->queue));
	assert_true(span_eq(a->sid, b->sid));
	assert_true(span_eq(a->office, b->office));
	assert_int_equal(a->generation, b->generation);
	assert_true(span_eq(a->delivery_id, b->delivery_id));
	assert_int_equal(a->attempt, b->attempt);
	assert_true(span_eq(a->outcome, b->outcome));
	assert_int_equal(a->http_status, b->http_status);
	assert_int_equal(a->begun_ms, b->begun_ms);
	assert_int_equal(a->ended_ms, b->ended_ms);
	assert_true(span_eq(a->document, b->document));
}

static void test_round_trip(void **state)
{
	struct receipt_key *k = receipt_key_new();
	struct receipt in = sample(), out;
	struct buf b;

	(void)state;
	buf_init(&b, 2 * RECEIPT_MAX);
	receipt_sign(k, &in, &b);
	assert_err(buf_ok(&b), ERR_OK);
	assert_err(receipt_verify(span_buf(&b), receipt_key_public(k), &out), ERR_OK);
	assert_same(&in, &out);
	buf_clear(&b);
	receipt_key_free(k);
}

/* A job that was never sent: what there is not is not written. */
static void test_never_sent(void **state)
{
	struct receipt_key *k = receipt_key_new();
	struct receipt in = sample(), out;
	struct buf b;

	(void)state;
	in.delivery_id = in.document = span_of(NULL, 0);
	in.http_status = 0;
	in.attempt = 0;
	in.begun_ms = in.ended_ms = 0;
	in.outcome = span_lit("expired");
	buf_init(&b, RECEIPT_MAX);
	receipt_sign(k, &in, &b);
	assert_null(span_find(span_buf(&b), span_lit("delivery_id")));
	assert_null(span_find(span_buf(&b), span_lit("_ms")));
	assert_err(receipt_verify(span_buf(&b), receipt_key_public(k), &out), ERR_OK);
	assert_same(&in, &out);
	buf_clear(&b);
	receipt_key_free(k);
}

static void test_key(void **state)
{
	struct receipt_key *a = receipt_key_new(), *b = receipt_key_new();
	char hex[65];

	(void)state;
	assert_memory_not_equal(receipt_key_public(a), receipt_key_public(b), 32);
	text_hex(span_of(receipt_key_public(a), 32), hex);
	hex[16] = '\0';
	assert_memory_equal(receipt_key_id(a), "rcp-", 4);
	assert_string_equal(receipt_key_id(a) + 4, hex);
	receipt_key_free(a);
	receipt_key_free(b);
	receipt_key_free(NULL);
}

static void test_other_key(void **state)
{
	struct receipt_key *k = receipt_key_new(), *other = receipt_key_new();
	struct receipt in = sample(), out;
	struct buf b;

	(void)state;
	buf_init(&b, RECEIPT_MAX);
	receipt_sign(k, &in, &b);
	assert_err(receipt_verify(span_buf(&b), receipt_key_public(other), &out), ERR_CRYPTO);
	buf_clear(&b);
	receipt_key_free(k);
	receipt_key_free(other);
}

static void test_prefixes_and_flips(void **state)
{
	struct receipt_key *k = receipt_key_new();
	struct receipt in = sample(), out;
	struct buf b;

	(void)state;
	buf_init(&b, RECEIPT_MAX);
	receipt_sign(k, &in, &b);
	for (size_t n = 0; n < b.n; n++) {
		uint8_t *p = copy_exact(span_of(b.p, n));

		assert_err(receipt_verify(span_of(p, n), receipt_key_public(k), &out), ERR_SYNTAX);
		free(p);
	}
	for (size_t i = 0; i < b.n; i++) {
		enum err e;

		b.p[i] ^= 1;
		e = receipt_verify(span_buf(&b), receipt_key_public(k), &out);
		assert_true(e == ERR_SYNTAX || e == ERR_CRYPTO);
		b.p[i] ^= 1;
	}
	buf_clear(&b);
	receipt_key_free(k);
}

static void test_limits(void **state)
{
	struct receipt_key *k = receipt_key_new();
	struct receipt in = sample(), out;
	char text[RECEIPT_MAX];
	struct buf b;

	(void)state;
	memset(text, 'x', sizeof(text));
	buf_init(&b, 4 * RECEIPT_MAX);
	in.environment = in.queue = in.sid = in.office = in.delivery_id = in.outcome = span_of(text, 64);
	in.generation = in.attempt = UINT64_MAX;
	in.begun_ms = in.ended_ms = INT64_MAX;
	in.http_status = 999;
	receipt_sign(k, &in, &b);
	assert_err(receipt_verify(span_buf(&b), receipt_key_public(k), &out), ERR_OK);
	assert_same(&in, &out);
	buf_reset(&b);
	in.sid = span_of(text, 65);
	receipt_sign(k, &in, &b);
	assert_err(buf_ok(&b), ERR_OK);
	assert_err(receipt_verify(span_buf(&b), receipt_key_public(k), &out), ERR_SYNTAX);
	buf_reset(&b);
	/* Too long to be signed at all: nothing is appended, and the buf says so. */
	in.sid = span_of(text, 900);
	receipt_sign(k, &in, &b);
	assert_err(buf_ok(&b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
	assert_err(receipt_verify(span_of(text, sizeof(text)), receipt_key_public(k), &out), ERR_SYNTAX);
	receipt_key_free(k);
}

/* --- payloads that the worker would not write -------------------------------------------------- */

static enum err verify_hex(const char *context, const char *kid, const char *payload_hex)
{
	struct keys k = keys_fixed();
	struct receipt out;
	struct buf payload, b;
	char id[32] = "rcp-";
	enum err e;

	text_hex(span_of(k.app_public, 8), id + 4);
	buf_init(&payload, RECEIPT_MAX);
	buf_init(&b, RECEIPT_MAX);
	unhex(payload_hex, &payload);
	cose_sign1_sign(span_str(context), span_str(kid != NULL ? kid : id), span_buf(&payload), k.app_secret, &b);
	e = receipt_verify(span_buf(&b), k.app_public, &out);
	buf_clear(&payload);
	buf_clear(&b);
	return e;
}

/* The required members in order, with room for the tests to change them. */
#define HEAD                                   \
	"617601637369646173657175657565617166" \
	"6f6666696365"                         \
	"6548434131326761"                     \
	"7474656d7074"                         \
	"00"
#define OUTCOME     "676f7574636f6d6563616263"
#define GENERATION  "6a67656e65726174696f6e00"
#define ENVIRONMENT "6b656e7669726f6e6d656e746773616e64626f78"
#define CONTEXT     "cwc-receipt-v1"

static void test_payloads(void **state)
{
	(void)state;
	assert_err(verify_hex(CONTEXT, NULL, "a8" HEAD OUTCOME GENERATION ENVIRONMENT), ERR_OK);
	assert_err(verify_hex("cwc-job-v1", NULL, "a8" HEAD OUTCOME GENERATION ENVIRONMENT), ERR_CRYPTO);
	assert_err(verify_hex(CONTEXT, "rcp-0000000000000000", "a8" HEAD OUTCOME GENERATION ENVIRONMENT), ERR_CRYPTO);
	/* missing, unknown, out of order, trailing */
	assert_err(verify_hex(CONTEXT, NULL, "a7" HEAD OUTCOME GENERATION), ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL, "a9" HEAD OUTCOME GENERATION ENVIRONMENT "6b7a7a7a7a7a7a7a7a7a7a7a00"),
		   ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL, "a8" HEAD OUTCOME ENVIRONMENT GENERATION), ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL, "a8" HEAD OUTCOME GENERATION ENVIRONMENT "00"), ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL, "80"), ERR_SYNTAX);
	/* an empty outcome; a status of 1000; a hash of 31 bytes; a time beyond int64 */
	assert_err(verify_hex(CONTEXT, NULL, "a8" HEAD "676f7574636f6d6560" GENERATION ENVIRONMENT), ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL,
			      "a9" HEAD OUTCOME GENERATION ENVIRONMENT "6b687474705f737461747573"
			      "1903e8"),
		   ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL,
			      "a9" HEAD OUTCOME GENERATION ENVIRONMENT "6b687474705f737461747573"
			      "1903e7"),
		   ERR_OK);
	assert_err(verify_hex(CONTEXT, NULL,
			      "a9" HEAD OUTCOME "68646f63756d656e74"
			      "581f"
			      "00000000000000000000000000000000000000000000000000000000000000" GENERATION ENVIRONMENT),
		   ERR_SYNTAX);
	assert_err(verify_hex(CONTEXT, NULL,
			      "a9" HEAD OUTCOME "68626567756e5f6d73"
			      "1b8000000000000000" GENERATION ENVIRONMENT),
		   ERR_SYNTAX);
	/* version 2 */
	assert_err(verify_hex(CONTEXT, NULL, "a1617602"), ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_never_sent),
		cmocka_unit_test(test_key),        cmocka_unit_test(test_other_key),
		cmocka_unit_test(test_limits),     cmocka_unit_test(test_prefixes_and_flips),
		cmocka_unit_test(test_payloads),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
