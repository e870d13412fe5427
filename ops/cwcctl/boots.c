/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/boots.h"

#include <sodium.h>
#include <string.h>

#include "attest/statement.h"
#include "ops/cwcctl/anchor.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/proof.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

struct reading {
	struct boots *b;
	struct attest_policy policy;
	struct attest_cache cache;
	struct progress *p;
	struct buf document, statement; /* of the entry */
	uint64_t seen, passed, first_passed;
	const char *first_rule;
};

/* --- growing ---------------------------------------------------------------------------------- */

static void *grown(void *old, size_t n, size_t size, size_t *room)
{
	void *more;

	if (n < *room)
		return old;
	*room = n < 16 ? 16 : 2 * n;
	more = xcalloc(*room, size);
	if (n > 0)
		memcpy(more, old, n * size);
	free(old);
	return more;
}

static void add_document(struct boots *b, const struct boots_document *d)
{
	b->document = grown(b->document, b->n_documents, sizeof(*d), &b->documents_room);
	b->document[b->n_documents++] = *d;
}

static void add_key(struct boots *b, const uint8_t key[32])
{
	struct boots_key *k;

	b->key = grown(b->key, b->n_keys, sizeof(*k), &b->keys_room);
	k = &b->key[b->n_keys++];
	memcpy(k->key, key, sizeof(k->key));
	k->first_ms = INT64_MAX;
}

/* --- one entry -------------------------------------------------------------------------------- */

static void copy_text(struct span s, char ret_text[65])
{
	size_t n = s.n < 64 ? s.n : 64;

	memcpy(ret_text, s.p, n);
	ret_text[n] = '\0';
}

static bool vouches(const struct attest_document *doc, struct span statement)
{
	uint8_t hash[STATEMENT_HASH_SIZE];

	statement_hash(statement, hash);
	return doc->user_data.present && span_eq(doc->user_data.bytes, span_of(hash, sizeof(hash)));
}

static enum boots_statement read_statement(const struct attest_document *doc, struct span bytes,
					   struct boots_document *d)
{
	struct statement s;

	if (bytes.n == 0)
		return BOOTS_MISSING;
	if (!vouches(doc, bytes))
		return BOOTS_OTHER;
	if (statement_read(bytes, &s) != ERR_OK)
		return BOOTS_SYNTAX;
	memcpy(d->receipt_key, s.receipt_key, sizeof(d->receipt_key));
	copy_text(s.environment, d->environment);
	copy_text(s.queue, d->queue);
	return BOOTS_RIGHT;
}

/* The one ECDSA signature of a document costs more than all else: who was published twice is verified twice all the
 * same, which is seldom. */
static void take_document(struct reading *r)
{
	struct boots_document d = { .code = ATTEST_OK };
	struct attest_report report;
	struct attest_document doc;

	crypto_hash_sha256(d.sha256, r->document.p, r->document.n);
	d.code = anchor_verify(span_buf(&r->document), &r->policy, &doc, &report);
	if (d.code == ATTEST_OK && (int64_t)doc.timestamp_ms > r->policy.now_ms + PROOF_SKEW_MS)
		d.code = ATTEST_TIME_FUTURE; /* also where no more than the chain is asked for */
	if (d.code == ATTEST_OK) {
		d.signed_ms = (int64_t)doc.timestamp_ms;
		d.statement = read_statement(&doc, span_buf(&r->statement), &d);
		r->b->simulated = r->b->simulated || anchor_simulated(&report);
	}
	if (d.code == ATTEST_OK && d.statement == BOOTS_RIGHT)
		add_key(r->b, d.receipt_key);
	add_document(r->b, &d);
}

/* The broken rule, or NULL. */
static const char *read_base64(const json_t *entry, const char *name, struct buf *out)
{
	const json_t *v = json_object_get(entry, name);

	buf_reset(out);
	if (v == NULL || json_is_null(v))
		return NULL;
	if (!json_is_string(v) || text_unbase64(span_of(json_string_value(v), json_string_length(v)), out) != ERR_OK ||
	    buf_ok(out) != ERR_OK)
		return "`document` and `statement` must be base64, and no larger than a worker's can be";
	return NULL;
}

static const char *read_key(const json_t *entry, uint8_t ret_key[32], bool *ret_there)
{
	const json_t *v = json_object_get(entry, "receipt_key");

	*ret_there = v != NULL && !json_is_null(v);
	if (*ret_there && (!json_is_string(v) ||
			   text_unhex(span_of(json_string_value(v), json_string_length(v)), ret_key, 32) != ERR_OK))
		return "`receipt_key` must be 64 hex digits";
	return NULL;
}

static const char *read_entry(struct reading *r, const json_t *entry)
{
	uint8_t key[32];
	bool there;
	const char *rule;

	if (entry == NULL)
		return "larger than 1 MiB";
	rule = read_key(entry, key, &there);
	if (rule == NULL)
		rule = read_base64(entry, "document", &r->document);
	if (rule == NULL)
		rule = read_base64(entry, "statement", &r->statement);
	if (rule != NULL)
		return rule;
	if (there)
		add_key(r->b, key);
	if (r->document.n > 0)
		take_document(r);
	return NULL;
}

