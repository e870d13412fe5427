/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue: typed calls of the scripts of PROTOCOL.md over one connection.
 *
 * Every call is asynchronous: it is pipelined on the connection and answered in order by its
 * callback, never from within the call. `e` is ERR_OK when the script answered; ERR_QUEUE_LOST when
 * the connection was lost first (it may have been carried out); ERR_QUEUE_BUSY, ERR_QUEUE_FULL, ERR_QUEUE_DENIED,
 * ERR_QUEUE_SCRIPT for an error reply (a script error may have been carried out in part: run ADOPT). Nothing was sent
 * with ERR_QUEUE_BUSY when the write buffer is full, and with ERR_LIMIT when the call can never fit it. The answer is
 * NULL unless `e` is ERR_OK, and valid during the callback. NOSCRIPT is handled here: the script is loaded and the call
 * repeated, behind those that were sent meanwhile.
 *
 * All times are microseconds since 1970 of the caller's bounded clock.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "queue/conn.h"

#define QUEUE_PROTOCOL_VERSION 1
#define QUEUE_TAKE_MAX         64
#define QUEUE_WORKER_MAX       100 /* "name/nonce" */
#define QUEUE_SID_MAX          64
#define QUEUE_OFFICE_LEN       5
#define QUEUE_TOKEN_MAX        160
#define QUEUE_ID_MAX           80 /* "sid:office" */

struct queue;

struct queue_ops {
	/* Connected, checked (version, maxmemory-policy), scripts loaded. */
	void (*up)(void *arg);
	/* As in conn_ops, and: ERR_QUEUE_POLICY, ERR_CONFIG (Redis is older than 6.2), ERR_QUEUE_DENIED (an ACL forbids
	 * INFO or SCRIPT LOAD), ERR_QUEUE_BUSY (a replica, or still loading), each tried again after the usual delay.
	 */
	void (*down)(void *arg, enum err why, const char *detail);
};

/* allow_eviction: do not refuse a maxmemory-policy other than noeviction. */
struct queue_options {
	struct conn_options conn;
	const char *name;
	bool allow_eviction;
};

ERR_MUST_CHECK enum err queue_open(uv_loop_t *loop, const struct queue_options *o, const struct queue_ops *ops,
				   void *arg, struct queue **ret_queue, const char **ret_detail);
/* Without callbacks, also from within one. NULL is allowed. */
void queue_close(struct queue *q);
bool queue_is_up(const struct queue *q);
/* Which start of which server answers, counted from 1. Another than before may have forgotten what was said: a
 * failover, a restart with an older file. */
unsigned queue_server(const struct queue *q);
struct conn *queue_conn(struct queue *q);
/* "{name}:suffix" in a buf that the caller owns. */
void queue_key(const struct queue *q, const char *suffix, struct buf *out);

/* --- BEAT ------------------------------------------------------------------------------------ */

/* REJOIN: of a process that was a member before, under this name or with another nonce. */
enum queue_beat_verb { QUEUE_JOIN, QUEUE_REJOIN, QUEUE_BEAT, QUEUE_LEAVE };
enum queue_beat_status {
	QUEUE_BEAT_OK,
	QUEUE_BEAT_FENCED, /* our lease was given away: stop sending */
	QUEUE_BEAT_TAKEN,  /* join: the name is alive under another nonce */
	QUEUE_BEAT_BUSY,   /* leave: we still hold jobs */
	QUEUE_BEAT_VERSION /* the queue's protocol is newer */
};
struct queue_beat_answer {
	enum queue_beat_status status;
	int64_t redis_us; /* TIME of the server: for the skew check */
	/* How long the places are that only people and consumers empty. */
	int64_t dead, unknown, stuck, results;
	bool drain; /* somebody wants this worker to finish what it has, and to end */
};
typedef void (*queue_beat_cb)(void *arg, enum err e, const struct queue_beat_answer *a);
void queue_beat(struct queue *q, enum queue_beat_verb verb, const char *worker, int64_t lease_us, int64_t now_us,
		queue_beat_cb cb, void *arg);
/* JOIN or REJOIN, and publishes these names and values (n of both together, at most QUEUE_JOIN_FIELDS) in
 * `attestations` before the worker is a member. With 0 nothing is published. `machine`: a worker of our name that
 * joined with the same one is provably gone (alone.h), so that its lease ends now; "": nothing is known, and such a
 * worker makes us wait. */
#define QUEUE_JOIN_FIELDS 24
#define QUEUE_MACHINE_MAX 64
void queue_join(struct queue *q, enum queue_beat_verb verb, const char *worker, int64_t lease_us, int64_t now_us,
		const char *machine, const struct span *field, size_t n, queue_beat_cb cb, void *arg);
/* A beat of a member that publishes, too. FENCED and VERSION: it did not. */
void queue_publish(struct queue *q, const char *worker, int64_t lease_us, int64_t now_us, const struct span *field,
		   size_t n, queue_beat_cb cb, void *arg);

