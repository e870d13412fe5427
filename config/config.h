/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one table of keys (config/table.c) drives the parser, --check-config,
 * --print-config, the man page and the commented example files.
 *
 * Two tiers. The measured file lies inside the enclave image and may set every key. The host file
 * comes from the parent instance, which is not trusted, and may set keys of the host tier only: a
 * measured key in it is an error. Where both set a key of the host tier, the host file wins. Unknown sections and keys,
 * a key set twice in one file, wrong units and values out of range are errors, each with file, line, key and rule. No
 * error text repeats a value. Secrets are never values: keys named *_file hold paths of files with mode 0600, and are
 * measured, since whoever chooses the path chooses which secret goes to which peer.
 *
 * Read by main() once, then passed down as immutable values.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "worker/base/addr.h"
#include "worker/base/buf.h"

#define CONFIG_SIGNERS_MAX  8
#define CONFIG_CONTEXTS_MAX 4
#define CONFIG_HOSTS_MAX    8
#define CONFIG_PATH_MAX     256
#define CONFIG_TEXT_MAX     512

/* Indexes of `chamber`; the same order as enum cwc_chamber. */
enum config_chamber_index { CONFIG_HOUSE, CONFIG_SENATE, CONFIG_CHAMBERS };
enum config_tier { CONFIG_MEASURED, CONFIG_HOST };
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARNING, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_JSON, CONFIG_LOG_TEXT };
enum config_sandbox { CONFIG_SANDBOX_REQUIRED, CONFIG_SANDBOX_OFF };
enum config_key_source { CONFIG_KEYS_BOOT, CONFIG_KEYS_SEALED, CONFIG_KEYS_FILE }; /* file: development builds only */
enum config_device { CONFIG_DEVICE_NSM, CONFIG_DEVICE_NONE, CONFIG_DEVICE_SIMULATED }; /* simulated: likewise */
enum config_offices_policy { CONFIG_OFFICES_SEND, CONFIG_OFFICES_HOLD };
enum config_unknown_policy { CONFIG_UNKNOWN_HOLD, CONFIG_UNKNOWN_RESEND };

/* Sections [house] and [senate]; the columns are tier, type/unit, default, range. */
struct config_chamber {
	bool enabled;                      /* host, bool, true: take jobs for this chamber */
	char url[CONFIG_TEXT_MAX];         /* measured, https URL without query: where letters are POSTed */
	char offices_url[CONFIG_TEXT_MAX]; /* measured, https URL or empty: the office list */
	struct addr address;           /* host, address or empty (text[0] == 0): dial this instead of the URL's host */
	char ca_file[CONFIG_PATH_MAX]; /* measured, path, /etc/ssl/certs/ca-certificates.crt */
	char api_key_file[CONFIG_PATH_MAX]; /* measured, path */
	char api_key_sha256[65];            /* measured, lower-case hex or empty: the API key has this hash */
	char agent[CONFIG_TEXT_MAX];        /* measured, text: DeliveryAgent, as registered with this chamber */
	char agent_ack_email[CONFIG_TEXT_MAX];
	char agent_contact_name[CONFIG_TEXT_MAX];
	char agent_contact_email[CONFIG_TEXT_MAX];
	char agent_contact_phone[CONFIG_TEXT_MAX];
	unsigned concurrency;           /* host, 32, 1..256: letters in flight per worker */
	unsigned office_concurrency;    /* host, 4, 1..256: letters in flight per office, all workers */
	double rate_ceiling;            /* measured, letters/s, 5, 0.01..100000 */
	double rate;                    /* host, letters/s, 0 = the ceiling; may only lower it */
	unsigned burst;                 /* measured, letters, 1, 1..100000 */
	double office_rate;             /* host, letters/s, 0 = off */
	unsigned office_burst;          /* host, 1 */
	unsigned connect_timeout_ms;    /* host, ms, 10s, 100ms..60s */
	unsigned first_byte_timeout_ms; /* measured, 45s: from the body's last byte to the first of the answer */
	unsigned total_timeout_ms;      /* measured, 60s, 1s..300s */
	unsigned connection_max_age_ms; /* host, 30s: a connection idle or old beyond this is not reused */
	unsigned answer_max;            /* measured, bytes, 64KiB, 1KiB..1MiB */
	unsigned offices_max_age_ms;    /* host, 1h, 1s..24h */
	enum config_offices_policy offices_policy; /* measured: send | hold, when no list can be had */
	enum config_unknown_policy unknown_policy; /* measured: hold (House default) | resend (Senate default) */
	char maintenance[256];    /* measured: times of the week when nothing is sent; the form is cwc/windows.h's */
	unsigned breaker_open_ms; /* measured, 30s, 100ms..15min, 0: no breakers; how long one stays open at first */
};

