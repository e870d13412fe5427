/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cms_fixture.h"

#include "worker/base/secret.h"

#define SECRET "a data key of 32 bytes, no more."
#define SHAPES 3

static EVP_PKEY *rsa;
static const size_t shapes[SHAPES] = { PRIMITIVE, 4096, 7 };

static struct cms_sample sample(void)
{
	return cms_sample(rsa, span_lit(SECRET), 4096);
}

/* --- what is refused by its form ------------------------------------------------------------- */

static void test_cut_and_trailing(void **state)
{
	(void)state;
	for (size_t j = 0; j < SHAPES; j++) {
		struct cms_sample s = cms_sample(rsa, span_lit(SECRET), shapes[j]);
		struct buf in;

		cms_build(&s, &in);
		for (size_t n = 0; n < in.n; n++)
			expect_bytes(span_of(in.p, n), rsa, ERR_SYNTAX);
		buf_add_byte(&in, 0);
		expect_bytes(span_buf(&in), rsa, ERR_SYNTAX);
		buf_add_byte(&in, 0);
		expect_bytes(span_buf(&in), rsa, ERR_SYNTAX);
		buf_clear(&in);
		s.end = span_lit(END END END);
		expect_open(&s, ERR_SYNTAX);
		s.end = span_lit(END END END END END);
		expect_open(&s, ERR_SYNTAX);
	}
}

static void test_recipients(void **state)
{
	static const uint8_t tags[] = { 0xa1, 0xa2, 0xa3, 0xa4, 0x31, 0x10 }; /* KARI, KEKRI, PWRI, ORI */
	struct cms_sample s;

	(void)state;
	for (size_t n = 0; n <= 3; n++) {
		s = sample();
		s.recipients = n;
		expect_open(&s, n == 1 ? ERR_OK : ERR_SYNTAX);
	}
	for (size_t i = 0; i < sizeof(tags); i++) {
		s = sample();
		s.recipient_tag = tags[i];
		expect_open(&s, ERR_SYNTAX);
	}
}

static void test_versions_and_rid(void **state)
{
	static const uint8_t long_rid[33];
	struct cms_sample s = sample();

	(void)state;
	s.version = span_lit("\x02\x01\x00");
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.version = span_lit("\x02\x02\x00\x02");
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.recipient_version = span_lit("\x02\x01\x00");
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.rid_tag = 0x30; /* issuerAndSerialNumber */
	expect_open(&s, ERR_SYNTAX);
	for (size_t n = 0; n <= sizeof(long_rid); n++) {
		s = sample();
		s.rid = span_of(long_rid, n);
		expect_open(&s, n == 32 ? ERR_OK : ERR_SYNTAX);
	}
}

/* Behind the encrypted key, and behind the recipient. */
static void test_more_in_recipients(void **state)
{
	struct cms_sample s = sample();

	(void)state;
	s.recipient_more = span_lit("\x05\x00");
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.set_more = span_lit("\x05\x00");
	expect_open(&s, ERR_SYNTAX);
}

static void expect_key_algorithm(struct span hash, struct span mgf_hash, const char *label, enum err expected)
{
	struct cms_sample s = sample();
	struct buf algorithm;

	buf_init(&algorithm, 512);
	ber_add_oaep(&algorithm, hash, mgf_hash, label);
	s.key_algorithm = span_buf(&algorithm);
	expect_open(&s, expected);
	buf_clear(&algorithm);
}

