/* SPDX-License-Identifier: Apache-2.0 */
/* What the scripts answer, decoded: every status, replies of another shape, the start-up check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/queue_reply.h"

static struct resp *codec;
static const struct resp_reply *last;

/* The one reply in `text`; valid until the next call. */
static const struct resp_reply *reply(const char *text)
{
	resp_release(codec, last);
	last = NULL;
	assert_int_equal(resp_feed(codec, span_str(text)), ERR_OK);
	assert_int_equal(resp_next(codec, &last), ERR_OK);
	assert_non_null(last);
	return last;
}

static int setup(void **state)
{
	(void)state;
	codec = resp_new(1 << 20);
	last = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	resp_release(codec, last);
	resp_free(codec);
	return 0;
}

/* Replies that no script gives. */
static const char *const odd[] = {
	":1\r\n",
	"+OK\r\n",
	"$-1\r\n",
	"*0\r\n",
	"*1\r\n$-1\r\n",
	"*1\r\n:0\r\n",
	"*1\r\n$3\r\nok?\r\n",
	"*1\r\n*0\r\n",
	"*1\r\n-OK\r\n",
	"*2\r\n$2\r\n0x\r\n:1\r\n",
};

static void test_beat(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum queue_beat_status status;
	} row[] = {
		{ "*1\r\n$6\r\nFENCED\r\n", QUEUE_BEAT_FENCED },
		{ "*2\r\n$5\r\nTAKEN\r\n$3\r\nw/1\r\n", QUEUE_BEAT_TAKEN },
		{ "*1\r\n$4\r\nBUSY\r\n", QUEUE_BEAT_BUSY },
		{ "*2\r\n$7\r\nVERSION\r\n$1\r\n9\r\n", QUEUE_BEAT_VERSION },
	};
	struct queue_beat_answer a = { .status = QUEUE_BEAT_BUSY, .redis_us = 5 };
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(queue_reply_beat(reply(odd[i]), &a), ERR_QUEUE_SCRIPT);
	assert_int_equal(a.status, QUEUE_BEAT_BUSY); /* untouched */
	assert_int_equal(a.redis_us, 5);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		assert_int_equal(queue_reply_beat(reply(row[i].text), &a), ERR_OK);
		assert_int_equal(a.status, row[i].status);
		assert_int_equal(a.redis_us, 0);
	}
	assert_int_equal(queue_reply_beat(reply("*2\r\n$2\r\nOK\r\n$16\r\n1700000000123456\r\n"), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_BEAT_OK);
	assert_int_equal(a.redis_us, 1700000000123456);
	assert_int_equal(a.results, 0); /* of an older script */
}

static void test_beat_counts(void **state)
{
	(void)state;
	struct queue_beat_answer a;
	assert_int_equal(queue_reply_beat(reply("*6\r\n$2\r\nOK\r\n$1\r\n9\r\n:1\r\n:2\r\n$1\r\n3\r\n:4\r\n"), &a),
			 ERR_OK);
	assert_int_equal(a.redis_us, 9);
	assert_int_equal(a.dead, 1);
	assert_int_equal(a.unknown, 2);
	assert_int_equal(a.stuck, 3);
	assert_int_equal(a.results, 4);
	/* Lengths that are none. */
	assert_int_equal(queue_reply_beat(reply("*6\r\n$2\r\nOK\r\n$1\r\n9\r\n:-1\r\n:9223372036854775807\r\n"
						"$1\r\nx\r\n*0\r\n"),
					  &a),
			 ERR_OK);
	assert_int_equal(a.dead, 0);
	assert_int_equal(a.unknown, 0);
	assert_int_equal(a.stuck, 0);
	assert_int_equal(a.results, 0);
}

#define JOB_TAIL                                                                                            \
	"$0\r\n\r\n$2\r\ndd\r\n$8\r\nrejected\r\n$1\r\n7\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n1\r\n$3\r\nDID\r\n" \
	"$8\r\n20260302\r\n$3\r\n111\r\n$3\r\n222\r\n$2\r\n12\r\n$5\r\nreset\r\n$3\r\n503\r\n$5\r\nbytes\r\n"
#define JOB "*18\r\n$3\r\nsid\r\n$5\r\nHCA12\r\n$5\r\nw/1.1\r\n" JOB_TAIL

