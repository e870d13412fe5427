/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists and exports of dead letters and those of unknown fate.
 */
#ifndef OPS_CWCCTL_LETTERS_H
#define OPS_CWCCTL_LETTERS_H

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/walk.h"

/* All that the filter lets pass, oldest first; with --count the newest of them, at most LETTERS_MAX, which are held in
 * memory to be turned. `dress` adds to a row
 * what the columns need; may be NULL. The exit status. */
#define LETTERS_MAX 10000
int letters_list(struct ctl *c, enum walk_place place, const struct out_column *col, size_t n,
		 void (*dress)(json_t *row));
/* All that is known of each, an object a line, and on standard error how many and how to go on. */
int letters_export(struct ctl *c, enum walk_place place);

#endif
