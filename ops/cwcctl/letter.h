/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of the input of `seal` and `enqueue`: a letter in the clear, or one that is sealed
 * already. letter_members[] says what it may hold; it is also what help and manual print.
 *
 * What is wrong is appended to `why`, one reason a line; a reason names members and rules and never
 * repeats a value of a letter.
 */
#ifndef OPS_CWCCTL_LETTER_H
#define OPS_CWCCTL_LETTER_H

#include <jansson.h>

#include "cwc/cwc.h"
#include "queue/job.h"

#define LETTER_PROOF_SIZE 129

struct letter_member {
	const char *name, *text;
};
extern const struct letter_member letter_members[];
extern const size_t letter_n_members;

struct letter {
	char sid[JOB_SID_MAX + 1];
	bool generated; /* sid was absent */
	char office[JOB_OFFICES_MAX][CWC_OFFICE_SIZE];
	size_t n_offices;
	enum job_profile profile;
	uint64_t expires_s, not_before_s, generation;
	unsigned priority;
	char nullifier[LETTER_PROOF_SIZE], action_domain[LETTER_PROOF_SIZE];

	json_t *root;                   /* owns the next two */
	const json_t *content, *fields; /* `letter`, `fields` (may be NULL) */
	struct buf job;                 /* of a sealed line; else empty */
};

/* An empty letter: letter_clear() is always allowed after it. */
void letter_init(struct letter *l);
/* Wipes. */
void letter_clear(struct letter *l);
/* False when something is wrong. `queue`: the name that a sealed line must have been sealed for. */
bool letter_read(struct span line, const char *queue, int64_t now_s, struct letter *l, struct buf *why);
/* "HNE03,SNE02" */
#define LETTER_OFFICES_SIZE (JOB_OFFICES_MAX * CWC_OFFICE_SIZE)
void letter_offices(const struct letter *l, char ret_out[LETTER_OFFICES_SIZE]);

/* The letter as the worker will see it (check.c): false when a chamber would not get it. Nothing to
 * check in a sealed line. */
bool letter_check(const struct letter *l, struct buf *why);
/* Elements by name that CWC 2.0 lacks; true when there is none. `part`: "letter" or "fields". */
bool letter_check_names(const json_t *map, const char *part, struct buf *why);

#endif
