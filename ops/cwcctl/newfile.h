/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are written whole or not at all: under a temporary name in the same folder, to the disk, and then to their
 * name. None holds a secret: mode 0644.
 */
#ifndef OPS_CWCCTL_NEWFILE_H
#define OPS_CWCCTL_NEWFILE_H

#include "ops/cwcctl/ctl.h"

/* All return 0, or CTL_NO after a report. */

/* Whether newfile_write() could write --output: for commands that ask somebody first, whose answer would be lost.
 * CTL_USAGE when there is no --output. */
int newfile_check(const struct ctl *c);
/* Never over a file that is there. */
int newfile_write(const char *file, struct span bytes);
/* In the place of what is there. */
int newfile_replace(const char *file, struct span bytes);

#endif
