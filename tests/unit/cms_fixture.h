/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EnvelopedData as KMS writes it, built piece by piece, so that each piece can be another one. Written after RFC 5652
 * and the two real samples in tests/vectors/nitro, apart from the reader; OpenSSL's CMS reads the same bytes.
 * Include after cmocka.h.
 */
#ifndef TESTS_UNIT_CMS_FIXTURE_H
#define TESTS_UNIT_CMS_FIXTURE_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/cms.h"

#define UNUSED     __attribute__((unused))
#define SAMPLE_MAX 16384
#define PRIMITIVE  0 /* chunk */

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

#define OID_ENVELOPED "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
#define OID_DATA      "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
#define OID_RSA       "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_OAEP      "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07"
#define OID_MGF1      "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
#define OID_SHA1      "\x06\x05\x2b\x0e\x03\x02\x1a"
#define OID_SHA256    "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
#define OID_AES128CBC "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x02"
#define OID_AES256CBC "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a"
#define OID_AES256GCM "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2e"
#define DER_NULL      "\x05\x00"
#define END           "\x00\x00"

/* What a sample is made of; what is not set is as KMS has it. */
struct cms_sample {
	EVP_PKEY *rsa;
	struct span plain;
	size_t chunk; /* of the constructed shape, or PRIMITIVE */
	/* what is really done */
	const EVP_MD *oaep, *mgf1;
	const char *label;
	bool pkcs1;
	const EVP_CIPHER *cipher;
	size_t cek;
	/* what is said about it */
	struct span version, recipient_version, rid, key_algorithm, data_oid, cipher_oid, end;
	struct span recipient_more, set_more; /* behind the last member */
	uint8_t recipient_tag, rid_tag;
	size_t iv, recipients;
	uint8_t key[512]; /* instead of the encrypted key, when key_n is not 0 */
	size_t key_n;
	struct span content; /* instead of the encrypted content, when content.p is not NULL */
};

UNUSED static void ber_add(struct buf *b, uint8_t tag, struct span s)
{
	buf_add_byte(b, tag);
	if (s.n >= 0x100) {
		buf_add_byte(b, 0x82);
		buf_add_byte(b, (uint8_t)(s.n >> 8));
	} else if (s.n >= 0x80) {
		buf_add_byte(b, 0x81);
	}
	buf_add_byte(b, (uint8_t)s.n);
	buf_add_span(b, s);
}

/* RSAES-OAEP-params (RFC 4055 section 4.1); a NULL `label` is none. */
UNUSED static void ber_add_oaep(struct buf *b, struct span hash, struct span mgf_hash, const char *label)
{
	struct buf all, params, one, two;

	buf_init(&all, 512);
	buf_init(&params, 512);
	buf_init(&one, 512);
	buf_init(&two, 512);
	ber_add(&one, 0x30, hash);
	ber_add(&params, 0xa0, span_buf(&one));
	buf_reset(&one);
	ber_add(&one, 0x30, mgf_hash);
	buf_add_span(&two, span_lit(OID_MGF1));
	buf_add_span(&two, span_buf(&one));
	buf_reset(&one);
	ber_add(&one, 0x30, span_buf(&two));
	ber_add(&params, 0xa1, span_buf(&one));
	if (label != NULL) {
		const struct span text = span_str(label);

		buf_reset(&one);
		buf_reset(&two);
		ber_add(&two, 0x04, text);
		buf_add_span(&one, span_lit("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09"));
		buf_add_span(&one, span_buf(&two));
		buf_reset(&two);
		ber_add(&two, 0x30, span_buf(&one));
		ber_add(&params, 0xa2, span_buf(&two));
	}
	buf_add_span(&all, span_lit(OID_OAEP));
	ber_add(&all, 0x30, span_buf(&params));
	ber_add(b, 0x30, span_buf(&all));
	buf_clear(&all);
	buf_clear(&params);
	buf_clear(&one);
	buf_clear(&two);
}

UNUSED static struct cms_sample cms_sample(EVP_PKEY *rsa, struct span plain, size_t chunk)
{
	static const uint8_t rid[32] = { 0x70, 0x87, 0xb5, 0x5d };

	return (struct cms_sample){
		.rsa = rsa,
		.plain = plain,
		.chunk = chunk,
		.oaep = EVP_sha256(),
		.mgf1 = EVP_sha256(),
		.cipher = EVP_aes_256_cbc(),
		.cek = 32,
		.version = span_lit("\x02\x01\x02"),
		.recipient_version = span_lit("\x02\x01\x02"),
		.rid = span_of(rid, sizeof(rid)),
		.data_oid = span_lit(OID_DATA),
		.cipher_oid = span_lit(OID_AES256CBC),
		.end = span_lit(END END END END),
		.recipient_tag = 0x30,
		.rid_tag = 0x80,
		.iv = 16,
		.recipients = 1,
	};
}

UNUSED static void cms_wrap_key(const struct cms_sample *s, const uint8_t *cek, struct buf *out)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(s->rsa, NULL);
	uint8_t wrapped[512];
	size_t n = sizeof(wrapped);

	assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
	if (s->pkcs1) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
	} else {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, s->oaep), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, s->mgf1), 1);
	}
	if (s->label != NULL) {
		char *label = OPENSSL_strdup(s->label);

		assert_int_equal(EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int)strlen(label)), 1);
	}
	assert_int_equal(EVP_PKEY_encrypt(ctx, wrapped, &n, cek, s->cek), 1);
	ber_add(out, 0x04, s->key_n > 0 ? span_of(s->key, s->key_n) : span_of(wrapped, n));
	EVP_PKEY_CTX_free(ctx);
}

