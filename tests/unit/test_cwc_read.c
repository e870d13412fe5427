/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <string.h>

#include "worker/base/cbor.h"

static struct buf map;
static struct cwc_letter letter;
static enum cwc_field blamed;

static int setup(void **state)
{
	(void)state;
	buf_init(&map, (size_t)1 << 20);
	cwc_letter_init(&letter);
	blamed = CWC_ZIP;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_clear(&map);
	return 0;
}

static void add_pair(const char *name, const char *text)
{
	cbor_add_str(&map, name);
	cbor_add_str(&map, text);
}

static enum err read_map(bool clear)
{
	return cwc_letter_read(span_buf(&map), clear, &letter, &blamed);
}

/* A map of one text. */
static enum err read_one(const char *name, const char *text, bool clear)
{
	buf_reset(&map);
	cbor_add_map(&map, 1);
	add_pair(name, text);
	return read_map(clear);
}

/* Keys stand in the order of their encoded forms: shorter ones first. */
static void test_a_letter_is_read(void **state)
{
	(void)state;
	cbor_add_map(&map, 6);
	add_pair("Zip", "69153");
	add_pair("City", "");
	cbor_add_str(&map, "Bills");
	cbor_add_array(&map, 2);
	cbor_add_map(&map, 3);
	add_pair("BillNumber", "9999");
	add_pair("BillCongress", "119");
	add_pair("BillTypeAbbreviation", "hr");
	cbor_add_map(&map, 1);
	add_pair("BillNumber", "1");
	add_pair("Phone", "(217) 555-0100");
	add_pair("Subject", "Please");
	cbor_add_str(&map, "LibraryOfCongressTopics");
	cbor_add_array(&map, 2);
	cbor_add_str(&map, "Law");
	cbor_add_str(&map, "Health");
	assert_int_equal(read_map(false), ERR_OK);
	assert_int_equal(blamed, CWC_FIELD_COUNT);
	assert_true(span_eq_str(letter.v[CWC_ZIP], "69153"));
	assert_null(letter.v[CWC_CITY].p);
	assert_true(span_eq_str(letter.v[CWC_PHONE], "217-555-0100"));
	assert_int_equal(letter.n_bills, 2);
	assert_true(span_eq_str(letter.bill[0].congress, "119"));
	assert_true(span_eq_str(letter.bill[0].type, "hr"));
	assert_true(span_eq_str(letter.bill[0].number, "9999"));
	assert_null(letter.bill[1].type.p);
	assert_int_equal(letter.n_topics, 2);
	assert_true(span_eq_str(letter.topic[1], "Health"));
	/* The views point into the map. */
	assert_true(letter.v[CWC_ZIP].p > map.p && letter.v[CWC_ZIP].p < map.p + map.n);
}

static void test_an_empty_map_is_a_letter(void **state)
{
	(void)state;
	cbor_add_map(&map, 0);
	assert_int_equal(read_map(true), ERR_OK);
	assert_int_equal(blamed, CWC_FIELD_COUNT);
}

static void test_who_may_set_what(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		enum cwc_field f = (enum cwc_field)i;
		enum cwc_source source = cwc_field_source(f);
		enum err sealed = ERR_OK, clear = ERR_OK;

		if (f == CWC_TOPICS || f == CWC_BILLS)
			continue;
		if (source == CWC_FROM_WORKER)
			sealed = clear = ERR_LETTER_FIELD_RESERVED;
		if (source == CWC_FROM_PERSON && f != CWC_PREFIX)
			clear = ERR_LETTER_FIELD_PERSONAL;
		cwc_letter_init(&letter);
		assert_int_equal(read_one(cwc_field_name(f), "x", false), sealed);
		assert_int_equal(blamed, sealed == ERR_OK ? CWC_FIELD_COUNT : f);
		cwc_letter_init(&letter);
		assert_int_equal(read_one(cwc_field_name(f), "x", true), clear);
		assert_int_equal(blamed, clear == ERR_OK ? CWC_FIELD_COUNT : f);
	}
	assert_int_equal(read_one("CWCVersion", "2.0", false), ERR_LETTER_FIELD_RESERVED);
	assert_int_equal(blamed, CWC_FIELD_COUNT);
}

static void test_unknown_names(void **state)
{
	(void)state;
	assert_int_equal(read_one("zip", "69153", false), ERR_LETTER_FIELD_UNKNOWN);
	assert_int_equal(blamed, CWC_FIELD_COUNT);
	assert_int_equal(read_one("Constituent", "69153", false), ERR_LETTER_FIELD_UNKNOWN);
	buf_reset(&map);
	cbor_add_map(&map, 1);
	cbor_add_str(&map, "Bills");
	cbor_add_array(&map, 1);
	cbor_add_map(&map, 1);
	add_pair("BillTitle", "x");
	assert_int_equal(read_map(false), ERR_LETTER_FIELD_UNKNOWN);
	assert_int_equal(blamed, CWC_BILLS);
}

static void add_wrong(unsigned which)
{
	switch (which) {
	case 0:
		cbor_add_uint(&map, 119);
		break;
	case 1:
		cbor_add_int(&map, -1);
		break;
	case 2:
		cbor_add_bytes(&map, span_lit("x"));
		break;
	case 3:
		cbor_add_bool(&map, true);
		break;
	case 4:
		cbor_add_null(&map);
		break;
	default:
		cbor_add_tag(&map, 1);
		cbor_add_str(&map, "x");
		break;
	}
}

static void expect_type_error(enum cwc_field f)
{
	assert_int_equal(read_map(false), ERR_LETTER_FIELD_TYPE);
	assert_int_equal(blamed, f);
	buf_reset(&map);
	cwc_letter_init(&letter);
}

