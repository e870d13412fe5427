/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maintenance windows: times of the week, in Washington, at which a chamber's services may be away.
 * Letters wait through them; no attempt is used.
 *
 * Text form: windows separated by commas, each `DAY HH:MM-HH:MM` with DAY one of daily sun mon tue
 * wed thu fri sat, the end after the start and at most 24:00; or `none`. The House announces
 * "daily 00:00-06:00", the Senate "sun 00:00-06:00, wed 05:00-07:00" (US Eastern time).
 *
 * Local time decides, across changes of daylight saving time: an hour that a night skips is
 * skipped, one that it repeats is in the window twice.
 */
#ifndef CWC_WINDOWS_H
#define CWC_WINDOWS_H

#include "cwc/cwc.h"

#define CWC_WINDOWS_MAX 8

struct cwc_windows {
	struct {
		uint8_t days;              /* bit 0 is Sunday */
		uint16_t from_min, to_min; /* minutes since local midnight; the end is outside */
	} at[CWC_WINDOWS_MAX];
	size_t n;
};

/* ERR_SYNTAX, ERR_LIMIT (more than CWC_WINDOWS_MAX). */
ERR_MUST_CHECK enum err cwc_windows_parse(struct span text, struct cwc_windows *ret_w);
/* Whether it is such a text. */
bool cwc_windows_good(struct span text);
/* True inside a window; *ret_end_s is then the first second outside of all of them (at most eight
 * days ahead: windows that cover the whole week end nowhere). */
bool cwc_windows_inside(const struct cwc_windows *w, int64_t unix_s, int64_t *ret_end_s);

#endif
