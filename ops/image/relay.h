/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries lines to a stream that comes and goes: from the worker's standard error to the parent instance, which takes
 * the log over vsock and may restart what takes it.
 *
 * Whole lines: what was not written in full when the stream broke is written again from its beginning. While there is
 * no stream, lines wait, at most RELAY_MAX bytes; then the oldest go, and how many is said by an event `log_dropped`
 * when the stream is back. What the far side had taken and not read when it broke is lost: this is a log, not a queue.
 *
 * Nobody waits for a relay: whoever writes lines does so without blocking, and loses them when the pipe is full.
 */
#ifndef OPS_IMAGE_RELAY_H
#define OPS_IMAGE_RELAY_H

#include "worker/base/addr.h"
#include "worker/base/buf.h"

#define RELAY_MAX      262144
#define RELAY_RETRY_MS 1000

struct relay {
	struct addr to;
	int fd;           /* -1: no stream */
	struct buf lines; /* what is not yet written, from the beginning of a line */
	size_t sent;      /* of the first line, on this stream */
	uint64_t dropped;
	int64_t retry_ms; /* not before this is dialled again */
};

void relay_init(struct relay *r, const struct addr *to);
void relay_clear(struct relay *r);

/* Takes bytes, of any number of lines or a part of one. */
void relay_add(struct relay *r, struct span bytes);
/* Dials when it is time to, and writes what goes without waiting. `now_ms` is of a clock that only goes on. */
void relay_step(struct relay *r, int64_t now_ms);
/* Nothing is left to write. */
bool relay_idle(const struct relay *r);
/* How long to wait for relay.fd (which may be -1) before the next step; -1: until there is more to carry. */
int relay_wait_ms(const struct relay *r, int64_t now_ms);

/* Dials a unix or vsock address and waits for it, at most a second where the kernel can wait so. -1, errno says why. */
int relay_dial(const struct addr *to);

#endif
