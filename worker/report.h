/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status server (status.h) says of this worker: health, readiness and metrics come from the engine, documents
 * from whoever has them. Without a configured address nothing listens.
 *
 * /health has the members of both older forms of that answer; new readers need `healthy` alone.
 */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/engine.h"
#include "worker/status.h"

/* As in struct status_source; NULL where there is no document. */
struct report_documents {
	void (*attestation)(void *arg, struct span nonce, bool json, struct status_answer *a);
	void (*keys)(void *arg, struct status_answer *a);
	void *arg;
	const char *enclave_id; /* of the document, for /health; NULL: the worker's name */
};

struct report;

/* Listens on c->status_address, if there is one; *ret_report is NULL otherwise. All pointers must stay until
 * report_close(); documents may be NULL. ERR_CONFIG with *ret_rule (static). */
ERR_MUST_CHECK enum err report_open(uv_loop_t *loop, const struct config *c, const struct engine *e,
				    const struct report_documents *documents, struct report **ret_report,
				    const char **ret_rule);
/* Before engine_free(). NULL is allowed. */
void report_close(struct report *r);

#endif
