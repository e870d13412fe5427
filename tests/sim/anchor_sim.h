/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's root as it was made once: see pki_sim.h. Its key is public, so that whoever trusts this root trusts
 * everybody.
 */
#ifndef TESTS_SIM_ANCHOR_SIM_H
#define TESTS_SIM_ANCHOR_SIM_H

#include "attest/verify.h"

/* 2019-10-28T13:28:05Z and 2049-10-28T14:28:05Z, as of the hypervisor's root. */
#define ANCHOR_SIM_FROM  INT64_C(1572269285)
#define ANCHOR_SIM_UNTIL INT64_C(2519044085)

#define ANCHOR_SIM_SERIAL 19
extern const uint8_t anchor_sim_serial[ANCHOR_SIM_SERIAL]; /* INTEGER */
extern const uint8_t anchor_sim_key[];                     /* ECPrivateKey (RFC 5915) */
extern const size_t anchor_sim_key_size;

#endif
