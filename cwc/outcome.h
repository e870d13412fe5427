/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outcomes: what became of a job, or of one attempt. One table, from which the documentation is
 * printed (cwcctl outcomes).
 */
#ifndef CWC_OUTCOME_H
#define CWC_OUTCOME_H

#include "cwc/cwc.h"

/* The classes of the queue protocol. What the worker does:
 *   ACCEPTED       ends the job, success
 *   REJECTED       ends the job, failure by a definite answer or rule
 *   THROTTLED      later, no attempt used, Retry-After applied
 *   TRANSIENT      later with backoff, within the attempt and age budget
 *   CONFIGURATION  later, no attempt used; the chamber is held and an alarm raised
 *   UNKNOWN        the body may have left and no definite answer came
 *   ENDED          ends the job for a reason of ours (expiry, cancel, budget, operator) */
enum outcome_class {
	OUTCOME_CLASS_ACCEPTED,
	OUTCOME_CLASS_REJECTED,
	OUTCOME_CLASS_THROTTLED,
	OUTCOME_CLASS_TRANSIENT,
	OUTCOME_CLASS_CONFIGURATION,
	OUTCOME_CLASS_UNKNOWN,
	OUTCOME_CLASS_ENDED
};

/* The state in which a terminal outcome leaves the job's record; OPEN for the others. */
enum outcome_state {
	OUTCOME_OPEN,
	OUTCOME_ACCEPTED,
	OUTCOME_REJECTED,
	OUTCOME_DEAD,
	OUTCOME_EXPIRED,
	OUTCOME_CANCELLED,
	OUTCOME_DROPPED,
	OUTCOME_UNKNOWN
};

/* X(ENUM, stable name, class, state, retryable, text). `retryable` tells the app server whether a
 * new submission (a new generation) of the same letter can succeed without a change to the letter. */
#define OUTCOMES(X)                                                                                                    \
	X(ACCEPTED, "accepted", ACCEPTED, ACCEPTED, 0, "the chamber took the letter (House 2xx, Senate 2xx)")          \
	X(ACCEPTED_EARLIER, "accepted_earlier", ACCEPTED, ACCEPTED, 0,                                                 \
	  "the Senate answered 409 for an id that was attempted before: an earlier POST was taken")                    \
	X(ACCEPTED_ON_RECORD, "accepted_on_record", ACCEPTED, ACCEPTED, 0,                                             \
	  "the queue's record says that a POST was taken: by a late answer, whose own receipt stands in the entry "    \
	  "`late` of the results, or by a person's decision")                                                          \
	X(REJECTED_BY_CHAMBER, "rejected_by_chamber", REJECTED, REJECTED, 0,                                           \
	  "a definite 4xx answer: the chamber refuses this letter")                                                    \
	X(LETTER_INVALID, "letter_invalid", REJECTED, REJECTED, 0,                                                     \
	  "the letter breaks rules of CWC 2.0; `detail` lists element and rule")                                       \
	X(LETTER_UNREADABLE, "letter_unreadable", REJECTED, REJECTED, 0,                                               \
	  "the opened envelope is not a letter; `detail` is the code")                                                 \
	X(ENVELOPE_REFUSED, "envelope_refused", REJECTED, REJECTED, 0,                                                 \
	  "the envelope cannot be opened; `detail` is the code")                                                       \
	X(KEY_UNKNOWN, "key_unknown", REJECTED, REJECTED, 1, "no worker had the envelope's key in time: seal it anew") \
	X(OFFICE_UNAVAILABLE, "office_unavailable", REJECTED, REJECTED, 0,                                             \
	  "the office does not take part in CWC; nothing was sent")                                                    \
	X(ATTEMPTS_EXHAUSTED, "attempts_exhausted", ENDED, DEAD, 1, "every attempt of the budget failed")              \
	X(AGE_EXHAUSTED, "age_exhausted", ENDED, DEAD, 1, "attempts failed until the age budget was used up")          \
	X(CRASHES, "crashes", ENDED, DEAD, 1, "workers died too often while they held the job")                        \
	X(EXPIRED, "expired", ENDED, EXPIRED, 1, "the signed expiry passed before the letter could be sent")           \
	X(CANCELLED, "cancelled", ENDED, CANCELLED, 1, "cancelled by the app server or an operator")                   \
	X(DROPPED, "dropped", ENDED, DROPPED, 1, "ended by an operator without a definite answer")                     \
	X(OUTCOME_UNKNOWN, "outcome_unknown", UNKNOWN, UNKNOWN, 0,                                                     \
	  "the letter may have been taken: no definite answer came; a person must ask")                                \
	X(ID_CONFLICT, "id_conflict", UNKNOWN, UNKNOWN, 0,                                                             \
	  "the Senate answered 409 for an id that was never attempted: a person must look")                            \
	X(THROTTLED, "throttled", THROTTLED, OPEN, 1, "429, or 503 before the body left")                              \
	X(NOT_SENT, "not_sent", TRANSIENT, OPEN, 1, "the attempt failed before a byte of the body left")               \
	X(NO_ANSWER, "no_answer", UNKNOWN, OPEN, 1, "the body may have left and no definite answer came")              \
	X(MISCONFIGURED, "misconfigured", CONFIGURATION, OPEN, 1,                                                      \
	  "401, 403, 404, 3xx or an agent mismatch: our access is wrong, not the letter")

