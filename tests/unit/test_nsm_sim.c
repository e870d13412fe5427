/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "tests/sim/nsm_sim.h"
#include "tests/unit/attest_fixture.h"
#include "worker/base/text.h"

#define NOW_MS INT64_C(1770918962724)

static const uint8_t zeros[NSM_PCR_SIZE];

/* A simulator with a client of it. */
struct rig {
	struct nsm_sim *sim;
	struct nsm nsm;
	struct buf document;
};

static void rig_start(struct rig *r, const struct nsm_sim_options *o)
{
	r->sim = nsm_sim_new(o);
	r->nsm = (struct nsm){ .exchange = nsm_sim_exchange, .arg = r->sim };
	buf_init(&r->document, NSM_ANSWER_MAX);
}

static void rig_stop(struct rig *r)
{
	buf_clear(&r->document);
	nsm_sim_free(r->sim);
}

/* A document without fields, and what the verifier says about it with the simulator's root, however old it is. */
static enum attest_code attest(struct rig *r, struct attest_document *ret_doc)
{
	const struct attest_policy p = { .chain_only = true };
	struct attest_report report;

	buf_reset(&r->document);
	assert_int_equal(nsm_attest(&r->nsm, NULL, NULL, NULL, &r->document), ERR_OK);
	return attest_verify(span_buf(&r->document), &attest_anchor_sim, &p, ret_doc, &report);
}

static void device_error(struct rig *r, enum err e, enum nsm_error error)
{
	assert_int_equal(e, ERR_PROTOCOL);
	assert_int_equal(r->nsm.error, error);
}

/* --- state ------------------------------------------------------------------------------------ */

static void test_description(void **state)
{
	struct nsm_description d;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ .enclave_id = "019a000000000001" });
	assert_int_equal(nsm_describe(&r.nsm, &d), ERR_OK);
	assert_string_equal(d.module_id, "i-05c0ffee5eed0a11e-enc019a000000000001");
	assert_string_equal(d.module_id, nsm_sim_module_id(r.sim));
	assert_int_equal(d.max_pcrs, 32);
	assert_int_equal(d.locked, 0xffff);
	assert_int_equal(d.version_major, 1);
	rig_stop(&r);
}

static void pcr_is(struct rig *r, unsigned i, bool locked, const uint8_t value[NSM_PCR_SIZE])
{
	uint8_t pcr[NSM_PCR_SIZE];
	bool is_locked;

	assert_int_equal(nsm_describe_pcr(&r->nsm, i, &is_locked, pcr), ERR_OK);
	assert_int_equal(is_locked, locked);
	if (value != NULL)
		assert_memory_equal(pcr, value, NSM_PCR_SIZE);
	else
		assert_memory_not_equal(pcr, zeros, NSM_PCR_SIZE);
}

static void test_boot(void **state)
{
	/* SHA-384(48 zero bytes | "i-05c0ffee5eed0a11e") */
	uint8_t pcr4[NSM_PCR_SIZE], pcr3[NSM_PCR_SIZE], pcr8[NSM_PCR_SIZE];
	uint8_t in[NSM_PCR_SIZE + 19] = { 0 };
	struct rig r;

	(void)state;
	memcpy(in + NSM_PCR_SIZE, "i-05c0ffee5eed0a11e", 19);
	assert_int_equal(EVP_Digest(in, sizeof(in), pcr4, NULL, EVP_sha384(), NULL), 1);
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	for (unsigned i = 0; i < 32; i++)
		pcr_is(&r, i, i < 16, i < 3 ? NULL : i == 4 ? pcr4 : zeros);
	rig_stop(&r);
	nsm_sim_measure(span_lit("arn:aws:iam::123456789012:role/worker"), pcr3);
	memset(pcr8, 8, sizeof(pcr8));
	rig_start(&r, &(struct nsm_sim_options){
			      .debug = true, .role_arn = "arn:aws:iam::123456789012:role/worker", .pcr8 = pcr8 });
	for (unsigned i = 0; i < 16; i++)
		pcr_is(&r, i, true, i == 3 ? pcr3 : i == 4 ? pcr4 : i == 8 ? pcr8 : zeros);
	rig_stop(&r);
}

