/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/keeper_internal.h"

/* --- refusals --------------------------------------------------------------------------------- */

/* Why a bundle is not taken: stable names. `code` is what the part that found it says, or "none". */
struct verdict {
	const char *reason, *code;
};

#define NO_CODE "none"

static void refuse(struct keeper *k, struct verdict v, uint64_t version, bool final)
{
	if (keeper_refuse(k, k->bundle_id, final))
		log_event(LOG_BUNDLE_REFUSED, LOG_STR(F_REASON, v.reason), LOG_STR(F_CODE, v.code),
			  LOG_INT(F_BUNDLE, version));
}

/* --- grants ----------------------------------------------------------------------------------- */

bool keeper_has_authority(const struct keeper *k)
{
	return k->c->authority.kid[0] != '\0';
}

void keeper_grant_clear(struct keeper_grant *g)
{
	buf_clear(&g->bytes);
	*g = (struct keeper_grant){ 0 };
}

static void copy_grant(const struct grant *from, struct span bytes, struct keeper_grant *to)
{
	*to = (struct keeper_grant){ .serial = from->serial, .n = from->n_signers };
	buf_init(&to->bytes, GRANT_MAX);
	buf_add_span(&to->bytes, bytes);
	for (size_t i = 0; i < from->n_signers; i++) {
		memcpy(to->signer[i].kid, from->signer[i].kid, sizeof to->signer[i].kid);
		memcpy(to->signer[i].public_key, from->signer[i].public_key, sizeof to->signer[i].public_key);
		to->signer[i].not_before_s = from->signer[i].not_before_s;
		to->signer[i].not_after_s = from->signer[i].not_after_s;
	}
}

const char *keeper_grant_check(const struct keeper *k, struct span grant, struct keeper_grant *ret_grant,
			       const char **ret_code)
{
	const struct config_signer *a = &k->c->authority;
	struct grant g;
	*ret_code = NO_CODE;
	if (!keeper_has_authority(k))
		return "grant_authority";
	enum err e = grant_verify(grant, span_str(a->kid), a->public_key, &g);
	if (e != ERR_OK) {
		*ret_code = err_name(e);
		return "grant";
	}
	if (!span_eq_str(g.environment, k->c->environment))
		return "grant_environment";
	if (!span_eq_str(g.queue, k->c->queue_name))
		return "grant_queue";
	/* Another one of the same serial is no later one: it could be taken back again. */
	if (g.serial < k->grant.serial || (g.serial == k->grant.serial && !span_eq(grant, span_buf(&k->grant.bytes))))
		return "grant_serial";
	copy_grant(&g, grant, ret_grant);
	return NULL;
}

/* What a bundle brings. None at all is older than any. */
static const char *check_signers(const struct keeper *k, struct span signers, struct keeper_grant *ret_grant,
				 const char **ret_code)
{
	if (signers.n > 0)
		return keeper_grant_check(k, signers, ret_grant, ret_code);
	*ret_code = NO_CODE;
	return k->grant.serial > 0 ? "grant_serial" : NULL;
}

/* --- taking ----------------------------------------------------------------------------------- */

/* From here on it is the one in use: `ring` is left empty. */
static void use(struct keeper *k, struct keyring *ring, struct keeper_grant *grant)
{
	keyring_replace(k->o.ring, ring);
	k->version = k->bundle.version;
	memcpy(k->hash, k->bundle.hash, sizeof k->hash);
	keeper_grant_clear(&k->grant);
	k->grant = *grant;
	*grant = (struct keeper_grant){ 0 };
	k->waiting = false;
	k->progress = true;
	log_event(LOG_BUNDLE_LOADED, LOG_INT(F_BUNDLE, k->version), LOG_INT(F_COUNT, keyring_count(k->o.ring)));
	(void)keeper_look_at_keys(k);
	k->o.changed(k->o.arg, k->version);
}

static struct verdict open_and_check(struct keeper *k, const uint8_t *data_key, struct keyring *ring,
				     struct keeper_grant *ret_grant)
{
	struct bundle_content content = { .ring = ring };
	enum err e = bundle_open(&k->bundle, data_key, &k->plain, &content);
	struct verdict v = { .code = NO_CODE };
	if (e != ERR_OK)
		return (struct verdict){ "open", err_name(e) };
	v.reason = check_signers(k, content.signers, ret_grant, &v.code);
	/* A wrong clock would refuse it for good: what is over is wiped when the clock is right again. */
	if (v.reason != NULL || !keeper_clock_good(k))
		return v;
	keyring_expire(ring, keeper_now_s(), NULL, NULL);
	if (keyring_count(ring) == 0)
		v.reason = "keys";
	return v;
}

