/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/formats_fixture.h"

#include "queue/hkdf.h"
#include "worker/base/secret.h"

static void hkdf_case(const char *ikm, const char *salt, const char *info, size_t n, const char *prk, const char *okm)
{
	struct buf b_ikm, b_salt, b_info;
	uint8_t got_prk[HKDF_PRK], got[100];
	char hex[201];

	buf_init(&b_ikm, 100);
	buf_init(&b_salt, 100);
	buf_init(&b_info, 100);
	unhex(ikm, &b_ikm);
	unhex(salt, &b_salt);
	unhex(info, &b_info);
	hkdf_extract(span_buf(&b_salt), span_buf(&b_ikm), got_prk);
	text_hex(span_of(got_prk, sizeof(got_prk)), hex);
	assert_string_equal(hex, prk);
	hkdf_expand(got_prk, span_buf(&b_info), got, n);
	text_hex(span_of(got, n), hex);
	assert_string_equal(hex, okm);
	buf_clear(&b_ikm);
	buf_clear(&b_salt);
	buf_clear(&b_info);
}

static void test_hkdf(void **state)
{
	(void)state;
	hkdf_case("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
		  42, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
		  "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
	hkdf_case("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
		  "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
		  "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
		  "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
		  "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
		  "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
		  82, "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
		  "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
		  "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
	hkdf_case("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "", 42,
		  "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
		  "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

static void test_prefixes(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e;

	(void)state;
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		struct buf b;

		buf_init(&b, ENVELOPE_MAX);
		seal_sample((enum job_profile)profile, &k, span_lit("plain"), &b);
		for (size_t n = 0; n < b.n; n++) {
			uint8_t *p = copy_exact(span_of(b.p, n));

			assert_err(envelope_parse((enum job_profile)profile, span_of(p, n), &e), ERR_ENVELOPE_SYNTAX);
			free(p);
		}
		/* Of the other profile. */
		assert_err(envelope_parse((enum job_profile)(1 - profile), span_buf(&b), &e), ERR_ENVELOPE_SYNTAX);
		buf_add_byte(&b, 0);
		assert_err(envelope_parse((enum job_profile)profile, span_buf(&b), &e), ERR_ENVELOPE_SYNTAX);
		buf_clear(&b);
	}
}

static void test_round_trip_sizes(void **state)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 1000, ENVELOPE_PLAIN_MAX };
	uint8_t *big = xmalloc(ENVELOPE_PLAIN_MAX + 1);
	struct keys k = keys_fixed();
	struct job bind = job_sample(JOB_LETTER, span_of(NULL, 0));
	struct buf b, plain;

	(void)state;
	memset(big, 'p', ENVELOPE_PLAIN_MAX + 1);
	buf_init(&b, ENVELOPE_MAX);
	secret_arena(&plain, ARENA);
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct envelope e;

			buf_reset(&b);
			seal_sample((enum job_profile)profile, &k, span_of(big, sizes[i]), &b);
			assert_err(envelope_parse((enum job_profile)profile, span_buf(&b), &e), ERR_OK);
			assert_err(open_any(&e, &k, &plain), ERR_OK);
			assert_true(span_eq(span_buf(&plain), span_of(big, sizes[i])));
		}
	}
	buf_reset(&b);
	for (size_t n = 0; n <= ENVELOPE_PLAIN_MAX + 1; n += ENVELOPE_PLAIN_MAX + 1) {
		struct span s = span_of(big, n);

		assert_err(envelope_seal_letter(s, k.ring_public, RING_KID, &bind, NULL, &b), ERR_LIMIT);
		assert_err(envelope_seal_witness(s, k.ring_public, RING_KID, CONTEXT_1, NULL, NULL, &b), ERR_LIMIT);
	}
	secret_arena_free(&plain);
	buf_clear(&b);
	free(big);
}

static void test_random_when_asked(void **state)
{
	struct keys k = keys_fixed();
	struct buf a, b;

	(void)state;
	buf_init(&a, ENVELOPE_MAX);
	buf_init(&b, ENVELOPE_MAX);
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		buf_reset(&a);
		buf_reset(&b);
		seal_sample((enum job_profile)profile, &k, span_lit("same"), &a);
		seal_sample((enum job_profile)profile, &k, span_lit("same"), &b);
		assert_false(span_eq(span_buf(&a), span_buf(&b)));
	}
	buf_clear(&a);
	buf_clear(&b);
}

static void test_size_limits(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf b;

	(void)state;
	buf_init(&b, 2 * ENVELOPE_MAX);
	seal_sample(JOB_WITNESS, &k, span_lit("plain"), &b);
	while (b.n < ENVELOPE_MAX)
		buf_add_byte(&b, ' ');
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&b), &e), ERR_OK);
	buf_add_byte(&b, ' ');
	assert_err(envelope_parse(JOB_WITNESS, span_buf(&b), &e), ERR_ENVELOPE_TOO_LARGE);
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_ENVELOPE_TOO_LARGE);
	buf_clear(&b);
}

