/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Prometheus endpoint on the host: what DEPTH says, without any enclave.
 *
 * The queue is read when somebody asks, at most once a second. There is one thread, which waits for Redis at most for
 * --timeout; who asks meanwhile waits too. While Redis is away the answer is cwcq_up 0 and nothing else: a series that
 * goes on with zeros would look like an empty queue.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/scale_state.h"
#include "ops/cwcctl/session.h"
#include "worker/base/addr.h"
#include "worker/base/clock.h"

#define LISTEN_DEFAULT  "tcp:127.0.0.1:9465"
#define TEXT_MAX        65536
#define FRESH_US        1000000 /* a reading of the last second is the answer to whoever asks again */
#define UP_MS           250     /* how long a request waits for a connection that is on its way */
#define TURN_MS         200
#define CONNECTIONS_MAX 32
#define TIMEOUT_S       5
#define MEMORY_MAX      8192
#define BACKLOG         16

struct exporter {
	struct ctl *c;
	struct MHD_Daemon *daemon;
	struct buf text; /* the last answer */
	int64_t read_us; /* when it was made, by the clock that no step moves */
};

/* --- the queue -------------------------------------------------------------------------------- */

static json_t *read_queue(struct ctl *c, struct scale_published *p)
{
	json_t *o;
	if (!queue_is_up(c->session->queue) && !session_up_again(c, UP_MS))
		return NULL;
	o = depth_read(c, DEPTH_HORIZON_US);
	if (o != NULL && scale_state_read(c, p) != 0)
		*p = (struct scale_published){ .scale.known = false };
	return o;
}

static void refresh(struct exporter *x)
{
	struct scale_published p = { .scale.known = false };
	json_t *o;
	if (x->read_us != 0 && clock_boot_us() - x->read_us < FRESH_US)
		return;
	o = read_queue(x->c, &p);
	buf_reset(&x->text);
	depth_prometheus(o, &p.scale, &x->text);
	json_decref(o);
	x->read_us = clock_boot_us();
}

/* --- HTTP ------------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type, struct span body)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;
	if (r == NULL)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, code, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *upload, size_t *upload_size, void **request)
{
	static const char plain[] = "text/plain; charset=utf-8";
	static int seen;
	struct exporter *x = arg;
	(void)version;
	(void)upload;
	if (*request == NULL) { /* the head is here; the body, if any, comes with the next call */
		*request = &seen;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, span_lit("GET or HEAD\n"));
	if (strcmp(url, "/metrics") != 0)
		return answer(connection, MHD_HTTP_NOT_FOUND, plain, span_lit("see /metrics\n"));
	refresh(x);
	if (buf_ok(&x->text) != ERR_OK)
		return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, plain, span_lit("too long\n"));
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", span_buf(&x->text));
}

/* --- listening -------------------------------------------------------------------------------- */

/* The port that the kernel chose, for who asked for port 0. */
static void say_address(const struct addr *a, int fd)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof(sa);
	unsigned port = a->port;
	if (getsockname(fd, (struct sockaddr *)&sa, &n) == 0 && sa.ss_family == AF_INET)
		port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	else if (sa.ss_family == AF_INET6)
		port = ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
	if (a->kind == ADDR_TCP)
		printf("listening on port %u\n", port);
	else
		printf("listening on %s\n", a->text);
	fflush(stdout);
}

static int open_listener(const struct ctl *c, int *ret_fd)
{
	static struct addr a;
	const char *rule = "cannot be listened on";
	enum err e = addr_parse(span_str(ctl_value(c, OPT_LISTEN, LISTEN_DEFAULT)), &a, &rule);
	if (e != ERR_OK || a.kind == ADDR_VSOCK)
		return ctl_fail(CTL_USAGE, "--listen: %s", e != ERR_OK ? rule : "a tcp: or unix: address");
	e = addr_listen(&a, BACKLOG, ret_fd);
	if (e != ERR_OK)
		return ctl_fail(CTL_UNAVAILABLE, "--listen: %s %s", a.text,
				e == ERR_EXISTS    ? "is in use"
				: e == ERR_RESOLVE ? "needs an IP address"
						   : "cannot be listened on");
	say_address(&a, *ret_fd);
	return 0;
}

static int serve(struct exporter *x, int fd)
{
	struct session *s = x->c->session;
	x->daemon =
		MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, x, MHD_OPTION_LISTEN_SOCKET, fd,
				 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				 (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
				 MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (x->daemon == NULL)
		return ctl_fail(CTL_INTERNAL, "the HTTP server does not start");
	while (!s->interrupted) {
		MHD_run_wait(x->daemon, TURN_MS);
		/* The connection to Redis comes and goes meanwhile; signals, too. */
		uv_run(&s->loop, UV_RUN_NOWAIT);
	}
	MHD_stop_daemon(x->daemon);
	return CTL_OK;
}

int cmd_exporter(struct ctl *c)
{
	struct exporter x = { .c = c };
	int fd = -1, code = session_begin(c);
	if (code != 0)
		return code;
	c->session->quiet = true;
	session_watch(c);
	code = open_listener(c, &fd);
	if (code != 0)
		return code;
	buf_init(&x.text, TEXT_MAX);
	code = serve(&x, fd);
	buf_clear(&x.text);
	return code;
}
