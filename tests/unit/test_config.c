/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: the defaults, and what values each type takes and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_fixture.h"

static void test_defaults(void **state)
{
	const struct config_chamber *house = &conf.chamber[CONFIG_HOUSE], *senate = &conf.chamber[CONFIG_SENATE];

	(void)state;
	assert_int_equal(load_with(NULL, 0, NULL), ERR_OK);
	assert_string_equal(conf.environment, "sandbox");
	assert_true(conf.name[0] != '\0');
	assert_int_equal(conf.drain_timeout_ms, 75000);
	assert_int_equal(conf.log_level, CONFIG_LOG_INFO);
	assert_int_equal(conf.log_format, CONFIG_LOG_JSON);
	assert_string_equal(conf.queue_address.text, "unix:/run/redis/redis.sock");
	assert_string_equal(conf.queue_name, "q");
	assert_true(!conf.queue_tls && conf.queue_tls_verify && !conf.allow_eviction);
	assert_int_equal(conf.lease_ms, 10000);
	assert_int_equal(conf.skew_max_ms, 3000);
	assert_int_equal(conf.sandbox, CONFIG_SANDBOX_REQUIRED);
	assert_int_equal(conf.replicas, 0);
	assert_int_equal(conf.replica_timeout_ms, 200);
	assert_int_equal(conf.alarm_dead, 1000);
	assert_int_equal(conf.alarm_unknown, 100);
	assert_int_equal(conf.alarm_stuck, 1);
	assert_int_equal(conf.alarm_results, 100000);
	assert_int_equal(conf.alarm_memory, 80);
	assert_string_equal(house->maintenance, "daily 00:00-06:00");
	assert_string_equal(senate->maintenance, "sun 00:00-06:00, wed 05:00-07:00");
	assert_int_equal(house->breaker_open_ms, 30000);
	assert_int_equal(conf.n_signers, 1);
	assert_string_equal(conf.signer[0].kid, "app-1");
	assert_int_equal(conf.signer[0].public_key[0], 0xa1);
	assert_int_equal(conf.age_max_s, 3 * 86400);
	assert_int_equal(conf.key_wait_s, 86400);
	assert_int_equal(conf.n_contexts, 3);
	assert_string_equal(conf.witness_context[0], "voter-protocol-witness-encryption-v1");
	assert_int_equal(conf.n_allowed_hosts, 3);
	assert_string_equal(conf.allowed_host[2], "soapbox.senate.gov");
	assert_true(house->enabled && !senate->enabled);
	assert_string_equal(house->url, "https://uat-cwc.house.gov/v2/message");
	assert_string_equal(senate->url, "https://soapbox.senate.gov/api/testing-messages/");
	assert_int_equal(house->unknown_policy, CONFIG_UNKNOWN_HOLD);
	assert_int_equal(senate->unknown_policy, CONFIG_UNKNOWN_RESEND);
	assert_true(house->rate_ceiling == 5 && house->rate == 0 && house->office_rate == 0);
	assert_int_equal(house->answer_max, 65536);
	assert_int_equal(house->address.text[0], '\0');
	assert_int_equal(conf.status_address.text[0], '\0');
}

static void test_bool_and_words(void **state)
{
	(void)state;
	assert_good("queue", "allow_eviction", "true");
	assert_true(conf.allow_eviction);
	assert_bad("queue", "allow_eviction", "yes" MARK, "must be true or false");
	assert_bad("queue", "allow_eviction", "", "needs a value");
	assert_good("worker", "log_level", "debug");
	assert_int_equal(conf.log_level, CONFIG_LOG_DEBUG);
	assert_bad("worker", "log_level", MARK, "must be one of: error, warning, info, debug");
	assert_bad("worker", "environment", MARK, "must be one of: sandbox, production");
}

