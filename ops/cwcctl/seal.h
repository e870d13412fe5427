/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and signing: the signer's key, the ring keys, and a letter's way to job bytes.
 *
 * The signer's key lies in guarded memory and is wiped by sealer_close(). The ring keys are public;
 * those that come from the queue are only as good as Redis: whoever can write there could put
 * keys of their own. --ring takes keys that were checked.
 */
#ifndef OPS_CWCCTL_SEAL_H
#define OPS_CWCCTL_SEAL_H

#include "attest/keyring.h"
#include "ops/cwcctl/ctl.h"
#include "ops/cwcctl/letter.h"

struct ring {
	struct keyring_key key[KEYRING_KEYS_MAX];
	size_t n;
};

/* Reads the lines "PROFILE KID HEX [CONTEXT]..." of the stream `attestations` or of a file; blank
 * lines and '#' comments are passed over. A key id that is not that of its key is refused. On an
 * error *ret_line is its number and *ret_rule a static text. */
ERR_MUST_CHECK enum err ring_parse(struct span text, struct ring *ret_ring, unsigned *ret_line, const char **ret_rule);
/* The last key of a profile; NULL when there is none. */
const struct keyring_key *ring_find(const struct ring *r, enum keyring_profile profile);

/* Reads an Ed25519 private key; *ret_secret is libsodium's form in guarded memory, for
 * secret_free(). 0, or the exit status after a report. */
int signer_load(const char *file, uint8_t **ret_secret);
/* [A-Za-z0-9._-]{1,64}; 0, or the exit status after a report. */
int signer_kid(const struct ctl *c, const char **ret_kid);

struct sealer {
	uint8_t *secret;
	const char *kid, *environment, *queue;
	struct ring ring;
	struct buf plain, envelope;
};

/* By the options; connects for the ring keys when there is no --ring. 0, or the exit status after a
 * report. sealer_close() is allowed after either, and on a zeroed sealer. */
int sealer_open(struct ctl *c, struct sealer *s);
/* Appends the job bytes of a clear letter to `job`; false with the reason in `why`. */
bool sealer_seal(struct sealer *s, const struct letter *l, struct buf *job, struct buf *why);
void sealer_close(struct sealer *s);

#endif
