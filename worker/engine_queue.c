/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"
#include "worker/engine_internal.h"

#define JOIN_RETRY_US ENGINE_SECOND_US
#define REAP_EVERY_US ENGINE_SECOND_US
/* Beyond this the scripts refuse us, whatever skew_max says. */
#define SKEW_US    (5 * ENGINE_SECOND_US)
#define TIME_MAX_S (INT64_MAX / ENGINE_SECOND_US - 1)

static int64_t lease_us(const struct engine *e)
{
	return (int64_t)e->config->lease_ms * 1000;
}

void engine_new_name(struct engine *e)
{
	uint8_t nonce[8];
	char hex[2 * sizeof nonce + 1];
	randombytes_buf(nonce, sizeof nonce);
	text_hex(span_of(nonce, sizeof nonce), hex);
	int n = snprintf(e->worker, sizeof e->worker, "%s/%s", e->config->name, hex);
	BUG_ON(n < 0 || (size_t)n >= sizeof e->worker);
}

/* --- membership ------------------------------------------------------------------------------ */

static void all(struct engine *e, enum pipeline_event ev)
{
	for (size_t i = 0; i < e->n_slots; i++) {
		if (e->slots[i].state != PIPELINE_GONE)
			engine_letter_event(&e->slots[i], ev);
	}
}

void engine_fenced(struct engine *e, unsigned joins)
{
	if (e->membership == ENGINE_AWAY || joins != e->joins)
		return;
	engine_count(e, METRICS_FENCED, 0, 0);
	log_event(LOG_QUEUE_FENCED, LOG_STR(F_WORKER, e->worker), LOG_INT(F_IN_FLIGHT, e->in_flight));
	e->membership = ENGINE_AWAY;
	e->recent_first = false;
	e->join_boot_us = 0;
	engine_publish_forget(e);
	all(e, PIPELINE_ON_FENCED);
	engine_new_name(e);
}

void engine_ignore_reply(void *arg, enum err err, const struct resp_reply *r)
{
	(void)r;
	engine_count_call(arg, METRICS_CALL_OTHER, err);
}

static void member(struct engine *e)
{
	e->membership = ENGINE_MEMBER;
	e->queue_error = ERR_OK; /* not sooner: a join that ADOPT does not follow is of no use */
	e->adopted_joins = e->joins;
	if (engine_replicas_needed(e, CWC_HOUSE) || engine_replicas_needed(e, CWC_SENATE))
		engine_replicas_ask(e); /* known before the first letter, and once a lease when there are none */
	engine_settle_tick(e, clock_boot_us());
	engine_take(e, CWC_HOUSE);
	engine_take(e, CWC_SENATE);
}

/* No answer yet, or a refusal: once more a little later. */
static void not_joined(struct engine *e, enum err why)
{
	e->membership = ENGINE_AWAY;
	e->publication.alone = true;
	e->join_boot_us = clock_boot_us() + JOIN_RETRY_US;
	if (why != ERR_OK)
		e->queue_error = why;
}

static void adopted(void *arg, enum err err, bool was_fenced, int64_t n)
{
	struct engine *e = arg;
	engine_count_call(e, METRICS_CALL_ADOPT, err);
	if (e->membership != ENGINE_ADOPTING)
		return;
	if (err == ERR_OK && was_fenced) {
		engine_fenced(e, e->adopt_joins);
		return;
	}
	if (err != ERR_OK) {
		/* AWAY makes it join again, and a join makes it adopt. */
		not_joined(e, err != ERR_QUEUE_LOST ? err : ERR_OK);
		return;
	}
	if (n > 0)
		log_event(LOG_QUEUE_RECOVERED, LOG_INT(F_COUNT, n));
	member(e);
}

/* All tokens under our present name whose jobs may be ours on record: those in flight, and those that were settled and
 * whose SETTLE may be lost again. The caller frees. */
