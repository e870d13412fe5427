/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/bundle.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "attest/form.h"
#include "attest/grant.h"
#include "worker/base/secret.h"

#define DOMAIN     "cwc-bundle-v1"
#define ITEMS      5
#define MEMBERS    6
#define HEADER_MAX (KMS_BLOB_MAX + 1024)
#define AAD_MAX    (sizeof(DOMAIN) - 1 + HEADER_MAX)
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define FUTURE_MS  60000

_Static_assert(KMS_DATA_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the data key is the cipher's");
_Static_assert(BUNDLE_HASH_SIZE == crypto_hash_sha256_BYTES, "size of the hash");

/* --- form ------------------------------------------------------------------------------------- */

static enum err parse_header(struct span in, struct bundle *b)
{
	struct cbor_map m;
	struct cbor c;

	cbor_start(&c, in);
	m = cbor_read_map(&c, MEMBERS);
	form_key(&c, &m, "v");
	(void)form_uint(&c, 1, 1);
	form_key(&c, &m, "queue");
	b->queue = form_name(&c);
	form_key(&c, &m, "kms_key");
	b->kms_key = form_visible(&c, KMS_ARN_MAX);
	form_key(&c, &m, "version");
	b->version = form_uint(&c, 1, BUNDLE_VERSION_MAX);
	form_key(&c, &m, "wrapped");
	b->wrapped = form_bytes(&c, 1, KMS_BLOB_MAX);
	form_key(&c, &m, "environment");
	b->environment = form_environment(&c);
	return cbor_done(&c);
}

/* Over everything but the maker, from the array's head on: a string of items that says where it ends. */
static void hash_unmade(struct span unmade, uint8_t ret_hash[BUNDLE_HASH_SIZE])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const uint8_t *)DOMAIN, sizeof(DOMAIN) - 1);
	crypto_hash_sha256_update(&st, unmade.p, unmade.n);
	crypto_hash_sha256_final(&st, ret_hash);
}

enum err bundle_parse(struct span in, struct bundle *ret_b)
{
	struct bundle b = { 0 };
	struct cbor c;
	size_t unmade;

	if (in.n > BUNDLE_MAX)
		return ERR_LIMIT;
	cbor_start(&c, in);
	if (cbor_read_array(&c, ITEMS) != ITEMS)
		return ERR_SYNTAX;
	form_literal(&c, DOMAIN);
	b.header = form_bytes(&c, 1, HEADER_MAX);
	b.nonce = form_bytes(&c, NONCE_SIZE, NONCE_SIZE);
	b.sealed = form_bytes(&c, TAG_SIZE + 1, TAG_SIZE + BUNDLE_PLAIN_MAX);
	unmade = c.at;
	b.maker = form_bytes(&c, 1, ATTEST_DOCUMENT_MAX);
	TRY(cbor_done(&c));
	TRY(parse_header(b.header, &b));
	hash_unmade(span_of(in.p, unmade), b.hash);
	*ret_b = b;
	return ERR_OK;
}

size_t bundle_context(const struct bundle *b, struct kms_pair ret_pair[KMS_CONTEXT_MAX], char room[BUNDLE_CONTEXT_ROOM])
{
	const char *environment = form_environment_text(b->environment);
	char *version;

	_Static_assert(FORM_NAME_MAX + sizeof("4294967295") < BUNDLE_CONTEXT_ROOM, "queue and version with their NULs");
	if (environment == NULL || !form_name_valid(b->queue) || b->version < 1 || b->version > BUNDLE_VERSION_MAX)
		return 0;
	memcpy(room, b->queue.p, b->queue.n);
	room[b->queue.n] = '\0';
	version = room + b->queue.n + 1;
	(void)snprintf(version, sizeof("4294967295"), "%" PRIu64, b->version);
	ret_pair[0] = (struct kms_pair){ "purpose", DOMAIN };
	ret_pair[1] = (struct kms_pair){ "environment", environment };
	ret_pair[2] = (struct kms_pair){ "queue", room };
	ret_pair[3] = (struct kms_pair){ "version", version };
	return 4;
}

/* --- the maker -------------------------------------------------------------------------------- */

