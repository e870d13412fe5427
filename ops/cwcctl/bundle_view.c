/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/bundle_view.h"

#include <stdio.h>

#include "ops/cwcctl/out.h"

int bundle_look(const char *from, struct span bytes, const struct manifest *m, int code, struct bundle_view *ret_v)
{
	enum attest_code made;

	*ret_v = (struct bundle_view){ .maker = { .from = from } };
	if (bundle_parse(bytes, &ret_v->b) != ERR_OK)
		return ctl_fail(code, "%s: no sealed bundle", from);
	made = fresh_verify_ageless(ret_v->b.maker, span_of(ret_v->b.hash, sizeof(ret_v->b.hash)), m, &ret_v->maker);
	if (made == ATTEST_OK)
		return 0;
	return ctl_fail(CTL_NO, "%s: the bundle is refused: the document of its maker: %s: %s", from,
			attest_code_name(made), attest_code_text(made));
}

void bundle_print(const struct ctl *c, const char *file, const struct bundle_view *v)
{
	static const struct out_column col[] = {
		{ "file", "written to" },      { "version", "bundle version" }, { "environment", "environment" },
		{ "queue", "queue" },          { "kms_key", "KMS key" },        { "made", "made" },
		{ "maker", "by the enclave" }, { "pcr0", "its PCR0" },          { "release", "its release" },
	};
	json_t *o = json_pack("{s:s, s:I, s:b, s:b}", "file", file, "version", (json_int_t)v->b.version, "simulated",
			      v->maker.simulated, "measured", v->maker.measured);

	json_object_set_new(o, "environment", out_string(v->b.environment));
	json_object_set_new(o, "queue", out_string(v->b.queue));
	json_object_set_new(o, "kms_key", out_string(v->b.kms_key));
	json_object_set_new(o, "made", out_time_us(v->maker.time_ms * 1000));
	json_object_set_new(o, "maker", json_string(v->maker.module_id));
	json_object_set_new(o, "pcr0", out_hex(span_of(v->maker.pcr0, sizeof(v->maker.pcr0))));
	json_object_set_new(o, "release", v->maker.measured ? json_string(v->maker.release) : json_null());
	if (c->json) {
		out_document(o);
	} else {
		out_list(o, col, sizeof(col) / sizeof(col[0]));
		json_decref(o);
	}
	if (!v->maker.measured)
		ctl_complain("%s: CHAIN ONLY: some enclave made it; which program runs in it, was NOT ASKED; see "
			     "--manifest",
			     file);
}
