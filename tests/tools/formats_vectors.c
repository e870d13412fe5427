/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints test vectors for every format of queue/FORMATS.md, made with fixed keys: the same text at
 * every run. The committed output is tests/vectors/formats.json; tests/it/test_formats.py compares
 * it with this program and with an implementation in another language. Everything that is printed
 * has been read back and accepted by the worker's own code.
 */
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/grant.h"
#include "attest/receipt.h"
#include "attest/statement.h"
#include "cwc/cwc.h"
#include "queue/envelope.h"
#include "queue/witness.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define APP_KID   "app-2026"
#define RING_KID  "wek-7b4e909bbe7ffe44"
#define CONTEXT   "voter-protocol-witness-encryption-v1"
#define NOW       1800000000
#define EXPIRES   (NOW + 86400)
#define HOUR      3600
#define DAY       86400
#define EPHEMERAL 0x22
#define ARENA     (ENVELOPE_PLAIN_MAX + ENVELOPE_MAX)

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "formats_vectors: %s\n", what);
		exit(1);
	}
}

/* The receipt key is made from the random generator, as it must be; here that gives one value. */
static void same_bytes(void *const p, const size_t n)
{
	memset(p, 0x44, n);
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

struct keys {
	uint8_t app_seed[32], app_public[32], app_secret[64];
	uint8_t ring_secret[32], ring_public[32];
	uint8_t eph_secret[32], nonce[24];
};

static struct keys make_keys(void)
{
	struct keys k;

	memset(k.app_seed, 0x33, sizeof(k.app_seed));
	crypto_sign_seed_keypair(k.app_public, k.app_secret, k.app_seed);
	memset(k.ring_secret, 0x11, sizeof(k.ring_secret));
	must(crypto_scalarmult_base(k.ring_public, k.ring_secret) == 0, "ring key");
	memset(k.eph_secret, EPHEMERAL, sizeof(k.eph_secret));
	for (size_t i = 0; i < sizeof(k.nonce); i++)
		k.nonce[i] = (uint8_t)(0xa0 + i);
	return k;
}

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

static void add_pair(struct buf *b, const char *key, const char *value)
{
	cbor_add_str(b, key);
	cbor_add_str(b, value);
}

/* The clear part. Keys in deterministic order: by length, then bytewise. */
static void add_fields(struct buf *b)
{
	cbor_add_map(b, 3);
	add_pair(b, "Subject", "Keep the night train");
	add_pair(b, "CampaignId", "night-train-2027");
	cbor_add_str(b, "LibraryOfCongressTopics");
	cbor_add_array(b, 1);
	cbor_add_str(b, "Transportation and Public Works");
}

static void add_bill(struct buf *b)
{
	cbor_add_str(b, "Bills");
	cbor_add_array(b, 1);
	cbor_add_map(b, 3);
	add_pair(b, "BillNumber", "1234");
	add_pair(b, "BillCongress", "119");
	add_pair(b, "BillTypeAbbreviation", "hr");
}

/* The sealed part of a letter. */
static void add_letter(struct buf *b)
{
	cbor_add_map(b, 11);
	add_pair(b, "Zip", "62701");
	add_pair(b, "City", "Springfield");
	add_bill(b);
	add_pair(b, "Email", "zoe@example.invalid");
	add_pair(b, "Phone", "217-555-0100");
	add_pair(b, "Prefix", "Ms.");
	add_pair(b, "Address1", "1 Example St");
	add_pair(b, "LastName", "Example");
	add_pair(b, "FirstName", "Zo\xc3\xab");
	add_pair(b, "StateAbbreviation", "IL");
	add_pair(b, "ConstituentMessage", "Please keep the night train.\nIt is how we visit our family.");
}

static const char witness_json[] =
	"{\"nullifier\":\"0x04\",\"actionDomain\":\"0x05\",\"userSecret\":\"0x07\",\"deliveryAddress\":{\"name\":"
	"\"Zo\xc3\xab Example\",\"email\":\"zoe@example.invalid\",\"street\":\"1 Example St\",\"city\":\"Springfield\","
	"\"state\":\"IL\",\"zip\":\"62701\",\"phone\":\"2175550100\"}}";

static struct job make_job(enum job_profile profile, struct span fields, struct span envelope)
{
	struct job j = { 0 };

	j.environment = span_lit("sandbox");
	j.queue = span_lit("q");
	j.sid = span_str(profile == JOB_LETTER ? "letter_0001" : "witness_0001");
	j.office[0] = span_lit("HIL13");
	j.office[1] = span_lit("SIL02");
	j.n_offices = 2;
	j.generation = profile == JOB_LETTER ? 0 : 1;
	j.expires_s = EXPIRES;
	j.not_before_s = profile == JOB_LETTER ? NOW : 0;
	j.priority = profile == JOB_LETTER ? 0 : 1;
	j.profile = profile;
	j.fields = fields;
	j.envelope = envelope;
	if (profile == JOB_WITNESS) {
		j.nullifier = span_lit("0x04");
		j.action_domain = span_lit("0x05");
	}
	return j;
}

static void check_letter(struct span fields, struct span sealed)
{
	struct cwc_letter l;
	enum cwc_field f;

	cwc_letter_init(&l);
	must(cwc_letter_read(fields, true, &l, &f) == ERR_OK, "clear fields");
	must(cwc_letter_read(sealed, false, &l, &f) == ERR_OK, "sealed fields");
}

/* Goes the worker's way with the finished job. */
static void check_job(const struct keys *k, struct span bytes, struct span plaintext)
{
	static const char context[1][65] = { CONTEXT };
	struct job_signer signer = { .kid = APP_KID };
	struct job_expect x = { .signer = &signer, .n_signers = 1, .now_s = NOW };
	struct envelope e;
	struct witness w;
	struct buf plain;
	struct job j;
	const char *member;
	uint8_t shared[32];

	memcpy(signer.public_key, k->app_public, sizeof(signer.public_key));
	must(job_parse(bytes, &j, &member) == ERR_OK, "job_parse");
	x.environment = span_lit("sandbox");
	x.queue = span_lit("q");
	x.sid = j.sid;
	x.office = span_lit("SIL02");
	must(job_verify(&j, &x) == ERR_OK, "job_verify");
	must(envelope_parse(j.profile, j.envelope, &e) == ERR_OK, "envelope_parse");
	must(envelope_bound(&e, &j) == ERR_OK, "envelope_bound");
	must(crypto_scalarmult(shared, k->ring_secret, e.point) == 0, "shared secret");
	secret_arena(&plain, ARENA);
	if (j.profile == JOB_LETTER) {
		must(envelope_open_letter(&e, shared, k->ring_public, &plain) == ERR_OK, "open");
		must(span_eq(span_buf(&plain), plaintext), "plaintext");
		check_letter(j.fields, span_buf(&plain));
	} else {
		must(envelope_open_witness(&e, shared, context, 1, &plain) == ERR_OK, "open");
		must(span_eq(span_buf(&plain), plaintext), "plaintext");
		must(witness_read(&plain, &w) == ERR_OK, "witness_read");
		must(witness_bound(&w, j.nullifier, j.action_domain) == ERR_OK, "witness_bound");
	}
	secret_arena_free(&plain);
}

static json_t *letter_vector(const struct keys *k)
{
	json_t *o = json_object();
	struct buf fields, plain, envelope, job;
	struct job j;

	buf_init(&fields, JOB_MAX);
	buf_init(&plain, ENVELOPE_PLAIN_MAX);
	buf_init(&envelope, ENVELOPE_MAX);
	buf_init(&job, JOB_MAX);
	add_fields(&fields);
	add_letter(&plain);
	j = make_job(JOB_LETTER, span_buf(&fields), span_of(NULL, 0));
	must(envelope_seal_letter(span_buf(&plain), k->ring_public, RING_KID, &j, k->eph_secret, &envelope) == ERR_OK,
	     "seal letter");
	j.envelope = span_buf(&envelope);
	must(job_sign(&j, span_lit(APP_KID), k->app_secret, &job) == ERR_OK, "sign letter");
	check_job(k, span_buf(&job), span_buf(&plain));
	set_hex(o, "fields", span_buf(&fields));
	set_hex(o, "plaintext", span_buf(&plain));
	set_hex(o, "envelope", span_buf(&envelope));
	set_hex(o, "job", span_buf(&job));
	buf_clear(&fields);
	buf_clear(&plain);
	buf_clear(&envelope);
	buf_clear(&job);
	return o;
}

static json_t *witness_vector(const struct keys *k)
{
	json_t *o = json_object();
	struct span plain = span_str(witness_json);
	struct buf fields, envelope, job;
	struct job j;

	buf_init(&fields, JOB_MAX);
	buf_init(&envelope, ENVELOPE_MAX);
	buf_init(&job, JOB_MAX);
	add_fields(&fields);
	must(envelope_seal_witness(plain, k->ring_public, RING_KID, CONTEXT, k->eph_secret, k->nonce, &envelope) ==
		     ERR_OK,
	     "seal witness");
	j = make_job(JOB_WITNESS, span_buf(&fields), span_buf(&envelope));
	must(job_sign(&j, span_lit(APP_KID), k->app_secret, &job) == ERR_OK, "sign witness");
	check_job(k, span_buf(&job), plain);
	set_text(o, "context", span_lit(CONTEXT));
	set_text(o, "plaintext", plain);
	set_text(o, "envelope", span_buf(&envelope));
	set_hex(o, "job", span_buf(&job));
	buf_clear(&fields);
	buf_clear(&envelope);
	buf_clear(&job);
	return o;
}

static struct receipt make_receipt(bool sent, const uint8_t document[32])
{
	struct receipt r = {
		.environment = span_lit("sandbox"),
		.queue = span_lit("q"),
		.sid = span_lit("letter_0001"),
		.office = span_lit("HIL13"),
	};

	r.outcome = span_str(sent ? "accepted" : "expired");
	if (sent) {
		r.delivery_id = span_lit("00112233445566778899aabbccddeeff");
		r.attempt = 2;
		r.http_status = 200;
		r.begun_ms = (int64_t)NOW * 1000 + 123;
		r.ended_ms = (int64_t)NOW * 1000 + 456;
		r.document = span_of(document, 32);
	}
	return r;
}

static void set_receipt(json_t *o, const char *name, const struct receipt_key *k, bool sent)
{
	uint8_t document[32];
	struct receipt in, out;
	struct buf b;

	memset(document, 0x55, sizeof(document));
	in = make_receipt(sent, document);
	buf_init(&b, RECEIPT_MAX);
	receipt_sign(k, &in, &b);
	must(buf_ok(&b) == ERR_OK, "receipt_sign");
	must(receipt_verify(span_buf(&b), receipt_key_public(k), &out) == ERR_OK, "receipt_verify");
	set_hex(o, name, span_buf(&b));
	buf_clear(&b);
}

static json_t *receipt_vector(void)
{
	struct receipt_key *k = receipt_key_new();
	json_t *o = json_object();

	set_text(o, "kid", span_str(receipt_key_id(k)));
	set_hex(o, "public_key", span_of(receipt_key_public(k), 32));
	set_receipt(o, "sent", k, true);
	set_receipt(o, "never_sent", k, false);
	receipt_key_free(k);
	return o;
}

/* A ring of five keys, as a rotation at NOW leaves it; secrets of 32 bytes 0x11 to 0x15. */
static struct keyring *make_ring(void)
{
	static const enum keyring_profile profile[] = { KEYRING_WITNESS, KEYRING_LETTER, KEYRING_SECRET,
							KEYRING_WITNESS, KEYRING_LETTER };
	static const struct keyring_times t[] = {
		{ NOW - 30 * DAY, NOW - 30 * DAY, NOW + HOUR, NOW + HOUR + 31 * DAY },
		{ NOW - 30 * DAY, NOW - 30 * DAY, NOW + HOUR, NOW + HOUR + 31 * DAY },
		{ NOW - 30 * DAY, NOW - 30 * DAY, 0, 0 },
		{ NOW, NOW + HOUR, 0, 0 },
		{ NOW, NOW + HOUR, 0, 0 },
	};
	static const char *const context[] = { CONTEXT }, *const own[] = { "commons-witness-encryption-v1" };
	struct keyring *r = keyring_new();

	must(keyring_default_contexts(r, context, 1) == ERR_OK, "contexts");
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t secret[32];

		memset(secret, 0x11 + (int)i, sizeof(secret));
		must(keyring_add(r, profile[i], secret, own, i == 0 ? 1 : 0, &t[i]) == ERR_OK, "ring");
	}
	return r;
}

