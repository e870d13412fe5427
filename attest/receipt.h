/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts: a COSE_Sign1 (Ed25519, external_aad "cwc-receipt-v1") by the worker's receipt key,
 * which is made at each boot, over a deterministic CBOR map with nothing personal in it. FORMATS.md
 * is the specification.
 */
#ifndef ATTEST_RECEIPT_H
#define ATTEST_RECEIPT_H

#include "worker/base/buf.h"

struct receipt {
	struct span environment, queue, sid, office;
	uint64_t generation;
	struct span delivery_id;    /* empty: never sent */
	uint64_t attempt;           /* POSTs that began */
	struct span outcome;        /* stable name */
	int http_status;            /* 0: none */
	int64_t begun_ms, ended_ms; /* of the last attempt; begun 0: never */
	struct span document;       /* SHA-256 of the boot's attestation document, or empty */
};

#define RECEIPT_MAX     1024
#define RECEIPT_ID_SIZE 21

/* "rcp-" and 16 hex digits of a public key, and a NUL. */
void receipt_id(const uint8_t public_key[32], char ret_id[RECEIPT_ID_SIZE]);

struct receipt_key;

/* A fresh key in guarded memory. */
struct receipt_key *receipt_key_new(void);
void receipt_key_free(struct receipt_key *k);
const uint8_t *receipt_key_public(const struct receipt_key *k);
const char *receipt_key_id(const struct receipt_key *k);

/* Appends the signed receipt to out (at most RECEIPT_MAX bytes). */
void receipt_sign(const struct receipt_key *k, const struct receipt *r, struct buf *out);
/* Parses and verifies; views point into `in`. ERR_SYNTAX, ERR_CRYPTO. */
ERR_MUST_CHECK enum err receipt_verify(struct span in, const uint8_t public_key[32], struct receipt *ret_receipt);

#endif
