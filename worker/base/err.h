/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error codes of the whole program.
 *
 * One enumeration, because a code crosses folders: a reader of CBOR finds it, the job format
 * returns it, the engine acts on its class and a result carries its name. The names are stable
 * (they appear in results, in `refused` and in logs) and say nothing about plaintext or keys.
 *
 * Convention: functions return `enum err`, ERR_OK is 0, outputs come last, are named `ret_...`
 * and are written on success only.
 */
#ifndef WORKER_BASE_ERR_H
#define WORKER_BASE_ERR_H

/* What the caller can do about it. */
enum err_class {
	ERR_CLASS_NONE,      /* success */
	ERR_CLASS_RETRY,     /* the same call may succeed later (network, Redis, time) */
	ERR_CLASS_PERMANENT, /* this input will never do */
	ERR_CLASS_CONFIG,    /* an operator must change something */
	ERR_CLASS_BUG        /* a broken invariant of our own */
};

/* X(ENUM, stable name, class, text for people) */
#define ERR_LIST(X)                                                                                                    \
	X(OK, "ok", NONE, "success")                                                                                   \
	X(SYNTAX, "syntax", PERMANENT, "malformed input")                                                              \
	X(LIMIT, "limit", PERMANENT, "larger than its ceiling")                                                        \
	X(RANGE, "range", PERMANENT, "out of range")                                                                   \
	X(NOT_FOUND, "not_found", PERMANENT, "no such thing")                                                          \
	X(EXISTS, "exists", PERMANENT, "exists already")                                                               \
	X(IO, "io", RETRY, "input or output failed")                                                                   \
	X(TIMEOUT, "timeout", RETRY, "took too long")                                                                  \
	X(CLOSED, "closed", RETRY, "the peer closed the connection")                                                   \
	X(RESOLVE, "resolve", RETRY, "the host name could not be resolved")                                            \
	X(CONNECT, "connect", RETRY, "the connection could not be made")                                               \
	X(TLS, "tls", RETRY, "the TLS handshake or the certificate check failed")                                      \
	X(PROTOCOL, "protocol", RETRY, "the peer broke the protocol")                                                  \
	X(CONFIG, "config", CONFIG, "the configuration is not usable")                                                 \
	X(CRYPTO, "crypto", BUG, "a cryptographic primitive failed")                                                   \
	X(BUG, "bug", BUG, "broken invariant")                                                                         \
	/* queue: what Redis or a script answered */                                                                   \
	X(QUEUE_LOST, "queue_lost", RETRY, "the connection to Redis was lost before the answer came")                  \
	X(QUEUE_BUSY, "queue_busy", RETRY, "Redis is loading, busy or failing over")                                   \
	X(QUEUE_FULL, "queue_full", RETRY, "Redis is out of memory, or cannot write to its disk")                      \
	X(QUEUE_DENIED, "queue_denied", CONFIG, "Redis refused the credentials or the command")                        \
	X(QUEUE_SCRIPT, "queue_script", RETRY, "a queue script failed")                                                \
	X(QUEUE_VERSION, "queue_version", CONFIG, "the queue has a newer protocol version")                            \
	X(QUEUE_POLICY, "queue_policy", CONFIG, "the maxmemory-policy of Redis is not noeviction")                     \
	/* job: the signed part; such an entry goes to `refused` and never closes its (sid, office) */                 \
	X(JOB_TOO_LARGE, "job_too_large", PERMANENT, "the job is larger than 98304 bytes")                             \
	X(JOB_SYNTAX, "job_syntax", PERMANENT, "the job is not the CBOR structure of FORMATS.md")                      \
	X(JOB_ALGORITHM, "job_algorithm", PERMANENT, "the job's COSE headers are not those of FORMATS.md")             \
	X(JOB_SIGNER, "job_signer", PERMANENT, "the job's signer is not configured")                                   \
	X(JOB_SIGNATURE, "job_signature", PERMANENT, "the job's signature does not verify")                            \
	X(JOB_VERSION, "job_version", PERMANENT, "the job's version is not known")                                     \
	X(JOB_FIELD_MISSING, "job_field_missing", PERMANENT, "a required member of the job is missing")                \
	X(JOB_FIELD_UNKNOWN, "job_field_unknown", PERMANENT, "the job has a member that is not known")                 \
	X(JOB_FIELD_TYPE, "job_field_type", PERMANENT, "a member of the job has the wrong type or size")               \
	X(JOB_ENVIRONMENT, "job_environment", PERMANENT, "the job is for another environment")                         \
	X(JOB_QUEUE, "job_queue", PERMANENT, "the job is for another queue")                                           \
	X(JOB_SID, "job_sid", PERMANENT, "the signed sid is not the sid of the queue entry")                           \
	X(JOB_OFFICE, "job_office", PERMANENT, "the signed offices do not hold this office")                           \
	X(JOB_GENERATION, "job_generation", PERMANENT, "the job's generation was superseded")                          \
	X(JOB_EXPIRY, "job_expiry", PERMANENT, "the job's expiry is more than 30 days ahead")                          \
	X(JOB_EXPIRED, "job_expired", PERMANENT, "the job has expired")                                                \
	X(JOB_EARLY, "job_early", RETRY, "the job's not-before time has not come")                                     \
	X(JOB_ENVELOPE_HASH, "job_envelope_hash", PERMANENT, "the envelope is not the one that was signed")            \
	/* envelope: the sealed part of a genuine job; the job ends as rejected with this name */                      \
	X(ENVELOPE_TOO_LARGE, "envelope_too_large", PERMANENT, "the envelope is larger than 90112 bytes")              \
	X(ENVELOPE_SYNTAX, "envelope_syntax", PERMANENT, "the envelope is not the structure of FORMATS.md")            \
	X(ENVELOPE_ALGORITHM, "envelope_algorithm", PERMANENT,                                                         \
	  "the envelope's COSE headers are not those of FORMATS.md")                                                   \
	X(ENVELOPE_KEY, "envelope_key", RETRY, "the envelope's key id is not in the key ring")                         \
	X(ENVELOPE_PROFILE, "envelope_profile", PERMANENT, "the envelope's key belongs to another profile")            \
	X(ENVELOPE_POINT, "envelope_point", PERMANENT, "the envelope's public key is of low order")                    \
	X(ENVELOPE_OPEN, "envelope_open", PERMANENT, "the envelope cannot be opened")                                  \
	X(ENVELOPE_BINDING, "envelope_binding", PERMANENT, "the envelope was sealed for another job")                  \
	/* letter: what an opened envelope holds; the job ends as rejected with this name */                           \
	X(WITNESS_SYNTAX, "witness_syntax", PERMANENT, "the witness is not the JSON object of FORMATS.md")             \
	X(WITNESS_MISMATCH, "witness_mismatch", PERMANENT, "the witness's nullifier or actionDomain is not the job's") \
	X(WITNESS_ADDRESS, "witness_address", PERMANENT, "the witness has no deliveryAddress")                         \
	X(LETTER_SYNTAX, "letter_syntax", PERMANENT, "the letter is not the map of FORMATS.md")                        \
	X(LETTER_FIELD_UNKNOWN, "letter_field_unknown", PERMANENT, "the letter has an element that CWC 2.0 lacks")     \
	X(LETTER_FIELD_TYPE, "letter_field_type", PERMANENT, "an element of the letter has the wrong type")            \
	X(LETTER_FIELD_TWICE, "letter_field_twice", PERMANENT, "an element stands both in the clear and sealed")       \
	X(LETTER_FIELD_PERSONAL, "letter_field_personal", PERMANENT,                                                   \
	  "a personal field stands in the clear part of the job")                                                      \
	X(LETTER_FIELD_RESERVED, "letter_field_reserved", PERMANENT, "an element that only the worker sets")           \
	X(LETTER_INVALID, "letter_invalid", PERMANENT, "the letter breaks rules of CWC 2.0")

enum err {
#define ERR_ENUM(e, name, class, text) ERR_##e,
	ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
		ERR_COUNT
};

#define ERR_MUST_CHECK __attribute__((warn_unused_result))

/* Returns from the enclosing function on failure. The only macro that changes control flow. */
#define TRY(call)                           \
	do {                                \
		enum err try_err_ = (call); \
		if (try_err_ != ERR_OK)     \
			return try_err_;    \
	} while (0)

/* The stable name ("job_signature"), the class, and the text for people. Never NULL. */
const char *err_name(enum err e);
enum err_class err_class(enum err e);
const char *err_text(enum err e);

/* Prints file and line and aborts. Stays on in release builds: a worker whose own invariant is
 * broken must not send letters. Never put a side effect into `cond`. */
#define BUG_ON(cond)                                        \
	do {                                                \
		if (__builtin_expect(!!(cond), 0))          \
			err_bug(__FILE__, __LINE__, #cond); \
	} while (0)
void err_bug(const char *file, int line, const char *what) __attribute__((noreturn));

#endif
