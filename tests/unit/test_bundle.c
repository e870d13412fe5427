/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/bundle_fixture.h"

/* --- there and back --------------------------------------------------------------------------- */

static void assert_same_ring(const struct keyring *a, const struct keyring *b)
{
	static const uint8_t point[32] = { 9 };

	assert_int_equal(keyring_count(a), keyring_count(b));
	for (size_t i = 0; i < keyring_count(a); i++) {
		const struct keyring_key *x = keyring_at(a, i), *y = keyring_at(b, i);
		uint8_t dh_x[32], dh_y[32];

		assert_string_equal(x->id, y->id);
		assert_int_equal(x->profile, y->profile);
		assert_memory_equal(&x->times, &y->times, sizeof(x->times));
		assert_err(keyring_dh(a, x, point, dh_x), ERR_OK);
		assert_err(keyring_dh(b, y, point, dh_y), ERR_OK);
		assert_memory_equal(dh_x, dh_y, sizeof(dh_x));
	}
}

static void round_trip(bool with_signers)
{
	struct authority a = authority_fixed(AUTHORITY_SEED);
	struct keyring *ring = ring_fixed(), *opened = keyring_new();
	struct bundle_content content = { .ring = opened };
	struct grant g = grant_sample(), read;
	struct buf whole, plain, grant;
	struct bundle b;
	struct maker m;

	maker_start(&m, NULL);
	buf_init(&grant, GRANT_MAX);
	if (with_signers)
		assert_err(grant_sign(&g, a.secret, &grant), ERR_OK);
	bundle_make(&m, &(struct bundle_content){ .ring = ring, .signers = span_buf(&grant) }, 5, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	assert_true(span_eq(b.environment, SANDBOX) && span_eq(b.queue, QUEUE) && span_eq_str(b.kms_key, KMS_KEY));
	assert_true(span_eq(b.wrapped, WRAPPED));
	assert_int_equal(b.version, 5);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS), ATTEST_OK);
	secret_arena(&plain, BUNDLE_PLAIN_MAX);
	assert_err(bundle_open(&b, data_key, &plain, &content), ERR_OK);
	assert_same_ring(ring, opened);
	assert_true(span_eq(content.signers, span_buf(&grant)));
	if (with_signers)
		assert_err(grant_verify(content.signers, span_lit(AUTHORITY_KID), a.public_key, &read), ERR_OK);
	secret_arena_free(&plain);
	buf_clear(&whole);
	buf_clear(&grant);
	maker_stop(&m);
	keyring_free(ring);
	keyring_free(opened);
}

static void test_round_trip(void **state)
{
	(void)state;
	round_trip(false);
	round_trip(true);
}

/* The most of everything fits. */
static void test_largest(void **state)
{
	struct keyring *ring = keyring_new();
	struct bundle b = { .environment = span_lit("production"), .version = BUNDLE_VERSION_MAX }, read;
	struct bundle_content content = { .ring = ring };
	char queue[64], arn[KMS_ARN_MAX], context[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1] = { 0 };
	const char *list[KEYRING_CONTEXTS_MAX];
	uint8_t wrapped[KMS_BLOB_MAX] = { 0 }, hash[BUNDLE_HASH_SIZE], secret[32];
	struct buf whole, plain, signers;

	(void)state;
	memset(queue, 'q', sizeof(queue));
	memset(arn, 'k', sizeof(arn));
	for (size_t i = 0; i < KEYRING_CONTEXTS_MAX; i++)
		list[i] = memset(context[i], 'a' + (int)i, KEYRING_CONTEXT_MAX);
	for (unsigned i = 0; i < KEYRING_KEYS_MAX; i++) {
		memset(secret, (int)i + 1, sizeof(secret));
		assert_err(keyring_add(ring, KEYRING_WITNESS, secret, list, KEYRING_CONTEXTS_MAX,
				       &(struct keyring_times){ 4000000000, 4000000001, 4000000002, 4000000003 }),
			   ERR_OK);
	}
	b.queue = span_of(queue, sizeof(queue));
	b.kms_key = span_of(arn, sizeof(arn));
	b.wrapped = span_of(wrapped, sizeof(wrapped));
	buf_init(&signers, GRANT_MAX);
	add_hex(&signers, "d2590ffc"); /* a tagged byte string is no grant, but has the size of the largest */
	buf_add_span(&signers, repeated('s', GRANT_MAX - 4));
	content.signers = span_buf(&signers);
	buf_init(&whole, BUNDLE_MAX);
	assert_err(bundle_seal(&b, &content, data_key, &whole, hash), ERR_OK);
	assert_err(bundle_finish(repeated('d', ATTEST_DOCUMENT_MAX), &whole), ERR_OK);
	assert_err(bundle_parse(span_buf(&whole), &read), ERR_OK);
	assert_memory_equal(read.hash, hash, sizeof(hash));
	secret_arena(&plain, BUNDLE_PLAIN_MAX);
	content = (struct bundle_content){ .ring = keyring_new() };
	assert_err(bundle_open(&read, data_key, &plain, &content), ERR_OK);
	assert_same_ring(ring, content.ring);
	assert_int_equal(content.signers.n, GRANT_MAX);
	keyring_free(content.ring);
	keyring_free(ring);
	secret_arena_free(&plain);
	buf_clear(&whole);
	buf_clear(&signers);
}

