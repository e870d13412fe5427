/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"

/* The signed map, member by member: a payload in pieces, so that a test can spoil one of them. */
struct pair {
	const char *key;
	uint8_t value[300];
	size_t n;
};

struct pairs {
	struct pair at[40];
	size_t n;
};

static void pair_set(struct pairs *p, const char *key, const struct buf *value)
{
	size_t i = 0;

	while (i < p->n && strcmp(p->at[i].key, key) != 0)
		i++;
	assert_true(i < 40 && value->n <= sizeof(p->at[i].value));
	p->at[i].key = key;
	memcpy(p->at[i].value, value->p, value->n);
	p->at[i].n = value->n;
	if (i == p->n)
		p->n++;
}

static void pair_drop(struct pairs *p, const char *key)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->at[i].key, key) == 0)
			p->at[i] = p->at[--p->n];
}

static void set_uint(struct pairs *p, const char *key, uint64_t v)
{
	struct buf b;

	buf_init(&b, 300);
	cbor_add_uint(&b, v);
	pair_set(p, key, &b);
	buf_clear(&b);
}

static void set_text(struct pairs *p, const char *key, const char *s)
{
	struct buf b;

	buf_init(&b, 300);
	cbor_add_str(&b, s);
	pair_set(p, key, &b);
	buf_clear(&b);
}

static void set_hex(struct pairs *p, const char *key, const char *hex)
{
	struct buf b;

	buf_init(&b, 300);
	unhex(hex, &b);
	pair_set(p, key, &b);
	buf_clear(&b);
}

static void set_bytes(struct pairs *p, const char *key, size_t n)
{
	uint8_t zero[64] = { 0 };
	struct buf b;

	buf_init(&b, 300);
	cbor_add_bytes(&b, span_of(zero, n));
	pair_set(p, key, &b);
	buf_clear(&b);
}

static void set_offices(struct pairs *p, const char *const *office, size_t n)
{
	struct buf b;

	buf_init(&b, 300);
	cbor_add_array(&b, n);
	for (size_t i = 0; i < n; i++)
		cbor_add_str(&b, office[i]);
	pair_set(p, "offices", &b);
	buf_clear(&b);
}

static void set_witness(struct pairs *p, const char *k1, const char *v1, const char *k2, const char *v2)
{
	struct buf b;

	buf_init(&b, 300);
	cbor_add_map(&b, (size_t)(k1 != NULL) + (k2 != NULL));
	if (k1 != NULL) {
		cbor_add_str(&b, k1);
		cbor_add_str(&b, v1);
	}
	if (k2 != NULL) {
		cbor_add_str(&b, k2);
		cbor_add_str(&b, v2);
	}
	pair_set(p, "witness", &b);
	buf_clear(&b);
}

static struct pairs pairs_good(enum job_profile profile)
{
	static const char *const office[] = { "HCA12", "SCA01" };
	struct pairs p = { .n = 0 };

	set_uint(&p, "v", 1);
	set_text(&p, "sid", "sub_0001-A");
	set_text(&p, "queue", "q");
	set_hex(&p, "fields", "a0");
	set_uint(&p, "expires", EXPIRES);
	set_offices(&p, office, 2);
	set_text(&p, "profile", profile == JOB_WITNESS ? "witness" : "letter");
	if (profile == JOB_WITNESS)
		set_witness(&p, "nullifier", "0x04", "actionDomain", "0x05");
	set_uint(&p, "priority", 0);
	set_uint(&p, "generation", 0);
	set_text(&p, "environment", "sandbox");
	set_bytes(&p, "envelope_sha256", 32);
	return p;
}

static int by_key(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	size_t nx = strlen(x->key), ny = strlen(y->key);

	return nx != ny ? (nx < ny ? -1 : 1) : strcmp(x->key, y->key);
}

static enum err parse_pairs(struct pairs *p, const char **ret_member)
{
	struct buf b;
	enum err e;

	qsort(p->at, p->n, sizeof(p->at[0]), by_key);
	buf_init(&b, JOB_MAX);
	cbor_add_map(&b, p->n);
	for (size_t i = 0; i < p->n; i++) {
		cbor_add_str(&b, p->at[i].key);
		buf_add(&b, p->at[i].value, p->at[i].n);
	}
	e = parse_signed_payload(span_buf(&b), ret_member);
	buf_clear(&b);
	return e;
}