static void test_take(void **state)
{
	(void)state;
	static struct queue_take_answer a;
	assert_int_equal(queue_reply_take(reply("*3\r\n$3\r\n500\r\n:0\r\n" JOB), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_TAKE_OK);
	assert_int_equal(a.wait_us, 500);
	assert_false(a.full);
	assert_false(a.adopt);
	assert_int_equal(a.n, 1);
	const struct queue_taken *j = &a.job[0];
	assert_true(span_eq_str(j->sid, "sid") && span_eq_str(j->office, "HCA12") && span_eq_str(j->token, "w/1.1"));
	assert_true(span_eq_str(j->why, "") && span_eq_str(j->digest, "dd") && span_eq_str(j->previous, "rejected"));
	assert_true(span_eq_str(j->delivery_id, "DID") && span_eq_str(j->date, "20260302"));
	assert_true(span_eq_str(j->last, "reset") && span_eq_str(j->bytes, "bytes"));
	assert_int_equal(j->generation, 7);
	assert_int_equal(j->attempt, 2);
	assert_int_equal(j->crashes, 3);
	assert_int_equal(j->unknowns, 1);
	assert_int_equal(j->begun_us, 111);
	assert_int_equal(j->first_us, 222);
	assert_int_equal(j->rev, 12);
	assert_int_equal(j->last_status, 503);
}

static void test_take_status(void **state)
{
	(void)state;
	static struct queue_take_answer a;
	assert_int_equal(queue_reply_take(reply("*1\r\n$6\r\nFENCED\r\n"), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_TAKE_FENCED);
	assert_int_equal(queue_reply_take(reply("*1\r\n$4\r\nSKEW\r\n"), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_TAKE_SKEW);
	assert_int_equal(queue_reply_take(reply("*2\r\n:3000\r\n:1\r\n"), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_TAKE_OK);
	assert_int_equal(a.wait_us, 3000);
	assert_true(a.full);
	assert_int_equal(a.n, 0);
	assert_int_equal(queue_reply_take(reply("*2\r\n$2\r\n-5\r\n:0\r\n"), &a), ERR_OK);
	assert_int_equal(a.wait_us, 0);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(queue_reply_take(reply(odd[i]), &a), ERR_QUEUE_SCRIPT);
}

/* Whatever cannot be read is left to ADOPT, and the rest is used. */
static void test_take_adopt(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"*2\r\n$3\r\nERR\r\n$4\r\ntext\r\n",
		":7\r\n",
		"*0\r\n",
		"*17\r\n$3\r\nsid\r\n$5\r\nHCA12\r\n$5\r\nw/"
		"1.1\r\n$0\r\n\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"
		":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
		"*18\r\n$0\r\n\r\n$5\r\nHCA12\r\n$5\r\nw/1.1\r\n" JOB_TAIL,
		"*18\r\n$3\r\nsid\r\n$-1\r\n$5\r\nw/1.1\r\n" JOB_TAIL,
		"*18\r\n$3\r\nsid\r\n$5\r\nHCA12\r\n:5\r\n" JOB_TAIL,
		/* An id of 81 bytes */
		"*18\r\n$75\r\nsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsidsid\r\n"
		"$5\r\nHCA12\r\n$5\r\nw/1.1\r\n" JOB_TAIL,
	};
	static struct queue_take_answer a;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf text;
		buf_init(&text, 4096);
		buf_add_str(&text, "*4\r\n$1\r\n0\r\n:0\r\n");
		buf_add_str(&text, bad[i]);
		buf_add_str(&text, JOB);
		assert_int_equal(queue_reply_take(reply(buf_cstr(&text)), &a), ERR_OK);
		assert_true(a.adopt);
		assert_int_equal(a.n, 1);
		assert_true(span_eq_str(a.job[0].bytes, "bytes"));
		buf_clear(&text);
	}
}

static void test_take_many(void **state)
{
	(void)state;
	static struct queue_take_answer a;
	const size_t room = sizeof(a.job) / sizeof(a.job[0]);
	for (size_t n = room; n <= room + 1; n++) {
		struct buf text;
		buf_init(&text, 1 << 20);
		buf_add_str(&text, "*");
		buf_add_uint(&text, n + 2);
		buf_add_str(&text, "\r\n$1\r\n0\r\n:0\r\n");
		for (size_t i = 0; i < n; i++)
			buf_add_str(&text, JOB);
		assert_int_equal(queue_reply_take(reply(buf_cstr(&text)), &a), ERR_OK);
		assert_int_equal(a.n, room);
		assert_int_equal(a.adopt, n > room);
		buf_clear(&text);
	}
}

/* Numbers that do not fit are 0, never a wrapped small or huge count. */
static void test_take_numbers(void **state)
{
	(void)state;
	static struct queue_take_answer a;
	const char *text =
		"*3\r\n$1\r\n0\r\n:0\r\n*18\r\n$3\r\nsid\r\n$5\r\nHCA12\r\n$5\r\nw/1.1\r\n"
		"$0\r\n\r\n$2\r\ndd\r\n$0\r\n\r\n$2\r\n-1\r\n$2\r\n-2\r\n$10\r\n4294967296\r\n$1\r\nx\r\n$-1\r\n"
		"$-1\r\n$0\r\n\r\n$19\r\n9223372036854775808\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n";
	assert_int_equal(queue_reply_take(reply(text), &a), ERR_OK);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.job[0].generation, -1);
	assert_int_equal(a.job[0].attempt, 0);
	assert_int_equal(a.job[0].crashes, 0);
	assert_int_equal(a.job[0].unknowns, 0);
	assert_int_equal(a.job[0].first_us, 0);
	assert_int_equal(a.job[0].delivery_id.n, 0);
	assert_int_equal(a.job[0].bytes.n, 0);
}

static void test_begin(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum queue_begin_status status;
	} row[] = {
		{ "*2\r\n$5\r\nSTALE\r\n$4\r\nwait\r\n", QUEUE_BEGIN_STALE },
		{ "*1\r\n$9\r\nCANCELLED\r\n", QUEUE_BEGIN_CANCELLED },
		{ "*2\r\n$5\r\nCLOSE\r\n$7\r\nexpired\r\n", QUEUE_BEGIN_CLOSE },
		{ "*2\r\n$4\r\nHELD\r\n$3\r\n500\r\n", QUEUE_BEGIN_HELD },
		{ "*1\r\n$6\r\nOLDGEN\r\n", QUEUE_BEGIN_OLDGEN },
		{ "*1\r\n$4\r\nSKEW\r\n", QUEUE_BEGIN_SKEW },
	};
	/* A GO that does not say what to send. */
	static const char *const no_go[] = {
		"*1\r\n$2\r\nGO\r\n",
		"*5\r\n$2\r\nGO\r\n$3\r\nDID\r\n$8\r\n20260302\r\n:1\r\n:0\r\n",
		"*6\r\n$2\r\nGO\r\n$-1\r\n$8\r\n20260302\r\n:1\r\n:0\r\n:9\r\n",
		"*6\r\n$2\r\nGO\r\n$3\r\nDID\r\n$0\r\n\r\n:1\r\n:0\r\n:9\r\n",
		"*6\r\n$2\r\nGO\r\n$3\r\nDID\r\n$8\r\n20260302\r\n:0\r\n:0\r\n:9\r\n",
		"*6\r\n$2\r\nGO\r\n$3\r\nDID\r\n$8\r\n20260302\r\n$1\r\nx\r\n:0\r\n:9\r\n",
	};
	struct queue_begin_answer a = { .attempt = 77 };
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(queue_reply_begin(reply(odd[i]), &a), ERR_QUEUE_SCRIPT);
	for (size_t i = 0; i < sizeof(no_go) / sizeof(no_go[0]); i++)
		assert_int_equal(queue_reply_begin(reply(no_go[i]), &a), ERR_QUEUE_SCRIPT);
	assert_int_equal(a.attempt, 77); /* untouched */
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		assert_int_equal(queue_reply_begin(reply(row[i].text), &a), ERR_OK);
		assert_int_equal(a.status, row[i].status);
		assert_int_equal(a.delivery_id.n, 0);
	}
	const char *go = "*6\r\n$2\r\nGO\r\n$3\r\nDID\r\n$8\r\n20260302\r\n$1\r\n3\r\n:2\r\n$3\r\n999\r\n";
	assert_int_equal(queue_reply_begin(reply(go), &a), ERR_OK);
	assert_int_equal(a.status, QUEUE_BEGIN_GO);
	assert_true(span_eq_str(a.delivery_id, "DID") && span_eq_str(a.date, "20260302"));
	assert_int_equal(a.attempt, 3);
	assert_int_equal(a.unknowns, 2);
	assert_int_equal(a.begun_us, 999);
}

