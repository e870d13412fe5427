/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files of the attestor share. attestor_device.c: the device, and one call of it, in whatever thread.
 * attestor.c: the thread, who waits for it, and for how long.
 */
#ifndef WORKER_ATTESTOR_INTERNAL_H
#define WORKER_ATTESTOR_INTERNAL_H

#include "worker/attestor.h"

/* A device, and what is expected of it. */
struct attestor_device {
	struct nsm nsm;
	const struct attest_anchor *anchor;
	bool debug_allowed;
	unsigned patience_ms, clock_every_ms;
};

/* What it says that it is. */
struct attestor_identity {
	char module_id[ATTEST_MODULE_SIZE + 1];
	uint8_t pcr[3][ATTEST_PCR_SIZE];
	bool debug;
};

/* How far the wall clock is ahead of a document's signed time. */
struct attestor_clock {
	int64_t ahead_ms, bound_ms;
	int64_t boot_us;   /* when that was so */
	int64_t offset_us; /* of the wall clock from that of the boot, then: it shows a step that came later */
};

/* A document: what is asked for, and what came. */
struct attestor_call {
	uint8_t user_data[ATTEST_FIELD_MAX], nonce[ATTEST_FIELD_MAX];
	size_t n_user_data, n_nonce; /* 0: none */
	enum err e;
	struct buf document; /* of ATTEST_DOCUMENT_MAX; empty before */
	struct attestor_clock clock;
};

/* Blocks. ERR_PROTOCOL also for a document that cannot be read or is not what was asked for. */
void attestor_call(struct nsm *n, struct attestor_call *c);
/* Opens what `c` names; a simulated device exists in a development build alone. ERR_CONFIG. */
ERR_MUST_CHECK enum err attestor_device_open(const struct config *c, struct attestor_device *ret_device,
					     const char **ret_rule);
/* Blocks: who it is, by a document that verifies. ERR_CONFIG. */
ERR_MUST_CHECK enum err attestor_identify(struct attestor_device *d, struct attestor_identity *ret_identity,
					  struct attestor_clock *ret_clock, const char **ret_rule);

/* attestor_open() for a device that is there already; it is not seeded from. The attestor does not close it. */
ERR_MUST_CHECK enum err attestor_start(uv_loop_t *loop, const struct attestor_device *d, struct attestor **ret_attestor,
				       const char **ret_rule);

/* The simulated device, one for the process: tests/sim/attestor_sim.c, in a development build alone. ERR_CONFIG. */
ERR_MUST_CHECK enum err attestor_simulate(struct attestor_device *ret_device, const char **ret_rule);

#endif
