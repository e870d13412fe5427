/* SPDX-License-Identifier: Apache-2.0 */
/* The form of enclave images: every rule broken once, the CRC right where it is not the rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/eif_fixture.h"

static void test_truncated(void **state)
{
	struct buf b, section;

	(void)state;
	make(&b, 4, usual);
	buf_init(&section, EIF_SIGNATURE_MAX);
	cbor_add_array(&section, 1);
	put_signature(&section, signer_pem);
	add(&b, SIGNATURE, span_buf(&section));
	seal(&b);
	assert_good(span_buf(&b));
	for (size_t n = 0; n < b.n; n++)
		assert_broken(span_of(b.p, n), n < EIF_HEADER_SIZE ? "header:" : "sizes: a section ends");
	buf_add_byte(&b, 0);
	assert_broken(span_buf(&b), "sizes: something stands behind");
	seal(&b);
	assert_broken(span_buf(&b), "sizes: something stands behind");
	buf_clear(&b);
	buf_clear(&section);
}

/* One bit anywhere: if no other rule finds it, the CRC does. */
static void test_every_bit(void **state)
{
	struct buf b;

	(void)state;
	make(&b, 4, usual);
	for (size_t i = 0; i < 8 * b.n; i++) {
		b.p[i / 8] ^= (uint8_t)(1U << i % 8);
		assert_broken(span_buf(&b), "");
		b.p[i / 8] ^= (uint8_t)(1U << i % 8);
	}
	assert_good(span_buf(&b));
	b.p[b.n - 1] ^= 1;
	assert_broken(span_buf(&b), "CRC-32:");
	b.p[b.n - 1] ^= 1;
	b.p[CRC_AT] ^= 1;
	assert_broken(span_buf(&b), "CRC-32:");
	buf_clear(&b);
}

/* A number of a good image becomes another, and the CRC is right. `usual` has its sections at 548, 569, ... */
static void test_numbers(void **state)
{
	static const struct {
		size_t at;
		unsigned bytes;
		uint64_t value;
		const char *rule;
	} rows[] = {
		{ 0, 1, 'x', "magic:" },
		{ 4, 2, 1, "version:" },
		{ 4, 2, 5, "version:" },
		{ 4, 2, 0x0400, "version:" },
		{ 6, 2, 2, "flags:" },
		{ 6, 2, 0x8001, "flags:" },
		{ 24, 2, 1, "reserved:" },
		{ 540, 4, 1, "reserved:" },
		{ 26, 2, 0, "sections:" },
		{ 26, 2, 1, "sections:" },
		{ 26, 2, 33, "sections:" },
		{ 26, 2, 65535, "sections:" },
		{ 26, 2, 4, "offsets, sizes:" },
		{ 26, 2, 6, "offsets: a section" },
		{ OFFSETS, 8, 549, "offsets: a section" },
		{ OFFSETS, 8, 0, "offsets: a section" },
		{ OFFSETS + 8, 8, 548, "offsets: a section" }, /* the kernel again */
		{ OFFSETS + 8, 8, 568, "offsets: a section" }, /* its last byte */
		{ OFFSETS + 8, 8, 570, "offsets: a section" },
		{ OFFSETS + 8, 8, UINT64_MAX, "offsets: a section" },
		{ OFFSETS + 8, 8, UINT64_MAX - 11, "offsets: a section" },
		{ OFFSETS + 8 * 31, 8, 1, "offsets, sizes:" },
		{ SIZES + 8 * 5, 8, 1, "offsets, sizes:" },
		{ SIZES, 8, 0, "sizes: a section is empty" },
		{ SIZES, 8, 8, "offsets: a section" },
		{ SIZES, 8, 10, "offsets: a section" },
		{ SIZES, 8, 93, "offsets: a section" },    /* up to the end of the file */
		{ SIZES, 8, 94, "sizes: a section ends" }, /* one more */
		{ SIZES, 8, UINT64_MAX, "sizes: a section ends" },
		{ SIZES, 8, UINT64_MAX - 11, "sizes: a section ends" },
		{ SIZES, 8, UINT64_MAX - 559, "sizes: a section ends" },
		{ SIZES + 8 * 4, 8, 8, "sizes: something" },
		{ SIZES + 8 * 4, 8, 10, "sizes: a section ends" },
		{ SIZES + 8 * 4, 8, UINT64_C(1) << 63, "sizes: a section ends" },
		{ 548, 2, 0, "section type:" },
		{ 548, 2, 6, "section type:" },
		{ 548, 2, 0x0100, "section type:" },
		{ 548, 2, CMDLINE, "kernel:" },
		{ 569, 2, KERNEL, "kernel:" },
		{ 569, 2, RAMDISK, "cmdline:" },
		{ 590, 2, CMDLINE, "cmdline:" },
		{ 590, 2, SIGNATURE, "signature: must be the last" },
		{ 590, 2, RAMDISK, "metadata: missing" },
		{ 611, 2, METADATA, "metadata: there is a second" },
		{ 550, 2, 1, "section flags:" },
		{ 552, 8, 8, "section size:" },
		{ 552, 8, 10, "section size:" },
		{ 552, 8, UINT64_MAX, "section size:" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b;

		make(&b, 4, usual);
		assert_int_equal(b.n, 548 + 5 * 21);
		poke(&b, rows[i].at, rows[i].value, rows[i].bytes);
		seal(&b);
		assert_broken(span_buf(&b), rows[i].rule);
		buf_clear(&b);
	}
}

static void test_order(void **state)
{
	static const struct {
		unsigned version, types[7];
		const char *rule; /* NULL: good */
	} rows[] = {
		{ 4, { KERNEL, CMDLINE, RAMDISK, METADATA, LIST_END }, NULL },
		{ 4, { KERNEL, CMDLINE, RAMDISK, METADATA, RAMDISK, LIST_END }, NULL },
		{ 2, { KERNEL, CMDLINE, LIST_END }, NULL },
		{ 3, { KERNEL, CMDLINE, LIST_END }, NULL },
		{ 4, { KERNEL, CMDLINE, LIST_END }, "metadata: missing" },
		{ 3, { KERNEL, CMDLINE, METADATA, LIST_END }, "metadata: there is none" },
		{ 4, { CMDLINE, KERNEL, METADATA, LIST_END }, "kernel:" },
		{ 4, { RAMDISK, KERNEL, CMDLINE, METADATA, LIST_END }, "kernel:" },
		{ 4, { KERNEL, METADATA, CMDLINE, LIST_END }, "cmdline:" },
		{ 4, { KERNEL, RAMDISK, CMDLINE, METADATA, LIST_END }, "cmdline:" },
		{ 4, { KERNEL, CMDLINE, METADATA, CMDLINE, LIST_END }, "cmdline:" },
		{ 4, { KERNEL, KERNEL, CMDLINE, METADATA, LIST_END }, "kernel:" },
		{ 4, { KERNEL, CMDLINE, METADATA, RAMDISK, KERNEL, LIST_END }, "kernel:" },
		{ 4, { KERNEL, CMDLINE, METADATA, SIGNATURE, SIGNATURE, LIST_END }, "signature: must be the last" },
		{ 4, { KERNEL, CMDLINE, METADATA, SIGNATURE, RAMDISK, LIST_END }, "signature: must be the last" },
		{ 4, { KERNEL, CMDLINE, METADATA, RAMDISK, SIGNATURE, LIST_END }, "signature: not a CBOR" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b;

		make(&b, rows[i].version, rows[i].types);
		if (rows[i].rule == NULL)
			assert_good(span_buf(&b));
		else
			assert_broken(span_buf(&b), rows[i].rule);
		buf_clear(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
