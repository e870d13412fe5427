/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/envelope_parts.h"

#include "worker/base/text.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>

#define CIPHERTEXT_MAX (ENVELOPE_PLAIN_MAX + ENVELOPE_TAG)

static bool base64_digit(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Canonical base64 (RFC 4648 sections 3.2, 3.5 and 4), checked without decoding: the digits are
 * decoded only into the arena, once the key is known. */
static bool base64_canonical(struct span s, size_t *ret_length)
{
	size_t pad = 0;
	uint8_t last;

	if (s.n < 4 || s.n % 4 != 0)
		return false;
	while (pad < 2 && s.p[s.n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < s.n - pad; i++)
		if (!base64_digit(s.p[i]))
			return false;
	/* The unused bits of the last digit: A, Q, g, w end in four zero bits, every fourth digit in two. */
	last = s.p[s.n - 1 - pad];
	if ((pad == 2 && strchr("AQgw", last) == NULL) || (pad == 1 && strchr("AEIMQUYcgkosw048", last) == NULL))
		return false;
	*ret_length = s.n / 4 * 3 - pad;
	return true;
}

static struct span member(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : span_of(NULL, 0);
}

static enum err read_nonce(struct span text, uint8_t ret_nonce[ENVELOPE_NONCE])
{
	struct buf b;
	bool ok;

	buf_init(&b, ENVELOPE_NONCE);
	ok = text_unbase64(text, &b) == ERR_OK && b.n == ENVELOPE_NONCE;
	if (ok)
		memcpy(ret_nonce, b.p, ENVELOPE_NONCE);
	buf_clear(&b);
	return ok ? ERR_OK : ERR_ENVELOPE_SYNTAX;
}

/* The ciphertext as a view into `bytes`. JSON would allow its digits to be written as escapes;
 * FORMATS.md does not, so that nothing of this size is ever copied. */
static enum err find_ciphertext(struct span bytes, struct span text, struct span *ret_view)
{
	size_t length;
	const void *at;

	if (!base64_canonical(text, &length) || length <= ENVELOPE_TAG)
		return ERR_ENVELOPE_SYNTAX;
	if (length > CIPHERTEXT_MAX)
		return ERR_ENVELOPE_TOO_LARGE;
	at = memmem(bytes.p, bytes.n, text.p, text.n);
	if (at == NULL)
		return ERR_ENVELOPE_SYNTAX;
	*ret_view = span_of(at, text.n);
	return ERR_OK;
}

static enum err read_members(const json_t *o, struct span bytes, struct envelope *e)
{
	struct span point = member(o, "ephemeralPublicKey");

	/* With four members in all, the four that follow are all there are. */
	if (!json_is_object(o) || json_object_size(o) != 4)
		return ERR_ENVELOPE_SYNTAX;
	if (!envelope_kid(member(o, "teeKeyId"), e->kid))
		return ERR_ENVELOPE_SYNTAX;
	if (point.n == 66 && memcmp(point.p, "0x", 2) == 0)
		point = span_of(point.p + 2, 64);
	if (text_unhex(point, e->point, sizeof(e->point)) != ERR_OK)
		return ERR_ENVELOPE_SYNTAX;
	TRY(read_nonce(member(o, "nonce"), e->nonce));
	return find_ciphertext(bytes, member(o, "ciphertext"), &e->ciphertext);
}

enum err envelope_parse_witness(struct span bytes, struct envelope *ret_env)
{
	json_t *o = json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, NULL);
	enum err e;

	if (o == NULL)
		return ERR_ENVELOPE_SYNTAX;
	e = read_members(o, bytes, ret_env);
	json_decref(o);
	return e;
}

/* libsodium takes keys of 16 to 64 bytes; another context opens nothing. */
static bool derive(const char *context, const uint8_t shared[32], uint8_t ret_key[ENVELOPE_KEY])
{
	size_t n = strnlen(context, crypto_generichash_KEYBYTES_MAX + 1);

	return n >= crypto_generichash_KEYBYTES_MIN && n <= crypto_generichash_KEYBYTES_MAX &&
	       crypto_generichash(ret_key, ENVELOPE_KEY, shared, 32, (const uint8_t *)context, n) == 0;
}

static bool decrypt(const struct envelope *e, const uint8_t shared[32], const char *context, struct span ciphertext,
		    uint8_t *out)
{
	uint8_t key[ENVELOPE_KEY];
	bool ok;

	ok = derive(context, shared, key) &&
	     crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, ciphertext.p, ciphertext.n, NULL, 0, e->nonce,
							key) == 0;
	sodium_memzero(key, sizeof(key));
	return ok;
}

