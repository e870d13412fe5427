/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/cbor.h"

#include <string.h>

/* libcbor has an enum of the same tag, which is not needed here. */
#define cbor_type libcbor_type
#include <cbor/encoding.h>
#undef cbor_type

#include "worker/base/text.h"

#define KEY_MAX   64
#define DEPTH_MAX 8

/* Major types, RFC 8949 section 3.1. */
enum { MAJOR_UINT, MAJOR_NINT, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };

/* Simple values, RFC 8949 section 3.3. */
enum { SIMPLE_FALSE = 20, SIMPLE_TRUE = 21, SIMPLE_NULL = 22 };

struct head {
	unsigned major;
	uint64_t arg;
};

void cbor_start(struct cbor *c, struct span in)
{
	*c = (struct cbor){ .in = in };
}

void cbor_fail(struct cbor *c)
{
	c->bad = true;
}

enum err cbor_done(const struct cbor *c)
{
	return !c->bad && c->at == c->in.n ? ERR_OK : ERR_SYNTAX;
}

static size_t bytes_left(const struct cbor *c)
{
	return c->in.n - c->at;
}

enum cbor_type cbor_peek(const struct cbor *c)
{
	static const enum cbor_type of_major[] = { CBOR_UINT,  CBOR_NINT, CBOR_BYTES, CBOR_TEXT,
						   CBOR_ARRAY, CBOR_MAP,  CBOR_TAG };
	unsigned major, info;

	if (c->bad || bytes_left(c) == 0)
		return CBOR_NONE;
	major = c->in.p[c->at] >> 5;
	info = c->in.p[c->at] & 31;
	if (major < MAJOR_SIMPLE)
		return info < 28 ? of_major[major] : CBOR_NONE;
	if (info == SIMPLE_FALSE || info == SIMPLE_TRUE)
		return CBOR_BOOL;
	return info == SIMPLE_NULL ? CBOR_NULL : CBOR_NONE;
}

/* One head in its shortest form (RFC 8949 section 4.2.1); moves behind it. Additional information
 * 28 to 30 is reserved and 31 is an indefinite length or a break: both are refused, and so is every
 * simple value but false, true and null, which leaves no floating point number. */
static bool read_head(struct cbor *c, struct head *ret_head)
{
	static const uint64_t least[] = { 24, 0x100, 0x10000, 0x100000000 };
	const uint8_t *p = c->in.p + c->at;
	unsigned info;
	size_t n;
	uint64_t arg = 0;

	if (cbor_peek(c) == CBOR_NONE)
		return false;
	info = p[0] & 31;
	if (info < 24) {
		*ret_head = (struct head){ p[0] >> 5, info };
		c->at++;
		return true;
	}
	n = (size_t)1 << (info - 24);
	if (bytes_left(c) <= n)
		return false;
	for (size_t i = 1; i <= n; i++)
		arg = arg << 8 | p[i];
	if (arg < least[info - 24])
		return false;
	*ret_head = (struct head){ p[0] >> 5, arg };
	c->at += 1 + n;
	return true;
}

/* The argument of a head that must be of this major type; 0 and an error otherwise. */
static uint64_t read_major(struct cbor *c, unsigned major)
{
	struct head h;

	if (!read_head(c, &h) || h.major != major) {
		cbor_fail(c);
		return 0;
	}
	return h.arg;
}

uint64_t cbor_read_uint(struct cbor *c)
{
	return read_major(c, MAJOR_UINT);
}

uint64_t cbor_read_tag(struct cbor *c)
{
	return read_major(c, MAJOR_TAG);
}

int64_t cbor_read_int(struct cbor *c)
{
	struct head h;

	if (!read_head(c, &h) || h.major > MAJOR_NINT || h.arg > INT64_MAX) {
		cbor_fail(c);
		return 0;
	}
	return h.major == MAJOR_UINT ? (int64_t)h.arg : -1 - (int64_t)h.arg;
}

bool cbor_read_bool(struct cbor *c)
{
	if (cbor_peek(c) != CBOR_BOOL)
		cbor_fail(c);
	return read_major(c, MAJOR_SIMPLE) == SIMPLE_TRUE;
}

void cbor_read_null(struct cbor *c)
{
	if (cbor_peek(c) != CBOR_NULL)
		cbor_fail(c);
	(void)read_major(c, MAJOR_SIMPLE);
}

/* Counts and lengths of strings: never more than what the input can still hold, at least `each`
 * bytes apiece, so that no loop and no pointer runs on a length that somebody made up. */
static size_t bounded(struct cbor *c, uint64_t n, size_t each, size_t max)
{
	if (c->bad || n > max || n > bytes_left(c) / each) {
		cbor_fail(c);
		return 0;
	}
	return (size_t)n;
}

static struct span take(struct cbor *c, uint64_t n, size_t max)
{
	size_t len = bounded(c, n, 1, max);
	struct span s;

	if (c->bad)
		return span_of(NULL, 0);
	s = span_of(c->in.p + c->at, len);
	c->at += len;
	return s;
}

static struct span take_text(struct cbor *c, uint64_t n, size_t max)
{
	struct span s = take(c, n, max);
	size_t unused;

	if (text_utf8_length(s, &unused) == ERR_OK)
		return s;
	cbor_fail(c);
	return span_of(NULL, 0);
}

