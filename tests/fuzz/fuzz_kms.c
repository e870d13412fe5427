/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KMS answers, credentials, ARNs and encryption contexts over any bytes; the first byte says which. Beyond memory
 * errors it checks what the headers promise: a refusal hands nothing out, only a 200 holds a key, accepted credentials
 * are what may stand in a header, and a request that is built is JSON that says what was asked.
 */
#include <jansson.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/credentials.h"
#include "attest/kms.h"
#include "tests/fuzz/kms_key.h"

#define ARN    "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define NOW_MS INT64_C(1772470800000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static struct kms_request request(enum kms_operation o)
{
	struct kms_request r = { .operation = o, .key_arn = ARN, .n_context = 1 };

	r.context[0] = (struct kms_pair){ "purpose", "ring key" };
	r.document = span_lit("document");
	if (o == KMS_DECRYPT)
		r.blob = span_lit("blob");
	return r;
}

static void fuzz_answer(enum kms_operation o, int status, struct span body)
{
	const struct kms_request r = request(o);
	uint8_t key[KMS_DATA_KEY];
	struct buf blob;
	enum kms_fault f;

	memset(key, 0x55, sizeof(key));
	buf_init(&blob, KMS_BLOB_MAX);
	f = kms_answer(&r, status, body, kms_key(), key, &blob);
	check((unsigned)f < KMS_FAULT_COUNT && !blob.overflow && blob.n <= KMS_BLOB_MAX);
	if (f == KMS_FAULT_NONE) {
		check(status == 200 && body.n <= KMS_ANSWER_MAX && (blob.n > 0) == (o == KMS_GENERATE_DATA_KEY));
		check(span_find(body, span_lit("CiphertextForRecipient")) != NULL ||
		      span_find(body, span_lit("\\")) != NULL);
	} else {
		check(sodium_is_zero(key, sizeof(key)) && blob.n == 0);
	}
	buf_clear(&blob);
}

static void check_word(const char *s, size_t min, size_t max)
{
	const size_t n = strnlen(s, max + 1);

	check(n >= min && n <= max);
	for (size_t i = 0; i < n; i++)
		check(s[i] > 0x20 && s[i] < 0x7f && strchr(":,;\"\\%&", s[i]) == NULL);
}

static void fuzz_credentials(struct span json)
{
	struct kms_credentials c = { .expires_ms = -1 };

	if (kms_credentials_parse(json, NOW_MS, &c) != ERR_OK) {
		check(c.expires_ms == -1 && c.token[0] == '\0' && c.secret_access_key[0] == '\0');
		return;
	}
	check(c.expires_ms > NOW_MS && json.n <= KMS_CREDENTIALS_MAX);
	check_word(c.access_key_id, 16, KMS_ACCESS_KEY_MAX);
	check_word(c.secret_access_key, 1, KMS_SECRET_KEY_MAX);
	check_word(c.token, 1, KMS_TOKEN_MAX);
}

static void fuzz_arn(const char *arn)
{
	char region[KMS_REGION_SIZE] = "";

	if (kms_arn_region(arn, region) != ERR_OK) {
		check(region[0] == '\0');
		return;
	}
	check(strlen(arn) <= KMS_ARN_MAX && strstr(arn, region) != NULL);
	check(strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(region));
}

/* `words` are a name and, behind its NUL, a value. */
static void fuzz_context(const char *words, size_t n)
{
	struct kms_request r = request(KMS_DECRYPT);
	const char *value;
	struct buf b;
	json_t *o;

	r.context[0].name = words;
	r.context[0].value = strlen(words) < n ? words + strlen(words) + 1 : "";
	buf_init(&b, KMS_REQUEST_MAX);
	if (kms_request_body(&r, &b) == ERR_OK) {
		o = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
		value = json_string_value(json_object_get(json_object_get(o, "EncryptionContext"), words));
		check(value != NULL && strcmp(value, r.context[0].value) == 0);
		json_decref(o);
	} else {
		check(b.n == 0);
	}
	buf_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span rest = span_of(size > 0 ? data + 1 : data, size > 0 ? size - 1 : 0);
	const uint8_t what = size > 0 ? data[0] : 'e';
	char *text = xstrndup(rest);

	if (what == 'c')
		fuzz_credentials(rest);
	else if (what == 'a')
		fuzz_arn(text);
	else if (what == 'r')
		fuzz_context(text, rest.n);
	else
		fuzz_answer(what == 'g' ? KMS_GENERATE_DATA_KEY : KMS_DECRYPT, what == 'e' ? 400 : 200, rest);
	xfree_wipe(text, rest.n);
	return 0;
}
