/* SPDX-License-Identifier: Apache-2.0 */
/* A reading of DEPTH as Prometheus reads it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "ops/cwcctl/depth.h"

/* What stands behind a series: the label's values, and the names of DEPTH that they are. */
struct value {
	const char *label, *name;
};

struct series {
	const char *name, *help;
	const char *label; /* beside `chamber`; NULL: none */
	struct value value[13];
	bool chamber; /* each chamber has it */
};

static const struct series all[] = {
	{ "cwcq_depth",
	  "Letters by state; those of held_* are part of waiting.",
	  "state",
	  { { "waiting", "waiting" },
	    { "taken", "taken" },
	    { "begun", "begun" },
	    { "later", "later" },
	    { "close", "close" },
	    { "dead", "dead" },
	    { "unknown", "unknown" },
	    { "held_pause", "held_pause" },
	    { "held_maintenance", "held_maintenance" },
	    { "held_receiver", "held_receiver" },
	    { "held_breaker", "held_breaker" },
	    { "held_rate", "held_rate" } },
	  true },
	{ "cwcq_oldest_age_seconds",
	  "Age of the oldest letter in line; of the oldest there that nobody and nothing holds; of the oldest that is "
	  "delayed.",
	  "state",
	  { { "waiting", "oldest_s" }, { "free", "oldest_free_s" }, { "later", "later_oldest_s" } },
	  true },
	{ "cwcq_arrival_rate", "Letters a second that came.", NULL, { { "", "arrival_rate" } }, true },
	{ "cwcq_drain_rate", "Letters a second that ended.", NULL, { { "", "drain_rate" } }, true },
	{ "cwcq_eta_seconds", "How long all that is open takes at that rate.", NULL, { { "", "eta_s" } }, true },
	{ "cwcq_scalable_backlog", "Letters that more workers could help with.", NULL, { { "", "scalable" } }, true },
	{ "cwcq_post_p95_seconds", "95 of 100 POSTs took at most this long.", NULL, { { "", "post_p95_s" } }, true },
	{ "cwcq_breaker_open", "1 while the breaker of the chamber is not closed.", NULL, { { "", "down" } }, true },
	{ "cwcq_offices_held",
	  "Offices that are held, by what holds them.",
	  "cause",
	  { { "pause", "offices_pause" },
	    { "maintenance", "offices_maintenance" },
	    { "receiver", "offices_receiver" },
	    { "breaker", "offices_breaker" },
	    { "rate", "offices_rate" } },
	  true },
	{ "cwcq_offices", "Offices with a line.", NULL, { { "", "offices" } }, true },
	{ "cwcq_workers", "Workers whose lease runs.", NULL, { { "", "alive" } }, false },
	{ "cwcq_workers_idle", "Workers that hold no letter.", NULL, { { "", "idle" } }, false },
	{ "cwcq_dead", "Dead letters.", NULL, { { "", "dead" } }, false },
	{ "cwcq_unknown", "Letters of unknown fate, for a person.", NULL, { { "", "unknown" } }, false },
	{ "cwcq_stuck", "Entries that no worker could read.", NULL, { { "", "stuck" } }, false },
	{ "cwcq_refused", "Entries that were refused.", NULL, { { "", "refused" } }, false },
	{ "cwcq_results", "Results that nobody has deleted.", NULL, { { "", "results" } }, false },
	{ "cwcq_in", "Letters that are not taken in yet.", NULL, { { "", "in" } }, false },
	{ "cwcq_in_oldest_age_seconds", "Age of the oldest of them.", NULL, { { "", "in_oldest_s" } }, false },
};

static void say(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct buf *out, const char *format, ...)
{
	char line[256];
	va_list ap;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	buf_add_str(out, line);
}

static void head(const char *name, const char *help, struct buf *out)
{
	say(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* A whole number as such: Prometheus reads both, people do not. */
static void number(double x, struct buf *out)
{
	if (floor(x) == x)
		say(out, " %.0f\n", x);
	else
		say(out, " %.3f\n", x);
}

/* A value that does not exist has no series. */
static bool has(const json_t *reading, const char *chamber, const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "%s%s%s", chamber, chamber[0] != '\0' ? "_" : "", name);
	return json_is_number(json_object_get(reading, key));
}

static void chamber_lines(const json_t *reading, const struct series *s, const char *chamber, struct buf *out)
{
	for (const struct value *v = s->value; v->name != NULL; v++) {
		if (!has(reading, chamber, v->name))
			continue;
		say(out, "%s", s->name);
		if (s->chamber && s->label != NULL)
			say(out, "{chamber=\"%s\",%s=\"%s\"}", chamber, s->label, v->label);
		else if (s->chamber)
			say(out, "{chamber=\"%s\"}", chamber);
		number(depth_number(reading, chamber, v->name), out);
	}
}

bool depth_scale_fresh(const struct depth_scale *scale, int64_t now_us)
{
	return scale->known && scale->at_us > now_us - DEPTH_SCALE_STALE_US &&
	       scale->at_us < now_us + DEPTH_SCALE_AHEAD_US;
}

static void add_desired(const json_t *reading, const struct depth_scale *scale, struct buf *out)
{
	int64_t age_us = depth_at_us(reading) - scale->at_us;
	if (!depth_scale_fresh(scale, depth_at_us(reading)))
		return;
	head("cwcq_desired_workers", "Workers that there should be, as published by cwcctl scale.", out);
	say(out, "cwcq_desired_workers %u\n", scale->desired);
	head("cwcq_desired_age_seconds", "How long ago that was published.", out);
	say(out, "cwcq_desired_age_seconds");
	number(age_us > 0 ? (double)age_us / 1e6 : 0, out);
}

void depth_prometheus(const json_t *reading, const struct depth_scale *scale, struct buf *out)
{
	head("cwcq_up", "1 when the queue could be read just now.", out);
	say(out, "cwcq_up %d\n", reading != NULL);
	if (reading == NULL)
		return;
	head("cwcq_redis_time_seconds", "The time of Redis at which all of this was so.", out);
	say(out, "cwcq_redis_time_seconds %.3f\n", depth_number(reading, "", "redis_s"));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		head(all[i].name, all[i].help, out);
		if (all[i].chamber) {
			chamber_lines(reading, &all[i], depth_chambers[0], out);
			chamber_lines(reading, &all[i], depth_chambers[1], out);
		} else {
			chamber_lines(reading, &all[i], "", out);
		}
	}
	add_desired(reading, scale, out);
}
