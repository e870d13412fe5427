/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the job's life: every pair is defined, and the promises hold on every path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/pipeline.h"

static void every_pair_is_defined(void **state)
{
	(void)state;
	for (unsigned s = 0; s < PIPELINE_STATE_COUNT; s++) {
		for (unsigned e = 0; e < PIPELINE_EVENT_COUNT; e++) {
			enum pipeline_state next = PIPELINE_STATE_COUNT;
			enum pipeline_action action = PIPELINE_ACTION_COUNT;
			pipeline_step((enum pipeline_state)s, (enum pipeline_event)e, &next, &action);
			assert_true((unsigned)next < PIPELINE_STATE_COUNT);
			assert_true((unsigned)action < PIPELINE_ACTION_COUNT);
			if (action == PIPELINE_DO_IMPOSSIBLE)
				assert_int_equal(next, s);
			/* A slot is freed exactly when the job is gone. */
			assert_int_equal(action == PIPELINE_DO_FORGET, next == PIPELINE_GONE && s != PIPELINE_GONE);
		}
	}
}

/* The whole table once more, by letters: what the next state and the action are, or `-` for impossible. In the order of
 * the enumerations; a state or an event that is added must be thought of here too. */
static void the_table(void **state)
{
	(void)state;
	static const char states[] = "TBRPSG", actions[] = "nbwpsf-";
	/* READY UNFIT GO GO_ALONE NO_GO TOO_LATE STALE ANSWER SETTLED LOST FENCED */
	static const char *const rows[] = {
		[PIPELINE_TAKEN] = "Bb Ss -- -- -- -- -- -- -- -- --",
		[PIPELINE_BEGINNING] = "-- -- Pp Rw Ss Ss Ss -- -- Ss Bn",
		[PIPELINE_REPLICATING] = "-- -- Pp -- Ss Ss -- -- -- Ss Ss",
		[PIPELINE_POSTING] = "-- -- -- -- -- -- -- Ss -- Pn Pn",
		[PIPELINE_SETTLING] = "-- -- -- -- -- -- -- -- Gf Ss Sn",
		[PIPELINE_GONE] = "-- -- -- -- -- -- -- -- -- -- --",
	};
	_Static_assert(sizeof rows / sizeof rows[0] == PIPELINE_STATE_COUNT, "a row for each state");
	_Static_assert(sizeof states - 1 == PIPELINE_STATE_COUNT, "a letter for each state");
	_Static_assert(sizeof actions - 1 == PIPELINE_ACTION_COUNT, "a letter for each action");
	for (unsigned s = 0; s < PIPELINE_STATE_COUNT; s++) {
		assert_int_equal(strlen(rows[s]), 3 * PIPELINE_EVENT_COUNT - 1);
		for (unsigned e = 0; e < PIPELINE_EVENT_COUNT; e++) {
			enum pipeline_state next;
			enum pipeline_action action;
			pipeline_step((enum pipeline_state)s, (enum pipeline_event)e, &next, &action);
			assert_int_equal(actions[action], rows[s][3 * e + 1]);
			assert_int_equal(action == PIPELINE_DO_IMPOSSIBLE ? '-' : states[next], rows[s][3 * e]);
		}
	}
}

/* Walks every path of possible events up to `depth` and counts POSTs. */
static void walk(enum pipeline_state s, unsigned posts, bool go, unsigned depth)
{
	assert_true(posts <= 1);
	if (depth == 0 || s == PIPELINE_GONE)
		return;
	for (unsigned e = 0; e < PIPELINE_EVENT_COUNT; e++) {
		enum pipeline_state next;
		enum pipeline_action action;
		pipeline_step(s, (enum pipeline_event)e, &next, &action);
		if (action == PIPELINE_DO_IMPOSSIBLE)
			continue;
		/* A POST needs a GO, and a job that was POSTed is never forgotten before it is settled. */
		if (action == PIPELINE_DO_POST)
			assert_int_equal(e, PIPELINE_ON_GO);
		if (action == PIPELINE_DO_FORGET && go)
			assert_int_equal(e, PIPELINE_ON_SETTLED);
		bool gone_ahead = e == PIPELINE_ON_GO || e == PIPELINE_ON_GO_ALONE;
		walk(next, posts + (action == PIPELINE_DO_POST), go || gone_ahead, depth - 1);
	}
}

