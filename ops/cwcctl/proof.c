/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/proof.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cwc/outcome.h"
#include "worker/base/cose.h"
#include "worker/base/text.h"

#define KID "rcp-" /* and 16 hex digits of the key */

static const struct {
	const char *name, *text;
} faults[PROOF_FAULTS] = {
#define PROOF_ROW(e, name_, text_) [PROOF_##e] = { name_, text_ },
	PROOFS(PROOF_ROW)
#undef PROOF_ROW
};

bool proof_bad(unsigned p)
{
	return p != PROOF_GOOD && p != PROOF_NONE;
}

void proof_name(unsigned p, char ret_name[PROOF_NAME_SIZE])
{
	if (p < PROOF_FAULTS)
		snprintf(ret_name, PROOF_NAME_SIZE, "%s", faults[p].name);
	else
		snprintf(ret_name, PROOF_NAME_SIZE, "document_%s",
			 attest_code_name((enum attest_code)(p - PROOF_FAULTS)));
}

const char *proof_text(unsigned p)
{
	return p < PROOF_FAULTS ? faults[p].text : attest_code_text((enum attest_code)(p - PROOF_FAULTS));
}

/* --- the receipt ------------------------------------------------------------------------------ */

static bool kid_prefix(struct span kid, uint8_t ret_prefix[8])
{
	const size_t n = sizeof(KID) - 1;

	return kid.n == n + 16 && memcmp(kid.p, KID, n) == 0 &&
	       text_unhex(span_of(kid.p + n, 16), ret_prefix, 8) == ERR_OK;
}

/* Of the keys of an id that no document vouches for, whose receipts cannot be good, so many are tried to say why. */
#define UNPROVED_TRIED 4

/* By the keys of its id, of which whoever writes to Redis can publish as many as it likes: which of them is the boot's,
 * the statement says. */
static unsigned check_signature(const struct boots *b, struct span in, const struct boots_key **ret_key,
				struct receipt *ret_receipt)
{
	const struct boots_key *key;
	struct cose_sign1 m;
	uint8_t prefix[8];
	size_t n;

	if (in.n > RECEIPT_MAX || cose_sign1_parse(in, &m) != ERR_OK)
		return PROOF_MALFORMED;
	if (!kid_prefix(m.kid, prefix))
		return PROOF_UNKNOWN_BOOT;
	key = boots_keys(b, prefix, &n);
	if (n == 0)
		return PROOF_UNKNOWN_BOOT;
	for (size_t i = 0; i < n && (i < UNPROVED_TRIED || key[i].first_ms != INT64_MAX); i++) {
		enum err e = receipt_verify(in, key[i].key, ret_receipt);

		if (e == ERR_SYNTAX)
			return PROOF_MALFORMED;
		if (e == ERR_OK) {
			*ret_key = &key[i];
			return PROOF_GOOD;
		}
	}
	return PROOF_SIGNATURE;
}

static unsigned check_document(const struct boots_document *d, const struct boots_key *key, const struct receipt *r)
{
	static const enum proof_fault of_statement[] = {
		[BOOTS_RIGHT] = PROOF_GOOD,
		[BOOTS_MISSING] = PROOF_NO_STATEMENT,
		[BOOTS_OTHER] = PROOF_STATEMENT,
		[BOOTS_SYNTAX] = PROOF_STATEMENT_SYNTAX,
	};

	if (d == NULL)
		return PROOF_UNKNOWN_DOCUMENT;
	if (d->code != ATTEST_OK)
		return PROOF_FAULTS + (unsigned)d->code;
	if (d->statement != BOOTS_RIGHT)
		return of_statement[d->statement];
	if (memcmp(d->receipt_key, key->key, sizeof(key->key)) != 0)
		return PROOF_KEY;
	if (!span_eq_str(r->environment, d->environment))
		return PROOF_ENVIRONMENT;
	return span_eq_str(r->queue, d->queue) ? PROOF_GOOD : PROOF_QUEUE;
}