static void test_numbers(void **state)
{
	(void)state;
	assert_good("jobs", "attempts", "100");
	assert_int_equal(conf.attempts, 100);
	assert_bad("jobs", "attempts", "0", "must be between 1 and 100");
	assert_bad("jobs", "attempts", "101", "must be between 1 and 100");
	assert_bad("jobs", "attempts", "99999999999999999999999", "must be between 1 and 100");
	assert_bad("jobs", "attempts", "-1", "must be a whole number");
	assert_bad("jobs", "attempts", "08", "must be a whole number");
	assert_bad("jobs", "attempts", "8s", "must be a whole number");
	assert_bad("jobs", "attempts", "8.5", "must be a whole number");
	assert_good("house", "answer_max", "1MiB");
	assert_int_equal(conf.chamber[CONFIG_HOUSE].answer_max, 1048576);
	assert_good("house", "answer_max", "2000B");
	assert_bad("house", "answer_max", "64", "must be a size in B, KiB or MiB");
	assert_bad("house", "answer_max", "64kB", "must be a size in B, KiB or MiB");
	assert_bad("house", "answer_max", "2MiB", "must be between 1KiB and 1MiB");
}

static void test_hashes(void **state)
{
	static const char rule[] = "must be 64 hex digits of a SHA-256";

	(void)state;
	assert_good("house", "api_key_sha256", HEX64);
	assert_string_equal(conf.chamber[CONFIG_HOUSE].api_key_sha256, HEX64);
	assert_string_equal(conf.chamber[CONFIG_SENATE].api_key_sha256, "");
	assert_good("senate", "api_key_sha256", "A1B2C3D4E5F60718293A4B5C6D7E8F90A1B2C3D4E5F60718293A4B5C6D7E8F90");
	assert_string_equal(conf.chamber[CONFIG_SENATE].api_key_sha256, HEX64);
	assert_good("house", "api_key_sha256", "");
	assert_bad("house", "api_key_sha256", HEX64 "0", rule);
	assert_bad("house", "api_key_sha256", &HEX64[1], rule);
	assert_bad("house", "api_key_sha256", MARK, rule);
	assert_bad("house", "api_key_sha256", "g1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90", rule);
	assert_bad("house", "api_key_sha256", "a1b2 3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90", rule);
}

static void test_durations(void **state)
{
	static const char rule[] = "must be a duration in ms, s, min, h or d: a number and, without a space, its unit";

	(void)state;
	assert_good("worker", "drain_timeout", "2min");
	assert_int_equal(conf.drain_timeout_ms, 120000);
	assert_good("worker", "drain_timeout", "0s");
	assert_good("jobs", "backoff_cap", "1d");
	assert_int_equal(conf.backoff_cap_ms, 86400000);
	assert_good("house", "total_timeout", "300s");
	assert_bad("worker", "drain_timeout", "75", rule);
	assert_bad("worker", "drain_timeout", "75sec", rule);
	assert_bad("worker", "drain_timeout", "75 s", rule);
	assert_bad("worker", "drain_timeout", "s", rule);
	assert_bad("worker", "drain_timeout", "1.5s", rule);
	assert_bad("worker", "drain_timeout", "11min", "must be between 0ms and 10min");
	assert_bad("queue", "lease", "2999ms", "must be between 3s and 1min");
	assert_bad("house", "connect_timeout", "99ms", "must be between 100ms and 1min");
	/* Stored in seconds: a finer unit would be rounded. */
	assert_bad("jobs", "age_max", "5000ms", "must be a duration in s, min, h or d");
	assert_bad("jobs", "age_max", "31d", "must be between 1s and 30d");
}

static void test_rates(void **state)
{
	static const char rule[] = "must be a rate in /s, /min or /h: a number and, without a space, its unit";

	(void)state;
	assert_good("house", "rate_ceiling", "10/min");
	assert_true(conf.chamber[CONFIG_HOUSE].rate_ceiling == 10.0 / 60);
	assert_good("house", "rate_ceiling", "100/h");
	assert_true(conf.chamber[CONFIG_HOUSE].rate_ceiling == 100.0 / 3600);
	assert_good("house", "office_rate", "0.5/s");
	assert_true(conf.chamber[CONFIG_HOUSE].office_rate == 0.5);
	assert_good("house", "office_rate", "0/s");
	assert_bad("house", "office_rate", "5", rule);
	assert_bad("house", "office_rate", "5/d", rule);
	assert_bad("house", "office_rate", "/s", rule);
	assert_bad("house", "office_rate", "5./s", rule);
	assert_bad("house", "office_rate", "-5/s", rule);
	assert_bad("house", "office_rate", "1e3/s", rule);
	assert_bad("house", "office_rate", "1.2.3/s", rule);
	assert_bad("house", "office_rate", "1234567890123/s", rule);
	assert_bad("house", "office_rate", "0.00000000000000000000000000000000000000001/s", rule);
	assert_bad("house", "office_rate", "0.00001/s", "must be 0/s or between 0.0001/s and 100000/s");
	assert_bad("house", "rate_ceiling", "0/s", "must be between 0.01/s and 100000/s");
}