/* --- what was changed ------------------------------------------------------------------------- */

static const uint8_t (*accepted_own)[ATTEST_PCR_SIZE];

/* All that a reader asks. The signature is asked last: it is what takes time. */
static bool accepted(struct span in, const void *arg)
{
	const struct bundle *genuine = arg;
	struct bundle b;
	bool opens;

	if (bundle_parse(in, &b) != ERR_OK)
		return false;
	opens = opens_with(&b, data_key) == ERR_OK;
	/* Where the maker is the same, the hash alone says what bundle_check_maker() will. */
	if (span_eq(b.maker, genuine->maker)) {
		assert_int_equal(opens, memcmp(b.hash, genuine->hash, sizeof(b.hash)) == 0);
		return opens;
	}
	assert_true(opens);
	return bundle_check_maker(&b, &attest_anchor_sim, accepted_own, NOW_MS) == ATTEST_OK;
}

static void test_every_byte_counts(void **state)
{
	struct bundle b;
	struct buf whole;
	struct maker m;

	(void)state;
	maker_start(&m, NULL);
	bundle_sample(&m, 5, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	accepted_own = m.own;
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS), ATTEST_OK);
	only_as_it_is(span_buf(&whole), false, accepted, &b);
	buf_clear(&whole);
	maker_stop(&m);
}

/* Sealed with the same data key, by the same maker, for the same queue: still no part of one goes with the other. */
static void test_parts_of_two(void **state)
{
	struct bundle x, y;
	struct buf one, two;
	struct maker m;

	(void)state;
	maker_start(&m, NULL);
	bundle_sample(&m, 5, &one);
	bundle_sample(&m, 6, &two);
	assert_err(bundle_parse(span_buf(&one), &x), ERR_OK);
	assert_err(bundle_parse(span_buf(&two), &y), ERR_OK);
	for (unsigned parts = 0; parts < 16; parts++) {
		struct bundle mixed;
		struct buf b;

		bundle_join(parts & 1 ? y.header : x.header, parts & 2 ? y.nonce : x.nonce,
			    parts & 4 ? y.sealed : x.sealed, parts & 8 ? y.maker : x.maker, &b);
		assert_err(bundle_parse(span_buf(&b), &mixed), ERR_OK);
		assert_code(bundle_check_maker(&mixed, &attest_anchor_sim, m.own, NOW_MS),
			    parts == 0 || parts == 15 ? ATTEST_OK : ATTEST_BINDING_USER_DATA);
		assert_err(opens_with(&mixed, data_key), (parts & 7) == 0 || (parts & 7) == 7 ? ERR_OK : ERR_CRYPTO);
		buf_clear(&b);
	}
	buf_clear(&one);
	buf_clear(&two);
	maker_stop(&m);
}

static void test_data_key(void **state)
{
	uint8_t other[KMS_DATA_KEY];
	struct bundle b;
	struct buf whole;
	struct maker m;

	(void)state;
	maker_start(&m, NULL);
	bundle_sample(&m, 5, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	assert_err(opens_with(&b, data_key), ERR_OK);
	for (size_t i = 0; i < sizeof(other); i++) {
		memcpy(other, data_key, sizeof(other));
		other[i] ^= 0x40;
		assert_err(opens_with(&b, other), ERR_CRYPTO);
	}
	buf_clear(&whole);
	maker_stop(&m);
}

/* A ring that somebody sealed who has the data key, and a document of a genuine enclave about another bundle. */
static void test_fresh(void **state)
{
	struct bundle x, y;
	struct buf one, two;
	struct maker m;

	(void)state;
	maker_start(&m, NULL);
	bundle_sample(&m, 5, &one);
	bundle_sample(&m, 5, &two);
	assert_err(bundle_parse(span_buf(&one), &x), ERR_OK);
	assert_err(bundle_parse(span_buf(&two), &y), ERR_OK);
	assert_true(span_eq(x.header, y.header));
	assert_false(span_eq(x.nonce, y.nonce));
	assert_false(span_eq(x.sealed, y.sealed));
	assert_memory_not_equal(x.hash, y.hash, sizeof(x.hash));
	buf_clear(&one);
	buf_clear(&two);
	maker_stop(&m);
}

/* --- the content ------------------------------------------------------------------------------ */

/* Encrypts any bytes as FORMATS.md says. */
static void content_gives(struct span plain, enum err expected)
{
	uint8_t nonce[24] = { 7 }, sealed[BUNDLE_PLAIN_MAX + 17];
	struct bundle b = { 0 };
	struct buf aad;

	buf_init(&aad, BUNDLE_MAX);
	buf_add_str(&aad, "cwc-bundle-v1");
	buf_add_str(&aad, "a header");
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, plain.p, plain.n, aad.p, aad.n, NULL, nonce, data_key);
	b.header = span_lit("a header");
	b.nonce = span_of(nonce, sizeof(nonce));
	b.sealed = span_of(sealed, plain.n + 16);
	assert_err(opens_with(&b, data_key), expected);
	buf_clear(&aad);
}

