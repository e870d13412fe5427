/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sealed_fixture.h"

#define CONTEXT "cwc-signers-v1"

static enum err verify(struct span in, struct grant *ret_g)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);

	return grant_verify(in, span_lit(AUTHORITY_KID), a.public_key, ret_g);
}

static void sign(const struct grant *g, struct buf *ret_b)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);

	buf_init(ret_b, GRANT_MAX);
	assert_err(grant_sign(g, a.secret, ret_b), ERR_OK);
}

static void assert_same(const struct grant *a, const struct grant *b)
{
	assert_true(span_eq(a->environment, b->environment));
	assert_true(span_eq(a->queue, b->queue));
	assert_true(span_eq(a->authority, b->authority));
	assert_int_equal(a->serial, b->serial);
	assert_int_equal(a->n_signers, b->n_signers);
	for (size_t i = 0; i < a->n_signers; i++) {
		assert_string_equal(a->signer[i].kid, b->signer[i].kid);
		assert_memory_equal(a->signer[i].public_key, b->signer[i].public_key, 32);
		assert_int_equal(a->signer[i].not_before_s, b->signer[i].not_before_s);
		assert_int_equal(a->signer[i].not_after_s, b->signer[i].not_after_s);
	}
}

static void test_round_trip(void **state)
{
	struct grant in = grant_sample(), out;
	struct buf b;

	(void)state;
	sign(&in, &b);
	assert_err(verify(span_buf(&b), &out), ERR_OK);
	assert_same(&in, &out);
	assert_true(out.queue.p > b.p && out.queue.p < b.p + b.n);
	buf_clear(&b);
}

static bool accepted(struct span in, const void *arg)
{
	struct grant out = { .serial = 4711 };
	enum err e = verify(in, &out);

	(void)arg;
	assert_true(e == ERR_OK || e == ERR_SYNTAX || e == ERR_CRYPTO);
	assert_true(e == ERR_OK || out.serial == 4711); /* nothing is handed out */
	return e == ERR_OK;
}

static void test_every_byte_counts(void **state)
{
	struct grant g = grant_sample();
	struct buf b;

	(void)state;
	sign(&g, &b);
	only_as_it_is(span_buf(&b), true, accepted, NULL);
	buf_clear(&b);
}

static void test_authority(void **state)
{
	struct authority a = authority_fixed(AUTHORITY_SEED), other = authority_fixed(0x98);
	struct grant g = grant_sample(), out;
	struct buf b;

	(void)state;
	sign(&g, &b);
	assert_err(grant_verify(span_buf(&b), span_lit(AUTHORITY_KID), other.public_key, &out), ERR_CRYPTO);
	assert_err(grant_verify(span_buf(&b), span_lit("authority-2"), a.public_key, &out), ERR_CRYPTO);
	assert_err(grant_verify(span_buf(&b), span_of(NULL, 0), a.public_key, &out), ERR_CRYPTO);
	assert_err(grant_verify(span_buf(&b), span_lit(AUTHORITY_KID), a.public_key, &out), ERR_OK);
	buf_clear(&b);
}

static void test_largest(void **state)
{
	struct grant g = grant_sample(), out;
	struct buf b;

	(void)state;
	g.environment = span_lit("production");
	g.queue = repeated('q', 64);
	g.serial = GRANT_SERIAL_MAX;
	g.n_signers = GRANT_SIGNERS_MAX;
	for (size_t i = 0; i < g.n_signers; i++) {
		memset(g.signer[i].kid, 'a' + (int)i, COSE_KID_MAX);
		g.signer[i].not_before_s = INT64_MAX - 1;
		g.signer[i].not_after_s = INT64_MAX;
	}
	sign(&g, &b);
	assert_err(verify(span_buf(&b), &out), ERR_OK);
	assert_same(&g, &out);
	buf_clear(&b);
}

/* --- what is not signed ----------------------------------------------------------------------- */

static void refuses(const struct grant *g)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);
	struct buf b;

	buf_init(&b, GRANT_MAX);
	buf_add_byte(&b, 0x55);
	assert_err(grant_sign(g, a.secret, &b), ERR_RANGE);
	assert_int_equal(b.n, 1);
	buf_clear(&b);
}

#define REFUSES(change)                          \
	do {                                     \
		struct grant g = grant_sample(); \
		change;                          \
		refuses(&g);                     \
	} while (0)

