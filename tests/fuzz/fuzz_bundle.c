/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundles, what is sealed in them, sealed secrets and grants over any bytes. Beyond memory errors it checks what the
 * headers promise: views lie inside of the input, what is accepted has one form only (its parts, put together again,
 * are the input), a refusal leaves nothing behind, and nothing that is not signed verifies.
 *
 * The keys are those of tests/vectors/sealed.json, so that genuine seeds go all the way.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/bundle.h"
#include "attest/grant.h"
#include "attest/sealed.h"
#include "worker/base/cbor.h"
#include "worker/base/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define AUTHORITY      "authority-1"
#define AUTHORITY_SEED 0x99
#define DATA_KEY       0x88
#define SECRET_KEY     0x13

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

static const uint8_t *data_key(void)
{
	static uint8_t key[KMS_DATA_KEY];

	memset(key, DATA_KEY, sizeof(key));
	return key;
}

/* Made once: guarded memory is slow to get. */
static struct buf *plain(void)
{
	static struct buf b;

	if (b.p == NULL)
		secret_arena(&b, BUNDLE_PLAIN_MAX);
	return &b;
}

static const struct keyring *ring(void)
{
	static const struct keyring_times t = { .created_s = 1, .activate_s = 1 };
	static struct keyring *r;
	uint8_t secret[32];

	if (r != NULL)
		return r;
	r = keyring_new();
	memset(secret, SECRET_KEY, sizeof(secret));
	check(keyring_add(r, KEYRING_SECRET, secret, NULL, 0, &t) == ERR_OK);
	return r;
}

static void check_nothing_left(void)
{
	check(plain()->n == 0 && !plain()->overflow && sodium_is_zero(plain()->p, plain()->cap) == 1);
}

/* --- bundle ----------------------------------------------------------------------------------- */

static void check_bundle(const struct bundle *b, struct span in)
{
	struct buf again;

	check(in.n <= BUNDLE_MAX && inside(b->header, in) && inside(b->maker, in));
	check(inside(b->queue, b->header) && inside(b->environment, b->header) && inside(b->kms_key, b->header));
	check(inside(b->wrapped, b->header) && b->version >= 1 && b->version <= BUNDLE_VERSION_MAX);
	check(b->nonce.n == 24 && b->sealed.n > 16 && b->sealed.n <= BUNDLE_PLAIN_MAX + 16);
	buf_init(&again, BUNDLE_MAX);
	cbor_add_array(&again, 5);
	cbor_add_str(&again, "cwc-bundle-v1");
	cbor_add_bytes(&again, b->header);
	cbor_add_bytes(&again, b->nonce);
	cbor_add_bytes(&again, b->sealed);
	check(bundle_finish(b->maker, &again) == ERR_OK && span_eq(span_buf(&again), in));
	buf_clear(&again);
}

static void check_context(const struct bundle *b)
{
	struct kms_request r = { .operation = KMS_DECRYPT,
				 .key_arn =
					 "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
				 .document = span_lit("d"),
				 .blob = b->wrapped };
	char room[BUNDLE_CONTEXT_ROOM];
	struct buf body;

	r.n_context = bundle_context(b, r.context, room);
	check(r.n_context == 4);
	buf_init(&body, KMS_REQUEST_MAX);
	check(kms_request_body(&r, &body) == ERR_OK);
	buf_clear(&body);
}

/* What opens can be sealed again, and says the same then. */
static void check_again(const struct bundle *b, const struct bundle_content *content)
{
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct bundle again;
	struct buf out;

	buf_init(&out, BUNDLE_MAX);
	check(bundle_seal(b, content, data_key(), &out, hash) == ERR_OK);
	check(bundle_finish(span_lit("maker"), &out) == ERR_OK);
	check(bundle_parse(span_buf(&out), &again) == ERR_OK && memcmp(hash, again.hash, sizeof(hash)) == 0);
	check(span_eq(again.header, b->header) && again.sealed.n == b->sealed.n);
	buf_clear(&out);
}

static void fuzz_bundle(struct span in)
{
	static const uint8_t own[3][ATTEST_PCR_SIZE];
	struct bundle_content content;
	struct bundle b;
	enum err e = bundle_parse(in, &b);

	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT);
	if (e != ERR_OK)
		return;
	check_bundle(&b, in);
	check_context(&b);
	check(bundle_check_maker(&b, &attest_anchor_aws, own, INT64_MAX) != ATTEST_OK);
	content = (struct bundle_content){ .ring = keyring_new() };
	if (bundle_open(&b, data_key(), plain(), &content) == ERR_OK)
		check_again(&b, &content);
	else
		check_nothing_left();
	keyring_free(content.ring);
	buf_reset(plain());
}

