/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks the attestor gets one answer, in time, whatever the module does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "tests/unit/attestor_fixture.h"

/* The wall clock of the whole program, that a test may step: ours comes before the library's. */
static _Atomic int64_t step_us;

static int64_t now_us(clockid_t id)
{
	struct timespec t;

	assert_int_equal(clock_gettime(id, &t), 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME) + step_us;
}

int64_t clock_boot_us(void)
{
	return now_us(CLOCK_BOOTTIME);
}

/* How many threads have not had a turn yet. -1: the kernel does not say. */
static int unborn(void)
{
	char path[300];
	unsigned long turns;
	int n = 0;
	DIR *tasks = opendir("/proc/self/task");

	assert_non_null(tasks);
	for (struct dirent *t = readdir(tasks); t != NULL; t = readdir(tasks)) {
		if (t->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", t->d_name);
		FILE *f = fopen(path, "r");

		if (f == NULL || fscanf(f, "%*u %*u %lu", &turns) != 1)
			n = -1;
		else if (n >= 0 && turns == 0)
			n++;
		if (f != NULL)
			(void)fclose(f);
	}
	(void)closedir(tasks);
	return n;
}

/* The filter of system calls comes next, and what a thread does first is not among them. On one processor a new thread
 * has no turn before its maker waits. */
static void test_the_thread_is_there(void **state)
{
	cpu_set_t before, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &before))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	int n = 0;

	for (unsigned i = 0; n == 0 && i < 16; i++) {
		start();
		n = unborn();
		attestor_free(attestor);
		attestor = NULL;
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	if (n < 0)
		skip();
	assert_int_equal(n, 0);
}

static void test_documents(void **state)
{
	static const char *const user_data[] = { "data", "", "data", "" }, *const nonce[] = { "nonce", "once", "", "" };

	(void)state;
	start();
	for (size_t i = 0; i < 4; i++)
		ask(i, user_data[i], nonce[i]);
	wait_answers(4);
	for (size_t i = 0; i < 4; i++) {
		struct attest_document d;

		assert_int_equal(asked[i].e, ERR_OK);
		assert_int_equal(asked[i].at, i);
		assert_int_equal(attest_document_parse(span_buf(&asked[i].document), &d), ATTEST_OK);
		assert_int_equal(d.user_data.present, user_data[i][0] != '\0');
		assert_int_equal(d.nonce.present, nonce[i][0] != '\0');
		assert_true(span_eq_str(d.user_data.bytes, user_data[i]) && span_eq_str(d.nonce.bytes, nonce[i]));
	}
}

/* The wall clock is stepped after a document: that shows before the next one. */
static void test_clock_steps(void **state)
{
	int64_t bound;

	(void)state;
	start();
	nsm_sim_set_now(module.sim, clock_wall_us() / 1000);
	ask(0, "", "");
	wait_answers(1);
	step_us = INT64_C(40) * 86400 * 1000000;
	assert_true(llabs(attestor_clock_ms(attestor, &bound) - step_us / 1000) <= bound + 2000);
	step_us = INT64_C(-5000000);
	assert_true(llabs(attestor_clock_ms(attestor, &bound) + 5000) <= bound + 2000);
	step_us = 0;
	assert_true(llabs(attestor_clock_ms(attestor, &bound)) <= bound + 2000);
}

static void test_clock(void **state)
{
	int64_t bound;

	(void)state;
	start();
	nsm_sim_set_now(module.sim, clock_wall_us() / 1000 + 10000);
	ask(0, "", "");
	wait_answers(1);
	assert_true(llabs(attestor_clock_ms(attestor, &bound) + 10000) <= bound + 2000);
	nsm_sim_set_now(module.sim, clock_wall_us() / 1000 - 3600000);
	ask(1, "", "");
	wait_answers(2);
	assert_true(llabs(attestor_clock_ms(attestor, &bound) - 3600000) <= bound + 2000);
	assert_true(attestor_clock_age_ms(attestor) < 60000);
}

static void test_clock_by_itself(void **state)
{
	struct attestor_device d = device();
	const char *rule;

	(void)state;
	d.clock_every_ms = 5;
	assert_int_equal(start_device(&d, &rule), ERR_OK);
	const unsigned before = calls();
	int64_t bound;

	nsm_sim_set_now(module.sim, clock_wall_us() / 1000 - 7000000);
	while (attestor_clock_ms(attestor, &bound) < 6000000)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(calls() > before);
	assert_int_equal(answers, 0);
}

static void test_limits(void **state)
{
	const size_t all = 1 + ATTESTOR_WAITING;

	(void)state;
	start();
	gate(true);
	for (size_t i = 0; i < all + 2; i++) {
		ask(i, "x", "y");
		if (i == 0)
			wait_inside(1);
	}
	wait_answers(2);
	assert_int_equal(asked[all].e, ERR_LIMIT);
	assert_int_equal(asked[all + 1].e, ERR_LIMIT);
	gate(false);
	wait_answers((unsigned)all + 2);
	for (size_t i = 0; i < all; i++) {
		assert_int_equal(asked[i].e, ERR_OK);
		assert_int_equal(asked[i].at, i + 2);
	}
	char long_text[ATTEST_FIELD_MAX + 2];

	memset(long_text, 'x', sizeof(long_text));
	long_text[ATTEST_FIELD_MAX + 1] = '\0';
	ask(70, long_text, "");
	ask(71, "", long_text);
	ask(72, long_text + 1, long_text + 1);
	wait_answers((unsigned)all + 5);
	assert_int_equal(asked[70].e, ERR_LIMIT);
	assert_int_equal(asked[71].e, ERR_LIMIT);
	assert_int_equal(asked[72].e, ERR_OK);
}