UNUSED static void cms_add_recipients(const struct cms_sample *s, const uint8_t *cek, struct buf *out)
{
	struct buf one, set;

	buf_init(&one, SAMPLE_MAX);
	buf_init(&set, SAMPLE_MAX);
	buf_add_span(&one, s->recipient_version);
	ber_add(&one, s->rid_tag, s->rid);
	if (s->key_algorithm.p != NULL)
		buf_add_span(&one, s->key_algorithm);
	else
		ber_add_oaep(&one, span_lit(OID_SHA256 DER_NULL), span_lit(OID_SHA256 DER_NULL), NULL);
	cms_wrap_key(s, cek, &one);
	buf_add_span(&one, s->recipient_more);
	for (size_t i = 0; i < s->recipients; i++)
		ber_add(&set, s->recipient_tag, span_buf(&one));
	buf_add_span(&set, s->set_more);
	ber_add(out, 0x31, span_buf(&set));
	buf_clear(&one);
	buf_clear(&set);
}

UNUSED static void cms_add_content(const struct cms_sample *s, struct span c, struct buf *out)
{
	if (s->chunk == PRIMITIVE) {
		ber_add(out, 0x80, c);
		return;
	}
	buf_add_span(out, span_lit("\xa0\x80"));
	for (size_t at = 0; at < c.n; at += s->chunk)
		ber_add(out, 0x04, span_of(c.p + at, c.n - at < s->chunk ? c.n - at : s->chunk));
	buf_add_span(out, span_lit(END));
}

UNUSED static void cms_encrypt(const struct cms_sample *s, const uint8_t *cek, const uint8_t *iv, struct buf *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t c[SAMPLE_MAX];
	int n, last;

	assert_int_equal(EVP_EncryptInit_ex(ctx, s->cipher, NULL, cek, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, c, &n, s->plain.p, (int)s->plain.n), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, c + n, &last), 1);
	buf_add(out, c, (size_t)(n + last));
	EVP_CIPHER_CTX_free(ctx);
}

/* Into `out`, which is made here and cleared by the caller. */
UNUSED static void cms_build(const struct cms_sample *s, struct buf *out)
{
	uint8_t cek[64], iv[32];
	struct buf algorithm, content;

	buf_init(out, SAMPLE_MAX);
	buf_init(&algorithm, 128);
	buf_init(&content, SAMPLE_MAX);
	randombytes_buf(cek, sizeof(cek));
	randombytes_buf(iv, sizeof(iv));
	buf_add_span(out, span_lit("\x30\x80" OID_ENVELOPED "\xa0\x80\x30\x80"));
	buf_add_span(out, s->version);
	cms_add_recipients(s, cek, out);
	buf_add_span(out, span_lit("\x30\x80"));
	buf_add_span(out, s->data_oid);
	buf_add_span(&algorithm, s->cipher_oid);
	ber_add(&algorithm, 0x04, span_of(iv, s->iv));
	ber_add(out, 0x30, span_buf(&algorithm));
	cms_encrypt(s, cek, iv, &content);
	cms_add_content(s, s->content.p != NULL ? s->content : span_buf(&content), out);
	buf_add_span(out, s->end);
	assert_err(buf_ok(out), ERR_OK);
	buf_clear(&algorithm);
	buf_clear(&content);
}

/* Opens a copy of exactly this size, and sees that an error hands nothing out. */
UNUSED static enum err cms_open_exact(struct span in, EVP_PKEY *rsa, struct buf *out)
{
	uint8_t *copy = xmalloc(in.n > 0 ? in.n : 1);
	const size_t before = out->n;
	enum err e;

	if (in.n > 0)
		memcpy(copy, in.p, in.n);
	e = cms_open(span_of(copy, in.n), rsa, out);
	if (e != ERR_OK) {
		assert_int_equal(out->n, before);
		assert_false(out->overflow);
	}
	free(copy);
	return e;
}

/* What becomes of a sample; with ERR_OK, it opens to its plaintext. */
UNUSED static void expect_open(const struct cms_sample *s, enum err expected)
{
	struct buf in, out;

	buf_init(&out, CMS_PLAIN_MAX);
	buf_add_str(&out, "before");
	cms_build(s, &in);
	assert_err(cms_open_exact(span_buf(&in), s->rsa, &out), expected);
	if (expected == ERR_OK)
		assert_true(span_eq(span_of(out.p + 6, out.n - 6), s->plain));
	buf_clear(&in);
	buf_clear(&out);
}

UNUSED static void expect_bytes(struct span in, EVP_PKEY *rsa, enum err expected)
{
	struct buf out;

	buf_init(&out, CMS_PLAIN_MAX);
	ERR_clear_error();
	assert_err(cms_open_exact(in, rsa, &out), expected);
	assert_int_equal(ERR_peek_error(), 0);
	buf_clear(&out);
}

UNUSED static EVP_PKEY *rsa_new(unsigned bits)
{
	EVP_PKEY *rsa = EVP_RSA_gen(bits);

	assert_non_null(rsa);
	return rsa;
}

#endif
