/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal to the simulator's public key infrastructure: pki_certificate.c encodes, pki_sim.c knows the shapes.
 */
#ifndef TESTS_SIM_PKI_INTERNAL_H
#define TESTS_SIM_PKI_INTERNAL_H

#include "tests/sim/pki_sim.h"

#define PKI_PART_MAX        4096
#define PKI_CERTIFICATE_MAX 16384

/* Attribute types of RFC 5280 appendix A.1: the last byte of 2.5.4.x. */
enum { NAME_CN = 3, NAME_C = 6, NAME_L = 7, NAME_ST = 8, NAME_O = 10, NAME_OU = 11 };

/* Appends one RelativeDistinguishedName. */
void pki_add_attribute(struct buf *name, uint8_t type, const char *value);
/* Encodes the certificate of its parts, and signs it. */
void pki_certificate_sign(struct pki_certificate *c, EVP_PKEY *key);

#endif
