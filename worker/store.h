/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what the parent keeps for an enclave between boots, sealed. A stream of any address that gives all of it
 * to whoever connects, and ends: a CBOR sequence (RFC 8742) of one bundle (bundle.h) and any number of sealed secrets
 * (sealed.h), in any order. On the parent, `socat VSOCK-LISTEN:7001,fork OPEN:store,rdonly` is such a store, and `cat`
 * makes one of its items.
 */
#ifndef WORKER_STORE_H
#define WORKER_STORE_H

#include <uv.h>

#include "attest/bundle.h"
#include "attest/sealed.h"
#include "worker/base/addr.h"

#define STORE_MAX        131072
#define STORE_ITEMS_MAX  16
#define STORE_TIMEOUT_MS 5000

/* Views into the bytes that were parsed. */
struct store_items {
	struct span bundle; /* the item; empty: none */
	struct span secret[STORE_ITEMS_MAX];
	size_t n_secrets;
};
/* Pure. ERR_SYNTAX: not such a sequence, or two bundles; ERR_LIMIT. Nothing at all is an empty store. */
ERR_MUST_CHECK enum err store_parse(struct span in, struct store_items *ret_items);

struct store_fetch;
/* `bytes` are valid during the call; empty unless e is ERR_OK. ERR_CONNECT, ERR_RESOLVE, ERR_TIMEOUT, ERR_LIMIT,
 * ERR_IO. */
typedef void (*store_cb)(void *arg, enum err e, struct span bytes);
/* Dials and reads to the end. Calls back once, never from within. */
struct store_fetch *store_fetch(uv_loop_t *loop, const struct addr *a, store_cb cb, void *arg);
/* Gives up; only before the callback was called. */
void store_cancel(struct store_fetch *f);

#endif
