/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the keeper: new bundles, that change nothing here until they come back through the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/keeper_fixture.h"

#define NO_BODY ((struct span){ 0 })

/* The bundle that an answer has. */
static const struct buf *bundle_of(const struct status_ticket *t)
{
	assert_int_equal(t->code, 200);
	assert_string_equal(t->type, "application/cbor");
	return &t->body;
}

/* KMS and the attestor do what they are asked. */
static struct status_ticket *made(enum status_act a, struct span body)
{
	struct status_ticket *t = act(a, body);
	assert_int_equal(t->code, 0);
	kms_answers();
	assert_int_equal(t->code, 0);
	attestor_answers(ERR_OK);
	return t;
}

/* The answer goes into the store, and is taken. */
static void store_takes(const struct status_ticket *t, uint64_t version)
{
	next_read();
	store_has(bundle_of(t));
	kms_answers();
	assert_int_equal(keeper_bundle(w.k), version);
	assert_int_equal(logged("bundle_refused"), 0);
}

static size_t count(enum keyring_state state)
{
	size_t n = 0;
	for (size_t i = 0; i < keyring_count(w.ring); i++)
		n += keyring_state(keyring_at(w.ring, i), w.now_ms / 1000) == state;
	return n;
}

/* A keeper that found its store empty. */
static void open_with_nothing(void)
{
	open_keeper();
	next_read();
	store_has(NULL);
}

/* --- the first ring --------------------------------------------------------------------------- */

static void test_request(void **state)
{
	(void)state;
	open_with_nothing();
	struct status_ticket *t = act(STATUS_KEYS_REQUEST, NO_BODY);
	assert_int_equal(w.kms_operation, KMS_GENERATE_DATA_KEY);
	assert_int_equal(w.kms_blob.n, 0);
	assert_non_null(strstr(w.kms_context, "environment=sandbox;queue=q;version=1;"));
	kms_answers();
	attestor_answers(ERR_OK);
	assert_int_equal(logged("keys_asked request ok 1"), 1);
	assert_int_equal(keyring_count(w.ring), 0); /* nothing changed here */
	assert_int_equal(keeper_bundle(w.k), 0);
	assert_int_equal(w.changed, 0);
	assert_null(w.k->act.ring);
	store_takes(t, 1);
	assert_int_equal(count(KEYRING_ACTIVE), KEYRING_PROFILES);
}

static void test_request_version_min(void **state)
{
	(void)state;
	w.config.bundle_version_min = 7;
	open_with_nothing();
	store_takes(made(STATUS_KEYS_REQUEST, NO_BODY), 7);
}

static void test_request_with_grant(void **state)
{
	(void)state;
	struct buf g;
	size_t n;
	buf_init(&g, GRANT_MAX);
	set_authority();
	make_grant(&g, "sandbox", "q", 4);
	open_with_nothing();
	store_takes(made(STATUS_KEYS_REQUEST, span_buf(&g)), 1);
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-4");
	buf_clear(&g);
}

static void test_request_refused(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_bundle(&RECIPE(1), &b);
	open_keeper();
	next_read();
	store_has(&b);
	/* While KMS is asked, and when it says no: there is a bundle, though it does not open. */
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 429, "{\"reason\":\"busy\"}");
	kms_fails("kms_denied", false);
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 409, "{\"reason\":\"has_bundle\"}");
	next_read();
	store_has(&b);
	kms_answers();
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 409, "{\"reason\":\"has_bundle\"}");
	buf_clear(&b);
}

/* Keys whose times are wrong would stay wrong. */
static void test_clock_trouble(void **state)
{
	(void)state;
	open_with_nothing();
	keeper_set_clock_trouble(w.k, true);
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 503, "{\"reason\":\"clock\"}");
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 503, "{\"reason\":\"clock\"}");
	keeper_set_clock_trouble(w.k, false);
	w.step_ms = -DAY_S * 1000;
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 503, "{\"reason\":\"clock\"}");
	w.step_ms = 0;
	assert_int_equal(w.kms_calls, 0);
	store_takes(made(STATUS_KEYS_REQUEST, NO_BODY), 1);
	keeper_set_clock_trouble(w.k, true);
	assert_answer(act(STATUS_KEYS_SIGNERS, NO_BODY), 503, "{\"reason\":\"clock\"}");
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 503, "{\"reason\":\"clock\"}");
	assert_int_equal(w.kms_calls, 2);
}

