/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a request: its fate, and the reason for logs. */
#include "worker/base/clock.h"
#include "worker/http_internal.h"

bool http_request_may_restart(const struct http_request *r, CURLcode code)
{
	return code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT && r->reused && !r->restarted && !r->handed_out &&
	       !r->late && r->header_n == 0;
}

static const char *dial_reason(const struct http_request *r)
{
	enum err e = r->target->bridge != NULL ? bridge_dial_error(r->target->bridge) : ERR_OK;

	if (e == ERR_OK)
		return NULL;
	return e == ERR_RESOLVE ? "resolve" : e == ERR_TIMEOUT ? "connect_timeout" : "connect";
}

static const char *curl_reason(CURLcode code)
{
	static const struct {
		CURLcode code;
		const char *why;
	} table[] = {
		{ CURLE_COULDNT_RESOLVE_HOST, "resolve" },
		{ CURLE_COULDNT_CONNECT, "connect" },
		{ CURLE_SSL_CONNECT_ERROR, "tls" },
		{ CURLE_PEER_FAILED_VERIFICATION, "tls" },
		{ CURLE_SSL_CACERT_BADFILE, "tls" },
		{ CURLE_SSL_CERTPROBLEM, "tls" },
		{ CURLE_SSL_CIPHER, "tls" },
		{ CURLE_UNSUPPORTED_PROTOCOL, "answer_malformed" }, /* HTTP/0.9, or no HTTP at all */
		{ CURLE_WEIRD_SERVER_REPLY, "answer_malformed" },
		{ CURLE_BAD_CONTENT_ENCODING, "answer_malformed" },
		{ CURLE_WRITE_ERROR, "answer_malformed" },
		{ CURLE_OUT_OF_MEMORY, "answer_too_large" }, /* so libcurl says of a header line above its own limit */
		{ CURLE_OK, "answer_malformed" },            /* the connection ended within the header */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			return table[i].why;
	return "reset";
}

static const char *reason(const struct http_request *r, CURLcode code)
{
	const char *dial;

	if (r->late)
		return "too_late";
	if (r->first_byte_late)
		return "first_byte_timeout";
	if (r->too_large)
		return "answer_too_large";
	if (r->malformed)
		return "answer_malformed";
	if (code == CURLE_OPERATION_TIMEDOUT && (r->started || r->header_n > 0))
		return "total_timeout";
	dial = r->started || r->stale ? NULL : dial_reason(r);
	if (dial != NULL)
		return dial;
	return code == CURLE_OPERATION_TIMEDOUT ? "connect_timeout" : curl_reason(code);
}

static enum http_fate fate(const struct http_request *r)
{
	if (r->header_done)
		return HTTP_ANSWERED;
	return (r->post ? r->handed_out : r->started) ? HTTP_UNKNOWN : HTTP_NOT_SENT;
}

void http_request_answer(const struct http_request *r, CURLcode code, const char *why, struct http_answer *ret_answer)
{
	bool whole = code == CURLE_OK && !r->too_large;

	*ret_answer = (struct http_answer){
		.fate = fate(r),
		.body_left = r->handed_out,
		.retry_after_s = -1,
		.elapsed_us = clock_boot_us() - r->begun_us,
		.reused = r->reused,
	};
	ret_answer->why = why != NULL ? why : reason(r, code);
	if (!r->header_done)
		return;
	ret_answer->status = r->status;
	ret_answer->retry_after_s = r->retry_after_s;
	if (whole && why == NULL) {
		ret_answer->why = "answered";
		ret_answer->body = span_buf(&r->body_in);
	}
}
