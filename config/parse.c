/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value at a time: from file syntax into the field of `struct config`. Numbers are number.c's.
 *
 * Strict on purpose: a value has one reading or none. The rule texts are made from the row alone,
 * so that no part of a value can get into them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/parse.h"
#include "worker/base/text.h"

enum err config_broken(char *rule, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(rule, CONFIG_RULE_SIZE, format, ap);
	va_end(ap);
	return ERR_SYNTAX;
}

enum err config_not_of_form(const struct config_key *k, char *rule)
{
	return config_broken(rule, "must be %s", config_type_form(k->type));
}

/* --- characters ------------------------------------------------------------------------------ */

bool config_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return config_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
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

struct span config_cut(struct span *s, uint8_t by, bool *ret_found)
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
		struct span label = config_cut(&s, '.', &more);

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

/* --- words and texts ------------------------------------------------------------------------- */

static enum err store_text(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (in.n >= k->size)
		return config_broken(rule, "must be shorter than %zu bytes", k->size);
	memset(field, 0, k->size);
	memcpy(field, in.p, in.n);
	return ERR_OK;
}

static enum err parse_bool(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool v = span_eq_str(in, "true");

	if (!v && !span_eq_str(in, "false"))
		return config_not_of_form(k, rule);
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
		return config_broken(rule, "must be one of: %s", names);
	if (k->type == CONFIG_TYPE_WORD)
		return store_text(k, in, field, rule);
	memcpy(field, &i, sizeof(i));
	return ERR_OK;
}

static enum err parse_text(const struct config_key *k, struct span in, void *field, char *rule)
{
	size_t points;

	if (text_utf8_length(in, &points) != ERR_OK)
		return config_broken(rule, "must be well-formed UTF-8");
	if (in.p[0] == '"')
		return config_broken(rule, "must be written without quotes");
	if ((double)points < k->min || (double)points > k->max)
		return config_broken(rule, "must have between %.0f and %.0f characters", k->min, k->max);
	return store_text(k, in, field, rule);
}

static enum err parse_name(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_made_of(in, 1, 63, "._-"))
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_address(const struct config_key *k, struct span in, void *field, char *rule)
{
	const char *why = "";
	struct addr a;

	if (addr_parse(in, &a, &why) != ERR_OK)
		return config_broken(rule, "is not an address: %s", why);
	memcpy(field, &a, k->size);
	return ERR_OK;
}

