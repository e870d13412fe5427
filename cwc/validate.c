/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"
#include "worker/base/text.h"

#define BILL_NUMBER_DIGITS_MAX 6
#define URI_PORT_DIGITS_MAX    5

static const struct {
	const char *name, *text;
} rules[CWC_RULE_COUNT] = {
#define CWC_RULE_ROW(e, n, t) [CWC_RULE_##e] = { n, t },
	CWC_RULES(CWC_RULE_ROW)
#undef CWC_RULE_ROW
};

const char *cwc_rule_name(enum cwc_rule r)
{
	BUG_ON((unsigned)r >= CWC_RULE_COUNT);
	return rules[r].name;
}

const char *cwc_rule_text(enum cwc_rule r)
{
	BUG_ON((unsigned)r >= CWC_RULE_COUNT);
	return rules[r].text;
}

static void report(struct cwc_problems *p, enum cwc_field f, enum cwc_rule rule, size_t index)
{
	if (p->n < CWC_PROBLEMS_MAX)
		p->at[p->n++] = (struct cwc_problem){ f, rule, (unsigned)index };
}

/* --- forms ----------------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	uint8_t lower = c | 0x20;

	return is_digit(c) || (lower >= 'a' && lower <= 'z');
}

static bool is_hex(uint8_t c)
{
	uint8_t lower = c | 0x20;

	return is_digit(c) || (lower >= 'a' && lower <= 'f');
}

/* In `shape`, N stands for a digit and every other character for itself. */
static bool has_shape(struct span s, const char *shape)
{
	for (size_t i = 0; i < s.n; i++) {
		if (shape[i] == 'N' ? !is_digit(s.p[i]) : s.p[i] != (uint8_t)shape[i] || shape[i] == '\0')
			return false;
	}
	return shape[s.n] == '\0';
}

static bool is_delivery_id(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]))
			return false;
	}
	return s.n == CWC_DELIVERY_ID_SIZE - 1;
}

/* The schema asks for eight digits; that they are a date is asked here. */
static bool is_date(struct span s)
{
	static const unsigned days[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned v[8];

	if (!has_shape(s, "NNNNNNNN"))
		return false;
	for (size_t i = 0; i < 8; i++)
		v[i] = s.p[i] - (unsigned)'0';
	unsigned year = v[0] * 1000 + v[1] * 100 + v[2] * 10 + v[3], month = v[4] * 10 + v[5], day = v[6] * 10 + v[7];
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (year == 0 || month < 1 || month > 12 || day < 1 || day > days[month - 1])
		return false;
	return month != 2 || day < 29 || leap;
}

/* The White_Space property of Unicode. */
static bool is_space(uint32_t c)
{
	return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool has_space(struct span s)
{
	for (size_t at = 0; at < s.n;) {
		if (is_space(text_utf8_next(s, &at)))
			return true;
	}
	return false;
}

/* The schema's pattern: [^@]+@[^.]+\..+ (a second @ is let through there, and here). */
static bool is_email(struct span s)
{
	const uint8_t *end = s.p + s.n, *at, *dot;

	at = span_find(s, span_lit("@"));
	if (at == NULL || at == s.p)
		return false;
	at++;
	dot = span_find(span_of(at, (size_t)(end - at)), span_lit("."));
	return dot != NULL && dot > at && dot + 1 < end && !has_space(s);
}

/* host[:port], without credentials and without an address in brackets. */
static bool is_authority(struct span s)
{
	const uint8_t *colon = span_find(s, span_lit(":"));
	size_t host = colon != NULL ? (size_t)(colon - s.p) : s.n;
	struct span port = span_of(s.p + host, s.n - host);

	if (host == 0 || span_find(s, span_lit("@")) != NULL || port.n > 1 + URI_PORT_DIGITS_MAX)
		return false;
	for (size_t i = 1; i < port.n; i++) {
		if (!is_digit(port.p[i]))
			return false;
	}
	return port.n != 1;
}

/* The characters of RFC 3986 and, as xsd:anyURI allows, all beyond ASCII. Brackets are only good for
 * numeric addresses there, and libxml2 refuses them anywhere else. */
static bool is_uri_tail(struct span s)
{
	unsigned fragments = 0;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (c == '%' && (i + 2 >= s.n || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2])))
			return false;
		if (c <= ' ' || c == 0x7f || span_find(span_lit("\"<>[\\]^`{|}"), span_of(&c, 1)) != NULL)
			return false;
		fragments += c == '#';
	}
	return fragments <= 1 && !has_space(s);
}

