/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/http.h"

#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/http_global.h"
#include "worker/http_internal.h"

enum err http_new(uv_loop_t *loop, const struct http_options *o, struct http **ret_http)
{
	struct http *h;
	enum err e;

	TRY(http_global_init());
	h = xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->max_in_flight = o->max_in_flight;
	e = http_multi_init(h);
	if (e != ERR_OK) {
		free(h);
		http_global_free();
		return e;
	}
	h->bridge_dir = o->bridge_dir != NULL ? xstrdup(o->bridge_dir) : NULL;
	/* "Expect:" without a value: never wait for 100 Continue, never be told to send again by 417. */
	h->post_headers = curl_slist_append(NULL, "Content-Type: application/xml");
	h->post_headers = curl_slist_append(h->post_headers, "Expect:");
	BUG_ON(h->post_headers == NULL || h->post_headers->next == NULL);
	*ret_http = h;
	return ERR_OK;
}

/* --- a request's life ------------------------------------------------------------------------ */

static CURL *handle_take(void)
{
	CURL *e = curl_easy_init();

	BUG_ON(e == NULL);
	return e;
}

static struct http_request *request_new(struct http_target *t, bool post, http_cb cb, void *arg)
{
	struct http *h = t->http;
	struct http_request *r = xcalloc(1, sizeof(*r));

	BUG_ON(uv_timer_init(h->loop, &r->timer) != 0);
	r->timer.data = r;
	r->http = h;
	r->target = t;
	r->cb = cb;
	r->arg = arg;
	r->post = post;
	r->begun_us = clock_boot_us();
	r->retry_after_s = -1;
	buf_init(&r->body_in, t->answer_max);
	r->next = h->active;
	if (r->next != NULL)
		r->next->prev = r;
	h->active = r;
	return r;
}

static void unlink_request(struct http_request *r)
{
	struct http *h = r->http;

	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		h->active = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	r->prev = r->next = NULL;
	if (r->easy != NULL)
		h->in_flight--;
}

static void on_request_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The handle is out of the multi handle already. */
static void request_free(struct http_request *r)
{
	if (r->easy != NULL)
		curl_easy_cleanup(r->easy);
	buf_clear(&r->body_in);
	uv_close((uv_handle_t *)&r->timer, on_request_closed);
}

static void finish(struct http_request *r, CURLcode code, const char *why)
{
	struct http_answer a;

	unlink_request(r);
	http_request_answer(r, code, why, &a);
	r->cb(r->arg, &a);
	request_free(r);
}

void http_request_over(struct http_request *r, CURLcode code)
{
	if (http_request_may_restart(r, code)) {
		http_request_prepare_again(r);
		if (curl_multi_add_handle(r->http->multi, r->easy) == CURLM_OK)
			return;
	}
	finish(r, code, NULL);
}

void http_request_first_byte_late(struct http_request *r)
{
	r->first_byte_late = true;
	curl_multi_remove_handle(r->http->multi, r->easy);
	finish(r, CURLE_OPERATION_TIMEDOUT, NULL);
}

static void on_refused(uv_timer_t *timer)
{
	finish(timer->data, CURLE_OK, "refused");
}

/* Ends in the next turn of the loop, because no callback may come from within http_post(). */
static void refuse(struct http_request *r)
{
	uv_timer_start(&r->timer, on_refused, 0, 0);
}

static void begin(struct http_request *r, const char *url)
{
	struct http *h = r->http;

	if (h->in_flight >= h->max_in_flight) {
		refuse(r);
		return;
	}
	r->easy = handle_take();
	h->in_flight++;
	http_request_prepare(r, url);
	if (curl_multi_add_handle(h->multi, r->easy) != CURLM_OK)
		err_bug(__FILE__, __LINE__, "a request cannot begin");
}

void http_post(struct http_target *t, struct span body, int64_t deadline_boot_us, http_cb cb, void *arg)
{
	struct http_request *r = request_new(t, true, cb, arg);

	r->body = body;
	r->deadline_us = deadline_boot_us;
	if (body.n == 0 || body.n > HTTP_BODY_MAX)
		refuse(r);
	else
		begin(r, t->url);
}

void http_get(struct http_target *t, const char *url, http_cb cb, void *arg)
{
	struct http_request *r = request_new(t, false, cb, arg);
	struct buf whole;

	buf_init(&whole, HTTP_URL_MAX);
	if (http_target_get_url(t, url, &whole) == ERR_OK)
		begin(r, buf_cstr(&whole));
	else
		refuse(r);
	buf_clear(&whole);
}

/* --- the end --------------------------------------------------------------------------------- */

static struct http_request *first_cancelled(const struct http *h)
{
	struct http_request *r = h->active;

	while (r != NULL && !r->cancelled)
		r = r->next;
	return r;
}

/* Callbacks may begin requests, which go on, and may end others: so the list is not walked across them. */
void http_cancel_all(struct http *h)
{
	for (struct http_request *r = h->active; r != NULL; r = r->next)
		r->cancelled = true;
	for (struct http_request *r = first_cancelled(h); r != NULL; r = first_cancelled(h)) {
		if (r->easy != NULL)
			curl_multi_remove_handle(h->multi, r->easy);
		finish(r, CURLE_ABORTED_BY_CALLBACK, "cancelled");
	}
}

void http_drop(struct http *h, const struct http_target *t)
{
	struct http_request *next;

	for (struct http_request *r = h->active; r != NULL; r = next) {
		next = r->next;
		if (r->target != t)
			continue;
		if (r->easy != NULL)
			curl_multi_remove_handle(h->multi, r->easy);
		unlink_request(r);
		request_free(r);
	}
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	while (h->targets != NULL)
		http_target_free(h->targets);
	free(h->bridge_dir);
	curl_slist_free_all(h->post_headers);
	http_multi_free(h);
	http_global_free();
}
