/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp.h"

#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "worker/base/text.h"

/* An input buffer that grew past this is given back when it is empty. */
#define KEEP_MAX (256 * 1024)

struct resp {
	redisReader *reader;
	size_t max;
	size_t pending; /* bytes fed since the end of the last complete reply */
	size_t dirty;   /* bytes of the reader's buffer to wipe */
	bool broken;
};

/* A reply with what the reader needs while it builds it; texts are stored behind it. */
struct node {
	struct resp_reply reply;
	size_t cap; /* slots of reply.at */
	char bytes[];
};

static const struct resp_reply nil = { .type = RESP_NIL };

/* --- building replies: the functions that hiredis calls ------------------------------------ */

static void append(struct node *array, struct node *child)
{
	struct resp_reply *a = &array->reply;
	if (a->n == array->cap) {
		size_t cap = array->cap == 0 ? 2 : 2 * array->cap;
		struct resp_reply **at = xcalloc(cap, sizeof(struct resp_reply *));
		if (a->n > 0)
			memcpy(at, a->at, a->n * sizeof(struct resp_reply *));
		free(a->at);
		a->at = at;
		array->cap = cap;
	}
	a->at[a->n++] = &child->reply;
}

static struct node *make(const redisReadTask *task, enum resp_type type, size_t room)
{
	struct node *x = xcalloc(1, sizeof(*x) + room);
	x->reply.type = type;
	if (task->parent != NULL)
		append(task->parent->obj, x);
	return x;
}

/* hiredis knows a bulk by its length alone and steps over the two bytes behind it unseen. They are
 * in the buffer: it calls only when all of length + 2 is. NULL makes it fail for good. */
static void *create_string(const redisReadTask *task, char *s, size_t n)
{
	if (s[n] != '\r' || s[n + 1] != '\n')
		return NULL;
	enum resp_type type = RESP_BULK;
	if (task->type == REDIS_REPLY_STATUS)
		type = RESP_STATUS;
	else if (task->type == REDIS_REPLY_ERROR)
		type = RESP_ERROR;
	struct node *x = make(task, type, n);
	memcpy(x->bytes, s, n);
	x->reply.text = span_of(x->bytes, n);
	return x;
}

static void *create_array(const redisReadTask *task, int n)
{
	if (n > RESP_ARRAY_MAX)
		return NULL;
	return make(task, RESP_ARRAY, 0);
}

static void *create_integer(const redisReadTask *task, long long v)
{
	struct node *x = make(task, RESP_INTEGER, 0);
	x->reply.integer = v;
	return x;
}

static void *create_nil(const redisReadTask *task)
{
	return make(task, RESP_NIL, 0);
}

/* As deep as arrays nest: RESP_DEPTH_MAX. reply is the first member of node. */
static void free_reply(void *p)
{
	struct node *x = p;
	for (size_t i = 0; i < x->reply.n; i++)
		free_reply(x->reply.at[i]);
	free(x->reply.at);
	xfree_wipe(x, sizeof(*x) + x->reply.text.n);
}

static redisReplyObjectFunctions functions = {
	.createString = create_string,
	.createArray = create_array,
	.createInteger = create_integer,
	.createNil = create_nil,
	.freeObject = free_reply,
};

/* --- the reader ----------------------------------------------------------------------------- */

struct resp *resp_new(size_t max)
{
	BUG_ON(max > INT_MAX / 2); /* hiredis counts parts of its buffer in int */
	struct resp *r = xcalloc(1, sizeof(*r));
	r->max = max;
	r->reader = redisReaderCreateWithFunctions(&functions);
	if (r->reader == NULL)
		abort();
	r->reader->maxbuf = 0; /* never to free its buffer unwiped by itself */
	return r;
}

static void wipe_input(struct resp *r)
{
	if (r->reader->buf != NULL) /* hiredis frees it when it meets an error */
		sodium_memzero(r->reader->buf, r->dirty);
	r->dirty = 0;
}

void resp_free(struct resp *r)
{
	if (r == NULL)
		return;
	wipe_input(r);
	redisReaderFree(r->reader);
	free(r);
}

static sds new_sds(size_t room)
{
	sds s = sdsempty();
	if (s != NULL)
		s = sdsMakeRoomFor(s, room);
	if (s == NULL)
		abort();
	return s;
}

/* Grows the reader's buffer here, because its own realloc would leave an unwiped copy behind. */
static void make_room(struct resp *r, size_t n)
{
	redisReader *rd = r->reader;
	if (sdsavail(rd->buf) >= n)
		return;
	size_t left = rd->len - rd->pos;
	sds fresh = new_sds(left + n);
	memcpy(fresh, rd->buf + rd->pos, left);
	fresh[left] = '\0';
	sdssetlen(fresh, left);
	wipe_input(r);
	sdsfree(rd->buf);
	rd->buf = fresh;
	rd->pos = 0;
	rd->len = left;
}

static void empty_input(struct resp *r)
{
	redisReader *rd = r->reader;
	wipe_input(r);
	if (sdsalloc(rd->buf) > KEEP_MAX) {
		sdsfree(rd->buf);
		rd->buf = new_sds(0);
	}
	sdssetlen(rd->buf, 0);
	rd->pos = 0;
	rd->len = 0;
}

static enum err broken(struct resp *r)
{
	r->broken = true;
	return ERR_PROTOCOL;
}

