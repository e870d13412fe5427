/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwcctl: what a command gets, and the table that describes all commands.
 *
 * A command is a row of ctl_commands[] or ctl_commands_more[]: the dispatcher, --help, `help COMMAND`, the manual page
 * and the check of options and arguments all read the same row. A command returns its exit status and never exits; it
 * reports an error once, on one line of standard error, with ctl_fail() or ctl_complain(). What it prints on standard
 * output goes through out.h.
 *
 * Secrets (signer keys, passwords) come from files with mode 0600, never from the command line or
 * the environment. Letters are held in buffers that are wiped.
 */
#ifndef OPS_CWCCTL_CTL_H
#define OPS_CWCCTL_CTL_H

#include "worker/base/buf.h"

/* sysexits.h where it has a fitting number. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_NO = 1,           /* the answer is no */
	CTL_USAGE = 64,       /* EX_USAGE */
	CTL_UNAVAILABLE = 69, /* EX_UNAVAILABLE: Redis, the worker's status port */
	CTL_INTERNAL = 70,    /* EX_SOFTWARE */
	CTL_CONFIG = 78       /* EX_CONFIG: a configuration, a key file, a ring; any file of what verifies */
};

/* X(ENUM, name, argument or NULL, text). The common ones first: up to HELP. */
#define CTL_OPTIONS(X)                                                                                                \
	X(REDIS, "redis", "ADDRESS",                                                                                  \
	  "Redis: tcp:HOST:PORT, unix:/PATH, unix:@NAME or vsock:CID:PORT; default unix:/run/redis/redis.sock.")      \
	X(QUEUE, "queue", "NAME", "Name of the queue, the hash tag of its keys; default q.")                          \
	X(USER, "user", "NAME", "User for AUTH; needs --password-file.")                                              \
	X(PASSWORD_FILE, "password-file", "FILE", "File with the password for AUTH; its mode must be 0600.")          \
	X(TLS, "tls", NULL, "Speak TLS; needs --ca.")                                                                 \
	X(TLS_HOST, "tls-host", "NAME", "Name in the certificate; default the host of --redis.")                      \
	X(CA, "ca", "FILE", "CA certificates (PEM) that the server's certificate is checked against.")                \
	X(CERT, "cert", "FILE", "Client certificate (PEM); needs --key.")                                             \
	X(KEY, "key", "FILE", "Key of the client certificate (PEM).")                                                 \
	X(TIMEOUT, "timeout", "DURATION",                                                                             \
	  "Longest wait for the connection and for each answer; default 5s, 1min where KMS is asked.")                \
	X(JSON, "json", NULL, "Print JSON: one document, or one object a line where there is no end to it.")          \
	X(HELP, "help", NULL, "Print help and exit.")                                                                 \
	X(SIGNER, "signer", "PEMFILE",                                                                                \
	  "Ed25519 private key that signs the jobs, or the grant: PKCS#8 PEM as `openssl genpkey -algorithm "         \
	  "ed25519` writes it. The file's mode must be 0600.")                                                        \
	X(KID, "kid", "KID", "Key id of the signer, as configured in the workers.")                                   \
	X(ENVIRONMENT, "environment", "ENV",                                                                          \
	  "sandbox or production: which workers may send; default sandbox, for `receipts verify` any.")               \
	X(RING, "ring", "FILE",                                                                                       \
	  "Public ring keys to seal to, a line each: PROFILE KID HEX [CONTEXT]... Default: those that the newest "    \
	  "worker published.")                                                                                        \
	X(FORCE, "force", NULL, "Do not check the letters by the rules of CWC 2.0 first.")                            \
	X(KEEP_GOING, "keep-going", NULL, "Go on after bad lines.")                                                   \
	X(OFFICE, "office", "CODE", "The office, such as HNE03 or SNE02; as a filter also several, CODE,CODE.")       \
	X(CHAMBER, "chamber", "CHAMBER", "house or senate; default: the office's, or as a filter both.")              \
	X(FOLLOW, "follow", NULL, "Wait for more; an interrupt ends it.")                                             \
	X(FROM, "from", "ID",                                                                                         \
	  "Begin after this entry: an id as printed in the JSON, or (`results`) $ for new ones only.")                \
	X(COUNT, "count", "N", "At most N entries.")                                                                  \
	X(LINES, "lines", NULL, "Only the ring keys of the newest boot, in the lines that --ring reads.")             \
	X(VERIFY, "verify", NULL, "Check every receipt's signature and that it says what the entry says.")            \
	X(WATCH, "watch", "SECONDS", "Again every SECONDS until interrupted.")                                        \
	X(ALL, "all", NULL, "All: no filter is meant; for `reconcile` also what the list does not name.")             \
	X(DRY_RUN, "dry-run", NULL, "Only say what would be done.")                                                   \
	X(SID, "sid", "SID", "Only this submission, or these: SID,SID.")                                              \
	X(OUTCOME, "outcome", "NAME", "Only this outcome, or these: NAME,NAME; see `outcomes`.")                      \
	X(CLASS, "class", "NAME", "Only this class of outcomes, or these: NAME,NAME.")                                \
	X(OLDER, "older", "AGE", "Only what ended longer ago than this: a duration such as 36h, or a past time.")     \
	X(NEWER, "newer", "AGE", "Only what ended since: a duration such as 36h, or a past time.")                    \
	X(RATE, "rate", "N/UNIT", "At most so many: 50/s, 100/min or 1000/h.")                                        \
	X(QUIET, "quiet", NULL, "No progress on standard error.")                                                     \
	X(EXPORT, "export", NULL, "An object a line with all that is known.")                                         \
	X(MAY_SEND_TWICE, "may-send-twice", NULL, "The House was asked, or a letter that arrives twice is accepted.") \
	X(BEFORE, "before", "ID", "Only entries before this one.")                                                    \
	X(UNREAD, "unread", NULL, "Also what not every consumer group has read and acknowledged.")                    \
	X(UNTIL, "until", "TIME", "RFC 3339, or seconds since 1970.")                                                 \
	X(FOR, "for", "DURATION", "A number and ms, s, min, h or d.")                                                 \
	X(REASON, "reason", "TEXT", "Why, at most 200 bytes; everybody who looks at the queue reads it.")             \
	X(WAIT, "wait", "DURATION", "Wait until it is done, at most so long.")                                        \
	X(YES, "yes", NULL, "Do not count and ask first.")                                                            \
	X(COUNT_CHECK, "count-check", "N", "Do it only if exactly N match, and do not ask.")                          \
	X(WHO, "who", "NAME", "On whose behalf: stands in `audit` before the user and the host.")                     \
	X(HTTP, "http", "N", "Only those that were answered so last, or N,N; 0: no answer.")                          \
	X(JOBS, "jobs", NULL, "With the sealed bytes of each, so that an import brings it back whole.")               \
	X(MARKDOWN, "markdown", NULL, "Print a Markdown table.")                                                      \
	X(MEND, "mend", NULL, "Mend what is off.")                                                                    \
	X(IDS, "ids", "FILE|-",                                                                                       \
	  "Only these: SID OFFICE on each line, or the lines of `export`; see also `reconcile` and `delivery`.")      \
	X(AT, "at", "TIME", "Verify as at this time: RFC 3339, seconds since 1970, or now (the default).")            \
	X(MAX_AGE, "max-age", "DURATION",                                                                             \
	  "How old the signed time may be; default 5min. A number alone is of seconds.")                              \
	X(MANIFEST, "manifest", "FILE",                                                                               \
	  "The releases whose measurements are allowed; 78 is the exit status of a bad one.")                         \
	X(PCR, "pcr", "N=HEX,...", "The measurements that are allowed, all of them together: 0=HEX,1=HEX,2=HEX.")     \
	X(NONCE, "nonce", "HEX", "The nonce that the document must have.")                                            \
	X(CHAIN_ONLY, "chain-only", NULL,                                                                             \
	  "Ask only whether the hypervisor signed it, not which program it is, when, and for whom.")                  \
	X(RELEASE, "release", "NAME", "Print the lines of a manifest, with this name.")                               \
	X(STATUS, "status", "ADDRESS",                                                                                \
	  "The worker's status port: tcp:HOST:PORT, unix:/PATH or unix:@NAME; one on vsock is asked through a "       \
	  "forwarder on the parent instance.")                                                                        \
	X(OUTPUT, "output", "FILE", "The file to write.")                                                             \
	X(GRANT, "grant", "FILE", "A grant of signers, as `signer grant` writes it.")                                 \
	X(UNATTESTED, "unattested", NULL,                                                                             \
	  "Take the word of a worker that has no security module: for development, since whoever stands between "     \
	  "can name keys of their own.")                                                                              \
	X(KEYS, "keys", "FILE", "What the worker's /keys answered earlier, instead of --status.")                     \
	X(SERIAL, "serial", "N", "Number of the grant: each must be above the one before.")                           \
	X(AUTHORITY_KEY, "authority-key", "HEX", "The public key of the authority that signs grants, 64 hex digits.") \
	X(DOCUMENTS, "documents", "FILE", "The boots and their documents, as `keys --json` prints them.")             \
	X(PROMETHEUS, "prometheus", NULL, "Print the text that Prometheus reads.")                                    \
	X(EMF, "emf", NULL, "Print CloudWatch's embedded metric format: a JSON object a line, for the log agent.")    \
	X(NAMESPACE, "namespace", "NAME", "CloudWatch's namespace of the metrics; default CWC.")                      \
	X(LISTEN, "listen", "ADDRESS",                                                                                \
	  "Where to listen: tcp:HOST:PORT, unix:/PATH or unix:@NAME; default tcp:127.0.0.1:9465.")                    \
	X(PUBLISH, "publish", NULL, "Publish the answer in the queue, for the exporter and the next reckoning.")      \
	X(MIN, "min", "N", "The fewest workers, from 0; default 1.")                                                  \
	X(MAX, "max", "N", "The most workers, up to 1000; default 10.")                                               \
	X(TARGET_DRAIN, "target-drain", "DURATION", "In what time a backlog is to be gone; default 5min.")            \
	X(SLOTS, "slots", "N",                                                                                        \
	  "Letters that a worker sends to one chamber at a time; default: the configuration's concurrency.")          \
	X(LATENCY, "latency", "DURATION",                                                                             \
	  "How long a POST takes; default: what 95 of 100 took at most in the last minutes, 1s when there were "      \
	  "hardly any.")                                                                                              \
	X(STABLE, "stable", "DURATION", "How long fewer workers must do before there are fewer; default 5min.")       \
	X(COOLDOWN, "cooldown", "DURATION", "The least time between a change and a step down; default 1min.")         \
	X(MAN, "man", NULL, "Print the manual page cwcctl(1).")

