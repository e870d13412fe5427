/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/witness.h"

#define assert_err(e, expected)         assert_string_equal(err_name(e), err_name(expected))
#define assert_span_eq_str(s, expected) assert_true(span_eq_str(s, expected))

/* Reads from memory of exactly the right size. The buf stays for the views; the caller clears. */
static enum err read_span(struct span json, struct buf *b, struct witness *ret_w)
{
	*b = (struct buf){ .p = xmalloc(json.n), .n = json.n, .cap = json.n, .max = json.n + 1 };
	if (json.n > 0)
		memcpy(b->p, json.p, json.n);
	return witness_read(b, ret_w);
}

static enum err read_only(struct span json)
{
	struct witness w = { .zip = span_lit("untouched") };
	struct buf b;
	enum err e = read_span(json, &b, &w);

	if (e != ERR_OK)
		assert_span_eq_str(w.zip, "untouched");
	buf_clear(&b);
	return e;
}

static enum err read_str(const char *json)
{
	return read_only(span_str(json));
}

static void test_all_members(void **state)
{
	static const char json[] =
		" {\"userSecret\":\"0x07\",\"districts\":[\"0x03\",[],{}],\"nullifier\":\"0x04\","
		"\r\n\t\"actionDomain\" : "
		"\"0x05\" ,\"n\":-0.5e+3,\"t\":true,\"f\":false,\"z\":null,\"deliveryAddress\":{\"name\":\"Zo\\u00eb "
		"<Test>\",\"email\":\"zoe@example.invalid\",\"street\":\"1 Example St\",\"city\":\"Springfield\","
		"\"state\":\"IL\",\"zip\":\"62701\",\"phone\":\"2175550100\",\"congressional_district\":\"IL-13\"},"
		"\"userIndex\":0} \n";
	struct witness w;
	struct buf b;

	(void)state;
	assert_err(read_span(span_str(json), &b, &w), ERR_OK);
	assert_span_eq_str(w.nullifier, "0x04");
	assert_span_eq_str(w.action_domain, "0x05");
	assert_span_eq_str(w.name, "Zo\xc3\xab <Test>");
	assert_span_eq_str(w.email, "zoe@example.invalid");
	assert_span_eq_str(w.street, "1 Example St");
	assert_span_eq_str(w.city, "Springfield");
	assert_span_eq_str(w.state, "IL");
	assert_span_eq_str(w.zip, "62701");
	assert_span_eq_str(w.phone, "2175550100");
	buf_clear(&b);
}

static void test_prefixes(void **state)
{
	static const char json[] = "{\"nullifier\":\"\\ud83d\\ude00\\n\",\"x\":[-1.5E-7,true,false,null,{\"a\":[]}],"
				   "\"deliveryAddress\":{\"zip\":\"6\xc3\xab\",\"q\":1}}";

	(void)state;
	assert_err(read_str(json), ERR_OK);
	for (size_t n = 0; n < sizeof(json) - 1; n++)
		assert_err(read_only(span_of(json, n)), ERR_WITNESS_SYNTAX);
}

static void test_absent_members(void **state)
{
	struct witness w;
	struct buf b;

	(void)state;
	assert_err(
		read_span(span_lit("{\"nullifier\":null,\"deliveryAddress\":{\"phone\":null,\"zip\":\"\"}}"), &b, &w),
		ERR_OK);
	assert_null(w.nullifier.p);
	assert_null(w.action_domain.p);
	assert_null(w.phone.p);
	assert_null(w.name.p);
	assert_non_null(w.zip.p);
	assert_int_equal(w.zip.n, 0);
	buf_clear(&b);
}

static void test_no_address(void **state)
{
	(void)state;
	assert_err(read_str("{}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"nullifier\":\"0x04\"}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"deliveryAddress\":null}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"deliveryAddress\":\"1 Example St\"}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"deliveryAddress\":[{}]}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"x\":{\"deliveryAddress\":{}}}"), ERR_WITNESS_ADDRESS);
	assert_err(read_str("{\"deliveryAddress\":{}}"), ERR_OK);
}

static void test_escapes(void **state)
{
	struct witness w;
	struct buf b;

	(void)state;
	assert_err(read_span(span_lit("{\"null\\u0069fier\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"actionDomain\":\""
				      "\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\\u0000\",\"deliveryAddress\":{"
				      "\"n\\u0061me\":\"x\\u007fy\"}}"),
			     &b, &w),
		   ERR_OK);
	assert_span_eq_str(w.nullifier, "\"\\/\b\f\n\r\t");
	assert_true(span_eq(w.action_domain, span_lit("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0")));
	assert_span_eq_str(w.name, "x\x7fy");
	buf_clear(&b);
}

