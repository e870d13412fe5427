/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/prepare.h"

#include <sodium.h>
#include <string.h>

#include "queue/witness.h"
#include "worker/base/text.h"

#define SECOND_US 1000000LL
/* A job whose key or signer is missing is looked at again after a part of its age, until jobs.key_wait is over: while
 * two releases work side by side it soon meets one that has its key. */
#define KEY_RETRY_MIN_US (15 * SECOND_US)
#define KEY_RETRY_MAX_US (300 * SECOND_US)
#define KEY_RETRY_PART   32
#define KEY_RETRY_TIMES  16 /* however short jobs.key_wait is */
/* A job lives 30 days at most, and a day may pass between two zones. */
#define DATE_AGE_MAX_DAYS 31

/* One letter on its way; everything in it points into the job's bytes or the arena. */
struct work {
	const struct prepare_context *x;
	const struct queue_taken *t;
	int64_t now_us;
	enum cwc_chamber chamber;
	struct job job;
	struct cwc_letter letter;
	struct prepared *ret;
};

static void detail_name(struct decision *d, const char *name)
{
	size_t n = strnlen(name, DECISION_DETAIL_MAX);
	memcpy(d->detail, name, n);
	d->detail[n] = '\0';
}

static void detail_field(struct decision *d, enum err e, enum cwc_field f)
{
	struct buf b;
	buf_init(&b, DECISION_DETAIL_MAX + 1);
	buf_add_str(&b, err_name(e));
	if (f != CWC_FIELD_COUNT) {
		buf_add_byte(&b, ':');
		buf_add_str(&b, cwc_field_name(f));
	}
	detail_name(d, buf_cstr(&b));
	buf_clear(&b);
}

static void end(struct work *w, enum outcome o)
{
	decide_end(&w->ret->decision, o, w->t->unknowns);
}

static void end_code(struct work *w, enum outcome o, enum err code)
{
	end(w, o);
	detail_name(&w->ret->decision, err_name(code));
}

static void later(struct work *w, enum queue_verb verb, int64_t due_us)
{
	w->ret->decision.verb = verb;
	w->ret->decision.outcome = OUT_NOT_SENT;
	w->ret->decision.due_us = due_us;
}

static void refuse(struct work *w, enum err code)
{
	w->ret->decision.verb = QUEUE_REFUSED;
	w->ret->decision.outcome = OUT_NOT_SENT;
	detail_name(&w->ret->decision, err_name(code));
}

/* A signer, environment or queue that this worker does not know may be known to another: during a roll-out genuine jobs
 * must not be refused by the older configuration. True when the job shall wait. */
static bool may_be_anothers(const struct work *w, enum err e)
{
	int64_t wait_us = (int64_t)w->x->config->key_wait_s * SECOND_US;
	bool ours = e != ERR_JOB_SIGNER && e != ERR_JOB_ENVIRONMENT && e != ERR_JOB_QUEUE;
	return !ours && w->now_us - w->t->first_us < wait_us;
}

static bool genuine(enum err verified)
{
	return verified == ERR_OK || verified == ERR_JOB_EXPIRED || verified == ERR_JOB_EARLY;
}

static enum err verify(struct work *w)
{
	const struct config *c = w->x->config;
	const char *member;
	TRY(job_parse(w->t->bytes, &w->job, &member));
	struct job_expect expect = {
		.signer = w->x->signer,
		.n_signers = w->x->n_signers,
		.environment = span_str(c->environment),
		.queue = span_str(c->queue_name),
		.sid = w->t->sid,
		.office = w->t->office,
		.now_s = w->now_us / SECOND_US,
	};
	enum err e = job_verify(&w->job, &expect);
	/* Expired and early jobs are genuine: what they say may be used. */
	if (genuine(e)) {
		w->ret->generation = w->job.generation;
		w->ret->expires_us = (int64_t)w->job.expires_s * SECOND_US;
	}
	return e;
}

/* New bytes challenge a closed job. Only a newer signed generation may do more than ask: everything else must leave the
 * outcome that stands as it is, whatever these bytes would end as. True when that decided it. */
static bool stale_challenge(struct work *w, enum err verified)
{
	if (w->t->previous.n == 0)
		return false;
	if (genuine(verified) && (int64_t)w->job.generation > w->t->generation)
		return false;
	refuse(w, genuine(verified) ? ERR_JOB_GENERATION : verified);
	return true;
}

/* What a reason of the close lane ends as; OUTCOME_COUNT for `expired`, which must be verified, and for none. */
static enum outcome ending(struct span why)
{
	static const struct {
		const char *why;
		enum outcome outcome;
	} endings[] = {
		{ "cancelled", OUT_CANCELLED }, { "unknown", OUT_OUTCOME_UNKNOWN }, { "crashes", OUT_CRASHES },
		{ "dropped", OUT_DROPPED },     { "late", OUT_ACCEPTED_ON_RECORD },
	};
	for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		if (span_eq_str(why, endings[i].why))
			return endings[i].outcome;
	}
	return OUTCOME_COUNT;
}

