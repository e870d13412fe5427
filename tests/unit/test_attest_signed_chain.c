/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ecdsa.h>
#include <openssl/x509.h>

#include "tests/unit/attest_signed.h"

static void chain_gives(const struct signed_document *s, enum attest_code code, int certificate)
{
	int blamed;

	assert_code(verify_signed(s, &blamed), code);
	assert_int_equal(blamed, certificate);
}

/* Signs the certificates from `first` on again, takes them into the document, and asks. */
static void signed_again_gives(struct signed_document *s, size_t first, enum attest_code code, int certificate)
{
	pki_chain_sign(s->chain, first);
	pki_payload_chain(&s->payload, s->chain);
	chain_gives(s, code, certificate);
}

/* --- which certificates, and in which order --------------------------------------------------- */

static void test_positive(void **state)
{
	struct signed_document s;

	(void)state;
	signed_start(&s);
	chain_gives(&s, ATTEST_OK, -1);
	s.payload.definite = true;
	chain_gives(&s, ATTEST_OK, -1);
	pki_chain_renew(s.chain, NOW_S);
	pki_payload_chain(&s.payload, s.chain);
	chain_gives(&s, ATTEST_OK, -1);
	for (size_t first = PKI_REGIONAL; first <= PKI_LEAF; first++)
		signed_again_gives(&s, first, ATTEST_OK, -1);
	signed_stop(&s);
}

/* The root with its signature (r, s) replaced by (r, n - s), which is as right. */
static void twin_of_root(struct buf *ret_der)
{
	const uint8_t *root = attest_anchor_sim.der, *p = root, *q;
	const size_t n_tbs = 4 + (size_t)(root[6] << 8 | root[7]);
	X509 *x = d2i_X509(NULL, &p, (long)attest_anchor_sim.size);
	BIGNUM *n = NULL, *s = BN_new();
	const ASN1_BIT_STRING *old;
	uint8_t bits[128] = { 0 }, *end = bits + 1;
	ECDSA_SIG *sig;
	int size;

	X509_get0_signature(&old, NULL, x);
	q = ASN1_STRING_get0_data(old);
	sig = d2i_ECDSA_SIG(NULL, &q, ASN1_STRING_length(old));
	assert_non_null(sig);
	BN_hex2bn(&n,
		  "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973");
	assert_int_equal(BN_sub(s, n, ECDSA_SIG_get0_s(sig)), 1);
	assert_int_equal(ECDSA_SIG_set0(sig, BN_dup(ECDSA_SIG_get0_r(sig)), s), 1);
	size = i2d_ECDSA_SIG(sig, &end);
	assert_in_range(size, 100, 104);
	buf_init(ret_der, 1024);
	buf_add(ret_der, root + 4, n_tbs + 12); /* what is signed, and the algorithm */
	der_add(ret_der, 0x03, span_of(bits, (size_t)size + 1));
	der_wrap(ret_der, 0x30);
	X509_free(x);
	p = ret_der->p;
	x = d2i_X509(NULL, &p, (long)ret_der->n);
	assert_non_null(x);
	assert_int_equal(X509_verify(x, X509_get0_pubkey(x)), 1);
	X509_free(x);
	ECDSA_SIG_free(sig);
	BN_free(n);
}

static void test_root(void **state)
{
	struct signed_document s;
	struct buf twin;

	(void)state;
	/* The same key and the same name, signed anew; then with another key. */
	signed_start(&s);
	signed_again_gives(&s, PKI_ROOT, ATTEST_CHAIN_ANCHOR, 0);
	pki_set_key(&s.chain->cert[PKI_ROOT], pki_key_new());
	signed_again_gives(&s, PKI_ROOT, ATTEST_CHAIN_ANCHOR, 0);
	/* That chain behind the anchor: its first CA names the anchor as its issuer, but is not signed by it. */
	s.payload.cabundle[0] = span_of(attest_anchor_sim.der, attest_anchor_sim.size);
	chain_gives(&s, ATTEST_CHAIN_SIGNATURE, 1);
	signed_stop(&s);
	signed_start(&s);
	twin_of_root(&twin);
	s.payload.cabundle[0] = span_buf(&twin);
	chain_gives(&s, ATTEST_CHAIN_ANCHOR, 0);
	s.payload.cabundle[0] = span_of(attest_anchor_aws.der, attest_anchor_aws.size);
	chain_gives(&s, ATTEST_CHAIN_ANCHOR, 0);
	buf_clear(&twin);
	signed_stop(&s);
}

