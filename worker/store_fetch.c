/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "worker/base/dial.h"
#include "worker/store.h"

#define READ_SIZE 16384

/* Freed when the last libuv handle is closed. What is read is sealed or signed: it is not wiped. */
struct store_fetch {
	struct dial *dial;
	uv_pipe_t pipe; /* libuv's stream for any connected socket */
	uv_timer_t timer;
	unsigned handles;
	store_cb cb;
	void *arg;
	struct buf bytes;
	uint8_t input[READ_SIZE];
};

static void on_closed(uv_handle_t *h)
{
	struct store_fetch *f = h->data;
	if (--f->handles > 0)
		return;
	buf_clear(&f->bytes);
	free(f);
}

void store_cancel(struct store_fetch *f)
{
	BUG_ON(uv_is_closing((uv_handle_t *)&f->timer));
	if (f->dial != NULL)
		dial_cancel(f->dial);
	f->dial = NULL;
	uv_close((uv_handle_t *)&f->pipe, on_closed);
	uv_close((uv_handle_t *)&f->timer, on_closed);
}

static void end(struct store_fetch *f, enum err e)
{
	store_cancel(f);
	f->cb(f->arg, e, e == ERR_OK ? span_buf(&f->bytes) : (struct span){ 0 });
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *ret_buf)
{
	(void)wanted;
	struct store_fetch *f = h->data;
	*ret_buf = uv_buf_init((char *)f->input, READ_SIZE);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	(void)b;
	struct store_fetch *f = h->data;
	if (n == 0 || uv_is_closing((uv_handle_t *)&f->timer))
		return;
	if (n < 0) {
		end(f, n == UV_EOF ? ERR_OK : ERR_IO);
		return;
	}
	buf_add(&f->bytes, f->input, (size_t)n);
	if (f->bytes.overflow)
		end(f, ERR_LIMIT);
}

static void on_dialled(void *arg, enum err e, int sys_errno, int fd)
{
	struct store_fetch *f = arg;
	(void)sys_errno;
	f->dial = NULL;
	if (e != ERR_OK) {
		end(f, e);
		return;
	}
	int rc = uv_pipe_open(&f->pipe, fd);
	if (rc != 0)
		close(fd);
	else
		rc = uv_read_start((uv_stream_t *)&f->pipe, on_room, on_read);
	if (rc != 0)
		end(f, ERR_IO);
}

static void on_timeout(uv_timer_t *t)
{
	end(t->data, ERR_TIMEOUT);
}

struct store_fetch *store_fetch(uv_loop_t *loop, const struct addr *a, store_cb cb, void *arg)
{
	struct store_fetch *f = xcalloc(1, sizeof *f);
	f->cb = cb;
	f->arg = arg;
	f->handles = 2;
	buf_init(&f->bytes, STORE_MAX);
	BUG_ON(uv_pipe_init(loop, &f->pipe, 0) != 0);
	BUG_ON(uv_timer_init(loop, &f->timer) != 0);
	f->pipe.data = f->timer.data = f;
	/* The loop's time is that of its last turn: a long turn must not count. */
	uv_update_time(loop);
	uv_timer_start(&f->timer, on_timeout, STORE_TIMEOUT_MS, 0);
	f->dial = dial_start(loop, a, STORE_TIMEOUT_MS, on_dialled, f);
	return f;
}
