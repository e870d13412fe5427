/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the keeper share: what lies in the store, grants, the keeper itself. Rings, bundles, secrets,
 * grants and documents are the real ones; all else is of keeper_world.h. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_KEEPER_FIXTURE_H
#define TESTS_UNIT_KEEPER_FIXTURE_H

#include "tests/unit/keeper_world.h"

/* --- what lies in the store ------------------------------------------------------------------- */

/* What a bundle is made of. */
struct recipe {
	const char *environment, *queue, *kms_key;
	uint64_t version;
	struct keyring *ring; /* NULL: a first one of its own */
	struct span signers;
	bool other_pcrs, other_hash, early; /* of the maker: its document is an hour ahead of time */
};

#define RECIPE(v) ((struct recipe){ .environment = "sandbox", .queue = "q", .kms_key = KMS_KEY, .version = (v) })

UNUSED static void add_bundle(const struct recipe *r, struct buf *out)
{
	struct keyring *own = keyring_new();
	struct bundle b = { .environment = span_str(r->environment),
			    .queue = span_str(r->queue),
			    .kms_key = span_str(r->kms_key),
			    .wrapped = span_lit("wrapped"),
			    .version = r->version };
	struct bundle_content content = { .ring = r->ring != NULL ? r->ring : own, .signers = r->signers };
	struct nsm_sim *sim = r->other_pcrs ? w.other : w.sim;
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct buf bundle, maker;
	buf_init(&bundle, BUNDLE_MAX);
	buf_init(&maker, NSM_ANSWER_MAX);
	assert_err(keyring_first(own, w.now_ms / 1000), ERR_OK);
	assert_err(bundle_seal(&b, &content, w.data_key, &bundle, hash), ERR_OK);
	hash[0] ^= r->other_hash ? 1 : 0;
	nsm_sim_set_now(sim, w.now_ms + (r->early ? 3600 * 1000 : 0));
	document(sim, hash, &maker);
	assert_err(bundle_finish(span_buf(&maker), &bundle), ERR_OK);
	buf_add_span(out, span_buf(&bundle));
	buf_clear(&bundle);
	buf_clear(&maker);
	keyring_free(own);
}

UNUSED static const struct keyring_key *key_of(const struct keyring *r, enum keyring_profile p)
{
	for (size_t i = 0; i < keyring_count(r); i++)
		if (keyring_at(r, i)->profile == p)
			return keyring_at(r, i);
	return NULL;
}

UNUSED static void add_secret_for(struct buf *out, const struct keyring *r, enum sealed_name name,
				  const char *environment, const char *queue, const char *text)
{
	assert_err(sealed_make(name, span_str(environment), span_str(queue), key_of(r, KEYRING_SECRET), span_str(text),
			       out),
		   ERR_OK);
}

/* Answers a read of the store. */
UNUSED static void store_has(const struct buf *b)
{
	store_cb cb = w.store_cb;
	assert_non_null(cb);
	w.store_cb = NULL;
	cb(w.store_arg, ERR_OK, b == NULL ? (struct span){ 0 } : span_buf(b));
}

UNUSED static void store_fails(enum err e)
{
	store_cb cb = w.store_cb;
	assert_non_null(cb);
	w.store_cb = NULL;
	cb(w.store_arg, e, (struct span){ 0 });
}

/* The next read; how long it took until then. */
UNUSED static int64_t next_read(void)
{
	int64_t begun = w.now_ms;
	while (w.store_cb == NULL) {
		assert_true(w.now_ms - begun <= 2 * REFRESH);
		pass(1);
	}
	return w.now_ms - begun;
}

/* What was opened lies nowhere but in the ring and with the secrets. */
UNUSED static void assert_nothing_left(void)
{
	assert_int_equal(w.k->plain.n, 0);
	for (size_t i = 0; i < w.k->plain.cap; i++)
		assert_int_equal(w.k->plain.p[i], 0);
}

/* A bundle comes by the next read, and KMS opens it. */
UNUSED static void load(const struct recipe *r)
{
	struct buf b;
	uint64_t before = keeper_bundle(w.k);
	buf_init(&b, STORE_MAX);
	add_bundle(r, &b);
	next_read();
	store_has(&b);
	kms_answers();
	assert_true(keeper_bundle(w.k) > before);
	assert_nothing_left();
	buf_clear(&b);
}

/* --- grants ----------------------------------------------------------------------------------- */

static uint8_t authority_secret[COSE_ED25519_SECRET];

