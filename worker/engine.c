/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine.h"

#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/engine_internal.h"

_Static_assert((int)CWC_HOUSE == CONFIG_HOUSE && (int)CWC_SENATE == CONFIG_SENATE, "one order of the chambers");

#define TICK_MS 50
/* After the drain limit: time to report the POSTs that were cut off. */
#define DRAIN_REPORT_US (3 * ENGINE_SECOND_US)
#define QUEUE_WRITE_MAX (16U << 20)
#define QUEUE_REPLY_MAX (32U << 20)

/* --- readiness ------------------------------------------------------------------------------- */

/* Each chamber's own: that one is served says nothing of the other. */
static enum err take_error(const struct engine *e)
{
	const struct lane *l = &e->lane[CWC_HOUSE];
	return l->take_error != ERR_OK ? l->take_error : e->lane[CWC_SENATE].take_error;
}

bool engine_ready(const struct engine *e, const char **ret_reason)
{
	const char *reason = NULL;
	if (e->draining)
		reason = "draining";
	else if (e->trouble != NULL)
		reason = e->trouble;
	else if (!engine_may_join(e))
		reason = "no_document"; /* nothing to publish yet: the queue comes after that */
	else if (queue_is_up(e->queue) && e->skewed)
		reason = "clock_skew"; /* first: it keeps us from joining */
	else if (e->queue_error != ERR_OK)
		reason = err_name(e->queue_error);
	else if (!queue_is_up(e->queue) || e->membership == ENGINE_AWAY || e->adopted_joins != e->joins)
		reason = "queue"; /* the first ADOPT after a join belongs to it */
	else if (take_error(e) != ERR_OK)
		reason = err_name(take_error(e));
	else if (e->replicas_short)
		reason = "replicas";
	else if (keyring_count(e->o.ring) == 0)
		reason = "no_keys";
	*ret_reason = reason == NULL ? "" : reason;
	return reason == NULL;
}

static void note_ready(struct engine *e)
{
	const char *reason;
	bool ready = engine_ready(e, &reason);
	if (ready == e->was_ready && (ready || strcmp(reason, e->not_ready) == 0))
		return;
	if (e->joins == 0 && !engine_may_join(e) && e->trouble == NULL && !e->draining)
		return; /* at the start; who makes the document says what keeps it */
	if (ready != e->was_ready && e->o.on_ready != NULL)
		e->o.on_ready(e->o.on_ready_arg, ready);
	e->was_ready = ready;
	e->not_ready = reason;
	if (ready)
		log_event(LOG_READY, LOG_STR(F_WORKER, e->worker));
	else
		log_event(LOG_NOT_READY, LOG_STR(F_WORKER, e->worker), LOG_STR(F_REASON, reason),
			  LOG_INT(F_SKEW_MS, e->skew_us / 1000));
}

/* --- drain ----------------------------------------------------------------------------------- */

void engine_drain(struct engine *e, void (*done)(void *arg, unsigned left), void *arg)
{
	if (e->draining)
		return;
	e->draining = true;
	e->drained = done;
	e->drained_arg = arg;
	e->drain_boot_us = clock_boot_us() + (int64_t)e->config->drain_timeout_ms * 1000;
	log_event(LOG_DRAINING, LOG_INT(F_IN_FLIGHT, e->in_flight),
		  LOG_STR(F_REASON, e->drain_asked ? "asked" : "signal"));
}

static void drain_tick(struct engine *e, int64_t boot_us)
{
	if (e->drained == NULL)
		return;
	bool late = boot_us >= e->drain_boot_us;
	if (late && !e->drain_cancelled) {
		/* What was cut off is settled as unknown or not sent: nobody is told a guess. */
		e->drain_cancelled = true;
		http_cancel_all(e->http);
	}
	bool member = queue_is_up(e->queue) && e->membership == ENGINE_MEMBER;
	size_t left = e->in_flight + recent_count_open(e->recent); /* said again first, or it looks unsent */
	if (left == 0 && member) {
		e->membership = ENGINE_LEAVING;
		engine_leave(e);
		return;
	}
	/* A worker that the queue does not let in has nothing to leave. */
	bool refused =
		e->membership == ENGINE_AWAY && (e->skewed || !engine_may_join(e) || e->queue_error == ERR_EXISTS ||
						 e->queue_error == ERR_QUEUE_VERSION);
	bool waiting = left > 0 || (queue_is_up(e->queue) && !e->left && !refused);
	if (!waiting || boot_us >= e->drain_boot_us + DRAIN_REPORT_US) {
		void (*done)(void *arg, unsigned left) = e->drained;
		e->drained = NULL;
		e->dropped_boot_us = 0;
		engine_recent_tick(e, boot_us); /* what it has to say, it says before the end */
		done(e->drained_arg, (unsigned)left);
	}
}

