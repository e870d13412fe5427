/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of cwcctl: CBOR from JSON, units, ring lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/cwcctl/encode.c" /* cwcctl is a program, no library */
#include "ops/cwcctl/ring.c"
#include "ops/cwcctl/units.c"

#define CONTEXT "voter-protocol-witness-encryption-v1"
#define KEY     "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"
#define KID     "wek-0faa684ed28867b9"

/* --- encode ----------------------------------------------------------------------------------- */

static enum err encoded(const char *json, const char *hex)
{
	struct buf b;
	char got[512];
	json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
	buf_init(&b, 200);
	enum err e = encode_cbor(v, &b);
	if (e == ERR_OK) {
		text_hex(span_buf(&b), got);
		assert_string_equal(got, hex);
		/* What it writes, the strict reader accepts. */
		struct cbor c;
		cbor_start(&c, span_buf(&b));
		cbor_skip(&c);
		assert_int_equal(cbor_done(&c), ERR_OK);
	}
	buf_clear(&b);
	json_decref(v);
	return e;
}

static void test_encode_values(void **state)
{
	(void)state;
	assert_int_equal(encoded("\"Zo\\u00eb\"", "645a6fc3ab"), ERR_OK);
	assert_int_equal(encoded("[true, false, null, 23, 24, -1, 65536]", "87f5f4f617181820"
									   "1a00010000"),
			 ERR_OK);
	assert_int_equal(encoded("{}", "a0"), ERR_OK);
	assert_int_equal(encoded("\"\"", "60"), ERR_OK);
}

/* Shorter first, then bytewise: not the order of the alphabet, and not that of the input. */
static void test_encode_order(void **state)
{
	(void)state;
	assert_int_equal(encoded("{\"b\": 1, \"aa\": 2, \"Zip\": 3, \"a\": 4, \"\": 5}", "a560056161046162016261610263"
											 "5a697003"),
			 ERR_OK);
	assert_int_equal(encoded("{\"x\": {\"c\": 1, \"b\": 2}}", "a16178a2616202616301"), ERR_OK);
}

static void test_encode_refuses(void **state)
{
	(void)state;
	assert_int_equal(encoded("1.5", ""), ERR_RANGE);
	assert_int_equal(encoded("{\"a\": [1.0]}", ""), ERR_RANGE);
	assert_int_equal(encoded("[[[[[[[[1]]]]]]]]", "818181818181818101"), ERR_OK);
	assert_int_equal(encoded("[[[[[[[[[1]]]]]]]]]", ""), ERR_RANGE);
	struct buf small;
	json_t *v = json_string("longer than this");
	buf_init(&small, 8);
	assert_int_equal(encode_cbor(v, &small), ERR_LIMIT);
	assert_int_equal(encode_json(v, &small), ERR_LIMIT);
	buf_clear(&small);
	json_decref(v);
}

/* --- units ------------------------------------------------------------------------------------ */

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = { { "0s", 0 },          { "250ms", 250 },  { "1s", 1000 },
		     { "90min", 5400000 }, { "2h", 7200000 }, { "365d", UINT64_C(31536000000) } };
	static const char *const bad[] = {
		"",    "s",    "1",  "1 s",  "1S",      "-1s",         "1.5s",
		"01s", "366d", "1m", "1sec", "1h30min", "9999999999s", "18446744073709551616ms"
	};
	uint64_t ms;
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(units_duration(good[i].text, &ms), ERR_OK);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(units_duration(bad[i], &ms), ERR_OK);
}

static void test_times(void **state)
{
	int64_t s;
	(void)state;
	assert_int_equal(units_time("1772470000", &s), ERR_OK);
	assert_int_equal(s, 1772470000);
	assert_int_equal(units_time("2026-03-02T12:04:05-05:00", &s), ERR_OK);
	assert_int_equal(s, 1772471045);
	assert_int_not_equal(units_time("tomorrow", &s), ERR_OK);
	assert_int_not_equal(units_time("-5", &s), ERR_OK);
	assert_int_not_equal(units_time("253402300800", &s), ERR_OK);
	assert_int_not_equal(units_time("", &s), ERR_OK);
}

