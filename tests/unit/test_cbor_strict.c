/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the reader refuses: every form that is not the deterministic one, and everything out of bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/cbor_hex.h"

static void test_ints_outside_of_int64(void **state)
{
	static const char bad[] = "1b8000000000000000 1bffffffffffffffff 3b8000000000000000 "
				  "3bffffffffffffffff 40 f4";
	char hex[HEX_WORD];

	(void)state;
	for (const char *at = bad; next_word(&at, hex);) {
		struct bytes in = open_hex(hex);

		assert_true(cbor_read_int(&in.c) == 0);
		close_hex(&in, ERR_SYNTAX);
	}
}

static void test_strings_are_bounded(void **state)
{
	struct bytes in = open_hex("4401020304");
	struct span s = cbor_read_bytes(&in.c, 3);

	(void)state;
	assert_null(s.p);
	assert_int_equal(s.n, 0);
	close_hex(&in, ERR_SYNTAX);
	in = open_hex("6449455446");
	s = cbor_read_text(&in.c, 3);
	assert_null(s.p);
	close_hex(&in, ERR_SYNTAX);
	in = open_hex("6449455446");
	s = cbor_read_bytes(&in.c, 10);
	assert_null(s.p);
	close_hex(&in, ERR_SYNTAX);
	in = open_hex("4401020304");
	s = cbor_read_text(&in.c, 10);
	assert_null(s.p);
	close_hex(&in, ERR_SYNTAX);
}

static void test_text_is_utf8(void **state)
{
	static const char bad[] = "61ff 62c328 63eda080 62c080 64f4908080 61c3";
	char hex[HEX_WORD];

	(void)state;
	for (const char *at = bad; next_word(&at, hex);) {
		struct bytes in = open_hex(hex);
		struct span s = cbor_read_text(&in.c, 10);

		assert_null(s.p);
		close_hex(&in, ERR_SYNTAX);
		in = open_hex(hex);
		assert_null(cbor_skip(&in.c).p);
		close_hex(&in, ERR_SYNTAX);
	}
}

static enum err read_keys(const char *hex)
{
	struct bytes in = open_hex(hex);
	struct cbor_map m = cbor_read_map(&in.c, 10);
	struct span key;
	enum err e;

	while (cbor_read_key(&in.c, &m, &key))
		(void)cbor_read_uint(&in.c);
	e = cbor_done(&in.c);
	close_hex(&in, e);
	return e;
}

static enum err read_labels(const char *hex)
{
	struct bytes in = open_hex(hex);
	struct cbor_map m = cbor_read_map(&in.c, 10);
	int64_t label;
	enum err e;

	while (cbor_read_label(&in.c, &m, &label))
		(void)cbor_read_uint(&in.c);
	e = cbor_done(&in.c);
	close_hex(&in, e);
	return e;
}

static void test_map_order(void **state)
{
	static const struct {
		const char *hex;
		enum err keys, skip;
	} v[] = {
		{ "a0", ERR_OK, ERR_OK },
		{ "a2616101616202", ERR_OK, ERR_OK },
		{ "a2616201616102", ERR_SYNTAX, ERR_SYNTAX },       /* unsorted */
		{ "a2616101616102", ERR_SYNTAX, ERR_SYNTAX },       /* twice */
		{ "a262616101616201", ERR_SYNTAX, ERR_SYNTAX },     /* longer before shorter */
		{ "a361610161630161620a", ERR_SYNTAX, ERR_SYNTAX }, /* the last one */
		{ "a3616101616201616102", ERR_SYNTAX, ERR_SYNTAX }, /* twice, not side by side */
		{ "a26061016101", ERR_SYNTAX, ERR_SYNTAX },         /* a value is missing */
		{ "a260006161", ERR_SYNTAX, ERR_SYNTAX },           /* cut off */
		{ "a2600a616161", ERR_SYNTAX, ERR_SYNTAX },         /* the value is cut off */
		{ "a1", ERR_SYNTAX, ERR_SYNTAX },
		{ "a10102", ERR_SYNTAX, ERR_OK },         /* an integer where a text must be */
		{ "a1f502", ERR_SYNTAX, ERR_OK },         /* any type may be a key when skipped */
		{ "a161ff01", ERR_SYNTAX, ERR_SYNTAX },   /* bad UTF-8 */
		{ "a178010161", ERR_SYNTAX, ERR_SYNTAX }, /* not the shortest head */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		assert_int_equal(read_keys(v[i].hex), v[i].keys);
		assert_int_equal(skip_all(v[i].hex), v[i].skip);
	}
}

static void test_labels_order(void **state)
{
	(void)state;
	assert_int_equal(read_labels("a220030100"), ERR_SYNTAX); /* {-1, 1} */
	assert_int_equal(read_labels("a201000100"), ERR_SYNTAX); /* twice */
	assert_int_equal(read_labels("a1616100"), ERR_SYNTAX);   /* a text */
	assert_int_equal(read_labels("a1180100"), ERR_SYNTAX);   /* not the shortest head */
}

