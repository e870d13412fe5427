/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/bundle_fixture.h"

#include <openssl/err.h>

/* --- the maker -------------------------------------------------------------------------------- */

struct asked {
	const struct span *user_data, *nonce, *public_key; /* NULL user_data: the bundle's hash */
	bool without_user_data;
	const struct nsm_sim_options *options; /* NULL: as it should be */
};

static const struct asked plainly;

/* A bundle whose document was asked for in this way. */
static void made(struct maker *m, const struct asked *a, struct buf *ret_b)
{
	struct bundle_content content = { .ring = ring_fixed() };
	const struct bundle b = bundle_fields(5);
	uint8_t hash[BUNDLE_HASH_SIZE];
	const struct span right = span_of(hash, sizeof(hash));
	const struct span *user_data = a->user_data != NULL ? a->user_data : &right;
	struct buf document;

	maker_start(m, a->options);
	buf_init(ret_b, BUNDLE_MAX);
	buf_init(&document, NSM_ANSWER_MAX);
	assert_err(bundle_seal(&b, &content, data_key, ret_b, hash), ERR_OK);
	assert_err(nsm_attest(&m->nsm, a->without_user_data ? NULL : user_data, a->nonce, a->public_key, &document),
		   ERR_OK);
	assert_err(bundle_finish(span_buf(&document), ret_b), ERR_OK);
	buf_clear(&document);
	keyring_free(content.ring);
}

static void asked_gives(const struct asked *a, enum attest_code expected)
{
	struct bundle b;
	struct maker m;
	struct buf whole;

	made(&m, a, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS), expected);
	assert_int_equal(ERR_peek_error(), 0);
	buf_clear(&whole);
	maker_stop(&m);
}

static void test_asked(void **state)
{
	const struct span none = span_of("", 0), some = span_lit("16 bytes or more of a nonce"),
			  hash = repeated('h', BUNDLE_HASH_SIZE);

	(void)state;
	asked_gives(&plainly, ATTEST_OK);
	asked_gives(&(struct asked){ .user_data = &hash }, ATTEST_BINDING_USER_DATA);
	asked_gives(&(struct asked){ .user_data = &none }, ATTEST_BINDING_USER_DATA);
	asked_gives(&(struct asked){ .without_user_data = true }, ATTEST_BINDING_USER_DATA);
	asked_gives(&(struct asked){ .nonce = &some }, ATTEST_BINDING_NONCE);
	asked_gives(&(struct asked){ .nonce = &none }, ATTEST_BINDING_NONCE);
	asked_gives(&(struct asked){ .public_key = &some }, ATTEST_BINDING_PUBLIC_KEY);
}

static void test_debug(void **state)
{
	static const uint8_t zeros[3][ATTEST_PCR_SIZE];
	const struct nsm_sim_options debug = { .debug = true };
	struct bundle b;
	struct maker m;
	struct buf whole;

	(void)state;
	made(&m, &(struct asked){ .options = &debug }, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS), ATTEST_DEBUG_MODE);
	/* Not for an enclave in debug mode either. */
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, zeros, NOW_MS), ATTEST_DEBUG_MODE);
	buf_clear(&whole);
	maker_stop(&m);
}

static void test_measurements(void **state)
{
	uint8_t own[3][ATTEST_PCR_SIZE];
	struct bundle b;
	struct maker m;
	struct buf whole;

	(void)state;
	made(&m, &plainly, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	for (unsigned i = 0; i < sizeof(own); i++) {
		memcpy(own, m.own, sizeof(own));
		own[i / ATTEST_PCR_SIZE][i % ATTEST_PCR_SIZE] ^= 1;
		/* The first and the last byte of each; what lies between is the verifier's own test. */
		if (i % ATTEST_PCR_SIZE == 0 || i % ATTEST_PCR_SIZE == ATTEST_PCR_SIZE - 1)
			assert_code(bundle_check_maker(&b, &attest_anchor_sim, (const uint8_t(*)[ATTEST_PCR_SIZE])own,
						       NOW_MS),
				    ATTEST_POLICY_MISMATCH);
	}
	memcpy(own[0], m.own[1], sizeof(own[0]));
	memcpy(own[1], m.own[0], sizeof(own[1]));
	memcpy(own[2], m.own[2], sizeof(own[2]));
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, (const uint8_t(*)[ATTEST_PCR_SIZE])own, NOW_MS),
		    ATTEST_POLICY_MISMATCH);
	assert_code(bundle_check_maker(&b, &attest_anchor_aws, m.own, NOW_MS), ATTEST_CHAIN_ANCHOR);
	buf_clear(&whole);
	maker_stop(&m);
}

