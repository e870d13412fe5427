/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to deterministic CBOR (FORMATS.md section 1), as far as letters need it: texts, whole numbers,
 * arrays, objects, true, false, null. Pure.
 */
#ifndef OPS_CWCCTL_ENCODE_H
#define OPS_CWCCTL_ENCODE_H

#include <jansson.h>

#include "worker/base/buf.h"

#define ENCODE_DEPTH_MAX 8

/* Appends v. ERR_RANGE: a number with a fraction, or nested too deep; ERR_LIMIT: `out` is full. */
ERR_MUST_CHECK enum err encode_cbor(const json_t *v, struct buf *out);
/* Appends v as compact JSON. ERR_LIMIT. */
ERR_MUST_CHECK enum err encode_json(const json_t *v, struct buf *out);

#endif