static void parts_give(const char *before, bool ring, const char *after, enum err expected)
{
	struct keyring *r = ring_fixed();
	struct buf b;

	buf_init(&b, BUNDLE_PLAIN_MAX);
	add_hex(&b, before);
	if (ring)
		keyring_write(r, &b);
	add_hex(&b, after);
	content_gives(span_buf(&b), expected);
	buf_clear(&b);
	keyring_free(r);
}

#define KEYS    "646b657973"
#define SIGNERS "677369676e657273"

static void test_contents(void **state)
{
	(void)state;
	parts_give("a1" KEYS, true, "", ERR_OK);
	parts_give("a2" KEYS, true, SIGNERS "d240", ERR_OK);
	/* no map, no keys, another member, out of order, twice, three, something behind */
	parts_give("", true, "", ERR_SYNTAX);
	parts_give("00", false, "", ERR_SYNTAX);
	parts_give("a0", false, "", ERR_SYNTAX);
	parts_give("a1" SIGNERS "d240", false, "", ERR_SYNTAX);
	parts_give("a1646b657974", true, "", ERR_SYNTAX);
	parts_give("a2" KEYS, true, "677369676e657274d240", ERR_SYNTAX);
	parts_give("a2" SIGNERS "d240" KEYS, true, "", ERR_SYNTAX);
	parts_give("a2" KEYS, true, KEYS "80", ERR_SYNTAX);
	parts_give("a3" KEYS, true,
		   SIGNERS "d240"
			   "687369676e657273"
			   "7800",
		   ERR_SYNTAX);
	parts_give("a1" KEYS, true, "00", ERR_SYNTAX);
	parts_give("a2" KEYS, true, SIGNERS "d24000", ERR_SYNTAX);
	parts_give("bf" KEYS, true, "ff", ERR_SYNTAX);
	parts_give("b801" KEYS, true, "", ERR_SYNTAX);
	/* signers that can be no grant: null, bytes, cut off */
	parts_give("a2" KEYS, true, SIGNERS "f6", ERR_SYNTAX);
	parts_give("a2" KEYS, true, SIGNERS "40", ERR_SYNTAX);
	parts_give("a2" KEYS, true, SIGNERS "d2", ERR_SYNTAX);
	parts_give("a2" KEYS, true, SIGNERS "d241", ERR_SYNTAX);
	/* keys that are no ring */
	parts_give("a1" KEYS "f6", false, "", ERR_SYNTAX);
	parts_give("a1" KEYS "8100", false, "", ERR_SYNTAX);
	parts_give("a1" KEYS "a0", false, "", ERR_SYNTAX);
}

static void test_signers_size(void **state)
{
	struct keyring *r = ring_fixed();

	(void)state;
	for (size_t n = GRANT_MAX; n <= GRANT_MAX + 1; n++) {
		struct buf b;

		buf_init(&b, BUNDLE_PLAIN_MAX);
		add_hex(&b, "a2" KEYS);
		keyring_write(r, &b);
		add_hex(&b, SIGNERS "d2");
		cbor_add_bytes(&b, repeated('s', n - 4));
		content_gives(span_buf(&b), n == GRANT_MAX ? ERR_OK : ERR_SYNTAX);
		buf_clear(&b);
	}
	keyring_free(r);
}

static void test_same_key_twice(void **state)
{
	struct keyring *r = keyring_new();
	struct buf one, b;

	(void)state;
	ring_add(r, KEYRING_LETTER, RING_SECRET);
	buf_init(&one, BUNDLE_PLAIN_MAX);
	keyring_write(r, &one);
	assert_int_equal(one.p[0], 0x81);
	buf_init(&b, BUNDLE_PLAIN_MAX);
	add_hex(&b, "a1" KEYS "82");
	buf_add(&b, one.p + 1, one.n - 1);
	buf_add(&b, one.p + 1, one.n - 1);
	content_gives(span_buf(&b), ERR_EXISTS);
	buf_clear(&one);
	buf_clear(&b);
	keyring_free(r);
}

static void test_no_room_to_open(void **state)
{
	struct bundle_content content = { .ring = keyring_new() };
	struct buf whole, small;
	struct bundle b;
	struct maker m;

	(void)state;
	maker_start(&m, NULL);
	bundle_sample(&m, 5, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	buf_init(&small, b.sealed.n - 17);
	assert_err(bundle_open(&b, data_key, &small, &content), ERR_LIMIT);
	assert_int_equal(small.n, 0);
	assert_int_equal(keyring_count(content.ring), 0);
	buf_clear(&small);
	buf_clear(&whole);
	keyring_free(content.ring);
	maker_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_largest),
		cmocka_unit_test(test_parts_of_two),   cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_data_key),       cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_contents),       cmocka_unit_test(test_signers_size),
		cmocka_unit_test(test_same_key_twice), cmocka_unit_test(test_no_room_to_open),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