static struct span *tokens(const struct engine *e, size_t *ret_n)
{
	struct span *token = xcalloc(e->n_slots + recent_count_open(e->recent) + 1, sizeof *token);
	size_t n = 0;
	for (size_t i = 0; i < e->n_slots; i++) {
		const struct slot *s = &e->slots[i];
		if (s->state != PIPELINE_GONE && strcmp(s->worker, e->worker) == 0)
			token[n++] = span_str(s->token);
	}
	const struct recent_entry *r = NULL;
	while ((r = recent_next_open(e->recent, r)) != NULL) {
		if (strcmp(r->settle.worker, e->worker) == 0)
			token[n++] = span_str(r->settle.token);
	}
	*ret_n = n;
	return token;
}

/* A POST of any worker is over by then: its body may start two seconds after TAKE, and the clocks may differ. */
int64_t engine_resend_after(const struct engine *e, enum cwc_chamber c)
{
	return ((int64_t)e->config->chamber[c].total_timeout_ms + e->config->skew_max_ms) * 1000 + ENGINE_GRANT_US;
}

/* One time for both chambers: that of the one whose POSTs may last longer, of those that send again. */
static struct queue_unknown unknown(const struct engine *e)
{
	const struct config_chamber *house = &e->config->chamber[CWC_HOUSE], *senate = &e->config->chamber[CWC_SENATE];
	struct queue_unknown u = { .resend_after_us = engine_resend_after(e, CWC_SENATE),
				   .house_resend = house->unknown_policy == CONFIG_UNKNOWN_RESEND,
				   .senate_resend = senate->unknown_policy == CONFIG_UNKNOWN_RESEND };
	if (u.house_resend && engine_resend_after(e, CWC_HOUSE) > u.resend_after_us)
		u.resend_after_us = engine_resend_after(e, CWC_HOUSE);
	return u;
}

void engine_adopt(struct engine *e)
{
	if ((e->membership != ENGINE_JOINING && e->membership != ENGINE_MEMBER) || e->recent_first)
		return;
	e->membership = ENGINE_ADOPTING;
	e->adopt_boot_us = clock_boot_us() + lease_us(e);
	e->adopt_joins = e->joins;
	struct queue_adopt a = { .worker = e->worker, .now_us = clock_wall_us(), .unknown = unknown(e) };
	struct span *token = tokens(e, &a.n);
	a.token = token;
	queue_adopt(e->queue, &a, adopted, e);
	free(token);
}

static void note_skew(struct engine *e, int64_t redis_us)
{
	int64_t skew = redis_us - clock_wall_us(), most = (int64_t)e->config->skew_max_ms * 1000;
	e->skew_us = skew < 0 ? -skew : skew;
	e->skewed = e->skew_us > (most < SKEW_US ? most : SKEW_US);
}

/* Somebody wants us to drain: said with each beat, and met once. */
static void note_drain(struct engine *e, const struct queue_beat_answer *a)
{
	if (!a->drain || e->drain_asked || e->draining || e->o.on_drain == NULL)
		return;
	e->drain_asked = true;
	e->o.on_drain(e->o.on_drain_arg);
}

static void let_in(struct engine *e, const struct queue_beat_answer *a)
{
	note_skew(e, a->redis_us);
	engine_count_places(e, a);
	e->beat_boot_us = clock_boot_us() + lease_us(e) / 3;
	e->publication.alone = false;
	engine_publish_joined(e);
	e->reap_boot_us = 0; /* if a worker of our name was here before, its jobs wait */
	e->recent_first = true;
	e->was_member = true;
	engine_settle_begun(e);
	engine_recent_say(e); /* then ADOPT */
	note_drain(e, a);
}

static enum err not_let_in(enum queue_beat_status status)
{
	switch (status) {
	case QUEUE_BEAT_VERSION:
		return ERR_QUEUE_VERSION;
	case QUEUE_BEAT_TAKEN:
		return ERR_EXISTS;
	case QUEUE_BEAT_OK:
	case QUEUE_BEAT_FENCED:
	case QUEUE_BEAT_BUSY:
		break;
	}
	return ERR_PROTOCOL; /* JOIN never says so */
}

