/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream over any address, with optional TLS (OpenSSL over memory BIOs), in a libuv loop.
 *
 * Back-pressure: what is written and not yet taken by the kernel is capped; stream_write() fails
 * with ERR_LIMIT above the cap and nothing of that write is queued. Writes are collected and go
 * out together once per turn of the loop. Buffers are wiped before they are freed.
 */
#ifndef WORKER_BASE_STREAM_H
#define WORKER_BASE_STREAM_H

#include <uv.h>

#include "worker/base/addr.h"

/* TLS as a client: TLS 1.2 or newer, the peer's chain against ca_file and its name against `host`
 * unless verify is off (development only). */
struct stream_tls {
	const char *host;      /* SNI and name to check */
	const char *ca_file;   /* PEM bundle; required when verify is on */
	const char *cert_file; /* client certificate, PEM, or NULL */
	const char *key_file;  /* its key, or NULL */
	bool verify;
};

struct stream_ops {
	/* Connected, and the TLS handshake (if any) is done. */
	void (*up)(void *arg);
	/* Bytes arrived. They are wiped after the call. */
	void (*data)(void *arg, struct span bytes);
	/* The stream ended, before or after up(): ERR_RESOLVE, ERR_CONNECT, ERR_TIMEOUT, ERR_TLS,
	 * ERR_CLOSED, ERR_IO. Called at most once, not after stream_close(); the stream is gone
	 * when it returns. `detail` is a static or short text without secrets. */
	void (*down)(void *arg, enum err e, const char *detail);
};

struct stream;

/* Starts to connect; tls may be NULL. timeout_ms bounds connect and handshake together. Never
 * calls back from within. ERR_CONFIG when a TLS file cannot be used (`*ret_detail`, static). */
ERR_MUST_CHECK enum err stream_open(uv_loop_t *loop, const struct addr *a, const struct stream_tls *tls,
                                    unsigned timeout_ms, size_t write_max, const struct stream_ops *ops, void *arg,
                                    struct stream **ret_stream, const char **ret_detail);
ERR_MUST_CHECK enum err stream_write(struct stream *s, struct span bytes);
/* Closes without a call back. NULL is allowed. */
void stream_close(struct stream *s);

#endif
