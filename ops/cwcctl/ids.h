/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of --ids. Pure.
 */
#ifndef OPS_CWCCTL_IDS_H
#define OPS_CWCCTL_IDS_H

#include "queue/job.h"
#include "queue/queue.h"

/* One more than the longest, so that what is too long is seen. */
#define IDS_SID_SIZE    (JOB_SID_MAX + 2)
#define IDS_OFFICE_SIZE (QUEUE_OFFICE_LEN + 2)

/* "SID OFFICE" with blanks between, or an object with these members, as `export` prints it. False when it is neither;
 * what it returns is a valid sid and an office code. */
bool ids_line(struct span line, char ret_sid[IDS_SID_SIZE], char ret_office[IDS_OFFICE_SIZE]);

#endif
