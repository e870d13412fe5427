/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"

static json_t *load_vectors(void)
{
	json_t *o = json_load_file("tests/vectors/witness-vectors.json", 0, NULL);

	assert_non_null(o);
	return o;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	assert_non_null(s);
	return s;
}

static void witness_json(struct buf *out, const char *ciphertext, const char *nonce, const char *point, const char *kid)
{
	buf_add_str(out, "{\"ciphertext\":\"");
	buf_add_str(out, ciphertext);
	buf_add_str(out, "\",\"nonce\":\"");
	buf_add_str(out, nonce);
	buf_add_str(out, "\",\"ephemeralPublicKey\":\"");
	buf_add_str(out, point);
	buf_add_str(out, "\",\"teeKeyId\":\"");
	buf_add_str(out, kid);
	buf_add_str(out, "\"}");
	assert_err(buf_ok(out), ERR_OK);
}

static void check_vector(const json_t *all, const json_t *v)
{
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf json, plain, nonce, resealed;
	uint8_t eph[32], shared[32];
	const char(*one)[65];

	buf_init(&json, ENVELOPE_MAX);
	buf_init(&nonce, 24);
	buf_init(&resealed, ENVELOPE_MAX);
	secret_arena(&plain, ARENA);
	witness_json(&json, text_of(v, "ciphertext_b64"), text_of(all, "nonce_b64"), text_of(all, "ephemeralPublicKey"),
		     text_of(all, "keyId"));
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&json), &e), ERR_OK);
	assert_string_equal(e.kid, text_of(all, "keyId"));
	assert_err(open_any(&e, &k, &plain), ERR_OK);
	assert_span_eq_str(span_buf(&plain), text_of(all, "plaintext_utf8"));
	assert_true(sodium_is_zero(plain.p + plain.n, plain.cap - plain.n) == 1);

	/* Only its own context opens it. */
	assert_int_equal(crypto_scalarmult(shared, k.ring_secret, e.point), 0);
	for (size_t i = 0; i < 3; i++) {
		bool mine = strcmp(contexts[i], text_of(v, "context")) == 0;

		one = &contexts[i];
		assert_err(envelope_open_witness(&e, shared, one, 1, &plain), mine ? ERR_OK : ERR_ENVELOPE_OPEN);
		assert_true(mine || (plain.n == 0 && all_zero(&plain)));
	}
	assert_err(text_unhex(span_str(text_of(all, "ephemeral_secret_hex")), eph, 32), ERR_OK);
	assert_err(text_unbase64(span_str(text_of(all, "nonce_b64")), &nonce), ERR_OK);
	assert_err(envelope_seal_witness(span_str(text_of(all, "plaintext_utf8")), k.ring_public, RING_KID,
					 text_of(v, "context"), eph, nonce.p, &resealed),
		   ERR_OK);
	assert_true(span_eq(span_buf(&resealed), span_buf(&json)));
	secret_arena_free(&plain);
	buf_clear(&json);
	buf_clear(&nonce);
	buf_clear(&resealed);
}

static void test_witness_vectors(void **state)
{
	json_t *all = load_vectors();
	const json_t *list = json_object_get(all, "vectors");

	(void)state;
	assert_int_equal(json_array_size(list), 3);
	for (size_t i = 0; i < json_array_size(list); i++)
		check_vector(all, json_array_get(list, i));
	json_decref(all);
}

#define B64_17 "AAAAAAAAAAAAAAAAAAAAAAA="
#define B64_24 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define HEX_32 "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"

static enum err parse_members(const char *ciphertext, const char *nonce, const char *point, const char *kid)
{
	struct envelope e;
	struct buf b;
	enum err err;

	buf_init(&b, ENVELOPE_MAX);
	witness_json(&b, ciphertext, nonce, point, kid);
	err = envelope_parse(JOB_WITNESS, span_buf(&b), &e);
	buf_clear(&b);
	return err;
}

static enum err parse_json(const char *json)
{
	struct envelope e;

	return envelope_parse(JOB_WITNESS, span_str(json), &e);
}

