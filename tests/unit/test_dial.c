/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling, over real sockets on loopback and in a temporary directory. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/base/dial.h"

struct result {
	bool called;
	enum err e;
	int sys_errno, fd;
};

static uv_loop_t loop;
static char folder[] = "/tmp/test-dial-XXXXXX";

/* A name with three addresses; all others go to the system. It stands before the C library's for libuv too. */
static const char *const several[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1" };
static struct addrinfo several_list[3];

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list)
{
	struct addrinfo *ai = several_list;
	static struct sockaddr_in sa[3];
	int (*system_one)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	void *symbol;

	if (strcmp(name, "several.test") != 0) {
		symbol = dlsym(RTLD_NEXT, "getaddrinfo");
		memcpy(&system_one, &symbol, sizeof(symbol));
		return system_one(name, service, hints, ret_list);
	}
	for (size_t i = 0; i < 3; i++) {
		sa[i] = (struct sockaddr_in){ .sin_family = AF_INET,
					      .sin_port = htons((uint16_t)strtoul(service, NULL, 10)) };
		assert_int_equal(inet_pton(AF_INET, several[i], &sa[i].sin_addr), 1);
		ai[i] = (struct addrinfo){ .ai_family = AF_INET,
					   .ai_socktype = SOCK_STREAM,
					   .ai_addrlen = sizeof(sa[i]),
					   .ai_addr = (struct sockaddr *)&sa[i],
					   .ai_next = i < 2 ? &ai[i + 1] : NULL };
	}
	*ret_list = ai;
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	void (*system_one)(struct addrinfo *);
	void *symbol = dlsym(RTLD_NEXT, "freeaddrinfo");

	memcpy(&system_one, &symbol, sizeof(symbol));
	if (list != several_list)
		system_one(list);
}

static void on_result(void *arg, enum err e, int sys_errno, int fd)
{
	struct result *r = arg;

	assert_false(r->called);
	*r = (struct result){ .called = true, .e = e, .sys_errno = sys_errno, .fd = fd };
}

static struct addr parse(const char *text)
{
	struct addr a;
	const char *rule;

	assert_int_equal(addr_parse(span_str(text), &a, &rule), ERR_OK);
	return a;
}

/* Dials and runs the loop until all handles are gone: every one must be closed by then. */
static struct result dial(const char *text, unsigned timeout_ms)
{
	struct result r = { .fd = -1 };
	struct addr a = parse(text);

	dial_start(&loop, &a, timeout_ms, on_result, &r);
	assert_false(r.called);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_true(r.called);
	return r;
}

static int listen_on(struct addr *a)
{
	int fd;
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);

	assert_int_equal(addr_listen(a, 8, &fd), ERR_OK);
	if (a->kind == ADDR_TCP) {
		assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
		a->port = ntohs(sa.sin_port);
	}
	return fd;
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t n = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

static void check_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);

	assert_true(fd >= 0);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &n), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_tcp(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	struct addr a = parse("tcp:127.0.0.1:0");
	int listener = listen_on(&a);
	char text[64];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct result r;

		snprintf(text, sizeof(text), "tcp:%s:%u", hosts[i], (unsigned)a.port);
		r = dial(text, 5000);
		assert_int_equal(r.e, ERR_OK);
		check_connected(r.fd);
		assert_true(option(r.fd, IPPROTO_TCP, TCP_NODELAY));
		assert_true(option(r.fd, SOL_SOCKET, SO_KEEPALIVE));
		close(r.fd);
	}
	close(listener);
}

static void test_unix(void **state)
{
	char text[128];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct result r;
		struct addr a;
		int listener;

		snprintf(text, sizeof(text), i == 0 ? "unix:%s/s" : "unix:@%s", folder);
		a = parse(text);
		listener = listen_on(&a);
		r = dial(text, 5000);
		assert_int_equal(r.e, ERR_OK);
		check_connected(r.fd);
		close(r.fd);
		close(listener);
	}
}

static void test_refused(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:0");
	char text[128];
	struct result r;

	(void)state;
	close(listen_on(&a));
	snprintf(text, sizeof(text), "tcp:127.0.0.1:%u", (unsigned)a.port);
	r = dial(text, 5000);
	assert_int_equal(r.e, ERR_CONNECT);
	assert_int_equal(r.sys_errno, ECONNREFUSED);
	assert_int_equal(r.fd, -1);
	snprintf(text, sizeof(text), "unix:%s/none", folder);
	r = dial(text, 5000);
	assert_int_equal(r.e, ERR_CONNECT);
	assert_int_equal(r.sys_errno, ENOENT);
	assert_int_equal(r.fd, -1);
}