/* A root of an attacker's, which the bundle brings along: under its own name, and under the anchor's. */
static void test_root_in_bundle(void **state)
{
	struct signed_document s, evil;

	(void)state;
	for (unsigned same_name = 0; same_name < 2; same_name++) {
		struct pki_certificate *root;

		signed_start(&s);
		signed_start(&evil);
		root = &evil.chain->cert[PKI_ROOT];
		pki_set_key(root, pki_key_new());
		if (!same_name)
			pki_set_name(&root->part[PKI_SUBJECT], "evil.nitro-enclaves");
		for (size_t i = 0; i < PKI_LEAF; i++)
			pki_set_extension(&evil.chain->cert[i], PKI_CONSTRAINTS, true,
					  span_lit("\x30\x06\x01\x01\xff\x02\x01\x09"));
		pki_chain_sign(evil.chain, PKI_ROOT);
		pki_payload_chain(&evil.payload, evil.chain);
		memmove(evil.payload.cabundle + 1, evil.payload.cabundle, 4 * sizeof(evil.payload.cabundle[0]));
		evil.payload.cabundle[0] = s.payload.cabundle[0];
		evil.payload.n_cabundle = 5;
		chain_gives(&evil, same_name ? ATTEST_CHAIN_SIGNATURE : ATTEST_CHAIN_ISSUER, 1);
		signed_stop(&s);
		signed_stop(&evil);
	}
}

static void order_gives(const unsigned *order, size_t n, enum attest_code code, int certificate)
{
	struct signed_document s, other;

	signed_start(&s);
	signed_start(&other);
	s.payload.n_cabundle = n;
	for (size_t i = 0; i < n; i++)
		s.payload.cabundle[i] = order[i] < 10 ? span_buf(&s.chain->cert[order[i]].der)
						      : span_buf(&other.chain->cert[order[i] - 10].der);
	chain_gives(&s, code, certificate);
	signed_stop(&other);
	signed_stop(&s);
}

#define ORDER(code, certificate, ...)                                                                                  \
	order_gives((const unsigned[]){ __VA_ARGS__ }, sizeof((unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned), (code), \
		    (certificate))

/* 0 to 4 are the document's own certificates, 10 to 14 those of another chain under the same root. */
static void test_order(void **state)
{
	(void)state;
	ORDER(ATTEST_OK, -1, 0, 1, 2, 3);
	ORDER(ATTEST_OK, -1, 10, 1, 2, 3);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 1, 2, 3);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 3, 2, 1, 0);
	ORDER(ATTEST_CHAIN_ANCHOR, 0, 1, 0, 2, 3);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 0, 1, 2, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 1, 0, 2, 1, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 2, 0, 1, 3, 2);
	ORDER(ATTEST_CHAIN_ISSUER, 1, 0, 2, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 2, 0, 1, 3);
	ORDER(ATTEST_CHAIN_ISSUER, 3, 0, 1, 2);
	ORDER(ATTEST_CHAIN_ISSUER, 2, 0, 1);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 1, 2, 3, 13);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 1, 2, 3, 3);
	ORDER(ATTEST_CHAIN_PATHLEN, 1, 0, 1, 2, 3, 4);
	ORDER(ATTEST_CHAIN_ISSUER, 2, 0, 11, 2, 3);
	/* The other chain's instance has the same name and another key. */
	ORDER(ATTEST_CHAIN_SIGNATURE, 4, 0, 11, 12, 13);
}

/* --- validity --------------------------------------------------------------------------------- */

/* Each certificate but the root valid from `from` to `until` seconds around the signed time, which is `ms` behind it.
 */
static void validity_gives(size_t which, int64_t from, int64_t until, int64_t ms, enum attest_code code)
{
	struct signed_document s;

	signed_start(&s);
	pki_set_validity(&s.chain->cert[which], NOW_S + from, NOW_S + until);
	s.payload.timestamp_ms = (uint64_t)(NOW_MS + ms);
	signed_again_gives(&s, which, code, code == ATTEST_OK ? -1 : (int)which);
	signed_stop(&s);
}

static void test_validity(void **state)
{
	(void)state;
	for (size_t i = PKI_REGIONAL; i <= PKI_LEAF; i++) {
		validity_gives(i, -10, 10, 0, ATTEST_OK);
		validity_gives(i, 0, 0, 0, ATTEST_OK);
		validity_gives(i, 0, 0, 1, ATTEST_CHAIN_EXPIRED);
		validity_gives(i, 0, 0, -1, ATTEST_CHAIN_EARLY);
		validity_gives(i, -10, -1, 0, ATTEST_CHAIN_EXPIRED);
		validity_gives(i, -10, -1, -1000, ATTEST_OK);
		validity_gives(i, 1, 10, 0, ATTEST_CHAIN_EARLY);
		validity_gives(i, 1, -1, 0, ATTEST_CHAIN_EARLY);
	}
}

