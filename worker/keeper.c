/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/keeper.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"
#include "worker/keeper_internal.h"

/* After the last of them the shift would leave the cap behind anyway. */
#define DOUBLINGS_MAX 16

int64_t keeper_now_s(void)
{
	return clock_wall_us() / 1000000;
}

/* --- the clock -------------------------------------------------------------------------------- */

static int64_t clock_offset_us(void)
{
	return clock_wall_us() - clock_boot_us();
}

/* A step shows here at once: a key that is wiped before the worker looks at the clock again is gone. */
bool keeper_clock_good(const struct keeper *k)
{
	int64_t stepped_us = k->clock_told ? clock_offset_us() - k->clock_offset_us : 0;
	int64_t max_us = (int64_t)k->c->skew_max_ms * 1000;
	return !k->clock_trouble && stepped_us <= max_us && stepped_us >= -max_us;
}

static void look_again(struct keeper *k);

void keeper_set_clock_trouble(struct keeper *k, bool trouble)
{
	bool over = k->clock_trouble && !trouble;
	k->clock_trouble = trouble;
	k->clock_told = true;
	k->clock_offset_us = clock_offset_us();
	if (over)
		look_again(k);
}

/* --- refusals --------------------------------------------------------------------------------- */

void keeper_item_id(struct span item, uint8_t ret_id[KEEPER_ID_SIZE])
{
	crypto_hash_sha256(ret_id, item.p, item.n);
}

/* Its place, or KEEPER_REFUSALS. */
static size_t find_refusal(const struct keeper *k, const uint8_t id[KEEPER_ID_SIZE])
{
	size_t i = 0;
	while (i < KEEPER_REFUSALS && memcmp(k->refusal[i].id, id, KEEPER_ID_SIZE) != 0)
		i++;
	return i;
}

bool keeper_is_refused_for_good(const struct keeper *k, const uint8_t id[KEEPER_ID_SIZE])
{
	size_t i = find_refusal(k, id);
	return i < KEEPER_REFUSALS && k->refusal[i].final;
}

bool keeper_refuse(struct keeper *k, const uint8_t id[KEEPER_ID_SIZE], bool final)
{
	size_t i = find_refusal(k, id);
	bool said = i < KEEPER_REFUSALS;
	if (!said) {
		i = k->next_refusal++ % KEEPER_REFUSALS;
		k->refusal[i] = (struct keeper_refusal){ 0 };
		memcpy(k->refusal[i].id, id, KEEPER_ID_SIZE);
	}
	k->refusal[i].final = k->refusal[i].final || final;
	return !said;
}

/* --- keys and time ---------------------------------------------------------------------------- */

static const struct keeper_known *find_known(const struct keeper *k, const char *id)
{
	for (size_t i = 0; i < k->n_known; i++)
		if (strcmp(k->known[i].id, id) == 0)
			return &k->known[i];
	return NULL;
}

static void say_changed(const struct keeper_known *key, enum keyring_state state)
{
	log_event(LOG_KEY_CHANGED, LOG_STR(F_KEY_ID, key->id), LOG_STR(F_PROFILE, keyring_profile_name(key->profile)),
		  LOG_STR(F_STATE, keyring_state_name(state)));
}

/* What the ring has now, against what it had. */
static bool say_keys(struct keeper *k, int64_t now_s)
{
	struct keeper_known now[KEYRING_KEYS_MAX] = { 0 };
	size_t n = keyring_count(k->o.ring);
	bool changed = false;
	for (size_t i = 0; i < n; i++) {
		const struct keyring_key *key = keyring_at(k->o.ring, i);
		const struct keeper_known *before = find_known(k, key->id);
		now[i].profile = key->profile;
		now[i].state = keyring_state(key, now_s);
		memcpy(now[i].id, key->id, sizeof now[i].id);
		changed = changed || before == NULL || before->state != now[i].state;
		if (before == NULL)
			log_event(LOG_KEY_LOADED, LOG_STR(F_KEY_ID, key->id),
				  LOG_STR(F_PROFILE, keyring_profile_name(key->profile)),
				  LOG_STR(F_STATE, keyring_state_name(now[i].state)));
		else if (before->state != now[i].state)
			say_changed(&now[i], now[i].state);
	}
	for (size_t i = 0; i < k->n_known; i++) {
		if (keyring_find(k->o.ring, span_str(k->known[i].id)) != NULL)
			continue;
		say_changed(&k->known[i], KEYRING_DESTROYED);
		changed = true;
	}
	memcpy(k->known, now, sizeof k->known);
	k->n_known = n;
	return changed;
}

static void on_expiry(uv_timer_t *t)
{
	look_again(t->data);
}

static void look_again(struct keeper *k)
{
	if (!keeper_clock_good(k))
		uv_timer_start(&k->expiry, on_expiry, KEEPER_LOOK_MS, 0);
	else if (keeper_look_at_keys(k))
		k->o.changed(k->o.arg, k->version);
}

