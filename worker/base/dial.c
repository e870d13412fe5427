/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More addresses than this behind one name are not tried. */
#define ADDRESSES_MAX 8

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/*
 * Freed when the last libuv handle is closed and the last request has returned (`refs`). The result
 * is handed over from the loop only: from the timer, or from the close callback of the poll handle,
 * because the caller will open the same fd with a handle of its own and libuv allows one per fd.
 */
struct dial {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_poll_t poll;
	uv_getaddrinfo_t lookup;
	unsigned refs;
	bool resolving, polling, done;
	bool tcp;
	uint64_t deadline_ms;
	struct address address[ADDRESSES_MAX];
	size_t n, at;
	int fd;
	enum err e;
	int sys_errno;
	dial_cb cb;
	void *arg;
};

static void try_next(struct dial *d);

static void unref(struct dial *d)
{
	if (--d->refs == 0)
		free(d);
}

static void on_timer_closed(uv_handle_t *handle)
{
	unref(handle->data);
}

static void close_fd(struct dial *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* Nothing more will happen but closing. */
static void end(struct dial *d)
{
	d->done = true;
	uv_close((uv_handle_t *)&d->timer, on_timer_closed);
	if (d->resolving)
		uv_cancel((uv_req_t *)&d->lookup);
}

static void report(struct dial *d)
{
	int fd = d->e == ERR_OK ? d->fd : -1;

	if (d->e != ERR_OK)
		close_fd(d);
	end(d);
	d->cb(d->arg, d->e, d->sys_errno, fd);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct dial *d = handle->data;

	d->polling = false;
	if (d->done) {
		close_fd(d);
	} else if (d->e == ERR_OK) {
		report(d);
	} else {
		close_fd(d);
		try_next(d);
	}
	unref(d);
}

/* The attempt under way came to an end: e and sys_errno are its result. */
static void attempt_over(struct dial *d, enum err e, int sys_errno)
{
	d->e = e;
	d->sys_errno = sys_errno;
	uv_timer_stop(&d->timer);
	if (!uv_is_closing((uv_handle_t *)&d->poll))
		uv_close((uv_handle_t *)&d->poll, on_poll_closed);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
	struct dial *d = poll->data;
	int reason = 0;
	socklen_t len = sizeof(reason);

	(void)status; /* an error of the socket is what SO_ERROR says */
	(void)events;
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &reason, &len) != 0)
		reason = errno;
	attempt_over(d, reason == 0 ? ERR_OK : ERR_CONNECT, reason);
}

/* An end of the time of one attempt, or of the lookup; or a result that dial_start() had at once. */
static void on_timer(uv_timer_t *timer)
{
	struct dial *d = timer->data;

	if (d->polling) {
		attempt_over(d, ERR_TIMEOUT, ETIMEDOUT);
	} else if (d->resolving) {
		d->e = ERR_TIMEOUT;
		d->sys_errno = ETIMEDOUT;
		report(d);
	} else {
		try_next(d);
	}
}

static int open_socket(const struct dial *d, const struct address *a, int *ret_errno)
{
	int one = 1;
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		*ret_errno = errno;
		return -1;
	}
	if (d->tcp) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	*ret_errno = connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0 ? 0 : errno;
	if (*ret_errno == 0 || *ret_errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

static bool watch(struct dial *d)
{
	if (uv_poll_init_socket(d->loop, &d->poll, d->fd) != 0)
		return false;
	d->poll.data = d;
	d->polling = true;
	d->refs++;
	BUG_ON(uv_poll_start(&d->poll, UV_WRITABLE, on_writable) != 0);
	return true;
}

/* Every address gets an equal part of the time that is left, so that one that swallows packets does
 * not take it all. */
static void try_next(struct dial *d)
{
	uint64_t now = uv_now(d->loop);

	while (d->at < d->n && now < d->deadline_ms) {
		size_t left = d->n - d->at;

		d->fd = open_socket(d, &d->address[d->at++], &d->sys_errno);
		if (d->fd >= 0) {
			uint64_t slice_ms = (d->deadline_ms - now) / left;

			if (watch(d)) {
				uv_timer_start(&d->timer, on_timer, slice_ms > 0 ? slice_ms : 1, 0);
				return;
			}
			close_fd(d);
		}
		d->e = ERR_CONNECT;
	}
	report(d);
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
	struct dial *d = lookup->data;

	d->resolving = false;
	if (!d->done) {
		for (const struct addrinfo *ai = list; status == 0 && ai != NULL && d->n < ADDRESSES_MAX;
		     ai = ai->ai_next) {
			struct address *a = &d->address[d->n++];

			memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
			a->len = ai->ai_addrlen;
		}
		if (d->n > 0) {
			try_next(d);
		} else {
			d->e = ERR_RESOLVE;
			d->sys_errno = 0;
			report(d);
		}
	}
	uv_freeaddrinfo(list);
	unref(d);
}

static bool look_up(struct dial *d, const struct addr *a)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	char service[12];

	snprintf(service, sizeof(service), "%u", (unsigned)a->port);
	d->lookup.data = d;
	if (uv_getaddrinfo(d->loop, &d->lookup, on_lookup, a->host, service, &hints) != 0)
		return false;
	d->resolving = true;
	d->refs++;
	return true;
}

struct dial *dial_start(uv_loop_t *loop, const struct addr *a, unsigned timeout_ms, dial_cb cb, void *arg)
{
	struct dial *d = xcalloc(1, sizeof(*d));
	uint64_t first_ms = 0;
	enum err e;

	d->loop = loop;
	d->cb = cb;
	d->arg = arg;
	d->fd = -1;
	d->e = ERR_TIMEOUT; /* unless an attempt says otherwise */
	d->sys_errno = ETIMEDOUT;
	d->tcp = a->kind == ADDR_TCP;
	d->refs = 1;
	BUG_ON(uv_timer_init(loop, &d->timer) != 0);
	d->timer.data = d;
	/* The loop's time is that of its last turn: a long turn must not count against the dial. */
	uv_update_time(loop);
	d->deadline_ms = uv_now(loop) + (timeout_ms > 0 ? timeout_ms : 1);
	e = addr_sockaddr(a, &d->address[0].sa, &d->address[0].len);
	if (e == ERR_OK) {
		d->n = 1;
	} else if (e == ERR_RESOLVE && look_up(d, a)) {
		first_ms = timeout_ms;
	} else {
		d->e = ERR_RESOLVE;
		d->sys_errno = 0;
	}
	/* With an address at hand, the first attempt begins in the loop too: it may end at once. */
	uv_timer_start(&d->timer, on_timer, first_ms, 0);
	return d;
}

void dial_cancel(struct dial *d)
{
	BUG_ON(d->done);
	if (d->polling && !uv_is_closing((uv_handle_t *)&d->poll))
		uv_close((uv_handle_t *)&d->poll, on_poll_closed);
	end(d);
}