static void set_ring(json_t *o, const struct keyring *r, struct buf *keys)
{
	struct keyring *back = keyring_new();
	struct buf b;

	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write(r, &b);
	must(keyring_read(back, span_buf(&b)) == ERR_OK && keyring_count(back) == keyring_count(r), "keyring_read");
	set_hex(o, "ring", span_buf(&b));
	keyring_write_public(r, keys);
	set_hex(o, "keys", span_buf(keys));
	buf_clear(&b);
	keyring_free(back);
}

/* The example of section 11, of which the statement has the hash. */
static void hash_grant(uint8_t ret_hash[STATEMENT_GRANT_SIZE])
{
	struct grant g = { .environment = span_lit("sandbox"),
			   .queue = span_lit("q"),
			   .authority = span_lit("authority-1"),
			   .serial = 3,
			   .n_signers = 1 };
	uint8_t seed[32], public_key[32], secret[64];
	struct buf b;

	memcpy(g.signer[0].kid, APP_KID, sizeof(APP_KID));
	memcpy(g.signer[0].public_key, make_keys().app_public, 32);
	g.signer[0].not_before_s = NOW;
	g.signer[0].not_after_s = NOW + 365 * DAY;
	memset(seed, 0x99, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret, seed);
	buf_init(&b, GRANT_MAX);
	must(grant_sign(&g, secret, &b) == ERR_OK, "grant_sign");
	crypto_hash_sha256(ret_hash, b.p, b.n);
	buf_clear(&b);
}

