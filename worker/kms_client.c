/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/kms_client.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/secret.h"
#include "worker/http_global.h"
#include "worker/kms_client_internal.h"

#define CA_MAX    ((size_t)1 << 20)
#define CA_PIECE  ((size_t)16 << 10)
#define BACKLOG   8
#define PAIRS_MAX 16 /* a call has one connection at a time; those whose dial hangs stay for a while */

/* --- what the start needs -------------------------------------------------------------------- */

static enum err read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	uint8_t piece[CA_PIECE];
	ssize_t n;

	if (fd < 0)
		return ERR_IO;
	do {
		n = read(fd, piece, sizeof(piece));
		if (n > 0)
			buf_add(out, piece, (size_t)n);
	} while ((n > 0 && !out->overflow) || (n < 0 && errno == EINTR));
	close(fd);
	return n < 0 ? ERR_IO : buf_ok(out);
}

/* As libcurl reads a blob: one PEM object that cannot be read spoils all. */
static bool has_certificates(struct span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	STACK_OF(X509_INFO) *all = bio != NULL ? PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL) : NULL;
	bool found = false;

	for (int i = 0; all != NULL && i < sk_X509_INFO_num(all); i++)
		found = found || sk_X509_INFO_value(all, i)->x509 != NULL;
	sk_X509_INFO_pop_free(all, X509_INFO_free);
	BIO_free(bio);
	ERR_clear_error();
	return found;
}

static enum err read_ca(struct kms_wire *w, const char *path, const char **ret_rule)
{
	if (path != NULL && read_file(path, &w->ca) == ERR_OK && w->ca.n > 0 && has_certificates(span_buf(&w->ca)))
		return ERR_OK;
	*ret_rule = "the CA file (keys.kms_ca_file) cannot be read or holds no certificate";
	return ERR_CONFIG;
}

static char *text_of(const char *head, const char *middle, const char *tail)
{
	struct buf b;
	char *text;

	buf_init(&b, KMS_ARN_MAX + 64);
	buf_add_str(&b, head);
	buf_add_str(&b, middle);
	buf_add_str(&b, tail);
	text = xstrdup(buf_cstr(&b));
	buf_clear(&b);
	return text;
}

static enum err name_key(struct kms_client *c, const char *arn, const char **ret_rule)
{
	char region[KMS_REGION_SIZE];

	if (kms_arn_region(arn, region) != ERR_OK) {
		*ret_rule = "the ARN of a KMS key is expected, arn:PARTITION:kms:REGION:ACCOUNT:key/UUID";
		return ERR_CONFIG;
	}
	c->key_arn = xstrdup(arn);
	c->url = text_of("https://kms.", region, ".amazonaws.com/");
	c->scope = text_of("aws:amz:", region, ":kms");
	return ERR_OK;
}

static enum err open_bridge(struct kms_client *c, const char *dir, const struct addr *a, struct bridge **ret_bridge,
			    char **ret_path, const char **ret_rule)
{
	const struct bridge_options o = { .dir = dir,
					  .address = a,
					  .backlog = BACKLOG,
					  .pairs_max = PAIRS_MAX,
					  .dial_timeout_ms = KMS_CLIENT_TIMEOUT_MS };

	if (a == NULL || a->text[0] == '\0')
		return ERR_OK;
	*ret_rule = "an address needs the bridge directory";
	if (dir == NULL)
		return ERR_CONFIG;
	TRY(bridge_new(c->loop, &o, ret_bridge, ret_rule));
	*ret_path = xstrdup(bridge_path(*ret_bridge));
	return ERR_OK;
}

static enum err fill(struct kms_client *c, const struct kms_client_options *o, const char **ret_rule)
{
	TRY(name_key(c, o->key_arn, ret_rule));
	TRY(read_ca(&c->wire, o->ca_file, ret_rule));
	TRY(open_bridge(c, o->bridge_dir, o->kms_address, &c->kms, &c->wire.kms_path, ret_rule));
	return open_bridge(c, o->bridge_dir, o->imds_address, &c->imds, &c->wire.imds_path, ret_rule);
}

enum err kms_client_new(uv_loop_t *loop, const struct kms_client_options *o, struct kms_client **ret_client,
			const char **ret_rule)
{
	struct kms_client *c;
	enum err e;

	*ret_rule = "libcurl cannot be used";
	if (http_global_init() != ERR_OK)
		return ERR_CONFIG;
	c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->nsm = o->nsm;
	buf_init(&c->wire.ca, CA_MAX);
	c->credentials = secret_alloc(sizeof(*c->credentials));
	c->wire.multi = curl_multi_init();
	BUG_ON(c->wire.multi == NULL);
	e = fill(c, o, ret_rule);
	if (e != ERR_OK) {
		kms_client_free(c);
		return e;
	}
	*ret_client = c;
	return ERR_OK;
}

/* --- the end --------------------------------------------------------------------------------- */

static void call_free(struct kms_call *call)
{
	for (size_t i = 0; i < 2 * KMS_CONTEXT_MAX; i++)
		free(call->texts[i]);
	secret_free(call->data_key);
	buf_clear(&call->blob);
	buf_clear(&call->wrapped);
	free(call);
}

static void client_free(struct kms_client *c)
{
	curl_multi_cleanup(c->wire.multi);
	buf_clear(&c->wire.ca);
	free(c->wire.kms_path);
	free(c->wire.imds_path);
	secret_free(c->credentials);
	free(c->key_arn);
	free(c->url);
	free(c->scope);
	free(c);
	http_global_free();
}

