/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a taken job to the XML that would be sent, or to the decision not to send: verify the
 * signature and what it binds, look at the office, open, read, validate, render. Synchronous and
 * pure: bytes, keys and time in, values out; a few hundred microseconds. The plaintext lives in
 * the arena only and is wiped before the function returns; the XML is the only thing that stays.
 */
#ifndef WORKER_PREPARE_H
#define WORKER_PREPARE_H

#include "attest/keyring.h"
#include "config/config.h"
#include "queue/envelope.h"
#include "worker/decide.h"

/* The largest XML: two bodies of 10,000 characters, each up to six bytes escaped, and the rest. */
#define PREPARE_XML_MAX (192 * 1024)
/* Room for the decoded ciphertext beside the plaintext. */
#define PREPARE_ARENA_SIZE (ENVELOPE_PLAIN_MAX + ENVELOPE_MAX)

struct prepare_context {
	const struct config *config;
	const struct keyring *ring;
	const struct job_signer *signer;
	size_t n_signers;
	const struct cwc_offices *offices[CWC_CHAMBERS]; /* NULL: no list can be had, send */
	struct buf *arena;
};

struct prepared {
	enum cwc_chamber chamber; /* the office's */
	bool send;                /* true: BEGIN and POST; false: settle by `decision` */
	struct decision decision;
	char delivery_id[CWC_DELIVERY_ID_SIZE], date[CWC_DATE_SIZE];
	uint64_t generation; /* verified; 0 when the job was not */
	int64_t expires_us;  /* verified; 0 when the job was not */
};

/* `xml` is reset first; it holds the document when ret->send is true and is empty otherwise. */
void prepare_letter(const struct prepare_context *x, const struct queue_taken *t, int64_t now_us, struct buf *xml,
		    struct prepared *ret);

#endif
