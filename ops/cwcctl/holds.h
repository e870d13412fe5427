/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps letters in their line: holds (hash `holds`: UNTIL_US WHO REASON), set by people and
 * workers, and breakers (hash `breaker`: STATE OPENS UNTIL_US, then what only the scripts need),
 * which open by themselves when a chamber or an office does not answer.
 */
#ifndef OPS_CWCCTL_HOLDS_H
#define OPS_CWCCTL_HOLDS_H

#include <jansson.h>

#include "ops/cwcctl/session.h"

/* The value of a hold as JSON { until, who, reason }; null when it is over or none. */
json_t *holds_hold(struct span value, int64_t now_us);
/* The value of a breaker as JSON { state, opens, until }; null when it is closed or none. */
json_t *holds_breaker(struct span value);
/* For people, "-" for null; at most `size` bytes. */
void holds_hold_text(const json_t *hold, char *out, size_t size);
void holds_breaker_text(const json_t *breaker, int64_t now_us, char *out, size_t size);

#endif
