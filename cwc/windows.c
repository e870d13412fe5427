/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/windows.h"

#include <string.h>

#define MINUTE_S   60
#define DAY_MIN    1440
#define WEEK_S     (7LL * DAY_MIN * MINUTE_S)
#define SEARCH_MIN (8 * DAY_MIN)

static const char *const days[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static struct span trim(struct span s)
{
	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

static unsigned two_digits(const uint8_t *p)
{
	bool good = p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9';
	return good ? (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0') : 99;
}

/* "HH:MM", 24:00 included. */
static enum err parse_clock(const uint8_t *p, uint16_t *ret_min)
{
	unsigned h = two_digits(p), m = two_digits(p + 3);
	if (p[2] != ':' || m > 59 || h > 24 || (h == 24 && m != 0))
		return ERR_SYNTAX;
	*ret_min = (uint16_t)(h * 60 + m);
	return ERR_OK;
}

static enum err parse_days(struct span s, uint8_t *ret_days)
{
	if (span_eq_str(s, "daily")) {
		*ret_days = 0x7f;
		return ERR_OK;
	}
	for (unsigned d = 0; d < 7; d++) {
		if (span_eq_str(s, days[d])) {
			*ret_days = (uint8_t)(1U << d);
			return ERR_OK;
		}
	}
	return ERR_SYNTAX;
}

static enum err parse_one(struct span s, struct cwc_windows *w)
{
	const size_t times = sizeof "00:00-00:00" - 1;
	uint8_t on;
	uint16_t from, to;
	if (w->n == CWC_WINDOWS_MAX)
		return ERR_LIMIT;
	if (s.n < times + 2 || s.p[s.n - times - 1] != ' ')
		return ERR_SYNTAX;
	const uint8_t *t = s.p + s.n - times;
	TRY(parse_days(trim(span_of(s.p, s.n - times)), &on));
	TRY(parse_clock(t, &from));
	TRY(parse_clock(t + 6, &to));
	if (t[5] != '-' || to <= from)
		return ERR_SYNTAX;
	w->at[w->n].days = on;
	w->at[w->n].from_min = from;
	w->at[w->n].to_min = to;
	w->n++;
	return ERR_OK;
}

enum err cwc_windows_parse(struct span text, struct cwc_windows *ret_w)
{
	struct cwc_windows w = { .n = 0 };
	text = trim(text);
	if (span_eq_str(text, "none")) {
		*ret_w = w;
		return ERR_OK;
	}
	for (;;) {
		const uint8_t *comma = text.n > 0 ? memchr(text.p, ',', text.n) : NULL;
		size_t n = comma != NULL ? (size_t)(comma - text.p) : text.n;
		TRY(parse_one(trim(span_of(text.p, n)), &w));
		if (comma == NULL)
			break;
		text = span_of(comma + 1, text.n - n - 1);
	}
	*ret_w = w;
	return ERR_OK;
}

bool cwc_windows_good(struct span text)
{
	struct cwc_windows w;
	return cwc_windows_parse(text, &w) == ERR_OK;
}

static bool inside(const struct cwc_windows *w, int64_t unix_s)
{
	/* A week later, so that nothing is negative while it is still 1969 in Washington. */
	int64_t local_min = (unix_s + cwc_eastern_offset(unix_s) + WEEK_S) / MINUTE_S;
	/* 1970-01-01 was a Thursday. */
	unsigned day = (unsigned)((local_min / DAY_MIN + 4) % 7);
	unsigned minute = (unsigned)(local_min % DAY_MIN);
	for (size_t i = 0; i < w->n; i++) {
		if ((w->at[i].days & (1U << day)) && minute >= w->at[i].from_min && minute < w->at[i].to_min)
			return true;
	}
	return false;
}

bool cwc_windows_inside(const struct cwc_windows *w, int64_t unix_s, int64_t *ret_end_s)
{
	if (!inside(w, unix_s))
		return false;
	/* Minute by minute, since the local clock may jump. */
	int64_t t = unix_s - unix_s % MINUTE_S;
	for (int i = 0; i < SEARCH_MIN && inside(w, t); i++)
		t += MINUTE_S;
	*ret_end_s = t;
	return true;
}
