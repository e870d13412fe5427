/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/formats_fixture.h"

#include "attest/keyring.h"
#include "worker/base/secret.h"

static const char *const defaults[] = { "voter-protocol-witness-encryption-v1", "commons-witness-encryption-v1" };
static const char *const own[] = { "communique-witness-encryption" };
static const struct keyring_times since_ever = { 0 };

static void fill(uint8_t secret[32], uint8_t v)
{
	memset(secret, v, 32);
}

static void add(struct keyring *r, enum keyring_profile profile, uint8_t v, enum err expected)
{
	uint8_t secret[32];

	fill(secret, v);
	assert_err(keyring_add(r, profile, secret, NULL, 0, &since_ever), expected);
}

static void test_id(void **state)
{
	struct keys k = keys_fixed();
	char id[KEYRING_ID_MAX + 1];

	(void)state;
	keyring_id(k.ring_public, id);
	assert_string_equal(id, "wek-7b4e909bbe7ffe44");
}

static void test_add_and_find(void **state)
{
	struct keyring *r = keyring_new();
	struct keys k = keys_fixed();
	const struct keyring_key *key;

	(void)state;
	assert_int_equal(keyring_count(r), 0);
	assert_null(keyring_find(r, span_lit("wek-7b4e909bbe7ffe44")));
	add(r, KEYRING_WITNESS, 0x11, ERR_OK);
	add(r, KEYRING_LETTER, 0x12, ERR_OK);
	assert_int_equal(keyring_count(r), 2);
	key = keyring_find(r, span_lit("wek-7b4e909bbe7ffe44"));
	assert_ptr_equal(key, keyring_at(r, 0));
	assert_int_equal(key->profile, KEYRING_WITNESS);
	assert_memory_equal(key->public_key, k.ring_public, 32);
	assert_int_equal(keyring_at(r, 1)->profile, KEYRING_LETTER);
	assert_null(keyring_find(r, span_lit("wek-7b4e909bbe7ffe4")));
	assert_null(keyring_find(r, span_lit("")));
	keyring_free(r);
	keyring_free(NULL);
}

/* One profile for life: the same key is refused under either. */
static void test_twice(void **state)
{
	struct keyring *r = keyring_new();

	(void)state;
	add(r, KEYRING_WITNESS, 0x11, ERR_OK);
	add(r, KEYRING_WITNESS, 0x11, ERR_EXISTS);
	add(r, KEYRING_LETTER, 0x11, ERR_EXISTS);
	assert_int_equal(keyring_count(r), 1);
	keyring_free(r);
}

static void test_full(void **state)
{
	struct keyring *r = keyring_new();

	(void)state;
	for (unsigned i = 0; i < KEYRING_KEYS_MAX; i++)
		assert_err(keyring_make(r, i % 2 ? KEYRING_LETTER : KEYRING_WITNESS, &since_ever), ERR_OK);
	assert_err(keyring_make(r, KEYRING_LETTER, &since_ever), ERR_LIMIT);
	add(r, KEYRING_LETTER, 0x11, ERR_LIMIT);
	for (size_t i = 0; i < KEYRING_KEYS_MAX; i++)
		assert_ptr_equal(keyring_find(r, span_str(keyring_at(r, i)->id)), keyring_at(r, i));
	keyring_free(r);
}

static void test_contexts(void **state)
{
	struct keyring *r = keyring_new();
	uint8_t secret[32];

	(void)state;
	assert_err(keyring_default_contexts(r, defaults, 1), ERR_OK);
	add(r, KEYRING_WITNESS, 1, ERR_OK);
	add(r, KEYRING_LETTER, 2, ERR_OK);
	fill(secret, 3);
	assert_err(keyring_add(r, KEYRING_WITNESS, secret, own, 1, &since_ever), ERR_OK);
	assert_int_equal(keyring_at(r, 0)->n_contexts, 1);
	assert_string_equal(keyring_at(r, 0)->context[0], defaults[0]);
	assert_int_equal(keyring_at(r, 1)->n_contexts, 0);
	assert_string_equal(keyring_at(r, 2)->context[0], own[0]);
	/* A new default list reaches the keys that have no own one, whenever they came. */
	assert_err(keyring_default_contexts(r, defaults, 2), ERR_OK);
	assert_int_equal(keyring_at(r, 0)->n_contexts, 2);
	assert_string_equal(keyring_at(r, 0)->context[1], defaults[1]);
	assert_int_equal(keyring_at(r, 2)->n_contexts, 1);
	assert_string_equal(keyring_at(r, 2)->context[0], own[0]);
	fill(secret, 4);
	assert_err(keyring_add(r, KEYRING_LETTER, secret, own, 1, &since_ever), ERR_RANGE);
	assert_err(keyring_add(r, KEYRING_SECRET, secret, own, 1, &since_ever), ERR_RANGE);
	keyring_free(r);
}

