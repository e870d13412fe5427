/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `seal` and `enqueue` have in common: letters from a file, checked, sealed where they are not
 * yet, one after the other; bad lines reported with their number.
 *
 * Without --keep-going nothing is done with a file that has a bad line: all of it is checked first.
 * Standard input cannot be read twice; there the work stops at the first bad line, and the rest is
 * only checked.
 */
#ifndef OPS_CWCCTL_INPUT_H
#define OPS_CWCCTL_INPUT_H

#include "ops/cwcctl/lines.h"
#include "ops/cwcctl/seal.h"

struct input {
	struct ctl *c;
	struct lines lines;
	struct sealer sealer;
	bool sealer_tried;
	struct letter letter;
	struct buf job, why;
	unsigned good, bad; /* lines */
	/* Also told of a bad line (may be NULL). */
	void (*on_bad)(void *arg, unsigned line, struct span why);
	void *arg;
};

/* Opens the file, and with `sealer` the sealer, which otherwise waits for the first clear letter.
 * 0, or the exit status after a report. */
int input_open(struct ctl *c, const char *file, bool sealer, struct input *in);
/* The check of a whole file: 0, or the exit status when nothing must be done. */
int input_check(struct input *in);
/* The next letter that can be used: in->letter and in->job. False at the end or when it cannot go
 * on; then *ret_code is the exit status. */
bool input_next(struct input *in, int *ret_code);
void input_close(struct input *in);

#endif