/* --- TAKE ------------------------------------------------------------------------------------ */

struct queue_take {
	const char *chamber; /* "house" | "senate" */
	const char *worker;
	uint64_t take_id; /* never repeated by this worker; makes the tokens */
	unsigned n;       /* at most QUEUE_TAKE_MAX */
	int64_t now_us;
	int64_t chamber_period_us; /* GCRA emission interval */
	int64_t chamber_slack_us;  /* and its tolerance: how much sooner than that a cell may come */
	int64_t office_period_us;  /* 0: no office limit */
	int64_t office_slack_us;
	unsigned office_cap; /* in flight per office */
	bool open;           /* false: only the close lane, intake and timers (maintenance, lost replicas) */
};
struct queue_taken {
	struct span sid, office, token;
	struct span
		why; /* "" to send; else end it with a receipt: cancelled, expired, unknown, crashes, dropped, late */
	struct span digest;   /* names the job bytes */
	struct span previous; /* the terminal state that a new generation challenges, or "" */
	int64_t generation;   /* -1: none verified yet */
	unsigned attempt;     /* POSTs that began so far */
	unsigned crashes;
	unsigned unknowns;             /* POSTs of unknown fate */
	struct span delivery_id, date; /* "" before the first BEGIN */
	int64_t begun_us;              /* of the last BEGIN; 0 */
	int64_t first_us;              /* when intake saw it first */
	int64_t rev;
	struct span last;    /* outcome name of the last attempt, or "" */
	int64_t last_status; /* its HTTP status, or 0 */
	struct span bytes;   /* the job */
};
enum queue_take_status { QUEUE_TAKE_OK, QUEUE_TAKE_FENCED, QUEUE_TAKE_SKEW };
struct queue_take_answer {
	enum queue_take_status status;
	int64_t wait_us; /* with no jobs: nothing can be ready sooner */
	bool full;       /* Redis is out of memory: intake stands still */
	bool adopt;      /* an office failed inside the script: run ADOPT */
	size_t n;
	struct queue_taken job[QUEUE_TAKE_MAX + 64];
};
typedef void (*queue_take_cb)(void *arg, enum err e, const struct queue_take_answer *a);
void queue_take(struct queue *q, const struct queue_take *t, queue_take_cb cb, void *arg);

/* --- BEGIN ----------------------------------------------------------------------------------- */

struct queue_begin {
	const char *worker;
	struct span sid, office, token;
	struct span delivery_id, date;
	uint64_t generation; /* verified */
	int64_t expires_us;  /* verified; replaces the unsigned hint */
	int64_t now_us;
	bool sent; /* the POST has left, and Redis lost its BEGIN: recorded whatever speaks against a POST now */
};
enum queue_begin_status {
	QUEUE_BEGIN_GO,
	QUEUE_BEGIN_STALE,     /* not mine any more: forget it */
	QUEUE_BEGIN_CANCELLED, /* settle as cancelled */
	QUEUE_BEGIN_CLOSE,     /* another reason to end it: release, it comes back in the close lane */
	QUEUE_BEGIN_HELD,      /* paused or broken: release */
	QUEUE_BEGIN_OLDGEN,    /* the generation does not reopen it: settle refused */
	QUEUE_BEGIN_SKEW       /* release */
};
struct queue_begin_answer {
	enum queue_begin_status status;
	struct span delivery_id, date; /* GO: what must be sent */
	unsigned attempt;              /* GO: this attempt's number from 1 */
	unsigned unknowns;             /* GO: earlier POSTs of unknown fate */
	int64_t begun_us;
};
typedef void (*queue_begin_cb)(void *arg, enum err e, const struct queue_begin_answer *a);
void queue_begin(struct queue *q, const struct queue_begin *b, queue_begin_cb cb, void *arg);

/* --- SETTLE ---------------------------------------------------------------------------------- */

