/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cms_fixture.h"

#include "attest/kms.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define ARN       "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define OTHER_ARN "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ac"
#define KEY       "a data key of 32 bytes, no more."
#define BLOB      "a wrapped key"
#define BODY_MAX  (2 * KMS_ANSWER_MAX)

static EVP_PKEY *rsa;

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

/* --- answers --------------------------------------------------------------------------------- */

/* The base64 of a CMS around `plain`. */
static void seal(struct span plain, size_t chunk, struct buf *out)
{
	struct cms_sample s = cms_sample(rsa, plain, chunk);
	struct buf cms;

	cms_build(&s, &cms);
	buf_init(out, BODY_MAX);
	text_base64(span_buf(&cms), out);
	buf_clear(&cms);
}

/* Replaces every @ in `form` by the sealed key, so that tests show the JSON. */
static void body_of(const char *form, struct span sealed, struct buf *out)
{
	buf_init(out, BODY_MAX);
	for (const char *c = form; *c != '\0'; c++) {
		if (*c == '@')
			buf_add_span(out, sealed);
		else
			buf_add_byte(out, (uint8_t)*c);
	}
	assert_err(buf_ok(out), ERR_OK);
}

static void expect_answer(enum kms_operation o, int status, struct span body, enum kms_fault expected)
{
	const struct kms_request r = request(o);
	uint8_t key[KMS_DATA_KEY], *copy = xmalloc(body.n + 1);
	const bool fresh = expected == KMS_FAULT_NONE && o == KMS_GENERATE_DATA_KEY;
	struct buf blob;

	memset(key, 0x55, sizeof(key));
	if (body.n > 0)
		memcpy(copy, body.p, body.n);
	buf_init(&blob, KMS_BLOB_MAX);
	buf_add_str(&blob, "b");
	assert_string_equal(kms_fault_name(kms_answer(&r, status, span_of(copy, body.n), rsa, key, &blob)),
			    kms_fault_name(expected));
	if (expected == KMS_FAULT_NONE)
		assert_memory_equal(key, KEY, sizeof(key));
	else
		assert_true(sodium_is_zero(key, sizeof(key)));
	assert_true(span_eq_str(span_buf(&blob), fresh ? "b" BLOB : "b"));
	assert_false(blob.overflow);
	buf_clear(&blob);
	free(copy);
}

static void expect_form(enum kms_operation o, const char *form, enum kms_fault expected)
{
	struct buf sealed, body;

	seal(span_lit(KEY), 4096, &sealed);
	body_of(form, span_buf(&sealed), &body);
	expect_answer(o, 200, span_buf(&body), expected);
	buf_clear(&sealed);
	buf_clear(&body);
}

#define ID_MEMBER     "\"KeyId\":\"" ARN "\""
#define SEALED_MEMBER "\"CiphertextForRecipient\":\"@\""
#define BLOB_MEMBER   "\"CiphertextBlob\":\"YSB3cmFwcGVkIGtleQ==\""
#define GOOD          "{" ID_MEMBER "," SEALED_MEMBER "}"
#define GOOD_NEW      "{" BLOB_MEMBER "," ID_MEMBER "," SEALED_MEMBER "}"

static void test_answers(void **state)
{
	(void)state;
	expect_form(KMS_DECRYPT, GOOD, KMS_FAULT_NONE);
	expect_form(KMS_DECRYPT, " " GOOD "\n", KMS_FAULT_NONE);
	expect_form(KMS_DECRYPT, "{" SEALED_MEMBER "," ID_MEMBER ",\"Plaintext\":null}", KMS_FAULT_NONE);
	expect_form(KMS_DECRYPT, "{" SEALED_MEMBER "," ID_MEMBER ",\"Plaintext\":\"\"}", KMS_FAULT_NONE);
	expect_form(KMS_DECRYPT, "{" SEALED_MEMBER "," ID_MEMBER ",\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\"}",
		    KMS_FAULT_NONE);
	expect_form(KMS_DECRYPT, "{" SEALED_MEMBER "," ID_MEMBER ",\"New\":{\"a\":[1,2.5,null,true]}}", KMS_FAULT_NONE);
	expect_form(KMS_GENERATE_DATA_KEY, GOOD_NEW, KMS_FAULT_NONE);
}

