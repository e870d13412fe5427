/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/credentials.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "worker/base/text.h"

#define ACCESS_KEY_MIN 16 /* IAM API reference, AccessKey */
#define MS_PER_S       1000

static bool letter_or_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The length of a word of letters, digits and `others`, or 0. */
static size_t word_length(const char *s, size_t n, const char *others)
{
	for (size_t i = 0; i < n; i++)
		if (!letter_or_digit(s[i]) && (s[i] == '\0' || strchr(others, s[i]) == NULL))
			return 0;
	return n;
}

static enum err copy_word(const json_t *v, const char *others, size_t min, size_t max, char *out)
{
	size_t n;

	if (!json_is_string(v))
		return ERR_SYNTAX;
	n = json_string_length(v);
	if (n < min || n > max || word_length(json_string_value(v), n, others) != n)
		return ERR_RANGE;
	memcpy(out, json_string_value(v), n + 1);
	return ERR_OK;
}

static enum err read_expiration(const json_t *v, int64_t now_ms, int64_t *ret_ms)
{
	int64_t s;

	if (!json_is_string(v))
		return ERR_SYNTAX;
	if (text_parse_time(span_of(json_string_value(v), json_string_length(v)), &s) != ERR_OK)
		return ERR_RANGE;
	if (s * MS_PER_S <= now_ms) /* the year has four digits */
		return ERR_RANGE;
	*ret_ms = s * MS_PER_S;
	return ERR_OK;
}

static enum err read_members(const json_t *o, int64_t now_ms, struct kms_credentials *c)
{
	const json_t *code = json_object_get(o, "Code");

	if (!json_is_string(code))
		return ERR_SYNTAX;
	if (strcmp(json_string_value(code), "Success") != 0)
		return ERR_RANGE;
	TRY(copy_word(json_object_get(o, "AccessKeyId"), "_", ACCESS_KEY_MIN, KMS_ACCESS_KEY_MAX, c->access_key_id));
	TRY(copy_word(json_object_get(o, "SecretAccessKey"), "+/=", 1, KMS_SECRET_KEY_MAX, c->secret_access_key));
	TRY(copy_word(json_object_get(o, "Token"), "+/=_-", 1, KMS_TOKEN_MAX, c->token));
	return read_expiration(json_object_get(o, "Expiration"), now_ms, &c->expires_ms);
}

enum err kms_credentials_parse(struct span json, int64_t now_ms, struct kms_credentials *ret_c)
{
	struct kms_credentials c = { .expires_ms = 0 };
	enum err e = ERR_SYNTAX;
	json_t *o;

	if (json.n > KMS_CREDENTIALS_MAX)
		return ERR_RANGE;
	o = json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(o))
		e = read_members(o, now_ms, &c);
	if (e == ERR_OK)
		*ret_c = c;
	kms_credentials_wipe(&c);
	json_decref(o);
	return e;
}

void kms_credentials_wipe(struct kms_credentials *c)
{
	if (c != NULL)
		sodium_memzero(c, sizeof(*c));
}
