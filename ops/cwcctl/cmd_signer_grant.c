/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: which app servers may sign jobs, said by the authority whose key is measured into the image. */
#include <stdio.h>
#include <string.h>

#include "attest/grant.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/newfile.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/seal.h"
#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define FILE_MAX 65536

/* --- the file of signers ---------------------------------------------------------------------- */

static struct span cut(struct span *rest, const char *end)
{
	size_t n = 0, skip;
	struct span part;

	while (n < rest->n && (rest->p[n] == '\0' || strchr(end, rest->p[n]) == NULL))
		n++;
	part = span_of(rest->p, n);
	skip = n < rest->n ? n + 1 : n;
	*rest = span_of(rest->p + skip, rest->n - skip);
	return part;
}

static struct span word(struct span *line)
{
	struct span w;

	do
		w = cut(line, " \t\r");
	while (w.n == 0 && line->n > 0);
	return w;
}

static bool kid_good(struct span kid)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = 0;

	while (n < kid.n && kid.p[n] != '\0' && strchr(set, kid.p[n]) != NULL)
		n++;
	return n == kid.n && n >= 1 && n <= COSE_KID_MAX;
}

/* The broken rule, or NULL. */
static const char *read_signer(struct span line, struct grant_signer *s)
{
	struct span kid = word(&line), hex = word(&line), from = word(&line), until = word(&line);

	*s = (struct grant_signer){ .not_before_s = 0 };
	if (word(&line).n > 0 || until.n == 0)
		return "must be KID HEX NOT-BEFORE NOT-AFTER";
	if (!kid_good(kid))
		return "KID must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
	if (text_unhex(hex, s->public_key, sizeof(s->public_key)) != ERR_OK)
		return "HEX must be 64 hex digits, the public key";
	if (text_parse_time(from, &s->not_before_s) != ERR_OK || s->not_before_s <= 0)
		return "NOT-BEFORE must be a time of RFC 3339, such as 2026-03-02T00:00:00Z";
	if (text_parse_time(until, &s->not_after_s) != ERR_OK || s->not_after_s <= 0)
		return "NOT-AFTER must be a time of RFC 3339, such as 2026-09-02T00:00:00Z";
	if (s->not_before_s >= s->not_after_s)
		return "NOT-AFTER must be later than NOT-BEFORE";
	memcpy(s->kid, kid.p, kid.n);
	return NULL;
}

static const char *add_signer(struct span line, struct grant *g)
{
	struct grant_signer *s = &g->signer[g->n_signers];
	const char *rule;

	if (g->n_signers == GRANT_SIGNERS_MAX)
		return "more than 8 signers";
	rule = read_signer(line, s);
	for (size_t i = 0; rule == NULL && i < g->n_signers; i++)
		if (strcmp(g->signer[i].kid, s->kid) == 0)
			rule = "a KID stands there twice";
	if (rule == NULL)
		g->n_signers++;
	return rule;
}

static int read_signers(const char *file, struct grant *g)
{
	const char *rule = NULL, *name = attest_file_name(file);
	unsigned number = 0;
	struct buf b;
	struct span rest;
	int code;

	buf_init(&b, FILE_MAX + 1);
	code = attest_read_file(file, &b);
	/* Not a part of it: who stands behind that would be left out without a word. */
	if (code == 0 && b.n > FILE_MAX)
		code = ctl_fail(CTL_CONFIG, "%s: larger than 64 KiB", name);
	for (rest = span_buf(&b); code == 0 && rule == NULL && rest.n > 0;) {
		struct span line = cut(&rest, "\n"), first = line;

		number++;
		first = word(&first);
		if (first.n > 0 && first.p[0] != '#')
			rule = add_signer(line, g);
	}
	buf_clear(&b);
	if (rule != NULL)
		return ctl_fail(CTL_CONFIG, "%s:%u: %s", name, number, rule);
	if (code == 0 && g->n_signers == 0)
		code = ctl_fail(CTL_CONFIG, "%s: no signer", name);
	return code;
}

/* --- what a grant says ------------------------------------------------------------------------ */

static json_t *grant_json(const struct grant *g)
{
	json_t *o = json_pack("{s:I}", "serial", (json_int_t)g->serial), *all = json_array();

	json_object_set_new(o, "environment", out_string(g->environment));
	json_object_set_new(o, "queue", out_string(g->queue));
	json_object_set_new(o, "authority", out_string(g->authority));
	for (size_t i = 0; i < g->n_signers; i++) {
		const struct grant_signer *s = &g->signer[i];
		char from[TEXT_TIME_SIZE], until[TEXT_TIME_SIZE];
		json_t *row = json_pack("{s:s}", "kid", s->kid);

		text_time(s->not_before_s, from);
		text_time(s->not_after_s, until);
		json_object_set_new(row, "public_key", out_hex(span_of(s->public_key, sizeof(s->public_key))));
		json_object_set_new(row, "not_before", json_string(from));
		json_object_set_new(row, "not_after", json_string(until));
		json_array_append_new(all, row);
	}
	json_object_set_new(o, "signers", all);
	return o;
}