static bool is_uri(struct span s)
{
	size_t scheme = s.n >= 8 && span_eq_nocase(span_of(s.p, 8), span_lit("https://")) ? 8 : 7;

	if (s.n <= scheme || (scheme == 7 && !span_eq_nocase(span_of(s.p, 7), span_lit("http://"))))
		return false;
	size_t end = scheme;

	while (end < s.n && s.p[end] != '/' && s.p[end] != '?' && s.p[end] != '#')
		end++;
	return is_authority(span_of(s.p + scheme, end - scheme)) && is_uri_tail(span_of(s.p + scheme, s.n - scheme));
}

static bool is_bill_number(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return false;
	}
	return s.n >= 1 && s.n <= BILL_NUMBER_DIGITS_MAX && s.p[0] != '0';
}

static enum cwc_rule check_office(struct span s, enum cwc_chamber chamber)
{
	enum cwc_chamber c;

	if (cwc_office_parse(s, &c) != ERR_OK)
		return CWC_RULE_PATTERN;
	return c == chamber ? CWC_RULE_COUNT : CWC_RULE_CHAMBER;
}

/* The rule that the form of a value breaks, or CWC_RULE_COUNT. */
static enum cwc_rule check_form(const struct cwc_row *row, struct span s, enum cwc_chamber chamber)
{
	bool good = true;
	enum cwc_rule rule = CWC_RULE_PATTERN;

	switch (row->kind) {
	case CWC_KIND_ALNUM:
		good = is_delivery_id(s);
		break;
	case CWC_KIND_DATE:
		good = is_date(s);
		break;
	case CWC_KIND_EMAIL:
		good = is_email(s);
		break;
	case CWC_KIND_PHONE:
		good = has_shape(s, "NNN-NNN-NNNN");
		break;
	case CWC_KIND_ZIP:
		good = has_shape(s, s.n <= 5 ? "NNNNN" : "NNNNN-NNNN");
		break;
	case CWC_KIND_URI:
		good = is_uri(s);
		break;
	case CWC_KIND_OFFICE:
		return check_office(s, chamber);
	case CWC_KIND_YES_NO:
		good = span_eq_nocase(s, span_lit("y")) || span_eq_nocase(s, span_lit("n"));
		rule = CWC_RULE_VALUE;
		break;
	case CWC_KIND_PRO_CON:
		good = span_eq_nocase(s, span_lit("pro")) || span_eq_nocase(s, span_lit("con"));
		rule = CWC_RULE_VALUE;
		break;
	case CWC_KIND_PREFIX:
		good = chamber == CWC_HOUSE || cwc_prefix_known(s);
		rule = CWC_RULE_VALUE;
		break;
	case CWC_KIND_STATE:
		good = cwc_state_known(s);
		rule = CWC_RULE_VALUE;
		break;
	case CWC_KIND_LINE:
	case CWC_KIND_TEXT:
	case CWC_KIND_TOPICS:
	case CWC_KIND_BILLS:
		break;
	}
	return good ? CWC_RULE_COUNT : rule;
}

/* --- text ------------------------------------------------------------------------------------ */

/* Code points that no value may have: Char of XML 1.0 section 2.2 leaves out C0, surrogates (not in
 * UTF-8 anyway) and U+FFFE, U+FFFF; C1 and DEL are legal there but never meant. U+2028 and U+2029
 * break lines, too. */
static bool is_forbidden(uint32_t c, bool lines)
{
	if (c == '\t' || c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029)
		return !lines;
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xfffe || c == 0xffff;
}

static bool has_forbidden(struct span s, bool lines)
{
	for (size_t at = 0; at < s.n;) {
		if (s.p[at] >= 0x20 && s.p[at] < 0x7f)
			at++;
		else if (is_forbidden(text_utf8_next(s, &at), lines))
			return true;
	}
	return false;
}

/* CR LF is rendered as one character, and counts as one. */
static size_t count_crlf(struct span s)
{
	size_t n = 0;

	for (size_t i = 1; i < s.n; i++)
		n += s.p[i] == '\n' && s.p[i - 1] == '\r';
	return n;
}

/* Kinds whose form says it all need no length of their own. */
static bool has_length(enum cwc_kind kind, enum cwc_chamber chamber)
{
	return kind == CWC_KIND_LINE || kind == CWC_KIND_TEXT || kind == CWC_KIND_EMAIL || kind == CWC_KIND_URI ||
	       (kind == CWC_KIND_PREFIX && chamber == CWC_HOUSE);
}

