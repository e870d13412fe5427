/* SPDX-License-Identifier: Apache-2.0 */
/* Which bundles the keeper takes: one refusal for each rule, their order, no way back; grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keeper_fixture.h"

/* --- bundles that are refused ----------------------------------------------------------------- */

/* Two reads of it: it is logged once, and changes nothing. */
static void refused(const struct buf *b, const char *log, bool asks_kms)
{
	uint64_t version = keeper_bundle(w.k);
	size_t keys = keyring_count(w.ring);
	unsigned changed = w.changed;
	char line[EVENT_SIZE];
	snprintf(line, sizeof line, "bundle_refused %s", log);
	forget_log();
	for (int i = 0; i < 2; i++) {
		next_read();
		store_has(b);
		assert_int_equal(w.kms_busy, asks_kms && i == 0); /* what was opened is not opened again */
		if (w.kms_busy)
			kms_answers();
	}
	if (logged(line) != 1 || logged("bundle_refused") != 1)
		fail_msg("%s: %s", line, w.event[0]);
	assert_int_equal(logged("bundle_loaded"), 0);
	assert_int_equal(keeper_bundle(w.k), version);
	assert_int_equal(keyring_count(w.ring), keys);
	assert_int_equal(w.changed, changed);
}

static void refused_recipe(const struct recipe *r, const char *log, bool asks_kms)
{
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_bundle(r, &b);
	refused(&b, log, asks_kms);
	buf_clear(&b);
}

/* Everything is wrong with it; what is mended moves the reason to the next rule, in the order of the rules. */
static void check_order(void)
{
	struct recipe r = RECIPE(4);
	r.environment = "production";
	r.queue = "other";
	r.kms_key = "arn:aws:kms:us-east-1:111122223333:key/11111111-89ab-cdef-0123-456789abcdef";
	r.other_pcrs = true;
	refused_recipe(&r, "environment none 4", false);
	r.environment = "sandbox";
	refused_recipe(&r, "queue none 4", false);
	r.queue = "q";
	refused_recipe(&r, "kms_key none 4", false);
	r.kms_key = KMS_KEY;
	refused_recipe(&r, "version_min none 4", false);
	r.version = 20;
	refused_recipe(&r, "maker", false);
	r.other_pcrs = false;
}

static void check_form(void)
{
	struct buf b;
	buf_init(&b, STORE_MAX);
	cbor_add_array(&b, 5);
	cbor_add_str(&b, "cwc-bundle-v1");
	for (int i = 0; i < 4; i++)
		cbor_add_bytes(&b, span_lit("x"));
	refused(&b, "form syntax 0", false);
	buf_clear(&b);
}

static void check_maker(void)
{
	struct recipe r = RECIPE(21);
	r.other_hash = true;
	refused_recipe(&r, "maker", false);
	r.other_hash = false;
	r.early = true;
	refused_recipe(&r, "maker", false);
	r.early = false;
	r.other_pcrs = true;
	refused_recipe(&r, "maker", false);
}

static void check_opened(void)
{
	struct recipe r = RECIPE(22);
	struct keyring *empty = keyring_new(), *late = keyring_new();
	const struct keyring_times over = { NOW_S - 30, NOW_S - 30, NOW_S - 20, NOW_S - 10 };
	struct buf b;
	buf_init(&b, STORE_MAX);
	w.data_key[0] ^= 1;
	add_bundle(&r, &b);
	w.data_key[0] ^= 1;
	refused(&b, "open crypto 22", true);
	assert_err(keyring_make(late, KEYRING_LETTER, &over), ERR_OK);
	r.ring = late;
	refused_recipe(&r, "keys none 22", true);
	keyring_free(empty);
	keyring_free(late);
	buf_clear(&b);
}

static void test_refused_first(void **state)
{
	(void)state;
	w.config.bundle_version_min = 5;
	open_keeper();
	check_form();
	check_order();
	check_maker();
	check_opened();
	missing_is("no_bundle");
	load(&RECIPE(5));
}

