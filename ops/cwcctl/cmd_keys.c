/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that workers published. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/seal.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define PUBLISHED_MAX 16
#define N(a)          (sizeof(a) / sizeof((a)[0]))

/* --- keys ------------------------------------------------------------------------------------- */

static json_t *key_json(const struct keyring_key *k)
{
	json_t *o = json_object(), *contexts = json_array();
	for (size_t i = 0; i < k->n_contexts; i++)
		json_array_append_new(contexts, out_string(span_str(k->context[i])));
	json_object_set_new(o, "kid", json_string(k->id));
	json_object_set_new(o, "profile", json_string(keyring_profile_name(k->profile)));
	json_object_set_new(o, "public_key", out_hex(span_of(k->public_key, sizeof(k->public_key))));
	json_object_set_new(o, "contexts", contexts);
	return o;
}

/* The text of `keys` becomes an array; null when a line is not what a worker writes. */
static void parse_keys(json_t *entry)
{
	struct ring ring;
	unsigned line;
	const char *rule;
	const json_t *text = json_object_get(entry, "keys");
	json_t *keys = json_null();
	if (json_is_string(text) &&
	    ring_parse(span_of(json_string_value(text), json_string_length(text)), &ring, &line, &rule) == ERR_OK) {
		keys = json_array();
		for (size_t i = 0; i < ring.n; i++)
			json_array_append_new(keys, key_json(&ring.key[i]));
	}
	json_object_set_new(entry, "keys", keys);
}

static void add_row(json_t *rows, const json_t *entry, const char *kind, json_t *kid, json_t *key)
{
	json_t *row = json_object();
	json_object_set(row, "written", json_object_get(entry, "written"));
	json_object_set(row, "worker", json_object_get(entry, "worker"));
	json_object_set(row, "environment", json_object_get(entry, "environment"));
	json_object_set_new(row, "kind", json_string(kind));
	json_object_set(row, "kid", kid);
	json_object_set(row, "key", key);
	json_array_append_new(rows, row);
}

/* A row for each key of the entries. */
static json_t *key_rows(const json_t *entries)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *entry = json_array_get(entries, i);
		add_row(rows, entry, "receipts", json_object_get(entry, "receipt_key_id"),
			json_object_get(entry, "receipt_key"));
		const json_t *keys = json_object_get(entry, "keys");
		for (size_t k = 0; k < json_array_size(keys); k++) {
			const json_t *key = json_array_get(keys, k);
			add_row(rows, entry, json_string_value(json_object_get(key, "profile")),
				json_object_get(key, "kid"), json_object_get(key, "public_key"));
		}
	}
	return rows;
}

/* Page by page: all that was ever published may be larger than the memory. */
static int print_keys(struct ctl *c, uint64_t count)
{
	static const struct out_column col[] = {
		{ "written", "PUBLISHED" }, { "worker", "WORKER" }, { "environment", "ENVIRONMENT" },
		{ "kind", "FOR" },          { "kid", "KEY ID" },    { "key", "PUBLIC KEY" },
	};
	struct reply_pages in;
	struct out_pages out;

	if (!reply_pages_begin(c, "attestations", count, &in))
		return c->session->code;
	out_pages_begin(c, col, N(col), &out);
	while (!in.over) {
		json_t *entries = reply_page(&in);
		if (entries == NULL)
			return c->session->code;
		for (size_t i = 0; i < json_array_size(entries); i++)
			parse_keys(json_array_get(entries, i));
		out_page(&out, c->json ? json_incref(entries) : key_rows(entries));
		json_decref(entries);
	}
	out_pages_end(&out, "no worker has published keys yet");
	return CTL_OK;
}

/* Written anew: what else stands between the lines of the entry, nobody has checked. */
static void print_ring(const struct ring *ring)
{
	for (size_t i = 0; i < ring->n; i++) {
		const struct keyring_key *k = &ring->key[i];
		char hex[2 * sizeof(k->public_key) + 1];
		text_hex(span_of(k->public_key, sizeof(k->public_key)), hex);
		printf("%s %s %s", keyring_profile_name(k->profile), k->id, hex);
		for (size_t j = 0; j < k->n_contexts; j++)
			printf(" %s", k->context[j]);
		puts("");
	}
}

static int print_lines(struct ctl *c)
{
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("XREVRANGE"), session_key(c, "attestations"), span_lit("+"),
					     span_lit("-"), span_lit("COUNT"), span_lit("1")));
	if (r == NULL)
		return c->session->code;
	struct span keys = reply_field(resp_at(resp_at(r, 0), 1), "keys");
	struct ring ring;
	unsigned line;
	const char *rule;
	int code = CTL_OK;
	if (keys.n == 0)
		code = ctl_fail(CTL_NO, "no worker has published keys yet");
	else if (ring_parse(keys, &ring, &line, &rule) != ERR_OK)
		code = ctl_fail(CTL_NO, "attestations: line %u: %s", line, rule);
	else
		print_ring(&ring);
	reply_free(r);
	return code;
}

int cmd_keys(struct ctl *c)
{
	uint64_t count;
	int code = args_count(c, OPT_COUNT, PUBLISHED_MAX, &count);
	if (code == 0 && ctl_has(c, OPT_LINES) && c->json)
		code = ctl_fail(CTL_USAGE, "--lines is not JSON: either --lines or --json");
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	return ctl_has(c, OPT_LINES) ? print_lines(c) : print_keys(c, count);
}
