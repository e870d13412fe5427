/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to KMS from inside the enclave: attestation document, credentials, SigV4, TLS, and the answer (attest/kms.h).
 *
 * A call is a chain of things that block (the device, one to five HTTP exchanges), so it runs in a thread of libuv's
 * pool with a multi handle of libcurl's that is the client's own; what it dials goes through bridges (bridge.h) that
 * the loop pumps. One call at a time. Nothing is retried here but once: when KMS does not take credentials that were
 * kept from an earlier call, with fresh ones, a new RSA key and a new document. Fresh credentials that it does not take
 * end the call, and are not kept.
 *
 * Under the sandbox nothing more is needed than serving needs, but that the pool was started before (sandbox.h).
 *
 * TLS ends here: the host is kms.REGION.amazonaws.com, of the region that the key's ARN names; https only, no proxy, no
 * redirects, TLS 1.2 or newer, a fresh connection for each call (the proxy of the parent has few workers), the body at
 * most KMS_ANSWER_MAX. Credentials come from the instance metadata service (IMDSv2: a token, the role's name, the
 * role's credentials) in plain HTTP through the parent, who knows them anyway; they are read as hostile input, kept in
 * guarded memory and fetched again five minutes before they expire.
 */
#ifndef WORKER_KMS_CLIENT_H
#define WORKER_KMS_CLIENT_H

#include <uv.h>

#include "attest/kms.h"
#include "attest/nsm.h"
#include "worker/base/addr.h"

#define KMS_CLIENT_TIMEOUT_MS 10000 /* of each HTTP exchange */

struct kms_client;

struct kms_client_options {
	const char *bridge_dir;          /* created 0700 if missing */
	const char *key_arn;             /* all pointers must stay until kms_client_free() */
	const char *ca_file;             /* PEM: authorities that may vouch for KMS. Read once, at the start */
	const struct addr *kms_address;  /* dial this, or NULL: the host of the URL, port 443 */
	const struct addr *imds_address; /* dial this for the metadata service, or NULL: 169.254.169.254, port 80 */
	struct nsm nsm;                  /* a copy */
};

/* How a call ended: `why` is a stable name: "ok", that of a kms_fault, or "imds" (no credentials to be had),
 * "imds_syntax", "nsm", "connect" (also: the connection ended before the answer did), "tls", "timeout", "too_large". An
 * answer of KMS that is no HTTP is "kms_syntax". */
struct kms_client_result {
	bool ok, retry; /* retry: the same may succeed later */
	const char *why;
	int http_status;         /* of KMS; 0: none */
	const uint8_t *data_key; /* KMS_DATA_KEY bytes, guarded; valid during the callback; NULL unless ok */
	struct span blob;        /* KMS_GENERATE_DATA_KEY: CiphertextBlob */
};
typedef void (*kms_client_cb)(void *arg, const struct kms_client_result *r);

/* ERR_CONFIG with *ret_rule (static): an ARN, a directory or a file that cannot be used. */
ERR_MUST_CHECK enum err kms_client_new(uv_loop_t *loop, const struct kms_client_options *o,
				       struct kms_client **ret_client, const char **ret_rule);
/* A call that is under way ends without a callback: its connections end, its thread soon after, or by its time-outs (a
 * name that libcurl looks up, the device). The memory, with all secrets, goes when the loop has run on until the thread
 * has ended: until then nsm.arg of an exchange must stay, while a device may be closed at once. Also from the callback
 * of a call. NULL is allowed. */
void kms_client_free(struct kms_client *c);

/* Context and blob are copied. Calls back once, never from within; the callback may begin the next call. ERR_EXISTS: a
 * call is under way. ERR_RANGE: what kms_request_body() refuses. */
ERR_MUST_CHECK enum err kms_client_call(struct kms_client *c, enum kms_operation o, const struct kms_pair *context,
					size_t n_context, struct span blob, kms_client_cb cb, void *arg);

#endif
