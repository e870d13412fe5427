/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_parts.h"

#define PCR16BYTES "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* --- PCRs and the bundle ---------------------------------------------------------------------- */

/* The PCRs of these indices, as a map of each length. */
static void pcrs_give(const uint64_t *index, size_t n, size_t size, enum attest_code code)
{
	static const uint8_t zeros[64];

	for (unsigned form = 0; form < 2; form++) {
		struct parts p;
		struct buf b;

		parts_start(&p);
		buf_init(&b, VECTOR_MAX);
		if (form != 0)
			buf_add_byte(&b, 0xbf);
		else
			cbor_add_map(&b, n);
		for (size_t i = 0; i < n; i++) {
			cbor_add_uint(&b, index[i]);
			cbor_add_bytes(&b, span_of(index[i] < 32 && size == 48 ? p.s.pcr[index[i]] : zeros, size));
		}
		if (form != 0)
			buf_add_byte(&b, 0xff);
		*sample_value(&p.members, "pcrs") = span_buf(&b);
		parts_give(&p, code);
		buf_clear(&b);
		parts_stop(&p);
	}
}

static void test_pcrs(void **state)
{
	static const uint64_t least[] = { 8, 4, 3, 2, 1, 0, 32 };
	static const uint64_t twice[] = { 0, 1, 2, 3, 4, 8, 2 };
	static const uint64_t huge[] = { 0, 1, 2, 3, 4, 8, UINT64_C(1) << 32 };
	static const size_t sizes[] = { 0, 32, 47, 49, 64 };
	uint64_t all[33];

	(void)state;
	for (uint64_t i = 0; i < 33; i++)
		all[i] = i;
	pcrs_give(least, 6, 48, ATTEST_OK);
	pcrs_give(all, 16, 48, ATTEST_OK);
	pcrs_give(all, 32, 48, ATTEST_OK);
	pcrs_give(all, 33, 48, ATTEST_PAYLOAD_PCR_INDEX);
	pcrs_give(least, 7, 48, ATTEST_PAYLOAD_PCR_INDEX);
	pcrs_give(huge, 7, 48, ATTEST_PAYLOAD_PCR_INDEX);
	pcrs_give(twice, 7, 48, ATTEST_PAYLOAD_PCR_DUPLICATE);
	pcrs_give(all, 0, 48, ATTEST_PAYLOAD_PCR_MISSING);
	for (size_t i = 0; i < 5; i++)
		pcrs_give(all, 16, sizes[i], ATTEST_PAYLOAD_PCR_SIZE);
	for (size_t i = 0; i < 6; i++) {
		uint64_t without[6];

		memcpy(without, least, sizeof(without));
		without[i] = 16;
		pcrs_give(without, 6, 48, ATTEST_PAYLOAD_PCR_MISSING);
	}
	VALUE("pcrs", "\xa1\x20\x40", PAYLOAD_PCR_INDEX);
	VALUE("pcrs", "\xa1\x61\x30\x40", PAYLOAD_PCR_INDEX);
	VALUE("pcrs", "\xa1\x41\x00\x40", PAYLOAD_PCR_INDEX);
	VALUE("pcrs", "\xa1\x18\x00\x58\x30" PCR16BYTES PCR16BYTES PCR16BYTES, PAYLOAD_SYNTAX);
	VALUE("pcrs", "\xa1\x00\xf6", PAYLOAD_TYPE);
	VALUE("pcrs", "\xa1\x00\x78\x30" PCR16BYTES PCR16BYTES PCR16BYTES, PAYLOAD_TYPE);
	VALUE("pcrs", "\xbf\x00\xff", PAYLOAD_SYNTAX);
	VALUE("pcrs", "\xa1\xff", PAYLOAD_SYNTAX);
}

static void test_cabundle(void **state)
{
	struct parts p;
	struct buf b;

	(void)state;
	VALUE("cabundle", "\x80", PAYLOAD_CABUNDLE_COUNT);
	VALUE("cabundle", "\x9f\xff", PAYLOAD_CABUNDLE_COUNT);
	VALUE("cabundle", "\x81\x41\x30", PAYLOAD_CABUNDLE_COUNT);
	VALUE("cabundle", "\x82\x41\x30\x40", PAYLOAD_CABUNDLE_SIZE);
	VALUE("cabundle", "\x82\x41\x30\xf6", PAYLOAD_TYPE);
	VALUE("cabundle", "\x82\x41\x30\x61\x30", PAYLOAD_TYPE);
	VALUE("cabundle", "\x81\x84\x41\x30\x41\x30\x41\x30\x41\x30", PAYLOAD_TYPE);
	VALUE("cabundle", "\x89\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30",
	      PAYLOAD_CABUNDLE_COUNT);
	VALUE("cabundle", "\x82\x41\x30\xff", PAYLOAD_SYNTAX);
	/* The right one, of indefinite length; then with an entry that is a byte too long. */
	parts_start(&p);
	buf_init(&b, VECTOR_MAX);
	buf_add_byte(&b, 0x9f);
	for (size_t i = 0; i < 4; i++)
		cbor_add_bytes(&b, p.s.payload.cabundle[i]);
	buf_add_byte(&b, 0xff);
	*sample_value(&p.members, "cabundle") = span_buf(&b);
	parts_give(&p, ATTEST_OK);
	buf_reset(&b);
	cbor_add_array(&b, 4);
	for (size_t i = 0; i < 3; i++)
		cbor_add_bytes(&b, p.s.payload.cabundle[i]);
	cbor_add_bytes(&b, span_of(p.members.source.p, 1025));
	*sample_value(&p.members, "cabundle") = span_buf(&b);
	parts_give(&p, ATTEST_PAYLOAD_CABUNDLE_SIZE);
	buf_clear(&b);
	parts_stop(&p);
}

/* --- PCR4 ------------------------------------------------------------------------------------- */

static void test_instance(void **state)
{
	struct signed_document s;
	int blamed;

	(void)state;
	signed_start(&s);
	for (unsigned i = 0; i < 3; i++) {
		nsm_sim_measure(span_str(i == 0 ? "i-05c0ffee5eed0a11f" : i == 1 ? "" : PKI_MODULE_ID), s.pcr[4]);
		assert_code(verify_signed(&s, &blamed), ATTEST_POLICY_INSTANCE);
	}
	memset(s.pcr[4], 0, sizeof(s.pcr[4]));
	assert_code(verify_signed(&s, &blamed), ATTEST_POLICY_INSTANCE);
	signed_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcrs),
		cmocka_unit_test(test_cabundle),
		cmocka_unit_test(test_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
