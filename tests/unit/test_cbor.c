/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/cbor_hex.h"

/* RFC 8949 appendix A. */
static const struct {
	const char *hex;
	uint64_t value;
} uints[] = {
	{ "00", 0 },
	{ "01", 1 },
	{ "0a", 10 },
	{ "17", 23 },
	{ "1818", 24 },
	{ "1819", 25 },
	{ "1864", 100 },
	{ "18ff", 255 },
	{ "190100", 256 },
	{ "1903e8", 1000 },
	{ "19ffff", 65535 },
	{ "1a00010000", 65536 },
	{ "1a000f4240", 1000000 },
	{ "1affffffff", 4294967295 },
	{ "1b0000000100000000", 4294967296 },
	{ "1b000000e8d4a51000", 1000000000000 },
	{ "1bffffffffffffffff", UINT64_MAX },
};

static const struct {
	const char *hex;
	int64_t value;
} ints[] = {
	{ "00", 0 },
	{ "1903e8", 1000 },
	{ "1b7fffffffffffffff", INT64_MAX },
	{ "20", -1 },
	{ "29", -10 },
	{ "37", -24 },
	{ "3818", -25 },
	{ "3863", -100 },
	{ "3903e7", -1000 },
	{ "3a00010000", -65537 },
	{ "3b7fffffffffffffff", INT64_MIN },
};

static void test_uints(void **state)
{
	struct buf b;
	char hex[32];

	(void)state;
	buf_init(&b, 9);
	for (size_t i = 0; i < COUNT(uints); i++) {
		struct bytes in = open_hex(uints[i].hex);

		assert_int_equal(cbor_peek(&in.c), CBOR_UINT);
		assert_true(cbor_read_uint(&in.c) == uints[i].value);
		close_hex(&in, ERR_OK);
		buf_reset(&b);
		cbor_add_uint(&b, uints[i].value);
		text_hex(span_buf(&b), hex);
		assert_string_equal(hex, uints[i].hex);
	}
	buf_clear(&b);
}

static void test_ints(void **state)
{
	struct buf b;
	char hex[32];

	(void)state;
	buf_init(&b, 9);
	for (size_t i = 0; i < COUNT(ints); i++) {
		struct bytes in = open_hex(ints[i].hex);

		assert_int_equal(cbor_peek(&in.c), ints[i].value < 0 ? CBOR_NINT : CBOR_UINT);
		assert_true(cbor_read_int(&in.c) == ints[i].value);
		close_hex(&in, ERR_OK);
		buf_reset(&b);
		cbor_add_int(&b, ints[i].value);
		text_hex(span_buf(&b), hex);
		assert_string_equal(hex, ints[i].hex);
	}
	buf_clear(&b);
}

static void test_simple_values(void **state)
{
	struct bytes in = open_hex("f4f5f6");
	struct buf b;

	(void)state;
	assert_int_equal(cbor_peek(&in.c), CBOR_BOOL);
	assert_false(cbor_read_bool(&in.c));
	assert_int_equal(cbor_peek(&in.c), CBOR_BOOL);
	assert_true(cbor_read_bool(&in.c));
	assert_int_equal(cbor_peek(&in.c), CBOR_NULL);
	cbor_read_null(&in.c);
	assert_int_equal(cbor_peek(&in.c), CBOR_NONE);
	buf_init(&b, 3);
	cbor_add_bool(&b, false);
	cbor_add_bool(&b, true);
	cbor_add_null(&b);
	assert_true(span_eq(span_buf(&b), in.c.in));
	buf_clear(&b);
	close_hex(&in, ERR_OK);

	in = open_hex("f6");
	assert_false(cbor_read_bool(&in.c));
	close_hex(&in, ERR_SYNTAX);
	in = open_hex("f4");
	cbor_read_null(&in.c);
	close_hex(&in, ERR_SYNTAX);
}

static void test_strings(void **state)
{
	static const struct {
		const char *hex;
		const char *value;
		bool text;
	} v[] = {
		{ "40", "", false },
		{ "4401020304", "\x01\x02\x03\x04", false },
		{ "42c328", "\xc3\x28", false },
		{ "60", "", true },
		{ "6161", "a", true },
		{ "6449455446", "IETF", true },
		{ "62225c", "\"\\", true },
		{ "62c3bc", "\xc3\xbc", true },
		{ "63e6b0b4", "\xe6\xb0\xb4", true },
		{ "64f0908591", "\xf0\x90\x85\x91", true },
		{ "7818616161616161616161616161616161616161616161616161", "aaaaaaaaaaaaaaaaaaaaaaaa", true },
	};
	struct buf b;
	struct span s;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(v); i++) {
		struct bytes in = open_hex(v[i].hex);

		assert_int_equal(cbor_peek(&in.c), v[i].text ? CBOR_TEXT : CBOR_BYTES);
		s = v[i].text ? cbor_read_text(&in.c, 24) : cbor_read_bytes(&in.c, 24);
		assert_non_null(s.p);
		assert_true(span_eq_str(s, v[i].value));
		buf_reset(&b);
		if (v[i].text)
			cbor_add_str(&b, v[i].value);
		else
			cbor_add_bytes(&b, s);
		assert_true(span_eq(span_buf(&b), in.c.in));
		close_hex(&in, ERR_OK);
	}
	buf_clear(&b);
}