/* Each stands as the value of a member that is not looked at. */
/* JSON values that a witness may hold beside what is read of it, and what is no JSON. */
static const char *const good_values[] = {
	"0",
	"-0",
	"10",
	"1.0",
	"0.10",
	"1e5",
	"1E+5",
	"0e-0",
	"123456789012345678901234567890",
	"\"\"",
	"[]",
	"{}",
	"[1,2 , 3]",
	"{\"a\":1,\"a\":2}",
	"[[[[[[[]]]]]]]",
	"\"\\ufffe\"",
	"\"\xf4\x8f\xbf\xbf\"",
	"true",
};
static const char *const bad_values[] = {
	"",
	"01",
	"+1",
	".5",
	"1.",
	"1.e1",
	"1e",
	"1e+",
	"-",
	"0x1",
	"NaN",
	"Infinity",
	"True",
	"tru",
	"nul",
	"falsey",
	"[1,]",
	"[,1]",
	"[1 2]",
	"[",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{a:1}",
	"{1:1}",
	"'a'",
	"\"\\x\"",
	"\"\\u12g4\"",
	"\"\\u123\"",
	"\"\\ud800\"",
	"\"\\udc00\"",
	"\"\\ud800\\u0041\"",
	"\"\\ud800x\"",
	"\"\\ud800\\n\"",
	"\"\\udc00\\ud800\"",
	"\"a\nb\"",
	"\"\x01\"",
	"\"\xff\"",
	"\"\xc3\"",
	"\"\xc0\x80\"",
	"\"\xed\xa0\x80\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xc3\\u00e9\"",
	"\"\\u00e9\xa9\"",
	"[[[[[[[[]]]]]]]]",
	"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}",
	"/**/1",
	"\xef\xbb\xbf"
	"1",
	"\"\\\"",
	"\"\\",
	"\"\\\xff\"",
	"1 1",
	"\f1",
};

static void test_values(void **state)
{
	char json[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good_values) / sizeof(good_values[0]); i++) {
		snprintf(json, sizeof(json), "{\"deliveryAddress\":{\"x\": %s },\"y\":[]}", good_values[i]);
		/* "[[[[[[[" is eight deep in the root but nine in the address. */
		if (strncmp(good_values[i], "[[[[[[[", 7) != 0)
			assert_err(read_str(json), ERR_OK);
		snprintf(json, sizeof(json), "{\"x\":%s,\"deliveryAddress\":{}}", good_values[i]);
		assert_err(read_str(json), ERR_OK);
	}
	for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++) {
		snprintf(json, sizeof(json), "{\"x\":%s,\"deliveryAddress\":{}}", bad_values[i]);
		assert_err(read_str(json), ERR_WITNESS_SYNTAX);
	}
}

static void test_depth(void **state)
{
	(void)state;
	assert_err(read_str("{\"x\":[[[[[[[0]]]]]]],\"deliveryAddress\":{}}"), ERR_OK);
	assert_err(read_str("{\"x\":[[[[[[[[0]]]]]]]],\"deliveryAddress\":{}}"), ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"deliveryAddress\":{\"x\":[[[[[[0]]]]]]}}"), ERR_OK);
	assert_err(read_str("{\"deliveryAddress\":{\"x\":[[[[[[[0]]]]]]]}}"), ERR_WITNESS_SYNTAX);
}

static void test_very_deep(void **state)
{
	static char json[65536];

	(void)state;
	memset(json, '[', sizeof(json));
	memcpy(json, "{\"x\":", 5);
	assert_err(read_only(span_of(json, sizeof(json))), ERR_WITNESS_SYNTAX);
}

static void test_root(void **state)
{
	static const char *const bad[] = { "",
					   " ",
					   "[]",
					   "null",
					   "\"a\"",
					   "1",
					   "{}{}",
					   "{} x",
					   "{},",
					   "{\"a\":1,}",
					   "{,}",
					   "{\"deliveryAddress\":{},}",
					   "{\"deliveryAddress\":{\"zip\":\"1\",}}",
					   "{\"deliveryAddress\":{,}}",
					   "{\"deliveryAddress\":{\"zip\"}}",
					   "{" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_err(read_str(bad[i]), ERR_WITNESS_SYNTAX);
	assert_err(read_only(span_lit("{}\0")), ERR_WITNESS_SYNTAX);
	assert_err(read_only(span_of(NULL, 0)), ERR_WITNESS_SYNTAX);
}

static void test_duplicates(void **state)
{
	static const char *const looked_at[] = { "name", "email", "street", "city", "state", "zip", "phone" };
	char json[200];

	(void)state;
	assert_err(read_str("{\"nullifier\":\"1\",\"nullifier\":\"1\",\"deliveryAddress\":{}}"), ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"nullifier\":null,\"nullifier\":\"1\",\"deliveryAddress\":{}}"), ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"actionDomain\":\"1\",\"action\\u0044omain\":\"1\",\"deliveryAddress\":{}}"),
		   ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"deliveryAddress\":{},\"deliveryAddress\":{}}"), ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"deliveryAddress\":null,\"deliveryAddress\":{}}"), ERR_WITNESS_SYNTAX);
	assert_err(read_str("{\"x\":1,\"x\":2,\"deliveryAddress\":{\"x\":1,\"x\":2}}"), ERR_OK);
	for (size_t i = 0; i < sizeof(looked_at) / sizeof(looked_at[0]); i++) {
		snprintf(json, sizeof(json), "{\"deliveryAddress\":{\"%s\":\"a\",\"%s\":null}}", looked_at[i],
			 looked_at[i]);
		assert_err(read_str(json), ERR_WITNESS_SYNTAX);
	}
}

