/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define WATCH_MAX_S 86400

/* Names of DEPTH as they come, without "_us": ages are seconds with fractions. */
static json_t *depth_json(const struct resp_reply *flat, int64_t now_us)
{
	json_t *o = json_object();
	json_object_set_new(o, "time", out_time_us(now_us));
	for (size_t i = 0; i + 1 < flat->n; i += 2) {
		char name[64];
		struct span s = resp_text(flat->at[i]);
		if (s.n >= sizeof(name))
			continue;
		int64_t value = resp_number(flat->at[i + 1]);
		bool us = s.n > 3 && memcmp(s.p + s.n - 3, "_us", 3) == 0;
		snprintf(name, sizeof(name), "%.*s", (int)s.n, (const char *)s.p);
		if (us)
			snprintf(name + s.n - 3, sizeof(name) - s.n + 3, "_s");
		json_object_set_new(o, name, us ? out_seconds(value) : json_integer(value));
	}
	return o;
}

static long long number(const json_t *o, const char *prefix, const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "%s%s", prefix, name);
	return (long long)json_integer_value(json_object_get(o, key));
}

static void age(const json_t *o, const char *name, char out[OUT_AGE_SIZE])
{
	double s = json_real_value(json_object_get(o, name));
	if (s > 0)
		out_age((int64_t)(s * 1e6), out);
	else
		snprintf(out, OUT_AGE_SIZE, "-");
}

static void print_depth(const json_t *o)
{
	static const char *const chamber[] = { "waiting", "held",    "taken",    "begun", "later",
					       "close",   "offices", "breakers", "down" };
	static const char *const chamber_text[] = { "waiting",           "  of these held", "taken",
						    "being sent",        "later",           "to be ended",
						    "offices with jobs", "offices broken",  "chamber broken" };
	static const char *const rest[] = { "in", "stuck", "refused", "dead", "unknown", "results", "workers" };
	char house[OUT_AGE_SIZE], senate[OUT_AGE_SIZE];
	printf("%-18s %12s %12s\n", "", "HOUSE", "SENATE");
	for (size_t i = 0; i < sizeof(chamber) / sizeof(chamber[0]); i++)
		printf("%-18s %12lld %12lld\n", chamber_text[i], number(o, "house_", chamber[i]),
		       number(o, "senate_", chamber[i]));
	age(o, "house_oldest_s", house);
	age(o, "senate_oldest_s", senate);
	printf("%-18s %12s %12s\n\n", "oldest waiting", house, senate);
	age(o, "in_oldest_s", house);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		printf("%-18s %12lld\n", rest[i], number(o, "", rest[i]));
	printf("%-18s %12s\n", "oldest of in", house);
}

static int once(struct ctl *c, bool watch)
{
	char now[24];
	int64_t now_us = clock_wall_us();
	snprintf(now, sizeof(now), "%lld", (long long)now_us);
	struct resp_reply *r = session_script(c, "depth", SESSION_ARGV(span_str(now)));
	if (r == NULL)
		return c->session->interrupted ? 0 : c->session->code;
	json_t *o = depth_json(r, now_us);
	reply_free(r);
	if (c->json && watch) {
		out_line(o);
	} else if (c->json) {
		out_document(o);
	} else {
		if (watch)
			printf("%s%s\n", isatty(STDOUT_FILENO) ? "\x1b[H\x1b[J" : "",
			       json_string_value(json_object_get(o, "time")));
		print_depth(o);
		if (watch)
			puts("");
		json_decref(o);
	}
	out_flush();
	return 0;
}

int cmd_depth(struct ctl *c)
{
	uint64_t seconds;
	bool watch = ctl_has(c, OPT_WATCH);
	int code = args_count(c, OPT_WATCH, 0, &seconds);
	if (code == 0 && seconds > WATCH_MAX_S)
		code = ctl_fail(CTL_USAGE, "--watch must be a number of seconds, at most a day");
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	if (watch)
		session_watch(c);
	c->session->patient = watch;
	code = once(c, watch);
	while (code == 0 && watch && !c->session->interrupted) {
		session_sleep(c, seconds * 1000);
		if (!c->session->interrupted)
			code = once(c, watch);
	}
	return code;
}
