/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cwc/windows.h"
#include "worker/base/text.h"

#define HOUSE  "daily 00:00-06:00"
#define SENATE "sun 00:00-06:00, wed 05:00-07:00"

static struct cwc_windows windows(const char *text)
{
	struct cwc_windows w;
	assert_int_equal(cwc_windows_parse(span_str(text), &w), ERR_OK);
	return w;
}

static int64_t at(const char *time)
{
	int64_t t;
	assert_int_equal(text_parse_time(span_str(time), &t), ERR_OK);
	return t;
}

/* end NULL: outside. */
static void expect(const char *text, const char *time, const char *end)
{
	struct cwc_windows w = windows(text);
	int64_t found = -1;
	bool in = cwc_windows_inside(&w, at(time), &found);
	assert_int_equal(in, end != NULL);
	if (end != NULL)
		assert_int_equal(found, at(end));
}

static void house_is_away_every_night(void **state)
{
	(void)state;
	expect(HOUSE, "2026-01-15T04:59:59Z", NULL);
	expect(HOUSE, "2026-01-15T05:00:00Z", "2026-01-15T11:00:00Z");
	expect(HOUSE, "2026-01-15T10:59:59Z", "2026-01-15T11:00:00Z");
	expect(HOUSE, "2026-01-15T11:00:00Z", NULL);
	expect(HOUSE, "2026-07-15T04:00:00Z", "2026-07-15T10:00:00Z");
}

static void senate_on_its_days(void **state)
{
	(void)state;
	expect(SENATE, "2026-03-01T05:30:00Z", "2026-03-01T11:00:00Z"); /* a Sunday */
	expect(SENATE, "2026-03-02T05:30:00Z", NULL);
	expect(SENATE, "2026-03-04T10:30:00Z", "2026-03-04T12:00:00Z"); /* a Wednesday */
	expect(SENATE, "2026-03-04T12:00:00Z", NULL);
	expect(SENATE, "2026-03-05T10:30:00Z", NULL);
}

/* 2026-03-08: 02:00 EST becomes 03:00 EDT; the night's window is an hour shorter. 2026-11-01: 02:00 EDT becomes 01:00
 * EST; it is an hour longer. */
static void across_daylight_saving_time(void **state)
{
	(void)state;
	expect(HOUSE, "2026-03-08T05:00:00Z", "2026-03-08T10:00:00Z");
	expect(HOUSE, "2026-11-01T04:00:00Z", "2026-11-01T11:00:00Z");
	expect("sun 01:00-02:00", "2026-11-01T05:30:00Z", "2026-11-01T07:00:00Z");
	expect("sun 02:00-03:00", "2026-03-08T07:00:00Z", NULL);
	/* The Senate's window of a Sunday meets both changes; its Wednesday meets none. */
	expect(SENATE, "2026-03-08T04:59:59Z", NULL);
	expect(SENATE, "2026-03-08T05:00:00Z", "2026-03-08T10:00:00Z");
	expect(SENATE, "2026-03-08T09:59:59Z", "2026-03-08T10:00:00Z");
	expect(SENATE, "2026-03-11T09:00:00Z", "2026-03-11T11:00:00Z");
	expect(SENATE, "2026-11-01T03:59:59Z", NULL);
	expect(SENATE, "2026-11-01T04:00:00Z", "2026-11-01T11:00:00Z");
	expect(SENATE, "2026-11-04T10:00:00Z", "2026-11-04T12:00:00Z");
	/* Between the two 01:30 of that night. */
	expect("sun 01:00-01:45", "2026-11-01T05:44:59Z", "2026-11-01T05:45:00Z");
	expect("sun 01:00-01:45", "2026-11-01T05:45:00Z", NULL);
	expect("sun 01:00-01:45", "2026-11-01T06:00:00Z", "2026-11-01T06:45:00Z");
}

