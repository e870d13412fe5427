/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/decide.h"

#include <string.h>

#define SECOND_US 1000000LL
/* Retry-After is honoured between these bounds: a receiver may ask for patience, not for ever. */
#define RETRY_AFTER_MIN_S 1
#define RETRY_AFTER_MAX_S 3600
/* A wrong key or agent name needs a person: the chamber (or office) is looked at again after this. */
#define MISCONFIGURED_HOLD_US (300 * SECOND_US)

void decide_end(struct decision *ret_d, enum outcome o, unsigned unknowns)
{
	BUG_ON(outcome_state(o) == OUTCOME_OPEN);
	ret_d->verb = QUEUE_END;
	ret_d->outcome = o;
	/* A person who drops a job has taken the doubt upon themselves. */
	if (unknowns > 0 && outcome_state(o) != OUTCOME_ACCEPTED && o != OUT_DROPPED)
		ret_d->outcome = OUT_OUTCOME_UNKNOWN;
}

int64_t decide_backoff(const struct decide_policy *p, unsigned attempt, uint64_t random)
{
	int64_t d = p->backoff_base_us;
	for (unsigned i = 1; i < attempt && d < p->backoff_cap_us; i++)
		d *= 2;
	if (d > p->backoff_cap_us)
		d = p->backoff_cap_us;
	return d / 2 + (int64_t)(random % (uint64_t)(d / 2 + 1));
}

bool decide_suspect(struct decide_window *w, int status)
{
	w->bad = ((w->bad << 1) | (status == 400)) & ((1U << DECIDE_WINDOW) - 1);
	return __builtin_popcount(w->bad) >= DECIDE_WINDOW_BAD;
}

static void retry(const struct decide_job *j, const struct decide_policy *p, int64_t now_us, uint64_t random,
		  struct decision *d)
{
	if (j->attempt >= p->attempts) {
		decide_end(d, OUT_ATTEMPTS_EXHAUSTED, j->unknowns);
		return;
	}
	if (now_us - j->first_us > p->age_max_us) {
		decide_end(d, OUT_AGE_EXHAUSTED, j->unknowns);
		return;
	}
	d->verb = QUEUE_RETRY;
	d->due_us = now_us + decide_backoff(p, j->attempt, random);
}

/* The body may have left. Only a chamber that deduplicates ids may see it again by itself, and not
 * before the first POST can no longer be under way. */
static void no_answer(const struct decide_job *j, const struct decide_policy *p, int64_t now_us, uint64_t random,
		      struct decision *d)
{
	if (!p->resend || j->attempt >= p->attempts || now_us - j->first_us > p->age_max_us) {
		decide_end(d, OUT_OUTCOME_UNKNOWN, j->unknowns);
		return;
	}
	d->verb = QUEUE_UNKNOWN;
	d->due_us = j->begun_us + p->resend_after_us;
	int64_t due = now_us + decide_backoff(p, j->attempt, random);
	if (due > d->due_us)
		d->due_us = due;
}

static void throttled(const struct decide_job *j, const struct decide_policy *p, int64_t retry_after_s, int64_t now_us,
		      uint64_t random, struct decision *d)
{
	d->verb = QUEUE_THROTTLED;
	if (retry_after_s < 0) {
		d->due_us = now_us + decide_backoff(p, j->attempt, random);
		return;
	}
	int64_t s = retry_after_s < RETRY_AFTER_MIN_S ? RETRY_AFTER_MIN_S : retry_after_s;
	if (s > RETRY_AFTER_MAX_S)
		s = RETRY_AFTER_MAX_S;
	d->due_us = now_us;
	d->hold_us = now_us + s * SECOND_US;
}

/* Whose fault is a refused access? An office's own, while the chamber takes letters to others. */
static void misconfigured(const struct decide_job *j, int64_t now_us, struct decision *d)
{
	d->verb = QUEUE_THROTTLED;
	d->due_us = now_us;
	d->hold_us = now_us + MISCONFIGURED_HOLD_US;
	d->hold_office = j->others_taken;
}

/* A definite answer is one whatever it says. Who is too busy without saying until when counts as one who does not
 * answer; who does say it is held, and nothing more is learnt until then. */
static enum decide_site site_of(enum outcome o, bool throttled_until)
{
	switch (o) {
	case OUT_ACCEPTED:
	case OUT_ACCEPTED_EARLIER:
	case OUT_REJECTED_BY_CHAMBER:
	case OUT_ID_CONFLICT:
	case OUT_MISCONFIGURED:
		return DECIDE_SITE_ANSWERS;
	case OUT_NOT_SENT:
	case OUT_NO_ANSWER:
		return DECIDE_SITE_FAULT;
	case OUT_THROTTLED:
		return throttled_until ? DECIDE_SITE_SILENT : DECIDE_SITE_FAULT;
	case OUT_ACCEPTED_ON_RECORD:
	case OUT_LETTER_INVALID:
	case OUT_LETTER_UNREADABLE:
	case OUT_ENVELOPE_REFUSED:
	case OUT_KEY_UNKNOWN:
	case OUT_OFFICE_UNAVAILABLE:
	case OUT_ATTEMPTS_EXHAUSTED:
	case OUT_AGE_EXHAUSTED:
	case OUT_CRASHES:
	case OUT_EXPIRED:
	case OUT_CANCELLED:
	case OUT_DROPPED:
	case OUT_OUTCOME_UNKNOWN:
	case OUTCOME_COUNT:
		break; /* nobody was asked */
	}
	return DECIDE_SITE_SILENT;
}

void decide_answer(const struct decide_job *j, const struct decide_policy *p, enum outcome o, int64_t retry_after_s,
		   int64_t now_us, uint64_t random, struct decision *ret_d)
{
	memset(ret_d, 0, sizeof *ret_d);
	ret_d->outcome = o;
	ret_d->site = j->ours ? DECIDE_SITE_SILENT : site_of(o, retry_after_s >= 0);
	switch (outcome_class(o)) {
	case OUTCOME_CLASS_ACCEPTED:
	case OUTCOME_CLASS_REJECTED:
	case OUTCOME_CLASS_ENDED:
		decide_end(ret_d, o, j->unknowns);
		break;
	case OUTCOME_CLASS_THROTTLED:
		throttled(j, p, retry_after_s, now_us, random, ret_d);
		break;
	case OUTCOME_CLASS_TRANSIENT:
		retry(j, p, now_us, random, ret_d);
		break;
	case OUTCOME_CLASS_CONFIGURATION:
		misconfigured(j, now_us, ret_d);
		break;
	case OUTCOME_CLASS_UNKNOWN:
		if (o == OUT_NO_ANSWER)
			no_answer(j, p, now_us, random, ret_d);
		else
			decide_end(ret_d, o, j->unknowns);
		break;
	}
	/* The Senate's 409 is settled by the script, which alone knows every fate that is open. */
	if (o == OUT_ACCEPTED_EARLIER || o == OUT_ID_CONFLICT)
		ret_d->verb = QUEUE_CONFLICT;
}
