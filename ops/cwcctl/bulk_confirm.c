/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before many letters are acted on: how many are they, and is it meant? The count is by the same walk as the act, and
 * the act goes no further than the count went: what dies in between is not met.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/bulk_say.h"

#define ANSWER_SIZE 16

/* False after a report, or an interrupt. */
static bool count(struct bulk *b)
{
	enum walk_result r;
	progress_start(b->c, &b->progress);
	while ((r = walk_next(&b->walk)) == WALK_MORE) {
		for (size_t i = 0; i < b->walk.n; i++)
			b->matched += b->walk.item[i].fate == WALK_HERE;
		progress_show(&b->progress, b->walk.seen, b->walk.total, b->matched, "counted");
	}
	progress_clear(&b->progress);
	return r == WALK_END && !b->c->session->interrupted;
}

/* A line from the terminal; anything but yes is no. */
static bool says_yes(const struct bulk *b)
{
	char answer[ANSWER_SIZE] = "";
	fprintf(stderr, "%" PRIu64 " letter%s %s. Go on? [y/N] ", b->matched, b->matched == 1 ? "" : "s",
		b->act->would);
	fflush(stderr);
	ssize_t n = session_input(b->c, STDIN_FILENO) ? read(STDIN_FILENO, answer, sizeof(answer) - 1) : 0;
	answer[n > 0 ? (size_t)n : 0] = '\0';
	answer[strcspn(answer, "\r\n")] = '\0';
	return strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0;
}

static int check_options(const struct bulk *b)
{
	bool checked = ctl_has(b->c, OPT_COUNT_CHECK);
	if (!checked && isatty(STDIN_FILENO) != 1)
		return ctl_fail(CTL_USAGE, "standard input is no terminal where you could be asked: give --yes or "
					   "--count-check N; --dry-run shows what would be done");
	if (b->walk.from == WALK_FILE && !b->walk.lines.regular)
		return ctl_fail(CTL_USAGE, "%s can be read only once, so that nothing can be counted first: give --yes",
				b->walk.lines.name);
	return 0;
}

int bulk_confirm(struct bulk *b)
{
	struct ctl *c = b->c;
	uint64_t wanted;
	int code = args_count(c, OPT_COUNT_CHECK, 0, &wanted);
	bool checked = ctl_has(c, OPT_COUNT_CHECK);
	if (code != 0 || b->dry_run || b->walk.from == WALK_ARGS || (ctl_has(c, OPT_YES) && !checked))
		return code;
	code = check_options(b);
	if (code != 0)
		return code;
	if (!count(b))
		return c->session->interrupted ? ctl_fail(CTL_NO, "stopped before anything was done")
					       : c->session->code;
	if (checked && b->matched != wanted)
		return ctl_fail(CTL_NO, "%" PRIu64 " match, not %" PRIu64 ": nothing was done", b->matched, wanted);
	if (!checked && b->matched > 0 && !says_yes(b))
		return ctl_fail(CTL_NO, "nothing was done");
	walk_rewind(&b->walk);
	return 0;
}
