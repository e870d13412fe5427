/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR maps from lists of members, with one member changed: for tests of readers. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_CBOR_MEMBERS_H
#define TESTS_UNIT_CBOR_MEMBERS_H

#include <string.h>

#include "worker/base/cbor.h"
#include "worker/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* `hex` is the encoded value; in a change, NULL leaves the member out, and an unknown name is put in its place. */
struct member {
	const char *name, *hex;
};

static inline void add_hex(struct buf *b, const char *hex)
{
	size_t n = strlen(hex) / 2;
	uint8_t *room = buf_room(b, n);

	assert_non_null(room);
	assert_int_equal(text_unhex(span_str(hex), room, n), ERR_OK);
	buf_grew(b, n);
}

static inline bool sorts_before(const char *a, const char *b)
{
	return strlen(a) < strlen(b) || (strlen(a) == strlen(b) && strcmp(a, b) < 0);
}

static inline void add_member(struct buf *b, const struct member *m)
{
	cbor_add_str(b, m->name);
	add_hex(b, m->hex);
}

/* Appends the map of n members; `change` may be NULL. */
static inline void add_changed(struct buf *b, const struct member *base, size_t n, const struct member *change)
{
	size_t at = 0, count = n;
	bool known;

	while (change != NULL && at < n && sorts_before(base[at].name, change->name))
		at++;
	known = change != NULL && at < n && strcmp(base[at].name, change->name) == 0;
	if (change != NULL && known && change->hex == NULL)
		count--;
	if (change != NULL && !known)
		count++;
	cbor_add_map(b, count);
	for (size_t i = 0; i <= n; i++) {
		if (change != NULL && i == at && change->hex != NULL)
			add_member(b, change);
		if (i < n && !(known && i == at))
			add_member(b, &base[i]);
	}
}

#endif
