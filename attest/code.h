/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a document was refused: one code for each rule, in the order in which the rules are asked. The names are stable:
 * `cwcctl attest verify` prints them, tests and runbooks name them.
 *
 * The rules are stricter than AWS's text where real documents allow it, and follow real documents where the text is
 * wrong (untagged message, null for what is absent, maps of indefinite length).
 *
 * The stages are asked one after the other, and within a stage: the envelope and the payload in the order of their
 * bytes (what is missing, and what stands behind, at the end); the chain certificate by certificate from the root down,
 * each by all of its rules in the order of the list, so that nothing which its issuer did not sign is looked at beyond
 * its form, names and key.
 */
#ifndef ATTEST_CODE_H
#define ATTEST_CODE_H

/* The stages of a verification. A failure ends it: what comes later was not checked. */
enum attest_stage {
	ATTEST_ENVELOPE,  /* the COSE_Sign1 */
	ATTEST_PAYLOAD,   /* its CBOR and the rules of each field */
	ATTEST_CHAIN,     /* the certificates, from the anchor to the leaf */
	ATTEST_SIGNATURE, /* by the leaf */
	ATTEST_TIME,      /* freshness, against the caller's clock */
	ATTEST_DEBUG,     /* an enclave whose memory its host can read */
	ATTEST_POLICY,    /* the measurements */
	ATTEST_BINDING,   /* nonce, user_data, public_key */
	ATTEST_STAGES
};

/* X(ENUM, stage, stable name, text for people). Sections are those of RFC 9052 (COSE), RFC 8949 (CBOR) and RFC 5280
 * (certificates); where none is named, the rule is that of the field's comment in document.h or verify.h. */