static void test_context_limits(void **state)
{
	char text[66];
	const char *one[1] = { text };
	const char *five[5] = { own[0], own[0], own[0], own[0], own[0] };
	struct keyring *r = keyring_new();

	(void)state;
	memset(text, 'c', sizeof(text));
	text[64] = '\0';
	assert_err(keyring_default_contexts(r, one, 1), ERR_OK);
	text[64] = 'c';
	text[65] = '\0';
	assert_err(keyring_default_contexts(r, one, 1), ERR_RANGE);
	text[16] = '\0';
	assert_err(keyring_default_contexts(r, one, 1), ERR_OK);
	text[15] = '\0';
	assert_err(keyring_default_contexts(r, one, 1), ERR_RANGE);
	memcpy(text, "has a space in it", 18);
	assert_err(keyring_default_contexts(r, one, 1), ERR_RANGE);
	assert_err(keyring_default_contexts(r, five, 4), ERR_OK);
	assert_err(keyring_default_contexts(r, five, 5), ERR_RANGE);
	assert_err(keyring_default_contexts(r, NULL, 0), ERR_OK);
	keyring_free(r);
}

/* Both sides come to the same secret. */
static void test_dh(void **state)
{
	struct keyring *r = keyring_new();
	uint8_t peer_secret[32], peer_public[32], secret[32], expected[32], shared[32];

	(void)state;
	fill(secret, 0x66);
	fill(peer_secret, 0x55);
	crypto_scalarmult_base(peer_public, peer_secret);
	assert_err(keyring_make(r, KEYRING_WITNESS, &since_ever), ERR_OK);
	assert_err(keyring_add(r, KEYRING_LETTER, secret, NULL, 0, &since_ever), ERR_OK);
	assert_int_equal(crypto_scalarmult(expected, peer_secret, keyring_at(r, 1)->public_key), 0);
	assert_err(keyring_dh(r, keyring_at(r, 1), peer_public, shared), ERR_OK);
	assert_memory_equal(shared, expected, 32);
	assert_err(keyring_dh(r, keyring_at(r, 0), peer_public, shared), ERR_OK);
	assert_memory_not_equal(shared, expected, 32);
	keyring_free(r);
}

/* The points of low order: 0, 1, p-1, p, p+1 and the two of order 8. */
static void test_low_order(void **state)
{
	static const char *const point[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	};
	struct keyring *r = keyring_new();

	(void)state;
	assert_err(keyring_make(r, KEYRING_LETTER, &since_ever), ERR_OK);
	for (size_t i = 0; i < sizeof(point) / sizeof(point[0]); i++) {
		uint8_t p[32], shared[32], before[32];

		fill(shared, 0xaa);
		fill(before, 0xaa);
		assert_err(text_unhex(span_str(point[i]), p, 32), ERR_OK);
		assert_err(keyring_dh(r, keyring_at(r, 0), p, shared), ERR_ENVELOPE_POINT);
		assert_memory_equal(shared, before, 32);
	}
	keyring_free(r);
}

/* --- the file -------------------------------------------------------------------------------- */

