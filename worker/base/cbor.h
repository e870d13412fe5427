/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict, bounded reader for untrusted CBOR (RFC 8949), and an appender.
 *
 * The reader allocates nothing, keeps a position, and accepts deterministic encoding only (section
 * 4.2.1): shortest heads, definite lengths, valid UTF-8, and - through cbor_read_key() - map keys
 * in bytewise order without duplicates. It reads just the types that our formats use: unsigned and
 * negative integers, byte and text strings, arrays, maps, tags, true, false and null. The error is
 * sticky: after the first failure every call fails, outputs are zero, and cbor_done() reports it,
 * so that a schema reads as a straight line and checks once.
 *
 * Views that it returns point into the input.
 */
#ifndef WORKER_BASE_CBOR_H
#define WORKER_BASE_CBOR_H

#include "worker/base/buf.h"

enum cbor_type {
	CBOR_UINT,
	CBOR_NINT,
	CBOR_BYTES,
	CBOR_TEXT,
	CBOR_ARRAY,
	CBOR_MAP,
	CBOR_TAG,
	CBOR_BOOL,
	CBOR_NULL,
	CBOR_NONE /* end of input, or a type that is not read here, or after an error */
};

struct cbor {
	struct span in;
	size_t at;
	bool bad;
};

/* The state of one map's keys: how many pairs are left and the encoded form of the last key. */
struct cbor_map {
	size_t left;
	struct span last;
};

void cbor_start(struct cbor *c, struct span in);
/* The type of the next item, without moving. */
enum cbor_type cbor_peek(const struct cbor *c);
uint64_t cbor_read_uint(struct cbor *c);
/* An integer of either sign; fails outside of int64_t. */
int64_t cbor_read_int(struct cbor *c);
bool cbor_read_bool(struct cbor *c);
void cbor_read_null(struct cbor *c);
struct span cbor_read_bytes(struct cbor *c, size_t max);
struct span cbor_read_text(struct cbor *c, size_t max);
/* The number of elements; fails above max. */
size_t cbor_read_array(struct cbor *c, size_t max);
uint64_t cbor_read_tag(struct cbor *c);
/* Starts a map of at most max pairs. */
struct cbor_map cbor_read_map(struct cbor *c, size_t max);
/* The next key as text; false at the end of the map or on an error. Keys must be texts of at most
 * 64 bytes, in deterministic order, each once. The value follows and must be read by the caller. */
bool cbor_read_key(struct cbor *c, struct cbor_map *m, struct span *ret_key);
/* The same for integer keys (COSE headers). */
bool cbor_read_label(struct cbor *c, struct cbor_map *m, int64_t *ret_label);
/* Skips one item of the types above, nested at most 8 deep, and returns its encoded form. Maps in
 * it may have keys of any type; they must be in order, each once. */
struct span cbor_skip(struct cbor *c);
/* Marks the input as bad (a rule of the caller's was broken). */
void cbor_fail(struct cbor *c);
/* ERR_OK when everything was read, without a byte left; ERR_SYNTAX otherwise. */
ERR_MUST_CHECK enum err cbor_done(const struct cbor *c);

/* Appending, always with shortest heads (by libcbor's encoder). The caller keeps map keys in
 * deterministic order. */
void cbor_add_uint(struct buf *b, uint64_t v);
void cbor_add_int(struct buf *b, int64_t v);
void cbor_add_bytes(struct buf *b, struct span s);
void cbor_add_text(struct buf *b, struct span s);
void cbor_add_str(struct buf *b, const char *s);
void cbor_add_array(struct buf *b, size_t n);
void cbor_add_map(struct buf *b, size_t n);
void cbor_add_tag(struct buf *b, uint64_t tag);
void cbor_add_bool(struct buf *b, bool v);
void cbor_add_null(struct buf *b);

#endif
