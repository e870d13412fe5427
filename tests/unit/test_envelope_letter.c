/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"

/* Members of the protected header in hex, in order. */
#define H_ALG \
	"01"  \
	"3a00010100"
#define H_KID \
	"04"  \
	"416b"
#define H_VERSION    \
	"3a00010107" \
	"01"
#define H_SID        \
	"3a00010108" \
	"6161"
#define H_OFFICES    \
	"3a00010109" \
	"81654843413132"
#define H_EXPIRES    \
	"3a0001010a" \
	"1a6b49d200"
#define H_ALL   "a6" H_ALG H_KID H_VERSION H_SID H_OFFICES H_EXPIRES
#define POINT   "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"
#define U_POINT "a1235820" POINT
#define C_17    "510000000000000000000000000000000000"

static enum err parse_letter(const char *header_hex, const char *rest_hex)
{
	struct envelope e;
	struct buf header, b;
	enum err err;

	buf_init(&header, 1024);
	buf_init(&b, ENVELOPE_MAX);
	unhex(header_hex, &header);
	cbor_add_tag(&b, 16);
	cbor_add_array(&b, 3);
	cbor_add_bytes(&b, span_buf(&header));
	unhex(rest_hex, &b);
	err = envelope_parse(JOB_LETTER, span_buf(&b), &e);
	if (err == ERR_OK) {
		assert_string_equal(e.kid, "k");
		assert_span_eq_str(e.sid, "a");
		assert_span_eq_str(e.office[0], "HCA12");
		assert_int_equal(e.n_offices, 1);
		assert_int_equal(e.expires_s, NOW);
	}
	buf_clear(&header);
	buf_clear(&b);
	return err;
}

static void test_letter_header(void **state)
{
	static const char *const algorithm[] = {
		"a6"
		"01"
		"03" H_KID H_VERSION H_SID H_OFFICES H_EXPIRES, /* A256GCM */
		"a6" H_ALG H_KID "3a00010107"
		"02" H_SID H_OFFICES H_EXPIRES, /* version 2 */
		"a6" H_ALG H_KID "3a00010107"
		"20" H_SID H_OFFICES H_EXPIRES,                                /* version -1 */
		"a7" H_ALG H_KID "0540" H_VERSION H_SID H_OFFICES H_EXPIRES,   /* an IV */
		"a7" H_ALG "028101" H_KID H_VERSION H_SID H_OFFICES H_EXPIRES, /* crit */
		"a5" H_KID H_VERSION H_SID H_OFFICES H_EXPIRES,
		"a5" H_ALG H_VERSION H_SID H_OFFICES H_EXPIRES,
		"a5" H_ALG H_KID H_SID H_OFFICES H_EXPIRES,
		"a5" H_ALG H_KID H_VERSION H_OFFICES H_EXPIRES,
		"a5" H_ALG H_KID H_VERSION H_SID H_EXPIRES,
		"a5" H_ALG H_KID H_VERSION H_SID H_OFFICES,
		"a0",
	};
	static const char *const syntax[] = {
		"",
		"80",
		H_ALL "00",
		"a6"
		"01"
		"6141" H_KID H_VERSION H_SID H_OFFICES H_EXPIRES, /* alg as text */
		"a6" H_ALG "04"
		"40" H_VERSION H_SID H_OFFICES H_EXPIRES, /* empty kid */
		"a6" H_ALG "04"
		"4107" H_VERSION H_SID H_OFFICES H_EXPIRES, /* not printable */
		"a6" H_ALG "04"
		"616b" H_VERSION H_SID H_OFFICES H_EXPIRES, /* text */
		"a6" H_ALG H_KID "3a00010107"
		"40" H_SID H_OFFICES H_EXPIRES,
		"a6" H_ALG H_KID H_VERSION "3a00010108"
		"613a" H_OFFICES H_EXPIRES, /* ":" */
		"a6" H_ALG H_KID H_VERSION "3a00010108"
		"4161" H_OFFICES H_EXPIRES,
		"a6" H_ALG H_KID H_VERSION H_SID "3a00010109"
		"80" H_EXPIRES,
		"a6" H_ALG H_KID H_VERSION H_SID "3a00010109"
		"8265484341313265"
		"4843413132" H_EXPIRES,
		"a6" H_ALG H_KID H_VERSION H_SID H_OFFICES "3a0001010a"
		"20",
		"a6" H_KID H_ALG H_VERSION H_SID H_OFFICES H_EXPIRES,       /* order */
		"a7" H_ALG H_ALG H_KID H_VERSION H_SID H_OFFICES H_EXPIRES, /* twice */
	};

	(void)state;
	assert_err(parse_letter(H_ALL, U_POINT C_17), ERR_OK);
	for (size_t i = 0; i < sizeof(algorithm) / sizeof(algorithm[0]); i++)
		assert_err(parse_letter(algorithm[i], U_POINT C_17), ERR_ENVELOPE_ALGORITHM);
	for (size_t i = 0; i < sizeof(syntax) / sizeof(syntax[0]); i++)
		assert_err(parse_letter(syntax[i], U_POINT C_17), ERR_ENVELOPE_SYNTAX);
}

