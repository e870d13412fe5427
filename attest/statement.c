/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/statement.h"

#include <sodium.h>
#include <string.h>

#include "attest/bundle.h"
#include "attest/receipt.h"
#include "worker/base/cbor.h"

#define CONTEXT          "cwc-statement-v1"
#define TEXT_MAX         64 /* environment, queue, release */
#define MEMBERS_READ_MAX 16

_Static_assert(STATEMENT_HASH_SIZE == crypto_hash_sha256_BYTES, "a statement is known by its SHA-256");

/* In deterministic order of the encoded keys (RFC 8949 section 4.2.1): by length, then bytewise. */
enum member {
	MEMBER_V,
	MEMBER_KEYS,
	MEMBER_GRANT,
	MEMBER_QUEUE,
	MEMBER_BUNDLE,
	MEMBER_RELEASE,
	MEMBER_ENVIRONMENT,
	MEMBER_RECEIPT_KEY,
	MEMBER_RECEIPT_KEY_ID,
	MEMBER_COUNT
};

#define OPTIONAL (1u << MEMBER_GRANT | 1u << MEMBER_BUNDLE)

static const char *const members[MEMBER_COUNT] = {
	[MEMBER_V] = "v",
	[MEMBER_KEYS] = "keys",
	[MEMBER_GRANT] = "grant",
	[MEMBER_QUEUE] = "queue",
	[MEMBER_BUNDLE] = "bundle",
	[MEMBER_RELEASE] = "release",
	[MEMBER_ENVIRONMENT] = "environment",
	[MEMBER_RECEIPT_KEY] = "receipt_key",
	[MEMBER_RECEIPT_KEY_ID] = "receipt_key_id",
};

static void add_value(struct buf *b, const struct statement *s, enum member m)
{
	switch (m) {
	case MEMBER_V:
		cbor_add_uint(b, 1);
		break;
	case MEMBER_KEYS:
		buf_add_span(b, s->keys);
		break;
	case MEMBER_GRANT:
		cbor_add_bytes(b, s->grant);
		break;
	case MEMBER_QUEUE:
		cbor_add_text(b, s->queue);
		break;
	case MEMBER_BUNDLE:
		cbor_add_uint(b, s->bundle);
		break;
	case MEMBER_RELEASE:
		cbor_add_text(b, s->release);
		break;
	case MEMBER_ENVIRONMENT:
		cbor_add_text(b, s->environment);
		break;
	case MEMBER_RECEIPT_KEY:
		cbor_add_bytes(b, span_of(s->receipt_key, sizeof(s->receipt_key)));
		break;
	case MEMBER_RECEIPT_KEY_ID:
		cbor_add_text(b, s->receipt_key_id);
		break;
	case MEMBER_COUNT:
		break;
	}
}

static bool text_fits(struct span s)
{
	return s.n >= 1 && s.n <= TEXT_MAX;
}

/* Of the optional ones those that say something. */
static bool has(const struct statement *s, unsigned m)
{
	return m == MEMBER_GRANT ? s->grant.n > 0 : m != MEMBER_BUNDLE || s->bundle > 0;
}

enum err statement_write(const struct statement *s, struct buf *out)
{
	struct buf b;
	unsigned n = MEMBER_COUNT;
	enum err e;

	if (!text_fits(s->environment) || !text_fits(s->queue) || !text_fits(s->release) ||
	    !text_fits(s->receipt_key_id) || s->bundle > BUNDLE_VERSION_MAX || s->keys.n > KEYRING_WRITTEN_MAX ||
	    (s->grant.n > 0 && s->grant.n != STATEMENT_GRANT_SIZE))
		return ERR_LIMIT;
	buf_init(&b, STATEMENT_MAX);
	for (unsigned m = 0; m < MEMBER_COUNT; m++)
		n -= has(s, m) ? 0 : 1;
	cbor_add_map(&b, n);
	for (unsigned m = 0; m < MEMBER_COUNT; m++) {
		if (!has(s, m))
			continue;
		cbor_add_str(&b, members[m]);
		add_value(&b, s, (enum member)m);
	}
	e = buf_ok(&b);
	if (e == ERR_OK) {
		buf_add_span(out, span_buf(&b));
		e = buf_ok(out);
	}
	buf_clear(&b);
	return e;
}

