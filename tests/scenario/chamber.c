/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/chamber.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "tests/scenario/letter.h"
#include "tests/scenario/redis.h"
#include "worker/base/clock.h"
#include "worker/http.h"

#define CONNECT_US 1000
#define WAY_US     1000
#define ANSWER_US  20000
#define RULES_MAX  64
#define POSTS_MAX  65536

struct request {
	TAILQ_ENTRY(request) link;
	struct http *http;
	const struct http_target *target;
	struct span body; /* empty: a GET */
	int64_t deadline_us, begun_us;
	http_cb cb;
	void *arg;
	struct chamber_rule rule;
	struct sim_event *event; /* what ends it, or its next step */
	size_t post;             /* with `left`: its place among the posts */
	bool left;
	bool early; /* answered before the body was sent */
};

TAILQ_HEAD(requests, request);

struct http {
	struct sim_process *process;
	struct requests requests;
	struct http_target *targets;
};

struct http_target {
	struct http_target *next;
	struct http *http;
	struct http_target_options o;
	enum cwc_chamber chamber;
};

static struct chamber_rule rules[RULES_MAX];
static size_t n_rules;
static struct chamber_post *posts;
static size_t n_posts;
static const char *lists[CWC_CHAMBERS];

/* --- rules ------------------------------------------------------------------------------------- */

void chamber_reset(void)
{
	n_rules = 0;
	n_posts = 0;
	if (posts == NULL)
		posts = xcalloc(POSTS_MAX, sizeof(*posts));
	lists[CWC_HOUSE] = lists[CWC_SENATE] = NULL;
}

void chamber_rule_add(const struct chamber_rule *r)
{
	BUG_ON(n_rules == RULES_MAX);
	rules[n_rules++] = *r;
}

static void rule_remove(size_t i)
{
	n_rules--;
	memmove(&rules[i], &rules[i + 1], (n_rules - i) * sizeof(rules[0]));
}

void chamber_rule_drop(const struct chamber_rule *r)
{
	for (size_t i = n_rules; i-- > 0;) {
		if (strcmp(rules[i].chamber, r->chamber) == 0 && strcmp(rules[i].office, r->office) == 0 &&
		    strcmp(rules[i].sid, r->sid) == 0)
			rule_remove(i);
	}
}

static bool fits(const char *want, const char *have)
{
	return want[0] == '\0' || strcmp(want, have) == 0;
}

static struct chamber_rule rule_for(const struct chamber_post *p)
{
	struct chamber_rule r = { .way = CHAMBER_ANSWERS, .status = 200, .retry_after_s = -1, .times = -1 };
	for (size_t i = n_rules; i-- > 0;) {
		if (!fits(rules[i].chamber, cwc_chamber_name(p->chamber)) || !fits(rules[i].office, p->office) ||
		    !fits(rules[i].sid, p->sid))
			continue;
		r = rules[i];
		if (rules[i].times > 0 && --rules[i].times == 0)
			rule_remove(i);
		break;
	}
	return r;
}

void chamber_offices(enum cwc_chamber c, const char *json)
{
	lists[c] = json;
}

size_t chamber_posts(const struct chamber_post **ret_first)
{
	*ret_first = posts;
	return n_posts;
}

unsigned chamber_taken(const char *delivery_id)
{
	unsigned n = 0;
	for (size_t i = 0; i < n_posts; i++)
		n += posts[i].taken && strcmp(posts[i].delivery_id, delivery_id) == 0;
	return n;
}

/* --- answers ----------------------------------------------------------------------------------- */

static void finish(struct request *q, struct http_answer *a)
{
	http_cb cb = q->cb;
	void *arg = q->arg;
	a->elapsed_us = clock_boot_us() - q->begun_us;
	TAILQ_REMOVE(&q->http->requests, q, link);
	sim_cancel(q->event);
	free(q);
	cb(arg, a);
}

static void fails(struct request *q, const char *why)
{
	struct http_answer a = {
		.fate = q->left ? HTTP_UNKNOWN : HTTP_NOT_SENT, .body_left = q->left, .retry_after_s = -1, .why = why
	};
	finish(q, &a);
}

static void on_answer(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	struct http_answer a = { .fate = HTTP_ANSWERED,
				 .body_left = q->left,
				 .status = q->rule.status,
				 .retry_after_s = q->rule.retry_after_s,
				 .body = span_str(q->rule.body == NULL ? "" : q->rule.body),
				 .why = "answered" };
	finish(q, &a);
}

static void on_refused(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	fails(q, "connect");
}

static void on_connect_timeout(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	fails(q, "connect_timeout");
}

static void on_reset(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	fails(q, "reset");
}

static void on_silence(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	fails(q, "first_byte_timeout");
}

/* --- a POST ------------------------------------------------------------------------------------ */

static void element(struct span xml, const char *open, char *out, size_t size)
{
	const uint8_t *p = span_find(xml, span_str(open));
	BUG_ON(p == NULL);
	p += strlen(open);
	size_t n = 0;
	while (p[n] != '<' && n + 1 < size)
		n++;
	memcpy(out, p, n);
	out[n] = '\0';
}

static struct chamber_post describe(const struct request *q)
{
	struct chamber_post p = { .chamber = q->target->chamber, .process = q->http->process };
	element(q->body, "<DeliveryId>", p.delivery_id, sizeof(p.delivery_id));
	element(q->body, "<MemberOffice>", p.office, sizeof(p.office));
	snprintf(p.sid, sizeof(p.sid), "%s", letter_sid(p.delivery_id));
	BUG_ON(p.sid[0] == '\0');
	return p;
}

