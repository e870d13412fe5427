/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS client: POSTs letters and GETs office lists, with libcurl's multi interface in the loop.
 *
 * The rules that matter (measured in libcurl 7.88.1):
 * - libcurl re-sends a POST by itself when a reused connection dies before an answer. It must not:
 *   the body goes through a read function that hands it out whole, once, and can neither be asked
 *   again nor rewound; a second start of the request is refused in the pre-request hook.
 * - A reused connection must be quiet before the request: bytes that wait there (the end of the connection, or an
 *   answer that nobody asked for) would be taken for the answer to this letter. If it is not, or if it fails before
 *   the body was handed out, the request is begun once more, on a fresh connection.
 * - A success that comes before the whole body was sent is no answer to it: "answer_malformed".
 * - "the body left" is what the read function observed: once it was called, the body may have left.
 * - TLS ends here: peer and host name are checked against the URL's host and the CA file, SNI is the
 *   URL's host, whatever address is dialled. https only, no redirects, no proxy, no HTTP/2.
 * - A target with a dial address is reached through an in-process bridge: a unix socket in a 0700 directory that
 *   dials the address (tcp, unix or vsock) and pumps bytes both ways.
 */
#ifndef WORKER_HTTP_H
#define WORKER_HTTP_H

#include <uv.h>

#include "worker/base/addr.h"
#include "worker/base/buf.h"

struct http;
struct http_target;

struct http_options {
	const char *bridge_dir; /* created 0700 if missing; needed for targets with an address */
	unsigned max_in_flight; /* handles made at once; also the bridge's backlog */
};

struct http_target_options {
	const char *url;            /* https://HOST[:PORT]/PATH, without query */
	const char *api_key;        /* becomes ?apikey=..., URL-encoded; NULL or "": none. Copied to guarded memory */
	const struct addr *address; /* dial this, or NULL: the URL's host and port */
	const char *ca_file;
	unsigned connect_timeout_ms, first_byte_timeout_ms, total_timeout_ms, connection_max_age_ms;
	size_t answer_max;
};

/* How far the request got; `why` is a stable short name for logs: "answered", "resolve", "connect", "tls",
 * "connect_timeout", "first_byte_timeout", "total_timeout", "reset", "answer_too_large",
 * "answer_malformed", "cancelled", "too_late" (the deadline passed), "refused" (never begun: more than max_in_flight,
 * a body that is empty or above 2 MiB, a GET of another host). With HTTP_ANSWERED it is "answered", or the reason
 * why the body is missing. */
enum http_fate { HTTP_ANSWERED, HTTP_NOT_SENT, HTTP_UNKNOWN };

struct http_answer {
	enum http_fate fate;
	bool body_left;
	int status;            /* with HTTP_ANSWERED */
	int64_t retry_after_s; /* -1: no Retry-After header; an HTTP-date is turned into seconds, never negative */
	struct span body; /* with HTTP_ANSWERED: at most answer_max bytes, valid during the callback, wiped after */
	const char *why;
	int64_t elapsed_us;
	bool reused; /* an existing connection carried it */
};

/* Called exactly once per request, never from within http_post()/http_get(). */
typedef void (*http_cb)(void *arg, const struct http_answer *a);

/* Ignores SIGPIPE and forgets SSLKEYLOGFILE, for the whole process. */
ERR_MUST_CHECK enum err http_new(uv_loop_t *loop, const struct http_options *o, struct http **ret_http);
/* Ends every request without a callback and frees all, targets that are left too. Not from within a callback. The
 * memory of libuv handles goes when the loop has run once more. NULL is allowed. */
void http_free(struct http *h);

/* ERR_CONFIG with *ret_rule when the URL or a file cannot be used. */
ERR_MUST_CHECK enum err http_target_new(struct http *h, const struct http_target_options *o,
					struct http_target **ret_target, const char **ret_rule);
/* Ends its requests without a callback. NULL is allowed. */
void http_target_free(struct http_target *t);

/* POST, Content-Type: application/xml. `body` must stay until the callback; the caller wipes it. A truncated answer
 * body with a complete header is HTTP_ANSWERED when the status is an error or a success: the status line decides.
 * The body's first byte is not handed out later than deadline_boot_us (clock_boot_us()): HTTP_NOT_SENT, "too_late". */
void http_post(struct http_target *t, struct span body, int64_t deadline_boot_us, http_cb cb, void *arg);
/* GET of an absolute https URL on the target's host with the target's key, limits and address. */
void http_get(struct http_target *t, const char *url, http_cb cb, void *arg);
/* Ends all requests that are under way; each callback is called with HTTP_UNKNOWN or HTTP_NOT_SENT, "cancelled"; or
 * with HTTP_ANSWERED, when only the answer's body was missing. Requests that a callback begins go on. */
void http_cancel_all(struct http *h);

#endif
