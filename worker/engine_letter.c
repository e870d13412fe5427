/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

/* How long an accepted letter to one office proves that our access is right. */
#define TOOK_US (60 * ENGINE_SECOND_US)

struct slot *engine_slot_get(struct engine *e, enum cwc_chamber c)
{
	struct slot *s = e->free_slots;
	BUG_ON(s == NULL);
	e->free_slots = s->next_free;
	struct buf xml = s->xml;
	memset(s, 0, sizeof *s);
	s->engine = e;
	s->xml = xml;
	s->chamber = c;
	e->in_flight++;
	e->lane[c].in_flight++;
	return s;
}

static void forget(struct slot *s)
{
	struct engine *e = s->engine;
	buf_reset(&s->xml);
	e->in_flight--;
	e->lane[s->chamber].in_flight--;
	s->next_free = e->free_slots;
	e->free_slots = s;
	engine_take(e, s->chamber);
}

static void copy(char *to, size_t size, struct span from)
{
	BUG_ON(from.n >= size);
	memcpy(to, from.p, from.n);
	to[from.n] = '\0';
}

void engine_letter_unsent(struct slot *s, enum queue_verb verb)
{
	memset(&s->decision, 0, sizeof s->decision);
	s->decision.verb = verb;
	s->decision.outcome = OUT_NOT_SENT;
}

void engine_letter_start(struct slot *s, const struct queue_taken *t)
{
	struct engine *e = s->engine;
	copy(s->sid, sizeof s->sid, t->sid);
	copy(s->office, sizeof s->office, t->office);
	copy(s->token, sizeof s->token, t->token);
	memcpy(s->worker, e->worker, sizeof s->worker);
	s->state = PIPELINE_TAKEN;
	s->taken_boot_us = e->lane[s->chamber].take_sent_boot_us;
	s->known = (struct decide_job){
		.chamber = s->chamber, .attempt = t->attempt, .unknowns = t->unknowns, .first_us = t->first_us
	};
	struct prepare_context x = {
		.config = e->config,
		.ring = e->o.ring,
		.signer = e->signer,
		.n_signers = e->n_signers,
		.offices = { e->lane[CWC_HOUSE].list, e->lane[CWC_SENATE].list },
		.arena = &e->arena,
	};
	int64_t before_us = clock_boot_us();
	prepare_letter(&x, t, clock_wall_us(), &s->xml, &s->prepared);
	engine_count_prepared(s, clock_boot_us() - before_us);
	s->decision = s->prepared.decision;
	if (s->prepared.send && s->prepared.chamber != s->chamber) {
		/* Jobs to be ended may come from either chamber's TAKE; a letter only goes to its own. */
		s->prepared.send = false;
		engine_letter_unsent(s, QUEUE_RELEASE);
	}
	engine_letter_event(s, s->prepared.send ? PIPELINE_ON_READY : PIPELINE_ON_UNFIT);
}

/* --- decisions after BEGIN ---------------------------------------------------------------------- */

static const struct decide_policy *policy(const struct slot *s, struct decide_policy *p)
{
	const struct config *c = s->engine->config;
	const struct config_chamber *ch = &c->chamber[s->chamber];
	*p = (struct decide_policy){
		.attempts = c->attempts,
		.backoff_base_us = (int64_t)c->backoff_base_ms * 1000,
		.backoff_cap_us = (int64_t)c->backoff_cap_ms * 1000,
		.age_max_us = (int64_t)c->age_max_s * ENGINE_SECOND_US,
		.resend_after_us = engine_resend_after(s->engine, s->chamber),
		.resend = ch->unknown_policy == CONFIG_UNKNOWN_RESEND,
	};
	return p;
}

