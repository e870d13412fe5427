/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <string.h>

#include "cwc/outcome.h"

static void test_every_name_finds_its_outcome(void **state)
{
	(void)state;
	for (unsigned o = 0; o < OUTCOME_COUNT; o++) {
		enum outcome found = OUTCOME_COUNT;

		assert_int_equal(outcome_find(span_str(outcome_name((enum outcome)o)), &found), ERR_OK);
		assert_int_equal(found, o);
		assert_true(strlen(outcome_text((enum outcome)o)) > 10);
	}
}

static void test_other_names_are_not_found(void **state)
{
	enum outcome found = OUT_EXPIRED;

	(void)state;
	assert_int_equal(outcome_find(span_lit("Accepted"), &found), ERR_NOT_FOUND);
	assert_int_equal(outcome_find(span_lit("accept"), &found), ERR_NOT_FOUND);
	assert_int_equal(outcome_find(span_of(NULL, 0), &found), ERR_NOT_FOUND);
	assert_int_equal(found, OUT_EXPIRED);
}

static void expect(enum outcome o, const char *name, const char *class, const char *state, bool retryable)
{
	assert_string_equal(outcome_name(o), name);
	assert_string_equal(outcome_class_name(outcome_class(o)), class);
	assert_string_equal(outcome_state_name(outcome_state(o)), state);
	assert_int_equal(outcome_retryable(o), retryable);
}

static void test_rows(void **state)
{
	(void)state;
	expect(OUT_ACCEPTED, "accepted", "accepted", "accepted", false);
	expect(OUT_ACCEPTED_EARLIER, "accepted_earlier", "accepted", "accepted", false);
	expect(OUT_REJECTED_BY_CHAMBER, "rejected_by_chamber", "rejected", "rejected", false);
	expect(OUT_KEY_UNKNOWN, "key_unknown", "rejected", "rejected", true);
	expect(OUT_ATTEMPTS_EXHAUSTED, "attempts_exhausted", "ended", "dead", true);
	expect(OUT_EXPIRED, "expired", "ended", "expired", true);
	expect(OUT_CANCELLED, "cancelled", "ended", "cancelled", true);
	expect(OUT_DROPPED, "dropped", "ended", "dropped", true);
	expect(OUT_OUTCOME_UNKNOWN, "outcome_unknown", "unknown", "unknown", false);
	expect(OUT_THROTTLED, "throttled", "throttled", "open", true);
	expect(OUT_NOT_SENT, "not_sent", "transient", "open", true);
	expect(OUT_MISCONFIGURED, "misconfigured", "configuration", "open", true);
}

/* A success is never made up: only three outcomes are in the class, and no others leave that state. */
static void test_what_counts_as_accepted(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
		enum outcome o = (enum outcome)i;
		bool accepted = o == OUT_ACCEPTED || o == OUT_ACCEPTED_EARLIER || o == OUT_ACCEPTED_ON_RECORD;

		assert_int_equal(outcome_class(o) == OUTCOME_CLASS_ACCEPTED, accepted);
		assert_int_equal(outcome_state(o) == OUTCOME_ACCEPTED, accepted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_name_finds_its_outcome),
		cmocka_unit_test(test_other_names_are_not_found),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_what_counts_as_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
