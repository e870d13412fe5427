/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server with answers that a test can tell: status_driver ADDRESS [none|small|large]
 *
 *	none    no documents (the default)
 *	small   /attestation says the nonce in hex and whether JSON is asked for; /keys says a fixed text
 *	large   as small, but the documents do not fit an answer
 *
 * Prints "listening" when it does, and "bad: RULE" and status 1 when it cannot. Ends when its standard input does.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "worker/base/text.h"
#include "worker/status.h"

#define LARGE (2U << 20)

static bool large;

static void fill(struct status_answer *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_add_byte(&a->body, 'x');
}

static void health(void *arg, struct status_answer *a)
{
	(void)arg;
	buf_add_str(&a->body, "{\"healthy\":true}");
}

static void ready(void *arg, struct status_answer *a)
{
	(void)arg;
	a->code = 503;
	buf_add_str(&a->body, "{\"ready\":false,\"reason\":\"test\"}");
}

/* As much as fits. */
static void metrics(void *arg, struct status_answer *a)
{
	(void)arg;
	a->type = "text/plain";
	fill(a, a->body.max);
}

static void attestation(void *arg, struct span nonce, bool json, struct status_answer *a)
{
	char hex[2 * STATUS_NONCE_MAX + 1];
	(void)arg;
	BUG_ON(nonce.n > STATUS_NONCE_MAX);
	text_hex(nonce, hex);
	a->type = json ? "application/json" : "application/cbor";
	buf_add_str(&a->body, hex);
	if (large)
		fill(a, LARGE);
}

static void keys(void *arg, struct status_answer *a)
{
	(void)arg;
	buf_add_str(&a->body, "{\"keys\":[]}");
}

static void on_input(uv_stream_t *in, ssize_t n, const uv_buf_t *b)
{
	(void)b;
	if (n < 0)
		uv_stop(in->loop);
}

static void give_buffer(uv_handle_t *h, size_t wanted, uv_buf_t *b)
{
	static char bytes[64];
	(void)h;
	(void)wanted;
	*b = uv_buf_init(bytes, sizeof bytes);
}

static int complain(const char *rule)
{
	printf("bad: %s\n", rule);
	return 1;
}

static int serve(const struct addr *a, const struct status_source *source)
{
	const char *rule;
	struct status *s;
	uv_loop_t loop;
	uv_pipe_t in;
	uv_loop_init(&loop);
	if (status_new(&loop, a, source, &s, &rule) != ERR_OK) {
		uv_run(&loop, UV_RUN_DEFAULT);
		uv_loop_close(&loop);
		return complain(rule);
	}
	uv_pipe_init(&loop, &in, 0);
	uv_pipe_open(&in, 0);
	uv_read_start((uv_stream_t *)&in, give_buffer, on_input);
	puts("listening");
	uv_run(&loop, UV_RUN_DEFAULT);
	status_free(s);
	uv_close((uv_handle_t *)&in, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop) == 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
	struct status_source source = { .health = health, .ready = ready, .metrics = metrics };
	const char *what = argc > 2 ? argv[2] : "none", *rule;
	struct addr a;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || addr_parse(span_str(argv[1]), &a, &rule) != ERR_OK)
		return complain("address");
	large = strcmp(what, "large") == 0;
	if (strcmp(what, "none") != 0) {
		source.attestation = attestation;
		source.keys = keys;
	}
	return serve(&a, &source);
}
