/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/base/text.h"

#define NAME_MAX_BYTES 128
#define LINE_MAX_BYTES 4096 /* PIPE_BUF: a pipe takes such a line whole or not at all (pipe(7)) */

static const char *const levels[] = {
	[LOG_ERROR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static const struct {
	const char *name;
	enum log_level level;
} events[LOG_EVENT_COUNT] = {
#define EVENT_ROW(e, n, l) [LOG_##e] = { n, LOG_##l },
	LOG_EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

static const struct {
	const char *name;
	bool number;
} fields[LOG_FIELD_COUNT] = {
#define FIELD_ROW(e, n, number) [F_##e] = { n, number },
	LOG_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

/* Until log_open(): errors of the start-up must be seen somewhere. */
static struct {
	int fd;
	enum log_level level;
	bool json;
	bool torn; /* the last line was written in part */
	uint64_t dropped;
} target = { .fd = STDERR_FILENO, .level = LOG_INFO, .json = true };

void log_open(int fd, enum log_level level, bool json)
{
	target.fd = fd;
	target.level = level;
	target.json = json;
	target.torn = false;
	target.dropped = 0;
}

static bool name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.:/@-", c) != NULL);
}

static void add_name(struct span name, struct buf *out)
{
	for (size_t i = 0; i < name.n && i < NAME_MAX_BYTES; i++)
		buf_add_byte(out, name_char(name.p[i]) ? name.p[i] : '?');
}

static void add_key(const char *key, bool json, struct buf *out)
{
	buf_add_str(out, json ? ",\"" : " ");
	buf_add_str(out, key);
	buf_add_str(out, json ? "\":" : "=");
}

static void add_value(const struct log_value *v, bool json, struct buf *out)
{
	BUG_ON((unsigned)v->field >= LOG_FIELD_COUNT);
	add_key(fields[v->field].name, json, out);
	if (fields[v->field].number) {
		buf_add_int(out, v->number);
		return;
	}
	/* No character of a name needs an escape. */
	buf_add_str(out, json ? "\"" : "");
	add_name(v->name, out);
	buf_add_str(out, json ? "\"" : "");
}

static void add_start(enum log_event event, int64_t unix_ms, bool json, struct buf *out)
{
	char time[TEXT_TIME_MS_SIZE];

	BUG_ON((unsigned)event >= LOG_EVENT_COUNT);
	text_time_ms(unix_ms, time);
	buf_add_str(out, json ? "{\"time\":\"" : "");
	buf_add_str(out, time);
	buf_add_str(out, json ? "\",\"level\":\"" : " ");
	buf_add_str(out, levels[events[event].level]);
	buf_add_str(out, json ? "\",\"event\":\"" : " ");
	buf_add_str(out, events[event].name);
	buf_add_str(out, json ? "\"" : "");
}

static void add_end(bool json, struct buf *out)
{
	buf_add_str(out, json ? "}\n" : "\n");
}

void log_line(enum log_event event, const struct log_value *v, size_t n, int64_t unix_ms, bool json, struct buf *out)
{
	add_start(event, unix_ms, json, out);
	for (size_t i = 0; i < n; i++)
		add_value(&v[i], json, out);
	add_end(json, out);
}

static void write_line(struct span line)
{
	struct pollfd ready = { .fd = target.fd, .events = POLLOUT };
	ssize_t put;

	/* The descriptor is shared with whoever gave it to us and need not be non-blocking: a reader that stands still
	 * must not stop the worker. */
	if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)) {
		target.dropped++;
		return;
	}
	do
		put = write(target.fd, line.p, line.n);
	while (put < 0 && errno == EINTR);
	if (put == (ssize_t)line.n) {
		target.torn = false;
		target.dropped = 0;
		return;
	}
	/* Part of a line: the next one begins with the newline that this one lacks. */
	if (put > 0)
		target.torn = true;
	target.dropped++;
}

void log_values(enum log_event event, const struct log_value *v, size_t n)
{
	uint8_t memory[LINE_MAX_BYTES];
	struct buf line = { .p = memory, .cap = sizeof(memory), .max = sizeof(memory) };

	BUG_ON((unsigned)event >= LOG_EVENT_COUNT);
	if (events[event].level > target.level)
		return;
	if (target.torn)
		buf_add_byte(&line, '\n');
	add_start(event, clock_wall_us() / 1000, target.json, &line);
	for (size_t i = 0; i < n; i++)
		add_value(&v[i], target.json, &line);
	if (target.dropped > 0) {
		add_key("dropped", target.json, &line);
		buf_add_uint(&line, target.dropped);
	}
	add_end(target.json, &line);
	if (buf_ok(&line) == ERR_OK)
		write_line(span_buf(&line));
	else
		target.dropped++;
}
