/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the engine share. engine.c: life, timers, readiness, drain. engine_queue.c: join, beat, reap,
 * adopt. engine_publish.c: keys and documents in `attestations`. engine_about.c: what people see of the worker.
 * engine_take.c: take, holds. engine_letter.c: one job's way. engine_replicas.c: WAIT before its POST. engine_settle.c:
 * its end. engine_recent.c: what is said again after a reconnect. engine_offices.c: the office lists. engine_watch.c:
 * maintenance windows and alarms. engine_metrics.c: counts.
 */
#ifndef WORKER_ENGINE_INTERNAL_H
#define WORKER_ENGINE_INTERNAL_H

#include "cwc/windows.h"
#include "worker/engine.h"
#include "worker/http.h"
#include "worker/metrics.h"
#include "worker/pace.h"
#include "worker/pipeline.h"
#include "worker/prepare.h"
#include "worker/recent.h"
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
	bool waits_replica;     /* in the state REPLICATING: the next WAIT is for it too */
	bool moved;             /* its BEGIN was said on a connection that is gone: the server may not know it */
	bool settle_sent;       /* an answer to SETTLE is outstanding */
	int64_t settle_boot_us; /* send SETTLE (again) at this time */
	unsigned settle_tries;
	int64_t settling_boot_us; /* when SETTLE was due first */
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
	/* The last letters that this chamber took, to two different offices: whose fault is a refused access? */
	struct {
		char office[CWC_OFFICE_SIZE];
		int64_t boot_us;
	} took[2];
	struct cwc_windows windows;
	bool in_window;         /* of maintenance: engine_watch.c */
	int64_t closed_boot_us; /* nothing is sent until then: a hold of the chamber that did not reach the queue */
	int64_t window_hold_boot_us;
	bool take_sent;
	enum err take_error;       /* the last TAKE of this chamber; for readiness */
	unsigned take_joins;       /* engine.joins when it was sent */
	unsigned asked;            /* how many jobs the TAKE under way may bring */
	int64_t take_sent_boot_us; /* the grant of what it returns counts from here */
	int64_t take_boot_us;      /* look again at this time */
	uv_timer_t timer;
	/* office list */
	struct cwc_offices *list; /* NULL: none */
	bool list_sent, list_tried, list_published;
	int64_t list_boot_us, list_next_us;
	unsigned list_failures;
	/* By the last look at the depth: the chamber is held or broken; offices that people paused. */
	int64_t blocked, paused, said_blocked, said_paused;
};

/* A publication that an entry of `attestations` was made of, or is. */
struct engine_said {
	unsigned server, number; /* queue_server() and engine_published.number; 0: none */
	bool document;
	uint8_t sha256[32]; /* of the document */
};

/* engine_publish.c */
struct engine_published {
	unsigned number; /* counts engine_publish(); 0: nothing to publish yet */
	struct buf keys, statement, document;
	uint8_t document_sha256[32];
	char pcr0[97];
	uint64_t bundle;
	struct engine_said said;             /* what stands there: receipts name its document */
	struct engine_said joining, telling; /* by the join and by the beat that are under way */
	bool telling_sent;
	unsigned telling_joins, tries;
	int64_t tell_boot_us; /* not again before this time */
	bool alone;           /* a join failed, and none went well since: what became of letters is said without it */
};

/* engine_about.c: as of when it was said last what this worker is */
struct engine_about {
	unsigned joins, number;
	bool draining;
};

/* ASKING: the server's time, before a join. */
enum engine_membership { ENGINE_AWAY, ENGINE_ASKING, ENGINE_JOINING, ENGINE_ADOPTING, ENGINE_MEMBER, ENGINE_LEAVING };

struct engine {
	struct engine_options o;
	const struct config *config;
	uv_loop_t *loop;
	struct queue *queue;
	struct http *http;
	struct seen *seen, *maybe; /* accepted; POSTed, and nobody knows */
	struct buf arena;
	struct job_signer signer[CONFIG_SIGNERS_MAX + ENGINE_GRANTED_MAX]; /* those of the configuration first */
	size_t n_signers;
	struct lane lane[CWC_CHAMBERS];
	struct slot *slots;
	size_t n_slots;
	struct slot *free_slots;
	unsigned in_flight;

