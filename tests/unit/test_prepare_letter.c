/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a genuine job when its envelope cannot be opened, or when what is in it is no letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/prepare_fixture.h"

static struct world world, *const w = &world;

static int setup(void **state)
{
	(void)state;
	world_init(w, "house", JOB_LETTER);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_free(w);
	return 0;
}

static void again(const char *name, enum job_profile profile)
{
	world_free(w);
	world_init(w, name, profile);
}

/* Twice: with a POST of unknown fate behind it, nobody may say that the letter was not sent. */
static void expect_ending(enum outcome o, const char *detail)
{
	w->taken.unknowns = 0;
	world_run(w);
	expect_end(w, o, detail);
	w->taken.unknowns = 1;
	world_run(w);
	expect_end(w, OUT_OUTCOME_UNKNOWN, detail);
	w->taken.unknowns = 0;
}

/* --- the key ---------------------------------------------------------------------------------- */

static void test_key_missing(void **state)
{
	(void)state;
	w->kid = "wek-0000000000000000";
	world_make(w);
	w->now_us = FIRST_SEEN;
	world_run(w);
	expect_back(w, QUEUE_DEFER, FIRST_SEEN + 15 * SECOND, "envelope_key");
	w->now_us = FIRST_SEEN + 3200 * SECOND;
	world_run(w);
	expect_back(w, QUEUE_DEFER, w->now_us + 100 * SECOND, "envelope_key");
	w->now_us = FIRST_SEEN + 86400 * SECOND - 1;
	world_run(w);
	expect_back(w, QUEUE_DEFER, w->now_us + 300 * SECOND, "envelope_key");
	w->now_us++;
	expect_ending(OUT_KEY_UNKNOWN, "envelope_key");
}

static void test_key_wait_is_short(void **state)
{
	(void)state;
	w->kid = "wek-0000000000000000";
	world_make(w);
	w->now_us = FIRST_SEEN;
	w->config.key_wait_s = 240;
	world_run(w);
	expect_back(w, QUEUE_DEFER, FIRST_SEEN + 15 * SECOND, "envelope_key");
	/* It meets several workers nevertheless before it is over. */
	w->config.key_wait_s = 2;
	world_run(w);
	expect_back(w, QUEUE_DEFER, FIRST_SEEN + SECOND / 8, "envelope_key");
	w->config.key_wait_s = 0;
	expect_ending(OUT_KEY_UNKNOWN, "envelope_key");
}

static void sealed_to_wrong(size_t i)
{
	w->key = keyring_at(w->ring, i);
	world_make(w);
	expect_ending(OUT_ENVELOPE_REFUSED, "envelope_profile");
}

static void test_key_of_another_profile(void **state)
{
	(void)state;
	sealed_to_wrong(0);
	sealed_to_wrong(2);
	again("house-minimal", JOB_WITNESS);
	sealed_to_wrong(1);
	sealed_to_wrong(2);
}

/* --- the envelope ----------------------------------------------------------------------------- */

static void refuse_envelope(const char *code)
{
	world_sign(w);
	expect_ending(OUT_ENVELOPE_REFUSED, code);
}

static uint8_t *find_in_envelope(const char *bytes, size_t n)
{
	uint8_t *at = memmem(w->envelope.p, w->envelope.n, bytes, n);

	assert_non_null(at);
	return at;
}

static void test_letter_envelope(void **state)
{
	static uint8_t big[ENVELOPE_MAX + 1];

	(void)state;
	world_make(w);
	w->envelope.p[w->envelope.n - 1] ^= 1;
	refuse_envelope("envelope_open");
	memset(find_in_envelope("\xa1\x23\x58\x20", 4) + 4, 0, 32);
	refuse_envelope("envelope_point");
	find_in_envelope("\x01\x3a\x00\x01\x01\x00", 6)[5] = 1; /* alg -65794 */
	refuse_envelope("envelope_algorithm");
	world_make(w);
	w->envelope.n--;
	refuse_envelope("envelope_syntax");
	buf_reset(&w->envelope);
	buf_add(&w->envelope, big, sizeof(big));
	refuse_envelope("envelope_too_large");
}