enum err resp_feed(struct resp *r, struct span bytes)
{
	if (r->broken || bytes.n > r->max + RESP_FEED_MAX - r->pending)
		return broken(r);
	if (bytes.n == 0)
		return ERR_OK;
	make_room(r, bytes.n);
	if (redisReaderFeed(r->reader, (const char *)bytes.p, bytes.n) != REDIS_OK)
		return broken(r);
	r->pending += bytes.n;
	if (r->dirty < r->reader->len)
		r->dirty = r->reader->len;
	return ERR_OK;
}

enum err resp_next(struct resp *r, const struct resp_reply **ret_reply)
{
	void *obj = NULL;
	if (r->broken || redisReaderGetReply(r->reader, &obj) != REDIS_OK)
		return broken(r);
	size_t left = r->reader->len - r->reader->pos;
	size_t size = obj == NULL ? r->pending : r->pending - left;
	if (size > r->max) {
		if (obj != NULL)
			free_reply(obj);
		return broken(r);
	}
	if (left == 0)
		empty_input(r);
	if (obj != NULL)
		r->pending = left;
	*ret_reply = obj;
	return ERR_OK;
}

void resp_release(struct resp *r, const struct resp_reply *reply)
{
	(void)r;
	if (reply != NULL)
		free_reply((void *)(uintptr_t)reply); /* const was for the reader's eyes */
}

/* --- commands ------------------------------------------------------------------------------- */

void resp_command(struct buf *out, const struct span *arg, size_t n)
{
	BUG_ON(n == 0 || n > INT_MAX);
	const char **v = xcalloc(n, sizeof(*v));
	size_t *len = xcalloc(n, sizeof(*len));
	for (size_t i = 0; i < n; i++) {
		v[i] = arg[i].n > 0 ? (const char *)arg[i].p : "";
		len[i] = arg[i].n;
	}
	char *text = NULL;
	int size = redisFormatCommandArgv(&text, (int)n, v, len);
	if (size < 0)
		abort();
	buf_add(out, text, (size_t)size);
	sodium_memzero(text, (size_t)size); /* it may be AUTH */
	redisFreeCommand(text);
	free(v);
	free(len);
}

/* --- reading replies ------------------------------------------------------------------------ */

struct span resp_text(const struct resp_reply *r)
{
	if (r->type == RESP_BULK || r->type == RESP_STATUS)
		return r->text;
	return span_of("", 0);
}

int64_t resp_number(const struct resp_reply *r)
{
	int64_t v = 0;
	if (r->type == RESP_INTEGER)
		return r->integer;
	if (text_int(resp_text(r), &v) != ERR_OK)
		return 0;
	return v;
}

const struct resp_reply *resp_at(const struct resp_reply *r, size_t i)
{
	if (r->type != RESP_ARRAY || i >= r->n)
		return &nil;
	return r->at[i];
}

static struct span first_word(struct span text)
{
	size_t n = 0;
	while (n < text.n && text.p[n] != ' ' && text.p[n] != '\r' && text.p[n] != '\n')
		n++;
	return span_of(text.p, n);
}

static bool starts_with(struct span text, struct span prefix)
{
	return text.n >= prefix.n && span_eq(span_of(text.p, prefix.n), prefix);
}

/* The error of a command inside a script, as Redis 6.2 reports it; or the text itself. */
static struct span unwrap(struct span text)
{
	struct span mark = span_lit(": -");
	if (!starts_with(text, span_lit("ERR Error running script")))
		return text;
	const uint8_t *at = span_find(text, mark);
	if (at == NULL)
		return text;
	at += mark.n;
	return span_of(at, (size_t)(text.p + text.n - at));
}

enum err resp_error(struct span text, bool *ret_reconnect)
{
	static const struct {
		const char *word;
		enum err e;
		bool reconnect;
	} table[] = {
		{ "READONLY", ERR_QUEUE_BUSY, true },    { "UNBLOCKED", ERR_QUEUE_BUSY, true },
		{ "MASTERDOWN", ERR_QUEUE_BUSY, true },  { "MOVED", ERR_QUEUE_BUSY, true },
		{ "ASK", ERR_QUEUE_BUSY, true },         { "CLUSTERDOWN", ERR_QUEUE_BUSY, true },
		{ "NOREPLICAS", ERR_QUEUE_BUSY, false }, { "LOADING", ERR_QUEUE_BUSY, false },
		{ "BUSY", ERR_QUEUE_BUSY, false },       { "TRYAGAIN", ERR_QUEUE_BUSY, false },
		{ "OOM", ERR_QUEUE_FULL, false },        { "MISCONF", ERR_QUEUE_FULL, false },
		{ "NOAUTH", ERR_QUEUE_DENIED, true },    { "WRONGPASS", ERR_QUEUE_DENIED, true },
		{ "NOPERM", ERR_QUEUE_DENIED, false },   { "DENIED", ERR_QUEUE_DENIED, false },
	};
	if (starts_with(text, span_lit("ERR max number of clients"))) {
		*ret_reconnect = true; /* Redis closes the connection */
		return ERR_QUEUE_BUSY;
	}
	struct span word = first_word(unwrap(text));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (span_eq_str(word, table[i].word)) {
			*ret_reconnect = table[i].reconnect;
			return table[i].e;
		}
	*ret_reconnect = false;
	return ERR_QUEUE_SCRIPT;
}
