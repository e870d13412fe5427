/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/base/dial.h"
#include "worker/base/log.h"

/* How often pairs with waiting bytes are looked at, see on_tick(). No turn of the loop waits longer. */
#define TICK_MS 200
/* A turn that takes longer: the process stood still, see on_turn(). */
#define STALL_US 2000000

struct pair;

/* One side of a pair, with the buffer for what was read from it. */
struct leg {
	struct pair *pair;
	struct leg *other;
	uv_pipe_t pipe;
	bool open;    /* the pipe is initialised and not closing */
	bool writing; /* the buffer waits to be written to the other side */
	uv_write_t write;
	char buffer[BRIDGE_BUFFER];
};

/* Freed when the last of its handles is closed. */
struct pair {
	struct bridge *bridge;
	struct pair *prev, *next;
	struct dial *dial; /* while it is under way */
	bool ended, far_ended;
	unsigned handles;
	struct leg near, far;
};

struct bridge {
	uv_loop_t *loop;
	uv_pipe_t listener;
	uv_timer_t tick;
	uv_prepare_t turn;
	int64_t turn_us; /* when this turn of the loop began to wait, clock_boot_us() */
	unsigned handles;
	struct addr address;
	struct addr path;
	unsigned pairs_max, n_pairs, dial_timeout_ms;
	struct pair *pairs;
	enum err dial_error;
	int dial_errno;
};

static void pump(struct leg *from);

static void on_leg_closed(uv_handle_t *handle)
{
	struct leg *leg = handle->data;

	/* The metadata service speaks in the clear: its answers, with credentials, come through here. */
	if (--leg->pair->handles == 0)
		xfree_wipe(leg->pair, sizeof(*leg->pair));
}

static void close_leg(struct leg *leg)
{
	if (leg->open)
		uv_close((uv_handle_t *)&leg->pipe, on_leg_closed);
	leg->open = false;
}

