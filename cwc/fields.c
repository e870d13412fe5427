/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"

#include <sodium.h>
#include <string.h>

static const struct cwc_row rows[CWC_FIELD_COUNT] = {
#define CWC_FIELD_ROW(e, n, g, s, r, low, high, k) \
	[CWC_##e] = { n, sizeof(n) - 1, low, high, CWC_GROUP_##g, CWC_FROM_##s, CWC_KIND_##k, r },
	CWC_FIELDS(CWC_FIELD_ROW)
#undef CWC_FIELD_ROW
};

/* The 50 states, then those who send a delegate only. */
#define STATES_WITH_SENATE 50
static const char states[][3] = {
	"AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN",
	"IA", "KS", "KY", "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV",
	"NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN",
	"TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC", "AS", "GU", "MP", "PR", "VI",
};

static const char *const topics[] = {
	"Agriculture and Food",
	"Animals",
	"Armed Forces and National Security",
	"Arts, Culture, Religion",
	"Civil Rights and Liberties, Minority Issues",
	"Commerce",
	"Congress",
	"Crime and Law Enforcement",
	"Economics and Public Finance",
	"Education",
	"Emergency Management",
	"Energy",
	"Environmental Protection",
	"Families",
	"Finance and Financial Sector",
	"Foreign Trade and International Finance",
	"Government Operations and Politics",
	"Health",
	"Housing and Community Development",
	"Immigration",
	"International Affairs",
	"Labor and Employment",
	"Law",
	"Native Americans",
	"Public Lands and Natural Resources",
	"Science, Technology, Communications",
	"Social Sciences and History",
	"Social Welfare",
	"Sports and Recreation",
	"Taxation",
	"Transportation and Public Works",
	"Water Resources Development",
};
_Static_assert(sizeof(topics) / sizeof(topics[0]) == CWC_TOPICS_MAX, "the list of topics has 32 values");

static const char *const prefixes[] = { "Mr.", "Mrs.", "Miss", "Ms.", "Dr." };

/* The House takes the bare form; the Senate's has dots, but none at the end of H.Con.Res. */
#define BILL_TYPE_MAX 7
static const struct {
	const char *house, *senate;
} bill_types[] = {
	{ "hamdt", "H.Amdt." }, { "hconres", "H.Con.Res" },  { "hjres", "H.J.Res." },
	{ "hr", "H.R." },       { "hres", "H.Res." },        { "s", "S." },
	{ "samdt", "S.Amdt." }, { "sconres", "S.Con.Res." }, { "sjres", "S.J.Res." },
	{ "sres", "S.Res." },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *cwc_chamber_name(enum cwc_chamber c)
{
	BUG_ON((unsigned)c >= CWC_CHAMBERS);
	return c == CWC_HOUSE ? "house" : "senate";
}

const struct cwc_row *cwc_row(enum cwc_field f)
{
	BUG_ON((unsigned)f >= CWC_FIELD_COUNT);
	return &rows[f];
}

const char *cwc_field_name(enum cwc_field f)
{
	return cwc_row(f)->name;
}

enum cwc_source cwc_field_source(enum cwc_field f)
{
	return cwc_row(f)->source;
}

enum err cwc_field_find(struct span name, enum cwc_field *ret_field)
{
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++) {
		if (rows[f].name_n == name.n && memcmp(rows[f].name, name.p, name.n) == 0) {
			*ret_field = (enum cwc_field)f;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

void cwc_letter_init(struct cwc_letter *l)
{
	memset(l, 0, sizeof(*l));
}

bool cwc_has(const struct cwc_letter *l, enum cwc_field f)
{
	if (f == CWC_TOPICS)
		return l->n_topics > 0;
	if (f == CWC_BILLS)
		return l->n_bills > 0;
	return l->v[f].p != NULL && l->v[f].n > 0;
}

/* Collects ten digits. Letters and the signs of an extension or a pause ("x12", "#4", ",,4") make
 * it something else than a number; every other character is a separator. */
static bool phone_digits(struct span any, char d[11], char **ret_first)
{
	size_t n = 0;

	for (size_t i = 0; i < any.n; i++) {
		uint8_t c = any.p[i], lower = c | 0x20;

		if (c >= '0' && c <= '9') {
			if (n == 11)
				return false;
			d[n++] = (char)c;
		} else if ((lower >= 'a' && lower <= 'z') || (c != 0 && strchr("#*,;", c) != NULL)) {
			return false;
		}
	}
	bool country = n == 11 && d[0] == '1';

	/* After a plus sign stands a country code: +1 is needed then. */
	if (!country && (n != 10 || (any.n > 0 && any.p[0] == '+')))
		return false;
	*ret_first = country ? d + 1 : d;
	return true;
}

void cwc_set_phone(struct cwc_letter *l, struct span any)
{
	char digits[11], *d;

	if (!phone_digits(any, digits, &d)) {
		l->v[CWC_PHONE] = any.n > 0 ? any : span_of(NULL, 0);
		sodium_memzero(digits, sizeof(digits));
		return;
	}
	memcpy(l->phone, d, 3);
	memcpy(l->phone + 4, d + 3, 3);
	memcpy(l->phone + 8, d + 6, 4);
	sodium_memzero(digits, sizeof(digits));
	l->phone[3] = l->phone[7] = '-';
	l->phone[12] = '\0';
	l->v[CWC_PHONE] = span_of(l->phone, 12);
}

static bool state_among(struct span s, size_t n)
{
	for (size_t i = 0; s.n == 2 && i < n; i++) {
		if (memcmp(states[i], s.p, 2) == 0)
			return true;
	}
	return false;
}

bool cwc_state_known(struct span s)
{
	return state_among(s, COUNT(states));
}

bool cwc_state_has_senate(struct span s)
{
	return state_among(s, STATES_WITH_SENATE);
}

bool cwc_topic_known(struct span s)
{
	for (size_t i = 0; i < COUNT(topics); i++) {
		if (span_eq_str(s, topics[i]))
			return true;
	}
	return false;
}

bool cwc_prefix_known(struct span s)
{
	for (size_t i = 0; i < COUNT(prefixes); i++) {
		if (span_eq_str(s, prefixes[i]))
			return true;
	}
	return false;
}

const char *cwc_bill_type(struct span any, enum cwc_chamber chamber)
{
	uint8_t bare[BILL_TYPE_MAX];
	size_t n = 0;

	for (size_t i = 0; i < any.n; i++) {
		if (any.p[i] == '.' || any.p[i] == ' ')
			continue;
		if (n == sizeof(bare))
			return NULL;
		bare[n++] = any.p[i];
	}
	for (size_t i = 0; i < COUNT(bill_types); i++) {
		if (span_eq_nocase(span_of(bare, n), span_str(bill_types[i].house)))
			return chamber == CWC_HOUSE ? bill_types[i].house : bill_types[i].senate;
	}
	return NULL;
}
