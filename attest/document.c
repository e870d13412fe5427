/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/document.h"

#include <sodium.h>
#include <string.h>

#include "attest/hypervisor_cbor.h"

#define SIGNATURE_SIZE 96

/* What is wrong with the next item when another type is wanted. The base reader has no type for what is no syntax of
 * ours: the end of the input, a break or an indefinite length where there may be none, floats, undefined. */
static enum attest_code wrong_type(const struct cbor *c, enum attest_code code)
{
	return cbor_peek(c) == CBOR_NONE ? ATTEST_PAYLOAD_SYNTAX : code;
}

/* --- members ---------------------------------------------------------------------------------- */

static bool hex_digits(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return true;
}

/* i-<17 hex>-enc<16 hex>. A NitroTPM's has "tpm" where an enclave's has "enc". */
static bool module_id_valid(struct span s)
{
	return s.n == ATTEST_MODULE_SIZE && memcmp(s.p, "i-", 2) == 0 && hex_digits(s.p + 2, 17) &&
	       memcmp(s.p + 19, "-enc", 4) == 0 && hex_digits(s.p + 23, 16);
}

static enum attest_code read_module_id(struct cbor *c, struct attest_document *d)
{
	if (cbor_peek(c) != CBOR_TEXT)
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	d->module_id = cbor_read_text(c, SIZE_MAX);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	return module_id_valid(d->module_id) ? ATTEST_OK : ATTEST_PAYLOAD_MODULE_ID;
}

static enum attest_code read_digest(struct cbor *c)
{
	struct span s;

	if (cbor_peek(c) != CBOR_TEXT)
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	s = cbor_read_text(c, SIZE_MAX);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	return span_eq(s, span_lit("SHA384")) ? ATTEST_OK : ATTEST_PAYLOAD_DIGEST;
}

static enum attest_code read_timestamp(struct cbor *c, struct attest_document *d)
{
	if (cbor_peek(c) != CBOR_UINT)
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	d->timestamp_ms = cbor_read_uint(c);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	if (d->timestamp_ms <= ATTEST_TIMESTAMP_MIN || d->timestamp_ms >= ATTEST_TIMESTAMP_MAX)
		return ATTEST_PAYLOAD_TIMESTAMP;
	return ATTEST_OK;
}

/* A byte string of min to max bytes; `code` when it has another size. */
static enum attest_code read_bytes(struct cbor *c, size_t min, size_t max, enum attest_code code, struct span *ret_s)
{
	if (cbor_peek(c) != CBOR_BYTES)
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	*ret_s = cbor_read_bytes(c, SIZE_MAX);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	return ret_s->n >= min && ret_s->n <= max ? ATTEST_OK : code;
}

static enum attest_code read_field(struct cbor *c, size_t min, size_t max, enum attest_code code,
				   struct attest_field *ret_field)
{
	if (cbor_peek(c) == CBOR_NULL) {
		cbor_read_null(c);
		return ATTEST_OK;
	}
	ret_field->present = true;
	return read_bytes(c, min, max, code, &ret_field->bytes);
}

static enum attest_code read_pcr(struct cbor *c, struct attest_document *d)
{
	uint64_t i;

	if (cbor_peek(c) != CBOR_UINT)
		return wrong_type(c, ATTEST_PAYLOAD_PCR_INDEX);
	i = cbor_read_uint(c);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	if (i >= ATTEST_PCRS)
		return ATTEST_PAYLOAD_PCR_INDEX;
	if (d->pcrs & UINT32_C(1) << i)
		return ATTEST_PAYLOAD_PCR_DUPLICATE;
	d->pcrs |= UINT32_C(1) << i;
	return read_bytes(c, ATTEST_PCR_SIZE, ATTEST_PCR_SIZE, ATTEST_PAYLOAD_PCR_SIZE, &d->pcr[i]);
}

static enum attest_code read_pcrs(struct cbor *c, struct attest_document *d)
{
	const uint32_t required = 0x1f | 1U << 8;
	struct hypervisor_items k;

	if (!hypervisor_is_map(c))
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	k = hypervisor_read_map(c);
	while (hypervisor_next(c, &k)) {
		enum attest_code code = read_pcr(c, d);

		if (code != ATTEST_OK)
			return code;
	}
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	return (d->pcrs & required) == required ? ATTEST_OK : ATTEST_PAYLOAD_PCR_MISSING;
}

static enum attest_code read_cabundle(struct cbor *c, struct attest_document *d)
{
	struct hypervisor_items k;

