/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's multi interface on a libuv loop: one poll handle for each socket, one timer for all. */
#include <stdlib.h>

#include "worker/http_internal.h"

struct socket {
	struct http *http;
	uv_poll_t poll;
	curl_socket_t fd;
	int events;
};

static void collect(struct http *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct http_request *r = NULL;
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		http_request_note_socket(r);
		curl_multi_remove_handle(h->multi, r->easy);
		http_request_over(r, code);
	}
}

static void act(struct http *h, curl_socket_t fd, int flags)
{
	int running;

	curl_multi_socket_action(h->multi, fd, flags, &running);
	collect(h);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct socket *s = poll->data;
	int flags = 0;

	if (status < 0) {
		/* libuv stops watching a socket with a pending error. libcurl must read first: the answer may lie
		 * before the reset, and CURL_CSELECT_ERR would make it give up without a look. */
		uv_poll_start(poll, s->events, on_socket);
		flags = CURL_CSELECT_IN;
	}
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	act(s->http, s->fd, flags);
}

static void on_socket_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void unwatch(struct http *h, struct socket *s)
{
	curl_multi_assign(h->multi, s->fd, NULL);
	/* libcurl closes the fd as soon as this returns; a stopped handle does not touch it any more. */
	uv_poll_stop(&s->poll);
	uv_close((uv_handle_t *)&s->poll, on_socket_closed);
}

static struct socket *socket_new(struct http *h, curl_socket_t fd)
{
	struct socket *s = xcalloc(1, sizeof(*s));

	s->http = h;
	s->fd = fd;
	if (uv_poll_init_socket(h->loop, &s->poll, fd) != 0) {
		free(s);
		return NULL;
	}
	s->poll.data = s;
	curl_multi_assign(h->multi, fd, s);
	return s;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http *h = arg;
	struct socket *s = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s != NULL)
			unwatch(h, s);
		return 0;
	}
	if (s == NULL)
		s = socket_new(h, fd);
	if (s == NULL)
		return -1;
	s->events = ((what & CURL_POLL_IN) ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0);
	uv_poll_start(&s->poll, s->events, on_socket);
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&h->timer);
	else
		uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static bool set_up(struct http *h)
{
	CURLM *m = h->multi;

	return curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, want_socket) == CURLM_OK &&
	       curl_multi_setopt(m, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
	       curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, want_timer) == CURLM_OK &&
	       curl_multi_setopt(m, CURLMOPT_TIMERDATA, h) == CURLM_OK &&
	       curl_multi_setopt(m, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
	       curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)h->max_in_flight) == CURLM_OK;
}

enum err http_multi_init(struct http *h)
{
	h->multi = curl_multi_init();
	if (h->multi == NULL)
		return ERR_BUG;
	if (!set_up(h)) {
		curl_multi_cleanup(h->multi);
		return ERR_BUG;
	}
	BUG_ON(uv_timer_init(h->loop, &h->timer) != 0);
	h->timer.data = h;
	return ERR_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void http_multi_free(struct http *h)
{
	curl_multi_cleanup(h->multi);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
