/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attest commands say, as JSON and for people.
 */
#ifndef OPS_CWCCTL_ATTEST_REPORT_H
#define OPS_CWCCTL_ATTEST_REPORT_H

#include "attest/verify.h"
#include "ops/cwcctl/out.h"

/* How a document was verified, beside the verifier's own report. */
struct attest_asked {
	const char *file;
	const struct attest_policy *policy;
};

/* Prints the result of a verification: with --json one document, else the stages and, of a document that is verified,
 * what it says. Nothing of a refused one is printed. */
void attest_report_print(const struct ctl *c, const struct attest_asked *a, const struct attest_report *r,
			 const struct attest_document *d);

/* module_id, instance, time, pcrs, nonce, user_data, public_key. Byte strings are hex, null when absent. */
void attest_report_document(json_t *o, const struct attest_document *d);
/* The same for people, one a line. */
void attest_report_lines(const json_t *o);

/* { "0": hex, ... } of a set of measurements. */
json_t *attest_report_pcrs(const struct attest_measurement *m);
/* What a PCR measures. Never NULL. */
const char *attest_report_meaning(unsigned pcr);
/* Whether a PCR is worth a line: PCR0 to PCR4 and PCR8 mean something when they are zero, too. */
bool attest_report_matters(unsigned pcr, const char *hex);

/* An array with an object for each certificate: place, subject, issuer, serial, from, until, sha256. */
json_t *attest_report_certificates(const struct attest_document *d);

#endif
