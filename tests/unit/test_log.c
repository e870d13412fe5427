/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define T_MS     1772471045123

static const char *line(enum log_event event, const struct log_value *v, size_t n, bool json)
{
	static struct buf b = { .max = 65536 };

	buf_clear(&b);
	log_line(event, v, n, T_MS, json, &b);
	return buf_cstr(&b);
}

static void test_json_line(void **state)
{
	const struct log_value v[] = {
		LOG_NAME(F_SID, span_lit("s-1")), LOG_STR(F_OFFICE, "HCA05"), LOG_INT(F_HTTP_STATUS, 200),
		LOG_INT(F_SKEW_MS, -7),           LOG_INT(F_REV, INT64_MAX),
	};

	(void)state;
	assert_string_equal(line(LOG_LETTER_ENDED, v, COUNT(v), true),
			    "{\"time\":\"2026-03-02T17:04:05.123Z\",\"level\":\"info\",\"event\":\"letter_ended\","
			    "\"sid\":\"s-1\",\"office\":\"HCA05\",\"http_status\":200,\"skew_ms\":-7,"
			    "\"rev\":9223372036854775807}\n");
	assert_string_equal(line(LOG_CHAMBER_HELD, NULL, 0, true),
			    "{\"time\":\"2026-03-02T17:04:05.123Z\",\"level\":\"error\",\"event\":\"chamber_held\"}\n");
}

static void test_text_line(void **state)
{
	const struct log_value v[] = { LOG_STR(F_SID, "s-1"), LOG_STR(F_REASON, ""), LOG_INT(F_COUNT, 3) };

	(void)state;
	assert_string_equal(line(LOG_LETTER_SENT, v, COUNT(v), false),
			    "2026-03-02T17:04:05.123Z debug letter_sent sid=s-1 reason= count=3\n");
	assert_string_equal(line(LOG_NOT_READY, NULL, 0, false), "2026-03-02T17:04:05.123Z warning not_ready\n");
}

/* What stands in the line for a name of this one byte. */
static char cleaned(uint8_t c)
{
	const struct log_value v = LOG_NAME(F_SID, span_of(&c, 1));
	const char *at = strchr(line(LOG_READY, &v, 1, false), '=');

	if (at == NULL)
		return '\0';
	assert_int_equal(strlen(at), 3);
	assert_int_equal(at[2], '\n');
	return at[1];
}

static void test_names_are_cleaned(void **state)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/@-";

	(void)state;
	for (unsigned c = 0; c < 256; c++)
		assert_int_equal(cleaned((uint8_t)c), c != 0 && strchr(allowed, (int)c) != NULL ? (char)c : '?');
}

/* Whatever a name holds, the line stays one JSON object with just that field. */
static void test_names_cannot_break_out(void **state)
{
	const struct log_value v = LOG_NAME(F_SID, span_lit("x\",\"level\":\"debug\\\n{"));

	(void)state;
	assert_string_equal(strstr(line(LOG_READY, &v, 1, true), "\"sid\""), "\"sid\":\"x???level?:?debug???\"}\n");
}

static void test_names_are_cut(void **state)
{
	static const char name[200] = "";
	struct log_value v = LOG_NAME(F_SID, span_of(name, 128));
	const size_t longest = strlen(line(LOG_READY, &v, 1, false));

	(void)state;
	v.name.n = 127;
	assert_int_equal(strlen(line(LOG_READY, &v, 1, false)), longest - 1);
	v.name.n = 129;
	assert_int_equal(strlen(line(LOG_READY, &v, 1, false)), longest);
	v.name.n = 200;
	assert_int_equal(strlen(line(LOG_READY, &v, 1, false)), longest);
}

/* A number given to a name field, or the other way round, cannot put text into the log. */
static void test_the_field_decides_the_type(void **state)
{
	const struct log_value v[] = { LOG_STR(F_HTTP_STATUS, "text"), LOG_INT(F_SID, 5) };

	(void)state;
	assert_string_equal(strstr(line(LOG_READY, v, COUNT(v), true), ",\"http"),
			    ",\"http_status\":0,\"sid\":\"\"}\n");
}

static void test_every_event_and_field_has_a_name(void **state)
{
	(void)state;
	for (unsigned e = 0; e < LOG_EVENT_COUNT; e++) {
		struct log_value v[LOG_FIELD_COUNT];
		json_t *j;

		for (unsigned f = 0; f < LOG_FIELD_COUNT; f++)
			v[f] = LOG_NAME((enum log_field)f, span_lit("x"));
		j = json_loads(line((enum log_event)e, v, COUNT(v), true), JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(j);
		assert_int_equal(json_object_size(j), 3 + LOG_FIELD_COUNT);
		json_decref(j);
	}
}

/* A pipe of which both ends do not block. */
struct ends {
	int fd[2];
	char text[65536 * 4];
};

static struct ends ends;

static int set_up(void **state)
{
	*state = &ends;
	return pipe2(ends.fd, O_NONBLOCK | O_CLOEXEC);
}

static int tear_down(void **state)
{
	struct ends *p = *state;

	log_open(STDERR_FILENO, LOG_INFO, true);
	close(p->fd[0]);
	close(p->fd[1]);
	return 0;
}

/* Everything that is in the pipe. */
static const char *drain(struct ends *p)
{
	size_t n = 0;
	ssize_t got;

	while ((got = read(p->fd[0], p->text + n, sizeof(p->text) - 1 - n)) > 0)
		n += (size_t)got;
	p->text[n] = '\0';
	return p->text;
}

static void test_lines_are_written(void **state)
{
	struct ends *p = *state;
	int64_t before = clock_wall_us() / 1000;
	json_t *j;

	log_open(p->fd[1], LOG_INFO, true);
	log_event(LOG_LETTER_ENDED, LOG_STR(F_SID, "s-1"), LOG_INT(F_HTTP_STATUS, 200));
	j = json_loads(drain(p), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "event")), "letter_ended");
	assert_string_equal(json_string_value(json_object_get(j, "sid")), "s-1");
	assert_int_equal(json_integer_value(json_object_get(j, "http_status")), 200);
	assert_int_equal(strlen(json_string_value(json_object_get(j, "time"))), 24);
	json_decref(j);
	assert_true(before > 1600000000000);
}