static void test_arrays(void **state)
{
	struct bytes in = open_hex("8301820203820405"); /* [1, [2, 3], [4, 5]] */
	uint8_t memory[16];
	struct buf b = { .p = memory, .cap = sizeof(memory), .max = sizeof(memory) };

	(void)state;
	assert_int_equal(cbor_peek(&in.c), CBOR_ARRAY);
	assert_int_equal(cbor_read_array(&in.c, 3), 3);
	assert_int_equal(cbor_read_uint(&in.c), 1);
	assert_int_equal(cbor_read_array(&in.c, 3), 2);
	assert_int_equal(cbor_read_uint(&in.c), 2);
	assert_int_equal(cbor_done(&in.c), ERR_SYNTAX); /* not yet */
	assert_int_equal(cbor_read_uint(&in.c), 3);
	assert_int_equal(cbor_read_array(&in.c, 2), 2);
	assert_int_equal(cbor_read_uint(&in.c), 4);
	assert_int_equal(cbor_read_uint(&in.c), 5);
	close_hex(&in, ERR_OK);

	in = open_hex("80");
	assert_int_equal(cbor_read_array(&in.c, 0), 0);
	close_hex(&in, ERR_OK);
	in = open_hex("8301820203820405");
	assert_int_equal(cbor_read_array(&in.c, 2), 0);
	close_hex(&in, ERR_SYNTAX);

	cbor_add_array(&b, 25);
	cbor_add_map(&b, 2);
	cbor_add_tag(&b, 18);
	cbor_add_tag(&b, 32);
	assert_memory_equal(memory, "\x98\x19\xa2\xd2\xd8\x20", 6);
	assert_int_equal(b.n, 6);
}

static void test_tags(void **state)
{
	struct bytes in = open_hex("c11a514b67b0");

	(void)state;
	assert_int_equal(cbor_peek(&in.c), CBOR_TAG);
	assert_int_equal(cbor_read_tag(&in.c), 1);
	assert_int_equal(cbor_read_uint(&in.c), 1363896240);
	close_hex(&in, ERR_OK);
	in = open_hex("d82045646e69766f");
	assert_int_equal(cbor_read_tag(&in.c), 32);
	assert_int_equal(cbor_read_bytes(&in.c, 5).n, 5);
	close_hex(&in, ERR_OK);
}

static void test_map_keys(void **state)
{
	/* {"a": 1, "b": [2, 3], "aa": null}: by encoded bytes, so that the shorter key comes first */
	struct bytes in = open_hex("a361610161628202036261"
				   "61f6");
	struct cbor_map m = cbor_read_map(&in.c, 3);
	struct span key;

	(void)state;
	assert_true(cbor_read_key(&in.c, &m, &key));
	assert_true(span_eq_str(key, "a"));
	assert_int_equal(cbor_read_uint(&in.c), 1);
	assert_true(cbor_read_key(&in.c, &m, &key));
	assert_true(span_eq_str(key, "b"));
	assert_int_equal(cbor_skip(&in.c).n, 3);
	assert_true(cbor_read_key(&in.c, &m, &key));
	assert_true(span_eq_str(key, "aa"));
	cbor_read_null(&in.c);
	assert_false(cbor_read_key(&in.c, &m, &key));
	assert_null(key.p);
	close_hex(&in, ERR_OK);
}

static void test_map_labels(void **state)
{
	struct bytes in = open_hex("a40100182002200338ff04"); /* {1: 0, 32: 2, -1: 3, -256: 4} */
	struct cbor_map m = cbor_read_map(&in.c, 4);
	static const int64_t expect[] = { 1, 32, -1, -256 };
	int64_t label;

	(void)state;
	for (size_t i = 0; i < COUNT(expect); i++) {
		assert_true(cbor_read_label(&in.c, &m, &label));
		assert_true(label == expect[i]);
		(void)cbor_read_uint(&in.c);
	}
	assert_false(cbor_read_label(&in.c, &m, &label));
	close_hex(&in, ERR_OK);
}

static void test_appending_needs_no_spare_room(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	cbor_add_array(&b, 2);
	cbor_add_text(&b, span_lit("ab"));
	cbor_add_uint(&b, 7);
	assert_int_equal(buf_ok(&b), ERR_OK);
	assert_int_equal(b.n, 5);
	cbor_add_null(&b);
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uints),
		cmocka_unit_test(test_ints),
		cmocka_unit_test(test_simple_values),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_map_keys),
		cmocka_unit_test(test_map_labels),
		cmocka_unit_test(test_appending_needs_no_spare_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
