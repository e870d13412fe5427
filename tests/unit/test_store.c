/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what is in it, and fetching it over real sockets on loopback and in a temporary directory. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/base/cbor.h"
#include "worker/base/clock.h"
#include "worker/store.h"

#define assert_err(e, expected) assert_string_equal(err_name(e), err_name(expected))

/* --- the sequence ----------------------------------------------------------------------------- */

static void add_item(struct buf *b, const char *text, size_t members)
{
	cbor_add_array(b, members);
	cbor_add_str(b, text);
	for (size_t i = 1; i < members; i++)
		cbor_add_bytes(b, span_lit("bytes"));
}

static void add_bundle(struct buf *b)
{
	add_item(b, "cwc-bundle-v1", 5);
}

static void add_secret(struct buf *b)
{
	add_item(b, "cwc-secret-v1", 4);
}

static void test_empty(void **state)
{
	(void)state;
	struct store_items items = { .n_secrets = 7 };
	assert_err(store_parse((struct span){ 0 }, &items), ERR_OK);
	assert_int_equal(items.n_secrets, 0);
	assert_int_equal(items.bundle.n, 0);
}

static void test_any_order(void **state)
{
	(void)state;
	struct store_items items;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_secret(&b);
	size_t first = b.n;
	add_bundle(&b);
	size_t second = b.n;
	add_secret(&b);
	assert_err(store_parse(span_buf(&b), &items), ERR_OK);
	assert_int_equal(items.n_secrets, 2);
	assert_ptr_equal(items.secret[0].p, b.p);
	assert_int_equal(items.secret[0].n, first);
	assert_ptr_equal(items.bundle.p, b.p + first);
	assert_int_equal(items.bundle.n, second - first);
	assert_ptr_equal(items.secret[1].p, b.p + second);
	assert_int_equal(items.secret[1].n, b.n - second);
	buf_clear(&b);
}

static enum err parse(struct buf *b)
{
	struct store_items items = { .n_secrets = 99 };
	enum err e = store_parse(span_buf(b), &items);
	if (e != ERR_OK)
		assert_int_equal(items.n_secrets, 99); /* nothing is written */
	buf_reset(b);
	return e;
}

static void test_other_items(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_item(&b, "cwc-bundle-v1", 4);
	assert_err(parse(&b), ERR_SYNTAX);
	add_item(&b, "cwc-secret-v1", 5);
	assert_err(parse(&b), ERR_SYNTAX);
	add_item(&b, "cwc-bundle-v2", 5);
	assert_err(parse(&b), ERR_SYNTAX);
	add_item(&b, "cwc-secret-v1", 6);
	assert_err(parse(&b), ERR_SYNTAX);
	cbor_add_array(&b, 0);
	assert_err(parse(&b), ERR_SYNTAX);
	cbor_add_str(&b, "cwc-secret-v1");
	assert_err(parse(&b), ERR_SYNTAX);
	add_secret(&b);
	cbor_add_uint(&b, 1);
	assert_err(parse(&b), ERR_SYNTAX);
	add_bundle(&b);
	add_bundle(&b);
	assert_err(parse(&b), ERR_SYNTAX);
	buf_clear(&b);
}

static void test_every_cut(void **state)
{
	(void)state;
	struct store_items items;
	struct buf b;
	buf_init(&b, STORE_MAX);
	add_secret(&b);
	size_t end = b.n;
	add_bundle(&b);
	for (size_t n = 1; n < b.n; n++)
		assert_err(store_parse(span_of(b.p, n), &items), n == end ? ERR_OK : ERR_SYNTAX);
	buf_clear(&b);
}

