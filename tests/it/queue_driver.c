/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the queue client for test_queue_client.py: one JSON array per line on stdin, one JSON
 * object per line on stdout.
 *
 *	queue_driver '{"address":"unix:/tmp/r","name":"q",...}'
 *
 *	["command", id, "PING"]            -> {"id":..., "e":"ok", "reply":...}
 *	["script", id, "depth", "1"]
 *	["enqueue", id, sid, offices, job, priority, expires_us, not_before_us]
 *	["beat", id, "join"|"beat"|"leave", worker, lease_us, now_us, machine]   (machine: join; may be missing)
 *	["take", id, chamber, worker, take_id, n, now_us, closed]   (closed: may be missing)
 *	["begin", id, worker, sid, office, token, delivery_id, date, generation, expires_us, now_us]
 *	["begin_sent", ...the same]
 *	["settle", id, worker, sid, office, token, verb, state, outcome, class, now_us, receipt, site, breaker_open_us]
 *	["wait", id, replicas, timeout_ms]
 *	["reap", id, worker, now_us]       ["adopt", id, worker, now_us, token...]
 *	["hold", id, what, until_us, who, reason]
 *	["storm", id, n, "INCR", "x"]      n times the same command, answered by counts
 *	["state"]                          -> {"event":"state","up":...,"outstanding":...}
 *	["reconnect"]                      ["close_in_answer"]  (the next answer closes the queue)
 *
 * Unasked: {"event":"up"}, {"event":"down","why":...,"detail":...}. The end of stdin closes.
 */
#include <jansson.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

#include "queue/queue.h"
#include "tests/it/queue_driver_json.h"

#define LINE_MAX_BYTES (4 << 20)
#define ARGV_MAX       64

struct request {
	LIST_ENTRY(request) link;
	char *id;
	bool inside;                  /* still within the call that started it */
	size_t left, ok, lost, other; /* of a storm */
};

static struct queue *queue;
static uv_loop_t *loop;
static uv_pipe_t input;
static struct buf line;
static bool close_in_answer;
static LIST_HEAD(request_list, request) requests;

static void print(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	printf("%s\n", text);
	fflush(stdout);
	free(text);
	json_decref(o);
}

static struct request *request_new(const char *id)
{
	struct request *r = xcalloc(1, sizeof(*r));
	r->id = xstrdup(id);
	r->inside = true;
	LIST_INSERT_HEAD(&requests, r, link);
	return r;
}

static void request_free(struct request *r)
{
	LIST_REMOVE(r, link);
	free(r->id);
	free(r);
}

/* Commands that wait for an answer. */
static size_t outstanding(void)
{
	size_t n = 0;
	struct request *r;
	LIST_FOREACH(r, &requests, link)
	n += r->left > 0 ? r->left : 1;
	return n;
}

/* Nothing is answered after queue_close(). */
static void shut(void)
{
	queue_close(queue);
	queue = NULL;
	while (!LIST_EMPTY(&requests))
		request_free(LIST_FIRST(&requests));
	if (!uv_is_closing((uv_handle_t *)&input))
		uv_close((uv_handle_t *)&input, NULL);
}

/* --- answers -------------------------------------------------------------------------------- */

static void answer(struct request *r, enum err e, json_t *more)
{
	BUG_ON(r->inside);
	json_t *o = json_pack("{s:s,s:s}", "id", r->id, "e", err_name(e));
	if (more != NULL)
		json_object_update(o, more);
	json_decref(more);
	print(o);
	request_free(r);
	if (close_in_answer)
		shut();
}

static void on_reply(void *arg, enum err e, const struct resp_reply *r)
{
	answer(arg, e, json_pack("{s:o}", "reply", reply_json(r)));
}

static void on_beat(void *arg, enum err e, const struct queue_beat_answer *a)
{
	BUG_ON((a != NULL) != (e == ERR_OK));
	answer(arg, e, a == NULL ? NULL : beat_json(a));
}

