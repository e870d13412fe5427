/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KMS answers to a request with a Recipient: CMS EnvelopedData (RFC 5652 section 6) in BER, to an RSA key that the
 * attestation document named.
 *
 * One KeyTransRecipientInfo (RSAES-OAEP, SHA-256 and MGF1 with SHA-256, no label), named by a key identifier of 32
 * bytes, and content in AES-256-CBC with a 16-byte IV, in either of the two shapes that KMS uses: constructed [0] of
 * octet strings, or primitive [0]. Lengths are indefinite where KMS has them so, and definite and shortest elsewhere.
 * Everything else is refused; the whole input must be consumed.
 *
 * It is not authenticated: whoever knows the RSA public key can make one. What vouches for it is the TLS connection to
 * KMS, which ends in the enclave. A wrong key must never look like a success: OAEP and the padding are checked
 * explicitly, the content key must have 32 bytes, and the caller checks the length of what comes out.
 */
#ifndef ATTEST_CMS_H
#define ATTEST_CMS_H

#include <openssl/types.h>

#include "worker/base/buf.h"

#define CMS_MAX       6144
#define CMS_PLAIN_MAX 4096

/* Appends the content (1 to CMS_PLAIN_MAX bytes) to `out` (guarded or wiped memory of the caller's). ERR_SYNTAX: not
 * the form above for a key of this size. ERR_CRYPTO: it does not open with this key; no more is said. ERR_LIMIT: `out`
 * is too small. On an error `out` is unchanged. */
ERR_MUST_CHECK enum err cms_open(struct span in, EVP_PKEY *rsa, struct buf *out);

#endif
