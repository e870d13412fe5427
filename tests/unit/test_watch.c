/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/watch.h"

struct step {
	int64_t count;
	bool due;
};

static void walk(unsigned limit, const struct step *step, size_t n)
{
	struct watch_alarm a;
	watch_alarm_init(&a, limit);
	for (size_t i = 0; i < n; i++) {
		if (watch_alarm_due(&a, step[i].count) != step[i].due)
			fail_msg("limit %u, step %zu: count %lld", limit, i, (long long)step[i].count);
	}
}

#define WALK(limit, ...)                                    \
	walk((limit), (const struct step[]){ __VA_ARGS__ }, \
	     sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step))

static void once_when_reached(void **state)
{
	(void)state;
	WALK(100, { 0, false }, { 99, false }, { 100, true }, { 100, false }, { 101, false }, { 199, false });
	WALK(100, { 250, true }, { 250, false }, { 399, false }, { 400, true });
	WALK(1, { 0, false }, { 1, true }, { 1, false }, { 2, true }, { 3, false }, { 4, true });
}

static void again_at_each_doubling(void **state)
{
	(void)state;
	WALK(100, { 100, true }, { 200, true }, { 400, true }, { 799, false }, { 800, true });
}

static void armed_again_below_half(void **state)
{
	(void)state;
	/* To and fro around the limit, and around a step above it. */
	WALK(100, { 100, true }, { 60, false }, { 100, false }, { 50, false }, { 100, false });
	WALK(100, { 100, true }, { 49, false }, { 100, true }, { 0, false }, { 120, true });
	WALK(100, { 400, true }, { 200, false }, { 400, false }, { 199, false }, { 400, true });
	WALK(100, { 400, true }, { 0, false }, { 100, true });
	WALK(1, { 1, true }, { 0, false }, { 1, true });
	WALK(3, { 3, true }, { 2, false }, { 3, false }, { 1, false }, { 3, true });
}

static void zero_is_never(void **state)
{
	(void)state;
	WALK(0, { 0, false }, { 1, false }, { INT64_MAX, false });
}

static void large_counts(void **state)
{
	(void)state;
	WALK(1000000000, { INT64_MAX, true }, { -1, false }, { 1000000000, true });
}

static int64_t percent(const char *info)
{
	return watch_memory_percent(span_str(info));
}

static void memory(void **state)
{
	(void)state;
	assert_int_equal(percent("# Memory\r\nused_memory:80\r\nused_memory_human:80B\r\nmaxmemory:100\r\n"
				 "maxmemory_human:100B\r\n"),
			 80);
	assert_int_equal(percent("maxmemory:3\nused_memory:2"), 66);
	assert_int_equal(percent("used_memory:11\r\nmaxmemory:10\r\n"), 110);
	assert_int_equal(percent("used_memory:11\r\nmaxmemory:0\r\n"), 0);
	assert_int_equal(percent("used_memory:11\r\n"), 0);
	assert_int_equal(percent("x_used_memory:11\r\nmaxmemory:100\r\n"), 0);
	assert_int_equal(percent("used_memory:9223372036854775807\r\nmaxmemory:1\r\n"), 0);
	assert_int_equal(percent("used_memory:-1\r\nmaxmemory:x\r\n"), 0);
	assert_int_equal(percent(""), 0);
	assert_int_equal(watch_memory_percent(span_of(NULL, 0)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_when_reached),      cmocka_unit_test(again_at_each_doubling),
		cmocka_unit_test(armed_again_below_half), cmocka_unit_test(zero_is_never),
		cmocka_unit_test(large_counts),           cmocka_unit_test(memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