/* An app server that may sign jobs. */
struct config_signer {
	char kid[65];
	uint8_t public_key[32];
	int64_t not_before_s, not_after_s; /* 0: no bound */
};

struct config {
	/* [worker] */
	char environment[16];              /* measured: sandbox | production; default sandbox */
	char name[64];                     /* host, [A-Za-z0-9._-]{1,63}; default: the host name */
	unsigned drain_timeout_ms;         /* host, 75s, 0..10min */
	enum config_log_level log_level;   /* host, info */
	enum config_log_format log_format; /* host, json */
	unsigned skew_max_ms;              /* measured, 3s: against the clock of Redis; above it not ready */
	enum config_sandbox sandbox;       /* measured, required | off: the filter of system calls */

	/* [queue] */
	struct addr queue_address;                 /* host, unix:/run/redis/redis.sock is the default */
	char queue_name[64];                       /* host, q: the hash tag of every key */
	bool queue_tls;                            /* measured, false */
	bool queue_tls_verify;                     /* measured, true */
	char queue_tls_host[256];                  /* measured, name in the certificate; empty: the address's host */
	char queue_ca_file[CONFIG_PATH_MAX];       /* measured */
	char queue_cert_file[CONFIG_PATH_MAX];     /* measured */
	char queue_key_file[CONFIG_PATH_MAX];      /* measured */
	char queue_user[64];                       /* host */
	char queue_password_file[CONFIG_PATH_MAX]; /* measured */
	unsigned queue_timeout_ms;                 /* host, 2s: an answer that takes longer ends the connection */
	unsigned
		lease_ms; /* measured, 10s, 3s..60s: heartbeat lease, more than 3 skew_max; the beat is a third of it */
	unsigned replicas; /* measured, 0..5, 0: how many replicas must have a BEGIN before a letter of a chamber leaves
			    * that does not know a DeliveryId again (unknown_policy hold) */
	unsigned replica_timeout_ms; /* host, 200ms, 10ms..500ms: how long to wait for them */
	bool allow_eviction;         /* measured, false: start although maxmemory-policy is not noeviction */

	/* [jobs] */
	size_t n_signers; /* measured: `signer = KID HEX64`, may be repeated; 0 with sealed keys and an authority */
	struct config_signer signer[CONFIG_SIGNERS_MAX];
	unsigned attempts;        /* host, 8, 1..100: POSTs that may begin */
	unsigned crashes;         /* host, 3, 1..100 */
	unsigned backoff_base_ms; /* host, 30s, 1ms..1h */
	unsigned backoff_cap_ms;  /* host, 1h, 1ms..24h */
	unsigned age_max_s;       /* host, 3d, 1s..30d: age budget of retries */
	unsigned key_wait_s;      /* host, 1d, 0..30d; production at least 1h: how long a job waits for its key */

	/* [alarms]: host. A log event when the number is reached, and at each doubling; 0: never. */
	unsigned alarm_dead;    /* 1000 */
	unsigned alarm_unknown; /* 100 */
	unsigned alarm_stuck;   /* 1 */
	unsigned alarm_results; /* 100000: entries that nobody collects */
	unsigned alarm_memory;  /* 80: per cent of maxmemory, 0..100 */

