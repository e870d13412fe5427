/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/documents.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attest/statement.h"
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"

#define LINES_MAX    8192  /* of the field `keys`: KEYRING_KEYS_MAX lines */
#define ANSWER_MAX   65536 /* a document and a statement in base64 */
#define RETRY_MS     500
#define RETRY_MAX_MS 30000
#define PCR0_LOGGED  16 /* hex digits, which tell one release from another */

/* A statement with its document. */
struct edition {
	struct buf statement, lines, document;
	uint8_t hash[STATEMENT_HASH_SIZE];
	size_t n_lines;
	struct engine_publication p;
};

/* A nonce that somebody asked a document for. */
struct question {
	struct question *next;
	struct documents *d;
	struct status_ticket *ticket;
	struct buf statement; /* the one that it is about; the current one may be another by then */
	bool json;
};

struct documents {
	struct documents_options o;
	struct edition next, current;
	bool published; /* there is a current one */
	uint64_t bundle;
	uint8_t grant[STATEMENT_GRANT_SIZE];
	bool granted;      /* there is a grant, and that is its hash */
	unsigned failures; /* in a row */
	struct question *questions;
	uv_timer_t timer; /* a new one is due: now, after a failure, or because the current one is old */
};

/* --- time ------------------------------------------------------------------------------------- */

/* What keys are stated as goes by the signed time where the wall clock is off by more than it may be: a wrong one would
 * have letters sealed to a key that is pending, or to none. */
static int64_t now_s(const struct documents *d)
{
	int64_t wall_ms = clock_wall_us() / 1000, bound_ms, ahead_ms, off_ms;

	if (d->o.attestor == NULL)
		return wall_ms / 1000;
	ahead_ms = attestor_clock_ms(d->o.attestor, &bound_ms);
	off_ms = ahead_ms < 0 ? -ahead_ms : ahead_ms;
	return (off_ms - bound_ms > (int64_t)d->o.config->skew_max_ms ? wall_ms - ahead_ms : wall_ms) / 1000;
}

/* --- the statement ---------------------------------------------------------------------------- */

static void edition_init(struct edition *e)
{
	*e = (struct edition){ 0 };
	buf_init(&e->statement, STATEMENT_MAX);
	buf_init(&e->lines, LINES_MAX);
	buf_init(&e->document, ATTEST_DOCUMENT_MAX);
}

static void edition_clear(struct edition *e)
{
	buf_clear(&e->statement);
	buf_clear(&e->lines);
	buf_clear(&e->document);
}

static void add_line(struct edition *e, const struct keyring_key *k)
{
	char hex[2 * sizeof(k->public_key) + 1];
	struct buf *b = &e->lines;

	text_hex(span_of(k->public_key, sizeof(k->public_key)), hex);
	if (b->n > 0)
		buf_add_byte(b, '\n');
	buf_add_str(b, keyring_profile_name(k->profile));
	buf_add_byte(b, ' ');
	buf_add_str(b, k->id);
	buf_add_byte(b, ' ');
	buf_add_str(b, hex);
	for (size_t i = 0; i < k->n_contexts; i++) {
		buf_add_byte(b, ' ');
		buf_add_str(b, k->context[i]);
	}
	e->n_lines++;
}

/* What a letter may be sealed to now: a pending key may be one that not all workers have, an old one is at its end. */
static void add_lines(struct edition *e, const struct keyring *r, int64_t now_s)
{
	for (size_t i = 0; i < keyring_count(r); i++) {
		const struct keyring_key *k = keyring_at(r, i);

		if (k->profile != KEYRING_SECRET && keyring_state(k, now_s) == KEYRING_ACTIVE)
			add_line(e, k);
	}
	BUG_ON(buf_ok(&e->lines) != ERR_OK);
}

static void add_statement(const struct documents *d, struct edition *e)
{
	const struct documents_options *o = &d->o;
	struct statement s = {
		.environment = span_str(o->config->environment),
		.queue = span_str(o->config->queue_name),
		.release = span_str(o->version),
		.bundle = d->bundle,
		.grant = span_of(d->grant, d->granted ? sizeof(d->grant) : 0),
		.receipt_key_id = span_str(receipt_key_id(o->receipt_key)),
	};
	struct buf keys;

	buf_init(&keys, KEYRING_WRITTEN_MAX);
	keyring_write_public(o->ring, &keys);
	BUG_ON(buf_ok(&keys) != ERR_OK);
	s.keys = span_buf(&keys);
	memcpy(s.receipt_key, receipt_key_public(o->receipt_key), sizeof(s.receipt_key));
	BUG_ON(statement_write(&s, &e->statement) != ERR_OK);
	statement_hash(span_buf(&e->statement), e->hash);
	buf_clear(&keys);
}

static void make_statement(struct documents *d)
{
	edition_clear(&d->next);
	edition_init(&d->next);
	add_lines(&d->next, d->o.ring, now_s(d));
	add_statement(d, &d->next);
	d->next.p.bundle = d->bundle;
}

