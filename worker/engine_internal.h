/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the engine share. engine.c: life, timers, readiness, drain. engine_queue.c: join, beat, take,
 * reap, adopt. engine_letter.c: one job's way. engine_offices.c: the office lists.
 */
#ifndef WORKER_ENGINE_INTERNAL_H
#define WORKER_ENGINE_INTERNAL_H

#include "worker/engine.h"
#include "worker/http.h"
#include "worker/pace.h"
#include "worker/pipeline.h"
#include "worker/prepare.h"
#include "worker/seen.h"

#define ENGINE_SECOND_US 1000000LL
/* A GO (and the body of its POST) is good for this long after TAKE, by the boot-time clock. */
#define ENGINE_GRANT_US  (2 * ENGINE_SECOND_US)
#define ENGINE_SLOTS_MAX (2 * 256)

/* A job in flight. */
struct slot {
	struct engine *engine;
	struct slot *next_free;
	enum pipeline_state state;
	enum cwc_chamber chamber;
	char sid[JOB_SID_MAX + 1], office[CWC_OFFICE_SIZE], token[QUEUE_TOKEN_MAX + 1];
	char worker[QUEUE_WORKER_MAX + 1]; /* under which it was taken: the nonce may change meanwhile */
	struct prepared prepared;
	struct decision decision;
	struct decide_job known;
	struct buf xml; /* the one plaintext that lives across I/O */
	int64_t taken_boot_us;
	int64_t ended_us;       /* wall clock of the answer */
	int http_status;        /* of a POST of this slot; 0: none */
	bool posted;            /* a POST was begun here: the job must never go back as unsent */
	bool settle_sent;       /* an answer to SETTLE is outstanding */
	int64_t settle_boot_us; /* send SETTLE (again) at this time */
	unsigned settle_tries;
};

/* What belongs to one chamber. */
struct lane {
	struct engine *engine;
	enum cwc_chamber chamber;
	bool enabled;
	struct http_target *target;
	struct pace pace;
	unsigned in_flight;
	struct decide_window answers; /* the last answers: are they all refusals? */
	bool take_sent;
	unsigned asked;            /* how many jobs the TAKE under way may bring */
	int64_t take_sent_boot_us; /* the grant of what it returns counts from here */
	int64_t take_boot_us;      /* look again at this time */
	uv_timer_t timer;
	/* office list */
	struct cwc_offices *list; /* NULL: none */
	bool list_sent, list_tried, list_published;
	int64_t list_boot_us, list_next_us;
	unsigned list_failures;
};

enum engine_membership { ENGINE_AWAY, ENGINE_JOINING, ENGINE_ADOPTING, ENGINE_MEMBER, ENGINE_LEAVING };

struct engine {
	struct engine_options o;
	const struct config *config;
	uv_loop_t *loop;
	struct queue *queue;
	struct http *http;
	struct seen *seen;
	struct buf arena;
	struct job_signer signer[CONFIG_SIGNERS_MAX];
	struct lane lane[CWC_CHAMBERS];
	struct slot *slots;
	size_t n_slots;
	struct slot *free_slots;
	unsigned in_flight;

	enum engine_membership membership;
	char worker[QUEUE_WORKER_MAX + 1];
	uint64_t take_id;
	bool beat_sent, reap_sent;
	int64_t beat_boot_us, reap_boot_us, join_boot_us, adopt_boot_us;
	int64_t skew_us;
	bool skewed, was_ready;
	const char *not_ready; /* the reason that was logged last */
	bool published;        /* this boot's keys, with the first join */
	enum err queue_error;  /* the last; for readiness */

	uv_timer_t tick;
	unsigned handles; /* to close before the memory goes */
	bool draining;
	int64_t drain_boot_us; /* when patience ends */
	bool drain_cancelled, left;
	void (*drained)(void *arg, unsigned left);
	void *drained_arg;
};

/* engine_queue.c */
void engine_queue_up(void *arg);
void engine_queue_down(void *arg, enum err why, const char *detail);
void engine_queue_tick(struct engine *e, int64_t boot_us);
void engine_take(struct engine *e, enum cwc_chamber c);
void engine_adopt(struct engine *e);
void engine_leave(struct engine *e);
/* How long after its BEGIN a POST of unknown fate may be sent again. */
int64_t engine_resend_after(const struct engine *e, enum cwc_chamber c);
void engine_new_name(struct engine *e);
void engine_hold_chamber(struct engine *e, enum cwc_chamber c, int64_t until_us, const char *reason);
/* For writes that only inform people: whether they arrive does not matter. */
void engine_ignore_reply(void *arg, enum err err, const struct resp_reply *r);

/* engine_letter.c */
struct slot *engine_slot_get(struct engine *e, enum cwc_chamber c);
void engine_letter_start(struct slot *s, const struct queue_taken *t);
void engine_letter_event(struct slot *s, enum pipeline_event ev);
void engine_letters_tick(struct engine *e, int64_t boot_us);

/* engine_offices.c */
void engine_offices_tick(struct lane *l, int64_t boot_us);
/* Whether jobs may be taken: the first fetch was tried, and there is a list or the policy sends without. */
bool engine_offices_allow(const struct engine *e, enum cwc_chamber c);

#endif
