/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs, both envelopes and receipts over any bytes. Beyond memory errors it checks what the headers
 * promise: views lie inside of the input, accepted values are within their limits, an accepted job
 * that is built again says the same, and nothing that is not signed verifies.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/receipt.h"
#include "queue/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The keys of tests/vectors/formats.json, so that genuine seeds go all the way. */
#define APP_KID      "app-2026"
#define APP_SEED     0x33
#define RECEIPT_SEED 0x44
#define NOW          1800000000

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

static void check_offices(const struct span *office, size_t n, struct span in)
{
	check(n >= 1 && n <= JOB_OFFICES_MAX);
	for (size_t i = 0; i < n; i++)
		check(inside(office[i], in) && office[i].n == 5);
}

/* A second job from what the first one says. It is the same payload when the first was written as we write. */
static void check_again(const struct job *j, const uint8_t secret[64], size_t size)
{
	struct job again;
	struct buf b;
	const char *member;

	buf_init(&b, JOB_MAX);
	if (job_sign(j, j->kid, secret, &b) == ERR_OK) {
		check(job_parse(span_buf(&b), &again, &member) == ERR_OK);
		check(span_eq(again.sid, j->sid) && span_eq(again.fields, j->fields));
		check(again.expires_s == j->expires_s && again.not_before_s == j->not_before_s);
		check(again.profile == j->profile && span_eq(again.nullifier, j->nullifier));
		/* An explicit not_before of 0 is left out. */
		check(b.n == size || j->not_before_s == 0);
	}
	buf_clear(&b);
}

static void fuzz_envelope(enum job_profile profile, struct span in)
{
	static const char context[1][65] = { "voter-protocol-witness-encryption-v1" };
	static const uint8_t shared[32] = { 9 }, public_key[32] = { 9 };
	struct envelope e;
	struct buf plain;
	enum err err;

	if (envelope_parse(profile, in, &e) != ERR_OK)
		return;
	check(inside(e.ciphertext, in) && e.kid[0] != '\0' && strnlen(e.kid, sizeof(e.kid)) <= COSE_KID_MAX);
	buf_init(&plain, ENVELOPE_PLAIN_MAX + ENVELOPE_MAX);
	if (profile == JOB_LETTER) {
		check(inside(e.protected_header, in) && job_sid_valid(e.sid));
		check_offices(e.office, e.n_offices, in);
		err = envelope_open_letter(&e, shared, public_key, &plain);
	} else {
		err = envelope_open_witness(&e, shared, context, 1, &plain);
	}
	check(err == ERR_ENVELOPE_OPEN && plain.n == 0);
	buf_clear(&plain);
}

static void fuzz_job(struct span in)
{
	struct job_signer signer = { .kid = APP_KID };
	struct job_expect x = { .signer = &signer, .n_signers = 1, .now_s = NOW };
	uint8_t secret[64], seed[32];
	const char *member = NULL;
	struct job j;
	enum err e;

	memset(seed, APP_SEED, sizeof(seed));
	crypto_sign_seed_keypair(signer.public_key, secret, seed);
	e = job_parse(in, &j, &member);
	check(member != NULL && (e != ERR_OK || member[0] == '\0'));
	if (e != ERR_OK)
		return;
	check(inside(j.sid, in) && inside(j.queue, in) && inside(j.fields, in) && inside(j.envelope, in));
	check(job_sid_valid(j.sid) && j.priority <= 1 && j.generation <= INT32_MAX && j.not_before_s <= j.expires_s);
	check((j.profile == JOB_WITNESS) == (j.nullifier.p != NULL && j.action_domain.p != NULL));
	check_offices(j.office, j.n_offices, in);
	x.environment = j.environment;
	x.queue = j.queue;
	x.sid = j.sid;
	x.office = j.office[0];
	e = job_verify(&j, &x);
	check(e != ERR_JOB_SID && e != ERR_JOB_OFFICE && e != ERR_JOB_QUEUE && e != ERR_JOB_ENVIRONMENT);
	if (e == ERR_OK)
		check_again(&j, secret, in.n);
	fuzz_envelope(j.profile, j.envelope);
}

static void fuzz_receipt(struct span in)
{
	uint8_t public_key[32], secret[64], seed[32];
	struct receipt r;
	enum err e;

	memset(seed, RECEIPT_SEED, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret, seed);
	e = receipt_verify(in, public_key, &r);
	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_CRYPTO);
	if (e != ERR_OK)
		return;
	check(in.n <= RECEIPT_MAX && inside(r.sid, in) && inside(r.outcome, in) && r.begun_ms >= 0 && r.ended_ms >= 0);
	check(r.document.n == 0 || r.document.n == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	if (sodium_init() < 0)
		abort();
	fuzz_job(in);
	fuzz_envelope(JOB_WITNESS, in);
	fuzz_envelope(JOB_LETTER, in);
	fuzz_receipt(in);
	return 0;
}
