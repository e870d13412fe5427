/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests of allowed measurements, and the list of --pcr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/cwcctl/manifest.c" /* cwcctl is a program, no library */

#define A48  "0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX  A48 A48
#define B48  "ffffffffffffffffffffffffffffffffffffffffffffffff"
#define HEXB B48 B48
#define Z48  "000000000000000000000000000000000000000000000000"
#define ZERO Z48 Z48

/* In memory of exactly its size. */
static enum err parse(struct span text, struct manifest *ret_m, unsigned *ret_line, const char **ret_rule)
{
	uint8_t *copy = xmalloc(text.n + 1);
	enum err e;

	memcpy(copy + 1, text.p, text.n);
	e = manifest_parse(span_of(copy + 1, text.n), ret_m, ret_line, ret_rule);
	free(copy);
	return e;
}

static void test_good(void **state)
{
	static struct manifest m;
	const char *rule = "none";
	unsigned line = 7;

	(void)state;
	assert_int_equal(parse(span_lit("# two\n\nrelease 1.0\npcr0 " HEX "\npcr31 " ZERO
					"\n#\nrelease a_B+c-D\npcr2 " HEX "\npcr0 " HEXB),
			       &m, &line, &rule),
			 ERR_OK);
	assert_int_equal(m.n, 2);
	assert_string_equal(m.release[0].name, "1.0");
	assert_int_equal(m.release[0].pcrs, UINT32_C(1) << 31 | 1);
	assert_int_equal(m.release[0].pcr[0][1], 0x23);
	assert_int_equal(m.release[0].pcr[31][47], 0);
	assert_string_equal(m.release[1].name, "a_B+c-D");
	assert_int_equal(m.release[1].pcrs, 5);
	assert_int_equal(m.release[1].pcr[0][47], 0xff);
	assert_int_equal(m.release[1].pcr[2][47], 0xef);
}

/* Neither of two such releases allows all that the other does. */
static void test_overlap(void **state)
{
	static const char *const good[] = {
		"release a\npcr0 " HEX "\nrelease b\npcr0 " HEXB "\npcr8 " HEXB,
		"release a\npcr0 " HEX "\npcr3 " HEXB "\nrelease b\npcr0 " HEX "\npcr8 " HEXB,
		"release a\npcr0 " HEX "\npcr8 " ZERO "\nrelease b\npcr0 " HEX "\npcr8 " HEXB,
		"release a\npcr0 " HEX "\npcr8 " ZERO "\nrelease b\npcr0 " HEX "\npcr8 " HEXB "\npcr9 " HEXB,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		static struct manifest m;
		const char *rule = "none";
		unsigned line;

		assert_int_equal(parse(span_str(good[i]), &m, &line, &rule), ERR_OK);
		assert_int_equal(m.n, 2);
	}
}

static void broken(struct span text, unsigned wanted_line, const char *wanted)
{
	static struct manifest m;
	const char *rule = "none";
	unsigned line = 99;

	memset(&m, 0x5a, sizeof(m));
	assert_int_equal(parse(text, &m, &line, &rule), ERR_SYNTAX);
	assert_int_equal(line, wanted_line);
	if (strncmp(rule, wanted, strlen(wanted)) != 0)
		fail_msg("%s", rule);
	assert_int_equal(m.n, (size_t)0x5a5a5a5a5a5a5a5a);
}

