/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people see of a worker (`cwcctl workers`, `limits`, `top`): the field of its name in the hash `about`, words
 * NAME=VALUE with a space between. For information only: no script and no worker reads it.
 */
#include <stdio.h>

#include "worker/engine_internal.h"

static void add_number(struct buf *b, const char *name, uint64_t value)
{
	buf_add_str(b, name);
	buf_add_uint(b, value);
}

/* Letters a second, without an exponent for what the configuration allows. */
static void add_rate(struct buf *b, double rate)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%.10g", rate);
	BUG_ON(n < 0);
	buf_add_str(b, text);
}

/* RATE/CEILING/BURST/SLOTS/OFFICE_RATE/OFFICE_SLOTS. */
static void add_chamber(struct buf *b, const struct engine *e, enum cwc_chamber c)
{
	const struct config_chamber *ch = &e->config->chamber[c];
	if (!e->lane[c].enabled)
		return;
	buf_add_byte(b, ' ');
	buf_add_str(b, cwc_chamber_name(c));
	buf_add_byte(b, '=');
	add_rate(b, ch->rate > 0 && ch->rate < ch->rate_ceiling ? ch->rate : ch->rate_ceiling);
	buf_add_byte(b, '/');
	add_rate(b, ch->rate_ceiling);
	add_number(b, "/", ch->burst);
	add_number(b, "/", ch->concurrency);
	buf_add_byte(b, '/');
	add_rate(b, ch->office_rate);
	add_number(b, "/", ch->office_concurrency);
}

static void describe(const struct engine *e, struct buf *b)
{
	const struct engine_published *p = &e->publication;
	buf_add_str(b, "version=");
	buf_add_str(b, e->o.version);
	buf_add_str(b, " environment=");
	buf_add_str(b, e->config->environment);
	buf_add_str(b, e->draining ? " state=draining" : " state=serving");
	add_number(b, " started_ms=", (uint64_t)(e->started_wall_us / 1000));
	add_number(b, " lease_ms=", e->config->lease_ms);
	if (p->bundle > 0)
		add_number(b, " bundle=", p->bundle);
	if (p->pcr0[0] != '\0') {
		buf_add_str(b, " pcr0=");
		buf_add_str(b, p->pcr0);
	}
	for (int c = 0; c < CWC_CHAMBERS; c++)
		add_chamber(b, e, (enum cwc_chamber)c);
}

void engine_about_tick(struct engine *e)
{
	struct engine_about now = { e->joins, e->publication.number, e->draining };
	struct engine_about *said = &e->about;
	struct buf key, value;
	bool news = now.joins != said->joins || now.number != said->number || now.draining != said->draining;
	if (!news)
		return;
	*said = now;
	buf_init(&key, 128);
	buf_init(&value, 1024);
	queue_key(e->queue, "about", &key);
	describe(e, &value);
	struct span argv[] = { span_lit("HSET"), span_buf(&key), span_str(e->worker), span_buf(&value) };
	queue_command(e->queue, argv, sizeof argv / sizeof argv[0], engine_ignore_reply, e);
	buf_clear(&key);
	buf_clear(&value);
}
