/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/scale_state.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/session.h"
#include "worker/base/text.h"

/* --- reading ---------------------------------------------------------------------------------- */

/* What stands in Redis may be anything: what is no number in range is 0. */
static uint64_t number(struct span s, uint64_t max)
{
	uint64_t n;
	return text_uint(s, max, &n) == ERR_OK ? n : 0;
}

static void text(struct span s, char *ret_text, size_t size)
{
	snprintf(ret_text, size, "%.*s", (int)(s.n < size ? s.n : size - 1), s.n > 0 ? (const char *)s.p : "");
}

static void take_field(struct span name, struct span value, struct scale_published *p)
{
	if (span_eq_str(name, "desired")) {
		p->state.known = p->scale.known = text_uint(value, SCALE_WORKERS_MAX, &(uint64_t){ 0 }) == ERR_OK;
		p->state.desired = p->scale.desired = (unsigned)number(value, SCALE_WORKERS_MAX);
	} else if (span_eq_str(name, "at")) {
		text(value, p->at, sizeof(p->at));
		p->scale.at_us = p->state.seen_us = (int64_t)number(value, INT64_MAX);
	} else if (span_eq_str(name, "who")) {
		text(value, p->who, sizeof(p->who));
	} else if (span_eq_str(name, "why")) {
		text(value, p->why, sizeof(p->why));
	} else if (span_eq_str(name, "changed_us")) {
		p->state.changed_us = (int64_t)number(value, INT64_MAX);
	} else if (span_eq_str(name, "low_us")) {
		p->state.low_us = (int64_t)number(value, INT64_MAX);
	} else if (span_eq_str(name, "low_peak")) {
		p->state.low_peak = (unsigned)number(value, SCALE_WORKERS_MAX);
	}
}

int scale_state_read(struct ctl *c, struct scale_published *ret_p)
{
	struct scale_published p = { .at = "0" };
	struct resp_reply *r = session_call(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "scale")));
	if (r == NULL)
		return c->session->code != 0 ? c->session->code : CTL_UNAVAILABLE;
	for (size_t i = 0; i + 1 < r->n; i += 2)
		take_field(resp_text(r->at[i]), resp_text(r->at[i + 1]), &p);
	reply_free(r);
	*ret_p = p;
	return 0;
}

/* --- publishing ------------------------------------------------------------------------------- */

void scale_state_name(char ret_who[SCALE_WHO_SIZE])
{
	char host[65] = "";
	gethostname(host, sizeof(host) - 1);
	snprintf(ret_who, SCALE_WHO_SIZE, "%s:%ld:%08" PRIx32, host, (long)getpid(), randombytes_random());
}

enum scale_publish scale_state_lead(struct ctl *c, const char *who, int64_t ttl_ms, char ret_other[SCALE_WHO_SIZE])
{
	char ttl[24];
	snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_ms);
	struct resp_reply *r = session_script(c, "scale", SESSION_ARGV(span_lit("lead"), span_str(who), span_str(ttl)));
	if (r == NULL)
		return SCALE_FAILED;
	bool mine = resp_number(resp_at(r, 0)) == 1;
	text(resp_text(resp_at(r, 1)), ret_other, SCALE_WHO_SIZE);
	reply_free(r);
	return mine ? SCALE_PUBLISHED : SCALE_OTHER;
}

enum scale_publish scale_state_publish(struct ctl *c, const char *who, const struct scale_answer *a,
				       const struct scale_state *s, unsigned running, struct scale_published *p)
{
	char desired[16], workers[16], need[32], changed[24], low[24], peak[16];
	snprintf(desired, sizeof(desired), "%u", a->desired);
	snprintf(workers, sizeof(workers), "%u", running);
	snprintf(need, sizeof(need), "%.3f", a->need < 1e9 ? a->need : 1e9);
	snprintf(changed, sizeof(changed), "%" PRId64, s->changed_us);
	snprintf(low, sizeof(low), "%" PRId64, s->low_us);
	snprintf(peak, sizeof(peak), "%u", s->low_peak);
	struct resp_reply *r =
		session_script(c, "scale",
			       SESSION_ARGV(span_lit("publish"), span_str(who), span_str(p->at), span_lit("desired"),
					    span_str(desired), span_lit("why"), span_str(scale_why_word(a->why)),
					    span_lit("running"), span_str(workers), span_lit("need"), span_str(need),
					    span_lit("changed_us"), span_str(changed), span_lit("low_us"),
					    span_str(low), span_lit("low_peak"), span_str(peak)));
	if (r == NULL)
		return SCALE_FAILED;
	bool good = span_eq_str(resp_text(resp_at(r, 0)), "OK");
	if (good) {
		text(resp_text(resp_at(r, 1)), p->at, sizeof(p->at));
		text(span_str(who), p->who, sizeof(p->who));
	}
	reply_free(r);
	return good ? SCALE_PUBLISHED : SCALE_OTHER;
}

void scale_state_resign(struct ctl *c, const char *who)
{
	bool interrupted = c->session->interrupted;
	/* Also after an interrupt, which ends every wait. */
	c->session->interrupted = false;
	reply_free(session_script(c, "scale", SESSION_ARGV(span_lit("resign"), span_str(who))));
	c->session->interrupted = interrupted;
}