static void test_broken(void **state)
{
	(void)state;
	broken(span_lit(""), 0, "there is no release");
	broken(span_lit("#"), 0, "there is no release");
	broken(span_lit("\n\n"), 0, "there is no release");
	broken(span_lit("release"), 1, "the name");
	broken(span_lit("release "), 1, "the name");
	broken(span_lit("release a\0"), 1, "the name");
	broken(span_lit("release a"), 1, "the release above has no PCR0");
	broken(span_lit("pcr0 " HEX), 1, "a PCR before");
	broken(span_lit("release a\npcr0 " HEX "\npcr0 " HEXB), 3, "this PCR is there twice");
	broken(span_lit("release a\npcr0 " HEX "\nrelease a"), 3, "this release is there twice");
	broken(span_lit("release a\npcr0 " HEX "\nrelease b\npcr0 " HEX), 4, "the release above has the measurements");
	/* One asks for less than the other: in front of it, behind it, with others between. */
	broken(span_lit("release a\npcr0 " HEX "\nrelease b\npcr0 " HEX "\npcr8 " HEXB), 5,
	       "another release allows all that the one above");
	broken(span_lit("release a\npcr0 " HEX "\npcr8 " HEXB "\nrelease b\npcr0 " HEX "\n# end"), 6,
	       "the release above allows all that another");
	broken(span_lit("release a\npcr0 " HEX "\npcr3 " ZERO "\npcr8 " HEXB "\nrelease c\npcr0 " HEXB
			"\nrelease b\npcr8 " HEXB "\npcr0 " HEX "\nrelease d\npcr0 " HEXB "\npcr1 " HEX),
	       10, "the release above allows all that another");
	broken(span_lit("release a\npcr0 " ZERO), 2, "PCR0, PCR1 and PCR2 are zero");
	broken(span_lit("release a\npcr2 " ZERO), 2, "PCR0, PCR1 and PCR2 are zero");
	broken(span_lit("release a\npcr0 0x" A48 B48), 2, "a PCR must be 96");
	broken(span_lit("release a\npcr4294967296 " HEX), 2, "the number");
	broken(span_lit("release a\npcr"), 2, "must be");
	broken(span_lit("release a\nzzz0 " HEX), 2, "must be");
}

/* A file that was cut off is refused, unless what is left of it is whole. */
static void test_cut_off(void **state)
{
	static const char text[] = "release a\npcr0 " HEX "\npcr1 " HEX "\nrelease b\npcr0 " HEXB "\n";
	static struct manifest m;
	unsigned good = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		const char *rule;
		unsigned line;

		if (parse(span_of(text, n), &m, &line, &rule) == ERR_OK)
			good++;
	}
	assert_int_equal(good, 6);
}

static void test_list(void **state)
{
	struct attest_measurement m = { .pcrs = 9 };
	const char *rule = NULL;

	(void)state;
	assert_int_equal(manifest_list(span_lit("8=" ZERO ",0=" HEX), &m, &rule), ERR_OK);
	assert_int_equal(m.pcrs, 0x101);
	assert_int_equal(m.pcr[0][0], 0x01);
	assert_string_equal(m.name, "");
	static const char *const bad[] = { "",
					   ",",
					   "0",
					   "0=",
					   "=" HEX,
					   "0=" HEX ",",
					   ",0=" HEX,
					   "1=" HEX,
					   "0=" HEX ",0=" HEX,
					   "0=" ZERO,
					   "0=" HEX "0",
					   "0 =" HEX,
					   "0=" HEX ",,1=" HEX };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct attest_measurement before = m;

		assert_int_equal(manifest_list(span_str(bad[i]), &m, &rule), ERR_SYNTAX);
		assert_memory_equal(&m, &before, sizeof(m));
	}
}

/* What is written is read, and is the same. */
static void test_write(void **state)
{
	static const char text[] = "release 1.4.0\npcr0 " HEX "\npcr8 " HEXB "\npcr16 " ZERO "\n";
	static struct manifest m;
	const char *rule;
	unsigned line;
	struct buf b;

	(void)state;
	assert_int_equal(parse(span_of(text, sizeof(text) - 1), &m, &line, &rule), ERR_OK);
	buf_init(&b, MANIFEST_MAX);
	manifest_write(&m.release[0], &b);
	assert_string_equal(buf_cstr(&b), text);
	buf_clear(&b);
}

/* As many releases with all their PCRs as there may be fit the file's ceiling. */
static void test_largest(void **state)
{
	static struct manifest m, again;
	const char *rule;
	unsigned line;
	struct buf b;

	(void)state;
	buf_init(&b, MANIFEST_MAX);
	m.n = ATTEST_MEASUREMENTS_MAX;
	for (size_t i = 0; i < m.n; i++) {
		memset(m.release[i].name, 'a' + (int)i, MANIFEST_NAME_MAX);
		m.release[i].pcrs = UINT32_MAX;
		memset(m.release[i].pcr, (int)i + 1, sizeof(m.release[i].pcr));
		manifest_write(&m.release[i], &b);
	}
	assert_int_equal(parse(span_buf(&b), &again, &line, &rule), ERR_OK);
	assert_memory_equal(&again, &m, sizeof(m));
	manifest_write(&(struct attest_measurement){ .name = "more", .pcrs = 1 }, &b);
	broken(span_buf(&b), 16 * 33 + 1, "more than 16");
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),    cmocka_unit_test(test_overlap), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_cut_off), cmocka_unit_test(test_list),    cmocka_unit_test(test_write),
		cmocka_unit_test(test_largest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