enum ctl_option {
#define CTL_OPTION_ENUM(e, name, arg, text) OPT_##e,
	CTL_OPTIONS(CTL_OPTION_ENUM)
#undef CTL_OPTION_ENUM
		CTL_N_OPTIONS
};

/* A set of options. 64 bits would not do; one scalar can be written in the tables with `|`. */
typedef unsigned __int128 ctl_set;
_Static_assert(CTL_N_OPTIONS <= 8 * sizeof(ctl_set), "a set of options has 128 bits");

#define CTL_BIT(o)     ((ctl_set)1 << (o))
#define CTL_COMMON     (CTL_BIT(OPT_HELP + 1) - 1)
#define CTL_SEAL       (CTL_BIT(OPT_SIGNER) | CTL_BIT(OPT_KID) | CTL_BIT(OPT_ENVIRONMENT) | CTL_BIT(OPT_RING))
#define CTL_ARGS_MAX   64
#define CTL_COUNT_MAX  1000000000U
#define CTL_KID_MAX    64
#define CTL_OFFICE_MAX 5

struct ctl_option_row {
	const char *name, *arg, *text;
};
extern const struct ctl_option_row ctl_options[CTL_N_OPTIONS];

struct session;
struct command;

struct ctl {
	const struct command *command;
	const char *opt[CTL_N_OPTIONS]; /* the value, "" for a flag, NULL when absent */
	const char *arg[CTL_ARGS_MAX];
	size_t n_args;
	bool json;
	struct session *session; /* session.h; opened when a command needs it */
};

