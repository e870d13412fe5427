/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of a scenario: virtual time, and what happens when.
 *
 * Everything that waits is an event with a time. The world runs the earliest one, sets the clock to its time and goes
 * on, so that a minute costs as much as what happens in it. One thread; the same seed gives the same run.
 *
 * The functions of libuv and of worker/base/clock.h that the worker uses are defined in sim.c, from these events.
 * Which worker is running is known at every moment: each has a clock of its own, which may be wrong, and one that was
 * stopped (SIGSTOP) gets its events when it goes on.
 */
#ifndef SCENARIO_SIM_H
#define SCENARIO_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define SIM_MS_US     1000LL
#define SIM_SECOND_US 1000000LL
#define SIM_HOUR_US   (3600 * SIM_SECOND_US)

/* A process that can be stopped: a worker. The loop's `data` points here. */
struct sim_process {
	uv_loop_t loop;
	int64_t clock_us; /* how far its wall clock is ahead */
	bool stopped;
	size_t n_events;
};

typedef void (*sim_fn)(void *arg);
struct sim_event;

/* Forgets all events; the time is wall_us from now on. */
void sim_reset(uint64_t seed, int64_t wall_us);
/* Since sim_reset(). */
int64_t sim_now_us(void);
/* The true wall clock, which Redis and the chambers have. */
int64_t sim_wall_us(void);
/* A number below n from the seed. */
uint32_t sim_random(uint32_t n);

/* Runs fn(arg) in so many us, as a part of p (NULL: of the world, which nothing stops). `drop`: instead of fn when the
 * event is forgotten; or NULL. */
struct sim_event *sim_in(int64_t us, struct sim_process *p, sim_fn fn, sim_fn drop, void *arg);
/* With drop(). NULL is allowed. */
void sim_cancel(struct sim_event *e);

/* Runs the next event that is not later than limit_us; false when there is none, and the time is then limit_us. */
bool sim_step(int64_t limit_us);
/* When the next event is due that is not a timer of a running process; INT64_MAX: none. */
int64_t sim_next_us(void);
/* Time passes without any event, as if all had waited; timers that are overdue come once. */
void sim_jump(int64_t us);

/* Who is running from now on (NULL: the world); returns who was. For calls from outside of an event. */
struct sim_process *sim_enter(struct sim_process *p);
/* NULL: the world. */
struct sim_process *sim_running(void);
/* Stops the process or lets it go on. */
void sim_stop(struct sim_process *p, bool stop);
/* After the process has closed its handles: runs what closing calls, and forgets what else it waited for. */
void sim_bury(struct sim_process *p);

#endif
