/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/image/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "worker/base/log.h"

#define DIAL_S 1

void relay_init(struct relay *r, const struct addr *to)
{
	*r = (struct relay){ .to = *to, .fd = -1 };
	buf_init(&r->lines, RELAY_MAX);
}

static void hang_up(struct relay *r, int64_t now_ms)
{
	if (r->fd >= 0)
		(void)close(r->fd);
	r->fd = -1;
	r->sent = 0;
	r->retry_ms = now_ms + RELAY_RETRY_MS;
}

void relay_clear(struct relay *r)
{
	hang_up(r, 0);
	buf_clear(&r->lines);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* How many bytes the first line behind `from` has, its newline included; 0: it has no end yet. */
static size_t line_length(const struct buf *b, size_t from)
{
	const uint8_t *end = from < b->n ? memchr(b->p + from, '\n', b->n - from) : NULL;

	return end == NULL ? 0 : (size_t)(end - (b->p + from)) + 1;
}

/* Takes bytes out of the middle. */
static void cut(struct buf *b, size_t from, size_t n)
{
	memmove(b->p + from, b->p + from + n, b->n - from - n);
	b->n -= n;
}

/* Away with the oldest line that is not being written. False: there is no whole one. */
static bool drop_oldest(struct relay *r)
{
	size_t from = r->sent > 0 ? line_length(&r->lines, 0) : 0;
	size_t n = line_length(&r->lines, from);

	if (n == 0 || (r->sent > 0 && from == 0))
		return false;
	cut(&r->lines, from, n);
	r->dropped++;
	return true;
}

void relay_add(struct relay *r, struct span bytes)
{
	while (r->lines.n + bytes.n > RELAY_MAX && drop_oldest(r))
		continue;
	if (r->lines.n + bytes.n > RELAY_MAX) {
		/* One line without an end: nothing that our programs write. */
		r->dropped++;
		r->lines.n = r->sent;
		return;
	}
	buf_add_span(&r->lines, bytes);
}

/* Lines that are written in full are forgotten. */
static void forget_sent(struct relay *r)
{
	size_t n;

	while ((n = line_length(&r->lines, 0)) != 0 && n <= r->sent) {
		cut(&r->lines, 0, n);
		r->sent -= n;
	}
}

/* --- the stream ------------------------------------------------------------------------------- */

int relay_dial(const struct addr *to)
{
	const struct timeval wait = { .tv_sec = DIAL_S };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, error;

	if (addr_sockaddr(to, &sa, &len) != ERR_OK) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (to->kind == ADDR_VSOCK)
		(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &wait, sizeof(wait));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (const struct sockaddr *)&sa, len) == 0)
		return fd;
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

static void dial(struct relay *r, int64_t now_ms)
{
	uint64_t dropped = r->dropped;

	r->fd = relay_dial(&r->to);
	if (r->fd < 0 || fcntl(r->fd, F_SETFL, O_NONBLOCK) != 0) {
		hang_up(r, now_ms);
		return;
	}
	r->dropped = 0;
	if (dropped > 0)
		log_event(LOG_LOG_DROPPED, LOG_INT(F_COUNT, dropped));
}

/* The far side says nothing; that it has gone is all that can be read. */
static bool ended(int fd)
{
	uint8_t b;
	ssize_t n = recv(fd, &b, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void write_lines(struct relay *r, int64_t now_ms)
{
	while (r->sent < r->lines.n) {
		ssize_t n = send(r->fd, r->lines.p + r->sent, r->lines.n - r->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			hang_up(r, now_ms);
			return;
		}
		r->sent += (size_t)n;
	}
	forget_sent(r);
}

void relay_step(struct relay *r, int64_t now_ms)
{
	if (r->fd >= 0 && ended(r->fd))
		hang_up(r, now_ms);
	if (r->fd < 0 && now_ms >= r->retry_ms)
		dial(r, now_ms);
	if (r->fd >= 0)
		write_lines(r, now_ms);
}

bool relay_idle(const struct relay *r)
{
	return r->sent == r->lines.n && r->dropped == 0;
}

int relay_wait_ms(const struct relay *r, int64_t now_ms)
{
	if (r->fd >= 0)
		return -1;
	return r->retry_ms <= now_ms ? 0 : (int)(r->retry_ms - now_ms);
}