static void test_extend_and_lock(void **state)
{
	uint8_t in[NSM_PCR_SIZE + 3] = { 0 }, expected[NSM_PCR_SIZE], pcr[NSM_PCR_SIZE];
	struct attest_document d;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ .now_ms = NOW_MS });
	for (unsigned round = 0; round < 2; round++) {
		memcpy(in + NSM_PCR_SIZE, "abc", 3);
		assert_int_equal(EVP_Digest(in, sizeof(in), expected, NULL, EVP_sha384(), NULL), 1);
		assert_int_equal(nsm_extend_pcr(&r.nsm, 16, span_lit("abc"), pcr), ERR_OK);
		assert_memory_equal(pcr, expected, NSM_PCR_SIZE);
		pcr_is(&r, 16, false, expected);
		memcpy(in, expected, NSM_PCR_SIZE);
	}
	assert_code(attest(&r, &d), ATTEST_OK);
	assert_int_equal(d.pcrs, 0xffff);
	assert_int_equal(nsm_lock_pcr(&r.nsm, 16), ERR_OK);
	pcr_is(&r, 16, true, expected);
	assert_code(attest(&r, &d), ATTEST_OK);
	assert_int_equal(d.pcrs, 0x1ffff);
	assert_memory_equal(d.pcr[16].p, expected, NSM_PCR_SIZE);
	device_error(&r, nsm_extend_pcr(&r.nsm, 16, span_lit("abc"), pcr), NSM_READ_ONLY_INDEX);
	device_error(&r, nsm_extend_pcr(&r.nsm, 0, span_lit("abc"), pcr), NSM_READ_ONLY_INDEX);
	device_error(&r, nsm_lock_pcr(&r.nsm, 16), NSM_READ_ONLY_INDEX);
	assert_int_equal(nsm_lock_pcrs(&r.nsm, 0), ERR_OK);
	assert_int_equal(nsm_lock_pcrs(&r.nsm, 18), ERR_OK);
	pcr_is(&r, 17, true, zeros);
	pcr_is(&r, 18, false, zeros);
	assert_int_equal(nsm_lock_pcrs(&r.nsm, 32), ERR_OK);
	assert_int_equal(nsm_lock_pcrs(&r.nsm, 32), ERR_OK);
	assert_code(attest(&r, &d), ATTEST_OK);
	assert_int_equal(d.pcrs, 0xffffffff);
	rig_stop(&r);
}

static void test_indices(void **state)
{
	uint8_t pcr[NSM_PCR_SIZE];
	struct rig r;
	bool locked;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	device_error(&r, nsm_describe_pcr(&r.nsm, 32, &locked, pcr), NSM_INVALID_INDEX);
	device_error(&r, nsm_extend_pcr(&r.nsm, 32, span_lit("a"), pcr), NSM_INVALID_INDEX);
	device_error(&r, nsm_lock_pcr(&r.nsm, 32), NSM_INVALID_INDEX);
	device_error(&r, nsm_lock_pcr(&r.nsm, 65535), NSM_INVALID_INDEX);
	device_error(&r, nsm_lock_pcrs(&r.nsm, 33), NSM_INVALID_INDEX);
	rig_stop(&r);
}

static void test_random(void **state)
{
	uint8_t a[NSM_RANDOM_MAX], b[NSM_RANDOM_MAX];
	size_t n = 0, m = 0;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	assert_int_equal(nsm_random(&r.nsm, a, &n), ERR_OK);
	assert_int_equal(nsm_random(&r.nsm, b, &m), ERR_OK);
	assert_int_equal(n, 256);
	assert_int_equal(m, 256);
	assert_memory_not_equal(a, b, 256);
	rig_stop(&r);
}

/* --- requests as bytes ------------------------------------------------------------------------ */

static void raw_gives(struct rig *r, struct span request, const char *answer)
{
	uint8_t got[NSM_ANSWER_MAX];
	size_t n = 0;

	assert_int_equal(nsm_sim_exchange(r->sim, request, got, sizeof(got), &n), ERR_OK);
	assert_non_null(span_find(span_of(got, n), span_str(answer)));
}