/* RFC 5280 section 4.1.2.5 has one way to write each time. */
static void test_validity_form(void **state)
{
	static const char *const forms[] = {
		"\x30\x1c\x17\x0b"
		"2602121700Z\x17\x0d"
		"260213170000Z",
		"\x30\x22\x17\x11"
		"260212170000+0000\x17\x0d"
		"260213170000Z",
		"\x30\x20\x18\x0f"
		"20260212170000Z\x17\x0d"
		"260213170000Z",
		"\x30\x20\x17\x0d"
		"260212170000Z\x18\x0f"
		"20260213170000Z",
		"\x30\x22\x17\x0d"
		"260212170000Z\x18\x11"
		"20510213170000.5Z",
		"\x30\x1e\x17\x0d"
		"261312170000Z\x17\x0d"
		"261413170000Z",
		"\x30\x1e\x17\x0d"
		"2602121700000\x17\x0d"
		"260213170000Z",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct signed_document s;

		signed_start(&s);
		pki_set(&s.chain->cert[PKI_INSTANCE].part[PKI_VALIDITY], span_str(forms[i]));
		signed_again_gives(&s, PKI_INSTANCE, ATTEST_CHAIN_VALIDITY, PKI_INSTANCE);
		signed_stop(&s);
	}
	for (unsigned far = 0; far < 2; far++) {
		struct signed_document s;

		signed_start(&s);
		pki_set_validity(&s.chain->cert[PKI_INSTANCE], NOW_S - 10,
				 far ? INT64_C(2524608000) : INT64_C(2524607999));
		assert_int_equal(s.chain->cert[PKI_INSTANCE].part[PKI_VALIDITY].p[17], far ? 0x18 : 0x17);
		signed_again_gives(&s, PKI_INSTANCE, ATTEST_OK, -1);
		signed_stop(&s);
	}
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_issuer(void **state)
{
	(void)state;
	for (size_t i = PKI_REGIONAL; i <= PKI_LEAF; i++) {
		struct pki_certificate *c;
		struct signed_document s;
		uint8_t *p;

		signed_start(&s);
		c = &s.chain->cert[i];
		c->issuer_set = true;
		pki_set_name(&c->part[PKI_ISSUER], "another");
		signed_again_gives(&s, i, ATTEST_CHAIN_ISSUER, (int)i);
		pki_set(&c->part[PKI_ISSUER], span_lit("\x30\x00"));
		signed_again_gives(&s, i, ATTEST_CHAIN_ISSUER, (int)i);
		/* The same text as another type of string. */
		pki_set(&c->part[PKI_ISSUER], span_buf(&s.chain->cert[i - 1].part[PKI_SUBJECT]));
		signed_again_gives(&s, i, ATTEST_OK, -1);
		p = memchr(c->part[PKI_ISSUER].p, 0x0c, c->part[PKI_ISSUER].n);
		assert_non_null(p);
		*p = 0x13;
		signed_again_gives(&s, i, ATTEST_CHAIN_ISSUER, (int)i);
		signed_stop(&s);
	}
}

static void leaf_name_gives(const char *cn, enum attest_code code)
{
	struct signed_document s;

	signed_start(&s);
	pki_set_name(&s.chain->cert[PKI_LEAF].part[PKI_SUBJECT], cn);
	signed_again_gives(&s, PKI_LEAF, code, code == ATTEST_OK ? -1 : PKI_LEAF);
	signed_stop(&s);
}

static void test_leaf_name(void **state)
{
	struct pki_certificate *c;
	struct signed_document s;

	(void)state;
	leaf_name_gives(PKI_MODULE_ID ".us-east-1.aws", ATTEST_OK);
	leaf_name_gives(PKI_MODULE_ID ".us-gov-west-1.aws", ATTEST_OK);
	leaf_name_gives("i-05c0ffee5eed0a11e-enc019a5eed00c0ffef.us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives("i-05c0ffee5eed0a11e.us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID "..aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".us-east-1.aws.", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".us-east-1.aws.evil", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".us-east-1.sws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".evil.us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID ".US-EAST-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID "0.us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives(PKI_MODULE_ID "-us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives("x" PKI_MODULE_ID ".us-east-1.aws", ATTEST_CHAIN_NAME);
	leaf_name_gives("", ATTEST_CHAIN_NAME);
	/* None, two, and one that another document has. */
	signed_start(&s);
	c = &s.chain->cert[PKI_LEAF];
	pki_set(&c->part[PKI_SUBJECT], span_lit("\x30\x00"));
	signed_again_gives(&s, PKI_LEAF, ATTEST_CHAIN_NAME, PKI_LEAF);
	pki_set_name(&c->part[PKI_SUBJECT], PKI_MODULE_ID ".us-east-1.aws");
	buf_drop(&c->part[PKI_SUBJECT], 2);
	buf_add(&c->part[PKI_SUBJECT], c->part[PKI_SUBJECT].p, c->part[PKI_SUBJECT].n);
	der_wrap(&c->part[PKI_SUBJECT], 0x30);
	signed_again_gives(&s, PKI_LEAF, ATTEST_CHAIN_NAME, PKI_LEAF);
	signed_stop(&s);
	signed_start(&s);
	s.payload.module_id = "i-05c0ffee5eed0a11e-enc0000000000000000";
	chain_gives(&s, ATTEST_CHAIN_NAME, PKI_LEAF);
	signed_stop(&s);
}

/* --- by whom and over what the document is signed --------------------------------------------- */

static void bytes_give(const struct signed_document *s, EVP_PKEY *key, struct span signed_bytes, struct span payload,
		       enum attest_code code)
{
	uint8_t signature[PKI_SIGNATURE_SIZE];
	struct buf b;
	int blamed;

	buf_init(&b, VECTOR_MAX);
	pki_signature(key, signed_bytes, signature);
	pki_encode_document(payload, span_of(signature, sizeof(signature)), &b);
	assert_code(verify_bytes(s, span_buf(&b), &blamed), code);
	assert_int_equal(blamed, -1);
	buf_clear(&b);
}

/* [ context, body_protected, (sign_protected,) external_aad, payload ] */
static void structure(const char *context, bool sign_protected, struct span aad, struct span payload, struct buf *out)
{
	buf_reset(out);
	cbor_add_array(out, sign_protected ? 5 : 4);
	cbor_add_str(out, context);
	cbor_add_bytes(out, span_lit("\xa1\x01\x38\x22"));
	if (sign_protected)
		cbor_add_bytes(out, span_lit("\xa1\x01\x38\x22"));
	cbor_add_bytes(out, aad);
	cbor_add_bytes(out, payload);
}

static void test_signers(void **state)
{
	struct signed_document s, other;
	struct buf payload, tbs;

	(void)state;
	signed_start(&s);
	signed_start(&other);
	buf_init(&payload, VECTOR_MAX);
	buf_init(&tbs, VECTOR_MAX);
	pki_encode_payload(&s.payload, &payload);
	pki_signed_bytes(span_buf(&payload), &tbs);
	bytes_give(&s, s.chain->cert[PKI_LEAF].key, span_buf(&tbs), span_buf(&payload), ATTEST_OK);
	for (size_t i = PKI_ROOT; i < PKI_LEAF; i++)
		bytes_give(&s, s.chain->cert[i].key, span_buf(&tbs), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	bytes_give(&s, other.chain->cert[PKI_LEAF].key, span_buf(&tbs), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	buf_clear(&payload);
	buf_clear(&tbs);
	signed_stop(&other);
	signed_stop(&s);
}

static void test_signed_bytes(void **state)
{
	struct buf payload, again, b;
	struct signed_document s;
	EVP_PKEY *leaf;

	(void)state;
	signed_start(&s);
	leaf = s.chain->cert[PKI_LEAF].key;
	buf_init(&payload, VECTOR_MAX);
	buf_init(&again, VECTOR_MAX);
	buf_init(&b, VECTOR_MAX);
	pki_encode_payload(&s.payload, &payload);
	s.payload.definite = true;
	pki_encode_payload(&s.payload, &again);
	structure("Signature1", false, span_lit(""), span_buf(&payload), &b);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&payload), ATTEST_OK);
	structure("Signature", false, span_lit(""), span_buf(&payload), &b);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	structure("Signature", true, span_lit(""), span_buf(&payload), &b);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	structure("Signature1", false, span_lit("a"), span_buf(&payload), &b);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	structure("Signature1", false, span_lit(""), span_buf(&again), &b);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	bytes_give(&s, leaf, span_buf(&b), span_buf(&again), ATTEST_OK);
	bytes_give(&s, leaf, span_buf(&payload), span_buf(&payload), ATTEST_SIGNATURE_WRONG);
	buf_clear(&payload);
	buf_clear(&again);
	buf_clear(&b);
	signed_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_positive),       cmocka_unit_test(test_root),
		cmocka_unit_test(test_root_in_bundle), cmocka_unit_test(test_order),
		cmocka_unit_test(test_validity),       cmocka_unit_test(test_validity_form),
		cmocka_unit_test(test_issuer),         cmocka_unit_test(test_leaf_name),
		cmocka_unit_test(test_signers),        cmocka_unit_test(test_signed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