	if (!hypervisor_is_array(c))
		return wrong_type(c, ATTEST_PAYLOAD_TYPE);
	k = hypervisor_read_array(c);
	while (hypervisor_next(c, &k)) {
		enum attest_code code = ATTEST_PAYLOAD_CABUNDLE_COUNT;

		if (d->n_cabundle < ATTEST_CABUNDLE_MAX)
			code = read_bytes(c, 1, ATTEST_KEY_MAX, ATTEST_PAYLOAD_CABUNDLE_SIZE,
					  &d->cabundle[d->n_cabundle++]);
		if (code != ATTEST_OK)
			return code;
	}
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	return d->n_cabundle >= ATTEST_CABUNDLE_MIN ? ATTEST_OK : ATTEST_PAYLOAD_CABUNDLE_COUNT;
}

/* --- payload ---------------------------------------------------------------------------------- */

enum member {
	MEMBER_MODULE_ID,
	MEMBER_DIGEST,
	MEMBER_TIMESTAMP,
	MEMBER_PCRS,
	MEMBER_CERTIFICATE,
	MEMBER_CABUNDLE,
	MEMBER_REQUIRED, /* those from here on are optional */
	MEMBER_PUBLIC_KEY = MEMBER_REQUIRED,
	MEMBER_USER_DATA,
	MEMBER_NONCE,
	MEMBER_COUNT
};

static const char *const member_name[MEMBER_COUNT] = {
	[MEMBER_MODULE_ID] = "module_id",
	[MEMBER_DIGEST] = "digest",
	[MEMBER_TIMESTAMP] = "timestamp",
	[MEMBER_PCRS] = "pcrs",
	[MEMBER_CERTIFICATE] = "certificate",
	[MEMBER_CABUNDLE] = "cabundle",
	[MEMBER_PUBLIC_KEY] = "public_key",
	[MEMBER_USER_DATA] = "user_data",
	[MEMBER_NONCE] = "nonce",
};

static enum attest_code read_member(struct cbor *c, enum member m, struct attest_document *d)
{
	switch (m) {
	case MEMBER_MODULE_ID:
		return read_module_id(c, d);
	case MEMBER_DIGEST:
		return read_digest(c);
	case MEMBER_TIMESTAMP:
		return read_timestamp(c, d);
	case MEMBER_PCRS:
		return read_pcrs(c, d);
	case MEMBER_CERTIFICATE:
		return read_bytes(c, 1, ATTEST_KEY_MAX, ATTEST_PAYLOAD_CERTIFICATE_SIZE, &d->certificate);
	case MEMBER_CABUNDLE:
		return read_cabundle(c, d);
	case MEMBER_PUBLIC_KEY:
		return read_field(c, 1, ATTEST_KEY_MAX, ATTEST_PAYLOAD_PUBLIC_KEY_SIZE, &d->public_key);
	case MEMBER_USER_DATA:
		return read_field(c, 0, ATTEST_FIELD_MAX, ATTEST_PAYLOAD_USER_DATA_SIZE, &d->user_data);
	case MEMBER_NONCE:
		return read_field(c, 0, ATTEST_FIELD_MAX, ATTEST_PAYLOAD_NONCE_SIZE, &d->nonce);
	case MEMBER_COUNT:
		break;
	}
	return ATTEST_PAYLOAD_UNKNOWN;
}

/* The next key, which must be one of ours and not in *seen yet. */
static enum attest_code read_key(struct cbor *c, unsigned *seen, enum member *ret_member)
{
	unsigned m = 0;
	struct span key;

	if (cbor_peek(c) != CBOR_TEXT)
		return wrong_type(c, ATTEST_PAYLOAD_KEY);
	key = cbor_read_text(c, SIZE_MAX);
	if (c->bad)
		return ATTEST_PAYLOAD_SYNTAX;
	while (m < MEMBER_COUNT && !span_eq_str(key, member_name[m]))
		m++;
	if (m == MEMBER_COUNT)
		return span_eq(key, span_lit("nitrotpm_pcrs")) ? ATTEST_PAYLOAD_NITROTPM : ATTEST_PAYLOAD_UNKNOWN;
	if (*seen & 1U << m)
		return ATTEST_PAYLOAD_DUPLICATE;
	*seen |= 1U << m;
	*ret_member = (enum member)m;
	return ATTEST_OK;
}

