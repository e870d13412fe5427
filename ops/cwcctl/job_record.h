/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of one job, (sid, office), for `status` and `dead show`.
 */
#ifndef OPS_CWCCTL_JOB_RECORD_H
#define OPS_CWCCTL_JOB_RECORD_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

/* All of a record that is not bytes, with its `history` and `unknown_posts`, the POSTs of unknown fate: when each
 * began, and by which worker. */
json_t *job_record_json(const struct resp_reply *flat);
/* The record as JSON with `office` first and the rest as above; JSON null when there is none, NULL after
 * a report. */
json_t *job_record_read(struct ctl *c, const char *sid, const char *office);
/* In full, with what a person may conclude and a table of the attempts. */
void job_record_print(const json_t *job);

#endif
