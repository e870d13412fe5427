/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sealed bundle: the key ring of a release, as it lies on disks outside of the enclave. FORMATS.md is the
 * specification. Pure.
 *
 *	bundle = [ "cwc-bundle-v1", header: bstr .cbor, nonce: bstr .size 24, sealed: bstr, maker: bstr ]
 *	header = { v, queue, kms_key, version, wrapped, environment }
 *	sealed = XChaCha20-Poly1305 by the data key, additional data "cwc-bundle-v1" | header
 *	plaintext = { "keys": keyring_write(), ? "signers": grant.h }
 *
 * Two things keep it honest. The data key is wrapped by a KMS key that unwraps for measured code only, with a context
 * that names queue, environment and version (bundle_context()). And `maker` is the attestation document of the enclave
 * that made it, with BUNDLE_HASH over the rest as user_data: it must verify, and its PCR0 to PCR2 must be ours. So even
 * who may use the KMS key in other ways cannot make up a ring.
 *
 * A version is a number that grows; an older bundle is a genuine one nevertheless. Not to go back is the reader's
 * business.
 */
#ifndef ATTEST_BUNDLE_H
#define ATTEST_BUNDLE_H

#include "attest/keyring.h"
#include "attest/kms.h"
#include "attest/verify.h"

#define BUNDLE_MAX         65536
#define BUNDLE_PLAIN_MAX   (KEYRING_WRITTEN_MAX + 8192)
#define BUNDLE_HASH_SIZE   32
#define BUNDLE_VERSION_MAX UINT32_MAX

/* Views into the bytes that were parsed. */
struct bundle {
	struct span environment, queue, kms_key, wrapped;
	uint64_t version; /* 1 to BUNDLE_VERSION_MAX */
	struct span header, nonce, sealed, maker;
	uint8_t hash[BUNDLE_HASH_SIZE]; /* SHA-256("cwc-bundle-v1" | the bundle's bytes before its maker) */
};

/* What is opened: `ring` is filled, `signers` is a view into the buffer of the plaintext. */
struct bundle_content {
	struct keyring *ring; /* an empty one of the caller's */
	struct span signers;  /* a grant, or empty */
};

/* Form only. ERR_SYNTAX, ERR_LIMIT. */
ERR_MUST_CHECK enum err bundle_parse(struct span in, struct bundle *ret_b);
/* The encryption context of its data key, for struct kms_request: at most 4 pairs, of environment, queue and version
 * (wrapped is not there yet when a data key is asked for). Values that are not static stand in `room`. 0: one of them
 * cannot be in a bundle. */
#define BUNDLE_CONTEXT_ROOM 128
size_t bundle_context(const struct bundle *b, struct kms_pair ret_pair[KMS_CONTEXT_MAX],
		      char room[BUNDLE_CONTEXT_ROOM]);
/* ATTEST_OK when `maker` verifies up to `anchor`, is not of a debug enclave, has the bundle's hash as user_data, and
 * PCR0 to PCR2 are `own`. No age: a bundle lives as long as its release. The signed time must not be ahead of now. */
enum attest_code bundle_check_maker(const struct bundle *b, const struct attest_anchor *anchor,
				    const uint8_t own[3][ATTEST_PCR_SIZE], int64_t now_ms);
/* Opens into `plain` (guarded, of at least BUNDLE_PLAIN_MAX; the caller wipes it). ERR_CRYPTO: it does not open;
 * ERR_SYNTAX, ERR_LIMIT, ERR_RANGE, ERR_EXISTS: what was in it. On an error `plain` and the ring are empty. */
ERR_MUST_CHECK enum err bundle_open(const struct bundle *b, const uint8_t data_key[KMS_DATA_KEY], struct buf *plain,
				    struct bundle_content *ret_content);

/* Seals: b's environment, queue, kms_key, wrapped and version and the content are read; a fresh nonce is made.
 * Appends all but the maker to `out`, and gives the hash that its document must have as user_data. ERR_RANGE: what
 * bundle_parse() or bundle_open() would refuse; ERR_LIMIT. On an error nothing is appended. */
ERR_MUST_CHECK enum err bundle_seal(const struct bundle *b, const struct bundle_content *content,
				    const uint8_t data_key[KMS_DATA_KEY], struct buf *out,
				    uint8_t ret_hash[BUNDLE_HASH_SIZE]);
/* Appends the maker's document to what bundle_seal() wrote; then it is a bundle. ERR_LIMIT. */
ERR_MUST_CHECK enum err bundle_finish(struct span document, struct buf *out);

#endif