static void test_answers_in_every_shape(void **state)
{
	static const size_t chunks[] = { PRIMITIVE, 4096, 5 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct buf sealed, body;

		seal(span_lit(KEY), chunks[i], &sealed);
		body_of(GOOD_NEW, span_buf(&sealed), &body);
		expect_answer(KMS_GENERATE_DATA_KEY, 200, span_buf(&body), KMS_FAULT_NONE);
		buf_clear(&sealed);
		buf_clear(&body);
	}
}

static void test_not_for_an_enclave(void **state)
{
	static const enum kms_operation both[] = { KMS_DECRYPT, KMS_GENERATE_DATA_KEY };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER "}", KMS_FAULT_NO_RECIPIENT);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER ",\"CiphertextForRecipient\":null}",
			    KMS_FAULT_NO_RECIPIENT);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER ",\"CiphertextForRecipient\":\"\"}",
			    KMS_FAULT_NO_RECIPIENT);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER ",\"Plaintext\":\"MTIz\"}", KMS_FAULT_PLAINTEXT);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER "," SEALED_MEMBER ",\"Plaintext\":\"MTIz\"}",
			    KMS_FAULT_PLAINTEXT);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER "," SEALED_MEMBER ",\"Plaintext\":7}",
			    KMS_FAULT_SYNTAX);
		expect_form(both[i], "{" BLOB_MEMBER "," ID_MEMBER ",\"CiphertextForRecipient\":7}", KMS_FAULT_SYNTAX);
	}
}

static void test_other_key(void **state)
{
	(void)state;
	expect_form(KMS_DECRYPT, "{\"KeyId\":\"" OTHER_ARN "\"," SEALED_MEMBER "}", KMS_FAULT_OTHER_KEY);
	expect_form(KMS_DECRYPT, "{\"KeyId\":\"" ARN " \"," SEALED_MEMBER "}", KMS_FAULT_OTHER_KEY);
	expect_form(KMS_DECRYPT, "{\"KeyId\":\"\"," SEALED_MEMBER "}", KMS_FAULT_OTHER_KEY);
	expect_form(KMS_DECRYPT, "{\"KeyId\":\"1234abcd-12ab-34cd-56ef-1234567890ab\"," SEALED_MEMBER "}",
		    KMS_FAULT_OTHER_KEY);
	expect_form(KMS_DECRYPT, "{\"KeyId\":null," SEALED_MEMBER "}", KMS_FAULT_SYNTAX);
	expect_form(KMS_DECRYPT, "{" SEALED_MEMBER "}", KMS_FAULT_SYNTAX);
}

static void test_bad_json(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"null",
		"\"" ARN "\"",
		GOOD "x",
		GOOD GOOD,
		"{" ID_MEMBER "," SEALED_MEMBER,
		"{" ID_MEMBER "," ID_MEMBER "," SEALED_MEMBER "}",
		"{" ID_MEMBER "," SEALED_MEMBER "," SEALED_MEMBER "}",
		"{" ID_MEMBER "," SEALED_MEMBER ",\"Plaintext\":null,\"Plaintext\":null}",
		"{" ID_MEMBER "," SEALED_MEMBER ",\"New\":{\"a\":1,\"a\":1}}",
		"{" ID_MEMBER "," SEALED_MEMBER ",\"New\":\"\xff\"}",
		"{" ID_MEMBER "," SEALED_MEMBER ",\"New\":\"\\u0000\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\"@=\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\"@\\n\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\" @\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\"-_-_\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\"MA\"}",
		"{" ID_MEMBER ",\"CiphertextForRecipient\":\"MB==\"}",
		"{\"__type\":\"AccessDeniedException\"," ID_MEMBER "," SEALED_MEMBER "}",
		"{\"__type\":\"AccessDeniedException\",\"message\":\"\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_form(KMS_DECRYPT, bad[i], KMS_FAULT_SYNTAX);
}

