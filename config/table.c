/* SPDX-License-Identifier: Apache-2.0 */
/* The keys. Columns: section, name, type, tier, default, min, max, where, and what it is. */
#include <string.h>

#include "config/table.h"

#define MEASURED CONFIG_MEASURED
#define HOST     CONFIG_HOST

#define AT(field)             .offset = offsetof(struct config, field), .size = sizeof(((struct config *)NULL)->field)
#define LIST(field, n, limit) AT(field[0]), .room = (limit), .count = offsetof(struct config, n)
#define ROW(section_, name_, type_, tier_, def_, min_, max_, ...)                                                    \
	{                                                                                                            \
		.section = (section_), .name = (name_), .type = CONFIG_TYPE_##type_, .tier = (tier_), .def = (def_), \
		.min = (min_), .max = (max_), __VA_ARGS__                                                            \
	}
#define TEXT(text_)       .text = (text_)
#define EXAMPLE(example_) .example = (example_)
#define WORDS(words_)     .words = (words_)

#define SECOND 1000.0 /* in ms */
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY_S  86400.0

#define ALARM_MAX 1000000000.0

static const char *const environments[] = { "sandbox", "production", NULL };
static const char *const log_levels[] = { "error", "warning", "info", "debug", NULL };
static const char *const log_formats[] = { "json", "text", NULL };
static const char *const sandboxes[] = { "required", "off", NULL };
#ifdef CWC_DEV
static const char *const key_sources[] = { "boot", "sealed", "file", NULL };
static const char *const devices[] = { "nsm", "none", "simulated", NULL };
#else
static const char *const key_sources[] = { "boot", "sealed", NULL };
static const char *const devices[] = { "nsm", "none", NULL };
#endif
static const char *const offices_policies[] = { "send", "hold", NULL };
static const char *const unknown_policies[] = { "hold", "resend", NULL };