enum attest_code bundle_check_maker(const struct bundle *b, const struct attest_anchor *anchor,
				    const uint8_t own[3][ATTEST_PCR_SIZE], int64_t now_ms)
{
	const struct span hash = span_of(b->hash, sizeof(b->hash));
	struct attest_measurement release = { .pcrs = 7 }; /* PCR0 to PCR2 */
	struct attest_document d;
	struct attest_report r;
	enum attest_code code;

	memcpy(release.pcr, own, 3 * sizeof(release.pcr[0]));
	/* A bundle may be as old as its release: a bound that no age reaches, because none at all asks for a nonce. */
	code = attest_verify(b->maker, anchor,
			     &(struct attest_policy){ .allowed = &release,
						      .n_allowed = 1,
						      .now_ms = now_ms,
						      .max_age_ms = INT64_MAX,
						      .max_future_ms = FUTURE_MS,
						      .user_data = &hash },
			     &d, &r);
	if (code != ATTEST_OK)
		return code;
	/* The keeper asks for its document with user_data alone. One with more was made for something else. */
	if (d.nonce.present)
		return ATTEST_BINDING_NONCE;
	return d.public_key.present ? ATTEST_BINDING_PUBLIC_KEY : ATTEST_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The caller clears the buf. */
static void additional_data(struct span header, struct buf *ret_aad)
{
	buf_init(ret_aad, AAD_MAX);
	buf_add_str(ret_aad, DOMAIN);
	buf_add_span(ret_aad, header);
	BUG_ON(ret_aad->overflow);
}

static enum err decrypt(const struct bundle *b, const uint8_t data_key[KMS_DATA_KEY], struct buf *plain)
{
	const size_t n = b->sealed.n - TAG_SIZE;
	uint8_t *room;
	struct buf aad;
	int rc;

	BUG_ON(b->sealed.n <= TAG_SIZE || b->nonce.n != NONCE_SIZE);
	room = buf_room(plain, n);
	if (room == NULL)
		return ERR_LIMIT;
	additional_data(b->header, &aad);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(room, NULL, NULL, b->sealed.p, b->sealed.n, aad.p, aad.n,
							b->nonce.p, data_key);
	buf_clear(&aad);
	if (rc != 0)
		return ERR_CRYPTO;
	buf_grew(plain, n);
	return ERR_OK;
}

/* Whether it is a grant that counts is asked by grant_verify(); here, that it can be one. */
static struct span read_signers(struct cbor *c)
{
	struct span s;

	if (cbor_peek(c) != CBOR_TAG)
		cbor_fail(c);
	s = cbor_skip(c);
	if (s.n > GRANT_MAX)
		cbor_fail(c);
	return s;
}

static enum err read_plain(struct span plain, struct bundle_content *ret_content)
{
	struct span keys, signers = { NULL, 0 };
	struct cbor_map m;
	struct cbor c;

	cbor_start(&c, plain);
	m = cbor_read_map(&c, 2);
	form_key(&c, &m, "keys");
	keys = cbor_skip(&c);
	if (m.left > 0) {
		form_key(&c, &m, "signers");
		signers = read_signers(&c);
	}
	TRY(cbor_done(&c));
	TRY(keyring_read(ret_content->ring, keys));
	ret_content->signers = signers;
	return ERR_OK;
}

enum err bundle_open(const struct bundle *b, const uint8_t data_key[KMS_DATA_KEY], struct buf *plain,
		     struct bundle_content *ret_content)
{
	enum err e;

	buf_reset(plain);
	e = decrypt(b, data_key, plain);
	if (e == ERR_OK)
		e = read_plain(span_buf(plain), ret_content);
	if (e != ERR_OK)
		buf_reset(plain);
	return e;
}

/* --- sealing ---------------------------------------------------------------------------------- */

static void add_header(const struct bundle *b, struct buf *out)
{
	cbor_add_map(out, MEMBERS);
	cbor_add_str(out, "v");
	cbor_add_uint(out, 1);
	cbor_add_str(out, "queue");
	cbor_add_text(out, b->queue);
	cbor_add_str(out, "kms_key");
	cbor_add_text(out, b->kms_key);
	cbor_add_str(out, "version");
	cbor_add_uint(out, b->version);
	cbor_add_str(out, "wrapped");
	cbor_add_bytes(out, b->wrapped);
	cbor_add_str(out, "environment");
	cbor_add_text(out, b->environment);
}

/* What would not be read again must not be written: after a restart there would be no ring. */
static bool header_readable(const struct buf *header)
{
	struct bundle unused;

	return !header->overflow && parse_header(span_buf(header), &unused) == ERR_OK;
}

static bool signers_readable(struct span signers)
{
	struct cbor c;

	if (signers.n == 0)
		return true;
	cbor_start(&c, signers);
	(void)read_signers(&c);
	return cbor_done(&c) == ERR_OK;
}

static void add_plain(const struct bundle_content *content, struct buf *out)
{
	cbor_add_map(out, content->signers.n > 0 ? 2 : 1);
	cbor_add_str(out, "keys");
	keyring_write(content->ring, out);
	if (content->signers.n > 0) {
		cbor_add_str(out, "signers");
		buf_add_span(out, content->signers);
	}
}

static void encrypt(struct span plain, struct span header, const uint8_t nonce[NONCE_SIZE],
		    const uint8_t data_key[KMS_DATA_KEY], struct buf *out)
{
	uint8_t *room = buf_room(out, plain.n + TAG_SIZE);
	struct buf aad;

	BUG_ON(room == NULL);
	additional_data(header, &aad);
	BUG_ON(crypto_aead_xchacha20poly1305_ietf_encrypt(room, NULL, plain.p, plain.n, aad.p, aad.n, NULL, nonce,
							  data_key) != 0);
	buf_grew(out, plain.n + TAG_SIZE);
	buf_clear(&aad);
}

/* Everything but the maker. */
static enum err add_unmade(const struct bundle_content *content, struct span header,
			   const uint8_t data_key[KMS_DATA_KEY], struct buf *out)
{
	uint8_t nonce[NONCE_SIZE];
	struct buf plain, sealed;
	enum err e;

	secret_arena(&plain, BUNDLE_PLAIN_MAX);
	buf_init(&sealed, BUNDLE_PLAIN_MAX + TAG_SIZE);
	add_plain(content, &plain);
	e = buf_ok(&plain);
	if (e == ERR_OK) {
		randombytes_buf(nonce, sizeof(nonce));
		encrypt(span_buf(&plain), header, nonce, data_key, &sealed);
		cbor_add_array(out, ITEMS);
		cbor_add_str(out, DOMAIN);
		cbor_add_bytes(out, header);
		cbor_add_bytes(out, span_of(nonce, sizeof(nonce)));
		cbor_add_bytes(out, span_buf(&sealed));
		e = buf_ok(out);
	}
	secret_arena_free(&plain);
	buf_clear(&sealed);
	return e;
}

enum err bundle_seal(const struct bundle *b, const struct bundle_content *content, const uint8_t data_key[KMS_DATA_KEY],
		     struct buf *out, uint8_t ret_hash[BUNDLE_HASH_SIZE])
{
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct buf header, whole;
	enum err e = ERR_RANGE;

	buf_init(&header, HEADER_MAX);
	buf_init(&whole, BUNDLE_MAX);
	add_header(b, &header);
	if (header_readable(&header) && signers_readable(content->signers))
		e = add_unmade(content, span_buf(&header), data_key, &whole);
	if (e == ERR_OK) {
		hash_unmade(span_buf(&whole), hash);
		buf_add_span(out, span_buf(&whole));
		e = buf_ok(out);
	}
	if (e == ERR_OK)
		memcpy(ret_hash, hash, sizeof(hash));
	buf_clear(&header);
	buf_clear(&whole);
	return e;
}

enum err bundle_finish(struct span document, struct buf *out)
{
	struct buf item;
	enum err e = ERR_LIMIT;

	if (document.n == 0 || document.n > ATTEST_DOCUMENT_MAX)
		return ERR_LIMIT;
	buf_init(&item, ATTEST_DOCUMENT_MAX + 16);
	cbor_add_bytes(&item, document);
	if (out->n <= BUNDLE_MAX && item.n <= BUNDLE_MAX - out->n) {
		buf_add_span(out, span_buf(&item));
		e = buf_ok(out);
	}
	buf_clear(&item);
	return e;
}
