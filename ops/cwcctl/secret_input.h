/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret from a person or a file, into guarded memory.
 */
#ifndef OPS_CWCCTL_SECRET_INPUT_H
#define OPS_CWCCTL_SECRET_INPUT_H

#include "ops/cwcctl/ctl.h"

/* From a FILE that nobody else may read, or "-" for standard input: from a terminal it is asked for twice, without
 * echo. Line ends behind it are cut. *ret_secret is for secret_free(). 0, or the exit status after a report: empty, or
 * more than max bytes. */
int secret_input(const char *file, const char *name, size_t max, char **ret_secret);

#endif