static char dir[] = "/tmp/keyring-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/keys", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_file(const char *text, mode_t mode)
{
	FILE *f;

	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

#define HEX_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX_2 "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"

static void test_load(void **state)
{
	struct keyring *r = keyring_new();
	const char *rule = NULL;
	unsigned line = 99;

	(void)state;
	assert_err(keyring_default_contexts(r, defaults, 2), ERR_OK);
	write_file("# keys\n\n  witness " HEX_1 "   # the first\n\tletter\t" HEX_2 "\n"
		   "witness 2222222222222222222222222222222222222222222222222222222222222222 "
		   "context-number-one context-number-two\n",
		   0600);
	assert_err(keyring_load(r, path, &line, &rule), ERR_OK);
	assert_int_equal(keyring_count(r), 3);
	assert_string_equal(keyring_at(r, 0)->id, "wek-7b4e909bbe7ffe44");
	assert_int_equal(keyring_at(r, 0)->n_contexts, 2);
	assert_string_equal(keyring_at(r, 0)->context[0], defaults[0]);
	assert_int_equal(keyring_at(r, 1)->profile, KEYRING_LETTER);
	assert_int_equal(keyring_at(r, 2)->n_contexts, 2);
	assert_string_equal(keyring_at(r, 2)->context[1], "context-number-two");
	keyring_free(r);
}

static void expect_load(const char *text, enum err e, unsigned at, const char *part)
{
	struct keyring *r = keyring_new();
	const char *rule = NULL;
	unsigned line = 99;

	add(r, KEYRING_LETTER, 0x77, ERR_OK);
	write_file(text, 0600);
	assert_err(keyring_load(r, path, &line, &rule), e);
	assert_int_equal(line, at);
	assert_non_null(strstr(rule, part));
	/* What was in the ring stays, what the file had before the error does not. */
	assert_int_equal(keyring_count(r), 1);
	keyring_free(r);
}

static void test_load_errors(void **state)
{
	static const char many[] = "witness " HEX_1 " context-number-one context-number-one context-number-one "
				   "context-number-one context-number-one\n";

	(void)state;
	expect_load("letter " HEX_2 "\nwitness\n", ERR_CONFIG, 2, "PROFILE");
	expect_load("letter " HEX_2 "\n" HEX_1 "\n", ERR_CONFIG, 2, "PROFILE");
	expect_load("Letter " HEX_2 "\n", ERR_CONFIG, 1, "witness or letter");
	expect_load("letter " HEX_2 "00\n", ERR_CONFIG, 1, "64 hex digits");
	expect_load("letter 0x" HEX_2 "\n", ERR_CONFIG, 1, "64 hex digits");
	expect_load("letter " HEX_2 "\r\nletter " HEX_1 "\r\n", ERR_CONFIG, 1, "64 hex digits");
	expect_load("letter " HEX_2 " context-number-one\n", ERR_CONFIG, 1, "letter key");
	expect_load("witness " HEX_2 " short\n", ERR_CONFIG, 1, "16 to 64");
	expect_load(many, ERR_CONFIG, 1, "at most 4");
	expect_load("letter " HEX_2 "\n\nwitness " HEX_2 "\n", ERR_EXISTS, 3, "repeat");
	expect_load("# nothing\n", ERR_CONFIG, 0, "at least one key");
	expect_load("", ERR_CONFIG, 0, "empty");
}

static void test_load_too_many(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 16384);
	for (unsigned i = 1; i <= KEYRING_KEYS_MAX; i++) {
		uint8_t secret[32];
		char hex[65];

		fill(secret, (uint8_t)i);
		text_hex(span_of(secret, 32), hex);
		buf_add_str(&b, "letter ");
		buf_add_str(&b, hex);
		buf_add_byte(&b, '\n');
	}
	/* One key is in the ring already. */
	expect_load(buf_cstr(&b), ERR_LIMIT, KEYRING_KEYS_MAX, "16");
	buf_clear(&b);
}

static void test_load_file_errors(void **state)
{
	struct keyring *r = keyring_new();
	const char *rule;
	unsigned line;
	char *big = xmalloc(16386);

	(void)state;
	unlink(path);
	assert_err(keyring_load(r, path, &line, &rule), ERR_NOT_FOUND);
	assert_int_equal(line, 0);
	assert_string_equal(rule, "does not exist");
	write_file("letter " HEX_2 "\n", 0640);
	assert_err(keyring_load(r, path, &line, &rule), ERR_CONFIG);
	assert_non_null(strstr(rule, "0600"));
	memset(big, '#', 16385);
	big[16385] = '\0';
	write_file(big, 0600);
	assert_err(keyring_load(r, path, &line, &rule), ERR_LIMIT);
	assert_non_null(strstr(rule, "16384"));
	write_file("", 0600);
	unlink(path);
	/* A link to itself cannot be opened. */
	assert_int_equal(symlink(path, path), 0);
	assert_err(keyring_load(r, path, &line, &rule), ERR_IO);
	assert_string_equal(rule, "cannot be read");
	free(big);
	keyring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_add_and_find),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_context_limits),
		cmocka_unit_test(test_dh),
		cmocka_unit_test(test_low_order),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_errors),
		cmocka_unit_test(test_load_too_many),
		cmocka_unit_test(test_load_file_errors),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