static void test_texts(void **state)
{
	char longer[700], rule[CONFIG_RULE_SIZE];

	(void)state;
	memset(longer, 'x', 501);
	longer[501] = '\0';
	assert_good("house", "agent", "Caf\xc3\xa9 = a:b #1");
	assert_string_equal(conf.chamber[CONFIG_HOUSE].agent, "Caf\xc3\xa9 = a:b #1");
	assert_bad("house", "agent", "abc", "must have between 4 and 500 characters");
	assert_bad("house", "agent", longer, "must have between 4 and 500 characters");
	assert_bad("house", "agent", "\"" MARK "\"", "must be written without quotes");
	/* 300 characters, 600 bytes */
	for (size_t i = 0; i < 600; i += 2)
		memcpy(longer + i, "\xc3\xa9", 3);
	assert_bad("house", "agent", longer, "must be shorter than 512 bytes");
	assert_good("worker", "name", "w.1_a-B");
	assert_bad("worker", "name", "w " MARK, "must be 1 to 63 characters of");
	assert_int_equal(
		config_parse(&config_keys[config_find("queue", "name")], span_lit("q\0q"), conf.queue_name, rule),
		ERR_SYNTAX);
	assert_bad("queue", "name", "{" MARK "}", "must be 1 to 63 characters of");
	assert_good("house", "agent_contact_phone", "217-555-0100");
	assert_bad("house", "agent_contact_phone", "(217) 555-0100", "a phone number NNN-NNN-NNNN");
	assert_bad("house", "agent_contact_phone", "217-555-010x", "a phone number NNN-NNN-NNNN");
	assert_good("house", "agent_ack_email", "a.b+c@mail.Example.org");
	assert_bad("house", "agent_ack_email", MARK, "an e-mail address");
	assert_bad("house", "agent_ack_email", "@example.org", "an e-mail address");
	assert_bad("house", "agent_ack_email", "a..b@example.org", "an e-mail address");
	assert_bad("house", "agent_ack_email", MARK "@localhost", "an e-mail address");
	assert_bad("house", "agent_ack_email", "a@b@example.org", "an e-mail address");
	assert_good("keys", "witness_context", "communique-witness-encryption");
	assert_int_equal(conf.n_contexts, 1);
	assert_bad("keys", "witness_context", "only-15-" MARK "abc", "16 to 64 printable ASCII characters");
	assert_bad("keys", "witness_context", "a context with spaces", "16 to 64 printable ASCII characters");
}

