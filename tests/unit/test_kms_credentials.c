/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <string.h>

#include "attest/credentials.h"
#include "worker/base/secret.h"

#define NOW_MS   INT64_C(1772470800000) /* 2026-03-02T17:00:00Z */
#define ID       "ASIAIOSFODNN7EXAMPLE"
#define SECRET   "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define TOKEN    "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJ+x=="
#define EXPIRES  "2026-03-02T23:04:05Z"
#define JSON_MAX ((size_t)128 << 10)

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

/* One member each; a NULL leaves it out. Values are JSON already. */
struct answer {
	const char *code, *id, *secret, *token, *expires, *more;
};

static struct answer good(void)
{
	return (struct answer){ "\"Success\"", "\"" ID "\"", "\"" SECRET "\"", "\"" TOKEN "\"", "\"" EXPIRES "\"", "" };
}

static void add_member(struct buf *b, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_add_str(b, b->n > 1 ? ",\"" : "\"");
	buf_add_str(b, name);
	buf_add_str(b, "\" : ");
	buf_add_str(b, value);
}

static void json_of(const struct answer *a, struct buf *b)
{
	buf_init(b, JSON_MAX);
	buf_add_str(b, "{");
	add_member(b, "Code", a->code);
	add_member(b, "LastUpdated", "\"2026-03-02T16:59:59Z\"");
	add_member(b, "Type", "\"AWS-HMAC\"");
	add_member(b, "AccessKeyId", a->id);
	add_member(b, "SecretAccessKey", a->secret);
	add_member(b, "Token", a->token);
	add_member(b, "Expiration", a->expires);
	buf_add_str(b, a->more);
	buf_add_str(b, "}");
}

static void expect_at(struct span json, int64_t now_ms, enum err expected)
{
	struct kms_credentials c, before;
	uint8_t *copy = xmalloc(json.n + 1);

	memset(&c, 0x55, sizeof(c));
	before = c;
	memcpy(copy, json.p, json.n);
	assert_err(kms_credentials_parse(span_of(copy, json.n), now_ms, &c), expected);
	if (expected != ERR_OK)
		assert_memory_equal(&c, &before, sizeof(c));
	free(copy);
}

static void expect(struct span json, enum err expected)
{
	expect_at(json, NOW_MS, expected);
}

static void expect_answer(const struct answer *a, enum err expected)
{
	struct buf b;

	json_of(a, &b);
	expect(span_buf(&b), expected);
	buf_clear(&b);
}

static void test_good(void **state)
{
	struct answer a = good();
	struct kms_credentials c;
	struct buf b;

	(void)state;
	json_of(&a, &b);
	assert_err(kms_credentials_parse(span_buf(&b), NOW_MS, &c), ERR_OK);
	assert_string_equal(c.access_key_id, ID);
	assert_string_equal(c.secret_access_key, SECRET);
	assert_string_equal(c.token, TOKEN);
	assert_int_equal(c.expires_ms, INT64_C(1772492645000));
	kms_credentials_wipe(&c);
	assert_true(sodium_is_zero((const uint8_t *)&c, sizeof(c)));
	kms_credentials_wipe(NULL);
	buf_clear(&b);
}

static void test_expiration(void **state)
{
	static const char *const bad[] = { "\"\"",
					   "\"2026-03-02\"",
					   "\"2026-03-02T23:04:05\"",
					   "\"tomorrow\"",
					   "\"2026-13-02T23:04:05Z\"",
					   "\"2026-03-02T23:04:05Z\\n\"",
					   "\"2026-03-02T16:59:59Z\"",
					   "\"1999-03-02T23:04:05Z\"" };
	struct answer a = good();
	struct buf b;

	(void)state;
	json_of(&a, &b);
	expect_at(span_buf(&b), INT64_C(1772492644999), ERR_OK);
	expect_at(span_buf(&b), INT64_C(1772492645000), ERR_RANGE);
	expect_at(span_buf(&b), INT64_MAX, ERR_RANGE);
	expect_at(span_buf(&b), 0, ERR_OK);
	buf_clear(&b);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a.expires = bad[i];
		expect_answer(&a, ERR_RANGE);
	}
	a.expires = "1772492645";
	expect_answer(&a, ERR_SYNTAX);
}

static void test_missing_and_types(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		static const char *const values[] = { NULL, "null", "7", "[]", "{}", "true" };

		for (unsigned j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			struct answer a = good();
			const char **member[] = { &a.code, &a.id, &a.secret, &a.token, &a.expires };

			*member[i] = values[j];
			expect_answer(&a, ERR_SYNTAX);
		}
	}
}

static void test_codes(void **state)
{
	static const char *const codes[] = { "\"\"", "\"Failed\"", "\"success\"", "\"Success \"",
					     "\"AssumeRoleUnauthorizedAccess\"" };
	struct answer a = good();

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		a.code = codes[i];
		expect_answer(&a, ERR_RANGE);
	}
}

