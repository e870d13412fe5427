/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: the rules between keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_fixture.h"

struct rule_case {
	struct setting with[5];
	const char *key, *rule; /* key NULL: it is good */
};

#define PRODUCTION                                    \
	{                                             \
		"worker", "environment", "production" \
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
	{ { PRODUCTION, NO_OFFICES }, "house.url", "must be /v2/message on cwc.house.gov" },
	{ { PRODUCTION, NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/validate" } },
	  "house.url",
	  "must be /v2/message" },
	{ { PRODUCTION, NO_OFFICES, { "house", "url", "https://uat-cwc.house.gov/v2/message" } },
	  "house.url",
	  "must be" },
	{ { PRODUCTION, NO_OFFICES, { "house", "url", "https://cwc.house.gov/v2/message" } }, NULL, NULL },
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
	    NO_OFFICES,
	    { "house", "url", "https://cwc.house.gov/v2/message" },
	    { "queue", "tls_verify", "false" } },
	  "queue.tls_verify",
	  "only while worker.environment is sandbox" },
	{ { { "worker", "sandbox", "off" } }, NULL, NULL },
	{ { PRODUCTION,
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
	{ { { "keys", "source", "file" } }, "keys.file", "is needed with source = file" },
	{ { { "keys", "source", "file" }, { "keys", "file", "/ring" } }, NULL, NULL },
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rule_cases); i++) {
		const struct rule_case *r = &rule_cases[i];
		size_t n = 0;

		while (n < 5 && r->with[n].name)
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
				  PRODUCTION };

	(void)state;
	assert_int_equal(load_with(with, 8, NULL), ERR_OK);
	assert_int_equal(load_with(with, 9, NULL), ERR_CONFIG);
	assert_problem("senate.url", "must not be a production endpoint");
	assert_int_equal(load_with(with, 10, NULL), ERR_OK);
	with[8].value = "https://soapbox.senate.gov/api/testing-messages/";
	assert_int_equal(load_with(with, 10, NULL), ERR_CONFIG);
	assert_problem("senate.url", "must have the path /api/production-messages/");
}

/* A key that could not be read is named once, not again by the rule that misses it. */
static void test_rules_after_problem(void **state)
{
	(void)state;
	assert_bad("house", "agent", "abc", "must have between");
	assert_bad("jobs", "signer", MARK, "must be KID HEX64");
	assert_int_equal(load_one("house", "url", "https://cwc.house.gov/v2/x"), ERR_CONFIG);
	assert_int_equal(problems.n, 2);
	assert_string_equal(problems.at[0].key, "house.url");
	assert_string_equal(problems.at[1].key, "house.offices_url");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_rules_senate),
		cmocka_unit_test(test_rules_after_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
