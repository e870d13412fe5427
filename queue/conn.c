/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define DELAY_MIN_MS 50
#define DELAY_MAX_MS 4000
#define STABLE_MS    5000 /* a connection that lasted this long forgives earlier failures */
#define GRACE_MS     10
#define KEEP_MAX     (64 * 1024)
#define DETAIL_SIZE  128

enum state { DOWN, CONNECTING, AUTHENTICATING, UP };

struct request {
	struct request *next;
	conn_cb cb;
	void *arg;
	enum err e; /* on the list `due` */
	uint64_t sent_ms;
	unsigned longer_ms; /* what its answer may take beyond the time-out */
	bool late;
};

struct list {
	struct request *first, *last;
	size_t n;
};

struct conn {
	uv_loop_t *loop;
	struct conn_options options;
	struct stream_tls tls; /* options.tls points here, if it is not NULL */
	struct conn_ops ops;
	void *arg;
	enum state state;
	struct stream *stream; /* NULL when down */
	struct resp *resp;
	struct list sent; /* on the wire, in order */
	struct list due;  /* to be answered without a reply, by on_turn() */
	struct buf command;
	uv_timer_t retry, deadline;
	uv_idle_t turn;
	unsigned handles; /* still to be closed by the loop */
	unsigned failures;
	uint64_t up_ms;
	uint64_t held_up_ms; /* when the last answer came that was allowed to take longer */
	bool down_due;       /* on_turn() has to call down() */
	enum err why;
	char detail[DETAIL_SIZE];
	bool closed;
};

static void connect_now(uv_timer_t *h);
static void on_turn(uv_idle_t *h);
static void on_deadline(uv_timer_t *h);

/* --- lists of requests ---------------------------------------------------------------------- */

static struct request *list_add(struct list *l, conn_cb cb, void *arg)
{
	struct request *r = xcalloc(1, sizeof(*r));
	r->cb = cb;
	r->arg = arg;
	if (l->last != NULL)
		l->last->next = r;
	else
		l->first = r;
	l->last = r;
	l->n++;
	return r;
}

/* Takes the first; the caller frees it. NULL when empty. */
static struct request *list_take(struct list *l)
{
	struct request *r = l->first;
	if (r == NULL)
		return NULL;
	l->first = r->next;
	if (l->first == NULL)
		l->last = NULL;
	l->n--;
	return r;
}

static void list_free(struct list *l)
{
	struct request *r;
	while ((r = list_take(l)) != NULL)
		free(r);
}

/* --- going down ----------------------------------------------------------------------------- */

void conn_answer(struct conn *c, enum err e, conn_cb cb, void *arg)
{
	list_add(&c->due, cb, arg)->e = e;
	uv_idle_start(&c->turn, on_turn);
}

/* Calls nobody: what is outstanding and down() are answered in the next turn. The codec stays
 * until then, because this may run inside the callback of one of its replies. */
void conn_drop(struct conn *c, enum err why, const char *detail)
{
	if (c->state == DOWN || c->closed)
		return;
	if (c->state == UP && uv_now(c->loop) - c->up_ms >= STABLE_MS)
		c->failures = 0;
	c->state = DOWN;
	stream_close(c->stream);
	c->stream = NULL;
	uv_timer_stop(&c->deadline);
	struct request *r;
	while ((r = list_take(&c->sent)) != NULL) {
		conn_answer(c, ERR_QUEUE_LOST, r->cb, r->arg);
		free(r);
	}
	c->down_due = true;
	c->why = why;
	snprintf(c->detail, sizeof(c->detail), "%s", detail);
	uv_idle_start(&c->turn, on_turn);
}

/* Full jitter: uniform between the smallest delay and a ceiling that doubles. */
static void retry_later(struct conn *c)
{
	unsigned ceiling = DELAY_MAX_MS;
	if (c->failures < 6)
		ceiling = (2U * DELAY_MIN_MS) << c->failures;
	c->failures++;
	uint64_t delay = DELAY_MIN_MS + randombytes_uniform(ceiling - DELAY_MIN_MS + 1);
	uv_timer_start(&c->retry, connect_now, delay, 0);
}

static void on_turn(uv_idle_t *h)
{
	struct conn *c = h->data;
	uv_idle_stop(h);
	struct list due = c->due;
	c->due = (struct list){ 0 };
	struct request *r;
	while ((r = list_take(&due)) != NULL) {
		if (!c->closed)
			r->cb(r->arg, r->e, NULL);
		free(r);
	}
	if (!c->down_due || c->closed)
		return;
	c->down_due = false;
	resp_free(c->resp);
	c->resp = NULL;
	c->ops.down(c->arg, c->why, c->detail);
	if (!c->closed)
		retry_later(c);
}

