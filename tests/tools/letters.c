/* SPDX-License-Identifier: Apache-2.0 */
/*
 * letters SEED COUNT house|senate DIR [broken]
 *
 * Makes COUNT random letters, validates them and writes each as DIR/N.xml. They use every optional
 * element, the shortest and the longest values, all planes of Unicode and everything that must be
 * escaped. With `broken`, each letter breaks exactly one rule; DIR/index says which one, and whether
 * a schema can see it: "N element rule yes|no". The same seed makes the same letters.
 *
 * Ends with status 1 when cwc_validate() says anything else than was expected.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/fields.h"

static uint64_t seed_state;

static uint64_t draw(uint64_t n)
{
	/* splitmix64 */
	uint64_t z = seed_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

/* --- memory of one letter -------------------------------------------------------------------- */

static uint8_t arena[(size_t)1 << 20];
static size_t used;

static void put(const void *p, size_t n)
{
	BUG_ON(n > sizeof(arena) - used);
	memcpy(arena + used, p, n);
	used += n;
}

static void put_str(const char *s)
{
	put(s, strlen(s));
}

static void put_byte(char c)
{
	put(&c, 1);
}

static struct span since(size_t start)
{
	return span_of(arena + start, used - start);
}

/* --- values ---------------------------------------------------------------------------------- */

static const char *const plain[] = { "&", "<", ">", "\"", "'", "]]>", "<![CDATA[", "&amp;", " ", "%", "\xc2\xa0" };
static const char *const wide[] = {
	"\xc3\xa9",         "\xc3\xbf",         "\xd0\x96",         "\xd7\x90",         "\xe2\x82\xac",
	"\xe6\xb0\xb4",     "\xef\xbf\xbd",     "\xee\x80\x80",     "\xed\x9f\xbf",     "\xe2\x80\x8b",
	"\xf0\x9d\x95\x8f", "\xf0\x9f\x8c\xbe", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbd", "\xcc\x81",
};
static const char *const breaks[] = { "\n", "\r\n", "\r", "\t", "\xe2\x80\xa8" };

#define PICK(list) ((list)[draw(sizeof(list) / sizeof((list)[0]))])

/* Code points, with CR LF counted as one. */
static size_t points_of(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80 && !(s[0] == '\r' && s[1] == '\n');
	return n;
}

static struct span free_text(size_t points, bool lines)
{
	size_t start = used;
	bool ascii = draw(2) == 0;

	while (points > 0) {
		char one[2] = { (char)('!' + draw('~' - '!' + 1)), '\0' };
		uint64_t dice = draw(20);
		const char *s = one;

		if (used > start && dice == 0)
			s = PICK(plain);
		else if (used > start && lines && dice == 1)
			s = PICK(breaks);
		else if (!ascii && dice < 12)
			s = PICK(wide);
		/* A lone CR before a lone LF would become one. */
		if (points_of(s) > points || (s[0] == '\n' && arena[used - 1] == '\r'))
			s = "x";
		put_str(s);
		points -= points_of(s);
	}
	return since(start);
}

/* Mostly short, sometimes at an edge. */
static size_t length_between(size_t min, size_t max)
{
	uint64_t dice = draw(30);

	if (dice == 0)
		return max;
	if (dice == 1)
		return max - 1;
	if (dice < 6)
		return min;
	return min + draw(max - min < 60 ? max - min + 1 : 60);
}

static struct span shape(const char *s)
{
	static const char alnum[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t start = used;

	for (; *s != '\0'; s++) {
		if (*s == 'N')
			put_byte((char)('0' + draw(10)));
		else
			put_byte(*s == 'A' ? alnum[draw(sizeof(alnum) - 1)] : *s);
	}
	return since(start);
}

static struct span date(void)
{
	char s[32];

	snprintf(s, sizeof(s), "%04u%02u%02u", (unsigned)draw(9999) + 1, (unsigned)draw(12) + 1,
		 (unsigned)draw(28) + 1);
	return shape(s);
}

static void put_some(const char *set, size_t n)
{
	for (; n > 0; n--)
		put_byte(set[draw(strlen(set))]);
}

static struct span email(void)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789&'\"<>+-_";
	bool longest = draw(20) == 0;
	size_t start = used;

	put_some(set, 1 + draw(20));
	put_str(draw(5) == 0 ? ".\xc3\xbc@" : "@");
	put_some(set, longest ? 400 : 1 + draw(10));
	put_str(draw(5) == 0 ? ".\xe6\xb0\xb4." : ".");
	put_some(set, 1 + draw(3));
	return since(start);
}

