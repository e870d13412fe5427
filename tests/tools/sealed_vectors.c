/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints test vectors for section 11 of queue/FORMATS.md (bundle, sealed secret, grant), made with fixed keys: the same
 * text at every run. The committed output is tests/vectors/sealed.json; tests/it/test_formats_sealed.py compares it
 * with this program and with an implementation in another language. Everything that is printed has been read back and
 * accepted by the worker's own code. The bundle ends before its maker: no document is the same twice.
 */
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/bundle.h"
#include "attest/grant.h"
#include "attest/sealed.h"
#include "worker/base/cbor.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define NOW           1800000000
#define RING_BYTE     0x11 /* secrets of 32 bytes 0x11 (witness), 0x12 (letter), 0x13 (secret) */
#define GENERATOR     0x44
#define AUTHORITY     "authority-1"
#define AUTHORITY_KEY 0x99
#define DATA_KEY      0x88
#define SIGNER_SEED   0x33
#define PASSWORD      "correct horse battery staple"
#define KMS_KEY       "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "sealed_vectors: %s\n", what);
		exit(1);
	}
}

/* Ephemeral keys and nonces come from the random generator, as they must; here that gives one value. */
static void same_bytes(void *const p, const size_t n)
{
	memset(p, GENERATOR, n);
}

static uint32_t same_number(void)
{
	return 0x44444444;
}

static const char *generator_name(void)
{
	return "fixed";
}

static struct randombytes_implementation fixed_generator = {
	.implementation_name = generator_name,
	.random = same_number,
	.buf = same_bytes,
};

static void set_text(json_t *o, const char *name, struct span s)
{
	must(json_object_set_new(o, name, json_stringn((const char *)s.p, s.n)) == 0, name);
}

static void set_hex(json_t *o, const char *name, struct span s)
{
	char *hex = xmalloc(2 * s.n + 1);

	text_hex(s, hex);
	set_text(o, name, span_str(hex));
	free(hex);
}

static struct keyring *make_ring(void)
{
	static const struct keyring_times t = { .created_s = NOW, .activate_s = NOW };
	struct keyring *r = keyring_new();

	for (unsigned p = 0; p < KEYRING_PROFILES; p++) {
		uint8_t secret[32];

		memset(secret, RING_BYTE + (int)p, sizeof(secret));
		must(keyring_add(r, (enum keyring_profile)p, secret, NULL, 0, &t) == ERR_OK, "ring");
	}
	return r;
}

static json_t *secret_vector(const struct keyring *r)
{
	const struct keyring_key *to = keyring_at(r, KEYRING_SECRET);
	json_t *o = json_object();
	struct sealed s;
	struct buf b, plain;

	buf_init(&b, SEALED_MAX);
	must(sealed_make(SEALED_QUEUE_PASSWORD, span_lit("sandbox"), span_lit("q"), to, span_lit(PASSWORD), &b) ==
		     ERR_OK,
	     "sealed_make");
	must(sealed_parse(span_buf(&b), &s) == ERR_OK, "sealed_parse");
	secret_arena(&plain, SEALED_PLAIN_MAX + 1);
	must(sealed_open(&s, r, &plain) == ERR_OK && span_eq(span_buf(&plain), span_lit(PASSWORD)), "sealed_open");
	secret_arena_free(&plain);
	set_text(o, "name", span_str(sealed_name_text(s.name)));
	set_text(o, "text", span_lit(PASSWORD));
	set_hex(o, "header", s.header);
	set_hex(o, "bytes", span_buf(&b));
	buf_clear(&b);
	return o;
}

static struct grant make_grant(void)
{
	struct grant g = { .environment = span_lit("sandbox"),
			   .queue = span_lit("q"),
			   .authority = span_lit(AUTHORITY),
			   .serial = 3,
			   .n_signers = 1 };
	uint8_t seed[32], unused[64];

	memcpy(g.signer[0].kid, "app-2026", sizeof("app-2026"));
	memset(seed, SIGNER_SEED, sizeof(seed));
	crypto_sign_seed_keypair(g.signer[0].public_key, unused, seed);
	g.signer[0].not_before_s = NOW;
	g.signer[0].not_after_s = NOW + 365 * 86400;
	return g;
}

