/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_genuine.h"

#include <sodium.h>

#include "worker/base/text.h"

/* --- real documents --------------------------------------------------------------------------- */

static void test_genuine(void **state)
{
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct attest_report r;
		struct genuine g;

		genuine_load(&g, vectors[i].file);
		assert_code(verify(span_buf(&g.b), &g.policy, &r), vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		if (!vectors[i].debug) {
			n++;
			assert_ptr_equal(r.release, &g.own);
		}
		with(&g, cache, NULL, vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		genuine_clear(&g);
	}
	assert_int_equal(n, 10);
}

/* For debug and for nothing else: what a policy says, also one of zeros, does not matter. */
static void test_debug(void **state)
{
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct attest_report r;
		struct genuine g;

		genuine_load(&g, vectors[i].file);
		g.policy.chain_only = true;
		assert_code(verify(span_buf(&g.b), &g.policy, &r), vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		assert_int_equal(r.stage[ATTEST_SIGNATURE], ATTEST_PASSED);
		n += r.stage[ATTEST_DEBUG] == ATTEST_FAILED;
		with(&g, n_allowed, 0, vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_OK);
		g.policy.chain_only = false;
		with(&g, n_allowed, 0, vectors[i].debug ? ATTEST_DEBUG_MODE : ATTEST_POLICY_EMPTY);
		genuine_clear(&g);
	}
	assert_int_equal(n, 2);
}

static void test_debug_one_pcr(void **state)
{
	static const uint8_t zeros[ATTEST_PCR_SIZE];
	struct genuine g;

	(void)state;
	genuine_load(&g, SAMPLE);
	assert_false(attest_document_debug(&g.d));
	for (unsigned i = 0; i < 6; i++) {
		struct attest_document d = g.d;

		d.pcr[i] = span_of(zeros, sizeof(zeros));
		assert_int_equal(attest_document_debug(&d), i <= 2);
		d.pcr[i] = span_of(NULL, 0);
		assert_int_equal(attest_document_debug(&d), i <= 2);
	}
	genuine_clear(&g);
}

static void test_foreign(void **state)
{
	struct attest_report r;
	struct genuine g, other;
	struct buf b;

	(void)state;
	genuine_load(&g, SAMPLE);
	load_vector("neg-oyster-mock-pki.cbor", &b);
	gives(span_buf(&b), &g.policy, ATTEST_PAYLOAD_CABUNDLE_COUNT);
	buf_clear(&b);
	load_vector("neg-veracruz-bad-sig.cbor", &b);
	genuine_load(&other, "07-2022-11-veracruz.cbor");
	assert_code(verify(span_buf(&b), &other.policy, &r), ATTEST_SIGNATURE_WRONG);
	assert_int_equal(r.stage[ATTEST_CHAIN], ATTEST_PASSED);
	buf_clear(&b);
	/* The form of the emulator's: an algorithm of its own, no certificates, no signature. */
	gives(span_lit("\x84\x43\xa1\x01\x20\xa0\x41\xa0\x40"), &g.policy, ATTEST_ENVELOPE_ALGORITHM);
	gives(span_of(NULL, 0), &g.policy, ATTEST_ENVELOPE_SIZE);
	genuine_clear(&g);
	genuine_clear(&other);
}

/* --- time ------------------------------------------------------------------------------------- */

static void test_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct genuine g;
		int64_t at;

		genuine_load(&g, vectors[i].file);
		at = (int64_t)g.d.timestamp_ms;
		if (!vectors[i].debug) {
			with(&g, now_ms, at + 300000, ATTEST_OK);
			with(&g, now_ms, at - 30000, ATTEST_OK);
		}
		with(&g, now_ms, at + 300001, ATTEST_TIME_STALE);
		with(&g, now_ms, at - 30001, ATTEST_TIME_FUTURE);
		with(&g, now_ms, 1800000000000, ATTEST_TIME_STALE);
		with(&g, now_ms, 0, ATTEST_TIME_FUTURE);
		with(&g, now_ms, INT64_MIN, ATTEST_TIME_FUTURE);
		with(&g, now_ms, INT64_MAX, ATTEST_TIME_STALE);
		genuine_clear(&g);
	}
}

