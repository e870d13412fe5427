/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>

#include "worker/base/clock.h"
#include "worker/kms_client_internal.h"

/* KMS lets credentials work up to their last second, and AWS's clients fetch new ones this long before. */
#define REFRESH_MS (5 * INT64_C(60000))

/* --- credentials ----------------------------------------------------------------------------- */

static bool credentials_last(const struct kms_credentials *c)
{
	return c->expires_ms - REFRESH_MS > clock_wall_us() / 1000;
}

/* Fresh ones that run out soon are used all the same, once. */
static bool fetch_credentials(struct kms_call *call)
{
	struct kms_client *c = call->client;

	kms_credentials_wipe(c->credentials);
	call->stage = KMS_STAGE_IMDS;
	call->err = imds_credentials(&c->wire, c->credentials);
	return call->err == ERR_OK;
}

/* --- one attempt ----------------------------------------------------------------------------- */

static enum err get_document(struct kms_call *call, EVP_PKEY *rsa, struct buf *out)
{
	uint8_t room[KMS_PUBLIC_SIZE];
	struct buf der = { .p = room, .cap = sizeof(room), .max = sizeof(room) };
	struct span public_key;

	if (atomic_load(&call->client->wire.stopped))
		return ERR_CLOSED;
	TRY(kms_rsa_public(rsa, &der));
	public_key = span_buf(&der);
	return nsm_attest(&call->client->nsm, NULL, NULL, &public_key, out);
}

static void post(struct kms_call *call, struct span body, EVP_PKEY *rsa)
{
	struct kms_client *c = call->client;
	struct kms_exchange x = {
		.url = c->url, .path = c->wire.kms_path, .scope = c->scope, .signer = c->credentials, .body = body
	};

	buf_init(&x.answer, KMS_ANSWER_MAX);
	kms_exchange_header(&x, "Content-Type", KMS_CONTENT_TYPE);
	kms_exchange_header(&x, "X-Amz-Target", kms_target(call->request.operation));
	kms_exchange_header(&x, "X-Amz-Security-Token", c->credentials->token);
	call->stage = KMS_STAGE_POST;
	call->err = kms_exchange_run(&c->wire, &x);
	call->status = x.status;
	if (call->err == ERR_OK) {
		call->stage = KMS_STAGE_ANSWER;
		call->fault =
			kms_answer(&call->request, x.status, span_buf(&x.answer), rsa, call->data_key, &call->wrapped);
	}
	kms_exchange_clear(&x);
}

/* With an RSA key and a document of its own: an answer to an earlier attempt does not open. */
static void attempt(struct kms_call *call)
{
	EVP_PKEY *rsa = kms_rsa_new();
	struct buf document, body;

	buf_init(&document, KMS_DOCUMENT_MAX);
	buf_init(&body, KMS_REQUEST_MAX);
	call->stage = KMS_STAGE_NSM;
	call->err = get_document(call, rsa, &document);
	call->request.document = span_buf(&document);
	if (call->err == ERR_OK)
		call->err = kms_request_body(&call->request, &body);
	if (call->err == ERR_OK)
		post(call, span_buf(&body), rsa);
	call->request.document = span_of(NULL, 0);
	buf_clear(&body);
	buf_clear(&document);
	EVP_PKEY_free(rsa);
}

static bool credentials_refused(const struct kms_call *call)
{
	return call->stage == KMS_STAGE_ANSWER && call->fault == KMS_FAULT_CREDENTIALS;
}

/* Credentials that KMS does not take are kept for no other call. */
void kms_call_run(struct kms_call *call)
{
	struct kms_credentials *credentials = call->client->credentials;
	const bool kept = credentials_last(credentials);

	if (!kept && !fetch_credentials(call))
		return;
	attempt(call);
	if (kept && credentials_refused(call) && fetch_credentials(call))
		attempt(call);
	if (credentials_refused(call))
		kms_credentials_wipe(credentials);
}