/* --- sending -------------------------------------------------------------------------------- */

static enum err transmit(struct conn *c, struct span command, unsigned longer_ms, conn_cb cb, void *arg)
{
	if (c->sent.n >= CONN_OUTSTANDING_MAX)
		return ERR_LIMIT;
	TRY(stream_write(c->stream, command));
	struct request *r = list_add(&c->sent, cb, arg);
	r->sent_ms = uv_now(c->loop);
	r->longer_ms = longer_ms;
	if (!uv_is_active((uv_handle_t *)&c->deadline))
		uv_timer_start(&c->deadline, on_deadline, c->options.timeout_ms, 0);
	return ERR_OK;
}

enum err conn_send_raw(struct conn *c, struct span command, unsigned longer_ms, conn_cb cb, void *arg)
{
	if (c->state == UP)
		return transmit(c, command, longer_ms, cb, arg);
	if (c->due.n >= CONN_OUTSTANDING_MAX)
		return ERR_LIMIT;
	conn_answer(c, ERR_QUEUE_LOST, cb, arg);
	return ERR_OK;
}

static enum err format(struct conn *c, const struct span *argv, size_t n)
{
	if (c->command.cap > KEEP_MAX)
		buf_clear(&c->command);
	else
		buf_reset(&c->command);
	resp_command(&c->command, argv, n);
	return buf_ok(&c->command);
}

enum err conn_send(struct conn *c, const struct span *argv, size_t n, conn_cb cb, void *arg)
{
	TRY(format(c, argv, n));
	return conn_send_raw(c, span_buf(&c->command), 0, cb, arg);
}

/* --- answers -------------------------------------------------------------------------------- */

/* Redis says that this connection is of no more use, or speaks unasked (and then closes: too many
 * clients, protected mode). Only its first word goes on: the rest may quote anything. */
static void judge_error(struct conn *c, struct span text, bool asked)
{
	bool reconnect = false;
	enum err e = resp_error(text, &reconnect);
	if (asked && !reconnect)
		return;
	int n = 0;
	while ((size_t)n < text.n && n < 32 && text.p[n] >= 'A' && text.p[n] <= 'Z')
		n++;
	char detail[DETAIL_SIZE];
	snprintf(detail, sizeof(detail), "Redis answered %.*s", n, (const char *)text.p);
	conn_drop(c, e == ERR_QUEUE_SCRIPT ? ERR_QUEUE_BUSY : e, detail);
}

static void answer(struct conn *c, const struct resp_reply *reply)
{
	struct request *r = list_take(&c->sent);
	if (r == NULL) {
		if (reply->type == RESP_ERROR)
			judge_error(c, reply->text, false);
		else
			conn_drop(c, ERR_PROTOCOL, "a reply that nothing asked for");
		return;
	}
	if (r->longer_ms > 0)
		c->held_up_ms = uv_now(c->loop);
	r->cb(r->arg, ERR_OK, reply);
	free(r);
	if (reply->type == RESP_ERROR)
		judge_error(c, reply->text, true);
}

static void on_data(void *arg, struct span bytes)
{
	struct conn *c = arg;
	enum err e = resp_feed(c->resp, bytes);
	while (e == ERR_OK) {
		const struct resp_reply *reply = NULL;
		e = resp_next(c->resp, &reply);
		if (e != ERR_OK || reply == NULL)
			break;
		answer(c, reply);
		resp_release(c->resp, reply);
		if (c->closed || c->state == DOWN)
			return;
	}
	if (e != ERR_OK)
		conn_drop(c, e, "the reply is malformed or too large");
}

/* The deadline is that of the oldest command. When the whole process stood still, the answer may
 * already wait in the socket: one look at it before giving up. */
static void on_deadline(uv_timer_t *h)
{
	struct conn *c = h->data;
	struct request *r = c->sent.first;
	if (r == NULL)
		return;
	uint64_t since_ms = r->sent_ms > c->held_up_ms ? r->sent_ms : c->held_up_ms;
	uint64_t age = uv_now(c->loop) - since_ms, limit = (uint64_t)c->options.timeout_ms + r->longer_ms;
	if (age < limit) {
		uv_timer_start(h, on_deadline, limit - age, 0);
	} else if (!r->late) {
		r->late = true;
		uv_timer_start(h, on_deadline, GRACE_MS, 0);
	} else {
		conn_drop(c, ERR_TIMEOUT, "no answer in time");
	}
}

