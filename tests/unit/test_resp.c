/* SPDX-License-Identifier: Apache-2.0 */
/* The RESP codec: every type, every split, malformed and outsized input, the table of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "queue/resp.h"

#define MAX 4096

/* Renders a reply in one line, so that a test compares text. */
static void show(const struct resp_reply *r, struct buf *out)
{
	static const char sign[] = { '+', '-', ':', '$', '_', '*' };
	buf_add_byte(out, (uint8_t)sign[r->type]);
	if (r->type == RESP_INTEGER)
		buf_add_int(out, r->integer);
	buf_add_span(out, r->text);
	if (r->type != RESP_ARRAY)
		return;
	for (size_t i = 0; i < r->n; i++) {
		buf_add_str(out, i == 0 ? "(" : ",");
		show(r->at[i], out);
	}
	buf_add_str(out, r->n == 0 ? "()" : ")");
}

/* Feeds in pieces of `step` bytes; all replies rendered, one per line, or the error's name. */
static void run(struct span in, size_t step, size_t max, struct buf *out)
{
	struct resp *r = resp_new(max);
	enum err e = ERR_OK;
	for (size_t at = 0; at < in.n && e == ERR_OK; at += step) {
		e = resp_feed(r, span_of(in.p + at, in.n - at < step ? in.n - at : step));
		const struct resp_reply *reply = NULL;
		while (e == ERR_OK && (e = resp_next(r, &reply)) == ERR_OK && reply != NULL) {
			show(reply, out);
			buf_add_str(out, "\n");
			resp_release(r, reply);
		}
	}
	if (e != ERR_OK) {
		buf_add_str(out, err_name(e));
		const struct resp_reply *reply = NULL;
		assert_int_equal(resp_next(r, &reply), ERR_PROTOCOL);
		assert_int_equal(resp_feed(r, span_lit("+OK\r\n")), ERR_PROTOCOL);
		assert_null(reply);
	}
	resp_free(r);
}

static void expect_max(struct span in, size_t max, const char *want)
{
	for (size_t step = 1; step <= in.n; step++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		run(in, step, max, &out);
		assert_string_equal(buf_cstr(&out), want);
		buf_clear(&out);
	}
}

#define EXPECT(in, want) expect_max(span_lit(in), MAX, want)

static void test_types(void **state)
{
	(void)state;
	EXPECT("+OK\r\n", "+OK\n");
	EXPECT("+\r\n", "+\n");
	EXPECT("-ERR no\r\n", "-ERR no\n");
	EXPECT(":0\r\n", ":0\n");
	EXPECT(":-9223372036854775808\r\n", ":-9223372036854775808\n");
	EXPECT(":9223372036854775807\r\n", ":9223372036854775807\n");
	EXPECT("$3\r\nabc\r\n", "$abc\n");
	EXPECT("$0\r\n\r\n", "$\n");
	EXPECT("$-1\r\n", "_\n");
	EXPECT("*-1\r\n", "_\n");
	EXPECT("*0\r\n", "*()\n");
	EXPECT("*3\r\n:1\r\n$-1\r\n$1\r\nx\r\n", "*(:1,_,$x)\n");
	EXPECT("$8\r\na\r\nb\r\n\r\n\r\n", "$a\r\nb\r\n\r\n\n");
}

static void test_pipelined(void **state)
{
	(void)state;
	EXPECT("+a\r\n*2\r\n*1\r\n:5\r\n*0\r\n-E\r\n$2\r\nzz\r\n:7\r\n", "+a\n*(*(:5),*())\n-E\n$zz\n:7\n");
}

static void test_depth(void **state)
{
	(void)state;
	EXPECT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "*(*(*(*(*(*(*(*(:1))))))))\n");
	EXPECT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "protocol");
	EXPECT("*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n$1\r\nq\r\n", "*(*(:1,:2),*($q))\n");
}

