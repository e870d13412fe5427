/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of a keeper under test, which knows no other: timers, the clock, the store, KMS, the attestor, the log and
 * the status server. They take the place of the real ones because the test's own symbols come first. For
 * keeper_fixture.h.
 */
#ifndef TESTS_UNIT_KEEPER_WORLD_H
#define TESTS_UNIT_KEEPER_WORLD_H

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/nsm.h"
#include "tests/sim/nsm_sim.h"
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/keeper_internal.h"

#define UNUSED  __attribute__((unused))
#define NOW_S   INT64_C(1800000000)
#define DAY_S   INT64_C(86400)
#define KMS_KEY "arn:aws:kms:us-east-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
#define REFRESH 60000

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

#define TIMERS_MAX 8
#define EVENTS_MAX 64
#define EVENT_SIZE 256

struct status_ticket {
	int code; /* 0: not answered */
	char type[64];
	struct buf body;
};

static struct world {
	int64_t now_ms, step_ms; /* step: of the wall clock */
	uv_timer_t *timer[TIMERS_MAX];
	uv_timer_cb timer_cb[TIMERS_MAX];
	int64_t timer_at[TIMERS_MAX]; /* -1: stopped */
	size_t n_timers;
	uv_close_cb closed_cb[TIMERS_MAX]; /* set: closing */

	char event[EVENTS_MAX][EVENT_SIZE];
	size_t n_events;

	/* the store */
	store_cb store_cb;
	void *store_arg;
	unsigned fetches;
	int64_t fetched_at;

	/* KMS */
	bool kms_open, kms_busy;
	kms_client_cb kms_cb;
	void *kms_arg;
	enum kms_operation kms_operation;
	enum err kms_refuses;
	unsigned kms_calls;
	char kms_context[512];
	struct buf kms_blob;
	uint8_t data_key[KMS_DATA_KEY];

	/* the attestor */
	struct nsm_sim *sim, *other;
	uint8_t pcr[3][ATTEST_PCR_SIZE];
	attestor_cb ask_cb;
	void *ask_arg;
	uint8_t asked[BUNDLE_HASH_SIZE];

	/* what the keeper tells */
	unsigned changed, complete;
	uint64_t changed_to;
	struct config config;
	struct keyring *ring;
	struct keeper *k;
	struct status_ticket ticket[4];
} w;

/* --- time ------------------------------------------------------------------------------------- */

int64_t clock_wall_us(void)
{
	return (w.now_ms + w.step_ms) * 1000;
}

int64_t clock_boot_us(void)
{
	return w.now_ms * 1000;
}

static size_t timer_index(const void *t)
{
	for (size_t i = 0; i < w.n_timers; i++)
		if ((const void *)w.timer[i] == t)
			return i;
	fail_msg("a timer that nobody made");
	return 0;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
	(void)loop;
	assert_true(w.n_timers < TIMERS_MAX);
	w.timer_at[w.n_timers] = -1;
	w.closed_cb[w.n_timers] = NULL;
	w.timer[w.n_timers++] = t;
	return 0;
}

int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	size_t i = timer_index(t);
	assert_int_equal(repeat, 0);
	assert_null(w.closed_cb[i]);
	w.timer_cb[i] = cb;
	w.timer_at[i] = w.now_ms + (int64_t)timeout;
	return 0;
}

int uv_timer_stop(uv_timer_t *t)
{
	w.timer_at[timer_index(t)] = -1;
	return 0;
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
	size_t i = timer_index(h);
	assert_null(w.closed_cb[i]);
	w.timer_at[i] = -1;
	w.closed_cb[i] = cb;
}

static void close_timers(void)
{
	for (size_t i = 0; i < w.n_timers; i++) {
		assert_non_null(w.closed_cb[i]);
		w.closed_cb[i]((uv_handle_t *)w.timer[i]);
	}
	w.n_timers = 0;
}

/* Lets time pass, and what falls due in it happen, in order. */
static void pass(int64_t ms)
{
	int64_t until = w.now_ms + ms;
	for (;;) {
		size_t next = w.n_timers;
		for (size_t i = 0; i < w.n_timers; i++)
			if (w.timer_at[i] >= 0 && w.timer_at[i] <= until &&
			    (next == w.n_timers || w.timer_at[i] < w.timer_at[next]))
				next = i;
		if (next == w.n_timers)
			break;
		if (w.timer_at[next] > w.now_ms)
			w.now_ms = w.timer_at[next];
		w.timer_at[next] = -1;
		w.timer_cb[next](w.timer[next]);
	}
	w.now_ms = until;
}

