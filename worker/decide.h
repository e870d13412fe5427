/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions: what SETTLE shall say. Pure: values and time in, a decision out.
 *
 * One rule stands above the tables: while a POST of unknown fate is open, only an acceptance ends a
 * job as anything else than outcome_unknown. "expired" or "rejected" would claim that the letter
 * was not taken, which nobody knows.
 */
#ifndef WORKER_DECIDE_H
#define WORKER_DECIDE_H

#include "cwc/outcome.h"
#include "queue/queue.h"

#define DECISION_DETAIL_MAX 512

/* For the breakers. A fault of one letter never counts against the site: a 400 is an answer. */
enum decide_site { DECIDE_SITE_FAULT = -1, DECIDE_SITE_SILENT, DECIDE_SITE_ANSWERS };

struct decision {
	enum queue_verb verb;
	enum outcome outcome; /* END, RETRY, UNKNOWN, THROTTLED, CONFLICT, NOT_SENT */
	int64_t due_us;
	int64_t hold_us;       /* hold the chamber until then; 0: do not */
	bool hold_office;      /* hold the office alone */
	enum decide_site site; /* what the attempt says of the receiver */
	char detail[DECISION_DETAIL_MAX + 1];
};

/* What is known of the job when a decision is taken. */
struct decide_job {
	enum cwc_chamber chamber;
	unsigned attempt;  /* POSTs that began, this one included */
	unsigned unknowns; /* POSTs of unknown fate, this one not included */
	int64_t first_us, begun_us;
	bool others_taken; /* this worker saw the chamber accept a letter to another office within the last minute */
	bool ours;         /* the attempt ended by our own doing (drain): it says nothing of the receiver */
};

struct decide_policy {
	unsigned attempts;
	int64_t backoff_base_us, backoff_cap_us, age_max_us;
	int64_t resend_after_us; /* Senate: total time-out of a POST */
	bool resend;             /* unknown_policy of the chamber */
};

/* Ends the job with this outcome, or with outcome_unknown while a fate is open (but for `dropped`, a person's
 * decision). */
void decide_end(struct decision *ret_d, enum outcome o, unsigned unknowns);

/* After a POST. `o` comes from cwc_classify(); random is any 64 bits, for the jitter.
 *
 * A letter whose chamber or office is held goes back with due_us = now_us: the hold keeps it, so that `resume` lets it
 * go at once. A hold must therefore reach the queue before the settlement does. */
void decide_answer(const struct decide_job *j, const struct decide_policy *p, enum outcome o, int64_t retry_after_s,
		   int64_t now_us, uint64_t random, struct decision *ret_d);

/* The last answers of a chamber. When 16 of 20 are 400, it is our XML or our access that is wrong and not each of these
 * letters: no more of them are ended. */
#define DECIDE_WINDOW     20
#define DECIDE_WINDOW_BAD 16

struct decide_window {
	uint32_t bad; /* one bit an answer, the newest lowest */
};

/* Notes one answer. True when rejections are suspect now: rejected_by_chamber is then to be taken as misconfigured. */
bool decide_suspect(struct decide_window *w, int status);

/* base * 2^(attempt - 1), at most cap, times a factor between 1/2 and 1. */
int64_t decide_backoff(const struct decide_policy *p, unsigned attempt, uint64_t random);

#endif
