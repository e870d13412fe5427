/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app server of a scenario: seals and signs letters as the real one does, so that the whole of worker/prepare.c
 * runs, and knows which DeliveryId belongs to whom.
 */
#ifndef SCENARIO_LETTER_H
#define SCENARIO_LETTER_H

#include "attest/keyring.h"
#include "cwc/cwc.h"
#include "queue/job.h"

#define LETTER_QUEUE     "q"
#define LETTER_KID       "scenario"
#define LETTER_OTHER_KID "stranger"

struct letter_options {
	const char *sid, *offices; /* "HCA12,SCA01" */
	uint64_t generation;
	int64_t expires_s, not_before_s; /* not_before 0: none */
	unsigned priority;
	enum job_profile profile;
	bool other_key;    /* sealed to a key that only a full ring has */
	bool other_signer; /* signed by a key that workers know by a grant only */
	bool broken;       /* the signature is not one */
	bool invalid;      /* the letter breaks a rule of CWC */
	bool other_queue;  /* signed for another queue */
};

/* New keys. */
void letter_reset(void);
const uint8_t *letter_signer(void);
const uint8_t *letter_other_signer(void);
/* A ring with the keys that letters are sealed to; `full`: with those of other_key too. */
struct keyring *letter_ring(bool full);
/* Appends the job bytes, and remembers the letter. */
void letter_make(const struct letter_options *o, struct buf *job);
/* "" when no letter has this id. */
const char *letter_sid(const char *delivery_id);

struct letter_known {
	char sid[80], office[CWC_OFFICE_SIZE], delivery_id[CWC_DELIVERY_ID_SIZE];
	bool may_be_open; /* at the end of the scenario */
	bool may_be_twice;
	int64_t named; /* the entry of `attestations` that the newest receipt names; 0: no receipt yet */
};
/* All jobs that were ever asked for, each once. */
size_t letter_all(struct letter_known **ret_first);
/* NULL: never asked for. */
struct letter_known *letter_find(const char *sid, const char *office);

#endif
