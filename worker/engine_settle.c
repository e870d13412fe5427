/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a letter: one SETTLE under its token, again and again until the queue has confirmed it. */
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

#define PAUSE_US     200000
#define LOST_MAX_US  (2 * ENGINE_SECOND_US)
#define ERROR_MAX_US (30 * ENGINE_SECOND_US)
#define UNSENT_TRIES 4 /* of a job that may be forgotten, against errors of the script */

int64_t engine_pause_us(unsigned tries, int64_t most_us)
{
	int64_t wait = PAUSE_US << (tries < 10 ? tries : 10);
	return wait > most_us ? most_us : wait;
}

/* --- logs ------------------------------------------------------------------------------------ */

static void log_end(const struct slot *s, const struct queue_settle_answer *a)
{
	const struct decision *d = &s->decision;
	enum log_event ev = LOG_LETTER_LATER;
	if (d->verb == QUEUE_END || d->verb == QUEUE_CONFLICT)
		ev = LOG_LETTER_ENDED;
	else if (d->verb == QUEUE_REFUSED)
		ev = LOG_JOB_REFUSED;
	else if (d->verb == QUEUE_RELEASE || d->verb == QUEUE_NOT_SENT || d->verb == QUEUE_LIVE)
		ev = LOG_LETTER_GIVEN_BACK;
	log_event(ev, LOG_STR(F_SID, s->sid), LOG_STR(F_OFFICE, s->office),
		  LOG_STR(F_OUTCOME, outcome_name(d->outcome)),
		  LOG_STR(F_CLASS, outcome_class_name(outcome_class(d->outcome))), LOG_STR(F_CODE, d->detail),
		  LOG_STR(F_DELIVERY_ID, s->prepared.delivery_id), LOG_INT(F_HTTP_STATUS, s->http_status),
		  LOG_INT(F_ATTEMPT, s->known.attempt), LOG_INT(F_REV, a->rev));
}

/* The last line of defence: an answer that the queue has no place for is on record at least here. */
void engine_log_orphan(struct engine *e, const struct recent_settle *r)
{
	engine_count(e, METRICS_ORPHANED, r->chamber, 0);
	log_event(LOG_LETTER_ORPHANED, LOG_STR(F_SID, r->sid), LOG_STR(F_OFFICE, r->office),
		  LOG_STR(F_OUTCOME, outcome_name(r->decision.outcome)), LOG_STR(F_DELIVERY_ID, r->delivery_id),
		  LOG_INT(F_HTTP_STATUS, r->http_status));
}

void engine_log_breakers(struct engine *e, const struct queue_settle_answer *a)
{
	for (size_t i = 0; i < a->n_breakers; i++) {
		const struct queue_breaker *b = &a->breaker[i];
		engine_count_breaker(e, b);
		enum log_field what = b->what.n == QUEUE_OFFICE_LEN && b->what.p[0] < 'a' ? F_OFFICE : F_CHAMBER;
		if (b->open)
			log_event(LOG_BREAKER_OPEN, LOG_NAME(what, b->what),
				  LOG_INT(F_WAIT_MS, (b->until_us - clock_wall_us()) / 1000));
		else
			log_event(LOG_BREAKER_CLOSED, LOG_NAME(what, b->what));
	}
}

void engine_log_settle_error(const struct recent_settle *r, enum err err)
{
	log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "settle"), LOG_STR(F_CODE, err_name(err)), LOG_STR(F_SID, r->sid),
		  LOG_STR(F_OFFICE, r->office));
}

/* --- saying it ------------------------------------------------------------------------------- */

static void receipt(const struct engine *e, const struct recent_settle *s, enum outcome o, struct buf *out)
{
	struct receipt r = {
		.environment = span_str(e->config->environment),
		.queue = span_str(e->config->queue_name),
		.sid = span_str(s->sid),
		.office = span_str(s->office),
		.generation = s->generation,
		.delivery_id = span_str(s->attempt > 0 ? s->delivery_id : ""),
		.attempt = s->attempt,
		.outcome = span_str(outcome_name(o)),
		.http_status = s->http_status,
		.begun_ms = s->begun_us / 1000,
		.ended_ms = s->ended_us / 1000,
		.document = engine_publish_document(e),
	};
	receipt_sign(e->o.receipt_key, &r, out);
	BUG_ON(buf_ok(out) != ERR_OK);
}

