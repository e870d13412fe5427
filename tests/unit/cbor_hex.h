/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR inputs from hex, for tests of the reader. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_CBOR_HEX_H
#define TESTS_UNIT_CBOR_HEX_H

#include <string.h>

#include "worker/base/cbor.h"
#include "worker/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HEX_WORD 80

/* In memory of exactly that size, so that a sanitizer sees every read behind it. */
struct bytes {
	uint8_t *p;
	size_t n;
	struct cbor c;
};

static inline struct bytes open_hex(const char *hex)
{
	struct bytes b = { .n = strlen(hex) / 2 };

	b.p = xmalloc(b.n);
	assert_int_equal(text_unhex(span_str(hex), b.p, b.n), ERR_OK);
	cbor_start(&b.c, span_of(b.p, b.n));
	return b;
}

/* Checks that the reader ended in this way, and frees. */
static inline void close_hex(struct bytes *b, enum err expect)
{
	assert_int_equal(cbor_done(&b->c), expect);
	xfree_wipe(b->p, b->n);
}

/* Reads an item by cbor_skip(): whether it is the whole input. */
static inline enum err skip_all(const char *hex)
{
	struct bytes in = open_hex(hex);
	struct span all = in.c.in, got = cbor_skip(&in.c);
	enum err e = cbor_done(&in.c);

	if (e == ERR_OK)
		assert_true(got.p == all.p && got.n == all.n);
	close_hex(&in, e);
	return e;
}

/* The next word of a list that spaces separate; false at its end. */
static inline bool next_word(const char **at, char word[HEX_WORD])
{
	size_t n = strcspn(*at, " ");

	assert_true(n < HEX_WORD);
	memcpy(word, *at, n);
	word[n] = '\0';
	*at += n + ((*at)[n] == ' ');
	return n > 0;
}

#endif
