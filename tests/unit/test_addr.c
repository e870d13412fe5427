/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/base/addr.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct addr parsed(const char *text)
{
	struct addr a;
	const char *rule = NULL;

	assert_int_equal(addr_parse(span_str(text), &a, &rule), ERR_OK);
	assert_string_equal(a.text, text);
	return a;
}

static void test_parse_tcp(void **state)
{
	static const struct {
		const char *text, *host;
		uint32_t port;
	} v[] = {
		{ "tcp:redis.internal:6379", "redis.internal", 6379 },
		{ "tcp:localhost:1", "localhost", 1 },
		{ "tcp:a-b.c_d.example.:65535", "a-b.c_d.example.", 65535 },
		{ "tcp:127.0.0.1:0", "127.0.0.1", 0 },
		{ "tcp:10.0.0.255:80", "10.0.0.255", 80 },
		{ "tcp:[::1]:80", "::1", 80 },
		{ "tcp:[2001:db8::1:2]:443", "2001:db8::1:2", 443 },
		{ "tcp:1password.example:443", "1password.example", 443 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(v); i++) {
		struct addr a = parsed(v[i].text);

		assert_int_equal(a.kind, ADDR_TCP);
		assert_string_equal(a.host, v[i].host);
		assert_int_equal(a.port, v[i].port);
	}
}

static void test_parse_unix_and_vsock(void **state)
{
	struct addr a = parsed("unix:/run/redis/redis.sock");

	(void)state;
	assert_int_equal(a.kind, ADDR_UNIX);
	assert_false(a.abstract);
	assert_string_equal(a.host, "/run/redis/redis.sock");
	a = parsed("unix:@cwc-bridge:1");
	assert_int_equal(a.kind, ADDR_UNIX);
	assert_true(a.abstract);
	assert_string_equal(a.host, "cwc-bridge:1");
	a = parsed("vsock:3:8001");
	assert_int_equal(a.kind, ADDR_VSOCK);
	assert_int_equal(a.cid, 3);
	assert_int_equal(a.port, 8001);
	a = parsed("vsock:4294967295:4294967295");
	assert_true(a.cid == UINT32_MAX && a.port == UINT32_MAX);
}

static void test_parse_refuses(void **state)
{
	static const char *const bad[] = { "",
					   "tcp",
					   "redis:6379",
					   "TCP:localhost:80",
					   "tcp:",
					   "tcp:localhost",
					   "tcp::80",
					   "tcp:localhost:",
					   "tcp:localhost:65536",
					   "tcp:localhost:080",
					   "tcp:localhost:-1",
					   "tcp:localhost:http",
					   "tcp:local host:80",
					   "tcp:localhost:80\n",
					   "tcp:-a.example:80",
					   "tcp:a-.example:80",
					   "tcp:a.example-:80",
					   "tcp:a..example:80",
					   "tcp:.example:80",
					   "tcp:a/b:80",
					   "tcp:user@host:80",
					   "tcp:b\xc3\xbc.example:80",
					   "tcp:127.0.0.256:80",
					   "tcp:127.1:80",
					   "tcp:1:80",
					   "tcp:a.1:80",
					   "tcp:127.0.0.1.:80x",
					   "tcp:::1:80",
					   "tcp:[::1:80",
					   "tcp:::1]:80",
					   "tcp:[]:80",
					   "tcp:[127.0.0.1]:80",
					   "tcp:[localhost]:80",
					   "tcp:[fe80::1%eth0]:80",
					   "tcp:[::1]80",
					   "unix:",
					   "unix:/",
					   "unix:@",
					   "unix:relative",
					   "unix:/with space",
					   "unix:/with\ttab",
					   "vsock:3",
					   "vsock:3:",
					   "vsock::1",
					   "vsock:x:1",
					   "vsock:4294967296:1",
					   "vsock:3:4294967296",
					   "vsock:03:1",
					   "vsock:3:1:2" };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct addr a = { .port = 7 };
		const char *rule = NULL;

		if (addr_parse(span_str(bad[i]), &a, &rule) != ERR_SYNTAX)
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(rule);
		assert_true(strlen(rule) > 10);
		assert_int_equal(a.port, 7); /* written on success only */
	}
}

