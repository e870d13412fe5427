/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms of one worker, and their Prometheus text (exposition format 0.0.4).
 *
 * One table of series; every label takes its values from a closed set that stands in this program. There is no way to
 * put a text of a letter, a submission or an office into a label: values are indexes. Each combination is always
 * there, from 0 on, so that a rate over the first event is right. Pure: no clock, no I/O.
 *
 * Times are kept in microseconds and shown in seconds. The five series tee_* have the names, and as far as a queue
 * allows the meanings, that dashboards of an earlier worker know.
 */
#ifndef WORKER_METRICS_H
#define WORKER_METRICS_H

#include "cwc/outcome.h"
#include "worker/base/buf.h"

/* --- labels ---------------------------------------------------------------------------------- */

/* X(ENUM, label name, number of values). CHAMBER, OUTCOME (the final ones) and CLASS are those of cwc/. */
#define METRICS_LABELS(X)                         \
	X(NONE, "", 1)                            \
	X(CHAMBER, "chamber", CWC_CHAMBERS)       \
	X(OUTCOME, "outcome", OUTCOME_COUNT)      \
	X(CLASS, "class", METRICS_CLASS_COUNT)    \
	X(FATE, "fate", 3)                        \
	X(CODE, "code", 5)                        \
	X(CALL, "call", METRICS_CALL_COUNT)       \
	X(PLACE, "place", METRICS_PLACE_COUNT)    \
	X(LINE, "place", METRICS_LINE_COUNT)      \
	X(LIMITER, "limiter", 2)                  \
	X(SCOPE, "scope", METRICS_SCOPE_COUNT)    \
	X(MOVE, "to", 2)                          \
	X(CLOSED, "reason", METRICS_CLOSED_COUNT) \
	X(REASON, "reason", METRICS_REASON_COUNT) \
	X(PROFILE, "profile", 3)

enum metrics_label {
#define METRICS_LABEL_ENUM(e, name, n) METRICS_LABEL_##e,
	METRICS_LABELS(METRICS_LABEL_ENUM)
#undef METRICS_LABEL_ENUM
		METRICS_LABEL_COUNT
};

#define METRICS_CLASS_COUNT 7 /* enum outcome_class */

/* How far a POST got: the order of enum http_fate. */
enum metrics_fate { METRICS_FATE_ANSWERED, METRICS_FATE_NOT_SENT, METRICS_FATE_UNKNOWN };

/* Calls of Redis. */
#define METRICS_CALLS(X)    \
	X(TAKE, "take")     \
	X(BEGIN, "begin")   \
	X(SETTLE, "settle") \
	X(JOIN, "join")     \
	X(BEAT, "beat")     \
	X(LEAVE, "leave")   \
	X(REAP, "reap")     \
	X(ADOPT, "adopt")   \
	X(HOLD, "hold")     \
	X(WAIT, "wait")     \
	X(DEPTH, "depth")   \
	X(OTHER, "other")

/* Places of the queue that belong to no chamber, and those that do: the names that DEPTH has for them. */
#define METRICS_PLACES(X)     \
	X(IN, "in")           \
	X(STUCK, "stuck")     \
	X(REFUSED, "refused") \
	X(DEAD, "dead")       \
	X(UNKNOWN, "unknown") \
	X(RESULTS, "results")

#define METRICS_LINES(X)      \
	X(WAITING, "waiting") \
	X(HELD, "held")       \
	X(TAKEN, "taken")     \
	X(BEGUN, "begun")     \
	X(LATER, "later")     \
	X(CLOSE, "close")

/* Whose hold or breaker. Which office it is, logs say. */
#define METRICS_SCOPES(X)   \
	X(HOUSE, "house")   \
	X(SENATE, "senate") \
	X(OFFICE, "office")

/* Why this worker sends nothing to a chamber now. */
#define METRICS_CLOSEDS(X)            \
	X(MAINTENANCE, "maintenance") \
	X(HOLD, "hold")               \
	X(REPLICAS, "replicas")       \
	X(OFFICE_LIST, "office_list")

