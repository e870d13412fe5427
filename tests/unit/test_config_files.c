/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: lines, sections and tiers of the files, and what is made from the table. Run in
 * the top directory of the sources (or with SRCDIR set), whose example files are compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_fixture.h"

/* --- lines ----------------------------------------------------------------------------------- */

/* A bad line at the end of a good file: one problem, with the number of that line. */
static void assert_bad_line(const char *line, const char *key, const char *rule)
{
	struct buf b;
	unsigned lines = 1;

	build(&b, NULL, 0);
	for (size_t i = 0; i < b.n; i++)
		lines += b.p[i] == '\n';
	buf_add_str(&b, line);
	assert_int_equal(load(buf_cstr(&b), NULL), ERR_CONFIG);
	assert_problem(key, rule);
	assert_int_equal(problems.at[0].line, lines);
	assert_no_mark();
	buf_clear(&b);
}

static void test_lines(void **state)
{
	char longer[2000];

	(void)state;
	assert_bad_line(MARK, "", "is neither a section, nor KEY = VALUE, nor a comment");
	assert_bad_line("\tname = " MARK "\n", "", "is indented: a value cannot go on in the next line");
	assert_bad_line("agent = " MARK " ; why\n", "", "a comment needs a line of its own");
	assert_bad_line("agent =;" MARK "\n", "senate.agent", "must not begin with a semicolon");
	assert_bad_line("agent = a\x01" MARK "\n", "", "has a control character");
	assert_bad_line("agent = a\x7f" MARK "\n", "", "has a control character");
	assert_bad_line("agent = a\xff" MARK "\n", "", "must be well-formed UTF-8");
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "agent = " MARK, 12);
	longer[1022] = '\0';
	assert_bad_line(longer, "", "is a line that is too long");
	longer[1021] = '\0';
	assert_bad_line(longer, "senate.agent", "must have between 4 and 500 characters");
	assert_bad_line("[senate] # no\n", "", "is not a known section");
}

static void test_line_numbers(void **state)
{
	(void)state;
	assert_int_equal(load("# first\n\n[house]\n  # indented\nrate = " MARK "\n[queue]\nlease = " MARK "\n", NULL),
			 ERR_CONFIG);
	assert_true(problems.n > 2);
	assert_string_equal(problems.at[0].key, "house.rate");
	assert_int_equal(problems.at[0].line, 5);
	assert_string_equal(problems.at[1].key, "queue.lease");
	assert_int_equal(problems.at[1].line, 7);
	/* Nobody set it: no line. */
	assert_int_equal(problems.at[2].line, 0);
	assert_no_mark();
}

static void test_nul(void **state)
{
	static const char text[] = "[house]\nagent = ab\0" MARK "\n";

	(void)state;
	assert_int_equal(load_bytes(text, sizeof(text) - 1, NULL), ERR_CONFIG);
	assert_int_equal(problems.at[0].line, 2);
	assert_string_equal(problems.at[0].rule, "has a control character");
	assert_no_mark();
}

/* Line ends of either kind, a missing last one, a colon, blanks around. */
static void test_spelling(void **state)
{
	struct buf b;

	(void)state;
	build(&b, NULL, 0);
	buf_add_str(&b, "[house]\r\nrate:1/s  \r\n;c\r\n\r\n[queue]\t\nname\t=\tother");
	assert_int_equal(load(buf_cstr(&b), NULL), ERR_OK);
	assert_true(conf.chamber[CONFIG_HOUSE].rate == 1);
	assert_string_equal(conf.queue_name, "other");
	buf_clear(&b);
}

static void test_unknown(void **state)
{
	(void)state;
	assert_bad_line("[sennate]\nagent = " MARK, "sennate", "is not a known section");
	assert_bad_line("[Senate]\nagent = " MARK, "", "is not a known section");
	assert_bad_line("[" MARK "]\nx = y", "", "is not a known section");
	assert_bad_line("[senate", "", "is not a known section");
	assert_bad_line("[]\nx = y", "", "is not a known section");
	assert_bad_line("[house_house_house_house_house_house_house_house_house_house_house]", "",
			"is not a known section");
	assert_bad_line("agentt = " MARK, "senate.agentt", "is not a known key");
	/* Half of a pasted secret is a name to the parser. */
	assert_bad_line("agent" MARK " = x", "senate", "is not a known key");
	assert_bad_line(MARK "c2VjcmV0Cg==", "senate", "is not a known key");
	assert_bad_line("= " MARK, "senate", "is not a known key");
	assert_int_equal(load("agent = " MARK "\n", NULL), ERR_CONFIG);
	assert_string_equal(problems.at[0].rule, "stands before the first section");
	assert_int_equal(problems.at[0].line, 1);
	assert_no_mark();
}