static enum err parse_padded(const char *prefix, size_t n, const char *suffix)
{
	struct buf b;
	struct addr a;
	const char *rule;
	enum err e;

	buf_init(&b, 2000);
	buf_add_str(&b, prefix);
	for (size_t i = 0; i < n; i++)
		buf_add_byte(&b, 'a');
	buf_add_str(&b, suffix);
	e = addr_parse(span_buf(&b), &a, &rule);
	buf_clear(&b);
	return e;
}

static void test_parse_lengths(void **state)
{
	char longest[ADDR_TEXT_MAX] = "tcp:";

	(void)state;
	assert_int_equal(parse_padded("unix:/", 106, ""), ERR_OK);
	assert_int_equal(parse_padded("unix:/", 107, ""), ERR_SYNTAX);
	assert_int_equal(parse_padded("unix:@", 107, ""), ERR_OK);
	assert_int_equal(parse_padded("unix:@", 108, ""), ERR_SYNTAX);
	assert_int_equal(parse_padded("tcp:", 63, ".example:80"), ERR_OK);
	assert_int_equal(parse_padded("tcp:", 64, ".example:80"), ERR_SYNTAX);
	assert_int_equal(parse_padded("tcp:[", 256, "]:80"), ERR_SYNTAX);
	assert_int_equal(parse_padded("tcp:", 1000, ":80"), ERR_SYNTAX);
	for (size_t i = 0; i < 253; i++)
		longest[4 + i] = i % 50 == 49 ? '.' : 'a';
	memcpy(longest + 4 + 253, ":65535", 7);
	(void)parsed(longest);
	memcpy(longest + 4 + 253, "a:6553", 7);
	{
		struct addr a;
		const char *rule;

		assert_int_equal(addr_parse(span_str(longest), &a, &rule), ERR_SYNTAX);
		assert_int_equal(addr_parse(span_of("unix:/a\0b", 9), &a, &rule), ERR_SYNTAX);
	}
}

static void test_sockaddr(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_vm vm;
	struct addr a = parsed("tcp:127.0.0.1:8080");
	socklen_t len = 0;

	(void)state;
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_OK);
	memcpy(&in, &sa, sizeof(in));
	assert_int_equal(len, sizeof(in));
	assert_int_equal(in.sin_family, AF_INET);
	assert_int_equal(in.sin_port, htons(8080));
	assert_int_equal(in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));

	a = parsed("tcp:[::1]:8080");
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_OK);
	memcpy(&in6, &sa, sizeof(in6));
	assert_int_equal(len, sizeof(in6));
	assert_int_equal(in6.sin6_family, AF_INET6);
	assert_int_equal(in6.sin6_port, htons(8080));
	assert_memory_equal(&in6.sin6_addr, &in6addr_loopback, 16);

	a = parsed("unix:/run/x");
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_OK);
	memcpy(&un, &sa, sizeof(un));
	assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 7);
	assert_string_equal(un.sun_path, "/run/x");

	a = parsed("unix:@name");
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_OK);
	memcpy(&un, &sa, sizeof(un));
	assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 5);
	assert_memory_equal(un.sun_path, "\0name", 6);

	a = parsed("vsock:16:5000");
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_OK);
	memcpy(&vm, &sa, sizeof(vm));
	assert_int_equal(len, sizeof(vm));
	assert_int_equal(vm.svm_family, AF_VSOCK);
	assert_int_equal(vm.svm_cid, 16);
	assert_int_equal(vm.svm_port, 5000);
}

static void test_names_must_be_looked_up(void **state)
{
	struct addr a = parsed("tcp:localhost:8080");
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	(void)state;
	assert_int_equal(addr_sockaddr(&a, &sa, &len), ERR_RESOLVE);
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_RESOLVE);
}

