/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cms_fixture.h"

#include <jansson.h>
#include <openssl/x509.h>

#include "attest/kms.h"
#include "worker/base/secret.h"

#define ARN  "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define BLOB "a wrapped key"

static struct kms_request request(enum kms_operation o)
{
	struct kms_request r = { .operation = o, .key_arn = ARN };

	r.context[0] = (struct kms_pair){ "purpose", "ring key" };
	r.context[1] = (struct kms_pair){ "ring", "2026-03 \"a\\b\"" };
	r.n_context = 2;
	r.document = span_lit("document");
	if (o == KMS_DECRYPT)
		r.blob = span_lit(BLOB);
	return r;
}

/* --- keys and ARNs --------------------------------------------------------------------------- */

static void test_rsa(void **state)
{
	EVP_PKEY *one = kms_rsa_new(), *two = kms_rsa_new(), *read;
	const unsigned char *at;
	struct buf der;

	(void)state;
	assert_int_equal(EVP_PKEY_get_bits(one), 2048);
	assert_int_equal(EVP_PKEY_eq(one, two), 0);
	buf_init(&der, KMS_PUBLIC_SIZE);
	assert_err(kms_rsa_public(one, &der), ERR_OK);
	assert_int_equal(der.n, KMS_PUBLIC_SIZE);
	at = der.p;
	read = d2i_PUBKEY(NULL, &at, (long)der.n);
	assert_int_equal(EVP_PKEY_eq(one, read), 1);
	buf_clear(&der);
	buf_init(&der, KMS_PUBLIC_SIZE - 1);
	assert_err(kms_rsa_public(one, &der), ERR_LIMIT);
	buf_clear(&der);
	EVP_PKEY_free(one);
	EVP_PKEY_free(two);
	EVP_PKEY_free(read);
}

static void test_regions(void **state)
{
	static const char *const good[][2] = {
		{ ARN, "eu-central-1" },
		{ "arn:aws-us-gov:kms:us-gov-west-1:000000000000:key/00000000-0000-0000-0000-000000000000",
		  "us-gov-west-1" },
		{ "arn:aws-cn:kms:cn-north-1:999999999999:key/ffffffff-ffff-ffff-ffff-ffffffffffff", "cn-north-1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char region[KMS_REGION_SIZE];

		assert_err(kms_arn_region(good[i][0], region), ERR_OK);
		assert_string_equal(region, good[i][1]);
	}
}

/* Aliases, key ids, other services, and what would put something else into a host name or a header. */
static void test_bad_arns(void **state)
{
#define ID "1234abcd-12ab-34cd-56ef-1234567890ab"
	static const char *const bad[] = {
		"",
		"arn",
		ID,
		"alias/ring",
		"arn:aws:kms:eu-central-1:111122223333:alias/ring",
		"arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		"arn:aws:kms:eu-central-1:111122223333:key/" ID "0",
		"arn:aws:kms:eu-central-1:111122223333:key/" ID " ",
		"arn:aws:kms:eu-central-1:111122223333:key/" ID ":x",
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890a",
		"arn:aws:kms:eu-central-1:111122223333:key/1234ABCD-12ab-34cd-56ef-1234567890ab",
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcd012ab-34cd-56ef-1234567890ab",
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcg-12ab-34cd-56ef-1234567890ab",
		"arn:aws:kms:eu-central-1:111122223333:key",
		"arn:aws:kms:eu-central-1:111122223333",
		"arn:aws:kms:eu-central-1:11112222333:key/" ID,
		"arn:aws:kms:eu-central-1:1111222233334:key/" ID,
		"arn:aws:kms:eu-central-1:11112222333a:key/" ID,
		"arn:aws:kms:eu-central-1::key/" ID,
		"arn:aws:s3:eu-central-1:111122223333:key/" ID,
		"ARN:aws:kms:eu-central-1:111122223333:key/" ID,
		"arn::kms:eu-central-1:111122223333:key/" ID,
		"arn:aws/x:kms:eu-central-1:111122223333:key/" ID,
		"arn:aws:kms::111122223333:key/" ID,
		"arn:aws:kms:eu-central-1.evil.example:111122223333:key/" ID,
		"arn:aws:kms:eu-central-1/x:111122223333:key/" ID,
		"arn:aws:kms:eu central-1:111122223333:key/" ID,
		"arn:aws:kms:eu-central-1\r\nHost:111122223333:key/" ID,
		"arn:aws:kms:-eu-central-1:111122223333:key/" ID,
		"arn:aws:kms:eu-central-1-:111122223333:key/" ID,
		"arn:aws:kms:eu--central-1:111122223333:key/" ID,
		"arn:aws:kms:EU-central-1:111122223333:key/" ID,
		"arn:aws:kms:1-1:111122223333:key/" ID,
		"arn:aws:kms:xn--aaaa:111122223333:key/" ID,
		"arn:aws:kms:abcdefghijklmnopqrstuvwxyzabcdef:111122223333:key/" ID,
		" " ARN,
		ARN "\n",
	};
#undef ID
	struct kms_request r = request(KMS_DECRYPT);
	char region[KMS_REGION_SIZE] = "untouched";
	struct buf b;

	(void)state;
	buf_init(&b, KMS_REQUEST_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_err(kms_arn_region(bad[i], region), ERR_RANGE);
		r.key_arn = bad[i];
		assert_err(kms_request_body(&r, &b), ERR_RANGE);
	}
	assert_err(kms_arn_region(NULL, region), ERR_RANGE);
	assert_string_equal(region, "untouched");
	assert_int_equal(b.n, 0);
	buf_clear(&b);
}

static void test_longest_arn(void **state)
{
	static const char tail[] = ":kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
	char arn[KMS_ARN_MAX + 2], region[KMS_REGION_SIZE];

	(void)state;
	for (size_t n = KMS_ARN_MAX; n <= KMS_ARN_MAX + 1; n++) {
		memset(arn, 'a', sizeof(arn));
		memcpy(arn, "arn:", 4);
		memcpy(arn + n - strlen(tail), tail, sizeof(tail));
		assert_int_equal(strlen(arn), n);
		assert_err(kms_arn_region(arn, region), n <= KMS_ARN_MAX ? ERR_OK : ERR_RANGE);
	}
}

/* --- requests -------------------------------------------------------------------------------- */

static void test_request_bodies(void **state)
{
	struct kms_request r = request(KMS_GENERATE_DATA_KEY);
	struct buf b;

	(void)state;
	buf_init(&b, KMS_REQUEST_MAX);
	assert_err(kms_request_body(&r, &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN "\",\"KeySpec\":\"AES_256\",\"EncryptionContext\":"
					  "{\"purpose\":\"ring key\",\"ring\":\"2026-03 \\\"a\\\\b\\\"\"},"
					  "\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\","
					  "\"AttestationDocument\":\"ZG9jdW1lbnQ=\"}}");
	buf_reset(&b);
	r = request(KMS_DECRYPT);
	r.n_context = 1;
	assert_err(kms_request_body(&r, &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"YSB3cmFwcGVkIGtleQ==\","
					  "\"EncryptionContext\":{\"purpose\":\"ring key\"},"
					  "\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\","
					  "\"AttestationDocument\":\"ZG9jdW1lbnQ=\"}}");
	buf_clear(&b);
	assert_string_equal(kms_target(KMS_DECRYPT), "TrentService.Decrypt");
	assert_string_equal(kms_target(KMS_GENERATE_DATA_KEY), "TrentService.GenerateDataKey");
}

/* The largest of everything fits, and is JSON that says what was asked. */
static void test_largest_request(void **state)
{
	static uint8_t document[KMS_DOCUMENT_MAX + 1], blob[KMS_BLOB_MAX + 1];
	static char names[KMS_CONTEXT_MAX][KMS_CONTEXT_VALUE_MAX + 1], value[KMS_CONTEXT_VALUE_MAX + 1];
	struct kms_request r = request(KMS_DECRYPT);
	struct buf b;
	json_t *o;

	(void)state;
	memset(value, '"', KMS_CONTEXT_VALUE_MAX);
	for (size_t i = 0; i < KMS_CONTEXT_MAX; i++) {
		memset(names[i], '\\', KMS_CONTEXT_VALUE_MAX);
		names[i][0] = (char)('a' + i);
		r.context[i] = (struct kms_pair){ names[i], value };
	}
	r.n_context = KMS_CONTEXT_MAX;
	r.document = span_of(document, KMS_DOCUMENT_MAX);
	r.blob = span_of(blob, KMS_BLOB_MAX);
	buf_init(&b, KMS_REQUEST_MAX);
	assert_err(kms_request_body(&r, &b), ERR_OK);
	o = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "KeyId")), ARN);
	assert_int_equal(json_object_size(json_object_get(o, "EncryptionContext")), KMS_CONTEXT_MAX);
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "EncryptionContext"), names[3])),
			    value);
	json_decref(o);
	buf_clear(&b);
	r.document.n++;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	r.document.n--;
	r.blob.n++;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	buf_clear(&b);
}