static void test_places(void **state)
{
	(void)state;
	assert_good("queue", "address", "vsock:3:6379");
	assert_int_equal(conf.queue_address.kind, ADDR_VSOCK);
	assert_bad("queue", "address", MARK ":6379", "is not an address: ");
	assert_bad("queue", "address", "", "needs a value");
	assert_good("status", "address", "vsock:4294967295:5000");
	assert_int_equal(conf.status_address.kind, ADDR_VSOCK);
	assert_int_equal(load_with(NULL, 0, "[status]\naddress = unix:/run/cwc-worker/status\n"), ERR_OK);
	assert_string_equal(conf.status_address.text, "unix:/run/cwc-worker/status");
	assert_bad("status", "address", MARK ":9464", "is not an address: ");
	assert_bad("http", "bridge_dir", "run/" MARK, "must be an absolute path");
	assert_good("queue", "tls_host", "redis-1.example.org");
	assert_bad("queue", "tls_host", "Redis.example.org", "a host name in lower case");
	assert_bad("queue", "tls_host", "-redis.example.org", "a host name in lower case");
	assert_bad("queue", "tls_host", "redis.example.org.", "a host name in lower case");
	assert_bad("queue", "tls_host", "redis_1", "a host name in lower case");
	assert_bad("house", "url", "http://uat-cwc.house.gov/v2/message", "must be an https URL");
	assert_bad("house", "url", "https://u:" MARK "@uat-cwc.house.gov/v2/message",
		   "without user, query and fragment");
	assert_bad("house", "url", "https://uat-cwc.house.gov/v2/message?apikey=" MARK,
		   "without user, query and fragment");
	assert_bad("house", "url", "https://uat-cwc.house.gov/v2/message#" MARK, "without user, query and fragment");
	assert_bad("house", "url", "https://UAT-cwc.house.gov/v2/message", "a host name in lower case");
	assert_bad("house", "url", "https:///v2/message", "a host name in lower case");
	assert_bad("house", "url", "https://uat-cwc.house.gov:0/v2/message", "a port between 1 and 65535");
	assert_bad("house", "url", "https://uat-cwc.house.gov:/v2/message", "a port between 1 and 65535");
	assert_bad("house", "url", "https://uat-cwc.house.gov", "a path of letters");
	assert_bad("house", "url", "https://uat-cwc.house.gov/v2//message", "a path of letters");
	assert_bad("house", "url", "https://uat-cwc.house.gov/v2/../message", "a path of letters");
	assert_bad("house", "url", "https://uat-cwc.house.gov/./message", "a path of letters");
	assert_bad("house", "url", "https://uat-cwc.house.gov/v2/%6dessage", "a path of letters");
	assert_bad("house", "url", "", "needs a value");
	assert_good("house", "url", "https://uat-cwc.house.gov:8443/");
	assert_good("house", "offices_url", "");
}

/* The characters are looked at with the value, what they say with the rules; the one message serves both. */
static void test_windows(void **state)
{
	static const char rule[] = "must be none, or at most 8 times of the week, divided by commas: DAY HH:MM-HH:MM, "
				   "the end after the start, DAY one of daily sun mon tue wed thu fri sat";

	(void)state;
	assert_good("house", "maintenance", "none");
	assert_string_equal(conf.chamber[CONFIG_HOUSE].maintenance, "none");
	assert_good("house", "maintenance", "daily 00:00-06:00");
	assert_good("house", "maintenance", "sun 00:00-24:00,mon 00:00-01:00 ,  tue 22:30-22:31");
	assert_good("senate", "maintenance", "wed 05:00-07:00");
	assert_bad("house", "maintenance", "", "needs a value");
	assert_bad("house", "maintenance", MARK "!", rule);
	assert_bad("house", "maintenance", MARK, rule);
	assert_bad("house", "maintenance", "Daily 00:00-06:00", rule);
	assert_bad("house", "maintenance", "daily 06:00-00:00", rule);
	assert_bad("house", "maintenance", "sat 22:00-sun 02:00", rule);
	assert_bad("house", "maintenance", "daily 00:00-06:00,", rule);
	assert_bad("house", "maintenance",
		   "sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,"
		   "sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00,sun 00:00-01:00",
		   rule);
	/* Also of a chamber that is not enabled. */
	assert_bad("senate", "maintenance", "wednesday 05:00-07:00", rule);
}

/* Zero stands below the range. */
static void test_breaker(void **state)
{
	(void)state;
	assert_good("house", "breaker_open", "0ms");
	assert_int_equal(conf.chamber[CONFIG_HOUSE].breaker_open_ms, 0);
	assert_good("house", "breaker_open", "0s");
	assert_good("house", "breaker_open", "100ms");
	assert_good("house", "breaker_open", "15min");
	assert_bad("house", "breaker_open", "99ms", "must be 0ms or between 100ms and 15min");
	assert_bad("house", "breaker_open", "901s", "must be 0ms or between 100ms and 15min");
	assert_bad("house", "breaker_open", "0", "must be a duration in ms, s, min, h or d");
}