static void assert_can_connect(const struct addr *a, uint16_t port)
{
	struct addr to = *a;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (port != 0)
		to.port = port;
	assert_int_equal(addr_sockaddr(&to, &sa, &len), ERR_OK);
	fd = socket(sa.ss_family, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&sa, len), 0);
	close(fd);
}

static void assert_flags(int fd)
{
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void test_listen_tcp(void **state)
{
	struct addr a = parsed("tcp:127.0.0.1:0");
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	int fd, second = -7;

	(void)state;
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_OK);
	assert_flags(fd);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	assert_can_connect(&a, ntohs(in.sin_port));
	a.port = ntohs(in.sin_port);
	assert_int_equal(addr_listen(&a, 5, &second), ERR_EXISTS);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(second, -7);
	close(fd);
}

static void test_listen_abstract(void **state)
{
	char text[64];
	struct addr a;
	int fd, second;

	(void)state;
	snprintf(text, sizeof(text), "unix:@test_addr-%ld", (long)getpid());
	a = parsed(text);
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_OK);
	assert_flags(fd);
	assert_can_connect(&a, 0);
	assert_int_equal(addr_listen(&a, 5, &second), ERR_EXISTS);
	close(fd);
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_OK);
	close(fd);
}

struct fixture {
	char dir[64], path[96], text[128];
};

static int set_up(void **state)
{
	static struct fixture f;

	snprintf(f.dir, sizeof(f.dir), "/tmp/test_addr.XXXXXX");
	if (mkdtemp(f.dir) == NULL)
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/socket", f.dir);
	snprintf(f.text, sizeof(f.text), "unix:%s", f.path);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	return rmdir(f->dir);
}

static void test_listen_unix(void **state)
{
	static const mode_t masks[] = { 0, 022, 0777 };
	struct fixture *f = *state;
	struct addr a = parsed(f->text);
	struct stat st;
	int fd;

	/* Each time over the stale socket of the time before. */
	for (size_t i = 0; i < COUNT(masks); i++) {
		mode_t before = umask(masks[i]);

		assert_int_equal(addr_listen(&a, 5, &fd), ERR_OK);
		umask(before);
		assert_flags(fd);
		assert_int_equal(stat(f->path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_can_connect(&a, 0);
		close(fd);
	}
}

static void test_listen_spares_what_is_not_stale(void **state)
{
	struct fixture *f = *state;
	struct addr a = parsed(f->text);
	struct stat before, after;
	int fd, second = -7;

	assert_int_equal(addr_listen(&a, 5, &fd), ERR_OK);
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_equal(addr_listen(&a, 5, &second), ERR_EXISTS); /* somebody listens */
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(second, -7);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_can_connect(&a, 0);
	close(fd);
	assert_int_equal(unlink(f->path), 0);

	fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL, 0600); /* a file */
	close(fd);
	assert_int_equal(addr_listen(&a, 5, &second), ERR_EXISTS);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(unlink(f->path), 0);

	assert_int_equal(symlink("/nowhere", f->path), 0); /* a link */
	assert_int_equal(addr_listen(&a, 5, &second), ERR_EXISTS);
	assert_int_equal(lstat(f->path, &after), 0);
}

static void test_listen_fails_cleanly(void **state)
{
	struct addr a = parsed("unix:/nonexistent/directory/socket");
	int fd = -7;

	(void)state;
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_IO);
	assert_int_equal(errno, ENOENT);
	a = parsed("tcp:192.0.2.1:0"); /* not an address of ours (RFC 5737) */
	assert_int_equal(addr_listen(&a, 5, &fd), ERR_IO);
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_int_equal(fd, -7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_tcp),
		cmocka_unit_test(test_parse_unix_and_vsock),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_parse_lengths),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_names_must_be_looked_up),
		cmocka_unit_test(test_listen_tcp),
		cmocka_unit_test(test_listen_abstract),
		cmocka_unit_test_setup_teardown(test_listen_unix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_listen_spares_what_is_not_stale, set_up, tear_down),
		cmocka_unit_test(test_listen_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
