/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream over any address, with optional TLS (OpenSSL over memory BIOs), in a libuv loop.
 *
 * Back-pressure: what is written and not yet taken by the kernel is capped; stream_write() fails
 * with ERR_LIMIT above the cap and nothing of that write is queued. Writes are collected and go
 * out together once per turn of the loop. Buffers are wiped before they are freed. The program has
 * to ignore SIGPIPE: libuv writes without MSG_NOSIGNAL.
 */
#ifndef WORKER_BASE_STREAM_H
#define WORKER_BASE_STREAM_H

#include <uv.h>

#include "worker/base/addr.h"

/* TLS as a client: TLS 1.2 or newer, the peer's chain against ca_file and its name against `host`
 * unless verify is off (development only). */
struct stream_tls {
	const char *host;      /* SNI and name to check; an IP literal is checked as an address */
	const char *ca_file;   /* PEM bundle; required when verify is on */
	const char *cert_file; /* client certificate, PEM, or NULL */
	const char *key_file;  /* its key, or NULL */
	bool verify;
	void *loaded; /* by stream_tls_load(); NULL: the files are read at each stream_open() */
};

/* Reads the files once, for streams that are opened when no file can be any more.
 * ERR_CONFIG (`*ret_detail`, static). */
ERR_MUST_CHECK enum err stream_tls_load(struct stream_tls *t, const char **ret_detail);
/* Streams that were opened with it go on. Does nothing to what was not loaded. */
void stream_tls_unload(struct stream_tls *t);

struct stream_ops {
	/* Connected, and the TLS handshake (if any) is done. */
	void (*up)(void *arg);
	/* Bytes arrived. They are wiped after the call. */
	void (*data)(void *arg, struct span bytes);
	/* The stream ended, before or after up(): ERR_RESOLVE, ERR_CONNECT, ERR_TIMEOUT, ERR_TLS,
	 * ERR_CLOSED, ERR_IO. Called at most once, not after stream_close(); the stream is gone
	 * when it is called. `detail` is a static or short text without secrets. */
	void (*down)(void *arg, enum err e, const char *detail);
};

struct stream;

/* Starts to connect; tls may be NULL; it, its strings and ops are not needed after the call.
 * timeout_ms bounds connect and handshake together. Never calls back from within. ERR_CONFIG when
 * a TLS file or name cannot be used (`*ret_detail`, static). */
ERR_MUST_CHECK enum err stream_open(uv_loop_t *loop, const struct addr *a, const struct stream_tls *tls,
				    unsigned timeout_ms, size_t write_max, const struct stream_ops *ops, void *arg,
				    struct stream **ret_stream, const char **ret_detail);
/* Before up() the bytes wait for it. Never calls back from within. */
ERR_MUST_CHECK enum err stream_write(struct stream *s, struct span bytes);
/* Closes without a call back, also from within one. What was not written yet is dropped. NULL is
 * allowed. Memory is freed when the loop has run its close callbacks. */
void stream_close(struct stream *s);

#endif