/* What SETTLE does with the job; the outcome (a name of the outcome table) goes along. */
enum queue_verb {
	QUEUE_END,       /* terminal: `state` says which; writes a result (and `dead` for state dead) */
	QUEUE_RETRY,     /* later at due_us; the attempt counts */
	QUEUE_UNKNOWN,   /* later at due_us; the attempt counts and its fate stays open (Senate resend) */
	QUEUE_THROTTLED, /* later at due_us; the attempt does not count */
	QUEUE_NOT_SENT,  /* after BEGIN, but no POST was made: back to its place in line, attempt and cell returned */
	QUEUE_RELEASE,   /* before BEGIN: back to its place in line, cell returned */
	QUEUE_DEFER,     /* before BEGIN: later at due_us, cell returned; with a detail, what is not known: at a pace */
	QUEUE_LIVE,      /* close lane, why=expired, but the signed expiry is later: back in line, `exp` at due_us */
	QUEUE_REFUSED,   /* before BEGIN: the job bytes failed verification */
	QUEUE_CONFLICT   /* Senate 409: accepted_earlier when a POST of unknown fate exists, else id_conflict */
};
struct queue_settle {
	const char *worker;
	struct span sid, office, token;
	enum queue_verb verb;
	const char *state;   /* with END: accepted rejected dead expired cancelled dropped unknown */
	const char *outcome; /* stable name */
	const char *class_;  /* outcome class name */
	bool retryable;
	struct span detail; /* codes, elements and rules; nothing personal; at most 512 bytes */
	int http_status;
	int64_t due_us, now_us;
	int64_t begun_us;        /* of this attempt; 0 */
	int64_t generation;      /* verified; -1: not */
	struct span receipt;     /* COSE_Sign1, terminal verbs; for CONFLICT that of accepted_earlier */
	struct span receipt_alt; /* CONFLICT: that of id_conflict */
	int site;                /* what the attempt says of the receiver: 1 it answers, -1 it does not, 0 nothing */
	int64_t breaker_open_us; /* how long a breaker stays open at first; 0: no breakers, any that stand end */
};
/* A breaker that this SETTLE moved. */
struct queue_breaker {
	struct span what; /* chamber or office */
	bool open;        /* false: it closed */
	int64_t until_us; /* open: until a probe is sent */
};
#define QUEUE_BREAKERS_MAX 2
enum queue_settle_status {
	QUEUE_SETTLE_OK,
	QUEUE_SETTLE_LATE,  /* recorded as a late definite answer */
	QUEUE_SETTLE_DUP,   /* already settled under this token */
	QUEUE_SETTLE_STALE, /* not mine; nothing done */
	QUEUE_SETTLE_BUG    /* NOTBEGUN, BEGUN, BADVERB */
};
struct queue_settle_answer {
	enum queue_settle_status status;
	struct span state; /* the record's state now */
	int64_t rev;
	size_t n_breakers;
	struct queue_breaker breaker[QUEUE_BREAKERS_MAX];
};
typedef void (*queue_settle_cb)(void *arg, enum err e, const struct queue_settle_answer *a);
void queue_settle(struct queue *q, const struct queue_settle *s, queue_settle_cb cb, void *arg);

/* --- WAIT ------------------------------------------------------------------------------------ */

/* Calls back when that many replicas have everything that was sent on this connection, or when the time is over: n is
 * how many have it. The connection stands still meanwhile. */
typedef void (*queue_wait_cb)(void *arg, enum err e, int64_t n);
void queue_wait(struct queue *q, unsigned replicas, unsigned timeout_ms, queue_wait_cb cb, void *arg);

/* --- REAP, ADOPT, HOLD ----------------------------------------------------------------------- */

/* What is done with a POST of unknown fate: it is sent again under the same DeliveryId, not before begun_at +
 * resend_after_us, or its job ends as outcome_unknown. */
struct queue_unknown {
	int64_t resend_after_us;
	bool house_resend, senate_resend;
};

struct queue_reap {
	const char *worker;
	int64_t now_us;
	unsigned crashes_max;
	struct queue_unknown unknown;
};
/* n: how many went back. -1: nothing was done because our clock and that of Redis disagree (REAP). */
typedef void (*queue_count_cb)(void *arg, enum err e, bool fenced, int64_t n);
void queue_reap(struct queue *q, const struct queue_reap *r, queue_count_cb cb, void *arg);

/* `token`: all that the worker knows. Everything else that it holds goes back; what is begun on record is of unknown
 * fate. */
struct queue_adopt {
	const char *worker;
	int64_t now_us;
	struct queue_unknown unknown;
	const struct span *token;
	size_t n;
};
void queue_adopt(struct queue *q, const struct queue_adopt *x, queue_count_cb cb, void *arg);
/* what: "house", "senate" or an office. */
void queue_hold(struct queue *q, const char *what, int64_t until_us, const char *who, const char *reason,
		queue_count_cb cb, void *arg);

/* --- the other side: producers and people ---------------------------------------------------- */

/* One XADD to `in`. Hints are unsigned and only order work. */
struct queue_enqueue {
	struct span sid, offices /* "HCA12,SCA01" */, job;
	unsigned priority;
	int64_t expires_us, not_before_us;
};
/* `r` is also there with an `e` that stands for an error reply (cwcctl shows it). */
typedef void (*queue_reply_cb)(void *arg, enum err e, const struct resp_reply *r);
void queue_enqueue(struct queue *q, const struct queue_enqueue *x, queue_reply_cb cb, void *arg);
/* Any script by name with plain arguments (cwcctl): depth, admin, ... ERR_NOT_FOUND. */
void queue_script(struct queue *q, const char *script, const struct span *argv, size_t n, queue_reply_cb cb, void *arg);
/* Any command. */
void queue_command(struct queue *q, const struct span *argv, size_t n, queue_reply_cb cb, void *arg);

#endif
