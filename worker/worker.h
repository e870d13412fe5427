/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's life, from its configuration to its end.
 *
 * The security module first, since every key needs its entropy; then secrets and keys, as far as they are to be had
 * here; the keeper (keeper.h), the documents (documents.h), the status server; the sandbox; the loop. When the keeper
 * has what is needed, the engine is made, and the second filter takes away what that took. The order is the same
 * whatever the source of the keys is: with the others the keeper is complete in the first turn of the loop.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "config/config.h"

/* Once in a process. Returns the exit status. */
int worker_run(const struct config *c);

#endif
