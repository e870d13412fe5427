/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/decide.h"

#define S   1000000LL
#define NOW (1000 * S)

static const struct decide_policy house = { .attempts = 3,
					    .backoff_base_us = 30 * S,
					    .backoff_cap_us = 100 * S,
					    .age_max_us = 500 * S,
					    .resend_after_us = 60 * S,
					    .resend = false };

static struct decision answer(struct decide_policy p, struct decide_job j, enum outcome o, int64_t retry_after)
{
	struct decision d;
	decide_answer(&j, &p, o, retry_after, NOW, 0, &d);
	return d;
}

static struct decide_job job(unsigned attempt, unsigned unknowns)
{
	return (struct decide_job){ .chamber = CWC_HOUSE,
				    .attempt = attempt,
				    .unknowns = unknowns,
				    .first_us = NOW - 10 * S,
				    .begun_us = NOW - S };
}

static void definite_answers_end(void **state)
{
	(void)state;
	struct decision d = answer(house, job(1, 0), OUT_ACCEPTED, -1);
	assert_int_equal(d.verb, QUEUE_END);
	assert_int_equal(d.outcome, OUT_ACCEPTED);
	d = answer(house, job(1, 0), OUT_REJECTED_BY_CHAMBER, -1);
	assert_int_equal(d.verb, QUEUE_END);
	assert_int_equal(d.outcome, OUT_REJECTED_BY_CHAMBER);
}

static void an_open_fate_hides_every_refusal(void **state)
{
	(void)state;
	assert_int_equal(answer(house, job(2, 1), OUT_REJECTED_BY_CHAMBER, -1).outcome, OUT_OUTCOME_UNKNOWN);
	assert_int_equal(answer(house, job(3, 1), OUT_NOT_SENT, -1).outcome, OUT_OUTCOME_UNKNOWN);
	assert_int_equal(answer(house, job(2, 1), OUT_ACCEPTED, -1).outcome, OUT_ACCEPTED);
	for (unsigned o = 0; o < OUTCOME_COUNT; o++) {
		if (outcome_state((enum outcome)o) == OUTCOME_OPEN)
			continue;
		struct decision d = { 0 };
		decide_end(&d, (enum outcome)o, 1);
		assert_true(outcome_state(d.outcome) == OUTCOME_ACCEPTED || d.outcome == OUT_OUTCOME_UNKNOWN ||
			    d.outcome == OUT_DROPPED);
		decide_end(&d, (enum outcome)o, 0);
		assert_int_equal(d.outcome, o);
	}
}

static void retries_within_the_budgets(void **state)
{
	(void)state;
	struct decision d = answer(house, job(2, 0), OUT_NOT_SENT, -1);
	assert_int_equal(d.verb, QUEUE_RETRY);
	assert_true(d.due_us >= NOW + 30 * S && d.due_us <= NOW + 60 * S);
	d = answer(house, job(3, 0), OUT_NOT_SENT, -1);
	assert_int_equal(d.verb, QUEUE_END);
	assert_int_equal(d.outcome, OUT_ATTEMPTS_EXHAUSTED);
	struct decide_job old = job(1, 0);
	old.first_us = NOW - 501 * S;
	assert_int_equal(answer(house, old, OUT_NOT_SENT, -1).outcome, OUT_AGE_EXHAUSTED);
}

static void backoff_doubles_to_its_cap(void **state)
{
	(void)state;
	assert_int_equal(decide_backoff(&house, 1, 0), 15 * S);
	assert_int_equal(decide_backoff(&house, 1, (uint64_t)(15 * S)), 30 * S);
	assert_int_equal(decide_backoff(&house, 2, 0), 30 * S);
	assert_int_equal(decide_backoff(&house, 50, 0), 50 * S);
	for (uint64_t r = 1; r != 0; r <<= 1) {
		int64_t b = decide_backoff(&house, 3, r - 1);
		assert_true(b >= 50 * S && b <= 100 * S);
	}
}

static void throttled_uses_no_attempt(void **state)
{
	(void)state;
	struct decision d = answer(house, job(3, 0), OUT_THROTTLED, 7);
	assert_int_equal(d.verb, QUEUE_THROTTLED);
	assert_int_equal(d.due_us, NOW + 7 * S);
	assert_int_equal(d.hold_us, d.due_us);
	assert_int_equal(answer(house, job(3, 0), OUT_THROTTLED, 0).due_us, NOW + S);
	assert_int_equal(answer(house, job(3, 0), OUT_THROTTLED, 1000000).due_us, NOW + 3600 * S);
	d = answer(house, job(1, 0), OUT_THROTTLED, -1);
	assert_int_equal(d.hold_us, 0);
	assert_true(d.due_us > NOW);
}

static void misconfiguration_holds_the_chamber(void **state)
{
	(void)state;
	struct decision d = answer(house, job(3, 0), OUT_MISCONFIGURED, -1);
	assert_int_equal(d.verb, QUEUE_THROTTLED);
	assert_true(d.hold_us > NOW && d.due_us >= d.hold_us);
}

static void no_answer_by_policy(void **state)
{
	(void)state;
	struct decision d = answer(house, job(1, 0), OUT_NO_ANSWER, -1);
	assert_int_equal(d.verb, QUEUE_END);
	assert_int_equal(d.outcome, OUT_OUTCOME_UNKNOWN);
	struct decide_policy senate = house;
	senate.resend = true;
	d = answer(senate, job(1, 0), OUT_NO_ANSWER, -1);
	assert_int_equal(d.verb, QUEUE_UNKNOWN);
	/* Not while the first POST can still be under way. */
	assert_true(d.due_us >= NOW - S + senate.resend_after_us);
	assert_int_equal(answer(senate, job(3, 1), OUT_NO_ANSWER, -1).outcome, OUT_OUTCOME_UNKNOWN);
}

static void conflict_is_left_to_the_script(void **state)
{
	(void)state;
	assert_int_equal(answer(house, job(2, 1), OUT_ACCEPTED_EARLIER, -1).verb, QUEUE_CONFLICT);
	assert_int_equal(answer(house, job(1, 0), OUT_ID_CONFLICT, -1).verb, QUEUE_CONFLICT);
}

static void sixteen_of_twenty_400_are_suspect(void **state)
{
	(void)state;
	struct decide_window w = { 0 };
	for (int i = 0; i < 15; i++)
		assert_false(decide_suspect(&w, 400));
	for (int i = 0; i < 4; i++)
		assert_false(decide_suspect(&w, 200));
	assert_true(decide_suspect(&w, 400));
	/* The oldest refusal leaves the window. */
	assert_false(decide_suspect(&w, 200));
	for (int i = 0; i < 30; i++)
		assert_false(decide_suspect(&w, i % 2 ? 400 : 503));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definite_answers_end),
		cmocka_unit_test(an_open_fate_hides_every_refusal),
		cmocka_unit_test(retries_within_the_budgets),
		cmocka_unit_test(backoff_doubles_to_its_cap),
		cmocka_unit_test(throttled_uses_no_attempt),
		cmocka_unit_test(misconfiguration_holds_the_chamber),
		cmocka_unit_test(no_answer_by_policy),
		cmocka_unit_test(conflict_is_left_to_the_script),
		cmocka_unit_test(sixteen_of_twenty_400_are_suspect),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