/* What would end a header, begin another, split a user name from a password, or is not ASCII: in each of the three. */
static void test_characters(void **state)
{
	static const char *const bad[] = {
		"\\r\\nX-Amz-Target: TrentService.Encrypt",
		"\\n",
		"\\r",
		"\\t",
		" ",
		":",
		",",
		";",
		"\\\"",
		"\\\\",
		"%",
		"&",
		"\\u007f",
		"\\u0001",
		"\\u0080",
		"\xc3\xa4",
		"\\u2028",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned member = 0; member < 3; member++) {
			for (unsigned place = 0; place < 3; place++) {
				struct answer a = good();
				const char **value[] = { &a.id, &a.secret, &a.token };
				char text[128];

				snprintf(text, sizeof(text), "\"%s%s%s\"", place == 0 ? "" : "ABCDEFGHIJKLMNOP", bad[i],
					 place == 2 ? "" : "ABCDEFGHIJKLMNOP");
				*value[member] = text;
				expect_answer(&a, ERR_RANGE);
			}
		}
	}
}

/* A NUL would end the value early, and a lone surrogate is no character: no JSON for us. */
static void test_nul(void **state)
{
	static const char *const bad[] = { "\"ABCDEFGHIJKLMNOPQR\\u0000\"", "\"ABCDEFGHIJKLMNOP\\u0000QR\"",
					   "\"\\u0000\"", "\"ABCDEFGHIJKLMNOP\\ud800\"", "\"ABCDEFGHIJKLMNOP\xff\"" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned member = 0; member < 3; member++) {
			struct answer a = good();
			const char **value[] = { &a.id, &a.secret, &a.token };

			*value[member] = bad[i];
			expect_answer(&a, ERR_SYNTAX);
		}
	}
	expect(span_lit("\0"), ERR_SYNTAX);
}

static void expect_length(unsigned member, size_t n, enum err expected)
{
	struct answer a = good();
	const char **value[] = { &a.id, &a.secret, &a.token };
	char *text = xmalloc(n + 3);

	memset(text, 'A', n + 3);
	text[0] = text[n + 1] = '"';
	text[n + 2] = '\0';
	*value[member] = text;
	expect_answer(&a, expected);
	free(text);
}

static void test_lengths(void **state)
{
	(void)state;
	expect_length(0, 0, ERR_RANGE);
	expect_length(0, 15, ERR_RANGE);
	expect_length(0, 16, ERR_OK);
	expect_length(0, KMS_ACCESS_KEY_MAX, ERR_OK);
	expect_length(0, KMS_ACCESS_KEY_MAX + 1, ERR_RANGE);
	expect_length(1, 0, ERR_RANGE);
	expect_length(1, 1, ERR_OK);
	expect_length(1, KMS_SECRET_KEY_MAX, ERR_OK);
	expect_length(1, KMS_SECRET_KEY_MAX + 1, ERR_RANGE);
	expect_length(2, 0, ERR_RANGE);
	expect_length(2, KMS_TOKEN_MAX, ERR_OK);
	expect_length(2, KMS_TOKEN_MAX + 1, ERR_RANGE);
	for (unsigned member = 0; member < 3; member++)
		expect_length(member, (size_t)64 << 10, ERR_RANGE);
}

static void test_json(void **state)
{
	static const char *const bad[] = { "", "{}", "[]", "null", "\"\"", "{", "<html/>", "Success" };
	struct answer a = good();
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(span_str(bad[i]), ERR_SYNTAX);
	a.more = ",\"New\":[1,{\"a\":null}]";
	expect_answer(&a, ERR_OK);
	a.more = ",\"Code\":\"Success\"";
	expect_answer(&a, ERR_SYNTAX);
	a.more = ",\"AccessKeyId\":\"" ID "\"";
	expect_answer(&a, ERR_SYNTAX);
	a.more = ",\"Token\":\"" TOKEN "\"";
	expect_answer(&a, ERR_SYNTAX);
	a = good();
	json_of(&a, &b);
	for (size_t n = 0; n < b.n; n++)
		expect(span_of(b.p, n), ERR_SYNTAX);
	while (b.n < KMS_CREDENTIALS_MAX)
		buf_add_byte(&b, '\n');
	expect(span_buf(&b), ERR_OK);
	buf_add_byte(&b, '\n');
	expect(span_buf(&b), ERR_RANGE);
	buf_clear(&b);
	json_of(&a, &b);
	buf_add_str(&b, "{}");
	expect(span_buf(&b), ERR_SYNTAX);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_expiration),
		cmocka_unit_test(test_missing_and_types),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_characters),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_json),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