static void test_witness_members(void **state)
{
	static const char upper[] = "0FAA684ED28867B97F4A6A2DEE5DF8CE974E76B7018E3F22A1C4CF2678570F20";
	char kid[66];

	(void)state;
	assert_err(parse_members(B64_17, B64_24, "0x" HEX_32, RING_KID), ERR_OK);
	assert_err(parse_members(B64_17, B64_24, HEX_32, RING_KID), ERR_OK);
	assert_err(parse_members(B64_17, B64_24, upper, RING_KID), ERR_OK);
	assert_err(parse_members(B64_17, B64_24, "0X" HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32 "00", RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, "0x", RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, "", RING_KID), ERR_ENVELOPE_SYNTAX);
	/* nonce: 24 bytes of canonical base64 */
	assert_err(parse_members(B64_17, B64_17, HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24 "AAAA", HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, "", HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, "-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
	/* teeKeyId: 1 to 64 printable characters */
	memset(kid, 'k', sizeof(kid));
	kid[64] = '\0';
	assert_err(parse_members(B64_17, B64_24, HEX_32, kid), ERR_OK);
	kid[64] = 'k';
	kid[65] = '\0';
	assert_err(parse_members(B64_17, B64_24, HEX_32, kid), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32, ""), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32, "k\xc3\xab"), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32, "k\\u007f"), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32, "k\\n"), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_members(B64_17, B64_24, HEX_32, "k\\u006b"), ERR_OK);
}

