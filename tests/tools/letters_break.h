/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second half of letters.c, and included there only: breaks exactly one rule of a valid letter.
 *
 * Each function takes one kind of breach. It returns what it broke, or nothing() when that breach
 * does not apply to the field that was drawn; the letter is as it was then. `visible` says that the
 * RELAX NG schema of the chamber, or the XML parser in front of it, must refuse the document; the
 * other breaches are of rules of our own, stricter than the schema (a date that no calendar has, a
 * line break in a name, a topic twice, the same text in both bodies).
 */
#ifndef TESTS_TOOLS_LETTERS_BREAK_H
#define TESTS_TOOLS_LETTERS_BREAK_H

struct letters_break {
	enum cwc_field field;
	enum cwc_rule rule;
	bool visible;
};

static struct letters_break broke(enum cwc_field f, enum cwc_rule rule, bool visible)
{
	return (struct letters_break){ f, rule, visible };
}

static struct letters_break nothing(void)
{
	return broke(CWC_FIELD_COUNT, CWC_RULE_COUNT, false);
}

static bool is_free(enum cwc_kind kind)
{
	return kind == CWC_KIND_LINE || kind == CWC_KIND_TEXT;
}

static struct letters_break leave_out(struct cwc_letter *l, enum cwc_field f)
{
	if (!cwc_row(f)->required)
		return nothing();
	if (f == CWC_TOPICS)
		l->n_topics = 0;
	else
		l->v[f] = span_of(NULL, 0);
	return broke(f, CWC_RULE_MISSING, true);
}

static struct letters_break wrong_length(struct cwc_letter *l, enum cwc_field f, bool longer)
{
	const struct cwc_row *row = cwc_row(f);

	if (!is_free(row->kind) || (!longer && row->min == 1))
		return nothing();
	l->v[f] = free_text(longer ? row->max + 1 : row->min - 1, row->kind == CWC_KIND_TEXT);
	return broke(f, longer ? CWC_RULE_TOO_LONG : CWC_RULE_TOO_SHORT, true);
}

/* Not even well-formed XML. */
static struct letters_break bad_character(struct cwc_letter *l, enum cwc_field f)
{
	static const char *const control[] = { "abcdef\x01",
					       "abcdef\x1f",
					       "abcdef\x0b",
					       "abcdef\xef\xbf\xbe",
					       "abcdef\xef\xbf\xbf",
					       "\x08"
					       "abcdef" };
	static const char *const encoding[] = { "abcdef\xff",
						"abcdef\xc0\xaf",
						"abcdef\xed\xa0\x80",
						"abcdef\xe2\x82",
						"abcdef\xf4\x90\x80\x80",
						"\x80"
						"abcdef" };
	bool utf8 = draw(2) == 0;

	if (!is_free(cwc_row(f)->kind))
		return nothing();
	l->v[f] = span_str(utf8 ? PICK(encoding) : PICK(control));
	return broke(f, utf8 ? CWC_RULE_ENCODING : CWC_RULE_CONTROL, true);
}

/* Stricter than the schema, which lets them through. */
static struct letters_break bad_line(struct cwc_letter *l, enum cwc_field f)
{
	static const char *const lines[] = { "abcdef\n",   "abc\rdef",       "abc\tdef",
					     "abcdef\x7f", "abcdef\xc2\x85", "abcdef\xe2\x80\xa8" };

	if (cwc_row(f)->kind != CWC_KIND_LINE)
		return nothing();
	l->v[f] = span_str(PICK(lines));
	return broke(f, CWC_RULE_CONTROL, false);
}

struct bad_value {
	enum cwc_kind kind;
	enum cwc_rule rule;
	const char *text;
	bool visible;
};

static const struct bad_value bad_values[] = {
	{ CWC_KIND_ALNUM, CWC_RULE_PATTERN, "9f1c0b7e5d2a4c68b3e7a1d4f6082c9", true },
	{ CWC_KIND_ALNUM, CWC_RULE_PATTERN, "9f1c0b7e-5d2a-4c68-b3e7-a1d4f608", true },
	{ CWC_KIND_DATE, CWC_RULE_PATTERN, "2026-03-02", true },
	{ CWC_KIND_DATE, CWC_RULE_PATTERN, "20260229", false },
	{ CWC_KIND_EMAIL, CWC_RULE_PATTERN, "nobody", true },
	{ CWC_KIND_EMAIL, CWC_RULE_PATTERN, "a@.b", true },
	{ CWC_KIND_EMAIL, CWC_RULE_PATTERN, "@b.c", true },
	{ CWC_KIND_EMAIL, CWC_RULE_PATTERN, "a@b.", true },
	{ CWC_KIND_EMAIL, CWC_RULE_PATTERN, "a b@c.d", false },
	{ CWC_KIND_PHONE, CWC_RULE_PATTERN, "2175550100", true },
	{ CWC_KIND_PHONE, CWC_RULE_PATTERN, "217-555-01000", true },
	{ CWC_KIND_ZIP, CWC_RULE_PATTERN, "6915", true },
	{ CWC_KIND_ZIP, CWC_RULE_PATTERN, "69153-01", true },
	{ CWC_KIND_ZIP, CWC_RULE_PATTERN, " 69153", true },
	{ CWC_KIND_OFFICE, CWC_RULE_PATTERN, "XNE03", true },
	{ CWC_KIND_OFFICE, CWC_RULE_PATTERN, "HXX03", false },
	{ CWC_KIND_URI, CWC_RULE_PATTERN, "http://a.example/%zz", false },
	{ CWC_KIND_URI, CWC_RULE_PATTERN, "ftp://a.example/", false },
	{ CWC_KIND_YES_NO, CWC_RULE_VALUE, "yes", true },
	{ CWC_KIND_YES_NO, CWC_RULE_VALUE, "1", true },
	{ CWC_KIND_PRO_CON, CWC_RULE_VALUE, "Undecided", true },
	{ CWC_KIND_STATE, CWC_RULE_VALUE, "XX", true },
	{ CWC_KIND_STATE, CWC_RULE_VALUE, "ne", true },
	{ CWC_KIND_PREFIX, CWC_RULE_VALUE, "Mx.", true },
	{ CWC_KIND_PREFIX, CWC_RULE_VALUE, "Mr", true },
};

