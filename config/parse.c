/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value at a time: from file syntax into the field of `struct config`, and numbers back.
 *
 * Strict on purpose: a value has one reading or none. The rule texts are made from the row alone,
 * so that no part of a value can get into them.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/table.h"
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

__attribute__((format(printf, 2, 3))) static enum err broken(char *rule, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(rule, CONFIG_RULE_SIZE, format, ap);
	va_end(ap);
	return ERR_SYNTAX;
}

static enum err not_of_form(const struct config_key *k, char *rule)
{
	return broken(rule, "must be %s", config_type_form(k->type));
}

/* --- characters ------------------------------------------------------------------------------ */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* min to max characters, each a letter, a digit or one of `more`. */
static bool is_made_of(struct span s, size_t min, size_t max, const char *more)
{
	if (s.n < min || s.n > max)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == 0 || (!is_alnum(s.p[i]) && !strchr(more, s.p[i])))
			return false;
	return true;
}

/* Cuts the part before `by` off *s; the whole of it when there is no `by`. */
static struct span cut(struct span *s, uint8_t by, bool *ret_found)
{
	const uint8_t *at = s->n ? memchr(s->p, by, s->n) : NULL;
	struct span head = span_of(s->p, at ? (size_t)(at - s->p) : s->n);

	*ret_found = at != NULL;
	s->p += head.n + (at != NULL);
	s->n -= head.n + (at != NULL);
	return head;
}

/* RFC 1123 2.1: labels of letters, digits and inner hyphens. A trailing dot would be a second spelling. */
static bool is_host(struct span s)
{
	bool more = true;

	if (s.n > 253)
		return false;
	while (more) {
		struct span label = cut(&s, '.', &more);

		if (!is_made_of(label, 1, 63, "-") || label.p[0] == '-' || label.p[label.n - 1] == '-')
			return false;
	}
	return true;
}

static bool has_upper(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	return false;
}

/* --- numbers --------------------------------------------------------------------------------- */

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
	return broken(rule, "must be %s%sbetween %s and %s", k->zero ? zero : "", k->zero ? " or " : "", min, max);
}

static enum err not_with_unit(const struct config_key *k, char *rule)
{
	return broken(rule, "must be %s: a number and, without a space, its unit", config_type_form(k->type));
}

static enum err parse_whole(const struct config_key *k, struct span in, void *field, char *rule)
{
	const struct unit *units = units_of(k->type), *unit;
	size_t n = 0;
	uint64_t v = 0;
	unsigned stored;
	enum err e;

	while (n < in.n && is_digit(in.p[n]))
		n++;
	unit = find_unit(units, span_of(in.p + n, in.n - n));
	e = text_uint(span_of(in.p, n), 1000000000000u, &v);
	if (!unit || (e != ERR_OK && e != ERR_RANGE))
		return units == no_units ? not_of_form(k, rule) : not_with_unit(k, rule);
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
	struct span rest = in, whole = cut(&rest, '.', &point);

	if (in.n >= sizeof(copy) || whole.n == 0 || whole.n > 12 || (point && rest.n == 0))
		return false;
	for (size_t i = 0; i < in.n; i++)
		if (!is_digit(in.p[i]) && i != whole.n)
			return false;
	memcpy(copy, in.p, in.n);
	copy[in.n] = '\0';
	*ret_value = strtod(copy, NULL);
	return true;
}

static enum err parse_rate(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool slash;
	struct span rest = in, number = cut(&rest, '/', &slash);
	const struct unit *unit = find_unit(rate_units, span_of(in.p + number.n, in.n - number.n));
	double v;

	if (!unit || !read_decimal(number, &v))
		return not_with_unit(k, rule);
	v /= unit->factor;
	TRY(check_range(k, v, rule));
	memcpy(field, &v, sizeof(v));
	return ERR_OK;
}

/* --- words and texts ------------------------------------------------------------------------- */

static enum err store_text(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (in.n >= k->size)
		return broken(rule, "must be shorter than %zu bytes", k->size);
	memset(field, 0, k->size);
	memcpy(field, in.p, in.n);
	return ERR_OK;
}

