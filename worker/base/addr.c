/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/base/text.h"

#define NAME_MAX_BYTES  253 /* RFC 1035 section 2.3.4, as text */
#define LABEL_MAX_BYTES 63
#define UNIX_MAX        (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static struct span from(struct span s, size_t n)
{
	return span_of(s.p + n, s.n - n);
}

static bool starts_with(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_eq(span_of(s.p, prefix.n), prefix);
}

/* The last ':' splits: an IPv6 address has more of them. */
static bool split_last_colon(struct span s, struct span *ret_left, struct span *ret_right)
{
	size_t i = s.n;

	while (i > 0 && s.p[i - 1] != ':')
		i--;
	if (i == 0)
		return false;
	*ret_left = span_of(s.p, i - 1);
	*ret_right = from(s, i);
	return true;
}

static enum err parse_number(struct span s, uint64_t max, uint32_t *ret_value)
{
	uint64_t v;

	if (text_uint(s, max, &v) != ERR_OK)
		return ERR_SYNTAX;
	*ret_value = (uint32_t)v;
	return ERR_OK;
}

static bool name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A host name, and whether its last label is a number: such a name is an IPv4 address or nothing
 * (RFC 1123 section 2.1); resolvers read "127.1" or "0x7f.1" in ways that nobody expects. */
static bool name_valid(struct span host, bool *ret_numeric)
{
	size_t label = 0;
	bool digits = true;

	if (host.n == 0 || host.n > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		uint8_t c = host.p[i];

		if (c == '.') {
			if (label == 0 || host.p[i - 1] == '-')
				return false;
			label = 0;
			digits = true;
			continue;
		}
		if (!name_char(c) || (c == '-' && label == 0) || ++label > LABEL_MAX_BYTES)
			return false;
		digits = digits && c >= '0' && c <= '9';
	}
	*ret_numeric = digits && label > 0;
	return host.p[host.n - 1] != '-';
}

static enum err parse_tcp(struct span s, struct addr *a, const char **ret_rule)
{
	struct in6_addr ignored;
	struct span host, port;
	bool numeric, v6;

	*ret_rule = "tcp: HOST:PORT is expected";
	if (!split_last_colon(s, &host, &port))
		return ERR_SYNTAX;
	*ret_rule = "tcp: the port is a decimal number up to 65535";
	TRY(parse_number(port, 65535, &a->port));
	v6 = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	if (v6)
		host = span_of(host.p + 1, host.n - 2);
	*ret_rule = "tcp: the host is a name, an IPv4 address, or an IPv6 address in brackets";
	if (host.n == 0 || host.n >= sizeof(a->host))
		return ERR_SYNTAX;
	memcpy(a->host, host.p, host.n);
	if (v6)
		return inet_pton(AF_INET6, a->host, &ignored) == 1 ? ERR_OK : ERR_SYNTAX;
	if (!name_valid(host, &numeric))
		return ERR_SYNTAX;
	return !numeric || inet_pton(AF_INET, a->host, &ignored) == 1 ? ERR_OK : ERR_SYNTAX;
}

static enum err parse_unix(struct span s, struct addr *a, const char **ret_rule)
{
	*ret_rule = "unix: a path from the root, or @ and a name, is expected";
	if (s.n < 2 || (s.p[0] != '/' && s.p[0] != '@'))
		return ERR_SYNTAX;
	a->abstract = s.p[0] == '@';
	if (a->abstract)
		s = from(s, 1);
	*ret_rule = "unix: a path or name has at most 107 bytes";
	if (s.n > UNIX_MAX)
		return ERR_SYNTAX;
	memcpy(a->host, s.p, s.n);
	return ERR_OK;
}

static enum err parse_vsock(struct span s, struct addr *a, const char **ret_rule)
{
	struct span cid, port;

	*ret_rule = "vsock: CID:PORT is expected, two decimal numbers up to 4294967295";
	if (!split_last_colon(s, &cid, &port))
		return ERR_SYNTAX;
	TRY(parse_number(cid, UINT32_MAX, &a->cid));
	return parse_number(port, UINT32_MAX, &a->port);
}

enum err addr_parse(struct span text, struct addr *ret_addr, const char **ret_rule)
{
	struct addr a = { 0 };

