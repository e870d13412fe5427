/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plaintext of a witness envelope: a JSON object with the proof inputs of the app's protocol
 * and, in `deliveryAddress`, the person. Only nullifier, actionDomain and deliveryAddress are
 * looked at; the user's long-lived secrets beside them are parsed over and wiped with the rest.
 */
#ifndef QUEUE_WITNESS_H
#define QUEUE_WITNESS_H

#include "worker/base/buf.h"

/* Views into the witness's arena; absent members have p == NULL. */
struct witness {
	struct span nullifier, action_domain;
	struct span name, email, street, city, state, zip, phone;
};

/* Reads the JSON in `plain` (which is modified: strings are unescaped in place). Strict: one
 * object, no duplicate members among those looked at, depth at most 8, well-formed UTF-8.
 * WITNESS_SYNTAX, WITNESS_ADDRESS (no deliveryAddress object). */
ERR_MUST_CHECK enum err witness_read(struct buf *plain, struct witness *ret_w);

/* WITNESS_MISMATCH unless both values equal the job's. */
ERR_MUST_CHECK enum err witness_bound(const struct witness *w, struct span nullifier, struct span action_domain);

/* FirstName is the first space-separated word of `name`, LastName the rest (empty when there is
 * none: nothing is invented). */
void witness_split_name(struct span name, struct span *ret_first, struct span *ret_last);

#endif
