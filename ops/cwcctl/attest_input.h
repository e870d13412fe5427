/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attest commands read: documents of the hypervisor, manifests, enclave images.
 */
#ifndef OPS_CWCCTL_ATTEST_INPUT_H
#define OPS_CWCCTL_ATTEST_INPUT_H

#include "attest/eif.h"
#include "ops/cwcctl/ctl.h"
#include "ops/cwcctl/manifest.h"

/* A document has 16384 characters in base64; the rest is for the ends of lines. */
#define ATTEST_INPUT_MAX 20481

/* All return 0, or the exit status after a report: CTL_CONFIG for a file that cannot be read and for a bad manifest, so
 * that CTL_NO is always an answer about what was read. FILE is "-" for standard input where that is said. */

/* Appends a document (FILE or "-") as CBOR to `out`, which holds ATTEST_INPUT_MAX: what has only characters of base64
 * and white space is decoded first. Nothing else is asked here; what is too large is cut off far behind the ceiling of
 * documents, and what is not base64 after all stays as it is, so that the verifier says what is wrong. */
int attest_read_document(const char *file, struct buf *out);
/* A manifest, or "-". */
int attest_read_manifest(const char *file, struct manifest *ret_m);
/* The measurements that --manifest or --pcr allows; none without either. Not both: CTL_USAGE. */
int attest_read_allowed(const struct ctl *c, struct manifest *ret_m);
/* An enclave image. */
int attest_read_image(const char *file, struct eif_measurement *ret_m);
/* The measurements of an image as those of a release; PCR8 is among them, and zero when it is not signed. */
void attest_image_release(const struct eif_measurement *image, struct attest_measurement *ret_m);

enum attest_kind { ATTEST_IS_DOCUMENT, ATTEST_IS_MANIFEST, ATTEST_IS_IMAGE };

/* What stands on one side of a comparison. */
struct attest_side {
	enum attest_kind kind;
	const char *file;
	struct buf bytes;           /* of the document; attest_side_clear() */
	struct attest_document doc; /* views into `bytes`; unproved */
	struct eif_measurement image;
	struct manifest sets; /* the measurements of each: one, but of a manifest all its releases */
};
/* Tells by its first bytes what a file is: an image begins with ".eif", a manifest with # or "release". */
int attest_read_side(const char *file, struct attest_side *ret_side);
void attest_side_clear(struct attest_side *side);

/* Appends a file, or "-", up to what `b` can hold: who must know of more gives it one byte of room beyond the ceiling.
 */
int attest_read_file(const char *file, struct buf *b);

/* For messages: "-" is standard input. */
const char *attest_file_name(const char *file);

#endif