	enum engine_membership membership;
	char worker[QUEUE_WORKER_MAX + 1];
	uint64_t take_id;
	/* How often a join was begun. Who is told to be fenced by a call that was sent before the last one is a member
	 * again, or about to be: each call that may say so notes the number. */
	unsigned joins, beat_joins, reap_joins, adopt_joins;
	bool was_member;        /* under whatever nonce */
	unsigned adopted_joins; /* the join that was followed by an ADOPT */
	bool beat_sent, reap_sent, clock_sent;
	int64_t beat_boot_us, reap_boot_us, join_boot_us, adopt_boot_us;
	int64_t skew_us;
	bool skewed, skew_told; /* the latter: by TAKE, and how far the clocks are apart is being asked */
	bool was_ready;
	const char *not_ready; /* the reason that was logged last */
	const char *trouble;   /* engine_set_trouble() */
	struct engine_published publication;
	struct engine_about about;
	enum err queue_error; /* the last of the connection or the membership; for readiness */
	bool replicas_short;  /* WAIT did not find enough: nothing is sent that needs them */
	bool wait_sent;
	int64_t wait_boot_us;    /* ask again at this time */
	struct recent *recent;   /* what was settled lately: said again after each reconnect */
	bool recent_first;       /* joined, and ADOPT waits until that was said */
	unsigned recent_lost;    /* how much of it the queue had forgotten */
	int64_t dropped_boot_us; /* say again at this time how much was dropped for lack of room */
	struct watch *watch;     /* alarms: engine_watch.c */
	struct metrics *metrics; /* engine_metrics.c */
	int64_t started_wall_us, started_boot_us, tick_boot_us, depth_boot_us;
	bool depth_sent, depth_known;

	uv_timer_t tick;
	unsigned handles;           /* to close before the memory goes */
	bool draining, drain_asked; /* the latter: by the queue */
	int64_t drain_boot_us;      /* when patience ends */
	bool drain_cancelled, left;
	void (*drained)(void *arg, unsigned left);
	void *drained_arg;
};

/* engine_queue.c */
void engine_queue_up(void *arg);
void engine_queue_down(void *arg, enum err why, const char *detail);
void engine_queue_tick(struct engine *e, int64_t boot_us);
void engine_adopt(struct engine *e);
void engine_leave(struct engine *e);
/* How long after its BEGIN a POST of unknown fate may be sent again. */
int64_t engine_resend_after(const struct engine *e, enum cwc_chamber c);
void engine_new_name(struct engine *e);
/* A call that was sent when `joins` was that says that our lease was given away: what is in flight is told, and the
 * next join is under a new name. */
void engine_fenced(struct engine *e, unsigned joins);
/* TAKE refuses us for our clock: asks how far it is off, then we are not ready until BEAT finds the two together. */
void engine_skewed(struct engine *e);
/* For writes that only inform people: whether they arrive does not matter. */
void engine_ignore_reply(void *arg, enum err err, const struct resp_reply *r);

/* engine_publish.c: there is something to publish, without which nobody joins */
bool engine_may_join(const struct engine *e);
/* Joins, and publishes unless this server has it; `cb` gets the engine, and says engine_publish_joined() when the join
 * went well. */
void engine_publish_join(struct engine *e, int64_t lease_us, queue_beat_cb cb);
void engine_publish_joined(struct engine *e);
void engine_publish_tick(struct engine *e, int64_t boot_us);
/* The lease was given away: perhaps the server was emptied. */
void engine_publish_forget(struct engine *e);
/* Whether receipts may be handed to this server now. */
bool engine_publish_stands(const struct engine *e);
/* What receipts name: SHA-256 of the document, or empty. */
struct span engine_publish_document(const struct engine *e);
void engine_publish_free(struct engine *e);