static void test_letter_rest(void **state)
{
	(void)state;
	assert_err(parse_letter(H_ALL, "a0" C_17), ERR_ENVELOPE_ALGORITHM);
	assert_err(parse_letter(H_ALL, "a1225820" POINT C_17), ERR_ENVELOPE_ALGORITHM);
	assert_err(parse_letter(H_ALL, "a2235820" POINT "2400" C_17), ERR_ENVELOPE_ALGORITHM);
	assert_err(parse_letter(H_ALL, "a1234100" C_17), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_letter(H_ALL, "a1235821" POINT "00" C_17), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_letter(H_ALL, "80" C_17), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_letter(H_ALL, U_POINT "5000000000000000000000000000000000"), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_letter(H_ALL, U_POINT "f6"), ERR_ENVELOPE_SYNTAX); /* detached */
	assert_err(parse_letter(H_ALL, U_POINT C_17 "00"), ERR_ENVELOPE_SYNTAX);
}

static void test_letter_ciphertext_limit(void **state)
{
	uint8_t *big = xcalloc(1, ENVELOPE_PLAIN_MAX + 17);
	struct envelope e;
	struct buf header, b;
	size_t before;

	(void)state;
	buf_init(&header, 512);
	buf_init(&b, ENVELOPE_MAX);
	unhex(H_ALL, &header);
	cbor_add_tag(&b, 16);
	cbor_add_array(&b, 3);
	cbor_add_bytes(&b, span_buf(&header));
	unhex(U_POINT, &b);
	before = b.n;
	cbor_add_bytes(&b, span_of(big, ENVELOPE_PLAIN_MAX + 16));
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_OK);
	b.n = before;
	cbor_add_bytes(&b, span_of(big, ENVELOPE_PLAIN_MAX + 17));
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_ENVELOPE_TOO_LARGE);
	buf_clear(&header);
	buf_clear(&b);
	free(big);
}

static void flip_letter(struct buf *b, size_t i, uint8_t mask, const struct keys *k, struct buf *plain)
{
	struct envelope e;
	enum err err;

	b->p[i] ^= mask;
	err = envelope_parse(JOB_LETTER, span_buf(b), &e);
	if (err == ERR_OK) {
		/* Whatever passes the form fails to authenticate, with the one code that says no more. */
		err = open_any(&e, k, plain);
		assert_true(err == ERR_ENVELOPE_OPEN || err == ERR_ENVELOPE_POINT);
		assert_int_equal(plain->n, 0);
		assert_true(all_zero(plain));
	}
	assert_true(refusal(err));
	b->p[i] ^= mask;
}

static void test_letter_flips(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf b, plain;

	(void)state;
	buf_init(&b, ENVELOPE_MAX);
	secret_arena(&plain, ARENA);
	seal_sample(JOB_LETTER, &k, span_lit("the plaintext"), &b);
	for (size_t i = 0; i < b.n; i++) {
		flip_letter(&b, i, 0x01, &k, &plain);
		flip_letter(&b, i, 0x80, &k, &plain);
		flip_letter(&b, i, 0xff, &k, &plain);
	}
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_OK);
	assert_err(open_any(&e, &k, &plain), ERR_OK);
	assert_span_eq_str(span_buf(&plain), "the plaintext");
	secret_arena_free(&plain);
	buf_clear(&b);
}

static void test_bound(void **state)
{
	struct job j = job_sample(JOB_LETTER, span_of(NULL, 0)), other;
	struct keys k = keys_fixed();
	struct envelope e, w;
	struct buf b, bw;

	(void)state;
	buf_init(&b, ENVELOPE_MAX);
	buf_init(&bw, ENVELOPE_MAX);
	seal_sample(JOB_LETTER, &k, span_lit("plain"), &b);
	seal_sample(JOB_WITNESS, &k, span_lit("plain"), &bw);
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_OK);
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&bw), &w), ERR_OK);
	assert_err(envelope_bound(&e, &j), ERR_OK);
	other = j;
	other.sid = span_lit("sub_0001-B");
	assert_err(envelope_bound(&e, &other), ERR_ENVELOPE_BINDING);
	other = j;
	other.expires_s++;
	assert_err(envelope_bound(&e, &other), ERR_ENVELOPE_BINDING);
	other = j;
	other.n_offices = 1;
	assert_err(envelope_bound(&e, &other), ERR_ENVELOPE_BINDING);
	other = j;
	other.office[0] = j.office[1];
	other.office[1] = j.office[0];
	assert_err(envelope_bound(&e, &other), ERR_ENVELOPE_BINDING);
	other = j;
	other.profile = JOB_WITNESS;
	assert_err(envelope_bound(&e, &other), ERR_ENVELOPE_BINDING);
	assert_err(envelope_bound(&w, &other), ERR_OK);
	other.sid = span_lit("anything");
	assert_err(envelope_bound(&w, &other), ERR_OK);
	buf_clear(&b);
	buf_clear(&bw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letter_header),
		cmocka_unit_test(test_letter_rest),
		cmocka_unit_test(test_letter_ciphertext_limit),
		cmocka_unit_test(test_letter_flips),
		cmocka_unit_test(test_bound),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