static void test_alarms_and_replicas(void **state)
{
	(void)state;
	assert_good("alarms", "dead", "0");
	assert_int_equal(conf.alarm_dead, 0);
	assert_good("alarms", "results", "1000000000");
	assert_bad("alarms", "results", "1000000001", "must be between 0 and 1000000000");
	assert_good("alarms", "memory", "100");
	assert_bad("alarms", "memory", "101", "must be between 0 and 100");
	assert_bad("alarms", "memory", "80%", "must be a whole number");
	assert_good("queue", "replicas", "5");
	assert_int_equal(conf.replicas, 5);
	assert_bad("queue", "replicas", "6", "must be between 0 and 5");
	assert_good("queue", "replica_timeout", "10ms");
	assert_good("queue", "replica_timeout", "500ms");
	assert_bad("queue", "replica_timeout", "9ms", "must be between 10ms and 500ms");
	assert_bad("queue", "replica_timeout", "501ms", "must be between 10ms and 500ms");
}

static void test_signers(void **state)
{
	static const char rule[] = "must be KID HEX64 [NOT-BEFORE NOT-AFTER]: a key id of 1 to 64 characters";

	(void)state;
	assert_good("jobs", "signer", "A.b_c-1   " HEX64);
	assert_bad("jobs", "signer", MARK, rule);
	assert_bad("jobs", "signer", HEX64, rule);
	assert_bad("jobs", "signer", "a/b " HEX64, rule);
	assert_bad("jobs", "signer", "a " HEX64 "00", rule);
	assert_bad("jobs", "signer", "a " MARK "c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90", rule);
	assert_bad("jobs", "signer", "x" HEX64 " " HEX64, rule);
	assert_bad("jobs", "signer", "a 0000000000000000000000000000000000000000000000000000000000000000",
		   "a public key that is not all zeros");
	assert_bad("jobs", "signer", "", "needs a value");
}