/* The input as what somebody sealed who has the data key. */
static void fuzz_content(struct span in)
{
	static uint8_t sealed[BUNDLE_PLAIN_MAX + 16];
	static const uint8_t nonce[24];
	static const char aad[] = "cwc-bundle-v1header";
	struct bundle_content content = { .ring = NULL };
	struct bundle b = { .header = span_lit("header"), .nonce = span_of(nonce, sizeof(nonce)) };
	enum err e;

	if (in.n == 0 || in.n > BUNDLE_PLAIN_MAX)
		return;
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, in.p, in.n, (const uint8_t *)aad, sizeof(aad) - 1,
						   NULL, nonce, data_key());
	b.sealed = span_of(sealed, in.n + 16);
	content.ring = keyring_new();
	e = bundle_open(&b, data_key(), plain(), &content);
	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_RANGE || e == ERR_EXISTS);
	if (e == ERR_OK) {
		check(content.signers.n <= GRANT_MAX);
		check(content.signers.n == 0 || inside(content.signers, span_buf(plain())));
	} else {
		check_nothing_left();
		check(keyring_count(content.ring) == 0 && content.signers.p == NULL);
	}
	keyring_free(content.ring);
	buf_reset(plain());
}

/* --- sealed secret ---------------------------------------------------------------------------- */

static void fuzz_sealed(struct span in)
{
	struct sealed s;
	struct buf again;
	enum err e = sealed_parse(in, &s);

	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_NOT_FOUND);
	if (e != ERR_OK)
		return;
	check(in.n <= SEALED_MAX && (unsigned)s.name < SEALED_NAME_COUNT && inside(s.header, in));
	check(inside(s.kid, s.header) && inside(s.queue, s.header) && inside(s.environment, s.header));
	buf_init(&again, SEALED_MAX);
	cbor_add_array(&again, 4);
	cbor_add_str(&again, "cwc-secret-v1");
	cbor_add_bytes(&again, s.header);
	cbor_add_bytes(&again, s.ephemeral);
	cbor_add_bytes(&again, s.sealed);
	check(span_eq(span_buf(&again), in));
	buf_clear(&again);
	e = sealed_open(&s, ring(), plain());
	check(e == ERR_OK || e == ERR_ENVELOPE_KEY || e == ERR_ENVELOPE_POINT || e == ERR_ENVELOPE_OPEN);
	if (e == ERR_OK)
		check(plain()->n >= 1 && plain()->n <= SEALED_PLAIN_MAX && plain()->p[plain()->n] == '\0');
	else
		check_nothing_left();
	buf_reset(plain());
}

/* --- grant ------------------------------------------------------------------------------------ */

static void check_grant(const struct grant *g, struct span in, const uint8_t secret[64])
{
	struct buf again;

	check(inside(g->queue, in) && inside(g->environment, in) && span_eq_str(g->authority, AUTHORITY));
	check(g->serial >= 1 && g->serial <= GRANT_SERIAL_MAX && g->n_signers >= 1 &&
	      g->n_signers <= GRANT_SIGNERS_MAX);
	for (size_t i = 0; i < g->n_signers; i++) {
		check(g->signer[i].not_before_s > 0 && g->signer[i].not_before_s < g->signer[i].not_after_s);
		check(strnlen(g->signer[i].kid, sizeof(g->signer[i].kid)) <= COSE_KID_MAX);
	}
	buf_init(&again, GRANT_MAX);
	check(grant_sign(g, secret, &again) == ERR_OK && span_eq(span_buf(&again), in));
	buf_clear(&again);
}

static void fuzz_grant(struct span in)
{
	uint8_t public_key[32], secret[64], seed[32];
	struct buf forged;
	struct grant g;
	enum err e;

	memset(seed, AUTHORITY_SEED, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret, seed);
	e = grant_verify(in, span_lit(AUTHORITY), public_key, &g);
	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_CRYPTO || e == ERR_RANGE);
	if (e == ERR_OK)
		check_grant(&g, in, secret);
	/* The input as a payload that the authority signed. */
	buf_init(&forged, GRANT_MAX);
	cose_sign1_sign(span_lit("cwc-signers-v1"), span_lit(AUTHORITY), in, secret, &forged);
	if (!forged.overflow) {
		e = grant_verify(span_buf(&forged), span_lit(AUTHORITY), public_key, &g);
		check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_RANGE);
		if (e == ERR_OK)
			check_grant(&g, span_buf(&forged), secret);
	}
	buf_clear(&forged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	if (sodium_init() < 0)
		abort();
	fuzz_bundle(in);
	fuzz_content(in);
	fuzz_sealed(in);
	fuzz_grant(in);
	return 0;
}
