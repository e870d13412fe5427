/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs: one line per event, of typed, allow-listed fields. There is no way to log a free text: an
 * event is an enum, a field is an enum with a fixed type, and a name-typed field takes only
 * [A-Za-z0-9_.:/@-] (anything else becomes '?') and at most 128 bytes. Plaintext has no way in.
 *
 *	log_event(LOG_LETTER_ENDED, LOG_NAME(F_SID, sid), LOG_NAME(F_OFFICE, office), LOG_INT(F_HTTP_STATUS, 200));
 *
 * JSON: {"time":"...","level":"info","event":"letter_ended","sid":"...",...}
 * Text: 2026-03-02T17:04:05.123Z info letter_ended sid=... office=...
 *
 * Only worker/ and ops/ log; libraries return errors.
 */
#ifndef WORKER_BASE_LOG_H
#define WORKER_BASE_LOG_H

#include "worker/base/buf.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* X(ENUM, name, level) */
#define LOG_EVENTS(X)                                    \
	X(STARTING, "starting", INFO)                    \
	X(START_FAILED, "start_failed", ERROR)           \
	X(READY, "ready", INFO)                          \
	X(NOT_READY, "not_ready", WARNING)               \
	X(DRAINING, "draining", INFO)                    \
	X(STOPPED, "stopped", INFO)                      \
	X(QUEUE_UP, "queue_up", INFO)                    \
	X(QUEUE_DOWN, "queue_down", WARNING)             \
	X(QUEUE_ERROR, "queue_error", WARNING)           \
	X(QUEUE_FENCED, "queue_fenced", ERROR)           \
	X(QUEUE_RECOVERED, "queue_recovered", WARNING)   \
	X(KEY_LOADED, "key_loaded", INFO)                \
	X(OFFICES_LOADED, "offices_loaded", INFO)        \
	X(OFFICES_FAILED, "offices_failed", WARNING)     \
	X(JOB_REFUSED, "job_refused", WARNING)           \
	X(LETTER_SENT, "letter_sent", DEBUG)             \
	X(LETTER_ENDED, "letter_ended", INFO)            \
	X(LETTER_LATER, "letter_later", INFO)            \
	X(LETTER_ORPHANED, "letter_orphaned", ERROR)     \
	X(LETTER_GIVEN_BACK, "letter_given_back", DEBUG) \
	X(CHAMBER_HELD, "chamber_held", ERROR)           \
	X(OFFICE_HELD, "office_held", ERROR)             \
	X(BREAKER_OPEN, "breaker_open", WARNING)         \
	X(BREAKER_CLOSED, "breaker_closed", INFO)        \
	X(MAINTENANCE, "maintenance", INFO)              \
	X(MAINTENANCE_OVER, "maintenance_over", INFO)    \
	X(PAUSES, "pauses", INFO)                        \
	X(QUEUE_ALARM, "queue_alarm", ERROR)             \
	X(QUEUE_REPLICAS, "queue_replicas", WARNING)     \
	X(RECENT_DROPPED, "recent_dropped", WARNING)     \
	X(BRIDGE_DIAL, "bridge_dial", WARNING)           \
	X(UNCONFINED, "unconfined", WARNING)             \
	X(ATTESTED, "attested", INFO)                    \
	X(UNATTESTED, "unattested", WARNING)             \
	X(DOCUMENT_READY, "document_ready", INFO)        \
	X(DOCUMENT_FAILED, "document_failed", WARNING)   \
	X(CLOCK_SIGNED, "clock_signed", ERROR)           \
	X(KEYS_MISSING, "keys_missing", WARNING)         \
	X(KEYS_ASKED, "keys_asked", INFO)                \
	X(KEY_CHANGED, "key_changed", INFO)              \
	X(BUNDLE_LOADED, "bundle_loaded", INFO)          \
	X(BUNDLE_REFUSED, "bundle_refused", ERROR)       \
	X(SECRET_LOADED, "secret_loaded", INFO)          \
	X(SECRET_REFUSED, "secret_refused", ERROR)       \
	X(STORE_FAILED, "store_failed", WARNING)         \
	X(KMS_FAILED, "kms_failed", WARNING)             \
	X(INIT_STARTED, "init_started", INFO)            \
	X(INIT_FAILED, "init_failed", ERROR)             \
	X(WORKER_ENDED, "worker_ended", WARNING)         \
	X(LOG_DROPPED, "log_dropped", WARNING)