static enum attest_code parse_payload(struct attest_document *d)
{
	const unsigned required = (1U << MEMBER_REQUIRED) - 1;
	unsigned seen = 0;
	struct hypervisor_items k;
	struct cbor c;

	cbor_start(&c, d->payload);
	k = hypervisor_read_map(&c);
	d->indefinite = k.indefinite;
	while (hypervisor_next(&c, &k)) {
		enum member m = MEMBER_COUNT;
		enum attest_code code = read_key(&c, &seen, &m);

		if (code == ATTEST_OK)
			code = read_member(&c, m, d);
		if (code != ATTEST_OK)
			return code;
	}
	if (c.bad)
		return ATTEST_PAYLOAD_SYNTAX;
	if ((seen & required) != required)
		return ATTEST_PAYLOAD_MISSING;
	return cbor_done(&c) == ERR_OK ? ATTEST_OK : ATTEST_PAYLOAD_TRAILING;
}

/* --- envelope --------------------------------------------------------------------------------- */

/* Takes exactly these bytes. Where the input ends inside of them it was cut off. */
static enum attest_code take_exactly(struct cbor *c, struct span wanted, enum attest_code code)
{
	size_t left = c->in.n - c->at, n = left < wanted.n ? left : wanted.n;

	if (memcmp(c->in.p + c->at, wanted.p, n) != 0)
		return code;
	c->at += n;
	return n == wanted.n ? ATTEST_OK : ATTEST_ENVELOPE_SYNTAX;
}

/* The head of the message and both headers, by bytes: a header that says the same in another way is another header. */
static enum attest_code parse_headers(struct cbor *c)
{
	static const uint8_t array[] = { 0x84 }, algorithm[] = { 0x44, 0xa1, 0x01, 0x38, 0x22 }, empty[] = { 0xa0 };
	enum attest_code code;

	if (cbor_peek(c) == CBOR_TAG)
		return ATTEST_ENVELOPE_TAG;
	code = take_exactly(c, span_of(array, sizeof(array)), ATTEST_ENVELOPE_SYNTAX);
	if (code == ATTEST_OK)
		code = take_exactly(c, span_of(algorithm, sizeof(algorithm)), ATTEST_ENVELOPE_ALGORITHM);
	if (code == ATTEST_OK)
		code = take_exactly(c, span_of(empty, sizeof(empty)), ATTEST_ENVELOPE_UNPROTECTED);
	return code;
}

static enum attest_code parse_envelope(struct span in, struct attest_document *d)
{
	enum attest_code code;
	struct cbor c;

	if (in.n == 0 || in.n > ATTEST_DOCUMENT_MAX)
		return ATTEST_ENVELOPE_SIZE;
	cbor_start(&c, in);
	code = parse_headers(&c);
	if (code != ATTEST_OK)
		return code;
	if (cbor_peek(&c) != CBOR_BYTES)
		return cbor_peek(&c) == CBOR_NONE ? ATTEST_ENVELOPE_SYNTAX : ATTEST_ENVELOPE_PAYLOAD;
	d->payload = cbor_read_bytes(&c, SIZE_MAX);
	if (c.bad)
		return ATTEST_ENVELOPE_SYNTAX;
	if (d->payload.n == 0)
		return ATTEST_ENVELOPE_PAYLOAD;
	if (cbor_peek(&c) != CBOR_BYTES)
		return cbor_peek(&c) == CBOR_NONE ? ATTEST_ENVELOPE_SYNTAX : ATTEST_ENVELOPE_SIGNATURE;
	d->signature = cbor_read_bytes(&c, SIZE_MAX);
	if (c.bad)
		return ATTEST_ENVELOPE_SYNTAX;
	if (d->signature.n != SIGNATURE_SIZE)
		return ATTEST_ENVELOPE_SIGNATURE;
	return cbor_done(&c) == ERR_OK ? ATTEST_OK : ATTEST_ENVELOPE_TRAILING;
}

enum attest_code attest_document_parse(struct span in, struct attest_document *ret_doc)
{
	struct attest_document d = { 0 };
	enum attest_code code = parse_envelope(in, &d);

	if (code == ATTEST_OK)
		code = parse_payload(&d);
	*ret_doc = code == ATTEST_OK ? d : (struct attest_document){ 0 };
	return code;
}

bool attest_document_debug(const struct attest_document *d)
{
	for (unsigned i = 0; i <= 2; i++)
		if (d->pcr[i].n == 0 || sodium_is_zero(d->pcr[i].p, d->pcr[i].n))
			return true;
	return false;
}
