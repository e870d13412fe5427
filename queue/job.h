/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job: what the app server signs and puts on the queue. FORMATS.md is the specification.
 *
 *	job = [ COSE_Sign1, envelope: bstr ]      deterministic CBOR, at most JOB_MAX bytes
 *
 * The COSE_Sign1 (external_aad "cwc-job-v1") covers a map with text keys (on the wire in
 * deterministic order: by length, then bytewise):
 *
 *	v: 1                    environment: "sandbox" | "production"
 *	queue: tstr             sid: [A-Za-z0-9_-]{1,64}      generation: uint
 *	offices: [1*3 tstr]     expires: uint (unix s)        not_before: uint (optional)
 *	priority: 0 | 1         profile: "witness" | "letter"
 *	envelope_sha256: bstr .size 32
 *	fields: { element name: value }     clear CWC elements (cwc_letter_read, clear)
 *	witness: { nullifier: tstr, actionDomain: tstr }     with profile "witness" only
 */
#ifndef QUEUE_JOB_H
#define QUEUE_JOB_H

#include "worker/base/cose.h"

#define JOB_MAX         98304
#define JOB_SID_MAX     64
#define JOB_OFFICES_MAX 3
#define JOB_TTL_MAX_S   (30 * 86400)
#define JOB_CONTEXT     "cwc-job-v1"

enum job_profile { JOB_WITNESS, JOB_LETTER };

/* All views point into the bytes that were parsed. */
struct job {
	struct span kid, environment, queue, sid;
	struct span office[JOB_OFFICES_MAX];
	size_t n_offices;
	uint64_t generation, expires_s, not_before_s;
	unsigned priority; /* 0 before 1 */
	enum job_profile profile;
	uint8_t envelope_sha256[32];
	struct span fields; /* encoded CBOR map, for cwc_letter_read() */
	struct span nullifier, action_domain;
	struct span envelope;
	struct cose_sign1 message;
};

struct job_signer {
	char kid[COSE_KID_MAX + 1];
	uint8_t public_key[COSE_ED25519_PUBLIC];
	int64_t not_before_s, not_after_s; /* when its jobs are taken; 0: no bound */
};

/* What a job must agree with. sid and office are those of the queue's record. */
struct job_expect {
	const struct job_signer *signer;
	size_t n_signers;
	struct span environment, queue, sid, office;
	int64_t now_s;
};

/* Form only: sizes, structure, types. JOB_TOO_LARGE, JOB_SYNTAX, JOB_ALGORITHM, JOB_VERSION,
 * JOB_FIELD_... ; *ret_member names the member to blame (static text) or "". */
ERR_MUST_CHECK enum err job_parse(struct span bytes, struct job *ret_job, const char **ret_member);

/* Everything else, in this order: JOB_SIGNER (not known, or now is outside of its times: what counts is when a job is
 * opened, since nobody else knows when it was signed), JOB_SIGNATURE, JOB_ENVELOPE_HASH, JOB_ENVIRONMENT,
 * JOB_QUEUE, JOB_SID, JOB_OFFICE, JOB_EXPIRY, JOB_EXPIRED, JOB_EARLY. */
ERR_MUST_CHECK enum err job_verify(const struct job *j, const struct job_expect *x);

/* Builds and signs (cwcctl, tests). Fills envelope_sha256 itself from j->envelope. j->message is
 * ignored. ERR_LIMIT. */
ERR_MUST_CHECK enum err job_sign(const struct job *j, struct span kid, const uint8_t secret[COSE_ED25519_SECRET],
				 struct buf *out);

/* [A-Za-z0-9_-]{1,64} */
bool job_sid_valid(struct span sid);

/* Reads [1*3 tstr], distinct, each [A-Z0-9]{5}: the letter envelope binds the same list. False for anything else;
 * the reader's error is then not necessarily set. */
bool job_read_offices(struct cbor *c, struct span ret_office[JOB_OFFICES_MAX], size_t *ret_n);

#endif
