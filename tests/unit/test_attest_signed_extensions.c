/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_signed.h"

/* --- extensions ------------------------------------------------------------------------------- */

static void set_constraints(struct pki_certificate *c, struct span v)
{
	pki_set_extension(c, PKI_CONSTRAINTS, true, v);
}

static void set_soft_constraints(struct pki_certificate *c, struct span v)
{
	pki_set_extension(c, PKI_CONSTRAINTS, false, v);
}

static void drop_constraints(struct pki_certificate *c, struct span v)
{
	(void)v;
	buf_reset(pki_extension(c, PKI_CONSTRAINTS));
}

static void soften_constraints(struct pki_certificate *c, struct span v)
{
	const struct buf *b = pki_extension(c, PKI_CONSTRAINTS);
	uint8_t value[16];
	size_t n = b->n - 12; /* 30 len, 06 03 oid, 01 01 ff, 04 len */

	(void)v;
	memcpy(value, b->p + 12, n);
	pki_set_extension(c, PKI_CONSTRAINTS, false, span_of(value, n));
}

static void set_usage(struct pki_certificate *c, struct span v)
{
	pki_set_extension(c, PKI_USAGE, true, v);
}

static void drop_usage(struct pki_certificate *c, struct span v)
{
	(void)v;
	buf_reset(pki_extension(c, PKI_USAGE));
}