static enum err parse_bool(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool v = span_eq_str(in, "true");

	if (!v && !span_eq_str(in, "false"))
		return not_of_form(k, rule);
	memcpy(field, &v, k->size);
	return ERR_OK;
}

static enum err parse_words(const struct config_key *k, struct span in, void *field, char *rule)
{
	char names[120] = "";
	unsigned i;

	for (i = 0; k->words[i]; i++) {
		size_t n = strlen(names);

		if (span_eq_str(in, k->words[i]))
			break;
		(void)snprintf(names + n, sizeof(names) - n, "%s%s", i ? ", " : "", k->words[i]);
	}
	if (!k->words[i])
		return broken(rule, "must be one of: %s", names);
	if (k->type == CONFIG_TYPE_WORD)
		return store_text(k, in, field, rule);
	memcpy(field, &i, sizeof(i));
	return ERR_OK;
}

static enum err parse_text(const struct config_key *k, struct span in, void *field, char *rule)
{
	size_t points;

	if (text_utf8_length(in, &points) != ERR_OK)
		return broken(rule, "must be well-formed UTF-8");
	if (in.p[0] == '"')
		return broken(rule, "must be written without quotes");
	if ((double)points < k->min || (double)points > k->max)
		return broken(rule, "must have between %.0f and %.0f characters", k->min, k->max);
	return store_text(k, in, field, rule);
}

static enum err parse_name(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_made_of(in, 1, 63, "._-"))
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_address(const struct config_key *k, struct span in, void *field, char *rule)
{
	const char *why = "";
	struct addr a;

	if (addr_parse(in, &a, &why) != ERR_OK)
		return broken(rule, "is not an address: %s", why);
	memcpy(field, &a, k->size);
	return ERR_OK;
}

