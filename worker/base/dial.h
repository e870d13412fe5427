/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dialling: a connected socket for any address, without blocking the loop.
 */
#ifndef WORKER_BASE_DIAL_H
#define WORKER_BASE_DIAL_H

#include <uv.h>

#include "worker/base/addr.h"

struct dial;

/* Called exactly once, never from within dial_start(). On ERR_OK the callback owns `fd`
 * (non-blocking, close-on-exec, TCP_NODELAY and keep-alive set for tcp); otherwise fd is -1 and
 * `e` is ERR_RESOLVE, ERR_CONNECT or ERR_TIMEOUT, and sys_errno the system's reason or 0. */
typedef void (*dial_cb)(void *arg, enum err e, int sys_errno, int fd);

struct dial *dial_start(uv_loop_t *loop, const struct addr *a, unsigned timeout_ms, dial_cb cb, void *arg);
/* Gives up: the callback is not called any more. Only before it was called. */
void dial_cancel(struct dial *d);

#endif
