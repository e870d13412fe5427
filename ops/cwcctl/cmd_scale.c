/* SPDX-License-Identifier: Apache-2.0 */
/* How many workers there should be: reads the queue, reckons (scale.h), prints, publishes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/table.h"
#include "cwc/windows.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/scale_state.h"
#include "ops/cwcctl/session.h"
#include "ops/cwcctl/units.h"
#include "worker/base/text.h"

#define WATCH_MAX_S   3600
#define LEASE_ROUNDS  3 /* rounds without a word after which another one speaks */
#define LEASE_MIN_MS  15000
#define POSTS_FEW     20 /* fewer say nothing of how long one takes */
#define LATENCY_US    1000000
#define LATENCY_MIN_S 0.02
#define UP_MS         500

struct scaler {
	struct ctl *c;
	struct scale_options options;
	unsigned slots[SCALE_CHAMBERS];
	double rate[SCALE_CHAMBERS]; /* of the configuration; 0: as workers last named it in the queue */
	double latency_s;            /* 0: as measured */
	bool publish, watch;
	uint64_t every_s;
	char who[SCALE_WHO_SIZE];
	struct scale_state state;
	struct scale_published published;
};

/* --- what is asked for ------------------------------------------------------------------------ */

static int read_duration(const struct ctl *c, enum ctl_option o, int64_t def_us, int64_t least_us, int64_t *ret_us)
{
	uint64_t ms = (uint64_t)(def_us / 1000);
	if (ctl_has(c, o) &&
	    (units_duration(c->opt[o], &ms) != ERR_OK || (int64_t)ms * 1000 < least_us || ms > 86400000))
		return ctl_fail(CTL_USAGE, "--%s must be a duration of at most a day, such as 5min",
				ctl_options[o].name);
	*ret_us = (int64_t)ms * 1000;
	return 0;
}

static int read_workers(const struct ctl *c, enum ctl_option o, unsigned def, unsigned *ret_n)
{
	uint64_t n = def;
	if (ctl_has(c, o) && text_uint(span_str(c->opt[o]), SCALE_WORKERS_MAX, &n) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--%s must be a whole number from 0 to %d", ctl_options[o].name,
				SCALE_WORKERS_MAX);
	*ret_n = (unsigned)n;
	return 0;
}

static int read_bounds(struct scaler *x)
{
	struct scale_options *o = &x->options;
	int code = read_workers(x->c, OPT_MIN, 1, &o->min);
	if (code == 0)
		code = read_workers(x->c, OPT_MAX, o->min > 10 ? o->min : 10, &o->max);
	if (code == 0 && (o->min > o->max || o->max == 0))
		code = ctl_fail(CTL_USAGE, "--max must be at least --min, and 1");
	if (code == 0)
		code = read_duration(x->c, OPT_TARGET_DRAIN, 300000000, 1000000, &o->drain_us);
	if (code == 0)
		code = read_duration(x->c, OPT_STABLE, 300000000, 0, &o->stable_us);
	return code == 0 ? read_duration(x->c, OPT_COOLDOWN, 60000000, 0, &o->cooldown_us) : code;
}

static unsigned slots_default(int d)
{
	size_t row = config_find(depth_chambers[d], "concurrency");
	uint64_t n = 1;
	BUG_ON(row >= config_n_keys || text_uint(span_str(config_keys[row].def), UINT32_MAX, &n) != ERR_OK);
	return (unsigned)n;
}

/* The worker's own files say what it may send, and how much at a time. */
static int read_config(struct scaler *x)
{
	static struct config config;
	static struct config_problems problems;
	const struct ctl *c = x->c;
	for (int d = 0; d < SCALE_CHAMBERS; d++)
		x->slots[d] = slots_default(d);
	if (c->n_args == 0)
		return 0;
	if (config_load(c->arg[0], c->n_args > 1 ? c->arg[1] : NULL, cwc_windows_good, &config, &problems) != ERR_OK)
		return ctl_fail(CTL_CONFIG, "%s: not a good configuration; see `cwcctl config check`", c->arg[0]);
	for (int d = 0; d < SCALE_CHAMBERS; d++) {
		const struct config_chamber *h = &config.chamber[d];
		x->slots[d] = h->concurrency;
		x->rate[d] = h->rate > 0 ? h->rate : h->rate_ceiling;
	}
	return 0;
}

