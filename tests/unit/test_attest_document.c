/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_fixture.h"

/* --- whole documents -------------------------------------------------------------------------- */

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct attest_document d;
		struct buf b, again;

		load_vector(vectors[i].file, &b);
		assert_code(attest_document_parse(span_buf(&b), &d), ATTEST_OK);
		assert_int_equal(attest_document_debug(&d), vectors[i].debug);
		assert_int_equal(d.n_cabundle, 4);
		assert_int_equal(d.pcrs & 0xffff, 0xffff);
		assert_int_equal(d.indefinite, strstr(vectors[i].file, "INDEF") != NULL);
		assert_memory_equal(d.module_id.p, "i-", 2);
		buf_init(&again, VECTOR_MAX);
		build_envelope(d.payload, d.signature, &again);
		assert_true(span_eq(span_buf(&again), span_buf(&b)));
		buf_clear(&again);
		buf_clear(&b);
	}
}

static void test_members(void **state)
{
	struct attest_document d;
	struct buf b;

	(void)state;
	load_vector(SAMPLE, &b);
	assert_code(attest_document_parse(span_buf(&b), &d), ATTEST_OK);
	assert_true(span_eq_str(d.module_id, "i-07859a25773d39fcc-enc01968119042c6454"));
	assert_true(d.timestamp_ms == 1745922759691);
	assert_int_equal(d.pcrs, 0x1ffff);
	assert_memory_equal(d.pcr[0].p, "\x29\x84\xab\x21\x56\x49\xc4\x0f", 8);
	assert_true(d.public_key.present && d.public_key.bytes.n == 32);
	assert_true(d.user_data.present && d.user_data.bytes.n == 0);
	assert_true(!d.nonce.present && d.nonce.bytes.n == 0);
	buf_clear(&b);
}

/* --- envelope --------------------------------------------------------------------------------- */

static void test_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i += 11) { /* a definite one and an indefinite one */
		struct buf b;

		load_vector(vectors[i].file, &b);
		refused(span_of(b.p, 0), ATTEST_ENVELOPE_SIZE);
		for (size_t n = 1; n < b.n; n++)
			refused(span_of(b.p, n), ATTEST_ENVELOPE_SYNTAX);
		buf_add_byte(&b, 0);
		refused(span_buf(&b), ATTEST_ENVELOPE_TRAILING);
		buf_clear(&b);
	}
}

/* A real document whose first bytes (to the payload's head, which is left) are replaced. */
static const struct {
	struct span head;
	enum attest_code code;
} heads[] = {
#define HEAD(bytes, code)                                                      \
	{                                                                      \
		{ (const uint8_t *)(bytes), sizeof(bytes) - 1 }, ATTEST_##code \
	}
	HEAD("\x84\x44\xa1\x01\x38\x22\xa0", OK),
	HEAD("\xd2\x84\x44\xa1\x01\x38\x22\xa0", ENVELOPE_TAG),
	HEAD("\xd1\x84\x44\xa1\x01\x38\x22\xa0", ENVELOPE_TAG),
	HEAD("\xd9\xd9\xf7\x84\x44\xa1\x01\x38\x22\xa0", ENVELOPE_TAG),
	HEAD("\x83\x44\xa1\x01\x38\x22\xa0", ENVELOPE_SYNTAX),
	HEAD("\x85\x44\xa1\x01\x38\x22\xa0", ENVELOPE_SYNTAX),
	HEAD("\x9f\x44\xa1\x01\x38\x22\xa0", ENVELOPE_SYNTAX),
	HEAD("\x98\x04\x44\xa1\x01\x38\x22\xa0", ENVELOPE_SYNTAX),
	HEAD("\xa4\x44\xa1\x01\x38\x22\xa0", ENVELOPE_SYNTAX),
	HEAD("\x84\x40\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x41\xa0\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x43\xa1\x01\x26\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x44\xa1\x01\x38\x23\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x43\xa1\x01\x20\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x48\xa1\x01\x65\x45S384\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x46\xa2\x01\x38\x22\x04\x40\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x47\xa2\x01\x38\x22\x01\x38\x22\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x45\xa1\x18\x01\x38\x22\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x45\xa1\x01\x39\x00\x22\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x58\x04\xa1\x01\x38\x22\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x5f\x44\xa1\x01\x38\x22\xff\xa0", ENVELOPE_ALGORITHM),
	HEAD("\x84\x40\xa1\x01\x38\x22", ENVELOPE_ALGORITHM),
	HEAD("\x84\x44\xa1\x01\x38\x22\xa1\x01\x38\x22", ENVELOPE_UNPROTECTED),
	HEAD("\x84\x44\xa1\x01\x38\x22\xa1\x04\x41\x41", ENVELOPE_UNPROTECTED),
	HEAD("\x84\x44\xa1\x01\x38\x22\xbf\xff", ENVELOPE_UNPROTECTED),
	HEAD("\x84\x44\xa1\x01\x38\x22\xb8\x00", ENVELOPE_UNPROTECTED),
	HEAD("\x84\x44\xa1\x01\x38\x22\x80", ENVELOPE_UNPROTECTED),
#undef HEAD
};