static void test_unresolved(void **state)
{
	struct result r = dial("tcp:no-such-host.invalid:1", 10000);

	(void)state;
	assert_int_equal(r.e, ERR_RESOLVE);
	assert_int_equal(r.sys_errno, 0);
	assert_int_equal(r.fd, -1);
}

/* A listener whose queue is full lets further connections wait without an answer. */
static void fill_queue(const struct addr *a, int listener, int fill[8])
{
	struct sockaddr_storage sa;
	socklen_t n;

	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(addr_sockaddr(a, &sa, &n), ERR_OK);
	for (size_t i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(connect(fill[i], (struct sockaddr *)&sa, n) == 0 || errno == EINPROGRESS);
	}
}

static void test_timeout(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:0");
	int listener = listen_on(&a), fill[8];
	char text[64];
	struct result r;
	uint64_t began;

	(void)state;
	fill_queue(&a, listener, fill);
	snprintf(text, sizeof(text), "tcp:127.0.0.1:%u", (unsigned)a.port);
	began = uv_hrtime();
	r = dial(text, 100);
	assert_int_equal(r.e, ERR_TIMEOUT);
	assert_int_equal(r.sys_errno, ETIMEDOUT);
	assert_int_equal(r.fd, -1);
	assert_in_range((uv_hrtime() - began) / 1000000, 90, 2000);
	for (size_t i = 0; i < 8; i++)
		close(fill[i]);
	close(listener);
}

/* The first address refuses, the second does not answer: the third one's turn comes within the time. */
static void test_all_addresses(void **state)
{
	struct addr good = parse("tcp:127.0.0.1:0"), mute = parse("tcp:127.0.0.3:1");
	int listener = listen_on(&good), deaf, fill[8];
	char text[64];
	struct result r;

	(void)state;
	mute.port = good.port;
	deaf = listen_on(&mute);
	fill_queue(&mute, deaf, fill);
	snprintf(text, sizeof(text), "tcp:several.test:%u", (unsigned)good.port);
	r = dial(text, 600);
	assert_int_equal(r.e, ERR_OK);
	check_connected(r.fd);
	close(r.fd);
	close(listener);
	r = dial(text, 600);
	assert_int_equal(r.e, ERR_CONNECT);
	assert_int_equal(r.sys_errno, ECONNREFUSED);
	for (size_t i = 0; i < 8; i++)
		close(fill[i]);
	close(deaf);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_cancel(void **state)
{
	struct addr good = parse("tcp:127.0.0.1:0"), name = parse("tcp:localhost:1"), bad = parse("unix:/none");
	struct addr mute = parse("tcp:127.0.0.3:0");
	int listener = listen_on(&good), deaf = listen_on(&mute), fill[8];
	unsigned before;

	(void)state;
	fill_queue(&mute, deaf, fill);
	dial("tcp:localhost:1", 1000); /* the thread pool's own descriptors */
	before = open_fds();
	/* Cancelled at once, and after one to three turns of the loop. */
	for (int turns = 0; turns < 4; turns++) {
		const struct addr *to[] = { &good, &name, &bad, &mute };

		for (size_t i = 0; i < 4; i++) {
			struct result r = { .fd = -1 };
			struct dial *d = dial_start(&loop, to[i], 1000, on_result, &r);

			for (int t = 0; t < turns && !r.called; t++)
				uv_run(&loop, UV_RUN_NOWAIT);
			if (r.called) {
				if (r.fd >= 0)
					close(r.fd);
				r = (struct result){ .fd = -1 };
			} else {
				dial_cancel(d);
			}
			assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
			assert_false(r.called);
		}
	}
	assert_int_equal(open_fds(), before);
	for (size_t i = 0; i < 8; i++)
		close(fill[i]);
	close(deaf);
	close(listener);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL && uv_loop_init(&loop) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/s", folder);
	unlink(path);
	rmdir(folder);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),        cmocka_unit_test(test_unix),    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unresolved), cmocka_unit_test(test_timeout), cmocka_unit_test(test_all_addresses),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
