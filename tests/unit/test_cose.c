/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <string.h>

#include "worker/base/cose.h"
#include "worker/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct fixture {
	uint8_t public_key[COSE_ED25519_PUBLIC], secret[COSE_ED25519_SECRET];
	struct buf out;
};

static int set_up(void **state)
{
	static struct fixture f;
	static const uint8_t seed[crypto_sign_SEEDBYTES] = { 1, 2, 3 };

	if (sodium_init() < 0)
		return -1;
	crypto_sign_seed_keypair(f.public_key, f.secret, seed);
	buf_init(&f.out, 4096);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	buf_clear(&f->out);
	return 0;
}

static void test_signs_and_verifies(void **state)
{
	struct fixture *f = *state;
	struct cose_sign1 m;

	cose_sign1_sign(span_lit("ctx"), span_lit("key-1"), span_lit("payload"), f->secret, &f->out);
	assert_int_equal(buf_ok(&f->out), ERR_OK);
	assert_int_equal(cose_sign1_parse(span_buf(&f->out), &m), ERR_OK);
	assert_true(span_eq_str(m.kid, "key-1"));
	assert_true(span_eq_str(m.payload, "payload"));
	assert_int_equal(m.signature.n, 64);
	assert_int_equal(m.protected_header.n, 10);
	assert_int_equal(cose_sign1_verify(&m, span_lit("ctx"), f->public_key), ERR_OK);
}

/* Against the bytes that RFC 9052 section 4.4 prescribes, written out by hand. */
static void test_signs_the_sig_structure(void **state)
{
	struct fixture *f = *state;
	static const char tbs[] = "\x84\x6aSignature1\x47\xa2\x01\x27\x04\x42k1\x43"
				  "ctx\x42pl";
	uint8_t signature[64];

	crypto_sign_detached(signature, NULL, (const uint8_t *)tbs, sizeof(tbs) - 1, f->secret);
	cose_sign1_sign(span_lit("ctx"), span_lit("k1"), span_lit("pl"), f->secret, &f->out);
	assert_int_equal(f->out.n, 1 + 1 + 8 + 1 + 3 + 2 + 64);
	assert_memory_equal(f->out.p, "\xd2\x84\x47\xa2\x01\x27\x04\x42k1\xa0\x42pl\x58\x40", 16);
	assert_memory_equal(f->out.p + 16, signature, 64);
}

static void test_verify_binds_everything(void **state)
{
	struct fixture *f = *state;
	struct cose_sign1 m, bad;
	uint8_t key[COSE_ED25519_PUBLIC], zeros[COSE_ED25519_PUBLIC] = { 0 };

	cose_sign1_sign(span_lit("ctx"), span_lit("key-1"), span_lit("payload"), f->secret, &f->out);
	assert_int_equal(cose_sign1_parse(span_buf(&f->out), &m), ERR_OK);
	assert_int_equal(cose_sign1_verify(&m, span_lit("ctX"), f->public_key), ERR_CRYPTO);
	assert_int_equal(cose_sign1_verify(&m, span_lit(""), f->public_key), ERR_CRYPTO);
	memcpy(key, f->public_key, sizeof(key));
	key[0] ^= 1;
	assert_int_equal(cose_sign1_verify(&m, span_lit("ctx"), key), ERR_CRYPTO);
	/* A key of low order would verify signatures over anything. */
	assert_int_equal(cose_sign1_verify(&m, span_lit("ctx"), zeros), ERR_CRYPTO);
	bad = m;
	bad.payload = span_lit("payloae");
	assert_int_equal(cose_sign1_verify(&bad, span_lit("ctx"), f->public_key), ERR_CRYPTO);
	bad = m;
	bad.protected_header = span_lit("\xa2\x01\x27\x04\x45key-2");
	assert_int_equal(cose_sign1_verify(&bad, span_lit("ctx"), f->public_key), ERR_CRYPTO);
	bad = m;
	bad.signature.n = 63;
	assert_int_equal(cose_sign1_verify(&bad, span_lit("ctx"), f->public_key), ERR_CRYPTO);
}

/* No byte of a message is free: a changed one is another form, or breaks the signature. The kid is
 * looked up by the caller, and is signed. */
