/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of `cwcctl top`, at widths of a phone, a terminal and a wall. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/cwcctl/top_draw.c" /* cwcctl is a program, no library */

#define SECOND INT64_C(1000000)

static struct top_state state(void)
{
	struct top_state t = {
		.queue = "q",
		.time = "2026-03-02T17:04:05Z",
		.door = 12,
		.door_oldest_us = 3 * SECOND,
		.dead = 4,
		.unknown = 1,
		.results = 20,
		.refused = 2,
		.n_alive = 2,
		.n_draining = 1,
		.chamber = { { .name = "house",
			       .waiting = 1234,
			       .held_rate = 934,
			       .in_flight = 32,
			       .later = 10,
			       .scalable = 300,
			       .used = 297,
			       .allowed = 300,
			       .oldest_us = 750 * SECOND,
			       .arrived = 410,
			       .ended = 296,
			       .state = "at its limit (rate)" },
			     { .name = "senate",
			       .waiting = 3,
			       .held = 3,
			       .allowed = 600,
			       .oldest_us = 9 * SECOND,
			       .state = "held until 2026-03-02T18:00:00Z by alice@ops: maintenance" } },
		.office = { { "HNE03", 120, 1, 750 * SECOND, "breaker: until 2026-03-02T17:05:03Z" },
			    { "HTX09", 800, 4, 60 * SECOND, "" } },
		.n_offices = 2,
		.more_offices = 31,
		.worker = { { "worker-1/00ff00ff00ff00ff", "serving", "0.9.0", 20, 2 * SECOND },
			    { "worker-2/1234567812345678", "draining", "", 12, -1 } },
		.n_workers = 2,
		.act = { { 62 * SECOND, "alice@ops", "hold senate  maintenance" },
			 { 3 * 86400 * SECOND, "ci:root@host", "note dead replay 3 done --all" } },
		.n_acts = 2,
	};
	return t;
}

