/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a join came to. Who was let in no longer counts as one whom the server does not know (publication.alone): from
 * then on receipts go to servers that have their document. The engine's file as it is, its neighbours replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/engine_internal.h"

static void fake_count(struct engine *e, enum metrics_call call, enum err err);
static void fake_places(struct engine *e, const struct queue_beat_answer *a);
static void fake_heard(struct engine *e);

#define engine_count_call     fake_count
#define engine_count_places   fake_places
#define engine_publish_joined fake_heard
#define engine_settle_begun   fake_heard
#define engine_recent_say     fake_heard
#include "worker/engine_queue.c" /* NOLINT: with its neighbours replaced */

static struct config config;
static struct engine engine;
static unsigned heard; /* publication, POSTs under way, what was settled lately */

static void fake_count(struct engine *e, enum metrics_call call, enum err err)
{
	(void)e;
	(void)err;
	assert_int_equal(call, METRICS_CALL_JOIN);
}

static void fake_places(struct engine *e, const struct queue_beat_answer *a)
{
	(void)e;
	(void)a;
}

static void fake_heard(struct engine *e)
{
	/* Each of them may write to the queue: it looks whether receipts may be handed over. */
	assert_int_equal(e->membership, ENGINE_JOINING);
	assert_false(e->publication.alone);
	heard++;
}

static int set_up(void **state)
{
	(void)state;
	memset(&engine, 0, sizeof engine);
	config = (struct config){ .lease_ms = 9000, .skew_max_ms = 3000 };
	engine.config = &config;
	engine.membership = ENGINE_JOINING;
	heard = 0;
	return 0;
}

static void answer(enum err err, enum queue_beat_status status)
{
	const struct queue_beat_answer a = { .status = status, .redis_us = clock_wall_us() };

	joined(&engine, err, err == ERR_OK ? &a : NULL);
}

static void assert_in(void)
{
	assert_int_equal(heard, 3);
	assert_int_equal(engine.membership, ENGINE_JOINING); /* until ADOPT has answered */
	assert_true(engine.recent_first);
	assert_false(engine.publication.alone);
	assert_int_equal(engine.queue_error, ERR_OK);
	assert_int_equal(engine.join_boot_us, 0);
	assert_in_range(engine.beat_boot_us - clock_boot_us(), 2000000, 3000000);
}

static void assert_out(enum err why)
{
	assert_int_equal(heard, 0);
	assert_int_equal(engine.membership, ENGINE_AWAY);
	assert_false(engine.recent_first);
	assert_true(engine.publication.alone);
	assert_int_equal(engine.queue_error, why);
	assert_in_range(engine.join_boot_us - clock_boot_us(), 1, JOIN_RETRY_US);
}

static void test_let_in(void **state)
{
	(void)state;
	answer(ERR_OK, QUEUE_BEAT_OK);
	assert_in();
}

static void test_let_in_after_a_refusal(void **state)
{
	(void)state;
	answer(ERR_OK, QUEUE_BEAT_TAKEN);
	assert_out(ERR_EXISTS);
	engine.membership = ENGINE_JOINING;
	engine.join_boot_us = 0;
	engine.queue_error = ERR_OK;
	answer(ERR_OK, QUEUE_BEAT_OK);
	assert_in();
}

static void test_not_let_in(void **state)
{
	static const struct {
		enum err err;
		enum queue_beat_status status;
		enum err why;
	} cases[] = {
		{ ERR_OK, QUEUE_BEAT_VERSION, ERR_QUEUE_VERSION }, { ERR_OK, QUEUE_BEAT_TAKEN, ERR_EXISTS },
		{ ERR_OK, QUEUE_BEAT_FENCED, ERR_PROTOCOL },       { ERR_OK, QUEUE_BEAT_BUSY, ERR_PROTOCOL },
		{ ERR_QUEUE_LOST, QUEUE_BEAT_OK, ERR_QUEUE_LOST }, { ERR_PROTOCOL, QUEUE_BEAT_OK, ERR_PROTOCOL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		(void)set_up(state);
		answer(cases[i].err, cases[i].status);
		assert_out(cases[i].why);
	}
}

/* The connection was lost meanwhile: another join follows, and this answer is of none. */
static void test_too_late(void **state)
{
	(void)state;
	engine.membership = ENGINE_AWAY;
	answer(ERR_OK, QUEUE_BEAT_OK);
	assert_int_equal(heard, 0);
	assert_int_equal(engine.membership, ENGINE_AWAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_let_in, set_up),
		cmocka_unit_test_setup(test_let_in_after_a_refusal, set_up),
		cmocka_unit_test_setup(test_not_let_in, set_up),
		cmocka_unit_test_setup(test_too_late, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