static void take(struct keeper *k, const uint8_t *data_key)
{
	struct keyring *ring = keyring_new();
	struct keeper_grant grant = { 0 };
	struct verdict v = open_and_check(k, data_key, ring, &grant);
	buf_reset(&k->plain);
	if (v.reason == NULL) {
		use(k, ring, &grant);
	} else {
		k->waiting = false;
		refuse(k, v, k->bundle.version, true);
	}
	keeper_grant_clear(&grant);
	keyring_free(ring);
}

static void kms_failed(struct keeper *k, const char *why, int http_status)
{
	k->kms_why = why;
	log_event(LOG_KMS_FAILED, LOG_STR(F_REASON, why), LOG_INT(F_HTTP_STATUS, http_status),
		  LOG_INT(F_BUNDLE, k->bundle.version));
}

static void unwrapped(void *arg, const struct kms_client_result *r)
{
	struct keeper *k = arg;
	k->unwrapping = false;
	if (r->ok)
		take(k, r->data_key);
	else
		kms_failed(k, r->why, r->http_status);
	keeper_go_on(k);
}

static void unwrap(struct keeper *k)
{
	struct kms_pair context[KMS_CONTEXT_MAX];
	char room[BUNDLE_CONTEXT_ROOM];
	size_t n = bundle_context(&k->bundle, context, room);
	enum err e = kms_client_call(k->kms, KMS_DECRYPT, context, n, k->bundle.wrapped, unwrapped, k);
	k->waiting = e == ERR_OK || e == ERR_EXISTS;
	k->unwrapping = e == ERR_OK;
	k->busy = e == ERR_EXISTS;
	if (!k->waiting)
		refuse(k, (struct verdict){ "wrapped", err_name(e) }, k->bundle.version, true);
}

/* --- offering --------------------------------------------------------------------------------- */

/* What its header says; NULL: it may be for us. */
static const char *not_for_us(const struct keeper *k, const struct bundle *b)
{
	if (!span_eq_str(b->environment, k->c->environment))
		return "environment";
	if (!span_eq_str(b->queue, k->c->queue_name))
		return "queue";
	if (!span_eq_str(b->kms_key, k->c->kms_key))
		return "kms_key";
	if (b->version < k->c->bundle_version_min)
		return "version_min";
	if (b->version < k->version)
		return "version_old";
	return b->version == k->version ? "version_other" : NULL;
}

static bool in_use(const struct keeper *k, const struct bundle *b)
{
	return b->version == k->version && memcmp(b->hash, k->hash, sizeof k->hash) == 0;
}

/* By what a maker's document may be of the future. A wrong clock says nothing of that. */
static int64_t latest_ms(const struct keeper *k)
{
	return keeper_clock_good(k) ? clock_wall_us() / 1000 : INT64_MAX;
}

void keeper_bundle_offer(struct keeper *k)
{
	const struct bundle *b = &k->bundle;
	k->waiting = false;
	if (k->items.bundle.n == 0)
		return;
	keeper_item_id(k->items.bundle, k->bundle_id);
	if (keeper_is_refused_for_good(k, k->bundle_id))
		return;
	enum err e = bundle_parse(k->items.bundle, &k->bundle);
	if (e != ERR_OK) {
		refuse(k, (struct verdict){ "form", err_name(e) }, 0, false);
		return;
	}
	if (in_use(k, b))
		return;
	const char *reason = not_for_us(k, b);
	if (reason != NULL) {
		refuse(k, (struct verdict){ reason, NO_CODE }, b->version, false);
		return;
	}
	enum attest_code code =
		bundle_check_maker(b, attestor_anchor(k->o.attestor), attestor_pcrs(k->o.attestor), latest_ms(k));
	if (code != ATTEST_OK) {
		refuse(k, (struct verdict){ "maker", attest_code_name(code) }, b->version, false);
		return;
	}
	unwrap(k);
}
