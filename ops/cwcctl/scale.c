/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/scale.h"

#include <math.h>

#define USE   0.7  /* how much of a worker's slots is planned for */
#define BAND  0.25 /* workers: so much less than one fewer must be needed before there is one fewer */
#define SMALL 1e-9 /* what rounding leaves is no need for one more */

static const struct {
	const char *word, *text;
} whys[SCALE_N_WHYS] = {
#define SCALE_WHY_ROW(e, word, text) { word, text },
	SCALE_WHYS(SCALE_WHY_ROW)
#undef SCALE_WHY_ROW
};

const char *scale_why_word(enum scale_why why)
{
	return whys[why].word;
}

const char *scale_why_text(enum scale_why why)
{
	return whys[why].text;
}

/* --- the formula ------------------------------------------------------------------------------ */

/* What a reading names may be anything: below 0 and what is no number counts as nothing. */
static double amount(double x)
{
	return x > 0 && isfinite(x) ? x : 0;
}

static double chamber_need(const struct scale_options *o, const struct scale_chamber *c, bool *capped)
{
	double flow = fmax(amount(c->scalable) * 1e6 / (double)o->drain_us, amount(c->arrival));
	if (c->blocked)
		return 0;
	if (c->limited)
		*capped = true;
	if (c->rate > 0 && flow > c->rate) {
		*capped = true;
		flow = c->rate;
	}
	return flow * amount(c->latency_s) / ((c->slots > 0 ? c->slots : 1) * USE);
}

double scale_need(const struct scale_options *o, const struct scale_reading *r, bool *ret_capped)
{
	double need = 0;
	*ret_capped = false;
	for (int d = 0; d < SCALE_CHAMBERS; d++)
		need += chamber_need(o, &r->chamber[d], ret_capped);
	return need;
}

/* Whole workers for this need, within the bounds. Anything open needs one: letters that are delayed, held or to be
 * ended come back through workers alone. */
static unsigned workers_for(const struct scale_options *o, double need, bool open)
{
	double n = ceil(need - SMALL);
	if (n < 1 && open)
		n = 1;
	if (n < o->min)
		return o->min;
	return n > o->max ? o->max : (unsigned)n;
}

/* --- one reckoning ---------------------------------------------------------------------------- */

static int64_t elapsed(int64_t now_us, int64_t since_us)
{
	return now_us > since_us ? now_us - since_us : 0;
}

/* Nothing is in flight for the one that would go, and nobody is about to go already. */
static bool drained(const struct scale_options *o, const struct scale_reading *r, const struct scale_state *s)
{
	for (int d = 0; d < SCALE_CHAMBERS; d++)
		if (r->chamber[d].in_flight > (int64_t)(s->desired - 1) * r->chamber[d].slots)
			return false;
	/* Who does not go within that time is not going to: somebody else wants them. */
	return r->running <= s->desired || elapsed(r->at_us, s->changed_us) >= o->stable_us;
}

static void change(struct scale_state *s, unsigned desired, int64_t now_us)
{
	s->desired = desired;
	s->changed_us = now_us;
}

/* Nobody looked for so long that what was low may not have been since: that part of the time does not count. */
static void forget_gap(const struct scale_options *o, int64_t now_us, struct scale_state *s)
{
	int64_t unseen_us = elapsed(now_us, s->seen_us) - o->stable_us / 2;
	if (s->low_us != 0 && s->seen_us != 0 && unseen_us > 0)
		s->low_us = now_us - s->low_us > unseen_us ? s->low_us + unseen_us : now_us;
	s->seen_us = now_us;
}

/* `fewer` would do. */
static enum scale_why step_down(const struct scale_options *o, const struct scale_reading *r, unsigned fewer,
				struct scale_state *s)
{
	if (s->low_us == 0 || s->low_us > r->at_us) {
		s->low_us = r->at_us;
		s->low_peak = fewer;
	}
	if (fewer > s->low_peak)
		s->low_peak = fewer;
	if (elapsed(r->at_us, s->low_us) < o->stable_us)
		return SCALE_STABILISING;
	if (s->low_peak >= s->desired) {
		s->low_us = 0;
		return SCALE_STABILISING;
	}
	if (elapsed(r->at_us, s->changed_us) < o->cooldown_us)
		return SCALE_COOLING;
	if (!drained(o, r, s))
		return SCALE_NOT_DRAINED;
	change(s, s->desired - 1, r->at_us);
	if (s->desired <= s->low_peak)
		s->low_us = 0; /* what was needed lately is reached: the next look begins */
	return SCALE_SCALE_IN;
}

/* As many as before. */
static enum scale_why stay(const struct scale_options *o, unsigned desired, double need, bool capped)
{
	if (need > o->max && desired == o->max)
		return SCALE_MAX;
	if (capped)
		return SCALE_RATE_CAPPED;
	return desired == o->min && need < o->min - 1 ? SCALE_MIN : SCALE_STEADY;
}

static enum scale_why reckon(const struct scale_options *o, const struct scale_reading *r, double need, bool capped,
			     struct scale_state *s)
{
	unsigned wanted = workers_for(o, need, r->open > 0);
	unsigned fewer = workers_for(o, need > 0 ? need + BAND : 0, r->open > 0);
	if (!s->known) {
		*s = (struct scale_state){ .known = true };
		change(s, r->running, r->at_us);
	}
	if (s->desired > o->max || s->desired < o->min) /* other bounds than before */
		change(s, s->desired > o->max ? o->max : o->min, r->at_us);
	if (s->changed_us > r->at_us)
		s->changed_us = r->at_us;
	forget_gap(o, r->at_us, s);
	if (wanted > s->desired) {
		change(s, wanted, r->at_us);
		s->low_us = 0;
		return need > o->max ? SCALE_MAX : SCALE_BACKLOG;
	}
	if (fewer < s->desired)
		return step_down(o, r, fewer, s);
	s->low_us = 0;
	return stay(o, s->desired, need, capped);
}

enum err scale_step(const struct scale_options *o, const struct scale_reading *r, struct scale_state *s,
		    struct scale_answer *ret_answer)
{
	bool capped = false;
	double need = 0;
	enum scale_why why = SCALE_NO_DATA;
	if (r == NULL && !s->known)
		return ERR_NOT_FOUND;
	if (r != NULL) {
		need = scale_need(o, r, &capped);
		why = reckon(o, r, need, capped, s);
	}
	*ret_answer = (struct scale_answer){ .desired = s->desired, .need = need, .why = why };
	return ERR_OK;
}
