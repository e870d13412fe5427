/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis of a scenario: redis.lua in liblua5.1, with its clock, and the questions of check.lua.
 *
 * A refusal of redis.lua (a command that it does not know), and an error of check.lua, end the program: the scenario
 * stands on something that is not there.
 */
#ifndef SCENARIO_REDIS_H
#define SCENARIO_REDIS_H

#include "worker/base/buf.h"

/* Reads redis.lua and check.lua from `dir`. Empties what was there. */
void redis_open(const char *dir);
void redis_close(void);

/* The time of this Redis against the true wall clock. */
void redis_clock(int64_t ahead_us);
int64_t redis_now_us(void);

/* One command of a client; appends the reply as it goes over the wire. */
void redis_run(const struct span *argv, size_t n, struct buf *reply);
/* How many commands were run. */
unsigned long redis_commands(void);
/* The name of the script that an EVALSHA calls; "" for other commands. */
const char *redis_script(const struct span *argv, size_t n);

/* The text of a script by its name. */
const char *redis_script_text(const char *name);

void redis_full(bool full);
/* What each write is answered with from now on; NULL: nothing. */
void redis_read_only(const char *error);
/* Remembers how everything is now; goes back to it. */
void redis_snapshot(void);
void redis_restore(void);

/* Calls the function of check.lua with n texts; what it returned (until the next call), or NULL. */
const char *redis_check(const char *function, const char *const *argv, size_t n);

/* A result that was not looked at yet; false when there is none. `wrong` is "" or what is wrong with it. */
struct redis_result {
	char sid[80], office[16], state[16], outcome[80], wrong[200];
	uint8_t receipt[1200];
	size_t receipt_n;
};
bool redis_next_result(struct redis_result *ret);

#endif