/* --- the log ---------------------------------------------------------------------------------- */

static const char *event_name(enum log_event e)
{
	static const char *const names[] = {
#define NAME(e, name, level) name,
		LOG_EVENTS(NAME)
#undef NAME
	};
	return names[e];
}

void log_values(enum log_event event, const struct log_value *v, size_t n)
{
	static const bool number[] = {
#define NUMBER(e, name, is) is,
		LOG_FIELDS(NUMBER)
#undef NUMBER
	};
	char *out = w.event[w.n_events % EVENTS_MAX];
	int at = snprintf(out, EVENT_SIZE, "%s", event_name(event));
	w.n_events++;
	for (size_t i = 0; i < n; i++) {
		if (number[v[i].field])
			at += snprintf(out + at, EVENT_SIZE - (size_t)at, " %lld", (long long)v[i].number);
		else
			at += snprintf(out + at, EVENT_SIZE - (size_t)at, " %.*s", (int)v[i].name.n,
				       (const char *)v[i].name.p);
		assert_true(at < EVENT_SIZE);
	}
}

/* How many lines begin so, since the log was last forgotten. */
UNUSED static unsigned logged(const char *start)
{
	unsigned n = 0;
	assert_true(w.n_events <= EVENTS_MAX);
	for (size_t i = 0; i < w.n_events; i++)
		n += strncmp(w.event[i], start, strlen(start)) == 0;
	return n;
}

UNUSED static void forget_log(void)
{
	w.n_events = 0;
}

/* --- the store -------------------------------------------------------------------------------- */

struct store_fetch {
	char nothing;
};
static struct store_fetch the_fetch;

struct store_fetch *store_fetch(uv_loop_t *loop, const struct addr *a, store_cb cb, void *arg)
{
	(void)loop;
	assert_null(w.store_cb);
	assert_ptr_equal(a, &w.config.store_address);
	w.store_cb = cb;
	w.store_arg = arg;
	w.fetches++;
	w.fetched_at = w.now_ms;
	return &the_fetch;
}

void store_cancel(struct store_fetch *f)
{
	assert_ptr_equal(f, &the_fetch);
	assert_non_null(w.store_cb);
	w.store_cb = NULL;
}

/* --- KMS -------------------------------------------------------------------------------------- */

struct kms_client {
	char nothing;
};
static struct kms_client the_client;

enum err kms_client_new(uv_loop_t *loop, const struct kms_client_options *o, struct kms_client **ret_client,
			const char **ret_rule)
{
	(void)loop;
	assert_false(w.kms_open);
	if (strcmp(o->key_arn, KMS_KEY) != 0) {
		*ret_rule = "not that key";
		return ERR_CONFIG;
	}
	w.kms_open = true;
	*ret_client = &the_client;
	return ERR_OK;
}

void kms_client_free(struct kms_client *c)
{
	w.kms_open = w.kms_open && c == NULL;
	w.kms_busy = false;
}

enum err kms_client_call(struct kms_client *c, enum kms_operation o, const struct kms_pair *context, size_t n_context,
			 struct span blob, kms_client_cb cb, void *arg)
{
	int at = 0;
	assert_ptr_equal(c, &the_client);
	if (w.kms_busy)
		return ERR_EXISTS;
	if (w.kms_refuses != ERR_OK)
		return w.kms_refuses;
	w.kms_context[0] = '\0';
	for (size_t i = 0; i < n_context; i++)
		at += snprintf(w.kms_context + at, sizeof w.kms_context - (size_t)at, "%s=%s;", context[i].name,
			       context[i].value);
	w.kms_busy = true;
	w.kms_operation = o;
	w.kms_cb = cb;
	w.kms_arg = arg;
	w.kms_calls++;
	buf_reset(&w.kms_blob);
	buf_add_span(&w.kms_blob, blob);
	return ERR_OK;
}

