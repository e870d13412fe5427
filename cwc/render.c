/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"

static const struct {
	const char *name;
	unsigned depth;
} groups[CWC_GROUP_COUNT] = {
	[CWC_GROUP_DELIVERY] = { "Delivery", 1 },
	[CWC_GROUP_AGENT_CONTACT] = { "DeliveryAgentContact", 2 },
	[CWC_GROUP_ORG_CONTACT] = { "OrganizationContact", 2 },
	[CWC_GROUP_RECIPIENT] = { "Recipient", 1 },
	[CWC_GROUP_CONSTITUENT] = { "Constituent", 1 },
	[CWC_GROUP_MESSAGE] = { "Message", 1 },
};

static void add_tag(struct buf *out, const char *before, const char *name, const char *after)
{
	buf_add_str(out, before);
	buf_add_str(out, name);
	buf_add_str(out, after);
}

static void indent(struct buf *out, unsigned depth)
{
	static const char spaces[] = "          ";

	BUG_ON(2 * depth >= sizeof(spaces));
	buf_add(out, spaces, (size_t)2 * depth);
}

static void open_element(struct buf *out, unsigned depth, const char *name)
{
	indent(out, depth);
	add_tag(out, "<", name, ">\n");
}

static void close_element(struct buf *out, unsigned depth, const char *name)
{
	indent(out, depth);
	add_tag(out, "</", name, ">\n");
}

static const char *escape(uint8_t c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&apos;";
	case '\r':
		return "\n";
	default:
		return NULL;
	}
}

/* Copies the runs between special characters. XML 1.0 section 2.11 would read a CR as LF anyway;
 * written as LF, what we count is what the reader counts. */
static void add_text(struct buf *out, struct span s)
{
	size_t run = 0;

	for (size_t i = 0; i < s.n; i++) {
		const char *instead = escape(s.p[i]);

		if (instead == NULL)
			continue;
		buf_add(out, s.p + run, i - run);
		buf_add_str(out, instead);
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
		run = i + 1;
	}
	if (run < s.n)
		buf_add(out, s.p + run, s.n - run);
}

static void leaf(struct buf *out, unsigned depth, const char *name, struct span value)
{
	indent(out, depth);
	add_tag(out, "<", name, ">");
	add_text(out, value);
	add_tag(out, "</", name, ">\n");
}

/* Y, N, Pro and Con have one spelling, whatever the case was; all other values are as given. */
static struct span spelling(enum cwc_kind kind, struct span s)
{
	if (kind == CWC_KIND_YES_NO && span_eq_nocase(s, span_lit("y")))
		return span_lit("Y");
	if (kind == CWC_KIND_YES_NO && span_eq_nocase(s, span_lit("n")))
		return span_lit("N");
	if (kind == CWC_KIND_PRO_CON && span_eq_nocase(s, span_lit("pro")))
		return span_lit("Pro");
	if (kind == CWC_KIND_PRO_CON && span_eq_nocase(s, span_lit("con")))
		return span_lit("Con");
	return s;
}

static void topics(const struct cwc_letter *l, struct buf *out)
{
	open_element(out, 2, "LibraryOfCongressTopics");
	for (size_t i = 0; i < l->n_topics; i++)
		leaf(out, 3, "LibraryOfCongressTopic", l->topic[i]);
	close_element(out, 2, "LibraryOfCongressTopics");
}

static void bill(const struct cwc_bill *b, enum cwc_chamber chamber, struct buf *out)
{
	const char *type = cwc_bill_type(b->type, chamber);

	open_element(out, 3, "Bill");
	leaf(out, 4, "BillCongress", b->congress);
	leaf(out, 4, "BillTypeAbbreviation", type != NULL ? span_str(type) : b->type);
	leaf(out, 4, "BillNumber", b->number);
	close_element(out, 3, "Bill");
}

static void bills(const struct cwc_letter *l, enum cwc_chamber chamber, struct buf *out)
{
	open_element(out, 2, "Bills");
	for (size_t i = 0; i < l->n_bills; i++)
		bill(&l->bill[i], chamber, out);
	close_element(out, 2, "Bills");
}

/* Closes what `from` has open and `to` lacks, and opens the rest. COUNT stands for the root alone. */
static void change_group(struct buf *out, enum cwc_group from, enum cwc_group to)
{
	bool nested = to < CWC_GROUP_COUNT && groups[to].depth == 2;
	bool in_delivery = from == CWC_GROUP_AGENT_CONTACT || from == CWC_GROUP_ORG_CONTACT;

	if (from == to)
		return;
	if (in_delivery) {
		close_element(out, 2, groups[from].name);
		from = CWC_GROUP_DELIVERY;
	}
	enum cwc_group top = nested ? CWC_GROUP_DELIVERY : to;

	if (from != top) {
		if (from < CWC_GROUP_COUNT)
			close_element(out, 1, groups[from].name);
		if (top < CWC_GROUP_COUNT)
			open_element(out, 1, groups[top].name);
	}
	if (nested)
		open_element(out, 2, groups[to].name);
}

void cwc_render(const struct cwc_letter *l, enum cwc_chamber chamber, struct buf *out)
{
	enum cwc_group open = CWC_GROUP_COUNT;

	buf_add_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CWC>\n");
	leaf(out, 1, "CWCVersion", span_lit("2.0"));
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		enum cwc_field f = (enum cwc_field)i;
		const struct cwc_row *row = cwc_row(f);

		if (!cwc_has(l, f))
			continue;
		change_group(out, open, row->group);
		open = row->group;
		if (f == CWC_TOPICS)
			topics(l, out);
		else if (f == CWC_BILLS)
			bills(l, chamber, out);
		else
			leaf(out, groups[open].depth + 1, row->name, spelling(row->kind, l->v[f]));
	}
	change_group(out, open, CWC_GROUP_COUNT);
	buf_add_str(out, "</CWC>\n");
}