/* {key of n times 'f': 5} */
static enum err read_long_key(uint8_t n, bool skip)
{
	uint8_t bytes[80] = { 0xa1, 0x78, n };
	struct cbor c;
	struct cbor_map m;
	struct span key;

	memset(bytes + 3, 'f', n);
	bytes[3 + n] = 5;
	cbor_start(&c, span_of(bytes, 4U + n));
	if (skip) {
		(void)cbor_skip(&c);
		return cbor_done(&c);
	}
	m = cbor_read_map(&c, 1);
	if (cbor_read_key(&c, &m, &key))
		assert_int_equal(cbor_read_uint(&c), 5);
	return cbor_done(&c);
}

static void test_keys_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(read_long_key(64, false), ERR_OK);
	assert_int_equal(read_long_key(65, false), ERR_SYNTAX);
	assert_int_equal(read_long_key(65, true), ERR_OK);
}

static void test_maps_are_bounded(void **state)
{
	struct bytes in = open_hex("a2616101616202");
	struct cbor_map m = cbor_read_map(&in.c, 1);
	struct span key = span_lit("x");

	(void)state;
	assert_int_equal(m.left, 0);
	assert_false(cbor_read_key(&in.c, &m, &key));
	assert_null(key.p);
	close_hex(&in, ERR_SYNTAX);
}

/* The head of this major type with its argument in n bytes; returns its length. */
static size_t put_head(uint8_t *p, unsigned major, uint64_t arg, unsigned info)
{
	size_t n = (size_t)1 << (info - 24);

	p[0] = (uint8_t)(major << 5 | info);
	for (size_t k = 0; k < n; k++)
		p[n - k] = (uint8_t)(arg >> 8 * k);
	return 1 + n;
}

static bool head_passes(unsigned major, uint64_t arg, unsigned info)
{
	uint8_t bytes[9];
	struct cbor c;

	cbor_start(&c, span_of(bytes, put_head(bytes, major, arg, info)));
	if (major == 6)
		assert_true(cbor_read_tag(&c) == (c.bad ? 0 : arg));
	else
		assert_true(cbor_read_int(&c) == (c.bad ? 0 : major == 0 ? (int64_t)arg : -1 - (int64_t)arg));
	return cbor_done(&c) == ERR_OK;
}

static void test_longer_heads_are_refused(void **state)
{
	static const struct {
		uint64_t arg;
		unsigned shortest; /* additional information of the one form that passes; 0: none of these */
	} v[] = {
		{ 0, 0 },       { 23, 0 },       { 24, 24 },         { 0xff, 24 },        { 0x100, 25 },
		{ 0xffff, 25 }, { 0x10000, 26 }, { 0xffffffff, 26 }, { 0x100000000, 27 },
	};
	static const unsigned majors[] = { 0, 1, 6 };

	(void)state;
	for (size_t m = 0; m < COUNT(majors); m++)
		for (size_t i = 0; i < COUNT(v); i++)
			for (unsigned info = v[i].shortest < 24 ? 24 : v[i].shortest; info < 28; info++)
				assert_int_equal(head_passes(majors[m], v[i].arg, info), info == v[i].shortest);
	assert_int_equal(skip_all("580161"), ERR_SYNTAX);
	assert_int_equal(skip_all("780161"), ERR_SYNTAX);
	assert_int_equal(skip_all("980100"), ERR_SYNTAX);
	assert_int_equal(skip_all("b8010000"), ERR_SYNTAX);
	assert_int_equal(skip_all("d81200"), ERR_SYNTAX);
	assert_int_equal(skip_all("f814"), ERR_SYNTAX);
}

/* RFC 8949 appendix A and F: forms that are not read here. */
static void test_other_forms_are_refused(void **state)
{
	static const char bad[] = "5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f0102ff bfff "
				  "bf61610161629f0203ffff ff 1f 3f df00 1c 1d 1e 3c 5c 7c 9c bc dc fc fd fe f7 f0 e0 "
				  "f818 f8ff f90000 f93c00 fa47c35000 fb3ff199999999999a f97e00";
	char hex[HEX_WORD];

	(void)state;
	for (const char *at = bad; next_word(&at, hex);) {
		struct bytes in = open_hex(hex);

		assert_int_equal(cbor_peek(&in.c), CBOR_NONE);
		assert_int_equal(cbor_read_array(&in.c, 10), 0);
		close_hex(&in, ERR_SYNTAX);
		assert_int_equal(skip_all(hex), ERR_SYNTAX);
	}
}

static void test_cut_off_inputs_are_refused(void **state)
{
	/* [18(h'ffee'), {1: "ab", 33: null}, false, -4294967297, 65536] */
	char hex[] = "85d242ffeea2016261621821f6f43b00000001000000001a00010000";

	(void)state;
	assert_int_equal(skip_all(hex), ERR_OK);
	for (size_t n = sizeof(hex) - 1; n > 0; n -= 2) {
		hex[n - 2] = '\0';
		assert_int_equal(skip_all(hex), ERR_SYNTAX);
	}
}

