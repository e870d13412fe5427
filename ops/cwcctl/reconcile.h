/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile: the producer's list, and what was found of it. cmd_reconcile.c compares, reconcile_list.c reads the list
 * and tells what came of it.
 */
#ifndef OPS_CWCCTL_RECONCILE_H
#define OPS_CWCCTL_RECONCILE_H

#include <jansson.h>

#include "ops/cwcctl/lines.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/session.h"
#include "queue/job.h"

/* X(ENUM, name, needs people, text) */
#define RECONCILE_FATES(X)                                                                      \
	X(DELIVERED, "delivered", false, "the chamber has it")                                  \
	X(PENDING, "pending", false, "on its way")                                              \
	X(ENDED, "ended", false, "rejected, expired, cancelled or dropped")                     \
	X(DEAD, "dead", true, "given up: replay or drop it")                                    \
	X(UNKNOWN, "unknown", true, "ask the chamber, and resolve it")                          \
	X(STUCK, "stuck", true, "set aside by intake")                                          \
	X(REFUSED, "refused", true, "these bytes were refused: sign and send the letter again") \
	X(MISSING, "missing", true, "never arrived, or its record expired")                     \
	X(UNLISTED, "unlisted", false, "not on the list")

enum reconcile_fate {
#define RECONCILE_ENUM(e, name, people, text) RECONCILE_##e,
	RECONCILE_FATES(RECONCILE_ENUM)
#undef RECONCILE_ENUM
		RECONCILE_N
};

#define RECONCILE_DIGEST 40
#define RECONCILE_WHERE  64

struct reconcile_office {
	char code[QUEUE_OFFICE_LEN + 1]; /* "": the list named none, and nothing is known */
	bool other;                      /* its record names other bytes than the list */
	/* The best that is known, and from where: a place, a state, or the stream that told. `rank`: how much the
	 * stream that told counts; 0: none did. */
	enum reconcile_fate fate;
	unsigned rank;
	char where[RECONCILE_WHERE];
};

/* One line of the list. */
struct reconcile_line {
	char sid[JOB_SID_MAX + 1], digest[RECONCILE_DIGEST + 1];
	size_t n_offices; /* named by the list; 0: all that there are */
	struct reconcile_office office[JOB_OFFICES_MAX];
	size_t next; /* of the same hash; 0: none, else its number + 1 */
};

/* "SID OFFICE,OFFICE" or an object; false: *ret_why. */
bool reconcile_read(struct span line, struct reconcile_line *ret_line, const char **ret_why);
/* A state of a record, or of a result. */
enum reconcile_fate reconcile_fate_of(struct span state);

struct reconcile_count {
	struct ctl *c;
	struct progress progress;
	uint64_t lines, bad, fate[RECONCILE_N];
};
/* One submission and office. Delivered ones are told in JSON alone. */
void reconcile_tell(struct reconcile_count *t, const char *sid, const struct reconcile_office *o);
void reconcile_summary(struct reconcile_count *t);
/* True when all is well. */
bool reconcile_good(const struct reconcile_count *t);

#endif
