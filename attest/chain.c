/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/chain.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>

/* SubjectPublicKeyInfo up to the point's first byte: id-ecPublicKey, secp384r1 by name (RFC 5480 section 2.1.1), a bit
 * string of 97 bytes that begins with 04, uncompressed. */
static const uint8_t spki_prefix[] = { 0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
				       0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04 };
#define SPKI_SIZE (sizeof(spki_prefix) - 1 + CHAIN_POINT_SIZE)

/* --- the cache -------------------------------------------------------------------------------- */

/* The key has one size, so that the two parts cannot be read in another way. */
static void link_id(const struct chain_link *l, uint8_t ret_id[crypto_hash_sha256_BYTES])
{
	crypto_hash_sha256_state s;

	crypto_hash_sha256_init(&s);
	crypto_hash_sha256_update(&s, l->issuer->point, CHAIN_POINT_SIZE);
	crypto_hash_sha256_update(&s, l->der.p, l->der.n);
	crypto_hash_sha256_final(&s, ret_id);
}

static bool cache_has(const struct attest_cache *cache, const uint8_t id[crypto_hash_sha256_BYTES])
{
	size_t n = cache->used < ATTEST_CACHE_LINKS ? cache->used : ATTEST_CACHE_LINKS;

	for (size_t i = 0; i < n; i++)
		if (memcmp(cache->link[i], id, crypto_hash_sha256_BYTES) == 0)
			return true;
	return false;
}

static void cache_add(struct attest_cache *cache, const uint8_t id[crypto_hash_sha256_BYTES])
{
	memcpy(cache->link[cache->next % ATTEST_CACHE_LINKS], id, crypto_hash_sha256_BYTES);
	cache->next = (cache->next + 1) % ATTEST_CACHE_LINKS;
	if (cache->used < ATTEST_CACHE_LINKS)
		cache->used++;
}

/* --- keys, names, signatures ------------------------------------------------------------------ */

static enum attest_code check_key(struct chain_link *l)
{
	uint8_t spki[SPKI_SIZE], *end = spki;
	const X509_PUBKEY *key = X509_get_X509_PUBKEY(l->x);

	if (i2d_X509_PUBKEY(key, NULL) != (int)sizeof(spki) || i2d_X509_PUBKEY(key, &end) != (int)sizeof(spki))
		return ATTEST_CHAIN_KEY;
	if (memcmp(spki, spki_prefix, sizeof(spki_prefix)) != 0)
		return ATTEST_CHAIN_KEY;
	memcpy(l->point, spki + sizeof(spki_prefix) - 1, CHAIN_POINT_SIZE);
	/* OpenSSL has no key when the point is not on the curve. */
	return X509_get0_pubkey(l->x) != NULL ? ATTEST_OK : ATTEST_CHAIN_KEY;
}

static bool name_der(const X509_NAME *name, struct span *ret_der)
{
	return X509_NAME_get0_der(name, &ret_der->p, &ret_der->n) == 1;
}

/* By bytes: matching rules of names (RFC 5280 section 7.1) would only let more in. */
static enum attest_code check_issuer(const struct chain_link *l)
{
	struct span issuer, subject;

	if (l->issuer == NULL)
		return ATTEST_OK;
	if (!name_der(X509_get_issuer_name(l->x), &issuer) ||
	    !name_der(X509_get_subject_name(l->issuer->x), &subject) || !span_eq(issuer, subject))
		return ATTEST_CHAIN_ISSUER;
	return ATTEST_OK;
}

/* The root is trusted for its bytes, not for its signature. */
static enum attest_code check_signature(const struct chain_link *l)
{
	uint8_t id[crypto_hash_sha256_BYTES];

	if (l->issuer == NULL)
		return ATTEST_OK;
	if (l->cache != NULL) {
		link_id(l, id);
		if (cache_has(l->cache, id))
			return ATTEST_OK;
	}
	if (X509_verify(l->x, X509_get0_pubkey(l->issuer->x)) != 1)
		return ATTEST_CHAIN_SIGNATURE;
	if (l->cache != NULL)
		cache_add(l->cache, id);
	return ATTEST_OK;
}

/* --- the walk --------------------------------------------------------------------------------- */

static X509 *parse(struct span der)
{
	const uint8_t *p = der.p;

	return der.n <= ATTEST_KEY_MAX ? d2i_X509(NULL, &p, (long)der.n) : NULL;
}

/* All rules of one certificate, in the order of code.h. */
static enum attest_code check_link(struct chain_link *l)
{
	typedef enum attest_code rule(const struct chain_link *l);
	static rule *const form[] = { chain_check_der, chain_check_version, chain_check_serial, chain_check_algorithm };
	static rule *const rest[] = { check_issuer,           check_signature,         chain_check_validity,
				      chain_check_extensions, chain_check_constraints, chain_check_pathlen,
				      chain_check_usage,      chain_check_name };
	enum attest_code code = ATTEST_OK;

	l->x = parse(l->der);
	if (l->x == NULL)
		return ATTEST_CHAIN_SYNTAX;
	for (size_t i = 0; code == ATTEST_OK && i < sizeof(form) / sizeof(form[0]); i++)
		code = form[i](l);
	if (code == ATTEST_OK)
		code = check_key(l);
	for (size_t i = 0; code == ATTEST_OK && i < sizeof(rest) / sizeof(rest[0]); i++)
		code = rest[i](l);
	return code;
}

static enum attest_code walk(struct chain_link *link, size_t n, EVP_PKEY **ret_leaf, int *ret_certificate)
{
	EVP_PKEY *leaf;

	for (size_t i = 0; i < n; i++) {
		enum attest_code code = check_link(&link[i]);

		if (code != ATTEST_OK) {
			*ret_certificate = (int)i;
			return code;
		}
	}
	leaf = X509_get0_pubkey(link[n - 1].x);
	BUG_ON(EVP_PKEY_up_ref(leaf) != 1);
	*ret_leaf = leaf;
	return ATTEST_OK;
}

enum attest_code chain_verify(const struct attest_document *d, const struct attest_anchor *anchor,
			      struct attest_cache *cache, EVP_PKEY **ret_leaf, int *ret_certificate)
{
	struct chain_link link[ATTEST_CABUNDLE_MAX + 1] = { 0 };
	const size_t n = d->n_cabundle + 1;
	enum attest_code code;

	BUG_ON(d->n_cabundle < ATTEST_CABUNDLE_MIN || d->n_cabundle > ATTEST_CABUNDLE_MAX);
	if (!span_eq(d->cabundle[0], span_of(anchor->der, anchor->size))) {
		*ret_certificate = 0;
		return ATTEST_CHAIN_ANCHOR;
	}
	for (size_t i = 0; i < n; i++)
		link[i] = (struct chain_link){ .d = d,
					       .cache = cache,
					       .index = i,
					       .der = i < n - 1 ? d->cabundle[i] : d->certificate,
					       .issuer = i == 0 ? NULL : &link[i - 1] };
	/* "Compute with the embedded copy": the bytes are the same, but the anchor's cannot change under us. */
	link[0].der = span_of(anchor->der, anchor->size);
	/* Refusing is no error of OpenSSL's user: a TLS connection in this thread must not find it in the queue. */
	ERR_set_mark();
	code = walk(link, n, ret_leaf, ret_certificate);
	ERR_pop_to_mark();
	for (size_t i = 0; i < n; i++)
		X509_free(link[i].x);
	return code;
}