static void test_twice(void **state)
{
	struct setting with[] = { { "queue", "name", "a" }, { "house", "rate", "1/s" }, { "queue", "name", MARK } };

	(void)state;
	assert_int_equal(load_with(with, 3, NULL), ERR_CONFIG);
	assert_problem("queue.name", "is set twice, first in line 20");
	assert_int_equal(problems.at[0].line, 24);
	assert_no_mark();
}

static void test_many_problems(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	buf_add_str(&b, "[house]\n");
	for (size_t i = 0; i < 3 * CONFIG_PROBLEMS_MAX; i++)
		buf_add_str(&b, "agent = " MARK "\n");
	assert_int_equal(load(buf_cstr(&b), NULL), ERR_CONFIG);
	assert_int_equal(problems.n, CONFIG_PROBLEMS_MAX);
	assert_no_mark();
	buf_clear(&b);
}

/* --- files ----------------------------------------------------------------------------------- */

static void assert_unreadable(const char *measured, const char *host, const char *bad, const char *rule)
{
	conf.lease_ms = 4711;
	assert_int_equal(config_load(measured, host, cwc_windows_good, &conf, &problems), ERR_CONFIG);
	assert_problem("", rule);
	assert_string_equal(problems.at[0].file, bad);
	assert_int_equal(problems.at[0].line, 0);
	/* Written on success only. */
	assert_int_equal(conf.lease_ms, 4711);
}

static void test_unreadable(void **state)
{
	char path[64], *large = malloc(70000);
	struct buf b;
	int fd;

	(void)state;
	assert_unreadable("/nonexistent/conf", NULL, "/nonexistent/conf", "does not exist");
	assert_unreadable("/dev/null/conf", NULL, "/dev/null/conf", "cannot be opened");
	assert_unreadable("/", NULL, "/", "is not a regular file");
	assert_unreadable("/dev/null", NULL, "/dev/null", "is not a regular file");
	assert_unreadable("/proc/self/mem", NULL, "/proc/self/mem", "cannot be read");
	assert_non_null(large);
	memset(large, '\n', 70000);
	assert_int_equal(load_bytes(large, 65536, NULL), ERR_CONFIG);
	assert_string_equal(problems.at[0].key, "jobs.signer");
	fd = memory_file(large, 65537, path);
	assert_unreadable(path, NULL, path, "is larger than 64 KiB");
	close(fd);
	fd = memory_file(large, 70000, path);
	assert_unreadable(path, NULL, path, "is larger than 64 KiB");
	close(fd);
	free(large);
	build(&b, NULL, 0);
	fd = memory_file((const char *)b.p, b.n, path);
	assert_unreadable(path, "/nonexistent/host", "/nonexistent/host", "does not exist");
	close(fd);
	buf_clear(&b);
}

static void test_tiers(void **state)
{
	const struct setting with[] = { { "queue", "name", "mine" }, { "jobs", "attempts", "5" } };
	char line[200];

	(void)state;
	assert_int_equal(load_with(with, 2, "[queue]\nname = theirs\n[house]\nrate = 2/s\n"), ERR_OK);
	assert_string_equal(conf.queue_name, "theirs");
	assert_int_equal(conf.attempts, 5);
	assert_true(conf.chamber[CONFIG_HOUSE].rate == 2);
	/* A rate may be lowered, not raised: the measured ceiling stands. */
	assert_int_equal(load_with(NULL, 0, "\n[house]\nrate = 5.1/s\n"), ERR_CONFIG);
	assert_problem("house.rate", "must not be above rate_ceiling");
	assert_int_equal(problems.at[0].line, 3);
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];

		if (k->tier != CONFIG_MEASURED)
			continue;
		(void)snprintf(line, sizeof(line), "[%s]\n%s = %s\n", k->section, k->name,
			       k->def[0] ? k->def : k->example);
		assert_int_equal(load_with(NULL, 0, line), ERR_CONFIG);
		(void)snprintf(line, sizeof(line), "%s.%s", k->section, k->name);
		assert_problem(line, "is a measured key: it can be set in the measured file only");
		assert_int_equal(problems.at[0].line, 2);
	}
}

/* No key's problem says anything of its value. */
static void test_no_value_is_repeated(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		char value[700];

		memset(value, '!', sizeof(value));
		memcpy(value, "/" MARK, 5);
		value[600] = '\0';
		assert_int_equal(load_one(k->section, k->name, value), ERR_CONFIG);
		assert_true(problems.n > 0);
		assert_string_equal(problems.at[0].key + strlen(k->section) + 1, k->name);
		assert_no_mark();
	}
}

