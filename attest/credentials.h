/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credentials that requests to KMS are signed with: what the parent's instance metadata service hands out for its
 * role. Pure.
 *
 * The parent knows them: they are no secret of the enclave's, but hostile input. They go into headers and into the
 * signature of a request, and so hold nothing that could end a header or be taken for another part of it. What they
 * permit is decided by KMS, by the key's policy and the attestation document. They are wiped all the same, which needs
 * secret_init(): the JSON's nodes are wiped only by the allocator that it gives to jansson.
 */
#ifndef ATTEST_CREDENTIALS_H
#define ATTEST_CREDENTIALS_H

#include "worker/base/buf.h"

#define KMS_CREDENTIALS_MAX 8192 /* of the JSON */
#define KMS_ACCESS_KEY_MAX  128
#define KMS_SECRET_KEY_MAX  128
#define KMS_TOKEN_MAX       4096

struct kms_credentials {
	char access_key_id[KMS_ACCESS_KEY_MAX + 1];
	char secret_access_key[KMS_SECRET_KEY_MAX + 1];
	char token[KMS_TOKEN_MAX + 1];
	int64_t expires_ms; /* since 1970 */
};

/* From the JSON of IMDSv2 (security-credentials/ROLE). ERR_SYNTAX: it is not one JSON object with Code, AccessKeyId,
 * SecretAccessKey, Token and Expiration once each; unknown members are passed over. ERR_RANGE: a character outside of
 * what AWS uses (no control characters, no white space, no colon), a length, Code not Success, or an Expiration that
 * has come or is no time. */
ERR_MUST_CHECK enum err kms_credentials_parse(struct span json, int64_t now_ms, struct kms_credentials *ret_c);
/* NULL is allowed. */
void kms_credentials_wipe(struct kms_credentials *c);

#endif
