/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_parts.h"

static const char *const keys[] = { "module_id", "digest",     "timestamp", "pcrs", "certificate",
				    "cabundle",  "public_key", "user_data", "nonce" };
#define REQUIRED 6

/* --- keys ------------------------------------------------------------------------------------- */

static void test_missing_and_null(void **state)
{
	(void)state;
	for (size_t i = 0; i < 9; i++) {
		struct parts p;

		parts_start(&p);
		parts_give(&p, ATTEST_OK);
		*sample_value(&p.members, keys[i]) = span_lit("\xf6");
		parts_give(&p, i < REQUIRED ? ATTEST_PAYLOAD_TYPE : ATTEST_OK);
		sample_remove(&p.members, keys[i]);
		parts_give(&p, i < REQUIRED ? ATTEST_PAYLOAD_MISSING : ATTEST_OK);
		parts_stop(&p);
	}
}

/* The same value or another, in front of the right one or behind it. */
static void test_twice(void **state)
{
	(void)state;
	for (size_t i = 0; i < 9; i++) {
		struct parts p;

		parts_start(&p);
		sample_add(&p.members, keys[i], *sample_value(&p.members, keys[i]));
		parts_give(&p, ATTEST_PAYLOAD_DUPLICATE);
		p.members.value[9] = span_lit("\x41\x00");
		parts_give(&p, ATTEST_PAYLOAD_DUPLICATE);
		p.members.value[9] = *sample_value(&p.members, keys[i]);
		if (i >= REQUIRED) {
			*sample_value(&p.members, keys[i]) = span_lit("\x41\x00");
			parts_give(&p, ATTEST_PAYLOAD_DUPLICATE);
		}
		parts_stop(&p);
	}
}

static void test_unknown(void **state)
{
	struct parts p;

	(void)state;
	parts_start(&p);
	sample_add(&p.members, "extra", span_lit("\xf6"));
	parts_give(&p, ATTEST_PAYLOAD_UNKNOWN);
	p.members.key[9] = span_str("PCRS");
	parts_give(&p, ATTEST_PAYLOAD_UNKNOWN);
	p.members.key[9] = span_str("");
	parts_give(&p, ATTEST_PAYLOAD_UNKNOWN);
	/* A document of a NitroTPM comes from the same root. */
	p.members.key[9] = span_str("nitrotpm_pcrs");
	p.members.value[9] = *sample_value(&p.members, "pcrs");
	parts_give(&p, ATTEST_PAYLOAD_NITROTPM);
	sample_remove(&p.members, "pcrs");
	parts_give(&p, ATTEST_PAYLOAD_NITROTPM);
	parts_stop(&p);
}

/* Every rotation of the keys, and all backwards. */
static void test_order(void **state)
{
	struct parts p;

	(void)state;
	parts_start(&p);
	for (size_t turn = 0; turn < 9; turn++) {
		struct span key = p.members.key[0], value = p.members.value[0];

		memmove(p.members.key, p.members.key + 1, 8 * sizeof(key));
		memmove(p.members.value, p.members.value + 1, 8 * sizeof(value));
		p.members.key[8] = key;
		p.members.value[8] = value;
		parts_give(&p, ATTEST_OK);
	}
	for (size_t i = 0; i < 4; i++) {
		struct span key = p.members.key[i], value = p.members.value[i];

		p.members.key[i] = p.members.key[8 - i];
		p.members.value[i] = p.members.value[8 - i];
		p.members.key[8 - i] = key;
		p.members.value[8 - i] = value;
	}
	parts_give(&p, ATTEST_OK);
	parts_stop(&p);
}

/* --- values ----------------------------------------------------------------------------------- */