#define expect_pairs(p, e, member)                  \
	do {                                        \
		const char *m_ = NULL;              \
		assert_err(parse_pairs(p, &m_), e); \
		assert_string_equal(m_, member);    \
	} while (0)

static void test_pairs_are_good(void **state)
{
	struct pairs p = pairs_good(JOB_WITNESS);

	(void)state;
	expect_pairs(&p, ERR_OK, "");
	p = pairs_good(JOB_LETTER);
	expect_pairs(&p, ERR_OK, "");
}

static void test_outer_form(void **state)
{
	static const char *const bad[] = {
		"",                       /* nothing */
		"80",                     /* not a pair */
		"83d28441a0a04140404140", /* three elements */
		"9fff",                   /* indefinite */
		"82d284f6",               /* null for the protected header, cut off */
		"8200",                   /* no envelope */
		"820041aa",               /* an integer for the message */
		"82a041aa",               /* a map for the message */
	};
	const char *member;
	struct job j;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b;

		buf_init(&b, 64);
		unhex(bad[i], &b);
		assert_err(job_parse(span_buf(&b), &j, &member), ERR_JOB_SYNTAX);
		buf_clear(&b);
	}
}

static void test_version(void **state)
{
	struct pairs p = pairs_good(JOB_LETTER);

	(void)state;
	set_uint(&p, "v", 2);
	expect_pairs(&p, ERR_JOB_VERSION, "v");
	/* A later version may have other members: it is the version that is named. */
	set_uint(&p, "zz", 2);
	expect_pairs(&p, ERR_JOB_VERSION, "v");
	set_text(&p, "v", "1");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "v");
	set_hex(&p, "v", "1801"); /* not the shortest form */
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
}

static void test_missing(void **state)
{
	static const char *const required[] = { "v",          "sid",         "queue",          "fields",
						"expires",    "offices",     "profile",        "priority",
						"generation", "environment", "envelope_sha256" };

	(void)state;
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		struct pairs p = pairs_good(JOB_LETTER);

		pair_drop(&p, required[i]);
		expect_pairs(&p, ERR_JOB_FIELD_MISSING, required[i]);
	}
}

static void test_unknown(void **state)
{
	struct pairs p = pairs_good(JOB_LETTER);

	(void)state;
	set_uint(&p, "extra", 1);
	expect_pairs(&p, ERR_JOB_FIELD_UNKNOWN, "");
	pair_drop(&p, "extra");
	set_witness(&p, "nullifier", "0x04", "actionDomain", "0x05");
	expect_pairs(&p, ERR_JOB_FIELD_UNKNOWN, "witness");
}

static void test_witness_member(void **state)
{
	char long_text[130];
	struct pairs p = pairs_good(JOB_WITNESS);

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	long_text[128] = '\0';
	set_witness(&p, "nullifier", long_text, "actionDomain", long_text);
	expect_pairs(&p, ERR_OK, "");
	long_text[128] = 'x';
	long_text[129] = '\0';
	set_witness(&p, "nullifier", "0x04", "actionDomain", long_text);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "witness.actionDomain");
	set_witness(&p, "nullifier", "", "actionDomain", "0x05");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "witness.nullifier");
	set_witness(&p, "nullifier", "0x04", NULL, NULL);
	expect_pairs(&p, ERR_JOB_FIELD_MISSING, "witness.actionDomain");
	set_witness(&p, NULL, NULL, "actionDomain", "0x05");
	expect_pairs(&p, ERR_JOB_FIELD_MISSING, "witness.nullifier");
	set_witness(&p, "nullifier", "0x04", "userSecret00", "0x07");
	expect_pairs(&p, ERR_JOB_FIELD_UNKNOWN, "witness");
	set_witness(&p, "actionDomain", "0x05", "nullifier", "0x04");
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
	set_hex(&p, "witness", "a1696e756c6c6966696572fa00000000"); /* a float */
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
	set_hex(&p, "witness", "a1696e756c6c696669657261ff"); /* not UTF-8 */
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
	set_hex(&p, "witness", "a1696e756c6c696669657204"); /* an integer */
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "witness.nullifier");
	pair_drop(&p, "witness");
	expect_pairs(&p, ERR_JOB_FIELD_MISSING, "witness");
}

