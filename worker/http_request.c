/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/http_internal.h"

#include <poll.h>
#include <string.h>

#include "worker/base/clock.h"

/* RFC 9110 section 15: 1xx is an interim answer, 2xx a success. */
#define STATUS_FINAL      200
#define STATUS_REDIRECT   300
#define STATUS_LAST       599
#define UPLOAD_BUFFER_MIN ((size_t)16 << 10)

/* An option that this libcurl refuses is a build that must not send letters; so is one without memory. */
static void must(CURLcode code)
{
	BUG_ON(code != CURLE_OK);
}

/* --- what libcurl asks and tells while a request runs --------------------------------------- */

static SSL *active_ssl(CURL *easy)
{
	struct curl_tlssessioninfo *info = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL)
		return NULL;
	return info->backend == CURLSSLBACKEND_OPENSSL ? info->internals : NULL;
}

static int fd_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	BUG_ON(index < 0);
	return index;
}

/* libcurl tells the socket of a connection after a request only, and its TLS object before one: so the
 * one is noted in the other (plus one: nothing noted is 0). */
void http_request_note_socket(struct http_request *r)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (r->ssl == NULL || curl_easy_getinfo(r->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK)
		return;
	if (fd != CURL_SOCKET_BAD) /* the connection is kept, and with it the TLS object */
		SSL_set_ex_data(r->ssl, fd_index(), (void *)((intptr_t)fd + 1));
	r->ssl = NULL;
}

/* Bytes on a reused connection before our request: the end of the connection, or an answer to nobody (a second
 * one to the last request, a 408 for being idle) that would be taken for the answer to this letter. */
static bool quiet(const SSL *ssl)
{
	struct pollfd p = { .fd = -1, .events = POLLIN | POLLRDHUP };

	if (ssl != NULL)
		p.fd = (int)((intptr_t)SSL_get_ex_data(ssl, fd_index()) - 1);
	return p.fd >= 0 && poll(&p, 1, 0) == 0;
}

static bool too_late(struct http_request *r)
{
	r->late = r->post && clock_boot_us() > r->deadline_us;
	return r->late;
}

/* The connection is there and the request is next. libcurl starts a request again by itself when a reused
 * connection dies; it may not. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static int on_start(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	struct http_request *r = arg;
	long connects = 0;

	(void)remote_ip;
	(void)local_ip;
	(void)remote_port;
	(void)local_port;
	if (r->started || too_late(r))
		return CURL_PREREQFUNC_ABORT;
	r->reused = curl_easy_getinfo(r->easy, CURLINFO_NUM_CONNECTS, &connects) == CURLE_OK && connects == 0;
	r->ssl = active_ssl(r->easy);
	/* OpenSSL keeps the last record that it opened, and an answer may quote the letter. */
	if (r->ssl != NULL)
		SSL_set_options(r->ssl, SSL_OP_CLEANSE_PLAINTEXT);
	r->stale = r->reused && !quiet(r->ssl);
	if (r->stale)
		return CURL_PREREQFUNC_ABORT;
	r->started = true;
	if (!r->post)
		http_request_arm(r);
	return CURL_PREREQFUNC_OK;
}

/* The whole body at the first call, nothing at any other. */
static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;

	if (r->handed_out || r->body.n > size * n || too_late(r))
		return CURL_READFUNC_ABORT;
	r->handed_out = true;
	memcpy(p, r->body.p, r->body.n);
	http_request_arm(r);
	return r->body.n;
}

