/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a document, from the anchor to the leaf. Internal to the verifier: verify.h is for callers.
 *
 * OpenSSL reads the certificates and verifies their signatures; what they must be is asked here, rule by rule, because
 * its own path validation is either too lax (it takes a leaf that may sign certificates, a CA without key usage, other
 * curves) or refuses the real ones (its strict mode wants key identifiers, which the hypervisor's leaf lacks). There is
 * no store, so that nothing which a document brings along can become trusted.
 */
#ifndef ATTEST_CHAIN_H
#define ATTEST_CHAIN_H

#include <openssl/types.h>

#include "attest/verify.h"

#define CHAIN_POINT_SIZE 97 /* of P-384, uncompressed: 04 | x | y */

/* One certificate while its rules are asked. */
struct chain_link {
	const struct attest_document *d;
	struct attest_cache *cache; /* or NULL */
	size_t index;               /* 0 is the root, d->n_cabundle the leaf */
	struct span der;
	X509 *x;                         /* owned */
	uint8_t point[CHAIN_POINT_SIZE]; /* of its key, once chain_key has passed */
	const struct chain_link *issuer; /* NULL: the root */
};

/* Walks from cabundle[0], which must be the anchor byte for byte, to the leaf. ATTEST_OK with the leaf's key, which the
 * caller frees; or the first rule of ATTEST_CHAIN that is broken, with the certificate that breaks it. Leaves nothing
 * in OpenSSL's error queue. */
enum attest_code chain_verify(const struct attest_document *d, const struct attest_anchor *anchor,
			      struct attest_cache *cache, EVP_PKEY **ret_leaf, int *ret_certificate);

/* The rules that are decided by bytes alone (chain_form.c): of form, in front of the signature ... */
enum attest_code chain_check_der(const struct chain_link *l);
enum attest_code chain_check_version(const struct chain_link *l);
enum attest_code chain_check_serial(const struct chain_link *l);
enum attest_code chain_check_algorithm(const struct chain_link *l);
/* ... and of content, behind it. */
enum attest_code chain_check_validity(const struct chain_link *l);
enum attest_code chain_check_extensions(const struct chain_link *l);
enum attest_code chain_check_constraints(const struct chain_link *l);
enum attest_code chain_check_pathlen(const struct chain_link *l);
enum attest_code chain_check_usage(const struct chain_link *l);
enum attest_code chain_check_name(const struct chain_link *l);

#endif
