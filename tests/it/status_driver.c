/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status server with answers that a test can tell: status_driver ADDRESS [none|small|large|later [WAIT_MS AGE_MS]]
 *
 *	none    no documents, no acts (the default)
 *	small   /attestation says the nonce in hex and whether JSON is asked for; /keys says a fixed text; an act says
 *	        its number and the body
 *	large   as small, but the documents do not fit an answer
 *	later   as small, but /attestation with a nonce and acts say "ticket N" on standard output, and are answered
 *	        when a line of standard input has the number
 *
 * WAIT_MS: how long a ticket may stay without an answer; AGE_MS: how long a connection lives. Both are the server's own
 * without these arguments.
 *
 * Prints "listening" when it does, and "bad: RULE" and status 1 when it cannot. Ends when its standard input does; the
 * tickets that are open then are answered after the server is gone.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "worker/base/text.h"
#include "worker/status_internal.h"

#define LARGE       (2U << 20)
#define TICKETS_MAX 256

static bool large, later;
static uint64_t wait_ms, age_ms; /* 0: the server's own */
/* Those that wait, with their answers. */
static struct {
	struct status_ticket *ticket;
	struct status_answer answer;
} tickets[TICKETS_MAX];
static size_t n_tickets;

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

static void give(size_t i)
{
	BUG_ON(i >= n_tickets || tickets[i].ticket == NULL);
	status_reply(tickets[i].ticket, &tickets[i].answer);
	buf_clear(&tickets[i].answer.body);
	tickets[i].ticket = NULL;
}

static struct status_answer *keep(struct status_ticket *t, const char *type)
{
	BUG_ON(n_tickets == TICKETS_MAX);
	tickets[n_tickets].ticket = t;
	tickets[n_tickets].answer = (struct status_answer){ .code = 200, .type = type };
	buf_init(&tickets[n_tickets].answer.body, 1U << 20);
	return &tickets[n_tickets++].answer;
}

static void kept(bool at_once)
{
	if (at_once)
		give(n_tickets - 1);
	else
		printf("ticket %zu\n", n_tickets - 1);
}

static void attestation(void *arg, struct span nonce, bool json, struct status_ticket *t)
{
	char hex[2 * STATUS_NONCE_MAX + 1];
	struct status_answer *a = keep(t, json ? "application/json" : "application/cbor");
	(void)arg;
	BUG_ON(nonce.n > STATUS_NONCE_MAX);
	text_hex(nonce, hex);
	buf_add_str(&a->body, hex);
	if (large)
		fill(a, LARGE);
	kept(!later || nonce.n == 0);
}

static void act(void *arg, enum status_act what, struct span body, struct status_ticket *t)
{
	struct status_answer *a = keep(t, "application/cbor");
	(void)arg;
	buf_add_uint(&a->body, (unsigned)what);
	buf_add_byte(&a->body, ' ');
	buf_add_span(&a->body, body);
	kept(!later);
}

static void keys(void *arg, struct status_answer *a)
{
	(void)arg;
	buf_add_str(&a->body, "{\"keys\":[]}");
}

/* Lines, each the number of a ticket. */
static void on_input(uv_stream_t *in, ssize_t n, const uv_buf_t *b)
{
	static size_t number;
	if (n < 0)
		uv_stop(in->loop);
	for (ssize_t i = 0; i < n; i++) {
		if (b->base[i] == '\n') {
			give(number);
			number = 0;
		} else {
			number = number * 10 + (size_t)(b->base[i] - '0');
		}
	}
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
	if (wait_ms > 0)
		status_set_times(s, (int64_t)wait_ms * 1000, (int64_t)age_ms * 1000);
	uv_pipe_init(&loop, &in, 0);
	uv_pipe_open(&in, 0);
	uv_read_start((uv_stream_t *)&in, give_buffer, on_input);
	puts("listening");
	uv_run(&loop, UV_RUN_DEFAULT);
	status_free(s);
	for (size_t i = 0; i < n_tickets; i++) {
		if (tickets[i].ticket != NULL)
			give(i);
	}
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
	if (argc == 5 && (text_uint(span_str(argv[3]), 3600000, &wait_ms) != ERR_OK ||
			  text_uint(span_str(argv[4]), 3600000, &age_ms) != ERR_OK))
		return complain("times");
	large = strcmp(what, "large") == 0;
	later = strcmp(what, "later") == 0;
	if (strcmp(what, "none") != 0) {
		source.attestation = attestation;
		source.keys = keys;
		source.act = act;
	}
	return serve(&a, &source);
}
