/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How time passes. Workers look at the queue ten times a second, so that days would be millions of looks at nothing:
 * when all workers are idle, the world jumps to the next moment at which anything can happen, and they look again from
 * a little before it. Their leases are taken as renewed meanwhile, as they would have been. A jump ends at a multiple
 * of the stride at the latest, so that what the world does not foresee (the beginning of a maintenance window) is not
 * missed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/scenario/fleet.h"
#include "tests/scenario/net.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/scenario.h"

#define MARGIN_US  (20 * SIM_MS_US)
#define SETTLE_US  (150 * SIM_MS_US)
#define LEAST_US   SIM_SECOND_US
#define LOOK_EVERY (50 * SIM_MS_US)

static int64_t stride_us, next_try_us;
static unsigned long commands_seen;

void world_reset(int64_t stride)
{
	stride_us = stride;
	next_try_us = 0;
	commands_seen = 0;
}

void world_stride(int64_t us)
{
	stride_us = us;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When the keys say that something is due, in the time of the world. */
static int64_t queue_next(void)
{
	char now[24];
	const char *argv[] = { now, fleet_live() };
	snprintf(now, sizeof(now), "%lld", (long long)redis_now_us());
	return strtoll(redis_check("next_us", argv, 2), NULL, 10) - redis_now_us() + sim_now_us();
}

static void try_jump(int64_t limit_us)
{
	int64_t now = sim_now_us();
	if (stride_us == 0 || now < next_try_us || !net_redis_works() || !fleet_idle())
		return;
	next_try_us = now + LOOK_EVERY;
	int64_t target = earlier(earlier(limit_us, sim_next_us()), queue_next());
	target = earlier(target, now + stride_us - sim_wall_us() % stride_us);
	int64_t by = target - now - MARGIN_US;
	if (by < LEAST_US)
		return;
	char text[24];
	const char *argv[] = { text, fleet_live() };
	snprintf(text, sizeof(text), "%lld", (long long)by);
	redis_check("lease_shift", argv, 2);
	sim_jump(by);
	next_try_us = sim_now_us() + SETTLE_US;
}

static bool step(int64_t limit_us)
{
	try_jump(limit_us);
	bool more = sim_step(limit_us);
	fleet_reap();
	if (redis_commands() - commands_seen > 200) {
		commands_seen = redis_commands();
		account_results();
	}
	return more;
}

void world_run_until(int64_t wall_us)
{
	int64_t limit_us = wall_us - sim_wall_us() + sim_now_us();
	if (limit_us < sim_now_us())
		scenario_fail("that time is over");
	while (step(limit_us))
		;
	account_results();
}

bool world_run_while_not(const char *const *word, size_t n, int64_t us)
{
	int64_t limit_us = sim_now_us() + us;
	unsigned long seen = 0;
	size_t lines = 0;
	for (;;) {
		const struct fleet_line *first;
		/* Only commands, log lines and the end of the wait can have changed the answer. */
		bool changed = redis_commands() != seen || fleet_log(&first) != lines;
		seen = redis_commands();
		lines = fleet_log(&first);
		if (changed && expect(word, n) == NULL)
			return true;
		if (!step(limit_us))
			return expect(word, n) == NULL;
	}
}
