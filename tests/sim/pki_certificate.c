/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/x509.h>

#include "tests/sim/anchor_sim.h"
#include "tests/sim/pki_internal.h"

/* --- keys ------------------------------------------------------------------------------------- */

EVP_PKEY *pki_key_new(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-384");

	BUG_ON(key == NULL);
	return key;
}

EVP_PKEY *pki_root_key(void)
{
	const uint8_t *p = anchor_sim_key;
	EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_EC, NULL, &p, (long)anchor_sim_key_size);

	BUG_ON(key == NULL);
	return key;
}

void pki_set_key(struct pki_certificate *c, EVP_PKEY *key)
{
	uint8_t *spki = NULL;
	int n = i2d_PUBKEY(key, &spki);

	BUG_ON(n <= 0);
	pki_set(&c->part[PKI_KEY], span_of(spki, (size_t)n));
	OPENSSL_free(spki);
	EVP_PKEY_free(c->key);
	c->key = key;
}

/* --- parts ------------------------------------------------------------------------------------ */

void pki_set(struct buf *part, struct span bytes)
{
	buf_reset(part);
	buf_add_span(part, bytes);
	BUG_ON(buf_ok(part) != ERR_OK);
}

void pki_set_validity(struct pki_certificate *c, int64_t from_s, int64_t until_s)
{
	struct buf *b = &c->part[PKI_VALIDITY];

	buf_reset(b);
	der_add_time(b, from_s);
	der_add_time(b, until_s);
	der_wrap(b, 0x30);
}

void pki_add_attribute(struct buf *name, uint8_t type, const char *value)
{
	const uint8_t oid[] = { 0x55, 0x04, type };
	struct buf b;

	buf_init(&b, PKI_PART_MAX);
	der_add(&b, 0x06, span_of(oid, sizeof(oid)));
	der_add(&b, type == NAME_C ? 0x13 : 0x0c, span_str(value));
	der_wrap(&b, 0x30);
	der_add(name, 0x31, span_buf(&b));
	buf_clear(&b);
}

void pki_set_name(struct buf *part, const char *cn)
{
	buf_reset(part);
	pki_add_attribute(part, NAME_CN, cn);
	der_wrap(part, 0x30);
}

/* --- extensions ------------------------------------------------------------------------------- */

void pki_encode_extension(struct buf *out, struct span oid, bool critical, struct span value)
{
	struct buf b;

	buf_init(&b, PKI_PART_MAX);
	der_add(&b, 0x06, oid);
	if (critical)
		der_add(&b, 0x01, span_lit("\xff"));
	der_add(&b, 0x04, value);
	der_wrap(&b, 0x30);
	buf_add_span(out, span_buf(&b));
	buf_clear(&b);
}

static struct buf *append_extension(struct pki_certificate *c, enum pki_kind kind)
{
	BUG_ON(c->n_extensions == PKI_EXTENSIONS_MAX);
	c->extension[c->n_extensions].kind = kind;
	return &c->extension[c->n_extensions++].der;
}

static struct buf *find_extension(struct pki_certificate *c, enum pki_kind kind)
{
	for (size_t i = 0; i < c->n_extensions; i++)
		if (c->extension[i].kind == kind)
			return &c->extension[i].der;
	return NULL;
}

struct buf *pki_extension(struct pki_certificate *c, enum pki_kind kind)
{
	struct buf *b = find_extension(c, kind);

	BUG_ON(b == NULL);
	return b;
}

void pki_set_extension(struct pki_certificate *c, enum pki_kind kind, bool critical, struct span value)
{
	/* The last byte of 2.5.29.x (RFC 5280 section 4.2.1). */
	static const uint8_t arc[] = {
		[PKI_CONSTRAINTS] = 19, [PKI_USAGE] = 15, [PKI_SUBJECT_ID] = 14, [PKI_AUTHORITY_ID] = 35, [PKI_CRL] = 31
	};
	struct buf *b = find_extension(c, kind);
	uint8_t oid[] = { 0x55, 0x1d, 0 };

	BUG_ON((size_t)kind >= sizeof(arc));
	oid[2] = arc[kind];
	if (b == NULL)
		b = append_extension(c, kind);
	buf_reset(b);
	pki_encode_extension(b, span_of(oid, sizeof(oid)), critical, value);
}

void pki_add_extension(struct pki_certificate *c, struct span oid, bool critical, struct span value)
{
	pki_encode_extension(append_extension(c, PKI_OTHER), oid, critical, value);
}

/* --- encoding --------------------------------------------------------------------------------- */

static void encode_extensions(struct pki_certificate *c, struct buf *out)
{
	struct buf b;

	if (c->part[PKI_EXTENSIONS].n > 0) {
		buf_add_span(out, span_buf(&c->part[PKI_EXTENSIONS]));
		return;
	}
	buf_init(&b, PKI_PART_MAX);
	for (size_t i = 0; i < c->n_extensions; i++)
		buf_add_span(&b, span_buf(&c->extension[i].der));
	if (b.n > 0) {
		der_wrap(&b, 0x30);
		der_add(out, 0xa3, span_buf(&b));
	}
	buf_clear(&b);
}

/* Appends BIT STRING { signature }. */
static void sign(struct span tbs, EVP_PKEY *key, const char *digest, struct buf *out)
{
	uint8_t signature[1024] = { 0 };
	size_t n = sizeof(signature) - 1;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	BUG_ON(ctx == NULL);
	BUG_ON(EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) != 1);
	BUG_ON(EVP_DigestSign(ctx, signature + 1, &n, tbs.p, tbs.n) != 1);
	EVP_MD_CTX_free(ctx);
	der_add(out, 0x03, span_of(signature, n + 1));
}

void pki_certificate_sign(struct pki_certificate *c, EVP_PKEY *key)
{
	struct buf tbs;

	buf_init(&tbs, PKI_CERTIFICATE_MAX);
	for (unsigned i = 0; i < PKI_EXTENSIONS; i++)
		buf_add_span(&tbs, span_buf(&c->part[i]));
	encode_extensions(c, &tbs);
	buf_add_span(&tbs, span_buf(&c->part[PKI_TBS_END]));
	der_wrap(&tbs, 0x30);
	buf_reset(&c->der);
	buf_add_span(&c->der, span_buf(&tbs));
	buf_add_span(&c->der, span_buf(&c->part[PKI_OUTER]));
	sign(span_buf(&tbs), key, c->digest, &c->der);
	buf_clear(&tbs);
	buf_add_span(&c->der, span_buf(&c->part[PKI_END]));
	der_wrap(&c->der, 0x30);
	buf_add_span(&c->der, span_buf(&c->part[PKI_BEHIND]));
	BUG_ON(buf_ok(&c->der) != ERR_OK);
}