	*ret_rule = "an address has at most 279 printable ASCII characters and no spaces";
	if (text.n >= sizeof(a.text))
		return ERR_SYNTAX;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~')
			return ERR_SYNTAX;
	if (text.n > 0)
		memcpy(a.text, text.p, text.n);
	if (starts_with(text, span_lit("tcp:"))) {
		a.kind = ADDR_TCP;
		TRY(parse_tcp(from(text, 4), &a, ret_rule));
	} else if (starts_with(text, span_lit("unix:"))) {
		a.kind = ADDR_UNIX;
		TRY(parse_unix(from(text, 5), &a, ret_rule));
	} else if (starts_with(text, span_lit("vsock:"))) {
		a.kind = ADDR_VSOCK;
		TRY(parse_vsock(from(text, 6), &a, ret_rule));
	} else {
		*ret_rule = "an address begins with tcp:, unix: or vsock:";
		return ERR_SYNTAX;
	}
	*ret_addr = a;
	return ERR_OK;
}

static enum err sockaddr_tcp(const struct addr *a, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)a->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)a->port) };

	if (inet_pton(AF_INET, a->host, &v4.sin_addr) == 1) {
		memcpy(ret_sa, &v4, sizeof(v4));
		*ret_len = sizeof(v4);
		return ERR_OK;
	}
	if (inet_pton(AF_INET6, a->host, &v6.sin6_addr) == 1) {
		memcpy(ret_sa, &v6, sizeof(v6));
		*ret_len = sizeof(v6);
		return ERR_OK;
	}
	return ERR_RESOLVE;
}

static void sockaddr_unix(const struct addr *a, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(a->host);

	/* An abstract name begins with a NUL and ends by its length, a path by a NUL (unix(7)). */
	BUG_ON(n > UNIX_MAX);
	memcpy(un.sun_path + (a->abstract ? 1 : 0), a->host, n);
	memcpy(ret_sa, &un, sizeof(un));
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

static void sockaddr_vsock(const struct addr *a, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_port = a->port, .svm_cid = a->cid };

	memcpy(ret_sa, &vm, sizeof(vm));
	*ret_len = sizeof(vm);
}

enum err addr_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	struct sockaddr_storage sa = { 0 };

	switch (a->kind) {
	case ADDR_TCP:
		TRY(sockaddr_tcp(a, &sa, ret_len));
		break;
	case ADDR_UNIX:
		sockaddr_unix(a, &sa, ret_len);
		break;
	case ADDR_VSOCK:
		sockaddr_vsock(a, &sa, ret_len);
		break;
	}
	*ret_sa = sa;
	return ERR_OK;
}

/* Removes a socket that nobody listens on any more. Anything else in the place is somebody's. */
static enum err remove_stale(const char *path, const struct sockaddr_storage *sa, socklen_t len)
{
	struct stat st;
	int fd, refused;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? ERR_OK : ERR_IO;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EADDRINUSE;
		return ERR_EXISTS;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	refused = connect(fd, (const struct sockaddr *)sa, len) != 0 && errno == ECONNREFUSED;
	close(fd);
	if (!refused) {
		errno = EADDRINUSE;
		return ERR_EXISTS;
	}
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : ERR_IO;
}

/* bind() gives a new unix socket the mode of its descriptor less the umask: set before, the socket
 * is never open to others; set after, a strange umask does not shut us out. */
static bool bind_private(int fd, const char *path, const struct sockaddr_storage *sa, socklen_t len)
{
	return fchmod(fd, 0600) == 0 && bind(fd, (const struct sockaddr *)sa, len) == 0 && chmod(path, 0600) == 0;
}

static bool bind_listen(int fd, const struct addr *a, const struct sockaddr_storage *sa, socklen_t len, int backlog)
{
	const int on = 1;

	if (a->kind == ADDR_TCP && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return false;
	if (a->kind == ADDR_UNIX && !a->abstract) {
		if (!bind_private(fd, a->host, sa, len))
			return false;
	} else if (bind(fd, (const struct sockaddr *)sa, len) != 0) {
		return false;
	}
	return listen(fd, backlog) == 0;
}

enum err addr_listen(const struct addr *a, int backlog, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, saved;

	TRY(addr_sockaddr(a, &sa, &len));
	if (a->kind == ADDR_UNIX && !a->abstract)
		TRY(remove_stale(a->host, &sa, len));
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	if (!bind_listen(fd, a, &sa, len, backlog)) {
		saved = errno;
		close(fd);
		errno = saved;
		return saved == EADDRINUSE ? ERR_EXISTS : ERR_IO;
	}
	*ret_fd = fd;
	return ERR_OK;
}