/* Lengths that somebody made up are refused at once: nothing is allocated, nothing loops. */
static void test_huge_lengths_are_refused(void **state)
{
	static const char bad[] = "9bffffffffffffffff 9b7fffffffffffffff00 9a7fffffff00 bbffffffffffffffff "
				  "bb8000000000000000 bb7fffffffffffffff0000 ba10000000 a20000 5bffffffffffffffff "
				  "5b7fffffffffffffff00 5a7fffffff00 7bffffffffffffffff 7affffffff61 4200 6261";
	char hex[HEX_WORD];

	(void)state;
	for (const char *at = bad; next_word(&at, hex);) {
		struct bytes in = open_hex(hex);

		if (cbor_peek(&in.c) == CBOR_ARRAY)
			assert_int_equal(cbor_read_array(&in.c, SIZE_MAX), 0);
		else if (cbor_peek(&in.c) == CBOR_MAP)
			assert_int_equal(cbor_read_map(&in.c, SIZE_MAX).left, 0);
		else if (cbor_peek(&in.c) == CBOR_BYTES)
			assert_null(cbor_read_bytes(&in.c, SIZE_MAX).p);
		else
			assert_null(cbor_read_text(&in.c, SIZE_MAX).p);
		close_hex(&in, ERR_SYNTAX);
		assert_int_equal(skip_all(hex), ERR_SYNTAX);
	}
}

static void test_nesting_is_bounded(void **state)
{
	static uint8_t deep[1000000];
	struct cbor c;

	(void)state;
	assert_int_equal(skip_all("818181818181818100"), ERR_OK); /* 8 arrays */
	assert_int_equal(skip_all("8181818181818180"), ERR_OK);
	assert_int_equal(skip_all("81818181818181818100"), ERR_SYNTAX);
	assert_int_equal(skip_all("818181818181818180"), ERR_SYNTAX);
	assert_int_equal(skip_all("c1c1c1c1c1c1c1c100"), ERR_OK);
	assert_int_equal(skip_all("c1c1c1c1c1c1c1c1c100"), ERR_SYNTAX);
	assert_int_equal(skip_all("a100a100a100a100a100a100a100a10000"), ERR_OK);
	assert_int_equal(skip_all("a100a100a100a100a100a100a100a100a10000"), ERR_SYNTAX);
	assert_int_equal(skip_all("81c1a181c181c181c1000000"), ERR_SYNTAX);
	memset(deep, 0x81, sizeof(deep));
	cbor_start(&c, span_of(deep, sizeof(deep)));
	assert_null(cbor_skip(&c).p);
	assert_int_equal(cbor_done(&c), ERR_SYNTAX);
}

static void test_bytes_behind_the_end_are_refused(void **state)
{
	struct bytes in = open_hex("0000");

	(void)state;
	assert_int_equal(cbor_read_uint(&in.c), 0);
	close_hex(&in, ERR_SYNTAX);
	assert_int_equal(skip_all("8000"), ERR_SYNTAX);
	assert_int_equal(skip_all("f6f6"), ERR_SYNTAX);
	assert_int_equal(skip_all(""), ERR_SYNTAX);
}

static void test_an_error_sticks(void **state)
{
	struct bytes in = open_hex("0105820102a1616101c2420102f5f6");
	struct cbor_map m = { .left = 3 };
	struct span key;
	int64_t label = 5;

	(void)state;
	assert_int_equal(cbor_read_uint(&in.c), 1);
	assert_null(cbor_read_bytes(&in.c, 10).p);
	assert_int_equal(cbor_peek(&in.c), CBOR_NONE);
	assert_int_equal(cbor_read_uint(&in.c), 0);
	assert_true(cbor_read_int(&in.c) == 0);
	assert_int_equal(cbor_read_array(&in.c, 10), 0);
	assert_int_equal(cbor_read_map(&in.c, 10).left, 0);
	assert_int_equal(cbor_read_tag(&in.c), 0);
	assert_null(cbor_read_text(&in.c, 10).p);
	assert_false(cbor_read_bool(&in.c));
	cbor_read_null(&in.c);
	assert_null(cbor_skip(&in.c).p);
	assert_false(cbor_read_key(&in.c, &m, &key));
	assert_false(cbor_read_label(&in.c, &m, &label));
	assert_true(label == 0);
	close_hex(&in, ERR_SYNTAX);

	in = open_hex("00");
	assert_int_equal(cbor_read_uint(&in.c), 0);
	assert_int_equal(cbor_done(&in.c), ERR_OK);
	cbor_fail(&in.c);
	close_hex(&in, ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ints_outside_of_int64),
		cmocka_unit_test(test_strings_are_bounded),
		cmocka_unit_test(test_text_is_utf8),
		cmocka_unit_test(test_map_order),
		cmocka_unit_test(test_labels_order),
		cmocka_unit_test(test_keys_are_bounded),
		cmocka_unit_test(test_maps_are_bounded),
		cmocka_unit_test(test_longer_heads_are_refused),
		cmocka_unit_test(test_other_forms_are_refused),
		cmocka_unit_test(test_cut_off_inputs_are_refused),
		cmocka_unit_test(test_huge_lengths_are_refused),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_bytes_behind_the_end_are_refused),
		cmocka_unit_test(test_an_error_sticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
