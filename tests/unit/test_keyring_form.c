/* SPDX-License-Identifier: Apache-2.0 */
/* Key rings as CBOR that no ring writes: each rule of both forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cbor_members.h"
#include "tests/unit/keyring_fixture.h"

#define HEX_11    "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX_11_31 "11111111111111111111111111111111111111111111111111111111111111"
#define HEX_PUB   "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
/* "wek-7b4e909bbe7ffe44" */
#define HEX_ID        "7477656b2d37623465393039626265376666653434"
#define HEX_CONTEXT_2 "781d636f6d6d6f6e732d7769746e6573732d656e6372797074696f6e2d7631"
#define WITNESS       "677769746e657373"
#define LETTER        "666c6574746572"
#define T(n)          "1a6b49d2" n /* NOW and a little */

static const struct member secret_form[] = {
	{ "retire", T("02") },
	{ "secret", "5820" HEX_11 },
	{ "created", T("00") },
	{ "destroy", T("03") },
	{ "profile", WITNESS },
	{ "activate", T("01") },
	{ "contexts", "81" HEX_CONTEXT_2 },
};
static const struct member public_form[] = {
	{ "id", HEX_ID },
	{ "retire", T("02") },
	{ "created", T("00") },
	{ "destroy", T("03") },
	{ "profile", WITNESS },
	{ "activate", T("01") },
	{ "contexts", "81" HEX_CONTEXT_2 },
	{ "public_key", "5820" HEX_PUB },
};

static enum err read_secret(struct span in)
{
	struct keyring *r = keyring_new();
	uint8_t *exact = xmalloc(in.n);
	enum err e;

	memcpy(exact, in.p, in.n);
	e = keyring_read(r, span_of(exact, in.n));
	if (e == ERR_OK) {
		struct buf b = written(r);

		assert_true(span_eq(span_buf(&b), in));
		buf_clear(&b);
	} else {
		assert_int_equal(keyring_count(r), 0);
	}
	assert_tail_wiped(r);
	xfree_wipe(exact, in.n);
	keyring_free(r);
	return e;
}

static enum err read_public(struct span in)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	uint8_t *exact = xmalloc(in.n);
	size_t n = 99;
	enum err e;

	memset(key, 0x5a, sizeof(key));
	memcpy(exact, in.p, in.n);
	e = keyring_read_public(span_of(exact, in.n), key, &n);
	if (e == ERR_OK) {
		struct buf b;

		buf_init(&b, KEYRING_WRITTEN_MAX);
		keyring_write_keys(key, n, &b);
		assert_true(span_eq(span_buf(&b), in));
		buf_clear(&b);
	} else {
		assert_int_equal(n, 99);
		assert_int_equal(key[0].id[0], 0x5a);
	}
	xfree_wipe(exact, in.n);
	return e;
}

/* A ring of one key, with one member changed, in one form. */
static enum err changed(bool public, const char *name, const char *hex)
{
	const struct member change = { name, hex };
	struct buf b;
	enum err e;

	buf_init(&b, KEYRING_WRITTEN_MAX);
	cbor_add_array(&b, 1);
	add_changed(&b, public ? public_form : secret_form, public ? COUNT(public_form) : COUNT(secret_form),
		    name != NULL ? &change : NULL);
	e = public ? read_public(span_buf(&b)) : read_secret(span_buf(&b));
	buf_clear(&b);
	return e;
}

struct row {
	const char *name, *hex;
	enum err e;
};

static void try_rows(bool public, const struct row *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum err e = changed(public, row[i].name, row[i].hex);

		if (e != row[i].e)
			fail_msg("%s: %s %s: %s", public ? "public" : "secret", row[i].name, row[i].hex, err_name(e));
	}
}

#define CONTEXT_15 "6f636363636363636363636363636363"
#define CONTEXT_16 "7063636363636363636363636363636363"
#define CONTEXT_65 "7841" CC CC CC CC CC
#define CC         "63636363636363636363636363" /* 13 */