static struct letters_break bad_form(struct cwc_letter *l, enum cwc_chamber chamber, enum cwc_field f)
{
	const struct bad_value *bad = &PICK(bad_values);

	/* The House takes any prefix. */
	if (cwc_row(f)->kind != bad->kind || (bad->kind == CWC_KIND_PREFIX && chamber == CWC_HOUSE))
		return nothing();
	l->v[f] = span_str(bad->text);
	return broke(f, bad->rule, bad->visible);
}

static struct letters_break bad_topic(struct cwc_letter *l)
{
	if (draw(2) == 0) {
		l->topic[draw(l->n_topics)] = span_lit("Gardening");
		return broke(CWC_TOPICS, CWC_RULE_VALUE, true);
	}
	if (l->n_topics == CWC_TOPICS_MAX)
		return nothing();
	l->topic[l->n_topics] = l->topic[0];
	l->n_topics++;
	return broke(CWC_TOPICS, CWC_RULE_DUPLICATE, false);
}

static struct letters_break too_many_bills(struct cwc_letter *l)
{
	while (l->n_bills <= CWC_BILLS_MAX)
		l->bill[l->n_bills++] = one_bill();
	return broke(CWC_BILLS, CWC_RULE_TOO_MANY, false);
}

static struct letters_break bad_bill(struct cwc_letter *l)
{
	static const char *const unseen[] = { "0119", "1234567" };
	static const char *const seen[] = { "0", "-1", "12a", "1.5" };
	struct cwc_bill *b;

	if (l->n_bills == 0)
		return nothing();
	b = &l->bill[draw(l->n_bills)];
	switch (draw(4)) {
	case 0:
		b->number = span_of(NULL, 0);
		return broke(CWC_BILLS, CWC_RULE_MISSING, true);
	case 1:
		b->congress = span_str(PICK(unseen));
		return broke(CWC_BILLS, CWC_RULE_PATTERN, false);
	case 2:
		b->number = span_str(PICK(seen));
		return broke(CWC_BILLS, CWC_RULE_PATTERN, true);
	default:
		b->type = span_lit("H.B.");
		return broke(CWC_BILLS, CWC_RULE_VALUE, true);
	}
}

static struct letters_break bad_bodies(struct cwc_letter *l)
{
	if (draw(2) == 0) {
		l->v[CWC_ORG_STATEMENT] = l->v[CWC_CONSTITUENT_MESSAGE] = span_of(NULL, 0);
		return broke(CWC_ORG_STATEMENT, CWC_RULE_NO_BODY, true);
	}
	if (!cwc_has(l, CWC_ORG_STATEMENT))
		return nothing();
	l->v[CWC_CONSTITUENT_MESSAGE] = l->v[CWC_ORG_STATEMENT];
	return broke(CWC_CONSTITUENT_MESSAGE, CWC_RULE_SAME_BODY, false);
}

static struct letters_break other_chamber(struct cwc_letter *l, enum cwc_chamber chamber)
{
	l->v[CWC_MEMBER_OFFICE] = office(chamber == CWC_HOUSE ? CWC_SENATE : CWC_HOUSE);
	return broke(CWC_MEMBER_OFFICE, CWC_RULE_CHAMBER, true);
}

/* Sets ret_break->rule to CWC_RULE_COUNT when nothing was broken: draw again. */
static void break_letter(struct cwc_letter *l, enum cwc_chamber chamber, struct letters_break *ret_break)
{
	enum cwc_field f = (enum cwc_field)draw(CWC_FIELD_COUNT);

	switch (draw(24)) {
	case 0:
	case 1:
		*ret_break = leave_out(l, f);
		break;
	case 2:
		*ret_break = wrong_length(l, f, false);
		break;
	case 3:
		*ret_break = wrong_length(l, f, true);
		break;
	case 4:
		*ret_break = bad_character(l, f);
		break;
	case 5:
		*ret_break = bad_line(l, f);
		break;
	case 6:
		*ret_break = draw(8) == 0 ? bad_topic(l) : nothing();
		break;
	case 7:
		*ret_break = draw(8) == 0 ? bad_bill(l) : nothing();
		break;
	case 8:
		*ret_break = draw(8) == 0 ? bad_bodies(l) : nothing();
		break;
	case 9:
		*ret_break = draw(16) == 0 ? other_chamber(l, chamber) : nothing();
		break;
	case 10:
		*ret_break = draw(32) == 0 ? too_many_bills(l) : nothing();
		break;
	default:
		*ret_break = bad_form(l, chamber, f);
		break;
	}
}

#endif
