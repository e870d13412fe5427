/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a long act is, on standard error: a bar on a terminal, a line a second elsewhere, nothing
 * with --quiet. The first second says nothing, so that short acts stay silent.
 */
#ifndef OPS_CWCCTL_PROGRESS_H
#define OPS_CWCCTL_PROGRESS_H

#include "ops/cwcctl/ctl.h"

struct progress {
	bool quiet, terminal;
	int64_t started_us, shown_us;
};

void progress_start(const struct ctl *c, struct progress *ret_p);
/* seen of total (0: not known) were looked at; n of them `done`, such as "replayed". */
void progress_show(struct progress *p, uint64_t seen, uint64_t total, uint64_t n, const char *done);
/* Takes the bar away, before anything else is printed. */
void progress_clear(const struct progress *p);
int64_t progress_us(const struct progress *p);
double progress_seconds(const struct progress *p); /* never 0 */

#endif