/* The thread sees its connections end, and makes no other. */
void kms_client_free(struct kms_client *c)
{
	if (c == NULL)
		return;
	bridge_free(c->kms);
	bridge_free(c->imds);
	c->kms = c->imds = NULL;
	if (c->call == NULL) {
		client_free(c);
		return;
	}
	c->freed = true;
	atomic_store(&c->wire.stopped, true);
	curl_multi_wakeup(c->wire.multi);
	uv_cancel((uv_req_t *)&c->call->work); /* if no thread has begun with it */
}

/* --- a call ---------------------------------------------------------------------------------- */

static void set(struct kms_client_result *r, const char *why, bool retry)
{
	r->why = why;
	r->retry = retry;
}

/* libcurl sees a failed dial of a bridge only as a connection that ends before its time. */
static enum err post_error(const struct kms_client *c, const struct kms_call *call)
{
	enum err dial = c->kms != NULL ? bridge_dial_error(c->kms) : ERR_OK;

	if (dial == ERR_OK || (call->err != ERR_TLS && call->err != ERR_CLOSED))
		return call->err;
	return dial == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_CONNECT;
}

static void judge_post(enum err e, struct kms_client_result *r)
{
	if (e == ERR_TLS)
		set(r, "tls", true);
	else if (e == ERR_TIMEOUT)
		set(r, "timeout", true);
	else if (e == ERR_LIMIT)
		set(r, "too_large", false);
	else if (e == ERR_PROTOCOL)
		set(r, kms_fault_name(KMS_FAULT_SYNTAX), kms_fault_retry(KMS_FAULT_SYNTAX));
	else
		set(r, "connect", true);
}

static void judge_imds(enum err e, struct kms_client_result *r)
{
	if (e == ERR_SYNTAX || e == ERR_RANGE || e == ERR_LIMIT || e == ERR_PROTOCOL)
		set(r, "imds_syntax", true);
	else
		set(r, "imds", true);
}

static struct kms_client_result judge(const struct kms_client *c, const struct kms_call *call)
{
	struct kms_client_result r = { .http_status = call->status };

	switch (call->stage) {
	case KMS_STAGE_IMDS:
		judge_imds(call->err, &r);
		break;
	case KMS_STAGE_NSM:
		set(&r, "nsm", err_class(call->err) == ERR_CLASS_RETRY);
		break;
	case KMS_STAGE_POST:
		judge_post(post_error(c, call), &r);
		break;
	case KMS_STAGE_ANSWER:
		set(&r, kms_fault_name(call->fault), kms_fault_retry(call->fault));
		r.ok = call->fault == KMS_FAULT_NONE;
		break;
	}
	if (r.ok) {
		r.data_key = call->data_key;
		r.blob = span_buf(&call->wrapped);
	}
	return r;
}

static void on_work(uv_work_t *work)
{
	kms_call_run(work->data);
}

/* The callback may free the client, or begin the next call. */
static void on_over(uv_work_t *work, int status)
{
	struct kms_call *call = work->data;
	struct kms_client *c = call->client;
	struct kms_client_result r;

	(void)status;
	if (c->freed) {
		call_free(call);
		client_free(c);
		return;
	}
	c->call = NULL;
	r = judge(c, call);
	call->cb(call->arg, &r);
	call_free(call);
}

/* Whether a body can be made of it, by making one: the document that is not there yet always fits. */
static enum err check_request(const struct kms_request *r)
{
	struct kms_request trial = *r;
	struct buf body;
	enum err e;

	trial.document = span_lit("-");
	buf_init(&body, KMS_REQUEST_MAX);
	e = kms_request_body(&trial, &body);
	buf_clear(&body);
	return e;
}

static struct kms_call *call_new(struct kms_client *c, const struct kms_request *r)
{
	struct kms_call *call = xcalloc(1, sizeof(*call));

	call->work.data = call;
	call->client = c;
	call->request = *r;
	for (size_t i = 0; i < r->n_context; i++) {
		call->texts[2 * i] = xstrdup(r->context[i].name);
		call->texts[2 * i + 1] = xstrdup(r->context[i].value);
		call->request.context[i] = (struct kms_pair){ call->texts[2 * i], call->texts[2 * i + 1] };
	}
	buf_init(&call->blob, KMS_BLOB_MAX);
	buf_add_span(&call->blob, r->blob);
	call->request.blob = span_buf(&call->blob);
	buf_init(&call->wrapped, KMS_BLOB_MAX);
	call->data_key = secret_alloc(KMS_DATA_KEY);
	return call;
}

enum err kms_client_call(struct kms_client *c, enum kms_operation o, const struct kms_pair *context, size_t n_context,
			 struct span blob, kms_client_cb cb, void *arg)
{
	struct kms_request r = { .operation = o, .key_arn = c->key_arn, .blob = blob, .n_context = n_context };

	if (c->call != NULL)
		return ERR_EXISTS;
	if (n_context == 0 || n_context > KMS_CONTEXT_MAX)
		return ERR_RANGE;
	memcpy(r.context, context, n_context * sizeof(*context));
	TRY(check_request(&r));
	c->call = call_new(c, &r);
	c->call->cb = cb;
	c->call->arg = arg;
	BUG_ON(uv_queue_work(c->loop, &c->call->work, on_work, on_over) != 0);
	return ERR_OK;
}