/* By a clock that is far ahead all its keys are over: it is taken all the same, and they stay. */
static void test_clock_trouble(void **state)
{
	(void)state;
	const struct keyring_times t = { NOW_S, NOW_S, NOW_S + 30 * DAY_S, NOW_S + 31 * DAY_S };
	struct recipe r = RECIPE(1);
	r.ring = keyring_new();
	assert_err(keyring_make(r.ring, KEYRING_LETTER, &t), ERR_OK);
	open_keeper();
	keeper_set_clock_trouble(w.k, false);
	w.step_ms = 40 * DAY_S * 1000; /* nobody has told us of it yet */
	load(&r);
	assert_int_equal(keyring_count(w.ring), 1);
	keeper_set_clock_trouble(w.k, true);
	r.version = 2;
	load(&r);
	pass(3 * KEEPER_LOOK_MS);
	assert_int_equal(keyring_count(w.ring), 1);
	assert_int_equal(logged("bundle_refused"), 0);
	w.step_ms = 0;
	keeper_set_clock_trouble(w.k, false);
	assert_int_equal(keyring_count(w.ring), 1);
	keyring_free(r.ring);
}

/* By one that is behind its maker's document is of the future: likewise. */
static void test_clock_behind(void **state)
{
	(void)state;
	open_keeper();
	keeper_set_clock_trouble(w.k, false);
	w.step_ms = -DAY_S * 1000; /* nobody has told us of it yet */
	load(&RECIPE(1));
	keeper_set_clock_trouble(w.k, true);
	load(&RECIPE(2));
	assert_int_equal(logged("bundle_refused"), 0);
	w.step_ms = 0;
}

static void test_refused_later(void **state)
{
	(void)state;
	w.config.bundle_version_min = 5;
	open_keeper();
	load(&RECIPE(6));
	check_form();
	check_order();
	check_maker();
	check_opened();
	refused_recipe(&RECIPE(5), "version_old none 5", false);
	refused_recipe(&RECIPE(6), "version_other none 6", false);
	load(&RECIPE(7));
}

/* The version in use never goes back, whatever was there in between. */
static void test_no_way_back(void **state)
{
	(void)state;
	struct buf three, five;
	buf_init(&three, STORE_MAX);
	buf_init(&five, STORE_MAX);
	add_bundle(&RECIPE(3), &three);
	add_bundle(&RECIPE(5), &five);
	open_keeper();
	next_read();
	store_has(&three);
	kms_answers();
	next_read();
	store_has(&five);
	kms_answers();
	assert_int_equal(keeper_bundle(w.k), 5);
	char id[KEYRING_ID_MAX + 1];
	memcpy(id, keyring_at(w.ring, 0)->id, sizeof id);
	refused(&three, "version_old none 3", false);
	next_read();
	store_has(NULL);
	next_read();
	store_fails(ERR_CONNECT);
	next_read();
	store_has(&five);
	assert_false(w.kms_busy);
	assert_int_equal(keeper_bundle(w.k), 5);
	assert_string_equal(keyring_at(w.ring, 0)->id, id);
	buf_clear(&three);
	buf_clear(&five);
}

/* The keys of the ring before are gone, and it is said. */
static void test_replaced(void **state)
{
	(void)state;
	open_keeper();
	load(&RECIPE(1));
	forget_log();
	load(&RECIPE(2));
	assert_int_equal(logged("key_loaded"), 3);
	assert_int_equal(logged("key_changed"), 3);
	assert_int_equal(w.changed, 2);
	assert_int_equal(w.changed_to, 2);
}

/* Only so many refusals are remembered; a bundle that is good is taken nevertheless. */
static void test_many_refusals(void **state)
{
	(void)state;
	open_keeper();
	for (uint64_t i = 1; i <= KEEPER_REFUSALS + 3; i++) {
		struct recipe r = RECIPE(i);
		r.queue = "other";
		forget_log();
		refused_recipe(&r, "queue none", false);
	}
	load(&RECIPE(1));
}