/* engine_about.c: tells people what this worker is, and what it is at, when that is news */
void engine_about_tick(struct engine *e);

/* engine_take.c: TAKE and holds */
void engine_take(struct engine *e, enum cwc_chamber c);
/* Holds the chamber, or the office alone, as the slot's decision says. When that is done, or has failed, its letter
 * goes on with PIPELINE_ON_ANSWER: what goes back at once must meet the hold. */
void engine_hold(struct slot *s, const char *reason);
/* Whether letters of this chamber may be sent now; if not, TAKE asks for what needs no POST. */
bool engine_chamber_open(const struct engine *e, enum cwc_chamber c);

/* engine_letter.c */
struct slot *engine_slot_get(struct engine *e, enum cwc_chamber c);
void engine_letter_start(struct slot *s, const struct queue_taken *t);
void engine_letter_event(struct slot *s, enum pipeline_event ev);
/* REPLICATING: the intent is where it must be, or too few have it. */
void engine_letter_replicated(struct slot *s, bool enough);
/* Nothing was sent: what SETTLE shall say. */
void engine_letter_unsent(struct slot *s, enum queue_verb verb);

/* engine_settle.c */
void engine_settle_send(struct slot *s);
void engine_settle_tick(struct engine *e, int64_t boot_us);
/* POSTs under way: the server may not know that they began. */
void engine_settle_begun(struct engine *e);

/* engine_recent.c: says again what was settled lately */
void engine_recent_say(struct engine *e);
void engine_recent_tick(struct engine *e, int64_t boot_us);
/* Used by both: one SETTLE, and the BEGIN that Redis lost. */
void engine_say_settle(struct engine *e, const struct recent_settle *r, queue_settle_cb cb, void *arg);
void engine_say_begin(struct engine *e, const struct recent_settle *r, queue_begin_cb cb, void *arg);
void engine_ignore_begin(void *arg, enum err err, const struct queue_begin_answer *a);
void engine_log_orphan(struct engine *e, const struct recent_settle *r);
void engine_log_breakers(struct engine *e, const struct queue_settle_answer *a);
void engine_log_settle_error(const struct recent_settle *r, enum err err);
/* 0.2 s, doubling to most_us. */
int64_t engine_pause_us(unsigned tries, int64_t most_us);

/* engine_replicas.c: WAIT */
bool engine_replicas_needed(const struct engine *e, enum cwc_chamber c);
/* For all slots that are REPLICATING and not yet asked for. */
void engine_replicas_ask(struct engine *e);
void engine_replicas_tick(struct engine *e, int64_t boot_us);

/* engine_watch.c: maintenance windows and alarms */
ERR_MUST_CHECK enum err engine_watch_open(struct engine *e, const char **ret_key, const char **ret_rule);
void engine_watch_free(struct engine *e);
void engine_watch_tick(struct engine *e, int64_t boot_us);
/* What BEAT said: alarms when people must come before something is full. */
void engine_watch_counts(struct engine *e, const struct queue_beat_answer *a);

/* engine_metrics.c: what is counted; none of it changes what is done */
void engine_metrics_tick(struct engine *e, int64_t boot_us);
void engine_count(struct engine *e, enum metric s, unsigned a, unsigned b);
void engine_count_call(struct engine *e, enum metrics_call call, enum err err);
void engine_count_take(struct lane *l, enum err err, const struct queue_take_answer *a);
void engine_count_prepared(const struct slot *s, int64_t took_us);
void engine_count_answer(const struct slot *s, const struct http_answer *a);
void engine_count_settled(const struct slot *s, const struct queue_settle_answer *a);
void engine_count_breaker(struct engine *e, const struct queue_breaker *b);
void engine_count_places(struct engine *e, const struct queue_beat_answer *a);

/* engine_offices.c */
void engine_offices_tick(struct lane *l, int64_t boot_us);
/* Whether jobs may be taken: the first fetch was tried, and there is a list or the policy sends without. */
bool engine_offices_allow(const struct engine *e, enum cwc_chamber c);

#endif
