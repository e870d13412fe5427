/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's public key infrastructure: root, regional, zonal, instance and leaf certificates with the shapes,
 * extensions and lifetimes of the hypervisor's, and documents signed by the leaf. Every detail can be made wrong, for
 * the tests of the verifier: a certificate is a row of encoded parts, and each can be replaced before it is signed.
 *
 * The root's key is fixed and public (it is in this folder), so that `attest_anchor_sim` is the same in every build;
 * all other keys are made at run time. Names of CAs end in "sim.nitro-enclaves" instead of "aws.nitro-enclaves".
 *
 *	struct pki_chain *c = pki_chain_new(&(struct pki_options){ .issued_s = now });
 *	pki_set(&c->cert[PKI_LEAF].part[PKI_SERIAL], span_lit("\x02\x01\xff"));
 *	pki_chain_sign(c, PKI_LEAF);
 *
 * Linked into the development build and into tests only. Failures of OpenSSL abort.
 */
#ifndef TESTS_SIM_PKI_SIM_H
#define TESTS_SIM_PKI_SIM_H

#include <openssl/evp.h>

#include "attest/verify.h"

extern const struct attest_anchor attest_anchor_sim;

/* The certificates, in the order of a document: cabundle, then certificate. */
enum { PKI_ROOT, PKI_REGIONAL, PKI_ZONAL, PKI_INSTANCE, PKI_LEAF, PKI_CERTIFICATES };

/* Lifetimes in seconds. */
#define PKI_LEAF_LIFE  10800 /* from the issue, which is PKI_LEAF_EARLY after notBefore */
#define PKI_LEAF_EARLY 3
#define PKI_LEAF_RENEW 900 /* a new one is issued when the old one has no more than this */

/* --- DER ------------------------------------------------------------------------------------- */

/* Appends one item. */
void der_add(struct buf *b, uint8_t tag, struct span content);
/* Makes what is in `b` the content of one item. */
void der_wrap(struct buf *b, uint8_t tag);
/* UTCTime, from 2050 on GeneralizedTime (RFC 5280 section 4.1.2.5). */
void der_add_time(struct buf *b, int64_t unix_s);

/* --- certificates ---------------------------------------------------------------------------- */

/* The parts of a certificate, each an encoded item (RFC 5280 section 4.1); an empty one is left out. */
enum pki_part {
	PKI_VERSION, /* [0] { 2 } */
	PKI_SERIAL,
	PKI_INNER, /* the algorithm, inside of what is signed */
	PKI_ISSUER,
	PKI_VALIDITY,
	PKI_SUBJECT,
	PKI_KEY,        /* SubjectPublicKeyInfo */
	PKI_EXTENSIONS, /* [3] { ... }; made of `extension` unless it is set */
	PKI_TBS_END,    /* behind the extensions, inside of what is signed */
	PKI_OUTER,      /* the algorithm, beside the signature */
	PKI_END,        /* behind the signature, inside of the certificate */
	PKI_BEHIND,     /* behind the certificate */
	PKI_PARTS
};

enum pki_kind { PKI_CONSTRAINTS, PKI_USAGE, PKI_SUBJECT_ID, PKI_AUTHORITY_ID, PKI_CRL, PKI_OTHER };

#define PKI_EXTENSIONS_MAX 8

struct pki_extension {
	enum pki_kind kind;
	struct buf der; /* Extension; empty: left out */
};

struct pki_certificate {
	struct buf part[PKI_PARTS];
	struct pki_extension extension[PKI_EXTENSIONS_MAX];
	size_t n_extensions;
	EVP_PKEY *key;      /* the subject's; owned */
	EVP_PKEY *signer;   /* borrowed; NULL: the key of the certificate in front, its own for the root */
	const char *digest; /* of the signature; NULL: the algorithm has its own */
	bool issuer_set;    /* PKI_ISSUER stays as it is; else it is the subject of the certificate in front */
	struct buf der;     /* the certificate */
};

struct pki_chain {
	struct pki_certificate cert[PKI_CERTIFICATES];
	char module_id[ATTEST_MODULE_SIZE + 1], region[33];
	int64_t issued_s;  /* the leaf */
	int64_t renewed_s; /* the others */
};

struct pki_options {
	const char *module_id; /* NULL: PKI_MODULE_ID */
	const char *region;    /* NULL: us-east-1 */
	int64_t issued_s;      /* of the leaf; the others are some hours and days older */
};

#define PKI_MODULE_ID "i-05c0ffee5eed0a11e-enc019a5eed00c0ffee"

/* All certificates, signed; the root is the anchor. */
struct pki_chain *pki_chain_new(const struct pki_options *o);
void pki_chain_free(struct pki_chain *c);
/* Encodes and signs the certificates from `first` to the leaf again. */
void pki_chain_sign(struct pki_chain *c, size_t first);
/* A new leaf, with a new key. */
void pki_chain_renew(struct pki_chain *c, int64_t issued_s);

/* P-384. The caller frees. */
EVP_PKEY *pki_key_new(void);
/* The root's own. The caller frees. */
EVP_PKEY *pki_root_key(void);
/* Gives a certificate another key, which it owns then, and the SubjectPublicKeyInfo of it. */
void pki_set_key(struct pki_certificate *c, EVP_PKEY *key);

/* Replaces what a buf has. */
void pki_set(struct buf *part, struct span bytes);
void pki_set_validity(struct pki_certificate *c, int64_t from_s, int64_t until_s);
/* Extension { oid, critical, value }, where oid is the encoded content of the identifier. */
void pki_encode_extension(struct buf *out, struct span oid, bool critical, struct span value);
/* The extension of a kind; aborts when the certificate has none. */
struct buf *pki_extension(struct pki_certificate *c, enum pki_kind kind);
/* Gives the extension of a kind another value, or adds it. */
void pki_set_extension(struct pki_certificate *c, enum pki_kind kind, bool critical, struct span value);
void pki_add_extension(struct pki_certificate *c, struct span oid, bool critical, struct span value);
/* Name { CN=cn }, with nothing else. */
void pki_set_name(struct buf *part, const char *cn);

/* --- documents ------------------------------------------------------------------------------- */

/* What a payload says, in the hypervisor's order. */
struct pki_payload {
	const char *module_id;
	uint64_t timestamp_ms;
	uint32_t pcrs; /* bit i: PCR i is in it */
	const uint8_t (*pcr)[ATTEST_PCR_SIZE];
	struct span cabundle[ATTEST_CABUNDLE_MAX + 2];
	size_t n_cabundle;
	struct span certificate;
	struct attest_field public_key, user_data, nonce;
	bool definite; /* the map as until 2025 (a9), else bf ... ff */
};

/* The certificates of a chain into a payload. Views: they live as long as the chain is not signed again. */
void pki_payload_chain(struct pki_payload *p, const struct pki_chain *c);
void pki_encode_payload(const struct pki_payload *p, struct buf *out);

#define PKI_SIGNATURE_SIZE 96

/* r | s over any bytes. */
void pki_signature(EVP_PKEY *key, struct span bytes, uint8_t ret_signature[PKI_SIGNATURE_SIZE]);
/* Sig_structure (RFC 9052 section 4.4) of a payload. */
void pki_signed_bytes(struct span payload, struct buf *out);
/* The COSE_Sign1 with a given signature, and with the right one. */
void pki_encode_document(struct span payload, struct span signature, struct buf *out);
void pki_sign_document(EVP_PKEY *key, struct span payload, struct buf *out);

#endif
