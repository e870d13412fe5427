/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: takes jobs from the queue, walks each through the pipeline (pipeline.h), performs
 * the actions. It owns the connections, the slots (a bounded number of jobs in flight), the timers
 * and the office lists. All policy is elsewhere: prepare.h and decide.h say what, the engine does it.
 *
 * One thread, one libuv loop. After engine_new() everything happens in callbacks.
 */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include <uv.h>

#include "attest/keyring.h"
#include "attest/receipt.h"
#include "config/config.h"
#include "queue/job.h"

struct engine;

/* What a worker publishes in `attestations`, so that its receipts can be checked and letters be sealed to its keys. */
struct engine_publication {
	struct span keys; /* the lines of the field `keys` (PROTOCOL.md 2.5), without keys that nobody is to seal to */
	struct span statement; /* statement.h */
	struct span document;  /* the attestation document over it; empty: there is no device */
	uint8_t document_sha256[32];
	char pcr0[97];   /* hex; "": no device */
	uint64_t bundle; /* version; 0: none */
};

struct engine_options {
	const struct config *config; /* all pointers must stay until engine_free() */
	const struct keyring *ring;
	const struct receipt_key *receipt_key;
	const char *api_key[2];     /* by chamber; NULL when the chamber is not enabled */
	const char *queue_password; /* or NULL */
	const char *version;
	const char *machine; /* of alone_claim(), or "" */
	bool attested;       /* there is a device: nothing is taken before a document is published */
	void (*on_ready)(void *arg, bool ready); /* each time that readiness changes; or NULL */
	void *on_ready_arg;
	/* Once, when somebody asks in the queue that this worker drains: who owns it calls engine_drain(). Or NULL. */
	void (*on_drain)(void *arg);
	void *on_drain_arg;
};

/* Checks what can be checked without a peer and starts to connect. ERR_CONFIG with *ret_key (a key of the
 * configuration) and *ret_rule. */
ERR_MUST_CHECK enum err engine_new(uv_loop_t *loop, const struct engine_options *o, struct engine **ret_engine,
				   const char **ret_key, const char **ret_rule);

/* Stops taking, finishes what is in flight within worker.drain_timeout, gives the rest back, leaves the
 * queue; then `done`, with the number of jobs that were left to other workers. */
void engine_drain(struct engine *e, void (*done)(void *arg, unsigned left), void *arg);

/* True when the queue is joined, keys are there and the clocks agree; else *ret_reason says which is not. */
bool engine_ready(const struct engine *e, const char **ret_reason);

/* How it stands, for the status server. */
struct engine_view {
	const char
		*worker; /* its name in the queue with the nonce of this membership; until the next turn of the loop */
	unsigned in_flight;
	int64_t depth; /* letters of the queue that are not over, as of the last look; before it, those in flight here
			*/
	int64_t uptime_us, cpu_us, resident; /* of the process: CPU time; bytes */
	bool draining;
};
void engine_view(const struct engine *e, struct engine_view *ret_view);

/* Appends what the engine counted, and how it stands now, as Prometheus text (metrics.h). */
void engine_metrics(const struct engine *e, struct buf *out);

/* Copied. Goes to `attestations` with the next join, or, for a member, at once; receipts name its document from the
 * moment that it stands there, and the one before until then. Before the first one the worker does not join. */
void engine_publish(struct engine *e, const struct engine_publication *p);
/* Whose jobs are taken, besides those of jobs.signer: at most ENGINE_GRANTED_MAX, copied. */
#define ENGINE_GRANTED_MAX 8
void engine_set_granted(struct engine *e, const struct job_signer *s, size_t n);
/* Not ready for a reason from outside the engine: nothing is taken, what is in flight goes on. A static text, one of
 * those that the runbook lists; NULL: it is over. */
void engine_set_trouble(struct engine *e, const char *reason);

/* Frees at once, without a word to the queue. */
void engine_free(struct engine *e);

#endif
