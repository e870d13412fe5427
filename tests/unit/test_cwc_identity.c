/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <string.h>

static void expect_id(struct span environment, struct span sid, struct span office, const char *expected)
{
	char id[CWC_DELIVERY_ID_SIZE];

	cwc_delivery_id(environment, sid, office, id);
	assert_string_equal(id, expected);
}

/* The expected values are from another implementation of BLAKE2b (Python's hashlib). */
static void test_delivery_ids(void **state)
{
	char sid[255];

	(void)state;
	memset(sid, 'x', sizeof(sid));
	expect_id(span_lit("production"), span_lit("sub-1"), span_lit("HNE03"), "5ad29432a0385c11dc1628226166ef15");
	expect_id(span_lit("sandbox"), span_lit("sub-1"), span_lit("HNE03"), "ef348fad3e22101e1928c68ebbc322ab");
	expect_id(span_lit("production"), span_lit("sub-1"), span_lit("SNE02"), "b8b58b94d60a946854239ff3de1cf056");
	expect_id(span_of(NULL, 0), span_lit(""), span_lit(""), "06e6c9e559f75f4e78d7bb19d2cffe65");
	expect_id(span_lit("production"), span_of(sid, sizeof(sid)), span_lit("HNE03"),
		  "71661552ad8ea16c2a14d89f5fe659db");
}

static void test_parts_do_not_run_together(void **state)
{
	char a[CWC_DELIVERY_ID_SIZE], b[CWC_DELIVERY_ID_SIZE];

	(void)state;
	cwc_delivery_id(span_lit("ab"), span_lit("c"), span_lit("HNE03"), a);
	cwc_delivery_id(span_lit("a"), span_lit("bc"), span_lit("HNE03"), b);
	assert_string_not_equal(a, b);
}

static void expect_at(int64_t unix_s, int offset, const char *date)
{
	char got[CWC_DATE_SIZE];

	assert_int_equal(cwc_eastern_offset(unix_s), offset);
	cwc_eastern_date(unix_s, got);
	assert_string_equal(got, date);
}

static void test_both_changes_of_every_year(void **state)
{
	static const struct {
		int64_t begin, end;
		const char *begin_date, *end_date;
	} years[] = {
		{ 1710054000, 1730613600, "20240310", "20241103" }, { 1741503600, 1762063200, "20250309", "20251102" },
		{ 1772953200, 1793512800, "20260308", "20261101" }, { 1805007600, 1825567200, "20270314", "20271107" },
		{ 1836457200, 1857016800, "20280312", "20281105" }, { 1867906800, 1888466400, "20290311", "20291104" },
		{ 1899356400, 1919916000, "20300310", "20301103" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(years) / sizeof(years[0]); i++) {
		expect_at(years[i].begin - 1, -18000, years[i].begin_date);
		expect_at(years[i].begin, -14400, years[i].begin_date);
		expect_at(years[i].end - 1, -14400, years[i].end_date);
		expect_at(years[i].end, -18000, years[i].end_date);
	}
}

static void test_midnight_in_washington(void **state)
{
	(void)state;
	expect_at(1772427845, -18000, "20260302"); /* 2026-03-02T05:04:05Z */
	expect_at(1772427599, -18000, "20260301"); /* 2026-03-02T04:59:59Z */
	expect_at(1772427600, -18000, "20260302");
	expect_at(1782878399, -14400, "20260630"); /* 2026-07-01T03:59:59Z */
	expect_at(1782878400, -14400, "20260701");
	expect_at(1798779599, -18000, "20261231"); /* 2027-01-01T04:59:59Z */
	expect_at(1798779600, -18000, "20270101");
	expect_at(1709182800, -18000, "20240229");
}

static void test_far_from_today(void **state)
{
	(void)state;
	expect_at(0, -18000, "19691231");
	expect_at(-1, -18000, "19691231");
	expect_at(253402300799 - 18000, -18000, "99991231");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivery_ids),
		cmocka_unit_test(test_parts_do_not_run_together),
		cmocka_unit_test(test_both_changes_of_every_year),
		cmocka_unit_test(test_midnight_in_washington),
		cmocka_unit_test(test_far_from_today),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
