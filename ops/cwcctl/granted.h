/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may sign by grant, as a running worker proves it: its /keys has the grant, and its statement the hash of it. What
 * is not that grant is shown to nobody.
 */
#ifndef OPS_CWCCTL_GRANTED_H
#define OPS_CWCCTL_GRANTED_H

#include "attest/grant.h"
#include "ops/cwcctl/fresh.h"

struct granted {
	bool known;    /* what the statement says of a grant is known, in full */
	bool there;    /* there is one: the rest is set */
	bool verified; /* --authority-key has signed it */
	struct buf bytes;
	struct grant g;
};

/* The form of --authority-key; 0, or the exit status after a report. */
int granted_options(const struct ctl *c);
/* `keys` is the answer of /keys. 0 with `known`, or CTL_NO after a report: another grant than the statement's, none, or
 * one that --authority-key has not signed. granted_clear() after either. */
int granted_read(const struct ctl *c, const struct fresh *f, const json_t *keys, struct granted *ret_g);
void granted_clear(struct granted *g);

#endif