static void test_limits(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, STORE_MAX + 1);
	for (int i = 0; i < STORE_ITEMS_MAX; i++)
		add_secret(&b);
	struct store_items items;
	assert_err(store_parse(span_buf(&b), &items), ERR_OK);
	assert_int_equal(items.n_secrets, STORE_ITEMS_MAX);
	add_secret(&b);
	assert_err(parse(&b), ERR_LIMIT);
	memset(buf_room(&b, STORE_MAX + 1), 0, STORE_MAX + 1);
	buf_grew(&b, STORE_MAX + 1);
	assert_err(parse(&b), ERR_LIMIT);
	buf_clear(&b);
}

/* --- fetching --------------------------------------------------------------------------------- */

static uv_loop_t loop;
static char folder[] = "/tmp/test-store-XXXXXX";

/* The other side: sends `bytes` to whoever connects, in pieces, and then does what `end` says. */
enum end { END_CLOSE, END_RESET, END_STAY };
static struct peer {
	int listener;
	uv_poll_t poll;
	struct span bytes;
	enum end end;
	int fd;
	uv_idle_t idle;
	int turns; /* of the loop, until it resets: the client has read by then */
} peer;

static struct result {
	bool called;
	enum err e;
	struct buf bytes;
} result;

static void on_turn(uv_idle_t *idle)
{
	const struct linger now = { .l_onoff = 1 };
	if (--peer.turns > 0)
		return;
	assert_int_equal(setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	close(peer.fd);
	peer.fd = -1;
	uv_close((uv_handle_t *)idle, NULL);
}

static void finish_peer(void)
{
	if (peer.end == END_STAY)
		return;
	if (peer.end == END_RESET) {
		peer.turns = 20;
		uv_idle_init(&loop, &peer.idle);
		uv_idle_start(&peer.idle, on_turn);
		return;
	}
	close(peer.fd);
	peer.fd = -1;
}

static void on_peer(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	peer.fd = accept(peer.listener, NULL, NULL);
	assert_true(peer.fd >= 0);
	int size = 1 << 20;
	setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	/* What the client does not take any more is dropped. */
	if (peer.bytes.n > 0)
		(void)!send(peer.fd, peer.bytes.p, peer.bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	finish_peer();
	uv_close((uv_handle_t *)p, NULL);
}

static struct addr parse_addr(const char *text)
{
	struct addr a;
	const char *rule;
	assert_err(addr_parse(span_str(text), &a, &rule), ERR_OK);
	return a;
}

static struct addr serve(const char *text, struct span bytes, enum end end)
{
	struct addr a = parse_addr(text);
	struct sockaddr_in sa;
	socklen_t n = sizeof sa;
	peer = (struct peer){ .bytes = bytes, .end = end, .fd = -1 };
	assert_err(addr_listen(&a, 8, &peer.listener), ERR_OK);
	if (a.kind == ADDR_TCP) {
		assert_int_equal(getsockname(peer.listener, (struct sockaddr *)&sa, &n), 0);
		a.port = ntohs(sa.sin_port);
	}
	assert_int_equal(uv_poll_init(&loop, &peer.poll, peer.listener), 0);
	uv_poll_start(&peer.poll, UV_READABLE, on_peer);
	return a;
}

static void on_fetched(void *arg, enum err e, struct span bytes)
{
	assert_ptr_equal(arg, &result);
	assert_false(result.called);
	result.called = true;
	result.e = e;
	buf_reset(&result.bytes);
	buf_add_span(&result.bytes, bytes);
	if (peer.fd >= 0)
		close(peer.fd);
	peer.fd = -1;
}

/* Runs until all handles are gone: each must be closed by then. */
static void fetch(const struct addr *a)
{
	result.called = false;
	buf_reset(&result.bytes);
	assert_non_null(store_fetch(&loop, a, on_fetched, &result));
	assert_false(result.called);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_true(result.called);
	close(peer.listener);
}

static uint8_t much[STORE_MAX + 1];

static void test_fetch(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof path, "unix:%s/store", folder);
	const char *const addresses[] = { "tcp:127.0.0.1:0", path, "unix:@test-store" };
	for (size_t i = 0; i < 3; i++) {
		struct addr a = serve(addresses[i], span_lit("all of it"), END_CLOSE);
		fetch(&a);
		assert_err(result.e, ERR_OK);
		assert_true(span_eq_str(span_buf(&result.bytes), "all of it"));
	}
	struct addr a = serve("tcp:127.0.0.1:0", (struct span){ 0 }, END_CLOSE);
	fetch(&a);
	assert_err(result.e, ERR_OK);
	assert_int_equal(result.bytes.n, 0);
}

static void test_fetch_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof much; i++)
		much[i] = (uint8_t)(i * 31);
	struct addr a = serve("tcp:127.0.0.1:0", span_of(much, STORE_MAX), END_CLOSE);
	fetch(&a);
	assert_err(result.e, ERR_OK);
	assert_true(span_eq(span_buf(&result.bytes), span_of(much, STORE_MAX)));
	a = serve("tcp:127.0.0.1:0", span_of(much, STORE_MAX + 1), END_CLOSE);
	fetch(&a);
	assert_err(result.e, ERR_LIMIT);
	assert_int_equal(result.bytes.n, 0);
}

