/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/stream.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "worker/base/dial.h"

#define READ_MAX  65536
#define PLAIN_MAX 16384       /* one TLS record */
#define KEEP_MAX  (64 * 1024) /* an output buffer that grew past this is given back */
#define TLS_EXTRA (64 * 1024) /* room for handshake messages and alerts behind write_max */

struct stream {
	struct stream_ops ops;
	void *arg;
	struct dial *dial;
	uv_pipe_t pipe; /* libuv's stream for any connected socket */
	uv_timer_t timer;
	uv_prepare_t collect; /* runs right before the loop polls */
	unsigned handles;     /* still to be closed by the loop */
	bool up, writing, closing;
	size_t write_max;
	struct buf pending; /* written by the user */
	struct buf flying;  /* on its way to the kernel; encrypted with TLS */
	uv_write_t write;
	SSL *ssl;
	BIO *in, *out;
	uint8_t input[READ_MAX];
	uint8_t plain[PLAIN_MAX];
};

/* --- TLS configuration ---------------------------------------------------------------------- */

/* A key that asks for a pass phrase is refused; the default would ask on the terminal. */
static int no_passphrase(char *buf, int size, int for_writing, void *arg)
{
	(void)for_writing;
	(void)arg;
	if (size > 0)
		buf[0] = '\0';
	return -1;
}

static const char *load_client(SSL_CTX *ctx, const struct stream_tls *t)
{
	if (t->cert_file == NULL && t->key_file == NULL)
		return NULL;
	if (t->cert_file == NULL || t->key_file == NULL)
		return "a client certificate needs its key, and a key its certificate";
	if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_file) != 1)
		return "the client certificate cannot be read";
	if (SSL_CTX_use_PrivateKey_file(ctx, t->key_file, SSL_FILETYPE_PEM) != 1)
		return "the client key cannot be read or is not that of the certificate";
	return NULL;
}

static const char *configure(SSL_CTX *ctx, const struct stream_tls *t)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		return "TLS 1.2 is not available";
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_verify(ctx, t->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (t->verify && (t->host == NULL || t->host[0] == '\0'))
		return "the name to check in the server's certificate is missing";
	if (t->verify && t->ca_file == NULL)
		return "the CA file is missing";
	if (t->ca_file != NULL && SSL_CTX_load_verify_file(ctx, t->ca_file) != 1)
		return "the CA file cannot be read or holds no certificate";
	return load_client(ctx, t);
}

enum err stream_tls_load(struct stream_tls *t, const char **ret_detail)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const char *problem = ctx == NULL ? "out of memory" : configure(ctx, t);
	ERR_clear_error();
	if (problem != NULL) {
		SSL_CTX_free(ctx);
		*ret_detail = problem;
		return ERR_CONFIG;
	}
	t->loaded = ctx;
	return ERR_OK;
}

void stream_tls_unload(struct stream_tls *t)
{
	SSL_CTX_free(t->loaded);
	t->loaded = NULL;
}

static bool name_peer(SSL *ssl, const struct stream_tls *t)
{
	if (t->host == NULL || t->host[0] == '\0')
		return true;
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), t->host) == 1)
		return true;
	ERR_clear_error();
	/* RFC 6066 section 3: no address in SNI. */
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, t->host) == 1 && SSL_set_tlsext_host_name(ssl, t->host) == 1;
}

static enum err tls_start(struct stream *s, const struct stream_tls *t, const char **ret_detail)
{
	struct stream_tls own = *t;
	if (own.loaded == NULL)
		TRY(stream_tls_load(&own, ret_detail));
	s->ssl = SSL_new(own.loaded);
	if (t->loaded == NULL)
		stream_tls_unload(&own);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	if (s->ssl == NULL || s->in == NULL || s->out == NULL)
		abort();
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_connect_state(s->ssl);
	if (name_peer(s->ssl, t))
		return ERR_OK;
	*ret_detail = "the host name cannot be used with TLS";
	return ERR_CONFIG;
}

/* --- the end -------------------------------------------------------------------------------- */

static void destroy(struct stream *s)
{
	SSL_free(s->ssl);
	buf_clear(&s->pending);
	buf_clear(&s->flying);
	xfree_wipe(s, sizeof(*s));
}

static void on_closed(uv_handle_t *h)
{
	struct stream *s = h->data;
	if (--s->handles == 0)
		destroy(s);
}