static void test_levels(void **state)
{
	struct ends *p = *state;

	log_open(p->fd[1], LOG_INFO, false);
	log_values(LOG_LETTER_SENT, NULL, 0); /* debug */
	assert_string_equal(drain(p), "");
	log_values(LOG_READY, NULL, 0); /* info */
	assert_non_null(strstr(drain(p), " info ready\n"));
	log_open(p->fd[1], LOG_WARNING, false);
	log_values(LOG_READY, NULL, 0);
	assert_string_equal(drain(p), "");
	log_values(LOG_QUEUE_DOWN, NULL, 0);
	assert_non_null(strstr(drain(p), " warning queue_down\n"));
	log_open(p->fd[1], LOG_DEBUG, false);
	log_values(LOG_LETTER_SENT, NULL, 0);
	assert_non_null(strstr(drain(p), " debug letter_sent\n"));
}

static void fill(int fd)
{
	static const char page[4096];

	while (write(fd, page, sizeof(page)) > 0)
		continue;
	while (write(fd, page, 1) > 0)
		continue;
}

static void test_a_full_pipe_drops_and_counts(void **state)
{
	struct ends *p = *state;

	log_open(p->fd[1], LOG_INFO, true);
	fill(p->fd[1]);
	for (int i = 0; i < 3; i++)
		log_event(LOG_READY, LOG_INT(F_COUNT, i));
	(void)drain(p);
	log_event(LOG_READY, LOG_INT(F_COUNT, 3));
	assert_non_null(strstr(drain(p), ",\"count\":3,\"dropped\":3}\n"));
	log_event(LOG_READY, LOG_INT(F_COUNT, 4));
	assert_non_null(strstr(drain(p), ",\"count\":4}\n"));
	assert_null(strstr(p->text, "dropped"));

	log_open(p->fd[1], LOG_INFO, false);
	fill(p->fd[1]);
	log_values(LOG_READY, NULL, 0);
	(void)drain(p);
	log_values(LOG_READY, NULL, 0);
	assert_non_null(strstr(drain(p), " info ready dropped=1\n"));
}

static void test_too_long_lines_are_dropped(void **state)
{
	struct ends *p = *state;
	struct log_value v[40];
	char name[128];

	memset(name, 'a', sizeof(name));
	for (size_t i = 0; i < COUNT(v); i++)
		v[i] = LOG_NAME(F_SID, span_of(name, sizeof(name)));
	log_open(p->fd[1], LOG_INFO, true);
	log_values(LOG_READY, v, COUNT(v));
	assert_string_equal(drain(p), "");
	log_values(LOG_READY, v, 1);
	assert_non_null(strstr(drain(p), ",\"dropped\":1}\n"));
}

/* A file that may grow no further takes a part of a line: the next line does not go on with it, and
 * the loss is counted. */
static void test_a_torn_line_is_ended(void **state)
{
	FILE *f = tmpfile();
	struct rlimit old, low;
	char text[400] = "";
	ssize_t n;

	(void)state;
	assert_non_null(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 60; /* one line of 36 bytes and a part of another */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	log_open(fileno(f), LOG_INFO, false);
	for (int i = 0; i < 3; i++)
		log_values(LOG_READY, NULL, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	log_values(LOG_STOPPED, NULL, 0);
	log_values(LOG_STOPPED, NULL, 0);
	log_open(STDERR_FILENO, LOG_INFO, true);

	n = pread(fileno(f), text, sizeof(text) - 1, 0);
	fclose(f);
	assert_int_equal(n, 60 + 1 + 48 + 38);
	assert_int_equal(text[60], '\n');
	assert_memory_equal(text + 61 + 24, " info stopped dropped=2\n2", 25);
	assert_string_equal(text + 60 + 1 + 48 + 24, " info stopped\n");
}

static void test_clocks(void **state)
{
	int64_t wall = clock_wall_us(), boot = clock_boot_us();

	(void)state;
	assert_true(wall > 1600000000000000);
	assert_true(boot > 0);
	assert_true(clock_boot_us() >= boot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_line),
		cmocka_unit_test(test_text_line),
		cmocka_unit_test(test_names_are_cleaned),
		cmocka_unit_test(test_names_cannot_break_out),
		cmocka_unit_test(test_names_are_cut),
		cmocka_unit_test(test_the_field_decides_the_type),
		cmocka_unit_test(test_every_event_and_field_has_a_name),
		cmocka_unit_test_setup_teardown(test_lines_are_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_full_pipe_drops_and_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_long_lines_are_dropped, set_up, tear_down),
		cmocka_unit_test(test_a_torn_line_is_ended),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
