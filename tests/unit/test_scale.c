/* SPDX-License-Identifier: Apache-2.0 */
/* The autoscaler's formula, and a fleet that follows it through two hours of bursts in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/cwcctl/scale.c" /* cwcctl is a program, no library */

#define SECOND 1000000LL
#define MINUTE (60 * SECOND)
#define START  (1000000 * SECOND)

static const struct scale_options options = {
	.min = 1, .max = 20, .drain_us = 5 * MINUTE, .stable_us = 5 * MINUTE, .cooldown_us = MINUTE
};

/* Ten slots a worker and a second a letter: seven letters a second for each. */
static struct scale_reading reading(double scalable)
{
	struct scale_reading r = { .at_us = START, .open = (int64_t)scalable, .running = 1 };
	r.chamber[0] = (struct scale_chamber){ .scalable = scalable, .latency_s = 1, .slots = 10 };
	r.chamber[1] = (struct scale_chamber){ .latency_s = 1, .slots = 10 };
	return r;
}

static struct scale_answer step(const struct scale_options *o, const struct scale_reading *r, struct scale_state *s)
{
	struct scale_answer a;
	assert_int_equal(scale_step(o, r, s, &a), ERR_OK);
	assert_in_range(a.desired, o->min, o->max);
	return a;
}

/* Time goes by, with somebody who looks. */
static void pass(const struct scale_options *o, struct scale_reading *r, struct scale_state *s, int64_t time_us)
{
	int64_t end_us = r->at_us + time_us;
	for (; end_us - r->at_us > 30 * SECOND; r->at_us += 30 * SECOND)
		step(o, r, s);
	r->at_us = end_us;
}

static unsigned first(const struct scale_reading *r)
{
	struct scale_state s = { .known = false };
	return step(&options, r, &s).desired;
}

/* --- the formula ------------------------------------------------------------------------------ */

static void test_burst(void **state)
{
	(void)state;
	struct scale_reading r = reading(21000); /* 70 a second for five minutes */
	assert_int_equal(first(&r), 10);
	r.chamber[1].scalable = 2100; /* and 7 a second */
	assert_int_equal(first(&r), 11);
	r.chamber[0].latency_s = .5;
	assert_int_equal(first(&r), 6);
	r = reading(1);
	assert_int_equal(first(&r), 1);
	r = reading(1e9);
	assert_int_equal(first(&r), 20);
}

static void test_rate_cap(void **state)
{
	(void)state;
	struct scale_reading r = reading(1e6);
	struct scale_state s = { .known = false };
	bool capped;
	r.chamber[0].rate = 14;
	assert_int_equal(first(&r), 2);
	assert_true(scale_need(&options, &r, &capped) < 2.001 && capped);
	step(&options, &r, &s);
	assert_int_equal(step(&options, &r, &s).why, SCALE_RATE_CAPPED);
	r.chamber[0].arrival = 1e6; /* nor does what comes change a limit */
	assert_int_equal(first(&r), 2);
}

static void test_blocked(void **state)
{
	(void)state;
	struct scale_reading r = reading(1e6);
	r.chamber[0].arrival = 100;
	r.chamber[0].blocked = true;
	assert_int_equal(first(&r), 1);
	r.chamber[1].scalable = 21000; /* the other chamber goes on */
	assert_int_equal(first(&r), 10);
}

/* A fleet that keeps up has no backlog, and must stay. */
static void test_arrival(void **state)
{
	(void)state;
	struct scale_reading r = reading(0);
	r.chamber[0].arrival = 35;
	assert_int_equal(first(&r), 5);
	r.chamber[0].scalable = 300; /* the greater of both, not their sum */
	assert_int_equal(first(&r), 5);
}

static void test_junk(void **state)
{
	(void)state;
	static const double junk[] = { NAN, -1, INFINITY, -INFINITY, 1e308 };
	for (size_t i = 0; i < 5; i++) {
		struct scale_reading r = reading(junk[i] == junk[i] && junk[i] < 1e9 ? junk[i] : 0);
		r.chamber[0].scalable = r.chamber[0].arrival = r.chamber[0].latency_s = r.chamber[1].scalable = junk[i];
		r.chamber[1].rate = junk[i];
		r.chamber[0].slots = 0;
		struct scale_state s = { .known = false };
		assert_true(!isnan(step(&options, &r, &s).need));
	}
}