/* A store that was not read may have a bundle. */
static void test_request_without_store(void **state)
{
	(void)state;
	open_keeper();
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 429, "{\"reason\":\"busy\"}");
	next_read();
	store_fails(ERR_CONNECT);
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 503, "{\"reason\":\"store\"}");
	next_read();
	store_has(NULL);
	store_takes(made(STATUS_KEYS_REQUEST, NO_BODY), 1);
	next_read();
	store_fails(ERR_CONNECT);
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 409, "{\"reason\":\"has_bundle\"}");
}

static void test_other_source(void **state)
{
	(void)state;
	w.config.key_source = CONFIG_KEYS_BOOT;
	assert_err(keyring_first(w.ring, NOW_S), ERR_OK);
	open_keeper();
	assert_answer(act(STATUS_KEYS_REQUEST, NO_BODY), 409, "{\"reason\":\"source\"}");
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 409, "{\"reason\":\"source\"}");
	assert_answer(act(STATUS_KEYS_SIGNERS, span_lit("x")), 409, "{\"reason\":\"source\"}");
}

/* --- rotation --------------------------------------------------------------------------------- */

static void test_rotate(void **state)
{
	(void)state;
	open_keeper();
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 409, "{\"reason\":\"no_bundle\"}");
	load(&RECIPE(5));
	struct status_ticket *t = made(STATUS_KEYS_ROTATE, NO_BODY);
	assert_non_null(strstr(w.kms_context, "version=6;"));
	assert_int_equal(keyring_count(w.ring), KEYRING_PROFILES);
	assert_int_equal(keeper_bundle(w.k), 5);
	store_takes(t, 6);
	assert_int_equal(keyring_count(w.ring), KEYRING_PROFILES + 2);
	assert_int_equal(count(KEYRING_PENDING), 2);
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 409, "{\"reason\":\"pending\"}");

	unsigned changed = w.changed;
	pass((int64_t)w.config.key_delay_s * 1000);
	assert_int_equal(w.changed, changed + 1);
	assert_int_equal(count(KEYRING_ACTIVE), KEYRING_PROFILES);
	assert_int_equal(count(KEYRING_DECRYPT_ONLY), 2);
}

/* One rotation after the other: the ring is full before the oldest keys are gone. */
static void test_full(void **state)
{
	(void)state;
	uint64_t version = 1;
	open_keeper();
	load(&RECIPE(1));
	while (keyring_count(w.ring) + 2 <= KEYRING_KEYS_MAX) {
		store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), ++version);
		w.now_ms += (int64_t)w.config.key_delay_s * 1000;
		pass(KEEPER_LOOK_MS);
		if (w.store_cb != NULL)
			store_has(NULL);
	}
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 409, "{\"reason\":\"full\"}");
}

static void test_last_version(void **state)
{
	(void)state;
	open_keeper();
	load(&RECIPE(BUNDLE_VERSION_MAX));
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 409, "{\"reason\":\"full\"}");
	assert_null(w.k->act.ring);
}

/* --- signers ---------------------------------------------------------------------------------- */

static void grant_refused(enum status_act a, struct span body)
{
	unsigned calls = w.kms_calls;
	assert_answer(act(a, body), 400, "{\"reason\":\"grant\"}");
	assert_int_equal(w.kms_calls, calls);
}

