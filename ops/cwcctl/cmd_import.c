/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `dead import` and `unknown import`: an export, back into a queue that has forgotten it. One call of IMPORT for each
 * letter: atomic, in `audit`, and nothing when the queue knows the letter, so that the same file may be given again
 * after an interrupt, or after a connection that was lost. Lines of a batch are pipelined.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/import.h"
#include "ops/cwcctl/lines.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/progress.h"

#define BATCH       16 /* of up to 128 KiB each, in a write buffer of some megabytes */
#define TRIES_MAX   6
#define PATIENCE_MS 30000
#define BAD_MAX     20
#define BUSY_MS     300

struct answer {
	bool waits;
	enum err e;
	char word[16], state[16];
};

struct import {
	struct ctl *c;
	const char *state;
	bool dry_run, over;
	char who[ADMIN_WHO_SIZE];
	struct lines lines;
	struct import_line line[BATCH];
	struct answer answer[BATCH];
	size_t n;
	struct progress progress;
	uint64_t good, done, known, failed, bad, without;
	int code; /* of a failure that ends it */
};

/* --- reading ---------------------------------------------------------------------------------- */

static void on_idle(void *arg)
{
	struct import *x = arg;
	x->lines.stop = !session_input(x->c, x->lines.fd);
}

static void bad_line(struct import *x, const char *rule)
{
	if (++x->bad > BAD_MAX)
		return;
	progress_clear(&x->progress);
	ctl_complain("%s:%u: %s", x->lines.name, x->lines.number, rule);
	if (x->bad == BAD_MAX)
		ctl_complain("further bad lines are only counted");
}

/* The next good lines; false after a report, or at an interrupt. */
static bool read_batch(struct import *x)
{
	struct span line;
	for (x->n = 0; x->n < BATCH && !x->over && !x->c->session->interrupted;) {
		enum lines_result r = lines_next(&x->lines, &line);
		if (r == LINES_FAILED) {
			x->code = ctl_fail(CTL_NO, "%s: %s", x->lines.name, strerror(errno));
			return false;
		}
		x->over = r == LINES_END;
		if (x->over)
			continue;
		struct import_line *l = &x->line[x->n];
		const char *rule = r == LINES_LINE ? import_parse(line, x->state, l) : "longer than a line may be";
		if (rule == NULL) {
			x->n++;
			x->without += l->job.n == 0;
			continue;
		}
		if (r == LINES_LINE)
			import_clear(l);
		bad_line(x, rule);
	}
	x->good += x->n;
	return !x->c->session->interrupted;
}

static void clear_batch(struct import *x)
{
	for (size_t i = 0; i < x->n; i++)
		import_clear(&x->line[i]);
	x->n = 0;
}