static void test_problem_text(void **state)
{
	const struct config_problem p[] = { { "/etc/c", 7, "house.url", "is bad" }, { "/etc/c", 0, "", "is bad" } };
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	config_problem_text(&p[0], &b);
	assert_string_equal(buf_cstr(&b), "/etc/c:7: house.url: is bad");
	buf_reset(&b);
	config_problem_text(&p[1], &b);
	assert_string_equal(buf_cstr(&b), "/etc/c: is bad");
	buf_clear(&b);
}

/* --- what is made from the table ------------------------------------------------------------- */

static void print(struct buf *out)
{
	buf_init(out, 65536);
	config_print(&conf, out);
	assert_non_null(buf_cstr(out));
}

static void test_print_and_read(void **state)
{
	const struct setting with[] = {
		{ "house", "rate_ceiling", "10/min" },
		{ "house", "rate", "0.123456789012345/s" },
		{ "house", "office_rate", "100/h" },
		{ "house", "answer_max", "2000B" },
		{ "house", "agent", "Caf\xc3\xa9; =:# \"x\"" },
		{ "house", "address", "vsock:3:8443" },
		{ "house", "offices_url", "" },
		{ "jobs", "signer", "b-2 " HEX64 },
		{ "jobs", "signer", "c-3 " HEX64 },
		{ "jobs", "signer", "d-4 " HEX64 " - 2026-12-01T00:00:00Z" },
		{ "jobs", "authority", "root-1 " HEX64 },
		{ "keys", "kms_key", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" },
		{ "jobs", "age_max", "90min" },
		{ "keys", "witness_context", "communique-witness-encryption" },
		{ "worker", "drain_timeout", "0s" },
		{ "worker", "log_level", "error" },
		{ "house", "maintenance", "sun 00:00-06:00, wed 05:00-07:00" },
		{ "house", "breaker_open", "0ms" },
		{ "alarms", "dead", "0" },
		{ "queue", "user", "worker" },
		{ "queue", "password_file", "/p" },
	};
	struct config before;
	struct buf first, second;

	(void)state;
	assert_int_equal(load_with(with, COUNT(with), NULL), ERR_OK);
	before = conf;
	print(&first);
	assert_non_null(strstr(buf_cstr(&first), "\nrate_ceiling = 10/min\n"));
	assert_non_null(strstr(buf_cstr(&first), "\nsigner = c-3 " HEX64 "\n"));
	assert_non_null(strstr(buf_cstr(&first), "\nsigner = d-4 " HEX64 " - 2026-12-01T00:00:00Z\n"));
	assert_non_null(strstr(buf_cstr(&first), "\nauthority = root-1 " HEX64 "\n"));
	assert_non_null(strstr(buf_cstr(&first), "\nage_max = 90min\n"));
	memset(&conf, 0, sizeof(conf));
	if (load(buf_cstr(&first), NULL) != ERR_OK)
		show_problems();
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		size_t n = k->size * (k->room ? k->room : 1);

		assert_memory_equal((const char *)&before + k->offset, (const char *)&conf + k->offset, n);
	}
	print(&second);
	assert_string_equal(buf_cstr(&first), buf_cstr(&second));
	buf_clear(&first);
	buf_clear(&second);
}

/* Takes the # from every "#key = value" line. */
static void uncomment(struct buf *b)
{
	bool start = true;
	size_t n = 0;

	for (size_t i = 0; i + 1 < b->n; i++) {
		if (!start || b->p[i] != '#' || b->p[i + 1] == ' ')
			b->p[n++] = b->p[i];
		start = b->p[i] == '\n';
	}
	b->n = n;
}

static void test_examples(void **state)
{
	struct buf measured, host;
	char *zeros;

	(void)state;
	buf_init(&measured, 65536);
	buf_init(&host, 65536);
	config_example(CONFIG_MEASURED, &measured);
	config_example(CONFIG_HOST, &host);
	/* As they are: nothing is set, so that only what is needed is missing. */
	assert_int_equal(load(buf_cstr(&measured), buf_cstr(&host)), ERR_CONFIG);
	for (size_t i = 0; i < problems.n; i++)
		assert_non_null(strstr(problems.at[i].rule, "is needed"));
	uncomment(&measured);
	uncomment(&host);
	/* The signer and the authority. */
	for (size_t i = 0; i < 2; i++) {
		zeros = strstr((char *)(uintptr_t)buf_cstr(&measured), "00000000");
		assert_non_null(zeros);
		memcpy(zeros, HEX64, 64);
	}
	if (load(buf_cstr(&measured), buf_cstr(&host)) != ERR_OK)
		show_problems();
	assert_int_equal(problems.n, 0);
	for (size_t i = 0; i < config_n_keys; i++) {
		char line[120];

		(void)snprintf(line, sizeof(line), "\n%s = ", config_keys[i].name);
		assert_non_null(
			strstr(config_keys[i].tier == CONFIG_HOST ? buf_cstr(&host) : buf_cstr(&measured), line));
	}
	buf_clear(&measured);
	buf_clear(&host);
}

