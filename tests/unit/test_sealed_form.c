/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/secret_fixture.h"

/* --- form ------------------------------------------------------------------------------------- */

#define V           "617601"
#define KID         "636b69646477656b2d"
#define NAME        "646e616d656e71756575652e70617373776f7264"
#define NEW_NAME    "646e616d656e72656469732e70617373776f7264" /* "redis.password" */
#define QUEUE_HEX   "6571756575656171"
#define ENVIRONMENT "6b656e7669726f6e6d656e746773616e64626f78"

static void header_bytes_give(struct span header, enum err expected)
{
	uint8_t ephemeral[32] = { 9 };
	struct sealed out, s = { .header = header, .ephemeral = span_of(ephemeral, 32), .sealed = repeated('s', 17) };
	struct buf b;

	secret_build(&s, &b);
	assert_err(sealed_parse(span_buf(&b), &out), expected);
	buf_clear(&b);
}

static void header_gives(const char *hex, enum err expected)
{
	struct buf b;

	buf_init(&b, SEALED_MAX);
	add_hex(&b, hex);
	header_bytes_give(span_buf(&b), expected);
	buf_clear(&b);
}

static void test_headers(void **state)
{
	(void)state;
	header_gives("a5" V KID NAME QUEUE_HEX ENVIRONMENT, ERR_OK);
	header_gives("a5617602" KID NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a561766131" KID NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	/* missing, unknown, out of order, twice, something behind */
	header_gives("a4" V KID NAME QUEUE_HEX, ERR_SYNTAX);
	header_gives("a4" KID NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a6" V KID NAME QUEUE_HEX ENVIRONMENT "6b7a7a7a7a7a7a7a7a7a7a7a00", ERR_SYNTAX);
	header_gives("a5" V NAME KID QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a5" V KID KID QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a5" V KID NAME QUEUE_HEX ENVIRONMENT "00", ERR_SYNTAX);
	header_gives("bf" V KID NAME QUEUE_HEX ENVIRONMENT "ff", ERR_SYNTAX);
	header_gives("80", ERR_SYNTAX);
	header_gives("", ERR_SYNTAX);
	/* another name in the place of one */
	header_gives("a5" V "636b69656477656b2d" NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a5" V KID NAME QUEUE_HEX "6b656e7669726f6e6d656e756773616e64626f78", ERR_SYNTAX);
	/* bytes for a text, not in shortest form, no UTF-8 */
	header_gives("a5" V "636b69644477656b2d" NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a5" V "636b6964780477656b2d" NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
	header_gives("a5" V KID NAME "65717565756561c3" ENVIRONMENT, ERR_SYNTAX);
	/* a name that is not known is told from what is no header at all */
	header_gives("a5" V KID NEW_NAME QUEUE_HEX ENVIRONMENT, ERR_NOT_FOUND);
	header_gives("a5617602" KID NEW_NAME QUEUE_HEX ENVIRONMENT, ERR_SYNTAX);
}

static void values_give(struct span kid, const char *name, struct span queue, const char *environment,
			enum err expected)
{
	struct buf b;

	buf_init(&b, SEALED_MAX);
	cbor_add_map(&b, 5);
	cbor_add_str(&b, "v");
	cbor_add_uint(&b, 1);
	cbor_add_str(&b, "kid");
	cbor_add_text(&b, kid);
	cbor_add_str(&b, "name");
	cbor_add_str(&b, name);
	cbor_add_str(&b, "queue");
	cbor_add_text(&b, queue);
	cbor_add_str(&b, "environment");
	cbor_add_str(&b, environment);
	header_bytes_give(span_buf(&b), expected);
	buf_clear(&b);
}

static void test_values(void **state)
{
	char text[66];

	(void)state;
	memset(text, 'x', sizeof(text));
	values_give(span_of(text, 64), "queue.password", QUEUE, "production", ERR_OK);
	values_give(span_of(text, 65), "queue.password", QUEUE, "production", ERR_SYNTAX);
	values_give(span_lit(""), "queue.password", QUEUE, "sandbox", ERR_SYNTAX);
	values_give(span_lit("a b"), "queue.password", QUEUE, "sandbox", ERR_SYNTAX);
	values_give(span_lit("a\x7f"), "queue.password", QUEUE, "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "queue.password", span_of(text, 64), "sandbox", ERR_OK);
	values_give(span_lit("k"), "queue.password", span_of(text, 65), "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "queue.password", span_lit(""), "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "queue.password", span_lit("a:b"), "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "queue.password", span_lit("q"), "staging", ERR_SYNTAX);
	values_give(span_lit("k"), "queue.password", span_lit("q"), "", ERR_SYNTAX);
	values_give(span_lit("k"), "", span_lit("q"), "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "queue password", span_lit("q"), "sandbox", ERR_SYNTAX);
	values_give(span_lit("k"), "Queue.Password", span_lit("q"), "sandbox", ERR_NOT_FOUND);
}

static void parts_give(struct span domain, struct span ephemeral, size_t n_sealed, size_t n_items, enum err expected)
{
	struct sealed out;
	struct buf b;

	buf_init(&b, 2 * SEALED_MAX);
	cbor_add_array(&b, n_items);
	cbor_add_text(&b, domain);
	buf_add_byte(&b, 0x58); /* the header, in a head of two bytes */
	buf_add_byte(&b, 61);
	add_hex(&b, "a5" V KID NAME QUEUE_HEX ENVIRONMENT);
	cbor_add_bytes(&b, ephemeral);
	cbor_add_bytes(&b, repeated('s', n_sealed));
	if (n_items == 5)
		cbor_add_uint(&b, 0);
	assert_err(sealed_parse(span_buf(&b), &out), expected);
	buf_clear(&b);
}

static void test_parts(void **state)
{
	const struct span domain = span_lit("cwc-secret-v1");
	uint8_t point[33] = { 9 };
	struct sealed out;

	(void)state;
	parts_give(domain, span_of(point, 32), 17, 4, ERR_OK);
	parts_give(domain, span_of(point, 32), 2064, 4, ERR_OK);
	parts_give(domain, span_of(point, 32), 16, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 32), 0, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 32), 2065, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 32), SEALED_MAX, 4, ERR_LIMIT);
	parts_give(domain, span_of(point, 31), 17, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 33), 17, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 0), 17, 4, ERR_SYNTAX);
	parts_give(domain, span_of(point, 32), 17, 3, ERR_SYNTAX);
	parts_give(domain, span_of(point, 32), 17, 5, ERR_SYNTAX);
	parts_give(span_lit("cwc-secret-v2"), span_of(point, 32), 17, 4, ERR_SYNTAX);
	parts_give(span_lit("cwc-bundle-v1"), span_of(point, 32), 17, 4, ERR_SYNTAX);
	parts_give(span_lit(""), span_of(point, 32), 17, 4, ERR_SYNTAX);
	assert_err(sealed_parse(span_of(NULL, 0), &out), ERR_SYNTAX);
	assert_err(sealed_parse(repeated('x', SEALED_MAX + 1), &out), ERR_LIMIT);
}

/* --- what is in it ---------------------------------------------------------------------------- */

static void not_made(enum sealed_name name, struct span environment, struct span queue, const struct keyring_key *to,
		     struct span secret)
{
	struct buf b;

	buf_init(&b, SEALED_MAX);
	buf_add_byte(&b, 0x55);
	assert_err(sealed_make(name, environment, queue, to, secret, &b), ERR_RANGE);
	assert_int_equal(b.n, 1);
	buf_clear(&b);
}

static void test_not_made(void **state)
{
	static const char *const texts[] = { "a\nb", "a\tb", "a\x7f", "\x1f", "\xc3\xab", "a\r\nHost: b" };
	struct keyring *r = ring_fixed();
	const struct keyring_key *to = secret_key(r);
	struct keyring_key unnamed = *to;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, to, span_str(texts[i]));
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, to, span_of("a\0b", 3));
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, to, span_of(NULL, 0));
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, to, repeated('x', SEALED_PLAIN_MAX + 1));
	not_made(SEALED_NAME_COUNT, SANDBOX, QUEUE, to, SECRET);
	not_made(SEALED_QUEUE_PASSWORD, span_lit("test"), QUEUE, to, SECRET);
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, span_lit(""), to, SECRET);
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, repeated('q', 65), to, SECRET);
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, repeated('q', 1000), to, SECRET);
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, ring_key(r, KEYRING_LETTER), SECRET);
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, ring_key(r, KEYRING_WITNESS), SECRET);
	unnamed.id[0] = '\0';
	not_made(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, &unnamed, SECRET);
	buf_init(&b, 100);
	assert_err(sealed_make(SEALED_QUEUE_PASSWORD, SANDBOX, QUEUE, to, SECRET, &b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	buf_clear(&b);
	keyring_free(r);
}

/* Seals as FORMATS.md says and not as sealed_make() does: what comes of a sender with other rules. HKDF by libsodium's
 * HMAC (RFC 5869), two blocks. */
static void seal_anything(const struct keyring *r, struct span header, struct span plain, struct buf *ret_b)
{
	const struct keyring_key *to = secret_key(r);
	uint8_t secret[32] = { 1 }, point[32], shared[32], prk[32], okm[64], nothing[1] = { 0 };
	uint8_t sealed[SEALED_MAX];
	crypto_auth_hmacsha256_state st;
	struct buf info, aad;
	struct sealed s;

	crypto_scalarmult_base(point, secret);
	assert_int_equal(crypto_scalarmult(shared, secret, to->public_key), 0);
	buf_init(&info, SEALED_MAX);
	buf_init(&aad, SEALED_MAX);
	crypto_auth_hmacsha256_init(&st, nothing, 0);
	crypto_auth_hmacsha256_update(&st, shared, sizeof(shared));
	crypto_auth_hmacsha256_final(&st, prk);
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&info);
		buf_add(&info, okm, i == 0 ? 0 : 32);
		buf_add_str(&info, "cwc-secret-v1");
		buf_add(&info, point, sizeof(point));
		buf_add(&info, to->public_key, sizeof(to->public_key));
		buf_add_span(&info, header);
		buf_add_byte(&info, (uint8_t)(i + 1));
		crypto_auth_hmacsha256(okm + 32 * i, info.p, info.n, prk);
	}
	buf_add_str(&aad, "cwc-secret-v1");
	buf_add_span(&aad, header);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, plain.p, plain.n, aad.p, aad.n, NULL, okm + 32, okm);
	s = (struct sealed){ .header = header,
			     .ephemeral = span_of(point, 32),
			     .sealed = span_of(sealed, plain.n + 16) };
	secret_build(&s, ret_b);
	buf_clear(&info);
	buf_clear(&aad);
}

