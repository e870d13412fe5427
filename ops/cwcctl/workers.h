/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a queue, put together from `workers` (leases), `held` (what they have), `about` (what each says of
 * itself, PROTOCOL.md section 3) and `drain` (orders of people).
 */
#ifndef OPS_CWCCTL_WORKERS_H
#define OPS_CWCCTL_WORKERS_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

#define WORKERS_MAX 1000 /* more are not read */

/* An array of objects: worker (name/nonce), alive, state (serving, draining; asked to drain and not there yet:
 * "to drain"; dead), holds, lease_us and beat_us (microseconds, as numbers), started, version, environment, bundle,
 * pcr0, house and senate (WORKERS_LIMITS, or null), drain ({ asked, who, reason }, or null). What an older worker does
 * not say is null. NULL after a report, or an interrupt. */
json_t *workers_read(struct ctl *c);

/* The value of `about` as an object; pure. Of a chamber: rate, ceiling, burst, slots, office_rate, office_slots. */
json_t *workers_about(struct span text);

#endif