/* What holds for both forms. */
static const struct row both[] = {
	{ NULL, NULL, ERR_OK },
	{ "retire", T("01"), ERR_OK },
	{ "destroy", NULL, ERR_OK },
	{ "contexts", NULL, ERR_OK },
	{ "contexts", "81" CONTEXT_16, ERR_OK },
	{ "contexts", "84" CONTEXT_16 CONTEXT_16 CONTEXT_16 CONTEXT_16, ERR_OK },
	{ "created", "00", ERR_OK },
	/* members */
	{ "created", NULL, ERR_SYNTAX },
	{ "activate", NULL, ERR_SYNTAX },
	{ "profile", NULL, ERR_SYNTAX },
	{ "retired", T("02"), ERR_SYNTAX },
	{ "", T("02"), ERR_SYNTAX },
	/* types and values */
	{ "profile", "6357656b", ERR_SYNTAX },
	{ "profile", "675769746e657373", ERR_SYNTAX }, /* "Witness" */
	{ "profile", "00", ERR_SYNTAX },
	{ "created", "20", ERR_SYNTAX },
	{ "created", "1b000000006b49d200", ERR_SYNTAX },
	{ "created", "f6", ERR_SYNTAX },
	{ "retire", "00", ERR_SYNTAX },
	{ "retire", "f6", ERR_SYNTAX },
	{ "destroy", "00", ERR_SYNTAX },
	{ "destroy", "1b8000000000000000", ERR_SYNTAX },
	/* the order of times */
	{ "created", T("02"), ERR_RANGE },
	{ "activate", T("03"), ERR_RANGE },
	{ "activate", "00", ERR_RANGE },
	{ "retire", T("00"), ERR_RANGE },
	{ "retire", NULL, ERR_RANGE },
	{ "destroy", T("01"), ERR_RANGE },
	{ "destroy", "1b0000003afff44180", ERR_RANGE },
	{ "destroy", "1b7fffffffffffffff", ERR_RANGE },
	/* contexts */
	{ "contexts", "80", ERR_SYNTAX },
	{ "contexts", CONTEXT_16, ERR_SYNTAX },
	{ "contexts", "8150" CC "636363", ERR_SYNTAX },
	{ "contexts", "85" CONTEXT_16 CONTEXT_16 CONTEXT_16 CONTEXT_16 CONTEXT_16, ERR_SYNTAX },
	{ "contexts", "81" CONTEXT_15, ERR_RANGE },
	{ "contexts", "81" CONTEXT_65, ERR_RANGE },
	{ "contexts", "8160", ERR_RANGE },
	{ "contexts", "8171" CC "63630063", ERR_RANGE }, /* a NUL would end it early */
	{ "contexts", "8171" CC "63632063", ERR_RANGE },
	{ "contexts", "8171" CC "6363c3ab", ERR_RANGE },
	{ "profile", LETTER, ERR_RANGE }, /* with contexts */
	{ "profile", "66736563726574", ERR_RANGE },
};

static void test_rules_of_both(void **state)
{
	(void)state;
	try_rows(false, both, COUNT(both));
	try_rows(true, both, COUNT(both));
}

static void test_rules_of_secrets(void **state)
{
	static const struct row rows[] = {
		{ "secret", NULL, ERR_SYNTAX },
		{ "secret", "40", ERR_SYNTAX },
		{ "secret", "581f" HEX_11_31, ERR_SYNTAX },
		{ "secret", "5821" HEX_11 "11", ERR_SYNTAX },
		{ "secret", "7820" HEX_11, ERR_SYNTAX },
		{ "id", HEX_ID, ERR_SYNTAX },
		{ "public_key", "5820" HEX_PUB, ERR_SYNTAX },
	};

	(void)state;
	try_rows(false, rows, COUNT(rows));
}

static void test_rules_of_public_keys(void **state)
{
	static const struct row rows[] = {
		{ "id", NULL, ERR_SYNTAX },
		{ "id", "60", ERR_RANGE },
		{ "id", "5477656b2d37623465393039626265376666653434", ERR_SYNTAX },
		{ "id", "7477656b2d37623465393039626265376666653435", ERR_RANGE },
		{ "id", "7477656b2d37423465393039626265376666653434", ERR_RANGE }, /* upper case */
		{ "public_key", NULL, ERR_SYNTAX },
		{ "public_key", "40", ERR_SYNTAX },
		{ "public_key", "5821" HEX_PUB "13", ERR_SYNTAX },
		{ "public_key", "5820" HEX_11, ERR_RANGE },
		{ "secret", "5820" HEX_11, ERR_SYNTAX },
	};

	(void)state;
	try_rows(true, rows, COUNT(rows));
}