/* --- its document ----------------------------------------------------------------------------- */

static void due(uv_timer_t *t);

static void due_in(struct documents *d, uint64_t ms)
{
	uv_update_time(d->timer.loop);
	uv_timer_start(&d->timer, due, ms, 0);
}

static void publish(struct documents *d)
{
	struct edition *e = &d->current;

	edition_clear(e);
	*e = d->next;
	edition_init(&d->next);
	e->p.keys = span_buf(&e->lines);
	e->p.statement = span_buf(&e->statement);
	e->p.document = span_buf(&e->document);
	d->published = true;
	d->failures = 0;
	d->o.published(d->o.arg, &e->p);
}

static void failed(struct documents *d, enum err e)
{
	uint64_t wait_ms = RETRY_MS;

	for (unsigned i = 0; i < d->failures && wait_ms < RETRY_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > RETRY_MAX_MS)
		wait_ms = RETRY_MAX_MS;
	d->failures++;
	log_event(LOG_DOCUMENT_FAILED, LOG_STR(F_CODE, err_name(e)), LOG_INT(F_ATTEMPT, d->failures),
		  LOG_INT(F_WAIT_MS, wait_ms));
	due_in(d, wait_ms);
}

static void came(void *arg, enum err e, struct span document)
{
	struct documents *d = arg;
	struct edition *n = &d->next;

	if (e != ERR_OK) {
		failed(d, e);
		return;
	}
	buf_add_span(&n->document, document);
	BUG_ON(buf_ok(&n->document) != ERR_OK); /* the attestor has read it */
	crypto_hash_sha256(n->p.document_sha256, document.p, document.n);
	text_hex(span_of(attestor_pcrs(d->o.attestor)[0], ATTEST_PCR_SIZE), n->p.pcr0);
	log_event(LOG_DOCUMENT_READY, LOG_NAME(F_PCR0, span_of(n->p.pcr0, PCR0_LOGGED)), LOG_INT(F_BUNDLE, n->p.bundle),
		  LOG_INT(F_COUNT, n->n_lines));
	due_in(d, (uint64_t)d->o.config->renew_s * 1000);
	publish(d);
}

static void due(uv_timer_t *t)
{
	struct documents *d = t->data;

	make_statement(d);
	if (d->o.attestor != NULL)
		attestor_ask(d->o.attestor, span_of(d->next.hash, sizeof(d->next.hash)), span_lit(""), came, d);
	else
		publish(d);
}

void documents_changed(struct documents *d, uint64_t bundle, struct span grant)
{
	d->bundle = bundle;
	d->granted = grant.n > 0;
	if (d->granted)
		crypto_hash_sha256(d->grant, grant.p, grant.n);
	/* What is under way is about the keys of before. */
	if (d->o.attestor != NULL)
		attestor_forget(d->o.attestor, d);
	due_in(d, 0);
}