	struct config_signer authority; /* measured: `authority = KID HEX64`, or none (kid ""): who may grant signers in
					 * a bundle (attest/grant.h) */

	/* [attest] */
	enum config_device device; /* measured, nsm | none (| simulated): the security module; production needs one */
	unsigned renew_s;          /* measured, 3h, 5min..24h: a newer attestation document is published */

	/* [keys] */
	enum config_key_source key_source; /* `source`, measured: boot | sealed (| file) */
	char kms_key[CONFIG_TEXT_MAX];     /* measured: ARN of the KMS key that bundles are wrapped by; source sealed */
	char kms_ca_file[CONFIG_PATH_MAX]; /* measured, /etc/cwc-worker/amazon-roots.pem */
	struct addr kms_address;           /* host, or none: dial this for KMS instead of its host */
	struct addr credentials_address;   /* host, or none: dial this for the instance metadata service */
	struct addr store_address;         /* host: where sealed things are read from (worker/store.h); source sealed */
	unsigned key_refresh_ms;           /* host, 1min, 100ms..1h: how often the store is read */
	unsigned bundle_version_min;       /* `version_min`, measured, 0: older bundles are refused */
	unsigned key_delay_s;              /* `delay`, measured, 10min, 0..7d; production at least 10min: till active */
	unsigned key_overlap_s;         /* `overlap`, measured, 32d, 0..365d; production at least 31d: from retired to
					 * destroyed */
	char key_file[CONFIG_PATH_MAX]; /* `file`, measured */
	size_t n_contexts;              /* measured: `witness_context = TEXT`, may be repeated */
	char witness_context[CONFIG_CONTEXTS_MAX][65];

	/* [http] */
	size_t n_allowed_hosts; /* measured: `allowed_host = NAME`, may be repeated; the URLs' hosts must be
				 * among them. Default: cwc.house.gov, uat-cwc.house.gov, soapbox.senate.gov */
	char allowed_host[CONFIG_HOSTS_MAX][256];
	char bridge_dir[CONFIG_PATH_MAX]; /* host, /run/cwc-worker: private directory for bridge sockets */

	/* [status] */
	struct addr status_address; /* host, address, or none (text[0] == 0): no status server */

	/* [house], [senate] */
	struct config_chamber chamber[2]; /* by enum cwc_chamber */
};

/* One thing wrong: `file`, `line` (0: none), `key` ("house.url" or "") and the rule that was broken. */
struct config_problem {
	char file[CONFIG_PATH_MAX];
	unsigned line;
	char key[80];
	char rule[200];
};

#define CONFIG_PROBLEMS_MAX 32

struct config_problems {
	struct config_problem at[CONFIG_PROBLEMS_MAX];
	size_t n;
};

/* Whether a text of times of the week is one: cwc_windows_good(), which config/ stands too low to call by itself. */
typedef bool config_windows_good(struct span text);

/* Reads the measured file and, if not NULL, the host file; reports all problems at once (the first
 * CONFIG_PROBLEMS_MAX). *ret_problems is written always. ERR_CONFIG when there is one. */
ERR_MUST_CHECK enum err config_load(const char *measured, const char *host, config_windows_good *windows,
				    struct config *ret_config, struct config_problems *ret_problems);
/* "FILE:LINE: KEY: RULE" */
void config_problem_text(const struct config_problem *p, struct buf *out);

/* The effective values in file syntax, with tier, unit and default as comments. Reading it back
 * gives the same configuration. */
void config_print(const struct config *c, struct buf *out);
/* The commented example file of a tier: every key with its text and its default commented out. */
void config_example(enum config_tier tier, struct buf *out);
/* The table as the body of a man page section (roff). */
void config_man(struct buf *out);
/* The table as a JSON array, for tools and tests. */
void config_json(struct buf *out);

#endif