static void test_without_age(void **state)
{
	struct span shorter;
	struct genuine g;

	(void)state;
	genuine_load(&g, "07-2022-11-veracruz.cbor"); /* has a nonce of 32 bytes */
	g.policy.max_age_ms = 0;
	g.policy.now_ms += 1000000000;
	with(&g, nonce, g.policy.nonce, ATTEST_OK);
	with(&g, nonce, NULL, ATTEST_TIME_UNBOUNDED);
	shorter = span_of(g.d.nonce.bytes.p, ATTEST_NONCE_MIN - 1);
	with(&g, nonce, &shorter, ATTEST_TIME_UNBOUNDED);
	shorter = span_of(g.d.nonce.bytes.p, ATTEST_NONCE_MIN);
	with(&g, nonce, &shorter, ATTEST_BINDING_NONCE);
	g.policy.now_ms -= 2000000000;
	with(&g, nonce, g.policy.nonce, ATTEST_TIME_FUTURE);
	with(&g, max_future_ms, INT64_MAX, ATTEST_OK);
	genuine_clear(&g);
}

/* --- measurements ----------------------------------------------------------------------------- */

static void test_every_pcr_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct genuine g;

		if (vectors[i].debug)
			continue;
		genuine_load(&g, vectors[i].file);
		for (unsigned pcr = 0; pcr < ATTEST_PCRS; pcr++) {
			if (!(g.d.pcrs & UINT32_C(1) << pcr))
				continue;
			g.own.pcr[pcr][pcr % ATTEST_PCR_SIZE] ^= 0x10;
			gives(span_buf(&g.b), &g.policy, ATTEST_POLICY_MISMATCH);
			g.own.pcr[pcr][pcr % ATTEST_PCR_SIZE] ^= 0x10;
		}
		measure(&g.d, 1, &g.own);
		gives(span_buf(&g.b), &g.policy, ATTEST_OK);
		g.own.pcrs |= UINT32_C(1) << 31; /* not in the document: not the same as zeros */
		gives(span_buf(&g.b), &g.policy, ATTEST_POLICY_MISMATCH);
		genuine_clear(&g);
	}
}

static void test_sets(void **state)
{
	static struct attest_measurement sets[ATTEST_MEASUREMENTS_MAX + 1];
	struct attest_report r;
	struct genuine a, b;

	(void)state;
	genuine_load(&a, "07-2022-11-veracruz.cbor");
	genuine_load(&b, SAMPLE);
	/* PCR0 of the one with PCR2 of the other, both ways round. */
	measure(&a.d, 7, &sets[0]);
	measure(&b.d, 7, &sets[1]);
	memcpy(sets[0].pcr[2], b.d.pcr[2].p, ATTEST_PCR_SIZE);
	memcpy(sets[1].pcr[2], a.d.pcr[2].p, ATTEST_PCR_SIZE);
	a.policy.allowed = sets;
	a.policy.n_allowed = 2;
	gives(span_buf(&a.b), &a.policy, ATTEST_POLICY_MISMATCH);
	for (size_t i = 0; i < ATTEST_MEASUREMENTS_MAX; i++)
		measure(&b.d, 7, &sets[i]);
	measure(&a.d, 7, &sets[ATTEST_MEASUREMENTS_MAX - 1]);
	a.policy.n_allowed = ATTEST_MEASUREMENTS_MAX;
	assert_code(verify(span_buf(&a.b), &a.policy, &r), ATTEST_OK);
	assert_ptr_equal(r.release, &sets[ATTEST_MEASUREMENTS_MAX - 1]);
	with(&a, n_allowed, ATTEST_MEASUREMENTS_MAX - 1, ATTEST_POLICY_MISMATCH);
	measure(&a.d, 7, &sets[ATTEST_MEASUREMENTS_MAX]);
	with(&a, n_allowed, ATTEST_MEASUREMENTS_MAX + 1, ATTEST_POLICY_UNPINNED);
	genuine_clear(&a);
	genuine_clear(&b);
}

