/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: the rules between keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_fixture.h"

struct rule_case {
	struct setting with[14];
	const char *key, *rule; /* key NULL: it is good */
};

#define PRODUCTION                                    \
	{                                             \
		"worker", "environment", "production" \
	}
#define NSM                               \
	{                                 \
		"attest", "device", "nsm" \
	}
#define LIVE                                                       \
	PRODUCTION, NSM, NO_OFFICES,                               \
	{                                                          \
		"house", "url", "https://cwc.house.gov/v2/message" \
	}
#define ARN "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define SEALED_KEYS                                                 \
	{ "keys", "source", "sealed" }, { "keys", "kms_key", ARN }, \
	{                                                           \
		"house", "api_key_file", NULL                       \
	}
#define SEALED NSM, SEALED_KEYS
#define HASH                                     \
	{                                        \
		"house", "api_key_sha256", HEX64 \
	}
#define STORE                                           \
	{                                               \
		"keys", "store_address", "vsock:3:7001" \
	}
#define USER                              \
	{                                 \
		"queue", "user", "worker" \
	}
#define WEB                                                                 \
	{                                                                   \
		"keys", "kms_ca_file", "/etc/ssl/certs/ca-certificates.crt" \
	}
#define TLS                            \
	{                              \
		"queue", "tls", "true" \
	}
#define NO_OFFICES                         \
	{                                  \
		"house", "offices_url", "" \
	}
#define LIVE_SENATE                                                                    \
	{                                                                              \
		"senate", "url", "https://soapbox.senate.gov/api/production-messages/" \
	}

