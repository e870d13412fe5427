/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/queue_reply.h"

#define ARGS_MAX   32
#define REAP_CHUNK 100 /* jobs of dead workers that one REAP takes back */

_Static_assert(QUEUE_JOIN_FIELDS + 6 <= ARGS_MAX, "the arguments of a join");

/* --- arguments ------------------------------------------------------------------------------ */

struct args {
	struct span v[ARGS_MAX];
	size_t n;
	char digits[ARGS_MAX][24];
};

static void add(struct args *a, struct span s)
{
	BUG_ON(a->n == ARGS_MAX);
	a->v[a->n++] = s;
}

static void add_str(struct args *a, const char *s)
{
	add(a, span_str(s));
}

static void add_int(struct args *a, int64_t v)
{
	BUG_ON(a->n == ARGS_MAX);
	char *d = a->digits[a->n];
	snprintf(d, sizeof(a->digits[0]), "%" PRId64, v);
	add_str(a, d);
}

/* A script that is part of the program: its absence is a bug. */
static struct queue_call *prepare(struct queue *q, const char *script, const struct args *a, void *arg)
{
	struct queue_slot *s = queue_call_find(q, script);
	BUG_ON(s == NULL);
	struct queue_call *c = queue_call_script(q, s, a->v, a->n);
	c->arg = arg;
	return c;
}

/* --- BEAT ----------------------------------------------------------------------------------- */

static void deliver_beat(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	struct queue_beat_answer a;
	if (e == ERR_OK)
		e = queue_reply_beat(r, &a);
	c->cb.beat(c->arg, e, e == ERR_OK ? &a : NULL);
}

static void beat(struct queue *q, enum queue_beat_verb verb, const char *worker, int64_t lease_us, int64_t now_us,
		 const char *machine, const struct span *field, size_t n, queue_beat_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, worker);
	add_int(&a, lease_us);
	add_str(&a, queue_beat_word(verb));
	add_int(&a, now_us);
	add_int(&a, QUEUE_PROTOCOL_VERSION);
	add_str(&a, machine);
	for (size_t i = 0; i < n; i++)
		add(&a, field[i]);
	struct queue_call *c = prepare(q, "beat", &a, arg);
	c->deliver = deliver_beat;
	c->cb.beat = cb;
	queue_call_start(c);
}

void queue_beat(struct queue *q, enum queue_beat_verb verb, const char *worker, int64_t lease_us, int64_t now_us,
		queue_beat_cb cb, void *arg)
{
	beat(q, verb, worker, lease_us, now_us, "", NULL, 0, cb, arg);
}

void queue_join(struct queue *q, enum queue_beat_verb verb, const char *worker, int64_t lease_us, int64_t now_us,
		const char *machine, const struct span *field, size_t n, queue_beat_cb cb, void *arg)
{
	beat(q, verb, worker, lease_us, now_us, machine, field, n, cb, arg);
}

void queue_publish(struct queue *q, const char *worker, int64_t lease_us, int64_t now_us, const struct span *field,
		   size_t n, queue_beat_cb cb, void *arg)
{
	beat(q, QUEUE_BEAT, worker, lease_us, now_us, "", field, n, cb, arg);
}

/* --- TAKE ----------------------------------------------------------------------------------- */

static void deliver_take(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	struct queue_take_answer *a = e == ERR_OK ? xmalloc(sizeof(*a)) : NULL; /* large for a stack */
	if (e == ERR_OK)
		e = queue_reply_take(r, a);
	c->cb.take(c->arg, e, e == ERR_OK ? a : NULL);
	free(a);
}

void queue_take(struct queue *q, const struct queue_take *t, queue_take_cb cb, void *arg)
{
	char id[QUEUE_WORKER_MAX + 24];
	snprintf(id, sizeof(id), "%s.%" PRIu64, t->worker, t->take_id);
	struct args a = { .n = 0 };
	add_str(&a, t->chamber);
	add_str(&a, t->worker);
	add_str(&a, id);
	add_int(&a, t->n);
	add_int(&a, t->now_us);
	add_int(&a, t->chamber_period_us);
	add_int(&a, t->chamber_slack_us);
	add_int(&a, t->office_period_us);
	add_int(&a, t->office_slack_us);
	add_int(&a, t->office_cap);
	add_int(&a, t->open);
	struct queue_call *c = prepare(q, "take", &a, arg);
	c->deliver = deliver_take;
	c->cb.take = cb;
	queue_call_start(c);
}

/* --- BEGIN ---------------------------------------------------------------------------------- */

static void deliver_begin(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	struct queue_begin_answer a;
	if (e == ERR_OK)
		e = queue_reply_begin(r, &a);
	c->cb.begin(c->arg, e, e == ERR_OK ? &a : NULL);
}

void queue_begin(struct queue *q, const struct queue_begin *b, queue_begin_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, b->worker);
	add(&a, b->sid);
	add(&a, b->office);
	add(&a, b->token);
	add(&a, b->delivery_id);
	add(&a, b->date);
	add_int(&a, (int64_t)b->generation);
	add_int(&a, b->expires_us);
	add_int(&a, b->now_us);
	add_int(&a, b->sent);
	struct queue_call *c = prepare(q, "begin", &a, arg);
	c->deliver = deliver_begin;
	c->cb.begin = cb;
	queue_call_start(c);
}

/* --- SETTLE --------------------------------------------------------------------------------- */

static void deliver_settle(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	struct queue_settle_answer a;
	if (e == ERR_OK)
		e = queue_reply_settle(r, &a);
	c->cb.settle(c->arg, e, e == ERR_OK ? &a : NULL);
}

static struct span or_empty(const char *s)
{
	return s == NULL ? span_of("", 0) : span_str(s);
}

