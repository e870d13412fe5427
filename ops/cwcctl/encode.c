/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/encode.h"

#include "worker/base/cbor.h"

struct pair {
	struct span key;
	const json_t *value;
};

/* Bytewise order of the encoded keys: the head holds the length, so a shorter one comes first. */
static int by_key(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	if (x->key.n != y->key.n)
		return x->key.n < y->key.n ? -1 : 1;
	return x->key.n == 0 ? 0 : memcmp(x->key.p, y->key.p, x->key.n);
}

static enum err encode(const json_t *v, unsigned depth, struct buf *out);

static enum err encode_object(const json_t *v, unsigned depth, struct buf *out)
{
	size_t n = json_object_size(v), i = 0;
	struct pair *pair = xcalloc(n + 1, sizeof(*pair));
	enum err e = ERR_OK;
	/* The iterators of jansson do not change the object, but take it as if they did. */
	json_t *o = (json_t *)(uintptr_t)v;
	for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it))
		pair[i++] = (struct pair){ span_of(json_object_iter_key(it), json_object_iter_key_len(it)),
					   json_object_iter_value(it) };
	qsort(pair, n, sizeof(*pair), by_key);
	cbor_add_map(out, n);
	for (i = 0; i < n && e == ERR_OK; i++) {
		cbor_add_text(out, pair[i].key);
		e = encode(pair[i].value, depth + 1, out);
	}
	free(pair);
	return e;
}

static enum err encode(const json_t *v, unsigned depth, struct buf *out)
{
	if (depth > ENCODE_DEPTH_MAX)
		return ERR_RANGE;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return encode_object(v, depth, out);
	case JSON_ARRAY:
		cbor_add_array(out, json_array_size(v));
		for (size_t i = 0; i < json_array_size(v); i++)
			TRY(encode(json_array_get(v, i), depth + 1, out));
		return ERR_OK;
	case JSON_STRING:
		cbor_add_text(out, span_of(json_string_value(v), json_string_length(v)));
		return ERR_OK;
	case JSON_INTEGER:
		cbor_add_int(out, json_integer_value(v));
		return ERR_OK;
	case JSON_TRUE:
	case JSON_FALSE:
		cbor_add_bool(out, json_is_true(v));
		return ERR_OK;
	case JSON_NULL:
		cbor_add_null(out);
		return ERR_OK;
	case JSON_REAL:
		break;
	}
	return ERR_RANGE;
}

enum err encode_cbor(const json_t *v, struct buf *out)
{
	TRY(encode(v, 0, out));
	return buf_ok(out);
}

static int append(const char *p, size_t n, void *arg)
{
	buf_add(arg, p, n);
	return 0;
}

enum err encode_json(const json_t *v, struct buf *out)
{
	if (json_dump_callback(v, append, out, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		return ERR_RANGE;
	return buf_ok(out);
}