enum outcome {
#define OUTCOME_ENUM(e, name, class, state, retryable, text) OUT_##e,
	OUTCOMES(OUTCOME_ENUM)
#undef OUTCOME_ENUM
		OUTCOME_COUNT
};

const char *outcome_name(enum outcome o);
enum outcome_class outcome_class(enum outcome o);
const char *outcome_class_name(enum outcome_class c);
enum outcome_state outcome_state(enum outcome o);
/* "open", "accepted", ...: the values of the field `state` in the queue. */
const char *outcome_state_name(enum outcome_state s);
bool outcome_retryable(enum outcome o);
const char *outcome_text(enum outcome o);
ERR_MUST_CHECK enum err outcome_find(struct span name, enum outcome *ret_outcome);

/* How far an attempt got, as the HTTP client observed it. */
enum cwc_fate {
	CWC_FATE_ANSWERED, /* a complete status line and header came: `status` is valid */
	CWC_FATE_NOT_SENT, /* no byte of the body can have left */
	CWC_FATE_UNKNOWN   /* the body may have left, in part or whole, and no definite answer came */
};

struct cwc_answer {
	enum cwc_fate fate;
	bool body_left;        /* with ANSWERED: body bytes were handed to the connection */
	int status;            /* with ANSWERED */
	int64_t retry_after_s; /* -1: none. From seconds or an HTTP-date, already relative */
	struct span body;      /* capped; looked at for the one literal "DeliveryAgent Mismatch", never kept */
};

/* The outcome of one attempt. `attempted_before`: an earlier POST of this DeliveryId had an unknown
 * fate, so that the Senate's 409 means that it was taken. Terminal for ACCEPTED, ACCEPTED_EARLIER,
 * REJECTED_BY_CHAMBER, ID_CONFLICT; otherwise one of THROTTLED, NOT_SENT, NO_ANSWER, MISCONFIGURED.
 *   2xx accepted (before the body left: not_sent); 409 Senate (likewise): accepted_earlier | id_conflict; 429
 * throttled; 503 before the body left: throttled; 401 403 404 3xx, or 400 with the literal: misconfigured; 408 and 5xx
 * after the body left: no_answer, before: not_sent; every other 4xx rejected; 1xx or anything else: no_answer. House
 * 409 is an other 4xx. */
enum outcome cwc_classify(enum cwc_chamber chamber, const struct cwc_answer *a, bool attempted_before);

#endif
