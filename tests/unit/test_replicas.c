/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAIT before a POST: a letter leaves on the word of a WAIT that was asked for after its own BEGIN, and of no other.
 * The engine's file as it is, its calls of the queue and of the other files caught here.
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

static void fake_wait(struct queue *q, unsigned replicas, unsigned timeout_ms, queue_wait_cb cb, void *arg);
static void fake_answer(struct conn *c, enum err e, conn_cb cb, void *arg);
static struct conn *fake_conn(struct queue *q);
static void fake_replicated(struct slot *s, bool enough);
static void fake_event(struct slot *s, enum pipeline_event ev);
static void fake_take(struct engine *e, enum cwc_chamber c);
static void fake_count(struct engine *e, enum metrics_call call, enum err err);

#define queue_wait               fake_wait
#define conn_answer              fake_answer
#define queue_conn               fake_conn
#define engine_letter_replicated fake_replicated
#define engine_letter_event      fake_event
#define engine_take              fake_take
#define engine_count_call        fake_count
#include "worker/engine_replicas.c" /* NOLINT: with its neighbours replaced */

#define SLOTS 3

static struct config config;
static struct slot slots[SLOTS];
static struct engine engine;

static unsigned waits;        /* how often WAIT was sent */
static queue_wait_cb waiting; /* the one under way */
static conn_cb next_turn;
static unsigned went[SLOTS], kept[SLOTS], lost[SLOTS];

static void fake_wait(struct queue *q, unsigned replicas, unsigned timeout_ms, queue_wait_cb cb, void *arg)
{
	(void)q;
	assert_int_equal(replicas, 2);
	assert_int_equal(timeout_ms, 100);
	assert_null(waiting);
	assert_ptr_equal(arg, &engine);
	waiting = cb;
	waits++;
}

static void fake_answer(struct conn *c, enum err e, conn_cb cb, void *arg)
{
	(void)c;
	(void)arg;
	assert_int_equal(e, ERR_OK);
	assert_null(next_turn);
	next_turn = cb;
}

static struct conn *fake_conn(struct queue *q)
{
	(void)q;
	return NULL;
}

static void fake_replicated(struct slot *s, bool enough)
{
	(enough ? went : kept)[s - slots]++;
	s->state = PIPELINE_POSTING;
}

static void fake_event(struct slot *s, enum pipeline_event ev)
{
	assert_int_equal(ev, PIPELINE_ON_LOST);
	lost[s - slots]++;
	s->state = PIPELINE_SETTLING;
}

static void fake_take(struct engine *e, enum cwc_chamber c)
{
	(void)e;
	(void)c;
}

static void fake_count(struct engine *e, enum metrics_call call, enum err err)
{
	(void)e;
	(void)err;
	assert_int_equal(call, METRICS_CALL_WAIT);
}

static int set_up(void **state)
{
	(void)state;
	memset(&engine, 0, sizeof engine);
	memset(slots, 0, sizeof slots);
	memset(went, 0, sizeof went);
	memset(kept, 0, sizeof kept);
	memset(lost, 0, sizeof lost);
	waits = 0;
	waiting = NULL;
	next_turn = NULL;
	config.replicas = 2;
	config.replica_timeout_ms = 100;
	engine.config = &config;
	engine.slots = slots;
	engine.n_slots = SLOTS;
	for (int i = 0; i < SLOTS; i++)
		slots[i].state = PIPELINE_GONE;
	return 0;
}

/* As engine_letter.c does when BEGIN was answered. */
static void begun(int i)
{
	slots[i].state = PIPELINE_REPLICATING;
	slots[i].waits_replica = true;
	engine_replicas_ask(&engine);
}

static void turn(void)
{
	conn_cb cb = next_turn;
	assert_non_null(cb);
	next_turn = NULL;
	cb(&engine, ERR_OK, NULL);
}

static void answer(enum err e, int64_t n)
{
	queue_wait_cb cb = waiting;
	assert_non_null(cb);
	waiting = NULL;
	cb(&engine, e, n);
}