/* The keys of a chamber: s is the section, i the index, the others are its own defaults. */
#define CHAMBER(s, i, url_, offices_, unknown_, maintenance_, agent_)                                                  \
	ROW(s, "enabled", BOOL, HOST, "true", 0, 0, AT(chamber[i].enabled), TEXT("Take jobs for this chamber.")),      \
		ROW(s, "url", URL, MEASURED, url_, 0, 0, AT(chamber[i].url),                                           \
		    TEXT("Where letters are POSTed. Its host must be an allowed_host, its path that of the "           \
			 "environment.")),                                                                             \
		ROW(s, "offices_url", URL, MEASURED, offices_, 0, 0, AT(chamber[i].offices_url), .empty = true,        \
		    TEXT("The list of active offices, on the host of url. Empty: no list is fetched.")),               \
		ROW(s, "address", ADDRESS, HOST, "", 0, 0, AT(chamber[i].address), EXAMPLE("vsock:3:8443"),            \
		    TEXT("Dial this instead of the host of url. TLS still checks the certificate against that "        \
			 "host.")),                                                                                    \
		ROW(s, "ca_file", PATH, MEASURED, "/etc/ssl/certs/ca-certificates.crt", 0, 0, AT(chamber[i].ca_file),  \
		    TEXT("Certificate authorities that may vouch for the host of url, in PEM.")),                      \
		ROW(s, "api_key_file", PATH, MEASURED, "", 0, 0, AT(chamber[i].api_key_file),                          \
		    EXAMPLE("/etc/cwc-worker/" s "-api-key"),                                                          \
		    TEXT("Holds the API key of this chamber and environment; mode 0600. Empty with keys.source = "     \
			 "sealed.")),                                                                                  \
		ROW(s, "api_key_sha256", HASH, MEASURED, "", 0, 0, AT(chamber[i].api_key_sha256),                      \
		    EXAMPLE("0000000000000000000000000000000000000000000000000000000000000000"),                       \
		    TEXT("SHA-256 of the API key: another key is refused. Whoever has the image can try keys against " \
			 "it, so the key must have at least 128 bits of chance. Needed in production with "            \
			 "keys.source = sealed, since anybody can seal a key; that of the example is refused.")),      \
		ROW(s, "agent", TEXT, MEASURED, "", 4, 500, AT(chamber[i].agent), EXAMPLE(agent_),                     \
		    TEXT("DeliveryAgent: the name registered with this chamber for the API key, to the letter.")),     \
		ROW(s, "agent_ack_email", EMAIL, MEASURED, "", 0, 0, AT(chamber[i].agent_ack_email),                   \
		    EXAMPLE("cwc-acks@relay.example.org"),                                                             \
		    TEXT("DeliveryAgentAckEmailAddress: takes notices of the offices.")),                              \
		ROW(s, "agent_contact_name", TEXT, MEASURED, "", 6, 500, AT(chamber[i].agent_contact_name),            \
		    EXAMPLE("Robin Sample"), TEXT("DeliveryAgentContactName: the person to ask about deliveries.")),   \
		ROW(s, "agent_contact_email", EMAIL, MEASURED, "", 0, 0, AT(chamber[i].agent_contact_email),           \
		    EXAMPLE("cwc-desk@relay.example.org"), TEXT("DeliveryAgentContactEmail.")),                        \
		ROW(s, "agent_contact_phone", PHONE, MEASURED, "", 0, 0, AT(chamber[i].agent_contact_phone),           \
		    EXAMPLE("202-555-0142"), TEXT("DeliveryAgentContactPhone.")),                                      \
		ROW(s, "concurrency", INTEGER, HOST, "32", 1, 256, AT(chamber[i].concurrency),                         \
		    TEXT("Letters in flight per worker.")),                                                            \
		ROW(s, "office_concurrency", INTEGER, HOST, "4", 1, 256, AT(chamber[i].office_concurrency),            \
		    TEXT("Letters in flight per office, all workers together.")),                                      \
		ROW(s, "rate_ceiling", RATE, MEASURED, "5/s", 0.01, 100000, AT(chamber[i].rate_ceiling),               \
		    TEXT("The most letters that this chamber may get, all workers together; each worker keeps to it "  \
			 "alone too.")),                                                                               \
		ROW(s, "rate", RATE, HOST, "0/s", 0.01, 100000, AT(chamber[i].rate), .zero = true,                     \
		    TEXT("Lowers rate_ceiling. 0/s: the ceiling.")),                                                   \
		ROW(s, "burst", INTEGER, MEASURED, "1", 1, 100000, AT(chamber[i].burst),                               \
		    TEXT("Letters that may follow each other at once within the rate.")),                              \
		ROW(s, "office_rate", RATE, HOST, "0/s", 0.0001, 100000, AT(chamber[i].office_rate), .zero = true,     \
		    TEXT("The most letters that one office may get, all workers together. 0/s: no limit of its "       \
			 "own.")),                                                                                     \
		ROW(s, "office_burst", INTEGER, HOST, "1", 1, 100000, AT(chamber[i].office_burst),                     \
		    TEXT("Letters to one office that may follow each other at once within office_rate.")),             \
		ROW(s, "connect_timeout", MS, HOST, "10s", 100, 60 * SECOND, AT(chamber[i].connect_timeout_ms),        \
		    TEXT("For the connection and the TLS handshake.")),                                                \
		ROW(s, "first_byte_timeout", MS, MEASURED, "45s", 100, 300 * SECOND,                                   \
		    AT(chamber[i].first_byte_timeout_ms),                                                              \
		    TEXT("From the last byte of the letter to the first byte of the answer.")),                        \
		ROW(s, "total_timeout", MS, MEASURED, "60s", SECOND, 300 * SECOND, AT(chamber[i].total_timeout_ms),    \
		    TEXT("For one POST from beginning to end.")),                                                      \
		ROW(s, "connection_max_age", MS, HOST, "30s", 0, HOUR, AT(chamber[i].connection_max_age_ms),           \
		    TEXT("A connection that is idle or old beyond this is not used again.")),                          \
		ROW(s, "answer_max", SIZE, MEASURED, "64KiB", 1024, 1048576, AT(chamber[i].answer_max),                \
		    TEXT("The largest answer that is read.")),                                                         \
		ROW(s, "offices_max_age", MS, HOST, "1h", SECOND, 24 * HOUR, AT(chamber[i].offices_max_age_ms),        \
		    TEXT("The list of active offices is fetched again when it is older.")),                            \
		ROW(s, "offices_policy", ENUM, MEASURED, "send", 0, 0, AT(chamber[i].offices_policy),                  \
		    WORDS(offices_policies),                                                                           \
		    TEXT("What to do when no list can be had: send without one, or hold the letters.")),               \
		ROW(s, "unknown_policy", ENUM, MEASURED, unknown_, 0, 0, AT(chamber[i].unknown_policy),                \
		    WORDS(unknown_policies),                                                                           \
		    TEXT("A POST of unknown fate: hold the letter for a person, or resend it under the same "          \
			 "DeliveryId. "                                                                                \
			 "The Senate refuses a second copy; the House does not document that it does.")),              \
		ROW(s, "maintenance", WINDOWS, MEASURED, maintenance_, 0, 0, AT(chamber[i].maintenance),               \
		    TEXT("Times of the week, in Washington, at which the chamber may be away: no letter is sent, and " \
			 "none loses an attempt. The default is what the chamber announces; none: never.")),           \
		ROW(s, "breaker_open", MS, MEASURED, "30s", 100, 15 * MINUTE, AT(chamber[i].breaker_open_ms),          \
		    .zero = true,                                                                                      \
		    TEXT("How long nothing is sent, at first, to a chamber or an office that does not answer; then "   \
			 "one letter tries. It doubles up to 30 times this. 0ms: letters go on trying."))