static void test_kms_refuses(void **state)
{
	(void)state;
	open_keeper();
	w.kms_refuses = ERR_RANGE;
	refused_recipe(&RECIPE(1), "wrapped range 1", false);
	w.kms_refuses = ERR_OK;
	load(&RECIPE(2));
}

/* --- grants ----------------------------------------------------------------------------------- */

/* Of the same authority and serial, for another signer. */
static void make_other_grant(struct buf *out, uint64_t serial)
{
	struct grant g = { .environment = span_lit("sandbox"),
			   .queue = span_lit("q"),
			   .authority = span_lit("authority"),
			   .serial = serial,
			   .n_signers = 1,
			   .signer = { { .kid = "other", .not_before_s = NOW_S, .not_after_s = NOW_S + DAY_S } } };
	buf_reset(out);
	assert_err(grant_sign(&g, authority_secret, out), ERR_OK);
}

static void test_grant(void **state)
{
	(void)state;
	struct buf g;
	struct recipe r = RECIPE(2);
	size_t n = 9;
	buf_init(&g, GRANT_MAX);
	set_authority();
	open_keeper();
	assert_non_null(keeper_granted(w.k, &n));
	assert_int_equal(n, 0);
	make_grant(&g, "sandbox", "q", 4);
	r.signers = span_buf(&g);
	load(&r);
	const struct job_signer *s = keeper_granted(w.k, &n);
	assert_int_equal(n, 1);
	assert_string_equal(s->kid, "app-4");
	assert_int_equal(s->public_key[31], 4);
	assert_int_equal(s->not_before_s, NOW_S);
	assert_int_equal(s->not_after_s, NOW_S + 30 * DAY_S);

	r.version = 3;
	make_grant(&g, "production", "q", 5);
	r.signers = span_buf(&g);
	refused_recipe(&r, "grant_environment none 3", true);
	make_grant(&g, "sandbox", "r", 5);
	r.signers = span_buf(&g);
	refused_recipe(&r, "grant_queue none 3", true);
	make_grant(&g, "sandbox", "q", 3);
	r.signers = span_buf(&g);
	refused_recipe(&r, "grant_serial none 3", true);
	make_other_grant(&g, 4);
	r.signers = span_buf(&g);
	refused_recipe(&r, "grant_serial none 3", true);
	make_grant(&g, "sandbox", "q", 5);
	g.p[g.n - 1] ^= 1;
	r.signers = span_buf(&g);
	refused_recipe(&r, "grant crypto 3", true);
	refused_recipe(&RECIPE(3), "grant_serial none 3", true); /* none is older than any */
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-4");

	make_grant(&g, "sandbox", "q", 5);
	r.signers = span_buf(&g);
	load(&r);
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-5");
	buf_clear(&g);
}

static void test_grant_without_authority(void **state)
{
	(void)state;
	struct buf g;
	struct recipe r = RECIPE(2);
	buf_init(&g, GRANT_MAX);
	set_authority();
	make_grant(&g, "sandbox", "q", 4);
	r.signers = span_buf(&g);
	w.config.authority.kid[0] = '\0';
	open_keeper();
	refused_recipe(&r, "grant_authority none 2", true);
	load(&RECIPE(2));
	buf_clear(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		keeper_test(test_refused_first), keeper_test(test_clock_trouble),
		keeper_test(test_clock_behind),  keeper_test(test_refused_later),
		keeper_test(test_no_way_back),   keeper_test(test_replaced),
		keeper_test(test_many_refusals), keeper_test(test_kms_refuses),
		keeper_test(test_grant),         keeper_test(test_grant_without_authority),
	};
	return cmocka_run_group_tests(tests, open_sims, close_sims);
}