static void test_other_key(void **state)
{
	struct keys k = keys_fixed(), other = keys_fixed();
	struct envelope e;
	struct buf b, plain;
	uint8_t shared[32];

	(void)state;
	memset(other.ring_secret, 0x12, 32);
	crypto_scalarmult_base(other.ring_public, other.ring_secret);
	secret_arena(&plain, ARENA);
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		buf_init(&b, ENVELOPE_MAX);
		seal_sample((enum job_profile)profile, &k, span_lit("plain"), &b);
		assert_err(envelope_parse((enum job_profile)profile, span_buf(&b), &e), ERR_OK);
		assert_err(open_any(&e, &other, &plain), ERR_ENVELOPE_OPEN);
		buf_clear(&b);
	}
	/* The right shared secret with the wrong public key does not open a letter: both are bound. */
	assert_int_equal(crypto_scalarmult(shared, k.ring_secret, e.point), 0);
	buf_init(&b, ENVELOPE_MAX);
	seal_sample(JOB_LETTER, &k, span_lit("plain"), &b);
	assert_err(envelope_parse(JOB_LETTER, span_buf(&b), &e), ERR_OK);
	assert_int_equal(crypto_scalarmult(shared, k.ring_secret, e.point), 0);
	assert_err(envelope_open_letter(&e, shared, other.ring_public, &plain), ERR_ENVELOPE_OPEN);
	assert_err(envelope_open_letter(&e, shared, k.ring_public, &plain), ERR_OK);
	buf_clear(&b);
	secret_arena_free(&plain);
}

static void test_small_arena(void **state)
{
	struct keys k = keys_fixed();
	struct envelope e;
	struct buf b, plain;

	(void)state;
	for (unsigned profile = JOB_WITNESS; profile <= JOB_LETTER; profile++) {
		for (size_t room = 16; room <= 32; room += 16) {
			buf_init(&b, ENVELOPE_MAX);
			secret_arena(&plain, room);
			seal_sample((enum job_profile)profile, &k, span_lit("sixteen letters and a good bit more"), &b);
			assert_err(envelope_parse((enum job_profile)profile, span_buf(&b), &e), ERR_OK);
			assert_err(open_any(&e, &k, &plain), ERR_ENVELOPE_OPEN);
			assert_int_equal(plain.n, 0);
			secret_arena_free(&plain);
			buf_clear(&b);
		}
	}
}

static void test_seal_errors(void **state)
{
	uint8_t low[32] = { 0 };
	struct job bind = job_sample(JOB_LETTER, span_of(NULL, 0)), bad = bind;
	struct keys k = keys_fixed();
	struct buf b, small;

	(void)state;
	buf_init(&b, ENVELOPE_MAX);
	buf_init(&small, 40);
	assert_err(envelope_seal_letter(span_lit("p"), low, RING_KID, &bind, NULL, &b), ERR_ENVELOPE_POINT);
	assert_err(envelope_seal_witness(span_lit("p"), low, RING_KID, CONTEXT_1, NULL, NULL, &b), ERR_ENVELOPE_POINT);
	assert_err(envelope_seal_letter(span_lit("p"), k.ring_public, "", &bind, NULL, &b), ERR_RANGE);
	bad.sid = span_lit("");
	assert_err(envelope_seal_letter(span_lit("p"), k.ring_public, RING_KID, &bad, NULL, &b), ERR_RANGE);
	bad = bind;
	bad.n_offices = 0;
	assert_err(envelope_seal_letter(span_lit("p"), k.ring_public, RING_KID, &bad, NULL, &b), ERR_RANGE);
	bad.n_offices = JOB_OFFICES_MAX + 1;
	assert_err(envelope_seal_letter(span_lit("p"), k.ring_public, RING_KID, &bad, NULL, &b), ERR_RANGE);
	assert_err(envelope_seal_letter(span_lit("p"), k.ring_public, RING_KID, &bind, NULL, &small), ERR_LIMIT);
	buf_reset(&small);
	assert_err(envelope_seal_witness(span_lit("p"), k.ring_public, RING_KID, CONTEXT_1, NULL, NULL, &small),
		   ERR_LIMIT);
	buf_clear(&b);
	buf_clear(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hkdf),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_round_trip_sizes),
		cmocka_unit_test(test_random_when_asked),
		cmocka_unit_test(test_size_limits),
		cmocka_unit_test(test_other_key),
		cmocka_unit_test(test_small_arena),
		cmocka_unit_test(test_seal_errors),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