static void test_nothing_open(void **state)
{
	(void)state;
	struct scale_options o = options;
	struct scale_state s = { .known = false };
	struct scale_reading r = reading(0);
	o.min = 0;
	r.running = 0;
	assert_int_equal(step(&o, &r, &s).desired, 0);
	r.open = 1; /* delayed, say: it comes back through a worker alone */
	assert_int_equal(step(&o, &r, &s).desired, 1);
}

/* --- missing data ----------------------------------------------------------------------------- */

static void test_no_data(void **state)
{
	(void)state;
	struct scale_state s = { .known = false };
	struct scale_answer a = { .desired = 77 };
	struct scale_reading r = reading(21000);
	assert_int_equal(scale_step(&options, NULL, &s, &a), ERR_NOT_FOUND);
	assert_int_equal(a.desired, 77);
	step(&options, &r, &s);
	for (int i = 0; i < 1000; i++) {
		a = step(&options, NULL, &s);
		assert_int_equal(a.desired, 10);
		assert_int_equal(a.why, SCALE_NO_DATA);
	}
}

/* --- going down ------------------------------------------------------------------------------- */

static struct scale_state at(unsigned n)
{
	return (struct scale_state){ .known = true, .desired = n, .changed_us = START };
}

static void test_begins_from_those_that_run(void **state)
{
	(void)state;
	struct scale_reading r = reading(0);
	r.running = 6;
	assert_int_equal(first(&r), 6);
	r.running = 600;
	assert_int_equal(first(&r), 20);
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	struct scale_state s = at(5);
	struct scale_reading r = reading(0);
	unsigned was = 5;
	int64_t changed_us = START;
	for (; r.at_us < START + 30 * MINUTE; r.at_us += 15 * SECOND) {
		r.running = was;
		unsigned n = step(&options, &r, &s).desired;
		assert_true(n == was || n == was - 1);
		assert_true(n == 5 || r.at_us >= START + 5 * MINUTE);
		if (n != was) {
			assert_int_equal(s.changed_us, r.at_us);
			assert_true(r.at_us - changed_us >= MINUTE);
			changed_us = r.at_us;
		}
		was = n;
	}
	assert_int_equal(was, 1);
}

static void test_never_below_what_was_needed_lately(void **state)
{
	(void)state;
	struct scale_state s = at(8);
	for (int64_t t = 0; t < 10 * MINUTE; t += 15 * SECOND) {
		struct scale_reading r = reading(t / MINUTE == 2 ? 8000 : 0); /* four workers, in the third minute */
		r.at_us = START + t;
		r.running = s.desired;
		assert_true(step(&options, &r, &s).desired >= 4);
	}
}

static void test_not_drained(void **state)
{
	(void)state;
	struct scale_state s = at(3);
	struct scale_reading r = reading(0);
	r.running = 3;
	r.chamber[1].in_flight = 21; /* two workers have twenty slots */
	step(&options, &r, &s);
	pass(&options, &r, &s, 10 * MINUTE);
	assert_int_equal(step(&options, &r, &s).why, SCALE_NOT_DRAINED);
	assert_int_equal(s.desired, 3);
	r.chamber[1].in_flight = 20;
	assert_int_equal(step(&options, &r, &s).why, SCALE_SCALE_IN);
	pass(&options, &r, &s, 2 * MINUTE);
	r.chamber[1].in_flight = 0;
	assert_int_equal(step(&options, &r, &s).why, SCALE_NOT_DRAINED); /* it has not left yet */
	r.running = 2;
	pass(&options, &r, &s, 5 * MINUTE);
	r.chamber[1].in_flight = 10;
	step(&options, &r, &s);
	assert_int_equal(step(&options, &r, &s).desired, 1);
}