static void one_for_all_that_came_together(void **state)
{
	(void)state;
	begun(0);
	begun(1);
	assert_int_equal(waits, 0);
	turn();
	assert_int_equal(waits, 1);
	answer(ERR_OK, 2);
	assert_int_equal(went[0] + went[1], 2);
	assert_null(next_turn);
}

static void one_that_comes_meanwhile_needs_the_next(void **state)
{
	(void)state;
	begun(0);
	turn();
	begun(1);
	assert_null(next_turn);
	answer(ERR_OK, 5);
	assert_int_equal(went[0], 1);
	assert_int_equal(went[1] + kept[1], 0);
	assert_int_equal(slots[1].state, PIPELINE_REPLICATING);
	turn();
	assert_int_equal(waits, 2);
	/* And that one speaks for it, whatever the first said. */
	answer(ERR_OK, 1);
	assert_int_equal(went[1], 0);
	assert_int_equal(kept[1], 1);
	assert_true(engine.replicas_short);
}

static void too_few_or_an_error(void **state)
{
	(void)state;
	static const struct {
		enum err e;
		int64_t n;
	} answers[] = {
		{ ERR_OK, 1 }, { ERR_OK, -1 }, { ERR_OK, INT64_MIN }, { ERR_QUEUE_SCRIPT, 2 }, { ERR_LIMIT, 9 }
	};
	for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		begun(0);
		turn();
		answer(answers[i].e, answers[i].n);
		assert_int_equal(kept[0], i + 1);
		assert_int_equal(went[0], 0);
		assert_true(engine.replicas_short);
	}
	begun(0);
	turn();
	answer(ERR_OK, 2);
	assert_int_equal(went[0], 1);
	assert_false(engine.replicas_short);
}

/* A connection that is lost takes all with it, also those that would have asked again. */
static void lost_connection(void **state)
{
	(void)state;
	begun(0);
	turn();
	begun(1);
	answer(ERR_QUEUE_LOST, 2);
	assert_int_equal(lost[0] + lost[1], 2);
	assert_int_equal(went[0] + went[1] + kept[0] + kept[1], 0);
	assert_null(next_turn);
	assert_false(engine.replicas_short);
}

/* With too few, it asks once a second by itself. */
static void asks_again(void **state)
{
	(void)state;
	engine_replicas_tick(&engine, INT64_MAX);
	assert_null(next_turn);
	begun(0);
	turn();
	answer(ERR_OK, 0);
	engine_replicas_tick(&engine, engine.wait_boot_us - 1);
	assert_null(next_turn);
	engine_replicas_tick(&engine, engine.wait_boot_us);
	turn();
	assert_int_equal(waits, 2);
	answer(ERR_OK, 2);
	assert_false(engine.replicas_short);
}

static void who_needs_them(void **state)
{
	(void)state;
	engine.lane[CWC_HOUSE].enabled = engine.lane[CWC_SENATE].enabled = true;
	config.chamber[CWC_HOUSE].unknown_policy = CONFIG_UNKNOWN_HOLD;
	config.chamber[CWC_SENATE].unknown_policy = CONFIG_UNKNOWN_RESEND;
	assert_true(engine_replicas_needed(&engine, CWC_HOUSE));
	assert_false(engine_replicas_needed(&engine, CWC_SENATE));
	config.replicas = 0;
	assert_false(engine_replicas_needed(&engine, CWC_HOUSE));
	config.replicas = 2;
	engine.lane[CWC_HOUSE].enabled = false;
	assert_false(engine_replicas_needed(&engine, CWC_HOUSE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_for_all_that_came_together, set_up),
		cmocka_unit_test_setup(one_that_comes_meanwhile_needs_the_next, set_up),
		cmocka_unit_test_setup(too_few_or_an_error, set_up),
		cmocka_unit_test_setup(lost_connection, set_up),
		cmocka_unit_test_setup(asks_again, set_up),
		cmocka_unit_test_setup(who_needs_them, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