static void test_garbage(void **state)
{
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	raw_gives(&r, span_lit(""), "\xa1\x65\x45rror\x70InvalidOperation");
	raw_gives(&r, span_lit("\xff"), "\xa1\x65\x45rror\x70InvalidOperation");
	raw_gives(&r, span_lit("\x67Unknown"), "InvalidOperation");
	raw_gives(&r, span_lit("\x69GetRandom\x00"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x69GetRandom\xa0"), "InvalidOperation");
	raw_gives(&r, span_lit("\x6b\x44\x65scribePCR"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x6b\x44\x65scribePCR\xa0"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x6b\x44\x65scribePCR\xa1\x65index\x61\x30"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x67LockPCR\xa1\x65index\x20"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x6b\x41ttestation\xa1\x65nonce\x61\x30"), "InvalidOperation");
	raw_gives(&r, span_lit("\xa1\x6b\x41ttestation\xa0"), "\xa1\x6b\x41ttestation\xa1\x68\x64ocument\x59");
	raw_gives(&r, span_lit("\xa1\x6b\x44\x65scribePCR\xa2\x65other\x00\x65index\x00"),
		  "\xa1\x6b\x44\x65scribePCR\xa2\x64\x64\x61ta\x58\x30");
	rig_stop(&r);
}

/* As much as the driver lets through, and one byte more; an answer that does not fit is cut off. */
static void test_sizes(void **state)
{
	static uint8_t request[NSM_REQUEST_MAX + 1], answer[NSM_ANSWER_MAX], part[NSM_ANSWER_MAX];
	const size_t frame = sizeof("\xa1\x69\x45xtendPCR\xa2\x65index\x10\x64\x64\x61ta\x59....") - 3;
	size_t n = 0;
	struct buf b;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	buf_init(&b, sizeof(request));
	buf_add_span(&b, span_lit("\xa1\x69\x45xtendPCR\xa2\x65index\x10\x64\x64\x61ta"));
	cbor_add_bytes(&b, span_of(request, NSM_REQUEST_MAX - frame));
	assert_int_equal(b.n, NSM_REQUEST_MAX);
	raw_gives(&r, span_buf(&b), "\xa1\x69\x45xtendPCR\xa1");
	buf_add_byte(&b, 0);
	assert_int_equal(nsm_sim_exchange(r.sim, span_buf(&b), answer, sizeof(answer), &n), ERR_LIMIT);
	assert_int_equal(nsm_sim_exchange(r.sim, span_lit("\x6b\x44\x65scribeNSM"), answer, sizeof(answer), &n),
			 ERR_OK);
	for (size_t size = 0; size < n; size += 7) {
		size_t m = 0;

		assert_int_equal(nsm_sim_exchange(r.sim, span_lit("\x6b\x44\x65scribeNSM"), part, size, &m), ERR_OK);
		assert_int_equal(m, size);
		assert_memory_equal(part, answer, size);
	}
	buf_clear(&b);
	rig_stop(&r);
}

/* The device does not ask for the documented limits; the verifier does. */
static void test_large_fields(void **state)
{
	static const uint8_t field[1025];
	static const char *const name[] = { "user_data", "nonce", "public_key" };
	const struct attest_policy p = { .chain_only = true };
	static const enum attest_code code[] = { ATTEST_PAYLOAD_USER_DATA_SIZE, ATTEST_PAYLOAD_NONCE_SIZE,
						 ATTEST_PAYLOAD_PUBLIC_KEY_SIZE };
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	for (size_t i = 0; i < 3; i++) {
		uint8_t answer[NSM_ANSWER_MAX];
		struct attest_document d;
		struct attest_report report;
		struct buf b;
		size_t n = 0;

		buf_init(&b, NSM_REQUEST_MAX);
		buf_add_span(&b, span_lit("\xa1\x6b\x41ttestation\xa1"));
		cbor_add_str(&b, name[i]);
		cbor_add_bytes(&b, span_of(field, sizeof(field)));
		assert_int_equal(nsm_sim_exchange(r.sim, span_buf(&b), answer, sizeof(answer), &n), ERR_OK);
		assert_true(n > 5000);
		assert_code(attest_verify(span_of(answer + 26, n - 26), &attest_anchor_sim, &p, &d, &report), code[i]);
		buf_clear(&b);
	}
	rig_stop(&r);
}

static void test_failures(void **state)
{
	struct nsm_description d;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ 0 });
	nsm_sim_fail(r.sim, ERR_TIMEOUT, 2);
	assert_int_equal(nsm_describe(&r.nsm, &d), ERR_TIMEOUT);
	assert_int_equal(nsm_lock_pcr(&r.nsm, 16), ERR_TIMEOUT);
	assert_int_equal(nsm_describe(&r.nsm, &d), ERR_OK);
	assert_int_equal(d.locked, 0xffff);
	rig_stop(&r);
}

/* --- documents -------------------------------------------------------------------------------- */

