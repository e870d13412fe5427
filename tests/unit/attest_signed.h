/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents with one thing wrong that are signed all the same: by the simulator's certificates, so that no wrong
 * signature hides what is tested. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_ATTEST_SIGNED_H
#define TESTS_UNIT_ATTEST_SIGNED_H

#include <openssl/err.h>

#include "tests/sim/nsm_sim.h"
#include "tests/unit/attest_fixture.h"

#define NOW_S  INT64_C(1770918962)
#define NOW_MS (NOW_S * 1000)

/* A document in its parts, with the policy that lets it through. */
struct signed_document {
	struct pki_chain *chain;
	struct pki_payload payload;
	uint8_t pcr[ATTEST_PCRS][ATTEST_PCR_SIZE];
	struct attest_measurement own;
	struct attest_policy policy;
};

UNUSED static void signed_start(struct signed_document *s)
{
	*s = (struct signed_document){ .chain = pki_chain_new(&(struct pki_options){ .issued_s = NOW_S - 60 }) };
	for (unsigned i = 0; i < 3; i++)
		memset(s->pcr[i], 0x50 + (int)i, ATTEST_PCR_SIZE);
	nsm_sim_measure(span_of(PKI_MODULE_ID, ATTEST_INSTANCE_SIZE), s->pcr[4]);
	s->own = (struct attest_measurement){ .name = "own", .pcrs = 7 };
	memcpy(s->own.pcr, s->pcr, 3 * sizeof(s->pcr[0]));
	s->payload = (struct pki_payload){ .module_id = PKI_MODULE_ID,
					   .timestamp_ms = NOW_MS,
					   .pcrs = 0xffff,
					   .pcr = (const uint8_t(*)[ATTEST_PCR_SIZE])s->pcr };
	s->policy = (struct attest_policy){
		.allowed = &s->own, .n_allowed = 1, .now_ms = NOW_MS, .max_age_ms = 300000, .max_future_ms = 300000
	};
	pki_payload_chain(&s->payload, s->chain);
}

UNUSED static void signed_stop(struct signed_document *s)
{
	pki_chain_free(s->chain);
}

/* What the verifier says, and which certificate it blames. Twice with a cache, which must not change anything. */
UNUSED static enum attest_code verify_bytes(const struct signed_document *s, struct span in, int *ret_certificate)
{
	static struct attest_cache cache;
	struct attest_policy p = s->policy;
	struct attest_report first = { 0 };

	for (unsigned round = 0; round < 3; round++) {
		struct attest_document d;
		struct attest_report r;
		enum attest_code code;

		p.cache = round > 0 ? &cache : NULL;
		code = attest_verify(in, &attest_anchor_sim, &p, &d, &r);
		assert_code(code, r.code);
		assert_true(code == ATTEST_OK || document_is_zero(&d));
		if (round == 0)
			first = r;
		assert_code(r.code, first.code);
		assert_int_equal(r.certificate, first.certificate);
		assert_int_equal(ERR_peek_error(), 0);
	}
	*ret_certificate = first.certificate;
	return first.code;
}

/* A payload's bytes, signed by the leaf. */
UNUSED static enum attest_code verify_payload(const struct signed_document *s, struct span payload,
					      int *ret_certificate)
{
	enum attest_code code;
	struct buf b;

	buf_init(&b, 2 * VECTOR_MAX);
	pki_sign_document(s->chain->cert[PKI_LEAF].key, payload, &b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	code = verify_bytes(s, span_buf(&b), ret_certificate);
	buf_clear(&b);
	return code;
}

UNUSED static enum attest_code verify_signed(const struct signed_document *s, int *ret_certificate)
{
	enum attest_code code;
	struct buf b;

	buf_init(&b, VECTOR_MAX);
	pki_encode_payload(&s->payload, &b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	code = verify_payload(s, span_buf(&b), ret_certificate);
	buf_clear(&b);
	return code;
}

/* --- one certificate with one thing changed, and all signed again ----------------------------- */

typedef void change(struct pki_certificate *c, struct span v);

/* The certificate to blame is the one that was changed. */
UNUSED static void change_gives(size_t which, change *f, struct span v, enum attest_code code)
{
	struct signed_document s;
	enum attest_code got;
	int blamed;

	signed_start(&s);
	f(&s.chain->cert[which], v);
	pki_chain_sign(s.chain, which);
	pki_payload_chain(&s.payload, s.chain);
	got = verify_signed(&s, &blamed);
	if (got != code)
		print_error("certificate %zu, %zu bytes beginning with %02x\n", which, v.n, v.n > 0 ? v.p[0] : 0);
	assert_code(got, code);
	assert_int_equal(blamed, code == ATTEST_OK ? -1 : (int)which);
	signed_stop(&s);
}

/* Every certificate that an issuer signs. */
UNUSED static void each_gives(change *f, struct span v, enum attest_code code)
{
	for (size_t i = PKI_REGIONAL; i <= PKI_LEAF; i++)
		change_gives(i, f, v, code);
}

UNUSED static void cas_give(change *f, struct span v, enum attest_code code)
{
	for (size_t i = PKI_REGIONAL; i <= PKI_INSTANCE; i++)
		change_gives(i, f, v, code);
}

#endif
