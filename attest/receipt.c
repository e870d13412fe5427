/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/receipt.h"

#include <sodium.h>
#include <string.h>

#include "worker/base/cose.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define CONTEXT          "cwc-receipt-v1"
#define TEXT_MAX         64 /* environment, queue, sid, office, delivery_id, outcome */
#define MEMBERS_READ_MAX 16

struct receipt_key {
	uint8_t *secret; /* guarded, and out of reach between uses */
	uint8_t public_key[COSE_ED25519_PUBLIC];
	char id[RECEIPT_ID_SIZE];
};

void receipt_id(const uint8_t public_key[32], char ret_id[RECEIPT_ID_SIZE])
{
	memcpy(ret_id, "rcp-", sizeof("rcp-"));
	text_hex(span_of(public_key, 8), ret_id + 4);
}

struct receipt_key *receipt_key_new(void)
{
	struct receipt_key *k = xcalloc(1, sizeof(*k));

	k->secret = secret_alloc(COSE_ED25519_SECRET);
	BUG_ON(crypto_sign_keypair(k->public_key, k->secret) != 0);
	BUG_ON(sodium_mprotect_noaccess(k->secret) != 0);
	receipt_id(k->public_key, k->id);
	return k;
}

void receipt_key_free(struct receipt_key *k)
{
	if (k == NULL)
		return;
	BUG_ON(sodium_mprotect_readwrite(k->secret) != 0);
	secret_free(k->secret);
	xfree_wipe(k, sizeof(*k));
}

const uint8_t *receipt_key_public(const struct receipt_key *k)
{
	return k->public_key;
}

const char *receipt_key_id(const struct receipt_key *k)
{
	return k->id;
}

/* --- the map --------------------------------------------------------------------------------- */

/* In deterministic order of the encoded keys (RFC 8949 section 4.2.1): by length, then bytewise. */
enum member {
	MEMBER_V,
	MEMBER_SID,
	MEMBER_QUEUE,
	MEMBER_OFFICE,
	MEMBER_ATTEMPT,
	MEMBER_OUTCOME,
	MEMBER_BEGUN_MS,
	MEMBER_DOCUMENT,
	MEMBER_ENDED_MS,
	MEMBER_GENERATION,
	MEMBER_DELIVERY_ID,
	MEMBER_ENVIRONMENT,
	MEMBER_HTTP_STATUS,
	MEMBER_COUNT
};

static const struct {
	const char *name;
	bool required;
} members[MEMBER_COUNT] = {
	[MEMBER_V] = { "v", true },
	[MEMBER_SID] = { "sid", true },
	[MEMBER_QUEUE] = { "queue", true },
	[MEMBER_OFFICE] = { "office", true },
	[MEMBER_ATTEMPT] = { "attempt", true },
	[MEMBER_OUTCOME] = { "outcome", true },
	[MEMBER_BEGUN_MS] = { "begun_ms", false },
	[MEMBER_DOCUMENT] = { "document", false },
	[MEMBER_ENDED_MS] = { "ended_ms", false },
	[MEMBER_GENERATION] = { "generation", true },
	[MEMBER_DELIVERY_ID] = { "delivery_id", false },
	[MEMBER_ENVIRONMENT] = { "environment", true },
	[MEMBER_HTTP_STATUS] = { "http_status", false },
};

static bool member_present(const struct receipt *r, enum member m)
{
	switch ((int)m) {
	case MEMBER_BEGUN_MS:
		return r->begun_ms > 0;
	case MEMBER_ENDED_MS:
		return r->ended_ms > 0;
	case MEMBER_DOCUMENT:
		return r->document.n > 0;
	case MEMBER_DELIVERY_ID:
		return r->delivery_id.n > 0;
	case MEMBER_HTTP_STATUS:
		return r->http_status > 0;
	default:
		return true;
	}
}

static void add_value(struct buf *b, const struct receipt *r, enum member m)
{
	switch (m) {
	case MEMBER_V:
		cbor_add_uint(b, 1);
		break;
	case MEMBER_SID:
		cbor_add_text(b, r->sid);
		break;
	case MEMBER_QUEUE:
		cbor_add_text(b, r->queue);
		break;
	case MEMBER_OFFICE:
		cbor_add_text(b, r->office);
		break;
	case MEMBER_ATTEMPT:
		cbor_add_uint(b, r->attempt);
		break;
	case MEMBER_OUTCOME:
		cbor_add_text(b, r->outcome);
		break;
	case MEMBER_BEGUN_MS:
		cbor_add_int(b, r->begun_ms);
		break;
	case MEMBER_DOCUMENT:
		cbor_add_bytes(b, r->document);
		break;
	case MEMBER_ENDED_MS:
		cbor_add_int(b, r->ended_ms);
		break;
	case MEMBER_GENERATION:
		cbor_add_uint(b, r->generation);
		break;
	case MEMBER_DELIVERY_ID:
		cbor_add_text(b, r->delivery_id);
		break;
	case MEMBER_ENVIRONMENT:
		cbor_add_text(b, r->environment);
		break;
	case MEMBER_HTTP_STATUS:
		cbor_add_int(b, r->http_status);
		break;
	case MEMBER_COUNT:
		break;
	}
}