static void test_bad_blobs(void **state)
{
	static uint8_t most[KMS_BLOB_MAX + 1];
	const struct kms_request r = request(KMS_GENERATE_DATA_KEY);
	uint8_t key[KMS_DATA_KEY];

	(void)state;
	expect_form(KMS_GENERATE_DATA_KEY, GOOD, KMS_FAULT_SYNTAX);
	expect_form(KMS_GENERATE_DATA_KEY, "{" ID_MEMBER "," SEALED_MEMBER ",\"CiphertextBlob\":\"\"}",
		    KMS_FAULT_SYNTAX);
	expect_form(KMS_GENERATE_DATA_KEY, "{" ID_MEMBER "," SEALED_MEMBER ",\"CiphertextBlob\":\"YQ\"}",
		    KMS_FAULT_SYNTAX);
	expect_form(KMS_GENERATE_DATA_KEY, "{" ID_MEMBER "," SEALED_MEMBER ",\"CiphertextBlob\":[]}", KMS_FAULT_SYNTAX);
	for (size_t more = 0; more < 2; more++) {
		struct buf sealed, body, blob;
		enum kms_fault f;

		seal(span_lit(KEY), 0, &sealed);
		body_of("{" ID_MEMBER "," SEALED_MEMBER ",\"CiphertextBlob\":\"", span_buf(&sealed), &body);
		text_base64(span_of(most, KMS_BLOB_MAX + more), &body);
		buf_add_str(&body, "\"}");
		for (size_t room = KMS_BLOB_MAX - 1; room <= KMS_BLOB_MAX + 1; room++) {
			buf_init(&blob, room);
			f = kms_answer(&r, 200, span_buf(&body), rsa, key, &blob);
			assert_int_equal(f, more == 0 && room >= KMS_BLOB_MAX ? KMS_FAULT_NONE : KMS_FAULT_SYNTAX);
			assert_int_equal(blob.n, f == KMS_FAULT_NONE ? KMS_BLOB_MAX : 0);
			buf_clear(&blob);
		}
		buf_clear(&sealed);
		buf_clear(&body);
	}
}

static void test_sizes(void **state)
{
	static uint8_t large[CMS_MAX + 1];
	struct buf sealed, body, text;

	(void)state;
	buf_init(&text, BODY_MAX);
	text_base64(span_of(large, CMS_MAX), &text);
	body_of(GOOD, span_buf(&text), &body);
	expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_CMS);
	buf_clear(&body);
	buf_reset(&text);
	text_base64(span_of(large, CMS_MAX + 1), &text);
	body_of(GOOD, span_buf(&text), &body);
	expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_SYNTAX);
	buf_clear(&body);
	buf_clear(&text);

	seal(span_lit(KEY), 0, &sealed);
	body_of(GOOD, span_buf(&sealed), &body);
	while (body.n < KMS_ANSWER_MAX)
		buf_add_byte(&body, ' ');
	expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_NONE);
	buf_add_byte(&body, ' ');
	expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_SYNTAX);
	buf_clear(&sealed);
	buf_clear(&body);
}

static void test_key_lengths(void **state)
{
	static const uint8_t keys[64];

	(void)state;
	for (size_t n = 1; n <= sizeof(keys); n++) {
		struct buf sealed, body;

		if (n == KMS_DATA_KEY)
			continue;
		seal(span_of(keys, n), n % 2 == 0 ? 0 : 4096, &sealed);
		body_of(GOOD, span_buf(&sealed), &body);
		expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_LENGTH);
		buf_clear(&sealed);
		buf_clear(&body);
	}
}

/* Sealed to the key of another call, or cut: it does not open. */
static void test_sealed_to_another(void **state)
{
	EVP_PKEY *mine = rsa;
	struct buf sealed, body;

	(void)state;
	rsa = rsa_new(2048);
	seal(span_lit(KEY), 0, &sealed);
	EVP_PKEY_free(rsa);
	rsa = mine;
	body_of(GOOD, span_buf(&sealed), &body);
	expect_answer(KMS_DECRYPT, 200, span_buf(&body), KMS_FAULT_CMS);
	buf_clear(&sealed);
	buf_clear(&body);
	expect_form(KMS_DECRYPT, "{" ID_MEMBER ",\"CiphertextForRecipient\":\"MIAG\"}", KMS_FAULT_CMS);
}

/* --- errors ---------------------------------------------------------------------------------- */

