/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "worker/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_hex(void **state)
{
	uint8_t out[4] = { 1, 1, 1, 1 };
	char text[9];

	(void)state;
	text_hex(span_of("\x00\x7f\xab\xff", 4), text);
	assert_string_equal(text, "007fabff");
	text_hex(span_of(NULL, 0), text);
	assert_string_equal(text, "");

	assert_int_equal(text_unhex(span_lit("00fFAb9a"), out, 4), ERR_OK);
	assert_memory_equal(out, "\x00\xff\xab\x9a", 4);
	assert_int_equal(text_unhex(span_lit(""), out, 0), ERR_OK);
}

static void test_unhex_refuses(void **state)
{
	static const char *const bad[] = { "",     "0",    "000",  "00000", "000g", "/000", ":000",
					   "@000", "G000", "`000", "0x00",  "00 0", "00\n0" };
	uint8_t out[2] = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(text_unhex(span_str(bad[i]), out, 2), ERR_SYNTAX);
	assert_memory_equal(out, "\x07\x07", 2); /* written on success only */
}

/* RFC 4648 section 10, and bytes that use all of the alphabet's ends. */
static void test_base64_vectors(void **state)
{
	static const struct {
		struct span plain;
		const char *text;
	} v[] = {
		{ { (const uint8_t *)"", 0 }, "" },
		{ { (const uint8_t *)"f", 1 }, "Zg==" },
		{ { (const uint8_t *)"fo", 2 }, "Zm8=" },
		{ { (const uint8_t *)"foo", 3 }, "Zm9v" },
		{ { (const uint8_t *)"foob", 4 }, "Zm9vYg==" },
		{ { (const uint8_t *)"fooba", 5 }, "Zm9vYmE=" },
		{ { (const uint8_t *)"foobar", 6 }, "Zm9vYmFy" },
		{ { (const uint8_t *)"\xfb\xff\xbf\x00\x00", 5 }, "+/+/AAA=" },
		{ { (const uint8_t *)"\xff", 1 }, "/w==" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(v); i++) {
		buf_reset(&b);
		text_base64(v[i].plain, &b);
		assert_true(span_eq_str(span_buf(&b), v[i].text));
		buf_reset(&b);
		buf_add_str(&b, ">");
		assert_int_equal(text_unbase64(span_str(v[i].text), &b), ERR_OK);
		buf_drop(&b, 1);
		assert_true(span_eq(span_buf(&b), v[i].plain));
	}
	buf_clear(&b);
}

static void test_unbase64_refuses(void **state)
{
	static const char *const bad[] = { "Z",    "Zg",   "Zg=",  "Zm9vY",    "Zg==Zg==", "Zg==\n",  "Zm9v\n",
					   " Zg=", "Zm 9", "====", "Z===",     "=g==",     "Zg=g",    "Zh==",
					   "Zm9=", "Zm-_", "Zm9.", "Zm9vZg=a", "/x==",     "Zm9v====" };
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_add_str(&b, "ab");
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(text_unbase64(span_str(bad[i]), &b), ERR_SYNTAX);
		assert_true(span_eq_str(span_buf(&b), "ab"));
	}
	assert_int_equal(text_unbase64(span_of("Zm\09", 4), &b), ERR_SYNTAX);
	buf_clear(&b);
}

