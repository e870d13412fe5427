/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/sealed.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sodium.h>
#include <string.h>

#include "attest/form.h"

#define DOMAIN     "cwc-secret-v1"
#define DOMAIN_LEN (sizeof(DOMAIN) - 1)
#define ITEMS      4
#define MEMBERS    5
#define HEADER_MAX 512
#define POINT_SIZE crypto_scalarmult_BYTES
#define KEY_SIZE   crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define INFO_MAX   (DOMAIN_LEN + 2 * POINT_SIZE + HEADER_MAX)

/* --- names ------------------------------------------------------------------------------------ */

static const char *const name_text[SEALED_NAME_COUNT] = {
#define NAME_ROW(e, name) [SEALED_##e] = (name),
	SEALED_NAMES(NAME_ROW)
#undef NAME_ROW
};

const char *sealed_name_text(enum sealed_name n)
{
	return (unsigned)n < SEALED_NAME_COUNT ? name_text[n] : "unknown";
}

enum err sealed_name_find(struct span text, enum sealed_name *ret_n)
{
	for (unsigned n = 0; n < SEALED_NAME_COUNT; n++) {
		if (span_eq_str(text, name_text[n])) {
			*ret_n = (enum sealed_name)n;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

/* --- form ------------------------------------------------------------------------------------- */

static enum err parse_header(struct span in, struct sealed *s, struct span *ret_name)
{
	struct cbor_map m;
	struct cbor c;

	cbor_start(&c, in);
	m = cbor_read_map(&c, MEMBERS);
	form_key(&c, &m, "v");
	(void)form_uint(&c, 1, 1);
	form_key(&c, &m, "kid");
	s->kid = form_visible(&c, KEYRING_ID_MAX);
	form_key(&c, &m, "name");
	*ret_name = form_name(&c);
	form_key(&c, &m, "queue");
	s->queue = form_name(&c);
	form_key(&c, &m, "environment");
	s->environment = form_environment(&c);
	return cbor_done(&c);
}

enum err sealed_parse(struct span in, struct sealed *ret_s)
{
	struct sealed s = { 0 };
	struct span name;
	struct cbor c;

	if (in.n > SEALED_MAX)
		return ERR_LIMIT;
	cbor_start(&c, in);
	if (cbor_read_array(&c, ITEMS) != ITEMS)
		return ERR_SYNTAX;
	form_literal(&c, DOMAIN);
	s.header = form_bytes(&c, 1, HEADER_MAX);
	s.ephemeral = form_bytes(&c, POINT_SIZE, POINT_SIZE);
	s.sealed = form_bytes(&c, TAG_SIZE + 1, TAG_SIZE + SEALED_PLAIN_MAX);
	TRY(cbor_done(&c));
	TRY(parse_header(s.header, &s, &name));
	TRY(sealed_name_find(name, &s.name));
	*ret_s = s;
	return ERR_OK;
}

/* --- key and nonce ---------------------------------------------------------------------------- */

struct key {
	uint8_t key[KEY_SIZE];
	uint8_t nonce[NONCE_SIZE];
};

/* RFC 5869 without a salt. libsodium 1.0.18 has none. */
static void hkdf_sha256(uint8_t *secret, size_t n_secret, uint8_t *info, size_t n_info, uint8_t *ret_out, size_t n)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, n_secret),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, n_info),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);

	BUG_ON(ctx == NULL);
	BUG_ON(EVP_KDF_derive(ctx, ret_out, n, params) != 1);
	EVP_KDF_CTX_free(ctx); /* wipes its copy of the secret */
	EVP_KDF_free(kdf);
}

/* Both public keys and the header are in the info. So another encoding of the same point, or the same shared secret by
 * another pair of keys, gives another key; and the nonce needs no room, since no key is ever used twice. */
static void derive(uint8_t shared[POINT_SIZE], const uint8_t ephemeral[POINT_SIZE],
		   const uint8_t public_key[POINT_SIZE], struct span header, struct key *ret_key)
{
	uint8_t info[INFO_MAX], okm[KEY_SIZE + NONCE_SIZE];

	BUG_ON(header.n > HEADER_MAX);
	memcpy(info, DOMAIN, DOMAIN_LEN);
	memcpy(info + DOMAIN_LEN, ephemeral, POINT_SIZE);
	memcpy(info + DOMAIN_LEN + POINT_SIZE, public_key, POINT_SIZE);
	memcpy(info + DOMAIN_LEN + 2 * POINT_SIZE, header.p, header.n);
	hkdf_sha256(shared, POINT_SIZE, info, DOMAIN_LEN + 2 * POINT_SIZE + header.n, okm, sizeof(okm));
	memcpy(ret_key->key, okm, KEY_SIZE);
	memcpy(ret_key->nonce, okm + KEY_SIZE, NONCE_SIZE);
	sodium_memzero(okm, sizeof(okm));
}