static void test_witness_base64(void **state)
{
	static const char *const good[] = { "AAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAA",
					    "AAAAAAAAAAAAAAAAAAAAAAAAAw==", "+/AAAAAAAAAAAAAAAAAAAAA8" };
	static const char *const bad[] = {
		"",
		"AAAAAAAAAAAAAAAAAAAAAA==", /* 16 bytes: the tag alone */
		"AAAAAAAAAAAAAAAAAAAAAAA",  /* no padding */
		"AAAAAAAAAAAAAAAAAAAAAAB=", /* stray bits */
		"AAAAAAAAAAAAAAAAAAAAAAAAAx==",
		"AAAAAAAAAAAAAAAAAAAAAAAAA===",
		"AAAAAAAAAAAAAAAAAAAA====",
		"AAAAAAAAAAA=AAAAAAAAAAA=",
		"_-AAAAAAAAAAAAAAAAAAAAA8", /* the URL alphabet */
		"AAAAAAAAAAAA AAAAAAAAAAA",
		"\\u0041AAAAAAAAAAAAAAAAAAAAAA=", /* escapes are JSON, but not this format */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_err(parse_members(good[i], B64_24, HEX_32, RING_KID), ERR_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(parse_members(bad[i], B64_24, HEX_32, RING_KID), ERR_ENVELOPE_SYNTAX);
}

static void test_witness_json(void **state)
{
	(void)state;
	assert_err(parse_json(" {\"teeKeyId\":\"k\",\"nonce\":\"" B64_24 "\", \"ephemeralPublicKey\":\"" HEX_32
			      "\",\"ciphertext\":\"" B64_17 "\"}\n"),
		   ERR_OK);
	assert_err(parse_json("{\"teeKeyId\":\"k\",\"nonce\":\"" B64_24 "\",\"ephemeralPublicKey\":\"" HEX_32
			      "\",\"ciphertext\":\"" B64_17 "\",\"v\":1}"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("{\"teeKeyId\":\"k\",\"teeKeyId\":\"k\",\"nonce\":\"" B64_24
			      "\",\"ephemeralPublicKey\":\"" HEX_32 "\",\"ciphertext\":\"" B64_17 "\"}"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("{\"teeKeyId\":\"k\",\"nonce\":\"" B64_24 "\",\"ephemeralPublicKey\":\"" HEX_32
			      "\",\"cipher\":\"" B64_17 "\"}"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("{\"teeKeyId\":1,\"nonce\":\"" B64_24 "\",\"ephemeralPublicKey\":\"" HEX_32
			      "\",\"ciphertext\":\"" B64_17 "\"}"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("{\"teeKeyId\":\"k\",\"nonce\":null,\"ephemeralPublicKey\":\"" HEX_32
			      "\",\"ciphertext\":\"" B64_17 "\"}"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("{\"teeKeyId\":\"k\",\"nonce\":\"" B64_24 "\",\"ephemeralPublicKey\":\"" HEX_32
			      "\",\"ciphertext\":\"" B64_17 "\"} x"),
		   ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("[\"a\",\"b\",\"c\",\"d\"]"), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json("\"a\""), ERR_ENVELOPE_SYNTAX);
	assert_err(parse_json(""), ERR_ENVELOPE_SYNTAX);
}

/* A witness envelope does not bind its key id, and nothing but its four values. */
static void test_witness_flips(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e, good;
	struct buf b, plain;

	(void)state;
	buf_init(&b, ENVELOPE_MAX);
	secret_arena(&plain, ARENA);
	seal_sample(JOB_WITNESS, &k, span_lit("the plaintext"), &b);
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&b), &good), ERR_OK);
	for (size_t i = 0; i < b.n; i++) {
		enum err err;

		b.p[i] ^= 0x01;
		err = envelope_parse(JOB_WITNESS, span_buf(&b), &e);
		if (err == ERR_OK && strcmp(e.kid, good.kid) == 0)
			err = open_any(&e, &k, &plain);
		assert_true(refusal(err) || strcmp(e.kid, good.kid) != 0);
		b.p[i] ^= 0x01;
	}
	secret_arena_free(&plain);
	buf_clear(&b);
}

/* The plaintext has a limit of its own, below what fits into an envelope. */
static void test_ciphertext_limit(void **state)
{
	size_t n = (ENVELOPE_PLAIN_MAX + 16) / 3 * 4;
	char *text = xmalloc(n + 5);

	(void)state;
	assert_int_equal((ENVELOPE_PLAIN_MAX + 16) % 3, 2);
	memset(text, 'A', n + 4);
	text[n + 3] = '=';
	text[n + 4] = '\0';
	assert_err(parse_members(text, B64_24, HEX_32, RING_KID), ERR_OK);
	text[n + 3] = 'A';
	assert_err(parse_members(text, B64_24, HEX_32, RING_KID), ERR_ENVELOPE_TOO_LARGE);
	free(text);
}

static void test_contexts(void **state)
{
	static const char odd[4][65] = {
		"too-short",
		"",
		"voter-protocol-witness-encryption-v2",
		"4444444444444444444444444444444444444444444444444444444444444444",
	};
	char unterminated[1][65];
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf b, plain;
	uint8_t shared[32];

	(void)state;
	memset(unterminated, 'x', sizeof(unterminated));
	buf_init(&b, ENVELOPE_MAX);
	secret_arena(&plain, ARENA);
	seal_sample(JOB_WITNESS, &k, span_lit("plain"), &b);
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&b), &e), ERR_OK);
	assert_int_equal(crypto_scalarmult(shared, k.ring_secret, e.point), 0);
	assert_err(envelope_open_witness(&e, shared, contexts, 0, &plain), ERR_ENVELOPE_OPEN);
	assert_err(envelope_open_witness(&e, shared, odd, 4, &plain), ERR_ENVELOPE_OPEN);
	assert_err(envelope_open_witness(&e, shared, (const char(*)[65])unterminated, 1, &plain), ERR_ENVELOPE_OPEN);
	assert_err(envelope_open_witness(&e, shared, contexts, 1, &plain), ERR_OK);
	buf_clear(&b);
	buf_init(&b, ENVELOPE_MAX);
	assert_err(envelope_seal_witness(span_lit("p"), k.ring_public, RING_KID, "too-short", NULL, NULL, &b),
		   ERR_RANGE);
	assert_err(envelope_seal_witness(span_lit("p"), k.ring_public, "", CONTEXT_1, NULL, NULL, &b), ERR_RANGE);
	buf_clear(&b);
	secret_arena_free(&plain);
}

static void test_witness_half_arena(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf b, plain;

	(void)state;
	buf_init(&b, ENVELOPE_MAX);
	secret_arena(&plain, 48);
	seal_sample(JOB_WITNESS, &k, span_lit("a plaintext of 32 bytes, exactly"), &b);
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&b), &e), ERR_OK);
	/* Room for the ciphertext, none for the plaintext beside it. */
	assert_err(open_any(&e, &k, &plain), ERR_ENVELOPE_OPEN);
	secret_arena_free(&plain);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_witness_vectors), cmocka_unit_test(test_witness_members),
		cmocka_unit_test(test_witness_base64),  cmocka_unit_test(test_witness_json),
		cmocka_unit_test(test_witness_flips),   cmocka_unit_test(test_ciphertext_limit),
		cmocka_unit_test(test_contexts),        cmocka_unit_test(test_witness_half_arena),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
