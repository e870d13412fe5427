/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/depth.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define NAME_SIZE   64
#define NUMBER_MAX  (INT64_C(1) << 53) /* no count and no time of ours is more, and a double holds it */
#define SECONDS_MAX 1e9

const char *const depth_chambers[2] = { "house", "senate" };

/* --- numbers ---------------------------------------------------------------------------------- */

static const json_t *member(const json_t *reading, const char *chamber, const char *name)
{
	char key[NAME_SIZE];
	snprintf(key, sizeof(key), "%s%s%s", chamber, chamber[0] != '\0' ? "_" : "", name);
	return json_object_get(reading, key);
}

double depth_number(const json_t *reading, const char *chamber, const char *name)
{
	return json_number_value(member(reading, chamber, name));
}

int64_t depth_at_us(const json_t *reading)
{
	return (int64_t)(depth_number(reading, "", "redis_s") * 1e3 + 0.5) * 1000;
}

/* --- a reading -------------------------------------------------------------------------------- */

/* Ages are seconds with fractions. A name that is longer than any is passed over; false: the value is none. */
static bool add(json_t *o, struct span s, const struct resp_reply *r)
{
	char name[NAME_SIZE];
	bool us = s.n > 3 && memcmp(s.p + s.n - 3, "_us", 3) == 0;
	int64_t value = r->type == RESP_INTEGER ? r->integer : -1;
	if (r->type != RESP_INTEGER && text_int(resp_text(r), &value) != ERR_OK)
		return false;
	if (value < 0 || value > NUMBER_MAX)
		return false;
	if (s.n >= sizeof(name))
		return true;
	snprintf(name, sizeof(name), "%.*s", (int)s.n, (const char *)s.p);
	if (us)
		snprintf(name + s.n - 3, sizeof(name) - s.n + 3, "_s");
	json_object_set_new(o, name, us ? out_seconds(value) : json_integer(value));
	return true;
}

/* An answer that lacks what others count with is no reading: they would take it for an empty queue. */
static bool whole(const json_t *o)
{
	static const char *const of_chamber[] = {
		"waiting",   "taken",    "begun",   "later",   "close",   "door",  "dead",       "unknown",  "held",
		"held_rate", "scalable", "blocked", "arrived", "drained", "posts", "post_p95_s", "period_s", "oldest_s",
	};
	static const char *const of_queue[] = { "redis_s", "window_s", "in", "alive", "workers" };
	for (size_t d = 0; d < 2; d++)
		for (size_t i = 0; i < sizeof(of_chamber) / sizeof(of_chamber[0]); i++)
			if (member(o, depth_chambers[d], of_chamber[i]) == NULL)
				return false;
	for (size_t i = 0; i < sizeof(of_queue) / sizeof(of_queue[0]); i++)
		if (member(o, "", of_queue[i]) == NULL)
			return false;
	return true;
}

static json_t *seconds(double s)
{
	return out_seconds((int64_t)(fmin(s, SECONDS_MAX) * 1e6));
}

static void add_derived(json_t *o, const char *chamber)
{
	static const char *const open[] = { "waiting", "taken", "begun", "later", "close", "door" };
	double window = depth_number(o, "", "window_s"), all = 0;
	double drain = window > 0 ? depth_number(o, chamber, "drained") / window : 0;
	double arrival = window > 0 ? depth_number(o, chamber, "arrived") / window : 0;
	char key[NAME_SIZE];
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		all += depth_number(o, chamber, open[i]);
	snprintf(key, sizeof(key), "%s_open", chamber);
	json_object_set_new(o, key, json_integer((json_int_t)all));
	snprintf(key, sizeof(key), "%s_arrival_rate", chamber);
	json_object_set_new(o, key, seconds(arrival));
	snprintf(key, sizeof(key), "%s_drain_rate", chamber);
	json_object_set_new(o, key, seconds(drain));
	snprintf(key, sizeof(key), "%s_eta_s", chamber);
	json_object_set_new(o, key, drain > 0 ? seconds(all / drain) : json_null());
	snprintf(key, sizeof(key), "%s_post_p95_s", chamber);
	if (depth_number(o, chamber, "posts") <= 0)
		json_object_set_new(o, key, json_null());
}

json_t *depth_read(struct ctl *c, int64_t horizon_us)
{
	char now[24], horizon[24];
	snprintf(now, sizeof(now), "%" PRId64, clock_wall_us());
	snprintf(horizon, sizeof(horizon), "%" PRId64, horizon_us);
	struct resp_reply *r = session_script(c, "depth", SESSION_ARGV(span_str(now), span_str(horizon)));
	if (r == NULL)
		return NULL;
	json_t *o = json_object();
	json_object_set_new(o, "time", json_null());
	bool good = r->n % 2 == 0;
	for (size_t i = 0; good && i < r->n; i += 2)
		good = add(o, resp_text(r->at[i]), r->at[i + 1]);
	reply_free(r);
	if (!good || !whole(o)) {
		json_decref(o);
		c->session->code = ctl_fail(CTL_INTERNAL, "what the queue says of its depth is none");
		return NULL;
	}
	json_object_set_new(o, "time", out_time_us(depth_at_us(o)));
	for (size_t i = 0; i < 2; i++)
		add_derived(o, depth_chambers[i]);
	return o;
}
