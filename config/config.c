/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the files. libinih splits lines into keys and values; what it would pass over in silence
 * (a value cut at its line limit, a continuation line, text behind a section or a value) is
 * refused line by line before it gets there, so that a file means what it seems to say.
 */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/table.h"
#include "worker/base/text.h"

#define FILE_SIZE_MAX 65536
#define READ_SIZE     4096
/* libinih's line buffer. Three bytes of it are for CR, LF and NUL. */
#define LINE_SIZE 1024

struct load {
	struct config c;
	struct config_problems *problems;
	struct config_origin here;
	enum config_tier tier;
	struct span rest;               /* of the file, not yet handed to libinih */
	unsigned seen[CONFIG_KEYS_MAX]; /* line of each key in this file, 0: none */
	struct config_origin origin[CONFIG_KEYS_MAX];
	bool unreadable;
};

/* --- problems -------------------------------------------------------------------------------- */

void config_problem_add(struct config_problems *p, const struct config_origin *at, const char *section,
			const char *name, const char *rule)
{
	struct config_problem *new;

	if (p->n == CONFIG_PROBLEMS_MAX)
		return;
	new = &p->at[p->n++];
	memset(new, 0, sizeof(*new));
	new->line = at->line;
	(void)snprintf(new->file, sizeof(new->file), "%s", at->file);
	(void)snprintf(new->key, sizeof(new->key), "%s%s%s", section, name[0] ? "." : "", name);
	(void)snprintf(new->rule, sizeof(new->rule), "%s", rule);
}

void config_problem_text(const struct config_problem *p, struct buf *out)
{
	buf_add_str(out, p->file);
	buf_add_str(out, ":");
	if (p->line) {
		buf_add_uint(out, p->line);
		buf_add_str(out, ":");
	}
	buf_add_str(out, " ");
	if (p->key[0]) {
		buf_add_str(out, p->key);
		buf_add_str(out, ": ");
	}
	buf_add_str(out, p->rule);
}

static void complain(struct load *l, const char *section, const char *name, const char *rule)
{
	config_problem_add(l->problems, &l->here, section, name, rule);
}

/* --- values ---------------------------------------------------------------------------------- */

static uint8_t *field_of(struct config *c, size_t offset)
{
	return (uint8_t *)c + offset;
}

static enum err store(struct config *c, const struct config_key *k, struct span value, char *rule)
{
	size_t n;

	if (k->room == 0)
		return config_parse(k, value, field_of(c, k->offset), rule);
	memcpy(&n, field_of(c, k->count), sizeof(n));
	if (n == k->room) {
		(void)snprintf(rule, CONFIG_RULE_SIZE, "may be given %zu times at most", k->room);
		return ERR_LIMIT;
	}
	TRY(config_parse(k, value, field_of(c, k->offset) + n * k->size, rule));
	n++;
	memcpy(field_of(c, k->count), &n, sizeof(n));
	return ERR_OK;
}

static void clear(struct config *c, const struct config_key *k)
{
	memset(field_of(c, k->offset), 0, k->size * (k->room ? k->room : 1));
	if (k->room)
		memset(field_of(c, k->count), 0, sizeof(size_t));
}

static void set_defaults(struct config *c)
{
	char rule[CONFIG_RULE_SIZE];

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		const char *at = k->def;

		while (*at) {
			size_t n = k->room ? strcspn(at, " ") : strlen(at);
			enum err e = store(c, k, span_of(at, n), rule);

			BUG_ON(e != ERR_OK);
			at += n + strspn(at + n, " ");
		}
	}
}

/* The kernel's name of this host, made to fit. */
static void set_host_name(struct config *c)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (c->name[0])
		return;
	if (gethostname(c->name, sizeof(c->name) - 1) != 0 || !c->name[0])
		(void)snprintf(c->name, sizeof(c->name), "worker");
	for (char *p = c->name; *p; p++)
		if (!strchr(allowed, *p))
			*p = '-';
}

/* --- lines ----------------------------------------------------------------------------------- */

/* Whether a name may stand in a message. What is not a plain name may be part of a secret that was pasted
 * into the wrong place, and is not repeated. */
static bool is_plain(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_");

	return n > 0 && n <= 32 && name[n] == '\0';
}

static void set_key(struct load *l, size_t i, struct span value)
{
	const struct config_key *k = &config_keys[i];
	char rule[CONFIG_RULE_SIZE];
	bool may_be_empty;

	if (l->tier == CONFIG_HOST && k->tier == CONFIG_MEASURED) {
		complain(l, k->section, k->name, "is a measured key: it can be set in the measured file only");
		return;
	}
	if (l->seen[i] && !k->room) {
		(void)snprintf(rule, sizeof(rule), "is set twice, first in line %u", l->seen[i]);
		complain(l, k->section, k->name, rule);
		return;
	}
	may_be_empty = !k->room && (k->empty || k->def[0] == '\0');
	/* The first of a list replaces what an earlier file, or the default, had. */
	if ((k->room && !l->seen[i]) || (value.n == 0 && may_be_empty))
		clear(&l->c, k);
	l->seen[i] = l->here.line;
	l->origin[i] = l->here;
	if (value.n == 0 && may_be_empty)
		return;
	if (store(&l->c, k, value, rule) != ERR_OK)
		complain(l, k->section, k->name, rule);
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct load *l = arg;
	size_t i = config_find(section, name);

	if (section[0] == '\0')
		complain(l, "", "", "stands before the first section");
	else if (!config_is_section(span_str(section)))
		return 1; /* reported with the section's own line */
	else if (i == config_n_keys)
		complain(l, section, is_plain(name) ? name : "", "is not a known key");
	else if (value[0] == ';')
		complain(l, section, name, "must not begin with a semicolon");
	else
		set_key(l, i, span_str(value));
	return 1;
}