static void test_headers(void **state)
{
	struct attest_document d;
	struct buf b, changed;

	(void)state;
	load_vector(SAMPLE, &b);
	buf_init(&changed, VECTOR_MAX);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		buf_reset(&changed);
		buf_add_span(&changed, heads[i].head);
		buf_add(&changed, b.p + 7, b.n - 7);
		assert_code(parse_exact(span_buf(&changed), &d), heads[i].code);
	}
	buf_clear(&changed);
	buf_clear(&b);
}

/* Any of the heads, then these items in place of payload and signature. */
static void items_refused(struct span payload, struct span signature, enum attest_code code)
{
	struct buf b;

	buf_init(&b, 2 * VECTOR_MAX);
	buf_add_span(&b, heads[0].head);
	buf_add_span(&b, payload);
	buf_add_span(&b, signature);
	refused(span_buf(&b), code);
	buf_clear(&b);
}

static void test_payload_item(void **state)
{
	struct attest_document d;
	struct buf b, longer;
	struct span signature;

	(void)state;
	load_vector(SAMPLE, &b);
	assert_code(attest_document_parse(span_buf(&b), &d), ATTEST_OK);
	signature = span_of(d.signature.p - 2, d.signature.n + 2);
	items_refused(span_lit("\xf6"), signature, ATTEST_ENVELOPE_PAYLOAD);
	items_refused(span_lit("\x40"), signature, ATTEST_ENVELOPE_PAYLOAD);
	items_refused(span_lit("\x61\x61"), signature, ATTEST_ENVELOPE_PAYLOAD);
	items_refused(span_lit("\xa0"), signature, ATTEST_ENVELOPE_PAYLOAD);
	items_refused(span_lit("\x5f\x41\xa0\xff"), signature, ATTEST_ENVELOPE_SYNTAX);
	items_refused(span_lit("\x5a\xff\xff\xff\xff"), signature, ATTEST_ENVELOPE_SYNTAX);
	items_refused(span_lit("\x5b\xff\xff\xff\xff\xff\xff\xff\xff"), signature, ATTEST_ENVELOPE_SYNTAX);
	items_refused(span_lit("\x5b\x00\x00\x00\x00\xff\xff\xff\xff"), signature, ATTEST_ENVELOPE_SYNTAX);
	items_refused(span_lit("\x5c"), signature, ATTEST_ENVELOPE_SYNTAX);
	items_refused(span_lit("\x41\xa0"), span_lit("\xf7"), ATTEST_ENVELOPE_SYNTAX);
	/* The same payload behind longer heads: the signature would be right. */
	buf_init(&longer, VECTOR_MAX);
	buf_add_span(&longer, span_lit("\x5a\x00\x00"));
	buf_add(&longer, d.payload.p - 2, d.payload.n + 2);
	items_refused(span_buf(&longer), signature, ATTEST_ENVELOPE_SYNTAX);
	buf_reset(&longer);
	buf_add_span(&longer, span_lit("\x5b\x00\x00\x00\x00\x00\x00"));
	buf_add(&longer, d.payload.p - 2, d.payload.n + 2);
	items_refused(span_buf(&longer), signature, ATTEST_ENVELOPE_SYNTAX);
	buf_clear(&longer);
	buf_clear(&b);
}

static void test_signature_item(void **state)
{
	static const size_t sizes[] = { 0, 48, 64, 95, 97, 102, 104, 132 };
	static const uint8_t zeros[132];
	struct attest_document d;
	struct span payload;
	struct buf b, s;

	(void)state;
	load_vector(SAMPLE, &b);
	assert_code(attest_document_parse(span_buf(&b), &d), ATTEST_OK);
	payload = span_of(d.payload.p - 3, d.payload.n + 3);
	buf_init(&s, 1024);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		buf_reset(&s);
		cbor_add_bytes(&s, span_of(zeros, sizes[i]));
		items_refused(payload, span_buf(&s), ATTEST_ENVELOPE_SIGNATURE);
	}
	buf_reset(&s);
	cbor_add_text(&s, d.signature);
	items_refused(payload, span_buf(&s), ATTEST_ENVELOPE_SIGNATURE);
	buf_reset(&s);
	buf_add_span(&s, span_lit("\x59\x00\x60"));
	buf_add_span(&s, d.signature);
	items_refused(payload, span_buf(&s), ATTEST_ENVELOPE_SYNTAX);
	items_refused(payload, span_lit("\xf6"), ATTEST_ENVELOPE_SIGNATURE);
	buf_clear(&s);
	buf_clear(&b);
}

static void test_size_limit(void **state)
{
	uint8_t *big = xcalloc(1, ATTEST_DOCUMENT_MAX + 1);

	(void)state;
	memcpy(big, "\x84\x44\xa1\x01\x38\x22\xa0\x59\x2f\x00", 10);
	refused(span_of(big, ATTEST_DOCUMENT_MAX + 1), ATTEST_ENVELOPE_SIZE);
	refused(span_of(big, ATTEST_DOCUMENT_MAX), ATTEST_ENVELOPE_SIGNATURE);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),      cmocka_unit_test(test_members),
		cmocka_unit_test(test_prefixes),     cmocka_unit_test(test_headers),
		cmocka_unit_test(test_payload_item), cmocka_unit_test(test_signature_item),
		cmocka_unit_test(test_size_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
