/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times, durations and numbers of scenario files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/scenario.h"
#include "tests/scenario/sim.h"
#include "worker/base/text.h"

static bool unit_us(const char *text, size_t n, int64_t *ret_us)
{
	static const struct {
		const char *name;
		int64_t us;
	} units[] = {
		{ "us", 1 },          { "ms", SIM_MS_US },      { "s", SIM_SECOND_US }, { "m", 60 * SIM_SECOND_US },
		{ "h", SIM_HOUR_US }, { "d", 24 * SIM_HOUR_US }
	};
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].name) == n && memcmp(units[i].name, text, n) == 0) {
			*ret_us = units[i].us;
			return true;
		}
	}
	return false;
}

bool parse_duration(const char *text, int64_t *ret_us)
{
	int64_t sum = 0, sign = *text == '-' ? -1 : 1, us;
	if (*text == '-' || *text == '+')
		text++;
	do {
		char *end;
		double n = strtod(text, &end);
		size_t unit = strspn(end, "usmhd");
		if (end == text || !unit_us(end, unit, &us))
			return false;
		sum += (int64_t)(n * (double)us);
		text = end + unit;
	} while (*text != '\0');
	*ret_us = sign * sum;
	return true;
}

int64_t parse_us(const char *text)
{
	int64_t us;
	if (text == NULL || !parse_duration(text, &us))
		scenario_fail("\"%s\" is no duration", text == NULL ? "" : text);
	return us;
}

int64_t parse_time(const char *text)
{
	int64_t us;
	if (text == NULL)
		scenario_fail("a time is missing");
	if ((*text == '+' || *text == '-') && parse_duration(text, &us))
		return sim_wall_us() + us;
	if (text_parse_time(span_str(text), &us) != ERR_OK)
		scenario_fail("\"%s\" is no time", text);
	return us * SIM_SECOND_US;
}

static bool number(const char *text, size_t n, int64_t *ret)
{
	uint64_t v;
	if (text_uint(span_of(text, n), INT64_MAX, &v) != ERR_OK)
		return false;
	*ret = (int64_t)v;
	return true;
}

int64_t parse_number(const char *text)
{
	int64_t n;
	if (text == NULL || !number(text, strlen(text), &n))
		scenario_fail("\"%s\" is no number", text == NULL ? "" : text);
	return n;
}

bool parse_holds(const char *range, int64_t n)
{
	const char *dots = strstr(range, "..");
	int64_t low = 0, high = INT64_MAX;
	if (dots == NULL)
		return parse_number(range) == n;
	bool good = number(range, (size_t)(dots - range), &low) &&
		    (dots[2] == '\0' || number(dots + 2, strlen(dots + 2), &high));
	if (!good)
		scenario_fail("\"%s\" is no range", range);
	return n >= low && n <= high;
}