/* --- coming up ------------------------------------------------------------------------------ */

static void go_up(struct conn *c)
{
	c->state = UP;
	c->up_ms = uv_now(c->loop);
	c->ops.up(c->arg);
}

static void on_auth(void *arg, enum err e, const struct resp_reply *reply)
{
	struct conn *c = arg;
	if (e != ERR_OK)
		return;
	if (reply->type != RESP_ERROR) {
		go_up(c);
		return;
	}
	bool reconnect = false;
	e = resp_error(reply->text, &reconnect);
	conn_drop(c, e == ERR_QUEUE_SCRIPT ? ERR_QUEUE_DENIED : e, "AUTH was refused");
}

static void on_up(void *arg)
{
	struct conn *c = arg;
	if (c->options.password == NULL) {
		go_up(c);
		return;
	}
	struct span argv[3] = { span_lit("AUTH") };
	size_t n = 1;
	if (c->options.user != NULL)
		argv[n++] = span_str(c->options.user);
	argv[n++] = span_str(c->options.password);
	c->state = AUTHENTICATING;
	enum err e = format(c, argv, n);
	if (e == ERR_OK)
		e = transmit(c, span_buf(&c->command), 0, on_auth, c);
	buf_clear(&c->command);
	if (e != ERR_OK)
		conn_drop(c, e, "the credentials are larger than the write buffer");
}

static void on_down(void *arg, enum err e, const char *detail)
{
	struct conn *c = arg;
	c->stream = NULL;
	conn_drop(c, e, detail);
}

static enum err dial_now(struct conn *c, const char **ret_detail)
{
	static const struct stream_ops ops = { .up = on_up, .data = on_data, .down = on_down };
	TRY(stream_open(c->loop, &c->options.address, c->options.tls, c->options.timeout_ms, c->options.write_max, &ops,
			c, &c->stream, ret_detail));
	c->resp = resp_new(c->options.reply_max);
	c->state = CONNECTING;
	return ERR_OK;
}

static void connect_now(uv_timer_t *h)
{
	struct conn *c = h->data;
	const char *detail = "";
	enum err e = dial_now(c, &detail);
	if (e == ERR_OK)
		return;
	c->state = CONNECTING; /* for conn_drop() */
	conn_drop(c, e, detail);
}

/* --- the object ----------------------------------------------------------------------------- */

bool conn_is_up(const struct conn *c)
{
	return c->state == UP;
}

static void destroy(struct conn *c)
{
	list_free(&c->sent);
	list_free(&c->due);
	resp_free(c->resp);
	buf_clear(&c->command);
	if (c->options.tls != NULL)
		stream_tls_unload(&c->tls);
	free(c);
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;
	if (--c->handles == 0)
		destroy(c);
}

void conn_close(struct conn *c)
{
	if (c == NULL || c->closed)
		return;
	c->closed = true;
	c->state = DOWN;
	stream_close(c->stream);
	c->stream = NULL;
	uv_close((uv_handle_t *)&c->retry, on_closed);
	uv_close((uv_handle_t *)&c->deadline, on_closed);
	uv_close((uv_handle_t *)&c->turn, on_closed);
}

static enum err load(struct conn *c, const char **ret_detail)
{
	if (c->options.tls == NULL)
		return ERR_OK;
	c->tls = *c->options.tls;
	c->tls.loaded = NULL;
	c->options.tls = &c->tls;
	return stream_tls_load(&c->tls, ret_detail);
}

static void init_handles(struct conn *c)
{
	uv_timer_init(c->loop, &c->retry);
	uv_timer_init(c->loop, &c->deadline);
	uv_idle_init(c->loop, &c->turn);
	c->retry.data = c;
	c->deadline.data = c;
	c->turn.data = c;
	c->handles = 3;
}

enum err conn_open(uv_loop_t *loop, const struct conn_options *o, const struct conn_ops *ops, void *arg,
		   struct conn **ret_conn, const char **ret_detail)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->options = *o;
	c->ops = *ops;
	c->arg = arg;
	buf_init(&c->command, o->write_max);
	enum err e = load(c, ret_detail);
	if (e == ERR_OK)
		e = dial_now(c, ret_detail);
	if (e != ERR_OK) {
		destroy(c);
		return e;
	}
	init_handles(c);
	*ret_conn = c;
	return ERR_OK;
}
