/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/text.h"
#include "worker/status_internal.h"

#define BODY_MAX (1U << 20)
/* Documents: 5 a second, and as many at once. */
#define DOCUMENT_US INT64_C(200000)
#define DOCUMENTS   5

#define JSON "application/json"

struct request {
	struct status_answers *s;
	struct MHD_Connection *connection;
};

static void say(struct status_answer *a, int code, const char *json)
{
	buf_reset(&a->body);
	a->code = code;
	a->type = JSON;
	buf_add_str(&a->body, json);
}

/* --- documents -------------------------------------------------------------------------------- */

static bool is_hex(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (strchr("0123456789abcdefABCDEF", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	}
	return s.n % 2 == 0 && s.n >= (size_t)2 * STATUS_NONCE_MIN;
}

static enum err unbase64url(struct span text, struct buf *out)
{
	uint8_t standard[(STATUS_NONCE_MAX + 2) / 3 * 4];
	size_t n = 0;
	if (text.n > sizeof standard)
		return ERR_LIMIT;
	for (; n < text.n; n++) {
		uint8_t c = text.p[n];
		if (c == '+' || c == '/')
			return ERR_SYNTAX;
		standard[n] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	while (n % 4 != 0)
		standard[n++] = '=';
	return text_unbase64(span_of(standard, n), out);
}

enum err status_nonce(struct span text, struct buf *out)
{
	uint8_t bytes[STATUS_NONCE_MAX];
	if (is_hex(text)) {
		if (text.n > 2 * sizeof bytes)
			return ERR_LIMIT;
		TRY(text_unhex(text, bytes, text.n / 2));
		buf_add(out, bytes, text.n / 2);
	} else {
		TRY(unbase64url(text, out));
	}
	TRY(buf_ok(out));
	return out->n < STATUS_NONCE_MIN ? ERR_RANGE : ERR_OK;
}

struct arguments {
	unsigned n;
	const char *nonce;
};

static enum MHD_Result argument(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct arguments *a = arg;
	(void)kind;
	a->n++;
	if (strcmp(key, "nonce") == 0)
		a->nonce = value;
	return MHD_YES;
}

/* False: not one nonce, or a bad one. Without any argument `out` stays empty. */
static bool read_nonce(const struct request *r, struct buf *out)
{
	struct arguments a = { .n = 0 };
	MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, argument, &a);
	if (a.n == 0)
		return true;
	return a.n == 1 && a.nonce != NULL && status_nonce(span_str(a.nonce), out) == ERR_OK;
}

static bool wants_json(const struct request *r)
{
	const char *accept = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	return accept != NULL && strcasestr(accept, JSON) != NULL;
}

static bool document_allowed(struct status_answers *s, struct status_answer *a)
{
	int64_t now = clock_boot_us(), due = s->document_due_us > now ? s->document_due_us : now;
	if (due - now > (DOCUMENTS - 1) * DOCUMENT_US) {
		say(a, MHD_HTTP_TOO_MANY_REQUESTS, "{\"reason\":\"too_many_documents\"}");
		return false;
	}
	s->document_due_us = due + DOCUMENT_US;
	return true;
}

static void no_document(struct status_answer *a)
{
	say(a, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"reason\":\"no_attestation\"}");
}

static void attestation(const struct request *r, struct status_answer *a)
{
	struct buf nonce;
	buf_init(&nonce, STATUS_NONCE_MAX);
	if (!read_nonce(r, &nonce))
		say(a, MHD_HTTP_BAD_REQUEST, "{\"error\":\"nonce\"}");
	else if (r->s->source.attestation == NULL)
		no_document(a);
	else if (document_allowed(r->s, a))
		r->s->source.attestation(r->s->source.arg, span_buf(&nonce), wants_json(r), a);
	buf_clear(&nonce);
}

static void keys(const struct request *r, struct status_answer *a)
{
	if (r->s->source.keys == NULL)
		no_document(a);
	else if (document_allowed(r->s, a))
		r->s->source.keys(r->s->source.arg, a);
}

/* --- the others ------------------------------------------------------------------------------- */

static void health(const struct request *r, struct status_answer *a)
{
	r->s->source.health(r->s->source.arg, a);
}

static void ready(const struct request *r, struct status_answer *a)
{
	r->s->source.ready(r->s->source.arg, a);
}

static void metrics(const struct request *r, struct status_answer *a)
{
	r->s->source.metrics(r->s->source.arg, a);
}

static const struct {
	const char *path;
	void (*answer)(const struct request *r, struct status_answer *a);
} paths[] = {
	{ "/health", health }, { "/ready", ready },     { "/attestation", attestation },
	{ "/keys", keys },     { "/metrics", metrics },
};

/* body: the request has one, of which not one byte is read. */
static void route(const struct request *r, const char *url, const char *method, bool body, struct status_answer *a)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		say(a, MHD_HTTP_METHOD_NOT_ALLOWED, "{\"error\":\"method\"}");
		return;
	}
	if (body) {
		say(a, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"body\"}");
		return;
	}
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		if (strcmp(url, paths[i].path) == 0) {
			paths[i].answer(r, a);
			return;
		}
	}
	say(a, MHD_HTTP_NOT_FOUND, "{\"error\":\"not_found\"}");
}

static void header(struct MHD_Response *r, const char *name, const char *value)
{
	BUG_ON(MHD_add_response_header(r, name, value) != MHD_YES);
}

static enum MHD_Result queue(const struct request *r, struct status_answer *a, bool last)
{
	if (buf_ok(&a->body) != ERR_OK)
		say(a, MHD_HTTP_INTERNAL_SERVER_ERROR, "{\"error\":\"too_large\"}");
	struct MHD_Response *m = MHD_create_response_from_buffer(a->body.n, a->body.p, MHD_RESPMEM_MUST_COPY);
	BUG_ON(m == NULL);
	header(m, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
	header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	header(m, "X-Content-Type-Options", "nosniff");
	if (a->code == MHD_HTTP_METHOD_NOT_ALLOWED)
		header(m, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (a->code == MHD_HTTP_TOO_MANY_REQUESTS)
		header(m, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	if (last)
		header(m, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)a->code, m);
	MHD_destroy_response(m);
	return result;
}

static bool has_body(struct MHD_Connection *c)
{
	const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return (length != NULL && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

/* Called when a request's header is there (no state yet), and again when all of it is. */
enum MHD_Result status_answers_handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				      const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct request r = { .s = arg, .connection = c };
	struct status_answer a = { .code = MHD_HTTP_OK, .type = JSON };
	bool first = *state == NULL, body = has_body(c);
	(void)version;
	(void)upload;
	*upload_size = 0; /* what came is dropped */
	*state = r.s;
	if (first && !body)
		return MHD_YES;
	buf_init(&a.body, BODY_MAX);
	route(&r, url, method, body, &a);
	enum MHD_Result result = queue(&r, &a, body);
	buf_clear(&a.body);
	return result;
}
