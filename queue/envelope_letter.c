/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/envelope_parts.h"

#include "queue/hkdf.h"

#include <sodium.h>
#include <string.h>

#define TAG_ENCRYPT0    16
#define LABEL_ALG       1
#define LABEL_KID       4
#define LABEL_EPHEMERAL (-4) /* as "ek" of the COSE-HPKE draft */
#define LABEL_VERSION   (-65800)
#define LABEL_SID       (-65801)
#define LABEL_OFFICES   (-65802)
#define LABEL_EXPIRES   (-65803)

#define HEADER_MAX      512 /* more than the longest header that the limits allow */
#define LABELS_READ_MAX 16
#define ALL_LABELS      0x3fu

struct letter_key {
	uint8_t key[ENVELOPE_KEY];
	uint8_t nonce[ENVELOPE_NONCE];
};

/* One header; false: its value is not allowed. *ret_bit marks it as seen; 0: an unknown label. */
static bool read_header(struct cbor *c, int64_t label, struct envelope *e, unsigned *ret_bit)
{
	switch (label) {
	case LABEL_ALG:
		*ret_bit = 1u << 0;
		return true; /* checked first, in check_algorithm() */
	case LABEL_KID:
		*ret_bit = 1u << 1;
		return envelope_kid(cbor_read_bytes(c, COSE_KID_MAX), e->kid);
	case LABEL_VERSION:
		*ret_bit = 1u << 2;
		return true;
	case LABEL_SID:
		*ret_bit = 1u << 3;
		e->sid = cbor_read_text(c, JOB_SID_MAX);
		return job_sid_valid(e->sid);
	case LABEL_OFFICES:
		*ret_bit = 1u << 4;
		return job_read_offices(c, e->office, &e->n_offices);
	case LABEL_EXPIRES:
		*ret_bit = 1u << 5;
		e->expires_s = cbor_read_uint(c);
		return true;
	default:
		*ret_bit = 0;
		return true;
	}
}

/* alg and version choose the rules for everything else. */
static enum err read_choice(struct cbor *c, int64_t label)
{
	int64_t value = cbor_read_int(c);

	if (c->bad)
		return ERR_ENVELOPE_SYNTAX;
	return value == (label == LABEL_ALG ? ENVELOPE_ALG : 1) ? ERR_OK : ERR_ENVELOPE_ALGORITHM;
}

static enum err parse_protected(struct span bytes, struct envelope *e)
{
	struct cbor c;
	struct cbor_map map;
	int64_t label;
	unsigned seen = 0, bit;

	cbor_start(&c, bytes);
	map = cbor_read_map(&c, LABELS_READ_MAX);
	while (cbor_read_label(&c, &map, &label)) {
		if (label == LABEL_ALG || label == LABEL_VERSION)
			TRY(read_choice(&c, label));
		if (!read_header(&c, label, e, &bit) || c.bad)
			return ERR_ENVELOPE_SYNTAX;
		if (bit == 0)
			return ERR_ENVELOPE_ALGORITHM;
		seen |= bit;
	}
	if (cbor_done(&c) != ERR_OK)
		return ERR_ENVELOPE_SYNTAX;
	return seen == ALL_LABELS ? ERR_OK : ERR_ENVELOPE_ALGORITHM;
}

/* The unprotected map holds the ephemeral key and nothing else. */
static enum err read_unprotected(struct cbor *c, uint8_t ret_point[32])
{
	struct cbor_map map = cbor_read_map(c, LABELS_READ_MAX);
	struct span point = { NULL, 0 };
	int64_t label;

	while (cbor_read_label(c, &map, &label)) {
		if (label != LABEL_EPHEMERAL)
			return ERR_ENVELOPE_ALGORITHM;
		point = cbor_read_bytes(c, 32);
		if (point.n != 32)
			return ERR_ENVELOPE_SYNTAX;
	}
	if (c->bad)
		return ERR_ENVELOPE_SYNTAX;
	if (point.n != 32)
		return ERR_ENVELOPE_ALGORITHM;
	memcpy(ret_point, point.p, 32);
	return ERR_OK;
}

enum err envelope_parse_letter(struct span bytes, struct envelope *ret_env)
{
	struct cbor c;

	cbor_start(&c, bytes);
	if (cbor_read_tag(&c) != TAG_ENCRYPT0 || cbor_read_array(&c, 3) != 3)
		return ERR_ENVELOPE_SYNTAX;
	ret_env->protected_header = cbor_read_bytes(&c, HEADER_MAX);
	if (c.bad)
		return ERR_ENVELOPE_SYNTAX;
	TRY(parse_protected(ret_env->protected_header, ret_env));
	TRY(read_unprotected(&c, ret_env->point));
	ret_env->ciphertext = cbor_read_bytes(&c, ENVELOPE_MAX);
	if (cbor_done(&c) != ERR_OK || ret_env->ciphertext.n <= ENVELOPE_TAG)
		return ERR_ENVELOPE_SYNTAX;
	return ret_env->ciphertext.n <= ENVELOPE_PLAIN_MAX + ENVELOPE_TAG ? ERR_OK : ERR_ENVELOPE_TOO_LARGE;
}

/* Both public keys go into the derivation, so that the shared secret alone, which several pairs of
 * points can have, does not decide the key. */
static void derive(const uint8_t shared[32], const uint8_t point[32], const uint8_t public_key[32],
		   struct letter_key *ret_key)
{
	uint8_t info[sizeof(LETTER_CONTEXT) - 1 + 64];
	uint8_t prk[HKDF_PRK];
	uint8_t okm[ENVELOPE_KEY + ENVELOPE_NONCE];