/* Sealed for a job that differs. */
static void test_letter_binding(void **state)
{
	(void)state;
	world_plain(w);
	w->job.expires_s++;
	world_seal(w);
	w->job.expires_s--;
	refuse_envelope("envelope_binding");
	w->job.sid = span_lit("sub_0001-B");
	world_seal(w);
	w->job.sid = w->taken.sid;
	refuse_envelope("envelope_binding");
}

static void test_witness_envelope(void **state)
{
	(void)state;
	again("house-minimal", JOB_WITNESS);
	world_make(w);
	uint8_t *c = find_in_envelope("\"ciphertext\":\"", 14) + 14;

	*c = *c == 'A' ? 'B' : 'A';
	refuse_envelope("envelope_open");
	memset(find_in_envelope("\":\"0x", 5) + 5, '0', 64);
	refuse_envelope("envelope_point");
	w->envelope.n--;
	refuse_envelope("envelope_syntax");
}

/* Its key opens it, but no context that is configured does. */
static void test_witness_context(void **state)
{
	static const char *const other[] = { "communique-witness-encryption" };

	(void)state;
	again("house-minimal", JOB_WITNESS);
	world_make(w);
	assert_err(keyring_default_contexts(w->ring, other, 1), ERR_OK);
	expect_ending(OUT_ENVELOPE_REFUSED, "envelope_open");
}

/* --- the plaintext ---------------------------------------------------------------------------- */

static void seal_text(const char *text, size_t n)
{
	buf_reset(&w->plain);
	buf_add(&w->plain, text, n);
	world_seal(w);
	world_sign(w);
}

static void test_witness_plaintext(void **state)
{
	(void)state;
	again("house-minimal", JOB_WITNESS);
	seal_text("{", 1);
	expect_ending(OUT_LETTER_UNREADABLE, "witness_syntax");
	seal_text("{}", 2);
	expect_ending(OUT_LETTER_UNREADABLE, "witness_address");
	json_object_set_new(w->sealed, "nullifier", json_string("0x05"));
	world_make(w);
	expect_ending(OUT_LETTER_UNREADABLE, "witness_mismatch");
	json_object_del(w->sealed, "nullifier");
	world_make(w);
	expect_ending(OUT_LETTER_UNREADABLE, "witness_mismatch");
}

static void set_address(const char *member, const char *text)
{
	json_t *address = json_object_get(w->sealed, "deliveryAddress");

	assert_int_equal(json_object_set_new(address, member, json_string(text)), 0);
	world_make(w);
	world_run(w);
}

static bool xml_has(const char *text)
{
	return span_find(span_buf(&w->xml), span_str(text)) != NULL;
}

static void test_witness_address(void **state)
{
	(void)state;
	again("house-minimal", JOB_WITNESS);
	set_address("phone", "+1 (308) 555-0163");
	expect_sent(w);
	assert_true(xml_has("<Phone>308-555-0163</Phone>"));
	set_address("name", "Ana Maria de la Cruz");
	expect_sent(w);
	assert_true(xml_has("<FirstName>Ana</FirstName>"));
	assert_true(xml_has("<LastName>Maria de la Cruz</LastName>"));
	/* Nothing is invented. */
	set_address("name", "Cher");
	expect_end(w, OUT_LETTER_INVALID, "LastName:missing");
}

static void spoil(json_t *part, const char *name, json_t *value, const char *detail)
{
	json_t *before = json_incref(json_object_get(part, name));

	assert_int_equal(json_object_set_new(part, name, value), 0);
	world_make(w);
	expect_ending(OUT_LETTER_UNREADABLE, detail);
	if (before != NULL)
		json_object_set_new(part, name, before);
	else
		json_object_del(part, name);
}

