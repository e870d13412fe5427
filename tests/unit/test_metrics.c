/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted, and its text to the letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/metrics.h"

static struct buf text;

static void setup_text(const struct metrics *m)
{
	buf_init(&text, 1U << 20);
	metrics_text(m, "1.2.3", "sandbox", &text);
	assert_non_null(buf_cstr(&text));
}

/* A whole line of the text. */
static bool has(const char *line)
{
	struct buf b;
	buf_init(&b, 1024);
	buf_add_byte(&b, '\n');
	buf_add_str(&b, line);
	buf_add_byte(&b, '\n');
	bool found = span_find(span_buf(&text), span_buf(&b)) != NULL;
	buf_clear(&b);
	return found;
}

static void assert_line(const char *line)
{
	if (!has(line))
		fail_msg("there is no line %s", line);
}

static unsigned count(const char *what)
{
	unsigned n = 0;
	for (const char *p = buf_cstr(&text); (p = strstr(p, what)) != NULL; p += strlen(what))
		n++;
	return n;
}

static void from_zero(void **state)
{
	struct metrics *m = metrics_new();
	(void)state;
	setup_text(m);
	assert_line("# TYPE tee_decryption_errors_total counter");
	assert_line("tee_decryption_errors_total 0");
	assert_line("cwc_letters_total{chamber=\"senate\",outcome=\"id_conflict\"} 0");
	assert_line("cwc_retries_total{chamber=\"house\",class=\"throttled\"} 0");
	assert_line("cwc_letter_age_seconds_bucket{chamber=\"house\",le=\"+Inf\"} 0");
	assert_line("cwc_build_info{version=\"1.2.3\",environment=\"sandbox\"} 1");
	/* Outcomes that end nothing are not shown: they would be 0 for ever. */
	assert_int_equal(count("outcome=\"no_answer\""), 0);
	assert_int_equal(count("\ncwc_letters_total{"), 2 * 17);
	assert_int_equal(text.p[text.n - 1], '\n');
	buf_clear(&text);
	metrics_free(m);
	metrics_free(NULL);
}

static void counters_do_not_meet(void **state)
{
	struct metrics *m = metrics_new();
	(void)state;
	/* Each cell of the table on its own. */
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		for (unsigned o = 0; o < OUTCOME_COUNT; o++)
			metrics_add(m, METRICS_LETTERS, c, o, 100 * (int64_t)c + o);
	}
	metrics_add(m, METRICS_TAKEN, CWC_SENATE, 0, 5);
	metrics_add(m, METRICS_TAKEN, CWC_SENATE, 0, 2);
	assert_int_equal(metrics_get(m, METRICS_TAKEN, CWC_HOUSE, 0), 0);
	assert_int_equal(metrics_get(m, METRICS_TAKEN, CWC_SENATE, 0), 7);
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		for (unsigned o = 0; o < OUTCOME_COUNT; o++)
			assert_int_equal(metrics_get(m, METRICS_LETTERS, c, o), 100 * c + o);
	}
	assert_int_equal(metrics_get(m, METRICS_LATER, 0, 0), 0);
	setup_text(m);
	assert_line("cwc_taken_total{chamber=\"senate\"} 7");
	assert_line("cwc_letters_total{chamber=\"senate\",outcome=\"rejected_by_chamber\"} 103");
	buf_clear(&text);
	metrics_free(m);
}

