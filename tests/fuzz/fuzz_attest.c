/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attestation documents over any bytes. Beyond memory errors it checks what the headers promise: views lie inside of
 * the input, a document that is read has one form only (its parts, put together again, are the input), a refusal hands
 * nothing out, and the report agrees with the code.
 *
 * Parsing comes first; only what parses is verified, with a cache, so that genuine certificates cost nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verify.h"
#include "worker/base/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

static void check_zero(const struct attest_document *d)
{
	static const struct attest_document zero;

	check(memcmp(d, &zero, sizeof(zero)) == 0);
}

static void check_field(const struct attest_field *f, struct span in, size_t max)
{
	check(f->present ? inside(f->bytes, in) && f->bytes.n <= max : f->bytes.p == NULL && f->bytes.n == 0);
}

static void check_document(const struct attest_document *d, struct span in)
{
	check(inside(d->payload, in) && inside(d->signature, in) && d->signature.n == 96);
	check(inside(d->module_id, d->payload) && d->module_id.n == ATTEST_MODULE_SIZE);
	check(d->timestamp_ms > ATTEST_TIMESTAMP_MIN && d->timestamp_ms < ATTEST_TIMESTAMP_MAX);
	check((d->pcrs & 0x11f) == 0x11f);
	for (unsigned i = 0; i < ATTEST_PCRS; i++) {
		if (d->pcrs & UINT32_C(1) << i)
			check(inside(d->pcr[i], d->payload) && d->pcr[i].n == ATTEST_PCR_SIZE);
		else
			check(d->pcr[i].p == NULL && d->pcr[i].n == 0);
	}
	check(d->n_cabundle >= ATTEST_CABUNDLE_MIN && d->n_cabundle <= ATTEST_CABUNDLE_MAX);
	for (size_t i = 0; i < d->n_cabundle; i++)
		check(inside(d->cabundle[i], d->payload) && d->cabundle[i].n >= 1 &&
		      d->cabundle[i].n <= ATTEST_KEY_MAX);
	check(inside(d->certificate, d->payload) && d->certificate.n >= 1 && d->certificate.n <= ATTEST_KEY_MAX);
	check_field(&d->public_key, d->payload, ATTEST_KEY_MAX);
	check_field(&d->user_data, d->payload, ATTEST_FIELD_MAX);
	check_field(&d->nonce, d->payload, ATTEST_FIELD_MAX);
}

static void check_form(const struct attest_document *d, struct span in)
{
	struct buf again;

	buf_init(&again, 2 * ATTEST_DOCUMENT_MAX);
	buf_add_span(&again, span_lit("\x84\x44\xa1\x01\x38\x22\xa0"));
	cbor_add_bytes(&again, d->payload);
	cbor_add_bytes(&again, d->signature);
	check(buf_ok(&again) == ERR_OK && span_eq(span_buf(&again), in));
	buf_clear(&again);
}

static void check_report(const struct attest_report *r, enum attest_code code, size_t n_cabundle)
{
	const enum attest_stage end = attest_code_stage(code);

	check(r->code == code && (unsigned)code < ATTEST_CODE_COUNT && r->release == NULL);
	for (unsigned s = 0; s < ATTEST_STAGES; s++) {
		bool asked = s <= ATTEST_SIGNATURE || s == ATTEST_DEBUG;

		check(s > (unsigned)end || !asked
			      ? r->stage[s] == ATTEST_NOT_ASKED
			      : r->stage[s] == (s == (unsigned)end ? ATTEST_FAILED : ATTEST_PASSED));
	}
	check(end == ATTEST_CHAIN ? r->certificate >= 0 && r->certificate <= (int)n_cabundle : r->certificate == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct attest_cache cache;
	const struct attest_policy policy = { .chain_only = true, .cache = &cache };
	const struct span in = span_of(data, size);
	struct attest_document d, verified;
	enum attest_code form = attest_document_parse(in, &d), code;
	struct attest_report r;

	if (form != ATTEST_OK) {
		check_zero(&d);
		check(attest_code_stage(form) <= ATTEST_PAYLOAD);
	} else {
		check_document(&d, in);
		check_form(&d, in);
	}
	code = attest_verify(in, &attest_anchor_aws, &policy, &verified, &r);
	check_report(&r, code, d.n_cabundle);
	check(form == ATTEST_OK ? attest_code_stage(code) >= ATTEST_CHAIN : code == form);
	if (code == ATTEST_OK)
		check_document(&verified, in);
	else
		check_zero(&verified);
	return 0;
}
