/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of steps share: steps.c and steps_world.c.
 */
#ifndef SCENARIO_STEPS_H
#define SCENARIO_STEPS_H

#include <stdbool.h>

#include "queue/resp.h"
#include "tests/scenario/sim.h"

bool word_is(const char *word, const char *name);
/* Fails the scenario unless there is no such word. */
void need_end(const char *word);

void step_chamber(const char *const *word);
void step_redis(const char *const *word);

#endif