static void test_types(void **state)
{
	static const char *const other[] = { "1", "true", "[]", "{}", "nul", "[\"a\"]" };
	char json[200];

	(void)state;
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		snprintf(json, sizeof(json), "{\"nullifier\":%s,\"deliveryAddress\":{}}", other[i]);
		assert_err(read_str(json), ERR_WITNESS_SYNTAX);
		snprintf(json, sizeof(json), "{\"deliveryAddress\":{\"zip\":%s}}", other[i]);
		assert_err(read_str(json), ERR_WITNESS_SYNTAX);
	}
}

/* A member of the address at the top, or of the top in the address, is not the one that is meant. */
static void test_wrong_place(void **state)
{
	struct witness w;
	struct buf b;

	(void)state;
	assert_err(read_span(span_lit("{\"zip\":\"1\",\"deliveryAddress\":{\"nullifier\":\"2\"}}"), &b, &w), ERR_OK);
	assert_null(w.zip.p);
	assert_null(w.nullifier.p);
	buf_clear(&b);
}

static void test_bound(void **state)
{
	struct witness w = { .nullifier = span_lit("0x04"), .action_domain = span_lit("0x05") };

	(void)state;
	assert_err(witness_bound(&w, span_lit("0x04"), span_lit("0x05")), ERR_OK);
	assert_err(witness_bound(&w, span_lit("0x4"), span_lit("0x05")), ERR_WITNESS_MISMATCH);
	assert_err(witness_bound(&w, span_lit("0x04"), span_lit("0X05")), ERR_WITNESS_MISMATCH);
	assert_err(witness_bound(&w, span_lit("0x05"), span_lit("0x04")), ERR_WITNESS_MISMATCH);
	w.nullifier = span_of(NULL, 0);
	assert_err(witness_bound(&w, span_lit(""), span_lit("0x05")), ERR_WITNESS_MISMATCH);
	w.nullifier = span_lit("0x04");
	w.action_domain = span_of(NULL, 0);
	assert_err(witness_bound(&w, span_lit("0x04"), span_lit("")), ERR_WITNESS_MISMATCH);
}

static void test_split_name(void **state)
{
	static const struct {
		const char *name, *first, *last; /* NULL: absent */
	} rows[] = {
		{ "Ada Lovelace", "Ada", "Lovelace" },
		{ "Ada", "Ada", NULL },
		{ "Jean-Luc  de la Cruz ", "Jean-Luc", "de la Cruz" },
		{ "  Ada Lovelace", "Ada", "Lovelace" },
		{ "Zo\xc3\xab \xc5\x81uk", "Zo\xc3\xab", "\xc5\x81uk" },
		{ "", NULL, NULL },
		{ "   ", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span first, last;

		witness_split_name(span_str(rows[i].name), &first, &last);
		if (rows[i].first != NULL)
			assert_span_eq_str(first, rows[i].first);
		else
			assert_null(first.p);
		if (rows[i].last != NULL)
			assert_span_eq_str(last, rows[i].last);
		else
			assert_true(last.p == NULL && last.n == 0);
	}
}

static void test_split_absent(void **state)
{
	struct span first = span_lit("x"), last = span_lit("x");

	(void)state;
	witness_split_name(span_of(NULL, 0), &first, &last);
	assert_null(first.p);
	assert_null(last.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_members),    cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_absent_members), cmocka_unit_test(test_no_address),
		cmocka_unit_test(test_escapes),        cmocka_unit_test(test_values),
		cmocka_unit_test(test_depth),          cmocka_unit_test(test_very_deep),
		cmocka_unit_test(test_root),           cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_types),          cmocka_unit_test(test_wrong_place),
		cmocka_unit_test(test_bound),          cmocka_unit_test(test_split_name),
		cmocka_unit_test(test_split_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
