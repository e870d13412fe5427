/* SPDX-License-Identifier: Apache-2.0 */
/* Which way a job goes: sent, refused, given back, ended. What is wrong inside of a genuine one: test_prepare_letter.c.
 */
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

/* --- sent ------------------------------------------------------------------------------------- */

/* The golden document, but for the DeliveryId: it is made from environment, sid and office. */
static void expect_golden(const char *name)
{
	static uint8_t text[65536];
	char path[256], id[CWC_DELIVERY_ID_SIZE];
	uint8_t *at;

	snprintf(path, sizeof(path), "tests/golden/%s.xml", name);
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	size_t n = fread(text, 1, sizeof(text), f);

	fclose(f);
	cwc_delivery_id(span_lit("sandbox"), w->job.sid, span_str(w->office), id);
	at = memmem(text, n, w->golden_id, strlen(w->golden_id));
	assert_non_null(at);
	memcpy(at, id, strlen(id));
	at = memmem(text, n, GOLDEN_DATE, strlen(GOLDEN_DATE));
	assert_non_null(at);
	memcpy(at, DATE, strlen(DATE));
	expect_sent(w);
	assert_string_equal(w->got.delivery_id, id);
	if (!span_eq(span_of(text, n), span_buf(&w->xml)))
		fail_msg("%s differs from:\n%.*s", path, (int)w->xml.n, (const char *)w->xml.p);
}

static void try_golden(const char *name, enum job_profile profile)
{
	again(name, profile);
	world_make(w);
	world_run(w);
	expect_golden(name);
	assert_string_equal(w->got.date, DATE);
}

static void test_letter_is_sent(void **state)
{
	(void)state;
	try_golden("house", JOB_LETTER);
	try_golden("senate", JOB_LETTER);
	try_golden("house-minimal", JOB_LETTER);
	try_golden("senate-minimal", JOB_LETTER);
}

static void test_witness_is_sent(void **state)
{
	(void)state;
	try_golden("house-minimal", JOB_WITNESS);
	try_golden("senate-minimal", JOB_WITNESS);
}

static void test_generation_and_expiry_are_the_signed_ones(void **state)
{
	(void)state;
	w->job.generation = 7;
	w->job.expires_s = NOW + 1;
	w->taken.generation = 3;
	world_make(w);
	world_run(w);
	expect_sent(w);
	assert_int_equal(w->got.generation, 7);
	assert_int_equal(w->got.expires_us, (NOW + 1) * SECOND);
}

static bool xml_has(const char *text)
{
	return span_find(span_buf(&w->xml), span_str(text)) != NULL;
}

/* NOW is 2027-01-15 08:00 UTC, 03:00 in Washington. */
static void test_date(void **state)
{
	(void)state;
	world_make(w);
	w->taken.date = span_lit("");
	world_run(w);
	expect_sent(w);
	assert_string_equal(w->got.date, "20270115");
	assert_true(xml_has("<DeliveryDate>20270115</DeliveryDate>"));
	w->now_us -= 4 * 3600 * SECOND;
	world_run(w);
	assert_string_equal(w->got.date, "20270114");
	/* Fixed by an earlier attempt. */
	w->taken.date = span_lit("20261224");
	world_run(w);
	assert_string_equal(w->got.date, "20261224");
	assert_true(xml_has("<DeliveryDate>20261224</DeliveryDate>"));
	/* What cannot be a date was not written by a worker. */
	w->taken.date = span_lit("2026122");
	world_run(w);
	assert_string_equal(w->got.date, "20270114");
	static const char *const bad[] = { "20261399", "20270230", "20270116", "20261213", "19990101", "2027011a" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		w->taken.date = span_str(bad[i]);
		world_run(w);
		expect_sent(w);
		assert_string_equal(w->got.date, "20270114");
	}
	w->taken.date = span_lit("20261214"); /* 31 days */
	world_run(w);
	assert_string_equal(w->got.date, "20261214");
}

/* The record lies outside: an id in it is not believed. */
static void test_delivery_id_is_computed(void **state)
{
	(void)state;
	world_make(w);
	w->taken.delivery_id = span_lit("00000000000000000000000000000000");
	world_run(w);
	expect_golden("house");
}

/* --- refused ---------------------------------------------------------------------------------- */

static void set_bytes(struct span s)
{
	uint8_t *copy = copy_exact(s);

	buf_reset(&w->bytes);
	buf_add(&w->bytes, copy, s.n);
	free(copy);
}

static void sign_payload(const char *hex)
{
	struct buf payload;

	buf_init(&payload, 256);
	unhex(hex, &payload);
	buf_reset(&w->bytes);
	wrap(span_buf(&payload), span_lit("E"), &w->bytes);
	buf_clear(&payload);
}

static void other_algorithm(void)
{
	uint8_t *at = memmem(w->bytes.p, w->bytes.n, "\xa2\x01\x27", 3);

	assert_non_null(at);
	at[2] = 0x26; /* ES256 */
}

