/* SPDX-License-Identifier: Apache-2.0 */
/* A letter by the rules of CWC 2.0, before it is sealed: the same code that the worker runs. */
#include <sodium.h>
#include <string.h>

#include "ops/cwcctl/encode.h"
#include "ops/cwcctl/letter.h"
#include "ops/cwcctl/sample.h"
#include "queue/envelope.h"
#include "queue/witness.h"

static bool blame(struct buf *why, const char *part, const char *element, enum err e)
{
	buf_add_str(why, part);
	buf_add_str(why, ": ");
	if (element[0] != '\0') {
		buf_add_str(why, element);
		buf_add_str(why, ": ");
	}
	buf_add_str(why, err_text(e));
	buf_add_byte(why, '\n');
	return false;
}

bool letter_check_names(const json_t *map, const char *part, struct buf *why)
{
	bool good = true;
	json_t *o = (json_t *)(uintptr_t)map;
	for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it)) {
		enum cwc_field f;
		const char *name = json_object_iter_key(it);
		if (cwc_field_find(span_str(name), &f) != ERR_OK)
			good = blame(why, part, name, ERR_LETTER_FIELD_UNKNOWN);
	}
	return good;
}

/* One part: JSON to CBOR in `b`, and from there into the letter. */
static bool read_part(const json_t *map, bool clear, struct buf *b, struct cwc_letter *l, struct buf *why)
{
	const char *part = clear ? "fields" : "letter";
	enum cwc_field f = CWC_FIELD_COUNT;
	if (map == NULL)
		return true;
	if (!letter_check_names(map, part, why))
		return false;
	enum err e = encode_cbor(map, b);
	if (e == ERR_OK)
		e = cwc_letter_read(span_buf(b), clear, l, &f);
	else if (e == ERR_RANGE)
		e = ERR_LETTER_FIELD_TYPE;
	return e == ERR_OK || blame(why, part, f < CWC_FIELD_COUNT ? cwc_field_name(f) : "", e);
}

/* Indents what cwc_problems_text() says by the name of the chamber. */
static void add_problems(const struct cwc_problems *p, enum cwc_chamber chamber, struct buf *why)
{
	struct buf text;
	buf_init(&text, 16384);
	cwc_problems_text(p, chamber, &text);
	struct span rest = span_buf(&text);
	while (rest.n > 0) {
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		size_t n = end != NULL ? (size_t)(end - rest.p) + 1 : rest.n;
		buf_add_str(why, cwc_chamber_name(chamber));
		buf_add_str(why, ": ");
		buf_add(why, rest.p, n);
		rest = span_of(rest.p + n, rest.n - n);
	}
	buf_clear(&text);
}

/* Once for each chamber: the offices of one chamber have the same rules. */
static bool validate(const struct letter *l, struct cwc_letter *c, struct buf *why)
{
	bool done[CWC_CHAMBERS] = { false, false }, good = true;
	sample_fill(c);
	for (size_t i = 0; i < l->n_offices; i++) {
		enum cwc_chamber chamber;
		struct cwc_problems problems;
		struct span code = span_str(l->office[i]);
		if (cwc_office_parse(code, &chamber) != ERR_OK || done[chamber])
			continue;
		done[chamber] = true;
		c->v[CWC_MEMBER_OFFICE] = code;
		if (cwc_validate(c, chamber, &problems) != ERR_OK) {
			add_problems(&problems, chamber, why);
			good = false;
		}
	}
	return good;
}

static bool check_letter(const struct letter *l, struct buf *why)
{
	struct cwc_letter c;
	struct buf clear, sealed;
	buf_init(&clear, JOB_MAX);
	buf_init(&sealed, ENVELOPE_PLAIN_MAX);
	cwc_letter_init(&c);
	bool good = read_part(l->fields, true, &clear, &c, why) && read_part(l->content, false, &sealed, &c, why) &&
		    validate(l, &c, why);
	sodium_memzero(&c, sizeof(c));
	buf_clear(&clear);
	buf_clear(&sealed);
	return good;
}

/* The person is in the browser's form here; that it is there, and for this job, can be told. */
static bool check_witness(const struct letter *l, struct buf *why)
{
	struct cwc_letter c;
	struct witness w;
	struct buf clear, plain;
	buf_init(&clear, JOB_MAX);
	buf_init(&plain, ENVELOPE_PLAIN_MAX);
	cwc_letter_init(&c);
	bool good = read_part(l->fields, true, &clear, &c, why);
	enum err e = encode_json(l->content, &plain);
	if (e == ERR_OK)
		e = witness_read(&plain, &w);
	if (e == ERR_OK)
		e = witness_bound(&w, span_str(l->nullifier), span_str(l->action_domain));
	if (e != ERR_OK)
		good = blame(why, "letter", "", e);
	sodium_memzero(&c, sizeof(c));
	buf_clear(&clear);
	buf_clear(&plain);
	return good;
}

bool letter_check(const struct letter *l, struct buf *why)
{
	if (l->job.n > 0)
		return true;
	return l->profile == JOB_WITNESS ? check_witness(l, why) : check_letter(l, why);
}
