/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509.h>

#include "attest/hypervisor_cbor.h"
#include "tests/sim/nsm_sim.h"
#include "tests/unit/attest_fixture.h"

#define NOW_MS INT64_C(1770918962724)

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

/* --- the form of real documents --------------------------------------------------------------- */

/* The form of an item, as text: heads with their lengths, keys and times by name, and not what strings say. */
static void cbor_form(struct cbor *c, unsigned depth, struct buf *out)
{
	struct hypervisor_items k;
	size_t at;

	assert_true(depth < 4);
	if (hypervisor_is_map(c) || hypervisor_is_array(c)) {
		const bool map = hypervisor_is_map(c);

		k = map ? hypervisor_read_map(c) : hypervisor_read_array(c);
		buf_add_str(out, k.indefinite ? "_" : "");
		buf_add_str(out, map ? "{" : "[");
		while (hypervisor_next(c, &k)) {
			at = c->at;
			if (map) {
				(void)cbor_skip(c);
				buf_add(out, c->in.p + at, c->at - at);
				buf_add_str(out, ":");
			}
			cbor_form(c, depth + 1, out);
			buf_add_str(out, ",");
		}
		buf_add_str(out, map ? "}" : "]");
		return;
	}
	at = c->at;
	(void)cbor_skip(c);
	assert_false(c->bad);
	buf_add_byte(out, c->in.p[at]); /* type and, of strings, how long the length is */
	if ((c->in.p[at] & 0xe0) == 0x60)
		buf_add_uint(out, c->at - at);
}

/* The form of DER: tags, identifiers, flags and lengths; of numbers, keys and signatures the tag alone. */
static void der_form(struct span in, struct buf *out)
{
	for (size_t at = 0; at < in.n;) {
		const uint8_t tag = in.p[at];
		size_t head = 2, n = in.p[at + 1];

		if (n > 0x80) {
			head = 2 + (n & 0x7f);
			n = n == 0x81 ? in.p[at + 2] : (size_t)in.p[at + 2] << 8 | in.p[at + 3];
		}
		assert_true(at + head + n <= in.n);
		buf_add_byte(out, tag);
		if ((tag & 0x20) != 0)
			der_form(span_of(in.p + at + head, n), out);
		else if (tag == 0x01 || tag == 0x06 || (tag == 0x04 && n <= 8))
			buf_add(out, in.p + at + head, n);
		else if (tag != 0x02 && tag != 0x03)
			buf_add_uint(out, n);
		if ((tag & 0x20) != 0)
			buf_add_str(out, "/");
		at += head + n;
	}
}

static void same_form(struct buf *a, struct buf *b)
{
	assert_int_equal(buf_ok(a), ERR_OK);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->p, b->p, a->n);
	buf_clear(a);
	buf_clear(b);
}

static void envelope_form(struct span document, size_t payload, struct buf *out)
{
	/* Heads, headers and how long the signature is; the payload's own form comes apart. */
	buf_init(out, VECTOR_MAX);
	buf_add(out, document.p, 8);
	buf_add(out, document.p + 10 + payload, 2);
	buf_add_uint(out, document.n - payload);
}

static const struct span *field(const struct attest_field *f)
{
	return f->present ? &f->bytes : NULL;
}

static void compare_certificates(const struct attest_document *real, const struct attest_document *sim, bool ids)
{
	assert_int_equal(real->n_cabundle, sim->n_cabundle);
	for (size_t i = 0; i <= real->n_cabundle; i++) {
		const struct span a = i < 4 ? real->cabundle[i] : real->certificate;
		const struct span b = i < 4 ? sim->cabundle[i] : sim->certificate;
		struct buf x, y;

		if (i == 3 && !ids) /* older ones had no key identifiers there */
			continue;
		buf_init(&x, VECTOR_MAX);
		buf_init(&y, VECTOR_MAX);
		der_form(a, &x);
		der_form(b, &y);
		same_form(&x, &y);
		/* Numbers and signatures have a byte more or less each. */
		assert_in_range(a.n, b.n - 4, b.n + 4);
	}
}