static void test_empty_and_unpinned(void **state)
{
	struct attest_measurement sets[2];
	struct genuine g;

	(void)state;
	genuine_load(&g, "21-2025-04-nautilus-weather.cbor"); /* its PCR2 is that of no ramdisk at all */
	with(&g, n_allowed, 0, ATTEST_POLICY_EMPTY);
	with(&g, allowed, NULL, ATTEST_POLICY_EMPTY);
	measure(&g.d, g.d.pcrs, &sets[0]);
	measure(&g.d, 1U << 2, &sets[1]);
	with(&g, allowed, &sets[1], ATTEST_POLICY_UNPINNED);
	g.policy.n_allowed = 2;
	with(&g, allowed, sets, ATTEST_POLICY_UNPINNED);
	measure(&g.d, 0, &sets[1]);
	with(&g, allowed, sets, ATTEST_POLICY_UNPINNED);
	measure(&g.d, 1, &sets[1]);
	with(&g, allowed, sets, ATTEST_OK);
	genuine_clear(&g);
}

/* --- bindings --------------------------------------------------------------------------------- */

static void check_field(struct genuine *g, const struct attest_field *f, const struct span **member,
			enum attest_code code)
{
	uint8_t bytes[ATTEST_KEY_MAX + 1] = { 0 };
	const struct span *kept = *member;
	struct span wanted = span_of(bytes, 0);

	*member = &wanted;
	gives(span_buf(&g->b), &g->policy, f->present && f->bytes.n == 0 ? ATTEST_OK : code);
	wanted.n = 32;
	gives(span_buf(&g->b), &g->policy, code);
	if (f->present && f->bytes.n > 0) {
		memcpy(bytes, f->bytes.p, f->bytes.n);
		wanted.n = f->bytes.n;
		gives(span_buf(&g->b), &g->policy, ATTEST_OK);
		wanted.n--;
		gives(span_buf(&g->b), &g->policy, code);
		wanted.n += 2;
		gives(span_buf(&g->b), &g->policy, code);
		wanted.n--;
		bytes[wanted.n - 1] ^= 1;
		gives(span_buf(&g->b), &g->policy, code);
	}
	*member = NULL;
	gives(span_buf(&g->b), &g->policy, ATTEST_OK);
	*member = kept;
}

static void test_bindings(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct genuine g;

		if (vectors[i].debug)
			continue;
		genuine_load(&g, vectors[i].file);
		check_field(&g, &g.d.nonce, &g.policy.nonce, ATTEST_BINDING_NONCE);
		check_field(&g, &g.d.user_data, &g.policy.user_data, ATTEST_BINDING_USER_DATA);
		check_field(&g, &g.d.public_key, &g.policy.public_key, ATTEST_BINDING_PUBLIC_KEY);
		genuine_clear(&g);
	}
}

/* --- codes ------------------------------------------------------------------------------------ */

static void test_codes(void **state)
{
	enum attest_stage last = ATTEST_ENVELOPE;

	(void)state;
	assert_int_equal(ATTEST_OK, 0);
	assert_int_equal(attest_code_stage(ATTEST_OK), ATTEST_STAGES);
	for (unsigned c = 1; c < ATTEST_CODE_COUNT; c++) {
		const char *name = attest_code_name((enum attest_code)c);

		assert_true(attest_code_stage((enum attest_code)c) >= last);
		last = attest_code_stage((enum attest_code)c);
		assert_true(name[0] != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
		assert_true(attest_code_text((enum attest_code)c)[0] != '\0');
		for (unsigned other = 0; other < c; other++)
			assert_string_not_equal(name, attest_code_name((enum attest_code)other));
	}
	assert_int_equal(last, ATTEST_BINDING);
	for (unsigned s = 0; s < ATTEST_STAGES; s++)
		assert_true(strlen(attest_stage_name((enum attest_stage)s)) > 0);
	assert_string_equal(attest_code_name(ATTEST_CODE_COUNT), "unknown");
	assert_int_equal(attest_code_stage(ATTEST_CODE_COUNT), ATTEST_STAGES);
	assert_true(strlen(attest_code_text(ATTEST_CODE_COUNT)) > 0);
	assert_string_equal(attest_stage_name(ATTEST_STAGES), "none");
}

static void test_anchor(void **state)
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	(void)state;
	crypto_hash_sha256(hash, attest_anchor_aws.der, attest_anchor_aws.size);
	text_hex(span_of(hash, sizeof(hash)), hex);
	assert_string_equal(hex, "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_genuine),
		cmocka_unit_test(test_debug),
		cmocka_unit_test(test_debug_one_pcr),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_without_age),
		cmocka_unit_test(test_every_pcr_counts),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_empty_and_unpinned),
		cmocka_unit_test(test_bindings),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_anchor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
