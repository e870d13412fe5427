/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/base/text.h"
#include "worker/status_internal.h"

#define BODY_MAX (1U << 20)
/* Documents: 5 a second, and as many at once. */
#define DOCUMENT_US INT64_C(200000)
#define DOCUMENTS   5
#define ACT_US      INT64_C(1000000)
/* A connection that has no longer than this to go is not for another request. */
#define CLOSES_US INT64_C(1000000)

#define JSON "application/json"

struct status_ticket {
	struct status_client *client; /* NULL: nobody waits any more */
};

static void say(struct status_answer *a, int code, const char *json)
{
	buf_reset(&a->body);
	a->code = code;
	a->type = JSON;
	buf_add_str(&a->body, json);
}

static void header(struct MHD_Response *r, const char *name, const char *value)
{
	BUG_ON(MHD_add_response_header(r, name, value) != MHD_YES);
}

/* --- tickets ---------------------------------------------------------------------------------- */

/* The client's answer, which the handler queues. */
static void respond(struct status_client *k, const struct status_answer *a)
{
	char too_large[] = "{\"error\":\"too_large\"}";
	bool fits = buf_ok(&a->body) == ERR_OK;
	k->code = fits ? (unsigned)a->code : MHD_HTTP_INTERNAL_SERVER_ERROR;
	k->response = MHD_create_response_from_buffer(fits ? a->body.n : sizeof too_large - 1,
						      fits ? (void *)a->body.p : too_large, MHD_RESPMEM_MUST_COPY);
	BUG_ON(k->response == NULL);
	header(k->response, MHD_HTTP_HEADER_CONTENT_TYPE, fits ? a->type : JSON);
}

static void respond_json(struct status_client *k, int code, const char *json)
{
	struct status_answer a;
	buf_init(&a.body, BODY_MAX);
	say(&a, code, json);
	respond(k, &a);
	buf_clear(&a.body);
}

void status_answers_resume(struct status_client *k)
{
	k->suspended = false;
	k->since_us += clock_boot_us() - k->waits_us;
	MHD_resume_connection(k->connection);
}

static struct status_ticket *ticket(struct status_client *k)
{
	k->ticket = xcalloc(1, sizeof *k->ticket);
	k->ticket->client = k;
	k->s->waiting++;
	return k->ticket;
}

/* Whoever has the ticket may answer it still, to nobody. */
static void detach(struct status_client *k)
{
	if (k->ticket == NULL)
		return;
	k->ticket->client = NULL;
	k->ticket = NULL;
	k->s->waiting--;
}

void status_answers_late(struct status_client *k)
{
	detach(k);
	respond_json(k, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"reason\":\"timeout\"}");
	status_answers_resume(k);
}

void status_answers_over(struct status_client *k)
{
	detach(k);
	buf_clear(&k->body);
	if (k->response != NULL)
		MHD_destroy_response(k->response);
	k->response = NULL;
}

void status_reply(struct status_ticket *t, const struct status_answer *a)
{
	struct status_client *k = t->client;
	if (k != NULL) {
		detach(k);
		respond(k, a);
		if (k->suspended)
			status_answers_resume(k);
	}
	free(t);
}