struct span cbor_read_bytes(struct cbor *c, size_t max)
{
	return take(c, read_major(c, MAJOR_BYTES), max);
}

struct span cbor_read_text(struct cbor *c, size_t max)
{
	return take_text(c, read_major(c, MAJOR_TEXT), max);
}

size_t cbor_read_array(struct cbor *c, size_t max)
{
	return bounded(c, read_major(c, MAJOR_ARRAY), 1, max);
}

struct cbor_map cbor_read_map(struct cbor *c, size_t max)
{
	return (struct cbor_map){ .left = bounded(c, read_major(c, MAJOR_MAP), 2, max) };
}

/* Takes the encoded key that began at `start` into account: RFC 8949 section 4.2.1 sorts keys by
 * their encoded bytes, and equal ones are the same key twice. Encoded items are never prefixes of
 * each other, so the shorter length decides nothing. */
static bool key_in_order(struct cbor *c, struct cbor_map *m, size_t start)
{
	struct span key;
	size_t n;

	if (c->bad)
		return false;
	key = span_of(c->in.p + start, c->at - start);
	n = key.n < m->last.n ? key.n : m->last.n;
	if (n > 0 && memcmp(m->last.p, key.p, n) >= 0) {
		cbor_fail(c);
		return false;
	}
	m->last = key;
	m->left--;
	return true;
}

bool cbor_read_key(struct cbor *c, struct cbor_map *m, struct span *ret_key)
{
	size_t start = c->at;
	struct span key;

	*ret_key = span_of(NULL, 0);
	if (c->bad || m->left == 0)
		return false;
	key = cbor_read_text(c, KEY_MAX);
	if (!key_in_order(c, m, start))
		return false;
	*ret_key = key;
	return true;
}

bool cbor_read_label(struct cbor *c, struct cbor_map *m, int64_t *ret_label)
{
	size_t start = c->at;
	int64_t label;

	*ret_label = 0;
	if (c->bad || m->left == 0)
		return false;
	label = cbor_read_int(c);
	if (!key_in_order(c, m, start))
		return false;
	*ret_label = label;
	return true;
}

static void skip_item(struct cbor *c, unsigned depth);

static void skip_array(struct cbor *c, uint64_t count, unsigned depth)
{
	size_t n = bounded(c, count, 1, SIZE_MAX);

	for (size_t i = 0; i < n && !c->bad; i++)
		skip_item(c, depth);
}

static void skip_map(struct cbor *c, uint64_t count, unsigned depth)
{
	struct cbor_map m = { .left = bounded(c, count, 2, SIZE_MAX) };

	while (m.left > 0) {
		size_t start = c->at;

		skip_item(c, depth);
		if (!key_in_order(c, &m, start))
			return;
		skip_item(c, depth);
	}
}

/* depth is the number of arrays, maps and tags around the item; it bounds the recursion. */
static void skip_item(struct cbor *c, unsigned depth)
{
	struct head h;

	if (!read_head(c, &h) || (h.major >= MAJOR_ARRAY && h.major <= MAJOR_TAG && depth >= DEPTH_MAX)) {
		cbor_fail(c);
		return;
	}
	switch (h.major) {
	case MAJOR_BYTES:
		(void)take(c, h.arg, SIZE_MAX);
		return;
	case MAJOR_TEXT:
		(void)take_text(c, h.arg, SIZE_MAX);
		return;
	case MAJOR_ARRAY:
		skip_array(c, h.arg, depth + 1);
		return;
	case MAJOR_MAP:
		skip_map(c, h.arg, depth + 1);
		return;
	case MAJOR_TAG:
		skip_item(c, depth + 1);
		return;
	default: /* integers and simple values are their heads */
		return;
	}
}

struct span cbor_skip(struct cbor *c)
{
	size_t start = c->at;

	skip_item(c, 0);
	return c->bad ? span_of(NULL, 0) : span_of(c->in.p + start, c->at - start);
}

/* Heads take at most 9 bytes. They are made here and not in the buf, which may have room for the
 * head that is needed but not for the longest. */
#define HEAD_MAX 9

void cbor_add_uint(struct buf *b, uint64_t v)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_uint(v, head, sizeof(head)));
}

void cbor_add_int(struct buf *b, int64_t v)
{
	uint8_t head[HEAD_MAX];

	if (v >= 0)
		cbor_add_uint(b, (uint64_t)v);
	else
		buf_add(b, head, cbor_encode_negint((uint64_t)(-1 - v), head, sizeof(head)));
}

void cbor_add_bytes(struct buf *b, struct span s)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_bytestring_start(s.n, head, sizeof(head)));
	buf_add_span(b, s);
}

void cbor_add_text(struct buf *b, struct span s)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_string_start(s.n, head, sizeof(head)));
	buf_add_span(b, s);
}

void cbor_add_str(struct buf *b, const char *s)
{
	cbor_add_text(b, span_str(s));
}

void cbor_add_array(struct buf *b, size_t n)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_array_start(n, head, sizeof(head)));
}

void cbor_add_map(struct buf *b, size_t n)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_map_start(n, head, sizeof(head)));
}

void cbor_add_tag(struct buf *b, uint64_t tag)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_tag(tag, head, sizeof(head)));
}

void cbor_add_bool(struct buf *b, bool v)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_bool(v, head, sizeof(head)));
}

void cbor_add_null(struct buf *b)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_null(head, sizeof(head)));
}
