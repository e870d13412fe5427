/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/granted.h"

#include <sodium.h>
#include <string.h>

#include "worker/base/text.h"

static bool read_key(const struct ctl *c, uint8_t ret_key[COSE_ED25519_PUBLIC])
{
	return text_unhex(span_str(c->opt[OPT_AUTHORITY_KEY]), ret_key, COSE_ED25519_PUBLIC) == ERR_OK;
}

int granted_options(const struct ctl *c)
{
	uint8_t key[COSE_ED25519_PUBLIC];

	if (!ctl_has(c, OPT_AUTHORITY_KEY) || read_key(c, key))
		return 0;
	return ctl_fail(CTL_USAGE, "--authority-key must be 64 hex digits");
}

/* Between the two questions the worker may have taken a bundle. Its version is the worker's word, and decides nothing
 * but what is said. */
static int another(const struct fresh *f, const json_t *keys, const char *what)
{
	bool newer = json_integer_value(json_object_get(keys, "bundle")) > (json_int_t)f->s.bundle;

	return ctl_fail(CTL_NO, "%s: the signers are not shown: %s%s", f->from, what,
			newer ? "; it has just taken another bundle: try again in some seconds" : "");
}

static bool take_bytes(const json_t *grant, struct buf *out)
{
	const json_t *v = json_object_get(grant, "bytes");

	return json_is_string(v) &&
	       text_unbase64(span_of(json_string_value(v), json_string_length(v)), out) == ERR_OK &&
	       buf_ok(out) == ERR_OK && out->n > 0;
}

static bool is_stated(const struct fresh *f, struct span grant)
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, grant.p, grant.n);
	return span_eq(f->s.grant, span_of(hash, sizeof(hash)));
}

static int verify(const struct ctl *c, const struct fresh *f, struct granted *g)
{
	uint8_t key[COSE_ED25519_PUBLIC];
	struct grant unused;

	if (!ctl_has(c, OPT_AUTHORITY_KEY))
		return 0;
	g->verified = read_key(c, key) && grant_verify(span_buf(&g->bytes), g->g.authority, key, &unused) == ERR_OK;
	return g->verified ? 0
			   : ctl_fail(CTL_NO,
				      "%s: the signers are not shown: the authority of --authority-key has not "
				      "signed the grant",
				      f->from);
}

int granted_read(const struct ctl *c, const struct fresh *f, const json_t *keys, struct granted *ret_g)
{
	const json_t *grant = json_object_get(keys, "grant");
	int code;

	*ret_g = (struct granted){ .known = false };
	buf_init(&ret_g->bytes, GRANT_MAX);
	if (f->s.grant.n == 0) {
		if (grant != NULL && !json_is_null(grant))
			return another(f, keys, "the worker names a grant, and its statement has none");
		ret_g->known = true;
		return 0;
	}
	if (!take_bytes(grant, &ret_g->bytes))
		return another(f, keys, "the worker does not give the grant that its statement has the hash of");
	if (!is_stated(f, span_buf(&ret_g->bytes)))
		return another(f, keys, "the worker gives another grant than its statement has the hash of");
	if (grant_parse(span_buf(&ret_g->bytes), &ret_g->g) != ERR_OK)
		return another(f, keys, "the grant that its statement has the hash of cannot be read");
	code = verify(c, f, ret_g);
	ret_g->known = ret_g->there = code == 0;
	return code;
}

void granted_clear(struct granted *g)
{
	buf_clear(&g->bytes);
}
