/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness scanner over any bytes. Beyond memory errors it checks that views lie inside of the
 * arena and are well-formed UTF-8, that a refusal leaves the output alone, and that whatever it
 * accepts is JSON for jansson too.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "queue/witness.h"
#include "worker/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_view(struct span s, const struct buf *b)
{
	size_t points;

	check(s.p != NULL || s.n == 0);
	if (s.p == NULL)
		return;
	check(s.p >= b->p && s.n <= b->n && (size_t)(s.p - b->p) <= b->n - s.n);
	check(text_utf8_length(s, &points) == ERR_OK);
}

static void check_witness(const struct witness *w, const struct buf *b)
{
	struct span first, last;

	check_view(w->nullifier, b);
	check_view(w->action_domain, b);
	check_view(w->name, b);
	check_view(w->email, b);
	check_view(w->street, b);
	check_view(w->city, b);
	check_view(w->state, b);
	check_view(w->zip, b);
	check_view(w->phone, b);
	witness_split_name(w->name, &first, &last);
	check_view(first, b);
	check_view(last, b);
	check(first.p != NULL || last.p == NULL);
	check(witness_bound(w, w->nullifier, w->action_domain) == ERR_OK || w->nullifier.p == NULL ||
	      w->action_domain.p == NULL);
}

/* jansson cannot hold numbers beyond its own types, nor names with a NUL in them, which are JSON nevertheless. */
static bool jansson_limit(const json_error_t *error)
{
	return json_error_code(error) == json_error_numeric_overflow ||
	       json_error_code(error) == json_error_null_byte_in_key;
}

static void check_json(const uint8_t *data, size_t size)
{
	json_error_t error;
	json_t *o = json_loadb((const char *)data, size, JSON_ALLOW_NUL, &error);

	check(o != NULL || jansson_limit(&error));
	check(o == NULL || json_is_object(o));
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct witness w = { .zip = { data, 1 } };
	struct buf b;
	enum err e;

	buf_init(&b, size + 1);
	buf_add(&b, data, size);
	e = witness_read(&b, &w);
	check(e == ERR_OK || e == ERR_WITNESS_SYNTAX || e == ERR_WITNESS_ADDRESS);
	check(e == ERR_OK || (w.zip.p == data && w.zip.n == 1));
	if (e == ERR_OK)
		check_witness(&w, &b);
	if (e != ERR_WITNESS_SYNTAX)
		check_json(data, size);
	buf_clear(&b);
	return 0;
}
