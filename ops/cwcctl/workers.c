/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

/* --- what a worker says of itself ------------------------------------------------------------- */

static struct span cut(struct span *rest, uint8_t at)
{
	const uint8_t *p = rest->n > 0 ? memchr(rest->p, at, rest->n) : NULL;
	size_t n = p != NULL ? (size_t)(p - rest->p) : rest->n;
	struct span part = span_of(rest->p, n);
	*rest = p != NULL ? span_of(p + 1, rest->n - n - 1) : span_of(rest->p + n, 0);
	return part;
}

/* A number as a worker writes it; null otherwise. */
static json_t *number(struct span s)
{
	char text[40], *end;
	if (s.n == 0 || s.n >= sizeof(text) || (s.p[0] < '0' || s.p[0] > '9'))
		return json_null();
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	double v = strtod(text, &end);
	return *end == '\0' && v >= 0 && v < 1e15 ? json_real(v) : json_null();
}

/* RATE/CEILING/BURST/SLOTS/OFFICE_RATE/OFFICE_SLOTS */
static json_t *limits(struct span s)
{
	static const char *const name[] = { "rate", "ceiling", "burst", "slots", "office_rate", "office_slots" };
	json_t *o = json_object();
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		json_object_set_new(o, name[i], number(cut(&s, '/')));
	return o;
}

static void add_word(json_t *o, struct span name, struct span value)
{
	static const char *const texts[] = { "version", "environment", "state", "pcr0" };
	int64_t n;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (span_eq_str(name, texts[i]))
			json_object_set_new(o, texts[i], out_string(value));
	if (span_eq_str(name, "house") || span_eq_str(name, "senate"))
		json_object_set_new(o, span_eq_str(name, "house") ? "house" : "senate", limits(value));
	if (text_int(value, &n) != ERR_OK || n < 0)
		return;
	if (span_eq_str(name, "bundle"))
		json_object_set_new(o, "bundle", json_integer(n));
	else if (span_eq_str(name, "lease_ms") && n < INT64_MAX / 1000)
		json_object_set_new(o, "lease_ms", json_integer(n));
	else if (span_eq_str(name, "started_ms") && n < INT64_MAX / 1000)
		json_object_set_new(o, "started", out_time_us(n * 1000));
}

json_t *workers_about(struct span text)
{
	json_t *o = json_object();
	while (text.n > 0) {
		struct span value = cut(&text, ' ');
		struct span name = cut(&value, '=');
		add_word(o, name, value);
	}
	return o;
}

/* --- all of them ------------------------------------------------------------------------------ */

/* The order for this worker's name: AT_US WHO REASON. */
static json_t *order_of(const struct resp_reply *orders, struct span worker)
{
	char name[QUEUE_WORKER_MAX + 1];
	int64_t at_us;
	struct span rest = worker, of = cut(&rest, '/');
	snprintf(name, sizeof(name), "%.*s", (int)(of.n < sizeof(name) ? of.n : 0), (const char *)of.p);
	struct span text = reply_field(orders, name);
	if (text.n == 0)
		return json_null();
	json_t *o = json_object();
	json_object_set_new(o, "asked", text_int(cut(&text, ' '), &at_us) == ERR_OK ? out_time_us(at_us) : json_null());
	json_object_set_new(o, "who", out_string(cut(&text, ' ')));
	json_object_set_new(o, "reason", out_string(text));
	return o;
}

static int64_t score(struct span s)
{
	char text[40];
	snprintf(text, sizeof(text), "%.*s", (int)(s.n < sizeof(text) ? s.n : 0), (const char *)s.p);
	double v = strtod(text, NULL);
	return v > 0 && v < 9e18 ? (int64_t)v : 0;
}