static void tick(uv_timer_t *t)
{
	++*(unsigned *)t->data;
}

static void test_hangs(void **state)
{
	unsigned ticks = 0;
	uv_timer_t timer;
	int64_t bound, clock, start_us;

	(void)state;
	start_impatient();
	clock = attestor_clock_ms(attestor, &bound);
	gate(true);
	nsm_sim_set_now(module.sim, 1700000000000);
	uv_timer_init(&loop, &timer);
	timer.data = &ticks;
	uv_timer_start(&timer, tick, 1, 1);
	start_us = clock_boot_us();
	for (size_t i = 0; i < 3; i++)
		ask(i, "x", "");
	wait_answers(3);
	assert_in_range(clock_boot_us() - start_us, PATIENCE_MS * 1000 - 1000, 5000000);
	assert_true(ticks > 10); /* the loop went on */
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(asked[i].e, ERR_TIMEOUT);
	ask(3, "x", ""); /* it hangs still */
	wait_answers(4);
	assert_int_equal(asked[3].e, ERR_TIMEOUT);
	wait_inside(1);
	gate(false);
	wait_inside(0);
	nsm_sim_set_now(module.sim, 0);
	uv_close((uv_handle_t *)&timer, NULL);
	/* The late answer is nobody's, and its time is not taken: it came before the one that fails. */
	nsm_sim_fail(module.sim, ERR_IO, 1);
	ask(4, "y", "");
	wait_answers(5);
	assert_int_equal(asked[4].e, ERR_IO);
	assert_int_equal(attestor_clock_ms(attestor, &bound), clock);
	ask(5, "y", "");
	wait_answers(6);
	assert_int_equal(asked[5].e, ERR_OK);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(asked[i].answers, 1);
	assert_true(llabs(attestor_clock_ms(attestor, &bound)) < 60000);
}

static void test_free_while_it_hangs(void **state)
{
	int64_t start_us = clock_boot_us();

	(void)state;
	start();
	gate(true);
	for (size_t i = 0; i < 40; i++)
		ask(i, "x", "");
	wait_inside(1);
	attestor_free(attestor);
	attestor = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(clock_boot_us() - start_us < 4000000);
	assert_int_equal(answers, 0);
}

static void test_free_with_an_answer(void **state)
{
	(void)state;
	start();
	gate(true);
	ask(0, "x", "");
	wait_inside(1);
	gate(false);
	wait_inside(0); /* the thread has it, or is about to */
}

static void test_forget(void **state)
{
	(void)state;
	start();
	gate(true);
	ask(0, "x", "");
	wait_inside(1);
	for (size_t i = 1; i < 35; i++)
		ask(i % 3, "x", "");
	attestor_forget(attestor, &asked[0]);
	attestor_forget(attestor, &asked[2]);
	attestor_forget(attestor, &asked[9]);
	gate(false);
	const unsigned of_1 = 12; /* 1, 4, ... 34, of which the last is one too many */

	wait_answers(of_1);
	ask(60, "end", "");
	wait_answers(of_1 + 1);
	assert_int_equal(asked[60].e, ERR_OK);
	assert_int_equal(asked[0].answers + asked[2].answers, 0);
	assert_int_equal(asked[1].answers, of_1);
}

static void test_free_from_within(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		start_impatient();
		gate(how > 0);
		answers = 0;
		free_then = true;
		for (size_t i = 0; i < (how == 2 ? 40U : 4U); i++) { /* an answer, patience, too many */
			ask(i, "x", "");
			if (i == 0 && how > 0)
				wait_inside(1);
		}
		wait_answers(1);
		assert_null(attestor);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(answers, 1);
		gate(false);
		wait_inside(0);
		for (size_t i = 0; i < ASKED_MAX; i++)
			buf_clear(&asked[i].document);
	}
}

static void test_errors(void **state)
{
	(void)state;
	start();
	nsm_sim_fail(module.sim, ERR_IO, 1);
	ask(0, "x", "");
	wait_answers(1);
	nsm_sim_fail(module.sim, ERR_TIMEOUT, 1);
	ask(1, "x", "");
	wait_answers(2);
	ask(2, "x", "y");
	wait_answers(3);
	module.replay = true;
	ask(3, "x", "z");
	ask(4, "z", "y");
	ask(5, "x", "");
	ask(6, "", "y");
	ask(7, "x", "y"); /* the old answer again */
	wait_answers(8);
	static const enum err expected[] = { ERR_IO,       ERR_TIMEOUT,  ERR_OK,       ERR_PROTOCOL,
					     ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL, ERR_OK };

	for (size_t i = 0; i < 8; i++)
		assert_int_equal(asked[i].e, expected[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_thread_is_there),
		TEST(test_documents),
		TEST(test_clock),
		TEST(test_clock_steps),
		TEST(test_clock_by_itself),
		TEST(test_limits),
		TEST(test_hangs),
		TEST(test_free_while_it_hangs),
		TEST(test_free_with_an_answer),
		TEST(test_forget),
		TEST(test_free_from_within),
		TEST(test_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
