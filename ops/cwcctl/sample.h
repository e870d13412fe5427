/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values for the elements that only the worker sets, for looking at a letter without a worker:
 * harmless, valid, and never sent.
 */
#ifndef OPS_CWCCTL_SAMPLE_H
#define OPS_CWCCTL_SAMPLE_H

#include "cwc/cwc.h"

/* The sample value of an element that the worker sets; NULL for others and for MemberOffice. */
const char *sample_value(enum cwc_field f);
/* Sets those that are absent. */
void sample_fill(struct cwc_letter *l);

#endif