static struct span uri(void)
{
	static const char set[] = "abcXYZ0189-._~!$&'()*+,;=:@/?";
	size_t start = used;

	put_str(draw(2) == 0 ? "https://" : "HTTP://");
	put_some("abcdefghijklmnopqrstuvwxyz-0123456789.", 1 + draw(20));
	if (draw(3) == 0)
		put_str(":8443");
	if (draw(4) > 0) {
		put_str(draw(2) == 0 ? "/" : "?");
		put_some(set, draw(20) == 0 ? 1900 : draw(40));
		put_str(draw(3) == 0 ? "%C3%bC\xc3\xa9" : "");
		put_str(draw(3) == 0 ? "#" : "");
		put_some(set, draw(10));
	}
	return since(start);
}

static struct span state_code(void)
{
	char s[2];

	do {
		s[0] = (char)('A' + draw(26));
		s[1] = (char)('A' + draw(26));
	} while (!cwc_state_known(span_of(s, 2)));
	size_t start = used;

	put(s, 2);
	return since(start);
}

static struct span office(enum cwc_chamber chamber)
{
	for (;;) {
		size_t start = used;
		enum cwc_chamber c;

		put_byte(chamber == CWC_HOUSE ? 'H' : 'S');
		put_byte((char)('A' + draw(26)));
		put_byte((char)('A' + draw(26)));
		put_byte((char)('0' + draw(chamber == CWC_HOUSE ? 10 : 1)));
		put_byte((char)('0' + draw(10)));
		if (cwc_office_parse(since(start), &c) == ERR_OK)
			return since(start);
		used = start;
	}
}

static struct span prefix(enum cwc_chamber chamber)
{
	static const char *const five[] = { "Mr.", "Mrs.", "Miss", "Ms.", "Dr." };

	if (chamber == CWC_HOUSE && draw(2) == 0)
		return free_text(length_between(1, 500), false);
	return span_str(PICK(five));
}

static struct span value(const struct cwc_row *row, enum cwc_chamber chamber)
{
	static const char *const yes_no[] = { "Y", "N", "y", "n" };
	static const char *const pro_con[] = { "Pro", "Con", "pro", "CON", "pRo" };