enum log_event {
#define LOG_EVENT_ENUM(e, name, level) LOG_##e,
	LOG_EVENTS(LOG_EVENT_ENUM)
#undef LOG_EVENT_ENUM
		LOG_EVENT_COUNT
};

/* X(ENUM, name, is_number) */
#define LOG_FIELDS(X)                    \
	X(SID, "sid", 0)                 \
	X(OFFICE, "office", 0)           \
	X(CHAMBER, "chamber", 0)         \
	X(OUTCOME, "outcome", 0)         \
	X(CLASS, "class", 0)             \
	X(CODE, "code", 0)               \
	X(FATE, "fate", 0)               \
	X(DELIVERY_ID, "delivery_id", 0) \
	X(WORKER, "worker", 0)           \
	X(QUEUE, "queue", 0)             \
	X(ADDRESS, "address", 0)         \
	X(KEY_ID, "key_id", 0)           \
	X(PROFILE, "profile", 0)         \
	X(VERSION, "version", 0)         \
	X(ENVIRONMENT, "environment", 0) \
	X(REASON, "reason", 0)           \
	X(CONFIG_KEY, "key", 0)          \
	X(COMMAND, "command", 0)         \
	X(STATE, "state", 0)             \
	X(PCR0, "pcr0", 0)               \
	X(MODULE, "module", 0)           \
	X(BUNDLE, "bundle", 1)           \
	X(HTTP_STATUS, "http_status", 1) \
	X(ATTEMPT, "attempt", 1)         \
	X(GENERATION, "generation", 1)   \
	X(REV, "rev", 1)                 \
	X(ELAPSED_US, "elapsed_us", 1)   \
	X(WAIT_MS, "wait_ms", 1)         \
	X(COUNT, "count", 1)             \
	X(IGNORED, "ignored", 1)         \
	X(IN_FLIGHT, "in_flight", 1)     \
	X(SKEW_MS, "skew_ms", 1)         \
	X(ERRNO, "errno", 1)             \
	X(SIGNAL, "signal", 1)           \
	X(LINE, "line", 1)

enum log_field {
#define LOG_FIELD_ENUM(e, name, number) F_##e,
	LOG_FIELDS(LOG_FIELD_ENUM)
#undef LOG_FIELD_ENUM
		LOG_FIELD_COUNT
};

struct log_value {
	enum log_field field;
	struct span name; /* fields that are names */
	int64_t number;   /* fields that are numbers */
};

#define LOG_NAME(f, s) ((struct log_value){ .field = (f), .name = (s) })
#define LOG_STR(f, s)  ((struct log_value){ .field = (f), .name = span_str(s) })
#define LOG_INT(f, v)  ((struct log_value){ .field = (f), .number = (int64_t)(v) })

/* Lines above `level` are dropped. fd is not owned. Lines are written with one write(2) each; a
 * full pipe (EAGAIN) drops the line and counts it in the next that passes ("dropped":N); so does a
 * line above 4096 bytes. Before log_open(): standard error, LOG_INFO, JSON. */
void log_open(int fd, enum log_level level, bool json);

void log_values(enum log_event event, const struct log_value *v, size_t n);
#define log_event(event, ...)                                          \
	log_values((event), (const struct log_value[]){ __VA_ARGS__ }, \
		   sizeof((const struct log_value[]){ __VA_ARGS__ }) / sizeof(struct log_value))

/* Pure: the line that log_values() would write, with its newline. For tests. */
void log_line(enum log_event event, const struct log_value *v, size_t n, int64_t unix_ms, bool json, struct buf *out);

#endif
