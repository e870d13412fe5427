/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status server (status.h) says of this worker: health, readiness and metrics come from the engine, keys and
 * requests for new ones from the keeper, documents from whoever makes them. Without a configured address nothing
 * listens.
 *
 * It is there before the engine, so that an enclave without keys can be asked what it is, and for its first bundle.
 * Until then /ready says what is missing (keeper_missing()), and /metrics has cwc_ready and cwc_not_ready alone.
 *
 * /health has the members of both older forms of that answer; new readers need `healthy` alone.
 */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/documents.h"
#include "worker/engine.h"
#include "worker/keeper.h"
#include "worker/status.h"

struct report_options {
	const struct config *config; /* all pointers must stay until report_close() */
	struct keeper *keeper;
	struct documents *documents;
	bool attested;          /* there is a device; without one /attestation is 503 {"reason":"no_attestation"} */
	const char *enclave_id; /* the module id, for /health; NULL: the worker's name */
};

struct report;

/* Listens on config->status_address, if there is one; *ret_report is NULL otherwise. ERR_CONFIG with *ret_rule
 * (static). */
ERR_MUST_CHECK enum err report_open(uv_loop_t *loop, const struct report_options *o, struct report **ret_report,
				    const char **ret_rule);
/* From now on it is asked. NULL: there is none any more. A NULL report is allowed. */
void report_set_engine(struct report *r, const struct engine *e);
/* After keeper_free() and documents_free(), which answer what is open; then nothing is asked any more. NULL is
 * allowed. */
void report_close(struct report *r);

#endif