static void test_signer_times(void **state)
{
	static const char rule[] = "must be KID HEX64 [NOT-BEFORE NOT-AFTER]";

	(void)state;
	assert_good("jobs", "signer", "a " HEX64);
	assert_int_equal(conf.signer[0].not_before_s, 0);
	assert_int_equal(conf.signer[0].not_after_s, 0);
	assert_good("jobs", "signer", "a " HEX64 "  2026-11-01T00:00:00Z   2026-12-01T00:00:00Z");
	assert_int_equal(conf.signer[0].not_before_s, 1793491200);
	assert_int_equal(conf.signer[0].not_after_s, 1796083200);
	assert_good("jobs", "signer", "a " HEX64 " - 2026-12-01T00:00:00Z");
	assert_int_equal(conf.signer[0].not_before_s, 0);
	assert_int_equal(conf.signer[0].not_after_s, 1796083200);
	assert_good("jobs", "signer", "a " HEX64 " 2026-11-01T00:00:00Z -");
	assert_int_equal(conf.signer[0].not_before_s, 1793491200);
	assert_int_equal(conf.signer[0].not_after_s, 0);
	assert_good("jobs", "signer", "a " HEX64 " - -");
	assert_bad("jobs", "signer", "a " HEX64 " -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " - - -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " 2026-11-01T00:00:00Z", rule);
	assert_bad("jobs", "signer", "a " HEX64 " 2026-11-01T00:00:00+00:00 -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " 2026-11-01T00:00:00.5Z -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " 2026-11-31T00:00:00Z -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " 1970-01-01T00:00:00Z -", rule);
	assert_bad("jobs", "signer", "a " HEX64 " - " MARK, rule);
	assert_bad("jobs", "signer", "a " HEX64 " 2026-11-01T00:00:00Z 2026-11-01T00:00:00Z", "end after it begins");
}

static void test_authority(void **state)
{
	(void)state;
	assert_good("jobs", "authority", "root-1 " HEX64);
	assert_string_equal(conf.authority.kid, "root-1");
	assert_int_equal(conf.authority.public_key[31], 0x90);
	assert_good("jobs", "authority", "");
	assert_string_equal(conf.authority.kid, "");
	assert_bad("jobs", "authority", "root-1 " HEX64 " - -", "must be KID HEX64: a key id");
	assert_bad("jobs", "authority", MARK, "must be KID HEX64: a key id");
	assert_bad("jobs", "authority", "a 0000000000000000000000000000000000000000000000000000000000000000",
		   "a public key that is not all zeros");
}

static void test_attest_and_keys(void **state)
{
	static const char arn[] = "must be the ARN of a KMS key";

	(void)state;
	assert_good("attest", "device", "nsm");
	assert_int_equal(conf.device, CONFIG_DEVICE_NSM);
	assert_int_equal(conf.renew_s, 3 * 3600);
	assert_int_equal(conf.key_refresh_ms, 60000);
	assert_int_equal(conf.key_delay_s, 600);
	assert_int_equal(conf.key_overlap_s, 32 * 86400);
	assert_string_equal(conf.kms_ca_file, "/etc/cwc-worker/amazon-roots.pem");
	assert_bad("attest", "device", "tpm", "must be one of: nsm, none");
	assert_bad("attest", "renew", "299s", "must be between 5min and 1d");
	assert_bad("keys", "refresh", "99ms", "must be between 100ms and 1h");
	assert_good("keys", "version_min", "4294967295");
	assert_int_equal(conf.bundle_version_min, 4294967295u);
	assert_bad("keys", "version_min", "4294967296", "must be between 0 and 4294967295");
	assert_bad("keys", "delay", "8d", "must be between 0s and 7d");
	assert_bad("keys", "overlap", "366d", "must be between 0s and 365d");
	assert_good("keys", "kms_key", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd");
	assert_string_equal(conf.kms_key, "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd");
	assert_bad("keys", "kms_key", "arn:aws:kms:us-east-1:111122223333:alias/" MARK, arn);
	assert_bad("keys", "kms_key", "arn:aws:s3:us-east-1:111122223333:key/" MARK, arn);
	assert_bad("keys", "kms_key", "arn:aws:kms:us-east-1:11112222333:key/" MARK, arn);
	assert_bad("keys", "kms_key", "arn:aws:kms::111122223333:key/" MARK, arn);
	assert_bad("keys", "kms_key", "arn:aws:kms:us-east-1:111122223333:key/", arn);
	assert_bad("keys", "kms_key", "arn:aws:kms:us-east-1:111122223333:key/a:" MARK, arn);
	assert_bad("keys", "kms_key", "arn:aws:kms:us-east-1:111122223333", arn);
	assert_bad("keys", "kms_key", MARK, arn);
}

static void test_repeated(void **state)
{
	struct setting with[CONFIG_SIGNERS_MAX + 1];
	char value[CONFIG_SIGNERS_MAX + 1][80];

	(void)state;
	for (size_t i = 0; i <= CONFIG_SIGNERS_MAX; i++) {
		(void)snprintf(value[i], sizeof(value[i]), "k%zu %s", i, HEX64);
		with[i] = (struct setting){ "jobs", "signer", value[i] };
	}
	assert_int_equal(load_with(with, CONFIG_SIGNERS_MAX, NULL), ERR_OK);
	assert_int_equal(conf.n_signers, CONFIG_SIGNERS_MAX);
	assert_string_equal(conf.signer[7].kid, "k7");
	assert_int_equal(load_with(with, CONFIG_SIGNERS_MAX + 1, NULL), ERR_CONFIG);
	assert_problem("jobs.signer", "may be given 8 times at most");
	with[1].value = "k0 " HEX64;
	assert_int_equal(load_with(with, 2, NULL), ERR_CONFIG);
	assert_problem("jobs.signer", "has a key id that another signer has");
	/* One of our own replaces the default list. */
	with[0] = (struct setting){ "http", "allowed_host", "uat-cwc.house.gov" };
	assert_int_equal(load_with(with, 1, NULL), ERR_OK);
	assert_int_equal(conf.n_allowed_hosts, 1);
	/* A broken list does not blame the URLs too. */
	assert_bad("http", "allowed_host", MARK "_", "a host name in lower case");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_bool_and_words),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_alarms_and_replicas),
		cmocka_unit_test(test_signers),
		cmocka_unit_test(test_signer_times),
		cmocka_unit_test(test_authority),
		cmocka_unit_test(test_attest_and_keys),
		cmocka_unit_test(test_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