/* Takes the reference. */
static void print_grant(const struct ctl *c, json_t *o)
{
	static const struct out_column head[] = { { "file", "written to" },     { "environment", "environment" },
						  { "queue", "queue" },         { "serial", "serial" },
						  { "authority", "authority" }, { "verified", "verified" } };
	static const struct out_column col[] = {
		{ "kid", "SIGNER" }, { "not_before", "FROM" }, { "not_after", "UNTIL" }, { "public_key", "PUBLIC KEY" }
	};

	if (c->json) {
		out_document(o);
		return;
	}
	out_list(o, head, sizeof(head) / sizeof(head[0]));
	puts("");
	out_table(json_object_get(o, "signers"), col, sizeof(col) / sizeof(col[0]));
	json_decref(o);
}

/* --- grant ------------------------------------------------------------------------------------ */

static int read_options(struct ctl *c, struct grant *g)
{
	const char *kid, *queue, *environment, *serial = c->opt[OPT_SERIAL];
	int code = signer_kid(c, &kid);

	if (code == 0)
		code = args_environment(c, &environment);
	if (code != 0)
		return code;
	if ((queue = session_queue_name(c)) == NULL)
		return CTL_USAGE;
	if (!ctl_has(c, OPT_SIGNER))
		return ctl_fail(CTL_USAGE, "--signer is needed: the private key of the authority");
	if (serial == NULL || text_uint(span_str(serial), GRANT_SERIAL_MAX, &g->serial) != ERR_OK || g->serial == 0)
		return ctl_fail(CTL_USAGE, "--serial is needed: a whole number above that of the last grant, from 1");
	g->authority = span_str(kid);
	g->environment = span_str(environment);
	g->queue = span_str(queue);
	return newfile_check(c);
}

static void warn_of_ends(const struct grant *g, int64_t now_s)
{
	for (size_t i = 0; i < g->n_signers; i++)
		if (g->signer[i].not_after_s <= now_s)
			ctl_complain("warning: signer %s has ended already", g->signer[i].kid);
}

static int sign(struct ctl *c, const struct grant *g)
{
	struct buf out;
	uint8_t *secret;
	json_t *o;
	enum err e;
	int code = signer_load(c->opt[OPT_SIGNER], &secret);

	if (code != 0)
		return code;
	buf_init(&out, GRANT_MAX);
	e = grant_sign(g, secret, &out);
	secret_free(secret);
	if (e != ERR_OK)
		code = ctl_fail(CTL_NO, "the grant: %s", err_text(e));
	if (code == 0)
		code = newfile_write(c->opt[OPT_OUTPUT], span_buf(&out));
	buf_clear(&out);
	if (code != 0)
		return code;
	o = grant_json(g);
	json_object_set_new(o, "file", json_string(c->opt[OPT_OUTPUT]));
	print_grant(c, o);
	warn_of_ends(g, clock_wall_us() / 1000000);
	return 0;
}

int cmd_signer_grant(struct ctl *c)
{
	static struct grant g;
	int code = read_options(c, &g);

	if (code == 0)
		code = read_signers(c->arg[0], &g);
	return code == 0 ? sign(c, &g) : code;
}

/* --- show-grant ------------------------------------------------------------------------------- */

static int verify(const struct ctl *c, struct span in, const struct grant *said, json_t *o)
{
	uint8_t key[COSE_ED25519_PUBLIC];
	struct grant g;

	if (!ctl_has(c, OPT_AUTHORITY_KEY)) {
		json_object_set_new(o, "verified", json_null());
		ctl_complain("%s: NOT VERIFIED: anybody can write such a grant; see --authority-key",
			     attest_file_name(c->arg[0]));
		return 0;
	}
	if (text_unhex(span_str(c->opt[OPT_AUTHORITY_KEY]), key, sizeof(key)) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--authority-key must be 64 hex digits");
	if (grant_verify(in, said->authority, key, &g) != ERR_OK)
		return ctl_fail(CTL_NO, "%s: this authority has not signed it", attest_file_name(c->arg[0]));
	json_object_set_new(o, "verified", json_true());
	return 0;
}

int cmd_signer_show_grant(struct ctl *c)
{
	static struct grant g;
	struct buf b;
	int code;

	buf_init(&b, GRANT_MAX + 1);
	code = attest_read_file(c->arg[0], &b);
	if (code == 0 && grant_parse(span_buf(&b), &g) != ERR_OK)
		code = ctl_fail(CTL_CONFIG, "%s: no grant of signers", attest_file_name(c->arg[0]));
	if (code == 0) {
		json_t *o = grant_json(&g);

		code = verify(c, span_buf(&b), &g, o);
		if (code == 0)
			print_grant(c, o);
		else
			json_decref(o);
	}
	buf_clear(&b);
	return code;
}
