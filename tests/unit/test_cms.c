/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cms_fixture.h"

#include <openssl/cms.h>

#include "worker/base/secret.h"

#define SECRET      "a data key of 32 bytes, no more."
#define WRONG_KEYS  8
#define SHAPES      3
#define PREFIX_SIZE 512

static EVP_PKEY *rsa;
static const size_t shapes[SHAPES] = { PRIMITIVE, 4096, 7 };

static struct cms_sample sample(void)
{
	return cms_sample(rsa, span_lit(SECRET), 4096);
}

/* --- the shapes ------------------------------------------------------------------------------ */

static void test_shapes(void **state)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 31, 32, 33, 127, 128, 255, 256, 4000 };
	uint8_t plain[4000];

	(void)state;
	randombytes_buf(plain, sizeof(plain));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < SHAPES; j++) {
			struct cms_sample s = cms_sample(rsa, span_of(plain, sizes[i]), shapes[j]);

			expect_open(&s, ERR_OK);
		}
	}
}

/* Within CMS_PLAIN_MAX, but in so many chunks that the whole is longer than KMS ever sends. */
static void test_too_long(void **state)
{
	static const uint8_t plain[4000];
	struct cms_sample s = cms_sample(rsa, span_of(plain, sizeof(plain)), 3);

	(void)state;
	expect_open(&s, ERR_SYNTAX);
}

/* Another implementation reads what the fixture writes, so that the fixture is not only what our reader expects. */
static void test_openssl_agrees(void **state)
{
	(void)state;
	for (size_t j = 0; j < SHAPES; j++) {
		struct cms_sample s = cms_sample(rsa, span_lit(SECRET), shapes[j]);
		BIO *plain = BIO_new(BIO_s_mem());
		const unsigned char *at;
		CMS_ContentInfo *cms;
		struct buf in;
		char read[64];

		cms_build(&s, &in);
		at = in.p;
		cms = d2i_CMS_ContentInfo(NULL, &at, (long)in.n);
		assert_non_null(cms);
		assert_ptr_equal(at, in.p + in.n);
		assert_int_equal(CMS_decrypt(cms, rsa, NULL, NULL, plain, CMS_BINARY | CMS_DEBUG_DECRYPT), 1);
		assert_int_equal(BIO_read(plain, read, sizeof(read)), sizeof(SECRET) - 1);
		assert_memory_equal(read, SECRET, sizeof(SECRET) - 1);
		CMS_ContentInfo_free(cms);
		BIO_free(plain);
		buf_clear(&in);
	}
}

static size_t read_vector(const char *name, uint8_t bytes[PREFIX_SIZE])
{
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "tests/vectors/nitro/%s", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	n = fread(bytes, 1, PREFIX_SIZE, f);
	fclose(f);
	return n;
}

/* Genuine answers, whose private keys nobody has: the form is taken, for every key of their size, and they do not
 * open. Any change of the form is seen before the key is used. */
static void test_genuine(void **state)
{
	static const char *const names[] = { "kms-cms-A-constructed.ber", "kms-cms-B-primitive.ber" };
	static const size_t sizes[] = { 493, 457 };
	EVP_PKEY *large = rsa_new(3072);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[PREFIX_SIZE];
		size_t n = read_vector(names[i], bytes);
		struct buf out;

		assert_int_equal(n, sizes[i]);
		expect_bytes(span_of(bytes, n), rsa, ERR_CRYPTO);
		for (size_t cut = 0; cut < n; cut++)
			expect_bytes(span_of(bytes, cut), rsa, ERR_SYNTAX);
		bytes[n] = 0;
		expect_bytes(span_of(bytes, n + 1), rsa, ERR_SYNTAX);
		buf_init(&out, CMS_PLAIN_MAX);
		assert_err(cms_open_exact(span_of(bytes, n), large, &out), ERR_SYNTAX);
		buf_clear(&out);
	}
	EVP_PKEY_free(large);
}

/* The fixture's bytes are KMS's, but for what is random. */
static void test_like_genuine(void **state)
{
	static const char *const names[] = { "kms-cms-A-constructed.ber", "kms-cms-B-primitive.ber" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct cms_sample s = cms_sample(rsa, i == 0 ? span_lit(SECRET) : span_lit("short"), i == 0 ? 4096 : 0);
		uint8_t bytes[PREFIX_SIZE];
		size_t n = read_vector(names[i], bytes);
		struct buf in;

		cms_build(&s, &in);
		assert_int_equal(in.n, n);
		assert_memory_equal(in.p, bytes, 33);
		assert_memory_equal(in.p + 65, bytes + 65, 131 - 65);
		assert_memory_equal(in.p + 387, bytes + 387, 415 - 387);
		assert_memory_equal(in.p + 431, bytes + 431, 2);
		assert_memory_equal(in.p + n - 8, bytes + n - 8, 8);
		buf_clear(&in);
	}
}

/* --- what has the form and does not open ----------------------------------------------------- */

