/* SPDX-License-Identifier: Apache-2.0 */
/* What the status port says of documents and keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "tests/unit/documents_fixture.h"

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(j);
	return j;
}

static void assert_base64(const json_t *j, const char *name, struct span expected)
{
	const char *text = json_string_value(json_object_get(j, name));
	struct buf b;

	assert_non_null(text);
	buf_init(&b, 65536);
	assert_int_equal(text_unbase64(span_str(text), &b), ERR_OK);
	assert_true(span_eq(span_buf(&b), expected));
	buf_clear(&b);
}

static void assert_proof(const json_t *j, const char *text)
{
	uint8_t hash[32];
	char hex[65];

	assert_base64(j, "document", span_str(text));
	assert_base64(j, "statement", span_of(statement, n_statement));
	crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
	text_hex(span_of(hash, 32), hex);
	assert_string_equal(json_string_value(json_object_get(j, "sha256")), hex);
}

static void test_published_document(void **state)
{
	json_t *j;

	(void)state;
	start(&device);
	wait_asks(1);
	documents_attestation(documents, span_lit(""), false, &ticket);
	assert_int_equal(ticket.code, 503);
	device_says(0, ERR_OK, "document");
	documents_attestation(documents, span_lit(""), false, &ticket);
	assert_int_equal(ticket.code, 200);
	assert_string_equal(ticket.type, "application/cbor");
	assert_string_equal(ticket.body, "document");
	documents_attestation(documents, span_lit(""), true, &ticket);
	assert_string_equal(ticket.type, "application/json");
	j = parse(ticket.body);
	assert_int_equal(json_object_size(j), 3);
	assert_proof(j, "document");
	json_decref(j);
	assert_int_equal(n_asks, 1);
}

static void test_nonces(void **state)
{
	static struct status_ticket other;
	uint8_t before[STATEMENT_MAX];
	size_t n_before;
	json_t *j;

	(void)state;
	memset(&other, 0, sizeof(other));
	start(&device);
	wait_asks(1);
	device_says(0, ERR_OK, "document");
	documents_attestation(documents, span_lit("nonce 1"), true, &ticket);
	documents_attestation(documents, span_lit("nonce 2"), false, &other);
	assert_int_equal(n_asks, 3);
	assert_int_equal(ticket.answers, 0);
	assert_memory_equal(asks[1].nonce, "nonce 1", asks[1].n_nonce);
	assert_memory_equal(asks[1].user_data, asks[0].user_data, 32);
	/* The ring changes meanwhile: the answer is about the statement that it is over. */
	memcpy(before, statement, n_statement);
	n_before = n_statement;
	make(KEYRING_LETTER, 2000, 0);
	changed(1);
	wait_asks(4);
	device_says(3, ERR_OK, "newer");
	device_says(2, ERR_OK, "for 2");
	device_says(1, ERR_OK, "for 1");
	assert_string_equal(other.body, "for 2");
	memcpy(statement, before, n_before);
	n_statement = n_before;
	j = parse(ticket.body);
	assert_proof(j, "for 1");
	json_decref(j);
	assert_int_equal(ticket.answers + other.answers, 2);
	assert_int_equal(publications, 2);
}

static void test_nonce_without_answer(void **state)
{
	(void)state;
	start(&device);
	wait_asks(1);
	device_says(0, ERR_OK, "document");
	documents_attestation(documents, span_lit("nonce"), true, &ticket);
	device_says(1, ERR_TIMEOUT, "");
	assert_int_equal(ticket.code, 503);
	assert_string_equal(ticket.body, "{\"reason\":\"device\",\"why\":\"timeout\"}");
	assert_int_equal(publications, 1);
	/* At the end of the process. */
	documents_attestation(documents, span_lit("nonce"), true, &ticket);
	documents_attestation(documents, span_lit("nonce"), false, &ticket);
	documents_free(documents);
	documents = NULL;
	assert_int_equal(ticket.answers, 3);
	assert_string_equal(ticket.body, "{\"reason\":\"no_attestation\"}");
	assert_null(asks[2].cb);
	assert_null(asks[3].cb);
}

static json_t *ask_keys(void)
{
	struct buf b;
	json_t *j;

	buf_init(&b, 65536);
	buf_add_byte(&b, '{');
	documents_keys(documents, &b);
	buf_add_byte(&b, '}');
	j = parse(buf_cstr(&b));
	buf_clear(&b);
	return j;
}

static void test_keys(void **state)
{
	const int64_t later = now_s() + 1000;
	const json_t *k;
	char hex[65];
	json_t *j;

	(void)state;
	make(KEYRING_WITNESS, 2000, later);
	make(KEYRING_SECRET, later, 0);
	start(&device);
	j = ask_keys();
	assert_true(json_is_null(json_object_get(j, "document")) && json_is_null(json_object_get(j, "statement")));
	assert_true(json_is_null(json_object_get(j, "sha256")));
	json_decref(j);
	changed(5);
	wait_asks(1);
	device_says(0, ERR_OK, "document");
	j = ask_keys();
	assert_proof(j, "document");
	assert_int_equal(json_object_size(j), 9);
	assert_int_equal(json_integer_value(json_object_get(j, "bundle")), 5);
	assert_string_equal(json_string_value(json_object_get(j, "release")), "1.2.3");
	assert_string_equal(json_string_value(json_object_get(j, "environment")), "sandbox");
	assert_string_equal(json_string_value(json_object_get(j, "queue")), "q");
	k = json_object_get(j, "receipt_key");
	assert_string_equal(json_string_value(json_object_get(k, "id")), receipt_key_id(receipt_key));
	text_hex(span_of(receipt_key_public(receipt_key), 32), hex);
	assert_string_equal(json_string_value(json_object_get(k, "public_key")), hex);
	assert_int_equal(json_array_size(json_object_get(j, "keys")), 2);
	k = json_array_get(json_object_get(j, "keys"), 0);
	assert_string_equal(json_string_value(json_object_get(k, "id")), keyring_at(ring, 0)->id);
	assert_string_equal(json_string_value(json_object_get(k, "profile")), "witness");
	assert_string_equal(json_string_value(json_object_get(k, "state")), "active");
	text_hex(span_of(keyring_at(ring, 0)->public_key, 32), hex);
	assert_string_equal(json_string_value(json_object_get(k, "public_key")), hex);
	assert_int_equal(json_integer_value(json_object_get(k, "created")), 1000);
	assert_int_equal(json_integer_value(json_object_get(k, "activate")), 2000);
	assert_int_equal(json_integer_value(json_object_get(k, "retire")), later);
	assert_true(json_is_null(json_object_get(k, "destroy")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(k, "contexts"), 0)),
			    "a-context-of-the-witness");
	k = json_array_get(json_object_get(j, "keys"), 1);
	assert_string_equal(json_string_value(json_object_get(k, "state")), "pending");
	assert_true(json_is_null(json_object_get(k, "retire")));
	assert_int_equal(json_array_size(json_object_get(k, "contexts")), 0);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_published_document),
		TEST(test_nonces),
		TEST(test_nonce_without_answer),
		TEST(test_keys),
	};
	prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
