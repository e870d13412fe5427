/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/attest_report.h"

#include <string.h>

#include "ops/cwcctl/anchor.h"
#include "worker/base/text.h"

#define COLUMNS(a) (sizeof(a) / sizeof((a)[0]))

/* --- stages ----------------------------------------------------------------------------------- */

static const char *const verdict_text[] = {
	[ATTEST_NOT_ASKED] = "not asked",
	[ATTEST_PASSED] = "passed",
	[ATTEST_FAILED] = "failed",
};

static const char *const stage_text[ATTEST_STAGES] = {
	[ATTEST_ENVELOPE] = "one untagged COSE_Sign1 of at most 12288 bytes, by ES384",
	[ATTEST_PAYLOAD] = "the hypervisor's map: each member once and of its form",
	[ATTEST_CHAIN] = "the certificates lead from the anchor to the leaf, all valid at the signed time",
	[ATTEST_SIGNATURE] = "the leaf has signed this payload",
	[ATTEST_TIME] = "the signed time is not older than allowed, and not ahead of the clock",
	[ATTEST_DEBUG] = "PCR0, PCR1 and PCR2 are not zero: the host cannot read the enclave's memory",
	[ATTEST_POLICY] = "the measurements are those of one allowed release, PCR4 is that of the instance",
	[ATTEST_BINDING] = "the nonce is the one that was asked for",
};

static json_t *stages_json(const struct attest_report *r)
{
	json_t *o = json_object();

	for (unsigned s = 0; s < ATTEST_STAGES; s++)
		json_object_set_new(o, attest_stage_name((enum attest_stage)s), json_string(verdict_text[r->stage[s]]));
	return o;
}

static json_t *explained_json(const struct attest_report *r)
{
	json_t *all = json_array();

	for (unsigned s = 0; s < ATTEST_STAGES; s++)
		json_array_append_new(all,
				      json_pack("{s:s, s:s, s:s}", "stage", attest_stage_name((enum attest_stage)s),
						"verdict", verdict_text[r->stage[s]], "means", stage_text[s]));
	return all;
}

/* --- a verification --------------------------------------------------------------------------- */

static json_t *optional(const char *s)
{
	return s != NULL && s[0] != '\0' ? json_string(s) : json_null();
}

static json_t *verification_json(const struct attest_asked *a, const struct attest_report *r,
				 const struct attest_document *d)
{
	bool good = r->code == ATTEST_OK, chained = r->stage[ATTEST_CHAIN] == ATTEST_PASSED;
	json_t *o = json_pack("{s:s, s:s, s:o}", "code", attest_code_name(r->code), "text", attest_code_text(r->code),
			      "stage", good ? json_null() : json_string(attest_stage_name(attest_code_stage(r->code))));

	json_object_set_new(o, "stages", stages_json(r));
	json_object_set_new(o, "certificate", r->certificate >= 0 ? json_integer(r->certificate) : json_null());
	json_object_set_new(o, "anchor", chained ? json_string(r->anchor->name) : json_null());
	json_object_set_new(o, "simulated", json_boolean(chained && anchor_simulated(r)));
	json_object_set_new(o, "chain_only", json_boolean(a->policy->chain_only));
	json_object_set_new(o, "policy", json_string(verdict_text[r->stage[ATTEST_POLICY]]));
	json_object_set_new(o, "at", a->policy->chain_only ? json_null() : out_time_us(a->policy->now_ms * 1000));
	json_object_set_new(o, "release", optional(r->release != NULL ? r->release->name : NULL));
	if (good) {
		attest_report_document(o, d);
	} else {
		static const char *const members[] = { "module_id", "instance",  "time",      "pcrs",
						       "nonce",     "user_data", "public_key" };

		for (size_t i = 0; i < COLUMNS(members); i++)
			json_object_set_new(o, members[i], json_null());
	}
	json_object_set_new(o, "explained", explained_json(r));
	return o;
}

static const char *conclusion(const struct attest_asked *a, const struct attest_report *r)
{
	if (anchor_simulated(r))
		return a->policy->chain_only ? "SIGNED by the SIMULATOR" : "SIMULATED: verified under its own root";
	return a->policy->chain_only ? "SIGNED by the hypervisor" : "VERIFIED";
}

