/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/base/buf.h"

static void test_spans_compare(void **state)
{
	(void)state;
	assert_true(span_eq(span_lit("abc"), span_str("abc")));
	assert_false(span_eq(span_lit("abc"), span_lit("abd")));
	assert_false(span_eq(span_lit("abc"), span_lit("ab")));
	assert_true(span_eq(span_of(NULL, 0), span_lit("")));
	assert_true(span_eq(span_lit("a\0b"), span_of("a\0b", 3)));
	assert_true(span_eq_str(span_lit("abc"), "abc"));
	assert_false(span_eq_str(span_lit("abc"), "abcd"));
}

static void test_spans_compare_without_case(void **state)
{
	(void)state;
	assert_true(span_eq_nocase(span_lit("Retry-After"), span_lit("rETRY-aFTER")));
	assert_true(span_eq_nocase(span_lit("aZ"), span_lit("Az")));
	assert_false(span_eq_nocase(span_lit("a"), span_lit("b")));
	assert_false(span_eq_nocase(span_lit("a"), span_lit("aa")));
	/* '@' and '`', '[' and '{' differ by the case bit and are no letters. */
	assert_false(span_eq_nocase(span_lit("@"), span_lit("`")));
	assert_false(span_eq_nocase(span_lit("["), span_lit("{")));
	assert_true(span_eq_nocase(span_of(NULL, 0), span_lit("")));
}

static void test_span_find(void **state)
{
	const struct span hay = span_lit("one two two");

	(void)state;
	assert_ptr_equal(span_find(hay, span_lit("two")), hay.p + 4);
	assert_ptr_equal(span_find(hay, span_lit("")), hay.p);
	assert_null(span_find(hay, span_lit("three")));
	assert_null(span_find(span_lit("tw"), span_lit("two")));
	assert_null(span_find(span_of(NULL, 0), span_lit("two")));
}

static void test_appends_make_one_text(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 200);
	assert_int_equal(b.n, 0);
	buf_add_str(&b, "a");
	buf_add_span(&b, span_lit("bc"));
	buf_add_span(&b, span_of(NULL, 0));
	buf_add_byte(&b, ' ');
	buf_add_uint(&b, UINT64_MAX);
	buf_add_byte(&b, ' ');
	buf_add_int(&b, INT64_MIN);
	buf_add(&b, " 0", 2);
	buf_add_uint(&b, 0);
	assert_string_equal(buf_cstr(&b), "abc 18446744073709551615 -9223372036854775808 00");
	assert_int_equal(b.n, 48);
	assert_int_equal(buf_ok(&b), ERR_OK);
	buf_clear(&b);
}

static void test_contents_survive_growing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100000);
	for (unsigned i = 0; i < 100000; i++)
		buf_add_byte(&b, (uint8_t)(i * 7));
	assert_int_equal(buf_ok(&b), ERR_OK);
	assert_int_equal(b.n, 100000);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(b.p[i], (uint8_t)(i * 7));
	buf_add_byte(&b, 0);
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_clear(&b);
}

static void test_overflow_is_sticky(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	buf_add_str(&b, "abc");
	buf_add_str(&b, "de");
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_add_str(&b, "f"); /* would fit */
	assert_int_equal(b.n, 3);
	assert_memory_equal(b.p, "abc", 3);
	assert_null(buf_cstr(&b));
	assert_null(buf_room(&b, 0));
	buf_reset(&b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	buf_add_str(&b, "abcd");
	assert_string_equal(buf_cstr(&b), "abcd"); /* the NUL needs no room below the ceiling */
	assert_int_equal(buf_ok(&b), ERR_OK);
	buf_add_str(&b, "");
	assert_int_equal(buf_ok(&b), ERR_OK);
	buf_add_byte(&b, 'e');
	buf_clear(&b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	assert_int_equal(b.max, 4);
}

static void test_ceiling_of_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_string_equal(buf_cstr(&b), "");
	buf_add_byte(&b, 'a');
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_clear(&b);
	buf_clear(NULL);
}

static void test_room_is_counted_by_the_caller(void **state)
{
	struct buf b;
	uint8_t *p;

	(void)state;
	buf_init(&b, 300);
	buf_add_str(&b, "ab");
	p = buf_room(&b, 298);
	assert_non_null(p);
	memset(p, 'x', 298);
	assert_int_equal(b.n, 2);
	buf_grew(&b, 3);
	assert_true(span_eq_str(span_buf(&b), "abxxx"));
	assert_null(buf_room(&b, 296));
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_clear(&b);
}

static void test_drop_moves_and_wipes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 16);
	buf_add_str(&b, "abcdef");
	buf_drop(&b, 0);
	assert_true(span_eq_str(span_buf(&b), "abcdef"));
	buf_drop(&b, 4);
	assert_true(span_eq_str(span_buf(&b), "ef"));
	assert_memory_equal(b.p + 2, "\0\0\0\0", 4);
	buf_drop(&b, 2);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
}