static void at_most_one_post_and_no_loss(void **state)
{
	(void)state;
	walk(PIPELINE_TAKEN, 0, false, 9);
}

static void a_good_letter(void **state)
{
	(void)state;
	static const struct {
		enum pipeline_event event;
		enum pipeline_action action;
	} way[] = { { PIPELINE_ON_READY, PIPELINE_DO_BEGIN },
		    { PIPELINE_ON_GO, PIPELINE_DO_POST },
		    { PIPELINE_ON_ANSWER, PIPELINE_DO_SETTLE },
		    { PIPELINE_ON_SETTLED, PIPELINE_DO_FORGET } };
	enum pipeline_state s = PIPELINE_TAKEN;
	for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
		enum pipeline_action action;
		pipeline_step(s, way[i].event, &s, &action);
		assert_int_equal(action, way[i].action);
	}
	assert_int_equal(s, PIPELINE_GONE);
}

static void a_letter_that_waits_for_replicas(void **state)
{
	(void)state;
	enum pipeline_state s;
	enum pipeline_action a;
	pipeline_step(PIPELINE_BEGINNING, PIPELINE_ON_GO_ALONE, &s, &a);
	assert_int_equal(s, PIPELINE_REPLICATING);
	assert_int_equal(a, PIPELINE_DO_WAIT);
	pipeline_step(s, PIPELINE_ON_GO, &s, &a);
	assert_int_equal(a, PIPELINE_DO_POST);
	/* Whatever else happens: nothing left, and the queue is told so. */
	static const enum pipeline_event others[] = { PIPELINE_ON_NO_GO, PIPELINE_ON_TOO_LATE, PIPELINE_ON_LOST,
						      PIPELINE_ON_FENCED };
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		pipeline_step(PIPELINE_REPLICATING, others[i], &s, &a);
		assert_int_equal(s, PIPELINE_SETTLING);
		assert_int_equal(a, PIPELINE_DO_SETTLE);
	}
}

static void a_lost_connection(void **state)
{
	(void)state;
	enum pipeline_state s;
	enum pipeline_action a;
	pipeline_step(PIPELINE_BEGINNING, PIPELINE_ON_LOST, &s, &a);
	assert_int_equal(a, PIPELINE_DO_SETTLE);
	pipeline_step(PIPELINE_POSTING, PIPELINE_ON_LOST, &s, &a);
	assert_int_equal(s, PIPELINE_POSTING);
	pipeline_step(PIPELINE_SETTLING, PIPELINE_ON_LOST, &s, &a);
	assert_int_equal(a, PIPELINE_DO_SETTLE);
	pipeline_step(PIPELINE_POSTING, PIPELINE_ON_FENCED, &s, &a);
	assert_int_equal(a, PIPELINE_DO_NONE);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(pipeline_state_name(PIPELINE_TAKEN), "taken");
	assert_string_equal(pipeline_event_name(PIPELINE_ON_FENCED), "fenced");
	assert_string_equal(pipeline_action_name(PIPELINE_DO_POST), "post");
	assert_string_equal(pipeline_state_name(PIPELINE_REPLICATING), "replicating");
	assert_string_equal(pipeline_event_name(PIPELINE_ON_GO_ALONE), "go_alone");
	assert_string_equal(pipeline_action_name(PIPELINE_DO_WAIT), "wait");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_is_defined),
		cmocka_unit_test(the_table),
		cmocka_unit_test(a_letter_that_waits_for_replicas),
		cmocka_unit_test(at_most_one_post_and_no_loss),
		cmocka_unit_test(a_good_letter),
		cmocka_unit_test(a_lost_connection),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