static void test_ca_constraints(void **state)
{
	static const char *const wrong[] = {
		"\x02\x30\x00",                             /* no CA */
		"\x05\x30\x03\x01\x01\x01",                 /* TRUE in another form */
		"\x08\x30\x06\x01\x01\x01\x02\x01\x09",     /* */
		"\x05\x30\x03\x02\x01\x09",                 /* a path length without CA */
		"\x08\x30\x06\x01\x01\xff\x02\x01\xff",     /* a negative one */
		"\x09\x30\x07\x01\x01\xff\x02\x02\x01\x00", /* 256 */
		"\x09\x30\x07\x01\x01\xff\x02\x02\x00\x09", /* one that is not in its shortest form */
		"\x09\x30\x81\x06\x01\x01\xff\x02\x01\x09", /* a longer length */
		"\x07\x30\x03\x01\x01\xff\x05\x00",         /* something behind */
		"\x07\x30\x05\x01\x01\xff\x05\x00",         /* something else inside */
		"\x01\x30",                                 /* cut off */
	};

	(void)state;
	cas_give(drop_constraints, span_lit(""), ATTEST_CHAIN_CONSTRAINTS);
	cas_give(soften_constraints, span_lit(""), ATTEST_CHAIN_CONSTRAINTS);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cas_give(set_constraints, span_of(wrong[i] + 1, (size_t)wrong[i][0]), ATTEST_CHAIN_CONSTRAINTS);
	cas_give(set_constraints, span_lit(""), ATTEST_CHAIN_CONSTRAINTS);
	cas_give(set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x7f"), ATTEST_OK);
	/* Only the root may leave the path length out. */
	cas_give(set_constraints, span_lit("\x30\x03\x01\x01\xff"), ATTEST_CHAIN_PATHLEN);
	change_gives(PKI_REGIONAL, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x01"), ATTEST_CHAIN_PATHLEN);
	change_gives(PKI_REGIONAL, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x02"), ATTEST_OK);
	change_gives(PKI_ZONAL, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x00"), ATTEST_CHAIN_PATHLEN);
	change_gives(PKI_ZONAL, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x01"), ATTEST_OK);
	change_gives(PKI_INSTANCE, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x00"), ATTEST_OK);
}

static void test_leaf_constraints(void **state)
{
	(void)state;
	change_gives(PKI_LEAF, drop_constraints, span_lit(""), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_LEAF, set_soft_constraints, span_lit("\x30\x00"), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_LEAF, set_constraints, span_lit("\x30\x03\x01\x01\xff"), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_LEAF, set_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x00"), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_LEAF, set_constraints, span_lit("\x30\x03\x02\x01\x00"), ATTEST_CHAIN_CONSTRAINTS);
	change_gives(PKI_LEAF, set_constraints, span_lit("\x30\x03\x01\x01\x00"), ATTEST_CHAIN_CONSTRAINTS);
}

static void test_usage(void **state)
{
	(void)state;
	each_gives(drop_usage, span_lit(""), ATTEST_CHAIN_USAGE);
	each_gives(set_usage, span_lit(""), ATTEST_CHAIN_USAGE);
	each_gives(set_usage, span_lit("\x03\x01\x00"), ATTEST_CHAIN_USAGE);
	each_gives(set_usage, span_lit("\x04\x02\x01\x86"), ATTEST_CHAIN_USAGE);
	each_gives(set_usage, span_lit("\x03\x03\x07\x86\x80"), ATTEST_CHAIN_USAGE);
	each_gives(set_usage, span_lit("\x03\x02\x00\x84"), ATTEST_CHAIN_USAGE); /* trailing zero bits */
	each_gives(set_usage, span_lit("\x03\x02\x07\x86"), ATTEST_CHAIN_USAGE); /* bits that are not in use */
	each_gives(set_usage, span_lit("\x03\x02\x01\x86\x00"), ATTEST_CHAIN_USAGE);
	cas_give(set_usage, span_lit("\x03\x02\x01\x82"), ATTEST_CHAIN_USAGE); /* without certSign */
	cas_give(set_usage, span_lit("\x03\x02\x02\x04"), ATTEST_OK);
	change_gives(PKI_LEAF, set_usage, span_lit("\x03\x02\x07\x80"), ATTEST_OK);
	change_gives(PKI_LEAF, set_usage, span_lit("\x03\x02\x06\x40"), ATTEST_CHAIN_USAGE); /* without digSig */
	change_gives(PKI_LEAF, set_usage, span_lit("\x03\x02\x02\x84"), ATTEST_CHAIN_USAGE); /* with certSign */
}

/* A leaf that issues another one: where the path lengths let it be in the bundle, it is no CA. */
static void test_leaf_issues(void **state)
{
	struct signed_document s;
	struct buf first;
	EVP_PKEY *key;
	int blamed;

	(void)state;
	signed_start(&s);
	for (size_t i = PKI_REGIONAL; i < PKI_LEAF; i++)
		set_constraints(&s.chain->cert[i], span_lit("\x30\x06\x01\x01\xff\x02\x01\x09"));
	pki_chain_sign(s.chain, PKI_REGIONAL);
	buf_init(&first, ATTEST_KEY_MAX);
	buf_add_span(&first, span_buf(&s.chain->cert[PKI_LEAF].der));
	key = s.chain->cert[PKI_LEAF].key;
	assert_int_equal(EVP_PKEY_up_ref(key), 1);
	s.chain->cert[PKI_LEAF].issuer_set = true;
	pki_set(&s.chain->cert[PKI_LEAF].part[PKI_ISSUER], span_buf(&s.chain->cert[PKI_LEAF].part[PKI_SUBJECT]));
	s.chain->cert[PKI_LEAF].signer = key;
	pki_set_key(&s.chain->cert[PKI_LEAF], pki_key_new());
	pki_chain_sign(s.chain, PKI_LEAF);
	pki_payload_chain(&s.payload, s.chain);
	assert_code(verify_signed(&s, &blamed), ATTEST_CHAIN_ISSUER);
	s.payload.cabundle[4] = span_buf(&first);
	s.payload.n_cabundle = 5;
	assert_code(verify_signed(&s, &blamed), ATTEST_CHAIN_CONSTRAINTS);
	assert_int_equal(blamed, 4);
	EVP_PKEY_free(key);
	buf_clear(&first);
	signed_stop(&s);
}

static void add_soft(struct pki_certificate *c, struct span oid)
{
	pki_add_extension(c, oid, false, span_lit("\x05\x00"));
}

static void add_critical(struct pki_certificate *c, struct span oid)
{
	pki_add_extension(c, oid, true, span_lit("\x05\x00"));
}

static void add_twice(struct pki_certificate *c, struct span oid)
{
	add_soft(c, oid);
	add_soft(c, oid);
}

static void add_constraints(struct pki_certificate *c, struct span v)
{
	pki_add_extension(c, span_lit("\x55\x1d\x13"), true, v);
}

static void add_usage(struct pki_certificate *c, struct span v)
{
	pki_add_extension(c, span_lit("\x55\x1d\x0f"), false, v);
}

#define OID_PRIVATE "\x2b\x06\x01\x04\x01\x82\x37\x63\x01"
#define OID_EKU     "\x55\x1d\x25"

static void test_extensions(void **state)
{
	(void)state;
	each_gives(add_soft, span_lit(OID_PRIVATE), ATTEST_OK);
	each_gives(add_critical, span_lit(OID_PRIVATE), ATTEST_CHAIN_EXTENSION);
	each_gives(add_twice, span_lit(OID_PRIVATE), ATTEST_CHAIN_EXTENSION);
	each_gives(add_critical, span_lit("\x55\x1d\x1e"), ATTEST_CHAIN_EXTENSION); /* name constraints */
	each_gives(add_critical, span_lit("\x55\x1d\x20"), ATTEST_CHAIN_EXTENSION); /* policies */
	each_gives(add_soft, span_lit(OID_EKU), ATTEST_CHAIN_EXTENSION);
	each_gives(add_critical, span_lit(OID_EKU), ATTEST_CHAIN_EXTENSION);
	each_gives(add_constraints, span_lit("\x30\x00"), ATTEST_CHAIN_EXTENSION);
	each_gives(add_constraints, span_lit("\x30\x06\x01\x01\xff\x02\x01\x7f"), ATTEST_CHAIN_EXTENSION);
	each_gives(add_usage, span_lit("\x03\x02\x01\x86"), ATTEST_CHAIN_EXTENSION);
	each_gives(add_usage, span_lit("\x03\x02\x06\xc0"), ATTEST_CHAIN_EXTENSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ca_constraints), cmocka_unit_test(test_leaf_constraints),
		cmocka_unit_test(test_usage),          cmocka_unit_test(test_leaf_issues),
		cmocka_unit_test(test_extensions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
