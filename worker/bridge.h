/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bridge from a unix socket to any address.
 *
 * libcurl can connect to TCP and to unix sockets only, and cannot be handed a connected socket. A
 * bridge listens on a unix path, dials its address once for each connection that it accepts, and
 * pumps bytes both ways. TLS passes through it; it sees ciphertext.
 *
 * - Each direction of a pair holds at most BRIDGE_BUFFER bytes. Reading stops until they are
 *   written, so that a slow side slows the other down instead of filling memory.
 * - A pair has no time-out of its own beside that of the dial: it ends as soon as either side does, and
 *   libcurl bounds the life of its side. When libcurl gives up while bytes still wait to be sent, they
 *   are dropped and the far side is reset: what was given up must not arrive later.
 * - When the process stood still (SIGSTOP, a suspended machine), bytes of libcurl that lie here are dropped in
 *   the same way: they are older than the grant of their letter. Answers still come through.
 * - The program must ignore SIGPIPE.
 */
#ifndef WORKER_BRIDGE_H
#define WORKER_BRIDGE_H

#include <uv.h>

#include "worker/base/addr.h"

#define BRIDGE_BUFFER 16384

struct bridge;

struct bridge_options {
	const char *dir;            /* created with mode 0700 if missing; its parent must exist */
	const struct addr *address; /* copied */
	unsigned backlog;           /* connections that may wait to be accepted: libcurl connects in bursts */
	unsigned pairs_max;         /* connections beyond are closed at once */
	unsigned dial_timeout_ms;
};

/* ERR_CONFIG with *ret_rule (static) when the directory or the socket cannot be used: the directory must
 * be ours and closed to everybody else, because whoever may connect speaks to the address. */
ERR_MUST_CHECK enum err bridge_new(uv_loop_t *loop, const struct bridge_options *o, struct bridge **ret_bridge,
				   const char **ret_rule);
/* Ends all pairs and removes the socket; memory goes when the loop has closed the handles. NULL is allowed. */
void bridge_free(struct bridge *b);

/* The path to connect to; valid as long as the bridge. */
const char *bridge_path(const struct bridge *b);
/* How the last dial ended: ERR_OK, ERR_RESOLVE, ERR_CONNECT or ERR_TIMEOUT. libcurl itself sees a failed dial
 * only as a connection that was closed during its TLS handshake. */
enum err bridge_dial_error(const struct bridge *b);

#endif