static struct span read_text(struct cbor *c)
{
	struct span s = cbor_read_text(c, TEXT_MAX);

	if (s.n == 0)
		cbor_fail(c);
	return s;
}

/* A ring that is from no bundle has no such member. */
static uint64_t read_bundle(struct cbor *c)
{
	uint64_t v = cbor_read_uint(c);

	if (v == 0 || v > BUNDLE_VERSION_MAX)
		cbor_fail(c);
	return v;
}

static struct span read_grant(struct cbor *c)
{
	struct span s = cbor_read_bytes(c, STATEMENT_GRANT_SIZE);

	if (s.n != STATEMENT_GRANT_SIZE)
		cbor_fail(c);
	return s;
}

static void read_receipt_key(struct cbor *c, uint8_t ret_key[32])
{
	struct span s = cbor_read_bytes(c, 32);

	if (s.n == 32)
		memcpy(ret_key, s.p, 32);
	else
		cbor_fail(c);
}

static void read_value(struct cbor *c, enum member m, struct statement *s)
{
	switch (m) {
	case MEMBER_V:
		if (cbor_read_uint(c) != 1)
			cbor_fail(c);
		break;
	case MEMBER_KEYS:
		s->keys = cbor_skip(c);
		break;
	case MEMBER_GRANT:
		s->grant = read_grant(c);
		break;
	case MEMBER_QUEUE:
		s->queue = read_text(c);
		break;
	case MEMBER_BUNDLE:
		s->bundle = read_bundle(c);
		break;
	case MEMBER_RELEASE:
		s->release = read_text(c);
		break;
	case MEMBER_ENVIRONMENT:
		s->environment = read_text(c);
		break;
	case MEMBER_RECEIPT_KEY:
		read_receipt_key(c, s->receipt_key);
		break;
	case MEMBER_RECEIPT_KEY_ID:
		s->receipt_key_id = read_text(c);
		break;
	case MEMBER_COUNT:
		cbor_fail(c);
		break;
	}
}

static enum err read_map(struct span in, struct statement *ret_s)
{
	struct statement s = { 0 };
	struct cbor_map map;
	struct span key;
	struct cbor c;
	unsigned seen = OPTIONAL;

	cbor_start(&c, in);
	map = cbor_read_map(&c, MEMBERS_READ_MAX);
	while (cbor_read_key(&c, &map, &key)) {
		unsigned m = 0;

		while (m < MEMBER_COUNT && !span_eq_str(key, members[m]))
			m++;
		read_value(&c, (enum member)m, &s);
		seen |= 1u << m;
	}
	TRY(cbor_done(&c));
	if (seen != (1u << MEMBER_COUNT) - 1)
		return ERR_SYNTAX;
	*ret_s = s;
	return ERR_OK;
}

enum err statement_read(struct span in, struct statement *ret_s)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	char id[RECEIPT_ID_SIZE];
	struct statement s;
	size_t n;

	if (in.n > STATEMENT_MAX)
		return ERR_LIMIT;
	TRY(read_map(in, &s));
	TRY(keyring_read_public(s.keys, key, &n));
	receipt_id(s.receipt_key, id);
	if (!span_eq_str(s.receipt_key_id, id))
		return ERR_RANGE;
	*ret_s = s;
	return ERR_OK;
}

void statement_hash(struct span statement, uint8_t ret_hash[STATEMENT_HASH_SIZE])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const uint8_t *)CONTEXT, sizeof(CONTEXT) - 1);
	crypto_hash_sha256_update(&state, statement.p, statement.n);
	crypto_hash_sha256_final(&state, ret_hash);
}