/* To none only when all is over. */
static void test_to_none(void **state)
{
	(void)state;
	struct scale_options o = options;
	struct scale_state s = at(1);
	struct scale_reading r = reading(0);
	o.min = 0;
	r.open = 1;
	for (int i = 0; i < 100; i++, r.at_us += MINUTE)
		assert_int_equal(step(&o, &r, &s).desired, 1);
	r.open = 0;
	step(&o, &r, &s);
	pass(&o, &r, &s, 5 * MINUTE);
	assert_int_equal(step(&o, &r, &s).desired, 0);
}

static void test_band(void **state)
{
	(void)state;
	struct scale_state s = at(3);
	struct scale_reading r = reading(2100 * 1.9); /* 1.9 workers: two would do, but hardly */
	for (int i = 0; i < 100; i++, r.at_us += MINUTE)
		assert_int_equal(step(&options, &r, &s).desired, 3);
	r = reading(2100 * 1.7);
	r.at_us = START + 200 * MINUTE;
	step(&options, &r, &s);
	r.running = 3;
	pass(&options, &r, &s, 6 * MINUTE);
	assert_int_equal(step(&options, &r, &s).desired, 2);
}

/* Each round may be a program of its own: what is between them is the state alone. A clock that steps back makes
 * nothing shorter. */
static void test_clock_steps(void **state)
{
	(void)state;
	struct scale_state s = at(3);
	struct scale_reading r = reading(0);
	r.running = 3;
	step(&options, &r, &s);
	r.at_us -= 60 * MINUTE;
	assert_int_equal(step(&options, &r, &s).desired, 3);
	pass(&options, &r, &s, 4 * MINUTE);
	assert_int_equal(step(&options, &r, &s).desired, 3);
	pass(&options, &r, &s, 2 * MINUTE);
	assert_int_equal(step(&options, &r, &s).desired, 2);
	r = reading(21000); /* and more are had at once */
	r.at_us = START - 1000 * MINUTE;
	assert_int_equal(step(&options, &r, &s).desired, 10);
}

/* Nobody could read for minutes: of that at most half the time to wait counts, and waiting goes on. */
static void test_gap(void **state)
{
	(void)state;
	struct scale_state s = at(3);
	struct scale_reading r = reading(0);
	r.running = 3;
	step(&options, &r, &s);
	r.at_us += 30 * MINUTE;
	assert_int_equal(step(&options, &r, &s).why, SCALE_STABILISING);
	pass(&options, &r, &s, 2 * MINUTE);
	assert_int_equal(step(&options, &r, &s).desired, 3);
	pass(&options, &r, &s, MINUTE);
	assert_int_equal(step(&options, &r, &s).desired, 2);
	/* Whoever looks rarely waits longer, and not for ever. */
	for (int i = 0; i < 4 && s.desired == 2; i++) {
		r.at_us += 20 * MINUTE;
		r.running = s.desired;
		step(&options, &r, &s);
	}
	assert_int_equal(s.desired, 1);
	struct scale_options now = { .min = 1, .max = 20, .drain_us = MINUTE };
	s = at(3);
	r.running = 3;
	step(&now, &r, &s);
	assert_int_equal(s.desired, 2); /* without any wait there is none after a gap */
}

static void test_other_bounds(void **state)
{
	(void)state;
	struct scale_options o = options;
	struct scale_state s = at(15);
	struct scale_reading r = reading(0);
	o.max = 4;
	assert_int_equal(step(&o, &r, &s).desired, 4);
	o.min = o.max = 9;
	assert_int_equal(step(&o, &r, &s).desired, 9);
}

/* --- a closed loop ---------------------------------------------------------------------------- */

/* The world: letters come in bursts, workers take a minute to come up, each sends ten letters a second at most (ten
 * slots, a second each), all together `rate` at most. Seconds of virtual time. */
struct world {
	double waiting, came[300], rate;
	unsigned running, coming[60], most, turns, changes;
	double oldest_most;
	int direction;
};

static void world_second(struct world *w, unsigned t, double come)
{
	double can = w->running * 10.0;
	w->running += w->coming[t % 60];
	w->coming[t % 60] = 0;
	if (w->rate > 0 && can > w->rate)
		can = w->rate;
	w->came[t % 300] = come;
	w->waiting += come;
	w->waiting -= w->waiting < can ? w->waiting : can;
}

