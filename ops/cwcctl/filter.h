/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which letters: the filters that `dead` and `unknown` share. They compose: what is selected passes
 * all that are given. --office, --outcome, --class, --sid and --http take one value or several with commas
 * between. Ages count from the end of the letter, `ended_us`; one without that time is neither older
 * nor newer than anything.
 *
 * Read once, at the start: "older than a day" is a fixed moment for the whole run.
 */
#ifndef OPS_CWCCTL_FILTER_H
#define OPS_CWCCTL_FILTER_H

#include "ops/cwcctl/session.h"

#define FILTER_OPTIONS                                                                                                 \
	(CTL_BIT(OPT_OFFICE) | CTL_BIT(OPT_CHAMBER) | CTL_BIT(OPT_OUTCOME) | CTL_BIT(OPT_CLASS) | CTL_BIT(OPT_OLDER) | \
	 CTL_BIT(OPT_NEWER) | CTL_BIT(OPT_SID) | CTL_BIT(OPT_COUNT) | CTL_BIT(OPT_IDS) | CTL_BIT(OPT_HTTP))

struct filter {
	const char *office, *outcome, *class_, *sid, *http; /* lists; NULL: any */
	char chamber;                                       /* 'H', 'S' or 0 */
	int64_t older_s, newer_s;                           /* ended before, not before; 0: any */
	uint64_t count;                                     /* at most so many */
	bool any;                                           /* filter_given() */
};

/* A filter, or --ids; --count alone is none. */
bool filter_given(const struct ctl *c);
/* 0, or the exit status after a report. */
int filter_read(const struct ctl *c, struct filter *ret_filter);
/* `flat` has outcome, class and ended_us: an entry of `dead`, or a record. */
bool filter_pass(const struct filter *f, struct span sid, struct span office, const struct resp_reply *flat);
/* Nothing but letters to the Senate can pass. */
bool filter_senate_only(const struct filter *f);

#endif
