/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_genuine.h"

/* --- the chain -------------------------------------------------------------------------------- */

/* The sample with its certificates in this order (0 root to 3 instance, 4 leaf); certificate 4 stays the leaf. */
static void order_gives(const unsigned *order, size_t n, enum attest_code code, int certificate)
{
	struct attest_report r;
	struct sample s;
	struct genuine g;
	struct buf bundle, b;

	genuine_load(&g, SAMPLE);
	sample_load(&s, SAMPLE);
	buf_init(&bundle, VECTOR_MAX);
	cbor_add_array(&bundle, n);
	for (size_t i = 0; i < n; i++)
		cbor_add_bytes(&bundle, order[i] == 4 ? g.d.certificate : g.d.cabundle[order[i]]);
	*sample_value(&s, "cabundle") = span_buf(&bundle);
	sample_build(&s, &b);
	assert_code(verify(span_buf(&b), &g.policy, &r), code);
	assert_int_equal(r.certificate, certificate);
	buf_clear(&b);
	buf_clear(&bundle);
	sample_clear(&s);
	genuine_clear(&g);
}

#define ORDER(code, certificate, ...)                                                                                  \
	order_gives((const unsigned[]){ __VA_ARGS__ }, sizeof((unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned), (code), \
		    (certificate))

static void test_order(void **state)
{
	(void)state;
	ORDER(ATTEST_OK, -1, 0, 1, 2, 3);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 3, 2, 1, 0);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 1, 2, 3);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 1, 0, 2, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 1, 0, 2, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 1, 0, 2, 1, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 2, 0, 1, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 3, 0, 1, 2);
	/* More CAs than the path length of the first allows; the leaf as a CA; the root, which issues itself, twice. */
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 1, 2, 3, 3);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 1, 2, 3, 4);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 0, 1, 2, 3);
}

/* A sample with one certificate replaced by bytes. */
static void certificate_gives(unsigned which, struct span der, enum attest_code code)
{
	struct attest_report r;
	struct sample s;
	struct genuine g;
	struct buf value, b;

	genuine_load(&g, SAMPLE);
	sample_load(&s, SAMPLE);
	buf_init(&value, VECTOR_MAX);
	if (which < 4)
		cbor_add_array(&value, 4);
	for (unsigned i = 0; i < 4 && which < 4; i++)
		cbor_add_bytes(&value, i == which ? der : g.d.cabundle[i]);
	if (which == 4)
		cbor_add_bytes(&value, der);
	*sample_value(&s, which == 4 ? "certificate" : "cabundle") = span_buf(&value);
	sample_build(&s, &b);
	assert_code(verify(span_buf(&b), &g.policy, &r), code);
	assert_int_equal(r.certificate, which);
	buf_clear(&b);
	buf_clear(&value);
	sample_clear(&s);
	genuine_clear(&g);
}

static void copy_certificate(unsigned which, struct buf *ret_der)
{
	struct genuine g;

	genuine_load(&g, SAMPLE);
	buf_init(ret_der, ATTEST_KEY_MAX);
	buf_add_span(ret_der, which == 4 ? g.d.certificate : g.d.cabundle[which]);
	genuine_clear(&g);
}

static void test_certificate_form(void **state)
{
	(void)state;
	for (unsigned which = 0; which <= 4; which++) {
		struct buf der, longer;

		copy_certificate(which, &der);
		buf_init(&longer, ATTEST_KEY_MAX);
		for (size_t n = 1; n < der.n; n += 13)
			certificate_gives(which, span_of(der.p, n), which ? ATTEST_CHAIN_SYNTAX : ATTEST_CHAIN_ANCHOR);
		buf_add_byte(&der, 0);
		certificate_gives(which, span_buf(&der), which ? ATTEST_CHAIN_SYNTAX : ATTEST_CHAIN_ANCHOR);
		/* The same certificate behind a length of three bytes, and of an indefinite one. */
		buf_add_span(&longer, span_lit("\x30\x83\x00"));
		buf_add(&longer, der.p + 2, der.n - 3);
		certificate_gives(which, span_buf(&longer), which ? ATTEST_CHAIN_SYNTAX : ATTEST_CHAIN_ANCHOR);
		buf_reset(&longer);
		buf_add_span(&longer, span_lit("\x30\x80"));
		buf_add(&longer, der.p + 4, der.n - 5);
		buf_add_span(&longer, span_lit("\x00\x00"));
		certificate_gives(which, span_buf(&longer), which ? ATTEST_CHAIN_SYNTAX : ATTEST_CHAIN_ANCHOR);
		buf_clear(&longer);
		buf_clear(&der);
	}
}