/* libcurl rewinds a body in order to send it again. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	(void)arg;
	(void)offset;
	(void)origin;
	return CURL_SEEKFUNC_CANTSEEK;
}

static bool starts_with(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_eq_nocase(span_of(s.p, prefix.n), prefix);
}

static bool digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9112 section 4: HTTP-version SP 3DIGIT SP [reason]. The last SP is often left out. 0: not such a line. */
static int parse_status(struct span line)
{
	int status;

	if (line.n < 14 || (!starts_with(line, span_lit("HTTP/1.1 ")) && !starts_with(line, span_lit("HTTP/1.0 "))))
		return 0;
	if (!digit(line.p[9]) || !digit(line.p[10]) || !digit(line.p[11]))
		return 0;
	if (line.p[12] != ' ' && line.p[12] != '\r' && line.p[12] != '\n')
		return 0;
	status = (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0');
	return status >= 100 && status <= STATUS_LAST ? status : 0;
}

/* A success that comes before the whole letter was sent is about something else. */
static bool premature(const struct http_request *r)
{
	curl_off_t sent = 0;

	if (!r->post || r->status < STATUS_FINAL || r->status >= STATUS_REDIRECT)
		return false;
	if (curl_easy_getinfo(r->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK)
		return true;
	return !r->handed_out || sent < (curl_off_t)r->body.n;
}

static bool take_status(struct http_request *r, struct span line)
{
	r->status = parse_status(line);
	if (r->status == 0 || premature(r)) {
		r->malformed = true;
		return false;
	}
	if (r->status >= STATUS_FINAL)
		uv_timer_stop(&r->timer);
	return true;
}

/* RFC 9110 section 10.2.3: delay-seconds or HTTP-date, which begins with the name of a day. */
static int64_t parse_retry_after(struct span v)
{
	int64_t s = 0;
	char date[64];
	time_t t;

	if (v.n == 0 || v.n >= sizeof(date))
		return -1;
	if (!digit(v.p[0])) {
		memcpy(date, v.p, v.n);
		date[v.n] = '\0';
		t = v.p[0] >= 'A' && v.p[0] <= 'Z' ? curl_getdate(date, NULL) : -1;
		if (t == -1)
			return -1;
		s = (int64_t)t - clock_wall_us() / 1000000;
		return s < 0 ? 0 : s > HTTP_RETRY_AFTER_MAX_S ? HTTP_RETRY_AFTER_MAX_S : s;
	}
	for (size_t i = 0; i < v.n; i++) {
		if (!digit(v.p[i]))
			return -1;
		s = s * 10 + (v.p[i] - '0');
		if (s > HTTP_RETRY_AFTER_MAX_S)
			s = HTTP_RETRY_AFTER_MAX_S;
	}
	return s;
}

static bool space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void take_field(struct http_request *r, struct span line)
{
	const struct span name = span_lit("Retry-After:");
	int64_t s;

	if (!starts_with(line, name))
		return;
	line = span_of(line.p + name.n, line.n - name.n);
	while (line.n > 0 && space(line.p[0]))
		line = span_of(line.p + 1, line.n - 1);
	while (line.n > 0 && space(line.p[line.n - 1]))
		line.n--;
	s = parse_retry_after(line);
	if (s > r->retry_after_s)
		r->retry_after_s = s;
}

/* One header line, with its line end. Lines behind the final header are trailers. */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	struct span line = span_of(p, size * n);

	r->header_n += line.n;
	if (r->header_n > HTTP_HEADERS_MAX) {
		r->too_large = true;
		return 0;
	}
	if (r->header_done)
		return line.n;
	if (starts_with(line, span_lit("HTTP/")))
		return take_status(r, line) ? line.n : 0;
	if (r->status >= STATUS_FINAL) {
		if (span_eq_str(line, "\r\n") || span_eq_str(line, "\n"))
			r->header_done = true;
		else
			take_field(r, line);
	}
	return line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;

	buf_add(&r->body_in, p, size * n);
	if (!r->body_in.overflow)
		return size * n;
	r->too_large = true;
	return 0;
}

/* --- options --------------------------------------------------------------------------------- */

static void set_tls(CURL *e, const struct http_target *t)
{
	must(curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L));
	must(curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L));
	must(curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	/* A file, not a blob: only the store of a file is kept by the multi handle. */
	must(curl_easy_setopt(e, CURLOPT_CAINFO, t->ca_file));
	/* The library's built-in directory would add the system's authorities to the measured ones. */
	must(curl_easy_setopt(e, CURLOPT_CAPATH, NULL));
	/* A resumed session skips the check of the certificate. */
	must(curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L));
}

/* One request to one place: no redirect, no proxy (the environment may name one), no other protocol. */
static void set_guards(CURL *e)
{
	must(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https"));
	must(curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "https"));
	must(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
	must(curl_easy_setopt(e, CURLOPT_MAXREDIRS, 0L)); /* also forbids to answer a 417 by sending again */
	must(curl_easy_setopt(e, CURLOPT_PROXY, ""));
	must(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
	must(curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L));
	must(curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L));
	must(curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L));
	must(curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
	must(curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
	must(curl_easy_setopt(e, CURLOPT_USERAGENT, "cwc-worker"));
}

static void set_limits(CURL *e, const struct http_target *t)
{
	/* libcurl counts whole seconds and keeps a connection up to one second longer than told. */
	long age_s = t->connection_max_age_ms > 2000 ? (long)(t->connection_max_age_ms - 1) / 1000 : 1;

	must(curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_timeout_ms));
	must(curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)t->total_timeout_ms));
	must(curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, age_s));
	must(curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, age_s));
	must(curl_easy_setopt(e, CURLOPT_FORBID_REUSE, t->connection_max_age_ms == 0 ? 1L : 0L));
}

static void set_post(CURL *e, const struct http_request *r)
{
	size_t room = r->body.n > UPLOAD_BUFFER_MIN ? r->body.n : UPLOAD_BUFFER_MIN;

	must(curl_easy_setopt(e, CURLOPT_POST, 1L));
	must(curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n));
	must(curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)room));
	must(curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->http->post_headers));
}

static void set_hooks(CURL *e, struct http_request *r)
{
	must(curl_easy_setopt(e, CURLOPT_PRIVATE, r));
	must(curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_start));
	must(curl_easy_setopt(e, CURLOPT_PREREQDATA, r));
	must(curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read));
	must(curl_easy_setopt(e, CURLOPT_READDATA, r));
	must(curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek));
	must(curl_easy_setopt(e, CURLOPT_SEEKDATA, r));
	must(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
	must(curl_easy_setopt(e, CURLOPT_HEADERDATA, r));
	must(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
	must(curl_easy_setopt(e, CURLOPT_WRITEDATA, r));
}

void http_request_prepare(struct http_request *r, const char *url)
{
	CURL *e = r->easy;

	must(curl_easy_setopt(e, CURLOPT_URL, url));
	if (r->target->bridge != NULL)
		/* By path, never abstract: connections to an abstract socket are not reused. */
		must(curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, bridge_path(r->target->bridge)));
	set_tls(e, r->target);
	set_guards(e);
	set_limits(e, r->target);
	set_hooks(e, r);
	if (r->post)
		set_post(e, r);
}

void http_request_prepare_again(struct http_request *r)
{
	int64_t left_ms = (int64_t)r->target->total_timeout_ms - (clock_boot_us() - r->begun_us) / 1000;

	must(curl_easy_setopt(r->easy, CURLOPT_FRESH_CONNECT, 1L));
	must(curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L));
	uv_timer_stop(&r->timer);
	r->restarted = true;
	r->started = false;
	r->stale = false;
	r->reused = false;
}

static void on_first_byte_late(uv_timer_t *timer)
{
	http_request_first_byte_late(timer->data);
}

void http_request_arm(struct http_request *r)
{
	uv_timer_start(&r->timer, on_first_byte_late, r->target->first_byte_timeout_ms, 0);
}
