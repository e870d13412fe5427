/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_fixture.h"

/* --- payload ---------------------------------------------------------------------------------- */

/* Every byte of the payload's form counts: cut off at each length, and with a byte behind it. */
static void test_payload_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i += 11) {
		struct attest_document d;
		struct buf b, cut;

		load_vector(vectors[i].file, &b);
		assert_code(attest_document_parse(span_buf(&b), &d), ATTEST_OK);
		buf_init(&cut, VECTOR_MAX);
		for (size_t n = 1; n <= d.payload.n + 1; n++) {
			buf_reset(&cut);
			build_envelope(span_of(d.payload.p, n), d.signature, &cut);
			if (n < d.payload.n)
				refused(span_buf(&cut), ATTEST_PAYLOAD_SYNTAX);
			else if (n > d.payload.n)
				refused(span_buf(&cut), ATTEST_PAYLOAD_TRAILING);
		}
		buf_clear(&cut);
		buf_clear(&b);
	}
}

static void payload_refused(struct span payload, enum attest_code code)
{
	static const uint8_t signature[96];
	struct buf b;

	buf_init(&b, VECTOR_MAX);
	build_envelope(payload, span_of(signature, sizeof(signature)), &b);
	refused(span_buf(&b), code);
	buf_clear(&b);
}

static void test_payload_forms(void **state)
{
	(void)state;
	payload_refused(span_lit("\x80"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xf6"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xd8\x18\xa0"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa0"), ATTEST_PAYLOAD_MISSING);
	payload_refused(span_lit("\xbf\xff"), ATTEST_PAYLOAD_MISSING);
	payload_refused(span_lit("\xbf\xff\xff"), ATTEST_PAYLOAD_MISSING);
	payload_refused(span_lit("\xbf"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xff"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x00\x61\x61"), ATTEST_PAYLOAD_KEY);
	payload_refused(span_lit("\xa1\x49module_id\x61\x61"), ATTEST_PAYLOAD_KEY);
	payload_refused(span_lit("\xa1\xff"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xbf\x66\x64igest\xff"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xbf\x66\x64igest\x66SHA384"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x78\x06\x64igest\x66SHA384"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x7f\x66\x64igest\xff\x66SHA384"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xb8\x01\x66\x64igest\x66SHA384"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xba\x10\x00\x00\x00"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x63\xff\xfe\xfd\x00"), ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x68\x63\x61\x62undle\x9b\x00\x00\x00\x00\xff\xff\xff\xff"),
			ATTEST_PAYLOAD_SYNTAX);
	payload_refused(span_lit("\xa1\x68\x63\x61\x62undle\x81\x81\x81\x81\x81\x81\x81\x81\x81"), ATTEST_PAYLOAD_TYPE);
}

static void test_missing_and_null(void **state)
{
	static const char *const keys[] = { "module_id", "digest",     "timestamp", "pcrs", "certificate",
					    "cabundle",  "public_key", "user_data", "nonce" };
	struct attest_document d;
	struct sample s;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		sample_load(&s, SAMPLE);
		*sample_value(&s, keys[i]) = span_lit("\xf6");
		assert_code(sample_parse(&s, &d), i < 6 ? ATTEST_PAYLOAD_TYPE : ATTEST_OK);
		assert_true(i != 6 || !d.public_key.present);
		assert_true(i != 7 || !d.user_data.present);
		sample_remove(&s, keys[i]);
		assert_code(sample_parse(&s, &d), i < 6 ? ATTEST_PAYLOAD_MISSING : ATTEST_OK);
		sample_clear(&s);
	}
}

static void test_duplicate_and_unknown(void **state)
{
	struct attest_document d;
	struct sample s;
	size_t n;

	(void)state;
	sample_load(&s, SAMPLE);
	n = s.n;
	for (size_t i = 0; i < n; i++) {
		s.key[n] = s.key[i];
		s.value[n] = s.value[i];
		s.n = n + 1;
		assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_DUPLICATE);
		s.value[n] = span_lit("\xf6");
		s.indefinite = !s.indefinite;
		assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_DUPLICATE);
	}
	s.n = n;
	sample_add(&s, "extra", span_lit("\xf6"));
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_UNKNOWN);
	s.key[n] = span_str("Nonce");
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_UNKNOWN);
	s.key[n] = span_lit("nonce\0");
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_UNKNOWN);
	s.key[n] = span_str("");
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_UNKNOWN);
	s.key[n] = span_str("nitrotpm_pcrs");
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_NITROTPM);
	sample_remove(&s, "pcrs");
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_NITROTPM);
	sample_clear(&s);
}