/* As old as its release, and not from tomorrow. */
static void test_time(void **state)
{
	const int64_t year_ms = INT64_C(365) * 86400 * 1000;
	struct bundle b;
	struct maker m;
	struct buf whole;

	(void)state;
	made(&m, &plainly, &whole);
	assert_err(bundle_parse(span_buf(&whole), &b), ERR_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS + 10 * year_ms), ATTEST_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, INT64_MAX), ATTEST_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS - 60000), ATTEST_OK);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, NOW_MS - 60001), ATTEST_TIME_FUTURE);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, 0), ATTEST_TIME_FUTURE);
	assert_code(bundle_check_maker(&b, &attest_anchor_sim, m.own, INT64_MIN), ATTEST_TIME_FUTURE);
	buf_clear(&whole);
	maker_stop(&m);
}

/* --- the header ------------------------------------------------------------------------------- */

static void header_gives(struct span header, enum err expected)
{
	struct bundle out;
	struct buf b;

	bundle_join(header, span_lit("nonce nonce nonce nonce "), span_lit("sealed: at least 17"), span_lit("m"), &b);
	assert_err(bundle_parse(span_buf(&b), &out), expected);
	buf_clear(&b);
}

static void hex_gives(const char *hex, enum err expected)
{
	struct buf b;

	buf_init(&b, BUNDLE_MAX);
	add_hex(&b, hex);
	header_gives(span_buf(&b), expected);
	buf_clear(&b);
}

#define V           "617601"
#define QUEUE_HEX   "6571756575656171"
#define KMS         "676b6d735f6b6579616b"
#define VERSION     "6776657273696f6e05"
#define WRAPPED_HEX "67777261707065644101"
#define ENVIRONMENT "6b656e7669726f6e6d656e746773616e64626f78"