enum err envelope_open_witness(const struct envelope *e, const uint8_t shared[32], const char (*context)[65],
			       size_t n_contexts, struct buf *plain)
{
	uint8_t *out;
	size_t n, length;
	bool open = false;

	buf_reset(plain);
	if (text_unbase64(e->ciphertext, plain) != ERR_OK || plain->n <= ENVELOPE_TAG)
		goto out;
	/* A failed attempt clears its output, so the plaintext goes behind the ciphertext, which the next
	 * context needs. */
	n = plain->n;
	length = n - ENVELOPE_TAG;
	out = buf_room(plain, length);
	if (out == NULL)
		goto out;
	for (size_t i = 0; i < n_contexts && !open; i++)
		open = decrypt(e, shared, context[i], span_of(plain->p, n), out);
	if (open) {
		buf_grew(plain, length);
		memmove(plain->p, out, length);
		sodium_memzero(plain->p + length, n);
		plain->n = length;
	}
out:
	if (!open)
		buf_reset(plain);
	return open ? ERR_OK : ERR_ENVELOPE_OPEN;
}

static void add_member(struct buf *out, const char *name, struct span value)
{
	text_json(span_str(name), out);
	buf_add_byte(out, ':');
	text_json(value, out);
}

static void add_json(struct buf *out, struct span ciphertext, const uint8_t nonce[ENVELOPE_NONCE],
		     const uint8_t point[32], const char *kid)
{
	char hex[2 + 64 + 1] = "0x";
	struct buf text;

	buf_init(&text, ENVELOPE_MAX);
	text_hex(span_of(point, 32), hex + 2);
	text_base64(ciphertext, &text);
	buf_add_byte(out, '{');
	add_member(out, "ciphertext", span_buf(&text));
	buf_reset(&text);
	text_base64(span_of(nonce, ENVELOPE_NONCE), &text);
	buf_add_byte(out, ',');
	add_member(out, "nonce", span_buf(&text));
	buf_add_byte(out, ',');
	add_member(out, "ephemeralPublicKey", span_str(hex));
	buf_add_byte(out, ',');
	add_member(out, "teeKeyId", span_str(kid));
	buf_add_byte(out, '}');
	buf_clear(&text);
}

enum err envelope_seal_witness(struct span plain, const uint8_t public_key[32], const char *kid, const char *context,
			       const uint8_t *eph_secret, const uint8_t *nonce, struct buf *out)
{
	uint8_t point[32], shared[32], key[ENVELOPE_KEY], own_nonce[ENVELOPE_NONCE];
	char checked_kid[COSE_KID_MAX + 1];
	struct buf sealed;
	bool ok;

	if (plain.n < 1 || plain.n > ENVELOPE_PLAIN_MAX)
		return ERR_LIMIT;
	if (!envelope_kid(span_str(kid), checked_kid))
		return ERR_RANGE;
	TRY(envelope_agree(eph_secret, public_key, point, shared));
	ok = derive(context, shared, key);
	sodium_memzero(shared, sizeof(shared));
	if (!ok)
		return ERR_RANGE;
	if (nonce == NULL) {
		randombytes_buf(own_nonce, sizeof(own_nonce));
		nonce = own_nonce;
	}
	buf_init(&sealed, plain.n + ENVELOPE_TAG);
	crypto_aead_xchacha20poly1305_ietf_encrypt(buf_room(&sealed, plain.n + ENVELOPE_TAG), NULL, plain.p, plain.n,
						   NULL, 0, NULL, nonce, key);
	buf_grew(&sealed, plain.n + ENVELOPE_TAG);
	sodium_memzero(key, sizeof(key));
	add_json(out, span_buf(&sealed), nonce, point, checked_kid);
	buf_clear(&sealed);
	return buf_ok(out);
}
