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
	assert_int_equal(d.hold_us, NOW + 7 * S);
	assert_int_equal(d.due_us, NOW); /* the hold keeps it */
	assert_false(d.hold_office);
	assert_int_equal(answer(house, job(3, 0), OUT_THROTTLED, 0).hold_us, NOW + S);
	assert_int_equal(answer(house, job(3, 0), OUT_THROTTLED, 1000000).hold_us, NOW + 3600 * S);
	d = answer(house, job(1, 0), OUT_THROTTLED, -1);
	assert_int_equal(d.hold_us, 0);
	assert_true(d.due_us > NOW);
}

static void misconfiguration_holds_the_chamber(void **state)
{
	(void)state;
	struct decide_job j = job(3, 0);
	struct decision d = answer(house, j, OUT_MISCONFIGURED, -1);
	assert_int_equal(d.verb, QUEUE_THROTTLED);
	assert_int_equal(d.due_us, NOW);
	assert_int_equal(d.hold_us, NOW + 300 * S);
	assert_false(d.hold_office);
	/* The chamber takes letters to others: it is this office. */
	j.others_taken = true;
	d = answer(house, j, OUT_MISCONFIGURED, -1);
	assert_int_equal(d.hold_us, NOW + 300 * S);
	assert_true(d.hold_office);
	/* Who says when to come back speaks for the chamber. */
	assert_false(answer(house, j, OUT_THROTTLED, 5).hold_office);
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

/* --- every answer ----------------------------------------------------------------------------- */

enum { CHAMBERS_ALL = -1 };

/* What becomes of a first attempt, from the status line on. */
struct answer_case {
	int chamber; /* or CHAMBERS_ALL */
	enum cwc_fate fate;
	int status;
	bool body_left;
	int64_t retry_after;
	const char *body;
	enum queue_verb verb;
	enum outcome outcome; /* in a chamber that does not resend */
	enum decide_site site;
	bool hold;
};

#define ANSWERED(chamber, status, left) chamber, CWC_FATE_ANSWERED, status, left, -1, ""
#define FAULT                           DECIDE_SITE_FAULT
#define SILENT                          DECIDE_SITE_SILENT
#define ANSWERS                         DECIDE_SITE_ANSWERS
#define ALL                             CHAMBERS_ALL

static const struct answer_case cases[] = {
	{ ANSWERED(ALL, 200, true), QUEUE_END, OUT_ACCEPTED, ANSWERS, false },
	{ ANSWERED(ALL, 201, true), QUEUE_END, OUT_ACCEPTED, ANSWERS, false },
	{ ANSWERED(ALL, 200, false), QUEUE_RETRY, OUT_NOT_SENT, FAULT, false },
	{ ANSWERED(ALL, 400, true), QUEUE_END, OUT_REJECTED_BY_CHAMBER, ANSWERS, false },
	{ ANSWERED(ALL, 400, false), QUEUE_END, OUT_REJECTED_BY_CHAMBER, ANSWERS, false },
	{ ANSWERED(ALL, 415, true), QUEUE_END, OUT_REJECTED_BY_CHAMBER, ANSWERS, false },
	{ ANSWERED(CWC_HOUSE, 409, true), QUEUE_END, OUT_REJECTED_BY_CHAMBER, ANSWERS, false },
	{ ANSWERED(CWC_HOUSE, 409, false), QUEUE_END, OUT_REJECTED_BY_CHAMBER, ANSWERS, false },
	{ ANSWERED(CWC_SENATE, 409, true), QUEUE_CONFLICT, OUT_ID_CONFLICT, ANSWERS, false },
	{ ANSWERED(CWC_SENATE, 409, false), QUEUE_RETRY, OUT_NOT_SENT, FAULT, false },
	{ ANSWERED(ALL, 429, true), QUEUE_THROTTLED, OUT_THROTTLED, FAULT, false },
	{ ANSWERED(ALL, 429, false), QUEUE_THROTTLED, OUT_THROTTLED, FAULT, false },
	{ ANSWERED(ALL, 503, false), QUEUE_THROTTLED, OUT_THROTTLED, FAULT, false },
	{ ALL, CWC_FATE_ANSWERED, 429, true, 9, "", QUEUE_THROTTLED, OUT_THROTTLED, SILENT, true },
	{ ALL, CWC_FATE_ANSWERED, 429, false, 9, "", QUEUE_THROTTLED, OUT_THROTTLED, SILENT, true },
	{ ALL, CWC_FATE_ANSWERED, 503, false, 9, "", QUEUE_THROTTLED, OUT_THROTTLED, SILENT, true },
	{ ANSWERED(ALL, 401, true), QUEUE_THROTTLED, OUT_MISCONFIGURED, ANSWERS, true },
	{ ANSWERED(ALL, 401, false), QUEUE_THROTTLED, OUT_MISCONFIGURED, ANSWERS, true },
	{ ANSWERED(ALL, 404, true), QUEUE_THROTTLED, OUT_MISCONFIGURED, ANSWERS, true },
	{ ANSWERED(ALL, 302, true), QUEUE_THROTTLED, OUT_MISCONFIGURED, ANSWERS, true },
	{ ALL, CWC_FATE_ANSWERED, 400, true, -1, "<Error>DeliveryAgent Mismatch</Error>", QUEUE_THROTTLED,
	  OUT_MISCONFIGURED, ANSWERS, true },
	{ ANSWERED(ALL, 408, false), QUEUE_RETRY, OUT_NOT_SENT, FAULT, false },
	{ ANSWERED(ALL, 500, false), QUEUE_RETRY, OUT_NOT_SENT, FAULT, false },
	{ ANSWERED(ALL, 408, true), QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
	{ ANSWERED(ALL, 500, true), QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
	{ ANSWERED(ALL, 503, true), QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
	/* A time to come back says nothing about a letter that may have been taken. */
	{ ALL, CWC_FATE_ANSWERED, 503, true, 9, "", QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
	{ ANSWERED(ALL, 100, true), QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
	{ ALL, CWC_FATE_NOT_SENT, 0, false, -1, "", QUEUE_RETRY, OUT_NOT_SENT, FAULT, false },
	{ ALL, CWC_FATE_UNKNOWN, 0, true, -1, "", QUEUE_END, OUT_OUTCOME_UNKNOWN, FAULT, false },
};

/* In a chamber that knows an id again, what has no answer is sent again. */
static void expect_case(const struct answer_case *x, const struct decision *d, bool resend)
{
	bool again = resend && x->outcome == OUT_OUTCOME_UNKNOWN;
	assert_int_equal(d->verb, again ? QUEUE_UNKNOWN : x->verb);
	assert_int_equal(d->outcome, again ? OUT_NO_ANSWER : x->outcome);
	assert_int_equal(d->hold_us > NOW, x->hold);
	if (x->hold)
		assert_int_equal(d->due_us, NOW);
	else if (d->verb == QUEUE_RETRY || d->verb == QUEUE_UNKNOWN || d->verb == QUEUE_THROTTLED)
		assert_true(d->due_us > NOW);
	else
		assert_int_equal(d->due_us, 0);
}

static void run_case(const struct answer_case *x, enum cwc_chamber chamber, bool resend)
{
	struct cwc_answer a = { .fate = x->fate,
				.body_left = x->body_left,
				.status = x->status,
				.retry_after_s = x->retry_after,
				.body = span_str(x->body) };
	struct decide_policy p = house;
	struct decide_job j = job(1, 0);
	enum outcome o = cwc_classify(chamber, &a, false);
	p.resend = resend;
	j.chamber = chamber;
	struct decision d = answer(p, j, o, x->retry_after);
	expect_case(x, &d, resend);
	assert_int_equal(d.site, x->site);
	/* The same, cut off by ourselves. */
	j.ours = true;
	d = answer(p, j, o, x->retry_after);
	expect_case(x, &d, resend);
	assert_int_equal(d.site, DECIDE_SITE_SILENT);
}

static void every_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (int c = 0; c < CWC_CHAMBERS; c++) {
			if (cases[i].chamber != CHAMBERS_ALL && cases[i].chamber != c)
				continue;
			run_case(&cases[i], (enum cwc_chamber)c, false);
			run_case(&cases[i], (enum cwc_chamber)c, true);
		}
	}
}

/* Every class before and after: what a receiver says never depends on the budgets of the job. */
static void the_site_does_not_depend_on_the_job(void **state)
{
	(void)state;
	for (unsigned o = 0; o < OUTCOME_COUNT; o++) {
		struct decision first = answer(house, job(1, 0), (enum outcome)o, -1);
		assert_int_equal(answer(house, job(3, 0), (enum outcome)o, -1).site, first.site);
		assert_int_equal(answer(house, job(2, 1), (enum outcome)o, -1).site, first.site);
	}
	struct decision d = { 0 };
	decide_end(&d, OUT_LETTER_INVALID, 0);
	assert_int_equal(d.site, DECIDE_SITE_SILENT);
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
		cmocka_unit_test(every_answer),
		cmocka_unit_test(the_site_does_not_depend_on_the_job),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