static void test_signers(void **state)
{
	(void)state;
	struct buf g;
	size_t n;
	buf_init(&g, GRANT_MAX);
	set_authority();
	open_keeper();
	make_grant(&g, "sandbox", "q", 4);
	assert_answer(act(STATUS_KEYS_SIGNERS, span_buf(&g)), 409, "{\"reason\":\"no_bundle\"}");
	load(&RECIPE(1));
	store_takes(made(STATUS_KEYS_SIGNERS, span_buf(&g)), 2);
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-4");
	assert_int_equal(keyring_count(w.ring), KEYRING_PROFILES);

	grant_refused(STATUS_KEYS_SIGNERS, NO_BODY);
	grant_refused(STATUS_KEYS_SIGNERS, span_lit("\x01"));
	make_grant(&g, "sandbox", "q", 3);
	grant_refused(STATUS_KEYS_SIGNERS, span_buf(&g));
	grant_refused(STATUS_KEYS_ROTATE, span_buf(&g));
	make_grant(&g, "production", "q", 5);
	grant_refused(STATUS_KEYS_SIGNERS, span_buf(&g));
	make_grant(&g, "sandbox", "other", 5);
	grant_refused(STATUS_KEYS_SIGNERS, span_buf(&g));
	make_grant(&g, "sandbox", "q", 5);
	g.p[g.n - 1] ^= 1;
	grant_refused(STATUS_KEYS_SIGNERS, span_buf(&g));

	/* A rotation carries it over, or brings its own. */
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 3);
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-4");
	pass((int64_t)w.config.key_delay_s * 1000);
	if (w.store_cb != NULL)
		store_has(NULL);
	make_grant(&g, "sandbox", "q", 5);
	store_takes(made(STATUS_KEYS_ROTATE, span_buf(&g)), 4);
	assert_string_equal(keeper_granted(w.k, &n)->kid, "app-5");
	buf_clear(&g);
}

static void test_no_authority(void **state)
{
	(void)state;
	struct buf g;
	buf_init(&g, GRANT_MAX);
	set_authority();
	make_grant(&g, "sandbox", "q", 4);
	w.config.authority.kid[0] = '\0';
	open_keeper();
	assert_answer(act(STATUS_KEYS_REQUEST, span_buf(&g)), 409, "{\"reason\":\"no_authority\"}");
	load(&RECIPE(1));
	assert_answer(act(STATUS_KEYS_SIGNERS, span_buf(&g)), 409, "{\"reason\":\"no_authority\"}");
	assert_answer(act(STATUS_KEYS_ROTATE, span_buf(&g)), 409, "{\"reason\":\"no_authority\"}");
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 2);
	buf_clear(&g);
}

/* --- one at a time ---------------------------------------------------------------------------- */

static void test_busy(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	open_keeper();
	load(&RECIPE(1));
	struct status_ticket *t = act(STATUS_KEYS_ROTATE, NO_BODY);
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 429, "{\"reason\":\"busy\"}");

	/* A bundle that comes meanwhile waits for KMS, and is no trouble. */
	add_bundle(&RECIPE(2), &b);
	next_read();
	forget_log();
	store_has(&b);
	assert_int_equal(w.kms_operation, KMS_GENERATE_DATA_KEY);
	assert_int_equal(next_read(), KEEPER_BUSY_MS);
	assert_int_equal(w.n_events, 0);
	kms_answers();
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 429, "{\"reason\":\"busy\"}");
	store_has(&b);
	kms_answers();
	assert_int_equal(keeper_bundle(w.k), 2);
	/* What is being made has that version, too: nobody would take it. */
	attestor_answers(ERR_OK);
	assert_answer(t, 429, "{\"reason\":\"busy\"}");
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 3);
	buf_clear(&b);
}

/* Who asks anew whenever an answer has come does not keep a bundle from KMS. */
static void test_bundle_first(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	open_keeper();
	load(&RECIPE(1));
	struct status_ticket *t = act(STATUS_KEYS_ROTATE, NO_BODY);
	add_bundle(&RECIPE(2), &b);
	next_read();
	store_has(&b);
	kms_answers();
	attestor_answers(ERR_OK);
	(void)bundle_of(t);
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 429, "{\"reason\":\"busy\"}");
	assert_int_equal(next_read(), KEEPER_BUSY_MS);
	store_has(&b);
	assert_int_equal(w.kms_operation, KMS_DECRYPT);
	kms_answers();
	assert_int_equal(keeper_bundle(w.k), 2);

	/* One that is gone before its turn came keeps nobody away. */
	t = act(STATUS_KEYS_ROTATE, NO_BODY);
	buf_reset(&b);
	add_bundle(&RECIPE(3), &b);
	next_read();
	store_has(&b);
	kms_answers();
	attestor_answers(ERR_OK);
	(void)bundle_of(t);
	next_read();
	store_has(NULL);
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 3);
	buf_clear(&b);
}

/* --- what fails ------------------------------------------------------------------------------- */

