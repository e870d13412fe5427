/* SPDX-License-Identifier: Apache-2.0 */
/* The state that `top` shows, from the readings that the other commands print. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/limits.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/top.h"
#include "ops/cwcctl/workers.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define LOOKED_AT 512 /* offices with a line, of each chamber */

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s != NULL ? s : "";
}

static int64_t whole(const json_t *reading, const char *chamber, const char *name)
{
	return (int64_t)depth_number(reading, chamber, name);
}

/* --- chambers --------------------------------------------------------------------------------- */

static void set_state(struct top_chamber *x, const json_t *limit, const json_t *reading, int64_t now_us)
{
	const json_t *hold = json_object_get(limit, "hold"), *breaker = json_object_get(limit, "breaker");
	char text[TOP_TEXT_SIZE - 16];
	int64_t offices = whole(reading, x->name, "breakers");
	x->state[0] = '\0';
	if (json_is_object(hold)) {
		holds_hold_text(hold, text, sizeof(text));
		snprintf(x->state, sizeof(x->state), "held %s", text);
	} else if (json_is_object(breaker) && strcmp(text_of(breaker, "state"), "closed") != 0) {
		holds_breaker_text(breaker, now_us, text, sizeof(text));
		snprintf(x->state, sizeof(x->state), "breaker: %s", text);
	} else if (offices > 0) {
		snprintf(x->state, sizeof(x->state), "%lld office%s do%s not answer", (long long)offices,
			 offices == 1 ? "" : "s", offices == 1 ? "es" : "");
	} else if (x->held_rate > 0) {
		snprintf(x->state, sizeof(x->state), "at its limit (%s)", text_of(limit, "by"));
	}
}

static void set_chamber(struct top_chamber *x, const char *name, const json_t *reading, const json_t *limit)
{
	*x = (struct top_chamber){
		.name = name,
		.waiting = whole(reading, name, "waiting"),
		.held = whole(reading, name, "held"),
		.held_rate = whole(reading, name, "held_rate"),
		.in_flight = whole(reading, name, "taken") + whole(reading, name, "begun"),
		.later = whole(reading, name, "later"),
		.scalable = whole(reading, name, "scalable"),
		.used = (int64_t)json_integer_value(json_object_get(limit, "used")),
		.allowed = (int64_t)json_integer_value(json_object_get(limit, "allowed")),
		.oldest_us = (int64_t)(depth_number(reading, name, "oldest_s") * 1e6),
		.arrived = (int64_t)(depth_number(reading, name, "arrival_rate") * 60 + 0.5),
		.ended = (int64_t)(depth_number(reading, name, "drain_rate") * 60 + 0.5),
	};
	set_state(x, limit, reading, depth_at_us(reading));
}

/* --- offices ---------------------------------------------------------------------------------- */

struct look {
	struct resp_reply *holds, *breakers, *turn[2];
	struct resp_reply *wait[2 * LOOKED_AT];
	char code[2 * LOOKED_AT][8];
	size_t n;
};

static void look_add(struct look *k, struct span code)
{
	enum cwc_chamber chamber;
	if (k->n == 2 * LOOKED_AT || cwc_office_parse(code, &chamber) != ERR_OK)
		return;
	for (size_t i = 0; i < k->n; i++)
		if (span_eq_str(code, k->code[i]))
			return;
	snprintf(k->code[k->n++], sizeof(k->code[0]), "%.*s", (int)code.n, (const char *)code.p);
}

static void look_add_fields(struct look *k, const struct resp_reply *flat)
{
	for (size_t i = 0; flat->type == RESP_ARRAY && i + 1 < flat->n; i += 2)
		look_add(k, resp_text(flat->at[i]));
}

static bool look_first(struct ctl *c, struct look *k)
{
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "holds")), &k->holds);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "breaker")), &k->breakers);
	for (size_t i = 0; i < 2; i++)
		session_send(c,
			     SESSION_ARGV(span_lit("ZRANGE"), session_key(c, i == 0 ? "turn:house" : "turn:senate"),
					  span_lit("0"), span_lit("511")),
			     &k->turn[i]);
	if (session_wait(c, session_hushed(c)) != ERR_OK)
		return false;
	look_add_fields(k, k->holds);
	look_add_fields(k, k->breakers);
	for (size_t t = 0; t < 2; t++)
		for (size_t i = 0; k->turn[t]->type == RESP_ARRAY && i < k->turn[t]->n; i++)
			look_add(k, resp_text(k->turn[t]->at[i]));
	return true;
}

static bool look_lines(struct ctl *c, struct look *k)
{
	for (size_t i = 0; i < k->n; i++) {
		char key[16];
		snprintf(key, sizeof(key), "wait:%s", k->code[i]);
		session_send(c, SESSION_ARGV(span_lit("ZCARD"), session_key(c, key)), &k->wait[i]);
	}
	return session_wait(c, session_hushed(c)) == ERR_OK;
}

