/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/kms.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>

#include "worker/base/text.h"

#define RSA_BITS    2048
#define ACCOUNT     12
#define REGION_MAX  (KMS_REGION_SIZE - 1)
#define UUID_LENGTH 36

/* --- the key of a call ----------------------------------------------------------------------- */

EVP_PKEY *kms_rsa_new(void)
{
	EVP_PKEY *rsa = EVP_RSA_gen(RSA_BITS);

	BUG_ON(rsa == NULL);
	return rsa;
}

enum err kms_rsa_public(EVP_PKEY *rsa, struct buf *out)
{
	unsigned char *der = NULL;
	const int n = i2d_PUBKEY(rsa, &der);

	if (n <= 0)
		return ERR_CRYPTO;
	buf_add(out, der, (size_t)n);
	OPENSSL_free(der);
	return buf_ok(out);
}

/* --- ARNs ------------------------------------------------------------------------------------ */

static bool lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Lower-case letters and digits in words between single hyphens: at least two words, the first all letters. */
static bool label_valid(struct span s)
{
	size_t hyphens = 0;

	for (size_t i = 0; i < s.n; i++) {
		const char c = (char)s.p[i];

		if (c == '-') {
			if (i == 0 || i == s.n - 1 || s.p[i - 1] == '-')
				return false;
			hyphens++;
		} else if (!lower(c) && !(digit(c) && hyphens > 0)) {
			return false;
		}
	}
	return s.n > 0;
}

static bool digits(struct span s, size_t n)
{
	for (size_t i = 0; i < s.n; i++)
		if (!digit((char)s.p[i]))
			return false;
	return s.n == n;
}

/* 8-4-4-4-12 lower-case hexadecimal digits, as KMS writes them: the answer's KeyId is compared byte by byte. */
static bool uuid_valid(struct span s)
{
	if (s.n != UUID_LENGTH)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char c = (char)s.p[i];

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
		} else if (!digit(c) && !(c >= 'a' && c <= 'f')) {
			return false;
		}
	}
	return true;
}

/* What stands before the next colon, or the rest. */
static struct span arn_part(struct span *rest)
{
	const uint8_t *colon = span_find(*rest, span_lit(":"));
	struct span part = *rest;

	if (colon == NULL) {
		*rest = span_of(rest->p + rest->n, 0);
		return part;
	}
	part.n = (size_t)(colon - rest->p);
	*rest = span_of(colon + 1, rest->n - part.n - 1);
	return part;
}

/* A key in another form (an alias, a key id without its ARN) may be another key tomorrow; a multi-Region key has twins
 * with policies of their own. */
static enum err arn_parse(const char *arn, struct span *ret_region)
{
	static const struct span key = { (const uint8_t *)"key/", 4 };
	struct span rest, region;

	if (arn == NULL || strnlen(arn, KMS_ARN_MAX + 1) > KMS_ARN_MAX)
		return ERR_RANGE;
	rest = span_str(arn);
	if (!span_eq_str(arn_part(&rest), "arn") || !label_valid(arn_part(&rest)) ||
	    !span_eq_str(arn_part(&rest), "kms"))
		return ERR_RANGE;
	region = arn_part(&rest);
	if (region.n > REGION_MAX || !label_valid(region) || !digits(arn_part(&rest), ACCOUNT))
		return ERR_RANGE;
	if (rest.n < key.n || !span_eq(span_of(rest.p, key.n), key) ||
	    !uuid_valid(span_of(rest.p + key.n, rest.n - key.n)))
		return ERR_RANGE;
	*ret_region = region;
	return ERR_OK;
}

enum err kms_arn_region(const char *arn, char ret_region[KMS_REGION_SIZE])
{
	struct span region;

	TRY(arn_parse(arn, &region));
	memcpy(ret_region, region.p, region.n);
	ret_region[region.n] = '\0';
	return ERR_OK;
}

/* --- requests -------------------------------------------------------------------------------- */

const char *kms_target(enum kms_operation o)
{
	return o == KMS_DECRYPT ? "TrentService.Decrypt" : "TrentService.GenerateDataKey";
}

static bool word_valid(const char *s)
{
	size_t n = s == NULL ? 0 : strnlen(s, KMS_CONTEXT_VALUE_MAX + 1);

	if (n == 0 || n > KMS_CONTEXT_VALUE_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return true;
}

static bool context_valid(const struct kms_request *r)
{
	if (r->n_context == 0 || r->n_context > KMS_CONTEXT_MAX)
		return false;
	for (size_t i = 0; i < r->n_context; i++) {
		if (!word_valid(r->context[i].name) || !word_valid(r->context[i].value))
			return false;
		for (size_t j = 0; j < i; j++)
			if (strcmp(r->context[i].name, r->context[j].name) == 0)
				return false;
	}
	return true;
}

static bool sizes_valid(const struct kms_request *r)
{
	const size_t most = r->operation == KMS_DECRYPT ? KMS_BLOB_MAX : 0;

	return r->document.n > 0 && r->document.n <= KMS_DOCUMENT_MAX && r->blob.n <= most &&
	       (r->blob.n > 0 || r->operation != KMS_DECRYPT);
}

static void add_base64(struct buf *b, const char *head, struct span s)
{
	buf_add_str(b, head);
	text_base64(s, b);
	buf_add_byte(b, '"');
}

static void add_context(struct buf *b, const struct kms_request *r)
{
	buf_add_str(b, ",\"EncryptionContext\":{");
	for (size_t i = 0; i < r->n_context; i++) {
		if (i > 0)
			buf_add_byte(b, ',');
		text_json(span_str(r->context[i].name), b);
		buf_add_byte(b, ':');
		text_json(span_str(r->context[i].value), b);
	}
	buf_add_byte(b, '}');
}

enum err kms_request_body(const struct kms_request *r, struct buf *out)
{
	struct span region;

	TRY(arn_parse(r->key_arn, &region));
	if (!context_valid(r) || !sizes_valid(r))
		return ERR_RANGE;
	buf_add_str(out, "{\"KeyId\":");
	text_json(span_str(r->key_arn), out);
	if (r->operation == KMS_DECRYPT)
		add_base64(out, ",\"CiphertextBlob\":\"", r->blob);
	else
		buf_add_str(out, ",\"KeySpec\":\"AES_256\"");
	add_context(out, r);
	buf_add_str(out, ",\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\"");
	add_base64(out, ",\"AttestationDocument\":\"", r->document);
	buf_add_str(out, "}}");
	return buf_ok(out);
}