static void test_types(void **state)
{
	(void)state;
	VALUE("timestamp", "\x3b\x00\x00\x01\x9c\x52\xfe\xe6\x24", PAYLOAD_TYPE);
	VALUE("timestamp", "\xfb\x42\x79\xc5\x2f\xee\x62\x40\x00", PAYLOAD_SYNTAX);
	VALUE("timestamp", "\xfa\x00\x00\x00\x00", PAYLOAD_SYNTAX);
	VALUE("timestamp", "\xf7", PAYLOAD_SYNTAX);
	VALUE("timestamp", "\xf8\x20", PAYLOAD_SYNTAX);
	VALUE("timestamp", "\x6d\x31\x37\x37\x30\x39\x31\x38\x39\x36\x32\x30\x30\x30", PAYLOAD_TYPE);
	VALUE("timestamp", "\xc2\x46\x01\x9c\x52\xfe\xe6\x24", PAYLOAD_TYPE);
	VALUE("timestamp", "\xc1\x1b\x00\x00\x01\x9c\x52\xfe\xe6\x24", PAYLOAD_TYPE);
	VALUE("pcrs", "\x80", PAYLOAD_TYPE);
	VALUE("pcrs", "\x40", PAYLOAD_TYPE);
	VALUE("cabundle", "\xa0", PAYLOAD_TYPE);
	VALUE("cabundle", "\x41\x30", PAYLOAD_TYPE);
	VALUE("module_id", "\x58\x27i-05c0ffee5eed0a11e-enc019a5eed00c0ffee", PAYLOAD_TYPE);
	VALUE("digest", "\x46SHA384", PAYLOAD_TYPE);
	VALUE("certificate", "\x61\x30", PAYLOAD_TYPE);
	VALUE("public_key", "\xf4", PAYLOAD_TYPE);
	VALUE("user_data", "\x61\x30", PAYLOAD_TYPE);
	VALUE("nonce", "\x80", PAYLOAD_TYPE);
	VALUE("nonce", "\xd8\x18\x41\x00", PAYLOAD_TYPE);
	VALUE("nonce", "\x5f\x41\x00\xff", PAYLOAD_SYNTAX);
	VALUE("nonce", "\xff", PAYLOAD_SYNTAX);
	VALUE("digest", "\x7f\x66SHA384\xff", PAYLOAD_SYNTAX);
	VALUE("digest", "\x78\x06SHA384", PAYLOAD_SYNTAX);
	VALUE("nonce", "\x58\x01\x00", PAYLOAD_SYNTAX);
	VALUE("nonce", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff", PAYLOAD_SYNTAX);
	VALUE("cabundle", "\x9b\x00\x00\x00\x00\xff\xff\xff\xff", PAYLOAD_SYNTAX);
	VALUE("cabundle", "\x9f\x41\x30", PAYLOAD_TYPE); /* the next key is taken for an entry */
	VALUE("cabundle", "\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x80", PAYLOAD_TYPE);
}

static void test_texts(void **state)
{
	(void)state;
	VALUE("digest", "\x66SHA256", PAYLOAD_DIGEST);
	VALUE("digest", "\x66sha384", PAYLOAD_DIGEST);
	VALUE("digest", "\x67SHA384\x00", PAYLOAD_DIGEST);
	VALUE("timestamp", "\x00", PAYLOAD_TIMESTAMP);
	VALUE("timestamp", "\x1a\x69\x8e\x13\xf2", PAYLOAD_TIMESTAMP);
	VALUE("timestamp", "\x1b\x80\x00\x00\x00\x00\x00\x00\x00", PAYLOAD_TIMESTAMP);
	VALUE("timestamp", "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", PAYLOAD_TIMESTAMP);
	VALUE("timestamp", "\x1b\x00\x00\x00\x00\x69\x8e\x13\xf2", PAYLOAD_SYNTAX);
	VALUE("module_id", "\x60", PAYLOAD_MODULE_ID);
	VALUE("module_id", "\x78\x27i-05c0ffee5eed0a11E-enc019a5eed00c0ffee", PAYLOAD_MODULE_ID);
	VALUE("module_id", "\x78\x27i-05c0ffee5eed0a11e-tpm0000000000000000", PAYLOAD_MODULE_ID);
	VALUE("module_id", "\x78\x27i-05c0ffee5eed0a11e-enc019a5eed00c0ff\x00\x00", PAYLOAD_MODULE_ID);
	VALUE("module_id", "\x78\x28i-05c0ffee5eed0a11e-enc019a5eed00c0ffee\x00", PAYLOAD_MODULE_ID);
	VALUE("module_id", "\x78\x27i-05c0ffee5eed0a11e-enc019a5eed00c0ff\xff\xfe", PAYLOAD_SYNTAX);
}

static void test_long_module_id(void **state)
{
	static const uint8_t letters[257] = { 'i', '-' };
	struct parts p;
	struct buf b;

	(void)state;
	parts_start(&p);
	buf_init(&b, 300);
	cbor_add_text(&b, span_of(letters, sizeof(letters)));
	*sample_value(&p.members, "module_id") = span_buf(&b);
	parts_give(&p, ATTEST_PAYLOAD_MODULE_ID);
	buf_clear(&b);
	parts_stop(&p);
}

/* n bytes as a byte string for this key. */
static void size_gives(const char *key, size_t n, enum attest_code code)
{
	static const uint8_t zeros[1025];
	struct buf b;

	buf_init(&b, 2048);
	cbor_add_bytes(&b, span_of(zeros, n));
	value_gives(key, span_buf(&b), code);
	buf_clear(&b);
}

static void test_sizes(void **state)
{
	(void)state;
	size_gives("certificate", 0, ATTEST_PAYLOAD_CERTIFICATE_SIZE);
	size_gives("certificate", 1024, ATTEST_CHAIN_SYNTAX);
	size_gives("certificate", 1025, ATTEST_PAYLOAD_CERTIFICATE_SIZE);
	size_gives("public_key", 0, ATTEST_PAYLOAD_PUBLIC_KEY_SIZE);
	size_gives("public_key", 1, ATTEST_OK);
	size_gives("public_key", 1024, ATTEST_OK);
	size_gives("public_key", 1025, ATTEST_PAYLOAD_PUBLIC_KEY_SIZE);
	size_gives("user_data", 0, ATTEST_OK);
	size_gives("user_data", 512, ATTEST_OK);
	size_gives("user_data", 513, ATTEST_PAYLOAD_USER_DATA_SIZE);
	size_gives("user_data", 1025, ATTEST_PAYLOAD_USER_DATA_SIZE);
	size_gives("nonce", 0, ATTEST_OK);
	size_gives("nonce", 512, ATTEST_OK);
	size_gives("nonce", 513, ATTEST_PAYLOAD_NONCE_SIZE);
	size_gives("nonce", 1025, ATTEST_PAYLOAD_NONCE_SIZE);
}

/* --- the map ---------------------------------------------------------------------------------- */

static void map_gives(struct parts *p, struct span head, struct span tail, enum attest_code code)
{
	struct buf b;
	int blamed;

	buf_init(&b, VECTOR_MAX);
	p->members.indefinite = false;
	sample_payload(&p->members, &b);
	buf_drop(&b, 1);
	{
		struct buf c;

		buf_init(&c, VECTOR_MAX);
		buf_add_span(&c, head);
		buf_add_span(&c, span_buf(&b));
		buf_add_span(&c, tail);
		assert_code(verify_payload(&p->s, span_buf(&c), &blamed), code);
		buf_clear(&c);
	}
	buf_clear(&b);
}

#define MAP(head, tail, code) map_gives(&p, span_lit(head), span_lit(tail), ATTEST_##code)

static void test_map(void **state)
{
	struct parts p;

	(void)state;
	parts_start(&p);
	MAP("\xa9", "", OK);
	MAP("\xbf", "\xff", OK);
	MAP("\xa9", "\x00", PAYLOAD_TRAILING);
	MAP("\xa9", "\xff", PAYLOAD_TRAILING);
	MAP("\xbf", "\xff\xff", PAYLOAD_TRAILING);
	MAP("\xbf", "\xff\xa0", PAYLOAD_TRAILING);
	MAP("\xbf", "", PAYLOAD_SYNTAX);
	MAP("\xbf", "\x65\x65xtra\xff", PAYLOAD_UNKNOWN);
	MAP("\xaa", "", PAYLOAD_SYNTAX);
	MAP("\xa8", "", PAYLOAD_TRAILING);
	MAP("\xb8\x09", "", PAYLOAD_SYNTAX);
	MAP("\xbb\x00\x00\x00\x00\x00\x00\x00\x09", "", PAYLOAD_SYNTAX);
	MAP("\xba\x10\x00\x00\x00", "", PAYLOAD_SYNTAX);
	MAP("\x92", "", PAYLOAD_SYNTAX);
	MAP("\x9f", "\xff", PAYLOAD_SYNTAX);
	MAP("\xd8\x18\xa9", "", PAYLOAD_SYNTAX);
	/* The form of a packed map, with numbers for keys. */
	p.members.key[0] = span_lit("");
	MAP("\xa9\x00", "", PAYLOAD_KEY);
	parts_stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_and_null),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_long_module_id),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
