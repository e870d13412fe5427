/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was settled after a POST, for a minute. A failover to a replica that lags forgets the last SETTLEs, and the jobs
 * then look as if their letters had never left, to be sent by somebody else. So after each reconnect all that is kept
 * here is said again; what the queue still knows, it answers with DUP.
 *
 * Pure: no clock and no connection of its own. An entry is settled (the queue confirmed it on this connection),
 * doubted (it must be said again) or out (being said: somebody holds a pointer to it). Bounded: at most RECENT_MAX
 * entries, the oldest settled one goes first, then the oldest doubted one, those that are out never; what had to go so
 * is counted. What is settled goes after RECENT_US; what is doubted has no age, since the queue may be away for longer
 * than that.
 */
#ifndef WORKER_RECENT_H
#define WORKER_RECENT_H

#include <sys/queue.h>

#include "worker/prepare.h"

#define RECENT_MAX 4096
#define RECENT_US  (60 * 1000000LL)

/* All that a SETTLE says, and a BEGIN before it, but for receipts: they are signed when it is said. */
struct recent_settle {
	enum cwc_chamber chamber;
	char worker[QUEUE_WORKER_MAX + 1], sid[JOB_SID_MAX + 1], office[CWC_OFFICE_SIZE], token[QUEUE_TOKEN_MAX + 1];
	char delivery_id[CWC_DELIVERY_ID_SIZE], date[CWC_DATE_SIZE];
	struct decision decision;
	uint64_t generation; /* verified, if expires_us is not 0 */
	int64_t expires_us, begun_us, ended_us;
	unsigned attempt;
	int http_status;
};

struct recent_entry {
	TAILQ_ENTRY(recent_entry) link;
	struct recent_settle settle;
	void *owner;          /* the caller's */
	int64_t rev;          /* that the queue answered: a lower one later means that it forgot */
	int64_t boot_us;      /* when it was confirmed */
	int64_t next_boot_us; /* doubted: not to be said before */
	unsigned tries;       /* since it was doubted */
	bool doubted, out;
};

struct recent;

struct recent *recent_new(void);
/* Wipes and frees; NULL is allowed. */
void recent_free(struct recent *r);

/* Notes what the queue has just confirmed. */
void recent_add(struct recent *r, const struct recent_settle *s, void *owner, int64_t rev, int64_t boot_us);
/* How many had to go for lack of room since this was asked last; false: none. `doubted`: their jobs are no longer named
 * in ADOPT, and what came of them is said by nobody. */
bool recent_dropped(struct recent *r, unsigned *ret_settled, unsigned *ret_doubted);
/* Drops what is too old. */
void recent_expire(struct recent *r, int64_t boot_us);

/* The connection was lost: all that is not out is doubted from now on. */
void recent_doubt(struct recent *r);
/* Takes out the next one that is to be said; NULL: none at this time. It must be given back by one of the next three.
 */
struct recent_entry *recent_out(struct recent *r, int64_t boot_us);
/* The queue confirmed it again. */
void recent_confirm(struct recent *r, struct recent_entry *e, int64_t boot_us);
/* It must be said again, not before next_boot_us. */
void recent_back(struct recent *r, struct recent_entry *e, int64_t next_boot_us);
/* It need not be said any more. */
void recent_drop(struct recent *r, struct recent_entry *e);

size_t recent_count(const struct recent *r);
/* Those that are out. */
size_t recent_count_out(const struct recent *r);
/* Those that are doubted or out: their jobs may still be in our name. Walks them: NULL for the first, NULL at the end.
 */
size_t recent_count_open(const struct recent *r);
const struct recent_entry *recent_next_open(const struct recent *r, const struct recent_entry *e);

#endif
