/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HKDF-SHA256 (RFC 5869) over libsodium's HMAC, with nothing but the caller's outputs left behind:
 * every intermediate value is wiped.
 */
#ifndef QUEUE_HKDF_H
#define QUEUE_HKDF_H

#include "worker/base/buf.h"

#define HKDF_PRK     32
#define HKDF_OUT_MAX (255 * 32)

/* Section 2.2. An empty salt means 32 zero bytes. */
void hkdf_extract(struct span salt, struct span ikm, uint8_t ret_prk[HKDF_PRK]);
/* Section 2.3: n <= HKDF_OUT_MAX bytes. */
void hkdf_expand(const uint8_t prk[HKDF_PRK], struct span info, uint8_t *ret_out, size_t n);

#endif