/* The Senate keeps ids; neither takes what it answers with anything but a success. */
static bool takes(struct chamber_rule *r, const struct chamber_post *p)
{
	bool plain = r->way == CHAMBER_ANSWERS || r->way == CHAMBER_SLOW;
	bool wants = plain ? r->status / 100 == 2 : r->takes;
	if (!wants || p->chamber != CWC_SENATE || chamber_taken(p->delivery_id) == 0)
		return wants;
	if (plain)
		r->status = 409;
	return false;
}

/* The chamber has read it. */
static void on_arrival(void *arg)
{
	struct chamber_post *p = arg;
	const char *argv[] = { p->sid, p->office };
	const char *state = redis_check("state", argv, 2);
	p->wall_us = sim_wall_us();
	snprintf(p->state, sizeof(p->state), "%s", state == NULL ? "none" : state);
}

/* The body leaves: from here on the letter is on its way, whatever becomes of the worker. */
static void leaves(struct request *q)
{
	struct chamber_rule *r = &q->rule;
	BUG_ON(n_posts == POSTS_MAX);
	q->left = true;
	q->post = n_posts;
	posts[n_posts] = describe(q);
	posts[n_posts].taken = takes(r, &posts[n_posts]);
	sim_in(WAY_US, NULL, on_arrival, NULL, &posts[n_posts++]);
	int64_t patience_us = q->target->o.first_byte_timeout_ms * SIM_MS_US;
	int64_t after_us = WAY_US + (r->after_us > 0 && r->way != CHAMBER_SLOW ? r->after_us : ANSWER_US);
	bool silent = r->way == CHAMBER_SILENT || after_us > patience_us;
	q->event = sim_in(silent ? patience_us : after_us, q->http->process,
			  silent                     ? on_silence
			  : r->way == CHAMBER_RESETS ? on_reset
						     : on_answer,
			  NULL, q);
}

static void on_connected(void *arg)
{
	struct request *q = arg;
	q->event = NULL;
	if (clock_boot_us() > q->deadline_us)
		fails(q, "too_late");
	else if (q->rule.way == CHAMBER_EARLY)
		q->event = sim_in(ANSWER_US, q->http->process, on_answer, NULL, q);
	else
		leaves(q);
}

static struct request *request_new(struct http_target *t, http_cb cb, void *arg)
{
	struct request *q = xcalloc(1, sizeof(*q));
	*q = (struct request){ .http = t->http, .target = t, .cb = cb, .arg = arg, .begun_us = clock_boot_us() };
	TAILQ_INSERT_TAIL(&t->http->requests, q, link);
	return q;
}

void http_post(struct http_target *t, struct span body, int64_t deadline_boot_us, http_cb cb, void *arg)
{
	struct request *q = request_new(t, cb, arg);
	q->body = body;
	q->deadline_us = deadline_boot_us;
	struct chamber_post p = describe(q);
	q->rule = rule_for(&p);
	int64_t after_us = CONNECT_US;
	sim_fn next = on_connected;
	if (q->rule.way == CHAMBER_REFUSES) {
		next = on_refused;
	} else if (q->rule.way == CHAMBER_HANGS) {
		next = on_connect_timeout;
		after_us = t->o.connect_timeout_ms * SIM_MS_US;
	} else if (q->rule.way == CHAMBER_SLOW) {
		after_us = q->rule.after_us;
	}
	q->event = sim_in(after_us, t->http->process, next, NULL, q);
}

/* --- the rest of worker/http.h ------------------------------------------------------------------ */

void http_get(struct http_target *t, const char *url, http_cb cb, void *arg)
{
	struct request *q = request_new(t, cb, arg);
	const char *json = lists[t->chamber];
	(void)url;
	q->rule = (struct chamber_rule){ .status = json == NULL ? 500 : 200, .body = json, .retry_after_s = -1 };
	q->event = sim_in(ANSWER_US, t->http->process, on_answer, NULL, q);
}

void http_cancel_all(struct http *h)
{
	struct request *last = TAILQ_LAST(&h->requests, requests), *q = TAILQ_FIRST(&h->requests);
	while (q != NULL) {
		struct request *next = q == last ? NULL : TAILQ_NEXT(q, link);
		fails(q, "cancelled");
		q = next;
	}
}

enum err http_new(uv_loop_t *loop, const struct http_options *o, struct http **ret_http)
{
	(void)o;
	struct http *h = xcalloc(1, sizeof(*h));
	h->process = loop->data;
	TAILQ_INIT(&h->requests);
	*ret_http = h;
	return ERR_OK;
}

enum err http_target_new(struct http *h, const struct http_target_options *o, struct http_target **ret_target,
			 const char **ret_rule)
{
	(void)ret_rule;
	struct http_target *t = xcalloc(1, sizeof(*t));
	t->http = h;
	t->o = *o;
	t->chamber = strstr(o->url, "senate.gov") != NULL ? CWC_SENATE : CWC_HOUSE;
	t->next = h->targets;
	h->targets = t;
	*ret_target = t;
	return ERR_OK;
}

void http_target_free(struct http_target *t)
{
	(void)t; /* with its client */
}

void http_free(struct http *h)
{
	struct request *q;
	struct http_target *t;
	if (h == NULL)
		return;
	while ((q = TAILQ_FIRST(&h->requests)) != NULL) {
		TAILQ_REMOVE(&h->requests, q, link);
		sim_cancel(q->event);
		free(q);
	}
	while ((t = h->targets) != NULL) {
		h->targets = t->next;
		free(t);
	}
	free(h);
}
