/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules between keys. The ones that matter most: a worker sends to Congress in earnest only when
 * environment and URL say so independently of each other, and an API key goes to one host only.
 */
#include <stdio.h>
#include <string.h>

#include "config/table.h"

static const char *const sections[CONFIG_CHAMBERS] = { [CONFIG_HOUSE] = "house", [CONFIG_SENATE] = "senate" };

static bool has_problem(const struct config_problems *p, const char *section, const char *name)
{
	char key[sizeof(p->at[0].key)];

	(void)snprintf(key, sizeof(key), "%s.%s", section, name);
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->at[i].key, key) == 0)
			return true;
	return false;
}

static void refuse(const struct config_check *k, const char *section, const char *name, const char *rule)
{
	size_t i = config_find(section, name);
	struct config_origin at = { .file = k->measured };

	BUG_ON(i == config_n_keys);
	if (has_problem(k->problems, section, name))
		return;
	if (k->origin[i].line)
		at = k->origin[i];
	config_problem_add(k->problems, &at, section, name, rule);
}

static bool is_measured(const struct config_check *k, const char *section, const char *name)
{
	size_t i = config_find(section, name);

	BUG_ON(i == config_n_keys);
	return k->origin[i].line == 0 || k->origin[i].file == k->measured;
}

static bool is_production(const struct config *c)
{
	return strcmp(c->environment, "production") == 0;
}

static bool is_sealed(const struct config *c)
{
	return c->key_source == CONFIG_KEYS_SEALED;
}

/* --- chambers -------------------------------------------------------------------------------- */

static void check_host(const struct config_check *k, size_t i, const char *name, struct span host)
{
	for (size_t n = 0; n < k->c->n_allowed_hosts; n++)
		if (span_eq_str(host, k->c->allowed_host[n]))
			return;
	/* A broken list says nothing about the URL. */
	if (!has_problem(k->problems, "http", "allowed_host"))
		refuse(k, sections[i], name, "must be on a host that http.allowed_host names");
}

/* The two switches. In the sandbox nothing that even looks like a production endpoint will do. */
static void check_environment(const struct config_check *k, size_t i, struct span host, struct span path)
{
	bool house = span_eq_str(host, "cwc.house.gov");

	if (!is_production(k->c)) {
		if (house || strcasestr(k->c->chamber[i].url, "production-messages"))
			refuse(k, sections[i], "url",
			       "must not be a production endpoint while worker.environment is sandbox");
	} else if (i == CONFIG_HOUSE && !(house && span_eq_str(path, "/v2/message"))) {
		refuse(k, sections[i], "url",
		       "must be /v2/message on cwc.house.gov while worker.environment is production");
	} else if (i == CONFIG_SENATE && !span_eq_str(path, "/api/production-messages/")) {
		refuse(k, sections[i], "url",
		       "must have the path /api/production-messages/ while worker.environment is production");
	}
}

static void check_urls(const struct config_check *k, size_t i)
{
	const struct config_chamber *ch = &k->c->chamber[i];
	struct span host, path, offices_host, offices_path;
	const char *rule;
	enum err e = config_url(span_str(ch->url), &host, &path, &rule);

	BUG_ON(e != ERR_OK);
	check_host(k, i, "url", host);
	check_environment(k, i, host, path);
	if (!ch->offices_url[0]) {
		if (ch->offices_policy == CONFIG_OFFICES_HOLD)
			refuse(k, sections[i], "offices_url", "is needed with offices_policy = hold");
		return;
	}
	e = config_url(span_str(ch->offices_url), &offices_host, &offices_path, &rule);
	BUG_ON(e != ERR_OK);
	check_host(k, i, "offices_url", offices_host);
	/* It is asked with the same API key. */
	if (!span_eq(host, offices_host))
		refuse(k, sections[i], "offices_url", "must be on the host of url");
}