static json_t *grant_vector(struct buf *ret_grant)
{
	uint8_t seed[32], public_key[32], secret[64];
	struct grant g = make_grant(), back;
	json_t *o = json_object();

	memset(seed, AUTHORITY_KEY, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret, seed);
	must(grant_sign(&g, secret, ret_grant) == ERR_OK, "grant_sign");
	must(grant_verify(span_buf(ret_grant), span_lit(AUTHORITY), public_key, &back) == ERR_OK, "grant_verify");
	set_text(o, "authority", span_lit(AUTHORITY));
	set_hex(o, "public_key", span_of(public_key, sizeof(public_key)));
	set_hex(o, "bytes", span_buf(ret_grant));
	return o;
}

static void check_bundle(struct span unmade, const uint8_t data_key[32], const uint8_t hash[32], struct span signers,
			 json_t *o)
{
	struct bundle_content content = { .ring = keyring_new() };
	struct buf whole, plain;
	struct bundle b;

	buf_init(&whole, BUNDLE_MAX);
	buf_add_span(&whole, unmade);
	must(bundle_finish(span_lit("a document"), &whole) == ERR_OK, "bundle_finish");
	must(bundle_parse(span_buf(&whole), &b) == ERR_OK, "bundle_parse");
	must(memcmp(hash, b.hash, sizeof(b.hash)) == 0, "hash");
	secret_arena(&plain, BUNDLE_PLAIN_MAX);
	must(bundle_open(&b, data_key, &plain, &content) == ERR_OK, "bundle_open");
	must(keyring_count(content.ring) == KEYRING_PROFILES && span_eq(content.signers, signers), "content");
	set_hex(o, "header", b.header);
	set_hex(o, "plaintext", span_buf(&plain));
	secret_arena_free(&plain);
	keyring_free(content.ring);
	buf_clear(&whole);
}

static json_t *bundle_vector(struct keyring *r, struct span signers)
{
	const struct bundle_content content = { .ring = r, .signers = signers };
	uint8_t data_key[KMS_DATA_KEY], wrapped[16], hash[BUNDLE_HASH_SIZE];
	struct bundle b = {
		.environment = span_lit("sandbox"), .queue = span_lit("q"), .kms_key = span_lit(KMS_KEY), .version = 2
	};
	json_t *o = json_object();
	struct buf unmade;

	memset(data_key, DATA_KEY, sizeof(data_key));
	memset(wrapped, 0x66, sizeof(wrapped));
	b.wrapped = span_of(wrapped, sizeof(wrapped));
	buf_init(&unmade, BUNDLE_MAX);
	must(bundle_seal(&b, &content, data_key, &unmade, hash) == ERR_OK, "bundle_seal");
	set_hex(o, "data_key", span_of(data_key, sizeof(data_key)));
	check_bundle(span_buf(&unmade), data_key, hash, signers, o);
	set_hex(o, "unmade", span_buf(&unmade));
	set_hex(o, "hash", span_of(hash, sizeof(hash)));
	buf_clear(&unmade);
	return o;
}

int main(void)
{
	struct keyring *ring;
	struct buf grant;
	json_t *all;

	must(randombytes_set_implementation(&fixed_generator) == 0, "generator");
	must(secret_init() == ERR_OK, "secret_init");
	ring = make_ring();
	buf_init(&grant, GRANT_MAX);
	all = json_object(); /* not before secret_init(), which chooses jansson's allocator */
	set_text(all, "note", span_lit("Throw-away keys. Binary values in hex."));
	json_object_set_new(all, "now", json_integer(NOW));
	json_object_set_new(all, "secret", secret_vector(ring));
	json_object_set_new(all, "grant", grant_vector(&grant));
	json_object_set_new(all, "bundle", bundle_vector(ring, span_buf(&grant)));
	must(json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER) == 0, "output");
	putchar('\n');
	json_decref(all);
	buf_clear(&grant);
	keyring_free(ring);
	return 0;
}