/* All lines once, before anything is done: one that is bad may be a part of a letter that is lost. */
static int look(struct import *x)
{
	while (!x->over && read_batch(x))
		clear_batch(x);
	clear_batch(x);
	if (x->code != 0)
		return x->code;
	if (x->c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before anything was done");
	if (x->bad > 0 && !ctl_has(x->c, OPT_KEEP_GOING))
		return ctl_fail(CTL_NO, "%" PRIu64 " bad lines: nothing was done; --keep-going passes over them",
				x->bad);
	lines_rewind(&x->lines);
	return 0;
}

static bool says_yes(const struct import *x)
{
	char text[16] = "";
	fprintf(stderr, "%" PRIu64 " letters would be imported, unless the queue knows them. Go on? [y/N] ", x->good);
	fflush(stderr);
	ssize_t n = session_input(x->c, STDIN_FILENO) ? read(STDIN_FILENO, text, sizeof(text) - 1) : 0;
	text[n > 0 ? (size_t)n : 0] = '\0';
	return text[0] == 'y' || text[0] == 'Y';
}

/* As bulk_confirm(). */
static int confirm(struct import *x)
{
	struct ctl *c = x->c;
	uint64_t wanted;
	bool checked = ctl_has(c, OPT_COUNT_CHECK);
	int code = args_count(c, OPT_COUNT_CHECK, 0, &wanted);
	if (code != 0)
		return code;
	if (!x->lines.regular && (checked || !(ctl_has(c, OPT_YES) || x->dry_run)))
		return ctl_fail(CTL_USAGE, "%s can be read only once, so that nothing can be counted first: give --yes",
				x->lines.name);
	if (!checked && !ctl_has(c, OPT_YES) && !x->dry_run && isatty(STDIN_FILENO) != 1)
		return ctl_fail(CTL_USAGE, "standard input is no terminal where you could be asked: give --yes or "
					   "--count-check N; --dry-run shows what would be done");
	code = x->lines.regular ? look(x) : 0;
	if (code == 0 && checked && x->good != wanted)
		code = ctl_fail(CTL_NO, "%" PRIu64 " lines, not %" PRIu64 ": nothing was done", x->good, wanted);
	if (code == 0 && !checked && !ctl_has(c, OPT_YES) && !x->dry_run && x->good > 0 && !says_yes(x))
		code = ctl_fail(CTL_NO, "nothing was done");
	x->good = x->bad = x->without = 0;
	x->over = false;
	return code;
}

/* --- acting ----------------------------------------------------------------------------------- */

static void copy(char out[16], struct span s)
{
	snprintf(out, 16, "%.*s", (int)(s.n < 16 ? s.n : 15), s.n > 0 ? (const char *)s.p : "");
}

static void on_import(void *arg, enum err e, const struct resp_reply *r)
{
	struct answer *a = arg;
	a->waits = false;
	a->e = e;
	if (e == ERR_OK) {
		copy(a->word, resp_text(resp_at(r, 0)));
		copy(a->state, resp_text(resp_at(r, 1)));
	}
}

/* With --dry-run only: the state of its record. */
static void on_look(void *arg, enum err e, const struct resp_reply *r)
{
	struct answer *a = arg;
	a->waits = false;
	a->e = e;
	if (e == ERR_OK) {
		copy(a->state, resp_text(r));
		copy(a->word, a->state[0] != '\0' ? span_lit("KNOWN") : span_lit("OK"));
	}
}

static void send_one(struct import *x, size_t i)
{
	struct import_line *l = &x->line[i];
	struct queue *q = x->c->session->queue;
	x->answer[i] = (struct answer){ .waits = true };
	l->arg[0] = span_str(x->who);
	if (!x->dry_run) {
		queue_script(q, "import", l->arg, l->n, on_import, &x->answer[i]);
		return;
	}
	char key[QUEUE_ID_MAX + 8];
	snprintf(key, sizeof(key), "job:%s:%s", l->sid, l->office);
	struct span argv[] = { span_lit("HGET"), session_key(x->c, key), span_lit("state") };
	queue_command(q, argv, sizeof(argv) / sizeof(argv[0]), on_look, &x->answer[i]);
}

static bool again(const struct answer *a)
{
	return a->e == ERR_QUEUE_LOST || a->e == ERR_QUEUE_BUSY;
}

/* Until all are answered; an interrupt waits for them, too. */
static void act_batch(struct import *x)
{
	for (int tries = 1; tries <= TRIES_MAX; tries++) {
		size_t waiting = 0;
		bool lost = false;
		for (size_t i = 0; i < x->n; i++) {
			if (tries > 1 && !again(&x->answer[i]))
				continue;
			send_one(x, i);
			waiting++;
		}
		while (waiting > 0) {
			uv_run(&x->c->session->loop, UV_RUN_ONCE);
			waiting = 0;
			for (size_t i = 0; i < x->n; i++)
				waiting += x->answer[i].waits;
		}
		size_t open = 0;
		for (size_t i = 0; i < x->n; i++) {
			open += again(&x->answer[i]);
			lost = lost || x->answer[i].e == ERR_QUEUE_LOST;
		}
		if (open == 0 || (lost && !session_up_again(x->c, PATIENCE_MS)))
			return;
		if (!lost)
			session_sleep(x->c, BUSY_MS);
	}
}

static const char *count_one(struct import *x, const struct answer *a)
{
	if (a->e == ERR_OK && strcmp(a->word, "OK") == 0) {
		x->done++;
		return x->dry_run ? "would be imported" : "imported";
	}
	if (a->e == ERR_OK && strcmp(a->word, "KNOWN") == 0) {
		x->known++;
		return "known";
	}
	x->failed++;
	return "failed";
}

static void say_one(struct import *x, const struct import_line *l, const struct answer *a)
{
	const char *text = count_one(x, a);
	bool failed = strcmp(text, "failed") == 0;
	if (failed && x->failed <= BAD_MAX) {
		progress_clear(&x->progress);
		ctl_complain("%s %s: %s%s%s", l->sid, l->office, a->e == ERR_OK ? a->word : err_text(a->e),
			     a->e == ERR_OK ? " " : "", a->e == ERR_OK ? a->state : "");
	}
	if (failed && a->e != ERR_OK && x->code == 0)
		x->code = a->e == ERR_QUEUE_SCRIPT ? 0 : CTL_UNAVAILABLE;
	if (x->c->json)
		out_line(json_pack("{s:s, s:s, s:b, s:s, s:o}", "sid", l->sid, "office", l->office, "done",
				   !x->dry_run && strcmp(text, "imported") == 0, "answer", text, "state",
				   a->state[0] != '\0' && !failed && strcmp(text, "known") == 0
					   ? out_string(span_str(a->state))
					   : json_null()));
	else if (x->dry_run)
		printf("%-32s  %-6s  %s%s%s%s\n", l->sid, l->office, text, strcmp(text, "known") == 0 ? " (" : "",
		       strcmp(text, "known") == 0 ? a->state : "", strcmp(text, "known") == 0 ? ")" : "");
}

static void say_summary(const struct import *x, bool stopped)
{
	progress_clear(&x->progress);
	if (x->c->json)
		out_line(json_pack("{s:{s:b, s:I, s:I, s:I, s:I, s:I, s:b}}", "summary", "dry_run", x->dry_run,
				   "imported", (json_int_t)x->done, "known", (json_int_t)x->known, "failed",
				   (json_int_t)x->failed, "bad_lines", (json_int_t)x->bad, "without_job",
				   (json_int_t)x->without, "stopped", stopped));
	else
		printf("%" PRIu64 " %s, %" PRIu64 " known to the queue, %" PRIu64 " failed, %" PRIu64 " bad lines\n",
		       x->done, x->dry_run ? "would be imported" : "imported", x->known, x->failed, x->bad);
	if (x->without > 0)
		ctl_complain("%" PRIu64 " lines are without the sealed job (export with --jobs): such a letter can be "
			     "looked at and dropped, but not sent again",
			     x->without);
	if (stopped)
		ctl_complain("stopped before the end. The same command again goes on: what was imported is known then");
}

static int run(struct import *x)
{
	uint64_t seen = 0;
	progress_start(x->c, &x->progress);
	for (bool more = true; more && x->code == 0 && read_batch(x); more = !x->over && out_good()) {
		act_batch(x);
		for (size_t i = 0; i < x->n; i++)
			say_one(x, &x->line[i], &x->answer[i]);
		seen += x->n;
		clear_batch(x);
		progress_show(&x->progress, seen, 0, x->done, "imported");
	}
	clear_batch(x);
	bool stopped = !x->over || x->code != 0;
	say_summary(x, stopped);
	if (x->code != 0)
		return x->code;
	return stopped || x->failed > 0 || x->bad > 0 ? CTL_NO : CTL_OK;
}

static int import(struct ctl *c, const char *state)
{
	struct import *x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->state = state;
	x->dry_run = ctl_has(c, OPT_DRY_RUN);
	x->lines.fd = -1;
	int code = lines_open(&x->lines, c->arg[0]);
	bool open = code == 0;
	x->lines.idle = on_idle;
	x->lines.idle_arg = x;
	admin_who(c, x->who);
	if (code == 0)
		code = session_open(c);
	if (code == 0) {
		session_watch(c);
		code = confirm(x);
	}
	if (code == 0)
		code = run(x);
	session_close(c);
	clear_batch(x);
	if (open)
		lines_close(&x->lines);
	free(x);
	return code;
}

int cmd_dead_import(struct ctl *c)
{
	return import(c, "dead");
}

int cmd_unknown_import(struct ctl *c)
{
	return import(c, "unknown");
}