	switch (row->kind) {
	case CWC_KIND_ALNUM:
		return shape("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	case CWC_KIND_DATE:
		return date();
	case CWC_KIND_LINE:
	case CWC_KIND_TEXT:
		return free_text(length_between(row->min, row->max), row->kind == CWC_KIND_TEXT);
	case CWC_KIND_EMAIL:
		return email();
	case CWC_KIND_PHONE:
		return shape("NNN-NNN-NNNN");
	case CWC_KIND_OFFICE:
		return office(chamber);
	case CWC_KIND_YES_NO:
		return span_str(PICK(yes_no));
	case CWC_KIND_PREFIX:
		return prefix(chamber);
	case CWC_KIND_STATE:
		return state_code();
	case CWC_KIND_ZIP:
		return shape(draw(2) == 0 ? "NNNNN" : "NNNNN-NNNN");
	case CWC_KIND_PRO_CON:
		return span_str(PICK(pro_con));
	case CWC_KIND_URI:
		return uri();
	case CWC_KIND_TOPICS:
	case CWC_KIND_BILLS:
		break;
	}
	return span_of(NULL, 0);
}

/* --- lists ----------------------------------------------------------------------------------- */

static const char *const topic_names[CWC_TOPICS_MAX] = {
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

static void topics(struct cwc_letter *l)
{
	size_t first = draw(CWC_TOPICS_MAX);

	l->n_topics = draw(10) == 0 ? CWC_TOPICS_MAX : 1 + draw(3);
	for (size_t i = 0; i < l->n_topics; i++)
		l->topic[i] = span_str(topic_names[(first + i * 5) % CWC_TOPICS_MAX]);
}

static struct cwc_bill one_bill(void)
{
	static const char *const types[] = { "hamdt",    "hconres", "hjres",  "hr",         "hres",      "s",
					     "samdt",    "sconres", "sjres",  "sres",       "H.Amdt.",   "H.Con.Res",
					     "H.J.Res.", "H.R.",    "H.Res.", "S.",         "S.Amdt.",   "S.Con.Res.",
					     "S.J.Res.", "S.Res.",  "HR",     "H. J. Res.", "H.Con.Res." };
	static const char *const numbers[] = { "1", "119", "9999", "999999", "100000", "10" };

	return (struct cwc_bill){ span_str(PICK(numbers)), span_str(PICK(types)), span_str(PICK(numbers)) };
}

static void bills(struct cwc_letter *l)
{
	static const size_t counts[] = { 0, 0, 1, 2, CWC_BILLS_MAX };

	l->n_bills = PICK(counts);
	for (size_t i = 0; i < l->n_bills; i++)
		l->bill[i] = one_bill();
}

static void valid_letter(struct cwc_letter *l, enum cwc_chamber chamber)
{
	uint64_t all = draw(4);

	used = 0;
	cwc_letter_init(l);
	topics(l);
	bills(l);
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		const struct cwc_row *row = cwc_row((enum cwc_field)i);

		if (row->required || all == 0 || (all > 1 && draw(2) == 0))
			l->v[i] = value(row, chamber);
	}
	if (!cwc_has(l, CWC_ORG_STATEMENT) && !cwc_has(l, CWC_CONSTITUENT_MESSAGE)) {
		enum cwc_field f = draw(2) == 0 ? CWC_ORG_STATEMENT : CWC_CONSTITUENT_MESSAGE;

		l->v[f] = value(cwc_row(f), chamber);
	}
}

#include "tests/tools/letters_break.h"

/* --- output ---------------------------------------------------------------------------------- */

static bool as_expected(const struct cwc_letter *l, enum cwc_chamber chamber, const struct letters_break *b)
{
	struct cwc_problems p;
	enum err e = cwc_validate(l, chamber, &p);
	struct buf text;

	if (b == NULL ? e == ERR_OK && p.n == 0
		      : e != ERR_OK && p.n == 1 && p.at[0].field == b->field && p.at[0].rule == b->rule)
		return true;
	buf_init(&text, 65536);
	cwc_problems_brief(&p, &text);
	fprintf(stderr, "expected %s:%s, found: %.*s\n", b != NULL ? cwc_field_name(b->field) : "no problem",
		b != NULL ? cwc_rule_name(b->rule) : "", (int)text.n, (const char *)text.p);
	buf_clear(&text);
	return false;
}

static bool save(const struct cwc_letter *l, enum cwc_chamber chamber, const char *dir, unsigned long number)
{
	static struct buf xml = { .max = (size_t)4 << 20 };
	char path[4096];

	buf_reset(&xml);
	cwc_render(l, chamber, &xml);
	snprintf(path, sizeof(path), "%s/%lu.xml", dir, number);
	FILE *f = fopen(path, "wb");

	if (f == NULL || buf_ok(&xml) != ERR_OK) {
		perror(path);
		if (f != NULL)
			fclose(f);
		return false;
	}
	bool good = fwrite(xml.p, 1, xml.n, f) == xml.n;

	return fclose(f) == 0 && good;
}

static bool make(enum cwc_chamber chamber, const char *dir, unsigned long number, FILE *index)
{
	static struct cwc_letter l;
	struct letters_break b = { .rule = CWC_RULE_COUNT };

	valid_letter(&l, chamber);
	if (index == NULL)
		return as_expected(&l, chamber, NULL) && save(&l, chamber, dir, number);
	while (b.rule == CWC_RULE_COUNT)
		break_letter(&l, chamber, &b);
	fprintf(index, "%lu %s %s %s\n", number, cwc_field_name(b.field), cwc_rule_name(b.rule),
		b.visible ? "yes" : "no");
	return as_expected(&l, chamber, &b) && save(&l, chamber, dir, number);
}

int main(int argc, char **argv)
{
	char path[4096];
	FILE *index = NULL;
	bool good = true;

	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: letters SEED COUNT house|senate DIR [broken]\n");
		return 2;
	}
	unsigned long count = strtoul(argv[2], NULL, 10);
	enum cwc_chamber chamber = strcmp(argv[3], "house") == 0 ? CWC_HOUSE : CWC_SENATE;

	seed_state = strtoull(argv[1], NULL, 10);
	if (argc == 6) {
		snprintf(path, sizeof(path), "%s/index", argv[4]);
		index = fopen(path, "w");
		if (index == NULL) {
			perror(path);
			return 2;
		}
	}
	for (unsigned long i = 0; i < count; i++)
		good = make(chamber, argv[4], i, index) && good;
	if (index != NULL)
		fclose(index);
	return good ? 0 : 1;
}
