/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck: what the walk (cmd_fsck.c) and the report (fsck_report.c) share. The script FSCK looks and mends; its header
 * lists what must be so, and the codes of what is not.
 */
#ifndef OPS_CWCCTL_FSCK_H
#define OPS_CWCCTL_FSCK_H

#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/session.h"

#define FSCK_CODES_MAX 64

/* A stable name, what it means, and what mending does; NULL: it is left to people. */
struct fsck_code {
	const char *code, *means, *mends;
};
extern const struct fsck_code fsck_codes[];
extern const size_t fsck_n_codes;

struct fsck_report {
	struct ctl *c;
	bool mend;
	struct progress progress;
	uint64_t keys, jobs, submissions; /* looked at */
	uint64_t findings, mended, left;
	uint64_t count[FSCK_CODES_MAX]; /* by row of fsck_codes */
};

/* One finding: `done` is the script's text, "" when nothing was done, "left: ..." when it is for people. */
void fsck_finding(struct fsck_report *r, const char *kind, struct span name, struct span item, struct span code,
		  struct span done);
/* The last line; `whole`: the walk came to its end. */
void fsck_summary(struct fsck_report *r, bool whole);
/* "later-left 3, turn-far 1" of what was found. */
void fsck_counts(const struct fsck_report *r, struct buf *out);

#endif