void stream_close(struct stream *s)
{
	if (s == NULL || s->closing)
		return;
	s->closing = true;
	if (s->dial != NULL)
		dial_cancel(s->dial);
	s->dial = NULL;
	uv_close((uv_handle_t *)&s->pipe, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close((uv_handle_t *)&s->collect, on_closed);
}

static void fail(struct stream *s, enum err e, const char *detail)
{
	if (s->closing)
		return;
	stream_close(s);
	s->ops.down(s->arg, e, detail);
}

static void fail_system(struct stream *s, int status)
{
	bool gone = status == UV_EOF || status == UV_ECONNRESET || status == UV_EPIPE;
	if (s->ssl != NULL && !s->up)
		fail(s, ERR_TLS, "the peer closed the connection during the handshake");
	else
		fail(s, gone ? ERR_CLOSED : ERR_IO, uv_strerror(status));
}

/* The reason of OpenSSL; what it wants to tell the peer (an alert) is sent if the kernel takes it. */
static void fail_tls(struct stream *s)
{
	const char *detail = NULL;
	long verdict = SSL_get_verify_result(s->ssl);
	if (!s->up && verdict != X509_V_OK && SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE)
		detail = X509_verify_cert_error_string(verdict);
	else
		detail = ERR_reason_error_string(ERR_peek_last_error());
	int n = s->writing ? 0 : BIO_read(s->out, s->plain, PLAIN_MAX);
	if (n > 0) {
		uv_buf_t b = uv_buf_init((char *)s->plain, (unsigned)n);
		(void)uv_try_write((uv_stream_t *)&s->pipe, &b, 1);
	}
	ERR_clear_error();
	fail(s, ERR_TLS, detail != NULL ? detail : err_text(ERR_TLS));
}

/* --- writing -------------------------------------------------------------------------------- */

static void flush(struct stream *s);

static void recycle(struct buf *b)
{
	if (b->cap > KEEP_MAX)
		buf_clear(b);
	else
		buf_reset(b);
}

static void on_written(uv_write_t *w, int status)
{
	struct stream *s = w->data;
	s->writing = false;
	recycle(&s->flying);
	if (status < 0 && status != UV_ECANCELED)
		fail_system(s, status);
	else
		flush(s);
}

/* Moves what is pending to `flying`, through TLS if there is any. */
static bool prepare(struct stream *s)
{
	if (s->ssl == NULL) {
		struct buf t = s->flying;
		s->flying = s->pending;
		s->pending = t;
		return true;
	}
	if (s->up && s->pending.n > 0) {
		size_t n = 0;
		ERR_clear_error();
		/* A memory BIO takes everything: all or an error. */
		if (SSL_write_ex(s->ssl, s->pending.p, s->pending.n, &n) != 1 || n != s->pending.n) {
			fail_tls(s);
			return false;
		}
		recycle(&s->pending);
	}
	size_t n = BIO_ctrl_pending(s->out);
	if (n == 0)
		return true;
	uint8_t *room = buf_room(&s->flying, n);
	if (room == NULL) {
		fail(s, ERR_TLS, "the peer makes TLS produce more than it reads");
		return false;
	}
	if (BIO_read(s->out, room, (int)n) != (int)n)
		abort();
	buf_grew(&s->flying, n);
	return true;
}

static void flush(struct stream *s)
{
	if (s->closing || s->writing || (s->ssl == NULL && !s->up) || !prepare(s) || s->flying.n == 0)
		return;
	uv_buf_t b = uv_buf_init((char *)s->flying.p, (unsigned)s->flying.n);
	int n = uv_try_write((uv_stream_t *)&s->pipe, &b, 1);
	if (n < 0 && n != UV_EAGAIN) {
		fail_system(s, n);
		return;
	}
	size_t done = n > 0 ? (size_t)n : 0;
	if (done == s->flying.n) {
		recycle(&s->flying);
		return;
	}
	b = uv_buf_init((char *)s->flying.p + done, (unsigned)(s->flying.n - done));
	s->write.data = s;
	s->writing = true;
	n = uv_write(&s->write, (uv_stream_t *)&s->pipe, &b, 1, on_written);
	if (n < 0)
		fail_system(s, n);
}

static void on_collect(uv_prepare_t *h)
{
	uv_prepare_stop(h);
	flush(h->data);
}

enum err stream_write(struct stream *s, struct span bytes)
{
	size_t queued = s->pending.n + s->flying.n;
	if (queued > s->write_max || bytes.n > s->write_max - queued)
		return ERR_LIMIT;
	if (s->closing)
		return ERR_OK; /* as if it had been lost on the way */
	buf_add_span(&s->pending, bytes);
	uv_prepare_start(&s->collect, on_collect);
	return ERR_OK;
}

/* --- reading -------------------------------------------------------------------------------- */

static void go_up(struct stream *s)
{
	s->up = true;
	uv_timer_stop(&s->timer);
	s->ops.up(s->arg);
}

static void shake_hands(struct stream *s)
{
	ERR_clear_error();
	int rc = SSL_do_handshake(s->ssl);
	if (rc == 1)
		go_up(s);
	else if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
		fail_tls(s);
}

/* All that the input holds, so that the memory BIO never keeps more than a part of a record. */
static void decrypt(struct stream *s)
{
	while (!s->closing) {
		size_t n = 0;
		ERR_clear_error();
		if (SSL_read_ex(s->ssl, s->plain, PLAIN_MAX, &n) == 1) {
			s->ops.data(s->arg, span_of(s->plain, n));
			sodium_memzero(s->plain, n);
			continue;
		}
		int why = SSL_get_error(s->ssl, 0);
		if (why == SSL_ERROR_ZERO_RETURN)
			fail_system(s, UV_EOF);
		else if (why != SSL_ERROR_WANT_READ)
			fail_tls(s);
		return;
	}
}

static void take_tls(struct stream *s, size_t n)
{
	if (BIO_write(s->in, s->input, (int)n) != (int)n)
		abort();
	if (!s->up)
		shake_hands(s);
	if (s->up)
		decrypt(s);
	flush(s);
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *ret_buf)
{
	(void)wanted;
	struct stream *s = h->data;
	*ret_buf = uv_buf_init((char *)s->input, READ_MAX);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	(void)b;
	struct stream *s = h->data;
	if (s->closing || n == 0)
		return;
	if (n < 0) {
		fail_system(s, (int)n);
		return;
	}
	if (s->ssl != NULL)
		take_tls(s, (size_t)n);
	else
		s->ops.data(s->arg, span_of(s->input, (size_t)n));
	sodium_memzero(s->input, (size_t)n);
}

/* --- connecting ----------------------------------------------------------------------------- */

static void on_dialled(void *arg, enum err e, int sys_errno, int fd)
{
	struct stream *s = arg;
	s->dial = NULL;
	if (e != ERR_OK) {
		fail(s, e, sys_errno > 0 ? uv_strerror(uv_translate_sys_error(sys_errno)) : err_text(e));
		return;
	}
	int rc = uv_pipe_open(&s->pipe, fd);
	if (rc != 0)
		close(fd);
	else
		rc = uv_read_start((uv_stream_t *)&s->pipe, on_room, on_read);
	if (rc != 0) {
		fail(s, ERR_IO, uv_strerror(rc));
		return;
	}
	if (s->ssl == NULL)
		go_up(s);
	else
		shake_hands(s);
	flush(s);
}

static void on_timeout(uv_timer_t *h)
{
	struct stream *s = h->data;
	fail(s, ERR_TIMEOUT, s->dial != NULL ? "connecting took too long" : "the TLS handshake took too long");
}

static void init_handles(struct stream *s, uv_loop_t *loop)
{
	uv_pipe_init(loop, &s->pipe, 0);
	uv_timer_init(loop, &s->timer);
	uv_prepare_init(loop, &s->collect);
	s->pipe.data = s;
	s->timer.data = s;
	s->collect.data = s;
	s->handles = 3;
}

enum err stream_open(uv_loop_t *loop, const struct addr *a, const struct stream_tls *tls, unsigned timeout_ms,
		     size_t write_max, const struct stream_ops *ops, void *arg, struct stream **ret_stream,
		     const char **ret_detail)
{
	BUG_ON(write_max > INT_MAX / 2); /* lengths of libuv and OpenSSL are int */
	struct stream *s = xcalloc(1, sizeof(*s));
	s->ops = *ops;
	s->arg = arg;
	s->write_max = write_max;
	buf_init(&s->pending, write_max);
	buf_init(&s->flying, tls == NULL ? write_max : write_max + write_max / 16 + TLS_EXTRA);
	enum err e = tls == NULL ? ERR_OK : tls_start(s, tls, ret_detail);
	if (e != ERR_OK) {
		destroy(s);
		return e;
	}
	init_handles(s, loop);
	uv_update_time(loop);
	uv_timer_start(&s->timer, on_timeout, timeout_ms, 0);
	s->dial = dial_start(loop, a, timeout_ms, on_dialled, s);
	*ret_stream = s;
	return ERR_OK;
}
