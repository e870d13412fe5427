/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis codec and the decoders of what the scripts answer. The first byte of the input chooses
 * how the rest is cut. Beyond memory errors: however it is cut, the same replies come out and the
 * same error follows, and what the decoders accept keeps what their header says.
 */
#include <stdint.h>
#include <stdlib.h>

#include "queue/queue_reply.h"

#define REPLY_MAX (1 << 20)
#define SHOWN_MAX (8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Everything that a reply says, without ambiguity; reads every byte of it. */
static void show(const struct resp_reply *r, struct buf *out)
{
	buf_add_uint(out, r->type);
	buf_add_str(out, " ");
	buf_add_int(out, r->integer);
	buf_add_str(out, " ");
	buf_add_uint(out, r->text.n);
	buf_add_str(out, " ");
	buf_add_span(out, r->text);
	buf_add_uint(out, r->n);
	buf_add_str(out, "\n");
	check(r->type == RESP_ARRAY || (r->n == 0 && r->at == NULL));
	check(r->n <= RESP_ARRAY_MAX);
	for (size_t i = 0; i < r->n; i++) {
		check(resp_at(r, i) == r->at[i]);
		show(r->at[i], out);
	}
	check(resp_at(r, r->n)->type == RESP_NIL);
}

static bool inside(const struct resp_reply *r, struct span s)
{
	if (s.n == 0)
		return true;
	if (r->text.n > 0 && s.p >= r->text.p && s.p + s.n <= r->text.p + r->text.n)
		return true;
	for (size_t i = 0; i < r->n; i++)
		if (inside(r->at[i], s))
			return true;
	return false;
}

static void decode_take(const struct resp_reply *r)
{
	static struct queue_take_answer a;
	if (queue_reply_take(r, &a) != ERR_OK)
		return;
	check(a.wait_us >= 0);
	check(a.n <= sizeof(a.job) / sizeof(a.job[0]));
	for (size_t i = 0; i < a.n; i++) {
		const struct queue_taken *j = &a.job[i];
		check(j->token.n > 0 && j->token.n <= QUEUE_TOKEN_MAX);
		check(j->sid.n + j->office.n < QUEUE_ID_MAX);
		check(inside(r, j->bytes) && inside(r, j->digest) && inside(r, j->last));
	}
}

static void decode(const struct resp_reply *r)
{
	struct queue_beat_answer beat;
	struct queue_begin_answer begin;
	struct queue_settle_answer settle;
	struct queue_info info;
	bool flag = false;
	int64_t n = 0;
	decode_take(r);
	if (queue_reply_beat(r, &beat) == ERR_OK)
		check(beat.status <= QUEUE_BEAT_VERSION);
	if (queue_reply_begin(r, &begin) == ERR_OK && begin.status == QUEUE_BEGIN_GO)
		check(begin.attempt > 0 && begin.delivery_id.n > 0 && inside(r, begin.delivery_id));
	if (queue_reply_settle(r, &settle) == ERR_OK)
		check(settle.status <= QUEUE_SETTLE_BUG && inside(r, settle.state));
	if (queue_reply_count(r, &flag, &n) == ERR_OK)
		check(!flag || n == 0);
	queue_reply_info(resp_text(r), &info);
	check(inside(r, info.policy) && inside(r, queue_reply_config(r)));
	check(err_class(resp_error(r->text, &flag)) != ERR_CLASS_NONE);
	(void)resp_number(r);
}

static size_t next_cut(uint32_t *state, size_t left)
{
	*state = *state * 1664525U + 1013904223U;
	size_t n = 1 + (*state >> 24) % 61;
	return n < left ? n : left;
}

/* cut 0: all at once. */
static void run(struct span in, uint8_t cut, struct buf *out)
{
	struct resp *r = resp_new(REPLY_MAX);
	uint32_t state = cut;
	enum err e = ERR_OK;
	for (size_t at = 0; at < in.n && e == ERR_OK;) {
		size_t n = cut == 0 ? in.n : next_cut(&state, in.n - at);
		const struct resp_reply *reply = NULL;
		e = resp_feed(r, span_of(in.p + at, n));
		while (e == ERR_OK && (e = resp_next(r, &reply)) == ERR_OK && reply != NULL) {
			show(reply, out);
			decode(reply);
			resp_release(r, reply);
		}
		at += n;
	}
	buf_add_str(out, err_name(e));
	resp_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > REPLY_MAX)
		return 0;
	struct buf whole;
	struct buf parts;
	buf_init(&whole, SHOWN_MAX);
	buf_init(&parts, SHOWN_MAX);
	run(span_of(data + 1, size - 1), 0, &whole);
	run(span_of(data + 1, size - 1), data[0] | 1, &parts);
	check(whole.overflow == parts.overflow);
	check(whole.overflow || span_eq(span_buf(&whole), span_buf(&parts)));
	buf_clear(&whole);
	buf_clear(&parts);
	return 0;
}
