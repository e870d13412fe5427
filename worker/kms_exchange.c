/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/ssl.h>

#include "worker/kms_client_internal.h"

#define POLL_MS 1000

/* An option that is not taken would be a call that is not protected as it should be. */
static void must(CURLcode code)
{
	BUG_ON(code != CURLE_OK);
}

void kms_exchange_header(struct kms_exchange *x, const char *name, const char *value)
{
	struct curl_slist *longer;
	struct buf line;

	BUG_ON(value[0] == '\0');
	buf_init(&line, KMS_HEADERS_MAX);
	buf_add_str(&line, name);
	buf_add_str(&line, ": ");
	buf_add_str(&line, value);
	longer = curl_slist_append(x->headers, buf_cstr(&line));
	BUG_ON(longer == NULL);
	x->headers = longer;
	buf_clear(&line);
}

void kms_exchange_clear(struct kms_exchange *x)
{
	curl_slist_free_all(x->headers);
	x->headers = NULL;
	buf_clear(&x->answer);
}

/* --- what libcurl asks and tells ------------------------------------------------------------- */

/* libcurl keeps all lines of an answer, and has no ceiling for their sum. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct kms_exchange *x = arg;

	(void)p;
	x->header_n += size * n;
	if (x->header_n <= KMS_HEADERS_MAX)
		return size * n;
	x->too_large = true;
	return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct kms_exchange *x = arg;

	buf_add(&x->answer, p, size * n);
	if (!x->answer.overflow)
		return size * n;
	x->too_large = true;
	return 0;
}

/* OpenSSL keeps the last record that it opened, and an answer may have a plaintext. */
static CURLcode on_tls(CURL *easy, void *ctx, void *arg)
{
	(void)easy;
	(void)arg;
	SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT);
	return CURLE_OK;
}

/* --- options --------------------------------------------------------------------------------- */

/* One request to one place: no redirect, no proxy (the environment may name one), no other protocol, no connection that
 * was there before or stays. */
static void set_guards(CURL *e, const struct kms_exchange *x)
{
	must(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, x->scope != NULL ? "https" : "http"));
	must(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
	must(curl_easy_setopt(e, CURLOPT_MAXREDIRS, 0L));
	must(curl_easy_setopt(e, CURLOPT_PROXY, ""));
	must(curl_easy_setopt(e, CURLOPT_NOPROXY, "*"));
	must(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
	must(curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L));
	must(curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L));
	must(curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L));
	must(curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
	must(curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L));
	must(curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L));
	must(curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)KMS_CLIENT_TIMEOUT_MS));
	must(curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
	must(curl_easy_setopt(e, CURLOPT_USERAGENT, "cwc-worker"));
}

static void set_tls(CURL *e, struct kms_wire *w)
{
	struct curl_blob ca = { .data = w->ca.p, .len = w->ca.n, .flags = CURL_BLOB_NOCOPY };

	must(curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L));
	must(curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L));
	must(curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	/* The library's built-in file and directory would add the system's authorities to the measured ones. */
	must(curl_easy_setopt(e, CURLOPT_CAINFO, NULL));
	must(curl_easy_setopt(e, CURLOPT_CAPATH, NULL));
	must(curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &ca));
	/* A resumed session skips the check of the certificate. */
	must(curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L));
	must(curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_tls));
}

/* The signature covers the body, which has to lie there whole: no read function. User and password apart: together they
 * would be split at the first colon. */
static void set_signed_post(CURL *e, const struct kms_exchange *x)
{
	must(curl_easy_setopt(e, CURLOPT_AWS_SIGV4, x->scope));
	must(curl_easy_setopt(e, CURLOPT_USERNAME, x->signer->access_key_id));
	must(curl_easy_setopt(e, CURLOPT_PASSWORD, x->signer->secret_access_key));
	must(curl_easy_setopt(e, CURLOPT_POST, 1L));
	must(curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.n));
	must(curl_easy_setopt(e, CURLOPT_POSTFIELDS, (const char *)x->body.p));
}

static void set_request(CURL *e, struct kms_exchange *x)
{
	must(curl_easy_setopt(e, CURLOPT_URL, x->url));
	must(curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, x->path));
	must(curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, x->method));
	must(curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers));
	must(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
	must(curl_easy_setopt(e, CURLOPT_HEADERDATA, x));
	must(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
	must(curl_easy_setopt(e, CURLOPT_WRITEDATA, x));
}

/* --- the exchange ---------------------------------------------------------------------------- */

/* curl_easy_perform() of a multi handle that is there already, and that the loop can end. */
static CURLcode perform(struct kms_wire *w, CURL *e)
{
	CURLcode code = CURLE_ABORTED_BY_CALLBACK;
	int running = 1, left;
	CURLMsg *msg;

	BUG_ON(curl_multi_add_handle(w->multi, e) != CURLM_OK);
	while (running > 0 && !atomic_load(&w->stopped)) {
		if (curl_multi_perform(w->multi, &running) != CURLM_OK)
			break;
		if (running > 0 && curl_multi_poll(w->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			break;
	}
	while ((msg = curl_multi_info_read(w->multi, &left)) != NULL)
		if (msg->msg == CURLMSG_DONE)
			code = msg->data.result;
	curl_multi_remove_handle(w->multi, e);
	return code;
}

static enum err judge(const struct kms_exchange *x, CURLcode code)
{
	if (x->too_large)
		return ERR_LIMIT;
	if (code == CURLE_OK)
		return ERR_OK;
	if (code == CURLE_COULDNT_RESOLVE_HOST)
		return ERR_RESOLVE;
	if (code == CURLE_COULDNT_CONNECT)
		return ERR_CONNECT;
	if (code == CURLE_OPERATION_TIMEDOUT)
		return ERR_TIMEOUT;
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
	    code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CIPHER || code == CURLE_SSL_CACERT_BADFILE)
		return ERR_TLS;
	if (code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL ||
	    code == CURLE_BAD_CONTENT_ENCODING)
		return ERR_PROTOCOL;
	return ERR_CLOSED;
}

enum err kms_exchange_run(struct kms_wire *w, struct kms_exchange *x)
{
	CURL *e = curl_easy_init();
	long status = 0;
	CURLcode code;

	BUG_ON(e == NULL);
	set_guards(e, x);
	set_request(e, x);
	if (x->scope != NULL) {
		set_tls(e, w);
		set_signed_post(e, x);
	}
	code = perform(w, e);
	if (curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
		x->status = (int)status;
	curl_easy_cleanup(e);
	return judge(x, code);
}
