/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"
#include "worker/keeper_internal.h"

#define OK          200
#define BAD         400
#define CONFLICT    409
#define TOO_MANY    429
#define UNAVAILABLE 503

/* --- answers ---------------------------------------------------------------------------------- */

static const char *act_name(enum status_act a)
{
	switch (a) {
	case STATUS_KEYS_ROTATE:
		return "rotate";
	case STATUS_KEYS_SIGNERS:
		return "signers";
	case STATUS_KEYS_REQUEST:
	default:
		return "request";
	}
}

static void answer(struct status_ticket *t, int code, const char *reason, const char *why)
{
	struct status_answer a = { .code = code, .type = "application/json" };
	buf_init(&a.body, 256);
	buf_add_str(&a.body, "{\"reason\":");
	text_json(span_str(reason), &a.body);
	if (why != NULL) {
		buf_add_str(&a.body, ",\"why\":");
		text_json(span_str(why), &a.body);
	}
	buf_add_byte(&a.body, '}');
	status_reply(t, &a);
	buf_clear(&a.body);
}

static void forget(struct keeper *k)
{
	struct keeper_act *a = &k->act;
	if (a->step == KEEPER_ACT_DOCUMENT)
		attestor_forget(k->o.attestor, a);
	uv_timer_stop(&a->timer);
	keyring_free(a->ring);
	buf_clear(&a->grant);
	buf_clear(&a->out);
	a->ring = NULL;
	a->ticket = NULL;
	a->step = KEEPER_ACT_NONE;
}

static void say(const struct keeper_act *a, const char *code)
{
	log_event(LOG_KEYS_ASKED, LOG_STR(F_COMMAND, act_name(a->what)), LOG_STR(F_CODE, code),
		  LOG_INT(F_BUNDLE, a->version));
}

static void fail(struct keeper *k, int code, const char *reason, const char *why)
{
	say(&k->act, why != NULL ? why : reason);
	answer(k->act.ticket, code, reason, why);
	forget(k);
}

static void on_timeout(uv_timer_t *t)
{
	fail(t->data, UNAVAILABLE, "kms", "timeout");
}

/* --- the way of a request --------------------------------------------------------------------- */

static void succeed(struct keeper *k)
{
	struct status_answer a = { .code = OK, .type = "application/cbor", .body = k->act.out };
	say(&k->act, "ok");
	status_reply(k->act.ticket, &a);
	forget(k);
}

static void documented(void *arg, enum err e, struct span document)
{
	struct keeper_act *a = arg;
	struct keeper *k = a->timer.data;
	a->step = KEEPER_ACT_KMS; /* nothing is asked of the attestor any more */
	if (e != ERR_OK) {
		fail(k, UNAVAILABLE, "kms", e == ERR_TIMEOUT ? "timeout" : "nsm");
	} else if (a->version <= k->version) {
		/* A newer bundle came through the store meanwhile; this one would be refused by all who have it. */
		fail(k, TOO_MANY, "busy", NULL);
	} else if (bundle_finish(document, &a->out) != ERR_OK) {
		fail(k, UNAVAILABLE, "kms", "too_large");
	} else {
		succeed(k);
	}
}

static struct bundle header(const struct keeper *k)
{
	return (struct bundle){
		.environment = span_str(k->c->environment),
		.queue = span_str(k->c->queue_name),
		.kms_key = span_str(k->c->kms_key),
		.version = k->act.version,
	};
}

static void keyed(void *arg, const struct kms_client_result *r)
{
	struct keeper *k = arg;
	struct keeper_act *a = &k->act;
	uint8_t hash[BUNDLE_HASH_SIZE];
	/* Another call cannot have begun meanwhile: there is one at a time. */
	if (a->step != KEEPER_ACT_KMS)
		return;
	if (!r->ok) {
		fail(k, UNAVAILABLE, "kms", r->why);
		return;
	}
	struct bundle b = header(k);
	struct bundle_content content = { .ring = a->ring, .signers = span_buf(&a->grant) };
	b.wrapped = r->blob;
	if (bundle_seal(&b, &content, r->data_key, &a->out, hash) != ERR_OK) {
		fail(k, UNAVAILABLE, "kms", "too_large");
		return;
	}
	a->step = KEEPER_ACT_DOCUMENT;
	attestor_ask(k->o.attestor, span_of(hash, sizeof hash), (struct span){ 0 }, documented, a);
}

