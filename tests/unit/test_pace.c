/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/pace.h"

/* Asks every `step_us` for `span_us` and counts what is granted. */
static unsigned granted(struct pace *p, int64_t from_us, int64_t span_us, int64_t step_us)
{
	unsigned n = 0;
	for (int64_t t = from_us; t < from_us + span_us; t += step_us)
		n += pace_take(p, t);
	return n;
}

static void holds_the_ceiling(void **state)
{
	(void)state;
	struct pace p;
	pace_init(&p, 5, 1);
	/* Two seconds' worth at once, then five a second. */
	assert_int_equal(granted(&p, 1000000, 100, 1), 11);
	pace_init(&p, 5, 1);
	unsigned n = granted(&p, 1000000, 20000000, 1000);
	assert_true(n >= 5 * 20 && n <= 5 * 22 + 1);
}

static void a_refusal_costs_nothing(void **state)
{
	(void)state;
	struct pace p;
	pace_init(&p, 1, 1);
	assert_int_equal(granted(&p, 0, 100, 1), 3);
	assert_false(pace_take(&p, 500000));
	assert_true(pace_take(&p, 1000000));
	assert_false(pace_take(&p, 1000001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_the_ceiling),
		cmocka_unit_test(a_refusal_costs_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
