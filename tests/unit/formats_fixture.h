/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the formats share: fixed keys, sample jobs and envelopes, copies of exact size
 * (so that AddressSanitizer sees every read past the end). Include after cmocka.h.
 */
#ifndef TESTS_UNIT_FORMATS_FIXTURE_H
#define TESTS_UNIT_FORMATS_FIXTURE_H

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "queue/envelope.h"
#include "worker/base/text.h"

#define APP_KID  "app-2026"
#define RING_KID "wek-7b4e909bbe7ffe44"
#define ARENA    (ENVELOPE_PLAIN_MAX + ENVELOPE_MAX)
#define UNUSED   __attribute__((unused))

#define NOW       1800000000
#define EXPIRES   (NOW + 86400)
#define CONTEXT_1 "voter-protocol-witness-encryption-v1"

#define assert_err(e, expected)    assert_string_equal(err_name(e), err_name(expected))
#define assert_span_eq_str(s, str) assert_true(span_eq_str(s, str))

struct keys {
	uint8_t app_public[32], app_secret[64];
	uint8_t ring_public[32], ring_secret[32];
};

UNUSED static struct keys keys_fixed(void)
{
	struct keys k;
	uint8_t seed[32];

	memset(seed, 0x33, sizeof(seed));
	assert_int_equal(crypto_sign_seed_keypair(k.app_public, k.app_secret, seed), 0);
	memset(k.ring_secret, 0x11, sizeof(k.ring_secret));
	assert_int_equal(crypto_scalarmult_base(k.ring_public, k.ring_secret), 0);
	return k;
}

/* A copy in memory of exactly this size; the caller frees. */
UNUSED static uint8_t *copy_exact(struct span s)
{
	uint8_t *p = xmalloc(s.n);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

UNUSED static struct job job_sample(enum job_profile profile, struct span envelope)
{
	struct job j = { 0 };

	j.environment = span_lit("sandbox");
	j.queue = span_lit("q");
	j.sid = span_lit("sub_0001-A");
	j.office[0] = span_lit("HCA12");
	j.office[1] = span_lit("SCA01");
	j.n_offices = 2;
	j.expires_s = EXPIRES;
	j.priority = 1;
	j.profile = profile;
	if (profile == JOB_WITNESS) {
		j.nullifier = span_lit("0x04");
		j.action_domain = span_lit("0x05");
	}
	j.envelope = envelope;
	return j;
}

UNUSED static void seal_sample(enum job_profile profile, const struct keys *k, struct span plain, struct buf *out)
{
	struct job bind = job_sample(profile, span_of(NULL, 0));

	if (profile == JOB_WITNESS)
		assert_err(envelope_seal_witness(plain, k->ring_public, RING_KID, CONTEXT_1, NULL, NULL, out), ERR_OK);
	else
		assert_err(envelope_seal_letter(plain, k->ring_public, RING_KID, &bind, NULL, out), ERR_OK);
}

UNUSED static void unhex(const char *hex, struct buf *out)
{
	size_t n = strlen(hex) / 2;
	uint8_t *room = buf_room(out, n);

	assert_non_null(room);
	assert_err(text_unhex(span_str(hex), room, n), ERR_OK);
	buf_grew(out, n);
}

UNUSED static struct job_signer signer_fixed(void)
{
	struct job_signer s = { .kid = APP_KID };
	struct keys k = keys_fixed();

	memcpy(s.public_key, k.app_public, sizeof(s.public_key));
	return s;
}

UNUSED static void sign_sample(struct job *j, struct buf *out)
{
	struct keys k = keys_fixed();

	buf_init(out, JOB_MAX);
	assert_err(job_sign(j, span_lit(APP_KID), k.app_secret, out), ERR_OK);
}

UNUSED static struct job_expect expect_sample(const struct job_signer *signer)
{
	struct job_expect x = { 0 };

	x.signer = signer;
	x.n_signers = 1;
	x.environment = span_lit("sandbox");
	x.queue = span_lit("q");
	x.sid = span_lit("sub_0001-A");
	x.office = span_lit("SCA01");
	x.now_s = NOW;
	return x;
}

/* [ COSE_Sign1 over payload, envelope ] */
UNUSED static void wrap(struct span payload, struct span envelope, struct buf *out)
{
	struct keys k = keys_fixed();

	cbor_add_array(out, 2);
	cose_sign1_sign(span_lit(JOB_CONTEXT), span_lit(APP_KID), payload, k.app_secret, out);
	cbor_add_bytes(out, envelope);
	assert_err(buf_ok(out), ERR_OK);
}

UNUSED static enum err parse_signed_payload(struct span payload, const char **ret_member)
{
	struct buf b;
	struct job j;
	enum err e;

	buf_init(&b, 2 * JOB_MAX);
	wrap(payload, span_lit("E"), &b);
	e = job_parse(span_buf(&b), &j, ret_member);
	buf_clear(&b);
	return e;
}

/* In the order in which the worker would try them. */
UNUSED static const char contexts[3][65] = {
	"voter-protocol-witness-encryption-v1",
	"commons-witness-encryption-v1",
	"communique-witness-encryption",
};

UNUSED static enum err open_any(const struct envelope *e, const struct keys *k, struct buf *plain)
{
	uint8_t shared[32];

	if (crypto_scalarmult(shared, k->ring_secret, e->point) != 0)
		return ERR_ENVELOPE_POINT;
	if (e->profile == JOB_WITNESS)
		return envelope_open_witness(e, shared, contexts, 3, plain);
	return envelope_open_letter(e, shared, k->ring_public, plain);
}

UNUSED static bool all_zero(const struct buf *b)
{
	return sodium_is_zero(b->p, b->cap) == 1;
}

/* What an envelope that was changed may come to. */
UNUSED static bool refusal(enum err e)
{
	return e == ERR_ENVELOPE_SYNTAX || e == ERR_ENVELOPE_ALGORITHM || e == ERR_ENVELOPE_POINT ||
	       e == ERR_ENVELOPE_OPEN;
}

#endif
