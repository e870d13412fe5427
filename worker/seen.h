/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DeliveryIds that this process saw accepted. Redis can be rolled back by whoever holds it; a
 * letter whose acceptance we witnessed is never POSTed again in this boot.
 *
 * Bounded: two generations of at most SEEN_MAX ids each; when the younger is full, the older is
 * forgotten. At least the last SEEN_MAX ids are always known.
 */
#ifndef WORKER_SEEN_H
#define WORKER_SEEN_H

#include "worker/base/buf.h"

#define SEEN_MAX 262144

struct seen;

struct seen *seen_new(void);
void seen_free(struct seen *s);
/* id: 32 hex digits; anything else is not remembered and never found. */
void seen_add(struct seen *s, const char *id);
bool seen_has(const struct seen *s, const char *id);

#endif
