/* SPDX-License-Identifier: Apache-2.0 */
/* What was settled lately: its order, its bounds, and that nothing which is doubted is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/recent.h"

static void add(struct recent *r, unsigned n, int64_t boot_us)
{
	struct recent_settle s = { .attempt = n };
	snprintf(s.token, sizeof s.token, "w/1.%u.1", n);
	recent_add(r, &s, NULL, n, boot_us);
}

/* Takes out the next and says which; 0: none. */
static unsigned out(struct recent *r, int64_t boot_us, struct recent_entry **ret)
{
	*ret = recent_out(r, boot_us);
	return *ret == NULL ? 0 : (*ret)->settle.attempt;
}

static unsigned count_walked(const struct recent *r)
{
	unsigned n = 0;
	for (const struct recent_entry *e = NULL; (e = recent_next_open(r, e)) != NULL;)
		n++;
	return n;
}

static void settled_needs_nothing(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *e;
	add(r, 1, 0);
	assert_int_equal(recent_count(r), 1);
	assert_int_equal(recent_count_open(r), 0);
	assert_int_equal(count_walked(r), 0);
	assert_int_equal(out(r, 1, &e), 0);
	recent_free(r);
	recent_free(NULL);
}

static void doubted_is_said_again_in_order(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *e[4];
	for (unsigned n = 1; n <= 3; n++)
		add(r, n, n);
	recent_doubt(r);
	assert_int_equal(recent_count_open(r), 3);
	for (unsigned n = 1; n <= 3; n++)
		assert_int_equal(out(r, 10, &e[n]), n);
	assert_int_equal(recent_count_out(r), 3);
	assert_int_equal(count_walked(r), 3);
	assert_int_equal(out(r, 10, &e[0]), 0);
	recent_confirm(r, e[1], 10);
	recent_drop(r, e[2]);
	recent_back(r, e[3], 50);
	assert_int_equal(recent_count(r), 2);
	assert_int_equal(recent_count_out(r), 0);
	assert_int_equal(count_walked(r), 1);
	/* Not before its time. */
	assert_int_equal(out(r, 49, &e[0]), 0);
	assert_int_equal(out(r, 50, &e[0]), 3);
	assert_int_equal(e[0]->tries, 2);
	recent_confirm(r, e[0], 60);
	assert_int_equal(recent_count_open(r), 0);
	/* Another loss: both again, from the first try. */
	recent_doubt(r);
	assert_int_equal(out(r, 60, &e[0]), 1);
	assert_int_equal(e[0]->tries, 1);
	recent_free(r);
}

static void a_loss_forgives_what_failed(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *e;
	add(r, 1, 0);
	recent_doubt(r);
	assert_int_equal(out(r, 0, &e), 1);
	recent_back(r, e, 1000000);
	recent_doubt(r);
	assert_int_equal(out(r, 0, &e), 1);
	assert_int_equal(e->tries, 1);
	recent_doubt(r); /* what is out stays out */
	assert_int_equal(recent_count_out(r), 1);
	recent_free(r);
}

static void age(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *e;
	add(r, 1, 0);
	add(r, 2, 1000);
	recent_expire(r, RECENT_US);
	assert_int_equal(recent_count(r), 2);
	recent_expire(r, RECENT_US + 1);
	assert_int_equal(recent_count(r), 1);
	/* What is doubted has no age: the queue may be away for an hour. */
	recent_doubt(r);
	recent_expire(r, 60 * RECENT_US);
	assert_int_equal(recent_count(r), 1);
	assert_int_equal(out(r, 60 * RECENT_US, &e), 2);
	recent_expire(r, 60 * RECENT_US);
	recent_confirm(r, e, 60 * RECENT_US);
	recent_expire(r, 61 * RECENT_US);
	assert_int_equal(recent_count(r), 1);
	/* Adding drops the old as well. */
	add(r, 3, 62 * RECENT_US);
	assert_int_equal(recent_count(r), 1);
	recent_free(r);
}

static void bounds(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *first, *e;
	for (unsigned n = 1; n <= RECENT_MAX + 5; n++)
		add(r, n, 0);
	assert_int_equal(recent_count(r), RECENT_MAX);
	recent_doubt(r);
	assert_int_equal(out(r, 0, &first), 6);
	/* The oldest goes, and never one that somebody holds. */
	add(r, RECENT_MAX + 6, 0);
	add(r, RECENT_MAX + 7, 0);
	assert_int_equal(recent_count(r), RECENT_MAX);
	assert_int_equal(first->settle.attempt, 6);
	assert_int_equal(out(r, 0, &e), 8); /* 7 went for the first; the second took the settled one's place */
	assert_int_equal(recent_count_out(r), 2);
	recent_confirm(r, first, 0);
	recent_free(r);
}

/* What had to go for lack of room is told, once. What was too old, or was dropped by the caller, is not meant. */
static void room(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	struct recent_entry *e;
	unsigned settled = 9, doubted = 9;
	assert_false(recent_dropped(r, &settled, &doubted));
	assert_int_equal(settled + doubted, 0);
	add(r, 1, 0);
	recent_expire(r, 2 * RECENT_US);
	for (unsigned n = 1; n <= RECENT_MAX; n++)
		add(r, n, 2 * RECENT_US);
	assert_false(recent_dropped(r, &settled, &doubted));
	for (unsigned n = 1; n <= 3; n++)
		add(r, RECENT_MAX + n, 2 * RECENT_US);
	assert_true(recent_dropped(r, &settled, &doubted));
	assert_int_equal(settled, 3);
	assert_int_equal(doubted, 0);
	assert_false(recent_dropped(r, &settled, &doubted));
	/* All doubted: the oldest of them goes for the new one; then that, which is settled. */
	recent_doubt(r);
	add(r, RECENT_MAX + 4, 2 * RECENT_US);
	add(r, RECENT_MAX + 5, 2 * RECENT_US);
	assert_true(recent_dropped(r, &settled, &doubted));
	assert_int_equal(settled, 1);
	assert_int_equal(doubted, 1);
	assert_int_equal(recent_count(r), RECENT_MAX);
	assert_int_equal(out(r, 2 * RECENT_US, &e), 5);
	recent_drop(r, e);
	assert_false(recent_dropped(r, &settled, &doubted));
	recent_free(r);
}

static void what_it_keeps(void **state)
{
	(void)state;
	struct recent *r = recent_new();
	int owner;
	struct recent_settle s = { .chamber = CWC_SENATE, .begun_us = 5, .http_status = 200 };
	s.decision.outcome = OUT_ACCEPTED;
	memcpy(s.sid, "sid", 4);
	recent_add(r, &s, &owner, 7, 0);
	recent_doubt(r);
	struct recent_entry *e = recent_out(r, 0);
	assert_non_null(e);
	assert_ptr_equal(e->owner, &owner);
	assert_int_equal(e->rev, 7);
	assert_memory_equal(&e->settle, &s, sizeof s);
	recent_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settled_needs_nothing),
		cmocka_unit_test(doubted_is_said_again_in_order),
		cmocka_unit_test(a_loss_forgives_what_failed),
		cmocka_unit_test(age),
		cmocka_unit_test(bounds),
		cmocka_unit_test(room),
		cmocka_unit_test(what_it_keeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