static int read_options(struct scaler *x)
{
	uint64_t slots;
	int64_t latency_us = 0;
	int code = read_bounds(x);
	if (code == 0)
		code = read_config(x);
	if (code == 0)
		code = args_count(x->c, OPT_SLOTS, 0, &slots);
	if (code == 0)
		code = read_duration(x->c, OPT_LATENCY, 0, 1000, &latency_us);
	if (code == 0)
		code = args_count(x->c, OPT_WATCH, 0, &x->every_s);
	if (code == 0 && x->every_s > WATCH_MAX_S)
		code = ctl_fail(CTL_USAGE, "--watch must be a number of seconds, at most an hour");
	if (code == 0 && x->c->json && ctl_has(x->c, OPT_EMF))
		code = ctl_fail(CTL_USAGE, "one of --json and --emf, not both");
	if (code != 0)
		return code;
	for (int d = 0; d < SCALE_CHAMBERS && slots > 0; d++)
		x->slots[d] = (unsigned)slots;
	x->latency_s = (double)latency_us / 1e6;
	x->watch = ctl_has(x->c, OPT_WATCH);
	x->publish = x->watch || ctl_has(x->c, OPT_PUBLISH);
	scale_state_name(x->who);
	return 0;
}

/* --- a reading -------------------------------------------------------------------------------- */

static double latency(const struct scaler *x, const json_t *o, const char *chamber)
{
	double s = depth_number(o, chamber, "posts") < POSTS_FEW ? LATENCY_US / 1e6
								 : depth_number(o, chamber, "post_p95_s");
	if (x->latency_s > 0)
		return x->latency_s;
	return s > LATENCY_MIN_S ? s : LATENCY_MIN_S;
}

/* Of what comes, that part may go which may go of what is there. */
static double may_go(const json_t *o, const char *chamber)
{
	double waiting = depth_number(o, chamber, "waiting");
	double kept = depth_number(o, chamber, "held") + depth_number(o, chamber, "held_rate");
	return waiting > 0 && kept > 0 ? (waiting > kept ? (waiting - kept) / waiting : 0) : 1;
}

static struct scale_reading reading_of(const struct scaler *x, const json_t *o)
{
	struct scale_reading r = {
		.at_us = depth_at_us(o),
		.open = (int64_t)depth_number(o, "", "in"),
		.running = (unsigned)fmin(depth_number(o, "", "alive"), SCALE_WORKERS_MAX),
	};
	for (int d = 0; d < SCALE_CHAMBERS; d++) {
		const char *name = depth_chambers[d];
		double period_s = depth_number(o, name, "period_s");
		r.open += (int64_t)depth_number(o, name, "open");
		r.chamber[d] = (struct scale_chamber){
			.blocked = depth_number(o, name, "blocked") > 0,
			.limited = depth_number(o, name, "held_rate") > 0,
			.scalable = depth_number(o, name, "scalable"),
			.arrival = depth_number(o, name, "arrival_rate") * may_go(o, name),
			.rate = x->rate[d] > 0 ? x->rate[d]
				: period_s > 0 ? 1 / period_s
					       : 0,
			.latency_s = latency(x, o, name),
			.slots = x->slots[d],
			.in_flight = (int64_t)(depth_number(o, name, "taken") + depth_number(o, name, "begun")),
		};
	}
	return r;
}

/* Both or none: what was published is what the next step goes on from. */
static json_t *read_queue(struct scaler *x)
{
	struct ctl *c = x->c;
	struct scale_published p;
	json_t *o = NULL;
	if (queue_is_up(c->session->queue) || session_up_again(c, UP_MS))
		o = depth_read(c, x->options.drain_us);
	if (o == NULL || scale_state_read(c, &p) != 0) {
		json_decref(o);
		return NULL;
	}
	x->published = p;
	if (p.state.known)
		x->state = p.state;
	/* Nobody looked for a while: what was low then may not have been since. */
	if (!depth_scale_fresh(&p.scale, depth_at_us(o)))
		x->state.low_us = 0;
	return o;
}

/* --- saying it -------------------------------------------------------------------------------- */

static json_t *answer_json(const struct scaler *x, const json_t *o, const struct scale_answer *a, bool published)
{
	json_t *v = json_object();
	bool other = !published && x->published.who[0] != '\0' && x->publish && o != NULL;
	json_object_set_new(v, "time", o != NULL ? out_time_us(depth_at_us(o)) : json_null());
	json_object_set_new(v, "desired", json_integer(a->desired));
	json_object_set_new(v, "running",
			    o != NULL ? json_integer((json_int_t)depth_number(o, "", "alive")) : json_null());
	json_object_set_new(v, "need", o != NULL ? out_seconds((int64_t)(fmin(a->need, 1e9) * 1e6)) : json_null());
	json_object_set_new(v, "why", json_string(scale_why_word(a->why)));
	json_object_set_new(v, "text", json_string(scale_why_text(a->why)));
	json_object_set_new(v, "published", json_boolean(published));
	json_object_set_new(v, "other", other ? json_string(x->published.who) : json_null());
	return v;
}