static enum err parse_path(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (in.p[0] != '/')
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_host(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_host(in) || has_upper(in))
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

/* Segments that mean something else to a client that tidies paths are refused, as are escapes:
 * the rules compare the path with that of production. */
static bool is_path(struct span path)
{
	bool more = true;

	for (struct span rest = span_of(path.p + 1, path.n - 1); more;) {
		struct span segment = cut(&rest, '/', &more);

		if (!is_made_of(segment, more ? 1 : 0, CONFIG_TEXT_MAX, "._~-") || span_eq_str(segment, ".") ||
		    span_eq_str(segment, ".."))
			return false;
	}
	return true;
}

enum err config_url(struct span url, struct span *ret_host, struct span *ret_path, const char **ret_rule)
{
	bool slash, colon;
	struct span rest, path, host;
	uint64_t port = 443;

	*ret_rule = "must be an https URL";
	if (url.n < 8 || memcmp(url.p, "https://", 8) != 0)
		return ERR_SYNTAX;
	*ret_rule = "must be a URL without user, query and fragment";
	if (memchr(url.p, '@', url.n) || memchr(url.p, '?', url.n) || memchr(url.p, '#', url.n))
		return ERR_SYNTAX;
	rest = span_of(url.p + 8, url.n - 8);
	path = rest;
	rest = cut(&path, '/', &slash);
	host = cut(&rest, ':', &colon);
	*ret_rule = "must be a URL with a host name in lower case";
	if (!is_host(host) || has_upper(host))
		return ERR_SYNTAX;
	*ret_rule = "must be a URL with a port between 1 and 65535, or none";
	if (colon && (text_uint(rest, 65535, &port) != ERR_OK || port == 0))
		return ERR_SYNTAX;
	*ret_rule = "must be a URL with a path of letters, digits and . _ ~ -, without empty or dot segments";
	if (!slash)
		return ERR_SYNTAX;
	path = span_of(path.p - 1, path.n + 1);
	if (!is_path(path))
		return ERR_SYNTAX;
	*ret_host = host;
	*ret_path = path;
	return ERR_OK;
}

static enum err parse_url(const struct config_key *k, struct span in, void *field, char *rule)
{
	struct span host, path;
	const char *why;

	if (config_url(in, &host, &path, &why) != ERR_OK)
		return broken(rule, "%s", why);
	return store_text(k, in, field, rule);
}

/* The dot-atom form of RFC 5322 3.4.1 at a domain with a dot. */
static enum err parse_email(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool at, dot, more = true;
	struct span domain = in, local = cut(&domain, '@', &at), rest = domain;
	bool good = at && local.n <= 64 && in.n <= 254 && is_host(domain);

	(void)cut(&rest, '.', &dot);
	while (more)
		good = is_made_of(cut(&local, '.', &more), 1, 64, "!#$%&'*+/=?^_`{|}~-") && good;
	if (!good || !dot)
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_phone(const struct config_key *k, struct span in, void *field, char *rule)
{
	static const char form[] = "NNN-NNN-NNNN";
	bool good = in.n == sizeof(form) - 1;

	for (size_t i = 0; good && i < in.n; i++)
		good = form[i] == 'N' ? is_digit(in.p[i]) : in.p[i] == '-';
	if (!good)
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_signer(const struct config_key *k, struct span in, void *field, char *rule)
{
	static const struct config_signer none;
	struct config_signer s = { 0 };
	bool space;
	struct span hex = in, kid = cut(&hex, ' ', &space);

	while (hex.n && hex.p[0] == ' ')
		hex = span_of(hex.p + 1, hex.n - 1);
	if (!is_made_of(kid, 1, sizeof(s.kid) - 1, "._-") || hex.n != 64 || text_unhex(hex, s.public_key, 32) != ERR_OK)
		return not_of_form(k, rule);
	if (memcmp(s.public_key, none.public_key, sizeof(s.public_key)) == 0)
		return broken(rule, "must have a public key that is not all zeros");
	memcpy(s.kid, kid.p, kid.n);
	memcpy(field, &s, sizeof(s));
	return ERR_OK;
}

/* libsodium: a BLAKE2b key has 16 to 64 bytes. */
static enum err parse_context(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool good = in.n >= 16 && in.n <= 64;

	for (size_t i = 0; i < in.n; i++)
		good = good && in.p[i] > ' ' && in.p[i] < 0x7f;
	if (!good)
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

/* Characters only: what they say is judged by config_check_rules(). */
static enum err parse_windows(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_made_of(in, 1, k->size - 1, " ,:-"))
		return not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

enum err config_parse(const struct config_key *k, struct span value, void *field, char rule[CONFIG_RULE_SIZE])
{
	static enum err (*const parse[CONFIG_TYPE_COUNT])(const struct config_key *, struct span, void *, char *) = {
		[CONFIG_TYPE_BOOL] = parse_bool,       [CONFIG_TYPE_TEXT] = parse_text,
		[CONFIG_TYPE_NAME] = parse_name,       [CONFIG_TYPE_WORD] = parse_words,
		[CONFIG_TYPE_ENUM] = parse_words,      [CONFIG_TYPE_MS] = parse_whole,
		[CONFIG_TYPE_S] = parse_whole,         [CONFIG_TYPE_SIZE] = parse_whole,
		[CONFIG_TYPE_INTEGER] = parse_whole,   [CONFIG_TYPE_RATE] = parse_rate,
		[CONFIG_TYPE_ADDRESS] = parse_address, [CONFIG_TYPE_PATH] = parse_path,
		[CONFIG_TYPE_URL] = parse_url,         [CONFIG_TYPE_HOST] = parse_host,
		[CONFIG_TYPE_EMAIL] = parse_email,     [CONFIG_TYPE_PHONE] = parse_phone,
		[CONFIG_TYPE_SIGNER] = parse_signer,   [CONFIG_TYPE_CONTEXT] = parse_context,
		[CONFIG_TYPE_WINDOWS] = parse_windows,
	};

	if (value.n == 0)
		return broken(rule, "needs a value");
	return parse[k->type](k, value, field, rule);
}
