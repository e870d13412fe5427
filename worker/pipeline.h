/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one job in a worker, as one table: (state, event) -> (state, action).
 *
 * A walk through a letter that goes well. TAKE hands out a job: TAKEN. It is verified, opened,
 * validated and rendered in one go (prepare.h); that says READY, and BEGIN is sent: BEGINNING. The
 * script records the intent and answers GO: POSTING, the XML goes out over TLS. The answer is
 * classified (ANSWER) and SETTLE is sent: SETTLING. When the queue confirms it (SETTLED), the job
 * is GONE: its slot is free and its XML is wiped.
 *
 * Where replicas must have the intent before the letter leaves, the answer to BEGIN is GO_ALONE: so far one server
 * knows. The job is REPLICATING while a WAIT asks how many have it; enough of them is the GO.
 *
 * What can go wrong has its own events:
 * - UNFIT: the job ends or waits without being sent (expired, refused, invalid, office unavailable).
 * - NO_GO, STALE: BEGIN said no (cancelled, held, old generation) or that the job is not ours. After GO_ALONE NO_GO
 *   means too few replicas: the job goes back unsent.
 * - TOO_LATE: GO came, but more than two seconds ago by the boot-time clock (a stopped process).
 * - LOST: the connection broke, or BEGIN failed. A job that is BEGINNING or REPLICATING may be begun on record, so
 *   that by the time the queue is back somebody may have called it of unknown fate; it is settled as not sent, which
 *   is certain and ends that doubt. A POST under way goes on. A SETTLE is repeated under its token.
 * - FENCED: the lease was given away. BEGIN and SETTLE are still answered, in order, and say what
 *   is left of the job; one that is REPLICATING is settled as not sent; a POST under way goes on, since it cannot be
 *   taken back, and its answer is reported as a late one.
 */
#ifndef WORKER_PIPELINE_H
#define WORKER_PIPELINE_H

#include "worker/base/err.h"

/* X(ENUM, name) */
#define PIPELINE_STATES(X)            \
	X(TAKEN, "taken")             \
	X(BEGINNING, "beginning")     \
	X(REPLICATING, "replicating") \
	X(POSTING, "posting")         \
	X(SETTLING, "settling")       \
	X(GONE, "gone")

#define PIPELINE_EVENTS(X)      \
	X(READY, "ready")       \
	X(UNFIT, "unfit")       \
	X(GO, "go")             \
	X(GO_ALONE, "go_alone") \
	X(NO_GO, "no_go")       \
	X(TOO_LATE, "too_late") \
	X(STALE, "stale")       \
	X(ANSWER, "answer")     \
	X(SETTLED, "settled")   \
	X(LOST, "lost")         \
	X(FENCED, "fenced")

#define PIPELINE_ACTIONS(X) \
	X(NONE, "none")     \
	X(BEGIN, "begin")   \
	X(WAIT, "wait")     \
	X(POST, "post")     \
	X(SETTLE, "settle") \
	X(FORGET, "forget") \
	X(IMPOSSIBLE, "impossible")

enum pipeline_state {
#define PIPELINE_ENUM(e, name) PIPELINE_##e,
	PIPELINE_STATES(PIPELINE_ENUM)
#undef PIPELINE_ENUM
		PIPELINE_STATE_COUNT
};

enum pipeline_event {
#define PIPELINE_ENUM(e, name) PIPELINE_ON_##e,
	PIPELINE_EVENTS(PIPELINE_ENUM)
#undef PIPELINE_ENUM
		PIPELINE_EVENT_COUNT
};

enum pipeline_action {
#define PIPELINE_ENUM(e, name) PIPELINE_DO_##e,
	PIPELINE_ACTIONS(PIPELINE_ENUM)
#undef PIPELINE_ENUM
		PIPELINE_ACTION_COUNT
};

const char *pipeline_state_name(enum pipeline_state s);
const char *pipeline_event_name(enum pipeline_event e);
const char *pipeline_action_name(enum pipeline_action a);

/* Every pair is defined. IMPOSSIBLE marks what the engine can never produce: it stops the process. */
void pipeline_step(enum pipeline_state s, enum pipeline_event e, enum pipeline_state *ret_state,
		   enum pipeline_action *ret_action);

#endif