const struct engine_publication *documents_current(const struct documents *d)
{
	return d->published && d->current.p.bundle == d->bundle ? &d->current.p : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct documents *documents_new(uv_loop_t *loop, const struct documents_options *o)
{
	struct documents *d = xcalloc(1, sizeof(*d));

	d->o = *o;
	edition_init(&d->next);
	edition_init(&d->current);
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	due_in(d, 0);
	return d;
}

static void no_document(struct status_ticket *t)
{
	status_reply_json(t, 503, "{\"reason\":\"no_attestation\"}");
}

/* Takes it out of the list. */
static void question_free(struct question *q)
{
	struct question **at = &q->d->questions;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	buf_clear(&q->statement);
	free(q);
}

static void closed(uv_handle_t *h)
{
	free(h->data);
}

void documents_free(struct documents *d)
{
	if (d == NULL)
		return;
	while (d->questions != NULL) {
		attestor_forget(d->o.attestor, d->questions);
		no_document(d->questions->ticket);
		question_free(d->questions);
	}
	if (d->o.attestor != NULL)
		attestor_forget(d->o.attestor, d);
	edition_clear(&d->next);
	edition_clear(&d->current);
	uv_close((uv_handle_t *)&d->timer, closed);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void add_name(struct buf *out, const char *name)
{
	buf_add_byte(out, '"');
	buf_add_str(out, name);
	buf_add_str(out, "\":");
}

static void add_text(struct buf *out, const char *name, const char *value)
{
	add_name(out, name);
	text_json(span_str(value), out);
}

/* null when there is none. */
static void add_base64(struct buf *out, const char *name, struct span value)
{
	add_name(out, name);
	if (value.n == 0) {
		buf_add_str(out, "null");
		return;
	}
	buf_add_byte(out, '"');
	text_base64(value, out);
	buf_add_byte(out, '"');
}

static void add_hex(struct buf *out, const char *name, const uint8_t bytes[32])
{
	char hex[2 * 32 + 1];

	text_hex(span_of(bytes, 32), hex);
	add_text(out, name, hex);
}

static void add_proof(struct buf *out, struct span document, struct span statement)
{
	uint8_t hash[32];

	add_base64(out, "document", document);
	buf_add_byte(out, ',');
	add_base64(out, "statement", statement);
	buf_add_byte(out, ',');
	if (document.n == 0) {
		buf_add_str(out, "\"sha256\":null");
		return;
	}
	crypto_hash_sha256(hash, document.p, document.n);
	add_hex(out, "sha256", hash);
}

static void answer(struct status_ticket *t, struct span document, struct span statement, bool json)
{
	struct status_answer a = { .code = 200, .type = json ? "application/json" : "application/cbor" };

	buf_init(&a.body, ANSWER_MAX);
	if (json) {
		buf_add_byte(&a.body, '{');
		add_proof(&a.body, document, statement);
		buf_add_byte(&a.body, '}');
	} else {
		buf_add_span(&a.body, document);
	}
	status_reply(t, &a);
	buf_clear(&a.body);
}

static void answered(void *arg, enum err e, struct span document)
{
	struct question *q = arg;
	struct buf why;

	if (e == ERR_OK) {
		answer(q->ticket, document, span_buf(&q->statement), q->json);
	} else {
		buf_init(&why, 128);
		buf_add_byte(&why, '{');
		add_text(&why, "reason", "device");
		buf_add_byte(&why, ',');
		add_text(&why, "why", err_name(e));
		buf_add_byte(&why, '}');
		status_reply_json(q->ticket, 503, buf_cstr(&why));
		buf_clear(&why);
	}
	question_free(q);
}

void documents_attestation(struct documents *d, struct span nonce, bool json, struct status_ticket *t)
{
	const struct edition *e = &d->current;

	if (d->o.attestor == NULL || !d->published) {
		no_document(t);
		return;
	}
	if (nonce.n == 0) {
		answer(t, e->p.document, e->p.statement, json);
		return;
	}
	struct question *q = xcalloc(1, sizeof(*q));

	q->d = d;
	q->ticket = t;
	q->json = json;
	buf_init(&q->statement, STATEMENT_MAX);
	buf_add_span(&q->statement, e->p.statement);
	q->next = d->questions;
	d->questions = q;
	attestor_ask(d->o.attestor, span_of(e->hash, sizeof(e->hash)), nonce, answered, q);
}

/* --- /keys ------------------------------------------------------------------------------------ */

static void add_time(struct buf *out, const char *name, int64_t s, bool decided)
{
	buf_add_byte(out, ',');
	add_name(out, name);
	if (decided)
		buf_add_int(out, s);
	else
		buf_add_str(out, "null");
}

static void add_key(struct buf *out, const struct keyring_key *k, int64_t now_s)
{
	buf_add_byte(out, '{');
	add_text(out, "id", k->id);
	buf_add_byte(out, ',');
	add_text(out, "profile", keyring_profile_name(k->profile));
	buf_add_byte(out, ',');
	add_hex(out, "public_key", k->public_key);
	buf_add_byte(out, ',');
	add_text(out, "state", keyring_state_name(keyring_state(k, now_s)));
	add_time(out, "created", k->times.created_s, true);
	add_time(out, "activate", k->times.activate_s, true);
	add_time(out, "retire", k->times.retire_s, k->times.retire_s != 0);
	add_time(out, "destroy", k->times.destroy_s, k->times.destroy_s != 0);
	buf_add_str(out, ",\"contexts\":[");
	for (size_t i = 0; i < k->n_contexts; i++) {
		if (i > 0)
			buf_add_byte(out, ',');
		text_json(span_str(k->context[i]), out);
	}
	buf_add_str(out, "]}");
}

static void add_ring(struct buf *out, const struct keyring *r, int64_t now_s)
{
	buf_add_str(out, ",\"keys\":[");
	for (size_t i = 0; i < keyring_count(r); i++) {
		if (i > 0)
			buf_add_byte(out, ',');
		add_key(out, keyring_at(r, i), now_s);
	}
	buf_add_byte(out, ']');
}

void documents_keys(const struct documents *d, struct buf *out)
{
	const struct engine_publication *p = &d->current.p; /* empty before it is published */
	const struct documents_options *o = &d->o;

	add_proof(out, p->document, p->statement);
	add_ring(out, o->ring, now_s(d));
	buf_add_str(out, ",\"receipt_key\":{");
	add_text(out, "id", receipt_key_id(o->receipt_key));
	buf_add_byte(out, ',');
	add_hex(out, "public_key", receipt_key_public(o->receipt_key));
	buf_add_str(out, "},\"bundle\":");
	buf_add_uint(out, d->bundle);
	buf_add_byte(out, ',');
	add_text(out, "release", o->version);
	buf_add_byte(out, ',');
	add_text(out, "environment", o->config->environment);
	buf_add_byte(out, ',');
	add_text(out, "queue", o->config->queue_name);
}