static void test_types(void **state)
{
	static const char *const all[] = { "v",         "sid",        "queue",       "fields",
					   "expires",   "offices",    "profile",     "witness",
					   "priority",  "generation", "environment", "envelope_sha256",
					   "not_before" };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct pairs p = pairs_good(JOB_WITNESS);

		set_hex(&p, all[i], "f6"); /* null */
		expect_pairs(&p, ERR_JOB_FIELD_TYPE, all[i]);
		set_hex(&p, all[i], "fb3ff0000000000000"); /* 1.0: floats are not read at all */
		expect_pairs(&p, ERR_JOB_SYNTAX, "");
	}
}

static void test_values(void **state)
{
	char text[70];
	struct pairs p = pairs_good(JOB_LETTER);

	(void)state;
	memset(text, 'a', sizeof(text));
	text[64] = '\0';
	set_text(&p, "sid", text);
	set_text(&p, "queue", text);
	set_text(&p, "environment", "production");
	set_uint(&p, "generation", 0x7fffffff);
	set_uint(&p, "priority", 1);
	set_uint(&p, "not_before", EXPIRES);
	set_uint(&p, "expires", EXPIRES);
	expect_pairs(&p, ERR_OK, "");
	set_uint(&p, "not_before", EXPIRES + 1);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "not_before");
	set_uint(&p, "generation", 0x80000000);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "generation");
	set_uint(&p, "priority", 2);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "priority");
	set_text(&p, "profile", "Letter");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "profile");
	text[64] = 'a';
	text[65] = '\0';
	set_text(&p, "queue", text);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "queue");
	set_text(&p, "queue", "");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "queue");
	set_text(&p, "sid", text);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "sid");
	set_hex(&p, "sid", "61ff"); /* not UTF-8 */
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
}

static void test_more_values(void **state)
{
	struct pairs p = pairs_good(JOB_LETTER);

	(void)state;
	set_bytes(&p, "envelope_sha256", 31);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "envelope_sha256");
	set_bytes(&p, "envelope_sha256", 33);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "envelope_sha256");
	set_text(&p, "environment", "test");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "environment");
	set_hex(&p, "fields", "a261620161610a"); /* keys out of order */
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
}

static void test_offices(void **state)
{
	static const char *const three[] = { "HCA12", "SCA01", "SCA03", "HAQ00" };
	static const char *const twice[] = { "HCA12", "SCA01", "HCA12" };
	static const char *const bad[] = { "HCA1", "HCA123", "hca12", "HCA-2", "" };
	struct pairs p = pairs_good(JOB_LETTER);

	(void)state;
	set_offices(&p, three, 1);
	expect_pairs(&p, ERR_OK, "");
	set_offices(&p, three, 3);
	expect_pairs(&p, ERR_OK, "");
	set_offices(&p, three, 4);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "offices");
	set_offices(&p, three, 0);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "offices");
	set_offices(&p, twice, 3);
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "offices");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_offices(&p, &bad[i], 1);
		expect_pairs(&p, ERR_JOB_FIELD_TYPE, "offices");
	}
	set_hex(&p, "offices", "8101");
	expect_pairs(&p, ERR_JOB_FIELD_TYPE, "offices");
	set_hex(&p, "offices", "8165ffffffffff");
	expect_pairs(&p, ERR_JOB_SYNTAX, "");
}

static void test_payload_form(void **state)
{
	const char *member;

	(void)state;
	assert_err(parse_signed_payload(span_lit("\x80"), &member), ERR_JOB_SYNTAX);
	assert_err(parse_signed_payload(span_lit("\xa1\x01\x01"), &member), ERR_JOB_SYNTAX);
	assert_err(parse_signed_payload(span_lit("\xa2\x61v\x01\x61v\x01"), &member), ERR_JOB_SYNTAX);
	assert_err(parse_signed_payload(span_lit("\xa1\x61v\x01\x00"), &member), ERR_JOB_SYNTAX);
	assert_err(parse_signed_payload(span_lit("\xa1\x61v"), &member), ERR_JOB_SYNTAX);
	assert_err(parse_signed_payload(span_lit("\xa1\x61v\x01"), &member), ERR_JOB_FIELD_MISSING);
	assert_string_equal(member, "sid");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs_are_good), cmocka_unit_test(test_outer_form),
		cmocka_unit_test(test_version),        cmocka_unit_test(test_missing),
		cmocka_unit_test(test_unknown),        cmocka_unit_test(test_witness_member),
		cmocka_unit_test(test_types),          cmocka_unit_test(test_values),
		cmocka_unit_test(test_more_values),    cmocka_unit_test(test_offices),
		cmocka_unit_test(test_payload_form),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
