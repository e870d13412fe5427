/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After each reconnect: what was settled within the last minute is said again (recent.h), before ADOPT. BEGIN goes
 * first, since it may be lost too; a record that is settled, or somebody else's, does not know the token any more.
 */
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

/* Said at a time: an answer must come within the connection's time-out, however much there is to say. */
#define RECENT_WINDOW  64
#define PAUSE_MAX_US   (30 * ENGINE_SECOND_US)
#define DROPPED_SAY_US (60 * ENGINE_SECOND_US)

/* The job stays named in ADOPT meanwhile: it was sent, and must not go back to its line. */
static void later(struct recent_entry *r, enum err err)
{
	struct engine *e = r->owner;
	if (err != ERR_QUEUE_LOST)
		engine_log_settle_error(&r->settle, err == ERR_OK ? ERR_QUEUE_SCRIPT : err);
	recent_back(e->recent, r, clock_boot_us() + engine_pause_us(r->tries, PAUSE_MAX_US));
	engine_recent_say(e);
}

/* STALE is what the queue says of a job that has moved on since. It has forgotten our POST if its record is older than
 * what it told us then. And nothing moves on after an acceptance: another attempt was made, or is, whatever the record
 * says now. "accepted" is what that one came to. */
static bool orphaned(const struct recent_entry *r, const struct queue_settle_answer *a)
{
	return a->rev < r->rev || outcome_class(r->settle.decision.outcome) == OUTCOME_CLASS_ACCEPTED;
}

static void confirmed(struct recent_entry *r, const struct queue_settle_answer *a)
{
	struct engine *e = r->owner;
	bool lost = a->status == QUEUE_SETTLE_OK || a->status == QUEUE_SETTLE_LATE;
	engine_log_breakers(e, a);
	if (lost) {
		e->recent_lost++;
		r->rev = a->rev;
	}
	if (a->status == QUEUE_SETTLE_STALE && orphaned(r, a)) {
		engine_log_orphan(e, &r->settle);
		recent_drop(e->recent, r);
	} else {
		recent_confirm(e->recent, r, lost ? clock_boot_us() : r->boot_us);
	}
	engine_recent_say(e);
}

static void said(void *arg, enum err err, const struct queue_settle_answer *a)
{
	struct recent_entry *r = arg;
	engine_count_call(r->owner, METRICS_CALL_SETTLE, err);
	if (err != ERR_OK || a->status == QUEUE_SETTLE_BUG)
		later(arg, err);
	else
		confirmed(arg, a);
}

/* Not one line for each: a table that is full drops one with every letter. */
static void log_dropped(const char *what, unsigned n)
{
	if (n > 0)
		log_event(LOG_RECENT_DROPPED, LOG_STR(F_REASON, what), LOG_INT(F_COUNT, n));
}

void engine_recent_tick(struct engine *e, int64_t boot_us)
{
	unsigned settled, doubted;
	recent_expire(e->recent, boot_us);
	if (boot_us < e->dropped_boot_us || !recent_dropped(e->recent, &settled, &doubted))
		return;
	e->dropped_boot_us = boot_us + DROPPED_SAY_US;
	log_dropped("settled", settled);
	log_dropped("doubted", doubted);
}

void engine_recent_say(struct engine *e)
{
	struct recent_entry *r;
	if (!queue_is_up(e->queue) || !engine_publish_stands(e))
		return;
	while (recent_count_out(e->recent) < RECENT_WINDOW && (r = recent_out(e->recent, clock_boot_us())) != NULL) {
		engine_say_begin(e, &r->settle, engine_ignore_begin, e);
		engine_say_settle(e, &r->settle, said, r);
	}
	if (recent_count_out(e->recent) > 0)
		return;
	if (e->recent_lost > 0)
		log_event(LOG_QUEUE_RECOVERED, LOG_STR(F_COMMAND, "settle"), LOG_INT(F_COUNT, e->recent_lost));
	e->recent_lost = 0;
	if (e->recent_first) {
		e->recent_first = false;
		engine_adopt(e);
	}
}