bool keeper_look_at_keys(struct keeper *k)
{
	int64_t now_ms = clock_wall_us() / 1000, now_s = now_ms / 1000, wait_ms = KEEPER_LOOK_MS;
	if (keeper_clock_good(k))
		keyring_expire(k->o.ring, now_s, NULL, NULL);
	bool changed = say_keys(k, now_s);
	int64_t next_s = keyring_next_change(k->o.ring, now_s);
	if (next_s > now_s && next_s < now_s + KEEPER_LOOK_MS / 1000)
		wait_ms = next_s * 1000 - now_ms;
	uv_timer_start(&k->expiry, on_expiry, (uint64_t)wait_ms, 0);
	return changed;
}

/* --- the cycle -------------------------------------------------------------------------------- */

const char *keeper_missing(const struct keeper *k)
{
	bool no_ring = keyring_count(k->o.ring) == 0;
	if (!k->sealed || k->complete || (!no_ring && keeper_secrets_there(k)))
		return NULL;
	/* What was not read yet may have a bundle: who is told "no_bundle" has a first one made. */
	if (!k->store_read || k->store_error != ERR_OK)
		return "store";
	if (!no_ring)
		return "no_secrets";
	return k->kms_why != NULL ? "kms" : "no_bundle";
}

unsigned keeper_wait_ms(unsigned failures, unsigned refresh_ms, bool kms, uint32_t random)
{
	unsigned cap = !kms && refresh_ms < KEEPER_BACKOFF_CAP_MS ? refresh_ms : KEEPER_BACKOFF_CAP_MS;
	unsigned base = refresh_ms < KEEPER_BACKOFF_MS ? refresh_ms : KEEPER_BACKOFF_MS;
	unsigned doublings = failures - 1 < DOUBLINGS_MAX ? failures - 1 : DOUBLINGS_MAX;
	uint64_t longest = (uint64_t)base << doublings;
	unsigned wait = longest < cap ? (unsigned)longest : cap;
	return wait - wait / 2 + random % (wait / 2 + 1);
}

static void on_tell(uv_timer_t *t)
{
	struct keeper *k = t->data;
	k->o.complete(k->o.arg);
}

/* From a turn of its own: whoever is told may free us. */
static void note_complete(struct keeper *k)
{
	if (k->complete || keyring_count(k->o.ring) == 0 || keeper_missing(k) != NULL)
		return;
	k->complete = true;
	uv_timer_start(&k->tell, on_tell, 0, 0);
}

static void on_read_time(uv_timer_t *t);

static void next_cycle(struct keeper *k)
{
	bool kms = k->kms_why != NULL;
	const char *missing = keeper_missing(k);
	unsigned wait_ms = k->c->key_refresh_ms;
	if (k->progress)
		k->failures = 0;
	if (k->busy) {
		wait_ms = KEEPER_BUSY_MS;
	} else if (missing != NULL || kms || k->store_error != ERR_OK) {
		k->failures++;
		wait_ms = keeper_wait_ms(k->failures, k->c->key_refresh_ms, kms, randombytes_random());
	} else {
		k->failures = 0;
	}
	if (missing != NULL && missing != k->said)
		log_event(LOG_KEYS_MISSING, LOG_STR(F_REASON, missing), LOG_INT(F_WAIT_MS, wait_ms));
	k->said = missing;
	uv_timer_start(&k->read, on_read_time, wait_ms, 0);
}

void keeper_go_on(struct keeper *k)
{
	if (!k->waiting)
		k->kms_why = NULL;
	keeper_secrets_take(k);
	note_complete(k);
	next_cycle(k);
}

static void read_store(struct keeper *k, enum err e, struct span bytes)
{
	enum err before = k->store_error;
	buf_reset(&k->store);
	k->items = (struct store_items){ 0 };
	if (e == ERR_OK) {
		buf_add_span(&k->store, bytes);
		e = store_parse(span_buf(&k->store), &k->items);
	}
	k->store_error = e;
	k->store_read = true;
	if (e != ERR_OK && e != before)
		log_event(LOG_STORE_FAILED, LOG_STR(F_REASON, err_name(e)),
			  LOG_STR(F_ADDRESS, k->c->store_address.text));
}

static void on_store(void *arg, enum err e, struct span bytes)
{
	struct keeper *k = arg;
	k->fetch = NULL;
	k->progress = k->busy = false;
	read_store(k, e, bytes);
	if (k->store_error == ERR_OK)
		keeper_bundle_offer(k);
	if (!k->unwrapping)
		keeper_go_on(k);
}

static void on_read_time(uv_timer_t *t)
{
	struct keeper *k = t->data;
	BUG_ON(k->fetch != NULL || k->unwrapping);
	k->fetch = store_fetch(k->loop, &k->c->store_address, on_store, k);
}

/* --- what others ask -------------------------------------------------------------------------- */

const char *keeper_secret(const struct keeper *k, enum sealed_name n)
{
	return k->secret[n];
}

const struct job_signer *keeper_granted(const struct keeper *k, size_t *ret_n)
{
	*ret_n = k->grant.n;
	return k->grant.signer;
}

