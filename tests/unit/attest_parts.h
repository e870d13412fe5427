/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signed document whose payload is taken apart: members can be changed, removed and added before the leaf signs them.
 * Include after cmocka.h.
 */
#ifndef TESTS_UNIT_ATTEST_PARTS_H
#define TESTS_UNIT_ATTEST_PARTS_H

#include "tests/unit/attest_signed.h"

/* A document that is right in all, whose members can be changed before the leaf signs them. */
struct parts {
	struct signed_document s;
	struct sample members;
};

UNUSED static void parts_start(struct parts *p)
{
	struct cbor c;

	signed_start(&p->s);
	p->s.payload.definite = true;
	p->members = (struct sample){ 0 };
	buf_init(&p->members.source, VECTOR_MAX);
	pki_encode_payload(&p->s.payload, &p->members.source);
	cbor_start(&c, span_buf(&p->members.source));
	p->members.n = cbor_read_map(&c, SAMPLE_MEMBERS).left;
	for (size_t i = 0; i < p->members.n; i++) {
		p->members.key[i] = cbor_read_text(&c, 64);
		p->members.value[i] = cbor_skip(&c);
	}
	assert_int_equal(cbor_done(&c), ERR_OK);
	assert_int_equal(p->members.n, 9);
}

UNUSED static void parts_stop(struct parts *p)
{
	sample_clear(&p->members);
	signed_stop(&p->s);
}

UNUSED static enum attest_code parts_verify(const struct parts *p)
{
	enum attest_code code;
	struct buf b;
	int blamed;

	buf_init(&b, VECTOR_MAX);
	sample_payload(&p->members, &b);
	code = verify_payload(&p->s, span_buf(&b), &blamed);
	buf_clear(&b);
	return code;
}

/* In both forms of the map. */
UNUSED static void parts_give(struct parts *p, enum attest_code code)
{
	for (unsigned form = 0; form < 2; form++) {
		p->members.indefinite = form != 0;
		assert_code(parts_verify(p), code);
	}
}

UNUSED static void value_gives(const char *key, struct span value, enum attest_code code)
{
	struct parts p;

	parts_start(&p);
	*sample_value(&p.members, key) = value;
	if (parts_verify(&p) != code)
		print_error("%s, %zu bytes beginning with %02x\n", key, value.n, value.p[0]);
	parts_give(&p, code);
	parts_stop(&p);
}

#define VALUE(key, value, code) value_gives((key), span_lit(value), ATTEST_##code)

#endif
