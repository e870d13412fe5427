/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine keeps an eye on: the chambers' maintenance windows, and the places that only people and consumers
 * empty, before they are full.
 */
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"
#include "worker/engine_internal.h"
#include "worker/watch.h"

/* A hold of a worker lasts no longer; it is said again all the time, since a person may have lifted it, or a failover
 * lost it. That sends nothing: a worker in a window takes no letters, whatever Redis says. */
#define HOLD_MAX_US    (3600 * ENGINE_SECOND_US)
#define HOLD_RENEW_US  (60 * ENGINE_SECOND_US)
#define HOLD_RETRY_US  (5 * ENGINE_SECOND_US)
#define MEMORY_LOOK_US (60 * ENGINE_SECOND_US)

enum { DEAD, UNKNOWN, STUCK, RESULTS, MEMORY, ALARMS };

struct watch {
	struct watch_alarm alarm[ALARMS];
	/* By chamber: the second of the last look, and when its window ends. */
	int64_t looked_s[CWC_CHAMBERS], end_s[CWC_CHAMBERS];
	int64_t memory_boot_us; /* ask again at this time */
	bool memory_sent;
};

/* --- maintenance windows ---------------------------------------------------------------------- */

/* Once a second: the windows begin and end with minutes. */
static void look(struct lane *l, int64_t wall_s)
{
	struct watch *w = l->engine->watch;
	int64_t end_s = 0;
	if (!l->enabled || wall_s == w->looked_s[l->chamber])
		return;
	bool inside = cwc_windows_inside(&l->windows, wall_s, &end_s);
	w->looked_s[l->chamber] = wall_s;
	w->end_s[l->chamber] = end_s;
	if (inside == l->in_window)
		return;
	l->in_window = inside;
	l->window_hold_boot_us = 0;
	if (inside)
		log_event(LOG_MAINTENANCE, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)),
			  LOG_INT(F_WAIT_MS, (end_s - wall_s) * 1000));
	else
		log_event(LOG_MAINTENANCE_OVER, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)));
}

static void held(void *arg, enum err err, bool was_fenced, int64_t n)
{
	struct lane *l = arg;
	(void)was_fenced;
	(void)n;
	engine_count_call(l->engine, METRICS_CALL_HOLD, err);
	if (err == ERR_OK)
		return;
	log_event(LOG_QUEUE_ERROR, LOG_STR(F_COMMAND, "hold"), LOG_STR(F_CODE, err_name(err)));
	l->window_hold_boot_us = clock_boot_us() + HOLD_RETRY_US;
}

/* For the others and for people: this worker needs no hold to keep its letters back. */
static void hold(struct lane *l, int64_t boot_us)
{
	struct engine *e = l->engine;
	int64_t now = clock_wall_us(), until = e->watch->end_s[l->chamber] * ENGINE_SECOND_US;
	l->window_hold_boot_us = boot_us + HOLD_RENEW_US;
	if (until > now + HOLD_MAX_US)
		until = now + HOLD_MAX_US;
	queue_hold(e->queue, cwc_chamber_name(l->chamber), until, e->worker, "maintenance", held, l);
}

/* --- alarms ----------------------------------------------------------------------------------- */

static void note(struct engine *e, int alarm, int64_t count)
{
	static const char *const names[ALARMS] = { "dead", "unknown", "stuck", "results", "memory" };
	if (watch_alarm_due(&e->watch->alarm[alarm], count))
		log_event(LOG_QUEUE_ALARM, LOG_STR(F_REASON, names[alarm]), LOG_INT(F_COUNT, count),
			  LOG_STR(F_QUEUE, e->config->queue_name));
}

void engine_watch_counts(struct engine *e, const struct queue_beat_answer *a)
{
	note(e, DEAD, a->dead);
	note(e, UNKNOWN, a->unknown);
	note(e, STUCK, a->stuck);
	note(e, RESULTS, a->results);
}

static void memory_came(void *arg, enum err err, const struct resp_reply *r)
{
	struct engine *e = arg;
	e->watch->memory_sent = false;
	engine_count_call(e, METRICS_CALL_OTHER, err);
	/* An error delays it to the next minute. */
	if (err != ERR_OK)
		return;
	int64_t percent = watch_memory_percent(resp_text(r));
	metrics_set(e->metrics, METRICS_MEMORY, 0, 0, percent);
	note(e, MEMORY, percent);
}

static void ask_memory(struct engine *e, int64_t boot_us)
{
	struct span argv[] = { span_lit("INFO"), span_lit("memory") };
	e->watch->memory_sent = true;
	e->watch->memory_boot_us = boot_us + MEMORY_LOOK_US;
	queue_command(e->queue, argv, sizeof argv / sizeof argv[0], memory_came, e);
}

/* --- life ------------------------------------------------------------------------------------- */

enum err engine_watch_open(struct engine *e, const char **ret_key, const char **ret_rule)
{
	static const char *const keys[] = { "house.maintenance", "senate.maintenance" };
	const struct config *c = e->config;
	const unsigned limits[ALARMS] = { [DEAD] = c->alarm_dead,
					  [UNKNOWN] = c->alarm_unknown,
					  [STUCK] = c->alarm_stuck,
					  [RESULTS] = c->alarm_results,
					  [MEMORY] = c->alarm_memory };
	e->watch = xcalloc(1, sizeof *e->watch);
	for (int i = 0; i < ALARMS; i++)
		watch_alarm_init(&e->watch->alarm[i], limits[i]);
	for (int i = 0; i < CWC_CHAMBERS; i++) {
		*ret_key = keys[i];
		*ret_rule = "is not a list of times of the week";
		if (cwc_windows_parse(span_str(c->chamber[i].maintenance), &e->lane[i].windows) != ERR_OK)
			return ERR_CONFIG;
	}
	/* Before the first TAKE. */
	for (int i = 0; i < CWC_CHAMBERS; i++)
		look(&e->lane[i], clock_wall_us() / ENGINE_SECOND_US);
	return ERR_OK;
}

void engine_watch_free(struct engine *e)
{
	free(e->watch);
	e->watch = NULL;
}

void engine_watch_tick(struct engine *e, int64_t boot_us)
{
	bool member = queue_is_up(e->queue) && e->membership == ENGINE_MEMBER;
	for (int i = 0; i < CWC_CHAMBERS; i++) {
		struct lane *l = &e->lane[i];
		look(l, clock_wall_us() / ENGINE_SECOND_US);
		if (l->in_window && member && boot_us >= l->window_hold_boot_us)
			hold(l, boot_us);
	}
	if (member && !e->watch->memory_sent && e->config->alarm_memory > 0 && boot_us >= e->watch->memory_boot_us)
		ask_memory(e, boot_us);
}