/* --- values ----------------------------------------------------------------------------------- */

static const struct {
	const char *key;
	struct span value;
	enum attest_code code;
} values[] = {
#define VALUE(key, bytes, code)                                                     \
	{                                                                           \
		key, { (const uint8_t *)(bytes), sizeof(bytes) - 1 }, ATTEST_##code \
	}
	VALUE("timestamp", "\x1b\x00\x00\x01\x96\x81\x19\x04\x2c", OK),
	VALUE("timestamp", "\x1b\x00\x00\x01\x74\x87\x6e\x80\x01", OK),
	VALUE("timestamp", "\x1b\x00\x00\x01\x74\x87\x6e\x80\x00", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x1b\x00\x1f\xff\xff\xff\xff\xff\xff", OK),
	VALUE("timestamp", "\x1b\x00\x20\x00\x00\x00\x00\x00\x00", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x1b\x80\x00\x00\x00\x00\x00\x00\x00", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x00", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x1a\x68\x10\xa6\x47", PAYLOAD_TIMESTAMP),
	VALUE("timestamp", "\x1b\x00\x00\x00\x00\x68\x10\xa6\x47", PAYLOAD_SYNTAX),
	VALUE("timestamp", "\x3b\x00\x00\x01\x96\x81\x19\x04\x2c", PAYLOAD_TYPE),
	VALUE("timestamp", "\xfb\x42\x79\x68\x11\x90\x42\xc0\x00", PAYLOAD_SYNTAX),
	VALUE("timestamp", "\xf9\x3c\x00", PAYLOAD_SYNTAX),
	VALUE("timestamp", "\xf7", PAYLOAD_SYNTAX),
	VALUE("timestamp", "\xf5", PAYLOAD_TYPE),
	VALUE("timestamp", "\x61\x31", PAYLOAD_TYPE),
	VALUE("timestamp", "\xc2\x46\x01\x96\x81\x19\x04\x2c", PAYLOAD_TYPE),
	VALUE("timestamp", "\xc1\x1b\x00\x00\x01\x96\x81\x19\x04\x2c", PAYLOAD_TYPE),
	VALUE("digest", "\x66SHA256", PAYLOAD_DIGEST),
	VALUE("digest", "\x66sha384", PAYLOAD_DIGEST),
	VALUE("digest", "\x67SHA384\x00", PAYLOAD_DIGEST),
	VALUE("digest", "\x60", PAYLOAD_DIGEST),
	VALUE("digest", "\x46SHA384", PAYLOAD_TYPE),
	VALUE("digest", "\x7f\x66SHA384\xff", PAYLOAD_SYNTAX),
	VALUE("digest", "\x78\x06SHA384", PAYLOAD_SYNTAX),
	VALUE("module_id", "\x78\x27i-07859a25773d39fcc-enc01968119042c6454", OK),
	VALUE("module_id", "\x78\x27i-07859a25773d39fcc-tpm0000000000000000", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x27i-07859A25773d39fcc-enc01968119042c6454", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x27I-07859a25773d39fcc-enc01968119042c6454", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x27i-07859a25773d39fcc-enc01968119042c645G", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x26i-07859a25773d39fcc-enc01968119042c645", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x28i-07859a25773d39fcc-enc01968119042c6454\x00", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x78\x27i-07859a25773d39fcc-enc01968119042c645\xff", PAYLOAD_SYNTAX),
	VALUE("module_id", "\x60", PAYLOAD_MODULE_ID),
	VALUE("module_id", "\x58\x27i-07859a25773d39fcc-enc01968119042c6454", PAYLOAD_TYPE),
	VALUE("pcrs", "\x80", PAYLOAD_TYPE),
	VALUE("pcrs", "\x9f\xff", PAYLOAD_SYNTAX),
	VALUE("pcrs", "\xa0", PAYLOAD_PCR_MISSING),
	VALUE("pcrs", "\xbf\xff", PAYLOAD_PCR_MISSING),
	VALUE("pcrs", "\xa1\x18\x20\x40", PAYLOAD_PCR_INDEX),
	VALUE("pcrs", "\xa1\x20\x40", PAYLOAD_PCR_INDEX),
	VALUE("pcrs", "\xa1\x61\x30\x40", PAYLOAD_PCR_INDEX),
	VALUE("pcrs", "\xa1\x1b\x00\x00\x00\x01\x00\x00\x00\x00\x40", PAYLOAD_PCR_INDEX),
	VALUE("pcrs", "\xa1\x18\x00\x40", PAYLOAD_SYNTAX),
	VALUE("pcrs", "\xa1\x00\x40", PAYLOAD_PCR_SIZE),
	VALUE("pcrs", "\xa1\x00\xf6", PAYLOAD_TYPE),
	VALUE("pcrs", "\xbf\x00\xff", PAYLOAD_SYNTAX),
	VALUE("certificate", "\x40", PAYLOAD_CERTIFICATE_SIZE),
	VALUE("certificate", "\x60", PAYLOAD_TYPE),
	VALUE("certificate", "\x5f\x41\x30\xff", PAYLOAD_SYNTAX),
	VALUE("cabundle", "\x80", PAYLOAD_CABUNDLE_COUNT),
	VALUE("cabundle", "\x9f\xff", PAYLOAD_CABUNDLE_COUNT),
	VALUE("cabundle", "\x81\x41\x30", PAYLOAD_CABUNDLE_COUNT),
	VALUE("cabundle", "\x82\x41\x30\x41\x30", OK),
	VALUE("cabundle", "\x9f\x41\x30\x41\x30\xff", OK),
	VALUE("cabundle", "\x88\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30", OK),
	VALUE("cabundle", "\x89\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30\x41\x30",
	      PAYLOAD_CABUNDLE_COUNT),
	VALUE("cabundle", "\x82\x41\x30\x40", PAYLOAD_CABUNDLE_SIZE),
	VALUE("cabundle", "\x82\x41\x30\xf6", PAYLOAD_TYPE),
	VALUE("cabundle", "\x82\x41\x30\x61\x30", PAYLOAD_TYPE),
	VALUE("cabundle", "\x82\x81\x41\x30\x41\x30", PAYLOAD_TYPE),
	VALUE("cabundle", "\xa0", PAYLOAD_TYPE),
	VALUE("public_key", "\x40", PAYLOAD_PUBLIC_KEY_SIZE),
	VALUE("public_key", "\x60", PAYLOAD_TYPE),
	VALUE("public_key", "\xf4", PAYLOAD_TYPE),
	VALUE("user_data", "\x40", OK),
	VALUE("user_data", "\x60", PAYLOAD_TYPE),
	VALUE("nonce", "\x40", OK),
	VALUE("nonce", "\x5f\xff", PAYLOAD_SYNTAX),
	VALUE("nonce", "\x00", PAYLOAD_TYPE),
#undef VALUE
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct attest_document d;
		struct sample s;

		sample_load(&s, SAMPLE);
		*sample_value(&s, values[i].key) = values[i].value;
		assert_code(sample_parse(&s, &d), values[i].code);
		s.indefinite = true;
		assert_code(sample_parse(&s, &d), values[i].code);
		sample_clear(&s);
	}
}

static void test_sizes(void **state)
{
	static const struct {
		const char *key;
		size_t max;
		enum attest_code code;
	} limits[] = { { "certificate", 1024, ATTEST_PAYLOAD_CERTIFICATE_SIZE },
		       { "public_key", 1024, ATTEST_PAYLOAD_PUBLIC_KEY_SIZE },
		       { "user_data", 512, ATTEST_PAYLOAD_USER_DATA_SIZE },
		       { "nonce", 512, ATTEST_PAYLOAD_NONCE_SIZE } };
	static const uint8_t zeros[1025];
	struct attest_document d;
	struct sample s;
	struct buf b;

	(void)state;
	sample_load(&s, SAMPLE);
	buf_init(&b, VECTOR_MAX);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct span *value = sample_value(&s, limits[i].key), kept = *value;

		for (size_t over = 0; over < 2; over++) {
			buf_reset(&b);
			cbor_add_bytes(&b, span_of(zeros, limits[i].max + over));
			*value = span_buf(&b);
			assert_code(sample_parse(&s, &d), over ? limits[i].code : ATTEST_OK);
		}
		*value = kept;
	}
	buf_reset(&b);
	cbor_add_array(&b, 2);
	cbor_add_bytes(&b, span_of(zeros, 1024));
	cbor_add_bytes(&b, span_of(zeros, 1025));
	*sample_value(&s, "cabundle") = span_buf(&b);
	assert_code(sample_parse(&s, &d), ATTEST_PAYLOAD_CABUNDLE_SIZE);
	buf_clear(&b);
	sample_clear(&s);
}

