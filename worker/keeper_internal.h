/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the keeper share: keeper.c has the state and the times, keeper_bundle.c the rules of a bundle,
 * keeper_secret.c the secrets, keeper_act.c what is asked of the worker. Private to them and to their tests.
 *
 * One cycle: the store is read (`fetch`), its bundle is held against the rules, and when it is a new one KMS is asked
 * (`unwrapping`); then secrets are opened by the ring that is there now; then the next cycle is due. There is one cycle
 * at a time, and `items` are views into `store`, which stays as it is until the next one.
 */
#ifndef WORKER_KEEPER_INTERNAL_H
#define WORKER_KEEPER_INTERNAL_H

#include "attest/bundle.h"
#include "worker/keeper.h"
#include "worker/kms_client.h"
#include "worker/store.h"

#define KEEPER_REFUSALS 32
#define KEEPER_ID_SIZE  32 /* SHA-256 of an item of the store */

#define KEEPER_BACKOFF_MS     500
#define KEEPER_BACKOFF_CAP_MS 30000
#define KEEPER_BUSY_MS        200   /* KMS is in use by a request */
#define KEEPER_LOOK_MS        60000 /* keys are looked at this often at least: the wall clock may be stepped */
#define KEEPER_ACT_TIMEOUT_MS 25000 /* the status server waits 30 s */

/* An item that was refused: said once. */
struct keeper_refusal {
	uint8_t id[KEEPER_ID_SIZE];
	bool final; /* was opened, and will never do: KMS is not asked again */
};

/* Who may sign, by the authority's word. */
struct keeper_grant {
	struct buf bytes; /* as it goes into the next bundle; empty: none */
	uint64_t serial;  /* 0: none */
	struct job_signer signer[GRANT_SIGNERS_MAX];
	size_t n;
};

enum keeper_act_step { KEEPER_ACT_NONE, KEEPER_ACT_KMS, KEEPER_ACT_DOCUMENT };

/* The request that is being answered. */
struct keeper_act {
	enum keeper_act_step step;
	enum status_act what;
	struct status_ticket *ticket;
	struct keyring *ring; /* of the new bundle */
	struct buf grant;     /* likewise */
	uint64_t version;     /* likewise */
	struct buf out;
	uv_timer_t timer;
};

struct keeper_known {
	char id[KEYRING_ID_MAX + 1];
	enum keyring_profile profile;
	enum keyring_state state;
};

struct keeper {
	uv_loop_t *loop;
	struct keeper_options o;
	const struct config *c;
	bool sealed; /* keys.source */
	struct kms_client *kms;
	uv_timer_t read, expiry, tell;
	unsigned handles; /* still to be closed by the loop */

	/* the cycle */
	struct store_fetch *fetch;
	struct buf store;
	struct store_items items;
	struct bundle bundle; /* that KMS is asked about */
	uint8_t bundle_id[KEEPER_ID_SIZE];
	bool unwrapping;
	bool waiting;  /* the bundle of this cycle is good, but for KMS */
	bool busy;     /* KMS is in use: this cycle says nothing */
	bool progress; /* something was taken in this cycle */
	enum err store_error;
	bool store_read;     /* there is a store_error, or none */
	const char *kms_why; /* NULL: no trouble */
	unsigned failures;   /* cycles without progress while something was missing */
	const char *said;    /* what was missing when it was logged */

	/* the wall clock */
	bool clock_trouble, clock_told;
	int64_t clock_offset_us; /* from that of the boot, when we were told last */

	/* what is in use */
	uint64_t version; /* 0: none */
	uint8_t hash[BUNDLE_HASH_SIZE];
	struct keeper_grant grant;
	char *secret[SEALED_NAME_COUNT]; /* guarded */
	bool complete;
	struct keeper_known known[KEYRING_KEYS_MAX];
	size_t n_known;

	struct buf plain; /* guarded; empty between uses */
	struct keeper_refusal refusal[KEEPER_REFUSALS];
	size_t next_refusal;
	struct keeper_act act;
};

/* --- keeper.c --------------------------------------------------------------------------------- */

/* Pure: until the next cycle after `failures` of them (at least 1). KMS is spared; the store is the parent's, and is
 * read no later than it would be if nothing were missing. */
unsigned keeper_wait_ms(unsigned failures, unsigned refresh_ms, bool kms, uint32_t random);
/* The end of a bundle's way, however it ended: the cycle goes on with the secrets. */
void keeper_go_on(struct keeper *k);
/* The ring is another one, or time has passed: lets keys expire when the clock is good, logs what changed, and sets the
 * time to look again. True when something did. */
bool keeper_look_at_keys(struct keeper *k);
/* Whether the item was not refused before: then it is to be logged. */
bool keeper_refuse(struct keeper *k, const uint8_t id[KEEPER_ID_SIZE], bool final);
bool keeper_is_refused_for_good(const struct keeper *k, const uint8_t id[KEEPER_ID_SIZE]);
void keeper_item_id(struct span item, uint8_t ret_id[KEEPER_ID_SIZE]);
int64_t keeper_now_s(void);
/* What the wall clock says may be acted upon. */
bool keeper_clock_good(const struct keeper *k);

/* --- keeper_bundle.c -------------------------------------------------------------------------- */

/* Holds the bundle of the store against the rules, and asks KMS when it is to be opened: `unwrapping` is set then, and
 * keeper_go_on() comes later. */
void keeper_bundle_offer(struct keeper *k);
/* A grant for a bundle of ours. NULL: it is good, and *ret_grant has its signers and a copy of its bytes; else the
 * stable reason, and *ret_code is what the reader of grants said. */
const char *keeper_grant_check(const struct keeper *k, struct span grant, struct keeper_grant *ret_grant,
			       const char **ret_code);
void keeper_grant_clear(struct keeper_grant *g);
bool keeper_has_authority(const struct keeper *k);

/* --- keeper_secret.c -------------------------------------------------------------------------- */

/* Opens the secrets of the store that are needed and not there yet. */
void keeper_secrets_take(struct keeper *k);
/* All that this configuration needs are there. */
bool keeper_secrets_there(const struct keeper *k);
void keeper_secrets_free(struct keeper *k);

/* --- keeper_act.c ----------------------------------------------------------------------------- */

void keeper_act_open(struct keeper *k);
/* Answers what is open with 503. */
void keeper_act_close(struct keeper *k);

#endif
