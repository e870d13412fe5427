/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS KMS with a Recipient: the bodies of requests and answers. Pure; worker/kms_client.h carries them.
 *
 * A request names one key by its ARN, an encryption context that binds what the data key is for, and an attestation
 * document whose public_key is the RSA key that the answer is sealed to. An answer must name the same key, must have
 * CiphertextForRecipient, and must not have a Plaintext: an answer that has one was not made for an enclave.
 *
 * One call: kms_rsa_new(), kms_rsa_public() into the public_key of a fresh document, kms_request_body(), a POST to "/"
 * of kms.REGION.amazonaws.com with kms_target() and SigV4 for the service "kms", kms_answer(). The RSA key is of that
 * call alone; so an answer to another call does not open.
 *
 * Needs secret_init(): an answer that is refused may hold a key, which is wiped with the rest of the JSON only by the
 * allocator that it gives to jansson.
 */
#ifndef ATTEST_KMS_H
#define ATTEST_KMS_H

#include "attest/cms.h"

#define KMS_ARN_MAX           256
#define KMS_REGION_SIZE       32
#define KMS_DOCUMENT_MAX      12288 /* what the device can make */
#define KMS_BLOB_MAX          6144
#define KMS_REQUEST_MAX       65536
#define KMS_ANSWER_MAX        32768
#define KMS_DATA_KEY          32  /* AES_256 */
#define KMS_PUBLIC_SIZE       294 /* SubjectPublicKeyInfo of RSA-2048, exponent 65537 */
#define KMS_CONTEXT_MAX       8
#define KMS_CONTEXT_VALUE_MAX 256
#define KMS_CONTENT_TYPE      "application/x-amz-json-1.1"

enum kms_operation { KMS_GENERATE_DATA_KEY, KMS_DECRYPT };

struct kms_pair {
	const char *name, *value;
};

struct kms_request {
	enum kms_operation operation;
	const char *key_arn; /* arn:PARTITION:kms:REGION:ACCOUNT:key/UUID; aliases are refused */
	struct kms_pair context[KMS_CONTEXT_MAX];
	size_t n_context;
	struct span document; /* attestation document */
	struct span blob;     /* KMS_DECRYPT: CiphertextBlob */
};

/* The RSA-2048 key of one call; never NULL. EVP_PKEY_free() wipes it. */
EVP_PKEY *kms_rsa_new(void);
/* Appends its SubjectPublicKeyInfo, DER, for the document's public_key. ERR_LIMIT: `out` is too small. */
ERR_MUST_CHECK enum err kms_rsa_public(EVP_PKEY *rsa, struct buf *out);

/* Appends the body. ERR_RANGE: an ARN, a context or a size that is not allowed: the context has 1 to KMS_CONTEXT_MAX
 * pairs of different names, and names and values of 1 to KMS_CONTEXT_VALUE_MAX printable ASCII characters (a request
 * without a context would open any data key of the KMS key); a document is there; a blob is there for KMS_DECRYPT
 * only. ERR_LIMIT: `out` is too small. */
ERR_MUST_CHECK enum err kms_request_body(const struct kms_request *r, struct buf *out);
/* "TrentService.Decrypt", for X-Amz-Target. */
const char *kms_target(enum kms_operation o);
/* The region of an ARN ("us-gov-west-1"), or ERR_RANGE. It has letters, digits and single hyphens only, so that it can
 * stand in a host name. */
ERR_MUST_CHECK enum err kms_arn_region(const char *arn, char ret_region[KMS_REGION_SIZE]);

/* Why an answer was not taken; the names are logged, the body never is. */
#define KMS_FAULTS(X)                                                                                  \
	X(NONE, "ok", "")                                                                              \
	X(DENIED, "kms_denied", "KMS refused: the key's policy or the document")                       \
	X(CREDENTIALS, "kms_credentials", "KMS does not take the credentials or the signature's time") \
	X(THROTTLED, "kms_throttled", "KMS asks to come later")                                        \
	X(UNAVAILABLE, "kms_unavailable", "KMS has a fault of its own")                                \
	X(REFUSED, "kms_refused", "KMS does not accept the request")                                   \
	X(SYNTAX, "kms_syntax", "the answer is not the JSON of this operation")                        \
	X(OTHER_KEY, "kms_other_key", "the answer names another key")                                  \
	X(NO_RECIPIENT, "kms_no_recipient", "the answer is not sealed to this enclave")                \
	X(PLAINTEXT, "kms_plaintext", "the answer has a plaintext")                                    \
	X(CMS, "kms_cms", "the sealed key does not have the form of KMS, or does not open")            \
	X(LENGTH, "kms_length", "the data key does not have 32 bytes")

enum kms_fault {
#define KMS_FAULT_ENUM(e, name, text) KMS_FAULT_##e,
	KMS_FAULTS(KMS_FAULT_ENUM)
#undef KMS_FAULT_ENUM
		KMS_FAULT_COUNT
};
/* The stable name, and the text for people. Never NULL. */
const char *kms_fault_name(enum kms_fault f);
const char *kms_fault_text(enum kms_fault f);
/* Whether the same call may succeed later; for KMS_FAULT_CREDENTIALS, with fresh credentials. */
bool kms_fault_retry(enum kms_fault f);

/* Parses an answer (HTTP status and body) to `r`, opens it with `rsa`; writes the data key, and for
 * KMS_GENERATE_DATA_KEY appends CiphertextBlob to `blob` (else it may be NULL). Strict where it matters: duplicate
 * members, bad base64 and sizes are KMS_FAULT_SYNTAX, as is a `blob` that has no room, and a 200 with an error in it;
 * unknown members are passed over. On any fault ret_key is all zero and `blob` is unchanged. The caller wipes the body:
 * an answer that is refused with KMS_FAULT_PLAINTEXT holds a key. */
enum kms_fault kms_answer(const struct kms_request *r, int status, struct span body, EVP_PKEY *rsa,
			  uint8_t ret_key[KMS_DATA_KEY], struct buf *blob);

#endif
