/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Genuine documents with the policy that lets each of them through, and verification with a look at the whole report.
 * Include after cmocka.h.
 */
#ifndef TESTS_UNIT_ATTEST_GENUINE_H
#define TESTS_UNIT_ATTEST_GENUINE_H

#include "tests/unit/attest_fixture.h"

#include <openssl/err.h>

/* A document with its own time, measurements and fields: what a policy must say to let it through. */
struct genuine {
	struct buf b;
	struct attest_document d;
	struct attest_measurement own;
	struct attest_policy policy;
};

/* Signatures of certificates stay right, whatever a test does to a document. */
static struct attest_cache cache;

UNUSED static void measure(const struct attest_document *d, uint32_t pcrs, struct attest_measurement *ret_m)
{
	*ret_m = (struct attest_measurement){ .name = "own", .pcrs = pcrs };
	for (unsigned i = 0; i < ATTEST_PCRS; i++)
		if (pcrs & UINT32_C(1) << i)
			memcpy(ret_m->pcr[i], d->pcr[i].p, ATTEST_PCR_SIZE);
}

UNUSED static void genuine_load(struct genuine *g, const char *file)
{
	*g = (struct genuine){ 0 };
	load_vector(file, &g->b);
	assert_code(attest_document_parse(span_buf(&g->b), &g->d), ATTEST_OK);
	measure(&g->d, g->d.pcrs, &g->own);
	g->policy = (struct attest_policy){ .allowed = &g->own,
					    .n_allowed = 1,
					    .now_ms = (int64_t)g->d.timestamp_ms + 1000,
					    .max_age_ms = 300000,
					    .max_future_ms = 30000,
					    .nonce = g->d.nonce.present ? &g->d.nonce.bytes : NULL,
					    .user_data = g->d.user_data.present ? &g->d.user_data.bytes : NULL,
					    .public_key = g->d.public_key.present ? &g->d.public_key.bytes : NULL,
					    .cache = &cache };
}

UNUSED static void genuine_clear(struct genuine *g)
{
	buf_clear(&g->b);
}

/* Stages before the failing one have passed, those behind it were not asked; nothing is handed out. */
UNUSED static void check_report(const struct attest_report *r, const struct attest_policy *p,
				const struct attest_document *d)
{
	static const struct attest_document zero;
	const enum attest_stage end = attest_code_stage(r->code);

	for (unsigned s = 0; s < ATTEST_STAGES; s++) {
		bool skipped = p->chain_only && (s == ATTEST_TIME || s == ATTEST_POLICY || s == ATTEST_BINDING);

		if (s == ATTEST_BINDING && p->nonce == NULL && p->user_data == NULL && p->public_key == NULL)
			skipped = true;
		if (skipped || s > (unsigned)end)
			assert_int_equal(r->stage[s], ATTEST_NOT_ASKED);
		else
			assert_int_equal(r->stage[s], s == (unsigned)end ? ATTEST_FAILED : ATTEST_PASSED);
	}
	assert_int_equal(r->certificate >= 0, end == ATTEST_CHAIN);
	assert_true(r->code == ATTEST_OK ? d->payload.n > 0 : memcmp(d, &zero, sizeof(zero)) == 0);
	assert_int_equal(r->release != NULL, r->code == ATTEST_OK && !p->chain_only);
	assert_int_equal(ERR_peek_error(), 0);
}

UNUSED static enum attest_code verify(struct span in, const struct attest_policy *p, struct attest_report *ret_report)
{
	struct attest_document d;
	enum attest_code code;

	memset(&d, 0xff, sizeof(d));
	memset(ret_report, 0xff, sizeof(*ret_report));
	code = attest_verify(in, &attest_anchor_aws, p, &d, ret_report);
	assert_code(code, ret_report->code);
	check_report(ret_report, p, &d);
	return code;
}

UNUSED static void gives(struct span in, const struct attest_policy *p, enum attest_code expected)
{
	struct attest_report r;

	assert_code(verify(in, p, &r), expected);
}

/* The same policy with one thing changed. */
#define with(g, member, value, expected)                         \
	do {                                                     \
		struct attest_policy changed_ = (g)->policy;     \
		changed_.member = (value);                       \
		gives(span_buf(&(g)->b), &changed_, (expected)); \
	} while (0)

#endif
