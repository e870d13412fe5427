/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine counts, and how it stands when somebody asks. Nothing here changes what is done with a letter. */
#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

#define TICK_US (50 * 1000)
/* The script walks the lines of all offices: not often, and a fleet not in step. */
#define DEPTH_EVERY_US (10 * ENGINE_SECOND_US)
/* What TAKE answers when nothing waits. */
#define NOTHING_US (30 * ENGINE_SECOND_US)

_Static_assert((int)METRICS_SCOPE_HOUSE == CWC_HOUSE && (int)METRICS_SCOPE_SENATE == CWC_SENATE, "order");
_Static_assert((int)METRICS_FATE_ANSWERED == HTTP_ANSWERED && (int)METRICS_FATE_NOT_SENT == HTTP_NOT_SENT &&
		       (int)METRICS_FATE_UNKNOWN == HTTP_UNKNOWN,
	       "order");

/* --- events ---------------------------------------------------------------------------------- */

void engine_count(struct engine *e, enum metric s, unsigned a, unsigned b)
{
	metrics_add(e->metrics, s, a, b, 1);
}

void engine_count_call(struct engine *e, enum metrics_call call, enum err err)
{
	engine_count(e, METRICS_CALLS, call, 0);
	if (err != ERR_OK)
		engine_count(e, METRICS_ERRORS, call, 0);
}

void engine_count_take(struct lane *l, enum err err, const struct queue_take_answer *a)
{
	struct engine *e = l->engine;
	engine_count_call(e, METRICS_CALL_TAKE, err);
	if (err != ERR_OK || a->status != QUEUE_TAKE_OK)
		return;
	size_t n = a->n < l->asked ? a->n : l->asked;
	metrics_add(e->metrics, METRICS_TAKEN, l->chamber, 0, (int64_t)n);
	if (n == 0 && a->wait_us < NOTHING_US)
		engine_count(e, METRICS_LIMITED, l->chamber, METRICS_LIMITER_QUEUE);
}

void engine_count_prepared(const struct slot *s, int64_t took_us)
{
	const struct prepared *p = &s->prepared;
	enum outcome o = p->decision.outcome;
	bool failed = !p->send && (o == OUT_ENVELOPE_REFUSED || o == OUT_KEY_UNKNOWN);
	bool opened = p->send || o == OUT_LETTER_UNREADABLE || o == OUT_LETTER_INVALID;
	if (failed)
		engine_count(s->engine, METRICS_TEE_ERRORS, 0, 0);
	if (!opened)
		return;
	engine_count(s->engine, METRICS_TEE_DECRYPTIONS, 0, 0);
	metrics_observe(s->engine->metrics, METRICS_HIST_TEE_DURATION, 0, took_us);
}

void engine_count_answer(const struct slot *s, const struct http_answer *a)
{
	struct engine *e = s->engine;
	engine_count(e, METRICS_POSTS, s->chamber, (unsigned)a->fate);
	metrics_observe(e->metrics, METRICS_HIST_POST, s->chamber, a->elapsed_us);
	if (a->fate != HTTP_ANSWERED || a->status < 100 || a->status > 599)
		return;
	engine_count(e, METRICS_ANSWERS, s->chamber, (unsigned)a->status / 100 - 1);
	if (a->status / 100 == 2)
		engine_count(e, METRICS_TEE_FORWARDS, 0, 0);
}

static void count_end(const struct slot *s, enum outcome o)
{
	struct engine *e = s->engine;
	engine_count(e, METRICS_LETTERS, s->chamber, o);
	if (s->known.first_us > 0)
		metrics_observe(e->metrics, METRICS_HIST_AGE, s->chamber, s->ended_us - s->known.first_us);
}

void engine_count_settled(const struct slot *s, const struct queue_settle_answer *a)
{
	struct engine *e = s->engine;
	const struct decision *d = &s->decision;
	metrics_observe(e->metrics, METRICS_HIST_SETTLE, s->chamber, clock_boot_us() - s->settling_boot_us);
	switch (d->verb) {
	case QUEUE_END:
		count_end(s, d->outcome);
		break;
	case QUEUE_CONFLICT: /* the script chose between two */
		count_end(s, span_eq_str(a->state, "accepted") ? OUT_ACCEPTED_EARLIER : OUT_ID_CONFLICT);
		break;
	case QUEUE_RETRY:
	case QUEUE_UNKNOWN:
	case QUEUE_THROTTLED:
	case QUEUE_DEFER:
		engine_count(e, METRICS_LATER, s->chamber, outcome_class(d->outcome));
		break;
	case QUEUE_NOT_SENT:
	case QUEUE_RELEASE:
	case QUEUE_LIVE:
		engine_count(e, METRICS_BACK, s->chamber, 0);
		break;
	case QUEUE_REFUSED:
		engine_count(e, METRICS_REFUSED, s->chamber, 0);
		break;
	}
}