static void test_errors(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum kms_fault fault;
	} rows[] = {
		{ 400, "{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}", KMS_FAULT_DENIED },
		{ 400, "{\"__type\":\"com.amazonaws.kms#AccessDeniedException\"}", KMS_FAULT_DENIED },
		{ 400, "{\"__type\":\"ThrottlingException\"}", KMS_FAULT_THROTTLED },
		{ 400, "{\"__type\":\"a.b#ThrottlingException:http://c.example/d#e\"}", KMS_FAULT_THROTTLED },
		{ 400, "{\"__type\":\"LimitExceededException\"}", KMS_FAULT_THROTTLED },
		{ 429, "", KMS_FAULT_THROTTLED },
		{ 400, "{\"__type\":\"ExpiredTokenException\"}", KMS_FAULT_CREDENTIALS },
		{ 403, "{\"__type\":\"UnrecognizedClientException\"}", KMS_FAULT_CREDENTIALS },
		{ 400, "{\"__type\":\"InvalidSignatureException\"}", KMS_FAULT_CREDENTIALS },
		{ 400, "{\"__type\":\"ValidationException\"}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":\"InvalidCiphertextException\"}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":\"DisabledException\"}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":\"NotFoundException\"}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":\"\"}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":7}", KMS_FAULT_REFUSED },
		{ 400, "{\"__type\":\"AccessDeniedException#\"}", KMS_FAULT_REFUSED },
		{ 400, "not JSON", KMS_FAULT_REFUSED },
		{ 400, "", KMS_FAULT_REFUSED },
		{ 403, "<html/>", KMS_FAULT_DENIED },
		{ 404, "", KMS_FAULT_REFUSED },
		{ 500, "{\"__type\":\"KMSInternalException\"}", KMS_FAULT_UNAVAILABLE },
		{ 500, "{\"__type\":\"KeyUnavailableException\"}", KMS_FAULT_UNAVAILABLE },
		{ 500, "", KMS_FAULT_UNAVAILABLE },
		{ 503, "busy", KMS_FAULT_UNAVAILABLE },
		{ 301, "", KMS_FAULT_REFUSED },
		{ 100, "", KMS_FAULT_REFUSED },
		{ 0, "", KMS_FAULT_REFUSED },
		{ -1, "", KMS_FAULT_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_answer(KMS_DECRYPT, rows[i].status, span_str(rows[i].body), rows[i].fault);
}

/* Only a 200 can hold a key. */
static void test_other_statuses(void **state)
{
	static const int statuses[] = { 201, 202, 204, 206, 301, 400, 500 };

	(void)state;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		struct buf sealed, body;

		seal(span_lit(KEY), 0, &sealed);
		body_of(GOOD, span_buf(&sealed), &body);
		expect_answer(KMS_DECRYPT, statuses[i], span_buf(&body),
			      statuses[i] == 500 ? KMS_FAULT_UNAVAILABLE : KMS_FAULT_REFUSED);
		buf_clear(&sealed);
		buf_clear(&body);
	}
}

static void test_names(void **state)
{
	unsigned retry = 0;

	(void)state;
	for (unsigned i = 0; i < KMS_FAULT_COUNT; i++) {
		assert_true(i == 0 || strncmp(kms_fault_name((enum kms_fault)i), "kms_", 4) == 0);
		assert_true(i == 0 || kms_fault_text((enum kms_fault)i)[0] != '\0');
		retry += kms_fault_retry((enum kms_fault)i);
	}
	assert_string_equal(kms_fault_name(KMS_FAULT_NONE), "ok");
	assert_string_equal(kms_fault_name(KMS_FAULT_COUNT), "?");
	assert_int_equal(retry, 3);
	assert_true(kms_fault_retry(KMS_FAULT_THROTTLED) && kms_fault_retry(KMS_FAULT_UNAVAILABLE));
	assert_false(kms_fault_retry(KMS_FAULT_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answers_in_every_shape),
		cmocka_unit_test(test_not_for_an_enclave),
		cmocka_unit_test(test_other_key),
		cmocka_unit_test(test_bad_json),
		cmocka_unit_test(test_bad_blobs),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_key_lengths),
		cmocka_unit_test(test_sealed_to_another),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_other_statuses),
		cmocka_unit_test(test_names),
	};
	int failed;

	if (secret_init() != ERR_OK)
		return 1;
	rsa = rsa_new(2048);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(rsa);
	return failed;
}