const struct config_key config_keys[] = {
	ROW("worker", "environment", WORD, MEASURED, "sandbox", 0, 0, AT(environment), WORDS(environments),
	    TEXT("Which endpoints the URLs must name, and which jobs are accepted: a job is signed for one "
		 "environment.")),
	ROW("worker", "name", NAME, HOST, "", 0, 0, AT(name), EXAMPLE("worker-1"),
	    TEXT("Names this worker in the queue; two that live may not share one. Empty: the host name.")),
	ROW("worker", "drain_timeout", MS, HOST, "75s", 0, 10 * MINUTE, AT(drain_timeout_ms),
	    TEXT("How long a stop waits for letters in flight.")),
	ROW("worker", "log_level", ENUM, HOST, "info", 0, 0, AT(log_level), WORDS(log_levels),
	    TEXT("The least grave events that are logged. No level logs anything personal.")),
	ROW("worker", "log_format", ENUM, HOST, "json", 0, 0, AT(log_format), WORDS(log_formats),
	    TEXT("One JSON object a line, or text for people.")),
	ROW("worker", "skew_max", MS, MEASURED, "3s", 1, MINUTE, AT(skew_max_ms),
	    TEXT("Not ready while the clock of Redis differs by more than this.")),
	ROW("worker", "sandbox", ENUM, MEASURED, "required", 0, 0, AT(sandbox), WORDS(sandboxes),
	    TEXT("After start-up only the system calls of serving are allowed; any other kills the worker. "
		 "required: do not start without. off: for debuggers and tracers, while environment is sandbox.")),

	ROW("queue", "address", ADDRESS, HOST, "unix:/run/redis/redis.sock", 0, 0, AT(queue_address),
	    TEXT("Where Redis listens.")),
	ROW("queue", "name", NAME, HOST, "q", 0, 0, AT(queue_name),
	    TEXT("The hash tag of every key of the queue; also signed in every job.")),
	ROW("queue", "tls", BOOL, MEASURED, "false", 0, 0, AT(queue_tls),
	    TEXT("Speak TLS with Redis. Needed in production with user and keys.source = sealed: the password would "
		 "cross the parent in the clear.")),
	ROW("queue", "tls_verify", BOOL, MEASURED, "true", 0, 0, AT(queue_tls_verify),
	    TEXT("Check the certificate of Redis. May be false in the sandbox only.")),
	ROW("queue", "tls_host", HOST, MEASURED, "", 0, 0, AT(queue_tls_host), EXAMPLE("redis.example.org"),
	    TEXT("The name in the certificate of Redis. Empty: that of address, which must be measured then.")),
	ROW("queue", "ca_file", PATH, MEASURED, "", 0, 0, AT(queue_ca_file), EXAMPLE("/etc/cwc-worker/redis-ca.pem"),
	    TEXT("Certificate authorities that may vouch for Redis, in PEM.")),
	ROW("queue", "cert_file", PATH, MEASURED, "", 0, 0, AT(queue_cert_file),
	    EXAMPLE("/etc/cwc-worker/redis-client.pem"), TEXT("Client certificate for Redis, in PEM.")),
	ROW("queue", "key_file", PATH, MEASURED, "", 0, 0, AT(queue_key_file),
	    EXAMPLE("/etc/cwc-worker/redis-client.key"),
	    TEXT("Private key of cert_file, in PEM; mode 0600. Empty with keys.source = sealed: who made the image "
		 "would have it.")),
	ROW("queue", "user", NAME, HOST, "", 0, 0, AT(queue_user), EXAMPLE("cwc-worker"),
	    TEXT("User of Redis. Empty: the default user, and with keys.source = sealed no password. The sealed secret "
		 "queue.password is taken when this is set: for a Redis with requirepass alone say default.")),
	ROW("queue", "password_file", PATH, MEASURED, "", 0, 0, AT(queue_password_file),
	    EXAMPLE("/etc/cwc-worker/redis-password"),
	    TEXT("Holds the password for Redis; mode 0600. Empty with keys.source = "
		 "sealed.")),
	ROW("queue", "timeout", MS, HOST, "2s", 100, MINUTE, AT(queue_timeout_ms),
	    TEXT("An answer of Redis that takes longer ends the connection.")),
	ROW("queue", "lease", MS, MEASURED, "10s", 3 * SECOND, MINUTE, AT(lease_ms),
	    TEXT("Others take over the jobs of a worker that was silent this long; it reports at a third of it. Longer "
		 "than three times skew_max.")),
	ROW("queue", "replicas", INTEGER, MEASURED, "0", 0, 5, AT(replicas),
	    TEXT("How many replicas of Redis must know that a letter is about to leave, for a chamber whose "
		 "unknown_policy is hold. With fewer its letters wait.")),
	ROW("queue", "replica_timeout", MS, HOST, "200ms", 10, 500, AT(replica_timeout_ms),
	    TEXT("How long to wait for the replicas. Nothing else is asked of Redis meanwhile.")),
	ROW("queue", "allow_eviction", BOOL, MEASURED, "false", 0, 0, AT(allow_eviction),
	    TEXT("Start although the maxmemory-policy of Redis is not noeviction: Redis may then drop letters.")),

	ROW("jobs", "signer", SIGNER, MEASURED, "", 0, 0, LIST(signer, n_signers, CONFIG_SIGNERS_MAX),
	    EXAMPLE("app-1 0000000000000000000000000000000000000000000000000000000000000000"),
	    TEXT("An app server that may sign jobs, and from when until when. None is needed with an authority and "
		 "keys.source = sealed: all come by grants then, each with its end. The key of the example is "
		 "refused.")),
	ROW("jobs", "authority", AUTHORITY, MEASURED, "", 0, 0, AT(authority),
	    EXAMPLE("root-1 0000000000000000000000000000000000000000000000000000000000000000"),
	    TEXT("Who may name more signers, in a grant that comes with the sealed bundle. Empty: nobody.")),
	ROW("jobs", "attempts", INTEGER, HOST, "8", 1, 100, AT(attempts), TEXT("POSTs that may begin for one job.")),
	ROW("jobs", "crashes", INTEGER, HOST, "3", 1, 100, AT(crashes),
	    TEXT("Workers that may die holding a job before it is put aside.")),
	ROW("jobs", "backoff_base", MS, HOST, "30s", 1, HOUR, AT(backoff_base_ms),
	    TEXT("The wait before the first retry, up to jitter; it doubles with each.")),
	ROW("jobs", "backoff_cap", MS, HOST, "1h", 1, 24 * HOUR, AT(backoff_cap_ms),
	    TEXT("The longest wait before a retry.")),
	ROW("jobs", "age_max", S, HOST, "3d", 1, 30 * DAY_S, AT(age_max_s),
	    TEXT("No retry begins for a job older than this.")),
	ROW("jobs", "key_wait", S, HOST, "1d", 0, 30 * DAY_S, AT(key_wait_s),
	    TEXT("How old a job may become before it is rejected for the key of its envelope, or refused for its "
		 "signer, "
		 "that this worker does not know and another one may. It must exceed any backlog while two releases "
		 "work "
		 "side by side; in production it is at least 1h.")),

	ROW("alarms", "dead", INTEGER, HOST, "1000", 0, ALARM_MAX, AT(alarm_dead),
	    TEXT("Dead jobs: queue_alarm is logged when there are this many, and at each doubling. 0: never.")),
	ROW("alarms", "unknown", INTEGER, HOST, "100", 0, ALARM_MAX, AT(alarm_unknown),
	    TEXT("Letters of unknown fate, which wait for a person.")),
	ROW("alarms", "stuck", INTEGER, HOST, "1", 0, ALARM_MAX, AT(alarm_stuck),
	    TEXT("Entries of the queue that no worker could read.")),
	ROW("alarms", "results", INTEGER, HOST, "100000", 0, ALARM_MAX, AT(alarm_results),
	    TEXT("Results that nobody collects.")),
	ROW("alarms", "memory", INTEGER, HOST, "80", 0, 100, AT(alarm_memory),
	    TEXT("Per cent of the maxmemory of Redis that are used.")),

	ROW("attest", "device", ENUM, MEASURED, "nsm", 0, 0, AT(device), WORDS(devices),
	    TEXT("The security module that vouches for this worker: nsm in an enclave; none outside of one, in the "
		 "sandbox only.")),
	ROW("attest", "renew", S, MEASURED, "3h", 300, DAY_S, AT(renew_s),
	    TEXT("A newer attestation document is published this often.")),

	ROW("keys", "source", ENUM, MEASURED, "boot", 0, 0, AT(key_source), WORDS(key_sources),
	    TEXT("The key ring: made at boot (one enclave alone, or development), or sealed: read from the store in a "
		 "bundle that only measured code can have opened.")),
	ROW("keys", "kms_key", ARN, MEASURED, "", 0, 0, AT(kms_key),
	    EXAMPLE("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
	    TEXT("The KMS key that sealed bundles are wrapped by.")),
	ROW("keys", "kms_ca_file", PATH, MEASURED, "/etc/cwc-worker/amazon-roots.pem", 0, 0, AT(kms_ca_file),
	    TEXT("Certificate authorities that may vouch for KMS, in PEM: those of Amazon, as ops/amazon-roots writes "
		 "them. In production not those of all the web: any of them could vouch for somebody else.")),
	ROW("keys", "kms_address", ADDRESS, HOST, "", 0, 0, AT(kms_address), EXAMPLE("vsock:3:8444"),
	    TEXT("Dial this for KMS instead of its host. TLS still checks the certificate against that host.")),
	ROW("keys", "credentials_address", ADDRESS, HOST, "", 0, 0, AT(credentials_address), EXAMPLE("vsock:3:8445"),
	    TEXT("Dial this for the instance metadata service, which has the credentials for KMS.")),
	ROW("keys", "store_address", ADDRESS, HOST, "", 0, 0, AT(store_address), EXAMPLE("vsock:3:7001"),
	    TEXT("Where the sealed bundle and the sealed secrets are read from.")),
	ROW("keys", "refresh", MS, HOST, "1min", 100, HOUR, AT(key_refresh_ms),
	    TEXT("How often the store is read. With source = sealed no longer than half of delay.")),
	ROW("keys", "version_min", INTEGER, MEASURED, "0", 0, 4294967295.0, AT(bundle_version_min),
	    TEXT("Bundles of older versions are refused.")),
	ROW("keys", "delay", S, MEASURED, "10min", 0, 7 * DAY_S, AT(key_delay_s),
	    TEXT("How long a new key waits before letters are sealed to it: until all workers have it. In production "
		 "at "
		 "least 10min.")),
	ROW("keys", "overlap", S, MEASURED, "32d", 0, 365 * DAY_S, AT(key_overlap_s),
	    TEXT("How long a key opens letters after a newer one took its place; then it is destroyed. In production "
		 "at least 31d, since a job lives up to 30 days.")),
#ifdef CWC_DEV
	ROW("keys", "file", PATH, MEASURED, "", 0, 0, AT(key_file), EXAMPLE("/etc/cwc-worker/key-ring"),
	    TEXT("The key ring with source = file; mode 0600.")),
#endif
	ROW("keys", "witness_context", CONTEXT, MEASURED,
	    "voter-protocol-witness-encryption-v1 commons-witness-encryption-v1 communique-witness-encryption", 0, 0,
	    LIST(witness_context, n_contexts, CONFIG_CONTEXTS_MAX),
	    TEXT("Context string of the witness envelopes, for keys that name none; tried in this order. "
		 "Setting one replaces the defaults.")),

	ROW("http", "allowed_host", HOST, MEASURED, "cwc.house.gov uat-cwc.house.gov soapbox.senate.gov", 0, 0,
	    LIST(allowed_host, n_allowed_hosts, CONFIG_HOSTS_MAX),
	    TEXT("A host that the URLs may name. Setting one replaces the defaults.")),
	ROW("http", "bridge_dir", PATH, HOST, "/run/cwc-worker", 0, 0, AT(bridge_dir),
	    TEXT("Private directory for the sockets between the HTTP client and the dialled addresses.")),

	ROW("status", "address", ADDRESS, HOST, "", 0, 0, AT(status_address), EXAMPLE("tcp:127.0.0.1:9464"),
	    TEXT("Where /health, /ready, /metrics, /attestation and /keys are answered over HTTP, to whoever can "
		 "connect. "
		 "Nothing personal is said there. vsock:4294967295:PORT in an enclave. Without it: nowhere.")),

	CHAMBER("house", CONFIG_HOUSE, "https://uat-cwc.house.gov/v2/message", "https://uat-cwc.house.gov/v2/offices",
		"hold", "daily 00:00-06:00", "Sample Civic Relay LLC"),
	CHAMBER("senate", CONFIG_SENATE, "https://soapbox.senate.gov/api/testing-messages/",
		"https://soapbox.senate.gov/api/active_offices/", "resend", "sun 00:00-06:00, wed 05:00-07:00",
		"Sample Civic Relay, LLC"),
};

const size_t config_n_keys = sizeof(config_keys) / sizeof(config_keys[0]);

_Static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX is too small");
/* config_parse() stores enums as unsigned. */
_Static_assert(sizeof(enum config_log_level) == sizeof(unsigned), "size of an enum");

const char *config_type_form(enum config_type t)
{
	static const char *const forms[CONFIG_TYPE_COUNT] = {
#define CONFIG_TYPE_FORM(e, name, unit, form) form,
		CONFIG_TYPES(CONFIG_TYPE_FORM)
#undef CONFIG_TYPE_FORM
	};

	return forms[t];
}

size_t config_find(const char *section, const char *name)
{
	size_t i;

	for (i = 0; i < config_n_keys; i++)
		if (strcmp(config_keys[i].section, section) == 0 && strcmp(config_keys[i].name, name) == 0)
			break;
	return i;
}

bool config_is_section(struct span name)
{
	for (size_t i = 0; i < config_n_keys; i++)
		if (span_eq_str(name, config_keys[i].section))
			return true;
	return false;
}
