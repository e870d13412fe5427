/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/anchor.h"

#include "ops/cwcctl/ctl.h"

#ifdef CWC_DEV
#include "tests/sim/pki_sim.h"

/* Taken over unless it is not the simulator's either: then the first answer stands. */
static void verify_simulated(struct span in, const struct attest_policy *p, struct attest_document *d,
			     struct attest_report *r)
{
	static bool said;
	struct attest_report simulated;
	struct attest_document other;

	if (attest_verify(in, &attest_anchor_sim, p, &other, &simulated) == ATTEST_CHAIN_ANCHOR)
		return;
	*r = simulated;
	*d = other;
	if (!said)
		ctl_complain("SIMULATED: this document comes from the simulator of a development build, and from no "
			     "enclave; whoever has the source can make one");
	said = true;
}
#endif

enum attest_code anchor_verify(struct span in, const struct attest_policy *p, struct attest_document *ret_doc,
			       struct attest_report *ret_report)
{
	enum attest_code code = attest_verify(in, &attest_anchor_aws, p, ret_doc, ret_report);

#ifdef CWC_DEV
	if (code == ATTEST_CHAIN_ANCHOR) {
		verify_simulated(in, p, ret_doc, ret_report);
		code = ret_report->code;
	}
#endif
	return code;
}

bool anchor_simulated(const struct attest_report *r)
{
	return r->anchor != NULL && r->anchor != &attest_anchor_aws;
}
