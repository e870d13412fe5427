/* SPDX-License-Identifier: Apache-2.0 */
/* TAKE for each chamber, at its pace; and holds. */
#include <math.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

/* An idle worker looks for new jobs this often; a busy one after each answer. */
#define IDLE_LOOK_US    100000
#define PARTIAL_LOOK_US 2000
#define ERROR_LOOK_US   500000
/* How long a hold counts that only this worker knows of: a person cannot end it. */
#define ALONE_MAX_US (300 * ENGINE_SECOND_US)
#define ALONE_MIN_US ENGINE_SECOND_US
/* Cells are a little further apart than the rate says, and may come a little early: 1 % of a second. So a TAKE that is
 * late by that much loses nothing, and no second sees more than the rate (and the burst). */
#define PERIOD_FACTOR 1.01
#define SLACK_US      10000

/* --- TAKE ------------------------------------------------------------------------------------ */

static void take_timer(uv_timer_t *t)
{
	struct lane *l = t->data;
	l->take_boot_us = 0; /* the loop's clock may be a little ahead of ours */
	engine_take(l->engine, l->chamber);
}

static void look_again(struct lane *l, int64_t in_us)
{
	l->take_boot_us = clock_boot_us() + in_us;
	/* Rounded up: a timer that fires early would spin. */
	uv_timer_start(&l->timer, take_timer, (uint64_t)(in_us / 1000 + 1), 0);
}

static int64_t idle_wait(int64_t wait_us)
{
	if (wait_us < PARTIAL_LOOK_US)
		return PARTIAL_LOOK_US;
	return wait_us > IDLE_LOOK_US ? IDLE_LOOK_US : wait_us;
}

static void taken(void *arg, enum err err, const struct queue_take_answer *a)
{
	struct lane *l = arg;
	struct engine *e = l->engine;
	l->take_sent = false;
	engine_count_take(l, err, a);
	if (err != ERR_OK) {
		log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "take"), LOG_STR(F_CODE, err_name(err)));
		look_again(l, ERROR_LOOK_US);
		if (err != ERR_QUEUE_LOST)
			l->take_error = err; /* connected, but of no use: not ready */
		if (err == ERR_QUEUE_SCRIPT)
			engine_adopt(e);
		return;
	}
	if (a->status == QUEUE_TAKE_FENCED) {
		engine_fenced(e, l->take_joins);
		return;
	}
	if (a->status == QUEUE_TAKE_SKEW) {
		engine_skewed(e);
		look_again(l, ENGINE_SECOND_US);
		return;
	}
	l->take_error = a->full ? ERR_QUEUE_FULL : ERR_OK;
	look_again(l, a->n == 0 ? idle_wait(a->wait_us) : PARTIAL_LOOK_US);
	/* What was not asked for goes back. */
	for (size_t i = 0; i < a->n && i < l->asked; i++)
		engine_letter_start(engine_slot_get(e, l->chamber), &a->job[i]);
	if (a->adopt || a->n > l->asked)
		engine_adopt(e);
}

bool engine_chamber_open(const struct engine *e, enum cwc_chamber c)
{
	const struct lane *l = &e->lane[c];
	return !l->in_window && clock_boot_us() >= l->closed_boot_us &&
	       !(e->replicas_short && engine_replicas_needed(e, c));
}

static bool may_take(const struct engine *e, enum cwc_chamber c)
{
	const struct lane *l = &e->lane[c];
	return l->enabled && !l->take_sent && !e->draining && e->trouble == NULL && !e->skewed &&
	       e->membership == ENGINE_MEMBER && clock_boot_us() < e->adopt_boot_us && queue_is_up(e->queue) &&
	       clock_boot_us() >= l->take_boot_us && engine_offices_allow(e, c);
}

/* Rounded up, or a second could see one more. 0: no limit. */
static int64_t period_us(double rate)
{
	return rate > 0 ? (int64_t)ceil(PERIOD_FACTOR * (double)ENGINE_SECOND_US / rate) : 0;
}

static int64_t slack_us(double rate, unsigned burst)
{
	return rate > 0 ? (int64_t)(burst - 1) * period_us(rate) + SLACK_US : 0;
}

void engine_take(struct engine *e, enum cwc_chamber c)
{
	struct lane *l = &e->lane[c];
	const struct config_chamber *ch = &e->config->chamber[c];
	if (!may_take(e, c))
		return;
	unsigned room = ch->concurrency - l->in_flight;
	/* In batches: a call for each free slot would cost more than the letters. */
	if (room == 0 || (room < ch->concurrency / 4 && l->in_flight > 0))
		return;
	double rate = ch->rate > 0 && ch->rate < ch->rate_ceiling ? ch->rate : ch->rate_ceiling;
	struct queue_take t = {
		.chamber = cwc_chamber_name(c),
		.worker = e->worker,
		.take_id = ++e->take_id,
		.n = room > QUEUE_TAKE_MAX ? QUEUE_TAKE_MAX : room,
		.now_us = clock_wall_us(),
		.chamber_period_us = period_us(rate),
		.chamber_slack_us = slack_us(rate, ch->burst),
		.office_period_us = period_us(ch->office_rate),
		.office_slack_us = slack_us(ch->office_rate, ch->office_burst),
		.office_cap = ch->office_concurrency,
		.open = engine_chamber_open(e, c),
	};
	l->take_sent = true;
	l->take_joins = e->joins;
	l->asked = t.n;
	l->take_sent_boot_us = clock_boot_us();
	queue_take(e->queue, &t, taken, l);
}

/* --- holds ----------------------------------------------------------------------------------- */

/* A hold that did not reach the queue. One of the chamber is kept by this worker alone: the letter that met the trouble
 * is due at once, and would be sent into it again and again. For one of an office the other offices must not wait, so
 * its letter does. */
static void keep(struct slot *s)
{
	struct lane *l = &s->engine->lane[s->chamber];
	int64_t wait = s->decision.hold_us - clock_wall_us();
	if (wait > ALONE_MAX_US)
		wait = ALONE_MAX_US;
	if (wait < ALONE_MIN_US)
		wait = ALONE_MIN_US;
	int64_t until = clock_boot_us() + wait;
	if (s->decision.hold_office)
		s->decision.due_us = clock_wall_us() + wait;
	else if (until > l->closed_boot_us)
		l->closed_boot_us = until;
}

static void held(void *arg, enum err err, bool was_fenced, int64_t n)
{
	struct slot *s = arg;
	(void)was_fenced;
	(void)n;
	engine_count_call(s->engine, METRICS_CALL_HOLD, err);
	if (err != ERR_OK) {
		log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "hold"), LOG_STR(F_CODE, err_name(err)),
			  LOG_STR(F_SID, s->sid), LOG_STR(F_OFFICE, s->office));
		keep(s);
	}
	engine_letter_event(s, PIPELINE_ON_ANSWER);
}

void engine_hold(struct slot *s, const char *reason)
{
	const struct decision *d = &s->decision;
	const char *what = d->hold_office ? s->office : cwc_chamber_name(s->chamber);
	engine_count(s->engine, METRICS_HOLDS, d->hold_office ? METRICS_SCOPE_OFFICE : (unsigned)s->chamber, 0);
	log_event(d->hold_office ? LOG_OFFICE_HELD : LOG_CHAMBER_HELD,
		  LOG_STR(d->hold_office ? F_OFFICE : F_CHAMBER, what), LOG_STR(F_REASON, reason),
		  LOG_INT(F_WAIT_MS, (d->hold_us - clock_wall_us()) / 1000));
	queue_hold(s->engine->queue, what, d->hold_us, s->engine->worker, reason, held, s);
}
