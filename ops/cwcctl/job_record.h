/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of one job, (sid, office), for `status` and `dead show`.
 */
#ifndef OPS_CWCCTL_JOB_RECORD_H
#define OPS_CWCCTL_JOB_RECORD_H

#include <jansson.h>

#include "ops/cwcctl/ctl.h"

/* The record as JSON with `office` first and its `history`; JSON null when there is none, NULL after
 * a report. */
json_t *job_record_read(struct ctl *c, const char *sid, const char *office);
/* In full, with a table of the attempts. */
void job_record_print(const json_t *job);

#endif