static void test_unbase64_stops_at_the_ceiling(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	assert_int_equal(text_unbase64(span_lit("Zm9vYmE="), &b), ERR_OK);
	assert_true(span_eq_str(span_buf(&b), "fooba"));
	buf_reset(&b);
	assert_int_equal(text_unbase64(span_lit("Zm9vYmFy"), &b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	assert_int_equal(text_unbase64(span_lit(""), &b), ERR_LIMIT);
	buf_clear(&b);
}

static void test_utf8_well_formed(void **state)
{
	static const struct {
		const char *text;
		size_t points;
		uint32_t first;
	} v[] = {
		{ "a", 1, 'a' },
		{ "\x7f", 1, 0x7f },
		{ "\xc2\x80", 1, 0x80 },
		{ "\xdf\xbf", 1, 0x7ff },
		{ "\xe0\xa0\x80", 1, 0x800 },
		{ "\xed\x9f\xbf", 1, 0xd7ff },
		{ "\xee\x80\x80", 1, 0xe000 },
		{ "\xef\xbf\xbf", 1, 0xffff },
		{ "\xf0\x90\x80\x80", 1, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 1, 0x10ffff },
		/* RFC 3629 section 7 */
		{ "A\xe2\x89\xa2\xce\x91.", 4, 'A' },
		{ "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4", 3, 0xd55c },
		{ "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 3, 0x65e5 },
		{ "\xef\xbb\xbf\xf0\xa3\x8e\xb4", 2, 0xfeff },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		size_t points = 99, at = 0;

		assert_int_equal(text_utf8_length(span_str(v[i].text), &points), ERR_OK);
		assert_int_equal(points, v[i].points);
		assert_int_equal(text_utf8_next(span_str(v[i].text), &at), v[i].first);
		while (at < strlen(v[i].text)) {
			(void)text_utf8_next(span_str(v[i].text), &at);
			points--;
		}
		assert_int_equal(points, 1);
		assert_int_equal(at, strlen(v[i].text));
	}
}

static const char *const malformed[] = {
	"\x80",             /* continuation alone */
	"\xbf",             /* the same */
	"\xc0\x80",         /* overlong NUL */
	"\xc1\xbf",         /* overlong 7f */
	"\xc2",             /* cut off */
	"\xc2\x7f",         /* no continuation */
	"\xc2\xc0",         /* the same */
	"\xe0\x80\x80",     /* overlong */
	"\xe0\x9f\xbf",     /* overlong 7ff */
	"\xed\xa0\x80",     /* surrogate d800 */
	"\xed\xbf\xbf",     /* surrogate dfff */
	"\xe2\x89",         /* cut off */
	"\xe2\x89\x41",     /* no continuation */
	"\xf0\x80\x80\x80", /* overlong */
	"\xf0\x8f\xbf\xbf", /* overlong ffff */
	"\xf4\x90\x80\x80", /* 110000 */
	"\xf5\x80\x80\x80", /* 140000 */
	"\xf0\x90\x80",     /* cut off */
	"\xf8\x88\x80\x80\x80",
	"\xfe",
	"\xff",
};

static void test_utf8_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(malformed); i++) {
		struct span s = span_str(malformed[i]);
		char mid[16] = "a";
		size_t points = 99, at = 0;

		assert_int_equal(text_utf8_length(s, &points), ERR_SYNTAX);
		memcpy(mid + 1, s.p, s.n);
		mid[1 + s.n] = 'b';
		assert_int_equal(text_utf8_length(span_str(mid), &points), ERR_SYNTAX);
		assert_int_equal(points, 99);
		assert_int_equal(text_utf8_next(s, &at), 0xfffd);
		assert_int_equal(at, 1);
	}
}

static void test_utf8_empty_and_nul(void **state)
{
	size_t points = 99;

	(void)state;
	assert_int_equal(text_utf8_length(span_of(NULL, 0), &points), ERR_OK);
	assert_int_equal(points, 0);
	assert_int_equal(text_utf8_length(span_of("a\0b", 3), &points), ERR_OK);
	assert_int_equal(points, 3);
}

static void test_uint(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(text_uint(span_lit("0"), 0, &v), ERR_OK);
	assert_int_equal(v, 0);
	assert_int_equal(text_uint(span_lit("65535"), 65535, &v), ERR_OK);
	assert_int_equal(v, 65535);
	assert_int_equal(text_uint(span_lit("18446744073709551615"), UINT64_MAX, &v), ERR_OK);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(text_uint(span_lit("65536"), 65535, &v), ERR_RANGE);
	assert_int_equal(text_uint(span_lit("1"), 0, &v), ERR_RANGE);
	assert_int_equal(text_uint(span_lit("9"), 5, &v), ERR_RANGE);
	assert_int_equal(text_uint(span_lit("18446744073709551616"), UINT64_MAX, &v), ERR_RANGE);
	assert_int_equal(text_uint(span_lit("99999999999999999999999999"), UINT64_MAX, &v), ERR_RANGE);
	assert_int_equal(text_uint(span_lit(""), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("00"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("01"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("+1"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("-1"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit(" 1"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("1 "), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("1x"), 10, &v), ERR_SYNTAX);
	assert_int_equal(text_uint(span_lit("99999x"), 10, &v), ERR_SYNTAX); /* before the range */
	assert_int_equal(text_uint(span_of("1\0", 2), 10, &v), ERR_SYNTAX);
	assert_int_equal(v, 7);
}

static void test_int(void **state)
{
	int64_t v = 7;

	(void)state;
	assert_int_equal(text_int(span_lit("0"), &v), ERR_OK);
	assert_true(v == 0);
	assert_int_equal(text_int(span_lit("-1"), &v), ERR_OK);
	assert_true(v == -1);
	assert_int_equal(text_int(span_lit("9223372036854775807"), &v), ERR_OK);
	assert_true(v == INT64_MAX);
	assert_int_equal(text_int(span_lit("-9223372036854775808"), &v), ERR_OK);
	assert_true(v == INT64_MIN);
	v = 7;
	assert_int_equal(text_int(span_lit("9223372036854775808"), &v), ERR_RANGE);
	assert_int_equal(text_int(span_lit("-9223372036854775809"), &v), ERR_RANGE);
	assert_int_equal(text_int(span_lit(""), &v), ERR_SYNTAX);
	assert_int_equal(text_int(span_lit("-"), &v), ERR_SYNTAX);
	assert_int_equal(text_int(span_lit("--1"), &v), ERR_SYNTAX);
	assert_int_equal(text_int(span_lit("-0"), &v), ERR_SYNTAX);
	assert_int_equal(text_int(span_lit("-01"), &v), ERR_SYNTAX);
	assert_int_equal(text_int(span_lit("+1"), &v), ERR_SYNTAX);
	assert_true(v == 7);
}

static void test_civil_and_back(void **state)
{
	int64_t expect = text_days(-801, 3, 1);
	int last_year = -801;
	unsigned last_month = 2;

	(void)state;
	assert_true(text_days(1970, 1, 1) == 0);
	assert_true(text_days(2000, 2, 29) == 11016);
	assert_true(text_days(1969, 12, 31) == -1);
	assert_true(text_days(0, 1, 1) == -719528);
	assert_true(text_days(9999, 12, 31) == 2932896);
	/* Every day of 3,000 years follows the one before. */
	for (int64_t d = expect; d < expect + 3000 * 366; d++) {
		int year;
		unsigned month, day;

		text_civil(d, &year, &month, &day);
		assert_true(text_days(year, month, day) == d);
		if (day != 1)
			continue;
		assert_int_equal(month, last_month % 12 + 1);
		assert_int_equal(year, last_year + (month == 1));
		last_month = month;
		last_year = year;
	}
}

static void test_time_is_written(void **state)
{
	static const struct {
		int64_t s;
		const char *text;
	} v[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 951782399, "2000-02-28T23:59:59Z" },
		{ 951782400, "2000-02-29T00:00:00Z" },
		{ 1772471045, "2026-03-02T17:04:05Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
		{ 253402300800, "9999-12-31T23:59:59Z" },
		{ INT64_MAX, "9999-12-31T23:59:59Z" },
		{ -1, "1970-01-01T00:00:00Z" },
	};
	char out[TEXT_TIME_SIZE], ms[TEXT_TIME_MS_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		text_time(v[i].s, out);
		assert_string_equal(out, v[i].text);
	}
	text_time_ms(1772471045123, ms);
	assert_string_equal(ms, "2026-03-02T17:04:05.123Z");
	text_time_ms(7, ms);
	assert_string_equal(ms, "1970-01-01T00:00:00.007Z");
	text_time_ms(INT64_MAX, ms);
	assert_string_equal(ms, "9999-12-31T23:59:59.999Z");
	text_time_ms(INT64_MIN, ms);
	assert_string_equal(ms, "1970-01-01T00:00:00.000Z");
}

static void test_time_is_read(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
	} v[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-03-02T17:04:05Z", 1772471045 },
		{ "2026-03-02t17:04:05z", 1772471045 },
		{ "2026-03-02T17:04:05.999999999999Z", 1772471045 },
		{ "2026-03-02T17:04:05.1+00:00", 1772471045 },
		{ "2026-03-02T17:04:05-00:00", 1772471045 },
		{ "2000-02-29T00:00:00Z", 951782400 },
		{ "9999-12-31T23:59:59Z", 253402300799 },
		{ "0000-01-01T00:00:00Z", -62167219200 },
		{ "1969-12-31T23:59:59Z", -1 },
		/* RFC 3339 section 5.8 */
		{ "1985-04-12T23:20:50.52Z", 482196050 },
		{ "1996-12-19T16:39:57-08:00", 851042397 },
		{ "1990-12-31T23:59:60Z", 662688000 },
		{ "1990-12-31T15:59:60-08:00", 662688000 },
		{ "1937-01-01T12:00:27.87+00:20", -1041337173 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		int64_t s = 7;

		assert_int_equal(text_parse_time(span_str(v[i].text), &s), ERR_OK);
		assert_true(s == v[i].s);
	}
}

static void test_time_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "2026-03-02",
					   "2026-03-02T17:04:05",
					   "2026-03-02 17:04:05Z",
					   "2026-03-02T17:04:05ZZ",
					   "2026-03-02T17:04:05 Z",
					   "2026-03-02T17:04:05.Z",
					   "2026-03-02T17:04:05.12",
					   "2026-03-02T17:04:05,1Z",
					   "2026-03-02T17:04:05+0000",
					   "2026-03-02T17:04:05+00:0",
					   "2026-03-02T17:04:05+00:000",
					   "2026-03-02T17:04:05+24:00",
					   "2026-03-02T17:04:05+00:60",
					   "2026-03-02T17:04:05*00:00",
					   "2026-03-02T17:04:05+0x:00",
					   "2026-03-02T24:00:00Z",
					   "2026-03-02T17:60:05Z",
					   "2026-03-02T17:04:61Z",
					   "2026-03-02T17:04:60Z",
					   "2026-03-02T23:59:60Z",
					   "2026-13-02T17:04:05Z",
					   "2026-00-02T17:04:05Z",
					   "2026-03-00T17:04:05Z",
					   "2026-03-32T17:04:05Z",
					   "2026-04-31T17:04:05Z",
					   "2026-02-29T17:04:05Z",
					   "1900-02-29T17:04:05Z",
					   "2100-02-29T17:04:05Z",
					   "2024-02-30T17:04:05Z",
					   "+026-03-02T17:04:05Z",
					   "2026/03-02T17:04:05Z",
					   "2026-03-02T17.04:05Z",
					   "02026-03-02T17:04:05Z" };
	int64_t s = 7;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(text_parse_time(span_str(bad[i]), &s), ERR_SYNTAX);
	assert_true(s == 7);
}

static void test_json_strings(void **state)
{
	static const struct {
		struct span in;
		const char *text;
	} v[] = {
		{ { NULL, 0 }, "\"\"" },
		{ { (const uint8_t *)"abc", 3 }, "\"abc\"" },
		{ { (const uint8_t *)"a\"b\\c/", 6 }, "\"a\\\"b\\\\c/\"" },
		{ { (const uint8_t *)"\b\f\n\r\t", 5 }, "\"\\b\\f\\n\\r\\t\"" },
		{ { (const uint8_t *)"\0\x01\x1f\x7f", 4 }, "\"\\u0000\\u0001\\u001f\x7f\"" },
		{ { (const uint8_t *)"\xc3\xa9\xf0\x9f\x98\x80", 6 }, "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ { (const uint8_t *)"a\xff"
				     "b",
		    3 },
		  "\"a\xef\xbf\xbd"
		  "b\"" },
		{ { (const uint8_t *)"\xe2\x89", 2 }, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (size_t i = 0; i < COUNT(v); i++) {
		buf_reset(&b);
		text_json(v[i].in, &b);
		assert_string_equal(buf_cstr(&b), v[i].text);
	}
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_unhex_refuses),
		cmocka_unit_test(test_base64_vectors),
		cmocka_unit_test(test_unbase64_refuses),
		cmocka_unit_test(test_unbase64_stops_at_the_ceiling),
		cmocka_unit_test(test_utf8_well_formed),
		cmocka_unit_test(test_utf8_malformed),
		cmocka_unit_test(test_utf8_empty_and_nul),
		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_civil_and_back),
		cmocka_unit_test(test_time_is_written),
		cmocka_unit_test(test_time_is_read),
		cmocka_unit_test(test_time_is_refused),
		cmocka_unit_test(test_json_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