/* What can be changed in a certificate without its issuer: everything up to the signature's own rule. */
static void test_certificate_bytes(void **state)
{
	static const struct {
		const char *find;
		size_t n, at;
		uint8_t xor ;
		enum attest_code code;
	} changes[] = {
		{ "\xa0\x03\x02\x01\x02", 5, 4, 3, ATTEST_CHAIN_VERSION },
		{ "\xa0\x03\x02\x01\x02\x02", 6, 7, 0x80, ATTEST_CHAIN_SERIAL },
		{ "\x2a\x86\x48\xce\x3d\x04\x03\x03", 8, 7, 1, ATTEST_CHAIN_ALGORITHM },
		{ "\x2b\x81\x04\x00\x22", 5, 4, 1, ATTEST_CHAIN_KEY },
		{ "\x03\x62\x00\x04", 4, 3, 6, ATTEST_CHAIN_KEY },
		/* One of these is a hybrid form (X9.62) of the same point, which OpenSSL takes. */
		{ "\x03\x62\x00\x04", 4, 3, 2, ATTEST_CHAIN_KEY },
		{ "\x03\x62\x00\x04", 4, 3, 3, ATTEST_CHAIN_KEY },
		{ "\x03\x62\x00\x04", 4, 40, 1, ATTEST_CHAIN_KEY },
		{ "\x06\x03\x55\x04\x03\x0c", 6, 8, 1, ATTEST_CHAIN_ISSUER },
		{ "\x55\x1d\x13", 3, 5, 1, ATTEST_CHAIN_SYNTAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		for (unsigned which = 1; which <= 4; which++) {
			const uint8_t *p;
			struct buf der;

			copy_certificate(which, &der);
			p = span_find(span_buf(&der), span_of(changes[i].find, changes[i].n));
			assert_non_null(p);
			der.p[(size_t)(p - der.p) + changes[i].at] ^= changes[i].xor ;
			certificate_gives(which, span_buf(&der), changes[i].code);
			der.p[(size_t)(p - der.p) + changes[i].at] ^= changes[i].xor ;
			der.p[der.n - 10] ^= 1;
			certificate_gives(which, span_buf(&der), ATTEST_CHAIN_SIGNATURE);
			buf_clear(&der);
		}
	}
}

/* The certificates of a real document at other signed times; the leaf's comes last, but the chain is asked from above.
 */
static void time_gives(uint64_t ms, enum attest_code code, int certificate)
{
	struct attest_report r;
	struct sample s;
	struct genuine g;
	struct buf value, b;

	genuine_load(&g, SAMPLE);
	sample_load(&s, SAMPLE);
	buf_init(&value, 16);
	cbor_add_uint(&value, ms);
	*sample_value(&s, "timestamp") = span_buf(&value);
	sample_build(&s, &b);
	assert_code(verify(span_buf(&b), &g.policy, &r), code);
	assert_int_equal(r.certificate, certificate);
	buf_clear(&b);
	buf_clear(&value);
	sample_clear(&s);
	genuine_clear(&g);
}

static void test_validity(void **state)
{
	static const struct {
		uint64_t ms;
		enum attest_code code;
		int certificate;
	} times[] = {
		{ 1745591772999, ATTEST_CHAIN_EARLY, 1 },      { 1745911896999, ATTEST_CHAIN_EARLY, 2 },
		{ 1745922509999, ATTEST_CHAIN_EARLY, 3 },      { 1745922698999, ATTEST_CHAIN_EARLY, 4 },
		{ 1745922699000, ATTEST_SIGNATURE_WRONG, -1 }, { 1745933502000, ATTEST_SIGNATURE_WRONG, -1 },
		{ 1745933502001, ATTEST_CHAIN_EXPIRED, 4 },    { 1746008910001, ATTEST_CHAIN_EXPIRED, 3 },
		{ 1746394297001, ATTEST_CHAIN_EXPIRED, 2 },    { 1747323373001, ATTEST_CHAIN_EXPIRED, 1 },
		{ 2519044085001, ATTEST_CHAIN_EXPIRED, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		time_gives(times[i].ms, times[i].code, times[i].certificate);
}

static void test_name(void **state)
{
	struct attest_report r;
	struct sample s;
	struct genuine g;
	struct buf b;

	(void)state;
	genuine_load(&g, SAMPLE);
	sample_load(&s, SAMPLE);
	*sample_value(&s, "module_id") = span_lit("\x78\x27i-07859a25773d39fcc-enc01968119042c6455");
	sample_build(&s, &b);
	assert_code(verify(span_buf(&b), &g.policy, &r), ATTEST_CHAIN_NAME);
	assert_int_equal(r.certificate, 4);
	buf_clear(&b);
	sample_clear(&s);
	genuine_clear(&g);
}

static void test_other_anchor(void **state)
{
	uint8_t der[1024];
	struct attest_anchor anchor = { "other", der, attest_anchor_aws.size };
	struct attest_document d;
	struct attest_report r;
	struct genuine g;

	(void)state;
	genuine_load(&g, SAMPLE);
	memcpy(der, attest_anchor_aws.der, anchor.size);
	assert_code(attest_verify(span_buf(&g.b), &anchor, &g.policy, &d, &r), ATTEST_OK);
	der[anchor.size - 1] ^= 1; /* in its signature, which is not asked for otherwise */
	assert_code(attest_verify(span_buf(&g.b), &anchor, &g.policy, &d, &r), ATTEST_CHAIN_ANCHOR);
	assert_int_equal(r.certificate, 0);
	der[anchor.size - 1] ^= 1;
	anchor.size--;
	assert_code(attest_verify(span_buf(&g.b), &anchor, &g.policy, &d, &r), ATTEST_CHAIN_ANCHOR);
	anchor.size = 0;
	assert_code(attest_verify(span_buf(&g.b), &anchor, &g.policy, &d, &r), ATTEST_CHAIN_ANCHOR);
	genuine_clear(&g);
}

/* --- the signature ---------------------------------------------------------------------------- */

static const uint8_t order_p384[48] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
					0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73 };

static void test_signature_range(void **state)
{
	uint8_t below[48], zero[48] = { 0 }, most[48], *sig;
	struct genuine g;

	(void)state;
	memcpy(below, order_p384, 48);
	below[47]--;
	memset(most, 0xff, 48);
	genuine_load(&g, SAMPLE);
	sig = g.b.p + g.b.n - 96;
	for (unsigned half = 0; half < 2; half++) {
		const struct {
			const uint8_t *value;
			enum attest_code code;
		} cases[] = { { zero, ATTEST_SIGNATURE_RANGE },
			      { order_p384, ATTEST_SIGNATURE_RANGE },
			      { most, ATTEST_SIGNATURE_RANGE },
			      { below, ATTEST_SIGNATURE_WRONG } };
		uint8_t kept[48];

		memcpy(kept, sig + (size_t)48 * half, 48);
		for (size_t i = 0; i < 4; i++) {
			memcpy(sig + (size_t)48 * half, cases[i].value, 48);
			gives(span_buf(&g.b), &g.policy, cases[i].code);
		}
		memcpy(sig + (size_t)48 * half, kept, 48);
	}
	gives(span_buf(&g.b), &g.policy, ATTEST_OK);
	memset(sig, 0, 96);
	gives(span_buf(&g.b), &g.policy, ATTEST_SIGNATURE_RANGE);
	genuine_clear(&g);
}

/* (r, n - s) is as good a signature as (r, s): so a signature is no identity of a document. */
static void test_signature_twin(void **state)
{
	struct genuine g;
	int borrow = 0;
	uint8_t *s;

	(void)state;
	genuine_load(&g, SAMPLE);
	s = g.b.p + g.b.n - 48;
	for (int i = 47; i >= 0; i--) {
		int v = order_p384[i] - s[i] - borrow;

		borrow = v < 0;
		s[i] = (uint8_t)(v & 0xff);
	}
	gives(span_buf(&g.b), &g.policy, ATTEST_OK);
	genuine_clear(&g);
}

static void test_other_signature(void **state)
{
	struct genuine a, b;

	(void)state;
	genuine_load(&a, SAMPLE);
	genuine_load(&b, "14-2024-02-marlin-1.cbor");
	memcpy(a.b.p + a.b.n - 96, b.d.signature.p, 96);
	gives(span_buf(&a.b), &a.policy, ATTEST_SIGNATURE_WRONG);
	genuine_clear(&a);
	genuine_clear(&b);
}

/* No bit of a document is free: one of each byte. CWC_LONG=1: of more documents. */
static void test_every_bit(void **state)
{
	(void)state;
	for (size_t v = 0; v < (getenv("CWC_LONG") != NULL ? N_VECTORS : 1); v += 11) {
		struct genuine g;

		genuine_load(&g, vectors[v].file);
		for (size_t i = 0; i < g.b.n; i++) {
			struct attest_report r;
			const uint8_t bit = (uint8_t)(1U << i % 8);

			g.policy.cache = i % 16 < 14 ? &cache : NULL;
			g.b.p[i] ^= bit;
			assert_true(verify(span_buf(&g.b), &g.policy, &r) != ATTEST_OK);
			g.b.p[i] ^= bit;
		}
		gives(span_buf(&g.b), &g.policy, ATTEST_OK);
		genuine_clear(&g);
	}
}

/* --- the cache -------------------------------------------------------------------------------- */

static void test_cache(void **state)
{
	static struct attest_cache c;
	struct genuine g;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < N_VECTORS; i++) {
			genuine_load(&g, vectors[i].file);
			g.policy.cache = &c;
			gives(span_buf(&g.b), &g.policy, vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
			genuine_clear(&g);
		}
		/* Four a document: none in common, and none twice. */
		assert_int_equal(c.used, 4 * N_VECTORS);
		assert_int_equal(c.next, 4 * N_VECTORS);
	}
}

static void test_cache_is_bounded(void **state)
{
	static struct attest_cache c;
	struct genuine g;

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		genuine_load(&g, vectors[round % N_VECTORS].file);
		g.policy.cache = &c;
		g.policy.chain_only = true;
		memset(c.link, 0, sizeof(c.link)); /* so that each is met for the first time */
		gives(span_buf(&g.b), &g.policy, vectors[round % N_VECTORS].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		genuine_clear(&g);
	}
	assert_int_equal(c.used, ATTEST_CACHE_LINKS);
	assert_int_equal(c.next, 4 * 40 % ATTEST_CACHE_LINKS);
}

/* A cache that has all links of a document does not let another one in, nor the same one at another time; and a wrong
 * signature leaves nothing in it. */
static void test_cache_says_no_more(void **state)
{
	static struct attest_cache empty;
	struct genuine g;
	struct buf der;

	(void)state;
	genuine_load(&g, SAMPLE);
	gives(span_buf(&g.b), &g.policy, ATTEST_OK);
	for (unsigned which = 1; which <= 4; which++) {
		copy_certificate(which, &der);
		der.p[der.n - 10] ^= 1;
		certificate_gives(which, span_buf(&der), ATTEST_CHAIN_SIGNATURE);
		certificate_gives(which, span_buf(&der), ATTEST_CHAIN_SIGNATURE);
		buf_clear(&der);
	}
	with(&g, now_ms, g.policy.now_ms + 300000, ATTEST_TIME_STALE);
	time_gives(g.d.timestamp_ms + 86400000, ATTEST_CHAIN_EXPIRED, 3);
	g.policy.cache = &empty;
	g.b.p[g.b.n - 1] ^= 1;
	gives(span_buf(&g.b), &g.policy, ATTEST_SIGNATURE_WRONG);
	assert_int_equal(empty.used, 4);
	genuine_clear(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_certificate_form),
		cmocka_unit_test(test_certificate_bytes),
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_other_anchor),
		cmocka_unit_test(test_signature_range),
		cmocka_unit_test(test_signature_twin),
		cmocka_unit_test(test_other_signature),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_is_bounded),
		cmocka_unit_test(test_cache_says_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