/* The close lane: jobs that only need their ending. True when that decided it. */
static bool close_lane(struct work *w, enum err verified)
{
	enum outcome o = ending(w->t->why);
	if (w->t->why.n == 0)
		return false;
	if (o != OUTCOME_COUNT) {
		end(w, o);
		return true;
	}
	/* "expired" rests on an unsigned hint: only the signed expiry ends a job. */
	if (verified == ERR_JOB_EXPIRED)
		end(w, OUT_EXPIRED);
	else if (verified == ERR_OK || verified == ERR_JOB_EARLY)
		later(w, QUEUE_LIVE, w->ret->expires_us);
	else
		return false;
	return true;
}

/* The queue paces what comes back under a name: all that workers do not know, together. */
static void wait_for_key(struct work *w, enum err code)
{
	int64_t wait_us = (w->now_us - w->t->first_us) / KEY_RETRY_PART;
	int64_t least_us = (int64_t)w->x->config->key_wait_s * SECOND_US / KEY_RETRY_TIMES;
	if (least_us > KEY_RETRY_MIN_US)
		least_us = KEY_RETRY_MIN_US;
	if (wait_us < least_us)
		wait_us = least_us;
	if (wait_us > KEY_RETRY_MAX_US)
		wait_us = KEY_RETRY_MAX_US;
	later(w, QUEUE_DEFER, w->now_us + wait_us);
	detail_name(&w->ret->decision, err_name(code));
}

static void unverified(struct work *w, enum err e)
{
	if (e == ERR_JOB_EXPIRED) {
		end(w, OUT_EXPIRED);
		return;
	}
	if (e == ERR_JOB_EARLY) {
		later(w, QUEUE_DEFER, (int64_t)w->job.not_before_s * SECOND_US);
		return;
	}
	if (may_be_anothers(w, e))
		wait_for_key(w, e);
	else
		refuse(w, e);
}

static void key_missing(struct work *w)
{
	int64_t wait_us = (int64_t)w->x->config->key_wait_s * SECOND_US;
	if (w->now_us - w->t->first_us < wait_us)
		wait_for_key(w, ERR_ENVELOPE_KEY);
	else
		end_code(w, OUT_KEY_UNKNOWN, ERR_ENVELOPE_KEY);
}

static enum err open_with(struct work *w, const struct envelope *e, const struct keyring_key *k)
{
	uint8_t shared[32];
	TRY(keyring_dh(w->x->ring, k, e->point, shared));
	enum err r = e->profile == JOB_WITNESS
			     ? envelope_open_witness(e, shared, k->context, k->n_contexts, w->x->arena)
			     : envelope_open_letter(e, shared, k->public_key, w->x->arena);
	sodium_memzero(shared, sizeof shared);
	return r;
}

static enum err open_envelope(struct work *w)
{
	struct envelope e;
	TRY(envelope_parse(w->job.profile, w->job.envelope, &e));
	TRY(envelope_bound(&e, &w->job));
	const struct keyring_key *k = keyring_find(w->x->ring, span_str(e.kid));
	if (k == NULL)
		return ERR_ENVELOPE_KEY;
	if (k->profile != (w->job.profile == JOB_WITNESS ? KEYRING_WITNESS : KEYRING_LETTER))
		return ERR_ENVELOPE_PROFILE;
	return open_with(w, &e, k);
}

static void set_if(struct cwc_letter *l, enum cwc_field f, struct span v)
{
	if (v.n > 0)
		l->v[f] = v;
}

static enum err read_witness(struct work *w)
{
	struct witness p;
	struct span first, last;
	TRY(witness_read(w->x->arena, &p));
	TRY(witness_bound(&p, w->job.nullifier, w->job.action_domain));
	witness_split_name(p.name, &first, &last);
	struct cwc_letter *l = &w->letter;
	set_if(l, CWC_FIRST_NAME, first);
	set_if(l, CWC_LAST_NAME, last);
	set_if(l, CWC_EMAIL, p.email);
	set_if(l, CWC_ADDRESS1, p.street);
	set_if(l, CWC_CITY, p.city);
	set_if(l, CWC_STATE, p.state);
	set_if(l, CWC_ZIP, p.zip);
	if (p.phone.n > 0)
		cwc_set_phone(l, p.phone);
	return ERR_OK;
}

static enum err read_letter(struct work *w, enum cwc_field *ret_field)
{
	*ret_field = CWC_FIELD_COUNT;
	cwc_letter_init(&w->letter);
	TRY(cwc_letter_read(w->job.fields, true, &w->letter, ret_field));
	if (w->job.profile == JOB_WITNESS)
		return read_witness(w);
	return cwc_letter_read(span_buf(w->x->arena), false, &w->letter, ret_field);
}