void engine_say_settle(struct engine *e, const struct recent_settle *r, queue_settle_cb cb, void *arg)
{
	const struct decision *d = &r->decision;
	struct buf main_receipt, other;
	/* Of the two readings of a 409 only the one that this worker can stand for is signed. */
	bool conflict = d->verb == QUEUE_CONFLICT;
	buf_init(&main_receipt, RECEIPT_MAX);
	buf_init(&other, RECEIPT_MAX);
	if (conflict || d->verb == QUEUE_END)
		receipt(e, r, d->outcome, conflict && d->outcome == OUT_ID_CONFLICT ? &other : &main_receipt);
	struct queue_settle q = {
		.worker = r->worker,
		.sid = span_str(r->sid),
		.office = span_str(r->office),
		.token = span_str(r->token),
		.verb = d->verb,
		.state = d->verb == QUEUE_END ? outcome_state_name(outcome_state(d->outcome)) : "",
		.outcome = outcome_name(d->outcome),
		.class_ = outcome_class_name(outcome_class(d->outcome)),
		.retryable = outcome_retryable(d->outcome),
		.detail = span_str(d->detail),
		.http_status = r->http_status,
		.due_us = d->due_us,
		.now_us = r->ended_us, /* what the receipt says, however late this arrives */
		.generation = r->expires_us > 0 ? (int64_t)r->generation : -1,
		.begun_us = r->begun_us,
		.receipt = span_buf(&main_receipt),
		.receipt_alt = span_buf(&other),
		.site = (int)d->site,
		.breaker_open_us = (int64_t)e->config->chamber[r->chamber].breaker_open_ms * 1000,
	};
	queue_settle(e->queue, &q, cb, arg);
	buf_clear(&main_receipt);
	buf_clear(&other);
}

void engine_say_begin(struct engine *e, const struct recent_settle *r, queue_begin_cb cb, void *arg)
{
	struct queue_begin b = {
		.worker = r->worker,
		.sid = span_str(r->sid),
		.office = span_str(r->office),
		.token = span_str(r->token),
		.delivery_id = span_str(r->delivery_id),
		.date = span_str(r->date),
		.generation = r->generation,
		.expires_us = r->expires_us,
		.now_us = r->begun_us, /* becomes the record's: when the POST began, not when that is said again */
		.sent = true,
	};
	queue_begin(e->queue, &b, cb, arg);
}

/* Whatever it said: the SETTLE behind it meets the same record. */
void engine_ignore_begin(void *arg, enum err err, const struct queue_begin_answer *a)
{
	(void)a;
	engine_count_call(arg, METRICS_CALL_BEGIN, err);
}

static void describe(const struct slot *s, struct recent_settle *r)
{
	*r = (struct recent_settle){
		.chamber = s->chamber,
		.decision = s->decision,
		.generation = s->prepared.generation,
		.expires_us = s->prepared.expires_us,
		.begun_us = s->known.begun_us,
		.ended_us = s->ended_us,
		.attempt = s->known.attempt,
		.http_status = s->http_status,
	};
	memcpy(r->worker, s->worker, sizeof r->worker);
	memcpy(r->sid, s->sid, sizeof r->sid);
	memcpy(r->office, s->office, sizeof r->office);
	memcpy(r->token, s->token, sizeof r->token);
	memcpy(r->delivery_id, s->prepared.delivery_id, sizeof r->delivery_id);
	memcpy(r->date, s->prepared.date, sizeof r->date);
}

/* --- the slot's settlement ------------------------------------------------------------------- */

static void again(struct slot *s, int64_t most_us)
{
	s->settle_boot_us = clock_boot_us() + engine_pause_us(s->settle_tries, most_us);
	s->settle_tries++;
	engine_letter_event(s, PIPELINE_ON_LOST);
}

/* Nothing was sent: ADOPT gives the job back, since its token is not known here any more. */
static void let_go(struct slot *s)
{
	struct engine *e = s->engine;
	engine_letter_event(s, PIPELINE_ON_SETTLED);
	engine_adopt(e);
}

