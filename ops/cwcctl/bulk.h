/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same act on many letters: replay, drop, resolve.
 *
 * A walk gives the letters, page by page; the acts of a page are pipelined and all answered before
 * the next page is read. Each is one call of the script ADMIN: atomic, written to `audit`, and
 * harmless when repeated, since a letter that is not dead (unknown) any more is only counted. So an
 * interrupt stops between two pages, what the connection lost is asked again, and the same command
 * goes on where an earlier one stopped. An act names the death or the doubt that was seen (`dead_id`, `rev`): asked
 * again it never meets the next one. An output that cannot be written any more stops it, too.
 *
 * What is selected is counted first, and a person is asked; see bulk_confirm().
 */
#ifndef OPS_CWCCTL_BULK_H
#define OPS_CWCCTL_BULK_H

#include "ops/cwcctl/walk.h"

struct bulk_act {
	enum walk_place place;
	const char *verb;         /* of ADMIN */
	const char *how;          /* resolve: its last argument, else NULL */
	const char *key;          /* of their number in JSON */
	const char *done, *would; /* "replayed", "would be replayed" */
};

/* By the options and arguments of the command; the exit status. */
int bulk_run(struct ctl *c, const struct bulk_act *act);

#endif
