/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters, office lists and answers over any bytes. Beyond memory errors it checks what cwc/
 * promises: a letter holds nothing that its source may not set, its views stay inside of the map,
 * the brief report is made of names alone, and what is rendered has no markup but our own. That
 * last one holds for every letter, valid or not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

static void check_views(const struct cwc_letter *l, struct span map, bool clear)
{
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++) {
		enum cwc_source source = cwc_field_source((enum cwc_field)f);
		bool own = f == CWC_PHONE && l->v[f].p == (const uint8_t *)l->phone;

		if (l->v[f].p == NULL)
			continue;
		check(source != CWC_FROM_WORKER && (!clear || f == CWC_PREFIX || source == CWC_FROM_PUBLIC));
		check(l->v[f].n > 0 && (own || inside(l->v[f], map)));
	}
	check(l->n_topics <= CWC_TOPICS_MAX + 1 && l->n_bills <= CWC_BILLS_MAX + 1);
	for (size_t i = 0; i < l->n_topics; i++)
		check(l->topic[i].p == NULL || inside(l->topic[i], map));
}

/* What the worker itself sets. */
static void complete(struct cwc_letter *l, enum cwc_chamber chamber)
{
	l->v[CWC_DELIVERY_ID] = span_lit("9f1c0b7e5d2a4c68b3e7a1d4f6082c95");
	l->v[CWC_DELIVERY_DATE] = span_lit("20260302");
	l->v[CWC_AGENT] = span_lit("Prairie Civic Relay LLC");
	l->v[CWC_AGENT_ACK_EMAIL] = span_lit("acks@relay.example.org");
	l->v[CWC_AGENT_CONTACT_NAME] = span_lit("Dana Okafor");
	l->v[CWC_AGENT_CONTACT_EMAIL] = span_lit("ops@relay.example.org");
	l->v[CWC_AGENT_CONTACT_PHONE] = span_lit("202-555-0117");
	l->v[CWC_MEMBER_OFFICE] = chamber == CWC_HOUSE ? span_lit("HNE03") : span_lit("SNE02");
}

static void check_report(const struct cwc_problems *p, enum cwc_chamber chamber)
{
	struct buf b;

	buf_init(&b, 16384);
	cwc_problems_brief(p, &b);
	check(buf_ok(&b) == ERR_OK);
	for (size_t i = 0; i < b.n; i++)
		check(memchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:,/", b.p[i], 66) != NULL);
	buf_reset(&b);
	cwc_problems_text(p, chamber, &b);
	check(buf_ok(&b) == ERR_OK);
	buf_clear(&b);
}

static size_t count(struct span s, uint8_t c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

/* Tags are balanced, and each '<' starts one. */
static void check_document(struct span xml, bool valid)
{
	static const char head[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CWC>\n", tail[] = "</CWC>\n";
	size_t ends = 0;

	check(xml.n > sizeof(head) + sizeof(tail) && memcmp(xml.p, head, sizeof(head) - 1) == 0);
	check(memcmp(xml.p + xml.n - (sizeof(tail) - 1), tail, sizeof(tail) - 1) == 0);
	for (size_t i = 0; i + 1 < xml.n; i++)
		ends += xml.p[i] == '<' && xml.p[i + 1] == '/';
	check(count(xml, '<') == 2 * ends + 1 && count(xml, '>') == 2 * ends + 1);
	check(count(xml, '"') == 4 && count(xml, '\'') == 0 && count(xml, '\r') == 0);
	for (size_t i = 0; valid && i < xml.n; i++)
		check(xml.p[i] >= 0x20 || xml.p[i] == '\n' || xml.p[i] == '\t');
}

static void try_letter(struct span map, bool clear, enum cwc_chamber chamber)
{
	struct cwc_problems problems;
	struct cwc_letter l;
	enum cwc_field field = CWC_ZIP;
	struct buf xml;

	cwc_letter_init(&l);
	if (cwc_letter_read(map, clear, &l, &field) != ERR_OK) {
		check(field <= CWC_FIELD_COUNT);
		return;
	}
	check(field == CWC_FIELD_COUNT);
	check_views(&l, map, clear);
	complete(&l, chamber);
	bool valid = cwc_validate(&l, chamber, &problems) == ERR_OK;

	check(valid == (problems.n == 0) && problems.n <= CWC_PROBLEMS_MAX);
	check_report(&problems, chamber);
	buf_init(&xml, 6 * map.n + 65536);
	cwc_render(&l, chamber, &xml);
	check(buf_ok(&xml) == ERR_OK);
	check_document(span_buf(&xml), valid);
	buf_clear(&xml);
}

static void try_offices(struct span json, enum cwc_chamber chamber)
{
	static struct cwc_offices list;
	enum cwc_chamber c;

	if (cwc_offices_parse(chamber, json, &list) != ERR_OK)
		return;
	check(list.n > 0 && list.n <= CWC_OFFICES_MAX);
	for (size_t i = 0; i < list.n; i++) {
		check(cwc_office_parse(span_str(list.code[i]), &c) == ERR_OK && c == chamber);
		check(i == 0 || strcmp(list.code[i - 1], list.code[i]) < 0);
		check(cwc_offices_have(&list, span_str(list.code[i])));
	}
}

/* The first bytes are taken as a status, the rest as the body of the answer. */
static void try_answer(struct span in, enum cwc_chamber chamber)
{
	struct cwc_answer a = { .fate = CWC_FATE_ANSWERED, .retry_after_s = -1, .body = in };

	a.status = in.n > 1 ? (in.p[0] << 8 | in.p[1]) % 700 : 400;
	a.body_left = in.n % 2 == 0;
	enum outcome o = cwc_classify(chamber, &a, in.n % 3 == 0);

	check((o == OUT_ACCEPTED) == (a.body_left && a.status >= 200 && a.status <= 299));
	a.status = 400;
	o = cwc_classify(chamber, &a, false);
	check(o == OUT_REJECTED_BY_CHAMBER || o == OUT_MISCONFIGURED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct cwc_letter l;

	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		try_letter(in, false, (enum cwc_chamber)c);
		try_letter(in, true, (enum cwc_chamber)c);
		try_offices(in, (enum cwc_chamber)c);
		try_answer(in, (enum cwc_chamber)c);
	}
	cwc_letter_init(&l);
	cwc_set_phone(&l, in);
	return 0;
}
