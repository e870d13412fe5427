/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/text.h"

#include <sodium.h>
#include <string.h>

#define DAY_S       86400
#define TIME_MAX_S  253402300799 /* 9999-12-31T23:59:59Z */
#define REPLACEMENT 0xfffd

void text_hex(struct span in, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.n; i++) {
		out[2 * i] = digits[in.p[i] >> 4];
		out[2 * i + 1] = digits[in.p[i] & 15];
	}
	out[2 * in.n] = '\0';
}

#define NOT_HEX 16U

static unsigned hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)c - '0';
	if (c >= 'a' && c <= 'f')
		return (unsigned)c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)c - 'A' + 10;
	return NOT_HEX;
}

enum err text_unhex(struct span in, uint8_t *ret_out, size_t n)
{
	if (in.n % 2 != 0 || in.n / 2 != n)
		return ERR_SYNTAX;
	for (size_t i = 0; i < in.n; i++)
		if (hex_digit(in.p[i]) == NOT_HEX)
			return ERR_SYNTAX;
	for (size_t i = 0; i < n; i++)
		ret_out[i] = (uint8_t)(hex_digit(in.p[2 * i]) << 4 | hex_digit(in.p[2 * i + 1]));
	return ERR_OK;
}

void text_base64(struct span in, struct buf *out)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char four[4];

	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16;

		if (left > 1)
			v |= (uint32_t)in.p[i + 1] << 8;
		if (left > 2)
			v |= in.p[i + 2];
		four[0] = set[v >> 18];
		four[1] = set[v >> 12 & 63];
		four[2] = left > 1 ? set[v >> 6 & 63] : '=';
		four[3] = left > 2 ? set[v & 63] : '=';
		buf_add(out, four, sizeof(four));
	}
}

enum err text_unbase64(struct span in, struct buf *out)
{
	size_t n, got;
	uint8_t *room;

	if (in.n % 4 != 0)
		return ERR_SYNTAX;
	if (in.n == 0)
		return buf_ok(out);
	n = in.n / 4 * 3;
	if (in.p[in.n - 1] == '=')
		n -= in.p[in.n - 2] == '=' ? 2 : 1;
	room = buf_room(out, n);
	if (room == NULL)
		return ERR_LIMIT;
	/* Constant time over the characters (it may be a key), refuses stray bits and padding. */
	if (sodium_base642bin(room, n, (const char *)in.p, in.n, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) !=
		    0 ||
	    got != n) {
		sodium_memzero(room, n);
		return ERR_SYNTAX;
	}
	buf_grew(out, n);
	return ERR_OK;
}

/* The code point at p and its length in bytes; 0 when it is not well-formed. The bounds of the
 * second byte are those of RFC 3629 section 4: they shut out overlong forms, surrogates and what
 * lies above U+10FFFF. */
static size_t utf8_decode(const uint8_t *p, size_t left, uint32_t *ret_point)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;
	uint32_t v;

	if (p[0] < 0x80) {
		*ret_point = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	v = p[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fU);
	}
	*ret_point = v;
	return n;
}

enum err text_utf8_length(struct span in, size_t *ret_points)
{
	size_t points = 0;
	uint32_t unused;

	for (size_t at = 0; at < in.n; points++) {
		size_t n = utf8_decode(in.p + at, in.n - at, &unused);

		if (n == 0)
			return ERR_SYNTAX;
		at += n;
	}
	*ret_points = points;
	return ERR_OK;
}

uint32_t text_utf8_next(struct span in, size_t *at)
{
	uint32_t point = REPLACEMENT;
	size_t n;

	BUG_ON(*at >= in.n);
	n = utf8_decode(in.p + *at, in.n - *at, &point);
	*at += n > 0 ? n : 1;
	return point;
}

enum err text_uint(struct span in, uint64_t max, uint64_t *ret_value)
{
	uint64_t v = 0;