#define METRICS_ENUM_CALL(e, name)   METRICS_CALL_##e,
#define METRICS_ENUM_PLACE(e, name)  METRICS_PLACE_##e,
#define METRICS_ENUM_LINE(e, name)   METRICS_LINE_##e,
#define METRICS_ENUM_SCOPE(e, name)  METRICS_SCOPE_##e,
#define METRICS_ENUM_CLOSED(e, name) METRICS_CLOSED_##e,
enum metrics_call { METRICS_CALLS(METRICS_ENUM_CALL) METRICS_CALL_COUNT };
enum metrics_place { METRICS_PLACES(METRICS_ENUM_PLACE) METRICS_PLACE_COUNT };
enum metrics_line { METRICS_LINES(METRICS_ENUM_LINE) METRICS_LINE_COUNT };
enum metrics_scope { METRICS_SCOPES(METRICS_ENUM_SCOPE) METRICS_SCOPE_COUNT };
enum metrics_closed { METRICS_CLOSEDS(METRICS_ENUM_CLOSED) METRICS_CLOSED_COUNT };

/* Who kept a letter back for its rate: the ceiling of this process, or the limits that all workers share. */
enum metrics_limiter { METRICS_LIMITER_WORKER, METRICS_LIMITER_QUEUE };

/* The reasons of engine_ready(), and those that are told to it (engine_set_trouble()). */
#define METRICS_REASONS(X)                  \
	X(CLOCK_SIGNED, "clock_signed")     \
	X(CLOCK_SKEW, "clock_skew")         \
	X(CLOCK_UNSIGNED, "clock_unsigned") \
	X(CLOSED, "closed")                 \
	X(CONFIG, "config")                 \
	X(CONNECT, "connect")               \
	X(DRAINING, "draining")             \
	X(EXISTS, "exists")                 \
	X(IO, "io")                         \
	X(KMS, "kms")                       \
	X(LIMIT, "limit")                   \
	X(NO_BUNDLE, "no_bundle")           \
	X(NO_DOCUMENT, "no_document")       \
	X(NO_KEYS, "no_keys")               \
	X(NO_SECRETS, "no_secrets")         \
	X(PROTOCOL, "protocol")             \
	X(QUEUE, "queue")                   \
	X(QUEUE_BUSY, "queue_busy")         \
	X(QUEUE_DENIED, "queue_denied")     \
	X(QUEUE_FULL, "queue_full")         \
	X(QUEUE_LOST, "queue_lost")         \
	X(QUEUE_POLICY, "queue_policy")     \
	X(QUEUE_SCRIPT, "queue_script")     \
	X(QUEUE_VERSION, "queue_version")   \
	X(REPLICAS, "replicas")             \
	X(RESOLVE, "resolve")               \
	X(STORE, "store")                   \
	X(TIMEOUT, "timeout")               \
	X(TLS, "tls")                       \
	X(OTHER, "other")

#define METRICS_ENUM_REASON(e, name) METRICS_REASON_##e,
enum metrics_reason { METRICS_REASONS(METRICS_ENUM_REASON) METRICS_REASON_COUNT };

/* A reason that is not among them is OTHER. */
enum metrics_reason metrics_reason(const char *reason);

/* --- series ---------------------------------------------------------------------------------- */