static void expect_context(const char *name, const char *value, enum err expected)
{
	struct kms_request r = request(KMS_GENERATE_DATA_KEY);
	struct buf b;

	r.context[1] = (struct kms_pair){ name, value };
	buf_init(&b, KMS_REQUEST_MAX);
	assert_err(kms_request_body(&r, &b), expected);
	assert_true(expected == ERR_OK || b.n == 0);
	buf_clear(&b);
}

static void test_contexts(void **state)
{
	static char most[KMS_CONTEXT_VALUE_MAX + 2];
	struct kms_request r = request(KMS_GENERATE_DATA_KEY);
	struct buf b;

	(void)state;
	memset(most, 'm', KMS_CONTEXT_VALUE_MAX);
	expect_context(most, most, ERR_OK);
	most[KMS_CONTEXT_VALUE_MAX] = 'm';
	expect_context("a", most, ERR_RANGE);
	expect_context(most, "b", ERR_RANGE);
	expect_context("purpose", "again", ERR_RANGE);
	expect_context("Purpose", "", ERR_RANGE);
	expect_context("", "b", ERR_RANGE);
	expect_context(NULL, "b", ERR_RANGE);
	expect_context("a", NULL, ERR_RANGE);
	expect_context("a\n", "b", ERR_RANGE);
	expect_context("a", "b\x7f", ERR_RANGE);
	expect_context("a", "\xc3\xa4", ERR_RANGE);
	buf_init(&b, KMS_REQUEST_MAX);
	r.n_context = 0;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	r.n_context = KMS_CONTEXT_MAX + 1;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	buf_clear(&b);
}

static void test_request_parts(void **state)
{
	struct kms_request r = request(KMS_GENERATE_DATA_KEY);
	struct buf b;

	(void)state;
	buf_init(&b, KMS_REQUEST_MAX);
	r.blob = span_lit(BLOB);
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	r = request(KMS_DECRYPT);
	r.blob.n = 0;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	r = request(KMS_DECRYPT);
	r.document.n = 0;
	assert_err(kms_request_body(&r, &b), ERR_RANGE);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
	buf_init(&b, 100);
	r = request(KMS_DECRYPT);
	assert_err(kms_request_body(&r, &b), ERR_LIMIT);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_bad_arns),
		cmocka_unit_test(test_longest_arn),
		cmocka_unit_test(test_request_bodies),
		cmocka_unit_test(test_largest_request),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_request_parts),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
