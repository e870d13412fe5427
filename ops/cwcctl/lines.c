/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536

int lines_open(struct lines *l, const char *file)
{
	struct stat st;
	*l = (struct lines){ .fd = STDIN_FILENO, .name = "standard input" };
	if (strcmp(file, "-") != 0) {
		l->name = file;
		l->fd = open(file, O_RDONLY | O_CLOEXEC);
		if (l->fd < 0)
			return ctl_fail(CTL_NO, "%s: %s", file, strerror(errno));
	}
	l->regular = fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(l->fd, 0, SEEK_CUR) == 0;
	l->size = l->regular ? (uint64_t)st.st_size : 0;
	buf_init(&l->data, LINES_MAX + 2 * CHUNK);
	return 0;
}

void lines_close(struct lines *l)
{
	if (l->fd > STDIN_FILENO)
		close(l->fd);
	buf_clear(&l->data);
}

void lines_rewind(struct lines *l)
{
	/* It could be told its place when it was opened. */
	if (lseek(l->fd, 0, SEEK_SET) != 0)
		l->eof = true;
	buf_reset(&l->data);
	l->at = 0;
	l->read = 0;
	l->number = 0;
	l->eof = l->seen = l->too_long = false;
}

/* More bytes behind those that are left; false: errno. */
static bool fill(struct lines *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	buf_drop(&l->data, l->at);
	l->at = 0;
	if (l->idle != NULL && poll(&p, 1, 0) == 0)
		l->idle(l->idle_arg);
	if (l->stop) {
		l->eof = true;
		return true;
	}
	uint8_t *room = buf_room(&l->data, CHUNK);
	BUG_ON(room == NULL);
	ssize_t n;
	do
		n = read(l->fd, room, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	buf_grew(&l->data, (size_t)n);
	l->read += (size_t)n;
	l->eof = n == 0;
	return true;
}

static bool blank(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
			return false;
	return true;
}

/* Braces that are open at the end; strings may hold any. */
static bool open_at_end(struct span s)
{
	long depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '['))
			depth++;
		else if (!quoted && (c == '}' || c == ']'))
			depth--;
	}
	return depth > 0;
}

/* The rest of the input as one line, all of which is passed over when it is too long. */
static enum lines_result whole(struct lines *l, struct span *ret_line)
{
	while (!l->eof) {
		if (l->data.n - l->at > LINES_MAX) {
			l->too_long = true;
			l->at = l->data.n;
		}
		if (!fill(l))
			return LINES_FAILED;
	}
	if (l->too_long) {
		l->at = l->data.n;
		return LINES_TOO_LONG;
	}
	*ret_line = span_of(l->data.p + l->at, l->data.n - l->at);
	l->at = l->data.n;
	return LINES_LINE;
}

/* The next line with its end, at most LINES_MAX bytes; *ret_line is empty at the end of the input. */
static bool raw_line(struct lines *l, struct span *ret_line)
{
	for (;;) {
		const uint8_t *start = l->data.p + l->at;
		size_t left = l->data.n - l->at;
		const uint8_t *end = left > 0 ? memchr(start, '\n', left) : NULL;
		if (end != NULL || l->eof) {
			size_t n = end != NULL ? (size_t)(end - start) + 1 : left;
			*ret_line = span_of(start, n);
			l->at += n;
			return true;
		}
		if (left > LINES_MAX) {
			l->too_long = true;
			l->at = l->data.n;
		}
		if (!fill(l))
			return false;
	}
}

enum lines_result lines_next(struct lines *l, struct span *ret_line)
{
	struct span s;
	for (;;) {
		l->too_long = false;
		if (!raw_line(l, &s))
			return LINES_FAILED;
		if (s.n == 0 && !l->too_long)
			return LINES_END;
		l->number++;
		if (l->too_long || s.n > LINES_MAX)
			return LINES_TOO_LONG;
		if (!blank(s))
			break;
	}
	if (!l->seen && open_at_end(s)) {
		l->at -= s.n;
		return whole(l, ret_line);
	}
	l->seen = true;
	*ret_line = s;
	return LINES_LINE;
}