/* Bytes that libcurl gave up must not reach the far side any more, not even out of the kernel's buffer. */
static void reset_far(struct pair *p)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	uv_os_fd_t fd;

	if (p->far.open && uv_fileno((uv_handle_t *)&p->far.pipe, &fd) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void pair_end(struct pair *p)
{
	struct bridge *b = p->bridge;

	if (p->ended)
		return;
	p->ended = true;
	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		b->pairs = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	b->n_pairs--;
	if (p->dial != NULL)
		dial_cancel(p->dial);
	p->dial = NULL;
	if (p->near.writing)
		reset_far(p);
	close_leg(&p->near);
	close_leg(&p->far);
}

/* The far side ended: what it sent before still goes to libcurl, then libcurl sees the end too. */
static void far_over(struct pair *p)
{
	p->far_ended = true;
	if (!p->far.writing)
		pair_end(p);
}

static void leg_over(struct leg *leg)
{
	if (leg == &leg->pair->far)
		far_over(leg->pair);
	else
		pair_end(leg->pair);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct leg *leg = handle->data;

	(void)suggested;
	*ret_buf = uv_buf_init(leg->buffer, sizeof(leg->buffer));
}

static void on_written(uv_write_t *write, int status)
{
	struct leg *from = write->data;
	struct pair *p = from->pair;

	if (p->ended)
		return;
	from->writing = false;
	if (status < 0)
		leg_over(from->other);
	else if (p->far_ended && from == &p->far)
		pair_end(p);
	else
		pump(from);
}

static bool bytes_wait(struct leg *leg)
{
	struct pollfd fd = { .events = POLLIN };

	if (leg->writing)
		return true;
	return uv_fileno((uv_handle_t *)&leg->pipe, &fd.fd) == 0 && poll(&fd, 1, 0) > 0;
}

static void drop(struct pair *p)
{
	reset_far(p);
	pair_end(p);
}

static bool stood_still(const struct bridge *b)
{
	return clock_boot_us() - b->turn_us > STALL_US;
}

/* What libcurl wrote before the process was stopped, and lies here still, must not leave any more: by now another
 * worker may have sent the letter. A pair that only waits for an answer stays: the answer counts, however late. */
static void on_turn(uv_prepare_t *turn)
{
	struct bridge *b = turn->data;
	struct pair *next;

	for (struct pair *p = stood_still(b) ? b->pairs : NULL; p != NULL; p = next) {
		next = p->next;
		if (bytes_wait(&p->near))
			drop(p);
	}
	b->turn_us = clock_boot_us();
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct leg *from = stream->data;
	uv_stream_t *to = (uv_stream_t *)&from->other->pipe;
	uv_buf_t rest;
	int sent;

	if (n == 0)
		return;
	if (n < 0) {
		uv_read_stop(stream);
		leg_over(from);
		return;
	}
	if (from == &from->pair->near && stood_still(from->pair->bridge)) {
		drop(from->pair);
		return;
	}
	rest = uv_buf_init(buf->base, (unsigned)n);
	sent = uv_try_write(to, &rest, 1);
	if (sent == n)
		return;
	if (sent < 0 && sent != UV_EAGAIN) {
		leg_over(from->other);
		return;
	}
	if (sent > 0)
		rest = uv_buf_init(buf->base + sent, (unsigned)(n - sent));
	uv_read_stop(stream);
	from->write.data = from;
	from->writing = true;
	if (uv_write(&from->write, to, &rest, 1, on_written) != 0) {
		from->writing = false;
		pair_end(from->pair);
	}
}

static void pump(struct leg *from)
{
	if (uv_read_start((uv_stream_t *)&from->pipe, on_room, on_bytes) != 0)
		pair_end(from->pair);
}

static void leg_init(struct pair *p, struct leg *leg, struct leg *other)
{
	leg->pair = p;
	leg->other = other;
	leg->open = false;
	leg->writing = false;
}

static void leg_open(struct leg *leg)
{
	BUG_ON(uv_pipe_init(leg->pair->bridge->loop, &leg->pipe, 0) != 0);
	leg->pipe.data = leg;
	leg->open = true;
	leg->pair->handles++;
}

/* An outage is logged once, not once for each letter. */
static void note_dial(struct bridge *b, enum err e, int sys_errno)
{
	if (e != ERR_OK && (e != b->dial_error || sys_errno != b->dial_errno))
		log_event(LOG_BRIDGE_DIAL, LOG_STR(F_ADDRESS, b->address.text), LOG_STR(F_REASON, err_name(e)),
			  LOG_INT(F_ERRNO, sys_errno));
	b->dial_error = e;
	b->dial_errno = sys_errno;
}

static void on_dialled(void *arg, enum err e, int sys_errno, int fd)
{
	struct pair *p = arg;

	p->dial = NULL;
	note_dial(p->bridge, e, sys_errno);
	if (e != ERR_OK) {
		pair_end(p);
		return;
	}
	leg_open(&p->far);
	/* A pipe handle takes a stream socket of any family. */
	if (uv_pipe_open(&p->far.pipe, fd) != 0) {
		close(fd);
		pair_end(p);
		return;
	}
	pump(&p->near);
	if (!p->ended)
		pump(&p->far);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct bridge *b = listener->data;
	struct pair *p;

	if (status != 0)
		return;
	p = xmalloc(sizeof(*p));
	*p = (struct pair){ .bridge = b, .next = b->pairs };
	leg_init(p, &p->near, &p->far);
	leg_init(p, &p->far, &p->near);
	if (b->pairs != NULL)
		b->pairs->prev = p;
	b->pairs = p;
	b->n_pairs++;
	leg_open(&p->near);
	if (uv_accept(listener, (uv_stream_t *)&p->near.pipe) != 0 || b->n_pairs > b->pairs_max)
		pair_end(p);
	else
		p->dial = dial_start(b->loop, &b->address, b->dial_timeout_ms, on_dialled, p);
}

/* While bytes of libcurl wait, its side is not read, so that libuv does not see it close. Whether it did is
 * asked here: else a far side that stalls would keep the pair, and could take the bytes at any later time. */
static void on_tick(uv_timer_t *tick)
{
	struct bridge *b = tick->data;
	struct pair *next;

	for (struct pair *p = b->pairs; p != NULL; p = next) {
		struct pollfd near = { .events = POLLRDHUP };

		next = p->next;
		if (!p->near.writing || uv_fileno((uv_handle_t *)&p->near.pipe, &near.fd) != 0)
			continue;
		if (poll(&near, 1, 0) > 0)
			pair_end(p);
	}
}

static enum err check_dir(const char *dir, const char **ret_rule)
{
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
		*ret_rule = "the bridge directory cannot be made";
		return ERR_CONFIG;
	}
	if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
		*ret_rule = "the bridge directory is not a directory";
		return ERR_CONFIG;
	}
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
		*ret_rule = "the bridge directory must be owned by the worker's user and have mode 0700";
		return ERR_CONFIG;
	}
	return ERR_OK;
}