static void test_fetch_fails(void **state)
{
	(void)state;
	struct addr a = serve("tcp:127.0.0.1:0", span_lit("half of it"), END_RESET);
	fetch(&a);
	assert_err(result.e, ERR_IO);
	assert_int_equal(result.bytes.n, 0);

	char path[64];
	snprintf(path, sizeof path, "unix:%s/nobody", folder);
	a = parse_addr(path);
	peer.listener = -1;
	fetch(&a);
	assert_err(result.e, ERR_CONNECT);
	a = parse_addr("tcp:nobody.invalid:1");
	fetch(&a);
	assert_err(result.e, ERR_RESOLVE);
}

/* The time-out is over all: a peer that goes on without an end does not move it. */
static void test_fetch_timeout(void **state)
{
	(void)state;
	struct addr a = serve("tcp:127.0.0.1:0", span_lit("and then nothing"), END_STAY);
	int64_t begun_us = clock_boot_us();
	fetch(&a);
	int64_t ms = (clock_boot_us() - begun_us) / 1000;
	assert_err(result.e, ERR_TIMEOUT);
	assert_true(ms >= STORE_TIMEOUT_MS - 50 && ms < STORE_TIMEOUT_MS + 3000);
}

static void test_cancel(void **state)
{
	(void)state;
	struct addr a = serve("tcp:127.0.0.1:0", span_lit("never asked for"), END_CLOSE);
	result.called = false;
	store_cancel(store_fetch(&loop, &a, on_fetched, &result)); /* before it has dialled */
	uv_close((uv_handle_t *)&peer.poll, NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_false(result.called);
	close(peer.listener);

	a = serve("tcp:127.0.0.1:0", span_lit("a part"), END_STAY);
	struct store_fetch *f = store_fetch(&loop, &a, on_fetched, &result);
	while (peer.fd < 0)
		uv_run(&loop, UV_RUN_ONCE);
	uv_run(&loop, UV_RUN_NOWAIT);
	store_cancel(f);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_false(result.called);
	close(peer.fd);
	close(peer.listener);
}

static int open_loop(void **state)
{
	(void)state;
	buf_init(&result.bytes, STORE_MAX);
	return mkdtemp(folder) == NULL ? -1 : uv_loop_init(&loop);
}

static int close_loop(void **state)
{
	(void)state;
	char path[64];
	snprintf(path, sizeof path, "%s/store", folder);
	unlink(path);
	rmdir(folder);
	buf_clear(&result.bytes);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),         cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_other_items),   cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_limits),        cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_fetch_size),    cmocka_unit_test(test_fetch_fails),
		cmocka_unit_test(test_fetch_timeout), cmocka_unit_test(test_cancel),
	};
	return cmocka_run_group_tests(tests, open_loop, close_loop);
}