static void test_reset_wipes_all_of_it(void **state)
{
	static const uint8_t zeros[64];
	struct buf b;
	uint8_t *p;

	(void)state;
	buf_init(&b, 1000);
	buf_add_str(&b, "secret");
	p = buf_room(&b, 20); /* written and never counted */
	memcpy(p, "uncounted", 9);
	p = b.p;
	buf_reset(&b);
	assert_ptr_equal(b.p, p);
	assert_int_equal(b.n, 0);
	assert_true(b.cap >= 26 && b.cap <= sizeof(zeros));
	assert_memory_equal(b.p, zeros, b.cap);
	buf_clear(&b);
	assert_null(b.p);
	buf_add_str(&b, "again");
	assert_true(span_eq_str(span_buf(&b), "again"));
	buf_clear(&b);
}

static void test_fixed_memory_is_neither_moved_nor_freed(void **state)
{
	uint8_t memory[8];
	struct buf b = { .p = memory, .cap = sizeof(memory), .max = sizeof(memory) };

	(void)state;
	buf_add_str(&b, "1234567");
	assert_string_equal(buf_cstr(&b), "1234567");
	buf_add_byte(&b, '8');
	assert_int_equal(buf_ok(&b), ERR_OK);
	assert_null(buf_cstr(&b)); /* no room for the NUL */
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	buf_clear(&b);
	assert_ptr_equal(b.p, memory);
	assert_memory_equal(memory, "\0\0\0\0\0\0\0\0", 8);
	buf_add_str(&b, "123456789");
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
}

static void test_allocators(void **state)
{
	char *p = xcalloc(3, 5);

	(void)state;
	for (int i = 0; i < 15; i++)
		assert_int_equal(p[i], 0);
	xfree_wipe(p, 15);
	p = xstrdup("abc");
	assert_string_equal(p, "abc");
	xfree_wipe(p, 3);
	p = xstrndup(span_of("abcdef", 2));
	assert_string_equal(p, "ab");
	xfree_wipe(p, 2);
	p = xstrndup(span_of(NULL, 0));
	assert_string_equal(p, "");
	free(p);
	p = xmalloc(0);
	assert_non_null(p);
	free(p);
	p = xcalloc(0, 0);
	assert_non_null(p);
	xfree_wipe(p, 0);
	xfree_wipe(NULL, 5);
}

/* Runs f in a child with its stderr closed; true when it was ended by SIGABRT. */
static bool aborts(void (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void grew_too_much(void)
{
	struct buf b;

	buf_init(&b, 10);
	(void)buf_room(&b, 5);
	buf_grew(&b, 11);
}

static void drop_too_much(void)
{
	struct buf b;

	buf_init(&b, 10);
	buf_add_str(&b, "abc");
	buf_drop(&b, 4);
}

static void no_ceiling(void)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
}

static void nothing(void)
{
}

static void test_misuse_aborts(void **state)
{
	(void)state;
	assert_true(aborts(grew_too_much));
	assert_true(aborts(drop_too_much));
	assert_true(aborts(no_ceiling));
	assert_false(aborts(nothing));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spans_compare),
		cmocka_unit_test(test_spans_compare_without_case),
		cmocka_unit_test(test_span_find),
		cmocka_unit_test(test_appends_make_one_text),
		cmocka_unit_test(test_contents_survive_growing),
		cmocka_unit_test(test_overflow_is_sticky),
		cmocka_unit_test(test_ceiling_of_nothing),
		cmocka_unit_test(test_room_is_counted_by_the_caller),
		cmocka_unit_test(test_drop_moves_and_wipes),
		cmocka_unit_test(test_reset_wipes_all_of_it),
		cmocka_unit_test(test_fixed_memory_is_neither_moved_nor_freed),
		cmocka_unit_test(test_allocators),
		cmocka_unit_test(test_misuse_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