static void test_wrong_types(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 6; which++) {
		static const struct {
			const char *name;
			enum cwc_field field;
			unsigned arrays, maps;
		} places[] = {
			{ "Zip", CWC_ZIP, 0, 0 },
			{ "LibraryOfCongressTopics", CWC_TOPICS, 0, 0 },
			{ "LibraryOfCongressTopics", CWC_TOPICS, 1, 0 },
			{ "Bills", CWC_BILLS, 0, 0 },
			{ "Bills", CWC_BILLS, 1, 0 },
			{ "Bills", CWC_BILLS, 1, 1 },
		};

		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			cbor_add_map(&map, 1);
			cbor_add_str(&map, places[i].name);
			if (places[i].arrays > 0)
				cbor_add_array(&map, 1);
			if (places[i].maps > 0) {
				cbor_add_map(&map, 1);
				cbor_add_str(&map, "BillCongress");
			}
			add_wrong(which);
			expect_type_error(places[i].field);
		}
	}
	cbor_add_map(&map, 1);
	cbor_add_str(&map, "City");
	cbor_add_array(&map, 0);
	expect_type_error(CWC_CITY);
}

static void test_an_element_in_both_parts(void **state)
{
	(void)state;
	assert_int_equal(read_one("Subject", "Please", true), ERR_OK);
	assert_int_equal(read_one("Subject", "", false), ERR_OK);
	assert_int_equal(read_one("Subject", "Please", false), ERR_LETTER_FIELD_TWICE);
	assert_int_equal(blamed, CWC_SUBJECT);
}

static enum err read_list(const char *name, size_t n)
{
	buf_reset(&map);
	cbor_add_map(&map, 1);
	cbor_add_str(&map, name);
	cbor_add_array(&map, n);
	for (size_t i = 0; i < n; i++) {
		if (name[0] == 'B')
			cbor_add_map(&map, 0);
		else
			cbor_add_str(&map, "Law");
	}
	return read_map(true);
}

static void test_a_list_in_both_parts(void **state)
{
	(void)state;
	assert_int_equal(read_list("LibraryOfCongressTopics", 1), ERR_OK);
	assert_int_equal(read_list("LibraryOfCongressTopics", 0), ERR_OK);
	assert_int_equal(read_list("LibraryOfCongressTopics", 1), ERR_LETTER_FIELD_TWICE);
	assert_int_equal(blamed, CWC_TOPICS);
	assert_int_equal(read_list("Bills", 1), ERR_OK);
	assert_int_equal(read_list("Bills", 1), ERR_LETTER_FIELD_TWICE);
	assert_int_equal(blamed, CWC_BILLS);
}

/* What is beyond the ceiling is cut to one entry too many, which cwc_validate() reports. */
static void test_long_lists(void **state)
{
	struct cwc_problems p;

	(void)state;
	assert_int_equal(read_list("LibraryOfCongressTopics", 200), ERR_OK);
	assert_int_equal(letter.n_topics, CWC_TOPICS_MAX + 1);
	assert_int_equal(read_list("Bills", 256), ERR_OK);
	assert_int_equal(letter.n_bills, CWC_BILLS_MAX + 1);
	assert_int_equal(cwc_validate(&letter, CWC_HOUSE, &p), ERR_LETTER_INVALID);
	cwc_letter_init(&letter);
	assert_int_equal(read_list("LibraryOfCongressTopics", 257), ERR_LETTER_SYNTAX);
}

static void expect_syntax_error(struct span bytes)
{
	cwc_letter_init(&letter);
	assert_int_equal(cwc_letter_read(bytes, false, &letter, &blamed), ERR_LETTER_SYNTAX);
}

static void test_malformed_maps(void **state)
{
	(void)state;
	expect_syntax_error(span_of(NULL, 0));
	expect_syntax_error(span_lit("\x80"));        /* an array */
	expect_syntax_error(span_lit("\xa0\x00"));    /* a byte too many */
	expect_syntax_error(span_lit("\xa1"));        /* cut */
	expect_syntax_error(span_lit("\xa1\x63Zip")); /* cut */
	assert_int_equal(blamed, CWC_ZIP);
	expect_syntax_error(span_lit("\xa1\x63Zip\x65"
				     "6915"));                    /* cut */
	expect_syntax_error(span_lit("\xa1\x63Zip\xf9\x3c\x00")); /* a float */
	expect_syntax_error(span_lit("\xbf\x63Zip\x61"
				     "1\xff")); /* indefinite length */
	expect_syntax_error(span_lit("\xa1\x63Zip\x78\x01"
				     "1"));                   /* head too long */
	expect_syntax_error(span_lit("\xa1\x63Zip\x61\xff")); /* no UTF-8 */
	expect_syntax_error(span_lit("\xa2\x63Zip\x61"
				     "1\x63Zip\x61"
				     "1")); /* a key twice */
	expect_syntax_error(span_lit("\xa2\x64"
				     "City\x61"
				     "1\x63Zip\x61"
				     "1")); /* keys out of order */
	expect_syntax_error(span_lit("\xa1\x00\x61"
				     "1")); /* a key that is no text */
	expect_syntax_error(span_lit("\xa1\x65"
				     "Bills\x81\xa1\x00\x61"
				     "1"));
	expect_syntax_error(span_lit("\xa1\x65"
				     "Bills\x81\xb8\x40"));
	expect_syntax_error(span_lit("\xb8\x41")); /* 65 pairs */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_letter_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_empty_map_is_a_letter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_may_set_what, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_element_in_both_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_list_in_both_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed_maps, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
