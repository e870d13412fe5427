/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/seen.h"

static void id(unsigned n, char out[33])
{
	snprintf(out, 33, "%024x%08x", 7u, n);
}

static void remembers_what_was_added(void **state)
{
	(void)state;
	struct seen *s = seen_new();
	char x[33];
	for (unsigned i = 0; i < 5000; i++) {
		id(2 * i, x);
		seen_add(s, x);
	}
	for (unsigned i = 0; i < 10000; i++) {
		id(i, x);
		assert_int_equal(seen_has(s, x), i % 2 == 0);
	}
	seen_free(s);
}

static void malformed_ids_are_never_found(void **state)
{
	(void)state;
	struct seen *s = seen_new();
	seen_add(s, "");
	seen_add(s, "zz");
	seen_add(s, "00000000000000000000000000000000");
	assert_false(seen_has(s, ""));
	assert_false(seen_has(s, "zz"));
	assert_false(seen_has(s, "00000000000000000000000000000000"));
	seen_free(s);
	seen_free(NULL);
}

static void forgets_only_the_oldest(void **state)
{
	(void)state;
	struct seen *s = seen_new();
	char x[33];
	for (unsigned i = 0; i < 2 * SEEN_MAX + 10; i++) {
		id(i, x);
		seen_add(s, x);
		seen_add(s, x);
	}
	id(0, x);
	assert_false(seen_has(s, x));
	for (unsigned i = SEEN_MAX + 10; i < 2 * SEEN_MAX + 10; i++) {
		id(i, x);
		assert_true(seen_has(s, x));
	}
	seen_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remembers_what_was_added),
		cmocka_unit_test(malformed_ids_are_never_found),
		cmocka_unit_test(forgets_only_the_oldest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
