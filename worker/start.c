/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/start.h"

#include <stdio.h>

#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define API_KEY_MAX  512
#define PASSWORD_MAX 512
#define TLS_KEY_MAX  16384

#define PCR0_SHOWN 8 /* bytes: enough to tell releases apart */

int start_complain(const char *key, const char *rule)
{
	fprintf(stderr, "cwc-worker: %s: %s\n", key, rule);
	log_event(LOG_START_FAILED, LOG_STR(F_CONFIG_KEY, key));
	return EXIT_CONFIG;
}

/* --- secrets ---------------------------------------------------------------------------------- */

static const char *secret_rule(enum err e)
{
	if (e == ERR_NOT_FOUND)
		return "the file does not exist";
	if (e == ERR_CONFIG)
		return "the file is empty, or readable by others (mode 0600 is required)";
	return e == ERR_LIMIT ? "the file is too large" : "the file cannot be read";
}

static int read_secret(const char *key, const char *path, size_t max, char **ret_secret)
{
	enum err e = secret_file(path, max, ret_secret);
	return e == ERR_OK ? 0 : start_complain(key, secret_rule(e));
}

/* Read by OpenSSL; here only to hold it to the same rules. */
static int check_tls_key(const struct config *c)
{
	char *key;
	if (c->queue_key_file[0] == '\0')
		return 0;
	int r = read_secret("queue.key_file", c->queue_key_file, TLS_KEY_MAX, &key);
	if (r == 0)
		secret_free(key);
	return r;
}

static int read_api_key(const struct config_chamber *ch, const char *file_key, const char *hash_key, char **ret_key)
{
	int r = read_secret(file_key, ch->api_key_file, API_KEY_MAX, ret_key);
	if (r == 0 && !secret_has_hash(span_str(*ret_key), ch->api_key_sha256))
		return start_complain(hash_key, "is not the hash of the key in api_key_file");
	return r;
}

int start_secrets(const struct config *c, struct start_secrets *s)
{
	static const char *const files[] = { "house.api_key_file", "senate.api_key_file" };
	static const char *const hashes[] = { "house.api_key_sha256", "senate.api_key_sha256" };
	int r = check_tls_key(c);
	if (c->key_source == CONFIG_KEYS_SEALED)
		return r;
	for (int i = 0; i < CONFIG_CHAMBERS && r == 0; i++)
		if (c->chamber[i].enabled)
			r = read_api_key(&c->chamber[i], files[i], hashes[i], &s->api_key[i]);
	if (r == 0 && c->queue_password_file[0] != '\0')
		r = read_secret("queue.password_file", c->queue_password_file, PASSWORD_MAX, &s->queue_password);
	return r;
}

void start_secrets_free(struct start_secrets *s)
{
	for (int i = 0; i < CONFIG_CHAMBERS; i++)
		secret_free(s->api_key[i]);
	secret_free(s->queue_password);
	*s = (struct start_secrets){ 0 };
}

/* --- the security module ---------------------------------------------------------------------- */

int start_attestor(uv_loop_t *loop, const struct config *c, struct attestor **ret_attestor)
{
	const char *rule;
	struct attestor *a;
	char pcr0[2 * PCR0_SHOWN + 1];
	if (attestor_open(loop, c, &a, &rule) != ERR_OK)
		return start_complain("attest.device", rule);
	*ret_attestor = a;
	if (a == NULL) {
		log_event(LOG_UNATTESTED, LOG_STR(F_REASON, "configured"));
		return 0;
	}
	text_hex(span_of(attestor_pcrs(a)[0], PCR0_SHOWN), pcr0);
	if (attestor_debug(a))
		log_event(LOG_UNATTESTED, LOG_STR(F_REASON, "debug"), LOG_STR(F_MODULE, attestor_module_id(a)));
	else
		log_event(LOG_ATTESTED, LOG_STR(F_MODULE, attestor_module_id(a)), LOG_STR(F_PCR0, pcr0));
	return 0;
}

/* --- keys ------------------------------------------------------------------------------------- */

static int make_keys(struct keyring *r)
{
	int64_t now_s = clock_wall_us() / 1000000;
	const struct keyring_times t = { .created_s = now_s, .activate_s = now_s };
	if (keyring_make(r, KEYRING_WITNESS, &t) != ERR_OK || keyring_make(r, KEYRING_LETTER, &t) != ERR_OK)
		return start_complain("keys.source", "no key could be made");
	return 0;
}

#ifdef CWC_DEV
static int load_keys(const struct config *c, struct keyring *r)
{
	const char *rule;
	unsigned line;
	if (keyring_load(r, c->key_file, &line, &rule) == ERR_OK)
		return 0;
	fprintf(stderr, "cwc-worker: keys.file: line %u: %s\n", line, rule);
	log_event(LOG_START_FAILED, LOG_STR(F_CONFIG_KEY, "keys.file"));
	return EXIT_CONFIG;
}
#else
static int load_keys(const struct config *c, struct keyring *r)
{
	(void)c;
	(void)r;
	return start_complain("keys.source", "keys in a file are for development builds");
}
#endif

int start_keys(const struct config *c, struct keyring **ret_ring)
{
	const char *context[CONFIG_CONTEXTS_MAX];
	struct keyring *r = keyring_new();
	*ret_ring = r;
	for (size_t i = 0; i < c->n_contexts; i++)
		context[i] = c->witness_context[i];
	if (keyring_default_contexts(r, context, c->n_contexts) != ERR_OK)
		return start_complain("keys.witness_context", "must have 16 to 64 bytes");
	switch (c->key_source) {
	case CONFIG_KEYS_BOOT:
		return make_keys(r);
	case CONFIG_KEYS_FILE:
		return load_keys(c, r);
	case CONFIG_KEYS_SEALED:
	default:
		return 0;
	}
}

/* --- the sandbox ------------------------------------------------------------------------------ */

/* With the sanitizers' and gcov's own work at the end of a process, their builds could not exit. */
#if defined(__SANITIZE_ADDRESS__) || defined(CWC_COVERAGE)
#define CAN_BE_CONFINED false
#else
#define CAN_BE_CONFINED true
#endif

#define RULE "the kernel has no filters of system calls (seccomp), or refuses one"

static void needs(const struct config *c, struct sandbox_options *o)
{
	sandbox_need(o, &c->queue_address);
	for (int i = 0; i < CONFIG_CHAMBERS; i++)
		if (c->chamber[i].enabled)
			sandbox_need(o, &c->chamber[i].address);
	if (c->key_source != CONFIG_KEYS_SEALED)
		return;
	sandbox_need(o, &c->store_address);
	sandbox_need(o, &c->kms_address);
	sandbox_need(o, &c->credentials_address);
}

int start_confine(const struct config *c, bool attested, struct sandbox_options *ret_options, bool *ret_narrow)
{
	struct sandbox_options o = { .nsm = attested, .opening = true };
	*ret_narrow = false;
	if (c->sandbox == CONFIG_SANDBOX_OFF || !CAN_BE_CONFINED) {
		log_event(LOG_UNCONFINED, LOG_STR(F_REASON, CAN_BE_CONFINED ? "configured" : "instrumented"));
		return 0;
	}
	needs(c, &o);
	if (sandbox_enter(&o) != ERR_OK)
		return start_complain("worker.sandbox", RULE);
	*ret_options = o;
	*ret_narrow = true;
	return 0;
}

int start_narrow(const struct sandbox_options *o)
{
	return sandbox_narrow(o) == ERR_OK ? 0 : start_complain("worker.sandbox", RULE);
}