static json_t *statement_vector(void)
{
	uint8_t grant[STATEMENT_GRANT_SIZE];
	struct receipt_key *k = receipt_key_new();
	struct keyring *r = make_ring();
	uint8_t hash[STATEMENT_HASH_SIZE];
	json_t *o = json_object();
	struct statement s, back;
	struct buf keys, b;

	buf_init(&keys, KEYRING_WRITTEN_MAX);
	buf_init(&b, STATEMENT_MAX);
	set_ring(o, r, &keys);
	hash_grant(grant);
	s = (struct statement){ .environment = span_lit("sandbox"),
				.queue = span_lit("q"),
				.release = span_lit("1.0.0"),
				.bundle = 2,
				.grant = span_of(grant, sizeof(grant)),
				.receipt_key_id = span_str(receipt_key_id(k)),
				.keys = span_buf(&keys) };
	memcpy(s.receipt_key, receipt_key_public(k), sizeof(s.receipt_key));
	must(statement_write(&s, &b) == ERR_OK, "statement_write");
	must(statement_read(span_buf(&b), &back) == ERR_OK, "statement_read");
	statement_hash(span_buf(&b), hash);
	set_hex(o, "bytes", span_buf(&b));
	set_hex(o, "hash", span_of(hash, sizeof(hash)));
	buf_clear(&keys);
	buf_clear(&b);
	keyring_free(r);
	receipt_key_free(k);
	return o;
}