static void draw(const struct top_state *t, unsigned width, unsigned height, bool colour, char *out, size_t size)
{
	struct buf b;
	buf_init(&b, 1U << 16);
	top_draw(t, width, height, colour, &b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	snprintf(out, size, "%.*s", (int)b.n, (const char *)b.p);
	buf_clear(&b);
}

static void frame_is(const struct top_state *t, unsigned width, unsigned height, const char *expected)
{
	char got[16384];
	draw(t, width, height, false, got, sizeof(got));
	assert_string_equal(got, expected);
}

/* No line has more columns, whatever the width; and each ends. */
static void assert_fits(const struct top_state *t, unsigned width, unsigned height)
{
	static char got[1 << 16];
	unsigned lines = 0;
	draw(t, width, height, false, got, sizeof(got));
	for (const char *p = got; *p != '\0'; lines++) {
		const char *end = strchr(p, '\n');
		size_t points = 0;
		assert_non_null(end);
		assert_int_equal(text_utf8_length(span_of((const uint8_t *)p, (size_t)(end - p)), &points), ERR_OK);
		assert_true(points <= (width < TOP_WIDTH_MIN ? TOP_WIDTH_MIN : width));
		p = end + 1;
	}
	assert_true(height == 0 || lines <= height);
}

static void test_40(void **unused)
{
	struct top_state t = state();
	(void)unused;
	frame_is(&t, 40, 0,
		 "queue q  2026-03-02T17:04:05Z  2 worker~\n"
		 "door 12 (3s)  dead 4  unknown 1  stuck 0\n"
		 "results to read 20  refused 2\n"
		 "\n"
		 "CHAMBER    WAIT  FLIGHT  OLDEST  STATE\n"
		 "house      1234      32   12min  at its~\n"
		 "senate        3       0      9s  held u~\n"
		 "\n"
		 "OFFICE     WAIT  FLIGHT  OLDEST  TROUBLE\n"
		 "HNE03       120       1   12min  breake~\n"
		 "HTX09       800       4     60s  -\n"
		 "and 31 more\n"
		 "\n"
		 "STATE      HOLDS    BEAT  WORKER\n"
		 "serving       20      2s  worker-1/00ff~\n"
		 "draining      12       -  worker-2/1234~\n"
		 "\n"
		 "   AGO  LAST ACTS OF PEOPLE\n"
		 "   62s  hold senate  maintenance\n"
		 "    3d  note dead replay 3 done --all\n");
}

static void test_80(void **unused)
{
	struct top_state t = state();
	(void)unused;
	frame_is(&t, 80, 0,
		 "queue q  2026-03-02T17:04:05Z  2 workers, some draining\n"
		 "door 12 (3s)  dead 4  unknown 1  stuck 0\n"
		 "results to read 20  refused 2\n"
		 "\n"
		 "CHAMBER    WAIT    HELD  FLIGHT  OLDEST       LAST MIN  STATE\n"
		 "house      1234     934      32   12min     297 of 300  at its limit (rate)\n"
		 "senate        3       3       0      9s       0 of 600  held until 2026-03-02T1~\n"
		 "\n"
		 "OFFICE     WAIT  FLIGHT  OLDEST  TROUBLE\n"
		 "HNE03       120       1   12min  breaker: until 2026-03-02T17:05:03Z\n"
		 "HTX09       800       4     60s  -\n"
		 "and 31 more\n"
		 "\n"
		 "STATE      HOLDS    BEAT  VERSION     WORKER\n"
		 "serving       20      2s  0.9.0       worker-1/00ff00ff00ff00ff\n"
		 "draining      12       -  -           worker-2/1234567812345678\n"
		 "\n"
		 "   AGO  WHO                       LAST ACTS OF PEOPLE\n"
		 "   62s  alice@ops                 hold senate  maintenance\n"
		 "    3d  ci:root@host              note dead replay 3 done --all\n");
}

static void test_200(void **unused)
{
	struct top_state t = state();
	(void)unused;
	frame_is(
		&t, 200, 0,
		"queue q  2026-03-02T17:04:05Z  2 workers, some draining\n"
		"door 12 (3s)  dead 4  unknown 1  stuck 0\n"
		"results to read 20  refused 2\n"
		"\n"
		"CHAMBER    WAIT    HELD  FLIGHT   LATER  OLDEST       LAST MIN  IN/MIN  END/MIN  STATE\n"
		"house      1234     934      32      10   12min     297 of 300     410      296  at its limit (rate)\n"
		"senate        3       3       0       0      9s       0 of 600       0        0  held until "
		"2026-03-02T18:00:00Z by alice@ops: maintenance\n"
		"\n"
		"OFFICE     WAIT  FLIGHT  OLDEST  TROUBLE\n"
		"HNE03       120       1   12min  breaker: until 2026-03-02T17:05:03Z\n"
		"HTX09       800       4     60s  -\n"
		"and 31 more\n"
		"\n"
		"STATE      HOLDS    BEAT  VERSION     WORKER\n"
		"serving       20      2s  0.9.0       worker-1/00ff00ff00ff00ff\n"
		"draining      12       -  -           worker-2/1234567812345678\n"
		"\n"
		"   AGO  WHO                       LAST ACTS OF PEOPLE\n"
		"   62s  alice@ops                 hold senate  maintenance\n"
		"    3d  ci:root@host              note dead replay 3 done --all\n");
}

/* The chambers stay, the rest is shared. */
static void test_low(void **unused)
{
	struct top_state t = state();
	(void)unused;
	frame_is(&t, 60, 12,
		 "queue q  2026-03-02T17:04:05Z  2 workers, some draining\n"
		 "door 12 (3s)  dead 4  unknown 1  stuck 0\n"
		 "results to read 20  refused 2\n"
		 "\n"
		 "CHAMBER    WAIT    HELD  FLIGHT  OLDEST  STATE\n"
		 "house      1234     934      32   12min  at its limit (rate)\n"
		 "senate        3       3       0      9s  held until 2026-03~\n"
		 "\n"
		 "   AGO  LAST ACTS OF PEOPLE\n"
		 "   62s  hold senate  maintenance\n"
		 "    3d  note dead replay 3 done --all\n");
}

static void test_all_sizes(void **unused)
{
	struct top_state t = state();
	(void)unused;
	t.n_offices = TOP_OFFICES;
	t.n_workers = TOP_WORKERS;
	for (unsigned width = 0; width < 260; width += 7)
		for (unsigned height = 0; height < 120; height += 3)
			assert_fits(&t, width, height);
	assert_fits(&t, 100000, 0);
}

static void test_empty(void **unused)
{
	struct top_state t = { .queue = "q",
			       .time = "2026-03-02T17:04:05Z",
			       .chamber = { { .name = "house" }, { .name = "senate" } } };
	(void)unused;
	frame_is(&t, 80, 24,
		 "queue q  2026-03-02T17:04:05Z  0 workers\n"
		 "door 0 (-)  dead 0  unknown 0  stuck 0\n"
		 "results to read 0  refused 0\n"
		 "\n"
		 "CHAMBER    WAIT    HELD  FLIGHT  OLDEST       LAST MIN  STATE\n"
		 "house         0       0       0       -              0  ok\n"
		 "senate        0       0       0       -              0  ok\n"
		 "\n"
		 "NO WORKER\n");
}

static void test_away(void **unused)
{
	struct top_state t = state();
	char got[8192];
	(void)unused;
	t.away = "Redis does not answer";
	draw(&t, 80, 0, false, got, sizeof(got));
	assert_non_null(strstr(got, "\nNOT OF NOW: Redis does not answer\n"));
}

/* Whoever writes to Redis cannot write to the terminal. */
static void test_hostile(void **unused)
{
	struct top_state t = state();
	char got[8192];
	(void)unused;
	snprintf(t.act[0].what, sizeof(t.act[0].what), "hold \x1b]0;x\x07\x1b[2J \xc2\x9b\xe2\x80\xae\xcc\x81\xff\r\n");
	snprintf(t.office[0].trouble, sizeof(t.office[0].trouble), "\xe6\xbc\xa2\xe5\xad\x97");
	draw(&t, 80, 0, false, got, sizeof(got));
	assert_non_null(strstr(got, "hold ?]0;x??[2J ??????\n"));
	assert_non_null(strstr(got, "\xe6\xbc\xa2\xe5\xad\x97\n"));
	assert_null(strchr(got, '\x1b'));
	assert_fits(&t, 40, 0);
}

static void test_colour(void **unused)
{
	struct top_state t = state();
	char got[8192];
	(void)unused;
	draw(&t, 80, 0, true, got, sizeof(got));
	assert_non_null(strstr(got, RED "senate"));
	assert_non_null(strstr(got, YELLOW "draining"));
	assert_non_null(strstr(got, "\nserving"));
	draw(&t, 80, 0, false, got, sizeof(got));
	assert_null(strchr(got, '\x1b'));
}

static void test_large_numbers(void **unused)
{
	char text[SHORT];
	static const struct {
		int64_t n;
		const char *text;
	} numbers[] = { { 0, "0" }, { 99999, "99999" }, { 100000, "100k" }, { 9999999, "9999k" }, { 10000000, "10M" } },
	  ages[] = { { 0, "-" },
		     { -1, "-" },
		     { 119 * SECOND, "119s" },
		     { 120 * SECOND, "2min" },
		     { 7200 * SECOND, "2h" },
		     { 172800 * SECOND, "2d" } };
	(void)unused;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		number_text(numbers[i].n, text);
		assert_string_equal(text, numbers[i].text);
	}
	for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
		age_text(ages[i].n, text);
		assert_string_equal(text, ages[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_40),        cmocka_unit_test(test_80),
		cmocka_unit_test(test_200),       cmocka_unit_test(test_low),
		cmocka_unit_test(test_all_sizes), cmocka_unit_test(test_empty),
		cmocka_unit_test(test_away),      cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_colour),    cmocka_unit_test(test_large_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