static void set_trouble(struct top_office *o, const struct look *k, int64_t now_us)
{
	char text[TOP_TEXT_SIZE - 16];
	json_t *hold = holds_hold(reply_field(k->holds, o->code), now_us);
	json_t *breaker = holds_breaker(reply_field(k->breakers, o->code));
	if (json_is_object(hold)) {
		holds_hold_text(hold, text, sizeof(text));
		snprintf(o->trouble, sizeof(o->trouble), "held %s", text);
	} else if (json_is_object(breaker)) {
		holds_breaker_text(breaker, now_us, text, sizeof(text));
		snprintf(o->trouble, sizeof(o->trouble), "breaker: %s", text);
	}
	json_decref(hold);
	json_decref(breaker);
}

/* In trouble first, then the longest lines. */
static int by_trouble(const void *a, const void *b)
{
	const struct top_office *x = a, *y = b;
	int trouble = (y->trouble[0] != '\0') - (x->trouble[0] != '\0');
	if (trouble != 0)
		return trouble;
	if (x->waiting != y->waiting)
		return x->waiting < y->waiting ? 1 : -1;
	return strcmp(x->code, y->code);
}

static void choose(struct top_state *t, const struct look *k, int64_t now_us)
{
	struct top_office *all = xcalloc(k->n + 1, sizeof(*all));
	size_t n = 0;
	for (size_t i = 0; i < k->n; i++) {
		struct top_office *o = &all[n];
		memset(o, 0, sizeof(*o));
		memcpy(o->code, k->code[i], sizeof(o->code));
		o->waiting = resp_number(k->wait[i]);
		set_trouble(o, k, now_us);
		n += o->waiting > 0 || o->trouble[0] != '\0';
	}
	qsort(all, n, sizeof(*all), by_trouble);
	t->n_offices = n < TOP_OFFICES ? n : TOP_OFFICES;
	t->more_offices = n - t->n_offices;
	memcpy(t->office, all, t->n_offices * sizeof(*all));
	free(all);
}

/* What is in flight, and since when the first of the line waits: of those that are shown. */
static bool look_closer(struct ctl *c, struct top_state *t, int64_t now_us)
{
	struct resp_reply *fly[TOP_OFFICES] = { NULL }, *head[TOP_OFFICES] = { NULL }, *first[TOP_OFFICES] = { NULL };
	char key[QUEUE_ID_MAX + 8];
	for (size_t i = 0; i < t->n_offices; i++) {
		snprintf(key, sizeof(key), "fly:%s", t->office[i].code);
		session_send(c, SESSION_ARGV(span_lit("SCARD"), session_key(c, key)), &fly[i]);
		snprintf(key, sizeof(key), "wait:%s", t->office[i].code);
		session_send(c, SESSION_ARGV(span_lit("ZRANGE"), session_key(c, key), span_lit("0"), span_lit("0")),
			     &head[i]);
	}
	bool good = session_wait(c, session_hushed(c)) == ERR_OK;
	for (size_t i = 0; good && i < t->n_offices; i++) {
		struct span sid = resp_text(resp_at(head[i], 0));
		snprintf(key, sizeof(key), "job:%.*s:%s", (int)(sid.n <= QUEUE_SID_MAX ? sid.n : 0),
			 sid.n > 0 ? (const char *)sid.p : "", t->office[i].code);
		session_send(c, SESSION_ARGV(span_lit("HGET"), session_key(c, key), span_lit("first_us")), &first[i]);
	}
	good = good && session_wait(c, session_hushed(c)) == ERR_OK;
	for (size_t i = 0; i < t->n_offices; i++) {
		int64_t us = good ? reply_number(resp_text(first[i])) : 0;
		t->office[i].in_flight = good ? resp_number(fly[i]) : 0;
		if (us > 0)
			t->office[i].oldest_us = now_us - us;
		reply_free(fly[i]);
		reply_free(head[i]);
		reply_free(first[i]);
	}
	return good;
}

static bool read_offices(struct ctl *c, struct top_state *t, int64_t now_us)
{
	struct look *k = xcalloc(1, sizeof(*k));
	bool good = look_first(c, k) && look_lines(c, k);
	if (good) {
		choose(t, k, now_us);
		good = look_closer(c, t, now_us);
	}
	reply_free(k->holds);
	reply_free(k->breakers);
	for (size_t i = 0; i < 2; i++)
		reply_free(k->turn[i]);
	for (size_t i = 0; i < k->n; i++)
		reply_free(k->wait[i]);
	free(k);
	return good;
}

/* --- workers and acts ------------------------------------------------------------------------- */

