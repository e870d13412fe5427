/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help and the manual page, both from ctl_commands[], ctl_options[] and letter_members[].
 */
#ifndef OPS_CWCCTL_HELP_H
#define OPS_CWCCTL_HELP_H

#include "ops/cwcctl/ctl.h"

struct help_code {
	int code;
	const char *text;
};
extern const struct help_code help_codes[];
extern const size_t help_n_codes;

/* The page cwcctl(1) as roff on standard output. */
void help_man(void);

#endif