/* Without a reading nothing is printed: CloudWatch keeps the capacity then, and no made-up number moves it. */
static void print_emf(const struct scaler *x, const json_t *o, const struct scale_answer *a)
{
	double running;
	if (o == NULL)
		return;
	running = depth_number(o, "", "alive");
	depth_emf_line(ctl_value(x->c, OPT_NAMESPACE, DEPTH_NAMESPACE), depth_at_us(o),
		       json_pack("{s:s}", "queue", x->c->session->name),
		       json_pack("{s:[i, s], s:[f, s], s:[f, s]}", "DesiredWorkers", (int)a->desired, "Count",
				 "RunningWorkers", running, "Count", "DesiredPerRunning",
				 (double)a->desired / (running > 1 ? running : 1), "None"));
}

static void print_answer(const struct scaler *x, const json_t *o, const struct scale_answer *a, bool published)
{
	json_t *v;
	if (ctl_has(x->c, OPT_EMF)) {
		print_emf(x, o, a);
		out_flush();
		return;
	}
	v = answer_json(x, o, a, published);
	if (x->c->json) {
		(x->watch ? out_line : out_document)(v);
	} else if (x->watch) {
		printf("%s desired %u: %s\n", o != NULL ? json_string_value(json_object_get(v, "time")) : "-",
		       a->desired, scale_why_text(a->why));
		json_decref(v);
	} else {
		printf("desired  %u\nrunning  %.0f\nneed     %.2f\nwhy      %s\n", a->desired,
		       depth_number(o, "", "alive"), a->need, scale_why_text(a->why));
		json_decref(v);
	}
	out_flush();
}

/* --- a round ---------------------------------------------------------------------------------- */

/* Another one speaks for all: what it said is the answer. */
static void follow(struct scaler *x, struct scale_answer *a)
{
	struct scale_published p;
	if (scale_state_read(x->c, &p) != 0)
		return;
	x->published = p;
	if (!p.state.known)
		return;
	x->state = p.state;
	a->desired = p.state.desired;
	for (int w = 0; w < SCALE_N_WHYS; w++)
		if (strcmp(p.why, scale_why_word((enum scale_why)w)) == 0)
			a->why = (enum scale_why)w;
}

static bool publish(struct scaler *x, const struct scale_reading *r, struct scale_answer *a)
{
	int64_t ttl_ms = (int64_t)x->every_s * 1000 * LEASE_ROUNDS;
	char other[SCALE_WHO_SIZE];
	enum scale_publish done = scale_state_lead(x->c, x->who, ttl_ms > LEASE_MIN_MS ? ttl_ms : LEASE_MIN_MS, other);
	if (done == SCALE_PUBLISHED)
		done = scale_state_publish(x->c, x->who, a, &x->state, r->running, &x->published);
	if (done == SCALE_OTHER)
		follow(x, a);
	return done == SCALE_PUBLISHED;
}

static int once(struct scaler *x)
{
	json_t *o = read_queue(x);
	struct scale_reading r;
	struct scale_answer a;
	bool published = false;
	if (x->c->session->interrupted) {
		json_decref(o);
		return 0;
	}
	if (o != NULL)
		r = reading_of(x, o);
	if (scale_step(&x->options, o != NULL ? &r : NULL, &x->state, &a) != ERR_OK)
		return x->watch ? 0 : ctl_fail(CTL_UNAVAILABLE, "the queue cannot be read, and nothing is known");
	if (o != NULL && x->publish)
		published = publish(x, &r, &a);
	print_answer(x, o, &a, published);
	json_decref(o);
	return 0;
}

static int watch(struct scaler *x)
{
	struct session *s = x->c->session;
	int code = 0;
	session_watch(x->c);
	s->quiet = true;
	while (code == 0 && !s->interrupted && out_good()) { /* whoever waits for metrics would wait for ever */
		code = once(x);
		if (code == 0 && !s->interrupted)
			session_sleep(x->c, x->every_s * 1000);
	}
	scale_state_resign(x->c, x->who);
	return code;
}

int cmd_scale(struct ctl *c)
{
	static struct scaler x;
	int code;
	x.c = c;
	code = read_options(&x);
	if (code == 0)
		code = x.watch ? session_begin(c) : session_open(c);
	if (code != 0)
		return code;
	if (x.watch)
		return watch(&x);
	code = once(&x);
	if (x.publish)
		scale_state_resign(c, x.who);
	return code;
}
