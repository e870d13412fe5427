/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of config/: files are memory files, and each case starts from a valid configuration
 * and changes as little as it can. Include cmocka.h first.
 */
#ifndef TESTS_UNIT_CONFIG_FIXTURE_H
#define TESTS_UNIT_CONFIG_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/table.h"
#include "cwc/windows.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HEX64    "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"
/* Stands in bad values: it must never be seen again. */
#define MARK "Zq7x"

struct setting {
	const char *section, *name, *value; /* value NULL: left out */
};

static const struct setting base[] = {
	{ "jobs", "signer", "app-1 " HEX64 },
	{ "attest", "device", "none" },
	{ "house", "agent", "Sample Civic Relay LLC" },
	{ "house", "agent_ack_email", "acks@example.org" },
	{ "house", "agent_contact_name", "Robin Sample" },
	{ "house", "agent_contact_email", "desk@example.org" },
	{ "house", "agent_contact_phone", "202-555-0142" },
	{ "house", "api_key_file", "/etc/cwc-worker/house-api-key" },
	{ "senate", "enabled", "false" },
};

static struct config conf;
static struct config_problems problems;

static inline int memory_file(const char *text, size_t n, char path[64])
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static inline enum err load_bytes(const char *measured, size_t n, const char *host)
{
	char measured_path[64], host_path[64];
	int measured_fd = memory_file(measured, n, measured_path);
	int host_fd = host ? memory_file(host, strlen(host), host_path) : -1;
	enum err e = config_load(measured_path, host ? host_path : NULL, cwc_windows_good, &conf, &problems);

	assert_int_equal(e, problems.n ? ERR_CONFIG : ERR_OK);
	close(measured_fd);
	if (host_fd >= 0)
		close(host_fd);
	return e;
}

static inline enum err load(const char *measured, const char *host)
{
	return load_bytes(measured, strlen(measured), host);
}

static inline void add_setting(struct buf *b, const struct setting *s)
{
	char line[1200];

	if (!s->value)
		return;
	(void)snprintf(line, sizeof(line), "[%s]\n%s = %s\n", s->section, s->name, s->value);
	buf_add_str(b, line);
}

static inline bool in_list(const struct setting *s, const struct setting *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s->section, list[i].section) == 0 && strcmp(s->name, list[i].name) == 0)
			return true;
	return false;
}

/* The base with these settings in place of its own, or behind it. */
static inline void build(struct buf *b, const struct setting *with, size_t n)
{
	buf_init(b, 65536);
	for (size_t i = 0; i < COUNT(base); i++)
		if (!in_list(&base[i], with, n))
			add_setting(b, &base[i]);
	for (size_t i = 0; i < n; i++)
		add_setting(b, &with[i]);
}

static inline enum err load_with(const struct setting *with, size_t n, const char *host)
{
	struct buf b;
	enum err e;

	build(&b, with, n);
	e = load(buf_cstr(&b), host);
	buf_clear(&b);
	return e;
}

static inline enum err load_one(const char *section, const char *name, const char *value)
{
	const struct setting s = { section, name, value };

	return load_with(&s, 1, NULL);
}

static inline void problem_text(size_t i, struct buf *out)
{
	buf_init(out, 1024);
	config_problem_text(&problems.at[i], out);
	assert_non_null(buf_cstr(out));
}

static inline void show_problems(void)
{
	struct buf b;

	for (size_t i = 0; i < problems.n; i++) {
		problem_text(i, &b);
		print_error("%s\n", buf_cstr(&b));
		buf_clear(&b);
	}
}

/* Exactly one problem, with this key and rule. */
static inline void assert_problem(const char *key, const char *rule)
{
	if (problems.n != 1 || strcmp(problems.at[0].key, key) != 0 || !strstr(problems.at[0].rule, rule)) {
		print_error("expected %s: %s\n", key, rule);
		show_problems();
	}
	assert_int_equal(problems.n, 1);
	assert_string_equal(problems.at[0].key, key);
	assert_non_null(strstr(problems.at[0].rule, rule));
}

static inline void assert_no_mark(void)
{
	struct buf b;

	for (size_t i = 0; i < problems.n; i++) {
		problem_text(i, &b);
		assert_null(strstr(buf_cstr(&b), MARK));
		buf_clear(&b);
	}
}

static inline void assert_good(const char *section, const char *name, const char *value)
{
	if (load_one(section, name, value) != ERR_OK) {
		print_error("refused: %s.%s = %s\n", section, name, value);
		show_problems();
		fail();
	}
}

static inline void assert_bad(const char *section, const char *name, const char *value, const char *rule)
{
	char key[80];

	(void)snprintf(key, sizeof(key), "%s.%s", section, name);
	assert_int_equal(load_one(section, name, value), ERR_CONFIG);
	assert_problem(key, rule);
	assert_true(problems.at[0].line > 0);
	assert_no_mark();
}

#endif