static void tick(uv_timer_t *t)
{
	struct engine *e = t->data;
	int64_t now = clock_boot_us();
	engine_metrics_tick(e, now);
	engine_watch_tick(e, now); /* before anything is taken: a window may have begun */
	engine_queue_tick(e, now);
	engine_settle_tick(e, now);
	for (int c = 0; c < CWC_CHAMBERS; c++) {
		engine_offices_tick(&e->lane[c], now);
		engine_take(e, (enum cwc_chamber)c); /* heals a wake-up that was missed */
	}
	note_ready(e);
	if (e->draining)
		drain_tick(e, now);
}

/* --- making and freeing ---------------------------------------------------------------------- */

static enum err open_lane(struct engine *e, enum cwc_chamber c, const char **ret_key, const char **ret_rule)
{
	const struct config_chamber *ch = &e->config->chamber[c];
	struct lane *l = &e->lane[c];
	if (!l->enabled)
		return ERR_OK;
	struct http_target_options t = {
		.url = ch->url,
		.api_key = e->o.api_key[c],
		.address = ch->address.text[0] == '\0' ? NULL : &ch->address,
		.ca_file = ch->ca_file,
		.connect_timeout_ms = ch->connect_timeout_ms,
		.first_byte_timeout_ms = ch->first_byte_timeout_ms,
		.total_timeout_ms = ch->total_timeout_ms,
		.connection_max_age_ms = ch->connection_max_age_ms,
		.answer_max = ch->answer_max,
	};
	pace_init(&l->pace, ch->rate_ceiling, ch->burst);
	*ret_key = c == CWC_HOUSE ? "house" : "senate";
	return http_target_new(e->http, &t, &l->target, ret_rule);
}

static enum err open_http(struct engine *e, const char **ret_key, const char **ret_rule)
{
	unsigned n = 2; /* one office list each */
	for (int c = 0; c < CWC_CHAMBERS; c++)
		n += e->config->chamber[c].enabled ? e->config->chamber[c].concurrency : 0;
	struct http_options h = { .bridge_dir = e->config->bridge_dir, .max_in_flight = n };
	*ret_key = "http.bridge_dir";
	*ret_rule = "cannot be made, or is not private to this user";
	TRY(http_new(e->loop, &h, &e->http));
	TRY(open_lane(e, CWC_HOUSE, ret_key, ret_rule));
	return open_lane(e, CWC_SENATE, ret_key, ret_rule);
}

static enum err open_queue(struct engine *e, const char **ret_key, const char **ret_rule)
{
	const struct config *c = e->config;
	static const struct queue_ops ops = { .up = engine_queue_up, .down = engine_queue_down };
	struct stream_tls tls = {
		.host = c->queue_tls_host[0] != '\0' ? c->queue_tls_host : c->queue_address.host,
		.ca_file = c->queue_ca_file[0] != '\0' ? c->queue_ca_file : NULL,
		.cert_file = c->queue_cert_file[0] != '\0' ? c->queue_cert_file : NULL,
		.key_file = c->queue_key_file[0] != '\0' ? c->queue_key_file : NULL,
		.verify = c->queue_tls_verify,
	};
	struct queue_options q = {
		.conn = { .address = c->queue_address,
			  .tls = c->queue_tls ? &tls : NULL,
			  .user = c->queue_user[0] != '\0' ? c->queue_user : NULL,
			  .password = e->o.queue_password,
			  .timeout_ms = c->queue_timeout_ms,
			  .write_max = QUEUE_WRITE_MAX,
			  .reply_max = QUEUE_REPLY_MAX },
		.name = c->queue_name,
		.allow_eviction = c->allow_eviction,
	};
	*ret_key = "queue";
	return queue_open(e->loop, &q, &ops, e, &e->queue, ret_rule);
}

