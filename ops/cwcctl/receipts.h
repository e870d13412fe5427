/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts of results: decoding, and checking against the receipt keys that workers published in
 * `attestations`. Those are only as good as Redis unless the attestation document is verified, too.
 */
#ifndef OPS_CWCCTL_RECEIPTS_H
#define OPS_CWCCTL_RECEIPTS_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

struct receipts;

/* NULL after a report. */
struct receipts *receipts_new(struct ctl *c);
void receipts_free(struct receipts *r);
/* "ok", "none" (a late record that needs none), "missing", "malformed", "unknown key", "bad
 * signature", "mismatch" (it says something else than the entry); NULL after a report. `flat` is the
 * entry. An unknown key makes it read `attestations` again. */
const char *receipts_verify(struct receipts *r, const struct resp_reply *flat);

/* The receipt's members and `kid` as JSON; JSON null when there is none or it is malformed. */
json_t *receipts_decode(struct span receipt);

#endif
