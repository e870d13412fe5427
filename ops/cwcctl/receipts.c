/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/receipts.h"

#include <string.h>

#include "attest/receipt.h"
#include "ops/cwcctl/out.h"
#include "worker/base/cose.h"
#include "worker/base/text.h"

#define KID_SIZE 65
#define PAGE     "256"

struct receipt_public {
	char kid[KID_SIZE];
	uint8_t key[32];
};

struct receipts {
	struct ctl *c;
	struct receipt_public *key;
	size_t n, room;
	char last[64]; /* the newest entry of `attestations` that was read */
};

/* --- keys ------------------------------------------------------------------------------------- */

static void key_add(struct receipts *r, const struct resp_reply *flat)
{
	struct span kid = reply_field(flat, "receipt_key_id");
	struct receipt_public k;
	if (kid.n == 0 || kid.n >= KID_SIZE || text_unhex(reply_field(flat, "receipt_key"), k.key, 32) != ERR_OK)
		return;
	memcpy(k.kid, kid.p, kid.n);
	k.kid[kid.n] = '\0';
	if (r->n == r->room) {
		size_t room = r->room == 0 ? 16 : 2 * r->room;
		struct receipt_public *more = xcalloc(room, sizeof(*more));
		if (r->n > 0)
			memcpy(more, r->key, r->n * sizeof(*more));
		free(r->key);
		r->key = more;
		r->room = room;
	}
	r->key[r->n++] = k;
}

/* The entries behind those that were read before; false after a report. */
static bool keys_read(struct receipts *r)
{
	for (;;) {
		struct resp_reply *page = session_call(
			r->c, SESSION_ARGV(span_lit("XREAD"), span_lit("COUNT"), span_lit(PAGE), span_lit("STREAMS"),
					   session_key(r->c, "attestations"), span_str(r->last)));
		if (page == NULL)
			return false;
		const struct resp_reply *entries = resp_at(resp_at(page, 0), 1);
		size_t n = entries->type == RESP_ARRAY ? entries->n : 0;
		for (size_t i = 0; i < n; i++) {
			struct span id = resp_text(resp_at(entries->at[i], 0));
			key_add(r, resp_at(entries->at[i], 1));
			snprintf(r->last, sizeof(r->last), "%.*s", (int)id.n, (const char *)id.p);
		}
		reply_free(page);
		if (n == 0)
			return true;
	}
}

struct receipts *receipts_new(struct ctl *c)
{
	struct receipts *r = xcalloc(1, sizeof(*r));
	r->c = c;
	r->last[0] = '0';
	if (keys_read(r))
		return r;
	receipts_free(r);
	return NULL;
}

void receipts_free(struct receipts *r)
{
	if (r == NULL)
		return;
	free(r->key);
	free(r);
}

/* --- verifying -------------------------------------------------------------------------------- */

static bool number_is(struct span text, uint64_t value)
{
	uint64_t n;
	return text_uint(text, UINT64_MAX, &n) == ERR_OK && n == value;
}

/* A worker that only ended the job, without a POST, signs generation 0 when it did not verify the bytes. A late answer
 * is signed with the number of its own POST, and its entry counts those that began meanwhile. */
static bool agrees(const struct receipts *r, const struct resp_reply *flat, const struct receipt *x)
{
	struct span generation = reply_field(flat, "generation"), status = reply_field(flat, "http_status");
	uint64_t attempts;
	bool counted = text_uint(reply_field(flat, "attempt"), UINT64_MAX, &attempts) == ERR_OK;
	bool same_generation = number_is(generation, x->generation) || (x->generation == 0 && x->begun_ms == 0);
	return span_eq_str(x->queue, r->c->session->name) && span_eq(x->sid, reply_field(flat, "sid")) &&
	       span_eq(x->office, reply_field(flat, "office")) && span_eq(x->outcome, reply_field(flat, "outcome")) &&
	       counted && x->attempt <= attempts && same_generation && number_is(status, (uint64_t)x->http_status) &&
	       (x->delivery_id.n == 0 || span_eq(x->delivery_id, reply_field(flat, "delivery_id")));
}

/* "unknown key" when none of that id is published. */
static const char *verify_with_keys(const struct receipts *r, struct span kid, const struct resp_reply *flat)
{
	const char *answer = "unknown key";
	for (size_t i = 0; i < r->n; i++) {
		struct receipt x;
		if (!span_eq_str(kid, r->key[i].kid))
			continue;
		if (receipt_verify(reply_field(flat, "receipt"), r->key[i].key, &x) == ERR_OK)
			return agrees(r, flat, &x) ? "ok" : "mismatch";
		answer = "bad signature";
	}
	return answer;
}

const char *receipts_verify(struct receipts *r, const struct resp_reply *flat)
{
	struct cose_sign1 m;
	struct span receipt = reply_field(flat, "receipt");
	if (receipt.n == 0)
		return span_eq_str(reply_field(flat, "state"), "late") ? "none" : "missing";
	if (cose_sign1_parse(receipt, &m) != ERR_OK)
		return "malformed";
	const char *answer = verify_with_keys(r, m.kid, flat);
	if (strcmp(answer, "unknown key") != 0)
		return answer;
	return keys_read(r) ? verify_with_keys(r, m.kid, flat) : NULL;
}

/* --- decoding --------------------------------------------------------------------------------- */

static json_t *decode_value(struct cbor *c)
{
	switch (cbor_peek(c)) {
	case CBOR_UINT:
	case CBOR_NINT:
		return json_integer(cbor_read_int(c));
	case CBOR_TEXT:
		return out_string(cbor_read_text(c, RECEIPT_MAX));
	case CBOR_BYTES:
		return out_hex(cbor_read_bytes(c, RECEIPT_MAX));
	case CBOR_ARRAY:
	case CBOR_MAP:
	case CBOR_TAG:
	case CBOR_BOOL:
	case CBOR_NULL:
	case CBOR_NONE:
		break;
	}
	cbor_fail(c);
	return json_null();
}

static json_t *decode_payload(struct span payload)
{
	json_t *o = json_object();
	struct cbor c;
	struct span key;
	cbor_start(&c, payload);
	struct cbor_map m = cbor_read_map(&c, 32);
	while (cbor_read_key(&c, &m, &key)) {
		char name[65];
		snprintf(name, sizeof(name), "%.*s", (int)key.n, (const char *)key.p);
		json_object_set_new(o, name, decode_value(&c));
	}
	if (cbor_done(&c) == ERR_OK)
		return o;
	json_decref(o);
	return json_null();
}

json_t *receipts_decode(struct span receipt)
{
	struct cose_sign1 m;
	if (receipt.n == 0 || cose_sign1_parse(receipt, &m) != ERR_OK)
		return json_null();
	json_t *o = decode_payload(m.payload);
	if (json_is_object(o))
		json_object_set_new(o, "kid", out_string(m.kid));
	return o;
}
