/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the dead letters, or those of unknown fate, a page of at most WALK_PAGE at a time, so
 * that memory does not grow with their number. Where they come from:
 *
 *   the stream `dead` or the zset `unknown`   those that the filter lets pass; leftovers, which the
 *                                             record does not confirm, are counted and passed over
 *   --ids FILE|-, or SID OFFICE... arguments  the named ones, by their records; the filter counts too
 *
 * A walk ends at what was there when it began: a letter that dies again meanwhile is not met twice.
 * A lost connection is waited for and the page read again. Names that no letter can have are leftovers, too:
 * an item's sid and office are valid ones, whatever Redis holds.
 */
#ifndef OPS_CWCCTL_WALK_H
#define OPS_CWCCTL_WALK_H

#include <jansson.h>

#include "ops/cwcctl/filter.h"
#include "ops/cwcctl/lines.h"
#include "queue/job.h"

#define WALK_PAGE    100
#define WALK_ID_SIZE 48

enum walk_place { WALK_DEAD, WALK_UNKNOWN };
enum walk_from { WALK_PLACE, WALK_FILE, WALK_ARGS };
enum walk_fate {
	WALK_HERE,
	WALK_ELSEWHERE, /* a job in another state; only of named ones */
	WALK_NONE       /* no such job */
};

struct walk_item {
	char sid[JOB_SID_MAX + 1], office[QUEUE_OFFICE_LEN + 1];
	char id[WALK_ID_SIZE]; /* of its entry in `dead`, or "" */
	char state[16];
	enum walk_fate fate;
	const struct resp_reply *entry; /* of the stream; NULL for named ones */
	struct resp_reply *record;
	bool whole; /* the record is flat and all of it; else only the values of state and dead_id */
};

struct walk {
	struct ctl *c;
	enum walk_place place;
	enum walk_from from;
	struct filter filter;
	bool full;    /* read whole records */
	bool reverse; /* newest first; not of named ones */
	/* What there is to look at (0: not known) and what was; leftovers; lines that name nothing. */
	uint64_t total, seen, leftovers, bad_lines;
	uint64_t left; /* of --count */
	struct walk_item item[WALK_PAGE];
	size_t n;
	/* Private. */
	char cursor[WALK_ID_SIZE], end[WALK_ID_SIZE]; /* id or score; "" at the start */
	char member[QUEUE_ID_MAX + 1];                /* of the zset: the last at that score */
	size_t arg, limit;
	bool over;
	struct lines lines;
	struct resp_reply *page, *page_end;
};

enum walk_result {
	WALK_MORE,  /* item[0..n-1]; n may be 0 */
	WALK_END,   /* nothing more, or an interrupt */
	WALK_FAILED /* reported; session->code, or CTL_NO for a file */
};

/* With the options and arguments of the command; *w must stay until session_close(). 0, or the exit
 * status after a report; walk_close() in any case. */
int walk_open(struct ctl *c, enum walk_place place, bool full, bool reverse, struct walk *w);
/* Back to where it began, over the same letters; not for input that is read once. */
void walk_rewind(struct walk *w);
/* Items are valid until the next call. */
enum walk_result walk_next(struct walk *w);
/* Nothing comes after the items of this page: for who was interrupted right after the last one. */
bool walk_is_last(const struct walk *w);
/* Closes the session, too: nothing of it can be used any more. One that was never opened (all zero) is allowed. */
void walk_close(struct walk *w);
/* All that is known of one that is WALK_HERE, with its history as a list: what `list --json` and
 * `export` print. */
json_t *walk_row(const struct walk_item *item);
/* "no dead letters" or "no dead letter matches", and so on; *ret_code is the exit status for it. */
const char *walk_nothing(const struct walk *w, int *ret_code);

#endif
