/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "queue/queue_call.h"
#include "queue/queue_reply.h"

#define REPEATS_MAX       3 /* of one call after NOSCRIPT */
#define VERSION_MIN_MAJOR 6
#define VERSION_MIN_MINOR 2
#define SERVER_SIZE       64 /* of a run_id: 40 hex digits */

struct queue {
	struct conn *conn;
	struct queue_ops ops;
	void *arg;
	char *name;
	bool allow_eviction;
	size_t command_max;
	bool up;
	size_t to_load;  /* scripts still to be loaded before up() */
	bool noeviction; /* by INFO */
	char server[SERVER_SIZE];
	unsigned servers;
	struct queue_slot *slot;
	LIST_HEAD(queue_calls, queue_call) calls;
};

/* --- coming up: check the server, load the scripts ------------------------------------------ */

static void on_load(void *arg, enum err e, const struct resp_reply *r)
{
	struct queue_slot *s = arg;
	struct queue *q = s->q;
	s->loading = false;
	if (e != ERR_OK)
		return;
	bool reconnect = false;
	struct span sha = resp_text(r);
	if (r->type == RESP_ERROR) {
		conn_drop(q->conn, resp_error(r->text, &reconnect), "SCRIPT LOAD was refused");
		return;
	}
	if (sha.n != QUEUE_SHA_SIZE) {
		conn_drop(q->conn, ERR_PROTOCOL, "SCRIPT LOAD answered no SHA1");
		return;
	}
	memcpy(s->sha, sha.p, QUEUE_SHA_SIZE);
	if (q->up || --q->to_load > 0)
		return;
	q->up = true;
	q->ops.up(q->arg);
}

static enum err load(struct queue_slot *s)
{
	struct span argv[] = { span_lit("SCRIPT"), span_lit("LOAD"), span_of(s->script->text, s->script->length) };
	TRY(conn_send(s->q->conn, argv, 3, on_load, s));
	s->loading = true;
	return ERR_OK;
}

/* One that does not say who it is, or at length, is taken for the one before. */
static void note_server(struct queue *q, struct span id)
{
	if (q->servers > 0 && (id.n == 0 || id.n >= SERVER_SIZE || span_eq_str(id, q->server)))
		return;
	q->servers++;
	if (id.n > 0 && id.n < SERVER_SIZE) {
		memcpy(q->server, id.p, id.n);
		q->server[id.n] = '\0';
	}
}

static void on_info(void *arg, enum err e, const struct resp_reply *r)
{
	struct queue *q = arg;
	if (e != ERR_OK)
		return;
	bool reconnect = false;
	if (r->type == RESP_ERROR) {
		conn_drop(q->conn, resp_error(r->text, &reconnect), "INFO was refused");
		return;
	}
	struct queue_info info;
	queue_reply_info(resp_text(r), &info);
	q->noeviction = span_eq_str(info.policy, "noeviction");
	note_server(q, info.server);
	if (info.major < VERSION_MIN_MAJOR || (info.major == VERSION_MIN_MAJOR && info.minor < VERSION_MIN_MINOR))
		conn_drop(q->conn, ERR_CONFIG, "Redis 6.2 or newer is needed");
	else if (info.loading)
		conn_drop(q->conn, ERR_QUEUE_BUSY, "Redis is loading its data");
	else if (info.replica)
		conn_drop(q->conn, ERR_QUEUE_BUSY, "this Redis is a replica");
}

static enum err load_all(struct queue *q)
{
	q->to_load = queue_scripts_count;
	for (size_t i = 0; i < queue_scripts_count; i++)
		TRY(load(&q->slot[i]));
	return ERR_OK;
}

/* Managed services deny CONFIG or answer nothing; INFO says the same then. The scripts go only now: Redis closes the
 * connection of a stranger who sends that much, and its NOAUTH would be lost with it. */
static void on_policy(void *arg, enum err e, const struct resp_reply *r)
{
	struct queue *q = arg;
	if (e != ERR_OK)
		return;
	struct span policy = queue_reply_config(r);
	if (policy.n > 0)
		q->noeviction = span_eq_str(policy, "noeviction");
	if (!q->noeviction && !q->allow_eviction)
		conn_drop(q->conn, ERR_QUEUE_POLICY, "the maxmemory-policy of Redis is not noeviction");
	else if (conn_is_up(q->conn) && (e = load_all(q)) != ERR_OK)
		conn_drop(q->conn, e, "the scripts are larger than the write buffer");
}

static enum err check(struct queue *q)
{
	struct span info[] = { span_lit("INFO") };
	struct span policy[] = { span_lit("CONFIG"), span_lit("GET"), span_lit("maxmemory-policy") };
	TRY(conn_send(q->conn, info, 1, on_info, q));
	return conn_send(q->conn, policy, 3, on_policy, q);
}

static void on_conn_up(void *arg)
{
	struct queue *q = arg;
	enum err e = check(q);
	if (e != ERR_OK)
		conn_drop(q->conn, e, "the write buffer is too small");
}

static void on_conn_down(void *arg, enum err why, const char *detail)
{
	struct queue *q = arg;
	q->up = false;
	q->ops.down(q->arg, why, detail);
}