static void world_follow(struct world *w, unsigned t, unsigned was, unsigned desired)
{
	int direction = desired > was ? 1 : desired < was ? -1 : 0;
	unsigned all = w->running;
	if (direction != 0) {
		w->changes++;
		if (w->direction != 0 && direction != w->direction)
			w->turns++;
		w->direction = direction;
	}
	for (int i = 0; i < 60; i++)
		all += w->coming[i];
	if (desired > all)
		w->coming[t % 60] += desired - all;
	else if (desired < w->running)
		w->running = desired;
	w->most = desired > w->most ? desired : w->most;
}

static struct scale_reading world_reading(const struct world *w, unsigned t)
{
	double may = w->rate > 0 && w->waiting > w->rate * 300 ? w->rate * 300 : w->waiting, came = 0;
	struct scale_reading r = reading(may);
	for (int i = 0; i < 300; i++)
		came += w->came[i];
	r.at_us = START + t * SECOND;
	r.open = (int64_t)(w->waiting + 0.5);
	r.running = w->running;
	r.chamber[0].arrival = came / 300;
	r.chamber[0].rate = w->rate;
	r.chamber[0].limited = may < w->waiting;
	return r;
}

/* Each 15 s; every tenth reading is missing. Returns the world at its end. */
static struct world world_run(double rate, double (*come)(unsigned t))
{
	struct world w = { .rate = rate, .running = 1 };
	struct scale_state s = { .known = false };
	struct scale_answer a;
	for (unsigned t = 0; t < 7200; t++) {
		world_second(&w, t, come(t));
		if (t % 15 != 0)
			continue;
		struct scale_reading r = world_reading(&w, t);
		unsigned was = s.known ? s.desired : 1;
		assert_int_equal(scale_step(&options, t % 150 == 135 ? NULL : &r, &s, &a), ERR_OK);
		world_follow(&w, t, was, a.desired);
	}
	return w;
}

/* 6000 at once, each half hour. */
static double bursts(unsigned t)
{
	return t % 1800 == 60 ? 6000 : 0;
}

static double steady(unsigned t)
{
	return 30 + (t * 7919 % 13) - 6; /* 24 to 36 a second */
}

static double steady_with_bursts(unsigned t)
{
	return steady(t) + (t % 2400 == 600 ? 9000 : 0);
}

/* Up at each burst, down once after it: two turns a burst. */
static void test_loop_bursts(void **state)
{
	(void)state;
	struct world w = world_run(0, bursts);
	assert_true(w.waiting < 1);
	assert_in_range(w.most, 3, 4);
	assert_in_range(w.turns, 4, 2 * 4 - 1);
}

static void test_loop_steady(void **state)
{
	(void)state;
	struct world w = world_run(0, steady);
	assert_true(w.waiting < 100);
	assert_in_range(w.most, 5, 7);
	assert_true(w.turns <= 1);
}

static void test_loop_steady_with_bursts(void **state)
{
	(void)state;
	struct world w = world_run(0, steady_with_bursts);
	assert_true(w.waiting < 100);
	assert_true(w.most <= 12);
	assert_true(w.turns <= 2 * 3);
}

/* Congress takes 20 a second: three workers send that, and no burst makes it four. */
static void test_loop_rate_cap(void **state)
{
	(void)state;
	struct world w = world_run(20, steady_with_bursts);
	assert_int_equal(w.most, 3);
	assert_int_equal(w.turns, 0);
	assert_true(w.changes <= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_rate_cap),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_arrival),
		cmocka_unit_test(test_junk),
		cmocka_unit_test(test_nothing_open),
		cmocka_unit_test(test_no_data),
		cmocka_unit_test(test_begins_from_those_that_run),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_never_below_what_was_needed_lately),
		cmocka_unit_test(test_not_drained),
		cmocka_unit_test(test_to_none),
		cmocka_unit_test(test_band),
		cmocka_unit_test(test_clock_steps),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_other_bounds),
		cmocka_unit_test(test_loop_bursts),
		cmocka_unit_test(test_loop_steady),
		cmocka_unit_test(test_loop_steady_with_bursts),
		cmocka_unit_test(test_loop_rate_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
