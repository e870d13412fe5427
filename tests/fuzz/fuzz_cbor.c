/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CBOR reader and the COSE_Sign1 form over any bytes. Beyond memory errors it checks what the
 * reader promises: what was skipped is inside of the input, an accepted item is the only encoding
 * of what it says (reading it and appending it again gives the same bytes), and an error sticks.
 */
#include <stdint.h>
#include <stdlib.h>

#include "worker/base/cbor.h"
#include "worker/base/cose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void copy_item(struct cbor *c, struct buf *out);

static void copy_array(struct cbor *c, struct buf *out)
{
	size_t n = cbor_read_array(c, SIZE_MAX);

	cbor_add_array(out, n);
	for (size_t i = 0; i < n; i++)
		copy_item(c, out);
}

/* Generic on purpose: keys of every type, as cbor_skip() takes them. */
static void copy_map(struct cbor *c, struct buf *out)
{
	struct cbor_map m = cbor_read_map(c, SIZE_MAX);

	cbor_add_map(out, m.left);
	for (size_t i = 0; i < 2 * m.left; i++)
		copy_item(c, out);
}

static void copy_integer(struct cbor *c, struct buf *out)
{
	struct cbor before = *c;
	int64_t v = cbor_read_int(c);

	if (!c->bad) {
		cbor_add_int(out, v);
		return;
	}
	/* Outside of int64_t, which is not an error of the input. */
	*c = before;
	buf_add_span(out, cbor_skip(c));
}

static void copy_item(struct cbor *c, struct buf *out)
{
	switch (cbor_peek(c)) {
	case CBOR_UINT:
	case CBOR_NINT:
		copy_integer(c, out);
		return;
	case CBOR_BYTES:
		cbor_add_bytes(out, cbor_read_bytes(c, SIZE_MAX));
		return;
	case CBOR_TEXT:
		cbor_add_text(out, cbor_read_text(c, SIZE_MAX));
		return;
	case CBOR_ARRAY:
		copy_array(c, out);
		return;
	case CBOR_MAP:
		copy_map(c, out);
		return;
	case CBOR_TAG:
		cbor_add_tag(out, cbor_read_tag(c));
		copy_item(c, out);
		return;
	case CBOR_BOOL:
		cbor_add_bool(out, cbor_read_bool(c));
		return;
	case CBOR_NULL:
		cbor_read_null(c);
		cbor_add_null(out);
		return;
	case CBOR_NONE:
		cbor_fail(c);
		return;
	}
}

static void check_skip(struct span in)
{
	struct cbor c;
	struct span item;
	struct buf again;

	cbor_start(&c, in);
	item = cbor_skip(&c);
	check(c.bad ? item.p == NULL && item.n == 0 : item.p == in.p && item.n == c.at && c.at <= in.n);
	if (c.bad) {
		check(cbor_done(&c) == ERR_SYNTAX && cbor_peek(&c) == CBOR_NONE && cbor_read_uint(&c) == 0);
		return;
	}
	cbor_start(&c, item);
	buf_init(&again, item.n);
	copy_item(&c, &again);
	check(cbor_done(&c) == ERR_OK && buf_ok(&again) == ERR_OK && span_eq(span_buf(&again), item));
	buf_clear(&again);
}

/* Reads a map as a schema does: keys in order, values skipped. */
static void check_map(struct span in, bool labels)
{
	struct span key, last = { NULL, 0 };
	int64_t label;
	struct cbor_map m;
	struct cbor c;

	cbor_start(&c, in);
	m = cbor_read_map(&c, 1000);
	check(m.left <= in.n / 2);
	while (labels ? cbor_read_label(&c, &m, &label) : cbor_read_key(&c, &m, &key)) {
		check(!c.bad && m.last.n > 0 && !span_eq(m.last, last));
		last = m.last;
		(void)cbor_skip(&c);
	}
	check(c.bad || m.left == 0);
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

static void check_cose(struct span in)
{
	struct cose_sign1 m;

	if (cose_sign1_parse(in, &m) != ERR_OK)
		return;
	check(inside(m.protected_header, in) && inside(m.kid, m.protected_header));
	check(inside(m.payload, in) && inside(m.signature, in));
	check(m.kid.n > 0 && m.kid.n <= COSE_KID_MAX && m.signature.n == 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	check_skip(in);
	check_map(in, false);
	check_map(in, true);
	check_cose(in);
	return 0;
}
