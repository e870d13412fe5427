/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/out.h"
#include "worker/base/clock.h"

#define SECOND_US INT64_C(1000000)
#define BAR_US    100000
#define BAR       30

void progress_start(const struct ctl *c, struct progress *ret_p)
{
	int64_t now = clock_boot_us();
	*ret_p = (struct progress){ .quiet = ctl_has(c, OPT_QUIET),
				    .terminal = isatty(STDERR_FILENO) == 1,
				    .started_us = now,
				    .shown_us = now };
}

int64_t progress_us(const struct progress *p)
{
	return clock_boot_us() - p->started_us;
}

double progress_seconds(const struct progress *p)
{
	return (double)(progress_us(p) + 1) / (double)SECOND_US;
}

void progress_clear(const struct progress *p)
{
	if (p->terminal && !p->quiet)
		fputs("\r\x1b[K", stderr);
}

static void show_bar(uint64_t seen, uint64_t total)
{
	uint64_t full = seen < total ? seen * BAR / total : BAR;
	fputc('[', stderr);
	for (uint64_t i = 0; i < BAR; i++)
		fputc(i < full ? '#' : ' ', stderr);
	fputs("] ", stderr);
}

void progress_show(struct progress *p, uint64_t seen, uint64_t total, uint64_t n, const char *done)
{
	int64_t now = clock_boot_us();
	double rate = (double)seen / progress_seconds(p);
	if (p->quiet || now - p->started_us < SECOND_US || now - p->shown_us < (p->terminal ? BAR_US : SECOND_US))
		return;
	p->shown_us = now;
	fputs(p->terminal ? "\r" : "cwcctl: ", stderr);
	if (p->terminal && total > 0)
		show_bar(seen, total);
	fprintf(stderr, "%" PRIu64, seen);
	if (total > 0)
		fprintf(stderr, " of %" PRIu64, total > seen ? total : seen);
	fprintf(stderr, ", %" PRIu64 " %s, %.0f/s", n, done, rate);
	if (total > seen && rate > 0) {
		char left[OUT_AGE_SIZE];
		out_age((int64_t)((double)(total - seen) / rate * (double)SECOND_US), left);
		fprintf(stderr, ", %s left", left);
	}
	fputs(p->terminal ? "\x1b[K" : "\n", stderr);
	fflush(stderr);
}
