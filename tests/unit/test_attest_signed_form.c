/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "tests/unit/attest_signed.h"

/* --- parts ------------------------------------------------------------------------------------ */

static void set_version(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_VERSION], v);
}

/* A certificate as before 1996: no extensions. */
static void set_old(struct pki_certificate *c, struct span v)
{
	set_version(c, v);
	c->n_extensions = 0;
}

static void test_version(void **state)
{
	(void)state;
	each_gives(set_old, span_lit(""), ATTEST_CHAIN_VERSION);
	each_gives(set_old, span_lit("\xa0\x03\x02\x01\x01"), ATTEST_CHAIN_VERSION);
	each_gives(set_version, span_lit(""), ATTEST_CHAIN_VERSION);
	each_gives(set_version, span_lit("\xa0\x03\x02\x01\x01"), ATTEST_CHAIN_VERSION);
	each_gives(set_version, span_lit("\xa0\x03\x02\x01\x03"), ATTEST_CHAIN_VERSION);
	each_gives(set_version, span_lit("\xa0\x03\x02\x01\x82"), ATTEST_CHAIN_VERSION);
	/* The default, which DER leaves out. */
	each_gives(set_version, span_lit("\xa0\x03\x02\x01\x00"), ATTEST_CHAIN_VERSION);
	each_gives(set_version, span_lit("\xa0\x04\x02\x02\x00\x02"), ATTEST_CHAIN_SYNTAX);
}

static void set_serial(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_SERIAL], v);
}

static void test_serial(void **state)
{
	(void)state;
	each_gives(set_serial, span_lit("\x02\x01\x01"), ATTEST_OK);
	each_gives(set_serial,
		   span_lit("\x02\x14\x7f"
			    "0123456789abcdefghi"),
		   ATTEST_OK);
	each_gives(set_serial, span_lit("\x02\x01\x00"), ATTEST_CHAIN_SERIAL);
	each_gives(set_serial, span_lit("\x02\x01\xff"), ATTEST_CHAIN_SERIAL);
	each_gives(set_serial,
		   span_lit("\x02\x10\x80"
			    "0123456789abcde"),
		   ATTEST_CHAIN_SERIAL);
	each_gives(set_serial,
		   span_lit("\x02\x15\x7f"
			    "0123456789abcdefghij"),
		   ATTEST_CHAIN_SERIAL);
	each_gives(set_serial, span_lit("\x02\x02\x00\x01"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_serial, span_lit("\x02\x02\xff\x80"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_serial, span_lit("\x02\x00"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_serial, span_lit("\x0a\x01\x01"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_serial, span_lit("\x02\x81\x01\x01"), ATTEST_CHAIN_SYNTAX);
}

#define ES256      "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
#define ES384      "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"
#define ES384_NULL "\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03\x05\x00"
#define RS384      "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"

static void set_inner(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_INNER], v);
}

static void set_outer(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_OUTER], v);
}

static void set_algorithm(struct pki_certificate *c, struct span v)
{
	set_inner(c, v);
	set_outer(c, v);
	if (span_eq(v, span_lit(ES256)))
		c->digest = "SHA256";
}

static void test_algorithm(void **state)
{
	(void)state;
	each_gives(set_algorithm, span_lit(ES384), ATTEST_OK);
	each_gives(set_algorithm, span_lit(ES256), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_algorithm, span_lit(RS384), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_algorithm, span_lit(ES384_NULL), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_inner, span_lit(ES256), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_outer, span_lit(ES256), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_inner, span_lit(ES384_NULL), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_outer, span_lit(ES384_NULL), ATTEST_CHAIN_ALGORITHM);
	each_gives(set_outer, span_lit("\x30\x00"), ATTEST_CHAIN_SYNTAX);
}

/* --- the form of DER -------------------------------------------------------------------------- */

static void set_behind(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_BEHIND], v);
}

static void set_end(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_END], v);
}

static void set_tbs_end(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_TBS_END], v);
}

static void longer_name(struct pki_certificate *c, struct span v)
{
	struct buf b;

	buf_init(&b, ATTEST_KEY_MAX);
	buf_add_span(&b, v);
	buf_add(&b, c->part[PKI_SUBJECT].p + v.n - 1, c->part[PKI_SUBJECT].n - v.n + 1);
	pki_set(&c->part[PKI_SUBJECT], span_buf(&b));
	buf_clear(&b);
}

static void flag_true_01(struct pki_certificate *c, struct span v)
{
	(void)v;
	pki_extension(c, PKI_CONSTRAINTS)->p[9] = 0x01;
}

static void flag_false(struct pki_certificate *c, struct span v)
{
	(void)v;
	pki_extension(c, PKI_CONSTRAINTS)->p[9] = 0x00;
}

static void empty_extensions(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_EXTENSIONS], v);
}