static void add_payload(struct buf *b, const struct receipt *r)
{
	size_t n = 0;

	for (unsigned m = 0; m < MEMBER_COUNT; m++)
		n += member_present(r, (enum member)m);
	cbor_add_map(b, n);
	for (unsigned m = 0; m < MEMBER_COUNT; m++) {
		if (!member_present(r, (enum member)m))
			continue;
		cbor_add_str(b, members[m].name);
		add_value(b, r, (enum member)m);
	}
}

void receipt_sign(const struct receipt_key *k, const struct receipt *r, struct buf *out)
{
	struct buf payload, whole;

	buf_init(&payload, RECEIPT_MAX);
	buf_init(&whole, RECEIPT_MAX);
	add_payload(&payload, r);
	BUG_ON(sodium_mprotect_readonly(k->secret) != 0);
	cose_sign1_sign(span_lit(CONTEXT), span_str(k->id), span_buf(&payload), k->secret, &whole);
	BUG_ON(sodium_mprotect_noaccess(k->secret) != 0);
	/* A value from outside that is too long must not be signed cut short. */
	if (payload.overflow || whole.overflow)
		out->overflow = true;
	else
		buf_add_span(out, span_buf(&whole));
	buf_clear(&payload);
	buf_clear(&whole);
}

static struct span read_text(struct cbor *c)
{
	struct span s = cbor_read_text(c, TEXT_MAX);

	if (s.n == 0)
		cbor_fail(c);
	return s;
}

static uint64_t read_uint(struct cbor *c, uint64_t max)
{
	uint64_t v = cbor_read_uint(c);

	if (v > max)
		cbor_fail(c);
	return v;
}

static struct span read_hash(struct cbor *c)
{
	struct span s = cbor_read_bytes(c, crypto_hash_sha256_BYTES);

	if (s.n != crypto_hash_sha256_BYTES)
		cbor_fail(c);
	return s;
}

static void read_value(struct cbor *c, enum member m, struct receipt *r)
{
	switch (m) {
	case MEMBER_V:
		if (cbor_read_uint(c) != 1)
			cbor_fail(c);
		break;
	case MEMBER_SID:
		r->sid = read_text(c);
		break;
	case MEMBER_QUEUE:
		r->queue = read_text(c);
		break;
	case MEMBER_OFFICE:
		r->office = read_text(c);
		break;
	case MEMBER_ATTEMPT:
		r->attempt = cbor_read_uint(c);
		break;
	case MEMBER_OUTCOME:
		r->outcome = read_text(c);
		break;
	case MEMBER_BEGUN_MS:
		r->begun_ms = (int64_t)read_uint(c, INT64_MAX);
		break;
	case MEMBER_DOCUMENT:
		r->document = read_hash(c);
		break;
	case MEMBER_ENDED_MS:
		r->ended_ms = (int64_t)read_uint(c, INT64_MAX);
		break;
	case MEMBER_GENERATION:
		r->generation = cbor_read_uint(c);
		break;
	case MEMBER_DELIVERY_ID:
		r->delivery_id = read_text(c);
		break;
	case MEMBER_ENVIRONMENT:
		r->environment = read_text(c);
		break;
	case MEMBER_HTTP_STATUS:
		r->http_status = (int)read_uint(c, 999);
		break;
	case MEMBER_COUNT:
		cbor_fail(c);
		break;
	}
}

static enum err parse_payload(struct span payload, struct receipt *ret_receipt)
{
	struct receipt r = { 0 };
	struct cbor c;
	struct cbor_map map;
	struct span key;
	unsigned seen = 0;

	cbor_start(&c, payload);
	map = cbor_read_map(&c, MEMBERS_READ_MAX);
	while (cbor_read_key(&c, &map, &key)) {
		unsigned m = 0;

		while (m < MEMBER_COUNT && !span_eq_str(key, members[m].name))
			m++;
		read_value(&c, (enum member)m, &r);
		seen |= 1u << m;
	}
	TRY(cbor_done(&c));
	for (unsigned m = 0; m < MEMBER_COUNT; m++)
		if (members[m].required && !(seen & 1u << m))
			return ERR_SYNTAX;
	*ret_receipt = r;
	return ERR_OK;
}

enum err receipt_verify(struct span in, const uint8_t public_key[32], struct receipt *ret_receipt)
{
	struct cose_sign1 m;
	char id[RECEIPT_ID_SIZE];

	if (in.n > RECEIPT_MAX || cose_sign1_parse(in, &m) != ERR_OK)
		return ERR_SYNTAX;
	receipt_id(public_key, id);
	if (!span_eq_str(m.kid, id) || cose_sign1_verify(&m, span_lit(CONTEXT), public_key) != ERR_OK)
		return ERR_CRYPTO;
	return parse_payload(m.payload, ret_receipt);
}
