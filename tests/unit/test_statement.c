/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cbor_members.h"
#include "tests/unit/keyring_fixture.h"

#include "attest/receipt.h"
#include "attest/statement.h"

#define RECEIPT_KEY_ID "rcp-5555555555555555"

static const uint8_t grant[STATEMENT_GRANT_SIZE] = { 0x67, 0x72, 0x61, 0x6e, 0x74 };
static struct buf keys;

static int make_keys(void **state)
{
	struct keyring *r = sample_ring();

	(void)state;
	keys = written_public(r);
	keyring_free(r);
	return 0;
}

static int free_keys(void **state)
{
	(void)state;
	buf_clear(&keys);
	return 0;
}

static struct statement sample(void)
{
	struct statement s = {
		.environment = span_lit("production"),
		.queue = span_lit("letters"),
		.release = span_lit("1.2.3"),
		.bundle = 7,
		.receipt_key_id = span_lit(RECEIPT_KEY_ID),
		.keys = span_buf(&keys),
		.grant = span_of(grant, sizeof(grant)),
	};

	memset(s.receipt_key, 0x55, sizeof(s.receipt_key));
	return s;
}

static void assert_same(const struct statement *a, const struct statement *b)
{
	assert_true(span_eq(a->environment, b->environment));
	assert_true(span_eq(a->queue, b->queue));
	assert_true(span_eq(a->release, b->release));
	assert_int_equal(a->bundle, b->bundle);
	assert_memory_equal(a->receipt_key, b->receipt_key, sizeof(a->receipt_key));
	assert_true(span_eq(a->receipt_key_id, b->receipt_key_id));
	assert_true(span_eq(a->keys, b->keys));
	assert_true(span_eq(a->grant, b->grant));
}

/* In memory of exactly its size. What is accepted is written again as it was; what is not, leaves no trace. */
static enum err read_exact(struct span in, struct statement *ret_s)
{
	uint8_t *exact = xmalloc(in.n);
	struct statement s;
	struct buf b;
	enum err e;

	memset(&s, 0x5a, sizeof(s));
	memcpy(exact, in.p, in.n);
	e = statement_read(span_of(exact, in.n), &s);
	if (e == ERR_OK) {
		buf_init(&b, STATEMENT_MAX);
		assert_err(statement_write(&s, &b), ERR_OK);
		assert_true(span_eq(span_buf(&b), in));
		buf_clear(&b);
		assert_true(s.grant.n == 0 || (s.grant.p > exact && s.grant.p + s.grant.n < exact + in.n));
		assert_true(s.keys.p > exact && s.keys.p + s.keys.n < exact + in.n);
		if (ret_s != NULL)
			assert_err(statement_read(in, ret_s), ERR_OK);
	} else {
		assert_int_equal(s.receipt_key[0], 0x5a);
	}
	xfree_wipe(exact, in.n);
	return e;
}

static void test_round_trip(void **state)
{
	struct statement in = sample(), out;
	struct buf b;

	(void)state;
	buf_init(&b, 2 * STATEMENT_MAX);
	buf_add_str(&b, "before");
	assert_err(statement_write(&in, &b), ERR_OK);
	assert_memory_equal(b.p, "before", 6);
	buf_drop(&b, 6);
	assert_err(read_exact(span_buf(&b), &out), ERR_OK);
	assert_same(&in, &out);
	buf_clear(&b);
}

/* A ring that is from no bundle, and one without a key; nobody is granted. */
static void test_first_of_all(void **state)
{
	struct statement in = sample(), out;
	struct buf b;

	(void)state;
	in.bundle = 0;
	in.keys = span_lit("\x80");
	in.grant = span_lit("");
	buf_init(&b, STATEMENT_MAX);
	assert_err(statement_write(&in, &b), ERR_OK);
	assert_null(span_find(span_buf(&b), span_lit("bundle")));
	assert_null(span_find(span_buf(&b), span_lit("grant")));
	assert_err(read_exact(span_buf(&b), &out), ERR_OK);
	assert_same(&in, &out);
	buf_clear(&b);
}

static void test_receipt_key(void **state)
{
	struct receipt_key *k = receipt_key_new();
	struct statement in = sample(), out;
	struct buf b;

	(void)state;
	memcpy(in.receipt_key, receipt_key_public(k), 32);
	in.receipt_key_id = span_str(receipt_key_id(k));
	buf_init(&b, STATEMENT_MAX);
	assert_err(statement_write(&in, &b), ERR_OK);
	assert_err(read_exact(span_buf(&b), &out), ERR_OK);
	assert_same(&in, &out);
	buf_clear(&b);
	receipt_key_free(k);
}

