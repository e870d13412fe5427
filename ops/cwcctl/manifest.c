/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/manifest.h"

#include <sodium.h>
#include <string.h>

#include "worker/base/text.h"

#define DEBUG_ZERO 3 /* PCR0 to PCR2 are zero in debug mode */

/* Takes the part before the first `end`, which is dropped; without one all that is left. */
static struct span cut(struct span *rest, char end)
{
	const uint8_t *at = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;
	size_t n = at != NULL ? (size_t)(at - rest->p) : rest->n, skip = at != NULL ? n + 1 : n;
	struct span part = span_of(rest->p, n);

	*rest = span_of(rest->n > 0 ? rest->p + skip : NULL, rest->n - skip);
	return part;
}

bool manifest_name_valid(struct span name)
{
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '+' && c != '-')
			return false;
	}
	return name.n >= 1 && name.n <= MANIFEST_NAME_MAX;
}

/* --- one measurement -------------------------------------------------------------------------- */

static bool lower_hex(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

/* The broken rule, or NULL. */
static const char *read_pcr(struct span index, struct span hex, struct attest_measurement *m)
{
	uint64_t i;

	if (text_uint(index, ATTEST_PCRS - 1, &i) != ERR_OK)
		return "the number of a PCR must be 0 to 31";
	if ((m->pcrs & UINT32_C(1) << i) != 0)
		return "this PCR is there twice";
	if (hex.n != (size_t)2 * ATTEST_PCR_SIZE || !lower_hex(hex))
		return "a PCR must be 96 hex digits in lower case, with nothing before or behind them";
	if (text_unhex(hex, m->pcr[i], ATTEST_PCR_SIZE) != ERR_OK)
		return "a PCR must be hex digits";
	if (i < DEBUG_ZERO && sodium_is_zero(m->pcr[i], ATTEST_PCR_SIZE))
		return "PCR0, PCR1 and PCR2 are zero in debug mode, which cannot be allowed";
	m->pcrs |= UINT32_C(1) << i;
	return NULL;
}

/* Whether `a` allows all that `b` does: it asks for nothing but what `b` asks for, too. */
static bool covers(const struct attest_measurement *a, const struct attest_measurement *b)
{
	bool all = (a->pcrs & b->pcrs) == a->pcrs;

	for (unsigned i = 0; all && i < ATTEST_PCRS; i++)
		if ((a->pcrs & UINT32_C(1) << i) != 0)
			all = memcmp(a->pcr[i], b->pcr[i], ATTEST_PCR_SIZE) == 0;
	return all;
}

/* The broken rule, or NULL. What the stricter of two such releases asks for would mean nothing. */
static const char *compare(const struct attest_measurement *above, const struct attest_measurement *last)
{
	if (covers(above, last) && covers(last, above))
		return "the release above has the measurements of another one";
	if (covers(above, last))
		return "another release allows all that the one above does: what the one above asks for besides is "
		       "void";
	return covers(last, above)
		       ? "the release above allows all that another one does: what that one asks for besides is void"
		       : NULL;
}

/* --- the file --------------------------------------------------------------------------------- */

/* When a release has come to its end. */
static const char *end_release(const struct manifest *m)
{
	const struct attest_measurement *last = m->n > 0 ? &m->release[m->n - 1] : NULL;

	const char *rule = NULL;

	if (last == NULL)
		return NULL;
	if ((last->pcrs & 1) == 0)
		return "the release above has no PCR0: without it any image would do";
	for (const struct attest_measurement *r = m->release; rule == NULL && r < last; r++)
		rule = compare(r, last);
	return rule;
}

static const char *read_release(struct span name, struct manifest *m)
{
	const char *rule = end_release(m);

	if (rule != NULL)
		return rule;
	if (m->n == ATTEST_MEASUREMENTS_MAX)
		return "more than 16 releases";
	if (!manifest_name_valid(name))
		return "the name of a release must be 1 to 63 characters of A-Z a-z 0-9 . _ + -";
	for (size_t i = 0; i < m->n; i++)
		if (span_eq_str(name, m->release[i].name))
			return "this release is there twice";
	memcpy(m->release[m->n].name, name.p, name.n);
	m->n++;
	return NULL;
}

static const char *read_line(struct span line, struct manifest *m)
{
	struct span value = line, word;

	if (line.n == 0 || line.p[0] == '#')
		return NULL;
	word = cut(&value, ' ');
	if (span_eq(word, span_lit("release")))
		return read_release(value, m);
	if (word.n < 4 || memcmp(word.p, "pcr", 3) != 0)
		return "must be `release NAME` or `pcrN HEX`";
	if (m->n == 0)
		return "a PCR before the first release";
	return read_pcr(span_of(word.p + 3, word.n - 3), value, &m->release[m->n - 1]);
}

enum err manifest_parse(struct span text, struct manifest *ret_m, unsigned *ret_line, const char **ret_rule)
{
	struct manifest m = { .n = 0 };
	const char *rule = text.n > MANIFEST_MAX ? "larger than 64 KiB" : NULL;
	unsigned line = 0;

	while (rule == NULL && text.n > 0) {
		rule = read_line(cut(&text, '\n'), &m);
		line++;
	}
	if (rule == NULL)
		rule = end_release(&m);
	if (rule == NULL && m.n == 0) {
		rule = "there is no release in it";
		line = 0;
	}
	if (rule != NULL) {
		*ret_line = line;
		*ret_rule = rule;
		return ERR_SYNTAX;
	}
	*ret_m = m;
	return ERR_OK;
}

/* --- the list, and back ----------------------------------------------------------------------- */

enum err manifest_list(struct span list, struct attest_measurement *ret_m, const char **ret_rule)
{
	struct attest_measurement m = { .pcrs = 0 };
	const char *rule = list.n == 0 ? "is empty" : NULL;

	while (rule == NULL && list.n > 0) {
		bool more = list.p[list.n - 1] == ',';
		struct span hex = cut(&list, ','), index = cut(&hex, '=');

		rule = more && list.n == 0 ? "nothing behind the last comma" : read_pcr(index, hex, &m);
	}
	if (rule == NULL && (m.pcrs & 1) == 0)
		rule = "PCR0 is missing: without it any image would do";
	if (rule != NULL) {
		*ret_rule = rule;
		return ERR_SYNTAX;
	}
	*ret_m = m;
	return ERR_OK;
}

void manifest_write(const struct attest_measurement *m, struct buf *out)
{
	char hex[2 * ATTEST_PCR_SIZE + 1];

	buf_add_str(out, "release ");
	buf_add_str(out, m->name);
	buf_add_str(out, "\n");
	for (unsigned i = 0; i < ATTEST_PCRS; i++) {
		if ((m->pcrs & UINT32_C(1) << i) == 0)
			continue;
		text_hex(span_of(m->pcr[i], ATTEST_PCR_SIZE), hex);
		buf_add_str(out, "pcr");
		buf_add_uint(out, i);
		buf_add_str(out, " ");
		buf_add_str(out, hex);
		buf_add_str(out, "\n");
	}
}
