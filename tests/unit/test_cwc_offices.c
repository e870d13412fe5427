/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cwc_offices list;

static enum err parse(enum cwc_chamber chamber, const char *json)
{
	return cwc_offices_parse(chamber, span_str(json), &list);
}

static void test_codes(void **state)
{
	static const char *const house[] = { "HNE03", "HAK00", "HCA52", "HDC98", "HDC00", "HPR00",
					     "HGU00", "HVI00", "HMP00", "HAQ00", "HWY99" };
	static const char *const senate[] = { "SNE01", "SNE02", "SNE03", "SWY01", "SAL03" };
	enum cwc_chamber c = CWC_CHAMBERS;

	(void)state;
	for (size_t i = 0; i < sizeof(house) / sizeof(house[0]); i++) {
		assert_int_equal(cwc_office_parse(span_str(house[i]), &c), ERR_OK);
		assert_int_equal(c, CWC_HOUSE);
	}
	for (size_t i = 0; i < sizeof(senate) / sizeof(senate[0]); i++) {
		assert_int_equal(cwc_office_parse(span_str(senate[i]), &c), ERR_OK);
		assert_int_equal(c, CWC_SENATE);
	}
}

static void test_what_is_no_code(void **state)
{
	static const char *const others[] = { "",      "H",     "HNE3",  "HNE033", "hNE03", "HNe03", "HXX03",
					      "HAS00", "HNE0a", "HNE0/", "HNE:0",  "MP00",  "HMP0",  "SNE00",
					      "SNE04", "SNE11", "SNE21", "SDC01",  "SPR01", "SAS01", "SAQ01",
					      "sNE01", "XNE01", " HNE0", "SNE13" };
	enum cwc_chamber c = CWC_CHAMBERS;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(cwc_office_parse(span_str(others[i]), &c), ERR_SYNTAX);
	assert_int_equal(cwc_office_parse(span_of(NULL, 0), &c), ERR_SYNTAX);
	assert_int_equal(c, CWC_CHAMBERS);
}

static void test_a_house_list(void **state)
{
	(void)state;
	assert_int_equal(parse(CWC_HOUSE, "[\"HNE03\", \"HAK00\", \"MP00\", \"HNE03\", \"HAS00\", \"SNE01\", 7, null, "
					  "{\"office_code\": \"HNE01\"}, \"HAQ00\"]"),
			 ERR_OK);
	assert_int_equal(list.n, 3);
	assert_int_equal(list.ignored, 6);
	assert_string_equal(list.code[0], "HAK00");
	assert_string_equal(list.code[1], "HAQ00");
	assert_string_equal(list.code[2], "HNE03");
	assert_true(cwc_offices_have(&list, span_lit("HAK00")));
	assert_true(cwc_offices_have(&list, span_lit("HNE03")));
	assert_false(cwc_offices_have(&list, span_lit("HNE01")));
	assert_false(cwc_offices_have(&list, span_lit("HAA00")));
	assert_false(cwc_offices_have(&list, span_lit("HZZ00")));
	assert_false(cwc_offices_have(&list, span_lit("HNE0")));
	assert_false(cwc_offices_have(&list, span_lit("HNE033")));
	assert_false(cwc_offices_have(&list, span_lit("")));
}

static void test_a_senate_list(void **state)
{
	(void)state;
	assert_int_equal(parse(CWC_SENATE,
			       "[{\"name\": \"A B [bioguide_id: X000000]\", \"office_code\": \"SNE02\"},\n"
			       " {\"office_code\": \"SAL03\", \"office_code\": \"SAL02\"}, \"SNE01\",\n"
			       " {\"name\": \"C\"}, {\"office_code\": 5}, {\"office_code\": \"SNE00\"}, [],\n"
			       " {\"office_code\": \"HNE03\"}]"),
			 ERR_OK);
	assert_int_equal(list.n, 2);
	assert_int_equal(list.ignored, 6);
	assert_string_equal(list.code[0], "SAL02");
	assert_true(cwc_offices_have(&list, span_lit("SNE02")));
}

static void test_what_is_no_list(void **state)
{
	static const char *const others[] = { "",           "{}",
					      "\"HNE03\"",  "7",
					      "[\"HNE03\"", "[\"HNE03\"] x",
					      "<html/>",    "{\"offices\": [\"HNE03\"]}",
					      "[\"\xff\"]", "[\"HNE03\",]" };

	(void)state;
	memset(&list, 0x5a, sizeof(list));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(parse(CWC_HOUSE, others[i]), ERR_SYNTAX);
	assert_int_equal(cwc_offices_parse(CWC_HOUSE, span_of(NULL, 0), &list), ERR_SYNTAX);
	assert_int_equal(list.code[0][0], 0x5a);
}

static void test_an_empty_list_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse(CWC_HOUSE, "[]"), ERR_RANGE);
	assert_int_equal(parse(CWC_HOUSE, "[\"MP00\", {}]"), ERR_RANGE);
	assert_int_equal(parse(CWC_SENATE, "[\"SNE01\"]"), ERR_RANGE);
}

/* n different codes, then blanks up to `size`. */
static enum err parse_many(size_t n, size_t size)
{
	static const char *const states[] = { "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI" };
	char *json = xmalloc(size + 1), *p = json;

	p += snprintf(p, size, "[\"x\"");
	for (size_t i = 0; i < n; i++)
		p += snprintf(p, size - (size_t)(p - json), ",\"H%s%02u\"", states[i / 100],
			      (unsigned)((i * 37) % 100));
	*p++ = ']';
	memset(p, ' ', size - (size_t)(p - json));
	enum err e = cwc_offices_parse(CWC_HOUSE, span_of(json, size), &list);

	free(json);
	return e;
}

static void test_limits(void **state)
{
	size_t max = (size_t)256 * 1024;

	(void)state;
	assert_int_equal(parse_many(CWC_OFFICES_MAX, max), ERR_OK);
	assert_int_equal(list.n, CWC_OFFICES_MAX);
	for (size_t i = 1; i < list.n; i++)
		assert_true(strcmp(list.code[i - 1], list.code[i]) < 0);
	assert_int_equal(parse_many(CWC_OFFICES_MAX + 1, max), ERR_LIMIT);
	assert_int_equal(parse_many(10, max + 1), ERR_LIMIT);
}

/* A nest of arrays ends at the parser's own depth, not at the stack's. */
static void test_a_deep_nest(void **state)
{
	size_t n = 200000;
	char *json = xmalloc(n);

	(void)state;
	memset(json, '[', n);
	assert_int_equal(cwc_offices_parse(CWC_HOUSE, span_of(json, n), &list), ERR_SYNTAX);
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),           cmocka_unit_test(test_what_is_no_code),
		cmocka_unit_test(test_a_house_list),    cmocka_unit_test(test_a_senate_list),
		cmocka_unit_test(test_what_is_no_list), cmocka_unit_test(test_an_empty_list_is_refused),
		cmocka_unit_test(test_limits),          cmocka_unit_test(test_a_deep_nest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