static void joined(void *arg, enum err err, const struct queue_beat_answer *a)
{
	struct engine *e = arg;
	engine_count_call(e, METRICS_CALL_JOIN, err);
	if (e->membership != ENGINE_JOINING)
		return;
	if (err == ERR_OK && a->status == QUEUE_BEAT_OK) {
		let_in(e, a);
		return;
	}
	not_joined(e, err != ERR_OK ? err : not_let_in(a->status));
	if (err == ERR_OK)
		log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "join"), LOG_STR(F_CODE, err_name(e->queue_error)),
			  LOG_STR(F_WORKER, e->worker));
}

/* The same name with the same nonce may be known still: JOIN renews it, so one call serves both the first time and the
 * return after a lost connection. */
static void join(struct engine *e)
{
	e->membership = ENGINE_JOINING;
	engine_publish_join(e, lease_us(e), joined);
}

/* TIME: seconds and microseconds. */
static enum err read_time(const struct resp_reply *r, int64_t *ret_us)
{
	uint64_t s, us;
	if (r->type != RESP_ARRAY || r->n != 2)
		return ERR_PROTOCOL;
	TRY(text_uint(resp_text(r->at[0]), TIME_MAX_S, &s));
	TRY(text_uint(resp_text(r->at[1]), ENGINE_SECOND_US - 1, &us));
	*ret_us = (int64_t)(s * ENGINE_SECOND_US + us);
	return ERR_OK;
}

static void clock_came(void *arg, enum err err, const struct resp_reply *r)
{
	struct engine *e = arg;
	int64_t redis_us;
	bool told = e->skew_told;
	engine_count_call(e, METRICS_CALL_OTHER, err);
	e->clock_sent = e->skew_told = false;
	if (err == ERR_OK && read_time(r, &redis_us) != ERR_OK)
		err = ERR_PROTOCOL;
	if (err == ERR_OK)
		note_skew(e, redis_us);
	if (told && err != ERR_QUEUE_LOST)
		e->skewed = true;
	if (e->membership != ENGINE_ASKING)
		return;
	/* A lease is written by our clock: one that is off would end at once, or never. */
	if (err != ERR_OK || e->skewed)
		not_joined(e, err);
	else
		join(e);
}

static void ask_clock(struct engine *e)
{
	struct span argv[] = { span_lit("TIME") };
	if (e->clock_sent)
		return;
	e->clock_sent = true;
	queue_command(e->queue, argv, sizeof argv / sizeof argv[0], clock_came, e);
}

void engine_skewed(struct engine *e)
{
	e->skew_told = true;
	ask_clock(e);
}

static void beaten(void *arg, enum err err, const struct queue_beat_answer *a)
{
	struct engine *e = arg;
	e->beat_sent = false;
	engine_count_call(e, METRICS_CALL_BEAT, err);
	if (err != ERR_OK)
		return;
	if (a->status == QUEUE_BEAT_OK) {
		note_skew(e, a->redis_us);
		engine_watch_counts(e, a);
		engine_count_places(e, a);
		note_drain(e, a);
	} else if (a->status == QUEUE_BEAT_FENCED) {
		engine_fenced(e, e->beat_joins);
	} else if (a->status == QUEUE_BEAT_VERSION) {
		not_joined(e, ERR_QUEUE_VERSION); /* a newer release took over: take nothing more */
		e->recent_first = false;
	}
}

static void left(void *arg, enum err err, const struct queue_beat_answer *a)
{
	struct engine *e = arg;
	engine_count_call(e, METRICS_CALL_LEAVE, err);
	if (err == ERR_OK && a->status == QUEUE_BEAT_BUSY) {
		/* The queue has jobs under our name that we do not know: they go back, then we leave. */
		e->membership = ENGINE_MEMBER;
		engine_adopt(e);
		return;
	}
	e->left = true;
}

