/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON array that may be larger than the memory, object by object. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/boots.h"

#define CHUNK 65536

struct source {
	const char *name;
	int fd, error; /* errno */
	uint8_t chunk[CHUNK];
	size_t at, n;
	size_t left;        /* of what an object may have */
	unsigned depth;     /* how many brackets are open in it */
	bool text, escaped; /* within a string of it; behind a backslash there */
	uint64_t number;
};

/* The next byte without taking it, or -1 at the end of the input. */
static int peek(struct source *s)
{
	ssize_t n = 1;

	if (s->at < s->n)
		return s->chunk[s->at];
	do
		n = read(s->fd, s->chunk, sizeof(s->chunk));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		s->error = errno;
	s->at = 0;
	s->n = n > 0 ? (size_t)n : 0;
	return n > 0 ? s->chunk[0] : -1;
}

/* The next byte that is not white space, without taking it. */
static int peek_token(struct source *s)
{
	int c = peek(s);

	while (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
		s->at++;
		c = peek(s);
	}
	return c;
}

/* Where an object ends, for one of which no more is wanted. */
static void follow(struct source *s, uint8_t c)
{
	if (s->escaped)
		s->escaped = false;
	else if (s->text && c == '\\')
		s->escaped = true;
	else if (c == '"')
		s->text = !s->text;
	else if (!s->text && (c == '{' || c == '['))
		s->depth++;
	else if (!s->text && (c == '}' || c == ']') && s->depth > 0)
		s->depth--;
}

/* For jansson, which would take more than its object if it got more than a byte at a time. */
static size_t one_byte(void *buffer, size_t size, void *arg)
{
	struct source *s = arg;
	int c = size > 0 && s->left > 0 ? peek(s) : -1;

	if (c < 0)
		return 0;
	s->left--;
	s->at++;
	follow(s, (uint8_t)c);
	*(uint8_t *)buffer = (uint8_t)c;
	return 1;
}

static int bad(const struct source *s, const char *rule)
{
	if (s->error != 0)
		return ctl_fail(CTL_CONFIG, "%s: %s", s->name, strerror(s->error));
	return ctl_fail(CTL_CONFIG, "%s: entry %llu: %s", s->name, (unsigned long long)s->number, rule);
}

/* The rest of an object that is too large. */
static int pass_over(struct source *s)
{
	int c = 0;

	while (s->depth > 0 && (c = peek(s)) >= 0) {
		follow(s, (uint8_t)c);
		s->at++;
	}
	return c >= 0 ? 0 : bad(s, "larger than 1 MiB, and without an end");
}

static int one_object(struct source *s, void (*each)(void *arg, const json_t *entry), void *arg)
{
	json_error_t error;
	json_t *entry;
	int code = 0;

	s->depth = 0;
	s->text = s->escaped = false;
	s->left = BOOTS_ENTRY_MAX;
	s->number++;
	entry = json_load_callback(one_byte, s, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
	if (entry == NULL && s->left == 0 && s->depth > 0)
		code = pass_over(s);
	else if (!json_is_object(entry))
		code = bad(s, "must be a JSON object, as `cwcctl keys --json` prints it");
	if (code == 0)
		each(arg, entry);
	json_decref(entry);
	return code;
}

/* Behind the opening bracket, to the end of the input. */
static int array(struct source *s, void (*each)(void *arg, const json_t *entry), void *arg)
{
	int c = peek_token(s), code = 0;

	while (code == 0 && c != ']') {
		code = one_object(s, each, arg);
		c = code == 0 ? peek_token(s) : 0;
		if (c == ',') {
			s->at++;
			c = 0; /* an object must follow */
		} else if (code == 0 && c != ']') {
			code = bad(s, "the list does not end");
		}
	}
	if (code != 0)
		return code;
	s->at++;
	return peek_token(s) < 0 && s->error == 0 ? 0 : bad(s, "something stands behind the list");
}

static int sequence(struct source *s, void (*each)(void *arg, const json_t *entry), void *arg)
{
	int code = 0;

	while (code == 0 && peek_token(s) >= 0)
		code = one_object(s, each, arg);
	return code != 0 || s->error == 0 ? code : bad(s, "");
}

int boots_each(const char *file, void (*each)(void *arg, const json_t *entry), void *arg)
{
	const bool standard = strcmp(file, "-") == 0;
	struct source *s = xcalloc(1, sizeof(*s));
	int code;

	s->name = attest_file_name(file);
	s->fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0) {
		code = ctl_fail(CTL_CONFIG, "%s: %s", file, strerror(errno));
	} else if (peek_token(s) == '[') {
		s->at++;
		code = array(s, each, arg);
	} else {
		code = sequence(s, each, arg);
	}
	if (s->fd >= 0 && !standard)
		close(s->fd);
	free(s);
	return code;
}
