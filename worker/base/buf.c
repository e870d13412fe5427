/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/buf.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

struct span span_str(const char *s)
{
	return span_of(s, strlen(s));
}

struct span span_of(const void *p, size_t n)
{
	return (struct span){ .p = p, .n = n };
}

struct span span_buf(const struct buf *b)
{
	return span_of(b->p, b->n);
}

bool span_eq(struct span a, struct span b)
{
	/* memcmp must not see the NULL of an empty span. */
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_eq_str(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool span_eq_nocase(struct span a, struct span b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

const uint8_t *span_find(struct span hay, struct span needle)
{
	if (needle.n == 0)
		return hay.p;
	if (hay.n == 0)
		return NULL;
	return memmem(hay.p, hay.n, needle.p, needle.n);
}

void buf_init(struct buf *b, size_t max)
{
	BUG_ON(max > SIZE_MAX / 4);
	*b = (struct buf){ .max = max };
}

/* Memory that is not ours to free or to move: an arena or an array of the caller's. grow() never
 * gives a buf of its own exactly max bytes, so equality is the mark. */
static bool fixed(const struct buf *b)
{
	return b->p != NULL && b->cap == b->max;
}

void buf_clear(struct buf *b)
{
	if (b == NULL)
		return;
	buf_reset(b);
	if (fixed(b))
		return;
	free(b->p);
	b->p = NULL;
	b->cap = 0;
}

void buf_reset(struct buf *b)
{
	/* All of it: what was written into buf_room() and never counted lies behind n. */
	if (b->p != NULL)
		sodium_memzero(b->p, b->cap);
	b->n = 0;
	b->overflow = false;
}

/* Into fresh memory: realloc() would leave a copy behind that nobody wipes. */
static void grow(struct buf *b, size_t need)
{
	size_t cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap * 2;
	uint8_t *p;

	if (cap < need)
		cap = need;
	if (cap >= b->max)
		cap = b->max + 1;
	p = xmalloc(cap);
	if (b->p != NULL)
		memcpy(p, b->p, b->n);
	xfree_wipe(b->p, b->cap);
	b->p = p;
	b->cap = cap;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
	if (b->overflow || n > b->max - b->n) {
		b->overflow = true;
		return NULL;
	}
	if (b->p == NULL || n > b->cap - b->n)
		grow(b, b->n + n);
	return b->p + b->n;
}

void buf_grew(struct buf *b, size_t n)
{
	BUG_ON(n > b->cap - b->n || n > b->max - b->n);
	b->n += n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	uint8_t *room;

	if (n == 0)
		return;
	room = buf_room(b, n);
	if (room == NULL)
		return;
	memcpy(room, p, n);
	b->n += n;
}

void buf_add_span(struct buf *b, struct span s)
{
	buf_add(b, s.p, s.n);
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add_byte(struct buf *b, uint8_t c)
{
	buf_add(b, &c, 1);
}

void buf_add_uint(struct buf *b, uint64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, v);

	buf_add(b, digits, (size_t)n);
}

void buf_add_int(struct buf *b, int64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRId64, v);

	buf_add(b, digits, (size_t)n);
}

void buf_drop(struct buf *b, size_t n)
{
	BUG_ON(n > b->n);
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->n - n);
	sodium_memzero(b->p + (b->n - n), n);
	b->n -= n;
}

enum err buf_ok(const struct buf *b)
{
	return b->overflow ? ERR_LIMIT : ERR_OK;
}

const char *buf_cstr(struct buf *b)
{
	if (b->overflow)
		return NULL;
	/* The NUL does not count against the ceiling, but a fixed buf may lack the byte. */
	if (b->p == NULL || b->n == b->cap) {
		if (fixed(b)) {
			b->overflow = true;
			return NULL;
		}
		grow(b, b->n + 1);
	}
	b->p[b->n] = '\0';
	return (const char *)b->p;
}

static void *must_have(void *p)
{
	if (p == NULL) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xmalloc(size_t n)
{
	return must_have(malloc(n > 0 ? n : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return must_have(calloc(n > 0 ? n : 1, size > 0 ? size : 1));
}

char *xstrdup(const char *s)
{
	return xstrndup(span_str(s));
}

char *xstrndup(struct span s)
{
	char *p;

	BUG_ON(s.n == SIZE_MAX);
	p = xmalloc(s.n + 1);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

void xfree_wipe(void *p, size_t n)
{
	if (p == NULL)
		return;
	sodium_memzero(p, n);
	free(p);
}