static void check_value(struct cwc_problems *p, enum cwc_field f, struct span s, enum cwc_chamber chamber)
{
	const struct cwc_row *row = cwc_row(f);
	bool lines = row->kind == CWC_KIND_TEXT;
	size_t points = 0;

	if (text_utf8_length(s, &points) != ERR_OK) {
		report(p, f, CWC_RULE_ENCODING, 0);
		return;
	}
	bool control = has_forbidden(s, lines);

	if (control)
		report(p, f, CWC_RULE_CONTROL, 0);
	if (lines)
		points -= count_crlf(s);
	if (has_length(row->kind, chamber) && (points < row->min || points > row->max)) {
		report(p, f, points < row->min ? CWC_RULE_TOO_SHORT : CWC_RULE_TOO_LONG, 0);
		return;
	}
	if (!control) {
		enum cwc_rule rule = check_form(row, s, chamber);

		if (rule != CWC_RULE_COUNT)
			report(p, f, rule, 0);
	}
}

/* --- lists and bodies ------------------------------------------------------------------------ */

static void check_topics(struct cwc_problems *p, const struct cwc_letter *l)
{
	for (size_t i = 0; i < l->n_topics && i < CWC_TOPICS_MAX; i++) {
		if (!cwc_topic_known(l->topic[i])) {
			report(p, CWC_TOPICS, CWC_RULE_VALUE, i + 1);
			continue;
		}
		for (size_t k = 0; k < i; k++) {
			if (span_eq(l->topic[k], l->topic[i])) {
				report(p, CWC_TOPICS, CWC_RULE_DUPLICATE, i + 1);
				break;
			}
		}
	}
	if (l->n_topics > CWC_TOPICS_MAX)
		report(p, CWC_TOPICS, CWC_RULE_TOO_MANY, 0);
}

/* The schema lets each part of a bill be left out; a bill that lacks one names nothing. */
static void check_bill(struct cwc_problems *p, const struct cwc_bill *b, enum cwc_chamber chamber, size_t index)
{
	if (b->congress.n == 0 || b->type.n == 0 || b->number.n == 0)
		report(p, CWC_BILLS, CWC_RULE_MISSING, index);
	if ((b->congress.n > 0 && !is_bill_number(b->congress)) || (b->number.n > 0 && !is_bill_number(b->number)))
		report(p, CWC_BILLS, CWC_RULE_PATTERN, index);
	if (b->type.n > 0 && cwc_bill_type(b->type, chamber) == NULL)
		report(p, CWC_BILLS, CWC_RULE_VALUE, index);
}

static void check_bills(struct cwc_problems *p, const struct cwc_letter *l, enum cwc_chamber chamber)
{
	for (size_t i = 0; i < l->n_bills && i < CWC_BILLS_MAX; i++)
		check_bill(p, &l->bill[i], chamber, i + 1);
	if (l->n_bills > CWC_BILLS_MAX)
		report(p, CWC_BILLS, CWC_RULE_TOO_MANY, 0);
}

static struct span next_word(struct span s, size_t *at)
{
	size_t i = *at;

	while (i < s.n && (s.p[i] == ' ' || (s.p[i] >= '\t' && s.p[i] <= '\r')))
		i++;
	size_t start = i;

	while (i < s.n && s.p[i] != ' ' && (s.p[i] < '\t' || s.p[i] > '\r'))
		i++;
	*at = i;
	return span_of(s.p + start, i - start);
}

static bool same_words(struct span a, struct span b)
{
	size_t at_a = 0, at_b = 0;
	struct span x, y;

	do {
		x = next_word(a, &at_a);
		y = next_word(b, &at_b);
		if (!span_eq(x, y))
			return false;
	} while (x.n > 0);
	return true;
}

static void check_bodies(struct cwc_problems *p, const struct cwc_letter *l, enum cwc_field f)
{
	bool statement = cwc_has(l, CWC_ORG_STATEMENT), message = cwc_has(l, CWC_CONSTITUENT_MESSAGE);

	if (f == CWC_ORG_STATEMENT && !statement && !message)
		report(p, f, CWC_RULE_NO_BODY, 0);
	if (f == CWC_CONSTITUENT_MESSAGE && statement && message &&
	    same_words(l->v[CWC_ORG_STATEMENT], l->v[CWC_CONSTITUENT_MESSAGE]))
		report(p, f, CWC_RULE_SAME_BODY, 0);
}

enum err cwc_validate(const struct cwc_letter *l, enum cwc_chamber chamber, struct cwc_problems *ret_p)
{
	ret_p->n = 0;
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		enum cwc_field f = (enum cwc_field)i;

		if (!cwc_has(l, f)) {
			if (cwc_row(f)->required)
				report(ret_p, f, CWC_RULE_MISSING, 0);
		} else if (f == CWC_TOPICS) {
			check_topics(ret_p, l);
		} else if (f == CWC_BILLS) {
			check_bills(ret_p, l, chamber);
		} else {
			check_value(ret_p, f, l->v[f], chamber);
		}
		check_bodies(ret_p, l, f);
	}
	return ret_p->n == 0 ? ERR_OK : ERR_LETTER_INVALID;
}
