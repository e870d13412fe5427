/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker publishes in `attestations` (PROTOCOL.md 2.5), and which document its receipts name.
 *
 * The first publication goes with the join, before the membership; a newer one with a beat of its own. Each server gets
 * the newest: another than before may have forgotten what was said, and so may one that gave our lease away. A lost
 * reply leaves it open whether an entry stands there, so it is said again: entries may come twice.
 */
#include <stdio.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"
#include "worker/engine_internal.h"

#define RETRY_MAX_US (30 * ENGINE_SECOND_US)

/* --- the entry ------------------------------------------------------------------------------- */

/* Names and values, and room for those that are not there as text. */
struct entry {
	struct span field[QUEUE_JOIN_FIELDS];
	size_t n;
	char receipt_key[65], sha256[65], bundle[24];
};

static void add(struct entry *x, const char *name, struct span value)
{
	BUG_ON(x->n + 2 > QUEUE_JOIN_FIELDS);
	x->field[x->n++] = span_str(name);
	x->field[x->n++] = value;
}

static void make_entry(const struct engine *e, struct entry *x)
{
	const struct engine_published *p = &e->publication;
	x->n = 0;
	text_hex(span_of(receipt_key_public(e->o.receipt_key), 32), x->receipt_key);
	add(x, "worker", span_str(e->worker));
	add(x, "version", span_str(e->o.version));
	add(x, "environment", span_str(e->config->environment));
	add(x, "receipt_key_id", span_str(receipt_key_id(e->o.receipt_key)));
	add(x, "receipt_key", span_str(x->receipt_key));
	add(x, "keys", span_buf(&p->keys));
	if (p->statement.n > 0)
		add(x, "statement", span_buf(&p->statement));
	if (p->document.n > 0) {
		text_hex(span_of(p->document_sha256, sizeof p->document_sha256), x->sha256);
		add(x, "document", span_buf(&p->document));
		add(x, "document_sha256", span_str(x->sha256));
	}
	if (p->pcr0[0] != '\0')
		add(x, "pcr0", span_str(p->pcr0));
	if (p->bundle > 0) {
		snprintf(x->bundle, sizeof x->bundle, "%llu", (unsigned long long)p->bundle);
		add(x, "bundle", span_str(x->bundle));
	}
}

/* --- saying it ------------------------------------------------------------------------------- */

static struct engine_said said_now(const struct engine *e)
{
	const struct engine_published *p = &e->publication;
	struct engine_said s = { .server = queue_server(e->queue), .number = p->number, .document = p->document.n > 0 };
	memcpy(s.sha256, p->document_sha256, sizeof s.sha256);
	return s;
}

static bool is_said(const struct engine *e)
{
	const struct engine_published *p = &e->publication;
	return p->said.server == queue_server(e->queue) && p->said.number == p->number;
}

bool engine_may_join(const struct engine *e)
{
	const struct engine_published *p = &e->publication;
	return p->number > 0 && (!e->o.attested || p->document.n > 0);
}

void engine_publish_join(struct engine *e, int64_t lease_us, queue_beat_cb cb)
{
	struct entry x;
	make_entry(e, &x);
	e->publication.joining = said_now(e);
	queue_join(e->queue, e->was_member ? QUEUE_REJOIN : QUEUE_JOIN, e->worker, lease_us, clock_wall_us(),
		   e->o.machine != NULL ? e->o.machine : "", x.field, is_said(e) ? 0 : x.n, cb, e);
}

void engine_publish_joined(struct engine *e)
{
	e->publication.said = e->publication.joining;
}

static void told(void *arg, enum err err, const struct queue_beat_answer *a)
{
	struct engine *e = arg;
	struct engine_published *p = &e->publication;
	p->telling_sent = false;
	engine_count_call(e, METRICS_CALL_BEAT, err);
	/* A join since then has said it, or will: what this one came to says nothing of the server as it is now. */
	if (p->telling_joins != e->joins)
		return;
	if (err == ERR_OK && a->status == QUEUE_BEAT_OK) {
		p->said = p->telling;
		p->tries = 0;
		p->tell_boot_us = 0;
	} else if (err == ERR_OK && a->status == QUEUE_BEAT_FENCED) {
		engine_fenced(e, p->telling_joins);
	} else if (err != ERR_OK && err != ERR_QUEUE_LOST) {
		log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "publish"), LOG_STR(F_CODE, err_name(err)));
	}
	engine_publish_tick(e, clock_boot_us());
}

void engine_publish_tick(struct engine *e, int64_t boot_us)
{
	struct engine_published *p = &e->publication;
	struct entry x;
	bool member = e->membership == ENGINE_MEMBER || e->membership == ENGINE_ADOPTING;
	if (!member || !queue_is_up(e->queue) || p->telling_sent || is_said(e) || boot_us < p->tell_boot_us)
		return;
	make_entry(e, &x);
	p->telling = said_now(e);
	p->telling_joins = e->joins;
	p->telling_sent = true;
	p->tell_boot_us = boot_us + engine_pause_us(p->tries++, RETRY_MAX_US);
	queue_publish(e->queue, e->worker, (int64_t)e->config->lease_ms * 1000, clock_wall_us(), x.field, x.n, told, e);
}

void engine_publish_forget(struct engine *e)
{
	e->publication.said.server = 0;
	e->publication.alone = false;
}

/* Without this a receipt could come to a server that does not know its document yet: the first that a worker says to a
 * new one may be what became of a letter. Who is not let in says it nevertheless. */
bool engine_publish_stands(const struct engine *e)
{
	return e->publication.said.server == queue_server(e->queue) || e->publication.alone;
}

struct span engine_publish_document(const struct engine *e)
{
	const struct engine_said *s = &e->publication.said;
	return s->document ? span_of(s->sha256, sizeof s->sha256) : span_lit("");
}

/* --- what is to be said ---------------------------------------------------------------------- */

static void copy(struct buf *to, struct span from)
{
	buf_clear(to);
	buf_init(to, from.n + 1);
	buf_add_span(to, from);
}

void engine_publish(struct engine *e, const struct engine_publication *p)
{
	struct engine_published *to = &e->publication;
	copy(&to->keys, p->keys);
	copy(&to->statement, p->statement);
	copy(&to->document, p->document);
	memcpy(to->document_sha256, p->document_sha256, sizeof to->document_sha256);
	memcpy(to->pcr0, p->pcr0, sizeof to->pcr0);
	to->bundle = p->bundle;
	to->number++;
	to->tries = 0;
	to->tell_boot_us = 0;
	engine_queue_tick(e, clock_boot_us()); /* joins, or tells */
}

void engine_publish_free(struct engine *e)
{
	buf_clear(&e->publication.keys);
	buf_clear(&e->publication.statement);
	buf_clear(&e->publication.document);
}