static void test_malformed(void **state)
{
	(void)state;
	EXPECT("x\r\n", "protocol");
	EXPECT("\r\n", "protocol");
	EXPECT("%1\r\n+a\r\n+b\r\n", "protocol");
	EXPECT(":\r\n", "protocol");
	EXPECT(":1a\r\n", "protocol");
	EXPECT(":9223372036854775808\r\n", "protocol");
	EXPECT("$-2\r\n", "protocol");
	EXPECT("$x\r\n", "protocol");
	EXPECT("$99999999999999999999\r\n", "protocol");
	EXPECT("$3\r\nabcXY", "protocol");
	EXPECT("$3\r\nabc\rY", "protocol");
	EXPECT("$3\r\nabcX\n", "protocol");
	EXPECT("*-2\r\n", "protocol");
	EXPECT("*x\r\n", "protocol");
	EXPECT("*2\r\n:1\r\n$1\r\nabc\r\n", "protocol");
	EXPECT("+OK\r\n*1\r\n?", "+OK\nprotocol");
}

static void test_huge(void **state)
{
	(void)state;
	EXPECT("*65537\r\n", "protocol");
	EXPECT("*2147483647\r\n", "protocol");
	EXPECT("*4294967297\r\n", "protocol");
	EXPECT("*1\r\n*10000000\r\n", "protocol");
	/* Announced, and not sent: nothing to answer, and nothing taken. */
	EXPECT("*65536\r\n*65536\r\n*65536\r\n:1\r\n", "");
	EXPECT("$9999999999\r\nabc", "");
}

static void test_cap(void **state)
{
	(void)state;
	expect_max(span_lit("$10\r\n0123456789\r\n"), 17, "$0123456789\n");
	expect_max(span_lit("$10\r\n0123456789\r\n"), 16, "protocol");
	expect_max(span_lit("$9999999999\r\n0123456789"), 16, "protocol");
	expect_max(span_lit("+0123456789abcdefgh"), 16, "protocol");
	expect_max(span_lit("*9\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"), 16, "protocol");
	/* Each reply alone counts, however many come together. */
	expect_max(span_lit(":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n"), 16, ":1\n:2\n:3\n:4\n:5\n:6\n");
	expect_max(span_lit("*3\r\n:2\r\n:3\r\n:4\r\n:1\r\n"), 16, "*(:2,:3,:4)\n:1\n");
}

static void test_feed_cap(void **state)
{
	(void)state;
	static uint8_t x[RESP_FEED_MAX];
	memset(x, '$', sizeof(x));
	struct resp *r = resp_new(100);
	assert_int_equal(resp_feed(r, span_of(x, sizeof(x))), ERR_OK);
	assert_int_equal(resp_feed(r, span_of(x, 0)), ERR_OK);
	assert_int_equal(resp_feed(r, span_of(x, 100)), ERR_OK);
	assert_int_equal(resp_feed(r, span_of(x, 1)), ERR_PROTOCOL);
	resp_free(r);
	resp_free(NULL);
}

/* A bulk of 1 MB in pieces, again and again: the buffer grows, is wiped and is given back. */
static void test_large(void **state)
{
	(void)state;
	enum { N = 1 << 20 };
	struct buf in;
	buf_init(&in, N + 64);
	buf_add_str(&in, "*2\r\n$1048576\r\n");
	for (size_t i = 0; i < N; i++)
		buf_add_byte(&in, (uint8_t)(i * 7));
	buf_add_str(&in, "\r\n:42\r\n");
	struct resp *r = resp_new(N + 64);
	for (size_t pass = 0; pass < 3; pass++) {
		const struct resp_reply *reply = NULL;
		for (size_t at = 0; at < in.n; at += 65536) {
			assert_null(reply);
			size_t n = in.n - at < 65536 ? in.n - at : 65536;
			assert_int_equal(resp_feed(r, span_of(in.p + at, n)), ERR_OK);
			assert_int_equal(resp_next(r, &reply), ERR_OK);
		}
		assert_non_null(reply);
		assert_int_equal(resp_text(resp_at(reply, 0)).n, N);
		assert_memory_equal(resp_text(resp_at(reply, 0)).p, in.p + 14, N);
		assert_int_equal(resp_number(resp_at(reply, 1)), 42);
		resp_release(r, reply);
	}
	resp_free(r);
	buf_clear(&in);
}