static void seconds(void **state)
{
	static const struct {
		int64_t us;
		const char *line;
	} rows[] = {
		{ 0, "cwc_clock_skew_seconds 0" },
		{ 1, "cwc_clock_skew_seconds 0.000001" },
		{ 120, "cwc_clock_skew_seconds 0.00012" },
		{ 1500000, "cwc_clock_skew_seconds 1.5" },
		{ 3000000, "cwc_clock_skew_seconds 3" },
		{ 1795440497138577, "cwc_clock_skew_seconds 1795440497.138577" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct metrics *m = metrics_new();
		metrics_set(m, METRICS_SKEW, 0, 0, rows[i].us);
		setup_text(m);
		assert_line(rows[i].line);
		buf_clear(&text);
		metrics_free(m);
	}
}

static void histogram(void **state)
{
	struct metrics *m = metrics_new();
	(void)state;
	/* A limit belongs to its bucket. */
	metrics_observe(m, METRICS_HIST_TEE_DURATION, 0, 1000);
	metrics_observe(m, METRICS_HIST_TEE_DURATION, 0, 1001);
	metrics_observe(m, METRICS_HIST_TEE_DURATION, 0, 999999);
	metrics_observe(m, METRICS_HIST_TEE_DURATION, 0, 1000001);
	metrics_observe(m, METRICS_HIST_TEE_DURATION, 0, -5);
	metrics_observe(m, METRICS_HIST_POST, CWC_SENATE, 2500000);
	metrics_observe(m, METRICS_HIST_AGE, CWC_SENATE, INT64_C(30) * 86400 * 1000000);
	setup_text(m);
	assert_line("# TYPE tee_decryption_duration_seconds histogram");
	assert_line("tee_decryption_duration_seconds_bucket{le=\"0.001\"} 2");
	assert_line("tee_decryption_duration_seconds_bucket{le=\"0.005\"} 3");
	assert_line("tee_decryption_duration_seconds_bucket{le=\"0.5\"} 3");
	assert_line("tee_decryption_duration_seconds_bucket{le=\"1\"} 4");
	assert_line("tee_decryption_duration_seconds_bucket{le=\"+Inf\"} 5");
	assert_line("tee_decryption_duration_seconds_sum 2.002001");
	assert_line("tee_decryption_duration_seconds_count 5");
	assert_line("cwc_post_seconds_bucket{chamber=\"senate\",le=\"1\"} 0");
	assert_line("cwc_post_seconds_bucket{chamber=\"senate\",le=\"2.5\"} 1");
	assert_line("cwc_post_seconds_count{chamber=\"house\"} 0");
	assert_line("cwc_letter_age_seconds_bucket{chamber=\"senate\",le=\"604800\"} 0");
	assert_line("cwc_letter_age_seconds_bucket{chamber=\"senate\",le=\"+Inf\"} 1");
	assert_line("cwc_letter_age_seconds_sum{chamber=\"senate\"} 2592000");
	buf_clear(&text);
	metrics_free(m);
}

static void reasons_are_closed(void **state)
{
	(void)state;
	assert_int_equal(metrics_reason("queue"), METRICS_REASON_QUEUE);
	assert_int_equal(metrics_reason("clock_skew"), METRICS_REASON_CLOCK_SKEW);
	assert_int_equal(metrics_reason("tls"), METRICS_REASON_TLS);
	assert_int_equal(metrics_reason(""), METRICS_REASON_OTHER);
	assert_int_equal(metrics_reason("queue_"), METRICS_REASON_OTHER);
	assert_int_equal(metrics_reason("a\"}\nx 1"), METRICS_REASON_OTHER);
}

static void depth(struct metrics *m, const char *name, int64_t value)
{
	metrics_depth(m, span_str(name), value);
}

static void depth_names(void **state)
{
	struct metrics *m = metrics_new();
	(void)state;
	depth(m, "in", 3);
	depth(m, "dead", 4);
	depth(m, "workers", 5);
	depth(m, "in_oldest_us", 2500000);
	depth(m, "house_waiting", 6);
	depth(m, "senate_begun", 7);
	depth(m, "senate_oldest_us", 60000000);
	depth(m, "house_breakers", 8);
	depth(m, "senate_down", 1);
	depth(m, "house_held", -1);
	/* Of a newer script, or of nobody. */
	depth(m, "house_", 9);
	depth(m, "house_new", 9);
	depth(m, "housewaiting", 9);
	depth(m, "later", 9);
	depth(m, "", 9);
	setup_text(m);
	assert_line("cwc_queue_entries{place=\"in\"} 3");
	assert_line("cwc_queue_entries{place=\"dead\"} 4");
	assert_line("cwc_queue_workers 5");
	assert_line("cwc_queue_intake_oldest_seconds 2.5");
	assert_line("cwc_queue_letters{chamber=\"house\",place=\"waiting\"} 6");
	assert_line("cwc_queue_letters{chamber=\"house\",place=\"held\"} 0");
	assert_line("cwc_queue_letters{chamber=\"senate\",place=\"begun\"} 7");
	assert_line("cwc_queue_oldest_seconds{chamber=\"senate\"} 60");
	assert_line("cwc_office_breakers_open{chamber=\"house\"} 8");
	assert_line("cwc_breaker_open{chamber=\"senate\"} 1");
	assert_line("cwc_breaker_open{chamber=\"house\"} 0");
	assert_int_equal(count(" 9\n"), 0);
	buf_clear(&text);
	metrics_free(m);
}

/* What does not fit is seen by the buf, not cut off silently. */
/* What Redis says, however large, ends no worker. */
static void huge_values(void **state)
{
	(void)state;
	struct metrics *m = metrics_new();
	for (int i = 0; i < 3; i++)
		metrics_observe(m, METRICS_HIST_AGE, CWC_SENATE, INT64_MAX);
	for (int i = 0; i < 100; i++) {
		depth(m, "house_waiting", INT64_MAX);
		depth(m, "in_oldest_us", INT64_MAX);
		depth(m, "dead", INT64_MAX);
	}
	setup_text(m);
	assert_line("cwc_letter_age_seconds_sum{chamber=\"senate\"} 9223372036854.775807");
	metrics_free(m);
}

static void ceiling(void **state)
{
	struct metrics *m = metrics_new();
	struct buf small;
	(void)state;
	buf_init(&small, 1000);
	metrics_text(m, "1", "sandbox", &small);
	assert_int_equal(buf_ok(&small), ERR_LIMIT);
	buf_clear(&small);
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_zero), cmocka_unit_test(counters_do_not_meet), cmocka_unit_test(seconds),
		cmocka_unit_test(histogram), cmocka_unit_test(reasons_are_closed),   cmocka_unit_test(depth_names),
		cmocka_unit_test(ceiling),   cmocka_unit_test(huge_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
