/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attestation document of the Nitro hypervisor: its form. Nothing here is proved yet: see verify.h.
 *
 *	[ h'a1013822', {}, payload: bstr, signature: bstr .size 96 ]        COSE_Sign1 (RFC 9052 section 4.2), untagged
 *	payload = { module_id, digest, timestamp, pcrs, certificate, cabundle, public_key, user_data, nonce }
 *
 * Strict: at most ATTEST_DOCUMENT_MAX bytes, shortest heads, no tag, each key once in any order, no other key, nothing
 * behind. The payload's map, `pcrs` and `cabundle` may be of indefinite length (the hypervisor's are since 2025);
 * strings may not. public_key, user_data and nonce are optional: null, or not there, or a byte string; null and empty
 * are different things. All else must be there and is never null.
 *
 * So each document has one form only: two that differ in a byte differ in what was signed or in the signature. (The
 * signature itself is no identity: whoever has (r, s) can make (r, n - s), which is as good.)
 *
 * No allocation; views point into the input, and live as long as it does.
 */
#ifndef ATTEST_DOCUMENT_H
#define ATTEST_DOCUMENT_H

#include "attest/code.h"
#include "worker/base/buf.h"

#define ATTEST_DOCUMENT_MAX  12288
#define ATTEST_PCRS          32
#define ATTEST_PCR_SIZE      48 /* SHA-384 */
#define ATTEST_CABUNDLE_MIN  2
#define ATTEST_CABUNDLE_MAX  8
#define ATTEST_FIELD_MAX     512  /* user_data, nonce */
#define ATTEST_KEY_MAX       1024 /* public_key, a certificate */
#define ATTEST_INSTANCE_SIZE 19   /* of module_id: i-<17 hex>, the instance */
#define ATTEST_MODULE_SIZE   39   /* of module_id */

/* The timestamp lies strictly between: 2020-09-13, which also tells milliseconds from seconds, and what a double holds.
 */
#define ATTEST_TIMESTAMP_MIN UINT64_C(1600000000000)
#define ATTEST_TIMESTAMP_MAX (UINT64_C(1) << 53)

/* An optional byte string. */
struct attest_field {
	bool present; /* false: null */
	struct span bytes;
};

struct attest_document {
	struct span payload;   /* as signed */
	struct span signature; /* r | s, 48 bytes each */
	struct span module_id; /* i-<17 hex>-enc<16 hex>, lower case */
	uint64_t timestamp_ms;
	uint32_t pcrs;                /* bit i: PCR i is in the document; 0 to 4 and 8 always are */
	struct span pcr[ATTEST_PCRS]; /* 48 bytes each */
	struct span certificate;      /* DER, of the leaf */
	struct span cabundle[ATTEST_CABUNDLE_MAX];
	size_t n_cabundle; /* from the root down */
	struct attest_field public_key, user_data, nonce;
	bool indefinite; /* the payload's map is */
};

/* ATTEST_OK, or the first rule of ATTEST_ENVELOPE or ATTEST_PAYLOAD that is broken; then *ret_doc is zero. */
enum attest_code attest_document_parse(struct span in, struct attest_document *ret_doc);

/* True when PCR0, PCR1 or PCR2 is all zero: the host can read this enclave's memory. */
bool attest_document_debug(const struct attest_document *d);

#endif
