/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Genuine bundles: made by a simulated enclave, whose document stands under the simulator's root. Include after
 * cmocka.h.
 */
#ifndef TESTS_UNIT_BUNDLE_FIXTURE_H
#define TESTS_UNIT_BUNDLE_FIXTURE_H

#include "tests/unit/sealed_fixture.h"

#include "attest/bundle.h"
#include "tests/sim/nsm_sim.h"

#define NOW_MS  INT64_C(1770918962724)
#define KMS_KEY "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
#define WRAPPED span_lit("\x01\x02\x02\x00what KMS gave")

#define assert_code(c, expected) assert_string_equal(attest_code_name(c), attest_code_name(expected))

static const uint8_t data_key[KMS_DATA_KEY] = { 0x88, 0x87, 0x86 };

/* An enclave with its measurements. */
struct maker {
	struct nsm_sim *sim;
	struct nsm nsm;
	uint8_t own[3][ATTEST_PCR_SIZE];
};

/* o may be NULL; its measurements and its clock are set. */
UNUSED static void maker_start(struct maker *m, const struct nsm_sim_options *o)
{
	struct nsm_sim_options options = o != NULL ? *o : (struct nsm_sim_options){ 0 };

	for (unsigned i = 0; i < 3; i++)
		memset(m->own[i], 0xc0 + (int)i, sizeof(m->own[i]));
	options.pcr012 = (const uint8_t(*)[ATTEST_PCR_SIZE])m->own;
	if (options.now_ms == 0)
		options.now_ms = NOW_MS;
	m->sim = nsm_sim_new(&options);
	m->nsm = (struct nsm){ .exchange = nsm_sim_exchange, .arg = m->sim };
}

UNUSED static void maker_stop(struct maker *m)
{
	nsm_sim_free(m->sim);
}

UNUSED static struct bundle bundle_fields(uint64_t version)
{
	return (struct bundle){ .environment = SANDBOX,
				.queue = QUEUE,
				.kms_key = span_lit(KMS_KEY),
				.wrapped = WRAPPED,
				.version = version };
}

/* The caller clears the buf. */
UNUSED static void bundle_make(struct maker *m, const struct bundle_content *content, uint64_t version,
			       struct buf *ret_b)
{
	struct bundle b = bundle_fields(version);
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct buf document;
	struct span user_data = span_of(hash, sizeof(hash));

	buf_init(ret_b, BUNDLE_MAX);
	buf_init(&document, NSM_ANSWER_MAX);
	assert_err(bundle_seal(&b, content, data_key, ret_b, hash), ERR_OK);
	assert_err(nsm_attest(&m->nsm, &user_data, NULL, NULL, &document), ERR_OK);
	assert_err(bundle_finish(span_buf(&document), ret_b), ERR_OK);
	buf_clear(&document);
}

UNUSED static void bundle_sample(struct maker *m, uint64_t version, struct buf *ret_b)
{
	struct keyring *ring = ring_fixed();

	bundle_make(m, &(struct bundle_content){ .ring = ring }, version, ret_b);
	keyring_free(ring);
}

/* A bundle of these parts. The caller clears the buf. */
UNUSED static void bundle_join(struct span header, struct span nonce, struct span sealed, struct span maker,
			       struct buf *ret_b)
{
	buf_init(ret_b, 2 * BUNDLE_MAX);
	cbor_add_array(ret_b, 5);
	cbor_add_str(ret_b, "cwc-bundle-v1");
	cbor_add_bytes(ret_b, header);
	cbor_add_bytes(ret_b, nonce);
	cbor_add_bytes(ret_b, sealed);
	cbor_add_bytes(ret_b, maker);
}

/* What bundle_open() says; after an error nothing is left of the plaintext, and no key. */
UNUSED static enum err opens_with(const struct bundle *b, const uint8_t key[KMS_DATA_KEY])
{
	static struct buf plain;
	struct bundle_content content = { .ring = keyring_new(), .signers = span_lit("untouched") };
	enum err e;

	if (plain.p == NULL)
		secret_arena(&plain, BUNDLE_PLAIN_MAX);
	buf_reset(&plain);
	buf_add_str(&plain, "what stood there before");
	e = bundle_open(b, key, &plain, &content);
	if (e != ERR_OK) {
		assert_int_equal(plain.n, 0);
		assert_true(sodium_is_zero(plain.p, plain.cap));
		assert_int_equal(keyring_count(content.ring), 0);
		assert_true(span_eq_str(content.signers, "untouched"));
	}
	keyring_free(content.ring);
	return e;
}

#endif