static void ask_kms(struct keeper *k)
{
	struct kms_pair context[KMS_CONTEXT_MAX];
	char room[BUNDLE_CONTEXT_ROOM];
	struct bundle b = header(k);
	size_t n = bundle_context(&b, context, room);
	k->act.step = KEEPER_ACT_KMS;
	uv_timer_start(&k->act.timer, on_timeout, KEEPER_ACT_TIMEOUT_MS, 0);
	enum err e = kms_client_call(k->kms, KMS_GENERATE_DATA_KEY, context, n, (struct span){ 0 }, keyed, k);
	if (e == ERR_EXISTS)
		fail(k, TOO_MANY, "busy", NULL);
	else if (e != ERR_OK)
		fail(k, UNAVAILABLE, "kms", "kms_refused");
}

/* --- whether it may begin --------------------------------------------------------------------- */

/* NULL: it may. */
static const char *conflict(const struct keeper *k, enum status_act what, bool brings_grant)
{
	bool loaded = k->version != 0 && keyring_count(k->o.ring) > 0;
	if (what == STATUS_KEYS_REQUEST) {
		/* One that KMS does not open at the moment is there, too: a second first ring would take its place. */
		if (k->version != 0 || k->waiting)
			return "has_bundle";
	} else if (!loaded) {
		return "no_bundle";
	}
	return brings_grant && !keeper_has_authority(k) ? "no_authority" : NULL;
}

static uint64_t next_version(const struct keeper *k)
{
	if (k->version > 0)
		return k->version + 1;
	return k->c->bundle_version_min > 0 ? k->c->bundle_version_min : 1;
}

/* NULL: a->ring is the new one. */
static const char *make_ring(struct keeper *k, enum status_act what)
{
	const struct keyring_plan plan = { .delay_s = k->c->key_delay_s, .overlap_s = k->c->key_overlap_s };
	struct keyring *ring = keyring_copy(k->o.ring);
	enum err e = ERR_OK;
	if (what == STATUS_KEYS_REQUEST)
		e = keyring_first(ring, keeper_now_s());
	else if (what == STATUS_KEYS_ROTATE)
		e = keyring_rotate(ring, keeper_now_s(), &plan);
	if (e == ERR_OK) {
		k->act.ring = ring;
		return NULL;
	}
	keyring_free(ring);
	return e == ERR_EXISTS ? "pending" : "full";
}

static void begin(struct keeper *k, enum status_act what, struct span grant, struct status_ticket *t)
{
	struct keeper_act *a = &k->act;
	a->version = next_version(k);
	const char *reason = a->version > BUNDLE_VERSION_MAX ? "full" : make_ring(k, what);
	if (reason != NULL) {
		answer(t, CONFLICT, reason, NULL);
		return;
	}
	a->what = what;
	a->ticket = t;
	buf_init(&a->grant, GRANT_MAX);
	buf_add_span(&a->grant, grant);
	buf_init(&a->out, BUNDLE_MAX);
	ask_kms(k);
}

void keeper_act(struct keeper *k, enum status_act act, struct span body, struct status_ticket *t)
{
	const char *code, *reason;
	bool brings_grant = body.n > 0 || act == STATUS_KEYS_SIGNERS;
	if (!k->sealed) {
		answer(t, CONFLICT, "source", NULL);
		return;
	}
	/* The times of keys would be wrong, and stay so. */
	if (!keeper_clock_good(k)) {
		answer(t, UNAVAILABLE, "clock", NULL);
		return;
	}
	/* A bundle that waits for KMS comes first: who asks again and again would keep it away for ever. */
	if (k->act.step != KEEPER_ACT_NONE || k->unwrapping || k->busy) {
		answer(t, TOO_MANY, "busy", NULL);
		return;
	}
	reason = conflict(k, act, brings_grant);
	if (reason != NULL) {
		answer(t, CONFLICT, reason, NULL);
		return;
	}
	/* What was not read may have a bundle, whose place a first ring would take. */
	if (act == STATUS_KEYS_REQUEST && !k->store_read) {
		answer(t, TOO_MANY, "busy", NULL);
		return;
	}
	if (act == STATUS_KEYS_REQUEST && k->store_error != ERR_OK) {
		answer(t, UNAVAILABLE, "store", NULL);
		return;
	}
	if (brings_grant) {
		struct keeper_grant g = { 0 };
		reason = keeper_grant_check(k, body, &g, &code);
		keeper_grant_clear(&g);
		if (reason != NULL) {
			answer(t, BAD, "grant", NULL);
			return;
		}
	}
	begin(k, act, brings_grant ? body : span_buf(&k->grant.bytes), t);
}

void keeper_act_open(struct keeper *k)
{
	k->act.step = KEEPER_ACT_NONE;
	buf_init(&k->act.grant, GRANT_MAX);
	buf_init(&k->act.out, BUNDLE_MAX);
}

void keeper_act_close(struct keeper *k)
{
	if (k->act.step == KEEPER_ACT_NONE)
		return;
	answer(k->act.ticket, UNAVAILABLE, "draining", NULL);
	forget(k);
}
