/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"

static void test_round_trip(void **state)
{
	struct job_signer signer = signer_fixed();
	struct job_expect x = expect_sample(&signer);
	const char *member;

	(void)state;
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		struct job in = job_sample((enum job_profile)profile, span_lit("sealed")), j;
		struct buf b;

		in.not_before_s = profile == JOB_LETTER ? NOW - 5 : 0;
		in.generation = 7;
		sign_sample(&in, &b);
		assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
		assert_string_equal(member, "");
		assert_err(job_verify(&j, &x), ERR_OK);
		assert_span_eq_str(j.kid, APP_KID);
		assert_span_eq_str(j.sid, "sub_0001-A");
		assert_span_eq_str(j.office[0], "HCA12");
		assert_int_equal(j.n_offices, 2);
		assert_int_equal(j.generation, 7);
		assert_int_equal(j.expires_s, EXPIRES);
		assert_int_equal(j.not_before_s, in.not_before_s);
		assert_int_equal(j.priority, 1);
		assert_int_equal(j.profile, profile);
		assert_int_equal(j.fields.n, 1);
		assert_span_eq_str(j.envelope, "sealed");
		if (profile == JOB_WITNESS) {
			assert_span_eq_str(j.nullifier, "0x04");
			assert_span_eq_str(j.action_domain, "0x05");
		}
		buf_clear(&b);
	}
}

static void test_fields_are_kept(void **state)
{
	static const uint8_t fields[] = { 0xa1, 0x67, 'S', 'u', 'b', 'j', 'e', 'c', 't', 0x62, 'H', 'i' };
	struct job in = job_sample(JOB_LETTER, span_lit("sealed")), j;
	const char *member;
	struct buf b;

	(void)state;
	in.fields = span_of(fields, sizeof(fields));
	sign_sample(&in, &b);
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
	assert_true(span_eq(j.fields, in.fields));
	buf_clear(&b);
}

static void test_prefixes(void **state)
{
	struct job in = job_sample(JOB_WITNESS, span_lit("sealed")), j;
	const char *member;
	struct buf b;

	(void)state;
	sign_sample(&in, &b);
	for (size_t n = 0; n < b.n; n++) {
		uint8_t *p = copy_exact(span_of(b.p, n));

		assert_err(job_parse(span_of(p, n), &j, &member), ERR_JOB_SYNTAX);
		assert_string_equal(member, "");
		free(p);
	}
	buf_add_byte(&b, 0);
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_JOB_SYNTAX);
	buf_clear(&b);
}

static void test_payload_prefixes(void **state)
{
	struct job in = job_sample(JOB_WITNESS, span_lit("sealed")), j;
	const char *member;
	struct buf b;

	(void)state;
	sign_sample(&in, &b);
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
	for (size_t n = 0; n < j.message.payload.n; n++) {
		enum err e = parse_signed_payload(span_of(j.message.payload.p, n), &member);

		assert_true(e == ERR_JOB_SYNTAX || e == ERR_JOB_FIELD_TYPE);
	}
	buf_clear(&b);
}

static void test_every_byte_is_bound(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("sealed")), j;
	struct job_signer signer = signer_fixed();
	struct job_expect x = expect_sample(&signer);
	const char *member;
	struct buf b;

	(void)state;
	sign_sample(&in, &b);
	for (size_t i = 0; i < b.n; i++) {
		for (unsigned bit = 0; bit < 8; bit += 7) {
			b.p[i] ^= (uint8_t)(1u << bit);
			assert_true(job_parse(span_buf(&b), &j, &member) != ERR_OK || job_verify(&j, &x) != ERR_OK);
			b.p[i] ^= (uint8_t)(1u << bit);
		}
	}
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
	assert_err(job_verify(&j, &x), ERR_OK);
	buf_clear(&b);
}

static void test_size_limit(void **state)
{
	uint8_t *big = xcalloc(1, JOB_MAX);
	struct job in = job_sample(JOB_LETTER, span_lit("E")), j;
	struct keys k = keys_fixed();
	const char *member;
	struct buf b, grown;
	size_t room;

	(void)state;
	sign_sample(&in, &b);
	room = JOB_MAX - b.n - 4; /* the head of a long string has four bytes more than that of "E" */
	buf_clear(&b);
	in.envelope = span_of(big, 1 + room);
	sign_sample(&in, &b);
	assert_int_equal(b.n, JOB_MAX);
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);

	buf_init(&grown, JOB_MAX + 1);
	buf_add_span(&grown, span_buf(&b));
	buf_add_byte(&grown, 0);
	assert_err(job_parse(span_buf(&grown), &j, &member), ERR_JOB_TOO_LARGE);
	in.envelope.n++;
	buf_reset(&grown);
	assert_err(job_sign(&in, span_lit(APP_KID), k.app_secret, &grown), ERR_LIMIT);
	assert_int_equal(grown.n, 0);
	buf_clear(&grown);
	buf_clear(&b);
	free(big);
}