static void print_verification(const struct attest_asked *a, const struct attest_report *r, const json_t *o)
{
	static const struct out_column col[] = { { "stage", "STAGE" },
						 { "verdict", "VERDICT" },
						 { "means", "MEANING" } };
	static const struct out_column more[] = { { "release", "release" },
						  { "anchor", "anchor" },
						  { "at", "asked as at" } };

	out_table(json_object_get(o, "explained"), col, COLUMNS(col));
	if (r->code != ATTEST_OK) {
		printf("\nREFUSED: %s: %s\n", attest_code_name(r->code), attest_code_text(r->code));
		if (r->certificate >= 0)
			printf("It is certificate %d; the root is 0, the leaf is the last.\n", r->certificate);
		return;
	}
	printf("\n%s\n", conclusion(a, r));
	if (a->policy->chain_only)
		puts("Which program it is, when, and for whom: NOT ASKED.");
	fputc('\n', stdout);
	out_list(o, more, COLUMNS(more));
	attest_report_lines(o);
}

void attest_report_print(const struct ctl *c, const struct attest_asked *a, const struct attest_report *r,
			 const struct attest_document *d)
{
	json_t *o = verification_json(a, r, d);

	if (c->json) {
		out_document(o);
		return;
	}
	print_verification(a, r, o);
	json_decref(o);
}

/* --- what a document says --------------------------------------------------------------------- */

static const char *const meaning[ATTEST_PCRS] = {
	[0] = "the image: kernel, command line and all ramdisks",
	[1] = "kernel, command line and first ramdisk",
	[2] = "the other ramdisks: the application",
	[3] = "the IAM role of the parent instance; zero without one",
	[4] = "the id of the parent instance",
	[8] = "the certificate that signed the image; zero when it is not signed",
};

const char *attest_report_meaning(unsigned pcr)
{
	if (pcr >= ATTEST_PCRS)
		return "there is no such PCR";
	if (meaning[pcr] != NULL)
		return meaning[pcr];
	return pcr < 16 ? "of the hypervisor, without a use that is known"
			: "of the application, extended while it runs";
}

json_t *attest_report_pcrs(const struct attest_measurement *m)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < ATTEST_PCRS; i++) {
		char key[4];

		if ((m->pcrs & UINT32_C(1) << i) == 0)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		json_object_set_new(o, key, out_hex(span_of(m->pcr[i], ATTEST_PCR_SIZE)));
	}
	return o;
}

static json_t *field_json(const struct attest_field *f)
{
	return f->present ? out_hex(f->bytes) : json_null();
}

void attest_report_document(json_t *o, const struct attest_document *d)
{
	struct attest_measurement m = { .pcrs = d->pcrs };

	for (unsigned i = 0; i < ATTEST_PCRS; i++)
		if ((d->pcrs & UINT32_C(1) << i) != 0)
			memcpy(m.pcr[i], d->pcr[i].p, ATTEST_PCR_SIZE);
	json_object_set_new(o, "module_id", out_string(d->module_id));
	json_object_set_new(o, "instance", out_string(span_of(d->module_id.p, ATTEST_INSTANCE_SIZE)));
	json_object_set_new(o, "time", out_time_us((int64_t)d->timestamp_ms * 1000));
	json_object_set_new(o, "pcrs", attest_report_pcrs(&m));
	json_object_set_new(o, "nonce", field_json(&d->nonce));
	json_object_set_new(o, "user_data", field_json(&d->user_data));
	json_object_set_new(o, "public_key", field_json(&d->public_key));
}

bool attest_report_matters(unsigned pcr, const char *hex)
{
	return pcr <= 4 || pcr == 8 || strspn(hex, "0") != strlen(hex);
}

static void print_pcrs(json_t *pcrs)
{
	const char *key;
	json_t *v;

	json_object_foreach(pcrs, key, v)
	{
		unsigned pcr = (unsigned)strtoul(key, NULL, 10);

		if (attest_report_matters(pcr, json_string_value(v)))
			printf("\nPCR%-2u  %s\n       %s\n", pcr, attest_report_meaning(pcr), json_string_value(v));
	}
}

void attest_report_lines(const json_t *o)
{
	static const struct out_column col[] = { { "module_id", "module id" }, { "instance", "instance" },
						 { "time", "signed time" },    { "nonce", "nonce" },
						 { "user_data", "user data" }, { "public_key", "public key" } };

	out_list(o, col, COLUMNS(col));
	print_pcrs(json_object_get(o, "pcrs"));
}