static struct span trim_end(struct span s)
{
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* NULL when the line can go to libinih. */
static const char *line_rule(struct span line)
{
	size_t points;

	if (line.n > LINE_SIZE - 3)
		return "is a line that is too long";
	for (size_t i = 0; i < line.n; i++) {
		if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
			return "has a control character";
		if (i && line.p[i] == ';' && (line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return "has a comment behind it: a comment needs a line of its own";
	}
	if (text_utf8_length(line, &points) != ERR_OK)
		return "must be well-formed UTF-8";
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return "is indented: a value cannot go on in the next line";
	return NULL;
}

/* A section line: "[NAME]" and nothing else. */
static bool section_known(struct load *l, struct span line)
{
	struct span name = span_of(line.p + 1, line.n - 1);
	char copy[40];

	if (name.n && name.p[name.n - 1] == ']')
		name.n--;
	else
		name.n = 0;
	if (config_is_section(name))
		return true;
	(void)snprintf(copy, sizeof(copy), "%.*s", name.n < sizeof(copy) ? (int)name.n : 0, (const char *)name.p);
	complain(l, is_plain(copy) ? copy : "", "", "is not a known section");
	return false;
}

/* libinih asks for one line at a time; a refused one is blanked. */
static char *next_line(char *line, int room, void *arg)
{
	struct load *l = arg;
	const uint8_t *end;
	struct span s, body;
	const char *rule = NULL;

	if (l->rest.n == 0)
		return NULL;
	BUG_ON(room < LINE_SIZE);
	end = memchr(l->rest.p, '\n', l->rest.n);
	s = span_of(l->rest.p, end ? (size_t)(end - l->rest.p) : l->rest.n);
	l->rest = span_of(s.p + s.n + (end != NULL), l->rest.n - s.n - (end != NULL));
	l->here.line++;
	s = trim_end(s);
	for (body = s; body.n && (body.p[0] == ' ' || body.p[0] == '\t'); body = span_of(body.p + 1, body.n - 1))
		;
	if (body.n == 0 || body.p[0] == '#' || body.p[0] == ';')
		s.n = 0;
	else
		rule = line_rule(s);
	if (rule) {
		complain(l, "", "", rule);
		s.n = 0;
	} else if (s.n && s.p[0] == '[' && !section_known(l, s)) {
		s = span_lit("[?]");
	}
	memcpy(line, s.p, s.n);
	memcpy(line + s.n, "\n", 2);
	return line;
}

/* --- files ----------------------------------------------------------------------------------- */

/* NULL, or why it cannot be had. */
static const char *read_all(int fd, struct buf *out)
{
	struct stat st;
	ssize_t got = 1;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return "is not a regular file";
	while (got > 0) {
		/* For one read behind the largest file, which finds its end. */
		uint8_t *room = buf_room(out, READ_SIZE);

		if (!room)
			return "is larger than 64 KiB";
		got = read(fd, room, READ_SIZE);
		if (got > 0)
			buf_grew(out, (size_t)got);
	}
	return got == 0 ? NULL : "cannot be read";
}

static const char *read_file(const char *path, struct buf *out)
{
	/* Without waiting for the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *why;

	if (fd < 0)
		return errno == ENOENT ? "does not exist" : "cannot be opened";
	why = read_all(fd, out);
	(void)close(fd);
	return why;
}

static void load_file(struct load *l, const char *path, enum config_tier tier)
{
	struct buf text;
	const char *why;
	int line;

	l->tier = tier;
	l->here = (struct config_origin){ .file = path };
	memset(l->seen, 0, sizeof(l->seen));
	buf_init(&text, FILE_SIZE_MAX + READ_SIZE);
	why = read_file(path, &text);
	if (why) {
		complain(l, "", "", why);
		l->unreadable = true;
	} else {
		l->rest = span_buf(&text);
		ini_max_line = LINE_SIZE;
		line = ini_parse_stream(next_line, l, on_value, l);
		/* Any error of libinih is fatal: a value may have been delivered all the same. */
		l->here.line = line > 0 ? (unsigned)line : 0;
		if (line != 0)
			complain(l, "", "", "is neither a section, nor KEY = VALUE, nor a comment");
	}
	buf_clear(&text);
}

enum err config_load(const char *measured, const char *host, config_windows_good *windows, struct config *ret_config,
		     struct config_problems *ret_problems)
{
	struct load *l = xcalloc(1, sizeof(*l));
	enum err e;

	memset(ret_problems, 0, sizeof(*ret_problems));
	l->problems = ret_problems;
	set_defaults(&l->c);
	load_file(l, measured, CONFIG_MEASURED);
	if (host)
		load_file(l, host, CONFIG_HOST);
	if (!l->unreadable) {
		struct config_check check = { &l->c, measured, l->origin, windows, ret_problems };

		config_check_rules(&check);
	}
	set_host_name(&l->c);
	e = ret_problems->n ? ERR_CONFIG : ERR_OK;
	if (e == ERR_OK)
		*ret_config = l->c;
	xfree_wipe(l, sizeof(*l));
	return e;
}