void status_reply_json(struct status_ticket *t, int code, const char *json)
{
	struct status_answer a;
	buf_init(&a.body, BODY_MAX);
	say(&a, code, json);
	status_reply(t, &a);
	buf_clear(&a.body);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* One comes each every_us, if they come evenly, and at most `burst` at once; *due_us is the time of the next. */
static bool allowed(int64_t *due_us, int64_t every_us, int burst)
{
	int64_t now = clock_boot_us(), due = *due_us > now ? *due_us : now;
	if (due - now > (burst - 1) * every_us)
		return false;
	*due_us = due + every_us;
	return true;
}

static bool document_allowed(struct status_client *k, struct status_answer *a)
{
	if (allowed(&k->s->document_due_us, DOCUMENT_US, DOCUMENTS))
		return true;
	say(a, MHD_HTTP_TOO_MANY_REQUESTS, "{\"reason\":\"too_many_documents\"}");
	return false;
}

static bool act_allowed(struct status_client *k, struct status_answer *a)
{
	if (allowed(&k->s->act_due_us, ACT_US, 1))
		return true;
	say(a, MHD_HTTP_TOO_MANY_REQUESTS, "{\"reason\":\"too_many_acts\"}");
	return false;
}

static bool may_wait(struct status_client *k, struct status_answer *a)
{
	if (k->s->waiting < STATUS_WAITING_MAX)
		return true;
	say(a, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"reason\":\"busy\"}");
	return false;
}

/* --- documents -------------------------------------------------------------------------------- */

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
static bool read_nonce(const struct status_client *k, struct buf *out)
{
	struct arguments a = { .n = 0 };
	MHD_get_connection_values(k->connection, MHD_GET_ARGUMENT_KIND, argument, &a);
	if (a.n == 0)
		return true;
	return a.n == 1 && a.nonce != NULL && status_nonce(span_str(a.nonce), out) == ERR_OK;
}

static bool wants_json(const struct status_client *k)
{
	const char *accept = MHD_lookup_connection_value(k->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	return accept != NULL && strcasestr(accept, JSON) != NULL;
}

static void no_document(struct status_answer *a)
{
	say(a, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"reason\":\"no_attestation\"}");
}

static void attestation(struct status_client *k, struct status_answer *a)
{
	const struct status_source *s = &k->s->source;
	struct buf nonce;
	buf_init(&nonce, STATUS_NONCE_MAX);
	if (!read_nonce(k, &nonce))
		say(a, MHD_HTTP_BAD_REQUEST, "{\"error\":\"nonce\"}");
	else if (s->attestation == NULL)
		no_document(a);
	else if (may_wait(k, a) && document_allowed(k, a))
		s->attestation(s->arg, span_buf(&nonce), wants_json(k), ticket(k));
	buf_clear(&nonce);
}

static void keys(struct status_client *k, struct status_answer *a)
{
	const struct status_source *s = &k->s->source;
	if (s->keys == NULL)
		no_document(a);
	else
		s->keys(s->arg, a);
}

/* --- acts ------------------------------------------------------------------------------------- */

static void not_found(struct status_answer *a)
{
	say(a, MHD_HTTP_NOT_FOUND, "{\"error\":\"not_found\"}");
}

static void too_long(struct status_answer *a)
{
	say(a, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"body\"}");
}

static void act(struct status_client *k, enum status_act what, struct status_answer *a)
{
	const struct status_source *s = &k->s->source;
	if (s->act == NULL)
		not_found(a);
	else if (buf_ok(&k->body) != ERR_OK)
		too_long(a);
	else if (may_wait(k, a) && act_allowed(k, a))
		s->act(s->arg, what, span_buf(&k->body), ticket(k));
}

static void keys_request(struct status_client *k, struct status_answer *a)
{
	act(k, STATUS_KEYS_REQUEST, a);
}

static void keys_rotate(struct status_client *k, struct status_answer *a)
{
	act(k, STATUS_KEYS_ROTATE, a);
}

static void keys_signers(struct status_client *k, struct status_answer *a)
{
	act(k, STATUS_KEYS_SIGNERS, a);
}

/* --- the others ------------------------------------------------------------------------------- */

static void health(struct status_client *k, struct status_answer *a)
{
	k->s->source.health(k->s->source.arg, a);
}

static void ready(struct status_client *k, struct status_answer *a)
{
	k->s->source.ready(k->s->source.arg, a);
}

static void metrics(struct status_client *k, struct status_answer *a)
{
	k->s->source.metrics(k->s->source.arg, a);
}

/* --- requests --------------------------------------------------------------------------------- */

struct path {
	const char *path;
	bool post; /* a body of at most STATUS_BODY_MAX may come with it; else GET or HEAD without one */
	void (*answer)(struct status_client *k, struct status_answer *a);
};

static const struct path paths[] = {
	{ "/health", false, health },           { "/ready", false, ready },
	{ "/attestation", false, attestation }, { "/keys", false, keys },
	{ "/metrics", false, metrics },         { "/keys/request", true, keys_request },
	{ "/keys/rotate", true, keys_rotate },  { "/keys/signers", true, keys_signers },
};

static const struct path *find(const char *url)
{
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		if (strcmp(url, paths[i].path) == 0)
			return &paths[i];
	}
	return NULL;
}

static const char *allowed_methods(const struct path *p)
{
	return p->post ? MHD_HTTP_METHOD_POST : MHD_HTTP_METHOD_GET ", " MHD_HTTP_METHOD_HEAD;
}

static bool has_method(const struct path *p, const char *method)
{
	if (p->post)
		return strcmp(method, MHD_HTTP_METHOD_POST) == 0;
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static const char *body_length(const struct status_client *k)
{
	return MHD_lookup_connection_value(k->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
}

static bool has_body(const struct status_client *k)
{
	const char *length = body_length(k);
	return (length != NULL && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(k->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

/* What is said to be longer is not read; what is in chunks shows it later. */
static bool body_fits(const struct path *p, const struct status_client *k)
{
	const char *length = body_length(k);
	uint64_t n;
	if (!p->post)
		return !has_body(k);
	return length == NULL || text_uint(span_str(length), STATUS_BODY_MAX, &n) == ERR_OK;
}

/* True, with the answer, when the header alone says that this cannot be. */
static bool refused(const struct status_client *k, const struct path *p, const char *method, struct status_answer *a)
{
	if (p == NULL)
		not_found(a);
	else if (!has_method(p, method))
		say(a, MHD_HTTP_METHOD_NOT_ALLOWED, "{\"error\":\"method\"}");
	else if (!body_fits(p, k))
		too_long(a);
	else
		return false;
	return true;
}

/* `last`: nothing more is read from this connection. */
static enum MHD_Result queue(struct status_client *k, const struct path *p, bool last)
{
	struct MHD_Response *m = k->response;
	k->response = NULL;
	last = last || k->s->clients == STATUS_CONNECTIONS_MAX ||
	       clock_boot_us() - k->since_us >= k->s->age_us - CLOSES_US;
	header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	header(m, "X-Content-Type-Options", "nosniff");
	if (k->code == MHD_HTTP_METHOD_NOT_ALLOWED && p != NULL)
		header(m, MHD_HTTP_HEADER_ALLOW, allowed_methods(p));
	if (k->code == MHD_HTTP_TOO_MANY_REQUESTS)
		header(m, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	if (last)
		header(m, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result result = MHD_queue_response(k->connection, k->code, m);
	MHD_destroy_response(m);
	return result;
}

static enum MHD_Result suspend(struct status_client *k)
{
	k->suspended = true;
	k->waits_us = clock_boot_us();
	MHD_suspend_connection(k->connection);
	return MHD_YES;
}

/* The header is there. */
static enum MHD_Result begin(struct status_client *k, const struct path *p, const char *method)
{
	struct status_answer a = { .code = MHD_HTTP_OK, .type = JSON };
	if (!has_body(k))
		return MHD_YES;
	buf_init(&a.body, BODY_MAX);
	bool no = refused(k, p, method, &a);
	if (no)
		respond(k, &a);
	buf_clear(&a.body);
	return no ? queue(k, p, true) : MHD_YES;
}

/* All of it is there. */
static void answer(struct status_client *k, const struct path *p, const char *method)
{
	struct status_answer a = { .code = MHD_HTTP_OK, .type = JSON };
	buf_init(&a.body, BODY_MAX);
	if (!refused(k, p, method, &a))
		p->answer(k, &a);
	/* Else the ticket has it, or brought it at once. */
	if (k->ticket == NULL && k->response == NULL)
		respond(k, &a);
	buf_clear(&a.body);
}

/* Called when a request's header is there (no state yet), for each piece of its body, when all of it is there, and
 * after a wait. */
enum MHD_Result status_answers_handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				      const char *version, const char *upload, size_t *upload_size, void **state)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct path *p = find(url);
	bool first = *state == NULL;
	(void)arg;
	(void)version;
	BUG_ON(info == NULL || info->socket_context == NULL);
	struct status_client *k = info->socket_context;
	*state = k;
	if (k->ended)
		return MHD_NO;
	if (first)
		return begin(k, p, method);
	if (*upload_size > 0) {
		buf_add(&k->body, upload, *upload_size); /* what does not fit is dropped, and answered for at its end */
		*upload_size = 0;
		return MHD_YES;
	}
	if (k->response == NULL)
		answer(k, p, method);
	return k->response != NULL ? queue(k, p, false) : suspend(k);
}
