/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boots of workers, as somebody kept them: the entries of the stream `attestations` in the form in which
 * `cwcctl keys --json` prints them. Each attestation document is verified when it is read, at its own time, and of it
 * and its statement only what receipts are compared with is kept: some 300 bytes for each.
 *
 * Of an entry these members count, each of which may be missing or null: `receipt_key` (64 hex digits), `document` and
 * `statement` (base64). All others are passed over, and so is, with a word, an entry in which one of these is something
 * else.
 */
#ifndef OPS_CWCCTL_BOOTS_H
#define OPS_CWCCTL_BOOTS_H

#include <jansson.h>

#include "attest/verify.h"
#include "ops/cwcctl/progress.h"

/* What is wrong between a document that is verified and its statement. */
enum boots_statement { BOOTS_RIGHT, BOOTS_MISSING, BOOTS_OTHER, BOOTS_SYNTAX };

struct boots_document {
	uint8_t sha256[32];
	enum attest_code code;          /* the rest is set only for ATTEST_OK */
	enum boots_statement statement; /* the rest is set only for BOOTS_RIGHT */
	int64_t signed_ms;
	uint8_t receipt_key[32];
	char environment[65], queue[65];
};

struct boots_key {
	uint8_t key[32];
	int64_t first_ms; /* when the earliest document that vouches for it was signed; INT64_MAX: none does */
};

struct boots {
	struct boots_document *document; /* by their hash, each once */
	struct boots_key *key;           /* by their first 8 bytes, each once */
	size_t n_documents, n_keys;
	size_t documents_room, keys_room;
	bool simulated; /* a document is the simulator's, and was taken */
};

/* Reads and verifies. `policy` says what is asked of the documents; its cache and times are set here. 0, or the exit
 * status after a report: CTL_CONFIG when the file cannot be read or is not of this form. `file` may be "-". */
int boots_read(const char *file, const struct attest_policy *policy, struct progress *p, struct boots *ret_boots);
void boots_clear(struct boots *b);

/* NULL when there is none. */
const struct boots_document *boots_document(const struct boots *b, const uint8_t sha256[32]);
/* The keys that begin with these 8 bytes, which is all that an id has of them; *ret_n of them, and first those that a
 * document vouches for. */
const struct boots_key *boots_keys(const struct boots *b, const uint8_t prefix[8], size_t *ret_n);

/* --- the file (boots_read.c) ------------------------------------------------------------------ */

#define BOOTS_ENTRY_MAX ((size_t)1 << 20)

/* Calls `each` with every object of the file, which is an array of them, or has one after the other. 0, or the exit
 * status after a report. One object is in memory at a time, of at most BOOTS_ENTRY_MAX bytes; for a larger one `each`
 * gets NULL. */
int boots_each(const char *file, void (*each)(void *arg, const json_t *entry), void *arg);

#endif