static void check_needed(const struct config_check *k, size_t i)
{
	const struct config_chamber *ch = &k->c->chamber[i];
	const struct {
		const char *name, *value;
	} needed[] = {
		{ "agent", ch->agent },
		{ "agent_ack_email", ch->agent_ack_email },
		{ "agent_contact_name", ch->agent_contact_name },
		{ "agent_contact_email", ch->agent_contact_email },
		{ "agent_contact_phone", ch->agent_contact_phone },
	};

	for (size_t n = 0; n < sizeof(needed) / sizeof(needed[0]); n++)
		if (!needed[n].value[0])
			refuse(k, sections[i], needed[n].name, "is needed while the chamber is enabled");
	if (!is_sealed(k->c) && !ch->api_key_file[0])
		refuse(k, sections[i], "api_key_file", "is needed while the chamber is enabled");
	/* Anybody can seal one: the parent's own would make letters go out under the parent's account. */
	if (is_sealed(k->c) && is_production(k->c) && !ch->api_key_sha256[0])
		refuse(k, sections[i], "api_key_sha256",
		       "is needed with keys.source = sealed while worker.environment is production");
}

/* Also of a chamber that is not enabled: a measured file is written to last. */
static void check_maintenance(const struct config_check *k, size_t i)
{
	char rule[CONFIG_RULE_SIZE];

	if (!k->windows || k->windows(span_str(k->c->chamber[i].maintenance)))
		return;
	(void)snprintf(rule, sizeof(rule), "must be %s", config_type_form(CONFIG_TYPE_WINDOWS));
	refuse(k, sections[i], "maintenance", rule);
}

static void check_chamber(const struct config_check *k, size_t i)
{
	const struct config_chamber *ch = &k->c->chamber[i];

	check_urls(k, i);
	check_needed(k, i);
	if (ch->rate > ch->rate_ceiling)
		refuse(k, sections[i], "rate", "must not be above rate_ceiling");
	if (ch->connect_timeout_ms > ch->total_timeout_ms)
		refuse(k, sections[i], "connect_timeout", "must not be longer than total_timeout");
	if (ch->first_byte_timeout_ms > ch->total_timeout_ms)
		refuse(k, sections[i], "first_byte_timeout", "must not be longer than total_timeout");
}

/* --- the others ------------------------------------------------------------------------------ */

/* Whom the certificate must name is never the host's to say: it would get the password, under a name of its own. */
static void check_queue_tls(const struct config_check *k)
{
	const struct config *c = k->c;

	if (!c->queue_ca_file[0])
		refuse(k, "queue", "ca_file", "is needed with tls = true");
	if (c->queue_tls_host[0])
		return;
	if (c->queue_address.kind != ADDR_TCP)
		refuse(k, "queue", "tls_host", "is needed: the address has no host name");
	else if (!is_measured(k, "queue", "address"))
		refuse(k, "queue", "tls_host", "is needed: the address is not of the measured file");
}

static void check_queue(const struct config_check *k)
{
	const struct config *c = k->c;

	if (!c->queue_tls_verify && is_production(c))
		refuse(k, "queue", "tls_verify", "may be false only while worker.environment is sandbox");
	if (c->queue_tls && c->queue_tls_verify)
		check_queue_tls(k);
	/* A lease is written by one clock and judged by another, each off by skew_max at most, and is renewed at a
	 * third of it: what is left must be more than what the clocks can take. */
	if (c->lease_ms <= 3 * c->skew_max_ms && !has_problem(k->problems, "worker", "skew_max"))
		refuse(k, "queue", "lease", "must be longer than three times worker.skew_max");
	if (c->queue_user[0] && !c->queue_password_file[0] && !is_sealed(c))
		refuse(k, "queue", "password_file", "is needed with user");
	if (c->queue_cert_file[0] && !c->queue_key_file[0])
		refuse(k, "queue", "key_file", "is needed with cert_file");
	if (c->queue_key_file[0] && !c->queue_cert_file[0])
		refuse(k, "queue", "cert_file", "is needed with key_file");
}

/* Of two releases on one queue either meets what is sealed for the other, and would reject it for good. */
#define KEY_WAIT_MIN_S 3600

static void check_jobs(const struct config_check *k)
{
	const struct config *c = k->c;

	/* A measured one may have no end; all that come by grants have one. */
	if (c->n_signers == 0 && !(is_sealed(c) && c->authority.kid[0]))
		refuse(k, "jobs", "signer", "is needed, but with an authority and keys.source = sealed");
	for (size_t i = 1; i < c->n_signers; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(c->signer[i].kid, c->signer[j].kid) == 0)
				refuse(k, "jobs", "signer", "has a key id that another signer has");
	if (c->backoff_base_ms > c->backoff_cap_ms)
		refuse(k, "jobs", "backoff_base", "must not be longer than backoff_cap");
	if (is_production(c) && c->key_wait_s < KEY_WAIT_MIN_S)
		refuse(k, "jobs", "key_wait", "must be at least 1h while worker.environment is production");
}