static void test_many_elements(void **state)
{
	(void)state;
	struct buf in;
	buf_init(&in, 1 << 20);
	buf_add_str(&in, "*65536\r\n");
	for (unsigned i = 0; i < 65536; i++) {
		buf_add_str(&in, ":");
		buf_add_uint(&in, i);
		buf_add_str(&in, "\r\n");
	}
	struct resp *r = resp_new(1 << 20);
	const struct resp_reply *reply = NULL;
	assert_int_equal(resp_feed(r, span_buf(&in)), ERR_OK);
	assert_int_equal(resp_next(r, &reply), ERR_OK);
	assert_int_equal(reply->n, 65536);
	for (size_t i = 0; i < reply->n; i++)
		assert_int_equal(resp_number(resp_at(reply, i)), i);
	resp_release(r, reply);
	resp_release(r, NULL);
	resp_free(r);
	buf_clear(&in);
}

/* A reply outlives later input, and the codec itself. */
static void test_reply_stays(void **state)
{
	(void)state;
	struct resp *r = resp_new(MAX);
	const struct resp_reply *first = NULL;
	const struct resp_reply *second = NULL;
	assert_int_equal(resp_feed(r, span_lit("$3\r\nabc\r\n")), ERR_OK);
	assert_int_equal(resp_next(r, &first), ERR_OK);
	assert_int_equal(resp_feed(r, span_lit("$3\r\nxyz\r\n")), ERR_OK);
	assert_int_equal(resp_next(r, &second), ERR_OK);
	resp_free(r);
	assert_true(span_eq_str(resp_text(first), "abc"));
	assert_true(span_eq_str(resp_text(second), "xyz"));
	resp_release(NULL, first);
	resp_release(NULL, second);
}

static void test_command(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 64);
	struct span argv[] = { span_lit("SET"), span_lit("a\0b"), { NULL, 0 }, span_lit("\r\n") };
	resp_command(&out, argv, 4);
	struct span want = span_lit("*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
	assert_int_equal(buf_ok(&out), ERR_OK);
	assert_true(span_eq(span_buf(&out), want));
	resp_command(&out, argv, 4); /* does not fit */
	assert_int_equal(buf_ok(&out), ERR_LIMIT);
	assert_true(span_eq(span_buf(&out), want));
	buf_clear(&out);
}