/* --- what it does not write -------------------------------------------------------------------- */

static void expect_refused(struct statement s)
{
	struct buf b;

	buf_init(&b, 2 * STATEMENT_MAX);
	buf_add_str(&b, "before");
	assert_err(statement_write(&s, &b), ERR_LIMIT);
	assert_int_equal(b.n, 6);
	buf_clear(&b);
}

static void test_write_limits(void **state)
{
	static uint8_t big[KEYRING_WRITTEN_MAX + 1];
	char text[65];
	struct span *field[4];
	struct statement s = sample();
	struct buf b;

	(void)state;
	memset(text, 'x', sizeof(text));
	field[0] = &s.environment;
	field[1] = &s.queue;
	field[2] = &s.release;
	field[3] = &s.receipt_key_id;
	for (size_t i = 0; i < COUNT(field); i++) {
		struct span kept = *field[i];

		*field[i] = span_of(text, 65);
		expect_refused(s);
		*field[i] = span_of(text, 0);
		expect_refused(s);
		*field[i] = kept;
	}
	s.bundle = (uint64_t)UINT32_MAX + 1;
	expect_refused(s);
	s = sample();
	s.keys = span_of(big, sizeof(big));
	expect_refused(s);
	s = sample();
	s.grant = span_of(big, STATEMENT_GRANT_SIZE - 1);
	expect_refused(s);
	s.grant = span_of(big, STATEMENT_GRANT_SIZE + 1);
	expect_refused(s);
	/* The largest that there is. */
	s = sample();
	s.environment = s.queue = s.release = s.receipt_key_id = span_of(text, 64);
	s.bundle = UINT32_MAX;
	s.keys = span_of(big, KEYRING_WRITTEN_MAX);
	buf_init(&b, STATEMENT_MAX);
	assert_err(statement_write(&s, &b), ERR_OK);
	buf_clear(&b);
	buf_init(&b, 100);
	assert_err(statement_write(&s, &b), ERR_LIMIT);
	buf_clear(&b);
}

/* --- what it does not read --------------------------------------------------------------------- */

#define HEX_55    "5555555555555555555555555555555555555555555555555555555555555555"
#define HEX_55_31 "55555555555555555555555555555555555555555555555555555555555555"
#define HEX_RCP   "747263702d35353535353535353535353535353535"
#define X16       "78787878787878787878787878787878"
/* A key of profile letter: 32 times 0x11. */
#define HEX_KEY                                      \
	"a5626964"                                   \
	"7477656b2d37623465393039626265376666653434" \
	"6763726561746564"                           \
	"00"                                         \
	"6770726f66696c65"                           \
	"666c6574746572"                             \
	"686163746976617465"                         \
	"00"                                         \
	"6a7075626c69635f6b6579"                     \
	"5820"                                       \
	"7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"

static const struct member statement_form[] = {
	{ "v", "01" },
	{ "keys", "81" HEX_KEY },
	{ "grant", "5820" HEX_55 },
	{ "queue", "6171" },
	{ "bundle", "01" },
	{ "release", "65302e312e30" },
	{ "environment", "6773616e64626f78" },
	{ "receipt_key", "5820" HEX_55 },
	{ "receipt_key_id", HEX_RCP },
};

static enum err changed(const char *name, const char *hex)
{
	const struct member change = { name, hex };
	struct buf b;
	enum err e;

	buf_init(&b, 2 * STATEMENT_MAX);
	add_changed(&b, statement_form, COUNT(statement_form), name != NULL ? &change : NULL);
	e = read_exact(span_buf(&b), NULL);
	buf_clear(&b);
	return e;
}

