/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to config/: the table of keys and what works on one row of it.
 *
 * A row says everything about a key: where it stands in the files, its type, default, range and
 * tier, where its value lies in `struct config`, and what a person should know. Nothing else in
 * the program lists keys, so a new key is one row (and a rule, when it depends on another key).
 */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "config/config.h"

/* X(ENUM, name, unit of the stored value, form for people: "must be FORM"). The form of a WORD or an ENUM is its
 * list of words; a range is added where the row has one. */
#define CONFIG_TYPES(X)                                                                                             \
	X(BOOL, "bool", "", "true or false")                                                                        \
	X(TEXT, "text", "", "text")                                                                                 \
	X(NAME, "name", "", "1 to 63 characters of A-Z a-z 0-9 . _ -")                                              \
	X(WORD, "word", "", "")                                                                                     \
	X(ENUM, "enum", "", "")                                                                                     \
	X(MS, "duration", "ms", "a duration in ms, s, min, h or d")                                                 \
	X(S, "duration", "s", "a duration in s, min, h or d")                                                       \
	X(SIZE, "size", "bytes", "a size in B, KiB or MiB")                                                         \
	X(INTEGER, "integer", "", "a whole number")                                                                 \
	X(RATE, "rate", "1/s", "a rate in /s, /min or /h")                                                          \
	X(ADDRESS, "address", "", "tcp:HOST:PORT, unix:/PATH, unix:@NAME or vsock:CID:PORT")                        \
	X(PATH, "path", "", "an absolute path")                                                                     \
	X(URL, "url", "", "an https URL without user, query and fragment")                                          \
	X(HOST, "host", "", "a host name in lower case")                                                            \
	X(EMAIL, "email", "", "an e-mail address")                                                                  \
	X(PHONE, "phone", "", "a phone number NNN-NNN-NNNN")                                                        \
	X(SIGNER, "signer", "",                                                                                     \
	  "KID HEX64 [NOT-BEFORE NOT-AFTER]: a key id of 1 to 64 characters of A-Z a-z 0-9 . _ -, an Ed25519 "      \
	  "public key, and two times like 2026-11-01T00:00:00Z, - for no bound")                                    \
	X(AUTHORITY, "authority", "",                                                                               \
	  "KID HEX64: a key id of 1 to 64 characters of A-Z a-z 0-9 . _ -, a space, 64 hex digits of an Ed25519 "   \
	  "public key")                                                                                             \
	X(ARN, "arn", "", "the ARN of a KMS key: arn:PARTITION:kms:REGION:ACCOUNT:key/ID")                          \
	X(HASH, "hash", "", "64 hex digits of a SHA-256")                                                           \
	X(CONTEXT, "context", "", "16 to 64 printable ASCII characters without space")                              \
	X(WINDOWS, "windows", "",                                                                                   \
	  "none, or at most 8 times of the week, divided by commas: DAY HH:MM-HH:MM, the end after the start, DAY " \
	  "one of daily sun mon tue wed thu fri sat")

enum config_type {
#define CONFIG_TYPE_ENUM(e, name, unit, form) CONFIG_TYPE_##e,
	CONFIG_TYPES(CONFIG_TYPE_ENUM)
#undef CONFIG_TYPE_ENUM
		CONFIG_TYPE_COUNT
};

struct config_key {
	const char *section, *name;
	enum config_type type;
	enum config_tier tier;
	const char *def;          /* in file syntax; "": no default. Several, divided by a space, when repeatable */
	double min, max;          /* of the stored value; of TEXT: characters. Both 0: no range */
	size_t offset, size;      /* of the value in struct config, or of the first of a repeatable key's values */
	size_t room, count;       /* repeatable: how many values fit, offset of their number; else 0 */
	const char *const *words; /* WORD, ENUM: NULL-terminated, in the order of the enum */
	bool zero;                /* a number: 0 is allowed below min */
	bool empty;               /* `key =` is allowed although there is a default */
	const char *example;      /* for the example file where there is no default */
	const char *text;         /* one or two sentences */
};

#define CONFIG_KEYS_MAX 128

/* In the order of the files: all keys of a section stand together. */
extern const struct config_key config_keys[];
extern const size_t config_n_keys;

const char *config_type_form(enum config_type t);
/* Index of a key, or config_n_keys. */
size_t config_find(const char *section, const char *name);
bool config_is_section(struct span name);

/* --- one value ------------------------------------------------------------------------------- */

#define CONFIG_RULE_SIZE sizeof(((struct config_problem *)NULL)->rule)

/* Reads a value into `field`, which is k->size bytes; on failure `rule` says what it must be like. */
ERR_MUST_CHECK enum err config_parse(const struct config_key *k, struct span value, void *field,
				     char rule[CONFIG_RULE_SIZE]);

/* A number of the key's type in file syntax: reading it back gives the same number. */
#define CONFIG_NUMBER_SIZE 40
void config_number(const struct config_key *k, double v, char out[CONFIG_NUMBER_SIZE]);

/* Host and path of an https URL; the views point into `url`. *ret_rule is a static text. */
ERR_MUST_CHECK enum err config_url(struct span url, struct span *ret_host, struct span *ret_path,
				   const char **ret_rule);

/* --- rules ----------------------------------------------------------------------------------- */

/* Where the value of a key was set last; line 0: nowhere. */
struct config_origin {
	const char *file;
	unsigned line;
};

struct config_check {
	const struct config *c;
	const char *measured;               /* path of the measured file, blamed for keys that nobody set */
	const struct config_origin *origin; /* by index of the key */
	config_windows_good *windows;       /* or NULL */
	struct config_problems *problems;
};

/* Adds a problem; drops it when the list is full. section or name may be "". */
void config_problem_add(struct config_problems *p, const struct config_origin *at, const char *section,
			const char *name, const char *rule);
/* The rules between keys. A key that has a problem already gets no second one here. */
void config_check_rules(const struct config_check *k);

#endif