static void test_policy(void **state)
{
	const struct span nonce = span_lit("0123456789abcdef"), user_data = span_lit("u"), key = span_lit("k");
	struct attest_measurement m = { .pcrs = 0xffff };
	struct attest_policy p = { .allowed = &m,
				   .n_allowed = 1,
				   .now_ms = NOW_MS + 1000,
				   .max_age_ms = 2000,
				   .max_future_ms = 2000,
				   .nonce = &nonce,
				   .user_data = &user_data,
				   .public_key = &key };
	struct attest_document d;
	struct attest_report report;
	struct rig r;
	bool locked;

	(void)state;
	for (unsigned debug = 0; debug < 2; debug++) {
		rig_start(&r, &(struct nsm_sim_options){ .now_ms = NOW_MS, .debug = debug });
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(nsm_describe_pcr(&r.nsm, i, &locked, m.pcr[i]), ERR_OK);
		assert_int_equal(nsm_attest(&r.nsm, &user_data, &nonce, &key, &r.document), ERR_OK);
		assert_code(attest_verify(span_buf(&r.document), &attest_anchor_sim, &p, &d, &report),
			    debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		p.now_ms = NOW_MS + 2001;
		assert_code(attest_verify(span_buf(&r.document), &attest_anchor_sim, &p, &d, &report),
			    ATTEST_TIME_STALE);
		p.now_ms = NOW_MS - 2001;
		assert_code(attest_verify(span_buf(&r.document), &attest_anchor_sim, &p, &d, &report),
			    ATTEST_TIME_FUTURE);
		p.now_ms = NOW_MS + 1000;
		rig_stop(&r);
	}
}

/* PCR4 is the measurement of the instance that module_id names. */
static void test_instance(void **state)
{
	struct attest_measurement m = { .pcrs = 1 };
	const struct attest_policy p = {
		.allowed = &m, .n_allowed = 1, .now_ms = NOW_MS, .max_age_ms = 1000, .max_future_ms = 1000
	};
	struct attest_document d;
	struct attest_report report;
	struct rig r;
	bool locked;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ .now_ms = NOW_MS, .instance_id = "i-0123456789abcdef0" });
	assert_int_equal(nsm_describe_pcr(&r.nsm, 0, &locked, m.pcr[0]), ERR_OK);
	assert_int_equal(nsm_attest(&r.nsm, NULL, NULL, NULL, &r.document), ERR_OK);
	assert_code(attest_verify(span_buf(&r.document), &attest_anchor_sim, &p, &d, &report), ATTEST_OK);
	assert_memory_equal(d.module_id.p, "i-0123456789abcdef0-enc019a", 27);
	nsm_sim_set_pcr(r.sim, 4, m.pcr[0]);
	buf_reset(&r.document);
	assert_int_equal(nsm_attest(&r.nsm, NULL, NULL, NULL, &r.document), ERR_OK);
	assert_code(attest_verify(span_buf(&r.document), &attest_anchor_sim, &p, &d, &report), ATTEST_POLICY_INSTANCE);
	rig_stop(&r);
}

/* The leaf is kept for 2 h 45 min, the others for most of a day; every document is valid at its own time. */
static void test_leaf_life(void **state)
{
	const int64_t minute = 60000, start = NOW_MS;
	uint8_t leaf[ATTEST_KEY_MAX], instance[ATTEST_KEY_MAX];
	unsigned leaves = 0, instances = 0;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ .now_ms = start });
	for (int64_t t = 0; t <= 48 * 60; t += 15) {
		struct attest_document d;

		nsm_sim_set_now(r.sim, start + t * minute);
		assert_code(attest(&r, &d), ATTEST_OK);
		assert_int_equal(d.timestamp_ms, start + t * minute);
		if (leaves == 0 || memcmp(leaf, d.certificate.p, d.certificate.n) != 0)
			leaves++;
		if (instances == 0 || memcmp(instance, d.cabundle[3].p, d.cabundle[3].n) != 0)
			instances++;
		memcpy(leaf, d.certificate.p, d.certificate.n);
		memcpy(instance, d.cabundle[3].p, d.cabundle[3].n);
		if (t == 150)
			assert_int_equal(leaves, 1);
		if (t == 165)
			assert_int_equal(leaves, 2);
	}
	assert_int_equal(instances, 3);
	assert_int_equal(leaves, 8 + 8 + 3);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_description),     cmocka_unit_test(test_boot),
		cmocka_unit_test(test_extend_and_lock), cmocka_unit_test(test_indices),
		cmocka_unit_test(test_random),          cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_sizes),           cmocka_unit_test(test_large_fields),
		cmocka_unit_test(test_failures),        cmocka_unit_test(test_policy),
		cmocka_unit_test(test_instance),        cmocka_unit_test(test_leaf_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