/* The process id keeps two workers of one directory apart, the counter two bridges of one worker. */
static enum err choose_path(const char *dir, struct addr *ret_path, const char **ret_rule)
{
	static unsigned counter;
	char text[ADDR_TEXT_MAX];
	int n = snprintf(text, sizeof(text), "unix:%s/%ld-%u", dir, (long)getpid(), ++counter);

	if (n < 0 || (size_t)n >= sizeof(text)) {
		*ret_rule = "the path of the bridge directory is too long";
		return ERR_CONFIG;
	}
	return addr_parse(span_str(text), ret_path, ret_rule) == ERR_OK ? ERR_OK : ERR_CONFIG;
}

static void on_closed(uv_handle_t *handle)
{
	struct bridge *b = handle->data;

	if (--b->handles == 0)
		free(b);
}

enum err bridge_new(uv_loop_t *loop, const struct bridge_options *o, struct bridge **ret_bridge, const char **ret_rule)
{
	struct addr path;
	struct bridge *b;
	int fd;

	TRY(check_dir(o->dir, ret_rule));
	TRY(choose_path(o->dir, &path, ret_rule));
	if (addr_listen(&path, (int)o->backlog, &fd) != ERR_OK) {
		*ret_rule = "no socket can be made in the bridge directory";
		return ERR_CONFIG;
	}
	b = xcalloc(1, sizeof(*b));
	b->loop = loop;
	b->address = *o->address;
	b->path = path;
	b->pairs_max = o->pairs_max;
	b->dial_timeout_ms = o->dial_timeout_ms;
	BUG_ON(uv_pipe_init(loop, &b->listener, 0) != 0);
	BUG_ON(uv_timer_init(loop, &b->tick) != 0);
	BUG_ON(uv_prepare_init(loop, &b->turn) != 0);
	b->listener.data = b->tick.data = b->turn.data = b;
	b->handles = 3;
	b->turn_us = clock_boot_us();
	uv_prepare_start(&b->turn, on_turn);
	uv_timer_start(&b->tick, on_tick, TICK_MS, TICK_MS);
	if (uv_pipe_open(&b->listener, fd) != 0)
		close(fd);
	if (uv_listen((uv_stream_t *)&b->listener, (int)o->backlog, on_connection) != 0) {
		*ret_rule = "no socket can be made in the bridge directory";
		bridge_free(b);
		return ERR_CONFIG;
	}
	*ret_bridge = b;
	return ERR_OK;
}

void bridge_free(struct bridge *b)
{
	if (b == NULL)
		return;
	while (b->pairs != NULL)
		pair_end(b->pairs);
	unlink(b->path.host);
	uv_close((uv_handle_t *)&b->listener, on_closed);
	uv_close((uv_handle_t *)&b->tick, on_closed);
	uv_close((uv_handle_t *)&b->turn, on_closed);
}

const char *bridge_path(const struct bridge *b)
{
	return b->path.host;
}

enum err bridge_dial_error(const struct bridge *b)
{
	return b->dial_error;
}
