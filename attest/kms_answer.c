/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "attest/kms.h"
#include "worker/base/text.h"

#define STATUS_OK           200
#define STATUS_FORBIDDEN    403
#define STATUS_TOO_MANY     429
#define STATUS_SERVER_FAULT 500

static const struct {
	const char *name, *text;
} faults[KMS_FAULT_COUNT] = {
#define FAULT_ROW(e, name, text) { name, text },
	KMS_FAULTS(FAULT_ROW)
#undef FAULT_ROW
};

const char *kms_fault_name(enum kms_fault f)
{
	return (unsigned)f < KMS_FAULT_COUNT ? faults[f].name : "?";
}

const char *kms_fault_text(enum kms_fault f)
{
	return (unsigned)f < KMS_FAULT_COUNT ? faults[f].text : "?";
}

bool kms_fault_retry(enum kms_fault f)
{
	return f == KMS_FAULT_CREDENTIALS || f == KMS_FAULT_THROTTLED || f == KMS_FAULT_UNAVAILABLE;
}

/* --- errors ---------------------------------------------------------------------------------- */

/* The errors of Decrypt and GenerateDataKey, and those common to all services, that mean something else than "this
 * request will not do" (KMS API reference). */
static const struct {
	const char *type;
	enum kms_fault fault;
} errors[] = {
	{ "AccessDeniedException", KMS_FAULT_DENIED },
	{ "NotAuthorized", KMS_FAULT_DENIED },
	{ "OptInRequired", KMS_FAULT_DENIED },
	{ "ExpiredTokenException", KMS_FAULT_CREDENTIALS },
	{ "IncompleteSignature", KMS_FAULT_CREDENTIALS },
	{ "IncompleteSignatureException", KMS_FAULT_CREDENTIALS },
	{ "InvalidClientTokenId", KMS_FAULT_CREDENTIALS },
	{ "InvalidSignatureException", KMS_FAULT_CREDENTIALS },
	{ "MissingAuthenticationToken", KMS_FAULT_CREDENTIALS },
	{ "MissingAuthenticationTokenException", KMS_FAULT_CREDENTIALS },
	{ "RequestExpired", KMS_FAULT_CREDENTIALS },
	{ "SignatureDoesNotMatch", KMS_FAULT_CREDENTIALS },
	{ "UnrecognizedClientException", KMS_FAULT_CREDENTIALS },
	{ "LimitExceededException", KMS_FAULT_THROTTLED },
	{ "RequestLimitExceeded", KMS_FAULT_THROTTLED },
	{ "Throttling", KMS_FAULT_THROTTLED },
	{ "ThrottlingException", KMS_FAULT_THROTTLED },
	{ "TooManyRequestsException", KMS_FAULT_THROTTLED },
	{ "DependencyTimeoutException", KMS_FAULT_UNAVAILABLE },
	{ "InternalFailure", KMS_FAULT_UNAVAILABLE },
	{ "KMSInternalException", KMS_FAULT_UNAVAILABLE },
	{ "KeyUnavailableException", KMS_FAULT_UNAVAILABLE },
	{ "ServiceUnavailable", KMS_FAULT_UNAVAILABLE },
	{ "ServiceUnavailableException", KMS_FAULT_UNAVAILABLE },
};

static enum kms_fault fault_of_status(int status)
{
	if (status == STATUS_TOO_MANY)
		return KMS_FAULT_THROTTLED;
	if (status >= STATUS_SERVER_FAULT)
		return KMS_FAULT_UNAVAILABLE;
	return status == STATUS_FORBIDDEN ? KMS_FAULT_DENIED : KMS_FAULT_REFUSED;
}

/* AWS JSON 1.1: "__type" is the error's name, with or without a namespace and '#' before it, ':' and a URL behind. */
static enum kms_fault fault_of_error(int status, const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "__type"));
	const char *end, *hash;

	if (text == NULL)
		return fault_of_status(status);
	end = text + strcspn(text, ":");
	hash = memrchr(text, '#', (size_t)(end - text));
	if (hash != NULL)
		text = hash + 1;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (span_eq_str(span_of(text, (size_t)(end - text)), errors[i].type))
			return errors[i].fault;
	return fault_of_status(status);
}

