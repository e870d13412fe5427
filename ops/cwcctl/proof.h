/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a receipt proves what it says, and what stands in its way if it does not. Offline: against the boots that
 * somebody kept (boots.h), years later if need be.
 *
 * A receipt is good when its key id is of a boot among them, a key of that id has signed it, the attestation document
 * that it names is one of the boot's and was verified, that document's user_data is the hash of the boot's statement,
 * and the statement has this receipt key, the receipt's environment and its queue.
 *
 * Of time, this is true of every genuine receipt, and asked: a worker takes no letter before its first document is
 * published, so that none ended before the earliest document of its boot was signed; and none ended in the future. No
 * more can be asked. A receipt names the newest document that was published when it was signed. That may be one from
 * after the end, by hours, where the settlement had to wait for Redis; and it may be one from long before, since a
 * newer one may have been made and not be published yet. Documents that are not given cannot count: give all of a boot.
 */
#ifndef OPS_CWCCTL_PROOF_H
#define OPS_CWCCTL_PROOF_H

#include <jansson.h>

#include "attest/receipt.h"
#include "ops/cwcctl/boots.h"

/* How far the clocks of two that are right may differ. */
#define PROOF_SKEW_MS INT64_C(300000)

/* X(ENUM, stable name, text for people), in the order in which they are asked. */
#define PROOFS(X)                                                                                                      \
	X(GOOD, "good", "proved: by which enclave, and what it says")                                                  \
	X(NONE, "none", "a late answer that decided nothing; it needs no receipt")                                     \
	X(MISSING, "missing", "the result has no receipt: what it says is nobody's word")                              \
	X(MALFORMED, "malformed", "the line, or the receipt in it, cannot be read")                                    \
	X(UNKNOWN_BOOT, "unknown_boot", "no boot among the documents has a receipt key of this id")                    \
	X(SIGNATURE, "signature", "the boot's key has not signed this")                                                \
	X(NO_DOCUMENT, "no_document", "the receipt names no attestation document: its worker had none")                \
	X(UNKNOWN_DOCUMENT, "unknown_document", "the attestation document that the receipt names is not among them")   \
	X(NO_STATEMENT, "no_statement", "the document is there without the statement that it vouches for")             \
	X(STATEMENT, "statement", "the statement is not the one that the document vouches for")                        \
	X(STATEMENT_SYNTAX, "statement_syntax", "the statement is the right one, and cannot be read")                  \
	X(KEY, "key", "the statement has another receipt key")                                                         \
	X(ENVIRONMENT, "environment", "the receipt and the statement differ in the environment")                       \
	X(QUEUE, "queue", "the receipt and the statement differ in the queue")                                         \
	X(EARLY, "early",                                                                                              \
	  "it ended before the earliest of the boot's documents was signed, or earlier documents of this boot are "    \
	  "missing")                                                                                                   \
	X(FUTURE, "future", "it ended in the future")                                                                  \
	X(ASKED_ENVIRONMENT, "asked_environment", "the receipt is good and of another environment than --environment") \
	X(ASKED_QUEUE, "asked_queue", "the receipt is good and of another queue than --queue")                         \
	X(ENTRY_SID, "entry_sid", "the receipt is good and of another submission than the result")                     \
	X(ENTRY_OFFICE, "entry_office", "the receipt is good and of another office than the result")                   \
	X(ENTRY_OUTCOME, "entry_outcome", "the receipt is good and has another outcome than the result")               \
	X(ENTRY_STATE, "entry_state", "the receipt is good and its outcome has another state than the result")         \
	X(ENTRY_CLASS, "entry_class", "the receipt is good and its outcome has another class than the result")         \
	X(ENTRY_ATTEMPT, "entry_attempt", "the receipt is good and counts other attempts than the result")             \
	X(ENTRY_DELIVERY_ID, "entry_delivery_id", "the receipt is good and has another DeliveryId than the result")    \
	X(ENTRY_HTTP_STATUS, "entry_http_status", "the receipt is good and has another HTTP status than the result")   \
	X(ENTRY_GENERATION, "entry_generation", "the receipt is good and of another generation than the result")

enum proof_fault {
#define PROOF_ENUM(e, name, text) PROOF_##e,
	PROOFS(PROOF_ENUM)
#undef PROOF_ENUM
		PROOF_FAULTS
};

/* What becomes of a line, in all functions here: one of those, or PROOF_FAULTS + the code of the verifier that refused
 * the document. */
#define PROOF_COUNT (PROOF_FAULTS + ATTEST_CODE_COUNT)

/* Of what the receipts must be; NULL: of any. A genuine one of the sandbox proves nothing of a letter in production. */
struct proof_asked {
	const char *environment, *queue;
};

/* What is known from the lines before: a late answer that decides is followed by its own result, with the same receipt.
 */
struct proof_before {
	uint8_t late[32]; /* SHA-256 of the receipt of the last late answer */
};

/* Verifies a line: a result as `cwcctl results --json` prints it, or a receipt in base64. *ret_receipt is what the
 * receipt says, with views into `bytes`, when it could be verified; else zero. `entry`: the result, which the caller
 * releases; NULL when the line is none. */
unsigned proof_line(const struct boots *b, const struct proof_asked *asked, struct span line, int64_t now_ms,
		    struct proof_before *before, struct buf *bytes, struct receipt *ret_receipt, json_t **ret_entry);

bool proof_bad(unsigned p);
/* "document_debug"; the name is put together in `ret_name`. */
#define PROOF_NAME_SIZE 48
void proof_name(unsigned p, char ret_name[PROOF_NAME_SIZE]);
const char *proof_text(unsigned p);

#endif
