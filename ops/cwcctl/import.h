/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of `dead export` or `unknown list --export`, and the arguments of the script IMPORT for it. Pure.
 *
 * What the export calls by other names than the record (http_status, times without _us, the history as a list, POSTs of
 * unknown fate) gets its own name again. Milliseconds is all that an export has of times. Members that the record does
 * not have are passed over.
 */
#ifndef OPS_CWCCTL_IMPORT_H
#define OPS_CWCCTL_IMPORT_H

#include <jansson.h>

#include "queue/job.h"
#include "queue/queue.h"
#include "worker/base/buf.h"

#define IMPORT_MARKS_MAX 64
#define IMPORT_ARGS_MAX  (5 + 2 * 32 + 2 * IMPORT_MARKS_MAX)

struct import_line {
	char sid[JOB_SID_MAX + 1], office[QUEUE_OFFICE_LEN + 1];
	/* arg[0], who, is the caller's to set. */
	struct span arg[IMPORT_ARGS_MAX];
	size_t n;
	/* Private. */
	json_t *object;
	char digits[IMPORT_ARGS_MAX][24];
	struct buf job, history;
};

/* `state`: dead or unknown, which the line must be of. NULL, or what is wrong; import_clear() after either. */
const char *import_parse(struct span line, const char *state, struct import_line *ret_l);
void import_clear(struct import_line *l);

#endif