static json_t *row(struct span worker, int64_t until_us, int64_t held, const struct resp_reply *abouts, json_t *drain,
		   int64_t now_us)
{
	static const char *const maybe[] = { "version", "environment", "bundle", "pcr0", "started", "house", "senate" };
	char id[QUEUE_WORKER_MAX + 1];
	snprintf(id, sizeof(id), "%.*s", (int)(worker.n < sizeof(id) ? worker.n : 0), (const char *)worker.p);
	json_t *o = json_object(), *about = workers_about(reply_field(abouts, id));
	const char *state = json_string_value(json_object_get(about, "state"));
	int64_t lease_ms = (int64_t)json_integer_value(json_object_get(about, "lease_ms"));
	bool alive = until_us > now_us, draining = state != NULL && strcmp(state, "draining") == 0;
	json_object_set_new(o, "worker", out_string(worker));
	json_object_set_new(o, "alive", json_boolean(alive));
	json_object_set_new(o, "state",
			    json_string(!alive                  ? "dead"
					: draining              ? "draining"
					: json_is_object(drain) ? "to drain"
								: "serving"));
	json_object_set_new(o, "holds", json_integer(held));
	json_object_set_new(o, "lease_us", json_integer(until_us));
	json_object_set_new(o, "beat_us", json_integer(lease_ms > 0 ? until_us - lease_ms * 1000 : 0));
	for (size_t i = 0; i < sizeof(maybe) / sizeof(maybe[0]); i++) {
		json_t *v = json_object_get(about, maybe[i]);
		json_object_set(o, maybe[i], v != NULL ? v : json_null());
	}
	json_object_set_new(o, "drain", drain);
	json_decref(about);
	return o;
}

/* How many jobs each holds, in one round. */
static enum err read_held(struct ctl *c, const struct resp_reply *workers, struct resp_reply **held)
{
	for (size_t i = 0; i + 1 < workers->n && i / 2 < WORKERS_MAX; i += 2) {
		char suffix[QUEUE_WORKER_MAX + 16];
		struct span w = resp_text(workers->at[i]);
		snprintf(suffix, sizeof(suffix), "held:%.*s", (int)(w.n > QUEUE_WORKER_MAX ? QUEUE_WORKER_MAX : w.n),
			 (const char *)w.p);
		session_send(c, SESSION_ARGV(span_lit("SCARD"), session_key(c, suffix)), &held[i / 2]);
	}
	return session_wait(c, session_hushed(c));
}

static json_t *rows(struct ctl *c, const struct resp_reply *workers, const struct resp_reply *abouts,
		    const struct resp_reply *orders, enum err *ret_e)
{
	size_t n = workers->n / 2 < WORKERS_MAX ? workers->n / 2 : WORKERS_MAX;
	struct resp_reply **held = xcalloc(n + 1, sizeof(*held));
	json_t *all = NULL;
	int64_t now_us = clock_wall_us();
	*ret_e = read_held(c, workers, held);
	if (*ret_e == ERR_OK) {
		all = json_array();
		for (size_t i = 0; i < n; i++) {
			struct span w = resp_text(workers->at[2 * i]);
			json_array_append_new(all, row(w, score(resp_text(workers->at[2 * i + 1])),
						       resp_number(held[i]), abouts, order_of(orders, w), now_us));
		}
	}
	for (size_t i = 0; i < n; i++)
		reply_free(held[i]);
	free(held);
	return all;
}

static json_t *read_once(struct ctl *c, enum err *ret_e)
{
	struct resp_reply *workers = NULL, *abouts = NULL, *orders = NULL;
	json_t *all = NULL;
	session_send(c,
		     SESSION_ARGV(span_lit("ZRANGE"), session_key(c, "workers"), span_lit("0"), span_lit("-1"),
				  span_lit("WITHSCORES")),
		     &workers);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "about")), &abouts);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "drain")), &orders);
	*ret_e = session_wait(c, session_hushed(c));
	if (*ret_e == ERR_OK)
		all = rows(c, workers, abouts, orders, ret_e);
	reply_free(workers);
	reply_free(abouts);
	reply_free(orders);
	return all;
}

/* A patient session waits for a lost connection, as its other calls do. */
json_t *workers_read(struct ctl *c)
{
	for (int tries = 1;; tries++) {
		enum err e = ERR_OK;
		json_t *all = read_once(c, &e);
		if (all != NULL || !c->session->patient || !session_again(c, e, tries))
			return all;
	}
}