static void make_slots(struct engine *e)
{
	for (int c = 0; c < CWC_CHAMBERS; c++)
		e->n_slots += e->config->chamber[c].enabled ? e->config->chamber[c].concurrency : 0;
	BUG_ON(e->n_slots > ENGINE_SLOTS_MAX);
	e->slots = xcalloc(e->n_slots, sizeof *e->slots);
	for (size_t i = e->n_slots; i-- > 0;) {
		e->slots[i].state = PIPELINE_GONE;
		buf_init(&e->slots[i].xml, PREPARE_XML_MAX);
		e->slots[i].next_free = e->free_slots;
		e->free_slots = &e->slots[i];
	}
}

static void set_signers(struct engine *e)
{
	for (size_t i = 0; i < e->config->n_signers; i++) {
		const struct config_signer *from = &e->config->signer[i];
		struct job_signer *to = &e->signer[i];
		memcpy(to->kid, from->kid, sizeof to->kid);
		memcpy(to->public_key, from->public_key, sizeof to->public_key);
		to->not_before_s = from->not_before_s;
		to->not_after_s = from->not_after_s;
	}
	e->n_signers = e->config->n_signers;
}

void engine_set_granted(struct engine *e, const struct job_signer *s, size_t n)
{
	size_t own = e->config->n_signers;
	BUG_ON(n > ENGINE_GRANTED_MAX);
	for (size_t i = 0; i < n; i++)
		e->signer[own + i] = s[i];
	e->n_signers = own + n;
}

void engine_set_trouble(struct engine *e, const char *reason)
{
	e->trouble = reason;
	note_ready(e);
}

enum err engine_new(uv_loop_t *loop, const struct engine_options *o, struct engine **ret_engine, const char **ret_key,
		    const char **ret_rule)
{
	struct engine *e = xcalloc(1, sizeof *e);
	e->o = *o;
	e->config = o->config;
	e->loop = loop;
	e->metrics = metrics_new();
	e->started_wall_us = clock_wall_us();
	e->started_boot_us = clock_boot_us();
	e->seen = seen_new();
	e->recent = recent_new();
	e->maybe = seen_new();
	e->not_ready = "queue"; /* at the start there is nothing to say */
	secret_arena(&e->arena, PREPARE_ARENA_SIZE);
	set_signers(e);
	make_slots(e);
	engine_new_name(e);
	for (int c = 0; c < CWC_CHAMBERS; c++) {
		e->lane[c].engine = e;
		e->lane[c].chamber = (enum cwc_chamber)c;
		e->lane[c].enabled = e->config->chamber[c].enabled;
		uv_timer_init(loop, &e->lane[c].timer);
		e->lane[c].timer.data = &e->lane[c];
	}
	uv_timer_init(loop, &e->tick);
	e->tick.data = e;
	enum err err = engine_watch_open(e, ret_key, ret_rule);
	if (err == ERR_OK)
		err = open_http(e, ret_key, ret_rule);
	if (err == ERR_OK)
		err = open_queue(e, ret_key, ret_rule);
	if (err != ERR_OK) {
		engine_free(e);
		return err;
	}
	uv_timer_start(&e->tick, tick, 1, TICK_MS);
	*ret_engine = e;
	return ERR_OK;
}

static void free_memory(struct engine *e)
{
	for (int c = 0; c < CWC_CHAMBERS; c++)
		free(e->lane[c].list);
	for (size_t i = 0; i < e->n_slots; i++)
		buf_clear(&e->slots[i].xml);
	free(e->slots);
	secret_arena_free(&e->arena);
	seen_free(e->seen);
	seen_free(e->maybe);
	engine_watch_free(e);
	engine_publish_free(e);
	recent_free(e->recent);
	metrics_free(e->metrics);
	free(e);
}

/* The timers' memory is the engine's: it goes when the last of them is closed. */
static void closed(uv_handle_t *h)
{
	struct engine *e = h->data;
	if (--e->handles == 0)
		free_memory(e);
}

void engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	http_free(e->http);
	queue_close(e->queue);
	e->handles = 1 + CWC_CHAMBERS;
	uv_close((uv_handle_t *)&e->tick, closed);
	for (int c = 0; c < CWC_CHAMBERS; c++) {
		e->lane[c].timer.data = e;
		uv_close((uv_handle_t *)&e->lane[c].timer, closed);
	}
}