static void test_really_other_algorithms(void **state)
{
	static const size_t ceks[] = { 16, 24, 31, 33, 48, 64 };
	struct cms_sample s = sample();

	(void)state;
	s.oaep = EVP_sha1();
	expect_open(&s, ERR_CRYPTO);
	s = sample();
	s.mgf1 = EVP_sha1();
	expect_open(&s, ERR_CRYPTO);
	s = sample();
	s.label = "label";
	expect_open(&s, ERR_CRYPTO);
	s = sample();
	s.pkcs1 = true;
	expect_open(&s, ERR_CRYPTO);
	for (size_t i = 0; i < sizeof(ceks) / sizeof(ceks[0]); i++) {
		s = sample();
		s.cek = ceks[i];
		expect_open(&s, ERR_CRYPTO);
	}
}

static void test_encrypted_key(void **state)
{
	struct cms_sample s = sample();

	(void)state;
	s.key_n = 256;
	expect_open(&s, ERR_CRYPTO); /* zero */
	memset(s.key, 0xff, 256);    /* larger than the modulus */
	expect_open(&s, ERR_CRYPTO);
	s.key_n = 255;
	expect_open(&s, ERR_SYNTAX);
	s.key_n = 257;
	expect_open(&s, ERR_SYNTAX);
	s.key_n = 1;
	expect_open(&s, ERR_SYNTAX);
}

static void test_padding(void **state)
{
	struct cms_sample s = sample();

	(void)state;
	s.plain = span_lit("");
	expect_open(&s, ERR_CRYPTO); /* a block of padding alone: KMS seals no empty secret */
}

/* The padding of a random block is right in 1 of 255 cases: those open to garbage, which the caller's length check
 * finds; all others are refused. */
static void test_random_content(void **state)
{
	struct cms_sample s = sample();
	uint8_t content[48];
	unsigned opened = 0;

	(void)state;
	s.content = span_of(content, sizeof(content));
	for (unsigned i = 0; i < 500; i++) {
		struct buf in, out;
		enum err e;

		randombytes_buf(content, sizeof(content));
		cms_build(&s, &in);
		buf_init(&out, CMS_PLAIN_MAX);
		e = cms_open_exact(span_buf(&in), rsa, &out);
		assert_true(e == ERR_CRYPTO || (e == ERR_OK && out.n >= 32 && out.n < 48));
		opened += e == ERR_OK;
		buf_clear(&in);
		buf_clear(&out);
	}
	assert_true(opened < 20);
}

static void test_room(void **state)
{
	struct cms_sample s = sample();
	struct buf in, out;

	(void)state;
	cms_build(&s, &in);
	buf_init(&out, sizeof(SECRET) - 2);
	assert_err(cms_open_exact(span_buf(&in), rsa, &out), ERR_LIMIT);
	buf_clear(&out);
	buf_init(&out, sizeof(SECRET) - 1);
	assert_err(cms_open_exact(span_buf(&in), rsa, &out), ERR_OK);
	assert_true(span_eq_str(span_buf(&out), SECRET));
	buf_clear(&out);
	buf_clear(&in);
}

static void test_other_kinds_of_key(void **state)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	struct cms_sample s = sample();
	struct buf in, out;

	(void)state;
	cms_build(&s, &in);
	buf_init(&out, CMS_PLAIN_MAX);
	assert_err(cms_open_exact(span_buf(&in), ec, &out), ERR_CRYPTO);
	buf_clear(&in);
	buf_clear(&out);
	EVP_PKEY_free(ec);
}

/* Half of the tries with another key of the same size, half with random bytes for the encrypted key. A decryption that
 * goes on with a made-up key, against timing, would take about one in 255 of them: of 3000 none with a chance of 1 in
 * 100000. CWC_LONG=1: 10000. */
static void test_wrong_keys(void **state)
{
	const unsigned long tries = getenv("CWC_LONG") != NULL ? 10000 : 3000;
	unsigned long taken = 0;
	EVP_PKEY *wrong[WRONG_KEYS];

	(void)state;
	for (size_t i = 0; i < WRONG_KEYS; i++)
		wrong[i] = rsa_new(2048);
	for (unsigned long i = 0; i < tries; i++) {
		struct cms_sample s = cms_sample(rsa, span_lit(SECRET), shapes[i % SHAPES]);
		struct buf in, out;
		enum err e;

		if (i % 2 == 1) {
			randombytes_buf(s.key, 256);
			s.key[0] &= 0x3f; /* below every modulus, so that the private operation takes place */
			s.key_n = 256;
		}
		cms_build(&s, &in);
		buf_init(&out, CMS_PLAIN_MAX);
		e = cms_open_exact(span_buf(&in), i % 2 == 1 ? rsa : wrong[i / 2 % WRONG_KEYS], &out);
		taken += e == ERR_OK || out.n > 0;
		assert_true(e == ERR_OK || e == ERR_CRYPTO);
		buf_clear(&in);
		buf_clear(&out);
	}
	for (size_t i = 0; i < WRONG_KEYS; i++)
		EVP_PKEY_free(wrong[i]);
	print_message("%lu tries with a wrong key, %lu accepted\n", tries, taken);
	assert_true(tries > 0);
	assert_int_equal(taken, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_openssl_agrees),
		cmocka_unit_test(test_genuine),
		cmocka_unit_test(test_like_genuine),
		cmocka_unit_test(test_really_other_algorithms),
		cmocka_unit_test(test_encrypted_key),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_random_content),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_other_kinds_of_key),
		cmocka_unit_test(test_wrong_keys),
	};
	int failed;

	if (secret_init() != ERR_OK)
		return 1;
	rsa = rsa_new(2048);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(rsa);
	return failed;
}