static void test_der(void **state)
{
	(void)state;
	each_gives(set_behind, span_lit("\x00"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_behind, span_lit("\x05\x00"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_end, span_lit("\x05\x00"), ATTEST_CHAIN_SYNTAX);
	each_gives(set_tbs_end, span_lit("\x05\x00"), ATTEST_CHAIN_SYNTAX);
	each_gives(flag_true_01, span_lit(""), ATTEST_CHAIN_SYNTAX);
	each_gives(flag_false, span_lit(""), ATTEST_CHAIN_SYNTAX);
	/* None at all, and so none that must be there. */
	each_gives(empty_extensions, span_lit("\xa3\x02\x30\x00"), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_REGIONAL, longer_name, span_lit("\x30\x81"), ATTEST_CHAIN_SYNTAX);
	change_gives(PKI_ZONAL, longer_name, span_lit("\x30\x82\x00"), ATTEST_CHAIN_SYNTAX);
	change_gives(PKI_LEAF, longer_name, span_lit("\x30\x82\x00"), ATTEST_CHAIN_SYNTAX);
}

/* --- keys ------------------------------------------------------------------------------------- */

/* SubjectPublicKeyInfo of a key of P-384, up to the point. */
#define SPKI      "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00"
#define SPKI_SIZE (sizeof(SPKI) - 1)

static void set_spki(struct pki_certificate *c, struct span v)
{
	pki_set(&c->part[PKI_KEY], v);
}

static void flip_point(struct pki_certificate *c, struct span v)
{
	(void)v;
	c->part[PKI_KEY].p[SPKI_SIZE + 20] ^= 1;
}

/* 06 or 07 | x | y. */
static void hybrid_point(struct pki_certificate *c, struct span v)
{
	struct buf *b = &c->part[PKI_KEY];

	(void)v;
	b->p[SPKI_SIZE] = (uint8_t)(0x06 | (b->p[b->n - 1] & 1));
}

static void compressed_point(struct pki_certificate *c, struct span v)
{
	uint8_t spki[SPKI_SIZE + 49];
	const struct buf *b = &c->part[PKI_KEY];

	(void)v;
	memcpy(spki, b->p, SPKI_SIZE + 49);
	spki[1] = 0x46;
	spki[SPKI_SIZE - 2] = 0x32;
	spki[SPKI_SIZE] = (uint8_t)(0x02 | (b->p[b->n - 1] & 1));
	set_spki(c, span_of(spki, sizeof(spki)));
}

static void unused_bits(struct pki_certificate *c, struct span v)
{
	(void)v;
	c->part[PKI_KEY].p[SPKI_SIZE - 1] = 1;
	c->part[PKI_KEY].p[c->part[PKI_KEY].n - 1] &= 0xfe;
}

/* The same key, with the curve written out. The certificate stays within its size without what nobody asks for. */
static void explicit_curve(struct pki_certificate *c, struct span v)
{
	uint8_t *spki = NULL;
	int n;

	(void)v;
	assert_int_equal(EVP_PKEY_set_utf8_string_param(c->key, "encoding", "explicit"), 1);
	n = i2d_PUBKEY(c->key, &spki);
	assert_true(n > 200);
	for (size_t i = 0; i < c->n_extensions; i++)
		if (c->extension[i].kind != PKI_CONSTRAINTS && c->extension[i].kind != PKI_USAGE)
			buf_reset(&c->extension[i].der);
	set_spki(c, span_of(spki, (size_t)n));
	OPENSSL_free(spki);
}

static void test_points(void **state)
{
	(void)state;
	for (size_t i = PKI_REGIONAL; i <= PKI_LEAF; i++) {
		change_gives(i, flip_point, span_lit(""), ATTEST_CHAIN_KEY);
		change_gives(i, hybrid_point, span_lit(""), ATTEST_CHAIN_KEY);
		change_gives(i, compressed_point, span_lit(""), ATTEST_CHAIN_KEY);
		change_gives(i, explicit_curve, span_lit(""), ATTEST_CHAIN_KEY);
	}
	each_gives(set_spki,
		   span_lit("\x30\x16\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x02"
			    "\x00\x00"),
		   ATTEST_CHAIN_KEY);
	each_gives(unused_bits, span_lit(""), ATTEST_CHAIN_KEY);
}

/* Keys of other kinds. Those behind them are signed with them, so that only the rule for the key refuses. */
static void test_other_keys(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		for (size_t i = PKI_REGIONAL; i <= PKI_LEAF; i++) {
			struct signed_document s;
			struct buf payload, document;
			uint8_t signature[PKI_SIGNATURE_SIZE];
			EVP_PKEY *key = kind == 0   ? EVP_EC_gen("P-256")
					: kind == 1 ? EVP_EC_gen("P-521")
					: kind == 2 ? EVP_RSA_gen(2048)
						    : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
			int blamed;

			(void)state;
			if (kind == 2 && i < PKI_LEAF) { /* makes certificates larger than they may be */
				EVP_PKEY_free(key);
				continue;
			}
			assert_non_null(key);
			signed_start(&s);
			pki_set_key(&s.chain->cert[i], key);
			if (kind == 3 && i < PKI_LEAF)
				s.chain->cert[i + 1].digest = NULL;
			pki_chain_sign(s.chain, i);
			pki_payload_chain(&s.payload, s.chain);
			buf_init(&payload, VECTOR_MAX);
			buf_init(&document, VECTOR_MAX);
			pki_encode_payload(&s.payload, &payload);
			memset(signature, 1, sizeof(signature));
			if (kind == 0)
				pki_signature(key, span_buf(&payload), signature);
			pki_encode_document(span_buf(&payload), span_of(signature, sizeof(signature)), &document);
			assert_code(verify_bytes(&s, span_buf(&document), &blamed), ATTEST_CHAIN_KEY);
			assert_int_equal(blamed, i);
			buf_clear(&payload);
			buf_clear(&document);
			signed_stop(&s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version), cmocka_unit_test(test_serial), cmocka_unit_test(test_algorithm),
		cmocka_unit_test(test_der),     cmocka_unit_test(test_points), cmocka_unit_test(test_other_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