/* --- PCRs ------------------------------------------------------------------------------------- */

/* The sample with these PCRs, each of `size` bytes; `indefinite` is about their map. */
static enum attest_code parse_pcrs(const unsigned *index, size_t n, size_t size, bool indefinite)
{
	static const uint8_t ones[64] = { 1 };
	struct attest_document d;
	enum attest_code code;
	struct sample s;
	struct buf b;

	sample_load(&s, SAMPLE);
	buf_init(&b, VECTOR_MAX);
	if (indefinite)
		buf_add_byte(&b, 0xbf);
	else
		cbor_add_map(&b, n);
	for (size_t i = 0; i < n; i++) {
		cbor_add_uint(&b, index[i]);
		cbor_add_bytes(&b, span_of(ones, size));
	}
	if (indefinite)
		buf_add_byte(&b, 0xff);
	*sample_value(&s, "pcrs") = span_buf(&b);
	code = sample_parse(&s, &d);
	buf_clear(&b);
	sample_clear(&s);
	return code;
}

static void test_pcrs(void **state)
{
	static const unsigned least[] = { 8, 4, 3, 2, 1, 0 }; /* in any order */
	static const unsigned twice[] = { 8, 4, 3, 2, 1, 0, 4 };
	static const size_t sizes[] = { 0, 32, 47, 49, 64 };
	unsigned all[33];

	(void)state;
	for (unsigned i = 0; i < 33; i++)
		all[i] = i;
	for (unsigned indefinite = 0; indefinite < 2; indefinite++) {
		assert_code(parse_pcrs(least, 6, 48, indefinite), ATTEST_OK);
		assert_code(parse_pcrs(all, 32, 48, indefinite), ATTEST_OK);
		assert_code(parse_pcrs(all, 33, 48, indefinite), ATTEST_PAYLOAD_PCR_INDEX);
		assert_code(parse_pcrs(twice, 7, 48, indefinite), ATTEST_PAYLOAD_PCR_DUPLICATE);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			assert_code(parse_pcrs(least, 6, sizes[i], indefinite), ATTEST_PAYLOAD_PCR_SIZE);
		for (size_t i = 0; i < 6; i++) {
			unsigned without[6];

			memcpy(without, least, sizeof(without));
			without[i] = 17;
			assert_code(parse_pcrs(without, 6, 48, indefinite), ATTEST_PAYLOAD_PCR_MISSING);
		}
	}
}

