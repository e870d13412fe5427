/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/bulk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/bulk_say.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"

#define TRIES_MAX   6
#define PATIENCE_MS 30000
#define BUSY_MS     300
#define BURSTS_US   250000 /* with --rate: acts of this long go together */

/* --- one answer ------------------------------------------------------------------------------- */

static void copy(char *out, size_t size, struct span s)
{
	snprintf(out, size, "%.*s", (int)(s.n < size ? s.n : size - 1), s.n > 0 ? (const char *)s.p : "");
}

static void on_answer(void *arg, enum err e, const struct resp_reply *r)
{
	struct bulk_answer *a = arg;
	a->waits = false;
	a->e = e;
	if (e == ERR_OK) {
		copy(a->word, sizeof(a->word), resp_text(resp_at(r, 0)));
		copy(a->state, sizeof(a->state), resp_text(resp_at(r, 1)));
	} else if (r != NULL) {
		copy(a->error, sizeof(a->error), r->text);
	}
}

/* The entry's id, or the revision: which death, or which doubt, it was. */
static void send_one(struct bulk *b, const struct walk_item *item, struct bulk_answer *a)
{
	const struct bulk_act *act = b->act;
	const struct span argv[] = {
		span_str(act->verb),
		span_str(b->who),
		span_str(item->sid),
		span_str(item->office),
		span_str(act->how != NULL ? act->how : item->id),
		reply_field(item->record, "rev"),
	};
	a->waits = true;
	queue_script(b->c->session->queue, "admin", argv, act->how != NULL ? 6 : 5, on_answer, a);
}

static bool again(const struct bulk_answer *a)
{
	return a->e == ERR_QUEUE_LOST || a->e == ERR_QUEUE_BUSY;
}

/* Runs until all of items[from..to-1] are answered; an interrupt waits for them too. */
static void send_and_wait(struct bulk *b, size_t from, size_t to, bool repeat)
{
	size_t waiting = 0;
	for (size_t i = from; i < to; i++) {
		if (b->walk.item[i].fate != WALK_HERE || (repeat && !again(&b->answer[i])))
			continue;
		send_one(b, &b->walk.item[i], &b->answer[i]);
		waiting++;
	}
	while (waiting > 0) {
		uv_run(&b->c->session->loop, UV_RUN_ONCE);
		waiting = 0;
		for (size_t i = from; i < to; i++)
			waiting += b->answer[i].waits;
	}
}

/* What a lost connection or a busy server left open is asked again: whoever is not dead any more says so. */
static void act_on(struct bulk *b, size_t from, size_t to)
{
	struct session *s = b->c->session;
	send_and_wait(b, from, to, false);
	for (int tries = 1; tries < TRIES_MAX && !s->interrupted; tries++) {
		bool lost = false, any = false;
		for (size_t i = from; i < to; i++) {
			any = any || again(&b->answer[i]);
			lost = lost || b->answer[i].e == ERR_QUEUE_LOST;
			b->repeated += again(&b->answer[i]);
		}
		if (!any)
			return;
		if (lost && !session_up_again(b->c, PATIENCE_MS))
			return;
		if (!lost)
			session_sleep(b->c, BUSY_MS);
		send_and_wait(b, from, to, true);
	}
}

/* --- counting --------------------------------------------------------------------------------- */

/* What one answer means, and the words for it. */
static const char *count_one(struct bulk *b, const struct walk_item *item, const struct bulk_answer *a)
{
	bool dead = b->act->place == WALK_DEAD;
	const char *gone = dead ? "not dead" : "not unknown";
	if (item->fate == WALK_NONE || (item->fate == WALK_HERE && a->e == ERR_OK && strcmp(a->word, "NONE") == 0)) {
		b->none++;
		return "no such job";
	}
	if (item->fate == WALK_ELSEWHERE || (a->e == ERR_OK && strcmp(a->word, "STATE") == 0)) {
		b->gone++;
		return gone;
	}
	if (b->dry_run) {
		b->done++;
		return "would be done";
	}
	if (a->e == ERR_OK && strcmp(a->word, "OK") == 0) {
		b->done++;
		return "done";
	}
	b->failed++;
	b->fatal = b->fatal || a->e == ERR_QUEUE_LOST || a->e == ERR_QUEUE_BUSY || a->e == ERR_QUEUE_FULL ||
		   a->e == ERR_QUEUE_DENIED;
	return "failed";
}

static void count_part(struct bulk *b, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct walk_item *item = &b->walk.item[i];
		uint64_t failed = b->failed, done = b->done;
		const char *text = count_one(b, item, &b->answer[i]);
		if (b->failed > failed)
			bulk_say_failed(b, item, &b->answer[i]);
		bulk_say_one(b, item, &b->answer[i], text, b->done > done);
		b->handled++;
		if (item->id[0] != '\0' && b->failed == 0) /* one that failed must be met again */
			memcpy(b->last, item->id, sizeof(b->last));
	}
	b->mute = !out_good();
}

/* --- pace ------------------------------------------------------------------------------------- */

static size_t burst(const struct bulk *b)
{
	int64_t n = b->period_us > 0 ? BURSTS_US / b->period_us : WALK_PAGE;
	return n < 1 ? 1 : n > WALK_PAGE ? WALK_PAGE : (size_t)n;
}