/* For one signer, "app-SERIAL". */
UNUSED static void make_grant(struct buf *out, const char *environment, const char *queue, uint64_t serial)
{
	struct grant g = { .environment = span_str(environment),
			   .queue = span_str(queue),
			   .authority = span_lit("authority"),
			   .serial = serial,
			   .n_signers = 1 };
	snprintf(g.signer[0].kid, sizeof g.signer[0].kid, "app-%u", (unsigned)serial);
	memset(g.signer[0].public_key, (int)serial, sizeof g.signer[0].public_key);
	g.signer[0].not_before_s = NOW_S;
	g.signer[0].not_after_s = NOW_S + 30 * DAY_S;
	buf_reset(out);
	assert_err(grant_sign(&g, authority_secret, out), ERR_OK);
}

UNUSED static void set_authority(void)
{
	uint8_t seed[crypto_sign_SEEDBYTES] = { 7 };
	memcpy(w.config.authority.kid, "authority", sizeof "authority");
	crypto_sign_seed_keypair(w.config.authority.public_key, authority_secret, seed);
}

/* --- the keeper ------------------------------------------------------------------------------- */

static void on_changed(void *arg, uint64_t bundle)
{
	assert_ptr_equal(arg, &w);
	w.changed++;
	w.changed_to = bundle;
}

static void on_complete(void *arg)
{
	assert_ptr_equal(arg, &w);
	w.complete++;
}

static enum err try_keeper(struct attestor *a, const char **ret_key)
{
	const struct keeper_options o = { .config = &w.config,
					  .attestor = a,
					  .ring = w.ring,
					  .changed = on_changed,
					  .complete = on_complete,
					  .arg = &w };
	const char *rule;
	return keeper_new(NULL, &o, &w.k, ret_key, &rule);
}

UNUSED static void open_keeper(void)
{
	const char *key;
	assert_err(try_keeper(w.config.key_source == CONFIG_KEYS_SEALED ? &the_attestor : NULL, &key), ERR_OK);
	assert_int_equal(w.complete, 0);
}

UNUSED static void close_keeper(void)
{
	keeper_free(w.k);
	w.k = NULL;
	close_timers();
	assert_null(w.store_cb);
	assert_false(w.kms_open);
	assert_null(w.ask_cb);
}

UNUSED static void missing_is(const char *reason)
{
	const char *missing = keeper_missing(w.k);
	if (reason == NULL)
		assert_null(missing);
	else
		assert_string_equal(missing != NULL ? missing : "nothing", reason);
}

static int make_world(void **state)
{
	(void)state;
	struct nsm_sim *sim = w.sim, *other = w.other;
	w = (struct world){ .now_ms = NOW_S * 1000, .sim = sim, .other = other };
	w.ring = keyring_new();
	buf_init(&w.kms_blob, KMS_BLOB_MAX);
	memset(w.data_key, 0x5a, sizeof w.data_key);
	struct config *c = &w.config;
	memcpy(c->environment, "sandbox", sizeof "sandbox");
	memcpy(c->queue_name, "q", sizeof "q");
	memcpy(c->kms_key, KMS_KEY, sizeof KMS_KEY);
	c->key_source = CONFIG_KEYS_SEALED;
	c->key_refresh_ms = REFRESH;
	c->key_delay_s = 600;
	c->key_overlap_s = 32 * (unsigned)DAY_S;
	c->chamber[CONFIG_HOUSE].enabled = true;
	struct nsm n = { .exchange = nsm_sim_exchange, .arg = w.sim };
	bool locked;
	for (unsigned i = 0; i < 3; i++)
		assert_err(nsm_describe_pcr(&n, i, &locked, w.pcr[i]), ERR_OK);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	if (w.k != NULL)
		close_keeper();
	keyring_free(w.ring);
	buf_clear(&w.kms_blob);
	for (size_t i = 0; i < 4; i++)
		buf_clear(&w.ticket[i].body);
	return 0;
}

static int open_sims(void **state)
{
	static const uint8_t pcrs[3][48] = { { 1 }, { 2 }, { 3 } };
	(void)state;
	if (secret_init() != ERR_OK)
		return -1;
	w.sim = nsm_sim_new(&(struct nsm_sim_options){ .now_ms = NOW_S * 1000 });
	w.other = nsm_sim_new(&(struct nsm_sim_options){ .now_ms = NOW_S * 1000, .pcr012 = pcrs });
	return 0;
}

static int close_sims(void **state)
{
	(void)state;
	nsm_sim_free(w.sim);
	nsm_sim_free(w.other);
	return 0;
}

#define keeper_test(f) cmocka_unit_test_setup_teardown(f, make_world, end_world)

#endif