/* --- calls ---------------------------------------------------------------------------------- */

static void on_answer(void *arg, enum err e, const struct resp_reply *r);

static void free_call(struct queue_call *c)
{
	buf_clear(&c->command);
	free(c);
}

struct queue_call *queue_call_command(struct queue *q, struct queue_slot *s, const struct span *argv, size_t n)
{
	struct queue_call *c = xcalloc(1, sizeof(*c));
	c->q = q;
	c->slot = s;
	buf_init(&c->command, q->command_max);
	resp_command(&c->command, argv, n);
	LIST_INSERT_HEAD(&q->calls, c, link);
	return c;
}

struct queue_slot *queue_call_find(struct queue *q, const char *script)
{
	for (size_t i = 0; i < queue_scripts_count; i++)
		if (strcmp(q->slot[i].script->name, script) == 0)
			return &q->slot[i];
	return NULL;
}

struct queue_call *queue_call_script(struct queue *q, struct queue_slot *s, const struct span *argv, size_t n)
{
	struct buf meta;
	buf_init(&meta, 1024);
	queue_key(q, "meta", &meta);
	struct span *all = xcalloc(n + 4, sizeof(*all));
	all[0] = span_lit("EVALSHA");
	all[1] = span_of(s->sha, QUEUE_SHA_SIZE);
	all[2] = span_lit("1");
	all[3] = span_buf(&meta);
	if (n > 0)
		memcpy(all + 4, argv, n * sizeof(*all));
	struct queue_call *c = queue_call_command(q, s, all, n + 4);
	free(all);
	buf_clear(&meta);
	return c;
}

void queue_call_start(struct queue_call *c)
{
	struct queue *q = c->q;
	enum err e = ERR_QUEUE_LOST;
	if (buf_ok(&c->command) != ERR_OK) {
		e = ERR_LIMIT;
	} else if (q->up) {
		if (conn_send_raw(q->conn, span_buf(&c->command), c->longer_ms, on_answer, c) == ERR_OK)
			return;
		e = ERR_QUEUE_BUSY;
	}
	conn_answer(q->conn, e, on_answer, c);
}

/* Somebody flushed the scripts. Nothing ran, so the same command may go again; its SHA1 is that of
 * the same text. */
static bool repeat(struct queue_call *c)
{
	if (c->slot == NULL || c->repeats++ >= REPEATS_MAX)
		return false;
	if (!c->slot->loading && load(c->slot) != ERR_OK)
		return false;
	queue_call_start(c);
	return true;
}

static bool is_noscript(struct span text)
{
	struct span word = span_lit("NOSCRIPT ");
	return text.n >= word.n && span_eq(span_of(text.p, word.n), word);
}

static void on_answer(void *arg, enum err e, const struct resp_reply *r)
{
	struct queue_call *c = arg;
	if (e == ERR_OK && r->type == RESP_ERROR) {
		bool reconnect = false;
		if (is_noscript(r->text) && repeat(c))
			return;
		e = resp_error(r->text, &reconnect);
	}
	LIST_REMOVE(c, link);
	c->deliver(c, e, r);
	free_call(c);
}

/* --- the object ----------------------------------------------------------------------------- */

void queue_key(const struct queue *q, const char *suffix, struct buf *out)
{
	buf_add_str(out, "{");
	buf_add_str(out, q->name);
	buf_add_str(out, "}:");
	buf_add_str(out, suffix);
}

bool queue_is_up(const struct queue *q)
{
	return q->up && conn_is_up(q->conn);
}

unsigned queue_server(const struct queue *q)
{
	return q->servers;
}

struct conn *queue_conn(struct queue *q)
{
	return q->conn;
}

static void destroy(struct queue *q)
{
	free(q->slot);
	free(q->name);
	free(q);
}

enum err queue_open(uv_loop_t *loop, const struct queue_options *o, const struct queue_ops *ops, void *arg,
		    struct queue **ret_queue, const char **ret_detail)
{
	static const struct conn_ops conn_ops = { .up = on_conn_up, .down = on_conn_down };
	struct queue *q = xcalloc(1, sizeof(*q));
	q->ops = *ops;
	q->arg = arg;
	q->name = xstrdup(o->name);
	q->allow_eviction = o->allow_eviction;
	q->command_max = o->conn.write_max;
	LIST_INIT(&q->calls);
	q->slot = xcalloc(queue_scripts_count, sizeof(*q->slot));
	for (size_t i = 0; i < queue_scripts_count; i++) {
		q->slot[i].q = q;
		q->slot[i].script = &queue_scripts[i];
	}
	enum err e = conn_open(loop, &o->conn, &conn_ops, q, &q->conn, ret_detail);
	if (e != ERR_OK) {
		destroy(q);
		return e;
	}
	*ret_queue = q;
	return ERR_OK;
}

void queue_close(struct queue *q)
{
	if (q == NULL)
		return;
	conn_close(q->conn);
	while (!LIST_EMPTY(&q->calls)) {
		struct queue_call *c = LIST_FIRST(&q->calls);
		LIST_REMOVE(c, link);
		free_call(c);
	}
	destroy(q);
}