/* What lies ahead, or is not after 1970, selects nothing that anybody means. */
static void test_moments(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
	} good[] = { { "0s", 1772470000 },
		     { "999ms", 1772470000 },
		     { "1h", 1772466400 },
		     { "1970-01-01T00:00:01Z", 1 },
		     { "2026-03-02T16:46:40Z", 1772470000 } };
	static const char *const bad[] = {
		"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-03-02T16:46:41Z", "1772470000", "1 h", ""
	};
	int64_t s = 7;
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(units_moment(good[i].text, 1772470000, &s), ERR_OK);
		assert_int_equal(s, good[i].s);
	}
	s = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(units_moment(bad[i], 1772470000, &s), ERR_OK);
	assert_int_equal(s, 7);
}

static void test_entry_ids(void **state)
{
	static const char *const bad[] = {
		"", "-", "5-", "-5", "5-5-5", "x", "+", "18446744073709551616-0", "0-18446744073709551616", " 5", "05"
	};
	struct entry_id id;
	char text[ENTRY_ID_SIZE];
	(void)state;
	assert_int_equal(units_entry_id(span_str("18446744073709551615-18446744073709551615"), &id), ERR_OK);
	units_entry_id_text(id, text);
	assert_string_equal(text, "18446744073709551615-18446744073709551615");
	assert_int_equal(units_entry_id(span_str("1767225600000"), &id), ERR_OK);
	units_entry_id_text(id, text);
	assert_string_equal(text, "1767225600000-0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(units_entry_id(span_str(bad[i]), &id), ERR_OK);
}

/* --- ring ------------------------------------------------------------------------------------- */

static enum err ring(const char *text, struct ring *r, unsigned *line)
{
	const char *rule = NULL;
	enum err e = ring_parse(span_str(text), r, line, &rule);
	assert_true(e == ERR_OK || rule != NULL);
	return e;
}

static void test_ring(void **state)
{
	struct ring r;
	unsigned line;
	(void)state;
	assert_int_equal(ring("", &r, &line), ERR_OK);
	assert_int_equal(r.n, 0);
	assert_int_equal(ring("# comment\r\n\n  letter\t" KID " " KEY " \r\nwitness " KID " " KEY " " CONTEXT
			      " " CONTEXT,
			      &r, &line),
			 ERR_OK);
	assert_int_equal(r.n, 2);
	assert_ptr_equal(ring_find(&r, KEYRING_LETTER), &r.key[0]);
	assert_string_equal(ring_find(&r, KEYRING_WITNESS)->context[1], CONTEXT);
	/* The last of a profile counts. */
	assert_int_equal(ring("letter " KID " " KEY "\nletter " KID " " KEY, &r, &line), ERR_OK);
	assert_ptr_equal(ring_find(&r, KEYRING_LETTER), &r.key[1]);
	assert_null(ring_find(&r, KEYRING_WITNESS));
}

static void test_ring_refuses(void **state)
{
	static const char *const bad[] = {
		"fax " KID " " KEY,
		"secret " KID " " KEY,
		"letter " KID,
		"letter wek-0 " KEY,
		"letter " KID " 0x" KEY,
		"letter " KID " " KEY " " CONTEXT,
		"witness " KID " " KEY,
		"witness " KID " " KEY " short",
		"witness " KID " " KEY " a-context-that-clears-\x1b[2J",
		"witness " KID " " KEY " " CONTEXT " " CONTEXT " " CONTEXT " " CONTEXT " " CONTEXT,
	};
	struct ring r;
	unsigned line;
	char text[1024];
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "\nletter " KID " " KEY "\n%s\n", bad[i]);
		assert_int_equal(ring(text, &r, &line), ERR_SYNTAX);
		assert_int_equal(line, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode_values),  cmocka_unit_test(test_encode_order),
		cmocka_unit_test(test_encode_refuses), cmocka_unit_test(test_durations),
		cmocka_unit_test(test_times),          cmocka_unit_test(test_moments),
		cmocka_unit_test(test_entry_ids),      cmocka_unit_test(test_ring),
		cmocka_unit_test(test_ring_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