/* --- answers --------------------------------------------------------------------------------- */

static bool absent(const json_t *v)
{
	return v == NULL || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0);
}

static struct span string_span(const json_t *v)
{
	return span_of(json_string_value(v), json_string_length(v));
}

/* Appends the bytes of a member that must be there. */
static bool read_base64(const json_t *v, struct buf *out)
{
	return json_is_string(v) && json_string_length(v) > 0 && text_unbase64(string_span(v), out) == ERR_OK;
}

/* Before anything is opened: the answer is to our request and made for an enclave. */
static enum kms_fault check_members(const struct kms_request *r, const json_t *o)
{
	const json_t *id = json_object_get(o, "KeyId"), *plaintext = json_object_get(o, "Plaintext");
	const json_t *sealed = json_object_get(o, "CiphertextForRecipient");

	if (!json_is_object(o) || json_object_get(o, "__type") != NULL || !json_is_string(id))
		return KMS_FAULT_SYNTAX;
	if (!absent(plaintext))
		return json_is_string(plaintext) ? KMS_FAULT_PLAINTEXT : KMS_FAULT_SYNTAX;
	if (!span_eq_str(string_span(id), r->key_arn))
		return KMS_FAULT_OTHER_KEY;
	if (absent(sealed))
		return KMS_FAULT_NO_RECIPIENT;
	return KMS_FAULT_NONE;
}

static enum kms_fault open_sealed(struct span cms, EVP_PKEY *rsa, uint8_t ret_key[KMS_DATA_KEY])
{
	uint8_t room[CMS_PLAIN_MAX];
	struct buf plain = { .p = room, .cap = sizeof(room), .max = sizeof(room) };
	enum kms_fault f = KMS_FAULT_CMS;

	if (cms_open(cms, rsa, &plain) == ERR_OK)
		f = plain.n == KMS_DATA_KEY ? KMS_FAULT_NONE : KMS_FAULT_LENGTH;
	if (f == KMS_FAULT_NONE)
		memcpy(ret_key, plain.p, KMS_DATA_KEY);
	buf_clear(&plain);
	return f;
}

static enum kms_fault read_answer(const struct kms_request *r, const json_t *o, EVP_PKEY *rsa, uint8_t *ret_key,
				  struct buf *blob)
{
	struct buf cms, wrapped;
	enum kms_fault f = check_members(r, o);

	if (f != KMS_FAULT_NONE)
		return f;
	buf_init(&cms, CMS_MAX);
	buf_init(&wrapped, KMS_BLOB_MAX);
	if (!read_base64(json_object_get(o, "CiphertextForRecipient"), &cms))
		f = KMS_FAULT_SYNTAX;
	if (r->operation == KMS_GENERATE_DATA_KEY && (!read_base64(json_object_get(o, "CiphertextBlob"), &wrapped) ||
						      blob->overflow || wrapped.n > blob->max - blob->n))
		f = KMS_FAULT_SYNTAX;
	if (f == KMS_FAULT_NONE)
		f = open_sealed(span_buf(&cms), rsa, ret_key);
	if (f == KMS_FAULT_NONE && wrapped.n > 0)
		buf_add_span(blob, span_buf(&wrapped));
	buf_clear(&cms);
	buf_clear(&wrapped);
	return f;
}

enum kms_fault kms_answer(const struct kms_request *r, int status, struct span body, EVP_PKEY *rsa,
			  uint8_t ret_key[KMS_DATA_KEY], struct buf *blob)
{
	enum kms_fault f;
	json_t *o = NULL;

	sodium_memzero(ret_key, KMS_DATA_KEY);
	if (body.n > 0 && body.n <= KMS_ANSWER_MAX)
		o = json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	f = status == STATUS_OK ? read_answer(r, o, rsa, ret_key, blob) : fault_of_error(status, o);
	json_decref(o);
	return f;
}