static void test_sign_limits(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct keys k = keys_fixed();
	uint8_t *big = xcalloc(1, JOB_MAX);
	char kid[COSE_KID_MAX + 2];
	struct buf b;

	(void)state;
	memset(kid, 'k', sizeof(kid));
	buf_init(&b, JOB_MAX);
	assert_err(job_sign(&in, span_of(kid, COSE_KID_MAX), k.app_secret, &b), ERR_OK);
	assert_err(job_sign(&in, span_of(kid, COSE_KID_MAX + 1), k.app_secret, &b), ERR_LIMIT);
	assert_err(job_sign(&in, span_of(kid, 0), k.app_secret, &b), ERR_LIMIT);
	buf_clear(&b);
	buf_init(&b, 16);
	assert_err(job_sign(&in, span_lit(APP_KID), k.app_secret, &b), ERR_LIMIT);
	buf_clear(&b);
	buf_init(&b, JOB_MAX);
	in.fields = span_of(big, JOB_MAX);
	assert_err(job_sign(&in, span_lit(APP_KID), k.app_secret, &b), ERR_LIMIT);
	in.n_offices = JOB_OFFICES_MAX + 1;
	assert_err(job_sign(&in, span_lit(APP_KID), k.app_secret, &b), ERR_LIMIT);
	buf_clear(&b);
	free(big);
}

static void test_algorithm(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E")), j;
	const char *member;
	struct buf b;
	size_t at;

	(void)state;
	sign_sample(&in, &b);
	/* 82 d2 84 <head of the protected header> a2 01 27: EdDSA is -8, 0x27; ES256 is -7. */
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
	at = (size_t)(j.message.protected_header.p - b.p);
	assert_int_equal(b.p[at + 2], 0x27);
	b.p[at + 2] = 0x26;
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_JOB_ALGORITHM);
	buf_clear(&b);
}

static void test_sid_valid(void **state)
{
	(void)state;
	assert_true(job_sid_valid(span_lit("azAZ09_-")));
	assert_false(job_sid_valid(span_lit("")));
	assert_false(job_sid_valid(span_lit("a:b")));
	assert_false(job_sid_valid(span_lit("a b")));
	assert_false(job_sid_valid(span_lit("{a}")));
	assert_false(job_sid_valid(span_lit("\xc3\xab")));
}

struct case_state {
	struct job_signer signer;
	struct job_expect x;
	struct buf b;
	struct job j;
};

static void case_open(struct case_state *c, const struct job *in)
{
	struct job copy = *in;
	const char *member;

	c->signer = signer_fixed();
	c->x = expect_sample(&c->signer);
	sign_sample(&copy, &c->b);
	assert_err(job_parse(span_buf(&c->b), &c->j, &member), ERR_OK);
}

static void test_verify_signer(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct job_signer two[2];
	struct case_state c;

	(void)state;
	case_open(&c, &in);
	c.x.n_signers = 0;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SIGNER);
	two[0] = two[1] = c.signer;
	memcpy(two[0].kid, "other", sizeof("other"));
	memset(two[0].public_key, 7, 32);
	c.x.signer = two;
	c.x.n_signers = 1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SIGNER);
	c.x.n_signers = 2;
	assert_err(job_verify(&c.j, &c.x), ERR_OK);
	two[1].public_key[0] ^= 1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SIGNATURE);
	buf_clear(&c.b);
}