/* Keys in another order say the same. */
static void test_order(void **state)
{
	struct attest_document a, b;
	struct sample s;
	struct buf first, second;

	(void)state;
	sample_load(&s, SAMPLE);
	sample_build(&s, &first);
	for (size_t i = 0; i < s.n / 2; i++) {
		struct span key = s.key[i], value = s.value[i];

		s.key[i] = s.key[s.n - 1 - i];
		s.value[i] = s.value[s.n - 1 - i];
		s.key[s.n - 1 - i] = key;
		s.value[s.n - 1 - i] = value;
	}
	s.indefinite = true;
	sample_build(&s, &second);
	assert_code(attest_document_parse(span_buf(&first), &a), ATTEST_OK);
	assert_code(attest_document_parse(span_buf(&second), &b), ATTEST_OK);
	assert_true(!a.indefinite && b.indefinite);
	assert_true(span_eq(a.module_id, b.module_id) && a.timestamp_ms == b.timestamp_ms && a.pcrs == b.pcrs);
	assert_true(span_eq(a.certificate, b.certificate) && a.n_cabundle == b.n_cabundle);
	assert_true(span_eq(a.cabundle[3], b.cabundle[3]) && span_eq(a.public_key.bytes, b.public_key.bytes));
	buf_clear(&first);
	buf_clear(&second);
	sample_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_payload_prefixes),
		cmocka_unit_test(test_payload_forms),
		cmocka_unit_test(test_missing_and_null),
		cmocka_unit_test(test_duplicate_and_unknown),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_pcrs),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