static void test_settle(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum queue_settle_status status;
	} row[] = {
		{ "*3\r\n$2\r\nOK\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_OK },
		{ "*3\r\n$4\r\nLATE\r\n$8\r\naccepted\r\n:4\r\n", QUEUE_SETTLE_LATE },
		{ "*3\r\n$3\r\nDUP\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_DUP },
		{ "*3\r\n$5\r\nSTALE\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_STALE },
		{ "*3\r\n$8\r\nNOTBEGUN\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_BUG },
		{ "*3\r\n$5\r\nBEGUN\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_BUG },
		{ "*3\r\n$7\r\nBADVERB\r\n$8\r\naccepted\r\n$1\r\n4\r\n", QUEUE_SETTLE_BUG },
	};
	struct queue_settle_answer a = { .rev = 0 };
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(queue_reply_settle(reply(odd[i]), &a), ERR_QUEUE_SCRIPT);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		assert_int_equal(queue_reply_settle(reply(row[i].text), &a), ERR_OK);
		assert_int_equal(a.status, row[i].status);
		assert_true(span_eq_str(a.state, "accepted"));
		assert_int_equal(a.rev, 4);
	}
	assert_int_equal(queue_reply_settle(reply("*1\r\n$5\r\nSTALE\r\n"), &a), ERR_OK);
	assert_int_equal(a.state.n, 0);
	assert_int_equal(a.rev, 0);
	assert_int_equal(a.n_breakers, 0);
}

#define SETTLED "$2\r\nOK\r\n$5\r\nlater\r\n:4\r\n"

static void test_settle_breakers(void **state)
{
	(void)state;
	/* Each beside a good one; what cannot be read is left out. */
	static const char *const bad[] = {
		"$5\r\nhouse\r\n$4\r\nhalf\r\n:7\r\n", "$4\r\nHCA1\r\n$4\r\nopen\r\n:7\r\n",
		"$5\r\nH A12\r\n$4\r\nopen\r\n:7\r\n", "$6\r\nHCA123\r\n$6\r\nclosed\r\n:7\r\n",
		"$0\r\n\r\n$4\r\nopen\r\n:7\r\n",      "$5\r\nhouse\r\n:1\r\n:7\r\n",
		"*0\r\n$4\r\nopen\r\n:7\r\n",
	};
	struct queue_settle_answer a;
	assert_int_equal(queue_reply_settle(reply("*9\r\n" SETTLED "$5\r\nhouse\r\n$4\r\nopen\r\n$2\r\n77\r\n"
						  "$5\r\nHCA12\r\n$6\r\nclosed\r\n:0\r\n"),
					    &a),
			 ERR_OK);
	assert_int_equal(a.n_breakers, 2);
	assert_true(span_eq_str(a.breaker[0].what, "house") && a.breaker[0].open);
	assert_int_equal(a.breaker[0].until_us, 77);
	assert_true(span_eq_str(a.breaker[1].what, "HCA12") && !a.breaker[1].open);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf text;
		buf_init(&text, 4096);
		buf_add_str(&text, "*9\r\n" SETTLED);
		buf_add_str(&text, bad[i]);
		buf_add_str(&text, "$6\r\nsenate\r\n$4\r\nopen\r\n:-5\r\n");
		assert_int_equal(queue_reply_settle(reply(buf_cstr(&text)), &a), ERR_OK);
		assert_int_equal(a.n_breakers, 1);
		assert_true(span_eq_str(a.breaker[0].what, "senate"));
		assert_int_equal(a.breaker[0].until_us, 0);
		buf_clear(&text);
	}
	/* Cut short; more than there is room for. */
	assert_int_equal(queue_reply_settle(reply("*5\r\n" SETTLED "$5\r\nhouse\r\n$4\r\nopen\r\n"), &a), ERR_OK);
	assert_int_equal(a.n_breakers, 0);
	struct buf many;
	buf_init(&many, 4096);
	buf_add_str(&many, "*18\r\n" SETTLED);
	for (int i = 0; i < 5; i++)
		buf_add_str(&many, "$5\r\nhouse\r\n$4\r\nopen\r\n:1\r\n");
	assert_int_equal(queue_reply_settle(reply(buf_cstr(&many)), &a), ERR_OK);
	assert_int_equal(a.n_breakers, QUEUE_BREAKERS_MAX);
	buf_clear(&many);
}

static void test_wait(void **state)
{
	(void)state;
	static const char *const bad[] = { "+OK\r\n", "$1\r\n1\r\n", ":-1\r\n", ":9223372036854775807\r\n",
					   "*0\r\n",  "$-1\r\n" };
	int64_t n = 99;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(queue_reply_wait(reply(bad[i]), &n), ERR_QUEUE_SCRIPT);
	assert_int_equal(n, 99); /* untouched */
	assert_int_equal(queue_reply_wait(reply(":0\r\n"), &n), ERR_OK);
	assert_int_equal(n, 0);
	assert_int_equal(queue_reply_wait(reply(":3\r\n"), &n), ERR_OK);
	assert_int_equal(n, 3);
}

static void test_count(void **state)
{
	(void)state;
	bool fenced = true;
	int64_t n = 99;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(queue_reply_count(reply(odd[i]), &fenced, &n), ERR_QUEUE_SCRIPT);
	assert_true(fenced);
	assert_int_equal(n, 99);
	assert_int_equal(queue_reply_count(reply("*2\r\n$2\r\nOK\r\n:3\r\n"), &fenced, &n), ERR_OK);
	assert_false(fenced);
	assert_int_equal(n, 3);
	assert_int_equal(queue_reply_count(reply("*1\r\n$6\r\nFENCED\r\n"), &fenced, &n), ERR_OK);
	assert_true(fenced);
	assert_int_equal(n, 0);
	assert_int_equal(queue_reply_count(reply("*1\r\n$4\r\nSKEW\r\n"), &fenced, &n), ERR_OK);
	assert_false(fenced);
	assert_int_equal(n, -1);
}

static void check_info(const char *text, unsigned major, unsigned minor, bool replica, bool loading, const char *policy)
{
	struct queue_info i;
	queue_reply_info(span_str(text), &i);
	assert_int_equal(i.major, major);
	assert_int_equal(i.minor, minor);
	assert_int_equal(i.replica, replica);
	assert_int_equal(i.loading, loading);
	assert_true(span_eq_str(i.policy, policy));
}

static void test_info(void **state)
{
	(void)state;
	check_info("# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n"
		   "# Persistence\r\nloading:0\r\nasync_loading:1\r\n# Replication\r\nrole:master\r\n",
		   7, 0, false, false, "noeviction");
	check_info("redis_version:6.2.14\r\nrole:slave\r\nloading:1\r\nmaxmemory_policy:allkeys-lru", 6, 2, true, true,
		   "allkeys-lru");
	check_info("", 0, 0, false, false, "");
	check_info("redis_version\r\nrole:\r\nxrole:slave\r\nloading:10\r\n", 0, 0, false, false, "");
	check_info("redis_version:255.255.255\r\n", 255, 255, false, false, "");
	check_info("redis_version:7-rc1.9\nloading:1\n", 7, 0, false, true, "");
	check_info("redis_version:99999999999999999999.5\n", 999999, 0, false, false, "");
	check_info("redis_version:unstable\n", 0, 0, false, false, "");
}

static void test_config(void **state)
{
	(void)state;
	assert_true(span_eq_str(queue_reply_config(reply("*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n")),
				"noeviction"));
	assert_int_equal(queue_reply_config(reply("*0\r\n")).n, 0);
	assert_int_equal(queue_reply_config(reply("-NOPERM no\r\n")).n, 0);
	assert_int_equal(queue_reply_config(reply("$-1\r\n")).n, 0);
}

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(queue_beat_word(QUEUE_JOIN), "join");
	assert_string_equal(queue_beat_word(QUEUE_REJOIN), "rejoin");
	assert_string_equal(queue_beat_word(QUEUE_BEAT), "beat");
	assert_string_equal(queue_beat_word(QUEUE_LEAVE), "leave");
	static const char *const words[] = { "end",     "retry", "unknown", "throttled", "not_sent",
					     "release", "defer", "live",    "refused",   "conflict" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_string_equal(queue_verb_word((enum queue_verb)i), words[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beat),        cmocka_unit_test(test_take),
		cmocka_unit_test(test_take_status), cmocka_unit_test(test_take_adopt),
		cmocka_unit_test(test_take_many),   cmocka_unit_test(test_take_numbers),
		cmocka_unit_test(test_begin),       cmocka_unit_test(test_settle),
		cmocka_unit_test(test_count),       cmocka_unit_test(test_info),
		cmocka_unit_test(test_config),      cmocka_unit_test(test_words),
		cmocka_unit_test(test_beat_counts), cmocka_unit_test(test_settle_breakers),
		cmocka_unit_test(test_wait),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