static void on_take(void *arg, enum err e, const struct queue_take_answer *a)
{
	BUG_ON((a != NULL) != (e == ERR_OK));
	answer(arg, e, a == NULL ? NULL : take_json(a));
}

static void on_begin(void *arg, enum err e, const struct queue_begin_answer *a)
{
	BUG_ON((a != NULL) != (e == ERR_OK));
	answer(arg, e, a == NULL ? NULL : begin_json(a));
}

static void on_settle(void *arg, enum err e, const struct queue_settle_answer *a)
{
	BUG_ON((a != NULL) != (e == ERR_OK));
	answer(arg, e, a == NULL ? NULL : settle_json(a));
}

static void on_wait(void *arg, enum err e, int64_t n)
{
	answer(arg, e, json_pack("{s:I}", "n", (json_int_t)n));
}

static void on_count(void *arg, enum err e, bool fenced, int64_t n)
{
	answer(arg, e, json_pack("{s:b,s:I}", "fenced", fenced, "n", (json_int_t)n));
}

static void on_storm(void *arg, enum err e, const struct resp_reply *r)
{
	struct request *s = arg;
	(void)r;
	BUG_ON(s->inside);
	if (e == ERR_OK)
		s->ok++;
	else if (e == ERR_QUEUE_LOST)
		s->lost++;
	else
		s->other++;
	if (--s->left > 0)
		return;
	print(json_pack("{s:s,s:I,s:I,s:I}", "id", s->id, "ok", (json_int_t)s->ok, "lost", (json_int_t)s->lost, "other",
			(json_int_t)s->other));
	request_free(s);
}

/* --- commands ------------------------------------------------------------------------------- */

static const char *str(json_t *a, size_t i)
{
	const char *s = json_string_value(json_array_get(a, i));
	return s != NULL ? s : "";
}

static struct span span_at(json_t *a, size_t i)
{
	json_t *s = json_array_get(a, i);
	return span_of(json_string_value(s), json_string_length(s));
}

static int64_t number(json_t *a, size_t i)
{
	return json_integer_value(json_array_get(a, i));
}

static size_t spans(json_t *a, size_t from, struct span *out)
{
	size_t n = 0;
	for (size_t i = from; i < json_array_size(a) && n < ARGV_MAX; i++)
		out[n++] = span_at(a, i);
	return n;
}

static void run_storm(json_t *a)
{
	struct span argv[ARGV_MAX];
	size_t n = spans(a, 3, argv);
	struct request *s = request_new(str(a, 1));
	s->left = (size_t)number(a, 2);
	for (size_t i = s->left; i > 0; i--)
		queue_command(queue, argv, n, on_storm, s);
	s->inside = false;
}

static void run_take(json_t *a, struct request *r)
{
	struct queue_take t = {
		.chamber = str(a, 2),
		.worker = str(a, 3),
		.take_id = (uint64_t)number(a, 4),
		.n = (unsigned)number(a, 5),
		.now_us = number(a, 6),
		.chamber_period_us = 1,
		.chamber_slack_us = 100,
		.office_cap = 100,
		.open = number(a, 7) == 0,
	};
	queue_take(queue, &t, on_take, r);
}

static void run_begin(json_t *a, struct request *r)
{
	struct queue_begin b = {
		.worker = str(a, 2),
		.sid = span_at(a, 3),
		.office = span_at(a, 4),
		.token = span_at(a, 5),
		.delivery_id = span_at(a, 6),
		.date = span_at(a, 7),
		.generation = (uint64_t)number(a, 8),
		.expires_us = number(a, 9),
		.now_us = number(a, 10),
		.sent = strcmp(str(a, 0), "begin_sent") == 0,
	};
	queue_begin(queue, &b, on_begin, r);
}

static enum queue_verb verb_of(const char *word)
{
	static const char *const words[] = { "end",     "retry", "unknown", "throttled", "not_sent",
					     "release", "defer", "live",    "refused",   "conflict" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], word) == 0)
			return (enum queue_verb)i;
	abort();
}

