/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a queue knows of one DeliveryId: which letters have it, and every POST of it.
 *
 * The id is a hash of environment, submission and office and leads back to none of them. So each record and each result
 * is looked at; and whoever has a list of submissions can have theirs computed, which also finds what the queue has
 * forgotten.
 */
#ifndef OPS_CWCCTL_DELIVERY_H
#define OPS_CWCCTL_DELIVERY_H

#include <jansson.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/session.h"

struct delivery {
	struct ctl *c;
	struct progress progress;
	char id[CWC_DELIVERY_ID_SIZE];
	uint64_t records, results; /* that were looked at */
	/* By "SID OFFICE": sid, office, and what was found of it. */
	json_t *letters;
	json_t *boots;      /* by "name/nonce": what that worker published last */
	json_t *kids;       /* receipt key id -> "name/nonce" */
	char acts_from[40]; /* when the oldest act of `audit` was written */
};

/* Digits of either case, with or without hyphens; false when it is no DeliveryId. */
bool delivery_normal(const char *text, char ret_id[CWC_DELIVERY_ID_SIZE]);

/* Looks at all records, all results, and --ids. 0, or the exit status after a report. */
int delivery_find(struct delivery *d);
/* Adds to each letter its record, its POSTs, what people did with it, and what is not known any more. 0, or the exit
 * status after a report. */
int delivery_tell(struct delivery *d);
void delivery_clear(struct delivery *d);

#endif