void engine_count_breaker(struct engine *e, const struct queue_breaker *b)
{
	unsigned scope = METRICS_SCOPE_OFFICE;
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		if (span_eq_str(b->what, cwc_chamber_name((enum cwc_chamber)c))) {
			scope = c;
			metrics_set(e->metrics, METRICS_BREAKER_OPEN, c, 0, b->open);
		}
	}
	engine_count(e, METRICS_BREAKER_MOVES, scope, b->open);
}

void engine_count_places(struct engine *e, const struct queue_beat_answer *a)
{
	metrics_set(e->metrics, METRICS_ENTRIES, METRICS_PLACE_DEAD, 0, a->dead);
	metrics_set(e->metrics, METRICS_ENTRIES, METRICS_PLACE_UNKNOWN, 0, a->unknown);
	metrics_set(e->metrics, METRICS_ENTRIES, METRICS_PLACE_STUCK, 0, a->stuck);
	metrics_set(e->metrics, METRICS_ENTRIES, METRICS_PLACE_RESULTS, 0, a->results);
}

/* --- looks at the queue and at the loop ------------------------------------------------------- */

/* What people pause stands in the logs, too, with each worker: who and why, `cwcctl holds` and `audit list` say. */
static void note_pauses(struct lane *l)
{
	if (l->blocked == l->said_blocked && l->paused == l->said_paused)
		return;
	l->said_blocked = l->blocked;
	l->said_paused = l->paused;
	log_event(LOG_PAUSES, LOG_STR(F_CHAMBER, cwc_chamber_name(l->chamber)),
		  LOG_STR(F_STATE, l->blocked > 0 ? "held" : "open"), LOG_INT(F_COUNT, l->paused));
}

static void look_for_pauses(struct engine *e, struct span name, int64_t value)
{
	static const char *const blocked[] = { "house_blocked", "senate_blocked" };
	static const char *const paused[] = { "house_offices_pause", "senate_offices_pause" };
	for (int c = 0; c < CWC_CHAMBERS; c++) {
		if (span_eq_str(name, blocked[c]))
			e->lane[c].blocked = value > 0;
		else if (span_eq_str(name, paused[c]))
			e->lane[c].paused = value;
	}
}

static void depth_came(void *arg, enum err err, const struct resp_reply *r)
{
	struct engine *e = arg;
	e->depth_sent = false;
	engine_count_call(e, METRICS_CALL_DEPTH, err);
	if (err != ERR_OK || r->type != RESP_ARRAY)
		return; /* what is shown is older then */
	for (size_t i = 0; i + 1 < r->n; i += 2) {
		metrics_depth(e->metrics, resp_text(r->at[i]), resp_number(r->at[i + 1]));
		look_for_pauses(e, resp_text(r->at[i]), resp_number(r->at[i + 1]));
	}
	for (int c = 0; c < CWC_CHAMBERS; c++)
		note_pauses(&e->lane[c]);
	e->depth_known = true;
}

static void ask_depth(struct engine *e, int64_t boot_us)
{
	char now[24];
	int n = snprintf(now, sizeof now, "%lld", (long long)clock_wall_us());
	BUG_ON(n < 0);
	struct span argv[] = { span_of(now, (size_t)n) };
	e->depth_sent = true;
	e->depth_boot_us = boot_us + DEPTH_EVERY_US + randombytes_uniform(DEPTH_EVERY_US / 2);
	queue_script(e->queue, "depth", argv, 1, depth_came, e);
}

void engine_metrics_tick(struct engine *e, int64_t boot_us)
{
	int64_t lag = boot_us - e->tick_boot_us - TICK_US;
	if (e->tick_boot_us > 0) {
		metrics_observe(e->metrics, METRICS_HIST_LAG, 0, lag);
		if (lag > metrics_get(e->metrics, METRICS_LAG_MAX, 0, 0))
			metrics_set(e->metrics, METRICS_LAG_MAX, 0, 0, lag);
	}
	e->tick_boot_us = boot_us;
	bool wanted = e->config->status_address.text[0] != '\0' && e->membership == ENGINE_MEMBER;
	if (wanted && !e->depth_sent && boot_us >= e->depth_boot_us && queue_is_up(e->queue))
		ask_depth(e, boot_us);
}

/* --- how it stands ---------------------------------------------------------------------------- */

static int64_t depth(const struct engine *e)
{
	static const enum metrics_line alive[] = { METRICS_LINE_WAITING, METRICS_LINE_TAKEN, METRICS_LINE_BEGUN,
						   METRICS_LINE_LATER, METRICS_LINE_CLOSE };
	if (!e->depth_known)
		return e->in_flight;
	int64_t n = metrics_get(e->metrics, METRICS_ENTRIES, METRICS_PLACE_IN, 0);
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		for (size_t i = 0; i < sizeof alive / sizeof alive[0]; i++)
			n += metrics_get(e->metrics, METRICS_LINES, c, alive[i]);
	}
	return n;
}