/* What SETTLE shall say after BEGIN. detail: a stable short name, or "". */
static void decide(struct slot *s, enum outcome o, int64_t retry_after_s, const char *detail)
{
	struct decide_policy p;
	uint64_t random;
	size_t n = strnlen(detail, DECISION_DETAIL_MAX);
	randombytes_buf(&random, sizeof random);
	decide_answer(&s->known, policy(s, &p), o, retry_after_s, clock_wall_us(), random, &s->decision);
	memcpy(s->decision.detail, detail, n);
	s->decision.detail[n] = '\0';
}

/* --- BEGIN ----------------------------------------------------------------------------------- */

/* The same letter is being sent by this process: a queue that hands it out twice is lying. */
static bool on_the_wire(const struct slot *s)
{
	for (size_t i = 0; i < s->engine->n_slots; i++) {
		const struct slot *o = &s->engine->slots[i];
		if (o != s && (o->state == PIPELINE_POSTING || o->state == PIPELINE_SETTLING) && o->posted &&
		    memcmp(o->prepared.delivery_id, s->prepared.delivery_id, CWC_DELIVERY_ID_SIZE) == 0)
			return true;
	}
	return false;
}

static bool in_pace(struct slot *s)
{
	bool taken = pace_take(&s->engine->lane[s->chamber].pace, clock_boot_us());
	if (!taken)
		engine_count(s->engine, METRICS_LIMITED, s->chamber, METRICS_LIMITER_WORKER);
	return taken;
}

/* Looked at last before the POST: also after a WAIT, since time has passed. */
static void go(struct slot *s)
{
	struct engine *e = s->engine;
	bool in_time = clock_boot_us() - s->taken_boot_us <= ENGINE_GRANT_US && !e->drain_cancelled &&
		       engine_chamber_open(e, s->chamber);
	if (!in_time || on_the_wire(s) || !in_pace(s)) {
		engine_letter_unsent(s, QUEUE_NOT_SENT);
		engine_letter_event(s, PIPELINE_ON_TOO_LATE);
		return;
	}
	if (seen_has(e->seen, s->prepared.delivery_id)) {
		decide_end(&s->decision, OUT_ACCEPTED_EARLIER, 0);
		memcpy(s->decision.detail, "seen_this_boot", sizeof "seen_this_boot");
		engine_letter_event(s, PIPELINE_ON_TOO_LATE);
		return;
	}
	if (s->known.unknowns == 0 && seen_has(e->maybe, s->prepared.delivery_id)) {
		decide_end(&s->decision, OUT_OUTCOME_UNKNOWN, 0); /* the queue forgot its mark */
		engine_letter_event(s, PIPELINE_ON_TOO_LATE);
		return;
	}
	engine_letter_event(s, PIPELINE_ON_GO);
}

static void went(struct slot *s, const struct queue_begin_answer *a)
{
	struct prepared *p = &s->prepared;
	s->known.attempt = a->attempt;
	s->known.unknowns = a->unknowns;
	s->known.begun_us = a->begun_us;
	/* Id and date are fixed at the first BEGIN. What was rendered must be what was fixed; a record that was
	 * changed outside is tried again within the budget of attempts, then it is dead. */
	if (!span_eq_str(a->delivery_id, p->delivery_id) || !span_eq_str(a->date, p->date)) {
		decide(s, OUT_NOT_SENT, -1, "record_changed");
		s->decision.site = DECIDE_SITE_SILENT;
		engine_letter_event(s, PIPELINE_ON_TOO_LATE);
	} else if (engine_replicas_needed(s->engine, s->chamber)) {
		engine_letter_unsent(s, QUEUE_NOT_SENT); /* what is true of it until there is a GO */
		engine_letter_event(s, PIPELINE_ON_GO_ALONE);
	} else {
		go(s);
	}
}

void engine_letter_replicated(struct slot *s, bool enough)
{
	if (enough)
		go(s);
	else
		engine_letter_event(s, PIPELINE_ON_NO_GO);
}