void engine_leave(struct engine *e)
{
	queue_beat(e->queue, QUEUE_LEAVE, e->worker, 0, clock_wall_us(), left, e);
}

static void reaped(void *arg, enum err err, bool was_fenced, int64_t n)
{
	struct engine *e = arg;
	e->reap_sent = false;
	engine_count_call(e, METRICS_CALL_REAP, err);
	if (err == ERR_OK && n > 0)
		metrics_add(e->metrics, METRICS_RECOVERED, 0, 0, n);
	if (err == ERR_OK && was_fenced)
		engine_fenced(e, e->reap_joins);
	else if (err == ERR_OK && n > 0)
		log_event(LOG_QUEUE_RECOVERED, LOG_INT(F_COUNT, n));
}

static void reap(struct engine *e)
{
	struct queue_reap r = {
		.worker = e->worker,
		.now_us = clock_wall_us(),
		.crashes_max = e->config->crashes,
		.unknown = unknown(e),
	};
	e->reap_sent = true;
	e->reap_joins = e->joins;
	queue_reap(e->queue, &r, reaped, e);
}

void engine_queue_tick(struct engine *e, int64_t boot_us)
{
	engine_recent_tick(e, boot_us);
	if (!queue_is_up(e->queue) || e->left)
		return;
	if (e->membership == ENGINE_AWAY && engine_may_join(e) && boot_us >= e->join_boot_us) {
		e->membership = ENGINE_ASKING;
		e->joins++;
		engine_count(e, METRICS_JOINS, 0, 0);
		ask_clock(e);
	}
	engine_recent_say(e);
	engine_replicas_tick(e, boot_us);
	engine_publish_tick(e, boot_us);
	if (e->membership != ENGINE_MEMBER && e->membership != ENGINE_ADOPTING && !e->recent_first)
		return;
	engine_about_tick(e);
	if (!e->beat_sent && boot_us >= e->beat_boot_us) {
		e->beat_sent = true;
		e->beat_joins = e->joins;
		e->beat_boot_us = boot_us + lease_us(e) / 3;
		queue_beat(e->queue, QUEUE_BEAT, e->worker, lease_us(e), clock_wall_us(), beaten, e);
	}
	/* A TAKE of a connection that was given up may be carried out late: what it took is known to nobody here. While
	 * the lists are compared no TAKE may be under way. */
	if (boot_us >= e->adopt_boot_us && !e->lane[CWC_HOUSE].take_sent && !e->lane[CWC_SENATE].take_sent)
		engine_adopt(e);
	if (!e->reap_sent && boot_us >= e->reap_boot_us) {
		/* Jitter, so that a fleet does not sweep in step. */
		e->reap_boot_us = boot_us + REAP_EVERY_US + randombytes_uniform(REAP_EVERY_US);
		reap(e);
	}
}

void engine_queue_up(void *arg)
{
	struct engine *e = arg;
	engine_count(e, METRICS_CONNECTS, 0, 0);
	log_event(LOG_QUEUE_UP, LOG_STR(F_ADDRESS, e->config->queue_address.text));
	e->queue_error = ERR_OK;
	for (int c = 0; c < CWC_CHAMBERS; c++)
		e->lane[c].take_error = ERR_OK;
	e->join_boot_us = 0;
	engine_queue_tick(e, clock_boot_us());
}

void engine_queue_down(void *arg, enum err why, const char *detail)
{
	struct engine *e = arg;
	(void)detail;
	engine_count(e, METRICS_DISCONNECTS, 0, 0);
	if (e->queue_error != why)
		log_event(LOG_QUEUE_DOWN, LOG_STR(F_ADDRESS, e->config->queue_address.text),
			  LOG_STR(F_CODE, err_name(why)), LOG_INT(F_IN_FLIGHT, e->in_flight));
	e->queue_error = why;
	e->membership = ENGINE_AWAY;
	e->recent_first = false;
	e->publication.alone = false;
	recent_doubt(e->recent);
	for (size_t i = 0; i < e->n_slots; i++)
		e->slots[i].moved = true;
}