static void run_settle(json_t *a, struct request *r)
{
	struct queue_settle s = {
		.worker = str(a, 2),
		.sid = span_at(a, 3),
		.office = span_at(a, 4),
		.token = span_at(a, 5),
		.verb = verb_of(str(a, 6)),
		.state = str(a, 7),
		.outcome = str(a, 8),
		.class_ = str(a, 9),
		.http_status = 200,
		.now_us = number(a, 10),
		.receipt = span_at(a, 11),
		.generation = -1,
		.site = (int)number(a, 12),
		.breaker_open_us = number(a, 13),
	};
	queue_settle(queue, &s, on_settle, r);
}

static void run_enqueue(json_t *a, struct request *r)
{
	struct queue_enqueue x = {
		.sid = span_at(a, 2),
		.offices = span_at(a, 3),
		.job = span_at(a, 4),
		.priority = (unsigned)number(a, 5),
		.expires_us = number(a, 6),
		.not_before_us = number(a, 7),
	};
	queue_enqueue(queue, &x, on_reply, r);
}

static void run_beat(json_t *a, struct request *r)
{
	enum queue_beat_verb verb = strcmp(str(a, 2), "join") == 0    ? QUEUE_JOIN
				    : strcmp(str(a, 2), "leave") == 0 ? QUEUE_LEAVE
								      : QUEUE_BEAT;
	if (verb == QUEUE_JOIN)
		queue_join(queue, verb, str(a, 3), number(a, 4), number(a, 5), str(a, 6), NULL, 0, on_beat, r);
	else
		queue_beat(queue, verb, str(a, 3), number(a, 4), number(a, 5), on_beat, r);
}

static bool run_call(const char *what, json_t *a, struct request *r)
{
	struct span argv[ARGV_MAX];
	if (strcmp(what, "command") == 0) {
		size_t n = spans(a, 2, argv);
		queue_command(queue, argv, n, on_reply, r);
	} else if (strcmp(what, "script") == 0) {
		size_t n = spans(a, 3, argv);
		queue_script(queue, str(a, 2), argv, n, on_reply, r);
	} else if (strcmp(what, "reap") == 0) {
		struct queue_reap x = { .worker = str(a, 2), .now_us = number(a, 3), .crashes_max = 3 };
		queue_reap(queue, &x, on_count, r);
	} else if (strcmp(what, "adopt") == 0) {
		size_t n = spans(a, 4, argv);
		struct queue_adopt x = { .worker = str(a, 2), .now_us = number(a, 3), .token = argv, .n = n };
		queue_adopt(queue, &x, on_count, r);
	} else if (strcmp(what, "hold") == 0) {
		queue_hold(queue, str(a, 2), number(a, 3), str(a, 4), str(a, 5), on_count, r);
	} else if (strcmp(what, "wait") == 0) {
		queue_wait(queue, (unsigned)number(a, 2), (unsigned)number(a, 3), on_wait, r);
	} else {
		return false;
	}
	return true;
}

static void run_job(const char *what, json_t *a)
{
	struct request *r = request_new(str(a, 1));
	if (strcmp(what, "enqueue") == 0)
		run_enqueue(a, r);
	else if (strcmp(what, "beat") == 0)
		run_beat(a, r);
	else if (strcmp(what, "take") == 0)
		run_take(a, r);
	else if (strcmp(what, "begin") == 0 || strcmp(what, "begin_sent") == 0)
		run_begin(a, r);
	else if (strcmp(what, "settle") == 0)
		run_settle(a, r);
	else if (!run_call(what, a, r))
		abort();
	r->inside = false;
}