static void test_key_algorithm(void **state)
{
	const struct span sha256 = span_lit(OID_SHA256 DER_NULL), sha1 = span_lit(OID_SHA1 DER_NULL);
	struct cms_sample s = sample();

	(void)state;
	expect_key_algorithm(sha256, sha256, NULL, ERR_OK);
	expect_key_algorithm(sha1, sha256, NULL, ERR_SYNTAX);
	expect_key_algorithm(sha256, sha1, NULL, ERR_SYNTAX);
	expect_key_algorithm(sha256, sha256, "", ERR_SYNTAX);
	expect_key_algorithm(sha256, sha256, "label", ERR_SYNTAX);
	/* Parameters absent instead of NULL: the same algorithm, but never written so. */
	expect_key_algorithm(span_lit(OID_SHA256), span_lit(OID_SHA256), NULL, ERR_SYNTAX);
	s.key_algorithm = span_lit("\x30\x0d" OID_RSA DER_NULL);
	expect_open(&s, ERR_SYNTAX);
	s.key_algorithm = span_lit("\x30\x0d" OID_OAEP "\x30\x00"); /* the defaults: SHA-1 */
	expect_open(&s, ERR_SYNTAX);
	s.key_algorithm = span_lit("\x30\x0b" OID_OAEP);
	expect_open(&s, ERR_SYNTAX);
}

static void test_content_algorithm(void **state)
{
	static const size_t ivs[] = { 0, 8, 12, 15, 17, 32 };
	struct cms_sample s = sample();

	(void)state;
	s.data_oid = span_lit(OID_ENVELOPED);
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.cipher = EVP_aes_128_cbc();
	s.cipher_oid = span_lit(OID_AES128CBC);
	s.cek = 16;
	expect_open(&s, ERR_SYNTAX);
	s = sample();
	s.cipher = EVP_aes_256_gcm();
	s.cipher_oid = span_lit(OID_AES256GCM);
	expect_open(&s, ERR_SYNTAX);
	for (size_t i = 0; i < sizeof(ivs) / sizeof(ivs[0]); i++) {
		s = sample();
		s.iv = ivs[i];
		expect_open(&s, ERR_SYNTAX);
	}
}

static void test_content_sizes(void **state)
{
	static const uint8_t bytes[CMS_MAX];
	static const size_t wrong[] = { 0, 1, 15, 17, 31, 47, CMS_PLAIN_MAX + 17, CMS_PLAIN_MAX + 32 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (size_t j = 0; j < SHAPES; j++) {
			struct cms_sample s = cms_sample(rsa, span_lit(SECRET), shapes[j]);

			s.content = span_of(bytes, wrong[i]);
			expect_open(&s, ERR_SYNTAX);
		}
	}
}