/* Saturday is followed by Sunday, December by January. */
static void across_the_week_and_the_year(void **state)
{
	(void)state;
	const char *text = "sat 22:00-24:00, sun 00:00-01:30";
	expect(text, "2026-01-18T02:59:59Z", NULL);
	expect(text, "2026-01-18T03:00:00Z", "2026-01-18T06:30:00Z");
	expect(text, "2026-01-18T06:29:59Z", "2026-01-18T06:30:00Z");
	expect(text, "2026-01-18T06:30:00Z", NULL);
	expect("wed 23:00-24:00,thu 00:00-00:01", "2026-01-01T04:30:00Z", "2026-01-01T05:01:00Z");
	/* The first days of all, on the other side of midnight. */
	expect("wed 19:00-24:00", "1970-01-01T00:00:00Z", "1970-01-01T05:00:00Z");
}

static void windows_that_overlap_end_once(void **state)
{
	(void)state;
	const char *text = "mon 01:00-03:00, mon 02:00-05:00, daily 04:00-04:30, mon 05:00-05:01, mon 06:00-07:00";
	expect(text, "2026-01-12T06:00:00Z", "2026-01-12T10:01:00Z");
	expect(text, "2026-01-12T10:01:00Z", NULL);
	expect(text, "2026-01-13T09:10:00Z", "2026-01-13T09:30:00Z");
}

static void eight_windows_fit(void **state)
{
	(void)state;
	struct cwc_windows w = windows("sun 00:00-00:01,mon 00:00-00:01,tue 00:00-00:01,wed 00:00-00:01,"
				       "thu 00:00-00:01,fri 00:00-00:01,sat 00:00-00:01,daily 23:59-24:00");
	assert_int_equal(w.n, CWC_WINDOWS_MAX);
	assert_int_equal(w.at[7].days, 0x7f);
	assert_int_equal(w.at[7].to_min, 1440);
	assert_true(cwc_windows_good(span_str(HOUSE)) && cwc_windows_good(span_str(SENATE)));
	assert_false(cwc_windows_good(span_of(NULL, 0)));
	/* What is refused leaves nothing behind. */
	assert_int_equal(cwc_windows_parse(span_str("mon 00:00-00:01, x"), &w), ERR_SYNTAX);
	assert_int_equal(w.n, CWC_WINDOWS_MAX);
}

static void windows_that_touch_are_one(void **state)
{
	(void)state;
	expect("mon 20:00-24:00, tue 00:00-02:00", "2026-01-13T02:00:00Z", "2026-01-13T07:00:00Z");
	struct cwc_windows w = windows("daily 00:00-24:00");
	int64_t end;
	assert_true(cwc_windows_inside(&w, at("2026-01-13T02:00:30Z"), &end));
	assert_int_equal(end, at("2026-01-13T02:00:00Z") + 8 * 86400);
}

static void none_is_never(void **state)
{
	(void)state;
	expect("none", "2026-01-15T05:00:00Z", NULL);
	expect(" none ", "2026-01-15T05:00:00Z", NULL);
}

static void malformed_texts(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "daily",
					   "00:00-06:00",
					   "daily 0:00-06:00",
					   "daily 00:00-25:00",
					   "daily 00:00-24:01",
					   "daily 06:00-06:00",
					   "daily 06:00-05:00",
					   "funday 00:00-06:00",
					   "daily 00:00 06:00",
					   "daily 00:60-06:00",
					   "daily 00:00-06:00,",
					   "sun,mon 00:00-06:00",
					   "daily00:00-06:00",
					   "daily aa:00-06:00",
					   "daily 00:00-06:0",
					   "daily\t00:00-06:00",
					   "none,",
					   "none, daily 00:00-06:00",
					   "daily 00:00-06:00, none",
					   ", daily 00:00-06:00",
					   "sunday 00:00-06:00",
					   "Sun 00:00-06:00",
					   "sun 00:00-06:00 mon 00:00-06:00" };
	struct cwc_windows w;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(cwc_windows_parse(span_str(bad[i]), &w), ERR_SYNTAX);
	assert_int_equal(cwc_windows_parse(span_str("sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,"
						    "sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,"
						    "sun 00:00-01:00"),
					   &w),
			 ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(house_is_away_every_night),
		cmocka_unit_test(senate_on_its_days),
		cmocka_unit_test(across_daylight_saving_time),
		cmocka_unit_test(across_the_week_and_the_year),
		cmocka_unit_test(windows_that_touch_are_one),
		cmocka_unit_test(windows_that_overlap_end_once),
		cmocka_unit_test(eight_windows_fit),
		cmocka_unit_test(none_is_never),
		cmocka_unit_test(malformed_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
