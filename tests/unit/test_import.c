/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of an export, as the arguments of IMPORT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/cwcctl/import.c" /* cwcctl is a program, no library */

#define NAME "\"sid\": \"s1\", \"office\": \"HNE03\", \"state\": \"dead\""

/* The arguments behind `who`, with a space between, or what is wrong. */
static void parsed(const char *json, const char *state, const char *expected)
{
	struct import_line *l = malloc(sizeof(*l));
	struct buf got;
	buf_init(&got, 8192);
	const char *rule = import_parse(span_str(json), state, l);
	if (rule != NULL)
		buf_add_str(&got, rule);
	for (size_t i = 1; rule == NULL && i < l->n; i++) {
		buf_add_str(&got, i > 1 ? "|" : "");
		buf_add_span(&got, l->arg[i]);
	}
	buf_add_byte(&got, '\0');
	assert_string_equal((const char *)got.p, expected);
	buf_clear(&got);
	import_clear(l);
	free(l);
}

static void test_all(void **unused)
{
	(void)unused;
	parsed("{" NAME
	       ", \"job\": \"am9i\", \"rev\": 3, \"attempt\": 8, \"crashes\": 1, \"deliveries\": 9, \"generation\": 0,"
	       "\"http_status\": 503, \"retryable\": true, \"first\": \"2026-03-02T17:04:05.123Z\", \"begun\": null,"
	       "\"ended\": \"2026-03-02T17:04:05Z\", \"outcome\": \"attempts_exhausted\", \"detail\": \"\","
	       "\"history\": [{\"attempt\": 8, \"begun\": \"2026-01-01T00:00:00.001Z\", \"ended\": null, "
	       "\"http_status\": null,"
	       "\"outcome\": \"no_answer\"}, {\"attempt\": 9, \"begun\": \"2026-01-01T00:00:00.001Z\", \"ended\": "
	       "null, "
	       "\"http_status\": null, \"outcome\": \"no_answer\", \"worker\": \"w1/abc\"}], \"unknown_posts\": "
	       "[{\"begun\": \"2026-01-01T00:00:00.001Z\", "
	       "\"worker\": \"w\"}],"
	       "\"id\": \"1-1\", \"written\": \"x\", \"leftover\": {}}",
	       "dead",
	       "s1|HNE03|dead|job|rev|3|attempt|8|crashes|1|deliveries|9|generation|0|status|503|retryable|1|"
	       "first_us|1772471045123000|ended_us|1772471045000000|outcome|attempts_exhausted|detail||"
	       "history|8,1767225600001,0,0,no_answer,;9,1767225600001,0,0,no_answer,w1/abc;|mark|1767225600001000");
}

static void test_little(void **unused)
{
	(void)unused;
	parsed("{" NAME "}", "dead", "s1|HNE03|dead||history|");
	parsed("{" NAME ", \"job\": null, \"rev\": null}", "dead", "s1|HNE03|dead||history|");
}

static void test_bad(void **unused)
{
	static const struct {
		const char *json, *rule;
	} bad[] = {
		{ "", "not a JSON object, as an export prints it" },
		{ "[]", "not a JSON object, as an export prints it" },
		{ "{" NAME ", \"sid\": \"x\"}", "not a JSON object, as an export prints it" },
		{ "{\"office\": \"HNE03\", \"state\": \"dead\"}", "it has no sid" },
		{ "{\"sid\": \"a b\", \"office\": \"HNE03\", \"state\": \"dead\"}", "it has no sid" },
		{ "{\"sid\": \"a\", \"office\": \"MARS1\", \"state\": \"dead\"}", "it has no office" },
		{ "{\"sid\": \"a\", \"office\": \"HNE03\"}", "it is not that of a dead letter" },
		{ "{\"sid\": \"a\", \"office\": \"HNE03\", \"state\": \"unknown\"}",
		  "it is not that of a dead letter" },
		{ "{" NAME ", \"job\": \"***\"}", "job must be base64, of a job that is not too large" },
		{ "{" NAME ", \"job\": 7}", "job must be base64, of a job that is not too large" },
		{ "{" NAME ", \"rev\": -1}", "a number is not one" },
		{ "{" NAME ", \"rev\": \"3\"}", "a number is not one" },
		{ "{" NAME ", \"ended\": \"yesterday\"}", "a time is not one" },
		{ "{" NAME ", \"ended\": \"2026-03-02T17:04:05.12Z\"}", "a time is not one" },
		{ "{" NAME ", \"ended\": \"2026-03-02T17:04:05,123Z\"}", "a time is not one" },
		{ "{" NAME ", \"ended\": \"1960-03-02T17:04:05Z\"}", "a time is not one" },
		{ "{" NAME ", \"outcome\": 7}", "a text is not one" },
		{ "{" NAME ", \"unknown_posts\": [{}]}", "a time is not one" },
	};
	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		parsed(bad[i].json, "dead", bad[i].rule);
	parsed("{" NAME "}", "unknown", "it is not that of a letter of unknown fate");
}

/* Ceilings: a job, a history and marks that no record can have. */
static void test_too_much(void **unused)
{
	static char job[2 * JOB_MAX], json[2 * JOB_MAX + 100], many[16384];
	size_t n = 0;
	(void)unused;
	memset(job, 'A', sizeof(job) - 1);
	job[JOB_MAX / 3 * 4 + 8] = '\0';
	snprintf(json, sizeof(json), "{" NAME ", \"job\": \"%s\"}", job);
	parsed(json, "dead", "job must be base64, of a job that is not too large");
	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, "%s{\"outcome\": \"0123456789012345\"}",
				      i > 0 ? "," : "");
	snprintf(json, sizeof(json), "{" NAME ", \"history\": [%s]}", many);
	parsed(json, "dead", "its history is too long");
	snprintf(json, sizeof(json), "{" NAME ", \"unknown_posts\": [%s]}", many);
	parsed(json, "dead", "it has too many POSTs of unknown fate");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_little),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_much),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