static void test_no_bit_is_malleable(void **state)
{
	struct fixture *f = *state;
	struct cose_sign1 m;

	cose_sign1_sign(span_lit("ctx"), span_lit("key-1"), span_lit("payload"), f->secret, &f->out);
	for (size_t bit = 0; bit < f->out.n * 8; bit++) {
		f->out.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (cose_sign1_parse(span_buf(&f->out), &m) == ERR_OK)
			assert_int_equal(cose_sign1_verify(&m, span_lit("ctx"), f->public_key), ERR_CRYPTO);
		f->out.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(cose_sign1_parse(span_buf(&f->out), &m), ERR_OK);
	assert_int_equal(cose_sign1_verify(&m, span_lit("ctx"), f->public_key), ERR_OK);
	for (size_t n = 0; n < f->out.n; n++)
		assert_int_equal(cose_sign1_parse(span_of(f->out.p, n), &m), ERR_SYNTAX);
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	static uint8_t large[100000];
	char kid[COSE_KID_MAX];
	struct cose_sign1 m;
	struct buf out;

	memset(kid, 'k', sizeof(kid));
	buf_init(&out, sizeof(large) + 200);
	cose_sign1_sign(span_lit("cwc-job-v1"), span_of(kid, sizeof(kid)), span_of(large, sizeof(large)), f->secret,
			&out);
	assert_int_equal(buf_ok(&out), ERR_OK);
	assert_int_equal(cose_sign1_parse(span_buf(&out), &m), ERR_OK);
	assert_int_equal(m.kid.n, COSE_KID_MAX);
	assert_int_equal(m.payload.n, sizeof(large));
	assert_int_equal(cose_sign1_verify(&m, span_lit("cwc-job-v1"), f->public_key), ERR_OK);
	buf_reset(&out);
	cose_sign1_sign(span_lit("c"), span_of(kid, 1), span_of(NULL, 0), f->secret, &out);
	assert_int_equal(cose_sign1_parse(span_buf(&out), &m), ERR_OK);
	assert_int_equal(m.payload.n, 0);
	assert_int_equal(cose_sign1_verify(&m, span_lit("c"), f->public_key), ERR_OK);
	buf_clear(&out);
	buf_init(&out, 80);
	cose_sign1_sign(span_lit("c"), span_of(kid, 1), span_lit("too large"), f->secret, &out);
	assert_int_equal(buf_ok(&out), ERR_LIMIT);
	buf_clear(&out);
}

/* Messages around one protected header; the signature is 64 zero bytes. */
static enum err parse_with(const char *head_hex, const char *tail_hex)
{
	uint8_t bytes[400];
	size_t head = strlen(head_hex) / 2, tail = strlen(tail_hex) / 2;
	struct cose_sign1 m;

	assert_int_equal(text_unhex(span_str(head_hex), bytes, head), ERR_OK);
	memset(bytes + head, 0, 64);
	assert_int_equal(text_unhex(span_str(tail_hex), bytes + head + 64, tail), ERR_OK);
	return cose_sign1_parse(span_of(bytes, head + 64 + tail), &m);
}

static void test_form(void **state)
{
	(void)state;
	assert_int_equal(parse_with("d28446a20127044131a041005840", ""), ERR_OK);
	assert_int_equal(parse_with("8446a20127044131a041005840", ""), ERR_SYNTAX);     /* no tag */
	assert_int_equal(parse_with("d18446a20127044131a041005840", ""), ERR_SYNTAX);   /* another tag */
	assert_int_equal(parse_with("d28546a20127044131a041005840", "00"), ERR_SYNTAX); /* five elements */
	assert_int_equal(parse_with("d28446a20127044131a041005840", "00"), ERR_SYNTAX); /* a byte behind it */
	assert_int_equal(parse_with("d28446a20127044131a0f65840", ""), ERR_SYNTAX);     /* detached payload */
	assert_int_equal(parse_with("d28446a20127044131a041005841", "00"), ERR_SYNTAX); /* signature too long */
	assert_int_equal(parse_with("d28446a20127044131a05840", "40"), ERR_SYNTAX);     /* signature too short */
	assert_int_equal(parse_with("d28446a201270441318041005840", ""), ERR_SYNTAX);   /* unprotected: an array */
	assert_int_equal(parse_with("d284a20127044131a041005840", ""), ERR_SYNTAX);     /* protected: a map */
	assert_int_equal(parse_with("d2845806a20127044131a041005840", ""), ERR_SYNTAX); /* a longer head */
	assert_int_equal(parse_with("d28446a20127044131a0590001005840", ""), ERR_SYNTAX);
	assert_int_equal(parse_with("9f", "ff"), ERR_SYNTAX);
}

static void test_headers(void **state)
{
	static const struct {
		const char *head;
		enum err e;
	} v[] = {
		{ "d28446a20127044131a041005840", ERR_OK },
		{ "d28446a20127044131a1010041005840", ERR_RANGE },      /* an unprotected header */
		{ "d28446a20127044131a20100010041005840", ERR_SYNTAX }, /* twice the same */
		{ "d28440a041005840", ERR_RANGE },                      /* no protected headers, short form */
		{ "d28441a0a041005840", ERR_RANGE },                    /* the same, as a map */
		{ "d28443a10127a041005840", ERR_RANGE },                /* no kid */
		{ "d28444a1044131a041005840", ERR_RANGE },              /* no algorithm */
		{ "d28446a20126044131a041005840", ERR_RANGE },          /* ES256 */
		{ "d28446a20107044131a041005840", ERR_RANGE },          /* 7 */
		{ "d28445a201270440a041005840", ERR_RANGE },            /* an empty kid */
		{ "d28446a20127046131a041005840", ERR_RANGE },          /* the kid is a text */
		{ "d28446a20127054131a041005840", ERR_RANGE },          /* another label */
		{ "d28446a20227044131a041005840", ERR_RANGE },          /* the same */
		{ "d28448a301270300044131a041005840", ERR_RANGE },      /* a third header */
		{ "d28448a301270441310500a041005840", ERR_RANGE },      /* the same, behind */
		{ "d28449a30127044131616100a041005840", ERR_RANGE },    /* a text label */
		{ "d28446a20441310127a041005840", ERR_SYNTAX },         /* not in order */
		{ "d28446a20127014131a041005840", ERR_SYNTAX },         /* twice the same label */
		{ "d28447a2012704413100a041005840", ERR_SYNTAX },       /* a byte behind the map */
		{ "d2844483012704a041005840", ERR_SYNTAX },             /* an array */
		{ "d28447a2013807044131a041005840", ERR_SYNTAX },       /* -8 by a longer head */
	};
	char kid65[400] = "d2845847a20127045841";

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++)
		assert_int_equal(parse_with(v[i].head, ""), v[i].e);
	memset(kid65 + 20, '6', 130);
	memcpy(kid65 + 150, "a041005840", 10);
	assert_int_equal(parse_with(kid65, ""), ERR_RANGE); /* a kid of 65 bytes */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_signs_and_verifies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_signs_the_sig_structure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_verify_binds_everything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_bit_is_malleable, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sizes, set_up, tear_down),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