static void unchanged(void)
{
	assert_int_equal(keeper_bundle(w.k), 1);
	assert_int_equal(keyring_count(w.ring), KEYRING_PROFILES);
	assert_int_equal(count(KEYRING_ACTIVE), KEYRING_PROFILES);
	assert_int_equal(w.k->act.step, KEEPER_ACT_NONE);
	assert_null(w.k->act.ring);
	assert_null(w.k->act.grant.p);
	assert_null(w.k->act.out.p);
}

static void test_fails(void **state)
{
	(void)state;
	open_keeper();
	load(&RECIPE(1));
	struct status_ticket *t = act(STATUS_KEYS_ROTATE, NO_BODY);
	kms_fails("kms_denied", false);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"kms_denied\"}");
	assert_int_equal(logged("keys_asked rotate kms_denied 2"), 1);
	unchanged();

	w.kms_refuses = ERR_RANGE;
	t = act(STATUS_KEYS_ROTATE, NO_BODY);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"kms_refused\"}");
	w.kms_refuses = ERR_OK;
	unchanged();

	t = act(STATUS_KEYS_ROTATE, NO_BODY);
	kms_answers();
	attestor_answers(ERR_IO);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"nsm\"}");
	unchanged();

	t = act(STATUS_KEYS_ROTATE, NO_BODY);
	kms_answers();
	attestor_answers(ERR_TIMEOUT);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"timeout\"}");
	unchanged();
	missing_is("no_secrets");
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 2);
}

static void pass_without_reads(int64_t ms)
{
	for (int64_t i = 0; i < ms; i += 100) {
		pass(100);
		if (w.store_cb != NULL)
			store_has(NULL);
	}
}

static void test_timeout(void **state)
{
	(void)state;
	open_keeper();
	load(&RECIPE(1));
	struct status_ticket *t = act(STATUS_KEYS_ROTATE, NO_BODY);
	pass_without_reads(KEEPER_ACT_TIMEOUT_MS - 100);
	assert_int_equal(t->code, 0);
	pass_without_reads(100);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"timeout\"}");
	unchanged();
	/* The call goes on; until it ends there is no other. */
	assert_answer(act(STATUS_KEYS_ROTATE, NO_BODY), 429, "{\"reason\":\"busy\"}");
	kms_answers();
	assert_null(w.ask_cb);
	unchanged();

	t = act(STATUS_KEYS_ROTATE, NO_BODY);
	kms_answers();
	assert_non_null(w.ask_cb);
	pass_without_reads(KEEPER_ACT_TIMEOUT_MS);
	assert_answer(t, 503, "{\"reason\":\"kms\",\"why\":\"timeout\"}");
	assert_null(w.ask_cb); /* nothing comes of it any more */
	unchanged();
	store_takes(made(STATUS_KEYS_ROTATE, NO_BODY), 2);
	pass_without_reads(KEEPER_ACT_TIMEOUT_MS * 2);
}

static void test_end(void **state)
{
	(void)state;
	open_with_nothing();
	struct status_ticket *t = act(STATUS_KEYS_REQUEST, NO_BODY);
	close_keeper();
	assert_answer(t, 503, "{\"reason\":\"draining\"}");
	open_with_nothing();
	t = act(STATUS_KEYS_REQUEST, NO_BODY);
	kms_answers();
	close_keeper();
	assert_answer(t, 503, "{\"reason\":\"draining\"}");
	open_with_nothing();
	t = made(STATUS_KEYS_REQUEST, NO_BODY);
	close_keeper();
	assert_int_equal(t->code, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		keeper_test(test_request),
		keeper_test(test_request_version_min),
		keeper_test(test_request_with_grant),
		keeper_test(test_request_refused),
		keeper_test(test_clock_trouble),
		keeper_test(test_request_without_store),
		keeper_test(test_other_source),
		keeper_test(test_rotate),
		keeper_test(test_full),
		keeper_test(test_last_version),
		keeper_test(test_signers),
		keeper_test(test_no_authority),
		keeper_test(test_busy),
		keeper_test(test_bundle_first),
		keeper_test(test_fails),
		keeper_test(test_timeout),
		keeper_test(test_end),
	};
	return cmocka_run_group_tests(tests, open_sims, close_sims);
}
