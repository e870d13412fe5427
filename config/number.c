/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units: from file syntax and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/parse.h"
#include "worker/base/text.h"

struct unit {
	const char *name;
	double factor;
};

/* Ascending; the last entry is empty. */
static const struct unit ms_units[] = {
	{ "ms", 1 }, { "s", 1e3 }, { "min", 6e4 }, { "h", 36e5 }, { "d", 864e5 }, { 0 }
};
static const struct unit s_units[] = { { "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 }, { 0 } };
static const struct unit size_units[] = { { "B", 1 }, { "KiB", 1024 }, { "MiB", 1048576 }, { 0 } };
static const struct unit no_units[] = { { "", 1 }, { 0 } };
/* Divisors. */
static const struct unit rate_units[] = { { "/s", 1 }, { "/min", 60 }, { "/h", 3600 }, { 0 } };

static const struct unit *units_of(enum config_type type)
{
	if (type == CONFIG_TYPE_MS)
		return ms_units;
	if (type == CONFIG_TYPE_S)
		return s_units;
	if (type == CONFIG_TYPE_SIZE)
		return size_units;
	return type == CONFIG_TYPE_RATE ? rate_units : no_units;
}

static const struct unit *find_unit(const struct unit *units, struct span name)
{
	for (; units->name; units++)
		if (span_eq_str(name, units->name))
			return units;
	return NULL;
}

static void whole_text(const struct config_key *k, double v, char out[CONFIG_NUMBER_SIZE])
{
	const struct unit *units = units_of(k->type), *best = units;

	for (const struct unit *u = units; u->name; u++)
		if (v >= u->factor && fmod(v, u->factor) == 0)
			best = u;
	(void)snprintf(out, CONFIG_NUMBER_SIZE, "%.0f%s", v / best->factor, best->name);
}

/* The first spelling that reads back as the same number; 17 digits always do. */
static void rate_text(double v, char out[CONFIG_NUMBER_SIZE])
{
	for (const struct unit *u = rate_units; u->name; u++) {
		(void)snprintf(out, CONFIG_NUMBER_SIZE, "%.10g%s", v * u->factor, u->name);
		if (strtod(out, NULL) / u->factor == v)
			return;
	}
	(void)snprintf(out, CONFIG_NUMBER_SIZE, "%.17g/s", v);
}

void config_number(const struct config_key *k, double v, char out[CONFIG_NUMBER_SIZE])
{
	if (k->type == CONFIG_TYPE_RATE)
		rate_text(v, out);
	else
		whole_text(k, v, out);
}

static enum err check_range(const struct config_key *k, double v, char *rule)
{
	char zero[CONFIG_NUMBER_SIZE], min[CONFIG_NUMBER_SIZE], max[CONFIG_NUMBER_SIZE];

	if ((v >= k->min && v <= k->max) || (k->zero && v == 0))
		return ERR_OK;
	config_number(k, 0, zero);
	config_number(k, k->min, min);
	config_number(k, k->max, max);
	return config_broken(rule, "must be %s%sbetween %s and %s", k->zero ? zero : "", k->zero ? " or " : "", min,
			     max);
}

static enum err not_with_unit(const struct config_key *k, char *rule)
{
	return config_broken(rule, "must be %s: a number and, without a space, its unit", config_type_form(k->type));
}

enum err config_parse_whole(const struct config_key *k, struct span in, void *field, char *rule)
{
	const struct unit *units = units_of(k->type), *unit;
	size_t n = 0;
	uint64_t v = 0;
	unsigned stored;
	enum err e;

	while (n < in.n && config_is_digit(in.p[n]))
		n++;
	unit = find_unit(units, span_of(in.p + n, in.n - n));
	e = text_uint(span_of(in.p, n), 1000000000000u, &v);
	if (!unit || (e != ERR_OK && e != ERR_RANGE))
		return units == no_units ? config_not_of_form(k, rule) : not_with_unit(k, rule);
	TRY(check_range(k, e == ERR_RANGE ? HUGE_VAL : (double)v * unit->factor, rule));
	stored = (unsigned)((double)v * unit->factor);
	memcpy(field, &stored, sizeof(stored));
	return ERR_OK;
}

/* Digits with an optional fraction. No sign, no exponent. */
static bool read_decimal(struct span in, double *ret_value)
{
	char copy[CONFIG_NUMBER_SIZE];
	bool point;
	struct span rest = in, whole = config_cut(&rest, '.', &point);

	if (in.n >= sizeof(copy) || whole.n == 0 || whole.n > 12 || (point && rest.n == 0))
		return false;
	for (size_t i = 0; i < in.n; i++)
		if (!config_is_digit(in.p[i]) && i != whole.n)
			return false;
	memcpy(copy, in.p, in.n);
	copy[in.n] = '\0';
	*ret_value = strtod(copy, NULL);
	return true;
}

enum err config_parse_rate(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool slash;
	struct span rest = in, number = config_cut(&rest, '/', &slash);
	const struct unit *unit = find_unit(rate_units, span_of(in.p + number.n, in.n - number.n));
	double v;

	if (!unit || !read_decimal(number, &v))
		return not_with_unit(k, rule);
	v /= unit->factor;
	TRY(check_range(k, v, rule));
	memcpy(field, &v, sizeof(v));
	return ERR_OK;
}