static void assert_file_is(const char *name, const struct buf *want)
{
	const char *top = getenv("SRCDIR");
	char path[300];
	uint8_t *got = malloc(65536);
	FILE *f;
	size_t n;

	assert_non_null(got);
	(void)snprintf(path, sizeof(path), "%s/config/%s", top ? top : ".", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	n = fread(got, 1, 65536, f);
	(void)fclose(f);
	assert_int_equal(n, want->n);
	assert_memory_equal(got, want->p, n);
	free(got);
}

/* The files in the repository are those that the table makes, without what a development build has besides. */
static void test_example_files(void **state)
{
	struct buf b;

	(void)state;
#ifdef CWC_DEV
	skip();
#endif
	buf_init(&b, 65536);
	config_example(CONFIG_MEASURED, &b);
	assert_file_is("cwc-worker.conf", &b);
	buf_reset(&b);
	config_example(CONFIG_HOST, &b);
	assert_file_is("host.conf", &b);
	buf_clear(&b);
}

static void test_man(void **state)
{
	struct buf b;
	const char *at;

	(void)state;
	buf_init(&b, 65536);
	config_man(&b);
	at = buf_cstr(&b);
	assert_non_null(at);
	assert_non_null(strstr(at, "A\\-Z a\\-z"));
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		char head[120];

		(void)snprintf(head, sizeof(head), ".TP\n\\fB%s\\fR (%s; ", k->name,
			       k->tier == CONFIG_HOST ? "host" : "measured");
		at = strstr(at, head);
		assert_non_null(at);
		at = strstr(at, ")\n") + 2;
		/* A text follows, not the next macro. */
		assert_true(*at != '.' && *at != '\'' && strcspn(at, "\n") > 8);
		assert_true(strlen(k->text) > 8);
	}
	buf_clear(&b);
}

static void test_json(void **state)
{
	struct buf b;
	size_t n = 0;

	(void)state;
	buf_init(&b, 65536);
	config_json(&b);
	for (const char *at = buf_cstr(&b); (at = strstr(at, "{\"section\": ")); at++)
		n++;
	assert_int_equal(n, config_n_keys);
	assert_non_null(strstr(buf_cstr(&b), "\"key\": \"lease\", \"type\": \"duration\", \"unit\": \"ms\", "
					     "\"tier\": \"measured\", \"default\": \"10s\", \"min\": \"3s\", "
					     "\"max\": \"1min\", \"zero\": false, \"repeatable\": false, "));
	assert_non_null(strstr(buf_cstr(&b), "\"values\": [\"hold\", \"resend\"]"));
	buf_clear(&b);
}

/* Each row can be looked up, keys of a section stand together, and defaults are in their own range. */
static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];

		assert_int_equal(config_find(k->section, k->name), i);
		assert_true(config_is_section(span_str(k->section)));
		assert_true(k->offset + k->size * (k->room ? k->room : 1) <= sizeof(struct config));
		assert_true((k->def[0] != '\0') != (k->example != NULL));
		for (size_t j = i + 1; j < config_n_keys; j++)
			if (strcmp(config_keys[j].section, k->section) == 0)
				assert_string_equal(config_keys[j - 1].section, k->section);
	}
	assert_int_equal(config_find("house", "none"), config_n_keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),         cmocka_unit_test(test_line_numbers),
		cmocka_unit_test(test_nul),           cmocka_unit_test(test_spelling),
		cmocka_unit_test(test_unknown),       cmocka_unit_test(test_twice),
		cmocka_unit_test(test_many_problems), cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_tiers),         cmocka_unit_test(test_no_value_is_repeated),
		cmocka_unit_test(test_problem_text),  cmocka_unit_test(test_print_and_read),
		cmocka_unit_test(test_examples),      cmocka_unit_test(test_example_files),
		cmocka_unit_test(test_man),           cmocka_unit_test(test_json),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