struct span keeper_grant(const struct keeper *k)
{
	return span_buf(&k->grant.bytes);
}

uint64_t keeper_bundle(const struct keeper *k)
{
	return k->version;
}

static const char *source_name(enum config_key_source s)
{
	switch (s) {
	case CONFIG_KEYS_SEALED:
		return "sealed";
	case CONFIG_KEYS_FILE:
		return "file";
	case CONFIG_KEYS_BOOT:
	default:
		return "boot";
	}
}

static void add_grant(const struct keeper_grant *g, struct buf *out)
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof hash + 1];
	crypto_hash_sha256(hash, g->bytes.p, g->bytes.n);
	text_hex(span_of(hash, sizeof hash), hex);
	buf_add_str(out, "{\"serial\":");
	buf_add_uint(out, g->serial);
	buf_add_str(out, ",\"signers\":[");
	for (size_t i = 0; i < g->n; i++) {
		buf_add_str(out, i > 0 ? ",{\"kid\":" : "{\"kid\":");
		text_json(span_str(g->signer[i].kid), out);
		buf_add_str(out, ",\"not_before\":");
		buf_add_int(out, g->signer[i].not_before_s);
		buf_add_str(out, ",\"not_after\":");
		buf_add_int(out, g->signer[i].not_after_s);
		buf_add_byte(out, '}');
	}
	buf_add_str(out, "],\"sha256\":\"");
	buf_add_str(out, hex);
	buf_add_str(out, "\",\"bytes\":\"");
	text_base64(span_buf(&g->bytes), out);
	buf_add_str(out, "\"}");
}

void keeper_keys(const struct keeper *k, struct buf *out)
{
	const char *missing = keeper_missing(k);
	buf_add_str(out, "\"source\":");
	text_json(span_str(source_name(k->c->key_source)), out);
	buf_add_str(out, ",\"missing\":");
	if (missing != NULL)
		text_json(span_str(missing), out);
	else
		buf_add_str(out, "null");
	buf_add_str(out, ",\"grant\":");
	if (k->grant.bytes.n > 0)
		add_grant(&k->grant, out);
	else
		buf_add_str(out, "null");
}

/* --- life ------------------------------------------------------------------------------------- */

static enum err open_sealed(struct keeper *k, const char **ret_key, const char **ret_rule)
{
	const struct config *c = k->c;
	*ret_key = "keys.source";
	*ret_rule = "sealed needs a security module (attest.device)";
	if (k->o.attestor == NULL)
		return ERR_CONFIG;
	*ret_key = "keys.kms_key";
	struct kms_client_options o = {
		.bridge_dir = c->bridge_dir,
		.key_arn = c->kms_key,
		.ca_file = c->kms_ca_file,
		.kms_address = c->kms_address.text[0] != '\0' ? &c->kms_address : NULL,
		.imds_address = c->credentials_address.text[0] != '\0' ? &c->credentials_address : NULL,
		.nsm = attestor_nsm(k->o.attestor),
	};
	TRY(kms_client_new(k->loop, &o, &k->kms, ret_rule));
	secret_arena(&k->plain, BUNDLE_PLAIN_MAX);
	buf_init(&k->store, STORE_MAX);
	return ERR_OK;
}

enum err keeper_new(uv_loop_t *loop, const struct keeper_options *o, struct keeper **ret_keeper, const char **ret_key,
		    const char **ret_rule)
{
	struct keeper *k = xcalloc(1, sizeof *k);
	k->loop = loop;
	k->o = *o;
	k->c = o->config;
	k->sealed = k->c->key_source == CONFIG_KEYS_SEALED;
	enum err e = k->sealed ? open_sealed(k, ret_key, ret_rule) : ERR_OK;
	if (e != ERR_OK) {
		free(k);
		return e;
	}
	k->handles = 4;
	uv_timer_init(loop, &k->read);
	uv_timer_init(loop, &k->expiry);
	uv_timer_init(loop, &k->tell);
	uv_timer_init(loop, &k->act.timer);
	k->read.data = k->expiry.data = k->tell.data = k->act.timer.data = k;
	keeper_act_open(k);
	(void)keeper_look_at_keys(k);
	if (k->sealed)
		uv_timer_start(&k->read, on_read_time, 0, 0);
	else
		note_complete(k);
	*ret_keeper = k;
	return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
	struct keeper *k = h->data;
	if (--k->handles == 0)
		xfree_wipe(k, sizeof *k);
}

void keeper_free(struct keeper *k)
{
	if (k == NULL)
		return;
	keeper_act_close(k);
	if (k->fetch != NULL)
		store_cancel(k->fetch);
	kms_client_free(k->kms);
	keeper_secrets_free(k);
	keeper_grant_clear(&k->grant);
	buf_clear(&k->store);
	secret_arena_free(&k->plain);
	uv_close((uv_handle_t *)&k->read, on_closed);
	uv_close((uv_handle_t *)&k->expiry, on_closed);
	uv_close((uv_handle_t *)&k->tell, on_closed);
	uv_close((uv_handle_t *)&k->act.timer, on_closed);
}