/* A date that an earlier BEGIN can have fixed: not of the future, and no older than a job can be. */
static bool date_plausible(struct span date, int64_t now_s)
{
	uint64_t v;
	int year;
	unsigned month, day;
	if (date.n != CWC_DATE_SIZE - 1 || date.p[0] == '0' || text_uint(date, 99999999, &v) != ERR_OK)
		return false;
	int64_t days = text_days((int)(v / 10000), (unsigned)(v / 100 % 100), (unsigned)(v % 100));
	text_civil(days, &year, &month, &day);
	if ((uint64_t)year * 10000 + month * 100 + day != v)
		return false;
	int64_t today = (now_s + cwc_eastern_offset(now_s)) / 86400;
	return days <= today && today - days <= DATE_AGE_MAX_DAYS;
}

/* What only the worker says: id, date, agent, office. The DeliveryId is computed, never believed: the
 * record lies outside. The date that an earlier BEGIN fixed stays. */
static void set_worker_fields(struct work *w)
{
	const struct config_chamber *c = &w->x->config->chamber[w->chamber];
	struct prepared *r = w->ret;
	if (date_plausible(w->t->date, w->now_us / SECOND_US))
		memcpy(r->date, w->t->date.p, sizeof r->date - 1);
	else
		cwc_eastern_date(w->now_us / SECOND_US, r->date);
	struct span *v = w->letter.v;
	v[CWC_DELIVERY_ID] = span_str(r->delivery_id);
	v[CWC_DELIVERY_DATE] = span_str(r->date);
	v[CWC_AGENT] = span_str(c->agent);
	v[CWC_AGENT_ACK_EMAIL] = span_str(c->agent_ack_email);
	v[CWC_AGENT_CONTACT_NAME] = span_str(c->agent_contact_name);
	v[CWC_AGENT_CONTACT_EMAIL] = span_str(c->agent_contact_email);
	v[CWC_AGENT_CONTACT_PHONE] = span_str(c->agent_contact_phone);
	v[CWC_MEMBER_OFFICE] = w->t->office;
}

static void invalid(struct work *w, const struct cwc_problems *p)
{
	struct buf b;
	buf_init(&b, 8192);
	cwc_problems_brief(p, &b);
	end(w, OUT_LETTER_INVALID);
	detail_name(&w->ret->decision, buf_cstr(&b));
	buf_clear(&b);
}

static void render(struct work *w, struct buf *xml)
{
	struct cwc_problems problems;
	set_worker_fields(w);
	if (cwc_validate(&w->letter, w->chamber, &problems) != ERR_OK) {
		invalid(w, &problems);
		return;
	}
	cwc_render(&w->letter, w->chamber, xml);
	if (buf_ok(xml) != ERR_OK) {
		end_code(w, OUT_LETTER_INVALID, ERR_LIMIT);
		return;
	}
	w->ret->send = true;
}

/* The envelope and what is in it. The letter's views point into the arena. */
static void unseal(struct work *w, struct buf *xml)
{
	enum cwc_field field;
	enum err e = open_envelope(w);
	if (e == ERR_ENVELOPE_KEY) {
		key_missing(w);
		return;
	}
	if (e != ERR_OK) {
		end_code(w, OUT_ENVELOPE_REFUSED, e);
		return;
	}
	e = read_letter(w, &field);
	if (e != ERR_OK) {
		end(w, OUT_LETTER_UNREADABLE);
		detail_field(&w->ret->decision, e, field);
		return;
	}
	render(w, xml);
}

static bool office_out(const struct work *w)
{
	const struct cwc_offices *list = w->x->offices[w->chamber];
	return list != NULL && !cwc_offices_have(list, w->t->office);
}

void prepare_letter(const struct prepare_context *x, const struct queue_taken *t, int64_t now_us, struct buf *xml,
		    struct prepared *ret)
{
	struct work w = { .x = x, .t = t, .now_us = now_us, .ret = ret };
	memset(ret, 0, sizeof *ret);
	buf_reset(xml);
	cwc_delivery_id(span_str(x->config->environment), t->sid, t->office, ret->delivery_id);
	enum err e = cwc_office_parse(t->office, &w.chamber);
	ret->chamber = w.chamber;
	/* What is only to be ended is ended without a look at its bytes: they may be what crashed the others. */
	if (e != ERR_OK)
		e = ERR_JOB_OFFICE;
	else if (ending(t->why) == OUTCOME_COUNT || t->previous.n > 0)
		e = verify(&w);
	if (stale_challenge(&w, e) || close_lane(&w, e))
		return;
	if (e != ERR_OK) {
		unverified(&w, e);
		return;
	}
	if (office_out(&w)) {
		end(&w, OUT_OFFICE_UNAVAILABLE);
		return;
	}
	unseal(&w, xml);
	buf_reset(x->arena);
	if (!ret->send)
		buf_reset(xml);
	sodium_memzero(&w.letter, sizeof w.letter);
}
