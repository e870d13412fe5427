/* SPDX-License-Identifier: Apache-2.0 */
/* Attestation documents: verified, or only shown. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/anchor.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/attest_report.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define MAX_FUTURE_MS 60000
#define AGE_MAX_S     (365U * 86400)

/* A policy and what it points to. */
struct ask {
	struct attest_policy policy;
	struct manifest manifest;
	uint8_t nonce[ATTEST_FIELD_MAX];
	struct span nonce_span;
};

/* --- options ---------------------------------------------------------------------------------- */

static int check_options(const struct ctl *c)
{
	static const enum ctl_option not_then[] = { OPT_MANIFEST, OPT_PCR, OPT_NONCE, OPT_AT, OPT_MAX_AGE };
	bool only = ctl_has(c, OPT_CHAIN_ONLY);

	for (size_t i = 0; only && i < sizeof(not_then) / sizeof(not_then[0]); i++)
		if (ctl_has(c, not_then[i]))
			return ctl_fail(CTL_USAGE, "--chain-only does not ask for --%s", ctl_options[not_then[i]].name);
	if (!only && !ctl_has(c, OPT_MANIFEST) && !ctl_has(c, OPT_PCR))
		return ctl_fail(CTL_USAGE, "which measurements are allowed? --manifest or --pcr says it; "
					   "--chain-only does not ask");
	if (ctl_has(c, OPT_MANIFEST) && strcmp(c->opt[OPT_MANIFEST], "-") == 0 && strcmp(c->arg[0], "-") == 0)
		return ctl_fail(CTL_USAGE, "standard input is either the document or the manifest");
	return 0;
}