void queue_settle(struct queue *q, const struct queue_settle *s, queue_settle_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, s->worker);
	add(&a, s->sid);
	add(&a, s->office);
	add(&a, s->token);
	add_str(&a, queue_verb_word(s->verb));
	add(&a, or_empty(s->state));
	add(&a, or_empty(s->outcome));
	add(&a, or_empty(s->class_));
	add_int(&a, s->retryable);
	add(&a, s->detail);
	add_int(&a, s->http_status);
	add_int(&a, s->due_us);
	add_int(&a, s->now_us);
	add_int(&a, s->begun_us);
	add(&a, s->receipt);
	add(&a, s->receipt_alt);
	add_int(&a, s->generation);
	add_int(&a, s->site);
	add_int(&a, s->breaker_open_us);
	struct queue_call *c = prepare(q, "settle", &a, arg);
	c->deliver = deliver_settle;
	c->cb.settle = cb;
	queue_call_start(c);
}

/* --- WAIT ----------------------------------------------------------------------------------- */

static void deliver_wait(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	int64_t n = 0;
	if (e == ERR_OK)
		e = queue_reply_wait(r, &n);
	c->cb.wait(c->arg, e, n);
}

void queue_wait(struct queue *q, unsigned replicas, unsigned timeout_ms, queue_wait_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, "WAIT");
	add_int(&a, replicas);
	add_int(&a, timeout_ms);
	struct queue_call *c = queue_call_command(q, NULL, a.v, a.n);
	c->deliver = deliver_wait;
	c->cb.wait = cb;
	c->arg = arg;
	c->longer_ms = timeout_ms;
	queue_call_start(c);
}

/* --- REAP, ADOPT, HOLD ---------------------------------------------------------------------- */

static void deliver_count(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	bool fenced = false;
	int64_t n = 0;
	if (e == ERR_OK)
		e = queue_reply_count(r, &fenced, &n);
	c->cb.count(c->arg, e, fenced, n);
}

static void start_count(struct queue_call *c, queue_count_cb cb)
{
	c->deliver = deliver_count;
	c->cb.count = cb;
	queue_call_start(c);
}

void queue_reap(struct queue *q, const struct queue_reap *r, queue_count_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, r->worker);
	add_int(&a, r->now_us);
	add_int(&a, r->unknown.resend_after_us);
	add_int(&a, r->crashes_max);
	add_int(&a, r->unknown.house_resend);
	add_int(&a, r->unknown.senate_resend);
	add_int(&a, REAP_CHUNK);
	start_count(prepare(q, "reap", &a, arg), cb);
}

void queue_adopt(struct queue *q, const struct queue_adopt *x, queue_count_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, x->worker);
	add_int(&a, x->now_us);
	add_int(&a, x->unknown.resend_after_us);
	add_int(&a, x->unknown.house_resend);
	add_int(&a, x->unknown.senate_resend);
	struct span *all = xcalloc(x->n + a.n, sizeof(*all));
	memcpy(all, a.v, a.n * sizeof(*all));
	if (x->n > 0)
		memcpy(all + a.n, x->token, x->n * sizeof(*all));
	struct queue_slot *s = queue_call_find(q, "adopt");
	BUG_ON(s == NULL);
	struct queue_call *c = queue_call_script(q, s, all, x->n + a.n);
	c->arg = arg;
	free(all);
	start_count(c, cb);
}

void queue_hold(struct queue *q, const char *what, int64_t until_us, const char *who, const char *reason,
		queue_count_cb cb, void *arg)
{
	struct args a = { .n = 0 };
	add_str(&a, "hold");
	add_str(&a, who);
	add_str(&a, what);
	add_int(&a, until_us);
	add_str(&a, reason);
	start_count(prepare(q, "admin", &a, arg), cb);
}

/* --- the other side ------------------------------------------------------------------------- */

static void deliver_reply(const struct queue_call *c, enum err e, const struct resp_reply *r)
{
	c->cb.reply(c->arg, e, r);
}

static void start_reply(struct queue_call *c, queue_reply_cb cb, void *arg)
{
	c->deliver = deliver_reply;
	c->cb.reply = cb;
	c->arg = arg;
	queue_call_start(c);
}

void queue_enqueue(struct queue *q, const struct queue_enqueue *x, queue_reply_cb cb, void *arg)
{
	struct buf in;
	buf_init(&in, 1024);
	queue_key(q, "in", &in);
	struct args a = { .n = 0 };
	add_str(&a, "XADD");
	add(&a, span_buf(&in));
	add_str(&a, "*");
	add_str(&a, "sid");
	add(&a, x->sid);
	add_str(&a, "offices");
	add(&a, x->offices);
	add_str(&a, "job");
	add(&a, x->job);
	add_str(&a, "pri");
	add_int(&a, x->priority);
	if (x->expires_us > 0) {
		add_str(&a, "exp");
		add_int(&a, x->expires_us);
	}
	if (x->not_before_us > 0) {
		add_str(&a, "nbf");
		add_int(&a, x->not_before_us);
	}
	start_reply(queue_call_command(q, NULL, a.v, a.n), cb, arg);
	buf_clear(&in);
}

void queue_script(struct queue *q, const char *script, const struct span *argv, size_t n, queue_reply_cb cb, void *arg)
{
	struct queue_slot *s = queue_call_find(q, script);
	if (s == NULL)
		conn_answer(queue_conn(q), ERR_NOT_FOUND, cb, arg);
	else
		start_reply(queue_call_script(q, s, argv, n), cb, arg);
}

void queue_command(struct queue *q, const struct span *argv, size_t n, queue_reply_cb cb, void *arg)
{
	start_reply(queue_call_command(q, NULL, argv, n), cb, arg);
}