static void begun(void *arg, enum err err, const struct queue_begin_answer *a)
{
	struct slot *s = arg;
	engine_count_call(s->engine, METRICS_CALL_BEGIN, err);
	if (err != ERR_OK) {
		/* Whether BEGIN was carried out is not known; GO never came, so nothing was sent, and that is said: a
		 * record left begun would be of unknown fate when our lease is over. */
		engine_letter_unsent(s, QUEUE_NOT_SENT);
		engine_letter_event(s, PIPELINE_ON_LOST);
		return;
	}
	switch (a->status) {
	case QUEUE_BEGIN_GO:
		went(s, a);
		return;
	case QUEUE_BEGIN_STALE:
		/* Not ours any more. SETTLE says so too, and takes the token out of what is in flight. */
		engine_letter_unsent(s, QUEUE_RELEASE);
		engine_letter_event(s, PIPELINE_ON_STALE);
		return;
	case QUEUE_BEGIN_CANCELLED:
		memset(&s->decision, 0, sizeof s->decision);
		decide_end(&s->decision, OUT_CANCELLED, s->known.unknowns);
		break;
	case QUEUE_BEGIN_OLDGEN:
		engine_letter_unsent(s, QUEUE_REFUSED);
		memcpy(s->decision.detail, "job_generation", sizeof "job_generation");
		break;
	case QUEUE_BEGIN_CLOSE:
	case QUEUE_BEGIN_HELD:
	case QUEUE_BEGIN_SKEW:
		engine_letter_unsent(s, QUEUE_RELEASE);
		break;
	}
	engine_letter_event(s, PIPELINE_ON_NO_GO);
}

static void send_begin(struct slot *s)
{
	struct queue_begin b = {
		.worker = s->worker,
		.sid = span_str(s->sid),
		.office = span_str(s->office),
		.token = span_str(s->token),
		.delivery_id = span_str(s->prepared.delivery_id),
		.date = span_str(s->prepared.date),
		.generation = s->prepared.generation,
		.expires_us = s->prepared.expires_us,
		.now_us = clock_wall_us(),
	};
	queue_begin(s->engine->queue, &b, begun, s);
}

/* --- POST ------------------------------------------------------------------------------------ */

static enum cwc_fate fate(enum http_fate f)
{
	return f == HTTP_ANSWERED ? CWC_FATE_ANSWERED : f == HTTP_NOT_SENT ? CWC_FATE_NOT_SENT : CWC_FATE_UNKNOWN;
}

/* Later, without using an attempt; not at once, since what was slow is slow still. */
static void wait_unsent(struct slot *s)
{
	struct decide_policy p;
	uint64_t random;
	randombytes_buf(&random, sizeof random);
	s->decision.verb = QUEUE_THROTTLED;
	s->decision.outcome = OUT_NOT_SENT;
	s->decision.site = DECIDE_SITE_SILENT; /* we may have stood still ourselves */
	s->decision.due_us = clock_wall_us() + decide_backoff(policy(s, &p), s->known.attempt, random);
}

static enum outcome classify(struct slot *s, const struct http_answer *a)
{
	struct cwc_answer c = { .fate = fate(a->fate),
				.body_left = a->body_left,
				.status = a->status,
				.retry_after_s = a->retry_after_s,
				.body = a->body };
	enum outcome o = cwc_classify(s->chamber, &c, s->known.unknowns > 0);
	bool suspect = a->fate == HTTP_ANSWERED && decide_suspect(&s->engine->lane[s->chamber].answers, a->status);
	return suspect && o == OUT_REJECTED_BY_CHAMBER ? OUT_MISCONFIGURED : o;
}

/* Of the letters that this chamber took, the last two to different offices. */
static void note_taken(struct lane *l, const char *office)
{
	if (strcmp(l->took[0].office, office) != 0)
		l->took[1] = l->took[0];
	memcpy(l->took[0].office, office, sizeof l->took[0].office);
	l->took[0].boot_us = clock_boot_us();
}

