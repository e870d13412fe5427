/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: `struct span` is a view that owns nothing, `struct buf` owns and grows.
 *
 * Every buf has a ceiling. Appending past it (or past what a fixed buf holds) sets `overflow` and
 * appends nothing more, so that a renderer appends freely and checks once at the end. Growing
 * copies into fresh memory and wipes the old; buf_clear() always wipes. A pointer into a buf is
 * valid until the next append or clear.
 *
 * A buf whose cap equals its max from the start holds memory that is not its own (an array of the
 * caller's, a secret_arena()): it is never moved, and clearing wipes it but does not free.
 *
 * Allocation failure aborts (xmalloc): the worker's memory is bounded by its configuration, and a
 * process that cannot get it is restarted and its jobs are recovered by the queue.
 */
#ifndef WORKER_BASE_BUF_H
#define WORKER_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/base/err.h"

struct span {
	const uint8_t *p;
	size_t n;
};

struct buf {
	uint8_t *p;
	size_t n;      /* bytes in use */
	size_t cap;    /* bytes allocated */
	size_t max;    /* ceiling of n */
	bool overflow; /* an append did not fit; sticky until buf_reset or buf_clear */
};

/* Views. span_str takes a C string without its NUL. span_lit takes a string literal. */
struct span span_str(const char *s);
struct span span_of(const void *p, size_t n);
struct span span_buf(const struct buf *b);
#define span_lit(s) span_of("" s, sizeof(s) - 1)

/* Equal bytes; not constant time, never for secrets. */
bool span_eq(struct span a, struct span b);
bool span_eq_str(struct span a, const char *s);
/* Equal but for ASCII case. */
bool span_eq_nocase(struct span a, struct span b);
/* First occurrence of needle, or NULL. An empty needle is found at the start. */
const uint8_t *span_find(struct span hay, struct span needle);

/* An empty buf that will hold at most `max` bytes. */
void buf_init(struct buf *b, size_t max);
/* Wipes and frees. The buf is empty and usable again with the same ceiling. NULL is allowed. */
void buf_clear(struct buf *b);
/* Wipes the contents, keeps the memory. */
void buf_reset(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_byte(struct buf *b, uint8_t c);
void buf_add_uint(struct buf *b, uint64_t v);
void buf_add_int(struct buf *b, int64_t v);
/* Room for n bytes at the end, to be filled by the caller and then counted with buf_grew();
 * NULL (and overflow) when they do not fit. */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);
/* Drops the first n bytes. */
void buf_drop(struct buf *b, size_t n);
/* ERR_LIMIT after an overflow. */
ERR_MUST_CHECK enum err buf_ok(const struct buf *b);
/* The contents as a C string: appends a NUL that is not counted. NULL after an overflow, which a
 * full buf of foreign memory has here. */
const char *buf_cstr(struct buf *b);

/* malloc, calloc, strdup that abort on failure. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(struct span s);
/* Wipes n bytes and frees. */
void xfree_wipe(void *p, size_t n);

#endif