static void test_not_signed(void **state)
{
	(void)state;
	REFUSES(g.n_signers = 0);
	REFUSES(g.n_signers = GRANT_SIGNERS_MAX + 1);
	REFUSES(g.serial = 0);
	REFUSES(g.serial = GRANT_SERIAL_MAX + 1);
	REFUSES(g.queue = span_of(NULL, 0));
	REFUSES(g.queue = repeated('q', 65));
	REFUSES(g.queue = repeated('q', 5000));
	REFUSES(g.queue = span_lit("a queue"));
	REFUSES(g.queue = span_lit("\xff"));
	REFUSES(g.environment = span_lit("Sandbox"));
	REFUSES(g.environment = span_of(NULL, 0));
	REFUSES(g.authority = span_of(NULL, 0));
	REFUSES(g.authority = repeated('a', COSE_KID_MAX + 1));
	REFUSES(g.signer[1].kid[0] = '\0');
	REFUSES(g.signer[1].kid[0] = ' ');
	REFUSES(memset(g.signer[1].kid, 'x', sizeof(g.signer[1].kid)));
	REFUSES(memcpy(g.signer[1].kid, "app-2", 6)); /* twice */
	REFUSES(g.signer[1].not_before_s = 0);
	REFUSES(g.signer[1].not_before_s = -1);
	REFUSES(g.signer[1].not_before_s = g.signer[1].not_after_s);
	REFUSES(g.signer[1].not_after_s = 0);
	REFUSES(g.signer[1].not_after_s = -1);
}

static void test_no_room(void **state)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);
	struct grant g = grant_sample();
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_err(grant_sign(&g, a.secret, &b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
}

/* --- what is signed all the same --------------------------------------------------------------- */

static enum err verify_payload(const char *context, const char *hex)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);
	struct buf payload, b;
	struct grant out;
	enum err e;

	buf_init(&payload, GRANT_MAX);
	buf_init(&b, 2 * GRANT_MAX);
	add_hex(&payload, hex);
	cose_sign1_sign(span_str(context), span_lit(AUTHORITY_KID), span_buf(&payload), a.secret, &b);
	e = verify(span_buf(&b), &out);
	buf_clear(&payload);
	buf_clear(&b);
	return e;
}

#define V              "617601"
#define QUEUE_HEX      "6571756575656171"
#define SERIAL         "6673657269616c07"
#define SIGNERS        "677369676e657273"
#define ENVIRONMENT    "6b656e7669726f6e6d656e746773616e64626f78"
#define KEY            "636b65795820a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define KID            "636b69646161"
#define AFTER          "696e6f745f616674657202"
#define BEFORE         "6a6e6f745f6265666f726501"
#define ONE            "a4" KEY KID AFTER BEFORE
#define GIVES(e, hex)  assert_err(verify_payload(CONTEXT, hex), e)
#define SIGNER(e, hex) GIVES(e, "a5" V QUEUE_HEX SERIAL SIGNERS "81" hex ENVIRONMENT)

static void test_payloads(void **state)
{
	(void)state;
	GIVES(ERR_OK, "a5" V QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT);
	assert_err(verify_payload("cwc-job-v1", "a5" V QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT), ERR_CRYPTO);
	/* another version; a member that is missing, unknown, out of order, twice; something behind */
	GIVES(ERR_SYNTAX, "a5617602" QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a4" V QUEUE_HEX SERIAL SIGNERS "81" ONE);
	GIVES(ERR_SYNTAX, "a4" QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a6" V QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT "6b7a7a7a7a7a7a7a7a7a7a7a00");
	GIVES(ERR_SYNTAX, "a5" V SERIAL QUEUE_HEX SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a5" V V SERIAL SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX SERIAL SIGNERS "81" ONE ENVIRONMENT "00");
	GIVES(ERR_SYNTAX, "80");
	GIVES(ERR_SYNTAX, "a0");
	GIVES(ERR_SYNTAX, "");
	/* another name in the place of one */
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX "6673657269616d07" SIGNERS "81" ONE ENVIRONMENT);
	/* not in shortest form; a serial of 0, as a text, above what a double holds */
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX "6673657269616c1807" SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_RANGE, "a5" V QUEUE_HEX "6673657269616c00" SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX "6673657269616c6137" SIGNERS "81" ONE ENVIRONMENT);
	GIVES(ERR_RANGE, "a5" V QUEUE_HEX "6673657269616c1b0020000000000000" SIGNERS "81" ONE ENVIRONMENT);
	/* another environment, an empty queue */
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX SERIAL SIGNERS "81" ONE "6b656e7669726f6e6d656e746773616e64626f79");
	GIVES(ERR_SYNTAX, "a5" V "65717565756560" SERIAL SIGNERS "81" ONE ENVIRONMENT);
	/* no signer; nine */
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX SERIAL SIGNERS "80" ENVIRONMENT);
	GIVES(ERR_SYNTAX, "a5" V QUEUE_HEX SERIAL SIGNERS "89" ONE ONE ONE ONE ONE ONE ONE ONE ONE ENVIRONMENT);
	GIVES(ERR_RANGE, "a5" V QUEUE_HEX SERIAL SIGNERS "88" ONE ONE ONE ONE ONE ONE ONE ONE ENVIRONMENT);
}

