/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"
#include "worker/base/cbor.h"

/* More pairs than CWC 2.0 has elements, so that a name too many is reported as unknown. */
#define PAIRS_MAX 64
/* Entries of a list that are looked at; the letter keeps one more than it may have. */
#define ENTRIES_MAX 256

static const struct span absent = { NULL, 0 };

/* CBOR_NONE is the end of the input or something that our reader never accepts. */
static enum err expect(const struct cbor *c, enum cbor_type type)
{
	enum cbor_type t = cbor_peek(c);

	if (t == CBOR_NONE)
		return ERR_LETTER_SYNTAX;
	return t == type ? ERR_OK : ERR_LETTER_FIELD_TYPE;
}

/* The ceiling is the input itself: a value that is too long is a matter of cwc_validate(). */
static enum err read_text(struct cbor *c, struct span *ret_text)
{
	TRY(expect(c, CBOR_TEXT));
	struct span s = cbor_read_text(c, c->in.n);

	if (c->bad)
		return ERR_LETTER_SYNTAX;
	*ret_text = s.n > 0 ? s : absent;
	return ERR_OK;
}

static enum err read_array(struct cbor *c, size_t *ret_n)
{
	TRY(expect(c, CBOR_ARRAY));
	size_t n = cbor_read_array(c, ENTRIES_MAX);

	if (c->bad)
		return ERR_LETTER_SYNTAX;
	*ret_n = n;
	return ERR_OK;
}

static enum err read_topics(struct cbor *c, struct cwc_letter *l, size_t *ret_n)
{
	size_t n = 0;

	TRY(read_array(c, &n));
	for (size_t i = 0; i < n; i++) {
		struct span topic = absent;

		TRY(read_text(c, &topic));
		if (l->n_topics <= CWC_TOPICS_MAX)
			l->topic[l->n_topics++] = topic;
	}
	*ret_n = n;
	return ERR_OK;
}

static enum err read_bill(struct cbor *c, struct cwc_bill *ret_bill)
{
	struct cwc_bill bill = { absent, absent, absent };
	struct span key;

	TRY(expect(c, CBOR_MAP));
	struct cbor_map m = cbor_read_map(c, PAIRS_MAX);

	while (cbor_read_key(c, &m, &key)) {
		if (span_eq_str(key, "BillCongress"))
			TRY(read_text(c, &bill.congress));
		else if (span_eq_str(key, "BillTypeAbbreviation"))
			TRY(read_text(c, &bill.type));
		else if (span_eq_str(key, "BillNumber"))
			TRY(read_text(c, &bill.number));
		else
			return ERR_LETTER_FIELD_UNKNOWN;
	}
	if (c->bad)
		return ERR_LETTER_SYNTAX;
	*ret_bill = bill;
	return ERR_OK;
}

static enum err read_bills(struct cbor *c, struct cwc_letter *l, size_t *ret_n)
{
	size_t n = 0;

	TRY(read_array(c, &n));
	for (size_t i = 0; i < n; i++) {
		struct cwc_bill bill;

		TRY(read_bill(c, &bill));
		if (l->n_bills <= CWC_BILLS_MAX)
			l->bill[l->n_bills++] = bill;
	}
	*ret_n = n;
	return ERR_OK;
}

/* May this part of a job set this element? */
static enum err allowed(enum cwc_field f, bool clear)
{
	enum cwc_source source = cwc_field_source(f);

	if (source == CWC_FROM_WORKER)
		return ERR_LETTER_FIELD_RESERVED;
	if (clear && source == CWC_FROM_PERSON && f != CWC_PREFIX)
		return ERR_LETTER_FIELD_PERSONAL;
	return ERR_OK;
}

static enum err read_value(struct cbor *c, enum cwc_field f, struct cwc_letter *l)
{
	bool had = cwc_has(l, f);
	struct span text = absent;

	if (f == CWC_TOPICS || f == CWC_BILLS) {
		size_t n = 0;

		TRY(f == CWC_TOPICS ? read_topics(c, l, &n) : read_bills(c, l, &n));
		return had && n > 0 ? ERR_LETTER_FIELD_TWICE : ERR_OK;
	}
	TRY(read_text(c, &text));
	if (text.n == 0)
		return ERR_OK;
	if (had)
		return ERR_LETTER_FIELD_TWICE;
	if (f == CWC_PHONE)
		cwc_set_phone(l, text);
	else
		l->v[f] = text;
	return ERR_OK;
}

enum err cwc_letter_read(struct span map, bool clear, struct cwc_letter *l, enum cwc_field *ret_field)
{
	struct cbor c;
	struct span key;

	*ret_field = CWC_FIELD_COUNT;
	cbor_start(&c, map);
	if (cbor_peek(&c) != CBOR_MAP)
		return ERR_LETTER_SYNTAX;
	struct cbor_map m = cbor_read_map(&c, PAIRS_MAX);

	while (cbor_read_key(&c, &m, &key)) {
		enum cwc_field f = CWC_FIELD_COUNT;

		if (span_eq_str(key, "CWCVersion"))
			return ERR_LETTER_FIELD_RESERVED;
		if (cwc_field_find(key, &f) != ERR_OK)
			return ERR_LETTER_FIELD_UNKNOWN;
		*ret_field = f;
		TRY(allowed(f, clear));
		TRY(read_value(&c, f, l));
		*ret_field = CWC_FIELD_COUNT;
	}
	return cbor_done(&c) == ERR_OK ? ERR_OK : ERR_LETTER_SYNTAX;
}
