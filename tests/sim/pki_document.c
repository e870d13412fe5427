/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/ecdsa.h>

#include "tests/sim/pki_sim.h"
#include "worker/base/cbor.h"

void pki_payload_chain(struct pki_payload *p, const struct pki_chain *c)
{
	p->n_cabundle = PKI_LEAF;
	for (size_t i = 0; i < PKI_LEAF; i++)
		p->cabundle[i] = span_buf(&c->cert[i].der);
	p->certificate = span_buf(&c->cert[PKI_LEAF].der);
}

static void add_pcrs(const struct pki_payload *p, struct buf *out)
{
	cbor_add_map(out, (size_t)__builtin_popcount(p->pcrs));
	for (unsigned i = 0; i < ATTEST_PCRS; i++) {
		if ((p->pcrs & UINT32_C(1) << i) == 0)
			continue;
		cbor_add_uint(out, i);
		cbor_add_bytes(out, span_of(p->pcr[i], ATTEST_PCR_SIZE));
	}
}

static void add_field(struct buf *out, const char *name, const struct attest_field *f)
{
	cbor_add_str(out, name);
	if (f->present)
		cbor_add_bytes(out, f->bytes);
	else
		cbor_add_null(out);
}

/* Keys in the order of real documents. The timestamp's head has eight bytes in any case. */
void pki_encode_payload(const struct pki_payload *p, struct buf *out)
{
	if (p->definite)
		cbor_add_map(out, 9);
	else
		buf_add_byte(out, 0xbf);
	cbor_add_str(out, "module_id");
	cbor_add_str(out, p->module_id);
	cbor_add_str(out, "digest");
	cbor_add_str(out, "SHA384");
	cbor_add_str(out, "timestamp");
	cbor_add_uint(out, p->timestamp_ms);
	cbor_add_str(out, "pcrs");
	add_pcrs(p, out);
	cbor_add_str(out, "certificate");
	cbor_add_bytes(out, p->certificate);
	cbor_add_str(out, "cabundle");
	cbor_add_array(out, p->n_cabundle);
	for (size_t i = 0; i < p->n_cabundle; i++)
		cbor_add_bytes(out, p->cabundle[i]);
	add_field(out, "public_key", &p->public_key);
	add_field(out, "user_data", &p->user_data);
	add_field(out, "nonce", &p->nonce);
	if (!p->definite)
		buf_add_byte(out, 0xff);
}

void pki_signature(EVP_PKEY *key, struct span bytes, uint8_t ret_signature[PKI_SIGNATURE_SIZE])
{
	uint8_t der[256];
	const uint8_t *p = der;
	size_t n = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *sig;

	BUG_ON(ctx == NULL);
	BUG_ON(EVP_DigestSignInit_ex(ctx, NULL, "SHA384", NULL, NULL, key, NULL) != 1);
	BUG_ON(EVP_DigestSign(ctx, der, &n, bytes.p, bytes.n) != 1);
	EVP_MD_CTX_free(ctx);
	sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	BUG_ON(sig == NULL);
	BUG_ON(BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret_signature, PKI_SIGNATURE_SIZE / 2) < 0);
	BUG_ON(BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret_signature + PKI_SIGNATURE_SIZE / 2, PKI_SIGNATURE_SIZE / 2) < 0);
	ECDSA_SIG_free(sig);
}

#define PROTECTED "\xa1\x01\x38\x22" /* {1: -35} */

void pki_signed_bytes(struct span payload, struct buf *out)
{
	cbor_add_array(out, 4);
	cbor_add_str(out, "Signature1");
	cbor_add_bytes(out, span_lit(PROTECTED));
	cbor_add_bytes(out, span_lit(""));
	cbor_add_bytes(out, payload);
}

void pki_encode_document(struct span payload, struct span signature, struct buf *out)
{
	cbor_add_array(out, 4);
	cbor_add_bytes(out, span_lit(PROTECTED));
	cbor_add_map(out, 0);
	cbor_add_bytes(out, payload);
	cbor_add_bytes(out, signature);
}

void pki_sign_document(EVP_PKEY *key, struct span payload, struct buf *out)
{
	uint8_t signature[PKI_SIGNATURE_SIZE];
	struct buf tbs;

	buf_init(&tbs, payload.n + 64);
	pki_signed_bytes(payload, &tbs);
	BUG_ON(buf_ok(&tbs) != ERR_OK);
	pki_signature(key, span_buf(&tbs), signature);
	buf_clear(&tbs);
	pki_encode_document(payload, span_of(signature, sizeof(signature)), out);
}