static void set_workers(struct top_state *t, const json_t *rows, int64_t now_us)
{
	size_t n = json_array_size(rows);
	t->n_workers = n < TOP_WORKERS ? n : TOP_WORKERS;
	t->more_workers = n - t->n_workers;
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(rows, i);
		t->n_alive += json_is_true(json_object_get(row, "alive"));
		t->n_draining += strcmp(text_of(row, "state"), "draining") == 0 ||
				 strcmp(text_of(row, "state"), "to drain") == 0;
	}
	for (size_t i = 0; i < t->n_workers; i++) {
		const json_t *row = json_array_get(rows, i);
		struct top_worker *w = &t->worker[i];
		int64_t beat_us = (int64_t)json_integer_value(json_object_get(row, "beat_us"));
		snprintf(w->name, sizeof(w->name), "%s", text_of(row, "worker"));
		snprintf(w->state, sizeof(w->state), "%s", text_of(row, "state"));
		snprintf(w->version, sizeof(w->version), "%.31s", text_of(row, "version"));
		w->holds = (int64_t)json_integer_value(json_object_get(row, "holds"));
		w->beat_us = beat_us > 0 ? now_us - beat_us : -1;
	}
}

/* "pause senate announced maintenance": the arguments as they are, but for the time of a hold. */
static void set_act(struct top_act *a, const struct resp_reply *entry, int64_t now_us)
{
	const struct resp_reply *flat = resp_at(entry, 1);
	struct span id = resp_text(resp_at(entry, 0)), who = reply_field(flat, "who"), verb = reply_field(flat, "verb");
	struct span x = reply_field(flat, "a"), y = reply_field(flat, "b"), z = reply_field(flat, "c");
	int64_t ms;
	size_t dash = 0;
	while (dash < id.n && id.p[dash] != '-')
		dash++;
	ms = reply_number(span_of(id.p, dash));
	if (span_eq_str(verb, "hold"))
		y = span_of(NULL, 0);
	a->ago_us = ms > 0 && ms < now_us / 1000 ? now_us - ms * 1000 : 0;
	snprintf(a->who, sizeof(a->who), "%.*s", (int)(who.n < 64 ? who.n : 64), who.n > 0 ? (const char *)who.p : "");
	snprintf(a->what, sizeof(a->what), "%.*s %.*s %.*s %.*s", (int)(verb.n < 16 ? verb.n : 16),
		 verb.n > 0 ? (const char *)verb.p : "", (int)(x.n < 80 ? x.n : 80), x.n > 0 ? (const char *)x.p : "",
		 (int)(y.n < 60 ? y.n : 60), y.n > 0 ? (const char *)y.p : "", (int)(z.n < 80 ? z.n : 80),
		 z.n > 0 ? (const char *)z.p : "");
}

static bool read_acts(struct ctl *c, struct top_state *t, int64_t now_us)
{
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("XREVRANGE"), session_key(c, "audit"), span_lit("+"),
					     span_lit("-"), span_lit("COUNT"), span_lit("10")));
	if (r == NULL)
		return false;
	t->n_acts = r->n < TOP_ACTS ? r->n : TOP_ACTS;
	for (size_t i = 0; i < t->n_acts; i++)
		set_act(&t->act[i], r->at[i], now_us);
	reply_free(r);
	return true;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void set_totals(struct top_state *t, const json_t *reading)
{
	t->door = whole(reading, "", "in");
	t->door_oldest_us = (int64_t)(depth_number(reading, "", "in_oldest_s") * 1e6);
	t->dead = whole(reading, "", "dead");
	t->unknown = whole(reading, "", "unknown");
	t->stuck = whole(reading, "", "stuck");
	t->refused = whole(reading, "", "refused");
	t->results = whole(reading, "", "results");
}

bool top_read(struct ctl *c, struct top_state *t)
{
	struct top_state *fresh = xcalloc(1, sizeof(*fresh));
	json_t *reading = depth_read(c, DEPTH_HORIZON_US), *workers = reading != NULL ? workers_read(c) : NULL;
	json_t *limits = workers != NULL ? limits_read(c, reading, workers) : NULL;
	bool good = limits != NULL;
	if (good) {
		int64_t now_us = depth_at_us(reading);
		snprintf(fresh->queue, sizeof(fresh->queue), "%s", c->session->name);
		text_time(now_us / 1000000, fresh->time);
		set_totals(fresh, reading);
		for (size_t i = 0; i < TOP_CHAMBERS; i++)
			set_chamber(&fresh->chamber[i], depth_chambers[i], reading, json_array_get(limits, i));
		set_workers(fresh, workers, clock_wall_us());
		good = read_offices(c, fresh, now_us) && read_acts(c, fresh, now_us);
	}
	if (good)
		*t = *fresh;
	json_decref(limits);
	json_decref(workers);
	json_decref(reading);
	free(fresh);
	return good;
}