/* A simulated document has the form of the real one: of the envelope, the payload and every certificate. */
static void compare(const char *vector, const struct nsm_sim_options *o, bool lock16, bool ids)
{
	struct attest_document real, sim;
	struct buf b, x, y;
	struct cbor c;
	struct rig r;

	load_vector(vector, &b);
	assert_code(attest_document_parse(span_buf(&b), &real), ATTEST_OK);
	rig_start(&r, o);
	if (lock16)
		assert_int_equal(nsm_lock_pcr(&r.nsm, 16), ERR_OK);
	assert_int_equal(
		nsm_attest(&r.nsm, field(&real.user_data), field(&real.nonce), field(&real.public_key), &r.document),
		ERR_OK);
	assert_code(attest_document_parse(span_buf(&r.document), &sim), ATTEST_OK);
	envelope_form(span_buf(&b), real.payload.n, &x);
	envelope_form(span_buf(&r.document), sim.payload.n, &y);
	same_form(&x, &y);
	buf_init(&x, VECTOR_MAX);
	buf_init(&y, VECTOR_MAX);
	cbor_start(&c, real.payload);
	cbor_form(&c, 0, &x);
	assert_int_equal(cbor_done(&c), ERR_OK);
	cbor_start(&c, sim.payload);
	cbor_form(&c, 0, &y);
	same_form(&x, &y);
	compare_certificates(&real, &sim, ids);
	assert_in_range(b.n, r.document.n - (ids ? 20 : 100), r.document.n + 20);
	buf_clear(&b);
	rig_stop(&r);
}

static void test_form(void **state)
{
	(void)state;
	compare("25-2026-02-opengradient-INDEF.cbor", &(struct nsm_sim_options){ .region = "us-east-2" }, false, true);
	compare("21-2025-04-nautilus-weather.cbor", &(struct nsm_sim_options){ .definite = true }, false, true);
	compare("22b-2025-04-marlin-oyster-PCR16-locked.cbor",
		&(struct nsm_sim_options){ .definite = true, .region = "ap-south-1" }, true, true);
	compare("13-2024-01-anjuna-full-DEBUG.cbor",
		&(struct nsm_sim_options){ .definite = true, .region = "us-east-2", .debug = true }, false, false);
}

/* --- times and numbers of the certificates ---------------------------------------------------- */

static int64_t seconds(const ASN1_TIME *t)
{
	int days, s;
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);

	assert_int_equal(ASN1_TIME_diff(&days, &s, epoch, t), 1);
	ASN1_TIME_free(epoch);
	return (int64_t)days * 86400 + s;
}

static void test_lives(void **state)
{
	static const int64_t life[] = { INT64_C(946774800), 20 * 86400 + 3600, 6 * 86400, 86400, 10803 };
	const uint8_t number[] = { 0x02, 0x10, 0x01, 0x9a, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x69, 0x8e, 0x14, 0x32 };
	struct attest_document d;
	struct rig r;

	(void)state;
	rig_start(&r, &(struct nsm_sim_options){ .enclave_id = "019a000000000001", .now_ms = NOW_MS });
	assert_int_equal(nsm_attest(&r.nsm, NULL, NULL, NULL, &r.document), ERR_OK);
	assert_code(attest_document_parse(span_buf(&r.document), &d), ATTEST_OK);
	for (size_t i = 0; i < 5; i++) {
		const struct span der = i < 4 ? d.cabundle[i] : d.certificate;
		const uint8_t *p = der.p;
		X509 *x = d2i_X509(NULL, &p, (long)der.n);

		assert_non_null(x);
		assert_int_equal(seconds(X509_get0_notAfter(x)) - seconds(X509_get0_notBefore(x)), life[i]);
		if (i == 4) {
			assert_int_equal(seconds(X509_get0_notBefore(x)), NOW_MS / 1000 - 3);
			assert_non_null(span_find(der, span_of(number, sizeof(number))));
		}
		X509_free(x);
	}
	rig_stop(&r);
}

/* --- the root --------------------------------------------------------------------------------- */