/* The next act is due when all before it have had their time. */
static void keep_pace(struct bulk *b)
{
	if (b->period_us == 0 || b->dry_run)
		return;
	int64_t due_us = b->progress.started_us + (int64_t)b->handled * b->period_us;
	int64_t wait_us = due_us - clock_boot_us();
	while (wait_us > 0 && !b->c->session->interrupted) {
		progress_show(&b->progress, b->walk.seen, b->walk.total, b->done, b->act->done);
		session_sleep(b->c, (uint64_t)(wait_us < 500000 ? wait_us / 1000 + 1 : 500));
		wait_us = due_us - clock_boot_us();
	}
}

/* One page: in bursts, when there is a rate. False when a part of it is left. */
static bool act_page(struct bulk *b)
{
	size_t size = burst(b);
	size_t from = 0;
	for (; from < b->walk.n && !b->fatal && !b->mute; from += size) {
		size_t to = from + size < b->walk.n ? from + size : b->walk.n;
		if (b->c->session->interrupted)
			break;
		memset(b->answer + from, 0, (to - from) * sizeof(b->answer[0]));
		if (!b->dry_run)
			act_on(b, from, to);
		count_part(b, from, to);
		keep_pace(b);
	}
	if (from >= b->walk.n)
		return true;
	b->walk.left += b->walk.n - from;
	return false;
}

/* --- the note --------------------------------------------------------------------------------- */

/* Into `audit`, behind the acts themselves: which letters were meant and what came of it. Also after an interrupt; that
 * it cannot be said changes nothing. */
static void note(struct bulk *b)
{
	struct bulk_answer a = { .waits = true };
	struct buf counts, selection;
	if (b->dry_run || b->done + b->failed == 0 || b->fatal || b->walk.from == WALK_ARGS)
		return;
	buf_init(&counts, 256);
	buf_init(&selection, 4096);
	buf_add_uint(&counts, b->done);
	buf_add_str(&counts, " done, ");
	buf_add_uint(&counts, b->gone + b->none);
	buf_add_str(&counts, " passed over, ");
	buf_add_uint(&counts, b->failed);
	buf_add_str(&counts, b->stopped ? " failed, stopped" : " failed");
	bulk_selection(b, &selection);
	struct span text = span_of(selection.p, selection.n > 400 ? 400 : selection.n);
	const struct span argv[] = { span_lit("note"), span_str(b->who), span_str(b->c->command->name),
				     span_buf(&counts), text };
	queue_script(b->c->session->queue, "admin", argv, sizeof(argv) / sizeof(argv[0]), on_answer, &a);
	while (a.waits)
		uv_run(&b->c->session->loop, UV_RUN_ONCE);
	buf_clear(&counts);
	buf_clear(&selection);
}

/* --- the run ---------------------------------------------------------------------------------- */

static int check(struct bulk *b)
{
	struct ctl *c = b->c;
	bool all = ctl_has(c, OPT_ALL), named = c->n_args >= 2;
	if (ctl_has(c, OPT_RATE) && units_rate(c->opt[OPT_RATE], &b->period_us) != ERR_OK)
		return ctl_fail(CTL_USAGE,
				"--rate must be a number from 1 to 1000000 and /s, /min or /h, such as 50/s");
	if (named && all)
		return ctl_fail(CTL_USAGE, "either SID OFFICE... or --all");
	if (!named && !all && !b->dry_run && !filter_given(c))
		return ctl_fail(CTL_USAGE,
				"SID OFFICE..., a filter, --ids or --all is needed; --dry-run shows what would "
				"be done");
	int code = named ? args_sid(c->arg[0]) : 0;
	for (size_t i = 1; code == 0 && named && i < c->n_args; i++)
		code = args_office(c->arg[i]);
	return code;
}

/* Named ones must all have been there; of selected ones others may have done the rest. */
static int result(const struct bulk *b, int code)
{
	if (code != 0)
		return code;
	if (b->fatal)
		return CTL_UNAVAILABLE;
	if (b->stopped || b->failed > 0 || b->walk.bad_lines > 0)
		return CTL_NO;
	if (b->walk.from == WALK_PLACE)
		return CTL_OK;
	return b->none > 0 || (b->walk.from == WALK_ARGS && b->gone > 0) ? CTL_NO : CTL_OK;
}

static int run(struct bulk *b)
{
	enum walk_result r = WALK_END;
	admin_who(b->c, b->who);
	progress_start(b->c, &b->progress);
	bool last = false;
	while (!b->fatal && !b->mute && (r = walk_next(&b->walk)) == WALK_MORE) {
		last = act_page(b) && walk_is_last(&b->walk);
		progress_show(&b->progress, b->walk.seen, b->walk.total, b->done, b->act->done);
	}
	b->stopped = b->fatal || r == WALK_FAILED || ((b->c->session->interrupted || b->mute) && !last);
	if (r != WALK_FAILED)
		note(b);
	return r == WALK_FAILED ? b->c->session->code : 0;
}

int bulk_run(struct ctl *c, const struct bulk_act *act)
{
	struct bulk *b = xcalloc(1, sizeof(*b));
	b->c = c;
	b->act = act;
	b->dry_run = ctl_has(c, OPT_DRY_RUN);
	int code = check(b);
	if (code == 0)
		code = walk_open(c, act->place, false, false, &b->walk);
	if (code == 0)
		code = bulk_confirm(b);
	if (code == 0) {
		bulk_say_start(b);
		code = run(b);
		code = bulk_say_end(b, result(b, code));
	}
	walk_close(&b->walk);
	json_decref(b->rows);
	free(b);
	return code;
}
