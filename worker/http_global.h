/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl for the whole process, for all who use it here: it gets allocators that wipe what is freed (it copies URLs
 * with keys, letters and headers into buffers of its own), SIGPIPE is ignored, and SSLKEYLOGFILE is forgotten.
 */
#ifndef WORKER_HTTP_GLOBAL_H
#define WORKER_HTTP_GLOBAL_H

#include "worker/base/err.h"

/* Counts; not from a thread. ERR_BUG. */
ERR_MUST_CHECK enum err http_global_init(void);
/* Once for each http_global_init() that succeeded. */
void http_global_free(void);

#endif