#define ATTEST_CODES(X)                                                                                           \
	X(OK, STAGES, "ok", "nothing is wrong")                                                                   \
	/* Untagged COSE_Sign1 (RFC 9052 section 4.2). The signature covers neither the heads nor the unprotected \
	 * map, so that all of them must have their one form. */                                                  \
	X(ENVELOPE_SIZE, ENVELOPE, "envelope_size", "the document is empty or larger than 12288 bytes")           \
	X(ENVELOPE_TAG, ENVELOPE, "envelope_tag", "the document has a CBOR tag")                                  \
	X(ENVELOPE_SYNTAX, ENVELOPE, "envelope_syntax",                                                           \
	  "the document is cut off, is no array of four, or has a length that is not in its shortest form")       \
	X(ENVELOPE_ALGORITHM, ENVELOPE, "envelope_algorithm", "the protected header is not {1: -35} (ES384)")     \
	X(ENVELOPE_UNPROTECTED, ENVELOPE, "envelope_unprotected", "the unprotected header is not an empty map")   \
	X(ENVELOPE_PAYLOAD, ENVELOPE, "envelope_payload", "the payload is absent, empty or no byte string")       \
	X(ENVELOPE_SIGNATURE, ENVELOPE, "envelope_signature", "the signature is not a byte string of 96 bytes")   \
	X(ENVELOPE_TRAILING, ENVELOPE, "envelope_trailing", "something stands behind the document")               \
	/* The payload's map (RFC 8949 sections 3 and 4.2.1). */                                                  \
	X(PAYLOAD_SYNTAX, PAYLOAD, "payload_syntax",                                                              \
	  "the payload is not one map of well-formed CBOR in shortest form with whole strings")                   \
	X(PAYLOAD_KEY, PAYLOAD, "payload_key", "a key of the payload is no text")                                 \
	X(PAYLOAD_NITROTPM, PAYLOAD, "payload_nitrotpm", "the document is of a NitroTPM, not of an enclave")      \
	X(PAYLOAD_UNKNOWN, PAYLOAD, "payload_unknown", "the payload has a key that is not known")                 \
	X(PAYLOAD_DUPLICATE, PAYLOAD, "payload_duplicate", "the payload has a key twice")                         \
	X(PAYLOAD_TYPE, PAYLOAD, "payload_type", "a value of the payload has another type")                       \
	X(PAYLOAD_MODULE_ID, PAYLOAD, "module_id", "module_id is not i-<17 hex>-enc<16 hex>")                     \
	X(PAYLOAD_DIGEST, PAYLOAD, "digest", "digest is not SHA384")                                              \
	X(PAYLOAD_TIMESTAMP, PAYLOAD, "timestamp", "timestamp is not a time in milliseconds")                     \
	X(PAYLOAD_PCR_INDEX, PAYLOAD, "pcr_index", "the index of a PCR is not a number below 32")                 \
	X(PAYLOAD_PCR_DUPLICATE, PAYLOAD, "pcr_duplicate", "a PCR stands there twice")                            \
	X(PAYLOAD_PCR_SIZE, PAYLOAD, "pcr_size", "a PCR does not have 48 bytes")                                  \
	X(PAYLOAD_PCR_MISSING, PAYLOAD, "pcr_missing", "one of PCR0 to PCR4 and PCR8 is missing")                 \
	X(PAYLOAD_CERTIFICATE_SIZE, PAYLOAD, "certificate_size", "certificate does not have 1 to 1024 bytes")     \
	X(PAYLOAD_CABUNDLE_COUNT, PAYLOAD, "cabundle_count", "cabundle does not have 2 to 8 entries")             \
	X(PAYLOAD_CABUNDLE_SIZE, PAYLOAD, "cabundle_size", "an entry of cabundle does not have 1 to 1024 bytes")  \
	X(PAYLOAD_PUBLIC_KEY_SIZE, PAYLOAD, "public_key_size", "public_key does not have 1 to 1024 bytes")        \
	X(PAYLOAD_USER_DATA_SIZE, PAYLOAD, "user_data_size", "user_data has more than 512 bytes")                 \
	X(PAYLOAD_NONCE_SIZE, PAYLOAD, "nonce_size", "nonce has more than 512 bytes")                             \
	X(PAYLOAD_MISSING, PAYLOAD, "payload_missing", "a required key of the payload is missing")                \
	X(PAYLOAD_TRAILING, PAYLOAD, "payload_trailing", "something stands behind the payload's map")             \
	/* Certificates: RFC 5280 section 4, in the narrower form that the hypervisor's have. */                  \
	X(CHAIN_ANCHOR, CHAIN, "chain_anchor", "the first certificate of the bundle is not the trust anchor")     \
	X(CHAIN_SYNTAX, CHAIN, "chain_syntax", "a certificate is not exactly one in DER")                         \
	X(CHAIN_VERSION, CHAIN, "chain_version", "a certificate is not of version 3")                             \
	X(CHAIN_SERIAL, CHAIN, "chain_serial", "a serial number is not positive or too long")                     \
	X(CHAIN_ALGORITHM, CHAIN, "chain_algorithm", "a certificate is not signed by ECDSA with SHA-384")         \
	X(CHAIN_KEY, CHAIN, "chain_key", "a key is not a point of P-384, by name and uncompressed")               \
	X(CHAIN_ISSUER, CHAIN, "chain_issuer", "a certificate's issuer is not the certificate in front of it")    \
	X(CHAIN_SIGNATURE, CHAIN, "chain_signature", "a certificate's signature is wrong")                        \
	X(CHAIN_VALIDITY, CHAIN, "chain_validity", "a certificate's validity is not written as RFC 5280 says")    \
	X(CHAIN_EARLY, CHAIN, "chain_early", "a certificate was not valid yet when the document was signed")      \
	X(CHAIN_EXPIRED, CHAIN, "chain_expired", "a certificate had expired when the document was signed")        \
	X(CHAIN_EXTENSION, CHAIN, "chain_extension",                                                              \
	  "a certificate has an extension twice, a critical one that is not known, or an extended key usage")     \
	X(CHAIN_CONSTRAINTS, CHAIN, "chain_constraints",                                                          \
	  "basic constraints are missing, not critical, or not those of its place in the chain")                  \
	X(CHAIN_PATHLEN, CHAIN, "chain_pathlen", "a path length is missing or too small for the chain")           \
	X(CHAIN_USAGE, CHAIN, "chain_usage", "a key usage is missing or not that of its place in the chain")      \
	X(CHAIN_NAME, CHAIN, "chain_name", "the leaf's common name is not that of module_id")                     \
	/* Sig_structure: RFC 9052 section 4.4. */                                                                \
	X(SIGNATURE_RANGE, SIGNATURE, "signature_range", "r or s is zero or not below the order of the curve")    \
	X(SIGNATURE_WRONG, SIGNATURE, "signature", "the signature is not that of the leaf over this payload")     \
	X(TIME_UNBOUNDED, TIME, "unbounded", "the verifier asks neither for an age nor for a nonce of 16 bytes")  \
	X(TIME_FUTURE, TIME, "future", "the signed time is too far ahead of the clock")                           \
	X(TIME_STALE, TIME, "stale", "the signed time is too long ago")                                           \
	X(DEBUG_MODE, DEBUG, "debug", "PCR0, PCR1 or PCR2 is zero: the enclave runs in debug mode")               \
	X(POLICY_EMPTY, POLICY, "policy_empty", "no measurements are allowed")                                    \
	X(POLICY_UNPINNED, POLICY, "policy_unpinned", "too many allowed measurements, or one without PCR0")       \
	X(POLICY_MISMATCH, POLICY, "policy", "the measurements are not allowed")                                  \
	X(POLICY_INSTANCE, POLICY, "pcr_instance", "PCR4 is not the measurement of the instance in module_id")    \
	X(BINDING_NONCE, BINDING, "nonce", "the nonce is not the one that was asked for")                         \
	X(BINDING_USER_DATA, BINDING, "user_data", "user_data is not what was asked for")                         \
	X(BINDING_PUBLIC_KEY, BINDING, "public_key", "public_key is not the one that was asked for")

enum attest_code {
#define ATTEST_CODE_ENUM(e, stage, name, text) ATTEST_##e,
	ATTEST_CODES(ATTEST_CODE_ENUM)
#undef ATTEST_CODE_ENUM
		ATTEST_CODE_COUNT
};

#endif
