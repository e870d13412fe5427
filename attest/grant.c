/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/grant.h"

#include <string.h>

#include "attest/form.h"

#define CONTEXT        "cwc-signers-v1"
#define MEMBERS        5
#define SIGNER_MEMBERS 4

_Static_assert(COSE_KID_MAX == FORM_NAME_MAX, "a key id is a name");

/* --- rules ------------------------------------------------------------------------------------ */

static bool times_good(const struct grant_signer *s)
{
	return s->not_before_s > 0 && s->not_before_s < s->not_after_s;
}

/* Two keys under one id would make it depend on their order which of them signs. */
static bool kid_twice(const struct grant *g)
{
	for (size_t i = 1; i < g->n_signers; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(g->signer[i].kid, g->signer[j].kid) == 0)
				return true;
	return false;
}

static enum err check_rules(const struct grant *g)
{
	for (size_t i = 0; i < g->n_signers; i++)
		if (!times_good(&g->signer[i]))
			return ERR_RANGE;
	return kid_twice(g) || g->serial < 1 || g->serial > GRANT_SERIAL_MAX ? ERR_RANGE : ERR_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_signer(struct cbor *c, struct grant_signer *s)
{
	struct cbor_map m = cbor_read_map(c, SIGNER_MEMBERS);
	struct span key, kid;

	form_key(c, &m, "key");
	key = form_bytes(c, sizeof(s->public_key), sizeof(s->public_key));
	form_key(c, &m, "kid");
	kid = form_name(c);
	form_key(c, &m, "not_after");
	s->not_after_s = (int64_t)form_uint(c, 0, INT64_MAX);
	form_key(c, &m, "not_before");
	s->not_before_s = (int64_t)form_uint(c, 0, INT64_MAX);
	if (c->bad)
		return;
	memcpy(s->public_key, key.p, key.n);
	memcpy(s->kid, kid.p, kid.n);
}

static enum err parse_payload(struct span payload, struct grant *g)
{
	struct cbor_map m;
	struct cbor c;

	cbor_start(&c, payload);
	m = cbor_read_map(&c, MEMBERS);
	form_key(&c, &m, "v");
	(void)form_uint(&c, 1, 1);
	form_key(&c, &m, "queue");
	g->queue = form_name(&c);
	form_key(&c, &m, "serial");
	g->serial = cbor_read_uint(&c);
	form_key(&c, &m, "signers");
	g->n_signers = cbor_read_array(&c, GRANT_SIGNERS_MAX);
	if (g->n_signers == 0)
		cbor_fail(&c);
	for (size_t i = 0; i < g->n_signers && !c.bad; i++)
		read_signer(&c, &g->signer[i]);
	form_key(&c, &m, "environment");
	g->environment = form_environment(&c);
	TRY(cbor_done(&c));
	return check_rules(g);
}

enum err grant_verify(struct span in, struct span authority_kid, const uint8_t authority[COSE_ED25519_PUBLIC],
		      struct grant *ret_g)
{
	struct cose_sign1 msg;
	struct grant g = { 0 };

	if (in.n > GRANT_MAX)
		return ERR_LIMIT;
	if (cose_sign1_parse(in, &msg) != ERR_OK)
		return ERR_SYNTAX;
	/* Nothing is looked at in what the authority did not say. */
	if (!span_eq(msg.kid, authority_kid))
		return ERR_CRYPTO;
	TRY(cose_sign1_verify(&msg, span_lit(CONTEXT), authority));
	TRY(parse_payload(msg.payload, &g));
	g.authority = msg.kid;
	*ret_g = g;
	return ERR_OK;
}

enum err grant_parse(struct span in, struct grant *ret_g)
{
	struct cose_sign1 msg;
	struct grant g = { 0 };

	if (in.n > GRANT_MAX)
		return ERR_LIMIT;
	if (cose_sign1_parse(in, &msg) != ERR_OK)
		return ERR_SYNTAX;
	TRY(parse_payload(msg.payload, &g));
	g.authority = msg.kid;
	*ret_g = g;
	return ERR_OK;
}

/* --- signing ---------------------------------------------------------------------------------- */

static void add_signer(const struct grant_signer *s, struct buf *out)
{
	cbor_add_map(out, SIGNER_MEMBERS);
	cbor_add_str(out, "key");
	cbor_add_bytes(out, span_of(s->public_key, sizeof(s->public_key)));
	cbor_add_str(out, "kid");
	cbor_add_text(out, span_of(s->kid, strnlen(s->kid, sizeof(s->kid))));
	cbor_add_str(out, "not_after");
	cbor_add_int(out, s->not_after_s);
	cbor_add_str(out, "not_before");
	cbor_add_int(out, s->not_before_s);
}

static void add_payload(const struct grant *g, struct buf *out)
{
	cbor_add_map(out, MEMBERS);
	cbor_add_str(out, "v");
	cbor_add_uint(out, 1);
	cbor_add_str(out, "queue");
	cbor_add_text(out, g->queue);
	cbor_add_str(out, "serial");
	cbor_add_uint(out, g->serial);
	cbor_add_str(out, "signers");
	cbor_add_array(out, g->n_signers);
	for (size_t i = 0; i < g->n_signers; i++)
		add_signer(&g->signer[i], out);
	cbor_add_str(out, "environment");
	cbor_add_text(out, g->environment);
}

enum err grant_sign(const struct grant *g, const uint8_t secret[COSE_ED25519_SECRET], struct buf *out)
{
	struct grant unused = { 0 };
	struct buf payload, whole;
	enum err e = ERR_RANGE;

	if (g->n_signers < 1 || g->n_signers > GRANT_SIGNERS_MAX || !form_name_valid(g->authority))
		return ERR_RANGE;
	buf_init(&payload, GRANT_MAX);
	buf_init(&whole, GRANT_MAX);
	add_payload(g, &payload);
	/* What would not be read must not be signed. */
	if (!payload.overflow && parse_payload(span_buf(&payload), &unused) == ERR_OK) {
		cose_sign1_sign(span_lit(CONTEXT), g->authority, span_buf(&payload), secret, &whole);
		e = buf_ok(&whole);
	}
	if (e == ERR_OK) {
		buf_add_span(out, span_buf(&whole));
		e = buf_ok(out);
	}
	buf_clear(&payload);
	buf_clear(&whole);
	return e;
}
