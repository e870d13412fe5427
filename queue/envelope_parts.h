/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two envelope profiles share. Private to queue/envelope*.c.
 */
#ifndef QUEUE_ENVELOPE_PARTS_H
#define QUEUE_ENVELOPE_PARTS_H

#include "queue/envelope.h"

#define ENVELOPE_TAG   16 /* Poly1305 */
#define ENVELOPE_KEY   32
#define ENVELOPE_NONCE 24

/* The form of one profile; `bytes` has at most ENVELOPE_MAX. Errors as envelope_parse(). */
ERR_MUST_CHECK enum err envelope_parse_witness(struct span bytes, struct envelope *ret_env);
ERR_MUST_CHECK enum err envelope_parse_letter(struct span bytes, struct envelope *ret_env);

/* 1 to 64 printable ASCII characters, copied with a NUL; false otherwise. */
bool envelope_kid(struct span kid, char ret_kid[COSE_KID_MAX + 1]);

/* The sender's half of the key agreement, with a random secret when `secret` is NULL. The caller
 * wipes ret_shared. ERR_ENVELOPE_POINT when the ring key's point is of low order. */
ERR_MUST_CHECK enum err envelope_agree(const uint8_t *secret, const uint8_t public_key[32], uint8_t ret_point[32],
				       uint8_t ret_shared[32]);

#endif