static void test_letter_plaintext(void **state)
{
	(void)state;
	seal_text("\x60", 1);
	expect_ending(OUT_LETTER_UNREADABLE, "letter_syntax");
	seal_text("\xa1\x63Zip", 5);
	expect_ending(OUT_LETTER_UNREADABLE, "letter_syntax:Zip");
	spoil(w->sealed, "ZipCode", json_string("69153"), "letter_field_unknown");
	spoil(w->sealed, "Zip", json_integer(69153), "letter_field_type:Zip");
	spoil(w->sealed, "Bills", json_string("hr 1"), "letter_field_type:Bills");
	spoil(w->sealed, "CampaignId", json_string("c2"), "letter_field_twice:CampaignId");
	spoil(w->sealed, "DeliveryDate", json_string("20260302"), "letter_field_reserved:DeliveryDate");
	spoil(w->clear, "Email", json_string("a@b.c"), "letter_field_personal:Email");
	spoil(w->clear, "MemberOffice", json_string("HNE03"), "letter_field_reserved:MemberOffice");
	world_make(w);
	world_run(w);
	expect_sent(w);
}

/* --- the letter ------------------------------------------------------------------------------- */

static void set_sealed(const char *name, const char *text)
{
	assert_int_equal(json_object_set_new(w->sealed, name, json_string(text)), 0);
}

static void test_invalid_letter_names_all_problems(void **state)
{
	(void)state;
	set_sealed("Zip", "6915");
	set_sealed("Phone", "555");
	json_object_del(w->sealed, "City");
	json_object_set_new(w->clear, "Subject", json_string("short"));
	json_object_del(w->sealed, "Subject");
	world_make(w);
	expect_ending(OUT_LETTER_INVALID, "City:missing,Zip:pattern,Phone:pattern,Subject:too_short");
}

/* The agent is ours, and wrong all the same. */
static void test_invalid_agent(void **state)
{
	(void)state;
	memset(&w->config.chamber[CWC_HOUSE].agent, 0, sizeof(w->config.chamber[CWC_HOUSE].agent));
	world_make(w);
	expect_ending(OUT_LETTER_INVALID, "DeliveryAgent:missing");
}

/* A letter with nothing in it: the list is cut where the field of the result ends. */
static void test_many_problems(void **state)
{
	static const char first[] = "DeliveryAgent:missing,DeliveryAgentAckEmailAddress:missing,";

	(void)state;
	json_object_clear(w->clear);
	json_object_clear(w->sealed);
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		const char *name = cwc_field_name((enum cwc_field)i);

		if (cwc_field_source((enum cwc_field)i) != CWC_FROM_WORKER && i != CWC_TOPICS && i != CWC_BILLS)
			set_sealed(name, "\xc2\x85"); /* a control character */
	}
	memset(&w->config.chamber[CWC_HOUSE], 0, sizeof(w->config.chamber[CWC_HOUSE]));
	world_make(w);
	world_run(w);
	assert_int_equal(strnlen(w->got.decision.detail, sizeof(w->got.decision.detail)), DECISION_DETAIL_MAX);
	assert_memory_equal(w->got.decision.detail, first, sizeof(first) - 1);
	assert_false(w->got.send);
}

static void test_xml_larger_than_its_room(void **state)
{
	(void)state;
	world_make(w);
	w->xml.cap = w->xml.max = 512;
	expect_ending(OUT_LETTER_INVALID, "limit");
}

/* Two bodies of 10,000 characters, all of which are escaped: the largest letter has room. */
static void test_largest_letter(void **state)
{
	static char text[10001];

	(void)state;
	memset(text, '"', sizeof(text) - 1);
	set_sealed("ConstituentMessage", text);
	json_object_del(w->clear, "ConstituentMessage");
	text[0] = '\'';
	set_sealed("OrganizationStatement", text);
	json_object_del(w->clear, "OrganizationStatement");
	world_make(w);
	world_run(w);
	expect_sent(w);
	assert_true(w->xml.n > 2 * 10000 * 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_key_missing),
		TEST(test_key_wait_is_short),
		TEST(test_key_of_another_profile),
		TEST(test_letter_envelope),
		TEST(test_letter_binding),
		TEST(test_witness_envelope),
		TEST(test_witness_context),
		TEST(test_witness_plaintext),
		TEST(test_witness_address),
		TEST(test_letter_plaintext),
		TEST(test_invalid_letter_names_all_problems),
		TEST(test_invalid_agent),
		TEST(test_many_problems),
		TEST(test_xml_larger_than_its_room),
		TEST(test_largest_letter),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