/* `count` keys, of which the i-th has the secret 32 times i + 1, or all the same; with an array head that says so. */
static struct buf many(size_t count, bool same)
{
	struct buf b;

	buf_init(&b, 2 * KEYRING_WRITTEN_MAX);
	cbor_add_array(&b, count);
	for (size_t i = 0; i < count; i++) {
		char hex[69] = "5820";
		const struct member change = { "secret", hex };
		uint8_t secret[32];

		memset(secret, same ? 1 : (uint8_t)(i + 1), sizeof(secret));
		text_hex(span_of(secret, 32), hex + 4);
		add_changed(&b, secret_form, COUNT(secret_form), &change);
	}
	return b;
}

static void expect_many(size_t count, bool same, enum err e)
{
	struct buf b = many(count, same);

	assert_err(read_secret(span_buf(&b)), e);
	buf_clear(&b);
}

static void test_how_many(void **state)
{
	(void)state;
	expect_many(1, true, ERR_OK);
	expect_many(2, true, ERR_EXISTS);
	expect_many(KEYRING_KEYS_MAX, false, ERR_OK);
	expect_many(KEYRING_KEYS_MAX + 1, false, ERR_LIMIT);
}

static void test_how_many_public(void **state)
{
	struct buf b;

	(void)state;
	for (size_t count = 2; count <= KEYRING_KEYS_MAX + 1; count += KEYRING_KEYS_MAX - 1) {
		buf_init(&b, KEYRING_WRITTEN_MAX);
		cbor_add_array(&b, count);
		for (size_t i = 0; i < count; i++)
			add_changed(&b, public_form, COUNT(public_form), NULL);
		assert_err(read_public(span_buf(&b)), count == 2 ? ERR_RANGE : ERR_LIMIT);
		buf_clear(&b);
	}
}

static void test_not_an_array(void **state)
{
	static uint8_t zeros[KEYRING_WRITTEN_MAX + 1];
	static const char *const hex[] = { "", "a0", "00", "f6", "9fff", "8000", "9801", "9a00010000", "818080" };

	(void)state;
	for (size_t i = 0; i < COUNT(hex); i++) {
		struct buf b;

		buf_init(&b, 16);
		add_hex(&b, hex[i]);
		assert_err(read_secret(span_buf(&b)), ERR_SYNTAX);
		assert_err(read_public(span_buf(&b)), ERR_SYNTAX);
		buf_clear(&b);
	}
	assert_err(read_secret(span_of(zeros, sizeof(zeros))), ERR_LIMIT);
	assert_err(read_public(span_of(zeros, sizeof(zeros))), ERR_LIMIT);
	assert_err(read_secret(span_of(zeros, sizeof(zeros) - 1)), ERR_SYNTAX);
}

/* Cut short, or with a bit changed: refused, or it says another ring, and just that. */
static void test_prefixes_and_flips(void **state)
{
	struct keyring *r = sample_ring();
	struct buf b[2] = { written(r), written_public(r) };

	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		enum err (*read)(struct span in) = p == 0 ? read_secret : read_public;

		assert_err(p == 0 ? ERR_OK : read(span_buf(&b[p])), ERR_OK);
		for (size_t n = 0; n < b[p].n; n++)
			assert_err(read(span_of(b[p].p, n)), ERR_SYNTAX);
		for (size_t i = 0; i < b[p].n; i++) {
			b[p].p[i] ^= 1;
			(void)read(span_buf(&b[p]));
			b[p].p[i] ^= 1;
		}
		buf_clear(&b[p]);
	}
	keyring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_of_both),        cmocka_unit_test(test_rules_of_secrets),
		cmocka_unit_test(test_rules_of_public_keys), cmocka_unit_test(test_how_many),
		cmocka_unit_test(test_how_many_public),      cmocka_unit_test(test_not_an_array),
		cmocka_unit_test(test_prefixes_and_flips),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