static void flip_signature(void)
{
	size_t head = w->envelope.n > 255 ? 3 : 2;

	w->bytes.p[w->bytes.n - w->envelope.n - head - 1] ^= 1;
}

static void expect_refused(const char *code)
{
	world_run(w);
	expect_back(w, QUEUE_REFUSED, 0, code);
	assert_int_equal(w->got.generation, 0);
	assert_int_equal(w->got.expires_us, 0);
}

static void test_refused_for_its_form(void **state)
{
	static uint8_t big[JOB_MAX + 1];

	(void)state;
	set_bytes(span_of(big, sizeof(big)));
	expect_refused("job_too_large");
	set_bytes(span_lit(""));
	expect_refused("job_syntax");
	world_make(w);
	w->bytes.n--;
	expect_refused("job_syntax");
	world_make(w);
	other_algorithm();
	expect_refused("job_algorithm");
	sign_payload("a1617602"); /* {"v": 2} */
	expect_refused("job_version");
	sign_payload("a1617601"); /* {"v": 1} */
	expect_refused("job_field_missing");
	sign_payload("a2617601617801"); /* {"v": 1, "x": 1} */
	expect_refused("job_field_unknown");
	sign_payload("a26176016373696400"); /* {"v": 1, "sid": 0} */
	expect_refused("job_field_type");
}

static void test_refused_for_its_signature(void **state)
{
	(void)state;
	world_make(w);
	memcpy(w->signer.kid, "app-2025", sizeof("app-2025"));
	/* Another worker may know the signer: it waits as long as for a key. */
	world_run(w);
	expect_back(w, QUEUE_DEFER, w->now_us + 15 * SECOND, "job_signer");
	w->config.key_wait_s = 0;
	expect_refused("job_signer");
	memcpy(w->signer.kid, APP_KID, sizeof(APP_KID));
	/* Likewise where all signers come by grants, and none has come yet. */
	w->x.n_signers = 0;
	w->config.key_wait_s = 86400;
	world_run(w);
	expect_back(w, QUEUE_DEFER, w->now_us + 15 * SECOND, "job_signer");
	w->config.key_wait_s = 0;
	expect_refused("job_signer");
	w->x.n_signers = 1;
	flip_signature();
	expect_refused("job_signature");
	flip_signature();
	w->bytes.p[w->bytes.n - 1] ^= 1;
	expect_refused("job_envelope_hash");
}

static void test_refused_for_another_place(void **state)
{
	(void)state;
	world_make(w);
	w->config.key_wait_s = 0;
	memcpy(w->config.environment, "production", sizeof("production"));
	expect_refused("job_environment");
	memcpy(w->config.environment, "sandbox", sizeof("sandbox"));
	memcpy(w->config.queue_name, "q2", sizeof("q2"));
	expect_refused("job_queue");
	memcpy(w->config.queue_name, "q", sizeof("q"));
	w->taken.sid = span_lit("sub_0001-B");
	expect_refused("job_sid");
	w->taken.sid = w->job.sid;
	w->taken.office = span_lit("HNE02");
	expect_refused("job_office");
	/* No office code at all: not even looked at further. */
	w->taken.office = span_lit("XNE03");
	expect_refused("job_office");
	w->taken.office = span_str(w->office);
	w->now_us = (EXPIRES - JOB_TTL_MAX_S) * SECOND - 1;
	expect_refused("job_expiry");
}

/* --- time ------------------------------------------------------------------------------------- */

static void test_expired(void **state)
{
	(void)state;
	world_make(w);
	w->now_us = EXPIRES * SECOND - 1;
	world_run(w);
	expect_sent(w);
	w->now_us++;
	world_run(w);
	expect_end(w, OUT_EXPIRED, "");
	assert_int_equal(w->got.expires_us, EXPIRES * SECOND);
	w->taken.unknowns = 1;
	world_run(w);
	expect_end(w, OUT_OUTCOME_UNKNOWN, "");
}

static void test_early(void **state)
{
	(void)state;
	w->job.not_before_s = NOW + 100;
	w->job.generation = 2;
	world_make(w);
	world_run(w);
	expect_back(w, QUEUE_DEFER, (NOW + 100) * SECOND, "");
	assert_int_equal(w->got.generation, 2);
	w->now_us = (NOW + 100) * SECOND;
	world_run(w);
	expect_sent(w);
}

/* --- the close lane --------------------------------------------------------------------------- */

