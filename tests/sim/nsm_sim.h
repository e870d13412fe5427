/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated Nitro Security Module: state, errors and documents as the device's, signed under the simulator's own
 * root. Linked into the development build and into tests only; a release program holds nothing of it, and refuses its
 * documents for their root.
 *
 * What the device does and this does, too: PCR0 to 15 are locked at boot, 16 to 31 are zero and can be extended; a
 * document has the PCRs that are locked when it is made; fields are taken as long as the request fits 4096 bytes,
 * whatever the documented limits are; the leaf certificate is kept and issued again when it is about to expire; an
 * answer that is larger than what it is offered is cut off without a word.
 *
 * One call at a time, as in the driver; calls from several threads wait for each other.
 */
#ifndef TESTS_SIM_NSM_SIM_H
#define TESTS_SIM_NSM_SIM_H

#include "attest/nsm.h"
#include "attest/verify.h"
#include "tests/sim/pki_sim.h"

struct nsm_sim;

struct nsm_sim_options {
	bool debug;                  /* PCR0, 1, 2 zero */
	bool definite;               /* the payload's map as before 2025 (a9); else bf ... ff */
	const char *instance_id;     /* i-<17 hex>; NULL: a fixed one */
	const char *enclave_id;      /* <16 hex>; NULL: one at random, as each start of an enclave has its own */
	const char *region;          /* NULL: us-east-1 */
	const char *role_arn;        /* NULL: none, PCR3 is zero */
	const uint8_t (*pcr012)[48]; /* image measurements; NULL: derived from a fixed text */
	const uint8_t *pcr8;         /* NULL: unsigned image */
	int64_t now_ms;              /* 0: the clock at each call */
};

struct nsm_sim *nsm_sim_new(const struct nsm_sim_options *o);
void nsm_sim_free(struct nsm_sim *s);
/* An nsm_exchange; arg is the simulator. */
enum err nsm_sim_exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n);

const char *nsm_sim_module_id(const struct nsm_sim *s);
/* The measurement's value; the lock is not asked. */
void nsm_sim_set_pcr(struct nsm_sim *s, unsigned index, const uint8_t pcr[NSM_PCR_SIZE]);
/* Sets the clock; 0: the real one. */
void nsm_sim_set_now(struct nsm_sim *s, int64_t now_ms);
/* The next n calls fail in the transport, and reach nothing. */
void nsm_sim_fail(struct nsm_sim *s, enum err e, unsigned n);
/* PCR = SHA-384(PCR | data), of a PCR that begins with zeros: PCR3 and 4 of a text, PCR0 to 2 and 8 of a hash. */
void nsm_sim_measure(struct span data, uint8_t ret_pcr[NSM_PCR_SIZE]);

#endif
