/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements and key rings over any bytes, in the form with secrets and in the one without. Beyond memory errors it
 * checks that there is one encoding of everything: what is accepted is written again as the same bytes.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attest/keyring_parts.h"
#include "attest/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span part, struct span whole)
{
	return part.p >= whole.p && part.n <= whole.n && (size_t)(part.p - whole.p) <= whole.n - part.n;
}

/* `b` holds what was made of the input; clears it. */
static void check_written(struct buf *b, struct span in)
{
	check(buf_ok(b) == ERR_OK && span_eq(span_buf(b), in));
	buf_clear(b);
}

static void check_key(const struct keyring_key *k)
{
	char id[KEYRING_ID_MAX + 1];

	keyring_id(k->public_key, id);
	check(strcmp(id, k->id) == 0 && keyring_times_valid(&k->times));
	check(k->n_contexts <= KEYRING_CONTEXTS_MAX && (k->n_contexts == 0 || k->profile == KEYRING_WITNESS));
	for (size_t i = 0; i < k->n_contexts; i++)
		check(keyring_context_valid(span_str(k->context[i])));
}

static void fuzz_public(struct span in)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct buf b;
	size_t n;
	enum err e = keyring_read_public(in, key, &n);

	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_RANGE);
	if (e != ERR_OK)
		return;
	check(n <= KEYRING_KEYS_MAX);
	for (size_t i = 0; i < n; i++)
		check_key(&key[i]);
	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write_keys(key, n, &b);
	check_written(&b, in);
}

/* Guarded memory is dear: one ring for all inputs. */
static void fuzz_ring(struct span in)
{
	static struct keyring *r;
	struct buf b;
	enum err e;

	if (r == NULL)
		r = keyring_new();
	e = keyring_read(r, in);
	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_RANGE || e == ERR_EXISTS);
	check(e == ERR_OK || keyring_count(r) == 0);
	if (e != ERR_OK)
		return;
	for (size_t i = 0; i < keyring_count(r); i++)
		check_key(keyring_at(r, i));
	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write(r, &b);
	check_written(&b, in);
	/* Without its secrets it is accepted, too. */
	buf_init(&b, KEYRING_WRITTEN_MAX);
	keyring_write_public(r, &b);
	fuzz_public(span_buf(&b));
	buf_clear(&b);
	keyring_cut(r, 0);
}

static void fuzz_statement(struct span in)
{
	struct statement s;
	struct buf b;
	enum err e = statement_read(in, &s);

	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_LIMIT || e == ERR_RANGE);
	if (e != ERR_OK)
		return;
	check(inside(s.environment, in) && inside(s.queue, in) && inside(s.release, in));
	check(s.grant.n == 0 || (s.grant.n == STATEMENT_GRANT_SIZE && inside(s.grant, in)));
	check(inside(s.receipt_key_id, in) && inside(s.keys, in));
	fuzz_public(s.keys);
	buf_init(&b, STATEMENT_MAX);
	check(statement_write(&s, &b) == ERR_OK);
	check_written(&b, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	if (sodium_init() < 0)
		abort();
	fuzz_statement(in);
	fuzz_public(in);
	fuzz_ring(in);
	return 0;
}