/* The intent is on record again (or never will be): now the outcome. */
static void rebegun(void *arg, enum err err, const struct queue_begin_answer *a)
{
	struct slot *s = arg;
	s->settle_sent = false;
	(void)a;
	engine_count_call(s->engine, METRICS_CALL_BEGIN, err);
	again(s, err == ERR_QUEUE_LOST ? LOST_MAX_US : ERROR_MAX_US);
}

/* SETTLE does not fit the record. After a POST that means that the queue lost its BEGIN (a failover, a restart with an
 * older file): the intent is recorded anew under the same token, so that the outcome finds its place, and the job is
 * not forgotten, since it would go back as unsent. */
static void forgotten(struct slot *s, const struct recent_settle *r)
{
	engine_log_settle_error(r, ERR_QUEUE_SCRIPT);
	if (!s->posted) {
		let_go(s);
		return;
	}
	s->settle_sent = true;
	engine_say_begin(s->engine, r, rebegun, s);
}

/* An error that lasts is the record's: the script fails on it each time. What was sent is on nobody's record but ours,
 * so it is said again for as long as this process lives. */
static void failed(struct slot *s, const struct recent_settle *r, enum err err)
{
	bool script = err == ERR_QUEUE_SCRIPT || err == ERR_LIMIT;
	if (script)
		engine_log_settle_error(r, err);
	if (script && !s->posted && s->settle_tries >= UNSENT_TRIES) {
		let_go(s);
		return;
	}
	if (err == ERR_QUEUE_LOST)
		s->settle_tries = 0;
	again(s, script && s->posted ? ERROR_MAX_US : LOST_MAX_US);
}

static void settled(void *arg, enum err err, const struct queue_settle_answer *a)
{
	struct slot *s = arg;
	struct recent_settle r;
	s->settle_sent = false;
	engine_count_call(s->engine, METRICS_CALL_SETTLE, err);
	describe(s, &r);
	if (err != ERR_OK) {
		failed(s, &r, err);
		return;
	}
	if (a->status == QUEUE_SETTLE_BUG) {
		forgotten(s, &r);
		return;
	}
	engine_log_breakers(s->engine, a);
	if (a->status == QUEUE_SETTLE_OK || a->status == QUEUE_SETTLE_LATE) {
		engine_count_settled(s, a);
		log_end(s, a);
	} else if (a->status == QUEUE_SETTLE_STALE && s->posted) {
		engine_log_orphan(s->engine,
				  &r); /* the queue knows nothing of this POST: what came of it is only here */
	}
	if (s->posted && a->status != QUEUE_SETTLE_STALE)
		recent_add(s->engine->recent, &r, s->engine, a->rev, clock_boot_us());
	engine_letter_event(s, PIPELINE_ON_SETTLED);
}

void engine_settle_begun(struct engine *e)
{
	for (size_t i = 0; i < e->n_slots; i++) {
		struct recent_settle r;
		struct slot *s = &e->slots[i];
		if (s->state != PIPELINE_POSTING || !s->moved)
			continue;
		describe(s, &r);
		engine_say_begin(e, &r, engine_ignore_begin, e);
	}
}

void engine_settle_send(struct slot *s)
{
	struct recent_settle r;
	if (!queue_is_up(s->engine->queue) || !engine_publish_stands(s->engine))
		return; /* the tick sends it when the queue is back */
	if (s->ended_us == 0)
		s->ended_us = clock_wall_us();
	describe(s, &r);
	s->settle_sent = true;
	if (s->posted && s->moved)
		engine_say_begin(s->engine, &r, engine_ignore_begin, s->engine);
	s->moved = false;
	engine_say_settle(s->engine, &r, settled, s);
}

/* Settlements that wait for the queue, or for their next try. A worker need not be a member for that: the token speaks
 * for itself. */
void engine_settle_tick(struct engine *e, int64_t boot_us)
{
	if (!queue_is_up(e->queue) || !engine_publish_stands(e))
		return;
	for (size_t i = 0; i < e->n_slots; i++) {
		struct slot *s = &e->slots[i];
		if (s->state == PIPELINE_SETTLING && !s->settle_sent && boot_us >= s->settle_boot_us)
			engine_settle_send(s);
	}
}
