/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy at start: the kernel of an enclave has little of its own. Bytes of the NSM are checked, written to the
 * kernel's pool and credited, before the first key is made.
 *
 * The checks find a device that is broken or not there, not one that lies: who controls the hypervisor controls its
 * random numbers too. The kernel mixes; whatever it had from elsewhere is not lost.
 */
#ifndef WORKER_ENTROPY_H
#define WORKER_ENTROPY_H

#include "attest/nsm.h"

/* Gives bytes to the kernel's pool and credits `bits` for them. ERR_IO. */
typedef enum err entropy_credit(void *arg, struct span bytes, int bits);

/* Takes two answers of 256 bytes (in full, not constant, not the same), credits them to the kernel by RNDADDENTROPY on
 * `device` (/dev/random), and looks whether the kernel's source is `nsm-hwrng` (rng_current). In production
 * (`required`) each of these is needed: ERR_CRYPTO otherwise. In development what is missing is passed over. *ret_rule
 * is a static text, written always: what is missing, or "". `n` may be NULL: there is no device. */
ERR_MUST_CHECK enum err entropy_seed(struct nsm *n, const char *device, const char *rng_current, bool required,
				     const char **ret_rule);

/* The same with another way to credit. For tests: the ioctl needs CAP_SYS_ADMIN. */
ERR_MUST_CHECK enum err entropy_seed_by(struct nsm *n, entropy_credit *credit, void *arg, const char *rng_current,
					bool required, const char **ret_rule);

#endif