static void test_read_rules(void **state)
{
	static const struct {
		const char *name, *hex;
		enum err e;
	} rows[] = {
		{ NULL, NULL, ERR_OK },
		{ "bundle", NULL, ERR_OK },
		{ "grant", NULL, ERR_OK },
		{ "grant", "40", ERR_SYNTAX },
		{ "grant", "581f" HEX_55_31, ERR_SYNTAX },
		{ "grant", "5821" HEX_55 "55", ERR_SYNTAX },
		{ "grant", "7820" HEX_55, ERR_SYNTAX },
		{ "grant", "f6", ERR_SYNTAX },
		{ "bundle", "1affffffff", ERR_OK },
		{ "keys", "80", ERR_OK },
		{ "queue", "7840" X16 X16 X16 X16, ERR_OK },
		{ "v", NULL, ERR_SYNTAX },
		{ "v", "00", ERR_SYNTAX },
		{ "v", "02", ERR_SYNTAX },
		{ "v", "1801", ERR_SYNTAX },
		{ "keys", NULL, ERR_SYNTAX },
		{ "queue", NULL, ERR_SYNTAX },
		{ "release", NULL, ERR_SYNTAX },
		{ "environment", NULL, ERR_SYNTAX },
		{ "receipt_key", NULL, ERR_SYNTAX },
		{ "receipt_key_id", NULL, ERR_SYNTAX },
		{ "nonce", "00", ERR_SYNTAX },
		{ "a", "00", ERR_SYNTAX },
		{ "queue", "60", ERR_SYNTAX },
		{ "queue", "4171", ERR_SYNTAX },
		{ "queue", "7841" X16 X16 X16 X16 "78", ERR_SYNTAX },
		{ "release", "60", ERR_SYNTAX },
		{ "release", "7841" X16 X16 X16 X16 "78", ERR_SYNTAX },
		{ "environment", "60", ERR_SYNTAX },
		{ "environment", "7841" X16 X16 X16 X16 "78", ERR_SYNTAX },
		{ "bundle", "00", ERR_SYNTAX },
		{ "bundle", "20", ERR_SYNTAX },
		{ "bundle", "1b0000000100000000", ERR_SYNTAX },
		{ "receipt_key", "40", ERR_SYNTAX },
		{ "receipt_key", "581f" HEX_55_31, ERR_SYNTAX },
		{ "receipt_key", "5821" HEX_55 "55", ERR_SYNTAX },
		/* a key or an id that is not what it says */
		{ "receipt_key_id", "60", ERR_SYNTAX },
		{ "receipt_key_id", "747263702d35353535353535353535353535353536", ERR_RANGE },
		{ "receipt_key_id", "7477656b2d35353535353535353535353535353535", ERR_RANGE },
		{ "receipt_key_id", "757263702d3535353535353535353535353535353535", ERR_RANGE },
		/* keys included */
		{ "keys", "00", ERR_SYNTAX },
		{ "keys", "81a0", ERR_SYNTAX },
		{ "keys", "8100", ERR_SYNTAX },
		{ "keys", "82" HEX_KEY HEX_KEY, ERR_RANGE },
		{ "keys", "9190909090909090909090909090909090", ERR_SYNTAX },
		{ "keys",
		  "9180808080808080808080808080808080"
		  "80",
		  ERR_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum err e = changed(rows[i].name, rows[i].hex);

		if (e != rows[i].e)
			fail_msg("%s %s: %s", rows[i].name, rows[i].hex, err_name(e));
	}
}

static void test_too_large(void **state)
{
	static uint8_t zeros[STATEMENT_MAX + 1];

	(void)state;
	assert_err(read_exact(span_of(zeros, STATEMENT_MAX), NULL), ERR_SYNTAX);
	assert_err(read_exact(span_of(zeros, STATEMENT_MAX + 1), NULL), ERR_LIMIT);
}

static void test_prefixes_and_flips(void **state)
{
	struct statement in = sample();
	uint8_t hash[32], other[32];
	struct buf b;

	(void)state;
	buf_init(&b, STATEMENT_MAX);
	assert_err(statement_write(&in, &b), ERR_OK);
	statement_hash(span_buf(&b), hash);
	for (size_t n = 0; n < b.n; n++)
		assert_err(read_exact(span_of(b.p, n), NULL), ERR_SYNTAX);
	for (size_t i = 0; i < b.n; i++) {
		b.p[i] ^= 1;
		(void)read_exact(span_buf(&b), NULL);
		statement_hash(span_buf(&b), other);
		assert_memory_not_equal(hash, other, 32);
		b.p[i] ^= 1;
	}
	buf_add_byte(&b, 0);
	assert_err(read_exact(span_buf(&b), NULL), ERR_SYNTAX);
	buf_clear(&b);
}

/* SHA-256 of "cwc-statement-v1abc", from another implementation. */
static void test_hash(void **state)
{
	uint8_t hash[STATEMENT_HASH_SIZE];
	char hex[65];

	(void)state;
	statement_hash(span_lit("abc"), hash);
	text_hex(span_of(hash, sizeof(hash)), hex);
	assert_string_equal(hex, "efd2842e95db8156c9c861b9935f34bca18316a4bcfe33cdaca69009af8168ba");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_first_of_all),
		cmocka_unit_test(test_receipt_key),        cmocka_unit_test(test_write_limits),
		cmocka_unit_test(test_read_rules),         cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_prefixes_and_flips), cmocka_unit_test(test_hash),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
