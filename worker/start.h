/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read and made at the start, before the loop runs and before the sandbox: the security module, secrets, keys.
 * Each says what is wrong on standard error and in the log, and returns an exit status; 0: go on.
 */
#ifndef WORKER_START_H
#define WORKER_START_H

#include "attest/keyring.h"
#include "worker/attestor.h"
#include "worker/sandbox.h"

/* sysexits.h: EX_USAGE, EX_CONFIG; 1 is "stopped before everything was given back". */
#define EXIT_USAGE  64
#define EXIT_CONFIG 78
#define EXIT_LEFT   1

/* Of files; with sealed keys they come from the store, and these are NULL. In guarded memory. */
struct start_secrets {
	char *api_key[CONFIG_CHAMBERS];
	char *queue_password;
};

/* A configuration that cannot be used: always EXIT_CONFIG. */
int start_complain(const char *key, const char *rule);
int start_secrets(const struct config *c, struct start_secrets *s);
void start_secrets_free(struct start_secrets *s);
/* Before any key is made: the device seeds the kernel's entropy. */
int start_attestor(uv_loop_t *loop, const struct config *c, struct attestor **ret_attestor);
/* The ring by its source; with sealed keys an empty one. To be freed also after an error. */
int start_keys(const struct config *c, struct keyring **ret_ring);
/* The filter of system calls under which the engine is still to be made. *ret_narrow: start_narrow() has to come. */
int start_confine(const struct config *c, bool attested, struct sandbox_options *ret_options, bool *ret_narrow);
int start_narrow(const struct sandbox_options *o);

#endif