static void sealed_gives(struct span plain, enum err expected)
{
	struct keyring *r = ring_fixed();
	struct buf header, b;

	buf_init(&header, SEALED_MAX);
	add_hex(&header, "a5" V "636b696474");
	buf_add_str(&header, secret_key(r)->id);
	add_hex(&header, NAME QUEUE_HEX ENVIRONMENT);
	seal_anything(r, span_buf(&header), plain, &b);
	secret_gives(span_buf(&b), r, expected);
	buf_clear(&header);
	buf_clear(&b);
	keyring_free(r);
}

static void test_contents(void **state)
{
	(void)state;
	sealed_gives(SECRET, ERR_OK);
	sealed_gives(span_lit(" "), ERR_OK);
	sealed_gives(span_lit("~"), ERR_OK);
	sealed_gives(span_lit("secret\n"), ERR_SYNTAX);
	sealed_gives(span_lit("\x1fsecret"), ERR_SYNTAX);
	sealed_gives(span_lit("sec\x7fret"), ERR_SYNTAX);
	sealed_gives(span_lit("secr\xc3\xa9t"), ERR_SYNTAX);
	sealed_gives(span_of("a\0b", 3), ERR_SYNTAX);
	sealed_gives(span_of("", 0), ERR_SYNTAX);
	sealed_gives(repeated('x', SEALED_PLAIN_MAX + 1), ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),  cmocka_unit_test(test_values),   cmocka_unit_test(test_parts),
		cmocka_unit_test(test_not_made), cmocka_unit_test(test_contents),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
