/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/hypervisor_cbor.h"

/* Initial bytes (RFC 8949 section 3.2) that the base reader refuses. */
enum { INDEFINITE_ARRAY = 0x9f, INDEFINITE_MAP = 0xbf, BREAK = 0xff };

static bool next_is(const struct cbor *c, uint8_t byte)
{
	return !c->bad && c->at < c->in.n && c->in.p[c->at] == byte;
}

static bool take(struct cbor *c, uint8_t byte)
{
	if (!next_is(c, byte))
		return false;
	c->at++;
	return true;
}

bool hypervisor_is_map(const struct cbor *c)
{
	return cbor_peek(c) == CBOR_MAP || next_is(c, INDEFINITE_MAP);
}

bool hypervisor_is_array(const struct cbor *c)
{
	return cbor_peek(c) == CBOR_ARRAY || next_is(c, INDEFINITE_ARRAY);
}

struct hypervisor_items hypervisor_read_map(struct cbor *c)
{
	if (take(c, INDEFINITE_MAP))
		return (struct hypervisor_items){ .indefinite = true };
	return (struct hypervisor_items){ .left = cbor_read_map(c, SIZE_MAX).left };
}

struct hypervisor_items hypervisor_read_array(struct cbor *c)
{
	if (take(c, INDEFINITE_ARRAY))
		return (struct hypervisor_items){ .indefinite = true };
	return (struct hypervisor_items){ .left = cbor_read_array(c, SIZE_MAX) };
}

bool hypervisor_next(struct cbor *c, struct hypervisor_items *k)
{
	if (c->bad)
		return false;
	if (k->indefinite)
		return !take(c, BREAK);
	if (k->left == 0)
		return false;
	k->left--;
	return true;
}

/* `depth` is the number of arrays, maps and tags around the item; it bounds the recursion. */
static void skip_item(struct cbor *c, unsigned depth)
{
	const bool map = hypervisor_is_map(c), array = hypervisor_is_array(c), tag = cbor_peek(c) == CBOR_TAG;
	struct hypervisor_items k;

	if (!map && !array && !tag) {
		(void)cbor_skip(c);
		return;
	}
	if (depth == HYPERVISOR_DEPTH_MAX) {
		cbor_fail(c);
		return;
	}
	if (tag) {
		(void)cbor_read_tag(c);
		skip_item(c, depth + 1);
		return;
	}
	k = map ? hypervisor_read_map(c) : hypervisor_read_array(c);
	while (hypervisor_next(c, &k)) {
		if (map)
			skip_item(c, depth + 1);
		skip_item(c, depth + 1);
	}
}

void hypervisor_skip(struct cbor *c)
{
	skip_item(c, 0);
}