static int read_time(const struct ctl *c, int64_t *ret_now_ms)
{
	const char *at = ctl_value(c, OPT_AT, "now");
	int64_t s;

	*ret_now_ms = clock_wall_us() / 1000;
	if (strcmp(at, "now") == 0)
		return 0;
	if (units_time(at, &s) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--at must be `now`, a time of RFC 3339, or seconds since 1970");
	*ret_now_ms = s * 1000;
	return 0;
}

static int read_age(const struct ctl *c, int64_t *ret_ms)
{
	const char *age = ctl_value(c, OPT_MAX_AGE, "5min");
	uint64_t ms = 0, s;

	if (text_uint(span_str(age), AGE_MAX_S, &s) == ERR_OK)
		ms = s * 1000;
	else if (units_duration(age, &ms) != ERR_OK)
		ms = 0;
	if (ms == 0)
		return ctl_fail(CTL_USAGE,
				"--max-age must be seconds or a duration, such as 300 or 5min, and not zero");
	*ret_ms = (int64_t)ms;
	return 0;
}

static int read_nonce(const struct ctl *c, struct ask *a)
{
	struct span hex = span_str(ctl_value(c, OPT_NONCE, ""));

	if (!ctl_has(c, OPT_NONCE))
		return 0;
	if (hex.n < 2 || hex.n > sizeof(a->nonce) * 2 || text_unhex(hex, a->nonce, hex.n / 2) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--nonce must be 1 to 512 bytes in hex");
	a->nonce_span = span_of(a->nonce, hex.n / 2);
	a->policy.nonce = &a->nonce_span;
	return 0;
}

static int read_allowed(const struct ctl *c, struct ask *a)
{
	int code = attest_read_allowed(c, &a->manifest);

	a->policy.allowed = a->manifest.release;
	a->policy.n_allowed = a->manifest.n;
	return code;
}

static int read_ask(const struct ctl *c, struct ask *a)
{
	int code = check_options(c);

	a->policy.max_future_ms = MAX_FUTURE_MS;
	a->policy.chain_only = ctl_has(c, OPT_CHAIN_ONLY);
	if (code == 0)
		code = read_time(c, &a->policy.now_ms);
	if (code == 0)
		code = read_age(c, &a->policy.max_age_ms);
	if (code == 0)
		code = read_nonce(c, a);
	return code == 0 ? read_allowed(c, a) : code;
}

/* --- verify ----------------------------------------------------------------------------------- */

static int conclude(const struct attest_asked *a, const struct attest_report *r)
{
	const char *name = attest_file_name(a->file);

	if (r->code != ATTEST_OK)
		return ctl_fail(CTL_NO, "%s: refused: %s: %s", name, attest_code_name(r->code),
				attest_code_text(r->code));
	if (a->policy->chain_only)
		ctl_complain("%s: CHAIN ONLY: policy, time and nonce were NOT ASKED: any program of anybody, at any "
			     "time, may have got this document",
			     name);
	return CTL_OK;
}

int cmd_attest_verify(struct ctl *c)
{
	static struct ask ask;
	struct attest_asked a = { .file = c->arg[0], .policy = &ask.policy };
	struct attest_document d;
	struct attest_report r;
	struct buf in;
	int code = read_ask(c, &ask);

	if (code != 0)
		return code;
	buf_init(&in, ATTEST_INPUT_MAX);
	code = attest_read_document(c->arg[0], &in);
	if (code == 0) {
		(void)anchor_verify(span_buf(&in), a.policy, &d, &r);
		attest_report_print(c, &a, &r, &d);
		code = conclude(&a, &r);
	}
	buf_clear(&in);
	return code;
}

/* --- show ------------------------------------------------------------------------------------- */

static bool begins_with(const struct attest_document *d, const struct attest_anchor *a)
{
	return span_eq(d->cabundle[0], span_of(a->der, a->size));
}

static json_t *show_json(const struct attest_document *d, size_t size)
{
	json_t *o = json_pack("{s:b}", "proved", 0);

	attest_report_document(o, d);
	json_object_set_new(o, "debug", json_boolean(attest_document_debug(d)));
	json_object_set_new(o, "bytes", json_integer((json_int_t)size));
	json_object_set_new(o, "indefinite", json_boolean(d->indefinite));
	json_object_set_new(o, "root",
			    begins_with(d, &attest_anchor_aws) ? json_string(attest_anchor_aws.name) : json_null());
	json_object_set_new(o, "certificates", attest_report_certificates(d));
	return o;
}

static void show_print(const json_t *o)
{
	static const struct out_column more[] = { { "debug", "debug mode" },
						  { "bytes", "bytes" },
						  { "root", "claims the root" } };
	static const struct out_column col[] = { { "place", "CERTIFICATE" }, { "from", "FROM" },
						 { "until", "UNTIL" },       { "serial", "SERIAL" },
						 { "subject", "SUBJECT" },   { "issuer", "ISSUER" },
						 { "error", "ERROR" } };
	const json_t *all = json_object_get(o, "certificates");

	puts("NOT PROVED: this is what the document says; `cwcctl attest verify` asks whether it is true.\n");
	out_list(o, more, sizeof(more) / sizeof(more[0]));
	attest_report_lines(o);
	for (size_t i = 0; i < json_array_size(all); i++) {
		fputc('\n', stdout);
		out_list(json_array_get(all, i), col, sizeof(col) / sizeof(col[0]));
	}
}

static void show(const struct ctl *c, const struct attest_document *d, size_t size)
{
	json_t *o = show_json(d, size);

	if (c->json) {
		out_document(o);
		return;
	}
	show_print(o);
	json_decref(o);
}

int cmd_attest_show(struct ctl *c)
{
	enum attest_code parsed;
	struct attest_document d;
	struct buf in;
	int code;

	buf_init(&in, ATTEST_INPUT_MAX);
	code = attest_read_document(c->arg[0], &in);
	if (code == 0) {
		parsed = attest_document_parse(span_buf(&in), &d);
		if (parsed == ATTEST_OK)
			show(c, &d, in.n);
		else
			code = ctl_fail(CTL_NO, "%s: refused: %s: %s", attest_file_name(c->arg[0]),
					attest_code_name(parsed), attest_code_text(parsed));
	}
	buf_clear(&in);
	return code;
}
