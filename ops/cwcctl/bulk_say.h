/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bulk act says. For letters named as arguments a table; else with --json an object a line
 * and the summary as the last, and for people the summary alone, or with --dry-run a line for each.
 */
#ifndef OPS_CWCCTL_BULK_SAY_H
#define OPS_CWCCTL_BULK_SAY_H

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/bulk.h"
#include "ops/cwcctl/progress.h"

/* What ADMIN said of one letter: OK, NONE or STATE, and the state; or the error, with the text that Redis gave for it.
 */
struct bulk_answer {
	bool waits; /* sent and not answered yet */
	enum err e;
	char word[16], state[16], error[96];
};

struct bulk {
	struct ctl *c;
	const struct bulk_act *act;
	bool dry_run;
	int64_t period_us; /* of --rate; 0: none */
	char who[ADMIN_WHO_SIZE];
	struct walk walk;
	uint64_t matched; /* when they were counted first */
	struct bulk_answer answer[WALK_PAGE];
	struct progress progress;
	/* Those that were acted on; not dead or unknown any more; without a job; not possible; asked again. */
	uint64_t handled, done, gone, none, failed, repeated;
	uint64_t said; /* failures, one by one */
	bool fatal;    /* going on is no use */
	bool mute;     /* the output cannot be written */
	bool stopped;
	char last[WALK_ID_SIZE]; /* the last entry that was handled */
	json_t *rows;            /* of the table */
};

/* Counts, and asks whoever sits at the terminal, unless --yes, --count-check or --dry-run say otherwise. 0 to go on, or
 * the exit status after a report (bulk_confirm.c). */
int bulk_confirm(struct bulk *b);

/* Before the first letter. */
void bulk_say_start(struct bulk *b);
/* Of each letter in its turn. `text` is the answer for people; good: done, or would be. */
void bulk_say_one(struct bulk *b, const struct walk_item *item, const struct bulk_answer *a, const char *text,
		  bool good);
/* Appends which letters were meant, as options. */
void bulk_selection(const struct bulk *b, struct buf *out);
/* On standard error; after the first twenty they are only counted. */
void bulk_say_failed(struct bulk *b, const struct walk_item *item, const struct bulk_answer *a);
/* The summary, and how to go on; the exit status by `code`. */
int bulk_say_end(struct bulk *b, int code);

#endif
