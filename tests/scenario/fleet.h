/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a scenario: real engines, each with its own loop, configuration and boot keys, and what they log
 * (worker/base/log.h is defined here). A worker that was killed may be started again under the same name.
 */
#ifndef SCENARIO_FLEET_H
#define SCENARIO_FLEET_H

#include "tests/scenario/sim.h"
#include "worker/base/buf.h"
#include "worker/base/log.h"

#define FLEET_NAME_MAX 16

struct fleet_worker;

void fleet_reset(void);
/* A key of the configuration, "house.rate 2/s", for the workers that start from now on; `name` "": for all. */
void fleet_config(const char *name, const char *key, const char *value);

/* NULL: there is none of this name. */
struct fleet_worker *fleet_find(const char *name);
/* What is wrong with the configuration, or NULL. `machine` as in struct engine_options; `full_ring`: letter.h. */
const char *fleet_start(const char *name, const char *machine, bool full_ring);
/* Publishes keys and a new attestation document, made up. Each worker does so when it is started, unless nothing is
 * `documented`. */
void fleet_publish(struct fleet_worker *w);
void fleet_documented(bool documented);
/* engine_set_trouble(), and engine_set_granted() of the other signer of letter.h. */
void fleet_trouble(struct fleet_worker *w, const char *reason);
void fleet_grant(struct fleet_worker *w, bool granted);
struct sim_process *fleet_process(struct fleet_worker *w);
bool fleet_runs(const struct fleet_worker *w);
void fleet_kill(struct fleet_worker *w);
void fleet_stop(struct fleet_worker *w, bool stop);
void fleet_drain(struct fleet_worker *w);
/* Ends the processes of those that have drained. Not from within one of their calls. */
void fleet_reap(void);
/* "" or why not. */
const char *fleet_ready(const struct fleet_worker *w);
unsigned fleet_in_flight(const struct fleet_worker *w);

/* True when every worker that runs is a member whose clock is right, and waits for nothing but chambers. */
bool fleet_idle(void);
/* The names in the queue of those that run, one a line. */
const char *fleet_live(void);
/* The public keys for receipts of all boots; NULL behind the last. */
const uint8_t *fleet_receipt_key(size_t i);

/* The log. */
struct fleet_line {
	int64_t wall_us;
	char worker[FLEET_NAME_MAX];
	enum log_event event;
	char text[400]; /* "name=value name=value" */
};
const char *fleet_event_name(enum log_event e);
bool fleet_event_known(const char *name);
/* The name of the worker that is running, or "". */
const char *fleet_running(void);
size_t fleet_log(const struct fleet_line **ret_first);
/* Prints each line as it comes. */
void fleet_log_show(bool show);
void fleet_log_reset(void);

#endif