/* Returns its length. */
static size_t additional_data(struct span header, uint8_t ret_aad[DOMAIN_LEN + HEADER_MAX])
{
	BUG_ON(header.n > HEADER_MAX);
	memcpy(ret_aad, DOMAIN, DOMAIN_LEN);
	memcpy(ret_aad + DOMAIN_LEN, header.p, header.n);
	return DOMAIN_LEN + header.n;
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum err decrypt(const struct sealed *s, const struct key *k, struct buf *plain)
{
	uint8_t aad[DOMAIN_LEN + HEADER_MAX];
	const size_t n_aad = additional_data(s->header, aad), n = s->sealed.n - TAG_SIZE;
	uint8_t *room = buf_room(plain, n + 1); /* with the NUL */

	if (room == NULL)
		return ERR_LIMIT;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(room, NULL, NULL, s->sealed.p, s->sealed.n, aad, n_aad, k->nonce,
						       k->key) != 0)
		return ERR_ENVELOPE_OPEN;
	if (!form_printable(span_of(room, n)))
		return ERR_SYNTAX;
	room[n] = '\0';
	buf_grew(plain, n);
	return ERR_OK;
}

enum err sealed_open(const struct sealed *s, const struct keyring *r, struct buf *plain)
{
	const struct keyring_key *to = keyring_find(r, s->kid);
	uint8_t shared[POINT_SIZE];
	struct key k;
	enum err e;

	BUG_ON(s->ephemeral.n != POINT_SIZE || s->sealed.n <= TAG_SIZE);
	buf_reset(plain);
	if (to == NULL)
		return ERR_ENVELOPE_KEY;
	if (to->profile != KEYRING_SECRET)
		return ERR_ENVELOPE_PROFILE;
	e = keyring_dh(r, to, s->ephemeral.p, shared);
	if (e == ERR_OK) {
		derive(shared, s->ephemeral.p, to->public_key, s->header, &k);
		e = decrypt(s, &k, plain);
		sodium_memzero(&k, sizeof(k));
	}
	sodium_memzero(shared, sizeof(shared));
	if (e != ERR_OK)
		buf_reset(plain);
	return e;
}

/* --- sealing ---------------------------------------------------------------------------------- */

static void add_header(enum sealed_name name, struct span environment, struct span queue, struct span kid,
		       struct buf *out)
{
	cbor_add_map(out, MEMBERS);
	cbor_add_str(out, "v");
	cbor_add_uint(out, 1);
	cbor_add_str(out, "kid");
	cbor_add_text(out, kid);
	cbor_add_str(out, "name");
	cbor_add_str(out, sealed_name_text(name));
	cbor_add_str(out, "queue");
	cbor_add_text(out, queue);
	cbor_add_str(out, "environment");
	cbor_add_text(out, environment);
}

/* A shared secret with a key of nobody's, which is gone afterwards. ERR_RANGE: the point is of low order. */
static enum err agree(const uint8_t point[POINT_SIZE], uint8_t ret_ephemeral[POINT_SIZE],
		      uint8_t ret_shared[POINT_SIZE])
{
	uint8_t secret[crypto_scalarmult_SCALARBYTES];
	int rc;

	randombytes_buf(secret, sizeof(secret));
	rc = crypto_scalarmult_base(ret_ephemeral, secret);
	if (rc == 0)
		rc = crypto_scalarmult(ret_shared, secret, point);
	sodium_memzero(secret, sizeof(secret));
	return rc == 0 ? ERR_OK : ERR_RANGE;
}

static enum err encrypt(const struct keyring_key *to, struct span header, struct span secret, struct buf *out)
{
	uint8_t ephemeral[POINT_SIZE], shared[POINT_SIZE], sealed[SEALED_PLAIN_MAX + TAG_SIZE];
	uint8_t aad[DOMAIN_LEN + HEADER_MAX];
	size_t n_aad = additional_data(header, aad);
	enum err e = agree(to->public_key, ephemeral, shared);
	struct key k;

	if (e == ERR_OK) {
		derive(shared, ephemeral, to->public_key, header, &k);
		BUG_ON(crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, secret.p, secret.n, aad, n_aad, NULL,
								  k.nonce, k.key) != 0);
		sodium_memzero(&k, sizeof(k));
		cbor_add_array(out, ITEMS);
		cbor_add_str(out, DOMAIN);
		cbor_add_bytes(out, header);
		cbor_add_bytes(out, span_of(ephemeral, sizeof(ephemeral)));
		cbor_add_bytes(out, span_of(sealed, secret.n + TAG_SIZE));
	}
	sodium_memzero(shared, sizeof(shared));
	return e;
}

enum err sealed_make(enum sealed_name name, struct span environment, struct span queue, const struct keyring_key *to,
		     struct span secret, struct buf *out)
{
	uint8_t header_room[HEADER_MAX], whole_room[SEALED_MAX];
	struct buf header = { .p = header_room, .cap = sizeof(header_room), .max = sizeof(header_room) };
	struct buf whole = { .p = whole_room, .cap = sizeof(whole_room), .max = sizeof(whole_room) };
	struct sealed unused;

	if (secret.n < 1 || secret.n > SEALED_PLAIN_MAX || !form_printable(secret) || to->profile != KEYRING_SECRET)
		return ERR_RANGE;
	add_header(name, environment, queue, span_of(to->id, strnlen(to->id, sizeof(to->id))), &header);
	if (header.overflow)
		return ERR_RANGE;
	TRY(encrypt(to, span_buf(&header), secret, &whole));
	/* What would not be read must not be written: a name, an environment or a queue that is none. */
	if (whole.overflow || sealed_parse(span_buf(&whole), &unused) != ERR_OK)
		return ERR_RANGE;
	buf_add_span(out, span_buf(&whole));
	return buf_ok(out);
}
