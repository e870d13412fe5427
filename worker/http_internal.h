/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HTTPS client share.
 *
 * http.c          the client, and the life of a request: begin, end, cancel
 * http_target.c   targets: URL, key, CA file, bridge
 * http_request.c  one request: its options for libcurl, and what libcurl's hooks observe
 * http_answer.c   what became of it
 * http_multi.c    libcurl's multi interface on the libuv loop
 *
 * A request begins in http.c, which makes a handle, has http_request_prepare() set
 * it up and gives it to the multi handle. The hooks of http_request.c note what they observe.
 * http_multi.c reports the end to http_request_over(), which asks http_request_answer() for the
 * fate, calls back, wipes, and frees the handle.
 */
#ifndef WORKER_HTTP_INTERNAL_H
#define WORKER_HTTP_INTERNAL_H

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "worker/bridge.h"
#include "worker/http.h"

/* libcurl's largest upload buffer: the read function must be able to hand out a body in one call. */
#define HTTP_BODY_MAX ((size_t)2 << 20)
/* All header lines of an answer, with those of interim answers. */
#define HTTP_HEADERS_MAX ((size_t)64 << 10)
/* With the key. */
#define HTTP_URL_MAX           ((size_t)8 << 10)
#define HTTP_RETRY_AFTER_MAX_S ((int64_t)7 * 86400)

struct http_target {
	struct http *http;
	struct http_target *prev, *next;
	char *host, *port; /* of the URL; a GET must name the same */
	char *url;         /* with the key: guarded memory */
	char *key;         /* "apikey=..." encoded: guarded memory; NULL: none */
	char *ca_file;
	struct bridge *bridge; /* NULL: dialled by libcurl */
	unsigned connect_timeout_ms, first_byte_timeout_ms, total_timeout_ms, connection_max_age_ms;
	size_t answer_max;
};

struct http_request {
	struct http *http;
	struct http_target *target;
	struct http_request *prev, *next;
	CURL *easy; /* NULL: refused before it began */
	http_cb cb;
	void *arg;
	struct span body;
	int64_t begun_us, deadline_us; /* clock_boot_us(); the deadline counts for a POST */
	uv_timer_t timer;              /* first byte of the answer; for a refused one: the next turn of the loop */
	bool post;
	bool cancelled;

	/* what the hooks observed */
	bool started; /* libcurl was about to send the request */
	bool stale;   /* and was stopped: the reused connection was not quiet */
	bool reused;
	bool late;        /* the deadline had passed before the body was handed out */
	bool handed_out;  /* the body was handed to libcurl: from here it may have left */
	bool restarted;   /* second run, on a connection of its own */
	bool header_done; /* a final header is complete: the answer is definite */
	bool malformed, too_large, first_byte_late;
	int status; /* of the last status line */
	SSL *ssl;   /* of the connection; only until libcurl is done */
	size_t header_n;
	int64_t retry_after_s;
	struct buf body_in;
};

struct http {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer; /* libcurl's one time-out */
	char *bridge_dir; /* NULL: no bridges */
	unsigned max_in_flight, in_flight;
	struct http_request *active;
	struct http_target *targets;
	struct curl_slist *post_headers;
};

/* http_request.c */
/* Sets all options of a fresh (or reset) handle; `url` holds the key and is wiped by the caller. */
void http_request_prepare(struct http_request *r, const char *url);
/* Ready for a second run on a fresh connection, with what is left of the time. */
void http_request_prepare_again(struct http_request *r);
/* Starts the time-out for the first byte of the answer. */
void http_request_arm(struct http_request *r);
/* Call when libcurl is done, before the handle leaves the multi handle. */
void http_request_note_socket(struct http_request *r);

/* http_answer.c */
/* The second run is allowed once, and only when a reused connection failed before anything of the body
 * was handed out and before a byte of an answer came: then nothing of the letter can have left. */
bool http_request_may_restart(const struct http_request *r, CURLcode code);
/* What became of it, from libcurl's result and what the hooks saw. `why` overrides the reason, if not NULL. */
void http_request_answer(const struct http_request *r, CURLcode code, const char *why, struct http_answer *ret_answer);

/* http_target.c */
/* Appends the URL with the target's key; ERR_CONFIG when it is not https or names another host or port. */
ERR_MUST_CHECK enum err http_target_get_url(const struct http_target *t, const char *url, struct buf *out);

/* http_multi.c */
ERR_MUST_CHECK enum err http_multi_init(struct http *h);
void http_multi_free(struct http *h);

/* http.c: libcurl is done with this request. */
void http_request_over(struct http_request *r, CURLcode code);
/* http.c: the answer did not begin in time. */
void http_request_first_byte_late(struct http_request *r);
/* http.c: ends the requests of a target without a callback. */
void http_drop(struct http *h, const struct http_target *t);

#endif
