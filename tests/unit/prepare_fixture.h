/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What prepare_letter() needs, around one letter of tests/golden: a ring with a key of either profile, a
 * configuration with the letter's delivery agent, the letter cut into a clear and a sealed part, the job
 * over it. A test changes one thing, then seals and signs (world_make) and runs (world_run). Each run also
 * checks that no plaintext stays behind. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_PREPARE_FIXTURE_H
#define TESTS_UNIT_PREPARE_FIXTURE_H

#include <jansson.h>
#include <stdio.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"
#include "worker/prepare.h"

#define SECOND     1000000LL
#define DATE       "20260302" /* of the letters in tests/golden */
#define FIRST_SEEN ((NOW - 60) * SECOND)

struct world {
	struct keyring *ring;
	const struct keyring_key *key; /* to which the envelope is sealed */
	const char *kid;               /* what the envelope names; NULL: that key's id */
	struct config config;
	struct job_signer signer;
	struct cwc_offices list;
	struct prepare_context x;
	enum cwc_chamber chamber;
	json_t *clear, *sealed;        /* the letter's elements; the witness's object in `sealed` */
	struct job job;
	struct queue_taken taken;
	char office[CWC_OFFICE_SIZE];
	int64_t now_us;
	struct buf arena, xml, fields, plain, envelope, bytes;
	struct prepared got;
};

UNUSED static uint8_t xml_memory[PREPARE_XML_MAX];

/* --- deterministic CBOR of a JSON value ------------------------------------------------------- */

/* RFC 8949 section 4.2.1; for texts of less than 24 bytes, and for any of our names, by length first. */
UNUSED static int compare_keys(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	size_t n = strlen(*x), m = strlen(*y);

	return n != m ? (n < m ? -1 : 1) : strcmp(*x, *y);
}

UNUSED static void encode(const json_t *value, struct buf *out);

UNUSED static void encode_object(json_t *object, struct buf *out)
{
	const char *keys[CWC_FIELD_COUNT + 8], *key;
	size_t n = 0;
	json_t *value;

	json_object_foreach(object, key, value)
		keys[n++] = key;
	qsort(keys, n, sizeof(keys[0]), compare_keys);
	cbor_add_map(out, n);
	for (size_t i = 0; i < n; i++) {
		cbor_add_str(out, keys[i]);
		encode(json_object_get(object, keys[i]), out);
	}
}

static void encode(const json_t *value, struct buf *out)
{
	if (json_is_object(value)) {
		encode_object(json_copy((json_t *)(uintptr_t)value), out);
	} else if (json_is_array(value)) {
		cbor_add_array(out, json_array_size(value));
		for (size_t i = 0; i < json_array_size(value); i++)
			encode(json_array_get(value, i), out);
	} else if (json_is_integer(value)) {
		cbor_add_int(out, json_integer_value(value));
	} else {
		cbor_add_text(out, span_of(json_string_value(value), json_string_length(value)));
	}
}