/* Ended for the reason that the queue gives, whatever the bytes are. */
static void test_close_lane(void **state)
{
	static const struct {
		const char *why;
		enum outcome outcome, with_unknown;
	} table[] = {
		{ "cancelled", OUT_CANCELLED, OUT_OUTCOME_UNKNOWN },
		{ "unknown", OUT_OUTCOME_UNKNOWN, OUT_OUTCOME_UNKNOWN },
		{ "crashes", OUT_CRASHES, OUT_OUTCOME_UNKNOWN },
		{ "dropped", OUT_DROPPED, OUT_DROPPED }, /* a person has taken the doubt upon themselves */
		{ "late", OUT_ACCEPTED_ON_RECORD, OUT_ACCEPTED_ON_RECORD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		world_make(w);
		w->taken.why = span_str(table[i].why);
		w->taken.unknowns = 0;
		world_run(w);
		expect_end(w, table[i].outcome, "");
		assert_int_equal(w->got.expires_us, 0); /* the bytes were not looked at */
		w->taken.unknowns = 2;
		world_run(w);
		expect_end(w, table[i].with_unknown, "");
		set_bytes(span_lit("no job at all"));
		world_run(w);
		expect_end(w, table[i].with_unknown, "");
		assert_int_equal(w->got.generation, 0);
	}
}

static void test_close_lane_expired(void **state)
{
	(void)state;
	w->taken.why = span_lit("expired");
	world_make(w);
	world_run(w);
	expect_back(w, QUEUE_LIVE, EXPIRES * SECOND, "");
	w->now_us = EXPIRES * SECOND;
	world_run(w);
	expect_end(w, OUT_EXPIRED, "");
	w->taken.unknowns = 1;
	world_run(w);
	expect_end(w, OUT_OUTCOME_UNKNOWN, "");
	flip_signature();
	expect_refused("job_signature");
	/* Not expired, and not before its time either: still live. */
	w->now_us = NOW * SECOND;
	w->job.not_before_s = NOW + 100;
	world_make(w);
	world_run(w);
	expect_back(w, QUEUE_LIVE, EXPIRES * SECOND, "");
}

/* A reason that a newer protocol may know is verified, and nothing is sent for it. */
static void test_close_lane_other_reason(void **state)
{
	(void)state;
	w->taken.why = span_lit("something else");
	world_make(w);
	world_run(w);
	assert_false(w->got.send);
	flip_signature();
	expect_refused("job_signature");
}

/* --- a closed job that is challenged ---------------------------------------------------------- */

static void test_challenge(void **state)
{
	(void)state;
	w->job.generation = 4;
	world_make(w);
	w->taken.previous = span_lit("dead");
	w->taken.generation = 3;
	world_run(w);
	expect_sent(w);
	/* Only a newer generation may do more than ask, whatever the bytes would end as. */
	w->taken.generation = 4;
	world_run(w);
	expect_back(w, QUEUE_REFUSED, 0, "job_generation");
	w->now_us = EXPIRES * SECOND;
	world_run(w);
	expect_back(w, QUEUE_REFUSED, 0, "job_generation");
	w->taken.why = span_lit("cancelled");
	world_run(w);
	expect_back(w, QUEUE_REFUSED, 0, "job_generation");
	flip_signature();
	expect_refused("job_signature");
	/* None was ever verified. */
	w->job.generation = 0;
	w->taken.generation = -1;
	w->taken.why = span_lit("");
	w->now_us = NOW * SECOND;
	world_make(w);
	world_run(w);
	expect_sent(w);
}

/* --- offices ---------------------------------------------------------------------------------- */

static void list_one(const char *code)
{
	memcpy(w->list.code[0], code, CWC_OFFICE_SIZE);
	w->list.n = 1;
}

static void test_office_list(void **state)
{
	(void)state;
	world_make(w);
	w->x.offices[CWC_HOUSE] = &w->list;
	list_one(w->office);
	world_run(w);
	expect_sent(w);
	list_one("HCA12");
	world_run(w);
	expect_end(w, OUT_OFFICE_UNAVAILABLE, "");
	w->taken.unknowns = 1;
	world_run(w);
	expect_end(w, OUT_OUTCOME_UNKNOWN, "");
	/* The list of the other chamber says nothing. */
	w->x.offices[CWC_HOUSE] = NULL;
	w->x.offices[CWC_SENATE] = &w->list;
	world_run(w);
	expect_sent(w);
	again("senate", JOB_LETTER);
	world_make(w);
	w->x.offices[CWC_SENATE] = &w->list;
	list_one("SCA01");
	world_run(w);
	expect_end(w, OUT_OFFICE_UNAVAILABLE, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_letter_is_sent),
		TEST(test_witness_is_sent),
		TEST(test_generation_and_expiry_are_the_signed_ones),
		TEST(test_date),
		TEST(test_delivery_id_is_computed),
		TEST(test_refused_for_its_form),
		TEST(test_refused_for_its_signature),
		TEST(test_refused_for_another_place),
		TEST(test_expired),
		TEST(test_early),
		TEST(test_close_lane),
		TEST(test_close_lane_expired),
		TEST(test_close_lane_other_reason),
		TEST(test_challenge),
		TEST(test_office_list),
	};

	if (secret_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