	memcpy(info, LETTER_CONTEXT, sizeof(LETTER_CONTEXT) - 1);
	memcpy(info + sizeof(LETTER_CONTEXT) - 1, point, 32);
	memcpy(info + sizeof(LETTER_CONTEXT) - 1 + 32, public_key, 32);
	hkdf_extract(span_of(NULL, 0), span_of(shared, 32), prk);
	hkdf_expand(prk, span_of(info, sizeof(info)), okm, sizeof(okm));
	memcpy(ret_key->key, okm, ENVELOPE_KEY);
	memcpy(ret_key->nonce, okm + ENVELOPE_KEY, ENVELOPE_NONCE);
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(okm, sizeof(okm));
}

/* Enc_structure of RFC 9052 section 5.3. */
static void add_aad(struct buf *b, struct span protected_header)
{
	cbor_add_array(b, 3);
	cbor_add_str(b, "Encrypt0");
	cbor_add_bytes(b, protected_header);
	cbor_add_bytes(b, span_lit(LETTER_CONTEXT));
}

enum err envelope_open_letter(const struct envelope *e, const uint8_t shared[32], const uint8_t public_key[32],
			      struct buf *plain)
{
	struct letter_key k;
	struct buf aad;
	size_t length = e->ciphertext.n - ENVELOPE_TAG;
	uint8_t *out;
	int rc = -1;

	BUG_ON(e->ciphertext.n <= ENVELOPE_TAG);
	buf_reset(plain);
	derive(shared, e->point, public_key, &k);
	buf_init(&aad, HEADER_MAX + 64);
	add_aad(&aad, e->protected_header);
	out = buf_room(plain, length);
	if (out != NULL && buf_ok(&aad) == ERR_OK)
		rc = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, e->ciphertext.p, e->ciphertext.n,
								aad.p, aad.n, k.nonce, k.key);
	sodium_memzero(&k, sizeof(k));
	buf_clear(&aad);
	if (rc == 0)
		buf_grew(plain, length);
	else
		buf_reset(plain);
	return rc == 0 ? ERR_OK : ERR_ENVELOPE_OPEN;
}

static void add_protected(struct buf *b, const char *kid, const struct job *bind)
{
	cbor_add_map(b, 6);
	cbor_add_int(b, LABEL_ALG);
	cbor_add_int(b, ENVELOPE_ALG);
	cbor_add_int(b, LABEL_KID);
	cbor_add_bytes(b, span_str(kid));
	cbor_add_int(b, LABEL_VERSION);
	cbor_add_uint(b, 1);
	cbor_add_int(b, LABEL_SID);
	cbor_add_text(b, bind->sid);
	cbor_add_int(b, LABEL_OFFICES);
	cbor_add_array(b, bind->n_offices);
	for (size_t i = 0; i < bind->n_offices; i++)
		cbor_add_text(b, bind->office[i]);
	cbor_add_int(b, LABEL_EXPIRES);
	cbor_add_uint(b, bind->expires_s);
}

static void encrypt(struct span plain, const struct letter_key *k, struct span aad, struct buf *sealed)
{
	uint8_t *out = buf_room(sealed, plain.n + ENVELOPE_TAG);

	BUG_ON(out == NULL);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, plain.p, plain.n, aad.p, aad.n, NULL, k->nonce, k->key);
	buf_grew(sealed, plain.n + ENVELOPE_TAG);
}

static void add_message(struct buf *out, struct span protected_header, const uint8_t point[32], struct span sealed)
{
	cbor_add_tag(out, TAG_ENCRYPT0);
	cbor_add_array(out, 3);
	cbor_add_bytes(out, protected_header);
	cbor_add_map(out, 1);
	cbor_add_int(out, LABEL_EPHEMERAL);
	cbor_add_bytes(out, span_of(point, 32));
	cbor_add_bytes(out, sealed);
}

enum err envelope_seal_letter(struct span plain, const uint8_t public_key[32], const char *kid, const struct job *bind,
			      const uint8_t *eph_secret, struct buf *out)
{
	uint8_t point[32], shared[32];
	char checked_kid[COSE_KID_MAX + 1];
	struct letter_key k;
	struct buf header, aad, sealed;

	if (plain.n < 1 || plain.n > ENVELOPE_PLAIN_MAX)
		return ERR_LIMIT;
	if (!envelope_kid(span_str(kid), checked_kid) || !job_sid_valid(bind->sid) || bind->n_offices < 1 ||
	    bind->n_offices > JOB_OFFICES_MAX)
		return ERR_RANGE;
	TRY(envelope_agree(eph_secret, public_key, point, shared));
	derive(shared, point, public_key, &k);
	sodium_memzero(shared, sizeof(shared));
	buf_init(&header, HEADER_MAX);
	buf_init(&aad, HEADER_MAX + 64);
	buf_init(&sealed, plain.n + ENVELOPE_TAG);
	add_protected(&header, checked_kid, bind);
	add_aad(&aad, span_buf(&header));
	encrypt(plain, &k, span_buf(&aad), &sealed);
	sodium_memzero(&k, sizeof(k));
	add_message(out, span_buf(&header), point, span_buf(&sealed));
	buf_clear(&header);
	buf_clear(&aad);
	buf_clear(&sealed);
	return buf_ok(out);
}
