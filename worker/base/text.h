/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text forms: hex, base64, UTF-8, decimal, RFC 3339. All pure, all strict, no locale.
 */
#ifndef WORKER_BASE_TEXT_H
#define WORKER_BASE_TEXT_H

#include "worker/base/buf.h"

/* Lower-case hex of `in`; `out` holds 2 * in.n + 1 bytes and is NUL-terminated. */
void text_hex(struct span in, char *out);
/* Exactly n bytes from 2 * n digits of either case; no prefix. ERR_SYNTAX. */
ERR_MUST_CHECK enum err text_unhex(struct span in, uint8_t *ret_out, size_t n);

/* Base64, standard alphabet with padding (RFC 4648 section 4), no white space, canonical: unused
 * bits are zero. Decoding appends to `out`; ERR_SYNTAX, or ERR_LIMIT at the buf's ceiling. */
void text_base64(struct span in, struct buf *out);
ERR_MUST_CHECK enum err text_unbase64(struct span in, struct buf *out);

/* The number of code points of well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms,
 * at most U+10FFFF). ERR_SYNTAX for anything else. */
ERR_MUST_CHECK enum err text_utf8_length(struct span in, size_t *ret_points);
/* Decodes the code point at *at and moves *at behind it. `in` must be well-formed (a byte
 * that is not reads as U+FFFD), and *at below its end. */
uint32_t text_utf8_next(struct span in, size_t *at);

/* A decimal number without sign, space or leading zero. ERR_SYNTAX, ERR_RANGE above max. */
ERR_MUST_CHECK enum err text_uint(struct span in, uint64_t max, uint64_t *ret_value);
/* The same with an optional minus sign; "-0" is ERR_SYNTAX. */
ERR_MUST_CHECK enum err text_int(struct span in, int64_t *ret_value);

/* "2026-03-02T17:04:05Z" (20 characters and a NUL) from seconds since 1970. A time outside of the
 * years 1970 to 9999 becomes the nearest one inside. */
#define TEXT_TIME_SIZE 21
void text_time(int64_t unix_s, char ret_out[TEXT_TIME_SIZE]);
/* With milliseconds: "2026-03-02T17:04:05.123Z". */
#define TEXT_TIME_MS_SIZE 25
void text_time_ms(int64_t unix_ms, char ret_out[TEXT_TIME_MS_SIZE]);
/* RFC 3339 with "Z" or an offset, seconds resolution (a fraction is accepted and dropped). A
 * leap second counts as the first second of the next day. ERR_SYNTAX. */
ERR_MUST_CHECK enum err text_parse_time(struct span in, int64_t *ret_unix_s);

/* Calendar of the proleptic Gregorian calendar, from days since 1970-01-01 and back. */
void text_civil(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day);
int64_t text_days(int year, unsigned month, unsigned day);

/* Appends s as a JSON string with quotes; well-formed UTF-8 passes, a malformed byte becomes U+FFFD. */
void text_json(struct span s, struct buf *out);

#endif
