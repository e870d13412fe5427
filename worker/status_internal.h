/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files of the status server share. status.c: listener, connections, time. status_answers.c: from a
 * request to its answer.
 */
#ifndef WORKER_STATUS_INTERNAL_H
#define WORKER_STATUS_INTERNAL_H

#include <microhttpd.h>

#include "worker/status.h"

struct status_answers {
	struct status_source source;
	int64_t document_due_us; /* of the next document, if they came evenly */
};

/* For MHD_start_daemon(); arg is a struct status_answers. */
enum MHD_Result status_answers_handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				      const char *version, const char *upload, size_t *upload_size, void **state);

/* 8 to 64 bytes from base64url (with or without padding) or hex; appended. ERR_SYNTAX, ERR_RANGE, ERR_LIMIT. */
ERR_MUST_CHECK enum err status_nonce(struct span text, struct buf *out);

#endif
