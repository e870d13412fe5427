/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/base/text.h"

#define DAY_MS   86400000U
#define TIME_MAX 253402300799 /* 9999-12-31T23:59:59Z */

enum err units_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { "d", DAY_MS } };
	size_t digits = strspn(text, "0123456789");
	uint64_t n;
	TRY(text_uint(span_of(text, digits), UINT32_MAX, &n));
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (n > 365 * (uint64_t)DAY_MS / units[i].ms)
			return ERR_RANGE;
		*ret_ms = n * units[i].ms;
		return ERR_OK;
	}
	return ERR_SYNTAX;
}

enum err units_time(const char *text, int64_t *ret_unix_s)
{
	struct span s = span_str(text);
	uint64_t n;
	if (text_uint(s, TIME_MAX, &n) == ERR_OK) {
		*ret_unix_s = (int64_t)n;
		return ERR_OK;
	}
	return text_parse_time(s, ret_unix_s);
}

enum err units_moment(const char *text, int64_t now_s, int64_t *ret_unix_s)
{
	uint64_t ms;
	int64_t s;
	if (units_duration(text, &ms) == ERR_OK)
		s = now_s - (int64_t)(ms / 1000);
	else
		TRY(text_parse_time(span_str(text), &s));
	if (s <= 0 || s > now_s)
		return ERR_RANGE;
	*ret_unix_s = s;
	return ERR_OK;
}

enum err units_rate(const char *text, int64_t *ret_period_us)
{
	static const struct {
		const char *unit;
		int64_t us;
	} units[] = { { "", 1000000 }, { "/s", 1000000 }, { "/min", 60000000 }, { "/h", 3600000000 } };
	size_t digits = strspn(text, "0123456789");
	uint64_t n;
	TRY(text_uint(span_of(text, digits), 1000000, &n));
	if (n == 0)
		return ERR_RANGE;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].unit) == 0) {
			*ret_period_us = units[i].us / (int64_t)n;
			return ERR_OK;
		}
	}
	return ERR_SYNTAX;
}

enum err units_entry_id(struct span text, struct entry_id *ret_id)
{
	struct entry_id id = { .n = 0 };
	size_t dash = 0;
	while (dash < text.n && text.p[dash] != '-')
		dash++;
	TRY(text_uint(span_of(text.p, dash), UINT64_MAX, &id.ms));
	if (dash < text.n)
		TRY(text_uint(span_of(text.p + dash + 1, text.n - dash - 1), UINT64_MAX, &id.n));
	*ret_id = id;
	return ERR_OK;
}

void units_entry_id_text(struct entry_id id, char ret_out[ENTRY_ID_SIZE])
{
	snprintf(ret_out, ENTRY_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.n);
}