static void run(json_t *a)
{
	const char *what = str(a, 0);
	if (queue == NULL)
		return;
	if (strcmp(what, "state") == 0)
		print(json_pack("{s:s,s:b,s:I}", "event", "state", "up", queue_is_up(queue), "outstanding",
				(json_int_t)outstanding()));
	else if (strcmp(what, "reconnect") == 0)
		conn_drop(queue_conn(queue), ERR_QUEUE_BUSY, "asked to reconnect");
	else if (strcmp(what, "close_in_answer") == 0)
		close_in_answer = true;
	else if (strcmp(what, "storm") == 0)
		run_storm(a);
	else
		run_job(what, a);
}

/* --- input, events, main -------------------------------------------------------------------- */

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *ret_buf)
{
	(void)h;
	(void)wanted;
	uint8_t *p = buf_room(&line, 65536);
	BUG_ON(p == NULL);
	*ret_buf = uv_buf_init((char *)p, 65536);
}

static void on_input(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	(void)s;
	(void)b;
	if (n < 0) {
		shut();
		return;
	}
	buf_grew(&line, (size_t)n);
	const uint8_t *end;
	while (line.n > 0 && (end = memchr(line.p, '\n', line.n)) != NULL) {
		size_t size = (size_t)(end - line.p);
		json_t *a = json_loadb((const char *)line.p, size, JSON_ALLOW_NUL, NULL);
		BUG_ON(a == NULL);
		run(a);
		json_decref(a);
		buf_drop(&line, size + 1);
	}
}

static void on_up(void *arg)
{
	(void)arg;
	print(json_pack("{s:s}", "event", "up"));
}

static void on_down(void *arg, enum err why, const char *detail)
{
	(void)arg;
	print(json_pack("{s:s,s:s,s:s}", "event", "down", "why", err_name(why), "detail", detail));
}

static const char *option(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static unsigned option_number(json_t *o, const char *key, unsigned otherwise)
{
	json_t *v = json_object_get(o, key);
	return v == NULL ? otherwise : (unsigned)json_integer_value(v);
}

static enum err open_queue(json_t *o, const char **ret_detail)
{
	static const struct queue_ops ops = { .up = on_up, .down = on_down };
	struct stream_tls tls = {
		.host = option(o, "host"),
		.ca_file = option(o, "ca"),
		.cert_file = option(o, "cert"),
		.key_file = option(o, "key"),
		.verify = !json_is_true(json_object_get(o, "no_verify")),
	};
	struct queue_options q = {
		.name = option(o, "name"),
		.allow_eviction = json_is_true(json_object_get(o, "allow_eviction")),
		.conn = { .tls = json_is_true(json_object_get(o, "tls")) ? &tls : NULL,
			  .user = option(o, "user"),
			  .password = option(o, "password"),
			  .timeout_ms = option_number(o, "timeout_ms", 5000),
			  .write_max = option_number(o, "write_max", 8 << 20),
			  .reply_max = option_number(o, "reply_max", 16 << 20) },
	};
	TRY(addr_parse(span_str(option(o, "address")), &q.conn.address, ret_detail));
	return queue_open(loop, &q, &ops, NULL, &queue, ret_detail);
}

int main(int argc, char **argv)
{
	json_t *o = argc == 2 ? json_loads(argv[1], 0, NULL) : NULL;
	const char *detail = "";
	if (o == NULL)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	loop = uv_default_loop();
	buf_init(&line, LINE_MAX_BYTES);
	if (sodium_init() < 0)
		return 2;
	enum err e = open_queue(o, &detail);
	if (e != ERR_OK) {
		print(json_pack("{s:s,s:s,s:s}", "event", "refused", "why", err_name(e), "detail", detail));
		json_decref(o);
		return 1;
	}
	uv_pipe_init(loop, &input, 0);
	uv_pipe_open(&input, 0);
	uv_read_start((uv_stream_t *)&input, on_room, on_input);
	uv_run(loop, UV_RUN_DEFAULT);
	int rc = uv_loop_close(loop);
	buf_clear(&line);
	json_decref(o);
	return rc == 0 ? 0 : 3;
}