struct ctl_example {
	const char *line, *text;
};

struct command {
	const char *name; /* one word or two: "dead list" */
	const char *args; /* for people */
	const char *summary;
	const char *text; /* paragraphs, with an empty line between them */
	ctl_set options;  /* besides the common ones */
	size_t min, max;  /* number of arguments */
	int (*run)(struct ctl *c);
	struct ctl_example example[3];
};
extern const struct command ctl_commands[];        /* of the queue and its letters: commands.c */
extern const struct command ctl_commands_more[];   /* of keys and all the rest: commands_more.c */
extern const struct command ctl_commands_people[]; /* of people's work: commands_people.c */
extern const struct command ctl_commands_depth[];  /* of depth and of the number of workers: commands_depth.c */
extern const size_t ctl_n_commands_first, ctl_n_commands_people, ctl_n_commands_depth, ctl_n_commands_more;
/* All tables as one: the number of rows, and the one at place i. */
size_t ctl_n_commands(void);
const struct command *ctl_command(size_t i);

/* --- args.c ---------------------------------------------------------------------------------- */

/* Fills *c from the command line; 0, or the exit status after an error was reported. --help and no
 * command at all give the command `help`. */
int args_parse(int argc, char **argv, struct ctl *c);
static inline bool ctl_has(const struct ctl *c, enum ctl_option o)
{
	return c->opt[o] != NULL;
}
/* The value of an option, or `def`. */
static inline const char *ctl_value(const struct ctl *c, enum ctl_option o, const char *def)
{
	return c->opt[o] != NULL ? c->opt[o] : def;
}
/* Checks of arguments; 0, or the exit status after a report. */
int args_sid(const char *s);
int args_office(const char *s);
/* house, senate or an office. */
int args_what(const char *s);
/* The option as a number from 1 to CTL_COUNT_MAX; `def` when it is absent. */
int args_count(const struct ctl *c, enum ctl_option o, uint64_t def, uint64_t *ret_n);
/* --timeout, or the command's own default. */
int args_timeout(const struct ctl *c, unsigned def_ms, unsigned *ret_ms);
/* sandbox (the default) or production. */
int args_environment(const struct ctl *c, const char **ret_environment);

