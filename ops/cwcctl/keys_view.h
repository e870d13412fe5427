/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's keys for people: what its statement says of them, and what wants attention.
 */
#ifndef OPS_CWCCTL_KEYS_VIEW_H
#define OPS_CWCCTL_KEYS_VIEW_H

#include "ops/cwcctl/granted.h"

/* The statement and what proves it, and the signers of the grant that it has the hash of: the member `grant` is null
 * when nobody is granted, and is not there when that is not known. `keys` is the unproved answer of /keys, of which
 * source and missing are taken. The object has `warnings`, an array of texts. */
json_t *keys_view(const struct fresh *f, const struct granted *g, const json_t *keys, int64_t now_s);
void keys_view_print(const json_t *view);

/* How it is proved, on one line of standard error when something of that is lacking. */
void keys_view_complain(const struct fresh *f);

#endif
