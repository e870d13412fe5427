/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under which root documents are verified: the hypervisor's, and nothing can be told to take another one. A development
 * build takes the simulator's besides, and says so.
 */
#ifndef OPS_CWCCTL_ANCHOR_H
#define OPS_CWCCTL_ANCHOR_H

#include "attest/verify.h"

/* attest_verify() under the hypervisor's root. In a development build a document that does not begin with it is
 * verified under the simulator's; the first one that does begin with that is announced as SIMULATED on standard error.
 * Which root it was is in ret_report->anchor. */
enum attest_code anchor_verify(struct span in, const struct attest_policy *p, struct attest_document *ret_doc,
			       struct attest_report *ret_report);
/* Whether the root that was asked for is not the hypervisor's. */
bool anchor_simulated(const struct attest_report *r);

#endif
