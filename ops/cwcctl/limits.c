/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

#define MINUTE_US INT64_C(60000000)
/* How a worker makes a period of a rate (PROTOCOL.md, 8.1). */
#define PERIOD_FACTOR 1.01
#define SLACK_US      10000

/* --- buckets ---------------------------------------------------------------------------------- */

/* To three digits: the period is rounded to microseconds. */
double limits_rate(const struct limits_bucket *b)
{
	if (b->period_us <= 0)
		return 0;
	double rate = PERIOD_FACTOR * 1e6 / (double)b->period_us;
	double unit = pow(10, floor(log10(rate)) - 3);
	return round(rate / unit) * unit;
}

int64_t limits_burst(const struct limits_bucket *b)
{
	return b->period_us > 0 ? (b->slack_us - SLACK_US) / b->period_us + 1 : 0;
}

int64_t limits_cells(const struct limits_bucket *b, int64_t now_us, int64_t *ret_next_us)
{
	int64_t at = b->at_us > now_us ? b->at_us : now_us;
	int64_t ahead = now_us + b->slack_us - at;
	*ret_next_us = 0;
	if (b->period_us <= 0)
		return 0;
	if (ahead >= 0)
		return ahead / b->period_us + 1;
	*ret_next_us = at - b->slack_us;
	return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct look {
	struct resp_reply *limits, *holds, *breakers, *flow, *rate[2];
};

static struct limits_bucket bucket_of(const struct look *k, size_t i, int64_t ret_more[3])
{
	int64_t v[5] = { 0 };
	struct span text = reply_field(k->limits, depth_chambers[i]);
	for (size_t n = 0; n < 5 && text.n > 0; n++) {
		const uint8_t *space = memchr(text.p, ' ', text.n);
		size_t w = space != NULL ? (size_t)(space - text.p) : text.n;
		v[n] = reply_number(span_of(text.p, w));
		text = space != NULL ? span_of(space + 1, text.n - w - 1) : span_of(text.p, 0);
	}
	struct limits_bucket b = { v[0], v[1], reply_number(resp_text(k->rate[i])) };
	memcpy(ret_more, v + 2, 3 * sizeof(v[0]));
	return b;
}

/* POSTs of the last whole minute: fields "<minute>H" or S, "p" and a class. */
static int64_t posts_of(const struct resp_reply *flow, const char *chamber, int64_t now_us)
{
	char begin[32];
	int64_t all = 0;
	snprintf(begin, sizeof(begin), "%lld%cp", (long long)(now_us / MINUTE_US - 1), chamber[0] == 'h' ? 'H' : 'S');
	size_t length = strlen(begin);
	for (size_t i = 0; flow->type == RESP_ARRAY && i + 1 < flow->n; i += 2) {
		struct span name = resp_text(flow->at[i]);
		if (name.n > length && memcmp(name.p, begin, length) == 0 && all <= REPLY_NUMBER_MAX)
			all += reply_number(resp_text(flow->at[i + 1]));
	}
	return all;
}

/* --- who limits ------------------------------------------------------------------------------- */

static const char *limited_by(const json_t *reading, const char *chamber, const json_t *hold, const json_t *breaker)
{
	double waiting = depth_number(reading, chamber, "waiting"), held = depth_number(reading, chamber, "held");
	if (json_is_object(hold))
		return "hold";
	if (json_is_object(breaker))
		return "breaker";
	if (waiting <= 0)
		return "";
	if (held >= waiting)
		return "offices";
	if (depth_number(reading, chamber, "held_rate") <= 0)
		return "workers";
	return depth_number(reading, chamber, "scalable") > 0 ? "rate" : "offices";
}

/* Of the workers that say what their rates are: the ceiling, the lowest, and whose that is. */
static void add_workers(json_t *o, const json_t *workers, const char *chamber)
{
	const json_t *slowest = NULL;
	double lowest = 0, ceiling = 0;
	for (size_t i = 0; i < json_array_size(workers); i++) {
		const json_t *w = json_array_get(workers, i), *l = json_object_get(w, chamber);
		double rate = json_number_value(json_object_get(l, "rate"));
		if (rate <= 0 || !json_is_true(json_object_get(w, "alive")))
			continue;
		if (slowest == NULL || rate < lowest) {
			slowest = w;
			lowest = rate;
			ceiling = json_number_value(json_object_get(l, "ceiling"));
		}
	}
	json_object_set_new(o, "lowest", slowest != NULL ? json_real(lowest) : json_null());
	json_object_set_new(o, "ceiling", slowest != NULL ? json_real(ceiling) : json_null());
	json_object_set(o, "slowest",
			slowest != NULL && lowest < ceiling ? json_object_get(slowest, "worker") : json_null());
}

static json_t *chamber_json(const struct look *k, size_t i, const json_t *reading, const json_t *workers)
{
	const char *chamber = depth_chambers[i];
	int64_t more[3], next_us, now_us = depth_at_us(reading);
	struct limits_bucket b = bucket_of(k, i, more), office = { more[0], more[1], 0 };
	int64_t cells = limits_cells(&b, now_us, &next_us);
	json_t *o = json_object(), *hold = holds_hold(reply_field(k->holds, chamber), now_us);
	json_t *breaker = holds_breaker(reply_field(k->breakers, chamber));
	json_object_set_new(o, "chamber", json_string(chamber));
	json_object_set_new(o, "known", json_boolean(b.period_us > 0));
	json_object_set_new(o, "rate", b.period_us > 0 ? json_real(limits_rate(&b)) : json_null());
	json_object_set_new(o, "burst", b.period_us > 0 ? json_integer(limits_burst(&b)) : json_null());
	json_object_set_new(o, "office_rate", office.period_us > 0 ? json_real(limits_rate(&office)) : json_null());
	json_object_set_new(o, "office_slots", more[2] > 0 ? json_integer(more[2]) : json_null());
	json_object_set_new(o, "cells", json_integer(cells));
	json_object_set_new(o, "next", out_time_us(next_us));
	json_object_set_new(o, "used", json_integer(posts_of(k->flow, chamber, now_us)));
	json_object_set_new(o, "allowed",
			    b.period_us > 0 ? json_integer((json_int_t)(60 * limits_rate(&b) + 0.5)) : json_null());
	json_object_set_new(o, "by", json_string(limited_by(reading, chamber, hold, breaker)));
	json_object_set_new(o, "hold", hold);
	json_object_set_new(o, "breaker", breaker);
	add_workers(o, workers, chamber);
	return o;
}

json_t *limits_read(struct ctl *c, const json_t *reading, const json_t *workers)
{
	struct look k = { NULL };
	json_t *all = NULL;
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "limits")), &k.limits);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "holds")), &k.holds);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "breaker")), &k.breakers);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "flow")), &k.flow);
	session_send(c, SESSION_ARGV(span_lit("GET"), session_key(c, "rate:house")), &k.rate[0]);
	session_send(c, SESSION_ARGV(span_lit("GET"), session_key(c, "rate:senate")), &k.rate[1]);
	if (session_wait(c, session_hushed(c)) == ERR_OK) {
		all = json_array();
		for (size_t i = 0; i < 2; i++)
			json_array_append_new(all, chamber_json(&k, i, reading, workers));
	}
	reply_free(k.limits);
	reply_free(k.holds);
	reply_free(k.breakers);
	reply_free(k.flow);
	reply_free(k.rate[0]);
	reply_free(k.rate[1]);
	return all;
}
