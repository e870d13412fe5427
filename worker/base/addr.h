/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One address form everywhere:
 *
 *	tcp:HOST:PORT     HOST is a name, an IPv4 address or an IPv6 address in brackets; port 0 lets
 *	                  the kernel choose (listen only)
 *	unix:/PATH        a path, at most 107 bytes
 *	unix:@NAME        an abstract name (Linux)
 *	vsock:CID:PORT    decimal; CID 3 is the parent instance of an enclave, 4294967295 any (listen only)
 */
#ifndef WORKER_BASE_ADDR_H
#define WORKER_BASE_ADDR_H

#include <sys/socket.h>

#include "worker/base/buf.h"

enum addr_kind { ADDR_TCP, ADDR_UNIX, ADDR_VSOCK };

#define ADDR_TEXT_MAX 280

struct addr {
	enum addr_kind kind;
	char text[ADDR_TEXT_MAX]; /* as written, for messages */
	char host[256];           /* tcp: the host; unix: the path, or the name after '@' */
	bool abstract;            /* unix:@ */
	uint32_t cid, port;       /* vsock: both; tcp: port */
};

/* ERR_SYNTAX with *ret_rule set to a static text that names the broken rule. */
ERR_MUST_CHECK enum err addr_parse(struct span text, struct addr *ret_addr, const char **ret_rule);

/* The socket address of a unix or vsock address, or of a tcp address whose host is an IP literal.
 * ERR_RESOLVE for a tcp address with a name: it must be looked up first. */
ERR_MUST_CHECK enum err addr_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa, socklen_t *ret_len);

/* Opens a listening, non-blocking, close-on-exec socket. A unix path gets mode 0600, whatever the
 * umask; a socket there that nobody listens on is removed first, anything else is left alone.
 * ERR_EXISTS when the address is in use, ERR_RESOLVE as above, ERR_IO otherwise; errno says why. */
ERR_MUST_CHECK enum err addr_listen(const struct addr *a, int backlog, int *ret_fd);

#endif