/* A command is an array of bulks: what the formatter writes, the reader reads. */
static void test_round_trip(void **state)
{
	(void)state;
	uint8_t all[256];
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	struct buf out;
	buf_init(&out, MAX);
	struct span argv[] = { span_lit("EVALSHA"), span_of(all, sizeof(all)), span_lit("") };
	resp_command(&out, argv, 3);
	struct resp *r = resp_new(MAX);
	const struct resp_reply *reply = NULL;
	assert_int_equal(resp_feed(r, span_buf(&out)), ERR_OK);
	assert_int_equal(resp_next(r, &reply), ERR_OK);
	assert_int_equal(reply->n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(span_eq(resp_text(resp_at(reply, i)), argv[i]));
	resp_release(r, reply);
	resp_free(r);
	buf_clear(&out);
}

static void test_access(void **state)
{
	(void)state;
	struct resp *r = resp_new(MAX);
	const struct resp_reply *a = NULL;
	assert_int_equal(resp_feed(r, span_lit("*7\r\n+17\r\n$3\r\n-18\r\n:19\r\n-20\r\n$-1\r\n$3\r\n1x2\r\n"
					       "$20\r\n99999999999999999999\r\n")),
			 ERR_OK);
	assert_int_equal(resp_next(r, &a), ERR_OK);
	assert_int_equal(resp_number(resp_at(a, 0)), 17);
	assert_int_equal(resp_number(resp_at(a, 1)), -18);
	assert_int_equal(resp_number(resp_at(a, 2)), 19);
	assert_int_equal(resp_number(resp_at(a, 3)), 0); /* an error is no number */
	assert_int_equal(resp_number(resp_at(a, 4)), 0);
	assert_int_equal(resp_number(resp_at(a, 5)), 0);
	assert_int_equal(resp_number(resp_at(a, 6)), 0);
	assert_int_equal(resp_number(a), 0);
	assert_int_equal(resp_text(resp_at(a, 2)).n, 0);
	assert_int_equal(resp_text(resp_at(a, 3)).n, 0);
	assert_int_equal(resp_at(a, 7)->type, RESP_NIL);
	assert_int_equal(resp_at(resp_at(a, 0), 0)->type, RESP_NIL);
	resp_release(r, a);
	resp_free(r);
}

static void test_errors(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum err e;
		bool reconnect;
	} row[] = {
		{ "READONLY You can't write against a read only replica.", ERR_QUEUE_BUSY, true },
		{ "UNBLOCKED force unblock from blocking operation", ERR_QUEUE_BUSY, true },
		{ "MASTERDOWN Link with MASTER is down", ERR_QUEUE_BUSY, true },
		{ "MOVED 3999 127.0.0.1:6381", ERR_QUEUE_BUSY, true },
		{ "ASK 3999 127.0.0.1:6381", ERR_QUEUE_BUSY, true },
		{ "CLUSTERDOWN The cluster is down", ERR_QUEUE_BUSY, true },
		{ "NOREPLICAS Not enough good replicas to write.", ERR_QUEUE_BUSY, false },
		{ "LOADING Redis is loading the dataset in memory", ERR_QUEUE_BUSY, false },
		{ "BUSY Redis is busy running a script.", ERR_QUEUE_BUSY, false },
		{ "TRYAGAIN Multiple keys request", ERR_QUEUE_BUSY, false },
		{ "OOM command not allowed when used memory > 'maxmemory'.", ERR_QUEUE_FULL, false },
		{ "MISCONF Redis is configured to save RDB snapshots", ERR_QUEUE_FULL, false },
		{ "NOAUTH Authentication required.", ERR_QUEUE_DENIED, true },
		{ "WRONGPASS invalid username-password pair", ERR_QUEUE_DENIED, true },
		{ "NOPERM this user has no permissions", ERR_QUEUE_DENIED, false },
		{ "DENIED Redis is running in protected mode", ERR_QUEUE_DENIED, false },
		{ "ERR Error running script (call to f_ab): @user_script:1: @user_script: 1: -OOM command not allowed",
		  ERR_QUEUE_FULL, false },
		{ "ERR Error running script (call to f_ab): @user_script:1: @user_script: 1: -READONLY You can't",
		  ERR_QUEUE_BUSY, true },
		{ "ERR Error running script (call to f_ab): user_script:9: attempt to index", ERR_QUEUE_SCRIPT, false },
		{ "ERR unknown: -READONLY", ERR_QUEUE_SCRIPT, false },
		{ "NOSCRIPT No matching script.", ERR_QUEUE_SCRIPT, false },
		{ "WRONGTYPE Operation against a key", ERR_QUEUE_SCRIPT, false },
		{ "ERR max number of clients reached", ERR_QUEUE_BUSY, true },
		{ "ERR max", ERR_QUEUE_SCRIPT, false },
		{ "READONLYX", ERR_QUEUE_SCRIPT, false },
		{ "ERR READONLY", ERR_QUEUE_SCRIPT, false },
		{ "OOM\r\n", ERR_QUEUE_FULL, false },
		{ "OOM", ERR_QUEUE_FULL, false },
		{ "", ERR_QUEUE_SCRIPT, false },
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		bool reconnect = !row[i].reconnect;
		assert_int_equal(resp_error(span_str(row[i].text), &reconnect), row[i].e);
		assert_int_equal(reconnect, row[i].reconnect);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),         cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_depth),         cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_huge),          cmocka_unit_test(test_cap),
		cmocka_unit_test(test_feed_cap),      cmocka_unit_test(test_large),
		cmocka_unit_test(test_many_elements), cmocka_unit_test(test_reply_stays),
		cmocka_unit_test(test_command),       cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_access),        cmocka_unit_test(test_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
