/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include "cwc/outcome.h"

static enum outcome answered(enum cwc_chamber chamber, int status, bool body_left, bool before, const char *body)
{
	struct cwc_answer a = { .fate = CWC_FATE_ANSWERED,
				.body_left = body_left,
				.status = status,
				.retry_after_s = -1,
				.body = span_str(body) };

	return cwc_classify(chamber, &a, before);
}

/* The same in both chambers, whatever went before. */
static void expect(int status, bool body_left, enum outcome o)
{
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		assert_int_equal(answered((enum cwc_chamber)c, status, body_left, false, ""), o);
		assert_int_equal(answered((enum cwc_chamber)c, status, body_left, true, ""), o);
	}
}

/* All statuses that a server can send, by a table of their own. */
static enum outcome by_table(int status, bool body_left)
{
	static const struct {
		int first, last;
		enum outcome left, kept;
	} table[] = {
		{ 0, 199, OUT_NO_ANSWER, OUT_NO_ANSWER },
		{ 200, 299, OUT_ACCEPTED, OUT_NOT_SENT },
		{ 300, 399, OUT_MISCONFIGURED, OUT_MISCONFIGURED },
		{ 400, 400, OUT_REJECTED_BY_CHAMBER, OUT_REJECTED_BY_CHAMBER },
		{ 401, 401, OUT_MISCONFIGURED, OUT_MISCONFIGURED },
		{ 402, 402, OUT_REJECTED_BY_CHAMBER, OUT_REJECTED_BY_CHAMBER },
		{ 403, 404, OUT_MISCONFIGURED, OUT_MISCONFIGURED },
		{ 405, 407, OUT_REJECTED_BY_CHAMBER, OUT_REJECTED_BY_CHAMBER },
		{ 408, 408, OUT_NO_ANSWER, OUT_NOT_SENT },
		{ 410, 428, OUT_REJECTED_BY_CHAMBER, OUT_REJECTED_BY_CHAMBER },
		{ 429, 429, OUT_THROTTLED, OUT_THROTTLED },
		{ 430, 499, OUT_REJECTED_BY_CHAMBER, OUT_REJECTED_BY_CHAMBER },
		{ 500, 502, OUT_NO_ANSWER, OUT_NOT_SENT },
		{ 503, 503, OUT_NO_ANSWER, OUT_THROTTLED },
		{ 504, 599, OUT_NO_ANSWER, OUT_NOT_SENT },
		{ 600, 999, OUT_NO_ANSWER, OUT_NO_ANSWER },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (status >= table[i].first && status <= table[i].last)
			return body_left ? table[i].left : table[i].kept;
	}
	return OUTCOME_COUNT;
}

static void test_every_status(void **state)
{
	(void)state;
	for (int status = 0; status <= 999; status++) {
		if (status == 409)
			continue;
		expect(status, true, by_table(status, true));
		expect(status, false, by_table(status, false));
	}
	expect(-1, true, OUT_NO_ANSWER);
	expect(-200, true, OUT_NO_ANSWER);
}

static void test_conflict(void **state)
{
	(void)state;
	assert_int_equal(answered(CWC_SENATE, 409, true, true, ""), OUT_ACCEPTED_EARLIER);
	assert_int_equal(answered(CWC_SENATE, 409, true, false, ""), OUT_ID_CONFLICT);
	assert_int_equal(answered(CWC_HOUSE, 409, true, true, ""), OUT_REJECTED_BY_CHAMBER);
	assert_int_equal(answered(CWC_HOUSE, 409, true, false, ""), OUT_REJECTED_BY_CHAMBER);
}

static void test_agent_mismatch(void **state)
{
	static const char body[] = "<Errors><Error>DeliveryAgent Mismatch: key is of another</Error></Errors>";

	(void)state;
	assert_int_equal(answered(CWC_HOUSE, 400, true, false, body), OUT_MISCONFIGURED);
	assert_int_equal(answered(CWC_SENATE, 400, true, false, body), OUT_MISCONFIGURED);
	assert_int_equal(answered(CWC_HOUSE, 422, true, false, body), OUT_REJECTED_BY_CHAMBER);
	assert_int_equal(answered(CWC_HOUSE, 200, true, false, body), OUT_ACCEPTED);
	assert_int_equal(answered(CWC_HOUSE, 500, true, false, body), OUT_NO_ANSWER);
	assert_int_equal(answered(CWC_HOUSE, 400, true, false, "<Error>DeliveryAgent</Error>"),
			 OUT_REJECTED_BY_CHAMBER);
}

/* Without an answer the status means nothing. */
static void test_no_answer(void **state)
{
	struct cwc_answer a = { .fate = CWC_FATE_NOT_SENT, .status = 200 };

	(void)state;
	assert_int_equal(cwc_classify(CWC_HOUSE, &a, false), OUT_NOT_SENT);
	a.fate = CWC_FATE_UNKNOWN;
	assert_int_equal(cwc_classify(CWC_SENATE, &a, true), OUT_NO_ANSWER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_status),
		cmocka_unit_test(test_conflict),
		cmocka_unit_test(test_agent_mismatch),
		cmocka_unit_test(test_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