static json_t *keys_vector(const struct keys *k)
{
	json_t *o = json_object();

	set_text(o, "app_kid", span_lit(APP_KID));
	set_hex(o, "app_seed", span_of(k->app_seed, 32));
	set_hex(o, "app_public", span_of(k->app_public, 32));
	set_text(o, "ring_kid", span_lit(RING_KID));
	set_hex(o, "ring_secret", span_of(k->ring_secret, 32));
	set_hex(o, "ring_public", span_of(k->ring_public, 32));
	set_hex(o, "ephemeral_secret", span_of(k->eph_secret, 32));
	set_hex(o, "nonce", span_of(k->nonce, 24));
	return o;
}

int main(void)
{
	struct keys k;
	json_t *all;

	must(randombytes_set_implementation(&fixed_generator) == 0, "generator");
	must(secret_init() == ERR_OK, "secret_init");
	k = make_keys();
	all = json_object(); /* not before secret_init(), which chooses jansson's allocator */
	set_text(all, "note", span_lit("Throw-away keys. Binary values in hex. The verifying clock stands at `now`."));
	json_object_set_new(all, "now", json_integer(NOW));
	json_object_set_new(all, "keys", keys_vector(&k));
	json_object_set_new(all, "letter", letter_vector(&k));
	json_object_set_new(all, "witness", witness_vector(&k));
	json_object_set_new(all, "receipt", receipt_vector());
	json_object_set_new(all, "statement", statement_vector());
	must(json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER) == 0, "output");
	putchar('\n');
	json_decref(all);
	return 0;
}