static enum err parse_path(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (in.p[0] != '/')
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_host(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_host(in) || has_upper(in))
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

/* Segments that mean something else to a client that tidies paths are refused, as are escapes:
 * the rules compare the path with that of production. */
static bool is_path(struct span path)
{
	bool more = true;

	for (struct span rest = span_of(path.p + 1, path.n - 1); more;) {
		struct span segment = config_cut(&rest, '/', &more);

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
	rest = config_cut(&path, '/', &slash);
	host = config_cut(&rest, ':', &colon);
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
		return config_broken(rule, "%s", why);
	return store_text(k, in, field, rule);
}

/* The dot-atom form of RFC 5322 3.4.1 at a domain with a dot. */
static enum err parse_email(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool at, dot, more = true;
	struct span domain = in, local = config_cut(&domain, '@', &at), rest = domain;
	bool good = at && local.n <= 64 && in.n <= 254 && is_host(domain);

	(void)config_cut(&rest, '.', &dot);
	while (more)
		good = is_made_of(config_cut(&local, '.', &more), 1, 64, "!#$%&'*+/=?^_`{|}~-") && good;
	if (!good || !dot)
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static enum err parse_phone(const struct config_key *k, struct span in, void *field, char *rule)
{
	static const char form[] = "NNN-NNN-NNNN";
	bool good = in.n == sizeof(form) - 1;

	for (size_t i = 0; good && i < in.n; i++)
		good = form[i] == 'N' ? config_is_digit(in.p[i]) : in.p[i] == '-';
	if (!good)
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

static struct span next_word(struct span *rest)
{
	bool space;

	while (rest->n && rest->p[0] == ' ')
		*rest = span_of(rest->p + 1, rest->n - 1);
	return config_cut(rest, ' ', &space);
}

/* Seconds since 1970, in the one spelling that is printed; "-": 0. */
static bool read_bound(struct span in, int64_t *ret_s)
{
	*ret_s = 0;
	if (span_eq_str(in, "-"))
		return true;
	return in.n == TEXT_TIME_SIZE - 1 && in.p[in.n - 1] == 'Z' && text_parse_time(in, ret_s) == ERR_OK &&
	       *ret_s > 0;
}

static enum err read_signer(const struct config_key *k, struct span *rest, struct config_signer *s, char *rule)
{
	static const struct config_signer none;
	struct span kid = next_word(rest), hex = next_word(rest);

	if (!is_made_of(kid, 1, sizeof(s->kid) - 1, "._-") || hex.n != 64 ||
	    text_unhex(hex, s->public_key, sizeof(s->public_key)) != ERR_OK)
		return config_not_of_form(k, rule);
	if (memcmp(s->public_key, none.public_key, sizeof(s->public_key)) == 0)
		return config_broken(rule, "must have a public key that is not all zeros");
	memcpy(s->kid, kid.p, kid.n);
	return ERR_OK;
}

static enum err parse_signer(const struct config_key *k, struct span in, void *field, char *rule)
{
	struct config_signer s = { 0 };
	struct span from, to;

	TRY(read_signer(k, &in, &s, rule));
	from = next_word(&in);
	to = next_word(&in);
	if (in.n || (from.n && (!read_bound(from, &s.not_before_s) || !read_bound(to, &s.not_after_s))))
		return config_not_of_form(k, rule);
	if (s.not_after_s && s.not_after_s <= s.not_before_s)
		return config_broken(rule, "must end after it begins");
	memcpy(field, &s, sizeof(s));
	return ERR_OK;
}

static enum err parse_authority(const struct config_key *k, struct span in, void *field, char *rule)
{
	struct config_signer s = { 0 };

	TRY(read_signer(k, &in, &s, rule));
	if (in.n)
		return config_not_of_form(k, rule);
	memcpy(field, &s, sizeof(s));
	return ERR_OK;
}

/* So much that no other kind of name passes; that it is well-formed in all parts is asked where it is used. */
static enum err parse_arn(const struct config_key *k, struct span in, void *field, char *rule)
{
	struct span part[6];
	bool colon = true, good;

	for (size_t i = 0; i < 6; i++)
		part[i] = i < 5 ? config_cut(&in, ':', &colon) : in;
	good = colon && span_eq_str(part[0], "arn") && is_made_of(part[1], 1, 32, "-") && span_eq_str(part[2], "kms") &&
	       is_made_of(part[3], 1, 32, "-") && is_made_of(part[4], 12, 12, "") && part[5].n > 4 &&
	       memcmp(part[5].p, "key/", 4) == 0 && is_made_of(span_of(part[5].p + 4, part[5].n - 4), 1, 64, "-");
	if (!good)
		return config_not_of_form(k, rule);
	return store_text(k, span_of(part[0].p, (size_t)(in.p + in.n - part[0].p)), field, rule);
}

/* In one spelling, so that two of them can be compared as texts. */
static enum err parse_hash(const struct config_key *k, struct span in, void *field, char *rule)
{
	uint8_t hash[32];
	char hex[2 * sizeof(hash) + 1];

	if (in.n != 2 * sizeof(hash) || text_unhex(in, hash, sizeof(hash)) != ERR_OK)
		return config_not_of_form(k, rule);
	text_hex(span_of(hash, sizeof(hash)), hex);
	return store_text(k, span_str(hex), field, rule);
}

/* libsodium: a BLAKE2b key has 16 to 64 bytes. */
static enum err parse_context(const struct config_key *k, struct span in, void *field, char *rule)
{
	bool good = in.n >= 16 && in.n <= 64;

	for (size_t i = 0; i < in.n; i++)
		good = good && in.p[i] > ' ' && in.p[i] < 0x7f;
	if (!good)
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

/* Characters only: what they say is judged by config_check_rules(). */
static enum err parse_windows(const struct config_key *k, struct span in, void *field, char *rule)
{
	if (!is_made_of(in, 1, k->size - 1, " ,:-"))
		return config_not_of_form(k, rule);
	return store_text(k, in, field, rule);
}

enum err config_parse(const struct config_key *k, struct span value, void *field, char rule[CONFIG_RULE_SIZE])
{
	static enum err (*const parse[CONFIG_TYPE_COUNT])(const struct config_key *, struct span, void *, char *) = {
		[CONFIG_TYPE_BOOL] = parse_bool,
		[CONFIG_TYPE_TEXT] = parse_text,
		[CONFIG_TYPE_NAME] = parse_name,
		[CONFIG_TYPE_WORD] = parse_words,
		[CONFIG_TYPE_ENUM] = parse_words,
		[CONFIG_TYPE_MS] = config_parse_whole,
		[CONFIG_TYPE_S] = config_parse_whole,
		[CONFIG_TYPE_SIZE] = config_parse_whole,
		[CONFIG_TYPE_INTEGER] = config_parse_whole,
		[CONFIG_TYPE_RATE] = config_parse_rate,
		[CONFIG_TYPE_ADDRESS] = parse_address,
		[CONFIG_TYPE_PATH] = parse_path,
		[CONFIG_TYPE_URL] = parse_url,
		[CONFIG_TYPE_HOST] = parse_host,
		[CONFIG_TYPE_EMAIL] = parse_email,
		[CONFIG_TYPE_PHONE] = parse_phone,
		[CONFIG_TYPE_SIGNER] = parse_signer,
		[CONFIG_TYPE_CONTEXT] = parse_context,
		[CONFIG_TYPE_WINDOWS] = parse_windows,
		[CONFIG_TYPE_AUTHORITY] = parse_authority,
		[CONFIG_TYPE_ARN] = parse_arn,
		[CONFIG_TYPE_HASH] = parse_hash,
	};

	if (value.n == 0)
		return config_broken(rule, "needs a value");
	return parse[k->type](k, value, field, rule);
}