static const struct rule_case rule_cases[] = {
	/* the two switches */
	{ { PRODUCTION, NSM, NO_OFFICES }, "house.url", "must be /v2/message on cwc.house.gov" },
	{ { PRODUCTION, NSM, NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/validate" } },
	  "house.url",
	  "must be /v2/message" },
	{ { PRODUCTION, NSM, NO_OFFICES, { "house", "url", "https://uat-cwc.house.gov/v2/message" } },
	  "house.url",
	  "must be" },
	{ { PRODUCTION, NSM, NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/message" } }, NULL, NULL },
	{ { NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/message" } },
	  "house.url",
	  "must not be a production" },
	{ { NO_OFFICES, { "house", "url", "https://uat-cwc.house.gov/x/Production-Messages/" } },
	  "house.url",
	  "must not be a production" },
	/* URLs */
	{ { { "http", "allowed_host", "soapbox.senate.gov" }, NO_OFFICES }, "house.url", "http.allowed_host" },
	{ { { "house", "offices_url", "https://evil.example.org/v2/offices" },
	    { "http", "allowed_host", "uat-cwc.house.gov" },
	    { "http", "allowed_host", "evil.example.org" } },
	  "house.offices_url",
	  "must be on the host of url" },
	{ { { "house", "offices_url", "https://evil.example.org/v2/offices" } },
	  "house.offices_url",
	  "http.allowed_host" },
	{ { NO_OFFICES, { "house", "offices_policy", "hold" } },
	  "house.offices_url",
	  "is needed with offices_policy = hold" },
	/* what an enabled chamber needs */
	{ { { "house", "agent", NULL } }, "house.agent", "is needed while the chamber is enabled" },
	{ { { "house", "agent_ack_email", "" } }, "house.agent_ack_email", "is needed while" },
	{ { { "house", "agent_contact_name", NULL } }, "house.agent_contact_name", "is needed while" },
	{ { { "house", "agent_contact_email", NULL } }, "house.agent_contact_email", "is needed while" },
	{ { { "house", "agent_contact_phone", NULL } }, "house.agent_contact_phone", "is needed while" },
	{ { { "house", "api_key_file", NULL } }, "house.api_key_file", "is needed while" },
	{ { { "house", "enabled", "false" } }, "house.enabled", "or senate.enabled must be true" },
	/* rates and times */
	{ { { "house", "rate", "6/s" } }, "house.rate", "must not be above rate_ceiling" },
	{ { { "house", "rate", "300/min" } }, NULL, NULL },
	{ { { "house", "total_timeout", "9s" }, { "house", "first_byte_timeout", "1s" } },
	  "house.connect_timeout",
	  "total_timeout" },
	{ { { "house", "total_timeout", "44s" } },
	  "house.first_byte_timeout",
	  "must not be longer than total_timeout" },
	{ { { "jobs", "backoff_cap", "29s" } }, "jobs.backoff_base", "must not be longer than backoff_cap" },
	/* leases and clocks */
	{ { { "queue", "lease", "9s" } }, "queue.lease", "must be longer than three times worker.skew_max" },
	{ { { "queue", "lease", "9001ms" } }, NULL, NULL },
	{ { { "worker", "skew_max", "4s" } }, "queue.lease", "must be longer than three times worker.skew_max" },
	{ { { "worker", "skew_max", "1min" }, { "queue", "lease", "1min" } }, "queue.lease", "three times" },
	{ { { "worker", "skew_max", "999ms" }, { "queue", "lease", "3s" } }, NULL, NULL },
	{ { { "worker", "skew_max", "1s" }, { "queue", "lease", "3s" } }, "queue.lease", "three times" },
	/* the queue */
	{ { TLS, { "queue", "tls_host", "redis" } }, "queue.ca_file", "is needed with tls = true" },
	{ { TLS, { "queue", "ca_file", "/ca" } }, "queue.tls_host", "is needed: the address has no host name" },
	{ { TLS, { "queue", "ca_file", "/ca" }, { "queue", "address", "tcp:redis:6379" } }, NULL, NULL },
	{ { TLS, { "queue", "tls_verify", "false" } }, NULL, NULL },
	{ { PRODUCTION,
	    NSM,
	    NO_OFFICES,
	    { "house", "url", "https://cwc.house.gov/v2/message" },
	    { "queue", "tls_verify", "false" } },
	  "queue.tls_verify",
	  "only while worker.environment is sandbox" },
	{ { { "worker", "sandbox", "off" } }, NULL, NULL },
	{ { PRODUCTION,
	    NSM,
	    NO_OFFICES,
	    { "house", "url", "https://cwc.house.gov/v2/message" },
	    { "worker", "sandbox", "off" } },
	  "worker.sandbox",
	  "only while worker.environment is sandbox" },
	{ { { "queue", "user", "worker" } }, "queue.password_file", "is needed with user" },
	{ { { "queue", "password_file", "/p" } }, NULL, NULL },
	{ { { "queue", "cert_file", "/c" } }, "queue.key_file", "is needed with cert_file" },
	{ { { "queue", "key_file", "/k" } }, "queue.cert_file", "is needed with key_file" },
	/* jobs and keys */
	{ { { "jobs", "signer", NULL } }, "jobs.signer", "is needed" },
	{ { { "jobs", "signer", NULL }, { "jobs", "authority", "root-1 " HEX64 } }, "jobs.signer", "is needed" },
	{ { SEALED, STORE, { "jobs", "signer", NULL } }, "jobs.signer", "is needed" },
	{ { SEALED, STORE, { "jobs", "signer", NULL }, { "jobs", "authority", "root-1 " HEX64 } }, NULL, NULL },
	{ { LIVE }, NULL, NULL },
	{ { LIVE, { "keys", "overlap", "30d" } }, "keys.overlap", "must be at least 31d" },
	{ { LIVE, { "keys", "overlap", "31d" } }, NULL, NULL },
	{ { { "keys", "overlap", "0s" } }, NULL, NULL },
	/* a key is active when all workers have it */
	{ { LIVE, { "keys", "delay", "599s" } }, "keys.delay", "must be at least 10min" },
	{ { LIVE, { "keys", "delay", "10min" } }, NULL, NULL },
	{ { { "keys", "delay", "1s" } }, NULL, NULL },
	{ { SEALED, STORE, { "keys", "refresh", "300001ms" } }, "keys.refresh", "half of keys.delay" },
	{ { SEALED, STORE, { "keys", "refresh", "5min" } }, NULL, NULL },
	{ { SEALED, STORE, { "keys", "delay", "119s" } }, "keys.refresh", "half of keys.delay" },
	{ { SEALED, STORE, { "keys", "delay", "7d" }, { "keys", "refresh", "1h" } }, NULL, NULL },
	{ { SEALED, STORE, { "keys", "delay", "0s" }, { "keys", "refresh", "1h" } }, NULL, NULL },
	{ { { "keys", "refresh", "1h" } }, NULL, NULL },
	{ { LIVE, { "keys", "refresh", "1h" } }, NULL, NULL },
	/* a letter of the other release is not rejected for good */
	{ { LIVE, { "jobs", "key_wait", "3599s" } }, "jobs.key_wait", "must be at least 1h" },
	{ { LIVE, { "jobs", "key_wait", "1h" } }, NULL, NULL },
	{ { { "jobs", "key_wait", "0s" } }, NULL, NULL },
	{ { PRODUCTION, NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/message" } },
	  "attest.device",
	  "may be none only while worker.environment is sandbox" },
	{ { SEALED, STORE }, NULL, NULL },
	{ { SEALED }, "keys.store_address", "is needed with source = sealed" },
	{ { SEALED, STORE, { "keys", "kms_key", "" } }, "keys.kms_key", "is set twice" },
	{ { NSM, { "keys", "source", "sealed" }, { "house", "api_key_file", NULL }, STORE },
	  "keys.kms_key",
	  "is needed with source = sealed" },
	{ { { "keys", "source", "sealed" }, { "keys", "kms_key", ARN }, { "house", "api_key_file", NULL }, STORE },
	  "attest.device",
	  "must not be none with keys.source = sealed" },
	{ { NSM, { "keys", "source", "sealed" }, { "keys", "kms_key", ARN }, STORE },
	  "house.api_key_file",
	  "must be empty with keys.source = sealed" },
	{ { SEALED, STORE, { "senate", "api_key_file", "/k" } }, "senate.api_key_file", "must be empty" },
	{ { SEALED, STORE, { "queue", "password_file", "/p" } }, "queue.password_file", "must be empty" },
	{ { SEALED, STORE, { "queue", "password_file", "/p" } }, "queue.password_file", "queue.user = default" },
	{ { SEALED, STORE, { "queue", "user", "worker" } }, NULL, NULL },
	/* no secret crosses the parent, or lies in the image */
	{ { LIVE, SEALED_KEYS, STORE, HASH, USER }, "queue.tls", "must be true with user" },
	{ { LIVE, SEALED_KEYS, STORE, HASH, USER, { "queue", "address", "unix:/run/r.sock" } },
	  "queue.tls",
	  "must be" },
	{ { LIVE, SEALED_KEYS, STORE, HASH, USER, { "queue", "address", "tcp:127.0.0.1:6379" } },
	  "queue.tls",
	  "must be true with user" },
	{ { LIVE,
	    SEALED_KEYS,
	    STORE,
	    HASH,
	    USER,
	    TLS,
	    { "queue", "ca_file", "/ca" },
	    { "queue", "tls_host", "redis" } },
	  NULL,
	  NULL },
	{ { LIVE, USER, { "queue", "password_file", "/p" } }, NULL, NULL },
	{ { SEALED, STORE, { "queue", "cert_file", "/c" }, { "queue", "key_file", "/k" } },
	  "queue.key_file",
	  "must be empty with keys.source = sealed" },
	{ { { "queue", "cert_file", "/c" }, { "queue", "key_file", "/k" } }, NULL, NULL },
	/* who may vouch for KMS */
	{ { SEALED, STORE, WEB }, NULL, NULL },
	{ { LIVE, WEB }, NULL, NULL },
	{ { LIVE, SEALED_KEYS, STORE, HASH, WEB }, "keys.kms_ca_file", "must not be the list of all the web's" },
	{ { LIVE, SEALED_KEYS, STORE, HASH, { "keys", "kms_ca_file", "/own.pem" } }, NULL, NULL },
	/* whose API key it is */
	{ { HASH }, NULL, NULL },
	{ { SEALED, STORE, HASH }, NULL, NULL },
	{ { LIVE, SEALED_KEYS, STORE }, "house.api_key_sha256", "is needed with keys.source = sealed" },
	{ { LIVE, SEALED_KEYS, STORE, { "senate", "api_key_sha256", HEX64 } }, "house.api_key_sha256", "is needed" },
	{ { LIVE, SEALED_KEYS, STORE, HASH }, NULL, NULL },
#ifdef CWC_DEV
	{ { { "attest", "device", "simulated" } }, NULL, NULL },
	{ { { "keys", "source", "file" } }, "keys.file", "is needed with source = file" },
	{ { { "keys", "source", "file" }, { "keys", "file", "/ring" } }, NULL, NULL },
	{ { LIVE, { "keys", "source", "file" }, { "keys", "file", "/ring" } },
	  "keys.source",
	  "may be file only while worker.environment is sandbox" },
#else
	{ { { "attest", "device", "simulated" } }, "attest.device", "must be one of: nsm, none" },
	{ { { "keys", "source", "file" } }, "keys.source", "must be one of: boot, sealed" },
	{ { { "keys", "file", "/ring" } }, "keys.file", "is not a known key" },
#endif
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rule_cases); i++) {
		const struct rule_case *r = &rule_cases[i];
		size_t n = 0;

		while (n < COUNT(r->with) && r->with[n].name)
			n++;
		(void)load_with(r->with, n, NULL);
		if (r->key) {
			assert_problem(r->key, r->rule);
			continue;
		}
		show_problems();
		assert_int_equal(problems.n, 0);
	}
}

static void test_rules_senate(void **state)
{
	struct setting with[] = { { "house", "enabled", "false" },
				  { "senate", "enabled", "true" },
				  { "senate", "agent", "Sample Civic Relay, LLC" },
				  { "senate", "agent_ack_email", "acks@example.org" },
				  { "senate", "agent_contact_name", "Robin Sample" },
				  { "senate", "agent_contact_email", "desk@example.org" },
				  { "senate", "agent_contact_phone", "202-555-0142" },
				  { "senate", "api_key_file", "/k" },
				  LIVE_SENATE,
				  NSM,
				  PRODUCTION };

	(void)state;
	assert_int_equal(load_with(with, 8, NULL), ERR_OK);
	assert_int_equal(load_with(with, 10, NULL), ERR_CONFIG);
	assert_problem("senate.url", "must not be a production endpoint");
	assert_int_equal(load_with(with, 11, NULL), ERR_OK);
	with[8].value = "https://soapbox.senate.gov/api/testing-messages/";
	assert_int_equal(load_with(with, 11, NULL), ERR_CONFIG);
	assert_problem("senate.url", "must have the path /api/production-messages/");
}

/* The parent says where Redis is dialled, and not whom its certificate must name. */
static void test_rules_tls_host(void **state)
{
	static const struct setting with[] = { TLS,
					       { "queue", "ca_file", "/ca" },
					       { "queue", "address", "tcp:redis:6379" },
					       { "queue", "tls_host", "redis" } };
	static const char *const host = "[queue]\naddress = tcp:elsewhere:6379\n";

	(void)state;
	assert_int_equal(load_with(with, 3, "[queue]\ntimeout = 3s\n"), ERR_OK);
	assert_int_equal(load_with(with, 3, host), ERR_CONFIG);
	assert_problem("queue.tls_host", "is needed: the address is not of the measured file");
	assert_int_equal(load_with(with, 4, host), ERR_OK);
}

/* A key that could not be read is named once, not again by the rule that misses it. */
static void test_rules_after_problem(void **state)
{
	(void)state;
	assert_bad("house", "agent", "abc", "must have between");
	assert_bad("jobs", "signer", MARK, "must be KID HEX64 [");
	assert_int_equal(load_one("house", "url", "https://cwc.house.gov/v2/x"), ERR_CONFIG);
	assert_int_equal(problems.n, 2);
	assert_string_equal(problems.at[0].key, "house.url");
	assert_string_equal(problems.at[1].key, "house.offices_url");
}

/* A sealed password is taken with a user only: whoever has a password alone must learn whom to name. */
static void test_user_of_a_sealed_password(void **state)
{
	const size_t i = config_find("queue", "user");

	(void)state;
	assert_true(i < config_n_keys);
	assert_non_null(strstr(config_keys[i].text, "queue.password"));
	assert_non_null(strstr(config_keys[i].text, "requirepass alone say default"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_rules_senate),
		cmocka_unit_test(test_rules_tls_host),
		cmocka_unit_test(test_rules_after_problem),
		cmocka_unit_test(test_user_of_a_sealed_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
