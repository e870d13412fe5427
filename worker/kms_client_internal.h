/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the KMS client share.
 *
 * kms_client.c    on the loop: the client, its bridges, the begin and the end of a call
 * kms_call.c      in the thread: the chain of a call
 * imds.c          in the thread: credentials from the instance metadata service
 * kms_exchange.c  in the thread: one HTTP exchange
 *
 * A thread has the client's `wire` and `credentials`, and its call, to itself from uv_queue_work() to the callback of
 * its end, and touches nothing else: no handle of the loop, no bridge (it knows their paths), no log. Only
 * wire.stopped is written by the loop meanwhile. What the thread uses is freed by the loop, when the thread is done.
 */
#ifndef WORKER_KMS_CLIENT_INTERNAL_H
#define WORKER_KMS_CLIENT_INTERNAL_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "attest/credentials.h"
#include "worker/bridge.h"
#include "worker/kms_client.h"

/* All header lines of an answer. */
#define KMS_HEADERS_MAX ((size_t)64 << 10)

/* How the thread reaches others. */
struct kms_wire {
	CURLM *multi; /* made at the start: it brings a pair of sockets, which cannot be had under the sandbox */
	atomic_bool stopped;
	struct buf ca;              /* PEM */
	char *kms_path, *imds_path; /* of bridges; NULL: libcurl dials */
};

/* One request and its answer. With a scope it is KMS's: https, POST, signed. Without: http, and no body. */
struct kms_exchange {
	const char *url, *path;     /* path: of the unix socket to dial, or NULL */
	const char *method;         /* NULL: GET or POST */
	struct curl_slist *headers; /* no line with an empty value: it would not be sent, and yet be signed */
	const char *scope;          /* "aws:amz:REGION:kms" */
	const struct kms_credentials *signer;
	struct span body;

	int status;        /* 0: no answer */
	struct buf answer; /* made with its ceiling, and cleared, by the caller */
	size_t header_n;
	bool too_large;
};

enum kms_stage { KMS_STAGE_IMDS, KMS_STAGE_NSM, KMS_STAGE_POST, KMS_STAGE_ANSWER };

struct kms_call {
	uv_work_t work;
	struct kms_client *client;
	kms_client_cb cb;
	void *arg;
	struct kms_request request; /* the document is each attempt's */
	char *texts[2 * KMS_CONTEXT_MAX];
	struct buf blob;

	/* the outcome */
	enum kms_stage stage; /* how far it came, and what came of that: err, or for the last stage the fault */
	enum err err;
	enum kms_fault fault;
	int status;
	uint8_t *data_key; /* guarded */
	struct buf wrapped;
};

struct kms_client {
	uv_loop_t *loop;
	struct nsm nsm;
	char *key_arn, *url, *scope;
	struct kms_wire wire;
	struct bridge *kms, *imds;           /* NULL: libcurl dials */
	struct kms_credentials *credentials; /* guarded; expires_ms 0: none */
	struct kms_call *call;               /* NULL: none is under way */
	bool freed;                          /* the memory goes when the call is over */
};

/* kms_exchange.c */
/* Reads `answer` whole. ERR_RESOLVE, ERR_CONNECT, ERR_TLS, ERR_TIMEOUT; ERR_LIMIT: the answer is too large;
 * ERR_PROTOCOL: it is no HTTP; ERR_CLOSED: the connection ended before the answer did, or the client was freed. */
ERR_MUST_CHECK enum err kms_exchange_run(struct kms_wire *w, struct kms_exchange *x);
/* Adds "name: value"; the value is not empty. */
void kms_exchange_header(struct kms_exchange *x, const char *name, const char *value);
/* Wipes headers and answer. */
void kms_exchange_clear(struct kms_exchange *x);

/* imds.c */
/* As kms_exchange_run(); ERR_NOT_FOUND: a status that is not 200; ERR_SYNTAX, ERR_RANGE, ERR_LIMIT: an answer is not
 * what it should be, and would not be put into a request. */
ERR_MUST_CHECK enum err imds_credentials(struct kms_wire *w, struct kms_credentials *ret_c);

/* kms_call.c */
/* Blocks. The outcome is in the call. */
void kms_call_run(struct kms_call *call);

#endif