static void test_headers(void **state)
{
	(void)state;
	hex_gives("a6" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_OK);
	/* another version of the format */
	hex_gives("a6617600" QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6617602" QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	/* missing, unknown, out of order, twice, something behind, of indefinite length, none */
	hex_gives("a5" V QUEUE_HEX KMS VERSION WRAPPED_HEX, ERR_SYNTAX);
	hex_gives("a5" QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a7" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT "6b7a7a7a7a7a7a7a7a7a7a7a00", ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX VERSION KMS WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS VERSION VERSION ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT "00", ERR_SYNTAX);
	hex_gives("bf" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT "ff", ERR_SYNTAX);
	hex_gives("80", ERR_SYNTAX);
	hex_gives("", ERR_SYNTAX);
	/* another name in the place of one */
	hex_gives("a6" V "6571756575666171" KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6f05" WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	/* version: 0, the largest, one more, not in shortest form, negative */
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6e00" WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6e1affffffff" WRAPPED_HEX ENVIRONMENT, ERR_OK);
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6e1b0000000100000000" WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6e1805" WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS "6776657273696f6e24" WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	/* bytes for a text, a text for bytes */
	hex_gives("a6" V "6571756575654171" KMS VERSION WRAPPED_HEX ENVIRONMENT, ERR_SYNTAX);
	hex_gives("a6" V QUEUE_HEX KMS VERSION "67777261707065646101" ENVIRONMENT, ERR_SYNTAX);
}

/* --- sealing: what would not be read is not written, and the other way round ------------------- */

static void values_give(const struct bundle *b, struct span signers, enum err expected)
{
	struct bundle_content content = { .ring = ring_fixed(), .signers = signers };
	uint8_t hash[BUNDLE_HASH_SIZE] = { 0x55 };
	struct bundle read;
	struct buf out;

	buf_init(&out, BUNDLE_MAX);
	assert_err(bundle_seal(b, &content, data_key, &out, hash), expected);
	if (expected == ERR_OK) {
		assert_err(bundle_finish(span_lit("m"), &out), ERR_OK);
		assert_err(bundle_parse(span_buf(&out), &read), ERR_OK);
		assert_memory_equal(hash, read.hash, sizeof(hash));
	} else {
		assert_int_equal(out.n, 0);
		assert_int_equal(hash[0], 0x55);
	}
	buf_clear(&out);
	keyring_free(content.ring);
}

#define GIVES(expected, change)                                \
	do {                                                   \
		struct bundle b = bundle_fields(5);            \
		change;                                        \
		values_give(&b, span_of(NULL, 0), (expected)); \
	} while (0)

static void test_values(void **state)
{
	(void)state;
	GIVES(ERR_OK, b.environment = span_lit("production"));
	GIVES(ERR_RANGE, b.environment = span_lit("productio"));
	GIVES(ERR_RANGE, b.environment = span_lit("test"));
	GIVES(ERR_RANGE, b.environment = span_of(NULL, 0));
	GIVES(ERR_OK, b.queue = repeated('q', 64));
	GIVES(ERR_RANGE, b.queue = repeated('q', 65));
	GIVES(ERR_RANGE, b.queue = span_of(NULL, 0));
	GIVES(ERR_RANGE, b.queue = span_lit("a b"));
	GIVES(ERR_RANGE, b.queue = span_lit("a\"b"));
	GIVES(ERR_RANGE, b.queue = span_of("a\0b", 3));
	GIVES(ERR_OK, b.kms_key = repeated('k', KMS_ARN_MAX));
	GIVES(ERR_RANGE, b.kms_key = repeated('k', KMS_ARN_MAX + 1));
	GIVES(ERR_RANGE, b.kms_key = span_of(NULL, 0));
	GIVES(ERR_RANGE, b.kms_key = span_lit("arn:aws kms"));
	GIVES(ERR_RANGE, b.kms_key = span_lit("arn\x7f"));
	GIVES(ERR_RANGE, b.kms_key = repeated('k', ROOM));
	GIVES(ERR_OK, b.wrapped = repeated('w', KMS_BLOB_MAX));
	GIVES(ERR_RANGE, b.wrapped = repeated('w', KMS_BLOB_MAX + 1));
	GIVES(ERR_RANGE, b.wrapped = span_of(NULL, 0));
	GIVES(ERR_OK, b.version = 1);
	GIVES(ERR_OK, b.version = BUNDLE_VERSION_MAX);
	GIVES(ERR_RANGE, b.version = 0);
	GIVES(ERR_RANGE, b.version = (uint64_t)BUNDLE_VERSION_MAX + 1);
}

static void test_signers(void **state)
{
	const struct bundle b = bundle_fields(5);

	(void)state;
	values_give(&b, span_lit("\xd2\x40"), ERR_OK);
	values_give(&b, span_lit("\xd2\x40\x00"), ERR_RANGE);
	values_give(&b, span_lit("\xd2"), ERR_RANGE);
	values_give(&b, span_lit("\x40"), ERR_RANGE);
	values_give(&b, span_lit("\xf6"), ERR_RANGE);
	values_give(&b, repeated('x', GRANT_MAX + 1), ERR_RANGE);
}

static void test_room(void **state)
{
	struct bundle_content content = { .ring = ring_fixed() };
	const struct bundle b = bundle_fields(5);
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct buf out, full;
	size_t n;

	(void)state;
	buf_init(&out, BUNDLE_MAX);
	assert_err(bundle_seal(&b, &content, data_key, &out, hash), ERR_OK);
	n = out.n;
	assert_err(bundle_finish(span_of(NULL, 0), &out), ERR_LIMIT);
	assert_err(bundle_finish(repeated('d', ATTEST_DOCUMENT_MAX + 1), &out), ERR_LIMIT);
	assert_int_equal(out.n, n);
	buf_clear(&out);
	buf_init(&full, n - 1);
	assert_err(bundle_seal(&b, &content, data_key, &full, hash), ERR_LIMIT);
	assert_int_equal(full.n, 0);
	buf_clear(&full);
	buf_init(&full, n + 10);
	assert_err(bundle_seal(&b, &content, data_key, &full, hash), ERR_OK);
	assert_err(bundle_finish(repeated('d', 10), &full), ERR_LIMIT); /* the head has no room */
	assert_int_equal(full.n, n);
	buf_clear(&full);
	/* More than a bundle may have, however large the buf is. */
	buf_init(&full, 2 * BUNDLE_MAX);
	buf_add_span(&full, repeated('x', BUNDLE_MAX - 10));
	assert_err(bundle_finish(repeated('d', 10), &full), ERR_LIMIT);
	buf_clear(&full);
	keyring_free(content.ring);
}

/* --- the parts -------------------------------------------------------------------------------- */

static void parts_give(size_t n_header, size_t n_nonce, size_t n_sealed, size_t n_maker, enum err expected)
{
	struct bundle out;
	struct buf b, header;

	buf_init(&header, BUNDLE_MAX);
	add_hex(&header, "a6" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT);
	if (n_header > 0)
		buf_add_span(&header, repeated('h', n_header - header.n));
	bundle_join(span_buf(&header), repeated('n', n_nonce), repeated('s', n_sealed), repeated('m', n_maker), &b);
	assert_err(bundle_parse(span_buf(&b), &out), expected);
	buf_clear(&b);
	buf_clear(&header);
}

static void test_parts(void **state)
{
	struct bundle out;

	(void)state;
	parts_give(0, 24, 17, 1, ERR_OK);
	parts_give(0, 24, BUNDLE_PLAIN_MAX + 16, ATTEST_DOCUMENT_MAX, ERR_OK);
	parts_give(0, 23, 17, 1, ERR_SYNTAX);
	parts_give(0, 25, 17, 1, ERR_SYNTAX);
	parts_give(0, 24, 16, 1, ERR_SYNTAX);
	parts_give(0, 24, 0, 1, ERR_SYNTAX);
	parts_give(0, 24, BUNDLE_PLAIN_MAX + 17, 1, ERR_SYNTAX);
	parts_give(0, 24, 17, 0, ERR_SYNTAX);
	parts_give(0, 24, 17, ATTEST_DOCUMENT_MAX + 1, ERR_SYNTAX);
	parts_give(10000, 24, 17, 1, ERR_SYNTAX);
	parts_give(0, 24, 17, BUNDLE_MAX, ERR_LIMIT);
	assert_err(bundle_parse(span_of(NULL, 0), &out), ERR_SYNTAX);
	assert_err(bundle_parse(repeated('x', BUNDLE_MAX + 1), &out), ERR_LIMIT);
	assert_err(bundle_parse(repeated('x', BUNDLE_MAX), &out), ERR_SYNTAX);
}

/* The array itself, by its first bytes. */
static void test_array(void **state)
{
	static const struct {
		const char *hex;
		enum err expected;
	} heads[] = {
		{ "856d6377632d62756e646c652d7631", ERR_OK },
		{ "866d6377632d62756e646c652d7631", ERR_SYNTAX },
		{ "846d6377632d62756e646c652d7631", ERR_SYNTAX },
		{ "98056d6377632d62756e646c652d7631", ERR_SYNTAX },
		{ "9f6d6377632d62756e646c652d7631", ERR_SYNTAX },
		{ "856d6377632d62756e646c652d7632", ERR_SYNTAX },
		{ "856d6377632d7365637265742d7631", ERR_SYNTAX },
		{ "854d6377632d62756e646c652d7631", ERR_SYNTAX },
		{ "8560", ERR_SYNTAX },
		{ "d9d9f7856d6377632d62756e646c652d7631", ERR_SYNTAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct buf b, header;
		struct bundle out;

		buf_init(&b, BUNDLE_MAX);
		buf_init(&header, BUNDLE_MAX);
		add_hex(&header, "a6" V QUEUE_HEX KMS VERSION WRAPPED_HEX ENVIRONMENT);
		add_hex(&b, heads[i].hex);
		cbor_add_bytes(&b, span_buf(&header));
		cbor_add_bytes(&b, repeated('n', 24));
		cbor_add_bytes(&b, repeated('s', 17));
		cbor_add_bytes(&b, repeated('m', 1));
		assert_err(bundle_parse(span_buf(&b), &out), heads[i].expected);
		buf_clear(&b);
		buf_clear(&header);
	}
}

/* --- the context ------------------------------------------------------------------------------ */

static const char *value(const struct kms_pair *pair, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(pair[i].name, name) == 0)
			return pair[i].value;
	return NULL;
}

static void test_context(void **state)
{
	struct kms_request r = { .operation = KMS_DECRYPT, .key_arn = KMS_KEY, .document = span_lit("d") };
	struct bundle b = bundle_fields(BUNDLE_VERSION_MAX);
	char room[BUNDLE_CONTEXT_ROOM];
	struct buf body;

	(void)state;
	b.queue = repeated('q', 64);
	b.environment = span_lit("production");
	r.n_context = bundle_context(&b, r.context, room);
	assert_int_equal(r.n_context, 4);
	assert_string_equal(value(r.context, 4, "purpose"), "cwc-bundle-v1");
	assert_string_equal(value(r.context, 4, "environment"), "production");
	assert_true(span_eq_str(repeated('q', 64), value(r.context, 4, "queue")));
	assert_string_equal(value(r.context, 4, "version"), "4294967295");
	/* KMS takes it. */
	r.blob = WRAPPED;
	buf_init(&body, KMS_REQUEST_MAX);
	assert_err(kms_request_body(&r, &body), ERR_OK);
	buf_clear(&body);
	/* What can be in no bundle has no context, and KMS is not asked without one. */
	b.queue = repeated('q', 65);
	assert_int_equal(bundle_context(&b, r.context, room), 0);
	b.queue = span_lit("q q");
	assert_int_equal(bundle_context(&b, r.context, room), 0);
	b.queue = QUEUE;
	b.environment = span_lit("");
	assert_int_equal(bundle_context(&b, r.context, room), 0);
	b.environment = SANDBOX;
	b.version = 0;
	assert_int_equal(bundle_context(&b, r.context, room), 0);
	b.version = (uint64_t)BUNDLE_VERSION_MAX + 1;
	assert_int_equal(bundle_context(&b, r.context, room), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asked),   cmocka_unit_test(test_debug),   cmocka_unit_test(test_measurements),
		cmocka_unit_test(test_time),    cmocka_unit_test(test_headers), cmocka_unit_test(test_values),
		cmocka_unit_test(test_signers), cmocka_unit_test(test_room),    cmocka_unit_test(test_parts),
		cmocka_unit_test(test_array),   cmocka_unit_test(test_context),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
