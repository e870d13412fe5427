/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"

/* What the form of each kind is, for people. NULL where the rule says it all. */
static const char *form_hint(enum cwc_kind kind, enum cwc_chamber chamber)
{
	switch (kind) {
	case CWC_KIND_ALNUM:
		return "32 letters or digits";
	case CWC_KIND_DATE:
		return "a date as YYYYMMDD";
	case CWC_KIND_EMAIL:
		return "name@host.domain";
	case CWC_KIND_PHONE:
		return "NNN-NNN-NNNN";
	case CWC_KIND_OFFICE:
		return chamber == CWC_HOUSE ? "H, state, two digits: HNE03" : "S, state, 0, class: SNE02";
	case CWC_KIND_YES_NO:
		return "Y or N";
	case CWC_KIND_PREFIX:
		return "Mr., Mrs., Miss, Ms. or Dr.";
	case CWC_KIND_STATE:
		return "the two letters of a state, DC, AS, GU, MP, PR or VI";
	case CWC_KIND_ZIP:
		return "NNNNN or NNNNN-NNNN";
	case CWC_KIND_PRO_CON:
		return "Pro or Con";
	case CWC_KIND_URI:
		return "an absolute http or https address";
	case CWC_KIND_TOPICS:
		return "a LibraryOfCongressTopic of CWC 2.0";
	case CWC_KIND_BILLS:
		return "congress and number in digits, and a type such as H.R.";
	case CWC_KIND_LINE:
	case CWC_KIND_TEXT:
		break;
	}
	return NULL;
}

static void add_range(const struct cwc_row *row, struct buf *out)
{
	buf_add_str(out, " (");
	buf_add_uint(out, row->min);
	buf_add_str(out, " to ");
	buf_add_uint(out, row->max);
	buf_add_str(out, " characters)");
}

static void add_hint(const struct cwc_problem *p, enum cwc_chamber chamber, struct buf *out)
{
	const struct cwc_row *row = cwc_row(p->field);
	const char *hint = form_hint(row->kind, chamber);

	if (p->rule == CWC_RULE_TOO_SHORT || p->rule == CWC_RULE_TOO_LONG) {
		add_range(row, out);
	} else if (p->rule == CWC_RULE_TOO_MANY) {
		buf_add_str(out, " (at most ");
		buf_add_uint(out, row->max);
		buf_add_str(out, ")");
	} else if (hint != NULL && (p->rule == CWC_RULE_PATTERN || p->rule == CWC_RULE_VALUE ||
				    p->rule == CWC_RULE_CHAMBER || (p->rule == CWC_RULE_MISSING && p->index > 0))) {
		buf_add_str(out, " (");
		buf_add_str(out, hint);
		buf_add_str(out, ")");
	}
}

static void add_place(const struct cwc_problem *p, struct buf *out)
{
	buf_add_str(out, cwc_field_name(p->field));
	if (p->index > 0) {
		buf_add_byte(out, '/');
		buf_add_uint(out, p->index);
	}
}

void cwc_problems_brief(const struct cwc_problems *p, struct buf *out)
{
	for (size_t i = 0; i < p->n; i++) {
		if (i > 0)
			buf_add_byte(out, ',');
		add_place(&p->at[i], out);
		buf_add_byte(out, ':');
		buf_add_str(out, cwc_rule_name(p->at[i].rule));
	}
}

void cwc_problems_text(const struct cwc_problems *p, enum cwc_chamber chamber, struct buf *out)
{
	for (size_t i = 0; i < p->n; i++) {
		add_place(&p->at[i], out);
		buf_add_str(out, ": ");
		buf_add_str(out, cwc_rule_text(p->at[i].rule));
		add_hint(&p->at[i], chamber, out);
		buf_add_byte(out, '\n');
	}
}