/* X(ENUM, type, name, label, second label, unit, help). Unit ONE, or US: kept in microseconds. */
#define METRICS(X)                                                                                                     \
	X(TEE_DECRYPTIONS, COUNTER, "tee_decryptions_total", NONE, NONE, ONE, "Envelopes that were opened.")           \
	X(TEE_ERRORS, COUNTER, "tee_decryption_errors_total", NONE, NONE, ONE, "Envelopes that could not be opened.")  \
	X(TEE_FORWARDS, COUNTER, "tee_cwc_forwards_total", NONE, NONE, ONE, "Letters that a chamber took.")            \
	X(TEE_DEPTH, GAUGE, "tee_queue_depth", NONE, NONE, ONE,                                                        \
	  "Letters of the queue that are not over, as of the last look; before it, those in flight here.")             \
	X(TAKEN, COUNTER, "cwc_taken_total", CHAMBER, NONE, ONE, "Letters that this worker took from the queue.")      \
	X(LETTERS, COUNTER, "cwc_letters_total", CHAMBER, OUTCOME, ONE, "Letters that ended here, by outcome.")        \
	X(LATER, COUNTER, "cwc_retries_total", CHAMBER, CLASS, ONE, "Letters that went back to be tried later.")       \
	X(BACK, COUNTER, "cwc_given_back_total", CHAMBER, NONE, ONE, "Letters that went back to their place in line.") \
	X(REFUSED, COUNTER, "cwc_refused_total", CHAMBER, NONE, ONE, "Jobs that are not genuine.")                     \
	X(ORPHANED, COUNTER, "cwc_orphaned_total", CHAMBER, NONE, ONE, "Answers that the queue had no place for.")     \
	X(POSTS, COUNTER, "cwc_posts_total", CHAMBER, FATE, ONE, "POSTs by how far they got.")                         \
	X(ANSWERS, COUNTER, "cwc_answers_total", CHAMBER, CODE, ONE, "Answers of the chamber by class of status.")     \
	X(LIMITED, COUNTER, "cwc_limiter_waits_total", CHAMBER, LIMITER, ONE,                                          \
	  "Letters that the ceiling of this process kept back; looks that found letters, but none that may go yet.")   \
	X(HOLDS, COUNTER, "cwc_holds_total", SCOPE, NONE, ONE, "Holds that an answer made this worker ask for.")       \
	X(BREAKER_MOVES, COUNTER, "cwc_breaker_moves_total", SCOPE, MOVE, ONE, "Breakers that this worker moved.")     \
	X(BREAKER_OPEN, GAUGE, "cwc_breaker_open", CHAMBER, NONE, ONE,                                                 \
	  "1: the breaker of the chamber is not closed, as far as this worker knows.")                                 \
	X(BREAKERS, GAUGE, "cwc_office_breakers_open", CHAMBER, NONE, ONE,                                             \
	  "Offices whose breaker is not closed, as of the last look.")                                                 \
	X(CLOSED, GAUGE, "cwc_chamber_closed", CHAMBER, CLOSED, ONE, "1: this worker sends nothing to the chamber.")   \
	X(IN_FLIGHT, GAUGE, "cwc_in_flight", CHAMBER, NONE, ONE, "Letters that this worker holds.")                    \
	X(SLOTS, GAUGE, "cwc_slots", CHAMBER, NONE, ONE, "Letters that this worker may hold.")                         \
	X(OFFICES, GAUGE, "cwc_office_list_entries", CHAMBER, NONE, ONE, "Offices on the list in use; 0: no list.")    \
	X(ENTRIES, GAUGE, "cwc_queue_entries", PLACE, NONE, ONE, "Entries of the queue, as of the last look.")         \
	X(LINES, GAUGE, "cwc_queue_letters", CHAMBER, LINE, ONE, "Letters by place, as of the last look.")             \
	X(OLDEST, GAUGE, "cwc_queue_oldest_seconds", CHAMBER, NONE, US,                                                \
	  "Age of the oldest letter that is next in "                                                                  \
	  "its office's line.")                                                                                        \
	X(OLDEST_IN, GAUGE, "cwc_queue_intake_oldest_seconds", NONE, NONE, US, "Age of the oldest entry at the door.") \
	X(WORKERS, GAUGE, "cwc_queue_workers", NONE, NONE, ONE, "Workers that are members of the queue.")              \
	X(RECOVERED, COUNTER, "cwc_recovered_total", NONE, NONE, ONE, "Letters that came back from workers gone.")     \
	X(CALLS, COUNTER, "cwc_redis_calls_total", CALL, NONE, ONE, "Calls of Redis that ended, well or not.")         \
	X(ERRORS, COUNTER, "cwc_redis_errors_total", CALL, NONE, ONE, "Calls of Redis that failed or were lost.")      \
	X(CONNECTS, COUNTER, "cwc_redis_connects_total", NONE, NONE, ONE, "Connections to Redis that came up.")        \
	X(DISCONNECTS, COUNTER, "cwc_redis_disconnects_total", NONE, NONE, ONE, "Connections that broke or failed.")   \
	X(REDIS_UP, GAUGE, "cwc_redis_up", NONE, NONE, ONE, "1: connected to Redis.")                                  \
	X(MEMORY, GAUGE, "cwc_redis_memory_percent", NONE, NONE, ONE,                                                  \
	  "Memory of Redis in per cent of its maxmemory, looked at each minute; 0: it has no limit, or [alarms] "      \
	  "memory "                                                                                                    \
	  "is 0.")                                                                                                     \
	X(MEMBER, GAUGE, "cwc_member", NONE, NONE, ONE, "1: a member of the queue, with a lease.")                     \
	X(JOINS, COUNTER, "cwc_joins_total", NONE, NONE, ONE, "How often the worker began to join the queue.")         \
	X(FENCED, COUNTER, "cwc_fenced_total", NONE, NONE, ONE, "Leases that were given away while it lived.")         \
	X(SKEW, GAUGE, "cwc_clock_skew_seconds", NONE, NONE, US,                                                       \
	  "How far the clock of Redis was off at the last beat.")                                                      \
	X(DOUBTED, GAUGE, "cwc_unconfirmed_settlements", NONE, NONE, ONE,                                              \
	  "Settlements that must be said again before the queue has them for certain.")                                \
	X(KEYS, GAUGE, "cwc_keys", PROFILE, NONE, ONE, "Keys of the ring.")                                            \
	X(KEY_CHANGE, GAUGE, "cwc_key_next_change_seconds", NONE, NONE, US,                                            \
	  "When a key of the ring becomes active, retires or is destroyed next, since 1970; 0: none does.")            \
	X(KEY_SINCE, GAUGE, "cwc_key_active_since_seconds", NONE, NONE, US,                                            \
	  "When the newest active key of the ring became active, since 1970; 0: nobody knows.")                        \
	X(SIGNERS_END, GAUGE, "cwc_signers_end_seconds", NONE, NONE, US,                                               \
	  "When the last of those who may sign jobs may no more, since 1970; 0: one may for ever, or there is none.")  \
	X(BUNDLE, GAUGE, "cwc_bundle_version", NONE, NONE, ONE,                                                        \
	  "Version of the sealed bundle whose keys are published; 0: the ring is not from one.")                       \
	X(READY, GAUGE, "cwc_ready", NONE, NONE, ONE, "1: takes letters.")                                             \
	X(NOT_READY, GAUGE, "cwc_not_ready", REASON, NONE, ONE, "1: not ready, for this reason.")                      \
	X(LAG_MAX, GAUGE, "cwc_loop_lag_max_seconds", NONE, NONE, US, "The longest that the event loop was late.")     \
	X(CPU, COUNTER, "process_cpu_seconds_total", NONE, NONE, US, "CPU time of this process.")                      \
	X(RESIDENT, GAUGE, "process_resident_memory_bytes", NONE, NONE, ONE, "Memory of this process.")                \
	X(START, GAUGE, "process_start_time_seconds", NONE, NONE, US, "When this process began, since 1970.")