UNUSED static void kms_answers(void)
{
	const struct kms_client_result r = {
		.ok = true, .why = "ok", .http_status = 200, .data_key = w.data_key, .blob = span_lit("wrapped")
	};
	assert_true(w.kms_busy);
	w.kms_busy = false;
	w.kms_cb(w.kms_arg, &r);
}

UNUSED static void kms_fails(const char *why, bool retry)
{
	const struct kms_client_result r = { .retry = retry, .why = why, .http_status = 400 };
	assert_true(w.kms_busy);
	w.kms_busy = false;
	w.kms_cb(w.kms_arg, &r);
}

/* --- the attestor ----------------------------------------------------------------------------- */

struct attestor {
	char nothing;
};
static struct attestor the_attestor;

struct nsm attestor_nsm(const struct attestor *a)
{
	assert_ptr_equal(a, &the_attestor);
	return (struct nsm){ .exchange = nsm_sim_exchange, .arg = w.sim };
}

const struct attest_anchor *attestor_anchor(const struct attestor *a)
{
	assert_ptr_equal(a, &the_attestor);
	return &attest_anchor_sim;
}

const uint8_t (*attestor_pcrs(const struct attestor *a))[ATTEST_PCR_SIZE]
{
	assert_ptr_equal(a, &the_attestor);
	return (const uint8_t(*)[ATTEST_PCR_SIZE])w.pcr;
}

void attestor_ask(struct attestor *a, struct span user_data, struct span nonce, attestor_cb cb, void *arg)
{
	assert_ptr_equal(a, &the_attestor);
	assert_null(w.ask_cb);
	assert_int_equal(nonce.n, 0);
	assert_int_equal(user_data.n, BUNDLE_HASH_SIZE);
	memcpy(w.asked, user_data.p, user_data.n);
	w.ask_cb = cb;
	w.ask_arg = arg;
}

void attestor_forget(struct attestor *a, const void *arg)
{
	assert_ptr_equal(a, &the_attestor);
	if (w.ask_arg == arg)
		w.ask_cb = NULL;
}

static void document(struct nsm_sim *sim, const uint8_t hash[BUNDLE_HASH_SIZE], struct buf *out)
{
	struct nsm n = { .exchange = nsm_sim_exchange, .arg = sim };
	const struct span user_data = span_of(hash, BUNDLE_HASH_SIZE);
	assert_err(nsm_attest(&n, &user_data, NULL, NULL, out), ERR_OK);
}

UNUSED static void attestor_answers(enum err e)
{
	attestor_cb cb = w.ask_cb;
	struct buf out;
	assert_non_null(cb);
	buf_init(&out, NSM_ANSWER_MAX);
	nsm_sim_set_now(w.sim, w.now_ms);
	document(w.sim, w.asked, &out);
	w.ask_cb = NULL;
	cb(w.ask_arg, e, e == ERR_OK ? span_buf(&out) : (struct span){ 0 });
	buf_clear(&out);
}

/* --- the status server ------------------------------------------------------------------------ */

void status_reply(struct status_ticket *t, const struct status_answer *a)
{
	assert_int_equal(t->code, 0);
	t->code = a->code;
	snprintf(t->type, sizeof t->type, "%s", a->type);
	buf_init(&t->body, BUNDLE_MAX);
	buf_add_span(&t->body, span_buf(&a->body));
}

void status_reply_json(struct status_ticket *t, int code, const char *json)
{
	struct status_answer a = { .code = code, .type = "application/json" };
	buf_init(&a.body, 256);
	buf_add_str(&a.body, json);
	status_reply(t, &a);
	buf_clear(&a.body);
}

UNUSED static struct status_ticket *act(enum status_act a, struct span body)
{
	static size_t next;
	struct status_ticket *t = &w.ticket[next++ % 4];
	buf_clear(&t->body);
	t->code = 0;
	keeper_act(w.k, a, body, t);
	return t;
}

UNUSED static void assert_answer(const struct status_ticket *t, int code, const char *body)
{
	assert_int_equal(t->code, code);
	assert_string_equal(t->type, "application/json");
	if (!span_eq_str(span_buf(&t->body), body))
		fail_msg("%.*s, not %s", (int)t->body.n, (const char *)t->body.p, body);
}

#endif