	if (in.n == 0 || (in.n > 1 && in.p[0] == '0'))
		return ERR_SYNTAX;
	for (size_t i = 0; i < in.n; i++)
		if (in.p[i] < '0' || in.p[i] > '9')
			return ERR_SYNTAX;
	for (size_t i = 0; i < in.n; i++) {
		unsigned digit = (unsigned)in.p[i] - '0';

		if (v > max / 10 || v * 10 > max - digit || digit > max)
			return ERR_RANGE;
		v = v * 10 + digit;
	}
	*ret_value = v;
	return ERR_OK;
}

enum err text_int(struct span in, int64_t *ret_value)
{
	bool minus = in.n > 0 && in.p[0] == '-';
	uint64_t v;

	if (!minus) {
		TRY(text_uint(in, INT64_MAX, &v));
		*ret_value = (int64_t)v;
		return ERR_OK;
	}
	TRY(text_uint(span_of(in.p + 1, in.n - 1), (uint64_t)INT64_MAX + 1, &v));
	if (v == 0)
		return ERR_SYNTAX; /* one form for every number */
	*ret_value = -1 - (int64_t)(v - 1);
	return ERR_OK;
}

/* The calendar counts in eras of 400 years that begin on 1 March, so that the leap day is the last
 * day of a year and the lengths of months follow one formula. */
void text_civil(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned m = (5 * doy + 2) / 153;
	unsigned month = m < 10 ? m + 3 : m - 9;

	*ret_day = doy - (153 * m + 2) / 5 + 1;
	*ret_month = month;
	*ret_year = (int)((int64_t)yoe + era * 400 + (month <= 2));
}

int64_t text_days(int year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + (int64_t)doe - 719468;
}

/* v in exactly n digits; returns the place behind them. */
static char *put_digits(char *out, unsigned v, size_t n)
{
	for (size_t i = n; i > 0; i--, v /= 10)
		out[i - 1] = (char)('0' + v % 10);
	return out + n;
}

/* "YYYY-MM-DDTHH:MM:SS", without an end. */
static char *put_time(int64_t unix_s, char *out)
{
	unsigned second, month, day;
	int year;

	text_civil(unix_s / DAY_S, &year, &month, &day);
	second = (unsigned)(unix_s % DAY_S);
	out = put_digits(out, (unsigned)year, 4);
	*out++ = '-';
	out = put_digits(out, month, 2);
	*out++ = '-';
	out = put_digits(out, day, 2);
	*out++ = 'T';
	out = put_digits(out, second / 3600, 2);
	*out++ = ':';
	out = put_digits(out, second / 60 % 60, 2);
	*out++ = ':';
	return put_digits(out, second % 60, 2);
}

static int64_t clamp(int64_t v, int64_t max)
{
	return v < 0 ? 0 : v > max ? max : v;
}

void text_time(int64_t unix_s, char ret_out[TEXT_TIME_SIZE])
{
	char *out = put_time(clamp(unix_s, TIME_MAX_S), ret_out);

	*out++ = 'Z';
	*out = '\0';
}

void text_time_ms(int64_t unix_ms, char ret_out[TEXT_TIME_MS_SIZE])
{
	int64_t ms = clamp(unix_ms, TIME_MAX_S * 1000 + 999);
	char *out = put_time(ms / 1000, ret_out);

	*out++ = '.';
	out = put_digits(out, (unsigned)(ms % 1000), 3);
	*out++ = 'Z';
	*out = '\0';
}

/* Matches `in` against a form in which '9' is a digit; digits are collected in order. */
static bool match_form(const uint8_t *in, const char *form, unsigned *ret_digits)
{
	for (size_t i = 0; form[i] != '\0'; i++) {
		if (form[i] != '9') {
			/* RFC 3339 section 5.6: "T" may be lower case. */
			if (in[i] != (uint8_t)form[i] && !(form[i] == 'T' && in[i] == 't'))
				return false;
			continue;
		}
		if (in[i] < '0' || in[i] > '9')
			return false;
		*ret_digits++ = (unsigned)in[i] - '0';
	}
	return true;
}

