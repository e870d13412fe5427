/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which measurements are allowed, as people keep it: a plain text file, or the value of --pcr. Pure.
 *
 *	# comment
 *	release NAME
 *	pcr0 HEX
 *	pcr1 HEX
 *
 * A release begins with its name and goes on to the next one; all of its measurements must match together. A line is
 * two words with one space between, or empty, or begins with #. NAME has 1 to 63 characters of A-Z a-z 0-9 . _ + -, HEX
 * is 96 digits in lower case. At most ATTEST_MEASUREMENTS_MAX releases.
 *
 * Strict, since a slip here lets an enclave in or keeps one out: each release has PCR0 (without it any image would do),
 * no PCR twice, and PCR0 to PCR2 are not zero (they are in debug mode, which is never allowed); no name stands there
 * twice, and no release has the measurements of another one or a part of them, which would make the stricter of the two
 * void. Zero for another PCR means what it says: not signed (PCR8), no role (PCR3).
 */
#ifndef OPS_CWCCTL_MANIFEST_H
#define OPS_CWCCTL_MANIFEST_H

#include "attest/verify.h"

#define MANIFEST_MAX      65536 /* bytes of the file */
#define MANIFEST_NAME_MAX 63

struct manifest {
	struct attest_measurement release[ATTEST_MEASUREMENTS_MAX];
	size_t n;
};

/* ERR_SYNTAX with the number of the line and the rule; the line is 0 when it is the file's as a whole. */
ERR_MUST_CHECK enum err manifest_parse(struct span text, struct manifest *ret_m, unsigned *ret_line,
				       const char **ret_rule);
/* "0=HEX,1=HEX": one release without a name, by the same rules. */
ERR_MUST_CHECK enum err manifest_list(struct span list, struct attest_measurement *ret_m, const char **ret_rule);
/* Whether it may be the name of a release. */
bool manifest_name_valid(struct span name);
/* Appends the lines of a release. */
void manifest_write(const struct attest_measurement *m, struct buf *out);

#endif