static int64_t cpu_us(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
		return 0;
	return (int64_t)t.tv_sec * ENGINE_SECOND_US + t.tv_nsec / 1000;
}

static int64_t resident(void)
{
	size_t bytes;
	return uv_resident_set_memory(&bytes) == 0 ? (int64_t)bytes : 0;
}

void engine_view(const struct engine *e, struct engine_view *ret_view)
{
	*ret_view = (struct engine_view){
		.worker = e->worker,
		.in_flight = e->in_flight,
		.depth = depth(e),
		.uptime_us = clock_boot_us() - e->started_boot_us,
		.cpu_us = cpu_us(),
		.resident = resident(),
		.draining = e->draining,
	};
}

static void set_lane(const struct engine *e, const struct lane *l)
{
	struct metrics *m = e->metrics;
	unsigned c = l->chamber;
	bool short_of = l->enabled && e->replicas_short && engine_replicas_needed(e, l->chamber);
	bool listless = l->enabled && !engine_offices_allow(e, l->chamber);
	metrics_set(m, METRICS_CLOSED, c, METRICS_CLOSED_MAINTENANCE, l->enabled && l->in_window);
	metrics_set(m, METRICS_CLOSED, c, METRICS_CLOSED_HOLD, clock_boot_us() < l->closed_boot_us);
	metrics_set(m, METRICS_CLOSED, c, METRICS_CLOSED_REPLICAS, short_of);
	metrics_set(m, METRICS_CLOSED, c, METRICS_CLOSED_OFFICE_LIST, listless);
	metrics_set(m, METRICS_IN_FLIGHT, c, 0, l->in_flight);
	metrics_set(m, METRICS_SLOTS, c, 0, l->enabled ? e->config->chamber[c].concurrency : 0);
	metrics_set(m, METRICS_OFFICES, c, 0, l->list != NULL ? (int64_t)l->list->n : 0);
}

static void set_keys(const struct engine *e)
{
	int64_t n[KEYRING_PROFILES] = { 0 }, since_s = 0, now_s = clock_wall_us() / ENGINE_SECOND_US;
	for (size_t i = 0; i < keyring_count(e->o.ring); i++) {
		const struct keyring_key *k = keyring_at(e->o.ring, i);
		n[k->profile]++;
		if (keyring_state(k, now_s) == KEYRING_ACTIVE && k->times.activate_s > since_s)
			since_s = k->times.activate_s;
	}
	for (unsigned i = 0; i < KEYRING_PROFILES; i++)
		metrics_set(e->metrics, METRICS_KEYS, i, 0, n[i]);
	int64_t change_s = keyring_next_change(e->o.ring, now_s);
	metrics_set(e->metrics, METRICS_KEY_CHANGE, 0, 0, change_s * ENGINE_SECOND_US);
	metrics_set(e->metrics, METRICS_KEY_SINCE, 0, 0, since_s * ENGINE_SECOND_US);
	metrics_set(e->metrics, METRICS_BUNDLE, 0, 0, (int64_t)e->publication.bundle);
}

static void set_signers(const struct engine *e)
{
	int64_t end_s = 0;
	for (size_t i = 0; i < e->n_signers; i++) {
		if (e->signer[i].not_after_s == 0) {
			end_s = 0;
			break;
		}
		if (e->signer[i].not_after_s > end_s)
			end_s = e->signer[i].not_after_s;
	}
	metrics_set(e->metrics, METRICS_SIGNERS_END, 0, 0, end_s * ENGINE_SECOND_US);
}

static void set_ready(const struct engine *e)
{
	const char *reason;
	bool ready = engine_ready(e, &reason);
	metrics_set(e->metrics, METRICS_READY, 0, 0, ready);
	for (unsigned i = 0; i < METRICS_REASON_COUNT; i++)
		metrics_set(e->metrics, METRICS_NOT_READY, i, 0, !ready && metrics_reason(reason) == i);
}

void engine_metrics(const struct engine *e, struct buf *out)
{
	struct metrics *m = e->metrics;
	for (int c = 0; c < CWC_CHAMBERS; c++)
		set_lane(e, &e->lane[c]);
	set_keys(e);
	set_signers(e);
	set_ready(e);
	metrics_set(m, METRICS_TEE_DEPTH, 0, 0, depth(e));
	metrics_set(m, METRICS_REDIS_UP, 0, 0, queue_is_up(e->queue));
	metrics_set(m, METRICS_MEMBER, 0, 0, e->membership == ENGINE_MEMBER || e->membership == ENGINE_ADOPTING);
	metrics_set(m, METRICS_SKEW, 0, 0, e->skew_us);
	metrics_set(m, METRICS_DOUBTED, 0, 0, (int64_t)recent_count_open(e->recent));
	metrics_set(m, METRICS_CPU, 0, 0, cpu_us());
	metrics_set(m, METRICS_RESIDENT, 0, 0, resident());
	metrics_set(m, METRICS_START, 0, 0, e->started_wall_us);
	metrics_text(m, e->o.version, e->config->environment, out);
}