/* "Z" or "+HH:MM" to the end of the text. */
static enum err parse_offset(struct span in, int64_t *ret_offset_s)
{
	unsigned d[4];
	unsigned hour, minute;
	int64_t s;

	if (in.n == 1 && (in.p[0] == 'Z' || in.p[0] == 'z')) {
		*ret_offset_s = 0;
		return ERR_OK;
	}
	if (in.n != 6 || (in.p[0] != '+' && in.p[0] != '-') || !match_form(in.p + 1, "99:99", d))
		return ERR_SYNTAX;
	hour = d[0] * 10 + d[1];
	minute = d[2] * 10 + d[3];
	if (hour > 23 || minute > 59)
		return ERR_SYNTAX;
	s = (int64_t)hour * 3600 + (int64_t)minute * 60;
	*ret_offset_s = in.p[0] == '-' ? -s : s;
	return ERR_OK;
}

static unsigned month_days(unsigned year, unsigned month)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1U : 0U);
}

/* A leap second is the last one of a month in UTC (RFC 3339 section 5.7); as a count of seconds it
 * is the first one of the next. */
static bool leap_second_fits(int64_t unix_s)
{
	unsigned month, day;
	int year;

	if (unix_s % DAY_S != 0)
		return false;
	text_civil(unix_s / DAY_S, &year, &month, &day);
	return day == 1;
}

enum err text_parse_time(struct span in, int64_t *ret_unix_s)
{
	unsigned d[14], year, month, day, hour, minute, second;
	size_t at = 19;
	int64_t offset_s, t;

	if (in.n < 20 || !match_form(in.p, "9999-99-99T99:99:99", d))
		return ERR_SYNTAX;
	year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3];
	month = d[4] * 10 + d[5];
	day = d[6] * 10 + d[7];
	hour = d[8] * 10 + d[9];
	minute = d[10] * 10 + d[11];
	second = d[12] * 10 + d[13];
	if (month < 1 || month > 12 || day < 1 || day > month_days(year, month))
		return ERR_SYNTAX;
	if (hour > 23 || minute > 59 || second > 60)
		return ERR_SYNTAX;
	if (in.p[at] == '.') {
		do
			at++;
		while (at < in.n && in.p[at] >= '0' && in.p[at] <= '9');
		if (at == 20)
			return ERR_SYNTAX;
	}
	TRY(parse_offset(span_of(in.p + at, in.n - at), &offset_s));
	t = text_days((int)year, month, day) * DAY_S + (int64_t)(hour * 3600 + minute * 60 + second) - offset_s;
	if (second == 60 && !leap_second_fits(t))
		return ERR_SYNTAX;
	*ret_unix_s = t;
	return ERR_OK;
}

/* RFC 8259 section 7: what may not stand in a string as it is. */
static void add_json_escape(uint8_t c, struct buf *out)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *known = c == 0 ? NULL : strchr(from, c);
	char hex[3];

	if (known != NULL) {
		buf_add_byte(out, '\\');
		buf_add_byte(out, (uint8_t)to[known - from]);
		return;
	}
	text_hex(span_of(&c, 1), hex);
	buf_add_str(out, "\\u00");
	buf_add_str(out, hex);
}

void text_json(struct span s, struct buf *out)
{
	size_t plain = 0; /* start of the run that passes unchanged */
	uint32_t unused;

	buf_add_byte(out, '"');
	for (size_t at = 0; at < s.n;) {
		size_t n = utf8_decode(s.p + at, s.n - at, &unused);
		bool pass = n > 1 || (n == 1 && s.p[at] >= 0x20 && s.p[at] != '"' && s.p[at] != '\\');

		if (pass) {
			at += n;
			continue;
		}
		buf_add(out, s.p + plain, at - plain);
		if (n == 0)
			buf_add_str(out, "\xef\xbf\xbd");
		else
			add_json_escape(s.p[at], out);
		plain = ++at;
	}
	if (s.n > 0)
		buf_add(out, s.p + plain, s.n - plain);
	buf_add_byte(out, '"');
}
