/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed bundle from outside: what its header says, and who made it. Its content is for the enclave alone.
 */
#ifndef OPS_CWCCTL_BUNDLE_VIEW_H
#define OPS_CWCCTL_BUNDLE_VIEW_H

#include "attest/bundle.h"
#include "ops/cwcctl/fresh.h"

struct bundle_view {
	struct bundle b;    /* views into the bytes that were looked at */
	struct fresh maker; /* of the document only; simulated, measured, release, module_id, time_ms, pcr0 */
};

/* The form, and the maker's document up to the anchor and over these bytes; with a manifest its measurements, too. It
 * has no age: a bundle lives as long as its release. `from` is for messages. 0, or CTL_NO after a report; what is no
 * bundle is answered with `code`. */
int bundle_look(const char *from, struct span bytes, const struct manifest *m, int code, struct bundle_view *ret_v);
/* By --json an object, else a list. */
void bundle_print(const struct ctl *c, const char *file, const struct bundle_view *v);

#endif