static unsigned check_time(const struct boots_key *key, const struct receipt *r, int64_t now_ms)
{
	if (r->ended_ms == 0) /* not said: FORMATS.md, section 7 */
		return PROOF_GOOD;
	if (r->ended_ms < key->first_ms - PROOF_SKEW_MS)
		return PROOF_EARLY;
	return r->ended_ms > now_ms + PROOF_SKEW_MS ? PROOF_FUTURE : PROOF_GOOD;
}

static unsigned check_receipt(const struct boots *b, struct span in, int64_t now_ms, struct receipt *ret_receipt)
{
	const struct boots_key *key = NULL;
	unsigned p = check_signature(b, in, &key, ret_receipt);

	if (p != PROOF_GOOD)
		return p;
	if (ret_receipt->document.n == 0)
		return PROOF_NO_DOCUMENT;
	p = check_document(boots_document(b, ret_receipt->document.p), key, ret_receipt);
	return p == PROOF_GOOD ? check_time(key, ret_receipt, now_ms) : p;
}

static unsigned check_asked(const struct proof_asked *a, const struct receipt *r)
{
	if (a->environment != NULL && !span_eq_str(r->environment, a->environment))
		return PROOF_ASKED_ENVIRONMENT;
	return a->queue != NULL && !span_eq_str(r->queue, a->queue) ? PROOF_ASKED_QUEUE : PROOF_GOOD;
}

/* --- the result beside it --------------------------------------------------------------------- */

static bool text_is(const json_t *entry, const char *name, struct span s)
{
	const json_t *v = json_object_get(entry, name);

	return json_is_string(v) && span_eq(s, span_of(json_string_value(v), json_string_length(v)));
}

static bool number_is(const json_t *entry, const char *name, uint64_t n)
{
	const json_t *v = json_object_get(entry, name);

	return json_is_integer(v) && json_integer_value(v) >= 0 && (uint64_t)json_integer_value(v) == n;
}

/* PROTOCOL.md, sections 2.3 and 6.5: a late answer is one to a POST of the signer's own that would have ended the job.
 * What it says of the letter is the state of its outcome, in the entry's `late`; dead: it was not taken. */
static bool says_late(const json_t *entry, enum outcome o, const struct receipt *r)
{
	const enum outcome_state s = outcome_state(o);

	if (r->begun_ms == 0 || (s != OUTCOME_ACCEPTED && s != OUTCOME_REJECTED && s != OUTCOME_DEAD))
		return false;
	return text_is(entry, "late", span_str(s == OUTCOME_DEAD ? "not_taken" : outcome_state_name(s)));
}

/* A late answer is signed with the numbers of its own POST: others began meanwhile, or a person gave the job a new
 * budget. What it decides follows at once as a result of its own, with the same receipt; one that says that the letter
 * was not taken decides none. */
static bool after_late(const json_t *entry, struct span receipt, bool late, struct proof_before *before)
{
	uint8_t hash[32];
	bool same;

	crypto_hash_sha256(hash, receipt.p, receipt.n);
	same = memcmp(hash, before->late, sizeof(hash)) == 0;
	if (late && !text_is(entry, "late", span_lit("not_taken")))
		memcpy(before->late, hash, sizeof(hash));
	return late || same;
}

/* Neither is signed: both are the outcome's. Of an outcome that this release does not know nothing can be said. */
static unsigned check_state(const json_t *entry, const struct receipt *r, bool *ret_late)
{
	enum outcome o;

	if (outcome_find(r->outcome, &o) != ERR_OK)
		return PROOF_ENTRY_STATE;
	*ret_late = text_is(entry, "state", span_lit("late"));
	if (*ret_late ? !says_late(entry, o, r)
		      : !text_is(entry, "state", span_str(outcome_state_name(outcome_state(o)))))
		return PROOF_ENTRY_STATE;
	return text_is(entry, "class", span_str(outcome_class_name(outcome_class(o)))) ? PROOF_GOOD : PROOF_ENTRY_CLASS;
}