/* A bound that is now itself: a signer is one from its first second on, and no more in its last. */
static void test_verify_signer_times(void **state)
{
	static const struct {
		int64_t not_before_s, not_after_s;
		enum err e;
	} cases[] = {
		{ NOW, 0, ERR_OK },
		{ NOW + 1, 0, ERR_JOB_SIGNER },
		{ 0, NOW + 1, ERR_OK },
		{ 0, NOW, ERR_JOB_SIGNER },
		{ NOW - 1, NOW + 1, ERR_OK },
		{ NOW - 2, NOW - 1, ERR_JOB_SIGNER },
		{ NOW + 1, NOW + 2, ERR_JOB_SIGNER },
	};
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct job_signer two[2];
	struct case_state c;

	(void)state;
	case_open(&c, &in);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c.signer.not_before_s = cases[i].not_before_s;
		c.signer.not_after_s = cases[i].not_after_s;
		assert_err(job_verify(&c.j, &c.x), cases[i].e);
	}
	/* Named again, and valid today: an older entry of the name stands in nobody's way, whatever its key was. */
	two[0] = two[1] = c.signer;
	two[0].public_key[0] ^= 1;
	two[0].not_before_s = 0;
	two[0].not_after_s = two[1].not_before_s = NOW;
	two[1].not_after_s = NOW + 1;
	c.x.signer = two;
	c.x.n_signers = 2;
	assert_err(job_verify(&c.j, &c.x), ERR_OK);
	c.x.now_s = NOW - 1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SIGNATURE);
	c.x.now_s = NOW + 1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SIGNER);
	buf_clear(&c.b);
}

/* A signature over the same payload for another purpose is none over a job. */
static void test_verify_context(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct keys k = keys_fixed();
	struct case_state c;
	struct buf b;
	struct job j;
	const char *member;

	(void)state;
	case_open(&c, &in);
	buf_init(&b, JOB_MAX);
	cbor_add_array(&b, 2);
	cose_sign1_sign(span_lit("cwc-receipt-v1"), span_lit(APP_KID), c.j.message.payload, k.app_secret, &b);
	cbor_add_bytes(&b, in.envelope);
	assert_err(job_parse(span_buf(&b), &j, &member), ERR_OK);
	assert_err(job_verify(&j, &c.x), ERR_JOB_SIGNATURE);
	buf_clear(&b);
	buf_clear(&c.b);
}

static void test_verify_swapped_envelope(void **state)
{
	struct job a = job_sample(JOB_LETTER, span_lit("envelope of A"));
	struct job b = job_sample(JOB_LETTER, span_lit("envelope of B"));
	struct case_state ca, cb;

	(void)state;
	case_open(&ca, &a);
	case_open(&cb, &b);
	ca.j.envelope = cb.j.envelope;
	assert_err(job_verify(&ca.j, &ca.x), ERR_JOB_ENVELOPE_HASH);
	buf_clear(&ca.b);
	buf_clear(&cb.b);
}

static void test_verify_agreement(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct case_state c;

	(void)state;
	case_open(&c, &in);
	c.x.office = span_lit("HCA12");
	assert_err(job_verify(&c.j, &c.x), ERR_OK);
	/* Every later check is wrong too: the first one in the order of the header is reported. */
	c.x.now_s = EXPIRES;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRED);
	c.x.office = span_lit("HCA13");
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_OFFICE);
	c.x.sid = span_lit("sub_0001-B");
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_SID);
	c.x.queue = span_lit("q2");
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_QUEUE);
	c.x.environment = span_lit("production");
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_ENVIRONMENT);
	c.j.envelope = span_lit("F");
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_ENVELOPE_HASH);
	buf_clear(&c.b);
}

static void test_verify_times(void **state)
{
	struct job in = job_sample(JOB_LETTER, span_lit("E"));
	struct case_state c;

	(void)state;
	in.not_before_s = NOW + 10;
	case_open(&c, &in);
	c.x.now_s = EXPIRES;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRED);
	c.x.now_s = EXPIRES - 1;
	assert_err(job_verify(&c.j, &c.x), ERR_OK);
	c.x.now_s = NOW + 10;
	assert_err(job_verify(&c.j, &c.x), ERR_OK);
	c.x.now_s = NOW + 9;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EARLY);
	c.x.now_s = EXPIRES - JOB_TTL_MAX_S;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EARLY);
	c.x.now_s = EXPIRES - JOB_TTL_MAX_S - 1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRY);
	c.x.now_s = -1;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRY);
	buf_clear(&c.b);

	in.expires_s = UINT64_MAX;
	case_open(&c, &in);
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRY);
	c.x.now_s = INT64_MAX;
	assert_err(job_verify(&c.j, &c.x), ERR_JOB_EXPIRY);
	buf_clear(&c.b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_fields_are_kept),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_payload_prefixes),
		cmocka_unit_test(test_every_byte_is_bound),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_sign_limits),
		cmocka_unit_test(test_algorithm),
		cmocka_unit_test(test_sid_valid),
		cmocka_unit_test(test_verify_signer),
		cmocka_unit_test(test_verify_signer_times),
		cmocka_unit_test(test_verify_context),
		cmocka_unit_test(test_verify_swapped_envelope),
		cmocka_unit_test(test_verify_agreement),
		cmocka_unit_test(test_verify_times),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
