/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The security module in the worker: opened once, asked off the loop.
 *
 * A call of the device may block for two minutes. So the loop hands requests to a thread, one at a time, and gets
 * documents back; at most ATTESTOR_WAITING wait. A request that takes longer than ATTESTOR_PATIENCE_MS is answered with
 * ERR_TIMEOUT, and its late answer is dropped; while it hangs, all others are answered with ERR_TIMEOUT as their
 * patience ends. The thread is the attestor's own: neither the loop nor exit() ends while work of libuv's pool hangs.
 *
 * Each document carries a signed time: the attestor compares it with the wall clock, taking the time that the call took
 * into account. Once a minute it asks for a document for that alone.
 */
#ifndef WORKER_ATTESTOR_H
#define WORKER_ATTESTOR_H

#include <uv.h>

#include "attest/nsm.h"
#include "attest/verify.h"
#include "config/config.h"

#define ATTESTOR_WAITING     32
#define ATTESTOR_PATIENCE_MS 5000

struct attestor;

/* Opens the device that `c` names, seeds the kernel's entropy with it (entropy.h; required in production), reads PCR0
 * to PCR2 and the module id, gets one document and verifies it as others will: up to the anchor, and, in production,
 * not of a debug enclave. Blocks; before the loop runs, and before the sandbox, since it starts a thread. *ret_attestor
 * is NULL when the configuration names no device. ERR_CONFIG with *ret_rule (static): there is no device, no entropy,
 * or the documents do not verify. */
ERR_MUST_CHECK enum err attestor_open(uv_loop_t *loop, const struct config *c, struct attestor **ret_attestor,
				      const char **ret_rule);
/* Requests that wait are dropped without a callback; a thread that hangs in the device is left to the end of the
 * process. The device stays open until then: copies of attestor_nsm() may be in use. The memory goes when the loop has
 * run once more. May be called from within a callback. NULL is allowed. */
void attestor_free(struct attestor *a);

/* For a thread of its own (KMS): blocks, holds no lock of the attestor's. The struct is a copy. */
struct nsm attestor_nsm(const struct attestor *a);
const struct attest_anchor *attestor_anchor(const struct attestor *a);
const uint8_t (*attestor_pcrs(const struct attestor *a))[ATTEST_PCR_SIZE]; /* PCR0 to PCR2 */
const char *attestor_module_id(const struct attestor *a);
bool attestor_debug(const struct attestor *a);

/* By how much the wall clock is ahead of the signed time, at the last document, and what it was stepped by since then;
 * and the error bound of that: half of what the call took, and two milliseconds. */
int64_t attestor_clock_ms(const struct attestor *a, int64_t *ret_bound_ms);
/* How long ago that was. */
int64_t attestor_clock_age_ms(const struct attestor *a);

/* `document` is valid during the call; empty unless e is ERR_OK. ERR_TIMEOUT, ERR_IO, ERR_PROTOCOL (also: it is not of
 * what was asked for), ERR_LIMIT (too many wait, or a field is longer than 512 bytes). */
typedef void (*attestor_cb)(void *arg, enum err e, struct span document);
/* user_data and nonce are copied; an empty nonce is none. Calls back once, never from within. */
void attestor_ask(struct attestor *a, struct span user_data, struct span nonce, attestor_cb cb, void *arg);
/* No callback with this arg comes any more. */
void attestor_forget(struct attestor *a, const void *arg);

#endif