/* One line on standard error: "cwcctl: ...". Control characters are replaced. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the value `code`. */
#define ctl_fail(code, ...) (ctl_complain(__VA_ARGS__), (code))

/* --- commands -------------------------------------------------------------------------------- */

int cmd_seal(struct ctl *c);
int cmd_signer_show(struct ctl *c);
int cmd_enqueue(struct ctl *c);
int cmd_status(struct ctl *c);
int cmd_delivery(struct ctl *c);
int cmd_cancel(struct ctl *c);
int cmd_results(struct ctl *c);
int cmd_results_trim(struct ctl *c);
int cmd_receipts_verify(struct ctl *c);
int cmd_depth(struct ctl *c);
int cmd_exporter(struct ctl *c);
int cmd_scale(struct ctl *c);
int cmd_dead_list(struct ctl *c);
int cmd_dead_show(struct ctl *c);
int cmd_dead_stats(struct ctl *c);
int cmd_dead_export(struct ctl *c);
int cmd_dead_import(struct ctl *c);
int cmd_dead_matrix(struct ctl *c);
int cmd_dead_replay(struct ctl *c);
int cmd_dead_drop(struct ctl *c);
int cmd_unknown_list(struct ctl *c);
int cmd_unknown_resolve(struct ctl *c);
int cmd_unknown_import(struct ctl *c);
int cmd_refused_list(struct ctl *c);
int cmd_stuck_list(struct ctl *c);
int cmd_audit_list(struct ctl *c);
int cmd_audit_summary(struct ctl *c);
int cmd_offices(struct ctl *c);
int cmd_hold(struct ctl *c);
int cmd_holds(struct ctl *c);
int cmd_resume(struct ctl *c);
int cmd_fsck(struct ctl *c);
int cmd_reconcile(struct ctl *c);
int cmd_keys(struct ctl *c);
int cmd_keys_status(struct ctl *c);
int cmd_keys_request(struct ctl *c);
int cmd_keys_rotate(struct ctl *c);
int cmd_keys_signers(struct ctl *c);
int cmd_keys_store(struct ctl *c);
int cmd_secrets_seal(struct ctl *c);
int cmd_secrets_show(struct ctl *c);
int cmd_signer_grant(struct ctl *c);
int cmd_signer_show_grant(struct ctl *c);
int cmd_workers(struct ctl *c);
int cmd_workers_drain(struct ctl *c);
int cmd_workers_undrain(struct ctl *c);
int cmd_limits(struct ctl *c);
int cmd_shape(struct ctl *c);
int cmd_top(struct ctl *c);
int cmd_outcomes(struct ctl *c);
int cmd_errors(struct ctl *c);
int cmd_model(struct ctl *c);
int cmd_render(struct ctl *c);
int cmd_config_check(struct ctl *c);
int cmd_config_print(struct ctl *c);
int cmd_config_example(struct ctl *c);
int cmd_attest_verify(struct ctl *c);
int cmd_attest_show(struct ctl *c);
int cmd_attest_measure(struct ctl *c);
int cmd_attest_diff(struct ctl *c);
int cmd_version(struct ctl *c);
int cmd_help(struct ctl *c);

#endif
