/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real documents of tests/vectors/nitro for the tests of the verifier, whole and taken apart: a sample is the members
 * of a payload as encoded items, which can be changed, removed and added before a document is built of them again. Its
 * signature is then wrong, but form and chain are asked before it. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_ATTEST_FIXTURE_H
#define TESTS_UNIT_ATTEST_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verify.h"
#include "worker/base/cbor.h"

#define VECTORS    "tests/vectors/nitro/"
#define VECTOR_MAX 16384
#define UNUSED     __attribute__((unused))

#define assert_code(c, expected) assert_string_equal(attest_code_name(c), attest_code_name(expected))

struct vector {
	const char *file;
	bool debug;
};

static const struct vector vectors[] = {
	{ "01-2021-03-anjuna-prod.cbor", false },
	{ "02-2021-03-anjuna-prod-pubkey.cbor", false },
	{ "04-2022-07-turnkey-qos-pcr8.cbor", false },
	{ "05-2022-10-evervault-DEBUG.cbor", true },
	{ "07-2022-11-veracruz.cbor", false },
	{ "11-2023-09-anjuna-prod.cbor", false },
	{ "13-2024-01-anjuna-full-DEBUG.cbor", true },
	{ "14-2024-02-marlin-1.cbor", false },
	{ "19-2024-08-marlin-oyster.cbor", false },
	{ "21-2025-04-nautilus-weather.cbor", false },
	{ "22b-2025-04-marlin-oyster-PCR16-locked.cbor", false },
	{ "25-2026-02-opengradient-INDEF.cbor", false },
};
#define N_VECTORS (sizeof(vectors) / sizeof(vectors[0]))

/* The sample of most tests: 17 PCRs, public_key, empty user_data, no nonce. */
#define SAMPLE "22b-2025-04-marlin-oyster-PCR16-locked.cbor"

/* The caller clears the buf. */
static void load_vector(const char *file, struct buf *ret_b)
{
	static uint8_t bytes[VECTOR_MAX];
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), VECTORS "%s", file);
	f = fopen(path, "rb");
	assert_non_null(f);
	buf_init(ret_b, VECTOR_MAX);
	buf_add(ret_b, bytes, fread(bytes, 1, sizeof(bytes), f));
	fclose(f);
	assert_true(ret_b->n > 500);
}

/* From memory of exactly its size, so that AddressSanitizer sees a read behind it; the views in *ret_doc are dead. */
UNUSED static enum attest_code parse_exact(struct span in, struct attest_document *ret_doc)
{
	uint8_t *p = xmalloc(in.n > 0 ? in.n : 1);
	enum attest_code code;

	if (in.n > 0)
		memcpy(p, in.p, in.n);
	code = attest_document_parse(span_of(p, in.n), ret_doc);
	free(p);
	return code;
}

UNUSED static bool document_is_zero(const struct attest_document *d)
{
	static const struct attest_document zero;

	return memcmp(d, &zero, sizeof(zero)) == 0;
}

/* The code, and nothing handed out. */
UNUSED static void refused(struct span in, enum attest_code code)
{
	struct attest_document d;

	memset(&d, 0xff, sizeof(d));
	assert_code(parse_exact(in, &d), code);
	assert_true(document_is_zero(&d));
}

#define SAMPLE_MEMBERS 16

struct sample {
	struct buf source;
	struct span key[SAMPLE_MEMBERS];   /* text */
	struct span value[SAMPLE_MEMBERS]; /* encoded */
	size_t n;
	struct span signature;
	bool indefinite;
};

/* Reads a vector whose payload is definite. */
UNUSED static void sample_load(struct sample *s, const char *file)
{
	struct attest_document d;
	struct cbor c;

	*s = (struct sample){ 0 };
	load_vector(file, &s->source);
	assert_code(attest_document_parse(span_buf(&s->source), &d), ATTEST_OK);
	s->signature = d.signature;
	cbor_start(&c, d.payload);
	s->n = cbor_read_map(&c, SAMPLE_MEMBERS).left;
	for (size_t i = 0; i < s->n; i++) {
		s->key[i] = cbor_read_text(&c, 64);
		s->value[i] = cbor_skip(&c);
	}
	assert_int_equal(cbor_done(&c), ERR_OK);
}

UNUSED static struct span *sample_value(struct sample *s, const char *key)
{
	size_t i = 0;

	while (i < s->n && !span_eq_str(s->key[i], key))
		i++;
	assert_true(i < s->n);
	return &s->value[i];
}

UNUSED static void sample_add(struct sample *s, const char *key, struct span value)
{
	assert_true(s->n < SAMPLE_MEMBERS);
	s->key[s->n] = span_str(key);
	s->value[s->n++] = value;
}

UNUSED static void sample_remove(struct sample *s, const char *key)
{
	size_t i = (size_t)(sample_value(s, key) - s->value);

	s->n--;
	memmove(s->key + i, s->key + i + 1, (s->n - i) * sizeof(s->key[0]));
	memmove(s->value + i, s->value + i + 1, (s->n - i) * sizeof(s->value[0]));
}

/* The three parts in front of the payload, the payload as a byte string, and the signature. */
UNUSED static void build_envelope(struct span payload, struct span signature, struct buf *out)
{
	buf_add_span(out, span_lit("\x84\x44\xa1\x01\x38\x22\xa0"));
	cbor_add_bytes(out, payload);
	cbor_add_bytes(out, signature);
}

UNUSED static void sample_payload(const struct sample *s, struct buf *out)
{
	if (s->indefinite)
		buf_add_byte(out, 0xbf);
	else
		cbor_add_map(out, s->n);
	for (size_t i = 0; i < s->n; i++) {
		cbor_add_text(out, s->key[i]);
		buf_add_span(out, s->value[i]);
	}
	if (s->indefinite)
		buf_add_byte(out, 0xff);
}

/* The caller clears the buf. */
UNUSED static void sample_build(const struct sample *s, struct buf *ret_b)
{
	struct buf payload;

	buf_init(&payload, VECTOR_MAX);
	buf_init(ret_b, 2 * VECTOR_MAX);
	sample_payload(s, &payload);
	build_envelope(span_buf(&payload), s->signature, ret_b);
	assert_int_equal(buf_ok(ret_b), ERR_OK);
	buf_clear(&payload);
}

UNUSED static enum attest_code sample_parse(const struct sample *s, struct attest_document *ret_doc)
{
	enum attest_code code;
	struct buf b;

	sample_build(s, &b);
	code = parse_exact(span_buf(&b), ret_doc);
	buf_clear(&b);
	return code;
}

UNUSED static void sample_clear(struct sample *s)
{
	buf_clear(&s->source);
}

#endif