enum metric {
#define METRICS_ENUM(e, type, name, a, b, unit, help) METRICS_##e,
	METRICS(METRICS_ENUM)
#undef METRICS_ENUM
		METRICS_COUNT
};

/* X(ENUM, name, label, buckets, help); all in seconds. */
#define METRICS_HISTOGRAMS(X)                                                                                      \
	X(TEE_DURATION, "tee_decryption_duration_seconds", NONE, SHORT,                                            \
	  "Verifying, opening, checking and rendering a "                                                          \
	  "letter.")                                                                                               \
	X(TAKE_TO_POST, "cwc_take_to_post_seconds", CHAMBER, NET, "From TAKE to the POST.")                        \
	X(POST, "cwc_post_seconds", CHAMBER, NET, "POSTs, to their end.")                                          \
	X(SETTLE, "cwc_settle_seconds", CHAMBER, NET, "From what became of a letter to the queue's confirmation.") \
	X(AGE, "cwc_letter_age_seconds", CHAMBER, AGE, "From a letter's intake to its end.")                       \
	X(LAG, "cwc_loop_lag_seconds", NONE, SHORT, "How late the event loop was, looked at 20 times a second.")

enum metrics_histogram {
#define METRICS_HISTOGRAM_ENUM(e, name, label, buckets, help) METRICS_HIST_##e,
	METRICS_HISTOGRAMS(METRICS_HISTOGRAM_ENUM)
#undef METRICS_HISTOGRAM_ENUM
		METRICS_HIST_COUNT
};

struct metrics;

struct metrics *metrics_new(void);
/* NULL is allowed. */
void metrics_free(struct metrics *m);

/* a and b are indexes of the labels' values, 0 for NONE; one out of its range is a bug. */
void metrics_add(struct metrics *m, enum metric s, unsigned a, unsigned b, int64_t n);
void metrics_set(struct metrics *m, enum metric s, unsigned a, unsigned b, int64_t value);
int64_t metrics_get(const struct metrics *m, enum metric s, unsigned a, unsigned b);
/* A time below 0 (a clock that stepped back) counts as 0. */
void metrics_observe(struct metrics *m, enum metrics_histogram h, unsigned a, int64_t us);

/* The value of DEPTH's name: "house_waiting", "in", ... Unknown names are passed over: a newer script may have more. */
void metrics_depth(struct metrics *m, struct span name, int64_t value);

/* All series, then cwc_build_info. version and environment come from the program and from a closed set. */
void metrics_text(const struct metrics *m, const char *version, const char *environment, struct buf *out);

#endif