/* It stays as it is, and is what its parts say: its own signature is right, and made again it differs in that only. */
static void test_root(void **state)
{
	static const uint8_t sha256[] = { 0x8a, 0x9e, 0xd5, 0x77, 0x46, 0x77, 0xd4, 0x84, 0xf2, 0x71, 0x4b,
					  0x4e, 0xfa, 0x70, 0xa5, 0x7b, 0x0a, 0x7f, 0xa6, 0xc3, 0x3f, 0xd7,
					  0xd9, 0x94, 0xbe, 0xfb, 0x38, 0x67, 0xcc, 0x01, 0xfc, 0x6c };
	const struct span root = span_of(attest_anchor_sim.der, attest_anchor_sim.size);
	struct pki_chain *c = pki_chain_new(&(struct pki_options){ .issued_s = NOW_MS / 1000 });
	const uint8_t *p = root.p;
	X509 *x = d2i_X509(NULL, &p, (long)root.n);
	EVP_PKEY *key = pki_root_key();
	uint8_t hash[32];

	(void)state;
	assert_int_equal(root.n, attest_anchor_aws.size);
	assert_int_equal(EVP_Digest(root.p, root.n, hash, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(hash, sha256, sizeof(hash));
	assert_non_null(x);
	assert_int_equal(X509_verify(x, key), 1);
	assert_true(span_eq(span_buf(&c->cert[PKI_ROOT].der), root));
	pki_chain_sign(c, PKI_ROOT);
	assert_false(span_eq(span_buf(&c->cert[PKI_ROOT].der), root));
	assert_memory_equal(c->cert[PKI_ROOT].der.p + 4, root.p + 4, 400);
	X509_free(x);
	EVP_PKEY_free(key);
	pki_chain_free(c);
}

/* --- separation ------------------------------------------------------------------------------- */

/* A release program has one root. It refuses the simulator's documents there, before anything that they say. */
static void test_other_root(void **state)
{
	const struct attest_policy p = { 0 };
	struct attest_document d;
	struct attest_report report;
	struct rig r;

	(void)state;
	for (unsigned form = 0; form < 4; form++) {
		rig_start(&r, &(struct nsm_sim_options){ .definite = form & 1, .debug = form & 2 });
		assert_int_equal(nsm_attest(&r.nsm, NULL, NULL, NULL, &r.document), ERR_OK);
		assert_code(attest_verify(span_buf(&r.document), &attest_anchor_aws, &p, &d, &report),
			    ATTEST_CHAIN_ANCHOR);
		assert_int_equal(report.certificate, 0);
		assert_int_equal(report.stage[ATTEST_PAYLOAD], ATTEST_PASSED);
		assert_int_equal(report.stage[ATTEST_SIGNATURE], ATTEST_NOT_ASKED);
		rig_stop(&r);
	}
}

/* And the simulator's root lets nothing in that is not its own. */
static void test_real_documents(void **state)
{
	const struct attest_policy p = { .chain_only = true };
	struct attest_document d;
	struct attest_report report;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		load_vector(vectors[i].file, &b);
		assert_code(attest_verify(span_buf(&b), &attest_anchor_sim, &p, &d, &report), ATTEST_CHAIN_ANCHOR);
		buf_clear(&b);
	}
	load_vector("neg-oyster-mock-pki.cbor", &b);
	assert_true(attest_verify(span_buf(&b), &attest_anchor_sim, &p, &d, &report) != ATTEST_OK);
	assert_true(attest_verify(span_buf(&b), &attest_anchor_aws, &p, &d, &report) != ATTEST_OK);
	buf_clear(&b);
}

/* [ h'a10120', {}, ... instead of [ h'a1013822', {}, ... */
static void emulate_header(struct buf *b)
{
	buf_drop(b, 1);
	memcpy(b->p, "\x84\x43\xa1\x01\x20", 5);
}

/* An emulator without keys: {1: -1}, 64 zero bytes for the signature and for both certificates. With the right header,
 * each of the others is refused for itself. */
static void test_unsigned_emulator(void **state)
{
	static const uint8_t nothing[96];
	const struct attest_policy p = { .chain_only = true };
	uint8_t pcr[ATTEST_PCRS][ATTEST_PCR_SIZE] = { { 1 }, { 1 }, { 1 } };
	struct pki_payload payload = { .module_id = PKI_MODULE_ID,
				       .timestamp_ms = NOW_MS,
				       .pcrs = 0xffff,
				       .pcr = (const uint8_t(*)[ATTEST_PCR_SIZE])pcr,
				       .certificate = span_of(nothing, 64),
				       .cabundle = { span_of(nothing, 64) },
				       .n_cabundle = 1,
				       .definite = true };
	static const enum attest_code expected[] = { ATTEST_ENVELOPE_ALGORITHM, ATTEST_ENVELOPE_SIGNATURE,
						     ATTEST_PAYLOAD_CABUNDLE_COUNT, ATTEST_CHAIN_ANCHOR };

	(void)state;
	for (unsigned mended = 0; mended < 4; mended++) {
		struct attest_document d;
		struct attest_report report;
		struct buf bytes, b;

		payload.n_cabundle = mended > 2 ? 2 : 1;
		payload.cabundle[1] = span_of(nothing, 64);
		buf_init(&bytes, NSM_ANSWER_MAX);
		buf_init(&b, NSM_ANSWER_MAX);
		pki_encode_payload(&payload, &bytes);
		pki_encode_document(span_buf(&bytes), span_of(nothing, mended > 1 ? 96 : 64), &b);
		if (mended == 0)
			emulate_header(&b);
		assert_code(attest_verify(span_buf(&b), &attest_anchor_aws, &p, &d, &report), expected[mended]);
		assert_code(attest_verify(span_buf(&b), &attest_anchor_sim, &p, &d, &report), expected[mended]);
		buf_clear(&bytes);
		buf_clear(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),           cmocka_unit_test(test_lives),
		cmocka_unit_test(test_root),           cmocka_unit_test(test_other_root),
		cmocka_unit_test(test_real_documents), cmocka_unit_test(test_unsigned_emulator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