static bool others_taken(const struct lane *l, const char *office)
{
	int i = strcmp(l->took[0].office, office) == 0 ? 1 : 0;
	return l->took[i].office[0] != '\0' && clock_boot_us() - l->took[i].boot_us <= TOOK_US;
}

static void answered(void *arg, const struct http_answer *a)
{
	struct slot *s = arg;
	struct lane *l = &s->engine->lane[s->chamber];
	enum outcome o = classify(s, a);
	s->http_status = a->fate == HTTP_ANSWERED ? a->status : 0;
	s->ended_us = clock_wall_us();
	engine_count_answer(s, a);
	buf_reset(&s->xml);
	if (outcome_class(o) == OUTCOME_CLASS_ACCEPTED) {
		seen_add(s->engine->seen, s->prepared.delivery_id);
		note_taken(l, s->office);
	}
	if (o == OUT_NO_ANSWER && s->engine->config->chamber[s->chamber].unknown_policy == CONFIG_UNKNOWN_HOLD)
		seen_add(s->engine->maybe, s->prepared.delivery_id);
	s->known.others_taken = others_taken(l, s->office);
	s->known.ours = strcmp(a->why, "cancelled") == 0;
	decide(s, o, a->retry_after_s, a->fate == HTTP_ANSWERED ? "" : a->why);
	if (a->fate == HTTP_NOT_SENT && s->engine->draining)
		engine_letter_unsent(s, QUEUE_NOT_SENT); /* cut off by the drain: no attempt was made */
	else if (a->fate == HTTP_NOT_SENT && strcmp(a->why, "too_late") == 0 && s->decision.verb != QUEUE_THROTTLED)
		wait_unsent(s); /* the grant ran out while the connection was made: no attempt was made */
	log_event(LOG_LETTER_SENT, LOG_STR(F_SID, s->sid), LOG_STR(F_OFFICE, s->office), LOG_STR(F_FATE, a->why),
		  LOG_STR(F_DELIVERY_ID, s->prepared.delivery_id), LOG_INT(F_HTTP_STATUS, s->http_status),
		  LOG_INT(F_ELAPSED_US, a->elapsed_us));
	if (s->decision.hold_us > 0)
		engine_hold(s, outcome_name(o)); /* then it goes on */
	else
		engine_letter_event(s, PIPELINE_ON_ANSWER);
}

static void send_post(struct slot *s)
{
	s->posted = true;
	metrics_observe(s->engine->metrics, METRICS_HIST_TAKE_TO_POST, s->chamber, clock_boot_us() - s->taken_boot_us);
	http_post(s->engine->lane[s->chamber].target, span_buf(&s->xml), s->taken_boot_us + ENGINE_GRANT_US, answered,
		  s);
}

/* --- the walk -------------------------------------------------------------------------------- */

void engine_letter_event(struct slot *s, enum pipeline_event ev)
{
	enum pipeline_state next;
	enum pipeline_action action;
	pipeline_step(s->state, ev, &next, &action);
	s->state = next;
	switch (action) {
	case PIPELINE_DO_NONE:
		break;
	case PIPELINE_DO_BEGIN:
		send_begin(s);
		break;
	case PIPELINE_DO_POST:
		send_post(s);
		break;
	case PIPELINE_DO_SETTLE:
		buf_reset(&s->xml);
		if (s->settling_boot_us == 0)
			s->settling_boot_us = clock_boot_us();
		if (s->settle_boot_us == 0)
			engine_settle_send(s);
		break;
	case PIPELINE_DO_WAIT:
		s->waits_replica = true;
		engine_replicas_ask(s->engine);
		break;
	case PIPELINE_DO_FORGET:
		forget(s);
		break;
	case PIPELINE_DO_IMPOSSIBLE:
	case PIPELINE_ACTION_COUNT:
		BUG_ON(action == PIPELINE_DO_IMPOSSIBLE || action == PIPELINE_ACTION_COUNT);
	}
}