/* Whoever can write to the stream can put an entry there that is none: it must not keep the others from being used. */
static void take_entry(void *arg, const json_t *entry)
{
	struct reading *r = arg;
	const char *rule = read_entry(r, entry);

	r->seen++;
	if (rule != NULL && r->passed++ == 0) {
		r->first_passed = r->seen;
		r->first_rule = rule;
	}
	progress_show(r->p, r->seen, 0, r->b->n_documents, "documents");
}

/* --- order ------------------------------------------------------------------------------------ */

static bool right(const struct boots_document *d)
{
	return d->code == ATTEST_OK && d->statement == BOOTS_RIGHT;
}

/* Of two entries with the same document, the one whose statement is right comes first. */
static int by_hash(const void *a, const void *b)
{
	const struct boots_document *x = a, *y = b;
	int c = memcmp(x->sha256, y->sha256, sizeof(x->sha256));

	return c != 0 ? c : (int)right(y) - (int)right(x);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct boots_key *)a)->key, ((const struct boots_key *)b)->key, 32);
}

/* By the id, and first those that a document vouches for. */
static int by_use(const void *a, const void *b)
{
	const struct boots_key *x = a, *y = b;
	int c = memcmp(x->key, y->key, 8);

	return c != 0 ? c : (x->first_ms > y->first_ms) - (x->first_ms < y->first_ms);
}

/* Sorts, and keeps the first of those that are the same in their first `size` bytes. */
static size_t unique(void *rows, size_t n, size_t row, size_t size, int (*compare)(const void *a, const void *b))
{
	uint8_t *p = rows;
	size_t kept = 0;

	if (n > 0)
		qsort(rows, n, row, compare);
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && memcmp(p + (kept - 1) * row, p + i * row, size) == 0)
			continue;
		memmove(p + kept * row, p + i * row, row);
		kept++;
	}
	return kept;
}

static void order(struct boots *b)
{
	_Static_assert(offsetof(struct boots_document, sha256) == 0 && offsetof(struct boots_key, key) == 0,
		       "rows begin with what they are known by");
	b->n_documents = unique(b->document, b->n_documents, sizeof(*b->document), 32, by_hash);
	b->n_keys = unique(b->key, b->n_keys, sizeof(*b->key), 32, by_key);
	for (size_t i = 0; i < b->n_documents; i++) {
		const struct boots_document *d = &b->document[i];
		struct boots_key wanted = { .first_ms = 0 }, *k;

		if (!right(d))
			continue;
		memcpy(wanted.key, d->receipt_key, sizeof(wanted.key));
		k = bsearch(&wanted, b->key, b->n_keys, sizeof(*k), by_key);
		BUG_ON(k == NULL);
		k->first_ms = d->signed_ms < k->first_ms ? d->signed_ms : k->first_ms;
	}
	if (b->n_keys > 0)
		qsort(b->key, b->n_keys, sizeof(*b->key), by_use);
}

/* --- all -------------------------------------------------------------------------------------- */

int boots_read(const char *file, const struct attest_policy *policy, struct progress *p, struct boots *ret_boots)
{
	struct boots b = { 0 };
	struct reading *r = xcalloc(1, sizeof(*r));
	int code;

	r->b = &b;
	r->p = p;
	r->policy = *policy;
	r->policy.cache = &r->cache;
	/* Certificates are asked for the document's own time always. How long ago that is does not matter. */
	r->policy.now_ms = clock_wall_us() / 1000;
	r->policy.max_age_ms = INT64_MAX;
	r->policy.max_future_ms = PROOF_SKEW_MS;
	buf_init(&r->document, ATTEST_DOCUMENT_MAX);
	buf_init(&r->statement, STATEMENT_MAX);
	code = boots_each(file, take_entry, r);
	progress_clear(p);
	if (r->passed > 0)
		ctl_complain("%s: %llu of %llu entries were passed over; the first is entry %llu: %s",
			     attest_file_name(file), (unsigned long long)r->passed, (unsigned long long)r->seen,
			     (unsigned long long)r->first_passed, r->first_rule);
	buf_clear(&r->document);
	buf_clear(&r->statement);
	free(r);
	if (code == 0 && b.n_documents == 0)
		code = ctl_fail(CTL_CONFIG, "%s: no entry has an attestation document", attest_file_name(file));
	if (code != 0) {
		boots_clear(&b);
		return code;
	}
	order(&b);
	*ret_boots = b;
	return 0;
}

void boots_clear(struct boots *b)
{
	free(b->document);
	free(b->key);
	*b = (struct boots){ 0 };
}

/* --- looking up ------------------------------------------------------------------------------- */

static int to_hash(const void *sha256, const void *row)
{
	return memcmp(sha256, ((const struct boots_document *)row)->sha256, 32);
}

const struct boots_document *boots_document(const struct boots *b, const uint8_t sha256[32])
{
	if (b->n_documents == 0)
		return NULL;
	return bsearch(sha256, b->document, b->n_documents, sizeof(*b->document), to_hash);
}

const struct boots_key *boots_keys(const struct boots *b, const uint8_t prefix[8], size_t *ret_n)
{
	size_t low = 0, high = b->n_keys;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(b->key[middle].key, prefix, 8) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (high < b->n_keys && memcmp(b->key[high].key, prefix, 8) == 0)
		high++;
	*ret_n = high - low;
	return high > low ? b->key + low : NULL;
}