static void test_signers(void **state)
{
	(void)state;
	SIGNER(ERR_OK, ONE);
	SIGNER(ERR_SYNTAX, "a3" KID AFTER BEFORE);
	SIGNER(ERR_SYNTAX, "a3" KEY KID AFTER);
	SIGNER(ERR_SYNTAX, "a5" KEY KID AFTER BEFORE "6b7a7a7a7a7a7a7a7a7a7a7a00");
	SIGNER(ERR_SYNTAX, "a4" KEY KID BEFORE AFTER);
	SIGNER(ERR_SYNTAX, "a4" KEY KID "696e6f745f616674657261" BEFORE);
	SIGNER(ERR_SYNTAX, "a4" KEY "636b69656161" AFTER BEFORE);
	/* a key of 31 bytes, of 33, as a text; an empty key id, one with a space, one of 65 bytes */
	SIGNER(ERR_SYNTAX,
	       "a4636b6579581fa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1" KID AFTER BEFORE);
	SIGNER(ERR_SYNTAX,
	       "a4636b65795821a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1" KID AFTER BEFORE);
	SIGNER(ERR_SYNTAX,
	       "a4636b6579782061616161616161616161616161616161616161616161616161616161616161616161" KID AFTER BEFORE);
	SIGNER(ERR_SYNTAX, "a4" KEY "636b696460" AFTER BEFORE);
	SIGNER(ERR_SYNTAX, "a4" KEY "636b6964626120" AFTER BEFORE);
	SIGNER(ERR_SYNTAX, "a4" KEY "636b69647841" /* 65 */
			   "6161616161616161616161616161616161616161616161616161616161616161"
			   "6161616161616161616161616161616161616161616161616161616161616161"
			   "61" AFTER BEFORE);
	/* times that are equal, the wrong way round, zero, negative, beyond int64 */
	SIGNER(ERR_RANGE, "a4" KEY KID "696e6f745f616674657201" BEFORE);
	SIGNER(ERR_RANGE, "a4" KEY KID AFTER "6a6e6f745f6265666f726503");
	SIGNER(ERR_RANGE, "a4" KEY KID "696e6f745f616674657200" BEFORE);
	SIGNER(ERR_RANGE, "a4" KEY KID AFTER "6a6e6f745f6265666f726500");
	SIGNER(ERR_SYNTAX, "a4" KEY KID AFTER "6a6e6f745f6265666f726520");
	SIGNER(ERR_SYNTAX, "a4" KEY KID "696e6f745f61667465721b8000000000000000" BEFORE);
	SIGNER(ERR_OK, "a4" KEY KID "696e6f745f61667465721b7fffffffffffffff" BEFORE);
}

static void test_envelope(void **state)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);
	struct grant g = grant_sample(), out;
	struct buf b, whole;

	(void)state;
	assert_err(verify(repeated('x', GRANT_MAX + 1), &out), ERR_LIMIT);
	assert_err(verify(repeated('x', GRANT_MAX), &out), ERR_SYNTAX);
	assert_err(verify(span_of(NULL, 0), &out), ERR_SYNTAX);
	/* without the tag */
	sign(&g, &b);
	assert_int_equal(b.p[0], 0xd2);
	assert_err(verify(span_of(b.p + 1, b.n - 1), &out), ERR_SYNTAX);
	buf_clear(&b);
	/* another algorithm */
	buf_init(&whole, GRANT_MAX);
	cose_sign1_sign(span_lit(CONTEXT), span_lit(AUTHORITY_KID), span_lit("\xa0"), a.secret, &whole);
	assert_int_equal(whole.p[5], 0x27); /* -8 */
	whole.p[5] = 0x26;
	assert_err(verify(span_buf(&whole), &out), ERR_SYNTAX);
	buf_clear(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_authority),  cmocka_unit_test(test_largest),
		cmocka_unit_test(test_not_signed), cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_payloads),   cmocka_unit_test(test_signers),
		cmocka_unit_test(test_envelope),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