/* Chunks of no bytes, chunks in chunks, definite and indefinite lengths where the other one stands, long forms. */
static void test_chunks(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} wrong[] = {
#define CHUNKS(s) { s, sizeof(s) - 1 }
		CHUNKS("\xa0\x80\x04\x00\x00\x00"),
		CHUNKS("\xa0\x80\x04\x10"
		       "0123456789abcdef"
		       "\x04\x00\x00\x00"),
		CHUNKS("\xa0\x80\x24\x80\x04\x10"
		       "0123456789abcdef"
		       "\x00\x00\x00\x00"),
		CHUNKS("\xa0\x80\x24\x12\x04\x10"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS("\xa0\x12\x04\x10"
		       "0123456789abcdef"),
		CHUNKS("\xa0\x80\x04\x81\x10"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS("\xa0\x80\x04\x82\x00\x10"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS("\xa0\x80\x04\x84\x00\x00\x00\x10"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS("\xa0\x80\x04\x80"
		       "0123456789abcdef"
		       "\x00\x00\x00\x00"),
		CHUNKS("\x80\x80"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS("\x80\x81\x10"
		       "0123456789abcdef"),
		CHUNKS("\x80\x82\x00\x10"
		       "0123456789abcdef"),
		CHUNKS("\x80\x10"
		       "0123456789abcdef"
		       "\xa1\x00"), /* unprotectedAttrs, in the wrong place */
		CHUNKS("\x04\x10"
		       "0123456789abcdef"),
		CHUNKS("\xa1\x80\x04\x10"
		       "0123456789abcdef"
		       "\x00\x00"),
		CHUNKS(""),
#undef CHUNKS
	};
	struct cms_sample s = sample();

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct buf in;

		s.chunk = PRIMITIVE;
		s.content = span_lit("0123456789abcdef");
		cms_build(&s, &in);
		in.n -= 18 + 8; /* the content, and what ends it */
		buf_add(&in, wrong[i].bytes, wrong[i].n);
		buf_add_span(&in, s.end);
		expect_bytes(span_buf(&in), rsa, ERR_SYNTAX);
		buf_clear(&in);
	}
}

static void test_attributes(void **state)
{
	struct cms_sample s = sample();

	(void)state;
	s.end = span_lit(END "\xa1\x02\x05\x00" END END END); /* unprotectedAttrs */
	expect_open(&s, ERR_SYNTAX);
}

static void test_lengths(void **state)
{
	static const uint8_t far[][5] = { { 0x82, 0xff, 0xff },
					  { 0x83, 0x01, 0x6b, 0x00 },
					  { 0x84, 0xff, 0xff, 0xff, 0xff },
					  { 0x80 },
					  { 0xff },
					  { 0x7f },
					  { 0x00 },
					  { 0x88, 0x7f } };
	struct cms_sample s = sample();
	struct buf in;

	(void)state;
	cms_build(&s, &in);
	for (size_t at = 0; at < in.n; at++) {
		/* Every byte in turn is a length that leads far away, whether it was a length or not. */
		for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
			uint8_t saved[5];
			const size_t n = in.n - at < 5 ? in.n - at : 5;
			enum err e;
			struct buf out;

			memcpy(saved, in.p + at, n);
			memcpy(in.p + at, far[i], n);
			buf_init(&out, CMS_PLAIN_MAX);
			e = cms_open_exact(span_buf(&in), rsa, &out);
			assert_true(e != ERR_LIMIT);
			buf_clear(&out);
			memcpy(in.p + at, saved, n);
		}
	}
	buf_clear(&in);
}

/* Every bit but those of the key identifier, the IV and the content is either fixed or bound by OAEP: the content is
 * not authenticated, and a flip there may well open. */
static void test_every_bit(void **state)
{
	(void)state;
	for (size_t j = 0; j < 2; j++) {
		struct cms_sample s = cms_sample(rsa, span_lit(SECRET), shapes[j]);
		struct buf in, out;
		size_t opened = 0;

		cms_build(&s, &in);
		buf_init(&out, CMS_PLAIN_MAX);
		for (size_t i = 0; i < in.n; i++) {
			bool rid = i >= 33 && i < 65, iv = i >= 415 && i < 431;
			bool content = i >= (shapes[j] == PRIMITIVE ? 433U : 435U) && i < in.n - 8;
			enum err e;

			in.p[i] ^= (uint8_t)(1U << i % 8);
			e = cms_open_exact(span_buf(&in), rsa, &out);
			opened += e == ERR_OK;
			assert_true(e != ERR_OK || rid || iv || content);
			assert_err(e, rid || iv                    ? ERR_OK
				      : i >= 131 && i < 387        ? ERR_CRYPTO
				      : content && e == ERR_OK     ? ERR_OK
				      : content && e == ERR_CRYPTO ? ERR_CRYPTO
								   : ERR_SYNTAX);
			in.p[i] ^= (uint8_t)(1U << i % 8);
			buf_reset(&out);
		}
		assert_true(opened >= 48);
		buf_clear(&in);
		buf_clear(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_and_trailing), cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_versions_and_rid), cmocka_unit_test(test_more_in_recipients),
		cmocka_unit_test(test_key_algorithm),    cmocka_unit_test(test_content_algorithm),
		cmocka_unit_test(test_content_sizes),    cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_attributes),       cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_every_bit),
	};
	int failed;

	if (secret_init() != ERR_OK)
		return 1;
	rsa = rsa_new(2048);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(rsa);
	return failed;
}