#define WEB_ROOTS "/etc/ssl/certs/ca-certificates.crt"

/* With a sealed ring all secrets come sealed: one that also lay in a file would be read by whoever made the image. */
static void check_sealed(const struct config_check *k)
{
	const struct config *c = k->c;

	if (!is_sealed(c))
		return;
	if (c->device == CONFIG_DEVICE_NONE)
		refuse(k, "attest", "device", "must not be none with keys.source = sealed");
	if (!c->kms_key[0])
		refuse(k, "keys", "kms_key", "is needed with source = sealed");
	if (!c->store_address.text[0])
		refuse(k, "keys", "store_address", "is needed with source = sealed");
	/* The channel to KMS is not bound to the enclave: whoever ends TLS there is believed about the data key. */
	if (is_production(c) && strcmp(c->kms_ca_file, WEB_ROOTS) == 0)
		refuse(k, "keys", "kms_ca_file", "must not be the list of all the web's authorities in production");
	/* Whatever the address, which is the host's to say: what looks like a socket of this machine ends elsewhere. */
	if (is_production(c) && c->queue_user[0] && !c->queue_tls)
		refuse(k, "queue", "tls", "must be true with user and keys.source = sealed in production");
	if (c->queue_password_file[0])
		refuse(k, "queue", "password_file",
		       "must be empty with keys.source = sealed: seal queue.password, and set queue.user (for a Redis "
		       "with requirepass alone: queue.user = default)");
	if (c->queue_key_file[0])
		refuse(k, "queue", "key_file", "must be empty with keys.source = sealed");
	for (size_t i = 0; i < CONFIG_CHAMBERS; i++)
		if (c->chamber[i].api_key_file[0])
			refuse(k, sections[i], "api_key_file", "must be empty with keys.source = sealed");
}

/* A job lives 30 days: a key that is gone sooner would leave letters that nobody can open. */
#define OVERLAP_MIN_S (31 * 86400)
/* A new bundle is put into every store, and then read by each worker. */
#define DELAY_MIN_S 600

/* Browsers seal to an active key: a worker that has not read the store since would reject what it cannot open. Twice,
 * since one reading may fail. The one is the host's to say. */
static void check_refresh(const struct config_check *k)
{
	const struct config *c = k->c;

	if (!is_sealed(c) || c->key_delay_s == 0)
		return;
	if (2 * (uint64_t)c->key_refresh_ms > 1000 * (uint64_t)c->key_delay_s)
		refuse(k, "keys", "refresh", "must not be longer than half of keys.delay with source = sealed");
}

static void check_keys(const struct config_check *k)
{
	const struct config *c = k->c;

	check_sealed(k);
	check_refresh(k);
#ifdef CWC_DEV
	if (c->key_source == CONFIG_KEYS_FILE && !c->key_file[0])
		refuse(k, "keys", "file", "is needed with source = file");
#endif
	if (!is_production(c))
		return;
	if (c->device == CONFIG_DEVICE_NONE)
		refuse(k, "attest", "device", "may be none only while worker.environment is sandbox");
	if (c->key_source == CONFIG_KEYS_FILE)
		refuse(k, "keys", "source", "may be file only while worker.environment is sandbox");
	if (c->key_delay_s < DELAY_MIN_S)
		refuse(k, "keys", "delay", "must be at least 10min while worker.environment is production");
	if (c->key_overlap_s < OVERLAP_MIN_S)
		refuse(k, "keys", "overlap", "must be at least 31d while worker.environment is production");
}

void config_check_rules(const struct config_check *k)
{
	bool any = false;

	check_queue(k);
	check_jobs(k);
	check_keys(k);
	if (k->c->sandbox == CONFIG_SANDBOX_OFF && is_production(k->c))
		refuse(k, "worker", "sandbox", "may be off only while worker.environment is sandbox");
	for (size_t i = 0; i < CONFIG_CHAMBERS; i++) {
		check_maintenance(k, i);
		if (k->c->chamber[i].enabled)
			check_chamber(k, i);
		any = any || k->c->chamber[i].enabled;
	}
	if (!any)
		refuse(k, "house", "enabled", "or senate.enabled must be true");
}