/* FORMATS.md, section 7, and PROTOCOL.md, section 2.3, say where the two may differ. */
static unsigned check_entry(const json_t *entry, const struct receipt *r, struct span receipt,
			    struct proof_before *before)
{
	/* A worker that only ended the job did not look at its bytes; and a record of which nothing was sent does not
	 * know the generation that the worker verified. */
	const bool generation = number_is(entry, "generation", r->generation) ||
				(r->generation == 0 && r->begun_ms == 0) ||
				json_is_null(json_object_get(entry, "generation"));
	bool late = false;
	unsigned p;

	if (!text_is(entry, "sid", r->sid))
		return PROOF_ENTRY_SID;
	if (!text_is(entry, "office", r->office))
		return PROOF_ENTRY_OFFICE;
	if (!text_is(entry, "outcome", r->outcome))
		return PROOF_ENTRY_OUTCOME;
	p = check_state(entry, r, &late);
	if (p != PROOF_GOOD)
		return p;
	late = after_late(entry, receipt, late, before);
	if (!late && !number_is(entry, "attempt", r->attempt))
		return PROOF_ENTRY_ATTEMPT;
	if (r->delivery_id.n > 0 && !text_is(entry, "delivery_id", r->delivery_id))
		return PROOF_ENTRY_DELIVERY_ID;
	/* Of a POST of the signer's own; the record may know one of another worker's. */
	if (r->http_status > 0 && !number_is(entry, "http_status", (uint64_t)r->http_status))
		return PROOF_ENTRY_HTTP_STATUS;
	return late || generation ? PROOF_GOOD : PROOF_ENTRY_GENERATION;
}

/* --- the line --------------------------------------------------------------------------------- */

static bool decode(const char *text, size_t n, struct buf *out)
{
	return text_unbase64(span_of(text, n), out) == ERR_OK && buf_ok(out) == ERR_OK && out->n > 0;
}

static struct span trimmed(struct span s)
{
	while (s.n > 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = span_of(s.p + 1, s.n - 1);
	return s;
}

static bool needs_none(const json_t *entry)
{
	return text_is(entry, "state", span_lit("late")) && text_is(entry, "late", span_lit("not_taken"));
}

/* PROOF_GOOD when there is a receipt to be checked, in `bytes`. */
static unsigned read_line(struct span line, struct buf *bytes, json_t **ret_entry)
{
	const json_t *v;

	if (line.n == 0 || line.p[0] != '{')
		return decode((const char *)line.p, line.n, bytes) ? PROOF_GOOD : PROOF_MALFORMED;
	*ret_entry = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	v = json_object_get(*ret_entry, "receipt_bytes");
	if (json_is_null(v))
		return needs_none(*ret_entry) ? PROOF_NONE : PROOF_MISSING;
	if (!json_is_string(v) || !decode(json_string_value(v), json_string_length(v), bytes))
		return PROOF_MALFORMED;
	return PROOF_GOOD;
}

unsigned proof_line(const struct boots *b, const struct proof_asked *asked, struct span line, int64_t now_ms,
		    struct proof_before *before, struct buf *bytes, struct receipt *ret_receipt, json_t **ret_entry)
{
	struct receipt r = { 0 };
	unsigned p;

	*ret_entry = NULL;
	*ret_receipt = r;
	buf_reset(bytes);
	p = read_line(trimmed(line), bytes, ret_entry);
	if (p != PROOF_GOOD)
		return p;
	p = check_receipt(b, span_buf(bytes), now_ms, &r);
	*ret_receipt = r;
	if (p == PROOF_GOOD)
		p = check_asked(asked, &r);
	return p == PROOF_GOOD && *ret_entry != NULL ? check_entry(*ret_entry, &r, span_buf(bytes), before) : p;
}
